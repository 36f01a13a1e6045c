"""Headers and metadata of files, and the errors for unreadable ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "BYTES_PER_PART",
    "Calibration",
    "DAMAGED",
    "EncodedSize",
    "Header",
    "MIN_PART_LIMIT",
    "Metadata",
    "PlaneSeries",
    "Recording",
    "TRUNCATED",
    "UnreadableError",
    "dots_per_inch",
    "limit_parts",
    "read_exactly",
]

# Messages that follow the name of the file.
TRUNCATED = "the file is cut off; copy it again from where it came"
DAMAGED = "its header is damaged; copy the file again from where it came"
# Average size of the parts of a file, and a number of parts that is allowed in any file.
BYTES_PER_PART, MIN_PART_LIMIT = 2**10, 2**16
# Longer parts are compared with the rest of the file before memory is allocated.
MAX_UNCHECKED_LENGTH = 2**20

T = TypeVar("T")


class UnreadableError(Exception):
    """Reason why a file cannot be read, in words that follow the name of the file.

    ``read_image`` raises it as an ``UnreadableImageError``, ``read_signal`` as an ``UnreadableSignalError``.
    """


class EncodedSize(NamedTuple):
    """Size in the header of an encoded image.

    Attributes
    ----------
    height, width : int
        Size in pixels.
    channels : int
        Number of channels, 0 if the header leaves it open.
    padding : int
        Number of rows by which the image may exceed its place in a file.
    """

    height: int
    width: int
    channels: int = 0
    padding: int = 0


@dataclass(frozen=True)
class Calibration:
    """Pixel size of a TIFF of ImageJ.

    Attributes
    ----------
    resolution : tuple of two (int, int)
        Pixels a unit, horizontal and vertical, as fractions.
    unit : str
        Unit of length, empty if it is unknown.
    """

    resolution: tuple[tuple[int, int], tuple[int, int]]
    unit: str


@dataclass(frozen=True)
class Metadata:
    """Metadata of an image.

    Attributes
    ----------
    profile : bytes or None
        Colour profile.
    exif : bytes or None
        EXIF data without the prefix of the format.
    dpi : tuple of two float or None
        Horizontal and vertical resolution in dots per inch.
    calibration : Calibration or None
        Pixel size in the unit of ImageJ, for TIFF.
    """

    profile: bytes | None = None
    exif: bytes | None = None
    dpi: tuple[float, float] | None = None
    calibration: Calibration | None = None

    def for_channels(self, channels: int) -> Metadata:
        """Return the metadata without a colour profile for another number of channels."""
        expected = b"GRAY" if channels < 3 else b"RGB "
        fits = self.profile is not None and self.profile[16:20] == expected
        return replace(self, profile=self.profile if fits else None)


@dataclass(frozen=True)
class Header:
    """Header of an image file.

    Attributes
    ----------
    height, width : int
        Size of the pixels in the file, before the orientation is applied.
    orientation : int
        EXIF orientation, 1 to 8.
    frames : int
        Number of frames or pages.
    metadata : Metadata
        Colour profile, EXIF data and resolution.
    """

    height: int
    width: int
    orientation: int = 1
    frames: int = 1
    metadata: Metadata = Metadata()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the upright image."""
        is_rotated = self.orientation >= 5
        return (self.width, self.height) if is_rotated else (self.height, self.width)


def read_exactly(stream: BinaryIO, length: int) -> bytes:
    """Read a number of bytes, or raise an error at the end of the file."""
    # A damaged file may contain any length, and would fill the memory.
    if length > MAX_UNCHECKED_LENGTH:
        position = stream.tell()
        length_left = stream.seek(0, 2) - position
        stream.seek(position)
        if length_left < length:
            raise UnreadableError(TRUNCATED)
    data = stream.read(length)
    if len(data) < length:
        raise UnreadableError(TRUNCATED)
    return data


def limit_parts(parts: Iterable[T], stream: BinaryIO) -> Iterator[T]:
    """Yield the parts of a file, and refuse one of too many tiny parts."""
    # To read millions of empty parts would take minutes.
    position = stream.tell()
    limit = MIN_PART_LIMIT + stream.seek(0, 2) // BYTES_PER_PART
    stream.seek(position)
    for number, part in enumerate(parts):
        if number >= limit:
            raise UnreadableError(f"it consists of more than {limit} parts; save the image anew")
        yield part


