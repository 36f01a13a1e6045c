"""Files and folders that are named on the command line: what they are, and whether they can be written."""

from __future__ import annotations

import mimetypes
import os
import re
import tempfile
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sk_denoise.cli._console import Failure, Refusal, reason_of, shown, some_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sk_denoise._intensity import IntensityRange
    from sk_denoise.datasets import ImageFolder

__all__ = [
    "FOLDER",
    "Found",
    "Inputs",
    "Job",
    "Plan",
    "SSIM_NEEDS",
    "check_size",
    "check_target",
    "check_writable",
    "find_images",
    "is_folder",
    "is_image_name",
    "is_there",
    "keeps_numbers",
    "open_folder",
    "plan_jobs",
    "range_of",
    "read_image",
    "refuse_image_name",
    "refuse_model_name",
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


def _suffixes_in_words() -> str:
    from sk_denoise.io import IMAGE_SUFFIXES

    return ", ".join(sorted(IMAGE_SUFFIXES))


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
    from sk_denoise.io import IMAGE_SUFFIXES

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
            hint = f"the folder '{shown(name)}' holds no image: no file that ends in {_suffixes_in_words()}"
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


@dataclass(frozen=True)
class Job:
    """An image, and where the denoised one goes."""

    source: Path
    target: Path


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    Attributes
    ----------
    folder : Path
        Where outputs go, to be made where it is missing.
    jobs : list of Job
        In order.
    kept : int
        How many outputs are there already, and stay.
    in_place : bool
        Whether images are replaced by what comes of them.
    unreadable : list of tuple (Path, str)
        Folders that could not be looked through, and why.
    """

    folder: Path
    jobs: list[Job]
    kept: int
    in_place: bool
    unreadable: list[tuple[Path, str]]


def plan_jobs(names: Sequence[str], output: str, *, overwrite: bool, skip_existing: bool) -> Plan:
    """Return which image goes where.

    Parameters
    ----------
    names : sequence of str
        Files, folders and patterns.
    output : str
        A file, where one file is named and this ends as an image does and is no folder; else a folder.
    overwrite : bool
        Whether files that are there may be replaced.
    skip_existing : bool
        Whether they stay, and their images are left alone.

    Raises
    ------
    Refusal
        Where a name stands for nothing, two images would go to one place, or a file is in the way.
    """
    into_file = _is_file_name(names, output)
    inputs = find_images(names, None if into_file else Path(output))
    if into_file:
        jobs = [Job(inputs.images[0].path, Path(output))]
    else:
        jobs = [Job(found.path, _in_folder(found, Path(output))) for found in inputs.images]
    folder = Path(output).parent if into_file else Path(output)
    jobs, in_place = _one_for_each(jobs, _Identity(folder), overwrite)
    existing = [job for job in jobs if is_there(job.target)]
    _refuse_folders(existing)
    if existing and not (overwrite or skip_existing):
        some = some_of([job.target for job in existing])
        raise Refusal(
            f"of {len(jobs)} outputs {len(existing)} exist already: {some}; --overwrite replaces "
            "such files, --skip-existing keeps them and goes on with the rest"
        )
    kept = set(existing) if skip_existing else set()
    left = [job for job in jobs if job not in kept]
    return Plan(folder, left, len(kept), in_place, inputs.unreadable)


def _is_file_name(names: Sequence[str], output: str) -> bool:
    """Whether the output is a file; refuse what may be a slip."""
    path = Path(output)
    if is_folder(path) or output.endswith(("/", os.sep)):
        return False
    one_file = len(names) == 1 and os.path.lexists(names[0]) and not is_folder(Path(names[0]))
    if is_image_name(path):
        if one_file:
            return True
        raise Refusal(
            f"{shown(output)} has the name of an image, which holds one; for folders, patterns and several "
            "files, give a folder"
        )
    if is_there(path):
        raise Refusal(
            f"{shown(output)} is a file, and its name ends in none of {_suffixes_in_words()}; give a folder"
        )
    kind = mimetypes.guess_type(path.name)[0] or ""
    if kind.startswith("image/"):
        raise Refusal(f"{shown(output)} cannot be written, only what ends in {_suffixes_in_words()}")
    return False


def _in_folder(found: Found, folder: Path) -> Path:
    if not is_image_name(found.place):
        raise Refusal(
            f"the name of {shown(found.path)} names no format to write: it ends in none of "
            f"{_suffixes_in_words()}; "
            "denoise it by itself, into a file whose name does"
        )
    return folder / found.place


class _Identity:
    """Tells whether paths are those of one file, on this disk, there or not."""

    def __init__(self, folder: Path) -> None:
        self.ignores_case = _ignores_case(folder)

    def of(self, path: Path) -> str:
        """Return what is equal for paths of one file."""
        real = os.path.realpath(path)
        return unicodedata.normalize("NFC", real).casefold() if self.ignores_case else real


def _ignores_case(folder: Path) -> bool:
    """Whether a disk takes A.png and a.png for one file, told by the nearest folder that is there."""
    place = Path(os.path.realpath(folder))
    while not is_there(place):
        place = place.parent
    other = place.with_name(place.name.swapcase()) if place.name else place
    return other != place and is_there(other) and other.samefile(place)


def _one_for_each(jobs: Iterable[Job], identity: _Identity, overwrite: bool) -> tuple[list[Job], bool]:
    """Return the jobs without repetitions, and whether outputs are inputs; refuse what would be lost."""
    by_target: dict[str, Job] = {}
    for job in jobs:
        other = by_target.setdefault(identity.of(job.target), job)
        if other.source.resolve() != job.source.resolve():
            raise Refusal(
                f"{shown(other.source)} and {shown(job.source)} would both go to {shown(job.target)}; "
                "denoise them into folders of their own"
            )
    sources = {identity.of(job.source): job for job in by_target.values()}
    replaced = [(job, sources[target]) for target, job in by_target.items() if target in sources]
    if replaced and not overwrite:
        some = some_of([job.target for job, _ in replaced])
        raise Refusal(
            f"of {len(by_target)} outputs {len(replaced)} are inputs too: {some}; give another folder, or "
            "--overwrite to replace images by what comes of them"
        )
    for job, reader in replaced:
        if identity.of(job.source) != identity.of(reader.source):
            raise Refusal(
                f"{shown(job.source)} would go to {shown(job.target)}, which is an input too, and would be "
                "lost; give another folder"
            )
    return list(by_target.values()), bool(replaced)


def _refuse_folders(existing: Iterable[Job]) -> None:
    for job in existing:
        if is_folder(job.target):
            raise Refusal(f"{shown(job.source)} would go to {shown(job.target)}, which is a folder")


SSIM_NEEDS = 3  # pixels on each side


def read_image(path: Path, max_pixels: int, **how: Any) -> NDArray[Any]:
    """Return an image; one that is too large is refused before it is decoded.

    Raises
    ------
    OSError, ValueError
        Where it cannot be read; the message goes behind its name.
    """
    from sk_denoise.io import image_size, read_image

    height, width = image_size(path)
    if height * width > max_pixels:
        raise ValueError(f"it has {width} x {height} pixels, more than --max-pixels {max_pixels}")
    return read_image(path, max_pixels=max_pixels, **how)


def check_size(image: NDArray[Any], least: int, who: str) -> None:
    """Refuse an image that is smaller than somebody needs.

    Raises
    ------
    ValueError
        The message goes behind its name.
    """
    if min(image.shape[:2]) < least:
        raise ValueError(f"it is smaller than the {least} x {least} pixels that {who} needs")


def range_of(image: NDArray[Any]) -> tuple[IntensityRange, str]:
    """Return the range from black to white of an image, and a remark where its type does not tell it."""
    from sk_denoise._intensity import IntensityRange, without_alpha

    counted = IntensityRange.of(without_alpha(image))
    if counted == IntensityRange.of_type(image.dtype):
        return counted, ""
    return counted, f"{counted.black:g} is taken as black and {counted.white:g} as white"


def keeps_numbers(model: Any) -> bool:
    """Return whether a model learned from numbers that have no known black and white."""
    return getattr(model, "intensity_range_", model) is None
