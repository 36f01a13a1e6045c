"""Photographs that scikit-image carries in its wheel."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch

from sk_denoise._intensity import IntensityRange
from sk_denoise.datasets._checks import check_choice
from sk_denoise.io._colors import to_gray, to_rgb

__all__ = ["load_images"]

COLOR_TRAIN = ("astronaut.png", "hubble_deep_field.jpg", "motorcycle_left.png", "retina.jpg", "rocket.jpg")
COLOR_TEST = ("chelsea.png", "coffee.png", "ihc.png")
GRAY_TRAIN = ("brick.png", "cell.png", "grass.png", "gravel.png", "moon.png", "page.png")
GRAY_TEST = ("camera.png", "coins.png")


def load_images(color: Literal["rgb", "gray"] = "rgb") -> Bunch:
    """Load a few photographs, in [0, 1], split into training and test images.

    They come with scikit-image and show people, animals, things, textures, the sky, and what a microscope
    sees. Their sides measure from 191 to 1411 pixels. The split is always the same. Nothing is downloaded.

    Parameters
    ----------
    color : {"rgb", "gray"}, default="rgb"
        The eight colour images, or these turned gray and eight more that have no colour.

    Returns
    -------
    Bunch
        With the entries

        train, test : list of ndarray of shape (height, width, 3) or (height, width), float32
            Images in [0, 1], of different sizes: five and three in colour, eleven and five in gray.
        train_names, test_names : list of str
            What they are called, such as "chelsea".

    Raises
    ------
    FileNotFoundError
        Where this scikit-image lacks a file.

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
        train=[_image(file, color) for file in train],
        test=[_image(file, color) for file in test],
        train_names=[Path(file).stem for file in train],
        test_names=[Path(file).stem for file in test],
    )


def _image(file: str, color: Literal["rgb", "gray"]) -> NDArray[np.float32]:
    spec = importlib.util.find_spec("skimage")  # found, not imported: that takes a second
    assert spec is not None  # a dependency of ours
    assert spec.origin is not None
    path = Path(spec.origin).parent / "data" / file
    if not path.is_file():
        raise FileNotFoundError(f"The installed scikit-image lacks {file}, which its wheel carries: {path}.")
    from skimage.io import imread  # read_image asks for packages that a plain install does not bring

    convert = {"rgb": to_rgb, "gray": to_gray}[color]
    image = convert(imread(path))
    return IntensityRange.of_type(image.dtype).to_unit(image)
