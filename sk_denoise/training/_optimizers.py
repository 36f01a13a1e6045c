"""Optimizers by name or class, with a default rate that suits them."""

from __future__ import annotations

import inspect
from typing import Any, Literal

import torch
from torch.optim import Optimizer

from sk_denoise._registry import OPTIMIZERS, load
from sk_denoise._validation import check_one_of
from sk_denoise.training._defaults import auto_weight_decay

__all__ = ["OPTIMIZERS", "resolve_optimizer"]


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
        kind, rate, arguments = load(entry), entry.learning_rate, dict(entry.arguments)
    elif not issubclass(optimizer, Optimizer):
        raise TypeError(f"optimizer must be a name or a class of torch.optim, got {optimizer!r}.")
    else:
        rates: dict[type[Optimizer], Any] = {
            load(entry): entry.learning_rate for entry in OPTIMIZERS.values()
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
