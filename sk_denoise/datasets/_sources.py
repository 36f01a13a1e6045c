"""Sources of numbered images: a folder, arrays, a data set or an iterator."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import dropwhile
from typing import Any

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset

from sk_denoise._validation import as_image_array, refuse_channels_first, refuse_masked, refuse_single_image
from sk_denoise.datasets._folder import ImageFolder, split_indexes
from sk_denoise.exceptions import UnreadableImageError

__all__ = [
    "CheckedImages",
    "Sides",
    "SizedSource",
    "StreamSource",
    "Visit",
    "as_image",
    "as_sides",
    "as_source",
]

# Memory for images of a stream that were read for statistics and wait for their epoch.
MAX_BUFFERED_BYTES = 2**26
# Largest number of channels of an image that could also be a stack of gray images.
MAX_CHANNELS = 4
# Number of consecutive unusable images after which the rest of a stream is taken as unusable too.
MAX_CONSECUTIVE_UNUSABLE = 100
LAYOUT = "(Arrays are height, width[, channels]; tensors are [channels,] height, width.)"
EXPECTED = (
    "an ImageFolder, the path of a folder, a stack of images, a list of images, a data set with len() "
    "and [index], an iterable of images, or a function that returns one"
)
_END = object()

Image = NDArray[Any]
# An image, or the noisy and the clean side of a pair.
Sides = tuple[Image, ...]
# The index of an image, and the seed of the places of its patches.
Visit = tuple[int, int]


@dataclass
class SizedSource:
    """Source with a length and images in any order.

    Attributes
    ----------
    images : sequence
        Images as the user passed them.
    indexes : sequence of int
        Indices of the images that belong to this source.
    n_workers : int
        Number of threads that may read at once; 0 for images in memory.
    unusable : dict
        Reason of each index whose image turned out to be unusable.
    max_prefetch : int
        Number of images that may be cut before they are needed, while the network trains.
    weights : ndarray or None
        Weight of the image of each index. None weighs all images equally.
    """

    images: Any
    indexes: Sequence[int]
    n_workers: int
    unusable: dict[int, str] = field(default_factory=dict)
    max_prefetch: int = 32
    weights: NDArray[Any] | None = None

    def __len__(self) -> int:
        return len(self.indexes)

    def name(self, index: int) -> str:
        """Return the name of an image for messages."""
        paths = getattr(self.images, "paths", None)
        return str(paths[index]) if isinstance(self.images, ImageFolder) and paths else f"Image {index}"

    def fetch(self, index: int) -> Any:
        """Return an image or pair as it is given."""
        try:
            return self.images.read(index) if isinstance(self.images, ImageFolder) else self.images[index]
        # Pillow raises this error for a damaged file in a data set of the user.
        except OSError as error:
            raise UnreadableImageError(f"{self.name(index)} cannot be read: {error}") from error
        # It would silently end the generators above.
        except StopIteration as error:
            raise RuntimeError(
                f"{self.name(index)} cannot be read: the data set raised StopIteration. Its [index] must "
                f"return an image for every index below its length of {len(self.images)}."
            ) from error

    def iterate_visits(self, generator: torch.Generator) -> Iterator[Visit]:
        """Yield visits to all usable images in random order, pass after pass, without end.

        With weights, the number of visits to an image is proportional to its weight.
        """
        # All indices are drawn and the unusable ones skipped. So a seed gives the same visits to the other
        # images, whether an image is known to be unusable or still has to turn out so.
        while len(self.unusable) < len(self):
            positions = self._draw_pass(generator)
            seeds = torch.randint(2**31, (len(self),), generator=generator).tolist()
            for position, seed in zip(positions, seeds, strict=True):
                if self.indexes[position] not in self.unusable:
                    yield self.indexes[position], seed
        raise self.no_usable_image_error()

    def with_weights(self, weights: NDArray[Any] | None) -> SizedSource:
        """Return a source with visits to images in proportion to their weights."""
        if weights is None:
            return self
        weighted = [index for index in self.indexes if weights[index] > 0]
        return replace(self, indexes=weighted, weights=weights)

    def _draw_pass(self, generator: torch.Generator) -> list[int]:
        """Return positions of indices in random order; systematic sampling with weights."""
        order = torch.randperm(len(self), generator=generator)
        if self.weights is None:
            return list(order.tolist())
        # The steps of systematic sampling have equal lengths, so the images have to come in random order.
        shuffled = order.numpy()
        cumulated = np.cumsum(self.weights[np.asarray(self.indexes)[shuffled]])
        steps = (np.arange(len(self)) + torch.rand((), generator=generator).item()) / len(self)
        drawn = np.searchsorted(cumulated, cumulated[-1] * steps, side="right").clip(max=len(self) - 1)
        reshuffled = torch.randperm(len(self), generator=generator).numpy()
        return list(shuffled[drawn][reshuffled].tolist())

    def preview(self, generator: torch.Generator | None = None) -> Iterator[Visit]:
        """Yield visits from all over the source, or in order without a generator."""
        return ((index, 0) for index in self.indexes) if generator is None else self.iterate_visits(generator)

    def release(self, index: int) -> None:
        """Do nothing: the images of this source stay available."""

    def exclude(self, index: int, reason: str) -> bool:
        """Mark an image as unusable, and return whether this was unknown."""
        is_new = index not in self.unusable
        self.unusable[index] = reason
        return is_new

    def no_usable_image_error(self) -> ValueError:
        """Return the error for a source without a usable image."""
        reason = next(reversed(self.unusable.values()), "")
        return ValueError(f"None of the {len(self)} images can be used. The last one: {reason} {LAYOUT}")

    def split(
        self, fraction: float, random_state: int | RandomState | None
    ) -> tuple[SizedSource, SizedSource]:
        """Split the source into two without a common image."""
        # Only unusable images at the beginning are dropped, because these are always known: with the others,
        # the parts of a seed would depend on the images that were read before.
        indexes = list(dropwhile(self.unusable.__contains__, self.indexes))
        first, second = split_indexes(indexes, fraction, random_state)
        return self._part(first), self._part(second)

    def _part(self, indexes: Sequence[int]) -> SizedSource:
        unusable = {index: self.unusable[index] for index in indexes if index in self.unusable}
        return replace(self, indexes=indexes, unusable=unusable)


@dataclass
class StreamSource:
    """Source without a length; images are numbered in the order of reading.

    Attributes
    ----------
    make : callable or None
        Function that returns a new iterator at the end of the present one. None if there is only one.
    iterator : iterator or None
        The present iterator.
    n_read : int
        Number of images read so far.
    buffered : dict
        Images that were read but not used yet, for statistics or in an epoch that was left early.
    n_consecutive_unusable : int
        Number of unusable images since the last usable one.
    last_reason : str
        Reason of the last unusable image.
    n_workers : int
        Number of threads: an iterator is read by one thread at a time.
    max_prefetch : int
        Number of images that may be read before they are needed. They are buffered whole.
    """

    make: Callable[[], Any] | None
    iterator: Iterator[Any] | None = None
    n_read: int = 0
    buffered: dict[int, Any] = field(default_factory=dict)
    n_consecutive_unusable: int = 0
    last_reason: str = ""
    n_workers: int = 1
    max_prefetch: int = 4

    def name(self, index: int) -> str:
        """Return the name of an image for messages."""
        return f"Image number {index} of the stream"

    def fetch(self, index: int) -> Any:
        """Return an image or pair as it is given, and buffer it until its release."""
        try:
            while self.n_read <= index:
                self.buffered[self.n_read] = self._read_next()
                self.n_read += 1
        # The function of the user raised it. It would silently end the generators above.
        except StopIteration as error:
            raise RuntimeError(
                f"{self.name(self.n_read)} cannot be read: the function raised StopIteration. It must return "
                "a new iterator each time it is called."
            ) from error
        return self.buffered[index]

    def iterate_visits(self, generator: torch.Generator) -> Iterator[Visit]:
        """Yield visits to the next images, without end."""
        number = min(self.buffered, default=self.n_read)
        while self.n_consecutive_unusable < MAX_CONSECUTIVE_UNUSABLE:
            # All other numbers were read before, and are unusable.
            if number >= self.n_read or number in self.buffered:
                yield number, int(torch.randint(2**31, (), generator=generator))
            number += 1
        raise self.no_usable_image_error()

    def preview(self, generator: torch.Generator | None = None) -> Iterator[Visit]:
        """Yield visits to the next images until the buffer is full."""
        for visit in self.iterate_visits(generator or torch.Generator()):
            yield visit
            if sum(map(_n_bytes, self.buffered.values())) > MAX_BUFFERED_BYTES:
                return

    def release(self, index: int) -> None:
        """Remove a used image from the buffer."""
        self.buffered.pop(index)
        self.n_consecutive_unusable = 0

    def exclude(self, index: int, reason: str) -> bool:
        """Remove an unusable image from the buffer, and return True."""
        self.buffered.pop(index, None)
        self.n_consecutive_unusable += 1
        self.last_reason = reason
        return True

    def no_usable_image_error(self) -> ValueError:
        """Return the error for a stream without usable images."""
        return ValueError(
            f"{self.n_consecutive_unusable} images in a row cannot be used. The last one: "
            f"{self.last_reason} {LAYOUT}"
        )

    def _read_next(self) -> Any:
        item = _END if self.iterator is None else next(self.iterator, _END)
        if item is _END and self.make is not None:
            self.iterator = iter(self.make())
            item = next(self.iterator, _END)
        if item is not _END:
            return item
        if self.make is not None or not self.n_read:
            raise ValueError("There are no images: the iterator is empty.")
        raise ValueError(
            f"The iterator ended after {self.n_read} images, and more are needed: it can be read only "
            "once. Pass a function that makes a new one each time it is called."
        )


class CheckedImages(list[Any]):
    """Images or pairs of images that were checked before, signals of height 1 among them."""


def as_source(images: Any) -> SizedSource | StreamSource:
    """Return the source of images in any accepted form."""
    if isinstance(images, CheckedImages):
        return SizedSource(images, range(len(images)), n_workers=0)
    if isinstance(images, str | os.PathLike):
        images = ImageFolder(images, color="auto")
    if isinstance(images, ImageFolder):
        return SizedSource(images, range(len(images)), n_workers=2)
    if isinstance(images, np.ndarray | Tensor | list | tuple):
        return _in_memory_source(images)
    if isinstance(images, bytes | Mapping):
        raise TypeError(f"Expected {EXPECTED}, got {type(images).__name__}.")
    if isinstance(images, Iterator):
        return StreamSource(None, images)
    has_length = hasattr(images, "__len__") and hasattr(images, "__getitem__")
    if has_length and not isinstance(images, IterableDataset):
        if not len(images):
            raise ValueError("The data set is empty.")
        # Few data sets can be read by two threads at once.
        return SizedSource(images, range(len(images)), n_workers=1)
    if isinstance(images, Iterable):
        return StreamSource(images.__iter__)
    if callable(images):
        return StreamSource(images)
    raise TypeError(f"Expected {EXPECTED}, got {type(images).__name__}.")


def _in_memory_source(images: Any) -> SizedSource:
    refuse_masked(images, "images")
    is_stack = isinstance(images, np.ndarray | Tensor)
    if is_stack and images.ndim not in (3, 4):
        raise ValueError(
            f"A stack of images has the shape (n, height, width[, channels]), got {tuple(images.shape)}. "
            "Pass a single image as [image]."
        )
    if isinstance(images, np.ndarray):
        refuse_single_image(images.shape, name="images", may_declare=False)
        refuse_channels_first(images.shape[1:], name="images", may_declare=False)
    if not len(images):
        raise ValueError("There are no images: the list or stack is empty.")
    if not is_stack:
        _refuse_two_stacks(images)
    # All images of a stack have one shape and type, so the first one stands for all.
    for index, item in enumerate(images[:1] if is_stack else images):
        as_sides(item, f"Image {index}")
    return SizedSource(images, range(len(images)), n_workers=0)


def _refuse_two_stacks(images: Sequence[Any]) -> None:
    """Refuse the stacks ``(noisy, clean)``."""
    # They look like two images of many channels.
    if len(images) != 2 or not all(isinstance(item, np.ndarray | Tensor) for item in images):
        return
    shape, other_shape = (tuple(item.shape) for item in images)
    channels = shape[0 if isinstance(images[0], Tensor) else -1] if len(shape) == 3 else 0
    if shape == other_shape and (len(shape) == 4 or channels > MAX_CHANNELS):
        raise ValueError(
            f"Two arrays of shape {shape} look like two stacks. Pass pairs as list(zip(noisy, clean)), one "
            "stack by itself, and two images of many channels as a stack."
        )


def _n_bytes(item: Any) -> int:
    return sum(getattr(side, "nbytes", 0) for side in (item if isinstance(item, tuple | list) else (item,)))


def as_image(item: Any) -> Image:
    """Return one image as an array ``(height, width[, channels])``.

    Arrays have this layout already. Tensors of three axes have torchvision's layout,
    ``(channels, height, width)``.
    """
    item = as_image_array(item)
    if not isinstance(item, np.ndarray):
        raise TypeError(
            "An image must be an array (height, width[, channels]) or a tensor ([channels,] height, width), "
            f"got {type(item).__name__}. Files are read by ImageFolder."
        )
    refuse_masked(item, "image")
    if item.dtype.kind not in "buif":
        raise TypeError(f"An image must hold real numbers, got an array of {item.dtype}.")
    if item.ndim not in (2, 3):
        hint = " Pass the data set itself, not batches of its images." if item.ndim == 4 else ""
        raise ValueError(f"An image must have two or three axes, got an array of shape {item.shape}.{hint}")
    return np.asarray(item)


def as_sides(item: Any, name: str) -> Sides:
    """Return ``(image,)``, or ``(noisy, clean)`` of a pair; errors contain the name."""
    try:
        return _split_item(item)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from error


def _split_item(item: Any) -> Sides:
    if not isinstance(item, tuple | list):
        return (as_image(item),)
    # TensorDataset(images) returns tuples of one image.
    if len(item) == 1:
        return (as_image(item[0]),)
    if len(item) != 2 or np.ndim(item[1]) < 2:
        kinds = ", ".join(type(part).__name__ for part in item[:4])
        raise TypeError(
            f"An item must be an image or a pair (noisy, clean) of images, got ({kinds}). "
            "Labels are not used here: pass a data set of images alone."
        )
    return as_image(item[0]), as_image(item[1])
