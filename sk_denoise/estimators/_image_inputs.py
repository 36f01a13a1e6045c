"""Images as users pass them: stacks, lists of different sizes, folders, streams."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sk_denoise._noise_traces import warn_of_lost_source
from sk_denoise._validation import (
    as_float_array,
    as_image_array,
    check_lengths,
    refuse_channels_first,
    refuse_channels_last,
    refuse_masked,
    warn_user,
)
from sk_denoise.datasets import ImageFolder, RandomPatches
from sk_denoise.estimators._pairs import Pair
from sk_denoise.exceptions import CleanTargetWarning
from sk_denoise.noise import carried_source

__all__ = [
    "ImageList",
    "as_folder",
    "is_pair_list",
    "is_image_list",
    "is_stream",
    "paired_lists",
    "patches_of",
    "patches_per",
    "refuse_noised",
    "stack_of",
]

PATCHES_OF_A_FILE, MOST_PATCHES = 16, 64


def is_image_list(X: Any) -> bool:
    """Return whether X is a list of images, which may differ in size."""
    if not isinstance(X, list | tuple):
        return False
    return not X or _is_image(X[0])


def is_pair_list(X: Any) -> bool:
    """Return whether X is a list of pairs (noisy, clean) of images."""
    return isinstance(X, list | tuple) and len(X) > 0 and _is_pair(X[0])


def is_stream(X: Any) -> bool:
    """Return whether X is read image by image: a folder, a data set, an iterator."""
    if isinstance(X, str | os.PathLike):
        return True
    if isinstance(X, list | tuple):
        if X and isinstance(X[0], str | os.PathLike):
            raise TypeError(
                "X is a list of paths. Pass a folder of files, ImageFolder(path), or images, "
                "[read_image(path) for path in X]."
            )
        return False
    return not (hasattr(X, "__array__") or hasattr(X, "shape") or np.isscalar(X) or X is None)


def as_folder(X: Any, color: Literal["rgb", "gray", "auto"] = "auto") -> Any:
    """Return the image folder of a path, and other input unchanged."""
    return ImageFolder(X, color=color) if isinstance(X, str | os.PathLike) else X


def stack_of(X: Any) -> Any:
    """Convert a tensor with channels first to an array with channels last."""
    if not isinstance(X, Tensor) or X.ndim != 4:
        return X
    refuse_channels_last(tuple(X.shape))
    return as_image_array(X)


def _is_image(item: Any) -> bool:
    return isinstance(item, np.ndarray | Tensor) and item.ndim > 1


def _is_pair(item: Any) -> bool:
    return isinstance(item, list | tuple) and len(item) == 2 and all(map(_is_image, item))


@dataclass(frozen=True)
class ImageList:
    """A list of images (height, width[, channels]) of one type, in any sizes.

    Attributes
    ----------
    images : list of ndarray
        Finite numbers.
    name : str
        Name of the argument in messages.
    """

    images: list[NDArray[Any]]
    name: str

    @classmethod
    def of(cls, X: Sequence[Any], name: str = "X") -> ImageList:
        """Check a list of images; tensors are ``([channels,] height, width)``."""
        if not len(X):
            raise ValueError(f"{name} holds no images: it is empty.")
        images = [_as_array(image, f"{name}[{index}]") for index, image in enumerate(X)]
        first = images[0]
        for index, image in enumerate(images):
            if image.dtype.kind not in "buif" or image.ndim not in (2, 3) or 0 in image.shape:
                raise ValueError(
                    f"{name}[{index}] must be an image of shape (height, width) or (height, width, "
                    f"channels) with real numbers, got {image.dtype} of shape {image.shape}."
                )
            if image.ndim != first.ndim or image.shape[2:] != first.shape[2:]:
                raise ValueError(
                    f"{name}[{index}] has shape {image.shape}, {name}[0] has shape {first.shape}: all "
                    "images must have the same channels."
                )
            if image.dtype != first.dtype:
                raise ValueError(
                    f"{name}[{index}] holds {image.dtype}, {name}[0] holds {first.dtype}: images of "
                    "different types are in different units. Convert them to one."
                )
            refuse_channels_first(image.shape, name=f"{name}[{index}]", may_declare=False)
            if not np.isfinite(image).all():
                raise ValueError(f"{name}[{index}] contains NaN or infinity.")
        return cls(images, name)

    def take(self, kept: NDArray[np.bool_]) -> ImageList:
        """Return a list of some of the images."""
        return ImageList([p for p, keep in zip(self.images, kept, strict=True) if keep], self.name)

    def check_sizes(self, other: ImageList) -> None:
        """Refuse a list with other sizes of images."""
        shapes, others = ([image.shape for image in side.images] for side in (self, other))
        if len(shapes) != len(others):
            raise ValueError(f"{other.name} holds {len(others)} images, {self.name} holds {len(shapes)}.")
        for index, (shape, given) in enumerate(zip(shapes, others, strict=True)):
            if shape != given:
                raise ValueError(
                    f"{other.name}[{index}] has shape {given}, {self.name}[{index}] has shape {shape}. Pass "
                    "the clean counterpart of each image, in the same order."
                )

    def clean_side_in(self, y: Any) -> ImageList | None:
        """Return y as clean counterparts of the images; None for labels and masks."""
        if isinstance(y, np.ndarray | Tensor) and y.ndim > 2:
            y = list(y)
        if not is_image_list(y) or not y:
            return None
        clean = ImageList.of(y, "y")
        self.check_sizes(clean)
        if clean.is_binary and not self.is_binary:
            warn_user(
                "y is not taken as the clean side of X, since it holds zeros and ones only, as masks do; X "
                "is treated as if y had not been given. Pass clean images as X_clean=.",
                CleanTargetWarning,
            )
            return None
        return None if self.equals(clean) else clean

    @property
    def is_binary(self) -> bool:
        """Whether all images hold zeros and ones only."""
        return all(bool(((image == 0) | (image == 1)).all()) for image in self.images)

    def equals(self, other: ImageList) -> bool:
        """Return whether another list holds the same numbers."""
        return all(np.array_equal(one, two) for one, two in zip(self.images, other.images, strict=True))

    @property
    def ends(self) -> NDArray[Any]:
        """The smallest and the largest value of each image, in their type."""
        ends = [end(image) for image in self.images for end in (np.min, np.max)]
        return np.array(ends, dtype=self.images[0].dtype)

    def patches(
        self,
        clean: ImageList | None,
        size: int | tuple[int, int],
        count: int,
        weights: NDArray[Any] | None,
    ) -> RandomPatches:
        """Return random patches of the images, in pairs with their clean counterparts."""
        smallest = np.min([image.shape[:2] for image in self.images], axis=0)
        source: list[Any] = self.images
        if clean is not None:
            source = [
                (as_float_array(x), t.astype(as_float_array(x).dtype))
                for x, t in zip(self.images, clean.images, strict=True)
            ]
        fitting = _fitting(size, tuple(smallest))
        return _random_patches(source, fitting, count, weights)

    @property
    def mean_pixels(self) -> float:
        """Mean number of pixels of an image."""
        return float(np.mean([image.shape[0] * image.shape[1] for image in self.images]))


def paired_lists(X: Sequence[Any], y: Any, X_clean: Any) -> tuple[ImageList, ImageList | None]:
    """Return images and their clean counterparts, None without them."""
    noisy = ImageList.of(X)
    if X_clean is None:
        check_lengths(X, y)
        return noisy, noisy.clean_side_in(y)
    clean = ImageList.of(list(stack_of(X_clean)), "X_clean")
    noisy.check_sizes(clean)
    return noisy, clean


def patches_of(pair: Pair, size: int | tuple[int, int], count: int) -> RandomPatches | None:
    """Return random patches of a pair of stacks; None if a patch is a whole image."""
    sides = pair.inputs.shape[1:3]
    fitting = _fitting(size, sides)
    if fitting == tuple(sides):
        return None
    source: Any = pair.inputs
    if pair.noiser is None and pair.targets is not pair.inputs:
        source = list(zip(pair.inputs, pair.targets.astype(pair.inputs.dtype, copy=False), strict=True))
    return _random_patches(source, fitting, count, pair.weights)


def _random_patches(
    source: Any, size: tuple[int, int], count: int, weights: NDArray[Any] | None
) -> RandomPatches:
    return RandomPatches(
        source,
        size,
        patches_per_image=count,
        normalize=False,
        on_error="raise",
        sample_weight=weights,
    )


def refuse_noised(patches: RandomPatches) -> None:
    """Refuse patches of the output of a noiser, which would count as clean."""
    images = patches.images
    first = images[0] if isinstance(images, list | tuple) and images else images
    source = carried_source(first)
    if source is not None:
        raise ValueError(
            f"The patches are of images that came out of {source.noiser!r}. Give clean images, and "
            "the noiser as noise=; or pairs."
        )
    if isinstance(images, np.ndarray) or (isinstance(images, list | tuple) and _is_image(first)):
        warn_of_lost_source(images, name="The stack of images")


def patches_per(pixels: float | None, size: int | tuple[int, int]) -> int:
    """Return the number of patches that about cover an image of this size."""
    if pixels is None:
        return PATCHES_OF_A_FILE
    height, width = size if isinstance(size, tuple | list) else (size, size)
    return int(np.clip(round(pixels / (height * width)), 1, MOST_PATCHES))


def _fitting(size: int | tuple[int, int], sides: tuple[int, ...]) -> tuple[int, int]:
    wanted = size if isinstance(size, tuple | list) else (size, size)
    return min(wanted[0], int(sides[0])), min(wanted[1], int(sides[1]))


def _as_array(image: Any, name: str) -> NDArray[Any]:
    source = carried_source(image)
    if source is not None:
        raise ValueError(
            f"{name} came out of {source.noiser!r} as part of a stack, which it no longer belongs to. Pass "
            "the stack itself, give the clean side as X_clean=, or say that they are to be clean, "
            "X = list(numpy.asarray(X)), fit(X, X)."
        )
    refuse_masked(image, name)
    if isinstance(image, Tensor):
        refuse_channels_last(tuple(image.shape), name)
    return np.asarray(as_image_array(image))
