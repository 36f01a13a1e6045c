"""Imputation of gaps in tables and frames; ``_gap_model.py`` holds the model."""

from __future__ import annotations

import math
from collections.abc import Iterator
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from sk_denoise._compat import SampleTransformer, as_one_task, keeps_array_type
from sk_denoise._random import root_seed, stream_seed
from sk_denoise._resources import threads_for_flops
from sk_denoise._schema import (
    FEATURE_NUMBERS,
    SEED,
    Rule,
    is_count,
    is_number,
)
from sk_denoise._validation import (
    HasMethods,
    Interval,
    Noiser,
    StrOptions,
    check_parameters,
    refuse_masked,
    validate_data,
    warn_user,
)
from sk_denoise.estimators._gap_model import FillModel, MaskDraw, learn_model
from sk_denoise.training import resolve_device

__all__ = ["DenoisingImputer"]

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

# Categories of a column with a column of their own; rarer ones share the rest.
MAX_CATEGORIES = 50


class DenoisingImputer(SampleTransformer):
    """Fill gaps in tables from the other entries of the row.

    Missing entries are a kind of corruption. ``fit`` hides known entries, as other rows lack them, and learns
    to restore them. A linear answer comes first: the conditional mean of Gaussian distributions of the
    columns, as they are and as normal scores. Kernels learn its error, and a network does in tables with many
    rows. Hidden entries of held-out rows decide on the share of each, for each column.

    Observed entries are returned as they are, bit for bit. Rows need not be those of the fit.

    Parameters
    ----------
    missing_values : float, str or None, default=nan
        Value of missing entries. NaN, None and ``pandas.NA`` in frames count as missing in any case.
    noise : "auto", float, pair of float or noiser, default="auto"
        Entries to hide in training. "auto" hides in a row entries that another row lacks, and hides entries
        of complete columns at random. A number is the share of entries to hide, between 0 and 1; a pair
        ``(low, high)`` draws one for each row. Of a noiser, the entries that it changes are hidden, such as
        those of a :class:`~sk_denoise.CopiedMaskNoiser` or :class:`~sk_denoise.MaskingNoiser`.
    max_epochs : int, default=20
        Passes of the network over the masked rows, at least 0. Tables of fewer than 2,000 rows have no
        network.
    add_indicator : bool, default=False
        Whether ``transform`` appends a column of zeros and ones for each column with gaps in ``fit``, one for
        a gap.
    keep_empty_features : bool, default=False
        Whether columns without any entry in ``fit`` are filled with zeros. They are dropped otherwise.
    device : str, default="auto"
        Device of the computation, such as "cpu" or "cuda". "auto" prefers a GPU.
    verbose : int, default=0
        From 1 on, ``fit`` prints the error of each part on hidden entries.
    random_state : int, RandomState instance or None, default=None
        Seed of masks, of the network and of ``sample``.

    Attributes
    ----------
    error_ : float
        Root mean squared error of hidden entries of held-out rows, in standard deviations of their columns;
        NaN if there are too few rows.
    errors_ : ndarray of shape (n_features,)
        The same for each column; for categories the root mean squared error of probabilities. NaN for columns
        with too few entries.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of str
        Names of the columns, if X has names.

    Raises
    ------
    ValueError
        By ``fit`` and ``transform``, for infinite numbers, and for NaN in arrays if ``missing_values`` is
        another number.

    See Also
    --------
    make_imputation_scorer : Scores imputers in searches, without truth.
    DenoisingAutoencoder : Removes noise from entries that are there.

    Notes
    -----
    In a pandas frame, columns may hold numbers, booleans, strings, categories and dates, and the output is a
    frame with the same types. Gaps in other columns than those of numbers and dates are filled with the most
    probable category of those in ``fit``. Integers in nullable columns are rounded. In arrays, numbers are
    not rounded: the mean of the possible values has the least squared error.

    Values lie within the range of the fit, extended by the length of its tails, and keep the sign of a column
    with one sign.

    Values far beyond the others of their column, such as slips of the decimal point, stay in the output. They
    count as missing for the other entries of their row, if these are predicted better without them.

    Gaps that depend on their own value cannot be seen in the data, and are filled as if they did not.

    A fit takes memory and time in proportion to the rows and the square to the cube of the columns. Above 160
    columns, with one column for each category, the covariance has a rank of up to 32.

    References
    ----------
    R. J. A. Little and D. B. Rubin, "Statistical Analysis with Missing Data", Wiley (2002), chapter 11; Y.
    Zhao and M. Udell, "Missing value imputation for mixed data via Gaussian copula", KDD (2020); A. Gorla et
    al., "CACTI: leveraging copy masking and contextual information to improve tabular data imputation", ICML
    (2025).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_wine
    >>> from sk_denoise import DenoisingImputer
    >>> X = load_wine().data
    >>> gaps = np.random.default_rng(0).random(X.shape) < 0.2
    >>> X_missing = np.where(gaps, np.nan, X)
    >>> imputer = DenoisingImputer(random_state=0).fit(X_missing[:100])
    >>> filled = imputer.transform(X_missing[100:])
    >>> bool(np.isfinite(filled).all()), bool((filled == X[100:])[~gaps[100:]].all())
    (True, True)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "missing_values": [Real, str, None],
        "noise": [StrOptions({"auto"}), Real, tuple, list, HasMethods(["fit", "corrupt"])],
        "max_epochs": [Interval(Integral, 0, None, closed="left")],
        "add_indicator": ["boolean"],
        "keep_empty_features": ["boolean"],
        "device": [str, torch.device],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
    }
    _fitted_schema: ClassVar[dict[str, Rule]] = {
        "_seed_": SEED,
        "_categories_": Rule(
            lambda v, e: type(v) is list and len(v) == e.n_features_in_ and all(map(_is_categories, v)),
            "categories or None for each column",
        ),
        "_center_": FEATURE_NUMBERS,
        "_is_discrete_": Rule(lambda v, e: _is_flags(v, e.n_features_in_), "a flag for each column"),
        "_is_empty_": Rule(lambda v, e: _is_flags(v, e.n_features_in_), "a flag for each column"),
        "_has_gaps_": Rule(lambda v, e: _is_flags(v, e.n_features_in_), "a flag for each column"),
        "_model_": Rule(
            lambda v, e: v is None or (type(v) is FillModel and v.fits(_count_encoded(e._categories_))),
            "None, or a model of so many columns",
        ),
        "error_": Rule(lambda v, _: isinstance(v, float), "a number"),
        "errors_": Rule(
            lambda v, e: isinstance(v, np.ndarray) and v.dtype.kind == "f" and v.shape == (e.n_features_in_,),
            "a number for each column",
        ),
    }

    def __init__(
        self,
        missing_values: Any = np.nan,
        *,
        noise: Literal["auto"] | float | tuple[float, float] | Noiser = "auto",
        max_epochs: int = 20,
        add_indicator: bool = False,
        keep_empty_features: bool = False,
        device: str | torch.device = "auto",
        verbose: int = 0,
        random_state: int | RandomState | None = None,
    ) -> None:
        self.missing_values = missing_values
        self.noise = noise
        self.max_epochs = max_epochs
        self.add_indicator = add_indicator
        self.keep_empty_features = keep_empty_features
        self.device = device
        self.verbose = verbose
        self.random_state = random_state

    @keeps_array_type
    @as_one_task
    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Learn to fill gaps.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
            Rows, with or without gaps.
        y : object, optional
            Not used.

        Returns
        -------
        self
        """
        check_parameters(self, self._parameter_constraints)
        device = resolve_device(self.device)
        table = self._read(X, reset=True)
        self._seed_ = root_seed(self.random_state)
        rng = np.random.default_rng(stream_seed(self._seed_, "masks"))
        self._categories_ = table.learn_categories()
        columns = self._encode(table)
        owner = _owners(self._categories_)
        known = ~table.gaps
        self._has_gaps_: Flags = np.asarray(table.gaps.any(axis=0))
        self._is_empty_: Flags = np.logical_not(known.any(axis=0))
        self._warn_of_empty(table)
        are_numbers = np.array([categories is None for categories in self._categories_])
        self._is_discrete_ = np.zeros(known.shape[1], dtype=bool)
        self._center_ = np.zeros(known.shape[1])
        for number in np.flatnonzero(are_numbers & ~self._is_empty_):
            values = columns[known[:, number], np.flatnonzero(owner == number)[0]]
            self._center_[number] = values.mean()
            self._is_discrete_[number] = bool((values == np.round(values)).all())
        masks = MaskDraw(self.noise, known, rng)
        with threads_for_flops(float(len(columns)) * columns.shape[1] ** 3):
            self._model_, errors = learn_model(
                columns, owner, masks, device, self.max_epochs, self._seed_, bool(self.verbose)
            )
        self._store_errors(errors, owner)
        return self

    @keeps_array_type
    def transform(self, X: ArrayLike) -> Any:
        """Fill gaps.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
            Rows, which may have gaps in other columns than those of the fit.

        Returns
        -------
        ndarray or DataFrame of shape (n_samples, n_features_out)
            X with gaps filled. Numbers are float32 for float32, else float64. Frames give frames, with their
            types.
        """
        table = self._read_fitted(X)
        return self._restore(table, self._fill(table))

    def sample(self, X: ArrayLike, n_imputations: int = 5) -> list[Any]:
        """Fill gaps several times, each with other plausible values.

        The spread of results computed from each shows the uncertainty from the gaps. Values of one row are
        drawn together. The uncertainty of the model itself is not part of it.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
            Rows, as in ``transform``.
        n_imputations : int, default=5
            Number of outputs, at least 1.

        Returns
        -------
        list of ndarray or DataFrame
            Outputs as of ``transform``. Columns of integers are filled with integers.
        """
        check_parameters_of_sample(n_imputations)
        table = self._read_fitted(X)
        rng = np.random.default_rng(stream_seed(self._seed_, "sample"))
        return [self._restore(table, self._fill(table, rng)) for _ in range(n_imputations)]

    def predict_interval(self, X: ArrayLike, coverage: float = 0.9) -> tuple[Any, Any]:
        """Return intervals that hold missing numbers with a probability.

        Hidden entries of held-out rows calibrate them for each column. They hold a share ``coverage`` of
        the missing numbers of a column, not of every row.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
            Rows, as in ``transform``.
        coverage : float, default=0.9
            Share of missing numbers within their intervals, between 0 and 1.

        Returns
        -------
        low, high : ndarray or DataFrame of shape (n_samples, n_features_out)
            Ends of the intervals. Both are the entry itself if it is known, and the most probable category
            in columns of categories.
        """
        if not (is_number(coverage) and 0 < coverage < 1):
            raise ValueError(f"coverage must be a number between 0 and 1, got {coverage!r}.")
        table = self._read_fitted(X)
        ends = [self._fill(table, level=(1 + sign * float(coverage)) / 2) for sign in (-1, 1)]
        return self._restore(table, ends[0], exact=True), self._restore(table, ends[1], exact=True)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return the names of the output columns.

        Parameters
        ----------
        input_features : array-like of str, optional
            Names of the columns, needed if ``fit`` got an array and other names than x0 are wanted.

        Returns
        -------
        ndarray of str
            Names of the columns that are kept, and ``missingindicator_`` with the name of each column of the
            indicator.
        """
        check_is_fitted(self)
        names = super().get_feature_names_out(input_features)
        indicators = [f"missingindicator_{name}" for name in names[self._indicated]]
        return np.asarray([*names[self._kept], *indicators], dtype=object)

    def __sklearn_tags__(self) -> Tags:
        tags: Tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = False
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_model_")

    # Columns -----------------------------------------------------------------------------------------

    @property
    def _kept(self) -> Flags:
        """Columns of the output."""
        empty: Flags = self._is_empty_
        return np.ones_like(empty) if self.keep_empty_features else np.logical_not(empty)

    @property
    def _indicated(self) -> Flags:
        """Columns with an indicator."""
        indicated: Flags = (
            self._has_gaps_ & self._kept if self.add_indicator else np.zeros_like(self._has_gaps_)
        )
        return indicated

    def _read_fitted(self, X: Any) -> _Table:
        check_is_fitted(self)
        return self._read(X, reset=False)

    def _read(self, X: Any, *, reset: bool) -> _Table:
        """Check X and return its columns, with their gaps."""
        refuse_masked(X)
        frame = _as_frame(X)
        if frame is not None:
            validate_data(self, X, reset=reset, skip_check_array=True)
            if frame.shape[0] < 1 or frame.shape[1] < 1:
                raise ValueError(
                    f"Found array with {frame.shape[0]} sample(s) and {frame.shape[1]} "
                    "feature(s) while a minimum of 1 is required."
                )
            table: _Table = _FrameTable(frame, X, self.missing_values)
        else:
            number: Any = self.missing_values
            allows_nan = not _is_other_number(number)
            array = validate_data(
                self, X, reset=reset, dtype="numeric", ensure_all_finite="allow-nan" if allows_nan else True
            )
            table = _ArrayTable(np.asarray(array), number)
        if reset:
            self._sample_shape_ = (self.n_features_in_,)
        return table

    def _encode(self, table: _Table) -> Floats:
        """Return columns of numbers, and one for each category, with NaN for gaps."""
        return np.column_stack(
            [table.encode(number, categories) for number, categories in enumerate(self._categories_)]
        )

    def _warn_of_empty(self, table: _Table) -> None:
        if self._is_empty_.any() and not self.keep_empty_features:
            names = [str(table.name(number)) for number in np.flatnonzero(self._is_empty_)]
            warn_user(
                f"These columns have no entry and are dropped: {', '.join(names[:10])}. "
                "keep_empty_features=True fills them with zeros."
            )

    def _store_errors(self, errors: tuple[Floats, Floats] | None, owner: NDArray[np.int_]) -> None:
        self.errors_ = np.full(self.n_features_in_, np.nan)
        self.error_ = float("nan")
        if errors is None:
            return
        totals, counts = (np.bincount(owner, part, self.n_features_in_) for part in errors)
        has_entries = counts > 0
        self.errors_[has_entries] = np.sqrt(totals[has_entries] / counts[has_entries])
        if counts.sum() > 0:
            self.error_ = float(np.sqrt(totals.sum() / counts.sum()))

    # Filling -----------------------------------------------------------------------------------------

    def _fill(
        self, table: _Table, rng: np.random.Generator | None = None, level: float | None = None
    ) -> dict[int, Any]:
        """Return values for the gaps of each column with gaps.

        They are drawn if there is a generator, and are quantiles of a level if there is one.
        """
        incomplete = np.flatnonzero(table.gaps.any(axis=0))
        if not len(incomplete):
            return {}
        rows = np.flatnonzero(table.gaps.any(axis=1))
        if self._model_ is not None:
            filled = self._model_.fill(self._encode(table)[rows], rng, level)
        owner = _owners(self._categories_)
        values: dict[int, Any] = {}
        for number in incomplete:
            gaps = table.gaps[rows, number]
            categories = self._categories_[number]
            if self._is_empty_[number] and categories is None:
                values[int(number)] = np.zeros(gaps.sum())
            elif self._is_empty_[number]:
                values[int(number)] = None
            elif self._model_ is None:
                values[int(number)] = np.full(gaps.sum(), self._center_[number])
            elif categories is None:
                column = filled[gaps, np.flatnonzero(owner == number)[0]]
                rounds = rng is not None and self._is_discrete_[number]
                values[int(number)] = np.round(column) if rounds else column
            else:
                values[int(number)] = _choose_categories(
                    filled[np.ix_(gaps, owner == number)], categories, rng
                )
        return values

    def _restore(self, table: _Table, values: dict[int, Any], exact: bool = False) -> Any:
        """Return the table with values in its gaps, and with the indicator."""
        return table.restore(values, self._kept, self._indicated, self.get_feature_names_out(), exact)


def check_parameters_of_sample(n_imputations: Any) -> None:
    """Refuse numbers of imputations that are no counts."""
    if not is_count(n_imputations, 1):
        raise ValueError(f"n_imputations must be an integer of at least 1, got {n_imputations!r}.")


# Tables -------------------------------------------------------------------------------------------------


class _Table:
    """Rows with gaps, in arrays or frames.

    Attributes
    ----------
    gaps : ndarray of shape (n_samples, n_features)
        Whether each entry is missing.
    """

    gaps: Flags

    def name(self, number: Any) -> Any:
        """Return the name of a column."""
        return number

    def learn_categories(self) -> list[list[Any] | None]:
        """Return the categories of each column, None for columns of numbers."""
        return [None] * self.gaps.shape[1]

    def encode(self, number: int, categories: list[Any] | None) -> Floats:
        """Return a column as numbers, or one column for each category, with NaN for gaps."""
        raise NotImplementedError

    def restore(
        self, values: dict[int, Any], kept: Flags, indicated: Flags, names: NDArray[np.object_], exact: bool
    ) -> Any:
        """Return the kept columns with values in their gaps, and indicators of gaps.

        Parameters
        ----------
        values : dict of int to ndarray
            Values for the gaps of a column, in the order of the rows.
        kept, indicated : ndarray of shape (n_features,)
            Columns of the output, and columns with an indicator.
        names : ndarray of str
            Names of the output.
        exact : bool
            Whether numbers in columns of integers stay as they are. They are rounded otherwise.
        """
        raise NotImplementedError


class _ArrayTable(_Table):
    def __init__(self, array: NDArray[Any], missing_value: Any) -> None:
        self.array = array
        gaps = array == missing_value if _is_other_number(missing_value) else np.isnan(array)
        self.gaps = np.asarray(gaps)

    def encode(self, number: int, categories: list[Any] | None) -> Floats:
        if categories is not None:
            raise ValueError(
                f"Column {number} held categories in fit, and X is an array of numbers. Pass a DataFrame."
            )
        return np.where(self.gaps[:, number], np.nan, self.array[:, number].astype(np.float64))

    def restore(
        self, values: dict[int, Any], kept: Flags, indicated: Flags, names: NDArray[np.object_], exact: bool
    ) -> Any:
        kind = self.array.dtype if self.array.dtype in (np.float32, np.float64) else np.float64
        filled = self.array.astype(kind)
        for number, column in values.items():
            filled[self.gaps[:, number], number] = column
        return np.hstack([filled[:, kept], self.gaps[:, indicated].astype(kind)])


class _FrameTable(_Table):
    def __init__(self, frame: Any, X: Any, missing_value: Any) -> None:
        self.frame, self.X = frame, X
        gaps = frame.isna().to_numpy().copy()
        is_nan = isinstance(missing_value, Real) and math.isnan(missing_value)
        if missing_value is not None and not is_nan:
            gaps |= (frame == missing_value).fillna(False).to_numpy(dtype=bool)
        self.gaps = gaps

    def name(self, number: Any) -> Any:
        return self.frame.columns[number]

    def learn_categories(self) -> list[list[Any] | None]:
        return [
            None if _is_numeric(column) else self._most_frequent(number)
            for number, column in enumerate(self._columns())
        ]

    def encode(self, number: int, categories: list[Any] | None) -> Floats:
        column, gaps = self.frame.iloc[:, number], self.gaps[:, number]
        if categories is None:
            if not _is_numeric(column):
                raise ValueError(
                    f"Column {self.name(number)!r} held numbers in fit, and holds {column.dtype} now."
                )
            numbers = np.full(len(column), np.nan)
            given = column[~gaps]
            if column.dtype.kind in "mM":
                given = given.astype("int64")
            numbers[~gaps] = given.to_numpy(dtype=np.float64)
            if np.isinf(numbers).any():
                raise ValueError(
                    f"Column {self.name(number)!r} holds infinity. Mark such entries as missing."
                )
            return numbers
        if _is_numeric(column) and not gaps.all() and not any(isinstance(c, Real) for c in categories):
            raise ValueError(f"Column {self.name(number)!r} held words in fit, and holds {column.dtype} now.")
        places = {category: place for place, category in enumerate(categories)}
        codes = np.array([-1 if gap else places.get(v, -1) for v, gap in zip(column, gaps, strict=True)])
        flags: Floats = (codes[:, None] == np.arange(len(categories))).astype(np.float64)
        flags[gaps] = np.nan
        return flags

    def restore(
        self, values: dict[int, Any], kept: Flags, indicated: Flags, names: NDArray[np.object_], exact: bool
    ) -> Any:
        frame = self.frame.copy()
        for number, column in values.items():
            filled = self._fill_column(number, column, exact)
            frame.isetitem(number, filled)
        frame = frame.iloc[:, np.flatnonzero(kept)]
        for number, name in zip(np.flatnonzero(indicated).tolist(), names[kept.sum() :], strict=True):
            frame[name] = self.gaps[:, number].astype(np.float64)
        if frame.index is self.frame.index or isinstance(self.X, type(frame)):
            return frame
        # An array of objects came in.
        return frame.to_numpy(dtype=object)

    def _fill_column(self, number: int, values: Any, exact: bool) -> Any:
        """Return a column with values in its gaps, of its own type if that can hold them."""
        column, gaps = self.frame.iloc[:, number].copy(), self.gaps[:, number]
        if values is None:
            return column
        kind = column.dtype.kind if hasattr(column.dtype, "kind") else "O"
        if kind in "iu":
            is_nullable = not isinstance(column.dtype, np.dtype)
            if exact or not is_nullable:
                column = column.astype("Float64" if is_nullable else np.float64)
            else:
                values = np.round(values)
        if kind in "mM":
            moments = column.astype("int64").astype(object)
            moments[gaps] = np.round(values).astype(np.int64)
            return moments.astype("int64").astype(column.dtype)
        # pandas refuses doubles in columns of single precision.
        if kind == "f":
            values = values.astype(getattr(column.dtype, "numpy_dtype", column.dtype))
        column.iloc[np.flatnonzero(gaps)] = values
        return column

    def _columns(self) -> Iterator[Any]:
        return (self.frame.iloc[:, number] for number in range(self.frame.shape[1]))

    def _most_frequent(self, number: int) -> list[Any]:
        """Return the categories that occur most, in a fixed order."""
        given = self.frame.iloc[:, number][~self.gaps[:, number]]
        counts = given.astype(object).value_counts()
        order = sorted(counts.index, key=lambda value: (-counts[value], str(value)))
        return [value.item() if isinstance(value, np.generic) else value for value in order[:MAX_CATEGORIES]]


def _as_frame(X: Any) -> Any:
    """Return pandas frames, and arrays of text as frames; None for numbers."""
    if hasattr(X, "iloc") and hasattr(X, "columns"):
        return X
    if isinstance(X, np.ndarray) and X.dtype.kind in "OUS" and X.ndim == 2:
        has_text = X.dtype.kind != "O" or any(isinstance(value, str | bool) for value in X.flat)
        if has_text:
            from pandas import DataFrame

            frame = DataFrame(X)
            return frame.infer_objects() if X.dtype.kind == "O" else frame
    return None


def _is_numeric(column: Any) -> bool:
    """Return whether a column of a frame holds numbers or dates."""
    kind = getattr(column.dtype, "kind", "O")
    if kind in "iufmM":
        return True
    if kind == "c":
        raise ValueError("Complex data not supported.")
    # Numbers with None among them are objects to pandas.
    given = column.dropna()
    is_object = column.dtype == object
    return bool(is_object and all(isinstance(v, Real) and not isinstance(v, bool) for v in given))


def _is_other_number(value: Any) -> bool:
    """Return whether a missing value is a number other than NaN."""
    return isinstance(value, Real) and not math.isnan(value)


def _is_categories(value: Any) -> bool:
    return value is None or (type(value) is list and all(isinstance(v, str | int | float) for v in value))


def _is_flags(value: Any, count: int) -> bool:
    return isinstance(value, np.ndarray) and value.dtype == bool and value.shape == (count,)


def _count_encoded(categories: list[list[Any] | None]) -> int:
    return sum(1 if names is None else len(names) for names in categories)


def _owners(categories: list[list[Any] | None]) -> NDArray[np.int_]:
    """Return the number of the column of X that each encoded column is made of."""
    sizes = [1 if names is None else len(names) for names in categories]
    return np.repeat(np.arange(len(categories)), sizes)


def _choose_categories(
    scores: Floats, categories: list[Any], rng: np.random.Generator | None
) -> NDArray[Any]:
    """Return the most probable category of each row, or one drawn by probability."""
    if rng is None:
        chosen = scores.argmax(axis=1)
    else:
        # A category that nothing speaks for is drawn rarely.
        shares = np.cumsum(np.maximum(scores, 1e-6), axis=1)
        chosen = (rng.random(len(shares))[:, None] * shares[:, -1:] > shares).sum(axis=1)
    names = np.empty(len(categories), dtype=object)
    names[:] = categories
    result: NDArray[Any] = names[chosen]
    return result
