"""Filters: tests of all filters, then of each."""

from __future__ import annotations

import pickle
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
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


OPTIONAL_PACKAGES = {"wavelets": "pywt", "bm3d": "bm3d"}


def skip_without_package(name: str) -> None:
    if name in OPTIONAL_PACKAGES:
        pytest.importorskip(OPTIONAL_PACKAGES[name])


@pytest.fixture(params=DENOISERS)
def denoiser(request):
    skip_without_package(request.param)
    return clone(DENOISERS[request.param])


@pytest.fixture(params=LEVEL_DENOISERS)
def level_denoiser(request):
    skip_without_package(request.param)
    return clone(LEVEL_DENOISERS[request.param])


# All of them -------------------------------------------------------------------------------------------


def test_denoised_images_are_closer_to_clean_ones(denoiser):
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


def test_all_layouts_of_images_give_the_same_result(denoiser):
    stack = denoiser.fit(CLEAN).predict(NOISY)
    one_channel = clone(denoiser).fit(CLEAN[..., None]).predict(NOISY[..., None])
    flat = clone(denoiser).set_params(image_shape=(16, 16)).fit(CLEAN.reshape(60, -1))
    np.testing.assert_array_equal(one_channel[..., 0], stack)
    np.testing.assert_array_equal(flat.predict(NOISY.reshape(60, -1)).reshape(stack.shape), stack)
    assert denoiser.image_shape_ == flat.image_shape_ == (16, 16)


def test_flat_colour_images_give_the_result_of_a_stack(denoiser):
    stack = denoiser.fit(COLOR).predict(NOISY_COLOR)
    flat = clone(denoiser).set_params(image_shape=[16, 12, 3]).fit(COLOR.reshape(30, -1))
    np.testing.assert_array_equal(flat.predict(NOISY_COLOR.reshape(30, -1)).reshape(stack.shape), stack)


@pytest.mark.parametrize("unit", [1e-6, 255.0, 1e6])
def test_results_scale_with_the_unit(denoiser, unit):
    denoised = denoiser.fit(CLEAN).predict(NOISY)
    scaled = clone(denoiser).fit(CLEAN * unit - 3 * unit).predict(NOISY * unit - 3 * unit)
    # Single precision may move a coefficient of BM3D across a threshold.
    rounding = 1e-4 if isinstance(denoiser, BM3DDenoiser) else 1e-6
    np.testing.assert_allclose(scaled / unit + 3, denoised, atol=rounding)


def test_images_are_denoised_independently(denoiser):
    denoiser.fit(CLEAN)
    np.testing.assert_allclose(denoiser.predict(NOISY)[7:9], denoiser.predict(NOISY[7:9]), atol=1e-10)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (np.float64, np.float64),
        (">f8", np.float64),
        (np.float32, np.float32),
        (np.float16, np.float32),
        (np.uint8, np.float32),
        (np.int64, np.float32),
    ],
)
def test_precision_is_kept_and_integers_become_float32_in_their_unit(denoiser, given, expected):
    clean, noisy = ((255 * np.clip(a, 0, 1)).astype(given) for a in (CLEAN, NOISY))
    denoised = denoiser.fit(clean).predict(noisy)
    assert denoised.dtype == expected
    assert mse(clean, denoised) < mse(clean, noisy)
    assert denoiser.data_range_ == (255 if given is np.uint8 else float(clean.max()) - float(clean.min()))


def test_data_are_unchanged_and_may_be_read_only_or_strided(denoiser):
    backwards = NOISY[:, ::-1]
    kept = backwards.copy()
    kept.flags.writeable = False
    denoiser.fit(CLEAN[:, ::-1])
    np.testing.assert_array_equal(denoiser.predict(backwards), denoiser.predict(kept))
    np.testing.assert_array_equal(backwards, kept)


