"""Noise of real sources: counts, JPEG, hot pixels, stripes, holes; and images without noise."""

import io
import warnings

import numpy as np
import pytest
from PIL import Image
from skimage import data

from sk_denoise import GaussianNoiser, ImageDenoiser
from sk_denoise.exceptions import NoiseMismatchWarning
from sk_denoise.restoration import NoiseModel, denoise_image


def rng(seed=0):
    return np.random.default_rng(seed)


def as_bytes(x):
    return np.clip(np.round(x), 0, 255).astype(np.uint8)


def decibels(truth, output, white=255.0):
    return -10 * np.log10(np.mean((np.asarray(output, float) - truth) ** 2) / white**2 + 1e-30)


def landscape(n=192):
    y, x = np.mgrid[:n, :n]
    return 128 + 60 * np.sin(x / 17) * np.cos(y / 23)


@pytest.mark.parametrize("gain", [1.0, 37.5])
def test_counts_are_denoised_where_they_are_bright(gain):
    clean = gain * (1 + 200 * (np.mgrid[:192, :192][1] / 191) ** 2)
    counts = gain * rng().poisson(clean / gain)
    bright = clean > 100 * gain
    denoised = denoise_image(counts)
    assert np.std((denoised - clean)[bright]) < 0.25 * np.std((counts - clean)[bright])
    # Black keeps its mean: the inverse of the transform is unbiased.
    dark = clean < 4 * gain
    assert abs(np.mean((denoised - clean)[dark])) < 0.15 * gain


def test_counts_of_integers_keep_type_and_alpha():
    clean = np.dstack([0.2 * data.camera()[:96, :96]] * 3)
    counts = rng().poisson(clean).astype(np.uint16)
    alpha = np.full((96, 96, 1), 1000, np.uint16)
    denoised = denoise_image(np.dstack([counts, alpha]), noise="counts")
    assert denoised.dtype == np.uint16
    np.testing.assert_array_equal(denoised[..., 3:], alpha)
    assert decibels(clean, denoised[..., :3], 51) > decibels(clean, counts, 51) + 4


@pytest.mark.slow
@pytest.mark.parametrize("quality", [75, 90])
def test_noise_of_a_compressed_photo_is_removed(quality):
    clean = np.dstack([landscape(256)] * 3)
    stream = io.BytesIO()
    noisy = as_bytes(clean + rng().normal(0, 15, clean.shape))
    Image.fromarray(noisy).save(stream, "JPEG", quality=quality)
    compressed = np.asarray(Image.open(stream))
    told = max(decibels(clean, denoise_image(compressed, sigma=sigma)) for sigma in (10, 20, 30))
    assert decibels(clean, denoise_image(compressed)) > told - 2


def test_images_without_noise_stay_as_they_are():
    page = np.full((160, 300), 255, np.uint8)
    page[20:24, 30:250] = page[60:64, 30:200] = 0
    np.testing.assert_array_equal(denoise_image(page), page)


@pytest.mark.parametrize("name", ["coffee", "chelsea", "astronaut"])
def test_good_photos_stay(name):
    photo = getattr(data, name)()[60:252, 60:252]
    assert decibels(photo.astype(float), denoise_image(photo)) > 40


def test_patterns_of_single_pixels_lose_little():
    stripes = np.where((np.indices((128, 128)).sum(0) % 2) > 0, 200.0, 50.0)
    noisy = stripes + rng().normal(0, 5, stripes.shape)
    assert decibels(stripes, denoise_image(noisy, sigma=5)) > decibels(stripes, noisy) - 5


# Pixels without a value ------------------------------------------------------------------------------


def test_nan_stays_and_the_rest_is_denoised():
    clean = landscape() / 255
    noisy = clean + rng().normal(0, 0.1, clean.shape)
    holes = rng(1).random(clean.shape) < 0.05
    holes[:40, :50] = True
    broken = np.where(holes, np.nan, noisy)
    denoised = denoise_image(broken)
    np.testing.assert_array_equal(np.isnan(denoised), holes)
    assert np.isnan(broken).sum() == holes.sum()
    gain = decibels(clean[~holes], denoised[~holes], 1) - decibels(clean[~holes], noisy[~holes], 1)
    assert gain > 8


def test_masked_pixels_stay_and_have_no_effect():
    noisy = as_bytes(landscape() + rng().normal(0, 10, (192, 192)))
    mask = np.ones((192, 192), bool)
    mask[60:90, 60:90] = False
    black, white = noisy.copy(), noisy.copy()
    black[~mask], white[~mask] = 0, 255
    first, second = denoise_image(black, mask=mask), denoise_image(white, mask=mask)
    np.testing.assert_array_equal(first[mask], second[mask])
    assert (first[~mask] == 0).all()
    assert (second[~mask] == 255).all()


def test_colour_below_transparency_does_not_bleed():
    photo = as_bytes(data.coffee()[:128, :128] + rng().normal(0, 15, (128, 128, 3)))
    alpha = np.full((128, 128, 1), 255, np.uint8)
    alpha[:, 64:] = 0
    images = []
    for hidden in ((255, 0, 255), (0, 0, 0)):
        image = photo.copy()
        image[:, 64:] = hidden
        images.append(denoise_image(np.dstack([image, alpha])))
        assert (images[-1][:, 64:, :3] == hidden).all()
    np.testing.assert_array_equal(images[0][:, :64], images[1][:, :64])


