"""Where each image goes, known and checked before any work."""

from __future__ import annotations

import mimetypes
import os
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sk_denoise.cli._console import Refusal, shown, some_of
from sk_denoise.cli._inputs import SUFFIXES, Found, find_images, is_image_name
from sk_denoise.cli._places import is_folder, is_there

__all__ = ["Job", "Plan", "plan_jobs"]


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
        raise Refusal(f"{shown(output)} is a file, and its name ends in none of {SUFFIXES}; give a folder")
    kind = mimetypes.guess_type(path.name)[0] or ""
    if kind.startswith("image/"):
        raise Refusal(f"{shown(output)} cannot be written, only what ends in {SUFFIXES}")
    return False


def _in_folder(found: Found, folder: Path) -> Path:
    if not is_image_name(found.place):
        raise Refusal(
            f"the name of {shown(found.path)} says no format to write: it ends in none of {SUFFIXES}; "
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
