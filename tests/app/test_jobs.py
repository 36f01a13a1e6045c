"""Work that waits its turn."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import pytest

from sk_denoise.app._jobs import LOG, Full, Queue, TooLong

LONG = 30.0  # seconds that no test needs


@pytest.fixture
def gate():
    """Work that runs until the gate is opened, and the gate."""
    opened = threading.Event()
    yield opened
    opened.set()


def until(opened):
    def work(tell):
        assert opened.wait(LONG)
        return "done"

    return work


def started(job):
    while job.state == "waiting":
        assert not job.wait(0.001)
    return job


def test_work_is_done_in_turn_and_those_who_wait_see_their_place(gate):
    queue = Queue(workers=1, most_waiting=10, patience=LONG)
    first, second, third = (queue.submit(until(gate)) for _ in range(3))
    started(first)
    assert [job.state for job in (first, second, third)] == ["running", "waiting", "waiting"]
    assert [queue.before(job) for job in (first, second, third)] == [0, 0, 1]
    gate.set()
    assert third.wait(LONG)
    assert [job.result for job in (first, second, third)] == ["done"] * 3
    assert not queue.before(third)


def test_no_more_run_at_once_than_there_are_workers(gate):
    queue, running, most = Queue(2, 10, LONG), [], []

    def work(tell):
        running.append(1)
        most.append(len(running))
        gate.wait(0.02)
        running.pop()

    jobs = [queue.submit(work) for _ in range(6)]
    assert all(job.wait(LONG) for job in jobs)
    assert 1 <= max(most) <= 2


def test_progress_is_seen(gate):
    told = threading.Event()

    def work(tell):
        tell(3, 8, "Denoising")
        told.set()
        gate.wait(LONG)

    job = Queue(1, 10, LONG).submit(work)
    assert told.wait(LONG)
    assert job.progress == (3, 8, "Denoising")


def test_what_waits_is_cancelled_at_once_and_leaves_the_line(gate):
    queue = Queue(1, 10, LONG)
    first, second, third = (queue.submit(until(gate)) for _ in range(3))
    started(first)
    second.cancel()
    assert queue.before(third) == 0
    assert (second.state, second.is_over) == ("cancelled", True)
    gate.set()
    assert third.wait(LONG)
    assert (first.result, second.result, third.result) == ("done", None, "done")


def test_what_runs_is_cancelled_when_it_next_tells(gate):
    def work(tell):
        assert gate.wait(LONG)
        tell(1, 2, "")
        raise AssertionError("it went on")

    job = started(Queue(1, 10, LONG).submit(work))
    job.cancel()
    gate.set()
    assert job.wait(LONG)
    assert (job.state, job.error) == ("cancelled", None)


def test_work_is_given_up_when_nobody_looks(gate):
    queue = Queue(1, 10, patience=0.0)

    def work(tell):
        raise AssertionError("it ran")

    job = queue.submit(work)
    assert job.wait(LONG)
    assert (job.state, job.error) == ("cancelled", None)


def test_work_that_takes_too_long_ends_when_it_next_tells():
    def work(tell):
        tell(1, 2, "")
        raise AssertionError("it went on")

    job = Queue(1, 10, LONG, most_seconds=0.0).submit(work)
    assert job.wait(LONG)
    assert (job.state, type(job.error)) == ("failed", TooLong)


def test_looking_keeps_work_alive():
    queue, begun = Queue(1, 10, patience=LONG), threading.Event()

    def work(tell):
        begun.set()
        tell(0, 1, "")
        return "done"

    job = queue.submit(work)
    job.look()
    assert job.wait(LONG)
    assert job.result == "done"


def test_a_failure_is_kept_and_the_worker_lives_on():
    queue = Queue(1, 10, LONG)

    def fail(tell):
        raise ValueError("no image")

    failed, good = queue.submit(fail), queue.submit(lambda tell: 5)
    assert good.wait(LONG)
    assert (failed.state, str(failed.error), good.result) == ("failed", "no image", 5)


@pytest.mark.parametrize("error", [MemoryError(), SystemExit(1), KeyboardInterrupt()])
def test_no_error_takes_the_worker_away(error):
    queue = Queue(1, 10, LONG)

    def fail(tell):
        raise error

    failed, good = queue.submit(fail), queue.submit(lambda tell: 5)
    assert good.wait(LONG)
    assert (failed.state, failed.error) == ("failed", error)


def test_a_failure_is_in_the_log(caplog):
    assert Queue(1, 10, LONG).submit(lambda tell: {}["no such key"]).wait(LONG)
    assert "KeyError: 'no such key'" in caplog.text


def test_a_failure_does_not_hold_what_the_work_held(monkeypatch):
    monkeypatch.setattr(LOG, "disabled", True)  # pytest keeps all that is logged, tracebacks too
    held = []

    def fail(tell):
        image = np.zeros(5)
        held.append(weakref.ref(image))
        try:
            raise KeyError("inside")
        except KeyError as error:
            raise ValueError("no image") from error

    queue = Queue(1, 10, LONG)
    job = queue.submit(fail)
    assert queue.submit(lambda tell: 5).wait(LONG)
    gc.collect()
    assert held[0]() is None
    assert str(job.error) == "no image"


def test_a_line_that_is_too_long_is_refused_until_somebody_leaves(gate):
    queue = Queue(1, 2, LONG)
    first = started(queue.submit(until(gate)))
    waiting = [queue.submit(until(gate)) for _ in range(2)]
    with pytest.raises(Full):
        queue.submit(until(gate))
    waiting[0].cancel()
    last = queue.submit(until(gate))
    assert waiting[0].is_over
    gate.set()
    assert last.wait(LONG)
    assert first.state == last.state == "done"


def test_what_runs_and_what_waits_is_given_up_at_the_end_and_no_worker_stays():
    def work(tell):
        while True:
            tell(0, 1, "")

    queue = Queue(2, 10, LONG)
    jobs = [queue.submit(work) for _ in range(4)]
    started(jobs[1])
    queue.close(LONG)
    assert [job.state for job in jobs] == ["cancelled"] * 4
    assert not any(worker.is_alive() for worker in queue._workers)


def test_the_end_does_not_wait_for_ever(gate):
    queue = Queue(1, 10, LONG)
    started(queue.submit(until(gate)))
    queue.close(0.01)
    assert queue._workers[0].is_alive()
