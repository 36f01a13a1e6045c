"""Denoising of noise that grows with the intensity by a white-noise denoiser."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch.nn import functional

from sk_denoise._intensity import DEVIATIONS
from sk_denoise._signal_dependent import generalised_anscombe, invert_generalised_anscombe
from sk_denoise.restoration._shared_statistics import Numbers, SharedStatistics

__all__ = ["MAX_REDUCTIONS", "count_reductions", "denoise_counts"]

# Noise level, as a share of the range of the stabilised image, that a network removes well at once.
EASY_LEVEL = 0.2
# Levels beyond that leave nothing to gain at this scale.
HOPELESS_LEVEL = 0.65
# Weight of the noisy image beside the estimate from a coarser scale: level times weight, and largest weight.
WEIGHTED_LEVEL, MAX_WEIGHT = 0.16, 0.7
# Name of the statistic that decides on a reduction, and largest number of reductions: MIN_SPAN bounds the
# level.
REDUCTION, MAX_REDUCTIONS = "level for a reduction", 3
# Smallest side of an image that is reduced.
MIN_SIDE = 32
# Block that is averaged to find the range of the signal, share of its outliers, and those of the pixels.
BLOCK, BLOCK_OUTLIERS, OUTLIERS = 4, 0.002, 0.001
# Smallest range of the signal in noise deviations.
MIN_SPAN = 1.0

# Function of an image with black at 0 and white at 1, and of its noise standard deviation.
WhiteDenoiser = Callable[[NDArray[np.float32], float], NDArray[Any]]


@dataclass(frozen=True)
class _CountsNoise:
    """Noise of variance ``gain * (mean - offset) + read_noise**2`` by channel."""

    gain: NDArray[np.float64]
    read_noise: NDArray[np.float64]
    offset: NDArray[np.float64]

    def scaled(self, weight: float) -> _CountsNoise:
        """Return the noise after multiplication by a weight, apart from the offset."""
        return _CountsNoise(weight**2 * self.gain, weight * self.read_noise, self.offset)

    def stabilize(self, image: NDArray[Any]) -> NDArray[np.float32]:
        """Return an image (height, width, channels) with noise of deviation 1."""
        channels = [
            generalised_anscombe(image[..., c], *parameters) for c, parameters in enumerate(self._channels())
        ]
        return np.stack(channels, axis=-1, dtype=np.float32)

    def destabilize(self, stabilized: NDArray[Any]) -> NDArray[Any]:
        channels = [
            invert_generalised_anscombe(stabilized[..., c].astype(np.float64), *parameters)
            for c, parameters in enumerate(self._channels())
        ]
        return np.stack(channels, axis=-1)

    def deviation(self, image: NDArray[Any]) -> NDArray[Any]:
        """Return the noise standard deviation at the pixels of a clean image."""
        variance: NDArray[Any] = self.gain * np.maximum(image - self.offset, 0) + self.read_noise**2
        deviation: NDArray[Any] = np.sqrt(variance)
        return deviation

    def _channels(self) -> list[tuple[float, float, float]]:
        return list(zip(self.gain.tolist(), self.read_noise.tolist(), self.offset.tolist(), strict=True))


def denoise_counts(
    image: NDArray[Any],
    gain: ArrayLike,
    read_noise: ArrayLike,
    offset: ArrayLike,
    denoise: WhiteDenoiser,
    statistics: SharedStatistics | None = None,
) -> NDArray[np.float64]:
    """Denoise an image with signal-dependent noise by a denoiser for white noise.

    The generalised Anscombe transform makes the noise white, the denoiser removes it, and the exact unbiased
    inverse follows. Where the noise is strong beside the signal, the image is denoised at half the size
    first, recursively. The result, enlarged, is averaged with the noisy image, which then has less noise and
    a variance that still is a line of the mean (Azzari and Foi, 2016).

    Parameters
    ----------
    image : ndarray of shape (height, width) or (height, width, channels)
        Noisy image in any unit, without alpha.
    gain, read_noise, offset : float or array-like of shape (channels,)
        Noise of variance ``gain * (mean - offset) + read_noise**2``, for all channels or for each.
    denoise : callable
        Function ``denoise(image, sigma)`` of a float32 image of the same shape, or smaller, with black at 0
        and white at 1, and its noise standard deviation.
    statistics : SharedStatistics, optional
        Statistics of the whole image, if this one is a part of it.

    Returns
    -------
    ndarray of float64
        Denoised image in the unit of the image, neither rounded nor clipped.

    References
    ----------
    M. Mäkitalo and A. Foi, "Optimal inversion of the generalized Anscombe transformation for
    Poisson-Gaussian noise", IEEE Transactions on Image Processing 22 (2013).

    L. Azzari and A. Foi, "Variance stabilization for noisy+estimate combination in iterative Poisson
    denoising", IEEE Signal Processing Letters 23 (2016).
    """
    pixels = image.astype(np.float64)
    pixels = pixels[..., None] if image.ndim == 2 else pixels
    parameters = (
        np.broadcast_to(np.asarray(parameter, np.float64), pixels.shape[2:])
        for parameter in (gain, read_noise, offset)
    )
    noise = _CountsNoise(*parameters)
    # Without noise in a channel the transform has no unit.
    if not (noise.gain + noise.read_noise).all():
        raise ValueError("The noise of each channel needs a gain or a read noise above 0.")

    def denoise_channels(unit: NDArray[np.float32], sigma: float) -> NDArray[Any]:
        return denoise(unit[..., 0], sigma)[..., None] if image.ndim == 2 else denoise(unit, sigma)

    scales = _denoise_scales(pixels, noise, denoise_channels, statistics or SharedStatistics())
    return scales.reshape(image.shape)


def _denoise_scales(
    image: NDArray[np.float64], noise: _CountsNoise, denoise: WhiteDenoiser, statistics: SharedStatistics
) -> NDArray[np.float64]:
    stabilized = noise.stabilize(image)
    level, is_small = statistics.of(
        REDUCTION, lambda: (_relative_level(stabilized), min(image.shape[:2]) < MIN_SIDE)
    )
    if level <= EASY_LEVEL or is_small:
        return _denoise_once(stabilized, noise, denoise, statistics)
    # A mean of four pixels has half the noise.
    coarse = _denoise_scales(_halve(image), noise.scaled(0.5), denoise, statistics)
    estimate = _enlarge(coarse, image.shape)
    # Bright points are lost in the reduction, so the estimate must agree with the pixel.
    margin = DEVIATIONS * noise.deviation(np.maximum(image, estimate))
    np.copyto(estimate, image, where=np.abs(image - estimate) > margin)
    if level > HOPELESS_LEVEL:
        return estimate
    weight = min(MAX_WEIGHT, WEIGHTED_LEVEL / level)
    mixed_noise = noise.scaled(weight)
    mixture = weight * image + (1 - weight) * estimate
    return _denoise_once(mixed_noise.stabilize(mixture), mixed_noise, denoise, statistics)


def _denoise_once(
    stabilized: NDArray[np.float32], noise: _CountsNoise, denoise: WhiteDenoiser, statistics: SharedStatistics
) -> NDArray[np.float64]:
    black, white = statistics.of("stabilized range", lambda: _network_range(stabilized))
    span = white - black
    unit = (stabilized - np.float32(black)) / np.float32(span)
    result: NDArray[np.float64] = noise.destabilize(denoise(unit, 1 / span) * span + black)
    return result


def count_reductions(record: Iterable[tuple[str, Numbers]]) -> int:
    """Return how many times the images of recorded statistics are reduced by 2."""
    decisions = [numbers for name, numbers in record if name == REDUCTION]
    return sum(level > EASY_LEVEL and not is_small for level, is_small in decisions)


def _relative_level(stabilized: NDArray[np.float32]) -> float:
    """Return the noise level as a share of the range of the signal."""
    black, white = _signal_range(stabilized)
    return 1 / (white - black)


def _network_range(stabilized: NDArray[np.float32]) -> tuple[float, float]:
    black, white = _signal_range(stabilized)
    # Single bright pixels hold signal that block means hide.
    return black, max(white, float(np.quantile(stabilized, 1 - OUTLIERS)))


def _signal_range(stabilized: NDArray[np.float32]) -> tuple[float, float]:
    """Return black and white of the signal below noise of deviation 1."""
    quantiles = np.quantile(stabilized, (OUTLIERS, 1 - OUTLIERS))
    # Noise moves the quantiles by about three deviations.
    low, high = float(quantiles[0]) + 3, float(quantiles[1]) - 3
    if min(stabilized.shape[:2]) >= BLOCK:
        means = _block_means(stabilized, BLOCK)
        darkest, brightest = (float(x) for x in np.quantile(means, (BLOCK_OUTLIERS, 1 - BLOCK_OUTLIERS)))
        low, high = min(darkest, low), max(brightest, high)
    return low, max(high, low + MIN_SPAN)


def _block_means(image: NDArray[Any], side: int) -> NDArray[Any]:
    """Return the means of whole square blocks of (height, width, channels)."""
    height, width = (length // side for length in image.shape[:2])
    blocks = image[: height * side, : width * side].reshape(height, side, width, side, -1)
    means: NDArray[Any] = blocks.mean(axis=(1, 3))
    return means


def _halve(image: NDArray[Any]) -> NDArray[Any]:
    """Return the means of 2 x 2 pixels; an odd last row or column is repeated."""
    return _block_means(np.pad(image, [(0, side % 2) for side in image.shape[:2]] + [(0, 0)], "edge"), 2)


def _enlarge(image: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return an image of twice the size, by cubic interpolation, cut to a shape."""
    planes = torch.from_numpy(np.ascontiguousarray(np.moveaxis(image, -1, 0)))[None]
    enlarged = functional.interpolate(planes, scale_factor=2, mode="bicubic", align_corners=False)[0]
    return np.moveaxis(enlarged.numpy(), 0, -1)[: shape[0], : shape[1]].copy()
