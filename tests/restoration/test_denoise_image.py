from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sk_denoise import GaussianNoiser, ImageDenoiser, RegionNoiser, UnreadableImageError, restoration
from sk_denoise.datasets import load_images
from sk_denoise.exceptions import NoiseMismatchWarning
from sk_denoise.io import read_image, write_image
from sk_denoise.metrics import psnr
from sk_denoise.restoration import MODELS, denoise_file, denoise_image, estimate_sigma, load_pretrained


@pytest.fixture(scope="module")
def photos():
    """Return gray photos of 160 x 200 pixels in [0, 1]."""
    return [photo[100:260, 100:300] for photo in load_images("gray").test]


def noisy(photo, sigma=25 / 255, seed=0):
    return (photo + np.random.default_rng(seed).normal(0, sigma, photo.shape)).astype(np.float32)


def decibels(clean, other):
    return psnr(clean[None], other[None], data_range=1)


@pytest.mark.parametrize("level", [15, 25, 50])
def test_photos_become_far_better(photos, level):
    for photo in photos:
        image = noisy(photo, level / 255)
        assert decibels(photo, denoise_image(image, sigma=level / 255)) > decibels(photo, image) + 2.5


def test_a_missing_level_is_estimated(photos):
    for photo in photos:
        image = noisy(photo)
        known, estimated = denoise_image(image, sigma=25 / 255), denoise_image(image)
        assert decibels(photo, estimated) > decibels(photo, known) - 0.5


@pytest.mark.parametrize("tile_size", [64, 96])
@pytest.mark.parametrize("sides", [(160, 200), (157, 199), (158, 130)])
def test_tiles_and_the_whole_image_agree(photos, tile_size, sides):
    image = noisy(photos[0])[: sides[0], : sides[1]]
    whole, tiled = (
        denoise_image(image, sigma=0.1, tile_size=size, precision="float32") for size in (None, tile_size)
    )
    assert np.abs(whole - tiled).max() < 1e-5


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32, np.float64])
def test_type_and_shape_are_kept(photos, dtype):
    white = 1 if np.dtype(dtype).kind == "f" else np.iinfo(dtype).max
    image = (noisy(photos[0]).clip(0, 1) * white).astype(dtype)
    before = image.copy()
    restored = denoise_image(image, sigma=white * 25 / 255)
    assert restored.dtype == dtype
    assert restored.shape == image.shape
    np.testing.assert_array_equal(image, before)
    expected = denoise_image(image.astype(np.float64) / white, sigma=25 / 255)
    np.testing.assert_allclose(restored / white, expected, atol=0.5 / min(white, 255) if white > 1 else 2e-3)


def test_colour_is_denoised_and_alpha_is_kept():
    photo = load_images().test[0][:100, :120]
    image = noisy(photo)
    restored = denoise_image(image, sigma=25 / 255)
    assert decibels(photo, restored) > decibels(photo, image) + 5
    alpha = np.random.default_rng(0).random((100, 120, 1)).astype(np.float32)
    both = denoise_image(np.dstack([image, alpha]), sigma=25 / 255)
    np.testing.assert_array_equal(both[..., :3], restored)
    np.testing.assert_array_equal(both[..., 3:], alpha)
    by_channel = denoise_image(image, sigma=25 / 255, model="gray")
    gray = denoise_image(np.dstack([image[..., :1], alpha]), sigma=25 / 255)
    np.testing.assert_array_equal(gray[..., 0], by_channel[..., 0])
    np.testing.assert_array_equal(gray[..., 1:], alpha)
    assert decibels(photo, restored) > decibels(photo, by_channel)


@pytest.mark.parametrize("sides", [(1, 1), (1, 9), (2, 3), (5, 4)])
def test_the_smallest_images_pass(sides):
    image = np.random.default_rng(0).random(sides)
    restored = denoise_image(image, sigma=0.1)
    assert restored.shape == sides
    assert np.isfinite(restored).all()


