"""Quality without the truth: margins, coverage, refused cases."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sk_denoise import (
    DenoisingAutoencoder,
    GaussianNoiser,
    MedianDenoiser,
    NonLocalMeansDenoiser,
    WienerDenoiser,
)
from sk_denoise.metrics import estimate_quality, make_self_supervised_scorer, psnr_of_mse
from sk_denoise.restoration import NoiseModel

DIGITS = load_digits().data / 16
SIGMA = 0.25


def add_noise(X, seed=0, sigma=SIGMA):
    return X + np.random.default_rng(seed).normal(0, sigma, X.shape)


def true_psnr(prediction, truth, data_range=1.0):
    return float(psnr_of_mse(np.mean(np.square(prediction - truth)), data_range))


@pytest.fixture(scope="module")
def wiener():
    return WienerDenoiser(sigma=SIGMA).fit(DIGITS[:1000])


def test_rows_are_close_to_the_truth_and_intervals_cover_it(wiener):
    pca = PCA(20).fit(DIGITS[:1000])
    pipeline = make_pipeline(StandardScaler(), PCA(20)).fit(DIGITS[:1000])
    functions = {
        wiener: wiener.predict,
        pca: lambda X: pca.inverse_transform(pca.transform(X)),
        pipeline: lambda X: pipeline.inverse_transform(pipeline.transform(X)),
    }
    errors, hits = [], []
    for seed in range(8):
        noisy = add_noise(DIGITS[1000:1400], seed)
        for denoiser, function in functions.items():
            quality = estimate_quality(denoiser, noisy, noise=SIGMA, data_range=1, random_state=seed)
            truth = true_psnr(function(noisy), DIGITS[1000:1400])
            errors.append(abs(quality.psnr - truth))
            hits.append(quality.interval[0] <= truth <= quality.interval[1])
            assert quality.noisy_psnr == pytest.approx(psnr_of_mse(SIGMA**2, 1))
    assert np.quantile(errors, 0.9) < 0.3
    assert np.mean(hits) >= 0.75


@pytest.mark.slow
def test_networks_have_exact_derivatives():
    dae = DenoisingAutoencoder(noise=GaussianNoiser(SIGMA), max_epochs=2, random_state=0).fit(DIGITS[:1000])
    noisy = add_noise(DIGITS[1000:])
    forward = estimate_quality(dae, noisy, noise=SIGMA, data_range=1)
    differences = estimate_quality(dae.predict, noisy, noise=SIGMA, data_range=1)
    assert forward.mse == pytest.approx(differences.mse, rel=0.01)
    assert forward.psnr == pytest.approx(true_psnr(dae.predict(noisy), DIGITS[1000:]), abs=0.3)


def test_separate_levels_of_columns(wiener):
    levels = np.linspace(0.05, 0.4, 64)
    noisy = DIGITS + levels * np.random.default_rng(0).normal(size=DIGITS.shape)
    quality = estimate_quality(wiener, noisy, noise=levels, data_range=1)
    assert quality.psnr == pytest.approx(true_psnr(wiener.predict(noisy), DIGITS), abs=0.3)
    one = estimate_quality(wiener, noisy, noise=float(np.sqrt(np.mean(levels**2))), data_range=1)
    assert one.noisy_psnr == pytest.approx(quality.noisy_psnr)


def test_words_and_fields(wiener):
    quality = estimate_quality(wiener, add_noise(DIGITS[1000:]), noise=SIGMA, data_range=1)
    assert "90 % confidence" in str(quality)
    assert "more than the noisy data" in str(quality)
    assert quality.n == 797 * 64
    harmful = estimate_quality(lambda X: 0 * X, add_noise(DIGITS[1000:]), noise=0.05, data_range=1)
    assert "less than the noisy data" in str(harmful)


@pytest.mark.parametrize(
    ("noise", "message"),
    [
        (NoiseModel("camera", 0.1, correlation_length=1.5), "correlated"),
        (NoiseModel("none", 0.0), "without noise"),
        (None, "None"),
        (0.0, "above 0"),
        ("loud", "auto"),
    ],
)
def test_noise_without_an_estimate_is_refused(wiener, noise, message):
    with pytest.raises(ValueError, match=message):
        estimate_quality(wiener, add_noise(DIGITS[:50]), noise=noise)


def test_an_estimated_level_widens_the_interval():
    factors = np.random.default_rng(0).normal(size=(300, 3)) @ np.random.default_rng(1).normal(size=(3, 40))
    noisy = add_noise(factors, 2, 0.8)
    pca = PCA(3).fit(add_noise(factors, 3, 0.8))
    known, estimated = (estimate_quality(pca, noisy, noise=noise, data_range=1) for noise in (0.8, "auto"))
    assert np.ptp(estimated.interval) > 1.5 * np.ptp(known.interval)
    truth = true_psnr(pca.inverse_transform(pca.transform(noisy)), factors)
    assert estimated.interval[0] < truth < estimated.interval[1]
    independent = np.random.default_rng(0).normal(size=(100, 5))
    with pytest.raises(ValueError, match="noise"):
        estimate_quality(PCA(2).fit(independent), independent, noise="auto")


def test_clipped_data_are_refused(wiener):
    with pytest.raises(ValueError, match="clipped"):
        estimate_quality(wiener, add_noise(DIGITS).clip(0, 1), noise=SIGMA)


def test_denoisers_that_round_are_refused():
    images = np.rint(add_noise(200 * DIGITS[:100].reshape(-1, 8, 8), sigma=3) + 300)
    for rounding in (lambda X: 8 * np.rint(X / 8), lambda X: 0.7 * X.astype(np.int64)):
        with pytest.raises(ValueError, match="rounds"):
            estimate_quality(rounding, images, noise=3.0, data_range=255)


def test_constant_and_identical_denoisers():
    noisy = add_noise(DIGITS)
    identity = estimate_quality(lambda X: X, noisy, noise=SIGMA, data_range=1)
    assert identity.mse == pytest.approx(SIGMA**2, rel=1e-6)
    constant = estimate_quality(lambda X: np.full_like(X, 0.3), noisy, noise=SIGMA, data_range=1)
    assert constant.psnr == pytest.approx(true_psnr(0.3, DIGITS), abs=0.1)


def test_lists_of_images_of_different_sizes():
    clean = [np.tile(np.linspace(0, 1, n), (40, 1)) for n in (50, 60)]
    noisy = [add_noise(image, seed, 0.1) for seed, image in enumerate(clean)]
    quality = estimate_quality(
        lambda images: [MedianDenoiser(5).fit(x[None]).predict(x[None])[0] for x in images],
        noisy,
        noise=0.1,
        data_range=1,
    )
    assert quality.n == 40 * 110
    assert quality.interval[0] < quality.psnr < quality.interval[1]


def test_outputs_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="shape"):
        estimate_quality(lambda X: X[:, :3], add_noise(DIGITS[:50]), noise=SIGMA)
    with pytest.raises(TypeError, match="function"):
        estimate_quality(3, add_noise(DIGITS[:50]), noise=SIGMA)


def test_counts_at_low_peaks():
    for peak in (3, 30):
        clean = peak * DIGITS
        noisy = np.random.default_rng(0).poisson(clean).astype(float)
        filter_ = WienerDenoiser().fit(noisy[:1000], X_clean=clean[:1000])
        model = NoiseModel("counts", peak**0.5, gain=1.0)
        quality = estimate_quality(filter_, noisy[1000:], noise=model, data_range=peak)
        truth = true_psnr(filter_.predict(noisy[1000:]), clean[1000:], peak)
        assert quality.psnr == pytest.approx(truth, abs=0.4)


def test_a_denoiser_that_bends_within_a_count():
    clean = np.full((500, 500), 2.0)
    noisy = np.random.default_rng(0).poisson(clean).astype(float)
    model = NoiseModel("counts", 2**0.5, gain=1.0)
    quality = estimate_quality(lambda X: np.sqrt(X + 0.4) + 0.5, noisy, noise=model, data_range=10)
    assert quality.psnr == pytest.approx(true_psnr(np.sqrt(noisy + 0.4) + 0.5, clean, 10), abs=0.3)


@pytest.mark.parametrize("method", ["sure", "blind"])
def test_searches_find_the_best_number_of_components(method):
    factors = np.random.default_rng(0).normal(size=(300, 4)) @ np.random.default_rng(1).normal(size=(4, 30))
    noisy = add_noise(factors, 2, 0.8)
    noise = 0.8 if method == "sure" else None
    scorer = make_self_supervised_scorer(method, noise=noise)
    search = GridSearchCV(PCA(), {"n_components": [1, 4, 25]}, scoring=scorer, cv=3).fit(noisy)
    assert search.best_params_ == {"n_components": 4}
    pipeline = make_pipeline(StandardScaler(), PCA())
    search = GridSearchCV(pipeline, {"pca__n_components": [1, 4, 25]}, scoring=scorer, cv=3).fit(noisy)
    assert search.best_params_ == {"pca__n_components": 4}


@pytest.mark.parametrize("method", ["sure", "blind"])
def test_searches_find_the_strength_of_a_filter(method):
    clean = np.tile(np.sin(np.linspace(0, 9, 48)), (6, 48, 1)) * np.linspace(0.5, 1, 48)[:, None]
    noisy = add_noise(clean, sigma=0.2)
    scorer = make_self_supervised_scorer(method, noise=0.2 if method == "sure" else None)
    grid = {"sigma": [0.02, 0.2]}
    search = GridSearchCV(NonLocalMeansDenoiser(), grid, scoring=scorer, cv=2).fit(noisy)
    assert search.best_params_ == {"sigma": 0.2}


def test_scorers_are_pickled_and_repeat(wiener):
    noisy = add_noise(DIGITS[1000:1100])
    for scorer in (make_self_supervised_scorer(noise=SIGMA), make_self_supervised_scorer("blind")):
        copy = pickle.loads(pickle.dumps(scorer))
        assert scorer(wiener, noisy) == scorer(clone(wiener).fit(DIGITS[:1000]), noisy) == copy(wiener, noisy)


def test_scorers_refuse_wrong_input(wiener):
    with pytest.raises(ValueError, match="needs the noise"):
        make_self_supervised_scorer("sure")
    with pytest.raises(ValueError, match="neither noise"):
        make_self_supervised_scorer("blind", noise=0.1)
    with pytest.raises(ValueError, match="Unknown method"):
        make_self_supervised_scorer("truth")
    noiser = make_pipeline(GaussianNoiser(0.1, apply="always"), WienerDenoiser()).fit(DIGITS[:100])
    with pytest.raises(ValueError, match="adds noise"):
        make_self_supervised_scorer("blind")(noiser, add_noise(DIGITS[:50]))


def test_a_denoiser_fitted_to_the_same_numbers(wiener):
    noisy = add_noise(DIGITS[:300], sigma=0.5)
    # A nearest neighbour returns the noisy rows that it was fitted to.
    memory = KNeighborsRegressor(1).fit(noisy, noisy)
    with pytest.raises(ValueError, match="stored"):
        estimate_quality(memory, noisy, noise=0.5, data_range=1)

    with pytest.raises(ValueError, match="fitted to these very numbers, or the noise is weaker"):
        estimate_quality(wiener, add_noise(DIGITS, sigma=0.02), noise=SIGMA, data_range=1)

    def fit_and_project(X):
        pca = PCA(16, random_state=0).fit(X)
        return pca.inverse_transform(pca.transform(X))

    truth = true_psnr(fit_and_project(noisy), DIGITS[:300])
    pca = PCA(16, random_state=0).fit(noisy)
    same = estimate_quality(pca, noisy, noise=0.5, data_range=1)
    with_fit = estimate_quality(fit_and_project, noisy, noise=0.5, data_range=1)
    assert same.psnr > truth + 0.5
    assert with_fit.psnr == pytest.approx(truth, abs=0.5)
