"""What the app does with arrays: noise, quality, and what a screen shows."""

from __future__ import annotations

from base64 import b64decode
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from sk_denoise._intensity import IntensityRange
from sk_denoise.app import _processing, _views
from sk_denoise.app._processing import KINDS, corrupted, psnr_of_image, ssim_of_image
from sk_denoise.metrics import psnr, ssim
from sk_denoise.noise import NOISERS

# Swapped values come from other samples, which a single image has none of; a choice is one of the others.
NOT_FOR_ONE_IMAGE = {"swap", "choice"}


def quiet(*progress):
    """Be told how far the work is."""


def test_every_noise_is_offered():
    assert set(KINDS) == set(NOISERS) - NOT_FOR_ONE_IMAGE
    for name, kind in KINDS.items():
        assert isinstance(kind.make(kind.amount.start * kind.amount.unit.size), NOISERS[name])
        assert 1 <= kind.amount.start <= kind.amount.most


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_noise_keeps_type_and_alpha_and_grows_with_its_slider(kind, dtype, photo):
    white = 1 if dtype == "float32" else np.iinfo(dtype).max
    image = np.dstack([photo / 255, np.full(photo.shape[:2], 0.5)]) * white
    image = image.astype(dtype)
    few, many = sorted((1, KINDS[kind].amount.most), reverse=kind in ("poisson", "chain"))
    intensity = IntensityRange(0, white)
    weak, strong = (corrupted(image, intensity, kind, amount, 0, quiet) for amount in (few, many))
    assert weak.dtype == strong.dtype == image.dtype
    for noisy in (weak, strong):
        np.testing.assert_array_equal(noisy[..., 3], image[..., 3])
        assert 0 <= noisy.min() <= noisy.max() <= white
    values = [psnr(image[None], x[None], data_range=white) for x in (weak, strong)]
    assert values[0] > values[1] + 3
    np.testing.assert_array_equal(corrupted(image, intensity, kind, many, 0, quiet), strong)
    assert (corrupted(image, intensity, kind, many, 1, quiet) != strong).any()


def test_noise_in_bands_differs_from_band_to_band_and_tells_how_far_it_is(monkeypatch):
    monkeypatch.setattr(_processing, "NOISE_BAND_PIXELS", 64 * 10)
    flat = np.full((64, 64), 128, np.uint8)
    told = []
    noisy = corrupted(flat, IntensityRange.of(flat), "gaussian", 25, 0, lambda *counts: told.append(counts))
    assert told == [(top, 64) for top in range(0, 64, 10)]
    assert (noisy[:10] != noisy[10:20]).any()
    assert noisy.std() == pytest.approx(25, rel=0.05)


def test_noise_that_must_see_the_whole_image_says_how_much_it_takes(monkeypatch):
    monkeypatch.setattr(_processing, "LARGEST_WITH_A_PLACE", 100)
    black = np.zeros((20, 20), np.uint8)
    with pytest.raises(ValueError, match=r"up to 0 megapixels here.*Take another noise"):
        corrupted(black, IntensityRange.of(black), "region", 25, 0, quiet)


@pytest.mark.parametrize("rows", [1, 7, 30, 1000])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_quality_in_bands_is_that_of_the_whole(rows, channels, monkeypatch):
    clean, other = np.random.default_rng(0).integers(0, 255, (2, 50, 40, *channels), dtype=np.uint8)
    monkeypatch.setattr(_processing, "METRIC_BAND_PIXELS", 40 * rows)
    expected = psnr(clean[None], other[None], data_range=255), ssim(clean[None], other[None], data_range=255)
    found = [f(clean, other, 255.0, quiet) for f in (psnr_of_image, ssim_of_image)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_similarity_of_images_too_small_for_its_window_is_none():
    assert ssim_of_image(np.zeros((10, 50)), np.ones((10, 50)), 1.0, quiet) is None


def shown(uri):
    kind, _, data = uri.partition(";base64,")
    return kind, np.asarray(Image.open(BytesIO(b64decode(data))))


def test_bytes_are_shown_as_they_are(photo):
    assert _views.screen_range(photo) == (0, 255)
    np.testing.assert_array_equal(_views.on_screen(photo, (0, 255)), photo)
    with_alpha = np.dstack([photo, photo[..., 0]])
    np.testing.assert_array_equal(_views.on_screen(with_alpha, (0, 255)), photo)
    np.testing.assert_array_equal(_views.on_screen(with_alpha[..., [0, 3]], (0, 255)), photo[..., 0])


def test_deep_images_are_shown_from_their_darkest_to_their_brightest(photo):
    twelve_bits = photo.astype(np.uint16) * 16
    low, high = _views.screen_range(twelve_bits)
    assert 0 <= low < high <= 255 * 16
    assert np.ptp(_views.on_screen(twelve_bits, (low, high))) == 255
    flat = np.full((5, 5), 0.3)
    assert _views.on_screen(flat, _views.screen_range(flat)).shape == (5, 5)


def test_large_images_are_shrunk_by_means(photo):
    small = _views.shrunk(photo, side=64)
    assert small.shape == (48, 64, 3)
    np.testing.assert_allclose(small[0, 0], photo[:2, :2].reshape(-1, 3).mean(axis=0), atol=1)
    assert _views.shrunk(photo, side=128) is photo


@pytest.mark.parametrize(
    ("across", "down", "rows", "columns"),
    [(0.5, 0.5, (32, 64), (48, 80)), (0, 0, (0, 32), (0, 32)), (1, 1, (64, 96), (96, 128))],
)
def test_a_part_lies_within_the_image(across, down, rows, columns, photo):
    np.testing.assert_array_equal(_views.crop(photo, across, down, 32), photo[slice(*rows), slice(*columns)])
    assert _views.crop(photo, across, down, 500).shape == photo.shape


def test_what_was_taken_away_is_gray_where_nothing_was(photo, noisy):
    none = _views.as_gray(_views.taken_away(photo, photo, (0, 255)), 4)
    assert none.shape == photo.shape
    assert (none == 128).all()
    some = _views.taken_away(noisy, photo, (0, 255))
    brighter = noisy.astype(int) > photo
    assert (_views.as_gray(some, 4)[brighter] > 128).all()
    assert np.std(_views.as_gray(some, 8)) > np.std(_views.as_gray(some, 2))
    assert _views.taken_away(noisy, photo, (0, 255), side=64).shape == (48, 64, 3)


def test_addresses_hold_the_image(photo, monkeypatch):
    kind, image = shown(_views.data_uri(photo))
    assert kind == "data:image/png"
    np.testing.assert_array_equal(image, photo)
    monkeypatch.setattr(_views, "SMALL", 100)
    kind, image = shown(_views.data_uri(photo))
    assert kind == "data:image/jpeg"
    assert np.abs(image.astype(int) - photo).mean() < 5
