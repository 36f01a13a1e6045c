"""How strong the noise is that a network is told of: given, or estimated once for each picture."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sk_denoise._noise_level import levels_of
from sk_denoise._warnings import warn_user

__all__ = ["found_levels", "levels_for", "limited_levels"]

SLACK = 1.05  # of the strongest noise that a network learned from: levels of patches and estimates vary


def levels_for(
    sigma: ArrayLike | None, pictures: NDArray[Any], strongest: float, name: str = "X"
) -> NDArray[Any]:
    """Return the noise levels of a stack of pictures, (n,) or maps (n, height, width), in their unit.

    Parameters
    ----------
    sigma : float, array-like or None
        What the user says; None estimates one for each picture.
    pictures : ndarray of shape (n, height, width, channels)
        Noisy pictures.
    strongest : float
        The strongest noise that the network learned from, in the unit of the pictures.
    name : str, default="X"
        What messages call the pictures.
    """
    levels = found_levels(sigma, pictures)
    return limited_levels(levels, strongest, was_told=sigma is not None, name=name)


def found_levels(sigma: ArrayLike | None, pictures: NDArray[Any]) -> NDArray[Any]:
    """Return noise levels as they are said or estimated, however strong."""
    if sigma is None:
        return levels_of(pictures)
    n, height, width = pictures.shape[:3]
    levels = np.asarray(sigma)
    is_number = levels.dtype.kind in "iuf"
    if levels.shape == (height, width) and n == 1:
        levels = levels[None]
    fits = levels.shape in ((), (n,), (n, height, width))
    if not is_number or not fits or not np.isfinite(levels).all() or (levels < 0).any():
        raise ValueError(
            f"sigma must be finite and at least 0: a number, one for each of {n} pictures, maps of shape "
            f"({n}, {height}, {width}), or None to estimate it. Got "
            + (repr(sigma) if np.ndim(sigma) == 0 else f"shape {levels.shape}, {levels.dtype}.")
        )
    levels = levels.astype(np.float64)
    return np.broadcast_to(levels, (n,)) if levels.ndim == 0 else levels


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
