"""The page, used without a browser."""

from __future__ import annotations

import errno
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from streamlit import config
from streamlit.testing.v1 import AppTest

import sk_denoise.app
from sk_denoise import FoldedUNetNetwork, ImageDenoiser
from sk_denoise.app import _processing, page
from sk_denoise.app._jobs import JobQueue, JobTimeoutError, QueuedJob, QueueFullError
from sk_denoise.app._processing import NOISE_CHOICES, DenoisingRequest
from sk_denoise.app._service import SAMPLES, AppService, DiskCache, ExpiredError, close_shared_service
from sk_denoise.app._workers import WorkerCrashedError
from sk_denoise.io import write_stack
from sk_denoise.persistence import save

PAGE = Path(sk_denoise.app.__file__).with_name("page.py")
LONG = 60.0


@pytest.fixture
def at():
    """The page at the first visit, with the options of the launch."""
    config.set_option("runner.magicEnabled", False)
    yield AppTest.from_file(PAGE, default_timeout=LONG).run()
    close_shared_service()


def wait_for_job(at):
    """Rerun the page until its job has finished."""
    end = time.monotonic() + LONG
    while at.get("progress"):
        assert time.monotonic() < end
        time.sleep(0.02)
        at.run()
    assert not at.exception
    return at


def choose_sample(at, name="A cat"):
    at.button_group(key="source").set_value("Sample").run()
    return at.button_group(key="sample").set_value(name).run()


def upload(at, data, name="noisy.png"):
    (box,) = (box for box in at.file_uploader if "megapixels" in box.label)
    return box.upload(name, data, "image/png").run()


def upload_model(at, data, name):
    (box,) = (box for box in at.file_uploader if "ImageDenoiser" in box.label)
    return box.upload(name, data).run()


def text(at):
    return " ".join(element.value for kind in (at.markdown, at.caption) for element in kind)


def test_the_first_visit_shows_a_box_for_an_image_only(at):
    assert not at.exception
    assert at.title[0].value == "Denoise an image"
    assert [box.label for box in at.file_uploader] == [
        "An image of up to 64 megapixels, or a stack: PNG, JPEG, TIFF, WebP and others"
    ]
    assert not at.button
    assert "Images are deleted 3 minutes after you close this page" in text(at)


def test_an_upload_is_denoised_at_once_with_an_estimated_noise_level(at, noisy, as_file):
    upload(at, as_file(noisy))
    assert "noisy\\.png: 128 x 96 pixels" in text(at)
    wait_for_job(at)
    assert r"Estimated: **white noise\: about 2" in text(at)
    assert [button.label for button in at.download_button] == ["Download PNG"]
    assert not at.metric
    assert [tab.label for tab in at.tabs] == ["Before and after", "Enlarged", "Removed noise", "Estimate"]


@pytest.mark.slow
def test_streamlit_frees_a_stored_upload(at, noisy, as_file):
    upload(at, as_file(noisy))
    assert [box.value for box in at.file_uploader] == [None, None]
    upload(wait_for_job(at), as_file(noisy[:50]), "part.png")
    assert "part\\.png: 128 x 50 pixels" in text(wait_for_job(at))


def test_another_format_than_png_can_be_downloaded_as_both(at, noisy, as_file):
    wait_for_job(upload(at, as_file(noisy, "noisy.jpg"), "noisy.jpg"))
    assert [button.label for button in at.download_button] == ["Download JPG", "Download PNG"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"no image", "it is no image that can be read"),
        (b"", "the file is empty"),
        (b"\0\0\0\x18ftypheic", "HEIC file"),
    ],
)
def test_a_file_without_an_image_is_refused(data, message, at):
    upload(at, data, "no_image.png")
    (error,) = at.error
    assert message in error.value
    assert error.value.startswith("no\\_image\\.png")
    assert not at.button


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_is_corrupted_and_compared_with_the_clean_image(name, at):
    wait_for_job(choose_sample(at, name))
    psnr, ssim = at.metric
    assert psnr.label.startswith("PSNR, noisy 20.")
    assert psnr.delta.startswith("+")
    assert ssim.label.startswith("SSIM, noisy 0.")


@pytest.mark.slow
def test_an_upload_shows_the_psnr_to_expect(at, photo, as_file):
    # Without values at black and white, where noise is clipped
    noisy = 80 + 0.5 * photo + np.random.default_rng(0).normal(0, 20, photo.shape)
    wait_for_job(upload(at, as_file(noisy.round().astype(np.uint8))))
    (metric,) = at.metric
    assert metric.label.startswith("Expected PSNR, noisy 2")
    assert metric.delta.startswith("+")
    assert any("with 90 % confidence" in caption.value for caption in at.caption)


