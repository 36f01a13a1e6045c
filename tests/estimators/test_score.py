"""Scores in decibels: the unit of errors, columns of tables, memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from sk_denoise import (
    DenoisingAutoencoder,
    DenseNetwork,
    GaussianNoiser,
    WienerDenoiser,
    WienerMixtureDenoiser,
    make_denoising_scorer,
    make_self_supervised_scorer,
)
from sk_denoise.metrics import psnr

SMALL = DenseNetwork((32,))
UNITS = np.array([1e4, 1, 1, 1e-3, 1, 1])


def small(**settings):
    """Return a small estimator that trains fast."""
    return DenoisingAutoencoder(SMALL, **{"latent_dim": 8, "max_epochs": 3, "random_state": 0} | settings)


def table_of_units(n, seed=0):
    """Return correlated columns of several units, and a pair of them with noise."""
    rng = np.random.default_rng(seed)
    clean = rng.normal(size=(n, 3)) @ np.random.default_rng(7).normal(size=(3, 6)) * UNITS
    return clean, clean + 0.5 * UNITS * rng.normal(size=clean.shape)


class Forgetful(WienerDenoiser):
    """A filter that keeps the column of the largest unit only."""

    def predict(self, X):
        prediction = super().predict(X)
        prediction[:, 1:] = self.mean_[1:]
        return prediction


@pytest.mark.parametrize("added", [False, True])
def test_the_score_of_a_table_sees_every_column(added):
    (clean, noisy), (X, Y) = table_of_units(400), table_of_units(400, seed=1)
    given = (X,) if added else (Y, X)
    scores = [kind().fit(noisy, X_clean=clean).score(*given) for kind in (WienerDenoiser, Forgetful)]
    assert scores[0] > scores[1] + 3


def test_the_scorer_of_a_table_sees_every_column_unless_told_otherwise():
    (clean, noisy), X = table_of_units(400), table_of_units(400, seed=1)[0]
    noiser = GaussianNoiser(0.5, scale="std", random_state=0)
    for metric in ("psnr", "mse", "nmse"):
        scores = {
            units: [
                make_denoising_scorer(noiser, metric, units=units)(kind().fit(noisy, X_clean=clean), X)
                for kind in (WienerDenoiser, Forgetful)
            ]
            for units in ("auto", "data")
        }
        assert scores["auto"][0] > scores["auto"][1] + 0.1 * abs(scores["auto"][0])
        assert scores["data"][0] == pytest.approx(scores["data"][1], abs=0.01 * abs(scores["data"][0]))


@pytest.mark.parametrize("method", ["sure", "blind"])
def test_a_scorer_without_truth_sees_every_column(method):
    (clean, noisy), (_, Y) = table_of_units(400), table_of_units(400, seed=1)
    noise = 0.5 * UNITS if method == "sure" else None
    scorer = make_self_supervised_scorer(method, noise)
    scores = [scorer(kind().fit(noisy, X_clean=clean), Y) for kind in (WienerDenoiser, Forgetful)]
    assert scores[0] > scores[1] + 0.1 * abs(scores[0])


def test_the_expected_score_without_truth_is_that_with_truth():
    (_, noisy), (X, Y) = table_of_units(400), table_of_units(1000, seed=1)
    mixture = WienerMixtureDenoiser(0.5 * UNITS, n_components=2, random_state=0).fit(noisy)
    # The PSNR of the mean error is below the mean PSNR of the rows.
    assert 0 < mixture.score(Y, X) - mixture.score(Y) < 2.5
    recorrupted = DenoisingAutoencoder(
        SMALL, objective="recorrupt", noise=0.5 * UNITS, max_epochs=5, random_state=0
    ).fit(noisy)
    assert 0 < recorrupted.score(Y, X) - recorrupted.score(Y) < 2.5


def test_images_have_no_columns_to_scale():
    scorer = make_denoising_scorer(GaussianNoiser(0.1, random_state=0), units="scaled")
    stack = np.random.default_rng(0).normal(size=(20, 8, 8))
    with pytest.raises(ValueError, match=r'units="scaled" .* images'):
        scorer(WienerDenoiser(0.1).fit(stack), stack)


def test_the_score_does_not_depend_on_the_units_of_the_columns():
    units = UNITS
    (clean, noisy), (X, Y) = table_of_units(300), table_of_units(300, seed=1)
    raw = WienerDenoiser().fit(noisy, X_clean=clean).score(Y, X)
    scaled = (
        WienerDenoiser().fit(noisy / units + 5, X_clean=clean / units + 5).score(Y / units + 5, X / units + 5)
    )
    assert raw == pytest.approx(scaled, abs=1e-6)


def test_a_constant_column_has_no_say_in_the_score():
    clean, noisy = table_of_units(300)
    wide, wide_noisy = (np.column_stack([side, np.full(300, 7.0)]) for side in (clean, noisy))
    wide_noisy[:, -1] += np.random.default_rng(0).normal(size=300)
    without = WienerDenoiser().fit(noisy, X_clean=clean).score(noisy, clean)
    dae = WienerDenoiser().fit(wide_noisy, X_clean=wide)
    assert dae.score(wide_noisy, wide) == pytest.approx(without, abs=0.1)
    changed = wide.copy()
    changed[:, -1] += 1000
    assert dae.score(wide_noisy, changed) == pytest.approx(dae.score(wide_noisy, wide), abs=1e-9)


def test_progress_and_validation_scores_are_those_of_score():
    clean, noisy = table_of_units(300)
    dae = small(max_epochs=3, blend=None).fit(noisy, X_clean=clean, X_val=noisy, X_clean_val=clean)
    assert dae.validation_scores_[-1] == pytest.approx(dae.score(noisy, clean), abs=0.01)


def test_known_black_and_white_and_signals_are_scored_in_their_unit(digits):
    dae = small().fit(digits.train[:300])
    noisy = digits.noisy_test(0.25)
    assert dae.score(noisy, digits.test) == pytest.approx(
        psnr(digits.test, dae.predict(noisy), data_range=1), abs=1e-9
    )
    signals = np.cumsum(np.random.default_rng(0).normal(size=(50, 200)), axis=1)
    wiener = WienerDenoiser(0.5).fit(signals)
    expected = psnr(signals, wiener.predict(signals + 0.1), data_range=wiener.data_range_)
    assert wiener.score(signals + 0.1, signals) == pytest.approx(expected)


def test_the_score_of_many_rows_needs_little_memory():
    clean, noisy = (np.tile(side, (500, 1)) for side in table_of_units(400))
    wiener = WienerDenoiser().fit(noisy[:400], X_clean=clean[:400])
    tracemalloc.start()
    for arguments in ((noisy, clean), (clean,)):
        wiener.score(*arguments)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Chunks take 8 MB each.
    assert clean.nbytes > 9e6
    assert peak < 6 * 2**20 * 8