# Hot pixels and stripes ------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.001, 0.005])
def test_hot_pixels_are_replaced_on_request(share):
    clean = data.camera()[:192, :192].astype(float)
    noisy = clean + rng().normal(0, 5, clean.shape)
    hot = rng(1).random(clean.shape) < share
    noisy[hot] = rng(2).choice([0.0, 255.0, 400.0], hot.sum())
    kept, replaced = denoise_image(noisy), denoise_image(noisy, outliers="replace")
    assert decibels(clean, replaced) > decibels(clean, kept) + 3
    assert np.median(np.abs(replaced - clean)[hot]) < 10


def test_stars_of_several_pixels_are_no_hot_pixels():
    y, x = np.mgrid[:128, :128]
    sky = 100 + sum(
        900 * np.exp(-((x - a) ** 2 + (y - b) ** 2) / 2 / 1.1**2) for a, b in rng().integers(8, 120, (20, 2))
    )
    noisy = sky + rng().normal(0, 8, sky.shape)
    assert denoise_image(noisy, sigma=8, outliers="replace").max() > 0.9 * sky.max()


@pytest.mark.parametrize("axis", [0, 1])
def test_stripes_of_a_detector_are_removed(axis):
    clean = data.camera()[:256, :256].astype(float)
    offsets = rng(1).normal(0, 8, (256, 1))
    noisy = clean + rng().normal(0, 6, clean.shape) + (offsets if axis == 0 else offsets.T)
    denoised = denoise_image(noisy)
    means = np.mean(denoised - clean, axis=1 - axis)
    assert np.std(means) < 0.5 * np.std(offsets)


def test_lines_of_a_table_are_no_stripes():
    page = np.full((256, 256), 250.0)
    page[::16] = 0
    noisy = as_bytes(page + rng().normal(0, 3, page.shape))
    assert decibels(page, denoise_image(noisy)) > decibels(page, noisy)


# Options ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"sigma": 15}, {"noise": "white"}])
def test_a_gray_image_with_three_channels_stays_gray(options):
    noisy = as_bytes(landscape() + rng().normal(0, 15, (192, 192)))
    alpha = np.full_like(noisy, 200)
    denoised = denoise_image(np.dstack([noisy, noisy, noisy, alpha]), **options)
    for channel in range(3):
        np.testing.assert_array_equal(denoised[..., channel], denoise_image(noisy, **options))
    np.testing.assert_array_equal(denoised[..., 3], alpha)


def test_strength_blends_with_the_image():
    noisy = landscape() / 255 + rng().normal(0, 0.1, (192, 192))
    full, half, none = (denoise_image(noisy, strength=strength) for strength in (1.0, 0.5, 0))
    np.testing.assert_allclose(half, (full + noisy) / 2, atol=1e-6)
    np.testing.assert_array_equal(none, noisy)


def test_each_channel_may_have_its_own_level():
    clean = data.coffee()[:128, :128].astype(float)
    sigmas = (5, 15, 40)
    noisy = clean + rng().normal(0, 1, clean.shape) * sigmas
    denoised = denoise_image(noisy, sigma=sigmas)
    for channel in range(3):
        alone = denoise_image(noisy[..., channel], sigma=sigmas[channel])
        np.testing.assert_allclose(denoised[..., channel], alone, atol=0.5)
    automatic = denoise_image(noisy)
    assert decibels(clean, automatic) > decibels(clean, denoised) - 0.5


def test_a_model_of_one_image_serves_for_others():
    noisy = landscape() + rng().normal(0, 10, (192, 192))
    np.testing.assert_array_equal(
        denoise_image(noisy, noise=NoiseModel("white", 10.0)), denoise_image(noisy, sigma=10.0)
    )


def test_little_removed_with_much_variation_warns():
    texture = as_bytes(128 + 40 * rng().standard_normal((160, 160)))
    with pytest.warns(
        NoiseMismatchWarning, match="Next to nothing was removed, .* pass noise='camera', or sigma="
    ):
        denoise_image(texture, noise=NoiseModel("none", 0.0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        denoise_image(np.zeros((40, 40)), noise=NoiseModel("none", 0.0))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"noise": "pink"}, ValueError, "Unknown noise 'pink'. Known: 'auto', 'white'"),
        ({"noise": 5}, TypeError, "noise must be one of auto, white, .* or a noiser, got 5"),
        ({"noise": "counts", "sigma": 3}, ValueError, "Pass either sigma or noise"),
        ({"strength": 1.5}, ValueError, "strength is the share .* from 0 to 1, got 1.5"),
        ({"strength": True}, ValueError, "strength is the share"),
        ({"outliers": "drop"}, ValueError, "Unknown outliers 'drop'"),
        ({"mask": np.zeros((20, 20), bool)}, ValueError, "mask selects no pixel"),
        ({"mask": np.ones((20, 21), bool)}, ValueError, r"of shape \(20, 20\), got bool of shape \(20, 21\)"),
        ({"mask": np.full((20, 20), 0.5)}, ValueError, "mask must be True or False"),
    ],
)
def test_impossible_options_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        denoise_image(np.zeros((20, 20)), **options)


def test_a_network_of_the_user_removes_the_noise_of_its_training():
    images = [landscape(64) / 255]
    denoiser = ImageDenoiser(noise=GaussianNoiser(0.1), max_epochs=1, patch_size=16, random_state=0).fit(
        images
    )
    assert denoise_image(images[0], model=denoiser, noise="white").shape == (64, 64)
    with pytest.raises(ValueError, match="A network of your own removes the noise of its training"):
        denoise_image(images[0], model=denoiser, noise="counts")
