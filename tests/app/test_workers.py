"""Worker processes: results, limits, cancels and crashes."""

from __future__ import annotations

import importlib
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from sk_denoise.app import _service, _workers
from sk_denoise.app._jobs import JobCancelledError, JobQueue, JobTimeoutError, QueueFullError, log_failure
from sk_denoise.app._launch import Settings
from sk_denoise.app._processing import DenoisingRequest
from sk_denoise.app._service import AppService
from sk_denoise.app._tasks import prepare
from sk_denoise.app._workers import WorkerCrashedError, WorkerPool
from sk_denoise.io import read_image
from sk_denoise.restoration import denoise_image

LONG = 120.0
# The stand-in of the fixtures leaves the class itself.
REAL_POOL = WorkerPool


@pytest.fixture(scope="module")
def jobs():
    """The module of the jobs, which the processes import by its name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent)
        yield importlib.import_module("worker_jobs")


@pytest.fixture(scope="module")
def pool(jobs, tmp_path_factory):
    pool = WorkerPool(1, prepare, 600 * 10**6, tmp_path_factory.mktemp("workers"))
    yield pool
    pool.close()


def test_a_process_is_reused_until_it_is_killed(pool):
    pids = {pool.run(os.getpid) for _ in range(3)}
    assert pids == set(pool.process_ids)
    assert os.getpid() not in pids
    with pytest.raises(JobTimeoutError):
        pool.run(time.sleep, LONG, seconds=0.2)
    assert {pool.run(os.getpid)}.isdisjoint(pids)


def test_a_job_that_reports_is_cancelled_and_its_process_is_kept(pool, jobs):
    pid, reports = pool.run(os.getpid), []

    def cancel(*report):
        reports.append(report)
        if report[0]:
            raise JobCancelledError

    start = time.monotonic()
    with pytest.raises(JobCancelledError):
        pool.run(jobs.report_and_wait, LONG, progress=cancel)
    assert time.monotonic() - start < 1
    assert reports[-1] == (1, 2, "Waiting")
    assert pool.run(os.getpid) == pid


def test_a_job_that_hangs_is_killed_within_two_seconds(pool, jobs):
    queue = JobQueue(1, 1, LONG)
    job = queue.submit(lambda progress: pool.run(jobs.hang, LONG, progress=progress))
    while job.progress[2] != "Hanging":
        assert not job.wait(0.01)
    start = time.monotonic()
    job.cancel()
    assert job.wait(LONG)
    assert job.state == "cancelled"
    assert time.monotonic() - start < 2
    assert pool.run(os.getpid)


def test_a_job_beyond_the_memory_fails_with_words_and_the_next_one_runs(pool, jobs):
    assert pool.run(jobs.allocate, 200)
    with pytest.raises(MemoryError):
        pool.run(jobs.allocate, 3000)
    assert pool.run(jobs.allocate, 200)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
@pytest.mark.parametrize(("number", "message"), [(0, "status 7"), (9, "lack of memory"), (11, "status -11")])
def test_a_crash_is_an_error_and_the_process_is_replaced(number, message, pool, jobs):
    with pytest.raises(WorkerCrashedError, match=message):
        pool.run(jobs.end_by, number)
    assert pool.run(os.getpid) in pool.process_ids


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
def test_a_process_that_dies_between_two_jobs_is_replaced(pool):
    pid = pool.run(os.getpid)
    os.kill(pid, signal.SIGKILL)
    assert pool.run(os.getpid) != pid


def test_errors_keep_their_type_and_log_a_line_or_a_traceback(pool, caplog, jobs):
    with pytest.raises(ValueError, match="a bad") as caught:
        pool.run(jobs.fail, "value")
    log_failure("A job failed", caught.value)
    assert caplog.messages == ["A job failed: ValueError: a bad file"]
    with pytest.raises(KeyError) as caught:
        pool.run(jobs.fail, "key")
    log_failure("A job failed", caught.value)
    assert "in fail" in caplog.messages[-1]
    with pytest.raises(RuntimeError, match="AwkwardError: 1"):
        pool.run(jobs.fail, "awkward")


def test_a_process_ends_with_its_pool_and_leaves_no_files(tmp_path, jobs):
    pool = WorkerPool(1, prepare, 10**9, tmp_path)
    queue = JobQueue(1, 1, LONG)
    pid = pool.run(os.getpid)
    assert list(tmp_path.iterdir())
    job = queue.submit(lambda progress: pool.run(jobs.hang, LONG, progress=progress))
    while job.progress[2] != "Hanging":
        assert not job.wait(0.01)
    pool.close()
    assert job.wait(5)
    assert job.state == "cancelled"
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert list(tmp_path.iterdir()) == []


def test_a_job_that_finds_no_free_process_gives_up(pool, jobs, monkeypatch):
    monkeypatch.setattr(_workers, "MAX_WAIT", 0.2)
    queue = JobQueue(1, 1, LONG)
    job = queue.submit(lambda progress: pool.run(jobs.report_and_wait, LONG, progress=progress))
    while job.progress[2] != "Waiting":
        assert not job.wait(0.01)
    with pytest.raises(QueueFullError):
        pool.run(os.getpid)
    job.cancel()
    assert job.wait(LONG)
    # A job may itself take longer than that.
    assert pool.run(time.sleep, 0.4) is None


def test_files_of_the_working_folder_do_not_take_the_place_of_modules(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "json.py").write_text("raise ImportError")
    pool = WorkerPool(1, prepare, 10**9, tmp_path)
    assert pool.run(os.getpid)
    pool.close()


def test_threads_share_the_processes(pool):
    pids, threads = [], []
    for _ in range(4):
        threads.append(threading.Thread(target=lambda: pids.append(pool.run(os.getpid))))
        threads[-1].start()
    for thread in threads:
        thread.join(LONG)
    assert pids == pool.process_ids * 4


@pytest.mark.slow
def test_the_service_works_in_processes(noisy, as_file, monkeypatch, tmp_path):
    """As the tests of the service do in this process."""
    monkeypatch.setattr(_service, "WorkerPool", REAL_POOL)
    service = AppService(Settings())
    image = service.store_image("a.png", as_file(noisy))
    with pytest.raises(ValueError, match=r"^b\.png: it is no image"):
        service.store_image("b.png", b"none")
    with pytest.raises(ValueError, match=r"^b\.safetensors cannot be loaded"):
        service.store_model("b.safetensors", b"none")
    (worker,) = service._workers.process_ids
    job = service.denoise(image, DenoisingRequest())
    assert job.wait(LONG)
    (tmp_path / "a.png").write_bytes(service.encode_file(job.result, ".png"))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), denoise_image(noisy))
    os.kill(worker, signal.SIGKILL)
    job = service.denoise(image, DenoisingRequest(seed=1))
    assert job.wait(LONG)
    assert job.state == "done"
    service.close()
