"""Common tests of all noisers, over the table, then tests of GaussianNoiser."""

from __future__ import annotations

import contextlib
import copy
import pickle
import random
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

import sk_denoise.noise
from sk_denoise import (
    BaselineWanderNoiser,
    BlurNoiser,
    CameraNoiser,
    CopiedMaskNoiser,
    DownscaleNoiser,
    GaussianNoiser,
    GrainNoiser,
    HumNoiser,
    JPEGNoiser,
    MaskingNoiser,
    NoiserChain,
    NoiserChoice,
    PixelNoiser,
    PoissonNoiser,
    RecordedNoiser,
    RegionNoiser,
    SaltAndPepperNoiser,
    SpeckleNoiser,
    StripeNoiser,
    SwapNoiser,
    UniformNoiser,
    WeakNoiseWarning,
)
from sk_denoise._registry import NOISES, load_entry
from sk_denoise._validation import Noiser
from sk_denoise.noise import BaseNoiser, carried_source

RECORDS = np.random.default_rng(2).normal(3, 1, size=(3, 50))
NOISERS = {
    "gaussian": GaussianNoiser(random_state=0),
    "gaussian, range": GaussianNoiser((0.1, 0.5), random_state=0),
    "gaussian, shifted": GaussianNoiser(0.3, mean=1.0, random_state=0),
    "gaussian, relative": GaussianNoiser(0.5, scale="std", random_state=0),
    "gaussian, clipped": GaussianNoiser(0.5, clip=(0, 1), random_state=0),
    "uniform": UniformNoiser((0.1, 0.3), scale="std", random_state=0),
    "speckle": SpeckleNoiser((0.1, 0.5), random_state=0),
    "poisson": PoissonNoiser((5, 50), random_state=0),
    "salt and pepper": SaltAndPepperNoiser((0.4, 0.8), random_state=0),
    "masking": MaskingNoiser(0.6, fill=-1.0, random_state=0),
    "masking by the mean": MaskingNoiser((0.4, 0.8), fill="mean", random_state=0),
    "swap": SwapNoiser(0.7, random_state=0),
    "pixel": PixelNoiser(0.6, random_state=0),
    "pixel, black and white": PixelNoiser((0.4, 0.8), "black and white", random_state=0),
    "grain": GrainNoiser((0.1, 0.3), random_state=0),
    "grain, kernel, relative": GrainNoiser(0.5, np.array([1.0, -0.5]), scale="std", random_state=0),
    "stripe": StripeNoiser((0.1, 0.3), image_shape=(2, 3), random_state=0),
    "stripe, drifting columns": StripeNoiser(
        0.3, "columns", drift=0.5, scale="std", image_shape=(2, 3), random_state=0
    ),
    "jpeg": JPEGNoiser((1, 40), grid="random", image_shape=(2, 3), random_state=0),
    "camera": CameraNoiser(0.05, image_shape=(2, 3), random_state=0),
    "camera, without a file": CameraNoiser(0.05, jpeg=None, image_shape=(2, 3), random_state=0),
    "blur": BlurNoiser(sigma=(1.0, 3.0), random_state=0),
    "blur, motion": BlurNoiser(
        "motion", length=(1.0, 4.0), angle=(-60, 60), image_shape=(2, 3), random_state=0
    ),
    "recorded": RecordedNoiser(RECORDS, random_state=0),
    "recorded, as it is": RecordedNoiser([0.2 * RECORDS[0], 0.1 * RECORDS[1, :40]], None, random_state=0),
    "baseline_wander": BaselineWanderNoiser((0.1, 0.3), random_state=0),
    "wander, relative": BaselineWanderNoiser(0.5, max_frequency=0.2, scale="std", random_state=0),
    "hum": HumNoiser(500, (0.2, 0.4), random_state=0),
    "hum, relative, clipped": HumNoiser(130, 0.7, frequency=60, scale="std", clip=(0, 1), random_state=0),
    "region": RegionNoiser(GaussianNoiser(0.3), (0.5, 1.0), random_state=0),
    "choice": NoiserChoice([GaussianNoiser(0.3), SaltAndPepperNoiser(0.9)], [0.7, 0.3], random_state=0),
    "chain": NoiserChain([PoissonNoiser(20), GaussianNoiser(0.1, clip=(0, 1))], random_state=0),
}

