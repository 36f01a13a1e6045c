"""How many threads a piece of work deserves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache

from threadpoolctl import ThreadpoolController

__all__ = ["one_thread", "suitable_threads", "threads_for"]

# Operations of a step of training, or of a prediction. With fewer the threads gain a fifth at best, and lose
# a multiple of it on a machine that is busy with something else, where they wait for each other.
WORTH_SHARING = 1e8
AN_ENTRY = 10  # operations that a pass over data in memory is worth, for each of their entries


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()  # looks through all loaded libraries, which takes milliseconds


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep work to one thread, for the calling thread alone and for as long as the block runs."""
    with _controller().limit(limits=1, user_api="openmp"):
        yield


def suitable_threads(flops: float) -> AbstractContextManager[None]:
    """Keep work of so many operations to one thread, unless it is worth sharing."""
    return nullcontext() if flops >= WORTH_SHARING else one_thread()


def threads_for(entries: int) -> AbstractContextManager[None]:
    """Keep passes over so many entries to one thread, unless they are worth sharing."""
    return suitable_threads(AN_ENTRY * entries)
