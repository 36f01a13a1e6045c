"""The app apart from its page: images come, orders are carried out, files go."""

from __future__ import annotations

import dataclasses
import struct
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from sk_denoise import DenoisingAutoencoder, FoldedUNetNetwork, GaussianNoiser, ImageDenoiser
from sk_denoise.app import _service
from sk_denoise.app._download import Refused
from sk_denoise.app._launch import Settings
from sk_denoise.app._processing import Order
from sk_denoise.app._service import SAMPLES, Gone, Workshop
from sk_denoise.io import read_image
from sk_denoise.metrics import psnr
from sk_denoise.persistence import save
from sk_denoise.restoration import denoise_image, estimate_sigma

LONG = 60.0


def carried_out(job):
    assert job.wait(LONG)
    if job.error is not None:
        raise job.error
    assert job.state == "done"
    return job.result


@pytest.fixture(scope="module")
def model(photo, tmp_path_factory):
    """A small model in a file, and the model."""
    small = FoldedUNetNetwork((16, 24), blocks=(1, 1))
    denoiser = ImageDenoiser(small, noise=GaussianNoiser(20), max_epochs=1, patch_size=32, random_state=0)
    path = tmp_path_factory.mktemp("model") / "mine.safetensors"
    save(denoiser.fit(photo[None]), path)
    return path.read_bytes(), denoiser


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.bmp", "a.webp", "a.jpg"])
def test_an_image_comes_back_in_its_format_without_its_noise(name, workshop, as_file, photo, noisy, tmp_path):
    image = workshop.take(name, as_file(noisy, name))
    assert (image.name, image.size, image.suffix) == (name, noisy.shape[:2], name[1:])
    result = carried_out(workshop.denoise(image, Order()))
    (tmp_path / name).write_bytes(workshop.file(result, image.suffix))
    denoised = read_image(tmp_path / name)
    assert denoised.dtype == np.uint8
    assert (
        psnr(photo[None], denoised[None], data_range=255) > psnr(photo[None], noisy[None], data_range=255) + 4
    )
    assert result.answer.estimated == pytest.approx(20, rel=0.25)
    assert result.answer.before is None


def test_the_answer_is_that_of_the_library(workshop, as_file, noisy, tmp_path):
    image = workshop.take("a.png", as_file(noisy))
    result = carried_out(workshop.denoise(image, Order(sigma=25.0, ensemble=True)))
    (tmp_path / "b.png").write_bytes(workshop.file(result, ".png"))
    expected = denoise_image(noisy, sigma=25, ensemble=True)
    np.testing.assert_array_equal(read_image(tmp_path / "b.png"), expected)
    assert (result.answer.sigma, result.answer.estimated) == (25, None)


@pytest.mark.parametrize("strength", [0.5, 2.0])
def test_strength_is_what_the_estimate_is_multiplied_by(strength, workshop, as_file, noisy):
    image = workshop.take("a.png", as_file(noisy))
    answer = carried_out(workshop.denoise(image, Order(strength=strength))).answer
    assert answer.estimated == pytest.approx(estimate_sigma(noisy))
    assert answer.sigma == pytest.approx(strength * answer.estimated)
    assert answer.notes == ()


def test_depth_is_kept_and_sigma_is_of_255(workshop, as_file, noisy, tmp_path):
    deep = noisy.astype(np.uint16) * 257
    image = workshop.take("deep.tif", as_file(deep, "deep.tif"))
    result = carried_out(workshop.denoise(image, Order(sigma=20.0)))
    for suffix in (".tif", ".png"):
        (tmp_path / f"b{suffix}").write_bytes(workshop.file(result, suffix))
        denoised = read_image(tmp_path / f"b{suffix}")
        np.testing.assert_array_equal(denoised, denoise_image(deep, sigma=20 * 257))


