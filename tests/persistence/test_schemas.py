"""Classes list rules for their fitted attributes, and every fit keeps them."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

import sk_denoise
from sk_denoise import DenoisingAutoencoder, DenseNetwork, GaussianNoiser, NoiserChain, WienerDenoiser
from sk_denoise._intensity import IntensityRange
from sk_denoise.persistence import save

ROWS = np.random.default_rng(0).random((30, 6))
FAST = {"max_epochs": 1, "random_state": 0}


@pytest.fixture(scope="module")
def dae():
    return DenoisingAutoencoder(DenseNetwork((8,)), 4, **FAST).fit(ROWS)


@pytest.mark.parametrize("name", sk_denoise.__all__)
def test_every_class_with_a_fit_lists_rules(name):
    kind = getattr(sk_denoise, name)
    if isinstance(kind, type) and hasattr(kind, "fit"):
        schemas = [vars(base).get("_fitted_schema", {}) for base in kind.__mro__]
        assert any("n_features_in_" in schema for schema in schemas)


@pytest.mark.parametrize(
    ("attribute", "value", "rule"),
    [
        ("n_features_in_", 0, "must be a number of features, and is 0"),
        ("data_range_", -1.0, "must be a number above 0, and is -1.0"),
        (
            "_reference_noiser_",
            GaussianNoiser(),
            "must be a fitted noiser of such samples, and is a GaussianNoiser",
        ),
        (
            "target_source_",
            "z",
            "must be one of 'noisy', 'X_second', 'X_clean', 'y', 'noiser', 'X', and is 'z'",
        ),
        ("precision_", "float16", "must be one of 'auto', 'float32', 'bfloat16', and is 'float16'"),
        ("intensity_range_", IntensityRange(1.0, 0.0), "must be None, or two numbers"),
        ("image_shape_", (2, 2), "must be None, or the shape of an image of so many pixels"),
        ("_judged_", ("loss", 5), "must be None, or a name and an epoch"),
        ("_best_weights_", {"x": torch.zeros(3)}, "must be None, or weights of such a network"),
    ],
)
def test_a_broken_attribute_is_refused_by_its_rule(attribute, value, rule, dae, tmp_path):
    broken = copy.deepcopy(dae)
    setattr(broken, attribute, value)
    with pytest.raises(ValueError, match=f"{attribute} of DenoisingAutoencoder {rule}"):
        save(broken, tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("attribute", ["n_features_in_", "data_range_", "_preparation_", "_units_", "_root_"])
def test_a_missing_attribute_is_named(attribute, dae, tmp_path):
    broken = copy.deepcopy(dae)
    delattr(broken, attribute)
    with pytest.raises(ValueError, match=f"DenoisingAutoencoder lacks {attribute}, and has"):
        save(broken, tmp_path / "x")


def test_the_shape_of_images_is_that_of_the_layout(dae, tmp_path):
    broken = copy.deepcopy(dae)
    broken.image_shape_ = (2, 3)
    with pytest.raises(ValueError, match=r"_preparation_ of .* must be the scaling of such samples"):
        save(broken, tmp_path / "x")


def test_rules_of_a_subclass_stand_beside_inherited_ones(tmp_path):
    wiener = WienerDenoiser().fit(ROWS)
    wiener.mean_ = wiener.mean_[:3]
    with pytest.raises(ValueError, match="mean_ of WienerDenoiser must be a number for each feature"):
        save(wiener, tmp_path / "x")
    chain = NoiserChain([GaussianNoiser()]).fit(ROWS)
    chain.noisers_ = [GaussianNoiser()]
    with pytest.raises(ValueError, match="noisers_ of NoiserChain must be a fitted noiser for each"):
        save(chain, tmp_path / "x")
