"""
===================================================
784-64-784 with cross-entropy, and medical images
===================================================

The smallest autoencoder there is, one layer down and one back up, trained on binary cross-entropy with
Adadelta for 100 epochs. It shows how much a learning rate decides, and that the same recipe takes the
noise from medical images.
"""

# %%
# The recipe
# ----------
# A sigmoid at the output keeps what comes out in [0, 1], where ``loss="bce"`` wants the clean data to be;
# "bce" brings it along. The noise has a strength of 0.5 and is clipped to [0, 1].
import matplotlib.pyplot as plt
import numpy as np
import skimage
from skimage.color import rgb2gray
from skimage.transform import resize
from skimage.util import img_as_float32, view_as_windows

from sk_denoise import DenoisingAutoencoder, DenseNetwork, GaussianNoiser
from sk_denoise.datasets import ImageFolder, load_handwritten
from sk_denoise.metrics import psnr
from sk_denoise.plots import DenoisingDisplay, LossCurveDisplay

recipe = {
    "network": DenseNetwork((), latent_activation="relu"),
    "latent_dim": 64,
    "noise": GaussianNoiser(0.5, clip=(0, 1)),
    "loss": "bce",
    "optimizer": "adadelta",
    "max_epochs": 100,
    "random_state": 0,
}


def corrupt(X, sigma, seed=1):
    """Return rows or images under Gaussian noise that is clipped to [0, 1]."""
    return np.clip(X + np.random.default_rng(seed).normal(0, sigma, X.shape), 0, 1).astype(np.float32)


# %%
# The learning rate of Adadelta
# -----------------------------
# Adadelta scales its steps by the steps it has made so far, which begin at almost nothing; the rate that
# its author used, and the one of PyTorch, is 1. Keras's default is 0.001 today, as for its other
# optimizers. A script that says ``optimizer="adadelta"`` and no more then makes steps a thousand times too
# small: after its 100 epochs the output is still a grey average, *further* from the clean digits than the
# noisy input is. Here each optimizer has a rate of its own by default.
data = load_handwritten()
X_train, X_test = (images.reshape(len(images), -1) for images in (data.train, data.test))
recipe["image_shape"] = data.train.shape[1:]
recipe["batch_size"] = 256 if data.name == "MNIST" else 32
X_noisy = corrupt(X_test, 0.5)

fitted = {
    "rate 1 (default)": DenoisingAutoencoder(**recipe).fit(X_train),
    "rate 0.001": DenoisingAutoencoder(**recipe, learning_rate=0.001, learning_rate_schedule="constant").fit(
        X_train
    ),
}
before = psnr(X_test, X_noisy, data_range=1)
print(f"{data.name}, noisy: {before:.2f} dB")
after = {}
for name, dae in fitted.items():
    after[name] = psnr(X_test, dae.predict(X_noisy), data_range=1)
    print(f"{name}: {after[name]:.2f} dB after {dae.n_iter_} epochs")

# %%
for name, dae in fitted.items():
    display = DenoisingDisplay.from_estimator(
        dae, X_test, X_noisy=X_noisy, n_samples=8, labels=data.test_labels, limits=(0, 1)
    )
    display.figure_.suptitle(f"Adadelta, {name}: {before:.1f} dB before, {after[name]:.1f} dB after")
plt.show()

# %%
curves = LossCurveDisplay.from_estimators(fitted)
curves.axes_[0].set(ylabel="binary cross-entropy", title="A thousandth of the rate learns next to nothing")
plt.show()

# %%
# The same recipe on medical images
# -----------------------------------
# scikit-image carries a retina, cells, a stained section and microaneurysms. Cut into tiles of 28 x 28
# pixels they are rows of 784 numbers, like MNIST's digits. The network learns from the upper two thirds of
# the first three and is tested on their lower thirds, and on the microaneurysms, which are from the eye of
# someone else. The noise is 0.1, as such images may have.
SIDE, STEP = 28, 7


