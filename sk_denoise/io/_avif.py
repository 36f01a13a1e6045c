"""AVIF files, read by libavif (imagecodecs); Pillow reads their metadata."""

from __future__ import annotations

from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from sk_denoise.io._exif import ExifTags
from sk_denoise.io._header import Header, Metadata, UnreadableError

__all__ = ["decode", "read_header"]


def read_header(stream: BinaryIO) -> Header:
    """Read size, orientation, number of frames and metadata."""
    from PIL import features

    # Pillow has AVIF from version 11.3 on, if it was built with it.
    if not features.check("avif"):
        raise UnreadableError("AVIF needs Pillow 11.3 or newer: pip install --upgrade pillow")
    from PIL.AvifImagePlugin import AvifImageFile

    stream.seek(0)
    # Pillow closes the file, which the caller still reads.
    with AvifImageFile(BytesIO(stream.read())) as image:
        exif = image.info.get("exif")
        tags = ExifTags((exif or b"").removeprefix(b"Exif\0\0"))
        metadata = Metadata(image.info.get("icc_profile"), tags.blob or None, tags.dpi)
        return Header(
            image.height, image.width, tags.orientation, int(getattr(image, "n_frames", 1)), metadata
        )


def decode(stream: BinaryIO) -> NDArray[Any]:
    """Decode the pixels to gray or RGB of 8 to 12 bits, with alpha if it has one."""
    import imagecodecs

    stream.seek(0)
    pixels: NDArray[Any] = imagecodecs.avif_decode(stream.read())
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    return np.array(pixels)
