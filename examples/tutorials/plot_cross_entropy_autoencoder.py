"""
===================================================
784-64-784 with cross-entropy, and medical images
===================================================

The smallest autoencoder has one layer in the encoder and one in the decoder. This example trains it with
binary cross-entropy and Adadelta for 100 epochs. It shows you the effect of the learning rate, and applies
the same recipe to medical images.
"""

# %%
# The recipe
# ----------
# Cross-entropy needs clean data in [0, 1]. ``loss="bce"`` adds a sigmoid, which keeps the output in this
# range. The noise level is 0.5, and noisy pixels are clipped to [0, 1].
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
# Adadelta scales its steps by its earlier steps, which begin close to zero. Its author and PyTorch use a
# learning rate of 1. Keras has a default of 0.001, as for its other optimizers, so a script with
# ``optimizer="adadelta"`` makes steps a thousand times too small. After 100 epochs its output is still a grey
# average, *further* from the clean digits than the noisy input.
#
# In sk_denoise each optimizer has its own default learning rate.
data = load_handwritten()
X_train, X_test = (images.reshape(len(images), -1) for images in (data.train, data.test))
recipe["image_shape"] = data.train.shape[1:]
recipe["batch_size"] = 256 if data.name == "MNIST" else 32
X_noisy = corrupt(X_test, 0.5)

fitted = {
    "learning rate 1 (default)": DenoisingAutoencoder(**recipe).fit(X_train),
    "learning rate 0.001": DenoisingAutoencoder(
        **recipe, learning_rate=0.001, learning_rate_schedule="constant"
    ).fit(X_train),
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
curves.axes_[0].set(ylabel="binary cross-entropy", title="Adadelta with two learning rates")
plt.show()

# %%
# The same recipe on medical images
# ---------------------------------
# scikit-image has images of a retina, of cells, of a stained section and of microaneurysms. Cut into tiles of
# 28 x 28 pixels, they are rows of 784 numbers, like the digits of MNIST. The upper two thirds of the first
# three images are for training. The test images are their lower thirds, and the microaneurysms, from the eye
# of another patient. The noise level is 0.1, as is common for such images.
SIDE, STEP = 28, 7


def load_gray(name):
    """Return a gray image of scikit-image in [0, 1], cropped to a multiple of a tile."""
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
print(f"{len(tiles)} training tiles")

# %%
# For comparison, a second estimator has default parameters, with the same noise and the same latent code of
# 64 numbers.
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
    # The middle of each test image is drawn.
    parts = {"clean": [], "noisy": [], "denoised": []}
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
# The recipe suits digits. On medical images its cross-entropy distinguishes greys poorly, and its single
# layer restores little more than the average of a tile. The defaults have a hidden layer and a squared error
# that is scaled to the noise. They keep the larger vessels and edges.
#
# The last rows show the error, on one scale in both figures. You see not only noise there, but also vessels.
# So never judge medical images by the output of a denoiser alone: it shows likely structures, which need not
# be in the image.
#
# A folder of X-rays
# ------------------
# X-rays of one body region look alike as a whole. So use whole images, reduced in size, as samples in place
# of tiles. This function loads them from your folder:


def load_folder(folder, side=64):
    """Return all images of a folder in gray, as flat rows of side * side values in [0, 1]."""
    images = ImageFolder(folder, color="gray")
    return np.stack([resize(img_as_float32(x), (side, side), anti_aliasing=True).ravel() for x in images])


# %%
# .. code-block:: python
#
#    X = load_folder("x-rays")
#    X_train, X_test = train_test_split(X, random_state=0)
#    dae = DenoisingAutoencoder(**{**recipe, "image_shape": (64, 64), "batch_size": 32}).fit(X_train)
#    X_denoised = dae.predict(X_test)
