"""Work that waits its turn, tells how far it is, and can be cancelled."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, Literal, Protocol, TypeVar

__all__ = ["Cancelled", "Full", "Job", "Queue", "Tell", "TooLong"]

T = TypeVar("T")

LOG = logging.getLogger("sk_denoise.app")


class Tell(Protocol):
    """What work says of itself: how much is done, of how much, and what it is doing."""

    def __call__(self, done: int, total: int, what: str) -> None: ...


class Cancelled(Exception):  # noqa: N818 - nobody's error
    """The work was cancelled, or nobody waits for it any more."""


class TooLong(Exception):  # noqa: N818 - told to the user
    """The work took more time than is given to one piece."""


class Full(Exception):  # noqa: N818 - as queue.Full
    """Too many wait already."""


class Job(Generic[T]):
    """A piece of work, as those who wait for it see it.

    Attributes
    ----------
    state : {"waiting", "running", "done", "failed", "cancelled"}
        How it stands.
    progress : tuple (done, total, what)
        The last that the work told.
    result : object or None
        What the work returned, once it is done.
    error : BaseException or None
        Why it failed.
    """

    def __init__(self, work: Callable[[Tell], T], patience: float, most_seconds: float) -> None:
        self.state: Literal["waiting", "running", "done", "failed", "cancelled"] = "waiting"
        self.progress = (0, 0, "")
        self.result: T | None = None
        self.error: BaseException | None = None
        self._work, self._patience, self._most_seconds = work, patience, most_seconds
        self._turning = threading.Lock()  # from waiting to what comes then
        self._cancelled = threading.Event()
        self._ended = threading.Event()
        self._seen = self._begun = time.monotonic()

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen."""
        return self._ended.is_set()

    def look(self) -> None:
        """Say that somebody still waits for it."""
        self._seen = time.monotonic()

    def cancel(self) -> None:
        """Give it up: at once where it waits, when it next tells how far it is where it runs."""
        self._cancelled.set()
        self.leave()

    def leave(self) -> None:
        """End it where it waits."""
        with self._turning:
            if self.state == "waiting":
                self._end("cancelled")

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until it is over, and return whether it is."""
        return self._ended.wait(seconds)

    @property
    def is_cancelled(self) -> bool:
        """Whether somebody cancelled it."""
        return self._cancelled.is_set()

    @property
    def is_given_up(self) -> bool:
        """Whether it was cancelled, or nobody has looked for too long."""
        return self.is_cancelled or time.monotonic() - self._seen > self._patience

    def _tell(self, done: int, total: int, what: str) -> None:
        self.progress = (done, total, what)
        if self.is_given_up:
            raise Cancelled
        if time.monotonic() - self._begun > self._most_seconds:
            raise TooLong

    def run(self) -> None:
        """Do the work, in the thread of a worker, unless it was given up before."""
        with self._turning:
            if self.is_given_up and not self.is_over:
                self._end("cancelled")
            if self.is_over:
                return
            self.state, self._begun = "running", time.monotonic()
        try:
            self.result = self._work(self._tell)
            self._end("done")
        except Cancelled:
            self._end("cancelled")
        except BaseException as error:  # whatever it is, the worker lives on for those who wait
            LOG.warning("A piece of work failed", exc_info=True)
            self.error = _without_frames(error)
            self._end("failed")

    def _end(self, state: Literal["done", "failed", "cancelled"]) -> None:
        self.state = state
        del self._work  # and the images that it holds
        self._ended.set()


def _without_frames(error: BaseException) -> BaseException:
    """Return an error without what leads to the arrays that the work held."""
    error.__traceback__ = error.__context__ = error.__cause__ = None
    return error


class Queue:
    """A few workers, and a line before them.

    Parameters
    ----------
    workers : int
        How many jobs run at once.
    most_waiting : int
        How many may wait.
    patience : float
        Seconds after which a job is given up that nobody looks at.
    most_seconds : float
        How long a job may take; it ends when it next tells how far it is.
    """

    def __init__(
        self, workers: int, most_waiting: int, patience: float, most_seconds: float = math.inf
    ) -> None:
        self._most_waiting, self._patience, self._most_seconds = most_waiting, patience, most_seconds
        self._line: deque[Job[object]] = deque()
        self._changed = threading.Condition()
        self._running: set[Job[object]] = set()
        self._workers = [
            threading.Thread(target=self._serve, name=f"sk_denoise-{number}", daemon=True)
            for number in range(workers)
        ]
        self._is_closed = False
        for worker in self._workers:
            worker.start()

    def submit(self, work: Callable[[Tell], T]) -> Job[T]:
        """Put work in the line; raises Full where it is too long."""
        job = Job(work, self._patience, self._most_seconds)
        with self._changed:
            for other in [other for other in self._line if other.is_given_up]:
                other.leave()
                self._line.remove(other)
            if len(self._line) >= self._most_waiting:
                raise Full
            self._line.append(job)  # type: ignore[arg-type]
            self._changed.notify()
        return job

    def before(self, job: Job[T]) -> int:
        """Return how many wait before this one."""
        with self._changed:
            waiting = [other for other in self._line if other is job or not other.is_given_up]
        return next((place for place, other in enumerate(waiting) if other is job), 0)

    def close(self, seconds: float) -> None:
        """Give up all work, and wait for the workers: a process that ends while torch works crashes."""
        with self._changed:
            self._is_closed = True
            for job in (*self._line, *self._running):
                job.cancel()
            self._changed.notify_all()
        end = time.monotonic() + seconds
        for worker in self._workers:
            worker.join(max(0.0, end - time.monotonic()))

    def _serve(self) -> None:
        while True:
            with self._changed:
                while not self._line and not self._is_closed:
                    self._changed.wait()
                if self._is_closed:
                    return
                job = self._line.popleft()
                self._running.add(job)
            job.run()
            with self._changed:
                self._running.discard(job)
            del job  # whose result nobody may want any more
