"""
==================================
Displays: five ways to look closer
==================================

One number says how good a denoiser is. It does not say what it gets wrong, whether it was trained for long
enough, what it does under other noise, or what it has learned. For each of these questions there is a
display, in the manner of scikit-learn's: made by ``from_...``, drawn by ``plot``, with its data, axes and
artists as attributes.
"""

# %%
# Two networks and a filter
# -------------------------
# On scikit-learn's digits, with noise of 0.25. One network has a code of 32 numbers, the other of 2. The
# digits given as ``X_val`` are what the PSNR after each epoch is measured on.
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
# What does it get wrong?
# -----------------------
# :class:`~sk_denoise.plots.DenoisingDisplay` shows clean, noisy and denoised samples with their PSNR, and
# in the last row the error: red where the answer is too bright, blue where it is too dark, on one scale for
# all. What is left of strokes there, rather than of noise, was lost.
display = DenoisingDisplay.from_estimator(networks["code of 32"], X_test, noiser=noiser, labels=y_test)
plt.show()

# %%
# It draws images of different sizes as well, and signals as lines: ``kind="signals"``.
#
# How does it compare?
# --------------------
# :class:`~sk_denoise.plots.ComparisonDisplay` puts methods side by side on one image, with a row for each
# noise. The best of a row is in bold. Its ``table`` holds the means over all images, which decide.
noises = {"noise 0.25": noiser, "noise 0.5": GaussianNoiser(0.5, random_state=0)}
display = ComparisonDisplay.from_methods(methods, X_test, noises, data_range=1, image_shape=(8, 8), index=8)
plt.show()

# %%
table = display.table.pivot(index="method", columns="noise", values="psnr")
print(table.round(1))

# %%
# Was it trained for long enough?
# -------------------------------
# :class:`~sk_denoise.plots.LossCurveDisplay` shows the loss of each epoch, and below it the PSNR on the
# validation digits; the star is its best epoch. The loss of one network cannot be compared with that of
# another which has another scaling or loss. The PSNR can.
display = LossCurveDisplay.from_estimators(networks, log_scale=True)
plt.show()

# %%
# What does it do under other noise?
# ----------------------------------
# :class:`~sk_denoise.plots.NoiseRobustnessDisplay` shows all methods the same noise, weaker and stronger
# than what they were made for. The dashed line is what the noisy digits have by themselves: where a method
# is below it, leave the digits alone. The bands hold the middle half of the digits. Any parameter of any
# noiser may be the strength, such as ``noiser=SaltAndPepperNoiser(), parameter="amount"``.
robustness = NoiseRobustnessDisplay.from_estimators(
    methods, X_test, sigmas=[0.05, 0.1, 0.15, 0.25, 0.35, 0.5, 0.65], noiser=noiser, data_range=1
)
plt.show()

# %%
# A code of two numbers can say little of a digit, however weak the noise is. The Wiener filter is close to
# the wide network under weak noise and falls behind under strong noise; at last even two numbers are
# better.
#
# What has it learned?
# --------------------
# :class:`~sk_denoise.plots.LatentDisplay` is a map of latent vectors. Vectors of two numbers are drawn as
# they are, others after a principal component analysis, or after whatever ``reducer=`` is, such as
# scikit-learn's ``TSNE()``. The network has seen no labels; the colours are for us.
fig, axes = plt.subplots(1, 2, figsize=(10.5, 4.5), layout="constrained")
for ax, (name, network) in zip(axes, networks.items(), strict=True):
    display = LatentDisplay.from_estimator(network, X_test, y_test, ax=ax)
    ax.set_title(name)
axes[0].get_legend().remove()  # one is enough
plt.show()
