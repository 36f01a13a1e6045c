"""Images of any size, tile by tile: what a network makes of the whole, in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral

__all__ = ["MEMORY", "Tile", "check_tile_size", "tile_side", "tiles_of"]

MEMORY = 2**28  # bytes that a network may take for the layers of one tile


@dataclass(frozen=True)
class Tile:
    """A part of an image, and what must be known around it.

    Attributes
    ----------
    inner : pair of slice
        The rows and columns that the tile answers for.
    outer : pair of slice
        Those with a halo, as far as the image goes.
    """

    inner: tuple[slice, slice]
    outer: tuple[slice, slice]

    @property
    def kept(self) -> tuple[slice, slice]:
        """The rows and columns of ``outer`` that are ``inner``."""
        rows, columns = (
            slice(i.start - o.start, i.stop - o.start) for i, o in zip(self.inner, self.outer, strict=True)
        )
        return rows, columns


def tiles_of(height: int, width: int, side: int | None, halo: int) -> Iterator[Tile]:
    """Yield tiles that cover an image once.

    Parameters
    ----------
    height, width : int
        Sides of the image in pixels.
    side : int or None
        The most that a tile answers for along each side, a multiple of the network's stride; None takes the
        image whole.
    halo : int
        The halo: how far the network looks, a multiple of its stride. With it, tiles and whole agree.
    """
    for rows in _spans(height, side):
        for columns in _spans(width, side):
            outer = _widened(rows, halo, height), _widened(columns, halo, width)
            yield Tile((rows, columns), outer)


def tile_side(bytes_per_pixel: int, halo: int, stride: int, memory: int = MEMORY) -> int:
    """Return the side of the largest tile whose layers, those of its halo too, fit in the memory.

    It is a multiple of the stride, and at least the halo: smaller tiles would be mostly halo.
    """
    outer = math.isqrt(memory // bytes_per_pixel)
    return max(stride, halo, (outer - 2 * halo) // stride * stride)


def check_tile_size(tile_size: object, stride: int) -> None:
    """Check what a user may pass as ``tile_size``."""
    if tile_size is None or tile_size == "auto":
        return
    whole = isinstance(tile_size, Integral) and not isinstance(tile_size, bool)
    if not whole or tile_size < stride or tile_size % stride:  # type: ignore[operator]
        raise ValueError(
            f'tile_size must be "auto", None for the whole image, or a multiple of {stride} pixels, got '
            f"{tile_size!r}."
        )


def _spans(length: int, side: int | None) -> Iterator[slice]:
    step = length if side is None else side
    for start in range(0, length, step):
        yield slice(start, min(start + step, length))


def _widened(span: slice, halo: int, length: int) -> slice:
    return slice(max(0, span.start - halo), min(length, span.stop + halo))
