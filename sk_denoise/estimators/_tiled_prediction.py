"""Prediction for images of any size: small ones in batches, large ones in tiles."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from sk_denoise._intensity import UNIT
from sk_denoise._resources import Cost, entries_at_once, threads_for_flops
from sk_denoise._validation import has_finite_numbers, warn_of_infinite_output, warn_user
from sk_denoise.networks import Bounded

__all__ = [
    "ResidualClipper",
    "SYMMETRIES",
    "Symmetry",
    "TILE_MEMORY",
    "Tile",
    "TiledPredictor",
    "check_tile_size",
    "forward_derivative",
    "iterate_tiles",
    "max_tile_side",
]

# Arrays of shape (n_images, height, width, channels).
Images = NDArray[Any]
# Noise levels of shape (n_images,), or maps of shape (n_images, height, width).
Levels = NDArray[Any] | None
Symmetry = Callable[[Images], Images]

# Layers of the size of the widest one that are in memory at a time.
LIVE_LAYERS = 8
# Bytes for a tile of a network with attention: larger tiles, since they change its output.
ATTENTION_MEMORY = 2**30
# Bytes for the smallest tile of a network with a wide halo; networks that need more are refused.
MAX_TILE_MEMORY = 2**30
# Pixels around a tile of a network with attention, which sees the whole image.
ATTENTION_HALO = 64

# Rotations and reflections of images, as views: values written into a view are written into the image.
SYMMETRIES: list[Symmetry] = [
    lambda x: x,
    lambda x: x[:, ::-1],
    lambda x: x[:, :, ::-1],
    lambda x: x[:, ::-1, ::-1],
    lambda x: x.swapaxes(1, 2),
    lambda x: x.swapaxes(1, 2)[:, ::-1],
    lambda x: x.swapaxes(1, 2)[:, :, ::-1],
    lambda x: x.swapaxes(1, 2)[:, ::-1, ::-1],
]


@dataclass(frozen=True)
class ResidualClipper:
    """Limits to the input and the residual of a network with a noise-level map.

    Attributes
    ----------
    clip_input : callable
        Takes network inputs (channels last, the noise level after them), and returns them clipped.
    clip_residual : callable
        Takes these inputs and the outputs of the network, and returns the clipped residual.
    """

    clip_input: Callable[[Images], Images]
    clip_residual: Callable[[Images, Images], Images]


@dataclass(frozen=True)
class TiledPredictor:
    """Prediction of a network, in batches of small images and tiles of large ones.

    Attributes
    ----------
    network : Module
        Network in evaluation mode, on its device.
    black, data_range : float
        Black, and the distance from black to white, in the unit of the images; 0 and 1 in the network.
    adds_noise_map : bool
        Whether the input of the network has the noise level as its last channel.
    side : int or None
        Side of the tiles in pixels; None takes images whole.
    halo : int
        Width of the halo of a tile, in pixels.
    batch_pixels : int
        Number of pixels in a batch of small images.
    flops_per_pixel : float
        Operations for one pixel.
    half : bool
        Whether layers compute in bfloat16.
    symmetries : sequence of callable
        Symmetries of the self-ensemble: the output is the mean over them.
    clipper : ResidualClipper or None
        Limits to the input and the residual, for a network with a noise-level map.
    bytes_per_pixel : int
        Memory of the layers for one pixel, which limits tiles; 0 for tiles of a size that the user chose.
    """

    network: nn.Module
    black: float
    data_range: float
    adds_noise_map: bool
    side: int | None
    halo: int
    batch_pixels: int
    flops_per_pixel: float
    half: bool
    symmetries: list[Symmetry]
    clipper: ResidualClipper | None = None
    bytes_per_pixel: int = 0

    @classmethod
    def of(
        cls,
        network: nn.Module,
        cost: Cost,
        *,
        black: float,
        data_range: float,
        adds_noise_map: bool,
        double: bool = False,
        half: bool = False,
        tile_size: int | Literal["auto"] | None = "auto",
        ensemble: bool = False,
        clipper: ResidualClipper | None = None,
    ) -> TiledPredictor:
        """Plan the tiles and batches for a network.

        Parameters
        ----------
        network : Module
            Network with the attributes ``receptive_radius`` and ``stride``, both in pixels. The first is the
            distance to the farthest input pixel that an output pixel depends on, None for attention to the
            whole image. Sides of tiles are multiples of the second. A network without the attributes takes
            images whole.
        cost : Cost
            Cost of the network for one pixel.
        black, data_range, adds_noise_map, half
            As in the class.
        double : bool, default=False
            Whether layers compute in double precision.
        tile_size : int, "auto" or None, default="auto"
            Side of the tiles; "auto" takes the largest side for 256 MB.
        ensemble : bool, default=False
            Whether to average over eight symmetries.
        clipper
            As in the class.
        """
        network = copy.deepcopy(network).double() if double else network
        side, halo = _tiles_for(network, cost, tile_size, double)
        return cls(
            network=network,
            black=black,
            data_range=data_range,
            adds_noise_map=adds_noise_map,
            side=side,
            halo=halo,
            batch_pixels=max(1, entries_at_once(_device_of(network)) // cost.widest),
            flops_per_pixel=cost.flops,
            half=half,
            symmetries=SYMMETRIES if ensemble else SYMMETRIES[:1],
            clipper=clipper,
            bytes_per_pixel=_bytes_per_pixel(cost, double) if tile_size == "auto" and side else 0,
        )

    def count_tiles(self, height: int, width: int) -> int:
        """Return the number of forward passes for an image of this size."""
        if self.side is None:
            return len(self.symmetries)
        return len(self.symmetries) * -(-height // self.side) * -(-width // self.side)

    def restore(self, noisy: Images, restored: Images, levels: Levels = None, bar: Any = None) -> None:
        """Denoise images.

        Parameters
        ----------
        noisy : ndarray of shape (n_images, height, width, channels)
            Noisy images.
        restored : ndarray of the same shape
            Array for the denoised images.
        levels : ndarray of shape (n_images,) or (n_images, height, width), optional
            Noise levels in the unit of the images, with ``adds_noise_map``.
        bar : progress bar, optional
            Object with a method ``update``, called after each tile.
        """
        n, height, width = noisy.shape[:3]
        self._refuse_huge_tiles(height, width)
        if self.side is not None and _has_attention(self.network) and max(height, width) > self.side:
            warn_user(
                f"{_class_name(self.network)} looks at the whole image, and {height} x {width} pixels are "
                f"denoised in tiles of {self.side}: the result is close to that of the whole image, but not "
                "the same. Pass tile_size=None to take the image whole, with much memory.",
            )
        step = max(1, self.batch_pixels // (height * width))
        for start in range(0, n, step):
            batch = slice(start, start + step)
            self._restore_batch(noisy[batch], restored[batch], None if levels is None else levels[batch], bar)

    def _refuse_huge_tiles(self, height: int, width: int) -> None:
        """Refuse an image if one tile of it needs too much memory."""
        if self.side is None:
            return
        outer = self.side + 2 * self.halo
        n_bytes = min(outer, height) * min(outer, width) * self.bytes_per_pixel
        if n_bytes > MAX_TILE_MEMORY:
            raise ValueError(
                f"{_class_name(self.network)} needs {n_bytes / 2**30:.1f} GB for one tile of {self.side} "
                f"pixels, because an output pixel depends on {self.halo} pixels on each side; the limit is "
                f"{MAX_TILE_MEMORY / 2**30:.0f} GB. Take a network of fewer layers or smaller images, "
                "or pass a tile_size to denoise_image."
            )

    def _restore_batch(self, noisy: Images, restored: Images, levels: Levels, bar: Any) -> None:
        """Denoise a batch; average over the symmetries."""
        if len(self.symmetries) == 1:
            for place, denoised in self._predictions(noisy, levels, bar):
                _write(restored, place, denoised)
            return
        # Integers are rounded once, after the mean.
        total = np.zeros(noisy.shape, np.result_type(noisy.dtype, np.float32))
        for symmetry in self.symmetries:
            # One level for each image is the same in every orientation; maps turn with the images.
            maps = levels if np.ndim(levels) < 2 else symmetry(levels)  # type: ignore[arg-type]
            # A view of the total, which turns the outputs back.
            view = symmetry(total)
            for place, denoised in self._predictions(symmetry(noisy), maps, bar):
                view[place] += denoised / len(self.symmetries)
        _write(restored, (slice(None),), total)

    def _predictions(
        self, noisy: Images, levels: Levels, bar: Any
    ) -> Iterator[tuple[tuple[slice, ...], NDArray[Any]]]:
        """Yield the index of each tile, and its denoised pixels in the unit of the images."""
        weight = next(self.network.parameters())
        autocast = torch.autocast(weight.device.type, torch.bfloat16, enabled=self.half)
        everything, warned = slice(None), False
        height, width = noisy.shape[1:3]
        for tile in iterate_tiles(height, width, self.side, self.halo):
            inputs = self._network_input(noisy, levels, (everything, *tile.outer), weight.dtype)
            flops = self.flops_per_pixel * math.prod(inputs.shape[:3])
            with torch.inference_mode(), autocast, threads_for_flops(flops):
                output = self.network(torch.from_numpy(inputs).movedim(3, 1).to(weight.device))
            output = output.to(weight.dtype).movedim(1, 3).cpu().numpy()
            place, kept = (everything, *tile.inner), (everything, *tile.inner_in_outer)
            denoised = self._rescale(noisy[place], inputs[kept], output[kept])
            # Integers would hide them.
            if not warned and not has_finite_numbers(denoised):
                warn_of_infinite_output(_class_name(self.network))
                warned = True
            yield place, denoised
            if bar is not None:
                bar.update()

    def differentiate(self, noisy: Images, direction: Images, levels: Levels = None) -> Images:
        """Return the derivative of the prediction along a direction, at fixed levels.

        Parameters
        ----------
        noisy, direction : ndarray of shape (n_images, height, width, channels)
            Noisy images, and the direction.
        levels : ndarray
            As in :meth:`restore`.
        """
        if self.clipper is not None or len(self.symmetries) > 1:
            raise NotImplementedError("Clipped residuals and self-ensembles have no forward derivative.")
        self._refuse_huge_tiles(*noisy.shape[1:3])
        slopes = np.empty(noisy.shape, np.float64)
        weight = next(self.network.parameters())
        for number in range(len(noisy)):
            image = slice(number, number + 1)
            image_levels = None if levels is None else levels[image]
            height, width = noisy.shape[1:3]
            for tile in iterate_tiles(height, width, self.side, self.halo):
                everything = slice(None)
                inputs = self._network_input(
                    noisy[image], image_levels, (everything, *tile.outer), weight.dtype
                )
                tangents = np.zeros_like(inputs)
                tangents[..., : noisy.shape[3]] = direction[image][:, tile.outer[0], tile.outer[1]]
                with threads_for_flops(2 * self.flops_per_pixel * math.prod(inputs.shape[:3])):
                    slope = forward_derivative(
                        self.network,
                        *(torch.from_numpy(x).movedim(3, 1).to(weight) for x in (inputs, tangents)),
                    )
                kept = (everything, *tile.inner_in_outer)
                # The scale of the input and that of the output cancel.
                slopes[image][:, tile.inner[0], tile.inner[1]] = slope.movedim(1, 3).cpu().numpy()[kept]
        return slopes

    def _rescale(self, noisy: Images, inputs: Images, outputs: Images) -> Images:
        """Convert network outputs to the unit of the images."""
        # The type of the scalar sets the precision: double for 32-bit integers and single-precision outputs.
        exact = np.result_type(noisy.dtype, outputs.dtype).type
        if self.clipper is None:
            restored: Images = outputs * exact(self.data_range)
            restored += exact(self.black)
        else:
            restored = noisy - exact(self.data_range) * self.clipper.clip_residual(inputs, outputs)
        return restored

    def _network_input(
        self, noisy: Images, levels: Levels, place: tuple[slice, ...], dtype: torch.dtype
    ) -> Images:
        """Return the network input for a tile, with channels last."""
        part = noisy[place]
        inputs = np.empty(
            (*part.shape[:3], part.shape[3] + self.adds_noise_map),
            np.float64 if dtype == torch.float64 else np.float32,
        )
        exact = np.result_type(part.dtype, inputs.dtype)
        # The clipper cuts overflows of extreme pixels.
        with np.errstate(over="warn" if self.clipper is None else "ignore"):
            np.divide(
                np.subtract(part, self.black, dtype=exact, casting="unsafe"),
                self.data_range,
                out=inputs[..., : part.shape[3]],
                dtype=exact,
                casting="unsafe",
            )
        if self.adds_noise_map:
            assert levels is not None
            maps = levels[:, None, None] if levels.ndim == 1 else levels[place]
            np.divide(maps, self.data_range, out=inputs[..., -1], casting="unsafe")
        return inputs if self.clipper is None else self.clipper.clip_input(inputs)


def forward_derivative(
    function: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, direction: torch.Tensor
) -> torch.Tensor:
    """Return the derivative of a function of tensors along a direction."""
    with torch.no_grad(), warnings.catch_warnings():
        # torch compiles its rules of forward derivatives with a function that it calls deprecated.
        warnings.simplefilter("ignore", DeprecationWarning)
        slope: torch.Tensor = torch.func.jvp(function, (x,), (direction,))[1]
    return slope


def _tiles_for(
    network: nn.Module, cost: Cost, tile_size: int | Literal["auto"] | None, double: bool
) -> tuple[int | None, int]:
    """Return the side of tiles and their halo."""
    stride, radius = getattr(network, "stride", 1), getattr(network, "receptive_radius", None)
    check_tile_size(tile_size, stride)
    if not hasattr(network, "receptive_radius"):
        if isinstance(tile_size, int | np.integer):
            raise ValueError(
                f"{type(network).__name__} has no receptive_radius, so tiles would leave seams. Give it the "
                'attributes receptive_radius and stride, in pixels, or pass tile_size="auto", which takes '
                "images whole."
            )
        return None, 0
    # A halo of whole strides keeps tiles on the grid of the network.
    halo = -(-(ATTENTION_HALO if radius is None else radius) // stride) * stride
    if tile_size == "auto":
        bytes_per_pixel = _bytes_per_pixel(cost, double)
        side = max_tile_side(bytes_per_pixel, halo, stride, TILE_MEMORY if radius else ATTENTION_MEMORY)
        # A wide halo makes tiles large. Smaller ones spend more work on it, down to a quarter of its width.
        if (side + 2 * halo) ** 2 * bytes_per_pixel > MAX_TILE_MEMORY:
            fitting = (math.isqrt(MAX_TILE_MEMORY // bytes_per_pixel) - 2 * halo) // stride * stride
            side = max(stride, halo // 4 // stride * stride, fitting)
        return side, halo
    return tile_size, halo


def _bytes_per_pixel(cost: Cost, double: bool) -> int:
    return (8 if double else 4) * LIVE_LAYERS * cost.widest


def _has_attention(network: nn.Module) -> bool:
    """Return whether a network sees the whole image."""
    return getattr(network, "receptive_radius", 0) is None


def _class_name(network: nn.Module) -> str:
    """Return the name of the class that the user chose."""
    return type(network.network if isinstance(network, Bounded) else network).__name__


def _device_of(network: nn.Module) -> torch.device:
    return next(network.parameters()).device


def _write(restored: Images, place: tuple[slice, ...], values: NDArray[Any]) -> None:
    """Write values into a part of images, in their type."""
    restored[place] = UNIT.from_unit(values, restored.dtype)


# Memory in bytes for the layers of a network that processes one tile.
TILE_MEMORY = 2**28


@dataclass(frozen=True)
class Tile:
    """A part of an image with a halo around it.

    Attributes
    ----------
    inner : pair of slice
        Rows and columns of the output.
    outer : pair of slice
        Rows and columns of the input: those of the output with the halo, cut off at the edges of the image.
    """

    inner: tuple[slice, slice]
    outer: tuple[slice, slice]

    @property
    def inner_in_outer(self) -> tuple[slice, slice]:
        """Rows and columns of ``inner``, counted from the upper left corner of ``outer``."""
        rows, columns = (
            slice(i.start - o.start, i.stop - o.start) for i, o in zip(self.inner, self.outer, strict=True)
        )
        return rows, columns


def iterate_tiles(height: int, width: int, side: int | None, halo: int) -> Iterator[Tile]:
    """Yield tiles that cover an image once with their outputs.

    Parameters
    ----------
    height, width : int
        Sides of the image in pixels.
    side : int or None
        Largest side of the output of a tile, a multiple of the network's stride. None makes one tile of the
        whole image.
    halo : int
        Width of the halo, a multiple of the network's stride. If it is at least the receptive radius, the
        outputs of the tiles equal the output of the whole image.
    """
    for rows in _spans(height, side):
        for columns in _spans(width, side):
            outer = _extend(rows, halo, height), _extend(columns, halo, width)
            yield Tile((rows, columns), outer)


def max_tile_side(bytes_per_pixel: int, halo: int, stride: int, memory: int = TILE_MEMORY) -> int:
    """Return the largest side of a tile that fits in the memory.

    The memory includes the halo. The side is a multiple of the stride.
    """
    outer = math.isqrt(memory // bytes_per_pixel)
    # Tiles smaller than the halo would spend most of the work on it.
    return max(stride, halo, (outer - 2 * halo) // stride * stride)


def check_tile_size(tile_size: object, stride: int) -> None:
    """Refuse a ``tile_size`` other than "auto", None or a multiple of the stride."""
    if tile_size is None or tile_size == "auto":
        return
    is_integer = isinstance(tile_size, Integral) and not isinstance(tile_size, bool)
    if not is_integer or tile_size < stride or tile_size % stride:  # type: ignore[operator]
        raise ValueError(
            f'tile_size must be "auto", None for the whole image, or a multiple of {stride} pixels, got '
            f"{tile_size!r}."
        )


def _spans(length: int, side: int | None) -> Iterator[slice]:
    step = length if side is None else side
    for start in range(0, length, step):
        yield slice(start, min(start + step, length))


def _extend(span: slice, halo: int, length: int) -> slice:
    # At the edges of the image the network pads as it does for the whole image.
    return slice(max(0, span.start - halo), min(length, span.stop + halo))
