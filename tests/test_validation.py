from __future__ import annotations

import warnings
from numbers import Real
from typing import ClassVar

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from packaging.version import Version
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from sk_denoise import CleanTargetWarning, DenoisingAutoencoder, GaussianNoiser
from sk_denoise._validation import (
    Interval,
    StrOptions,
    as_float_array,
    as_tensor,
    check_clean_side,
    check_noiser,
    check_one_of,
    check_parameters,
    check_samples,
    find_noisers,
    is_clean_side,
    restore_container,
)

X = np.random.default_rng(0).normal(size=(6, 4))
FRAME = pd.DataFrame(X, columns=list("abcd"), index=range(10, 16))


class Plain(BaseEstimator):
    """An estimator that holds its parameters."""

    _parameter_constraints: ClassVar = {"inner": [str, None], "unit": [Interval(Real, 0, 1, closed="left")]}

    def __init__(self, inner=None, unit=0.5):
        self.inner = inner
        self.unit = unit


class Inverter:
    """A noiser of a user: not of the base class, and no estimator."""

    def fit(self, X, y=None):
        return self

    def corrupt(self, x, generator):
        return -x


# Names in a table --------------------------------------------------------------------------------------


def test_a_known_name_gives_its_entry():
    assert check_one_of("one", {"one": 1, "two": 2}, "number") == 1


def test_the_error_for_an_unknown_name_has_the_nearest_and_all_known_ones():
    with pytest.raises(ValueError, match=r"Unknown number 'tow'. Did you mean 'two'\? Known: 'one', 'two'."):
        check_one_of("tow", {"one": 1, "two": 2}, "number")


@pytest.mark.parametrize("name", ["xyz", None, 3, ["xyz"], ()], ids=repr)
def test_the_error_for_a_name_near_no_other_has_the_known_ones(name):
    with pytest.raises(ValueError, match=r"^Unknown letter .*\. Known: 'alpha', 'beta'\.$"):
        check_one_of(name, {"alpha": 1, "beta": 2}, "letter")


# Noisers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("noiser", [GaussianNoiser(), Inverter()], ids=["ours", "theirs"])
def test_an_object_that_fits_and_corrupts_is_a_noiser(noiser):
    assert check_noiser(noiser) is noiser


@pytest.mark.parametrize("other", [0.1, "gaussian", None, StandardScaler(), DenoisingAutoencoder()], ids=repr)
def test_anything_else_is_not_a_noiser(other):
    with pytest.raises(TypeError, match=r"Expected a noiser such as GaussianNoiser\(0.1\), got"):
        check_noiser(other)


def test_the_error_for_the_class_of_a_noiser_has_a_hint():
    with pytest.raises(TypeError, match=r"Did you mean GaussianNoiser\(\)\?"):
        check_noiser(GaussianNoiser)


def test_noisers_are_found_in_all_parts_of_an_estimator():
    first, second, third = GaussianNoiser(0.1), GaussianNoiser(0.2), Inverter()
    pipeline = make_pipeline(
        FeatureUnion([("noise", first), ("same", "passthrough")]),
        Pipeline([("scale", StandardScaler()), ("dae", DenoisingAutoencoder(noise=second))]),
        Plain(inner=third),
    )
    noisers = find_noisers(pipeline)
    assert {id(noiser) for noiser in noisers} == {id(first), id(third)}  # the second runs in fit alone
    assert len(noisers) == 2


def test_a_noiser_holds_itself():
    noiser = GaussianNoiser()
    assert find_noisers(noiser) == [noiser]


@pytest.mark.parametrize(
    "estimator", [LogisticRegression(), Plain(inner=GaussianNoiser), GaussianNoiser, Pipeline, None]
)
def test_classes_and_other_estimators_hold_no_noisers(estimator):
    assert find_noisers(estimator) == []


# Parameters --------------------------------------------------------------------------------------------


def test_parameters_are_checked_against_their_constraints():
    check_parameters(Plain("a", 0.0), Plain._parameter_constraints)
    with pytest.raises(ValueError, match=r"The 'unit' parameter of Plain must be .* \[0.0, 1.0\)"):
        check_parameters(Plain("a", 1.0), Plain._parameter_constraints)
    with pytest.raises(ValueError, match="The 'inner' parameter of Plain"):
        check_parameters(Plain(3), {"inner": [StrOptions({"a"})]})


