"""
=================================
A pipeline that learns to denoise
=================================

A pipeline of a noiser and a denoiser learns to denoise from clean data, in one call of ``fit``. This example
shows you how it works inside, and why it works well.
"""

# %%
# The two steps
# -------------
# The data are scikit-learn's digits: images of 8 x 8 pixels, as flat rows of 64 numbers in [0, 1]. The noiser
# adds Gaussian noise with a standard deviation of 0.25. The autoencoder learns to remove it.
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
# The test uses new digits with new noise. The measure is the peak signal-to-noise ratio (PSNR) in dB, for a
# data range of 1. A gain of 3 dB means half the squared error.
X_noisy = X_test + np.random.default_rng(1).normal(0, 0.25, X_test.shape)

quality = {"noisy": psnr(X_test, X_noisy, data_range=1)}
quality["pipeline"] = psnr(X_test, pipe.predict(X_noisy), data_range=1)
print(f"noisy: {quality['noisy']:.2f} dB, denoised: {quality['pipeline']:.2f} dB")

# %%
# You need no y. In other libraries you would pass the clean digits as the target, ``pipe.fit(X, X)``. That
# works too, and gives the same network, bit for bit.
same = clone(pipe).fit(X_train, X_train)
print("the same predictions:", np.array_equal(same.predict(X_noisy), pipe.predict(X_noisy)))

# %%
# Noisy data carry their clean source
# -----------------------------------
# The second step receives noisy digits only. It can still learn, because the output of a noiser carries the
# clean data and the noiser itself. Otherwise it behaves like any array.
noised = GaussianNoiser(0.25, random_state=0).fit_transform(X_train)
source = carried_source(noised)
print(f"{type(noised).__name__} of shape {noised.shape}, made by {source.noiser}")
print("carries the clean digits:", np.array_equal(source.clean, X_train))

# %%
# The attribute ``target_source_`` names the source of the targets. Other values are "X" (the data were
# clean), "y" and "X_clean" (the clean data were given).
print("target_source_:", pipe["dae"].target_source_)

# %%
# If you change the data after the noiser, rows no longer match their clean source. Then ``fit`` raises an
# error:
try:
    DenoisingAutoencoder().fit(noised[::-1])
except ValueError as error:
    print(error)

# %%
# Prediction adds no noise
# ------------------------
# The noiser corrupts during training only: ``fit_transform`` adds noise, ``transform`` does not. So you can
# deploy the trained pipeline unchanged.
print("transform changes nothing:", np.array_equal(pipe["noise"].transform(X_noisy), X_noisy))

# %%
# The same in one step
# --------------------
# You can also give the noiser to the autoencoder, ``noise=GaussianNoiser(0.25)``, and fit it to clean data.
alone = DenoisingAutoencoder(noise=GaussianNoiser(0.25), max_epochs=40, random_state=0).fit(X_train)
print("target_source_:", alone.target_source_)
print("the same predictions:", np.array_equal(alone.predict(X_noisy), pipe.predict(X_noisy)))

# %%
# Why the clean source matters
# ----------------------------
# With the clean source, every batch gets fresh noise. Two other ways are common:
#
# - corrupt the digits once, and train on these pairs. The noise of pairs of rows is then drawn anew from
#   their differences, since it does not depend on the row. That is nearly as good;
# - use noisy digits as if they were clean, which teaches the noise.
#
# ``numpy.asarray`` drops the clean source, so you can try both. ``fit(once)`` would warn about noise in the
# data. ``fit(once, once)`` states that the noisy digits are the target.
once = np.asarray(noised)

frozen = DenoisingAutoencoder(max_epochs=40, random_state=0).fit(once, X_clean=X_train)
quality["one frozen draw"] = psnr(X_test, frozen.predict(X_noisy), data_range=1)

noisy_target = DenoisingAutoencoder(noise=GaussianNoiser(0.25), max_epochs=40, random_state=0)
noisy_target.fit(once, once)
quality["noisy target"] = psnr(X_test, noisy_target.predict(X_noisy), data_range=1)

for name, decibels in quality.items():
    print(f"{name:16} {decibels:5.2f} dB")

# %%
# Denoised digits
# ---------------
# All rows share one scale of greys. The numbers are the PSNR of each digit.
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
