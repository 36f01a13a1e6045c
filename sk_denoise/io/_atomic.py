"""Files that appear complete or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

__all__ = ["check_path", "check_target", "replace_file"]


def check_path(path: object) -> None:
    """Refuse what is no path in words."""
    if not isinstance(path, str | os.PathLike) or not isinstance(os.fspath(path), str):
        raise TypeError(f"path must be a text or a pathlib.Path, got {path!r:.60}.")
    if not os.fspath(path):
        raise ValueError("path is empty; give that of a file.")


def check_target(path: str | os.PathLike[str]) -> Path:
    """Return the file that is to be written, where a link leads, so that it stays one."""
    check_path(path)
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(f"{path} is a folder; give the path of a file to write.")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{path} cannot be written: there is no folder {target.parent}; create it.")
    return target


def replace_file(
    target: Path, pieces: Iterable[bytes | bytearray | memoryview], *, durable: bool = False
) -> None:
    """Put a complete file in the place of another, or of none.

    Parameters
    ----------
    target : Path
        What :func:`check_target` gave. A file that was there survives a failure, and leaves its permissions
        to the one that takes its place; a new one has those that the system gives.
    pieces : iterable of bytes
        What the file holds.
    durable : bool, default=False
        Whether to wait until the disk holds it, so that a power cut after this call cannot undo it.
    """
    # not tempfile, whose files nobody else may read
    temporary = target.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with _created(temporary, target) as stream:
            with suppress(FileNotFoundError):  # a new file stays as the system makes them
                shutil.copymode(target, temporary)
            for piece in pieces:
                stream.write(piece)
            stream.flush()
            if durable:
                os.fsync(stream.fileno())
        temporary.replace(target)
    except BaseException:  # an interruption too
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        _sync_folder(target.parent)


def _created(temporary: Path, target: Path) -> BinaryIO:
    try:
        return temporary.open("xb")
    except PermissionError as error:
        raise PermissionError(
            f"{target} cannot be written: new files are not allowed in the folder {target.parent}."
        ) from error


def _sync_folder(folder: Path) -> None:
    """Have the disk hold the new name, where folders can be opened."""
    if os.name == "nt":
        return
    place = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(place)
    finally:
        os.close(place)
