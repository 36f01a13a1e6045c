"""Scorer of imputers, by known entries that are hidden."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from sk_denoise._random import stream_seed
from sk_denoise._validation import Scorer, check_sample_weight, refuse_masked

__all__ = ["make_imputation_scorer"]

# Other rows of which the one is taken that hides least.
N_DONORS = 4


def make_imputation_scorer(
    share: float | Literal["copied"] = 0.2, *, missing_values: Any = np.nan, random_state: Any = 0
) -> Callable[..., float]:
    """Make a scorer of imputers, for searches in data with gaps.

    No truth is needed: the scorer hides known entries of the validation fold, the same ones for every
    candidate, and compares them with what the candidate fills in.

    Parameters
    ----------
    share : float or "copied", default=0.2
        Share of the known entries to hide, between 0 and 1. "copied" hides in each row what another row of
        the fold lacks, so that columns which are missing together are hidden together.
    missing_values : float, str or None, default=nan
        Value of missing entries in X, which the candidates have to take for missing too. NaN, None and
        ``pandas.NA`` count as missing in any case.
    random_state : int, default=0
        Seed of the hidden entries.

    Returns
    -------
    callable
        ``scorer(estimator, X, y=None, sample_weight=None) -> float``, for ``scoring=`` of searches and
        cross-validation. The score is minus the root mean squared error of hidden entries, in standard
        deviations of their columns: -1 for the mean of each column, 0 is best. In columns of text,
        categories and booleans, the squared error is the share of wrong categories, relative to that of the
        most frequent one.

    Raises
    ------
    ValueError
        If a parameter is out of range. When called: if fewer than two entries of a column are known in all
        columns, or if the candidate leaves gaps.

    See Also
    --------
    DenoisingImputer : An imputer.

    Notes
    -----
    The estimator is an imputer of any library with the methods of scikit-learn, or a pipeline with one. Of a
    pipeline, the output of the first step without gaps is compared with the data before that step. Weights of
    samples weigh their entries.

    Entries are hidden at random. If the gaps in the data depend on their own value, the error of the gaps is
    larger than that of the hidden entries.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.impute import KNNImputer
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sk_denoise import make_imputation_scorer
    >>> X = load_wine().data
    >>> X[np.random.default_rng(0).random(X.shape) < 0.2] = np.nan
    >>> pipeline = make_pipeline(StandardScaler(), KNNImputer())
    >>> grid = {"knnimputer__n_neighbors": [1, 10]}
    >>> search = GridSearchCV(pipeline, grid, scoring=make_imputation_scorer(), cv=3).fit(X)
    >>> search.best_params_
    {'knnimputer__n_neighbors': 10}
    """
    # True and False are numbers to Python.
    given: Any = share
    is_number = not isinstance(given, bool) and isinstance(given, Real)
    if given != "copied" and not (is_number and 0 < float(given) < 1):
        raise ValueError(f'share must be a number between 0 and 1, or "copied", got {share!r}.')
    if type(random_state) is bool or not isinstance(random_state, Integral):
        raise ValueError(
            f"random_state must be an integer, got {random_state!r}: all candidates of a search need the "
            "same hidden entries."
        )
    return _ImputationScorer(share, missing_values, int(random_state))


# Scorers compare by identity, as those of scikit-learn do.
@dataclass(eq=False)
class _ImputationScorer(Scorer):
    # Imputers do not predict, and searches with several scorers check this method.
    _response_method: ClassVar[str] = "fit"

    share: Any
    missing_values: Any
    random_state: int

    def score(self, estimator: Any, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        refuse_masked(X)
        weights = check_sample_weight(sample_weight, X)
        table = X if hasattr(X, "iloc") else np.asarray(X)
        gaps = _find_gaps(table, self.missing_values)
        hidden = self._draw(~gaps)
        truth, filled, names = _run_until_filled(estimator, table, hidden, self.missing_values)
        return -_scaled_error(truth, filled, names, hidden, ~gaps, weights)

    def _draw(self, known: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return known entries to hide; at least one entry stays in each row."""
        # A stream of its own: users draw gaps from the same seed, and entries that are missing already would
        # be the ones to hide.
        rng = np.random.default_rng(stream_seed(self.random_state, "imputation scorer"))
        if self.share == "copied":
            hidden, fewest = np.zeros_like(known), np.full(len(known), known.shape[1] + 1)
            for _ in range(N_DONORS):
                copied = known & ~known[rng.integers(len(known), size=len(known))]
                count = copied.sum(axis=1)
                is_better = (count > 0) & (count < fewest)
                hidden[is_better], fewest[is_better] = copied[is_better], count[is_better]
            if not hidden.any():
                raise ValueError(
                    'share="copied" hides what other rows lack, and no row of X lacks what another has. Pass '
                    "a number."
                )
        else:
            hidden = known & (rng.random(known.shape) < self.share)
        kept = (rng.random(known.shape) * known).argmax(axis=1)
        has_none = ~(known & ~hidden).any(axis=1)
        hidden[has_none, kept[has_none]] = False
        return hidden


