"""
How far to trust a denoised image
===================================

Several networks that differ by their seed alone agree where the noise left enough to see, and disagree where
it did not. :class:`~sk_denoise.DenoisingEnsemble` averages them, and makes of their spread a standard
deviation that is as large as the errors.
"""

# %%
# Three networks learn digits under strong noise. A tenth of the digits is held out, to learn how large errors
# are beside the spread.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from sk_denoise import DenoisingAutoencoder, DenoisingEnsemble, GaussianNoiser

X = np.random.default_rng(0).permutation(load_digits().data) / 16
dae = DenoisingAutoencoder(noise=GaussianNoiser(0.4), image_shape=(8, 8), max_epochs=40)
ensemble = DenoisingEnsemble(dae, n_estimators=3, random_state=0).fit(X[:1300])

clean = X[1300:]
noisy = clean + np.random.default_rng(0).normal(0, 0.4, clean.shape)
denoised, std = ensemble.predict(noisy, return_std=True)
error = np.abs(denoised - clean)
print(f"PSNR of the members: {np.round([m.score(noisy, clean) for m in ensemble.estimators_], 2)} dB")
print(f"PSNR of the ensemble: {ensemble.score(noisy, clean):.2f} dB")
print(f"Errors within 1.96 standard deviations: {np.mean(error <= 1.96 * std):.1%}")

# %%
# What comes out, how wrong it is, and how wrong the ensemble says it may be. The last row is known without
# the clean digits.

order = np.argsort(std.mean(axis=1))
shown = order[np.linspace(0, len(order) - 1, 8).astype(int)]
rows = {"noisy": noisy, "denoised": denoised, "error": error, "std": std}
figure, axes = plt.subplots(4, 8, figsize=(8, 4.4), layout="constrained")
for (name, samples), line in zip(rows.items(), axes, strict=True):
    spread = {"cmap": "magma", "vmin": 0, "vmax": 0.6} if name in ("error", "std") else {"vmin": 0, "vmax": 1}
    for index, axis in zip(shown, line, strict=True):
        axis.imshow(samples[index].reshape(8, 8), **{"cmap": "gray"} | spread)
        axis.set_xticks([])
        axis.set_yticks([])
    line[0].set_ylabel(name)
figure.suptitle("Eight digits, from the surest answer to the least sure", fontsize="medium")
plt.show()

# %%
# Samples of which the ensemble is sure are right: those are the ones to go on with.

groups = np.array_split(order, 8)
promised = [np.sqrt(np.mean(std[group] ** 2)) for group in groups]
found = [np.sqrt(np.mean(error[group] ** 2)) for group in groups]
figure, axis = plt.subplots(figsize=(4.5, 4), layout="constrained")
axis.plot(promised, found, "o-", label="eighths of the test digits")
limits = [min(promised + found), max(promised + found)]
axis.plot(limits, limits, color="0.6", linestyle="--", label="as promised")
axis.set(xlabel="standard deviation", ylabel="root mean square error")
axis.legend()
plt.show()
