"""GIF files, read by Pillow.

A GIF of one frame is an image, an animation is a stack.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from sk_denoise.io._header import (
    DAMAGED,
    MIN_PART_LIMIT,
    TRUNCATED,
    Header,
    PlaneSeries,
    UnreadableError,
    limit_parts,
)

__all__ = ["decode", "has_gif_frames", "open_gif_frames", "read_header"]


# Bytes of the header, of the description of a frame, and the first bytes of blocks.
HEADER_BYTES, FRAME_BYTES = 13, 9
FRAME, EXTENSION, END = b",", b"!", b";"
# Average size of the blocks of a file: of 1 byte each, they would take minutes to count.
BYTES_PER_BLOCK = 2**6
# Pixels of all frames together that are allowed in any file, and for each further byte of it. Frames of one
# pixel each become whole images.
FREE_PIXELS, PIXELS_PER_BYTE = 2**28, 2**10


def _scan_frames(stream: BinaryIO) -> tuple[int, int, int]:
    """Return height, width and number of frames, without decoding them."""
    stream.seek(0)
    data = stream.read()
    if len(data) < HEADER_BYTES:
        raise UnreadableError(TRUNCATED)
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    n_frames = 0
    for position in limit_parts(_frame_positions(data, HEADER_BYTES + _palette_bytes(flags)), stream):
        left, top, columns, rows = struct.unpack_from("<HHHH", data, position)
        # Pillow enlarges the image for its first frame, and would do so for any other.
        if n_frames and (left + columns > width or top + rows > height):
            raise UnreadableError(DAMAGED)
        width, height = max(width, left + columns), max(height, top + rows)
        n_frames += 1
    if not n_frames:
        raise UnreadableError(TRUNCATED)
    if n_frames * height * width > FREE_PIXELS + PIXELS_PER_BYTE * len(data):
        raise UnreadableError(
            f"it claims {n_frames} frames of {width} x {height} pixels, more than its {len(data)} bytes can "
            "hold; save the frames as files of their own"
        )
    return height, width, n_frames


def _frame_positions(data: bytes, position: int) -> Iterator[int]:
    """Yield the positions of the descriptions of frames."""
    limit = MIN_PART_LIMIT + len(data) // BYTES_PER_BLOCK
    for _ in range(limit):
        kind = data[position : position + 1]
        # A file may end without its last byte.
        if kind in (b"", END):
            return
        position += 1
        if kind == FRAME:
            if len(data) < position + FRAME_BYTES:
                raise UnreadableError(TRUNCATED)
            yield position
            # The size of the codes stands before the pixels.
            position += FRAME_BYTES + _palette_bytes(data[position + FRAME_BYTES - 1]) + 1
        elif kind == EXTENSION:
            position += 1
        else:
            # Pillow skips other bytes, too.
            continue
        # Blocks of pixels or text with their lengths, up to one of length 0.
        n_blocks = 0
        while position < len(data) and data[position]:
            position += data[position] + 1
            n_blocks += 1
            if n_blocks > limit:
                break
        else:
            position += 1
            continue
        break
    raise UnreadableError(f"it consists of more than {limit} parts; save the image anew")


def _palette_bytes(flags: int) -> int:
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _opened(stream: BinaryIO) -> Any:
    from PIL.GifImagePlugin import GifImageFile

    stream.seek(0)
    # Image.open would apply its own limit of pixels, and warn.
    return GifImageFile(stream)


def read_header(stream: BinaryIO) -> Header:
    """Read the size, and the number of frames."""
    height, width, n_frames = _scan_frames(stream)
    return Header(height, width, frames=n_frames)


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
    _, _, n_frames = _scan_frames(stream)
    image = _opened(stream)
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
