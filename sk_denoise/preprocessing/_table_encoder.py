"""Frames with columns of every kind as a matrix of numbers, and back."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, time, timedelta
from importlib import import_module
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import Tags, check_array
from sklearn.utils.validation import check_is_fitted

from sk_denoise._compat import SampleTransformer, as_one_task, keeps_array_type
from sk_denoise._schema import SAMPLES, Rule, has_type, one_of
from sk_denoise._validation import (
    StrOptions,
    check_lengths,
    check_parameters,
    refuse_masked,
    validate_data,
    warn_user,
)

__all__ = ["ColumnCode", "TableEncoder"]

KINDS = ("number", "integer", "flag", "category", "datetime", "duration")
LIBRARIES = ("pandas", "polars", "numpy")
# Units of time, as parts of a day.
UNITS_PER_DAY = {"D": 1, "s": 86_400, "ms": 86_400 * 10**3, "us": 86_400 * 10**6, "ns": 86_400 * 10**9}
# Steps to which restored times are rounded, if all training times are whole multiples of one.
STEPS_PER_DAY = (86_400, 86_400 * 10**3, 86_400 * 10**6)
# Largest integer below which double precision holds all integers.
MAX_EXACT = 2**53
# A text column with more categories than this, most of them seen once, holds identifiers.
MAX_IDENTIFIERS, UNIQUE_SHARE = 100, 0.5
# The value of a missing time in numpy, as an integer.
NO_TIME = np.iinfo(np.int64).min

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ColumnCode:
    """The way in which a column of a frame becomes columns of numbers.

    Attributes
    ----------
    label : object
        Name of the column in the frame; its position in an array.
    kind : {"number", "integer", "flag", "category", "datetime", "duration"}
        Kind of the values.
    dtype : str
        Name of the type of the column.
    categories : list
        Categories, each of which has a column.
    category_dtype : str
        Name of the type of the categories, if the library stores them with one.
    is_ordered : bool
        Whether the categories have an order.
    unit : str
        Unit of times: "D", "s", "ms", "us" or "ns".
    zone : str or None
        Time zone.
    origin : int
        Time that becomes 0, in ``unit``.
    step : int
        Multiple of ``unit`` to which restored times are rounded.
    has_none : bool
        Whether None stands for missing values, and not NaN.
    """

    _fitted_schema: ClassVar[dict[str, Rule]] = {
        "kind": one_of(*KINDS),
        "dtype": has_type(str, "the name of a type"),
        "categories": has_type(list, "a list"),
        "category_dtype": has_type(str, "the name of a type"),
        "is_ordered": has_type(bool, "a truth value"),
        "unit": one_of("", *UNITS_PER_DAY),
        "zone": Rule(lambda v, _: v is None or type(v) is str, "None, or a time zone"),
        "origin": Rule(lambda v, _: type(v) is int and abs(v) < 2**63, "an integer of 64 bits"),
        "step": Rule(lambda v, _: type(v) is int and 0 < v < 2**63, "an integer above 0"),
        "has_none": has_type(bool, "a truth value"),
    }
    label: Any
    kind: str
    dtype: str
    categories: list[Any]
    category_dtype: str = ""
    is_ordered: bool = False
    unit: str = ""
    zone: str | None = None
    origin: int = 0
    step: int = 1
    has_none: bool = False

    @property
    def width(self) -> int:
        """Number of columns of numbers."""
        return len(self.categories) if self.kind == "category" else 1


class TableEncoder(SampleTransformer):
    """Encode a frame with columns of every kind as numbers, and restore it.

    Numbers and booleans have a column each, categories and texts a column of zeros and ones for each
    category (a block), and times are days since the first training time. Missing values are NaN, in all
    columns of a block. ``inverse_transform`` restores the frame from any matrix of numbers, such as the
    output of a denoiser: the category with the largest entry, rounded integers, times with their unit and
    time zone, and the type and name of each column.

    Parameters
    ----------
    unknown : {"error", "zeros"}, default="error"
        Treatment of categories in ``transform`` that the training frame lacks: an error, or zeros in the
        whole block, which ``inverse_transform`` restores as a missing value.

    Attributes
    ----------
    blocks_ : list of lists of int
        Output columns of each column with categories, as the ``blocks`` of
        :class:`~sk_denoise.SwapNoiser` and :class:`~sk_denoise.MaskingNoiser`.
    column_codes_ : list of ColumnCode
        Kind, type and categories of each column of the frame.
    n_features_in_ : int
        Number of columns of the frame.
    feature_names_in_ : ndarray of str
        Names of the columns, if the frame has them and all are texts.

    Raises
    ------
    ValueError
        For infinite numbers, unknown categories, values that are no category, and types without an encoding.

    Warns
    -----
    UserWarning
        If integers are too large for double precision, or if a column of texts has hardly any value twice,
        as identifiers do.

    See Also
    --------
    SwapNoiser : Noise for such tables, which swaps categories as a whole.
    sklearn.preprocessing.OneHotEncoder : Encodes categories alone.

    Notes
    -----
    pandas and polars frames and arrays are restored as such. Numbers that stand for categories, as codes do,
    need a categorical type: ``frame.astype({"code": "category"})``. The categories of a categorical type
    all have a column, also those that no row has. An object column with numbers alone counts as numbers, one
    with other values as categories. Restored times are whole seconds if all training times are, likewise for
    milliseconds and microseconds.

    Examples
    --------
    >>> import pandas as pd
    >>> from sk_denoise import TableEncoder
    >>> frame = pd.DataFrame({"size": [3, 5, 4], "colour": ["red", "blue", None]})
    >>> encoder = TableEncoder().fit(frame)
    >>> encoder.get_feature_names_out().tolist(), encoder.blocks_
    (['size', 'colour_blue', 'colour_red'], [[1, 2]])
    >>> encoder.transform(frame)
    array([[ 3.,  0.,  1.],
           [ 5.,  1.,  0.],
           [ 4., nan, nan]])
    >>> encoder.inverse_transform([[3.9, 0.7, 0.3]]).to_dict("records")
    [{'size': 4, 'colour': 'blue'}]

    A denoiser of a frame:

    >>> from sklearn.pipeline import make_pipeline
    >>> from sk_denoise import DenoisingAutoencoder, SwapNoiser
    >>> frame = pd.DataFrame({"size": range(60), "colour": ["red", "blue", "green"] * 20})
    >>> denoiser = DenoisingAutoencoder(noise=SwapNoiser(0.2), max_epochs=2, random_state=0)
    >>> pipeline = make_pipeline(TableEncoder(), denoiser).fit(frame)
    >>> restored = pipeline[0].inverse_transform(pipeline.predict(frame))
    >>> restored.shape, bool((restored.dtypes == frame.dtypes).all())
    ((60, 2), True)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {"unknown": [StrOptions({"error", "zeros"})]}
    _fitted_schema: ClassVar[dict[str, Rule]] = {
        "column_codes_": Rule(lambda v, encoder: _are_codes(v, encoder), "a code for each column"),
        "library_": one_of(*LIBRARIES),
        "array_dtype_": Rule(lambda v, _: _is_type(v), "the name of a type"),
        "_sample_shape_": Rule(SAMPLES["_sample_shape_"].test, "the shape of a row", required=False),
    }
    column_codes_: list[ColumnCode]

    def __init__(self, *, unknown: Literal["error", "zeros"] = "error") -> None:
        self.unknown = unknown

    @keeps_array_type
    @as_one_task
    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn the kind, type and categories of each column.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_columns)
            Frame of pandas or polars, or an array.
        y : ignored
            Present for scikit-learn's conventions.

        Returns
        -------
        self
        """
        self._fit(X, y)
        return self

    @keeps_array_type
    @as_one_task
    def fit_transform(self, X: Any, y: Any = None) -> Any:
        """Fit to a frame and return it as numbers.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_columns)
            Frame of pandas or polars, or an array.
        y : ignored
            Present for scikit-learn's conventions.

        Returns
        -------
        ndarray or DataFrame of shape (n_samples, n_outputs)
            Numbers in double precision.
        """
        return self._encode(self._fit(X, y))

    @keeps_array_type
    def transform(self, X: Any) -> Any:
        """Return a frame as numbers.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_columns)
            Rows with the columns of ``fit``.

        Returns
        -------
        ndarray or DataFrame of shape (n_samples, n_outputs)
            Numbers in double precision; NaN where a value is missing.
        """
        check_is_fitted(self)
        return self._encode(self._check(X, reset=False))

    @keeps_array_type
    def inverse_transform(self, X: ArrayLike) -> Any:
        """Return a frame from numbers.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_outputs)
            Output of ``transform``, or of a denoiser or imputer after it.

        Returns
        -------
        DataFrame or ndarray of shape (n_samples, n_columns)
            Frame of the library, names and types of ``fit``, with the index of X if it has one.
        """
        check_is_fitted(self)
        refuse_masked(X)
        # Names may come from a step after this one, so that they are not compared.
        numbers = np.asarray(
            check_array(X, dtype=np.float64, ensure_all_finite="allow-nan", input_name="X", estimator=self)
        )
        width = self._n_features_out
        if numbers.shape[1] != width:
            raise ValueError(
                f"X has {numbers.shape[1]} columns, and {type(self).__name__} made {width} of the "
                f"{self.n_features_in_} columns of the frame. Pass a matrix with all of them, in their order."
            )
        starts = self._starts()
        parts = [numbers[:, a : a + code.width] for a, code in zip(starts, self.column_codes_, strict=True)]
        columns = [_restore(code, part) for code, part in zip(self.column_codes_, parts, strict=True)]
        if self.library_ == "pandas":
            return _to_pandas(self.column_codes_, columns, getattr(X, "index", None))
        if self.library_ == "polars":
            return _to_polars(self.column_codes_, columns)
        return _to_array(self.column_codes_, columns, self.array_dtype_)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return the names of the output columns: ``colour_red`` for a category.

        Parameters
        ----------
        input_features : array-like of str, optional
            Names of the columns, if ``fit`` got an array.

        Returns
        -------
        ndarray of str
        """
        check_is_fitted(self)
        labels = super().get_feature_names_out(input_features)
        names: dict[str, None] = {}
        for label, code in zip(labels, self.column_codes_, strict=True):
            is_block = code.kind == "category"
            for name in [f"{label}_{category}" for category in code.categories] if is_block else [str(label)]:
                # A column "a_b" beside a category "b" of a column "a"
                while name in names:
                    name += "_"
                names[name] = None
        return np.array([*names], dtype=object)

    @property
    def blocks_(self) -> list[list[int]]:
        """Output columns of each column with categories."""
        check_is_fitted(self)
        return [
            [*range(start, start + code.width)]
            for start, code in zip(self._starts(), self.column_codes_, strict=True)
            if code.kind == "category" and code.width
        ]

    @property
    def _n_features_out(self) -> int:
        return sum(code.width for code in self.column_codes_)

    def _starts(self) -> list[int]:
        """Return the first output column of each column."""
        starts: list[int] = np.cumsum([0, *(code.width for code in self.column_codes_[:-1])]).tolist()
        return starts

    def _fit(self, X: Any, y: Any) -> Any:
        check_parameters(self, self._parameter_constraints)
        table = self._check(X, reset=True)
        check_lengths(table, y)
        self.library_ = _library_of(table)
        self.array_dtype_ = ""
        if self.library_ == "numpy":
            self.array_dtype_ = "object" if table.dtype.kind == "O" else table.dtype.str
        columns = [*_iterate_columns(table)]
        self.column_codes_ = [_READERS[self.library_](label, column) for label, column in columns]
        if not self._n_features_out:
            raise ValueError("All values in X are missing, and no column has numbers or categories.")
        for code, (_, column) in zip(self.column_codes_, columns, strict=True):
            _warn_of_column(code, column)
        return table

    def _check(self, X: Any, *, reset: bool) -> Any:
        """Check the number, names and kind of the columns; arrays and lists become arrays."""
        refuse_masked(X)
        if _library_of(X) == "numpy":
            options = {"dtype": None, "ensure_all_finite": False, "input_name": "X", "estimator": self}
            X = np.asarray(check_array(X, **options))
        elif 0 in X.shape:
            what = "sample(s)" if X.shape[0] == 0 else "feature(s)"
            raise ValueError(f"Found a frame with 0 {what} (shape={tuple(X.shape)}), and 1 is required.")
        validate_data(self, X, reset=reset, skip_check_array=True)
        return X

    def _encode(self, table: Any) -> Floats:
        parts = []
        for code, (label, column) in zip(self.column_codes_, _iterate_columns(table), strict=True):
            try:
                part = _ENCODERS[code.kind](code, column, self.unknown)
            except (TypeError, ValueError, OverflowError) as error:
                raise ValueError(f"The column {label!r} of X, a {code.kind} in fit: {error}") from error
            parts.append(part.reshape(table.shape[0], code.width))
        encoded = np.concatenate(parts, axis=1)
        if np.isinf(encoded).any():
            raise ValueError("Input X contains infinity or a value too large for dtype('float64').")
        return encoded

    def __sklearn_tags__(self) -> Tags:
        tags: Tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = False
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        assert tags.transformer_tags is not None
        tags.transformer_tags.preserves_dtype = []
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "column_codes_")


