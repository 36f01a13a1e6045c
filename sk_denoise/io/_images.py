"""Read and write images."""

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

from sk_denoise._extras import require_extra
from sk_denoise._intensity import has_alpha
from sk_denoise.exceptions import UnreadableImageError
from sk_denoise.io._atomic import check_target, replace_file
from sk_denoise.io._colors import to_gray, to_rgb, upright
from sk_denoise.io._exif import Tags
from sk_denoise.io._formats import Format, format_by_content, format_by_suffix
from sk_denoise.io._header import Header, Metadata, Refusal

__all__ = ["MAX_PIXELS", "image_size", "image_suffix", "read_image", "write_image"]

MAX_PIXELS = 2**28  # 268 megapixels: room for photos of 100, and an end to files that claim absurd sizes


def read_image(
    path: str | os.PathLike[str],
    *,
    color: Literal["keep", "gray", "rgb"] = "keep",
    alpha: Literal["keep", "drop"] = "keep",
    max_pixels: int = MAX_PIXELS,
) -> NDArray[Any]:
    """Read an image from a PNG, JPEG, TIFF, BMP or WebP file, in the file's own depth.

    The format is known by the file's content, whatever its name ends in. These are the rules:

    - **Shape**: ``(height, width)`` for gray, ``(height, width, 3)`` for colour, and ``(height, width, 2)``
      or ``(height, width, 4)`` where an alpha channel follows. The image stands upright: the orientation
      that EXIF or TIFF tags tell is applied.
    - **Type**: uint8 for depths of up to 8 bits (fewer bits are scaled to 0 .. 255), uint16 for 9 to 16 bits
      (10 or 12 bits are kept as they are, not scaled), float32 or float64 for floating-point TIFFs (half
      precision becomes float32). Integers of 32 bits, signed ones and NaN or infinity are refused.
    - **Colour**: values stay as they are stored; a colour profile is not applied and goes along with
      ``write_image(..., like=path)``. Palettes become RGB, or RGBA where they know transparency; CMYK and
      L*a*b* become sRGB, by the CMYK's profile where there is one. Where white is 0 it is turned round.
    - **One image**: files of several frames or pages are refused. A preview beside the image does not
      count.

    Safe to call in several threads at once.

    Parameters
    ----------
    path : path-like
        The file.
    color : {"keep", "gray", "rgb"}, default="keep"
        "gray" gives the luminance, 0.299 R + 0.587 G + 0.114 B, in the image's own type, rounded for
        integers; "rgb" repeats gray in three channels.
    alpha : {"keep", "drop"}, default="keep"
        "drop" leaves the alpha channel out; the other channels are not mixed with any background.
    max_pixels : int, default=2**28
        Larger images are refused before anything is decoded, because a damaged file may claim any size.

    Returns
    -------
    ndarray of shape (height, width) or (height, width, n_channels)
        A new array, contiguous and writable.

    Raises
    ------
    MissingExtraError
        Without the packages of the extra ``images``.
    UnreadableImageError
        Where the file is damaged, cut off, too large or not an image of these kinds; the message names it.
    FileNotFoundError, IsADirectoryError
        Where there is no such file.
    ValueError
        Where an option is unknown.

    See Also
    --------
    write_image : The way back.

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
    with _opened(path) as (format_, stream):
        header = _checked_header(format_, stream, max_pixels)
        image = format_.decode(stream)
        _check_decoded(image, header)
    if alpha == "drop" and image.ndim == 3:
        image = image[..., :3] if image.shape[2] > 2 else image[..., 0]
    image = {"keep": lambda image: image, "gray": to_gray, "rgb": to_rgb}[color](image)
    return np.require(upright(image, header.orientation), requirements=["C", "W"])


def image_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Return height and width of an image, upright, without decoding it.

    Parameters
    ----------
    path : path-like
        A file that `read_image` reads.

    Returns
    -------
    tuple (height, width)
        In pixels.

    Raises
    ------
    MissingExtraError
        Without the packages of the extra ``images``.
    UnreadableImageError
        Where the file is no image that `read_image` reads, as far as its header tells; no size is too
        large.
    FileNotFoundError, IsADirectoryError
        Where there is no such file.

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
    with _opened(path) as (format_, stream):
        return _checked_header(format_, stream, None).size


def image_suffix(path: str | os.PathLike[str]) -> str:
    """Return what the name of an image should end in, told by the content of the file.

    Parameters
    ----------
    path : path-like
        A file that `read_image` reads, whatever its name ends in.

    Returns
    -------
    {".png", ".jpg", ".tif", ".bmp", ".webp"}
        The usual end of the format.

    Raises
    ------
    UnreadableImageError
        Where the first bytes are those of no format that `read_image` reads.
    FileNotFoundError, IsADirectoryError
        Where there is no such file.

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
    with _opened(path) as (format_, _):
        return format_.suffixes[0]