# Others that an amount tells, at the end of the app's slider
for _name, _noise in NOISES.items():
    if _noise.amount is not None and load_entry(_noise) not in {type(noiser) for noiser in NOISERS.values()}:
        _most = _noise.amount.slider_max * _noise.amount.unit.size
        NOISERS[_name] = load_entry(_noise)(**{_noise.amount.parameter: _most}, random_state=0)

X = np.random.default_rng(0).uniform(size=(30, 6))
OTHER = np.random.default_rng(1).uniform(size=(30, 6))
FRAME = pd.DataFrame(X, columns=list("abcdef"), index=range(100, 130))


# Those that develop or read images take a quarter of a second a test.
PARAMETERS = [
    pytest.param(noiser, id=name, marks=pytest.mark.slow if name.startswith(("camera", "recorded")) else ())
    for name, noiser in NOISERS.items()
]


@pytest.fixture(params=PARAMETERS)
def noiser(request) -> BaseNoiser:
    return clone(request.param)


def always(noiser: BaseNoiser) -> BaseNoiser:
    return clone(noiser).set_params(apply="always")


def plain(data) -> np.ndarray:
    return np.asarray(data)


def same(one, other) -> bool:
    return np.array_equal(plain(one), plain(other))


def global_states() -> tuple[object, ...]:
    _, keys, position, *_ = np.random.get_state()  # noqa: NPY002 - it is this state that is at stake
    return random.getstate(), keys.tolist(), position, torch.get_rng_state().tolist()


def test_every_public_noiser_is_in_the_table():
    public = (getattr(sk_denoise.noise, name) for name in sk_denoise.noise.__all__)
    noisers = {kind for kind in public if isinstance(kind, type) and issubclass(kind, BaseNoiser)}
    # Tests of their own have the noiser of gaps, whose output holds NaN, and that of smaller images.
    assert noisers - {BaseNoiser, CopiedMaskNoiser, DownscaleNoiser} == {
        type(noiser) for noiser in NOISERS.values()
    }


# When a noiser corrupts ----------------------------------------------------------------------------------


def test_it_corrupts_in_fit_transform_and_leaves_data_alone_in_transform(noiser):
    noisy = noiser.fit_transform(X)
    assert noisy.shape == X.shape
    assert (plain(noisy) != X).mean() > 0.4
    np.testing.assert_array_equal(noiser.transform(X), X)
    np.testing.assert_array_equal(noiser.transform(OTHER[:4]), OTHER[:4])
    np.testing.assert_array_equal(noiser.fit(X).transform(X), X)


def test_with_apply_always_it_corrupts_in_transform_too(noiser):
    noiser = always(noiser).fit(X)
    assert (plain(noiser.transform(X)) != X).mean() > 0.4
    assert (plain(noiser.transform(OTHER[:4])) != OTHER[:4]).mean() > 0.2


def test_it_corrupts_in_training_only_inside_a_pipeline(noiser):
    pipeline = make_pipeline(MinMaxScaler(), noiser)
    scaled = MinMaxScaler().fit_transform(X)
    assert not np.allclose(plain(pipeline.fit_transform(X)), scaled)
    np.testing.assert_allclose(pipeline.transform(X), scaled)


@pytest.mark.parametrize("apply", ["fit", "always"])
def test_it_leaves_the_data_and_all_global_states_as_they_are(noiser, apply):
    mine, frame = X.copy(), FRAME.copy()
    states = global_states()
    noiser.set_params(apply=apply)
    for data in (mine, frame):
        noiser.fit_transform(data)
        noiser.fit(data).transform(data)
    np.testing.assert_array_equal(mine, X)
    pd.testing.assert_frame_equal(frame, FRAME)
    assert global_states() == states


