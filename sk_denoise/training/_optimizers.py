"""The table of optimizers, each with a default rate that suits it."""

from __future__ import annotations

import inspect
from typing import Any, Literal

import torch
from torch.optim import Optimizer

from sk_denoise._validation import check_one_of
from sk_denoise.training._defaults import auto_weight_decay

__all__ = ["OPTIMIZERS", "resolve_optimizer"]

# name: (class, default learning rate, further arguments)
OPTIMIZERS: dict[str, tuple[type[Optimizer], float, dict[str, Any]]] = {
    "adam": (torch.optim.Adam, 2e-3, {"fused": True}),
    "adamw": (torch.optim.AdamW, 2e-3, {"fused": True}),
    "nadam": (torch.optim.NAdam, 2e-3, {}),
    "radam": (torch.optim.RAdam, 4e-3, {}),
    "rmsprop": (torch.optim.RMSprop, 1e-3, {}),
    "sgd": (torch.optim.SGD, 5e-2, {"fused": True, "momentum": 0.9}),
    "adagrad": (torch.optim.Adagrad, 1e-2, {"fused": True}),
    "adadelta": (torch.optim.Adadelta, 1.0, {}),
}


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
        kind, rate, arguments = check_one_of(optimizer, OPTIMIZERS, "optimizer")
        arguments = dict(arguments)
    elif not issubclass(optimizer, Optimizer):
        raise TypeError(f"optimizer must be a name or a class of torch.optim, got {optimizer!r}.")
    else:
        rates: dict[type[Optimizer], Any] = {kind: rate for kind, rate, _ in OPTIMIZERS.values()}
        kind, arguments = optimizer, {}
        own = getattr(inspect.signature(optimizer).parameters.get("lr"), "default", None)
        rate = rates.get(kind, own if isinstance(own, float | int) else 1e-3)
    arguments["lr"] = float(rate if learning_rate is None else learning_rate)
    if weight_decay != "auto":
        arguments["weight_decay"] = float(weight_decay)
    elif kind is torch.optim.AdamW:
        arguments["weight_decay"] = auto_weight_decay(n_samples)
    return kind, arguments
