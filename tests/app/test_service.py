"""The service of the app: images and models are stored, denoised and encoded."""

from __future__ import annotations

import dataclasses
import os
import struct
import subprocess
import sys
import tempfile
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy.ndimage import gaussian_filter

from sk_denoise import DenoisingAutoencoder, FoldedUNetNetwork, GaussianNoiser, ImageDenoiser
from sk_denoise.app import _processing
from sk_denoise.app._launch import Settings
from sk_denoise.app._processing import DenoisingRequest
from sk_denoise.app._service import SAMPLES, AppService, ExpiredError, OwnedFolder
from sk_denoise.app._urls import DownloadError
from sk_denoise.datasets import load_images
from sk_denoise.io import read_image, read_stack, write_stack
from sk_denoise.metrics import psnr
from sk_denoise.persistence import save
from sk_denoise.restoration import MODELS, denoise_file, denoise_image, estimate_noise

LONG = 60.0


def wait_for_result(job):
    assert job.wait(LONG)
    if job.error is not None:
        raise job.error
    assert job.state == "done"
    return job.result


@pytest.fixture(scope="module")
def model(photo, tmp_path_factory):
    """The file of a small model, and the model."""
    small = FoldedUNetNetwork((16, 24), blocks=(1, 1))
    denoiser = ImageDenoiser(small, noise=GaussianNoiser(20), max_epochs=1, patch_size=32, random_state=0)
    path = tmp_path_factory.mktemp("model") / "mine.safetensors"
    save(denoiser.fit(photo[None]), path)
    return path.read_bytes(), denoiser


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.bmp", "a.webp", "a.jpg"])
def test_an_image_is_denoised_in_its_format(name, service, as_file, photo, noisy, tmp_path):
    image = service.store_image(name, as_file(noisy, name))
    assert (image.name, image.size, image.suffix) == (name, noisy.shape[:2], name[1:])
    result = wait_for_result(service.denoise(image, DenoisingRequest()))
    (tmp_path / name).write_bytes(service.encode_file(result, image.suffix))
    denoised = read_image(tmp_path / name)
    assert denoised.dtype == np.uint8
    assert (
        psnr(photo[None], denoised[None], data_range=255) > psnr(photo[None], noisy[None], data_range=255) + 4
    )
    (noise,) = result.details.noise
    assert noise.sigma == pytest.approx(20, rel=0.3)
    assert result.details.quality_before is None


@pytest.mark.slow
def test_the_quality_to_expect_is_near_the_true_one(service, as_file, tmp_path):
    clean = 255 * (0.15 + 0.7 * load_images("gray").test[0][:200, :200])
    for seed in range(2):
        noisy = clean + np.random.default_rng(seed).normal(0, 25, clean.shape)
        image = service.store_image(f"{seed}.png", as_file(noisy.round().clip(0, 255).astype(np.uint8)))
        result = wait_for_result(service.denoise(image, DenoisingRequest(sigma=25.0)))
        (tmp_path / "b.png").write_bytes(service.encode_file(result, ".png"))
        truth = psnr(clean[None], read_image(tmp_path / "b.png")[None].astype(float), data_range=255)
        expected = result.details.expected
        # An interval of 90 % misses some.
        assert expected.interval[0] - 0.3 < truth < expected.interval[1] + 0.3
        assert abs(expected.noisy_psnr - 20.2) < 0.3
        assert expected.psnr > 25


def test_correlated_noise_has_no_quality_to_expect_and_the_reason_is_given(service, as_file, photo):
    grain = gaussian_filter(np.random.default_rng(0).normal(0, 60, photo.shape[:2]), 1.5)
    noisy = (photo.mean(axis=2) if photo.ndim == 3 else photo) + grain
    image = service.store_image("a.png", as_file(noisy.clip(0, 255).astype(np.uint8)))
    for request in (DenoisingRequest(), DenoisingRequest(kind="camera")):
        result = wait_for_result(service.denoise(image, request))
        assert "correlated between neighbouring pixels" in result.details.expected


def test_the_result_equals_that_of_the_library(service, as_file, noisy, tmp_path):
    image = service.store_image("a.png", as_file(noisy))
    result = wait_for_result(service.denoise(image, DenoisingRequest(sigma=25.0, ensemble=True)))
    (tmp_path / "b.png").write_bytes(service.encode_file(result, ".png"))
    expected = denoise_image(noisy, sigma=25, ensemble=True)
    np.testing.assert_array_equal(read_image(tmp_path / "b.png"), expected)
    assert (result.details.sigma, result.details.noise) == (25, ())