def test_clipped_noise_shows_why_there_is_no_psnr_to_expect(at, noisy, as_file):
    wait_for_job(upload(at, as_file(noisy)))
    assert not at.metric
    assert any("of the noisy numbers are 0" in caption.value for caption in at.caption)


def test_correlated_noise_shows_why_there_is_no_psnr_to_expect(at, photo, as_file):
    grain = gaussian_filter(np.random.default_rng(0).normal(0, 60, photo.shape[:2]), 1.5)
    noisy = (photo.mean(axis=2) + grain).clip(0, 255).astype(np.uint8)
    wait_for_job(upload(at, as_file(noisy)))
    assert not at.metric
    assert any("correlated between neighbouring pixels" in caption.value for caption in at.caption)


@pytest.mark.parametrize("noise", NOISE_CHOICES)
def test_every_noise_can_be_added(noise, at, photo, as_file):
    wait_for_job(upload(at, as_file(photo)))
    at.selectbox(key="noise").select(noise).run()
    assert "settings were changed" in at.info[0].value
    wait_for_job(at.button(key="denoise").click().run())
    assert not at.error
    assert len(at.metric) == 2


@pytest.mark.slow
def test_settings_reach_the_result(at, noisy, as_file):
    wait_for_job(upload(at, as_file(noisy)))
    assert at.selectbox(key="noise").options[at.selectbox(key="noise").index] == "No"
    at.selectbox(key="kind").select("by hand").run()
    at.slider(key="sigma").set_value(30).run()
    at.slider(key="percent").set_value(50).run()
    at.checkbox(key="ensemble").check()
    at.checkbox(key="outliers").check()
    at.selectbox(key="model").select("gray")
    wait_for_job(at.button(key="denoise").click().run())
    assert "Noise: 30.0 of 255, as set" in text(at)
    assert at.session_state["result"].request == DenoisingRequest(
        "gray", "auto", 30.0, strength=0.5, outliers="replace", ensemble=True
    )
    assert not at.info


@pytest.mark.parametrize("kind", ["white", "counts", "camera"])
def test_the_kind_of_the_noise_is_chosen(kind, at, noisy, as_file):
    wait_for_job(upload(at, as_file(noisy)))
    at.selectbox(key="kind").select(kind).run()
    wait_for_job(at.button(key="denoise").click().run())
    assert at.session_state["result"].request.kind == kind
    assert not at.error
    word = {"white": "white", "counts": "counts", "camera": "camera"}[kind]
    # Noise of one level has no gain, so it is white, and the page says so.
    assert word in text(at) or "does not grow with the brightness" in at.warning[0].value


@pytest.mark.slow
def test_a_model_without_a_level_takes_no_kind_and_no_level(at, noisy, as_file):
    wait_for_job(upload(at, as_file(noisy)))
    at.selectbox(key="kind").select("by hand").run()
    at.selectbox(key="model").select("camera").run()
    assert at.selectbox(key="kind").options == ["Automatic"]
    assert not [slider for slider in at.slider if slider.key == "sigma"]
    wait_for_job(at.button(key="denoise").click().run())
    assert "This model needs no noise level" in text(at)
    assert "Removed: " in text(at)


def test_an_image_without_noise_is_said_to_be_unchanged(at, as_file):
    drawing = np.full((64, 64, 3), 255, np.uint8)
    drawing[10:40, 20:50] = 200, 60, 40
    wait_for_job(upload(at, as_file(drawing)))
    assert "no visible noise" in text(at)
    assert "Removed" not in text(at)
    assert at.info[0].value.startswith("The image is unchanged. If you see noise in it, open the settings")


def test_noise_that_is_not_white_is_warned_of_in_words_of_the_page(at, photo, as_file):
    coarse = np.random.default_rng(0).normal(0, 25, (48, 64, 3)).repeat(2, 0).repeat(2, 1)
    wait_for_job(upload(at, as_file((photo + coarse).clip(0, 255).astype(np.uint8))))
    assert not at.warning
    at.selectbox(key="kind").select("white").run()
    wait_for_job(at.button(key="denoise").click().run())
    (warning,) = at.warning
    assert 'Choose the noise "Automatic", or a level of ' in warning.value.replace("\\", "")


