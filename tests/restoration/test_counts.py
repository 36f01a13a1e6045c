"""Denoising of counts at several scales.

``denoise_counts`` has no public name; the white-noise denoiser is ``denoise_image`` with a given level.
"""

from __future__ import annotations

import numpy as np
import pytest

from sk_denoise.preprocessing import VarianceStabilizer
from sk_denoise.restoration import denoise_image
from sk_denoise.restoration._counts import denoise_counts


def white(image, sigma):
    return denoise_image(image, sigma=sigma)


def scene(height=128, width=128):
    y, x = np.mgrid[:height, :width]
    image = 0.1 + 0.5 * x / width
    image[np.hypot(y - 60, x - 50) < 25] = 0.9
    image[90:110, 20:100] = 0.03
    return image


def counts_of(clean, read_noise=0.0):
    rng = np.random.default_rng(0)
    return rng.poisson(clean) + rng.normal(0, read_noise, clean.shape)


def error(output, clean):
    return float(np.mean((output - clean) ** 2))


@pytest.mark.parametrize(("peak", "read_noise", "ratio"), [(2, 0, 0.8), (5, 2, 0.8), (5, 20, 0.98)])
def test_several_scales_beat_one_where_the_noise_is_strong(peak, read_noise, ratio):
    clean = peak * scene()
    noisy = counts_of(clean, read_noise)
    stabilizer = VarianceStabilizer(1.0, read_noise, 0.0).fit(noisy[None])
    one = stabilizer.inverse_transform(white(stabilizer.transform(noisy[None])[0], 1.0)[None])[0]
    assert error(denoise_counts(noisy, 1.0, read_noise, 0.0, white), clean) < ratio * error(one, clean)


@pytest.mark.parametrize("peak", [5, 30, 200])
def test_the_mean_is_kept_in_bright_and_in_dark_parts(peak):
    clean = peak * scene()
    denoised = denoise_counts(counts_of(clean), 1.0, 0.0, 0.0, white)
    for part in (clean > 0.85 * peak, clean < 0.05 * peak):
        n_photons = clean[part].sum()
        assert abs(denoised[part].sum() - n_photons) < 0.05 * n_photons + 5 * np.sqrt(n_photons)


def test_unit_and_offset_do_not_change_the_result():
    clean = 20 * scene()
    noisy = counts_of(clean, 1.0)
    one = denoise_counts(noisy, 1.0, 1.0, 0.0, white)
    other = denoise_counts(100 + 0.5 * noisy, 0.5, 0.5, 100.0, white)
    np.testing.assert_allclose((other - 100) / 0.5, one, atol=0.05)


def test_a_bright_point_on_a_dark_ground_stays():
    clean = np.full((96, 96), 1.0)
    clean[48, 31] = 1000.0
    denoised = denoise_counts(counts_of(clean), 1.0, 0.0, 0.0, white)
    assert denoised[48, 31] > 850
    assert np.abs(denoised - clean)[clean < 2].mean() < 0.3


@pytest.mark.parametrize("shape", [(1, 1), (1, 90), (7, 5), (33, 47), (65, 64)])
def test_images_of_any_size_keep_their_shape(shape):
    denoised = denoise_counts(counts_of(np.full(shape, 3.0)), 1.0, 0.0, 0.0, white)
    assert denoised.shape == shape
    assert np.isfinite(denoised).all()


def test_channels_have_noise_of_their_own():
    clean = 40 * np.stack([scene(), scene()[:, ::-1], scene()[::-1]], axis=-1)
    gains = np.array([1.0, 0.5, 2.0])
    noisy = gains * counts_of(clean / gains)
    denoised = denoise_counts(noisy, gains, 0.0, 0.0, white)
    assert (np.mean((denoised - clean) ** 2, axis=(0, 1)) < 0.15 * gains * clean.mean((0, 1))).all()


def test_strong_white_noise_passes_as_well():
    clean = scene()
    noisy = clean + np.random.default_rng(0).normal(0, 1.0, clean.shape)
    assert error(denoise_counts(noisy, 0.0, 1.0, 0.0, white), clean) < 0.9 * error(white(noisy, 1.0), clean)


def test_noise_of_zero_is_refused():
    with pytest.raises(ValueError, match="needs a gain or a read noise above 0"):
        denoise_counts(np.ones((8, 8)), 0.0, 0.0, 0.0, white)
