"""Estimation of the kind and the level of the noise of images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import uniform_filter
from sklearn.base import clone

from sk_denoise._intensity import IntensityRange
from sk_denoise._noise_level import estimate_scale_levels
from sk_denoise._noise_model import MAP_WINDOW, NoiseModel
from sk_denoise._registry import NOISE_KINDS
from sk_denoise._signal_dependent import SignalDependence, fit_signal_dependence
from sk_denoise._validation import Noiser, check_one_of, refuse_degradation, warn_user
from sk_denoise.exceptions import NoiseMismatchWarning
from sk_denoise.restoration._image_repair import (
    check_image,
    check_mask,
    color_planes,
    fill_hidden,
    has_equal_channels,
    replace_outliers,
    subtract_stripes,
    visible_pixels,
)
from sk_denoise.restoration._network_pass import PassOptions, run_network
from sk_denoise.restoration._pretrained import BlindNetwork

__all__ = [
    "COARSE_LEVEL",
    "VISIBLE",
    "estimate_kind",
    "estimate_noise",
    "estimate_planes",
    "measure_noiser",
]

# Sides in pixels of the squares of the levels by scale.
SCALES = (1, 2, 4, 8)
# Ratio of the levels at 2 and at 1 pixel from which the noise may be correlated, in an image and in a
# residual. White noise of 3 grey levels and more stays below it on most photos, and the noise of cameras
# above.
CORRELATED, CORRELATED_RESIDUAL = 1.6, 1.35
# Level for a network for white noise, relative to the level at two pixels, if the noise is correlated. The
# best level for the noise of cameras is 2 to 3 times its standard deviation.
COARSE_LEVEL = 1.6
# Ratio of these levels up to which noise is white without doubt.
CLEARLY_WHITE = 1.15
# Ratio of the level of the brightness to that of the colours from which noise is common to the colours.
CORRELATED_COLORS = 1.35
# Limits of the level at the finest scale relative to the whole residual, for white noise. Correlated noise
# has less there, and fine texture, which the network keeps, has more.
EXPLAINED = (1.03, 6.0)
# Noise level below which noise is not visible, as a share of the range.
FAINT = 0.5 / 255
# Noise level as a share of the distance from the darkest to the brightest pixel that noise on an image does
# not reach, but patterns of two values do. The numbers of pure noise spread over seven deviations.
IMPLAUSIBLE = 0.4
# Shares of black and white pixels between which an image may hold strong noise that is clipped.
CLIPPED_SHARE = (0.1, 0.95)
# Level at two pixels from which a warning is due, as a share of the range. Fine texture of clean photos
# reaches it rarely.
VISIBLE = 6.0 / 255
# Parts of an image that the blind network denoises for an estimate: their number, and their side in pixels.
N_PARTS, PART = 6, 128
# Span of an image up to which squares of its numbers are finite in single precision too.
FAR_FROM_ONE = 1e15
# Ratio of the brightness of flat parts up to which they do not tell white noise from counts.
MAX_ALIKE = 2.5
# Number of pixels from which quantiles are taken.
SAMPLE = 2**18
# Images of a list that are read.
MAX_IMAGES = 8
# Lag in pixels up to which correlation is measured.
MAX_LAG = 12


def estimate_noise(
    images: ArrayLike | Sequence[ArrayLike],
    mask: ArrayLike | None = None,
    *,
    kind: Literal["auto", "white", "counts", "camera"] = "auto",
    outliers: Literal["keep", "replace"] = "keep",
) -> NoiseModel:
    """Estimate the kind and the level of the noise of an image from the image alone.

    White noise has the same level at all scales, so levels at one and at two pixels are compared first, in
    the flattest blocks of the image. Frames, clipped pixels and pixels below full transparency do not count.
    White noise that grows with the brightness is noise of counts. If the levels differ, they may come from
    texture or from correlated noise: the pretrained blind network denoises parts of the image, and its
    residual decides.

    Parameters
    ----------
    images : array-like of shape (height, width) or (height, width, channels), or list of them
        Image as for :func:`denoise_image`, or images or planes of one source, of which eight are read.
    mask : array-like of bool of shape (height, width), optional
        True for pixels with a value. By default all except NaN and fully transparent ones.
    kind : {"auto", "white", "counts", "camera"}, default="auto"
        Kind of the noise, if it is known; then only its level is estimated.
    outliers : {"keep", "replace"}, default="keep"
        Whether to replace hot and dead pixels first, as in :func:`denoise_image`.

    Returns
    -------
    NoiseModel
        Kind and level of the noise, in the unit of the images. ``print`` describes it in words.

    Raises
    ------
    ValueError
        If an image or an option is not valid, the mask has another shape, or a list is empty.

    Warns
    -----
    NoiseMismatchWarning
        If the noise is not of the kind that ``kind`` names.

    See Also
    --------
    denoise_image : Take the noise away.
    estimate_sigma : The level of white noise alone.

    Notes
    -----
    A clean image with fine texture everywhere can look like one with correlated noise; ``trust`` is low then.
    It is 0 for patterns such as a chessboard of single pixels, which are left as they are.
    Noise that is smooth over more than about eight pixels is taken for a part of the image.

    References
    ----------
    J. Immerkaer, "Fast noise variance estimation", Computer Vision and Image Understanding 64 (1996);
    A. Foi et al., "Practical Poissonian-Gaussian noise modeling and fitting for single-image raw-data", IEEE
    Transactions on Image Processing 17 (2008).

    Examples
    --------
    >>> import numpy as np
    >>> from sk_denoise.datasets import load_images
    >>> from sk_denoise.restoration import estimate_noise
    >>> clean = load_images("gray").test[0]
    >>> counts = np.random.default_rng(0).poisson(100 * clean).astype(np.uint16)
    >>> estimate_noise(counts).kind
    'counts'
    """
    check_one_of(outliers, {"keep": None, "replace": None}, "outliers")
    arrays, masks = _read(images, mask, outliers)
    return estimate_kind(arrays, masks, kind, "kind")


def estimate_kind(
    arrays: list[NDArray[Any]], masks: list[NDArray[np.bool_] | None], kind: str, name: str
) -> NoiseModel:
    """Estimate the noise of checked images of one source, of a kind or of any.

    Parameters
    ----------
    arrays : list of ndarray
        Images without hidden pixels and stripes.
    masks : list of ndarray or None
        Pixels with a value of their own.
    kind : str
        Name in ``NOISE_KINDS``.
    name : str
        Name of the argument ``kind`` in the error of another value.
    """
    check_one_of(kind, NOISE_KINDS, name)
    if kind == "auto":
        return estimate_checked(arrays, masks)
    if kind == "counts":
        return fit_counts_model(arrays, masks)
    levels = np.mean(
        [
            estimate_scale_levels(color_planes(array), mask, scales=(1, 2))
            for array, mask in zip(arrays, masks, strict=True)
        ],
        axis=0,
    )
    sigma, coarse = levels.mean(axis=0).tolist()
    image_range = IntensityRange.of(color_planes(arrays[0]).transpose(1, 2, 0), sigma)
    if kind == "camera":
        return _camera_model(_blind_residual(arrays, masks), coarse, image_range)
    if coarse > CORRELATED * sigma and coarse > VISIBLE * image_range.span:
        warn_user(
            f"The noise does not look white: its level is {sigma:.3g} at one pixel and {coarse:.3g} at two. "
            f'Pass noise="auto", or sigma={COARSE_LEVEL * coarse:.3g}.',
            NoiseMismatchWarning,
        )
    return NoiseModel(
        kind,
        sigma,
        channel_sigmas=tuple(levels[:, 0].tolist()),
        levels=(sigma, coarse) if np.isfinite(coarse) else (sigma,),
        intensity_range=image_range,
    )


def _read(
    images: ArrayLike | Sequence[ArrayLike], mask: ArrayLike | None, outliers: str
) -> tuple[list[NDArray[Any]], list[NDArray[np.bool_] | None]]:
    """Return images without hidden pixels and stripes, and masks of visible ones."""
    items: list[Any] = list(images) if isinstance(images, list | tuple) else [images]
    # A list of numbers is an image too.
    if items and np.ndim(items[0]) < 2:
        items = [images]
    if not items:
        raise ValueError("The list of images is empty: nothing to estimate the noise from.")
    chosen = sorted({round(place) for place in np.linspace(0, len(items) - 1, MAX_IMAGES)})
    pairs = [_prepare(items[number], mask, outliers) for number in chosen]
    return [array for array, _ in pairs], [visible for _, visible in pairs]


def estimate_planes(
    planes: Sequence[NDArray[Any]], masks: Sequence[NDArray[np.bool_] | None], kind: str, outliers: str
) -> NoiseModel:
    """Estimate the noise of planes of one source with masks of their own."""
    pairs = [_prepare(plane, mask, outliers) for plane, mask in zip(planes, masks, strict=True)]
    return estimate_kind([array for array, _ in pairs], [visible for _, visible in pairs], kind, "noise")


def _prepare(
    image: ArrayLike, mask: ArrayLike | None, outliers: str
) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Return an image without hidden pixels and stripes, and the visible ones."""
    array = check_image(image)
    visible = visible_pixels(array, check_mask(mask, array.shape[:2]))
    filled = fill_hidden(array, visible)
    if outliers == "replace":
        filled, _ = replace_outliers(filled)
    # The noise of a gray image with three equal channels is that of one.
    filled = np.ascontiguousarray(filled[..., 0]) if has_equal_channels(filled) else filled
    return subtract_stripes(filled), visible


