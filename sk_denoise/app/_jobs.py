"""Job queue with worker threads, progress reports, cancellation and time limits."""

from __future__ import annotations

import errno
import logging
import math
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, Literal, Protocol, TypeVar

from sk_denoise.app._urls import DownloadError

__all__ = [
    "ExpectedError",
    "JobCancelledError",
    "JobQueue",
    "JobTimeoutError",
    "ProgressCallback",
    "QueueFullError",
    "QueuedJob",
    "collect_warnings",
    "log_failure",
]

T = TypeVar("T")

LOG = logging.getLogger(__package__)
# Characters of an error in the log
MAX_LOGGED = 500


class ProgressCallback(Protocol):
    """Progress callback of a job: steps done, steps in total, current activity."""

    def __call__(self, done: int, total: int, activity: str) -> None: ...


class ExpectedError(Exception):
    """Error that needs no traceback in the log."""


class JobCancelledError(Exception):
    """The job was cancelled, or its page is no longer open."""


class JobTimeoutError(ExpectedError):
    """The job exceeded its time limit."""


class QueueFullError(ExpectedError):
    """The queue has reached its largest number of waiting jobs."""


class QueuedJob(Generic[T]):
    """Job in a queue, with its state, progress and result.

    Parameters
    ----------
    function : callable
        Function that does the work. It takes a :class:`ProgressCallback`.
    patience : float
        Seconds after the last :meth:`keep_alive` at which the job is abandoned.
    max_seconds : float
        Time limit, checked at each progress report.

    Attributes
    ----------
    state : {"waiting", "running", "done", "failed", "cancelled"}
        State of the job.
    progress : tuple (done, total, activity)
        Last progress report.
    result : object or None
        Return value of the function, once the job is done.
    error : BaseException or None
        Exception of the function, if the job failed.
    """

    def __init__(
        self, function: Callable[[ProgressCallback], T], patience: float, max_seconds: float
    ) -> None:
        self.state: Literal["waiting", "running", "done", "failed", "cancelled"] = "waiting"
        self.progress = (0, 0, "")
        self.result: T | None = None
        self.error: BaseException | None = None
        self._function, self._patience, self._max_seconds = function, patience, max_seconds
        # Guards the transition from "waiting", which a worker and a cancelling page compete for.
        self._start_lock = threading.Lock()
        self._cancelled = threading.Event()
        self._finished = threading.Event()
        self._last_seen = self._start = time.monotonic()

    @property
    def is_finished(self) -> bool:
        """Whether the job is done, failed or cancelled."""
        return self._finished.is_set()

    @property
    def is_cancelled(self) -> bool:
        """Whether :meth:`cancel` was called."""
        return self._cancelled.is_set()

    @property
    def is_abandoned(self) -> bool:
        """Whether the job was cancelled, or its patience ran out."""
        return self.is_cancelled or time.monotonic() - self._last_seen > self._patience

    def keep_alive(self) -> None:
        """Restart the patience of the job: its page is still open."""
        self._last_seen = time.monotonic()

    def cancel(self) -> None:
        """Cancel the job; a running one ends at its next report or with its process."""
        self._cancelled.set()
        self.drop()

    def drop(self) -> None:
        """End the job if it is still waiting."""
        with self._start_lock:
            if self.state == "waiting":
                self._finish("cancelled")

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for the end of the job, and return whether it has finished."""
        return self._finished.wait(seconds)

    def run(self) -> None:
        """Run the job in the calling thread, unless it was abandoned before."""
        with self._start_lock:
            if self.is_abandoned and not self.is_finished:
                self._finish("cancelled")
            if self.is_finished:
                return
            self.state, self._start = "running", time.monotonic()
        try:
            self.result = self._function(self._report_progress)
            self._finish("done")
        except JobCancelledError:
            self._finish("cancelled")
        # Any other failure, even SystemExit, must leave the worker alive for the jobs that wait.
        except BaseException as error:
            log_failure("A job failed", error)
            self.error = _strip_tracebacks(error)
            self._finish("failed")

    def _report_progress(self, done: int, total: int, activity: str) -> None:
        self.progress = (done, total, activity)
        if self.is_abandoned:
            raise JobCancelledError
        if time.monotonic() - self._start > self._max_seconds:
            raise JobTimeoutError

    def _finish(self, state: Literal["done", "failed", "cancelled"]) -> None:
        self.state = state
        # The function may hold images.
        del self._function
        self._finished.set()


def log_failure(event: str, error: BaseException) -> None:
    """Log an error: one line for input and limits of users, a traceback for others.

    Parameters
    ----------
    event : str
        Event in words.
    error : BaseException
        The error, which may come from a worker process.
    """
    # Line breaks in the names of files would forge entries.
    text = " ".join(f"{type(error).__name__}: {error}".split())[:MAX_LOGGED]
    is_full_disk = isinstance(error, OSError) and error.errno == errno.ENOSPC
    if is_full_disk or isinstance(error, ExpectedError | DownloadError | ValueError | MemoryError):
        LOG.warning("%s: %s", event, text)
    elif (trace := getattr(error, "worker_traceback", None)) is not None:
        LOG.warning("%s, in a worker process: %s\n%s", event, text, trace)
    else:
        LOG.warning("%s: %s", event, text, exc_info=error)


# Texts of the warnings of each thread that collects them, and the original state of the module warnings.
_COLLECTED: dict[int, list[str]] = {}
_COLLECTING = threading.Lock()
_FILTERS = warnings.catch_warnings()


@contextmanager
def collect_warnings() -> Iterator[list[str]]:
    """Collect the texts of warnings for users from this thread, each one once."""
    # The module warnings has one state for all threads: the first block changes it, the last one restores it.
    global _FILTERS
    thread = threading.get_ident()
    texts: list[str] = []
    with _COLLECTING:
        if not _COLLECTED:
            _FILTERS = warnings.catch_warnings()
            _FILTERS.__enter__()
            warnings.simplefilter("always", UserWarning)
            warnings.showwarning = _store_warning  # type: ignore[assignment]
        _COLLECTED[thread] = texts
    try:
        yield texts
    finally:
        with _COLLECTING:
            del _COLLECTED[thread]
            if not _COLLECTED:
                _FILTERS.__exit__(None, None, None)


def _store_warning(message: Warning | str, category: type[Warning], *_: object) -> None:
    texts, text = _COLLECTED.get(threading.get_ident()), str(message)
    if texts is None or not issubclass(category, UserWarning):
        LOG.warning("%s: %s", category.__name__, text)
    elif text not in texts:
        texts.append(text)


def _strip_tracebacks(error: BaseException) -> BaseException:
    """Remove tracebacks and causes from an error."""
    # Their frames keep the arrays of a job alive.
    error.__traceback__ = error.__context__ = error.__cause__ = None
    return error


class JobQueue:
    """Queue of jobs for a fixed number of worker threads.

    Parameters
    ----------
    n_workers : int
        Number of jobs that run at the same time.
    max_waiting : int
        Largest number of waiting jobs.
    patience : float
        Seconds after the last :meth:`QueuedJob.keep_alive` at which a job is abandoned.
    max_seconds : float
        Time limit of a job, checked at each of its progress reports.
    """

    def __init__(
        self, n_workers: int, max_waiting: int, patience: float, max_seconds: float = math.inf
    ) -> None:
        self._max_waiting, self._patience, self._max_seconds = max_waiting, patience, max_seconds
        self._waiting: deque[QueuedJob[object]] = deque()
        self._changed = threading.Condition()
        self._running: set[QueuedJob[object]] = set()
        self._workers = [
            threading.Thread(target=self._run_jobs, name=f"sk_denoise-{number}", daemon=True)
            for number in range(n_workers)
        ]
        self._is_closed = False
        for worker in self._workers:
            worker.start()

    def submit(self, function: Callable[[ProgressCallback], T]) -> QueuedJob[T]:
        """Add a job to the queue.

        Raises
        ------
        QueueFullError
            If too many jobs are waiting already.
        """
        job = QueuedJob(function, self._patience, self._max_seconds)
        with self._changed:
            # Abandoned jobs must not keep others out.
            for other in [other for other in self._waiting if other.is_abandoned]:
                other.drop()
                self._waiting.remove(other)
            if len(self._waiting) >= self._max_waiting:
                raise QueueFullError
            self._waiting.append(job)  # type: ignore[arg-type]
            self._changed.notify()
        return job

    def count_ahead(self, job: QueuedJob[T]) -> int:
        """Return the number of waiting jobs ahead of a job."""
        with self._changed:
            waiting = [other for other in self._waiting if other is job or not other.is_abandoned]
        return next((position for position, other in enumerate(waiting) if other is job), 0)

    def close(self, seconds: float) -> None:
        """Cancel all jobs, and wait up to some seconds for the workers."""
        with self._changed:
            self._is_closed = True
            for job in (*self._waiting, *self._running):
                job.cancel()
            self._changed.notify_all()
        # A process that exits while torch computes in another thread crashes.
        end = time.monotonic() + seconds
        for worker in self._workers:
            worker.join(max(0.0, end - time.monotonic()))

    def _run_jobs(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._is_closed:
                    self._changed.wait()
                if self._is_closed:
                    return
                job = self._waiting.popleft()
                self._running.add(job)
            job.run()
            with self._changed:
                self._running.discard(job)
            # An idle worker must not keep the last result alive.
            del job
