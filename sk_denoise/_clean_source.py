"""Clean source of noisy data.

The output of a noiser's ``fit_transform`` is an array or frame that carries its clean data. An estimator
directly after the noiser trains on fresh corruptions of them in place of the one frozen draw. A fingerprint
shows whether the values are still those that the noiser returned. Where noisy columns are joined with others,
as ColumnTransformer does, the source is joined too.
"""

from __future__ import annotations

import copy
import threading
import zlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import check_array

from sk_denoise._random import stream
from sk_denoise._resources import threads_for_entries
from sk_denoise._validation import (
    as_float_array,
    as_numeric_array,
    as_tensor,
    specification_key,
    warn_user,
)
from sk_denoise.exceptions import CleanTargetWarning

__all__ = [
    "CleanSource",
    "NoisedArray",
    "attach_source",
    "carried_source",
    "fingerprint_of",
    "remember_noise",
    "warn_of_lost_source",
    "warn_of_missed_step",
]

_KEY = "sk_denoise_clean_source"


@dataclass(frozen=True, eq=False)
class CleanSource:
    """Clean data, their noiser and a fingerprint of the noisy values.

    Parameters
    ----------
    clean : ndarray of shape (n_samples, ...)
        Read-only copy of the clean data, in their own type.
    noiser : noiser
        Specification of the noise: an unfitted clone.
    fingerprint : int
        Checksum over the noisy values, their type and shape.
    """

    clean: NDArray[Any]
    noiser: Any
    fingerprint: int

    @classmethod
    def of(cls, clean: NDArray[Any], noiser: Any, noisy: NDArray[Any]) -> CleanSource:
        """Record that ``noiser`` made ``noisy`` from ``clean``."""
        return cls(np.array(clean), noiser, fingerprint_of(noisy))

    def __post_init__(self) -> None:
        self.clean.flags.writeable = False

    def __reduce__(self) -> tuple[Any, ...]:
        # By the constructor, because an array unpickles writeable.
        return type(self), (self.clean, self.noiser, self.fingerprint)

    def describes(self, X: Any) -> bool:
        """Return whether X still holds the noisy values, in their order."""
        values = np.asarray(X)
        return not values.dtype.hasobject and fingerprint_of(values) == self.fingerprint

    def __deepcopy__(self, memo: dict[int, Any]) -> CleanSource:
        # It is immutable.
        return self


def fingerprint_of(array: NDArray[Any]) -> int:
    """Return a checksum over values, type and shape, for any order of their bytes."""
    array = np.asarray(array, array.dtype.newbyteorder("<"))
    header = f"{array.dtype.str}{array.shape}".encode()
    return zlib.crc32(np.ascontiguousarray(array).view(np.uint8).reshape(-1).data, zlib.crc32(header))


class NoisedArray(np.ndarray):
    """Array that carries its clean source.

    Copies, views, slices and pickles carry it too. ``numpy.asarray`` returns a plain array without a source.
    """

    _source: CleanSource | None = None

    def __array_finalize__(self, obj: Any) -> None:
        self._source = getattr(obj, "_source", None)

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        return array[()] if return_scalar else array.view(type(self))._with_source(self._source)

    # numpy's own method returns a plain array.
    def round(self, decimals: Any = 0, out: Any = None) -> Any:
        return super().round(decimals, out=out).view(type(self))._with_source(self._source)

    def _with_source(self, source: CleanSource | None) -> NoisedArray:
        self._source = source
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        rebuild, arguments, state, *_ = tuple(super().__reduce__())
        return rebuild, arguments, (state, self._source)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if func in JOINS and isinstance(args[0], list | tuple):
            # Frames beside arrays, from steps of several containers, would come as plain arrays.
            args = ([_as_noised_array(part) for part in args[0]], *args[1:])
        result = super().__array_function__(func, types, args, kwargs)
        # hstack, column_stack, append and others call concatenate.
        if func is not np.concatenate or not isinstance(result, np.ndarray) or kwargs.get("out") is not None:
            return result
        axis = args[1] if len(args) > 1 else kwargs.get("axis", 0)
        place = None if axis is None else axis % result.ndim
        is_table = result.ndim == 2
        joined = "rows" if place == 0 else "columns" if place == 1 and is_table else "other"
        source = _join_sources([*args[0]], result, joined)
        return result.view(type(self))._with_source(source)

    def __setstate__(self, state: Any) -> None:
        array_state, self._source = state
        super().__setstate__(array_state)


