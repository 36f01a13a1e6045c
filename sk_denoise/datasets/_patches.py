"""Patches of images: cutting, joining and mixing."""

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
from sk_denoise._validation import check_height_and_width, check_integer, refuse_masked
from sk_denoise.datasets._folder import describe_mismatch
from sk_denoise.datasets._sources import Sides, SizedSource, as_image, as_sides, as_source

__all__ = [
    "Block",
    "PatchLayout",
    "PatchPool",
    "concatenate_patches",
    "create_executor",
    "cut_patches",
    "draw_corners",
    "extract_patches",
    "format_size",
    "is_finite",
    "join_patches",
]

# Entries of a block of patches: 16 MB in single precision.
BLOCK_ENTRIES = 2**22

Image = NDArray[Any]
Corners = list[tuple[int, int]]
# Inputs and targets of a number of patches.
Block = tuple[Tensor, Tensor]


def extract_patches(
    images: Any,
    patch_size: int | tuple[int, int],
    *,
    stride: int | tuple[int, int] | None = None,
    n_per_image: int | None = None,
    random_state: int | RandomState | None = None,
) -> Image:
    """Cut images into patches of one size, on a grid or at random places.

    All patches are returned at once. For data that do not fit in memory, see :class:`RandomPatches`.

    Parameters
    ----------
    images : stack, list, ImageFolder or path of a folder
        A stack of shape (n, height, width[, channels]), or images of any sizes with the same channels
        and type. Arrays are (height, width[, channels]), tensors ([channels,] height, width).
    patch_size : int or tuple of two int
        Height and width of a patch in pixels.
    stride : int or tuple of two int, optional
        Vertical and horizontal distance between patches in pixels, at most the size of a patch. By default
        patches are adjacent. The last patches of a row or column are moved inward if they would leave the
        image, so that patches cover all of it.
    n_per_image : int, optional
        Number of patches at random places of each image, in place of a grid.
    random_state : int, RandomState or None, optional
        Seed of the random places.

    Returns
    -------
    ndarray of shape (n_patches, height, width[, channels])
        Patches in the type of the images, image by image, those of a grid row by row.

    Raises
    ------
    TypeError, ValueError
        If a parameter is out of range or excluded by another one, or if an image is smaller than a patch or
        differs from the first one in channels or type.

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
    size = check_height_and_width(patch_size, "patch_size")
    if n_per_image is not None:
        if stride is not None:
            raise ValueError("Give stride for a grid of patches or n_per_image for random ones, not both.")
        check_integer(n_per_image, "n_per_image")
    steps = _check_stride(stride, size)
    source, generator = as_source(images), stream(root_seed(random_state), "patches")
    if not isinstance(source, SizedSource):
        raise TypeError("Images must have a length: a stack, a list or an ImageFolder. See RandomPatches.")
    # Images may have different sizes, so the number of patches is unknown before.
    parts: list[Image] = []
    for index in source.indexes:
        sides = as_sides(source.fetch(index), source.name(index))
        problem = _find_problem(sides, parts[0] if parts else None, size)
        if problem:
            raise ValueError(f"{source.name(index)} {problem}.")
        if n_per_image is None:
            corners = _grid_corners(sides[0].shape[:2], size, steps)
        else:
            corners = draw_corners(sides[0], size, n_per_image, generator)
        parts.append(cut_patches(sides[0], size, corners))
    return np.concatenate(parts)


def join_patches(
    patches: Any,
    image_shape: tuple[int, ...],
    *,
    stride: int | tuple[int, int] | None = None,
) -> Image:
    """Join the patches of a grid to an image, the inverse of :func:`extract_patches`.

    Overlapping patches are averaged with weights that decrease towards the edge of a patch, so that patches
    show no seams after denoising.

    Parameters
    ----------
    patches : array-like of shape (n_patches, height, width[, channels])
        Patches of one image in the order of :func:`extract_patches`.
    image_shape : tuple of int
        Shape of the image: (height, width[, channels]).
    stride : int or tuple of two int, optional
        Stride of the grid; by default the size of a patch.

    Returns
    -------
    ndarray of shape image_shape
        Image in the type of the patches; integers are rounded.

    Raises
    ------
    ValueError
        If an image of this shape has other patches.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_denoise.datasets import extract_patches, join_patches
    >>> image = np.arange(5 * 6).reshape(5, 6)
    >>> patches = extract_patches([image], 3, stride=2)
    >>> np.array_equal(join_patches(patches, image.shape, stride=2), image)
    True
    """
    refuse_masked(patches, "patches")
    patches, shape = np.asarray(patches), tuple(image_shape)
    if patches.ndim not in (3, 4) or patches.ndim != len(shape) + 1 or patches.shape[3:] != shape[2:]:
        raise ValueError(
            "Patches of shape (n_patches, height, width[, channels]) and an image of shape "
            f"(height, width[, channels]) were expected, got {patches.shape} and {shape}."
        )
    size = check_height_and_width(patches.shape[1:3], "the size of a patch")
    steps = _check_stride(stride, size)
    corners = _grid_corners(check_height_and_width(shape[:2], "image_shape"), size, steps)
    if len(corners) != len(patches):
        raise ValueError(
            f"An image of {format_size(shape[:2])} has {len(corners)} patches of {format_size(size)} with a "
            f"stride of {format_size(steps)}, got {len(patches)}."
        )
    weights = _pixel_weights(size).reshape(*size, *(1,) * (patches.ndim - 3))
    total, total_weight = np.zeros(shape), np.zeros((*shape[:2], *weights.shape[2:]))
    for patch, (row, column) in zip(patches, corners, strict=True):
        place = np.s_[row : row + size[0], column : column + size[1]]
        total[place] += patch * weights
        total_weight[place] += weights
    total /= total_weight
    return (total if patches.dtype.kind == "f" else np.rint(total)).astype(patches.dtype)


def _check_stride(stride: Any, size: tuple[int, int]) -> tuple[int, int]:
    steps = size if stride is None else check_height_and_width(stride, "stride")
    if steps[0] > size[0] or steps[1] > size[1]:
        raise ValueError(
            f"stride must be at most the patch_size {size}, or patches leave gaps; got {stride!r}."
        )
    return steps


def _grid_corners(shape: tuple[int, ...], size: tuple[int, int], steps: tuple[int, int]) -> Corners:
    if shape[0] < size[0] or shape[1] < size[1]:
        raise ValueError(f"An image of {format_size(shape)} is smaller than a patch of {format_size(size)}.")
    # The last patch of a row or column ends at the edge of the image.
    rows, columns = (
        [*range(0, side - length, step), side - length]
        for side, length, step in zip(shape, size, steps, strict=True)
    )
    return [(row, column) for row in rows for column in columns]


def _pixel_weights(size: tuple[int, int]) -> NDArray[np.float64]:
    """Return weights of pixels that increase with the distance to the edges."""
    # They start at 1: pixels at the edge of an image belong to a single patch.
    rows, columns = (np.minimum(np.arange(1, n + 1), np.arange(n, 0, -1)) for n in size)
    return np.outer(rows, columns).astype(np.float64)


def _find_problem(sides: Sides, first_patches: Image | None, size: tuple[int, int]) -> str:
    image = as_image(sides[0])
    if len(sides) == 2:
        return "is a pair: cut the noisy and the clean side separately"
    if image.shape[0] < size[0] or image.shape[1] < size[1]:
        return f"is {format_size(image.shape[:2])} and thus smaller than the patches, {format_size(size)}"
    if first_patches is None:
        return ""
    if image.shape[2:] != first_patches.shape[3:]:
        return f"has the channels {image.shape[2:]}, the first one has {first_patches.shape[3:]}"
    if image.dtype.newbyteorder("=") != first_patches.dtype:
        return f"is of type {image.dtype}, the first one of {first_patches.dtype}"
    return ""


@dataclass(frozen=True)
class PatchLayout:
    """Common layout of the images of a source, and of the patches cut from them.

    Attributes
    ----------
    patch_size : tuple of two int
        Height and width of a patch.
    channels : tuple of int
        Axes of an image after height and width.
    dtype : dtype
        Type of the first image.
    n_sides : int
        1 for images, 2 for pairs.
    normalize : bool
        Whether integers are scaled to [0, 1].
    depth_range : IntensityRange or None
        Black and white of integers of 16 bits. None is the range of their type.
    """

    patch_size: tuple[int, int]
    channels: tuple[int, ...]
    dtype: np.dtype[Any]
    n_sides: int
    normalize: bool
    depth_range: IntensityRange | None = None

    @property
    def n_entries(self) -> int:
        """Number of entries of a patch, of both sides together."""
        return math.prod((*self.patch_size, *self.channels)) * self.n_sides

    @property
    def block_length(self) -> int:
        """Number of patches in a block."""
        return max(1, BLOCK_ENTRIES * self.n_sides // self.n_entries)

    def find_problem(self, sides: Sides) -> str:
        """Return the reason why an image or pair cannot be used, or an empty string."""
        first = sides[0]
        if len(sides) != self.n_sides:
            return f"is {_describe_item(len(sides))}, the first one is {_describe_item(self.n_sides)}"
        if len(sides) == 2 and (mismatch := describe_mismatch(*sides)):
            return f"is a pair whose sides {mismatch}"
        if first.shape[2:] != self.channels:
            channels, expected = _describe_channels(first.shape[2:]), _describe_channels(self.channels)
            return f"has {channels}, the first one has {expected}"
        if first.shape[0] < self.patch_size[0] or first.shape[1] < self.patch_size[1]:
            size, patch_size = format_size(first.shape[:2]), format_size(self.patch_size)
            return f"is {size} and thus smaller than the patches, {patch_size}"
        if not self.normalize and first.dtype.newbyteorder("=") != self.dtype.newbyteorder("="):
            return f"is of type {first.dtype}, the first one of {self.dtype}: without normalize, units differ"
        if self.normalize and first.dtype.kind in "ui" and first.dtype.itemsize > 2:
            raise ValueError(
                f"Images of {first.dtype} cannot be normalized, because their range is not known: turn "
                "them into uint8, uint16 or floats in [0, 1], or pass normalize=False."
            )
        return ""

    def to_block(self, sides: Sides) -> Block:
        """Convert patches to tensors in single precision, in [0, 1] if ``normalize``."""
        convert = self.to_unit if self.normalize else _to_single
        # Inputs and targets are one tensor if images are not paired.
        tensors = [torch.from_numpy(convert(side)) for side in sides]
        return tensors[0], tensors[-1]

    def to_unit(self, patches: Image) -> Image:
        """Scale integers to [0, 1], and return all patches in single precision."""
        if patches.dtype.kind not in "ui":
            return _to_single(patches)
        is_deep = self.depth_range is not None and patches.dtype.itemsize == 2
        intensity = self.depth_range if is_deep else IntensityRange.of_type(patches.dtype)
        assert intensity is not None
        return intensity.to_unit(patches)


@dataclass
class PatchPool:
    """Patches of several images that wait to be mixed, in the type of the images."""

    layout: PatchLayout
    n_bytes: int = 0
    n_images: int = 0
    parts: list[Sides] = field(default_factory=list)

    def add(self, patches: Sides) -> None:
        """Add the patches of an image."""
        self.parts.append(patches)
        self.n_bytes += sum(side.nbytes for side in patches)
        self.n_images += 1

    def pop_shuffled(self, generator: torch.Generator, length: int, *, keep_half: bool) -> Iterator[Sides]:
        """Remove patches in random order, and yield them in groups of a length."""
        sides = tuple(concatenate_patches(side, self.layout) for side in zip(*self.parts, strict=True))
        order = torch.randperm(len(sides[0]), generator=generator).numpy()
        # The half that stays is mixed with the patches of the next images.
        n_kept = len(order) // 2 if keep_half else 0
        self.parts, self.n_bytes, n_images = [], 0, self.n_images
        if n_kept:
            self.add(tuple(side[order[:n_kept]] for side in sides))
        self.n_images = n_images // 2 if keep_half else 0
        for first in range(n_kept, len(order), length):
            yield tuple(side[order[first : first + length]] for side in sides)


class _SynchronousExecutor(Executor):
    """An executor that runs each function at once in the calling thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        # The error is raised by Future.result, as with threads.
        except Exception as error:
            future.set_exception(error)
        return future


