"""Conversion between colour spaces, and EXIF orientation."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["apply_orientation", "cmyk_to_rgb", "lab_to_rgb", "to_gray", "to_rgb"]

# Weights 0.299, 0.587 and 0.114 of ITU-R 601 in parts of 65536, as in Pillow.
LUMINANCE = (19595, 38470, 7471)


def to_gray(image: NDArray[Any]) -> NDArray[Any]:
    """Convert an image to its luminance, in its own type; alpha is kept."""
    if image.ndim == 2 or image.shape[2] == 2:
        return image
    is_integer = image.dtype.kind in "iu"
    # Unsigned 32 bits hold the sum exactly; the shift of signed numbers rounds down, like that of unsigned
    # ones.
    dtype = np.dtype({"u": np.uint32, "i": np.int64}.get(image.dtype.kind, image.dtype))
    weights = np.array(LUMINANCE, dtype) if is_integer else np.array(LUMINANCE, dtype) / dtype.type(65536)
    gray = sum(image[..., channel] * weight for channel, weight in enumerate(weights))
    # Rounded division by 65536.
    if is_integer:
        gray = (gray + dtype.type(1 << 15)) >> dtype.type(16)
    luminance = np.asarray(gray, dtype=image.dtype)
    return luminance if image.shape[2] == 3 else np.dstack([luminance, image[..., 3]])


def to_rgb(image: NDArray[Any]) -> NDArray[Any]:
    """Convert gray to three equal channels; alpha is kept."""
    if image.ndim == 2:
        return np.repeat(image[..., None], 3, axis=2)
    return image if image.shape[2] >= 3 else image[..., [0, 0, 0, 1]]


def apply_orientation(image: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Rotate and mirror an image by its EXIF orientation, 1 to 8."""
    # Orientations from 5 on swap rows and columns.
    if orientation >= 5:
        image = image.swapaxes(0, 1)
    rows, columns = ((1, 1), (1, -1), (-1, -1), (-1, 1))[(orientation - 1) % 4]
    return image[::rows, ::columns]


def cmyk_to_rgb(image: Image, profile: bytes | None) -> Image:
    """Convert a CMYK image to sRGB by its profile, if valid, else by Pillow's rule."""
    from PIL import ImageCms

    if profile is None or profile[16:20] != b"CMYK":
        return image.convert("RGB")
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        return _to_srgb(image, source)
    except (OSError, ImageCms.PyCMSError):
        return image.convert("RGB")


def lab_to_rgb(image: Image) -> Image:
    """Convert a CIE L*a*b* image to sRGB."""
    from PIL import ImageCms

    return _to_srgb(image, ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")))


def _to_srgb(image: Image, source: Any) -> Image:
    from PIL import ImageCms

    srgb = ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, source, srgb, outputMode="RGB")
    if converted is None:
        raise OSError("the colours could not be converted")
    return converted
