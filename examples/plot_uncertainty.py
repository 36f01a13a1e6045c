"""
=================================
How far to trust a denoised image
=================================

:class:`~sk_denoise.DenoisingEnsemble` returns a standard deviation for each denoised pixel. It trains several
networks with different seeds and averages their predictions. Where the networks disagree, the noise has
hidden the image, and the error is large.
"""

# %%
# Three networks
# --------------
# Three networks are trained on digits under strong noise. The ensemble holds out a tenth of the digits to
# calibrate the standard deviation: on these, it is as large as the errors.
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
# Error and standard deviation
# ----------------------------
# Compare the last two rows: the error, and the standard deviation of the ensemble. You know the latter
# without the clean digits.
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
figure.suptitle("Eight digits, from the smallest to the largest standard deviation", fontsize="medium")
plt.show()

# %%
# Which digits to use
# -------------------
# Digits with a small standard deviation have small errors. Use these, and look at the others yourself.
groups = np.array_split(order, 8)
predicted_errors = [np.sqrt(np.mean(std[group] ** 2)) for group in groups]
actual_errors = [np.sqrt(np.mean(error[group] ** 2)) for group in groups]
figure, axis = plt.subplots(figsize=(4.5, 4), layout="constrained")
axis.plot(predicted_errors, actual_errors, "o-", label="eighths of the test digits")
limits = [min(predicted_errors + actual_errors), max(predicted_errors + actual_errors)]
axis.plot(limits, limits, color="0.6", linestyle="--", label="equal")
axis.set(xlabel="standard deviation", ylabel="root mean square error")
axis.legend()
plt.show()
