"""
================================================
Spectra: signals through a convolutional network
================================================

Rows whose order means something, a spectrum, an electrocardiogram, a time series, are signals. A
convolutional network reads them as such. Here it learns what spectra of one kind look like, and takes noise
from new ones that a smoothing filter cannot tell from peaks.
"""

# %%
# Spectra
# -------
# Each has a broad background and up to six narrow peaks, at wavelengths where substances have them, of
# heights that vary, as in Raman spectroscopy. 256 channels, one unit for all.
import matplotlib.pyplot as plt
import numpy as np
from scipy.signal import savgol_filter

from sk_denoise import ConvNetwork, DenoisingAutoencoder, GaussianNoiser
from sk_denoise.metrics import psnr

rng = np.random.default_rng(0)
channel = np.arange(256)
centres, widths = rng.uniform(20, 236, 12), rng.uniform(1.5, 5, 12)


def simulate(n_samples):
    """Return spectra of mixtures of six of twelve substances, highest value about one."""
    spectra = np.empty((n_samples, channel.size))
    for spectrum in spectra:
        background = rng.uniform(0.1, 0.4) * np.exp(-channel / rng.uniform(100, 400))
        chosen = rng.choice(12, size=6, replace=False)
        shifts = rng.normal(0, 0.5, 6)
        profiles = [
            1 / (1 + ((channel - centres[k] - s) / widths[k]) ** 2)
            for k, s in zip(chosen, shifts, strict=True)
        ]
        spectrum[:] = background + rng.uniform(0.05, 0.8, 6) @ np.array(profiles)
    return spectra


X_train, X_test = simulate(2000), simulate(300)
SIGMA = 0.08
X_noisy = X_test + rng.normal(0, SIGMA, X_test.shape)

# %%
# Learn what spectra look like
# ----------------------------
# Rows without ``image_shape`` are signals to a :class:`~sk_denoise.ConvNetwork`: one scale and one noise for
# all channels. Wider kernels suit peaks that are several channels wide.
dae = DenoisingAutoencoder(
    ConvNetwork((32, 64), kernel_size=9),
    latent_dim=32,
    noise=GaussianNoiser(SIGMA),
    random_state=0,
).fit(X_train)

# %%
# Against filters
# ---------------
# A Savitzky-Golay filter fits polynomials to windows; the best of many windows and orders is chosen here
# with the clean test spectra in hand, which no one has in practice. The dense network is the other opponent.
filtered = {
    (window, order): savgol_filter(X_noisy, window, order)
    for window in range(5, 32, 2)
    for order in (2, 3, 4)
    if order < window
}
best = max(filtered, key=lambda setting: psnr(X_test, filtered[setting], data_range=1))
dense = DenoisingAutoencoder(latent_dim=32, noise=GaussianNoiser(SIGMA), random_state=0).fit(X_train)

restored = {
    "noisy": X_noisy,
    f"Savitzky-Golay, window {best[0]}, order {best[1]} (best)": filtered[best],
    "dense network": dense.predict(X_noisy),
    "convolutional network": dae.predict(X_noisy),
}
quality = {name: psnr(X_test, X, data_range=1) for name, X in restored.items()}
for name, decibels in quality.items():
    print(f"{name:45} {decibels:.2f} dB")

# %%
# One spectrum
# ------------
fig, axes = plt.subplots(len(restored), 1, figsize=(8, 8), sharex=True, sharey=True, layout="constrained")
one = 0
for ax, (name, X) in zip(axes, restored.items(), strict=True):
    ax.plot(channel, X_test[one], color="0.7", linewidth=3, label="clean")
    ax.plot(channel, X[one], color="tab:blue", linewidth=1, label=name)
    single = psnr(X_test[one][None], X[one][None], data_range=1)
    ax.set_title(f"{name}: {single:.1f} dB", loc="left", fontsize="medium")
    ax.spines[["top", "right"]].set_visible(False)
axes[-1].set_xlabel("channel")
fig.supylabel("intensity")
plt.show()

# %%
# The filter knows that spectra are smooth. The networks know which peaks there are, and how wide they
# are, so they may bring back what noise has buried. The price: a peak that no training spectrum had
# may be taken for noise. Where such peaks can come, look at the difference ``X_noisy - X_denoised``,
# which should look like noise and nothing else.
