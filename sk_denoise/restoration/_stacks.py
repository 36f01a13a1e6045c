"""Denoising of stacks plane by plane, with one noise level for all planes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from sk_denoise._intensity import without_alpha
from sk_denoise._noise_level import estimate_noise_level
from sk_denoise._validation import refuse_masked

__all__ = ["StackDenoiser", "denoise_array", "estimate_shared_level", "sample_planes"]

# Number of planes from which the noise of a channel is estimated.
N_SAMPLED_PLANES = 8
# Largest number of samples of a colour: RGB and alpha.
MAX_SAMPLES = 4

Image = NDArray[Any]
Callback = Callable[[int, int], object]


def estimate_shared_level(planes: Sequence[Image]) -> float:
    """Estimate the noise level that all planes of one source have.

    Parameters
    ----------
    planes : sequence of ndarray of shape (height, width) or (height, width, samples)
        Some planes of the stack.

    Returns
    -------
    float
        Median of the levels of the planes that are not constant, in the unit of the stack.
    """
    levels = []
    for plane in planes:
        colors = without_alpha(plane)
        channels = np.moveaxis(colors, -1, 0) if colors.ndim == 3 else colors[None]
        levels.append(estimate_noise_level(channels))
    # A closed shutter or a blank page has no noise, and says nothing about the others.
    positive = [level for level in levels if level > 0]
    return float(np.median(positive)) if positive else 0.0


def sample_planes(n_planes: int, missing: Collection[int] = ()) -> list[int]:
    """Return the indexes of some planes, evenly spaced, without missing ones."""
    present = [index for index in range(n_planes) if index not in missing]
    n_sampled = min(N_SAMPLED_PLANES, len(present))
    return [present[i] for i in np.linspace(0, len(present) - 1, n_sampled).round().astype(int)]


class StackDenoiser:
    """Denoiser of the planes of a stack.

    Parameters
    ----------
    axes : str
        Letters of the axes; the last ones are YX, or YX and one letter: S for colours, another one for
        channels of data.
    shape : tuple of int
        Size of each axis.
    denoise : callable
        Function :func:`~sk_denoise.restoration.denoise_image` for one plane.
    sigma : array-like or None
        Noise level: a number, a map (height, width), or a number for each channel C. None estimates it.
    options : dict
        Further arguments of ``denoise``.
    """

    def __init__(
        self,
        axes: str,
        shape: tuple[int, ...],
        denoise: Callable[..., Image],
        sigma: ArrayLike | None,
        options: dict[str, Any],
    ) -> None:
        self.denoise, self.options = denoise, options
        n_plane_axes = 2 if axes.endswith("YX") else 3
        self.leading_axes, self.leading_shape = axes[:-n_plane_axes], shape[:-n_plane_axes]
        self.n_planes = int(np.prod(self.leading_shape, dtype=np.int64))
        self.size = shape[-n_plane_axes:][:2]
        # Channels of data are an axis before the plane, or the last axis of it.
        self.n_inner = shape[-1] if n_plane_axes == 3 and axes[-1] != "S" else 0
        self.n_outer = self.leading_shape[self.leading_axes.index("C")] if "C" in self.leading_axes else 1
        # A blind network takes no level.
        model = options.get("model", "auto")
        self.max_number = 0.0
        self.is_blind = sigma is None and not isinstance(model, str) and model.noise_levels_ is None
        self.levels: list[Any] | None = [None] * self.n_channels if self.is_blind else self._resolve(sigma)

    @property
    def n_channels(self) -> int:
        """Number of independent channels."""
        return self.n_outer * max(1, self.n_inner)

    def _resolve(self, sigma: ArrayLike | None) -> list[Any] | None:
        """Return the level of each channel, or None if levels must be estimated."""
        if sigma is None:
            return None
        array = np.asarray(sigma)
        if array.ndim == 1 and self.n_channels > 1:
            if len(array) != self.n_channels:
                raise ValueError(
                    f"sigma must be a number, a map of shape {self.size} or {self.n_channels} numbers, one "
                    "for "
                    f"each channel, got {len(array)} numbers."
                )
            return list(array)
        if array.ndim > 2 or (array.ndim == 2 and array.shape != self.size):
            raise ValueError(
                f"sigma must be a number, a map of shape {self.size}, one for all planes, or a number for "
                "each "
                f"channel C, got the shape {array.shape}."
            )
        return [sigma] * self.n_channels

    def _outer_channel(self, index: int) -> int:
        if "C" not in self.leading_axes:
            return 0
        return int(np.unravel_index(index, self.leading_shape)[self.leading_axes.index("C")])

    def estimate_levels(self, read: Callable[[int], Image], missing: Collection[int] = ()) -> list[float]:
        """Return the noise level of each channel, estimated from some planes.

        Parameters
        ----------
        read : callable
            Function from the index of a plane to the plane.
        missing : collection of int
            Indexes of planes without measured pixels.
        """
        levels = []
        for outer in range(self.n_outer):
            own = [index for index in range(self.n_planes) if self._outer_channel(index) == outer]
            own = [index for index in own if index not in missing]
            planes = [read(own[i]) for i in sample_planes(len(own))]
            for inner in range(max(1, self.n_inner)):
                channel = [plane[..., inner] if self.n_inner else plane for plane in planes]
                levels.append(estimate_shared_level([_check_plane(plane) for plane in channel]))
        return levels

    def prepare(self, read: Callable[[int], Image], missing: Collection[int] = ()) -> None:
        """Estimate what is not known yet from some planes, see :meth:`estimate_levels`."""
        if self.levels is None:
            self.levels = list(self.estimate_levels(read, missing))
        indexes = sample_planes(self.n_planes, missing)
        self.max_number = max((_largest_number(read(index)) for index in indexes), default=0.0)

    def denoise_plane(self, plane: Image, index: int, callback: Callback | None = None) -> Image:
        """Denoise the plane with an index."""
        first = self._outer_channel(index) * max(1, self.n_inner)
        if not self.n_inner:
            return self._denoise_channel(plane, first, callback)
        channels = [
            self._denoise_channel(np.ascontiguousarray(plane[..., inner]), first + inner, callback)
            for inner in range(self.n_inner)
        ]
        return np.stack(channels, axis=-1)

    def _denoise_channel(self, plane: Image, channel: int, callback: Callback | None) -> Image:
        assert self.levels is not None
        level = self.levels[channel]
        if level is not None:
            largest = _largest_number(plane)
            # A closed shutter or a blank page has nothing to remove, or less than the other planes. A level
            # beyond all planes is in another unit, which is refused.
            if largest < np.max(level) <= self.max_number:
                level = np.minimum(level, largest)
            if not np.any(level):
                return plane.copy()
        return self.denoise(plane, sigma=level, **{**self.options, "callback": callback})

    def denoise_all(
        self,
        read: Callable[[int], Image],
        callback: Callback | None,
        *,
        missing: Collection[int] = (),
        first: int = 0,
        total: int | None = None,
    ) -> Iterator[Image]:
        """Yield the denoised planes in order.

        Parameters
        ----------
        read : callable
            Function from the index of a plane to the plane.
        callback : callable or None
            Function that is called as ``callback(done, total)`` with the number of planes. It is called at
            every tile too, so that an exception from it soon ends the computation.
        missing : collection of int
            Indexes of planes that stay as they are.
        first : int
            Number of planes of other series before these ones.
        total : int, optional
            Number of planes of all series.
        """
        total = self.n_planes if total is None else total
        self.prepare(read, missing)
        for index in range(self.n_planes):
            done = first + index
            plane = read(index)
            if index not in missing:
                plane = self.denoise_plane(plane, index, _tile_callback(callback, done, total))
            # The only plane has told of its tiles.
            if callback is not None and total > 1:
                callback(done + 1, total)
            yield plane


def _largest_number(plane: Image) -> float:
    """Return the largest magnitude or difference of the numbers of a plane."""
    if plane.dtype.kind == "f":
        plane = plane[np.isfinite(plane)]
    if not plane.size:
        return 0.0
    low, high = float(plane.min()), float(plane.max())
    # A constant plane has no noise.
    return max(high - low, abs(low), abs(high)) if high > low else 0.0


def _tile_callback(callback: Callback | None, done: int, total: int) -> Callback | None:
    """Return a callback for tiles that counts planes, or tiles if there is one plane."""
    if callback is None or total == 1:
        return callback
    return lambda _, __: callback(done, total)


def _check_plane(plane: Image) -> Image:
    """Return the finite part of a plane to estimate its noise from."""
    if plane.dtype.kind == "f" and not np.isfinite(plane).all():
        finite = np.isfinite(plane)
        # Filled with one number, missing pixels count as constant blocks, which are left out.
        fill = float(np.median(plane[finite])) if finite.any() else 0.0
        return np.where(finite, plane, plane.dtype.type(fill))
    return plane


def denoise_array(
    image: ArrayLike,
    axes: str,
    denoise: Callable[..., Image],
    *,
    sigma: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    verbose: bool = False,
    callback: Callback | None = None,
    **options: Any,
) -> Image:
    """Denoise the planes of an array, in any order of the axes.

    Parameters
    ----------
    image : array-like
        The stack.
    axes : str
        A letter for each axis: Y and X of the planes, S for the samples of a colour, C for independent
        channels. All others count planes.
    denoise : callable
        Function :func:`~sk_denoise.restoration.denoise_image` for one plane.
    sigma : array-like or None
        See :class:`StackDenoiser`.
    mask : array-like of bool, optional
        Valid pixels, of the shape (height, width) or that of the image without S.
    verbose : bool
        Whether to show a progress bar of the planes.
    callback : callable, optional
        Function that is called as ``callback(done, total)`` with the number of planes.
    **options
        Further arguments of ``denoise``.

    Returns
    -------
    ndarray of the shape and type of image
        Denoised stack.
    """
    refuse_masked(image, "image")
    array = np.asarray(image)
    axes = check_letters(axes, array.shape)
    has_samples = "S" in axes
    leading = [i for i, axis in enumerate(axes) if axis not in "YXS"]
    order = (*leading, axes.index("Y"), axes.index("X"), *([axes.index("S")] if has_samples else []))
    stack = array.transpose(order)
    names = "".join(axes[i] for i in order)
    denoiser = StackDenoiser(names, stack.shape, denoise, sigma, options)
    masks = None if mask is None else _split_mask(mask, array.shape, axes, order)
    restored = np.empty_like(array, dtype=array.dtype.newbyteorder("="))
    outputs = restored.transpose(order)

    def read(index: int) -> Image:
        return np.ascontiguousarray(stack[np.unravel_index(index, denoiser.leading_shape)])

    with tqdm(disable=not verbose, unit="plane", total=denoiser.n_planes) as bar:
        if callback is not None and denoiser.n_planes > 1:
            callback(0, denoiser.n_planes)
        if masks is None:
            for index, plane in enumerate(denoiser.denoise_all(read, callback)):
                outputs[np.unravel_index(index, denoiser.leading_shape)] = plane
                bar.update()
            return restored
        denoiser.prepare(read)
        for index in range(denoiser.n_planes):
            denoiser.options = {**options, "mask": masks(index)}
            inner = _tile_callback(callback, index, denoiser.n_planes)
            plane = denoiser.denoise_plane(read(index), index, inner)
            outputs[np.unravel_index(index, denoiser.leading_shape)] = plane
            bar.update()
            if callback is not None and denoiser.n_planes > 1:
                callback(index + 1, denoiser.n_planes)
    return restored


def check_letters(axes: object, shape: tuple[int, ...]) -> str:
    """Return the letters of the axes in upper case, or refuse them."""
    if not isinstance(axes, str):
        raise TypeError(f'axes must be a text with a letter for each axis, such as "ZYX", got {axes!r}.')
    letters = axes.upper()
    if len(letters) != len(shape) or not letters.isalpha():
        raise ValueError(
            'axes must have a letter for each axis, such as "ZYX" for (planes, height, width), got '
            f"{axes!r} for "
            f"the shape {shape}."
        )
    for letter, meaning in (("Y", "rows"), ("X", "columns")):
        if letters.count(letter) != 1:
            raise ValueError(f"axes must have {letter}, the {meaning}, once, got {axes!r}.")
    for letter in "SC":
        if letters.count(letter) > 1:
            raise ValueError(f"axes may have {letter} only once, got {axes!r}.")
    if 0 in shape:
        raise ValueError(f"image must have at least one number on each axis, got the shape {shape}.")
    if "S" in letters and shape[letters.index("S")] > MAX_SAMPLES:
        raise ValueError(
            f"The axis S, samples of a colour, has 1 to {MAX_SAMPLES} numbers, got "
            f"{shape[letters.index('S')]}. Take C for channels of data."
        )
    return letters


def _split_mask(
    mask: ArrayLike, shape: tuple[int, ...], axes: str, order: tuple[int, ...]
) -> Callable[[int], Image]:
    """Return a function from the index of a plane to its mask."""
    array = np.asarray(mask)
    size = (shape[axes.index("Y")], shape[axes.index("X")])
    plain_shape = tuple(n for n, axis in zip(shape, axes, strict=True) if axis != "S")
    if array.shape == size and (array.shape != plain_shape or axes.index("Y") < axes.index("X")):
        return lambda _: array
    if array.shape != plain_shape:
        raise ValueError(
            f"mask must have the shape {size}, for all planes, or {plain_shape}, got {array.shape}."
        )
    plain_axes = axes.replace("S", "")
    masks = array.transpose([plain_axes.index(axes[i]) for i in order if axes[i] != "S"])
    leading_shape = masks.shape[:-2]
    return lambda index: masks[np.unravel_index(index, leading_shape)]
