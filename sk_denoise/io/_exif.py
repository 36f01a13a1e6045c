"""EXIF data: how the image is turned, its resolution, and the same data for an image set upright."""

from __future__ import annotations

import struct
from contextlib import suppress
from io import BytesIO
from typing import BinaryIO, NamedTuple

import numpy as np

from sk_denoise.io._header import dots_per_inch

__all__ = ["Tags", "gathered", "with_exif"]

ORIENTATION, X_RESOLUTION, Y_RESOLUTION, UNIT = 274, 282, 283, 296
CODES = {1: "B", 3: "H", 4: "I", 5: "II"}  # how struct calls TIFF's types that are numbers


class Tags:
    """The first directory of a TIFF structure, which EXIF data are: enough for orientation and resolution.

    Libraries warn about damaged EXIF data, and warnings cannot be caught safely in threads; here damage
    means that there is nothing.
    """

    def __init__(self, blob: bytes) -> None:
        self.blob = blob
        self.order = "<" if blob[:2] == b"II" else ">"
        self.places: dict[int, tuple[str, int]] = {}
        self.end = 0  # where the offset of the next directory, which holds the thumbnail, stands
        try:
            self._read()
        except struct.error:
            self.places = {}

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
            self.places[tag] = (code, offset if code == "II" else entry + 8)
        self.end = start + 2 + 12 * count

    def value(self, tag: int) -> float | None:
        """Return a tag's first number, or None where there is none."""
        code, place = self.places.get(tag, ("", 0))
        try:
            numbers = self._unpack(code, place)
        except struct.error:
            return None
        if len(numbers) == 2:
            return numbers[0] / numbers[1] if numbers[1] else None
        return numbers[0] if numbers else None

    @property
    def orientation(self) -> int:
        """How the image is to be turned, 1 where nothing (or nonsense) is said."""
        value = self.value(ORIENTATION)
        return int(value) if value is not None and value in range(1, 9) else 1

    @property
    def dpi(self) -> tuple[float, float] | None:
        """Dots an inch (x, y)."""
        return dots_per_inch(self.value(X_RESOLUTION), self.value(Y_RESOLUTION), self.value(UNIT) or 2)

    def upright(self) -> bytes | None:
        """Return the data with the orientation set to 1 and the thumbnail unlinked; broken ones are dropped.

        The bytes stay where they are, because what makers of cameras write points into them.
        """
        if not self.places:
            return None
        blob = bytearray(self.blob)
        code, place = self.places.get(ORIENTATION, ("", 0))
        if code in ("B", "H", "I"):
            struct.pack_into(self.order + code, blob, place, 1)
        if self.end + 4 <= len(blob):
            struct.pack_into("I", blob, self.end, 0)
        return bytes(blob)


DIRECTORIES = (34665, 34853)  # tags that say where the directories of exposure and place stand
# What the first directory says about the image: its title, camera, software, time, artist, rights
TITLE, ABOUT = 270, (270, 271, 272, 305, 306, 315, 33432)
FOR_PROGRAMS = (b"ImageJ", b"<", b"{")  # how titles begin that tell a program what is in that very file
LEFT_OUT = (37500, 40965)  # notes of makers, who point into the file that they made, and one more directory
# Bytes of numbers that are turned round together, by type; those from 16 on are for places in BigTIFFs
UNITS = {3: 2, 4: 4, 5: 4, 8: 2, 9: 4, 10: 4, 11: 4, 12: 8, 13: 4, 16: 8, 18: 8}
OF_BIG = 16
SIZES = {1: 1, 2: 1, 6: 1, 7: 1, **UNITS, 5: 8, 10: 8}  # of a value, by type
TEXT, LONG = 2, 4
MOST_TAGS, LONGEST, MOST_BYTES = 512, 2**14, 50_000  # a JPEG holds 64 KB


class Entry(NamedTuple):
    """A tag's type, how many values it has, and these, in the order "<"."""

    kind: int
    n_values: int
    value: bytes


Directory = dict[int, Entry]
Packed = dict[int, bytes]  # entries as they stand in a file, by tag


def gathered(stream: BinaryIO, start: int, order: str, is_big: bool = False) -> bytes | None:
    """Return the EXIF data of a TIFF as other formats hold them, or None where there are none.

    Damage means that there is nothing. Orientation and resolution are not among them.

    Parameters
    ----------
    stream : file
        The TIFF, or a block of EXIF data, which is one too.
    start : int
        Where its first directory stands.
    order : {"<", ">"}
        Its byte order.
    is_big : bool, default=False
        Whether it is a BigTIFF.
    """
    with suppress(struct.error, OverflowError):  # places beyond any file
        first = _directory(stream, start, order, is_big)
        about = {tag: entry for tag, entry in first.items() if tag in ABOUT and _is_about(tag, entry)}
        places = {tag: int.from_bytes(first[tag].value[:8], "little") for tag in DIRECTORIES if tag in first}
        inside = {tag: _directory(stream, place, order, is_big) for tag, place in places.items()}
        if about or any(inside.values()):
            block = bytearray(b"II*\0\0\0\0\0")
            entries = _put(block, 0, about)
            for tag, directory in inside.items():
                place = _close(block, 0, _put(block, 0, directory))
                entries[tag] = struct.pack("<HHII", tag, LONG, 1, place)
            struct.pack_into("<I", block, 4, _close(block, 0, entries))
            return bytes(block) if len(block) <= MOST_BYTES else None
    return None


