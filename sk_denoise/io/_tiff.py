"""TIFF files, read and written by tifffile.

Pillow has no colours of 16 bits.
"""

from __future__ import annotations

import logging
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
from sk_denoise.io._exif import add_exif, extract_exif
from sk_denoise.io._header import (
    DAMAGED,
    TRUNCATED,
    Calibration,
    Header,
    Metadata,
    UnreadableError,
    dots_per_inch,
)
from sk_denoise.io._tiff_parts import check_parts, decode_parts

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

__all__ = [
    "are_colors",
    "check_pixel_format",
    "decode",
    "describe_colors",
    "encode",
    "name_of",
    "quiet_tifffile",
    "read_header",
    "refuse_long_values",
    "to_gray_or_rgb",
]

MIN_IS_WHITE, MIN_IS_BLACK, RGB, PALETTE, CMYK, YCBCR, CIELAB, ICCLAB = 0, 1, 2, 3, 5, 6, 8, 9
COLORS = {MIN_IS_WHITE: 1, MIN_IS_BLACK: 1, RGB: 3, PALETTE: 1, CMYK: 4, YCBCR: 3, CIELAB: 3, ICCLAB: 3}
# Compressions that do not convert colours.
PLAIN_COMPRESSIONS = frozenset((1, 5, 8, 32773, 32946))
# Flags of pages that are no images of their own.
PREVIEW, MASK = 1, 4
# Tags with the positions of strips and tiles.
POSITION_TAGS = (273, 278, 279, *range(322, 326))
# Tags that describe the layout of the pixels. tifffile skips tags that it cannot read, and assumes defaults.
ESSENTIAL_TAGS = frozenset((*range(256, 267), *POSITION_TAGS, 277, 284, 317, 320, 338, 339, 347))
ORIENTATION, X_RESOLUTION, Y_RESOLUTION, UNIT, COLORMAP, PROFILE = 274, 282, 283, 296, 320, 34675
# Limits of directories, which keep tifffile from reading for minutes or filling the memory.
MAX_DIRECTORIES, MAX_TAGS, MAX_POSITIONS = 2**10, 2**15, 2**20
# Largest text of ImageJ, which tifffile reads line by line, and number of directories below a page.
DESCRIPTION, IMAGEJ, MAX_IMAGEJ_BYTES = 270, b"ImageJ=", 2**18
NESTED, MAX_NESTED = 330, 2**8
# Lengths of an inch in the units of ImageJ.
UNITS_PER_INCH = {
    "inch": 1.0,
    "cm": 2.54,
    "mm": 25.4,
    "um": 25_400.0,
    "µm": 25_400.0,
    "micron": 25_400.0,
    "microns": 25_400.0,
    "nm": 25_400_000.0,
}
# Sizes in bytes of the types of more than one byte.
TYPE_SIZES = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}

# Kinds of an extra sample that are alpha.
ALPHA_KINDS = (1, 2)

_reading: ContextVar[bool] = ContextVar("_reading", default=False)


def _passes_log(record: logging.LogRecord) -> bool:
    return not _reading.get()


@contextmanager
def quiet_tifffile() -> Iterator[None]:
    """Silence the log messages of tifffile in this context."""
    # tifffile logs damage that is harmless, or refused by the checks here. A filter is added only once.
    logging.getLogger("tifffile").addFilter(_passes_log)
    token = _reading.set(True)
    try:
        yield
    finally:
        _reading.reset(token)


@contextmanager
def _opened(stream: BinaryIO) -> Iterator[TiffFile]:
    """Open a TIFF without the log messages of tifffile."""
    import tifffile

    with quiet_tifffile():
        _check_directories(stream)
        stream.seek(0)
        with tifffile.TiffFile(stream) as tif:
            yield tif


