"""Masks of other rows hide what these lack."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from sk_denoise import CopiedMaskNoiser, DenoisingAutoencoder

X = np.random.default_rng(0).normal(size=(400, 4)) + 5
MASKS = np.array([[1, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]], dtype=bool)


def hidden(noisy):
    return {tuple(row) for row in (np.asarray(noisy) == 0).tolist()}


def test_each_sample_gets_one_of_the_masks():
    noisy = CopiedMaskNoiser(MASKS, random_state=0).fit_transform(X)
    assert hidden(noisy) == {tuple(mask) for mask in MASKS.tolist()}
    np.testing.assert_array_equal(noisy[noisy != 0], X[np.asarray(noisy) != 0])
    shares = [(np.asarray(noisy == 0) == mask).all(axis=1).mean() for mask in MASKS]
    np.testing.assert_allclose(shares, 1 / 3, atol=0.08)


def test_samples_with_gaps_are_masks():
    given = np.where(MASKS, np.nan, 1.0)
    for masks in (given, pd.DataFrame(given), given.tolist(), pd.DataFrame(MASKS)):
        assert hidden(CopiedMaskNoiser(masks, random_state=0).fit_transform(X)) == hidden(~MASKS)


def test_without_masks_the_gaps_of_the_data_are_copied():
    given = X.copy()
    given[::2, :2] = np.nan
    noiser = CopiedMaskNoiser(random_state=0).fit(given)
    assert hidden(noiser.set_params(apply="always").transform(X)) == {
        (True, True, False, False),
        (False,) * 4,
    }
    # Complete rows have none to copy.
    assert 0.2 < (np.asarray(CopiedMaskNoiser(random_state=0).fit_transform(X)) == 0).mean() < 0.3


def test_hidden_values_are_filled_with_the_mean():
    noisy = np.asarray(CopiedMaskNoiser(MASKS, "mean", random_state=0).fit_transform(X))
    changed = noisy != X
    np.testing.assert_allclose(noisy[changed], np.broadcast_to(X.mean(axis=0), X.shape)[changed])


def test_images_have_masks_of_their_shape():
    images = np.ones((20, 3, 4))
    noisy = CopiedMaskNoiser([np.eye(3, 4) > 0], random_state=0).fit_transform(images)
    np.testing.assert_array_equal(np.asarray(noisy), np.broadcast_to(1 - np.eye(3, 4), images.shape))


def test_a_network_learns_to_restore_what_is_missing_together():
    clean = np.random.default_rng(1).normal(size=(500, 1)) * np.ones(4)
    dae = DenoisingAutoencoder(noise=CopiedMaskNoiser(MASKS), max_epochs=10, random_state=0).fit(clean)
    given = np.where(MASKS[0], 0, clean)
    assert ((dae.predict(given) - clean) ** 2).mean() < 0.2 * ((given - clean) ** 2).mean()


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        (MASKS[:, :3], r"masks must have the shape \(n_masks, 4\) for these samples, got \(3, 3\)"),
        (MASKS[0], r"got \(4,\)"),
        (np.ones((2, 4), dtype=int), "masks must hold flags, or numbers with NaN for gaps, got int64"),
        (MASKS[:0], "masks must have the shape"),
    ],
)
def test_other_masks_are_refused(masks, message):
    with pytest.raises(ValueError, match=message):
        CopiedMaskNoiser(masks).fit(X)
