"""Corruptions of recording devices, as pure functions of a tensor and a generator.

The noise of neighbouring values is related here, in contrast to the module of independent noise. The rules
are the same: the functions run on any device, change neither their input nor a global seed, keep the type of
the data, and draw a strength for each sample from a pair ``(low, high)``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.fft import next_fast_len
from torch import Tensor
from torch.nn.functional import pad

from sk_denoise.noise._camera_pipeline import BRIGHTNESS, add_camera_noise, compress_as_jpeg, draw_camera
from sk_denoise.noise._corruptions import Strength, draw_strength
from sk_denoise.noise._signal_corruptions import (
    count_channels,
    from_channels_first,
    to_channels_first,
)

__all__ = ["add_grain", "add_recording", "add_stripes", "compress_images", "simulate_camera"]

Chroma = Literal["4:2:0", "4:4:4", "random"]
# A Gaussian filter ends at this multiple of its standard deviation.
KERNEL_DEVIATIONS = 4
# Entries that are transformed at once, because a Fourier transform takes several times their memory.
MAX_ENTRIES = 2**24
# Longest side of a JPEG file in pixels, by libjpeg.
MAX_JPEG_SIDE = 65_500
# Sides in pixels of the blocks that JPEG compresses at once, with chroma of full and of half resolution.
JPEG_BLOCK, HALF_CHROMA_BLOCK = 8, 16
# Parts of a recording below this share of its power count as silence, which is not amplified further.
SILENCE = 1e-4


def add_grain(
    x: Tensor,
    generator: torch.Generator,
    *,
    noise_factor: Strength,
    kernel: float | NDArray[Any] | Tensor = 1.0,
    color_correlation: float = 0.0,
    unit: float | Tensor = 1.0,
    clip: tuple[float, float] | None = None,
) -> Tensor:
    """Add Gaussian noise that is correlated between neighbours.

    White noise is convolved with a kernel of unit power, so that each value has the standard deviation
    ``noise_factor * unit``. The border is like the inside.

    Parameters
    ----------
    x : Tensor of shape (n_samples, height, width[, channels]) or (n_samples, n_features)
        Clean samples, floating point; not changed. Rows are signals.
    generator : torch.Generator
        Source of randomness, on the device of ``x``.
    noise_factor : float or pair of float
        Standard deviation of the noise in multiples of ``unit``; a pair ``(low, high)`` draws one for each
        sample.
    kernel : float or array of shape (height, width) or (width,), default=1.0
        Convolution kernel, up to a factor. A number is the standard deviation of a Gaussian one in pixels,
        and 0 gives white noise. One axis is an array along the rows, or along the columns of images of
        width 1, which are signals of several channels.
    color_correlation : float, default=0.0
        Correlation between the noise of two channels of a pixel, from 0 to 1.
    unit : float or Tensor that broadcasts against x, default=1.0
        Unit of ``noise_factor``, in the unit of the data.
    clip : pair of float, optional
        Limits of the noisy values, in the unit of the data.

    Returns
    -------
    Tensor of the shape and type of x
    """
    shape = planes_of(x).shape
    weights = _unit_kernel(kernel, tuple(shape[2:])).to(x.device)
    noise = _mix_colors(
        lambda channels: _filtered_noise((shape[0], channels, *shape[2:]), weights, generator, x.device),
        shape[1],
        color_correlation,
    )
    return _add_scaled(noise, x, generator, noise_factor, unit, clip)


def add_stripes(
    x: Tensor,
    generator: torch.Generator,
    *,
    noise_factor: Strength,
    axis: Literal["rows", "columns"] = "rows",
    drift: float = 0.0,
    color_correlation: float = 1.0,
    unit: float | Tensor = 1.0,
    clip: tuple[float, float] | None = None,
) -> Tensor:
    """Add a Gaussian offset to each row or each column of images.

    Parameters
    ----------
    x : Tensor of shape (n_samples, height, width[, channels])
        Clean images, floating point; not changed.
    generator : torch.Generator
        Source of randomness, on the device of ``x``.
    noise_factor : float or pair of float
        Standard deviation of the noise in multiples of ``unit``; a pair ``(low, high)`` draws one for each
        sample.
    axis : {"rows", "columns"}, default="rows"
        Direction of the stripes.
    drift : float, default=0.0
        Share of the variance of a stripe that is a slope along it, from 0 to 1.
    color_correlation : float, default=1.0
        Correlation between the noise of two channels of a pixel, from 0 to 1.
    unit : float or Tensor that broadcasts against x, default=1.0
        Unit of ``noise_factor``, in the unit of the data.
    clip : pair of float, optional
        Limits of the noisy values, in the unit of the data.

    Returns
    -------
    Tensor of the shape and type of x
    """
    n, channels, height, width = planes_of(x).shape
    across, along = (height, width) if axis == "rows" else (width, height)
    # The slope has a variance of 1 along the stripe.
    slope = torch.linspace(-1, 1, along, device=x.device, dtype=torch.float32)
    share = drift if along > 1 else 0.0
    slope = slope * math.sqrt(3 * share * (along - 1) / (along + 1))

    def draw(drawn_channels: int) -> Tensor:
        level, rise = _normal((2, n, drawn_channels, across, 1), x, generator).unbind(0)
        return math.sqrt(1 - share) * level + rise * slope

    noise = _mix_colors(draw, channels, color_correlation)
    return _add_scaled(noise if axis == "rows" else noise.mT, x, generator, noise_factor, unit, clip)


def add_recording(
    x: Tensor,
    generator: torch.Generator,
    *,
    records: Sequence[NDArray[Any]],
    snr: Strength | None,
    kind: Literal["auto", "signals", "images"] = "auto",
    centers: NDArray[np.float64] | None = None,
    powers: NDArray[np.float64] | None = None,
    signal_power: float | None = None,
    clip: tuple[float, float] | None = None,
) -> Tensor:
    """Add recorded noise from a random place of a random record.

    A record is periodic: a sample that reaches beyond its end continues at its beginning.

    Parameters
    ----------
    x : Tensor of shape (n_samples, height, width[, channels]), (n_samples, n_features) or, for \
            ``kind="signals"``, (n_samples, channels, length) too
        Clean samples, floating point; not changed.
    generator : torch.Generator
        Source of randomness, on the device of ``x``.
    records : sequence of ndarray
        Recorded noise: ``(length,)`` or ``(channels, length)`` for signals, ``(height, width)`` or
        ``(height, width, channels)`` for images. Each channel of a sample gets its own place of a record
        without channels.
    snr : float, pair of float or None
        Signal-to-noise ratio in dB, 10 log10 of the variance of a sample over the mean square of its noise;
        a pair ``(low, high)`` draws one for each sample. None adds the records as they are.
    kind : {"auto", "signals", "images"}, default="auto"
        Kind of samples, as in :class:`~sk_denoise.RecordedNoiser`.
    centers : ndarray of shape (n_records,) or (n_records, n_channels), optional
        Median of each record, or for signals of each of its channels; None computes them.
    powers : ndarray of shape (n_records,), optional
        Mean square of the distance from the median; None computes it.
    signal_power : float, optional
        Variance that ``snr`` refers to, in place of that of each sample.
    clip : pair of float, optional
        Limits of the noisy values, in the unit of the data.

    Returns
    -------
    Tensor of the shape and type of x

    Raises
    ------
    ValueError
        If records and samples have different numbers of axes or channels.
    """
    shapes = [record.shape for record in records]
    is_signal = find_kind(kind, tuple(x.shape), shapes) == "signals"
    problem = (find_other_channels if is_signal else find_other_layout)(tuple(x.shape), shapes)
    if problem:
        raise ValueError(problem)
    planes = to_channels_first(x)[:, :, None] if is_signal else planes_of(x)
    n, channels = planes.shape[:2]
    choices = torch.randint(len(records), (n,), generator=generator, device=x.device).tolist()
    # A record with channels has one place for all of them.
    places = torch.rand((n, channels, 2), generator=generator, device=x.device, dtype=torch.float32)
    noise = np.empty(planes.shape, np.float32)
    starts = places.cpu().numpy()
    for number, choice in enumerate(choices):
        record = records[choice]
        # A signal of several channels is an image of height 1.
        _cut(record.T[None] if is_signal and record.ndim == 2 else record, starts[number], noise[number])
    noise_tensor = torch.from_numpy(noise).to(x.device)
    if snr is not None:
        if centers is None or powers is None:
            centers, powers = (
                measure_signal_records(records, channels) if is_signal else measure_records(records)
            )
        columns = (n, 1, 1, 1)
        middles = torch.from_numpy(centers[choices].astype(np.float32)).to(x.device)
        noise_tensor -= middles.reshape(n, -1, 1, 1)
        floor = torch.from_numpy(SILENCE * powers[choices]).to(x.device).reshape(columns)
        entries = planes.double()
        power = torch.maximum(noise_tensor.double().square().mean((1, 2, 3), keepdim=True), floor)
        # Channels of signals may lie at levels of their own, which are no power.
        axes = (2, 3) if is_signal else (1, 2, 3)
        variance = entries.var(axes, correction=0, keepdim=True).mean(1, keepdim=True)
        signal = variance if signal_power is None else signal_power
        decibels = draw_strength(snr, planes, generator)
        gain = (signal / power).sqrt() * 10 ** (-torch.as_tensor(decibels).double() / 20).to(x.device)
        noise_tensor *= gain.float()
    back = from_channels_first(noise_tensor[:, :, 0], x) if is_signal else samples_of(noise_tensor, x)
    noisy = x + back.to(x.dtype)
    return noisy if clip is None else noisy.clamp_(*clip)


def compress_images(
    x: Tensor,
    generator: torch.Generator,
    *,
    quality: Strength,
    chroma: Chroma = "4:2:0",
    grid: Literal["aligned", "random"] = "aligned",
    limits: Sequence[float | Tensor] | Tensor = (0.0, 1.0),
) -> Tensor:
    """Compress images as JPEG files, and decompress them.

    Parameters
    ----------
    x : Tensor of shape (n_samples, height, width[, channels])
        Clean images, floating point; not changed. Three channels are red, green and blue; others are
        compressed one by one.
    generator : torch.Generator
        Source of randomness, on the device of ``x``.
    quality : float or pair of float
        Quality of libjpeg, rounded to a whole number from 1 to 100; a pair ``(low, high)`` draws one for
        each image.
    chroma : {"4:2:0", "4:4:4", "random"}, default="4:2:0"
        Resolution of the chroma: half, full, or one of the two for each image.
    grid : {"aligned", "random"}, default="aligned"
        Place of the blocks that are compressed at once: from the first pixel on, as in a file, or anywhere,
        as in a patch of a file.
    limits : pair of float or Tensor, default=(0.0, 1.0)
        Black and white, in the unit of the data. Values are clipped to them, and rounded to 256 levels.

    Returns
    -------
    Tensor of the shape and type of x
    """
    planes, black, span = _to_unit(x, limits)
    draws = torch.rand((len(x), 4), generator=generator, device=x.device, dtype=torch.float32).tolist()
    levels = torch.empty_like(planes)
    for number, (image, draw) in enumerate(zip(planes, draws, strict=True)):
        levels[number] = _compress_one(image, quality, chroma, grid, draw)
    return samples_of(black + levels * (span / 255), x).to(x.dtype)


def simulate_camera(
    x: Tensor,
    generator: torch.Generator,
    *,
    shot: Strength = (1e-4, 1.2e-2),
    smoothing: Strength = (0.0, 1.1),
    jpeg: Strength | None = (75, 99),
    chroma: Chroma = "random",
    limits: Sequence[float | Tensor] | Tensor = (0.0, 1.0),
) -> Tensor:
    """Add the noise of a camera: of its sensor, after all its processing.

    A camera is drawn for each image. Its processing is undone, noise is added to the mosaic of its sensor,
    and both mosaics are developed again; the difference is the noise.

    Parameters
    ----------
    x : Tensor of shape (n_samples, height, width[, channels])
        Clean images of one or three channels, floating point; not changed. Gray ones get the brightness of a
        colour image.
    generator : torch.Generator
        Source of randomness, on the device of ``x``.
    shot : float or pair of float, default=(1e-4, 1.2e-2)
        Variance of the noise of light at white, for white at 1; a pair ``(low, high)`` draws one for each
        image, uniformly by its logarithm. The noise of the electronics follows it.
    smoothing : float or pair of float, default=(0.0, 1.1)
        Standard deviation in pixels of the camera's smoothing of brightness, drawn for each image. One in
        five cameras does not smooth brightness.
    jpeg : float, pair of float or None, default=(75, 99)
        Quality of the JPEG file, as in :func:`compress_images`; None writes none.
    chroma : {"4:2:0", "4:4:4", "random"}, default="random"
        Resolution of the chroma in the file.
    limits : pair of float or Tensor, default=(0.0, 1.0)
        Black and white, in the unit of the data. Noise does not lead beyond them.

    Returns
    -------
    Tensor of the shape and type of x
    """
    planes, _, span = _to_unit(x, limits)
    # Settings are drawn on the CPU, whose generators all devices can seed.
    settings = generator
    if x.device.type != "cpu":
        seed = int(torch.randint(2**62, (), generator=generator, device=x.device))
        settings = torch.Generator().manual_seed(seed)
    weights = torch.tensor(BRIGHTNESS, device=x.device).reshape(3, 1, 1)
    pairs = [_as_pair(strength) for strength in (shot, smoothing)]
    noisy = torch.empty_like(planes)
    for number, image in enumerate(planes):
        camera = draw_camera(settings, shot=pairs[0], smoothing=pairs[1])
        change = add_camera_noise(image.expand(3, -1, -1), generator, camera) - image
        noisy[number] = change if len(image) == 3 else (weights * change).sum(0)
    noise = noisy * span
    result = x + samples_of(noise, x).to(x.dtype)
    low, high = (torch.as_tensor(limit, dtype=x.dtype, device=x.device) for limit in limits)
    # Clean values beyond black and white stay as they are.
    result = torch.minimum(torch.maximum(result, x.clamp(max=low)), x.clamp(min=high))
    if jpeg is None:
        return result
    return compress_images(result, generator, quality=jpeg, chroma=chroma, grid="random", limits=limits)


# Records ------------------------------------------------------------------------------------------------


def measure_records(records: Sequence[NDArray[Any]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the median of each record, and the mean square of the distance from it."""
    # The median, because the silence of a record with bursts must stay at 0.
    centers = np.array([np.median(record) for record in records], dtype=np.float64)
    powers = np.array(
        [
            record.var(dtype=np.float64) + (record.mean(dtype=np.float64) - center) ** 2
            # A constant record has a variance above 0 by rounding.
            if record.min() < record.max()
            else 0.0
            for record, center in zip(records, centers, strict=True)
        ]
    )
    return centers, powers


