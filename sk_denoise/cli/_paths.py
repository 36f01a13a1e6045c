"""Input and output files of the commands: find, plan, check and read them."""

from __future__ import annotations

import mimetypes
import os
import re
import tempfile
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sk_denoise.cli._console import (
    CommandFailure,
    RefusedInput,
    abbreviate_list,
    describe_error,
    print_message,
    printable,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sk_denoise._intensity import IntensityRange
    from sk_denoise.datasets import ImageFolder
    from sk_denoise.io import ImageStack

__all__ = [
    "FOLDER",
    "FOLDER_OR_FILE",
    "IMAGES",
    "MIN_SSIM_SIDE",
    "SIGNALS",
    "FileJob",
    "FileKind",
    "InputFile",
    "InputFiles",
    "JobPlan",
    "check_min_size",
    "check_model_name",
    "check_output_file",
    "check_writable_folder",
    "choose_kind",
    "find_images",
    "find_intensity_range",
    "is_block_run",
    "is_folder",
    "is_image_name",
    "is_zarr_name",
    "open_image_folder",
    "open_training_stack",
    "path_exists",
    "plan_jobs",
    "read_image_within_limit",
    "refuse_image_name",
]

WILDCARD = re.compile(r"[*?\[]")
# Side in pixels of the smallest image that SSIM can measure.
MIN_SSIM_SIDE = 3


# Paths ---------------------------------------------------------------------------------------------------


def path_exists(path: Path) -> bool:
    """Return whether a file or folder exists and may be looked at."""
    # Path.exists raises for names that are too long, and for folders without permission.
    try:
        return path.exists()
    except OSError:
        return False


def is_folder(path: Path) -> bool:
    """Return whether a path is a folder or a link to one."""
    try:
        return path.is_dir()
    except OSError:
        return False


@dataclass(frozen=True)
class FileKind:
    """Kind of the files that a command reads: images or signals.

    Attributes
    ----------
    noun : str
        Name of one of them.
    """

    noun: str

    @property
    def suffixes(self) -> frozenset[str]:
        """Suffixes of files that are read."""
        from sk_denoise.io import IMAGE_SUFFIXES, SIGNAL_SUFFIXES

        return SIGNAL_SUFFIXES if self.noun == "signal" else IMAGE_SUFFIXES

    @property
    def output_suffixes(self) -> frozenset[str]:
        """Suffixes of files that are written."""
        from sk_denoise.io import SIGNAL_SUFFIXES, WRITABLE_SUFFIXES

        return SIGNAL_SUFFIXES if self.noun == "signal" else WRITABLE_SUFFIXES

    @property
    def media_types(self) -> tuple[str, ...]:
        """Beginnings of the media types of names that cannot be folders."""
        return ("audio/", "text/", "image/") if self.noun == "signal" else ("image/",)

    def matches(self, path: Path) -> bool:
        """Return whether a name ends as such files do, in upper or lower case."""
        return path.suffix.lower() in self.suffixes


IMAGES, SIGNALS = FileKind("image"), FileKind("signal")


def is_image_name(path: Path) -> bool:
    """Return whether a name ends as image files do, in upper or lower case."""
    return IMAGES.matches(path)


def is_zarr_name(name: str) -> bool:
    """Return whether a path or URL ends as a Zarr store, or lies in one."""
    # The array of a level is a folder of the store, such as image.zarr/0.
    return any(part.lower().endswith((".zarr", ".zarr.zip")) for part in Path(name).parts)


def is_block_run(names: Sequence[str], output: str) -> bool:
    """Return whether an input or the output is a Zarr store, and not a file in one."""
    return any(
        is_zarr_name(name) and not (Path(name).is_file() and not name.lower().endswith(".zip"))
        for name in (*names, output)
    )


def _list(suffixes: Iterable[str]) -> str:
    return ", ".join(sorted(suffixes))


class FolderType(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.5 on
    """Parameter type of an existing folder."""

    name = "folder"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = Path(value)
        if not is_folder(path):
            problem = f"{value!r} is a file, where a folder was expected"
            self.fail(problem if path_exists(path) else f"there is no folder {value!r}", param, ctx)
        return path


class FolderOrFileType(FolderType):
    """Parameter type of an existing folder, or of a file with images or signals."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = Path(value)
        if path_exists(path) and not is_folder(path) and (IMAGES.matches(path) or SIGNALS.matches(path)):
            return path
        return super().convert(value, param, ctx)


FOLDER = FolderType()
FOLDER_OR_FILE = FolderOrFileType()


# Checks of output files ----------------------------------------------------------------------------------


def refuse_image_name(path: Path) -> None:
    """Refuse an image name for a file that is not an image.

    Raises
    ------
    RefusedInput
        If the name ends as image files do.
    """
    # The next command would read such a file as an image.
    if is_image_name(path):
        raise RefusedInput(f"{printable(path)} has the name of an image; give another one")


def check_model_name(path: Path) -> None:
    """Check before the training that a model can be saved under a name.

    Raises
    ------
    RefusedInput
        If the name ends as those of another format do.
    """
    from sk_denoise import MedianDenoiser
    from sk_denoise.persistence import save

    # The rules for names belong to `save`, so a small estimator is saved under the name.
    with tempfile.TemporaryDirectory() as folder:
        try:
            save(MedianDenoiser(), Path(folder) / path.name)
        except ValueError as error:
            raise RefusedInput(describe_error(error).replace(f"{folder}{os.sep}", "")) from error


def check_output_file(path: Path, *, overwrite: bool, remedy: str = "--overwrite replaces it") -> None:
    """Check that a file may be written.

    Parameters
    ----------
    path : Path
        The file.
    overwrite : bool
        Whether an existing file may be replaced.
    remedy : str
        Advice for the message about an existing file.

    Raises
    ------
    RefusedInput
        If the file exists and may not be replaced, or the path is not an ordinary file.
    """
    if is_folder(path):
        raise RefusedInput(f"{printable(path)} is a folder; give the path of a file")
    if not path_exists(path):
        return
    # A file in the place of a device, such as /dev/null, would break the system.
    if not path.is_file():
        raise RefusedInput(f"{printable(path)} is not an ordinary file and cannot be replaced")
    if not overwrite:
        raise RefusedInput(f"{printable(path)} exists already; {remedy}")


def check_writable_folder(folder: Path) -> None:
    """Create a folder if necessary, and check that files can be written to it.

    Raises
    ------
    CommandFailure
        If the folder cannot be created or written to.
    """
    # Permissions are not enough to decide (read-only disks, quotas), so a file is written before the work.
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise CommandFailure(f"cannot write to {printable(folder)}: {describe_error(error)}") from error


# Input files ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class InputFile:
    """A file to denoise.

    Attributes
    ----------
    path : Path
        The file.
    relative_path : Path
        Its path below the folder that the user gave; the file name if the user gave the file itself.
    """

    path: Path
    relative_path: Path


@dataclass
class InputFiles:
    """Files to denoise, and folders that could not be listed.

    Attributes
    ----------
    images : list of InputFile
        The images or signals, in order.
    unreadable : list of tuple (Path, str)
        Folders that could not be listed, each with the reason.
    """

    images: list[InputFile] = field(default_factory=list)
    unreadable: list[tuple[Path, str]] = field(default_factory=list)


def find_images(
    names: Iterable[str], excluded_folder: Path | None = None, kind: FileKind = IMAGES
) -> InputFiles:
    """Return the images or signals of files, folders and patterns.

    A file counts with any suffix. Folders and patterns give the files with the suffix of the kind, without
    hidden ones. Linked folders are followed, except for links to a folder above.

    Parameters
    ----------
    names : iterable of str
        Files, folders and patterns from the command line.
    excluded_folder : Path, optional
        Folder of the outputs: its files are left out, unless the folder or a file in it is given by name.
    kind : FileKind
        Images or signals.

    Returns
    -------
    InputFiles
        The files in the order of the names; those of a folder are sorted.

    Raises
    ------
    RefusedInput
        If a name gives no file.
    """
    inputs = InputFiles()
    excluded = None if excluded_folder is None else os.path.realpath(excluded_folder)
    for name in names:
        path = Path(name)
        if is_folder(path):
            images = [InputFile(p, p.relative_to(path)) for p in _walk_images(path, excluded, inputs, kind)]
            suffixes = _list(kind.suffixes)
            problem = f"the folder '{printable(name)}' holds no {kind.noun}: no file that ends in {suffixes}"
        elif os.path.lexists(path) and not path_exists(path) and path.is_symlink():
            images, problem = [], ""
            inputs.unreadable.append((path, f"is a link to {printable(path.readlink())}, where no file is"))
        elif os.path.lexists(path):
            images, problem = [InputFile(path, Path(path.name))], ""
        elif WILDCARD.search(name):
            images = _match_pattern(path, excluded, inputs, kind)
            problem = f"no {kind.noun} matches '{printable(name)}'"
        else:
            images, problem = [], f"there is no file or folder '{printable(name)}'"
        # A pattern of the shell may give such a folder among images.
        if not images and is_folder(path) and kind.matches(path):
            article = "an" if kind is IMAGES else "a"
            inputs.unreadable.append((path, f"is a folder without {article} {kind.noun}"))
        # A folder that could not be listed is reported later and is not wrong usage.
        if not images and not any(_is_within(folder, path) for folder, _ in inputs.unreadable):
            raise RefusedInput(problem)
        inputs.images += images
    return inputs


def _is_within(path: Path, folder: Path) -> bool:
    return path == folder or folder in path.parents


def choose_kind(
    names: Sequence[str], excluded_folder: Path | None = None, *, for_training: bool = False
) -> FileKind:
    """Return the kind of the files that names give.

    A text beside images is no signal, but a note about them.

    Parameters
    ----------
    names : sequence of str
        Files, folders and patterns from the command line.
    excluded_folder : Path, optional
        Folder of the outputs.
    for_training : bool, default=False
        Whether the files of a folder with images are images, and tables beside them labels.

    Raises
    ------
    RefusedInput
        If there are images and signals.
    """
    images: list[Path] = []
    signals: list[Path] = []
    for name in names:
        path = Path(name)
        if os.path.lexists(path) and not is_folder(path):
            (signals if SIGNALS.matches(path) else images).append(path)
            continue
        for kind, files in ((IMAGES, images), (SIGNALS, signals)):
            # A name without a file of either kind is refused by the command.
            with suppress(RefusedInput):
                files += [file.path for file in find_images([name], excluded_folder, kind).images]
    if for_training and images and signals and not set(map(Path, names)) & set(signals):
        print_message(f"Left out, as the folder holds images: {abbreviate_list(signals)}.")
        return IMAGES
    named = [path for path in signals if path.suffix.lower() != ".txt" or str(path) in names]
    if images and named:
        raise RefusedInput(
            f"there are images ({abbreviate_list(images)}) and signals ({abbreviate_list(named)}); give one "
            f"kind, as files or by a pattern such as '*{named[0].suffix}'"
        )
    return SIGNALS if signals and not images else IMAGES


def _walk_images(folder: Path, excluded: str | None, inputs: InputFiles, kind: FileKind) -> Iterator[Path]:
    """Yield the files of a folder and its subfolders, sorted."""
    for subfolder in _walk_folders(folder, excluded, inputs):
        paths = _list_visible(subfolder, inputs)
        yield from (path for path in paths if kind.matches(path) and not is_folder(path))


def _walk_folders(folder: Path, excluded: str | None, inputs: InputFiles, *parents: str) -> Iterator[Path]:
    """Yield a folder and its subfolders, except for hidden and excluded ones."""
    yield folder
    real_path = os.path.realpath(folder)
    for path in _list_visible(folder, inputs):
        # A link to a parent folder would repeat without end.
        if is_folder(path) and os.path.realpath(path) not in (excluded, real_path, *parents):
            yield from _walk_folders(path, excluded, inputs, real_path, *parents)


def _list_visible(folder: Path, inputs: InputFiles) -> list[Path]:
    """Return the visible entries of a folder; note a folder that cannot be listed."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        if folder not in [path for path, _ in inputs.unreadable]:
            inputs.unreadable.append((folder, f"cannot be listed: {describe_error(error)}"))
        return []


def _match_pattern(
    pattern: Path, excluded: str | None, inputs: InputFiles, kind: FileKind
) -> list[InputFile]:
    """Return the files that match a pattern.

    Relative paths begin behind the part without wildcards. A folder that matches gives all its files,
    unless the pattern has ``**``, which enters folders itself.
    """
    parts = pattern.parts
    # An existing folder may have brackets in its name.
    first_wildcard = next(
        i
        for i, part in enumerate(parts)
        if WILDCARD.search(part) and not os.path.lexists(Path(*parts[: i + 1]))
    )
    root, parts = Path(*parts[:first_wildcard]), parts[first_wildcard:]
    images: list[Path] = []
    for path in _walk_pattern(root, parts, excluded, inputs):
        if not is_folder(path):
            images += [path] if kind.matches(path) else []
        elif "**" not in parts:
            images += _walk_images(path, excluded, inputs, kind)
    # Several parts of a pattern may match the same file.
    return [InputFile(path, path.relative_to(root)) for path in dict.fromkeys(images)]


def _walk_pattern(
    folder: Path, parts: tuple[str, ...], excluded: str | None, inputs: InputFiles
) -> Iterator[Path]:
    """Yield the paths below a folder that match the parts of a pattern."""
    first, *others = parts
    rest = tuple(others)
    if first == "**":
        for subfolder in _walk_folders(folder, excluded, inputs) if is_folder(folder) else ():
            yield from _walk_pattern(subfolder, rest or ("*",), excluded, inputs)
        return
    matches: list[Path] = []
    if WILDCARD.search(first) and is_folder(folder):
        matches = [path for path in _list_visible(folder, inputs) if fnmatch(path.name, first)]
    # A name with brackets matches itself, if nothing else.
    if not matches and os.path.lexists(folder / first):
        matches = [folder / first]
    for path in matches:
        if os.path.realpath(path) == excluded:
            continue
        if rest:
            yield from _walk_pattern(path, rest, excluded, inputs)
        else:
            yield path


# Output files --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FileJob:
    """A file to denoise, and the file to write."""

    source: Path
    target: Path


@dataclass(frozen=True)
class JobPlan:
    """All files that a command reads and writes.

    Attributes
    ----------
    folder : Path
        Output folder; it may be missing.
    jobs : list of FileJob
        Files to denoise, in order.
    n_kept : int
        Number of existing outputs that stay as they are.
    in_place : bool
        Whether outputs replace inputs.
    unreadable : list of tuple (Path, str)
        Folders that could not be listed, each with the reason.
    """

    folder: Path
    jobs: list[FileJob]
    n_kept: int
    in_place: bool
    unreadable: list[tuple[Path, str]]


def plan_jobs(
    names: Sequence[str], output: str, *, overwrite: bool, skip_existing: bool, kind: FileKind = IMAGES
) -> JobPlan:
    """Return the output file of every input file.

    Parameters
    ----------
    names : sequence of str
        Files, folders and patterns.
    output : str
        A file, if one file is given and ``output`` has a name of the kind; otherwise a folder.
    overwrite : bool
        Whether existing files may be replaced.
    skip_existing : bool
        Whether existing files stay, and their inputs are skipped.
    kind : FileKind
        Images or signals.

    Returns
    -------
    JobPlan
        The jobs; nothing is written yet.

    Raises
    ------
    RefusedInput
        If a name gives no file, two inputs have the same output, or an output exists already.
    """
    # Everything that would be lost or replaced is refused here, before the first file is written.
    is_file_output = _is_file_output(names, output, kind)
    inputs = find_images(names, None if is_file_output else Path(output), kind)
    if is_file_output:
        jobs = [FileJob(image.path, Path(output)) for image in inputs.images]
    else:
        jobs = [FileJob(image.path, _target_in_folder(image, Path(output), kind)) for image in inputs.images]
    folder = Path(output).parent if is_file_output else Path(output)
    jobs, in_place = _merge_jobs(jobs, _FileIdentity(folder), overwrite)
    existing = [job for job in jobs if path_exists(job.target)]
    _refuse_folder_targets(existing)
    if existing and not (overwrite or skip_existing):
        examples = abbreviate_list([job.target for job in existing])
        raise RefusedInput(
            f"{len(existing)} of {len(jobs)} outputs exist already: {examples}; --overwrite replaces them, "
            "--skip-existing keeps them and denoises the rest"
        )
    kept = set(existing) if skip_existing else set()
    remaining = [job for job in jobs if job not in kept]
    return JobPlan(folder, remaining, len(kept), in_place, inputs.unreadable)


def _is_file_output(names: Sequence[str], output: str, kind: FileKind) -> bool:
    """Return whether the output is a file and not a folder; refuse likely mistakes."""
    path = Path(output)
    if is_folder(path) or output.endswith(("/", os.sep)):
        return False
    is_one_file = len(names) == 1 and os.path.lexists(names[0]) and not is_folder(Path(names[0]))
    if kind.matches(path):
        _check_output_format(path, kind)
        if is_one_file:
            return True
        raise RefusedInput(
            f"{printable(output)} is the name of one {kind.noun}; give a folder for folders, "
            "patterns and several files"
        )
    if path_exists(path):
        raise RefusedInput(
            f"{printable(output)} is a file that does not end in {_list(kind.output_suffixes)}; give a folder"
        )
    media_type = mimetypes.guess_type(path.name)[0] or ""
    if media_type.startswith(kind.media_types):
        raise RefusedInput(
            f"{printable(output)} cannot be written: {kind.noun}s must end in {_list(kind.output_suffixes)}"
        )
    return False


def _target_in_folder(image: InputFile, folder: Path, kind: FileKind) -> Path:
    if not kind.matches(image.relative_path):
        raise RefusedInput(
            f"the format to write {printable(image.path)} in is unknown: the name does not end in "
            f"{_list(kind.suffixes)}; denoise it alone, into a file that does"
        )
    return folder / image.relative_path.with_suffix(_output_suffix(image, kind))


def _check_output_format(path: Path, kind: FileKind) -> None:
    """Refuse the name of a format that is read only."""
    if path.suffix.lower() not in kind.output_suffixes:
        raise RefusedInput(
            f"{path.suffix[1:].upper()} is read, not written: the name of {printable(path)} must end in "
            f"{_list(kind.output_suffixes)}"
        )


def _output_suffix(image: InputFile, kind: FileKind) -> str:
    """Return the suffix of an output: that of the input, or a writable one."""
    from sk_denoise.io import output_suffix

    suffix = image.relative_path.suffix
    if suffix.lower() in kind.output_suffixes:
        return suffix
    # A damaged file is reported when it is read.
    with suppress(ValueError, OSError, ImportError):
        return output_suffix(image.path)
    return ".png"


class _FileIdentity:
    """Identity of files on one disk, which may or may not exist yet."""

    def __init__(self, folder: Path) -> None:
        self.ignores_case = _ignores_case(folder)

    def key(self, path: Path) -> str:
        """Return a text that is equal for all paths of one file."""
        real_path = os.path.realpath(path)
        # Disks that ignore case also ignore how an accented letter is composed.
        return unicodedata.normalize("NFC", real_path).casefold() if self.ignores_case else real_path


def _ignores_case(folder: Path) -> bool:
    """Return whether a disk takes A.png and a.png as one file."""
    # The nearest existing folder is tried, because the output folder may not exist yet.
    place = Path(os.path.realpath(folder))
    while not path_exists(place):
        place = place.parent
    other = place.with_name(place.name.swapcase()) if place.name else place
    return other != place and path_exists(other) and other.samefile(place)


def _merge_jobs(
    jobs: Iterable[FileJob], identity: _FileIdentity, overwrite: bool
) -> tuple[list[FileJob], bool]:
    """Return the jobs without repetitions, and whether outputs replace inputs.

    Raises
    ------
    RefusedInput
        If two images have the same output, or an image would be lost.
    """
    by_target: dict[str, FileJob] = {}
    for job in jobs:
        other = by_target.setdefault(identity.key(job.target), job)
        # Path.resolve raises for a link to itself.
        if os.path.realpath(other.source) != os.path.realpath(job.source):
            raise RefusedInput(
                f"{printable(other.source)} and {printable(job.source)} would both be written to "
                f"{printable(job.target)}; denoise them into separate folders"
            )
    by_source = {identity.key(job.source): job for job in by_target.values()}
    replacements = [(job, by_source[target]) for target, job in by_target.items() if target in by_source]
    if replacements and not overwrite:
        examples = abbreviate_list([job.target for job, _ in replacements])
        raise RefusedInput(
            f"{len(replacements)} of {len(by_target)} outputs are inputs too: {examples}; give another "
            "folder, or --overwrite to replace the files by the denoised ones"
        )
    # An image may replace itself, but not another input: that one might not be read yet.
    for job, replaced in replacements:
        if identity.key(job.source) != identity.key(replaced.source):
            raise RefusedInput(
                f"{printable(job.source)} would be written to {printable(job.target)}, which is an input too "
                "and would be lost; give another folder"
            )
    return list(by_target.values()), bool(replacements)


def _refuse_folder_targets(existing: Iterable[FileJob]) -> None:
    for job in existing:
        if is_folder(job.target):
            raise RefusedInput(
                f"{printable(job.source)} would be written to {printable(job.target)}, which is a folder"
            )


# Reading images ------------------------------------------------------------------------------------------


def open_image_folder(
    folder: Path, noisy: Path | None = None, *, color: Any = "rgb", max_pixels: int
) -> ImageFolder:
    """Return the images of a folder, or its pairs with a folder of noisy images.

    Raises
    ------
    RefusedInput
        If the folder has no image, or the pairs are ambiguous.
    """
    from sk_denoise.datasets import ImageFolder

    try:
        return ImageFolder(folder, noisy=noisy, color=color, max_pixels=max_pixels)
    except ValueError as error:
        raise RefusedInput(describe_error(error)) from error


class StackImages:
    """Planes of a stack as training images; channels of data are separate images.

    Attributes
    ----------
    color : {"gray", "rgb"}
        Colour of the images.
    paths : list of Path
        File of each image, the same for all.
    """

    def __init__(self, stack: ImageStack) -> None:
        self._stack = stack
        self.color = "rgb" if stack.plane_axes == "YXS" and stack.plane_shape[-1] >= 3 else "gray"
        n_channels = 1 if stack.plane_axes == "YX" or self.color == "rgb" else stack.plane_shape[-1]
        planes = (plane for plane in range(len(stack)) if plane not in stack.missing)
        self._indices = [(plane, channel) for plane in planes for channel in range(n_channels)]
        self.paths = [stack.path] * len(self._indices)

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> NDArray[Any]:
        """Return an image of shape (height, width) or (height, width, 3)."""
        number, channel = self._indices[index]
        plane: NDArray[Any] = self._stack[number]
        if plane.ndim == 2:
            return plane
        # The fourth channel of colours is alpha.
        return plane[..., :3] if self.color == "rgb" else plane[..., channel]

    read = __getitem__


def open_training_stack(path: Path, *, color: str, max_pixels: int) -> StackImages:
    """Return the planes of a stack, or a single image.

    Raises
    ------
    RefusedInput
        If the file cannot be read, or has another colour than asked for.
    """
    from sk_denoise.io import open_stack

    try:
        images = StackImages(open_stack(path, max_pixels=max_pixels))
    except (OSError, ValueError) as error:
        raise RefusedInput(describe_error(error)) from error
    if color not in ("auto", images.color):
        raise RefusedInput(
            f"{printable(path)} holds {images.color} images, and the model or --color is {color}; leave "
            "--color out, or convert the file"
        )
    return images


def read_image_within_limit(path: Path, max_pixels: int, **options: Any) -> NDArray[Any]:
    """Read an image; refuse a larger one before it is decoded.

    Parameters
    ----------
    path : Path
        The file.
    max_pixels : int
        Largest number of pixels.
    **options
        Further arguments of :func:`sk_denoise.io.read_image`.

    Raises
    ------
    OSError, ValueError
        If the image cannot be read. Callers print the file name before the message.
    """
    from sk_denoise.io import image_size, read_image

    # read_image has the same limit; this message names the option of the command line.
    height, width = image_size(path)
    if height * width > max_pixels:
        raise ValueError(f"it has {width} x {height} pixels, more than --max-pixels {max_pixels}")
    return read_image(path, max_pixels=max_pixels, **options)


def check_min_size(image: NDArray[Any], min_side: int, method: str) -> None:
    """Check that an image is large enough for a method.

    Raises
    ------
    ValueError
        If a side is shorter than ``min_side``. Callers print the file name before the message.
    """
    if min(image.shape[:2]) < min_side:
        raise ValueError(f"it is smaller than the {min_side} x {min_side} pixels that {method} needs")


def find_intensity_range(image: NDArray[Any]) -> tuple[IntensityRange, str]:
    """Return the intensity range, and a remark if it is not that of the type."""
    from sk_denoise._intensity import IntensityRange, without_alpha

    intensity = IntensityRange.of(without_alpha(image))
    if intensity == IntensityRange.of_type(image.dtype):
        return intensity, ""
    return intensity, f"{intensity.black:g} is taken as black and {intensity.white:g} as white"
