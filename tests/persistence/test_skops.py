"""Estimators with networks in files of skops."""

from __future__ import annotations

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
    ids=["autoencoder", "pictures", "ensemble", "pipeline"],
)
def test_what_skops_loads_predicts_the_same_bits(estimator, tmp_path):
    estimator.fit(X)
    skops.dump(estimator, tmp_path / "file.skops")
    trusted = skops.get_untrusted_types(file=tmp_path / "file.skops")
    assert all(name.startswith("sk_denoise.") for name in trusted)
    loaded = skops.load(tmp_path / "file.skops", trusted=trusted)
    np.testing.assert_array_equal(loaded.predict(X), estimator.predict(X))


def test_what_cannot_be_saved_is_named_to_skops_too():
    learner = DenoisingAutoencoder(loss=lambda output, target: (output - target).square().mean())
    with pytest.raises(TypeError, match="loss"):
        skops.dumps(learner)