def test_the_result_is_a_new_array(denoiser):
    plain = np.ones((2, 8, 8))
    denoised = denoiser.fit(CLEAN[:, :8, :8]).predict(plain)
    denoised[:] = 7
    assert (plain == 1).all()


@pytest.mark.parametrize("value", [0, 0.3])
def test_constant_images_stay_constant(denoiser, value):
    constant = np.full((3, 9, 9), value, dtype=np.float64)
    np.testing.assert_allclose(denoiser.fit(constant).predict(constant), constant, atol=1e-12)


def test_a_pickle_is_fitted_and_a_clone_is_not(denoiser):
    denoiser.fit(CLEAN)
    again = pickle.loads(pickle.dumps(denoiser))
    np.testing.assert_array_equal(again.predict(NOISY), denoiser.predict(NOISY))
    with pytest.raises(NotFittedError):
        clone(denoiser).predict(NOISY)
    with pytest.raises(NotFittedError):
        clone(denoiser).score(NOISY)


def test_transform_is_predict_and_keeps_names_one_to_one(denoiser):
    frame = pd.DataFrame(NOISY.reshape(60, -1)).add_prefix("pixel")
    denoiser.set_params(image_shape=(16, 16)).fit(frame, frame)
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
def test_fit_takes_the_arguments_of_an_autoencoder(denoiser, call, source):
    call(denoiser)
    assert denoiser.target_source_ == source
    assert denoiser.data_range_ == pytest.approx(np.ptp(CLEAN))
    assert mse(CLEAN, denoiser.predict(NOISY)) < mse(CLEAN, NOISY)


def test_a_clean_side_that_equals_x_warns_at_the_line_of_the_caller(denoiser):
    with pytest.warns(CleanTargetWarning, match="no noise to learn from") as warned:
        denoiser.fit(CLEAN, X_clean=CLEAN)
    assert warned[0].filename == __file__


def test_score_equals_that_of_an_autoencoder(denoiser):
    denoiser.fit(CLEAN)
    dae = DenoisingAutoencoder(max_epochs=1, random_state=0).fit(CLEAN)
    dae.predict = denoiser.predict
    pair = GaussianNoiser(SIGMA, random_state=0).fit_transform(CLEAN)
    by_hand = psnr(CLEAN, denoiser.predict(NOISY), data_range=float(np.ptp(CLEAN)))
    assert denoiser.score(NOISY, CLEAN) == dae.score(NOISY, CLEAN) == pytest.approx(by_hand)
    assert denoiser.score(CLEAN) == dae.score(CLEAN) == denoiser.score(CLEAN, CLEAN)
    assert denoiser.score(pair) == dae.score(pair)


@pytest.mark.slow
def test_scores_of_flat_rows_equal_those_of_an_autoencoder(denoiser):
    rows = CLEAN.reshape(60, -1)
    denoiser.fit(rows)
    dae = DenoisingAutoencoder(max_epochs=1, random_state=0).fit(rows)
    dae.predict = denoiser.predict
    assert denoiser.score(rows) == dae.score(rows)


def test_a_pipeline_with_a_noiser_denoises(denoiser):
    noiser = GaussianNoiser(SIGMA, random_state=0)
    pipeline = Pipeline([("noise", noiser), ("denoiser", denoiser)]).fit(CLEAN)
    assert mse(CLEAN, pipeline.predict(NOISY)) < mse(CLEAN, NOISY)
    assert pipeline.score(NOISY, CLEAN) == pipeline[-1].score(NOISY, CLEAN)


@pytest.mark.slow
def test_one_search_compares_filters_with_a_network():
    scorer = make_denoising_scorer(GaussianNoiser(SIGMA, random_state=0), metric="ssim", data_range=1)
    dae = DenoisingAutoencoder(max_epochs=1, random_state=0)
    candidates = [NonLocalMeansDenoiser(), MedianDenoiser(), WienerDenoiser(), dae]
    search = GridSearchCV(Pipeline([("denoiser", dae)]), {"denoiser": candidates}, scoring=scorer, cv=2)
    search.fit(CLEAN)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    # A single epoch is not enough for the network.
    assert not isinstance(search.best_estimator_[-1], DenoisingAutoencoder)


