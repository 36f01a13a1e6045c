"""How a network in the box sees a picture, and how much of what it takes away can be noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["UNKNOWN_NOISE", "View", "check_sigma", "only_noise", "plain_view", "within_sight"]

# The networks saw photos from 0 (black) to 1 (white). What they answer changes little when a picture and its
# noise are brightened or darkened together, so other numbers are shown to them there.
SAMPLE = 2**20  # numbers that darkest and brightest are judged by
ENDS = 0.001, 0.999  # quantiles that are taken for these
FAINT = 0.25  # the share of the range from black to white that is spread, where a picture uses no more
SLACK = 0.05  # of that range: as far as numbers may lie beyond it without noise
UNKNOWN_NOISE = 0.5  # of that range: as far as noise may take them that nobody knows anything of
MOST_NOISE = 5.0  # deviations: of a million numbers that are normally distributed, one half lies beyond
ERROR = 1 / 255  # where noise is as weak as this, what the networks take away is as wrong as it is right


@dataclass(frozen=True)
class View:
    """What a network sees as 0 (black), and how far from there 1 (white) lies, in numbers of the picture."""

    black: float
    span: float

    def darkened(self, sigma: float, strongest: float) -> View:
        """Return the view in which noise is no stronger than a share of the range."""
        return View(self.black, max(self.span, sigma / strongest))


def check_sigma(sigma: float, colors: NDArray[Any]) -> None:
    """Refuse a level of noise that a picture (height, width, channels) does not have room for.

    Raises
    ------
    ValueError
        Where it cannot be in the unit of the picture.
    """
    low, high = float(colors.min()), float(colors.max())
    if sigma > max(_white_of(colors), high - low, abs(low), abs(high)):
        raise ValueError(
            f"sigma reaches {sigma:.4g}, and the numbers of image {low:.4g} to {high:.4g}. It is in the unit "
            "of image: for floats in [0, 1] a share of that, for integers grey levels."
        )


def plain_view(
    colors: NDArray[Any], sigma: float | None, *, spreads_faint: bool, unknown: float = UNKNOWN_NOISE
) -> View:
    """Return how a network that learned from pictures between black and white sees a picture.

    As its type says, from 0 to the largest integer, or to 1. But floats that reach beyond that, as counts
    do, are spread from the darkest to the brightest; and so may be pictures of 16 bits and floats that use
    less than a quarter of that, as 12 bits in 16 do.

    Parameters
    ----------
    colors : ndarray of shape (height, width, channels)
        A picture without alpha.
    sigma : float or None
        The strongest noise in it, in its unit, where that is known.
    spreads_faint : bool
        Whether what uses a small part of the range is spread.
    unknown : float, default=0.5
        As far beyond black and white as noise may take numbers where its level is not known, as a share of
        the range.
    """
    white = _white_of(colors)
    if colors.dtype == np.uint8:
        return View(0.0, white)
    low, high = _ends(colors)
    if colors.dtype.kind == "u":
        is_beyond = False
    elif sigma is None:
        is_beyond = low < -unknown or high > 1 + unknown
    else:
        slack = SLACK + MOST_NOISE * sigma
        is_beyond = low < -slack or high > 1 + slack or sigma > 1
    if is_beyond or (spreads_faint and high - low < FAINT * white):
        return View(low, high - low) if high > low else View(low, white)
    return View(0.0, white)


def _white_of(colors: NDArray[Any]) -> float:
    return float(np.iinfo(colors.dtype).max) if colors.dtype.kind == "u" else 1.0


def _ends(colors: NDArray[Any]) -> tuple[float, float]:
    step = math.ceil(math.sqrt(colors.size / SAMPLE))
    sample = colors[::step, ::step]
    low, high = np.quantile(sample.astype(np.float32) if sample.dtype == np.float16 else sample, ENDS)
    return float(low), float(high)


def within_sight(shown: NDArray[Any], strongest: float) -> NDArray[Any]:
    """Cut what is shown to a network to what noise makes of black and white, in place, and return it.

    Parameters
    ----------
    shown : ndarray of shape (n, height, width, channels + 1)
        Pictures, and the level of their noise as a last channel.
    strongest : float
        What levels are cut to.
    """
    np.minimum(shown[..., -1], strongest, out=shown[..., -1])
    picture, (low, high) = shown[..., :-1], _sight(shown)
    np.clip(picture, low, high, out=picture)
    return shown


def _sight(shown: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    noise = SLACK + MOST_NOISE * shown[..., -1:]
    return -noise, 1 + noise


def only_noise(shown: NDArray[Any], answers: NDArray[Any]) -> NDArray[Any]:
    """Return of what networks take away what can be white Gaussian noise of the level that they were told.

    Noise hardly ever lies further than five deviations from 0, so neither may what is taken away: what is
    clean lies in that range, and to move an answer to the nearest point of it brings it nearer to what is
    clean. Thus a star remains that a network has never seen the like of. What was cut for the networks to
    see it stays as it is. And of noise that is weaker than the networks' own error less is taken away: at
    best ``sigma**2 / (sigma**2 + error**2)`` of it, for errors that know nothing of the noise (Wiener's
    filter). A power of 4 fits both networks better; what comes of it is measured by
    ``benchmarks/photos.py --only strengths``.

    Parameters
    ----------
    shown : ndarray of shape (n, height, width, channels + 1)
        Pictures within sight, from black (0) to white (1), and the level of their noise.
    answers : ndarray of shape (n, height, width, channels)
        What the network answered.
    """
    picture, levels, (low, high) = shown[..., :-1], shown[..., -1:], _sight(shown)
    fourth = np.square(np.square(levels / ERROR))
    noise: NDArray[Any] = picture - answers
    noise *= fourth / (1 + fourth)
    np.clip(noise, -MOST_NOISE * levels, MOST_NOISE * levels, out=noise)
    noise[(picture <= low) | (picture >= high)] = 0
    return noise
