"""What a network costs for one sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

__all__ = ["Cost", "cost_of", "entries_at_once"]

IN_CACHE = 2**20  # entries of a layer that a processor's cache holds: 4 MB
SHARE_OF_GPU = 1 / 64  # of its free memory: a layer's input, output and what is computed in between


@dataclass(frozen=True)
class Cost:
    """The cost of a forward pass of one sample.

    Attributes
    ----------
    flops : int
        Floating-point operations.
    widest : int
        The most entries that go into a layer or come out of it.
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


def entries_at_once(device: torch.device) -> int:
    """Return how many entries a layer's output should have when a network is applied to many samples."""
    if device.type != "cuda":
        return IN_CACHE
    return max(IN_CACHE, int(SHARE_OF_GPU * torch.cuda.mem_get_info(device)[0] / 4))
