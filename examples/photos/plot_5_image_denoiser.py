"""
==========================================
Photos: a network for images of any size
==========================================

:class:`~sk_denoise.ImageDenoiser` learns from random patches and denoises whole images of whatever size.
Two small networks learn here, one that is told how strong the noise is and one that must see it for itself.
They meet non-local means and the weights in the box, and then noise that is not the same everywhere.
"""

# %%
# Training
# --------
# Eleven photos of different sizes, random patches of them, and on each patch noise of a strength of its own,
# up to 0.25. ``sigma="map"`` makes a network that is told the strength; "blind" is the default. They have a
# ninth of the weights of the default network, and are done in well under a minute.
from functools import partial

import matplotlib.pyplot as plt
import numpy as np

from sk_denoise import (
    FoldedUNetNetwork,
    GaussianNoiser,
    ImageDenoiser,
    NonLocalMeansDenoiser,
    compare_denoisers,
)
from sk_denoise.datasets import load_images
from sk_denoise.metrics import psnr
from sk_denoise.plots import ComparisonDisplay
from sk_denoise.restoration import denoise_image, estimate_sigma

photos = load_images("gray")
settings = {
    "noise": GaussianNoiser((0, 0.25)),
    "patch_size": 40,
    "patches_per_image": 16,
    "batch_size": 8,
    "max_epochs": 60,
    "random_state": 0,
}
small = FoldedUNetNetwork((32, 48), blocks=(1, 1))
blind = ImageDenoiser(small, sigma="blind", **settings).fit(photos.train)
told = ImageDenoiser(small, sigma="map", **settings).fit(photos.train)
print(f"{sum(w.numel() for w in told.net_.module_.parameters()):,} weights")
print("noise from {:.2f} to {:.2f}".format(*told.noise_levels_))

# %%
# Photos that none of them has seen
# ---------------------------------
# ``predict`` takes the five test photos, of four sizes, as a list. Filters take stacks of one size, so there
# each photo is a stack of its own. "gray" is the network in the box. It, non-local means and "told an
# estimate" read the strength of the noise off the image; "told" is given it.


def non_local_means(image, sigma="auto"):
    """Return an image denoised by a filter that learns nothing."""
    return NonLocalMeansDenoiser(sigma).fit(image[None]).predict(image[None])[0]


levels = {"weak, 0.05": 0.05, "strong, 0.2": 0.2}
methods = {
    "non-local means": non_local_means,
    "blind": blind,
    "told an estimate": told,
    "told": {name: partial(denoise_image, model=told, sigma=sigma) for name, sigma in levels.items()},
    "in the box": "gray",
}
noises = {name: GaussianNoiser(sigma, random_state=0) for name, sigma in levels.items()}
display = ComparisonDisplay.from_methods(
    methods, photos.test, noises, index=3, crop=(90, 200, 110, 110), data_range=1, limits=(0, 1)
)
plt.show()

# %%
# PSNR in dB, the mean over the five photos:
table = display.table.pivot(index="method", columns="noise", values="psnr")
print(table.round(2))

# %%
# So short a training on eleven photos does not make the best denoiser there is. Non-local means is ahead
# under weak noise and a little behind under strong noise, and the network in the box, which has seen far more
# photos for far longer, is ahead of all. To be told helps, here more under weak noise than under strong, and
# where the noise is the same everywhere an estimate is nearly as good as the truth.
#
# So for white Gaussian noise on photos, take what is in the box. A network of your own is for *your* images
# and *your* noise.
#
# To be told wrongly
# ------------------
# What is told is believed. With half the true strength noise stays, with twice of it detail goes.


def draw(answers, clean, region, shape, figsize):
    """Draw a part of each answer, with the PSNR of all of it."""
    _, axes = plt.subplots(*shape, figsize=figsize, layout="constrained")
    for ax, (name, answer) in zip(axes.flat, answers.items(), strict=True):
        ax.imshow(answer[region], cmap="gray", vmin=0, vmax=1)
        decibels = psnr(clean[None], answer[None], data_range=1)
        ax.set(xticks=[], yticks=[], title=name, xlabel=f"{decibels:.1f} dB")


SIGMA = 0.1
rng = np.random.default_rng(0)
camera = photos.test[photos.test_names.index("camera")]
noisy = camera + SIGMA * rng.standard_normal(camera.shape, dtype=np.float32)
wrongly = {f"told {sigma}": told.predict([noisy], sigma=sigma)[0] for sigma in (SIGMA / 2, SIGMA, 2 * SIGMA)}
draw({f"noise of {SIGMA}": noisy, **wrongly}, camera, np.s_[80:240, 150:310], (1, 4), (9, 2.8))
plt.show()

# %%
# Noise that grows from left to right
# -----------------------------------
# Now the noise rises from nothing at the left edge to 0.2 at the right one. ``sigma`` may be a map, with the
# strength at each pixel.


def ramp(image):
    """Return the standard deviation of the noise at each pixel."""
    return np.broadcast_to(np.linspace(0, 0.2, image.shape[1], dtype=np.float32), image.shape)


growing = [x + ramp(x) * rng.standard_normal(x.shape, dtype=np.float32) for x in photos.test]
average = float(np.sqrt(np.mean(ramp(camera) ** 2)))
methods = {
    "non-local means, average": partial(non_local_means, sigma=average),
    "told an estimate": told,
    "told the average": partial(denoise_image, model=told, sigma=average),
    "blind": blind,
    "told the map": lambda x: denoise_image(x, model=told, sigma=ramp(x)),
    "in the box, told the map": lambda x: denoise_image(x, sigma=ramp(x)),
}
comparison = compare_denoisers(methods, photos.test, {"growing": growing}, metrics="psnr", data_range=1)
uneven = comparison.set_index("method")["psnr"]
print(uneven.round(2).to_string())

# %%
coffee = photos.test_names.index("coffee")
shown = {
    "noisy": growing[coffee],
    "told an estimate": told.predict([growing[coffee]])[0],
    **{name: methods[name](growing[coffee]) for name in ("told the average", "told the map")},
    "blind": blind.predict([growing[coffee]])[0],
    "in the box, told the map": methods["in the box, told the map"](growing[coffee]),
}
draw(shown, photos.test[coffee], np.s_[:], (2, 3), (9, 4.9))
plt.show()
print(f"estimated: {estimate_sigma(growing[coffee]):.2f}, on average: {average:.2f}")

# %%
# One level cannot be right for all of it. An estimate is read off the flattest places, which here lie on the
# left, so most of the noise stays; the average blurs the left and leaves noise on the right. The map is right
# everywhere, and networks that learned from one level for each patch heed it.
#
# The blind network does nearly as well and is told nothing: it sees the noise around each pixel. So choose
# "map" where you know the level, from the gain of a camera say, and "blind" where you do not and it may vary.
