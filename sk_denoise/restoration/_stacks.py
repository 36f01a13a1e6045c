"""Denoising of stacks plane by plane, with one noise level for all planes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from sk_denoise._noise_level import estimate_noise_level
from sk_denoise._noise_model import NoiseModel
from sk_denoise._validation import refuse_masked
from sk_denoise.restoration._image_repair import color_planes, fill_hidden, visible_pixels
from sk_denoise.restoration._noise_estimation import estimate_planes
from sk_denoise.restoration._pretrained import MODELS

__all__ = ["StackDenoiser", "denoise_array", "estimate_shared_noise", "sample_planes", "is_blind_model"]

# Number of planes from which the noise of a channel is estimated.
N_SAMPLED_PLANES = 8
# Side in pixels of the part of a plane that the noise is estimated from, so that memory stays small for
# planes of any size. Steps between the places, as shares of the free rows and columns: they fill them evenly.
WINDOW_SIDE, WINDOW_STEPS = 640, (0.7549, 0.5698)
# Largest number of samples of a colour: RGB and alpha.
MAX_SAMPLES = 4

Image = NDArray[Any]
Callback = Callable[[int, int], object]


def estimate_shared_noise(
    planes: Sequence[Image], options: Mapping[str, Any], masks: Sequence[Image | None]
) -> dict[str, Any]:
    """Return arguments of denoise_image with the noise of all planes of one source.

    Parameters
    ----------
    planes : sequence of ndarray of shape (height, width) or (height, width, samples)
        Some planes of the stack.
    options : mapping
        Arguments of denoise_image for all planes.
    masks : sequence of ndarray of bool or None
        Valid pixels of each plane.
    """
    # A closed shutter or a blank page has no noise, and says nothing about the others.
    pairs = [
        (plane, mask)
        for plane, mask in zip(planes, masks, strict=True)
        if _largest_number(plane if mask is None else plane[mask]) > 0
    ]
    varied = [plane for plane, _ in pairs]
    if not isinstance(options.get("model", "auto"), str):
        levels = [
            estimate_noise_level(color_planes(fill_hidden(plane, visible_pixels(plane, mask))))
            for plane, mask in pairs
        ]
        return {"sigma": float(np.median(levels)) if levels else 0.0}
    if not varied:
        return {"noise": NoiseModel("none", 0.0)}
    kind, outliers = options.get("noise", "auto"), options.get("outliers", "keep")
    return {"noise": estimate_planes(varied, [mask for _, mask in pairs], kind, outliers)}


def _window(plane: Image, number: int) -> Image:
    """Return a part of a large plane, from another place for each number."""
    windows = []
    for axis, step in enumerate(WINDOW_STEPS):
        length = min(plane.shape[axis], WINDOW_SIDE)
        start = round((0.5 + number * step) % 1 * (plane.shape[axis] - length))
        windows.append(slice(start, start + length))
    # A copy, so that the rest of the plane is not kept in memory.
    return plane[windows[0], windows[1]].copy()


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
        self.max_number = 0.0
        is_free = sigma is None and is_blind_model(options.get("model", "auto"))
        self.levels: list[dict[str, Any]] | None = [{}] * self.n_channels if is_free else self._resolve(sigma)

    @property
    def n_channels(self) -> int:
        """Number of independent channels."""
        return self.n_outer * max(1, self.n_inner)

    def _resolve(self, sigma: ArrayLike | None) -> list[dict[str, Any]] | None:
        """Return the arguments of each channel, or None if its noise must be estimated."""
        if sigma is None:
            # A noise model or a noiser is known already.
            is_known = not isinstance(self.options.get("noise", "auto"), str)
            return [{}] * self.n_channels if is_known else None
        array = np.asarray(sigma)
        if array.ndim == 1 and self.n_channels > 1:
            if len(array) != self.n_channels:
                raise ValueError(
                    f"sigma must be a number, a map of shape {self.size} or {self.n_channels} numbers, one "
                    f"for each channel, got {len(array)} numbers."
                )
            return [{"sigma": level} for level in array]
        if array.ndim > 2 or (array.ndim == 2 and array.shape != self.size):
            raise ValueError(
                f"sigma must be a number, a map of shape {self.size}, one for all planes, or a number for "
                f"each channel C, got the shape {array.shape}."
            )
        return [{"sigma": sigma}] * self.n_channels

    def _outer_channel(self, index: int) -> int:
        if "C" not in self.leading_axes:
            return 0
        return int(np.unravel_index(index, self.leading_shape)[self.leading_axes.index("C")])

    def estimate_levels(
        self,
        read: Callable[[int], Image],
        missing: Collection[int] = (),
        read_mask: Callable[[int], Image] | None = None,
    ) -> list[dict[str, Any]]:
        """Return arguments with the noise of each channel, estimated from some planes.

        Parameters
        ----------
        read : callable
            Function from the index of a plane to the plane.
        missing : collection of int
            Indexes of planes without measured pixels.
        read_mask : callable, optional
            Function from the index of a plane to its valid pixels.
        """
        levels = []
        for outer in range(self.n_outer):
            own = [index for index in range(self.n_planes) if self._outer_channel(index) == outer]
            own = [index for index in own if index not in missing]
            sampled = [own[i] for i in sample_planes(len(own))]
            planes = [_window(read(index), number) for number, index in enumerate(sampled)]
            masks: list[Image | None] = [None] * len(planes)
            if read_mask is not None:
                masks = [
                    _window(np.asarray(read_mask(index), bool), number)
                    for number, index in enumerate(sampled)
                ]
            for inner in range(max(1, self.n_inner)):
                channel = [plane[..., inner] if self.n_inner else plane for plane in planes]
                levels.append(estimate_shared_noise(channel, self.options, masks))
        return levels

    def prepare(
        self,
        read: Callable[[int], Image],
        missing: Collection[int] = (),
        read_mask: Callable[[int], Image] | None = None,
    ) -> None:
        """Estimate missing noise levels and the largest number from some planes."""
        if self.levels is None:
            self.levels = self.estimate_levels(read, missing, read_mask)
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
        arguments = self.levels[channel]
        largest = _largest_number(plane)
        # A closed shutter, a blank page or a plane of NaN has nothing to remove.
        if largest == 0:
            return plane.copy()
        # A dark plane has less noise than the others. A level beyond all planes is in another unit, and
        # refused.
        if "sigma" in arguments and largest < np.max(arguments["sigma"]) <= self.max_number:
            arguments = {"sigma": np.minimum(arguments["sigma"], largest)}
        # The noise of each channel stands in place of the choice of the user.
        return self.denoise(plane, **{**self.options, **arguments, "callback": callback})

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
    """Return the largest magnitude or difference of the numbers; 0 if they are equal."""
    if plane.dtype.kind == "f":
        plane = plane[np.isfinite(plane)]
    if not plane.size:
        return 0.0
    low, high = float(plane.min()), float(plane.max())
    # A constant plane has no noise.
    return max(high - low, abs(low), abs(high)) if high > low else 0.0


def is_blind_model(model: Any) -> bool:
    """Return whether a network takes no noise level."""
    if isinstance(model, str):
        return model in MODELS and MODELS[model].is_blind
    return model.noise_levels_ is None


def _tile_callback(callback: Callback | None, done: int, total: int) -> Callback | None:
    """Return a callback for tiles that counts planes, or tiles if there is one plane."""
    if callback is None or total == 1:
        return callback
    return lambda _, __: callback(done, total)


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
        denoiser.prepare(read, read_mask=masks)
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
            f"{axes!r} for the shape {shape}."
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
