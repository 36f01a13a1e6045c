"""Moments of data in one pass over chunks, and the invertible scaling that estimators make of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

__all__ = [
    "AffineScaler",
    "Moments",
    "iterate_chunks",
    "compute_joint_moments",
    "compute_moments",
    "subsample",
]

_ENTRIES_AT_A_GLANCE = 2**22
_CHUNK_ENTRIES = 2**20  # entries of one chunk: 8 MB in double precision


@dataclass(frozen=True)
class Moments:
    """Mean, standard deviation and range over the reduced axes, in double precision.

    Attributes
    ----------
    mean, std, low, high : Tensor
        Statistics, all of the shape of one feature or channel.
    """

    mean: Tensor
    std: Tensor
    low: Tensor
    high: Tensor

    @property
    def is_constant(self) -> Tensor:
        """Where all values are the same."""
        return self.low == self.high


def iterate_chunks(x: Tensor) -> Iterator[Tensor]:
    """Yield consecutive rows of x in pieces that are small beside a processor's memory.

    No row is left alone where there are others: some noise takes values from other rows.
    """
    rows = max(2, _CHUNK_ENTRIES // max(1, x[:1].numel()))
    whole = max(1, (len(x) + rows - 2) // rows)
    yield from x.split([rows] * (whole - 1) + [len(x) - rows * (whole - 1)])


def subsample(x: Tensor) -> Tensor:
    """Return rows from all over x, few enough to tell its spread at a glance."""
    return x[:: max(1, x.numel() // _ENTRIES_AT_A_GLANCE)]


def compute_moments(chunks: Iterable[Tensor], dims: tuple[int, ...] = (0,)) -> Moments:
    """Return the moments of chunks of rows, reduced over ``dims``."""
    return compute_joint_moments(((chunk,) for chunk in chunks), dims)[0][0]


def compute_joint_moments(
    chunks: Iterable[tuple[Tensor, ...]], dims: tuple[int, ...] = (0,)
) -> tuple[list[Moments], Tensor]:
    """Return the moments of each side of chunks of pairs, and the covariance of the sides.

    Sums run over distances from the mean of the first chunk, in the precision of the data, and chunks are
    merged in double precision by the pairwise update of Chan, Golub and LeVeque (1983): no digits are lost
    on data far from zero.

    Parameters
    ----------
    chunks : iterable of tuple of Tensor
        Chunks of rows; each tuple holds the same rows of every side.
    dims : tuple of int, default=(0,)
        The axes that are reduced: the first, and others that are kept with length one.

    Returns
    -------
    list of Moments
        One for each side.
    Tensor of shape (n_sides, n_sides, ...)
        Covariances, for each feature or channel.
    """
    count = 0
    mean = product = low = high = torch.empty(0)
    origins: list[Tensor] = []
    for chunk in chunks:
        if not origins:
            origins = [side.mean(dims, keepdim=True, dtype=torch.float64).to(side) for side in chunk]
        centred = [side - origin for side, origin in zip(chunk, origins, strict=True)]
        shifts = [side.mean(dims, keepdim=True) for side in centred]
        centred = [side.sub_(shift) for side, shift in zip(centred, shifts, strict=True)]
        part = _products(centred, dims)
        part_mean = _stacked(origin.double() + shift for origin, shift in zip(origins, shifts, strict=True))
        part_low = _stacked(side.amin(dims, keepdim=True) for side in chunk)
        part_high = _stacked(side.amax(dims, keepdim=True) for side in chunk)
        n = chunk[0].numel() // part_mean[0].numel()
        if count == 0:
            mean, product, low, high = part_mean, part, part_low, part_high
        else:
            delta = part_mean - mean
            mean = mean + delta * (n / (count + n))
            product = product + part + delta[:, None] * delta[None] * (count * n / (count + n))
            low, high = torch.minimum(low, part_low), torch.maximum(high, part_high)
        count += n
    covariance = (product / count).squeeze(2)
    statistics = [
        Moments(mean[i, 0], covariance[i, i].sqrt(), low[i, 0], high[i, 0]) for i in range(len(mean))
    ]
    return statistics, covariance


def _stacked(parts: Iterable[Tensor]) -> Tensor:
    return torch.stack([part.double() for part in parts])


def _products(sides: Sequence[Tensor], dims: tuple[int, ...]) -> Tensor:
    """Return the sums over ``dims`` of the products of all pairs of sides, ``(n_sides, n_sides, ...)``."""
    rows: list[list[Tensor]] = []
    for i, one in enumerate(sides):
        known = [rows[j][i] for j in range(i)]
        rows.append(known + [(one * other).sum(dims, keepdim=True).double() for other in sides[i:]])
    return torch.stack([torch.stack(row) for row in rows])


@dataclass(frozen=True)
class AffineScaler:
    """Scaling to zero mean and unit deviation, and back: ``(x - center) / spread``.

    Where ``spread`` is zero, ``scale`` gives zero and ``unscale`` gives the center: a feature that was
    constant in training carries nothing, and stays what it was.

    Attributes
    ----------
    center, spread : Tensor
        Location and deviation, in double precision, of a shape that broadcasts against a batch.
    """

    center: Tensor
    spread: Tensor

    @cached_property
    def gain(self) -> Tensor:
        """One over the spread, and zero where that is zero."""
        return torch.where(self.spread > 0, 1 / self.spread, torch.zeros_like(self.spread))

    @classmethod
    def from_moments(cls, stats: Moments) -> AffineScaler:
        """Scale by the standard deviation, floored so that a near-constant feature cannot explode.

        The floor is a hundredth of the range (a feature that is almost always the same) and a
        hundred-millionth of the mean (one that only rounding moves), so it changes with the feature's unit.
        """
        floor = torch.maximum(0.01 * (stats.high - stats.low), 1e-8 * stats.mean.abs())
        spread = torch.maximum(stats.std, floor)
        return cls(stats.mean, torch.where(stats.is_constant, torch.zeros_like(spread), spread))

    @classmethod
    def identity(cls) -> AffineScaler:
        """Scale nothing."""
        return cls(torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64))

    def times(self, weights: Tensor) -> AffineScaler:
        """Return a scaler whose spreads are larger by ``weights``, up to a common factor.

        The factor keeps the mean square of scaled data at one.
        """
        live = (self.spread > 0).expand_as(weights)
        common = weights[live].pow(-2).mean().sqrt() if live.any() else 1.0
        return AffineScaler(self.center, self.spread * weights * common)

    def scale(self, x: Tensor) -> Tensor:
        """Return x in scaled units, in the precision of x."""
        return (x - self.center.to(x)).mul_(self.gain.to(x))

    def unscale(self, x: Tensor) -> Tensor:
        """Return scaled values in the unit of the data, in the precision of x."""
        return x * self.spread.to(x) + self.center.to(x)
