"""Where images come from: a folder, arrays, a data set, an iterator; each answers to a number."""

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

from sk_denoise._validation import refuse_channels_first, refuse_masked, refuse_single_image
from sk_denoise.datasets._checks import as_sides
from sk_denoise.datasets._folder import ImageFolder, two_parts
from sk_denoise.exceptions import UnreadableImageError

__all__ = ["SizedSource", "StreamSource", "Visit", "as_source"]

HELD_BYTES = 2**26  # of a stream's images that were looked at and wait for their epoch
MOST_CHANNELS = 4  # of an image, where it might be a stack as well
BAD_IN_A_ROW = 100  # images of a stream, before it is taken to hold nothing else
LAYOUT = "(Arrays are height, width[, channels]; tensors are [channels,] height, width.)"
_END = object()

Visit = tuple[int, int]  # to which image, and the seed of the places where it is cut

EXPECTED = (
    "an ImageFolder, the path of a folder, a stack of images, a list of images, a data set with len() "
    "and [index], an iterable of images, or a function that returns one"
)


@dataclass
class SizedSource:
    """Images that are counted and can be had in any order.

    Attributes
    ----------
    images : sequence
        What the user gave.
    indexes : sequence of int
        Which of them belong to this source.
    n_workers : int
        How many threads may fetch at once; 0 where there is nothing to wait for.
    bad : dict
        Indexes of images that turned out to be of no use, with the reason.
    weights : ndarray or None
        What the image of each index counts, where they do not count alike.
    """

    images: Any
    indexes: Sequence[int]
    n_workers: int
    bad: dict[int, str] = field(default_factory=dict)
    most_ahead: int = 32  # images to cut before they are needed, while the network learns
    weights: NDArray[Any] | None = None

    def __len__(self) -> int:
        return len(self.indexes)

    def name(self, index: int) -> str:
        """Return what to call an image in a message."""
        paths = getattr(self.images, "paths", None)
        return str(paths[index]) if isinstance(self.images, ImageFolder) and paths else f"Image {index}"

    def fetch(self, index: int) -> Any:
        """Return an image or pair, as it is given."""
        try:
            return self.images.read(index) if isinstance(self.images, ImageFolder) else self.images[index]
        except OSError as error:  # what PIL raises for a broken file, in a data set of the user's
            raise UnreadableImageError(f"{self.name(index)} cannot be read: {error}") from error
        except StopIteration as error:  # would end a generator of ours
            raise RuntimeError(
                f"{self.name(index)} cannot be had: the data set raised StopIteration. Its [index] must "
                f"return an image for every index below its length of {len(self.images)}."
            ) from error

    def order(self, generator: torch.Generator) -> Iterator[Visit]:
        """Yield all usable indexes in random order, again and again, each as often as it counts.

        All indexes are drawn and those of no use passed over, so the visits to the others are the same
        whether an image is known to be bad or is still to be found so.
        """
        while len(self.bad) < len(self):
            positions = self._pass(generator)
            seeds = torch.randint(2**31, (len(self),), generator=generator).tolist()
            for position, seed in zip(positions, seeds, strict=True):
                if self.indexes[position] not in self.bad:
                    yield self.indexes[position], seed
        raise self.nothing_left()

    def weighted(self, weights: NDArray[Any] | None) -> SizedSource:
        """Return the source of the images that count, each visited as often as its weight says."""
        if weights is None:
            return self
        counting = [index for index in self.indexes if weights[index] > 0]
        return replace(self, indexes=counting, weights=weights)

    def _pass(self, generator: torch.Generator) -> list[int]:
        """Return positions of indexes in random order; with weights, drawn systematically."""
        order = torch.randperm(len(self), generator=generator)
        if self.weights is None:
            return list(order.tolist())
        places = order.numpy()  # steps of even length meet the images in random order
        shares = np.cumsum(self.weights[np.asarray(self.indexes)[places]])
        steps = (np.arange(len(self)) + torch.rand((), generator=generator).item()) / len(self)
        drawn = np.searchsorted(shares, shares[-1] * steps, side="right").clip(max=len(self) - 1)
        again = torch.randperm(len(self), generator=generator).numpy()
        return list(places[drawn][again].tolist())

    def preview(self, generator: torch.Generator | None = None) -> Iterator[Visit]:
        """Yield indexes for a look: from all over the source, or in order without a generator."""
        return ((index, 0) for index in self.indexes) if generator is None else self.order(generator)

    def release(self, index: int) -> None:
        """Do nothing: an image of use stays where it is."""

    def leave_out(self, index: int, reason: str) -> bool:
        """Note that an image is of no use, and return whether that is news."""
        is_news = index not in self.bad
        self.bad[index] = reason
        return is_news

    def nothing_left(self) -> ValueError:
        """Return the error that says so."""
        reason = next(reversed(self.bad.values()), "")
        return ValueError(f"None of the {len(self)} images can be used. The last one: {reason} {LAYOUT}")

    def split(
        self, fraction: float, random_state: int | RandomState | None
    ) -> tuple[SizedSource, SizedSource]:
        """Return two sources that share no image; they forget what is of no use at the beginning."""
        # what else is known to be bad stays in, or a seed would not give the parts that it gave at first
        indexes = list(dropwhile(self.bad.__contains__, self.indexes))
        first, second = two_parts(indexes, fraction, random_state)
        return self._part(first), self._part(second)

    def _part(self, indexes: Sequence[int]) -> SizedSource:
        bad = {index: self.bad[index] for index in indexes if index in self.bad}
        return replace(self, indexes=indexes, bad=bad)