def test_its_output_carries_the_clean_data(noiser):
    for noisy in (noiser.fit_transform(X), always(noiser).fit(OTHER).transform(X)):
        source = carried_source(noisy)
        np.testing.assert_array_equal(source.clean, X)
        assert source.describes(noisy)
    assert carried_source(noiser.fit(X).transform(X)) is None


def test_noised_data_that_pass_a_transform_as_they_are_are_plain_again(noiser):
    noisy = noiser.fit_transform(X)
    assert carried_source(noiser.transform(noisy)) is None


# Randomness ----------------------------------------------------------------------------------------------


def test_an_integer_gives_the_same_data_the_same_noise_at_every_call(noiser):
    noisy = noiser.fit_transform(X)
    assert same(noiser.fit_transform(X), noisy)
    assert same(clone(noiser).fit_transform(X.copy()), noisy)
    assert same(clone(noiser).fit_transform(np.asfortranarray(X)), noisy)
    assert not same(noiser.set_params(random_state=1).fit_transform(X), noisy)


def test_an_integer_gives_other_data_other_noise(noiser):
    noiser = always(noiser).set_params(random_state=0).fit(X)
    other = np.nextafter(X, 2)
    assert same(noiser.transform(X), noiser.transform(X))
    assert np.abs(plain(noiser.transform(X)) - plain(noiser.transform(other))).mean() > 0.01


def test_equal_rows_get_different_noise(noiser):
    alike = np.repeat(X[:2], 100, axis=0)
    noisy = plain(always(noiser).fit(X).transform(alike)).reshape(2, 100, 6)
    assert all(len(np.unique(rows, axis=0)) > 15 for rows in noisy)


def test_random_state_none_gives_other_noise_at_every_call(noiser):
    noiser.set_params(random_state=None)
    assert not same(noiser.fit_transform(X), noiser.fit_transform(X))
    noiser = always(noiser).fit(X)
    assert not same(noiser.transform(X), noiser.transform(X))


def test_a_random_state_instance_moves_on_from_call_to_call(noiser):
    def two_draws():
        noiser.set_params(random_state=np.random.RandomState(5))
        return noiser.fit_transform(X), noiser.fit_transform(X)

    first, second = two_draws()
    assert not same(first, second)
    again = two_draws()
    assert same(again[0], first)
    assert same(again[1], second)


def test_corrupting_a_tensor_draws_from_the_generator_alone_and_is_pure(noiser):
    noiser.fit(X)
    x = torch.from_numpy(X.copy())
    generator = torch.Generator().manual_seed(3)
    first, second = noiser.corrupt(x, generator), noiser.corrupt(x, generator)
    assert not torch.equal(first, second)
    assert torch.equal(noiser.corrupt(x, torch.Generator().manual_seed(3)), first)
    assert same(x, X)
    assert first.dtype == x.dtype
    assert noiser.corrupt(x[:7], generator).shape == (7, 6)


def test_corrupting_keeps_single_precision(noiser):
    noiser.fit(X)
    x = torch.from_numpy(X.astype(np.float32))
    assert noiser.corrupt(x, torch.Generator()).dtype == torch.float32


# Types, shapes and containers ----------------------------------------------------------------------------


@pytest.mark.parametrize("apply", ["fit", "always"])
@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (np.float32, np.float32),
        (np.float64, np.float64),
        (np.float16, np.float32),
        (np.uint8, np.float32),
        (np.int64, np.float32),
        (bool, np.float32),
        (object, np.float64),
        (">f8", np.float64),
    ],
    ids=lambda dtype: np.dtype(dtype).name if dtype != ">f8" else "big-endian float64",
)
def test_floats_keep_their_type_and_integers_become_single_in_the_same_unit(noiser, apply, dtype, expected):
    data = (3 * X).round().astype(dtype)
    noiser.set_params(apply=apply)
    noisy = noiser.fit_transform(data)
    assert noisy.dtype == expected
    left = noiser.transform(data)
    assert left.dtype == expected
    np.testing.assert_array_equal(left, noisy if apply == "always" else data.astype(expected))
    np.testing.assert_array_equal(carried_source(noisy).clean, data)


