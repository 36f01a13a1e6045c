"""Base classes of noisers, checks of their parameters, noisers by name."""

from __future__ import annotations

import inspect
import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from sk_denoise._clean_source import (
    CleanSource,
    attach_source,
    carried_source,
    fingerprint_of,
    remember_noise,
    warn_of_lost_source,
)
from sk_denoise._compat import SampleTransformer, as_one_task, keeps_array_type, without_callbacks
from sk_denoise._random import root_seed, stream
from sk_denoise._registry import NOISES, LazyTable
from sk_denoise._resources import threads_for_entries
from sk_denoise._scaling import subsample
from sk_denoise._schema import Rule, is_numeric_array
from sk_denoise._validation import (
    Noiser,
    StrOptions,
    as_float_array,
    as_tensor,
    check_lengths,
    check_noiser,
    check_one_of,
    check_parameters,
    check_samples,
    refuse_channels_first,
    refuse_single_image,
    warn_of_flat_channels_first,
    warn_of_single_image,
    warn_user,
    wrap_output,
)

__all__ = [
    "BaseNoiser",
    "COLUMN_NUMBERS",
    "COLUMN_STRENGTH",
    "FITTED_COLUMNS",
    "ImageNoiser",
    "NOISERS",
    "POSITIVE_COLUMN_NUMBERS",
    "STRENGTH",
    "as_strength",
    "bind_columns",
    "check_bounds",
    "check_strength",
    "count_noisy_columns",
    "find_columns",
    "is_by_column",
    "is_strength",
    "resolve_noiser",
    "warn_of_other_limits",
]

# Types of a strength of noise: a number or a pair of numbers.
STRENGTH = [Real, tuple, list]
# The same for noise of tables, which may have a strength for each column.
COLUMN_STRENGTH = [*STRENGTH, np.ndarray]
# Types of the parameter columns.
COLUMNS = ["array-like", str, Integral, slice, callable, None]
# Parameters that name columns of X.
NAMES_COLUMNS = ("columns", "blocks")
# Limits below or above these multiples of the clean range cannot be black and white.
NARROW, WIDE = 0.1, 64


