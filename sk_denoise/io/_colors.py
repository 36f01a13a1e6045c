"""From one kind of colour to another, and an image turned upright."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["cmyk_to_rgb", "lab_to_rgb", "to_gray", "to_rgb", "upright"]

# ITU-R 601's 0.299, 0.587 and 0.114 in parts of 65536, as Pillow has them
LUMINANCE = (19595, 38470, 7471)


def to_gray(image: NDArray[Any]) -> NDArray[Any]:
    """Return the luminance in the image's own type, beside the alpha channel where there is one."""
    if image.ndim == 2 or image.shape[2] == 2:
        return image
    whole = image.dtype.kind == "u"
    kind = np.dtype(np.uint32) if whole else image.dtype
    weights = np.array(LUMINANCE, kind) if whole else np.array(LUMINANCE, kind) / kind.type(65536)
    gray = sum(image[..., channel] * weight for channel, weight in enumerate(weights))
    if whole:
        gray = (gray + np.uint32(1 << 15)) >> np.uint32(16)
    luminance = np.asarray(gray, dtype=image.dtype)
    return luminance if image.shape[2] == 3 else np.dstack([luminance, image[..., 3]])


def to_rgb(image: NDArray[Any]) -> NDArray[Any]:
    """Return three equal channels for gray, beside the alpha channel where there is one."""
    if image.ndim == 2:
        return np.repeat(image[..., None], 3, axis=2)
    return image if image.shape[2] >= 3 else image[..., [0, 0, 0, 1]]


def upright(image: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Return the image as it is seen; the orientation is EXIF's, 1 to 8."""
    if orientation >= 5:
        image = image.swapaxes(0, 1)
    rows, columns = ((1, 1), (1, -1), (-1, -1), (-1, 1))[(orientation - 1) % 4]
    return image[::rows, ::columns]


def cmyk_to_rgb(image: Image, profile: bytes | None) -> Image:
    """Return a CMYK image in sRGB by its profile, or by Pillow's rule where none is there that works."""
    from PIL import ImageCms

    if profile is None or profile[16:20] != b"CMYK":
        return image.convert("RGB")
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        return _to_srgb(image, source)
    except (OSError, ImageCms.PyCMSError):
        return image.convert("RGB")


def lab_to_rgb(image: Image) -> Image:
    """Return an image in CIE L*a*b* in sRGB."""
    from PIL import ImageCms

    return _to_srgb(image, ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")))


def _to_srgb(image: Image, source: Any) -> Image:
    from PIL import ImageCms

    target = ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
    if converted is None:
        raise OSError("the colours could not be converted")
    return converted
