"""The job queue of the app: order, progress, cancellation, limits and failures."""

from __future__ import annotations

import gc
import threading
import warnings
import weakref

import numpy as np
import pytest

from sk_denoise.app._jobs import LOG, JobQueue, JobTimeoutError, QueueFullError, collect_warnings

LONG = 30.0  # seconds that no test needs


@pytest.fixture
def gate():
    """An event that lets blocked jobs finish; it is set at the end."""
    opened = threading.Event()
    yield opened
    opened.set()


def block_until(opened):
    """Return a job function that finishes once the event is set."""

    def work(progress):
        assert opened.wait(LONG)
        return "done"

    return work


def wait_for_start(job):
    while job.state == "waiting":
        assert not job.wait(0.001)
    return job


def threads_of_queues():
    return {thread for thread in threading.enumerate() if thread.name.startswith("sk_denoise-")}


def test_jobs_run_in_order_and_report_their_position(gate):
    queue = JobQueue(n_workers=1, max_waiting=10, patience=LONG)
    first, second, third = (queue.submit(block_until(gate)) for _ in range(3))
    wait_for_start(first)
    assert [job.state for job in (first, second, third)] == ["running", "waiting", "waiting"]
    assert [queue.count_ahead(job) for job in (first, second, third)] == [0, 0, 1]
    gate.set()
    assert third.wait(LONG)
    assert [job.result for job in (first, second, third)] == ["done"] * 3
    assert not queue.count_ahead(third)


def test_no_more_jobs_run_than_there_are_workers(gate):
    queue, running, counts = JobQueue(2, 10, LONG), [], []

    def work(progress):
        running.append(1)
        counts.append(len(running))
        gate.wait(0.02)
        running.pop()

    jobs = [queue.submit(work) for _ in range(6)]
    assert all(job.wait(LONG) for job in jobs)
    assert 1 <= max(counts) <= 2


def test_a_job_shows_its_progress(gate):
    reported = threading.Event()

    def work(progress):
        progress(3, 8, "Denoising")
        reported.set()
        gate.wait(LONG)

    job = JobQueue(1, 10, LONG).submit(work)
    assert reported.wait(LONG)
    assert job.progress == (3, 8, "Denoising")


def test_a_waiting_job_is_cancelled_at_once(gate):
    queue = JobQueue(1, 10, LONG)
    first, second, third = (queue.submit(block_until(gate)) for _ in range(3))
    wait_for_start(first)
    second.cancel()
    assert queue.count_ahead(third) == 0
    assert (second.state, second.is_finished) == ("cancelled", True)
    gate.set()
    assert third.wait(LONG)
    assert (first.result, second.result, third.result) == ("done", None, "done")


def test_a_running_job_is_cancelled_at_its_next_progress_report(gate):
    def work(progress):
        assert gate.wait(LONG)
        progress(1, 2, "")
        raise AssertionError("the job continued")

    job = wait_for_start(JobQueue(1, 10, LONG).submit(work))
    job.cancel()
    gate.set()
    assert job.wait(LONG)
    assert (job.state, job.error) == ("cancelled", None)


def test_an_abandoned_job_is_cancelled():
    queue = JobQueue(1, 10, patience=0.0)

    def work(progress):
        raise AssertionError("the job ran")

    job = queue.submit(work)
    assert job.wait(LONG)
    assert (job.state, job.error) == ("cancelled", None)


def test_a_job_fails_at_the_first_progress_report_after_its_time_limit():
    def work(progress):
        progress(1, 2, "")
        raise AssertionError("the job continued")

    job = JobQueue(1, 10, LONG, max_seconds=0.0).submit(work)
    assert job.wait(LONG)
    assert (job.state, type(job.error)) == ("failed", JobTimeoutError)


def test_keep_alive_keeps_a_job():
    queue = JobQueue(1, 10, patience=LONG)

    def work(progress):
        progress(0, 1, "")
        return "done"

    job = queue.submit(work)
    job.keep_alive()
    assert job.wait(LONG)
    assert job.result == "done"


def test_a_worker_survives_a_failure_and_keeps_the_error():
    queue = JobQueue(1, 10, LONG)

    def fail(progress):
        raise ValueError("no image")

    failed, good = queue.submit(fail), queue.submit(lambda progress: 5)
    assert good.wait(LONG)
    assert (failed.state, str(failed.error), good.result) == ("failed", "no image", 5)


@pytest.mark.parametrize("error", [MemoryError(), SystemExit(1), KeyboardInterrupt()])
def test_a_worker_survives_every_error(error):
    queue = JobQueue(1, 10, LONG)

    def fail(progress):
        raise error

    failed, good = queue.submit(fail), queue.submit(lambda progress: 5)
    assert good.wait(LONG)
    assert (failed.state, failed.error) == ("failed", error)


def test_a_failure_is_logged(caplog):
    assert JobQueue(1, 10, LONG).submit(lambda progress: {}["no such key"]).wait(LONG)
    assert "KeyError: 'no such key'" in caplog.text


def test_a_failed_job_releases_its_arrays(monkeypatch):
    # pytest keeps all log records with their tracebacks.
    monkeypatch.setattr(LOG, "disabled", True)
    references = []

    def fail(progress):
        image = np.zeros(5)
        references.append(weakref.ref(image))
        try:
            raise KeyError("inside")
        except KeyError as error:
            raise ValueError("no image") from error

    queue = JobQueue(1, 10, LONG)
    job = queue.submit(fail)
    assert queue.submit(lambda progress: 5).wait(LONG)
    gc.collect()
    assert references[0]() is None
    assert str(job.error) == "no image"


def test_a_full_queue_rejects_jobs_until_one_leaves(gate):
    queue = JobQueue(1, 2, LONG)
    first = wait_for_start(queue.submit(block_until(gate)))
    waiting = [queue.submit(block_until(gate)) for _ in range(2)]
    with pytest.raises(QueueFullError):
        queue.submit(block_until(gate))
    waiting[0].cancel()
    last = queue.submit(block_until(gate))
    assert waiting[0].is_finished
    gate.set()
    assert last.wait(LONG)
    assert first.state == last.state == "done"


def test_close_cancels_all_jobs_and_ends_the_workers():
    def work(progress):
        while True:
            progress(0, 1, "")

    others = threads_of_queues()
    queue = JobQueue(2, 10, LONG)
    jobs = [queue.submit(work) for _ in range(4)]
    wait_for_start(jobs[1])
    assert len(threads_of_queues() - others) == 2
    queue.close(LONG)
    assert [job.state for job in jobs] == ["cancelled"] * 4
    assert not threads_of_queues() - others


def test_close_waits_for_a_limited_time(gate):
    others = threads_of_queues()
    queue = JobQueue(1, 10, LONG)
    wait_for_start(queue.submit(block_until(gate)))
    queue.close(0.01)
    assert len(threads_of_queues() - others) == 1


def test_warnings_of_threads_are_collected_apart():
    texts, start = {}, threading.Barrier(2, timeout=LONG)

    def work(name):
        with collect_warnings() as collected:
            start.wait()
            for _ in range(2):
                warnings.warn(f"for {name}", UserWarning, stacklevel=1)
            start.wait()
        texts[name] = collected

    filters, show = list(warnings.filters), warnings.showwarning
    threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts == {"a": ["for a"], "b": ["for b"]}
    assert (warnings.filters, warnings.showwarning) == (filters, show)