def test_a_stack_is_denoised_and_downloaded_as_a_stack(at, noisy, tmp_path):
    write_stack(tmp_path / "stack.tif", np.stack([noisy[..., 0], noisy[..., 1]]), axes="ZYX")
    wait_for_job(upload(at, (tmp_path / "stack.tif").read_bytes(), "stack.tif"))
    assert "stack\\.tif: 128 x 96 pixels, 2 planes (ZYX)" in text(at)
    assert "One plane from the middle of the stack is shown" in text(at)
    assert [button.label for button in at.download_button] == ["Download TIF"]
    assert not [box for box in at.selectbox if box.key == "noise"]


def test_the_sliders_choose_the_enlarged_part(at, noisy, as_file, monkeypatch):
    calls = []
    real = AppService.encode_enlarged_views
    monkeypatch.setattr(
        AppService, "encode_enlarged_views", lambda *given: calls.append(given[2:]) or real(*given)
    )
    wait_for_job(upload(at, as_file(noisy)))
    at.slider(key="across").set_value(10)
    at.slider(key="down").set_value(90)
    at.slider(key="gain").set_value(8)
    at.button_group(key="magnification").set_value("8").run()
    assert calls[-1] == (0.1, 0.9, 64, 8.0)


@pytest.mark.slow
def test_an_uploaded_model_is_selected(at, photo, noisy, as_file, tmp_path):
    small = FoldedUNetNetwork((16, 24), blocks=(1, 1))
    denoiser = ImageDenoiser(small, max_epochs=1, patch_size=32, random_state=0).fit(photo[None])
    save(denoiser, tmp_path / "mine.safetensors")
    wait_for_job(upload(at, as_file(noisy)))
    data = (tmp_path / "mine.safetensors").read_bytes()
    wait_for_job(upload_model(at, data, "mine.safetensors"))
    assert at.selectbox(key="model").value.startswith("model-")
    assert "mine.safetensors" in at.selectbox(key="model").options
    wait_for_job(at.button(key="denoise").click().run())
    assert "needs no noise level" in text(at)
    wait_for_job(upload_model(at, b"nothing", "bad.safetensors"))
    assert at.error[0].value.startswith("bad\\.safetensors cannot be loaded")
    assert at.selectbox(key="model").value.startswith("model-")


@pytest.mark.parametrize(
    ("url", "message"), [("http://127.0.0.1/a.png", "127"), ("file:///etc/passwd", "http"), ("", "address")]
)
def test_an_invalid_url_is_refused(url, message, at):
    at.button_group(key="source").set_value("Web address").run()
    at.text_input(key="url").set_value(url)
    at.button[0].click().run()
    wait_for_job(at)
    assert message in at.error[0].value


def test_an_image_from_the_web_is_denoised_like_an_upload(at, noisy, as_file, monkeypatch):
    data = as_file(noisy)

    def fetch(self, url, page):
        assert url == "https://example.org/noisy.png"
        return self.downloads.submit(lambda progress: self.store_image("noisy.png", data))

    monkeypatch.setattr(AppService, "fetch_image", fetch)
    at.button_group(key="source").set_value("Web address").run()
    at.text_input(key="url").set_value(" https://example.org/noisy.png ")
    at.button[0].click().run()
    wait_for_job(at)
    assert "Estimated: " in text(at)


@pytest.mark.slow
def test_an_image_from_the_web_replaces_the_previous_one(at, noisy, as_file, monkeypatch):
    data = as_file(noisy[:50])

    def fetch(self, url, page):
        return self.downloads.submit(lambda progress: self.store_image("web.png", data))

    monkeypatch.setattr(AppService, "fetch_image", fetch)
    wait_for_job(choose_sample(at))
    at.button_group(key="source").set_value("Web address").run()
    at.button[0].click().run()
    wait_for_job(at)
    assert "web\\.png: 128 x 50 pixels" in text(at)
    assert at.selectbox(key="noise").value == "no"
    assert not at.metric


def test_an_error_is_shown_until_the_next_job(at, noisy, as_file, monkeypatch):
    monkeypatch.setattr(_processing, "MAX_REGION_NOISE_PIXELS", 100)
    wait_for_job(upload(at, as_file(noisy[..., 0])))
    at.selectbox(key="noise").select("region")
    wait_for_job(at.button(key="denoise").click().run())
    assert "Choose another noise" in at.error[0].value
    at.selectbox(key="noise").select("gaussian").run()
    assert "Choose another noise" in at.error[0].value
    wait_for_job(at.button(key="denoise").click().run())
    assert not at.error


def test_a_refused_file_leaves_the_image_and_its_result(at, noisy, as_file):
    wait_for_job(upload(at, as_file(noisy)))
    upload(at, b"", "empty.png")
    assert at.error[0].value.startswith("empty\\.png")
    assert "noisy\\.png" in text(at)
    assert "Denoised in" in text(at)
    wait_for_job(upload(at, as_file(noisy[:50])))
    assert not at.error


