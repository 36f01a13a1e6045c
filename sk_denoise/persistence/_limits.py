"""Limits of the size and the run time of an estimator that comes out of a file.

A network is first built without memory for its weights, so that its sizes can be compared with those of the
file before any memory is taken for them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from torch import nn
from torch.overrides import TorchFunctionMode

from sk_denoise._resources import Cost, cost_of
from sk_denoise._schema import MAX_MAGNITUDE, to_double
from sk_denoise.estimators import (
    BicubicEnlarger,
    BilateralDenoiser,
    MedianDenoiser,
    NonLocalMeansDenoiser,
    RichardsonLucyDeconvolver,
    SavitzkyGolayDenoiser,
    TotalVariationDenoiser,
)
from sk_denoise.estimators._network_denoiser import NetworkDenoiser
from sk_denoise.estimators._preparation import SampleLayout

__all__ = [
    "MAX_ENTRIES",
    "build_without_memory",
    "check_cost",
    "check_depth",
    "check_magnitudes",
    "check_sizes",
    "check_windows",
]

# Entries of a layer for one sample: 256 MB in single precision, and a few layers are in memory at once.
MAX_ENTRIES = 2**26
# Operations for each of these entries: one sample then takes seconds at most.
MAX_OPERATIONS = 2**12
# Calls of torch to make and use a layer with one weight. Networks of the library take fewer than 40.
CALLS_PER_TENSOR = 100
# A network without any weight has a few layers all the same: activations, reshaping.
SPARE_TENSORS = 8
# Parameters by which the memory or the time of a filter grows
MAX_WINDOWS: dict[type[Any], dict[str, float]] = {
    MedianDenoiser: {"size": 255},
    NonLocalMeansDenoiser: {"patch_size": 255, "patch_distance": 127},
    BilateralDenoiser: {"sigma_spatial": 50},
    TotalVariationDenoiser: {"max_num_iter": 10_000},
    SavitzkyGolayDenoiser: {"window_length": 1_000_001, "polyorder": 50},
    RichardsonLucyDeconvolver: {"n_iter": 10_000},
    BicubicEnlarger: {"scale": 64},
}
# The windows of signals have a single row.
MAX_SIGNAL_WINDOWS: dict[type[Any], dict[str, float]] = {
    MedianDenoiser: {"size": 10_001},
    NonLocalMeansDenoiser: {"patch_size": 10_001, "patch_distance": 10_000},
    BilateralDenoiser: {"sigma_spatial": 2_000},
}


# Parameters ---------------------------------------------------------------------------------------------


def check_magnitudes(estimator: BaseEstimator) -> None:
    """Refuse parameters that are finite numbers with infinite squares."""
    for name, value in estimator.get_params(deep=False).items():
        if not _has_usual_magnitude(value):
            raise ValueError(f"{name} of {type(estimator).__name__} is beyond {MAX_MAGNITUDE:g}")


def _has_usual_magnitude(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_has_usual_magnitude, value))
    if isinstance(value, np.ndarray) and value.dtype.kind in "iuf":
        return _has_usual_magnitude(float(np.abs(value.astype(np.float64)).max(initial=0)))
    is_real = isinstance(value, int | float | np.integer | np.floating)
    # Infinity may be meant, as a tolerance that is never reached.
    return not is_real or not MAX_MAGNITUDE < abs(to_double(value)) < math.inf


def check_windows(estimator: Any) -> None:
    """Refuse windows that no image needs, and that would take minutes or gigabytes."""
    limits = MAX_WINDOWS.get(type(estimator), {})
    if getattr(estimator, "kind", "auto") == "signals":
        limits = MAX_SIGNAL_WINDOWS.get(type(estimator), limits)
    for name, maximum in limits.items():
        value = getattr(estimator, name)
        if value != "auto" and value > maximum:
            raise ValueError(
                f"{type(estimator).__name__} has {name}={value!r:.40}; files hold at most {maximum:g}."
            )


# Networks -----------------------------------------------------------------------------------------------


def check_sizes(estimator: NetworkDenoiser, entries: int) -> None:
    """Refuse layers that need more weights than a file has, before the first is made."""
    claimed = [getattr(estimator, "latent_dim", 1)]
    # Where a sample has one unit, the first axis of a network input is channels, not features.
    layout = estimator._preparation_.layout
    if layout.has_one_unit:
        claimed.append(layout.network_shape[0])
    for size in (*claimed, *_iterate_integers(estimator.network)):
        if size > entries:
            raise ValueError(f"its network claims sizes of {size!r:.40}, and there are {entries} weights")


def check_depth(estimator: NetworkDenoiser, tensors: int) -> None:
    """Refuse more layers than a file has weights for, before the first is made."""
    for name, value in getattr(estimator.network, "get_params", dict)().items():
        layers = sum(_iterate_integers(value)) if name in ("depth", "blocks") else 0
        if layers > tensors + SPARE_TENSORS:
            raise ValueError(
                f"its network has more layers than there are weights: {name} is {value!r:.40}, and the file "
                f"has {tensors} arrays for them"
            )


def _iterate_integers(value: Any) -> Iterator[int]:
    if isinstance(value, int | np.integer):
        yield int(value)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _iterate_integers(part)
    elif isinstance(value, np.ndarray):
        yield from (int(part) for part in value.ravel() if math.isfinite(part))
    elif isinstance(value, BaseEstimator):
        yield from _iterate_integers(list(value.get_params(deep=False).values()))


def check_cost(name: str, cost: Cost, max_entries: int) -> None:
    """Refuse a network that would take much memory or time for a single sample."""
    if cost.widest > max_entries or cost.flops > MAX_OPERATIONS * max_entries:
        raise ValueError(
            f"{name} has a layer of {cost.widest:.3g} entries and takes {cost.flops:.3g} operations for one "
            f"sample, and {max_entries:.3g} and {MAX_OPERATIONS * max_entries:.3g} are the most. Pass "
            "max_entries= to load where it is meant to be so large"
        )


class _WithoutMemory(TorchFunctionMode):
    """A mode of torch, for one thread, in which tensors get no memory."""

    def __init__(self, max_calls: int) -> None:
        super().__init__()
        self.calls_left = max_calls

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        options = dict(kwargs or {})
        self.calls_left -= 1
        if self.calls_left < 0:
            raise ValueError("its network has more layers than there are weights")
        # Calls without a device follow the context, torch.device("meta").
        if "device" in options:
            options["device"] = "meta"
        # A generator belongs to a device with memory; entries without memory need no draw.
        if options.get("generator") is not None:
            return args[0] if args else options["tensor"]
        return func(*args, **options)


def build_without_memory(
    estimator: NetworkDenoiser, layout: SampleLayout, on_unit_interval: bool, tensors: int
) -> tuple[nn.Module, Cost]:
    """Build a network without memory for its weights, and compute its cost.

    Parameters
    ----------
    estimator : NetworkDenoiser
        An estimator with the parameters of the network.
    layout : SampleLayout
        Layout of the samples.
    on_unit_interval : bool
        Whether the output of the network lies in [0, 1].
    tensors : int
        Number of weights and buffers in the file. A network with many more layers is not built to its end.
    """
    with torch.device("meta"), _WithoutMemory(CALLS_PER_TENSOR * (tensors + SPARE_TENSORS)):
        factory = estimator._factory()
        module = factory.build(layout, on_unit_interval, estimator._root())
        return module, cost_of(module, factory.input_shape(layout))
