"""Where pictures come from: a folder, arrays, a data set, an iterator; each answers to a number."""

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

HELD_BYTES = 2**26  # of a stream's pictures that were looked at and wait for their epoch
MOST_CHANNELS = 4  # of a picture, where it might be a stack as well
BAD_IN_A_ROW = 100  # pictures of a stream, before it is taken to hold nothing else
LAYOUT = "(Arrays are height, width[, channels]; tensors are [channels,] height, width.)"
_END = object()

Visit = tuple[int, int]  # to which picture, and the seed of the places where it is cut

EXPECTED = (
    "an ImageFolder, the path of a folder, a stack of pictures, a list of pictures, a data set with len() "
    "and [index], an iterable of pictures, or a function that returns one"
)


@dataclass
class SizedSource:
    """Pictures that are counted and can be had in any order.

    Attributes
    ----------
    pictures : sequence
        What the user gave.
    indexes : sequence of int
        Which of them belong to this source.
    n_workers : int
        How many threads may fetch at once; 0 where there is nothing to wait for.
    bad : dict
        Indexes of pictures that turned out to be of no use, with the reason.
    weights : ndarray or None
        What the picture of each index counts, where they do not count alike.
    """

    pictures: Any
    indexes: Sequence[int]
    n_workers: int
    bad: dict[int, str] = field(default_factory=dict)
    most_ahead: int = 32  # pictures to cut before they are needed, while the network learns
    weights: NDArray[Any] | None = None

    def __len__(self) -> int:
        return len(self.indexes)

    def name(self, index: int) -> str:
        """Return what to call a picture in a message."""
        paths = getattr(self.pictures, "paths", None)
        return str(paths[index]) if isinstance(self.pictures, ImageFolder) and paths else f"Picture {index}"

    def fetch(self, index: int) -> Any:
        """Return a picture or pair, as it is given."""
        try:
            return (
                self.pictures.read(index) if isinstance(self.pictures, ImageFolder) else self.pictures[index]
            )
        except OSError as error:  # what PIL raises for a broken file, in a data set of the user's
            raise UnreadableImageError(f"{self.name(index)} cannot be read: {error}") from error
        except StopIteration as error:  # would end a generator of ours
            raise RuntimeError(
                f"{self.name(index)} cannot be had: the data set raised StopIteration. Its [index] must "
                f"return a picture for every index below its length of {len(self.pictures)}."
            ) from error

    def order(self, generator: torch.Generator) -> Iterator[Visit]:
        """Yield all usable indexes in random order, again and again, each as often as it counts.

        All indexes are drawn and those of no use passed over, so the visits to the others are the same
        whether a picture is known to be bad or is still to be found so.
        """
        while len(self.bad) < len(self):
            positions = self._pass(generator)
            seeds = torch.randint(2**31, (len(self),), generator=generator).tolist()
            for position, seed in zip(positions, seeds, strict=True):
                if self.indexes[position] not in self.bad:
                    yield self.indexes[position], seed
        raise self.nothing_left()

    def weighted(self, weights: NDArray[Any] | None) -> SizedSource:
        """Return the source of the pictures that count, each visited as often as its weight says."""
        if weights is None:
            return self
        counting = [index for index in self.indexes if weights[index] > 0]
        return replace(self, indexes=counting, weights=weights)

    def _pass(self, generator: torch.Generator) -> list[int]:
        """Return positions of indexes in random order; with weights, drawn systematically."""
        order = torch.randperm(len(self), generator=generator)
        if self.weights is None:
            return list(order.tolist())
        places = order.numpy()  # steps of even length meet the pictures in random order
        shares = np.cumsum(self.weights[np.asarray(self.indexes)[places]])
        steps = (np.arange(len(self)) + torch.rand((), generator=generator).item()) / len(self)
        drawn = np.searchsorted(shares, shares[-1] * steps, side="right").clip(max=len(self) - 1)
        again = torch.randperm(len(self), generator=generator).numpy()
        return list(places[drawn][again].tolist())

    def preview(self, generator: torch.Generator | None = None) -> Iterator[Visit]:
        """Yield indexes for a look: from all over the source, or in order without a generator."""
        return ((index, 0) for index in self.indexes) if generator is None else self.order(generator)

    def release(self, index: int) -> None:
        """Do nothing: a picture of use stays where it is."""

    def leave_out(self, index: int, reason: str) -> bool:
        """Note that a picture is of no use, and return whether that is news."""
        is_news = index not in self.bad
        self.bad[index] = reason
        return is_news

    def nothing_left(self) -> ValueError:
        """Return the error that says so."""
        reason = next(reversed(self.bad.values()), "")
        return ValueError(f"None of the {len(self)} pictures can be used. The last one: {reason} {LAYOUT}")

    def split(
        self, fraction: float, random_state: int | RandomState | None
    ) -> tuple[SizedSource, SizedSource]:
        """Return two sources that share no picture; they forget what is of no use at the beginning."""
        # what else is known to be bad stays in, or a seed would not give the parts that it gave at first
        indexes = list(dropwhile(self.bad.__contains__, self.indexes))
        first, second = two_parts(indexes, fraction, random_state)
        return self._part(first), self._part(second)

    def _part(self, indexes: Sequence[int]) -> SizedSource:
        bad = {index: self.bad[index] for index in indexes if index in self.bad}
        return replace(self, indexes=indexes, bad=bad)


