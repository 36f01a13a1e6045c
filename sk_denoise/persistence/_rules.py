"""Rules for attributes, and the tests that rules are made of."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from sk_denoise.persistence._limits import LARGEST, as_float

__all__ = [
    "ANY_SAMPLES",
    "Rule",
    "are_names",
    "are_numbers",
    "in_words",
    "is_count",
    "is_number",
    "is_image_shape",
    "is_sample_shape",
    "is_seed",
    "is_shape",
]

LONGEST = 2**31
Test = Callable[[Any, Any], bool]  # of a value, and the estimator that has it


@dataclass(frozen=True)
class Rule:
    """What an attribute must be.

    Attributes
    ----------
    test : callable
        Whether a value is that, for an estimator.
    says : str
        What it must be.
    required : bool
        Whether a fitted estimator has it.
    """

    test: Test
    says: str
    required: bool = True


def is_count(value: Any, least: int = 0) -> bool:
    is_whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return is_whole and bool(least <= value <= LONGEST)


def is_seed(value: Any) -> bool:
    is_whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return is_whole and 0 <= int(value) < 2**128


def is_number(value: Any, above: float = -math.inf) -> bool:
    is_real = isinstance(value, float | int | np.floating | np.integer) and not isinstance(value, bool)
    return is_real and above < as_float(value) <= LARGEST and as_float(value) >= -LARGEST


def is_shape(value: Any, axes: tuple[int, ...] = (1, 2, 3)) -> bool:
    return isinstance(value, tuple) and len(value) in axes and all(is_count(side, 1) for side in value)


def is_sample_shape(value: Any, estimator: Any) -> bool:
    return is_shape(value, tuple(range(1, 8))) and math.prod(value) == estimator.n_features_in_


def is_image_shape(value: Any, estimator: Any) -> bool:
    return value is None or (is_shape(value, (2, 3)) and math.prod(value) == estimator.n_features_in_)


def are_names(value: Any, estimator: Any) -> bool:
    is_list = isinstance(value, np.ndarray) and value.dtype == object
    return is_list and value.shape == (estimator.n_features_in_,) and all(type(name) is str for name in value)


def are_numbers(value: Any, *shapes: tuple[int, ...]) -> bool:
    is_array = isinstance(value, np.ndarray) and value.dtype.kind in "fiu" and value.dtype.itemsize <= 8
    return is_array and value.shape in shapes and bool(np.isfinite(value).all())


def in_words(value: Any) -> str:
    """Return a value in a few words; an estimator in another writes many, however few are kept."""
    if isinstance(value, BaseEstimator):
        return f"a {type(value).__name__}"
    return f"{value!r:.60}".replace("\n", " ")


ANY_SAMPLES = {
    "n_features_in_": Rule(lambda v, _: is_count(v, 1), "a number of features"),
    "_sample_shape_": Rule(is_sample_shape, "the shape of a sample"),
    "feature_names_in_": Rule(are_names, "the names of all features", required=False),
}
