"""What may be given as pictures: arrays, lists of pictures of different sizes, streams of patches."""

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
    as_float,
    check_lengths,
    picture_of,
    refuse_channels_first,
    refuse_channels_last,
    refuse_masked,
)
from sk_denoise._warnings import warn_user
from sk_denoise.datasets import ImageFolder, RandomPatches
from sk_denoise.estimators._pairs import Pair
from sk_denoise.exceptions import CleanTargetWarning
from sk_denoise.noise import carried_source

__all__ = [
    "PictureList",
    "as_folder",
    "is_pair_list",
    "is_picture_list",
    "is_stream",
    "paired_lists",
    "patches_of",
    "patches_per",
    "refuse_noised",
    "stack_of",
]

PATCHES_OF_A_FILE, MOST_PATCHES = 16, 64


def is_picture_list(X: Any) -> bool:
    """Return whether it is a list of pictures, which may differ in size, and not an array-like."""
    if not isinstance(X, list | tuple):
        return False
    return not X or _is_picture(X[0])


def is_pair_list(X: Any) -> bool:
    """Return whether it is a list of pairs (noisy, clean) of pictures."""
    return isinstance(X, list | tuple) and len(X) > 0 and _is_pair(X[0])


def is_stream(X: Any) -> bool:
    """Return whether pictures come from it one by one: a folder, a data set, an iterator."""
    if isinstance(X, str | os.PathLike):
        return True
    if isinstance(X, list | tuple):
        if X and isinstance(X[0], str | os.PathLike):
            raise TypeError(
                "X is a list of paths. Pass a folder of files, ImageFolder(path), or pictures, "
                "[read_image(path) for path in X]."
            )
        return False
    return not (hasattr(X, "__array__") or hasattr(X, "shape") or np.isscalar(X) or X is None)


def as_folder(X: Any, color: Literal["rgb", "gray", "auto"] = "auto") -> Any:
    """Return the pictures of a folder that is given by its path; all else as it is."""
    return ImageFolder(X, color=color) if isinstance(X, str | os.PathLike) else X


def stack_of(X: Any) -> Any:
    """Return a tensor (n, channels, height, width) as an array with the channels last; else what it is."""
    if not isinstance(X, Tensor) or X.ndim != 4:
        return X
    refuse_channels_last(tuple(X.shape))
    return picture_of(X)


def _is_picture(item: Any) -> bool:
    return isinstance(item, np.ndarray | Tensor) and item.ndim > 1


def _is_pair(item: Any) -> bool:
    return isinstance(item, list | tuple) and len(item) == 2 and all(map(_is_picture, item))


@dataclass(frozen=True)
class PictureList:
    """A list of pictures (height, width[, channels]) that agree in all but their size.

    Attributes
    ----------
    pictures : list of ndarray
        Finite numbers.
    name : str
        What messages call it.
    """

    pictures: list[NDArray[Any]]
    name: str

    @classmethod
    def of(cls, X: Sequence[Any], name: str = "X") -> PictureList:
        """Check a list of pictures; tensors are ``([channels,] height, width)``."""
        if not len(X):
            raise ValueError(f"{name} holds no pictures: it is empty.")
        pictures = [_as_array(picture, f"{name}[{index}]") for index, picture in enumerate(X)]
        first = pictures[0]
        for index, picture in enumerate(pictures):
            if picture.dtype.kind not in "buif" or picture.ndim not in (2, 3) or 0 in picture.shape:
                raise ValueError(
                    f"{name}[{index}] must be a picture of shape (height, width) or (height, width, "
                    f"channels) with real numbers, got {picture.dtype} of shape {picture.shape}."
                )
            if picture.ndim != first.ndim or picture.shape[2:] != first.shape[2:]:
                raise ValueError(
                    f"{name}[{index}] has shape {picture.shape}, {name}[0] has shape {first.shape}: all "
                    "pictures must have the same channels."
                )
            if picture.dtype != first.dtype:
                raise ValueError(
                    f"{name}[{index}] holds {picture.dtype}, {name}[0] holds {first.dtype}: pictures of "
                    "different types are in different units. Convert them to one."
                )
            refuse_channels_first(picture.shape, name=f"{name}[{index}]", may_declare=False)
            if not np.isfinite(picture).all():
                raise ValueError(f"{name}[{index}] contains NaN or infinity.")
        return cls(pictures, name)

    def take(self, kept: NDArray[np.bool_]) -> PictureList:
        """Return the list of those pictures."""
        return PictureList([p for p, keep in zip(self.pictures, kept, strict=True) if keep], self.name)

    def check_sizes(self, other: PictureList) -> None:
        """Refuse another list that is not the counterpart of this one."""
        shapes, others = ([picture.shape for picture in side.pictures] for side in (self, other))
        if len(shapes) != len(others):
            raise ValueError(f"{other.name} holds {len(others)} pictures, {self.name} holds {len(shapes)}.")
        for index, (shape, given) in enumerate(zip(shapes, others, strict=True)):
            if shape != given:
                raise ValueError(
                    f"{other.name}[{index}] has shape {given}, {self.name}[{index}] has shape {shape}. Pass "
                    "the clean counterpart of each picture, in the same order."
                )

    def clean_side_in(self, y: Any) -> PictureList | None:
        """Return y as clean counterparts of the pictures, where it is that, and not labels or masks."""
        if isinstance(y, np.ndarray | Tensor) and y.ndim > 2:
            y = list(y)
        if not is_picture_list(y) or not y:
            return None
        clean = PictureList.of(y, "y")
        self.check_sizes(clean)
        if clean.is_binary and not self.is_binary:
            warn_user(
                "y is not taken as the clean side of X, since it holds zeros and ones only, as masks do; X "
                "is treated as if y had not been given. Pass clean pictures as X_clean=.",
                CleanTargetWarning,
            )
            return None
        return None if self.equals(clean) else clean

    @property
    def is_binary(self) -> bool:
        """Whether all pictures hold zeros and ones only."""
        return all(bool(((picture == 0) | (picture == 1)).all()) for picture in self.pictures)

    def equals(self, other: PictureList) -> bool:
        """Return whether another list holds the same numbers."""
        return all(np.array_equal(one, two) for one, two in zip(self.pictures, other.pictures, strict=True))

    @property
    def ends(self) -> NDArray[Any]:
        """The smallest and the largest value of each picture, in their type."""
        ends = [end(picture) for picture in self.pictures for end in (np.min, np.max)]
        return np.array(ends, dtype=self.pictures[0].dtype)

    def patches(
        self,
        clean: PictureList | None,
        size: int | tuple[int, int],
        count: int,
        weights: NDArray[Any] | None,
    ) -> RandomPatches:
        """Return random patches of the pictures, and of their clean counterparts where there are any."""
        smallest = np.min([picture.shape[:2] for picture in self.pictures], axis=0)
        source: list[Any] = self.pictures
        if clean is not None:
            source = [
                (as_float(x), t.astype(as_float(x).dtype))
                for x, t in zip(self.pictures, clean.pictures, strict=True)
            ]
        fitting = _fitting(size, tuple(smallest))
        return _random_patches(source, fitting, count, weights)

    @property
    def mean_pixels(self) -> float:
        """Pixels of a picture, on average."""
        return float(np.mean([picture.shape[0] * picture.shape[1] for picture in self.pictures]))