# Columns of the libraries ------------------------------------------------------------------------------


def _library_of(table: Any) -> str:
    """Return the library of a frame, "numpy" for arrays and lists."""
    if hasattr(table, "iloc") and hasattr(table, "columns"):
        return "pandas"
    return "polars" if type(table).__module__.startswith("polars") and hasattr(table, "columns") else "numpy"


def _iterate_columns(table: Any) -> Iterable[tuple[Any, Any]]:
    """Yield the label and the values of each column."""
    library = _library_of(table)
    if library == "pandas":
        # By position, because labels may appear twice.
        yield from ((label, table.iloc[:, place]) for place, label in enumerate(table.columns))
    elif library == "polars":
        yield from zip(table.columns, table.get_columns(), strict=True)
    else:
        yield from ((place, table[:, place]) for place in range(table.shape[1]))


def _is_missing(value: Any) -> bool:
    is_mark = value is None or type(value).__name__ in ("NAType", "NaTType")
    return is_mark or (isinstance(value, float | np.floating) and value != value)


def _values_of(column: Any) -> list[Any]:
    """Return the values of a column as objects of Python, None for missing ones."""
    if not isinstance(column, np.ndarray) and hasattr(column, "to_list") and not hasattr(column, "iloc"):
        return list(column.to_list())
    values = column.astype(object)
    plain = (value.item() if isinstance(value, np.generic) else value for value in values)
    return [None if _is_missing(value) else value for value in plain]