def load_gray(name):
    """Return one of scikit-image's images in gray, in [0, 1], cut so that tiles cover it."""
    image = img_as_float32(getattr(skimage.data, name)())
    image = rgb2gray(image) if image.ndim == 3 else image
    height, width = (side - side % SIDE for side in image.shape)
    return image[:height, :width].astype(np.float32)


def denoise(dae, image):
    """Denoise overlapping tiles of an image, and average them."""
    tiles = view_as_windows(image, (SIDE, SIDE), STEP)
    restored = dae.predict(tiles.reshape(-1, SIDE * SIDE)).reshape(tiles.shape)
    total, count = np.zeros_like(image), np.zeros_like(image)
    for row, column in np.ndindex(*tiles.shape[:2]):
        covered = np.s_[row * STEP : row * STEP + SIDE, column * STEP : column * STEP + SIDE]
        total[covered] += restored[row, column]
        count[covered] += 1
    return total / count


training, test = [], {}
for name in ("retina", "cell", "immunohistochemistry", "microaneurysms"):
    image = load_gray(name)
    cut = 0 if name == "microaneurysms" else 2 * len(image) // (3 * SIDE) * SIDE
    test[name] = image[cut:]
    if cut:
        training.append(view_as_windows(image[:cut], (SIDE, SIDE), 2 * STEP).reshape(-1, SIDE * SIDE))
tiles = np.concatenate(training)
print(f"{len(tiles)} tiles to learn from")

# %%
# Beside the recipe, with tiles in place of digits, stands the estimator as it comes: no parameter but the
# noise and the same 64 numbers for the code.
noise = GaussianNoiser(0.1, clip=(0, 1))
settings = {**recipe, "noise": noise, "image_shape": (SIDE, SIDE), "batch_size": 64, "max_epochs": 40}
medical = {
    "784-64-784, cross-entropy, Adadelta": DenoisingAutoencoder(**settings),
    "the estimator's defaults": DenoisingAutoencoder(
        latent_dim=64, noise=noise, image_shape=(SIDE, SIDE), max_epochs=10, random_state=0
    ),
}
size = 3 * SIDE
for title, dae in medical.items():
    dae.fit(tiles)
    parts = {"clean": [], "noisy": [], "denoised": []}  # the middle of each test image
    for name, image in test.items():
        noisy = corrupt(image, 0.1)
        restored = denoise(dae, noisy)
        scores = [psnr(image[None], other[None], data_range=1) for other in (noisy, restored)]
        print(f"{title}, {name}: {scores[0]:.1f} dB before, {scores[1]:.1f} dB after")
        top, left = ((side - size) // 2 for side in image.shape)
        for kind, whole in zip(parts, (image, noisy, restored), strict=True):
            parts[kind].append(whole[top : top + size, left : left + size])
    display = DenoisingDisplay.from_predictions(
        *(np.stack(part) for part in parts.values()),
        labels=list(test),
        data_range=1,
        limits=(0, 1),
        error_limit=0.15,
    )
    display.figure_.suptitle(f"Noise of 0.1, denoised by {title}")
plt.show()

# %%
# The recipe was made for digits: its cross-entropy sees little difference between greys, and its single layer
# gets little further than the average of a tile. The defaults, a hidden layer and a squared error that is
# scaled to the noise, keep the larger vessels and edges. In the last rows, on one scale in both images, is
# what was lost: not only noise, but vessels. What to remember all the same: never judge medical
# images by a denoiser's output alone. It shows what is likely, not what is there.
#
# A folder of X-rays
# ------------------
# X-rays of one region look alike as a whole, so there the whole image is the sample, made small. Give this
# function your folder; nothing else changes.


def load_folder(folder, side=64):
    """Return all images of a folder in gray, in [0, 1], side x side, as flat rows."""
    images = ImageFolder(folder, color="gray")
    return np.stack([resize(img_as_float32(x), (side, side), anti_aliasing=True).ravel() for x in images])


# %%
# .. code-block:: python
#
#    X = load_folder("x-rays")
#    X_train, X_test = train_test_split(X, random_state=0)
#    dae = DenoisingAutoencoder(**{**recipe, "image_shape": (64, 64), "batch_size": 32}).fit(X_train)
#    X_denoised = dae.predict(X_test)
