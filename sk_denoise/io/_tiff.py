"""TIFF through tifffile, because Pillow has no 16-bit colours."""

from __future__ import annotations

import logging
import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from sk_denoise._intensity import has_alpha
from sk_denoise.io._colors import cmyk_to_rgb, lab_to_rgb
from sk_denoise.io._exif import gathered, with_exif
from sk_denoise.io._header import CUT, DAMAGED, Header, Metadata, Refusal, dots_per_inch
from sk_denoise.io._jpeg import frame_size

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

__all__ = ["decode", "encode", "read_header"]

MIN_IS_WHITE, MIN_IS_BLACK, RGB, PALETTE, CMYK, YCBCR, CIELAB, ICCLAB = 0, 1, 2, 3, 5, 6, 8, 9
COLORS = {MIN_IS_WHITE: 1, MIN_IS_BLACK: 1, RGB: 3, PALETTE: 1, CMYK: 4, YCBCR: 3, CIELAB: 3, ICCLAB: 3}
JPEG_BLOCK = 32  # pixels that a JPEG inside may reach out of its place, to fill its last blocks
JPEG_INSIDE = frozenset((6, 7, 34892))
PLAIN = frozenset((1, 5, 8, 32773, 32946))  # compressions that know nothing of colours
PREVIEW, MASK = 1, 4  # kinds of pages that are no images of their own
# What says how pixels are stored. tifffile leaves out tags that it cannot read, and takes defaults.
PLACES = (273, 278, 279, *range(322, 326))  # of strips and tiles
ESSENTIAL = frozenset((*range(256, 267), *PLACES, 277, 284, 317, 320, 338, 339, 347))
ORIENTATION, X_RESOLUTION, Y_RESOLUTION, UNIT, COLORMAP, PROFILE = 274, 282, 283, 296, 320, 34675

MOST_DIRECTORIES, MOST_TAGS, MOST_PLACES = 2**10, 2**15, 2**20
SIZES = {
    3: 2,
    4: 4,
    5: 8,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}  # of types beyond a byte

_reading: ContextVar[bool] = ContextVar("_reading", default=False)


def _speaks(record: logging.LogRecord) -> bool:
    return not _reading.get()


@contextmanager
def _opened(stream: BinaryIO) -> Iterator[TiffFile]:
    """Open a TIFF; what tifffile would log meanwhile becomes an error or does no harm."""
    import tifffile

    logging.getLogger("tifffile").addFilter(_speaks)  # once: a filter that is there is not added again
    token = _reading.set(True)
    try:
        _check_chain(stream)
        stream.seek(0)
        with tifffile.TiffFile(stream) as tif:
            yield tif
    finally:
        _reading.reset(token)


def _check_chain(stream: BinaryIO) -> None:
    """Refuse directories that would take minutes to read, or much memory; later checks find cut-off files."""
    file_size = stream.seek(0, 2)
    stream.seek(0)
    head = stream.read(16)
    order, is_big = "<" if head[:1] == b"I" else ">", b"+" in head[2:4]
    count_format, entry_format, next_format = (
        order + x for x in (("Q", "HHQQ", "Q") if is_big else ("H", "HHII", "I"))
    )
    entry_size = struct.calcsize(entry_format)
    n_directories, n_tags, declared = 0, 0, 0
    with suppress(struct.error):
        (offset,) = struct.unpack_from(next_format, head, 8 if is_big else 4)
        while offset:
            n_directories += 1
            if n_directories > MOST_DIRECTORIES:
                raise Refusal(
                    f"it holds more than {MOST_DIRECTORIES} frames or pages; save the one you want as a file "
                    "of its own"
                )
            stream.seek(offset)
            (count,) = struct.unpack(count_format, stream.read(struct.calcsize(count_format)))
            n_tags += count
            if n_tags > MOST_TAGS:
                raise Refusal(DAMAGED)
            for code, kind, length, _ in struct.iter_unpack(entry_format, stream.read(count * entry_size)):
                declared += length * SIZES.get(kind, 1)
                if (code in PLACES and length > MOST_PLACES) or declared > 2 * file_size + 2**20:
                    raise Refusal(DAMAGED)
            (offset,) = struct.unpack(next_format, stream.read(struct.calcsize(next_format)))


def _images(tif: TiffFile) -> list[TiffPage]:
    pages: list[Any] = list(tif.pages)  # TiffPage throughout: frames, which know less, come on request
    pages = [page for page in pages if not int(page.subfiletype) & (PREVIEW | MASK)]
    if not pages:
        raise Refusal("it holds a preview only, as raw files of cameras do; convert it to a TIFF of 16 bits")
    _check_directory(tif, pages[0])
    return pages


