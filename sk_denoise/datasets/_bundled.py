"""Images in the wheels of dependencies: photographs and handwritten digits."""

from __future__ import annotations

import importlib.util
import os
import zipfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.utils import Bunch

from sk_denoise._intensity import IntensityRange
from sk_denoise._validation import check_choice
from sk_denoise.io._colors import to_gray, to_rgb

__all__ = ["load_handwritten", "load_images"]

COLOR_TRAIN = ("astronaut.png", "hubble_deep_field.jpg", "motorcycle_left.png", "retina.jpg", "rocket.jpg")
COLOR_TEST = ("chelsea.png", "coffee.png", "ihc.png")
GRAY_TRAIN = ("brick.png", "cell.png", "grass.png", "gravel.png", "moon.png", "page.png")
GRAY_TEST = ("camera.png", "coins.png")

# Environment variable with the folder of MNIST_FILE.
FOLDER_VARIABLE = "SK_DENOISE_DATA"
MNIST_FILE = "mnist.npz"
MNIST_ARRAYS = ("x_train", "y_train", "x_test", "y_test")


def load_images(color: Literal["rgb", "gray"] = "rgb") -> Bunch:
    """Load a few photographs in [0, 1], split into training and test images.

    The images are part of scikit-image. They show people, animals, objects, textures, the sky and cells under
    a microscope. Their sides measure from 191 to 1411 pixels. The split is fixed. Nothing is downloaded.

    Parameters
    ----------
    color : {"rgb", "gray"}, default="rgb"
        Colour of the images: "rgb" for eight images in colour, "gray" for these in gray and eight more
        images without colour.

    Returns
    -------
    Bunch
        Dictionary-like object with the entries

        train, test : list of ndarray of shape (height, width, 3) or (height, width), float32
            Images in [0, 1], of different sizes: five and three in colour, eleven and five in gray.
        train_names, test_names : list of str
            Names of the images, such as "chelsea".

    Raises
    ------
    FileNotFoundError
        If the installed scikit-image lacks a file.

    Examples
    --------
    >>> from sk_denoise.datasets import load_images
    >>> images = load_images()
    >>> images.test_names[0], images.test[0].shape, images.test[0].dtype
    ('chelsea', (300, 451, 3), dtype('float32'))
    """
    is_gray = check_choice(color, "color", "rgb", "gray") == "gray"
    train = COLOR_TRAIN + GRAY_TRAIN * is_gray
    test = COLOR_TEST + GRAY_TEST * is_gray
    return Bunch(
        train=[_read_bundled_image(file, color) for file in train],
        test=[_read_bundled_image(file, color) for file in test],
        train_names=[Path(file).stem for file in train],
        test_names=[Path(file).stem for file in test],
    )


def _read_bundled_image(file: str, color: Literal["rgb", "gray"]) -> NDArray[np.float32]:
    # To import scikit-image for its path would take a second.
    spec = importlib.util.find_spec("skimage")
    # scikit-image is a required dependency.
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin).parent / "data" / file
    if not path.is_file():
        raise FileNotFoundError(f"The installed scikit-image lacks {file}, which its wheel carries: {path}.")
    # read_image needs packages of an extra, which a plain install lacks.
    from skimage.io import imread

    convert = {"rgb": to_rgb, "gray": to_gray}[color]
    image = convert(imread(path))
    return IntensityRange.of_type(image.dtype).to_unit(image)


def load_handwritten(folder: str | os.PathLike[str] | None = None) -> Bunch:
    """Load handwritten digits in [0, 1], split into training and test images.

    MNIST is read from your file ``mnist.npz``, in the format of Keras: arrays ``x_train`` of shape
    (60000, 28, 28), ``y_train``, ``x_test`` and ``y_test``. Without this file you get the digits of
    scikit-learn, which are fewer and smaller. Nothing is downloaded.

    Parameters
    ----------
    folder : path-like, optional
        Folder of ``mnist.npz``. By default it is the value of the environment variable ``SK_DENOISE_DATA``.
        If this is not set either, you get the digits of scikit-learn.

    Returns
    -------
    Bunch
        Dictionary-like object with the entries

        train, test : ndarray of shape (n_samples, height, width), float32
            Images in [0, 1]: 60,000 and 10,000 of 28 x 28, or 1,297 and 500 of 8 x 8.
        train_labels, test_labels : ndarray of shape (n_samples,)
            Digits on the images.
        name : {"MNIST", "digits"}
            Name of the data set.

    Raises
    ------
    FileNotFoundError
        If the parameter or the environment variable names a folder without the file.
    ValueError
        If the file has other contents.

    Examples
    --------
    >>> from sk_denoise.datasets import load_handwritten
    >>> digits = load_handwritten()
    >>> digits.train.ndim, float(digits.train.max())
    (3, 1.0)
    """
    chosen = os.environ.get(FOLDER_VARIABLE) if folder is None else folder
    if not chosen:
        return _load_digits()
    path = Path(chosen) / MNIST_FILE
    if not path.is_file():
        cause = f"the environment variable {FOLDER_VARIABLE} names" if folder is None else "you gave"
        raise FileNotFoundError(
            f"There is no {MNIST_FILE} in the folder that {cause}: {str(chosen)!r}. Put it there, or unset "
            f"{FOLDER_VARIABLE} and give no folder for scikit-learn's own digits."
        )
    return _load_mnist(path)


def _load_digits() -> Bunch:
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32).reshape(-1, 8, 8)
    parts = train_test_split(images, labels, test_size=500, stratify=labels, random_state=0)
    train, test, train_labels, test_labels = parts
    return _bunch(train, train_labels, test, test_labels, "digits")


def _load_mnist(path: Path) -> Bunch:
    try:
        # np.load leaves a file open that is not a zip archive, so the stream is closed here.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            x_train, y_train, x_test, y_test = (file[name] for name in MNIST_ARRAYS)
    except (OSError, EOFError, ValueError, KeyError, AttributeError, zipfile.BadZipFile) as error:
        arrays = ", ".join(MNIST_ARRAYS)
        raise ValueError(f"{path} must be an npz file with the arrays {arrays}: {error}") from error
    for images, labels in ((x_train, y_train), (x_test, y_test)):
        if images.ndim != 3 or images.dtype != np.uint8 or labels.shape != images.shape[:1]:
            raise ValueError(
                f"{path} must hold uint8 images of shape (n_samples, height, width) with a label each, got "
                f"{images.dtype} of shape {images.shape} with labels of shape {labels.shape}."
            )
    return _bunch(_bytes_to_unit(x_train), y_train, _bytes_to_unit(x_test), y_test, "MNIST")


def _bytes_to_unit(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.divide(images, 255, dtype=np.float32)


def _bunch(train: Any, train_labels: Any, test: Any, test_labels: Any, name: str) -> Bunch:
    return Bunch(train=train, train_labels=train_labels, test=test, test_labels=test_labels, name=name)
