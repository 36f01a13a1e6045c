"""Images as files hold them: read within limits, and their black and white in words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sk_denoise._intensity import IntensityRange

__all__ = ["SSIM_NEEDS", "check_size", "keeps_numbers", "range_of", "read_image"]

SSIM_NEEDS = 3  # pixels on each side


def read_image(path: Path, max_pixels: int, **how: Any) -> NDArray[Any]:
    """Return an image; one that is too large is refused before it is decoded.

    Raises
    ------
    OSError, ValueError
        Where it cannot be read; the message goes behind its name.
    """
    from sk_denoise.io import image_size, read_image

    height, width = image_size(path)
    if height * width > max_pixels:
        raise ValueError(f"it has {width} x {height} pixels, more than --max-pixels {max_pixels}")
    return read_image(path, max_pixels=max_pixels, **how)


def check_size(image: NDArray[Any], least: int, who: str) -> None:
    """Refuse an image that is smaller than somebody needs.

    Raises
    ------
    ValueError
        The message goes behind its name.
    """
    if min(image.shape[:2]) < least:
        raise ValueError(f"it is smaller than the {least} x {least} pixels that {who} needs")


def range_of(image: NDArray[Any]) -> tuple[IntensityRange, str]:
    """Return the range from black to white of an image, and a remark where its type does not tell it."""
    from sk_denoise._intensity import IntensityRange, without_alpha

    counted = IntensityRange.of(without_alpha(image))
    if counted == IntensityRange.of_type(image.dtype):
        return counted, ""
    return counted, f"{counted.black:g} is taken as black and {counted.white:g} as white"


def keeps_numbers(model: Any) -> bool:
    """Return whether a model learned from numbers that have no known black and white."""
    return getattr(model, "intensity_range_", model) is None
