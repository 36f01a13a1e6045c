"""How many threads a piece of work deserves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache

import torch
from threadpoolctl import ThreadpoolController
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

__all__ = ["flops_per_sample", "keeps_to_one_thread", "one_thread", "suitable_threads"]

# Operations between two meetings of the threads. Below this they wait for each other as long as they
# work, and on a machine that is busy with something else for much longer.
WORTH_SHARING = 1e9


def flops_per_sample(module: nn.Module, input_shape: tuple[int, ...]) -> int:
    """Return the floating-point operations of a forward pass of one sample."""
    device = next(module.parameters()).device
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(torch.zeros(1, *input_shape, dtype=torch.float32, device=device))
    return int(counter.get_total_flops())


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()  # looks through all loaded libraries, which takes milliseconds


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep work to one thread, for the calling thread alone and for as long as the block runs."""
    with _controller().limit(limits=1, user_api="openmp"):
        yield


def keeps_to_one_thread() -> bool:
    """Return whether the calling thread computes alone, by one of these limits or the user's."""
    return torch.get_num_threads() == 1


def suitable_threads(flops: float) -> AbstractContextManager[None]:
    """Keep work of so many operations to one thread, unless it is worth sharing."""
    return nullcontext() if flops >= WORTH_SHARING else one_thread()