def paired_lists(X: Sequence[Any], y: Any, X_clean: Any) -> tuple[PictureList, PictureList | None]:
    """Return pictures, and their clean counterparts where these are given."""
    noisy = PictureList.of(X)
    if X_clean is None:
        check_lengths(X, y)
        return noisy, noisy.clean_side_in(y)
    clean = PictureList.of(list(stack_of(X_clean)), "X_clean")
    noisy.check_sizes(clean)
    return noisy, clean


def patches_of(pair: Pair, size: int | tuple[int, int], count: int) -> RandomPatches | None:
    """Return random patches of a pair of stacks; None where a patch is a picture."""
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
        patches_per_picture=count,
        normalize=False,
        on_error="raise",
        sample_weight=weights,
    )


def refuse_noised(patches: RandomPatches) -> None:
    """Refuse patches of pictures that a noiser gave out: one frozen draw of noise would count as clean."""
    pictures = patches.pictures
    first = pictures[0] if isinstance(pictures, list | tuple) and pictures else pictures
    source = carried_source(first)
    if source is not None:
        raise ValueError(
            f"The patches are of pictures that came out of {source.noiser!r}. Give clean pictures, and "
            "the noiser as noise=; or pairs."
        )
    if isinstance(pictures, np.ndarray) or (isinstance(pictures, list | tuple) and _is_picture(first)):
        warn_of_lost_source(pictures, name="The stack of pictures")


def patches_per(pixels: float | None, size: int | tuple[int, int]) -> int:
    """Return how many patches to cut from a picture of so many pixels: about as many as cover it."""
    if pixels is None:
        return PATCHES_OF_A_FILE
    height, width = size if isinstance(size, tuple | list) else (size, size)
    return int(np.clip(round(pixels / (height * width)), 1, MOST_PATCHES))


def _fitting(size: int | tuple[int, int], sides: tuple[int, ...]) -> tuple[int, int]:
    wanted = size if isinstance(size, tuple | list) else (size, size)
    return min(wanted[0], int(sides[0])), min(wanted[1], int(sides[1]))


def _as_array(picture: Any, name: str) -> NDArray[Any]:
    source = carried_source(picture)
    if source is not None:
        raise ValueError(
            f"{name} came out of {source.noiser!r} as part of a stack, which it no longer belongs to. Pass "
            "the stack itself, give the clean side as X_clean=, or say that they are to be clean, "
            "X = list(numpy.asarray(X)), fit(X, X)."
        )
    refuse_masked(picture, name)
    if isinstance(picture, Tensor):
        refuse_channels_last(tuple(picture.shape), name)
    return np.asarray(picture_of(picture))
