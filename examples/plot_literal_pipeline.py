"""
=================================
A pipeline that learns to denoise
=================================

A noiser and a denoiser, one after the other, make a pipeline that learns to denoise: from clean data, in
one call of ``fit``. This example shows what happens inside, and why it works as well as it does.
"""

# %%
# The two steps
# -------------
# Scikit-learn's digits are images of 8 x 8 pixels, here flat rows of 64 numbers in [0, 1]. The noiser
# adds Gaussian noise with a standard deviation of 0.25, the autoencoder learns to take it away.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline

from sk_denoise import DenoisingAutoencoder, GaussianNoiser
from sk_denoise.metrics import psnr
from sk_denoise.noise import carried_source
from sk_denoise.plots import DenoisingDisplay

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X / 16, y, test_size=500, stratify=y, random_state=0)

pipe = Pipeline(
    [
        ("noise", GaussianNoiser(0.25, random_state=0)),
        ("dae", DenoisingAutoencoder(max_epochs=40, random_state=0)),
    ]
)
pipe.fit(X_train)

# %%
# Noise that the pipeline has not seen, on digits that it has not seen, serves as the test. The quality is
# the peak signal-to-noise ratio (PSNR) in dB, for a data range of 1: 3 dB more are half the squared error.
X_noisy = X_test + np.random.default_rng(1).normal(0, 0.25, X_test.shape)

quality = {"noisy": psnr(X_test, X_noisy, data_range=1)}
quality["pipeline"] = psnr(X_test, pipe.predict(X_noisy), data_range=1)
print(f"noisy: {quality['noisy']:.2f} dB, denoised: {quality['pipeline']:.2f} dB")

# %%
# No y was given. Who comes from other libraries may want to say that the clean digits are what is to be
# learned, ``pipe.fit(X, X)``; it means the same and gives the same network, bit for bit.
same = clone(pipe).fit(X_train, X_train)
print("the same predictions:", np.array_equal(same.predict(X_noisy), pipe.predict(X_noisy)))

# %%
# What the noised data carry
# --------------------------
# How can the second step learn from ``fit(X)``, when all it is given are noisy digits? What leaves a noiser
# looks like any array, and carries the clean data it was made from, with the recipe of the noise.
noised = GaussianNoiser(0.25, random_state=0).fit_transform(X_train)
source = carried_source(noised)
print(f"{type(noised).__name__} of shape {noised.shape}, made by {source.noiser}")
print("carries the clean digits:", np.array_equal(source.clean, X_train))

# %%
# ``target_source_`` tells where a fitted autoencoder took its targets from. The alternatives are "X" (the
# data were clean), "y" and "X_clean" (the clean side was given).
print("target_source_:", pipe["dae"].target_source_)

# %%
# Data that were edited after the noiser no longer belong to their source row by row. That is noticed, and
# refused, rather than learned from.
try:
    DenoisingAutoencoder().fit(noised[::-1])
except ValueError as error:
    print(error)

# %%
# Prediction adds no noise
# ------------------------
# The noiser corrupts in training only: its ``fit_transform`` adds noise, its ``transform`` does not. So a
# pipeline that was trained with noise can be deployed as it is.
print("transform changes nothing:", np.array_equal(pipe["noise"].transform(X_noisy), X_noisy))

# %%
# The same in one step
# --------------------
# An autoencoder that is given clean data adds its noise itself: ``noise=GaussianNoiser(0.25)`` says which.
alone = DenoisingAutoencoder(noise=GaussianNoiser(0.25), max_epochs=40, random_state=0).fit(X_train)
print("target_source_:", alone.target_source_)
print("the same predictions:", np.array_equal(alone.predict(X_noisy), pipe.predict(X_noisy)))

# %%
# Why the clean source matters
# ----------------------------
# With the source at hand, every batch of the training is corrupted afresh. Two simpler ways are common, and
# lose: to corrupt the digits once and learn the pairs, and to take noisy digits for clean ones. Plain
# arrays carry nothing, so ``numpy.asarray`` lets us try. ``fit(once)`` would warn, because the noise in it is
# recognized; ``fit(once, once)`` says that noisy digits are meant to count as clean.
once = np.asarray(noised)

frozen = DenoisingAutoencoder(max_epochs=40, random_state=0).fit(once, X_clean=X_train)
quality["one frozen draw"] = psnr(X_test, frozen.predict(X_noisy), data_range=1)

noisy_target = DenoisingAutoencoder(noise=GaussianNoiser(0.25), max_epochs=40, random_state=0)
noisy_target.fit(once, once)
quality["noisy target"] = psnr(X_test, noisy_target.predict(X_noisy), data_range=1)

for name, decibels in quality.items():
    print(f"{name:16} {decibels:5.2f} dB")

# %%
# An image
# ---------
# All rows share one scale of greys; the numbers are the PSNR of each digit.
one_of_each = [int(np.flatnonzero(y_test == digit)[0]) for digit in range(10)]
display = DenoisingDisplay.from_estimator(
    pipe, X_test[one_of_each], X_noisy=X_noisy[one_of_each], image_shape=(8, 8), labels=y_test[one_of_each]
)
plt.show()

# %%
names = ["noisy", "noisy target", "one frozen draw", "pipeline"]
fig, ax = plt.subplots(figsize=(7, 2.6), layout="constrained")
bars = ax.barh(names, [quality[name] for name in names], color=["0.75", "0.6", "0.6", "tab:blue"])
ax.bar_label(bars, fmt="%.1f dB", padding=4)
ax.set(xlabel="PSNR on test digits in dB", xlim=(0, 22), xticks=range(0, 21, 5))
ax.spines[["top", "right"]].set_visible(False)
plt.show()
