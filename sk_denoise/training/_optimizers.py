"""Optimizers by name or class, with a default rate that suits them."""

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


def resolve_optimizer(
    optimizer: str | type[Optimizer],
    learning_rate: float | None,
    weight_decay: float | Literal["auto"],
    *,
    n_samples: int,
) -> tuple[type[Optimizer], dict[str, Any]]:
    """Return an optimizer's class and arguments.

    A class of torch that stands in the table gets the rate of the table, one that does not the default
    of its own constructor. Automatic weight decay is that of AdamW, which does not mix it into the
    gradient; other optimizers get none.
    """
    if isinstance(optimizer, str):
        entry = check_one_of(optimizer, OPTIMIZERS, "optimizer")
        kind, rate, arguments = load_entry(entry), entry.learning_rate, dict(entry.arguments)
    elif not issubclass(optimizer, Optimizer):
        raise TypeError(f"optimizer must be a name or a class of torch.optim, got {optimizer!r}.")
    else:
        rates: dict[type[Optimizer], Any] = {
            load_entry(entry): entry.learning_rate for entry in OPTIMIZERS.values()
        }
        kind, arguments = optimizer, {}
        own = getattr(inspect.signature(optimizer).parameters.get("lr"), "default", None)
        rate = rates.get(kind, own if isinstance(own, float | int) else 1e-3)
    arguments["lr"] = float(rate if learning_rate is None else learning_rate)
    if weight_decay != "auto":
        arguments["weight_decay"] = float(weight_decay)
    elif kind is torch.optim.AdamW:
        arguments["weight_decay"] = auto_weight_decay(n_samples)
    return kind, arguments


WARM_UP = 0.1, 100  # share of the steps, and the most of them, in which the rate rises
EXPONENTIAL_END = 0.01  # share of the rate that an exponential fall ends at
ONE_CYCLE = 0.3, 0.04  # share of the steps in which the rate rises, and share of the rate that it rises from

SCHEDULES: _registry.LazyTable[Callable[[int, int], float]] = _registry.LazyTable(_registry.SCHEDULES)


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
    """Rise over the first steps."""
    share, most = WARM_UP
    return min(1.0, (step + 1) / (1 + min(most, share * steps)))


T = TypeVar("T")

# for fewer samples than the key
BATCH_SIZES = {1_000: 32, 10_000: 64, math.inf: 128}
WEIGHT_DECAYS = {1_000: 0.3, 10_000: 0.2, math.inf: 0.0}
STEPS, LEAST_EPOCHS, MOST_EPOCHS = 2_500, 10, 500


def auto_batch_size(n_samples: int) -> int:
    """Return the batch size for so many samples."""
    return min(n_samples, _for_size(BATCH_SIZES, n_samples))


def auto_weight_decay(n_samples: int) -> float:
    """Return the decoupled weight decay for so many samples: much for few, none for many."""
    return _for_size(WEIGHT_DECAYS, n_samples)


def auto_epochs(steps_of_an_epoch: int) -> int:
    """Return the epochs that make about as many steps as small data need."""
    return max(LEAST_EPOCHS, min(MOST_EPOCHS, math.ceil(STEPS / steps_of_an_epoch)))


def auto_patch_epochs(steps_of_an_epoch: int) -> int:
    """Return the epochs that make as many steps, of patches that are other ones in every epoch."""
    return max(1, min(MOST_EPOCHS, math.ceil(STEPS / steps_of_an_epoch)))


def _for_size(table: dict[float, T], n_samples: int) -> T:
    return next(value for limit, value in table.items() if n_samples < limit)
