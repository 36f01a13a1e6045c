"""Table of the image formats: a new format is one module and one entry here."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from numpy.typing import NDArray

from sk_denoise.io import _bmp, _jpeg, _png, _tiff, _webp
from sk_denoise.io._header import Header, Metadata, UnreadableError

__all__ = ["FORMATS", "IMAGE_SUFFIXES", "Format", "format_by_content", "format_by_suffix"]


@dataclass(frozen=True)
class Format:
    """An image format.

    Attributes
    ----------
    name : str
        Name of the format.
    suffixes : tuple of str
        Suffixes of its files, the usual one first.
    magic : bytes
        Regular expression for the first bytes of its files.
    read_header, decode, encode : callable
        Functions of the module of the format.
    dtypes : tuple of str
        Types of the arrays that it can store.
    alpha : bool
        Whether it can store an alpha channel.
    max_side : int
        Largest height or width in pixels.
    """

    name: str
    suffixes: tuple[str, ...]
    magic: bytes
    read_header: Callable[[BinaryIO], Header]
    decode: Callable[[BinaryIO], NDArray[Any]]
    encode: Callable[[NDArray[Any], Metadata, int], bytes]
    dtypes: tuple[str, ...]
    alpha: bool
    max_side: int


FORMATS = (
    Format(
        name="PNG",
        suffixes=(".png",),
        magic=rb"\x89PNG\r\n\x1a\n",
        read_header=_png.read_header,
        decode=_png.decode,
        encode=_png.encode,
        dtypes=("uint8", "uint16"),
        alpha=True,
        # Limit of libpng.
        max_side=1_000_000,
    ),
    Format(
        name="JPEG",
        suffixes=(".jpg", ".jpeg"),
        magic=rb"\xff\xd8\xff",
        read_header=_jpeg.read_header,
        decode=_jpeg.decode,
        encode=_jpeg.encode,
        dtypes=("uint8",),
        alpha=False,
        # Limit of libjpeg.
        max_side=65_500,
    ),
    Format(
        name="TIFF",
        suffixes=(".tif", ".tiff"),
        magic=rb"II[*+]\0|MM\0[*+]",
        read_header=_tiff.read_header,
        decode=_tiff.decode,
        encode=_tiff.encode,
        dtypes=("uint8", "uint16", "float32", "float64"),
        alpha=True,
        max_side=2**31 - 1,
    ),
    Format(
        name="BMP",
        suffixes=(".bmp",),
        magic=rb"BM",
        read_header=_bmp.read_header,
        decode=_bmp.decode,
        encode=_bmp.encode,
        dtypes=("uint8",),
        alpha=False,
        max_side=2**31 - 1,
    ),
    Format(
        name="WebP",
        suffixes=(".webp",),
        magic=rb"RIFF....WEBP",
        read_header=_webp.read_header,
        decode=_webp.decode,
        encode=_webp.encode,
        dtypes=("uint8",),
        alpha=True,
        # The largest number of 14 bits.
        max_side=16_383,
    ),
)
IMAGE_SUFFIXES = frozenset(suffix for format_ in FORMATS for suffix in format_.suffixes)

# Unsupported formats that are common, for a better message than "unknown".
OTHERS = {"GIF": rb"GIF8", "HEIC or AVIF": rb"....ftyp", "Photoshop": rb"8BPS", "JPEG XL": rb"\xff\x0a"}


def format_by_content(stream: BinaryIO) -> Format:
    """Return the format of a file by its first bytes."""
    stream.seek(0)
    start = stream.read(16)
    if not start:
        raise UnreadableError("the file is empty; copy it again from where it came")
    for format_ in FORMATS:
        if re.match(format_.magic, start, re.DOTALL):
            return format_
    names = ", ".join(format_.name for format_ in FORMATS)
    for other, magic in OTHERS.items():
        if re.match(magic, start, re.DOTALL):
            raise UnreadableError(
                f"it is a {other} file, which is not read; save the image as one of {names}"
            )
    raise UnreadableError(f"it is no image that can be read; readable formats are {names}")


def format_by_suffix(path: str | os.PathLike[str]) -> Format:
    """Return the format of a new file by the suffix of its name."""
    suffix = Path(path).suffix.lower()
    for format_ in FORMATS:
        if suffix in format_.suffixes:
            return format_
    known = ", ".join(sorted(IMAGE_SUFFIXES))
    raise ValueError(f"The name of {path} must end in one of {known}, got {suffix!r}.")
