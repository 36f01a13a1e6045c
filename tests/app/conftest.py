"""What the tests of the app share."""

from __future__ import annotations

import os

import numpy as np
import pytest
from _pytest.runner import runtestprotocol

from sk_denoise.app._jobs import Queue
from sk_denoise.app._launch import Settings
from sk_denoise.app._service import Workshop
from sk_denoise.datasets import load_images
from sk_denoise.io import write_image


@pytest.fixture(scope="session")
def photo():
    """A small part of a photo, 8 bits, in colour."""
    return np.rint(255 * load_images().test[0][80:176, 120:248]).astype(np.uint8)


@pytest.fixture(scope="session")
def noisy(photo):
    noise = np.random.default_rng(0).normal(0, 20, photo.shape)
    return np.rint((photo + noise).clip(0, 255)).astype(np.uint8)


@pytest.fixture
def as_file(tmp_path):
    """Return a function that gives the bytes of an image's file."""

    def bytes_of(image, name="image.png"):
        write_image(tmp_path / name, image)
        return (tmp_path / name).read_bytes()

    return bytes_of


@pytest.fixture
def workshop():
    shop = Workshop(Settings())
    yield shop
    shop.close()


@pytest.fixture(autouse=True)
def no_worker_stays(monkeypatch):
    """End the threads of every queue, since those of hundreds of tests would take gigabytes of addresses."""
    queues, begin = [], Queue.__init__

    def noted(queue, *args, **kwargs):
        begin(queue, *args, **kwargs)
        queues.append(queue)

    monkeypatch.setattr(Queue, "__init__", noted)
    yield
    for queue in queues:
        queue.close(1.0)


@pytest.fixture(autouse=True)
def no_settings_of_the_machine(monkeypatch):
    for name in [name for name in os.environ if name.startswith("SK_DENOISE_APP_")]:
        monkeypatch.delenv(name)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    """Try a test in a real browser once more where it fails: a browser has a clock and a mind of its own."""
    if item.path.name != "test_browser.py":
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    reports = runtestprotocol(item, log=False, nextitem=nextitem)
    if any(report.failed for report in reports):
        item.user_properties.append(("repeated", True))  # .ci/durations.py says so
        reports = runtestprotocol(item, log=False, nextitem=nextitem)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True
