"""
=====================================
Displays: five ways to see a denoiser
=====================================

A PSNR is one number. Displays show you more: the remaining errors, a comparison with other methods, the
course of the training, the effect of other noise, and the latent code.

They work like the displays of scikit-learn. Create one with ``from_...``, draw it again with ``plot``, and
find its data, axes and artists in its attributes.
"""

# %%
# Two networks and a filter
# -------------------------
# Two autoencoders are trained on scikit-learn's digits with noise of 0.25. One has a latent code of 32
# numbers, the other one of 2. Give ``X_val`` to record the PSNR on validation digits after each epoch.
import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sk_denoise import DenoisingAutoencoder, GaussianNoiser, WienerDenoiser
from sk_denoise.plots import (
    ComparisonDisplay,
    DenoisingDisplay,
    LatentDisplay,
    LossCurveDisplay,
    NoiseRobustnessDisplay,
)

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X / 16, y, test_size=500, stratify=y, random_state=0)

noiser = GaussianNoiser(0.25, random_state=0)
networks = {
    f"code of {latent_dim}": DenoisingAutoencoder(
        latent_dim=latent_dim, noise=noiser, max_epochs=30, image_shape=(8, 8), random_state=0
    ).fit(X_train, X_val=X_test)
    for latent_dim in (32, 2)
}
methods = {**networks, "Wiener filter": WienerDenoiser(sigma=0.25).fit(X_train)}

# %%
# Which errors remain?
# --------------------
# :class:`~sk_denoise.plots.DenoisingDisplay` shows clean, noisy and denoised samples with their PSNR. The
# last row is the error, on one scale for all samples: red is too bright, blue is too dark. If you see strokes
# there, detail was lost.
display = DenoisingDisplay.from_estimator(networks["code of 32"], X_test, noiser=noiser, labels=y_test)
plt.show()

# %%
# Images of different sizes are given as a list. With ``kind="signals"``, signals are drawn as lines.
#
# Is another method better?
# -------------------------
# :class:`~sk_denoise.plots.ComparisonDisplay` shows methods side by side on one image, with a row for each
# noise. The best PSNR of a row is in bold. One image may be an exception, so look at the ``table`` too: it
# holds the means over all images.
noises = {"noise 0.25": noiser, "noise 0.5": GaussianNoiser(0.5, random_state=0)}
display = ComparisonDisplay.from_methods(methods, X_test, noises, data_range=1, image_shape=(8, 8), index=8)
plt.show()

# %%
table = display.table.pivot(index="method", columns="noise", values="psnr")
print(table.round(1))

# %%
# Was the training long enough?
# -----------------------------
# :class:`~sk_denoise.plots.LossCurveDisplay` shows the loss of each epoch, and below it the PSNR on the
# validation digits. A star marks the best epoch. Compare networks by their PSNR: their losses may differ in
# scaling and definition.
display = LossCurveDisplay.from_estimators(networks, log_scale=True)
plt.show()

# %%
# Does it work under other noise?
# -------------------------------
# :class:`~sk_denoise.plots.NoiseRobustnessDisplay` shows the PSNR of all methods under weaker and stronger
# noise than that of the training. The dashed line is the PSNR of the noisy digits: a method below it makes
# them worse. The bands contain the middle half of the digits.
#
# You can vary any parameter of any noiser, for example with ``noiser=SaltAndPepperNoiser(),
# parameter="amount"``.
robustness = NoiseRobustnessDisplay.from_estimators(
    methods, X_test, sigmas=[0.05, 0.1, 0.15, 0.25, 0.35, 0.5, 0.65], noiser=noiser, data_range=1
)
plt.show()

# %%
# Two numbers cannot describe a digit in detail, so this network is poor even under weak noise. The Wiener
# filter is close to the network with 32 numbers under weak noise and falls behind under strong noise. At the
# strongest noise even two numbers are better.
#
# What has it learned?
# --------------------
# :class:`~sk_denoise.plots.LatentDisplay` is a map of latent vectors. Vectors of two numbers are drawn as
# they are. Longer ones are reduced by a principal component analysis, or by your ``reducer``, such as
# scikit-learn's ``TSNE()``. The training used no labels: they only colour the points.
fig, axes = plt.subplots(1, 2, figsize=(10.5, 4.5), layout="constrained")
for ax, (name, network) in zip(axes, networks.items(), strict=True):
    display = LatentDisplay.from_estimator(network, X_test, y_test, ax=ax)
    ax.set_title(name)
# Both maps have the same legend.
axes[0].get_legend().remove()
plt.show()
