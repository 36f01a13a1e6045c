"""Classical denoisers: what is true of all loops over them; what each adds follows."""

from __future__ import annotations

import pickle
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from sk_denoise import (
    BilateralDenoiser,
    BM3DDenoiser,
    DenoisingAutoencoder,
    GaussianNoiser,
    MedianDenoiser,
    NonLocalMeansDenoiser,
    SaltAndPepperNoiser,
    TotalVariationDenoiser,
    WaveletDenoiser,
    WienerDenoiser,
    make_denoising_scorer,
)
from sk_denoise.datasets import load_images
from sk_denoise.exceptions import CleanTargetWarning
from sk_denoise.metrics import mse, psnr
from sk_denoise.restoration import estimate_sigma

LEVEL_DENOISERS = {
    "non-local means": NonLocalMeansDenoiser(),
    "total variation": TotalVariationDenoiser(),
    "wavelets": WaveletDenoiser(),
    "bilateral": BilateralDenoiser(),
    "bm3d": BM3DDenoiser(),
}
DENOISERS = {**LEVEL_DENOISERS, "median": MedianDenoiser(), "wiener": WienerDenoiser()}
SIGMA = 0.1


def smooth(n: int, *shape: int, seed: int = 0) -> np.ndarray:
    """Return smooth images in [0, 1]: waves of random direction, length and phase."""
    rng = np.random.default_rng(seed)
    down, across = np.mgrid[: shape[0], : shape[1]] / 32
    colors = shape[2:] or (1,)
    a, b, phase = rng.uniform(1, 3, (3, n, 1, 1, *colors))
    waves = np.sin(a * down[..., None] + b * across[..., None] + 2 * phase)
    return (0.5 + 0.4 * waves).reshape(n, *shape)


def with_noise(clean: np.ndarray, sigma: float = SIGMA) -> np.ndarray:
    return clean + np.random.default_rng(1).normal(0, sigma, clean.shape)


def levels_of(stack: np.ndarray) -> np.ndarray:
    return np.array([estimate_sigma(image) for image in stack])


CLEAN = smooth(60, 16, 16)
NOISY = with_noise(CLEAN)
COLOR = smooth(30, 16, 12, 3)
NOISY_COLOR = with_noise(COLOR)


NEEDS = {"wavelets": "pywt", "bm3d": "bm3d"}  # optional packages


def skip_without_its_package(name: str) -> None:
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])


@pytest.fixture(params=DENOISERS)
def denoiser(request):
    skip_without_its_package(request.param)
    return clone(DENOISERS[request.param])


@pytest.fixture(params=LEVEL_DENOISERS)
def level_denoiser(request):
    skip_without_its_package(request.param)
    return clone(LEVEL_DENOISERS[request.param])


# All of them ---------------------------------------------------------------------------------------------


def test_what_is_denoised_is_nearer_to_the_truth(denoiser):
    denoised = denoiser.fit(CLEAN).predict(NOISY)
    assert psnr(CLEAN, denoised, data_range=1) > psnr(CLEAN, NOISY, data_range=1) + 3


def test_colours_are_denoised(denoiser):
    denoised = denoiser.fit(COLOR).predict(NOISY_COLOR)
    assert denoised.shape == COLOR.shape
    assert psnr(COLOR, denoised, data_range=1) > psnr(COLOR, NOISY_COLOR, data_range=1) + 2


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_any_number_of_channels_is_denoised(denoiser, channels):
    clean = smooth(8, 16, 16, channels)
    noisy = with_noise(clean)
    assert mse(clean, denoiser.fit(clean).predict(noisy)) < mse(clean, noisy)


def test_rows_of_signals_are_denoised(denoiser):
    clean = smooth(40, 1, 120)[:, 0]
    noisy = with_noise(clean)
    denoised = denoiser.fit(clean).predict(noisy)
    assert denoiser.image_shape_ is None
    assert mse(clean, denoised) < mse(clean, noisy)


