"""Worker processes, which end at a cancel and at limits of time and memory."""

from __future__ import annotations

import ctypes
import itertools
import json
import math
import os
import pickle
import platform
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from sk_denoise.app._jobs import (
    ExpectedError,
    JobCancelledError,
    JobTimeoutError,
    ProgressCallback,
    QueueFullError,
)

__all__ = ["WorkerCrashedError", "WorkerPool", "serve"]

T = TypeVar("T")

# Seconds between checks of a running job, and from a cancel until its process is killed
TICK, GRACE = 0.1, 1.0
# Whether /proc lists the sizes of processes
IS_LINUX = platform.system() == "Linux"
# Seconds to wait for a process, and processes that a job tries until one begins
MAX_WAIT, MAX_ATTEMPTS = 60.0, 3
# Seconds between checks of the memory where a check starts a process of its own
SLOW_TICK = 1.0
# Seconds between progress reports of a job
REPORT_INTERVAL = 0.05
# Address space that the stacks of the threads of one CPU may take, beside the memory of a job
STACK_BYTES = 2**24
# The path of the parent comes first, so that both processes run the same package.
CODE = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
    "from sk_denoise.app._workers import serve; serve()"
)


class WorkerCrashedError(ExpectedError):
    """The process of a job ended by itself, or was killed by the system."""


class WorkerPool:
    """Pool of processes that are started once and reused.

    A process that has to be killed, or that crashes, is replaced. Processes are started as new programs: a
    fork hangs after torch has used threads.

    Parameters
    ----------
    n_workers : int
        Largest number of processes.
    prepare : callable
        Function of a module without arguments. Each process calls it before its first job.
    max_bytes : int
        Largest memory of a process.
    folder : Path
        Folder for the temporary files of the processes. What a killed process leaves is deleted.
    is_eager : bool, default=False
        Whether processes start at once, and are replaced at once. Otherwise they start with the first job
        that needs them.
    """

    def __init__(
        self,
        n_workers: int,
        prepare: Callable[[], object],
        max_bytes: int,
        folder: Path,
        *,
        is_eager: bool = False,
    ) -> None:
        self._n_workers, self._prepare, self._max_bytes = n_workers, prepare, max_bytes
        self._folder, self._is_eager = folder, is_eager
        self._idle: list[_Worker] = []
        self._n_started = 0
        self._changed = threading.Condition()
        self._is_closed = False
        self._busy: set[_Worker] = set()
        self._last_used = time.monotonic()
        if is_eager:
            for _ in range(n_workers):
                self._idle.append(self._start())

    def run(
        self,
        function: Callable[..., T],
        *args: Any,
        progress: ProgressCallback | None = None,
        seconds: float = math.inf,
        **options: Any,
    ) -> T:
        """Call a function of a module in a worker process, and return its result.

        Parameters
        ----------
        function : callable
            Function of a module. Arguments, result and errors are pickled.
        *args : objects
            Arguments of the function.
        progress : callable, optional
            Progress callback. The function takes another one as ``progress``. An exception that it raises
            ends the job. It is also called while the job reports nothing, with the last report.
        seconds : float, default=math.inf
            Time limit, from the moment at which the job has a process.
        **options : objects
            Keyword arguments of the function.

        Raises
        ------
        JobTimeoutError
            If the job exceeded its time limit.
        QueueFullError
            If a job without progress callback found no free process in time.
        MemoryError
            If the job exceeded the memory of the process.
        WorkerCrashedError
            If the process ended without a result.
        """
        # A job with a progress callback can be cancelled while it waits for a process; others give up.
        end = math.inf if progress is not None else time.monotonic() + MAX_WAIT
        is_waiting, last = True, (0, 0, "")

        def check(report: tuple[int, int, str] | None = None) -> None:
            nonlocal last
            last = report or last
            if progress is not None:
                progress(*last)
            if self._is_closed:
                raise JobCancelledError
            if time.monotonic() > end:
                raise QueueFullError if is_waiting else JobTimeoutError

        for attempt in range(MAX_ATTEMPTS):
            with self._borrow(check) as worker:
                end, is_waiting = time.monotonic() + seconds, False
                try:
                    result: T = worker.run(
                        function, args, options, check, takes_progress=progress is not None
                    )
                    return result
                # The system killed a process that had nothing to do.
                except WorkerCrashedError:
                    if worker.has_started_job or attempt == MAX_ATTEMPTS - 1:
                        raise
        raise AssertionError("the loop returns or raises")

    @property
    def is_idle(self) -> bool:
        """Whether a started process has no job."""
        with self._changed:
            return bool(self._idle)

    @property
    def process_ids(self) -> list[int]:
        """Numbers of the processes."""
        with self._changed:
            return [worker.process.pid for worker in (*self._idle, *self._busy)]

    def end_idle(self, seconds: float) -> None:
        """End the processes if the pool had no job for some seconds."""
        with self._changed:
            if self._busy or time.monotonic() - self._last_used < seconds:
                return
            idle, self._idle = self._idle, []
            self._n_started -= len(idle)
        for worker in idle:
            worker.kill()

    def close(self) -> None:
        """End all processes; jobs that run are cancelled."""
        with self._changed:
            self._is_closed = True
            workers = [*self._idle, *self._busy]
            self._idle = []
            self._changed.notify_all()
        for worker in workers:
            worker.kill()

    @contextmanager
    def _borrow(self, check: Callable[[], None]) -> Iterator[_Worker]:
        worker = self._take(check)
        try:
            yield worker
        finally:
            with self._changed:
                self._busy.discard(worker)
                self._last_used = time.monotonic()
                if worker.is_alive and not self._is_closed:
                    self._idle.append(worker)
                else:
                    self._n_started -= 1
                    # Where no process can be started now, the next job tries it again.
                    with suppress(OSError):
                        if self._is_eager and not self._is_closed:
                            self._idle.append(self._start())
                self._changed.notify()
            if self._is_closed:
                worker.kill()

    def _take(self, check: Callable[[], None]) -> _Worker:
        while True:
            check()
            with self._changed:
                if not self._is_closed and not self._idle and self._n_started < self._n_workers:
                    self._idle.append(self._start())
                if self._idle:
                    worker = self._idle.pop()
                    # It may have been killed by the system between two jobs.
                    if not worker.is_alive:
                        self._n_started -= 1
                        worker.kill()
                        continue
                    self._busy.add(worker)
                    return worker
                self._changed.wait(TICK)

    def _start(self) -> _Worker:
        worker = _Worker(self._prepare, self._max_bytes, self._folder)
        self._n_started += 1
        return worker


