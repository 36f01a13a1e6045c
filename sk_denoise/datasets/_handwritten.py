"""Handwritten digits: MNIST where there is a copy, scikit-learn's digits where there is none."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.utils import Bunch

__all__ = ["load_handwritten"]

FOLDER_VARIABLE = "SK_DENOISE_DATA"
FILE = "mnist.npz"
PARTS = ("x_train", "y_train", "x_test", "y_test")


def load_handwritten(folder: str | os.PathLike[str] | None = None) -> Bunch:
    """Load images of handwritten digits, in [0, 1], split into training and test images.

    MNIST is read from a file ``mnist.npz`` that you have: arrays ``x_train`` of shape (60000, 28, 28),
    ``y_train``, ``x_test`` and ``y_test``, as Keras distributes it. Without one, scikit-learn's own digits
    are returned, which are fewer and smaller. Nothing is downloaded.

    Parameters
    ----------
    folder : path-like, optional
        Where ``mnist.npz`` lies. By default what the environment variable ``SK_DENOISE_DATA`` says; where
        that is not set either, scikit-learn's digits are returned.

    Returns
    -------
    Bunch
        With the entries

        train, test : ndarray of shape (n_samples, height, width), float32
            Images in [0, 1]: 60,000 and 10,000 of 28 x 28, or 1,297 and 500 of 8 x 8.
        train_labels, test_labels : ndarray of shape (n_samples,)
            The digits that they show.
        name : {"MNIST", "digits"}
            What was loaded.

    Raises
    ------
    FileNotFoundError
        Where a folder is given, or named by the environment, and the file is not there.
    ValueError
        Where the file is not what it should be.

    Examples
    --------
    >>> from sk_denoise.datasets import load_handwritten
    >>> digits = load_handwritten()
    >>> digits.train.ndim, float(digits.train.max())
    (3, 1.0)
    """
    chosen = os.environ.get(FOLDER_VARIABLE) if folder is None else folder
    if not chosen:
        return _digits()
    path = Path(chosen) / FILE
    if not path.is_file():
        cause = f"the environment variable {FOLDER_VARIABLE} names" if folder is None else "you gave"
        raise FileNotFoundError(
            f"There is no {FILE} in the folder that {cause}: {str(chosen)!r}. Put it there, or unset "
            f"{FOLDER_VARIABLE} and give no folder for scikit-learn's own digits."
        )
    return _mnist(path)


def _digits() -> Bunch:
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32).reshape(-1, 8, 8)
    parts = train_test_split(images, labels, test_size=500, stratify=labels, random_state=0)
    train, test, train_labels, test_labels = parts
    return _bunch(train, train_labels, test, test_labels, "digits")


def _mnist(path: Path) -> Bunch:
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:  # closed if it is no zip
            x_train, y_train, x_test, y_test = (file[part] for part in PARTS)
    except (OSError, EOFError, ValueError, KeyError, AttributeError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} must be an npz file with the arrays {', '.join(PARTS)}: {error}") from error
    for images, labels in ((x_train, y_train), (x_test, y_test)):
        if images.ndim != 3 or images.dtype != np.uint8 or labels.shape != images.shape[:1]:
            raise ValueError(
                f"{path} must hold uint8 images of shape (n_samples, height, width) with a label each, got "
                f"{images.dtype} of shape {images.shape} with labels of shape {labels.shape}."
            )
    return _bunch(_to_unit(x_train), y_train, _to_unit(x_test), y_test, "MNIST")


def _to_unit(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.divide(images, 255, dtype=np.float32)


def _bunch(train: Any, train_labels: Any, test: Any, test_labels: Any, name: str) -> Bunch:
    return Bunch(train=train, train_labels=train_labels, test=test, test_labels=test_labels, name=name)