@dataclass
class StreamSource:
    """Images that come one after another; the numbers count them.

    Attributes
    ----------
    make : callable or None
        Returns a new iterator when the present one has ended; None where there is only this one.
    iterator : iterator or None
        The present one.
    n_read : int
        How many images the iterators gave.
    held : dict
        Images that were read and not used up yet: a look at them, or an epoch that was left early,
        loses none.
    bad_in_a_row : int
        Images of no use since the last one that was used; the last reason stands beside it.
    """

    make: Callable[[], Any] | None
    iterator: Iterator[Any] | None = None
    n_read: int = 0
    held: dict[int, Any] = field(default_factory=dict)
    bad_in_a_row: int = 0
    last_reason: str = ""
    n_workers: int = 1  # an iterator is read by one thread at a time
    most_ahead: int = 4  # images, which are held whole until they are used

    def name(self, index: int) -> str:
        """Return what to call an image in a message."""
        return f"Image number {index} of the stream"

    def fetch(self, index: int) -> Any:
        """Return an image or pair, as it is given, and keep it until it is released."""
        try:
            while self.n_read <= index:
                self.held[self.n_read] = self._next()
                self.n_read += 1
        except StopIteration as error:  # of the user's function: would end a generator of ours
            raise RuntimeError(
                f"{self.name(self.n_read)} cannot be had: the function raised StopIteration. It must return "
                "a new iterator each time it is called."
            ) from error
        return self.held[index]

    def order(self, generator: torch.Generator) -> Iterator[Visit]:
        """Yield the numbers of the images that come next."""
        number = min(self.held, default=self.n_read)
        while self.bad_in_a_row < BAD_IN_A_ROW:
            if number >= self.n_read or number in self.held:  # otherwise it was looked at and left out
                yield number, int(torch.randint(2**31, (), generator=generator))
            number += 1
        raise self.nothing_left()

    def preview(self, generator: torch.Generator | None = None) -> Iterator[Visit]:
        """Yield the numbers that come next, while there is room to keep their images."""
        for visit in self.order(generator or torch.Generator()):
            yield visit
            if sum(map(_n_bytes, self.held.values())) > HELD_BYTES:
                return

    def release(self, index: int) -> None:
        """Forget an image that was used."""
        self.held.pop(index)
        self.bad_in_a_row = 0

    def leave_out(self, index: int, reason: str) -> bool:
        """Forget an image that is of no use."""
        self.held.pop(index, None)
        self.bad_in_a_row += 1
        self.last_reason = reason
        return True

    def nothing_left(self) -> ValueError:
        """Return the error that says so."""
        return ValueError(
            f"{self.bad_in_a_row} images in a row cannot be used. The last one: {self.last_reason} {LAYOUT}"
        )

    def _next(self) -> Any:
        item = _END if self.iterator is None else next(self.iterator, _END)
        if item is _END and self.make is not None:
            self.iterator = iter(self.make())
            item = next(self.iterator, _END)
        if item is not _END:
            return item
        if self.make is not None or not self.n_read:
            raise ValueError("There is no image to be had: the iterator ended before it gave one.")
        raise ValueError(
            f"The iterator ended after {self.n_read} images, and more are needed: it can be read only "
            "once. Pass a function that makes a new one each time it is called."
        )


def as_source(images: Any) -> SizedSource | StreamSource:
    """Return the source that fits what the user gave."""
    if isinstance(images, str | os.PathLike):
        images = ImageFolder(images, color="auto")
    if isinstance(images, ImageFolder):
        return SizedSource(images, range(len(images)), n_workers=2)
    if isinstance(images, np.ndarray | Tensor | list | tuple):
        return _in_memory(images)
    if isinstance(images, bytes | Mapping):
        raise TypeError(f"Expected {EXPECTED}, got {type(images).__name__}.")
    if isinstance(images, Iterator):
        return StreamSource(None, images)
    has_length = hasattr(images, "__len__") and hasattr(images, "__getitem__")
    if has_length and not isinstance(images, IterableDataset):
        if not len(images):
            raise ValueError("The data set is empty.")
        return SizedSource(images, range(len(images)), n_workers=1)  # few are made for two threads
    if isinstance(images, Iterable):
        return StreamSource(images.__iter__)
    if callable(images):
        return StreamSource(images)
    raise TypeError(f"Expected {EXPECTED}, got {type(images).__name__}.")


def _in_memory(images: Any) -> SizedSource:
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
    for index, item in enumerate(images[:1] if is_stack else images):
        as_sides(item, f"Image {index}")
    return SizedSource(images, range(len(images)), n_workers=0)


def _refuse_two_stacks(images: Sequence[Any]) -> None:
    """Refuse ``(noisy, clean)``, stacks that would be taken for two images of many channels."""
    if len(images) != 2 or not all(isinstance(item, np.ndarray | Tensor) for item in images):
        return
    shape, other = (tuple(item.shape) for item in images)
    channels = shape[0 if isinstance(images[0], Tensor) else -1] if len(shape) == 3 else 0
    if shape == other and (len(shape) == 4 or channels > MOST_CHANNELS):
        raise ValueError(
            f"Two arrays of shape {shape} look like two stacks. Pass pairs as list(zip(noisy, clean)), one "
            "stack by itself, and two images of many channels as a stack."
        )


def _n_bytes(item: Any) -> int:
    return sum(getattr(side, "nbytes", 0) for side in (item if isinstance(item, tuple | list) else (item,)))