def test_all_layouts_of_the_same_images_give_the_same(denoiser):
    stack = denoiser.fit(CLEAN).predict(NOISY)
    one_channel = clone(denoiser).fit(CLEAN[..., None]).predict(NOISY[..., None])
    flat = clone(denoiser).set_params(image_shape=(16, 16)).fit(CLEAN.reshape(60, -1))
    np.testing.assert_array_equal(one_channel[..., 0], stack)
    np.testing.assert_array_equal(flat.predict(NOISY.reshape(60, -1)).reshape(stack.shape), stack)
    assert denoiser.image_shape_ == flat.image_shape_ == (16, 16)


def test_flat_colour_images_give_the_same_as_a_stack(denoiser):
    stack = denoiser.fit(COLOR).predict(NOISY_COLOR)
    flat = clone(denoiser).set_params(image_shape=[16, 12, 3]).fit(COLOR.reshape(30, -1))
    np.testing.assert_array_equal(flat.predict(NOISY_COLOR.reshape(30, -1)).reshape(stack.shape), stack)


@pytest.mark.parametrize("unit", [1e-6, 255.0, 1e6])
def test_another_unit_gives_the_same_in_that_unit(denoiser, unit):
    denoised = denoiser.fit(CLEAN).predict(NOISY)
    scaled = clone(denoiser).fit(CLEAN * unit - 3 * unit).predict(NOISY * unit - 3 * unit)
    rounding = 1e-4 if isinstance(denoiser, BM3DDenoiser) else 1e-6  # which may pass a threshold
    np.testing.assert_allclose(scaled / unit + 3, denoised, atol=rounding)


def test_an_image_does_not_depend_on_its_company(denoiser):
    denoiser.fit(CLEAN)
    np.testing.assert_allclose(denoiser.predict(NOISY)[7:9], denoiser.predict(NOISY[7:9]), atol=1e-10)


@pytest.mark.parametrize(
    ("given", "answered"),
    [
        (np.float64, np.float64),
        (">f8", np.float64),
        (np.float32, np.float32),
        (np.float16, np.float32),
        (np.uint8, np.float32),
        (np.int64, np.float32),
    ],
)
def test_precision_is_kept_and_integers_become_float32_in_their_unit(denoiser, given, answered):
    clean, noisy = ((255 * np.clip(a, 0, 1)).astype(given) for a in (CLEAN, NOISY))
    denoised = denoiser.fit(clean).predict(noisy)
    assert denoised.dtype == answered
    assert mse(clean, denoised) < mse(clean, noisy)
    assert denoiser.data_range_ == (255 if given is np.uint8 else float(clean.max()) - float(clean.min()))


def test_data_stay_as_they_are_and_may_be_read_only_or_strided(denoiser):
    backwards = NOISY[:, ::-1]
    kept = backwards.copy()
    kept.flags.writeable = False
    denoiser.fit(CLEAN[:, ::-1])
    np.testing.assert_array_equal(denoiser.predict(backwards), denoiser.predict(kept))
    np.testing.assert_array_equal(backwards, kept)


def test_the_answer_is_an_array_of_its_own(denoiser):
    plain = np.ones((2, 8, 8))
    denoised = denoiser.fit(CLEAN[:, :8, :8]).predict(plain)
    denoised[:] = 7
    assert (plain == 1).all()


@pytest.mark.parametrize("value", [0, 0.3])
def test_constant_images_stay_constant(denoiser, value):
    constant = np.full((3, 9, 9), value, dtype=np.float64)
    np.testing.assert_allclose(denoiser.fit(constant).predict(constant), constant, atol=1e-12)


def test_a_fitted_estimator_survives_pickling_and_a_clone_is_not_fitted(denoiser):
    denoiser.fit(CLEAN)
    again = pickle.loads(pickle.dumps(denoiser))
    np.testing.assert_array_equal(again.predict(NOISY), denoiser.predict(NOISY))
    with pytest.raises(NotFittedError):
        clone(denoiser).predict(NOISY)
    with pytest.raises(NotFittedError):
        clone(denoiser).score(NOISY)