def _check_directories(stream: BinaryIO) -> None:
    """Refuse directories that would take minutes to read, or much memory."""
    file_size = stream.seek(0, 2)
    stream.seek(0)
    head = stream.read(16)
    # BigTIFFs have the version 43, the code of "+".
    order, is_big = "<" if head[:1] == b"I" else ">", b"+" in head[2:4]
    count_format, entry_format, next_format = (
        order + x for x in (("Q", "HHQQ", "Q") if is_big else ("H", "HHII", "I"))
    )
    entry_size = struct.calcsize(entry_format)
    n_directories, n_tags, declared = 0, 0, 0
    # Later checks detect truncated files.
    with suppress(struct.error):
        (offset,) = struct.unpack_from(next_format, head, 8 if is_big else 4)
        while offset:
            n_directories += 1
            if n_directories > MAX_DIRECTORIES:
                raise UnreadableError(
                    f"it holds more than {MAX_DIRECTORIES} frames or pages; read it by read_stack"
                )
            stream.seek(offset)
            (count,) = struct.unpack(count_format, stream.read(struct.calcsize(count_format)))
            n_tags += count
            if n_tags > MAX_TAGS:
                raise UnreadableError(DAMAGED)
            for code, kind, length, place in struct.iter_unpack(
                entry_format, stream.read(count * entry_size)
            ):
                refuse_long_values(stream, code, length, place)
                declared += length * TYPE_SIZES.get(kind, 1)
                # Valid tags may share values, so they may declare a little more than the file holds.
                if (code in POSITION_TAGS and length > MAX_POSITIONS) or declared > 2 * file_size + 2**20:
                    raise UnreadableError(DAMAGED)
            (offset,) = struct.unpack(next_format, stream.read(struct.calcsize(next_format)))


def refuse_long_values(stream: BinaryIO, tag: int, n_values: int, place: int) -> None:
    """Refuse a text of ImageJ, or a list of directories, that takes minutes to read."""
    position = stream.tell()
    if tag == DESCRIPTION and n_values > MAX_IMAGEJ_BYTES:
        stream.seek(place)
        if stream.read(len(IMAGEJ)) == IMAGEJ:
            raise UnreadableError(f"its description by ImageJ has {n_values} bytes; save it anew")
    elif tag == NESTED and n_values > MAX_NESTED:
        raise UnreadableError(DAMAGED)
    stream.seek(position)


def _image_pages(tif: TiffFile) -> list[TiffPage]:
    # All are of the class TiffPage: tifffile makes the smaller TiffFrame only on request.
    pages: list[Any] = list(tif.pages)
    pages = [page for page in pages if not int(page.subfiletype) & (PREVIEW | MASK)]
    if not pages:
        raise UnreadableError(
            "it holds a preview only, as raw files of cameras do; convert it to a TIFF of 16 bits"
        )
    _check_directory(tif, pages[0])
    return pages


def _check_directory(tif: TiffFile, page: TiffPage) -> None:
    """Refuse a file that lacks an essential tag of a page, or its last page."""
    for checked in (page, tif.pages[-1]):
        tags, next_offset = _raw_directory(tif, checked.offset)
        if checked is page and not tags & ESSENTIAL_TAGS <= {tag.code for tag in page.tags}:
            raise UnreadableError(TRUNCATED)
    # The last page that tifffile found points to another one.
    if next_offset:
        raise UnreadableError(TRUNCATED)


def _raw_directory(tif: TiffFile, offset: int) -> tuple[set[int], int]:
    """Return the tags of a directory and the offset of the next one, 0 for the last."""
    file, layout = tif.filehandle, tif.tiff
    file.seek(offset)
    (count,) = struct.unpack(layout.tagnoformat, file.read(layout.tagnosize))
    entries = file.read(count * layout.tagsize)
    codes = {code for code, *_ in struct.iter_unpack(f"{tif.byteorder}H{layout.tagsize - 2}x", entries)}
    (next_offset,) = struct.unpack(layout.offsetformat, file.read(layout.offsetsize))
    return codes, next_offset


def read_header(stream: BinaryIO) -> Header:
    """Read size and metadata of the first image, and the number of images."""
    with _opened(stream) as tif:
        pages = _image_pages(tif)
        tags = pages[0].tags
        orientation = tags.valueof(ORIENTATION, 1)
        x, y = (_ratio(tags.valueof(tag)) for tag in (X_RESOLUTION, Y_RESOLUTION))
        profile = tags.valueof(PROFILE)
        metadata = Metadata(
            profile if isinstance(profile, bytes) else None,
            extract_exif(stream, pages[0].offset, tif.byteorder, tif.is_bigtiff),
            dpi=_dots_per_inch(tif, x, y),
            calibration=_read_calibration(tif),
        )
        return Header(
            int(pages[0].imagelength),
            int(pages[0].imagewidth),
            int(orientation) if orientation in range(1, 9) else 1,
            max(len(pages), _count_imagej_images(tif)),
            metadata,
        )


