"""EXIF data: orientation, resolution, and copies between TIFF and other formats."""

from __future__ import annotations

import struct
from contextlib import suppress
from io import BytesIO
from typing import BinaryIO, NamedTuple

import numpy as np

from sk_denoise.io._header import dots_per_inch

__all__ = ["ExifTags", "add_exif", "extract_exif"]

ORIENTATION, X_RESOLUTION, Y_RESOLUTION, UNIT = 274, 282, 283, 296
# Codes of the module struct for the numeric types of TIFF.
CODES = {1: "B", 3: "H", 4: "I", 5: "II"}
# Tags with the positions of the directories of exposure and location.
DIRECTORIES = (34665, 34853)
# Tags of the first directory that describe the image: title, camera, software, time, artist and rights.
TITLE, DESCRIPTIONS = 270, (270, 271, 272, 305, 306, 315, 33432)
# First bytes of titles that describe the layout of their own file to a program.
LAYOUT_TITLES = (b"ImageJ", b"<", b"{")
# The notes of makers point into their own file. The other tag is one more directory.
EXCLUDED = (37500, 40965)
# Sizes in bytes of the units whose byte order is swapped, by type. Types from BIG_TYPES on are the positions
# in BigTIFFs.
UNIT_SIZES = {3: 2, 4: 4, 5: 4, 8: 2, 9: 4, 10: 4, 11: 4, 12: 8, 13: 4, 16: 8, 18: 8}
BIG_TYPES = 16
# Sizes in bytes of a value, by type.
VALUE_SIZES = {1: 1, 2: 1, 6: 1, 7: 1, **UNIT_SIZES, 5: 8, 10: 8}
TEXT, LONG = 2, 4
MAX_TAGS, MAX_VALUE_BYTES = 512, 2**14
# EXIF data of JPEG have less than 64 KB.
MAX_BYTES = 50_000


class ExifEntry(NamedTuple):
    """Value of a tag.

    Attributes
    ----------
    kind : int
        TIFF's number of the type.
    n_values : int
        Number of values.
    value : bytes
        Values in the byte order "<".
    """

    kind: int
    n_values: int
    value: bytes


# Entries by tag.
Directory = dict[int, ExifEntry]
# Entries as they stand in a file, by tag.
PackedDirectory = dict[int, bytes]