def test_transform_is_predict_and_keeps_names_one_to_one(denoiser):
    frame = pd.DataFrame(NOISY.reshape(60, -1)).add_prefix("pixel")
    denoiser.set_params(image_shape=(16, 16)).fit(frame)
    names = denoiser.get_feature_names_out()
    out = denoiser.set_output(transform="pandas").transform(frame)
    assert list(names) == list(out.columns) == list(frame.columns)
    np.testing.assert_array_equal(out, denoiser.predict(frame))


@pytest.mark.parametrize(
    ("call", "source"),
    [
        (lambda d: d.fit(NOISY, X_clean=CLEAN), "X_clean"),
        (lambda d: d.fit(NOISY, np.arange(60), X_clean=CLEAN), "X_clean"),
        (lambda d: d.fit(NOISY, CLEAN), "y"),
        (lambda d: d.fit(GaussianNoiser(SIGMA, random_state=0).fit_transform(CLEAN)), "noiser"),
        (lambda d: d.fit(CLEAN), "X"),
        (lambda d: d.fit(CLEAN, CLEAN), "X"),
        (lambda d: d.fit(CLEAN, np.arange(60)), "X"),
    ],
)
def test_fit_takes_the_calls_of_an_autoencoder_and_finds_the_clean_side(denoiser, call, source):
    call(denoiser)
    assert denoiser.target_source_ == source
    assert denoiser.data_range_ == pytest.approx(np.ptp(CLEAN))
    assert mse(CLEAN, denoiser.predict(NOISY)) < mse(CLEAN, NOISY)


def test_a_clean_side_that_equals_x_warns_where_the_caller_stands(denoiser):
    with pytest.warns(CleanTargetWarning, match="no noise to learn from") as warned:
        denoiser.fit(CLEAN, X_clean=CLEAN)
    assert warned[0].filename == __file__


def test_score_means_the_same_as_that_of_an_autoencoder(denoiser):
    denoiser.fit(CLEAN)
    dae = DenoisingAutoencoder(max_epochs=1, random_state=0).fit(CLEAN)
    dae.predict = denoiser.predict
    pair = GaussianNoiser(SIGMA, random_state=0).fit_transform(CLEAN)
    by_hand = psnr(CLEAN, denoiser.predict(NOISY), data_range=float(np.ptp(CLEAN)))
    assert denoiser.score(NOISY, CLEAN) == dae.score(NOISY, CLEAN) == pytest.approx(by_hand)
    assert denoiser.score(CLEAN) == dae.score(CLEAN) == denoiser.score(CLEAN, CLEAN)
    assert denoiser.score(pair) == dae.score(pair)


def test_flat_rows_are_scored_as_an_autoencoder_scores_them(denoiser):
    rows = CLEAN.reshape(60, -1)
    denoiser.fit(rows)
    dae = DenoisingAutoencoder(max_epochs=1, random_state=0).fit(rows)
    dae.predict = denoiser.predict
    assert denoiser.score(rows) == dae.score(rows)


def test_a_pipeline_learns_behind_a_noiser_and_denoises(denoiser):
    noiser = GaussianNoiser(SIGMA, random_state=0)
    pipeline = Pipeline([("noise", noiser), ("denoiser", denoiser)]).fit(CLEAN)
    assert mse(CLEAN, pipeline.predict(NOISY)) < mse(CLEAN, NOISY)
    assert pipeline.score(NOISY, CLEAN) == pipeline[-1].score(NOISY, CLEAN)


def test_one_search_compares_all_of_them_with_a_network():
    scorer = make_denoising_scorer(GaussianNoiser(SIGMA, random_state=0), metric="ssim", data_range=1)
    dae = DenoisingAutoencoder(max_epochs=1, random_state=0)
    candidates = [NonLocalMeansDenoiser(), MedianDenoiser(), WienerDenoiser(), dae]
    search = GridSearchCV(Pipeline([("denoiser", dae)]), {"denoiser": candidates}, scoring=scorer, cv=2)
    search.fit(CLEAN)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert not isinstance(search.best_estimator_[-1], DenoisingAutoencoder)  # of a single epoch