@pytest.mark.slow
def test_a_self_ensemble_does_not_depend_on_rotation(photos):
    image = noisy(photos[0])[:96, :96]
    one = denoise_image(image, sigma=0.1, ensemble=True, precision="float32")
    turned = denoise_image(np.rot90(image), sigma=0.1, ensemble=True, precision="float32")
    np.testing.assert_allclose(np.rot90(one), turned, atol=1e-5)
    tiled = denoise_image(image, sigma=0.1, ensemble=True, tile_size=48, precision="float32")
    np.testing.assert_allclose(tiled, one, atol=1e-5)
    single = denoise_image(image, sigma=0.1, precision="float32")
    assert decibels(photos[0][:96, :96], one) > decibels(photos[0][:96, :96], single) - 0.01


def test_half_precision_changes_little(photos):
    image = noisy(photos[0])
    exact, half = (denoise_image(image, sigma=0.1, precision=p) for p in ("float32", "bfloat16"))
    assert 0 < np.abs(exact - half).mean() < 0.005


def test_without_noise_the_image_is_unchanged(photos):
    restored = denoise_image(photos[0], sigma=0)
    np.testing.assert_array_equal(restored, photos[0])
    assert not np.shares_memory(restored, photos[0])
    np.testing.assert_array_equal(denoise_image(np.full((40, 40), 7, np.uint8)), 7)


@pytest.mark.parametrize("sigma", [75 / 255, 150 / 255, 0.9])
@pytest.mark.parametrize("is_given", [True, False])
def test_noise_stronger_than_that_of_the_training_is_removed_too(photos, sigma, is_given):
    image = noisy(photos[0], sigma)
    restored = denoise_image(image, sigma=sigma if is_given else None)
    assert decibels(photos[0], restored) > decibels(photos[0], image) + 9
    as_bytes = np.rint(255 * image.clip(0, 1)).astype(np.uint8)
    restored = denoise_image(as_bytes, sigma=255 * sigma if is_given else None) / 255
    assert decibels(photos[0], restored) > decibels(photos[0], as_bytes / 255) + 4


@pytest.mark.parametrize("sigma", [0, 0.1, 0.25, 0.5, 1])
@pytest.mark.parametrize("color", ["gray", "rgb"])
def test_noise_weaker_than_the_error_of_the_networks_does_no_harm(sigma, color):
    clean = load_images(color).test[0][:128, :128]
    image = noisy(clean, sigma / 255)
    restored = denoise_image(image, sigma=sigma / 255)
    assert np.mean((restored - clean) ** 2) <= 1.01 * np.mean((image - clean) ** 2)


def test_the_residual_is_no_larger_than_noise_can_be(photos):
    """Stars and beads are not noise, even if the training had no similar images."""
    sky = photos[0] / 20
    places = np.random.default_rng(0).integers(0, len(sky), (2, 20))
    sky[*places] = 1
    image = noisy(sky, 0.002)
    for where, what in {"as it is": image, "counts": 4095 * image}.items():
        white = what.max()
        restored = denoise_image(what, sigma=0.002 * white / image.max()) * image.max() / white
        assert np.abs(restored - image).max() <= 5.001 * 0.002, where
        assert restored[*places].min() > 0.98, where
        others = sky < 1
        assert np.mean((restored - sky)[others] ** 2) < 0.35 * np.mean((image - sky)[others] ** 2), where


@pytest.mark.parametrize("black", [0, -1000, 5000, 1e6])
@pytest.mark.parametrize("span", [4095, 1e-3, 1e200])
def test_floats_of_any_range_are_denoised_like_those_in_the_unit_range(photos, black, span):
    """Black and white of camera counts or heights above the sea follow from the numbers."""
    image = noisy(photos[0]).astype(np.float64)
    black = black * max(span / 4095, 1e-3)
    for sigma in (None, 0.1):
        expected = denoise_image(image, sigma=sigma)
        restored = denoise_image(black + span * image, sigma=None if sigma is None else span * sigma)
        restored = (restored - black) / span
        error, usual = (np.mean((x - photos[0]) ** 2) for x in (restored, expected))
        assert error < 1.05 * usual


