"""Quality of denoised images without the truth."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from sk_denoise.datasets import load_images
from sk_denoise.exceptions import NoiseMismatchWarning
from sk_denoise.metrics import psnr_of_mse
from sk_denoise.restoration import NoiseModel, denoise_image

CLEAN = load_images("gray").test[0][:128, :128].astype(np.float64)


def add_noise(image, sigma=0.1, seed=0):
    return image + np.random.default_rng(seed).normal(0, sigma, image.shape)


def test_known_noise_gives_the_true_psnr():
    noisy = add_noise(CLEAN)
    denoised, quality = denoise_image(noisy, sigma=0.1, return_quality=True)
    truth = float(psnr_of_mse(np.mean(np.square(denoised - CLEAN)), 1))
    assert quality.psnr == pytest.approx(truth, abs=1)
    assert quality.interval[0] - 0.3 < truth < quality.interval[1] + 0.3
    assert quality.n == CLEAN.size
    assert np.array_equal(denoised, denoise_image(noisy, sigma=0.1))


def test_estimated_noise_has_a_wider_interval():
    noisy = add_noise(CLEAN)
    known = denoise_image(noisy, noise=NoiseModel("white", 0.1), return_quality=True)[1]
    estimated = denoise_image(noisy, return_quality=True)[1]
    assert np.ptp(estimated.interval) > 2 * np.ptp(known.interval)


def test_masked_pixels_and_bytes():
    clean = 50 + 150 * CLEAN
    noisy = np.rint(add_noise(clean, 10)).astype(np.uint8)
    mask = np.ones(clean.shape, bool)
    mask[:40, :40] = False
    noisy[~mask] = 255
    denoised, quality = denoise_image(noisy, sigma=10, mask=mask, return_quality=True)
    assert denoised.dtype == np.uint8
    assert (denoised[~mask] == 255).all()
    assert quality.n == mask.sum()
    truth = float(psnr_of_mse(np.mean(np.square(denoised - clean)[mask]), 255))
    assert quality.psnr == pytest.approx(truth, abs=1)


def test_gray_in_three_channels_counts_once():
    noisy = add_noise(CLEAN)
    gray = denoise_image(noisy, sigma=0.1, return_quality=True)[1]
    colors = denoise_image(np.repeat(noisy[..., None], 3, axis=2), sigma=0.1, return_quality=True)[1]
    assert colors.psnr == pytest.approx(gray.psnr, abs=0.05)


@pytest.mark.parametrize("kind", ["correlated", "clipped"])
def test_noise_without_an_estimate_gives_the_image_and_a_warning(kind):
    if kind == "correlated":
        noise = gaussian_filter(np.random.default_rng(0).normal(0, 0.3, CLEAN.shape), 1.2)
        arguments = {"image": CLEAN + noise, "noise": "camera"}
    else:
        arguments = {"image": add_noise(CLEAN, 0.3).clip(0, 1), "sigma": 0.3}
    with pytest.warns(NoiseMismatchWarning, match=kind):
        denoised, quality = denoise_image(**arguments, return_quality=True)
    assert quality is None
    assert denoised.shape == CLEAN.shape


def test_stacks_and_maps_are_refused():
    with pytest.raises(ValueError, match="single images"):
        denoise_image(add_noise(CLEAN)[None], axes="ZYX", return_quality=True)
    with pytest.raises(ValueError, match="map"):
        denoise_image(add_noise(CLEAN), sigma=np.full(CLEAN.shape, 0.1), return_quality=True)
