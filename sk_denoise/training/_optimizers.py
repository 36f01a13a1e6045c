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
    else:
        rates = {kind: rate for kind, rate, _ in OPTIMIZERS.values()}
        kind, arguments = optimizer, {}
        own_rate = inspect.signature(optimizer).parameters["lr"].default
        rate = rates.get(optimizer, 1e-3 if own_rate is inspect.Parameter.empty else own_rate)
    arguments["lr"] = float(rate if learning_rate is None else learning_rate)
    if weight_decay == "auto":
        weight_decay = auto_weight_decay(n_samples) if kind is torch.optim.AdamW else 0.0
    if weight_decay or kind is torch.optim.AdamW:  # whose own default is not zero
        arguments["weight_decay"] = float(weight_decay)
    return kind, arguments
