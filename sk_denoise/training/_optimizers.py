"""Optimizers, learning-rate schedules, and defaults by the number of samples."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import torch
from torch.optim import Optimizer

from sk_denoise import _registry
from sk_denoise._registry import OPTIMIZERS, load_entry
from sk_denoise._validation import check_one_of

__all__ = [
    "OPTIMIZERS",
    "SCHEDULES",
    "auto_batch_size",
    "auto_epochs",
    "auto_patch_epochs",
    "auto_weight_decay",
    "resolve_optimizer",
]


T = TypeVar("T")

# Values for fewer samples than the key
BATCH_SIZES = {1_000: 32, 10_000: 64, math.inf: 128}
WEIGHT_DECAYS = {1_000: 0.3, 10_000: 0.2, math.inf: 0.0}
# Steps that small data need, and limits to the epochs
STEPS, MIN_EPOCHS, MAX_EPOCHS = 2_500, 10, 500
# Share of the steps in which the learning rate rises, and the maximum number of these steps: the first
# steps, in which gradients are large, would push rectified codes below zero for good.
WARM_UP = 0.1, 100
# Share of the learning rate at the end of an exponential fall
EXPONENTIAL_END = 0.01
# Share of the steps in which the learning rate rises, and the share of it at the start
ONE_CYCLE = 0.3, 0.04

# From a step and the number of steps to the share of the learning rate
SCHEDULES: _registry.LazyTable[Callable[[int, int], float]] = _registry.LazyTable(_registry.SCHEDULES)


def resolve_optimizer(
    optimizer: str | type[Optimizer],
    learning_rate: float | None,
    weight_decay: float | Literal["auto"],
    *,
    n_samples: int,
) -> tuple[type[Optimizer], dict[str, Any]]:
    """Return the class and the arguments of an optimizer.

    Parameters
    ----------
    optimizer : str or type
        A name in :data:`OPTIMIZERS` or a class of torch.
    learning_rate : float or None
        Learning rate; None takes that of the table, or the default of the constructor for a class that the
        table lacks.
    weight_decay : float or "auto"
        Weight decay; "auto" is for AdamW alone.
    n_samples : int
        Number of training samples.

    Returns
    -------
    type
        The class.
    dict
        The arguments of its constructor, besides the weights.
    """
    if isinstance(optimizer, str):
        entry = check_one_of(optimizer, OPTIMIZERS, "optimizer")
        kind, default_rate, arguments = load_entry(entry), entry.learning_rate, dict(entry.arguments)
    elif not issubclass(optimizer, Optimizer):
        raise TypeError(f"optimizer must be a name or a class of torch.optim, got {optimizer!r}.")
    else:
        rates: dict[type[Optimizer], Any] = {
            load_entry(entry): entry.learning_rate for entry in OPTIMIZERS.values()
        }
        kind, arguments = optimizer, {}
        own_rate = getattr(inspect.signature(optimizer).parameters.get("lr"), "default", None)
        default_rate = rates.get(kind, own_rate if isinstance(own_rate, float | int) else 1e-3)
    arguments["lr"] = float(default_rate if learning_rate is None else learning_rate)
    if weight_decay != "auto":
        arguments["weight_decay"] = float(weight_decay)
    # Other optimizers mix weight decay into the gradient.
    elif kind is torch.optim.AdamW:
        arguments["weight_decay"] = auto_weight_decay(n_samples)
    return kind, arguments


def constant(step: int, steps: int) -> float:
    """Return 1."""
    return 1.0


def cosine(step: int, steps: int) -> float:
    """Fall along a cosine to 0."""
    return _warm_up(step, steps) * 0.5 * (1 + math.cos(math.pi * step / steps))


def flat_cosine(step: int, steps: int) -> float:
    """Stay for the first half, then fall along a cosine to 0."""
    return _warm_up(step, steps) * 0.5 * (1 + math.cos(math.pi * max(0.0, 2 * step / steps - 1)))


def linear(step: int, steps: int) -> float:
    """Fall on a line to 0."""
    return _warm_up(step, steps) * (1 - step / steps)


def exponential(step: int, steps: int) -> float:
    """Fall to a hundredth, ever more slowly."""
    return _warm_up(step, steps) * float(EXPONENTIAL_END ** (step / steps))


def one_cycle(step: int, steps: int) -> float:
    """Rise for a third of the run, then fall along a cosine to 0."""
    rise, start = ONE_CYCLE
    top = max(1.0, rise * steps)
    if step < top:
        return start + (1 - start) * 0.5 * (1 - math.cos(math.pi * (step + 1) / top))
    return 0.5 * (1 + math.cos(math.pi * (step - top) / max(1.0, steps - top)))


def _warm_up(step: int, steps: int) -> float:
    """Return the share of the learning rate in the first steps, 1 afterwards."""
    share, max_steps = WARM_UP
    return min(1.0, (step + 1) / (1 + min(max_steps, share * steps)))


def auto_batch_size(n_samples: int) -> int:
    """Return the default batch size."""
    return min(n_samples, _for_size(BATCH_SIZES, n_samples))


def auto_weight_decay(n_samples: int) -> float:
    """Return the default decoupled weight decay: high for few samples, 0 for many."""
    return _for_size(WEIGHT_DECAYS, n_samples)


def auto_epochs(steps_per_epoch: int) -> int:
    """Return the default number of epochs for rows in memory."""
    return max(MIN_EPOCHS, min(MAX_EPOCHS, math.ceil(STEPS / steps_per_epoch)))


def auto_patch_epochs(steps_per_epoch: int) -> int:
    """Return the default number of epochs for a stream of patches."""
    # Patches differ in every epoch, so one epoch may be enough.
    return max(1, min(MAX_EPOCHS, math.ceil(STEPS / steps_per_epoch)))


def _for_size(table: dict[float, T], n_samples: int) -> T:
    return next(value for limit, value in table.items() if n_samples < limit)
