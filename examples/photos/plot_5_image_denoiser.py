"""
==========================================
Photos: a network for images of any size
==========================================

:class:`~sk_denoise.ImageDenoiser` is trained on random patches and denoises whole images of any size. This
example trains two small networks: one takes the noise level as an input, the other one does not. It compares
them with non-local means and a pretrained network, under uniform noise and under noise that varies across the
image.
"""

# %%
# Training
# --------
# The training data are random patches of eleven photos of different sizes. Each patch gets a random noise
# level up to 0.25. With ``sigma="map"``, the network takes a noise-level map as an input; "blind" is the
# default. These networks have a ninth of the weights of the default network, and train in less than a minute.
from functools import partial

import matplotlib.pyplot as plt
import numpy as np

from sk_denoise import (
    FoldedUNetNetwork,
    GaussianNoiser,
    ImageDenoiser,
    NonLocalMeansDenoiser,
    compare_restorers,
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
with_map = ImageDenoiser(small, sigma="map", **settings).fit(photos.train)
print(f"{sum(w.numel() for w in with_map.net_.module_.parameters()):,} weights")
print("noise from {:.2f} to {:.2f}".format(*with_map.noise_levels_))

# %%
# Test photos
# -----------
# ``predict`` takes the five test photos, of four sizes, as a list. Filters take stacks of images of one size,
# so each photo becomes a stack. The name "gray" stands for the pretrained network.
#
# Non-local means, the pretrained network and "estimated sigma" estimate the noise level of each photo. "Known
# sigma" takes it as a parameter.


def non_local_means(image, sigma="auto"):
    """Return an image denoised by non-local means."""
    return NonLocalMeansDenoiser(sigma).fit(image[None]).predict(image[None])[0]


levels = {"weak, 0.05": 0.05, "strong, 0.2": 0.2}
methods = {
    "non-local means": non_local_means,
    "blind": blind,
    "estimated sigma": with_map,
    "known sigma": {
        name: partial(denoise_image, model=with_map, sigma=sigma) for name, sigma in levels.items()
    },
    "pretrained": "gray",
}
noises = {name: GaussianNoiser(sigma, random_state=0) for name, sigma in levels.items()}
display = ComparisonDisplay.from_methods(
    methods, photos.test, noises, index=3, crop=(90, 200, 110, 110), data_range=1, limits=(0, 1)
)
plt.show()

# %%
# The table holds the mean PSNR over the five photos, in dB:
table = display.table.pivot(index="method", columns="noise", values="psnr")
print(table.round(2))

# %%
# The pretrained network is best: it was trained far longer, on far more photos. Non-local means is better
# than the small networks under weak noise, and a little worse under strong noise. The noise level as an input
# helps, here more under weak noise. For uniform noise, an estimate is nearly as good as the true level.
#
# So for white Gaussian noise on photos, use the pretrained network. Train your own network for *your* images
# and *your* noise.
#
# A wrong noise level
# -------------------
# The network trusts the noise level that you give it. With half the true level, noise remains. With twice the
# true level, detail is lost.


def draw(images, clean, region, shape, figsize):
    """Draw a part of each image, with the PSNR of the whole image."""
    _, axes = plt.subplots(*shape, figsize=figsize, layout="constrained")
    for ax, (name, image) in zip(axes.flat, images.items(), strict=True):
        ax.imshow(image[region], cmap="gray", vmin=0, vmax=1)
        decibels = psnr(clean[None], image[None], data_range=1)
        ax.set(xticks=[], yticks=[], title=name, xlabel=f"{decibels:.1f} dB")


SIGMA = 0.1
rng = np.random.default_rng(0)
camera = photos.test[photos.test_names.index("camera")]
noisy = camera + SIGMA * rng.standard_normal(camera.shape, dtype=np.float32)
by_sigma = {
    f"sigma={sigma}": with_map.predict([noisy], sigma=sigma)[0] for sigma in (SIGMA / 2, SIGMA, 2 * SIGMA)
}
draw({f"noise of {SIGMA}": noisy, **by_sigma}, camera, np.s_[80:240, 150:310], (1, 4), (9, 2.8))
plt.show()

# %%
# Noise that increases from left to right
# ---------------------------------------
# Now the noise level rises from 0 at the left edge to 0.2 at the right edge. You can give ``sigma`` as a map
# with the noise level of each pixel.


def ramp(image):
    """Return the standard deviation of the noise at each pixel."""
    return np.broadcast_to(np.linspace(0, 0.2, image.shape[1], dtype=np.float32), image.shape)


growing = [x + ramp(x) * rng.standard_normal(x.shape, dtype=np.float32) for x in photos.test]
average = float(np.sqrt(np.mean(ramp(camera) ** 2)))
methods = {
    "non-local means, average sigma": partial(non_local_means, sigma=average),
    "estimated sigma": with_map,
    "average sigma": partial(denoise_image, model=with_map, sigma=average),
    "blind": blind,
    "sigma map": lambda x: denoise_image(x, model=with_map, sigma=ramp(x)),
    "pretrained, sigma map": lambda x: denoise_image(x, sigma=ramp(x)),
}
comparison = compare_restorers(methods, photos.test, {"growing": growing}, metrics="psnr", data_range=1)
uneven = comparison.set_index("method")["psnr"]
print(uneven.round(2).to_string())

# %%
coffee = photos.test_names.index("coffee")
shown = {
    "noisy": growing[coffee],
    "estimated sigma": with_map.predict([growing[coffee]])[0],
    **{name: methods[name](growing[coffee]) for name in ("average sigma", "sigma map")},
    "blind": blind.predict([growing[coffee]])[0],
    "pretrained, sigma map": methods["pretrained, sigma map"](growing[coffee]),
}
draw(shown, photos.test[coffee], np.s_[:], (2, 3), (9, 4.9))
plt.show()
print(f"estimated: {estimate_sigma(growing[coffee]):.2f}, on average: {average:.2f}")

# %%
# No single noise level fits the whole image. The estimate comes from the flattest parts, here on the left, so
# most of the noise remains. The average blurs the left side and leaves noise on the right side. The map fits
# everywhere, although the training patches had one noise level each.
#
# The blind network does nearly as well without a noise level: it infers the noise from the pixels around. So
# choose "map" if you know the noise level, for example from the gain of a camera. Choose "blind" if you do
# not know it and it may vary.
