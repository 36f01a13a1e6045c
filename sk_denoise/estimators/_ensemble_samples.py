"""What the members of an ensemble learn from: arrays, lists and streams, whole or in part."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sk_denoise._random import stream
from sk_denoise._validation import image_of
from sk_denoise.datasets import RandomPatches
from sk_denoise.estimators._image_sources import is_pair_list, stack_of

__all__ = ["Samples", "patches_of", "with_channels_last"]

MOST_PATCHES = 256  # of a stream, to calibrate with


@dataclass(frozen=True)
class Samples:
    """What members learn from, in the arguments of their ``fit``.

    Attributes
    ----------
    X, clean : array or list
        Samples, and their clean side where it is given.
    weights : ndarray or None
        What each sample counts.
    """

    X: Any
    clean: Any = None
    weights: NDArray[Any] | None = None

    def take(self, index: NDArray[np.intp]) -> Samples:
        """Return the samples at ``index``."""
        X, clean, weights = (_at(side, index) for side in (self.X, self.clean, self.weights))
        return Samples(X, clean, weights)

    def counted(self, weights: NDArray[Any] | None) -> Samples:
        """Return the samples that count, each as much as its weight says."""
        if weights is None:
            return self
        return replace(self, weights=weights).take(np.flatnonzero(weights))


def with_channels_last(side: Any) -> Any:
    """Return tensors of images, alone or in lists, as arrays with the channels last; all else as it is."""
    if isinstance(side, list | tuple) and any(isinstance(item, Tensor) for item in side):
        return [image_of(item) for item in side]
    if is_pair_list(side):
        return [tuple(map(image_of, pair)) for pair in side]
    return stack_of(side)


def patches_of(images: Any, member: Any, root: int) -> Samples:
    """Return patches of what comes image by image, in the unit in which members learn from it."""
    if not isinstance(images, RandomPatches):
        images = RandomPatches(images, member._sides(), patches_per_image=member._count(None))
    noisy, clean = images.first(MOST_PATCHES, stream(root, "patches"))
    return Samples(noisy.numpy(), clean.numpy() if images.is_paired else None)


def _at(side: Any, index: NDArray[np.intp]) -> Any:
    if side is None:
        return None
    return [side[place] for place in index] if isinstance(side, list | tuple) else side[index]
