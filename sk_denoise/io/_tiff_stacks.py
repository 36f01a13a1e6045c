"""TIFF files of many planes: plain pages, ImageJ hyperstacks and OME-TIFF.

Planes are read and written one at a time.
"""

from __future__ import annotations

import math
import re
import struct
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import NDArray

from sk_denoise.io import _tiff
from sk_denoise.io._header import DAMAGED, TRUNCATED, PlaneSeries, UnreadableError
from sk_denoise.io._tiff_parts import check_parts, decode_parts

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage, TiffPageSeries

__all__ = ["is_tiff_stack", "open_series", "write_series"]

# Sizes in bytes of the parts of a directory: number of tags, tag, offset of the next directory.
CLASSIC, BIG = ("H", "HHI4s", "I"), ("Q", "HHQ8s", "Q")
# Smallest file with a given number of tags holds them once.
TAG_BYTES, MIN_TAG_LIMIT = 12, 2**15
# Tags that decide how the pixels of a page are stored: pages of one array have equal values.
LAYOUT_TAGS = frozenset((256, 257, 258, 259, 262, 266, 277, 284, 317, 322, 323, 338, 339))
SUBFILE_TYPE = 254
# Sizes in bytes of the types of TIFF.
SIZES = {1: 1, 2: 1, 6: 1, 7: 1, **_tiff.TYPE_SIZES}
# Tags of a page that a copy keeps byte by byte. Tags of other programs may point into their own file.
KEPT_TAGS: tuple[int, ...] = (
    *(269, 271, 272, 274, 285, 286, 287, 297, 315, 316, 700, 33432),
    *(33550, 33922, 34264, 34735, 34736, 34737, 42112, 42113, 51123),
)
# Labels, overlays, regions and lookup tables of ImageJ, on its first page.
IMAGEJ_TAGS = (50838, 50839)
SOFTWARE, DATE, DESCRIPTION = 305, 306, 270
# Largest file of 32-bit offsets, less space for the directories.
MAX_CLASSIC_BYTES, DIRECTORY_BYTES = 2**32 - 2**25, 2**11
# Axes that OME-TIFF can store.
OME_AXES = frozenset("TZCYXS")
# Conventions that give the axes of a file, besides OME.
DESCRIBED_KINDS = ("imagej", "shaped", "lsm", "stk", "fluoview", "mmstack", "ndtiff")
# Sizes of an OME array besides those of a plane, and the number of planes that is allowed in any file.
OME_SIZES, MIN_PLANE_LIMIT = ("SizeZ", "SizeC", "SizeT"), 2**20
# First bytes of descriptions that belong to a program.
OME_START = re.compile(r"\s*(<\?xml|<OME|<ome:OME|<!--)")
PIXELS_BLOCK = re.compile(r"<((?:\w+:)?)Pixels\b.*?</\1Pixels\s*>", re.DOTALL)
TIFF_DATA = re.compile(r"<((?:\w+:)?)TiffData\b(?:[^>]*/>|[^>]*>.*?</\1TiffData\s*>)", re.DOTALL)


@dataclass(frozen=True)
class Directory:
    """Position and layout of a page.

    Attributes
    ----------
    offset : int
        Position in the file.
    layout : frozenset
        Tags that decide on the layout of the pixels, with their values.
    is_image : bool
        Whether the page is an image of its own, not a preview or a mask.
    """

    offset: int
    layout: frozenset[tuple[Any, ...]]
    is_image: bool


@dataclass(frozen=True)
class TiffTemplate:
    """Description of the pages of a series, for a copy with other pixels.

    Attributes
    ----------
    kind : {"ome", "imagej", "shaped", "pages"}
        Convention that gives meaning to the pages.
    tif : TiffFile
        Open file.
    pages : sequence
        Pages in order; one page if all planes stand behind it.
    keyframe : TiffPage
        Page with the layout of all pages.
    is_palette : bool
        Whether the values are data and the palette is for display only.
    """

    kind: str
    tif: TiffFile = field(repr=False)
    pages: Sequence[Any] = field(repr=False)
    keyframe: TiffPage = field(repr=False)
    is_palette: bool = False


# Reading -------------------------------------------------------------------------------------------------


