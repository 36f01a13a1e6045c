"""The fit of noise that grows with the intensity, through VarianceStabilizer."""

from __future__ import annotations

import numpy as np
import pytest
from skimage import data

from sk_denoise import VarianceStabilizer

SIDE = 256


def scene(seed=0):
    """Return a scene in [0, 1] with flat, smooth, textured and sharp parts."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    image = 0.15 + 0.7 * x / SIDE + 0.05 * np.sin(y / 19)
    image[40:90, 60:140] = 0.9
    image[150:200, 20:110] = 0.05
    image[160:240, 150:230] += rng.normal(0, 0.05, (80, 80))
    return np.clip(image, 0.02, 1)


def counts_of(peak, read_noise=0.0, seed=1):
    rng = np.random.default_rng(seed)
    return rng.poisson(peak * scene()) + rng.normal(0, read_noise, (SIDE, SIDE))


def fitted(*images, **parameters):
    return VarianceStabilizer(**parameters).fit(np.stack(images))


def level_error(stabilizer, peak, read_noise):
    """Return the mean relative error of the noise level over the scene."""
    mean = peak * scene()
    variance = stabilizer.gain_ * (mean - stabilizer.offset_) + stabilizer.read_noise_**2
    return float(np.mean(np.abs(np.sqrt(np.maximum(variance, 0) / (mean + read_noise**2)) - 1)))


@pytest.mark.parametrize("read_noise", [0, 2, 5])
@pytest.mark.parametrize("peak", [2, 10, 50, 200])
def test_the_level_of_counts_is_found_all_over_the_image(peak, read_noise):
    assert level_error(fitted(counts_of(peak, read_noise)), peak, read_noise) < 0.06


def test_gain_and_read_noise_of_a_detector_are_found():
    stabilizer = fitted(3.0 * counts_of(100, 4.0))
    assert stabilizer.gain_ == pytest.approx(3, rel=0.1)
    assert stabilizer.read_noise_ == pytest.approx(12, rel=0.2)
    assert stabilizer.offset_ == 0
    assert stabilizer.trust_ > 0.5


def test_a_black_level_shows_where_the_line_meets_zero():
    stabilizer = fitted(100 + 0.5 * counts_of(200))
    assert stabilizer.gain_ == pytest.approx(0.5, rel=0.08)
    assert stabilizer.offset_ == pytest.approx(100, abs=2.5)
    assert stabilizer.read_noise_ == 0


def test_given_parameters_are_kept_and_the_others_follow_from_the_line():
    noisy = 100 + 0.5 * counts_of(200, 3.0)
    stabilizer = fitted(noisy, offset=100.0)
    assert stabilizer.offset_ == 100
    assert stabilizer.read_noise_ == pytest.approx(1.5, rel=0.25)
    stabilizer = fitted(noisy, read_noise=1.5)
    assert stabilizer.read_noise_ == 1.5
    assert stabilizer.offset_ == pytest.approx(100, abs=2.5)
    stabilizer = fitted(noisy, gain=0.5)
    assert stabilizer.gain_ == 0.5
    assert stabilizer.offset_ == pytest.approx(95.5, abs=2.5)
    stabilizer = fitted(noisy, gain=0.4, read_noise=2.0, offset=90.0)
    assert (stabilizer.gain_, stabilizer.read_noise_, stabilizer.offset_) == (0.4, 2.0, 90.0)


@pytest.mark.parametrize("sigma", [5, 15, 50])
@pytest.mark.parametrize("name", ["camera", "coins", "moon", "page"])
def test_white_noise_on_photos_and_text_has_one_level(name, sigma):
    clean = getattr(data, name)().astype(float)
    noisy = clean + np.random.default_rng(0).normal(0, sigma, clean.shape)
    for image in (noisy, np.clip(np.rint(noisy), 0, 255).astype(np.uint8)):
        stabilizer = fitted(image)
        assert stabilizer.gain_ == 0
        assert stabilizer.read_noise_ == pytest.approx(sigma, rel=0.15)


@pytest.mark.filterwarnings("ignore:No part of X is flat")
@pytest.mark.parametrize("name", ["camera", "coins", "moon", "page", "text", "brick", "grass", "gravel"])
def test_clean_photos_do_not_look_like_counts(name):
    stabilizer = fitted(getattr(data, name)())
    assert stabilizer.gain_ == 0
    assert stabilizer.read_noise_ < 6


def hot_pixels(image):
    return np.where(np.random.default_rng(5).random(image.shape) < 0.005, 4000.0, image)


def framed(image, value):
    frame = np.full((SIDE + 67, SIDE + 45), value)
    frame[33:-34, 21:-24] = image
    return frame


def captioned(image):
    return np.where(np.kron(data.text()[:32, :64] < 100, np.ones((8, 4)))[:SIDE, :SIDE] > 0, 0.0, image)


DISTURBANCES = {
    "hot pixels": hot_pixels,
    "zero padding": lambda image: framed(image, 0.0),
    "frame": lambda image: framed(image, 17.0),
    "caption": captioned,
    "clipped at white": lambda image: np.minimum(image, 45),
    "integers": lambda image: image.astype(np.uint16),
    "half precision": lambda image: image.astype(np.float16),
}


@pytest.mark.parametrize("disturb", DISTURBANCES.values(), ids=DISTURBANCES)
def test_disturbances_do_not_move_the_fit(disturb):
    assert fitted(disturb(counts_of(50))).gain_ == pytest.approx(1, rel=0.12)


@pytest.mark.parametrize("unit", [1e-12, 256.0, 1e30])
def test_the_fit_scales_with_the_unit(unit):
    one, other = fitted(counts_of(50)), fitted(unit * counts_of(50))
    assert other.gain_ == pytest.approx(unit * one.gain_, rel=0.01)
    assert other.read_noise_ == pytest.approx(unit * one.read_noise_, rel=0.05)


def test_binned_counts_have_the_gain_of_their_mean():
    sums = counts_of(50).reshape(SIDE // 2, 2, SIDE // 2, 2).sum(axis=(1, 3))
    assert fitted(sums).gain_ == pytest.approx(1, rel=0.15)
    assert fitted(sums / 4).gain_ == pytest.approx(0.25, rel=0.15)


def test_counts_rounded_to_a_coarse_step_keep_their_gain():
    assert fitted(8 * np.floor(counts_of(100) / 8)).gain_ == pytest.approx(1, rel=0.15)


def test_images_of_one_source_are_fitted_together():
    tiles = np.stack([counts_of(50, seed=seed)[:96, 32 * seed : 32 * seed + 48] for seed in range(5)])
    assert VarianceStabilizer().fit(tiles).gain_ == pytest.approx(1, rel=0.2)


def test_a_stack_beyond_the_limit_is_read_in_part():
    stack = np.broadcast_to(counts_of(50).astype(np.float32), (60, SIDE, SIDE))
    assert VarianceStabilizer().fit(stack).gain_ == pytest.approx(1, rel=0.12)


def test_channels_have_gains_of_their_own():
    channels = np.stack([counts_of(50), 2 * counts_of(80, seed=2), 0.3 * counts_of(40, seed=3)], axis=-1)
    np.testing.assert_allclose(VarianceStabilizer().fit(channels[None]).gain_, [1, 2, 0.3], rtol=0.12)


def test_signals_are_fitted_by_their_neighbours():
    rng = np.random.default_rng(0)
    shift = rng.uniform(100, 900, (60, 1))
    clean = 5 + 150 * np.exp(-(((np.arange(1000) - shift) / 60) ** 2))
    stabilizer = VarianceStabilizer().fit(rng.poisson(clean))
    assert stabilizer.gain_ == pytest.approx(1, rel=0.1)
    stabilizer = VarianceStabilizer().fit(clean + rng.normal(0, 4, clean.shape))
    assert stabilizer.gain_ == 0
    assert stabilizer.read_noise_ == pytest.approx(4, rel=0.05)
