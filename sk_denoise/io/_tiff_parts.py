"""Strips and tiles of a TIFF: checked by number and size, then decoded one by one.

A strip or tile may hold a whole image of its own, such as a PNG, which claims any size. A decoder would
believe it and fill the memory, so each claim is compared with the place of the part first.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sk_denoise.io import _jpeg, _jpeg2000, _png, _webp
from sk_denoise.io._header import DAMAGED, TRUNCATED, EncodedSize, UnreadableError

if TYPE_CHECKING:
    from tifffile import TiffPage

__all__ = ["check_parts", "count_parts", "decode_parts"]

# Number of parts that is allowed in any image, and the average number of pixels of further ones. To read a
# million tiny strips would take minutes.
MIN_PART_LIMIT, PIXELS_PER_PART = 2**16, 2**10
# Bytes that the parts of any image may hold together in a file, and after decoding. More than that must be in
# proportion to the file or to the image: overlapping strips would multiply the work.
FREE_ENCODED_BYTES, FREE_DECODED_BYTES = 2**20, 2**27
MAX_ENCODED_RATIO, MAX_DECODED_RATIO = 2, 4
# Rows by which a JPEG may exceed its strip, to fill its last blocks.
JPEG_BLOCK = 32
JPEG_CODES = frozenset((6, 7, 33007, 34892))
# Codecs of bytes: decoders stop at the size of the place. These drop the rest; the others raise an error.
CUTTING_CODES = frozenset((5, 34925))
BYTE_CODES = frozenset((8, 32773, 32946, 34926, 50000, 50013)) | CUTTING_CODES
# Errors of decoders at the end of the space for their output.
SURPLUS = re.compile("INSUFFICIENT_SPACE|TOO_SMALL|too small|BUF_ERROR")
# Fax codes and those of electron counters are decoded for the size of the place.
SIZED_CODES = frozenset((1, 2, 3, 4, 65000, 65001, 65002))


class Place(NamedTuple):
    """Place of a strip or tile in an image.

    Attributes
    ----------
    rows, columns : int
        Size of a whole part.
    rows_left, columns_left : int
        Size of its share of the image.
    samples : int
        Number of samples of a pixel.
    """

    rows: int
    columns: int
    rows_left: int
    columns_left: int
    samples: int


def _part_size(page: TiffPage) -> tuple[int, int]:
    if page.is_tiled:
        return int(page.tilelength), int(page.tilewidth)
    # One strip for all rows may claim any number of rows.
    return min(int(page.rowsperstrip), int(page.imagelength)), int(page.imagewidth)


def _samples(page: TiffPage) -> int:
    return int(page.samplesperpixel) if page.planarconfig == 1 else 1


def count_parts(page: TiffPage) -> int:
    """Return the number of strips or tiles of a page."""
    rows, columns = _part_size(page)
    if min(rows, columns) < 1:
        raise UnreadableError(DAMAGED)
    n_parts = math.ceil(page.imagelength / rows) * math.ceil(page.imagewidth / columns)
    return n_parts * (page.samplesperpixel if page.planarconfig == 2 else 1)


def check_parts(page: Any, keyframe: TiffPage, file_size: int, name: str) -> None:
    """Refuse missing parts, and parts that would take too much time or memory.

    Parameters
    ----------
    page : TiffPage or TiffFrame
        Page with the positions of the parts.
    keyframe : TiffPage
        Page with the layout of the parts.
    file_size : int
        Size of the file in bytes.
    name : str
        Name of the page for messages.
    """
    n_parts = count_parts(keyframe)
    n_pixels = int(keyframe.imagelength) * int(keyframe.imagewidth)
    limit = MIN_PART_LIMIT + n_pixels // PIXELS_PER_PART
    if n_parts > limit:
        raise UnreadableError(
            f"{name} consists of {n_parts} strips or tiles, more than {limit}; save it anew"
        )
    parts = list(zip(page.dataoffsets, page.databytecounts, strict=False))
    is_complete = all(min(offset, size) > 0 and offset + size <= file_size for offset, size in parts)
    if len(parts) < n_parts or not is_complete:
        raise UnreadableError(f"parts of {name} are missing: {TRUNCATED}")
    bytes_per_pixel = _samples(keyframe) * (keyframe.dtype.itemsize if keyframe.dtype is not None else 1)
    decoded = n_parts * math.prod(_part_size(keyframe)) * bytes_per_pixel
    image = n_pixels * int(keyframe.samplesperpixel) * bytes_per_pixel // _samples(keyframe)
    if decoded > MAX_DECODED_RATIO * image + FREE_DECODED_BYTES:
        raise UnreadableError(
            f"the tiles of {name} are much larger than the image; save it with smaller ones"
        )
    encoded = sum(size for _, size in parts)
    if encoded > MAX_ENCODED_RATIO * max(file_size, image) + FREE_ENCODED_BYTES:
        raise UnreadableError(
            f"its strips or tiles overlap: together they have {encoded} bytes, the file has {file_size}; "
            "save it anew"
        )


def decode_parts(page: TiffPage) -> NDArray[Any]:
    """Return the pixels of a page, and refuse a part that does not fit its place."""
    code = int(page.compression)
    check = _check_for(code)
    if page.jpegheader is not None:
        raise UnreadableError(
            "its JPEG tiles share one header, as in NDPI slides, which is not read; convert it to a TIFF of "
            "separate tiles"
        )
    # Values without compression are read at once.
    if code == 1 and page.is_contiguous:
        pixels: NDArray[Any] = page.asarray(maxworkers=1)
        return pixels
    # Packed bits are unpacked after decoding, so the decoder's own limit is too large for them.
    is_cutting = code in CUTTING_CODES or (code in BYTE_CODES and page.bitspersample not in (8, 16, 32, 64))
    result = np.zeros(page.shaped, page._dtype)
    file, tables = page.parent.filehandle, page.jpegtables
    if code in JPEG_CODES and tables:
        _jpeg.refuse_frames(tables)
    for index in range(count_parts(page)):
        file.seek(page.dataoffsets[index])
        data = file.read(page.databytecounts[index])
        place = _place(page, index)
        if check is not None:
            _check_size(check(data), place)
        elif is_cutting:
            _refuse_surplus(page, data, place)
        try:
            decoded = page.decode(data, index, jpegtables=tables)
        except RuntimeError as error:
            if code not in BYTE_CODES or not SURPLUS.search(str(error)):
                raise
            # The last strip may be padded with rows.
            if place.rows_left == place.rows:
                raise UnreadableError(_describe_surplus(place)) from error
            decoded = page.decode(_without_padding(page, data, place), index, jpegtables=tables)
        segment, (sample, depth, row, column, _), shape = decoded
        if segment is None or segment.dtype.itemsize > result.dtype.itemsize:
            raise UnreadableError(f"part {index + 1} of the image holds values of another type; save it anew")
        area = sample, slice(depth, depth + shape[0]), slice(row, row + shape[1])
        rows, columns = page.imagelength - row, page.imagewidth - column
        result[(*area, slice(column, column + shape[2]))] = segment[
            : page.imagedepth - depth, :rows, :columns
        ]
    return result.reshape(page.shape)


def _place(page: TiffPage, index: int) -> Place:
    rows, columns = _part_size(page)
    n_across, n_down = math.ceil(page.imagewidth / columns), math.ceil(page.imagelength / rows)
    row, column = index // n_across % n_down * rows, index % n_across * columns
    rows_left, columns_left = min(rows, page.imagelength - row), min(columns, page.imagewidth - column)
    return Place(rows, columns, rows_left, columns_left, _samples(page))


def _check_for(code: int) -> Callable[[bytes], EncodedSize] | None:
    """Return the function that reads the size of a part, None if it has no size."""
    if code in BYTE_CODES or code in SIZED_CODES:
        return None
    if code not in SIZES:
        raise UnreadableError(
            f"its compression {NAMES.get(code, code)} is not read inside a TIFF; save it with another one, "
            "such as Deflate"
        )
    return SIZES[code]


def _check_size(size: EncodedSize, place: Place) -> None:
    """Refuse an encoded image that does not fit its place."""
    channels = size.channels or place.samples
    row_lengths = {place.samples * columns for columns in (place.columns, place.columns_left)}
    # Lossless JPEG may take two neighbours as two channels, so the length of a row decides.
    fits = channels * size.width in row_lengths
    fits &= place.rows_left <= size.height <= place.rows + size.padding
    if not fits:
        raise UnreadableError(
            f"a strip or tile of {place.columns} x {place.rows} pixels and {place.samples} channels holds an "
            f"image of {size.width} x {size.height} and {channels}; copy it again, or save it anew"
        )


def _refuse_surplus(page: TiffPage, data: bytes, place: Place) -> None:
    """Refuse a part that holds more values than its place."""
    from tifffile import TIFF

    n_bytes = place.rows * _row_bytes(page, place)
    if page.fillorder == 2:
        import imagecodecs

        data = bytes(imagecodecs.bitorder_decode(data))
    try:
        n_decoded = len(TIFF.DECOMPRESSORS[int(page.compression)](data, out=n_bytes + 1))
    except RuntimeError as error:
        # Other errors follow when the part is decoded.
        n_decoded = n_bytes + 1 if SURPLUS.search(str(error)) else 0
    if n_decoded > n_bytes:
        raise UnreadableError(_describe_surplus(place))


def _without_padding(page: TiffPage, data: bytes, place: Place) -> bytes:
    """Return the compressed rows of the last strip that belong to the image."""
    from tifffile import TIFF

    code, n_bytes = int(page.compression), _row_bytes(page, place)
    _refuse_surplus(page, data, place)
    values = TIFF.DECOMPRESSORS[code](data, out=place.rows * n_bytes)[: place.rows_left * n_bytes]
    packed: bytes = TIFF.COMPRESSORS[code](bytes(values))
    return packed


def _row_bytes(page: TiffPage, place: Place) -> int:
    return -(-place.columns * place.samples * _bits(page) // 8)


def _describe_surplus(place: Place) -> str:
    return (
        f"a strip or tile of {place.columns} x {place.rows} pixels holds more values than its place; save "
        "the image anew"
    )


def _bits(page: TiffPage) -> int:
    bits = page.bitspersample
    return int(bits) if isinstance(bits, int) else max(map(int, bits))


# Sizes of encoded images -----------------------------------------------------------------------------------


def _jpeg_size(data: bytes) -> EncodedSize:
    size = _jpeg.encoded_size(BytesIO(data))
    return size._replace(padding=JPEG_BLOCK)


def _lerc_size(data: bytes) -> EncodedSize:
    """Return the size of a LERC image of version 2 to 6, which must be alone."""
    try:
        version, _ = struct.unpack_from("<iI", data, 6)
        has_depth = version >= 4
        numbers = struct.unpack_from("<iii" if has_depth else "<ii", data, 14 if version >= 3 else 10)
        height, width, depth = (*numbers, 1)[:3]
        # Number of valid pixels, side of a block, bytes of the image.
        (n_bytes,) = struct.unpack_from("<8xi", data, (14 if version >= 3 else 10) + 4 * len(numbers))
    except struct.error:
        raise UnreadableError(DAMAGED) from None
    # A second image behind the first one would be a second band.
    if data[:6] != b"Lerc2 " or not 1 <= version <= 6 or n_bytes != len(data):
        raise UnreadableError(
            "a strip or tile is no LERC image of version 2; save the image with another compression"
        )
    return EncodedSize(height, width, depth)


JXR_WIDTH, JXR_HEIGHT, JXR_OFFSET, JXR_ALPHA = 0xBC80, 0xBC81, 0xBCC0, 0xBCC2
JXR_STREAM = b"WMPHOTO\0"


def _jpegxr_size(data: bytes) -> EncodedSize:
    """Return the size of a JPEG XR, which stands in its directory and its stream."""
    try:
        (start,) = struct.unpack_from("<I", data, 4)
        (n_tags,) = struct.unpack_from("<H", data, start)
        entries = [struct.unpack_from("<HHII", data, start + 2 + 12 * entry) for entry in range(n_tags)]
        # Values of 16 bits stand in the low half of the field.
        tags = {tag: value & 0xFFFF if kind == 3 else value for tag, kind, _, value in entries}
        sizes = [(tags[JXR_HEIGHT], tags[JXR_WIDTH])]
        for tag in (JXR_OFFSET, JXR_ALPHA):
            if tag in tags:
                sizes.append(_jpegxr_stream_size(data, tags[tag]))
    except (struct.error, KeyError, IndexError):
        raise UnreadableError(DAMAGED) from None
    if data[:3] != b"II\xbc" or len(sizes) < 2 or len(set(sizes)) != 1:
        raise UnreadableError(DAMAGED)
    return EncodedSize(*sizes[0])


def _jpegxr_stream_size(data: bytes, start: int) -> tuple[int, int]:
    """Return height and width in the header of a stream of JPEG XR."""
    if data[start : start + len(JXR_STREAM)] != JXR_STREAM:
        raise UnreadableError(DAMAGED)
    # The first bit of the third byte tells numbers of 16 and 32 bits apart.
    code = ">HH" if data[start + 10] & 0x80 else ">II"
    width, height = struct.unpack_from(code, data, start + 12)
    return height + 1, width + 1


SIZES: dict[int, Callable[[bytes], EncodedSize]] = {
    **dict.fromkeys(JPEG_CODES, _jpeg_size),
    **dict.fromkeys((33003, 33004, 33005, 34712), lambda data: _jpeg2000.encoded_size(BytesIO(data))),
    **dict.fromkeys((22610, 34934), _jpegxr_size),
    34887: _lerc_size,
    34933: lambda data: _png.encoded_size(BytesIO(data)),
    50001: lambda data: _webp.encoded_size(BytesIO(data)),
}
# A frame of JPEG XL may be larger than the image, and its size stands behind compressed data.
NAMES = {34927: "WebP", 48124: "Jetraw", 50002: "JPEG XL", 52546: "JPEG XL"}
