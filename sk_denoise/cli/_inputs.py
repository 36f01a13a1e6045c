"""Which images are meant by files, folders and patterns; nothing is opened here."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from sk_denoise.cli._console import Refusal, reason_of, shown
from sk_denoise.cli._places import is_folder
from sk_denoise.io import IMAGE_SUFFIXES

__all__ = ["SUFFIXES", "Found", "Inputs", "find_images", "is_image_name"]

SUFFIXES = ", ".join(sorted(IMAGE_SUFFIXES))
WILDCARD = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Found:
    """An image that is to be denoised.

    Attributes
    ----------
    path : Path
        The file.
    place : Path
        Where it lies below the folder that was named; its name, where it was named itself.
    """

    path: Path
    place: Path


@dataclass
class Inputs:
    """Images in order, and folders that could not be looked through, each with the reason."""

    images: list[Found] = field(default_factory=list)
    unreadable: list[tuple[Path, str]] = field(default_factory=list)


def is_image_name(path: Path) -> bool:
    """Whether the name says that it is an image, in upper or lower case."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def find_images(names: Iterable[str], left_out: Path | None = None) -> Inputs:
    """Return the images that names stand for.

    A name is that of a file, which is taken whatever its suffix is; of a folder, which is looked through for
    images; or a pattern. In folders and patterns, files of other suffixes do not count, and neither does
    what is hidden. Linked folders are looked through, but for those that lead back.

    Parameters
    ----------
    names : iterable of str
        What was asked for.
    left_out : Path, optional
        A folder whose images do not count, unless it is named itself, or one in it: where outputs go.

    Raises
    ------
    Refusal
        Where a name stands for nothing.
    """
    inputs = Inputs()
    skipped = None if left_out is None else os.path.realpath(left_out)
    for name in names:
        path = Path(name)
        if is_folder(path):
            found = [Found(p, p.relative_to(path)) for p in _images_in(path, skipped, inputs)]
            hint = f"the folder '{shown(name)}' holds no image: no file that ends in {SUFFIXES}"
        elif os.path.lexists(path):
            found, hint = [Found(path, Path(path.name))], ""
        elif WILDCARD.search(name):
            found = _matching(path, skipped, inputs)
            hint = f"no image matches '{shown(name)}'"
        else:
            found, hint = [], f"there is no file or folder '{shown(name)}'"
        if not found and not any(_is_in(place, path) for place, _ in inputs.unreadable):
            raise Refusal(hint)
        inputs.images += found
    return inputs


def _is_in(path: Path, folder: Path) -> bool:
    return path == folder or folder in path.parents


def _images_in(folder: Path, skipped: str | None, inputs: Inputs) -> Iterator[Path]:
    """Yield the images of a folder and of those within, sorted."""
    for place in _folders_in(folder, skipped, inputs):
        yield from (path for path in _visible(place, inputs) if is_image_name(path) and not is_folder(path))


def _folders_in(folder: Path, skipped: str | None, inputs: Inputs, *above: str) -> Iterator[Path]:
    """Yield a folder and all within it, but for hidden ones, the one to skip, and links that lead back."""
    yield folder
    here = os.path.realpath(folder)
    for path in _visible(folder, inputs):
        if is_folder(path) and os.path.realpath(path) not in (skipped, here, *above):
            yield from _folders_in(path, skipped, inputs, here, *above)


def _visible(folder: Path, inputs: Inputs) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        if folder not in [place for place, _ in inputs.unreadable]:
            inputs.unreadable.append((folder, f"cannot be looked through: {reason_of(error)}"))
        return []


def _matching(pattern: Path, skipped: str | None, inputs: Inputs) -> list[Found]:
    """Return the images of a pattern, in place below the part that has no wildcard.

    A folder that matches counts as if it were named, unless the pattern has ``**`` and looks through folders
    by itself.
    """
    parts = pattern.parts
    first = next(
        i
        for i, part in enumerate(parts)
        if WILDCARD.search(part) and not os.path.lexists(Path(*parts[: i + 1]))  # folders may have brackets
    )
    root, parts = Path(*parts[:first]), parts[first:]
    found: list[Path] = []
    for path in _walk(root, parts, skipped, inputs):
        if not is_folder(path):
            found += [path] if is_image_name(path) else []
        elif "**" not in parts:
            found += _images_in(path, skipped, inputs)
    return [Found(path, path.relative_to(root)) for path in dict.fromkeys(found)]


def _walk(folder: Path, parts: tuple[str, ...], skipped: str | None, inputs: Inputs) -> Iterator[Path]:
    """Yield what matches the parts of a pattern below a folder."""
    first, *others = parts
    rest = tuple(others)
    if first == "**":
        for place in _folders_in(folder, skipped, inputs) if is_folder(folder) else ():
            yield from _walk(place, rest or ("*",), skipped, inputs)
        return
    matching: list[Path] = []
    if WILDCARD.search(first) and is_folder(folder):
        matching = [path for path in _visible(folder, inputs) if fnmatch(path.name, first)]
    if not matching and os.path.lexists(folder / first):  # names may hold brackets
        matching = [folder / first]
    for path in matching:
        if os.path.realpath(path) == skipped:
            continue
        if rest:
            yield from _walk(path, rest, skipped, inputs)
        else:
            yield path
