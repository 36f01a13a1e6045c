"""What a network costs for one sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

__all__ = ["Cost", "cost_of"]


@dataclass(frozen=True)
class Cost:
    """Attributes
    ----------
    flops : int
        Floating-point operations of a forward pass of one sample.
    widest : int
        The most entries that go into or come out of a layer for one sample.
    """

    flops: int
    widest: int


def cost_of(module: nn.Module, input_shape: tuple[int, ...]) -> Cost:
    """Return the cost of a network, found out by one sample of zeros."""
    device = next(module.parameters()).device
    sample = torch.zeros(1, *input_shape, dtype=torch.float32, device=device)
    widths = [sample.numel()]

    def note(layer: nn.Module, inputs: Any, output: Any) -> None:
        widths.extend(part.numel() for part in (*inputs, output) if isinstance(part, Tensor))

    hooks = [layer.register_forward_hook(note) for layer in module.modules()]
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            module.eval()(sample)
    finally:
        for hook in hooks:
            hook.remove()
    return Cost(int(counter.get_total_flops()), max(widths))
