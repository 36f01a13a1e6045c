"""Calibration of an ensemble: from the spread of predictions to their error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["calibrate", "mean_and_variance"]

# Smallest squared floor, as a share of the mean squared error: no standard deviation becomes 0.
MIN_FLOOR = 0.05
# Weight of the mean over an image in the floor of a pixel, in samples.
MEAN_WEIGHT = 5
# Keeps a division by the variance of spreads finite.
TINY = 1e-300


def calibrate(
    mean: Any,
    variance: Any,
    clean: Any,
    sample_weight: NDArray[Any] | None,
    *,
    by_entry: bool,
    is_table: bool,
) -> tuple[Any, float]:
    """Return the floor and the gain of ``std ** 2 = floor ** 2 + gain * variance``.

    The gain is the slope of squared errors over variances, with errors of each entry in units of their mean.
    The squared floor of an entry is the remaining part of its mean squared error.

    Parameters
    ----------
    mean, variance, clean : ndarray of shape (n_samples, ...), or list of ndarray
        Mean and variance of the predictions for held-out samples, and the clean samples.
    sample_weight : ndarray of shape (n_samples,) or None
        Weight of each sample; None for equal weights.
    by_entry : bool
        Whether each entry of a sample has its own floor.
    is_table : bool
        Whether entries have different units. Otherwise the floors of few samples are shrunk to their mean.

    Returns
    -------
    floor : ndarray of the shape of a sample, or float
        At least 0.
    gain : float
        At least 0.
    """
    errors = _concatenate([np.square(m - c) for m, c in _pair_arrays(mean, clean)])
    spreads = _concatenate([v for v, _ in _pair_arrays(variance, clean)])
    per_sample = np.ones(len(clean)) if sample_weight is None else sample_weight
    weights = _concatenate([np.full(c.shape, w) for w, c in _pair_weights(per_sample, clean)])
    mean_error, mean_spread = (_means(x, weights, by_entry, is_table) for x in (errors, spreads))
    # In units of its mean error, each entry has the same weight in the slope, for any unit of the data.
    scale = np.where(mean_error > 0, 1 / np.where(mean_error > 0, mean_error, 1), 0)
    error_excess, spread_excess = (errors - mean_error) * scale, (spreads - mean_spread) * scale
    slope = (weights * error_excess * spread_excess).sum() / max(
        (weights * np.square(spread_excess)).sum(), TINY
    )
    gain = max(0.0, float(slope))
    floor = np.sqrt(np.maximum(mean_error - gain * mean_spread, MIN_FLOOR * mean_error))
    return (floor if by_entry else float(floor)), gain


def _means(squares: NDArray[Any], weights: NDArray[Any], by_entry: bool, is_table: bool) -> NDArray[Any]:
    """Return the weighted means over samples, of each entry or of all."""
    if not by_entry:
        return np.asarray(np.average(squares, weights=weights))
    means, n = np.asarray(np.average(squares, axis=0, weights=weights)), len(squares)
    if is_table:
        return means
    # Neighbouring entries share a unit, so that their mean steadies the few squares of one entry.
    return np.asarray((n * means + MEAN_WEIGHT * means.mean()) / (n + MEAN_WEIGHT))


def mean_and_variance(predictions: Iterator[Any]) -> tuple[Any, Any]:
    """Return the mean and the variance of arrays, or of lists of arrays.

    One pass (Welford) holds one prediction at a time in memory.
    """
    first = next(predictions)
    is_list = isinstance(first, list)
    means = [np.array(x) for x in (first if is_list else [first])]
    squares = [np.zeros_like(x) for x in means]
    count = 1
    for prediction in predictions:
        count += 1
        for mean, square, x in zip(means, squares, prediction if is_list else [prediction], strict=True):
            distance = x - mean
            mean += distance / count
            square += distance * (x - mean)
    variances = [square / max(1, count - 1) for square in squares]
    return (means, variances) if is_list else (means[0], variances[0])


def _pair_arrays(first: Any, second: Any) -> Any:
    """Return pairs of arrays (n, ...), one for stacks, one for each image of lists."""
    if isinstance(first, list | tuple):
        return [(np.asarray(a)[None], np.asarray(b)[None]) for a, b in zip(first, second, strict=True)]
    return [(np.asarray(first), np.asarray(second))]


def _pair_weights(weights: NDArray[Any], clean: Any) -> Any:
    """Return pairs of weights and arrays (n, ...), in shapes that broadcast."""
    if isinstance(clean, list | tuple):
        return [(weight, np.asarray(c)[None]) for weight, c in zip(weights, clean, strict=True)]
    array = np.asarray(clean)
    return [(weights.reshape(-1, *(1,) * (array.ndim - 1)), array)]


def _concatenate(parts: list[NDArray[Any]]) -> NDArray[np.float64]:
    """Return a stack as it is, and images of different sizes as one flat array."""
    if len(parts) == 1:
        return np.asarray(parts[0], dtype=np.float64)
    return np.concatenate([np.asarray(part, dtype=np.float64).ravel() for part in parts])
