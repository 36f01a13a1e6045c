"""Images of a folder, read from disk when they are wanted."""

from __future__ import annotations

import copy
import operator
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from numpy.random import RandomState
from numpy.typing import NDArray
from torch.utils.data import Dataset

from sk_denoise._extras import require_extra
from sk_denoise._random import root_seed, stream
from sk_denoise._validation import warn_user
from sk_denoise.datasets._checks import check_choice, check_count, check_fraction
from sk_denoise.exceptions import SkippedImageWarning, UnreadableImageError
from sk_denoise.io import IMAGE_SUFFIXES, read_image

__all__ = ["ImageFolder", "ImageCache", "check_pair", "two_parts"]

LOOKED_AT = 64  # files that tell whether a folder is gray

Image = NDArray[Any]
FolderPath = str | os.PathLike[str]


class ImageFolder(Dataset[Any]):
    """The images of a folder, as a sequence that reads a file when its image is asked for.

    Files are told by their suffix, in upper or lower case; those that are hidden (``.name``), or lie in
    a hidden folder, are left out. Images are sorted by their path within the folder, so the order is
    the same on every machine. Transparency is dropped.

    Parameters
    ----------
    folder : path-like
        Where the images lie: the clean ones, where ``noisy`` is given.
    noisy : path-like, optional
        A second folder with the noisy side of each image, under the same path without the suffix:
        ``noisy/a/1.png`` belongs to ``folder/a/1.tif``.
    color : {"rgb", "gray", "auto"}, default="rgb"
        What images are turned into. "auto" is "gray" where all files hold a single channel, beside
        transparency, and else "rgb"; of large folders it reads 64 files from all over.
    recursive : bool, default=True
        Whether folders within the folder are looked through as well, linked ones included.
    on_error : {"warn", "raise"}, default="warn"
        What happens to an image that cannot be used when patches are drawn, see :class:`RandomPatches`,
        and to a file without its other side: it is left out with a ``SkippedImageWarning``, or it is an
        error.
    cache_bytes : int, default=2**28
        Decoded images are kept in memory up to this size, the ones used last; 0 keeps none.
    max_pixels : int, default=2**28
        Larger images are refused before they are decoded.

    Attributes
    ----------
    color : {"rgb", "gray"}
        What images are turned into.
    paths : list of Path
        The files, in order.
    noisy_paths : list of Path or None
        Their noisy sides.

    Raises
    ------
    MissingExtraError
        Without the packages of the extra ``images``.
    FileNotFoundError, NotADirectoryError
        Where there is no such folder.
    ValueError
        Where it holds no image, where no noisy side is found, or where it is not clear which one.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from sk_denoise.datasets import ImageFolder
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(Path(folder) / "black.png")
    ...     images = ImageFolder(folder, color="gray")
    ...     print(len(images), images.paths[0].name, images[0].shape, images[0].dtype)
    1 black.png (20, 30) uint8
    """

    def __init__(
        self,
        folder: FolderPath,
        *,
        noisy: FolderPath | None = None,
        color: Literal["rgb", "gray", "auto"] = "rgb",
        recursive: bool = True,
        on_error: Literal["warn", "raise"] = "warn",
        cache_bytes: int = 2**28,
        max_pixels: int = 2**28,
    ) -> None:
        require_extra("ImageFolder", "images")
        self.folder = Path(folder)
        self.noisy = None if noisy is None else Path(noisy)
        check_choice(color, "color", "rgb", "gray", "auto")
        self.recursive = recursive
        self.on_error = check_choice(on_error, "on_error", "warn", "raise")
        self.cache_bytes = check_count(cache_bytes, "cache_bytes", low=0)
        self.max_pixels = check_count(max_pixels, "max_pixels")
        self.paths = _images_in(self.folder, recursive)
        self.noisy_paths: list[Path] | None = None
        if self.noisy is not None:
            self.noisy_paths, self.paths = self._matched(self.noisy)
        self.color: Literal["rgb", "gray"] = self._common_color() if color == "auto" else color
        self._cache = ImageCache(self.cache_bytes)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Image | tuple[Image, Image]:
        """Return an image, or the pair (noisy, clean), in the type of the file.

        Parameters
        ----------
        index : int
            Which one; negative numbers count from the end.

        Returns
        -------
        ndarray of shape (height, width, 3) or (height, width), or a pair of these
            Yours to change. Integers and floats as the file has them: uint8 in [0, 255], uint16 in
            [0, 65535], float32.

        Raises
        ------
        UnreadableImageError
            Where the file is broken, or where the two sides of a pair differ in size or type.
        """
        sides = self.read(index)
        return (sides[0].copy(), sides[1].copy()) if isinstance(sides, tuple) else sides.copy()

    def __repr__(self) -> str:
        beside = "" if self.noisy is None else f", noisy={str(self.noisy)!r}"
        return f"<ImageFolder({str(self.folder)!r}{beside}, color={self.color!r}) of {len(self)} images>"

    def split(
        self, fraction: float, random_state: int | RandomState | None = None
    ) -> tuple[ImageFolder, ImageFolder]:
        """Return two parts of the folder that share no file.

        Parameters
        ----------
        fraction : float
            The share of the second part, between 0 and 1; each part gets at least one file.
        random_state : int, RandomState or None, optional
            Decides which files. An integer gives the same parts every time.

        Returns
        -------
        tuple of two ImageFolder
            The larger share first for a fraction below one half. Each has a cache of its own.

        Raises
        ------
        ValueError
            Where the folder holds fewer than two images.
        """
        first, second = two_parts(range(len(self)), fraction, random_state)
        return self._part(first), self._part(second)

    def read(self, index: int) -> Image | tuple[Image, Image]:
        """Return what ``folder[index]`` returns, but shared with the cache: look, do not change it."""
        index = operator.index(index)
        clean = self._image(self.paths[index])
        if self.noisy_paths is None:
            return clean
        noisy = self._image(self.noisy_paths[index])
        problem = check_pair(noisy, clean)
        if problem:
            raise UnreadableImageError(f"{self.noisy_paths[index]} and {self.paths[index]} {problem}.")
        return noisy, clean

    def _image(self, path: Path) -> Image:
        image = self._cache.get(path)
        if image is None:
            try:
                image = read_image(path, color=self.color, alpha="drop", max_pixels=self.max_pixels)
            except OSError as error:  # gone since, or not ours to read
                raise UnreadableImageError(f"{path} cannot be read: {error}") from error
            self._cache.put(path, image)
        return image

    def _common_color(self) -> Literal["rgb", "gray"]:
        """Return what files from all over the folder have in common, without those that cannot be read."""
        paths = [*self.paths, *(self.noisy_paths or ())]
        n_read = 0
        for path in paths[:: max(1, len(paths) // LOOKED_AT)]:
            try:
                image = read_image(path, alpha="drop", max_pixels=self.max_pixels)
            except (UnreadableImageError, OSError):  # named when the patches are drawn
                continue
            if image.ndim > 2:
                return "rgb"
            n_read += 1
        return "gray" if n_read else "rgb"

    def _part(self, indexes: Sequence[int]) -> ImageFolder:
        part = copy.copy(self)
        part.paths = [self.paths[index] for index in indexes]
        if self.noisy_paths is not None:
            part.noisy_paths = [self.noisy_paths[index] for index in indexes]
        part._cache = ImageCache(self.cache_bytes)
        return part

    def _matched(self, noisy: Path) -> tuple[list[Path], list[Path]]:
        """Return the noisy and clean files that have each other."""
        noisy_files = _by_name(noisy, _images_in(noisy, self.recursive))
        clean_files = _by_name(self.folder, self.paths)
        both = [name for name in clean_files if name in noisy_files]
        if not both:
            raise ValueError(
                f"No image of {self.noisy} has the name of an image of {self.folder}. Sides belong "
                "together by their path within the folder, without the suffix."
            )
        alone = [path for name, path in clean_files.items() if name not in noisy_files]
        alone += [path for name, path in noisy_files.items() if name not in clean_files]
        if alone:
            some = ", ".join(map(str, alone[:3])) + (", ..." if len(alone) > 3 else "")
            message = f"{len(alone)} images have no other side and are left out: {some}."
            if self.on_error == "raise":
                raise ValueError(message.replace("and are left out", "in the other folder"))
            warn_user(message, SkippedImageWarning)
        return [noisy_files[name] for name in both], [clean_files[name] for name in both]


class ImageCache:
    """The images used last, up to so many bytes; for several threads. Copies of it start empty."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.n_bytes = 0
        self._images: OrderedDict[Path, Image] = OrderedDict()
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[ImageCache], tuple[int]]:
        return type(self), (self.max_bytes,)

    def __len__(self) -> int:
        return len(self._images)

    def get(self, path: Path) -> Image | None:
        """Return an image that is there, and remember that it was used."""
        with self._lock:
            if path in self._images:
                self._images.move_to_end(path)
            return self._images.get(path)

    def put(self, path: Path, image: Image) -> None:
        """Keep an image, in place of those that were not used for longest."""
        with self._lock:
            if path in self._images or image.nbytes > self.max_bytes:
                return
            while self.n_bytes + image.nbytes > self.max_bytes:
                self.n_bytes -= self._images.popitem(last=False)[1].nbytes
            self._images[path] = image
            self.n_bytes += image.nbytes


def check_pair(noisy: Image, clean: Image) -> str:
    """Return how the sides of a pair differ that must not differ; nothing where all is well."""
    if noisy.shape != clean.shape:
        return f"differ in size: {_size(noisy)} and {_size(clean)} pixels"
    if noisy.dtype.newbyteorder("=") != clean.dtype.newbyteorder("="):
        return f"differ in type: {noisy.dtype} and {clean.dtype}"
    return ""


def two_parts(
    indexes: Sequence[int], fraction: float, random_state: int | RandomState | None
) -> tuple[list[int], list[int]]:
    """Return two disjoint sorted parts of the indexes; the second has the fraction."""
    fraction = check_fraction(fraction, "fraction")
    if len(indexes) < 2:
        raise ValueError(f"There must be two images or more to split them, got {len(indexes)}.")
    n_second = min(max(1, round(fraction * len(indexes))), len(indexes) - 1)
    order = torch.randperm(len(indexes), generator=stream(root_seed(random_state), "split")).tolist()
    first, second = sorted(order[n_second:]), sorted(order[:n_second])
    return [indexes[i] for i in first], [indexes[i] for i in second]


def _size(image: Image) -> str:
    return " x ".join(map(str, image.shape))


def _images_in(folder: Path, recursive: bool) -> list[Path]:
    if not folder.exists():
        raise FileNotFoundError(f"There is no folder {str(folder)!r}.")
    if not folder.is_dir():
        raise NotADirectoryError(f"{str(folder)!r} is a file, a folder was expected.")
    found = [path for path in _files(folder, recursive) if path.suffix.lower() in IMAGE_SUFFIXES]
    if not found:
        suffixes = ", ".join(sorted(IMAGE_SUFFIXES))
        raise ValueError(f"The folder {str(folder)!r} holds no image: no file that ends in {suffixes}.")
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def _files(folder: Path, recursive: bool) -> Iterator[Path]:
    seen: set[Path] = set()
    for place, folders, files in os.walk(folder, onerror=_raise, followlinks=True):
        here = Path(place).resolve()
        if here in seen:  # a link that leads back
            folders.clear()
            continue
        seen.add(here)
        folders[:] = sorted(name for name in folders if not name.startswith(".")) if recursive else []
        yield from (Path(place, name) for name in files if not name.startswith("."))


def _raise(error: OSError) -> None:
    raise error  # os.walk would pass over a folder that it may not read


def _by_name(folder: Path, paths: list[Path]) -> dict[str, Path]:
    named: dict[str, Path] = {}
    for path in paths:
        other = named.setdefault(path.relative_to(folder).with_suffix("").as_posix(), path)
        if other != path:
            raise ValueError(f"{other} and {path} have one name but for the suffix: which one is meant?")
    return named