class _Worker:
    """One worker process, seen from its parent."""

    def __init__(self, prepare: Callable[[], object], max_bytes: int, folder: Path) -> None:
        self._max_bytes = max_bytes
        self._scratch = Path(tempfile.mkdtemp(prefix="worker-", dir=folder))
        scratch = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(self._scratch))
        # A group of its own: Ctrl-C in the terminal reaches the parent alone, which then ends its workers.
        group: dict[str, Any] = (
            {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
            if os.name == "nt"
            else {"start_new_session": True}
        )
        # With -P, files of the working folder do not take the place of modules.
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", CODE, json.dumps([str(Path(path).resolve()) for path in sys.path])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **scratch},
            **group,
        )
        self._numbers = itertools.count()
        self._messages: queue.SimpleQueue[tuple[Any, ...] | None] = queue.SimpleQueue()
        self._sending = threading.Lock()
        self._killing = threading.Lock()
        self._was_killed = self._has_ended = self.has_started_job = False
        # A thread, since pipes have no time limits on Windows.
        self._reader = threading.Thread(target=self._read, name="sk_denoise_worker_results", daemon=True)
        self._reader.start()
        self._send("prepare", prepare, max_bytes)

    @property
    def is_alive(self) -> bool:
        """Whether the process can take a job."""
        return not self._was_killed and not self._has_ended and self.process.poll() is None

    def run(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        options: dict[str, Any],
        check: Callable[..., None],
        *,
        takes_progress: bool,
    ) -> Any:
        """Run a job, and call ``check`` with its progress reports and between them."""
        number, self.has_started_job = next(self._numbers), False
        self._send("run", number, function, args, options, takes_progress)
        try:
            kind, _, content = self._wait(number, check)
        except (JobCancelledError, JobTimeoutError):
            self._stop(number)
            raise
        # The process crashed or is too large, or the progress callback failed.
        except BaseException:
            self.kill()
            raise
        if kind == "done":
            return content
        error, trace = content
        # Tracebacks do not pass between processes.
        error.worker_traceback = trace
        raise error

    def kill(self) -> None:
        """End the process, and delete its temporary files."""
        with self._killing:
            self._was_killed = True
            with suppress(OSError):
                self.process.kill()
            self.process.wait()
            for stream in (self.process.stdin, self.process.stdout):
                # The pipe may be full, or its reader may hold it.
                with suppress(OSError, ValueError):
                    assert stream is not None
                    if stream is self.process.stdout:
                        self._reader.join(1.0)
                    stream.close()
            shutil.rmtree(self._scratch, ignore_errors=True)

    def _wait(self, number: int, check: Callable[..., None]) -> tuple[Any, ...]:
        """Return the last message of a job."""
        while True:
            message = self._receive(TICK)
            self.has_started_job = self.has_started_job or message is not None
            if message is not None and message[0] != "progress":
                return message
            if _memory_of(self.process.pid) > self._max_bytes:
                raise MemoryError
            check(None if message is None else message[2])

    def _send(self, *message: Any) -> None:
        # In one piece, so that arguments that cannot be pickled leave no half of it in the pipe.
        data = pickle.dumps(message)
        # The process may have ended; the next message from it then says so.
        with self._sending, suppress(OSError, ValueError):
            assert self.process.stdin is not None
            self.process.stdin.write(data)
            self.process.stdin.flush()

    def _receive(self, seconds: float) -> tuple[Any, ...] | None:
        try:
            message = self._messages.get(timeout=seconds)
        except queue.Empty:
            return None
        if message is not None:
            return message
        self._has_ended = True
        if self._was_killed:
            raise JobCancelledError
        code = self.process.wait()
        self.kill()
        # Linux kills processes so where memory runs out.
        if code == -getattr(signal, "SIGKILL", 9):
            raise WorkerCrashedError("the process was killed by the system, most likely for lack of memory")
        raise WorkerCrashedError(f"the process ended with status {code}")

    def _stop(self, number: int) -> None:
        """Cancel a job at its next progress report, or kill its process."""
        end = time.monotonic() + GRACE
        self._send("cancel", number)
        with suppress(WorkerCrashedError, JobCancelledError):
            while (left := end - time.monotonic()) > 0:
                message = self._receive(left)
                if message is not None and message[0] != "progress":
                    return
        self.kill()

    def _read(self) -> None:
        stream = self.process.stdout
        assert stream is not None
        # A process that is killed may leave half a message, which pickle refuses with many kinds of errors.
        with suppress(Exception):
            while True:
                self._messages.put(pickle.load(stream))
        self._messages.put(None)


