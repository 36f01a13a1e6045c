"""Where a network is trained."""

from __future__ import annotations

import torch

__all__ = ["resolve_device"]


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