def _check_directory(tif: TiffFile, page: TiffPage) -> None:
    """Refuse an image that lacks an essential tag, or the page that is said to follow the last one."""
    for checked in (page, tif.pages[-1]):
        tags, following = _raw_directory(tif, checked.offset)
        if checked is page and not tags & ESSENTIAL <= {tag.code for tag in page.tags}:
            raise Refusal(CUT)
    if following:
        raise Refusal(CUT)


def _raw_directory(tif: TiffFile, offset: int) -> tuple[set[int], int]:
    """Return the codes of a directory's tags and where the next directory is said to be, 0 for none."""
    file, layout = tif.filehandle, tif.tiff
    file.seek(offset)
    (count,) = struct.unpack(layout.tagnoformat, file.read(layout.tagnosize))
    entries = file.read(count * layout.tagsize)
    codes = {code for code, *_ in struct.iter_unpack(f"{tif.byteorder}H{layout.tagsize - 2}x", entries)}
    (following,) = struct.unpack(layout.offsetformat, file.read(layout.offsetsize))
    return codes, following


def read_header(stream: BinaryIO) -> Header:
    """Return what the first directory says, and how many images there are."""
    with _opened(stream) as tif:
        pages = _images(tif)
        tags = pages[0].tags
        orientation = tags.valueof(ORIENTATION, 1)
        x, y = (_ratio(tags.valueof(tag)) for tag in (X_RESOLUTION, Y_RESOLUTION))
        profile = tags.valueof(PROFILE)
        metadata = Metadata(
            profile if isinstance(profile, bytes) else None,
            gathered(stream, pages[0].offset, tif.byteorder, tif.is_bigtiff),
            dpi=dots_per_inch(x, y, tags.valueof(UNIT, 2)),
        )
        return Header(
            int(pages[0].imagelength),
            int(pages[0].imagewidth),
            int(orientation) if orientation in range(1, 9) else 1,
            max(len(pages), _imagej_images(tif)),
            metadata,
        )


def _ratio(value: Any) -> float | None:
    if isinstance(value, tuple) and len(value) == 2 and value[1]:
        return float(value[0] / value[1])
    return None


def _imagej_images(tif: TiffFile) -> int:
    """Return how many images ImageJ put behind one directory, as it does in files of more than 4 GB."""
    return int((tif.imagej_metadata or {}).get("images", 1)) if tif.is_imagej else 1


def decode(stream: BinaryIO) -> NDArray[Any]:
    """Return the pixels, channels last, in the usual kinds of colours."""
    with _opened(stream) as tif:
        page = _images(tif)[0]
        _check_kind(page)
        _check_complete(page, stream)
        pixels = page.asarray(maxworkers=1)  # images, not strips, are read in parallel
        if pixels.ndim == 3 and page.planarconfig == 2:
            pixels = np.moveaxis(pixels, 0, -1)
        if pixels.ndim == 3 and pixels.shape[2] == 1:
            pixels = pixels[..., 0]
        return _usual(pixels, page)


def _check_kind(page: TiffPage) -> None:
    bits, photometric, samples = page.bitspersample, int(page.photometric), page.samplesperpixel
    kind = None if page.dtype is None or not isinstance(bits, int) else page.dtype.kind
    if kind not in ("b", "u", "f") or (kind != "f" and bits > 16):
        raise Refusal(
            f"its values are of {bits} bits and sample format {_name(page.sampleformat)}, which is not read; "
            "convert it to unsigned integers of 8 or 16 bits or to floating point"
        )
    colors = COLORS.get(photometric)
    if colors is None or samples not in (colors, colors + 1) or page.imagedepth != 1:
        raise Refusal(
            f"it has {samples} channels of the colour kind {_name(page.photometric)} in {page.imagedepth} "
            "planes, which is not read; convert it to gray or RGB"
        )
    if photometric in (PALETTE, CMYK, YCBCR, CIELAB, ICCLAB) and (bits > 8 or kind == "f"):
        raise Refusal(f"it has {_name(page.photometric)} colours of {bits} bits; convert it to RGB")


def _name(value: Any) -> str:
    return str(getattr(value, "name", value))  # tifffile gives numbers that it has no name for


