"""Arrays of other libraries in and out, where scikit-learn's array API dispatch is on.

scikit-learn lets it be switched on only where scipy was told of it before it was imported, so these tests run
in a process of their own.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import scipy
from sklearn.utils.fixes import parse_version

pytestmark = pytest.mark.skipif(
    parse_version(scipy.__version__) < parse_version("1.14"),
    reason="scikit-learn dispatches from scipy 1.14 on",
)
BEGIN = """
import warnings; warnings.simplefilter("error")
import numpy as np, sklearn, torch
from sklearn.datasets import load_digits
from sklearn.pipeline import make_pipeline
import sk_denoise
from sk_denoise import *

sklearn.set_config(array_api_dispatch=True)
X = load_digits().data[:200] / 16
T = torch.tensor(X)
dae = DenoisingAutoencoder(DenseNetwork((32,)), 8, max_epochs=2, random_state=0)
images = ImageDenoiser(FoldedUNetNetwork((8, 8), blocks=(1, 1)), max_epochs=2, random_state=0)


def same(answer, expected, like=T):
    assert isinstance(answer, torch.Tensor) and answer.device == like.device
    assert np.asarray(answer).dtype == expected.dtype
    np.testing.assert_array_equal(np.asarray(answer), expected)
"""

BEHAVIOURS = {
    "every transformer answers tensors with tensors": """
made_of_others = {
    "NoiserChain": lambda: NoiserChain([GaussianNoiser(random_state=0)]),
    "NoiserChoice": lambda: NoiserChoice([GaussianNoiser(random_state=0)]),
    "RegionNoiser": lambda: RegionNoiser(GaussianNoiser(), random_state=0),
}
for name in sk_denoise.__all__:
    kind = getattr(sk_denoise, name)
    if not (isinstance(kind, type) and hasattr(kind, "transform")):
        continue
    estimator = made_of_others.get(name, kind)()
    parameters = estimator.get_params()
    settings = {"random_state": 0, "max_epochs": 1, "estimator": dae, "n_estimators": 2}
    estimator.set_params(**{k: v for k, v in settings.items() if k in parameters})
    fit = sklearn.clone(estimator).fit
    expected = fit(X).transform(X)
    same(fit(T).transform(T), expected)
    assert isinstance(fit(X).transform(X), np.ndarray)
    assert isinstance(fit(T).score(T) if hasattr(estimator, "score") else 0.0, float)
""",
    "a pipeline learns from tensors what it learns from arrays": """
pipeline = make_pipeline(GaussianNoiser(0.2, random_state=0), dae)
same(sklearn.clone(pipeline).fit(T).predict(T), sklearn.clone(pipeline).fit(X).predict(X))
assert sklearn.clone(pipeline).fit(T)[-1].target_source_ == "noiser"
""",
    "all sides of a fit may be tensors": """
noisy = X + 0.1
weights = np.linspace(1, 2, len(X))
given = dict(X_clean=X, X_val=noisy[:20], X_clean_val=X[:20], sample_weight=weights)
tensors = {name: torch.tensor(side) for name, side in given.items()}
same(sklearn.clone(dae).fit(torch.tensor(noisy), **tensors).predict(T),
     sklearn.clone(dae).fit(noisy, **given).predict(X))
""",
    "latent vectors go there and back": """
dae.set_params(output="latent").fit(T)
Z = dae.transform(T)
assert isinstance(Z, torch.Tensor) and Z.shape == (200, 8)
assert isinstance(dae.inverse_transform(Z), torch.Tensor)
""",
    "pictures keep their channels where torch has them": """
pictures = torch.rand(10, 3, 16, 24)
images.fit(pictures)
answer = images.predict(pictures)
expected = images.predict(np.moveaxis(pictures.numpy(), 1, -1))
same(answer, np.moveaxis(expected, -1, 1))
parts = images.predict([pictures[0], pictures[1][:, :10]])
assert [tuple(part.shape) for part in parts] == [(3, 16, 24), (3, 10, 24)]
assert images.transform(torch.rand(2, 3, 7, 9)).shape == (2, 3, 7, 9)
""",
    "an ensemble tells how sure it is in tensors": """
mean, std = DenoisingEnsemble(dae, 2, random_state=0).fit(T).predict(T, return_std=True)
assert isinstance(mean, torch.Tensor) and isinstance(std, torch.Tensor)
""",
    "gradients and bfloat16 do no harm": """
dae.fit(X.astype(np.float32))
tracked = torch.tensor(X, dtype=torch.float32, requires_grad=True)
same(dae.predict(tracked), dae.predict(X.astype(np.float32)))
assert dae.predict(T.bfloat16()).dtype == torch.float32
""",
    "without dispatch numpy is answered": """
sklearn.set_config(array_api_dispatch=False)
assert isinstance(dae.fit(T).predict(T), np.ndarray)
""",
    "other libraries too": """
import array_api_strict
strict = array_api_strict.asarray(X)
answer = dae.fit(strict).predict(strict)
assert answer.__array_namespace__() is array_api_strict
np.testing.assert_array_equal(np.from_dlpack(answer), dae.fit(X).predict(X))
""",
}


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_arrays_of_other_libraries(behaviour):
    if "array_api_strict" in BEHAVIOURS[behaviour]:
        pytest.importorskip("array_api_strict")
    run = subprocess.run(
        [sys.executable, "-c", BEGIN + BEHAVIOURS[behaviour]],
        env={**os.environ, "SCIPY_ARRAY_API": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
