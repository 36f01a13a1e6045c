"""Intensity ranges of images, and conversion to [0, 1] and back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sk_denoise._noise_level import estimate_noise_level
from sk_denoise._schema import NUMBER, Rule, is_number

__all__ = [
    "DEVIATIONS",
    "SLACK",
    "UNIT",
    "UNKNOWN_NOISE",
    "IntensityRange",
    "has_alpha",
    "has_image_depth",
    "robust_extrema",
    "without_alpha",
]

# Bit depths of sensors. Files store depths above 8 as integers of 16 bits or more.
DEPTHS = 8, 10, 12, 14, 16
# Number of pixels from which the extrema of an image are computed.
SAMPLE = 2**20
# Share of the numbers at either end that is ignored, because of hot pixels.
OUTLIERS = 0.001
# An image whose numbers span less than this share of its range is dark or faint.
MIN_USED_SHARE = 0.25
# Share of the range by which numbers may lie outside of it without noise.
SLACK = 0.05
# Share of the range by which noise of unknown level may move numbers outside of it.
UNKNOWN_NOISE = 0.5
# Side in pixels of the blocks that are averaged, because their means have little noise.
BLOCK = 4
# Largest number of channels of an image. A longer last axis is the width.
MAX_CHANNELS = 4
# Of a thousand normally distributed numbers, half a number on average lies farther out.
EXTREMA_DEVIATIONS = 3.5
# Of a million normally distributed numbers, half a number on average lies farther out.
DEVIATIONS = 5.0


@dataclass(frozen=True)
class IntensityRange:
    """The intensities of black and of white.

    Attributes
    ----------
    black, white : float
        Intensities in the unit of the image; white is above black.
    """

    _fitted_schema: ClassVar[dict[str, Rule]] = {
        "black": NUMBER,
        "white": Rule(lambda v, range_: is_number(v, above=range_.black), "a number above black"),
    }
    black: float
    white: float

    @classmethod
    def of(cls, image: NDArray[Any], sigma: float | None = None) -> IntensityRange:
        """Estimate the intensity range of a noisy or clean image or stack.

        ==========================================  ==================================================
        numbers                                     range
        ==========================================  ==================================================
        truth values                                0 to 1
        integers of 8 bits                          that of the type
        floats in [0, 1], with noise around it      0 to 1
        others from 0 up, with noise below 0, the   0 to the largest number of 8, 10, 12, 14 or 16 bits,
        brightest at least 64                       the smallest depth that holds them
        few counts, signed numbers, other units     measured: 0, or the smallest number, to the largest
        ==========================================  ==================================================

        A thousandth of the numbers at either end, and at least one, is ignored, so that a hot pixel
        does not change the range of an image.

        Parameters
        ----------
        image : ndarray
            Real numbers without alpha; NaN and infinity are ignored.
        sigma : float, optional
            Largest noise standard deviation in the image. None estimates it.
        """
        if image.dtype.kind == "b":
            return UNIT
        if image.dtype.kind in "iu" and image.dtype.itemsize == 1:
            return cls.of_type(image.dtype)
        low, high = robust_extrema(image)
        if image.dtype.kind == "f" and _is_around_unit(image, low, high, sigma):
            return UNIT
        return cls._from_bit_depth(image, low, high)

    @classmethod
    def of_clean(cls, clean: NDArray[Any]) -> IntensityRange:
        """Return the range that the PSNR of clean data refers to.

        For integers of up to 16 bits, the depth of images in files, it is that of :meth:`known`. For all
        other numbers it goes from the smallest to the largest one.
        """
        if has_image_depth(clean.dtype) or clean.dtype.kind == "b":
            return cls.of(clean)
        # Wider integers, such as those of a table, have no black and no white.
        low, high = float(np.min(clean)), float(np.max(clean))
        return cls(low, high if high > low else low + _min_span(low))

    @classmethod
    def known(cls, clean: NDArray[Any]) -> IntensityRange | None:
        """Return the range of clean images in integers or in [0, 1], else None."""
        if has_image_depth(clean.dtype):
            return cls.of(clean)
        if clean.dtype.kind not in "fb" or not clean.size or clean.min() < 0 or clean.max() > 1:
            return None
        return UNIT

    @classmethod
    def of_type(cls, dtype: np.dtype[Any]) -> IntensityRange:
        """Return the limits of an integer type, and 0 to 1 for all other types."""
        if dtype.kind not in "iu":
            return UNIT
        limits = np.iinfo(dtype)
        white = float(limits.max)
        # The largest integer of 64 bits is rounded up to a float outside of the type.
        return cls(float(limits.min), white if int(white) <= limits.max else math.nextafter(white, 0.0))

    @classmethod
    def _from_bit_depth(cls, image: NDArray[Any], low: float, high: float) -> IntensityRange:
        """Return the range of the smallest bit depth that fits, else the measured one."""
        if high >= MIN_USED_SHARE * (2 ** DEPTHS[0] - 1):
            noise = _ImageNoise(image)
            for depth in DEPTHS:
                white = 2.0**depth - 1
                # One of the 16 bits of a signed type is the sign.
                if image.dtype.kind == "i":
                    white = min(white, cls.of_type(image.dtype).white)
                if high <= white or noise.explains(high - white, white):
                    is_from_zero = low >= 0 or noise.explains(-low, white)
                    return cls(0.0, white) if is_from_zero else cls._measured(low, high)
        return cls._measured(low, high)

    @classmethod
    def _measured(cls, low: float, high: float) -> IntensityRange:
        # Counts start at 0, unless they stand on an offset.
        is_offset = low < 0 or 0 < high - low < MIN_USED_SHARE * high
        black = low if is_offset else 0.0
        return cls(black, high if high > black else black + _min_span(black))

    @property
    def span(self) -> float:
        """The distance from black to white."""
        return self.white - self.black

    def adapt_to(self, image: NDArray[Any], tolerance: float) -> IntensityRange:
        """Return the range that an image of this range is scaled by for a network.

        An image that uses less than a quarter of its range, such as a dark one of 16 bits, is scaled from
        its smallest to its largest number. So is an image with numbers farther outside of its range than
        the tolerance. All others keep their range.

        Parameters
        ----------
        image : ndarray
            An image without alpha.
        tolerance : float
            Distance that noise moves numbers outside of the range, as a share of it.
        """
        # A narrower range would show the steps between the grey levels of 8 bits.
        if image.dtype.itemsize == 1:
            return self
        low, high = robust_extrema(image)
        slack = tolerance * self.span
        is_outside = low < self.black - slack or high > self.white + slack
        if high > low and (is_outside or high - low < MIN_USED_SHARE * self.span):
            return IntensityRange(low, high)
        return self

    def with_min_span(self, span: float) -> IntensityRange:
        """Return the range with white moved up until it spans at least ``span``."""
        return IntensityRange(self.black, self.black + max(self.span, span))

    def to_unit(self, image: NDArray[Any]) -> NDArray[Any]:
        """Scale an image to floats with black at 0 and white at 1.

        Floats keep their precision; integers become single precision.
        """
        unit = image.astype(image.dtype if image.dtype.kind == "f" else np.float32)
        if self != UNIT:
            unit -= unit.dtype.type(self.black)
            unit /= unit.dtype.type(self.span)
        return unit

    def from_unit(self, unit: NDArray[Any], dtype: np.dtype[Any] | None = None) -> NDArray[Any]:
        """Scale an image from [0, 1] to this range.

        Parameters
        ----------
        unit : ndarray of float
            An image with black at 0 and white at 1.
        dtype : dtype, optional
            Type of the result; for an integer type the numbers are rounded, and clipped to its limits. None
            keeps the type of ``unit``.
        """
        numbers = unit * unit.dtype.type(self.span) + unit.dtype.type(self.black) if self != UNIT else unit
        if dtype is None:
            return numbers
        if dtype.kind in "iu":
            limits = self.of_type(dtype)
            numbers = np.clip(np.rint(numbers), limits.black, limits.white)
        return numbers.astype(dtype)


UNIT = IntensityRange(0.0, 1.0)


def has_image_depth(dtype: np.dtype[Any]) -> bool:
    """Return whether a type holds integers of 8 or 16 bits, the depths of image files."""
    return dtype.kind in "iu" and dtype.itemsize <= 2


def robust_extrema(image: NDArray[Any]) -> tuple[float, float]:
    """Return minimum and maximum of an image without a thousandth at either end."""
    sample = image
    if image.ndim >= 2:
        step = math.ceil(math.sqrt(image.size / SAMPLE))
        sample = image[..., ::step, ::step, :] if image.ndim > 2 else image[::step, ::step]
    numbers = sample.astype(np.float32 if sample.dtype == np.float16 else sample.dtype).ravel()
    if numbers.dtype.kind == "f" and not np.isfinite(numbers).all():
        numbers = numbers[np.isfinite(numbers)]
    if not numbers.size:
        return 0.0, 0.0
    n_outliers = min(max(1, int(OUTLIERS * numbers.size)), (numbers.size - 1) // 2)
    ordered = np.partition(numbers, (n_outliers, numbers.size - 1 - n_outliers))
    return float(ordered[n_outliers]), float(ordered[numbers.size - 1 - n_outliers])


def _is_around_unit(image: NDArray[Any], low: float, high: float, sigma: float | None) -> bool:
    """Return whether floats are an image in [0, 1], noisy or clean."""
    if low >= -UNKNOWN_NOISE and high <= 1 + UNKNOWN_NOISE:
        return True
    # Whole numbers are counts, even small ones.
    if _are_whole(image):
        return False
    sigma = estimate_noise_level(_image_planes(image)) if sigma is None else sigma
    slack = SLACK + DEVIATIONS * sigma
    return sigma <= 1 and low >= -slack and high <= 1 + slack


class _ImageNoise:
    """Noise of an image, estimated on first use."""

    def __init__(self, image: NDArray[Any]) -> None:
        self._planes = _image_planes(image)

    @cached_property
    def _sigma(self) -> float:
        return estimate_noise_level(self._planes)

    @cached_property
    def _block_means(self) -> tuple[float, float, float]:
        """The smallest, the median and the largest mean of blocks."""
        height, width = (side - side % BLOCK for side in self._planes.shape[1:])
        blocks = self._planes[:, :height, :width].reshape(-1, height // BLOCK, BLOCK, width // BLOCK, BLOCK)
        means = blocks.mean(axis=(2, 4), dtype=np.float64).ravel()
        low, high = robust_extrema(means)
        return low, float(np.median(means)), high

    def explains(self, distance: float, white: float) -> bool:
        """Return whether noise alone moves numbers so far outside of 0 to white.

        Noise cancels in the means of blocks, so these must lie inside.
        """
        if min(self._planes.shape[1:]) < BLOCK or distance > SLACK * white + DEVIATIONS * self._sigma:
            return False
        # An image of pure noise would fit any range.
        if self._sigma > white:
            return False
        slack = SLACK * white + EXTREMA_DEVIATIONS * self._sigma / BLOCK
        low, median, high = self._block_means
        return low >= -slack and median <= (1 + SLACK) * white and high <= white + slack


def _are_whole(image: NDArray[Any]) -> bool:
    sample = image.ravel()[:SAMPLE]
    return bool((sample == np.rint(sample)).all())


def _image_planes(image: NDArray[Any]) -> NDArray[Any]:
    """Return an image, or the middle image of a stack, as (channels, height, width)."""
    image = np.atleast_2d(image)
    while image.ndim > 3 or (image.ndim == 3 and image.shape[-1] > MAX_CHANNELS):
        image = image[len(image) // 2]
    return np.moveaxis(image, -1, 0) if image.ndim == 3 else image[None]


def _min_span(black: float) -> float:
    """Return the span of a constant image: at least 1."""
    # To add 1 to a large number may not change it.
    return max(1.0, 2 * float(np.spacing(abs(black))))


def has_alpha(image: NDArray[Any], n_channels: int | None = None) -> bool:
    """Return whether the last channel of an image, the last of 2 or 4, is alpha.

    Parameters
    ----------
    image : ndarray of shape (height, width[, channels])
        Gray or colour image, with or without alpha.
    n_channels : int, optional
        Expected number of data channels. An image with this number of channels has no alpha.
    """
    return image.ndim == 3 and image.shape[2] in (2, 4) and image.shape[2] != n_channels


def without_alpha(image: NDArray[Any], n_channels: int | None = None) -> NDArray[Any]:
    """Return a view of an image without its alpha channel."""
    if not has_alpha(image, n_channels):
        return image
    return image[..., 0] if image.shape[2] == 2 else image[..., :-1]
