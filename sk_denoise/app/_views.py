"""Images as a screen shows them: bytes for colours, of a moderate size."""

from __future__ import annotations

from base64 import b64encode
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sk_denoise._intensity import ends_of, without_alpha

__all__ = [
    "Range",
    "as_gray",
    "crop",
    "data_uri",
    "on_screen",
    "screen_range",
    "shrunk",
    "taken_away",
]

Range = tuple[float, float]  # what is black and what is white on the screen
Bytes = NDArray[np.uint8]

SIDE = 1600  # pixels that a screen shows of the longer side
SMALL = 2**18  # pixels up to which images go to the screen without a loss
ROWS_AT_ONCE = 256


def screen_range(image: NDArray[Any]) -> Range:
    """Return what is to be black and white on the screen.

    Images of 8 bits are shown as they are. Deeper ones often use a small part of their range: they are
    shown from the darkest to the brightest, but for a thousandth at each end.
    """
    if image.dtype == np.uint8:
        return 0.0, 255.0
    low, high = ends_of(without_alpha(image))
    return (low, high) if high > low else (low, low + 1)


def on_screen(image: NDArray[Any], shown: Range) -> Bytes:
    """Return an image in bytes, without alpha."""
    colors = _colors(image)
    if colors.dtype == np.uint8 and shown == (0.0, 255.0):
        return np.ascontiguousarray(colors)
    low, high = shown
    answer = np.empty(colors.shape, np.uint8)
    for top in range(0, len(colors), ROWS_AT_ONCE):
        rows = slice(top, top + ROWS_AT_ONCE)
        share = (colors[rows].astype(np.float32) - low) / (high - low)
        answer[rows] = np.rint(255 * share.clip(0, 1))
    return answer


def shrunk(image: Bytes, side: int = SIDE) -> Bytes:
    """Return an image no longer than a screen, whose pixels are means over blocks."""
    factor = -(-max(image.shape[:2]) // side)
    return image if factor == 1 else np.asarray(Image.fromarray(image).reduce(factor))


def crop(image: NDArray[Any], across: float, down: float, side: int) -> NDArray[Any]:
    """Return a square part of an image, or as much as there is, by the place of its centre in [0, 1]."""
    places = []
    for length, share in zip(image.shape[:2], (down, across), strict=True):
        start = round(share * length - side / 2)
        start = max(0, min(start, length - side))
        places.append(slice(start, start + side))
    return np.array(image[tuple(places)])


def taken_away(
    before: NDArray[Any], after: NDArray[Any], shown: Range, side: int = SIDE
) -> NDArray[np.float16]:
    """Return what was taken away, as a share of what the screen shows.

    It is that of single pixels: means would hide noise.
    """
    low, high = shown
    step = -(-max(before.shape[:2]) // side)
    first, second = (_colors(x)[::step, ::step].astype(np.float32) for x in (before, after))
    return ((first - second) / (high - low)).astype(np.float16)


def as_gray(taken: NDArray[Any], gain: float) -> Bytes:
    """Return what was taken away, ``gain`` times as strong: gray is nothing, bright what was bright."""
    gray: Bytes = np.rint(255 * (0.5 + gain * taken.astype(np.float32)).clip(0, 1)).astype(np.uint8)
    return gray


def data_uri(image: Bytes) -> str:
    """Return an image as an address that holds it: PNG where it is small, else JPEG."""
    stream = BytesIO()
    small = image.shape[0] * image.shape[1] <= SMALL
    if small:
        Image.fromarray(image).save(stream, "PNG")
    else:
        Image.fromarray(image).save(stream, "JPEG", quality=92, subsampling=0)
    return f"data:image/{'png' if small else 'jpeg'};base64,{b64encode(stream.getvalue()).decode()}"


def _colors(image: NDArray[Any]) -> NDArray[Any]:
    """Return a view of an image without alpha, gray ones as (height, width)."""
    colors = without_alpha(image)
    return colors[..., 0] if colors.shape[2:] == (1,) else colors
