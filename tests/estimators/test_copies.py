"""Copies of an estimator: pickles, clones, and pickles of another machine."""

from __future__ import annotations

import copy
import io
import pickle

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from skorch.exceptions import DeviceWarning

from sk_denoise import DenoisingAutoencoder, DenseNetwork, GaussianNoiser


@pytest.fixture
def X():
    return np.random.default_rng(0).random((60, 5))


@pytest.fixture
def fitted(X):
    return DenoisingAutoencoder(DenseNetwork((16,)), 4, max_epochs=3, random_state=0).fit(X)


def through_joblib(estimator):
    buffer = io.BytesIO()
    joblib.dump(estimator, buffer)
    buffer.seek(0)
    return joblib.load(buffer)


COPIES = {
    "pickle": lambda estimator: pickle.loads(pickle.dumps(estimator)),
    "pickle 0": lambda estimator: pickle.loads(pickle.dumps(estimator, 0)),
    "joblib": through_joblib,
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("duplicate", COPIES.values(), ids=COPIES)
def test_copies_predict_the_same_bits(X, fitted, duplicate):
    twin = duplicate(fitted)
    np.testing.assert_array_equal(twin.predict(X), fitted.predict(X))
    assert twin.loss_curve_ == fitted.loss_curve_
    assert twin.score(X) == fitted.score(X)


@pytest.mark.parametrize("duplicate", COPIES.values(), ids=COPIES)
def test_copies_continue_as_the_original_does(X, fitted, duplicate):
    twin = duplicate(fitted)
    np.testing.assert_array_equal(twin.partial_fit(X).predict(X), fitted.partial_fit(X).predict(X))


def test_continuing_a_copy_leaves_the_original_unchanged(X, fitted):
    before = fitted.predict(X)
    copy.copy(fitted).partial_fit(X)
    np.testing.assert_array_equal(fitted.predict(X), before)


def test_a_clone_is_unfitted_with_separate_parameters(fitted):
    twin = clone(fitted)
    with pytest.raises(NotFittedError):
        twin.predict(np.zeros((2, 5)))
    twin.set_params(network__hidden_layer_sizes=(3,), noise=GaussianNoiser(0.5))
    assert fitted.network.hidden_layer_sizes == (16,)
    assert fitted.noise == "auto"


def test_a_fit_keeps_no_data(X, fitted):
    rows = np.repeat(X, 200, axis=0)
    swollen = DenoisingAutoencoder(DenseNetwork((16,)), 4, max_epochs=3, random_state=0).fit(rows)
    assert len(pickle.dumps(swollen)) < len(pickle.dumps(fitted)) + 2_000


def test_a_frozen_estimator_is_not_fitted_again(X, fitted):
    y = (X[:, 0] > 0.5).astype(int)
    before = fitted.predict(X)
    pipe = make_pipeline(FrozenEstimator(fitted), LogisticRegression()).fit(X, y)
    np.testing.assert_array_equal(fitted.predict(X), before)
    assert pipe.score(X, y) > 0.5


def test_a_pickle_from_a_gpu_loads_on_a_cpu(X, fitted, monkeypatch):
    """Storages are tagged as on a CUDA machine, which a CPU machine cannot restore."""
    if torch.cuda.is_available():
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    expected = fitted.predict(X)
    fitted.net_.device = "cuda"
    registry = torch.serialization._package_registry
    monkeypatch.setattr(torch.serialization, "_package_registry", list(registry))
    state = fitted.net_.optimizer_.state.values()
    on_gpu = [*fitted.net_.module_.parameters(), *(moments["exp_avg"] for moments in state)]
    pointers = {tensor.data_ptr() for tensor in on_gpu}
    torch.serialization.register_package(
        0, lambda storage: "cuda:0" if storage.data_ptr() in pointers else None, lambda *_: None
    )
    pickled = pickle.dumps(fitted)
    monkeypatch.setattr(torch.serialization, "_package_registry", registry)
    assert b"cuda:0" in pickled

    with pytest.warns(DeviceWarning) as warned:
        loaded = pickle.loads(pickled)
    assert any("requested device (cuda) is not available" in str(warning.message) for warning in warned)
    np.testing.assert_array_equal(loaded.predict(X), expected)
    loaded.partial_fit(X)
    assert {p.device.type for p in loaded.net_.module_.parameters()} == {"cpu"}
