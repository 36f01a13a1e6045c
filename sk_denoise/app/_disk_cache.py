"""Disk cache of limited size for the images and results of all users."""

from __future__ import annotations

import secrets
import shutil
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["CachedFolder", "DiskCache"]


class CachedFolder(NamedTuple):
    """Folder in the cache, with its metadata and its size in bytes."""

    path: Path
    metadata: Any
    n_bytes: int


class DiskCache:
    """Cache of folders on disk that evicts the least recently used ones.

    Parameters
    ----------
    folder : Path
        Root of the cache, created if it is missing.
    max_bytes : int
        Largest total size of the cached folders. The newest folder is kept even if it alone is larger.
    """

    # Memory holds the metadata only, so that it does not grow with the number of open pages.

    def __init__(self, folder: Path, max_bytes: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._root, self._max_bytes = folder, max_bytes
        self._folders: OrderedDict[str, CachedFolder] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, key: str, fill: Callable[[Path], Any]) -> CachedFolder:
        """Store the folder that a function fills, with its return value as metadata."""
        # The folder gets its final name once it is complete, so that readers never see half of it.
        draft = self._root / f"{secrets.token_hex(8)}.draft"
        draft.mkdir()
        try:
            metadata = fill(draft)
            n_bytes = sum(path.stat().st_size for path in draft.iterdir())
            with self._lock:
                # Another thread may have stored the same key in the meantime.
                if key not in self._folders:
                    path = draft.rename(self._root / key)
                    self._folders[key] = CachedFolder(path, metadata, n_bytes)
                self._folders.move_to_end(key)
                self._evict()
                return self._folders[key]
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def get(self, key: str) -> CachedFolder | None:
        """Return the folder of a key and mark it as recently used; None if it was evicted."""
        with self._lock:
            if key in self._folders:
                self._folders.move_to_end(key)
            return self._folders.get(key)

    def _evict(self) -> None:
        free = self._max_bytes - sum(folder.n_bytes for folder in self._folders.values())
        while free < 0 and len(self._folders) > 1:
            _, evicted = self._folders.popitem(last=False)
            shutil.rmtree(evicted.path, ignore_errors=True)
            free += evicted.n_bytes
