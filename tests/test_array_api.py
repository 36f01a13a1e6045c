"""Arrays of other libraries in and out, where scikit-learn's array API dispatch is on.

It can be switched on only where SCIPY_ARRAY_API is set before scipy is imported: see conftest.py.
"""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import scipy
import sklearn
import torch
from sklearn.datasets import load_digits
from sklearn.pipeline import make_pipeline
from sklearn.utils.fixes import parse_version

import sk_denoise
from sk_denoise import (
    DenoisingAutoencoder,
    DenoisingEnsemble,
    DenseNetwork,
    FoldedUNetNetwork,
    GaussianNoiser,
    ImageDenoiser,
)

pytestmark = pytest.mark.skipif(
    parse_version(scipy.__version__) < parse_version("1.14"),
    reason="scikit-learn dispatches from scipy 1.14 on",
)
X = load_digits().data[:40] / 16
T = torch.tensor(X)
# All but the noiser of smaller images take rows; its tests are those of degradations.
TRANSFORMERS = [
    name
    for name in sk_denoise.__all__
    if isinstance(kind := getattr(sk_denoise, name), type)
    and hasattr(kind, "transform")
    and name != "DownscaleNoiser"
]


@pytest.fixture(autouse=True)
def dispatch():
    with sklearn.config_context(array_api_dispatch=True):
        yield


@pytest.fixture
def dae():
    return DenoisingAutoencoder(DenseNetwork((32,)), 8, max_epochs=2, random_state=0)


@pytest.fixture
def images():
    return ImageDenoiser(FoldedUNetNetwork((8, 8), blocks=(1, 1)), max_epochs=2, random_state=0)


def assert_same(output, expected, like=T):
    assert isinstance(output, torch.Tensor)
    assert output.device == like.device
    assert np.asarray(output).dtype == expected.dtype
    np.testing.assert_array_equal(np.asarray(output), expected)


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_every_transformer_returns_tensors_for_tensors(name, make_estimator):
    if name == "BM3DDenoiser":
        pytest.importorskip("bm3d")
    estimator = make_estimator(name)
    settings = {"random_state": 0, "max_epochs": 1}
    if name == "WienerMixtureDenoiser":
        # Rows with less than the given noise have no expected PSNR.
        settings["noise"] = 0.001
    estimator.set_params(**{k: v for k, v in settings.items() if k in estimator.get_params()})

    def fit(data):
        return sklearn.clone(estimator).fit(data)

    assert_same(fit(T).transform(T), fit(X).transform(X))
    assert isinstance(fit(X).transform(X), np.ndarray)
    # Scores without truth are for other rows than those of the fit.
    assert isinstance(fit(T[1:]).score(T[:9]) if hasattr(estimator, "score") else 0.0, float)


def test_the_transformers_are_many():
    assert len(TRANSFORMERS) > 20


def test_a_pipeline_learns_the_same_from_tensors_and_arrays(dae):
    pipeline = make_pipeline(GaussianNoiser(0.2, random_state=0), dae)
    fitted = sklearn.clone(pipeline).fit(T)
    assert_same(fitted.predict(T), sklearn.clone(pipeline).fit(X).predict(X))
    assert fitted[-1].target_source_ == "noiser"


def test_all_sides_of_a_fit_may_be_tensors(dae):
    noisy = X + 0.1
    weights = np.linspace(1, 2, len(X))
    given = {"X_clean": X, "X_val": noisy[:10], "X_clean_val": X[:10], "sample_weight": weights}
    tensors = {name: torch.tensor(side) for name, side in given.items()}
    assert_same(
        sklearn.clone(dae).fit(torch.tensor(noisy), **tensors).predict(T),
        sklearn.clone(dae).fit(noisy, **given).predict(X),
    )


def test_latent_vectors_go_there_and_back(dae):
    dae.set_params(output="latent").fit(T)
    Z = dae.transform(T)
    assert isinstance(Z, torch.Tensor)
    assert Z.shape == (40, 8)
    assert isinstance(dae.inverse_transform(Z), torch.Tensor)


def test_images_keep_their_channels_where_torch_has_them(images):
    stack = torch.rand(10, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    images.fit(stack)
    output = images.predict(stack)
    expected = images.predict(np.moveaxis(stack.numpy(), 1, -1))
    assert_same(output, np.moveaxis(expected, -1, 1))
    parts = images.predict([stack[0], stack[1][:, :10]])
    assert [tuple(part.shape) for part in parts] == [(3, 16, 24), (3, 10, 24)]
    assert images.transform(stack[:2, :, :7, :9]).shape == (2, 3, 7, 9)


def test_an_ensemble_returns_its_uncertainty_in_tensors(dae):
    mean, std = DenoisingEnsemble(dae, 2, random_state=0).fit(T).predict(T, return_std=True)
    assert isinstance(mean, torch.Tensor)
    assert isinstance(std, torch.Tensor)


def test_gradients_and_bfloat16_do_no_harm(dae):
    dae.fit(X.astype(np.float32))
    tracked = torch.tensor(X, dtype=torch.float32, requires_grad=True)
    assert_same(dae.predict(tracked), dae.predict(X.astype(np.float32)))
    assert dae.predict(T.bfloat16()).dtype == torch.float32


def test_without_dispatch_the_output_is_a_numpy_array(dae):
    with sklearn.config_context(array_api_dispatch=False):
        assert isinstance(dae.fit(T).predict(T), np.ndarray)


def test_arrays_of_any_other_library_come_back_as_such(dae):
    array_api_strict = pytest.importorskip("array_api_strict")
    strict = array_api_strict.asarray(X)
    output = dae.fit(strict).predict(strict)
    assert output.__array_namespace__() is array_api_strict
    np.testing.assert_array_equal(np.from_dlpack(output), dae.fit(X).predict(X))


OUTPUT_PROGRAM = """
import hashlib
from importlib.util import find_spec
import numpy as np
import sk_denoise
from sk_denoise import *

left_out = {"BandPassDenoiser", "ImageDenoiser", "SignalDenoiser"}
left_out |= set() if find_spec("bm3d") else {"BM3DDenoiser"}

images = np.random.default_rng(0).random((3, 24, 24))
for name in sk_denoise.__all__:
    kind = getattr(sk_denoise, name)
    if name.endswith("Denoiser") and name not in left_out:
        print(name, hashlib.sha256(kind().fit(images).predict(images)).hexdigest())
print(hashlib.sha256(DenoisingAutoencoder(max_epochs=2, random_state=0).fit_transform(images)).hexdigest())
"""


@pytest.mark.slow
def test_the_switch_of_all_tests_changes_no_output():
    outputs = {
        subprocess.check_output(
            [sys.executable, "-c", OUTPUT_PROGRAM], env=os.environ | {"SCIPY_ARRAY_API": switch}
        )
        for switch in ("", "1")  # scipy turns it on for any text
    }
    assert len(outputs) == 1
    assert outputs.pop().count(b"\n") > 6
