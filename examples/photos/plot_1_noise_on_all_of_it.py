"""
=====================================
Photos: noise on all of the image
=====================================

A folder of photos that need not fit in memory, a network that learns from random patches of them, and whole
images that it denoises: the way of photo denoising from end to end.
"""

# %%
# A folder
# --------
# :class:`~sk_denoise.datasets.ImageFolder` streams PNG, JPEG, TIFF, BMP and WebP files, of 8 or 16 bits,
# turned as their EXIF data say. For a start that downloads nothing, scikit-image's own photos are written
# to one.
import os
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

from sk_denoise import Augmenter, DenoisingAutoencoder, GaussianNoiser, PoolingNetwork
from sk_denoise.datasets import ImageFolder, RandomPatches, extract_patches, join_patches, load_images
from sk_denoise.io import write_image
from sk_denoise.metrics import psnr, ssim

photos = load_images()
temporary = tempfile.TemporaryDirectory()
for name, photo in zip(photos.train_names, photos.train, strict=True):
    write_image(Path(temporary.name) / f"{name}.png", (255 * photo).round().astype(np.uint8))
folder = ImageFolder(os.environ.get("SK_DENOISE_PHOTOS", temporary.name))
print(f"{folder}, the first one {folder[0].shape} {folder[0].dtype}")

# %%
# Random patches
# --------------
# In each epoch every photo is visited once, and 256 patches are cut from it at random, other ones every time.
# Pixels become numbers in [0, 1], whatever the depth of the files.
patches = RandomPatches(folder, 32, patches_per_image=256)
few, _ = patches.first(24, torch.Generator().manual_seed(3))

fig, axes = plt.subplots(3, 8, figsize=(8, 3.2), layout="constrained")
for ax, patch in zip(axes.flat, few.numpy(), strict=True):
    ax.imshow(patch)
    ax.set_axis_off()
fig.suptitle("What the network is shown, before augmentation and noise")
plt.show()

# %%
# Training
# --------
# Noise of sigma 0.2 on every value is drawn anew for every batch; so are the flips. ``fit_patches`` is for
# what is streamed, ``fit`` for arrays. Pooling by two once keeps the map of the code as fine as half a
# image.
SIGMA = 0.2
dae = DenoisingAutoencoder(
    PoolingNetwork((32,)),
    latent_dim=48,
    noise=GaussianNoiser(SIGMA),
    augment=Augmenter(flip="horizontal"),
    batch_size=16,
    max_epochs=12,
    random_state=0,
).fit_patches(patches)
temporary.cleanup()


# %%
# Whole images
# --------------
# The estimator knows patches of 32 x 32. An image is cut into patches that overlap by half, and what it
# makes of them is joined with weights that fall off towards their edges, so that no seams remain.
def denoise(image):
    """Return a whole image denoised."""
    pieces = extract_patches([image], 32, stride=16)
    return join_patches(dae.predict(pieces), image.shape, stride=16)


rng = np.random.default_rng(0)
quality = {}
rows = []
for name, clean in zip(photos.test_names, photos.test, strict=True):
    noisy = (clean + rng.normal(0, SIGMA, clean.shape)).astype(np.float32)
    restored = denoise(noisy)
    rows.append((clean, noisy, restored))
    quality[name] = [
        (psnr(clean[None], x[None], data_range=1), ssim(clean[None], x[None], data_range=1))
        for x in (noisy, restored)
    ]
    print(name, "PSNR {:.2f} -> {:.2f} dB, SSIM {:.2f} -> {:.2f}".format(*np.transpose(quality[name]).flat))

# %%
fig, axes = plt.subplots(len(rows), 3, figsize=(9, 6.9), layout="constrained")
for line, name, row in zip(axes, photos.test_names, rows, strict=True):
    for ax, image in zip(line, row, strict=True):
        ax.imshow(image[:256, :400].clip(0, 1))
        ax.set(xticks=[], yticks=[])
    line[0].set_ylabel(name)
    for ax, (decibels, similarity) in zip(line[1:], quality[name], strict=True):
        ax.set_xlabel(f"{decibels:.1f} dB, SSIM {similarity:.2f}")
for ax, title in zip(axes[0], ("clean", f"noisy, sigma {SIGMA}", "denoised"), strict=True):
    ax.set_title(title)
plt.show()
