"""The Wiener filter: reference errors, noise levels, covariance, and refusals."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer

from sk_denoise import GaussianNoiser, WienerDenoiser
from sk_denoise.exceptions import CleanTargetWarning
from sk_denoise.metrics import mse

CLEAN = np.random.default_rng(0).random((60, 16, 16))


@pytest.mark.parametrize(("sigma", "reference"), [(0.25, 0.0204), (0.5, 0.0421)])
@pytest.mark.parametrize("level", ["known", "measured", "estimated"])
def test_the_wiener_filter_reaches_the_reference_on_digits(digits, sigma, reference, level):
    wiener = WienerDenoiser(sigma if level == "known" else "auto")
    training = GaussianNoiser(sigma, random_state=0).fit_transform(digits.train)
    wiener.fit(training if level == "measured" else digits.train)
    assert mse(digits.test, wiener.predict(digits.noisy_test(sigma))) < reference
    assert (wiener.sigma_ is None) == (level == "estimated")
    assert level != "measured" or wiener.sigma_ == pytest.approx(sigma, rel=0.02)


def test_the_wiener_filter_equals_the_textbook_formula(digits):
    X, noisy = digits.train, digits.noisy_test(0.3)
    covariance = np.cov(X.T)
    gain = covariance @ np.linalg.inv(covariance + 0.3**2 * np.eye(64))
    expected = X.mean(0) + (noisy - X.mean(0)) @ gain.T
    # With many rows, variances of held-out rows are close to those of all rows.
    assert mse(WienerDenoiser(0.3).fit(X).predict(noisy), expected) < 0.002 * mse(noisy, digits.test)


def low_rank(n, p, rank, seed=0):
    rng = np.random.default_rng(seed)
    clean = rng.normal(size=(n, rank)) @ rng.normal(size=(rank, p))
    return clean / clean.std(0)


@pytest.mark.parametrize("level", ["known", "by column", "estimated"])
@pytest.mark.parametrize("components", ["auto", 5])
def test_rows_of_few_directions_and_many_columns_are_not_blurred(level, components):
    clean = low_rank(160, 2000, 5)
    noise = np.random.default_rng(1).normal(0, 0.5, clean.shape)
    noisy = clean + noise
    wiener = WienerDenoiser(0.5 if level == "known" else "auto", n_components=components)
    wiener.fit(*((noisy[:60], clean[:60]) if level == "by column" else (clean[:60],)))
    # Five directions of 2,000 hold 26 dB less noise.
    assert mse(clean[60:], wiener.predict(noisy[60:])) < 0.01 * mse(clean[60:], noisy[60:])


@pytest.mark.parametrize(
    ("n", "p", "rank", "limit"), [(15, 6, 2, 0.4), (40, 20, 20, 0.75), (30, 64, 64, 1.0)]
)
def test_few_rows_of_a_table_do_no_harm(n, p, rank, limit):
    errors = []
    for seed in range(4):
        clean = low_rank(n + 300, p, rank, seed)
        noisy = clean + np.random.default_rng(seed).normal(0, 0.5, clean.shape)
        wiener = WienerDenoiser(0.5).fit(clean[:n])
        errors.append(mse(clean[n:], wiener.predict(noisy[n:])) / mse(clean[n:], noisy[n:]))
    assert np.mean(errors) < limit


def test_independent_columns_of_other_noise_levels_are_shrunk_one_by_one():
    rng = np.random.default_rng(0)
    spread, level = np.geomspace(0.2, 5, 30), 0.7
    clean = rng.normal(size=(560, 30)) * spread
    noisy = clean + level * rng.normal(size=clean.shape)
    wiener = WienerDenoiser().fit(noisy[:60], clean[:60])
    least = np.mean(level**2 * spread**2 / (level**2 + spread**2))
    assert wiener.shrinkage_ > 0
    assert mse(clean[60:], wiener.predict(noisy[60:])) < 1.1 * least


def test_two_and_three_rows_are_enough_for_a_filter():
    for n in (2, 3):
        clean = low_rank(n, 4, 1, seed=n)
        assert np.isfinite(WienerDenoiser(0.5).fit(clean).predict(clean + 1)).all()


@pytest.mark.parametrize("n_components", [1, 10, 40, 64])
def test_axes_beyond_n_components_share_the_rest_of_the_variance(digits, n_components):
    noisy = digits.noisy_test(0.25)
    full = mse(digits.test, WienerDenoiser(0.25).fit(digits.train).predict(noisy))
    cut = WienerDenoiser(0.25, n_components=n_components).fit(digits.train)
    assert cut._spectrum_.axes.shape == (n_components, 64)
    assert full * 0.999 < mse(digits.test, cut.predict(noisy)) < 0.25**2
    automatic = clone(cut).set_params(sigma="auto").fit(digits.train)
    assert mse(digits.test, automatic.predict(noisy)) < 0.25**2


def test_fewer_samples_than_features_are_enough(digits):
    noisy = digits.noisy_test(0.25)
    for sigma in (0.25, "auto"):
        assert mse(digits.test, WienerDenoiser(sigma).fit(digits.train[:30]).predict(noisy)) < 0.03


def test_the_noise_of_each_feature_of_a_table_is_measured():
    X = load_breast_cancer().data  # features of very different units
    noiser = GaussianNoiser(0.25, scale="std", random_state=0)
    noisy = np.asarray(noiser.fit_transform(X))
    for wiener in (WienerDenoiser().fit(noiser.fit_transform(X)), WienerDenoiser().fit(noisy, X)):
        error = mse(X / X.std(0), wiener.predict(noisy) / X.std(0))
        assert error < 0.6 * mse(X / X.std(0), noisy / X.std(0))


def test_few_samples_with_separate_levels_do_no_harm():
    X = load_breast_cancer().data
    noiser = GaussianNoiser(0.25, scale="std", random_state=0)
    noisy = np.asarray(noiser.fit_transform(X))
    wiener = WienerDenoiser().fit(noiser.fit_transform(X[:20]))
    assert mse(X / X.std(0), wiener.predict(noisy) / X.std(0)) < 0.85 * mse(X / X.std(0), noisy / X.std(0))


def test_a_feature_without_noise_is_unchanged():
    X = np.random.default_rng(0).normal(size=(200, 3)) @ [[1.0, 0.9, 0.8], [0, 0.1, 0], [0, 0, 0.1]]
    noisy = X + np.random.default_rng(1).normal(size=X.shape) * [0.5, 0.5, 0]
    denoised = WienerDenoiser().fit(noisy, X).predict(noisy)
    np.testing.assert_allclose(denoised[:, 2], X[:, 2], atol=1e-4)
    assert mse(X[:, :2], denoised[:, :2]) < mse(X[:, :2], noisy[:, :2]) / 5


def test_a_pair_without_noise_is_returned_unchanged():
    with pytest.warns(CleanTargetWarning):
        wiener = WienerDenoiser().fit(CLEAN, X_clean=CLEAN)
    assert wiener.sigma_ == 0
    np.testing.assert_allclose(wiener.predict(CLEAN), CLEAN, atol=0.01)


def test_chunks_of_rows_give_the_same_result(digits):
    rows = np.tile(digits.noisy_test(0.25), (3, 1))
    wiener = WienerDenoiser().fit(digits.train)
    np.testing.assert_allclose(wiener.predict(rows)[1000:], wiener.predict(rows[:500]), atol=1e-10)


def test_too_many_features_or_components_are_refused_with_a_remedy():
    with pytest.raises(ValueError, match=r"at most 65536 .* patches, .* NonLocalMeansDenoiser"):
        WienerDenoiser().fit(np.zeros((2, 257, 256), dtype=np.float32))
    with pytest.raises(ValueError, match=r"n_components=9, but 4 samples of 256 features have 4"):
        WienerDenoiser(n_components=9).fit(CLEAN[:4])
    with pytest.raises(ValueError, match="minimum of 2"):
        WienerDenoiser().fit(CLEAN[:1])


@pytest.mark.parametrize(
    "wrong", [{"sigma": 0}, {"sigma": "fit"}, {"n_components": 0}, {"n_components": 0.5}]
)
def test_parameters_of_the_wiener_filter_are_checked(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        WienerDenoiser(**wrong).fit(CLEAN)