def _key(value: Any) -> Any:
    # To Python True equals 1, and to a user it does not.
    return (value,) if isinstance(value, bool) else value


def _code_of_objects(label: Any, column: Any, dtype: str) -> ColumnCode:
    """Return the code of a column of objects or texts, by its values."""
    raw = list(column)
    has_none = any(value is None for value in raw)
    values = [value for value in _values_of(column) if value is not None]
    if values and all(isinstance(value, bool) for value in values):
        return ColumnCode(label, "flag", dtype, [], has_none=has_none)
    if values and all(isinstance(value, Real) and not isinstance(value, bool) for value in values):
        is_whole = all(isinstance(value, Integral) for value in values)
        return ColumnCode(label, "integer" if is_whole else "number", dtype, [], has_none=has_none)
    if any(isinstance(value, date | time | timedelta | complex) for value in values):
        raise ValueError(
            f"The column {label!r} holds values of type {type(values[0]).__name__} as objects. Convert it "
            "first, times by pandas.to_datetime or pandas.to_timedelta."
        )
    try:
        distinct = {_key(value): value for value in values}
    except TypeError as error:
        raise ValueError(f"The column {label!r} holds values that are no categories: {error}.") from error
    try:
        categories = sorted(distinct.values())
    except TypeError:
        # Values of several types have no order but that of their appearance.
        categories = [*distinct.values()]
    return ColumnCode(label, "category", dtype, categories, has_none=has_none)


