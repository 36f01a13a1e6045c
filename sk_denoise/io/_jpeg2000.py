"""JPEG 2000 files, read and written by OpenJPEG (imagecodecs)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sk_denoise.io._header import (
    DAMAGED,
    EncodedSize,
    Header,
    Metadata,
    UnreadableError,
    limit_parts,
    read_exactly,
)

__all__ = ["decode", "encode", "encoded_size", "read_header"]

# Markers of the code stream: its start, size, coding of all and of one component, tile, data of the tile.
START = b"\xff\x4f\xff\x51"
SIZE, CODING, COMPONENT_CODING, TILE, TILE_DATA = 0xFF51, 0xFF52, 0xFF53, 0xFF90, 0xFF93
# Boxes: the code stream, header, palette, and the entry of the alpha channel.
STREAM_BOX, PALETTE, CHANNEL_DEFINITIONS = b"jp2c", b"pclr", b"cdef"
# Channels of a palette, RGB and alpha at most.
MAX_PALETTE_CHANNELS = 4
# Parts of an image (tiles, precincts or code blocks) that are allowed in any image, and pixels of each
# further one. OpenJPEG takes several kilobytes for a tile, and hundreds of bytes for the others, in advance.
FREE_TILES, PIXELS_PER_TILE = 2**12, 2**12
FREE_BLOCKS, PIXELS_PER_BLOCK = 2**16, 2**8


class _Size(NamedTuple):
    height: int
    width: int
    channels: int
    bits: int
    is_signed: bool
    has_alpha: bool


def _find_stream(stream: BinaryIO) -> tuple[int, bytes]:
    """Return the position of the code stream, and the boxes before it."""
    stream.seek(0)
    if stream.read(4) == START:
        return 0, b""
    boxes, position = b"", 0
    # The bytes of its start may stand in another box too, so the boxes are walked.
    while True:
        stream.seek(position)
        length, name = struct.unpack(">I4s", read_exactly(stream, 8))
        start = 8
        if length == 1:
            (length,), start = struct.unpack(">Q", read_exactly(stream, 8)), 16
        if name == STREAM_BOX:
            return position + start, boxes
        if length < start:
            raise UnreadableError(DAMAGED)
        boxes += name + read_exactly(stream, length - start)
        position += length


def _read_size(stream: BinaryIO) -> _Size:
    position, boxes = _find_stream(stream)
    stream.seek(position)
    try:
        start = stream.read(51)
        right, bottom, left, top = struct.unpack_from(">4I", start, 8)
        channels, depth = struct.unpack_from(">HB", start, 40)
    except struct.error:
        raise UnreadableError(DAMAGED) from None
    if not start.startswith(START) or right <= left or bottom <= top:
        raise UnreadableError(DAMAGED)
    size = _Size(bottom - top, right - left, channels, (depth & 127) + 1, bool(depth & 128), False)
    palette = boxes.find(PALETTE)
    if palette >= 0 and boxes[palette + 6 : palette + 7] > bytes([MAX_PALETTE_CHANNELS]):
        raise UnreadableError("its palette has more than 4 channels; save it as PNG")
    _refuse_many_parts(stream, position, size)
    return size._replace(has_alpha=CHANNEL_DEFINITIONS in boxes)


def _refuse_many_parts(stream: BinaryIO, start: int, size: _Size) -> None:
    """Refuse tiles, precincts and code blocks that would take too much memory."""
    n_pixels = size.height * size.width
    stream.seek(start + 2)
    (origin_x, origin_y) = (0, 0)
    for marker, data in limit_parts(_markers(stream), stream):
        if marker == SIZE:
            right, bottom, _, _, tile_width, tile_height, origin_x, origin_y = struct.unpack_from(
                ">8I", data, 2
            )
            if min(tile_width, tile_height) < 1 or origin_x > right or origin_y > bottom:
                raise UnreadableError(DAMAGED)
            n_tiles = -(-(right - origin_x) // tile_width) * -(-(bottom - origin_y) // tile_height)
            if n_tiles > FREE_TILES + n_pixels // PIXELS_PER_TILE:
                raise UnreadableError(f"it consists of {n_tiles} tiles; save it anew with larger ones")
        elif marker in (CODING, COMPONENT_CODING):
            n_blocks = _count_blocks(marker, data, size)
            if n_blocks > FREE_BLOCKS + n_pixels * size.channels // PIXELS_PER_BLOCK:
                raise UnreadableError(f"it consists of {n_blocks} tiny blocks; save it anew with larger ones")


def _markers(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield markers and their data, from that of the size on, without the pixels."""
    next_tile = 0
    while True:
        place = stream.tell()
        mark = stream.read(2)
        if len(mark) < 2 or mark == b"\xff\xd9":
            return
        (marker,) = struct.unpack(">H", mark)
        if marker == TILE_DATA:
            # The last part of a tile may have the length 0, up to the end of the file.
            if next_tile <= place:
                return
            stream.seek(next_tile)
            continue
        (length,) = struct.unpack(">H", read_exactly(stream, 2))
        if marker < 0xFF00 or length < 2:
            raise UnreadableError(DAMAGED)
        data = read_exactly(stream, length - 2)
        if marker == TILE and len(data) == 8:
            (part_length,) = struct.unpack_from(">I", data, 2)
            next_tile = place + part_length if part_length else 0
        yield marker, data


