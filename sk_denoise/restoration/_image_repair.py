"""Checks of images, pixels without a value, hot pixels and stripes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import (
    distance_transform_edt,
    gaussian_filter1d,
    maximum_filter,
    median_filter,
    minimum_filter,
)

from sk_denoise._intensity import UNIT, has_alpha, without_alpha
from sk_denoise._noise_level import estimate_noise_level
from sk_denoise._validation import refuse_channels_first, refuse_masked
from sk_denoise.restoration._shared_statistics import SharedStatistics

__all__ = [
    "as_stack",
    "check_image",
    "check_mask",
    "color_planes",
    "fill_hidden",
    "find_stripes",
    "has_equal_channels",
    "replace_outliers",
    "subtract_stripes",
    "visible_pixels",
]

# Deviations of the noise by which a hot pixel exceeds all its neighbours, and their spread.
HOT_DEVIATIONS, HOT_SPREAD = 1.5, 2.0
# The brightest neighbour of a hot pixel may be hot too; of three bright ones in a line, none is.
MAX_HOT_NEIGHBOURS = 1
# Standard deviation in rows of the Gaussian window that separates stripes from the image.
STRIPE_WINDOW = 6.0
# Stripes are found if their deviation exceeds that of means of noise by the first factor, if all parts of the
# image show the same stripes, and if they are not stronger than the noise times the third factor: lines of a
# table or of a text are. Rows of photos without stripes differ by one grey level after the same filters.
MIN_STRIPE_EXCESS, MIN_STRIPE_AGREEMENT, MAX_STRIPE, MAX_STRIPE_TAIL = 5.0, 0.6, 3.0, 1.6
STRIPE_PARTS = 3
# Smallest number of rows and columns with stripes.
MIN_STRIPED_SIDE = 32


def check_image(image: ArrayLike) -> NDArray[Any]:
    """Return an image as an array, or refuse it.

    NaN stands for pixels without a value; at least one pixel must have one.
    """
    refuse_masked(image, "image")
    array = np.asarray(image)
    # torch has no types of another byte order.
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.ndim not in (2, 3) or array.dtype.kind not in "iuf" or 0 in array.shape:
        advice = " Convert it, by image.astype(np.uint8) * 255." if array.dtype.kind == "b" else ""
        raise ValueError(
            "image must be of shape (height, width) or (height, width, channels) and hold integers or "
            f"floats, got {array.dtype} of shape {array.shape}.{advice}"
        )
    if array.ndim == 3 and array.shape[2] > 4:
        refuse_channels_first(array.shape, name="image", may_declare=False)
        raise ValueError(
            f"An image has 1 to 4 channels on its last axis, got shape {array.shape}. For a stack of planes, "
            'name the axes: axes="ZYX" for depth, height and width.'
        )
    if array.dtype.kind == "f":
        _check_floats(array)
    return array


def _check_floats(image: NDArray[Any]) -> None:
    """Refuse infinity, NaN alone, and a range that overflows in arithmetic."""
    low, high = float(np.fmin.reduce(image, axis=None)), float(np.fmax.reduce(image, axis=None))
    if math.isnan(low):
        raise ValueError("image holds NaN alone: no pixel has a value.")
    if math.isinf(low) or math.isinf(high):
        raise ValueError("image holds infinity; set these pixels to NaN, and they stay NaN.")
    # An eighth of the largest number leaves room for sums and differences of a few numbers.
    if high - low > float(np.finfo(np.result_type(image.dtype, np.float32)).max) / 8:
        raise ValueError(
            f"The numbers of image reach from {low:g} to {high:g}, too far for arithmetic. Scale them to "
            "[0, 1]."
        )


def as_stack(image: NDArray[Any], n_channels: int) -> NDArray[Any]:
    """Return a view of an image without alpha as (1, height, width, channels).

    The last of 2 or 4 channels is alpha, unless the network takes this number of channels.
    """
    colors = without_alpha(image, n_channels)
    return colors[None, ..., None] if colors.ndim == 2 else colors[None]


def has_equal_channels(image: NDArray[Any]) -> bool:
    """Return whether an image is gray, but has three equal channels."""
    colors = as_stack(image, 1)[0]
    if colors.shape[2] != 3:
        return False
    red, green, blue = (colors[..., channel] for channel in range(3))
    return bool(
        np.array_equal(red, green, equal_nan=red.dtype.kind == "f")
        and np.array_equal(red, blue, equal_nan=red.dtype.kind == "f")
    )


def color_planes(image: NDArray[Any]) -> NDArray[Any]:
    """Return a view of an image without alpha as (channels, height, width)."""
    planes: NDArray[Any] = np.moveaxis(as_stack(image, 1)[0], -1, 0)
    return planes


# Pixels without a value ------------------------------------------------------------------------------


def check_mask(mask: ArrayLike | None, shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
    """Return a mask of (height, width) as an array, or refuse it."""
    if mask is None:
        return None
    refuse_masked(mask, "mask")
    array = np.asarray(mask)
    if array.shape != shape or array.dtype.kind not in "bui" or not np.isin(array, (0, 1)).all():
        raise ValueError(
            f"mask must be True or False for each pixel, of shape {shape}, got {array.dtype} of shape "
            f"{array.shape}."
        )
    if not array.any():
        raise ValueError("mask selects no pixel: it must be True where the image holds data.")
    return array.astype(bool)


def visible_pixels(
    image: NDArray[Any], mask: NDArray[np.bool_] | None = None, n_channels: int | None = None
) -> NDArray[np.bool_] | None:
    """Return the pixels with a value, or None if all have one.

    Parameters
    ----------
    image : ndarray of shape (height, width) or (height, width, channels)
        Image. Pixels with NaN in any channel, and those below full transparency, have no value.
    mask : ndarray of bool of shape (height, width), optional
        Pixels with a value.
    n_channels : int, optional
        Expected number of data channels. An image with this number of channels has no alpha.
    """
    visible = np.ones(image.shape[:2], bool) if mask is None else mask.copy()
    if image.dtype.kind == "f":
        is_nan = np.isnan(image)
        visible &= ~(is_nan.any(axis=2) if image.ndim == 3 else is_nan)
    if has_alpha(image, n_channels):
        is_opaque = image[..., -1] > 0
        # Without any opaque pixel the channel cannot be meant as alpha.
        visible &= is_opaque | (not is_opaque.any())
    return None if visible.all() or not visible.any() else visible


def fill_hidden(image: NDArray[Any], visible: NDArray[np.bool_] | None) -> NDArray[Any]:
    """Fill pixels without a value with those of the nearest visible pixels."""
    if visible is None:
        return image
    rows, columns = distance_transform_edt(~visible, return_distances=False, return_indices=True)
    filled = image.copy()
    colors = filled if not has_alpha(image) else filled[..., :-1]
    colors[~visible] = colors[rows[~visible], columns[~visible]]
    return filled


# Hot pixels and stripes ------------------------------------------------------------------------------


def replace_outliers(
    image: NDArray[Any], n_channels: int | None = None, statistics: SharedStatistics | None = None
) -> tuple[NDArray[Any], int]:
    """Replace hot and dead pixels by the median of their neighbours.

    A pixel is replaced if it exceeds its neighbours, except for the brightest one, by 1.5 deviations of the
    noise and by twice their spread. A star or a spot that the optics spread over several pixels stays.

    Parameters
    ----------
    image : ndarray of shape (height, width) or (height, width, channels)
        Noisy image, with or without alpha.
    n_channels : int, optional
        Expected number of data channels.
    statistics : SharedStatistics, optional
        Statistics of the whole image, if this one is a part of it.

    Returns
    -------
    image : ndarray of the shape and type of the input
    n_replaced : int
        Number of replaced values.
    """
    repaired, n_replaced = image.copy(), 0
    colors = as_stack(repaired, n_channels or 1)[0]
    for channel in range(colors.shape[2]):
        plane = colors[..., channel]
        median, is_outlier = _find_outliers(plane, statistics or SharedStatistics())
        plane[is_outlier] = median[is_outlier]
        n_replaced += int(np.count_nonzero(is_outlier))
    return repaired, n_replaced


def _find_outliers(
    plane: NDArray[Any], statistics: SharedStatistics
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return the local median of a plane, and the pixels that stand out."""
    if min(plane.shape) < 3:
        return plane, np.zeros(plane.shape, bool)
    x = plane.astype(np.float64)
    median = median_filter(x, size=3, mode="mirror")
    # Without its outliers, a plane shows the level of the noise.
    (level,) = statistics.of(
        "outliers", lambda: [estimate_noise_level(_without_lone_pixels(x, median)[None])]
    )
    neighbours = np.stack([np.roll(np.pad(x, 1, mode="reflect"), shift, (0, 1)) for shift in _NEIGHBOURS])
    ordered = np.sort(neighbours[:, 1:-1, 1:-1], axis=0)
    lower, upper = ordered[MAX_HOT_NEIGHBOURS], ordered[-1 - MAX_HOT_NEIGHBOURS]
    margin = HOT_DEVIATIONS * level + HOT_SPREAD * (upper - lower)
    is_outlier = (x > upper + margin) | (x < lower - margin)
    return median.astype(plane.dtype), is_outlier