def _find_gaps(table: Any, missing_value: Any) -> NDArray[np.bool_]:
    """Return the missing entries of an array or frame."""
    if hasattr(table, "iloc"):
        gaps = table.isna().to_numpy()
    elif table.dtype.kind == "O":
        gaps = np.array([[v is None or v != v for v in row] for row in table], dtype=bool)
    else:
        gaps = np.isnan(table) if table.dtype.kind == "f" else np.zeros(table.shape, dtype=bool)
    if gaps.ndim != 2:
        raise ValueError(f"X must have rows and columns, got an array of shape {gaps.shape}.")
    is_nan = isinstance(missing_value, Real) and math.isnan(missing_value)
    if missing_value is None or is_nan:
        return np.asarray(gaps)
    equal = table == missing_value
    equal = (
        equal.fillna(False).to_numpy(dtype=bool) if hasattr(equal, "iloc") else np.asarray(equal, dtype=bool)
    )
    return np.asarray(gaps | equal)


def _hide(table: Any, hidden: NDArray[np.bool_], missing_value: Any) -> Any:
    """Return a copy with missing values in hidden entries."""
    if not hasattr(table, "iloc"):
        is_nan = isinstance(missing_value, Real) and math.isnan(missing_value)
        kind = (
            np.result_type(table.dtype, np.float32) if is_nan and table.dtype.kind in "biu" else table.dtype
        )
        copied = table.astype(kind)
        copied[hidden] = missing_value
        return copied
    frame = table.copy()
    is_default = missing_value is None or (isinstance(missing_value, Real) and math.isnan(missing_value))
    for number in np.flatnonzero(hidden.any(axis=0)):
        column = frame.iloc[:, number]
        # mask turns integers into floating-point numbers, and booleans into objects.
        column = (
            column.mask(hidden[:, number]) if is_default else column.mask(hidden[:, number], missing_value)
        )
        frame.isetitem(number, column)
    return frame


def _run_until_filled(
    estimator: Any, table: Any, hidden: NDArray[np.bool_], missing_value: Any
) -> tuple[Any, Any, list[tuple[int, int]]]:
    """Return the data before the step that fills gaps, its output, paired columns."""
    steps = [step for _, step in estimator.steps] if isinstance(estimator, Pipeline) else [estimator]
    truth, given = table, _hide(table, hidden, missing_value)
    for step in steps:
        if step is None or step == "passthrough":
            continue
        if not hasattr(step, "transform"):
            break
        output = step.transform(given)
        pairs = _match_columns(step, given, output)
        places, _ = zip(*pairs, strict=True) if pairs else ((), ())
        remaining = _find_gaps(output if hasattr(output, "iloc") else np.asarray(output), missing_value)
        if not remaining[:, [column for _, column in pairs]].any():
            return truth, output, pairs
        if list(places) != list(range(hidden.shape[1])) or remaining.shape[1] != hidden.shape[1]:
            break
        truth, given = step.transform(truth), output
    raise ValueError(
        f"{type(estimator).__name__} leaves gaps: the scorer compares the output of the first step of a "
        "pipeline that fills all gaps, and the steps before it must keep the columns."
    )


def _match_columns(step: Any, given: Any, output: Any) -> list[tuple[int, int]]:
    """Return the column of the output for each column of the input that is kept."""
    n_given, n_output = np.shape(given)[1], np.shape(output)[1]
    if n_output == n_given or not hasattr(step, "get_feature_names_out"):
        return [(column, column) for column in range(min(n_given, n_output))]
    names = getattr(step, "feature_names_in_", None)
    names = [f"x{number}" for number in range(n_given)] if names is None else [str(name) for name in names]
    places = {name: place for place, name in enumerate(names)}
    outputs = [str(name) for name in step.get_feature_names_out()]
    return [(places[name], column) for column, name in enumerate(outputs) if name in places]


def _scaled_error(
    truth: Any,
    filled: Any,
    pairs: list[tuple[int, int]],
    hidden: NDArray[np.bool_],
    known: NDArray[np.bool_],
    weights: NDArray[Any] | None,
) -> float:
    """Return the error of hidden entries, in deviations of their columns."""
    weights = np.ones(len(hidden)) if weights is None else weights
    total = count = 0.0
    for column, output in pairs:
        chosen, given = hidden[:, column], known[:, column]
        expected, answer = _column(truth, column), _column(filled, output)
        if not chosen.any():
            continue
        if _is_number(expected[given]):
            values = expected[given].astype(np.float64)
            spread = values.std()
            errors = (answer[chosen].astype(np.float64) - expected[chosen].astype(np.float64)) ** 2
            unit = spread**2
        else:
            _, counts = np.unique(expected[given].astype(str), return_counts=True)
            unit = 1 - counts.max() / counts.sum()
            errors = (answer[chosen].astype(str) != expected[chosen].astype(str)).astype(np.float64)
        # A constant column has nothing to predict.
        if unit > 0:
            total += float(weights[chosen] @ errors) / float(unit)
            count += float(weights[chosen].sum())
    if count == 0:
        raise ValueError("No entry that varies could be hidden: X has too few known entries.")
    return math.sqrt(total / count)


def _column(table: Any, number: int) -> NDArray[Any]:
    if not hasattr(table, "iloc"):
        return np.asarray(table)[:, number]
    column = table.iloc[:, number]
    kind = getattr(column.dtype, "kind", "O")
    # Dates become numbers; gaps among them are not compared.
    if kind in "mM":
        unit = "datetime64[ns]" if kind == "M" else "timedelta64[ns]"
        return np.asarray(column.to_numpy().astype(unit).astype(np.int64))
    return np.asarray(column.to_numpy(dtype=object))


def _is_number(values: NDArray[Any]) -> bool:
    return values.dtype.kind in "iuf" or all(
        isinstance(value, Real) and not isinstance(value, bool | np.bool_) for value in values
    )
