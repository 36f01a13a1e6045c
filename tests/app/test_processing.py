"""Processing of an image in the app: added noise, and quality in bands."""

from __future__ import annotations

import numpy as np
import pytest

from sk_denoise._intensity import IntensityRange
from sk_denoise.app import _processing
from sk_denoise.app._processing import (
    NOISE_CHOICES,
    add_noise,
    compute_psnr_in_bands,
    compute_ssim_in_bands,
)
from sk_denoise.metrics import psnr, ssim
from sk_denoise.noise import NOISERS

# "swap" takes values from other samples, which a single image lacks; "choice" draws one of several noises;
# "recorded" needs recordings; "downscale" changes the size.
NOT_FOR_ONE_IMAGE = {"swap", "choice", "recorded", "copied_mask", "baseline_wander", "hum", "downscale"}
FEWER_IS_WORSE = ("poisson", "chain", "jpeg")


def ignore_progress(*progress):
    """Progress callback without effect."""


def test_every_noise_is_offered():
    assert set(NOISE_CHOICES) == set(NOISERS) - NOT_FOR_ONE_IMAGE
    for name, choice in NOISE_CHOICES.items():
        amount = choice.amount
        assert isinstance(choice.build_noiser(amount.slider_start * amount.unit.size), NOISERS[name])
        assert 1 <= amount.slider_start <= amount.slider_max


@pytest.mark.parametrize("noise", NOISE_CHOICES)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_noise_keeps_type_and_alpha_and_grows_with_its_slider(noise, dtype, photo):
    white = 1 if dtype == "float32" else np.iinfo(dtype).max
    image = np.dstack([photo / 255, np.full(photo.shape[:2], 0.5)]) * white
    image = image.astype(dtype)
    little, much = sorted((1, NOISE_CHOICES[noise].amount.slider_max), reverse=noise in FEWER_IS_WORSE)
    intensity = IntensityRange(0, white)
    weak, strong = (
        add_noise(image, intensity, noise, amount, 0, ignore_progress) for amount in (little, much)
    )
    assert weak.dtype == strong.dtype == image.dtype
    for noisy in (weak, strong):
        np.testing.assert_array_equal(noisy[..., 3], image[..., 3])
        assert 0 <= noisy.min() <= noisy.max() <= white
    values = [psnr(image[None], x[None], data_range=white) for x in (weak, strong)]
    assert values[0] > values[1] + 3
    np.testing.assert_array_equal(add_noise(image, intensity, noise, much, 0, ignore_progress), strong)
    # Compression and blur have no randomness at a given amount.
    if noise not in ("jpeg", "blur"):
        assert (add_noise(image, intensity, noise, much, 1, ignore_progress) != strong).any()


def test_noise_differs_between_bands_and_reports_progress(monkeypatch):
    monkeypatch.setattr(_processing, "NOISE_BAND_PIXELS", 64 * 10)
    flat = np.full((64, 64), 128, np.uint8)
    reports = []
    noisy = add_noise(
        flat, IntensityRange.of(flat), "gaussian", 25, 0, lambda *counts: reports.append(counts)
    )
    assert reports == [(top, 64) for top in range(0, 64, 10)]
    assert (noisy[:10] != noisy[10:20]).any()
    assert noisy.std() == pytest.approx(25, rel=0.05)


def test_noise_on_a_region_refuses_a_large_image(monkeypatch):
    monkeypatch.setattr(_processing, "MAX_REGION_NOISE_PIXELS", 100)
    black = np.zeros((20, 20), np.uint8)
    with pytest.raises(ValueError, match=r"limited to images of 0 megapixels.*Choose another noise"):
        add_noise(black, IntensityRange.of(black), "region", 25, 0, ignore_progress)


@pytest.mark.parametrize("rows", [1, 7, 30, 1000])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_quality_in_bands_equals_that_of_the_whole_image(rows, channels, monkeypatch):
    clean, other = np.random.default_rng(0).integers(0, 255, (2, 50, 40, *channels), dtype=np.uint8)
    monkeypatch.setattr(_processing, "METRIC_BAND_PIXELS", 40 * rows)
    expected = psnr(clean[None], other[None], data_range=255), ssim(clean[None], other[None], data_range=255)
    actual = [f(clean, other, 255.0, ignore_progress) for f in (compute_psnr_in_bands, compute_ssim_in_bands)]
    np.testing.assert_allclose(actual, expected, rtol=1e-12)


def test_very_small_images_have_no_ssim():
    assert compute_ssim_in_bands(np.zeros((10, 50)), np.ones((10, 50)), 1.0, ignore_progress) is None
