"""
===============================
Photos: noise on a part of it
===============================

A scratch, a stain, a bad scan line: noise that covers a part of the image and spares the rest. Where it
lies is not known beforehand. The network must mend the part and leave alone what is good.
"""

# %%
# Noise on a rectangle
# --------------------
# :class:`~sk_denoise.RegionNoiser` puts any noise on a random part of each image. Its sides are drawn for
# each image too, here between a fifth and a half of the image's.
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
# Two ways to weigh the error
# ---------------------------
# Most pixels are intact, so most of what a network learns is to copy. ``emphasis`` weighs corrupted and
# intact entries (Vincent et al., 2010): with ``(1, 0.1)`` the intact ones count a tenth.
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


def error_inside(answer):
    """Return the root mean squared errors of noisy and of intact pixels."""
    squared = (answer - clean) ** 2
    return np.sqrt(squared[hit].mean()), np.sqrt(squared[~hit].mean())


results = {name: dae.predict(noisy) for name, dae in daes.items()}
errors = {name: error_inside(answer) for name, answer in {"noisy": noisy, **results}.items()}
quality = {name: psnr(clean, answer, data_range=1) for name, answer in {"noisy": noisy, **results}.items()}
print(f"{'':20}{'PSNR':>8}{'error inside':>15}{'outside':>10}")
for name, (inside, outside) in errors.items():
    print(f"{name:20}{quality[name]:8.2f}{inside:15.3f}{outside:10.3f}")

# %%
# The part is found without being told where it is:
display = DenoisingDisplay.from_estimator(
    daes["all alike"], clean[::12], X_noisy=noisy[::12], n_samples=8, limits=(0, 1)
)
plt.show()

# %%
# Which of the two is better depends on what is wanted: emphasis mends the part better, and pays for it with
# what was good. Where the bad part is known, take the network's answer there and the image elsewhere.
