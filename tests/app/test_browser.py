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

from sk_denoise.io import read_image
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
    """The address of an app that is running."""
    with running(tmp_path_factory.mktemp("app")) as (address, server):
        yield address
        server.terminate()
        assert server.wait(SECONDS) in (0, -15)


@contextmanager
def running(folder):
    """An app in a process, which logs to a folder: its address, and the process."""
    with closing(socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = f"from sk_denoise.app import run; run(host='127.0.0.1', port={port}, browser=False)"
    log = (folder / "log").open("w")
    with log, subprocess.Popen([sys.executable, "-c", code], stdout=log, stderr=log) as server:
        try:
            yield healthy(f"http://127.0.0.1:{port}", server), server
        finally:
            server.terminate()


def healthy(address, server):
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        assert server.poll() is None
        try:
            with urllib.request.urlopen(f"{address}/_stcore/health", timeout=5) as answer:
                assert answer.status == 200
                return address
        except OSError:
            time.sleep(0.1)
    raise AssertionError("the app did not start")


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture(params=SCREENS)
def screen(request, browser, address):
    """A page on a screen of some size; it must not ask anybody but the app, nor complain."""
    width, height = SCREENS[request.param]
    with closing(browser.new_context(viewport={"width": width, "height": height})) as context:
        context.set_default_timeout(1000 * SECONDS)
        page = context.new_page()
        asked, errors = [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        yield page
        assert not errors
        assert not [url for url in asked if not url.startswith((address, "data:", "blob:"))]


def share_shown(page):
    """Return how much of the image before is seen, in %."""
    return float(page.locator(".compare").first.evaluate("e => parseFloat(e.style.getPropertyValue('--at'))"))


def wait_until_shown(image):
    """Wait until an image is decoded: its element stands on the page before the image does."""
    from playwright.sync_api import expect

    expect(image).not_to_have_js_property("naturalWidth", 0, timeout=1000 * SECONDS)


def test_an_image_is_uploaded_compared_and_downloaded(screen, noisy, as_file, tmp_path):
    upload = {"name": "noisy.png", "mimeType": "image/png", "buffer": as_file(noisy)}
    screen.locator("input[type=file]").first.set_input_files(upload)
    screen.get_by_text(re.compile("estimated at .* Denoised in")).wait_for()

    before, after = (screen.locator(f".compare img.{side}").first for side in ("before", "after"))
    for image in (before, after):
        wait_until_shown(image)
        assert image.evaluate("e => [e.naturalHeight, e.naturalWidth]") == list(noisy.shape[:2])
    assert before.get_attribute("src") != after.get_attribute("src")

    handle = screen.locator(".compare input").first
    assert share_shown(screen) == 50
    handle.focus()
    handle.press("Home")
    assert share_shown(screen) == 0
    handle.press("ArrowRight")
    assert 0 < share_shown(screen) < 5
    handle.scroll_into_view_if_needed()
    box = handle.bounding_box()
    screen.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    screen.mouse.down()
    screen.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + box["height"] / 2, steps=5)
    screen.mouse.up()
    assert 70 < share_shown(screen) < 90

    with screen.expect_download() as download:
        screen.get_by_role("button", name="Download PNG").click()
    assert download.value.suggested_filename == "noisy-denoised.png"
    download.value.save_as(tmp_path / "denoised.png")
    np.testing.assert_array_equal(read_image(tmp_path / "denoised.png"), denoise_image(noisy))


def test_a_sample_shows_figures_and_nothing_is_wider_than_the_screen(screen):
    screen.get_by_text("Sample", exact=True).click()
    screen.get_by_text("A cup of coffee").click()
    screen.get_by_text("Denoised in").wait_for()
    screen.get_by_text("Settings").click()
    screen.get_by_text("PSNR, noisy").wait_for()
    for tab in ("Enlarged", "What was taken away", "Before and after"):
        screen.get_by_role("tab", name=tab).click()
        widths = screen.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
        assert widths[0] <= widths[1]


@pytest.mark.parametrize("shape", [(300, 20), (3, 900), (2000, 1)], ids=str)
def test_images_of_any_shape_fit_the_screen(shape, screen, noisy, as_file):
    upload = {"name": "thin.png", "mimeType": "image/png", "buffer": as_file(np.resize(noisy, (*shape, 3)))}
    screen.locator("input[type=file]").first.set_input_files(upload)
    screen.get_by_text(re.compile("Denoised in")).wait_for()
    for tab, name in (("Before and after", "Denoised"), ("What was taken away", "Taken from the whole")):
        screen.get_by_role("tab", name=tab).click()
        image = screen.get_by_alt_text(name).first
        wait_until_shown(image)
        box = image.bounding_box()
        assert box["width"] > 30
        assert 30 < box["height"] < screen.viewport_size["height"]


def test_a_file_that_is_no_image_is_refused_in_words(screen):
    upload = {"name": "page.png", "mimeType": "image/png", "buffer": b"<html></html>"}
    screen.locator("input[type=file]").first.set_input_files(upload)
    screen.get_by_text("page.png: it is no image that can be read").wait_for()


def test_a_server_that_is_stopped_while_it_works_ends_in_peace(browser, noisy, as_file, tmp_path):
    with running(tmp_path) as (address, server), closing(browser.new_context()) as context:
        page = context.new_page()
        page.goto(address)
        image = as_file(np.tile(noisy, (30, 24, 1)))  # some seconds of work
        upload = {"name": "large.png", "mimeType": "image/png", "buffer": image}
        page.locator("input[type=file]").first.set_input_files(upload)
        at_work = re.compile(
            "Denoising: .* tiles|Denoised in"
        )  # where the machine is faster than the page looks
        page.get_by_text(at_work).first.wait_for(timeout=1000 * SECONDS)
        server.terminate()
        assert server.wait(SECONDS) == 0
    assert "terminate called" not in (tmp_path / "log").read_text()
