"""Pictures as files hold them: read within limits, and which of their numbers are black and white."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["SSIM_NEEDS", "Scale", "check_size", "keeps_numbers", "read_picture"]

SSIM_NEEDS = 3  # pixels on each side
LOWEST, HIGHEST = -0.5, 1.5  # as far as noise takes floats from black (0) and white (1)


def read_picture(path: Path, max_pixels: int, **how: Any) -> NDArray[Any]:
    """Return a picture; one that is too large is refused before it is decoded.

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


def check_size(picture: NDArray[Any], least: int, who: str) -> None:
    """Refuse a picture that is smaller than somebody needs.

    Raises
    ------
    ValueError
        The message goes behind its name.
    """
    if min(picture.shape[:2]) < least:
        raise ValueError(f"it is smaller than the {least} x {least} pixels that {who} needs")


@dataclass(frozen=True)
class Scale:
    """The numbers that are black and white.

    Attributes
    ----------
    black, white : float
        0 and the largest of an integer type; 0 and 1 for floats, unless they reach far beyond.
    remark : str
        Where they do: what is taken for black and white.
    """

    black: float
    white: float
    remark: str = ""

    @classmethod
    def of(cls, picture: NDArray[Any]) -> Scale:
        """Return the scale of a picture as a file has it."""
        import numpy as np

        if picture.dtype.kind == "u":
            return cls(0, float(np.iinfo(picture.dtype).max))
        colors = _colors(picture)
        low, high = min(0.0, float(colors.min())), float(colors.max())
        if not np.isfinite(low + high) or (low >= LOWEST and high <= HIGHEST) or high <= low:
            return cls(0, 1)
        return cls(low, high, f"its numbers reach from {low:g} to {high:g}, taken as black and white")

    @property
    def span(self) -> float:
        """From black to white."""
        return self.white - self.black

    def shares(self, picture: NDArray[Any]) -> NDArray[Any]:
        """Return a picture in floats, from black (0) to white (1); transparency stays."""
        import numpy as np

        shares = picture.astype(np.float32 if picture.dtype.kind == "u" else picture.dtype)
        colors = _colors(shares)
        colors -= np.asarray(self.black, colors.dtype)
        colors /= np.asarray(self.span, colors.dtype)
        return shares

    def numbers(self, shares: NDArray[Any]) -> NDArray[Any]:
        """Return floats from black (0) to white (1) in the numbers of the file, not rounded."""
        import numpy as np

        picture = shares.copy()
        colors = _colors(picture)
        colors *= np.asarray(self.span, colors.dtype)
        colors += np.asarray(self.black, colors.dtype)
        return picture


def keeps_numbers(model: Any) -> bool:
    """Whether a model learned from numbers beyond [0, 1], and takes those of pictures as they are."""
    return getattr(model, "white_", 1) is None


def _colors(picture: NDArray[Any]) -> NDArray[Any]:
    """Return a view of a picture without transparency, the last of 2 or 4 channels."""
    has_alpha = picture.ndim == 3 and picture.shape[2] in (2, 4)
    return picture[..., :-1] if has_alpha else picture
