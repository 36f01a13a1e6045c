"""From the spread of several answers to a standard deviation that is as large as their error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["calibrate", "mean_and_variance"]

LEAST_FLOOR = 0.05  # of the mean squared error
MEAN_COUNTS = 5  # samples that the mean over an image counts beside those that show a pixel
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

    The gain is the slope of squared errors over variances, within entries that count alike whatever their
    unit; the floor of an entry is what is then missing to its mean squared error.

    Parameters
    ----------
    mean, variance, clean : ndarray of shape (n_samples, ...), or list of ndarray
        Answers to samples that nobody learned from, their spread, and the truth.
    sample_weight : ndarray of shape (n_samples,) or None
        What each sample counts.
    by_entry : bool
        Whether there is a floor for each entry of a sample, or one for all.
    is_table : bool
        Whether entries have units of their own. Otherwise floors of few samples are drawn to the mean.

    Returns
    -------
    floor : ndarray of the shape of a sample, or float
        At least 0.
    gain : float
        At least 0.
    """
    errors = _joined([np.square(m - c) for m, c in _each(mean, clean)])
    spreads = _joined([v for v, _ in _each(variance, clean)])
    weights = np.ones(len(clean)) if sample_weight is None else sample_weight
    counts = _joined([np.full(c.shape, w) for w, c in _weighed(weights, clean)])
    size, level = (_means(x, counts, by_entry, is_table) for x in (errors, spreads))
    share = np.where(size > 0, 1 / np.where(size > 0, size, 1), 0)
    above, wider = (errors - size) * share, (spreads - level) * share
    slope = (counts * above * wider).sum() / max((counts * np.square(wider)).sum(), TINY)
    gain = max(0.0, float(slope))
    floor = np.sqrt(np.maximum(size - gain * level, LEAST_FLOOR * size))
    return (floor if by_entry else float(floor)), gain


def _means(squares: NDArray[Any], counts: NDArray[Any], by_entry: bool, is_table: bool) -> NDArray[Any]:
    """Return the means over samples, of each entry or of all."""
    if not by_entry:
        return np.asarray(np.average(squares, weights=counts))
    means, n = np.asarray(np.average(squares, axis=0, weights=counts)), len(squares)
    return means if is_table else np.asarray((n * means + MEAN_COUNTS * means.mean()) / (n + MEAN_COUNTS))


def mean_and_variance(answers: Iterator[Any]) -> tuple[Any, Any]:
    """Return the mean and the variance of arrays or of lists of arrays, in one pass (Welford)."""
    first = next(answers)
    is_list = isinstance(first, list)
    means = [np.array(x) for x in (first if is_list else [first])]
    squares = [np.zeros_like(x) for x in means]
    count = 1
    for answer in answers:
        count += 1
        for mean, square, x in zip(means, squares, answer if is_list else [answer], strict=True):
            distance = x - mean
            mean += distance / count
            square += distance * (x - mean)
    variances = [square / max(1, count - 1) for square in squares]
    return (means, variances) if is_list else (means[0], variances[0])


def _each(one: Any, other: Any) -> Any:
    """Return pairs of arrays (n, ...), of stacks or of images of lists."""
    if isinstance(one, list | tuple):
        return [(np.asarray(a)[None], np.asarray(b)[None]) for a, b in zip(one, other, strict=True)]
    return [(np.asarray(one), np.asarray(other))]


def _weighed(weights: NDArray[Any], clean: Any) -> Any:
    """Return weights that broadcast, beside the arrays that they belong to."""
    if isinstance(clean, list | tuple):
        return [(weight, np.asarray(c)[None]) for weight, c in zip(weights, clean, strict=True)]
    array = np.asarray(clean)
    return [(weights.reshape(-1, *(1,) * (array.ndim - 1)), array)]


def _joined(parts: list[NDArray[Any]]) -> NDArray[np.float64]:
    if len(parts) == 1:
        return np.asarray(parts[0], dtype=np.float64)
    return np.concatenate([np.asarray(part, dtype=np.float64).ravel() for part in parts])
