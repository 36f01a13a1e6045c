"""How large and how slow an estimator may be that comes out of a file."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from sk_denoise._resources import Cost
from sk_denoise.estimators import (
    BilateralDenoiser,
    MedianDenoiser,
    NonLocalMeansDenoiser,
    TotalVariationDenoiser,
)
from sk_denoise.estimators._network_denoiser import NetworkDenoiser

__all__ = [
    "LARGEST",
    "MOST_ENTRIES",
    "as_float",
    "check_cost",
    "check_depth",
    "check_moderate",
    "check_sizes",
    "check_windows",
]

MOST_ENTRIES = (
    2**26
)  # of a layer for one sample: 256 MB in single precision, of which a few are there at once
LARGEST = 1e150  # of a number, whose square is still one
OPERATIONS = 2**12  # for an entry: a pass over one sample takes seconds at most
# Parameters that a filter's memory or time grows with, and the most of them
WINDOWS: dict[type[Any], dict[str, float]] = {
    MedianDenoiser: {"size": 255},
    NonLocalMeansDenoiser: {"patch_size": 255, "patch_distance": 127},
    BilateralDenoiser: {"sigma_spatial": 50},
    TotalVariationDenoiser: {"max_num_iter": 10_000},
}


def as_float(value: Any) -> float:
    """Return a number as a float, which numpy's of half the size compare with."""
    try:
        return float(value)
    except OverflowError:
        return sys.float_info.max if value > 0 else -sys.float_info.max


def check_moderate(estimator: BaseEstimator) -> None:
    """Refuse parameters that are numbers whose squares are none; infinite ones may be meant."""
    for name, value in estimator.get_params(deep=False).items():
        if not _are_moderate(value):
            raise ValueError(f"{name} of {type(estimator).__name__} is beyond {LARGEST:g}")


def _are_moderate(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_are_moderate, value))
    is_real = isinstance(value, int | float | np.integer | np.floating)
    return not is_real or not LARGEST < abs(as_float(value)) < math.inf


def check_windows(estimator: Any) -> None:
    """Refuse windows that no image needs, and that would take minutes or gigabytes."""
    for name, most in WINDOWS.get(type(estimator), {}).items():
        value = getattr(estimator, name)
        if value > most:
            raise ValueError(
                f"{type(estimator).__name__} has {name}={value!r:.40}; files hold at most {most:g}."
            )


def check_sizes(estimator: NetworkDenoiser, entries: int) -> None:
    """Refuse layers that need more weights than there are, before the first is made."""
    claimed = [getattr(estimator, "latent_dim", 1), estimator._preparation_.layout.network_shape[0]]
    if not estimator._preparation_.layout.has_one_unit:
        claimed = claimed[:1]
    for size in (*claimed, *_integers_of(estimator.network)):
        if size > entries:
            raise ValueError(f"its network claims sizes of {size!r:.40}, and there are {entries} weights")


def check_depth(estimator: NetworkDenoiser, tensors: int) -> None:
    """Refuse more layers than there are weights for, before the first is made."""
    for name, value in getattr(estimator.network, "get_params", dict)().items():
        layers = sum(_integers_of(value)) if name in ("depth", "blocks") else 0
        if layers > tensors + 8:
            raise ValueError(
                f"its network has more layers than there are weights: {name} is {value!r:.40}, and the file "
                f"has {tensors} arrays for them"
            )


def _integers_of(value: Any) -> Iterator[int]:
    if isinstance(value, int | np.integer):
        yield int(value)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _integers_of(part)
    elif isinstance(value, np.ndarray):
        yield from (int(part) for part in value.ravel() if math.isfinite(part))
    elif isinstance(value, BaseEstimator):
        yield from _integers_of(list(value.get_params(deep=False).values()))


def check_cost(name: str, cost: Cost, most_entries: int) -> None:
    """Refuse a network that would take much memory or time for a single sample."""
    if cost.widest > most_entries or cost.flops > OPERATIONS * most_entries:
        raise ValueError(
            f"{name} has a layer of {cost.widest:.3g} entries and takes {cost.flops:.3g} operations for one "
            f"sample, and {most_entries:.3g} and {OPERATIONS * most_entries:.3g} are the most. Pass "
            "max_entries= to load where it is meant to be so large"
        )
