"""EXIF data: how the image is turned, its resolution, and the same data for an image set upright."""

from __future__ import annotations

import struct

from sk_denoise.io._header import dots_per_inch

__all__ = ["Tags"]

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