@pytest.mark.parametrize("shape", [(10, 3, 6), (10, 3, 2, 3), (2, 6), (180, 1)])
def test_stacks_keep_their_shape(noiser, shape):
    data = np.resize(X, shape)
    if isinstance(noiser, RecordedNoiser) and len(shape) > 2:
        noiser.set_params(bank=RECORDS.reshape(3, 5, 10))
    elif isinstance(noiser, BaselineWanderNoiser | HumNoiser) and len(shape) == 4:
        # Signals are images of height 1.
        shape = (10, 1, 6, 3)
        data = data.reshape(shape)
    elif getattr(noiser, "image_shape", None):
        noiser.set_params(image_shape=(1, shape[1]) if len(shape) == 2 else None)
    noisy = noiser.fit_transform(data)
    assert noisy.shape == shape
    np.testing.assert_array_equal(noiser.transform(data), data)
    np.testing.assert_array_equal(carried_source(noisy).clean, data)
    assert noiser.n_features_in_ == np.prod(shape[1:])


def test_lists_are_data(noiser):
    assert same(noiser.fit_transform(X.tolist()), clone(noiser).fit_transform(X))


@pytest.mark.parametrize(
    "layout",
    [np.asfortranarray, lambda x: np.repeat(x, 2, axis=1)[:, ::2], np.copy, lambda x: x.astype(">f8")],
    ids=["by column", "strided", "copy", "big-endian"],
)
def test_the_layout_in_memory_does_not_matter(noiser, layout):
    assert same(noiser.fit_transform(layout(X)), clone(noiser).fit_transform(X))


def test_read_only_data_are_data(noiser):
    data = X.copy()
    data.flags.writeable = False
    assert same(noiser.fit_transform(data), clone(noiser).fit_transform(X))
    noiser.fit_transform(data)[0, 0] = 1


def test_frames_come_in_with_their_names(noiser):
    noisy = noiser.fit_transform(FRAME)
    assert type(noisy) is not pd.DataFrame  # scikit-learn's default output is an array
    assert same(noisy, clone(noiser).fit_transform(X))
    assert noiser.feature_names_in_.tolist() == list("abcdef")
    assert noiser.get_feature_names_out().tolist() == list("abcdef")


@pytest.mark.parametrize("apply", ["fit", "always"])
def test_set_output_pandas_returns_frames_with_names_and_index(noiser, apply):
    noiser.set_params(apply=apply).set_output(transform="pandas")
    expected = clone(noiser).set_output(transform="default").fit_transform(X)
    noisy = noiser.fit_transform(FRAME)
    pd.testing.assert_frame_equal(
        noisy, pd.DataFrame(plain(expected), columns=FRAME.columns, index=FRAME.index)
    )
    left = noiser.transform(FRAME.iloc[3:7])
    assert left.index.tolist() == [103, 104, 105, 106]
    assert left.columns.tolist() == list("abcdef")
    if apply == "fit":
        pd.testing.assert_frame_equal(left, FRAME.iloc[3:7])


def test_set_output_polars_returns_frames(noiser):
    noiser.set_output(transform="polars")
    frame = pl.DataFrame(X, schema=list("abcdef"))
    noisy = noiser.fit_transform(frame)
    assert type(noisy) is pl.DataFrame
    assert noisy.columns == list("abcdef")
    assert same(noisy, clone(noiser).set_output(transform="default").fit_transform(X))
    assert noiser.transform(frame).equals(frame)


def test_arrays_without_names_get_them_in_frames(noiser):
    assert noiser.set_output(transform="pandas").fit_transform(X).columns.tolist() == [
        f"x{i}" for i in range(6)
    ]


# Life of an estimator ------------------------------------------------------------------------------------