# Samples -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "shape"),
    [
        (X, (4,)),
        (X.tolist(), (4,)),
        (FRAME, (4,)),
        (pl.DataFrame(X), (4,)),
        (X.reshape(6, 2, 2), (2, 2)),
        (X.reshape(6, 2, 2).tolist(), (2, 2)),
        (list(X.reshape(6, 2, 2)), (2, 2)),
        (X.reshape(6, 2, 1, 2), (2, 1, 2)),
        (torch.from_numpy(X), (4,)),
        (torch.from_numpy(X).reshape(6, 2, 2), (2, 2)),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, tuple) else str(value),
)
def test_the_shape_of_one_sample_is_learned(data, shape):
    estimator = Plain()
    checked = check_samples(estimator, data, reset=True)
    np.testing.assert_array_equal(checked, X.reshape(6, *shape))
    assert type(checked) is np.ndarray
    assert estimator.n_features_in_ == 4
    assert estimator._sample_shape_ == shape
    np.testing.assert_array_equal(check_samples(estimator, data, reset=False), checked)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, np.uint8, bool])
def test_samples_keep_their_type(dtype):
    assert check_samples(Plain(), X.astype(dtype), reset=True).dtype == dtype


def test_names_of_features_are_learned_and_compared():
    estimator = Plain()
    check_samples(estimator, FRAME, reset=True)
    assert estimator.feature_names_in_.tolist() == ["a", "b", "c", "d"]
    with pytest.raises(ValueError, match="feature names should match"):
        check_samples(estimator, FRAME.rename(columns={"a": "z"}), reset=False)
    check_samples(estimator, X, reset=True)
    assert not hasattr(estimator, "feature_names_in_")


@pytest.mark.parametrize(
    ("fitted", "given", "message"),
    [
        ((6, 4), (6, 3), "X has 3 features, but Plain is expecting 4 features"),
        ((6, 4), (6, 2, 2), r"fitted on samples of shape \(4,\).*Reshape X to \(n_samples, 4\)"),
        ((6, 2, 2), (6, 4), r"fitted on samples of shape \(2, 2\).*Reshape X to \(n_samples, 2, 2\)"),
        ((6, 2, 3), (6, 3, 2), r"X holds samples of shape \(3, 2\)"),
        ((6, 2, 3), (6, 2, 4), r"X holds samples of shape \(2, 4\)"),
        ((6, 2, 3, 3), (6, 2, 3), r"X holds samples of shape \(2, 3\)"),
    ],
)
def test_samples_of_another_shape_are_refused(fitted, given, message):
    estimator = Plain()
    check_samples(estimator, np.ones(fitted), reset=True)
    with pytest.raises(ValueError, match=message):
        check_samples(estimator, np.ones(given), reset=False)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (X[0], "Expected 2D array, got 1D array"),
        (np.full((2, 2), np.nan), "Input X contains NaN"),
        (np.full((2, 2, 2), np.inf), "Input X contains infinity"),
        (np.array([["a", "b"]]), "Convert your data to numeric values"),
        (X + 1j, "Complex data not supported"),
        (np.ones((3, 0)), "0 feature"),
        (np.ones((3, 2, 0)), r"Found samples of shape \(2, 0\)"),
        (np.ones((0, 2)), "0 sample"),
        ([np.ones((2, 2)), np.ones((3, 2))], "inhomogeneous"),
    ],
    ids=["1-D", "NaN", "inf", "strings", "complex", "no feature", "no width", "no sample", "ragged"],
)
def test_data_other_than_arrays_of_finite_samples_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        check_samples(Plain(), bad, reset=True)


def test_too_few_samples_are_refused():
    with pytest.raises(ValueError, match=r"minimum of 2 is required"):
        check_samples(Plain(), X[:1], reset=True, min_samples=2)


# The clean side ----------------------------------------------------------------------------------------


def test_a_target_of_the_shape_of_its_noisy_side_passes():
    np.testing.assert_array_equal(check_clean_side(Plain(), FRAME, X.shape, "X_clean"), X)
    assert check_clean_side(Plain(), X.reshape(6, 2, 2), (6, 2, 2), "X_clean").shape == (6, 2, 2)


@pytest.mark.parametrize("shape", [(6,), (6, 3), (5, 4), (6, 2, 2)])
def test_a_target_of_another_shape_is_refused_by_its_name(shape):
    with pytest.raises(ValueError, match=r"X_clean has shape .*, its noisy side has shape \(6, 4\)"):
        check_clean_side(Plain(), np.ones(shape), X.shape, "X_clean")


def test_a_target_with_missing_values_is_refused_by_its_name():
    with pytest.raises(ValueError, match="Input X_clean contains NaN"):
        check_clean_side(Plain(), np.full(X.shape, np.nan), X.shape, "X_clean")


BINARY = (X > 0).astype(int)


