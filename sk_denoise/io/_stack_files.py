"""Reading and writing of stacks: files of many planes, one plane at a time."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sk_denoise._package import require_extra
from sk_denoise.io import _tiff_stacks
from sk_denoise.io._atomic import open_replacement, resolve_destination
from sk_denoise.io._formats import format_by_content
from sk_denoise.io._header import PlaneSeries, UnreadableError
from sk_denoise.io._images import MAX_PIXELS, check_file, decode_image, image_errors, open_image

__all__ = [
    "STACK_SUFFIXES",
    "ImageStack",
    "is_stack",
    "open_stack",
    "read_stack",
    "rewrite_stack",
    "write_stack",
    "write_stacks",
]

STACK_SUFFIXES = (".tif", ".tiff")
# Axes of an array without names.
UNNAMED = "Q"
# Channels that count as one pixel: RGB and alpha.
MAX_IMAGE_CHANNELS = 4


class ImageStack(Sequence[NDArray[Any]]):
    """Planes of an open file, which are read one at a time.

    :func:`open_stack` returns it. As a sequence it holds the planes in the order of ``axes``; an index may
    also be a tuple with one number for each axis before those of a plane. Close it, or use it in a ``with``
    block. Threads must not share it.

    Parameters
    ----------
    path : Path
        The file.
    series : list of PlaneSeries
        All series of the file.
    index : int
        Index of the series of this stack.
    resources : ExitStack
        Open files, which are closed with the stack.

    Attributes
    ----------
    path : Path
        The file.
    axes : str
        One letter for each axis, as in tifffile: T time, Z depth, C channels of data, Y rows, X columns, S
        samples of a colour (RGB, or with alpha), I or Q planes in no known order.
    shape : tuple of int
        Size of each axis.
    dtype : dtype
        Type of the planes.
    n_series : int
        Number of series in the file: arrays of different sizes or types, such as the positions of a
        microscope.
    missing : frozenset of int
        Indexes of planes that the file describes and lacks; they are read as 0.
    notes : tuple of str
        Properties of the file that you should know of, in words.
    """

    def __init__(self, path: Path, series: list[PlaneSeries], index: int, resources: ExitStack) -> None:
        self.path, self.n_series = path, len(series)
        self.series, self._resources = series[index], resources
        self.axes, self.shape, self.dtype = self.series.axes, self.series.shape, self.series.dtype
        self.missing, self.notes = self.series.missing, self.series.notes

    @property
    def plane_axes(self) -> str:
        """Axes of a plane: YX, YXS for colours, or YXC for channels of data."""
        return self.axes[-self.series.plane_ndim :]

    @property
    def plane_shape(self) -> tuple[int, ...]:
        """Shape of a plane."""
        return self.series.plane_shape

    def __len__(self) -> int:
        return self.series.n_planes

    def __getitem__(self, index: Any) -> Any:
        """Return a plane, a new array.

        Parameters
        ----------
        index : int or tuple of int
            Number of the plane in the order of ``axes``, or one number for each axis before those of a plane.

        Returns
        -------
        ndarray
            The plane, of shape ``plane_shape``.
        """
        if isinstance(index, slice):
            raise TypeError("A stack is read plane by plane: take an integer, or read_stack for an array.")
        leading = self.series.leading_shape
        if isinstance(index, tuple):
            if len(index) != len(leading):
                raise IndexError(
                    f"An index of this stack has {len(leading)} numbers, for the axes "
                    f"{self.axes[: len(leading)]}, "
                    f"got {len(index)}."
                )
            positive = [
                _check_index(number, size, axis)
                for number, size, axis in zip(index, leading, self.axes, strict=False)
            ]
            number = int(np.ravel_multi_index(positive, leading)) if leading else 0
        else:
            number = _check_index(index, len(self), "planes")
        with image_errors(self.path):
            return self.series.read(number)

    def __iter__(self) -> Iterator[NDArray[Any]]:
        for index in range(len(self)):
            yield self[index]

    def read(self) -> NDArray[Any]:
        """Return all planes as one array of shape ``shape``."""
        with image_errors(self.path):
            try:
                array = np.empty((len(self), *self.plane_shape), self.dtype)
            except (MemoryError, ValueError) as error:
                size = math.prod(self.shape) * self.dtype.itemsize / 1e9
                raise UnreadableError(
                    f"its {len(self)} planes need {size:.1f} GB of memory; read them one by one by "
                    "open_stack, or "
                    "denoise the file by denoise_file"
                ) from error
        for index, plane in enumerate(self):
            array[index] = plane
        return array.reshape(self.shape)

    def close(self) -> None:
        """Close the file."""
        self._resources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<ImageStack {self.path.name!r} {self.axes} {self.shape} {self.dtype}>"


def _check_index(index: Any, size: int, axis: str) -> int:
    number = operator.index(index)
    if not -size <= number < size:
        raise IndexError(f"index {number} is out of range for the {size} of {axis}.")
    return number % size


def is_stack(path: str | os.PathLike[str]) -> bool:
    """Return whether a file is a stack, for `open_stack`, or one image.

    Stacks are files with several pages or frames, with data channels, or with integers of 32 bits, and all
    files of ImageJ and OME, whose metadata only a stack keeps.

    Parameters
    ----------
    path : path-like
        Path of a file.

    Returns
    -------
    bool
        Whether the file is a stack.

    Raises
    ------
    UnreadableImageError
        If the file is damaged, or has an unknown format.
    FileNotFoundError, IsADirectoryError
        If there is no such file.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from sk_denoise.io import is_stack, write_image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_image(Path(folder) / "small.tif", np.zeros((2, 3), np.uint8))
    ...     is_stack(Path(folder) / "small.tif")
    False
    """
    require_extra("is_stack", "images")
    with open_image(path) as (format_, stream):
        return format_.is_stack is not None and format_.is_stack(stream)


def open_stack(path: str | os.PathLike[str], *, series: int = 0, max_pixels: int = MAX_PIXELS) -> ImageStack:
    """Open a stack, to read it plane by plane.

    These files are read:

    - **TIFF** of many pages, also tiled, compressed and BigTIFF; **ImageJ** hyperstacks; **OME-TIFF**, also
      if its planes are spread over several files in one folder; and files of Micro-Manager and tifffile;
    - **GIF** animations and **DICOM** files of several frames (extra ``dicom``);
    - every image that `read_image` reads, as a stack of one plane.

    Values are those of `read_image`, in addition to integers of 32 bits and NaN. Channels that no tag calls
    alpha are data, with the letter C. The orientation of a TIFF is not applied. Planes that an OME
    description names and the file lacks are 0.

    Parameters
    ----------
    path : path-like
        Path of the file.
    series : int, default=0
        Index of the array in a file of several ones, for example of pages of different sizes.
    max_pixels : int, default=2**28
        Largest number of pixels of a plane.

    Returns
    -------
    ImageStack
        The planes. Close it, or use it in a ``with`` block.

    Raises
    ------
    MissingExtraError
        If the packages of the extra ``images`` are missing, or of ``dicom`` for a DICOM file.
    UnreadableImageError
        If the file is damaged, cut off or of another kind, or if files of its set are missing.
    FileNotFoundError, IsADirectoryError
        If there is no such file.
    IndexError
        If there is no such series.

    See Also
    --------
    read_stack : Read all planes into one array.
    sk_denoise.restoration.denoise_file : Denoise a stack from file to file.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from sk_denoise.io import open_stack, write_stack
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_stack(Path(folder) / "small.tif", np.zeros((5, 2, 3), np.uint16), axes="TYX")
    ...     with open_stack(Path(folder) / "small.tif") as stack:
    ...         print(stack.axes, stack.shape, stack[4].shape)
    TYX (5, 2, 3) (2, 3)
    """
    require_extra("open_stack", "images")
    with ExitStack() as resources:
        all_series = resources.enter_context(_open_series(path, max_pixels))
        n_series = len(all_series)
        if not 0 <= operator.index(series) < n_series:
            raise IndexError(
                f"{path} holds {n_series} series, so series must be 0 to {n_series - 1}, got {series}."
            )
        return ImageStack(Path(path), all_series, series, resources.pop_all())


@contextmanager
def _open_series(path: str | os.PathLike[str], max_pixels: int) -> Iterator[list[PlaneSeries]]:
    check_file(path)
    with ExitStack() as resources:
        # Errors of reading a plane get the name of the file from the stack, not from this block.
        with image_errors(path):
            stream = resources.enter_context(Path(path).open("rb"))
            format_ = format_by_content(stream)
            # Frames of other formats than TIFF are decoded when they are opened.
            if format_.open_series not in (None, _tiff_stacks.open_series):
                header = format_.read_header(stream)
                _check_plane_size(header.height, header.width, 1, max_pixels)
            if format_.open_series is not None:
                all_series = resources.enter_context(format_.open_series(Path(path), stream))
            else:
                image = decode_image(format_, stream, max_pixels)
                axes = "YXS" if image.ndim == 3 else "YX"
                all_series = [PlaneSeries(axes, image.shape, image.dtype, lambda _: image.copy())]
            for series in all_series:
                height, width, n_channels = (*series.plane_shape, 1)[:3]
                _check_plane_size(height, width, n_channels, max_pixels)
        yield all_series


def _check_plane_size(height: int, width: int, n_channels: int, max_pixels: int) -> None:
    # An image of the largest size has 4 channels, and data may have thousands.
    if height * width * max(1, n_channels // MAX_IMAGE_CHANNELS) > max_pixels:
        channels = f" and {n_channels} channels" if n_channels > MAX_IMAGE_CHANNELS else ""
        raise UnreadableError(
            f"it claims planes of {width} x {height} pixels (width x height){channels}, more than the "
            f"limit of {max_pixels}; pass max_pixels= if this size is right"
        )


def read_stack(
    path: str | os.PathLike[str], *, series: int = 0, max_pixels: int = MAX_PIXELS
) -> tuple[NDArray[Any], str]:
    """Read all planes of a stack into one array.

    Parameters
    ----------
    path : path-like
        Path of a file for :func:`open_stack`.
    series : int, default=0
        Index of the array in a file of several ones.
    max_pixels : int, default=2**28
        Largest number of pixels of a plane.

    Returns
    -------
    stack : ndarray
        The planes, with one axis for each letter of ``axes``.
    axes : str
        Letters of the axes for :func:`~sk_denoise.restoration.denoise_image`, see :class:`ImageStack`.

    Raises
    ------
    MissingExtraError
        If the packages of the extra ``images`` are missing, or of ``dicom`` for a DICOM file.
    UnreadableImageError
        If the file cannot be read, or does not fit in memory.
    FileNotFoundError, IsADirectoryError
        If there is no such file.

    See Also
    --------
    open_stack : Read plane by plane.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from sk_denoise.io import read_stack, write_stack
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_stack(Path(folder) / "small.tif", np.zeros((5, 2, 3), np.uint16), axes="ZYX")
    ...     stack, axes = read_stack(Path(folder) / "small.tif")
    >>> stack.shape, axes
    ((5, 2, 3), 'ZYX')
    """
    require_extra("read_stack", "images")
    with open_stack(path, series=series, max_pixels=max_pixels) as stack:
        return stack.read(), stack.axes


def write_stack(
    path: str | os.PathLike[str],
    planes: ArrayLike | Iterable[NDArray[Any]],
    *,
    axes: str | None = None,
    like: ImageStack | str | os.PathLike[str] | None = None,
) -> None:
    """Write a stack as a TIFF of many pages.

    With ``like``, the new file is of the kind of that file: OME-TIFF with its whole description, ImageJ with
    labels, overlays and pixel size, or plain pages with their descriptions, resolution and compression.
    Otherwise it is an OME-TIFF, if its axes are T, Z, C, Y, X and S, else a TIFF with the axes that tifffile
    reads. A file over 4 GB becomes a BigTIFF. The file is written completely or not at all.

    Parameters
    ----------
    path : path-like
        Path of the file, which must end in ``.tif`` or ``.tiff``.
    planes : array-like or iterable of ndarray
        The stack as one array. With ``like`` also an iterable of planes in its order, of which only one is
        kept in memory.
    axes : str, optional
        Letters of the axes of the array, see :class:`ImageStack`; the last ones must be YX, YXS or YXC. None
        takes the axes of ``like``, or Q for all axes before YX.
    like : ImageStack or path-like, optional
        Stack with the metadata, whose shape and type the new one must have.

    Raises
    ------
    MissingExtraError
        If the packages of the extra ``images`` are missing.
    ValueError
        If axes, shape or type do not fit, or the suffix is another one.
    FileNotFoundError, IsADirectoryError
        If the folder or the file ``like`` does not exist, or ``path`` is a folder.
    UnreadableImageError
        If the file ``like`` cannot be read.

    See Also
    --------
    open_stack : Read a stack plane by plane.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from sk_denoise.io import open_stack, write_stack
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_stack(Path(folder) / "a.tif", np.ones((5, 2, 3), np.uint16), axes="TYX")
    ...     with open_stack(Path(folder) / "a.tif") as stack:
    ...         write_stack(Path(folder) / "b.tif", (2 * plane for plane in stack), like=stack)
    ...     with open_stack(Path(folder) / "b.tif") as stack:
    ...         print(stack.axes, stack[0].max())
    TYX 2
    """
    require_extra("write_stack", "images")
    if like is None:
        if np.ma.is_masked(planes):
            raise ValueError(
                "planes is a masked array that hides pixels. Fill them first: planes.filled(value)."
            )
        array = np.asarray(planes)
        series = _describe_array(array, axes)
        write_stacks(path, [(series, array.reshape(series.n_planes, *series.plane_shape))])
        return
    with ExitStack() as resources:
        stack = like if isinstance(like, ImageStack) else resources.enter_context(open_stack(like))
        if axes is not None and axes != stack.axes:
            raise ValueError(f"axes must be {stack.axes!r}, those of like, got {axes!r}; leave it out.")
        if isinstance(planes, np.ndarray):
            if planes.shape != stack.shape:
                raise ValueError(f"planes must have the shape of like, {stack.shape}, got {planes.shape}.")
            planes = planes.reshape(len(stack), *stack.plane_shape)
        write_stacks(path, [(stack.series, planes)])  # type: ignore[list-item]


def write_stacks(
    path: str | os.PathLike[str], series: Sequence[tuple[PlaneSeries, Iterable[NDArray[Any]]]]
) -> None:
    """Write several series into one TIFF, see :func:`write_stack`."""
    with open_stack_writer(path) as stream:
        _tiff_stacks.write_series(stream, series)


def rewrite_stack(
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    transform: Callable[[list[ImageStack]], list[Iterable[NDArray[Any]]]],
    *,
    max_pixels: int = MAX_PIXELS,
) -> None:
    """Write a stack with other planes and the metadata of its source.

    Parameters
    ----------
    source, destination : path-like
        Files; they may be the same.
    transform : callable
        Function from the open series of the source to the new planes of each.
    max_pixels : int, default=2**28
        Largest number of pixels of a plane.
    """
    # Windows replaces only closed files, so the source is closed first.
    with open_stack_writer(destination) as stream, ExitStack() as resources:
        stacks = [resources.enter_context(open_stack(source, max_pixels=max_pixels))]
        for index in range(1, stacks[0].n_series):
            stacks.append(resources.enter_context(open_stack(source, series=index, max_pixels=max_pixels)))
        planes = transform(stacks)
        _tiff_stacks.write_series(stream, list(zip((stack.series for stack in stacks), planes, strict=True)))


@contextmanager
def open_stack_writer(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Check the name of a stack to write, and open it.

    The file takes the place of an old one at the end of the block.
    """
    if Path(path).suffix.lower() not in STACK_SUFFIXES:
        raise ValueError(
            f"The name of {path} must end in {' or '.join(STACK_SUFFIXES)}, because a stack is written as "
            "TIFF, "
            f"got {Path(path).suffix!r}."
        )
    with open_replacement(resolve_destination(path)) as stream:
        yield stream


def _describe_array(array: NDArray[Any], axes: str | None) -> PlaneSeries:
    if axes is None:
        axes = UNNAMED * (array.ndim - 2) + "YX"
    if len(axes) != array.ndim or not axes.endswith(("YX", "YXS", "YXC")) or 0 in array.shape:
        raise ValueError(
            f"axes must be a letter for each axis and end in YX, YXS or YXC, got {axes!r} for the shape "
            f"{array.shape}."
        )
    if array.dtype.kind not in "iuf" or array.dtype.itemsize > 8:
        raise ValueError(f"planes must be integers or floats, got {array.dtype}; convert them.")
    return PlaneSeries(axes, array.shape, array.dtype.newbyteorder("="), lambda index: array[index])
