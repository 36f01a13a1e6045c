"""How a network in the box sees a picture, and how much of what it takes away can be noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["View", "only_noise", "view_of", "within_sight"]

# The networks saw photos from 0 (black) to 1 (white). What they answer changes little when a picture and its
# noise are brightened or darkened together, so other numbers are shown to them there.
SAMPLE = 2**20  # pixels that darkest and brightest are judged by
ENDS = 0.001, 0.999  # quantiles that are taken for these
FAINT = 0.25  # the share of the range from black to white that is spread, where a picture uses no more
SLACK = 0.05  # of that range: as far as numbers may lie beyond it without noise
UNKNOWN_NOISE = 0.5  # of that range: as far as noise may take them, where nobody says how strong it is
MOST_NOISE = 5.0  # deviations: of a billion numbers that are normally distributed, one half lies beyond
ERROR = 1 / 255  # where noise is as weak as this, what the networks take away is as wrong as it is right


@dataclass(frozen=True)
class View:
    """What a network sees as 0 (black), and how far from there 1 (white) lies, in numbers of the picture."""

    black: float
    span: float


def view_of(colors: NDArray[Any], sigma: float | None, strongest: float | None = None) -> View:
    """Return how a network that learned from pictures between black and white sees a picture.

    As its type says, from 0 to the largest integer, or to 1. But floats that reach beyond that, as counts
    do, are spread from the darkest to the brightest. For the networks in the box, so are pictures of 16 bits
    and floats that use less than a quarter of that, as 12 bits in 16 do: these networks are off by half a
    grey level of 255 whatever the noise. And where the noise is stronger than they know, they see the picture
    so much darker that they know it.

    Parameters
    ----------
    colors : ndarray of shape (height, width, channels)
        A picture without alpha.
    sigma : float or None
        The strongest noise in it, in its unit, where that is known.
    strongest : float or None, default=None
        The strongest noise that a network in the box knows, in [0, 1]; None for one of the user.

    Raises
    ------
    ValueError
        Where ``sigma`` cannot be in the unit of the picture.
    """
    white = float(np.iinfo(colors.dtype).max) if colors.dtype.kind == "u" else 1.0
    black, span = 0.0, white
    low, high = _ends(colors) if colors.dtype != np.uint8 else (0.0, 255.0)
    if sigma is not None and sigma > max(white, high - low):
        raise ValueError(
            f"sigma reaches {sigma:.4g}, more than there is between the darkest and the brightest number of "
            f"image, {low:.4g} and {high:.4g}. It is in the unit of image: for floats in [0, 1] a share of "
            "that, for integers grey levels."
        )
    slack = SLACK * white + MOST_NOISE * sigma if sigma is not None else UNKNOWN_NOISE * white
    is_beyond = colors.dtype.kind == "f" and (low < -slack or high > white + slack)
    is_faint = strongest is not None and high - low < FAINT * white
    if is_beyond or is_faint:
        black, span = (low, high - low) if high > low else (low, white)
    if strongest is not None and sigma is not None:
        span = max(span, sigma / strongest)
    return View(black, span)


def _ends(colors: NDArray[Any]) -> tuple[float, float]:
    step = max(1, math.isqrt(colors.shape[0] * colors.shape[1] // SAMPLE))
    low, high = np.quantile(colors[::step, ::step].astype(np.float64), ENDS).tolist()
    return low, high


def within_sight(shown: NDArray[Any]) -> NDArray[Any]:
    """Cut what is shown to a network to what noise makes of black and white, in place, and return it.

    Parameters
    ----------
    shown : ndarray of shape (n, height, width, channels + 1)
        Pictures, and the level of their noise as a last channel.
    """
    picture, noise = shown[..., :-1], MOST_NOISE * shown[..., -1:]
    np.clip(picture, -SLACK - noise, 1 + SLACK + noise, out=picture)
    return shown


def only_noise(found: NDArray[Any], levels: NDArray[Any]) -> NDArray[Any]:
    """Return of what networks found, in place, what can be white Gaussian noise of these levels.

    Noise never lies further than five deviations from 0, so neither may what is taken away: what is clean
    lies in that range, and to move an answer to the nearest point of it brings it nearer to what is clean.
    Thus a star remains that a network has never seen the like of. And of noise that is weaker than the
    network's own error less is taken away; at best that is ``sigma**2 / (sigma**2 + error**2)`` of it for
    errors that know nothing of the noise (Wiener's filter), with a power of 4 in place of 2 for what was
    measured (``benchmarks/photos.py strengths``).

    Parameters
    ----------
    found : ndarray of shape (n, height, width, channels)
        What is to be taken off pictures from black (0) to white (1).
    levels : ndarray of shape (n, height, width)
        Standard deviations.
    """
    levels = levels[..., None]
    fourth = np.square(np.square(levels / ERROR))
    found *= fourth / (1 + fourth)
    return np.clip(found, -MOST_NOISE * levels, MOST_NOISE * levels, out=found)
