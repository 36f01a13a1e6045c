"""The table of losses: what a network is trained to make small."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["LOSSES", "LOSSES_ON_UNIT_INTERVAL"]


class _CrossEntropy(torch.autograd.Function):
    """Mean binary cross-entropy of probabilities, several times as fast on a CPU as torch's own.

    Torch takes its logarithms one by one. As there, they are held at -100 and above, and p (1 - p) at 1e-12.
    """

    @staticmethod
    def forward(ctx: Any, probability: Tensor, target: Tensor) -> Tensor:
        ctx.save_for_backward(probability, target)
        of_one = probability.log().clamp_(min=-100)
        of_zero = probability.neg().log1p_().clamp_(min=-100)
        return of_zero.lerp_(of_one, target).mean().neg_()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        probability, target = ctx.saved_tensors
        variance = torch.addcmul(probability, probability, probability, value=-1).clamp_(min=1e-12)
        slope = (probability - target).div_(variance)
        return slope.mul_(gradients[0] / probability.numel()), None


class BinaryCrossEntropy(nn.Module):
    """Mean binary cross-entropy of probabilities, of any shape, with targets in [0, 1] of the same."""

    def forward(self, probability: Tensor, target: Tensor) -> Tensor:
        """Map two batches to one number."""
        loss: Tensor = _CrossEntropy.apply(probability, target)
        return loss


LOSSES: dict[str, type[nn.Module]] = {
    "mse": nn.MSELoss,
    "mae": nn.L1Loss,
    "huber": nn.HuberLoss,  # quadratic below one (scaled) unit, linear above
    "bce": BinaryCrossEntropy,
}

LOSSES_ON_UNIT_INTERVAL = frozenset({"bce"})  # these compare probabilities: data are not scaled