# Functions of numpy that join arrays.
JOINS = (np.concatenate, np.hstack, np.vstack, np.column_stack)


def _as_noised_array(part: Any) -> Any:
    """Return a frame with a source as an array with it, all else as it is."""
    source = None if isinstance(part, np.ndarray) else carried_source(part)
    return part if source is None else np.asarray(part).view(NoisedArray)._with_source(source)


@cache
def _noised_frame_class() -> type[Any]:
    """Return the class of pandas frames with a source; pandas need not be installed."""
    from pandas import DataFrame

    class Comparable(type):
        """Metaclass of a class to which all frames of pandas belong."""

        # assert_frame_equal of pandas compares the classes of frames.
        def __instancecheck__(cls, instance: Any) -> bool:
            return isinstance(instance, DataFrame)

    class NoisedFrame(DataFrame, metaclass=Comparable):
        """Frame of pandas that joins its source with others in ``pandas.concat``."""

        # Operations return frames of this class, and so does concat for its first frame.
        @property
        def _constructor(self) -> Any:
            return NoisedFrame

        def __finalize__(self, other: Any, method: str | None = None, **kwargs: Any) -> Any:
            result = super().__finalize__(other, method=method, **kwargs)
            # The name of the parts in pandas 3, and before.
            parts = getattr(other, "input_objs", None) or getattr(other, "objs", None)
            if method == "concat" and parts:
                _join_frames(result, [*parts])
            return result

    # pickle finds the class by its name in the module, see __getattr__.
    NoisedFrame.__module__, NoisedFrame.__qualname__ = __name__, "NoisedFrame"
    return NoisedFrame


def __getattr__(name: str) -> Any:
    if name == "NoisedFrame":
        return _noised_frame_class()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _join_frames(frame: Any, parts: list[Any]) -> None:
    """Attach the source of the parts of a concatenated frame, if they have one."""
    axis = "columns" if all(len(part) == len(frame) for part in parts) else "rows"
    are_frames = all(getattr(part, "ndim", 0) == 2 for part in parts)
    # Rows with another index are brought into another order.
    keeps_order = axis == "rows" or all(part.index.equals(frame.index) for part in parts)
    source = _join_sources(parts, frame, axis if are_frames and keeps_order else "other")
    if source is not None:
        frame.attrs[_KEY] = _Attachment(source)


def _join_sources(parts: Sequence[Any], whole: Any, axis: str) -> CleanSource | None:
    """Return the source of columns or rows that were joined.

    Without a common one it is the source of the first noisy part, which does not fit the whole and which
    estimators refuse: for noise that cannot be limited to its columns, or clean rows below noisy ones.
    """
    carried = [carried_source(part) for part in parts]
    first = next((source for source in carried if source is not None), None)
    if first is None or axis == "other":
        return first
    try:
        arrays = [_as_checked(part) for part in parts]
        values = _as_checked(whole)
    # Texts and other objects are no samples.
    except (TypeError, ValueError):
        return first
    # A part that was edited is plain data with noise, of which estimators warn.
    if any(source and not source.describes(part) for source, part in zip(carried, arrays, strict=True)):
        return None
    clean = [array if source is None else source.clean for source, array in zip(carried, arrays, strict=True)]
    if axis == "rows":
        noisers = {specification_key(source and source.noiser) for source in carried}
        if len(noisers) > 1:
            return first
        return CleanSource.of(np.concatenate(clean), first.noiser, values)
    if len(parts) == 1:
        return CleanSource.of(clean[0], first.noiser, values)
    noisers_of_columns = []
    start = 0
    for source, array in zip(carried, arrays, strict=True):
        if source is not None:
            place = getattr(source.noiser, "_limit_to_columns", None)
            limited = None if place is None else place(start, array.shape[1])
            if limited is None:
                return first
            noisers_of_columns.append(limited)
        start += array.shape[1]
    joined, *others = noisers_of_columns
    noiser = joined._join(others) if others else joined
    return CleanSource.of(np.concatenate(clean, axis=1), noiser, values)


def _as_checked(samples: Any) -> NDArray[Any]:
    """Return samples as estimators get them."""
    plain = np.asarray(samples) if isinstance(samples, np.ndarray) else samples
    return np.asarray(check_array(plain, dtype="numeric", ensure_all_finite=False, allow_nd=True))


