"""Files and folders that are named on the command line: what they are, and whether they can be written."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sk_denoise.cli._console import Failure, Refusal, reason_of, shown

if TYPE_CHECKING:
    from sk_denoise.datasets import ImageFolder

__all__ = [
    "FOLDER",
    "check_target",
    "check_writable",
    "is_folder",
    "is_there",
    "open_folder",
    "refuse_model_name",
    "refuse_image_name",
]


def is_there(path: Path) -> bool:
    """Whether there is a file or folder; one that may not be looked at counts as none."""
    try:
        return path.exists()
    except OSError:
        return False


def is_folder(path: Path) -> bool:
    """Whether it is a folder, or a link to one."""
    try:
        return path.is_dir()
    except OSError:
        return False


class FolderType(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.5 on
    """Reads the name of a folder that is there."""

    name = "folder"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = Path(value)
        if not is_folder(path):
            problem = f"{value!r} is a file, where a folder was expected"
            self.fail(problem if is_there(path) else f"there is no folder {value!r}", param, ctx)
        return path


FOLDER = FolderType()


def open_folder(
    folder: Path, noisy: Path | None = None, *, color: Any = "rgb", max_pixels: int
) -> ImageFolder:
    """Return the images of a folder, or its pairs with another one.

    Raises
    ------
    Refusal
        Where there is no image, or it is not clear which belong together.
    """
    from sk_denoise.datasets import ImageFolder

    try:
        return ImageFolder(folder, noisy=noisy, color=color, max_pixels=max_pixels)
    except ValueError as error:
        raise Refusal(reason_of(error)) from error


def refuse_image_name(path: Path) -> None:
    """Refuse the name of an image for what is none: the next command would take it for one.

    Raises
    ------
    Refusal
        Where the name ends as images do.
    """
    from sk_denoise.io import IMAGE_SUFFIXES

    if path.suffix.lower() in IMAGE_SUFFIXES:
        raise Refusal(f"{shown(path)} has the name of an image; give another one")


def refuse_model_name(path: Path) -> None:
    """Refuse a name that no model can be saved under, before it is trained.

    Raises
    ------
    Refusal
        Where the name ends as those of another format do.
    """
    from sk_denoise import MedianDenoiser
    from sk_denoise.persistence import save

    with tempfile.TemporaryDirectory() as folder:
        try:
            save(MedianDenoiser(), Path(folder) / path.name)
        except ValueError as error:
            raise Refusal(reason_of(error).replace(f"{folder}{os.sep}", "")) from error


def check_target(path: Path, *, overwrite: bool, remedy: str = "--overwrite replaces it") -> None:
    """Refuse a file that is not to be written.

    Raises
    ------
    Refusal
        Where a file is there and shall stay, or something else is in its place.
    """
    if is_folder(path):
        raise Refusal(f"{shown(path)} is a folder; give the path of a file")
    if not is_there(path):
        return
    if not path.is_file():  # a file that takes the place of a device breaks the system
        raise Refusal(f"{shown(path)} is no ordinary file and cannot be replaced")
    if not overwrite:
        raise Refusal(f"{shown(path)} exists already; {remedy}")


def check_writable(folder: Path) -> None:
    """Make a folder and write to it once, so that what hinders comes before the long work.

    Raises
    ------
    Failure
        Where it cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise Failure(f"cannot write to {shown(folder)}: {reason_of(error)}") from error
