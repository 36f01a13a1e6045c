"""AVIF files, read by libavif (imagecodecs); Pillow reads their metadata."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from sk_denoise.io._exif import ExifTags
from sk_denoise.io._header import DAMAGED, Header, Metadata, UnreadableError, limit_parts

__all__ = ["decode", "read_header"]

# Boxes around the places of the items; the first has a version and flags before its boxes.
META, PLACES, LOCAL_DATA = b"meta", b"iloc", b"idat"
SEQUENCE_HEADER = 1
# Pixels of all items together, with thumbnails and padded tiles, for each pixel of the image and in all.
MAX_PIXEL_RATIO, FREE_PIXELS = 4, 2**20


def read_header(stream: BinaryIO) -> Header:
    """Read size, orientation, number of frames and metadata."""
    from PIL import features

    # Pillow has AVIF from version 11.3 on, if it was built with it.
    if not features.check("avif"):
        raise UnreadableError("AVIF needs Pillow 11.3 or newer: pip install --upgrade pillow")
    from PIL.AvifImagePlugin import AvifImageFile

    stream.seek(0)
    # Pillow closes the file, which the caller still reads.
    with AvifImageFile(BytesIO(stream.read())) as image:
        exif = image.info.get("exif")
        _refuse_large_items(stream, image.height * image.width)
        tags = ExifTags((exif or b"").removeprefix(b"Exif\0\0"))
        metadata = Metadata(image.info.get("icc_profile"), tags.blob or None, tags.dpi)
        return Header(
            image.height, image.width, tags.orientation, int(getattr(image, "n_frames", 1)), metadata
        )


def _refuse_large_items(stream: BinaryIO, n_pixels: int) -> None:
    """Refuse items with many more pixels than the image."""
    stream.seek(0)
    data = stream.read()
    # The decoder would decode an item in its own size, and then scale it to that of the image.
    try:
        total = sum(_frame_pixels(item) for item in limit_parts(_items(data), stream))
    except (struct.error, IndexError):
        raise UnreadableError(DAMAGED) from None
    if total > MAX_PIXEL_RATIO * n_pixels + FREE_PIXELS:
        raise UnreadableError(f"it claims {n_pixels} pixels and holds {total}; copy it again")


def _boxes(data: bytes, position: int = 0, end: int | None = None) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start and end of the content of each box."""
    end = len(data) if end is None else end
    while position + 8 <= end:
        length, name = struct.unpack_from(">I4s", data, position)
        start = position + 8
        if length == 1:
            (length,), start = struct.unpack_from(">Q", data, start), start + 8
        stop = min(position + length, end) if length else end
        if stop < start:
            raise UnreadableError(DAMAGED)
        yield name, start, stop
        position = stop


def _items(data: bytes) -> Iterator[bytes]:
    """Yield the data of each item."""
    for name, start, end in _boxes(data):
        if name == META:
            boxes = {name: (start, end) for name, start, end in _boxes(data, start + 4, end)}
            if PLACES in boxes:
                yield from _located_items(data, boxes[PLACES][0], boxes.get(LOCAL_DATA, (0, 0))[0])


def _located_items(data: bytes, position: int, local: int) -> Iterator[bytes]:
    version = data[position]
    sizes = data[position + 4] >> 4, data[position + 4] & 15, data[position + 5] >> 4, data[position + 5] & 15
    position += 6

    def take(size: int) -> int:
        nonlocal position
        position += size
        if position > len(data):
            raise UnreadableError(DAMAGED)
        return int.from_bytes(data[position - size : position])

    id_size = 2 if version < 2 else 4
    for _ in range(take(id_size)):
        take(id_size)
        method = take(2) if version > 0 else 0
        take(2)
        base = take(sizes[2])
        parts = []
        for _ in range(take(2)):
            # An index has a size of its own, in versions from 1.
            take(sizes[3] if version > 0 else 0)
            start, length = take(sizes[0]), take(sizes[1])
            start += base + (local if method == 1 else 0)
            parts.append(data[start : start + length if length else None])
        yield b"".join(parts)


def _frame_pixels(item: bytes) -> int:
    """Return the number of pixels of the largest frame of an item, or 0."""
    position, n_pixels = 0, 0
    while position < len(item):
        head, position = item[position], position + 1
        position += head >> 2 & 1
        length = len(item) - position
        if head & 2:
            length = shift = 0
            while True:
                byte, position = item[position], position + 1
                length |= (byte & 127) << shift
                shift += 7
                if byte < 128 or shift > 56:
                    break
        if head >> 3 & 15 == SEQUENCE_HEADER:
            n_pixels = max(n_pixels, _sequence_pixels(item[position : position + min(length, 512)]))
        position += length
    return n_pixels


def _sequence_pixels(data: bytes) -> int:
    """Return the number of pixels of a frame from the header of a sequence of AV1."""
    bits, position = int.from_bytes(data), 8 * len(data)

    def take(n: int) -> int:
        nonlocal position
        position -= n
        if position < 0:
            raise UnreadableError(DAMAGED)
        return bits >> position & (1 << n) - 1

    take(4)
    # The short header of a still image has a level alone.
    if take(1):
        take(5)
    else:
        delay_bits = 0
        has_decoder_model = False
        if take(1):
            take(64)
            if take(1):
                n_zeros = 0
                while not take(1):
                    n_zeros += 1
                take(n_zeros)
            has_decoder_model = bool(take(1))
            if has_decoder_model:
                delay_bits = take(5) + 1
                take(42)
        has_display_delay = take(1)
        for _ in range(take(5) + 1):
            take(12)
            if take(5) > 7:
                take(1)
            if has_decoder_model and take(1):
                take(2 * delay_bits + 1)
            if has_display_delay and take(1):
                take(4)
    width_bits, height_bits = take(4) + 1, take(4) + 1
    return (take(width_bits) + 1) * (take(height_bits) + 1)


def decode(stream: BinaryIO) -> NDArray[Any]:
    """Decode the pixels to gray or RGB of 8 to 12 bits, with alpha if it has one."""
    import imagecodecs

    stream.seek(0)
    pixels: NDArray[Any] = imagecodecs.avif_decode(stream.read())
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    return np.array(pixels)