def _memory_of(process: int) -> int:
    """Return the memory of a process in bytes, or 0 where it cannot be read."""
    if IS_LINUX:
        return _read_status(process).get("RssAnon", 0)
    return _memory_elsewhere(process, int(time.monotonic() / SLOW_TICK))


def _read_status(process: int | str) -> dict[str, int]:
    """Return the sizes in bytes that Linux lists of a process."""
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return {}
    parts = (line.split() for line in lines if line.endswith(" kB"))
    return {name.rstrip(":"): 1024 * int(size) for name, size, _ in parts}


_ELSEWHERE: dict[int, tuple[int, int]] = {}


def _memory_elsewhere(process: int, second: int) -> int:
    """Return the memory of a process on systems other than Linux, read once a second."""
    if _ELSEWHERE.get(process, (-1, 0))[0] != second:
        # Numbers of processes that ended stay few: each one is a worker that was replaced.
        _ELSEWHERE[process] = second, _measure_windows(process) if os.name == "nt" else _measure_ps(process)
    return _ELSEWHERE[process][1]


def _measure_ps(process: int) -> int:
    with suppress(OSError, ValueError, subprocess.TimeoutExpired):
        command = ["ps", "-o", "rss=", "-p", str(process)]
        return 1024 * int(subprocess.run(command, capture_output=True, timeout=5, check=False).stdout)
    return 0