class _Attachment(dict[str, Any]):
    """Dictionary that holds a source in ``attrs`` of a pandas frame.

    It is empty for writers of JSON, such as ``to_parquet``.
    """

    def __init__(self, source: CleanSource) -> None:
        super().__init__()
        self.source = source

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.source,)

    def __deepcopy__(self, memo: dict[int, Any]) -> _Attachment:
        # pandas copies attrs deeply in most operations, which would copy the data each time.
        return self


def attach_source(noised: Any, source: CleanSource) -> Any:
    """Return the noised array or frame with its source.

    Arrays become a :class:`NoisedArray`, pandas frames a ``NoisedFrame`` that holds it in ``attrs``, and a
    polars frame holds it in an attribute of the object, which its slices and pickles lose.
    """
    if isinstance(noised, np.ndarray):
        return noised.view(NoisedArray)._with_source(source)
    if hasattr(noised, "attrs"):
        noised = _noised_frame_class()(noised)
        noised.attrs[_KEY] = _Attachment(source)
    else:
        setattr(noised, _KEY, source)
    return noised


def carried_source(X: Any) -> CleanSource | None:
    """Return the source that X carries, or None; X may have been edited since."""
    if isinstance(X, NoisedArray):
        return X._source
    attributes = getattr(X, "attrs", None)
    if isinstance(attributes, dict) and isinstance(attributes.get(_KEY), _Attachment):
        return attributes[_KEY].source  # type: ignore[no-any-return]
    return getattr(X, _KEY, None)


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
        if self._has_columns_in(_flatten(samples)):
            return True
        measures = _similarity_measures(_flatten(samples), _flatten(self.noisy))
        if not measures:
            return False
        corrupted = [_flatten(self.corrupt_again(number)) for number in range(N_CORRUPTIONS)]
        return any(_stands_out(measure, _flatten(self.noisy), corrupted) for measure in measures)

    def _has_columns_in(self, samples: Array) -> bool:
        """Return whether samples have a noisy column as it is, beside others."""
        clean, noisy = _flatten(self.clean), _flatten(self.noisy)
        # Images of another size have no columns in common.
        if clean.shape != noisy.shape:
            return False
        is_noisy = (clean != noisy).sum(axis=0) >= MIN_COUNT
        known = {column.tobytes() for column in noisy.T[is_noisy]}
        return any(column.tobytes() in known for column in samples.T)


def remember_noise(clean: NDArray[Any], noisy: NDArray[Any], noiser: Any) -> None:
    """Keep a sample of the output of a fitted noiser, for later comparisons."""
    if not len(clean) or clean[0].size > MAX_SAMPLE_ENTRIES:
        return
    n_rows = int(np.clip(MAX_ENTRIES // clean[0].size, 1, MAX_ROWS))
    rows = np.unique(np.linspace(0, len(clean) - 1, n_rows).astype(np.intp))
    sample = as_float_array(clean[rows]), noisy[rows]
    _traces().append(_NoiseTrace(len(clean), rows, *sample, copy.copy(noiser)))


def warn_of_lost_source(samples: Any, y: Any = None, name: str = "X") -> bool:
    """Warn if samples taken as clean hold the noise of a recent output of a noiser.

    Outputs of other threads are unknown here. Return whether there was a warning.

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
        return False
    trace = _trace_in(samples)
    if trace is None:
        return False
    warn_user(
        f"{name} holds the noise of {trace.noiser!r}, and lost its clean source on the way, as in a scaler "
        "behind the noiser or a step that joins columns: noisy data count as clean now, and the noise is "
        "learned with them. Put the noiser directly before the denoiser, with columns= if it is for some of "
        "them, and scalers before the noiser; or give the clean side as X_clean=. If noisy data are to count "
        "as clean, say so by fit(X, X).",
        CleanTargetWarning,
    )
    return True


def warn_of_missed_step(samples: Any, y: NDArray[Any]) -> bool:
    """Warn if a step changed the noisy samples, and y is their clean side before it.

    Return whether there was a warning.
    """
    trace = _trace_in(samples)
    if trace is None:
        return False
    noisy, clean = np.asarray(samples)[trace.rows], as_numeric_array(y)[trace.rows]
    is_as_it_was = noisy.shape == trace.noisy.shape and np.allclose(noisy, trace.noisy, rtol=1e-3, atol=0)
    if is_as_it_was or not np.array_equal(clean, trace.clean):
        return False
    warn_user(
        f"X came out of {trace.noiser!r} and was changed since, as by a scaler behind it; y is the clean "
        "side from before that change, in another unit. Put scalers before the noiser, and pass no y.",
        CleanTargetWarning,
    )
    return True


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