class BaseNoiser(SampleTransformer):
    """Base of noisers: they corrupt in training only, with a clean source.

    A subclass lists its parameters and their constraints, learns from clean data in ``_learn``, and corrupts
    tensors in ``corrupt``. It has the parameters ``apply`` and ``random_state``.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "apply": [StrOptions({"fit", "always"})],
        "random_state": ["random_state"],
    }
    # Names of the parameters that may be an array, a strength for each column.
    _column_strengths: ClassVar[tuple[str, ...]] = ()
    columns: Any
    columns_: NDArray[np.intp] | None
    # Whether samples without structure stay as they are, as under a blur.
    _adds_nothing: ClassVar[bool] = False
    # Whether NaN in the data of a fit marks missing entries.
    _takes_gaps: ClassVar[bool] = False
    apply: Literal["fit", "always"]
    random_state: int | RandomState | None

    @property
    def size_factor(self) -> int:
        """Quotient of the sides of clean and noisy images; 1 for one size."""
        return 1

    @abstractmethod
    def corrupt(self, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return a corrupted copy of x, in the unit and type of x.

        Estimators and scorers call it for every fresh corruption.

        Parameters
        ----------
        x : Tensor of shape (n_samples, ...)
            Clean samples, in the layout of ``fit``.
        generator : torch.Generator
            Source of randomness, on the device of ``x``.

        Returns
        -------
        Tensor of the type of x
            Noisy samples, of the shape of ``x``. Images of noise with a ``size_factor`` have the shape
            ``(n_samples, height / size_factor, width / size_factor[, channels])``.
        """

    @keeps_array_type
    @as_one_task
    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Learn the parameters of the noise that depend on the clean data.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels])
            Clean samples.
        y : array-like of as many samples, optional
            Not used. X itself as y confirms that X is clean, even if it carries the noise of a noiser.

        Returns
        -------
        self
        """
        self._fit(X, y)
        return self

    @keeps_array_type
    @as_one_task
    def fit_transform(self, X: ArrayLike, y: Any = None) -> Any:
        """Fit to clean data and return a corrupted copy that carries its clean source.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels])
            Clean samples; integers become float32 in the same unit, float64 beyond 2**24.
        y : array-like of as many samples, optional
            Not used. X itself as y confirms that X is clean, even if it carries the noise of a noiser.

        Returns
        -------
        NoisedArray or DataFrame of the shape of X
            Noisy samples with their clean source, for an estimator directly after the noiser.
        """
        return self._corrupt_samples(self._fit(X, y), X)

    @keeps_array_type
    def transform(self, X: ArrayLike) -> Any:
        """Return the data as they are, or corrupted if ``apply="always"``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels])
            Samples in the layout of ``fit``.

        Returns
        -------
        ndarray or DataFrame of the shape of X
        """
        check_is_fitted(self)
        samples = check_samples(self, X, reset=False, allow_gaps=self._takes_gaps)
        return self._corrupt_samples(samples, X) if self.apply == "always" else as_float_array(samples)

    def _fit(self, X: ArrayLike, y: Any) -> NDArray[Any]:
        self._check_parameters()
        earlier = carried_source(X)
        if earlier is not None:
            raise ValueError(
                f"X is the output of {earlier.noiser!r}, so it is not clean, as {type(self).__name__} needs "
                "it. Use one NoiserChain([...]); or declare X to be clean, X = numpy.asarray(X), fit(X, X)."
            )
        clean = check_samples(self, X, reset=True, allow_gaps=self._takes_gaps)
        check_lengths(clean, y)
        # X itself as y declares noisy data to be clean.
        if y is not X:
            warn_of_lost_source(clean, y)
        self._select(X if hasattr(X, "columns") else clean)
        self._check_by_column(clean)
        with threads_for_entries(clean.size):
            self._learn(self._in_columns(as_tensor(as_float_array(clean))))
        return clean

    def _check_parameters(self) -> None:
        constraints = {**BaseNoiser._parameter_constraints, **self._parameter_constraints}
        # Noise that knows no columns lacks the parameter.
        if hasattr(self, "columns"):
            constraints["columns"] = COLUMNS
        check_parameters(self, constraints)

    def _select(self, X: Any) -> None:
        """Find the columns of X that get noise."""
        if hasattr(self, "columns"):
            self.columns_ = None if self.columns is None else find_columns(self.columns, X)
        given = getattr(self, "blocks", None)
        if isinstance(given, list | tuple):
            self.blocks_ = [find_columns(block, X, "blocks").tolist() for block in given]

    def _check_by_column(self, clean: NDArray[Any]) -> None:
        """Check the number of strengths that are given by column."""
        for name in self._column_strengths:
            given: Any = getattr(self, name)
            if not is_by_column(given):
                continue
            if clean.ndim != 2:
                raise ValueError(
                    f"{name} holds {len(given)} strengths, one for each column of a table, and X has the "
                    f"shape {clean.shape}. Pass one number, or a tuple (low, high) to draw one for each "
                    "sample."
                )
            n_columns = count_noisy_columns(self)
            if len(given) != n_columns:
                which = "X" if n_columns == clean.shape[1] else "the parameter columns"
                raise ValueError(
                    f"{name} holds {len(given)} strengths, one for each column, and {which} has {n_columns} "
                    f"columns. Pass {n_columns} numbers in their order, one number for all, or a tuple "
                    "(low, high) to draw one for each sample."
                )

    def _in_columns(self, x: torch.Tensor) -> torch.Tensor:
        """Return the columns that get noise, all samples if there is no choice."""
        columns = getattr(self, "columns_", None)
        return x if columns is None else x[:, torch.as_tensor(columns, device=x.device)]

    def _corrupt_columns(
        self, x: torch.Tensor, corrupt: Callable[[torch.Tensor], torch.Tensor]
    ) -> torch.Tensor:
        """Return samples with noise in the columns that get noise."""
        columns = getattr(self, "columns_", None)
        if columns is None:
            return corrupt(x)
        noisy = x.clone()
        noisy[:, torch.as_tensor(columns, device=x.device)] = corrupt(self._in_columns(x))
        return noisy

    def _check_fitted(self) -> None:
        # check_is_fitted is slow, and noise is drawn for every batch.
        if not self.__sklearn_is_fitted__():
            check_is_fitted(self)

    def _learn(self, clean: torch.Tensor) -> None:
        """Learn from clean samples, in their own unit."""

    def _corrupt_samples(self, clean: NDArray[Any], X: ArrayLike) -> Any:
        # A child seed for each set of samples: equal data get equal noise, so that fit_transform and
        # transform agree with apply="always", as scikit-learn's checks demand; other data get independent
        # noise.
        generator = stream(root_seed(self.random_state), fingerprint_of(clean))
        with threads_for_entries(clean.size):
            noisy = self.corrupt(as_tensor(as_float_array(clean)), generator).numpy()
        # Names and functions select nothing from the arrays that an estimator passes to the noiser.
        noiser = bind_columns(without_callbacks(self), X if hasattr(X, "columns") else clean)
        source = CleanSource.of(clean, noiser, noisy)
        remember_noise(clean, noisy, self)
        return attach_source(wrap_output(noisy, X, self), source)

    def _limit_to_columns(self, start: int, width: int) -> Any:
        """Return an unfitted copy for some of the columns of a wider table.

        Parameters
        ----------
        start, width : int
            Place of the columns that the noiser was for.

        Returns
        -------
        noiser or None
            None if the noise cannot be limited to columns.
        """
        if not hasattr(self, "columns"):
            return None
        columns = np.arange(width) if self.columns is None else np.atleast_1d(self.columns) % width
        limited = clone(self).set_params(columns=(start + columns).tolist())
        blocks: Any = getattr(self, "blocks", None)
        if isinstance(blocks, list | tuple):
            limited.set_params(blocks=[[start + column % width for column in block] for block in blocks])
        return limited

    def _join(self, others: list[Any]) -> Any:
        """Return the noise of several noisers, one after the other."""
        return NOISERS["chain"]([self, *others])

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "n_features_in_")

    def __sklearn_tags__(self) -> Tags:
        tags: Tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self._takes_gaps
        return tags


class ImageNoiser(BaseNoiser):
    """Base of noisers that depend on the positions of entries in a sample.

    It has the parameter ``image_shape``, for rows that are flattened images.
    """

    image_shape: Sequence[int] | None
    # Whether rows without an image_shape are signals. If not, the noise is for images alone.
    _takes_rows: ClassVar[bool] = True

    def _check_parameters(self) -> None:
        check_parameters(self, {"image_shape": [tuple, list, None]})
        super()._check_parameters()

    def _as_images(self, x: torch.Tensor) -> torch.Tensor:
        """Return rows as images of ``image_shape``, other samples as they are."""
        return x if self.image_shape is None else x.reshape(len(x), *self.image_shape)

    def _check_layout(self, clean: torch.Tensor) -> None:
        warn_of_flat_channels_first(tuple(clean.shape), self.image_shape)
        refuse_channels_first(tuple(clean.shape[1:]), self.image_shape)
        refuse_single_image(tuple(clean.shape), self.image_shape)
        if self.image_shape is None:
            if clean.ndim == 2 and not self._takes_rows:
                raise ValueError(
                    f"{type(self).__name__} is for images, got rows of shape {tuple(clean.shape)}. Pass a "
                    "stack of shape (n_images, height, width[, channels]), or image_shape with flat rows."
                )
            if clean.ndim == 2:
                warn_of_single_image(clean.numpy(), "rows")
            return
        shape, declared = tuple(clean.shape[1:]), tuple(self.image_shape)
        if len(declared) not in (2, 3) or not all(isinstance(side, int | np.integer) for side in declared):
            raise ValueError(
                f"image_shape must be (height, width) or (height, width, channels), got {self.image_shape!r}."
            )
        if math.prod(declared) != math.prod(shape) or (len(shape) > 1 and declared[:2] != shape[:2]):
            raise ValueError(f"image_shape={declared} does not fit samples of shape {shape}.")

    def __sklearn_tags__(self) -> Tags:
        tags: Tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = self._takes_rows or self.image_shape is not None
        return tags


def is_by_column(strength: Any) -> bool:
    """Return whether strengths are given for each column, as a list or an array."""
    return isinstance(strength, list | np.ndarray) and np.ndim(strength) > 0


def is_strength(noise: object) -> bool:
    """Return whether noise is given by its strength: a number, a pair, or by column."""
    if is_by_column(noise):
        return np.ndim(noise) == 1 and _are_real_numbers(noise)  # type: ignore[arg-type]
    is_pair = isinstance(noise, tuple) and len(noise) == 2 and _are_real_numbers(noise)
    return isinstance(noise, Real) or is_pair


def as_strength(strength: Any) -> float | tuple[float, float] | torch.Tensor:
    """Return a strength as a float, a pair of floats, or a tensor by column."""
    if np.ndim(strength) == 0:
        return float(strength)
    if len(strength) == 2 and not isinstance(strength, np.ndarray):
        low, high = strength
        return float(low), float(high)
    return torch.as_tensor(np.asarray(strength, np.float32))


def check_strength(
    estimator: BaseNoiser, name: str, *, max_value: float = math.inf, above_zero: bool = False
) -> None:
    """Check that a parameter is a number in its range, or a pair of such numbers.

    Noise of tables also takes a list or an array of such numbers, one for each column.
    """
    given: Any = getattr(estimator, name)
    takes_columns = name in estimator._column_strengths
    min_value = math.nextafter(0, 1) if above_zero else 0.0
    by_column = is_by_column(given) and takes_columns
    if isinstance(given, list) and len(given) == 2 and takes_columns:
        raise ValueError(
            f"{name}={given!r} is ambiguous: a range, or one strength for each of two columns? Pass the "
            f"tuple ({given[0]!r}, {given[1]!r}) to draw a strength between the two for each sample, or "
            f"numpy.array({given!r}) for one strength for each of two columns."
        )
    ends: list[Any] = [given, given] if np.ndim(given) == 0 else list(given)
    # To Python a bool is a number, but nobody means it as a strength.
    is_bool = any(isinstance(end, bool | np.bool_) for end in ends)
    fits = (
        _are_real_numbers(ends)
        and (len(ends) > 0 if by_column else len(ends) == 2)
        and not is_bool
        and all(min_value <= end <= max_value and end < math.inf for end in ends)
    )
    if not fits:
        kind = ("a finite number" if max_value == math.inf else "a number") + (
            " above 0" if above_zero else " of at least 0"
        )
        limit = "" if max_value == math.inf else f" and at most {max_value:g}"
        columns = " A list or an array has one for each column." if takes_columns else ""
        raise ValueError(
            f"{name} must be {kind}{limit} or a pair (low, high) of such numbers, got {given!r}.{columns}"
        )
    if not by_column and ends[0] > ends[1]:
        raise ValueError(f"{name}=(low, high) needs low <= high, got {given!r}.")


def find_columns(columns: Any, X: Any, name: str = "columns") -> NDArray[np.intp]:
    """Return the indices of columns of a table, in the order in which they are given.

    Parameters
    ----------
    columns : str, int, slice, array-like or callable
        Names, indices, a mask with a truth value for each column, or a function from X to one of these, such
        as scikit-learn's ``make_column_selector``.
    X : ndarray or DataFrame of shape (n_samples, n_columns)
        Table with the columns.
    name : str
        Name of the parameter, for messages.

    Raises
    ------
    ValueError
        If X is no table, or lacks one of the columns; if a column appears twice, or none is left.
    """
    if len(X.shape) != 2:
        raise ValueError(f"{name} selects columns of a table, and X has the shape {tuple(X.shape)}.")
    labels, n_columns = [*getattr(X, "columns", [])], X.shape[1]
    given = columns(X) if callable(columns) else columns
    if isinstance(given, slice):
        given = _positions_of_slice(given, labels, n_columns, name)
    entries = np.atleast_1d(np.asarray(given))
    if entries.ndim == 1 and entries.dtype == bool and len(entries) != n_columns:
        raise ValueError(
            f"{name} is a mask of {len(entries)} truth values, and X has {n_columns} columns. Pass one for "
            "each column."
        )
    if entries.ndim == 1 and entries.dtype == bool:
        entries = np.flatnonzero(entries)
    if not len(entries):
        raise ValueError(f"{name}={columns!r} selects no column of X. Pass at least one, or None for all.")
    if entries.ndim == 1 and all(isinstance(entry, str) for entry in entries):
        indices = np.array([_position_of(str(entry), labels, name) for entry in entries], np.intp)
    elif entries.ndim == 1 and entries.dtype.kind in "iu":
        if entries.min() < -n_columns or entries.max() >= n_columns:
            raise ValueError(f"{name}={given!r} goes beyond the {n_columns} columns of X, counted from 0.")
        indices = entries.astype(np.intp) % n_columns
    else:
        raise ValueError(
            f"{name} must be names, indices, a mask of truth values, or a function from X to one of these, "
            f"got {given!r}."
        )
    if len(np.unique(indices)) < len(indices):
        raise ValueError(f"{name}={given!r} names a column twice.")
    return indices


def _position_of(label: str, labels: list[Any], name: str) -> int:
    if not labels:
        raise ValueError(
            f"{name} holds the name {label!r}, and X is an array without names. Pass a frame, or indices."
        )
    if labels.count(label) != 1:
        count = "no column" if label not in labels else "several columns"
        raise ValueError(f"X has {count} of the name {label!r}, which {name} holds. It has {labels!r:.200}.")
    return labels.index(label)


def _positions_of_slice(given: slice, labels: list[Any], n_columns: int, name: str) -> NDArray[np.intp]:
    """Return the positions of a slice; one of names includes its end, as in pandas."""
    ends = [_position_of(e, labels, name) if isinstance(e, str) else e for e in (given.start, given.stop)]
    stop = ends[1] + 1 if isinstance(given.stop, str) else ends[1]
    return np.arange(n_columns)[slice(ends[0], stop, given.step)]


def bind_columns(noiser: Any, X: Any) -> Any:
    """Return an unfitted copy of a noiser that has columns of X by index.

    Estimators pass arrays to a noiser, from which names and functions can select nothing.
    """
    twin = clone(noiser)
    params = twin.get_params(deep=True)
    bound = {}
    for key, value in params.items():
        prefix, _, name = key.rpartition("__")
        if name in NAMES_COLUMNS and isinstance(params.get(prefix, twin), BaseNoiser):
            bound[key] = _as_indices(value, X, name)
    return twin.set_params(**{key: value for key, value in bound.items() if value is not params[key]})


def _as_indices(value: Any, X: Any, name: str) -> Any:
    """Return columns, or lists of columns, by index."""
    if value is None or (isinstance(value, str) and name == "blocks"):
        return value
    if name == "blocks":
        if not isinstance(value, list | tuple):
            return value
        blocks = [_as_indices(block, X, "block") for block in value]
        return value if all(a is b for a, b in zip(blocks, value, strict=True)) else blocks
    # Indices stay as they are, so that they keep their form in messages.
    has_indices = not callable(value) and np.asarray(value).dtype.kind in "iu"
    return value if has_indices else find_columns(value, X).tolist()


def count_noisy_columns(noiser: Any) -> int:
    """Return the number of columns of a table that get noise."""
    columns = getattr(noiser, "columns_", None)
    return int(noiser.n_features_in_ if columns is None else len(columns))


def _are_columns(value: Any, noiser: Any) -> bool:
    n_features = noiser.n_features_in_
    if value is not None:
        is_index = is_numeric_array(value, (len(np.atleast_1d(value)),)) and value.dtype.kind in "iu"
        fits = is_index and len(value) > 0 and value.min() >= 0 and value.max() < n_features
        if not fits or len(np.unique(value)) < len(value) or len(noiser._sample_shape_) != 1:
            return False
    n_columns = n_features if value is None else len(value)
    strengths = [getattr(noiser, name) for name in noiser._column_strengths]
    return all(len(strength) == n_columns for strength in strengths if is_by_column(strength))


FITTED_COLUMNS = Rule(
    _are_columns,
    "None, or indices of columns, with a strength for each",
    required=False,
    after_others=True,
)


def _are_column_numbers(value: Any, noiser: Any) -> bool:
    shape = noiser._sample_shape_
    # Images have no columns to choose.
    return is_numeric_array(value, (), (count_noisy_columns(noiser),) if len(shape) == 1 else shape)


COLUMN_NUMBERS = Rule(
    _are_column_numbers,
    "a number, or one for each entry of a sample that gets noise",
    after_others=True,
)
POSITIVE_COLUMN_NUMBERS = Rule(
    # Photons by unit stay within single precision.
    lambda value, noiser: _are_column_numbers(value, noiser) and bool((value > 1e-30).all()),
    "a number above 0, or one for each entry of a sample that gets noise",
    after_others=True,
)


def check_bounds(estimator: BaseNoiser, name: str, *, finite: bool = False) -> None:
    """Check that a parameter is a pair ``(low, high)``, a word or None."""
    pair: Any = getattr(estimator, name)
    if pair is None or isinstance(pair, str):
        return
    if not (_are_real_numbers(pair) and len(pair) == 2 and pair[0] < pair[1]):
        raise ValueError(f"{name} must be a pair (low, high) with low < high, got {pair!r}.")
    if finite and not np.isfinite(pair).all():
        raise ValueError(f"{name} must hold finite numbers, got {pair!r}.")


def warn_of_other_limits(estimator: BaseNoiser, name: str, clean: torch.Tensor) -> None:
    """Warn if limits suggest another unit than that of the clean data."""
    limits: Any = getattr(estimator, name)
    if limits is None or isinstance(limits, str):
        return
    subset = subsample(clean)
    low, high = float(subset.min()), float(subset.max())
    is_narrow = min(limits[1], high) - max(limits[0], low) < NARROW * (high - low)
    # Values become equal to limits, but clipping at distant limits changes none.
    replaces = name == "limits"
    is_wide = replaces and limits[1] - limits[0] > WIDE * (high - low) > 0
    if is_narrow or is_wide:
        verb = "covers little of" if is_narrow else "reaches far beyond"
        warn_user(
            f"{name}={limits!r} {verb} the clean data, which lie between {low:.4g} and {high:.4g}. Give it "
            "in their unit."
        )


def _are_real_numbers(values: Any) -> bool:
    return all(isinstance(value, Real) for value in values)


NOISERS: LazyTable[type[BaseNoiser]] = LazyTable(NOISES)


def resolve_noiser(noise: object) -> Noiser:
    """Return the noiser for a noiser, a name or a strength of Gaussian noise."""
    if is_strength(noise):
        return NOISERS["gaussian"](noise)
    if not isinstance(noise, str):
        return check_noiser(noise)
    kind = check_one_of(noise, NOISERS, "noise")
    first, *_ = inspect.signature(kind).parameters.values()
    if first.default is inspect.Parameter.empty:
        raise ValueError(
            f"noise={noise!r} needs {NOISES[noise].made_of}, which has no default: pass {kind.__name__}(...)."
        )
    return kind()