def test_a_clone_is_unfitted_and_has_the_same_parameters(noiser):
    copied = clone(noiser.fit(X))
    assert repr(copied.get_params()) == repr(noiser.get_params())
    with pytest.raises(NotFittedError):
        copied.transform(X)


@pytest.mark.parametrize("reborn", [lambda x: pickle.loads(pickle.dumps(x)), copy.deepcopy])
def test_a_fitted_noiser_survives_pickling_and_copying(noiser, reborn):
    noiser = always(noiser).fit(X)
    assert same(reborn(noiser).transform(OTHER), noiser.transform(OTHER))
    assert same(reborn(noiser).fit_transform(OTHER), clone(noiser).fit_transform(OTHER))


def test_fit_returns_itself_and_ignores_labels(noiser):
    assert noiser.fit(X, ["anything"] * len(X)) is noiser
    assert same(noiser.fit_transform(X, np.arange(len(X))), clone(noiser).fit_transform(X))


def test_it_follows_the_protocol_of_noisers(noiser):
    assert isinstance(noiser, Noiser)


def test_a_second_fit_forgets_the_first(noiser):
    shape = getattr(noiser, "image_shape", None)
    if shape:
        noiser.set_params(image_shape=(1, 2))
    noiser.fit(FRAME[["a", "b"]])
    if shape:
        noiser.set_params(image_shape=shape)
    assert same(noiser.fit_transform(X), clone(noiser).fit_transform(X))
    assert noiser.n_features_in_ == 6
    assert not hasattr(noiser, "feature_names_in_")


def test_zeros_of_noise_are_a_plain_copy_that_carries_its_source():
    noisy = GaussianNoiser(0).fit_transform(X)
    np.testing.assert_array_equal(noisy, X)
    assert not np.shares_memory(noisy, X)
    assert carried_source(noisy) is not None


# Bad input -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        (np.where(X > 0.9, np.inf, X), ValueError, "Input X contains infinity"),
        (np.where(X > 0.9, np.nan, X), ValueError, "Input X contains NaN"),
        (X[0], ValueError, "Expected 2D array, got 1D array"),
        (FRAME["a"], ValueError, r"pandas\.(core\.series\.)?Series"),
        (X[:0], ValueError, "0 sample"),
        (X[:, :0], ValueError, "0 feature"),
        (X + 1j, ValueError, "Complex data not supported"),
        (X.astype(str), ValueError, "Convert your data to numeric values"),
        (FRAME.assign(a="text").to_numpy(), ValueError, "could not convert string to float"),
        (scipy.sparse.csr_array(X), TypeError, "Sparse data was passed"),
        (scipy.sparse.csc_matrix(X), TypeError, "Sparse data was passed"),
        (None, ValueError, "Expected 2D array"),
    ],
    ids=[
        "inf",
        "NaN",
        "1-D",
        "series",
        "no sample",
        "no feature",
        "complex",
        "strings",
        "text column",
        "sparse array",
        "sparse matrix",
        "None",
    ],
)
def test_data_other_than_arrays_of_finite_samples_are_refused(noiser, bad, error, message):
    with pytest.raises(error, match=message):
        noiser.fit_transform(bad)
    noiser.fit(X)
    with pytest.raises(error, match=message):
        noiser.transform(bad)


@pytest.mark.parametrize("apply", ["fit", "always"])
def test_data_of_another_shape_than_in_fit_are_refused(noiser, apply):
    noiser.set_params(apply=apply).fit(X)
    with pytest.raises(ValueError, match=r"X has 5 features, but \w+ is expecting 6 features"):
        noiser.transform(X[:, :5])
    with pytest.raises(ValueError, match=r"X holds samples of shape \(2, 3\)"):
        noiser.transform(X.reshape(30, 2, 3))
    if isinstance(noiser, RecordedNoiser):
        # A bank of signals does not fit images, so the noiser needs recorded images.
        noiser.set_params(bank=np.random.default_rng(0).normal(size=(2, 2, 3)))
    noiser.fit(X.reshape(30, 2, 3))
    with pytest.raises(ValueError, match=r"X holds samples of shape \(6,\)"):
        noiser.transform(X)
    with pytest.raises(ValueError, match=r"X holds samples of shape \(3, 2\)"):
        noiser.transform(X.reshape(30, 3, 2))