@pytest.mark.parametrize("sigma", ["map", "blind"])
def test_a_user_network_scales_counts_to_the_unit_of_its_training(photos, sigma):
    noise = GaussianNoiser((0, 0.2))
    denoiser = ImageDenoiser(noise=noise, sigma=sigma, max_epochs=1, patch_size=32, random_state=0)
    denoiser.fit([photo[:64, :64] for photo in photos])
    image = noisy(photos[0])
    restored = denoise_image(4095 * image, model=denoiser, precision="float32")
    as_it_is = denoise_image(image, model=denoiser, precision="float32")  # only noise lies beyond [0, 1]
    np.testing.assert_allclose(restored / 4095, as_it_is, atol=1e-4)
    np.testing.assert_allclose(as_it_is, denoiser.predict([image])[0], atol=1e-6)


@pytest.mark.parametrize("white", [1, 255])
def test_a_user_network_does_not_scale_an_image_with_noise_far_beyond_white(photos, white):
    training_images = [
        (white * photo[:64, :64]).astype(np.uint8 if white == 255 else np.float32) for photo in photos
    ]
    noise = RegionNoiser(GaussianNoiser(0.6 * white), (0.3, 1.0))
    denoiser = ImageDenoiser(noise=noise, max_epochs=1, patch_size=32, random_state=0).fit(training_images)
    image = noisy(photos[0], 0.6)
    assert np.quantile(image, 0.999) > 1.5
    as_it_is = denoise_image(image, model=denoiser, precision="float32")
    np.testing.assert_allclose(as_it_is, denoiser.predict([white * image])[0] / white, atol=1e-5)
    counts = denoise_image(4095 * image, model=denoiser, precision="float32") / 4095
    np.testing.assert_allclose(counts, as_it_is, atol=1e-3)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_patterns_that_look_like_extreme_noise_pass(dtype):
    white = 1.0 if dtype is np.float32 else np.iinfo(dtype).max
    for image in (np.indices((64, 64)).sum(0) % 2, np.eye(2), np.array([[0, 1, 0]])):
        pattern = (white * image).astype(dtype)
        with pytest.warns(NoiseMismatchWarning, match="as patterns of two values do"):
            restored = denoise_image(pattern)
        assert restored.dtype == dtype
        np.testing.assert_array_equal(restored, pattern)


def test_a_sigma_larger_than_the_numbers_of_the_image_is_refused():
    photons = np.zeros((128, 128))
    photons[::37, ::37] = 50
    assert denoise_image(photons, sigma=2).max() > 35
    with pytest.raises(ValueError, match=r"sigma reaches 51, and the numbers of image 0 to 50\. "):
        denoise_image(photons, sigma=51)


@pytest.mark.parametrize("scale", [1, 0.3])
def test_a_user_network_scales_counts_with_strong_noise_too(photos, scale):
    denoiser = ImageDenoiser(
        noise=GaussianNoiser((0, 0.5)), sigma="map", max_epochs=1, patch_size=32, random_state=0
    ).fit([photo[:64, :64] for photo in photos])
    image = scale * noisy(photos[0], 0.3)
    for sigma in (None, 0.3 * scale):
        counts = denoise_image(1000 * image, sigma=sigma and 1000 * sigma, model=denoiser) / 1000
        assert np.abs(counts).max() < 5


