"""Views of images: arrays for the screen, and the before / after slider."""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sk_denoise._intensity import IntensityRange, robust_extrema, without_alpha

__all__ = [
    "DisplayRange",
    "amplify_residual",
    "compute_display_range",
    "compute_residual",
    "convert_for_file",
    "crop_square",
    "encode_data_uri",
    "shrink_to_screen",
    "show_before_after",
    "show_single_image",
    "to_display",
]

# Black and white of the screen, in the unit of the image
DisplayRange = tuple[float, float]
Bytes = NDArray[np.uint8]

MAX_DISPLAY_SIDE = 1600
# Small images are sent as PNG, which keeps every pixel of an enlarged part. Larger ones are sent as JPEG.
MAX_PNG_PIXELS = 2**18
ROWS_PER_BAND = 256

SLIDER_HTML = """
<div class="compare">
  <img class="after" draggable="false">
  <img class="before" draggable="false">
  <span class="name left"></span><span class="name right"></span>
  <div class="line"></div>
  <input type="range" min="0" max="100" step="0.5" value="50">
</div>
"""

SLIDER_CSS = """
.compare {
  --at: 50%; --ratio: 1; --shape: clamp(0.25, var(--ratio), 10);  /* very thin images are widened */
  position: relative; width: min(100%, 85vh * var(--shape)); aspect-ratio: var(--shape); margin: 0 auto;
  line-height: 0; border-radius: 0.5rem; overflow: hidden;
}
.compare img { display: block; width: 100%; height: 100%; user-select: none; }
.compare.single :not(.after) { display: none; }
.compare img.before {
  position: absolute; inset: 0; clip-path: inset(0 calc(100% - var(--at)) 0 0);
}
.compare.pixels img { image-rendering: pixelated; }
.compare .line {
  position: absolute; top: 0; bottom: 0; left: var(--at); width: 0; pointer-events: none;
  border-left: 2px solid white; box-shadow: 0 0 3px black;
}
.compare .line::after {
  content: "\\2194"; position: absolute; top: 50%; left: -1px; transform: translate(-50%, -50%);
  width: 2rem; height: 2rem; line-height: 2rem; border-radius: 50%; text-align: center;
  font-size: 1.2rem; background: white; color: #222; box-shadow: 0 0 4px rgba(0, 0, 0, 0.6);
}
.compare .name {
  position: absolute; bottom: 0.5rem; padding: 0.15rem 0.5rem; border-radius: 0.3rem; line-height: 1.3;
  font-family: var(--st-font); font-size: 0.85rem; background: rgba(0, 0, 0, 0.6); color: white;
}
.compare .left { left: 0.5rem; }
.compare .right { right: 0.5rem; }
.compare input {
  position: absolute; inset: 0; width: 100%; height: 100%; margin: 0; opacity: 0;
  cursor: ew-resize; touch-action: pan-y pinch-zoom;
}
.compare:focus-within { outline: 3px solid var(--st-primary-color); outline-offset: 2px; }
"""

SLIDER_JS = """
export default function ({ data, parentElement }) {
  const root = parentElement.querySelector(".compare");
  const handle = root.querySelector("input");
  const move = () => root.style.setProperty("--at", handle.value + "%");
  for (const [side, name] of [["before", data.names[0]], ["after", data.names.at(-1)]]) {
    const image = root.querySelector("img." + side);
    if (data[side] && image.src !== data[side]) image.src = data[side];
    image.alt = name;
  }
  const after = root.querySelector("img.after");
  after.onload = () => root.style.setProperty("--ratio", after.naturalWidth / after.naturalHeight);
  root.querySelector(".left").textContent = data.names[0];
  root.querySelector(".right").textContent = data.names.at(-1);
  root.classList.toggle("pixels", data.pixels);
  root.classList.toggle("single", !data.before);
  handle.setAttribute("aria-label", data.names.join(" and "));
  handle.addEventListener("input", move);
  move();
  return () => handle.removeEventListener("input", move);
}
"""


def compute_display_range(image: NDArray[Any]) -> DisplayRange:
    """Return the intensities that a screen shows as black and white.

    The range of 8-bit images is that of their type. Deeper images often use a small part of their range, so
    they are shown from their darkest to their brightest pixel, apart from a thousandth at either end.
    """
    if image.dtype == np.uint8:
        return 0.0, 255.0
    low, high = robust_extrema(without_alpha(image))
    return (low, high) if high > low else (low, low + 1)


