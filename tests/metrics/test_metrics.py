from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from sk_denoise.metrics import PSNR_CAP, luminance, luminance_psnr, mse, nmse, psnr, psnr_of_mse, ssim

METRICS = {
    "mse": mse,
    "nmse": nmse,
    "psnr": lambda truth, prediction: psnr(truth, prediction, data_range=1),
    "ssim": lambda truth, prediction: ssim(truth, prediction, data_range=1, image_shape=(4, 4)),
}


@pytest.fixture(params=METRICS.values(), ids=METRICS)
def metric(request):
    return request.param


@pytest.fixture
def rows():
    return np.random.default_rng(0).uniform(size=(6, 16))


@pytest.fixture
def noisy(rows):
    return rows + np.random.default_rng(1).normal(0, 0.2, rows.shape)


def images(*shape: int):
    """Return smooth images in [0, 1] and noisy versions of them, the first ones less noisy."""
    rng = np.random.default_rng(0)
    clean = 0.5 + 0.5 * np.sin(np.cumsum(rng.normal(0, 0.5, size=shape), axis=1))
    strength = np.linspace(0.02, 0.4, shape[0]).reshape(-1, *[1] * (len(shape) - 1))
    return clean, clean + rng.normal(size=shape) * strength


# What all metrics share ----------------------------------------------------------------------------------


def test_a_metric_is_the_mean_over_samples(metric, rows, noisy):
    each = [metric(rows[i : i + 1], noisy[i : i + 1]) for i in range(len(rows))]
    assert metric(rows, noisy) == pytest.approx(np.mean(each))
    assert np.std(each) > 0


def test_a_metric_is_a_float_and_leaves_its_arguments_alone(metric, rows, noisy):
    before = rows.copy(), noisy.copy()
    assert type(metric(rows, noisy)) is float
    np.testing.assert_array_equal(rows, before[0])
    np.testing.assert_array_equal(noisy, before[1])


