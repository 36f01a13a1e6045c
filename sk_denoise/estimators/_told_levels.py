"""How strong the noise is that a network is told of: given, or estimated once for each image."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sk_denoise._intensity import UNIT, IntensityRange
from sk_denoise._noise_level import levels_of
from sk_denoise._warnings import warn_user

__all__ = ["found_levels", "limited_levels", "warn_of_tiny_sigma"]

TINY = 4.0  # times as strong as the level that was told: an estimate that cannot be so wrong
SLACK = 1.05  # of the strongest noise that a network learned from: levels of patches and estimates vary


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
    if most > SLACK * strongest:
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