_NEIGHBOURS = [(row, column) for row in (-1, 0, 1) for column in (-1, 0, 1) if (row, column) != (0, 0)]


def _without_lone_pixels(x: NDArray[Any], median: NDArray[Any]) -> NDArray[Any]:
    """Set pixels far above or below all neighbours to the median."""
    footprint = np.ones((3, 3), bool)
    footprint[1, 1] = False
    high = maximum_filter(x, footprint=footprint, mode="mirror")
    low = minimum_filter(x, footprint=footprint, mode="mirror")
    spread = high - low
    return np.where((x > high + 2 * spread) | (x < low - 2 * spread), median, x)


def find_stripes(image: NDArray[Any], n_channels: int | None = None) -> NDArray[np.float64] | None:
    """Return the offsets of striped rows or columns, or None if no stripes are found.

    Parameters
    ----------
    image : ndarray of shape (height, width) or (height, width, channels)
        Noisy image, with or without alpha.
    n_channels : int, optional
        Expected number of data channels.

    Returns
    -------
    ndarray or None
        Offsets that broadcast against the image without alpha, (1, height, width, channels).
    """
    colors = as_stack(image, n_channels or 1)[0]
    if min(colors.shape[:2]) < MIN_STRIPED_SIDE:
        return None
    offsets = np.zeros((1, *colors.shape))
    found = False
    for channel in range(colors.shape[2]):
        plane = colors[..., channel].astype(np.float64)
        sigma = estimate_noise_level(plane[None])
        for axis in (0, 1):
            stripes = _stripes_of(plane if axis == 0 else plane.T, sigma)
            if stripes is not None:
                found = True
                offsets[0, ..., channel] += stripes[:, None] if axis == 0 else stripes
    return offsets if found else None


