"""
=================================
Photos: noise on single pixels
=================================

Dead pixels, dust, lost data: a tenth to a third of the pixels hold anything, the others hold the truth.
Squared error, absolute error and Kullback-Leibler divergence take such noise differently, and so do
classical filters.
"""

# %%
# Random pixels, random colours
# -----------------------------
# :class:`~sk_denoise.PixelNoiser` replaces whole pixels, all channels at once; by default with any colour.
# The range of fractions is drawn for each image.
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
print(f"{len(train)} patches to train on, {len(clean)} to test on, {train.dtype} in [0, 1]")

# %%
# Three losses
# ------------
# The patches fit in memory, so ``fit`` takes them as an array. "kl" wants data in [0, 1] and answers
# through a sigmoid, which it brings along.
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

answers = {"noisy": noisy, "median filter": MedianDenoiser().fit(clean).predict(noisy)}
answers |= {losses[loss]: dae.predict(noisy) for loss, dae in daes.items()}
quality = {name: psnr(clean, answer, data_range=1) for name, answer in answers.items()}
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
# A filter that was made for stray pixels
# ---------------------------------------
# The median of the neighbours is right wherever most of them are, and it wins here: a network that pools
# loses fine detail on its way, also where nothing was wrong. Absolute error is the better one for noise
# that replaces values, as theory has it, since its best answer is a median as well. Where noise is of more
# than one kind, or covers more than single pixels, no filter is made for it; see
# :ref:`sphx_glr_gallery_photos_plot_4_comparison.py`.
