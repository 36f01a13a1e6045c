"""Camera noise: exactness of the pipeline without noise, statistics with it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from skimage import data

from sk_denoise.noise import _camera_pipeline as pipeline
from sk_denoise.noise._camera_pipeline import add_camera_noise, compress_as_jpeg, draw_camera

SHOT = (1e-4, 1.2e-2)
SIDES = [(64, 64), (33, 47), (1, 1), (2, 2), (1, 9), (3, 2), (600, 21)]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def image_of(height, width, seed=0):
    return torch.rand(3, height, width, generator=generator(seed))


def cameras(n=12):
    source = generator(7)
    return [draw_camera(source, shot=SHOT) for _ in range(n)]


@pytest.mark.parametrize("sides", SIDES, ids=str)
def test_without_noise_an_image_stays_as_it_is_to_the_bit(sides):
    for camera in cameras():
        silent = replace(camera, shot=0.0, read=0.0)
        image = image_of(*sides)
        assert torch.equal(add_camera_noise(image, generator(), silent), image)


@pytest.mark.parametrize("sides", SIDES, ids=str)
def test_noise_reaches_images_of_any_sides(sides):
    for camera in cameras():
        image = 0.2 + 0.5 * image_of(*sides)
        before = image.clone()
        noisy = add_camera_noise(image, generator(), camera)
        assert noisy.shape == image.shape
        assert noisy.isfinite().all()
        assert not torch.equal(noisy, image)
        assert torch.equal(image, before)


def test_a_training_in_low_precision_meets_the_same_noise():
    for camera in cameras(4):
        image = image_of(24, 32)
        expected = add_camera_noise(image, generator(), camera)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(add_camera_noise(image, generator(), camera), expected)


def test_values_beyond_black_and_white_stay_finite():
    image = torch.linspace(-1, 2, 3 * 16 * 16).reshape(3, 16, 16)
    for camera in cameras():
        assert add_camera_noise(image, generator(), camera).isfinite().all()


def test_noise_of_strong_light_lies_below_white_on_the_sensor():
    camera = replace(cameras(1)[0], shot=0.02, read=0.0, scale=1.0, sharpening=0.0)
    camera = replace(camera, smoothing=0.0, color_smoothing=0.0)
    white = torch.ones(3, 32, 32)
    assert (add_camera_noise(white, generator(), camera) <= 1 + 1e-5).all()


@pytest.mark.parametrize("phase", range(4))
@pytest.mark.parametrize("filters", [pipeline.MALVAR, pipeline.BILINEAR], ids=["Malvar", "bilinear"])
def test_demosaicking_is_exact_on_constant_colours(phase, filters):
    colors = torch.tensor([0.1, 0.5, 0.9]).reshape(1, 3, 1, 1).expand(1, 3, 12, 14)
    mosaic = pipeline._mosaic(colors, phase)
    # Malvar's filters read differences of colours, which are constant; bilinear ones read one colour.
    torch.testing.assert_close(pipeline._demosaic(mosaic, phase, filters), colors, atol=1e-6, rtol=0)


@pytest.mark.parametrize("phase", range(4))
@pytest.mark.parametrize("filters", [pipeline.MALVAR, pipeline.BILINEAR], ids=["Malvar", "bilinear"])
def test_demosaicking_is_exact_on_linear_images_inside(phase, filters):
    rows, columns = torch.meshgrid(torch.arange(16.0), torch.arange(18.0), indexing="ij")
    ramp = (0.01 * rows + 0.02 * columns).expand(1, 3, -1, -1) + torch.tensor([0.1, 0.2, 0.3]).reshape(
        3, 1, 1
    )
    found = pipeline._demosaic(pipeline._mosaic(ramp, phase), phase, filters)
    torch.testing.assert_close(found[..., 2:-2, 2:-2], ramp[..., 2:-2, 2:-2], atol=1e-6, rtol=0)


@pytest.mark.parametrize("phase", range(4))
def test_a_mosaic_has_two_green_pixels_of_four_and_red_at_its_phase(phase):
    colors = torch.tensor([1.0, 2.0, 3.0]).reshape(1, 3, 1, 1).expand(1, 3, 4, 6)
    cell = pipeline._mosaic(colors, phase)[0, 0, :2, :2].flatten()
    assert cell.sort().values.tolist() == [1, 2, 2, 3]
    assert int(cell.argmin()) == phase


def test_developing_undoes_the_way_to_the_sensor_for_flat_colours():
    for camera in cameras():
        camera = replace(camera, malvar=False)
        image = torch.tensor([0.35, 0.4, 0.3]).reshape(1, 3, 1, 1).expand(1, 3, 8, 8)
        mosaic = pipeline._mosaic(pipeline._to_light(image, camera), camera.phase)
        torch.testing.assert_close(pipeline._develop(mosaic, camera), image, atol=2e-4, rtol=0)


@pytest.mark.parametrize("sigma", [0.5, 1.0, 4.1])
@pytest.mark.parametrize("sides", [(20, 31), (520, 8), (3, 600)], ids=str)
def test_smoothing_keeps_the_mean_of_noise_and_agrees_with_scipy(sides, sigma):
    from scipy.ndimage import gaussian_filter

    image = torch.rand(2, 1, *sides, generator=generator(), dtype=torch.float64)
    radius = min(int(np.ceil(3 * sigma)), min(sides) - 1)
    expected = gaussian_filter(image.numpy(), sigma, axes=(2, 3), radius=radius, mode="mirror")
    np.testing.assert_allclose(pipeline._smooth(image, sigma), expected, atol=1e-6)


def correlation(one, other):
    return float(np.corrcoef(np.ravel(one), np.ravel(other))[0, 1])


def test_noise_of_neighbours_and_of_colours_is_related_as_in_photos():
    source = generator(1)
    image = torch.full((3, 96, 96), 0.4)
    noises = [
        (add_camera_noise(image, source, draw_camera(source, shot=SHOT)) - image).numpy() for _ in range(60)
    ]
    next_to = np.array([correlation(noise[:, :, 1:], noise[:, :, :-1]) for noise in noises])
    two_apart = np.array([correlation(noise[:, :, 2:], noise[:, :, :-2]) for noise in noises])
    red_green = np.array([correlation(noise[0], noise[1]) for noise in noises])
    assert 0.45 < np.median(next_to) < 0.8
    assert 0.1 < np.median(two_apart) < 0.5
    assert np.median(two_apart) < np.median(next_to)
    assert 0.2 < np.median(red_green) < 0.9


def test_noise_grows_with_the_shot_noise_and_depends_on_the_brightness():
    camera = replace(cameras(1)[0], has_s_curve=False, scale=1.0)
    deviations = []
    for shot in (1e-4, 1e-3, 1e-2):
        noisy = add_camera_noise(
            torch.full((3, 64, 64), 0.5), generator(), replace(camera, shot=shot, read=1e-7)
        )
        deviations.append(float(noisy.std()))
    # The standard deviation is the root of the variance, which is the parameter.
    np.testing.assert_allclose(np.divide(deviations[1:], deviations[:-1]), np.sqrt(10), rtol=0.15)


def test_drawn_settings_stay_in_their_limits_and_differ():
    drawn = cameras(200)
    assert all(SHOT[0] <= camera.shot <= SHOT[1] for camera in drawn)
    assert all(0 <= camera.smoothing <= 1.1 and 0.5 <= camera.scale <= 1 for camera in drawn)
    assert {camera.phase for camera in drawn} == {0, 1, 2, 3}
    assert {camera.malvar for camera in drawn} == {True, False}
    for camera in drawn:
        torch.testing.assert_close(camera.matrix.sum(1), torch.ones(3))
    # Read noise follows shot noise (Brooks et al.).
    logs = np.log([[camera.shot, camera.read] for camera in drawn])
    slope, _ = np.polyfit(*logs.T, 1)
    assert slope == pytest.approx(2.18, abs=0.1)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("sides", [(1, 1), (2, 2), (17, 33)], ids=str)
def test_a_jpeg_file_keeps_the_shape_and_has_256_grey_levels(channels, sides):
    image = torch.rand(channels, *sides, generator=generator())
    for half_chroma in (True, False):
        decoded = compress_as_jpeg(image, 90, half_chroma=half_chroma)
        assert decoded.shape == image.shape
        assert decoded.dtype == image.dtype
        levels = 255 * decoded
        torch.testing.assert_close(levels, levels.round(), atol=1e-4, rtol=0)


def test_a_jpeg_file_is_that_of_pillow():
    import io

    from PIL import Image

    photo = data.chelsea()[:100, :150]
    stream = io.BytesIO()
    Image.fromarray(photo).save(stream, "JPEG", quality=30, subsampling=2)
    expected = np.asarray(Image.open(stream))
    decoded = compress_as_jpeg(torch.from_numpy(photo / 255).movedim(2, 0).float(), 30)
    np.testing.assert_array_equal((255 * decoded).round().movedim(0, 2).numpy(), expected)
