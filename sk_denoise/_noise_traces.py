"""Detection of noisy data that lost their clean source on the way to an estimator.

The output of a noiser carries its clean source (:mod:`._clean_source`) until a step such as a scaler makes a
new array of it. An estimator would then take noisy data for clean data, and learn to keep the noise. So
noisers keep a sample of their latest outputs, and later data are compared with it.

The comparison is a statistical test: are the data more similar to the noisy sample than to new corruptions of
the same clean sample? Data from the clean side, or from elsewhere, are as similar to one draw of the noise as
to any other. This holds for every kind of noise and after every transformation. Data made from the noisy side
repeat the noise of one draw.
"""

from __future__ import annotations

import copy
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sk_denoise._random import stream
from sk_denoise._resources import threads_for_entries
from sk_denoise._validation import as_float_array, as_numeric_array, as_tensor, warn_user
from sk_denoise.exceptions import CleanTargetWarning

__all__ = ["remember_noise", "warn_of_lost_source", "warn_of_missed_step"]

# Number of outputs that are kept in each thread.
MAX_TRACES = 4
# Size of the sample that is kept of an output.
MAX_ENTRIES, MAX_ROWS, MAX_COLUMNS = 2**17, 256, 64
# Outputs with larger samples are not kept: a single row would take too much memory.
MAX_SAMPLE_ENTRIES = 2**22
# Number of new corruptions in a comparison.
N_CORRUPTIONS = 16
# Fewest samples, or entries of a sample, that show an association.
MIN_COUNT = 8
# In standard deviations of the new corruptions. About one in a billion fits exceeds it by chance.
THRESHOLD = 10.0
# Differences between correlations in single precision.
ROUNDING = 1e-6

Array = NDArray[np.float64]

_memory = threading.local()


@dataclass(frozen=True, eq=False)
class _NoiseTrace:
    """A sample of an output of a noiser.

    Attributes
    ----------
    n_samples : int
        Number of samples in the output.
    rows : ndarray of int
        Indices of the samples that are kept.
    clean, noisy : ndarray of shape (n_rows, ...)
        The kept samples, as floats, before and after the noiser.
    noiser : noiser
        A copy of the fitted noiser.
    """

    n_samples: int
    rows: NDArray[np.intp]
    clean: NDArray[Any]
    noisy: NDArray[Any]
    noiser: Any

    def corrupt_again(self, number: int) -> NDArray[Any]:
        """Return the clean samples with another draw of the noise."""
        generator = stream(0, "traces", number)
        with threads_for_entries(self.clean.size):
            corrupted: torch.Tensor = self.noiser.corrupt(as_tensor(self.clean), generator)
        return corrupted.numpy()

    def is_in(self, samples: NDArray[Any]) -> bool:
        """Return whether samples, in the order of the kept ones, hold their noise."""
        if np.array_equal(samples, self.clean):
            return False
        if np.array_equal(samples, self.noisy):
            return not np.array_equal(self.clean, self.noisy)
        measures = _similarity_measures(_flatten(samples), _flatten(self.noisy))
        if not measures:
            return False
        corrupted = [_flatten(self.corrupt_again(number)) for number in range(N_CORRUPTIONS)]
        return any(_stands_out(measure, _flatten(self.noisy), corrupted) for measure in measures)


