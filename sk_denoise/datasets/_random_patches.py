"""Random patches of images for training, also of more images than fit in memory."""

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
from sk_denoise._validation import (
    check_choice,
    check_height_and_width,
    check_integer,
    check_sample_weight,
    warn_user,
)
from sk_denoise.datasets._folder import ImageFolder
from sk_denoise.datasets._patches import (
    Block,
    PatchLayout,
    PatchPool,
    concatenate_patches,
    create_executor,
    cut_patches,
    draw_corners,
    format_size,
    is_finite,
)
from sk_denoise.datasets._sources import Sides, SizedSource, StreamSource, Visit, as_sides, as_source
from sk_denoise.exceptions import SkippedImageWarning, UnreadableImageError

__all__ = ["RandomPatches"]

# Memory for the patches that are mixed, in the type of the images.
POOL_BYTES = 2**25
# Number of images whose patches are mixed. With more of them, threads would wait while the network trains on
# a large pool.
POOL_IMAGES = 64
# Number of images of 16 bits that are read to detect their bit depth.
N_DEPTH_SAMPLES = 16
# Smallest number of images for statistics, if there are as many.
N_STATISTICS_IMAGES = 64
# Largest number of entries of patches that are cut before they are needed.
MAX_PREFETCH_ENTRIES = 2**24
# Largest number of pixels of the patches of one image.
MAX_PIXELS_PER_IMAGE = 2**28