@dataclass
class StreamSource:
    """Pictures that come one after another; the numbers count them.

    Attributes
    ----------
    make : callable or None
        Returns a new iterator when the present one has ended; None where there is only this one.
    iterator : iterator or None
        The present one.
    n_read : int
        How many pictures the iterators gave.
    held : dict
        Pictures that were read and not used up yet: a look at them, or an epoch that was left early,
        loses none.
    bad_in_a_row : int
        Pictures of no use since the last one that was used; the last reason stands beside it.
    """

    make: Callable[[], Any] | None
    iterator: Iterator[Any] | None = None
    n_read: int = 0
    held: dict[int, Any] = field(default_factory=dict)
    bad_in_a_row: int = 0
    last_reason: str = ""
    n_workers: int = 1  # an iterator is read by one thread at a time
    most_ahead: int = 4  # pictures, which are held whole until they are used

    def name(self, index: int) -> str:
        """Return what to call a picture in a message."""
        return f"Picture number {index} of the stream"

    def fetch(self, index: int) -> Any:
        """Return a picture or pair, as it is given, and keep it until it is released."""
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
        """Yield the numbers of the pictures that come next."""
        number = min(self.held, default=self.n_read)
        while self.bad_in_a_row < BAD_IN_A_ROW:
            if number >= self.n_read or number in self.held:  # otherwise it was looked at and left out
                yield number, int(torch.randint(2**31, (), generator=generator))
            number += 1
        raise self.nothing_left()

    def preview(self, generator: torch.Generator | None = None) -> Iterator[Visit]:
        """Yield the numbers that come next, while there is room to keep their pictures."""
        for visit in self.order(generator or torch.Generator()):
            yield visit
            if sum(map(_n_bytes, self.held.values())) > HELD_BYTES:
                return

    def release(self, index: int) -> None:
        """Forget a picture that was used."""
        self.held.pop(index)
        self.bad_in_a_row = 0

    def leave_out(self, index: int, reason: str) -> bool:
        """Forget a picture that is of no use."""
        self.held.pop(index, None)
        self.bad_in_a_row += 1
        self.last_reason = reason
        return True

    def nothing_left(self) -> ValueError:
        """Return the error that says so."""
        return ValueError(
            f"{self.bad_in_a_row} pictures in a row cannot be used. The last one: {self.last_reason} {LAYOUT}"
        )

    def _next(self) -> Any:
        item = _END if self.iterator is None else next(self.iterator, _END)
        if item is _END and self.make is not None:
            self.iterator = iter(self.make())
            item = next(self.iterator, _END)
        if item is not _END:
            return item
        if self.make is not None or not self.n_read:
            raise ValueError("There is no picture to be had: the iterator ended before it gave one.")
        raise ValueError(
            f"The iterator ended after {self.n_read} pictures, and more are needed: it can be read only "
            "once. Pass a function that makes a new one each time it is called."
        )


def as_source(pictures: Any) -> SizedSource | StreamSource:
    """Return the source that fits what the user gave."""
    if isinstance(pictures, str | os.PathLike):
        pictures = ImageFolder(pictures, color="auto")
    if isinstance(pictures, ImageFolder):
        return SizedSource(pictures, range(len(pictures)), n_workers=2)
    if isinstance(pictures, np.ndarray | Tensor | list | tuple):
        return _in_memory(pictures)
    if isinstance(pictures, bytes | Mapping):
        raise TypeError(f"Expected {EXPECTED}, got {type(pictures).__name__}.")
    if isinstance(pictures, Iterator):
        return StreamSource(None, pictures)
    has_length = hasattr(pictures, "__len__") and hasattr(pictures, "__getitem__")
    if has_length and not isinstance(pictures, IterableDataset):
        if not len(pictures):
            raise ValueError("The data set is empty.")
        return SizedSource(pictures, range(len(pictures)), n_workers=1)  # few are made for two threads
    if isinstance(pictures, Iterable):
        return StreamSource(pictures.__iter__)
    if callable(pictures):
        return StreamSource(pictures)
    raise TypeError(f"Expected {EXPECTED}, got {type(pictures).__name__}.")


def _in_memory(pictures: Any) -> SizedSource:
    refuse_masked(pictures, "pictures")
    is_stack = isinstance(pictures, np.ndarray | Tensor)
    if is_stack and pictures.ndim not in (3, 4):
        raise ValueError(
            f"A stack of pictures has the shape (n, height, width[, channels]), got {tuple(pictures.shape)}. "
            "Pass a single picture as [picture]."
        )
    if isinstance(pictures, np.ndarray):
        refuse_single_image(pictures.shape, name="pictures", may_declare=False)
        refuse_channels_first(pictures.shape[1:], name="pictures", may_declare=False)
    if not len(pictures):
        raise ValueError("There are no pictures: the list or stack is empty.")
    if not is_stack:
        _refuse_two_stacks(pictures)
    for index, item in enumerate(pictures[:1] if is_stack else pictures):
        as_sides(item, f"Picture {index}")
    return SizedSource(pictures, range(len(pictures)), n_workers=0)


def _refuse_two_stacks(pictures: Sequence[Any]) -> None:
    """Refuse ``(noisy, clean)``, stacks that would be taken for two pictures of many channels."""
    if len(pictures) != 2 or not all(isinstance(item, np.ndarray | Tensor) for item in pictures):
        return
    shape, other = (tuple(item.shape) for item in pictures)
    channels = shape[0 if isinstance(pictures[0], Tensor) else -1] if len(shape) == 3 else 0
    if shape == other and (len(shape) == 4 or channels > MOST_CHANNELS):
        raise ValueError(
            f"Two arrays of shape {shape} look like two stacks. Pass pairs as list(zip(noisy, clean)), one "
            "stack by itself, and two pictures of many channels as a stack."
        )


def _n_bytes(item: Any) -> int:
    return sum(getattr(side, "nbytes", 0) for side in (item if isinstance(item, tuple | list) else (item,)))