def test_other_names_than_in_fit_are_refused(noiser):
    noiser.fit(FRAME)
    with pytest.raises(ValueError, match="The feature names should match"):
        noiser.transform(FRAME.rename(columns={"a": "z"}))
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        noiser.transform(X)


def test_an_unfitted_noiser_raises_not_fitted_error(noiser):
    with pytest.raises(NotFittedError, match=r"This \w+ instance is not fitted yet"):
        noiser.transform(X)
    with pytest.raises(NotFittedError, match=r"This \w+ instance is not fitted yet"):
        noiser.corrupt(torch.zeros(2, 2), torch.Generator())


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"apply": "never"}, "'apply' parameter of .* must be a str among"),
        ({"apply": None}, "'apply' parameter of .* must be a str among"),
        ({"random_state": -1}, "'random_state' parameter of"),
        ({"random_state": "0"}, "'random_state' parameter of"),
        ({"random_state": np.random.default_rng(0)}, "'random_state' parameter of"),
    ],
)
def test_parameters_that_all_noisers_have_are_checked_in_fit(noiser, parameters, message):
    noiser.set_params(**parameters)
    for fit in (noiser.fit, noiser.fit_transform):
        with pytest.raises(ValueError, match=message):
            fit(X)


# GaussianNoiser ------------------------------------------------------------------------------------------


BIG = np.random.default_rng(0).uniform(size=(300, 200))


def test_the_noise_has_a_deviation_of_a_tenth_by_default():
    noiser = GaussianNoiser()
    assert noiser.noise_factor == 0.1
    noise = plain(noiser.set_params(random_state=0).fit_transform(BIG)) - BIG
    assert noise.std() == pytest.approx(0.1, rel=0.01)
    assert abs(noise.mean()) < 0.002


@pytest.mark.parametrize("data", [BIG, BIG.reshape(300, 20, 10), BIG.reshape(300, 10, 10, 2)], ids=np.shape)
def test_noise_of_one_strength_is_the_same_for_all_samples(data):
    noise = (plain(GaussianNoiser(0.5, mean=2.0, random_state=0).fit_transform(data)) - data).reshape(300, -1)
    assert noise.mean() == pytest.approx(2, abs=0.01)
    assert noise.std() == pytest.approx(0.5, rel=0.01)
    assert noise.std(axis=1).std() < 0.03


@pytest.mark.parametrize("pair", [(0.2, 1.0), (np.float32(0.2), 1)])
def test_a_pair_draws_the_strength_of_each_sample(pair):
    noise = plain(GaussianNoiser(pair, random_state=0).fit_transform(BIG)) - BIG
    strengths = noise.std(axis=1)
    assert strengths.min() > 0.15
    assert strengths.max() < 1.15
    assert strengths.mean() == pytest.approx(0.6, abs=0.05)
    assert strengths.std() == pytest.approx(0.8 / np.sqrt(12), rel=0.1)


def test_relative_noise_follows_the_deviation_of_each_feature_and_spares_constant_ones():
    rng = np.random.default_rng(0)
    spreads = np.array([0.001, 1.0, 500.0, 0.0, 0.0])
    data = rng.normal([0.0, 7.0, -3.0, 4.0, 0.1], spreads, size=(20_000, 5))
    noiser = GaussianNoiser(0.5, scale="std", mean=0.1, random_state=0)
    noise = plain(noiser.fit_transform(data)) - data
    np.testing.assert_allclose(noise.std(axis=0), 0.5 * spreads, rtol=0.03)
    np.testing.assert_allclose(noise.mean(axis=0), 0.1 * spreads, rtol=0.15)
    np.testing.assert_array_equal(noise[:, 3:], 0)
    np.testing.assert_allclose(noiser.scale_, data.std(axis=0), atol=1e-12)
    assert noiser.scale_[3] == noiser.scale_[4] == 0


