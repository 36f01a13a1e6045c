"""Intensity range and noise of training images, and images in other units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from sk_denoise._intensity import DEVIATIONS, SLACK, UNIT, UNKNOWN_NOISE, IntensityRange, robust_extrema
from sk_denoise._noise_level import estimate_noise_level, estimate_noise_levels
from sk_denoise._validation import Noiser, warn_user

__all__ = [
    "TrainingDomain",
    "may_share_unit",
    "resolve_levels",
    "limit_levels",
    "overshoot_of",
    "refuse_other_unit",
    "warn_of_tiny_sigma",
]

# Noisy patches, on black and on white, that show how far noise overshoots.
DRAWS = 16
# Ratio of brightness up to which two batches may come from one sensor: the darker one may use two bits less.
ONE_DEPTH = 4.5


@dataclass(frozen=True)
class TrainingDomain:
    """Intensity range and noise of the training images of a fit.

    Attributes
    ----------
    intensity : IntensityRange
        Black and white of the images of the fit.
    overshoot : float
        Overshoot of the noise beyond black and white, as a share of the range.
    max_sigma : float
        Highest noise level, as a share of the range.
    """

    intensity: IntensityRange
    overshoot: float
    max_sigma: float

    def range_of(self, image: NDArray[Any], sigma: float | None = None) -> IntensityRange:
        """Return the intensity range of an image: that of the fit if its numbers fit in.

        Floats around [0, 1] have the range [0, 1] after every fit, and integers never have it.
        """
        own = IntensityRange.of(image, sigma)
        is_whole = image.dtype.kind in "iu"
        if own == self.intensity or image.dtype.itemsize == 1 or own == UNIT:
            return own
        if is_whole and self.intensity == UNIT:
            return own
        low, high = robust_extrema(image)
        slack = self.overshoot * self.intensity.span
        fits = low >= self.intensity.black - slack and high <= self.intensity.white + slack
        return self.intensity if fits else own

    def stretched(self, image: NDArray[Any], sigma: float | None) -> IntensityRange:
        """Return the range of an image that stands for that of the fit in prediction.

        An image that uses a small part of its range is stretched to it, unless its noise would then exceed
        that of the training: a dark image of the sensor of the training images stays as it is.

        Parameters
        ----------
        image : ndarray
            Without alpha.
        sigma : float or None
            Highest noise level in it, in its unit; None estimates it.
        """
        counted = self.range_of(image, sigma)
        beyond = self.overshoot if sigma is None else SLACK + DEVIATIONS * sigma / counted.span
        seen = counted.adapt_to(image, beyond)
        if seen.span >= counted.span:
            return seen
        if sigma is None:
            sigma = estimate_noise_level(np.moveaxis(image, -1, 0))
        least = sigma / self.max_sigma if self.max_sigma else counted.span
        return counted if least >= counted.span else seen.with_min_span(least)


def overshoot_of(noiser: Noiser | None, shape: tuple[int, ...], intensity: IntensityRange) -> float:
    """Return the overshoot of noise beyond black and white, as a share of the range."""
    if noiser is None:
        return UNKNOWN_NOISE
    ends = [torch.full((DRAWS, *shape), end) for end in (intensity.black, intensity.white)]
    noisy = intensity.to_unit(noiser.corrupt(torch.cat(ends), torch.Generator().manual_seed(0)).numpy())
    return max(UNKNOWN_NOISE, -float(noisy.min()), float(noisy.max()) - 1)


def may_share_unit(one: IntensityRange | None, other: IntensityRange | None) -> bool:
    """Return whether images of these ranges may be in one unit, or one is unknown."""
    if one is None or other is None or one == other:
        return True
    if UNIT in (one, other):
        return False
    return max(one.white, other.white) <= ONE_DEPTH * min(one.white, other.white)


# An estimate this many times the given level cannot be a mere error.
TINY = 4.0
# Slack of the highest level of the training, for levels of patches and estimates vary.
LEVEL_SLACK = 1.05


def resolve_levels(sigma: ArrayLike | None, images: NDArray[Any]) -> NDArray[Any]:
    """Return the noise levels of a stack, (n,) or maps (n, height, width), in its unit.

    Parameters
    ----------
    sigma : float, array-like or None
        Noise levels of the user; None estimates one for each image.
    images : ndarray of shape (n, height, width, channels)
        Noisy images.
    """
    if sigma is None:
        return estimate_noise_levels(images)
    n, height, width = images.shape[:3]
    levels = np.asarray(sigma)
    is_number = levels.dtype.kind in "iuf"
    if levels.shape == (height, width) and n == 1:
        levels = levels[None]
    fits = levels.shape in ((), (n,), (n, height, width))
    if not is_number or not fits or not np.isfinite(levels).all() or (levels < 0).any():
        raise ValueError(
            f"sigma must be finite and at least 0: a number, one for each of {n} images, maps of shape "
            f"({n}, {height}, {width}), or None to estimate it. Got "
            + (repr(sigma) if np.ndim(sigma) == 0 else f"shape {levels.shape}, {levels.dtype}.")
        )
    levels = levels.astype(np.float64)
    return np.broadcast_to(levels, (n,)) if levels.ndim == 0 else levels


def warn_of_tiny_sigma(sigma: float, images: NDArray[Any], name: str) -> None:
    """Warn of a sigma that looks like a share of [0, 1] for images in grey levels."""
    if not 0 < sigma < 1:
        return
    white = IntensityRange.of(images).white
    if white <= UNIT.white:
        return
    found = float(estimate_noise_levels(images).mean())
    if found > TINY * sigma and found > 1:
        warn_user(
            f"sigma is {sigma:g}, less than one grey level of {name}, whose white is {white:g} and whose "
            f"noise is estimated at {found:.3g}. sigma is in the unit of {name}: where a share of the range "
            f"was meant, pass sigma={sigma * white:g}."
        )


def limit_levels(levels: NDArray[Any], max_sigma: float, *, is_given: bool, name: str = "X") -> NDArray[Any]:
    """Limit noise levels to those of the training; warn of higher ones, or refuse them."""
    most = float(levels.max(initial=0))
    if most > LEVEL_SLACK * max_sigma:
        if is_given:
            raise ValueError(
                f"sigma reaches {most:.4g}, and the network was trained on noise up to {max_sigma:.4g}. "
                f"sigma is in the unit of {name}: for floats a share of their range, for integers grey "
                "levels."
            )
        warn_user(
            f"The noise of {name} is estimated at {most:.3g}, and the network was trained on noise up to "
            f"{max_sigma:.3g}: some of it will remain.",
        )
    known: NDArray[Any] = np.minimum(levels, max_sigma)
    return known


def refuse_other_unit(
    one: IntensityRange | None, other: IntensityRange | None, name: str, other_name: str
) -> None:
    """Refuse images that are known to be in another unit than others."""
    if one is not None and other is not None and not may_share_unit(one, other):
        raise ValueError(
            f"White is {one.white:g} in {name}, and {other.white:g} in {other_name}: give both in one unit, "
            "as files, or as arrays of one type."
        )
