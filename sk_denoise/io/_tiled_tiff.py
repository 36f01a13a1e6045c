"""Large TIFF images of tiles or strips, read and written without loading a page."""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sk_denoise.exceptions import UnreadableImageError
from sk_denoise.io._atomic import open_replacement, resolve_destination
from sk_denoise.io._header import TRUNCATED
from sk_denoise.io._tiff import quiet_tifffile
from sk_denoise.io._tiff_stacks import KEPT_TAGS

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage, TiffPageSeries

__all__ = ["TIFF_SUFFIXES", "TiledTiff", "write_tiled"]

TIFF_SUFFIXES = frozenset((".tif", ".tiff", ".btf", ".tf8"))
# Compressions without loss that a copy keeps; the others become Deflate.
LOSSLESS, DEFLATE = frozenset((1, 5, 8, 32946, 32773, 34925, 50000)), 8
# Compressions with JPEG data, whose tables stand in a tag.
JPEG_CODES = frozenset((6, 7, 33007, 34892))
# Largest strip or tile, in bytes: each one is decoded as a whole.
MAX_PART_BYTES = 2**28
# Side of the tiles of a file whose source has none.
TILE_SIDE = 512
# Tags of a page that arguments of TiffWriter set.
SET_TAGS = frozenset((270, 282, 283, 296, 305, 306))
# Identities of files in OME descriptions: a copy is another file.
OME_IDENTITY = re.compile(r"<((?:\w+:)?)UUID\b(?:[^>]*/>|[^>]*>.*?</\1UUID\s*>)|\sUUID=\"[^\"]*\"", re.DOTALL)

Read = Callable[[int, tuple[slice, ...]], NDArray[Any]]


@dataclass(frozen=True)
class TiledTiff:
    """The first image of a TIFF, with its axes; pages of gray values.

    Attributes
    ----------
    path : str
        The file.
    shape : tuple of int
        Size of each axis; the last two are rows and columns.
    axes : tuple of str
        Name of each axis: "c" for channels.
    dtype : dtype
        Type of the numbers.
    tile : tuple of int
        Rows and columns of a tile or strip.
    level_shapes : tuple of tuple of int
        Shape of each level of the pyramid, the image first.
    """

    path: str
    shape: tuple[int, ...]
    axes: tuple[str, ...]
    dtype: np.dtype[Any]
    tile: tuple[int, int]
    is_tiled: bool
    level_shapes: tuple[tuple[int, ...], ...]
    layout: str

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> TiledTiff:
        """Read the layout of a TIFF.

        Raises
        ------
        UnreadableImageError
            If the file is damaged.
        ValueError
            If it holds colours, or parts that are too large.
        """
        with _opened(path) as tif:
            series, page = _first_series(tif, path)
            axes = tuple(axis.lower() for axis in series.axes)
            if axes[-2:] != ("y", "x") or page.samplesperpixel != 1:
                raise ValueError(
                    f"{path} has the axes {series.axes}; a TIFF that is larger than memory must hold gray "
                    "values, "
                    "with Y and X as its last axes. Denoise a smaller one by denoise_file."
                )
            if (
                page.dtype is None
                or page.dtype.kind not in "iuf"
                or page.bitspersample != 8 * page.dtype.itemsize
            ):
                raise ValueError(
                    f"{path} holds values of {page.bitspersample} bits; 8, 16, 32 or 64 are supported."
                )
            tile = _part_size(page)
            if math.prod(tile) * page.dtype.itemsize > MAX_PART_BYTES:
                raise ValueError(
                    f"{path} has strips or tiles of {tile[0]} x {tile[1]} pixels, which are decoded as a "
                    "whole; save "
                    "it with tiles, such as 512 x 512."
                )
            if any(len(item.axes) != len(axes) for item in series.levels):
                raise ValueError(f"{path} has levels with other axes than the image.")
            shapes = tuple(tuple(map(int, level.shape)) for level in series.levels)
            digest = hashlib.sha256()
            for frame in series.pages:
                if frame is None:
                    raise ValueError(f"{path} lacks planes that its description names.")
                digest.update(np.asarray(frame.dataoffsets, np.int64).tobytes())
                digest.update(np.asarray(frame.databytecounts, np.int64).tobytes())
            native = page.dtype.newbyteorder("=")
            return cls(
                os.fspath(path), shapes[0], axes, native, tile, page.is_tiled, shapes, digest.hexdigest()
            )

    def read(self, window: tuple[slice, ...]) -> NDArray[Any]:
        """Return a region, read from its tiles alone."""
        sizes = [len(range(*part.indices(n))) for part, n in zip(window, self.shape, strict=True)]
        result = np.zeros(sizes, self.dtype)
        leading = [range(*part.indices(n)) for part, n in zip(window[:-2], self.shape[:-2], strict=True)]
        with _opened(self.path) as tif:
            series, page = _first_series(tif, self.path)
            for place in np.ndindex(*sizes[:-2]):
                plane = [numbers[i] for numbers, i in zip(leading, place, strict=True)]
                number = int(np.ravel_multi_index(plane, self.shape[:-2])) if plane else 0
                _read_page(series.pages[number], page, window[-2:], result[place])
        return result

    def describe(self) -> dict[str, Any]:
        """Return shape, type and a digest of the layout, to recognize the image again."""
        return {
            "shape": list(self.shape),
            "type": str(self.dtype),
            "axes": list(self.axes),
            "metadata": self.layout,
        }


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[TiffFile]:
    import tifffile

    with quiet_tifffile():
        try:
            tif = tifffile.TiffFile(path)
        except tifffile.TiffFileError as error:
            raise UnreadableImageError(f"{path}: the file is damaged: {error}") from error
        with tif:
            yield tif


