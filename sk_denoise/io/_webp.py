"""WebP: always colour, read through libwebp (imagecodecs), written without a loss."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from sk_denoise.io._colors import to_rgb
from sk_denoise.io._exif import Tags
from sk_denoise.io._header import DAMAGED, Header, Metadata, Refusal, counted, exactly

__all__ = ["decode", "encode", "read_header"]

ANIMATED, ALPHA = 0x02, 0x10  # flags of the extended header


def read_header(stream: BinaryIO) -> Header:
    """Return what the chunks say."""
    found: dict[bytes, bytes] = {}
    frames = 0
    for name, length in counted(_chunks(stream), stream):
        frames += name == b"ANMF"
        if name not in found:
            whole = name in (b"ICCP", b"EXIF")
            found[name] = exactly(stream, length if whole else min(length, 16))
    exif = found.get(b"EXIF", b"").removeprefix(b"Exif\0\0") or None
    tags = Tags(exif or b"")
    metadata = Metadata(found.get(b"ICCP"), exif, tags.dpi)
    animated = bool(found.get(b"VP8X", b"\0")[0] & ANIMATED)
    return Header(*_size(found), tags.orientation, frames if animated else 1, metadata)


def _chunks(stream: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Yield name and length of each chunk with the stream at its data."""
    stream.seek(4)
    (size,) = struct.unpack("<I", exactly(stream, 4))
    stream.seek(12)
    while stream.tell() < size + 8:
        name, length = struct.unpack("<4sI", exactly(stream, 8))
        start = stream.tell()
        yield name, length
        stream.seek(start + length - 1)
        exactly(stream, 1)  # the last byte, which is there where the data are
        stream.seek(start + length + length % 2)


def _size(found: dict[bytes, bytes]) -> tuple[int, int]:
    """Return height and width from the first of the three headers that there is."""
    try:
        if b"VP8X" in found:
            low_x, high_x, low_y, high_y = struct.unpack_from("<4xHBHB", found[b"VP8X"])
            return 1 + low_y + (high_y << 16), 1 + low_x + (high_x << 16)
        if b"VP8L" in found:
            (bits,) = struct.unpack_from("<xI", found[b"VP8L"])
            return 1 + (bits >> 14 & 0x3FFF), 1 + (bits & 0x3FFF)
        width, height = struct.unpack_from("<6xHH", found.get(b"VP8 ", b""))
        return height & 0x3FFF, width & 0x3FFF
    except struct.error:
        raise Refusal(DAMAGED) from None


def _has_alpha(data: bytes) -> bool:
    stream = BytesIO(data)
    for name, length in _chunks(stream):
        start = exactly(stream, min(length, 5))
        if name == b"ALPH" or (name == b"VP8X" and start[0] & ALPHA) or (name == b"VP8L" and start[4] & 0x10):
            return True
    return False


def decode(stream: BinaryIO) -> NDArray[Any]:
    """Return the pixels in three channels, or four where there is an alpha channel."""
    import imagecodecs

    stream.seek(0)
    data = stream.read()
    pixels: NDArray[Any] = imagecodecs.webp_decode(data, hasalpha=_has_alpha(data))
    return pixels


def encode(image: NDArray[Any], metadata: Metadata, quality: int) -> bytes:
    """Return the bytes of a lossless file; ``quality`` is not used."""
    from PIL import Image

    options: dict[str, Any] = {"lossless": True, "exact": True}
    if metadata.profile is not None and image.ndim == 3:
        options["icc_profile"] = metadata.profile
    if metadata.exif is not None:
        options["exif"] = metadata.exif
    stream = BytesIO()
    colors = np.ascontiguousarray(to_rgb(image))
    Image.fromarray(colors).save(stream, "WEBP", **options)
    return _with_alpha_mark(stream.getvalue()) if colors.shape[2] == 4 else stream.getvalue()


def _with_alpha_mark(data: bytes) -> bytes:
    """Say that there is an alpha channel, which the encoder does not where all is opaque."""
    stream, marked = BytesIO(data), bytearray(data)
    for name, _ in _chunks(stream):
        if name == b"VP8X":
            marked[stream.tell()] |= ALPHA
        elif name == b"VP8L":
            marked[stream.tell() + 4] |= 0x10
    return bytes(marked)