def _code_of_times(label: Any, kind: str, dtype: str, times: Any, zone: str | None) -> ColumnCode:
    """Return the code of a column of times, ``datetime64`` or ``timedelta64`` in UTC."""
    unit = np.datetime_data(times.dtype)[0]
    if unit not in UNITS_PER_DAY:
        # Longer units of numpy, such as months and hours
        unit = "s"
        times = times.astype(f"{times.dtype.kind}8[s]")
    ticks = times.astype(np.int64)
    ticks = ticks[ticks != NO_TIME]
    per_day = UNITS_PER_DAY[unit]
    steps = [per_day // step for step in STEPS_PER_DAY if per_day % step == 0]
    step = next((step for step in steps if not (ticks % step).any()), 1)
    origin = int(ticks.min()) if len(ticks) and kind == "datetime" else 0
    return ColumnCode(label, kind, dtype, [], unit=unit, zone=zone, origin=origin, step=step)


def _read_pandas(label: Any, column: Any) -> ColumnCode:
    """Return the code of a column of pandas."""
    from pandas import CategoricalDtype
    from pandas.api import types

    dtype = column.dtype
    if isinstance(dtype, CategoricalDtype):
        kind = str(dtype.categories.dtype)
        categories = dtype.categories.tolist()
        return ColumnCode(label, "category", "category", categories, kind, bool(dtype.ordered))
    if types.is_datetime64_any_dtype(dtype) or types.is_timedelta64_dtype(dtype):
        kind = "datetime" if types.is_datetime64_any_dtype(dtype) else "duration"
        zone = getattr(dtype, "tz", None)
        return _code_of_times(label, kind, str(dtype), _times_of(column), None if zone is None else str(zone))
    if types.is_bool_dtype(dtype):
        return ColumnCode(label, "flag", str(dtype), [])
    if types.is_integer_dtype(dtype):
        return ColumnCode(label, "integer", str(dtype), [])
    if types.is_float_dtype(dtype):
        return ColumnCode(label, "number", str(dtype), [])
    if types.is_object_dtype(dtype) or types.is_string_dtype(dtype):
        return _code_of_objects(label, column, str(dtype))
    raise ValueError(
        f"The column {label!r} has the type {dtype}, which has no encoding. Convert it to numbers, booleans, "
        "categories, texts or times."
    )


def _polars() -> Any:
    """Return the module of polars, which frames of polars need."""
    # By name: the library works without it, and no extra brings it.
    return import_module("polars")


def _polars_type(column: Any) -> str:
    """Return the name of the type of a column of polars."""
    return str(column.dtype.base_type().__name__)


def _read_polars(label: Any, column: Any) -> ColumnCode:
    """Return the code of a column of polars."""
    dtype = column.dtype
    name = _polars_type(column)
    if name in ("Datetime", "Duration", "Date"):
        kind = "duration" if name == "Duration" else "datetime"
        return _code_of_times(label, kind, name, _times_of(column), getattr(dtype, "time_zone", None))
    if name == "Boolean":
        return ColumnCode(label, "flag", name, [])
    if dtype.is_integer() or dtype.is_float():
        return ColumnCode(label, "integer" if dtype.is_integer() else "number", name, [])
    if name == "Enum":
        return ColumnCode(label, "category", name, dtype.categories.to_list())
    if name in ("String", "Categorical"):
        return ColumnCode(label, "category", name, sorted(column.cast(str).drop_nulls().unique().to_list()))
    if name == "Null":
        return ColumnCode(label, "category", name, [])
    raise ValueError(
        f"The column {label!r} has the type {dtype}, which has no encoding. Cast it to numbers, Boolean, "
        "String, Enum or Datetime."
    )


def _read_array(label: Any, column: Any) -> ColumnCode:
    """Return the code of a column of an array."""
    kind = {"f": "number", "i": "integer", "u": "integer", "b": "flag"}.get(column.dtype.kind)
    if kind is not None:
        return ColumnCode(label, kind, str(column.dtype), [])
    if column.dtype.kind in "Mm":
        kind = "datetime" if column.dtype.kind == "M" else "duration"
        return _code_of_times(label, kind, str(column.dtype), column, None)
    if column.dtype.kind in "OU":
        return _code_of_objects(label, column, "object")
    raise ValueError(f"X has the type {column.dtype}, which has no encoding. Convert it to numbers or texts.")


_READERS: dict[str, Callable[[Any, Any], ColumnCode]] = {
    "pandas": _read_pandas,
    "polars": _read_polars,
    "numpy": _read_array,
}


def _warn_of_column(code: ColumnCode, column: Any) -> None:
    """Warn of columns of which the encoding loses or explains nothing."""
    if code.kind == "integer":
        numbers = np.abs(_numbers_of(column))
        if np.nanmax(numbers, initial=0) > MAX_EXACT:
            warn_user(
                f"The column {code.label!r} holds integers beyond 2**53, which lose their last digits in "
                "double precision. If they are identifiers, leave the column out."
            )
    n_categories = len(code.categories)
    is_text = code.kind == "category" and code.dtype != "category"
    if is_text and n_categories > max(MAX_IDENTIFIERS, UNIQUE_SHARE * len(column)):
        warn_user(
            f"The column {code.label!r} has {n_categories} categories in {len(column)} rows, each of which "
            "becomes a column. Leave it out if it holds identifiers or free text."
        )


# From columns to numbers -------------------------------------------------------------------------------


def _numbers_of(column: Any) -> Floats:
    """Return a column of numbers or truth values in double precision."""
    if isinstance(column, np.ndarray) and column.dtype.kind in "fiub":
        return column.astype(np.float64)
    if type(column).__module__.startswith("polars"):
        if not (column.dtype.is_numeric() or str(column.dtype) in ("Boolean", "Null")):
            raise TypeError(f"it has the type {column.dtype} now.")
        return np.asarray(column.cast(_polars().Float64).to_numpy(), np.float64)
    if getattr(column.dtype, "kind", "O") in "fiub" and hasattr(column, "iloc"):
        return np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan))
    values = _values_of(column)
    if not all(value is None or isinstance(value, Real) for value in values):
        odd = next(value for value in values if value is not None and not isinstance(value, Real))
        raise TypeError(f"it holds {odd!r:.60} now, which is no number.")
    return np.array([math.nan if value is None else float(value) for value in values])


