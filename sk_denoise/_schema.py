"""Rules for fitted attributes: types, sizes and ranges that a class can work with.

A class that sets fitted attributes lists them in ``_fitted_schema``, beside its ``_parameter_constraints``:
a rule for each name. Schemas are inherited, and a subclass adds names or replaces rules. Files are checked
by them when they are written and when they are read; a fit is not.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

__all__ = [
    "BLOCKS",
    "COUNT",
    "ENTRY_NUMBERS",
    "FEATURE_NUMBERS",
    "IMAGE_SHAPE",
    "MAX_MAGNITUDE",
    "NONNEGATIVE_NUMBER",
    "NUMBER",
    "NUMBER_LIST",
    "POSITIVE_NUMBER",
    "SAMPLES",
    "SEED",
    "Rule",
    "check_fitted_state",
    "conforms",
    "describe_value",
    "fitted_schema",
    "has_type",
    "is_count",
    "is_nonnegative_array",
    "is_number",
    "is_numeric_array",
    "is_shape",
    "one_of",
    "optional",
    "record",
    "to_double",
]

# The square of a larger number is infinite, and so are variances and products of scales.
MAX_MAGNITUDE = 1e150
# torch and numpy index with 64 bits; a product of several sides has to fit as well.
MAX_COUNT = 2**31
MAX_SEED = 2**128


@dataclass(frozen=True)
class Rule:
    """A test of one attribute.

    Attributes
    ----------
    test : callable
        Called with the value and the object that has it; returns whether the value passes.
    description : str
        A noun phrase for messages, "a number above 0".
    required : bool
        Whether every fitted object has the attribute.
    after_others : bool
        Whether the test reads attributes that have rules of their own, and so runs after them.
    """

    test: Callable[[Any, Any], bool]
    description: str
    required: bool = True
    after_others: bool = False


# Schemas ------------------------------------------------------------------------------------------------


def fitted_schema(kind: type[Any]) -> dict[str, Rule]:
    """Return the rules of a class and of the classes that it inherits from."""
    rules: dict[str, Rule] = {}
    for base in reversed(kind.__mro__):
        rules |= vars(base).get("_fitted_schema", {})
    return dict(sorted(rules.items(), key=lambda item: item[1].after_others))


def check_fitted_state(estimator: Any, schema: Mapping[str, Rule]) -> None:
    """Refuse fitted attributes that break a rule, and missing ones."""
    # An unfitted estimator has none of them.
    fitted = vars(estimator).keys() & schema.keys()
    if not fitted:
        return
    name = type(estimator).__name__
    for attribute, rule in schema.items():
        if rule.required and attribute not in fitted:
            raise ValueError(f"{name} lacks {attribute}, and has {min(fitted)}")
    for attribute, rule in schema.items():
        if attribute in fitted and not rule.test(getattr(estimator, attribute), estimator):
            value = describe_value(getattr(estimator, attribute))
            raise ValueError(f"{attribute} of {name} must be {rule.description}, and is {value}")


def conforms(value: Any) -> bool:
    """Return whether the fields of a record pass the rules of its class."""
    return all(rule.test(getattr(value, name), value) for name, rule in fitted_schema(type(value)).items())


def describe_value(value: Any) -> str:
    """Return a value in at most 60 characters."""
    # The repr of nested estimators doubles with each level, before it is cut.
    if hasattr(type(value), "get_params"):
        return f"a {type(value).__name__}"
    return f"{value!r:.60}".replace("\n", " ")


# Tests --------------------------------------------------------------------------------------------------


def to_double(value: Any) -> float:
    """Return a number in double precision, the largest one for an integer beyond it."""
    # numpy compares its half-precision numbers in half precision, where every limit is infinite.
    try:
        return float(value)
    except OverflowError:
        return sys.float_info.max if value > 0 else -sys.float_info.max


def _is_integer(value: Any) -> bool:
    # a bool is an int to Python
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def is_count(value: Any, minimum: int = 0) -> bool:
    """Return whether a value is an integer that can count something."""
    return _is_integer(value) and bool(minimum <= value <= MAX_COUNT)


def is_number(value: Any, above: float = -math.inf) -> bool:
    """Return whether a value is a finite real number of usual size, above a limit."""
    is_real = isinstance(value, float | np.floating) or _is_integer(value)
    return is_real and above < to_double(value) <= MAX_MAGNITUDE and to_double(value) >= -MAX_MAGNITUDE


def is_shape(value: Any, axes: tuple[int, ...] = (1, 2, 3)) -> bool:
    """Return whether a value is a tuple of sides, for one of these numbers of axes."""
    return isinstance(value, tuple) and len(value) in axes and all(is_count(side, 1) for side in value)


def is_numeric_array(value: Any, *shapes: tuple[int, ...]) -> bool:
    """Return whether a value is an array of finite numbers, in one of these shapes."""
    is_array = isinstance(value, np.ndarray) and value.dtype.kind in "fiu" and value.dtype.itemsize <= 8
    return is_array and value.shape in shapes and bool(np.isfinite(value).all())


def is_nonnegative_array(value: Any, *shapes: tuple[int, ...]) -> bool:
    """Return whether a value is an array of numbers of at least 0, in these shapes."""
    return is_numeric_array(value, *shapes) and bool((value >= 0).all())


def _is_sample_shape(value: Any, estimator: Any) -> bool:
    return is_shape(value, tuple(range(1, 8))) and math.prod(value) == estimator.n_features_in_


def _is_image_shape(value: Any, estimator: Any) -> bool:
    return is_shape(value, (2, 3)) and math.prod(value) == estimator.n_features_in_


def _are_names(value: Any, estimator: Any) -> bool:
    is_list = isinstance(value, np.ndarray) and value.dtype == object
    return is_list and value.shape == (estimator.n_features_in_,) and all(type(name) is str for name in value)


def _are_blocks(value: Any) -> bool:
    are_tuples = type(value) is tuple and all(type(block) is tuple and block for block in value)
    columns = [column for block in value for column in block] if are_tuples else []
    return are_tuples and all(map(is_count, columns)) and len(set(columns)) == len(columns)


# Rules --------------------------------------------------------------------------------------------------


def optional(rule: Rule) -> Rule:
    """Return a rule that None passes as well."""
    return replace(
        rule,
        test=lambda value, owner: value is None or rule.test(value, owner),
        description=f"None, or {rule.description}",
    )


def one_of(*names: str, required: bool = True) -> Rule:
    """Return a rule for names."""
    description = f"one of {', '.join(map(repr, names))}"
    return Rule(lambda v, _: type(v) is str and v in names, description, required)


def has_type(kind: type[Any], description: str) -> Rule:
    """Return a rule for values of a class, and of no subclass."""
    return Rule(lambda v, _: type(v) is kind, description)


def record(
    kind: type[Any], description: str, fits: Callable[[Any, Any], bool] = lambda value, owner: True
) -> Rule:
    """Return a rule for records that pass the rules of their class, and a test."""
    return Rule(lambda v, owner: type(v) is kind and conforms(v) and fits(v, owner), description)


COUNT = Rule(lambda v, _: is_count(v), "a count")
SEED = Rule(lambda v, _: _is_integer(v) and 0 <= int(v) < MAX_SEED, "a seed")
NUMBER = Rule(lambda v, _: is_number(v), "a number")
POSITIVE_NUMBER = Rule(lambda v, _: is_number(v, above=0), "a number above 0")
NONNEGATIVE_NUMBER = Rule(lambda v, _: is_number(v) and v >= 0, "a number of at least 0")
NUMBER_LIST = Rule(lambda v, _: type(v) is list and all(type(x) is float for x in v), "a list of numbers")
FEATURE_NUMBERS = Rule(
    lambda v, owner: is_numeric_array(v, (owner.n_features_in_,)), "a number for each feature"
)
ENTRY_NUMBERS = Rule(
    lambda v, owner: is_numeric_array(v, (), owner._sample_shape_),
    "a number, or one for each entry of a sample",
)
BLOCKS = Rule(lambda v, _: _are_blocks(v), "columns of blocks, none of them twice", required=False)
IMAGE_SHAPE = optional(Rule(_is_image_shape, "the shape of an image of so many pixels"))
# Attributes that a check of the training samples sets
SAMPLES: dict[str, Rule] = {
    "n_features_in_": Rule(lambda v, _: is_count(v, 1), "a number of features"),
    "_sample_shape_": Rule(_is_sample_shape, "the shape of a sample"),
    "feature_names_in_": Rule(_are_names, "the names of all features", required=False),
}