def _count_blocks(marker: int, data: bytes, size: _Size) -> int:
    """Return an estimate of the number of precincts and code blocks."""
    # The coding of one component has its number first, of 2 bytes in images of more than 256.
    skipped = 4 if marker == CODING else (1 if size.channels < 257 else 2)
    has_precincts, start = data[0 if marker == CODING else skipped] & 1, skipped + 1
    levels, width, height = data[start : start + 3]
    sides = data[start + 5 : start + 6 + levels] if has_precincts else b"\xff" * (levels + 1)
    n_blocks = -(-size.width >> (width & 15) + 2) * -(-size.height >> (height & 15) + 2)
    n_precincts = 0
    for number, side in enumerate(sides):
        scale = levels - number
        n_precincts += -(-size.width >> scale + (side & 15)) * -(-size.height >> scale + (side >> 4))
    return int(n_blocks + n_precincts) * (size.channels if marker == CODING else 1)


def encoded_size(stream: BinaryIO) -> EncodedSize:
    """Return the size of a JPEG 2000 from its code stream."""
    size = _read_size(stream)
    return EncodedSize(size.height, size.width, size.channels)


def read_header(stream: BinaryIO) -> Header:
    """Read the size from the code stream."""
    size = _read_size(stream)
    if size.channels not in (1, 3) and not (size.channels in (2, 4) and size.has_alpha):
        raise UnreadableError(
            f"it has {size.channels} channels, and no entry says that one is alpha; save them as a TIFF, "
            "which "
            "read_stack reads"
        )
    if size.bits > 16:
        raise UnreadableError(f"its values are of {size.bits} bits; save it as a TIFF of 16 bits")
    return Header(size.height, size.width)


def decode(stream: BinaryIO) -> NDArray[Any]:
    """Decode the pixels to gray or RGB, with alpha if it has one."""
    import imagecodecs

    size = _read_size(stream)
    stream.seek(0)
    pixels: NDArray[Any] = imagecodecs.jpeg2k_decode(stream.read())
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    if size.bits < 8 and not size.is_signed:
        white = 2**size.bits - 1
        pixels = ((pixels.astype(np.uint16) * 255 + white // 2) // white).astype(np.uint8)
    return pixels


def encode(image: NDArray[Any], metadata: Metadata, quality: int, container: str = "jp2") -> bytes:
    """Encode an image without loss; ``metadata`` and ``quality`` have no effect."""
    import imagecodecs

    return bytes(imagecodecs.jpeg2k_encode(image, codecformat=container, level=0, reversible=True))
