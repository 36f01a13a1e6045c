"""Arrays of planes in a file, which are read one at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["PlaneSeries"]


@dataclass(frozen=True)
class PlaneSeries:
    """Planes of one shape and type in a file.

    Attributes
    ----------
    axes : str
        One letter for each axis; the last ones are those of a plane: YX, YXS or YXC.
    shape : tuple of int
        Size of each axis.
    dtype : dtype
        Type of the planes.
    read : callable
        Function from the index of a plane to its array.
    missing : frozenset of int
        Indexes of the planes that the file lacks.
    pixel_size : tuple of (float, str) or None
        Width and height of a pixel, and their unit, for files of another format.
    spacing : float or None
        Distance of planes along Z in the same unit.
    template : object
        Description of the stored pages, for a writer of the same format.
    notes : tuple of str
        Properties of the file that a user should know of.
    """

    axes: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    read: Callable[[int], NDArray[Any]]
    missing: frozenset[int] = frozenset()
    pixel_size: tuple[float, float, str] | None = None
    spacing: float | None = None
    template: Any = field(default=None, repr=False)
    notes: tuple[str, ...] = ()

    @property
    def plane_ndim(self) -> int:
        """Number of axes of a plane, 2 or 3."""
        return 2 if self.axes.endswith("YX") else 3

    @property
    def plane_shape(self) -> tuple[int, ...]:
        """Shape of a plane."""
        return self.shape[-self.plane_ndim :]

    @property
    def leading_shape(self) -> tuple[int, ...]:
        """Sizes of the axes before those of a plane."""
        return self.shape[: -self.plane_ndim]

    @property
    def n_bytes(self) -> int:
        """Number of bytes of all planes."""
        return self.n_planes * int(np.prod(self.plane_shape)) * self.dtype.itemsize

    @property
    def n_planes(self) -> int:
        """Number of planes."""
        return int(np.prod(self.leading_shape, dtype=np.int64))
