"""Where a network is trained, and in which precision."""

from __future__ import annotations

from functools import cache

import torch

__all__ = ["PRECISIONS", "computes_in_bfloat16", "resolve_device"]

PRECISIONS = ("auto", "float32", "bfloat16")
WORTH_HALVING = 1e9  # operations of a step; smaller ones lose in conversions what their products gain


def resolve_device(device: str | torch.device) -> torch.device:
    """Return the device of this name; "auto" is a CUDA GPU where there is one, else the CPU."""
    if isinstance(device, str) and device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
        torch.empty(0, device=resolved)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(
            f'device={device!r} cannot be used here: {str(error).splitlines()[0]} Use "auto", "cpu" or '
            '"cuda".'
        ) from error
    return resolved


def computes_in_bfloat16(precision: str, device: torch.device, step: float, gains: bool) -> bool:
    """Return whether the layers of a network compute in bfloat16 in training.

    Parameters
    ----------
    precision : str
        A name in :data:`PRECISIONS`. "auto" takes bfloat16 on a processor that has units for it.
    device : torch.device
        Where the network is trained.
    step : float
        Floating-point operations of a step.
    gains : bool
        Whether networks of this kind are known to be faster so.
    """
    if precision != "auto":
        return precision == "bfloat16"
    return device.type == "cpu" and gains and step >= WORTH_HALVING and _has_units()


@cache
def _has_units() -> bool:
    """Return whether the processor multiplies in bfloat16, and does not only imitate it."""
    asks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, ask, bool)() for ask in asks)
