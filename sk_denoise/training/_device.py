"""Device and precision of a training run."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["PRECISIONS", "has_bfloat16_units", "keep_on_device", "resolve_device", "resolve_precision"]

PRECISIONS = ("auto", "float32", "bfloat16")
Transposed = nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d
Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d | Transposed
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
    reason = _find_bfloat16_error(module, input_shape, device)
    if reason is None:
        return "bfloat16"
    if precision == "bfloat16":
        raise ValueError(
            f"{type(module).__name__} does not compute in bfloat16: a trial pass failed ({reason}). Use "
            'precision="auto" or "float32".'
        )
    return "float32"


def _find_bfloat16_error(module: nn.Module, input_shape: tuple[int, ...], device: torch.device) -> str | None:
    """Return why a trial pass of a module fails in bfloat16; None if it succeeds."""
    # Layers of a module of the user may convert types in any way, so only a pass can decide.
    probe = torch.zeros(2, *input_shape, dtype=torch.float32, device=device)
    layers = [layer for layer in module.modules() if isinstance(layer, Convolution)]
    hooks = [
        layer.register_forward_hook(_refuse_one_column, with_kwargs=True)
        for layer in layers
        if device.type == "cpu"
    ]
    try:
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16):
            is_finite = bool(module.eval()(probe).isfinite().all())
    except (RuntimeError, TypeError) as error:
        return str(error).partition("\n")[0]
    finally:
        for hook in hooks:
            hook.remove()
    return None if is_finite else "the output has entries that are not finite"


def _refuse_one_column(
    layer: Convolution, inputs: tuple[Tensor, ...], keywords: dict[str, Tensor], output: Tensor
) -> None:
    """Raise an error if a convolution leaves memory unwritten in bfloat16 on the CPU."""
    # oneDNN 3.12, in torch 2.13, has two faults in convolutions in bfloat16 with a horizontal stride and an
    # output one entry wide, and in their transposes. The gradient of the weights is not written for columns
    # of the kernel that meet padding alone: it should be zero there, and holds former values of the memory,
    # often NaN. With one channel at the wide side, a part of the output itself is not written. In plain
    # torch, on a processor with AVX512-BF16, the outer columns of this gradient are not zero after some
    # repetitions; in float32 they are:
    #     x, weight = torch.ones(6, 32, 32, 1).bfloat16(), torch.ones(32, 64, 3, 3).bfloat16()
    #     weight.requires_grad_()
    #     torch.conv_transpose2d(x, weight, None, 2, 1, (1, 0)).sum().backward()
    given = inputs[0] if inputs else keywords["input"]
    is_transposed = isinstance(layer, Transposed)
    narrow_side, wide_channels = (given, layer.out_channels) if is_transposed else (output, layer.in_channels)
    is_padded = layer.padding != "valid" and layer.padding[-1] != 0
    if layer.stride[-1] > 1 and narrow_side.shape[-1] == 1 and (is_padded or wide_channels == 1):
        raise RuntimeError(
            "torch computes wrong gradients of strided convolutions to a width of one entry on the CPU"
        )


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