def dots_per_inch(x: float | None, y: float | None, unit: float) -> tuple[float, float] | None:
    """Convert a resolution to dots per inch from TIFF's unit, 2 (inch) or 3 (cm)."""
    if not x or not y or unit not in (2, 3):
        return None
    # An inch has 2.54 centimetres.
    factor = 2.54 if unit == 3 else 1.0
    return x * factor, y * factor


@dataclass(frozen=True)
class PlaneSeries:
    """Planes of one shape and type in a file.

    Attributes
    ----------
    axes : str
        One letter for each axis; the last ones are those of a plane: YX, YXS or YXC.
    shape : tuple of int
        Size of each axis.
    dtype : dtype
        Type of the planes.
    read : callable
        Function from the index of a plane to its array.
    missing : frozenset of int
        Indexes of the planes that the file lacks.
    pixel_size : tuple of (float, str) or None
        Width and height of a pixel, and their unit, for files of another format.
    spacing : float or None
        Distance of planes along Z in the same unit.
    template : object
        Description of the stored pages, for a writer of the same format.
    notes : tuple of str
        Properties of the file that a user should know of.
    """

    axes: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    read: Callable[[int], NDArray[Any]]
    missing: frozenset[int] = frozenset()
    pixel_size: tuple[float, float, str] | None = None
    spacing: float | None = None
    template: Any = field(default=None, repr=False)
    notes: tuple[str, ...] = ()

    @property
    def plane_ndim(self) -> int:
        """Number of axes of a plane, 2 or 3."""
        return 2 if self.axes.endswith("YX") else 3

    @property
    def plane_shape(self) -> tuple[int, ...]:
        """Shape of a plane."""
        return self.shape[-self.plane_ndim :]

    @property
    def leading_shape(self) -> tuple[int, ...]:
        """Sizes of the axes before those of a plane."""
        return self.shape[: -self.plane_ndim]

    @property
    def n_bytes(self) -> int:
        """Number of bytes of all planes."""
        return self.n_planes * int(np.prod(self.plane_shape)) * self.dtype.itemsize

    @property
    def n_planes(self) -> int:
        """Number of planes."""
        return int(np.prod(self.leading_shape, dtype=np.int64))


@dataclass(frozen=True, eq=False)
class Recording:
    """Signal of one or several channels, with the rest of its file.

    Parameters
    ----------
    values : ndarray of shape (length,) or (channels, length)
        Values in the unit and type of the file: time is the last axis.
    sampling_rate : float or None, default=None
        Samples per second, None if it is unknown.
    channel_names : tuple of str, default=()
        Name of each channel, or nothing where the file has no names.
    units : tuple of str, default=()
        Unit of each channel, empty where it is unknown.
    template : object, default=None
        Rest of the file, such as the other columns of a table, for a writer of the same format.

    See Also
    --------
    read_signal : Read a recording.
    write_signal : Write a recording.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_denoise.io import Recording
    >>> recording = Recording(np.zeros((2, 500)), 250.0, ("I", "II"), ("mV", "mV"))
    >>> recording
    Recording(2 x 500 values of float64, 250 Hz, I [mV], II [mV])
    >>> recording.n_channels, recording.length, recording.duration
    (2, 500, 2.0)
    """

    values: NDArray[Any]
    sampling_rate: float | None = None
    channel_names: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    template: Any = None

    def __repr__(self) -> str:
        rate = "" if self.sampling_rate is None else f", {self.sampling_rate:g} Hz"
        units = [f" [{unit}]" if unit else "" for unit in self.units or [""] * len(self.channel_names)]
        names = "".join(f", {name}{unit}" for name, unit in zip(self.channel_names, units, strict=False))
        return f"Recording({self.n_channels} x {self.length} values of {self.values.dtype}{rate}{names})"

    @property
    def n_channels(self) -> int:
        """Number of channels; a signal of shape (length,) has one."""
        return 1 if self.values.ndim == 1 else len(self.values)

    @property
    def length(self) -> int:
        """Number of samples of a channel."""
        return int(self.values.shape[-1])

    @property
    def duration(self) -> float | None:
        """Length in seconds, None if the sampling rate is unknown."""
        return None if self.sampling_rate is None else self.length / self.sampling_rate

    def replace_values(self, values: NDArray[Any]) -> Recording:
        """Return the same recording with other values, such as denoised ones.

        Parameters
        ----------
        values : ndarray of the shape of the values
            Other values. :func:`write_signal` converts them to the type of the file.

        Raises
        ------
        ValueError
            If the shape differs.
        """
        values = np.asarray(values)
        if values.shape != self.values.shape:
            raise ValueError(
                f"values must have the shape of the recording, {self.values.shape}, got {values.shape}."
            )
        return replace(self, values=values)
