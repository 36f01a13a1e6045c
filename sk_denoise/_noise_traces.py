"""Traces that noise leaves in data which lost their clean source on the way.

What comes out of a noiser carries its clean source (:mod:`._clean_source`) until a step such as a scaler
makes a new array of it. An estimator would then take noisy data for clean ones, and learn to keep the noise.
So noisers keep a sample of their latest outputs, with which later data are compared.

The test asks one question: are the data more alike to the noisy sample than to fresh corruptions of the same
clean sample? For data that came from the clean side, or from elsewhere, the noise that was drawn is one draw
among others, of any kind of noise and after any transformation; what was made from the noisy side repeats it.
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
from sk_denoise._resources import threads_for
from sk_denoise._validation import as_float_array, as_numeric_array, as_tensor, warn_user
from sk_denoise.exceptions import CleanTargetWarning

__all__ = ["remember_noise", "warn_of_lost_source", "warn_of_missed_step"]

LATEST = 4  # outputs that a thread remembers
ENTRIES, MOST_ROWS, MOST_COLUMNS = 2**17, 256, 64  # of a sample
LARGEST = 2**22  # entries of a sample that is remembered
FRESH = 16  # corruptions to compare with
LEAST = 8  # samples, or entries of one, that tell an association
CERTAIN = 10.0  # standard deviations of the fresh ones, which one in a billion fits lies beyond
ROUNDING = 1e-6  # differences of correlations in single precision

Array = NDArray[np.float64]

_memory = threading.local()


@dataclass(frozen=True, eq=False)
class _Trace:
    """Some samples of an output of a noiser.

    Attributes
    ----------
    n_samples : int
        How many there were.
    rows : ndarray of int
        Which of them are kept.
    clean, noisy : ndarray of shape (n_rows, ...)
        The clean samples, floating, and what the noiser made of them.
    noiser : noiser
        It, fitted.
    """

    n_samples: int
    rows: NDArray[np.intp]
    clean: NDArray[Any]
    noisy: NDArray[Any]
    noiser: Any

    def fresh(self, number: int) -> NDArray[Any]:
        """Return the clean samples under other noise of the same kind."""
        generator = stream(0, "traces", number)
        with threads_for(self.clean.size):
            corrupted: torch.Tensor = self.noiser.corrupt(as_tensor(self.clean), generator)
        return corrupted.numpy()

    def is_in(self, samples: NDArray[Any]) -> bool:
        """Return whether the noise is in samples, row by row those that are kept here."""
        if np.array_equal(samples, self.clean):
            return False
        if np.array_equal(samples, self.noisy):
            return not np.array_equal(self.clean, self.noisy)
        measures = _measures_for(_rows(samples), _rows(self.noisy))
        if not measures:
            return False
        fresh = [_rows(self.fresh(number)) for number in range(FRESH)]
        return any(_stands_out(measure, _rows(self.noisy), fresh) for measure in measures)


def remember_noise(clean: NDArray[Any], noisy: NDArray[Any], noiser: Any) -> None:
    """Keep a sample of what a fitted noiser made of clean data."""
    if not len(clean) or clean[0].size > LARGEST:
        return
    n_rows = int(np.clip(ENTRIES // clean[0].size, 1, MOST_ROWS))
    rows = np.unique(np.linspace(0, len(clean) - 1, n_rows).astype(np.intp))
    kept = as_float_array(clean[rows]), noisy[rows]
    _traces().append(_Trace(len(clean), rows, *kept, copy.copy(noiser)))


def warn_of_lost_source(samples: Any, y: Any = None, name: str = "X") -> None:
    """Warn where samples that count as clean hold noise that a noiser of this thread gave out not long ago.

    Parameters
    ----------
    samples : ndarray or sequence of ndarray
        Samples that carry no source.
    y : optional
        What was given as y; samples themselves say that they are meant.
    name : str, default="X"
        What to call them.
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
    """Warn where y is the clean side of what a noiser gave out, and samples are that after another step."""
    trace = _trace_in(samples)
    if trace is None:
        return
    few, clean = np.asarray(samples)[trace.rows], as_numeric_array(y)[trace.rows]
    if np.allclose(few, trace.noisy, rtol=1e-3, atol=0) or not np.array_equal(clean, trace.clean):
        return
    warn_user(
        f"X came out of {trace.noiser!r} and was changed since, as by a scaler behind it; y is the clean "
        "side from before that change, in another unit. Put scalers before the noiser, and pass no y.",
        CleanTargetWarning,
    )


