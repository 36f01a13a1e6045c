"""Tables with categories: noise and loss by block, predictions that are probabilities."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.base import clone

from sk_denoise import (
    DenoisingAutoencoder,
    DenseNetwork,
    GaussianNoiser,
    ImageDenoiser,
    MaskingNoiser,
    NoiserChain,
    SwapNoiser,
)
from sk_denoise.persistence import load, save
from sk_denoise.training import Units, build_criterion

SIZES = (4, 5, 3, 6)
STARTS = 2 + np.cumsum([0, *SIZES[:-1]])
BLOCKS = [[*range(start, start + size)] for start, size in zip(STARTS, SIZES, strict=True)]


def table(n, seed):
    """Return two numbers and four categories, all of which depend on a hidden class."""
    rng = np.random.default_rng(seed)
    hidden = rng.integers(4, size=n)
    numbers = hidden[:, None] + rng.normal(0, 0.5, (n, 2))
    categories = [
        np.where(rng.random(n) < 0.9, (hidden + shift) % size, rng.integers(size, size=n))
        for shift, size in enumerate(SIZES)
    ]
    one_hot = [np.eye(size)[column] for size, column in zip(SIZES, categories, strict=True)]
    return np.column_stack([numbers, *one_hot])


X, TEST = table(600, 0), table(400, 1)


def categories_of(rows):
    return np.column_stack([rows[:, block].argmax(axis=1) for block in BLOCKS])


def fitted(**parameters):
    small = {"network": DenseNetwork((64,)), "latent_dim": 32, "noise": SwapNoiser(0.2), "max_epochs": 30}
    return DenoisingAutoencoder(random_state=0, **{**small, **parameters}).fit(X)


@pytest.fixture(scope="module")
def mixed():
    return fitted(loss="mixed")


@pytest.mark.slow
def test_swapped_categories_are_restored_by_block_and_not_by_column(mixed):
    noisy = np.asarray(SwapNoiser(0.2, random_state=5).fit_transform(TEST))
    truth = categories_of(TEST)
    swapped = categories_of(noisy) != truth
    by_column, by_block = (
        (categories_of(dae.predict(noisy)) == truth)[swapped].mean()
        for dae in (fitted(noise=SwapNoiser(0.2, blocks=None)), fitted())
    )
    with_loss = (categories_of(mixed.predict(noisy)) == truth)[swapped].mean()
    assert min(by_block, with_loss) > by_column + 0.04


def test_predictions_of_blocks_are_probabilities(mixed):
    assert mixed._preparation_.blocks == tuple(map(tuple, BLOCKS))
    predicted = mixed.predict(TEST)
    for block in BLOCKS:
        assert predicted[:, block].min() >= 0
        np.testing.assert_allclose(predicted[:, block].sum(axis=1), 1)
    latents = clone(mixed).set_params(output="latent", max_epochs=1).fit(X)
    np.testing.assert_allclose(latents.inverse_transform(latents.transform(TEST)), latents.predict(TEST))


def test_a_file_keeps_the_blocks(mixed, tmp_path):
    save(mixed, tmp_path / "mixed.safetensors")
    np.testing.assert_array_equal(load(tmp_path / "mixed.safetensors").predict(TEST), mixed.predict(TEST))


def test_blocks_of_the_noise_come_before_those_in_the_data():
    noise = NoiserChain([GaussianNoiser(0.1, columns=[0, 1]), MaskingNoiser(0.2, blocks=BLOCKS[:1])])
    dae = fitted(loss="mixed", noise=noise, max_epochs=1)
    assert dae._preparation_.blocks == (tuple(BLOCKS[0]),)
    dae = fitted(loss="mixed", noise=GaussianNoiser(0.1, columns=[0, 1]), max_epochs=1)
    assert dae._preparation_.blocks == tuple(map(tuple, BLOCKS))


def test_pairs_and_emphasis_and_weights_go_with_blocks():
    noisy = np.asarray(SwapNoiser(0.2, random_state=0).fit_transform(X))
    weights = np.random.default_rng(0).random(len(X))
    dae = DenoisingAutoencoder(loss="mixed", max_epochs=2, emphasis=(1, 0.1), random_state=0)
    dae.fit(noisy, X_clean=X, sample_weight=weights)
    assert np.isfinite(dae.loss_curve_).all()
    assert dae.score(noisy, X) > 0


def test_the_loss_is_the_mean_over_columns_and_blocks():
    units = Units(blocks=((1, 3), (4, 2, 5)))
    loss = build_criterion("mixed", units)
    generator = torch.Generator().manual_seed(0)
    output = torch.randn(7, 6, generator=generator)
    target = torch.zeros(7, 6)
    target[:, 0], target[:, 3], target[:, 2] = 0.5, 1.0, 1.0
    expected = (
        (output[:, 0] - 0.5).square()
        - output[:, [1, 3]].log_softmax(1)[:, 1]
        - output[:, [4, 2, 5]].log_softmax(1)[:, 1]
    ) / 3
    assert loss(output, target) == pytest.approx(float(expected.mean()), rel=1e-6)
    weight = torch.rand(7, 1, generator=generator)
    assert loss(output, target, weight) == pytest.approx(float((expected * weight[:, 0]).mean()), rel=1e-6)


def test_without_blocks_it_is_the_squared_error():
    numbers = np.random.default_rng(0).normal(size=(100, 4))
    autoencoders = [
        DenoisingAutoencoder(loss=name, blend=None, max_epochs=2, random_state=0) for name in ("mixed", "mse")
    ]
    one, other = (dae.fit(numbers) for dae in autoencoders)
    np.testing.assert_allclose(one.loss_curve_, other.loss_curve_, rtol=1e-5)


def test_a_column_that_is_no_category_is_no_block():
    with pytest.raises(ValueError, match=r"values outside of \[0, 1\]"):
        fitted(loss="mixed", noise=SwapNoiser(0.2, blocks=[[0, 1]]))


def test_noisy_targets_have_no_cross_entropy():
    with pytest.raises(ValueError, match="compares with a clean target"):
        fitted(loss="mixed", objective="recorrupt", noise=0.2)


def test_a_fit_does_not_go_on_with_another_scaling(mixed):
    again = clone(mixed).set_params(max_epochs=1).fit(X).set_params(loss="mse")
    with pytest.raises(ValueError, match="a loss by block changed"):
        again.partial_fit(X)


def test_images_have_no_blocks():
    images = np.eye(4)[np.arange(40) % 4].reshape(40, 2, 2).repeat(4, axis=1).repeat(4, axis=2)
    assert ImageDenoiser(loss="mixed", max_epochs=1, random_state=0).fit(images)._preparation_.blocks == ()
