"""
=================================
Photos: noise on single pixels
=================================

Dead pixels, dust and lost data replace single pixels by random values. This example trains networks against
such noise with three losses, and compares them with a median filter.
"""

# %%
# Random pixels, random colours
# -----------------------------
# :class:`~sk_denoise.PixelNoiser` replaces whole pixels, all channels at once, by default with random
# colours. Here a tenth to a third of the pixels of each image are replaced.
import matplotlib.pyplot as plt
import numpy as np

from sk_denoise import DenoisingAutoencoder, MedianDenoiser, PixelNoiser, PoolingNetwork
from sk_denoise.datasets import extract_patches, load_images
from sk_denoise.metrics import psnr
from sk_denoise.plots import DenoisingDisplay

noise = PixelNoiser((0.1, 0.3), limits=(0, 1), random_state=0)

photos = load_images()
train = extract_patches(photos.train, 32, n_per_image=256, random_state=0)
clean = extract_patches(photos.test, 32, n_per_image=60, random_state=1)
noisy = np.asarray(noise.fit_transform(clean))
print(f"{len(train)} training patches, {len(clean)} test patches, {train.dtype} in [0, 1]")

# %%
# Three losses
# ------------
# The patches fit into memory, so ``fit`` takes them as an array. The loss "kl" needs data in [0, 1], and adds
# a sigmoid to the output of the network.
losses = {"mse": "squared error", "mae": "absolute error", "kl": "Kullback-Leibler divergence"}
daes = {
    loss: DenoisingAutoencoder(
        PoolingNetwork((32,)),
        latent_dim=48,
        noise=noise,
        loss=loss,
        batch_size=16,
        max_epochs=8,
        random_state=0,
    ).fit(train)
    for loss in losses
}

results = {"noisy": noisy, "median filter": MedianDenoiser().fit(clean).predict(noisy)}
results |= {losses[loss]: dae.predict(noisy) for loss, dae in daes.items()}
quality = {name: psnr(clean, images, data_range=1) for name, images in results.items()}
for name, decibels in quality.items():
    print(f"{name:30}{decibels:6.2f} dB")

# %%
display = DenoisingDisplay.from_estimator(
    daes["mae"], clean[::18], X_noisy=noisy[::18], n_samples=9, limits=(0, 1)
)
plt.show()

# %%
fig, ax = plt.subplots(figsize=(7, 2.6), layout="constrained")
ax.barh(list(quality), list(quality.values()), color=["0.7", "0.7", *["tab:blue"] * 3], height=0.6)
for row, decibels in enumerate(quality.values()):
    ax.text(decibels + 0.2, row, f"{decibels:.1f}", va="center")
ax.invert_yaxis()
ax.set(xlabel="PSNR on test patches in dB", xlim=(0, max(quality.values()) + 3))
ax.spines[["top", "right"]].set_visible(False)
plt.show()

# %%
# A filter made for this noise
# ----------------------------
# The median filter wins here: the median of a neighbourhood is right if most of its pixels are. A network
# that pools loses fine detail, also in intact pixels.
#
# Among the losses, absolute error is best for noise that replaces values. That agrees with theory: its
# optimal prediction is a median too.
#
# For mixed noise, or noise on more than single pixels, there is no such filter. See
# :ref:`sphx_glr_gallery_photos_plot_4_comparison.py`.
