"""JPEG files: pixels by Pillow, metadata by this module."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from sk_denoise.io._colors import cmyk_to_rgb
from sk_denoise.io._exif import ExifTags
from sk_denoise.io._header import (
    DAMAGED,
    MIN_PART_LIMIT,
    EncodedSize,
    Header,
    Metadata,
    UnreadableError,
    dots_per_inch,
    limit_parts,
    read_exactly,
)

__all__ = ["decode", "encode", "encoded_size", "read_header", "refuse_frames"]

# Markers of the frame headers of all JPEG processes.
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
SCAN, APP0, APP1, APP2, APP14, COMMENT = 0xDA, 0xE0, 0xE1, 0xE2, 0xEE, 0xFE
# Markers within the pixels; 0 and the marks of restarts belong to them.
INNER_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")
END, TEMPORARY = 0xD9, 0x01
# Largest number of scans, that of libtiff: each one passes over the whole image, in a few bytes.
MAX_SCANS = 100
EXIF = b"Exif\0\0"
PROFILE = b"ICC_PROFILE\0"
# A segment of 64 KB also holds its length and the prefix.
MAX_EXIF = 2**16 - 3 - len(EXIF)


def read_header(stream: BinaryIO) -> Header:
    """Read size and metadata from the segments before the pixels."""
    segments = list(limit_parts(_segments(stream), stream))
    precision, height, width = _frame(segments)
    if precision != 8:
        raise UnreadableError(f"it is a JPEG of {precision} bits, not 8; convert it to a 16-bit TIFF")
    exif = next((data[6:] for marker, data in segments if marker == APP1 and data[:6] == EXIF), None)
    tags = ExifTags(exif or b"")
    metadata = Metadata(_profile(segments), exif, _dpi(segments) or tags.dpi)
    return Header(height, width, tags.orientation, 1, metadata)


def encoded_size(stream: BinaryIO) -> EncodedSize:
    """Return the size of a JPEG, and refuse one of very many scans."""
    segments = list(limit_parts(_segments(stream), stream))
    _, height, width = _frame(segments)
    frame = next(data for marker, data in segments if marker in FRAMES)
    _refuse_many_scans(stream.read())
    return EncodedSize(height, width, frame[5])


def refuse_frames(tables: bytes) -> None:
    """Refuse tables of JPEGs in a TIFF that hold the size of an image."""
    # A decoder would take this size for that of each strip or tile.
    if any(marker in FRAMES or marker == SCAN for marker in _inner_markers(tables, 2)):
        raise UnreadableError(DAMAGED)


def _refuse_many_scans(pixels: bytes) -> None:
    """Refuse too many scans behind the header of the first one."""
    n_scans = 1
    for marker in _inner_markers(pixels, 0):
        n_scans += marker == SCAN
        if n_scans > MAX_SCANS:
            raise UnreadableError(f"it is a JPEG of more than {MAX_SCANS} scans; save the image anew")


def _inner_markers(data: bytes, position: int) -> Iterator[int]:
    """Yield markers up to the end of the image, without those inside segments."""
    for _ in range(MIN_PART_LIMIT):
        match = INNER_MARKER.search(data, position)
        if match is None or match[1][0] == END:
            return
        marker, position = match[1][0], match.end()
        yield marker
        position += 0 if marker == TEMPORARY else int.from_bytes(data[position : position + 2])
    raise UnreadableError(f"it consists of more than {MIN_PART_LIMIT} parts; save the image anew")


def _frame(segments: list[tuple[int, bytes]]) -> tuple[int, int, int]:
    """Return bits, height and width of the frame."""
    frames = [data for marker, data in segments if marker in FRAMES]
    if not frames or min(map(len, frames)) < 6:
        raise UnreadableError(DAMAGED)
    # A damaged file may have several frames. The largest one is compared with the limit of pixels.
    return max(struct.unpack_from(">BHH", frame) for frame in frames)


def _segments(stream: BinaryIO, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """Yield marker and data of each segment before the pixels.

    The stream is then at the first byte of the pixels.
    """
    stream.seek(start + 2)
    while True:
        mark = read_exactly(stream, 2)
        # Any number of bytes 0xFF may pad a marker.
        while mark == b"\xff\xff":
            mark = b"\xff" + read_exactly(stream, 1)
        if mark[0] != 0xFF:
            raise UnreadableError(DAMAGED)
        (length,) = struct.unpack(">H", read_exactly(stream, 2))
        data = read_exactly(stream, max(length - 2, 0))
        yield mark[1], data
        if mark[1] == SCAN:
            return


def _profile(segments: list[tuple[int, bytes]]) -> bytes | None:
    """Return the colour profile, if it is complete."""
    packed = [data[12:] for marker, data in segments if marker == APP2 and data[:12] == PROFILE]
    # Each part starts with its number, from 1, and the number of parts.
    parts = {part[0]: part[2:] for part in packed if len(part) > 2 and part[1] == len(packed)}
    is_complete = bool(parts) and sorted(parts) == list(range(1, len(packed) + 1))
    return b"".join(parts[number] for number in sorted(parts)) if is_complete else None


def _dpi(segments: list[tuple[int, bytes]]) -> tuple[float, float] | None:
    jfif = next((data for marker, data in segments if marker == APP0 and data[:5] == b"JFIF\0"), b"")
    if len(jfif) < 12:
        return None
    # JFIF's units are 1 (inch) and 2 (centimetre), one less than those of TIFF.
    unit, x, y = struct.unpack_from(">BHH", jfif, 7)
    return dots_per_inch(x, y, unit + 1)


def decode(stream: BinaryIO) -> NDArray[Any]:
    """Decode the pixels; CMYK becomes RGB."""
    from PIL.JpegImagePlugin import JpegImageFile

    # Pillow would warn about damaged metadata, so it gets none.
    segments = list(_segments(stream))
    kept = [segment for segment in segments if segment[0] in (APP0, APP14) or not _is_metadata(segment[0])]
    packed = b"".join(struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data for marker, data in kept)
    pixels = stream.read()
    _refuse_many_scans(pixels)
    # Image.open would apply its own limit of pixels, warn, and search for more images in the file.
    with JpegImageFile(BytesIO(b"\xff\xd8" + packed + pixels)) as image:
        if image.mode == "CMYK":
            return np.array(cmyk_to_rgb(image, _profile(segments)))
        return np.array(image)


def _is_metadata(marker: int) -> bool:
    return APP0 <= marker <= 0xEF or marker == COMMENT


def encode(image: NDArray[Any], metadata: Metadata, quality: int) -> bytes:
    """Encode an image with colours at full resolution."""
    from PIL import Image

    # Without subsampling the colours have the resolution of the brightness.
    options: dict[str, Any] = {"quality": quality, "subsampling": 0}
    if metadata.profile is not None:
        options["icc_profile"] = metadata.profile
    if metadata.exif is not None:
        if len(metadata.exif) > MAX_EXIF:
            raise ValueError(
                f"JPEG holds at most {MAX_EXIF} bytes of EXIF data, the file like= has {len(metadata.exif)}. "
                "Write PNG or WebP, or leave like= out."
            )
        options["exif"] = EXIF + metadata.exif
    if metadata.dpi is not None:
        options["dpi"] = metadata.dpi
    stream = BytesIO()
    Image.fromarray(image).save(stream, "JPEG", **options)
    return stream.getvalue()
