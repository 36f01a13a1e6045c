"""
===============================
Photos: noise on a part of it
===============================

Scratches, stains and bad scan lines cover a part of an image, at an unknown position. A denoiser must restore
this part and leave the rest unchanged. This example shows you how to train it, and how to weight the two
parts.
"""

# %%
# Noise on a rectangle
# --------------------
# :class:`~sk_denoise.RegionNoiser` adds any noise to a random rectangle of each image. Here the sides of the
# rectangle are a fifth to a half of those of the image.
import matplotlib.pyplot as plt
import numpy as np

from sk_denoise import DenoisingAutoencoder, GaussianNoiser, PoolingNetwork, RegionNoiser
from sk_denoise.datasets import RandomPatches, extract_patches, load_images
from sk_denoise.metrics import psnr
from sk_denoise.plots import DenoisingDisplay

noise = RegionNoiser(GaussianNoiser(0.4), size=(0.2, 0.5), random_state=0)

photos = load_images()
clean = extract_patches(photos.test, 48, n_per_image=60, random_state=0)
noisy = np.asarray(noise.fit_transform(clean))
hit = (noisy != clean).any(axis=-1)
print(f"{100 * hit.mean():.0f} % of the pixels are noisy")

# %%
# Two weightings of the error
# ---------------------------
# Most pixels are intact, so a network mostly learns to copy. ``emphasis`` weights corrupted and intact
# entries (Vincent et al., 2010). With ``(1, 0.1)``, the weight of intact ones is a tenth.
common = {
    "network": PoolingNetwork((32,)),
    "latent_dim": 48,
    "noise": noise,
    "batch_size": 16,
    "max_epochs": 12,
    "random_state": 0,
}
daes = {
    "all alike": DenoisingAutoencoder(**common),
    "emphasis (1, 0.1)": DenoisingAutoencoder(emphasis=(1.0, 0.1), **common),
}
for dae in daes.values():
    dae.fit_patches(RandomPatches(photos.train, 48, patches_per_image=128))


def errors_in_and_out(images):
    """Return the root mean squared errors of noisy and of intact pixels."""
    squared = (images - clean) ** 2
    return np.sqrt(squared[hit].mean()), np.sqrt(squared[~hit].mean())


results = {"noisy": noisy, **{name: dae.predict(noisy) for name, dae in daes.items()}}
errors = {name: errors_in_and_out(images) for name, images in results.items()}
quality = {name: psnr(clean, images, data_range=1) for name, images in results.items()}
print(f"{'':20}{'PSNR':>8}{'error inside':>15}{'outside':>10}")
for name, (inside, outside) in errors.items():
    print(f"{name:20}{quality[name]:8.2f}{inside:15.3f}{outside:10.3f}")

# %%
# The network finds the noisy part by itself:
display = DenoisingDisplay.from_estimator(
    daes["all alike"], clean[::12], X_noisy=noisy[::12], n_samples=8, limits=(0, 1)
)
plt.show()

# %%
# Emphasis restores the noisy part better, at the cost of the intact part. If you know the position of the
# noisy part, use the denoised pixels there and the original ones elsewhere.