def _imagej_unit(tif: TiffFile) -> str:
    """Return the unit of length of ImageJ, empty if it has no unit."""
    unit = (tif.imagej_metadata or {}).get("unit", "") if tif.is_imagej else ""
    # ImageJ writes the Greek letter as an escape sequence.
    return str(unit).replace("\\u00B5", "µ")


def _dots_per_inch(tif: TiffFile, x: float | None, y: float | None) -> tuple[float, float] | None:
    unit = tif.pages.first.tags.valueof(UNIT, 2)
    per_inch = UNITS_PER_INCH.get(_imagej_unit(tif))
    if unit == 1 and per_inch is not None and x and y:
        return x * per_inch, y * per_inch
    return dots_per_inch(x, y, unit)


def _read_calibration(tif: TiffFile) -> Calibration | None:
    """Return the pixel size of ImageJ, for a copy in another TIFF."""
    tags = tif.pages.first.tags
    resolution = tags.valueof(X_RESOLUTION), tags.valueof(Y_RESOLUTION)
    if not tif.is_imagej or tags.valueof(UNIT, 2) != 1 or not all(isinstance(r, tuple) for r in resolution):
        return None
    # The exact fractions are kept, so that the pixel size does not drift from copy to copy.
    return Calibration(resolution, _imagej_unit(tif))


def _ratio(value: Any) -> float | None:
    if isinstance(value, tuple) and len(value) == 2 and value[1]:
        return float(value[0] / value[1])
    return None


def _count_imagej_images(tif: TiffFile) -> int:
    """Return the number of images in the metadata of ImageJ, else 1."""
    # In files of more than 4 GB, ImageJ stores all images behind a single directory.
    return int((tif.imagej_metadata or {}).get("images", 1)) if tif.is_imagej else 1


def decode(stream: BinaryIO) -> NDArray[Any]:
    """Decode the pixels to gray or RGB, channels last."""
    with _opened(stream) as tif:
        page = _image_pages(tif)[0]
        check_pixel_format(page)
        check_parts(page, page, stream.seek(0, 2), "the image")
        pixels = decode_parts(page)
        if pixels.ndim == 3 and page.planarconfig == 2:
            pixels = np.moveaxis(pixels, 0, -1)
        if pixels.ndim == 3 and pixels.shape[2] == 1:
            pixels = pixels[..., 0]
        return to_gray_or_rgb(pixels, page)


def check_pixel_format(page: TiffPage) -> None:
    """Refuse a page that is not gray or coloured, in up to 16 bits or in floats."""
    bits, photometric = page.bitspersample, int(page.photometric)
    kind = None if page.dtype is None or not isinstance(bits, int) else page.dtype.kind
    is_signed = kind == "i" and bits in (8, 16)
    if kind not in ("b", "u", "f", "i") or (kind != "f" and bits > 16) or (kind == "i" and not is_signed):
        raise UnreadableError(
            f"its values are of {bits} bits and sample format {name_of(page.sampleformat)}, which is not "
            "read; "
            "convert it to integers of 8 or 16 bits or to floating point, or take read_stack, which reads "
            "32 bits"
        )
    if photometric not in COLORS or page.imagedepth != 1 or not are_colors(page):
        raise UnreadableError(describe_colors(page))
    is_integer = kind in ("b", "u")
    if photometric in (PALETTE, CMYK, YCBCR, CIELAB, ICCLAB) and (bits > 8 or not is_integer):
        raise UnreadableError(f"it has {name_of(page.photometric)} colours of {bits} bits; convert it to RGB")


def are_colors(page: TiffPage) -> bool:
    """Return whether the samples of a page are gray or colours, with alpha at most."""
    colors, samples = COLORS.get(int(page.photometric)), int(page.samplesperpixel)
    if colors is None or samples == colors:
        return colors is not None
    # A further channel without this tag is data, for example near infrared.
    is_alpha = len(page.extrasamples) > 0 and int(page.extrasamples[0]) in ALPHA_KINDS
    return samples == colors + 1 and is_alpha