def test_floats_keep_their_numbers_whatever_their_unit(workshop, as_file, noisy, tmp_path):
    counts = noisy[..., 1].astype(np.float32) * 16 + 100
    image = workshop.take("counts.tif", as_file(counts, "counts.tif"))
    result = carried_out(workshop.denoise(image, Order()))
    (note,) = result.answer.notes
    assert note.startswith(f"Its numbers reach from {counts.min():g} to {counts.max():g}; ")
    (tmp_path / "b.tif").write_bytes(workshop.file(result, ".tif"))
    denoised = read_image(tmp_path / "b.tif")
    assert denoised.dtype == np.float32
    assert denoised.mean() == pytest.approx(counts.mean(), rel=0.01)
    assert denoised.std() < counts.std()
    (tmp_path / "b.png").write_bytes(workshop.file(result, ".png"))
    as_png = read_image(tmp_path / "b.png")
    assert as_png.dtype == np.uint16
    from_png = counts.min() + as_png / 65535 * np.ptp(counts)
    np.testing.assert_allclose(from_png, denoised, atol=0.001 * counts.max())


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize("share", [1 / 16, 1 / 256])
def test_an_image_that_uses_a_small_part_of_its_range_is_denoised_as_well(
    share, dtype, workshop, as_file, photo, noisy, tmp_path
):
    """A camera of 12 bits in a file of 16, say: to the network in the box it would be black."""
    white = 65535 if dtype == "uint16" else 1
    clean, faint = ((share * white * x / 255).astype(dtype) for x in (photo, noisy))
    image = workshop.take("faint.tif", as_file(faint, "faint.tif"))
    result = carried_out(workshop.denoise(image, Order()))
    assert all("taken as black" in note for note in result.answer.notes)
    assert len(result.answer.notes) == (dtype == "uint16")
    (tmp_path / "b.tif").write_bytes(workshop.file(result, ".tif"))
    denoised = read_image(tmp_path / "b.tif")
    assert denoised.dtype == dtype
    before, after = (psnr(clean[None], x[None], data_range=share * white) for x in (faint, denoised))
    assert after > before + 4


def test_a_model_that_learned_from_counts_is_given_counts(workshop, as_file, noisy, photo, tmp_path):
    counts = (noisy[..., 1] * 16.0 + 100).astype(np.float32)
    small = FoldedUNetNetwork((16, 24), blocks=(1, 1))
    denoiser = ImageDenoiser(
        small, noise=GaussianNoiser(300), max_epochs=1, patch_size=32, sigma="map", random_state=0
    ).fit(16.0 * photo[None, ..., 1].astype(np.float32))
    assert denoiser.intensity_range_ is None
    save(denoiser, tmp_path / "counts.safetensors")
    mine = workshop.take_model("counts.safetensors", (tmp_path / "counts.safetensors").read_bytes())
    image = workshop.take("counts.tif", as_file(counts, "counts.tif"))
    result = carried_out(workshop.denoise(image, Order(model=mine.key)))
    assert result.answer.notes == ()
    assert result.answer.sigma < 55
    (tmp_path / "b.tif").write_bytes(workshop.file(result, ".tif"))
    np.testing.assert_array_equal(read_image(tmp_path / "b.tif"), denoise_image(counts, model=denoiser))


def test_a_photo_stands_upright_and_keeps_its_exif(workshop, noisy, tmp_path):
    stream, exif = BytesIO(), Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a camera"  # orientation: turned to the right
    Image.fromarray(noisy).save(stream, "JPEG", exif=exif, quality=95)
    image = workshop.take("turned.jpg", stream.getvalue())
    assert image.size == noisy.shape[1::-1]
    result = carried_out(workshop.denoise(image, Order()))
    with Image.open(BytesIO(workshop.file(result, ".jpg"))) as written:
        assert written.size == noisy.shape[:2]
        assert dict(written.getexif()).get(0x010F) == "a camera"
        assert written.getexif().get(0x0112, 1) == 1


@pytest.fixture
def server(noisy, as_file):
    """The address of a server on this machine that has an image, and how its name is resolved."""
    data = as_file(noisy, "noisy.png")

    class Images(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "image/png")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *told):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Images) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://images.test:{running.server_port}/a/noisy%20one.png"
        running.shutdown()


def test_an_image_is_fetched_and_kept_as_an_uploaded_one_is(server, as_file, noisy):
    workshop = Workshop(Settings(), resolve=lambda host, port: ["127.0.0.1"])
    image = carried_out(workshop.fetch(server))
    assert image == dataclasses.replace(workshop.take("", as_file(noisy)), name="noisy one.png")
    carried_out(workshop.denoise(image, Order()))
    workshop.close()


def test_an_image_is_fetched_from_public_servers_only(workshop, server):
    with pytest.raises(Refused, match=r"127\.0\.0\.1"):
        carried_out(workshop.fetch(server.replace("images.test", "127.0.0.1")))


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_are_clean_and_get_noise(name, workshop):
    image = workshop.sample(name)
    assert image.is_clean
    assert image == workshop.sample(name)
    result = carried_out(workshop.denoise(image, Order(noise="gaussian", amount=25.0, sigma=25.0)))
    before, after = result.answer.before, result.answer.after
    assert before.psnr == pytest.approx(20.3, abs=0.6)
    assert after.psnr > before.psnr + 6
    assert after.ssim > before.ssim


