"""The unit that an image denoiser learned in, and the range in which it sees an image of another one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from sk_denoise._intensity import DEVIATIONS, SLACK, UNIT, UNKNOWN_NOISE, IntensityRange, ends_of
from sk_denoise._noise_level import levels_of, noise_level
from sk_denoise._validation import Noiser, warn_user

__all__ = [
    "LearnedUnit",
    "are_in_one_unit",
    "found_levels",
    "limited_levels",
    "reach_of",
    "warn_of_tiny_sigma",
]

DRAWS = 16  # of the noise, on black and on white patches, to know how far it takes numbers
ONE_DEPTH = 4.5  # times as bright: the darker of two batches of one sensor may pass for two bits less


@dataclass(frozen=True)
class LearnedUnit:
    """The unit and the noise of a fit.

    Attributes
    ----------
    intensity : IntensityRange
        Black and white of the images of the fit.
    reach : float
        How far noise took numbers beyond black and white there, as a share of the range.
    strongest : float
        The largest standard deviation of the noise there, as a share of the range.
    """

    intensity: IntensityRange
    reach: float
    strongest: float

    def range_of(self, image: NDArray[Any], sigma: float | None = None) -> IntensityRange:
        """Return the range that an image is counted in: that of the fit where its numbers fit in.

        Floats around [0, 1] are in that range whatever the fit was in, and integers are never taken for
        floats in [0, 1].
        """
        own = IntensityRange.of(image, sigma)
        is_whole = image.dtype.kind in "iu"
        if own == self.intensity or image.dtype.itemsize == 1 or own == UNIT:
            return own
        if is_whole and self.intensity == UNIT:
            return own
        low, high = ends_of(image)
        slack = self.reach * self.intensity.span
        fits = low >= self.intensity.black - slack and high <= self.intensity.white + slack
        return self.intensity if fits else own

    def seen(self, image: NDArray[Any], sigma: float | None) -> IntensityRange:
        """Return the range in which the network is to see an image (height, width, channels).

        What uses a small part of its range is seen in that part, but for noise that would then be stronger
        than what was learned: a dark image of the sensor that the network learned from stays as it is.

        Parameters
        ----------
        image : ndarray
            Without alpha.
        sigma : float or None
            The strongest noise in it, in its unit, where that is known.
        """
        counted = self.range_of(image, sigma)
        beyond = self.reach if sigma is None else SLACK + DEVIATIONS * sigma / counted.span
        seen = counted.seen(image, beyond)
        if seen.span >= counted.span:
            return seen
        if sigma is None:
            sigma = noise_level(np.moveaxis(image, -1, 0))
        least = sigma / self.strongest if self.strongest else counted.span
        return counted if least >= counted.span else seen.widened(least)


def reach_of(noiser: Noiser | None, shape: tuple[int, ...], intensity: IntensityRange) -> float:
    """Return how far beyond black and white a noiser takes patches of a shape, as a share of the range."""
    if noiser is None:
        return UNKNOWN_NOISE
    ends = [torch.full((DRAWS, *shape), end) for end in (intensity.black, intensity.white)]
    noisy = intensity.to_unit(noiser.corrupt(torch.cat(ends), torch.Generator().manual_seed(0)).numpy())
    return max(UNKNOWN_NOISE, -float(noisy.min()), float(noisy.max()) - 1)


def are_in_one_unit(one: IntensityRange | None, other: IntensityRange | None) -> bool:
    """Return whether images of these ranges can be counted in one unit; it is so where one is unknown."""
    if one is None or other is None or one == other:
        return True
    if UNIT in (one, other):
        return False
    return max(one.white, other.white) <= ONE_DEPTH * min(one.white, other.white)


TINY = 4.0  # times as strong as the level that was told: an estimate that cannot be so wrong
LEVEL_SLACK = 1.05  # of the strongest noise that a network learned from: levels of patches and estimates vary


def found_levels(sigma: ArrayLike | None, images: NDArray[Any]) -> NDArray[Any]:
    """Return the noise levels of a stack, however strong, (n,) or maps (n, height, width), in its unit.

    Parameters
    ----------
    sigma : float, array-like or None
        As the user says; None estimates one for each image.
    images : ndarray of shape (n, height, width, channels)
        Noisy images.
    """
    if sigma is None:
        return levels_of(images)
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
    """Warn of a level below one grey level that the noise of images contradicts: a share of [0, 1]."""
    if not 0 < sigma < 1:
        return
    white = IntensityRange.of(images).white
    if white <= UNIT.white:
        return
    found = float(levels_of(images).mean())
    if found > TINY * sigma and found > 1:
        warn_user(
            f"sigma is {sigma:g}, less than one grey level of {name}, whose white is {white:g} and whose "
            f"noise is estimated at {found:.3g}. sigma is in the unit of {name}: where a share of the range "
            f"was meant, pass sigma={sigma * white:g}."
        )


def limited_levels(
    levels: NDArray[Any], strongest: float, *, was_told: bool, name: str = "X"
) -> NDArray[Any]:
    """Return noise levels as far as a network knows them; say so, or refuse, where they are stronger."""
    most = float(levels.max(initial=0))
    if most > LEVEL_SLACK * strongest:
        if was_told:
            raise ValueError(
                f"sigma reaches {most:.4g}, and the network learned from noise up to {strongest:.4g}. It "
                f"is in the unit of {name}: for floats a share of their range, for integers grey levels."
            )
        warn_user(
            f"The noise of {name} is estimated at {most:.3g}, and the network learned from noise up to "
            f"{strongest:.3g}: some of it will stay.",
        )
    known: NDArray[Any] = np.minimum(levels, strongest)
    return known
