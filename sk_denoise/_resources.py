"""The cost of a network, and the threads and memory that fit to it.

The cost of a step decides on threads, precision and the chunks of a prediction. It is counted and not timed,
so that the bits of a fit do not depend on what else the machine does.
"""

from __future__ import annotations

import copy
import os
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import ThreadpoolController
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from sk_denoise._random import borrowed_global_state
from sk_denoise._validation import warn_user

__all__ = [
    "Cost",
    "Usage",
    "cost_of",
    "entries_at_once",
    "one_thread",
    "threads_for_entries",
    "threads_for_flops",
    "usage_by_layer",
]

# Entries of a layer that fit into a processor's cache: 4 MB
ENTRIES_IN_CACHE = 2**20
# Share of a GPU's free memory for a layer's input, output and the values in between
SHARE_OF_GPU = 1 / 64
# Module of torch's compiler
COMPILER = "torch._dynamo"
# Operations of a step of training, or of a prediction. With fewer the threads gain a fifth at best, and lose
# a multiple of it on a busy machine, where they wait for each other.
FLOPS_WORTH_SHARING = 1e8
# Operations that cost as much as a pass over one entry in memory
FLOPS_OF_AN_ENTRY = 10


@dataclass(frozen=True)
class Cost:
    """Cost of a forward pass of one sample.

    Attributes
    ----------
    flops : int
        Floating-point operations.
    widest : int
        Entries of the largest input or output of a layer.
    """

    flops: int
    widest: int


@dataclass
class Usage:
    """Totals of the calls of one layer in a forward pass of one sample.

    Attributes
    ----------
    calls : int
        Number of calls.
    own_flops : int
        Floating-point operations of all calls, without those of the layers inside.
    output_shape : tuple of int or None
        Shape of the first tensor in the output of the last call, for one sample; None without a call or a
        tensor.
    """

    calls: int = 0
    own_flops: int = 0
    output_shape: tuple[int, ...] | None = None


def cost_of(module: nn.Module, input_shape: tuple[int, ...]) -> Cost:
    """Measure the cost of a network by a sample of zeros; set it to evaluation mode.

    Forward hooks observe the pass, so no other thread may use the network.
    """
    # The network runs on its own device: torch's meta device takes a process a second when it is first used.
    observer = _observe(module.eval(), input_shape, next(module.parameters()).device)
    return Cost(sum(usage.own_flops for usage in observer.usages.values()), observer.widest)


def usage_by_layer(module: nn.Module, input_shape: tuple[int, ...]) -> dict[str, Usage]:
    """Return the usage of each layer by its name, and leave the network as it was.

    A network that reads values, or cannot be copied, runs on a sample of zeros. Of all others a copy without
    memory runs, which is quick for images of any size.
    """
    with borrowed_global_state(0):
        try:
            # Fused operations of a processor count as no operations; on the meta device nothing is fused.
            stand_in = copy.deepcopy(module).to("meta").eval()
            usages = _usages(stand_in, _observe(stand_in, input_shape, torch.device("meta")))
        # A module of the user may raise any error for tensors without values.
        except Exception:
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


class _FlopCounter(TorchDispatchMode):
    """Counter of operations by torch's own formulas, without its compiler."""

    # By default torch imports the compiler to keep it off the method below, which takes two seconds.
    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __init__(self) -> None:
        super().__init__()
        self._total = 0

    def get_total_flops(self) -> int:
        """Return the number of operations so far."""
        return self._total

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        options = kwargs or {}
        if func is not torch.ops.prim.device.default:
            with self:
                output = func.decompose(*args, **options)
            if output is not NotImplemented:
                return output
        output = func(*args, **options)
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self._total += formula(*args, **options, out_val=output)
        return output