def measure_signal_records(
    records: Sequence[NDArray[Any]], n_channels: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the median of each channel of each record, and the power around them.

    Returns
    -------
    centers : ndarray of shape (n_records, n_channels)
    powers : ndarray of shape (n_records,)
    """
    measured = [measure_records(list(np.atleast_2d(record))) for record in records]
    centers = np.array([np.broadcast_to(center, n_channels) for center, _ in measured])
    return centers, np.array([power.mean() for _, power in measured])


def find_kind(
    kind: Literal["auto", "signals", "images"], shape: tuple[int, ...], records: Sequence[tuple[int, ...]]
) -> Literal["signals", "images"]:
    """Return the kind of samples.

    Images of height 1 are signals if a record has a row for each of their channels.

    Parameters
    ----------
    kind : {"auto", "signals", "images"}
        Parameter of the user.
    shape : tuple of int
        Shape of the samples, ``(n_samples, ...)``.
    records : sequence of tuple of int
        Shapes of the records.
    """
    if kind != "auto":
        return kind
    is_flat = len(shape) == 4 and shape[1] == 1 and shape[3] > 1
    return "signals" if is_flat and any(len(r) == 2 and r[0] == shape[3] for r in records) else "images"


def find_other_channels(shape: tuple[int, ...], records: Sequence[tuple[int, ...]]) -> str:
    """Return the reason why records do not fit signals; an empty text if they do.

    Parameters
    ----------
    shape : tuple of int
        Shape of the signals, ``(n_samples, ...)``.
    records : sequence of tuple of int
        Shapes of the records.
    """
    channels = count_channels(shape)
    for number, record in enumerate(records):
        if len(record) == 1 or (len(record) == 2 and record[0] == channels):
            continue
        turned = len(record) == 2 and record[1] == channels
        remedy = "Transpose it: record.T." if turned else "A record of shape (length,) fits any signal."
        return (
            f"Record {number} of the bank has the shape {record}, and the signals in X have {channels} "
            f"channel{'s'[: channels - 1]}. Records of such signals have the shape ({channels}, length), "
            f"with time last. {remedy}"
        )
    return ""


def find_other_layout(shape: tuple[int, ...], records: Sequence[tuple[int, ...]]) -> str:
    """Return the reason why records do not fit samples; an empty text if they do.

    Parameters
    ----------
    shape : tuple of int
        Shape of the samples, ``(n_samples, ...)``.
    records : sequence of tuple of int
        Shapes of the records.
    """
    # Networks for images see signals as images of height 1; signals of several channels have a width of 1.
    is_signal = len(shape) == 2 or 1 in shape[1:3]
    for number, record in enumerate(records):
        if len(record) == 1 and not is_signal:
            return (
                f"Record {number} of the bank is a signal of shape {record}, and X holds images of shape "
                f"{shape[1:]}. Pass a bank of shape (n_records, height, width), one image as bank[None]. If "
                'X holds signals (n_samples, channels, length), set kind="signals".'
            )
        if len(record) > 1 and len(shape) == 2:
            return (
                f"Record {number} of the bank is an image of shape {record}, and X holds rows of "
                f"{shape[1]} features. Pass a bank of shape (n_records, length), or image_shape with flat "
                "images."
            )
        channels = shape[3] if len(shape) == 4 else 1
        if len(record) == 3 and record[2] != channels:
            return (
                f"Record {number} of the bank has {record[2]} channels, and the images in X have {channels}. "
                "Pass records with as many channels, or without an axis of channels."
            )
    return ""


def record_sides(record: tuple[int, ...], sides: tuple[int, ...]) -> tuple[int, int]:
    """Return height and width of a record, for samples of these sides."""
    if len(record) > 1:
        return record[0], record[1]
    return (record[0], 1) if is_upright(sides) else (1, record[0])


def is_upright(sides: tuple[int, ...]) -> bool:
    """Return whether samples are signals along their height."""
    return len(sides) == 2 and sides[1] == 1 and sides[0] > 1


def _cut(record: NDArray[Any], starts: NDArray[np.float32], noise: NDArray[np.float32]) -> None:
    """Write a part of a record into the planes of one sample."""
    height, width = record_sides(record.shape, noise.shape[1:])
    layers = record.reshape(height, width, -1)
    for channel, plane in enumerate(noise):
        row, column = starts[0 if layers.shape[2] > 1 else channel]
        rows = int(row * height) + np.arange(plane.shape[0])
        columns = int(column * width) + np.arange(plane.shape[1])
        layer = layers[..., channel % layers.shape[2]]
        plane[...] = layer.take(rows, axis=0, mode="wrap").take(columns, axis=1, mode="wrap")


# Shared steps -------------------------------------------------------------------------------------------


def planes_of(x: Tensor) -> Tensor:
    """Return samples as (n_samples, channels, height, width); rows have a height of 1."""
    if x.ndim == 2:
        return x[:, None, None]
    return x[:, None] if x.ndim == 3 else x.movedim(3, 1)


def samples_of(planes: Tensor, x: Tensor) -> Tensor:
    """Return planes in the layout of samples ``x``."""
    return planes.movedim(1, 3) if x.ndim == 4 else planes.reshape(x.shape)


def _normal(shape: Sequence[int], x: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(tuple(shape), generator=generator, device=x.device, dtype=torch.float32)


def _mix_colors(draw: Callable[[int], Tensor], channels: int, correlation: float) -> Tensor:
    """Return noise of unit variance with a correlation between channels.

    ``draw`` is a function from a number of channels to noise of unit variance, independent between them.
    """
    if channels == 1 or correlation == 0:
        return draw(channels)
    shared = draw(1)
    if correlation == 1:
        return shared.expand(-1, channels, -1, -1)
    return math.sqrt(correlation) * shared + math.sqrt(1 - correlation) * draw(channels)


def _add_scaled(
    noise: Tensor,
    x: Tensor,
    generator: torch.Generator,
    noise_factor: Strength,
    unit: float | Tensor,
    clip: tuple[float, float] | None,
) -> Tensor:
    """Add noise of unit variance, given as planes, to samples."""
    samples = samples_of(noise.expand(planes_of(x).shape), x)
    noisy = (samples * draw_strength(noise_factor, x, generator)).to(x.dtype).mul_(unit).add_(x)
    return noisy if clip is None else noisy.clamp_(*clip)


def _unit_kernel(kernel: float | NDArray[Any] | Tensor, sides: tuple[int, ...]) -> Tensor:
    """Return a kernel for samples of these sides, with squares that sum to 1."""
    if np.ndim(kernel) == 0:
        width = float(kernel)
        radius = math.ceil(KERNEL_DEVIATIONS * width)
        place = torch.arange(-radius, radius + 1, dtype=torch.float64)
        line = torch.exp(-0.5 * (place / width) ** 2) if width > 0 else torch.ones(1, dtype=torch.float64)
        # Across a single row or column every filter gives the same distribution.
        weights = line[None] if sides[0] == 1 else line[:, None] if sides[1] == 1 else line[:, None] * line
    else:
        weights = torch.as_tensor(np.array(kernel), dtype=torch.float64)
        if weights.ndim == 1:
            weights = weights[:, None] if is_upright(sides) else weights[None]
    # The largest weight first, so that squares stay finite.
    weights = weights / weights.abs().max()
    return (weights / weights.square().sum().sqrt()).float()


def _filtered_noise(
    shape: tuple[int, ...], kernel: Tensor, generator: torch.Generator, device: torch.device
) -> Tensor:
    """Return white noise as planes, convolved with a kernel."""
    if kernel.numel() == 1:
        return torch.randn(shape, generator=generator, device=device, dtype=torch.float32)
    n, channels, *sides = shape
    # White noise beyond the border, so that the border of the result is like its inside.
    large = [side + extra - 1 for side, extra in zip(sides, kernel.shape, strict=True)]
    padded = [next_fast_len(side, real=True) for side in large]
    spectrum = torch.fft.rfft2(kernel, s=padded)
    noise = torch.empty((n * channels, *sides), device=device)
    step = max(1, MAX_ENTRIES // math.prod(padded))
    for start in range(0, n * channels, step):
        part = noise[start : start + step]
        white = torch.randn((len(part), *large), generator=generator, device=device, dtype=torch.float32)
        filtered = torch.fft.irfft2(torch.fft.rfft2(white, s=padded) * spectrum, s=padded)
        part[...] = filtered[:, large[0] - sides[0] : large[0], large[1] - sides[1] : large[1]]
    return noise.reshape(shape)


def _to_unit(x: Tensor, limits: Sequence[float | Tensor] | Tensor) -> tuple[Tensor, float, float]:
    """Return images as planes in [0, 1] in single precision; black; and the span."""
    black, white = (float(limit) for limit in limits)
    return (planes_of(x).to(torch.float64) - black).div_(white - black).float(), black, white - black


def _compress_one(image: Tensor, quality: Strength, chroma: Chroma, grid: str, draw: list[float]) -> Tensor:
    """Return the grey levels, 0 to 255, of the planes of one compressed image."""
    low, high = _as_pair(quality)
    chosen = min(max(round(low + (high - low) * draw[0]), 1), 100)
    is_half = chroma == "4:2:0" or (chroma == "random" and draw[1] < 0.5)
    block = HALF_CHROMA_BLOCK if is_half and len(image) == 3 else JPEG_BLOCK
    top, left = (int(block * place) for place in draw[2:]) if grid == "random" else (0, 0)
    if max(image.shape[1:]) + block > MAX_JPEG_SIDE:
        raise ValueError(
            f"JPEG files have at most {MAX_JPEG_SIDE} pixels a side, got an image of shape "
            f"{tuple(image.shape[1:])}. Cut it into parts."
        )
    large = pad(image[None], (left, 0, top, 0), mode="replicate")[0]
    parts = [large] if len(large) == 3 else large.split(1)
    decoded = torch.cat([compress_as_jpeg(part, chosen, half_chroma=is_half) for part in parts])
    return decoded.mul(255).round_()[:, top:, left:]


def _as_pair(strength: Strength) -> tuple[float, float]:
    if isinstance(strength, tuple | list):
        low, high = strength
        return float(low), float(high)
    return float(strength), float(strength)