def _trace_in(samples: Any) -> _Trace | None:
    """Return the trace of the noise that samples hold, if they do; all must be there, in their order."""
    for trace in reversed(_traces()):
        if trace.n_samples != len(samples):
            continue
        few = [np.asarray(samples[row]) for row in trace.rows]
        if len({x.shape for x in few}) == 1 and trace.is_in(np.stack(few)):
            return trace
    return None


def _traces() -> deque[_Trace]:
    if not hasattr(_memory, "traces"):
        _memory.traces = deque(maxlen=LATEST)
    traces: deque[_Trace] = _memory.traces
    return traces


def _stands_out(measure: Callable[[Array], float], noisy: Array, fresh: list[Array]) -> bool:
    """Return whether a measure of likeness is far larger for noisy samples than for all fresh ones."""
    others = np.array([measure(one) for one in fresh])
    gain = measure(noisy) - others.max()
    return bool(gain > ROUNDING and gain > CERTAIN * others.std())


def _measures_for(samples: Array, noisy: Array) -> list[Callable[[Array], float]]:
    """Return how to measure likeness with samples, where there are enough of them.

    Columns find steps that scale, select or reorder features; rows, those that scale images; regression,
    those that mix features, as projections do, where there are more samples than features; distances, others.
    """
    measures: list[Callable[[Array], float]] = []
    n, width = samples.shape
    if n >= LEAST:
        columns = _standardized(samples[:, _spread(width)])
        measures.append(lambda other: _best_of_columns(columns, other))
    if width == noisy.shape[1] >= LEAST:
        rows = _standardized(samples.T)
        measures.append(lambda other: float(np.abs((rows * _standardized(other.T)).sum(0)).mean()))
    if n >= noisy.shape[1] + 1 + LEAST:
        mixed = _standardized(samples[:, _spread(width)])
        measures.append(lambda other: _explained(mixed, other))
    if n >= 2 * LEAST:
        distances = _distances(samples)
        measures.append(lambda other: float(np.corrcoef(distances, _distances(other))[0, 1]))
    return measures


def _best_of_columns(columns: Array, other: Array) -> float:
    """Return the mean of how much columns correlate with those of another table that are most like them."""
    return float(np.abs(columns.T @ _standardized(other)).max(axis=1).mean())


def _explained(columns: Array, other: Array) -> float:
    """Return the share of the variance of columns that a linear model in another table explains."""
    basis, _ = np.linalg.qr(np.column_stack([np.ones(len(other)), other]))
    total = np.square(columns).sum()
    return float(np.square(basis.T @ columns).sum() / total) if total else 0.0


def _distances(samples: Array) -> Array:
    """Return the logarithm of the distances of pairs of samples; all have many partners, near and far."""
    n = len(samples)
    lags = np.unique(np.geomspace(1, n // 2, 8).astype(int))
    squared = [np.square(samples - np.roll(samples, lag, axis=0)).sum(axis=1) for lag in lags]
    return np.asarray(np.log(np.concatenate(squared) + np.finfo(float).tiny))


def _standardized(table: Array) -> Array:
    """Return columns of mean 0 and norm 1, so that products of them are correlations; constant ones are 0."""
    centered = table - table.mean(axis=0)
    norms = np.sqrt(np.square(centered).sum(axis=0))
    return np.asarray(np.divide(centered, norms, out=np.zeros_like(centered), where=norms > 0))


def _spread(width: int) -> NDArray[np.intp]:
    """Return the numbers of columns from all over a table."""
    return np.unique(np.linspace(0, width - 1, min(width, MOST_COLUMNS)).astype(np.intp))


def _rows(samples: NDArray[Any]) -> Array:
    return samples.reshape(len(samples), -1).astype(np.float64)