@pytest.mark.parametrize("image_shape", [(256,), (4, 4, 4, 4), (16, 17), (16, 16, 3)])
def test_an_image_shape_that_does_not_fit_is_refused(denoiser, image_shape):
    with pytest.raises(ValueError, match="image_shape"):
        denoiser.set_params(image_shape=image_shape).fit(CLEAN.reshape(60, -1))


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (NOISY[:, :8], "fitted on samples of shape"),
        (NOISY[0], "needs a first axis"),
        (np.full((2, 16, 16), np.nan), "NaN"),
    ],
)
def test_samples_of_another_shape_or_not_finite_are_refused(denoiser, X, message):
    denoiser.fit(CLEAN)
    with pytest.raises(ValueError, match=message):
        denoiser.predict(X)


# Methods that are told the level of the noise ------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong", [{"sigma": 0}, {"sigma": -1.0}, {"sigma": "guess"}, {"strength": 0}, {"strength": "high"}]
)
def test_a_level_or_strength_that_cannot_be_is_refused(level_denoiser, wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        level_denoiser.set_params(**wrong).fit(CLEAN)


def test_the_level_is_estimated_for_each_image(level_denoiser):
    mixed = np.concatenate([with_noise(CLEAN[:5], 0.02), with_noise(CLEAN[:5], 0.2)])
    denoised = level_denoiser.fit(CLEAN).predict(mixed)
    for part in (slice(0, 5), slice(5, 10)):
        assert mse(CLEAN[:5], denoised[part]) < mse(CLEAN[:5], mixed[part])


def test_a_level_that_is_given_is_used(level_denoiser):
    levels = levels_of(NOISY[:1])
    automatic = level_denoiser.fit(CLEAN).predict(NOISY[:1])
    given = clone(level_denoiser).set_params(sigma=float(levels[0])).fit(CLEAN).predict(NOISY[:1])
    weaker = clone(level_denoiser).set_params(sigma=float(levels[0]) / 2).fit(CLEAN).predict(NOISY[:1])
    np.testing.assert_array_equal(given, automatic)
    assert mse(NOISY[:1], weaker) < mse(NOISY[:1], given)


def test_strength_can_be_searched_under_fixed_noise(level_denoiser):
    scorer = make_denoising_scorer(GaussianNoiser(SIGMA, random_state=0), data_range=1)
    search = GridSearchCV(level_denoiser, {"strength": [0.01, level_denoiser.strength]}, scoring=scorer, cv=2)
    assert search.fit(CLEAN[:10]).best_params_["strength"] > 0.01


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 1), (2, 2), (3, 3), (8, 8), (1, 9), (9, 1)])
def test_images_of_a_few_pixels_are_taken(level_denoiser, shape):
    few = np.random.default_rng(0).normal(size=(4, *shape))
    denoised = level_denoiser.fit(few).predict(few)
    assert denoised.shape == few.shape
    assert np.isfinite(denoised).all()


@pytest.mark.parametrize(
    ("denoiser", "least"),
    [(NonLocalMeansDenoiser(), 7.5), (TotalVariationDenoiser(), 7.5), (BilateralDenoiser(), 7)],
)
def test_photographs_gain_as_much_as_was_measured(denoiser, least):
    photo = load_images("gray").test[0][None, 60:188, 60:188]  # the face of a cat
    noisy = with_noise(photo).astype(np.float32)
    denoised = denoiser.fit(photo).predict(noisy)
    assert psnr(photo, denoised, data_range=1) > psnr(photo, noisy, data_range=1) + least


@pytest.mark.parametrize("patch_size", [1, 4, 3.5])
def test_non_local_means_refuses_patches_without_surroundings_or_middle(patch_size):
    with pytest.raises(ValueError, match="patch_size"):
        NonLocalMeansDenoiser(patch_size=patch_size).fit(CLEAN)


def test_total_variation_iterates_to_its_tolerance_or_as_often_as_it_may():
    few, many, loose = (
        TotalVariationDenoiser(**parameters).fit(CLEAN).predict(NOISY[:3])
        for parameters in ({"max_num_iter": 2}, {"tol": 1e-9}, {"tol": 0.1})
    )
    assert mse(CLEAN[:3], many) < mse(CLEAN[:3], few)
    assert not np.array_equal(many, loose)