class ExifTags:
    """Orientation and resolution in EXIF data, which have the structure of a TIFF.

    Only the first directory is read. Damaged data count as missing.
    """

    # Libraries warn about damaged EXIF data, and warnings cannot be caught safely in threads. So this class
    # reads them without a library.

    def __init__(self, blob: bytes) -> None:
        self.blob = blob
        self.order = "<" if blob[:2] == b"II" else ">"
        self.positions: dict[int, tuple[str, int]] = {}
        # Position of the offset of the next directory, which holds the thumbnail.
        self.end = 0
        try:
            self._read()
        except struct.error:
            self.positions = {}

    def _unpack(self, code: str, offset: int) -> tuple[int, ...]:
        return struct.unpack_from(self.order + code, self.blob, offset)

    def _read(self) -> None:
        if self.blob[:4] not in (b"II*\0", b"MM\0*"):
            return
        (start,) = self._unpack("I", 4)
        (count,) = self._unpack("H", start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, _, offset = self._unpack("HHII", entry)
            code = CODES.get(kind, "")
            # Values of up to 4 bytes stand in the entry itself.
            self.positions[tag] = (code, offset if code == "II" else entry + 8)
        self.end = start + 2 + 12 * count

    def value(self, tag: int) -> float | None:
        """Return the first number of a tag, or None if it is missing."""
        code, position = self.positions.get(tag, ("", 0))
        try:
            numbers = self._unpack(code, position)
        except struct.error:
            return None
        # Two numbers are a fraction.
        if len(numbers) == 2:
            return numbers[0] / numbers[1] if numbers[1] else None
        return numbers[0] if numbers else None

    @property
    def orientation(self) -> int:
        """EXIF orientation, 1 to 8; 1 if it is missing or invalid."""
        value = self.value(ORIENTATION)
        return int(value) if value is not None and value in range(1, 9) else 1

    @property
    def dpi(self) -> tuple[float, float] | None:
        """Horizontal and vertical resolution in dots per inch."""
        return dots_per_inch(self.value(X_RESOLUTION), self.value(Y_RESOLUTION), self.value(UNIT) or 2)

    def reset_orientation(self) -> bytes | None:
        """Return the data with orientation 1 and without thumbnail, None if damaged."""
        if not self.positions:
            return None
        # All other bytes keep their positions, because the notes of makers point to them.
        blob = bytearray(self.blob)
        code, position = self.positions.get(ORIENTATION, ("", 0))
        if code in ("B", "H", "I"):
            struct.pack_into(self.order + code, blob, position, 1)
        if self.end + 4 <= len(blob):
            struct.pack_into("I", blob, self.end, 0)
        return bytes(blob)


def extract_exif(stream: BinaryIO, start: int, order: str, is_big: bool = False) -> bytes | None:
    """Return the EXIF data of a TIFF in the form of other formats, or None.

    The result is None if there are no data, or if they are damaged. It does not include orientation and
    resolution.

    Parameters
    ----------
    stream : file
        TIFF, or a block of EXIF data, which has the same structure.
    start : int
        Position of its first directory.
    order : {"<", ">"}
        Byte order.
    is_big : bool, default=False
        Whether it is a BigTIFF.
    """
    # Damaged data hold positions beyond any file.
    with suppress(struct.error, OverflowError):
        first = _read_directory(stream, start, order, is_big)
        described = {
            tag: entry for tag, entry in first.items() if tag in DESCRIPTIONS and _describes_image(tag, entry)
        }
        starts = {tag: int.from_bytes(first[tag].value[:8], "little") for tag in DIRECTORIES if tag in first}
        nested = {tag: _read_directory(stream, start, order, is_big) for tag, start in starts.items()}
        if described or any(nested.values()):
            block = bytearray(b"II*\0\0\0\0\0")
            entries = _append_values(block, 0, described)
            for tag, directory in nested.items():
                position = _append_directory(block, 0, _append_values(block, 0, directory))
                entries[tag] = struct.pack("<HHII", tag, LONG, 1, position)
            struct.pack_into("<I", block, 4, _append_directory(block, 0, entries))
            return bytes(block) if len(block) <= MAX_BYTES else None
    return None


def add_exif(data: bytes, exif: bytes) -> list[bytes]:
    """Add EXIF data to a TIFF of the byte order "<", and return its pieces.

    A BigTIFF is returned without them.
    """
    order = "<" if exif[:1] == b"I" else ">"
    if data[:4] != b"II*\0" or exif[:4] not in (b"II*\0", b"MM\0*"):
        return [data]
    start = struct.unpack_from(order + "I", exif.ljust(8, b"\0"), 4)[0]
    block = extract_exif(BytesIO(exif), start, order)
    if block is None:
        return [data]
    source = BytesIO(block)
    first = _read_directory(source, struct.unpack_from("<I", block, 4)[0], "<", is_big=False)
    # The first directory grows, so it is written again at the end of the file.
    base = len(data)
    added = bytearray(base % 2)
    entries = _append_values(added, base, {tag: entry for tag, entry in first.items() if tag in DESCRIPTIONS})
    for tag in DIRECTORIES:
        if tag in first:
            position = int.from_bytes(first[tag].value, "little")
            directory = _read_directory(source, position, "<", is_big=False)
            position = _append_directory(added, base, _append_values(added, base, directory))
            entries[tag] = struct.pack("<HHII", tag, LONG, 1, position)
    position = _append_directory(added, base, {**entries, **_first_directory(data)})
    return [data[:4], struct.pack("<I", position), data[8:], bytes(added)]


def _read_directory(stream: BinaryIO, start: int, order: str, is_big: bool) -> Directory:
    """Read the entries of a directory that can be copied, in the byte order "<"."""
    count_format, entry_format = (order + x for x in (("Q", "HHQ8s") if is_big else ("H", "HHI4s")))
    size, room = struct.calcsize(entry_format), 8 if is_big else 4
    stream.seek(start)
    (n_tags,) = struct.unpack(count_format, stream.read(struct.calcsize(count_format)))
    if n_tags > MAX_TAGS:
        raise struct.error("too many tags")
    directory: Directory = {}
    for tag, kind, count, field in struct.iter_unpack(entry_format, stream.read(n_tags * size)):
        length = count * VALUE_SIZES.get(kind, MAX_VALUE_BYTES + 1)
        is_excluded = tag in EXCLUDED or (kind >= BIG_TYPES and tag not in DIRECTORIES)
        if is_excluded or not 0 < length <= MAX_VALUE_BYTES:
            continue
        value = field[:length]
        # Longer values stand elsewhere, and the field holds their position.
        if length > room:
            stream.seek(struct.unpack(order + ("Q" if is_big else "I"), field)[0])
            value = stream.read(length)
        if len(value) == length:
            directory[tag] = ExifEntry(kind, count, _swap_bytes(value, kind) if order == ">" else value)
    return directory


def _swap_bytes(value: bytes, kind: int) -> bytes:
    """Convert numbers of the byte order ">" to the byte order "<"."""
    unit = UNIT_SIZES.get(kind, 1)
    return np.frombuffer(value, f"u{unit}").byteswap().tobytes()


def _describes_image(tag: int, entry: ExifEntry) -> bool:
    """Return whether a text describes the image, not the layout of the file."""
    return entry.kind == TEXT and not (tag == TITLE and entry.value.startswith(LAYOUT_TITLES))


def _append_values(block: bytearray, base: int, directory: Directory) -> PackedDirectory:
    """Append the values of a directory to a block at position ``base`` of a file.

    Return the packed entries.
    """
    entries = {}
    for tag, (kind, n_values, value) in directory.items():
        field = value.ljust(4, b"\0")
        if len(value) > 4:
            # Values and directories start at even positions of the file.
            block += bytes(len(block) % 2 ^ base % 2)
            field = struct.pack("<I", base + len(block))
            block += value
        entries[tag] = struct.pack("<HHI", tag, kind, n_values) + field
    return entries


def _append_directory(block: bytearray, base: int, entries: PackedDirectory) -> int:
    """Append a directory to a block, and return its position in the file."""
    block += bytes(len(block) % 2 ^ base % 2)
    position = base + len(block)
    block += struct.pack("<H", len(entries)) + b"".join(entries[tag] for tag in sorted(entries)) + bytes(4)
    return position


def _first_directory(data: bytes) -> PackedDirectory:
    """Return the packed entries of the first directory of a valid TIFF."""
    start = struct.unpack_from("<I", data, 4)[0]
    (n_tags,) = struct.unpack_from("<H", data, start)
    positions = range(start + 2, start + 2 + 12 * n_tags, 12)
    return {
        struct.unpack_from("<H", data, position)[0]: data[position : position + 12] for position in positions
    }
