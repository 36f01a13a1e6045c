"""Moments of data in one pass over chunks, and invertible scaling by them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri
from torch import Tensor

from sk_denoise._schema import Rule

__all__ = [
    "FINITE_TENSOR",
    "broadcasts_to",
    "AffineScaler",
    "Moments",
    "QuantileMap",
    "iterate_chunks",
    "compute_joint_moments",
    "compute_moments",
    "find_wild_limits",
    "subsample",
]

# Entries of a sample that is large enough for the spread of data
_SUBSAMPLE_ENTRIES = 2**22
# Quantiles that bound the bulk of a column and its middle half, and the width of the bulk in standard
# deviations if it is Gaussian. Where 1 % of all values are wild, a column of 200 rows may have 2.5 % of them
# at one end.
_BULK, _BULK_WIDTH = (0.05, 0.25, 0.75, 0.95), 3.29
# A column has wild values if its deviation is this many times that of its bulk, or its largest distance to
# the bulk this many deviations of the bulk. Exponential columns of a million rows do not.
_WILD_RATIO, _WILD_REACH = 2.0, 20.0
# Wild values lie this many widths outside of the bulk.
_WILD_DISTANCE, _MIN_BULK_ROWS = 0.7, 40
# Numbers outside of these limits have sums of squares outside of single precision.
TINY, HUGE = 1e-12, 1e12
# Knots of a map to Gaussian scores, and two beyond its ends; scores between the ends that the slope of its
# continuation is measured on.
_N_KNOTS, _END_SCORES = 63, 1.0
# Entries of one chunk: 8 MB in double precision, small beside a processor's memory
_CHUNK_ENTRIES = 2**20


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
        """Whether all values are the same, for each feature or channel."""
        return self.low == self.high


def iterate_chunks(x: Tensor) -> Iterator[Tensor]:
    """Yield consecutive rows of x in pieces of a few megabytes."""
    # No chunk has a single row, unless x has: some noise takes values from other rows.
    rows = max(2, _CHUNK_ENTRIES // max(1, x[:1].numel()))
    whole = max(1, (len(x) + rows - 2) // rows)
    yield from x.split([rows] * (whole - 1) + [len(x) - rows * (whole - 1)])


def subsample(x: Tensor) -> Tensor:
    """Return rows from all over x, few enough for fast statistics."""
    return x[:: max(1, x.numel() // _SUBSAMPLE_ENTRIES)]


def find_wild_limits(rows: Tensor, *, in_all: bool = False) -> tuple[Tensor, Tensor] | None:
    """Return limits of each column beyond which values are wild, if any has such.

    A column has wild values if its standard deviation, or its range, is far above that of the central 90 % of
    its values. The limits of other columns are infinite.

    Parameters
    ----------
    rows : Tensor of shape (n, n_features)
        Rows of a table.
    in_all : bool, default=False
        Whether each column has limits.
    """
    if len(rows) < _MIN_BULK_ROWS:
        return None
    some = subsample(rows).double().numpy()
    # Far from one, squares would leave the range of numbers.
    unit = np.abs(some).max(axis=0)
    unit[unit == 0] = 1.0
    some = some / unit
    low, lower, upper, high = np.quantile(some, _BULK, axis=0)
    width = high - low
    # A column that is mostly the same, as rare counts are, has no bulk to compare with.
    deviation = width / _BULK_WIDTH
    reach = np.maximum(some.max(axis=0) - high, low - some.min(axis=0))
    is_wild = (some.std(axis=0) > _WILD_RATIO * deviation) | (reach > _WILD_REACH * deviation)
    has_limits = (upper > lower) & (in_all | is_wild)
    if not has_limits.any():
        return None
    margin = _WILD_DISTANCE * width
    ends = np.where(has_limits, low - margin, -np.inf), np.where(has_limits, high + margin, np.inf)
    return torch.from_numpy(ends[0] * unit), torch.from_numpy(ends[1] * unit)


def compute_moments(chunks: Iterable[Tensor], dims: tuple[int, ...] = (0,)) -> Moments:
    """Compute the moments of chunks of rows, reduced over ``dims``."""
    return compute_joint_moments(((chunk,) for chunk in chunks), dims)[0][0]


def compute_joint_moments(
    chunks: Iterable[tuple[Tensor, ...]], dims: tuple[int, ...] = (0,)
) -> tuple[list[Moments], Tensor]:
    """Compute the moments of each side of chunks of pairs, and their covariance.

    Sums run over distances from the mean of the first chunk, in the precision of the data, and chunks are
    merged in double precision by the pairwise update of Chan, Golub and LeVeque (1983): no digits are lost
    on data far from zero.

    Parameters
    ----------
    chunks : iterable of tuple of Tensor
        Chunks of rows; each tuple holds the same rows of every side.
    dims : tuple of int, default=(0,)
        Reduced axes: the first, and others that are kept with length one.

    Returns
    -------
    list of Moments
        Moments of each side.
    Tensor of shape (n_sides, n_sides, ...)
        Covariances, for each feature or channel.
    """
    count, unit = 0, None
    mean = product = low = high = torch.empty(0)
    origins: list[Tensor] = []
    for chunk in chunks:
        if count == 0:
            unit = _unit_of_extremes(chunk, dims)
        if unit is not None:
            chunk = tuple(side / one.to(side) for side, one in zip(chunk, unit, strict=True))
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
    if unit is not None:
        factor = torch.stack(unit)
        mean, low, high = mean * factor, low * factor, high * factor
        product = product * factor[:, None] * factor[None]
    covariance = (product / count).squeeze(2)
    statistics = [
        Moments(mean[i, 0], covariance[i, i].sqrt(), low[i, 0], high[i, 0]) for i in range(len(mean))
    ]
    return statistics, covariance


def _unit_of_extremes(chunk: tuple[Tensor, ...], dims: tuple[int, ...]) -> list[Tensor] | None:
    """Return powers of two near numbers that are far from one, else None."""
    largest = [side.abs().amax(dims, keepdim=True).double() for side in chunk]
    if all(((one < HUGE) & ((one > TINY) | (one == 0))).all() for one in largest):
        return None
    # A division by a power of two is exact.
    return [torch.where(one > 0, one, torch.ones_like(one)).log2().floor().exp2() for one in largest]


def _stacked(parts: Iterable[Tensor]) -> Tensor:
    return torch.stack([part.double() for part in parts])


def _products(sides: Sequence[Tensor], dims: tuple[int, ...]) -> Tensor:
    """Return sums of products of all pairs of sides, ``(n_sides, n_sides, ...)``."""
    rows: list[list[Tensor]] = []
    for i, one in enumerate(sides):
        symmetric = [rows[j][i] for j in range(i)]
        rows.append(symmetric + [(one * other).sum(dims, keepdim=True).double() for other in sides[i:]])
    return torch.stack([torch.stack(row) for row in rows])


def _is_finite(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and bool(value.isfinite().all())


FINITE_TENSOR = Rule(lambda v, _: _is_finite(v), "a tensor of finite numbers")


def broadcasts_to(tensor: Tensor, sample_shape: tuple[int, ...]) -> bool:
    """Return whether a tensor broadcasts to a batch of one sample of this shape."""
    batch = (1, *sample_shape)
    sides = (1,) * (len(batch) - tensor.ndim) + tuple(tensor.shape)
    return len(sides) == len(batch) and all(a in (1, b) for a, b in zip(sides, batch, strict=True))


@dataclass(frozen=True)
class AffineScaler:
    """Scaling to zero mean and unit deviation, and back: ``(x - center) / spread``.

    A feature of spread zero was constant in training and carries no information: ``scale`` returns zero for
    it, and ``unscale`` the center.

    Attributes
    ----------
    center, spread : Tensor
        Location and deviation, in double precision, of a shape that broadcasts against a batch.
    """

    _fitted_schema: ClassVar[dict[str, Rule]] = {
        "center": FINITE_TENSOR,
        "spread": Rule(
            lambda v, _: _is_finite(v) and bool((v >= 0).all()), "a tensor of finite numbers of at least 0"
        ),
    }
    center: Tensor
    spread: Tensor

    @cached_property
    def gain(self) -> Tensor:
        """One over the spread, and zero for a spread of zero."""
        return torch.where(self.spread > 0, 1 / self.spread, torch.zeros_like(self.spread))

    @classmethod
    def from_moments(cls, stats: Moments, dtype: torch.dtype = torch.float32) -> AffineScaler:
        """Return a scaler to zero mean and unit deviation, with a floor for deviations.

        Parameters
        ----------
        stats : Moments
            Moments of the data.
        dtype : torch.dtype, default=torch.float32
            Precision of the data.
        """
        # Without a floor, a nearly constant feature would explode. A hundredth of the range is for a feature
        # that is almost always the same, a share of the mean for one that changes by rounding alone. Both
        # change with the feature's unit.
        rounding = 1e-16 if dtype == torch.float64 else 1e-8
        floor = torch.maximum(0.01 * (stats.high - stats.low), rounding * stats.mean.abs())
        spread = torch.maximum(stats.std, floor)
        return cls(stats.mean, torch.where(stats.is_constant, torch.zeros_like(spread), spread))

    @classmethod
    def identity(cls) -> AffineScaler:
        """Return a scaler that leaves data as they are."""
        return cls(torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64))

    def replaced(self, where: Tensor, other: AffineScaler) -> AffineScaler:
        """Return a scaler with some features from another."""
        return AffineScaler(
            torch.where(where, other.center, self.center), torch.where(where, other.spread, self.spread)
        )

    def times(self, weights: Tensor, is_scaled: Tensor | None = None) -> AffineScaler:
        """Return a scaler with spreads multiplied by ``weights`` and a common factor.

        Features outside of ``is_scaled``, if given, are not scaled at all.
        """
        is_scaled = torch.ones_like(weights, dtype=torch.bool) if is_scaled is None else is_scaled
        # The factor keeps the mean square of scaled data at one.
        live = (self.spread > 0).expand_as(weights) & is_scaled
        common = weights[live].pow(-2).mean().sqrt() if live.any() else 1.0
        spread = torch.where(is_scaled, self.spread * weights * common, 1.0)
        return AffineScaler(torch.where(is_scaled, self.center, 0.0), spread)

    def scale(self, x: Tensor) -> Tensor:
        """Return x in scaled units, in the precision of x."""
        return (x - self.center.to(x)).mul_(self.gain.to(x))

    def unscale(self, x: Tensor) -> Tensor:
        """Return scaled values in the unit of the data, in the precision of x."""
        return x * self.spread.to(x) + self.center.to(x)


@dataclass(frozen=True)
class QuantileMap:
    """Increasing piecewise linear map of each column to Gaussian scores, and back.

    Beyond its knots a column goes on linearly.

    Attributes
    ----------
    values, scores : Tensor of shape (n_features, n_knots)
        Knots in the unit of the data, and their scores, in double precision, both increasing.
    """

    _fitted_schema: ClassVar[dict[str, Rule]] = {
        "values": Rule(lambda v, _: _are_knots(v), "a tensor of increasing numbers"),
        "scores": Rule(lambda v, _: _are_knots(v), "a tensor of increasing numbers"),
    }
    values: Tensor
    scores: Tensor

    @classmethod
    def of(cls, rows: Tensor) -> QuantileMap:
        """Learn the map of each column from rows ``(n, n_features)``.

        A value with ties has the score of its mean rank. Constant columns stay as they are.
        """
        knots = [_find_knots(column) for column in np.ascontiguousarray(rows.double().numpy().T)]
        values, scores = (torch.from_numpy(np.stack(side)) for side in zip(*knots, strict=True))
        return cls(values, scores)

    @classmethod
    def identity(cls, n_features: int) -> QuantileMap:
        """Return the map that leaves columns as they are."""
        knots = torch.arange(_N_KNOTS + 2, dtype=torch.float64).expand(n_features, -1).contiguous()
        return cls(knots, knots.clone())

    @property
    def is_mapped(self) -> Tensor:
        """Whether a column does not stay as it is, for each column."""
        return (self.values != self.scores).any(dim=1)

    def fits(self, n_features: int) -> bool:
        """Return whether the map is one of so many columns."""
        return self.values.shape == self.scores.shape and len(self.values) == n_features

    def replaced(self, where: Tensor, other: QuantileMap) -> QuantileMap:
        """Return a map with some columns from another."""
        where = where[:, None]
        return QuantileMap(
            torch.where(where, other.values, self.values), torch.where(where, other.scores, self.scores)
        )

    def scale(self, x: Tensor) -> Tensor:
        """Return the scores of rows, in the precision of x."""
        return _interpolate(x, self.values, self.scores)

    def unscale(self, x: Tensor) -> Tensor:
        """Return rows of scores in the unit of the data, in the precision of x."""
        return _interpolate(x, self.scores, self.values)


def _are_knots(value: Any) -> bool:
    is_table = _is_finite(value) and value.ndim == 2 and value.shape[1] > 1
    return is_table and value.dtype == torch.float64 and bool((value.diff(dim=1) > 0).all())


def _find_knots(column: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return values of a column and their scores, with a continuation beyond the ends."""
    values, counts = np.unique(column, return_counts=True)
    scores = ndtri((np.cumsum(counts) - counts / 2) / len(column))
    if len(values) > _N_KNOTS:
        # Even steps of scores have many knots in the tails, where values lie far apart.
        places = np.searchsorted(scores, np.linspace(scores[0], scores[-1], _N_KNOTS))
        kept = np.unique(places.clip(0, len(values) - 1))
        values, scores = values[kept], scores[kept]
    # A value beside its neighbour by rounding alone has no score of its own.
    is_apart = np.diff(values, prepend=-np.inf) > 1e-12 * max(values[-1] - values[0], np.abs(values).max())
    values, scores = values[is_apart], scores[is_apart]
    if len(values) == 1:
        same = np.arange(_N_KNOTS + 2.0)
        return same, same
    # The outermost step of a heavy tail is chance, so that the slope beyond is that of more of it.
    first, last = (
        min(np.searchsorted(scores, scores[0] + _END_SCORES), len(scores) - 1),
        max(np.searchsorted(scores, scores[-1] - _END_SCORES, side="right") - 1, 0),
    )
    low = (values[first] - values[0]) / (scores[first] - scores[0])
    high = (values[-1] - values[last]) / (scores[-1] - scores[last])
    n_more = _N_KNOTS - len(values)
    steps = np.arange(1, n_more + 2)
    values = np.concatenate([[values[0] - low], values, values[-1] + high * steps])
    return values, np.concatenate([[scores[0] - 1], scores, scores[-1] + steps])


def _interpolate(x: Tensor, knots: Tensor, values: Tensor) -> Tensor:
    """Return piecewise linear functions of columns, in the precision of x."""
    if x.ndim == 1:
        return _interpolate(x[None], knots, values)[0]
    knots, values = knots.to(x.device), values.to(x.device)
    wide, n_knots = x.double(), knots.shape[1]
    if torch.compiler.is_exporting():
        # Graphs have no binary search.
        place = (wide.detach()[:, :, None] >= knots).sum(dim=2)
    else:
        place = torch.searchsorted(knots, wide.detach().T.contiguous(), right=True).T
    first = torch.arange(len(knots), device=x.device) * n_knots
    low = (place - 1).clamp(0, n_knots - 2) + first
    left, right = knots.reshape(-1)[low], knots.reshape(-1)[low + 1]
    start, end = values.reshape(-1)[low], values.reshape(-1)[low + 1]
    return (start + (wide - left) * ((end - start) / (right - left))).to(x.dtype)
