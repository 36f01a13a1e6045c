"""Table of the image formats: a new format is one module and one entry here."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from numpy.typing import NDArray

from sk_denoise.io import (
    _avif,
    _bmp,
    _dicom,
    _gif,
    _jpeg,
    _jpeg2000,
    _png,
    _pnm,
    _tiff,
    _tiff_stacks,
    _webp,
)
from sk_denoise.io._header import Header, Metadata, PlaneSeries, UnreadableError

__all__ = [
    "FORMATS",
    "IMAGE_SUFFIXES",
    "WRITABLE_SUFFIXES",
    "Format",
    "find_format_name",
    "format_by_content",
    "format_by_suffix",
]


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
    read_header, decode : callable
        Functions of the module of the format.
    encode : callable or None
        Function that encodes an image. None if the format is read only.
    dtypes : tuple of str
        Types of the arrays that it can store.
    alpha : bool
        Whether it can store an alpha channel.
    max_side : int
        Largest height or width in pixels.
    is_stack : callable or None
        Function from a file to whether it holds several planes, for formats that can hold them.
    open_series : callable or None
        Function from a path and a file to the series of planes.
    substitute : str
        Suffix of the format to write in place of one that is read only.
    """

    name: str
    suffixes: tuple[str, ...]
    magic: bytes
    read_header: Callable[[BinaryIO], Header]
    decode: Callable[[BinaryIO], NDArray[Any]]
    encode: Callable[[NDArray[Any], Metadata, int], bytes] | None
    dtypes: tuple[str, ...] = ()
    alpha: bool = False
    max_side: int = 2**31 - 1
    is_stack: Callable[[BinaryIO], bool] | None = None
    open_series: Callable[[Path, BinaryIO], AbstractContextManager[list[PlaneSeries]]] | None = None
    substitute: str = ""


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
        dtypes=("uint8", "uint16", "int16", "float32", "float64"),
        alpha=True,
        max_side=2**31 - 1,
        is_stack=_tiff_stacks.is_tiff_stack,
        open_series=_tiff_stacks.open_series,
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
    Format(
        name="JPEG 2000",
        suffixes=(".jp2",),
        magic=rb"\0\0\0\x0cjP  ",
        read_header=_jpeg2000.read_header,
        decode=_jpeg2000.decode,
        encode=_jpeg2000.encode,
        dtypes=("uint8", "uint16"),
    ),
    Format(
        name="JPEG 2000",
        suffixes=(".j2k",),
        magic=rb"\xff\x4f\xff\x51",
        read_header=_jpeg2000.read_header,
        decode=_jpeg2000.decode,
        encode=partial(_jpeg2000.encode, container="j2k"),
        dtypes=("uint8", "uint16"),
    ),
    Format(
        name="PNM",
        suffixes=(".pnm", ".pgm", ".ppm"),
        magic=rb"P[1-6][\s#]",
        read_header=_pnm.read_header,
        decode=_pnm.decode,
        encode=_pnm.encode,
        dtypes=("uint8", "uint16"),
    ),
    Format(
        name="GIF",
        suffixes=(".gif",),
        magic=rb"GIF8",
        read_header=_gif.read_header,
        decode=_gif.decode,
        # 256 colours cannot hold a denoised image.
        encode=None,
        is_stack=_gif.has_gif_frames,
        open_series=_gif.open_gif_frames,
        substitute=".png",
    ),
    Format(
        name="AVIF",
        suffixes=(".avif",),
        magic=rb"....ftypavi[fs]",
        read_header=_avif.read_header,
        decode=_avif.decode,
        # Its encoder takes seconds a megapixel, and loses detail or makes files larger than PNG.
        encode=None,
        substitute=".png",
    ),
    Format(
        name="DICOM",
        suffixes=(".dcm", ".dicom"),
        magic=rb".{128}DICM",
        read_header=_dicom.read_header,
        decode=_dicom.decode,
        # A valid file for a clinic needs more than pixels.
        encode=None,
        is_stack=_dicom.has_dicom_frames,
        open_series=_dicom.open_dicom_frames,
        substitute=".tif",
    ),
)
IMAGE_SUFFIXES = frozenset(suffix for format_ in FORMATS for suffix in format_.suffixes)
WRITABLE_SUFFIXES = frozenset(suffix for format_ in FORMATS if format_.encode for suffix in format_.suffixes)
# Number of first bytes that tell all formats apart.
MAGIC_BYTES = 132

# Unsupported formats that are common, for a better message than "unknown".
OTHERS = {"HEIC": rb"....ftyp", "Photoshop": rb"8BPS", "JPEG XL": rb"\xff\x0a|\0\0\0\x0cJXL "}


def format_by_content(stream: BinaryIO) -> Format:
    """Return the format of a file by its first bytes."""
    stream.seek(0)
    start = stream.read(MAGIC_BYTES)
    if not start:
        raise UnreadableError("the file is empty; copy it again from where it came")
    for format_ in FORMATS:
        if re.match(format_.magic, start, re.DOTALL):
            return format_
    names = _list_names(format_ for format_ in FORMATS if format_.encode)
    for other, magic in OTHERS.items():
        if re.match(magic, start, re.DOTALL):
            raise UnreadableError(
                f"it is a {other} file, which is not read; save the image as one of {names}"
            )
    names = _list_names(FORMATS)
    raise UnreadableError(f"it is no image that can be read; readable formats are {names}")


def find_format_name(stream: BinaryIO) -> str:
    """Return the name of the image format of a binary file, or an empty text."""
    start = stream.read(MAGIC_BYTES)
    stream.seek(0)
    # The header of a text may begin as an image does: BMI, or P1.
    if not re.search(rb"[\x00-\x08]", start):
        return ""
    return next((f.name for f in FORMATS if re.match(f.magic, start, re.DOTALL)), "")


def _list_names(formats: Iterable[Format]) -> str:
    # JPEG 2000 has two containers.
    return ", ".join(dict.fromkeys(format_.name for format_ in formats))


def format_by_suffix(path: str | os.PathLike[str]) -> Format:
    """Return the format of a new file by the suffix of its name."""
    suffix = Path(path).suffix.lower()
    known = ", ".join(sorted(WRITABLE_SUFFIXES))
    for format_ in FORMATS:
        if suffix in format_.suffixes and format_.encode is None:
            raise ValueError(
                f"{format_.name} is read, not written: the name of {path} must end in one of {known}, for "
                "example "
                f"{format_.substitute}."
            )
        if suffix in format_.suffixes:
            return format_
    raise ValueError(f"The name of {path} must end in one of {known}, got {suffix!r}.")
