"""Where images and results of all users lie: on disk, and within a size."""

from __future__ import annotations

import secrets
import shutil
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Entry", "Shelf"]


class Entry(NamedTuple):
    """A folder, what is known about it, and how large it is."""

    folder: Path
    about: Any
    size: int


class Shelf:
    """Folders by key, which take no more room than is given; those used longest ago make way.

    Memory holds none of the images, so that it does not grow with users who leave their page open.

    Parameters
    ----------
    folder : Path
        Where it stands; made where it is missing.
    most_bytes : int
        The room for all of it.
    """

    def __init__(self, folder: Path, most_bytes: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._most_bytes = folder, most_bytes
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, key: str, fill: Callable[[Path], Any]) -> Entry:
        """Let a function fill a new folder, and keep that with what it returns, once it is whole."""
        draft = self._folder / f"{secrets.token_hex(8)}.draft"
        draft.mkdir()
        try:
            about = fill(draft)
            size = sum(path.stat().st_size for path in draft.iterdir())
            with self._lock:
                if key not in self._entries:  # else somebody made the same meanwhile
                    place = draft.rename(self._folder / key)
                    self._entries[key] = Entry(place, about, size)
                self._make_room(key)
                return self._entries[key]
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def get(self, key: str) -> Entry | None:
        """Return what lies under a key, which is now the one used last; None where it made way."""
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
            return self._entries.get(key)

    def _make_room(self, kept: str) -> None:
        self._entries.move_to_end(kept)
        room = self._most_bytes - sum(entry.size for entry in self._entries.values())
        while room < 0 and len(self._entries) > 1:
            _, entry = self._entries.popitem(last=False)
            shutil.rmtree(entry.folder, ignore_errors=True)
            room += entry.size