def is_tiff_stack(stream: BinaryIO) -> bool:
    """Return whether a TIFF holds more than one plain image of gray or colours."""
    directories = [directory for directory in _scan_directories(stream) if directory.is_image]
    if len(directories) != 1:
        return len(directories) > 1
    with _tiff.quiet_tifffile():
        import tifffile

        stream.seek(0)
        with tifffile.TiffFile(stream) as tif:
            page = cast("TiffPage", tif.pages[0])
            shaped = page.shaped_description or ""
            if page.is_ome or page.is_imagej or '"axes"' in shaped or len(tif.pages) == 0:
                return True
            with suppress(UnreadableError):
                _tiff.check_pixel_format(page)
                return False
            # What read_image refuses, such as data channels, is read as a stack if possible.
            with suppress(UnreadableError):
                _sample_axis(page, "")
                _check_stack_format(page)
                return True
            return False


def _scan_directories(stream: BinaryIO) -> list[Directory]:
    """Return all pages of the main chain, and refuse one that is damaged or cut off."""
    file_size = stream.seek(0, 2)
    stream.seek(0)
    head = stream.read(16)
    order, is_big = "<" if head[:1] == b"I" else ">", b"+" in head[2:4]
    count_format, entry_format, next_format = (order + code for code in (BIG if is_big else CLASSIC))
    entry_size = struct.calcsize(entry_format)
    directories: list[Directory] = []
    visited: set[int] = set()
    n_tags, declared = 0, 0
    try:
        (offset,) = struct.unpack_from(next_format, head, 8 if is_big else 4)
        while offset:
            # A chain without end, or directories inside one another, would take hours.
            if offset in visited:
                raise UnreadableError(DAMAGED)
            visited.add(offset)
            stream.seek(offset)
            (count,) = struct.unpack(count_format, stream.read(struct.calcsize(count_format)))
            n_tags += count
            if n_tags > max(MIN_TAG_LIMIT, file_size // TAG_BYTES) or count * entry_size > file_size:
                raise UnreadableError(DAMAGED)
            entries = list(struct.iter_unpack(entry_format, stream.read(count * entry_size)))
            (next_offset,) = struct.unpack(next_format, stream.read(struct.calcsize(next_format)))
            # Directories that share one long list of positions would take hours.
            places = [entry for entry in entries if entry[0] in _tiff.POSITION_TAGS]
            declared += sum(n_values * SIZES.get(kind, 1) for _, kind, n_values, _ in places)
            if declared > 2 * file_size + 2**20:
                raise UnreadableError(DAMAGED)
            for tag, _, n_values, value in entries:
                place = int.from_bytes(value, "little" if order == "<" else "big")
                _tiff.refuse_long_values(stream, tag, n_values, place)
            directories.append(_read_directory(offset, order, entries, file_size))
            offset = next_offset
    except (struct.error, OverflowError) as error:
        raise UnreadableError(TRUNCATED) from error
    return directories


def _read_directory(offset: int, order: str, entries: list[tuple[Any, ...]], file_size: int) -> Directory:
    layout, flags = set(), 0
    for tag, kind, n_values, value in entries:
        size = n_values * SIZES.get(kind, 1)
        # Values of a page cannot be longer than the file.
        if size > file_size + 2**16:
            raise UnreadableError(DAMAGED)
        if tag in LAYOUT_TAGS:
            # Longer values stand elsewhere, at a position that differs from page to page.
            layout.add((tag, kind, n_values, value[:size] if size <= len(value) else b""))
        # A file that lost its end may lack its description, which would change the meaning of its pages.
        elif tag == DESCRIPTION and size > len(value):
            if int.from_bytes(value, "little" if order == "<" else "big") + size > file_size:
                raise UnreadableError(TRUNCATED)
        elif tag == SUBFILE_TYPE:
            (flags,) = struct.unpack_from(f"{order}I", value)
    return Directory(offset, frozenset(layout), not flags & (_tiff.PREVIEW | _tiff.MASK))


@contextmanager
def open_series(path: Path, stream: BinaryIO) -> Iterator[list[PlaneSeries]]:
    """Open a TIFF, and yield its series of planes.

    Parameters
    ----------
    path : Path
        The file.
    stream : file
        The same file, open for reading.
    """
    import tifffile

    directories = _scan_directories(stream)
    if not directories:
        raise UnreadableError("it is a TIFF without a page; copy it again from where it came")
    with _tiff.quiet_tifffile():
        tif = tifffile.TiffFile(path)
    with tif:
        # Two stacks may be closed in any order, so the silence does not last until then.
        with _tiff.quiet_tifffile():
            series = _build_all_series(path, tif, directories)
        yield series


def _build_all_series(path: Path, tif: TiffFile, directories: list[Directory]) -> list[PlaneSeries]:
    notes: tuple[str, ...] = ()
    first = tif.pages.first
    if first.is_ome:
        note = _check_ome_set(path, tif)
        if not note:
            series = [s for s in tif.series if s.kind == "ome"]
            if series and len(series) == len(_ome_blocks(tif)):
                return [_build_series(s, tif, directories) for s in series]
            note = "its OME description does not fit its pages, which are taken as plain pages"
        notes = (note,)
    elif first.is_imagej and tif.series[0].kind != "imagej":
        n_images = int((tif.imagej_metadata or {}).get("images", 1))
        if n_images > len(tif.pages):
            raise UnreadableError(f"it has {len(tif.pages)} of {n_images} images of ImageJ: {TRUNCATED}")
        notes = ("its description by ImageJ does not fit its pages, which are taken as plain pages",)
    elif tif.series[0].kind in DESCRIBED_KINDS:
        return [_build_series(s, tif, directories) for s in tif.series]
    return _group_pages(tif, directories, notes)


def _check_ome_set(path: Path, tif: TiffFile) -> str:
    """Check the files of an OME set; return a note if its description is elsewhere.

    Raises
    ------
    UnreadableError
        If planes are in files that are missing.
    """
    try:
        root = ET.fromstring(tif.ome_metadata or "")
    except ET.ParseError:
        return "its OME description is damaged, so its pages are taken as plain pages"
    for element in root.iter():
        if element.tag.rpartition("}")[2] == "Pixels":
            n_planes = math.prod(int(element.get(size, "1")) for size in OME_SIZES)
            # tifffile makes a list of all planes, also of those that are missing.
            if n_planes > MIN_PLANE_LIMIT:
                raise UnreadableError(f"its OME description claims {n_planes} planes; copy it again")
        if element.tag.endswith("}BinaryOnly") or element.tag == "BinaryOnly":
            name = element.get("MetadataFile", "another file")
            return (
                f"it is a part of a set of files, described in {name}: its axes and pixel size are not in "
                "it, "
                "so its pages are taken as plain pages"
            )
    names = {
        element.get("FileName", "") for element in root.iter() if element.tag.rpartition("}")[2] == "UUID"
    }
    others = sorted(names - {"", path.name})
    own_uuid = root.get("UUID")
    uuids = {element.text for element in root.iter() if element.tag.rpartition("}")[2] == "UUID"}
    # A file that was renamed still holds all planes under its own identifier.
    if uuids <= {own_uuid}:
        return ""
    unsafe = [name for name in others if Path(name).name != name or "\\" in name]
    if unsafe:
        raise UnreadableError(
            f"it refers to a file in another folder, {unsafe[0]}; put all files of the set into one folder "
            "and "
            "save them as one OME-TIFF"
        )
    missing = [name for name in others if not (path.parent / name).is_file()]
    if missing:
        raise UnreadableError(
            f"it is a part of a set of files, of which {missing[0]}"
            f"{f' and {len(missing) - 1} more' if len(missing) > 1 else ''} is missing; put all files of "
            "the set "
            "into one folder"
        )
    return ""


def _build_series(series: TiffPageSeries, tif: TiffFile, directories: list[Directory]) -> PlaneSeries:
    """Return the planes of a series of tifffile."""
    keyframe = series.keyframe
    is_palette = series.kind in ("imagej", "ome", "shaped")
    axes, shape = series.axes, series.shape
    stored_axes = keyframe.axes
    own_axes = axes[len(axes) - len(stored_axes) :]
    # A description may give the samples of a page another letter, such as C.
    fits = "YX" in own_axes and stored_axes.index("Y") == own_axes.index("Y")
    if not fits or shape[len(shape) - len(stored_axes) :] != keyframe.shape:
        raise UnreadableError(
            f"its axes {axes} do not end in those of a page, {stored_axes}; read it by tifffile, and pass "
            "the "
            "array with axes= to denoise_image"
        )
    leading = axes[: len(axes) - len(stored_axes)]
    n_planes = int(np.prod(shape[: len(leading)], dtype=np.int64))
    pages = list(series.pages)
    kind = series.kind if series.kind in ("ome", "imagej", "shaped") else "other"
    template = TiffTemplate(kind, tif, pages, keyframe, is_palette)
    if len(pages) == n_planes:
        _check_pages(pages, keyframe, tif, directories)
        missing = frozenset(index for index, page in enumerate(pages) if page is None)
        return _finish_series(leading, shape[: len(leading)], template, missing)
    # All planes stand behind a single directory.
    if len(pages) != 1 or not keyframe.is_contiguous:
        raise UnreadableError(f"it holds {len(pages)} pages, and its description {n_planes}; copy it again")
    end = keyframe.dataoffsets[0] + n_planes * keyframe.nbytes
    if end > tif.filehandle.size:
        raise UnreadableError(f"parts of the image are missing: {TRUNCATED}")
    return _finish_series(leading, shape[: len(leading)], template, frozenset())


def _check_pages(pages: list[Any], keyframe: TiffPage, tif: TiffFile, directories: list[Directory]) -> None:
    """Refuse pages of another layout than the first one, and incomplete pages."""
    layouts = {directory.offset: directory.layout for directory in directories}
    expected = layouts.get(keyframe.offset)
    for page in pages:
        # Pages of other files have other offsets, and are checked when they are read.
        if page is None or page.parent is not tif:
            continue
        if expected is not None and layouts.get(page.offset, expected) != expected:
            raise UnreadableError(
                f"page {page.index} differs in size or type from page {keyframe.index}, and the description "
                "of "
                "the file gives one for all; save the pages as files of their own"
            )
        check_parts(page, keyframe, tif.filehandle.size, f"page {_page_number(page)}")


def _page_number(page: Any) -> int:
    return int(page.index) + 1


def _group_pages(tif: TiffFile, directories: list[Directory], notes: tuple[str, ...]) -> list[PlaneSeries]:
    """Return a series for each run of pages of one layout."""
    images = [(index, directory) for index, directory in enumerate(directories) if directory.is_image]
    if not images:
        raise UnreadableError(
            "it holds a preview only, as raw files of cameras do; convert it to a TIFF of 16 bits"
        )
    tif.pages.useframes = False
    series = []
    for _, run in groupby(images, key=lambda item: item[1].layout):
        indexes = [index for index, _ in run]
        keyframe = cast("TiffPage", tif.pages[indexes[0]])
        template = TiffTemplate("pages", tif, _LazyPages(tif, indexes), keyframe)
        leading = "I" if len(indexes) > 1 else ""
        for page in template.pages:
            check_parts(page, keyframe, tif.filehandle.size, f"page {_page_number(page)}")
        shape = (len(indexes),) if leading else ()
        series.append(replace(_finish_series(leading, shape, template, frozenset()), notes=notes))
    return series


class _LazyPages(Sequence[Any]):
    """Pages of a file by index, which are parsed when they are needed."""

    def __init__(self, tif: TiffFile, indexes: Sequence[int]) -> None:
        self.tif, self.indexes = tif, indexes

    def __len__(self) -> int:
        return len(self.indexes)

    def __getitem__(self, index: Any) -> Any:
        return self.tif.pages[self.indexes[index]]


def _finish_series(
    leading: str, leading_shape: tuple[int, ...], template: TiffTemplate, missing: frozenset[int]
) -> PlaneSeries:
    keyframe = template.keyframe
    _check_stack_format(keyframe, template.is_palette)
    sample_axis = _sample_axis(keyframe, leading)
    reader = _PlaneReader(template, int(np.prod(leading_shape, dtype=np.int64)))
    # The decoded type of a plane, for example 8 bits for 1 bit, follows from a tiny one.
    blank = np.zeros((1, 1, *((keyframe.samplesperpixel,) if sample_axis else ())), keyframe.dtype)
    decoded = reader.convert(blank, keyframe)
    axes = leading + "YX" + ("S" if not sample_axis and decoded.ndim == 3 else sample_axis)
    size = (int(keyframe.imagelength), int(keyframe.imagewidth))
    reader.shape = (*size, *decoded.shape[2:])
    reader.dtype = decoded.dtype
    notes: tuple[str, ...] = ()
    if missing:
        notes = (f"{len(missing)} of its planes are missing; they stay 0",)
    return PlaneSeries(
        axes,
        (*leading_shape, *reader.shape),
        decoded.dtype.newbyteorder("="),
        reader,
        missing=missing,
        template=template,
        notes=notes,
    )


def _check_stack_format(page: TiffPage, is_palette: bool = False) -> None:
    photometric = int(page.photometric)
    if photometric not in _tiff.COLORS and photometric != _tiff.MIN_IS_BLACK:
        raise UnreadableError(_tiff.describe_colors(page))
    if page.dtype is None or page.dtype.kind not in "buif" or page.dtype.itemsize > 8:
        raise UnreadableError(
            f"its values are of {page.bitspersample} bits and sample format "
            f"{_tiff.name_of(page.sampleformat)}, "
            "which is not read; convert it to integers or floating point"
        )
    if page.imagedepth != 1:
        raise UnreadableError(
            f"its pages hold {page.imagedepth} planes each, which is not read; save it anew"
        )
    is_wide = page.dtype.kind in "if" or page.dtype.itemsize > 1
    plain = (_tiff.MIN_IS_BLACK, _tiff.RGB, _tiff.MIN_IS_WHITE, *((_tiff.PALETTE,) if is_palette else ()))
    if is_wide and photometric not in plain:
        raise UnreadableError(_tiff.describe_colors(page))
    if page.dtype.kind in "if" and photometric == _tiff.MIN_IS_WHITE:
        raise UnreadableError("it has white at 0 in numbers with a sign; convert it so that black is 0")


def _sample_axis(page: TiffPage, leading: str) -> str:
    """Return the letter of the samples: S for colours, C for data, empty for one."""
    if page.samplesperpixel == 1:
        return ""
    if _tiff.are_colors(page):
        return "S"
    if int(page.photometric) not in (_tiff.MIN_IS_BLACK, _tiff.RGB, _tiff.MIN_IS_WHITE):
        raise UnreadableError(_tiff.describe_colors(page))
    return "Q" if "C" in leading else "C"


class _PlaneReader:
    """Reader of single planes of a series."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __init__(self, template: TiffTemplate, n_planes: int) -> None:
        self.template, self.n_planes = template, n_planes

    def __call__(self, index: int) -> NDArray[Any]:
        with _tiff.quiet_tifffile():
            template = self.template
            if len(template.pages) != self.n_planes:
                return self.convert(self._read_contiguous(index), template.keyframe)
            page = template.pages[index]
            if page is None:
                return np.zeros(self.shape, self.dtype)
            plane = self.convert(self._decode(page), template.keyframe)
            if plane.shape != self.shape:
                raise UnreadableError(
                    f"page {_page_number(page)} has the shape {plane.shape}, others {self.shape}; copy it "
                    "again"
                )
            return plane

    def _decode(self, page: Any) -> NDArray[Any]:
        with _reopened(page.parent.filehandle):
            # Tables of JPEG differ from page to page, and a frame has those of the first page.
            full_page = page if page.keyframe is page else page.aspage()
            file_size = full_page.parent.filehandle.size
            check_parts(full_page, full_page, file_size, f"page {_page_number(page)}")
            pixels = decode_parts(full_page)
        if pixels.ndim == 3 and full_page.planarconfig == 2:
            pixels = np.moveaxis(pixels, 0, -1)
        return pixels

    def _read_contiguous(self, index: int) -> NDArray[Any]:
        page = self.template.keyframe
        file = self.template.tif.filehandle
        dtype = np.dtype(f"{self.template.tif.byteorder}{page._dtype.char}")  # type: ignore[union-attr]
        pixels = file.read_array(
            dtype, page.nbytes // dtype.itemsize, page.dataoffsets[0] + index * page.nbytes
        )
        pixels = pixels.reshape(page.shape)
        return np.moveaxis(pixels, 0, -1) if pixels.ndim == 3 and page.planarconfig == 2 else pixels

    def convert(self, pixels: NDArray[Any], page: TiffPage) -> NDArray[Any]:
        """Convert the values of a page to gray, colours or data channels."""
        if page.samplesperpixel == 1 and pixels.ndim == 3:
            pixels = pixels[..., 0]
        is_data = page.samplesperpixel > 1 and not _tiff.are_colors(page)
        is_display = int(page.photometric) == _tiff.PALETTE and self.template.is_palette
        is_wide = pixels.dtype.kind == "i" or (pixels.dtype.kind == "u" and pixels.dtype.itemsize > 2)
        is_kept = is_wide or (pixels.dtype.kind == "u" and (is_data or is_display))
        converted = pixels if is_kept else _tiff.to_gray_or_rgb(pixels, page)
        converted = np.ascontiguousarray(converted, converted.dtype.newbyteorder("="))
        return converted.astype(np.uint8) * np.uint8(255) if converted.dtype == bool else converted


# Writing -------------------------------------------------------------------------------------------------


def write_series(stream: BinaryIO, series: Sequence[tuple[PlaneSeries, Iterable[NDArray[Any]]]]) -> None:
    """Write series of planes as a TIFF with the metadata of their templates.

    Parameters
    ----------
    stream : file
        File open for writing.
    series : sequence of tuple (PlaneSeries, iterable of ndarray)
        Each series with its new planes, in order.
    """
    import tifffile

    n_bytes = sum(s.n_bytes + s.n_planes * DIRECTORY_BYTES for s, _ in series)
    template = series[0][0].template
    # The private data of ImageJ have the byte order of their file.
    order = template.tif.byteorder if isinstance(template, TiffTemplate) else "<"
    is_big = n_bytes > MAX_CLASSIC_BYTES or (isinstance(template, TiffTemplate) and template.tif.is_bigtiff)
    is_kept = isinstance(template, TiffTemplate) and template.kind != "other"
    descriptions = _adapt_ome([s for s, _ in series]) if is_kept and template.kind == "ome" else None
    if not is_kept:
        _write_new(stream, series, is_big)
        return
    with tifffile.TiffWriter(stream, bigtiff=is_big, byteorder=order) as writer:
        for index, (description, planes) in enumerate(series):
            source = cast(TiffTemplate, description.template)
            text = descriptions if index == 0 else None
            if source.kind == "imagej":
                _write_imagej(writer, description, planes)
                continue
            for number, plane in enumerate(_checked(planes, description)):
                options = _page_options(source, number, description)
                if source.kind == "ome":
                    options["description"] = text if number == 0 else None
                writer.write(_contiguous(plane), **options)


def _checked(planes: Iterable[NDArray[Any]], series: PlaneSeries) -> Iterator[NDArray[Any]]:
    """Yield planes, and refuse those of another shape, type or number."""
    n_planes = 0
    for plane in planes:
        if plane.shape != series.plane_shape or plane.dtype != series.dtype:
            raise ValueError(
                f"plane {n_planes} must have the shape {series.plane_shape} and type {series.dtype}, got "
                f"{plane.shape} and {plane.dtype}; convert it, or write another stack."
            )
        n_planes += 1
        if n_planes > series.n_planes:
            break
        yield plane
    if n_planes != series.n_planes:
        raise ValueError(
            f"planes must be {series.n_planes}, as the shape {series.shape} of axes {series.axes} says, got "
            f"{'more' if n_planes > series.n_planes else n_planes}."
        )


def _contiguous(plane: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(plane)


def _page_options(template: TiffTemplate, number: int, series: PlaneSeries) -> dict[str, Any]:
    """Return the options of tifffile for a copy of a page with other pixels."""
    pages = template.pages
    page = pages[number] if number < len(pages) else template.keyframe
    if page is None:
        page = template.keyframe
    if page.keyframe is not page:
        with _reopened(page.parent.filehandle):
            page = page.aspage()
    tags = page.tags
    options = _pixel_options(template, series)
    text = tags.get(DESCRIPTION)
    is_first = number == 0
    if text is not None and not (template.kind == "shaped" and not is_first):
        raw = _raw_value(text).rstrip(b"\0")
        # A description of a set or a damaged one would be taken for that of this file.
        if not (template.kind == "pages" and OME_START.match(raw[:100].decode("latin-1"))):
            options["description"] = raw
    return {**options, **_metadata_options(template, page, is_first)}


def _pixel_options(template: TiffTemplate, series: PlaneSeries) -> dict[str, Any]:
    page = template.keyframe
    options: dict[str, Any] = {"metadata": None, "maxworkers": 1, "contiguous": False}
    options["photometric"] = "rgb" if series.axes[-1] == "S" and series.shape[-1] > 2 else "minisblack"
    if template.is_palette and int(page.photometric) == _tiff.PALETTE and series.plane_ndim == 2:
        options["photometric"] = "palette"
        options["colormap"] = np.asarray(page.tags.valueof(_tiff.COLORMAP), np.uint16).reshape(3, -1)
    if series.plane_ndim == 3:
        options["planarconfig"] = "contig"
        n_extra = series.shape[-1] - (3 if options["photometric"] == "rgb" else 1)
        if n_extra:
            kinds = tuple(int(kind) for kind in page.extrasamples)[:n_extra] if series.axes[-1] == "S" else ()
            options["extrasamples"] = kinds or (0,) * n_extra
    if int(page.compression) != 1 and template.kind != "imagej":
        options |= {"compression": "zlib", "predictor": series.dtype.itemsize <= 4}
    if page.is_tiled and template.kind != "imagej":
        options["tile"] = (page.tilelength, page.tilewidth)
    return options


def _metadata_options(template: TiffTemplate, page: TiffPage, is_first: bool) -> dict[str, Any]:
    tags = page.tags
    options: dict[str, Any] = {}
    x, y = tags.valueof(_tiff.X_RESOLUTION), tags.valueof(_tiff.Y_RESOLUTION)
    if all(isinstance(value, tuple) and len(value) == 2 for value in (x, y)):
        options["resolution"] = (x, y)
        unit = tags.valueof(_tiff.UNIT, 2)
        options["resolutionunit"] = int(unit) if unit in (1, 2, 3) else 1
    profile = tags.valueof(_tiff.PROFILE)
    if isinstance(profile, bytes):
        options["iccprofile"] = profile
    software, date = tags.valueof(SOFTWARE), tags.valueof(DATE)
    options["software"] = software.encode() if isinstance(software, str) and software else False
    kept = KEPT_TAGS + (IMAGEJ_TAGS if is_first and template.kind == "imagej" else ())
    extra = []
    if isinstance(date, str) and date:
        extra.append((DATE, 2, 0, date.encode(), True))
    for code in kept:
        tag = tags.get(code)
        if tag is not None:
            extra.append((code, int(tag.dtype), int(tag.count), _raw_value(tag), True))
    options["extratags"] = extra
    return options


def _raw_value(tag: Any) -> bytes:
    """Return the bytes of a value as they are in the file."""
    with _reopened(tag.parent.filehandle) as file:
        file.seek(tag.valueoffset)
        data: bytes = file.read(int(tag.count) * SIZES.get(int(tag.dtype), 1))
        return data


@contextmanager
def _reopened(file: Any) -> Iterator[Any]:
    """Open a file of a set, which tifffile closes, for a moment."""
    is_closed = file.closed
    if is_closed:
        file.open()
    try:
        yield file
    finally:
        if is_closed:
            file.close()


def _write_imagej(writer: Any, series: PlaneSeries, planes: Iterable[NDArray[Any]]) -> None:
    """Write all planes behind one another, as ImageJ expects them."""
    template = cast(TiffTemplate, series.template)
    options = _page_options(template, 0, series)
    shape = (series.n_planes, *series.plane_shape)
    order = template.tif.byteorder
    dtype = series.dtype.newbyteorder(order)
    data = (np.ascontiguousarray(plane, dtype) for plane in _checked(planes, series))
    writer.write(data, shape=shape, dtype=dtype, **options)
    # tifffile stops at the last plane, and a plane too many would pass unseen.
    next(data, None)


def _write_new(
    stream: BinaryIO, series: Sequence[tuple[PlaneSeries, Iterable[NDArray[Any]]]], is_big: bool
) -> None:
    """Write series without a template: OME-TIFF if its axes fit, else as tifffile."""
    import tifffile

    is_ome = all(_fits_ome(s) for s, _ in series)
    with tifffile.TiffWriter(stream, bigtiff=is_big, ome=is_ome, byteorder="<") as writer:
        for description, planes in series:
            is_rgb = description.axes[-1] == "S" and description.shape[-1] > 2
            options: dict[str, Any] = {"photometric": "rgb" if is_rgb else "minisblack"}
            if description.plane_ndim == 3:
                options["planarconfig"] = "contig"
                has_alpha = description.axes[-1] == "S" and description.shape[-1] in (2, 4)
                n_extra = description.shape[-1] - (3 if is_rgb else 1)
                options["extrasamples"] = ("unassalpha",) if has_alpha else (0,) * n_extra
            metadata: dict[str, Any] = {"axes": description.axes}
            if is_ome:
                # tifffile would make the identifier of the address of the machine.
                metadata |= {"UUID": str(uuid.uuid4()), **_ome_pixel_size(description)}
            data = (_contiguous(plane) for plane in _checked(planes, description))
            writer.write(
                data,
                shape=description.shape,
                dtype=description.dtype,
                metadata=metadata,
                maxworkers=1,
                software=False,
                **options,
            )
            next(data, None)


def _fits_ome(series: PlaneSeries) -> bool:
    """Return whether OME has the axes and the type, with channels before planes."""
    has_axes = OME_AXES.issuperset(series.axes) and len(set(series.axes)) == len(series.axes)
    return has_axes and series.axes[-1] != "C" and (series.dtype.itemsize <= 4 or series.dtype.kind == "f")


def _ome_pixel_size(series: PlaneSeries) -> dict[str, Any]:
    if series.pixel_size is None:
        return {}
    width, height, unit = series.pixel_size
    sizes: dict[str, Any] = {
        "PhysicalSizeX": width,
        "PhysicalSizeXUnit": unit,
        "PhysicalSizeY": height,
        "PhysicalSizeYUnit": unit,
    }
    if series.spacing is not None and "Z" in series.axes:
        sizes |= {"PhysicalSizeZ": series.spacing, "PhysicalSizeZUnit": unit}
    return sizes


# OME -----------------------------------------------------------------------------------------------------


def _ome_blocks(tif: TiffFile) -> list[str]:
    """Return the descriptions of the arrays with pixels in files."""
    text = tif.ome_metadata or ""
    return [match[0] for match in PIXELS_BLOCK.finditer(text) if TIFF_DATA.search(match[0])]


def _adapt_ome(series: Sequence[PlaneSeries]) -> bytes:
    """Return an OME description for planes that stand in the file in order.

    Everything else stays as it is, character by character.
    """
    template = cast(TiffTemplate, series[0].template)
    first_page = 0
    remaining = list(series)

    def adapt_block(match: re.Match[str]) -> str:
        nonlocal first_page
        block = match[0]
        if not TIFF_DATA.search(block):
            return block
        own = remaining.pop(0)
        prefix = match[1]
        data = f'<{prefix}TiffData IFD="{first_page}" PlaneCount="{own.n_planes}"/>'
        first_page += own.n_planes
        is_placed = False

        def place(_: re.Match[str]) -> str:
            nonlocal is_placed
            text, is_placed = "" if is_placed else data, True
            return text

        block = TIFF_DATA.sub(place, block)
        # Truth values are written as 8 bits.
        if cast(TiffTemplate, own.template).keyframe.dtype == np.dtype(bool):
            block = re.sub(r'(\bType=)"bit"', r'\1"uint8"', block, count=1)
        return block

    text = PIXELS_BLOCK.sub(adapt_block, template.tif.ome_metadata or "")

    def renew(match: re.Match[str]) -> str:
        # Two files must not have one identifier. The new one follows from the old one, so that equal inputs
        # give equal files.
        return f'{match[1]}urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, match[2])}"'

    text = re.sub(r'(<(?:\w+:)?OME\b[^>]*?\bUUID=")([^"]*)"', renew, text, count=1)
    return text.encode()