def _check_option(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, known))}, got {value!r}.")


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[tuple[Format, BinaryIO]]:
    """Open an image's file; whatever goes wrong with its content names the file."""
    _check_file(path)
    with Path(path).open("rb") as stream:
        try:
            yield format_by_content(stream), stream
        except Refusal as error:
            raise UnreadableImageError(f"{path}: {error}.") from error
        except ImportError:  # of an installation that is broken, which no other file would mend
            raise
        except MemoryError as error:
            raise UnreadableImageError(f"{path}: there is not enough memory for the image.") from error
        except Exception as error:  # damaged data let decoders raise whatever they like
            raise UnreadableImageError(
                f"{path}: its content is damaged or of a kind that is not read ({type(error).__name__}: "
                f"{error}); copy the file again from where it came, or save the image anew as PNG."
            ) from error


def _check_file(path: str | os.PathLike[str]) -> None:
    """Refuse what is no file, before opening: a pipe would be waited for."""
    place = Path(path)
    if place.is_file():
        return
    if place.is_dir():
        raise IsADirectoryError(f"{path} is a folder, not an image; give the path of a file.")
    if place.exists():
        raise UnreadableImageError(f"{path}: it is no regular file; give the path of an image.")
    raise FileNotFoundError(f"There is no file {path}.")


def _checked_header(format_: Format, stream: BinaryIO, max_pixels: int | None) -> Header:
    header = format_.read_header(stream)
    if header.height < 1 or header.width < 1:
        raise Refusal(f"it claims a size of {header.width} x {header.height} pixels; copy it again")
    if max_pixels is not None and header.height * header.width > max_pixels:
        raise Refusal(
            f"it claims {header.width} x {header.height} pixels (width x height), more than the limit of "
            f"{max_pixels}; pass max_pixels= to read_image where it is meant to be so large"
        )
    if header.frames != 1:
        raise Refusal(f"it holds {header.frames} frames or pages; save the one you want as a file of its own")
    return header


def _check_decoded(image: NDArray[Any], header: Header) -> None:
    if image.shape[:2] != (header.height, header.width):
        raise Refusal(f"it claims {header.width} x {header.height} pixels and holds others; copy it again")
    if image.dtype.kind == "f" and not np.isfinite(image).all():
        raise Refusal("it holds NaN or infinite values; replace them by numbers")


