"""What a network costs for one sample, as a whole and layer by layer."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from threadpoolctl import ThreadpoolController
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from sk_denoise._random import borrowed_global_state

__all__ = [
    "Cost",
    "Usage",
    "cost_of",
    "entries_at_once",
    "one_thread",
    "threads_for_flops",
    "threads_for_entries",
    "usage_by_layer",
]

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


@dataclass
class Usage:
    """What the calls of one layer come to in a forward pass of one sample.

    Attributes
    ----------
    calls : int
        How often it is called.
    own_flops : int
        Floating-point operations of all calls, without those of the layers that it calls.
    output_shape : tuple of int or None
        Shape of what it gives for one sample, at the last call: of the first tensor, where there are several;
        None where it was not called, or gives none.
    """

    calls: int = 0
    own_flops: int = 0
    output_shape: tuple[int, ...] | None = None


def cost_of(module: nn.Module, input_shape: tuple[int, ...]) -> Cost:
    """Return the cost of a network, by its class's own count or by one sample of zeros.

    It is in evaluation mode then. To watch a sample, torch needs parts that take two seconds to import.
    """
    module.eval()
    own_count = vars(type(module)).get("_flops_and_widest")  # a subclass may compute something else
    if own_count is not None:
        return Cost(*own_count(module, input_shape))
    observer = _observe(module, input_shape, next(module.parameters()).device)
    return Cost(sum(usage.own_flops for usage in observer.usages.values()), observer.widest)


def usage_by_layer(module: nn.Module, input_shape: tuple[int, ...]) -> dict[str, Usage]:
    """Return what each layer does for one sample, by its name, and leave the network as it was.

    A copy without memory goes through the motions: that is quick for images of any size, and sees through
    the fused operations of a processor, which count as none. A network that looks at values, or cannot
    be copied, is given a sample of zeros.
    """
    with borrowed_global_state(0):
        try:
            stand_in = copy.deepcopy(module).to("meta").eval()
            usages = _usages(stand_in, _observe(stand_in, input_shape, torch.device("meta")))
        except Exception:  # whatever a module of the user's makes of tensors without values
            with _in_evaluation_mode(module):
                device = next((weight.device for weight in module.parameters()), torch.device("cpu"))
                usages = _usages(module, _observe(module, input_shape, device))
    return usages


def _usages(module: nn.Module, observer: _Observer) -> dict[str, Usage]:
    return {name: observer.usages.get(layer, Usage()) for name, layer in module.named_modules()}


@contextmanager
def _in_evaluation_mode(module: nn.Module) -> Iterator[None]:
    modes = [(layer, layer.training) for layer in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for layer, mode in modes:
            layer.training = mode


class _Observer:
    """Hooks that note what goes on between the beginning and the end of each layer's call."""

    def __init__(self, counter: FlopCounterMode, widest: int) -> None:
        self.usages: dict[nn.Module, Usage] = defaultdict(Usage)
        self.widest = widest
        self._counter = counter
        self._open: list[tuple[int, list[int]]] = []  # operations before a call, and those of calls inside

    def before(self, layer: nn.Module, inputs: Any) -> None:
        self._open.append((self._counter.get_total_flops(), []))

    def after(self, layer: nn.Module, inputs: Any, output: Any) -> None:
        start, inside = self._open.pop()
        flops = int(self._counter.get_total_flops() - start)
        if self._open:
            self._open[-1][1].append(flops)
        usage, tensors = self.usages[layer], list(_tensors_in(output))
        usage.calls += 1
        usage.own_flops += flops - sum(inside)
        usage.output_shape = tuple(tensors[0].shape[1:]) if tensors else None
        given = [part for part in inputs if isinstance(part, Tensor)]
        self.widest = max(self.widest, *(part.numel() for part in (*given, *tensors)), 0)


def _observe(module: nn.Module, input_shape: tuple[int, ...], device: torch.device) -> _Observer:
    """Watch a network at work on one sample of zeros."""
    sample = torch.zeros(1, *input_shape, dtype=torch.float32, device=device)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        observer = _Observer(counter, sample.numel())
        hooks = [layer.register_forward_pre_hook(observer.before) for layer in module.modules()]
        hooks += [layer.register_forward_hook(observer.after) for layer in module.modules()]
        try:
            module(sample)
        finally:
            for hook in hooks:
                hook.remove()
    return observer


def _tensors_in(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, dict | list | tuple):
        for part in output.values() if isinstance(output, dict) else output:
            yield from _tensors_in(part)


def entries_at_once(device: torch.device) -> int:
    """Return how many entries a layer's output should have when a network is applied to many samples."""
    if device.type != "cuda":
        return IN_CACHE
    return max(IN_CACHE, int(SHARE_OF_GPU * torch.cuda.mem_get_info(device)[0] / 4))


# Operations of a step of training, or of a prediction. With fewer the threads gain a fifth at best, and lose
# a multiple of it on a machine that is busy with something else, where they wait for each other.
WORTH_SHARING = 1e8
AN_ENTRY = 10  # operations that a pass over data in memory is worth, for each of their entries


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()  # looks through all loaded libraries, which takes milliseconds


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep work to one thread, for the calling thread alone and for as long as the block runs."""
    with _controller().limit(limits=1, user_api="openmp"):
        yield


def threads_for_flops(flops: float) -> AbstractContextManager[None]:
    """Keep work of so many operations to one thread, unless it is worth sharing."""
    return nullcontext() if flops >= WORTH_SHARING else one_thread()


def threads_for_entries(entries: int) -> AbstractContextManager[None]:
    """Keep passes over so many entries to one thread, unless they are worth sharing."""
    return threads_for_flops(AN_ENTRY * entries)