def _times_of(column: Any) -> Any:
    """Return a column of times as an array of numpy, in UTC."""
    if isinstance(column, np.ndarray):
        if column.dtype.kind not in "Mm":
            raise TypeError(f"it has the type {column.dtype} now, which is no time.")
        return column
    if type(column).__module__.startswith("polars"):
        name = _polars_type(column)
        if name not in ("Date", "Datetime", "Duration"):
            raise TypeError(f"it has the type {column.dtype} now, which is no time.")
        unit = getattr(column.dtype, "time_unit", None) or "D"
        ticks = column.to_physical().cast(_polars().Int64).fill_null(NO_TIME).to_numpy()
        return ticks.astype(np.int64).view(f"{'m' if name == 'Duration' else 'M'}8[{unit}]")
    if getattr(column.dtype, "tz", None) is not None:
        column = column.dt.tz_convert("UTC").dt.tz_localize(None)
    times = column.to_numpy()
    if times.dtype.kind not in "Mm":
        raise TypeError(f"it has the type {column.dtype} now, which is no time.")
    return times


def _encode_number(code: ColumnCode, column: Any, unknown: str) -> Floats:
    return _numbers_of(column)


def _encode_time(code: ColumnCode, column: Any, unknown: str) -> Floats:
    """Return days since the origin."""
    zone = getattr(column.dtype, "tz", getattr(column.dtype, "time_zone", None))
    if (zone is None) != (code.zone is None):
        raise ValueError("it has a time zone now, and had none." if zone else "it had a time zone.")
    times = _times_of(column)
    if (times.dtype.kind == "M") != (code.kind == "datetime"):
        raise TypeError("times and durations differ.")
    origin = np.array(code.origin, np.int64).view(f"{times.dtype.kind}8[{code.unit}]")
    return np.asarray((times - origin) / np.timedelta64(1, "D"), np.float64)