def write_image(
    path: str | os.PathLike[str],
    image: ArrayLike,
    *,
    like: str | os.PathLike[str] | None = None,
    quality: int = 95,
) -> None:
    """Write an image to a PNG, JPEG, TIFF, BMP or WebP file, in the depth of the array.

    What is written without a loss (everything but JPEG) is read by `read_image` as the same array, but for
    WebP, which has no gray: it becomes three equal channels. Nothing is scaled, rounded or converted
    silently. The file appears complete or not at all, and one that was there survives a failure. What
    takes its place has its permissions.

    Parameters
    ----------
    path : path-like
        Where to write; the format follows from what the name ends in.
    image : array-like of shape (height, width) or (height, width, n_channels)
        Gray with 1 channel, gray and alpha with 2, colour with 3, colour and alpha with 4. Of type

        - uint8: all formats;
        - uint16: PNG and TIFF;
        - floating point, finite: TIFF (half precision is written as float32);
        - bool: as 0 and 255.
    like : path-like, optional
        An image whose colour profile, EXIF data and resolution are taken over, as far as they are read from
        its format

        - PNG, JPEG, WebP, TIFF: profile, EXIF and resolution;
        - BMP: resolution;

        and written to that of ``path``

        - PNG, JPEG, TIFF: profile, EXIF and resolution;
        - WebP: EXIF, and the profile of colours;
        - BMP: resolution.

        The rest is left out; from and to TIFF also the notes of makers, which point into their file. EXIF
        says upright then and shows no thumbnail, as the image is another. A profile for other channels
        than these (CMYK, or gray for colour) is not taken.
    quality : int, default=95
        Of JPEG, 1 to 100. Colours are kept at full resolution.

    Raises
    ------
    ValueError
        Where the name ends in no known format, the format cannot hold the array, or ``quality`` is out of
        range; also where EXIF data of more than 64 KB are to go into a JPEG: write PNG or WebP, or leave
        ``like`` out.
    TypeError
        Where ``quality`` is no integer.
    FileNotFoundError, IsADirectoryError
        Where the folder, or the file ``like``, is not there, or a folder is where the file should be.
    MissingExtraError
        Without the packages of the extra ``images``.
    UnreadableImageError
        Where the file ``like`` is no image.

    See Also
    --------
    read_image : The way back, and what the arrays mean.

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
    if np.ma.is_masked(image):  # a plain array would show what the mask hides
        raise ValueError("image is a masked array that hides pixels. Fill them first: image.filled(value).")
    format_ = format_by_suffix(path)
    require_extra("write_image", "images")
    pixels = _writable(np.asarray(image), format_, path)
    _check_quality(quality)
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    metadata = Metadata() if like is None else _metadata_of(like).for_channels(channels)
    replace_file(check_target(path), [format_.encode(pixels, metadata, int(quality))])


def _check_quality(quality: Any) -> None:
    if isinstance(quality, bool) or not isinstance(quality, numbers.Integral):
        raise TypeError(f"quality must be an integer from 1 to 100, got {quality!r}.")
    if not 1 <= int(quality) <= 100:
        raise ValueError(f"quality must be 1 to 100, got {quality}.")


def _metadata_of(path: str | os.PathLike[str]) -> Metadata:
    with _opened(path) as (format_, stream):
        metadata = format_.read_header(stream).metadata
    exif = None if metadata.exif is None else Tags(metadata.exif).upright()
    return dataclasses.replace(metadata, exif=exif)


def _writable(image: NDArray[Any], format_: Format, path: str | os.PathLike[str]) -> NDArray[Any]:
    """Return the array as the format takes it."""
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
    return _checked_values(image, format_, path)


def _checked_values(image: NDArray[Any], format_: Format, path: str | os.PathLike[str]) -> NDArray[Any]:
    if image.dtype == bool:
        return image.astype(np.uint8) * np.uint8(255)
    if image.dtype == np.float16:
        image = image.astype(np.float32)
    image = np.ascontiguousarray(image, image.dtype.newbyteorder("="))
    if image.dtype.name not in format_.dtypes:
        raise ValueError(
            f"{path}: {format_.name} holds {' or '.join(format_.dtypes)}, got {image.dtype}; "
            f"{_advice(image)}."
        )
    if image.dtype.kind == "f" and not np.isfinite(image).all():
        raise ValueError(f"{path}: the image holds NaN or infinite values; replace them by numbers.")
    return image


def _advice(image: NDArray[Any]) -> str:
    if image.dtype.name == "uint16":
        return "write PNG or TIFF, or convert it, for example (image >> 8).astype(np.uint8)"
    if image.dtype.kind == "f":
        return (
            "write TIFF, or convert it, by PixelScaler.inverse_transform or, from [0, 1], by "
            "(255 * image).round().astype(np.uint8)"
        )
    return "convert it, for example by image.astype(np.uint16) where the values are in its range"