def to_display(image: NDArray[Any], display_range: DisplayRange) -> Bytes:
    """Convert an image to 8 bits, without alpha."""
    colors = _drop_alpha(image)
    if colors.dtype == np.uint8 and display_range == (0.0, 255.0):
        return np.ascontiguousarray(colors)
    low, high = display_range
    converted = np.empty(colors.shape, np.uint8)
    # Bands keep the memory for floats independent of the size of the image.
    for top in range(0, len(colors), ROWS_PER_BAND):
        rows = slice(top, top + ROWS_PER_BAND)
        unit = (colors[rows].astype(np.float32) - low) / (high - low)
        # Pixels without a value are black.
        converted[rows] = np.rint(255 * np.nan_to_num(unit).clip(0, 1))
    return converted


def shrink_to_screen(image: Bytes, max_side: int = MAX_DISPLAY_SIDE) -> Bytes:
    """Shrink an image to the size of a screen by averaging blocks of pixels."""
    factor = -(-max(image.shape[:2]) // max_side)
    return image if factor == 1 else np.asarray(Image.fromarray(image).reduce(factor))


def convert_for_file(image: NDArray[Any], file_range: IntensityRange | None) -> NDArray[Any]:
    """Convert floats and signed integers to unsigned integers of 16 bits."""
    if file_range is None:
        return image
    dtype = np.dtype(np.uint16)
    # Integers have no NaN.
    return IntensityRange.of_type(dtype).from_unit(np.nan_to_num(file_range.to_unit(image)), dtype)


def crop_square(image: NDArray[Any], across: float, down: float, side: int) -> NDArray[Any]:
    """Crop a square from an image, or less near its borders.

    Parameters
    ----------
    image : ndarray of shape (height, width[, channels])
        The image.
    across, down : float
        Centre of the square, as fractions of width and height.
    side : int
        Side of the square in pixels.
    """
    slices = []
    for length, fraction in zip(image.shape[:2], (down, across), strict=True):
        start = round(fraction * length - side / 2)
        start = max(0, min(start, length - side))
        slices.append(slice(start, start + side))
    return np.array(image[tuple(slices)])


def compute_residual(
    before: NDArray[Any], after: NDArray[Any], display_range: DisplayRange, max_side: int = MAX_DISPLAY_SIDE
) -> NDArray[np.float16]:
    """Return the removed noise at screen size, as a fraction of the display range."""
    low, high = display_range
    # Single pixels are picked, because block means would hide the noise.
    step = -(-max(before.shape[:2]) // max_side)
    first, second = (_drop_alpha(x)[::step, ::step].astype(np.float32) for x in (before, after))
    # Pixels without a value have no residual.
    residual: NDArray[np.float16] = np.nan_to_num((first - second) / (high - low)).astype(np.float16)
    return residual


def amplify_residual(residual: NDArray[Any], gain: float) -> Bytes:
    """Convert a residual to 8 bits, multiplied by ``gain``; zero becomes middle gray."""
    gray: Bytes = np.rint(255 * (0.5 + gain * residual.astype(np.float32)).clip(0, 1)).astype(np.uint8)
    return gray


def encode_data_uri(image: Bytes) -> str:
    """Encode an image as a ``data:`` URI, a small one as PNG and a large one as JPEG."""
    stream = BytesIO()
    is_small = image.shape[0] * image.shape[1] <= MAX_PNG_PIXELS
    if is_small:
        Image.fromarray(image).save(stream, "PNG")
    else:
        # Without subsampling, the colours of fine noise survive.
        Image.fromarray(image).save(stream, "JPEG", quality=92, subsampling=0)
    return f"data:image/{'png' if is_small else 'jpeg'};base64,{b64encode(stream.getvalue()).decode()}"


def show_before_after(before: str, after: str, *, names: tuple[str, str], pixelated: bool, key: str) -> None:
    """Show two images of the same size over each other, with a movable divider.

    Parameters
    ----------
    before, after : str
        URLs of the images, which may be ``data:`` URIs.
    names : pair of str
        Labels of the images.
    pixelated : bool
        Whether enlarged pixels keep sharp edges.
    key : str
        Key of the Streamlit element.
    """
    _slider()(data={"before": before, "after": after, "names": names, "pixels": pixelated}, key=key)


def show_single_image(image: str, *, name: str, pixelated: bool, key: str) -> None:
    """Show one image; its name is the alternative text for screen readers."""
    _slider()(data={"after": image, "names": [name], "pixels": pixelated}, key=key)


@cache
def _slider() -> Any:
    # The service and its tests use this module without Streamlit.
    import streamlit as st

    return st.components.v2.component("sk_denoise_compare", html=SLIDER_HTML, css=SLIDER_CSS, js=SLIDER_JS)


def _drop_alpha(image: NDArray[Any]) -> NDArray[Any]:
    """Return a view of an image without alpha, and without a single gray channel."""
    colors = without_alpha(image)
    return colors[..., 0] if colors.shape[2:] == (1,) else colors
