"""What BM3D adds to other denoisers without a network."""

from __future__ import annotations

import numpy as np
import pytest

from sk_denoise import BM3DDenoiser, NonLocalMeansDenoiser
from sk_denoise.datasets import load_images
from sk_denoise.metrics import mse, psnr

SIGMA = 0.1


@pytest.fixture
def bm3d():
    return pytest.importorskip("bm3d")


def cat(color: str) -> tuple[np.ndarray, np.ndarray]:
    """Return a part of a photograph, and the same with noise, as stacks of one."""
    photo = load_images(color).test[0][None, 90:154, 90:154].astype(np.float64)
    return photo, photo + np.random.default_rng(1).normal(0, SIGMA, photo.shape)


def test_bm3d_is_the_package_with_its_own_settings(bm3d):
    _, noisy = cat("gray")
    noisy -= noisy.min()
    expected = bm3d.bm3d(noisy[0], SIGMA)
    denoised = BM3DDenoiser(sigma=SIGMA).fit(noisy).predict(noisy)[0]
    assert np.sqrt(mse(expected, denoised)) < 1e-3
    assert np.sqrt(mse(expected, noisy[0])) > 0.9 * SIGMA


def test_bm3d_is_better_on_photographs_than_non_local_means(bm3d):
    photo, noisy = cat("gray")
    means = NonLocalMeansDenoiser(sigma=SIGMA).fit(photo).predict(noisy)
    denoised = BM3DDenoiser(sigma=SIGMA).fit(photo).predict(noisy)
    assert psnr(photo, denoised, data_range=1) > psnr(photo, means, data_range=1) + 0.7


@pytest.mark.slow
def test_bm3d_denoises_colours_better_together(bm3d):
    photo, noisy = (x[:, :48, :48] for x in cat("rgb"))
    together = BM3DDenoiser(sigma=SIGMA).fit(photo).predict(noisy)
    planes = np.moveaxis(noisy, 3, 1)[0]
    apart = np.moveaxis(BM3DDenoiser(sigma=SIGMA).fit(planes).predict(planes), 0, 2)[None]
    assert psnr(photo, together, data_range=1) > psnr(photo, apart, data_range=1) + 0.5


def test_bm3d_takes_gray_images_of_three_channels(bm3d):
    photo, noisy = cat("gray")
    gray = np.repeat(noisy[..., None], 3, axis=3)
    denoised = BM3DDenoiser(sigma=SIGMA).fit(gray).predict(gray)
    assert mse(photo, denoised[..., 0]) < mse(photo, noisy)
    np.testing.assert_allclose(np.ptp(denoised, axis=3), 0, atol=1e-6)


def test_bm3d_leaves_images_whose_noise_is_below_single_precision(bm3d):
    _, noisy = cat("gray")
    np.testing.assert_array_equal(BM3DDenoiser(sigma=1e-30).fit(noisy).predict(noisy), noisy)


@pytest.mark.parametrize("color", ["gray", "rgb"])
def test_bm3d_gives_the_mean_of_images_that_are_lost_in_their_noise(bm3d, color):
    photo, _ = cat(color)
    denoised = BM3DDenoiser(sigma=1e5).fit(photo).predict(photo)
    np.testing.assert_allclose(denoised, np.broadcast_to(photo.mean(axis=(1, 2), keepdims=True), photo.shape))


def test_bm3d_leaves_flat_colours(bm3d):
    flat = np.broadcast_to([0.2, 0.5, 0.7], (1, 40, 40, 3))
    np.testing.assert_allclose(BM3DDenoiser(sigma=SIGMA).fit(flat).predict(flat), flat)
