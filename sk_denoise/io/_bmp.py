"""BMP files, read and written by Pillow."""

from __future__ import annotations

from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from sk_denoise.io._header import DAMAGED, Header, Metadata, UnreadableError

__all__ = ["decode", "encode", "read_header"]

# Bytes of headers, palettes, and data behind the pixels.
FREE_BYTES = 2**16


def read_header(stream: BinaryIO) -> Header:
    """Read size and resolution."""
    from PIL.BmpImagePlugin import BmpImageFile

    stream.seek(0)
    image = BmpImageFile(stream)
    # A valid run length has a pixel at least, in 2 bytes, and each row ends. Empty ones would take minutes.
    is_packed = any(tile[0] == "bmp_rle" for tile in image.tile)
    if is_packed and stream.seek(0, 2) > 2 * (image.height + 1) * (image.width + 2) + FREE_BYTES:
        raise UnreadableError(DAMAGED)
    return Header(image.height, image.width, metadata=Metadata(dpi=image.info.get("dpi")))


def decode(stream: BinaryIO) -> NDArray[Any]:
    """Decode the pixels; a palette of grays becomes gray, any other one RGB."""
    from PIL.BmpImagePlugin import BmpImageFile

    stream.seek(0)
    # Image.open would apply its own limit of pixels, and warn.
    image = BmpImageFile(stream)
    return np.array(image.convert({"1": "L", "P": "RGB"}.get(image.mode, image.mode)))


def encode(image: NDArray[Any], metadata: Metadata, quality: int) -> bytes:
    """Encode an image; ``quality`` has no effect."""
    from PIL import Image

    stream = BytesIO()
    options = {} if metadata.dpi is None else {"dpi": metadata.dpi}
    Image.fromarray(image).save(stream, "BMP", **options)
    return stream.getvalue()
