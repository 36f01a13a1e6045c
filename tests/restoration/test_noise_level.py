from __future__ import annotations

import numpy as np
import pytest

from sk_denoise.datasets import load_images
from sk_denoise.restoration import estimate_sigma


def noise(shape, sigma, seed=0):
    return np.random.default_rng(seed).normal(0, sigma, shape)


@pytest.mark.parametrize("sigma", [0.01, 0.1, 0.3])
@pytest.mark.parametrize("shape", [(100, 100), (300, 200), (256, 256, 3), (40, 1000)])
def test_the_level_of_noise_alone_is_estimated(shape, sigma):
    assert estimate_sigma(0.5 + noise(shape, sigma)) == pytest.approx(sigma, rel=0.08)


@pytest.mark.parametrize("sigma", [5, 15, 25, 50])
def test_the_level_of_noise_on_photos_is_estimated(sigma):
    for photo in load_images("gray").test:
        noisy = 255 * photo[:256, :256] + noise((256, 256), sigma)
        assert estimate_sigma(noisy / 255) * 255 == pytest.approx(sigma, abs=2.5)


def test_the_level_has_the_unit_of_the_image():
    bytes_ = (128 + noise((200, 200), 10)).round().astype(np.uint8)
    assert estimate_sigma(bytes_) == pytest.approx(10, rel=0.08)
    words = (30000 + noise((200, 200), 2000)).round().astype(np.uint16)
    assert estimate_sigma(words) == pytest.approx(2000, rel=0.08)


def test_clipped_pixels_are_ignored():
    image = np.full((256, 256), 0.5)
    image[:, :160] = 0.0
    noisy = np.clip(image + noise(image.shape, 0.05), 0, 1)
    assert estimate_sigma(noisy) == pytest.approx(0.05, rel=0.1)


def test_alpha_is_ignored():
    image = np.dstack([0.5 + noise((100, 100), 0.1), np.ones((100, 100))])
    assert estimate_sigma(image) == pytest.approx(0.1, rel=0.1)


@pytest.mark.parametrize("shape", [(1, 1), (2, 50), (3, 3), (17, 5)])
def test_tiny_images_have_a_level_too(shape):
    assert 0 <= estimate_sigma(noise(shape, 0.1)) < 1


def test_a_constant_image_has_no_noise():
    assert estimate_sigma(np.full((64, 64), 0.3)) == 0


def test_only_parts_of_a_large_image_are_read():
    image = (128 + noise((3000, 3000), 10)).round().astype(np.uint8)
    assert estimate_sigma(image) == pytest.approx(10, rel=0.05)


def test_dark_images_of_few_grey_levels_have_noise_too():
    image = np.abs(noise((128, 128), 1.5)).round().astype(np.uint8)  # half of it is black or nearly so
    assert estimate_sigma(image) > 0.5
