"""The one owner of randomness: from a scikit-learn ``random_state`` to independent torch generators.

A fit owns one integer, its root seed. Weights, shuffling, noise and validation draw from streams that
are named, so that none depends on how much another one drew, and none touches a global state.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.random import RandomState

_GLOBAL_STATE_LOCK = threading.RLock()


def root_seed(random_state: int | RandomState | None) -> int:
    """Return the integer that a fit draws all its streams from.

    ``None`` asks the operating system, so that numpy's global state stays as it was; an integer is
    taken as it is; a ``RandomState`` is advanced by one draw.
    """
    if random_state is None:
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
    """Seed torch's global generators for a while, for code that knows no other (a user's module).

    One thread at a time, and the caller's state is put back afterwards.
    """
    with _GLOBAL_STATE_LOCK, torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