def test_the_bilateral_filter_weighs_by_distance_and_difference():
    image = np.zeros((1, 9, 9))
    image[0, 4, 4] = 1e-9  # a level of 1 sees no difference
    spot = BilateralDenoiser(sigma=1.0, sigma_spatial=1.0).fit(image).predict(image)[0] / 1e-9
    down, across = np.mgrid[-3:4, -3:4]
    expected = np.exp(-(down**2 + across**2) / 2)
    np.testing.assert_allclose(spot[1:-1, 1:-1], expected / expected.sum(), atol=1e-6)
    edge = np.repeat([[0.0, 1.0]], 8, axis=1).repeat(8, axis=0)[None]
    np.testing.assert_allclose(BilateralDenoiser(sigma=0.05).fit(edge).predict(edge), edge, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("wavelets", r'pip install "sk-denoise\[wavelets\]"'),
        ("bm3d", r'pip install "sk-denoise\[bm3d\]".*non-commercial use only'),
    ],
)
def test_a_package_that_is_missing_is_named_with_the_way_to_it(monkeypatch, name, words):
    monkeypatch.setitem(sys.modules, NEEDS[name], None)
    with pytest.raises(ImportError, match=words):
        DENOISERS[name].fit(CLEAN)


def test_an_unknown_wavelet_is_answered_with_the_nearest():
    pytest.importorskip("pywt")
    with pytest.raises(ValueError, match=r"wavelet 'db99'.*Did you mean 'db"):
        WaveletDenoiser(wavelet="db99").fit(CLEAN)


# The median ----------------------------------------------------------------------------------------------


def test_the_median_removes_salt_and_pepper():
    noisy = np.asarray(SaltAndPepperNoiser(0.1, random_state=0).fit_transform(CLEAN))
    denoised = MedianDenoiser().fit(CLEAN).predict(noisy)
    assert mse(CLEAN, denoised) < mse(CLEAN, noisy) / 10


@pytest.mark.parametrize("size", [0, 2, 1.5, "big"])
def test_a_neighbourhood_without_a_middle_is_refused(size):
    with pytest.raises(ValueError, match="size"):
        MedianDenoiser(size=size).fit(CLEAN)


def test_the_median_keeps_images_and_channels_apart():
    X = np.zeros((3, 5, 5, 3))
    X[1, ..., 1] = 1
    np.testing.assert_array_equal(MedianDenoiser(size=5).fit_transform(X), X)


# The Wiener filter ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sigma", "reference"), [(0.25, 0.0204), (0.5, 0.0421)])
@pytest.mark.parametrize("level", ["known", "shown", "estimated"])
def test_the_wiener_filter_reaches_the_reference_on_digits(digits, sigma, reference, level):
    wiener = WienerDenoiser(sigma if level == "known" else "auto")
    training = GaussianNoiser(sigma, random_state=0).fit_transform(digits.train)
    wiener.fit(training if level == "shown" else digits.train)
    assert mse(digits.test, wiener.predict(digits.noisy_test(sigma))) < reference
    assert (wiener.sigma_ is None) == (level == "estimated")
    assert level != "shown" or wiener.sigma_ == pytest.approx(sigma, rel=0.02)


def test_the_wiener_filter_is_the_formula_of_the_textbook(digits):
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
def test_axes_beyond_n_components_share_what_is_left(digits, n_components):
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


def test_noise_that_was_shown_is_known_for_each_feature_of_a_table():
    X = load_breast_cancer().data  # features of very different units
    noiser = GaussianNoiser(0.25, scale="std", random_state=0)
    noisy = np.asarray(noiser.fit_transform(X))
    for wiener in (WienerDenoiser().fit(noiser.fit_transform(X)), WienerDenoiser().fit(noisy, X)):
        error = mse(X / X.std(0), wiener.predict(noisy) / X.std(0))
        assert error < 0.6 * mse(X / X.std(0), noisy / X.std(0))


