"""Corruptions as pure functions: tensor and generator in, new tensor out.

They serve numpy arrays and the GPU alike, never touch their input or a global seed, and keep the type
of the data. Noise is drawn in single precision, so that data of either type meet the same noise.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["add_gaussian", "draw_strength"]


def draw_strength(
    strength: float | tuple[float, float], x: Tensor, generator: torch.Generator
) -> float | Tensor:
    """Return a strength of noise, drawn anew for each sample where a range is given.

    Parameters
    ----------
    strength : float or pair of float
        One strength for all samples, or the ends ``(low, high)`` of a uniform distribution.
    x : Tensor of shape (n_samples, ...)
        The samples to be corrupted.
    generator : torch.Generator
        The source of randomness, on the device of ``x``.

    Returns
    -------
    float or Tensor of shape (n_samples, 1, ...)
        What broadcasts against ``x``.
    """
    if isinstance(strength, int | float):
        return strength
    low, high = strength
    shape = (len(x), *(1,) * (x.ndim - 1))
    return low + (high - low) * torch.rand(shape, generator=generator, device=x.device, dtype=torch.float32)


def add_gaussian(
    x: Tensor,
    generator: torch.Generator,
    *,
    noise_factor: float | tuple[float, float],
    mean: float = 0.0,
    unit: float | Tensor = 1.0,
    clip: tuple[float, float] | None = None,
) -> Tensor:
    """Add Gaussian noise, ``x + unit * N(mean, noise_factor ** 2)``.

    Parameters
    ----------
    x : Tensor of shape (n_samples, ...)
        Clean samples, floating point; left as they are.
    generator : torch.Generator
        The source of randomness, on the device of ``x``.
    noise_factor : float or pair of float
        Standard deviation of the noise in multiples of ``unit``; a pair ``(low, high)`` draws one for
        each sample.
    mean : float, default=0.0
        Mean of the noise in multiples of ``unit``.
    unit : float or Tensor that broadcasts against x, default=1.0
        The unit of ``noise_factor`` and ``mean`` in the unit of the data.
    clip : pair of float, optional
        Limits that the noisy values are clipped to, in the unit of the data.

    Returns
    -------
    Tensor of the shape and type of x
    """
    noise = torch.randn(x.shape, generator=generator, device=x.device, dtype=torch.float32)
    noise = noise.mul_(draw_strength(noise_factor, x, generator)).add_(mean).to(x.dtype).mul_(unit)
    noise += x
    return noise if clip is None else noise.clamp_(*clip)