def with_exif(data: bytes, exif: bytes) -> list[bytes]:
    """Return the pieces of a TIFF of the order "<" with EXIF data in it; to a BigTIFF nothing is added.

    Its first directory is written anew at the end, with what the EXIF data add to it.
    """
    order = "<" if exif[:1] == b"I" else ">"
    if data[:4] != b"II*\0" or exif[:4] not in (b"II*\0", b"MM\0*"):
        return [data]
    start = struct.unpack_from(order + "I", exif.ljust(8, b"\0"), 4)[0]
    block = gathered(BytesIO(exif), start, order)
    if block is None:
        return [data]
    source = BytesIO(block)
    first = _directory(source, struct.unpack_from("<I", block, 4)[0], "<", is_big=False)
    base = len(data)
    added = bytearray(base % 2)
    entries = _put(added, base, {tag: entry for tag, entry in first.items() if tag in ABOUT})
    for tag in DIRECTORIES:
        if tag in first:
            directory = _directory(source, int.from_bytes(first[tag].value, "little"), "<", is_big=False)
            place = _close(added, base, _put(added, base, directory))
            entries[tag] = struct.pack("<HHII", tag, LONG, 1, place)
    place = _close(added, base, {**entries, **_packed(data)})
    return [data[:4], struct.pack("<I", place), data[8:], bytes(added)]


def _directory(stream: BinaryIO, start: int, order: str, is_big: bool) -> Directory:
    """Return what can be carried of a directory, in the order "<"."""
    count_format, entry_format = (order + x for x in (("Q", "HHQ8s") if is_big else ("H", "HHI4s")))
    size, room = struct.calcsize(entry_format), 8 if is_big else 4
    stream.seek(start)
    (n_tags,) = struct.unpack(count_format, stream.read(struct.calcsize(count_format)))
    if n_tags > MOST_TAGS:
        raise struct.error("too many tags")
    found: Directory = {}
    for tag, kind, count, field in struct.iter_unpack(entry_format, stream.read(n_tags * size)):
        length = count * SIZES.get(kind, LONGEST + 1)
        left_out = tag in LEFT_OUT or (kind >= OF_BIG and tag not in DIRECTORIES)
        if left_out or not 0 < length <= LONGEST:
            continue
        value = field[:length]
        if length > room:
            stream.seek(struct.unpack(order + ("Q" if is_big else "I"), field)[0])
            value = stream.read(length)
        if len(value) == length:
            found[tag] = Entry(kind, count, _turned(value, kind) if order == ">" else value)
    return found


def _turned(value: bytes, kind: int) -> bytes:
    """Return numbers of the order ">" in the order "<"."""
    unit = UNITS.get(kind, 1)
    return np.frombuffer(value, f"u{unit}").byteswap().tobytes()


def _is_about(tag: int, entry: Entry) -> bool:
    """Whether a text tells something of the image, and not of the file."""
    return entry.kind == TEXT and not (tag == TITLE and entry.value.startswith(FOR_PROGRAMS))


def _put(block: bytearray, base: int, directory: Directory) -> Packed:
    """Add the values of a directory to a block that stands at ``base``; return its entries."""
    entries = {}
    for tag, (kind, n_values, value) in directory.items():
        field = value.ljust(4, b"\0")
        if len(value) > 4:
            block += bytes(len(block) % 2 ^ base % 2)
            field = struct.pack("<I", base + len(block))
            block += value
        entries[tag] = struct.pack("<HHI", tag, kind, n_values) + field
    return entries


def _close(block: bytearray, base: int, entries: Packed) -> int:
    """Add a directory with these entries; return its place in the file."""
    block += bytes(len(block) % 2 ^ base % 2)
    place = base + len(block)
    block += struct.pack("<H", len(entries)) + b"".join(entries[tag] for tag in sorted(entries)) + bytes(4)
    return place


def _packed(data: bytes) -> Packed:
    """Return the entries of the first directory of a TIFF that we wrote."""
    start = struct.unpack_from("<I", data, 4)[0]
    (n_tags,) = struct.unpack_from("<H", data, start)
    places = range(start + 2, start + 2 + 12 * n_tags, 12)
    return {struct.unpack_from("<H", data, place)[0]: data[place : place + 12] for place in places}
