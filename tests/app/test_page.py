"""The page, as somebody uses it, without a browser."""

from __future__ import annotations

import errno
import time
from pathlib import Path

import pytest
import streamlit as st
import torch
from streamlit import config
from streamlit.testing.v1 import AppTest

import sk_denoise.app
from sk_denoise import FoldedUNetNetwork, ImageDenoiser
from sk_denoise.app import _processing, page
from sk_denoise.app._jobs import Full, Job, TooLong
from sk_denoise.app._processing import KINDS
from sk_denoise.app._service import SAMPLES, Workshop
from sk_denoise.persistence import save

PAGE = Path(sk_denoise.app.__file__).with_name("page.py")
LONG = 60.0


@pytest.fixture
def at():
    """The page as it is first seen, by the options that it is launched with."""
    st.cache_resource.clear()
    config.set_option("runner.magicEnabled", False)
    yield AppTest.from_file(PAGE, default_timeout=LONG).run()
    st.cache_resource.clear()


def finished(at):
    """Look at the page until no work is under way."""
    end = time.monotonic() + LONG
    while at.get("progress"):
        assert time.monotonic() < end
        time.sleep(0.02)
        at.run()
    assert not at.exception
    return at


def with_sample(at, name="A cat"):
    at.button_group(key="way").set_value("Sample").run()
    return at.button_group(key="sample").set_value(name).run()


def uploaded(at, data, name="noisy.png"):
    (box,) = (box for box in at.file_uploader if "megapixels" in box.label)
    return box.upload(name, data, "image/png").run()


def with_model(at, data, name):
    (box,) = (box for box in at.file_uploader if "ImageDenoiser" in box.label)
    return box.upload(name, data).run()


def text(at):
    return " ".join(element.value for kind in (at.markdown, at.caption) for element in kind)


def test_at_first_there_is_a_box_for_an_image_and_nothing_else(at):
    assert not at.exception
    assert at.title[0].value == "Denoise an image"
    assert [box.label for box in at.file_uploader] == [
        "An image of up to 64 megapixels: PNG, JPEG, WebP, TIFF or BMP"
    ]
    assert not at.button


def test_an_uploaded_image_is_denoised_at_once_with_its_noise_estimated(at, noisy, as_file):
    uploaded(at, as_file(noisy))
    assert "noisy\\.png: 128 x 96 pixels" in text(at)
    finished(at)
    assert "estimated at **2" in text(at)
    assert [button.label for button in at.download_button] == ["Download PNG"]
    assert not at.metric
    assert [tab.label for tab in at.tabs] == ["Before and after", "Enlarged", "What was taken away"]


def test_streamlit_forgets_an_upload_once_it_is_kept(at, noisy, as_file):
    uploaded(at, as_file(noisy))
    assert [box.value for box in at.file_uploader] == [None, None]
    uploaded(finished(at), as_file(noisy[:50]), "part.png")
    assert "part\\.png: 128 x 50 pixels" in text(finished(at))


def test_a_file_in_another_format_than_png_is_offered_in_both(at, noisy, as_file):
    finished(uploaded(at, as_file(noisy, "noisy.jpg"), "noisy.jpg"))
    assert [button.label for button in at.download_button] == ["Download JPG", "Download PNG"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"no image", "it is no image that can be read"),
        (b"", "the file is empty"),
        (b"GIF89a", "GIF file"),
    ],
)
def test_a_file_that_is_no_image_is_refused_in_words(data, message, at):
    uploaded(at, data, "no_image.png")
    (error,) = at.error
    assert message in error.value
    assert error.value.startswith("no\\_image\\.png")
    assert not at.button


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_gets_noise_and_is_compared_with_the_clean_image(name, at):
    finished(with_sample(at, name))
    psnr, ssim = at.metric
    assert psnr.label.startswith("PSNR, noisy 20.")
    assert psnr.delta.startswith("+")
    assert ssim.label.startswith("SSIM, noisy 0.")


@pytest.mark.parametrize("kind", KINDS)
def test_every_noise_can_be_chosen(kind, at, photo, as_file):
    finished(uploaded(at, as_file(photo)))
    at.selectbox(key="noise").select(kind).run()
    assert "settings were changed" in at.info[0].value
    finished(at.button(key="denoise").click().run())
    assert not at.error
    assert len(at.metric) == 2


