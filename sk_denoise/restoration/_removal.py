"""Removal of noise by its kind: white, of counts, or correlated."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import correlate1d

from sk_denoise._intensity import UNIT, IntensityRange
from sk_denoise._noise_level import estimate_scale_levels
from sk_denoise._noise_model import NoiseModel
from sk_denoise._registry import NOISE_KINDS
from sk_denoise._validation import Noiser, warn_user
from sk_denoise.exceptions import NoiseMismatchWarning
from sk_denoise.restoration._counts import denoise_counts
from sk_denoise.restoration._image_repair import as_stack, color_planes, has_equal_channels, subtract_stripes
from sk_denoise.restoration._network_pass import PassOptions, check_channels, run_network
from sk_denoise.restoration._noise_estimation import COARSE_LEVEL, estimate_kind, measure_noiser
from sk_denoise.restoration._pretrained import MODELS, select_network
from sk_denoise.restoration._shared_statistics import SharedStatistics

__all__ = ["blend", "remove_noise", "resolve_image_noise"]

# Ratio of the levels of the channels from which they are denoised one by one.
UNEQUAL = 1.5
# Local residual of white noise, relative to the noise level, beyond which it is no longer noise. Windows of
# 7 x 7 pixels vary by a tenth.
MAX_EXCESS = 1.4
# Smallest limit of the residual, as a share of the largest one.
NEARLY_NOTHING = 1e-6
# Standard deviation of the difference of two rounded numbers.
ROUNDING = (1 / 6) ** 0.5
# Side of the window in pixels, and number of rows at a time.
GUARD_WINDOW, GUARD_ROWS = 7, 512
# Level for a network for white noise that removes correlated noise: a multiple of the level, and a share of
# the range. Fitted to the best levels for noise of cameras and of JPEG. Noise that is common to the colours
# is as hard to remove as independent noise that is stronger by the square root of three.
GRAY_LEVEL, COLOR_LEVEL = (1.3, 3 / 255), (1.9, 1.5 / 255)
# Share of the blind network in the result if the noise is clearly correlated: from this relative difference
# of the levels at two pixels and at one.
BLIND_SHARE, CLEARLY_CORRELATED = 0.5, 0.3
# Local residual of correlated noise: side of the window in pixels, bins of brightness, quantile of the
# flattest parts in each, and the largest residual as a multiple of it, besides a share of the range.
FLOOR_WINDOW, FLOOR_BINS, FLOOR, MAX_FLOOR_EXCESS, FLOOR_SLACK = 15, 6, 0.15, 1.15, 0.2 / 255
# Change of an image relative to the level at two pixels below which a warning is due.
LITTLE = 0.15
# Level at two pixels of the finest texture of clean photos, as a share of the range.
TEXTURE = 12 / 255


def remove_noise(
    array: NDArray[Any],
    visible: NDArray[np.bool_] | None,
    sigma: ArrayLike | None,
    noise: str | NoiseModel | Noiser,
    model: str,
    options: PassOptions,
) -> NDArray[Any]:
    """Remove noise from a checked image without hidden pixels.

    Parameters
    ----------
    array : ndarray of shape (height, width) or (height, width, channels)
        Noisy image.
    visible : ndarray of bool of shape (height, width), optional
        Pixels with a value of their own.
    sigma, noise, model
        As in :func:`denoise_image`.
    options : PassOptions
        Options of the networks.
    """
    check_channels(select_network(model, array), array)
    shared = options.statistics
    # Parts of an image in colour may be gray.
    is_gray = not shared.is_for_parts and has_equal_channels(array)
    # As a colour image, a gray one would get colours of its own.
    if model == "auto" and np.ndim(sigma) != 1 and is_gray:  # type: ignore[arg-type]
        gray = np.ascontiguousarray(array[..., 0])
        denoised = array.copy()
        denoised[..., :3] = remove_noise(gray, visible, sigma, noise, model, options)[..., None]
        return denoised
    if sigma is not None:
        if not isinstance(noise, str) or noise not in ("auto", "white"):
            raise ValueError(
                "sigma is the level of white noise. Pass either sigma or noise, or a map of levels as sigma."
            )
        return _remove_white(array, sigma, model, options)
    if model in MODELS and MODELS[model].is_blind:
        if isinstance(noise, str) and noise not in ("auto", "camera"):
            raise ValueError(
                f'The model "{model}" removes the noise of cameras, got noise={noise!r}. Leave one of them '
                "out."
            )
        return run_network(select_network(model, array), array, None, options)
    # The stripes of a part are not those of the whole image.
    array = array if shared.is_for_parts else subtract_stripes(array)
    noise_model = resolve_image_noise(noise, array, visible)
    if noise_model.kind == "white":
        # The estimate for a pattern such as a chessboard exceeds the range of the image.
        (largest,) = shared.of("span", lambda: [float(array.max()) - float(array.min())])
        return _remove_white(array, np.minimum(_levels_of(noise_model), largest), model, options)
    if noise_model.kind == "counts":
        return _remove_counts(array, noise_model, model, options)
    if noise_model.kind == "camera":
        return _remove_correlated(array, noise_model, model, options)
    if noise_model.trust == 0 and noise_model.sigma > 0:
        warn_user(
            "The image varies from pixel to pixel by nearly its whole range, as patterns of two values do. "
            "It is left as it is. Pass sigma if this is noise.",
            NoiseMismatchWarning,
        )
    if not shared.is_for_parts:
        _warn_if_noise_shows(array, array, visible)
    return array.copy()


def resolve_image_noise(
    noise: str | NoiseModel | Noiser, array: NDArray[Any], visible: NDArray[np.bool_] | None
) -> NoiseModel:
    """Return the noise model of an image."""
    if isinstance(noise, NoiseModel):
        return noise
    if not isinstance(noise, str):
        if not isinstance(noise, Noiser):
            raise TypeError(
                f"noise must be one of {', '.join(NOISE_KINDS)}, a NoiseModel or a noiser, got {noise!r}."
            )
        return measure_noiser(noise, array)
    return estimate_kind([array], [visible], noise, "noise")


def _levels_of(noise_model: NoiseModel) -> float | tuple[float, ...]:
    """Return one level for all channels, or one for each."""
    sigmas = noise_model.channel_sigmas
    if len(sigmas) > 1 and max(sigmas) > UNEQUAL * min(sigmas):
        return sigmas
    return noise_model.sigma


def _remove_white(array: NDArray[Any], sigma: ArrayLike, model: str, options: PassOptions) -> NDArray[Any]:
    """Remove white noise of one level, of a map, or of a level a channel."""
    levels = np.asarray(sigma)
    if levels.ndim != 1:
        denoised = run_network(select_network(model, array), array, sigma, options)
        _limit_residual(array, denoised, MAX_EXCESS * levels)
        return denoised
    n_channels = as_stack(array, select_network(model, array).n_channels).shape[3]
    if levels.shape != (n_channels,):
        raise ValueError(
            f"sigma has {len(levels)} numbers, one for each channel, and the image has {n_channels} channels."
        )
    denoised = array.copy()
    gray = select_network("gray", array)
    outputs = as_stack(denoised, gray.n_channels)[0]
    for channel, level in enumerate(levels.tolist()):
        plane = np.ascontiguousarray(outputs[..., channel])
        outputs[..., channel] = run_network(gray, plane, level, options)
        _limit_residual(plane, outputs[..., channel], MAX_EXCESS * np.asarray(level))
    return denoised


def _remove_counts(
    array: NDArray[Any], noise_model: NoiseModel, model: str, options: PassOptions
) -> NDArray[Any]:
    """Remove noise that grows with the brightness."""
    denoised = array.copy()
    outputs = as_stack(denoised, select_network(model, array).n_channels)[0]
    colors = outputs if outputs.shape[2] > 1 else outputs[..., 0]

    def denoise(unit: NDArray[np.float32], sigma: float) -> NDArray[Any]:
        # Images of half the size are a fourth of the work, and would count as progress of the whole.
        is_whole = unit.shape[:2] == array.shape[:2]
        quiet = options if is_whole else replace(options, verbose=False, callback=None)
        return _remove_white(unit, sigma, model, quiet)

    parameters = noise_model.gain, noise_model.read_noise, noise_model.offset
    values = denoise_counts(colors, *parameters, denoise, options.statistics)
    # A range from 0 to 1 leaves numbers as they are, in another type.
    colors[...] = UNIT.from_unit(values, array.dtype)
    return denoised


def _remove_correlated(
    array: NDArray[Any], noise_model: NoiseModel, model: str, options: PassOptions
) -> NDArray[Any]:
    """Remove correlated noise by the blind network and a told one."""
    sigma, span = noise_model.sigma, noise_model.intensity_range.span
    fine, coarse = (*noise_model.levels, sigma, sigma)[:2]
    if len(color_planes(array)) == 1:
        level = GRAY_LEVEL[0] * max(fine, coarse) + min(sigma, GRAY_LEVEL[1] * span)
    else:
        level = COLOR_LEVEL[0] * sigma + min(sigma, COLOR_LEVEL[1] * span)
    if model != "auto":
        return _remove_white(array, level, model, options)
    blind = run_network(select_network("camera", array), array, None, options)
    result = _remove_white(array, level, model, options).astype(np.result_type(array.dtype, np.float32))
    # Noise that is white in each channel, as that of JPEG with half the chroma, needs a level alone.
    share = BLIND_SHARE * float(np.clip((coarse / max(fine, 1e-300) - 1) / CLEARLY_CORRELATED, 0, 1))
    result += share * (blind - result)
    _limit_to_floor(array, result, span, options.statistics)
    return UNIT.from_unit(result, array.dtype)


def _limit_to_floor(
    array: NDArray[Any], denoised: NDArray[Any], span: float, statistics: SharedStatistics
) -> None:
    """Limit the local residual to that of flat parts of the same brightness.

    The noise of a camera depends on the brightness, and not on texture: more than its floor is texture.
    """
    # In double precision for numbers far beyond those of images.
    exact = np.result_type(array.dtype, np.float32)
    residual = np.subtract(color_planes(array), color_planes(denoised), dtype=exact)
    local = np.sqrt(_local_mean(np.square(residual).mean(axis=0), FLOOR_WINDOW))
    brightness = _local_mean(color_planes(denoised).mean(axis=0, dtype=exact), FLOOR_WINDOW)
    numbers = statistics.of("residual floor", lambda: _residual_floor(local, brightness))
    limit = MAX_FLOOR_EXCESS * np.interp(brightness, numbers[::2], numbers[1::2]) + FLOOR_SLACK * span
    share = np.minimum(1, limit / np.maximum(local, 1e-300))
    colors, outputs = as_stack(array, 1)[0], as_stack(denoised, 1)[0]
    outputs[...] = colors - share[..., None] * (colors - outputs)


def _residual_floor(local: NDArray[Any], brightness: NDArray[Any]) -> list[float]:
    """Return brightness and residual of flat parts in turn, from dark to bright."""
    edges = np.quantile(brightness[::4, ::4], np.linspace(0, 1, FLOOR_BINS + 1))
    numbers = []
    for low, high in itertools.pairwise(edges.tolist()):
        inside = local[(brightness >= low) & (brightness <= high)]
        if len(inside):
            numbers += [(low + high) / 2, float(np.quantile(inside, FLOOR))]
    return numbers


def _local_mean(image: NDArray[Any], side: int) -> NDArray[Any]:
    """Return the means of square windows.

    Sums that run along the rows, as in ``uniform_filter``, would round differently in parts of an image.
    """
    weights = np.full(side, 1 / side)
    for axis in (0, 1):
        image = correlate1d(image, weights, axis=axis, mode="reflect")
    return image


def _limit_residual(array: NDArray[Any], denoised: NDArray[Any], limit: NDArray[Any]) -> None:
    """Limit the local residual, where more was removed than noise can be, in place.

    Parameters
    ----------
    array, denoised : ndarray of shape (height, width) or (height, width, channels)
        Image before and after; the second one is changed.
    limit : ndarray of shape () or (height, width)
        Largest local root mean square of the residual.
    """
    height = array.shape[0]
    # Rounding adds to the residual of integers.
    allowed = np.hypot(limit, ROUNDING if array.dtype.kind in "iu" else 0)
    # A map may have no noise in places, and a residual beyond all bounds there would spread to others.
    allowed = np.maximum(allowed, max(NEARLY_NOTHING * float(allowed.max()), np.finfo(float).tiny))
    for top in range(0, height, GUARD_ROWS):
        start, stop = max(0, top - GUARD_WINDOW), min(height, top + GUARD_ROWS + GUARD_WINDOW)
        rows, kept = slice(start, stop), slice(top - start, top - start + min(GUARD_ROWS, height - top))
        residual = np.subtract(array[rows], denoised[rows], dtype=np.float64)
        limits = allowed if allowed.ndim == 0 else allowed[rows]
        # Relative to the limit, squares do not overflow.
        power = np.square(
            residual / (limits if residual.ndim == 2 or limits.ndim == 0 else limits[..., None])
        )
        power = power if power.ndim == 2 else power.mean(axis=2)
        excess = _local_mean(power, GUARD_WINDOW)[kept]
        if not (excess > 1).any():
            continue
        share = 1 / np.sqrt(np.maximum(excess, 1))
        share = share if residual.ndim == 2 else share[..., None]
        guarded = array[top : top + GUARD_ROWS] - share * residual[kept]
        denoised[top : top + GUARD_ROWS] = UNIT.from_unit(guarded, array.dtype)


def _warn_if_noise_shows(
    array: NDArray[Any], denoised: NDArray[Any], visible: NDArray[np.bool_] | None
) -> None:
    """Warn if next to nothing is removed although flat parts of the image vary."""
    # The level of an image of less than 6 pixels is unknown.
    coarse = float(np.mean(estimate_scale_levels(color_planes(array), visible, scales=(2,))))
    changes = color_planes(array).astype(np.float64) - color_planes(denoised)
    # Fine texture of clean photos, such as fur, reaches more than correlated noise that is barely visible.
    if not coarse > TEXTURE * IntensityRange.of(array).span:
        return
    if float(np.sqrt(np.square(changes).mean())) < LITTLE * coarse:
        warn_user(
            "Next to nothing was removed, although even the flattest parts of the image vary by "
            f"{coarse:.3g} over two pixels. If this is noise and not texture, pass noise='camera', or "
            f"sigma={COARSE_LEVEL * coarse:.3g}.",
            NoiseMismatchWarning,
        )


def blend(
    array: NDArray[Any],
    noisy: NDArray[Any],
    denoised: NDArray[Any],
    visible: NDArray[np.bool_] | None,
    strength: float,
) -> NDArray[Any]:
    """Blend a denoised image with the noisy one; hidden pixels stay.

    Parameters
    ----------
    array : ndarray
        Image of the user.
    noisy, denoised : ndarray
        Images with values in place of hidden pixels.
    visible : ndarray of bool of shape (height, width), optional
        Pixels with a value of their own.
    strength : float
        Share of the denoised image.
    """
    result = denoised
    if strength < 1:
        mixed = (1 - strength) * noisy.astype(np.float64) + strength * denoised
        result = np.rint(mixed).astype(array.dtype) if array.dtype.kind in "iu" else mixed.astype(array.dtype)
    if visible is not None:
        result[~visible] = array[~visible]
    return result
