"""What the data sets ask of parameters and of images, checked once."""

from __future__ import annotations

import numbers
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from sk_denoise._validation import as_image_array, check_one_of, refuse_masked

__all__ = ["as_image", "as_sides", "check_choice", "check_count", "check_fraction", "check_two_counts"]

Image = NDArray[Any]
Word = TypeVar("Word", bound=str)


def check_count(value: Any, name: str, low: int = 1) -> int:
    """Return an integer that is at least ``low``; anything else is a clear error."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be an integer, got {value!r}.")
    if value < low:
        raise ValueError(f"{name} must be at least {low}, got {value!r}.")
    return int(value)


def check_two_counts(value: Any, name: str) -> tuple[int, int]:
    """Return ``(height, width)`` from one integer or two."""
    sides = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(sides) != 2:
        raise ValueError(f"{name} must be an integer or (height, width), got {value!r}.")
    return check_count(sides[0], name), check_count(sides[1], name)


def check_choice(value: Word, name: str, *words: Word) -> Word:
    """Return one of a few words; anything else is answered with the words there are."""
    return check_one_of(value, {word: word for word in words}, name)


def check_fraction(value: Any, name: str) -> float:
    """Return a number between 0 and 1, both excluded."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 < float(value) < 1:
        raise ValueError(f"{name} must be a number between 0 and 1, got {value!r}.")
    return float(value)


def as_image(item: Any) -> Image:
    """Return one image as an array ``(height, width)`` or ``(height, width, channels)``.

    Arrays have this layout already; tensors of three axes are ``(channels, height, width)``, as
    torchvision has them.
    """
    item = as_image_array(item)
    if not isinstance(item, np.ndarray):
        raise TypeError(
            "An image must be an array (height, width[, channels]) or a tensor ([channels,] height, width), "
            f"got {type(item).__name__}. Files are read by ImageFolder."
        )
    refuse_masked(item, "image")
    if item.dtype.kind not in "buif":
        raise TypeError(f"An image must hold real numbers, got an array of {item.dtype}.")
    if item.ndim not in (2, 3):
        hint = " A batch of images is not one: pass the data set itself." if item.ndim == 4 else ""
        raise ValueError(f"An image must have two or three axes, got an array of shape {item.shape}.{hint}")
    return np.asarray(item)


def as_sides(item: Any, name: str) -> tuple[Image, ...]:
    """Return ``(image,)``, or ``(noisy, clean)`` where the item is such a pair; errors name it."""
    try:
        return _sides_of(item)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from error


def _sides_of(item: Any) -> tuple[Image, ...]:
    if not isinstance(item, tuple | list):
        return (as_image(item),)
    if len(item) == 1:  # as TensorDataset(images) has them
        return (as_image(item[0]),)
    if len(item) != 2 or np.ndim(item[1]) < 2:
        kinds = ", ".join(type(part).__name__ for part in item[:4])
        raise TypeError(
            f"An item must be an image or a pair (noisy, clean) of images, got ({kinds}). "
            "Labels are of no use here: pass a data set that gives the images alone."
        )
    return as_image(item[0]), as_image(item[1])