def test_containers_and_precision_do_not_matter(metric, rows, noisy):
    expected = metric(rows, noisy)
    assert metric(rows.tolist(), noisy.tolist()) == pytest.approx(expected, rel=1e-12)
    assert metric(pd.DataFrame(rows), pd.DataFrame(noisy)) == pytest.approx(expected, rel=1e-12)
    assert metric(rows.astype(np.float32), noisy.astype(np.float32)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.filterwarnings("ignore:truth holds uint8")  # the range of the metrics here is 1
def test_small_integers_do_not_overflow(metric):
    truth = np.tile(np.array([[0, 255]], dtype=np.uint8), (2, 8))
    prediction = 255 - truth
    assert metric(truth, prediction) == metric(truth.astype(float), prediction.astype(float))


def test_arrays_of_different_shape_are_refused(metric, rows):
    with pytest.raises(ValueError, match=r"truth has shape \(6, 16\), prediction \(5, 16\)"):
        metric(rows, rows[:5])
    with pytest.raises(ValueError, match=r"truth has shape \(6, 16\), prediction \(6, 4, 4\)"):
        metric(rows, rows.reshape(6, 4, 4))


def test_a_single_sample_without_a_first_axis_is_refused(metric, rows):
    with pytest.raises(ValueError, match=r"single sample needs a first axis: x\[None\]"):
        metric(rows[0], rows[0])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_missing_and_infinite_values_are_refused_by_the_name_of_their_side(metric, rows, bad):
    broken = rows.copy()
    broken[0, 0] = bad
    with pytest.raises(ValueError, match="Input truth contains"):
        metric(broken, rows)
    with pytest.raises(ValueError, match="Input prediction contains"):
        metric(rows, broken)


# Mean squared errors -------------------------------------------------------------------------------------


def test_mse_is_the_mean_of_all_squared_errors():
    assert mse([[0.0, 1.0], [2.0, 3.0]], [[0.0, 2.0], [2.0, 0.0]]) == (0 + 1 + 0 + 9) / 4


def test_nmse_is_the_mean_of_errors_relative_to_the_norm_of_each_sample():
    truth = [[3.0, 4.0], [10.0, 0.0]]
    prediction = [[3.0, 3.0], [0.0, 0.0]]
    assert nmse(truth, prediction) == pytest.approx((1 / 25 + 100 / 100) / 2)


def test_nmse_has_no_unit(rows, noisy):
    assert nmse(1000 * rows, 1000 * noisy) == pytest.approx(nmse(rows, noisy))


def test_nmse_of_zeros_is_one(rows):
    assert nmse(rows, np.zeros_like(rows)) == pytest.approx(1)


def test_nmse_of_a_sample_of_zeros_is_zero_or_infinite():
    assert nmse([[0.0, 0.0], [1.0, 1.0]], [[0.0, 0.0], [1.0, 0.0]]) == pytest.approx(0.25)
    assert nmse([[0.0, 0.0], [1.0, 1.0]], [[0.0, 1e-9], [1.0, 0.0]]) == math.inf


def test_a_perfect_prediction_has_no_error(rows):
    assert mse(rows, rows) == 0
    assert nmse(rows, rows) == 0


# PSNR ----------------------------------------------------------------------------------------------------


def test_psnr_is_that_of_the_formula():
    assert psnr([[0.0, 1.0]], [[0.1, 0.9]], data_range=1) == pytest.approx(20)
    assert psnr([[0.0, 255.0]], [[2.55, 255.0]], data_range=255) == pytest.approx(40 + 10 * math.log10(2))


def test_psnr_is_the_mean_over_samples_and_not_that_of_the_mean_error():
    truth, prediction = np.zeros((2, 4)), np.array([[0.1] * 4, [0.001] * 4])
    assert psnr(truth, prediction, data_range=1) == pytest.approx((20 + 60) / 2)
    of_the_mean = -10 * math.log10(mse(truth, prediction))
    assert of_the_mean == pytest.approx(23.01, abs=0.01)


@pytest.mark.parametrize("shape", [(5, 12, 13), (5, 12, 13, 3), (5, 40)])
@pytest.mark.parametrize("data_range", [1, 0.5, 255.0])
def test_psnr_agrees_with_scikit_image(shape, data_range):
    truth, prediction = images(*shape)
    expected = [
        peak_signal_noise_ratio(t, p, data_range=data_range) for t, p in zip(truth, prediction, strict=True)
    ]
    assert psnr(truth, prediction, data_range=data_range) == pytest.approx(np.mean(expected))


def test_psnr_does_not_depend_on_the_unit_if_the_range_follows_it(rows, noisy):
    assert psnr(255 * rows, 255 * noisy, data_range=255) == pytest.approx(psnr(rows, noisy, data_range=1))


def test_a_perfect_sample_has_the_cap_or_an_infinite_psnr(rows, noisy):
    assert PSNR_CAP == 100
    assert psnr(rows, rows, data_range=1) == 100
    assert psnr(rows, rows, data_range=1, cap=50) == 50
    assert psnr(rows, rows, data_range=1, cap=None) == math.inf
    half = np.concatenate([rows[:1], noisy[1:2]])
    imperfect = psnr(rows[1:2], noisy[1:2], data_range=1)
    assert psnr(rows[:2], half, data_range=1) == pytest.approx((100 + imperfect) / 2)
    assert psnr(rows[:2], half, data_range=1, cap=None) == math.inf


def test_the_cap_bounds_each_sample_before_the_mean():
    truth, prediction = np.zeros((2, 1)), np.array([[1e-7], [0.1]])  # 140 and 20 dB
    assert psnr(truth, prediction, data_range=1) == pytest.approx((100 + 20) / 2)
    assert psnr(truth, prediction, data_range=1, cap=None) == pytest.approx((140 + 20) / 2)
    assert psnr(truth, prediction, data_range=1, cap=10) == pytest.approx(10)


def test_psnr_may_be_negative():
    assert psnr([[0.0]], [[10.0]], data_range=1) == pytest.approx(-20)


def test_psnr_of_errors_has_an_entry_for_each():
    np.testing.assert_allclose(psnr_of_mse([0.01, 0.0001, 0.0], 1.0), [20, 40, 100])
    np.testing.assert_allclose(psnr_of_mse([0.01, 0.0], 1.0, cap=None), [20, np.inf])


@pytest.mark.parametrize("data_range", [0, -1.0, math.nan, math.inf])
def test_a_data_range_must_be_finite_and_above_zero(rows, noisy, data_range):
    with pytest.raises(ValueError, match="data_range must be a finite number above 0, got"):
        psnr(rows, noisy, data_range=data_range)
    with pytest.raises(ValueError, match="data_range must be a finite number above 0, got"):
        ssim(rows, noisy, data_range=data_range, image_shape=(4, 4))


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_a_data_range_must_be_given_by_name(metric, rows, noisy):
    with pytest.raises(TypeError, match="data_range"):
        metric(rows, noisy)
    with pytest.raises(TypeError, match="positional"):
        metric(rows, noisy, 1.0)


# SSIM ----------------------------------------------------------------------------------------------------


def test_ssim_of_uniform_images_is_that_of_the_formula():
    truth, prediction = np.full((1, 16, 16), 0.2), np.full((1, 16, 16), 0.6)
    c1 = 0.01**2
    expected = (2 * 0.2 * 0.6 + c1) / (0.2**2 + 0.6**2 + c1)
    assert ssim(truth, prediction, data_range=1) == pytest.approx(expected)


def test_ssim_is_that_of_wang_et_al_as_scikit_image_computes_it():
    truth, prediction = images(5, 16, 20)
    wang = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    expected = [structural_similarity(t, p, **wang) for t, p in zip(truth, prediction, strict=True)]
    assert ssim(truth, prediction, data_range=1) == pytest.approx(np.mean(expected))
    assert np.ptp(expected) > 0.2


def test_ssim_of_colour_images_is_the_mean_over_channels():
    truth, prediction = images(4, 16, 16, 3)
    channels = [ssim(truth[..., c], prediction[..., c], data_range=1) for c in range(3)]
    assert ssim(truth, prediction, data_range=1) == pytest.approx(np.mean(channels))


@pytest.mark.parametrize(("side", "window"), [(3, 3), (4, 3), (5, 5), (7, 7), (8, 7), (10, 7)])
def test_ssim_of_small_images_takes_the_largest_uniform_window_up_to_seven(side, window):
    truth, prediction = images(4, side, side + 2)
    uniform = {"win_size": window, "use_sample_covariance": False, "data_range": 1.0}
    expected = [structural_similarity(t, p, **uniform) for t, p in zip(truth, prediction, strict=True)]
    assert ssim(truth, prediction, data_range=1) == pytest.approx(np.mean(expected))


def test_ssim_of_flat_digits_needs_their_shape(digits):
    truth, prediction = digits.test[:20], digits.noisy_test(0.2)[:20]
    flat = ssim(truth, prediction, data_range=1, image_shape=(8, 8))
    assert flat == ssim(truth.reshape(-1, 8, 8), prediction.reshape(-1, 8, 8), data_range=1)
    assert 0 < flat < 1
    with pytest.raises(ValueError, match=r"got \(20, 64\). Give the image_shape of flat rows"):
        ssim(truth, prediction, data_range=1)


def test_ssim_of_flat_colour_images_takes_a_shape_with_channels():
    truth, prediction = images(3, 12, 12, 3)
    flat = (x.reshape(3, -1) for x in (truth, prediction))
    assert ssim(*flat, data_range=1, image_shape=(12, 12, 3)) == ssim(truth, prediction, data_range=1)


def test_ssim_falls_with_noise():
    truth, prediction = images(6, 16, 16)
    values = [ssim(truth[[i]], prediction[[i]], data_range=1) for i in (0, 2, 5)]
    assert values == sorted(values, reverse=True)


def test_ssim_does_not_depend_on_the_unit_if_the_range_follows_it():
    truth, prediction = images(3, 16, 16)
    scaled = ssim(255 * truth, 255 * prediction, data_range=255)
    assert scaled == pytest.approx(ssim(truth, prediction, data_range=1))


@pytest.mark.parametrize("shape", [(3, 8, 8), (3, 16, 16), (3, 16, 16, 3)])
def test_ssim_of_perfect_images_is_one(shape):
    truth, _ = images(*shape)
    assert ssim(truth, truth, data_range=1) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("shape", [(3, 2, 8), (3, 8, 2), (3, 1, 1), (3, 2, 2, 3)])
def test_images_too_small_for_ssim_are_refused(shape):
    with pytest.raises(ValueError, match="ssim needs images of at least 3 x 3 pixels"):
        ssim(np.ones(shape), np.ones(shape), data_range=1)


def test_ssim_refuses_samples_that_are_no_images():
    with pytest.raises(ValueError, match="ssim compares images"):
        ssim(np.ones((2, 4, 4, 3, 1)), np.ones((2, 4, 4, 3, 1)), data_range=1)


def test_an_image_shape_that_does_not_fit_is_refused_by_name(rows):
    with pytest.raises(ValueError, match="image_shape"):
        ssim(rows, rows, data_range=1, image_shape=(5, 5))


def test_the_range_of_the_unit_interval_warns_for_integers():
    truth = np.full((1, 8, 8), 200, np.uint8)
    for metric in (psnr, ssim):
        with pytest.warns(UserWarning, match="truth holds uint8 up to 200, and .*data_range=255"):
            metric(truth, truth, data_range=1)
        metric(truth, truth, data_range=255)
        metric(truth > 100, truth > 100, data_range=1)


# Luminance ----------------------------------------------------------------------------------------------


def test_luminance_is_that_of_matlab():
    # rgb2ycbcr of MATLAB gives Y = 16, 235, 81.48, 144.55 and 40.97 for these colours.
    colours = np.array([[0, 0, 0], [1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1.0]])[:, None, None]
    expected = [16, 235, 81.481, 144.553, 40.966]
    np.testing.assert_allclose(255 * luminance(colours, data_range=1).ravel(), expected, atol=1e-3)
    stored = (255 * colours).astype(np.uint8)
    np.testing.assert_allclose(luminance(stored, data_range=255).ravel(), expected, atol=1e-3)


def test_the_field_adds_a_little_to_the_psnr_of_colours_and_nothing_to_that_of_gray_images():
    rng = np.random.default_rng(0)
    gray = rng.random((2, 12, 13))
    noisy = gray + rng.normal(0, 0.1, gray.shape)
    plain = psnr(gray, noisy, data_range=1)
    assert luminance_psnr(gray, noisy, data_range=1) == pytest.approx(plain)
    assert luminance_psnr(gray[..., None], noisy[..., None], data_range=1) == pytest.approx(plain)
    colours, noisy_colours = (np.stack([x] * 3, axis=-1) for x in (gray, noisy))
    in_field = luminance_psnr(colours, noisy_colours, data_range=1)
    assert in_field == pytest.approx(plain + 20 * np.log10(255 / 219), abs=1e-4)
    assert luminance_psnr(255 * colours, 255 * noisy_colours, data_range=255) == pytest.approx(in_field)


def test_a_border_does_not_count():
    truth = np.zeros((1, 10, 12, 3))
    wrong = truth.copy()
    wrong[:, :2], wrong[:, :, -2:] = 1, 1
    assert luminance_psnr(truth, wrong, data_range=1, border=2) == 100
    assert luminance_psnr(truth, wrong, data_range=1, border=1) < 20
    assert luminance(truth, data_range=1, border=4).shape == (1, 2, 4)


def test_luminance_refuses_other_images_in_words():
    with pytest.raises(ValueError, match="leave out alpha"):
        luminance(np.zeros((1, 8, 8, 4)), data_range=1)
    with pytest.raises(ValueError, match="prediction has shape"):
        luminance_psnr(np.zeros((1, 8, 8, 3)), np.zeros((8, 8)), data_range=1)
    with pytest.raises(ValueError, match="border=4 leaves nothing"):
        luminance(np.zeros((1, 8, 9)), data_range=1, border=4)
    for border in (-1, 1.5, True):
        with pytest.raises(ValueError, match="number of pixels"):
            luminance(np.zeros((1, 8, 9)), data_range=1, border=border)
    with pytest.warns(UserWarning, match="data_range=255"):
        luminance_psnr(np.full((1, 8, 8), 9, np.uint8), np.full((1, 8, 8), 9, np.uint8), data_range=1)
