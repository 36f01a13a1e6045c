"""Samples as they are drawn: stacks of images, lists of images of different sizes, signals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_denoise._intensity import IntensityRange
from sk_denoise._validation import check_numbers, image_of, refuse_masked
from sk_denoise.comparison._samples import Samples, checked_samples
from sk_denoise.metrics._fixed_noise import is_ragged

__all__ = ["Samples", "as_images", "as_samples", "as_signals", "extremes_of", "range_of"]


def as_samples(samples: Any, name: str) -> Samples:
    """Return samples as an array (n_samples, ...) of finite numbers, or as a list where sizes differ."""
    refuse_masked(samples, name)
    if is_ragged(samples):
        return checked_samples([image_of(x) for x in samples], name)
    array = check_numbers(samples, name)
    if array.ndim < 2:
        raise ValueError(
            f"{name} has shape {array.shape}, expected (n_samples, ...). A single sample needs a first axis: "
            "x[None]."
        )
    return array


def as_images(samples: Any, image_shape: Sequence[int] | None, name: str, otherwise: str) -> Samples:
    """Return samples as (n_samples, height, width[, 3]), or as a list of such where sizes differ.

    ``otherwise`` says what to do with rows that are no images.
    """
    images = as_samples(samples, name)
    if isinstance(images, list):
        if image_shape is not None:
            raise ValueError(
                f"image_shape={tuple(image_shape)} is for flat rows, {name} holds images of many sizes."
            )
        return [x.reshape(_drawn_shape(x.shape, name)) for x in images]
    shape = images.shape[1:] if image_shape is None else tuple(image_shape)
    if len(shape) == 1:
        raise ValueError(
            f"{name} holds flat rows of {shape[0]} values. Give image_shape=(height, width) or "
            f"(height, width, channels) where they are images{otherwise}."
        )
    if math.prod(shape) != math.prod(images.shape[1:]):
        raise ValueError(f"image_shape={shape} does not fit {name}, whose samples have {images.shape[1:]}.")
    return images.reshape(len(images), *_drawn_shape(shape, name))


def _drawn_shape(shape: tuple[int, ...], name: str) -> tuple[int, ...]:
    """Return the shape of an image without an axis for a single channel."""
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in (1, 3)):
        raise ValueError(
            f"{name} holds samples of shape {shape}; images are (height, width), (height, width, 1) or "
            "(height, width, 3)."
        )
    return shape[:2] if shape[2:] == (1,) else shape


def as_signals(samples: Any, name: str) -> NDArray[Any]:
    """Return samples as rows (n_samples, length)."""
    rows = as_samples(samples, name)
    if isinstance(rows, list) or rows.ndim != 2 or rows.shape[1] < 2:
        shape = "images of different sizes" if isinstance(rows, list) else f"shape {rows.shape}"
        raise ValueError(f'kind="signals" draws rows (n_samples, length) as lines, {name} has {shape}.')
    return rows


def extremes_of(clean: Samples) -> tuple[float, float]:
    """Return the smallest and the largest value, a little apart where they are one."""
    low, high = float(min(x.min() for x in clean)), float(max(x.max() for x in clean))
    return (low, high) if low < high else (low, low + 1.0)


def range_of(clean: Samples) -> float:
    """Return the range that a PSNR of this clean data refers to."""
    pixels = np.concatenate([x.ravel() for x in clean]) if isinstance(clean, list) else clean
    return IntensityRange.of_clean(pixels).span
