"""
========================================
Heartbeats: signals through convolutions
========================================

You can denoise time series, spectra and other signals with convolutional networks. This example denoises
electrocardiograms. It compares two convolutional networks with a dense network and a smoothing filter.

Convolutions suit signals because the order of the values matters: a pattern that a convolution learns at one
place is recognized at all places.
"""

# %%
# Two seconds of a heart
# ----------------------
# The electrocardiograms are simulated, with P wave, QRS complex and T wave. Heart rate and heights differ
# from signal to signal, and a signal may begin at any moment of a beat. Each has 256 values.
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
# Rows without ``image_shape`` are signals for :class:`~sk_denoise.ConvNetwork` and
# :class:`~sk_denoise.PoolingNetwork`: all 256 values share one scale and one noise. Kernels of 7 and 9 values
# cover 50 to 70 milliseconds, about a QRS complex.
#
# The latent code of the pooling network is a map: 16 numbers for every four values. Its position encodes the
# time of a beat, so the numbers need not.
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
# A filter for comparison
# -----------------------
# A Savitzky-Golay filter fits polynomials to windows of a signal. Window and order are chosen on noisy
# training signals: like the networks, the filter sees no clean test signal.
X_train_noisy = X_train + rng.normal(0, SIGMA, X_train.shape)
settings = [(window, order) for window in range(5, 32, 2) for order in (2, 3, 4) if order < window]
window, order = max(
    settings, key=lambda setting: psnr(X_train, savgol_filter(X_train_noisy, *setting), data_range=1)
)
restored = {
    "noisy": X_noisy,
    f"Savitzky-Golay (window {window}, order {order})": savgol_filter(X_noisy, window, order),
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
# The filter assumes that signals are smooth, so it trades noise against sharp peaks. The dense network learns
# each position of a beat separately. The convolutional networks learn the shape of a beat once, for all
# positions, and gain 5 to 8 dB over both.
#
# All networks share one risk: a beat of an unusual shape may come out like the beats of the training signals.
# Where that matters, look at ``X_noisy - X_denoised``. It should look like noise and nothing else.
