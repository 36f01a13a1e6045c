"""A network at work on images of any size: many small ones at once, large ones tile by tile."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from sk_denoise._intensity import UNIT
from sk_denoise._resources import Cost, entries_at_once, threads_for_flops
from sk_denoise._tiling import TILE_MEMORY, check_tile_size, iterate_tiles, max_tile_side
from sk_denoise._validation import warn_user
from sk_denoise.networks import Bounded

__all__ = ["EIGHT_TURNS", "Restorer", "Turn"]

Images = NDArray[Any]  # (n_images, height, width, channels)
Levels = NDArray[Any] | None  # of the noise: (n_images,), or maps (n_images, height, width)
Turn = Callable[[Images], Images]

LAYERS_AT_ONCE = 8  # as large as the widest one, that are there at a time
MEMORY_OF_ATTENTION = 2**30  # bytes: tiles of a network that looks at the whole image change the answer
HALO_OF_ATTENTION = 64  # pixels around a tile, for a network that looks at the whole image

# Images turned and mirrored: views, so that what is written into one is written into the image.
EIGHT_TURNS: list[Turn] = [
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
    """What watches over a network that is told the level of noise, and finds the noise of images.

    Attributes
    ----------
    clip_input : callable
        Of images as they are shown, the level a last channel: the same, as the network may see them.
    clip_residual : callable
        Of these and of the answers to them: what is taken away, as far as it can be noise.
    """

    clip_input: Callable[[Images], Images]
    clip_residual: Callable[[Images, Images], Images]


@dataclass(frozen=True)
class Restorer:
    """A network, and how images go through it.

    Attributes
    ----------
    network : Module
        In evaluation mode, on its device.
    black, data_range : float
        What the network sees as 0, and what lies between its 0 and 1, in the unit of the images.
    tells_level : bool
        Whether a map of the noise level follows the channels.
    side : int or None
        Of the tiles, in pixels; None takes images whole.
    halo : int
        What is known around a tile.
    pixels_at_once : int
        How many pixels of small images make a batch.
    flops_per_pixel : float
        Operations.
    half : bool
        Whether layers compute in bfloat16.
    turns : sequence of callable
        The network answers to images turned in these ways, and the mean counts.
    clipper : ResidualClipper or None
        What watches over a network that is told the level of noise.
    """

    network: nn.Module
    black: float
    data_range: float
    tells_level: bool
    side: int | None
    halo: int
    pixels_at_once: int
    flops_per_pixel: float
    half: bool
    turns: list[Turn]
    clipper: ResidualClipper | None = None

    @classmethod
    def of(
        cls,
        network: nn.Module,
        cost: Cost,
        *,
        black: float,
        data_range: float,
        tells_level: bool,
        double: bool = False,
        half: bool = False,
        tile_size: int | Literal["auto"] | None = "auto",
        ensemble: bool = False,
        clipper: ResidualClipper | None = None,
    ) -> Restorer:
        """Plan how large tiles are.

        Parameters
        ----------
        network : Module
            Its attribute ``receptive_radius`` is the distance in pixels to the farthest input pixel that an
            output pixel depends on, None where that is the whole image; without the attribute there can be no
            tiles. Sides of tiles are multiples of its attribute ``stride``.
        cost : Cost
            For one pixel.
        black, data_range, tells_level, half
            As above.
        double : bool, default=False
            Whether layers compute in double precision.
        tile_size : int, "auto" or None, default="auto"
            Side of the tiles; "auto" makes them as large as 256 MB allow.
        ensemble : bool, default=False
            Whether to average over eight turns.
        clipper
            As above.
        """
        network = copy.deepcopy(network).double() if double else network
        side, halo = _tiles_for(network, cost, tile_size, double)
        return cls(
            network=network,
            black=black,
            data_range=data_range,
            tells_level=tells_level,
            side=side,
            halo=halo,
            pixels_at_once=max(1, entries_at_once(_device_of(network)) // cost.widest),
            flops_per_pixel=cost.flops,
            half=half,
            turns=EIGHT_TURNS if ensemble else EIGHT_TURNS[:1],
            clipper=clipper,
        )

    def count_tiles(self, height: int, width: int) -> int:
        """Return how many times the network looks at a tile of an image of this size."""
        if self.side is None:
            return len(self.turns)
        return len(self.turns) * -(-height // self.side) * -(-width // self.side)

    def restore(self, noisy: Images, restored: Images, levels: Levels = None, bar: Any = None) -> None:
        """Write images without their noise into ``restored``, which is of the same shape."""
        n, height, width = noisy.shape[:3]
        if self.side is not None and _looks_everywhere(self.network) and max(height, width) > self.side:
            warn_user(
                f"{_name_of(self.network)} looks at the whole image, and {height} x {width} pixels "
                f"are worked on in tiles of {self.side}: the answer is near that to the whole, and not the "
                "same. tile_size=None takes the image whole, and much memory.",
            )
        step = max(1, self.pixels_at_once // (height * width))
        for start in range(0, n, step):
            part = slice(start, start + step)
            self._restore_batch(noisy[part], restored[part], None if levels is None else levels[part], bar)

    def _restore_batch(self, noisy: Images, restored: Images, levels: Levels, bar: Any) -> None:
        if len(self.turns) == 1:
            for place, answer in self._answers(noisy, levels, bar):
                _put(restored, place, answer)
            return
        total = np.zeros(noisy.shape, np.result_type(noisy.dtype, np.float32))
        for turn in self.turns:
            turned, maps = turn(total), levels if np.ndim(levels) < 2 else turn(levels)  # type: ignore[arg-type]
            for place, answer in self._answers(turn(noisy), maps, bar):
                turned[place] += answer / len(self.turns)
        _put(restored, (slice(None),), total)

    def _answers(
        self, noisy: Images, levels: Levels, bar: Any
    ) -> Iterator[tuple[tuple[slice, ...], NDArray[Any]]]:
        """Yield the places of tiles and what the network makes of them, in the unit of the images."""
        weight = next(self.network.parameters())
        autocast = torch.autocast(weight.device.type, torch.bfloat16, enabled=self.half)
        everything = slice(None)
        height, width = noisy.shape[1:3]
        for tile in iterate_tiles(height, width, self.side, self.halo):
            shown = self._shown(noisy, levels, (everything, *tile.outer), weight.dtype)
            flops = self.flops_per_pixel * math.prod(shown.shape[:3])
            with torch.inference_mode(), autocast, threads_for_flops(flops):
                answer = self.network(torch.from_numpy(shown).movedim(3, 1).to(weight.device))
            answer = answer.to(weight.dtype).movedim(1, 3).cpu().numpy()
            place, kept = (everything, *tile.inner), (everything, *tile.inner_in_outer)
            yield place, self._in_unit(noisy[place], shown[kept], answer[kept])
            if bar is not None:
                bar.update()

    def _in_unit(self, noisy: Images, shown: Images, answers: Images) -> Images:
        """Return answers to what the network was shown in the unit of the images."""
        exact = np.result_type(noisy.dtype, answers.dtype).type
        if self.clipper is None:
            restored: Images = answers * exact(self.data_range)
            restored += exact(self.black)
        else:
            restored = noisy - exact(self.data_range) * self.clipper.clip_residual(shown, answers)
        return restored

    def _shown(self, noisy: Images, levels: Levels, place: tuple[slice, ...], dtype: torch.dtype) -> Images:
        """Return a tile as the network is given it, but for channels last."""
        part = noisy[place]
        shown = np.empty(
            (*part.shape[:3], part.shape[3] + self.tells_level),
            np.float64 if dtype == torch.float64 else np.float32,
        )
        exact = np.result_type(part.dtype, shown.dtype)
        with np.errstate(over="warn" if self.clipper is None else "ignore"):  # the clipper cuts these
            np.divide(
                np.subtract(part, self.black, dtype=exact, casting="unsafe"),
                self.data_range,
                out=shown[..., : part.shape[3]],
                dtype=exact,
                casting="unsafe",
            )
        if self.tells_level:
            assert levels is not None
            maps = levels[:, None, None] if levels.ndim == 1 else levels[place]
            np.divide(maps, self.data_range, out=shown[..., -1], casting="unsafe")
        return shown if self.clipper is None else self.clipper.clip_input(shown)


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
                'attributes receptive_radius and stride, in pixels, or take tile_size="auto", which takes '
                "images whole."
            )
        return None, 0
    halo = -(-(HALO_OF_ATTENTION if radius is None else radius) // stride) * stride
    if tile_size == "auto":
        bytes_per_pixel = (8 if double else 4) * LAYERS_AT_ONCE * cost.widest
        return max_tile_side(
            bytes_per_pixel, halo, stride, TILE_MEMORY if radius else MEMORY_OF_ATTENTION
        ), halo
    return tile_size, halo


def _looks_everywhere(network: nn.Module) -> bool:
    return getattr(network, "receptive_radius", 0) is None


def _name_of(network: nn.Module) -> str:
    return type(network.network if isinstance(network, Bounded) else network).__name__


def _device_of(network: nn.Module) -> torch.device:
    return next(network.parameters()).device


def _put(restored: Images, place: tuple[slice, ...], values: NDArray[Any]) -> None:
    """Write values into a part of images, in their type."""
    restored[place] = UNIT.from_unit(values, restored.dtype)
