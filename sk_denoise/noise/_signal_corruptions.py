"""Noise of signals, as pure functions of a tensor and a generator.

Time is the last axis of ``(n, length)`` and ``(n, channels, length)``. Networks take signals as images of
height 1 with their channels last, ``(n, 1, length, channels)``; there, time is the third axis.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sk_denoise.noise._corruptions import Strength, draw_strength

__all__ = ["add_hum", "add_wander"]

# Waves of a wander. Fewer repeat visibly in a long signal; the cost grows with their number.
N_WAVES = 16
# Entries of one wave that are computed at once, so that phases in double precision stay small.
MAX_ENTRIES = 2**22


def add_wander(
    x: Tensor,
    generator: torch.Generator,
    *,
    noise_factor: Strength,
    max_frequency: float = 0.005,
    sampling_rate: float = 1.0,
    unit: float | Tensor = 1.0,
    clip: tuple[float, float] | None = None,
) -> Tensor:
    """Add a slow and smooth random drift of the baseline to signals.

    The drift is a stationary and nearly Gaussian process: 16 waves with random phases, and with random
    frequencies from 0 to ``max_frequency``. Each channel has its own drift.

    Parameters
    ----------
    x : Tensor of shape (n_samples, length), (n_samples, channels, length) or (n_samples, 1, length, channels)
        Clean signals, floating point; not changed.
    generator : torch.Generator
        Source of randomness, on the device of ``x``.
    noise_factor : float or pair of float
        Standard deviation of the drift in multiples of ``unit``; a pair ``(low, high)`` draws one for each
        sample.
    max_frequency : float, default=0.005
        Highest frequency of the drift, in the unit of ``sampling_rate``.
    sampling_rate : float, default=1.0
        Samples in a second, for a frequency in Hz. With 1.0, the frequency is in waves per sample.
    unit : float or Tensor that broadcasts against x, default=1.0
        Unit of ``noise_factor``, in the unit of the data.
    clip : pair of float, optional
        Limits of the noisy values, in the unit of the data.

    Returns
    -------
    Tensor of the shape and type of x

    Raises
    ------
    ValueError
        If x holds images, or half the sampling rate is not above the frequency.

    Examples
    --------
    >>> import torch
    >>> from sk_denoise.noise import add_wander
    >>> x = torch.zeros(500, 100)
    >>> noisy = add_wander(x, torch.Generator().manual_seed(0), noise_factor=0.5)
    >>> round(float(noisy.std()), 1), bool(noisy.diff(dim=1).abs().max() < 0.1)
    (0.5, True)
    """
    check_below_half(max_frequency, sampling_rate, "max_frequency")
    signals = to_channels_first(x)
    shape = (*signals.shape[:2], N_WAVES)
    # One frequency in each part of the band, so that few waves cover it evenly.
    place = (torch.arange(N_WAVES, device=x.device) + _uniform(shape, x, generator)) / N_WAVES
    phase = _uniform(shape, x, generator)
    # Equal amplitudes, so that the drift of a long signal has its deviation exactly. Their sum is nearly
    # Gaussian.
    amplitude = torch.full(shape, math.sqrt(2 / N_WAVES), device=x.device, dtype=torch.float32)
    noise = _add_waves(place * (max_frequency / sampling_rate), phase, amplitude, signals.shape[2])
    return _add_scaled(noise, x, generator, noise_factor, unit, clip)


def add_hum(
    x: Tensor,
    generator: torch.Generator,
    *,
    sampling_rate: float,
    noise_factor: Strength,
    frequency: float = 50.0,
    frequency_deviation: float = 0.1,
    n_harmonics: int = 3,
    unit: float | Tensor = 1.0,
    clip: tuple[float, float] | None = None,
) -> Tensor:
    """Add the hum of mains to signals: a wave and its harmonics.

    The channels of a sample share the frequency; each has its own phases and amplitudes. The amplitude of
    harmonic ``k`` is a random share of ``1 / k``. Harmonics from half the sampling rate on are left out, as
    the filter of a converter does.

    Parameters
    ----------
    x : Tensor of shape (n_samples, length), (n_samples, channels, length) or (n_samples, 1, length, channels)
        Clean signals, floating point; not changed.
    generator : torch.Generator
        Source of randomness, on the device of ``x``.
    sampling_rate : float
        Samples in a second.
    noise_factor : float or pair of float
        Root mean square of the hum over the channels of a sample, in multiples of ``unit``; a pair
        ``(low, high)`` draws one for each sample.
    frequency : float, default=50.0
        Frequency of the mains in Hz.
    frequency_deviation : float, default=0.1
        Largest difference from ``frequency`` in Hz, drawn uniformly for each sample in both directions.
    n_harmonics : int, default=3
        Number of waves: that of ``frequency`` and its multiples.
    unit : float or Tensor that broadcasts against x, default=1.0
        Unit of ``noise_factor``, in the unit of the data.
    clip : pair of float, optional
        Limits of the noisy values, in the unit of the data.

    Returns
    -------
    Tensor of the shape and type of x

    Raises
    ------
    ValueError
        If x holds images, or half the sampling rate is not above the frequency.

    Examples
    --------
    >>> import torch
    >>> from sk_denoise.noise import add_hum
    >>> x = torch.zeros(20, 1000)
    >>> noisy = add_hum(x, torch.Generator().manual_seed(0), sampling_rate=500, noise_factor=0.2)
    >>> torch.fft.rfft(noisy).abs().argmax(dim=1).unique().tolist()  # 50 Hz in two seconds
    [100]
    """
    highest = frequency + frequency_deviation
    check_below_half(highest, sampling_rate, "frequency + frequency_deviation")
    signals = to_channels_first(x)
    n, channels, length = signals.shape
    n_waves = min(n_harmonics, math.ceil(sampling_rate / 2 / highest) - 1)
    multiples = torch.arange(1, n_waves + 1, device=x.device)
    shift = frequency_deviation * (2 * _uniform((n, 1, 1), x, generator) - 1)
    phase = _uniform((n, channels, n_waves), x, generator)
    share = _uniform((n, channels, n_waves), x, generator)
    share[..., 0] = 1.0
    weight = share / multiples
    # Waves of these amplitudes have a mean square of 1 together.
    amplitude = math.sqrt(2) * weight / weight.square().sum(2, keepdim=True).sqrt()
    # Channels differ by up to a factor of three; a single one has the whole of it.
    gain = 0.5 + _uniform((n, channels, 1), x, generator)
    amplitude = amplitude * gain / gain.square().mean(1, keepdim=True).sqrt()
    cycles = multiples * ((frequency + shift) / sampling_rate)
    noise = _add_waves(cycles.expand(n, channels, n_waves), phase, amplitude, length)
    return _add_scaled(noise, x, generator, noise_factor, unit, clip)


# Layouts ------------------------------------------------------------------------------------------------


def signal_axes(shape: tuple[int, ...]) -> tuple[int | None, int]:
    """Return the axes of channels and of time of samples.

    Parameters
    ----------
    shape : tuple of int
        Shape of the samples, ``(n_samples, ...)``.

    Returns
    -------
    channels : int or None
        None for rows, which have no axis of channels.
    time : int

    Raises
    ------
    ValueError
        If the samples are images.
    """
    if len(shape) == 2:
        return None, 1
    if len(shape) == 3:
        return 1, 2
    if len(shape) == 4 and 1 in shape[1:3]:
        return 3, 2 if shape[1] == 1 else 1
    raise ValueError(
        "Signals have the shape (n_samples, length), (n_samples, channels, length), or that of images of "
        f"height 1, (n_samples, 1, length, channels); got {tuple(shape)}."
    )


def count_channels(shape: tuple[int, ...]) -> int:
    """Return the number of channels of signals of shape (n_samples, ...)."""
    axis, _ = signal_axes(shape)
    return 1 if axis is None else shape[axis]


def to_channels_first(x: Tensor) -> Tensor:
    """Return samples as a view of shape (n_samples, channels, length)."""
    channels, time = signal_axes(tuple(x.shape))
    if channels is None:
        return x[:, None]
    return x if x.ndim == 3 else x.squeeze(3 - time).movedim(2, 1)


def from_channels_first(signals: Tensor, x: Tensor) -> Tensor:
    """Return signals (n_samples, channels, length) in the layout of samples x."""
    if x.ndim < 4:
        return signals.reshape(x.shape)
    _, time = signal_axes(tuple(x.shape))
    return signals.movedim(1, 2).unsqueeze(3 - time)


def check_below_half(frequency: float, sampling_rate: float, name: str) -> None:
    """Refuse a frequency that samples of a rate cannot show."""
    if frequency < sampling_rate / 2:
        return
    remedy = "Frequencies are in waves per sample without a sampling_rate." if sampling_rate == 1 else ""
    raise ValueError(
        f"{name} must be below half the sampling rate, {sampling_rate / 2:g}, got {frequency:g}: samples "
        f"would show another frequency in its place (aliasing). Give both in Hz. {remedy}".rstrip()
    )


# Shared steps -------------------------------------------------------------------------------------------


def _uniform(shape: tuple[int, ...], x: Tensor, generator: torch.Generator) -> Tensor:
    # Single precision for all, so that data of each type get equal noise.
    return torch.rand(shape, generator=generator, device=x.device, dtype=torch.float32)


def _add_waves(cycles: Tensor, phase: Tensor, amplitude: Tensor, length: int) -> Tensor:
    """Return sums of waves, of shape (n_samples, channels, length).

    Parameters
    ----------
    cycles, phase, amplitude : Tensor of shape (n_samples, channels, n_waves)
        Waves per sample, phase as a share of a wave, and amplitude.
    length : int
        Samples of each signal.
    """
    n, channels, n_waves = cycles.shape
    waves = torch.zeros((n, channels, length), device=cycles.device, dtype=torch.float32)
    step = max(1, MAX_ENTRIES // max(1, n * channels))
    for start in range(0, length, step):
        time = torch.arange(start, min(start + step, length), device=cycles.device, dtype=torch.float64)
        part = waves[..., start : start + step]
        for wave in range(n_waves):
            # Double precision, because single precision loses the phase after some thousands of waves.
            turns = cycles[..., wave, None].double() * time + phase[..., wave, None]
            part.addcmul_(amplitude[..., wave, None], (2 * math.pi * turns.frac().float()).cos_())
    return waves


def _add_scaled(
    noise: Tensor,
    x: Tensor,
    generator: torch.Generator,
    noise_factor: Strength,
    unit: float | Tensor,
    clip: tuple[float, float] | None,
) -> Tensor:
    """Add noise of unit variance, given as signals, to samples."""
    strength = draw_strength(noise_factor, x, generator)
    noisy = (from_channels_first(noise, x) * strength).to(x.dtype).mul(unit).add_(x)
    return noisy if clip is None else noisy.clamp_(*clip)
