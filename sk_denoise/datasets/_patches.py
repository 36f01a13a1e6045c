"""Images to patches of one size, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import NDArray

from sk_denoise._random import root_seed, stream
from sk_denoise.datasets._checks import as_image, as_sides, check_count, check_two_counts
from sk_denoise.datasets._cutting import by, cut, random_corners
from sk_denoise.datasets._sources import SizedSource, as_source

__all__ = ["extract_patches", "join_patches"]

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
