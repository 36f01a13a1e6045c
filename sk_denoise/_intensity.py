"""The one rule of black and white: what the numbers of an image mean, and how they become [0, 1] and back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sk_denoise._noise_level import noise_level
from sk_denoise._schema import NUMBER, Rule, is_number

__all__ = [
    "DEVIATIONS",
    "SLACK",
    "UNIT",
    "UNKNOWN_NOISE",
    "IntensityRange",
    "ends_of",
    "has_alpha",
    "is_stored",
    "without_alpha",
]

DEPTHS = 8, 10, 12, 14, 16  # bits that sensors have; files keep them in integers of 16 bits or more
SAMPLE = 2**20  # numbers from which the ends of an image are read
OUTLIERS = 0.001  # share of the numbers at either end that decide nothing, such as hot pixels
FAINT = 0.25  # share of a range below which an image uses only a small part of it
SLACK = 0.05  # share of a range by which numbers may lie beyond it without noise
UNKNOWN_NOISE = 0.5  # share of a range by which noise of unknown strength may take numbers beyond it
BLOCK = 4  # pixels, the side of blocks the means of which have little noise
MOST_CHANNELS = 4  # of an image; a longer last axis is its width
DEVIATIONS_OF_ENDS = 3.5  # of a thousand normally distributed numbers, one half lies farther out
DEVIATIONS = 5.0  # of a million normally distributed numbers, one half lies farther out


@dataclass(frozen=True)
class IntensityRange:
    """The numbers that stand for black and for white.

    Attributes
    ----------
    black, white : float
        In the unit of the image; white is above black.
    """

    _fitted_schema: ClassVar[dict[str, Rule]] = {
        "black": NUMBER,
        "white": Rule(lambda v, range_: is_number(v, above=range_.black), "a number above black"),
    }
    black: float
    white: float

    @classmethod
    def of(cls, image: NDArray[Any], sigma: float | None = None) -> IntensityRange:
        """Return the range that the numbers of an image or stack, noisy or not, are counted in.

        ==========================================  ==================================================
        numbers                                     range
        ==========================================  ==================================================
        truth values                                0 to 1
        integers of 8 bits                          that of the type
        floats in [0, 1], with noise around it      0 to 1
        others from 0 up, with noise below it, the  0 to the largest number of 8, 10, 12, 14 or 16 bits,
        brightest of them at least 64               the fewest that hold them
        others: few counts, signed ones, any unit   measured: 0, or the darkest number, to the brightest
        ==========================================  ==================================================

        A thousandth of the numbers at either end, and at least one, decides nothing, so that a hot pixel
        does not change the range of an image.

        Parameters
        ----------
        image : ndarray
            Real numbers without alpha; NaN and infinity are not looked at.
        sigma : float, optional
            The strongest noise in it, where that is known.
        """
        if image.dtype.kind == "b":
            return UNIT
        if image.dtype.kind in "iu" and image.dtype.itemsize == 1:
            return cls.of_type(image.dtype)
        low, high = ends_of(image)
        if image.dtype.kind == "f" and _is_around_unit(image, low, high, sigma):
            return UNIT
        return cls._counted(image, low, high)

    @classmethod
    def of_clean(cls, clean: NDArray[Any]) -> IntensityRange:
        """Return the range that a PSNR of clean data refers to.

        That of :meth:`known` for integers of up to 16 bits, as files hold them. Else the smallest to the
        largest number, wider integers included: those of a table have no black and no white.
        """
        if is_stored(clean.dtype) or clean.dtype.kind == "b":
            return cls.of(clean)
        low, high = float(np.min(clean)), float(np.max(clean))
        return cls(low, high if high > low else low + _least_span(low))

    @classmethod
    def known(cls, clean: NDArray[Any]) -> IntensityRange | None:
        """Return the range that the type or the numbers of clean images tell, None where they do not."""
        if is_stored(clean.dtype):
            return cls.of(clean)
        if clean.dtype.kind not in "fb" or not clean.size or clean.min() < 0 or clean.max() > 1:
            return None
        return UNIT

    @classmethod
    def of_type(cls, dtype: np.dtype[Any]) -> IntensityRange:
        """Return the range that a type can hold: that of integers, and 0 to 1 for all else."""
        if dtype.kind not in "iu":
            return UNIT
        limits = np.iinfo(dtype)
        white = float(limits.max)
        # the largest integer of 64 bits is rounded up to a float that the type does not hold
        return cls(float(limits.min), white if int(white) <= limits.max else math.nextafter(white, 0.0))

    @classmethod
    def _counted(cls, image: NDArray[Any], low: float, high: float) -> IntensityRange:
        """Return the range of a sensor that counts to the largest number of some bits, or a measured one."""
        if high >= FAINT * (2 ** DEPTHS[0] - 1):
            noise = _Noise(image)
            for depth in DEPTHS:
                white = 2.0**depth - 1
                if image.dtype.kind == "i":  # of 16 bits, one is that of the sign
                    white = min(white, cls.of_type(image.dtype).white)
                if high <= white or noise.reaches(high - white, white):
                    is_from_zero = low >= 0 or noise.reaches(-low, white)
                    return cls(0.0, white) if is_from_zero else cls._measured(low, high)
        return cls._measured(low, high)

    @classmethod
    def _measured(cls, low: float, high: float) -> IntensityRange:
        # counts start at 0, but for those that stand on an offset
        is_offset = low < 0 or 0 < high - low < FAINT * high
        black = low if is_offset else 0.0
        return cls(black, high if high > black else black + _least_span(black))

    @property
    def span(self) -> float:
        """The distance from black to white."""
        return self.white - self.black

    def seen(self, image: NDArray[Any], beyond: float) -> IntensityRange:
        """Return the range in which a network sees an image that is counted in this one.

        An image that uses less than a quarter of its range, such as a dark one of 16 bits, is seen from its
        darkest to its brightest number; so is one that reaches beyond its range by more than noise does.
        Images of 8 bits are seen as they are, for a narrower range would show their steps.

        Parameters
        ----------
        image : ndarray
            Without alpha.
        beyond : float
            How far noise takes numbers beyond the range, as a share of it.
        """
        if image.dtype.itemsize == 1:
            return self
        low, high = ends_of(image)
        slack = beyond * self.span
        is_beyond = low < self.black - slack or high > self.white + slack
        if high > low and (is_beyond or high - low < FAINT * self.span):
            return IntensityRange(low, high)
        return self

    def widened(self, span: float) -> IntensityRange:
        """Return the range with white moved up to at least so far from black."""
        return IntensityRange(self.black, self.black + max(self.span, span))

    def to_unit(self, image: NDArray[Any]) -> NDArray[Any]:
        """Return an image as floats with black at 0 and white at 1; single precision for integers."""
        unit = image.astype(image.dtype if image.dtype.kind == "f" else np.float32)
        if self != UNIT:
            unit -= unit.dtype.type(self.black)
            unit /= unit.dtype.type(self.span)
        return unit

    def from_unit(self, unit: NDArray[Any], dtype: np.dtype[Any] | None = None) -> NDArray[Any]:
        """Return floats from black (0) to white (1) in the numbers of this range.

        Parameters
        ----------
        unit : ndarray of float
            An image.
        dtype : dtype, optional
            The type of the answer: integers are rounded and clipped to what it holds. None keeps that of
            ``unit``.
        """
        numbers = unit * unit.dtype.type(self.span) + unit.dtype.type(self.black) if self != UNIT else unit
        if dtype is None:
            return numbers
        if dtype.kind in "iu":
            limits = self.of_type(dtype)
            numbers = np.clip(np.rint(numbers), limits.black, limits.white)
        return numbers.astype(dtype)


UNIT = IntensityRange(0.0, 1.0)


def is_stored(dtype: np.dtype[Any]) -> bool:
    """Return whether image files hold integers of this type: 8 or 16 bits."""
    return dtype.kind in "iu" and dtype.itemsize <= 2


def ends_of(image: NDArray[Any]) -> tuple[float, float]:
    """Return the darkest and the brightest number of an image, apart from a thousandth at either end."""
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
    """Return whether floats are those of an image in [0, 1] with noise."""
    if low >= -UNKNOWN_NOISE and high <= 1 + UNKNOWN_NOISE:
        return True
    if _are_whole(image):
        return False  # counts, however few
    sigma = noise_level(_planes_of(image)) if sigma is None else sigma
    slack = SLACK + DEVIATIONS * sigma
    return sigma <= 1 and low >= -slack and high <= 1 + slack


class _Noise:
    """The noise of an image, estimated when it is first asked for."""

    def __init__(self, image: NDArray[Any]) -> None:
        self._planes = _planes_of(image)

    @cached_property
    def _sigma(self) -> float:
        return noise_level(self._planes)

    @cached_property
    def _means(self) -> tuple[float, float, float]:
        """The darkest, the median and the brightest mean of blocks, which have little noise."""
        height, width = (side - side % BLOCK for side in self._planes.shape[1:])
        blocks = self._planes[:, :height, :width].reshape(-1, height // BLOCK, BLOCK, width // BLOCK, BLOCK)
        means = blocks.mean(axis=(2, 4), dtype=np.float64).ravel()
        low, high = ends_of(means)
        return low, float(np.median(means)), high

    def reaches(self, distance: float, white: float) -> bool:
        """Return whether noise takes numbers so far below 0 or above white; means of blocks lie inside."""
        if min(self._planes.shape[1:]) < BLOCK or distance > SLACK * white + DEVIATIONS * self._sigma:
            return False
        if self._sigma > white:  # all is noise, which would fit any range
            return False
        slack = SLACK * white + DEVIATIONS_OF_ENDS * self._sigma / BLOCK
        low, middle, high = self._means
        return low >= -slack and middle <= (1 + SLACK) * white and high <= white + slack


def _are_whole(image: NDArray[Any]) -> bool:
    few = image.ravel()[:SAMPLE]
    return bool((few == np.rint(few)).all())


def _planes_of(image: NDArray[Any]) -> NDArray[Any]:
    """Return the planes of an image, (n, height, width); of a stack, those of its middle image."""
    image = np.atleast_2d(image)
    while image.ndim > 3 or (image.ndim == 3 and image.shape[-1] > MOST_CHANNELS):
        image = image[len(image) // 2]
    return np.moveaxis(image, -1, 0) if image.ndim == 3 else image[None]


def _least_span(black: float) -> float:
    """Return the span of constant numbers: one, or as little more as changes a large number."""
    return max(1.0, 2 * float(np.spacing(abs(black))))


def has_alpha(image: NDArray[Any], n_channels: int | None = None) -> bool:
    """Return whether the last channel of an image is alpha: the last of 2 or of 4.

    Parameters
    ----------
    image : ndarray of shape (height, width[, channels])
        The image.
    n_channels : int, optional
        How many channels of data are expected: where an image has as many, all of them are data.
    """
    return image.ndim == 3 and image.shape[2] in (2, 4) and image.shape[2] != n_channels


def without_alpha(image: NDArray[Any], n_channels: int | None = None) -> NDArray[Any]:
    """Return a view of an image without its alpha channel; (height, width) of gray with alpha."""
    if not has_alpha(image, n_channels):
        return image
    return image[..., 0] if image.shape[2] == 2 else image[..., :-1]
