"""DICOM files, read by pydicom.

Values are those of the modality, such as Hounsfield units: the rescale slope and intercept are applied.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from sk_denoise._package import require_extra
from sk_denoise.io import _jpeg, _jpeg2000
from sk_denoise.io._header import (
    BYTES_PER_PART,
    DAMAGED,
    MIN_PART_LIMIT,
    TRUNCATED,
    EncodedSize,
    Header,
    Metadata,
    PlaneSeries,
    UnreadableError,
)

__all__ = ["decode", "has_dicom_frames", "open_dicom_frames", "read_header"]

INVERTED, GRAYS = "MONOCHROME1", ("MONOCHROME1", "MONOCHROME2")
MM_PER_INCH = 25.4
# Attributes of a film of a moving object.
FILM_TAGS = ("FrameTime", "FrameTimeVector", "CineRate", "RecommendedDisplayFrameRate")
# Types for exact integers, those without sign first, because PNG holds them.
INTEGER_TYPES = (np.uint8, np.uint16, np.int16, np.int32)
# Start of the first group, which is never deflated, and types with a length of 4 bytes.
START, LONG_TYPES = 132, (b"OB", b"OW", b"UN", b"SQ", b"UT", b"UC", b"UR", b"OD", b"OF", b"OL", b"OV")
FILE_GROUP, SYNTAX, ITEM_GROUP, ITEM, PIXELS = 2, 0x20010, 0xFFFE, 0xFFFEE000, 0x7FE00010
UNKNOWN_LENGTH = 2**32 - 1
IMPLICIT, BIG_ENDIAN, DEFLATED = b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.2", b"1.2.840.10008.1.2.1.99"
# Bytes of a deflated file after inflation, for each byte of it, and in any file.
MAX_INFLATED_RATIO, FREE_INFLATED_BYTES = 16, 2**25
# Run lengths: bytes of the table of segments, largest number of them, and bytes by which they may be padded.
RUN_LENGTHS, TABLE_BYTES, MAX_SEGMENTS, PADDING = "1.2.840.10008.1.2.5", 64, 15, 64
# First bytes of frames that hold a size of their own.
EMBEDDED: tuple[tuple[bytes, Callable[[BinaryIO], EncodedSize]], ...] = (
    (b"\xff\xd8", _jpeg.encoded_size),
    (_jpeg2000.START, _jpeg2000.encoded_size),
    (b"\0\0\0\x0cjP  ", _jpeg2000.encoded_size),
)


def _refuse_costly(stream: BinaryIO) -> None:
    """Refuse a file of very many bytes after inflation, or of very many elements."""
    stream.seek(START)
    data = stream.read()
    position, syntax = 0, b""
    for tag, start, end in _elements(data, 0, "<", is_explicit=True):
        if tag >> 16 != FILE_GROUP:
            break
        position = end
        syntax = data[start:end].rstrip(b"\0 ") if tag == SYNTAX else syntax
    if syntax == DEFLATED:
        data, position = _inflate(data[position:]), 0
    limit = MIN_PART_LIMIT + len(data) // BYTES_PER_PART
    order, is_explicit = (">" if syntax == BIG_ENDIAN else "<"), syntax != IMPLICIT
    # pydicom takes microseconds for each element, some of them several times.
    for number, _ in enumerate(_elements(data, position, order, is_explicit)):
        if number > limit:
            raise UnreadableError(f"it consists of more than {limit} parts; save the image anew")


def _inflate(packed: bytes) -> bytes:
    limit = FREE_INFLATED_BYTES + MAX_INFLATED_RATIO * len(packed)
    inflater, blocks, n_bytes = zlib.decompressobj(-zlib.MAX_WBITS), [], 0
    while packed and not inflater.eof:
        blocks.append(inflater.decompress(packed, 2**20))
        n_bytes += len(blocks[-1])
        packed = inflater.unconsumed_tail
        if n_bytes > limit:
            raise UnreadableError(f"it inflates to more than {limit} bytes; save it without compression")
    return b"".join(blocks)


def _elements(data: bytes, position: int, order: str, is_explicit: bool) -> Iterator[tuple[int, int, int]]:
    """Yield tag, start and end of each element, also of those in open sequences."""
    code, n_bytes, has_pixels = f"{order}HHI", len(data), False
    while position + 8 <= n_bytes:
        group, number, length = struct.unpack_from(code, data, position)
        tag, start = group << 16 | number, position + 8
        kind = data[position + 4 : position + 6]
        if is_explicit and group != ITEM_GROUP and kind.isalpha():
            (length,) = struct.unpack_from(f"{order}H", data, position + 6)
            if kind in LONG_TYPES:
                if start + 4 > n_bytes:
                    return
                (length,) = struct.unpack_from(f"{order}I", data, start)
                start += 4
        # The content of an open sequence, and of its items, follows as further elements.
        is_open = length == UNKNOWN_LENGTH or (tag == ITEM and not has_pixels)
        has_pixels = tag == PIXELS or (has_pixels and group == ITEM_GROUP)
        position = start if is_open else start + length
        yield tag, start, position


def _read_dataset(stream: BinaryIO, *, with_pixels: bool = False) -> Any:
    require_extra("Reading a DICOM file", "dicom")
    import pydicom

    _refuse_costly(stream)
    file_size = stream.seek(0, 2)
    stream.seek(0)
    dataset = pydicom.dcmread(stream, stop_before_pixels=not with_pixels)
    if "Rows" not in dataset or "Columns" not in dataset:
        kind = getattr(dataset.file_meta.get("MediaStorageSOPClassUID"), "name", "of another kind")
        raise UnreadableError(f"it is a DICOM file without an image ({kind}); give one with pixels")
    # Every frame has a byte at least, compressed or not.
    if not 0 < _count_frames(dataset) <= file_size:
        raise UnreadableError(DAMAGED)
    return dataset


def _count_frames(dataset: Any) -> int:
    return int(dataset.get("NumberOfFrames") or 1)


def read_header(stream: BinaryIO) -> Header:
    """Read size, number of frames, and the pixel spacing as a resolution."""
    dataset = _read_dataset(stream)
    spacing = _pixel_spacing(dataset)
    dpi = None if spacing is None else (MM_PER_INCH / spacing[1], MM_PER_INCH / spacing[0])
    return Header(
        int(dataset.Rows), int(dataset.Columns), frames=_count_frames(dataset), metadata=Metadata(dpi=dpi)
    )


def has_dicom_frames(stream: BinaryIO) -> bool:
    """Return whether a DICOM file has several frames."""
    return _count_frames(_read_dataset(stream)) > 1


def decode(stream: BinaryIO) -> NDArray[Any]:
    """Decode the only frame to gray in the unit of the modality, or RGB."""
    dataset = _read_dataset(stream, with_pixels=True)
    return _FrameReader(dataset, None)(0)


@contextmanager
def open_dicom_frames(path: Path, stream: BinaryIO) -> Iterator[list[PlaneSeries]]:
    """Yield the frames as a series along depth, or over time if it is a film."""
    dataset = _read_dataset(stream)
    # pydicom finds no pixels in a deflated file by its path.
    if getattr(dataset.file_meta.get("TransferSyntaxUID"), "is_deflated", False):
        dataset = _read_dataset(stream, with_pixels=True)
    n_frames = _count_frames(dataset)
    is_film = any(tag in dataset for tag in FILM_TAGS)
    reader = _FrameReader(dataset, None if "PixelData" in dataset else path)
    first = reader(0)
    axes = ("T" if is_film else "Z") * (n_frames > 1) + "YX" + "S" * (first.ndim - 2)
    spacing = _pixel_spacing(dataset)
    yield [
        PlaneSeries(
            axes,
            (*((n_frames,) if n_frames > 1 else ()), *first.shape),
            first.dtype,
            reader,
            pixel_size=None if spacing is None else (spacing[1], spacing[0], "mm"),
            spacing=_slice_spacing(dataset),
        )
    ]


class _FrameReader:
    """Reader of single frames in the unit of the modality.

    Parameters
    ----------
    dataset : pydicom.Dataset
        The file, without its pixels if there is a path.
    path : Path or None
        File that frames are read from. None takes the pixels of the data set.
    """

    def __init__(self, dataset: Any, path: Path | None) -> None:
        self.dataset, self.path = dataset, path
        self.photometric = str(dataset.get("PhotometricInterpretation", "MONOCHROME2"))
        n_frames = _count_frames(dataset)
        # Frames without groups of their own share one scale.
        n_groups = len(dataset.get("PerFrameFunctionalGroupsSequence") or ())
        self.rescales = [_rescale(dataset, index) for index in range(min(n_frames, n_groups + 1))]
        self.dtype = self._choose_type(self.rescales)

    def _choose_type(self, rescales: list[tuple[float, float]]) -> np.dtype[Any]:
        """Return the smallest type that holds the values of all frames exactly."""
        dataset = self.dataset
        if self.photometric not in GRAYS or "FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset:
            return np.dtype(np.float32)
        bits, is_signed = int(dataset.get("BitsStored", 16)), bool(dataset.get("PixelRepresentation", 0))
        low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if is_signed else (0, 2**bits - 1)
        values = [
            slope * value + intercept for slope, intercept in set(rescales) for value in (low, low + 1, high)
        ]
        if any(value != round(value) for value in values):
            return np.dtype(np.float32)
        for kind in INTEGER_TYPES:
            limits = np.iinfo(kind)
            if limits.min <= min(values) and max(values) <= limits.max:
                return np.dtype(kind)
        return np.dtype(np.float32)

    def __call__(self, index: int) -> NDArray[Any]:
        stored = self._decode(index)
        if self.photometric not in GRAYS:
            return _check_colors(stored)
        if self.photometric == INVERTED:
            stored = self._invert(stored)
        slope, intercept = self.rescales[min(index, len(self.rescales) - 1)]
        if self.dtype.kind == "f":
            return (stored * slope + intercept).astype(np.float32)
        if slope == 1 and intercept == 0:
            return stored.astype(self.dtype)
        return (stored.astype(np.int64) * int(slope) + int(intercept)).astype(self.dtype)

    def _decode(self, index: int) -> NDArray[Any]:
        from pydicom.pixels.processing import apply_color_lut
        from pydicom.pixels.utils import pixel_array

        n_frames = _count_frames(self.dataset)
        self._check_frame(index)
        try:
            pixels = pixel_array(
                self.dataset if self.path is None else self.path, index=index if n_frames > 1 else 0
            )
        except AttributeError as error:
            raise UnreadableError(f"it is a DICOM file without pixels ({error}); copy it again") from error
        except (RuntimeError, NotImplementedError) as error:
            syntax = getattr(self.dataset.file_meta.get("TransferSyntaxUID"), "name", "unknown")
            raise UnreadableError(
                f"its pixels, stored as {syntax}, cannot be decoded ({' '.join(str(error).split())[:120]}); "
                "install pylibjpeg and pylibjpeg-libjpeg, or save the file without compression"
            ) from error
        if self.photometric == "PALETTE COLOR":
            pixels = apply_color_lut(pixels, self.dataset)
        return np.asarray(pixels)

    def _check_frame(self, index: int) -> None:
        """Refuse a compressed frame that does not fit the image."""
        import pydicom
        from pydicom.encaps import get_frame

        dataset = self.dataset if self.path is None else pydicom.dcmread(self.path)
        syntax = dataset.file_meta.get("TransferSyntaxUID")
        if syntax is None or not syntax.is_encapsulated or "PixelData" not in dataset:
            return
        data = get_frame(dataset.PixelData, index, number_of_frames=_count_frames(dataset))
        height, width, samples = (
            int(dataset.Rows),
            int(dataset.Columns),
            int(dataset.get("SamplesPerPixel", 1)),
        )
        if syntax == RUN_LENGTHS:
            _check_run_lengths(data, height * width)
            return
        for magic, encoded_size in EMBEDDED:
            if data.startswith(magic):
                size = encoded_size(BytesIO(data))
                if (size.height, size.width) != (height, width) or size.channels > max(samples, 3):
                    raise UnreadableError(
                        f"it claims {width} x {height} pixels, and frame {index + 1} holds "
                        f"{size.width} x {size.height}; copy it again"
                    )

    def _invert(self, stored: NDArray[Any]) -> NDArray[Any]:
        """Swap black and white: MONOCHROME1 shows the smallest value white."""
        if stored.dtype.kind == "f":
            raise UnreadableError("its floating-point values have white at 0; convert it so that black is 0")
        bits = int(self.dataset.get("BitsStored", 8 * stored.dtype.itemsize))
        # Negation keeps the range of signed values, from -2**(n-1) to 2**(n-1) - 1.
        white = -1 if stored.dtype.kind == "i" else 2**bits - 1
        return (white - stored.astype(np.int64)).astype(stored.dtype)


def _check_run_lengths(data: bytes, n_pixels: int) -> None:
    """Refuse segments of run lengths that hold more bytes than an image has pixels."""
    import imagecodecs

    if len(data) < TABLE_BYTES:
        raise UnreadableError(TRUNCATED)
    n_segments, *starts = struct.unpack_from("<16I", data)
    if n_segments > MAX_SEGMENTS:
        raise UnreadableError(DAMAGED)
    for start, end in zip(starts[:n_segments], [*starts[1:n_segments], len(data)], strict=True):
        try:
            imagecodecs.packbits_decode(data[start:end], out=n_pixels + PADDING)
        except RuntimeError as error:
            if "TOO_SMALL" in str(error):
                raise UnreadableError(
                    f"a frame holds more than its {n_pixels} pixels; copy it again"
                ) from error


def _check_colors(pixels: NDArray[Any]) -> NDArray[Any]:
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype.name not in ("uint8", "uint16"):
        raise UnreadableError(
            f"its colours are of type {pixels.dtype} and shape {pixels.shape}, which is not read; convert "
            "it to "
            "RGB of 8 or 16 bits"
        )
    return pixels


def _rescale(dataset: Any, index: int) -> tuple[float, float]:
    """Return slope and intercept of a frame."""
    group = _frame_group(dataset, index, "PixelValueTransformationSequence") or dataset
    slope, intercept = group.get("RescaleSlope"), group.get("RescaleIntercept")
    # A slope of 0 would erase the image.
    return float(slope or 1), float(intercept or 0)


def _frame_group(dataset: Any, index: int, name: str) -> Any:
    """Return the attributes of a frame, or those that all frames share; else None."""
    frames = dataset.get("PerFrameFunctionalGroupsSequence") or ()
    groups = [frames[index]] if index < len(frames) else []
    groups += list(dataset.get("SharedFunctionalGroupsSequence") or ())
    for group in groups:
        items = group.get(name)
        if items:
            return items[0]
    return None


def _pixel_spacing(dataset: Any) -> tuple[float, float] | None:
    """Return the distance of rows and of columns in millimetres."""
    group = _frame_group(dataset, 0, "PixelMeasuresSequence") or dataset
    spacing = group.get("PixelSpacing") or dataset.get("ImagerPixelSpacing")
    if not spacing or len(spacing) != 2 or min(spacing) <= 0:
        return None
    return float(spacing[0]), float(spacing[1])


def _slice_spacing(dataset: Any) -> float | None:
    group = _frame_group(dataset, 0, "PixelMeasuresSequence") or dataset
    value = group.get("SpacingBetweenSlices") or group.get("SliceThickness")
    return float(value) if value else None
