"""The Wiener filter: reference errors, noise levels, covariance, and refusals."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.covariance import ledoit_wolf_shrinkage
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
    wiener = WienerDenoiser(0.3).fit(X)
    share = wiener.shrinkage_
    covariance = np.cov(X.T)
    covariance = (1 - share) * covariance + share * np.trace(covariance) / 64 * np.eye(64)
    gain = covariance @ np.linalg.inv(covariance + 0.3**2 * np.eye(64))
    expected = X.mean(0) + (noisy - X.mean(0)) @ gain.T
    np.testing.assert_allclose(wiener.predict(noisy), expected, atol=1e-10)
    assert share == pytest.approx(ledoit_wolf_shrinkage(X))


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


def test_few_samples_shrink_the_covariance_with_separate_levels():
    X = load_breast_cancer().data
    noiser = GaussianNoiser(0.25, scale="std", random_state=0)
    noisy = np.asarray(noiser.fit_transform(X))
    wiener = WienerDenoiser().fit(noiser.fit_transform(X[:20]))
    assert 0 < wiener.shrinkage_ < 1
    assert mse(X / X.std(0), wiener.predict(noisy) / X.std(0)) < mse(X / X.std(0), noisy / X.std(0))


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
