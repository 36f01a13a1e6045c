"""Reading and writing of images in all formats."""

from __future__ import annotations

import dataclasses
import numbers
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sk_denoise._intensity import has_alpha
from sk_denoise._package import require_extra
from sk_denoise.exceptions import UnreadableImageError
from sk_denoise.io._atomic import replace_file, resolve_destination
from sk_denoise.io._colors import apply_orientation, to_gray, to_rgb
from sk_denoise.io._exif import ExifTags
from sk_denoise.io._formats import Format, format_by_content, format_by_suffix
from sk_denoise.io._header import Header, Metadata, UnreadableError

__all__ = [
    "MAX_PIXELS",
    "check_file",
    "decode_image",
    "image_errors",
    "image_size",
    "image_suffix",
    "open_image",
    "output_suffix",
    "read_image",
    "write_image",
]

# 268 megapixels are enough for photos of 100 megapixels, and refuse damaged files with absurd sizes.
MAX_PIXELS = 2**28


def read_image(
    path: str | os.PathLike[str],
    *,
    color: Literal["keep", "gray", "rgb"] = "keep",
    alpha: Literal["keep", "drop"] = "keep",
    allow_nan: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> NDArray[Any]:
    """Read an image file in its own depth.

    PNG, JPEG, TIFF, BMP, WebP, JPEG 2000, PNM, GIF and AVIF are read, and DICOM with the extra ``dicom``. The
    content of the file decides on its format, not its name. These are the rules:

    - **Shape**: ``(height, width)`` for gray, ``(height, width, 3)`` for colour, and ``(height, width, 2)``
      or ``(height, width, 4)`` with an alpha channel. The image is upright: the orientation in EXIF or TIFF
      tags is applied.
    - **Type**: uint8 for depths of up to 8 bits (fewer bits are scaled to 0 .. 255), uint16 for 9 to 16 bits
      (10 or 12 bits are not scaled), int16 or int8 for signed integers, float32 or float64 for floating-point
      TIFFs (half precision becomes float32). Integers of 32 bits, NaN and infinity are refused; `read_stack`
      reads them.
    - **Colour**: stored values are not changed. A colour profile is not applied;
      ``write_image(..., like=path)`` copies it. Palettes become RGB, or RGBA if they define transparency.
      CMYK and L*a*b* become sRGB, with the colour profile of a CMYK image. If white is stored as 0, values
      are inverted.
    - **Channels**: a second or fourth channel of a TIFF is alpha only if a tag of the file says so. Others
      are data, which `read_stack` reads.
    - **DICOM**: the values of the modality, such as Hounsfield units, in the smallest type that holds them.
    - **Inside a TIFF** strips and tiles may be PNG, JPEG, JPEG 2000, JPEG XR, WebP or LERC. JPEG XL is
      refused, because its size is known only after decoding.
    - **One image**: files of several frames or pages are refused, see `read_stack`. A preview beside the
      image does not count.

    The function is thread-safe.

    Parameters
    ----------
    path : path-like
        Path of the file.
    color : {"keep", "gray", "rgb"}, default="keep"
        Conversion of the colours. "gray" returns the luminance, 0.299 R + 0.587 G + 0.114 B, in the type of
        the image, rounded for integers. "rgb" repeats gray in three channels.
    alpha : {"keep", "drop"}, default="keep"
        Treatment of the alpha channel. "drop" removes it, without mixing the other channels with a
        background.
    allow_nan : bool, default=False
        Whether pixels of floating-point TIFFs may be NaN, as missing values are. Infinity is refused anyway.
    max_pixels : int, default=2**28
        Largest number of pixels. Larger images are refused before anything is decoded, because a damaged
        file may claim any size.

    Returns
    -------
    ndarray of shape (height, width) or (height, width, n_channels)
        A new array, contiguous and writable.

    Raises
    ------
    MissingExtraError
        If the packages of the extra ``images`` are missing, or of ``dicom`` for a DICOM file.
    UnreadableImageError
        If the file is damaged, cut off, too large or of another kind. The message contains its name.
    FileNotFoundError, IsADirectoryError
        If there is no such file.
    ValueError
        If an option is unknown.

    See Also
    --------
    write_image : Write an image file.
    read_stack : Read a file of many planes.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from sk_denoise.io import read_image, write_image
    >>> gray = np.arange(6, dtype=np.uint16).reshape(2, 3)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_image(Path(folder) / "small.png", gray)
    ...     read_image(Path(folder) / "small.png")
    array([[0, 1, 2],
           [3, 4, 5]], dtype=uint16)
    """
    _check_option("color", color, ("keep", "gray", "rgb"))
    _check_option("alpha", alpha, ("keep", "drop"))
    require_extra("read_image", "images")
    with open_image(path) as (format_, stream):
        image = decode_image(format_, stream, max_pixels, allow_nan=allow_nan)
    # Alpha goes first, so that the conversion of colours does not process it.
    if alpha == "drop" and image.ndim == 3:
        image = image[..., :3] if image.shape[2] > 2 else image[..., 0]
    image = {"keep": lambda image: image, "gray": to_gray, "rgb": to_rgb}[color](image)
    return np.require(image, requirements=["C", "W"])


def decode_image(
    format_: Format, stream: BinaryIO, max_pixels: int | None, *, allow_nan: bool = False
) -> NDArray[Any]:
    """Return the upright image of an open file."""
    header = _checked_header(format_, stream, max_pixels)
    image = format_.decode(stream)
    _check_decoded(image, header, allow_nan)
    return np.require(apply_orientation(image, header.orientation), requirements=["C", "W"])


def image_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Return height and width of an upright image without decoding it.

    Parameters
    ----------
    path : path-like
        Path of a file for `read_image`.

    Returns
    -------
    tuple (height, width)
        Size in pixels.

    Raises
    ------
    MissingExtraError
        If the packages of the extra ``images`` are missing.
    UnreadableImageError
        If the header shows that `read_image` cannot read the file. Large images are no error here.
    FileNotFoundError, IsADirectoryError
        If there is no such file.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from sk_denoise.io import image_size, write_image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_image(Path(folder) / "small.png", np.zeros((2, 3), np.uint8))
    ...     image_size(Path(folder) / "small.png")
    (2, 3)
    """
    require_extra("image_size", "images")
    with open_image(path) as (format_, stream):
        return _checked_header(format_, stream, None).size


def image_suffix(path: str | os.PathLike[str]) -> str:
    """Return the usual suffix for the format of an image file, by its content.

    Parameters
    ----------
    path : path-like
        Path of a file for `read_image`. Its own suffix is ignored.

    Returns
    -------
    {".png", ".jpg", ".tif", ".bmp", ".webp", ".jp2", ".j2k", ".pnm", ".gif", ".avif", ".dcm"}
        The usual suffix of the format. The last three are read only, see ``WRITABLE_SUFFIXES``.

    Raises
    ------
    UnreadableImageError
        If the file has a format that `read_image` cannot read.
    FileNotFoundError, IsADirectoryError
        If there is no such file.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from sk_denoise.io import image_suffix, write_image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_image(Path(folder) / "small.png", np.zeros((2, 3), np.uint8))
    ...     image_suffix((Path(folder) / "small.png").rename(Path(folder) / "small"))
    '.png'
    """
    with open_image(path) as (format_, _):
        return format_.suffixes[0]


def output_suffix(path: str | os.PathLike[str]) -> str:
    """Return the usual suffix for a new version of an image file or a stack.

    Parameters
    ----------
    path : path-like
        Path of a file for `read_image` or `open_stack`. Its own suffix is ignored.

    Returns
    -------
    str
        The usual suffix of the format, or of one in its place: ".png" for GIF and AVIF, ".tif" for DICOM and
        for all stacks.

    Raises
    ------
    MissingExtraError
        If the packages of the extra ``images`` are missing, or of ``dicom`` for a DICOM file.
    UnreadableImageError
        If the file has a format that `read_image` cannot read.
    FileNotFoundError, IsADirectoryError
        If there is no such file.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from sk_denoise.io import output_suffix
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Image.new("L", (3, 2)).save(Path(folder) / "small.gif")
    ...     output_suffix(Path(folder) / "small.gif")
    '.png'
    """
    with open_image(path) as (format_, stream):
        if format_.is_stack is not None and format_.is_stack(stream):
            return ".tif"
        return format_.substitute or format_.suffixes[0]


def _check_option(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}.")


@contextmanager
def open_image(path: str | os.PathLike[str]) -> Iterator[tuple[Format, BinaryIO]]:
    """Open an image file, and raise errors of its content with its name."""
    check_file(path)
    with image_errors(path), Path(path).open("rb") as stream:
        yield format_by_content(stream), stream


@contextmanager
def image_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Raise errors of the content of a file as errors with its name."""
    try:
        yield
    except UnreadableError as error:
        raise UnreadableImageError(f"{path}: {error}.") from error
    # The installation is broken, not the file. Other errors have the name already.
    except (ImportError, UnreadableImageError, FileNotFoundError, IsADirectoryError):
        raise
    except MemoryError as error:
        raise UnreadableImageError(f"{path}: there is not enough memory for the image.") from error
    # Decoders raise errors of many types on damaged data.
    except Exception as error:
        raise UnreadableImageError(
            f"{path}: its content is damaged or of a kind that is not read ({type(error).__name__}: "
            f"{error}); copy the file again from where it came, or save the image anew as PNG."
        ) from error


def check_file(path: str | os.PathLike[str]) -> None:
    """Refuse a path that is not a regular file."""
    # This comes before opening, because to open a pipe waits for a writer.
    file = Path(path)
    if file.is_file():
        return
    if file.is_dir():
        raise IsADirectoryError(f"{path} is a folder, not an image; give the path of a file.")
    if file.exists():
        raise UnreadableImageError(f"{path}: it is no regular file; give the path of an image.")
    if file.is_symlink():
        raise FileNotFoundError(f"There is no file behind the link {path}, to {file.readlink()}.")
    raise FileNotFoundError(f"There is no file {path}.")


def _checked_header(format_: Format, stream: BinaryIO, max_pixels: int | None) -> Header:
    header = format_.read_header(stream)
    if header.height < 1 or header.width < 1:
        raise UnreadableError(f"it claims a size of {header.width} x {header.height} pixels; copy it again")
    if max_pixels is not None and header.height * header.width > max_pixels:
        raise UnreadableError(
            f"it claims {header.width} x {header.height} pixels (width x height), more than the limit of "
            f"{max_pixels}; pass max_pixels= to read_image if this size is right"
        )
    if header.frames != 1:
        advice = "read them by read_stack, or " if format_.open_series is not None else ""
        raise UnreadableError(
            f"it holds {header.frames} frames or pages; {advice}save the one you want as a file of its own"
        )
    return header


def _check_decoded(image: NDArray[Any], header: Header, allow_nan: bool) -> None:
    # The header passed the limit of pixels, so a decoder must not return another size.
    if image.shape[:2] != (header.height, header.width):
        raise UnreadableError(
            f"it claims {header.width} x {header.height} pixels and holds others; copy it again"
        )
    if not _is_allowed(image, allow_nan):
        advice = "" if allow_nan else ", or pass allow_nan=True for NaN"
        raise UnreadableError(f"it holds NaN or infinite values; replace them by numbers{advice}")


def _is_allowed(image: NDArray[Any], allow_nan: bool) -> bool:
    """Return whether all numbers are finite, or NaN where it is allowed."""
    if image.dtype.kind != "f":
        return True
    return not np.isinf(image).any() if allow_nan else bool(np.isfinite(image).all())


def write_image(
    path: str | os.PathLike[str],
    image: ArrayLike,
    *,
    like: str | os.PathLike[str] | None = None,
    quality: int = 95,
    allow_nan: bool = False,
) -> None:
    """Write an image to a PNG, JPEG, TIFF, BMP, WebP, JPEG 2000 or PNM file.

    All formats except JPEG are lossless: `read_image` returns the same array. WebP has no gray, so gray
    becomes three equal channels. Nothing is scaled, rounded or converted silently. The file is written
    completely or not at all: after a failure an existing file is unchanged. A new file has the permissions
    of the one that it replaces.

    Parameters
    ----------
    path : path-like
        Path of the file. Its suffix decides on the format.
    image : array-like of shape (height, width) or (height, width, n_channels)
        Gray with 1 channel, gray and alpha with 2, colour with 3, colour and alpha with 4. Of type

        - uint8: all formats;
        - uint16: PNG, TIFF, JPEG 2000 and PNM;
        - int16: TIFF;
        - floating point, finite: TIFF (half precision is written as float32);
        - bool: as 0 and 255.
    like : path-like, optional
        Image file from which to copy colour profile, EXIF data and resolution. These are read from

        - PNG, JPEG, WebP, TIFF, AVIF: profile, EXIF and resolution;
        - BMP: resolution; DICOM: pixel spacing as resolution;

        and written to

        - PNG, JPEG, TIFF: profile, EXIF and resolution;
        - WebP: EXIF, and the profile of colours;
        - BMP: resolution.

        From TIFF to TIFF, a pixel size in a unit of ImageJ is kept. Other metadata are not copied. From and
        to TIFF, this includes the notes of makers, which point into their own file. The EXIF orientation
        becomes upright, and the thumbnail is removed, since it shows the other image. A colour profile for
        other channels (CMYK, or gray for colour) is not copied.
    quality : int, default=95
        Quality of JPEG, 1 to 100. Colours are kept at full resolution.
    allow_nan : bool, default=False
        Whether pixels of floating-point TIFFs may be NaN.

    Raises
    ------
    ValueError
        If the suffix is unknown, the format cannot hold the array, or ``quality`` is out of range; also if
        EXIF data have more than 64 KB, too much for JPEG: write PNG or WebP, or leave ``like`` out.
    TypeError
        If ``quality`` is not an integer.
    FileNotFoundError, IsADirectoryError
        If the folder or the file ``like`` does not exist, or ``path`` is a folder.
    MissingExtraError
        If the packages of the extra ``images`` are missing.
    UnreadableImageError
        If the file ``like`` is not an image.

    See Also
    --------
    read_image : Read an image file.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from sk_denoise.io import read_image, write_image
    >>> colors = np.full((2, 3, 3), 40_000, dtype=np.uint16)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_image(Path(folder) / "small.tif", colors)
    ...     bool((read_image(Path(folder) / "small.tif") == colors).all())
    True
    """
    # It imports torch, which reading alone does not need.
    from sk_denoise._validation import refuse_lazy

    refuse_lazy(image, "image")
    # np.asarray would silently write the pixels that the mask hides.
    if np.ma.is_masked(image):
        raise ValueError("image is a masked array that hides pixels. Fill them first: image.filled(value).")
    format_ = format_by_suffix(path)
    require_extra("write_image", "images")
    assert format_.encode is not None
    pixels = _check_image_to_write(np.asarray(image), format_, path, allow_nan)
    _check_quality(quality)
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    metadata = Metadata() if like is None else _read_metadata(like).for_channels(channels)
    replace_file(resolve_destination(path), [format_.encode(pixels, metadata, int(quality))])


def _check_quality(quality: Any) -> None:
    if isinstance(quality, bool) or not isinstance(quality, numbers.Integral):
        raise TypeError(f"quality must be an integer from 1 to 100, got {quality!r}.")
    if not 1 <= int(quality) <= 100:
        raise ValueError(f"quality must be 1 to 100, got {quality}.")


def _read_metadata(path: str | os.PathLike[str]) -> Metadata:
    with open_image(path) as (format_, stream):
        metadata = format_.read_header(stream).metadata
    # The pixels are written upright, so the orientation must not be applied again.
    exif = None if metadata.exif is None else ExifTags(metadata.exif).reset_orientation()
    return dataclasses.replace(metadata, exif=exif)


def _check_image_to_write(
    image: NDArray[Any], format_: Format, path: str | os.PathLike[str], allow_nan: bool
) -> NDArray[Any]:
    """Return the array in a layout and type of the format, or refuse it."""
    # Formats have no third axis for gray.
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[..., 0]
    if 0 in image.shape or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] <= 4)):
        raise ValueError(
            "image must have the shape (height, width) or (height, width, n_channels) with 1 to 4 channels, "
            f"got {image.shape}."
        )
    if max(image.shape[:2]) > format_.max_side:
        raise ValueError(f"{format_.name} holds at most {format_.max_side} pixels a side, got {image.shape}.")
    if has_alpha(image) and not format_.alpha:
        raise ValueError(
            f"{path}: {format_.name} has no alpha channel, got the shape {image.shape}; leave the last "
            "channel out, or write PNG, TIFF or WebP."
        )
    return _check_values(image, format_, path, allow_nan)


