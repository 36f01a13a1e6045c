"""WebP files, always in colour, read by libwebp (imagecodecs)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from sk_denoise.io._colors import to_rgb
from sk_denoise.io._exif import ExifTags
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

# Flags of the extended header.
ANIMATED, ALPHA = 0x02, 0x10


def read_header(stream: BinaryIO) -> Header:
    """Read size and metadata from the chunks."""
    chunks: dict[bytes, bytes] = {}
    frames = 0
    for name, length in limit_parts(_chunks(stream), stream):
        frames += name == b"ANMF"
        if name not in chunks:
            is_metadata = name in (b"ICCP", b"EXIF")
            # The headers of the pixels fit in 16 bytes.
            chunks[name] = read_exactly(stream, length if is_metadata else min(length, 16))
    exif = chunks.get(b"EXIF", b"").removeprefix(b"Exif\0\0") or None
    tags = ExifTags(exif or b"")
    metadata = Metadata(chunks.get(b"ICCP"), exif, tags.dpi)
    is_animated = bool(chunks.get(b"VP8X", b"\0")[0] & ANIMATED)
    return Header(*_size(chunks), tags.orientation, frames if is_animated else 1, metadata)


def encoded_size(stream: BinaryIO) -> EncodedSize:
    """Return the size of a WebP of one frame."""
    header = read_header(stream)
    if header.frames != 1:
        raise UnreadableError(f"it holds a WebP of {header.frames} frames; save the image anew")
    return EncodedSize(header.height, header.width)


def _chunks(stream: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Yield name and length of each chunk with the stream at its data."""
    stream.seek(4)
    (size,) = struct.unpack("<I", read_exactly(stream, 4))
    stream.seek(12)
    while stream.tell() < size + 8:
        name, length = struct.unpack("<4sI", read_exactly(stream, 8))
        start = stream.tell()
        yield name, length
        stream.seek(start + length - 1)
        # If the last byte can be read, the data are complete.
        read_exactly(stream, 1)
        # Chunks start at even positions.
        stream.seek(start + length + length % 2)


def _size(chunks: dict[bytes, bytes]) -> tuple[int, int]:
    """Return height and width from the extended, the lossless and the lossy header."""
    sizes = []
    try:
        if b"VP8X" in chunks:
            low_x, high_x, low_y, high_y = struct.unpack_from("<4xHBHB", chunks[b"VP8X"])
            sizes.append((1 + low_y + (high_y << 16), 1 + low_x + (high_x << 16)))
        if b"VP8L" in chunks:
            (bits,) = struct.unpack_from("<xI", chunks[b"VP8L"])
            sizes.append((1 + (bits >> 14 & 0x3FFF), 1 + (bits & 0x3FFF)))
        if b"VP8 " in chunks:
            width, height = struct.unpack_from("<6xHH", chunks[b"VP8 "])
            sizes.append((height & 0x3FFF, width & 0x3FFF))
    except struct.error:
        raise UnreadableError(DAMAGED) from None
    # The decoder must not meet another size than the one that was compared with the limit.
    if len(set(sizes)) != 1:
        raise UnreadableError(DAMAGED)
    return sizes[0]


def _has_alpha(data: bytes) -> bool:
    stream = BytesIO(data)
    for name, length in _chunks(stream):
        start = read_exactly(stream, min(length, 5))
        if name == b"ALPH" or (name == b"VP8X" and start[0] & ALPHA) or (name == b"VP8L" and start[4] & 0x10):
            return True
    return False


def decode(stream: BinaryIO) -> NDArray[Any]:
    """Decode the pixels to three channels, or to four with alpha."""
    import imagecodecs

    stream.seek(0)
    data = stream.read()
    pixels: NDArray[Any] = imagecodecs.webp_decode(data, hasalpha=_has_alpha(data))
    return pixels


def encode(image: NDArray[Any], metadata: Metadata, quality: int) -> bytes:
    """Encode an image without loss; ``quality`` has no effect."""
    from PIL import Image

    options: dict[str, Any] = {"lossless": True, "exact": True}
    if metadata.profile is not None and image.ndim == 3:
        options["icc_profile"] = metadata.profile
    if metadata.exif is not None:
        options["exif"] = metadata.exif
    stream = BytesIO()
    colors = np.ascontiguousarray(to_rgb(image))
    Image.fromarray(colors).save(stream, "WEBP", **options)
    return _with_alpha_flag(stream.getvalue()) if colors.shape[2] == 4 else stream.getvalue()


def _with_alpha_flag(data: bytes) -> bytes:
    """Set the flag of the alpha channel in all headers."""
    # The encoder does not set it if all pixels are opaque.
    stream, marked = BytesIO(data), bytearray(data)
    for name, _ in _chunks(stream):
        if name == b"VP8X":
            marked[stream.tell()] |= ALPHA
        elif name == b"VP8L":
            marked[stream.tell() + 4] |= 0x10
    return bytes(marked)