def estimate_checked(arrays: list[NDArray[Any]], masks: list[NDArray[np.bool_] | None]) -> NoiseModel:
    """Estimate the noise of checked images of one source."""
    if len({color_planes(array).shape[0] for array in arrays}) > 1:
        raise ValueError("Images of one source have the same number of channels; these differ.")
    span = max(float(array.max()) - float(array.min()) for array in arrays)
    if span and not 1 / FAR_FROM_ONE < span < FAR_FROM_ONE:
        # Squares of such numbers overflow.
        return estimate_checked([array / span for array in arrays], masks).scaled(span)
    levels = np.mean(
        [
            estimate_scale_levels(color_planes(array), mask, scales=SCALES)
            for array, mask in zip(arrays, masks, strict=True)
        ],
        axis=0,
    )
    fine = float(levels[:, 0].mean())
    coarse = float(levels[:, 1].mean())
    middle = arrays[len(arrays) // 2]
    image_range = IntensityRange.of(color_planes(middle).transpose(1, 2, 0), fine)
    facts: dict[str, Any] = {
        "levels": tuple(float(level) for level in levels.mean(axis=0) if np.isfinite(level)),
        "intensity_range": image_range,
    }
    channel_sigmas = tuple(levels[:, 0].tolist()) if len(levels) > 1 else ()
    # Images of less than 6 pixels have one scale.
    trust = 1.0 if not np.isfinite(coarse) else min(fine, coarse) / max(fine, coarse, 1e-300)
    if fine > IMPLAUSIBLE * span and not _is_clipped(middle):
        return NoiseModel("none", fine, trust=0.0, **facts)
    shared = _shared_level(arrays, masks)
    is_alike = not np.isfinite(coarse) or coarse < CORRELATED * fine
    white = None
    if fine > 0 and is_alike and shared < CORRELATED_COLORS * fine:
        white = _white_or_counts(arrays, masks, fine, channel_sigmas, trust, facts)
        if white.kind == "counts" or not coarse > CLEARLY_WHITE * fine:
            return white
    if max(fine, coarse) == 0:
        return NoiseModel("none", 0.0, **facts)
    residual = _blind_residual(arrays, masks)
    camera = _camera_model(residual, coarse, image_range)
    if white is not None:
        # Strong compression leaves noise that is nearly white, with less of the finest scale.
        return white if fine > EXPLAINED[0] * camera.sigma else camera
    if camera.sigma < FAINT * image_range.span:
        return NoiseModel("none", camera.sigma, trust=min(1.0, camera.sigma / max(coarse, 1e-300)), **facts)
    is_white = camera.levels[1] < CORRELATED_RESIDUAL * camera.levels[0]
    is_white = is_white and EXPLAINED[0] * camera.sigma < fine < EXPLAINED[1] * camera.sigma
    if is_white and shared < CORRELATED_COLORS * fine and fine >= FAINT * image_range.span:
        return _white_or_counts(arrays, masks, fine, channel_sigmas, trust, facts)
    return camera


def _camera_model(
    residual: Sequence[NDArray[np.float64]], coarse: float, image_range: IntensityRange
) -> NoiseModel:
    """Return a model of correlated noise from the residual of the blind network."""
    levels = _residual_levels(residual)
    channels = np.sqrt(np.mean([np.square(part).mean((0, 1)) for part in residual], axis=0))
    return NoiseModel(
        "camera",
        math.sqrt(float(np.mean([np.square(part).mean() for part in residual]))),
        channel_sigmas=tuple(channels.tolist()) if len(channels) > 1 else (),
        correlation_length=_correlation_length(residual),
        trust=min(coarse, levels[1]) / max(coarse, levels[1], 1e-300) if np.isfinite(coarse) else 1.0,
        intensity_range=image_range,
        levels=levels,
    )


def _shared_level(arrays: list[NDArray[Any]], masks: list[NDArray[np.bool_] | None]) -> float:
    """Return the level of the mean of the channels, times the root of their number.

    It is the level of the channels if their noise is independent.
    """
    levels = []
    for array, mask in zip(arrays, masks, strict=True):
        planes = color_planes(array)
        brightness = planes.mean(axis=0, dtype=np.float64)[None]
        levels.append(
            math.sqrt(len(planes)) * float(estimate_scale_levels(brightness, mask, scales=(1,))[0, 0])
        )
    return float(np.mean(levels))


def _is_clipped(image: NDArray[Any]) -> bool:
    """Return whether an image has both clipped pixels and others."""
    share = float(np.mean((image == image.min()) | (image == image.max())))
    return CLIPPED_SHARE[0] < share < CLIPPED_SHARE[1]


def _white_or_counts(
    arrays: list[NDArray[Any]],
    masks: list[NDArray[np.bool_] | None],
    sigma: float,
    channel_sigmas: tuple[float, ...],
    trust: float,
    facts: dict[str, Any],
) -> NoiseModel:
    """Return a model of counts if the variance grows with the brightness."""
    fit = _fit_counts(arrays, masks)
    if not fit.is_significant or not _covers(fit, arrays):
        return NoiseModel(
            "white", sigma, channel_sigmas=channel_sigmas, trust=trust, points=fit.points, **facts
        )
    return _counts_model(fit, facts)


def _covers(fit: SignalDependence, arrays: list[NDArray[Any]]) -> bool:
    """Return whether the points of a fit cover the values of the images."""
    values = np.concatenate([array.reshape(-1)[:: max(1, array.size // SAMPLE)] for array in arrays])
    dark, low, high = np.quantile(values.astype(np.float64), (0.02, 0.2, 0.8)).tolist()
    means = fit.points[fit.points[:, 2] > 0.05, 0]
    if not len(means) or fit.offset > dark + fit.read_noise:
        return False
    # The points lie between the values of most pixels, or beyond them.
    return bool(means.min() <= low + 0.25 * (high - low) and means.max() >= high - 0.25 * (high - low))


def _counts_model(fit: SignalDependence, facts: dict[str, Any]) -> NoiseModel:
    return NoiseModel(
        "counts",
        fit.sigma,
        gain=fit.gain,
        read_noise=fit.read_noise,
        offset=fit.offset,
        trust=fit.trust,
        points=fit.points,
        **facts,
    )


def fit_counts_model(arrays: list[NDArray[Any]], masks: list[NDArray[np.bool_] | None]) -> NoiseModel:
    """Return a model of counts, or of white noise if the variance is constant."""
    fit = _fit_counts(arrays, masks)
    facts: dict[str, Any] = {"intensity_range": IntensityRange.of(color_planes(arrays[0]).transpose(1, 2, 0))}
    if fit.gain > 0:
        return _counts_model(fit, facts)
    means = fit.points[:, 0]
    # Flat parts of one brightness cannot show that the variance grows. It does for counts.
    if fit.sigma > 0 and len(means) and means.min() > 0 and means.max() < MAX_ALIKE * means.min():
        gain = fit.sigma**2 / float(np.average(means, weights=fit.points[:, 2] + 1e-9))
        return NoiseModel("counts", fit.sigma, gain=gain, trust=fit.trust, points=fit.points, **facts)
    warn_user(
        "The noise does not grow with the brightness, so it is removed as white noise.", NoiseMismatchWarning
    )
    return NoiseModel("white", fit.sigma, trust=fit.trust, points=fit.points, **facts)


def _fit_counts(
    arrays: Sequence[NDArray[Any]], masks: Sequence[NDArray[np.bool_] | None]
) -> SignalDependence:
    """Fit the variance as a function of the brightness, over all channels and images."""
    planes = [plane for array in arrays for plane in color_planes(array)]
    n_channels = len(planes) // len(arrays)
    if all(mask is None for mask in masks):
        return fit_signal_dependence(planes)
    everywhere = [np.ones(array.shape[:2], bool) for array in arrays]
    full_masks = [full if mask is None else mask for mask, full in zip(masks, everywhere, strict=True)]
    return fit_signal_dependence(planes, [mask for mask in full_masks for _ in range(n_channels)])


def _blind_residual(
    arrays: Sequence[NDArray[Any]], masks: Sequence[NDArray[np.bool_] | None]
) -> list[NDArray[np.float64]]:
    """Return the residual of the blind network for parts of images."""
    candidates = []
    for array, mask in zip(arrays, masks, strict=True):
        for rows, columns in _grid(array.shape[:2]):
            part = array[rows, columns]
            is_seen = mask is None or mask[rows, columns].mean() > 0.5
            if is_seen and part.min() < part.max():
                candidates.append(part)
    if not candidates:
        candidates = [arrays[0]]
    step = max(1, len(candidates) // N_PARTS)
    network = BlindNetwork("camera", like=arrays[0])
    residual = []
    for part in candidates[::step][:N_PARTS]:
        # Integers would be rounded.
        floats = part.astype(np.float64)
        denoised = run_network(network, floats, None, PassOptions())
        difference = np.moveaxis(color_planes(floats) - color_planes(denoised), 0, -1)
        residual.append(difference - difference.mean((0, 1)))
    return residual


def _grid(shape: tuple[int, ...]) -> list[tuple[slice, slice]]:
    """Return squares spread over an image."""
    rows, columns = (
        sorted({round(p) for p in np.linspace(0, max(0, side - PART), max(1, min(4, side // PART)))})
        for side in shape
    )
    squares = [(slice(row, row + PART), slice(column, column + PART)) for row in rows for column in columns]
    # Not the parts along the upper edge alone, if only some of them are used.
    return sorted(squares, key=lambda square: (square[0].start * 7 + square[1].start * 3) % 11)


def _residual_levels(residual: Sequence[NDArray[np.float64]]) -> tuple[float, ...]:
    """Return the level of a residual at several scales."""
    levels: list[float] = []
    for scale in SCALES:
        squares = []
        for part in residual:
            height, width = (side // scale * scale for side in part.shape[:2])
            if not height or not width:
                continue
            means = part[:height, :width].reshape(height // scale, scale, width // scale, scale, -1)
            squares.append(np.square(scale * means.mean((1, 3))).mean())
        levels.append(math.sqrt(float(np.mean(squares))) if squares else levels[-1])
    return tuple(levels)


def _correlation_length(residual: Sequence[NDArray[np.float64]]) -> float:
    """Return the distance at which the correlation falls to a third, in pixels."""
    power = sum(float(np.square(part).sum()) / part.size for part in residual)
    last = 1.0
    for lag in range(1, MAX_LAG + 1):
        products = 0.0
        for part in residual:
            if min(part.shape[:2]) > lag:
                products += 0.5 * float((part[lag:] * part[:-lag]).mean())
                products += 0.5 * float((part[:, lag:] * part[:, :-lag]).mean())
        correlation = products / power if power else 0.0
        if correlation < 1 / 3:
            return lag - 1 + (last - 1 / 3) / (last - correlation) if lag > 1 or correlation > 0 else 0.0
        last = correlation
    return float(MAX_LAG)


def measure_noiser(noiser: Noiser, image: NDArray[Any]) -> NoiseModel:
    """Measure the noise of a noiser on a smoothed image.

    Parameters
    ----------
    noiser : Noiser
        Noiser, fitted or not; a copy of it is fitted to the image.
    image : ndarray of shape (height, width) or (height, width, channels)
        Noisy image without hidden pixels.
    """
    refuse_degradation(noiser, "the noise in an image")
    colors = np.moveaxis(color_planes(image), 0, -1)
    smooth = uniform_filter(colors.astype(np.float32), (MAP_WINDOW, MAP_WINDOW, 1))
    clean = smooth if image.ndim == 3 else smooth[..., 0]
    fitted = clone(noiser).fit(clean[None], clean[None])
    noisy = fitted.corrupt(torch.from_numpy(clean[None]), torch.Generator().manual_seed(0)).numpy()[0]
    residual = (noisy - clean).astype(np.float64).reshape(*clean.shape[:2], -1)
    residual -= residual.mean((0, 1))
    sigma = float(np.sqrt(np.square(residual).mean()))
    image_range = IntensityRange.of(colors)
    levels = _residual_levels([residual])
    facts: dict[str, Any] = {"intensity_range": image_range, "levels": levels}
    if sigma == 0:
        return NoiseModel("none", 0.0, **facts)
    if levels[1] > CORRELATED_RESIDUAL * levels[0]:
        return NoiseModel("camera", sigma, correlation_length=_correlation_length([residual]), **facts)
    # The clean image is known here, so the line of the variance is a regression.
    light, variance = smooth.reshape(-1).astype(np.float64), np.square(residual).reshape(-1)
    gain, intercept = np.polyfit(light, variance, 1) if np.ptp(light) > 0 else (0.0, sigma**2)
    if gain * (np.quantile(light, 0.95) - np.quantile(light, 0.05)) < 0.5 * sigma**2:
        return NoiseModel("white", sigma, **facts)
    offset = max(0.0, -intercept / gain)
    return NoiseModel(
        "counts", sigma, gain=float(gain), read_noise=math.sqrt(max(0.0, intercept)), offset=offset, **facts
    )