def test_the_noise_is_that_of_the_library_and_strength_is_a_share_of_it(service, as_file, noisy, tmp_path):
    image = service.store_image("a.png", as_file(noisy))
    result = wait_for_result(service.denoise(image, DenoisingRequest(strength=0.5)))
    assert result.details.noise == (estimate_noise(noisy),)
    assert result.details.notes == ()
    (tmp_path / "b.png").write_bytes(service.encode_file(result, ".png"))
    np.testing.assert_array_equal(read_image(tmp_path / "b.png"), denoise_image(noisy, strength=0.5))
    whole = wait_for_result(service.denoise(image, DenoisingRequest())).details
    assert result.details.removed == pytest.approx(whole.removed / 2, rel=0.05)


def test_hot_pixels_are_replaced(service, as_file, noisy, tmp_path):
    hot = noisy.copy()
    hot[10::20, 10::20] = 255
    image = service.store_image("a.png", as_file(hot))
    result = wait_for_result(service.denoise(image, DenoisingRequest(outliers="replace")))
    (tmp_path / "b.png").write_bytes(service.encode_file(result, ".png"))
    np.testing.assert_array_equal(read_image(tmp_path / "b.png"), denoise_image(hot, outliers="replace"))


def test_a_stack_is_denoised_as_by_the_library(service, noisy, tmp_path):
    """Two channels with different noise, in several planes."""
    planes = np.stack([[noisy[..., 0], noisy[..., 1] // 2]] * 3)
    write_stack(tmp_path / "a.tif", planes, axes="ZCYX")
    image = service.store_image("a.tif", (tmp_path / "a.tif").read_bytes())
    assert (image.size, image.suffix, image.axes, image.n_planes) == (noisy.shape[:2], ".tif", "ZCYX", 6)
    result = wait_for_result(service.denoise(image, DenoisingRequest()))
    assert len(result.details.noise) == 2
    (tmp_path / "b.tif").write_bytes(service.encode_file(result, ".tif"))
    denoise_file(tmp_path / "a.tif", tmp_path / "c.tif")
    denoised, expected = (read_stack(tmp_path / name) for name in ("b.tif", "c.tif"))
    assert denoised[1] == expected[1]
    np.testing.assert_array_equal(denoised[0], expected[0])
    assert len(set(service.encode_whole_views(result))) == 2


def test_an_animation_becomes_a_stack_and_one_page_is_an_image(service, noisy, as_file):
    stream = BytesIO()
    frames = [Image.fromarray(noisy[top:][:50]) for top in (0, 20)]
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:])
    image = service.store_image("a.gif", stream.getvalue())
    assert (image.suffix, image.n_planes, image.size) == (".tif", 2, (50, 128))
    wait_for_result(service.denoise(image, DenoisingRequest()))
    assert service.store_image("b.tif", as_file(noisy, "b.tif")).axes == ""


# With the metadata of tifffile, each page is a series.
@pytest.mark.parametrize("metadata", [None, {}], ids=["pages", "series"])
def test_a_stack_of_too_many_pixels_is_refused(metadata, tmp_path):
    service = AppService(dataclasses.replace(Settings(), megapixels=1))
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for _ in range(18):
            writer.write(np.zeros((1000, 1000), np.uint8), compression="zlib", metadata=metadata)
    data = (tmp_path / "a.tif").read_bytes()
    assert len(data) < 10**6
    with pytest.raises(ValueError, match=r"a.tif has 18 planes with 18 megapixels in all; .* up to 16"):
        service.store_image("a.tif", data)
    service.close()


def test_pixels_without_a_value_stay_so(service, as_file, noisy, tmp_path):
    values = noisy[..., 0] / np.float32(255)
    values[20:30, 40:60] = np.nan
    tifffile.imwrite(tmp_path / "nan.tif", values)
    image = service.store_image("nan.tif", (tmp_path / "nan.tif").read_bytes())
    result = wait_for_result(service.denoise(image, DenoisingRequest()))
    (tmp_path / "b.tif").write_bytes(service.encode_file(result, ".tif"))
    denoised = read_image(tmp_path / "b.tif", allow_nan=True)
    np.testing.assert_array_equal(np.isnan(denoised), np.isnan(values))
    assert np.nanstd(denoised) < np.nanstd(values)
    assert service.encode_whole_views(result)[0].startswith("data:image/png")


def test_the_depth_is_kept_and_sigma_is_of_255(service, as_file, noisy, tmp_path):
    deep = noisy.astype(np.uint16) * 257
    image = service.store_image("deep.tif", as_file(deep, "deep.tif"))
    result = wait_for_result(service.denoise(image, DenoisingRequest(sigma=20.0)))
    for suffix in (".tif", ".png"):
        (tmp_path / f"b{suffix}").write_bytes(service.encode_file(result, suffix))
        denoised = read_image(tmp_path / f"b{suffix}")
        np.testing.assert_array_equal(denoised, denoise_image(deep, sigma=20 * 257))


def test_floats_keep_their_unit(service, as_file, noisy, tmp_path):
    counts = noisy[..., 1].astype(np.float32) * 16 + 100
    image = service.store_image("counts.tif", as_file(counts, "counts.tif"))
    result = wait_for_result(service.denoise(image, DenoisingRequest()))
    (note,) = result.details.notes
    assert f"between {counts.min():g} and {counts.max():g}. Black is taken as " in note
    (tmp_path / "b.tif").write_bytes(service.encode_file(result, ".tif"))
    denoised = read_image(tmp_path / "b.tif")
    assert denoised.dtype == np.float32
    assert denoised.mean() == pytest.approx(counts.mean(), rel=0.01)
    assert denoised.std() < counts.std()
    (tmp_path / "b.png").write_bytes(service.encode_file(result, ".png"))
    as_png = read_image(tmp_path / "b.png")
    assert as_png.dtype == np.uint16
    from_png = counts.min() + as_png / 65535 * np.ptp(counts)
    np.testing.assert_allclose(from_png, denoised, atol=0.001 * counts.max())


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize("share", [1 / 16, 1 / 256])
def test_an_image_that_uses_a_small_part_of_its_range_is_denoised_as_well(
    share, dtype, service, as_file, photo, noisy, tmp_path
):
    """For example 12 bits of a camera in a file of 16 bits."""
    white = 65535 if dtype == "uint16" else 1
    clean, faint = ((share * white * x / 255).astype(dtype) for x in (photo, noisy))
    image = service.store_image("faint.tif", as_file(faint, "faint.tif"))
    result = wait_for_result(service.denoise(image, DenoisingRequest()))
    assert all("Black is taken as" in note for note in result.details.notes)
    assert len(result.details.notes) == (dtype == "uint16")
    (tmp_path / "b.tif").write_bytes(service.encode_file(result, ".tif"))
    denoised = read_image(tmp_path / "b.tif")
    assert denoised.dtype == dtype
    before, after = (psnr(clean[None], x[None], data_range=share * white) for x in (faint, denoised))
    assert after > before + 4


def test_a_model_of_counts_takes_counts(service, as_file, noisy, photo, tmp_path):
    counts = (noisy[..., 1] * 16.0 + 100).astype(np.float32)
    small = FoldedUNetNetwork((16, 24), blocks=(1, 1))
    denoiser = ImageDenoiser(
        small, noise=GaussianNoiser(300), max_epochs=1, patch_size=32, sigma="map", random_state=0
    ).fit(16.0 * photo[None, ..., 1].astype(np.float32))
    assert denoiser.intensity_range_ is None
    save(denoiser, tmp_path / "counts.safetensors")
    mine = service.store_model("counts.safetensors", (tmp_path / "counts.safetensors").read_bytes())
    image = service.store_image("counts.tif", as_file(counts, "counts.tif"))
    result = wait_for_result(service.denoise(image, DenoisingRequest(model=mine.key)))
    assert result.details.notes == ()
    assert result.details.sigma < 55
    (tmp_path / "b.tif").write_bytes(service.encode_file(result, ".tif"))
    np.testing.assert_array_equal(read_image(tmp_path / "b.tif"), denoise_image(counts, model=denoiser))


def test_a_rotated_photo_is_upright_and_keeps_its_exif(service, noisy, tmp_path):
    stream, exif = BytesIO(), Image.Exif()
    # Orientation 6 is a rotation to the right.
    exif[0x0112], exif[0x010F] = 6, "a camera"
    Image.fromarray(noisy).save(stream, "JPEG", exif=exif, quality=95)
    image = service.store_image("turned.jpg", stream.getvalue())
    assert image.size == noisy.shape[1::-1]
    result = wait_for_result(service.denoise(image, DenoisingRequest()))
    with Image.open(BytesIO(service.encode_file(result, ".jpg"))) as written:
        assert written.size == noisy.shape[:2]
        assert dict(written.getexif()).get(0x010F) == "a camera"
        assert written.getexif().get(0x0112, 1) == 1


@pytest.fixture
def server(noisy, as_file):
    """The URL of an image on a server of this machine."""
    data = as_file(noisy, "noisy.png")

    class Images(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "image/png")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Images) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://images.test:{running.server_port}/a/noisy%20one.png"
        running.shutdown()


