"""JPEG 2000 files, read and written by OpenJPEG (imagecodecs)."""

from __future__ import annotations

import struct
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sk_denoise.io._header import DAMAGED, Header, Metadata, UnreadableError

__all__ = ["decode", "encode", "read_header"]

# Start of the code stream and of the size of the image.
START = b"\xff\x4f\xff\x51"
# The boxes before the code stream are short, apart from a colour profile.
HEADER_BYTES = 2**22
CHANNEL_DEFINITIONS = b"cdef"


class _Size(NamedTuple):
    height: int
    width: int
    channels: int
    bits: int
    is_signed: bool
    has_alpha: bool


def _read_size(stream: BinaryIO) -> _Size:
    stream.seek(0)
    start = stream.read(HEADER_BYTES)
    position = start.find(START)
    try:
        right, bottom, left, top = struct.unpack_from(">4I", start, position + 8)
        channels, depth = struct.unpack_from(">HB", start, position + 40)
    except struct.error:
        raise UnreadableError(DAMAGED) from None
    if position < 0:
        raise UnreadableError(DAMAGED)
    has_alpha = CHANNEL_DEFINITIONS in start[:position]
    return _Size(bottom - top, right - left, channels, (depth & 127) + 1, bool(depth & 128), has_alpha)


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