def _check_complete(page: TiffPage, stream: BinaryIO) -> None:
    """Refuse a file that lacks a part of the image, which tifffile would leave black."""
    height, width, planes = page.imagelength, page.imagewidth, page.samplesperpixel
    rows, columns = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, width)
    parts = math.ceil(height / rows) * math.ceil(width / columns) * (planes if page.planarconfig == 2 else 1)
    file_size = stream.seek(0, 2)
    places = list(zip(page.dataoffsets, page.databytecounts, strict=False))
    whole = all(min(offset, size) > 0 and offset + size <= file_size for offset, size in places)
    if len(places) < parts or not whole:
        raise Refusal(f"parts of the image are missing: {CUT}")
    if int(page.compression) in JPEG_INSIDE:
        for offset in page.dataoffsets:
            part_rows, part_columns = frame_size(stream, offset)
            if part_rows > rows + JPEG_BLOCK or part_columns > columns + JPEG_BLOCK:
                raise Refusal(DAMAGED)  # before as much is decoded as it claims


def _usual(pixels: NDArray[Any], page: TiffPage) -> NDArray[Any]:
    photometric, bits = int(page.photometric), int(page.bitspersample)
    if photometric == PALETTE:
        return _through_palette(pixels, page)
    if pixels.dtype.kind == "f":
        if photometric == MIN_IS_WHITE:
            raise Refusal("its floating-point values have white at 0; convert it so that black is 0")
        return pixels.astype(np.float32) if pixels.dtype == np.float16 else pixels
    if photometric == MIN_IS_WHITE:
        pixels = _inverted(pixels, bits)
    if bits < 8:
        most = 2**bits - 1
        scaled: NDArray[Any] = (pixels.astype(np.uint16) * 255 + most // 2) // most
        return scaled.astype(np.uint8)
    return _to_rgb(pixels, page)


def _inverted(pixels: NDArray[Any], bits: int) -> NDArray[Any]:
    """Swap black and white, not the alpha channel."""
    if bits == 1:
        white: NDArray[Any] = np.logical_not(pixels)
        return white
    inverted = pixels.copy()
    values = inverted if inverted.ndim == 2 else inverted[..., 0]
    np.subtract(inverted.dtype.type(2**bits - 1), values, out=values)
    return inverted


def _through_palette(pixels: NDArray[Any], page: TiffPage) -> NDArray[Any]:
    palette = np.asarray(page.tags.valueof(COLORMAP)).reshape(3, -1)
    if palette.max() > 255:  # some write 8 bits where 16 belong
        palette = palette >> 8
    return palette.astype(np.uint8).T[pixels.astype(np.uint8)]


def _to_rgb(pixels: NDArray[Any], page: TiffPage) -> NDArray[Any]:
    from PIL import Image

    photometric = int(page.photometric)
    if photometric in (RGB, MIN_IS_BLACK, MIN_IS_WHITE) or (
        photometric == YCBCR and int(page.compression) not in PLAIN  # decoded to RGB with the rest
    ):
        return pixels
    colors = np.ascontiguousarray(pixels[..., : COLORS[photometric]])
    size = (colors.shape[1], colors.shape[0])
    if photometric == CMYK:
        profile = page.tags.valueof(PROFILE)
        return np.array(cmyk_to_rgb(Image.frombytes("CMYK", size, colors.tobytes()), profile))
    if photometric == YCBCR:
        return np.array(Image.frombytes("YCbCr", size, colors.tobytes()).convert("RGB"))
    if photometric == ICCLAB:
        colors[..., 1:] ^= 128  # to signed numbers, as in CIELAB
    return np.array(lab_to_rgb(Image.frombytes("LAB", size, colors.tobytes())))


def encode(image: NDArray[Any], metadata: Metadata, quality: int) -> bytes:
    """Return the bytes of a deflated file; ``quality`` is not used."""
    import tifffile

    channels = 1 if image.ndim == 2 else image.shape[2]
    options: dict[str, Any] = {}
    if metadata.dpi is not None:
        options |= {"resolution": metadata.dpi, "resolutionunit": "inch"}
    if has_alpha(image):
        options["extrasamples"] = ["unassalpha"]
    if channels > 1:
        options["planarconfig"] = "contig"
    stream = BytesIO()
    tifffile.imwrite(
        stream,
        image,
        photometric="minisblack" if channels < 3 else "rgb",
        compression="zlib",
        predictor=True,
        iccprofile=metadata.profile,
        metadata=None,
        software=False,
        maxworkers=1,
        byteorder="<",
        **options,
    )
    data = stream.getvalue()
    return data if metadata.exif is None else b"".join(with_exif(data, metadata.exif))