def _encode_category(code: ColumnCode, column: Any, unknown: str) -> Floats:
    """Return zeros and ones, NaN in all columns for missing values."""
    places = {_key(category): place for place, category in enumerate(code.categories)}
    values = _values_of(column)
    chosen = np.array([-2 if value is None else places.get(_key(value), -1) for value in values], np.intp)
    if unknown == "error" and (chosen == -1).any():
        new = [*dict.fromkeys(value for value, place in zip(values, chosen, strict=True) if place == -1)]
        raise ValueError(
            f'the categories {new[:5]!r:.200} are not those of the training rows. Pass unknown="zeros" to '
            "encode such categories as zeros."
        )
    block = np.zeros((len(values), code.width))
    rows = np.flatnonzero(chosen >= 0)
    block[rows, chosen[rows]] = 1
    block[chosen == -2] = np.nan
    return block


_ENCODERS: dict[str, Callable[[ColumnCode, Any, str], Floats]] = {
    "number": _encode_number,
    "integer": _encode_number,
    "flag": _encode_number,
    "category": _encode_category,
    "datetime": _encode_time,
    "duration": _encode_time,
}


# From numbers to columns -------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Restored:
    """Values of a column, and whether they are missing.

    Attributes
    ----------
    values : ndarray
        Floats, integers, truth values, numbers of categories, or times as integers.
    missing : ndarray of bool
        Whether a value is missing; the value is then 0.
    """

    values: NDArray[Any]
    missing: NDArray[np.bool_]