def remember_noise(clean: NDArray[Any], noisy: NDArray[Any], noiser: Any) -> None:
    """Keep a sample of the output of a fitted noiser, for later comparisons."""
    if not len(clean) or clean[0].size > MAX_SAMPLE_ENTRIES:
        return
    n_rows = int(np.clip(MAX_ENTRIES // clean[0].size, 1, MAX_ROWS))
    rows = np.unique(np.linspace(0, len(clean) - 1, n_rows).astype(np.intp))
    sample = as_float_array(clean[rows]), noisy[rows]
    _traces().append(_NoiseTrace(len(clean), rows, *sample, copy.copy(noiser)))


def warn_of_lost_source(samples: Any, y: Any = None, name: str = "X") -> None:
    """Warn if samples taken as clean hold the noise of a recent output of a noiser.

    Outputs of other threads are unknown here.

    Parameters
    ----------
    samples : ndarray or sequence of ndarray
        Samples that carry no source.
    y : optional
        The y of ``fit``. If it equals the samples, these are the clean side on purpose, without a warning.
    name : str, default="X"
        Name of the samples in the message.
    """
    if y is samples or (y is not None and np.array_equal(as_numeric_array(y), samples)):
        return
    trace = _trace_in(samples)
    if trace is None:
        return
    warn_user(
        f"{name} holds the noise of {trace.noiser!r}, and lost its clean source on the way, as in a scaler "
        "behind the noiser: noisy data count as clean now, and the noise is learned with them. Put the "
        "noiser directly before the denoiser, and scalers before the noiser; or give the clean side as "
        "X_clean=. If noisy data are to count as clean, say so by fit(X, X).",
        CleanTargetWarning,
    )


def warn_of_missed_step(samples: Any, y: NDArray[Any]) -> None:
    """Warn if a step changed the noisy samples, and y is their clean side before it."""
    trace = _trace_in(samples)
    if trace is None:
        return
    noisy, clean = np.asarray(samples)[trace.rows], as_numeric_array(y)[trace.rows]
    if np.allclose(noisy, trace.noisy, rtol=1e-3, atol=0) or not np.array_equal(clean, trace.clean):
        return
    warn_user(
        f"X came out of {trace.noiser!r} and was changed since, as by a scaler behind it; y is the clean "
        "side from before that change, in another unit. Put scalers before the noiser, and pass no y.",
        CleanTargetWarning,
    )


def _trace_in(samples: Any) -> _NoiseTrace | None:
    """Return the trace of the noise in the samples, or None.

    The samples must be as many as those of the output, and in the same order.
    """
    for trace in reversed(_traces()):
        if trace.n_samples != len(samples):
            continue
        kept = [np.asarray(samples[row]) for row in trace.rows]
        if len({x.shape for x in kept}) == 1 and trace.is_in(np.stack(kept)):
            return trace
    return None


def _traces() -> deque[_NoiseTrace]:
    if not hasattr(_memory, "traces"):
        _memory.traces = deque(maxlen=MAX_TRACES)
    traces: deque[_NoiseTrace] = _memory.traces
    return traces


def _stands_out(measure: Callable[[Array], float], noisy: Array, corrupted: list[Array]) -> bool:
    """Return whether noisy samples are far more similar than all new corruptions."""
    others = np.array([measure(samples) for samples in corrupted])
    gain = measure(noisy) - others.max()
    return bool(gain > ROUNDING and gain > THRESHOLD * others.std())


def _similarity_measures(samples: Array, noisy: Array) -> list[Callable[[Array], float]]:
    """Return the functions that measure similarity with samples of this shape."""
    measures: list[Callable[[Array], float]] = []
    n, width = samples.shape
    # Correlations of columns detect steps that scale, select or reorder features.
    if n >= MIN_COUNT:
        columns = _standardize(samples[:, _spread_columns(width)])
        measures.append(lambda other: _mean_best_correlation(columns, other))
    # Correlations of rows detect steps that scale images.
    if width == noisy.shape[1] >= MIN_COUNT:
        rows = _standardize(samples.T)
        measures.append(lambda other: float(np.abs((rows * _standardize(other.T)).sum(0)).mean()))
    # Regression detects steps that mix features, such as projections. It needs more samples than features.
    if n >= noisy.shape[1] + 1 + MIN_COUNT:
        mixed = _standardize(samples[:, _spread_columns(width)])
        measures.append(lambda other: _explained_variance(mixed, other))
    # Distances between samples detect other steps.
    if n >= 2 * MIN_COUNT:
        distances = _log_distances(samples)
        measures.append(lambda other: float(np.corrcoef(distances, _log_distances(other))[0, 1]))
    return measures


def _mean_best_correlation(columns: Array, other: Array) -> float:
    """Return the mean correlation of columns with the most similar other ones."""
    return float(np.abs(columns.T @ _standardize(other)).max(axis=1).mean())


def _explained_variance(columns: Array, other: Array) -> float:
    """Return the share of the variance of columns explained by a linear model."""
    basis, _ = np.linalg.qr(np.column_stack([np.ones(len(other)), other]))
    total = np.square(columns).sum()
    return float(np.square(basis.T @ columns).sum() / total) if total else 0.0


def _log_distances(samples: Array) -> Array:
    """Return the logarithm of the distances between pairs of near and far samples."""
    n = len(samples)
    lags = np.unique(np.geomspace(1, n // 2, 8).astype(int))
    squared = [np.square(samples - np.roll(samples, lag, axis=0)).sum(axis=1) for lag in lags]
    return np.asarray(np.log(np.concatenate(squared) + np.finfo(float).tiny))


def _standardize(table: Array) -> Array:
    """Scale columns to mean 0 and norm 1, so that their products are correlations.

    Constant columns become 0.
    """
    centered = table - table.mean(axis=0)
    norms = np.sqrt(np.square(centered).sum(axis=0))
    return np.asarray(np.divide(centered, norms, out=np.zeros_like(centered), where=norms > 0))


def _spread_columns(width: int) -> NDArray[np.intp]:
    """Return the indices of columns from all over a table."""
    return np.unique(np.linspace(0, width - 1, min(width, MAX_COLUMNS)).astype(np.intp))


def _flatten(samples: NDArray[Any]) -> Array:
    return samples.reshape(len(samples), -1).astype(np.float64)
