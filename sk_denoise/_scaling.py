"""Moments of data in one pass over chunks, and the invertible scaling that estimators make of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["AffineScaler", "Moments", "chunks_of", "moments"]

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


def chunks_of(x: Tensor) -> Iterator[Tensor]:
    """Yield consecutive rows of x in pieces that are small beside a processor's memory."""
    rows = max(1, _CHUNK_ENTRIES // max(1, x[:1].numel()))
    yield from x.split(rows)


def moments(chunks: Iterable[Tensor], dims: tuple[int, ...] = (0,)) -> Moments:
    """Return the moments of chunks of rows, reduced over ``dims`` (kept, except for the first).

    Chunks are merged by the pairwise update of Chan, Golub and LeVeque (1983), which loses no digits
    on data far from zero.
    """
    count, merged = 0, None
    for chunk in chunks:
        x = chunk.to(torch.float64)
        n = x.numel() // x.mean(dim=dims, keepdim=True).numel()
        mean = x.mean(dim=dims, keepdim=True)
        part = (mean, (x - mean).square_().sum(dim=dims, keepdim=True))
        low, high = x.amin(dim=dims, keepdim=True), x.amax(dim=dims, keepdim=True)
        if merged is None:
            count, merged = n, (*part, low, high)
            continue
        delta, total = part[0] - merged[0], count + n
        merged = (
            merged[0] + delta * (n / total),
            merged[1] + part[1] + delta.square() * (count * n / total),
            torch.minimum(merged[2], low),
            torch.maximum(merged[3], high),
        )
        count = total
    if merged is None:
        raise ValueError("There are no rows to take moments of.")
    mean, squares, low, high = (statistic.squeeze(0) for statistic in merged)
    return Moments(mean, (squares / count).sqrt(), low, high)


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

    @classmethod
    def from_moments(cls, stats: Moments) -> AffineScaler:
        """Scale by the standard deviation, floored so that a near-constant feature cannot explode.

        The floor is a hundredth of the range (a feature that is almost always the same) and a
        millionth of the mean (one that only rounding moves), so it changes with the feature's unit.
        """
        floor = torch.maximum(0.01 * (stats.high - stats.low), 1e-6 * stats.mean.abs())
        spread = torch.maximum(stats.std, floor)
        return cls(stats.mean, torch.where(stats.is_constant, torch.zeros_like(spread), spread))

    @classmethod
    def identity(cls) -> AffineScaler:
        """Scale nothing."""
        return cls(torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64))

    def to(self, x: torch.device | str) -> AffineScaler:
        """Return the same scaler on another device."""
        return AffineScaler(self.center.to(x), self.spread.to(x))

    def scale(self, x: Tensor) -> Tensor:
        """Return x in scaled units, in the precision of x."""
        gain = torch.where(self.spread > 0, 1 / self.spread, torch.zeros_like(self.spread))
        return (x - self.center.to(x)).mul_(gain.to(x))

    def unscale(self, x: Tensor) -> Tensor:
        """Return scaled values in the unit of the data, in the precision of x."""
        return x * self.spread.to(x) + self.center.to(x)
