"""Images to patches of one size, and back."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import NDArray
from torch import Tensor

from sk_denoise._intensity import IntensityRange
from sk_denoise._random import root_seed, stream
from sk_denoise.datasets._checks import as_image, as_sides, check_count, check_two_counts
from sk_denoise.datasets._folder import check_pair
from sk_denoise.datasets._sources import SizedSource, as_source

__all__ = [
    "Block",
    "Kind",
    "Pool",
    "Sides",
    "by",
    "cut",
    "executor_of",
    "extract_patches",
    "is_finite",
    "join_patches",
    "joined",
    "random_corners",
]

Image = NDArray[Any]
Corners = list[tuple[int, int]]


def extract_patches(
    images: Any,
    patch_size: int | tuple[int, int],
    *,
    stride: int | tuple[int, int] | None = None,
    n_per_image: int | None = None,
    random_state: int | RandomState | None = None,
) -> Image:
    """Cut images into patches of one size: all over them, or from random places.

    All patches are returned at once. For data that do not fit in memory, see :class:`RandomPatches`.

    Parameters
    ----------
    images : stack, list, ImageFolder or path of a folder
        A stack of shape (n, height, width[, channels]), or images of any sizes with the same channels
        and type. Arrays are (height, width[, channels]), tensors ([channels,] height, width).
    patch_size : int or tuple of two int
        Height and width of a patch in pixels.
    stride : int or tuple of two int, optional
        Pixels from one patch to the next, down and across, at most the size of a patch. By default patches
        lie side by side. The last ones are moved inward where they would leave the image, so that all
        of it is covered.
    n_per_image : int, optional
        How many patches are cut from random places of each image, in place of a grid.
    random_state : int, RandomState or None, optional
        Decides on these places.

    Returns
    -------
    ndarray of shape (n_patches, height, width[, channels])
        In the type of the images, image by image, and in a grid row by row.

    Raises
    ------
    TypeError, ValueError
        Where a parameter is out of range or given beside one that excludes it, and where an image is
        smaller than a patch or has other channels or another type than the first one.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_denoise.datasets import extract_patches
    >>> image = np.arange(5 * 6).reshape(5, 6)
    >>> extract_patches([image], (2, 3)).shape
    (6, 2, 3)
    >>> extract_patches([image], (2, 3), n_per_image=10, random_state=0).shape
    (10, 2, 3)
    """
    size = check_two_counts(patch_size, "patch_size")
    if n_per_image is not None:
        if stride is not None:
            raise ValueError("Give stride for a grid of patches or n_per_image for random ones, not both.")
        check_count(n_per_image, "n_per_image")
    steps = _steps(stride, size)
    source, generator = as_source(images), stream(root_seed(random_state), "patches")
    if not isinstance(source, SizedSource):
        raise TypeError("Images must have a length: a stack, a list or an ImageFolder. See RandomPatches.")
    parts: list[Image] = []
    for index in source.indexes:
        sides = as_sides(source.fetch(index), source.name(index))
        problem = _problem_of(sides, parts[0] if parts else None, size)
        if problem:
            raise ValueError(f"{source.name(index)} {problem}.")
        parts.append(cut(sides[0], size, _corners(sides[0], size, steps, n_per_image, generator)))
    return np.concatenate(parts)


def join_patches(
    patches: Any,
    image_shape: tuple[int, ...],
    *,
    stride: int | tuple[int, int] | None = None,
) -> Image:
    """Put the patches of one image together again, as :func:`extract_patches` cut them with a stride.

    Where patches overlap they are averaged, and a patch counts the less the nearer the place is to its
    edge, so that patches that were denoised one by one show no seams.

    Parameters
    ----------
    patches : array-like of shape (n_patches, height, width[, channels])
        The patches in the order in which they were cut.
    image_shape : tuple of int
        Shape of the image: (height, width[, channels]).
    stride : int or tuple of two int, optional
        What they were cut with; by default the size of a patch.

    Returns
    -------
    ndarray of shape image_shape
        In the type of the patches; integers are rounded.

    Raises
    ------
    ValueError
        Where these patches are not those of such an image.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_denoise.datasets import extract_patches, join_patches
    >>> image = np.arange(5 * 6).reshape(5, 6)
    >>> patches = extract_patches([image], 3, stride=2)
    >>> np.array_equal(join_patches(patches, image.shape, stride=2), image)
    True
    """
    patches, shape = np.asarray(patches), tuple(image_shape)
    if patches.ndim not in (3, 4) or patches.ndim != len(shape) + 1 or patches.shape[3:] != shape[2:]:
        raise ValueError(
            "Patches of shape (n_patches, height, width[, channels]) and an image of shape "
            f"(height, width[, channels]) were expected, got {patches.shape} and {shape}."
        )
    size = check_two_counts(patches.shape[1:3], "the size of a patch")
    steps = _steps(stride, size)
    corners = _grid(check_two_counts(shape[:2], "image_shape"), size, steps)
    if len(corners) != len(patches):
        raise ValueError(
            f"An image of {by(shape[:2])} has {len(corners)} patches of {by(size)} with a stride of "
            f"{by(steps)}, got {len(patches)}."
        )
    weights = _weights(size).reshape(*size, *(1,) * (patches.ndim - 3))
    total, weight = np.zeros(shape), np.zeros((*shape[:2], *weights.shape[2:]))
    for patch, (row, column) in zip(patches, corners, strict=True):
        place = np.s_[row : row + size[0], column : column + size[1]]
        total[place] += patch * weights
        weight[place] += weights
    total /= weight
    return (total if patches.dtype.kind == "f" else np.rint(total)).astype(patches.dtype)


def _steps(stride: Any, size: tuple[int, int]) -> tuple[int, int]:
    steps = size if stride is None else check_two_counts(stride, "stride")
    if steps[0] > size[0] or steps[1] > size[1]:
        raise ValueError(
            f"stride must be at most the patch_size {size}, or places are left out; got {stride!r}."
        )
    return steps


def _corners(
    image: Image,
    size: tuple[int, int],
    steps: tuple[int, int],
    n_random: int | None,
    generator: torch.Generator,
) -> Corners:
    if n_random is None:
        return _grid(image.shape[:2], size, steps)
    return random_corners(image, size, n_random, generator)


def _grid(shape: tuple[int, ...], size: tuple[int, int], steps: tuple[int, int]) -> Corners:
    if shape[0] < size[0] or shape[1] < size[1]:
        raise ValueError(f"An image of {by(shape)} is smaller than a patch of {by(size)}.")
    rows, columns = (
        [*range(0, side - length, step), side - length]  # the last one ends where the image ends
        for side, length, step in zip(shape, size, steps, strict=True)
    )
    return [(row, column) for row in rows for column in columns]


def _weights(size: tuple[int, int]) -> NDArray[np.float64]:
    """Return what each pixel of a patch counts: the more the farther it is from the edges, never nothing."""
    rows, columns = (np.minimum(np.arange(1, n + 1), np.arange(n, 0, -1)) for n in size)
    return np.outer(rows, columns).astype(np.float64)


def _problem_of(sides: tuple[Image, ...], like: Image | None, size: tuple[int, int]) -> str:
    image = as_image(sides[0])
    if len(sides) == 2:
        return "is a pair: cut the noisy and the clean side one by one"
    if image.shape[0] < size[0] or image.shape[1] < size[1]:
        return f"is {by(image.shape[:2])} and thus smaller than the patches, {by(size)}"
    if like is not None and image.shape[2:] != like.shape[3:]:
        return f"has the channels {image.shape[2:]}, the first one has {like.shape[3:]}"
    if like is not None and image.dtype.newbyteorder("=") != like.dtype:
        return f"is of type {image.dtype}, the first one of {like.dtype}"
    return ""


BLOCK_ENTRIES = 2**22  # handed out at once: 16 MB in single precision

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