@pytest.mark.parametrize("image_shape", [(256,), (4, 4, 4, 4), (16, 17), (16, 16, 3)])
def test_image_shapes_of_other_samples_are_refused(denoiser, image_shape):
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


def test_a_failed_fit_leaves_the_filter_unchanged():
    X = np.random.default_rng(0).random((3, 12, 10))
    median = MedianDenoiser().fit(X)
    with pytest.raises(ValueError, match="X_clean has shape"):
        median.fit(X[:, :10], X_clean=X[:, :3])
    assert median.predict(X).shape == X.shape


# Filters with a noise level ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong", [{"sigma": 0}, {"sigma": -1.0}, {"sigma": "guess"}, {"strength": 0}, {"strength": "high"}]
)
def test_invalid_levels_and_strengths_are_refused(level_denoiser, wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        level_denoiser.set_params(**wrong).fit(CLEAN)


def test_the_level_is_estimated_for_each_image(level_denoiser):
    mixed = np.concatenate([with_noise(CLEAN[:5], 0.02), with_noise(CLEAN[:5], 0.2)])
    denoised = level_denoiser.fit(CLEAN).predict(mixed)
    for part in (slice(0, 5), slice(5, 10)):
        assert mse(CLEAN[:5], denoised[part]) < mse(CLEAN[:5], mixed[part])


def test_a_given_level_is_used(level_denoiser):
    levels = levels_of(NOISY[:1])
    automatic = level_denoiser.fit(CLEAN).predict(NOISY[:1])
    given = clone(level_denoiser).set_params(sigma=float(levels[0])).fit(CLEAN).predict(NOISY[:1])
    weaker = clone(level_denoiser).set_params(sigma=float(levels[0]) / 2).fit(CLEAN).predict(NOISY[:1])
    np.testing.assert_array_equal(given, automatic)
    assert mse(NOISY[:1], weaker) < mse(NOISY[:1], given)


def test_strength_can_be_searched_under_fixed_noise(level_denoiser):
    scorer = make_denoising_scorer(GaussianNoiser(SIGMA, random_state=0), data_range=1)
    search = GridSearchCV(level_denoiser, {"strength": [0.01, 0.8]}, scoring=scorer, cv=2)
    assert search.fit(CLEAN[:10]).best_params_["strength"] > 0.01


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 1), (2, 2), (3, 3), (8, 8), (1, 9), (9, 1)])
def test_images_of_a_few_pixels_are_denoised(level_denoiser, shape):
    images = np.random.default_rng(0).normal(size=(4, *shape))
    denoised = level_denoiser.fit(images).predict(images)
    assert denoised.shape == images.shape
    assert np.isfinite(denoised).all()


@pytest.mark.parametrize(
    ("denoiser", "min_gain"),
    [(NonLocalMeansDenoiser(), 7.5), (TotalVariationDenoiser(), 7.5), (BilateralDenoiser(), 7)],
)
def test_photographs_gain_as_much_as_was_measured(denoiser, min_gain):
    photo = load_images("gray").test[0][None, 60:188, 60:188]
    noisy = with_noise(photo).astype(np.float32)
    denoised = denoiser.fit(photo).predict(noisy)
    assert psnr(photo, denoised, data_range=1) > psnr(photo, noisy, data_range=1) + min_gain


@pytest.mark.parametrize("patch_size", [1, 4, 3.5])
def test_non_local_means_refuses_invalid_patch_sizes(patch_size):
    with pytest.raises(ValueError, match="patch_size"):
        NonLocalMeansDenoiser(patch_size=patch_size).fit(CLEAN)


