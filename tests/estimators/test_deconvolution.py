"""Filters that invert a known blur, and bicubic enlargement."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import convolve, gaussian_filter
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sk_denoise import BicubicEnlarger, RichardsonLucyDeconvolver, WienerDeconvolver
from sk_denoise.datasets import load_images
from sk_denoise.metrics import psnr

SIGMA = 1.6
PHOTOS = np.stack([photo[:96, :96] for photo in load_images("gray").test[:3]]).astype(np.float64)
NOISE = np.random.default_rng(0).normal(0, 2 / 255, PHOTOS.shape)
BLURRED = gaussian_filter(PHOTOS, SIGMA, axes=(1, 2)) + NOISE
DECONVOLVERS = {"Wiener": WienerDeconvolver(SIGMA), "Lucy": RichardsonLucyDeconvolver(SIGMA, n_iter=30)}


@pytest.fixture(params=DECONVOLVERS)
def deconvolver(request):
    return clone(DECONVOLVERS[request.param])


def decibels(restored, clean=PHOTOS):
    return psnr(clean, restored, data_range=1)


# Deconvolution --------------------------------------------------------------------------------------------


def test_blurred_photos_get_sharper(deconvolver):
    restored = deconvolver.fit(BLURRED).predict(BLURRED)
    assert decibels(restored) > decibels(BLURRED) + 1.2


def test_the_border_is_restored_as_the_inside(deconvolver):
    restored = deconvolver.fit(BLURRED).predict(BLURRED)
    border = np.ones(PHOTOS.shape[1:], dtype=bool)
    border[8:-8, 8:-8] = False
    gains = [
        np.mean((BLURRED - PHOTOS)[:, part] ** 2) / np.mean((restored - PHOTOS)[:, part] ** 2)
        for part in (border, ~border)
    ]
    assert gains[0] > 0.7 * gains[1]


@pytest.mark.parametrize("kernel", [np.ones((5, 5)), 4.0, np.ones((1, 9)), [1, 2, 1]])
def test_a_nearly_constant_image_stays_so_up_to_its_border(deconvolver, kernel):
    flat = np.full((1, 60, 60), 0.5)
    flat[0, 30, 30] += 1e-6
    restored = deconvolver.set_params(kernel=kernel).fit(flat).predict(flat)
    assert np.abs(restored - 0.5).max() < 0.02


def test_a_kernel_with_a_direction_is_inverted_by_both():
    kernel = np.array([[4.0, 2, 1], [0, 1, 0], [0, 0, 0]])
    blurred = np.stack([convolve(photo, kernel / kernel.sum(), mode="reflect") for photo in PHOTOS])
    for method in (WienerDeconvolver(kernel), RichardsonLucyDeconvolver(kernel, n_iter=50)):
        assert decibels(method.fit(blurred).predict(blurred)) > decibels(blurred) + 6


def test_the_estimated_balance_is_nearly_the_best():
    for sigma, level in ((1.0, 0.5), (1.6, 2), (1.6, 8), (3, 2), (1, 10)):
        noisy = gaussian_filter(PHOTOS, sigma, axes=(1, 2)) + NOISE * level / 2
        best = max(
            decibels(WienerDeconvolver(sigma, balance=balance).fit(noisy).predict(noisy))
            for balance in np.geomspace(1e-5, 1, 11)
        )
        assert decibels(WienerDeconvolver(sigma).fit(noisy).predict(noisy)) > best - 0.15


@pytest.mark.parametrize("crop", [0, 16])
@pytest.mark.parametrize("sigma", [1.6, 3, 5])
def test_a_blurred_image_without_noise_is_not_drowned_in_waves(sigma, crop):
    inside = slice(crop, 96 - crop)
    blurred = gaussian_filter(PHOTOS, sigma, axes=(1, 2))[:, inside, inside]
    restored = WienerDeconvolver(sigma).fit(blurred).predict(blurred)
    # Where the border is not mirrored, a wide kernel leaves an error there; unlimited, it would be 20 dB.
    least = -2 if crop else 0.5
    assert (
        decibels(restored, PHOTOS[:, inside, inside]) > decibels(blurred, PHOTOS[:, inside, inside]) + least
    )


def test_wiener_is_linear_in_unit_and_offset():
    expected = WienerDeconvolver(SIGMA).fit(BLURRED).predict(BLURRED)
    shifted = 1e6 * BLURRED - 3e6
    np.testing.assert_allclose(
        WienerDeconvolver(SIGMA).fit(shifted).predict(shifted), 1e6 * expected - 3e6, rtol=1e-6
    )


def test_light_is_restored_in_any_unit_and_never_below_black():
    expected = RichardsonLucyDeconvolver(SIGMA).fit(BLURRED).predict(BLURRED)
    assert expected.min() >= 0
    scaled = RichardsonLucyDeconvolver(SIGMA).fit(65535 * BLURRED).predict(65535 * BLURRED)
    np.testing.assert_allclose(scaled, 65535 * expected, rtol=1e-6)
    # A camera adds an offset.
    shifted = RichardsonLucyDeconvolver(SIGMA, black=100.0).fit(BLURRED + 100).predict(BLURRED + 100)
    np.testing.assert_allclose(shifted, expected + 100, rtol=1e-9)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_integers_become_single_precision_in_their_unit(deconvolver, dtype):
    white = 1 if dtype is np.float32 else np.iinfo(dtype).max
    stored = (white * BLURRED.clip(0, 1)).astype(dtype)
    restored = deconvolver.fit(stored).predict(stored)
    assert restored.dtype == np.float32
    assert decibels(restored / white) > decibels(BLURRED) + 1


def test_channels_and_samples_are_restored_by_themselves(deconvolver):
    colours = np.stack([BLURRED[:2], BLURRED[1:3], BLURRED[:2, ::-1]], axis=-1)
    restored = deconvolver.fit(colours).predict(colours)
    alone = deconvolver.fit(BLURRED).predict(BLURRED)
    np.testing.assert_array_equal(restored[..., 1], alone[1:3])
    parts = [BLURRED[0], BLURRED[1, :50, :70]]
    listed = deconvolver.fit(parts).predict(parts)
    assert [x.shape for x in listed] == [x.shape for x in parts]
    np.testing.assert_array_equal(listed[0], alone[0])


def test_spectra_get_sharper_lines(deconvolver):
    places = np.arange(300)
    spectra = np.stack([np.exp(-((places - 80 - 20 * i) ** 2) / 18) for i in range(4)])
    wide = gaussian_filter(spectra, 4, axes=1)
    restored = deconvolver.set_params(kernel=4.0, kind="signals").fit(wide).predict(wide)
    assert np.abs(restored - spectra).mean() < np.abs(wide - spectra).mean() / 3
    np.testing.assert_array_equal(deconvolver.predict(wide[:, :200]).shape, (4, 200))
    both = deconvolver.fit(wide[None]).predict(wide[None])
    np.testing.assert_array_equal(both[0], restored)


@pytest.mark.parametrize("value", [0.0, 0.3, -2.0])
def test_constant_images_and_single_pixels_stay(deconvolver, value):
    for shape in ((2, 9, 9), (2, 1, 1), (2, 9, 9, 3), (2, 5)):
        flat = np.full(shape, value)
        np.testing.assert_array_equal(deconvolver.fit(flat).predict(flat), flat)


@pytest.mark.parametrize("shape", [(1, 20), (20, 1), (2, 2), (8, 8)])
@pytest.mark.parametrize("kernel", [4.0, np.ones((21, 21))])
def test_kernels_may_be_larger_than_the_image(deconvolver, shape, kernel):
    images = np.random.default_rng(0).random((2, *shape))
    restored = deconvolver.set_params(kernel=kernel).fit(images).predict(images)
    assert restored.shape == images.shape
    assert np.isfinite(restored).all()


def test_a_kernel_has_a_middle_and_a_sum(deconvolver):
    twice = clone(deconvolver).set_params(kernel=np.full((3, 3), 7))
    once = clone(deconvolver).set_params(kernel=np.full((3, 3), 1 / 9))
    np.testing.assert_allclose(
        twice.fit(BLURRED).predict(BLURRED), once.fit(BLURRED).predict(BLURRED), rtol=1e-9
    )
    for kernel, message in (
        (np.ones((4, 4)), "odd sides"),
        (np.array([-1, 2, -1]), "sum above 0"),
        (np.zeros((3, 3)), "sum above 0"),
        (np.array([1, np.nan, 1]), "NaN"),
        (np.ones((3, 3, 3)), "of shape"),
        ([[1, 2, 1], [1]], "array of numbers"),
        (0, "in the range"),
        (60.0, "in the range"),
        ("gaussian", "must be"),
    ):
        with pytest.raises(ValueError, match=message):
            deconvolver.set_params(kernel=kernel).fit(BLURRED)


def test_weights_below_0_are_for_the_linear_filter_alone():
    sharpened = np.array([[-0.1, 1.2, -0.1]])
    assert np.isfinite(WienerDeconvolver(sharpened).fit(BLURRED).predict(BLURRED)).all()
    with pytest.raises(ValueError, match="light only adds up"):
        RichardsonLucyDeconvolver(sharpened).fit(BLURRED)


def test_gaps_are_refused_in_words(deconvolver):
    with pytest.raises(ValueError, match="NaN"):
        deconvolver.fit(BLURRED).predict(np.where(BLURRED > 0.5, np.nan, BLURRED))


def test_a_search_finds_strength_and_kernel_on_pairs():
    search = GridSearchCV(
        RichardsonLucyDeconvolver(), {"kernel": [0.5, 1.6], "n_iter": [2, 20]}, cv=2, error_score="raise"
    )
    assert search.fit(BLURRED[:2], PHOTOS[:2]).best_params_ == {"kernel": 1.6, "n_iter": 20}


def test_the_score_of_clean_images_blurs_them_first(deconvolver):
    deconvolver.fit(PHOTOS)
    pairs = deconvolver.score(BLURRED, PHOTOS)
    expected = psnr(PHOTOS, deconvolver.predict(BLURRED), data_range=deconvolver.data_range_)
    assert pairs == pytest.approx(expected)
    # A hundredth of the range is little more noise.
    assert pairs - 2 < deconvolver.score(PHOTOS) < pairs
    assert deconvolver.score(list(PHOTOS)) == pytest.approx(deconvolver.score(PHOTOS), abs=0.1)


# Enlargement ----------------------------------------------------------------------------------------------


def imresize_matrix(n_in, scale, n_out):
    """Return the weights of ``imresize`` of MATLAB along one axis, as ``contributions`` computes them."""

    def cubic(x):
        near = 1.5 * abs(x) ** 3 - 2.5 * abs(x) ** 2 + 1
        far = -0.5 * abs(x) ** 3 + 2.5 * abs(x) ** 2 - 4 * abs(x) + 2
        return near if abs(x) <= 1 else far if abs(x) <= 2 else 0.0

    stretch = min(scale, 1)
    width = 4 / stretch
    matrix = np.zeros((n_out, n_in))
    mirrored = [*range(n_in), *reversed(range(n_in))]
    for x in range(1, n_out + 1):
        u = x / scale + 0.5 * (1 - 1 / scale)
        left = int(np.floor(u - width / 2))
        places = range(left, left + int(np.ceil(width)) + 2)
        weights = np.array([stretch * cubic(stretch * (u - place)) for place in places])
        for place, weight in zip(places, weights / weights.sum(), strict=True):
            matrix[x - 1, mirrored[(place - 1) % (2 * n_in)]] += weight
    return matrix


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_enlarged_images_are_those_of_matlab_borders_included(scale):
    small = np.random.default_rng(0).random((2, 12, 17))
    expected = imresize_matrix(12, scale, 12 * scale) @ small @ imresize_matrix(17, scale, 17 * scale).T
    np.testing.assert_allclose(BicubicEnlarger(scale).fit(small).predict(small), expected, atol=1e-12)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_score_of_large_images_reduces_them_as_matlab(scale):
    large = PHOTOS[:2, :60, :72]
    reduced = (
        imresize_matrix(60, 1 / scale, 60 // scale) @ large @ imresize_matrix(72, 1 / scale, 72 // scale).T
    )
    enlarger = BicubicEnlarger(scale).fit(large)
    expected = psnr(large, enlarger.predict(reduced), data_range=enlarger.data_range_)
    assert enlarger.score(large) == pytest.approx(expected)
    assert enlarger.score(reduced, large) == pytest.approx(expected)
    assert enlarger.score(list(reduced), list(large)) == pytest.approx(expected)
    # Sides are cut to multiples.
    assert enlarger.score(PHOTOS[:2, : 60 + scale - 1, :73]) == pytest.approx(expected)


def test_fit_stores_the_scale_and_the_range_of_the_large_side():
    large = np.kron(PHOTOS, np.ones((1, 2, 2)))
    enlarger = BicubicEnlarger(2).fit(PHOTOS / 2, large)
    assert (enlarger.scale_, enlarger.target_source_) == (2, "y")
    assert enlarger.data_range_ == pytest.approx(np.ptp(large))
    assert BicubicEnlarger(2).fit(PHOTOS / 2, X_clean=large).target_source_ == "X_clean"
    assert BicubicEnlarger(2).fit(PHOTOS, [0, 1, 2]).target_source_ == "X"
    assert BicubicEnlarger(2).fit((255 * PHOTOS).astype(np.uint8)).data_range_ == 255


def test_images_of_any_size_and_layout_are_enlarged():
    enlarger = BicubicEnlarger(3).fit(PHOTOS)
    large = enlarger.predict(PHOTOS)
    assert large.shape == (len(PHOTOS), 288, 288)
    np.testing.assert_allclose(enlarger.predict(PHOTOS[:, :20, :30])[:, :50, :80], large[:, :50, :80])
    listed = enlarger.predict([PHOTOS[0, :20, :30], PHOTOS[1]])
    assert [x.shape for x in listed] == [(60, 90), (288, 288)]
    colours = np.stack([PHOTOS] * 3, axis=-1).astype(np.float32)
    assert BicubicEnlarger(3).fit(colours).predict(colours).dtype == np.float32
    np.testing.assert_allclose(BicubicEnlarger(3).fit(colours).transform(colours)[..., 1], large, atol=1e-6)
    flat = BicubicEnlarger(3, image_shape=(96, 96)).fit(PHOTOS.reshape(len(PHOTOS), -1))
    np.testing.assert_array_equal(
        flat.predict(PHOTOS.reshape(len(PHOTOS), -1)), large.reshape(len(PHOTOS), -1)
    )
    assert flat.score(PHOTOS.reshape(len(PHOTOS), -1)) == pytest.approx(enlarger.score(PHOTOS))
    pixels = BicubicEnlarger(2).fit(PHOTOS[:, :1, :1]).predict(PHOTOS[:, :1, :1])
    np.testing.assert_allclose(pixels, PHOTOS[:, :1, :1] * np.ones((1, 2, 2)))


def test_signals_become_longer_alone():
    waves = np.sin(np.arange(50) / 3) * np.ones((4, 1))
    longer = BicubicEnlarger(2).fit(waves).predict(waves)
    expected = np.sin((np.arange(100) / 2 - 0.25) / 3) * np.ones((4, 1))
    np.testing.assert_allclose(longer[:, 4:-4], expected[:, 4:-4], atol=0.01)
    leads = BicubicEnlarger(2, kind="signals").fit(waves[:, None])
    np.testing.assert_array_equal(leads.predict(waves[:, None])[:, 0], longer)
    assert leads.predict(waves[:, None, :30]).shape == (4, 1, 60)
    frame = pd.DataFrame(waves[:, :3], columns=list("abc"))
    named = BicubicEnlarger(2).set_output(transform="pandas").fit_transform(frame)
    assert named.columns[-1] == "bicubicenlarger5"


def test_scale_1_returns_the_image():
    np.testing.assert_array_equal(BicubicEnlarger(1).fit(PHOTOS).predict(PHOTOS), PHOTOS)
    assert BicubicEnlarger(1).fit(PHOTOS).score(BLURRED, PHOTOS) == pytest.approx(
        psnr(PHOTOS, BLURRED, data_range=np.ptp(PHOTOS))
    )


@pytest.mark.parametrize("scale", [2.5, 0, -1, "2"])
def test_scales_are_whole_numbers(scale):
    with pytest.raises(ValueError, match="must be an int"):
        BicubicEnlarger(scale).fit(PHOTOS)


def test_pairs_of_other_sizes_are_refused():
    for large in (PHOTOS, PHOTOS[:, :-1].repeat(2, axis=1)):
        with pytest.raises(ValueError, match=r"expected \(\d, 96, 96\): 2 times the sides of X"):
            BicubicEnlarger(2).fit(PHOTOS[:, ::2, ::2], large[:, :90])
    fitted = BicubicEnlarger(2).fit(PHOTOS)
    with pytest.raises(ValueError, match="2 times the sides"):
        fitted.score(PHOTOS[:, ::2, ::2], BLURRED[:, ::2, ::2])
    with pytest.raises(ValueError, match="must hold a large image for each"):
        fitted.score([PHOTOS[0, :8], PHOTOS[1]], [PHOTOS[0], PHOTOS[1]])
    with pytest.raises(ValueError, match="Pass large samples, or small ones as X"):
        BicubicEnlarger(4).fit(PHOTOS[:, :3, :3]).score(PHOTOS[:, :3, :3])


def test_a_pipeline_sharpens_and_then_enlarges():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pipeline = make_pipeline(WienerDeconvolver(SIGMA), BicubicEnlarger(2)).fit(BLURRED)
    assert pipeline.predict(BLURRED).shape == (len(BLURRED), 192, 192)