def test_models_are_loaded_before_somebody_needs_them(workshop, monkeypatch):
    asked = []
    real = _service.denoise_image
    monkeypatch.setattr(_service, "denoise_image", lambda *x, **options: asked.append(real(*x, **options)))
    carried_out(workshop.warm_up())
    assert [image.shape for image in asked] == [(8, 8, 1), (8, 8, 3)]


def test_a_second_asking_is_answered_from_the_shelf(workshop, as_file, noisy, monkeypatch):
    image = workshop.take("a.png", as_file(noisy))
    first = carried_out(workshop.denoise(image, Order()))
    monkeypatch.setattr(_service, "denoise", None)
    assert carried_out(workshop.denoise(image, Order())) == first


def test_views_are_of_the_same_image(workshop, as_file, noisy):
    result = carried_out(workshop.denoise(workshop.take("a.png", as_file(noisy)), Order()))
    assert len({*workshop.whole(result), workshop.taken(result, 4)}) == 3
    parts = workshop.part(result, 0.5, 0.5, 32, 4)
    assert len(set(parts)) == 3
    assert all(uri.startswith("data:image/png;base64,") for uri in parts)
    assert workshop.part(result, 0.1, 0.5, 32, 4) != parts


def test_networks_in_the_box_take_any_noise(workshop, as_file, noisy, tmp_path):
    image = workshop.take("a.png", as_file(noisy))
    result = carried_out(workshop.denoise(image, Order(sigma=100.0)))
    assert (result.answer.sigma, result.answer.notes) == (100.0, ())
    (tmp_path / "b.png").write_bytes(workshop.file(result, ".png"))
    np.testing.assert_array_equal(read_image(tmp_path / "b.png"), denoise_image(noisy, sigma=100))


def test_noise_beyond_what_a_model_of_the_user_knows_is_said(workshop, as_file, noisy, photo, tmp_path):
    noise = GaussianNoiser((0, 10))
    small = FoldedUNetNetwork((16, 24), blocks=(1, 1))
    denoiser = ImageDenoiser(small, noise=noise, sigma="map", max_epochs=1, patch_size=32, random_state=0)
    save(denoiser.fit(photo[None]), tmp_path / "weak.safetensors")
    mine = workshop.take_model("weak.safetensors", (tmp_path / "weak.safetensors").read_bytes())
    answer = carried_out(
        workshop.denoise(workshop.take("a.png", as_file(noisy)), Order(model=mine.key))
    ).answer
    assert answer.sigma == pytest.approx(denoiser.noise_levels_[1])
    assert answer.sigma < answer.estimated
    assert "stronger than this model knows; it was taken as " in answer.notes[0]


@pytest.mark.parametrize("name", ["auto", "gray", "rgb"])
def test_models_in_the_box_are_chosen_by_name(name, workshop, as_file, noisy, tmp_path):
    image = workshop.take("a.png", as_file(noisy))
    result = carried_out(workshop.denoise(image, Order(model=name, sigma=20.0)))
    (tmp_path / "b.png").write_bytes(workshop.file(result, ".png"))
    expected = denoise_image(noisy, sigma=20, model=name)
    np.testing.assert_array_equal(read_image(tmp_path / "b.png"), expected)


def test_a_model_for_colour_takes_gray_too(workshop, as_file, noisy):
    image = workshop.take("gray.png", as_file(noisy[..., 0]))
    result = carried_out(workshop.denoise(image, Order(model="rgb")))
    assert result.answer.shape == noisy.shape[:2]


def test_a_model_of_the_user_is_opened_once(workshop, as_file, noisy, model, tmp_path, monkeypatch):
    data, denoiser = model
    mine = workshop.take_model("mine.safetensors", data)
    assert mine.name == "mine.safetensors"
    opened = []
    monkeypatch.setattr(
        _service, "open_model", lambda path, real=_service.open_model: opened.append(path) or real(path)
    )
    image = workshop.take("a.png", as_file(noisy))
    for seed in range(2):
        result = carried_out(workshop.denoise(image, Order(model=mine.key, seed=seed)))
    assert len(opened) == 1
    assert (result.answer.sigma, result.answer.estimated) == (None, None)
    (tmp_path / "b.png").write_bytes(workshop.file(result, ".png"))
    np.testing.assert_array_equal(read_image(tmp_path / "b.png"), denoise_image(noisy, model=denoiser))