def _restore(code: ColumnCode, part: Floats) -> _Restored:
    """Return the values of a column from its columns of numbers."""
    if code.kind == "category":
        if not code.width:
            return _Restored(np.zeros(len(part), np.intp), np.ones(len(part), bool))
        known = np.where(np.isnan(part), -np.inf, part)
        # Zeros everywhere stand for unknown categories.
        missing = np.asarray(np.isnan(part).all(axis=1) | ~np.nan_to_num(part).any(axis=1))
        return _Restored(known.argmax(axis=1), missing)
    numbers, missing = np.nan_to_num(part[:, 0], nan=0.0), np.isnan(part[:, 0])
    if code.kind == "number":
        return _Restored(numbers, missing)
    if code.kind == "flag":
        return _Restored(numbers >= 0.5, missing)
    if code.kind == "integer":
        return _Restored(np.rint(numbers), missing)
    ticks = np.rint(numbers * (UNITS_PER_DAY[code.unit] / code.step))
    # Times beyond the range of their type are its ends.
    limit = (2**62) // code.step
    whole = np.clip(ticks, -limit, limit).astype(np.int64) * code.step
    return _Restored(whole + code.origin, missing)


def _as_type(code: ColumnCode, restored: _Restored, dtype: Any) -> NDArray[Any]:
    """Return values as a type of numpy; refuse missing integers and truth values."""
    dtype = np.dtype(dtype)
    if dtype.kind in "iub" and restored.missing.any():
        raise ValueError(
            f"The column {code.label!r} has the type {dtype}, which has no missing values, and X has NaN in "
            "it. Fill them first, or fit to a nullable column such as Int64."
        )
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        # The largest float below the end of 64 bits
        high = np.nextafter(float(limits.max), 0) if limits.max > MAX_EXACT else float(limits.max)
        whole: NDArray[Any] = np.clip(restored.values, float(limits.min), high).astype(dtype)
        return whole
    if dtype.kind == "b":
        return restored.values.astype(bool)
    numbers: NDArray[Any] = np.where(restored.missing, np.nan, restored.values).astype(dtype)
    return numbers


def _as_objects(code: ColumnCode, restored: _Restored, mark: Any = None) -> NDArray[np.object_]:
    """Return values as objects of Python, with a mark for missing ones."""
    objects = np.empty(len(restored.values), object)
    values = restored.values.tolist()
    if code.kind == "category":
        values = [code.categories[place] if code.categories else mark for place in values]
    elif code.kind == "integer":
        values = [int(value) for value in values]
    objects[:] = [
        mark if lacks else value for value, lacks in zip(values, restored.missing.tolist(), strict=True)
    ]
    return objects


def _as_ticks(restored: _Restored) -> NDArray[np.int64]:
    return np.where(restored.missing, NO_TIME, restored.values).astype(np.int64)


def _to_pandas(codes: list[ColumnCode], columns: list[_Restored], index: Any) -> Any:
    """Return a frame of pandas."""
    import pandas as pd

    # An array has no index, and a list has a method of this name.
    index = index if isinstance(index, pd.Index) else pd.RangeIndex(len(columns[0].values))
    series = {
        place: _to_pandas_column(code, column)
        for place, (code, column) in enumerate(zip(codes, columns, strict=True))
    }
    frame = pd.DataFrame(series)
    frame.columns = pd.Index([code.label for code in codes])
    return frame.set_axis(index, axis=0)


