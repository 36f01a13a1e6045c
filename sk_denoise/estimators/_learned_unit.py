"""The unit that an image denoiser learned in, and the range in which it sees an image of another one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sk_denoise._intensity import DEVIATIONS, SLACK, UNIT, UNKNOWN_NOISE, IntensityRange, ends_of
from sk_denoise._noise_level import noise_level
from sk_denoise._validation import Noiser

__all__ = ["LearnedUnit", "are_in_one_unit", "reach_of"]

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