def test_few_samples_shrink_the_covariance_where_features_have_noise_of_their_own():
    X = load_breast_cancer().data
    noiser = GaussianNoiser(0.25, scale="std", random_state=0)
    noisy = np.asarray(noiser.fit_transform(X))
    wiener = WienerDenoiser().fit(noiser.fit_transform(X[:20]))
    assert 0 < wiener.shrinkage_ < 1
    assert mse(X / X.std(0), wiener.predict(noisy) / X.std(0)) < mse(X / X.std(0), noisy / X.std(0))


def test_a_feature_without_noise_stays_as_it_is():
    X = np.random.default_rng(0).normal(size=(200, 3)) @ [[1.0, 0.9, 0.8], [0, 0.1, 0], [0, 0, 0.1]]
    noisy = X + np.random.default_rng(1).normal(size=X.shape) * [0.5, 0.5, 0]
    denoised = WienerDenoiser().fit(noisy, X).predict(noisy)
    np.testing.assert_allclose(denoised[:, 2], X[:, 2], atol=1e-4)
    assert mse(X[:, :2], denoised[:, :2]) < mse(X[:, :2], noisy[:, :2]) / 5


def test_a_pair_without_noise_is_given_back():
    with pytest.warns(CleanTargetWarning):
        wiener = WienerDenoiser().fit(CLEAN, X_clean=CLEAN)
    assert wiener.sigma_ == 0
    np.testing.assert_allclose(wiener.predict(CLEAN), CLEAN, atol=0.01)


def test_more_rows_than_are_denoised_at_once_give_the_same(digits):
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


# The level of the noise ----------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [0.02, 0.1, 0.3])
@pytest.mark.parametrize("shape", [(128, 128), (128, 96, 3), (1, 8000)])
def test_the_level_is_estimated_within_a_tenth_for_every_image(sigma, shape):
    estimates = levels_of(with_noise(smooth(8, *shape), sigma))
    assert estimates.shape == (8,)
    np.testing.assert_allclose(estimates, sigma, rtol=0.1)


def test_each_image_has_a_level_of_its_own_in_the_unit_of_the_data():
    clean = smooth(3, 128, 128)
    levels = np.array([0.02, 0.1, 0.3])
    noisy = clean + np.random.default_rng(0).normal(size=clean.shape) * levels[:, None, None]
    np.testing.assert_allclose(levels_of(noisy), levels, rtol=0.1)
    np.testing.assert_allclose(levels_of(255 * noisy), 255 * levels_of(noisy))
    np.testing.assert_allclose(levels_of((2000 * noisy).astype(np.int32)), 2000 * levels, rtol=0.1)


def test_channels_are_averaged():
    noisy = with_noise(smooth(2, 32, 32, 3))
    of_each = [levels_of(noisy[..., channel]) for channel in range(3)]
    np.testing.assert_allclose(levels_of(noisy), np.mean(of_each, axis=0))


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 1), (2, 2), (1, 9), (9, 9), (9, 9, 3)])
def test_a_constant_image_has_no_noise_whatever_its_size(shape):
    np.testing.assert_array_equal(levels_of(np.full((2, *shape), 0.7)), [0, 0])


def test_plain_slopes_and_products_of_slopes_are_no_noise():
    down, across = np.mgrid[:20, :30]
    np.testing.assert_allclose(levels_of((3 * down - across)[None]), 0, atol=1e-9)
    np.testing.assert_allclose(levels_of((down * across + down**2)[None]), 0, atol=1e-9)


def test_photographs_without_noise_have_little():
    photos = [photo[None, :256, :256] for photo in load_images("gray").test]
    assert max(float(levels_of(photo)[0]) for photo in photos) < 0.02


def test_a_fit_that_fails_leaves_the_filter_as_it_was():
    X = np.random.default_rng(0).random((3, 12, 10))
    median = MedianDenoiser().fit(X)
    with pytest.raises(ValueError, match="X_clean has shape"):
        median.fit(X[:, :10], X_clean=X[:, :3])
    assert median.predict(X).shape == X.shape