def _to_pandas_column(code: ColumnCode, restored: _Restored) -> Any:
    """Return a column of pandas with its type."""
    import pandas as pd

    if code.dtype == "category":
        index = pd.Index(code.categories, dtype=code.category_dtype)
        dtype = pd.CategoricalDtype(index, ordered=code.is_ordered)
        places = np.where(restored.missing, -1, restored.values)
        return pd.Series(pd.Categorical.from_codes(places, dtype=dtype))
    if code.kind in ("datetime", "duration"):
        letter = "M" if code.kind == "datetime" else "m"
        times = pd.Series(_as_ticks(restored).view(f"{letter}8[{code.unit}]"))
        if code.zone is not None:
            times = times.dt.tz_localize("UTC").dt.tz_convert(code.zone)
        return times.astype(code.dtype)
    dtype = pd.api.types.pandas_dtype(code.dtype)
    if dtype == np.dtype(object) or code.kind == "category":
        return pd.Series(_as_objects(code, restored, None if code.has_none else np.nan), dtype=dtype)
    if isinstance(dtype, np.dtype):
        return pd.Series(_as_type(code, restored, dtype))
    plain = {"flag": bool, "integer": np.int64}.get(code.kind, np.float64)
    column = pd.Series(restored.values.astype(plain)).astype(dtype)
    column[restored.missing] = pd.NA
    return column


def _to_polars(codes: list[ColumnCode], columns: list[_Restored]) -> Any:
    """Return a frame of polars."""
    pl = _polars()
    series = []
    for code, restored in zip(codes, columns, strict=True):
        dtype = getattr(pl, code.dtype)
        if code.kind in ("datetime", "duration"):
            ticks = pl.Series(code.label, restored.values.astype(np.int64))
            column = ticks.set(pl.Series(restored.missing), None)
            if code.dtype == "Datetime":
                dtype = pl.Datetime(code.unit, code.zone)
            elif code.dtype == "Duration":
                dtype = pl.Duration(code.unit)
            series.append(column.cast(pl.Int32).cast(dtype) if code.dtype == "Date" else column.cast(dtype))
            continue
        if not (isinstance(dtype, type) and issubclass(dtype, pl.DataType)):
            raise ValueError(f"polars has no type {code.dtype!r:.40} for the column {code.label!r}.")
        values = _as_objects(code, restored).tolist()
        if code.dtype == "Enum":
            dtype = pl.Enum(code.categories)
        if code.kind == "integer" and code.dtype.startswith(("Int", "UInt")):
            limits = np.iinfo(code.dtype.lower())
            values = [None if v is None else min(max(v, int(limits.min)), int(limits.max)) for v in values]
        series.append(pl.Series(code.label, values, dtype=dtype))
    return pl.DataFrame(series)


def _to_array(codes: list[ColumnCode], columns: list[_Restored], dtype: str) -> NDArray[Any]:
    """Return an array of the type of the training array."""
    kind = np.dtype(dtype).kind
    pairs = list(zip(codes, columns, strict=True))
    if kind in "fiub":
        return np.column_stack([_as_type(code, column, dtype) for code, column in pairs])
    if kind in "Mm":
        return np.column_stack([_as_ticks(c).view(f"{kind}8[{code.unit}]") for code, c in pairs]).astype(
            dtype
        )
    marked = [_as_objects(code, column, None if code.has_none else np.nan) for code, column in pairs]
    return np.column_stack(marked).astype(dtype)


def _is_type(value: Any) -> bool:
    """Return whether a value is the name of a type of arrays, or empty for frames."""
    if type(value) is not str:
        return False
    try:
        return value in ("", "object") or np.dtype(value).kind in "biufMmU"
    except TypeError:
        return False


def _are_codes(value: Any, encoder: Any) -> bool:
    rules = ColumnCode._fitted_schema
    return (
        type(value) is list
        and len(value) == encoder.n_features_in_
        and all(
            type(code) is ColumnCode
            and all(rule.test(getattr(code, name), code) for name, rule in rules.items())
            and (code.kind in ("datetime", "duration")) == bool(code.unit)
            for code in value
        )
    )