def test_an_image_from_the_web_is_stored_like_an_upload(server, as_file, noisy):
    service = AppService(Settings(), resolve=lambda host, port: ["127.0.0.1"])
    image = wait_for_result(service.fetch_image(server))
    assert image == dataclasses.replace(service.store_image("", as_file(noisy)), name="noisy one.png")
    wait_for_result(service.denoise(image, DenoisingRequest()))
    service.close()


def test_images_are_fetched_from_public_servers_only(service, server):
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1"):
        wait_for_result(service.fetch_image(server.replace("images.test", "127.0.0.1")))


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_are_clean_and_get_noise(name, service):
    image = service.store_sample(name)
    assert image.is_clean
    assert image == service.store_sample(name)
    result = wait_for_result(
        service.denoise(image, DenoisingRequest(noise="gaussian", amount=25.0, sigma=25.0))
    )
    before, after = result.details.quality_before, result.details.quality_after
    assert before.psnr == pytest.approx(20.3, abs=0.6)
    assert after.psnr > before.psnr + 6
    assert after.ssim > before.ssim


def test_warm_up_runs_all_pretrained_models(monkeypatch):
    outputs = []
    real = _processing.denoise_image
    monkeypatch.setattr(_processing, "denoise_image", lambda *x, **other: outputs.append(real(*x, **other)))
    _processing.warm_up()
    assert [image.shape for image in outputs] == [(8, 8, model.channels) for model in MODELS.values()]


