"""GIF files, read by Pillow.

A GIF of one frame is an image, an animation is a stack.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from sk_denoise.io._header import Header, PlaneSeries

__all__ = ["decode", "has_gif_frames", "open_gif_frames", "read_header"]


def _opened(stream: BinaryIO) -> Any:
    from PIL.GifImagePlugin import GifImageFile

    stream.seek(0)
    # Image.open would apply its own limit of pixels, and warn.
    return GifImageFile(stream)


def read_header(stream: BinaryIO) -> Header:
    """Read the size, and the number of frames."""
    image = _opened(stream)
    return Header(image.height, image.width, frames=int(image.n_frames))


def has_gif_frames(stream: BinaryIO) -> bool:
    """Return whether a GIF has several frames."""
    return read_header(stream).frames > 1


def decode(stream: BinaryIO) -> NDArray[Any]:
    """Decode the first frame to gray or colours, with alpha where it is transparent."""
    pixels = np.array(_opened(stream).convert("RGBA"))
    return pixels[..., _channels(_uses_colors(pixels), _is_transparent(pixels))]


def _uses_colors(pixels: NDArray[Any]) -> bool:
    return bool((pixels[..., :1] != pixels[..., 1:3]).any())


def _is_transparent(pixels: NDArray[Any]) -> bool:
    return bool((pixels[..., 3] < 255).any())


def _channels(has_colors: bool, has_alpha: bool) -> Any:
    """Return the channels of RGBA that an image needs: an index or a list."""
    if not has_alpha:
        return [0, 1, 2] if has_colors else 0
    return [0, 1, 2, 3] if has_colors else [0, 3]


@contextmanager
def open_gif_frames(path: Path, stream: BinaryIO) -> Iterator[list[PlaneSeries]]:
    """Yield the frames as a series over time, complete as they are shown."""
    image = _opened(stream)
    n_frames = int(image.n_frames)
    has_colors = has_alpha = False

    def read(index: int) -> NDArray[Any]:
        image.seek(index)
        pixels = np.array(image.convert("RGBA"))
        return np.ascontiguousarray(pixels[..., channels])

    channels: Any = [0, 1, 2, 3]
    # All frames must have the same channels, so each is looked at once.
    for index in range(n_frames):
        frame = read(index)
        has_colors, has_alpha = has_colors or _uses_colors(frame), has_alpha or _is_transparent(frame)
    channels = _channels(has_colors, has_alpha)
    samples = () if channels == 0 else (len(channels),)
    axes, shape = ("TYX", (n_frames,)) if n_frames > 1 else ("YX", ())
    yield [
        PlaneSeries(
            axes + "S" * len(samples),
            (*shape, image.height, image.width, *samples),
            np.dtype(np.uint8),
            read,
        )
    ]