class _Observer:
    """Hooks that record the usage of each layer.

    Parameters
    ----------
    counter : object
        Has ``get_total_flops``.
    widest : int
        Entries of the sample.
    """

    def __init__(self, counter: _FlopCounter | FlopCounterMode, widest: int) -> None:
        self.usages: dict[nn.Module, Usage] = defaultdict(Usage)
        self.widest = widest
        self._counter = counter
        # For each open call the operations before it, and those of the calls inside
        self._open: list[tuple[int, list[int]]] = []

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
    """Observe a network during a forward pass of one sample of zeros."""
    if COMPILER not in sys.modules:
        # Networks that compile, as torch.cond does, raise errors here.
        with suppress(Exception):
            return _observe_with(_FlopCounter(), module, input_shape, device)
    return _observe_with(FlopCounterMode(display=False), module, input_shape, device)


def _observe_with(
    counter: _FlopCounter | FlopCounterMode,
    module: nn.Module,
    input_shape: tuple[int, ...],
    device: torch.device,
) -> _Observer:
    sample = torch.zeros(1, *input_shape, dtype=torch.float32, device=device)
    with torch.no_grad(), counter:
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
    """Return the entries of a layer's output that suit a prediction from many samples."""
    if device.type != "cuda":
        return ENTRIES_IN_CACHE
    return max(ENTRIES_IN_CACHE, int(SHARE_OF_GPU * torch.cuda.mem_get_info(device)[0] / 4))


@cache
def _controller() -> ThreadpoolController:
    # Cached, because it searches all loaded libraries, which takes milliseconds.
    return ThreadpoolController()


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit work to one thread, for the calling thread alone and within the block."""
    # threadpoolctl sets the limit of the calling thread, so fits in other threads keep theirs.
    with _controller().limit(limits=1, user_api="openmp"):
        yield


class _ForkState:
    """Threads of torch that a forked child has lost."""

    # Threads of libraries when this module is imported: those of numpy, which end well in a child
    n_at_import = 0
    parent_has_threads = False
    lost_threads = False
    has_warned = False


def _count_library_threads() -> int:
    """Return the number of threads that libraries have started, and not Python."""
    try:
        n_threads = sum(1 for _ in Path("/proc/self/task").iterdir())
    # Other systems do not list them.
    except OSError:
        n_threads = torch.get_num_threads()
    return n_threads - threading.active_count()


def _note_threads() -> None:
    """Note before a fork whether torch has started threads."""
    _ForkState.parent_has_threads = _count_library_threads() > _ForkState.n_at_import


def _end_threads() -> None:
    """Limit torch in a forked child to one thread if its parent had more."""
    if _ForkState.parent_has_threads:
        # OpenMP in the child would wait for ever for the threads of its parent. One thread needs no other.
        torch.set_num_threads(1)
        _ForkState.lost_threads, _ForkState.has_warned = True, False


# Joblib's processes and those of multiprocessing's "spawn" start programs anew, and come by no fork.
if hasattr(os, "register_at_fork"):
    _ForkState.n_at_import = _count_library_threads()
    os.register_at_fork(before=_note_threads, after_in_child=_end_threads)


def _warn_of_lost_threads() -> None:
    if not _ForkState.has_warned:
        _ForkState.has_warned = True
        warn_user(
            "This process was forked from one in which torch had used threads. They do not survive a fork, "
            "so that it computes with one thread. Do not call torch.set_num_threads here, which makes it "
            'hang; start processes by multiprocessing.get_context("spawn") or joblib for more speed.'
        )


def threads_for_flops(flops: float) -> AbstractContextManager[None]:
    """Limit work of this many operations to one thread, unless it is worth sharing."""
    if _ForkState.lost_threads and flops >= FLOPS_WORTH_SHARING:
        _warn_of_lost_threads()
        return one_thread()
    return nullcontext() if flops >= FLOPS_WORTH_SHARING else one_thread()


def threads_for_entries(entries: int) -> AbstractContextManager[None]:
    """Limit passes over this many entries to one thread, unless worth sharing."""
    return threads_for_flops(FLOPS_OF_AN_ENTRY * entries)
