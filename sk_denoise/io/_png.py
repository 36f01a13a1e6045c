"""PNG through libpng (imagecodecs), because Pillow cuts 16-bit colours to 8 bits; metadata by hand."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

from numpy.typing import NDArray

from sk_denoise.io._exif import Tags
from sk_denoise.io._header import DAMAGED, Header, Metadata, Refusal, counted, dots_per_inch, exactly

__all__ = ["decode", "encode", "read_header"]

SIGNATURE = b"\x89PNG\r\n\x1a\n"
DECODED = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
METADATA = (b"IHDR", b"acTL", b"eXIf", b"iCCP", b"pHYs")
MAX_PROFILE = 2**25  # bytes; a compressed profile may claim to be anything


def read_header(stream: BinaryIO) -> Header:
    """Return what the chunks before and after the pixels say."""
    found: dict[bytes, bytes] = {}
    for name, length in counted(_chunks(stream), stream):
        if name in METADATA and name not in found:
            found[name] = exactly(stream, length)
    if len(found.get(b"IHDR", b"")) != 13:
        raise Refusal(DAMAGED)
    width, height = struct.unpack_from(">II", found[b"IHDR"])
    tags = Tags(found.get(b"eXIf", b""))
    frames = int.from_bytes(found.get(b"acTL", b"\0\0\0\1")[:4])
    metadata = Metadata(
        _profile(found.get(b"iCCP")), found.get(b"eXIf"), _dpi(found.get(b"pHYs")) or tags.dpi
    )
    return Header(height, width, tags.orientation, frames, metadata)


def _chunks(stream: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Yield name and length of each chunk with the stream at their data; go through the whole file."""
    stream.seek(len(SIGNATURE))
    name = b""
    while name != b"IEND":
        length, name = struct.unpack(">I4s", exactly(stream, 8))
        start = stream.tell()
        yield name, length
        stream.seek(start + length)
        exactly(stream, 4)  # the checksum, which is there where the data are


def _profile(chunk: bytes | None) -> bytes | None:
    if chunk is None:
        return None
    _, _, packed = chunk.partition(b"\0")
    try:
        return zlib.decompressobj().decompress(packed[1:], MAX_PROFILE)
    except zlib.error:
        return None


def _dpi(chunk: bytes | None) -> tuple[float, float] | None:
    if chunk is None or len(chunk) != 9 or chunk[8] != 1:  # 1: a metre
        return None
    x, y = struct.unpack_from(">II", chunk)
    return dots_per_inch(x / 100, y / 100, 3)


def decode(stream: BinaryIO) -> NDArray[Any]:
    """Return the pixels, transparent colours and palettes spelled out, fewer than 8 bits scaled to 8."""
    import imagecodecs

    # libpng prints its complaints, so it is given the pixels alone
    chunks = [
        _checked(name, exactly(stream, length), stream) for name, length in _chunks(stream) if name in DECODED
    ]
    pixels: NDArray[Any] = imagecodecs.png_decode(SIGNATURE + b"".join(chunks))
    return pixels


def _checked(name: bytes, data: bytes, stream: BinaryIO) -> bytes:
    """Return a chunk as it stands in the file, whose next bytes are its checksum."""
    chunk = _chunk(name, data)
    if chunk[-4:] != exactly(stream, 4):
        raise Refusal("its data are damaged; copy the file again from where it came")
    return chunk


def encode(image: NDArray[Any], metadata: Metadata, quality: int) -> bytes:
    """Return the file's bytes; ``quality`` is not used."""
    import imagecodecs

    # runs alone (strategy 3) pack photographs as well as longer repetitions do, in a third of the time
    data = bytes(imagecodecs.png_encode(image, level=1, strategy=3))
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
