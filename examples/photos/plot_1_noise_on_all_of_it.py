"""
=====================================
Photos: noise on all of the image
=====================================

This example denoises photos from a folder, from end to end. The photos are streamed, so they need not fit
into memory. A network is trained on random patches, and denoises whole images.
"""

# %%
# A folder
# --------
# :class:`~sk_denoise.datasets.ImageFolder` streams image files of 8 or 16 bits. It
# applies the orientation in the EXIF data. Here a temporary folder holds scikit-image's own photos, so
# nothing is downloaded.
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
# Each epoch cuts 256 new random patches from every photo. Pixels are scaled to [0, 1], for files of any bit
# depth.
patches = RandomPatches(folder, 32, patches_per_image=256)
first_patches, _ = patches.first(24, torch.Generator().manual_seed(3))

fig, axes = plt.subplots(3, 8, figsize=(8, 3.2), layout="constrained")
for ax, patch in zip(axes.flat, first_patches.numpy(), strict=True):
    ax.imshow(patch)
    ax.set_axis_off()
fig.suptitle("Patches, before augmentation and noise")
plt.show()

# %%
# Training
# --------
# Every batch gets fresh noise of sigma 0.2 and fresh random flips. Use ``fit_patches`` for streamed patches,
# and ``fit`` for arrays. The network pools once by two, so its latent map has half the resolution of the
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
# ------------
# The estimator takes patches of 32 x 32. :func:`~sk_denoise.datasets.extract_patches` cuts an image into
# patches that overlap by half. :func:`~sk_denoise.datasets.join_patches` joins the denoised patches, with
# weights that fall towards the edges, so no seams are visible.
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
