"""The mixture of Wiener filters: noisy rows alone, noise of all kinds, and refusals."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sk_denoise import GaussianNoiser, WienerMixtureDenoiser
from sk_denoise.exceptions import NoiseMismatchWarning
from sk_denoise.metrics import mse, psnr_of_mse
from sk_denoise.persistence import load, save
from sk_denoise.restoration import NoiseModel

FAST = {"n_components": 8, "n_init": 2, "shrinkage": 20.0, "random_state": 0}


@pytest.fixture(scope="module")
def noisy_digits(digits):
    return digits.train + np.random.default_rng(7).normal(0, 0.25, digits.train.shape)


def clusters(n, seed=0):
    """Return rows close to six points, far from each other in units of the noise of .5."""
    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(99).normal(0, 1, (6, 20))
    return centers[rng.integers(0, 6, n)] + 0.1 * rng.normal(size=(n, 20))


def add_noise(X, sigma, seed=1):
    return X + np.random.default_rng(seed).normal(size=X.shape) * sigma


# Quality -----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("sigma", "decibels"), [(0.25, 0.8), (0.5, 0.45)])
def test_noisy_digits_alone_beat_the_wiener_filter(digits, sigma, decibels):
    # Another seed than that of the test digits, whose noise the fit must not have seen.
    noisy = add_noise(digits.train, sigma, seed=11)
    mixture = WienerMixtureDenoiser(sigma, random_state=0).fit(noisy)
    wiener = WienerMixtureDenoiser(sigma, n_components=1).fit(noisy)
    errors = [mse(digits.test, d.predict(digits.noisy_test(sigma))) for d in (wiener, mixture)]
    assert 10 * np.log10(errors[0] / errors[1]) > decibels
    assert sigma > 0.25 or errors[1] < 0.0170


def test_one_component_is_about_the_wiener_filter_of_the_noisy_covariance(digits, noisy_digits):
    mixture = WienerMixtureDenoiser(0.25, n_components=1).fit(noisy_digits)
    variances, axes = np.linalg.eigh(np.cov(noisy_digits.T))
    gains = np.maximum(1 - 0.25**2 / variances, 0)
    mean, noisy = noisy_digits.mean(0), digits.noisy_test(0.25)
    expected = mean + (noisy - mean) @ (axes * gains) @ axes.T
    denoised = mixture.predict(noisy)
    assert mse(denoised, expected) < 0.02 * 0.25**2
    # Variances of held-out rows along the axes are as good here, and better for few rows.
    assert mse(digits.test, denoised) < 1.01 * mse(digits.test, expected)
    assert mixture.choices_ == [(1, 10.0, 1.0)]


def test_clusters_are_denoised_far_better_than_by_one_wiener_filter():
    train, test = add_noise(clusters(600), 0.5), clusters(300, 5)
    noisy = add_noise(test, 0.5, 6)
    mixture = WienerMixtureDenoiser(0.5, random_state=0).fit(train)
    wiener = WienerMixtureDenoiser(0.5, n_components=1).fit(train)
    # With the centers known, .1 ** 2 would remain at most.
    assert mse(test, mixture.predict(noisy)) < 0.02
    assert mse(test, wiener.predict(noisy)) > 0.05


def test_gaussian_rows_lose_nothing_to_the_wiener_filter():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(900, 5)) @ rng.normal(size=(5, 30))
    noisy = add_noise(X, 0.5)
    errors = [
        mse(X[600:], d.fit(noisy[:600]).predict(noisy[600:]))
        for d in (WienerMixtureDenoiser(0.5, random_state=0), WienerMixtureDenoiser(0.5, n_components=1))
    ]
    assert errors[0] < 1.03 * errors[1]


@pytest.mark.slow
def test_columns_of_very_different_units_have_levels_of_their_own():
    X = load_breast_cancer().data
    sigmas = 0.25 * X.std(0)
    noisy = add_noise(X, sigmas)
    units = X.std(0)
    separate = WienerMixtureDenoiser(sigmas, random_state=0).fit(noisy[:400])
    error = mse(X[400:] / units, separate.predict(noisy[400:]) / units)
    assert error < 0.65 * 0.25**2
    common = WienerMixtureDenoiser(float(sigmas.max()), random_state=0)
    with pytest.warns(NoiseMismatchWarning, match="pass one level for each"):
        common.fit(noisy[:400])
    assert error < 0.5 * mse(X[400:] / units, common.predict(noisy[400:]) / units)


def test_a_change_of_units_changes_the_prediction_alike():
    X = add_noise(clusters(200), 0.5)
    scale, shift = np.geomspace(1e-6, 1e6, 20), np.linspace(-3, 3, 20)
    expected = WienerMixtureDenoiser(np.full(20, 0.5), **FAST).fit(X).predict(X)
    other = WienerMixtureDenoiser(0.5 * scale, **FAST).fit(scale * (X + shift))
    # k-means starts from other rows, since rows are sorted by their numbers: compare where all are alike.
    assert mse(other.predict(scale * (X + shift)) / scale - shift, expected) < 0.02


def test_a_covariance_of_the_noise_beats_its_level_alone():
    X, rng = clusters(700), np.random.default_rng(3)
    # Neighbours have nearly the same noise.
    covariance = 0.25 * 0.9 ** np.abs(np.subtract.outer(np.arange(20), np.arange(20)))
    noisy = X + rng.multivariate_normal(np.zeros(20), covariance, len(X))
    errors = [
        mse(X[400:], WienerMixtureDenoiser(noise, **FAST).fit(noisy[:400]).predict(noisy[400:]))
        for noise in (covariance, 0.5)
    ]
    assert errors[0] < 0.6 * errors[1]
    diagonal = WienerMixtureDenoiser(np.diag(np.full(20, 0.25)), **FAST).fit(noisy)
    np.testing.assert_allclose(
        diagonal.predict(noisy), WienerMixtureDenoiser(0.5, **FAST).fit(noisy).predict(noisy), rtol=1e-6
    )


def test_directions_without_noise_stay_as_they_are():
    X, rng = clusters(400), np.random.default_rng(3)
    direction = np.eye(20)[0]
    noisy = X + 0.5 * rng.normal(size=(400, 1)) * direction
    denoised = WienerMixtureDenoiser(0.25 * np.outer(direction, direction), **FAST).fit(noisy).predict(noisy)
    np.testing.assert_allclose(denoised[:, 1:], X[:, 1:], atol=1e-3)
    assert np.square(X - denoised)[:, 0].mean() < 0.5 * 0.25


def test_counts_are_denoised_by_their_variance(digits):
    rng = np.random.default_rng(0)
    train, noisy = rng.poisson(8 * digits.train), rng.poisson(8 * digits.test)
    model = NoiseModel("counts", 1.6, gain=1.0)
    counts = WienerMixtureDenoiser(model, n_components=20, n_init=4, shrinkage=60, random_state=0).fit(train)
    denoised = counts.predict(noisy)
    assert denoised.dtype == np.float32
    assert mse(8 * digits.test, denoised) < 0.45 * mse(8 * digits.test, noisy)
    assert abs(counts.score(noisy) - psnr_of_mse(mse(8 * digits.test, denoised), counts.data_range_)) < 0.5


# Scores ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", ["level", "columns", "covariance"])
def test_the_score_without_truth_is_the_psnr_of_the_mean_error(noise):
    X, rng = clusters(4400), np.random.default_rng(3)
    sigmas = np.linspace(0.2, 0.6, 20)
    given = {
        "level": 0.4,
        "columns": sigmas,
        "covariance": 0.16 * 0.5 ** np.abs(np.subtract.outer(np.arange(20), np.arange(20))),
    }[noise]
    errors = (
        rng.multivariate_normal(np.zeros(20), given, len(X))
        if noise == "covariance"
        else rng.normal(size=X.shape) * given
    )
    noisy = X + errors
    mixture = WienerMixtureDenoiser(given, **FAST).fit(noisy[:400])
    truth = mse(X[400:], mixture.predict(noisy[400:]))
    expected = mixture.data_range_**2 * 10 ** (-mixture.score(noisy[400:]) / 10)
    # Half of the columns would do for the statistics of correlated noise.
    assert abs(expected - truth) < 4 * mixture.sigma_**2 * np.sqrt(4 / X[400:].size)
    assert abs(expected - truth) < 0.1 * mixture.sigma_**2
    assert mixture.score(noisy[400:], X[400:]) > psnr_of_mse(truth, mixture.data_range_)


def test_a_search_without_truth_picks_the_number_of_components():
    search = GridSearchCV(WienerMixtureDenoiser(0.5, **FAST), {"n_components": [1, 8]}, cv=2)
    assert search.fit(add_noise(clusters(400), 0.5)).best_params_ == {"n_components": 8}


def test_labels_do_not_count_as_truth():
    noisy = add_noise(clusters(200), 0.5)
    mixture = WienerMixtureDenoiser(0.5, **FAST).fit(noisy[:100], np.arange(100))
    assert mixture.score(noisy[100:], np.arange(100)) == mixture.score(noisy[100:])


# Noise -------------------------------------------------------------------------------------------------


def test_the_noise_of_a_noiser_before_it_is_known():
    X = clusters(300)
    pipeline = make_pipeline(GaussianNoiser(0.5, random_state=0), WienerMixtureDenoiser(**FAST)).fit(X)
    assert pipeline[-1].sigma_ == pytest.approx(0.5, rel=0.02)
    assert pipeline[-1].target_source_ == "noisy"
    assert mse(X, pipeline.predict(add_noise(X, 0.5))) < 0.1 * 0.25


def test_the_clean_source_that_a_noiser_hands_on_is_not_used():
    noised = GaussianNoiser(0.5, random_state=0).fit_transform(clusters(300))
    mixture = WienerMixtureDenoiser(**FAST).fit(noised)
    plain = WienerMixtureDenoiser(mixture.noise_model_, **FAST).fit(np.asarray(noised))
    np.testing.assert_array_equal(mixture.predict(np.asarray(noised)), plain.predict(np.asarray(noised)))


def test_the_level_is_estimated(noisy_digits):
    rows = WienerMixtureDenoiser(**FAST).fit(noisy_digits)
    assert rows.sigma_ == pytest.approx(0.25, rel=0.08)
    smooth = np.linspace(0, 1, 50)[:, None, None] * np.outer(*2 * [np.sin(np.linspace(0, 3, 32))])
    images = WienerMixtureDenoiser(**FAST).fit(add_noise(smooth, 0.25))
    assert images.sigma_ == pytest.approx(0.25, rel=0.1)


def test_a_level_that_cannot_be_told_is_refused():
    with pytest.raises(ValueError, match="standard deviation"):
        WienerMixtureDenoiser().fit(np.random.default_rng(0).normal(size=(100, 3)))


@pytest.mark.parametrize(
    ("noise", "message"),
    [
        ([0.1, 0.2], "one for each column"),
        (np.eye(3), r"covariance matrix of shape \(20, 20\); got an array of shape \(3, 3\)"),
        (np.triu(np.ones((20, 20))), "symmetric"),
        (-np.eye(20), "without negative"),
        (np.full((20, 20), np.nan), "finite"),
        (np.zeros(20), "above 0"),
        (NoiseModel("camera", 0.5), "Pass its covariance matrix"),
        (0.0, "noise"),
        ("white", "noise"),
    ],
)
def test_noise_that_does_not_fit_is_refused(noise, message):
    with pytest.raises(ValueError, match=message):
        WienerMixtureDenoiser(noise, **FAST).fit(clusters(50))


# Rows --------------------------------------------------------------------------------------------------


def test_a_clean_side_is_refused(digits, noisy_digits):
    with pytest.raises(ValueError, match="learns from noisy X alone, and X_clean"):
        WienerMixtureDenoiser(0.25).fit(noisy_digits, X_clean=digits.train)
    with pytest.raises(ValueError, match="learns from noisy X alone, and y"):
        WienerMixtureDenoiser(0.25).fit(noisy_digits, digits.train)


@pytest.mark.parametrize("n", [2, 3, 10, 17, 40])
def test_few_rows_of_many_columns_stay_close_to_their_mean_or_improve(n):
    rng = np.random.default_rng(0)
    X = np.outer(rng.normal(size=n), np.ones(200))
    noisy = add_noise(X, 0.5)
    for settings in ({}, {"n_components": 50, "n_init": 2}):
        mixture = WienerMixtureDenoiser(0.5, random_state=0, **settings).fit(noisy)
        assert mse(X, mixture.predict(noisy)) < (0.8 if n < 10 else 0.5) * 0.25


def test_one_row_is_refused():
    with pytest.raises(ValueError, match="minimum of 2"):
        WienerMixtureDenoiser(0.5).fit(np.ones((1, 5)))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_missing_and_infinite_entries_are_refused(value):
    X = clusters(50)
    X[3, 4] = value
    with pytest.raises(ValueError, match=r"contains (NaN|infinity)"):
        WienerMixtureDenoiser(0.5).fit(X)


def test_constant_columns_stay_constant():
    X = clusters(200)
    X[:, 3] = 7.0
    noise = np.full(20, 0.5)
    noise[3] = 0
    for given in (0.5, noise):
        denoised = WienerMixtureDenoiser(given, **FAST).fit(X).predict(X)
        np.testing.assert_allclose(denoised[:, 3], 7.0, atol=1e-6)


def test_equal_rows_are_their_own_mean():
    X = np.tile(np.arange(5.0), (30, 1))
    np.testing.assert_allclose(WienerMixtureDenoiser(0.5).fit(X).predict(X), X, atol=1e-9)


def test_rows_without_more_variance_than_the_noise_become_their_mean():
    noise = np.random.default_rng(0).normal(size=(300, 6))
    denoised = WienerMixtureDenoiser(2.0).fit(noise).predict(noise)
    np.testing.assert_allclose(denoised, np.broadcast_to(noise.mean(0), denoised.shape), atol=1e-9)


def test_weights_count_as_repetitions_and_rows_in_any_order():
    X, rng = add_noise(clusters(150), 0.5), np.random.default_rng(0)
    weights = rng.integers(0, 4, 150)
    repeated = np.repeat(X, weights, axis=0)
    expected = WienerMixtureDenoiser(0.5, random_state=0).fit(X, sample_weight=weights)
    for rows in (repeated, rng.permutation(repeated)):
        other = WienerMixtureDenoiser(0.5, random_state=0).fit(rows)
        np.testing.assert_allclose(other.predict(X), expected.predict(X), atol=1e-7)


def test_the_same_seed_gives_the_same_bits_and_another_one_other_starts():
    X = add_noise(clusters(150), 0.5)
    first, again, other = (WienerMixtureDenoiser(0.5, random_state=s).fit(X).predict(X) for s in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_single_precision_comes_back_and_frames_keep_their_names():
    X = add_noise(clusters(150), 0.5)
    frame = pd.DataFrame(X.astype(np.float32)).rename(columns=str)
    mixture = WienerMixtureDenoiser(0.5, **FAST).set_output(transform="pandas").fit(frame)
    assert mixture.predict(frame).dtype == np.float32
    assert list(mixture.transform(frame)) == list(mixture.get_feature_names_out()) == list(frame)
    double = WienerMixtureDenoiser(0.5, **FAST).fit(X).predict(X)
    # The starts depend on the order of the numbers, which rounding changes.
    assert mse(mixture.predict(frame), double) < 0.1 * 0.25


def test_images_keep_their_shape(noisy_digits):
    flat = WienerMixtureDenoiser(0.25, image_shape=(8, 8), **FAST).fit(noisy_digits)
    stack = noisy_digits.reshape(-1, 8, 8)
    images = WienerMixtureDenoiser(0.25, **FAST).fit(stack)
    assert flat.image_shape_ == images.image_shape_ == (8, 8)
    np.testing.assert_array_equal(images.predict(stack).reshape(-1, 64), flat.predict(noisy_digits))


def test_colour_images_have_a_level_for_each_channel():
    X = np.ones((80, 6, 6, 3)) * np.random.default_rng(0).normal(size=(80, 1, 1, 3))
    noise = np.array([0.1, 0.5, 1.0])
    noisy = add_noise(X, noise)
    denoised = WienerMixtureDenoiser(noise, random_state=0).fit(noisy).predict(noisy)
    assert (np.square(denoised - X).mean((0, 1, 2)) < 0.2 * noise**2).all()


def test_a_file_gives_the_same_bits(tmp_path):
    X = add_noise(clusters(150), 0.5)
    mixture = WienerMixtureDenoiser(np.linspace(0.4, 0.6, 20), random_state=0).fit(X)
    save(mixture, tmp_path / "mixture.safetensors")
    loaded = load(tmp_path / "mixture.safetensors")
    np.testing.assert_array_equal(loaded.predict(X), mixture.predict(X))
    assert loaded.choices_ == mixture.choices_


def test_a_failed_fit_leaves_the_estimator_as_it_was():
    X = add_noise(clusters(100), 0.5)
    mixture = WienerMixtureDenoiser(0.5, **FAST).fit(X)
    before = mixture.predict(X)
    with pytest.raises(ValueError, match="NaN"):
        mixture.fit(np.full((10, 4), np.nan))
    np.testing.assert_array_equal(mixture.predict(X), before)


def test_verbose_lines_name_candidates_and_never_a_psnr(capsys):
    X = add_noise(clusters(150), 0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clone(WienerMixtureDenoiser(0.5, random_state=0, verbose=1)).fit(X)
    printed = capsys.readouterr().out
    assert "5 components, shrinkage 100" in printed
    assert "average of" in printed
    assert "psnr" not in printed.lower()