@pytest.mark.slow
@pytest.mark.parametrize(("weak", "strong"), [(2, 120), (10, 250)])
def test_strong_noise_in_a_map_does_not_change_places_with_weak_noise(photos, weak, strong):
    photo = photos[0]
    left = np.arange(photo.shape[1]) < 100
    sigma = np.where(left, weak, strong) / 255 * np.ones(photo.shape)
    rng = np.random.default_rng(0)
    image = (photo + sigma * rng.normal(size=photo.shape)).astype(np.float32)
    restored = denoise_image(image, sigma=sigma, precision="float32")
    alone = denoise_image(image[:, :100], sigma=weak / 255, precision="float32")
    assert decibels(photo[:, :80], restored[:, :80]) > decibels(photo[:, :80], alone[:, :80]) - 0.1
    assert decibels(photo[:, 100:], restored[:, 100:]) > decibels(photo[:, 100:], image[:, 100:]) + 9
    calls = []
    tiled = denoise_image(
        image, sigma=sigma, precision="float32", tile_size=64, callback=lambda *n: calls.append(n)
    )
    np.testing.assert_allclose(tiled, restored, atol=1e-5)
    assert calls == [(done, 24) for done in range(25)]
    both = denoise_image(np.dstack([image] * 3), sigma=sigma, model="gray", precision="float32")
    np.testing.assert_allclose(both, np.dstack([restored] * 3), atol=1e-6)


def test_a_single_pixel_marked_as_bad_changes_nothing_elsewhere(photos):
    image = noisy(photos[0], 3 / 255)
    sigma = np.full(image.shape, 3 / 255)
    expected = denoise_image(image, sigma=sigma, precision="float32")
    sigma[0, 0] = 1
    restored = denoise_image(image, sigma=sigma, precision="float32")
    np.testing.assert_allclose(restored[100:], expected[100:], atol=1e-6)
    assert decibels(photos[0], restored) > decibels(photos[0], expected) - 0.05


def test_lights_beyond_white_are_unchanged(photos):
    night = 0.2 * photos[0]
    night[40:44, 40:44] = night[100:103, 60:64] = 3
    image = noisy(night, 0.05)
    restored = denoise_image(image, sigma=0.05)
    np.testing.assert_array_equal(restored[night == 3], image[night == 3])


@pytest.mark.parametrize("value", [0.0, 7.5, 1e200, -1e300])
def test_flat_images_have_no_noise(value):
    np.testing.assert_array_equal(denoise_image(np.full((40, 40), value)), value)


def test_one_flat_channel_of_large_numbers_harms_no_other(photos):
    image = noisy(photos[0]).astype(np.float64) * 1e39
    restored = denoise_image(np.dstack([image, image, np.full(image.shape, 1e39)])) / 1e39
    assert decibels(photos[0], restored[..., 0]) > decibels(photos[0], noisy(photos[0])) + 3


@pytest.mark.parametrize(("black", "span"), [(1e9, 100.0), (1e12, 100.0), (0, 1e200)])
def test_a_user_network_loses_no_digits_of_doubles(photos, black, span):
    model = load_pretrained("gray")
    restored = denoise_image(black + span * noisy(photos[0]).astype(np.float64), model=model)
    assert decibels(photos[0], (restored - black) / span) > decibels(photos[0], noisy(photos[0])) + 5


@pytest.mark.parametrize("value", [1e30, -1e9, 1e7, 1e300])
def test_a_single_wild_number_does_not_change_the_estimate(photos, value):
    image = noisy(photos[0], 0.1).astype(np.float64)
    expected = estimate_sigma(image)
    image[5, 5] = value
    assert estimate_sigma(image) == pytest.approx(expected, rel=0.02)
    restored = denoise_image(image, sigma=0.1)
    assert restored[5, 5] == pytest.approx(value)
    assert decibels(photos[0][20:], restored[20:]) > decibels(photos[0][20:], image[20:]) + 3


def test_sigma_may_be_in_half_precision(photos):
    image = (65535 * noisy(photos[0]).clip(0, 1)).astype(np.uint16)
    restored, expected = (denoise_image(image, sigma=t(6424)) for t in (np.float16, float))
    np.testing.assert_array_equal(restored, expected)


