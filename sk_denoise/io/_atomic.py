"""Atomic writing of files: a file is replaced completely or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

__all__ = ["check_path", "open_replacement", "replace_file", "resolve_destination"]


def check_path(path: object) -> None:
    """Refuse an object that is not a path, or an empty path."""
    if not isinstance(path, str | os.PathLike) or not isinstance(os.fspath(path), str):
        raise TypeError(f"path must be a text or a pathlib.Path, got {path!r:.60}.")
    if not os.fspath(path):
        raise ValueError("path is empty; give that of a file.")


def resolve_destination(path: str | os.PathLike[str]) -> Path:
    """Check a path to write to, and return the file behind it."""
    check_path(path)
    # A file behind a link is replaced, so that the link stays a link.
    destination = Path(os.path.realpath(path))
    if destination.is_dir():
        raise IsADirectoryError(f"{path} is a folder; give the path of a file to write.")
    if not destination.parent.is_dir():
        raise FileNotFoundError(
            f"{path} cannot be written: there is no folder {destination.parent}; create it."
        )
    return destination


def replace_file(
    destination: Path, pieces: Iterable[bytes | bytearray | memoryview], *, durable: bool = False
) -> None:
    """Write a complete file, new or in place of another one.

    Parameters
    ----------
    destination : Path
        Result of :func:`resolve_destination`. After a failure the old file is unchanged. After success the
        new file has its permissions, or the usual ones if there was none.
    pieces : iterable of bytes
        Content of the file.
    durable : bool, default=False
        Whether to wait until the content is on disk, so that it survives a power failure.
    """
    with open_replacement(destination, durable=durable) as stream:
        for piece in pieces:
            stream.write(piece)


@contextmanager
def open_replacement(destination: Path, *, durable: bool = False) -> Iterator[BinaryIO]:
    """Open a file that takes the place of another one at the end of the block.

    After an error in the block the old file is unchanged, and no other file is left.

    Parameters
    ----------
    destination : Path
        Result of :func:`resolve_destination`.
    durable : bool, default=False
        Whether to wait until the content is on disk, so that it survives a power failure.
    """
    # Only the owner could read a file of tempfile.
    temporary = destination.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with _create(temporary, destination) as stream:
            # A new file keeps the permissions that the system gives.
            with suppress(FileNotFoundError):
                shutil.copymode(destination, temporary)
            yield stream
            stream.flush()
            if durable:
                os.fsync(stream.fileno())
        temporary.replace(destination)
    # BaseException, because an interruption must not leave the temporary file either.
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        _sync_folder(destination.parent)


def _create(temporary: Path, destination: Path) -> BinaryIO:
    try:
        return temporary.open("x+b")
    except PermissionError as error:
        raise PermissionError(
            f"{destination} cannot be written: new files are not allowed in the folder {destination.parent}."
        ) from error


def _sync_folder(folder: Path) -> None:
    """Wait until the new name of a file is on disk."""
    # Windows cannot open folders.
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
