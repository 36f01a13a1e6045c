"""What displays share: pictures out of samples, one scale for all, and how they are drawn."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

__all__ = [
    "TEXT_HEIGHT",
    "as_pictures",
    "as_samples",
    "check_limits",
    "draw_picture",
    "extremes_of",
    "require_pyplot",
    "suitable_width",
    "text_width",
    "wrapped",
]

SMALLEST, LARGEST, PIXELS_PER_INCH = 0.95, 2.0, 64  # of a picture, in inches; between them by its pixels
WIDEST = 14.0  # inches, of all pictures side by side
LETTER_WIDTH, LONGEST_LINE = 0.095, 16  # of a title: inches, letters
TEXT_HEIGHT = 0.23  # inches: a line of text under or over a row
FRAME = "0.8"


def require_pyplot(caller: str) -> Any:
    """Return matplotlib.pyplot, or say how to get it."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f"{caller} needs matplotlib. Install it with: pip install sk-denoise[plots]"
        ) from error
    return plt


def draw_picture(ax: Axes, picture: NDArray[Any], limits: tuple[float, float], cmap: Any) -> AxesImage:
    """Draw a picture on axes without ticks, with black and white at the limits."""
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_color(FRAME)
    low, high = limits
    if picture.ndim == 3:  # matplotlib scales greys alone
        picture = np.clip((picture.astype(np.float64) - low) / (high - low), 0, 1)
    return ax.imshow(picture, cmap=cmap, vmin=low, vmax=high)


def wrapped(label: object) -> str:
    """Return a label as text, in lines that are not much longer than pictures are wide."""
    lines = str(label).split("\n")
    return "\n".join(textwrap.fill(line, LONGEST_LINE, break_long_words=False) for line in lines)


def text_width(texts: Iterable[str]) -> float:
    """Return how many inches the longest line of these texts takes."""
    return LETTER_WIDTH * max((len(line) for text in texts for line in text.split("\n")), default=0)


def suitable_width(pixels: int, n_columns: float, titles: Iterable[str]) -> float:
    """Return how many inches wide a picture is well drawn, beside others and under a title."""
    largest = max(SMALLEST, min(LARGEST, WIDEST / n_columns))
    return max(SMALLEST, min(largest, pixels / PIXELS_PER_INCH), text_width(titles))


def as_samples(samples: ArrayLike, name: str) -> NDArray[Any]:
    """Return samples as an array (n_samples, ...) of finite numbers."""
    checked = check_array(samples, dtype="numeric", allow_nd=True, ensure_2d=False, input_name=name)
    array = np.asarray(checked)
    if array.ndim < 2:
        raise ValueError(
            f"{name} has shape {array.shape}, expected (n_samples, ...). A single sample needs a first axis: "
            "x[None]."
        )
    return array


def as_pictures(samples: ArrayLike, image_shape: Sequence[int] | None, name: str) -> NDArray[Any]:
    """Return samples as (n_samples, height, width) or (n_samples, height, width, 3)."""
    array = as_samples(samples, name)
    shape = array.shape[1:] if image_shape is None else tuple(image_shape)
    if len(shape) == 1:
        raise ValueError(
            f"{name} holds flat rows of {shape[0]} values. Give image_shape=(height, width) or "
            "(height, width, channels)."
        )
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in (1, 3)):
        raise ValueError(
            f"{name} holds samples of shape {shape}; pictures are (height, width), (height, width, 1) or "
            "(height, width, 3)."
        )
    if math.prod(shape) != math.prod(array.shape[1:]):
        raise ValueError(f"image_shape={shape} does not fit {name}, whose samples have {array.shape[1:]}.")
    return array.reshape(len(array), *(shape[:2] if shape[2:] == (1,) else shape))


def extremes_of(clean: NDArray[Any]) -> tuple[float, float]:
    """Return the smallest and the largest value, a little apart where they are one."""
    low, high = float(clean.min()), float(clean.max())
    return (low, high) if low < high else (low, low + 1.0)


def check_limits(limits: tuple[float, float]) -> tuple[float, float]:
    low, high = limits
    if not low < high:
        raise ValueError(f"limits must be a pair (low, high) with low < high, got {limits!r}.")
    return low, high