def _first_series(tif: TiffFile, path: str | os.PathLike[str]) -> tuple[TiffPageSeries, TiffPage]:
    if not tif.series:
        raise UnreadableImageError(f"{path}: {TRUNCATED}")
    series = tif.series[0]
    if any(page is not None and page.parent.filehandle.path != tif.filehandle.path for page in series.pages):
        raise ValueError(
            f"{path} is one file of an image of several files; join them into one, or into a Zarr."
        )
    return series, series.keyframe


def _part_size(page: TiffPage) -> tuple[int, int]:
    if page.is_tiled:
        return int(page.tilelength), int(page.tilewidth)
    return min(int(page.rowsperstrip), int(page.imagelength)), int(page.imagewidth)


def _read_page(page: Any, keyframe: TiffPage, window: tuple[slice, ...], result: NDArray[Any]) -> None:
    """Read the rows and columns of a page into an array."""
    rows, columns = window
    height, width = _part_size(keyframe)
    n_across = math.ceil(keyframe.imagewidth / width)
    file = page.parent.filehandle
    tables = {}
    if keyframe.compression in JPEG_CODES:
        tables = {"jpegtables": page.jpegtables, "jpegheader": keyframe.jpegheader}
    for down in range(rows.start // height, -(-rows.stop // height)):
        for across in range(columns.start // width, -(-columns.stop // width)):
            index = down * n_across + across
            top, left = down * height, across * width
            name = f"the tile at row {top} and column {left} of {file.path}"
            if index >= len(page.dataoffsets):
                raise UnreadableImageError(f"{name} is missing: {TRUNCATED}")
            size = int(page.databytecounts[index])
            # Sparse files leave out tiles without values.
            if size == 0:
                tile = np.full((height, width), keyframe.nodata, result.dtype)
            else:
                file.seek(int(page.dataoffsets[index]))
                data = file.read(size)
                if len(data) < size:
                    raise UnreadableImageError(f"{name} is cut off: {TRUNCATED}")
                try:
                    segment = keyframe.decode(data, index, **tables)[0]
                # Codecs have errors of their own.
                except Exception as error:
                    raise UnreadableImageError(f"{name} is damaged: {error}") from error
                if segment is None:
                    raise UnreadableImageError(f"{name} is damaged.")
                tile = segment.reshape(segment.shape[1], segment.shape[2])
            first_row, first_column = max(rows.start, top), max(columns.start, left)
            last_row, last_column = min(rows.stop, top + height), min(columns.stop, left + width)
            result[
                first_row - rows.start : last_row - rows.start,
                first_column - columns.start : last_column - columns.start,
            ] = tile[first_row - top : last_row - top, first_column - left : last_column - left]


# Writing -------------------------------------------------------------------------------------------------


def write_tiled(
    destination: str | os.PathLike[str],
    source: TiledTiff | None,
    shapes: Sequence[tuple[int, ...]],
    dtype: np.dtype[Any],
    read: Read,
    axes: tuple[str, ...],
) -> None:
    """Write a BigTIFF tile by tile, with the levels of a pyramid.

    Parameters
    ----------
    destination : path-like
        File to write. It is replaced when the new one is complete.
    source : TiledTiff or None
        File whose tiles, compression, resolution, description and tags are taken over.
    shapes : sequence of tuple of int
        Shape of each level.
    dtype : dtype
        Type of the numbers.
    read : callable
        Function that returns a region of a level: ``read(level, window)``.
    axes : tuple of str
        Name of each axis, for a file without a source.
    """
    import tifffile

    target = resolve_destination(destination)
    n_planes = math.prod(shapes[0][:-2])
    with open_replacement(target) as stream:
        if source is None:
            names = "".join(axis[0].upper() for axis in axes)
            # Names of axes that TIFF has not become Q.
            letters = "".join(name if name in "TCZYX" and names.count(name) == 1 else "Q" for name in names)
            metadata = {"axes": letters} if n_planes > 1 and letters.count("Q") <= 1 else None
            _write_plain(stream, shapes, dtype, read, metadata)
            return
        with (
            _opened(source.path) as tif,
            tifffile.TiffWriter(stream, bigtiff=True, byteorder=tif.byteorder) as out,
        ):
            series, keyframe = _first_series(tif, source.path)
            for number in range(n_planes):
                options = _page_options(series.pages[number], keyframe, source, number)
                _write_levels(out, number, shapes, dtype, read, options)


def _write_plain(
    stream: Any,
    shapes: Sequence[tuple[int, ...]],
    dtype: np.dtype[Any],
    read: Read,
    metadata: dict[str, Any] | None,
) -> None:
    import tifffile

    options: dict[str, Any] = {
        "tile": (TILE_SIDE, TILE_SIDE),
        "compression": DEFLATE,
        "predictor": dtype.kind in "iu",
        "photometric": "minisblack",
        "metadata": None,
    }
    n_planes = math.prod(shapes[0][:-2])
    with tifffile.TiffWriter(stream, bigtiff=True) as out:
        if metadata is not None and len(shapes) == 1:
            planes = range(n_planes)
            tiles = (
                tile for number in planes for tile in _tiles(0, number, shapes[0], options["tile"], read)
            )
            out.write(tiles, shape=shapes[0], dtype=dtype, **{**options, "metadata": metadata})
            return
        for number in range(n_planes):
            _write_levels(out, number, shapes, dtype, read, options)


def _write_levels(
    out: Any,
    number: int,
    shapes: Sequence[tuple[int, ...]],
    dtype: np.dtype[Any],
    read: Read,
    options: dict[str, Any],
) -> None:
    """Write a plane, and its smaller levels below it."""
    for level, shape in enumerate(shapes):
        place: dict[str, Any] = {"subifds": len(shapes) - 1} if level == 0 else {"subfiletype": 1}
        own = (
            options
            if level == 0
            else {k: v for k, v in options.items() if k not in ("description", "extratags")}
        )
        tiles = _tiles(level, number, shape, options["tile"], read)
        out.write(tiles, shape=shape[-2:], dtype=dtype, **own, **place)


def _tiles(
    level: int, number: int, shape: tuple[int, ...], tile: tuple[int, int], read: Read
) -> Iterator[NDArray[Any]]:
    """Yield the tiles of a plane, filled up with zeros at the border."""
    place = np.unravel_index(number, shape[:-2]) if shape[:-2] else ()
    leading = tuple(slice(int(i), int(i) + 1) for i in place)
    for top in range(0, shape[-2], tile[0]):
        # A row of tiles is read at once: each chunk of the store once or twice, not once a tile.
        rows = slice(top, min(top + tile[0], shape[-2]))
        band = read(level, (*leading, rows, slice(0, shape[-1]))).reshape(-1, shape[-1])
        for left in range(0, shape[-1], tile[1]):
            part = band[:, left : left + tile[1]]
            missing = [(0, n - m) for n, m in zip(tile, part.shape, strict=True)]
            yield np.pad(part, missing) if any(after for _, after in missing) else np.ascontiguousarray(part)


def _page_options(page: Any, keyframe: TiffPage, source: TiledTiff, number: int) -> dict[str, Any]:
    """Return arguments of TiffWriter.write for a copy of a page with other pixels."""
    page = page.aspage()
    code = int(keyframe.compression)
    options: dict[str, Any] = {
        "tile": source.tile if source.is_tiled else (TILE_SIDE, TILE_SIDE),
        "compression": code if code in LOSSLESS else DEFLATE,
        "predictor": int(keyframe.predictor) if code in LOSSLESS and code != 1 else None,
        "photometric": int(keyframe.photometric) if int(keyframe.photometric) in (0, 1) else 1,
        "metadata": None,
        "software": _text(page, 305) or False,
        "datetime": _text(page, 306) or None,
    }
    resolutions = [page.tags.valueof(code) for code in (282, 283)]
    if all(isinstance(value, tuple) and len(value) == 2 and value[1] for value in resolutions):
        options["resolution"] = tuple(above / below for above, below in resolutions)
        options["resolutionunit"] = int(page.tags.valueof(296, 1))
    description = page.description
    if description:
        options["description"] = OME_IDENTITY.sub("", description) if page.is_ome else description
    options["extratags"] = [
        (tag.code, int(tag.dtype), tag.count, tag.value, False)
        for tag in page.tags
        if tag.code in KEPT_TAGS and tag.code not in SET_TAGS
    ]
    return options


def _text(page: Any, code: int) -> str:
    value = page.tags.valueof(code)
    return value if isinstance(value, str) else ""


def is_tiff_name(path: object) -> bool:
    """Return whether a name ends as that of a TIFF."""
    return isinstance(path, str | os.PathLike) and Path(os.fspath(path)).suffix.lower() in TIFF_SUFFIXES
