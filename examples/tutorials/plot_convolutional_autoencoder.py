"""
============================================================
A convolutional autoencoder: 16 numbers against heavy noise
============================================================

Noise with a mean of 0.5 and a standard deviation of 0.5, clipped to [0, 1], leaves little of a digit to
the eye. Two strided convolutions with 32 and 64 channels and a code of 16 numbers know enough about
digits to bring them back, also under noise that is stronger than any they were trained with.
"""

# %%
# The recipe
# ----------
# Convolutions want pictures: stacks of shape ``(n_samples, height, width)``. A
# :class:`~sk_denoise.ConvNetwork` takes them as they are. Its code is linear by default; the sigmoid at the
# end suits digits, which are mostly black and white.
import matplotlib.pyplot as plt
import numpy as np

from sk_denoise import ConvNetwork, DenoisingAutoencoder, GaussianNoiser
from sk_denoise.datasets import load_handwritten
from sk_denoise.metrics import psnr
from sk_denoise.plots import DenoisingDisplay

data = load_handwritten()
epochs = 10 if data.name == "MNIST" else 60  # there are fewer digits
print(f"{data.name}: {len(data.train)} pictures of {data.train.shape[1:]}, {len(data.test)} to test on")

dae = DenoisingAutoencoder(
    ConvNetwork((32, 64), output_activation="sigmoid"),
    latent_dim=16,
    noise=GaussianNoiser(0.5, mean=0.5, clip=(0, 1)),
    batch_size=32,
    max_epochs=epochs,
    random_state=0,
).fit(data.train)


# %%
# Original, noisy, denoised
# -------------------------
def corrupt(pictures, sigma, seed=1):
    """Return pictures under noise N(0.5, sigma), clipped to [0, 1]."""
    noise = np.random.default_rng(seed).normal(0.5, sigma, pictures.shape)
    return np.clip(pictures + noise, 0, 1).astype(np.float32)


noisy = corrupt(data.test, 0.5)
before = psnr(data.test, noisy, data_range=1)
after = psnr(data.test, dae.predict(noisy), data_range=1)
display = DenoisingDisplay.from_estimator(
    dae, data.test, X_noisy=noisy, n_samples=9, labels=data.test_labels, limits=(0, 1)
)
display.figure_.suptitle(f"Noise N(0.5, 0.5): {before:.1f} dB before, {after:.1f} dB after")
plt.show()

# %%
# Stronger noise than it was trained with
# ---------------------------------------
# The same network, fitted once, meets sigma 0.5, 0.75 and 1.0. Beside it one that was trained on a range of
# strengths: a pair for ``noise_factor`` draws one for each sample.
wide = DenoisingAutoencoder(
    **{**dae.get_params(deep=False), "noise": GaussianNoiser((0.25, 1.0), mean=0.5, clip=(0, 1))}
).fit(data.train)

sigmas = [0.1, 0.25, 0.5, 0.75, 1.0, 1.25]
scores = {"noisy": [], "trained at 0.5": [], "trained at 0.25 to 1.0": []}
for sigma in sigmas:
    noisy = corrupt(data.test, sigma)
    scores["noisy"].append(psnr(data.test, noisy, data_range=1))
    scores["trained at 0.5"].append(psnr(data.test, dae.predict(noisy), data_range=1))
    scores["trained at 0.25 to 1.0"].append(psnr(data.test, wide.predict(noisy), data_range=1))

print(f"{'sigma':24}" + "".join(f"{sigma:7.2f}" for sigma in sigmas))
for name, row in scores.items():
    print(f"{name:24}" + "".join(f"{score:7.2f}" for score in row))

# %%
for sigma in (0.5, 0.75, 1.0):
    noisy = corrupt(data.test, sigma)
    at = sigmas.index(sigma)
    display = DenoisingDisplay.from_estimator(dae, data.test, X_noisy=noisy, n_samples=9, limits=(0, 1))
    display.figure_.suptitle(
        f"Trained at sigma 0.5, tested at {sigma}: {scores['noisy'][at]:.1f} dB before, "
        f"{scores['trained at 0.5'][at]:.1f} dB after"
    )
plt.show()

# %%
fig, ax = plt.subplots(figsize=(7, 4), layout="constrained")
for (name, row), color in zip(scores.items(), ("0.6", "tab:blue", "tab:orange"), strict=True):
    ax.plot(sigmas, row, "o-", color=color, markersize=4, label=name)
ax.axvline(0.5, color="tab:blue", linewidth=0.8, linestyle=":")
ax.set(
    xlabel="sigma of the test noise (mean 0.5, clipped to [0, 1])",
    ylabel="PSNR on test digits in dB",
    title="One network, noise that it was not trained with",
)
ax.legend(frameon=False)
ax.spines[["top", "right"]].set_visible(False)
plt.show()

# %%
# What limits it
# --------------
# Sixteen numbers tell which digit it is and how it leans, and no more: that is what makes the network
# robust, and its pictures smooth. A wider code keeps more where the noise leaves more to keep: what it is
# worth on MNIST, ``python benchmarks/tutorials.py best`` measures. On data of your own, a search that is
# scored on the noise you expect can tell, see :ref:`sphx_glr_gallery_plot_honest_grid_search.py`.
