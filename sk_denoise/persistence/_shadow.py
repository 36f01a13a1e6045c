"""Networks without weights, to know their sizes before any memory is taken for them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from sk_denoise._resources import Cost, cost_of
from sk_denoise.estimators._network_denoiser import NetworkDenoiser
from sk_denoise.estimators._preparation import SampleLayout

__all__ = ["shadow_of"]

CALLS_FOR_A_TENSOR = 100  # of torch, to make and use what has one weight; ours take less than 40


class _Shadow(TorchFunctionMode):
    """Has tensors made without memory, and leaves their entries undrawn; in the calling thread alone."""

    def __init__(self, most_calls: int) -> None:
        super().__init__()
        self.calls_left = most_calls

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        options = dict(kwargs or {})
        self.calls_left -= 1
        if self.calls_left < 0:
            raise ValueError("its network has more layers than there are weights")
        if "device" in options:  # where it is not given, the context says so
            options["device"] = "meta"
        if options.get("generator") is not None:
            return args[0] if args else options["tensor"]
        return func(*args, **options)


def shadow_of(
    estimator: NetworkDenoiser, layout: SampleLayout, on_unit_interval: bool, tensors: int
) -> tuple[nn.Module, Cost]:
    """Return the network of an estimator without memory for its weights, and what it costs for a sample.

    Parameters
    ----------
    estimator : NetworkDenoiser
        Its parameters say which network.
    layout : SampleLayout
        Of the samples.
    on_unit_interval : bool
        Whether the network is to answer in [0, 1].
    tensors : int
        Weights and buffers that there are. A network with many more layers is not built to its end.
    """
    with torch.device("meta"), _Shadow(CALLS_FOR_A_TENSOR * (tensors + 8)):
        module = estimator._factory().build(layout, on_unit_interval, estimator._root())
        return module, cost_of(module, estimator._factory().input_shape(layout))
