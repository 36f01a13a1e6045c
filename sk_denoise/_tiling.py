"""Tiles of an image with a halo, for images of any size in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral

__all__ = ["TILE_MEMORY", "Tile", "check_tile_size", "iterate_tiles", "max_tile_side"]

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
