"""
====================================
Photos: which network, which noise
====================================

This example compares three networks and two filters under three kinds of noise. All methods denoise the same
three test photos, under one fixed draw of each noise.
"""

# %%
# Noises and photos
# -----------------
import matplotlib.pyplot as plt
import numpy as np

from sk_denoise import (
    ConvNetwork,
    DenoisingAutoencoder,
    DenseNetwork,
    GaussianNoiser,
    MedianDenoiser,
    NonLocalMeansDenoiser,
    PixelNoiser,
    PoolingNetwork,
    RegionNoiser,
)
from sk_denoise.datasets import RandomPatches, extract_patches, join_patches, load_images
from sk_denoise.plots import ComparisonDisplay

noises = {
    "on all of it": GaussianNoiser(0.2, random_state=0),
    "on a part": RegionNoiser(GaussianNoiser(0.4), size=(0.3, 0.6), random_state=0),
    "on pixels": PixelNoiser((0.1, 0.3), limits=(0, 1), random_state=0),
}
photos = load_images()
clean = np.stack([photo[20:212, 20:212] for photo in photos.test])

# %%
# The methods
# -----------
# Filters are estimators too, but ``fit`` only learns the layout of the images. Non-local means estimates the
# noise level. Networks are trained on 32 x 32 patches, one for each noise. Whole images are cut into patches,
# denoised and joined.


def train_network(network, latent_dim, noise):
    """Return a function that denoises an image by a network trained for this noise."""
    dae = DenoisingAutoencoder(
        network, latent_dim, noise=noise, batch_size=16, max_epochs=8, random_state=0
    ).fit_patches(RandomPatches(photos.train, 32, patches_per_image=128))
    return lambda x: join_patches(dae.predict(extract_patches([x], 32, stride=16)), x.shape, stride=16)


networks = {
    "dense": (DenseNetwork((512,)), 128),
    "conv": (ConvNetwork((32, 64)), 128),
    "pooling": (PoolingNetwork((32,)), 48),
}
methods = {
    "median filter": MedianDenoiser().fit(clean),
    "non-local means": NonLocalMeansDenoiser().fit(clean),
    **{
        name: {on: train_network(spec, latent_dim, noise) for on, noise in noises.items()}
        for name, (spec, latent_dim) in networks.items()
    },
}

# %%
# The denoised images
# -------------------
# The number below an image is its PSNR.
display = ComparisonDisplay.from_methods(methods, clean, noises, data_range=1, limits=(0, 1))
plt.show()

# %%
# PSNR in dB, the mean over the three photos.
table = display.table.pivot(index="method", columns="noise", values="psnr")
print(table.round(2))

# %%
# Which one to choose
# -------------------
# - The dense and the convolutional network encode a patch as one latent vector. They lose detail under any
#   noise, and the colours of photos unlike the five training photos.
# - The pooling network has a latent map, which keeps the position of details. It does well under every noise.
# - Filters need no training, and each suits one noise: the median filter single pixels, and non-local means
#   noise on the whole image. Non-local means estimates the noise level in the flattest parts, so it misses
#   noise on a part of the image.
