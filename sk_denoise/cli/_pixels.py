"""Which numbers of a picture are black and white."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["as_shares", "white_of"]


def white_of(picture: NDArray[Any]) -> float:
    """Return the number that is white: the largest of an integer type, 1 for floats."""
    import numpy as np

    return float(np.iinfo(picture.dtype).max) if picture.dtype.kind == "u" else 1.0


def as_shares(picture: NDArray[Any]) -> NDArray[Any]:
    """Return a picture in floats, from black (0) to white (1)."""
    import numpy as np

    return picture.astype(np.float32) / np.float32(white_of(picture))
