"""The table of losses: what a network is trained to make small."""

from __future__ import annotations

from torch import nn

__all__ = ["LOSSES", "LOSSES_ON_UNIT_INTERVAL"]

LOSSES: dict[str, type[nn.Module]] = {
    "mse": nn.MSELoss,
    "mae": nn.L1Loss,
    "huber": nn.HuberLoss,  # quadratic below one (scaled) unit, linear above
    "bce": nn.BCELoss,
}

LOSSES_ON_UNIT_INTERVAL = frozenset({"bce"})  # these compare probabilities: data are not scaled