def describe_colors(page: TiffPage) -> str:
    """Return the reason why channels are not read as gray or colours, with advice."""
    samples = int(page.samplesperpixel)
    if int(page.photometric) in (MIN_IS_WHITE, MIN_IS_BLACK, RGB) and samples > 1 and page.imagedepth == 1:
        return (
            f"it has {samples} channels, and no tag says that channel {samples} is alpha, so they are data; "
            'read it by read_stack, and denoise it with axes="YXC"'
        )
    return (
        f"it has {samples} channels of the colour kind {name_of(page.photometric)} in {page.imagedepth} "
        "planes, which is not read; convert it to gray or RGB"
    )


def name_of(value: Any) -> str:
    """Return the name of a value of a tag."""
    # tifffile returns a plain number if it has no name for it.
    return str(getattr(value, "name", value))


def to_gray_or_rgb(pixels: NDArray[Any], page: TiffPage) -> NDArray[Any]:
    """Convert the values of a page to gray or RGB, with 0 as black."""
    photometric, bits = int(page.photometric), int(page.bitspersample)
    if photometric == PALETTE:
        return _apply_palette(pixels, page)
    if pixels.dtype.kind == "f":
        if photometric == MIN_IS_WHITE:
            raise UnreadableError("its floating-point values have white at 0; convert it so that black is 0")
        return pixels.astype(np.float32) if pixels.dtype == np.float16 else pixels
    if photometric == MIN_IS_WHITE:
        if pixels.dtype.kind == "i":
            raise UnreadableError("its signed values have white at 0; convert it so that black is 0")
        pixels = _invert(pixels, bits)
    if bits < 8:
        white = 2**bits - 1
        scaled: NDArray[Any] = (pixels.astype(np.uint16) * 255 + white // 2) // white
        return scaled.astype(np.uint8)
    return _colors_to_rgb(pixels, page)


def _invert(pixels: NDArray[Any], bits: int) -> NDArray[Any]:
    """Swap black and white; alpha is kept."""
    if bits == 1:
        white: NDArray[Any] = np.logical_not(pixels)
        return white
    inverted = pixels.copy()
    values = inverted if inverted.ndim == 2 else inverted[..., 0]
    np.subtract(inverted.dtype.type(2**bits - 1), values, out=values)
    return inverted


def _apply_palette(pixels: NDArray[Any], page: TiffPage) -> NDArray[Any]:
    palette = np.asarray(page.tags.valueof(COLORMAP)).reshape(3, -1)
    # Palettes have 16 bits, but some programs write 8 bits.
    if palette.max() > 255:
        palette = palette >> 8
    return palette.astype(np.uint8).T[pixels.astype(np.uint8)]


def _colors_to_rgb(pixels: NDArray[Any], page: TiffPage) -> NDArray[Any]:
    from PIL import Image

    photometric = int(page.photometric)
    if photometric in (RGB, MIN_IS_BLACK, MIN_IS_WHITE):
        return pixels
    # Other compressions, such as JPEG, convert YCbCr to RGB themselves.
    if photometric == YCBCR and int(page.compression) not in PLAIN_COMPRESSIONS:
        return pixels
    colors = np.ascontiguousarray(pixels[..., : COLORS[photometric]])
    size = (colors.shape[1], colors.shape[0])
    if photometric == CMYK:
        profile = page.tags.valueof(PROFILE)
        return np.array(cmyk_to_rgb(Image.frombytes("CMYK", size, colors.tobytes()), profile))
    if photometric == YCBCR:
        return np.array(Image.frombytes("YCbCr", size, colors.tobytes()).convert("RGB"))
    # ICCLAB has unsigned numbers where CIELAB has signed ones.
    if photometric == ICCLAB:
        colors[..., 1:] ^= 128
    return np.array(lab_to_rgb(Image.frombytes("LAB", size, colors.tobytes())))


def encode(image: NDArray[Any], metadata: Metadata, quality: int) -> bytes:
    """Encode an image, deflated without loss; ``quality`` has no effect."""
    import tifffile

    channels = 1 if image.ndim == 2 else image.shape[2]
    options: dict[str, Any] = {}
    if metadata.calibration is not None:
        unit = metadata.calibration.unit.replace("µ", "\\u00B5")
        options |= {"resolution": metadata.calibration.resolution, "resolutionunit": 1}
        # Every ImageJ and Fiji reads this version; the unit stands in the description alone.
        options["description"] = f"ImageJ=1.11a\nimages=1\nunit={unit}\n" if unit else None
    elif metadata.dpi is not None:
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
    return data if metadata.exif is None else b"".join(add_exif(data, metadata.exif))