def test_total_variation_iterates_to_its_tolerance_or_limit():
    short, long, loose = (
        TotalVariationDenoiser(**parameters).fit(CLEAN).predict(NOISY[:3])
        for parameters in ({"max_num_iter": 2}, {"tol": 1e-9}, {"tol": 0.1})
    )
    assert mse(CLEAN[:3], long) < mse(CLEAN[:3], short)
    assert not np.array_equal(long, loose)


def test_the_bilateral_filter_weighs_by_distance_and_difference():
    image = np.zeros((1, 9, 9))
    # No difference in comparison with a level of 1.
    image[0, 4, 4] = 1e-9
    spot = BilateralDenoiser(sigma=1.0, sigma_spatial=1.0).fit(image).predict(image)[0] / 1e-9
    down, across = np.mgrid[-3:4, -3:4]
    expected = np.exp(-(down**2 + across**2) / 2)
    np.testing.assert_allclose(spot[1:-1, 1:-1], expected / expected.sum(), atol=1e-6)
    edge = np.repeat([[0.0, 1.0]], 8, axis=1).repeat(8, axis=0)[None]
    np.testing.assert_allclose(BilateralDenoiser(sigma=0.05).fit(edge).predict(edge), edge, atol=1e-6)


def test_a_tiny_spatial_deviation_leaves_images_as_they_are():
    X = CLEAN[:2]
    np.testing.assert_array_equal(BilateralDenoiser(sigma=0.1, sigma_spatial=1e-300).fit(X).predict(X), X)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("wavelets", r'pip install "sk-denoise\[wavelets\]"'),
        ("bm3d", r'pip install "sk-denoise\[bm3d\]".*non-commercial use only'),
    ],
)
def test_the_error_for_a_missing_package_names_the_installation(monkeypatch, name, message):
    monkeypatch.setitem(sys.modules, OPTIONAL_PACKAGES[name], None)
    with pytest.raises(ImportError, match=message):
        DENOISERS[name].fit(CLEAN)


def test_the_error_for_an_unknown_wavelet_names_the_nearest():
    pytest.importorskip("pywt")
    with pytest.raises(ValueError, match=r"wavelet 'db99'.*Did you mean 'db"):
        WaveletDenoiser(wavelet="db99").fit(CLEAN)


# The median --------------------------------------------------------------------------------------------


def test_the_median_removes_salt_and_pepper():
    noisy = np.asarray(SaltAndPepperNoiser(0.1, random_state=0).fit_transform(CLEAN))
    denoised = MedianDenoiser().fit(CLEAN).predict(noisy)
    assert mse(CLEAN, denoised) < mse(CLEAN, noisy) / 10


@pytest.mark.parametrize("size", [0, 2, 1.5, "big"])
def test_neighbourhoods_without_a_middle_are_refused(size):
    with pytest.raises(ValueError, match="size"):
        MedianDenoiser(size=size).fit(CLEAN)


def test_the_median_keeps_images_and_channels_apart():
    X = np.zeros((3, 5, 5, 3))
    X[1, ..., 1] = 1
    np.testing.assert_array_equal(MedianDenoiser(size=5).fit_transform(X), X)


# BM3D --------------------------------------------------------------------------------------------------


@pytest.fixture
def bm3d():
    return pytest.importorskip("bm3d")


def noisy_photo(color: str) -> tuple[np.ndarray, np.ndarray]:
    """Return a part of a photograph, clean and noisy, as stacks of one image."""
    photo = load_images(color).test[0][None, 90:154, 90:154].astype(np.float64)
    return photo, photo + np.random.default_rng(1).normal(0, SIGMA, photo.shape)


@pytest.mark.slow
def test_bm3d_gives_the_result_of_the_package(bm3d):
    _, noisy = noisy_photo("gray")
    noisy -= noisy.min()
    expected = bm3d.bm3d(noisy[0], SIGMA)
    denoised = BM3DDenoiser(sigma=SIGMA).fit(noisy).predict(noisy)[0]
    assert np.sqrt(mse(expected, denoised)) < 1e-3
    assert np.sqrt(mse(expected, noisy[0])) > 0.9 * SIGMA


