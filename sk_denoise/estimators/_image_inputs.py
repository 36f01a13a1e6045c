"""Images as users pass them: stacks, lists of different sizes, folders, streams."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sk_denoise._clean_source import warn_of_lost_source
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
from sk_denoise.datasets._sources import CheckedImages
from sk_denoise.estimators._pairs import Pair
from sk_denoise.exceptions import CleanTargetWarning
from sk_denoise.noise import carried_source

__all__ = [
    "ImageList",
    "convert_tensor_stack",
    "count_patches",
    "cut_pair_patches",
    "is_image_list",
    "is_itself",
    "is_pair_list",
    "is_stream",
    "open_folder",
    "pair_image_lists",
    "refuse_noiser_output",
]

# Patches of an image whose size is unknown before it is read.
PATCHES_PER_FILE = 16
# Largest number of patches of one image in an epoch.
MAX_PATCHES = 64


def is_image_list(X: Any) -> bool:
    """Return whether X is a list of images, perhaps of different sizes."""
    if not isinstance(X, list | tuple):
        return False
    # An empty list counts, so that its error is about images.
    return not X or _is_image(X[0])


def is_pair_list(X: Any) -> bool:
    """Return whether X is a list of pairs (noisy, clean) of images."""
    return isinstance(X, list | tuple) and len(X) > 0 and _is_pair(X[0])


def is_stream(X: Any) -> bool:
    """Return whether X is read image by image, as folders, data sets and iterators."""
    if isinstance(X, str | os.PathLike):
        return True
    if isinstance(X, list | tuple):
        if X and isinstance(X[0], str | os.PathLike):
            raise TypeError(
                "X is a list of paths. Pass a folder of files, ImageFolder(path), or images, "
                "[read_image(path) for path in X]."
            )
        return False
    # Data sets and iterators have no common type, so that all other input is excluded.
    return not (hasattr(X, "__array__") or hasattr(X, "shape") or np.isscalar(X) or X is None)


def open_folder(X: Any, color: Literal["rgb", "gray", "auto"] = "auto") -> Any:
    """Return the image folder of a path, and other input unchanged."""
    return ImageFolder(X, color=color) if isinstance(X, str | os.PathLike) else X


def convert_tensor_stack(X: Any) -> Any:
    """Convert a tensor with channels first to an array with channels last."""
    if not isinstance(X, Tensor) or X.ndim != 4:
        return X
    refuse_channels_last(tuple(X.shape))
    return as_image_array(X)


def _is_image(item: Any) -> bool:
    """Return whether an item is an array or a tensor of at least two axes."""
    return isinstance(item, np.ndarray | Tensor) and item.ndim > 1


def _is_pair(item: Any) -> bool:
    """Return whether an item is a pair of images."""
    return isinstance(item, list | tuple) and len(item) == 2 and all(map(_is_image, item))


@dataclass(frozen=True)
class ImageList:
    """A list of images (height, width[, channels]) of one type, in any sizes.

    Attributes
    ----------
    images : list of ndarray
        Images of finite numbers.
    name : str
        Name of the argument in messages.
    """

    images: list[NDArray[Any]]
    name: str

    @classmethod
    def of(cls, X: Sequence[Any], name: str = "X") -> ImageList:
        """Check a list of arrays, or of tensors ``([channels,] height, width)``."""
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
            # The unit of an image follows from its type: no common type would be right.
            if image.dtype != first.dtype:
                raise ValueError(
                    f"{name}[{index}] holds {image.dtype}, {name}[0] holds {first.dtype}: images of "
                    "different types are in different units. Convert them to one type."
                )
            refuse_channels_first(image.shape, name=f"{name}[{index}]", may_declare=False)
            if not np.isfinite(image).all():
                raise ValueError(f"{name}[{index}] contains NaN or infinity.")
        return cls(images, name)

    def take(self, mask: NDArray[np.bool_]) -> ImageList:
        """Return the list of the images where a mask is true."""
        return ImageList([image for image, keep in zip(self.images, mask, strict=True) if keep], self.name)

    def check_sizes(self, other: ImageList) -> None:
        """Refuse a list of images of other sizes."""
        shapes, other_shapes = ([image.shape for image in side.images] for side in (self, other))
        if len(shapes) != len(other_shapes):
            raise ValueError(
                f"{other.name} holds {len(other_shapes)} images, {self.name} holds {len(shapes)}."
            )
        for index, (shape, other_shape) in enumerate(zip(shapes, other_shapes, strict=True)):
            if shape != other_shape:
                raise ValueError(
                    f"{other.name}[{index}] has shape {other_shape}, {self.name}[{index}] has shape {shape}. "
                    "Pass the clean counterpart of each image, in the same order."
                )

    def find_clean_side(self, y: Any) -> ImageList | None:
        """Return y as clean counterparts of the images, None for labels and masks."""
        if isinstance(y, np.ndarray | Tensor) and y.ndim > 2:
            y = list(y)
        if not is_image_list(y) or not y:
            return None
        clean = ImageList.of(y, "y")
        self.check_sizes(clean)
        # Segmentation masks have the sizes of the images too.
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
        """Return whether another list has the same pixels."""
        return all(np.array_equal(a, b) for a, b in zip(self.images, other.images, strict=True))

    @property
    def extrema(self) -> NDArray[Any]:
        """The smallest and the largest value of each image, in their type."""
        extrema = [function(image) for image in self.images for function in (np.min, np.max)]
        return np.array(extrema, dtype=self.images[0].dtype)

    def random_patches(
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
            # Both sides of a pair are cut in one type.
            source = [
                (as_float_array(x), t.astype(as_float_array(x).dtype))
                for x, t in zip(self.images, clean.images, strict=True)
            ]
        sides = _fit_sides(size, tuple(smallest))
        return _build_random_patches(source, sides, count, weights)

    @property
    def mean_pixels(self) -> float:
        """Mean number of pixels of an image."""
        return float(np.mean([image.shape[0] * image.shape[1] for image in self.images]))


def is_itself(X: Any, y: Any) -> bool:
    """Return whether y equals X, which declares X as clean."""
    return y is X or (y is not None and len(y) == len(X) and all(map(np.array_equal, X, y)))


def pair_image_lists(X: Sequence[Any], y: Any, X_clean: Any) -> tuple[ImageList, ImageList | None]:
    """Return images, and their clean counterparts or None."""
    noisy = ImageList.of(X)
    if X_clean is None:
        check_lengths(X, y)
        return noisy, noisy.find_clean_side(y)
    clean = ImageList.of(list(convert_tensor_stack(X_clean)), "X_clean")
    noisy.check_sizes(clean)
    return noisy, clean


def cut_pair_patches(pair: Pair, size: int | tuple[int, int], count: int) -> RandomPatches | None:
    """Return random patches of a pair of stacks, None if a patch is a whole image."""
    image_sides = pair.inputs.shape[1:3]
    sides = _fit_sides(size, image_sides)
    if sides == tuple(image_sides):
        return None
    source: Any = pair.inputs
    if pair.noiser is None and pair.targets is not pair.inputs:
        source = list(zip(pair.inputs, pair.targets.astype(pair.inputs.dtype, copy=False), strict=True))
    return _build_random_patches(source, sides, count, pair.weights)


def _build_random_patches(
    source: Any, size: tuple[int, int], count: int, weights: NDArray[Any] | None
) -> RandomPatches:
    """Return random patches of images in memory, in their unit."""
    return RandomPatches(
        # One row of many channels looks like an image with its channels first.
        CheckedImages(source),
        size,
        patches_per_image=count,
        # Predictions are in the unit of X, and so is the noise of the user.
        normalize=False,
        on_error="raise",
        sample_weight=weights,
    )


def refuse_noiser_output(patches: RandomPatches) -> bool:
    """Refuse patches of the output of a noiser, which would pass as clean.

    Return whether there was a warning about noise.
    """
    images = patches.images
    first = images[0] if isinstance(images, list | tuple) and images else images
    source = carried_source(first)
    if source is not None:
        raise ValueError(
            f"The patches are of images that came out of {source.noiser!r}. Pass clean images, with the "
            "noiser as noise=, or pairs."
        )
    if isinstance(images, np.ndarray) or (isinstance(images, list | tuple) and _is_image(first)):
        return warn_of_lost_source(images, name="The stack of images")
    return False


def count_patches(pixels: float | None, size: int | tuple[int, int]) -> int:
    """Return the number of patches that cover an image of so many pixels."""
    if pixels is None:
        return PATCHES_PER_FILE
    height, width = size if isinstance(size, tuple | list) else (size, size)
    return int(np.clip(round(pixels / (height * width)), 1, MAX_PATCHES))


def _fit_sides(size: int | tuple[int, int], image_sides: tuple[int, ...]) -> tuple[int, int]:
    """Return the sides of patches, no larger than those of an image."""
    height, width = size if isinstance(size, tuple | list) else (size, size)
    return min(height, int(image_sides[0])), min(width, int(image_sides[1]))


def _as_array(image: Any, name: str) -> NDArray[Any]:
    """Return an image as an array with the channels last."""
    source = carried_source(image)
    if source is not None:
        raise ValueError(
            f"{name} came out of {source.noiser!r} as part of a stack, and lost its clean source there. Pass "
            "the whole stack, or the clean side as X_clean=. If the images are meant as clean ones: "
            "X = list(numpy.asarray(X)), fit(X, X)."
        )
    refuse_masked(image, name)
    if isinstance(image, Tensor):
        refuse_channels_last(tuple(image.shape), name)
    return np.asarray(as_image_array(image))
