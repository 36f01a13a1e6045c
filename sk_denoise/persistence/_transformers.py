"""Transformers of scikit-learn in files: scalers and an imputer.

Their fitted state is numbers alone. Besides Pipeline and FrozenEstimator, which only hold other estimators,
no estimator of scikit-learn is saved or loaded.
"""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler

from sk_denoise._schema import (
    FEATURE_NUMBERS,
    SAMPLES,
    Rule,
    describe_value,
    is_nonnegative_array,
    is_number,
    is_numeric_array,
)
from sk_denoise._validation import check_parameters

__all__ = ["TRANSFORMER_SCHEMAS", "check_transformer"]

AVERAGES = "mean", "median", "most_frequent"


# Tests --------------------------------------------------------------------------------------------------


def _are_positive(value: Any, estimator: Any) -> bool:
    return is_numeric_array(value, (estimator.n_features_in_,)) and bool((value > 0).all())


def _are_nonnegative(value: Any, estimator: Any) -> bool:
    return is_nonnegative_array(value, (estimator.n_features_in_,))


def _are_sample_counts(value: Any, estimator: Any) -> bool:
    # Features with missing values have counts of their own.
    return (is_number(value) and value >= 0) or _are_nonnegative(value, estimator)


def _unless_off(parameter: str, test: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    """Return a test that None passes where a parameter turns the attribute off."""
    return lambda value, e: test(value, e) or (value is None and not getattr(e, parameter))


def _are_statistics(value: Any, estimator: Any) -> bool:
    # A feature without any value in the training data has the statistic NaN.
    is_array = isinstance(value, np.ndarray) and value.dtype.kind in "fiu" and value.dtype.itemsize <= 8
    return is_array and value.shape == (estimator.n_features_in_,) and not np.isinf(value).any()


def _is_numeric_type(value: Any, estimator: Any) -> bool:
    return isinstance(value, np.dtype) and value.kind in "fiu"


def _is_increasing_pair(value: Any, low: float = -np.inf, high: float = np.inf) -> bool:
    is_pair = isinstance(value, tuple | list) and len(value) == 2 and all(map(is_number, value))
    return is_pair and low <= value[0] < value[1] <= high


# The table ----------------------------------------------------------------------------------------------

FEATURES = {name: SAMPLES[name] for name in ("n_features_in_", "feature_names_in_")}
SEEN = {"n_samples_seen_": Rule(_are_sample_counts, "a number of samples")}
POSITIVE = Rule(_are_positive, "a number above 0 for each feature")
NONNEGATIVE = Rule(_are_nonnegative, "a number of at least 0 for each feature")

# The attributes that a fit sets
TRANSFORMER_SCHEMAS: dict[type[BaseEstimator], dict[str, Rule]] = {
    StandardScaler: {
        **FEATURES,
        **SEEN,
        "mean_": Rule(_unless_off("with_mean", FEATURE_NUMBERS.test), FEATURE_NUMBERS.description),
        "var_": Rule(_unless_off("with_std", _are_nonnegative), NONNEGATIVE.description),
        "scale_": Rule(_unless_off("with_std", _are_positive), POSITIVE.description),
    },
    MinMaxScaler: {
        **FEATURES,
        **SEEN,
        "min_": FEATURE_NUMBERS,
        "scale_": POSITIVE,
        "data_min_": FEATURE_NUMBERS,
        "data_max_": FEATURE_NUMBERS,
        "data_range_": NONNEGATIVE,
    },
    MaxAbsScaler: {**FEATURES, **SEEN, "max_abs_": FEATURE_NUMBERS, "scale_": POSITIVE},
    RobustScaler: {
        **FEATURES,
        "center_": Rule(_unless_off("with_centering", FEATURE_NUMBERS.test), FEATURE_NUMBERS.description),
        "scale_": Rule(_unless_off("with_scaling", _are_positive), POSITIVE.description),
    },
    SimpleImputer: {
        **FEATURES,
        "statistics_": Rule(_are_statistics, "a number for each feature"),
        "indicator_": Rule(lambda v, _: v is None, "None, as add_indicator=False leaves it"),
        "_fit_dtype": Rule(_is_numeric_type, "a type of numbers"),
        "_fill_dtype": Rule(_is_numeric_type, "a type of numbers", required=False),
    },
}
# scikit-learn checks these parameters in a fit alone, and others make fitted state that is no numbers.
PARAMETER_RULES: dict[type[BaseEstimator], dict[str, Rule]] = {
    MinMaxScaler: {
        "feature_range": Rule(lambda v, _: _is_increasing_pair(v), "a pair (low, high) with low < high")
    },
    RobustScaler: {
        "quantile_range": Rule(lambda v, _: _is_increasing_pair(v, 0, 100), "a pair of percentages")
    },
    SimpleImputer: {
        "strategy": Rule(lambda v, _: v in AVERAGES, f"one of {', '.join(map(repr, AVERAGES))} in a file"),
        "add_indicator": Rule(lambda v, _: not v, "False in a file"),
        "missing_values": Rule(lambda v, _: isinstance(v, Real), "a number or NaN in a file"),
    },
}


def check_transformer(estimator: Any) -> None:
    """Refuse parameters that a transformer of the table cannot work with."""
    kind = type(estimator)
    check_parameters(estimator, estimator._parameter_constraints)
    for name, rule in PARAMETER_RULES.get(kind, {}).items():
        value = getattr(estimator, name)
        if not rule.test(value, estimator):
            raise ValueError(
                f"{name} of {kind.__name__} must be {rule.description}, and is {describe_value(value)}"
            )
