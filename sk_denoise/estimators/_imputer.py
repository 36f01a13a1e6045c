"""Imputation of gaps in tables: a linear answer, then kernels and a network."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted
from torch import Tensor
from torch.nn.functional import silu

from sk_denoise._compat import SampleTransformer, as_one_task, keeps_array_type
from sk_denoise._random import root_seed, stream_seed
from sk_denoise._resources import threads_for_flops
from sk_denoise._schema import (
    FEATURE_NUMBERS,
    POSITIVE_NUMBER,
    SEED,
    Rule,
    conforms,
    is_count,
    is_nonnegative_array,
    is_number,
    is_numeric_array,
    optional,
    record,
)
from sk_denoise._validation import (
    HasMethods,
    Interval,
    Noiser,
    StrOptions,
    check_noiser,
    check_parameters,
    refuse_masked,
    validate_data,
    warn_user,
)
from sk_denoise.training import resolve_device

__all__ = ["DenoisingImputer"]

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

# Rows of a chunk, each of which takes a matrix of all pairs of columns.
CHUNK_ROWS = 512
# Candidates for the number of rows that the prior of independent columns counts as.
STRENGTHS = (1.0, 3.0, 10.0, 30.0, 100.0)
# Rows on which candidates are compared, and rows of EM, for tables with many.
MAX_COMPARED_ROWS, MAX_EM_ROWS = 600, 4000
# Steps of EM, the change of a covariance at which they end, and steps from a start that is nearly right.
MAX_STEPS, TOLERANCE, WARM_STEPS = 30, 2e-3, 3
# Columns from which the covariance has low rank, and the largest rank.
MIN_WIDE, MAX_RANK = 160, 32
# With so many rows for each column, a row hardly changes the covariance that fills it.
ROWS_PER_COLUMN = 60
# Parts of the rows that are filled by models of the other parts, and the fewest rows of a part.
N_FOLDS, MIN_FOLD_ROWS = 5, 4
# Knots of the map of a column to normal scores, and nodes of the mean over normal scores.
N_KNOTS, N_NODES = 64, 11
# Masked rows to learn from, at most, and copies of each row.
MAX_MASKED_ROWS, MAX_COPIES = 6000, 10
# Rows of which the best donor is taken, share of gaps below which a column counts as complete, and shares of
# entries that are hidden in a row with complete columns.
N_DONORS, MIN_GAPS, COMPLETE_SHARES = 4, 0.02, (0.05, 0.5)
# Sides of the matrices of kernels, summed over columns, and columns on which widths are compared.
MAX_SIDES, N_COMPARED_COLUMNS = 10_000, 6
# Landmarks of kernels, and candidates for widths and penalties.
N_LANDMARKS, WIDTHS, PENALTIES = 300, (1.0, 4.0), (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
# Entries that the share of all columns counts as when the share of one column is estimated.
SHARE_WEIGHT = 50.0
# Fewest rows and hidden entries of a column for the network, its width and batches.
MIN_NETWORK_ROWS, WIDTH, BATCH_ROWS, LEARNING_RATE, WEIGHT_DECAY = 2000, 192, 256, 4e-3, 1e-2
MAX_NETWORK_ROWS = 24_000
# Levels of the quantiles of errors, and the fewest errors of a column for quantiles of its own.
LEVELS, MIN_ERRORS = np.linspace(0, 1, 401), 30
# Categories of a column with a column of their own; rarer ones share the rest.
MAX_CATEGORIES = 50
# Different values up to which a column is filled within their range, and the share of rows in the tail that
# the range of other columns is extended by.
MAX_DISCRETE, TAIL = 20, 0.05


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
            lambda v, e: v is None or (type(v) is _FillModel and v.fits(_count_encoded(e._categories_))),
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
        masks = _MaskDraw(self.noise, known, rng)
        with threads_for_flops(float(len(columns)) * columns.shape[1] ** 3):
            self._model_, errors = _learn_model(
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


# Masks --------------------------------------------------------------------------------------------------


@dataclass
class _MaskDraw:
    """Draws of entries to hide.

    Attributes
    ----------
    noise : object
        As the parameter of the imputer.
    known : ndarray of shape (n_samples, n_features)
        Entries that are known.
    rng : Generator
        Source of randomness.
    """

    noise: Any
    known: Flags
    rng: np.random.Generator

    def draw(self, rows: NDArray[np.int_]) -> Flags:
        """Return known entries to hide in some rows; at least one entry stays in each."""
        known, rng = self.known[rows], self.rng
        if isinstance(self.noise, str):
            hidden = self._copy(known) | self._hide_complete(known)
        elif isinstance(self.noise, Real | tuple | list):
            low, high = _as_shares(self.noise)
            hidden = rng.random(known.shape) < rng.uniform(low, high, (len(known), 1))
        else:
            hidden = self._hide_changed(rows)
        hidden &= known
        # One known entry more is of use where nothing was hidden.
        place = (rng.random(known.shape) * known).argmax(axis=1)
        nothing = ~hidden.any(axis=1)
        hidden[nothing, place[nothing]] = True
        everything = ~(known & ~hidden).any(axis=1)
        hidden[everything, place[everything]] = False
        return hidden & known

    def _copy(self, known: Flags) -> Flags:
        """Hide the gaps of another row, of several the one that hides least."""
        best, fewest = np.zeros_like(known), np.full(len(known), known.shape[1] + 1)
        for _ in range(N_DONORS):
            hidden = known & ~self.known[self.rng.integers(len(self.known), size=len(known))]
            count = hidden.sum(axis=1)
            is_better = (count > 0) & (count < fewest) & (known & ~hidden).any(axis=1)
            best[is_better], fewest[is_better] = hidden[is_better], count[is_better]
        return best

    def _hide_complete(self, known: Flags) -> Flags:
        """Hide entries of columns that are complete, which no other row lacks."""
        is_complete = (~self.known).mean(axis=0) < MIN_GAPS
        shares = self.rng.uniform(*COMPLETE_SHARES, (len(known), 1))
        hidden: Flags = is_complete & (self.rng.random(known.shape) < shares * is_complete.mean())
        return hidden

    def _hide_changed(self, rows: NDArray[np.int_]) -> Flags:
        """Hide the entries that a noiser changes."""
        noiser = check_noiser(self.noise)
        values = self.rng.uniform(1, 2, (len(self.known), self.known.shape[1]))
        noiser.fit(values)
        given = torch.as_tensor(values[rows])
        generator = torch.Generator().manual_seed(int(self.rng.integers(2**31)))
        changed: Flags = (noiser.corrupt(given.clone(), generator) != given).numpy()
        return changed


def _as_shares(noise: Any) -> tuple[float, float]:
    low, high = (noise, noise) if isinstance(noise, Real) else tuple(noise)
    if not 0 < low <= high < 1:
        raise ValueError(f"noise must be a share or a pair of shares between 0 and 1, got {noise!r}.")
    return float(low), float(high)


# Gaussian models ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Gaussian:
    """Gaussian distribution of standardized columns.

    Attributes
    ----------
    mean : ndarray of shape (d,)
        Means.
    factors : ndarray of shape (d, rank)
        Loadings of a covariance of low rank; the covariance itself, of shape (d, d), where ``rest`` is None.
    rest : ndarray of shape (d,) or None
        Variances beside those of the loadings.
    """

    _fitted_schema: ClassVar[dict[str, Rule]] = {
        "mean": Rule(lambda v, _: is_numeric_array(v, np.shape(v)) and v.ndim == 1, "means"),
        "factors": Rule(
            lambda v, g: (
                is_numeric_array(v, np.shape(v))
                and v.ndim == 2
                and len(v) == len(g.mean)
                and (g.rest is not None or v.shape[1] == len(v))
            ),
            "loadings, or a covariance",
        ),
        "rest": optional(Rule(lambda v, g: is_nonnegative_array(v, g.mean.shape), "variances")),
    }
    mean: Floats
    factors: Floats
    rest: Floats | None

    @classmethod
    def fit(cls, rows: Floats, strength: float, device: torch.device, start: _Gaussian | None = None) -> Self:
        """Fit to rows with NaN for gaps, by expectation maximization.

        Parameters
        ----------
        rows : ndarray of shape (n, d)
            Standardized rows.
        strength : float
            Number of rows that a prior of independent columns counts as.
        device : torch.device
            Device of the computation.
        start : _Gaussian, optional
            Distribution of similar rows, from which a few steps are enough.
        """
        if rows.shape[1] > MIN_WIDE:
            return cls(*_fit_factors(rows, strength, start))
        known = ~np.isnan(rows)
        values, n = np.where(known, rows, 0.0), len(rows)
        mean, covariance = (
            _start_covariance(values, known, strength) if start is None else (start.mean, start.factors)
        )
        for _ in range(MAX_STEPS if start is None else WARM_STEPS):
            model = cls(mean, covariance, None)
            filled, spread = np.empty_like(values), np.zeros_like(covariance)
            for chunk, part in model._posteriors(values, known, device):
                filled[chunk], missing = part.filled, part.missing
                spread += (
                    ((part.covariances() * missing[:, :, None]) * missing[:, None, :]).sum(0).cpu().numpy()
                )
            mean = filled.mean(axis=0)
            scatter = (filled - mean).T @ (filled - mean) + spread
            earlier = covariance
            prior = strength * np.diag(np.diag(scatter) / n)
            # A little is added so that columns which are equal have an inverse.
            covariance = (scatter + prior) / (n + strength) + 1e-6 * np.eye(len(mean))
            if np.abs(covariance - earlier).max() < TOLERANCE:
                break
        return cls(mean, covariance, None)

    def condition(self, rows: Floats, device: torch.device) -> tuple[Floats, Floats]:
        """Return rows with conditional means in their gaps, and the variances of these."""
        known = ~np.isnan(rows)
        values = np.where(known, rows, 0.0)
        filled, variances = np.empty_like(values), np.empty_like(values)
        for chunk, part in self._posteriors(values, known, device):
            filled[chunk], variances[chunk] = part.filled, part.variances()
        return filled, variances

    def draw(self, rows: Floats, rng: np.random.Generator, device: torch.device) -> Floats:
        """Draw correlated errors of conditional means, each of variance 1."""
        known = ~np.isnan(rows)
        values = np.where(known, rows, 0.0)
        draws = rng.standard_normal(values.shape)
        # A row of the distribution less its own conditional mean is a draw of the error.
        if self.rest is None:
            simulated = draws @ np.linalg.cholesky(self.factors).T
        else:
            latent = rng.standard_normal((len(values), self.factors.shape[1]))
            simulated = latent @ self.factors.T + draws * np.sqrt(self.rest)
        filled, variances = self.condition(np.where(known, simulated + self.mean, np.nan), device)
        errors: Floats = (simulated + self.mean - filled) / np.sqrt(np.maximum(variances, 1e-12))
        return errors

    def _posteriors(self, values: Floats, known: Flags, device: torch.device) -> Iterator[tuple[slice, Any]]:
        n_rows = CHUNK_ROWS if self.rest is None else max(1, CHUNK_ROWS * 4)
        for start in range(0, len(values), n_rows):
            chunk = slice(start, start + n_rows)
            kind = _Posterior if self.rest is None else _FactorPosterior
            yield chunk, kind(self, values[chunk], known[chunk], device)


class _Posterior:
    """Distribution of the missing entries of some rows, given the others."""

    def __init__(self, model: _Gaussian, values: Floats, known: Flags, device: torch.device) -> None:
        flags = torch.as_tensor(known, device=device)
        self.covariance = torch.as_tensor(model.factors, device=device)
        self.missing = (~flags).to(self.covariance.dtype)
        # Rows and columns of missing entries are those of the identity, so that all rows have one size.
        blocks = self.covariance * (flags[:, :, None] & flags[:, None, :])
        blocks.diagonal(dim1=1, dim2=2).add_(self.missing)
        precision = torch.cholesky_inverse(torch.linalg.cholesky(blocks))
        precision.diagonal(dim1=1, dim2=2).sub_(self.missing)
        self.gains = precision @ self.covariance
        mean = torch.as_tensor(model.mean, device=device)
        given = torch.as_tensor(values, device=device)
        errors = torch.where(flags, given - mean, 0.0)
        predicted = mean + (errors[:, None, :] @ self.gains)[:, 0]
        self.filled = torch.where(flags, given, predicted).cpu().numpy()

    def covariances(self) -> Tensor:
        """Return the conditional covariance of all entries of each row."""
        return self.covariance - self.covariance @ self.gains

    def variances(self) -> Floats:
        """Return the conditional variances, 0 for known entries."""
        explained = (self.covariance * self.gains.transpose(1, 2)).sum(dim=2)
        left = (self.covariance.diagonal() - explained).clamp(min=1e-9) * self.missing
        variances: Floats = left.cpu().numpy()
        return variances


class _FactorPosterior:
    """The same for a covariance of low rank."""

    def __init__(self, model: _Gaussian, values: Floats, known: Flags, device: torch.device) -> None:
        assert model.rest is not None
        self.missing = ~known
        self.scores, self.inverses = _factor_scores(model, values, known)
        self.model = model
        self.filled = np.where(known, values, model.mean + self.scores @ model.factors.T)

    def variances(self) -> Floats:
        """Return the conditional variances, 0 for known entries."""
        spread = np.einsum(
            "jk,nkl,jl->nj", self.model.factors, self.inverses, self.model.factors, optimize=True
        )
        variances: Floats = (spread + self.model.rest) * self.missing
        return variances


def _start_covariance(values: Floats, known: Flags, strength: float) -> tuple[Floats, Floats]:
    """Return means, and covariances of the rows that have both entries."""
    mean = values.sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    centered = np.where(known, values - mean, 0.0)
    pairs = known.T.astype(float) @ known
    covariance = centered.T @ centered / np.maximum(pairs, 1) * (pairs / (pairs + strength + 5))
    np.fill_diagonal(covariance, (centered**2).sum(axis=0) / np.maximum(np.diag(pairs), 1) + 1e-3)
    # Such a matrix may have negative eigenvalues.
    variances, axes = np.linalg.eigh(covariance)
    return mean, (axes * np.maximum(variances, 0.05 * variances.mean())) @ axes.T


def _factor_scores(model: _Gaussian, values: Floats, known: Flags) -> tuple[Floats, Floats]:
    """Return conditional means and covariances of the factors of each row."""
    assert model.rest is not None
    rank = model.factors.shape[1]
    scaled = model.factors / model.rest[:, None]
    products = (scaled[:, :, None] * model.factors[:, None, :]).reshape(len(scaled), -1)
    inverses = np.linalg.inv((known.astype(float) @ products).reshape(-1, rank, rank) + np.eye(rank))
    errors = np.where(known, values - model.mean, 0.0)
    scores: Floats = np.einsum("nkl,nl->nk", inverses, errors @ scaled)
    return scores, inverses.astype(np.float64, copy=False)


def _fit_factors(rows: Floats, strength: float, start: _Gaussian | None) -> tuple[Floats, Floats, Floats]:
    """Fit a covariance of low rank to rows with gaps, by expectation maximization."""
    known = ~np.isnan(rows)
    values = np.where(known, rows, 0.0)
    counts = np.maximum(known.sum(axis=0), 1)
    if start is None or start.rest is None:
        mean = values.sum(axis=0) / counts
        centered = np.where(known, values - mean, 0.0)
        rank = int(np.clip(min(rows.shape) // 4, 1, MAX_RANK))
        _, sizes, axes = np.linalg.svd(centered, full_matrices=False)
        model = _Gaussian(
            mean, (axes[:rank] * sizes[:rank, None] / np.sqrt(len(rows))).T, np.full(len(mean), 0.5)
        )
    else:
        model = start
    rank = model.factors.shape[1]
    for _ in range(MAX_STEPS if start is None else WARM_STEPS):
        scores, inverses = _factor_scores(model, values, known)
        errors = np.where(known, values - model.mean, 0.0)
        squares = (inverses + scores[:, :, None] * scores[:, None, :]).reshape(len(rows), -1)
        grams = (known.T.astype(float) @ squares).reshape(-1, rank, rank) + strength * np.eye(rank) / 10
        factors = np.linalg.solve(grams, (errors.T @ scores)[:, :, None])[:, :, 0]
        left = (errors**2).sum(axis=0) - np.einsum("jk,jk->j", factors, errors.T @ scores)
        # Variances of 0 would make the model certain of a few rows.
        rest = np.maximum((left + strength * 0.1) / (counts + strength), 1e-3)
        predicted = scores @ factors.T
        mean = np.where(known, values - predicted, 0.0).sum(axis=0) / counts
        model = _Gaussian(mean, factors.astype(np.float64, copy=False), rest)
    assert model.rest is not None
    return model.mean, model.factors, model.rest


def _choose_strength(rows: Floats, device: torch.device, rng: np.random.Generator) -> float:
    """Return the strength of the prior that predicts entries of held-out rows best."""
    chosen = rng.permutation(len(rows))[:MAX_COMPARED_ROWS]
    rows = rows[chosen]
    is_test = np.arange(len(rows)) % 3 == 0
    train, test = rows[~is_test], rows[is_test]
    known = ~np.isnan(test)
    hidden = known & (rng.random(known.shape) < 0.3)
    errors, start = [], None
    for strength in STRENGTHS:
        start = _Gaussian.fit(train, strength, device, start)
        filled, _ = start.condition(np.where(hidden, np.nan, test), device)
        errors.append(float(((filled - test)[hidden] ** 2).sum()))
    return STRENGTHS[int(np.argmin(errors))]


# Normal scores ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _NormalScores:
    """Increasing maps of columns to scores of a normal distribution.

    Attributes
    ----------
    values, scores : ndarray of shape (d, n_knots)
        Knots of each column. The last one is repeated where there are fewer.
    """

    _fitted_schema: ClassVar[dict[str, Rule]] = {
        "values": Rule(lambda v, _: is_numeric_array(v, np.shape(v)) and v.ndim == 2, "knots"),
        "scores": Rule(lambda v, s: is_numeric_array(v, s.values.shape), "knots"),
    }
    values: Floats
    scores: Floats

    @classmethod
    def fit(cls, rows: Floats) -> Self:
        """Learn the maps from rows with NaN for gaps."""
        knots = np.empty((2, rows.shape[1], N_KNOTS))
        for number, column in enumerate(rows.T):
            given = column[~np.isnan(column)]
            values, counts = np.unique(given, return_counts=True)
            shares = (np.cumsum(counts) - counts / 2) / len(given)
            scores = ndtri(np.clip(shares, 0.5 / len(given), 1 - 0.5 / len(given)))
            if len(values) > N_KNOTS:
                chosen = np.round(np.linspace(0, len(values) - 1, N_KNOTS)).astype(int)
                values, scores = values[chosen], scores[chosen]
            rest = N_KNOTS - len(values)
            knots[0, number] = np.pad(values, (0, rest), mode="edge")
            knots[1, number] = np.pad(scores, (0, rest), mode="edge")
        return cls(*knots)

    def transform(self, rows: Floats) -> Floats:
        """Return the scores of rows; gaps stay."""
        columns = zip(rows.T, self.values, self.scores, strict=True)
        return np.column_stack([np.interp(column, *knots) for column, *knots in columns])

    def expect(self, means: Floats, variances: Floats) -> Floats:
        """Return the mean values of scores with normal distributions."""
        nodes, weights = np.polynomial.hermite_e.hermegauss(N_NODES)
        scores = means[:, :, None] + np.sqrt(variances)[:, :, None] * nodes
        columns = zip(scores.swapaxes(0, 1), self.scores, self.values, strict=True)
        return np.column_stack(
            [np.interp(column, *knots) @ (weights / weights.sum()) for column, *knots in columns]
        )


# Kernels ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Kernels:
    """Kernel ridge regressions of each column, on shared landmarks.

    Attributes
    ----------
    landmarks : ndarray of shape (n_landmarks, d)
        Rows with filled gaps.
    width : float
        Mean squared distance at which the kernel has fallen to 1 / e.
    coefficients : ndarray of shape (n_landmarks, d)
        Weights of the landmarks.
    """

    _fitted_schema: ClassVar[dict[str, Rule]] = {
        "landmarks": Rule(lambda v, _: is_numeric_array(v, np.shape(v)) and v.ndim == 2, "rows"),
        "width": POSITIVE_NUMBER,
        "coefficients": Rule(lambda v, k: is_numeric_array(v, k.landmarks.shape), "a weight for each entry"),
    }
    landmarks: Floats
    width: float
    coefficients: Floats

    @classmethod
    def fit(cls, masked: _MaskedRows, base: Floats, rng: np.random.Generator) -> tuple[Self, Floats]:
        """Fit to the errors of hidden entries, and predict those of held-out rows."""
        errors, d = masked.target - base, base.shape[1]
        n_landmarks = int(min(N_LANDMARKS, len(np.unique(masked.row)), max(MAX_SIDES / d, 50)))
        landmarks = base[rng.permutation(len(base))[:n_landmarks]]
        columns = np.flatnonzero(masked.hidden.any(axis=0))
        # A few columns are enough to compare widths, and take a fraction of the time.
        compared = columns[:: max(1, math.ceil(len(columns) / N_COMPARED_COLUMNS))]
        losses = []
        for width in WIDTHS:
            regression = _Regression.of(base, landmarks, width, masked)
            losses.append(sum(regression.fit(column, errors[:, column])[0] for column in compared))
        width = WIDTHS[int(np.argmin(losses))]
        regression = _Regression.of(base, landmarks, width, masked)
        coefficients, held_out = np.zeros((n_landmarks, d)), np.zeros_like(base)
        for column in columns:
            _, coefficients[:, column], predictions = regression.fit(column, errors[:, column])
            held_out[masked.hidden[:, column], column] = predictions
        return cls(landmarks, width, coefficients), held_out

    def predict(self, rows: Floats) -> Floats:
        """Return the error of each entry of rows with filled gaps."""
        errors: Floats = _kernel(rows, self.landmarks, self.width) @ self.coefficients
        return errors


@dataclass(frozen=True)
class _Regression:
    """Ridge regression of one column at a time, on features of kernels.

    Attributes
    ----------
    features : ndarray of shape (n, n_features)
        Features of masked rows.
    basis : ndarray of shape (n_landmarks, n_features)
        Features of a row are its kernels with the landmarks times the basis.
    masked : _MaskedRows
        Hidden entries, and the parts of the rows.
    """

    features: Floats
    basis: Floats
    masked: _MaskedRows

    @classmethod
    def of(cls, rows: Floats, landmarks: Floats, width: float, masked: _MaskedRows) -> Self:
        """Return the regression for a width of the kernel."""
        variances, axes = np.linalg.eigh(_kernel(landmarks, landmarks, width))
        keeps = variances > 1e-6 * variances[-1]
        basis = axes[:, keeps] / np.sqrt(variances[keeps])
        return cls(_kernel(rows, landmarks, width) @ basis, basis, masked)

    def fit(self, column: Any, errors: Floats) -> tuple[float, Floats, Floats]:
        """Return the held-out loss, weights of landmarks, and held-out predictions."""
        chosen = self.masked.hidden[:, column]
        features, errors, fold = self.features[chosen], errors[chosen], self.masked.fold[chosen]
        # Masks of one row are hardly more than one observation.
        penalties = np.array(PENALTIES) * len(errors) / len(np.unique(self.masked.row[chosen]))
        parts = [(features[fold == number], errors[fold == number]) for number in range(self.masked.n_folds)]
        grams = [part.T @ part for part, _ in parts]
        products = [part.T @ error for part, error in parts]
        gram, product = sum(grams), sum(products)
        predictions = np.zeros((len(penalties), len(errors)))
        for number, (part, _) in enumerate(parts):
            sizes, axes = np.linalg.eigh(gram - grams[number])
            scores = axes.T @ (product - products[number])
            weights = scores / (np.maximum(sizes, 0) + penalties[:, None])
            predictions[:, fold == number] = weights @ (part @ axes).T
        losses = ((predictions - errors) ** 2).mean(axis=1)
        choice = int(losses.argmin())
        weights = np.linalg.solve(gram + penalties[choice] * np.eye(len(gram)), product)
        return float(losses[choice]), self.basis @ weights, predictions[choice]


def _kernel(rows: Floats, landmarks: Floats, width: float) -> Floats:
    squares = (rows**2).sum(axis=1)[:, None] + (landmarks**2).sum(axis=1) - 2 * rows @ landmarks.T
    kernel: Floats = np.exp(-np.maximum(squares, 0) / (width * rows.shape[1]))
    return kernel


# Network ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Networks:
    """Networks of three layers, one for each part of the rows that it has not seen.

    Attributes
    ----------
    weights : list of ndarray
        Weights and biases of the layers, of shapes (n_networks, n_inputs, n_outputs) and
        (n_networks, 1, n_outputs).
    """

    _fitted_schema: ClassVar[dict[str, Rule]] = {
        "weights": Rule(lambda v, _: _are_layers(v), "weights and biases of three layers")
    }
    weights: list[NDArray[np.float32]]

    @classmethod
    def fit(
        cls,
        masked: _MaskedRows,
        base: Floats,
        column_weights: Floats,
        max_epochs: int,
        device: torch.device,
        seed: int,
    ) -> tuple[Self, Floats]:
        """Fit to the errors of hidden entries, and predict those of held-out rows."""
        generator = torch.Generator().manual_seed(seed)
        inputs = torch.as_tensor(_network_input(base, masked.known), device=device)
        errors = torch.as_tensor((masked.target - base).astype(np.float32), device=device)
        scale = torch.as_tensor((masked.hidden * column_weights).astype(np.float32), device=device)
        d, n_networks = base.shape[1], masked.n_folds
        layers = []
        for n_inputs, n_outputs in ((2 * d, WIDTH), (WIDTH, WIDTH), (WIDTH, d)):
            drawn = torch.randn(n_networks, n_inputs, n_outputs, generator=generator) / math.sqrt(n_inputs)
            # The last layer starts at zero, so that training starts from the answer without a network.
            layers.append(drawn * (n_outputs != d or n_inputs != WIDTH))
            layers.append(torch.zeros(n_networks, 1, n_outputs))
        layers = [layer.to(device).requires_grad_() for layer in layers]
        training = [torch.as_tensor(np.flatnonzero(masked.fold != fold)) for fold in range(n_networks)]
        n_batches = max(1, min(map(len, training)) // BATCH_ROWS)
        optimizer = torch.optim.AdamW(layers, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, LEARNING_RATE, total_steps=max(2, max_epochs * n_batches)
        )
        for _ in range(max_epochs):
            orders = [part[torch.randperm(len(part), generator=generator)] for part in training]
            for batch in range(n_batches):
                size = min(BATCH_ROWS, min(map(len, orders)))
                chosen = torch.stack([order[batch * size : (batch + 1) * size] for order in orders]).to(
                    device
                )
                outputs = _pass(inputs[chosen], layers)
                counted = scale[chosen]
                loss = ((outputs - errors[chosen]) ** 2 * counted).sum() / counted.sum().clamp(min=1e-9)
                optimizer.zero_grad()
                (n_networks * loss).backward()
                optimizer.step()
                schedule.step()
        networks = cls([layer.detach().cpu().numpy() for layer in layers])
        held_out = np.zeros_like(base)
        for fold in range(n_networks):
            own = masked.fold == fold
            held_out[own] = networks.predict(base[own], masked.known[own], fold)
        return networks, held_out

    def predict(self, rows: Floats, known: Flags, only: int | None = None) -> Floats:
        """Return the error of each entry of filled rows, the mean of all networks."""
        layers = [torch.as_tensor(layer) for layer in self.weights]
        if only is not None:
            layers = [layer[only : only + 1] for layer in layers]
        errors = np.empty_like(rows)
        for start in range(0, len(rows), 8 * CHUNK_ROWS):
            chunk = slice(start, start + 8 * CHUNK_ROWS)
            inputs = torch.as_tensor(_network_input(rows[chunk], known[chunk]))
            with torch.inference_mode():
                outputs = _pass(inputs.expand(len(layers[0]), -1, -1), layers)
            errors[chunk] = outputs.mean(dim=0).numpy()
        return errors


def _network_input(rows: Floats, known: Flags) -> NDArray[np.float32]:
    return np.hstack([rows, known]).astype(np.float32)


def _pass(inputs: Tensor, layers: list[Tensor]) -> Tensor:
    hidden = silu(torch.baddbmm(layers[1], inputs, layers[0]))
    hidden = silu(torch.baddbmm(layers[3], hidden, layers[2]))
    return torch.baddbmm(layers[5], hidden, layers[4])


def _are_layers(weights: Any) -> bool:
    if type(weights) is not list or len(weights) != 6:
        return False
    if not all(is_numeric_array(w, np.shape(w)) and w.ndim == 3 and w.dtype == np.float32 for w in weights):
        return False
    n, size = weights[0].shape[:2]
    for matrix, bias in zip(weights[::2], weights[1::2], strict=True):
        if matrix.shape[:2] != (n, size) or bias.shape != (n, 1, matrix.shape[2]):
            return False
        size = matrix.shape[2]
    return bool(weights[0].shape[1] == 2 * size)


# The whole model ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _MaskedRows:
    """Rows with hidden entries, to learn from.

    Attributes
    ----------
    row, fold : ndarray of shape (n,)
        Number of each row in the data, and the part of the rows that it belongs to.
    n_folds : int
        Number of parts.
    given, target : ndarray of shape (n, d)
        Columns with NaN for gaps and hidden entries, and with hidden entries known; 0 elsewhere.
    hidden, known : ndarray of shape (n, d)
        Entries that are hidden, and those that are not missing in ``given``.
    """

    row: NDArray[np.int_]
    fold: NDArray[np.int_]
    n_folds: int
    given: Floats
    target: Floats
    hidden: Flags

    @property
    def known(self) -> Flags:
        known: Flags = ~np.isnan(self.given)
        return known

    def head(self, n_rows: int) -> _MaskedRows:
        """Return the first rows."""
        chunk = slice(n_rows)
        entries = self.given[chunk], self.target[chunk], self.hidden[chunk]
        return _MaskedRows(self.row[chunk], self.fold[chunk], self.n_folds, *entries)


@dataclass(frozen=True)
class _FillModel:
    """Model that fills gaps of encoded columns.

    Attributes
    ----------
    active : ndarray of shape (d_all,)
        Numbers of the columns that vary; the others are filled with ``center``.
    center, unit : ndarray of shape (d_all,)
        Mean and standard deviation of each column.
    bounds : ndarray of shape (2, d)
        Smallest and largest value that each column that varies is filled with.
    linear, ranked : _Gaussian
        Distributions of the columns and of their normal scores.
    scores : _NormalScores
        Maps to normal scores.
    kernels, networks : _Kernels and _Networks, or None
        What is added.
    shares : ndarray of shape (3, d)
        Shares of the normal scores, of the kernels and of the networks.
    quantiles : ndarray of shape (len(LEVELS), d)
        Quantiles of errors, relative to the conditional deviation.
    """

    _fitted_schema: ClassVar[dict[str, Rule]] = {
        "active": Rule(
            lambda v, m: (
                isinstance(v, np.ndarray)
                and v.dtype.kind == "i"
                and v.ndim == 1
                and len(v) > 0
                and len(set(v.tolist())) == len(v)
                and v.min() >= 0
                and v.max() < len(m.center)
            ),
            "numbers of columns",
        ),
        "center": Rule(lambda v, _: is_numeric_array(v, np.shape(v)) and v.ndim == 1, "means"),
        "unit": Rule(lambda v, m: is_nonnegative_array(v, m.center.shape) and bool((v > 0).all()), "units"),
        "bounds": Rule(lambda v, m: is_numeric_array(v, (2, len(m.active))), "two bounds for each column"),
        "linear": record(_Gaussian, "a distribution", lambda v, m: len(v.mean) == len(m.active)),
        "ranked": record(_Gaussian, "a distribution", lambda v, m: len(v.mean) == len(m.active)),
        "scores": record(_NormalScores, "maps to scores", lambda v, m: len(v.values) == len(m.active)),
        "kernels": optional(record(_Kernels, "kernels", lambda v, m: v.landmarks.shape[1] == len(m.active))),
        "networks": optional(
            record(_Networks, "networks", lambda v, m: v.weights[0].shape[1] == 2 * len(m.active))
        ),
        "shares": Rule(lambda v, m: is_nonnegative_array(v, (3, len(m.active))), "shares of each column"),
        "quantiles": Rule(
            lambda v, m: is_numeric_array(v, (len(LEVELS), len(m.active))), "quantiles of each column"
        ),
    }
    active: NDArray[np.int_]
    center: Floats
    unit: Floats
    bounds: Floats
    linear: _Gaussian
    ranked: _Gaussian
    scores: _NormalScores
    kernels: _Kernels | None
    networks: _Networks | None
    shares: Floats
    quantiles: Floats

    def fits(self, n_columns: int) -> bool:
        """Return whether the parts fit each other and a number of columns."""
        return conforms(self) and len(self.center) == n_columns

    def fill(self, rows: Floats, rng: np.random.Generator | None, level: float | None) -> Floats:
        """Return rows with filled gaps: means, draws, or quantiles of a level."""
        filled = np.where(np.isnan(rows), self.center, rows)
        device = torch.device("cpu")
        # Chunks, since each part makes copies of the rows.
        for start in range(0, len(rows), 8 * CHUNK_ROWS):
            chunk = slice(start, start + 8 * CHUNK_ROWS)
            given = ((rows[chunk] - self.center) / self.unit)[:, self.active]
            gaps = np.isnan(given)
            predicted, deviations = self._predict(given, device)
            if rng is not None:
                uniform = ndtr(self.linear.draw(given, rng, device))
                predicted += deviations * self._quantile(uniform)
            if level is not None:
                predicted += deviations * self._quantile(np.full(given.shape, level))
            predicted = np.clip(predicted * self.unit[self.active] + self.center[self.active], *self.bounds)
            filled[chunk, self.active] = np.where(gaps, predicted, rows[chunk][:, self.active])
        return filled

    def _predict(self, given: Floats, device: torch.device) -> tuple[Floats, Floats]:
        """Return filled rows in standard units, and conditional deviations."""
        linear, variances = self.linear.condition(given, device)
        bounds = (self.bounds - self.center[self.active]) / self.unit[self.active]
        linear = np.where(np.isnan(given), np.clip(linear, *bounds), linear)
        # Rows beyond the range of the fit are no rows for a kernel; the linear answer has no such limit.
        filled = linear.copy()
        if self.shares[0].any():
            ranked = self.scores.expect(*self.ranked.condition(self.scores.transform(given), device))
            filled += np.isnan(given) * self.shares[0] * (ranked - linear)
        base = filled.copy()
        if self.kernels is not None:
            filled += self.shares[1] * self.kernels.predict(base)
        if self.networks is not None:
            filled += self.shares[2] * self.networks.predict(base, ~np.isnan(given))
        return filled, np.sqrt(variances)

    def _quantile(self, levels: Floats) -> Floats:
        columns = zip(levels.T, self.quantiles.T, strict=True)
        return np.column_stack([np.interp(column, LEVELS, quantiles) for column, quantiles in columns])


def _learn_model(
    columns: Floats,
    owner: NDArray[np.int_],
    masks: _MaskDraw,
    device: torch.device,
    max_epochs: int,
    seed: int,
    verbose: bool,
) -> tuple[_FillModel | None, tuple[Floats, Floats] | None]:
    """Learn to fill encoded columns, and return squared errors and their counts."""
    with np.errstate(all="ignore"):
        counts = (~np.isnan(columns)).sum(axis=0)
        center = np.where(counts > 0, np.nansum(columns, axis=0) / np.maximum(counts, 1), 0.0)
        unit = np.sqrt(np.nansum((columns - center) ** 2, axis=0) / np.maximum(counts, 1))
    varies = (counts > 1) & (unit > 1e-12 * np.abs(center)) & np.isfinite(unit)
    unit = np.where(varies, unit, 1.0)
    active = np.flatnonzero(varies)
    if not len(active) or len(columns) < 2:
        return None, None
    rng = masks.rng
    rows = ((columns - center) / unit)[:, active]
    limits = _find_limits(columns[:, active])
    bounds = (limits - center[active]) / unit[active]
    scores = _NormalScores.fit(rows)
    ranked_rows = scores.transform(rows)
    n, d = rows.shape
    n_folds = min(N_FOLDS, n // MIN_FOLD_ROWS)
    strengths = [_choose_strength(part, device, rng) if n_folds > 1 else 10.0 for part in (rows, ranked_rows)]
    chosen = rng.permutation(n)[:MAX_EM_ROWS]
    linear, ranked = (
        _Gaussian.fit(part[chosen], strength, device)
        for part, strength in zip((rows, ranked_rows), strengths, strict=True)
    )
    shares, quantiles = (
        np.zeros((3, d)),
        np.repeat(ndtri(np.clip(LEVELS, 1e-3, 1 - 1e-3))[:, None], d, axis=1),
    )
    plain = _FillModel(active, center, unit, limits, linear, ranked, scores, None, None, shares, quantiles)
    if n_folds < 2:
        return plain, None
    fold = rng.permutation(n) % n_folds
    masked = _mask_rows(rows, owner[active], masks, fold, n_folds, max_epochs > 0)
    # A single column has nothing to be predicted from.
    if not masked.hidden.any():
        return plain, None
    first, variances, second = _fill_held_out(
        masked, rows, ranked_rows, (linear, ranked), strengths, scores, device
    )
    first = np.where(masked.hidden, np.clip(first, *bounds), first)
    shares[0] = _share(masked, first, second - first)
    base = first + np.where(masked.known, 0.0, shares[0] * (second - first))
    head, base_of_head = masked.head(MAX_MASKED_ROWS), base[:MAX_MASKED_ROWS]
    kernels, kernel_errors = _Kernels.fit(head, base_of_head, rng)
    predicted = base_of_head + 0.0
    networks = None
    shares[1] = _share(head, base_of_head, kernel_errors)
    if max_epochs and n >= MIN_NETWORK_ROWS:
        # Columns that kernels cannot predict would fill the network with their noise.
        gains = _explained(head, base_of_head, shares[1] * kernel_errors)
        networks, network_errors = _Networks.fit(
            masked, base, np.maximum(gains, 0.02), max_epochs, device, stream_seed(seed, "network")
        )
        shares[2] = _share(masked, base, network_errors)
        network_errors = shares[2] * network_errors[:MAX_MASKED_ROWS]
        predicted += network_errors
        shares[1] = _share(head, predicted, kernel_errors - network_errors)
        shares[2] *= 1 - shares[1]
        predicted += shares[1] * (kernel_errors - network_errors)
    else:
        predicted += shares[1] * kernel_errors
    predicted = np.clip(predicted, *bounds)
    errors = (head.target - predicted) * head.hidden
    deviations = np.sqrt(np.maximum(variances[:MAX_MASKED_ROWS], 1e-9))
    quantiles = _quantiles_of_errors(errors / deviations, head)
    model = _FillModel(
        active,
        center,
        unit,
        limits,
        linear,
        ranked,
        scores,
        kernels if shares[1].any() else None,
        networks if shares[2].any() else None,
        shares,
        quantiles,
    )
    totals, numbers = np.zeros(len(center)), np.zeros(len(center))
    totals[active], numbers[active] = (errors**2).sum(axis=0), head.hidden.sum(axis=0)
    if verbose:
        _print_errors(head, first, base, predicted)
    return model, (totals, numbers)


def _find_limits(columns: Floats) -> Floats:
    """Return the smallest and the largest value to fill gaps of each column with."""
    limits = np.empty((2, columns.shape[1]))
    for number, column in enumerate(columns.T):
        given = column[~np.isnan(column)]
        low, high = given.min(), given.max()
        # New rows may lie beyond all so far, by the length of a tail: 0 at the end of a bounded column.
        n_values = len(np.unique(given))
        # In a table with few rows, columns have few values although these do not come back.
        if n_values > min(MAX_DISCRETE, len(given) / 2):
            tails = np.quantile(given, [TAIL, 1 - TAIL])
            beyond = 2 * low - tails[0], 2 * high - tails[1]
            # Sizes, counts and prices do not change their sign.
            low = max(beyond[0], 0.0) if low >= 0 else beyond[0]
            high = min(beyond[1], 0.0) if high <= 0 else beyond[1]
        limits[:, number] = low, high
    return limits


def _mask_rows(
    rows: Floats,
    owner: NDArray[np.int_],
    masks: _MaskDraw,
    fold: NDArray[np.int_],
    n_folds: int,
    for_network: bool,
) -> _MaskedRows:
    """Hide entries of rows, several times in tables with few rows."""
    n = len(rows)
    n_masked = MAX_MASKED_ROWS
    if for_network and n >= MIN_NETWORK_ROWS:
        n_masked = MAX_NETWORK_ROWS
    n_copies = min(MAX_COPIES, math.ceil(n_masked / n))
    row = np.concatenate([masks.rng.permutation(n) for _ in range(n_copies)])[: max(n_masked, 1)]
    hidden = masks.draw(row)[:, owner] & ~np.isnan(rows[row])
    return _MaskedRows(
        row, fold[row], n_folds, np.where(hidden, np.nan, rows[row]), np.where(hidden, rows[row], 0.0), hidden
    )


def _fill_held_out(
    masked: _MaskedRows,
    rows: Floats,
    ranked_rows: Floats,
    models: tuple[_Gaussian, _Gaussian],
    strengths: list[float],
    scores: _NormalScores,
    device: torch.device,
) -> tuple[Floats, Floats, Floats]:
    """Fill masked rows by models of the other parts of the rows.

    Returns the rows filled by the distribution of the columns, its variances, and the rows filled by the
    distribution of the normal scores.
    """
    first, variances, second = (np.empty_like(masked.given) for _ in range(3))
    is_large = len(rows) > ROWS_PER_COLUMN * rows.shape[1]
    rng = np.random.default_rng(0)
    for fold in range(masked.n_folds):
        own = masked.fold == fold
        linear, ranked = models
        # A row among many has no influence on its own answer.
        if not is_large:
            others = np.flatnonzero(np.bincount(masked.row, masked.fold != fold, len(rows)) > 0)
            others = rng.permutation(others)[:MAX_EM_ROWS]
            linear, ranked = (
                _Gaussian.fit(part[others], strength, device, model)
                for part, strength, model in zip((rows, ranked_rows), strengths, models, strict=True)
            )
        first[own], variances[own] = linear.condition(masked.given[own], device)
        second[own] = scores.expect(*ranked.condition(scores.transform(masked.given[own]), device))
    return first, variances, second


def _share(masked: _MaskedRows, base: Floats, extra: Floats) -> Floats:
    """Return the share of a correction, 0 to 1, with the least squared error."""
    hidden = masked.hidden
    products = (extra * (masked.target - base) * hidden).sum(axis=0)
    squares = (extra**2 * hidden).sum(axis=0)
    overall = float(np.clip(products.sum() / max(squares.sum(), 1e-12), 0, 1))
    pull = squares * SHARE_WEIGHT / np.maximum(hidden.sum(axis=0), 1)
    shares: Floats = np.clip((products + overall * pull) / np.maximum(squares + pull, 1e-12), 0, 1)
    # A gain that may be chance counts less, and one below its standard error not at all. Masks of one row are
    # one observation.
    errors = (masked.target - base) * hidden
    gains = (errors**2 - (errors - shares * extra * hidden) ** 2).sum(axis=1)
    by_row = np.bincount(masked.row, gains)
    total = max(float(by_row.sum()), 1e-12)
    variance = max(float((by_row**2).sum()) - total**2 / len(by_row), 0.0)
    return shares * max(1 - variance / total**2, 0.0)


def _explained(masked: _MaskedRows, base: Floats, extra: Floats) -> Floats:
    """Return the share of the squared error of each column that a correction removes."""
    before = (((masked.target - base) ** 2) * masked.hidden).sum(axis=0)
    after = (((masked.target - base - extra) ** 2) * masked.hidden).sum(axis=0)
    explained: Floats = 1 - after / np.maximum(before, 1e-12)
    return explained


def _quantiles_of_errors(errors: Floats, masked: _MaskedRows) -> Floats:
    """Return quantiles of the relative errors of each column.

    Columns with few errors share those of all columns.
    """
    quantiles = np.empty((len(LEVELS), errors.shape[1]))
    pooled = errors[masked.hidden]
    # Tables with very few rows have few observations in all columns together, too.
    min_rows = min(MIN_ERRORS, len(np.unique(masked.row[masked.hidden.any(axis=1)])))
    for column in range(errors.shape[1]):
        chosen = masked.hidden[:, column]
        own = errors[chosen, column]
        # Masks of one row are hardly more than one observation.
        n_rows = len(np.unique(masked.row[chosen]))
        if n_rows < MIN_ERRORS:
            own, n_rows = np.append(own, pooled), min_rows
        # The next error is beyond all so far with a probability of 1 / (n_rows + 1) at either end.
        levels = np.clip(0.5 + (LEVELS - 0.5) * (n_rows + 2) / n_rows, 0, 1)
        quantiles[:, column] = np.quantile(own, levels)
    return quantiles


def _print_errors(masked: _MaskedRows, first: Floats, base: Floats, predicted: Floats) -> None:
    n = len(predicted)
    parts = {"linear": first[:n], "with normal scores": base[:n], "all": predicted}
    for name, part in parts.items():
        error = np.sqrt((((masked.target - part) ** 2)[masked.hidden]).mean())
        print(f"error of hidden entries, {name}: {error:.4f} standard deviations")
