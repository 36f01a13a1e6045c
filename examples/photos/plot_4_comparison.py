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
import pandas as pd
from scipy.ndimage import median_filter
from skimage.restoration import denoise_nl_means

from sk_denoise import (
    ConvNetwork,
    DenoisingAutoencoder,
    DenseNetwork,
    GaussianNoiser,
    PixelNoiser,
    PoolingNetwork,
    RegionNoiser,
)
from sk_denoise.datasets import RandomPatches, extract_patches, join_patches, load_pictures
from sk_denoise.metrics import psnr

noises = {
    "all of it": GaussianNoiser(0.2, random_state=0),
    "a part": RegionNoiser(GaussianNoiser(0.4), size=(0.3, 0.6), random_state=0),
    "pixels": PixelNoiser((0.1, 0.3), limits=(0, 1), random_state=0),
}
photos = load_pictures()
clean = np.stack([photo[20:212, 20:212] for photo in photos.test])
noisy = {name: np.asarray(noise.fit_transform(clean)) for name, noise in noises.items()}

# %%
# The methods
# -----------
# Networks learn from 32 x 32 patches, each from the noise that it will meet. Whole pictures are cut,
# denoised and joined.
networks = {
    "dense": (DenseNetwork((512,)), 128),
    "conv": (ConvNetwork((32, 64)), 128),
    "pooling": (PoolingNetwork((32,)), 48),
}


def by_network(network, latent_dim, noise, pictures):
    """Return pictures denoised by a network that is trained for this noise."""
    dae = DenoisingAutoencoder(
        network, latent_dim, noise=noise, batch_size=16, max_epochs=8, random_state=0
    ).fit_patches(RandomPatches(photos.train, 32, patches_per_picture=128))
    return [
        join_patches(dae.predict(extract_patches([x], 32, stride=16)), x.shape, stride=16) for x in pictures
    ]


def by_nonlocal_means(pictures):
    """Return pictures denoised by non-local means, which is told how strong the noise was."""
    restored = []
    for x, truth in zip(pictures, clean, strict=True):
        sigma = float(np.std(x - truth))
        how = {"patch_size": 5, "patch_distance": 6, "h": 0.8 * sigma, "sigma": sigma, "fast_mode": True}
        restored.append(denoise_nl_means(x, channel_axis=-1, **how))
    return restored


answers = {("noisy", name): x for name, x in noisy.items()}
for name, x in noisy.items():
    answers["median filter", name] = median_filter(x, size=(1, 3, 3, 1))
    answers["non-local means", name] = by_nonlocal_means(x)
    for network, (spec, latent_dim) in networks.items():
        answers[network, name] = by_network(spec, latent_dim, noises[name], x)

# %%
# The table
# ---------
# PSNR in dB, the mean over the three photos.
table = (
    pd.Series({key: psnr(clean, np.stack(answer), data_range=1) for key, answer in answers.items()})
    .unstack()
    .reindex(index=["noisy", "median filter", "non-local means", *networks], columns=list(noises))
    .rename_axis(index="method", columns="noise on")
)
print(table.round(2))

# %%
fig, axes = plt.subplots(len(noises), len(table) + 1, figsize=(11.5, 5.4), layout="constrained")
for line, name in zip(axes, noises, strict=True):
    line[0].imshow(clean[0])
    line[0].set_ylabel(f"noise on {name}")
    for ax, method in zip(line[1:], table.index, strict=True):
        ax.imshow(np.clip(answers[method, name][0], 0, 1))
        ax.set_xlabel(
            f"{table.loc[method, name]:.1f} dB", fontweight="bold" if table[name].idxmax() == method else None
        )
    for ax in line:
        ax.set(xticks=[], yticks=[])
for ax, title in zip(axes[0], ["clean", *table.index], strict=True):
    ax.set_title(title, fontsize="medium")
plt.show()

# %%
# What it says
# ------------
# A latent vector must say all that a patch shows, so the dense and the convolutional network, which have
# one, lose detail whatever the noise, and the colours of photos unlike the five that they learned from. The
# pooling network's latent map says what each place shows, and does well under every noise. Filters need no
# training and each is good at one noise: the median at stray pixels, non-local means at noise over all of
# the picture.
