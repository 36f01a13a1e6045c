"""Windows of signals and second measurements in the mixture of Wiener filters."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import savgol_filter

from sk_denoise import GaussianNoiser, WienerMixtureDenoiser
from sk_denoise.restoration import NoiseModel

SIGMA, LENGTH = 0.35, 200
PLACES = np.arange(LENGTH)


def error_of(denoised, clean):
    return float(np.sqrt(np.mean((denoised - clean) ** 2)))


def spectra(n, rng):
    """Return three peaks of any place and width on a baseline."""
    signals = rng.uniform(0.2, 0.5, (n, 1)) + 0.2 * np.sin(PLACES / rng.uniform(40, 80, (n, 1)))
    for _ in range(3):
        place, width = rng.uniform(0, LENGTH, (n, 1)), rng.uniform(3, 7, (n, 1))
        signals = signals + np.exp(-0.5 * ((PLACES - place) / width) ** 2)
    return signals


def steps(n, rng):
    jumps = rng.normal(size=(n, LENGTH)) * (rng.random((n, LENGTH)) < 5 / LENGTH)
    return np.cumsum(jumps, axis=1)


@pytest.fixture(scope="module")
def pair():
    rng = np.random.default_rng(0)
    clean = spectra(150, rng)
    return clean, clean + rng.normal(0, SIGMA, clean.shape), clean + rng.normal(0, SIGMA, clean.shape)


@pytest.fixture(scope="module")
def fitted(pair):
    return WienerMixtureDenoiser(SIGMA, window=32, n_init=1, random_state=0).fit(pair[1])


def best_savgol(noisy, clean):
    filters = [(length, order) for length in (5, 9, 15, 21, 31, 41) for order in (1, 2, 3)]
    return min(error_of(savgol_filter(noisy, *parameters, axis=1), clean) for parameters in filters)


@pytest.mark.slow
def test_windows_beat_the_best_savitzky_golay_filter(pair, fitted):
    clean, noisy, _ = pair
    assert fitted.window_ == 32
    assert error_of(fitted.predict(noisy), clean) < 0.9 * best_savgol(noisy, clean)


def test_noise_of_signals_is_estimated(pair):
    mixture = WienerMixtureDenoiser(window=16, n_components=2, n_init=1).fit(pair[1])
    assert mixture.sigma_ == pytest.approx(SIGMA, rel=0.05)


def test_windows_beat_whole_rows_where_peaks_shift(pair, fitted):
    clean, noisy, _ = pair
    whole = WienerMixtureDenoiser(SIGMA, n_components=5, n_init=1, random_state=0).fit(noisy)
    assert error_of(fitted.predict(noisy), clean) < 0.8 * error_of(whole.predict(noisy), clean)


@pytest.mark.slow
def test_steps_beat_the_best_savitzky_golay_filter():
    rng = np.random.default_rng(1)
    clean = steps(150, rng)
    noisy = clean + rng.normal(0, SIGMA, clean.shape)
    mixture = WienerMixtureDenoiser(SIGMA, window=32, n_init=1, random_state=0).fit(noisy)
    assert error_of(mixture.predict(noisy), clean) < 0.9 * best_savgol(noisy, clean)


def test_new_signals_have_nearly_the_same_error(fitted):
    rng = np.random.default_rng(5)
    clean = spectra(60, rng)
    noisy = clean + rng.normal(0, SIGMA, clean.shape)
    assert error_of(fitted.predict(noisy), clean) < 0.5 * best_savgol(noisy, clean) + 0.06


def test_shifted_signals_have_shifted_predictions(pair, fitted):
    noisy = pair[1][:5]
    shifted = np.roll(noisy, 10, axis=1)
    # Away from the ends, the filter is the same at all places.
    inner = slice(60, LENGTH - 60)
    np.testing.assert_allclose(
        fitted.predict(shifted)[:, inner], np.roll(fitted.predict(noisy), 10, axis=1)[:, inner], atol=1e-6
    )


@pytest.mark.slow
def test_automatic_length_is_nearly_the_best(pair):
    clean, noisy, _ = pair
    errors = {}
    for window in ("auto", 16, 32, 64):
        mixture = WienerMixtureDenoiser(SIGMA, window=window, n_init=1, random_state=0).fit(noisy)
        errors[window] = error_of(mixture.predict(noisy), clean)
    assert errors["auto"] < 1.05 * min(errors.values())


def test_score_without_truth_is_near_the_true_one(fitted):
    rng = np.random.default_rng(9)
    clean = spectra(200, rng)
    noisy = clean + rng.normal(0, SIGMA, clean.shape)
    error = error_of(fitted.predict(noisy), clean)
    expected = 20 * np.log10(fitted.data_range_ / error)
    assert fitted.score(noisy) == pytest.approx(expected, abs=1.0)


@pytest.mark.slow
def test_counts_have_windows_too():
    rng = np.random.default_rng(0)
    clean = 8 * spectra(100, rng) + 2
    noisy = rng.poisson(clean).astype(float)
    model = NoiseModel("counts", sigma=float(np.sqrt(clean.mean())), gain=1.0)
    mixture = WienerMixtureDenoiser(model, window=32, n_init=1, random_state=0).fit(noisy)
    assert error_of(mixture.predict(noisy), clean) < 0.4 * error_of(noisy, clean)


def test_output_of_a_noiser_has_known_noise(pair):
    noised = GaussianNoiser(SIGMA, random_state=0).fit_transform(pair[0])
    mixture = WienerMixtureDenoiser(window=16, n_components=3, n_init=1).fit(noised)
    assert mixture.sigma_ == pytest.approx(SIGMA, rel=0.02)


@pytest.mark.parametrize("window", [150, 200])
def test_long_windows_work(pair, window):
    clean, noisy, _ = pair
    mixture = WienerMixtureDenoiser(SIGMA, window=window, n_components=2, n_init=1).fit(noisy)
    assert error_of(mixture.predict(noisy), clean) < 0.8 * SIGMA


@pytest.mark.parametrize("length", [3, 20])
def test_automatic_windows_of_short_rows(length):
    noisy = np.random.default_rng(0).normal(size=(30, length)).cumsum(axis=1)
    mixture = WienerMixtureDenoiser(0.5, window="auto", n_components=2).fit(noisy)
    assert mixture.window_ <= length
    assert np.isfinite(mixture.predict(noisy)).all()


@pytest.mark.parametrize(
    ("parameters", "shape", "message"),
    [
        ({"window": 500}, (30, 60), "at most the length of the rows, 60"),
        ({"window": 1}, (30, 60), "window"),
        ({"window": 8, "noise": np.linspace(0.1, 1, 60)}, (30, 60), "one noise level"),
        ({"window": 8, "noise": np.eye(60)}, (30, 60), "one noise level"),
        ({"window": 8}, (30, 8, 8), "samples are images"),
    ],
)
def test_wrong_windows_are_refused(parameters, shape, message):
    X = np.random.default_rng(0).normal(size=shape)
    with pytest.raises(ValueError, match=message):
        WienerMixtureDenoiser(**{"noise": 0.5, **parameters}).fit(X)


def test_second_measurements_give_noise_and_a_better_filter(pair, fitted):
    clean, first, second = pair
    mixture = WienerMixtureDenoiser(window=32, n_init=1, random_state=0).fit(first, X_second=second)
    assert mixture.target_source_ == "X_second"
    assert mixture.sigma_ == pytest.approx(SIGMA, rel=0.03)
    assert error_of(mixture.predict(first), clean) < error_of(fitted.predict(first), clean)


def test_second_measurements_of_a_table_give_the_noise_of_each_column():
    rng = np.random.default_rng(0)
    clean = rng.normal(size=(400, 3)) @ rng.normal(size=(3, 12))
    levels = np.linspace(0.2, 1, 12)
    first, second = (clean + rng.normal(size=clean.shape) * levels for _ in range(2))
    mixture = WienerMixtureDenoiser(n_components=1).fit(first, X_second=second)
    np.testing.assert_allclose(mixture.noise_model_.channel_sigmas, levels, rtol=0.15)
    single = WienerMixtureDenoiser(levels, n_components=1).fit(first)
    assert error_of(mixture.predict(first), clean) < 1.02 * error_of(single.predict(first), clean)


def test_wrong_second_measurements_are_refused(pair):
    _, first, second = pair
    with pytest.raises(ValueError, match="X_second equals X"):
        WienerMixtureDenoiser(window=16).fit(first, X_second=first)
    with pytest.raises(ValueError, match="noise given twice"):
        WienerMixtureDenoiser(0.3, window=16).fit(first, X_second=second)
    drift = np.random.default_rng(0).normal(0, 0.3, (len(first), 1))
    with pytest.raises(ValueError, match="noise of neighbouring entries is correlated"):
        WienerMixtureDenoiser(window=16).fit(first, X_second=second + drift)