def test_settings_reach_the_result(at, noisy, as_file):
    finished(uploaded(at, as_file(noisy)))
    assert at.selectbox(key="noise").options[at.selectbox(key="noise").index] == "No"
    at.radio(key="how").set_value("Set by hand").run()
    at.slider(key="sigma").set_value(30).run()
    at.checkbox(key="ensemble").check()
    at.selectbox(key="chosen").select("gray")
    finished(at.button(key="denoise").click().run())
    assert "Noise: 30.0 of 255, as set" in text(at)
    order = at.session_state["result"].order
    assert (order.model, order.sigma, order.ensemble, order.noise) == ("gray", 30.0, True, None)
    assert not at.info


def test_a_part_is_enlarged_where_the_sliders_say(at, noisy, as_file, monkeypatch):
    asked = []
    real = Workshop.part
    monkeypatch.setattr(Workshop, "part", lambda *given: asked.append(given[2:]) or real(*given))
    finished(uploaded(at, as_file(noisy)))
    at.slider(key="across").set_value(10)
    at.slider(key="down").set_value(90)
    at.slider(key="gain").set_value(8)
    at.button_group(key="times").set_value("8").run()
    assert asked[-1] == (0.1, 0.9, 64, 8.0)


def test_a_model_of_the_user_is_chosen_once_it_is_open(at, photo, noisy, as_file, tmp_path):
    small = FoldedUNetNetwork((16, 24), blocks=(1, 1))
    denoiser = ImageDenoiser(small, max_epochs=1, patch_size=32, random_state=0).fit(photo[None])
    save(denoiser, tmp_path / "mine.safetensors")
    finished(uploaded(at, as_file(noisy)))
    data = (tmp_path / "mine.safetensors").read_bytes()
    finished(with_model(at, data, "mine.safetensors"))
    assert at.selectbox(key="chosen").value.startswith("model-")
    assert "mine.safetensors" in at.selectbox(key="chosen").options
    finished(at.button(key="denoise").click().run())
    assert "finds out by itself" in text(at)
    finished(with_model(at, b"nothing", "bad.safetensors"))
    assert at.error[0].value.startswith("bad\\.safetensors cannot be loaded")
    assert at.selectbox(key="chosen").value.startswith("model-")


@pytest.mark.parametrize(
    ("url", "message"), [("http://127.0.0.1/a.png", "127"), ("file:///etc/passwd", "http"), ("", "address")]
)
def test_an_address_that_may_not_be_asked_is_refused_in_words(url, message, at):
    at.button_group(key="way").set_value("Web address").run()
    at.text_input(key="url").set_value(url)
    at.button[0].click().run()
    finished(at)
    assert message in at.error[0].value


def test_an_image_from_the_web_is_denoised_like_an_uploaded_one(at, noisy, as_file, monkeypatch):
    data = as_file(noisy)

    def fetch(self, url):
        assert url == "https://example.org/noisy.png"
        return self.downloads.submit(lambda tell: self.take("noisy.png", data))

    monkeypatch.setattr(Workshop, "fetch", fetch)
    at.button_group(key="way").set_value("Web address").run()
    at.text_input(key="url").set_value(" https://example.org/noisy.png ")
    at.button[0].click().run()
    finished(at)
    assert "estimated at" in text(at)


def test_an_image_from_the_web_takes_the_place_of_another_one(at, noisy, as_file, monkeypatch):
    data = as_file(noisy[:50])
    monkeypatch.setattr(
        Workshop, "fetch", lambda shop, url: shop.downloads.submit(lambda tell: shop.take("web.png", data))
    )
    finished(with_sample(at))
    at.button_group(key="way").set_value("Web address").run()
    at.button[0].click().run()
    finished(at)
    assert "web\\.png: 128 x 50 pixels" in text(at)
    assert at.selectbox(key="noise").value == "no"
    assert not at.metric


def test_what_went_wrong_is_said_until_the_next_work_begins(at, noisy, as_file, monkeypatch):
    monkeypatch.setattr(_processing, "LARGEST_WITH_A_PLACE", 100)
    finished(uploaded(at, as_file(noisy[..., 0])))
    at.selectbox(key="noise").select("region")
    finished(at.button(key="denoise").click().run())
    assert "Take another noise" in at.error[0].value
    at.selectbox(key="noise").select("gaussian").run()
    assert "Take another noise" in at.error[0].value
    finished(at.button(key="denoise").click().run())
    assert not at.error


def test_a_refused_file_leaves_the_image_and_its_result(at, noisy, as_file):
    finished(uploaded(at, as_file(noisy)))
    uploaded(at, b"", "empty.png")
    assert at.error[0].value.startswith("empty\\.png")
    assert "noisy\\.png" in text(at)
    assert "Denoised in" in text(at)
    finished(uploaded(at, as_file(noisy[:50])))
    assert not at.error


