"""
================================
Spectra: noisy measurements only
================================

Your spectrometer gives noisy spectra, and nobody has clean ones. You can denoise them all the same: all
spectra are made of the same kinds of peaks, and the noise is not. This example compares three ways, and shows
the way that only looks right.
"""

# %%
# Three hundred spectra
# ---------------------
# Each spectrum has six peaks at random places, and noise of a third of their height. The clean spectra serve
# to measure the result, and nothing else.
import matplotlib.pyplot as plt
import numpy as np
from scipy.signal import savgol_filter

from sk_denoise import DenoisingAutoencoder, WienerMixtureDenoiser
from sk_denoise.metrics import estimate_quality
from sk_denoise.noise import estimate_row_noise

rng = np.random.default_rng(0)
place = np.linspace(400, 900, 400)
centres = rng.uniform(420, 880, (300, 6, 1))
widths, heights = rng.uniform(4, 15, (300, 6, 1)), rng.uniform(0.4, 1, (300, 6, 1))
clean = (heights * np.exp(-0.5 * ((place - centres) / widths) ** 2)).sum(axis=1)
X = clean + rng.normal(0, 0.35, clean.shape)
train, test = slice(0, 250), slice(250, 300)

# %%
# The noise level
# ---------------
# Neighbouring entries of a smooth spectrum are alike, so that their differences show the noise. The estimate
# needs no clean spectrum.
sigma = estimate_row_noise(X)
print(f"noise 0.350, estimated {sigma:.3f}")

# %%
# The trap
# --------
# ``fit(X)`` of an autoencoder takes X as clean. Its training loss falls, and much of the noise stays, because
# it is part of the target. The library warns of noisy images and signals; here the call declares them clean.
trap = DenoisingAutoencoder(max_epochs=10, random_state=0).fit(X[train], X[train])

# %%
# A mixture of Wiener filters
# ---------------------------
# A peak may stand at any place, so short windows of the spectra are denoised, and overlapping windows are
# averaged. The mixture learns the kinds of windows: flat, rising, a narrow peak, a wide one.
mixture = WienerMixtureDenoiser(window=32, noise=sigma, random_state=0).fit(X[train])

# %%
# A filter for comparison
# -----------------------
# The Savitzky-Golay filter gets an advantage that you do not have: its window is the best one for the clean
# test spectra.
windows = range(5, 60, 4)
best = min(windows, key=lambda window: np.mean((savgol_filter(X[test], window, 3) - clean[test]) ** 2))
results = {
    "noisy": X[test],
    "autoencoder, noisy spectra as clean": trap.predict(X[test]),
    f"Savitzky-Golay, best window ({best})": savgol_filter(X[test], best, 3),
    "mixture of Wiener filters": mixture.predict(X[test]),
}
left = {name: np.std(rows - clean[test]) for name, rows in results.items()}
for name, noise in left.items():
    print(f"{name:36} noise left {noise:.3f}")

# %%
fig, axes = plt.subplots(len(results), 1, figsize=(8, 8.5), sharex=True, sharey=True, layout="constrained")
for ax, (name, rows) in zip(axes, results.items(), strict=True):
    ax.plot(place, rows[3], color="tab:blue", linewidth=1, label="noisy or denoised")
    ax.plot(place, clean[test][3], color="black", linewidth=1, alpha=0.6, label="clean")
    ax.set_title(f"{name}: {left[name]:.2f} of the noise of 0.35 left", loc="left", fontsize="medium")
    ax.spines[["top", "right"]].set_visible(False)
axes[0].legend(loc="upper right", frameon=False, ncols=2, fontsize="small", bbox_to_anchor=(1, 1.3))
axes[-1].set_xlabel("wavelength in nanometres")
fig.supylabel("intensity")
plt.show()

# %%
# How good is it, if nobody has the clean spectra?
# ------------------------------------------------
# The noise level is known, and the test spectra were not used in the fit. That is enough for the expected
# PSNR with an interval. The true PSNR is beside it.
quality = estimate_quality(mixture, X[test], noise=sigma, data_range=1)
true_psnr = -10 * np.log10(left["mixture of Wiener filters"] ** 2)
print(f"expected: {quality}")
print(f"true: {true_psnr:.1f} dB")