def test_integers_far_from_black_are_denoised_as_well(photos):
    """Computed tomography has signed numbers that are often shifted."""
    image = noisy(photos[0])
    shifted = np.rint(32768 + 4000 * image).astype(np.uint16)
    restored = (denoise_image(shifted).astype(float) - 32768) / 4000
    expected = denoise_image(image)
    assert np.mean((restored - photos[0]) ** 2) < 1.05 * np.mean((expected - photos[0]) ** 2)


def test_flat_images_of_any_height_stay_flat():
    for value in (0.5, 5000.0, -3.0):
        restored = denoise_image(np.full((40, 40), value), sigma=0.1)
        np.testing.assert_allclose(restored, value, atol=0.02)


def test_numbers_too_far_apart_are_refused(photos):
    for dtype, most in ((np.float64, 1.7e308), (np.float32, 3.4e38)):
        apart = np.where(photos[0] > 0.5, most, -most).astype(dtype)
        for sigma in (None, 1.0):
            with pytest.raises(ValueError, match=r"reach from -.* too far for arithmetic. Scale them"):
                denoise_image(apart, sigma=sigma)


def test_lists_and_views_are_images(photos):
    image = noisy(photos[0])[:40, :40]
    expected = denoise_image(image.astype(np.float64), sigma=0.1)
    np.testing.assert_allclose(denoise_image(image.tolist(), sigma=0.1), expected)
    strided = np.repeat(image, 2, axis=1)[:, ::2]
    np.testing.assert_array_equal(denoise_image(strided, sigma=0.1), denoise_image(image, sigma=0.1))


def test_progress_counts_tiles(photos, capsys):
    denoise_image(photos[0], sigma=0.1, tile_size=96, verbose=True)
    assert "6/6" in capsys.readouterr().err
    denoise_image(photos[0], sigma=0.1)
    assert capsys.readouterr() == ("", "")


@pytest.mark.slow
@pytest.mark.parametrize(("ensemble", "total"), [(False, 6), (True, 48)])
def test_a_callback_is_called_for_every_tile(photos, ensemble, total):
    calls = []
    denoise_image(photos[0], sigma=0.1, tile_size=96, ensemble=ensemble, callback=lambda *n: calls.append(n))
    assert calls == [(done, total) for done in range(total + 1)]


@pytest.mark.parametrize("share", [1 / 16, 1 / 64, 1 / 1000])
@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
@pytest.mark.parametrize("sigma", [None, 0.1])
def test_deep_images_that_use_a_small_part_of_their_range_are_denoised_as_well(photos, share, dtype, sigma):
    white = 65535 if dtype is np.uint16 else 1.0
    bright = noisy(photos[0]).clip(0, 1)
    dark = (share * white * bright).round(0 if dtype is np.uint16 else 9).astype(dtype)
    restored = denoise_image(dark, sigma=None if sigma is None else share * white * sigma) / (share * white)
    expected = denoise_image(bright, sigma=sigma)
    errors = [np.mean((x - photos[0]) ** 2) for x in (restored, expected)]
    assert errors[0] < 1.1 * errors[1]


def test_dark_images_with_strong_noise_are_not_scaled_beyond_the_training(photos):
    restored = denoise_image(noisy(photos[0] / 100, 0.2).astype(np.float32), sigma=0.2)
    assert np.isfinite(restored).all()
    assert restored.std() < 0.05


def test_an_exception_from_a_callback_ends_the_computation(photos):
    def after_two(done, total):
        if done == 2:
            raise InterruptedError("enough")

    with pytest.raises(InterruptedError, match="enough"):
        denoise_image(photos[0], sigma=0.1, tile_size=96, callback=after_two)
    with pytest.raises(
        TypeError, match=r"callback must be a function of two numbers, \(done, total\), got 5"
    ):
        denoise_image(photos[0], sigma=0.1, callback=5)


