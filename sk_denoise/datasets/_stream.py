"""Random patches of images that need not fit in memory, drawn afresh in every epoch."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from contextlib import closing
from dataclasses import replace
from itertools import islice
from typing import Any, Literal

import torch
from numpy.random import RandomState
from numpy.typing import ArrayLike

from sk_denoise._intensity import IntensityRange
from sk_denoise._random import stream
from sk_denoise._validation import check_sample_weight, warn_user
from sk_denoise.datasets._checks import as_sides, check_choice, check_count, check_two_counts
from sk_denoise.datasets._folder import ImageFolder
from sk_denoise.datasets._patches import (
    Block,
    Kind,
    Pool,
    Sides,
    by,
    cut,
    executor_of,
    is_finite,
    joined,
    random_corners,
)
from sk_denoise.datasets._sources import SizedSource, StreamSource, Visit, as_source
from sk_denoise.exceptions import SkippedImageWarning, UnreadableImageError

__all__ = ["RandomPatches"]

POOL_BYTES = 2**25  # patches that are mixed with each other, in the type of the images
LOOKED_AT_FOR_DEPTH = 16  # images of 16 bits, to know how many of these they use
IMAGES_AT_A_LOOK = 64  # to learn statistics from, where there are so many
POOL_IMAGES = 64  # enough to mix; with more, threads would wait while the network learns from a large pool
AHEAD_ENTRIES = 2**24  # cut and waiting, at most
MOST_ENTRIES = 2**28  # cut from one image, channels not counted


class RandomPatches:
    """Patches from random places of images, other ones in every epoch, for training on large data.

    Images are fetched one by one, some ahead by a thread, patches of many images are mixed, and no
    more than these are in memory. An epoch always gives ``len(patches)`` patches: where an image is left
    out, others are visited more often.

    Parameters
    ----------
    images : ImageFolder, path, stack, list, data set, iterable or callable
        The clean images, or pairs ``(noisy, clean)`` of the same size and type:

        - an :class:`ImageFolder`, or the path of a folder, gray where all its files are gray;
        - a stack of shape (n, height, width[, channels]), or a tensor (n, [channels,] height, width);
        - a list of images of any sizes, or of pairs: ``list(zip(noisy, clean))``;
        - a data set with ``len()`` and ``[index]``, such as torch's, read by one thread;
        - an iterable without length, a function that returns a new iterator, or an iterator. They go on
          from epoch to epoch; the first two start anew when they end, an iterator that ends is an error.

        Arrays are (height, width[, channels]), tensors ([channels,] height, width).
    patch_size : int or tuple of two int
        Height and width of a patch in pixels.
    patches_per_image : int, default=16
        How many patches are cut from an image when it is visited.
    images_per_epoch : int, optional
        How many visits to images make an epoch. By default each image is visited once; to be given
        for what has no length.
    normalize : bool, default=True
        Whether integers become shares of their range, so that patches lie in [0, 1]: those of 8 bits of
        that of their type, those of 16 bits of 0 to the largest number of 10, 12, 14 or 16 bits, whichever
        hold the images of a first look. Wider integers are refused, because their range is not known.
        Floats stay as they are. Otherwise all stay in their unit, and images must have the type of the
        first one.
    on_error : {"warn", "raise"}, optional
        What happens to an image that cannot be used: unreadable, smaller than a patch, with other
        channels than the first one, or with NaN or infinity where a patch was cut. It is left out from
        then on with one ``SkippedImageWarning`` that names it, or it is an error. By default what the
        ImageFolder says, "warn" for all else.
    sample_weight : array-like of shape (n_images,), optional
        What each image counts, at least 0, where images have a length: in an epoch an image is visited
        as many times as its weight says beside the mean, with chance for the fraction.

    Attributes
    ----------
    indexes : sequence of int or None
        Which of the images are drawn from; None for what has no length.

    Raises
    ------
    TypeError, ValueError
        Where parameters are out of range or images are none of these; in use also where no image is
        of any use, or an iterator has ended.
    UnreadableImageError
        In use, with ``on_error="raise"``.

    Notes
    -----
    Equal generators give equal patches, bit by bit, whatever threads do, and whether a broken file was found
    in an earlier epoch or is found in this one. What has no length goes on where it was instead. And a
    image that holds NaN or infinity here and there is used until a patch meets them, so patches are
    different once that has happened.

    Examples
    --------
    >>> import torch
    >>> from sk_denoise.datasets import RandomPatches, load_images
    >>> patches = RandomPatches(load_images("gray").test, 64, patches_per_image=4)
    >>> len(patches), patches.sample_shape, patches.is_paired
    (20, (64, 64), False)
    >>> for inputs, targets in patches.draw(torch.Generator().manual_seed(0)):
    ...     print(tuple(inputs.shape), inputs.dtype, targets is inputs)
    (20, 64, 64) torch.float32 True
    """

    def __init__(
        self,
        images: Any,
        patch_size: int | tuple[int, int],
        *,
        patches_per_image: int = 16,
        images_per_epoch: int | None = None,
        normalize: bool = True,
        on_error: Literal["warn", "raise"] | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> None:
        self.images = images
        self.patch_size = check_two_counts(patch_size, "patch_size")
        self.patches_per_image = check_count(patches_per_image, "patches_per_image")
        if self.patches_per_image * self.patch_size[0] * self.patch_size[1] > MOST_ENTRIES:
            raise ValueError(
                f"{patches_per_image} patches of {by(self.patch_size)} from one image are too many to be "
                "held in memory: lower patches_per_image and raise images_per_epoch."
            )
        if images_per_epoch is not None:
            images_per_epoch = check_count(images_per_epoch, "images_per_epoch")
        self.images_per_epoch = images_per_epoch
        if not isinstance(normalize, bool):
            raise TypeError(f"normalize must be True or False, got {normalize!r}.")
        self.normalize = normalize
        if on_error is None:
            on_error = images.on_error if isinstance(images, ImageFolder) else "warn"
        self.on_error = check_choice(on_error, "on_error", "warn", "raise")
        self.sample_weight = sample_weight
        self._source = as_source(images)
        if sample_weight is not None:
            if isinstance(self._source, StreamSource):
                raise ValueError("sample_weight is for images that have a length, and can be counted.")
            self._source = self._source.weighted(check_sample_weight(sample_weight, self._source.indexes))
        self._found: Kind | None = None
        if images_per_epoch is None and isinstance(self._source, StreamSource):
            raise ValueError("Images without a length need images_per_epoch: where does an epoch end?")

    @property
    def indexes(self) -> Any:
        """Which of the images are drawn from."""
        return self._source.indexes if isinstance(self._source, SizedSource) else None

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of a patch, ``(height, width)`` or ``(height, width, channels)`` as the first image has."""
        return (*self.patch_size, *self._kind.channels)

    @property
    def is_paired(self) -> bool:
        """Whether the noisy side is given beside the clean one."""
        return self._kind.n_sides == 2

    @property
    def dtype(self) -> Any:
        """Type of the images as they are given; patches are float32."""
        return self._kind.dtype

    @property
    def is_scaled(self) -> bool:
        """Whether patches are integers that are brought to [0, 1]."""
        return self.normalize and self._kind.dtype.kind in "ui"

    def __len__(self) -> int:
        """Return the number of patches of an epoch."""
        return self._n_visits * self.patches_per_image

    def draw(self, generator: torch.Generator) -> Generator[Block, None, None]:
        """Yield the patches of an epoch in random order, in blocks.

        Parameters
        ----------
        generator : torch.Generator
            Decides on everything that is random; on the CPU. One number is drawn from it.

        Yields
        ------
        tuple of two Tensor of shape (n, height, width[, channels]), float32
            Inputs and targets, the same object where images are not paired. Blocks are of different
            lengths, none larger than 16 MB and one patch.
        """
        kind, pool, source, root = self._kind, Pool(self._kind), self._source, _root_of(generator)
        visits, mixing = source.order(stream(root, "visits")), stream(root, "mixing")
        parts = self._visit(visits, self._n_visits, self.patches_per_image, source.release)
        with closing(parts):
            for patches in parts:
                pool.add(patches)
                if pool.n_bytes >= POOL_BYTES or pool.n_images >= POOL_IMAGES:
                    yield from map(kind.block, pool.take(mixing, kind.block_length, keep=True))
        yield from map(kind.block, pool.take(mixing, kind.block_length, keep=False))

    def first(self, n: int, generator: torch.Generator) -> Block:
        """Return some patches from all over the images, to learn their statistics from.

        Parameters
        ----------
        n : int
            How many patches are wanted.
        generator : torch.Generator
            Decides on images and places; on the CPU. One number is drawn from it.

        Returns
        -------
        tuple of two Tensor of shape (n, height, width[, channels]), float32
            Inputs and targets, as from :meth:`draw`. What has no length is read on, until the
            images take 64 MB, so there may be fewer patches; they are kept for the next epoch.
        """
        at_least = max(IMAGES_AT_A_LOOK, -(-check_count(n, "n") // self.patches_per_image))
        n_images = min(n, at_least, self._n_visits)
        if isinstance(self._source, SizedSource):
            n_images = min(n_images, len(self._source))
        kind, visits = self._kind, self._source.preview(stream(_root_of(generator), "visits"))
        sides = list(self._visit(visits, n_images, -(-n // n_images), release=None))
        return kind.block(tuple(joined(side, kind)[:n] for side in zip(*sides, strict=True)))

    def split(
        self, fraction: float, random_state: int | RandomState | None = None
    ) -> tuple[RandomPatches, RandomPatches]:
        """Return patches to train on and patches to validate with, which share no image.

        Parameters
        ----------
        fraction : float
            The share of images held out, between 0 and 1; each part gets at least one.
        random_state : int, RandomState or None, optional
            Decides which images. An integer gives the same parts every time.

        Returns
        -------
        tuple of two RandomPatches
            Training and validation. ``images_per_epoch``, where given, is shared out likewise.

        Raises
        ------
        ValueError
            Where images have no length, or where there are fewer than two.
        """
        if not isinstance(self._source, SizedSource):
            raise ValueError(
                "Images without a length cannot be split, since what comes is not known. Pass other "
                "images for validation, or a list or data set."
            )
        _ = self._kind  # found now, so that both parts have the same
        training, validation = copy.copy(self), copy.copy(self)
        training._source, validation._source = self._source.split(fraction, random_state)
        if self.images_per_epoch is not None:
            validation.images_per_epoch = max(1, round(fraction * self.images_per_epoch))
            training.images_per_epoch = max(1, self.images_per_epoch - validation.images_per_epoch)
        return training, validation

    @property
    def _n_visits(self) -> int:
        """How many images make an epoch."""
        if self.images_per_epoch is not None:
            return self.images_per_epoch
        assert isinstance(self._source, SizedSource)  # the constructor saw to it
        return len(self._source)

    @property
    def _kind(self) -> Kind:
        """What all images have in common, as the first one that can be used has it."""
        if self._found is None:
            for index, _ in self._source.preview():
                try:
                    self._found = self._kind_of(index)
                except UnreadableImageError as error:
                    self._leave_out(index, error)
                else:
                    self._found = self._with_depth(self._found)
                    return self._found
            raise self._source.nothing_left()
        return self._found

    def _with_depth(self, kind: Kind) -> Kind:
        """Return the kind with the range that integers of 16 bits use, by a look at some images."""
        if not kind.normalize or kind.dtype.kind not in "iu" or kind.dtype.itemsize != 2:
            return kind
        ranges = []
        for index, _ in islice(self._source.preview(torch.Generator().manual_seed(0)), LOOKED_AT_FOR_DEPTH):
            try:
                sides = as_sides(self._source.fetch(index), self._source.name(index))
            except UnreadableImageError:  # left out, and named, when its turn comes
                continue
            ranges += [IntensityRange.of(side) for side in sides if side.dtype == kind.dtype]
        widest = IntensityRange(min(r.black for r in ranges), max(r.white for r in ranges))
        return replace(kind, deep=widest)

    def counted_like(self, other: RandomPatches) -> RandomPatches:
        """Return the patches with integers of 16 bits in the range of other patches, as for validation."""
        if self._kind.dtype != other._kind.dtype:
            return self
        patches = copy.copy(self)
        patches._found = replace(self._kind, deep=other._kind.deep)
        return patches

    def _kind_of(self, index: int) -> Kind:
        sides = as_sides(self._source.fetch(index), self._source.name(index))
        kind = Kind(self.patch_size, sides[0].shape[2:], sides[0].dtype, len(sides), self.normalize)
        self._refuse(index, kind.problem_of(sides))
        return kind

    def _visit(
        self,
        visits: Iterator[Visit],
        wanted: int,
        count: int,
        release: Callable[[int], None] | None,
    ) -> Generator[Sides, None, None]:
        """Yield ``count`` patches of each of so many usable images; without ``release`` for a look only."""
        is_stream = isinstance(self._source, StreamSource)
        n_workers = 0 if is_stream and release is None else self._source.n_workers  # or its room fills unseen
        ahead = max(1, min(self._source.most_ahead, AHEAD_ENTRIES // (count * self._kind.n_entries)))
        pending: deque[tuple[int, Future[Sides]]] = deque()
        with executor_of(n_workers) as executor:
            while wanted:
                for index, seed in islice(visits, min(ahead, wanted) - len(pending)):
                    pending.append((index, executor.submit(self._cut, self._kind, index, count, seed)))
                if not pending:
                    return
                index, future = pending.popleft()
                try:
                    patches = future.result()
                except UnreadableImageError as error:
                    self._leave_out(index, error)
                    continue
                if release is not None:
                    release(index)
                wanted -= 1
                yield patches

    def _cut(self, kind: Kind, index: int, count: int, seed: int) -> Sides:
        """Return random patches of one image; the seed makes them independent of what other threads do."""
        sides = as_sides(self._source.fetch(index), self._source.name(index))
        self._refuse(index, kind.problem_of(sides))
        generator = torch.Generator().manual_seed(seed)
        corners = random_corners(sides[0], self.patch_size, count, generator)
        patches = tuple(cut(side, self.patch_size, corners) for side in sides)
        if not all(is_finite(side) for side in patches):
            self._refuse(index, "holds NaN or infinity")
        return patches

    def _refuse(self, index: int, problem: str) -> None:
        if problem:
            raise UnreadableImageError(f"{self._source.name(index)} {problem}.")

    def _leave_out(self, index: int, error: UnreadableImageError) -> None:
        if self.on_error == "raise":
            raise error
        reason = str(error).rstrip(".") + "."
        if self._source.leave_out(index, reason):
            warn_user(f"{reason} It is left out from now on.", SkippedImageWarning)


def _root_of(generator: torch.Generator) -> int:
    """Return the root seed of one pass, of which there is a stream for all that is random in it."""
    return int(torch.randint(2**62, (), generator=generator))