class _CancellingThreadPool(ThreadPoolExecutor):
    """A thread pool that cancels all waiting work at the end of its block."""

    def __exit__(self, *exception: object) -> None:
        self.shutdown(wait=True, cancel_futures=True)


def create_executor(n_workers: int) -> Executor:
    """Create an executor with a number of threads; with 0 the caller does the work."""
    if not n_workers:
        return _SynchronousExecutor()
    return _CancellingThreadPool(n_workers, thread_name_prefix="sk_denoise-images")


def draw_corners(image: Image, size: tuple[int, int], count: int, generator: torch.Generator) -> Corners:
    """Draw the upper left corners of random patches, uniformly over the image."""
    rows, columns = (
        torch.randint(side - length + 1, (count,), generator=generator).tolist()
        for side, length in zip(image.shape[:2], size, strict=True)
    )
    return list(zip(rows, columns, strict=True))


def cut_patches(image: Image, size: tuple[int, int], corners: Sequence[tuple[int, int]]) -> Image:
    """Return the patches at the corners, of shape (n, height, width[, channels])."""
    # torch has no types of another byte order.
    dtype = image.dtype.newbyteorder("=")
    patches = np.empty((len(corners), *size, *image.shape[2:]), dtype)
    for patch, (row, column) in zip(patches, corners, strict=True):
        patch[...] = image[row : row + size[0], column : column + size[1]]
    return patches


def concatenate_patches(parts: Sequence[Image], layout: PatchLayout) -> Image:
    """Concatenate patches of several images; different types are scaled to [0, 1]."""
    # In the type of the images, patches take a quarter to half of the memory of floats.
    if len({part.dtype for part in parts}) == 1:
        return np.concatenate(parts)
    return np.concatenate([layout.to_unit(part) for part in parts])


def _to_single(patches: Image) -> Image:
    return patches.astype(np.float32, copy=False)


def is_finite(array: Image) -> bool:
    """Return whether an array is free of NaN and infinity."""
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())


def format_size(sides: Sequence[int]) -> str:
    """Format a size for messages, such as "64 x 48"."""
    return " x ".join(map(str, sides))


def _describe_channels(axes: tuple[int, ...]) -> str:
    return f"{axes[0]} channels" if axes else "no axis of channels"


def _describe_item(n_sides: int) -> str:
    return "a pair" if n_sides == 2 else "a single image"
