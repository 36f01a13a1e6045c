"""Data set of the images in a folder, read from disk on access."""

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

from sk_denoise._package import require_extra
from sk_denoise._random import root_seed, stream
from sk_denoise._validation import check_choice, check_fraction, check_integer, warn_user
from sk_denoise.exceptions import SkippedImageWarning, UnreadableImageError
from sk_denoise.io import IMAGE_SUFFIXES, read_image

__all__ = ["ImageCache", "ImageFolder", "describe_mismatch", "split_indexes"]

# Number of files that are read to find out whether a folder is gray.
N_COLOR_SAMPLES = 64

Image = NDArray[Any]
FolderPath = str | os.PathLike[str]


class ImageFolder(Dataset[Any]):
    """Data set of the images in a folder, which are read from disk on access.

    Images are found by the suffix of their files, in upper or lower case. Hidden files (``.name``) and hidden
    folders are skipped. Images are sorted by their path in the folder, so the order is the same on every
    machine. Transparency is dropped.

    Parameters
    ----------
    folder : path-like
        Folder of the images: of the clean ones, if ``noisy`` is given.
    noisy : path-like, optional
        Second folder with the noisy side of each image, under the same path without the suffix:
        ``noisy/a/1.png`` belongs to ``folder/a/1.tif``.
    color : {"rgb", "gray", "auto"}, default="rgb"
        Colour that images are converted to. "auto" is "gray" if all files have a single channel besides
        transparency, else "rgb". In a large folder it reads 64 files from all over.
    recursive : bool, default=True
        Whether to search subfolders as well, including linked ones.
    on_error : {"warn", "raise"}, default="warn"
        Treatment of images that cannot be used when patches are drawn, see :class:`RandomPatches`, and of
        files without the other side of their pair. "warn" skips them with a ``SkippedImageWarning``, "raise"
        raises an error.
    cache_bytes : int, default=2**28
        Memory for decoded images, of which those used last are kept. 0 keeps none.
    max_pixels : int, default=2**28
        Largest number of pixels of an image. Larger ones are refused before they are decoded.

    Attributes
    ----------
    color : {"rgb", "gray"}
        Colour that images are converted to.
    paths : list of Path
        Files of the images, in order.
    noisy_paths : list of Path or None
        Files of the noisy sides.

    Raises
    ------
    MissingExtraError
        If the packages of the extra ``images`` are missing.
    FileNotFoundError, NotADirectoryError
        If there is no such folder.
    ValueError
        If the folder holds no image, or if noisy sides are missing or ambiguous.

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
        self.cache_bytes = check_integer(cache_bytes, "cache_bytes", low=0)
        self.max_pixels = check_integer(max_pixels, "max_pixels")
        self.paths = _find_images(self.folder, recursive)
        self.noisy_paths: list[Path] | None = None
        if self.noisy is not None:
            self.noisy_paths, self.paths = self._match_sides(self.noisy)
        self.color: Literal["rgb", "gray"] = self._detect_color() if color == "auto" else color
        self._cache = ImageCache(self.cache_bytes)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Image | tuple[Image, Image]:
        """Return an image, or the pair (noisy, clean), in the type of the file.

        Parameters
        ----------
        index : int
            Index of the image; negative numbers count from the end.

        Returns
        -------
        ndarray of shape (height, width, 3) or (height, width), or a pair of these
            A new array in the type of the file: uint8 in [0, 255], uint16 in [0, 65535], or float32.

        Raises
        ------
        UnreadableImageError
            If the file is damaged, or if the two sides of a pair differ in size or type.
        """
        # The arrays of the cache must not change.
        sides = self.read(index)
        return (sides[0].copy(), sides[1].copy()) if isinstance(sides, tuple) else sides.copy()

    def __repr__(self) -> str:
        noisy = "" if self.noisy is None else f", noisy={str(self.noisy)!r}"
        return f"<ImageFolder({str(self.folder)!r}{noisy}, color={self.color!r}) of {len(self)} images>"

    def split(
        self, fraction: float, random_state: int | RandomState | None = None
    ) -> tuple[ImageFolder, ImageFolder]:
        """Split the folder into two parts without a common file.

        Parameters
        ----------
        fraction : float
            Share of the second part, between 0 and 1. Each part gets at least one file.
        random_state : int, RandomState or None, optional
            Seed of the split. An integer gives the same parts every time.

        Returns
        -------
        tuple of two ImageFolder
            The parts, the second one with the share of ``fraction``. Each has its own cache.

        Raises
        ------
        ValueError
            If the folder holds fewer than two images.
        """
        first, second = split_indexes(range(len(self)), fraction, random_state)
        return self._part(first), self._part(second)

    def read(self, index: int) -> Image | tuple[Image, Image]:
        """Return ``folder[index]`` without a copy: do not change it."""
        index = operator.index(index)
        clean = self._read_file(self.paths[index])
        if self.noisy_paths is None:
            return clean
        noisy = self._read_file(self.noisy_paths[index])
        mismatch = describe_mismatch(noisy, clean)
        if mismatch:
            raise UnreadableImageError(f"{self.noisy_paths[index]} and {self.paths[index]} {mismatch}.")
        return noisy, clean

    def _read_file(self, path: Path) -> Image:
        image = self._cache.get(path)
        if image is None:
            try:
                image = read_image(path, color=self.color, alpha="drop", max_pixels=self.max_pixels)
            # The file was removed since, or its permissions forbid reading.
            except OSError as error:
                raise UnreadableImageError(f"{path} cannot be read: {error}") from error
            self._cache.put(path, image)
        return image

    def _detect_color(self) -> Literal["rgb", "gray"]:
        """Return "gray" if all readable files of a sample are gray, else "rgb"."""
        paths = [*self.paths, *(self.noisy_paths or ())]
        n_read = 0
        for path in paths[:: max(1, len(paths) // N_COLOR_SAMPLES)]:
            try:
                image = read_image(path, alpha="drop", max_pixels=self.max_pixels)
            # The message follows when patches are drawn.
            except (UnreadableImageError, OSError):
                continue
            if image.ndim > 2:
                return "rgb"
            n_read += 1
        return "gray" if n_read else "rgb"

    def _part(self, indexes: Sequence[int]) -> ImageFolder:
        # A part needs no new search of the folder, which may take long.
        part = copy.copy(self)
        part.paths = [self.paths[index] for index in indexes]
        if self.noisy_paths is not None:
            part.noisy_paths = [self.noisy_paths[index] for index in indexes]
        part._cache = ImageCache(self.cache_bytes)
        return part

    def _match_sides(self, noisy: Path) -> tuple[list[Path], list[Path]]:
        """Return the noisy and clean files of all complete pairs."""
        noisy_files = _index_by_name(noisy, _find_images(noisy, self.recursive))
        clean_files = _index_by_name(self.folder, self.paths)
        paired = [name for name in clean_files if name in noisy_files]
        if not paired:
            raise ValueError(
                f"No image of {self.noisy} has the name of an image of {self.folder}. Sides belong "
                "together by their path within the folder, without the suffix."
            )
        unpaired = [path for name, path in clean_files.items() if name not in noisy_files]
        unpaired += [path for name, path in noisy_files.items() if name not in clean_files]
        if unpaired:
            examples = ", ".join(map(str, unpaired[:3])) + (", ..." if len(unpaired) > 3 else "")
            message = f"{len(unpaired)} images have no other side and are left out: {examples}."
            if self.on_error == "raise":
                raise ValueError(message.replace("and are left out", "in the other folder"))
            warn_user(message, SkippedImageWarning)
        return [noisy_files[name] for name in paired], [clean_files[name] for name in paired]


class ImageCache:
    """Thread-safe cache of the images used last, up to a number of bytes.

    Copies and pickles start empty.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.n_bytes = 0
        self._images: OrderedDict[Path, Image] = OrderedDict()
        self._lock = threading.Lock()

    # A lock cannot be pickled, and images would make pickles for worker processes large.
    def __reduce__(self) -> tuple[type[ImageCache], tuple[int]]:
        return type(self), (self.max_bytes,)

    def __len__(self) -> int:
        return len(self._images)

    def get(self, path: Path) -> Image | None:
        """Return a cached image and mark it as used, or return None."""
        with self._lock:
            if path in self._images:
                self._images.move_to_end(path)
            return self._images.get(path)

    def put(self, path: Path, image: Image) -> None:
        """Add an image, and remove the least recently used ones to make room."""
        with self._lock:
            # Another thread may have added the same image.
            if path in self._images or image.nbytes > self.max_bytes:
                return
            while self.n_bytes + image.nbytes > self.max_bytes:
                self.n_bytes -= self._images.popitem(last=False)[1].nbytes
            self._images[path] = image
            self.n_bytes += image.nbytes


