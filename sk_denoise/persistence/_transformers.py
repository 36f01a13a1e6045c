"""Transformers of scikit-learn in files: scalers and their kin, whose fitted state is numbers alone.

Each has its line here. Besides those that only hold others (Pipeline, FrozenEstimator), no estimator of
scikit-learn is saved or loaded. Fitted attributes are known by name and have rules, so that one that a later
scikit-learn adds is refused until it has a rule here.
"""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler

from sk_denoise._validation import check_parameters
from sk_denoise.persistence._rules import Rule, are_names, are_numbers, in_words, is_count, is_number

__all__ = ["TRANSFORMERS", "check_transformer"]

AVERAGES = "mean", "median", "most_frequent"


# Tests --------------------------------------------------------------------------------------------------


def are_of_features(value: Any, estimator: Any) -> bool:
    """Return whether it has a finite number for each feature."""
    return are_numbers(value, (estimator.n_features_in_,))


def are_positive(value: Any, estimator: Any) -> bool:
    return are_of_features(value, estimator) and bool((value > 0).all())


def are_not_negative(value: Any, estimator: Any) -> bool:
    return are_of_features(value, estimator) and bool((value >= 0).all())


def are_counts(value: Any, estimator: Any) -> bool:
    """Return whether it is a number of samples, or one for each feature, as missing values make them."""
    return (is_number(value) and value >= 0) or are_not_negative(value, estimator)


def is_off(parameter: str, test: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    """Return a test that None passes too where a parameter turns the attribute off."""
    return lambda value, e: test(value, e) or (value is None and not getattr(e, parameter))


def are_statistics(value: Any, estimator: Any) -> bool:
    """Return whether it has a number for each feature, or NaN where a feature had no value at all."""
    is_array = isinstance(value, np.ndarray) and value.dtype.kind in "fiu" and value.dtype.itemsize <= 8
    return is_array and value.shape == (estimator.n_features_in_,) and not np.isinf(value).any()


def is_type_of_numbers(value: Any, estimator: Any) -> bool:
    return isinstance(value, np.dtype) and value.kind in "fiu"


def is_range(value: Any, low: float = -np.inf, high: float = np.inf) -> bool:
    is_pair = isinstance(value, tuple | list) and len(value) == 2 and all(map(is_number, value))
    return is_pair and low <= value[0] < value[1] <= high


# The table ----------------------------------------------------------------------------------------------

FEATURES = {
    "n_features_in_": Rule(lambda v, _: is_count(v, 1), "a number of features"),
    "feature_names_in_": Rule(are_names, "the names of all features", required=False),
}
SEEN = {"n_samples_seen_": Rule(are_counts, "a number of samples")}
NUMBERS = Rule(are_of_features, "a number for each feature")
POSITIVE = Rule(are_positive, "a number above 0 for each feature")

# What a fit leaves, in an order in which each rule finds what it looks at
TRANSFORMERS: dict[type[BaseEstimator], dict[str, Rule]] = {
    StandardScaler: {
        **FEATURES,
        **SEEN,
        "mean_": Rule(is_off("with_mean", are_of_features), "a number for each feature"),
        "var_": Rule(is_off("with_std", are_not_negative), "a number of at least 0 for each feature"),
        "scale_": Rule(is_off("with_std", are_positive), "a number above 0 for each feature"),
    },
    MinMaxScaler: {
        **FEATURES,
        **SEEN,
        "min_": NUMBERS,
        "scale_": POSITIVE,
        "data_min_": NUMBERS,
        "data_max_": NUMBERS,
        "data_range_": Rule(are_not_negative, "a number of at least 0 for each feature"),
    },
    MaxAbsScaler: {**FEATURES, **SEEN, "max_abs_": NUMBERS, "scale_": POSITIVE},
    RobustScaler: {
        **FEATURES,
        "center_": Rule(is_off("with_centering", are_of_features), "a number for each feature"),
        "scale_": Rule(is_off("with_scaling", are_positive), "a number above 0 for each feature"),
    },
    SimpleImputer: {
        **FEATURES,
        "statistics_": Rule(are_statistics, "a number for each feature"),
        "indicator_": Rule(lambda v, _: v is None, "None, as add_indicator=False leaves it"),
        "_fit_dtype": Rule(is_type_of_numbers, "a type of numbers"),
        "_fill_dtype": Rule(is_type_of_numbers, "a type of numbers", required=False),
    },
}
# Parameters that scikit-learn checks in a fit alone, or that leave state which is no number
PARAMETERS: dict[type[BaseEstimator], dict[str, Rule]] = {
    MinMaxScaler: {"feature_range": Rule(lambda v, _: is_range(v), "a pair (low, high) with low < high")},
    RobustScaler: {"quantile_range": Rule(lambda v, _: is_range(v, 0, 100), "a pair of percentages")},
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
    for name, rule in PARAMETERS.get(kind, {}).items():
        value = getattr(estimator, name)
        if not rule.test(value, estimator):
            raise ValueError(f"{name} of {kind.__name__} must be {rule.says}, and is {in_words(value)}")
