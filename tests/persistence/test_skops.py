"""Estimators with networks in files of skops."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sk_denoise import (
    DenoisingAutoencoder,
    DenoisingEnsemble,
    DenseNetwork,
    FoldedUNetNetwork,
    GaussianNoiser,
    ImageDenoiser,
)

skops = pytest.importorskip("skops.io")

X = load_digits().data[:60] / 16
DAE = DenoisingAutoencoder(DenseNetwork((16,)), 8, max_epochs=1, random_state=0)
IMAGES = ImageDenoiser(
    FoldedUNetNetwork((8, 8), blocks=(1, 1)), image_shape=(8, 8), max_epochs=1, random_state=0
)


@pytest.mark.parametrize(
    "estimator",
    [
        DAE,
        IMAGES,
        DenoisingEnsemble(DAE, 2, random_state=0),
        make_pipeline(StandardScaler(), GaussianNoiser(0.1, random_state=0), DAE),
    ],
    ids=["autoencoder", "images", "ensemble", "pipeline"],
)
def test_estimators_from_skops_predict_the_same_bits(estimator, tmp_path):
    estimator.fit(X)
    skops.dump(estimator, tmp_path / "file.skops")
    trusted = skops.get_untrusted_types(file=tmp_path / "file.skops")
    assert all(name.startswith("sk_denoise.") for name in trusted)
    loaded = skops.load(tmp_path / "file.skops", trusted=trusted)
    np.testing.assert_array_equal(loaded.predict(X), estimator.predict(X))


def test_skops_gets_the_same_refusals():
    learner = DenoisingAutoencoder(loss=lambda output, target: (output - target).square().mean())
    with pytest.raises(TypeError, match="loss"):
        skops.dumps(learner)


class OwnDenoiser(DenoisingAutoencoder):
    pass


class WithoutHistory(DenoisingAutoencoder):
    def __getstate__(self):
        return {name: value for name, value in super().__getstate__().items() if name != "loss_curve_"}


def test_a_class_of_a_user_is_refused_by_name_in_place_of_a_broken_file():
    with pytest.raises(TypeError, match="'OwnDenoiser'"):
        skops.dumps(OwnDenoiser())


def test_pickle_gets_the_state_that_a_subclass_defines():
    fitted = WithoutHistory(DenseNetwork((16,)), 8, max_epochs=1, random_state=0).fit(X)
    loaded = pickle.loads(pickle.dumps(fitted))
    assert not hasattr(loaded, "loss_curve_")
    np.testing.assert_array_equal(loaded.predict(X), fitted.predict(X))


@pytest.mark.slow  # imports torch once more
def test_a_file_loads_where_nothing_of_the_package_was_imported(tmp_path):
    skops.dump(DAE.fit(X), tmp_path / "file.skops")
    program = (
        "import sys, skops.io as io; name = sys.argv[1]; "
        "print(io.load(name, trusted=io.get_untrusted_types(file=name)).n_iter_)"
    )
    out = subprocess.check_output([sys.executable, "-c", program, tmp_path / "file.skops"], text=True)
    assert out == "1\n"


def test_bytes_that_were_altered_are_refused(tmp_path):
    data = skops.dumps(DAE.fit(X))
    (tmp_path / "file.skops").write_bytes(data)
    with zipfile.ZipFile(tmp_path / "file.skops") as whole, zipfile.ZipFile(tmp_path / "x", "w") as altered:
        for name in whole.namelist():
            content = bytearray(whole.read(name))
            if name.endswith(".bin"):
                content[-1] ^= 1
            altered.writestr(name, bytes(content))
        assert "numpy" not in json.dumps(json.loads(whole.read("schema.json")))
    trusted = skops.get_untrusted_types(file=tmp_path / "x")
    with pytest.raises(ValueError, match="checksum does not match"):
        skops.load(tmp_path / "x", trusted=trusted)