def subtract_stripes(image: NDArray[Any]) -> NDArray[Any]:
    """Return an image without striped rows and columns, in its type."""
    stripes = find_stripes(image)
    if stripes is None:
        return image
    result = image.copy()
    colors = as_stack(result, 1)
    # A range from 0 to 1 leaves numbers as they are, in another type.
    colors[...] = UNIT.from_unit(colors - stripes, image.dtype)
    return result


def _stripes_of(plane: NDArray[np.float64], sigma: float) -> NDArray[np.float64] | None:
    """Return the offset of each row of a plane, or None."""
    # Medians of differences of rows: edges of the image concern only some columns.
    differences = np.diff(plane, axis=0)
    stripes = _short_waves(np.median(differences, axis=1))
    # A difference of two medians of n numbers varies 1.8 times as much as the mean of n numbers.
    expected = 1.8 * sigma / math.sqrt(plane.shape[1])
    spread = 1.4826 * float(np.median(np.abs(stripes)))
    if not MIN_STRIPE_EXCESS * expected < spread < MAX_STRIPE * sigma:
        return None
    # Lines of a drawing are few and strong; stripes of a detector are everywhere.
    if float(stripes.std()) > MAX_STRIPE_TAIL * spread:
        return None
    parts = [
        _short_waves(np.median(part, axis=1)) for part in np.array_split(differences, STRIPE_PARTS, axis=1)
    ]
    # A constant part has no correlation with the others.
    if any(np.ptp(part) == 0 for part in parts):
        return None
    return stripes if float(np.corrcoef(parts).min()) > MIN_STRIPE_AGREEMENT else None


def _short_waves(differences: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum differences, and remove the slow changes of the image."""
    sums = np.concatenate([[0.0], np.cumsum(differences)])
    waves: NDArray[np.float64] = sums - gaussian_filter1d(sums, STRIPE_WINDOW, mode="nearest")
    return waves