def test_an_equal_request_returns_the_cached_result(service, as_file, noisy, monkeypatch):
    image = service.store_image("a.png", as_file(noisy))
    first = wait_for_result(service.denoise(image, DenoisingRequest()))
    monkeypatch.setattr(_processing, "denoise_to_folder", None)
    assert wait_for_result(service.denoise(image, DenoisingRequest())) == first


def test_views_differ(service, as_file, noisy):
    result = wait_for_result(
        service.denoise(service.store_image("a.png", as_file(noisy)), DenoisingRequest())
    )
    assert len({*service.encode_whole_views(result), service.encode_residual_view(result, 4)}) == 3
    parts = service.encode_enlarged_views(result, 0.5, 0.5, 32, 4)
    assert len(set(parts)) == 3
    assert all(uri.startswith("data:image/png;base64,") for uri in parts)
    assert service.encode_enlarged_views(result, 0.1, 0.5, 32, 4) != parts


def test_pretrained_models_take_any_noise_level(service, as_file, noisy, tmp_path):
    image = service.store_image("a.png", as_file(noisy))
    result = wait_for_result(service.denoise(image, DenoisingRequest(sigma=100.0)))
    assert (result.details.sigma, result.details.notes) == (100.0, ())
    (tmp_path / "b.png").write_bytes(service.encode_file(result, ".png"))
    np.testing.assert_array_equal(read_image(tmp_path / "b.png"), denoise_image(noisy, sigma=100))


def test_noise_beyond_the_range_of_an_uploaded_model_is_noted(service, as_file, noisy, photo, tmp_path):
    noise = GaussianNoiser((0, 10))
    small = FoldedUNetNetwork((16, 24), blocks=(1, 1))
    denoiser = ImageDenoiser(small, noise=noise, sigma="map", max_epochs=1, patch_size=32, random_state=0)
    save(denoiser.fit(photo[None]), tmp_path / "weak.safetensors")
    mine = service.store_model("weak.safetensors", (tmp_path / "weak.safetensors").read_bytes())
    details = wait_for_result(
        service.denoise(service.store_image("a.png", as_file(noisy)), DenoisingRequest(model=mine.key))
    ).details
    assert details.sigma == pytest.approx(denoiser.noise_levels_[1])
    assert details.sigma < details.noise[0].sigma
    assert "is beyond the range of this model, which took it as " in details.notes[0]


@pytest.mark.parametrize("name", ["auto", "gray", "rgb", "camera"])
def test_pretrained_models_are_chosen_by_name(name, service, as_file, noisy, tmp_path):
    image = service.store_image("a.png", as_file(noisy))
    sigma = None if name == "camera" else 20.0
    result = wait_for_result(service.denoise(image, DenoisingRequest(model=name, sigma=sigma)))
    (tmp_path / "b.png").write_bytes(service.encode_file(result, ".png"))
    expected = denoise_image(noisy, sigma=sigma, model=name)
    np.testing.assert_array_equal(read_image(tmp_path / "b.png"), expected)


