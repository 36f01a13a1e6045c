"""Types of input and output: precision, names, frames, integers, images."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.pipeline import Pipeline

from sk_denoise import DenoisingAutoencoder, DenseNetwork, GaussianNoiser

OUTPUTS = ["reconstruction", "latent", "activations"]


def small(**settings):
    defaults = {"network": DenseNetwork((16,)), "latent_dim": 4, "max_epochs": 2, "random_state": 0}
    return DenoisingAutoencoder(**defaults | settings)


@pytest.fixture
def X():
    return np.random.default_rng(0).random((40, 5))


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("float32", "float32"),
        ("float64", "float64"),
        ("float16", "float32"),
        ("int64", "float32"),
        ("uint8", "float32"),
        ("bool", "float32"),
    ],
)
def test_precision_follows_the_input(X, output, given, expected):
    Z = (10 * X).astype(given)
    dae = small(output=output).fit(Z)
    assert dae.transform(Z).dtype == dae.predict(Z).dtype == expected
    assert dae.net_.module_(torch.zeros(1, 5)).dtype == torch.float32  # weights in single precision


def test_precision_may_differ_between_fit_and_predict(X):
    dae = small().fit(X)
    single, double = dae.predict(X.astype(np.float32)), dae.predict(X)
    assert (single.dtype, double.dtype) == (np.float32, np.float64)
    np.testing.assert_allclose(single, double, atol=1e-5)


def test_double_precision_is_kept_far_from_zero(X):
    X = X + 1e9  # float32 would round these to multiples of 64
    dae = small(noise=GaussianNoiser(0.1), max_epochs=100).fit(X)
    assert np.mean((dae.predict(X) - X) ** 2) < np.var(X)


def test_integers_give_the_result_of_floats(X):
    pixels = (255 * X).astype(np.uint8)
    dae = small().fit(pixels)
    np.testing.assert_array_equal(dae.predict(pixels), dae.predict(pixels.astype(np.float32)))
    assert 0 < dae.predict(pixels).mean() < 255


@pytest.mark.parametrize("output", OUTPUTS)
def test_frames_in_and_out(X, output):
    names = ["a", "b", "c", "d", "e"]
    frame = pd.DataFrame(X, columns=names, index=range(100, 140))
    dae = small(output=output).fit(frame)
    np.testing.assert_array_equal(dae.feature_names_in_, names)
    out = dae.set_output(transform="pandas").transform(frame)
    assert isinstance(out, pd.DataFrame)
    assert list(out.index) == list(frame.index)
    expected = (
        names if output == "reconstruction" else [f"denoisingautoencoder{i}" for i in range(out.shape[1])]
    )
    assert list(out.columns) == list(dae.get_feature_names_out()) == expected
    polars = dae.set_output(transform="polars").transform(pl.DataFrame(X, schema=names))
    assert isinstance(polars, pl.DataFrame)
    assert polars.columns == expected
    np.testing.assert_array_equal(polars.to_numpy(), out.to_numpy())


def test_other_names_are_refused(X):
    dae = small().fit(pd.DataFrame(X, columns=list("abcde")))
    with pytest.raises(ValueError, match="feature names"):
        dae.predict(pd.DataFrame(X, columns=list("abcdf")))
    with pytest.warns(UserWarning, match="valid feature names"):
        dae.predict(X)


def test_frames_that_pass_a_noiser_keep_their_names(X):
    frame = pd.DataFrame(X, columns=list("abcde"))
    pipe = Pipeline([("noise", GaussianNoiser(0.1)), ("dae", small())]).set_output(transform="pandas")
    assert list(pipe.fit_transform(frame).columns) == list("abcde")
    assert list(pipe[-1].feature_names_in_) == list("abcde")
    assert pipe.score(frame) > 0


@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 1), (6, 4, 3)])
def test_stacks_of_images_and_flat_rows_give_the_same_result(shape):
    images = np.random.default_rng(0).random((30, *shape))
    flat = images.reshape(30, -1)
    a, b = small().fit(images), small(image_shape=shape).fit(flat)
    assert a.image_shape_ == b.image_shape_ == shape
    assert a.n_features_in_ == b.n_features_in_ == flat.shape[1]
    assert a.predict(images).shape == images.shape
    np.testing.assert_allclose(a.predict(images).reshape(30, -1), b.predict(flat), rtol=1e-6)
    assert a.set_params(output="latent").transform(images).shape == (30, 4)
    assert a.inverse_transform(a.transform(images)).shape == images.shape


@pytest.mark.slow
def test_channels_of_images_are_scaled_separately():
    rng = np.random.default_rng(0)
    images = rng.random((60, 4, 4, 2)) * [1, 1000] + [0, 5000]
    dae = small(noise=None, max_epochs=150).fit(images)
    errors = ((dae.predict(images) - images) ** 2).mean(axis=(0, 1, 2))
    assert (errors < images.var(axis=(0, 1, 2))).all()


def test_noiser_and_estimator_agree_on_images():
    images = np.random.default_rng(0).random((30, 6, 4)).astype(np.float32)
    pipe = Pipeline([("noise", GaussianNoiser(0.1)), ("dae", small())]).fit(images)
    assert pipe[-1].target_source_ == "noiser"
    assert pipe.predict(images).shape == images.shape
