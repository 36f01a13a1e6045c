"""What a file says about its image before anything is decoded, and how a file is refused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, TypeVar

__all__ = ["CUT", "DAMAGED", "Header", "Metadata", "Refusal", "counted", "dots_per_inch", "exactly"]

CUT = "the file is cut off; copy it again from where it came"
BYTES_A_PART, FEW_PARTS = 2**10, 2**16  # what parts of files measure on average, and how many are no matter
DAMAGED = "its header is damaged; copy the file again from where it came"


T = TypeVar("T")


class Refusal(Exception):  # noqa: N818 - a private signal that read_image turns into an UnreadableImageError
    """Why a file is not read and what to do, in words that follow the file's name."""


@dataclass(frozen=True)
class Metadata:
    """What goes along with pixels: a colour profile, EXIF (without its prefix) and dots an inch (x, y)."""

    profile: bytes | None = None
    exif: bytes | None = None
    dpi: tuple[float, float] | None = None

    def for_channels(self, channels: int) -> Metadata:
        """Return the same without a profile that is made for other colours than these channels hold."""
        expected = b"GRAY" if channels < 3 else b"RGB "
        fits = self.profile is not None and self.profile[16:20] == expected
        return Metadata(self.profile if fits else None, self.exif, self.dpi)


@dataclass(frozen=True)
class Header:
    """The size as it is stored, the EXIF orientation (1 to 8) that is still to be applied, and the rest."""

    height: int
    width: int
    orientation: int = 1
    frames: int = 1
    metadata: Metadata = Metadata()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image as it is seen."""
        sideways = self.orientation >= 5
        return (self.width, self.height) if sideways else (self.height, self.width)


def exactly(stream: BinaryIO, length: int) -> bytes:
    """Return the next bytes of a file, and refuse the file where it ends before."""
    if length > 2**20:  # a damaged length is not to be allocated
        here = stream.tell()
        length_left = stream.seek(0, 2) - here
        stream.seek(here)
        if length_left < length:
            raise Refusal(CUT)
    data = stream.read(length)
    if len(data) < length:
        raise Refusal(CUT)
    return data


def counted(parts: Iterable[T], stream: BinaryIO) -> Iterator[T]:
    """Yield the parts that a file consists of, and refuse one made of crumbs, which take minutes to read."""
    here = stream.tell()
    most = FEW_PARTS + stream.seek(0, 2) // BYTES_A_PART
    stream.seek(here)
    for number, part in enumerate(parts):
        if number >= most:
            raise Refusal(f"it consists of more than {most} parts; save the image anew")
        yield part


def dots_per_inch(x: float | None, y: float | None, unit: float) -> tuple[float, float] | None:
    """Return a resolution in dots an inch, from one whose unit is TIFF's: 2 an inch, 3 a centimetre."""
    if not x or not y or unit not in (2, 3):
        return None
    factor = 2.54 if unit == 3 else 1.0
    return x * factor, y * factor
