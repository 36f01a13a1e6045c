"""Corruptions as pure functions of a tensor and a generator.

They run on any device, never change their input or a global seed, and keep the type of the data. A strength
may be a pair ``(low, high)``: then one is drawn for each sample.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

__all__ = [
    "add_gaussian",
    "add_poisson",
    "add_speckle",
    "add_uniform",
    "choose_corruption",
    "copy_masks",
    "corrupt_region",
    "mask_entries",
    "replace_pixels",
    "salt_and_pepper",
    "swap_entries",
]

Strength = float | tuple[float, float] | Tensor
Corruption = Callable[[Tensor, torch.Generator], Tensor]


def draw_strength(strength: Strength, x: Tensor, generator: torch.Generator) -> float | Tensor:
    """Return a strength of noise, drawn for each sample from a pair.

    Parameters
    ----------
    strength : float, pair of float or Tensor that broadcasts against x
        Strength for all samples, the ends ``(low, high)`` of a uniform distribution, or the strength of each
        entry.
    x : Tensor of shape (n_samples, ...)
        Samples to corrupt.
    generator : torch.Generator
        Source of randomness, on the device of ``x``.

    Returns
    -------
    float or Tensor of shape (n_samples, 1, ...)
        Strength that broadcasts against ``x``.
    """
    if isinstance(strength, Tensor):
        return strength.to(x.device)
    if not isinstance(strength, tuple | list):
        return strength
    low, high = strength
    # Axes of length 1 broadcast against the samples.
    return low + (high - low) * _uniform((len(x), *(1,) * (x.ndim - 1)), x, generator)


def add_gaussian(
    x: Tensor,
    generator: torch.Generator,
    *,
    noise_factor: Strength,
    mean: float = 0.0,
    unit: float | Tensor = 1.0,
    clip: tuple[float, float] | None = None,
) -> Tensor:
    """Add Gaussian noise, ``x + unit * N(mean, noise_factor ** 2)``.

    Parameters
    ----------
    x : Tensor of shape (n_samples, ...)
        Clean samples, floating point; not changed.
    generator : torch.Generator
        Source of randomness, on the device of ``x``.
    noise_factor : float or pair of float
        Standard deviation of the noise in multiples of ``unit``; a pair ``(low, high)`` draws one for
        each sample.
    mean : float, default=0.0
        Mean of the noise in multiples of ``unit``.
    unit : float or Tensor that broadcasts against x, default=1.0
        Unit of ``noise_factor`` and ``mean``, in the unit of the data.
    clip : pair of float, optional
        Limits of the noisy values, in the unit of the data.

    Returns
    -------
    Tensor of the shape and type of x
    """
    # In place from here on, since the noise takes as much memory as the data.
    noise = torch.randn(x.shape, generator=generator, device=x.device, dtype=torch.float32)
    noise = noise.mul_(draw_strength(noise_factor, x, generator)).add_(mean).to(x.dtype).mul_(unit)
    return _clip(noise.add_(x), clip)


def add_uniform(
    x: Tensor,
    generator: torch.Generator,
    *,
    noise_factor: Strength,
    mean: float = 0.0,
    unit: float | Tensor = 1.0,
    clip: tuple[float, float] | None = None,
) -> Tensor:
    """Add uniform noise, ``x + unit * U(mean - noise_factor, mean + noise_factor)``.

    Parameters
    ----------
    x : Tensor of shape (n_samples, ...)
        Clean samples, floating point; not changed.
    generator : torch.Generator
        Source of randomness, on the device of ``x``.
    noise_factor : float or pair of float
        Half the width of the distribution in multiples of ``unit``, which is 1.73 times its standard
        deviation; a pair ``(low, high)`` draws one for each sample.
    mean : float, default=0.0
        Mean of the noise in multiples of ``unit``.
    unit : float or Tensor that broadcasts against x, default=1.0
        Unit of ``noise_factor`` and ``mean``, in the unit of the data.
    clip : pair of float, optional
        Limits of the noisy values, in the unit of the data.

    Returns
    -------
    Tensor of the shape and type of x
    """
    noise = _uniform(x.shape, x, generator).mul_(2).sub_(1)
    noise = noise.mul_(draw_strength(noise_factor, x, generator)).add_(mean).to(x.dtype).mul_(unit)
    return _clip(noise.add_(x), clip)


def add_speckle(
    x: Tensor,
    generator: torch.Generator,
    *,
    noise_factor: Strength,
    clip: tuple[float, float] | None = None,
) -> Tensor:
    """Multiply by Gaussian noise, ``x * (1 + N(0, noise_factor ** 2))``.

    Parameters
    ----------
    x : Tensor of shape (n_samples, ...)
        Clean samples, floating point; not changed.
    generator : torch.Generator
        Source of randomness, on the device of ``x``.
    noise_factor : float or pair of float
        Standard deviation of the noise as a share of each value; a pair ``(low, high)`` draws one for
        each sample.
    clip : pair of float, optional
        Limits of the noisy values, in the unit of the data.

    Returns
    -------
    Tensor of the shape and type of x
    """
    noise = torch.randn(x.shape, generator=generator, device=x.device, dtype=torch.float32)
    noise = noise.mul_(draw_strength(noise_factor, x, generator)).to(x.dtype)
    return _clip(noise.mul_(x).add_(x), clip)


def add_poisson(
    x: Tensor, generator: torch.Generator, *, peak: Strength, white: float | Tensor = 1.0
) -> Tensor:
    """Count photons, ``white / peak * Poisson(peak * x / white)``.

    Parameters
    ----------
    x : Tensor of shape (n_samples, ...)
        Clean samples, floating point; not changed. Values below zero count as 0.
    generator : torch.Generator
        Source of randomness, on the device of ``x``.
    peak : float or pair of float
        Mean number of photons at ``white``, above 0; a pair ``(low, high)`` draws one for each sample.
    white : float or Tensor that broadcasts against x, default=1.0
        Value of ``peak`` photons, in the unit of the data, above 0.

    Returns
    -------
    Tensor of the shape and type of x
    """
    photons = draw_strength(peak, x, generator) / torch.as_tensor(white, dtype=torch.float32, device=x.device)
    # Light is never negative, but centred data and noise before this step can be.
    rate = x.float().mul(photons).clamp_(min=0)
    return torch.poisson(rate, generator=generator).div_(photons).to(x.dtype)


def salt_and_pepper(
    x: Tensor,
    generator: torch.Generator,
    *,
    amount: Strength,
    salt_ratio: Strength = 0.5,
    limits: Sequence[float | Tensor] | Tensor = (0.0, 1.0),
) -> Tensor:
    """Set random entries to the largest value (salt) or to the smallest (pepper).

    Parameters
    ----------
    x : Tensor of shape (n_samples, ...)
        Clean samples, floating point; not changed.
    generator : torch.Generator
        Source of randomness, on the device of ``x``.
    amount : float or pair of float
        Probability that an entry is replaced; a pair ``(low, high)`` draws one for each sample.
    salt_ratio : float or pair of float, default=0.5
        Share of salt among the replaced entries; a pair draws one for each sample.
    limits : pair of float or Tensor that broadcast against x, default=(0.0, 1.0)
        Pepper and salt, in the unit of the data.

    Returns
    -------
    Tensor of the shape and type of x
    """
    pepper, salt = (_like(limit, x) for limit in limits)
    replaced = draw_strength(amount, x, generator)
    salted = replaced * draw_strength(salt_ratio, x, generator)
    # One draw decides on both, salt below the first share and pepper between the two.
    draws = _uniform(x.shape, x, generator)
    return torch.where(draws < salted, salt, torch.where(draws < replaced, pepper, x))


def mask_entries(
    x: Tensor,
    generator: torch.Generator,
    *,
    fraction: Strength,
    fill: float | Tensor = 0.0,
    groups: Tensor | None = None,
) -> Tensor:
    """Set random entries to a fill value.

    Parameters
    ----------
    x : Tensor of shape (n_samples, ...)
        Clean samples, floating point; not changed.
    generator : torch.Generator
        Source of randomness, on the device of ``x``.
    fraction : float or pair of float
        Probability that an entry is masked; a pair ``(low, high)`` draws one for each sample.
    fill : float or Tensor that broadcasts against x, default=0.0
        Value of masked entries, in the unit of the data.
    groups : Tensor of int of shape (n_features,), optional
        Number of the group of each column of a table, from 0. The columns of a group are masked together.

    Returns
    -------
    Tensor of the shape and type of x
    """
    chosen = _choose_entries(x, generator, fraction, groups)
    return torch.where(chosen, _like(fill, x), x)


def copy_masks(x: Tensor, generator: torch.Generator, *, masks: Tensor, fill: float | Tensor = 0.0) -> Tensor:
    """Set the entries of random masks to a fill value.

    Parameters
    ----------
    x : Tensor of shape (n_samples, ...)
        Clean samples, floating point; not changed.
    generator : torch.Generator
        Source of randomness, on the device of ``x``.
    masks : Tensor of bool, of shape (n_masks, ...)
        Masks of the shape of a sample, on the device of ``x``. Each sample gets one of them.
    fill : float or Tensor that broadcasts against x, default=0.0
        Value of masked entries, in the unit of the data.

    Returns
    -------
    Tensor of the shape and type of x
    """
    chosen = torch.randint(len(masks), (len(x),), generator=generator, device=x.device)
    return torch.where(masks[chosen], _like(fill, x), x)


def swap_entries(
    x: Tensor, generator: torch.Generator, *, fraction: Strength, groups: Tensor | None = None
) -> Tensor:
    """Replace random entries by those of other samples in the same place.

    A donor is drawn from the other samples of ``x`` for each replaced entry.

    Parameters
    ----------
    x : Tensor of shape (n_samples, ...)
        Clean samples, at least two; not changed.
    generator : torch.Generator
        Source of randomness, on the device of ``x``.
    fraction : float or pair of float
        Probability that an entry is replaced; a pair ``(low, high)`` draws one for each sample.
    groups : Tensor of int of shape (n_features,), optional
        Number of the group of each column of a table, from 0. The columns of a group are replaced together.

    Returns
    -------
    Tensor of the shape and type of x

    Raises
    ------
    ValueError
        For a single sample.
    """
    if len(x) < 2:
        raise ValueError(
            "Swap noise takes values from other samples, got n_samples = 1. Pass at least 2 samples at once "
            "(for an estimator: in a batch, and for validation)."
        )
    chosen = _choose_entries(x, generator, fraction, groups)
    if groups is not None:
        groups = groups.to(x.device)
        # One donor for all columns of a group
        steps = torch.randint(1, len(x), (len(x), _count(groups)), generator=generator, device=x.device)
        rows = (torch.arange(len(x), device=x.device)[:, None] + steps) % len(x)
        return torch.where(chosen, x.gather(0, rows[:, groups]), x)
    places = chosen.reshape(-1).nonzero().squeeze(1)
    length = x[0].numel()
    # Steps of 1 to n - 1 samples never end at the sample itself.
    steps = torch.randint(1, len(x), places.shape, generator=generator, device=x.device)
    donors = (places // length + steps) % len(x)
    clean = x.reshape(-1)
    # index_put copies, so that donors give their clean values.
    swapped = clean.index_put((places,), clean[donors * length + places % length])
    return swapped.reshape(x.shape)


def replace_pixels(
    x: Tensor,
    generator: torch.Generator,
    *,
    fraction: Strength,
    value: str = "noise",
    limits: Sequence[float | Tensor] | Tensor = (0.0, 1.0),
) -> Tensor:
    """Set random pixels, all channels of each, to black, to white or to noise.

    Parameters
    ----------
    x : Tensor of shape (n_samples, height, width[, channels]) or (n_samples, n_features)
        Clean samples, floating point; not changed. Each entry of a row counts as a pixel.
    generator : torch.Generator
        Source of randomness, on the device of ``x``.
    fraction : float or pair of float
        Probability that a pixel is replaced; a pair ``(low, high)`` draws one for each sample.
    value : {"noise", "black", "white", "black and white"}, default="noise"
        New value of replaced pixels: uniform between the limits, for each channel; the lower limit; the upper
        limit; or one of the two, with equal probability.
    limits : pair of float or Tensor that broadcast against x, default=(0.0, 1.0)
        Black and white, in the unit of the data.

    Returns
    -------
    Tensor of the shape and type of x
    """
    black, white = (_like(limit, x) for limit in limits)
    # One draw for all channels of a pixel.
    pixels = (*x.shape[:3], 1) if x.ndim == 4 else x.shape
    chosen = _uniform(pixels, x, generator) < draw_strength(fraction, x, generator)
    if value == "noise":
        other = black + (white - black) * _uniform(x.shape, x, generator).to(x.dtype)
    elif value == "black and white":
        other = torch.where(_uniform(pixels, x, generator) < 0.5, black, white)
    elif value in ("black", "white"):
        other = black if value == "black" else white
    else:
        raise ValueError(f'value must be "noise", "black", "white" or "black and white", got {value!r}.')
    return torch.where(chosen, other, x)


def corrupt_region(x: Tensor, generator: torch.Generator, *, corrupt: Corruption, size: Strength) -> Tensor:
    """Corrupt a random rectangle of each image, or stretch of each row.

    Parameters
    ----------
    x : Tensor of shape (n_samples, height, width[, channels]) or (n_samples, n_features)
        Clean samples, floating point; not changed.
    generator : torch.Generator
        Source of randomness, on the device of ``x``.
    corrupt : callable
        Noise of the part: a function from ``(x, generator)`` to corrupted samples.
    size : float or pair of float
        Sides of the part as a share of the sample's, above 0 and at most 1; a pair ``(low, high)`` draws
        one for each side of each sample. A part has at least one entry.

    Returns
    -------
    Tensor of the shape and type of x
    """
    inside = torch.ones((), dtype=torch.bool, device=x.device)
    for axis in (1,) if x.ndim == 2 else (1, 2):
        side = x.shape[axis]
        shape = [1] * x.ndim
        shape[axis] = side
        length = torch.as_tensor(draw_strength(size, x, generator), device=x.device)
        length = (length * side).round().clamp(1, side)
        start = (_uniform((len(x), *(1,) * (x.ndim - 1)), x, generator) * (side - length + 1)).floor()
        place = torch.arange(side, device=x.device).reshape(shape)
        inside = inside & (place >= start) & (place < start + length)
    # The whole samples are corrupted, since the parts differ in shape.
    return torch.where(inside, corrupt(x, generator), x)


def choose_corruption(
    x: Tensor,
    generator: torch.Generator,
    *,
    corruptions: Sequence[Corruption],
    probabilities: Sequence[float],
) -> Tensor:
    """Corrupt each sample by one of several noises.

    Parameters
    ----------
    x : Tensor of shape (n_samples, ...)
        Clean samples, floating point; not changed.
    generator : torch.Generator
        Source of randomness, on the device of ``x``.
    corruptions : sequence of callable
        Functions from ``(x, generator)`` to corrupted samples.
    probabilities : sequence of float
        Probability of each corruption, up to a common factor.

    Returns
    -------
    Tensor of the type of x, and of its shape unless all corruptions reduce images
    """
    weights = torch.tensor(probabilities, dtype=torch.float32, device=x.device)
    choices = torch.multinomial(weights, len(x), replacement=True, generator=generator)
    choices = choices.reshape(-1, *(1,) * (x.ndim - 1))
    numbers = choices.unique().tolist()
    # Each corruption gets all samples, because some take values from other samples. The first one sets the
    # size of noisy images.
    noisy: Tensor = corruptions[numbers[0]](x, generator)
    for number in numbers[1:]:
        noisy = torch.where(choices == number, corruptions[number](x, generator), noisy)
    return noisy


def _choose_entries(
    x: Tensor, generator: torch.Generator, fraction: Strength, groups: Tensor | None
) -> Tensor:
    """Return which entries are chosen, the columns of a group together."""
    if groups is None:
        return _uniform(x.shape, x, generator) < draw_strength(fraction, x, generator)
    draws = _uniform((len(x), _count(groups)), x, generator)
    return draws[:, groups.to(x.device)] < draw_strength(fraction, x, generator)


def _count(groups: Tensor) -> int:
    return int(groups.max()) + 1


def _uniform(shape: Sequence[int], x: Tensor, generator: torch.Generator) -> Tensor:
    # Single precision is five times as fast as double, and gives float32 and float64 data the same noise.
    return torch.rand(tuple(shape), generator=generator, device=x.device, dtype=torch.float32)


def _like(value: float | Tensor, x: Tensor) -> Tensor:
    return torch.as_tensor(value, dtype=x.dtype, device=x.device)


def _clip(noisy: Tensor, clip: tuple[float, float] | None) -> Tensor:
    # In place, since the noisy samples are always a new tensor.
    return noisy if clip is None else noisy.clamp_(*clip)
