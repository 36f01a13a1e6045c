"""Metrics of denoised signals, by the definitions of the ECG literature.

Signals are of shape (n, length) or (n, channels, length), time last, or a list of signals of different
lengths. All metrics are means over samples. That of a sample of several channels is the mean over its
channels, because channels may differ in offset and unit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sk_denoise._validation import check_numbers, refuse_masked
from sk_denoise.metrics._metrics import PSNR_CAP, mean_over_samples

__all__ = ["cosine_similarity", "mad", "prd", "snr", "snr_gain", "ssd"]

# Signals of shape (n_samples, n_channels, length).
Signals = NDArray[np.float64]


def ssd(
    truth: ArrayLike | Sequence[ArrayLike],
    prediction: ArrayLike | Sequence[ArrayLike],
    *,
    sample_weight: ArrayLike | None = None,
) -> float:
    """Sum of squared distances of a signal, in the squared unit of the data.

    The sum over time, and the mean over channels and samples. It grows with the length of the signals.

    Parameters
    ----------
    truth, prediction : array-like of shape (n_samples, length) or (n_samples, n_channels, length), or list
        Clean signals and denoised versions of the noisy ones. Signals of different lengths are given as a
        list of arrays of shape (length,) or (n_channels, length).
    sample_weight : array-like of shape (n_samples,), optional
        Weight of each sample in the mean.

    Returns
    -------
    float
        At least 0; a perfect prediction gives 0.

    References
    ----------
    F. P. Romero, D. C. Piñol and C. R. Vázquez-Seisdedos, "DeepFilter: an ECG baseline wander removal filter
    using deep learning techniques", Biomedical Signal Processing and Control 70 (2021).

    Examples
    --------
    >>> from sk_denoise.metrics import ssd
    >>> ssd([[0.0, 1.0, 3.0]], [[0.0, 2.0, 1.0]])
    5.0
    """
    return _mean(
        lambda t, p: np.square(t - p).sum(axis=-1), sample_weight, truth=truth, prediction=prediction
    )


def mad(
    truth: ArrayLike | Sequence[ArrayLike],
    prediction: ArrayLike | Sequence[ArrayLike],
    *,
    sample_weight: ArrayLike | None = None,
) -> float:
    """Maximum absolute distance of a signal, in the unit of the data.

    The maximum over time, and the mean over channels and samples. In the ECG literature this is MAD; it is no
    median and no mean of absolute deviations.

    Parameters
    ----------
    truth, prediction : array-like of shape (n_samples, length) or (n_samples, n_channels, length), or list
        Clean signals and denoised versions of the noisy ones. Signals of different lengths are given as a
        list of arrays of shape (length,) or (n_channels, length).
    sample_weight : array-like of shape (n_samples,), optional
        Weight of each sample in the mean.

    Returns
    -------
    float
        At least 0; a perfect prediction gives 0.

    References
    ----------
    F. P. Romero, D. C. Piñol and C. R. Vázquez-Seisdedos, "DeepFilter: an ECG baseline wander removal filter
    using deep learning techniques", Biomedical Signal Processing and Control 70 (2021).

    Examples
    --------
    >>> from sk_denoise.metrics import mad
    >>> mad([[0.0, 1.0, 3.0]], [[0.0, 2.0, 1.0]])
    2.0
    """

    def measure(t: Signals, p: Signals) -> Signals:
        return np.asarray(np.abs(t - p).max(axis=-1))

    return _mean(measure, sample_weight, truth=truth, prediction=prediction)


def prd(
    truth: ArrayLike | Sequence[ArrayLike],
    prediction: ArrayLike | Sequence[ArrayLike],
    *,
    remove_mean: bool = True,
    sample_weight: ArrayLike | None = None,
) -> float:
    """Percentage root-mean-square difference of a signal.

    For each channel, ``100 * sqrt(sum((truth - prediction) ** 2) / sum((truth - mean(truth)) ** 2))``, and
    the mean over channels and samples.

    Parameters
    ----------
    truth, prediction : array-like of shape (n_samples, length) or (n_samples, n_channels, length), or list
        Clean signals and denoised versions of the noisy ones. Signals of different lengths are given as a
        list of arrays of shape (length,) or (n_channels, length).
    remove_mean : bool, default=True
        Whether the mean over time of each clean channel is subtracted in the denominator. Otherwise the
        offset of a recorder makes the difference look small. Some authors call the value without the mean
        PRDN.
    sample_weight : array-like of shape (n_samples,), optional
        Weight of each sample in the mean.

    Returns
    -------
    float
        In percent, at least 0. A perfect prediction gives 0, and the mean of a signal 100. A channel without
        variation, or of zeros without ``remove_mean``, gives 0 if it was predicted exactly and infinity
        otherwise.

    Notes
    -----
    Published code of the reference divides by the energy of the prediction around the mean of all clean
    signals. Its values differ, and are lower for predictions with too much energy.

    References
    ----------
    F. P. Romero, D. C. Piñol and C. R. Vázquez-Seisdedos, "DeepFilter: an ECG baseline wander removal filter
    using deep learning techniques", Biomedical Signal Processing and Control 70 (2021).

    Examples
    --------
    >>> from sk_denoise.metrics import prd
    >>> prd([[0.0, 2.0, 4.0]], [[0.0, 2.0, 2.0]])  # 100 * sqrt(4 / 8)
    70.71067811865476
    >>> prd([[0.0, 2.0, 4.0]], [[0.0, 2.0, 2.0]], remove_mean=False)  # 100 * sqrt(4 / 20)
    44.721359549995796
    """

    def measure(t: Signals, p: Signals) -> Signals:
        errors, energies = np.square(t - p).sum(axis=-1), _energies(t, remove_mean)
        ratios = np.full(errors.shape, np.inf)
        np.divide(errors, energies, out=ratios, where=energies > 0)
        ratios[errors == 0] = 0.0
        return 100 * np.sqrt(ratios)

    return _mean(measure, sample_weight, truth=truth, prediction=prediction)


def cosine_similarity(
    truth: ArrayLike | Sequence[ArrayLike],
    prediction: ArrayLike | Sequence[ArrayLike],
    *,
    sample_weight: ArrayLike | None = None,
) -> float:
    """Cosine of the angle between clean and denoised signals.

    It compares the shape of signals, and is independent of their amplitude. The mean over channels and
    samples.

    Parameters
    ----------
    truth, prediction : array-like of shape (n_samples, length) or (n_samples, n_channels, length), or list
        Clean signals and denoised versions of the noisy ones. Signals of different lengths are given as a
        list of arrays of shape (length,) or (n_channels, length).
    sample_weight : array-like of shape (n_samples,), optional
        Weight of each sample in the mean.

    Returns
    -------
    float
        From -1 to 1; a perfect prediction gives 1. A channel of zeros has no direction: it gives 1 beside
        another one of zeros, and else 0.

    References
    ----------
    F. P. Romero, D. C. Piñol and C. R. Vázquez-Seisdedos, "DeepFilter: an ECG baseline wander removal filter
    using deep learning techniques", Biomedical Signal Processing and Control 70 (2021).

    Examples
    --------
    >>> from sk_denoise.metrics import cosine_similarity
    >>> cosine_similarity([[3.0, 4.0]], [[4.0, 3.0]])
    0.96
    """

    def measure(t: Signals, p: Signals) -> Signals:
        # In units of their largest values, squares of tiny or huge signals stay finite.
        peaks = [np.abs(side).max(axis=-1, keepdims=True) for side in (t, p)]
        t, p = (side / np.where(peak > 0, peak, 1.0) for side, peak in zip((t, p), peaks, strict=True))
        norms = np.sqrt(np.square(t).sum(axis=-1) * np.square(p).sum(axis=-1))
        are_zeros = (peaks[0] == 0) & (peaks[1] == 0)
        cosines: Signals = are_zeros[..., 0].astype(np.float64)
        np.divide((t * p).sum(axis=-1), norms, out=cosines, where=norms > 0)
        return np.clip(cosines, -1.0, 1.0)

    return _mean(measure, sample_weight, truth=truth, prediction=prediction)


def snr(
    truth: ArrayLike | Sequence[ArrayLike],
    prediction: ArrayLike | Sequence[ArrayLike],
    *,
    remove_mean: bool = False,
    cap: float | None = PSNR_CAP,
    sample_weight: ArrayLike | None = None,
) -> float:
    """Signal-to-noise ratio of a signal in dB.

    For each channel, ``10 * log10(sum(truth ** 2) / sum((truth - prediction) ** 2))``, and the mean over
    channels and samples. Of noisy signals, it is the SNR of the input.

    Parameters
    ----------
    truth, prediction : array-like of shape (n_samples, length) or (n_samples, n_channels, length), or list
        Clean signals and denoised versions of the noisy ones. Signals of different lengths are given as a
        list of arrays of shape (length,) or (n_channels, length).
    remove_mean : bool, default=False
        Whether the mean over time of each clean channel is subtracted before its power is computed, for
        recordings with an offset.
    cap : float or None, default=100.0
        Maximum SNR of a channel in dB, that of a perfect one. With None, one perfect channel makes the mean
        infinite.
    sample_weight : array-like of shape (n_samples,), optional
        Weight of each sample in the mean.

    Returns
    -------
    float
        In dB; higher is better. A channel of zeros that was not predicted exactly gives minus infinity.

    See Also
    --------
    snr_gain : Difference of the SNR of output and input.
    psnr : Ratio to the data range in place of the power of the signal.

    Examples
    --------
    >>> from sk_denoise.metrics import snr
    >>> snr([[3.0, 1.0]], [[3.0, 2.0]])  # 10 * log10(10 / 1)
    10.0
    """

    def measure(t: Signals, p: Signals) -> Signals:
        return _decibels(_energies(t, remove_mean), np.square(t - p).sum(axis=-1), cap)

    return _mean(measure, sample_weight, truth=truth, prediction=prediction)


def snr_gain(
    truth: ArrayLike | Sequence[ArrayLike],
    noisy: ArrayLike | Sequence[ArrayLike],
    prediction: ArrayLike | Sequence[ArrayLike],
    *,
    cap: float | None = PSNR_CAP,
    sample_weight: ArrayLike | None = None,
) -> float:
    """Improvement of the signal-to-noise ratio by a denoiser, in dB.

    The SNR of the output minus that of the input. The power of the signal cancels, so that for each channel
    it is ``10 * log10(sum((noisy - truth) ** 2) / sum((prediction - truth) ** 2))``. The mean over channels
    and samples.

    Parameters
    ----------
    truth, noisy, prediction : array-like of shape (n_samples, length) or (n_samples, n_channels, length), \
            or list
        Clean signals, noisy ones, and denoised versions of the noisy ones. Signals of different lengths are
        given as a list of arrays of shape (length,) or (n_channels, length).
    cap : float or None, default=100.0
        Maximum gain of a channel in dB, that of a perfect one, and maximum loss. None allows infinite values.
    sample_weight : array-like of shape (n_samples,), optional
        Weight of each sample in the mean.

    Returns
    -------
    float
        In dB; higher is better, and 0 for a prediction that equals the noisy signals or is as far from the
        truth.

    See Also
    --------
    snr : Signal-to-noise ratio of one side.

    Examples
    --------
    >>> from sk_denoise.metrics import snr_gain
    >>> snr_gain([[0.0, 0.0]], [[10.0, 0.0]], [[0.0, 1.0]])  # 10 * log10(100 / 1)
    20.0
    """

    def measure(t: Signals, x: Signals, p: Signals) -> Signals:
        before, after = (np.square(side - t).sum(axis=-1) for side in (x, p))
        # Signals without noise that stay as they are gain nothing.
        before, after = (np.where((before == 0) & (after == 0), 1.0, side) for side in (before, after))
        gains = _decibels(before, after, cap)
        return gains if cap is None else np.maximum(gains, -cap)

    return _mean(measure, sample_weight, truth=truth, noisy=noisy, prediction=prediction)


def _energies(signals: Signals, remove_mean: bool) -> Signals:
    """Return the energy of each channel, around its mean if that is removed."""
    if remove_mean:
        centred = signals - signals.mean(axis=-1, keepdims=True)
        # The mean of equal values may differ from them in the last digit.
        signals = np.where(np.ptp(signals, axis=-1, keepdims=True) == 0, 0.0, centred)
    energies: Signals = np.square(signals).sum(axis=-1)
    return energies


def _decibels(energies: Signals, errors: Signals, cap: float | None) -> Signals:
    """Return ratios in dB; an error of zero gives the cap."""
    ratios = np.full(errors.shape, np.inf)
    np.divide(energies, errors, out=ratios, where=errors > 0)
    # Without any error and any energy, as little is lost as is there.
    if cap is None:
        ratios[(errors == 0) & (energies == 0)] = 1.0
    # A signal of zeros has no power.
    with np.errstate(divide="ignore"):
        decibels: Signals = 10 * np.log10(ratios)
    return decibels if cap is None else np.minimum(decibels, cap)


def _mean(measure: Callable[..., Signals], sample_weight: ArrayLike | None, **sides: Any) -> float:
    """Return the mean over channels and samples of a measure of each channel."""
    groups = {name: _as_signals(side, name) for name, side in sides.items()}
    first, *others = groups
    shapes = {name: [stack.shape for stack in stacks] for name, stacks in groups.items()}
    for name in others:
        if shapes[name] != shapes[first]:
            raise ValueError(
                f"{first} has {_describe(shapes[first])}, {name} {_describe(shapes[name])}: they must be the "
                "same."
            )
    values = [measure(*stacks).mean(axis=-1) for stacks in zip(*groups.values(), strict=True)]
    return mean_over_samples(np.concatenate(values), sample_weight)


def _describe(shapes: list[tuple[int, ...]]) -> str:
    """Return the shape of a stack of signals, or of the signals of a list, in words."""
    if len(shapes) == 1:
        n, channels, length = shapes[0]
        return f"shape {(n, length) if channels == 1 else (n, channels, length)}"
    return f"{len(shapes)} signals of shapes {', '.join(str(shape[1:]) for shape in shapes[:3])}, ..."


def _as_signals(samples: Any, name: str) -> list[Signals]:
    """Return a stack of signals (n, channels, length), or one for each item of a list."""
    if isinstance(samples, list | tuple):
        refuse_masked(samples, name)
        parts = [np.asarray(part) for part in samples]
        if len({part.shape for part in parts}) > 1:
            return [
                _as_stack(check_numbers(part, f"{name}[{i}]")[None], name) for i, part in enumerate(parts)
            ]
    return [_as_stack(check_numbers(samples, name), name)]


def _as_stack(array: NDArray[Any], name: str) -> Signals:
    """Return an array of signals as (n, channels, length)."""
    if array.ndim == 4 and array.shape[1] == 1:
        # Batches inside the library are images of height 1, with their channels last.
        array = np.moveaxis(array[:, 0], -1, 1)
    if array.ndim == 2:
        array = array[:, None]
    if array.ndim != 3:
        single = " A single signal needs a first axis: x[None]." if array.ndim < 2 else ""
        raise ValueError(
            f"{name} has shape {array.shape}, expected signals of shape (n_samples, length) or (n_samples, "
            f"n_channels, length), or a list of signals.{single}"
        )
    if 0 in array.shape:
        raise ValueError(f"{name} has shape {array.shape}: each axis needs at least one entry.")
    return array.astype(np.float64, copy=False)