def test_relative_noise_keeps_the_deviation_of_the_training_data():
    noiser = GaussianNoiser(1.0, scale="std", apply="always", random_state=0).fit(BIG)
    noise = plain(noiser.transform(1000 * BIG)) - 1000 * BIG
    assert noise.std() == pytest.approx(BIG.std(), rel=0.02)


def test_relative_noise_of_images_is_that_of_each_pixel():
    data = BIG.reshape(300, 20, 10) * np.linspace(0, 10, 10)
    noiser = GaussianNoiser(1.0, scale="std", random_state=0)
    noise = plain(noiser.fit_transform(data)) - data
    assert noiser.scale_.shape == (20, 10)
    np.testing.assert_allclose(noise.std(axis=0), data.std(axis=0), rtol=0.25)
    assert (noise[:, :, 0] == 0).all()


def test_absolute_noise_has_the_unit_of_the_data():
    assert GaussianNoiser(5.0).fit(100 * X).scale_ == 1
    noise = plain(GaussianNoiser(5.0, random_state=0).fit_transform((100 * BIG).astype(int))) - np.trunc(
        100 * BIG
    )
    assert noise.std() == pytest.approx(5, rel=0.01)


@pytest.mark.parametrize("clip", [(0, 1), [0.0, 1.0], (np.float32(0), np.int64(1))])
def test_a_clip_bounds_the_noisy_values(clip):
    free = plain(GaussianNoiser(0.5, random_state=0).fit_transform(X))
    clipped = plain(GaussianNoiser(0.5, clip=clip, random_state=0).fit_transform(X))
    np.testing.assert_array_equal(clipped, np.clip(free, 0, 1))
    assert {0.0, 1.0} < set(clipped.ravel())


def test_a_clip_may_be_open_to_one_side():
    clipped = plain(GaussianNoiser(0.5, clip=(0, np.inf), random_state=0).fit_transform(X))
    assert clipped.min() == 0
    assert clipped.max() > 1


def test_a_clip_leaves_data_alone_that_are_not_corrupted():
    np.testing.assert_array_equal(GaussianNoiser(clip=(0.4, 0.6)).fit(X).transform(X), X)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"noise_factor": -0.1}, "noise_factor must be a finite number of at least 0 .* got -0.1"),
        ({"noise_factor": np.nan}, "noise_factor must be a finite number"),
        ({"noise_factor": np.inf}, "noise_factor must be a finite number"),
        ({"noise_factor": (-0.1, 0.1)}, "noise_factor must be a finite number"),
        ({"noise_factor": (0.1, np.nan)}, "noise_factor must be a finite number"),
        ({"noise_factor": (0.1,)}, "noise_factor must be a finite number .* or a pair"),
        ({"noise_factor": (0.1, 0.2, 0.3)}, "noise_factor must be a finite number .* or a pair"),
        ({"noise_factor": ((0.1, 0.2), (0.1, 0.2))}, "noise_factor must be a finite number .* or a pair"),
        ({"noise_factor": (0.5, 0.1)}, r"noise_factor=\(low, high\) needs low <= high, got \(0.5, 0.1\)"),
        ({"noise_factor": "strong"}, "The 'noise_factor' parameter of GaussianNoiser"),
        ({"noise_factor": None}, "The 'noise_factor' parameter of GaussianNoiser"),
        ({"noise_factor": ("a", "b")}, "noise_factor"),
        ({"mean": "0"}, "The 'mean' parameter of GaussianNoiser"),
        ({"mean": np.nan}, "mean must be finite, got nan"),
        ({"mean": np.inf}, "mean must be finite, got inf"),
        ({"scale": "relative"}, "The 'scale' parameter of GaussianNoiser must be a str among"),
        ({"scale": 2.0}, "The 'scale' parameter of GaussianNoiser must be a str among"),
        ({"clip": (1, 0)}, r"clip must be a pair \(low, high\) with low < high, got \(1, 0\)"),
        ({"clip": (1, 1)}, "clip must be a pair"),
        ({"clip": (0, np.nan)}, "clip must be a pair"),
        ({"clip": (0,)}, "clip must be a pair"),
        ({"clip": (0, 1, 2)}, "clip must be a pair"),
        ({"clip": ("a", "b")}, "clip must be a pair"),
        ({"clip": (0, None)}, "clip must be a pair"),
        ({"clip": ([0, 0], [1, 1])}, "clip must be a pair"),
        ({"clip": "01"}, "The 'clip' parameter of GaussianNoiser"),
        ({"clip": 1.0}, "The 'clip' parameter of GaussianNoiser"),
    ],
    ids=str,
)
def test_parameters_are_checked_in_fit_with_a_message_that_names_them(parameters, message):
    noiser = GaussianNoiser(**parameters)  # the constructor only assigns
    with pytest.raises(ValueError, match=message):
        noiser.fit(X)


