"""Metrics of denoised data: truth first, prediction second, the mean over samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sk_denoise._intensity import UNIT, IntensityRange, has_image_depth
from sk_denoise._row_noise import are_signals
from sk_denoise._scaling import AffineScaler, compute_moments, find_wild_limits, iterate_chunks
from sk_denoise._validation import (
    as_float_array,
    as_tensor,
    check_numbers,
    check_sample_weight,
    refuse_channels_first,
    refuse_single_image,
    warn_of_single_image,
    warn_user,
)

__all__ = [
    "PSNR_CAP",
    "find_column_gains",
    "is_table",
    "luminance",
    "luminance_psnr",
    "mean_over_samples",
    "mse",
    "nmse",
    "psnr",
    "psnr_of_mse",
    "psnr_per_sample",
    "ssim",
]

# PSNR of a perfect sample in dB, so that one of them leaves the mean finite
PSNR_CAP = 100.0
# Luminance of ITU-R BT.601 from R, G and B in [0, 1], in levels of 8 bits: black is 16 and white 235
LUMA_WEIGHTS, LUMA_BLACK, LUMA_LEVELS = (65.481, 128.553, 24.966), 16.0, 255.0
# Side of the window of SSIM in pixels: 3.5 deviations of 1.5 pixels to each side, rounded
GAUSSIAN_WINDOW = 11


def mse(truth: ArrayLike, prediction: ArrayLike, *, sample_weight: ArrayLike | None = None) -> float:
    """Mean squared error, in the squared unit of the data.

    Parameters
    ----------
    truth, prediction : array-like of shape (n_samples, ...)
        Clean samples and denoised versions of the noisy ones.
    sample_weight : array-like of shape (n_samples,), optional
        Weight of each sample in the mean.

    Returns
    -------
    float
        At least 0; a perfect prediction gives 0.

    Examples
    --------
    >>> from sk_denoise.metrics import mse
    >>> mse([[0.0, 1.0]], [[0.0, 0.5]])
    0.125
    """
    warn_of_single_image(truth, "samples", "truth")
    return mean_over_samples(_squared_errors(*_pair(truth, prediction)), sample_weight)


def nmse(truth: ArrayLike, prediction: ArrayLike, *, sample_weight: ArrayLike | None = None) -> float:
    """Normalised mean squared error: the squared error over the squared norm.

    The mean over samples.

    Parameters
    ----------
    truth, prediction : array-like of shape (n_samples, ...)
        Clean samples and denoised versions of the noisy ones.
    sample_weight : array-like of shape (n_samples,), optional
        Weight of each sample in the mean.

    Returns
    -------
    float
        At least 0, without a unit; a perfect prediction gives 0, all zeros give 1. A sample with a truth of
        zeros gives 0 if it was predicted exactly and infinity otherwise.

    Examples
    --------
    >>> from sk_denoise.metrics import nmse
    >>> nmse([[0.0, 2.0]], [[0.0, 1.0]])
    0.25
    """
    warn_of_single_image(truth, "samples", "truth")
    t, p = _pair(truth, prediction)
    errors, norms = _squared_errors(t, p), _squared_errors(t, np.zeros_like(t))
    # A truth of zeros has no norm: only an exact prediction of it has a finite error.
    ratios = np.full(len(t), np.inf)
    np.divide(errors, norms, out=ratios, where=norms > 0)
    ratios[errors == 0] = 0.0
    return mean_over_samples(ratios, sample_weight)


def psnr(
    truth: ArrayLike,
    prediction: ArrayLike,
    *,
    data_range: float,
    cap: float | None = PSNR_CAP,
    sample_weight: ArrayLike | None = None,
) -> float:
    """Peak signal-to-noise ratio in dB, the mean over samples.

    For each sample, ``10 log10(data_range ** 2 / mse)``. Published tables give the mean over samples, too;
    the PSNR of the mean squared error is lower.

    Parameters
    ----------
    truth, prediction : array-like of shape (n_samples, ...)
        Clean samples and denoised versions of the noisy ones. A single image needs a first
        axis of length one.
    data_range : float
        Distance between the smallest and the largest possible value: 1 for images in [0, 1], 255 for 8 bits.
    cap : float or None, default=100.0
        Maximum PSNR of a sample in dB, that of a perfect sample. With None, one perfect sample makes the mean
        infinite.
    sample_weight : array-like of shape (n_samples,), optional
        Weight of each sample in the mean.

    Returns
    -------
    float
        In dB; higher is better.

    Examples
    --------
    >>> from sk_denoise.metrics import psnr
    >>> round(psnr([[0.0, 1.0]], [[0.1, 0.9]], data_range=1), 2)
    20.0
    """
    warn_of_single_image(truth, "samples", "truth")
    return mean_over_samples(psnr_per_sample(truth, prediction, data_range, cap), sample_weight)


def luminance_psnr(
    truth: ArrayLike,
    prediction: ArrayLike,
    *,
    data_range: float,
    border: int = 0,
    cap: float | None = PSNR_CAP,
    sample_weight: ArrayLike | None = None,
) -> float:
    """PSNR of the luminance in dB without a border, the mean over samples.

    The metric of tables of super-resolution. They cut a border of as many pixels as the factor of
    enlargement, and round and clip images to 8 bits first.

    Parameters
    ----------
    truth, prediction : array-like of shape (n_samples, height, width[, channels])
        Clean images and restored ones, gray or RGB, channels last.
    data_range : float
        Value of white; black is 0: 1 for images in [0, 1], 255 for 8 bits.
    border : int, default=0
        Pixels that are cut off at each side.
    cap : float or None, default=100.0
        Maximum PSNR of a sample in dB, that of a perfect sample.
    sample_weight : array-like of shape (n_samples,), optional
        Weight of each sample in the mean.

    Returns
    -------
    float
        In dB; higher is better.

    See Also
    --------
    luminance : The luminance, also for SSIM.

    Notes
    -----
    The luminance of colours spans 219 of 255 levels, and the field relates its errors to all 255. With the
    full range, as in JPEG files, colours would have 1.32 dB less: ``20 log10(255 / 219)``. Gray images are
    their own luminance, in full range.

    References
    ----------
    C. Dong et al., "Image super-resolution using deep convolutional networks", IEEE Transactions on Pattern
    Analysis and Machine Intelligence 38 (2016).

    Examples
    --------
    >>> import numpy as np
    >>> from sk_denoise.metrics import luminance_psnr
    >>> truth = np.zeros((1, 8, 8, 3))
    >>> round(luminance_psnr(truth, truth + 0.1, data_range=1, border=2), 2)
    21.32
    """
    t, p = (
        _luminance(x, name, data_range, border) for x, name in ((truth, "truth"), (prediction, "prediction"))
    )
    _warn_of_range(truth, data_range)
    return mean_over_samples(psnr_per_sample(t, p, data_range, cap), sample_weight)


def luminance(images: ArrayLike, *, data_range: float, border: int = 0) -> NDArray[np.float64]:
    """Return the luminance of images, as ``rgb2ycbcr`` of MATLAB for floats.

    Parameters
    ----------
    images : array-like of shape (n_samples, height, width[, channels])
        Gray or RGB images, channels last.
    data_range : float
        Value of white; black is 0: 1 for images in [0, 1], 255 for 8 bits.
    border : int, default=0
        Pixels that are cut off at each side.

    Returns
    -------
    ndarray of shape (n_samples, height, width)
        Y of ITU-R BT.601 in the unit of the images, not rounded: from 16 / 255 of the range for black to
        235 / 255 for white. Gray images are returned as they are.

    Raises
    ------
    ValueError
        For other numbers of channels, and borders that leave no pixel.

    References
    ----------
    Recommendation ITU-R BT.601, "Studio encoding parameters of digital television".

    Examples
    --------
    The SSIM of tables of super-resolution:

    >>> import numpy as np
    >>> from sk_denoise.metrics import luminance, ssim
    >>> large = np.random.default_rng(0).random((1, 32, 32, 3))
    >>> truth, restored = (luminance(x, data_range=1, border=2) for x in (large, 0.9 * large))
    >>> round(ssim(truth, restored, data_range=1), 2)
    0.99
    """
    return _luminance(images, "images", data_range, border)


def _luminance(images: ArrayLike, name: str, data_range: float, border: int) -> NDArray[np.float64]:
    """Return the luminance of images with a name for messages."""
    check_data_range(data_range)
    samples = check_numbers(images, name)
    channels = samples.shape[3] if samples.ndim == 4 else 1
    if samples.ndim not in (3, 4) or channels not in (1, 3):
        raise ValueError(
            f"The luminance is that of gray or RGB images of shape (n, height, width[, 1 or 3]), {name} has "
            f"shape {samples.shape}. A single image needs a first axis, x[None]; leave out alpha."
        )
    refuse_single_image(samples.shape, name=name)
    if isinstance(border, bool) or not isinstance(border, int | np.integer) or border < 0:
        raise ValueError(f"border must be a number of pixels from 0 on, got {border!r}.")
    if 2 * border >= min(samples.shape[1:3]):
        raise ValueError(
            f"border={border} leaves nothing of {name} of {samples.shape[1]} x {samples.shape[2]} pixels."
        )
    inside = slice(border, -border or None)
    values: NDArray[np.float64] = samples[:, inside, inside].astype(np.float64)
    if samples.ndim == 3 or channels == 1:
        return values.reshape(values.shape[:3])
    weights = np.array(LUMA_WEIGHTS) / LUMA_LEVELS
    weighted: NDArray[np.float64] = values @ weights + LUMA_BLACK / LUMA_LEVELS * float(data_range)
    return weighted


def psnr_per_sample(
    truth: ArrayLike,
    prediction: ArrayLike,
    data_range: float,
    cap: float | None = PSNR_CAP,
    gains: NDArray[Any] | None = None,
) -> NDArray[np.float64]:
    """Return the PSNR in dB of each sample.

    With the ``gains`` of :func:`find_column_gains`, errors are in shares of the data range of each column.
    """
    t, p = _pair(truth, prediction)
    if gains is not None:
        return psnr_of_mse(_squared_errors(t * gains, p * gains), 1.0, cap)
    _warn_of_range(truth, data_range)
    return psnr_of_mse(_squared_errors(t, p), data_range, cap)


def is_table(samples: NDArray[Any], *, are_noisy: bool = False) -> bool:
    """Return whether samples are rows of a table, with a unit for each column.

    The rows of images and of signals have one unit. Numbers in [0, 1] and integers of 8 or 16 bits have a
    black and a white, and neighbours in signals are alike.

    Parameters
    ----------
    samples : ndarray
        Samples in rows; others are no table.
    are_noisy : bool, default=False
        Whether noise may reach beyond [0, 1].
    """
    if samples.ndim != 2 or IntensityRange.known(samples) is not None:
        return False
    has_black_and_white = are_noisy and samples.dtype.kind == "f" and IntensityRange.of(samples) == UNIT
    return not (has_black_and_white or are_signals(samples))


def find_column_gains(clean: NDArray[Any], data_range: float | None = None) -> NDArray[np.float64]:
    """Return factors by which the errors of the columns of a table count alike.

    The product of error and factor is the error as a share of the data range of its column: the range of the
    whole table in spreads, times the spread of the column. A column that is constant has no unit, and the
    factor 0.

    Parameters
    ----------
    clean : ndarray of shape (n_samples, n_features)
        Clean rows.
    data_range : float, optional
        Data range in spreads, in place of that of the rows.
    """
    rows = as_tensor(as_float_array(clean))
    limits = find_wild_limits(rows)
    # Without the cut, one wild value would make errors in its column count for nothing.
    chunks = (
        x if limits is None else x.clamp(limits[0].to(x), limits[1].to(x)) for x in iterate_chunks(rows)
    )
    moments = compute_moments(chunks)
    spread = AffineScaler.from_moments(moments, rows.dtype).spread.numpy()
    live = spread > 0
    if not live.any():
        return np.zeros(len(spread))
    low, high = ((end - moments.mean).numpy()[live] / spread[live] for end in (moments.low, moments.high))
    if data_range is None:
        data_range = float(high.max() - low.min())
    gains = np.zeros(len(spread))
    # The mean over all columns is then that over the columns that vary.
    gains[live] = np.sqrt(len(spread) / live.sum()) / (spread[live] * data_range)
    return gains


def psnr_of_mse(errors: Any, data_range: float, cap: float | None = PSNR_CAP) -> NDArray[np.float64]:
    """Return the PSNR in dB of each of the given mean squared errors."""
    check_data_range(data_range)
    # An error of zero gives an infinite PSNR before the cap.
    with np.errstate(divide="ignore"):
        decibels = 10 * np.log10(data_range**2 / np.asarray(errors, dtype=np.float64))
    return decibels if cap is None else np.minimum(decibels, cap)


def ssim(
    truth: ArrayLike,
    prediction: ArrayLike,
    *,
    data_range: float,
    image_shape: Sequence[int] | None = None,
    sample_weight: ArrayLike | None = None,
) -> float:
    """Structural similarity of images (Wang et al., 2004), the mean over samples.

    As in the paper, local statistics are weighted by a Gaussian of 1.5 pixels and taken without
    correction for the sample. Images that are smaller than its 11 pixels, such as 8 x 8 digits, use a
    uniform window of the largest odd size that fits, at most 7; such values compare only among
    themselves.

    Parameters
    ----------
    truth, prediction : array-like of shape (n_samples, height, width[, channels]) or \
            (n_samples, n_features)
        Clean images and denoised versions of the noisy ones. Flat rows need ``image_shape``.
    data_range : float
        Distance between the smallest and the largest possible value.
    image_shape : tuple of int, optional
        ``(height, width)`` or ``(height, width, channels)`` of a flat row.
    sample_weight : array-like of shape (n_samples,), optional
        Weight of each sample in the mean.

    Returns
    -------
    float
        At most 1; a perfect prediction gives 1.

    References
    ----------
    Z. Wang et al., "Image quality assessment: from error visibility to structural similarity", IEEE
    Transactions on Image Processing 13 (2004).

    Examples
    --------
    >>> import numpy as np
    >>> from sk_denoise.metrics import ssim
    >>> digits = np.eye(8)[None]
    >>> ssim(digits, digits, data_range=1)
    1.0
    """
    from skimage.metrics import structural_similarity

    t, p = _pair(truth, prediction)
    _warn_of_range(truth, data_range)
    if image_shape is not None:
        if math.prod(image_shape) != t[0].size:
            raise ValueError(f"image_shape={tuple(image_shape)} does not fit samples of shape {t.shape[1:]}.")
        t, p = (x.reshape(len(x), *image_shape) for x in (t, p))
    else:
        refuse_channels_first(t.shape[1:], name="truth")
        refuse_single_image(t.shape, name="truth")
    if t.ndim not in (3, 4):
        raise ValueError(
            f"ssim compares images: expected (n_samples, height, width[, channels]), got {t.shape}. "
            "Give the image_shape of flat rows."
        )
    # scikit-image would refuse images smaller than its window.
    side = min(t.shape[1:3])
    if side < 3:
        raise ValueError(f"ssim needs images of at least 3 x 3 pixels, got {t.shape[1:3]}.")
    window: dict[str, Any] = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    if side < GAUSSIAN_WINDOW:
        window = {"win_size": min(7, side - (side + 1) % 2), "use_sample_covariance": False}
    channel_axis = -1 if t.ndim == 4 else None
    values = [
        structural_similarity(a, b, data_range=data_range, channel_axis=channel_axis, **window)
        for a, b in zip(t, p, strict=True)
    ]
    return mean_over_samples(np.array(values), sample_weight)


def mean_over_samples(values: NDArray[Any], sample_weight: ArrayLike | None) -> float:
    """Return the weighted mean over samples."""
    weights = check_sample_weight(sample_weight, values)
    if weights is None:
        return float(values.mean())
    # Infinity times 0 is not a number.
    counted = weights > 0
    return float(np.average(values[counted], weights=weights[counted]))


def _pair(truth: ArrayLike, prediction: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    t, p = check_numbers(truth, "truth"), check_numbers(prediction, "prediction")
    if t.shape != p.shape:
        raise ValueError(f"truth has shape {t.shape}, prediction {p.shape}: they must be the same.")
    if t.ndim < 2:
        raise ValueError(
            f"Expected (n_samples, ...), got {t.shape}. A single sample needs a first axis: x[None]."
        )
    return t.astype(np.float64, copy=False), p.astype(np.float64, copy=False)


def _squared_errors(truth: NDArray[Any], prediction: NDArray[Any]) -> NDArray[Any]:
    """Return the mean squared error of each sample."""
    errors: NDArray[Any] = np.square(truth - prediction).reshape(len(truth), -1).mean(axis=1)
    return errors


def _warn_of_range(truth: ArrayLike, data_range: float) -> None:
    """Warn of integers of an image file with the data range of [0, 1]."""
    check_data_range(data_range)
    # [0, 1] is the range of floats; with it, integers have a PSNR that is far too low.
    clean = np.asarray(truth)
    if has_image_depth(clean.dtype) and data_range <= 1 < clean.max(initial=0):
        white = IntensityRange.of(clean).white
        warn_user(
            f"truth holds {clean.dtype} up to {clean.max()}, and data_range is {data_range:g}. Give it in "
            f"the unit of the data, data_range={white:g}."
        )


def check_data_range(data_range: float) -> None:
    """Check that a data range is a finite number above 0."""
    if not (isinstance(data_range, int | float | np.number) and 0 < data_range < np.inf):
        raise ValueError(f"data_range must be a finite number above 0, got {data_range!r}.")
