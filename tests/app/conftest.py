"""Fixtures for the tests of the app."""

from __future__ import annotations

import os

import numpy as np
import pytest
from _pytest.runner import runtestprotocol

from sk_denoise.app import _service
from sk_denoise.app._jobs import JobQueue
from sk_denoise.app._launch import Settings
from sk_denoise.app._service import AppService
from sk_denoise.datasets import load_images
from sk_denoise.io import write_image


@pytest.fixture(scope="session")
def photo():
    """A small part of a photo, in colour, with 8 bits."""
    return np.rint(255 * load_images().test[0][80:176, 120:248]).astype(np.uint8)


@pytest.fixture(scope="session")
def noisy(photo):
    noise = np.random.default_rng(0).normal(0, 20, photo.shape)
    return np.rint((photo + noise).clip(0, 255)).astype(np.uint8)


@pytest.fixture
def as_file(tmp_path):
    """A function from an image to the bytes of its file."""

    def encode(image, name="image.png"):
        write_image(tmp_path / name, image)
        return (tmp_path / name).read_bytes()

    return encode


@pytest.fixture
def service():
    service = AppService(Settings())
    yield service
    service.close()


class SameProcess:
    """Stand-in for a pool of processes, which start slowly: jobs run in the thread that submits them."""

    is_idle, process_ids = True, ()

    def __init__(self, *args, **options):
        pass

    def run(self, function, *args, progress=None, seconds=None, **options):
        return function(*args, **options, **({} if progress is None else {"progress": progress}))

    def end_idle(self, seconds):
        pass

    def close(self):
        pass


@pytest.fixture(autouse=True)
def work_in_this_process(monkeypatch):
    monkeypatch.setattr(_service, "WorkerPool", SameProcess)


@pytest.fixture(autouse=True)
def close_queues(monkeypatch):
    """Close every queue after its test."""
    # The threads of hundreds of tests would take gigabytes of addresses.
    queues, original = [], JobQueue.__init__

    def record(queue, *args, **kwargs):
        original(queue, *args, **kwargs)
        queues.append(queue)

    monkeypatch.setattr(JobQueue, "__init__", record)
    yield
    for queue in queues:
        queue.close(1.0)


@pytest.fixture(autouse=True)
def clear_settings_of_the_environment(monkeypatch):
    for name in [name for name in os.environ if name.startswith("SK_DENOISE_APP_")]:
        monkeypatch.delenv(name)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    """Repeat a failed browser test once, because browsers have timing of their own."""
    if item.path.name != "test_browser.py":
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    reports = runtestprotocol(item, log=False, nextitem=nextitem)
    if any(report.failed for report in reports):
        # .ci/durations.py lists repeated tests.
        item.user_properties.append(("repeated", True))
        reports = runtestprotocol(item, log=False, nextitem=nextitem)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True
