"""
====================================
Photos: which network, which noise
====================================

The closing table: each network under each of the three noises, beside two filters that learn nothing. All are
asked the same questions: three photos that no network has seen, each under one fixed draw of each noise.
"""

# %%
# The question
# ------------
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
# Filters have the face of the other estimators, and ``fit`` teaches them nothing but the layout; non-local
# means estimates how strong the noise is. Networks learn from 32 x 32 patches, each from the noise that it
# will meet, so there is one for each noise. Whole images are cut, denoised and joined.


def by_network(network, latent_dim, noise):
    """Return a function that denoises an image by a network that is trained for this noise."""
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
        name: {on: by_network(spec, latent_dim, noise) for on, noise in noises.items()}
        for name, (spec, latent_dim) in networks.items()
    },
}

# %%
# The answers
# -----------
# Each method meets the same draw of each noise. Below the images stands how good this one is.
display = ComparisonDisplay.from_methods(methods, clean, noises, data_range=1, limits=(0, 1))
plt.show()

# %%
# PSNR in dB, the mean over the three photos.
table = display.table.pivot(index="method", columns="noise", values="psnr")
print(table.round(2))

# %%
# What it says
# ------------
# A latent vector must say all that a patch shows, so the dense and the convolutional network, which have
# one, lose detail whatever the noise, and the colours of photos unlike the five that they learned from. The
# pooling network's latent map says what each place shows, and does well under every noise. Filters need no
# training and each is good at one noise: the median at stray pixels, non-local means at noise over all of
# the image. It reads the strength off the flattest places, so of noise on a part it sees nothing.
