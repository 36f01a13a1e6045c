"""Device and precision of a training run."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["PRECISIONS", "has_bfloat16_units", "keep_on_device", "resolve_device", "resolve_precision"]

PRECISIONS = ("auto", "float32", "bfloat16")
# Share of the free memory of a GPU that data may take
SHARE_FOR_DATA = 0.5
# Operations of a step from which bfloat16 is faster; smaller steps lose more in conversions than products
# gain
FLOPS_WORTH_HALVING = 2e8


def resolve_device(device: str | torch.device) -> torch.device:
    """Return the device of this name; "auto" prefers a CUDA GPU to the CPU."""
    if isinstance(device, str) and device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
        torch.empty(0, device=resolved)
        # Torch creates tensors on these devices, but they hold no values.
        if resolved.type == "meta" or (resolved.type == "cpu" and (resolved.index or 0) > 0):
            raise RuntimeError(f"{resolved} holds no numbers.")
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(
            f'device={device!r} cannot be used here: {str(error).splitlines()[0]} Use "auto", "cpu" or '
            '"cuda".'
        ) from error
    return resolved


def keep_on_device(device: torch.device, *sides: Tensor) -> list[Tensor]:
    """Return tensors on a GPU if they fit into half of its memory, else as they are.

    Batches of other tensors are sent one by one. A tensor that is given twice stays one.
    """
    kept = {id(side): side for side in sides}
    if device.type == "cuda" and sum(side.nbytes for side in kept.values()) <= SHARE_FOR_DATA * _free(device):
        kept = {name: side.to(device) for name, side in kept.items()}
    return [kept[id(side)] for side in sides]


def _free(device: torch.device) -> int:
    """Return the free memory of a GPU in bytes."""
    return int(torch.cuda.mem_get_info(device)[0])


def resolve_precision(
    precision: str, module: nn.Module, input_shape: tuple[int, ...], device: torch.device, step: float
) -> str:
    """Return the type in which the layers of a network compute during training.

    Parameters
    ----------
    precision : str
        A name in :data:`PRECISIONS`. "auto" takes bfloat16 for large steps on a processor with units for it,
        if the network supports it.
    module : Module
        The network, on ``device``.
    input_shape : tuple of int
        Shape of one sample as the network receives it.
    device : torch.device
        Device of the training.
    step : float
        Floating-point operations of a step.

    Returns
    -------
    str
        "float32" or "bfloat16".
    """
    gains = step >= FLOPS_WORTH_HALVING and has_bfloat16_units(device)
    if precision == "float32" or (precision == "auto" and not gains):
        return "float32"
    if _works_in_bfloat16(module, input_shape, device):
        return "bfloat16"
    if precision == "bfloat16":
        raise ValueError(
            f"{type(module).__name__} does not compute in bfloat16: a trial pass failed. Use "
            'precision="auto" or "float32".'
        )
    return "float32"


def _works_in_bfloat16(module: nn.Module, input_shape: tuple[int, ...], device: torch.device) -> bool:
    """Return whether a trial pass of a module succeeds in bfloat16."""
    # Layers of a module of the user may convert types in any way, so only a pass can decide.
    probe = torch.zeros(2, *input_shape, dtype=torch.float32, device=device)
    try:
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16):
            return bool(module.eval()(probe).isfinite().all())
    except (RuntimeError, TypeError):
        return False


def has_bfloat16_units(device: torch.device) -> bool:
    """Return whether bfloat16 is known to be faster than float32 on a device."""
    return device.type == "cpu" and _has_units()


def _has_units() -> bool:
    """Return whether the processor multiplies faster in bfloat16."""
    # AMX is faster, and so is AVX512-BF16 on AMD's processors. On Intel's, which have it without AMX in many
    # virtual machines, it is slower than float32 (benchmarks/precision.py).
    if _has("amx_tile"):
        return True
    return _has("avx512_bf16") and "Intel" not in _processor_name()


def _has(unit: str) -> bool:
    return bool(getattr(torch.cpu, f"_is_{unit}_supported", bool)())


def _processor_name() -> str:
    """Return the name of the processor, or nothing if torch has none."""
    # The lowest supported version of torch has no such function.
    known = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return str(known.get("cpu_name", ""))