@pytest.fixture
def waiting(at, noisy, as_file, monkeypatch):
    """A page whose job waits behind two others."""
    monkeypatch.setattr(QueuedJob, "run", lambda job: None)
    monkeypatch.setattr(JobQueue, "count_ahead", lambda queue, job: 2)
    return upload(at, as_file(noisy))


def test_a_waiting_job_shows_its_position_and_can_be_cancelled(waiting):
    (bar,) = waiting.get("progress")
    assert "Waiting: 2 images are ahead of yours" in bar.proto.text
    job = waiting.session_state["job"]
    waiting.button(key="cancel").click().run()
    assert job.state == "cancelled"
    assert not waiting.get("progress")
    assert waiting.info[0].value == r"Cancelled\."


def test_uploading_a_model_keeps_the_waiting_job(waiting, photo, tmp_path):
    small = FoldedUNetNetwork((16, 24), blocks=(1, 1))
    save(ImageDenoiser(small, max_epochs=1, patch_size=32).fit(photo[None]), tmp_path / "mine.safetensors")
    job = waiting.session_state["job"]
    upload_model(waiting, b"nothing", "bad.safetensors")
    assert "cannot be loaded" in waiting.error[0].value
    upload_model(waiting, (tmp_path / "mine.safetensors").read_bytes(), "mine.safetensors")
    assert not waiting.error
    assert waiting.selectbox(key="model").value.startswith("model-")
    assert waiting.session_state["job"] is job
    assert job.state == "waiting"


def test_an_abandoned_job_is_explained(waiting):
    waiting.session_state["job"].drop()
    waiting.run()
    assert waiting.info[0].value.startswith("This page was inactive for a while")


def test_a_download_stays_visible_beside_another_source(at, monkeypatch):
    monkeypatch.setattr(QueuedJob, "run", lambda job: None)
    at.button_group(key="source").set_value("Web address").run()
    at.text_input(key="url").set_value("https://example.org/noisy.png")
    at.button[0].click().run()
    at.button_group(key="source").set_value("Upload").run()
    assert at.get("progress")
    assert at.button(key="cancel").label == "Cancel"


def test_a_full_queue_is_explained(at, noisy, as_file, monkeypatch):
    def full(*given):
        raise QueueFullError

    monkeypatch.setattr(JobQueue, "submit", full)
    upload(at, as_file(noisy))
    assert "Too many images are waiting" in at.error[0].value
    assert not at.exception


def test_an_expired_result_is_explained_and_can_be_computed_again(at, noisy, as_file, monkeypatch):
    wait_for_job(upload(at, as_file(noisy)))
    with monkeypatch.context() as patch:
        patch.setattr(DiskCache, "get", lambda cache, key: None)
        at.run()
    assert "deleted to make room" in at.warning[0].value
    wait_for_job(at.button(key="denoise").click().run())
    assert "Denoised in" in text(at)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ExpiredError(), "deleted to make room for others. Send it again"),
        (MemoryError(), "not enough memory"),
        (JobTimeoutError(), "longer than 120 minutes"),
        (ValueError("no such thing"), "no such thing"),
        (OSError(errno.ENOSPC, "No space left on device", "/tmp/secret"), "disk of this app is full"),
        (OSError(errno.EIO, "Input/output error", "/tmp/secret"), "unexpected error occurred (OSError)"),
        (KeyError("x"), "unexpected error occurred (KeyError)"),
        (WorkerCrashedError("status -9, /tmp/secret"), "ended unexpectedly"),
    ],
)
def test_errors_are_described_without_paths_of_the_server(error, message):
    assert message in page.error_text(error)
    assert "secret" not in page.error_text(error)


def test_torch_without_memory_is_described():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**55)
    assert "not enough memory" in page.error_text(caught.value)


@pytest.mark.parametrize("source", ["Upload", "Sample"])
def test_a_full_disk_is_explained(source, at, noisy, as_file, monkeypatch):
    def full(cache, key, fill):
        raise OSError(errno.ENOSPC, "No space left on device", "/tmp/secret")

    monkeypatch.setattr(DiskCache, "put", full)
    upload(at, as_file(noisy)) if source == "Upload" else choose_sample(at)
    assert "disk of this app is full" in at.error[0].value
    assert not at.exception


def test_file_names_are_escaped_for_markdown():
    assert page.escape_markdown("a*b_[c](d) :red[x] <b> `e`.png") == (
        r"a\*b\_\[c\]\(d\) \:red\[x\] \<b\> \`e\`\.png"
    )
