"""JPEG through Pillow, which is given the image alone: its metadata are read here."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from io import BytesIO
from itertools import islice
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from sk_denoise.io._colors import cmyk_to_rgb
from sk_denoise.io._exif import Tags
from sk_denoise.io._header import DAMAGED, Header, Metadata, Refusal, counted, dots_per_inch, exactly

__all__ = ["decode", "encode", "frame_size", "read_header"]

FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # markers of headers of every kind of JPEG
SCAN, APP0, APP1, APP2, APP14, COMMENT = 0xDA, 0xE0, 0xE1, 0xE2, 0xEE, 0xFE
SEGMENTS_INSIDE = 64  # before the pixels of a JPEG that is a part of another file: tables and little else
EXIF = b"Exif\0\0"
PROFILE = b"ICC_PROFILE\0"
MAX_EXIF = 2**16 - 3 - len(EXIF)  # what a segment holds beside its length


def read_header(stream: BinaryIO) -> Header:
    """Return what the segments before the pixels say."""
    segments = list(counted(_segments(stream), stream))
    precision, height, width = _frame(segments)
    if precision != 8:
        raise Refusal(f"it is a JPEG of {precision} bits, not 8; convert it to a 16-bit TIFF")
    exif = next((data[6:] for marker, data in segments if marker == APP1 and data[:6] == EXIF), None)
    tags = Tags(exif or b"")
    metadata = Metadata(_profile(segments), exif, _dpi(segments) or tags.dpi)
    return Header(height, width, tags.orientation, 1, metadata)


def frame_size(stream: BinaryIO, start: int) -> tuple[int, int]:
    """Return height and width of a JPEG that begins somewhere in a file."""
    segments = list(islice(_segments(stream, start), SEGMENTS_INSIDE))
    _, height, width = _frame(segments)
    return height, width


def _frame(segments: list[tuple[int, bytes]]) -> tuple[int, int, int]:
    """Return bits, height and width, of the largest where damage made several."""
    frames = [data for marker, data in segments if marker in FRAMES]
    if not frames or min(map(len, frames)) < 6:
        raise Refusal(DAMAGED)
    return max(struct.unpack_from(">BHH", frame) for frame in frames)


def _segments(stream: BinaryIO, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """Yield marker and data of each segment before the pixels, and leave the stream behind the last."""
    stream.seek(start + 2)
    while True:
        mark = exactly(stream, 2)
        while mark == b"\xff\xff":  # padding
            mark = b"\xff" + exactly(stream, 1)
        if mark[0] != 0xFF:
            raise Refusal(DAMAGED)
        (length,) = struct.unpack(">H", exactly(stream, 2))
        data = exactly(stream, max(length - 2, 0))
        yield mark[1], data
        if mark[1] == SCAN:
            return


def _profile(segments: list[tuple[int, bytes]]) -> bytes | None:
    """Return the colour profile, whose parts carry their number and how many there are."""
    packed = [data[12:] for marker, data in segments if marker == APP2 and data[:12] == PROFILE]
    parts = {part[0]: part[2:] for part in packed if len(part) > 2 and part[1] == len(packed)}
    complete = bool(parts) and sorted(parts) == list(range(1, len(packed) + 1))
    return b"".join(parts[number] for number in sorted(parts)) if complete else None


def _dpi(segments: list[tuple[int, bytes]]) -> tuple[float, float] | None:
    jfif = next((data for marker, data in segments if marker == APP0 and data[:5] == b"JFIF\0"), b"")
    if len(jfif) < 12:
        return None
    unit, x, y = struct.unpack_from(">BHH", jfif, 7)
    return dots_per_inch(x, y, unit + 1)  # 1 an inch, 2 a centimetre


def decode(stream: BinaryIO) -> NDArray[Any]:
    """Return the pixels; what is stored as CMYK comes as RGB."""
    from PIL.JpegImagePlugin import JpegImageFile

    segments = list(_segments(stream))
    kept = [segment for segment in segments if segment[0] in (APP0, APP14) or not _is_metadata(segment[0])]
    packed = b"".join(struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data for marker, data in kept)
    # Image.open would compare the size with a limit of its own, warn, and look for images behind this one
    with JpegImageFile(BytesIO(b"\xff\xd8" + packed + stream.read())) as image:
        if image.mode == "CMYK":
            return np.array(cmyk_to_rgb(image, _profile(segments)))
        return np.array(image)


def _is_metadata(marker: int) -> bool:
    return APP0 <= marker <= 0xEF or marker == COMMENT


def encode(image: NDArray[Any], metadata: Metadata, quality: int) -> bytes:
    """Return the file's bytes, with as many values for the colours as for the brightness."""
    from PIL import Image

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
