"""Independent torch generators from a ``random_state`` of scikit-learn.

A fit has one integer, its root seed. Weights, shuffling, noise and validation draw from named streams, so
that none depends on how much another one drew, and none touches a global state.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.random import RandomState

# Two modules that draw from the global state at once would mix their numbers.
_GLOBAL_STATE_LOCK = threading.RLock()


def root_seed(random_state: int | RandomState | None) -> int:
    """Return the integer that seeds all streams of a fit.

    An integer is taken as it is. A ``RandomState`` is advanced by one draw.
    """
    if random_state is None:
        # From the operating system, so that numpy's global state stays as it was.
        return int(np.random.SeedSequence().generate_state(1, np.uint32)[0])
    if isinstance(random_state, RandomState):
        return int(random_state.randint(2**31 - 1))
    return int(random_state)


def stream_seed(root: int, *path: str | int) -> int:
    """Return the 64-bit seed of the stream called ``path`` below the root seed."""
    keys = [zlib.crc32(part.encode()) if isinstance(part, str) else part for part in path]
    return int(np.random.SeedSequence([root, len(keys), *keys]).generate_state(1, np.uint64)[0])


def stream(root: int, *path: str | int, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a fresh generator for the stream called ``path``, at its beginning."""
    return torch.Generator(device=device).manual_seed(stream_seed(root, *path))


@contextmanager
def borrowed_global_state(seed: int) -> Iterator[None]:
    """Seed torch's global generators within the block, and restore their state.

    For code that draws from them, such as a module of the user. One thread at a time runs the block.
    """
    with _GLOBAL_STATE_LOCK, torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