class RandomPatches:
    """Patches from random places of images, new ones in every epoch.

    Images are read one by one, some ahead of time by a thread. The patches of many images are mixed, and only
    these are in memory. An epoch always yields ``len(patches)`` patches: if an image is unusable, others are
    visited more often.

    Parameters
    ----------
    images : ImageFolder, path, stack, list, data set, iterable or callable
        Clean images, or pairs ``(noisy, clean)`` of the same size and type:

        - an :class:`ImageFolder`, or the path of a folder, gray if all its files are gray;
        - a stack of shape (n, height, width[, channels]), or a tensor (n, [channels,] height, width);
        - a list of images of any sizes, or of pairs: ``list(zip(noisy, clean))``;
        - a data set with ``len()`` and ``[index]``, such as torch's, read by one thread;
        - an iterable without length, a function that returns a new iterator, or an iterator. Each epoch
          continues after the images of the last one. At the end, the first two are restarted; the end of an
          iterator is an error.

        Arrays are (height, width[, channels]), tensors ([channels,] height, width).
    patch_size : int or tuple of two int
        Height and width of a patch in pixels.
    patches_per_image : int, default=16
        Number of patches that are cut in one visit to an image.
    images_per_epoch : int, optional
        Number of visits to images in an epoch. By default each image is visited once. It is required for
        images without a length.
    normalize : bool, default=True
        Whether to scale integers to [0, 1]. The range of 8 bits is that of their type. That of 16 bits goes
        from 0 to the largest number of 10, 12, 14 or 16 bits, the smallest depth that holds a sample of the
        images. Wider integers are refused, because their range is unknown. Floats are not scaled. With False,
        all images keep their unit, and must have the type of the first one.
    on_error : {"warn", "raise"}, optional
        Treatment of unusable images: unreadable ones, those smaller than a patch or with other channels than
        the first one, and those with NaN or infinity in a patch. "warn" skips the image from then on, with
        one ``SkippedImageWarning`` that names it; "raise" raises an error. The default is that of the
        ImageFolder, and "warn" for other images.
    sample_weight : array-like of shape (n_images,), optional
        Weight of each image, at least 0, for images with a length. The number of visits to an image in an
        epoch is its weight divided by the mean weight, rounded up or down at random.

    Attributes
    ----------
    indexes : sequence of int or None
        Indices of the images in use; None for images without a length.

    Raises
    ------
    TypeError, ValueError
        If parameters are out of range or ``images`` has another form; in use also if all images are unusable,
        or an iterator has ended.
    UnreadableImageError
        In use, with ``on_error="raise"``.

    Notes
    -----
    Equal generators give equal patches, bit by bit. They depend neither on threads, nor on whether a damaged
    file was found in an earlier epoch or is found in this one. There are two exceptions. With images without
    a length, each epoch continues after the last one. An image with NaN or infinity in some places is used
    until a patch holds such a place, so patches differ from then on.

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
        self.patch_size = check_height_and_width(patch_size, "patch_size")
        self.patches_per_image = check_integer(patches_per_image, "patches_per_image")
        if self.patches_per_image * self.patch_size[0] * self.patch_size[1] > MAX_PIXELS_PER_IMAGE:
            raise ValueError(
                f"{patches_per_image} patches of {format_size(self.patch_size)} from one image are too many "
                "to be held in memory: lower patches_per_image and raise images_per_epoch."
            )
        if images_per_epoch is not None:
            images_per_epoch = check_integer(images_per_epoch, "images_per_epoch")
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
                raise ValueError("sample_weight needs images with a length, such as a list or a data set.")
            self._source = self._source.with_weights(check_sample_weight(sample_weight, self._source.indexes))
        self._known_layout: PatchLayout | None = None
        if images_per_epoch is None and isinstance(self._source, StreamSource):
            raise ValueError("Images without a length need images_per_epoch, the length of an epoch.")

    @property
    def indexes(self) -> Any:
        """Indices of the images in use; None for images without a length."""
        return self._source.indexes if isinstance(self._source, SizedSource) else None

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of a patch: ``(height, width[, channels])``."""
        return (*self.patch_size, *self._layout.channels)

    @property
    def is_paired(self) -> bool:
        """Whether the images are pairs of a noisy and a clean side."""
        return self._layout.n_sides == 2

    @property
    def dtype(self) -> Any:
        """Type of the images as they are given; patches are float32."""
        return self._layout.dtype

    @property
    def is_scaled(self) -> bool:
        """Whether images are integers that are scaled to [0, 1]."""
        return self.normalize and self._layout.dtype.kind in "ui"

    def __len__(self) -> int:
        """Return the number of patches of an epoch."""
        return self._n_visits * self.patches_per_image

    def draw(self, generator: torch.Generator) -> Generator[Block, None, None]:
        """Yield the patches of an epoch in random order, in blocks.

        Parameters
        ----------
        generator : torch.Generator
            Source of all randomness, on the CPU. One number is drawn from it.

        Yields
        ------
        tuple of two Tensor of shape (n, height, width[, channels]), float32
            Inputs and targets, the same object if images are not paired. Blocks differ in length. A block
            takes at most 16 MB, or holds a single patch.
        """
        layout, pool, source = self._layout, PatchPool(self._layout), self._source
        root = _draw_root_seed(generator)
        visits, mixing = source.iterate_visits(stream(root, "visits")), stream(root, "mixing")
        parts = self._cut_images(visits, self._n_visits, self.patches_per_image, source.release)
        with closing(parts):
            for patches in parts:
                pool.add(patches)
                if pool.n_bytes >= POOL_BYTES or pool.n_images >= POOL_IMAGES:
                    shuffled = pool.pop_shuffled(mixing, layout.block_length, keep_half=True)
                    yield from map(layout.to_block, shuffled)
        yield from map(layout.to_block, pool.pop_shuffled(mixing, layout.block_length, keep_half=False))

    def first(self, n: int, generator: torch.Generator) -> Block:
        """Return some patches from all over the images, for statistics.

        Parameters
        ----------
        n : int
            Number of patches.
        generator : torch.Generator
            Source of all randomness, on the CPU. One number is drawn from it.

        Returns
        -------
        tuple of two Tensor of shape (n, height, width[, channels]), float32
            Inputs and targets, as from :meth:`draw`. Images without a length are read until they take 64 MB,
            so there may be fewer patches. These images are kept for the next epoch.
        """
        n_images = max(N_STATISTICS_IMAGES, -(-check_integer(n, "n") // self.patches_per_image))
        n_images = min(n, n_images, self._n_visits)
        if isinstance(self._source, SizedSource):
            n_images = min(n_images, len(self._source))
        layout, visits = self._layout, self._source.preview(stream(_draw_root_seed(generator), "visits"))
        sides = list(self._cut_images(visits, n_images, -(-n // n_images), release=None))
        return layout.to_block(
            tuple(concatenate_patches(side, layout)[:n] for side in zip(*sides, strict=True))
        )

    def split(
        self, fraction: float, random_state: int | RandomState | None = None
    ) -> tuple[RandomPatches, RandomPatches]:
        """Split the images into two parts, for training and for validation.

        Parameters
        ----------
        fraction : float
            Share of held-out images, between 0 and 1. Each part gets at least one image.
        random_state : int, RandomState or None, optional
            Seed of the split. An integer gives the same parts every time.

        Returns
        -------
        tuple of two RandomPatches
            Patches for training and for validation, without a common image. ``images_per_epoch``, if given,
            is divided in the same proportion.

        Raises
        ------
        ValueError
            If images have no length, or if there are fewer than two.
        """
        if not isinstance(self._source, SizedSource):
            raise ValueError(
                "Images without a length cannot be split. Pass other images for validation, or a list or a "
                "data set."
            )
        # The layout is determined before the split, so that both parts have the same.
        _ = self._layout
        training, validation = copy.copy(self), copy.copy(self)
        training._source, validation._source = self._source.split(fraction, random_state)
        if self.images_per_epoch is not None:
            validation.images_per_epoch = max(1, round(fraction * self.images_per_epoch))
            training.images_per_epoch = max(1, self.images_per_epoch - validation.images_per_epoch)
        return training, validation

    def match_intensity_range(self, other: RandomPatches) -> RandomPatches:
        """Return these patches, with integers of 16 bits in the range of other patches."""
        if self._layout.dtype != other._layout.dtype:
            return self
        patches = copy.copy(self)
        patches._known_layout = replace(self._layout, depth_range=other._layout.depth_range)
        return patches

    @property
    def _n_visits(self) -> int:
        """Number of visits to images in an epoch."""
        if self.images_per_epoch is not None:
            return self.images_per_epoch
        # The constructor refuses other sources without images_per_epoch.
        assert isinstance(self._source, SizedSource)
        return len(self._source)

    @property
    def _layout(self) -> PatchLayout:
        """Layout of the first usable image, which all images must have."""
        if self._known_layout is None:
            for index, _ in self._source.preview():
                try:
                    layout = self._layout_of_image(index)
                except UnreadableImageError as error:
                    self._exclude(index, error)
                else:
                    self._known_layout = self._with_depth_range(layout)
                    return self._known_layout
            raise self._source.no_usable_image_error()
        return self._known_layout

    def _layout_of_image(self, index: int) -> PatchLayout:
        sides = as_sides(self._source.fetch(index), self._source.name(index))
        layout = PatchLayout(self.patch_size, sides[0].shape[2:], sides[0].dtype, len(sides), self.normalize)
        self._raise_problem(index, layout.find_problem(sides))
        return layout

    def _with_depth_range(self, layout: PatchLayout) -> PatchLayout:
        """Return the layout with the range of 16-bit integers in a sample of images."""
        if not layout.normalize or layout.dtype.kind not in "iu" or layout.dtype.itemsize != 2:
            return layout
        ranges = []
        for index, _ in islice(self._source.preview(torch.Generator().manual_seed(0)), N_DEPTH_SAMPLES):
            try:
                sides = as_sides(self._source.fetch(index), self._source.name(index))
            # The image is excluded with a warning when its patches are cut.
            except UnreadableImageError:
                continue
            ranges += [IntensityRange.of(side) for side in sides if side.dtype == layout.dtype]
        widest = IntensityRange(min(r.black for r in ranges), max(r.white for r in ranges))
        return replace(layout, depth_range=widest)

    def _cut_images(
        self,
        visits: Iterator[Visit],
        n_images: int,
        n_patches: int,
        release: Callable[[int], None] | None,
    ) -> Generator[Sides, None, None]:
        """Yield the patches of usable images, ``n_patches`` of each of ``n_images``.

        ``release`` is called with the index of each image that was used. None keeps the images for an epoch.
        """
        is_stream = isinstance(self._source, StreamSource)
        # A thread that reads ahead would fill the buffer of a stream unnoticed.
        n_workers = 0 if is_stream and release is None else self._source.n_workers
        n_affordable = MAX_PREFETCH_ENTRIES // (n_patches * self._layout.n_entries)
        max_pending = max(1, min(self._source.max_prefetch, n_affordable))
        pending: deque[tuple[int, Future[Sides]]] = deque()
        with create_executor(n_workers) as executor:
            while n_images:
                for index, seed in islice(visits, min(max_pending, n_images) - len(pending)):
                    future = executor.submit(self._cut_image, self._layout, index, n_patches, seed)
                    pending.append((index, future))
                if not pending:
                    return
                index, future = pending.popleft()
                try:
                    patches = future.result()
                except UnreadableImageError as error:
                    self._exclude(index, error)
                    continue
                if release is not None:
                    release(index)
                n_images -= 1
                yield patches

    def _cut_image(self, layout: PatchLayout, index: int, n_patches: int, seed: int) -> Sides:
        """Return random patches of one image."""
        sides = as_sides(self._source.fetch(index), self._source.name(index))
        self._raise_problem(index, layout.find_problem(sides))
        # A seed for each image makes its patches independent of the order of threads.
        generator = torch.Generator().manual_seed(seed)
        corners = draw_corners(sides[0], self.patch_size, n_patches, generator)
        patches = tuple(cut_patches(side, self.patch_size, corners) for side in sides)
        if not all(is_finite(side) for side in patches):
            self._raise_problem(index, "holds NaN or infinity")
        return patches

    def _raise_problem(self, index: int, problem: str) -> None:
        if problem:
            raise UnreadableImageError(f"{self._source.name(index)} {problem}.")

    def _exclude(self, index: int, error: UnreadableImageError) -> None:
        if self.on_error == "raise":
            raise error
        reason = str(error).rstrip(".") + "."
        if self._source.exclude(index, reason):
            warn_user(f"{reason} It is left out from now on.", SkippedImageWarning)


def _draw_root_seed(generator: torch.Generator) -> int:
    """Draw the root seed of an epoch, from which its random streams are derived."""
    return int(torch.randint(2**62, (), generator=generator))