def test_a_model_for_colour_takes_gray_images(service, as_file, noisy):
    image = service.store_image("gray.png", as_file(noisy[..., 0]))
    result = wait_for_result(service.denoise(image, DenoisingRequest(model="rgb")))
    assert result.details.shape == noisy.shape[:2]


def test_an_uploaded_model_is_loaded_once(service, as_file, noisy, model, tmp_path, monkeypatch):
    data, denoiser = model
    mine = service.store_model("mine.safetensors", data)
    assert mine.name == "mine.safetensors"
    paths = []
    real = _processing.open_image_model
    monkeypatch.setattr(_processing, "open_image_model", lambda path: paths.append(path) or real(path))
    image = service.store_image("a.png", as_file(noisy))
    for seed in range(2):
        result = wait_for_result(service.denoise(image, DenoisingRequest(model=mine.key, seed=seed)))
    assert len(paths) == 1
    assert (result.details.sigma, result.details.noise) == (None, ())
    (tmp_path / "b.png").write_bytes(service.encode_file(result, ".png"))
    np.testing.assert_array_equal(read_image(tmp_path / "b.png"), denoise_image(noisy, model=denoiser))


@pytest.mark.parametrize("content", ["text", "cut", "other", "unfitted"])
def test_a_file_without_a_model_is_refused_by_its_name(content, service, model, tmp_path):
    data, message = {
        "text": (b"no model at all", "mine.safetensors cannot be loaded"),
        "cut": (model[0][:-100], "mine.safetensors cannot be loaded"),
        "other": (None, "holds a DenoisingAutoencoder; expected an ImageDenoiser"),
        "unfitted": (None, "not fitted; fit it"),
    }[content]
    if data is None:
        save(DenoisingAutoencoder() if content == "other" else ImageDenoiser(), tmp_path / "it.safetensors")
        data = (tmp_path / "it.safetensors").read_bytes()
    with pytest.raises(ValueError, match=message) as caught:
        service.store_model("mine.safetensors", data)
    assert tempfile.gettempdir() not in str(caught.value)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_with_header(width, height):
    """Return a small PNG whose header claims a large image."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 10_000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "a.png: the file is empty"),
        (b"<html>", "a.png: it is no image that can be read"),
        (b"\0\0\0\x18ftypheic" + b"\0" * 50, "a.png: it is a HEIC file, which is not read"),
        (png_with_header(100_000, 100_000), "a.png has 100000 x 100000 pixels; .* up to 64 megapixels"),
    ],
)
def test_invalid_and_too_large_files_are_refused_before_decoding(data, message, service, monkeypatch):
    monkeypatch.setattr(_processing, "denoise_to_folder", None)
    with pytest.raises(ValueError, match=message) as caught:
        service.store_image("a.png", data)
    assert tempfile.gettempdir() not in str(caught.value)


def test_a_damaged_image_is_refused_by_its_name(service):
    image = service.store_image("bad.png", png_with_header(200, 100))
    with pytest.raises(ValueError, match=r"^bad\.png: ") as caught:
        wait_for_result(service.denoise(image, DenoisingRequest()))
    assert tempfile.gettempdir() not in str(caught.value)


def test_work_is_cancelled_between_tiles(service, as_file, noisy, monkeypatch):
    image, job = service.store_image("a.png", as_file(noisy)), None
    submitted = threading.Event()
    real = _processing.denoise_to_folder

    def denoise_and_cancel(source, request, folder, progress, **options):
        assert submitted.wait(LONG)

        def cancel(done, total, activity):
            if activity == "Denoising":
                job.cancel()
            progress(done, total, activity)

        return real(source, request, folder, cancel, **options)

    monkeypatch.setattr(_processing, "denoise_to_folder", denoise_and_cancel)
    job = service.denoise(image, DenoisingRequest())
    submitted.set()
    assert job.wait(LONG)
    assert (job.state, job.result) == ("cancelled", None)


def test_file_names_are_sanitized(service, as_file, noisy):
    name = f"../\u202egnp.<b>{'y' * 300}.png"
    image = service.store_image(name, as_file(noisy))
    assert image.name == f"gnp._b_{'y' * 49}.png"
    assert service.store_image("..", as_file(noisy)).name == "image"


def test_an_image_that_is_deleted_while_its_job_waits_has_expired(as_file, noisy, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    service = AppService(Settings())
    image = service.store_image("a.png", as_file(noisy))
    (source,) = tmp_path.rglob("source")
    source.unlink()
    with pytest.raises(ExpiredError):
        wait_for_result(service.denoise(image, DenoisingRequest()))
    service.close()


@pytest.mark.slow
def test_evicted_results_have_expired(as_file, noisy, photo):
    service = AppService(dataclasses.replace(Settings(), disk_megabytes=1))
    result = wait_for_result(
        service.denoise(service.store_image("a.png", as_file(noisy)), DenoisingRequest())
    )
    for seed in range(8):
        other = service.store_image("b.png", as_file(np.roll(photo, seed, axis=0)))
        wait_for_result(service.denoise(other, DenoisingRequest(sigma=5.0)))
    for view in (
        service.encode_whole_views,
        lambda r: service.encode_file(r, ".png"),
        lambda r: service.encode_residual_view(r, 4),
    ):
        with pytest.raises(ExpiredError):
            view(result)
    service.close()


def test_close_ends_all_threads():
    before = set(threading.enumerate())
    service = AppService(Settings())
    workers = set(threading.enumerate()) - before
    assert len(workers) > 1
    service.close()
    for worker in workers:
        worker.join(10)
        assert not worker.is_alive()


@pytest.fixture
def pages(tmp_path, monkeypatch):
    """A service with the set of its open pages."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    opened = {"a", "b"}
    service = AppService(Settings(), is_open=opened.__contains__)
    yield service, opened
    service.close()