def test_the_table_of_models_describes_them():
    assert list(MODELS) == [model.name for model in MODELS.values()]
    for model in MODELS.values():
        assert load_pretrained(model.name).patch_shape_[2:] in ((), (model.channels,))
        assert model.card.startswith(f"# {model.name}\n")


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros(5), r"must be of shape \(height, width\) .* float64 of shape \(5,\)"),
        (np.zeros((2, 3, 4, 1)), r"must be of shape .* \(2, 3, 4, 1\)"),
        (np.zeros((0, 3)), "must be of shape"),
        (np.zeros((4, 4), complex), "hold integers or floats, got complex128"),
        (np.zeros((4, 4), bool), r"got bool .* Convert it, by image.astype\(np.uint8\) \* 255"),
        (np.full((4, 4), np.nan), "holds NaN alone: no pixel has a value"),
        (np.full((4, 4), np.inf), "holds infinity; set these pixels to NaN, and they stay NaN"),
        (
            np.zeros((6, 30, 40)),
            r"1 to 4 channels on its last axis, got shape \(6, 30, 40\)\. For a stack of planes, name",
        ),
    ],
)
def test_arrays_that_are_no_images_are_refused(image, message):
    with pytest.raises(ValueError, match=message):
        denoise_image(image)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sigma": -1}, "sigma must be finite and at least 0: a number, .* None to estimate it. Got -1"),
        ({"sigma": np.nan}, "sigma must be finite .* Got nan"),
        ({"sigma": "25"}, "sigma must be .* Got '25'"),
        ({"sigma": True}, "sigma must be .* Got True"),
        ({"sigma": [0.1, 0.2]}, r"sigma has 2 numbers, one for each channel, and the image has 1 channels"),
        (
            {"sigma": 25},
            r"sigma reaches 25, and the numbers of image 0\.5 to 0\.5\. .* for integers grey levels",
        ),
        ({"model": "grey"}, "Unknown model 'grey'. Did you mean 'gray'"),
        ({"precision": "half"}, "Unknown precision 'half'"),
        ({"tile_size": 50}, "tile_size must be"),
        ({"device": "toaster"}, "device='toaster' cannot be used here"),
    ],
)
def test_invalid_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        denoise_image(np.full((20, 20), 0.5), **{"sigma": 0.1, **options})


def test_files_keep_depth_and_metadata(tmp_path, photos):
    image = (noisy(photos[0]).clip(0, 1) * 65535).astype(np.uint16)
    write_image(tmp_path / "noisy.png", image)
    denoise_file(tmp_path / "noisy.png", tmp_path / "clean.tif", sigma=25 * 257)
    restored = read_image(tmp_path / "clean.tif")
    assert restored.dtype == np.uint16
    np.testing.assert_array_equal(restored, denoise_image(image, sigma=25 * 257))
    denoise_file(tmp_path / "noisy.png", tmp_path / "noisy.png", sigma=25 * 257)
    np.testing.assert_array_equal(read_image(tmp_path / "noisy.png"), restored)


def test_a_broken_file_is_named_and_nothing_is_written(tmp_path):
    (tmp_path / "broken.png").write_text("no image")
    with pytest.raises(UnreadableImageError, match=r"broken\.png"):
        denoise_file(tmp_path / "broken.png", tmp_path / "clean.png")
    assert not (tmp_path / "clean.png").exists()


@pytest.mark.parametrize("name", MODELS)
def test_weights_are_small_finite_and_described(name):
    folder = Path(restoration.__file__).parent / "weights"
    assert (folder / f"{name}.safetensors").stat().st_size < 4e6
    assert "held-out" in (folder / f"{name}.md").read_text()
    network = load_pretrained(name).net_.module_
    assert all(weight.isfinite().all() for weight in network.parameters())
    assert next(network.parameters()).dtype == torch.float32