@pytest.fixture
def waiting(at, noisy, as_file, monkeypatch):
    """A page whose work does not begin, with two others before it."""
    monkeypatch.setattr(Job, "run", lambda job: None)
    monkeypatch.setattr("sk_denoise.app._jobs.Queue.before", lambda queue, job: 2)
    return uploaded(at, as_file(noisy))


def test_somebody_who_waits_sees_that_they_wait_and_can_leave(waiting):
    (bar,) = waiting.get("progress")
    assert "Waiting: 2 images are before yours" in bar.proto.text
    job = waiting.session_state["job"]
    waiting.button(key="cancel").click().run()
    assert job.state == "cancelled"
    assert not waiting.get("progress")
    assert waiting.info[0].value == r"Cancelled\."


def test_a_model_that_is_opened_leaves_the_work_in_its_place(waiting, photo, tmp_path):
    small = FoldedUNetNetwork((16, 24), blocks=(1, 1))
    save(ImageDenoiser(small, max_epochs=1, patch_size=32).fit(photo[None]), tmp_path / "mine.safetensors")
    job = waiting.session_state["job"]
    with_model(waiting, b"nothing", "bad.safetensors")
    assert "cannot be loaded" in waiting.error[0].value
    with_model(waiting, (tmp_path / "mine.safetensors").read_bytes(), "mine.safetensors")
    assert not waiting.error
    assert waiting.selectbox(key="chosen").value.startswith("model-")
    assert waiting.session_state["job"] is job
    assert job.state == "waiting"


def test_somebody_whose_work_was_given_up_is_told_why(waiting):
    waiting.session_state["job"].leave()
    waiting.run()
    assert waiting.info[0].value.startswith("Nobody looked at this page for a while")


def test_a_fetch_is_seen_whatever_is_chosen_meanwhile(at, monkeypatch):
    monkeypatch.setattr(Job, "run", lambda job: None)
    at.button_group(key="way").set_value("Web address").run()
    at.text_input(key="url").set_value("https://example.org/noisy.png")
    at.button[0].click().run()
    at.button_group(key="way").set_value("Upload").run()
    assert at.get("progress")
    assert at.button(key="cancel").label == "Cancel"


def test_a_line_that_is_too_long_is_said(at, noisy, as_file, monkeypatch):
    def full(*given):
        raise Full

    monkeypatch.setattr("sk_denoise.app._jobs.Queue.submit", full)
    uploaded(at, as_file(noisy))
    assert "Too many images are waiting" in at.error[0].value
    assert not at.exception


def test_a_result_that_made_way_is_said_and_can_be_made_again(at, noisy, as_file, monkeypatch):
    finished(uploaded(at, as_file(noisy)))
    with monkeypatch.context() as patch:
        patch.setattr("sk_denoise.app._disk_cache.Shelf.get", lambda shelf, key: None)
        at.run()
    assert "put away to make room" in at.warning[0].value
    finished(at.button(key="denoise").click().run())
    assert "Denoised in" in text(at)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (page.Gone(), "put away to make room for others. Send it again"),
        (MemoryError(), "not enough memory"),
        (TooLong(), "longer than 120 minutes"),
        (ValueError("no such thing"), "no such thing"),
        (OSError(errno.ENOSPC, "No space left on device", "/tmp/secret"), "no room on the disk"),
        (OSError(errno.EIO, "Input/output error", "/tmp/secret"), "did not expect (OSError)"),
        (KeyError("x"), r"did not expect (KeyError)"),
    ],
)
def test_failures_are_in_words_without_places_on_the_server(error, message):
    assert message in page.in_words(error)
    assert "secret" not in page.in_words(error)


def test_torch_without_memory_is_known():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**55)
    assert "not enough memory" in page.in_words(caught.value)


@pytest.mark.parametrize("way", ["Upload", "Sample"])
def test_a_disk_that_is_full_is_said(way, at, noisy, as_file, monkeypatch):
    def full(shelf, key, fill):
        raise OSError(errno.ENOSPC, "No space left on device", "/tmp/secret")

    monkeypatch.setattr("sk_denoise.app._disk_cache.Shelf.put", full)
    uploaded(at, as_file(noisy)) if way == "Upload" else with_sample(at)
    assert "no room on the disk" in at.error[0].value
    assert not at.exception


def test_names_of_files_are_no_markup():
    assert page.plain("a*b_[c](d) :red[x] <b> `e`.png") == (r"a\*b\_\[c\]\(d\) \:red\[x\] \<b\> \`e\`\.png")
