"""The mixture of Wiener filters: noisy rows alone, noise of all kinds, and refusals."""

from __future__ import annotations

import numpy as np
import pytest

from sk_denoise import WienerMixtureDenoiser
from sk_denoise.metrics import mse


@pytest.fixture(scope="module")
def noisy_digits(digits):
    return digits.train + np.random.default_rng(7).normal(0, 0.25, digits.train.shape)


def test_noisy_digits_alone_beat_the_wiener_filter(digits, noisy_digits):
    mixture = WienerMixtureDenoiser(0.25, random_state=0).fit(noisy_digits)
    wiener = WienerMixtureDenoiser(0.25, n_components=1).fit(noisy_digits)
    noisy = digits.noisy_test(0.25)
    assert mixture.target_source_ == "noisy"
    assert mse(digits.test, mixture.predict(noisy)) < 0.0170
    assert 0.0190 < mse(digits.test, wiener.predict(noisy)) < 0.0212


def test_one_component_is_the_wiener_filter_of_the_noisy_covariance(noisy_digits):
    mixture = WienerMixtureDenoiser(0.25, n_components=1).fit(noisy_digits)
    variances, axes = np.linalg.eigh(np.cov(noisy_digits.T))
    gains = np.maximum(1 - 0.25**2 / variances, 0)
    mean = noisy_digits.mean(0)
    expected = mean + (noisy_digits - mean) @ (axes * gains) @ axes.T
    np.testing.assert_allclose(mixture.predict(noisy_digits), expected, atol=2e-3)


def test_a_clean_side_is_refused(digits, noisy_digits):
    with pytest.raises(ValueError, match="learns from noisy X alone, and X_clean"):
        WienerMixtureDenoiser(0.25).fit(noisy_digits, X_clean=digits.train)
    with pytest.raises(ValueError, match="learns from noisy X alone, and y"):
        WienerMixtureDenoiser(0.25).fit(noisy_digits, digits.train)