@pytest.mark.parametrize("strength", [0.01, (0.0, 0.01), (0.005, 0.01)])
@pytest.mark.parametrize("fit", ["fit", "fit_transform"])
@pytest.mark.parametrize("n_constant", [0, 150])
def test_noise_that_is_weak_beside_the_spread_of_the_data_warns_and_names_the_remedy(
    strength, fit, n_constant
):
    data = 10 * BIG
    data[:, :n_constant] = 3.0
    with pytest.warns(
        WeakNoiseWarning, match=r'0\.0\d+ of the data\'s spread .* scale="std" takes'
    ) as record:
        getattr(GaussianNoiser(strength), fit)(data)
    assert len(record) == 1


def test_the_warning_points_to_the_line_of_the_caller():
    with pytest.warns(WeakNoiseWarning) as record:
        GaussianNoiser(0.01).fit(BIG * 10)
    assert record[0].filename == __file__


@pytest.mark.parametrize(
    ("noiser", "data"),
    [
        (GaussianNoiser(0.0), BIG * 10),
        (GaussianNoiser((0.0, 0.0)), BIG * 10),
        (GaussianNoiser(0.1), BIG),
        (GaussianNoiser((0.0, 0.3)), BIG),
        (GaussianNoiser(0.3, scale="std"), BIG * 1000),
        (GaussianNoiser(0.01), np.ones((5, 3))),
        (GaussianNoiser(0.1), BIG * np.where(np.arange(200) < 60, 1000.0, 1.0)),
    ],
    ids=[
        "none",
        "no range",
        "enough",
        "range",
        "relative",
        "constant data",
        "weak for a third of the features",
    ],
)
def test_no_noise_and_noise_that_is_strong_enough_do_not_warn(noiser, data):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        noiser.fit(data)
        noiser.fit_transform(data)


def test_relative_noise_that_is_too_weak_to_learn_from_warns():
    with pytest.warns(WeakNoiseWarning, match="too weak") as record:
        GaussianNoiser(0.001, scale="std").fit(BIG)
    assert "scale=" not in str(record[0].message)  # no remedy where it is set already


def test_a_second_noiser_does_not_take_noisy_data_for_clean_ones():
    noisers = make_pipeline(GaussianNoiser(0.3, random_state=0), GaussianNoiser(0.3, random_state=1))
    refused_or_clean = X
    with contextlib.suppress(ValueError):  # to refuse is right too
        refused_or_clean = carried_source(noisers.fit_transform(X)).clean
    np.testing.assert_array_equal(refused_or_clean, X)


def test_images_of_eight_bits_are_corrupted_in_grey_levels():
    images = (BIG[:30].reshape(20, 10, 10, 3) * 255).astype(np.uint8)
    noisy = GaussianNoiser(20, clip=(0, 255), random_state=0).fit_transform(images)
    assert noisy.dtype == np.float32
    assert noisy.min() == 0
    assert noisy.max() == 255
    assert np.std(plain(noisy) - images) == pytest.approx(20, rel=0.15)