def _measure_windows(process: int) -> int:
    """Return the private memory of a process on Windows."""

    class Counters(ctypes.Structure):
        _fields_ = [
            ("cb", ctypes.c_uint32),
            ("PageFaultCount", ctypes.c_uint32),
            *((f"size{index}", ctypes.c_size_t) for index in range(9)),
        ]

    with suppress(OSError, AttributeError):
        kernel = ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined]
        kernel.OpenProcess.restype = kernel.GetCurrentProcess.restype = ctypes.c_void_p
        # PROCESS_QUERY_LIMITED_INFORMATION
        handle = kernel.OpenProcess(0x1000, False, process)
        if handle:
            counters = Counters(cb=ctypes.sizeof(Counters))
            ok = kernel.K32GetProcessMemoryInfo(ctypes.c_void_p(handle), ctypes.byref(counters), counters.cb)
            kernel.CloseHandle(ctypes.c_void_p(handle))
            # PrivateUsage is the last field.
            return int(counters.size8) if ok else 0
    return 0


def serve() -> None:
    """Run the jobs of the parent process until it ends."""
    # Results have a pipe of their own: what a library prints must not come between them.
    results = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    jobs: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()
    cancelled: set[int] = set()
    receive = threading.Thread(target=_receive_jobs, args=(sys.stdin.buffer, jobs, cancelled), daemon=True)
    receive.start()
    while True:
        kind, *content = jobs.get()
        if kind == "prepare":
            prepare, max_bytes = content
            prepare()
            _limit_memory(max_bytes)
        else:
            _run_job(results, cancelled, *content)


def _receive_jobs(stream: BinaryIO, jobs: queue.SimpleQueue[tuple[Any, ...]], cancelled: set[int]) -> None:
    while True:
        try:
            message = pickle.load(stream)
        except EOFError:
            # The parent has ended, even by SIGKILL. Its folder is removed at the next start.
            os._exit(0)
        except Exception as error:
            # The arguments of a job cannot be unpickled here.
            traceback.print_exception(error)
            os._exit(1)
        if message[0] == "cancel":
            cancelled.add(message[1])
        else:
            jobs.put(message)


def _run_job(
    results: BinaryIO,
    cancelled: set[int],
    number: int,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    options: dict[str, Any],
    takes_progress: bool,
) -> None:
    last_time, last_activity = -math.inf, ""

    def report(done: int, total: int, activity: str) -> None:
        nonlocal last_time, last_activity
        if number in cancelled:
            raise JobCancelledError
        now = time.monotonic()
        if activity != last_activity or now - last_time > REPORT_INTERVAL:
            last_time, last_activity = now, activity
            _write(results, ("progress", number, (done, total, activity)))

    # The job has begun: if the process ends now, it is not tried again.
    _write(results, ("progress", number, None))
    if takes_progress:
        options = {**options, "progress": report}
    try:
        _write(results, ("done", number, function(*args, **options)))
    # Even SystemExit must not end the process, which is kept for other jobs.
    except BaseException as error:
        trace = traceback.format_exc()
        _write(results, ("error", number, (_make_portable(error), trace)))
    cancelled.discard(number)


def _write(results: BinaryIO, message: tuple[Any, ...]) -> None:
    # In one piece, so that a result that cannot be pickled leaves no half of it in the pipe.
    results.write(pickle.dumps(message))
    results.flush()


def _make_portable(error: BaseException) -> BaseException:
    """Return an error that another process can unpickle."""
    error.__traceback__ = error.__context__ = error.__cause__ = None
    try:
        pickle.loads(pickle.dumps(error))
        return error
    # Errors of other packages may raise anything when they are unpickled.
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")


def _limit_memory(max_bytes: int) -> None:
    """Let allocations beyond the memory of this process fail, where the system can.

    Such a job fails with words, and its process lives on. The parent kills a process that passes the limit
    all the same, for example by way of its stacks.
    """
    # Other systems have no limit that counts the memory of a process as it is used.
    if not IS_LINUX:
        return
    import resource

    status = _read_status("self")
    # What is reserved and not used, such as the stacks of threads, does not count as memory.
    reserved = max(0, status.get("VmData", 0) - status.get("RssAnon", 0))
    stacks = STACK_BYTES * (os.cpu_count() or 1)
    with suppress(OSError, ValueError):
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        limit = max_bytes + reserved + stacks
        resource.setrlimit(
            resource.RLIMIT_DATA, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard)
        )
