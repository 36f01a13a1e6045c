"""The app in a real browser, on a wide screen and on a phone."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
import urllib.request
from contextlib import closing, contextmanager
from socket import socket

import numpy as np
import pytest

from sk_denoise import CameraNoiser
from sk_denoise.datasets import load_images
from sk_denoise.io import read_image, write_image
from sk_denoise.metrics import psnr
from sk_denoise.restoration import denoise_image

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium, such as Debian's package"),
]

SECONDS = 90
SCREENS = {"wide": (1280, 900), "phone": (390, 844)}


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The URL of a running app."""
    with run_app(tmp_path_factory.mktemp("app")) as (address, server):
        yield address
        server.terminate()
        assert server.wait(SECONDS) in (0, -15)


@contextmanager
def run_app(folder):
    """Run the app in a process that logs to a folder; yield its URL and the process."""
    with closing(socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = f"from sk_denoise.app import run; run(host='127.0.0.1', port={port}, browser=False)"
    log = (folder / "log").open("w")
    with log, subprocess.Popen([sys.executable, "-c", code], stdout=log, stderr=log) as server:
        try:
            yield wait_until_healthy(f"http://127.0.0.1:{port}", server), server
        finally:
            server.terminate()


def wait_until_healthy(address, server):
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        assert server.poll() is None
        try:
            with urllib.request.urlopen(f"{address}/_stcore/health", timeout=5) as response:
                assert response.status == 200
                return address
        except OSError:
            time.sleep(0.1)
    raise AssertionError("the app did not start")


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(params=SCREENS)
def screen(request, browser, address):
    """A page on a wide screen or a phone, without errors and without requests to other servers."""
    width, height = SCREENS[request.param]
    with closing(browser.new_context(viewport={"width": width, "height": height})) as context:
        context.set_default_timeout(1000 * SECONDS)
        page = context.new_page()
        urls, errors = [], []
        page.on("request", lambda request: urls.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        yield page
        assert not errors
        assert not [url for url in urls if not url.startswith((address, "data:", "blob:"))]


def divider_position(page):
    """Return the position of the divider, in %."""
    return float(page.locator(".compare").first.evaluate("e => parseFloat(e.style.getPropertyValue('--at'))"))


def wait_until_shown(image):
    """Wait until an image is decoded, which happens after its element appears."""
    from playwright.sync_api import expect

    expect(image).not_to_have_js_property("naturalWidth", 0, timeout=1000 * SECONDS)


def test_an_image_is_uploaded_compared_and_downloaded(screen, noisy, as_file, tmp_path):
    upload = {"name": "noisy.png", "mimeType": "image/png", "buffer": as_file(noisy)}
    screen.locator("input[type=file]").first.set_input_files(upload)
    screen.get_by_text(re.compile("Estimated: .* Denoised in")).wait_for()

    before, after = (screen.locator(f".compare img.{side}").first for side in ("before", "after"))
    for image in (before, after):
        wait_until_shown(image)
        assert image.evaluate("e => [e.naturalHeight, e.naturalWidth]") == list(noisy.shape[:2])
    assert before.get_attribute("src") != after.get_attribute("src")

    handle = screen.locator(".compare input").first
    assert divider_position(screen) == 50
    handle.focus()
    handle.press("Home")
    assert divider_position(screen) == 0
    handle.press("ArrowRight")
    assert 0 < divider_position(screen) < 5
    handle.scroll_into_view_if_needed()
    box = handle.bounding_box()
    screen.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    screen.mouse.down()
    screen.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + box["height"] / 2, steps=5)
    screen.mouse.up()
    assert 70 < divider_position(screen) < 90

    with screen.expect_download() as download:
        screen.get_by_role("button", name="Download PNG").click()
    assert download.value.suggested_filename == "noisy-denoised.png"
    download.value.save_as(tmp_path / "denoised.png")
    np.testing.assert_array_equal(read_image(tmp_path / "denoised.png"), denoise_image(noisy))


@pytest.mark.parametrize("photo_name", ["chelsea", "coffee"])
def test_a_jpeg_of_a_camera_comes_out_clean_by_itself(photo_name, screen, tmp_path):
    images = load_images()
    clean = images.test[images.test_names.index(photo_name)][:256, :256]
    noiser = CameraNoiser(shot=0.01, smoothing=0.7, jpeg=88, random_state=0)
    noisy = np.asarray(noiser.fit_transform(clean[None].astype(np.float32)))[0]
    write_image(tmp_path / "phone.jpg", np.rint(255 * noisy.clip(0, 1)).astype(np.uint8), quality=95)
    screen.locator("input[type=file]").first.set_input_files(tmp_path / "phone.jpg")
    screen.get_by_text(
        re.compile("Estimated: noise of a camera or of compression: .* Denoised in")
    ).wait_for()
    with screen.expect_download() as download:
        screen.get_by_role("button", name="Download PNG").click()
    download.value.save_as(tmp_path / "denoised.png")
    before, after = (read_image(tmp_path / name) / 255 for name in ("phone.jpg", "denoised.png"))
    assert psnr(clean[None], after[None], data_range=1) > psnr(clean[None], before[None], data_range=1) + 1.5


def test_a_sample_shows_its_quality_and_nothing_is_wider_than_the_screen(screen):
    screen.get_by_text("Sample", exact=True).click()
    screen.get_by_text("A cup of coffee").click()
    screen.get_by_text("Denoised in").wait_for()
    screen.get_by_text("Settings").click()
    screen.get_by_text("PSNR, noisy").wait_for()
    for tab in ("Enlarged", "Removed noise", "Estimate", "Before and after"):
        screen.get_by_role("tab", name=tab).click()
        widths = screen.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
        assert widths[0] <= widths[1]


@pytest.mark.parametrize("shape", [(300, 20), (3, 900), (2000, 1)], ids=str)
def test_images_of_any_shape_fit_the_screen(shape, screen, noisy, as_file):
    upload = {"name": "thin.png", "mimeType": "image/png", "buffer": as_file(np.resize(noisy, (*shape, 3)))}
    screen.locator("input[type=file]").first.set_input_files(upload)
    screen.get_by_text(re.compile("Denoised in")).wait_for()
    for tab, name in (("Before and after", "Denoised"), ("Removed noise", "Noise removed from the image")):
        screen.get_by_role("tab", name=tab).click()
        image = screen.get_by_alt_text(name).first
        wait_until_shown(image)
        box = image.bounding_box()
        assert box["width"] > 30
        assert 30 < box["height"] < screen.viewport_size["height"]


def test_a_file_without_an_image_is_refused(screen):
    upload = {"name": "page.png", "mimeType": "image/png", "buffer": b"<html></html>"}
    screen.locator("input[type=file]").first.set_input_files(upload)
    screen.get_by_text("page.png: it is no image that can be read").wait_for()


def test_a_stopped_server_ends_without_a_crash(browser, noisy, as_file, tmp_path):
    with run_app(tmp_path) as (address, server), closing(browser.new_context()) as context:
        page = context.new_page()
        page.goto(address)
        # Some seconds of work
        image = as_file(np.tile(noisy, (30, 24, 1)))
        upload = {"name": "large.png", "mimeType": "image/png", "buffer": image}
        page.locator("input[type=file]").first.set_input_files(upload)
        # A fast machine may finish before the page updates.
        progress = re.compile("Denoising: .* tiles|Denoised in")
        page.get_by_text(progress).first.wait_for(timeout=1000 * SECONDS)
        server.terminate()
        assert server.wait(SECONDS) == 0
    assert "terminate called" not in (tmp_path / "log").read_text()