@pytest.mark.parametrize("what", ["text", "cut", "other", "unfitted"])
def test_a_file_that_is_no_model_is_refused_by_its_name(what, workshop, model, tmp_path):
    data, message = {
        "text": (b"no model at all", "mine.safetensors cannot be loaded"),
        "cut": (model[0][:-100], "mine.safetensors cannot be loaded"),
        "other": (None, "holds a DenoisingAutoencoder; .* is an ImageDenoiser"),
        "unfitted": (None, "not fitted; fit it"),
    }[what]
    if data is None:
        save(DenoisingAutoencoder() if what == "other" else ImageDenoiser(), tmp_path / "it.safetensors")
        data = (tmp_path / "it.safetensors").read_bytes()
    with pytest.raises(ValueError, match=message) as refused:
        workshop.take_model("mine.safetensors", data)
    assert "shelf" not in str(refused.value)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(width, height):
    """Return a small PNG that claims to be a large image."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 10_000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "a.png: the file is empty"),
        (b"<html>", "a.png: it is no image that can be read"),
        (b"GIF89a" + b"\0" * 50, "a.png: it is a GIF file, which is not read"),
        (bomb(100_000, 100_000), "a.png has 100000 x 100000 pixels; .* up to 64 megapixels"),
    ],
)
def test_what_is_no_image_or_too_large_is_refused_before_it_is_decoded(data, message, workshop, monkeypatch):
    monkeypatch.setattr(_service, "denoise", None)
    with pytest.raises(ValueError, match=message) as refused:
        workshop.take("a.png", data)
    assert "shelf" not in str(refused.value)


def test_an_image_that_is_damaged_inside_is_refused_by_its_name(workshop):
    image = workshop.take("bad.png", bomb(200, 100))
    with pytest.raises(ValueError, match=r"^bad\.png: ") as refused:
        carried_out(workshop.denoise(image, Order()))
    assert "shelf" not in str(refused.value)


def test_work_is_cancelled_between_tiles(workshop, as_file, noisy, monkeypatch):
    image, job = workshop.take("a.png", as_file(noisy)), None
    real = _service.denoise

    def cancelling(source, order, folder, tell, **options):
        def told(done, total, what):
            if what == "Denoising":
                job.cancel()
            tell(done, total, what)

        return real(source, order, folder, told, **options)

    monkeypatch.setattr(_service, "denoise", cancelling)
    with workshop.queue._changed:  # the worker waits until the job has its name
        job = workshop.denoise(image, Order())
    assert job.wait(LONG)
    assert (job.state, job.result) == ("cancelled", None)


def test_names_are_made_safe(workshop, as_file, noisy):
    name = f"../\u202egnp.<b>{'y' * 300}.png"
    image = workshop.take(name, as_file(noisy))
    assert image.name == f"gnp._b_{'y' * 49}.png"
    assert workshop.take("..", as_file(noisy)).name == "image"


def test_an_image_that_makes_way_while_its_turn_comes_is_gone(workshop, as_file, noisy, monkeypatch):
    image = workshop.take("a.png", as_file(noisy))
    (workshop._kept(image.key).folder / "source").unlink()
    with pytest.raises(Gone):
        carried_out(workshop.denoise(image, Order()))


def test_what_made_way_is_said_to_be_gone(as_file, noisy, photo):
    workshop = Workshop(dataclasses.replace(Settings(), disk_megabytes=1))
    result = carried_out(workshop.denoise(workshop.take("a.png", as_file(noisy)), Order()))
    for seed in range(8):
        other = workshop.take("b.png", as_file(np.roll(photo, seed, axis=0)))
        carried_out(workshop.denoise(other, Order(sigma=5.0)))
    for view in (workshop.whole, lambda r: workshop.file(r, ".png"), lambda r: workshop.taken(r, 4)):
        with pytest.raises(Gone):
            view(result)
    workshop.close()


def test_no_thread_stays_when_the_app_ends():
    before = set(threading.enumerate())
    workshop = Workshop(Settings())
    workers = set(threading.enumerate()) - before
    assert len(workers) > 1
    workshop.close()
    for worker in workers:
        worker.join(10)
        assert not worker.is_alive()