@pytest.mark.parametrize(
    ("y", "given"),
    [
        (X + 1, X),
        ((X + 1).tolist(), X),
        (FRAME, FRAME),
        (FRAME, X),
        (X, FRAME),
        (pl.DataFrame(X), X),
        (torch.from_numpy(X), X),
        (np.round(10 * X).astype(int), X),
        (X.reshape(6, 2, 2), X.reshape(6, 2, 2)),
        (BINARY, BINARY),
        (FRAME.convert_dtypes(), X),
        (FRAME.convert_dtypes().mask(FRAME > 1), X),  # gaps are an error in a later check
    ],
    ids=[
        "array",
        "list",
        "frame",
        "frame for array",
        "array for frame",
        "polars",
        "torch",
        "integers",
        "stack",
        "binary for binary",
        "nullable frame",
        "nullable frame with gaps",
    ],
)
def test_a_numeric_y_of_the_shape_of_x_is_its_clean_side(y, given):
    assert is_clean_side(y, given, warn=True)


@pytest.mark.parametrize(
    "y",
    [
        None,
        [0, 1, 0, 1, 2, 2],
        np.arange(6),
        np.arange(6.0),
        pd.Series(range(6)),
        ["a", "b"] * 3,
        np.array([["a", "b", "c", "d"]] * 6),
        pd.DataFrame([["a", "b", "c", "d"]] * 6),
        np.eye(6, 3, dtype=int),
        np.arange(6)[:, None],
        [("a",), ("b", "c")] * 3,
        object(),
    ],
    ids=[
        "none",
        "list",
        "labels",
        "values",
        "series",
        "names",
        "array of names",
        "frame of names",
        "indicators",
        "column",
        "sets of labels",
        "label",
    ],
)
def test_labels_are_no_clean_side_and_cause_no_warning(y):
    assert not is_clean_side(y, X, warn=True)


@pytest.mark.parametrize(
    ("y", "given", "reason"),
    [
        (X[:, :2], X, r"its shape \(6, 2\) is not X's \(6, 4\)"),
        (X[:, :1], X[:, :1] + 1, "X has one feature only"),
        (BINARY, X, "it holds zeros and ones only"),
        (BINARY.astype(bool), X, "it holds zeros and ones only"),
        (X.reshape(6, 2, 2), X, r"its shape \(6, 2, 2\) is not"),
    ],
    ids=["other width", "one feature", "indicators", "booleans", "other layout"],
)
def test_a_y_that_may_have_been_meant_as_clean_is_ignored_with_a_warning(y, given, reason):
    with pytest.warns(CleanTargetWarning, match=f"{reason}.*Pass clean data as X_clean="):
        assert not is_clean_side(y, given, warn=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not is_clean_side(y, given)


# Types and containers ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ("float32", "float32"),
        ("float64", "float64"),
        (">f4", "float32"),
        (">f8", "float64"),
        ("longdouble", "float64"),
        ("float16", "float32"),
        ("uint8", "float32"),
        ("int64", "float32"),
        ("bool", "float32"),
    ],
)
def test_floats_keep_their_precision_and_the_rest_becomes_single(dtype, expected):
    data = np.array([[0, 1], [1, 1]], dtype=dtype)
    converted = as_float_array(data)
    assert converted.dtype.newbyteorder("=") == np.dtype(expected)
    np.testing.assert_array_equal(converted, data)


def test_floats_are_not_copied():
    assert as_float_array(X) is X


@pytest.mark.parametrize(
    "array",
    [
        X,
        np.asfortranarray(X),
        X[:, ::2],
        X[::-1],
        X[:, ::-1],
        X.astype(">f8"),
        X.astype(np.float32),
        np.frombuffer(b"\0" + X.tobytes(), dtype=np.uint8)[1:].view(np.float64).reshape(X.shape),
        X.reshape(6, 2, 2),
    ],
    ids=[
        "plain",
        "fortran",
        "strided",
        "reversed",
        "pad_by_mirroring",
        "big-endian",
        "single",
        "unaligned",
        "stack",
    ],
)
def test_every_array_becomes_a_tensor_of_the_same_values(array):
    tensor = as_tensor(array)
    assert tensor.shape == array.shape
    assert tensor.is_contiguous()
    np.testing.assert_array_equal(tensor.numpy(), array)


def test_a_tensor_shares_the_memory_of_its_array():
    assert as_tensor(X).data_ptr() == X.ctypes.data


@pytest.mark.skipif(
    Version(torch.__version__) < Version("2.13"),
    reason="torch 2.8 takes no read-only memory from numpy, which is copied then; 2.13 does",
)
def test_it_shares_that_of_a_read_only_one_too():
    array = X.copy()
    array.flags.writeable = False
    assert as_tensor(array).data_ptr() == array.ctypes.data


def test_an_array_goes_back_into_the_kind_of_frame_it_came_from():
    restored = restore_container(X + 1, FRAME)
    pd.testing.assert_frame_equal(restored, FRAME + 1)
    polars = pl.DataFrame(X, schema=list("abcd"))
    assert restore_container(X + 1, polars).equals(polars + 1)
    assert restore_container(X, [[1.0]]) is X
