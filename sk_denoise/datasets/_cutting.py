"""Pieces of drawing patches: cutting, checking, mixing, and who does it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sk_denoise._intensity import IntensityRange
from sk_denoise.datasets._folder import check_pair

__all__ = [
    "Block",
    "Kind",
    "Pool",
    "Sides",
    "by",
    "cut",
    "executor_of",
    "is_finite",
    "joined",
    "random_corners",
]

BLOCK_ENTRIES = 2**22  # handed out at once: 16 MB in single precision

Image = NDArray[Any]
Sides = tuple[Image, ...]
Block = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Kind:
    """What all images of a source have in common, and what becomes of their patches.

    Attributes
    ----------
    patch_size : tuple of two int
        Height and width.
    channels : tuple of int
        The axes of an image after height and width.
    dtype : dtype
        The type of the first image.
    n_sides : int
        1 for images, 2 for pairs.
    normalize : bool
        Whether integers are brought to [0, 1].
    deep : IntensityRange or None
        Black and white of integers of 16 bits; None is the range of their type.
    """

    patch_size: tuple[int, int]
    channels: tuple[int, ...]
    dtype: np.dtype[Any]
    n_sides: int
    normalize: bool
    deep: IntensityRange | None = None

    @property
    def n_entries(self) -> int:
        """Entries of a patch, both sides counted."""
        return math.prod((*self.patch_size, *self.channels)) * self.n_sides

    @property
    def block_length(self) -> int:
        """How many patches are handed out at once."""
        return max(1, BLOCK_ENTRIES * self.n_sides // self.n_entries)

    def problem_of(self, sides: Sides) -> str:
        """Return why an image or pair cannot be used; nothing where it can."""
        first = sides[0]
        if len(sides) != self.n_sides:
            return f"is {_kind_of_item(len(sides))}, the first one is {_kind_of_item(self.n_sides)}"
        if len(sides) == 2 and (problem := check_pair(*sides)):
            return f"is a pair whose sides {problem}"
        if first.shape[2:] != self.channels:
            return f"has {_channels(first.shape[2:])}, the first one has {_channels(self.channels)}"
        if first.shape[0] < self.patch_size[0] or first.shape[1] < self.patch_size[1]:
            return f"is {by(first.shape[:2])} and thus smaller than the patches, {by(self.patch_size)}"
        if not self.normalize and first.dtype.newbyteorder("=") != self.dtype.newbyteorder("="):
            return f"is of type {first.dtype}, the first one of {self.dtype}: without normalize, units differ"
        if self.normalize and first.dtype.kind in "ui" and first.dtype.itemsize > 2:
            raise ValueError(
                f"Images of {first.dtype} cannot be normalized, because their range is not known: turn "
                "them into uint8, uint16 or floats in [0, 1], or pass normalize=False."
            )
        return ""

    def block(self, sides: Sides) -> Block:
        """Return patches as tensors, in single precision and the unit that is wanted."""
        convert = self.to_unit if self.normalize else _as_single
        tensors = [torch.from_numpy(convert(side)) for side in sides]
        return tensors[0], tensors[-1]

    def to_unit(self, patches: Image) -> Image:
        """Return integers with black at 0 and white at 1, floats as they are; single precision."""
        if patches.dtype.kind not in "ui":
            return _as_single(patches)
        is_deep = self.deep is not None and patches.dtype.itemsize == 2
        intensity = self.deep if is_deep else IntensityRange.of_type(patches.dtype)
        assert intensity is not None
        return intensity.to_unit(patches)


@dataclass
class Pool:
    """Patches that wait to be mixed with each other, in the type of their images."""

    kind: Kind
    n_bytes: int = 0
    n_images: int = 0
    parts: list[Sides] = field(default_factory=list)

    def add(self, patches: Sides) -> None:
        """Add the patches of an image."""
        self.parts.append(patches)
        self.n_bytes += sum(side.nbytes for side in patches)
        self.n_images += 1

    def take(self, generator: torch.Generator, length: int, *, keep: bool) -> Iterator[Sides]:
        """Yield patches in random order; half of them stay where others will come to be mixed with."""
        sides = tuple(joined(side, self.kind) for side in zip(*self.parts, strict=True))
        order = torch.randperm(len(sides[0]), generator=generator).numpy()
        n_kept = len(order) // 2 if keep else 0
        self.parts, self.n_bytes, n_images = [], 0, self.n_images
        if n_kept:
            self.add(tuple(side[order[:n_kept]] for side in sides))
        self.n_images = n_images // 2 if keep else 0
        for first in range(n_kept, len(order), length):
            yield tuple(side[order[first : first + length]] for side in sides)


class _ThisThread(Executor):
    """An executor that does at once what it is asked for."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # told when the result is asked for, as threads do
            future.set_exception(error)
        return future


class _Threads(ThreadPoolExecutor):
    """Threads that end with the block of code they work for, and leave undone what waits."""

    def __exit__(self, *exception: object) -> None:
        self.shutdown(wait=True, cancel_futures=True)


def executor_of(n_workers: int) -> Executor:
    """Return so many threads; none where the work is done by who asks for it."""
    return _Threads(n_workers, thread_name_prefix="sk_denoise-images") if n_workers else _ThisThread()


def random_corners(
    image: Image, size: tuple[int, int], count: int, generator: torch.Generator
) -> list[tuple[int, int]]:
    """Return the upper left corners of random patches; all places are equally likely."""
    rows, columns = (
        torch.randint(side - length + 1, (count,), generator=generator).tolist()
        for side, length in zip(image.shape[:2], size, strict=True)
    )
    return list(zip(rows, columns, strict=True))


def cut(image: Image, size: tuple[int, int], corners: Sequence[tuple[int, int]]) -> Image:
    """Return the patches at the corners, of shape (n, height, width[, channels])."""
    dtype = image.dtype.newbyteorder("=")
    patches = np.empty((len(corners), *size, *image.shape[2:]), dtype)
    for patch, (row, column) in zip(patches, corners, strict=True):
        patch[...] = image[row : row + size[0], column : column + size[1]]
    return patches


def joined(parts: Sequence[Image], kind: Kind) -> Image:
    """Return patches of several images in one array; integers of different types as their share of 1."""
    if len({part.dtype for part in parts}) == 1:
        return np.concatenate(parts)
    return np.concatenate([kind.to_unit(part) for part in parts])


def _as_single(patches: Image) -> Image:
    return patches.astype(np.float32, copy=False)


def is_finite(array: Image) -> bool:
    """Return whether there is no NaN and no infinity."""
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())


def by(sides: Sequence[int]) -> str:
    """Return sizes as words."""
    return " x ".join(map(str, sides))


def _channels(axes: tuple[int, ...]) -> str:
    return f"{axes[0]} channels" if axes else "no axis of channels"


def _kind_of_item(n_sides: int) -> str:
    return "a pair" if n_sides == 2 else "a single image"
