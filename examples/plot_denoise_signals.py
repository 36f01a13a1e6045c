"""
========================================
Heartbeats: signals through convolutions
========================================

Rows whose order means something, an electrocardiogram, a spectrum, a time series, are signals.
Convolutional networks read them as such: what they learn at one place they know at all others. This
example compares them with a dense network, which must learn each place anew, and with a smoothing filter.
"""

# %%
# Two seconds of a heart
# ----------------------
# Simulated electrocardiograms: P wave, QRS complex and T wave, of heights and a rate that differ from one
# to the next, and cut out at any moment. 256 values each.
import matplotlib.pyplot as plt
import numpy as np
from scipy.signal import savgol_filter

from sk_denoise import ConvNetwork, DenoisingAutoencoder, GaussianNoiser, PoolingNetwork
from sk_denoise.metrics import psnr

rng = np.random.default_rng(0)
seconds = np.linspace(0, 2, 256, endpoint=False)


def heartbeats(n_samples):
    """Return simulated electrocardiograms in millivolts, (n_samples, 256)."""
    signals = np.zeros((n_samples, seconds.size))
    for signal in signals:
        period = rng.uniform(0.6, 1.1)
        waves = {  # height, time after the R peak and width of each wave
            "P": (rng.uniform(0.08, 0.2), -0.2, 0.03),
            "Q": (-0.12, -0.035, 0.010),
            "R": (rng.uniform(0.7, 1.0), 0, 0.014),
            "S": (-0.22, 0.035, 0.012),
            "T": (rng.uniform(0.15, 0.35), 0.28 * np.sqrt(period), 0.05),
        }
        for beat in np.arange(rng.uniform(-period, 0), 2 + period, period):
            for height, delay, width in waves.values():
                signal += height * np.exp(-(((seconds - beat - delay) / width) ** 2) / 2)
    return signals


SIGMA = 0.1
X_train, X_test = heartbeats(1000), heartbeats(300)
X_noisy = X_test + rng.normal(0, SIGMA, X_test.shape)

# %%
# Three networks
# --------------
# Rows without ``image_shape`` are signals to a :class:`~sk_denoise.ConvNetwork` and to a
# :class:`~sk_denoise.PoolingNetwork`: one scale and one noise for all 256 values. Kernels of 7 and 9 values
# see 50 to 70 milliseconds at once, about a QRS complex. The code of the pooling network is a map, 16 numbers
# for every four values, so it need not say *where* the beats are.
networks = {
    "dense": ("dense", 32),
    "conv": (ConvNetwork((16, 32, 64), kernel_size=7), 32),
    "pooling": (PoolingNetwork((32, 32), kernel_size=9), 16),
}
denoised = {}
for name, (network, latent_dim) in networks.items():
    dae = DenoisingAutoencoder(
        network, latent_dim, noise=GaussianNoiser(SIGMA), max_epochs=30, random_state=0
    )
    denoised[name] = dae.fit(X_train).predict(X_noisy)

# %%
# Against a filter
# ----------------
# A Savitzky-Golay filter fits polynomials to windows. The best of many windows and orders is chosen here with
# the clean test signals in hand, which no one has in practice.
filtered = {
    (window, order): savgol_filter(X_noisy, window, order)
    for window in range(5, 32, 2)
    for order in (2, 3, 4)
    if order < window
}
window, order = max(filtered, key=lambda setting: psnr(X_test, filtered[setting], data_range=1))
restored = {
    "noisy": X_noisy,
    f"Savitzky-Golay (window {window}, order {order})": filtered[window, order],
    **{f"{name} network": X for name, X in denoised.items()},
}
quality = {name: psnr(X_test, X, data_range=1) for name, X in restored.items()}
for name, decibels in quality.items():
    print(f"{name:36} {decibels:.2f} dB")

# %%
fig, axes = plt.subplots(len(restored), 1, figsize=(8, 9), sharex=True, sharey=True, layout="constrained")
for ax, (name, X) in zip(axes, restored.items(), strict=True):
    ax.plot(seconds, X_test[0], color="0.75", linewidth=3.5, label="clean")
    ax.plot(seconds, X[0], color="tab:blue", linewidth=1, label="noisy or denoised")
    ax.set_title(f"{name}: {quality[name]:.1f} dB on average", loc="left", fontsize="medium")
    ax.spines[["top", "right"]].set_visible(False)
axes[0].legend(loc="upper right", frameon=False, ncols=2, fontsize="small", bbox_to_anchor=(1, 1.25))
axes[-1].set_xlabel("seconds")
fig.supylabel("millivolts")
plt.show()

# %%
# The filter knows that signals are smooth, so it has to choose between noise and peaks. The dense network
# has to spread what it knows over every moment at which a beat may come. The convolutional ones know what a
# beat looks like, wherever it is. The price is the same for all that learn: a beat of a shape that no
# training signal had may be drawn like one that they had. Look at ``X_noisy - X_denoised`` where that
# matters; it should look like noise and nothing else.