def describe_mismatch(noisy: Image, clean: Image) -> str:
    """Return the difference in size or type of a pair, or an empty string."""
    if noisy.shape != clean.shape:
        return f"differ in size: {_format_shape(noisy)} and {_format_shape(clean)} pixels"
    if noisy.dtype.newbyteorder("=") != clean.dtype.newbyteorder("="):
        return f"differ in type: {noisy.dtype} and {clean.dtype}"
    return ""


def split_indexes(
    indexes: Sequence[int], fraction: float, random_state: int | RandomState | None
) -> tuple[list[int], list[int]]:
    """Split indexes into two sorted parts; the second one has the fraction."""
    fraction = check_fraction(fraction, "fraction")
    if len(indexes) < 2:
        raise ValueError(f"There must be two images or more to split them, got {len(indexes)}.")
    # Each part gets at least one image.
    n_second = min(max(1, round(fraction * len(indexes))), len(indexes) - 1)
    order = torch.randperm(len(indexes), generator=stream(root_seed(random_state), "split")).tolist()
    first, second = sorted(order[n_second:]), sorted(order[:n_second])
    return [indexes[i] for i in first], [indexes[i] for i in second]


def _format_shape(image: Image) -> str:
    return " x ".join(map(str, image.shape))


def _find_images(folder: Path, recursive: bool) -> list[Path]:
    if not folder.exists():
        raise FileNotFoundError(f"There is no folder {str(folder)!r}.")
    if not folder.is_dir():
        raise NotADirectoryError(f"{str(folder)!r} is a file, a folder was expected.")
    images = [path for path in _visible_files(folder, recursive) if path.suffix.lower() in IMAGE_SUFFIXES]
    if not images:
        suffixes = ", ".join(sorted(IMAGE_SUFFIXES))
        raise ValueError(f"The folder {str(folder)!r} holds no image: no file that ends in {suffixes}.")
    return sorted(images, key=lambda path: path.relative_to(folder).as_posix())


def _visible_files(folder: Path, recursive: bool) -> Iterator[Path]:
    visited: set[Path] = set()
    # Without onerror, os.walk would skip a folder that cannot be read.
    for parent, folders, files in os.walk(folder, onerror=_raise, followlinks=True):
        resolved = Path(parent).resolve()
        # A link leads back to a parent folder.
        if resolved in visited:
            folders.clear()
            continue
        visited.add(resolved)
        folders[:] = sorted(name for name in folders if not name.startswith(".")) if recursive else []
        yield from (Path(parent, name) for name in files if not name.startswith("."))


def _raise(error: OSError) -> None:
    raise error


def _index_by_name(folder: Path, paths: list[Path]) -> dict[str, Path]:
    by_name: dict[str, Path] = {}
    for path in paths:
        other = by_name.setdefault(path.relative_to(folder).with_suffix("").as_posix(), path)
        if other != path:
            raise ValueError(f"{other} and {path} have the same name without the suffix. Rename one.")
    return by_name