def close_page(service, opened, page):
    """Close a page, and let the patience pass."""
    opened.discard(page)
    for _ in range(2):
        service.delete_images_of_closed_pages()
        for key in list(service._pages):
            if service._pages[key].closed_at is not None:
                service._pages[key].closed_at -= service.settings.patience


def test_images_and_results_are_deleted_with_their_last_page(pages, as_file, noisy, tmp_path):
    service, opened = pages
    image = service.store_image("a.png", as_file(noisy), "a")
    assert service.store_image("a.png", as_file(noisy), "b") == image
    mine = service.store_image("mine.png", as_file(noisy[:50]), "a")
    result = wait_for_result(service.denoise(image, DenoisingRequest(), "a"))
    close_page(service, opened, "a")
    wait_for_result(service.denoise(image, DenoisingRequest(seed=1), "b"))
    with pytest.raises(ExpiredError):
        service.encode_whole_views(result)
    with pytest.raises(ExpiredError):
        wait_for_result(service.denoise(mine, DenoisingRequest(), "b"))
    close_page(service, opened, "b")
    assert not list(tmp_path.rglob("source"))
    assert not list(tmp_path.rglob("*.npy"))


def test_the_images_of_a_page_that_returns_are_kept(pages, as_file, noisy):
    service, opened = pages
    image = service.store_image("a.png", as_file(noisy), "a")
    opened.remove("a")
    service.delete_images_of_closed_pages()
    opened.add("a")
    service.delete_images_of_closed_pages()
    assert service._pages["a"].closed_at is None
    wait_for_result(service.denoise(image, DenoisingRequest(), "a"))


# What an app does, without the import of PyTorch.
HOLD = """
import fcntl, pathlib, sys, time
folder = pathlib.Path(sys.argv[1], "sk_denoise-app-killed")
folder.mkdir()
lock = (folder / "lock").open("ab")
fcntl.flock(lock, fcntl.LOCK_EX)
(folder / "image").write_bytes(b"of a user")
print(folder, flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has other locks and no such links")
def test_the_folder_of_a_killed_app_is_deleted_at_the_next_start_and_no_other_one(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "sk_denoise-app-file").write_text("no folder")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "sk_denoise-app-link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "sk_denoise-app-starting").mkdir()
    others = {path.name for path in tmp_path.iterdir()}
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE) as app:
        held = Path(app.stdout.readline().decode().strip())
        first = OwnedFolder()
        assert (held / "image").exists()
        app.kill()
    assert (held / "image").exists()
    second = OwnedFolder()
    assert {path.name for path in tmp_path.iterdir()} == {*others, first.path.name, second.path.name}
    # A folder without a lock may be that of an app that starts at this moment.
    os.utime(tmp_path / "sk_denoise-app-starting", (0, 0))
    for folder in (first, second, OwnedFolder()):
        folder.remove()
    assert {path.name for path in tmp_path.iterdir()} == others - {"sk_denoise-app-starting"}
