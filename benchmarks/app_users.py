"""Measure failures, memory and waiting of the web app with many users at once.

    python benchmarks/app_users.py [--users 20] [--megapixels 4] [--output benchmarks/results/app_users.md]

The script starts the app, and a headless Chromium with a window for each user. First all users denoise the
sample image at the same moment, each with another noise level, so that no result comes from the cache. Then
each user uploads a different image of ``--megapixels``. Memory is that of the app's process, read from
``/proc``.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from socket import socket
from typing import Any

import numpy as np
from playwright.sync_api import Page, sync_playwright

from sk_denoise.datasets import load_images
from sk_denoise.io import write_image

# In seconds.
TIMEOUT = 1800


@dataclass
class Outcome:
    """Figures of a round."""

    name: str
    finished: int
    saw_waiting: int
    seconds: float
    memory: int
    peak: int

    def row(self) -> str:
        """Return a line of the table."""
        cells = [
            self.name,
            self.finished,
            self.saw_waiting,
            f"{self.seconds:.0f} s",
            f"{self.memory} MB",
            f"{self.peak} MB",
        ]
        return "| " + " | ".join(map(str, cells)) + " |"


def memory_of(pid: int, name: str) -> int:
    """Return a figure of a process in MB: VmRSS is current, VmHWM is the peak."""
    text = Path(f"/proc/{pid}/status").read_text()
    match = re.search(rf"{name}:\s+(\d+) kB", text)
    assert match is not None
    return int(match[1]) // 1024


@contextmanager
def app() -> Iterator[tuple[str, int]]:
    """Run the app, and yield its address and the number of its process."""
    with closing(socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = f"from sk_denoise.app import run; run(host='127.0.0.1', port={port}, browser=False)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL) as server:
        try:
            address = f"http://127.0.0.1:{port}"
            for _ in range(600):
                try:
                    urllib.request.urlopen(f"{address}/_stcore/health", timeout=5).close()
                    break
                except OSError:
                    time.sleep(0.1)
            yield address, server.pid
        finally:
            server.terminate()


def choose_sample(page: Page, user: int) -> None:
    """Choose the sample image, and a different noise level for each user."""
    page.get_by_text("Sample", exact=True).click()
    page.get_by_text("A cat").click()
    page.get_by_text("Denoised in").wait_for()
    page.get_by_text("Settings").click()
    slider = page.get_by_role("slider", name="Standard deviation, of 255")
    slider.focus()
    for _ in range(user + 1):
        slider.press("ArrowRight")
    page.get_by_text("settings were changed").wait_for()


def denoise(page: Page, user: int) -> None:
    """Press the button."""
    page.get_by_role("button", name="Denoise", exact=True).click()


def reload(page: Page, user: int) -> None:
    """Reload the page."""
    page.reload()
    page.locator("input[type=file]").first.wait_for(state="attached")


def upload(folder: Path, megapixels: float, users: int) -> Callable[[Page, int], None]:
    """Return a function that uploads a different image for each user."""
    photo = np.rint(255 * load_images().test[0]).astype(np.uint8)
    side = int((megapixels * 1e6) ** 0.5)
    times = [-(-side // length) for length in photo.shape[:2]]
    large = np.tile(photo, (*times, 1))[:side, :side]
    for user in range(users):
        noise = np.random.default_rng(user).normal(0, 15, large.shape).astype(np.float32)
        write_image(folder / f"{user}.jpg", np.rint((large + noise).clip(0, 255)).astype(np.uint8))
    return lambda page, user: page.locator("input[type=file]").first.set_input_files(folder / f"{user}.jpg")


def measure_round(
    name: str,
    pages: list[Page],
    pid: int,
    prepare: Callable[[Page, int], None],
    go: Callable[[Page, int], None],
) -> Outcome:
    """Start the same action for all users at the same moment, and wait for the results."""
    for user, page in enumerate(pages):
        prepare(page, user)
    start = time.monotonic()
    for user, page in enumerate(pages):
        go(page, user)
    waiting: set[int] = set()
    finished: set[int] = set()
    while len(finished) < len(pages) and time.monotonic() - start < TIMEOUT:
        for user, page in enumerate(pages):
            text = page.locator("[data-testid=stMain]").inner_text()
            if "Waiting:" in text:
                waiting.add(user)
            busy = page.get_by_role("progressbar").count() > 0 or "settings were changed" in text
            if not busy and "Denoised in" in text:
                finished.add(user)
        time.sleep(0.2)
    seconds = time.monotonic() - start
    return Outcome(
        name, len(finished), len(waiting), seconds, memory_of(pid, "VmRSS"), memory_of(pid, "VmHWM")
    )


def main() -> None:
    """Run both rounds and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--users", type=int, default=20)
    parser.add_argument("--megapixels", type=float, default=4)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/app_users.md"))
    options = parser.parse_args()
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with app() as (address, pid), sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        pages: list[Any] = []
        for _ in range(options.users):
            page = browser.new_context().new_page()
            page.set_default_timeout(1000 * TIMEOUT)
            page.goto(address)
            page.get_by_text("Sample", exact=True).wait_for()
            pages.append(page)
        idle = memory_of(pid, "VmRSS")
        large = upload(Path(folder), options.megapixels, options.users)
        own = f"an image of {options.megapixels:g} megapixels of their own"
        rounds = [
            measure_round("the sample image", pages, pid, choose_sample, denoise),
            measure_round(own, pages, pid, reload, large),
        ]
        browser.close()
    call = f"python benchmarks/app_users.py --users {options.users} --megapixels {options.megapixels:g}"
    lines = [
        f"# {options.users} users at once",
        "",
        f"`{call}`; all of them begin at the same moment.",
        f"With {options.users} pages open and nothing done yet the app took {idle} MB.",
        "",
        "| all take | finished | saw that they wait | the last one after | memory then | the most so far |",
        "|---|---|---|---|---|---|",
        *(outcome.row() for outcome in rounds),
    ]
    options.output.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