@pytest.mark.slow
def test_bm3d_is_better_on_photographs_than_non_local_means(bm3d):
    photo, noisy = noisy_photo("gray")
    means = NonLocalMeansDenoiser(sigma=SIGMA).fit(photo).predict(noisy)
    denoised = BM3DDenoiser(sigma=SIGMA).fit(photo).predict(noisy)
    assert psnr(photo, denoised, data_range=1) > psnr(photo, means, data_range=1) + 0.7


@pytest.mark.slow
def test_bm3d_denoises_channels_better_together(bm3d):
    photo, noisy = (x[:, :48, :48] for x in noisy_photo("rgb"))
    together = BM3DDenoiser(sigma=SIGMA).fit(photo).predict(noisy)
    planes = np.moveaxis(noisy, 3, 1)[0]
    separate = np.moveaxis(BM3DDenoiser(sigma=SIGMA).fit(planes).predict(planes), 0, 2)[None]
    assert psnr(photo, together, data_range=1) > psnr(photo, separate, data_range=1) + 0.5


@pytest.mark.slow
def test_bm3d_takes_gray_images_with_three_channels(bm3d):
    photo, noisy = noisy_photo("gray")
    gray = np.repeat(noisy[..., None], 3, axis=3)
    denoised = BM3DDenoiser(sigma=SIGMA).fit(gray).predict(gray)
    assert mse(photo, denoised[..., 0]) < mse(photo, noisy)
    np.testing.assert_allclose(np.ptp(denoised, axis=3), 0, atol=1e-6)


def test_bm3d_returns_images_with_noise_below_single_precision_unchanged(bm3d):
    _, noisy = noisy_photo("gray")
    np.testing.assert_array_equal(BM3DDenoiser(sigma=1e-30).fit(noisy).predict(noisy), noisy)


@pytest.mark.slow
@pytest.mark.parametrize("color", ["gray", "rgb"])
def test_bm3d_returns_the_mean_for_extreme_noise(bm3d, color):
    photo, _ = noisy_photo(color)
    denoised = BM3DDenoiser(sigma=1e5).fit(photo).predict(photo)
    np.testing.assert_allclose(denoised, np.broadcast_to(photo.mean(axis=(1, 2), keepdims=True), photo.shape))


@pytest.mark.slow
def test_bm3d_keeps_flat_colours(bm3d):
    flat = np.broadcast_to([0.2, 0.5, 0.7], (1, 40, 40, 3))
    np.testing.assert_allclose(BM3DDenoiser(sigma=SIGMA).fit(flat).predict(flat), flat)


# The level of the noise --------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [0.02, 0.1, 0.3])
@pytest.mark.parametrize("shape", [(128, 128), (128, 96, 3), (1, 8000)])
def test_the_level_is_estimated_within_a_tenth_for_every_image(sigma, shape):
    estimates = levels_of(with_noise(smooth(8, *shape), sigma))
    assert estimates.shape == (8,)
    np.testing.assert_allclose(estimates, sigma, rtol=0.1)


def test_the_level_of_each_image_is_in_the_unit_of_the_data():
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
def test_constant_images_of_any_size_have_no_noise(shape):
    np.testing.assert_array_equal(levels_of(np.full((2, *shape), 0.7)), [0, 0])


def test_smooth_slopes_have_no_noise():
    down, across = np.mgrid[:20, :30]
    np.testing.assert_allclose(levels_of((3 * down - across)[None]), 0, atol=1e-9)
    np.testing.assert_allclose(levels_of((down * across + down**2)[None]), 0, atol=1e-9)


def test_photographs_without_noise_have_little():
    photos = [photo[None, :256, :256] for photo in load_images("gray").test]
    assert max(float(levels_of(photo)[0]) for photo in photos) < 0.02
