"""Blocks of a large image as the tasks of joblib or dask.distributed."""

from __future__ import annotations

import errno
import math
import pickle
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from sk_denoise._package import require_extra
from sk_denoise._resources import one_thread

__all__ = ["BlockError", "BlockGrid", "Engine", "choose_block", "choose_engine", "run_blocks"]

# Further tries of a block that fails, and new starts of workers that die without a block done in between.
RETRIES = 2
# Failed blocks after which the others are not tried: more is no accident.
MAX_FAILED = 16
# Errors of the target that every further block would meet too.
FATAL_ERRORS = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EROFS))
# Blocks that the scheduler of dask holds at once.
MAX_IN_FLIGHT = 4096
# Blocks for each worker of an engine that returns nothing before all of them are done.
ROUND = 4

Window = tuple[slice, ...]
Work = Callable[[int], None]
# Outcome of a block: its number, and the error or None.
Outcome = tuple[int, BaseException | None]


class BlockError(RuntimeError):
    """Error for blocks that fail again and again; the others are done.

    Parameters
    ----------
    message : str
        Number and place of the blocks.
    """


# Geometry ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BlockGrid:
    """Division of an array into blocks.

    Attributes
    ----------
    shape, block : tuple of int
        Shape of the array and of a block; the last blocks of an axis may be smaller.
    """

    shape: tuple[int, ...]
    block: tuple[int, ...]

    @property
    def counts(self) -> tuple[int, ...]:
        """Number of blocks along each axis."""
        return tuple(-(-n // size) for n, size in zip(self.shape, self.block, strict=True))

    def __len__(self) -> int:
        return math.prod(self.counts)

    def window(self, number: int) -> Window:
        """Return the place of a block."""
        place = np.unravel_index(number, self.counts)
        starts = [int(i) * size for i, size in zip(place, self.block, strict=True)]
        return tuple(
            slice(start, min(start + size, n))
            for start, size, n in zip(starts, self.block, self.shape, strict=True)
        )


def choose_block(shape: tuple[int, ...], unit: tuple[int, ...], n_pixels: int) -> tuple[int, ...]:
    """Return the shape of blocks of about a number of pixels.

    Parameters
    ----------
    shape : tuple of int
        Shape of the array.
    unit : tuple of int
        Shape of a chunk, or of a shard: one task writes all of it.
    n_pixels : int
        Number of pixels of a block; more if a unit has more.
    """
    leading = tuple(max(1, min(step, n)) for step, n in zip(unit[:-2], shape[:-2], strict=True))
    budget = max(1, n_pixels // math.prod(leading))
    # Chunks larger than the image hold no more pixels than it has.
    sides = [max(1, min(step, n)) for step, n in zip(unit[-2:], shape[-2:], strict=True)]
    lengths = [max(1, n) for n in shape[-2:]]
    # Square blocks have the smallest halo; what one side cannot use, the other one takes.
    short, long = (0, 1) if lengths[0] <= lengths[1] else (1, 0)
    blocks = [0, 0]
    blocks[short] = _multiple(min(math.isqrt(budget), lengths[short]), sides[short], lengths[short])
    blocks[long] = _multiple(budget // blocks[short], sides[long], lengths[long])
    # A unit that is long one way leaves less for the other way.
    blocks[short] = _multiple(budget // blocks[long], sides[short], blocks[short])
    return (*leading, *blocks)


def _multiple(size: int, step: int, limit: int) -> int:
    """Return the largest multiple of a step up to a size, or all up to a limit."""
    return -(-limit // step) * step if size >= limit else max(step, size // step * step)


# Engines -------------------------------------------------------------------------------------------------


@dataclass
class Engine:
    """Way to run blocks.

    Attributes
    ----------
    name : str
        Name for messages.
    run : callable
        Function that yields the outcome of each block: ``run(work, numbers)``.
    is_local : bool
        Whether all blocks run in this process.
    retries_itself : bool
        Whether it tries failed blocks again.
    """

    name: str
    run: Callable[[Work, Sequence[int]], Generator[Outcome]]
    is_local: bool = False
    retries_itself: bool = False


def choose_engine(client: Any, n_jobs: int | None) -> Engine:
    """Return the engine for a client of dask, or for the active backend of joblib.

    Parameters
    ----------
    client : distributed.Client or None
        Client of a cluster.
    n_jobs : int or None
        Number of workers for joblib; None takes that of `joblib.parallel_config`, or one.

    Raises
    ------
    TypeError, ValueError
        If both are given, or the client cannot be used.
    """
    if client is not None:
        if n_jobs is not None:
            raise ValueError(f"client has its own workers; leave out n_jobs={n_jobs!r}.")
        require_extra("denoise_zarr(client=...)", "dask")
        from distributed import Client

        if not isinstance(client, Client):
            raise TypeError(
                f"client must be a Client of dask.distributed, got {type(client).__name__}. Other engines "
                "work "
                'through joblib.parallel_config, such as parallel_config("ray").'
            )
        if client.asynchronous:
            raise ValueError("client is asynchronous; give a Client(..., asynchronous=False).")
        return Engine("dask", lambda work, numbers: _run_dask(client, work, numbers), retries_itself=True)
    if n_jobs is not None and (
        isinstance(n_jobs, bool) or not isinstance(n_jobs, int | np.integer) or n_jobs == 0
    ):
        raise ValueError(f"n_jobs must be a number of workers, or -1 for one a core, got {n_jobs!r}.")
    from joblib import effective_n_jobs
    from joblib.parallel import get_active_backend

    n_workers = effective_n_jobs(n_jobs)
    if n_workers == 1:
        return Engine("this process", _run_here, is_local=True)
    backend = get_active_backend()[0]
    name = type(backend).__name__
    if name == "MultiprocessingBackend":
        raise ValueError(
            "joblib's backend multiprocessing forks this process, whose threads of zarr and torch do not "
            "survive it. "
            'Take "loky", the default.'
        )
    is_local = bool(getattr(backend, "uses_threads", False))
    return Engine(
        name, lambda work, numbers: _run_joblib(work, numbers, n_jobs, n_workers), is_local=is_local
    )


# A function and not a callable object: joblib's backend for dask hashes it.
def _attempt(work: Work, number: int, n_threads: int) -> Outcome:
    """Run a block, and return its error: one that is raised would end all others."""
    try:
        with _threads(n_threads):
            work(number)
    except Exception as error:
        return number, _portable(error)
    return number, None


def _threads(n_threads: int) -> AbstractContextManager[Any]:
    from threadpoolctl import threadpool_limits

    return nullcontext() if n_threads < 1 else threadpool_limits(n_threads)


def _portable(error: BaseException) -> BaseException:
    """Return an error that other processes can read."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _run_here(work: Work, numbers: Sequence[int]) -> Generator[Outcome]:
    for number in numbers:
        yield _attempt(work, number, 0)


def _run_joblib(work: Work, numbers: Sequence[int], n_jobs: int | None, n_workers: int) -> Generator[Outcome]:
    from joblib import Parallel, cpu_count, delayed
    from joblib.parallel import get_active_backend

    n_threads = max(1, cpu_count() // n_workers)
    # Ray returns nothing before all blocks are done, so it gets some at a time.
    is_stream = bool(get_active_backend()[0].supports_return_generator)
    step = len(numbers) if is_stream else ROUND * n_workers
    for first in range(0, len(numbers), max(1, step)):
        parallel = Parallel(
            n_jobs=n_jobs,
            batch_size=1,
            pre_dispatch="2 * n_jobs",
            return_as="generator_unordered" if is_stream else "list",
        )
        yield from parallel(
            delayed(_attempt)(work, number, n_threads) for number in numbers[first : first + step]
        )


def _pass_on(value: Any) -> Any:
    return value


def _run_on_dask(task: Work, number: int) -> int:
    # A worker with several threads runs as many blocks.
    with one_thread():
        task(number)
    return number


def _run_dask(client: Any, work: Work, numbers: Sequence[int]) -> Generator[Outcome]:
    from distributed import Future, as_completed

    # A result that is lost with its worker is computed again; data from client.scatter would be lost for
    # good.
    shared = client.submit(_pass_on, work, pure=False)
    remaining = iter(numbers)
    by_key: dict[str, int] = {}

    def submit(number: int) -> Any:
        future = client.submit(_run_on_dask, shared, number, pure=False, retries=RETRIES)
        by_key[future.key] = number
        return future

    completed = as_completed([submit(number) for number in islice(remaining, MAX_IN_FLIGHT)])
    try:
        for future in completed:
            number = by_key.pop(future.key)
            yield number, None if future.status == "finished" else _error_of(future)
            for following in islice(remaining, 1):
                completed.add(submit(following))
    finally:
        client.cancel([Future(key, client) for key in by_key])


def _error_of(future: Any) -> BaseException:
    try:
        error = future.exception()
    # A cancelled task raises.
    except BaseException as cancelled:
        return cancelled
    return error if isinstance(error, BaseException) else RuntimeError(f"the task was {future.status}")


def run_blocks(
    engine: Engine,
    work: Work,
    find_missing: Callable[[], list[int]],
    name: Callable[[int], str],
    on_done: Callable[[], object],
) -> int:
    """Run all missing blocks, and return the number of blocks done.

    Parameters
    ----------
    engine : Engine
        The engine.
    work : callable
        Function of the number of a block, which writes and marks it.
    find_missing : callable
        Function that returns the numbers of blocks without a mark.
    name : callable
        Function that returns the place of a block in words.
    on_done : callable
        Function that is called after each block.

    Raises
    ------
    BlockError
        If blocks fail; the others are done.
    """
    n_done, breaks = 0, 0
    tries: dict[int, int] = {}
    errors: dict[int, BaseException] = {}
    missing = find_missing()
    while missing:
        before = n_done
        try:
            # Closed at any end, which stops the workers.
            with closing(engine.run(work, missing)) as outcomes:
                for number, error in outcomes:
                    if error is None:
                        n_done += 1
                        errors.pop(number, None)
                        on_done()
                        continue
                    tries[number] = tries.get(number, 0) + 1
                    errors[number] = error
                    if getattr(error, "errno", None) in FATAL_ERRORS or len(errors) > MAX_FAILED:
                        raise _describe(errors, name, "the others were not tried") from error
        except _broken_pools() as broken:
            # A worker was killed, for example for its memory. The rest starts again on new ones.
            breaks = breaks + 1 if n_done == before else 1
            missing = [number for number in find_missing() if tries.get(number, 0) <= RETRIES]
            if breaks > RETRIES:
                raise BlockError(
                    f"{len(missing)} blocks are missing: workers of {engine.name} died {breaks} times, the "
                    "last time "
                    f"in one of the blocks from {name(missing[0])} on: {broken}. If memory is short, take "
                    "fewer "
                    "workers or smaller block_pixels. The same call resumes."
                ) from broken
            continue
        limit = 0 if engine.retries_itself else RETRIES
        missing = [number for number in errors if tries[number] <= limit]
    if errors:
        raise _describe(errors, name, "all others are done") from next(iter(errors.values()))
    return n_done


def _broken_pools() -> tuple[type[BaseException], ...]:
    from concurrent.futures.process import BrokenProcessPool

    from joblib.externals.loky.process_executor import TerminatedWorkerError

    return BrokenProcessPool, TerminatedWorkerError


def _describe(errors: dict[int, BaseException], name: Callable[[int], str], others: str) -> BlockError:
    number, error = next(iter(errors.items()))
    blocks = f"{len(errors)} blocks" if len(errors) > 1 else "a block"
    first = "The first one is " if len(errors) > 1 else ""
    return BlockError(
        f"{blocks} could not be denoised after {RETRIES + 1} tries, and {others}. {first}{name(number)}: "
        f"{type(error).__name__}: {error}. The same call resumes with what is missing."
    )
