"""PNG files: pixels by libpng (imagecodecs), metadata by this module.

Pillow would reduce colours of 16 bits to 8 bits.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

from numpy.typing import NDArray

from sk_denoise.io._exif import ExifTags
from sk_denoise.io._header import (
    DAMAGED,
    EncodedSize,
    Header,
    Metadata,
    UnreadableError,
    dots_per_inch,
    limit_parts,
    read_exactly,
)

__all__ = ["decode", "encode", "encoded_size", "read_header"]

SIGNATURE = b"\x89PNG\r\n\x1a\n"
DECODED = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
METADATA = (b"IHDR", b"acTL", b"eXIf", b"iCCP", b"pHYs")
# Largest size of a colour profile in bytes. A compressed profile of a few bytes could fill the memory.
MAX_PROFILE = 2**25
# Channels by the kind of colour; palettes become RGB.
CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}


def read_header(stream: BinaryIO) -> Header:
    """Read size and metadata from the chunks before and after the pixels."""
    chunks: dict[bytes, bytes] = {}
    for name, length in limit_parts(_chunks(stream), stream):
        if name in METADATA and name not in chunks:
            chunks[name] = read_exactly(stream, length)
    if len(chunks.get(b"IHDR", b"")) != 13:
        raise UnreadableError(DAMAGED)
    width, height = struct.unpack_from(">II", chunks[b"IHDR"])
    tags = ExifTags(chunks.get(b"eXIf", b""))
    frames = int.from_bytes(chunks.get(b"acTL", b"\0\0\0\1")[:4])
    dpi = _dpi(chunks.get(b"pHYs")) or tags.dpi
    metadata = Metadata(_profile(chunks.get(b"iCCP")), chunks.get(b"eXIf"), dpi)
    return Header(height, width, tags.orientation, frames, metadata)


def encoded_size(stream: BinaryIO) -> EncodedSize:
    """Return the size of a PNG from its first chunk."""
    stream.seek(0)
    start = read_exactly(stream, 33)
    width, height, _, kind = struct.unpack_from(">IIBB", start, 16)
    if not start.startswith(SIGNATURE) or start[12:16] != b"IHDR":
        raise UnreadableError(DAMAGED)
    return EncodedSize(height, width, CHANNELS.get(kind, 0))


def _chunks(stream: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Yield name and length of each chunk of the file, with the stream at its data."""
    stream.seek(len(SIGNATURE))
    name = b""
    while name != b"IEND":
        length, name = struct.unpack(">I4s", read_exactly(stream, 8))
        start = stream.tell()
        yield name, length
        stream.seek(start + length)
        # If the checksum behind the data can be read, the data are complete.
        read_exactly(stream, 4)


def _profile(chunk: bytes | None) -> bytes | None:
    if chunk is None:
        return None
    _, _, packed = chunk.partition(b"\0")
    try:
        return zlib.decompressobj().decompress(packed[1:], MAX_PROFILE)
    except zlib.error:
        return None


def _dpi(chunk: bytes | None) -> tuple[float, float] | None:
    # The only unit is 1, the metre.
    if chunk is None or len(chunk) != 9 or chunk[8] != 1:
        return None
    x, y = struct.unpack_from(">II", chunk)
    return dots_per_inch(x / 100, y / 100, 3)


def decode(stream: BinaryIO) -> NDArray[Any]:
    """Decode the pixels: palettes to colours, and depths below 8 bits to 8 bits.

    Transparent colours become an alpha channel.
    """
    import imagecodecs

    # libpng prints warnings of other chunks, so only these are decoded.
    chunks = [
        _read_checked_chunk(name, length, stream) for name, length in _chunks(stream) if name in DECODED
    ]
    pixels: NDArray[Any] = imagecodecs.png_decode(SIGNATURE + b"".join(chunks))
    return pixels


def _read_checked_chunk(name: bytes, length: int, stream: BinaryIO) -> bytes:
    """Read data and checksum, and return the chunk as it stands in the file."""
    chunk = _chunk(name, read_exactly(stream, length))
    if chunk[-4:] != read_exactly(stream, 4):
        raise UnreadableError("its data are damaged; copy the file again from where it came")
    return chunk


def encode(image: NDArray[Any], metadata: Metadata, quality: int) -> bytes:
    """Encode an image; ``quality`` has no effect."""
    import imagecodecs

    # Run lengths alone (strategy 3) compress photographs as well as the default, in a third of the time.
    data = bytes(imagecodecs.png_encode(image, level=1, strategy=3))
    # Metadata stand behind the chunk IHDR of 25 bytes.
    after_header = len(SIGNATURE) + 25
    extra = b"".join(_chunk(name, content) for name, content in _metadata_chunks(metadata))
    return data[:after_header] + extra + data[after_header:]


def _metadata_chunks(metadata: Metadata) -> Iterator[tuple[bytes, bytes]]:
    if metadata.profile is not None:
        yield b"iCCP", b"ICC Profile\0\0" + zlib.compress(metadata.profile)
    if metadata.dpi is not None:
        yield b"pHYs", struct.pack(">IIB", *(round(dots / 0.0254) for dots in metadata.dpi), 1)
    if metadata.exif is not None:
        yield b"eXIf", metadata.exif


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