def _check_values(
    image: NDArray[Any], format_: Format, path: str | os.PathLike[str], allow_nan: bool
) -> NDArray[Any]:
    # Truth values are black and white.
    if image.dtype == bool:
        return image.astype(np.uint8) * np.uint8(255)
    if image.dtype == np.float16:
        image = image.astype(np.float32)
    image = np.ascontiguousarray(image, image.dtype.newbyteorder("="))
    if image.dtype.name not in format_.dtypes:
        raise ValueError(
            f"{path}: {format_.name} holds {' or '.join(format_.dtypes)}, got {image.dtype}; "
            f"{_conversion_advice(image)}."
        )
    if not _is_allowed(image, allow_nan):
        raise ValueError(f"{path}: the image holds NaN or infinite values; replace them by numbers.")
    return image


def _conversion_advice(image: NDArray[Any]) -> str:
    if image.dtype.name == "uint16":
        return "write PNG or TIFF, or convert it, for example (image >> 8).astype(np.uint8)"
    if image.dtype.kind == "f":
        return (
            "write TIFF, or convert it, by PixelScaler.inverse_transform or, from [0, 1], by "
            "(255 * image).round().astype(np.uint8)"
        )
    if image.dtype.name == "int16":
        return (
            "write TIFF, or shift it to numbers from 0, by "
            "(image.astype(int) - image.min()).astype(np.uint16)"
        )
    return "convert it, for example by image.astype(np.uint16) where the values are in its range"
