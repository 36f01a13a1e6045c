"""How numbers of deep pictures are brought to where networks work, black at 0 and white at 1, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_denoise import ImageDenoiser
from sk_denoise.app._views import Range, ends

__all__ = ["Scale"]

# Networks in the box change any picture by about half a grey level of 255, which harms one whose noise is
# less: 12 bits in a file of 16, where all that there is lies in the darkest sixteenth.
FAINT = 0.25  # the share of the range from black to white that is spread, where a picture uses no more
BEYOND = 0.5  # how far numbers reach beyond black and white where noise alone makes them


@dataclass(frozen=True)
class Scale:
    """What is taken as black and white, in the numbers of the picture.

    Attributes
    ----------
    dtype : str
        The type of the picture that came.
    low, high : float
        Black and white.
    extent : tuple (low, high)
        What is black and white in a file of integers, as shares of what is from black to white.
    notes : tuple of str
        What the user should know; empty where numbers stay as they are.
    """

    dtype: str
    low: float = 0.0
    high: float = 1.0
    extent: Range = (0.0, 1.0)
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, picture: NDArray[Any], model: ImageDenoiser | None) -> Scale:
        """Return the scale of a picture; a model of the user takes the numbers that it learned from."""
        dtype = picture.dtype
        as_it_is = cls(dtype.name)
        if dtype == np.uint8 or (model is not None and (dtype.kind == "u" or model.white_ is None)):
            return as_it_is
        least, most = float(picture.min()), float(picture.max())
        if dtype.kind == "u":
            white, thinnest = float(np.iinfo(dtype).max), 1.0
        else:
            white, thinnest = 1.0, float(np.finfo(dtype).tiny)
        told = f"Its numbers reach from {least:g} to {most:g}"
        if dtype.kind == "f" and most - least > float(np.finfo(dtype).max) / 4:
            raise ValueError(f"{told}, too far for the arithmetic of networks. Scale them to [0, 1] first.")
        low, high = ends(picture)
        if high <= low:
            low, high = least, most
        width = high - low
        is_beyond = dtype.kind == "f" and (least < -BEYOND or most > 1 + BEYOND)
        is_faint = model is None and width < FAINT * white
        if not (is_beyond or is_faint) or not width >= thinnest:
            return as_it_is
        words = f"{told}; {low:g} was taken as black, and {high:g} as white."
        return cls(dtype.name, low, high, ((least - low) / width, (most - low) / width), (words,))

    def into_unit(self, picture: NDArray[Any]) -> NDArray[Any]:
        """Return a picture with black at 0 and white at 1; integers as they are where nothing is to do."""
        if not self.notes:
            return picture
        unit = picture.astype(picture.dtype if picture.dtype.kind == "f" else np.float32)
        unit -= self.low
        unit /= self.high - self.low
        return unit

    def for_file(self, picture: NDArray[Any], *, floats: bool) -> NDArray[Any]:
        """Return a picture in the numbers that came; as 16 bits where they are floats and a file has none."""
        dtype = np.dtype(self.dtype)
        if dtype.kind == "f" and not floats:
            low, high = self.extent
            share = ((picture - low) / (high - low)).clip(0, 1)
            return np.asarray(np.rint(65535 * share).astype(np.uint16))
        if not self.notes:
            return picture
        numbers = picture * (self.high - self.low) + self.low
        if dtype.kind == "u":
            numbers = np.rint(numbers).clip(0, np.iinfo(dtype).max)
        return numbers.astype(dtype)
