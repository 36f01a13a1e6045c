"""BMP through Pillow."""

from __future__ import annotations

from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from sk_denoise.io._header import Header, Metadata

__all__ = ["decode", "encode", "read_header"]


def read_header(stream: BinaryIO) -> Header:
    """Return size and resolution."""
    from PIL.BmpImagePlugin import BmpImageFile

    stream.seek(0)
    image = BmpImageFile(stream)
    return Header(image.height, image.width, metadata=Metadata(dpi=image.info.get("dpi")))


def decode(stream: BinaryIO) -> NDArray[Any]:
    """Return the pixels; a palette of grays is gray, another is colour."""
    from PIL.BmpImagePlugin import BmpImageFile

    stream.seek(0)
    image = BmpImageFile(stream)  # not Image.open, which has a limit of its own and warns
    return np.array(image.convert({"1": "L", "P": "RGB"}.get(image.mode, image.mode)))


def encode(image: NDArray[Any], metadata: Metadata, quality: int) -> bytes:
    """Return the file's bytes; ``quality`` is not used."""
    from PIL import Image

    stream = BytesIO()
    options = {} if metadata.dpi is None else {"dpi": metadata.dpi}
    Image.fromarray(image).save(stream, "BMP", **options)
    return stream.getvalue()
