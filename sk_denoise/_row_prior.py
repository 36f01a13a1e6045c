"""Posterior mean of rows of a table, in closed form."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.isotonic import isotonic_regression
from torch import Tensor

from sk_denoise._residual_noise import Correlation, pool_levels
from sk_denoise._scaling import FINITE_TENSOR, QuantileMap, find_wild_limits
from sk_denoise._schema import NUMBER, Rule, conforms, has_type, is_number, record
from sk_denoise._validation import as_tensor

__all__ = [
    "Blend",
    "ChosenPrior",
    "LinearPrior",
    "MappedPosteriorMean",
    "NoisyRows",
    "PosteriorMean",
    "PriorShape",
    "choose_better",
    "choose_linear_prior",
    "choose_prior",
    "draw_noisy_rows",
    "find_share",
]

Floats = NDArray[np.float64]
Maps = tuple[QuantileMap, QuantileMap]
Corrupt = Callable[[Tensor, torch.Generator], Tensor]

# Candidates of the smoothing and of the shrinkage, and folds that they are compared on.
SMOOTHINGS = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0)
SHRINKAGES = (0.0, 0.003, 0.01, 0.03, 0.1, 0.2, 0.4, 0.7, 1.0)
FOLDS = 5
# Noisy rows that candidates are compared on, and training rows that they learn from.
MAX_TRIAL_ROWS, MAX_ROWS_OF_TRIAL = 500, 1200
# The former are fewer for wide tables, with this many entries in all.
MAX_TRIAL_ENTRIES = 2**17
# Centers of the mixture, at most.
MAX_CENTERS = 2000
# Features up to which a covariance is shrunk to its diagonal. More features take the span of the rows.
MAX_DIAGONAL = 256
# Rows between which variances are measured on rows held out, largest number of columns, and largest number of
# entries of a table with more columns than a covariance has.
MIN_HELD_OUT, MAX_HELD_OUT, MAX_HELD_OUT_FEATURES, MAX_HELD_OUT_ENTRIES = 6, 100, 100, 2**18
# Parts that are held out in turn, in tables up to so many columns and beyond, which take longer.
HELD_OUT_PARTS, MANY_FEATURES, HELD_OUT_SEED = (10, 5), 32, 0
# Features that a covariance of noise is measured for.
MAX_NOISE_FEATURES = 512
# Standard errors from which a column has another unit on the noisy side.
MIN_CHANNEL_Z = 6.0
# Weight and variance, in that of the data, of the Gaussian for rows that are unlike all others.
FOREIGN_WEIGHT, FOREIGN_VARIANCE = 1e-3, 25.0
# Limits of the values beyond the range of clean rows: a share of this range, and noise levels.
MARGIN, NOISE_MARGIN = 0.25, 5.0
# Share of the values, the farthest from the middle, whose noise is compared with that of the others; fewest
# rows, standard errors, and exponent from which it grows with the distance.
FAR_SHARE, MIN_GROWTH_ROWS, MIN_GROWTH_Z, MIN_GROWTH = 0.1, 20, 4.0, 0.3
# Exponent from which values beyond the range do not stay as they are, and a limit beyond all values.
MAX_GROWTH, OPEN = 0.5, 1e30
# Noise power, in units of the level of the noise, that counts as noise at all.
MIN_NOISE_POWER = 0.1
# Passes that fill values beyond the training range, and their share in a row that is left as it is, unless it
# is a single one.
REFILLS, MAX_OUTSIDE = 3, 0.25
# Noise levels beyond the training range from which networks have no part in a prediction.
MAX_DISTANCE = 2.0
# Standard errors by which a measured share has to differ from the expected one.
MIN_GAIN_Z = 1.0
# Standard errors by which another shape has to be better than a Gaussian.
MIN_SHAPE_Z = 1.5
CHUNK_ENTRIES = 2**22
# A score beyond that of any row
UNLIMITED = 1e300
# Entries of the draws that the noise is measured on.
MAX_DRAWN_ENTRIES = 2**22


@dataclass(frozen=True)
class PriorShape:
    """Shape of the prior between a Gaussian and the training rows themselves.

    Attributes
    ----------
    smoothing : float
        From 0, a Gaussian with the covariance of the rows, to 1, the rows as points.
    shrinkage : float
        Shrinkage of the covariance, from 0 to 1.
    strength : float
        Step from the noisy rows to the posterior mean, from 0 to 1.
    """

    smoothing: float
    shrinkage: float
    strength: float = 1.0


@dataclass(frozen=True)
class NoisyRows:
    """Clean rows, and the same rows with noise.

    Attributes
    ----------
    noisy, clean : ndarray of shape (n, n_features)
        The rows.
    index : ndarray of shape (n,)
        Training row of each.
    """

    noisy: Floats
    clean: Floats
    index: NDArray[np.intp]

    def take(self, rows: NDArray[np.intp]) -> NoisyRows:
        """Return those of some training rows."""
        chosen = np.flatnonzero(np.isin(self.index, rows))
        return NoisyRows(self.noisy[chosen], self.clean[chosen], self.index[chosen])

    def head(self, n: int) -> NoisyRows:
        """Return the first n rows."""
        return NoisyRows(self.noisy[:n], self.clean[:n], self.index[:n])


def draw_noisy_rows(
    clean: NDArray[Any], corrupt: Corrupt, n_rows: int, generator: torch.Generator
) -> NoisyRows:
    """Return clean rows with new noise, each several times if they are few.

    Parameters
    ----------
    clean : ndarray of shape (n, n_features)
        Clean rows.
    corrupt : callable
        From a tensor and a generator to the noisy tensor.
    n_rows : int
        Number of rows to return, at least, in tables that are not wide; all clean rows have the same number
        of copies.
    generator : torch.Generator
        Random numbers.
    """
    # Wide tables have fewer draws, so that these take tens of megabytes.
    n_rows = min(n_rows, MAX_DRAWN_ENTRIES // clean.shape[1])
    copies = max(1, -(-n_rows // len(clean)))
    index = np.tile(np.arange(len(clean)), copies)
    rows = clean[index]
    noisy = corrupt(as_tensor(rows), generator).numpy()
    return NoisyRows(noisy.astype(np.float64), rows.astype(np.float64), index)


@dataclass(frozen=True)
class _Channel:
    """Way from clean rows to noisy ones: an affine map of each column, and noise.

    Attributes
    ----------
    slope, offset : ndarray of shape (n_features,)
        Map of each column.
    unit : ndarray of shape (n_features,)
        Standard deviation of the noise in the unit of the clean side; 0 is replaced by a small number.
    whitening : ndarray of shape (n_features, n_features) or None
        From noise in units of ``unit`` to white noise; None if it is white.
    growth : float
        Exponent of the noise level as a power of the distance of the clean value from the middle: 0 for the
        same noise everywhere, 1 for noise in proportion.
    """

    slope: Floats
    offset: Floats
    unit: Floats
    whitening: Floats | None
    growth: float = 0.0

    @classmethod
    def of(cls, rows: NoisyRows) -> Self:
        clean, noisy, n = rows.clean, rows.noisy, len(rows.clean)
        spread = clean.std(axis=0)
        centered = clean - clean.mean(axis=0)
        errors = noisy - clean
        noise = errors - errors.mean(axis=0)
        level = noise.std(axis=0)
        # A slope other than 1 is measured, since its error would add to that of the prediction.
        safe = np.where(spread > 0, spread, 1.0)
        slope = (centered * noise).mean(axis=0) / safe**2
        # Larger noise in larger values makes the slope less sure.
        error = (centered * (noise - slope * centered)).std(axis=0) / safe**2
        error = np.maximum(np.maximum(error, level / safe), 1e-12) / math.sqrt(n)
        slope = np.where((np.abs(slope) > MIN_CHANNEL_Z * error) & (spread > 0), 1 + slope, 1.0)
        slope = np.where(np.abs(slope) > 1e-3, slope, 1.0)
        offset = (noisy - slope * clean).mean(axis=0)
        is_chance = (np.abs(offset) <= MIN_CHANNEL_Z * level / math.sqrt(n)) & (slope == 1)
        offset = np.where(is_chance, 0.0, offset)
        left = (noisy - offset) / slope - clean
        unit = pool_levels(left.std(axis=0), spread, n)
        # A column without noise is hardly changed.
        floor = 1e-3 * spread
        unit = np.maximum(unit, np.where(floor > 0, floor, 1.0 if not unit.any() else unit[unit > 0].min()))
        return cls(slope, offset, unit, _whitening(left / unit), _growth(left, clean))

    @property
    def foreign_noise(self) -> float:
        """Noise power in rows unlike all others: larger where noise grows with the values."""
        return float(FOREIGN_VARIANCE**self.growth)

    def align(self, noisy: Floats) -> Floats:
        """Return noisy rows in the unit of clean ones."""
        rows: Floats = (noisy - self.offset) / self.slope
        return rows

    def whiten_clean(self, clean: Floats, mean: Floats) -> Floats:
        """Return clean rows in units of the noise."""
        rows: Floats = (clean - mean) / self.unit
        return rows if self.whitening is None else rows @ self.whitening.T


def _growth(noise: Floats, clean: Floats) -> float:
    """Return the growth of noise with the distance of values from the median, or 0."""
    n = len(noise)
    distance = np.abs(clean - np.median(clean, axis=0))
    order = np.argsort(distance, axis=0)
    n_far = max(1, round(FAR_SHARE * n))
    size, reach = (np.take_along_axis(side, order, axis=0) for side in (np.abs(noise), distance))
    # Medians, so that single large values decide nothing.
    levels, distances = (
        [np.median(part, axis=0) for part in (side[:-n_far], side[-n_far:])] for side in (size, reach)
    )
    live = (np.minimum(*levels) > 0) & (distances[0] > 0)
    if n < MIN_GROWTH_ROWS or not live.any():
        return 0.0
    growth, change = (np.log(far[live] / near[live]) for near, far in (levels, distances))
    # The logarithm of the median of n sizes has a deviation of about 1.2 / sqrt(n).
    error = 1.2 / math.sqrt(n_far * live.sum())
    if growth.mean() < max(MIN_GROWTH_Z * error, MIN_GROWTH * change.mean()):
        return 0.0
    return float(np.clip(growth.mean() / change.mean(), 0.0, 1.0))


def _whitening(noise: Floats) -> Floats | None:
    """Return the whitening of noise of unit deviation, or None if it is white."""
    n, p = noise.shape
    if p == 1 or p > MAX_NOISE_FEATURES or n < 2 * p:
        return None
    if not Correlation.of(noise).is_beyond_chance:
        return None
    correlation = noise.T @ noise / n
    deviations = np.sqrt(np.maximum(np.diag(correlation), 1e-300))
    correlation /= np.outer(deviations, deviations)
    # A little of the identity, so that noise in few directions can be whitened.
    inverse: Floats = np.linalg.inv(np.linalg.cholesky(correlation + 1e-3 * np.eye(p)))
    return inverse


@dataclass(frozen=True)
class _Axes:
    """Covariance of whitened clean rows, shrunk: axes, variances, and the rest."""

    axes: Floats
    variances: Floats
    rest: float

    @classmethod
    def of(cls, rows: Floats, shrinkages: Sequence[float]) -> list[_Axes]:
        """Return the covariance of centred rows for each shrinkage."""
        n, p = rows.shape
        scaled = rows / math.sqrt(max(1, n - 1))
        if p <= MAX_DIAGONAL:
            covariance = scaled.T @ scaled
            diagonal = np.diag(np.diag(covariance))
            found = []
            held_out = _held_out_variances(rows, shrinkages)
            for number, shrinkage in enumerate(shrinkages):
                variances, axes = np.linalg.eigh((1 - shrinkage) * covariance + shrinkage * diagonal)
                variances = np.maximum(variances, 0.0) if held_out is None else held_out[number]
                found.append(cls(axes.T, variances, 0.0))
            return found
        _, singular, axes = np.linalg.svd(scaled, full_matrices=False)
        kept = singular > 1e-9 * singular.max(initial=0.0)
        if not kept.any():
            kept[:1] = True
        variances, axes = singular[kept] ** 2, axes[kept]
        mean, rest = float(variances.sum()) / p, 0.0
        if MIN_HELD_OUT <= n <= MAX_HELD_OUT and rows.size <= MAX_HELD_OUT_ENTRIES:
            variances, rest = _held_out_span(rows, len(axes))
        return [
            cls(axes, (1 - share) * variances + share * mean, (1 - share) * rest + share * mean)
            for share in shrinkages
        ]


def _held_out_variances(rows: Floats, shrinkages: Sequence[float]) -> Floats | None:
    """Return the variances along the axes of each shrinkage, of rows held out.

    Those of the training rows are too large along the first axes and too small along the last, the more so
    the fewer rows there are. Many rows, and many columns, have None.
    """
    n, p = rows.shape
    if not MIN_HELD_OUT <= n <= MAX_HELD_OUT or p > MAX_HELD_OUT_FEATURES:
        return None
    shares = np.array(shrinkages)[:, None, None]
    sums = np.zeros((len(shrinkages), p))
    for held_out, training in _parts(rows):
        mean = training.mean(axis=0)
        covariance = np.cov(training.T).reshape(p, p)
        axes = np.linalg.eigh((1 - shares) * covariance + shares * np.diag(np.diag(covariance)))[1]
        # The mean of the training rows has an error of its own.
        sums += np.square((held_out - mean) @ axes).sum(axis=1) / (1 + 1 / len(training))
    return np.array([isotonic_regression(row) for row in sums / n])


def _held_out_span(rows: Floats, n_axes: int) -> tuple[Floats, float]:
    """Return the variances of held-out rows along axes of the others, and beside."""
    p = rows.shape[1]
    sums, counts, rest, n_rest = np.zeros(n_axes), np.zeros(n_axes), 0.0, 0
    for held_out, training in _parts(rows):
        mean = training.mean(axis=0)
        axes = np.linalg.svd(training - mean, full_matrices=False)[2][: min(n_axes, len(training) - 1)]
        correction = 1 / (1 + 1 / len(training))
        distances = held_out - mean
        energies = correction * np.square(distances @ axes.T).sum(axis=0)
        sums[: len(axes)] += energies
        counts[: len(axes)] += len(held_out)
        rest += correction * float(np.square(distances).sum()) - float(energies.sum())
        n_rest += len(held_out) * (p - len(axes))
    rest = max(0.0, rest) / max(1, n_rest)
    # All rows have more axes than a part of them.
    variances = np.where(counts > 0, sums / np.maximum(counts, 1), rest)
    weights = np.append(np.ones(n_axes), max(1, p - n_axes))
    falling = isotonic_regression(np.append(variances, rest), sample_weight=weights, increasing=False)
    return falling[:-1], float(falling[-1])


def _parts(rows: Floats) -> Iterator[tuple[Floats, Floats]]:
    """Return a part of the rows and the others, part by part."""
    order = np.random.default_rng(HELD_OUT_SEED).permutation(len(rows))
    n_parts = HELD_OUT_PARTS[0] if rows.shape[1] <= MANY_FEATURES else HELD_OUT_PARTS[1]
    for part in np.array_split(order, min(len(rows), n_parts)):
        yield rows[part], np.delete(rows, part, axis=0)


@dataclass(frozen=True)
class PosteriorMean:
    """Mean of the clean row, given the noisy one, under a prior of training rows.

    The prior is a mixture of Gaussians around the training rows, moved towards their mean so that the
    covariance of the mixture is that of the rows. Fields are tensors in double precision.

    Attributes
    ----------
    mean, unit : Tensor of shape (n_features,)
        Mean of the rows, and noise level of each column, on the clean side.
    slope, offset : Tensor of shape (n_features,)
        Affine map of each column from the clean to the noisy side.
    basis : Tensor of shape (n_axes, n_features)
        From rows in units of the noise to scores along the axes of the covariance.
    back : Tensor of shape (n_axes, n_features)
        From scores to rows in units of the noise.
    gain : Tensor of shape (n_axes,)
        Share of a deviation from a center that is kept, along each axis.
    foreign_gain : Tensor of shape (n_axes,)
        The same for rows that are unlike all training rows.
    rest_gain : float
        Gain in all other directions.
    centers : Tensor of shape (n_centers, n_axes)
        Centers of the mixture.
    log_foreign : float
        Logarithm of the density of foreign rows at the mean, relative to that of a center.
    low, high : Tensor of shape (n_features,)
        Limits of the values in units of the noise. Values beyond them count as missing.
    strength : float
        Step from the noisy row to the posterior mean, from 0 to 1.
    foreign_noise : float
        Noise power of foreign rows along each axis, at least 1.
    """

    _fitted_schema: ClassVar[dict[str, Rule]] = {
        "mean": Rule(lambda v, p: _is_double(v, (len(p.mean),)), "the mean of each feature"),
        **dict.fromkeys(
            ("offset", "low", "high"),
            Rule(lambda v, p: _is_double(v, tuple(p.mean.shape)), "a number for each feature"),
        ),
        "unit": Rule(
            lambda v, p: _is_double(v, tuple(p.mean.shape)) and bool((v > 0).all()),
            "a number above 0 for each feature",
        ),
        "slope": Rule(
            lambda v, p: _is_double(v, tuple(p.mean.shape)) and bool((v != 0).all()),
            "a number other than 0 for each feature",
        ),
        **dict.fromkeys(
            ("basis", "back"),
            Rule(lambda v, p: _is_double(v, (len(p.gain), len(p.mean))), "an axis for each gain"),
        ),
        **dict.fromkeys(
            ("gain", "foreign_gain"),
            Rule(
                lambda v, p: _is_double(v, (len(p.gain),)) and bool(((v >= 0) & (v <= 1)).all()),
                "a number from 0 to 1 for each axis",
            ),
        ),
        "centers": Rule(
            lambda v, p: _is_double(v, (len(p.centers), len(p.gain))) and len(v) > 0, "centers on such axes"
        ),
        "rest_gain": NUMBER,
        "log_foreign": NUMBER,
        "strength": Rule(lambda v, _: is_number(v) and 0 <= v <= 1, "a number from 0 to 1"),
        "foreign_noise": Rule(lambda v, _: is_number(v) and v >= 1, "a number of at least 1"),
    }
    mean: Tensor
    unit: Tensor
    slope: Tensor
    offset: Tensor
    basis: Tensor
    back: Tensor
    gain: Tensor
    foreign_gain: Tensor
    rest_gain: float
    centers: Tensor
    log_foreign: float
    low: Tensor
    high: Tensor
    strength: float = 1.0
    foreign_noise: float = 1.0

    @classmethod
    def of(
        cls,
        clean: Floats,
        channel: _Channel,
        shape: PriorShape,
        *,
        max_centers: int = MAX_CENTERS,
        axes: _Axes | None = None,
    ) -> Self:
        """Return the posterior mean for clean rows and their noise."""
        mean = clean.mean(axis=0)
        rows = channel.whiten_clean(clean, mean)
        if axes is None:
            (axes,) = _Axes.of(rows, [shape.shrinkage])
        around = (1 - shape.smoothing**2) * axes.variances
        gain, far = around / (around + 1), FOREIGN_VARIANCE * axes.variances
        foreign = far + channel.foreign_noise
        rest = (1 - shape.smoothing**2) * axes.rest
        if shape.smoothing > 0:
            kept = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), max_centers)).astype(int))
            centers = shape.smoothing * (rows[kept] @ axes.axes.T)
        else:
            centers = np.zeros((1, len(axes.variances)))
        log_foreign = _log_foreign(around, foreign)
        back = axes.axes if channel.whitening is None else axes.axes @ np.linalg.inv(channel.whitening).T
        basis = axes.axes if channel.whitening is None else axes.axes @ channel.whitening
        parts: Any = (mean, channel.unit, channel.slope, channel.offset, basis, back, gain, far / foreign)
        tensors: Any = [torch.from_numpy(np.ascontiguousarray(part)) for part in parts]
        ends = _limits(clean, mean, channel.unit, is_open=channel.growth > MAX_GROWTH)
        rest_gain = float(rest / (rest + 1))
        return cls(
            *tensors,
            rest_gain,
            torch.from_numpy(centers),
            log_foreign,
            *ends,
            shape.strength,
            channel.foreign_noise,
        )  # type: ignore[call-arg]

    def fits(self, n_features: int) -> bool:
        """Return whether rows have as many features."""
        return len(self.mean) == n_features

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the posterior mean of noisy rows, and the share of each that is foreign.

        Parameters
        ----------
        x : Tensor of shape (n, n_features)
            Noisy rows, in single or double precision.

        Returns
        -------
        Tensor of shape (n, n_features)
            Posterior means.
        Tensor of shape (n, 1)
            Probability that the row is unlike all training rows.
        Tensor of bool, of shape (n, n_features)
            Values beyond the training range, which stay as they are.
        """
        # Double precision: columns may be far from zero beside their spread, and so may distances.
        aligned = (x.double() - self.offset) / self.slope
        z = (aligned - self.mean) / self.unit
        # Values beyond the training range, which would move the others of their row, are left as they are
        # and count as missing: the posterior mean given the others takes their place.
        outside = (z < self.low) | (z > self.high)
        used = torch.where(outside, 0.0, z)
        # A graph has no branches.
        if torch.compiler.is_exporting() or bool(outside.any()):
            for _ in range(REFILLS):
                used = torch.where(outside, self._shrink(used)[0], z)
        white, is_foreign = self._shrink(used)
        n_columns = x.shape[1]
        is_lost = outside.to(z.dtype).sum(dim=1, keepdim=True) > max(
            MAX_OUTSIDE * n_columns, min(1, n_columns / 2)
        )
        step = torch.where(outside | is_lost, 0.0, white - used) * self.unit * self.strength
        is_foreign = torch.where(is_lost, 1.0, is_foreign)
        return (aligned + step).to(x.dtype), is_foreign.to(x.dtype), outside

    def _shrink(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return the posterior mean in units of the noise, and the share that is foreign."""
        scores = z @ self.basis.T
        posterior, is_foreign = _posterior_scores(
            scores, self.centers, self.gain, self.foreign_gain, self.log_foreign, self.foreign_noise
        )
        return self.rest_gain * z + (posterior - self.rest_gain * scores) @ self.back, is_foreign

    @property
    def n_centers(self) -> int:
        """Number of centers of the mixture."""
        return len(self.centers)

    def predict(self, rows: NDArray[Any]) -> Floats:
        """Return the posterior mean of rows in an array, in double precision."""
        parts = [self(part)[0] for part in _in_chunks(rows, len(self.centers))]
        means: Floats = torch.cat(parts).numpy()
        return means


@dataclass(frozen=True)
class MappedPosteriorMean:
    """Posterior mean of rows by Gaussian scores of their columns.

    Noise in proportion to the values has one covariance for all rows then. Means of scores are medians of
    values, roughly.

    Attributes
    ----------
    prior : PosteriorMean
        Posterior mean of scores.
    noisy_map, clean_map : QuantileMap
        Maps of the columns of noisy and of clean rows.
    low, high : Tensor of shape (n_features,)
        Smallest and largest scores of clean rows.
    """

    _fitted_schema: ClassVar[dict[str, Rule]] = {
        "prior": record(PosteriorMean, "a posterior mean"),
        "noisy_map": record(QuantileMap, "a map", lambda v, _: v.fits(len(v.values))),
        "clean_map": record(QuantileMap, "a map", lambda v, _: v.fits(len(v.values))),
        "low": FINITE_TENSOR,
        "high": FINITE_TENSOR,
    }
    prior: PosteriorMean
    noisy_map: QuantileMap
    clean_map: QuantileMap
    low: Tensor
    high: Tensor

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return posterior means, shares that are foreign, and values out of range."""
        wide = x.double()
        scores, is_foreign, outside = self.prior(self.noisy_map.scale(wide))
        # Steep maps would enlarge what a mean lies beyond all clean rows.
        scores = torch.minimum(torch.maximum(scores, self.low), self.high)
        means = torch.where(outside, wide, self.clean_map.unscale(scores))
        return means.to(x.dtype), is_foreign.to(x.dtype), outside

    @property
    def n_centers(self) -> int:
        """Number of centers of the mixture."""
        return self.prior.n_centers

    def predict(self, rows: NDArray[Any]) -> Floats:
        """Return the posterior mean of rows in an array, in double precision."""
        means: Floats = torch.cat([self(part)[0] for part in _in_chunks(rows, self.n_centers)]).numpy()
        return means


def _is_double(value: Any, shape: tuple[int, ...]) -> bool:
    return FINITE_TENSOR.test(value, None) and value.dtype == torch.float64 and tuple(value.shape) == shape


def _posterior_scores(
    scores: Tensor,
    centers: Tensor,
    gain: Tensor,
    foreign_gain: Tensor,
    log_foreign: float,
    foreign_noise: float,
) -> tuple[Tensor, Tensor]:
    """Return the posterior mean of scores, and the share of each row that is foreign.

    Arguments are the attributes of :class:`PosteriorMean`.
    """
    # One over the deviation of noisy scores around a center
    scale = (1 - gain).clamp(min=0).sqrt()
    scaled, scaled_centers = scores * scale, centers * scale
    near = scaled @ scaled_centers.T - 0.5 * scaled_centers.square().sum(1)
    # The squared length of scaled, common to all centers, is left out of both densities.
    foreign = scores.square() * ((1 - foreign_gain) / foreign_noise)
    far = (scaled.square() - foreign).sum(1, keepdim=True) / 2 + log_foreign
    is_foreign = torch.sigmoid(far - (near.logsumexp(1, keepdim=True) - math.log(len(centers))))
    posterior = gain * scores + (1 - gain) * (torch.softmax(near, 1) @ centers)
    return posterior + is_foreign * (foreign_gain * scores - posterior), is_foreign


def _log_foreign(around: Floats, foreign: Floats) -> float:
    """Return the log density of foreign rows at the mean, relative to a center.

    Parameters
    ----------
    around, foreign : ndarray of shape (n_axes,)
        Variances around a center, without noise, and of foreign rows, with noise.
    """
    return math.log(FOREIGN_WEIGHT) + 0.5 * float(np.log((around + 1) / foreign).sum())


def _limits(clean: Floats, mean: Floats, unit: Floats, *, is_open: bool) -> tuple[Tensor, Tensor]:
    """Return the limits of noisy values in units of the noise; far away if open."""
    low, high = (clean.min(axis=0) - mean) / unit, (clean.max(axis=0) - mean) / unit
    margin = MARGIN * (high - low) + NOISE_MARGIN
    if is_open:
        margin = np.full_like(low, OPEN)
    return torch.from_numpy(low - margin), torch.from_numpy(high + margin)


def _in_chunks(rows: NDArray[Any], width: int) -> list[Tensor]:
    x = as_tensor(np.asarray(rows, dtype=np.float64))
    return list(x.split(max(1, CHUNK_ENTRIES // max(width, x.shape[1]))))


@dataclass(frozen=True)
class ChosenPrior:
    """Shape of the prior that predicts held-out rows best, and its errors.

    Attributes
    ----------
    shape : PriorShape
        The choice.
    channel : _Channel
        Noise of the rows.
    error : float
        Mean squared error on held-out rows, as a share of that of the noisy rows, each column in units of
        its noise.
    has_noise : bool
        Whether there is any noise to remove.
    limits : pair of ndarray of shape (n_features,), or None
        Limits of columns with wild values.
    maps : pair of QuantileMap, or None
        Maps of the columns of noisy and of clean rows to scores, if the prior is one of scores.
    """

    shape: PriorShape
    channel: _Channel
    error: float
    has_noise: bool
    limits: tuple[Floats, Floats] | None
    maps: Maps | None = None

    def fit(self, clean: NDArray[Any], *, max_centers: int = MAX_CENTERS) -> PosteriorMean:
        """Return the posterior mean for clean rows, or for their scores."""
        rows = _cut(clean.astype(np.float64), self.limits)
        return PosteriorMean.of(rows, self.channel, self.shape, max_centers=max_centers)

    def fit_rows(self, clean: NDArray[Any]) -> PosteriorMean | MappedPosteriorMean:
        """Return the posterior mean of rows in the unit of the data."""
        if self.maps is None:
            return self.fit(clean)
        scores = self.maps[1].scale(as_tensor(clean).double())
        # Columns in the unit of the data have no limits.
        low, high = (
            torch.where(self.maps[1].is_mapped, end, side * UNLIMITED)
            for side, end in zip((-1, 1), scores.aminmax(dim=0), strict=True)
        )
        return MappedPosteriorMean(self.fit(scores.numpy()), *self.maps, low, high)


class _Trial:
    """Held-out rows, and the training rows of a fold, in units of the noise.

    Parameters
    ----------
    rows : ndarray of shape (n, n_features)
        Clean training rows.
    held_out : NoisyRows
        Rows to predict.
    shrinkages : sequence of float
        Candidates.
    channel : _Channel
        Noise of the rows.
    """

    def __init__(
        self, rows: Floats, held_out: NoisyRows, shrinkages: Sequence[float], channel: _Channel
    ) -> None:
        self.rows, self.held_out, self.channel = rows, held_out, channel
        mean = rows.mean(axis=0)
        self.white = channel.whiten_clean(rows, mean)
        self.noisy = channel.whiten_clean(channel.align(held_out.noisy), mean)
        self.clean = channel.whiten_clean(held_out.clean, mean)
        self.spectra = _Axes.of(self.white, shrinkages)
        self._scores: dict[int, list[Tensor]] = {}

    @cached_property
    def gap(self) -> Floats:
        """Steps from the noisy rows to the truth, in units of the noise."""
        gap: Floats = (self.held_out.clean - self.channel.align(self.held_out.noisy)) / self.channel.unit
        return gap

    def step(self, shape: PriorShape, number: int) -> Floats:
        """Return the steps to the posterior mean, in units of the noise."""
        model = PosteriorMean.of(self.rows, self.channel, shape, axes=self.spectra[number])
        step: Floats = model.predict(self.held_out.noisy) - self.channel.align(self.held_out.noisy)
        return step / self.channel.unit

    def errors(self, smoothing: float, number: int) -> Floats:
        """Return the squared error of each held-out row, for a shrinkage by its number."""
        spectrum = self.spectra[number]
        if number not in self._scores:
            sides = (self.noisy, self.clean, self.white)
            self._scores[number] = [torch.from_numpy(side @ spectrum.axes.T) for side in sides]
        noisy, clean, rows = self._scores[number]
        around = (1 - smoothing**2) * spectrum.variances
        far, noise = FOREIGN_VARIANCE * spectrum.variances, self.channel.foreign_noise
        centers = smoothing * rows if smoothing > 0 else torch.zeros_like(rows[:1])
        gain, foreign_gain = (torch.from_numpy(part) for part in (around / (around + 1), far / (far + noise)))
        log_foreign = _log_foreign(around, far + noise)
        posterior, _ = _posterior_scores(noisy, centers, gain, foreign_gain, log_foreign, noise)
        errors: Floats = (posterior - clean).square().sum(1).numpy()
        if spectrum.axes.shape[0] < self.noisy.shape[1]:
            rest = (1 - smoothing**2) * spectrum.rest
            rest_gain = rest / (rest + 1)
            # The errors beside the axes: all, less those along the axes.
            whole = np.square(rest_gain * self.noisy - self.clean).sum(axis=1)
            errors = errors + whole - (rest_gain * noisy - clean).square().sum(1).numpy()
        return errors


def choose_prior(
    clean: NDArray[Any],
    noise: NoisyRows,
    *,
    smoothings: Sequence[float] = SMOOTHINGS,
    shrinkages: Sequence[float] = SHRINKAGES,
    generator: np.random.Generator,
    maps: Maps | None = None,
) -> ChosenPrior:
    """Choose the shape of the prior by the error on held-out rows.

    Parameters
    ----------
    clean : ndarray of shape (n_samples, n_features)
        Clean rows.
    noise : NoisyRows
        The same rows with noise, once or several times.
    smoothings, shrinkages : sequence of float
        Candidates.
    generator : numpy.random.Generator
        Random numbers for the folds.
    maps : pair of QuantileMap, optional
        Maps of the columns of noisy and of clean rows to scores, for a prior of scores.
    """
    clean = clean.astype(np.float64)
    if maps is not None:
        noisy, truth = (
            one.scale(torch.from_numpy(side)).numpy()
            for one, side in zip(maps, (noise.noisy, noise.clean), strict=True)
        )
        clean = maps[1].scale(torch.from_numpy(clean)).numpy()
        noise = replace(noise, noisy=noisy, clean=truth)
    # A few wild values would be all of the covariance. Where noise grows with the values, they matter.
    limits = _find_limits(clean, noise)
    cut = replace(noise, noisy=_cut(noise.noisy, limits), clean=_cut(noise.clean, limits))
    channel = _Channel.of(cut)
    if limits is not None and channel.growth > MAX_GROWTH:
        limits, channel = None, _Channel.of(noise)
    else:
        clean, noise = _cut(clean, limits), cut
    order = generator.permutation(len(clean))[:MAX_ROWS_OF_TRIAL]
    folds = np.array_split(order, min(FOLDS, len(order)))
    n_trial_rows = min(MAX_TRIAL_ROWS, max(FOLDS, MAX_TRIAL_ENTRIES // clean.shape[1]))
    noise = noise.head(-(-n_trial_rows // len(order)) * len(clean))
    trials = []
    for fold in folds:
        rest = np.setdiff1d(order, fold) if len(folds) > 1 else order
        held_out = noise.take(fold[: -(-n_trial_rows // len(folds))])
        trials.append(_Trial(clean[rest], held_out, shrinkages, channel))

    @functools.cache
    def errors_of(i: int, j: int) -> Floats:
        """Return the squared error of each training row."""
        errors = np.zeros(len(clean))
        for trial in trials:
            np.add.at(errors, trial.held_out.index, trial.errors(smoothings[j], i))
        return errors

    def error_of(i: int, j: int) -> float:
        return float(errors_of(i, j).sum())

    sizes = len(shrinkages), len(smoothings)
    # Rows near a plane and rows near a curve have a valley each.
    starts = [(sizes[0] // 2, sizes[1] // 2), (sizes[0] // 8, sizes[1] - 1 - sizes[1] // 8)]
    i, j = min((_descend(error_of, start, sizes) for start in starts), key=lambda place: error_of(*place))
    linear = _descend(lambda i, _: error_of(i, 0), (sizes[0] // 2, 0), (sizes[0], 1))[0], 0
    # A Gaussian where a few rows alone speak for another shape.
    gains = (errors_of(*linear) - errors_of(i, j))[order]
    if gains.sum() < MIN_SHAPE_Z * math.sqrt(len(gains)) * gains.std():
        i, j = linear
    shape = PriorShape(smoothings[j], shrinkages[i])
    step = np.concatenate([trial.step(shape, i) for trial in trials])
    gap = np.concatenate([trial.gap for trial in trials])
    rows = np.concatenate([trial.held_out.index for trial in trials])
    # The posterior mean is the right step, unless the data say otherwise; from few rows it is less sure.
    strength = find_share(step, gap, rows, expected=1 - 2 / max(2, len(clean)))
    noisy = np.concatenate([(t.held_out.noisy - t.held_out.clean) / channel.unit for t in trials])
    whole, left = np.square(noisy).mean(), np.square(strength * step - gap).mean()
    if left >= whole:
        strength, left = 0.0, whole
    shape = PriorShape(smoothings[j], shrinkages[i], strength)
    return ChosenPrior(
        shape, channel, float(left / whole) if whole else 1.0, bool(whole > MIN_NOISE_POWER), limits, maps
    )


def choose_better(
    first: ChosenPrior, second: ChosenPrior, clean: NDArray[Any], held_out: NoisyRows
) -> ChosenPrior:
    """Return the prior with the smaller squared error on held-out rows.

    Parameters
    ----------
    first, second : ChosenPrior
        Priors of values or of scores.
    clean : ndarray of shape (n, n_features)
        Clean rows to learn from.
    held_out : NoisyRows
        Other rows.
    """
    noise = np.square(held_out.noisy - held_out.clean).mean(axis=0)
    live = noise > 0
    errors = [
        np.square(one.fit_rows(clean).predict(held_out.noisy) - held_out.clean).mean(axis=0)[live]
        for one in (first, second)
    ]
    # Each column counts by the share of its noise that is left.
    return second if (errors[1] / noise[live]).mean() < (errors[0] / noise[live]).mean() else first


@dataclass(frozen=True)
class LinearPrior:
    """Linear posterior mean, learned from two noisy measurements of each row.

    Attributes
    ----------
    shape : PriorShape
        Shape without smoothing.
    channel : _Channel
        Noise of one measurement.
    error : float
        Expected squared error on held-out rows, as a share of that of the noisy rows.
    has_noise : bool
        Whether there is any noise to remove.
    """

    shape: PriorShape
    channel: _Channel
    error: float
    has_noise: bool

    def fit(self, first: NDArray[Any], second: NDArray[Any]) -> PosteriorMean:
        """Return the posterior mean for two measurements of the same rows."""
        middle = (first.astype(np.float64) + second) / 2
        sides = (self.channel.whiten_clean(side, middle.mean(axis=0)) for side in (first, second))
        (axes,) = _cross_axes(next(sides), next(sides), [self.shape.shrinkage])
        return PosteriorMean.of(middle, self.channel, self.shape, axes=axes)


def _cross_axes(first: Floats, second: Floats, shrinkages: Sequence[float]) -> list[_Axes]:
    """Return the covariance of two independent measurements for each shrinkage."""
    product = first.T @ second / max(1, len(first) - 1)
    covariance = (product + product.T) / 2
    diagonal = np.diag(np.diag(covariance))
    found = []
    for shrinkage in shrinkages:
        variances, axes = np.linalg.eigh((1 - shrinkage) * covariance + shrinkage * diagonal)
        found.append(_Axes(axes.T, np.maximum(variances, 0.0), 0.0))
    return found


def choose_linear_prior(
    first: NDArray[Any], second: NDArray[Any], *, generator: np.random.Generator
) -> LinearPrior:
    """Choose the shrinkage by the distance of predictions from the other measurement.

    Parameters
    ----------
    first, second : ndarray of shape (n_samples, n_features)
        Two noisy measurements with independent noise.
    generator : numpy.random.Generator
        Random numbers for the folds.
    """
    first, second = first.astype(np.float64), second.astype(np.float64)
    noise = (first - second) / math.sqrt(2)
    noise -= noise.mean(axis=0)
    spread = ((first + second) / 2).std(axis=0)
    level = pool_levels(noise.std(axis=0), spread, len(noise))
    unit = np.maximum(level, np.where(spread > 0, 1e-3 * spread, 1.0))
    ones = np.ones_like(unit)
    channel = _Channel(ones, 0 * ones, unit, _whitening(noise / unit))
    errors = np.zeros(len(SHRINKAGES))
    order = generator.permutation(len(first))
    for fold in np.array_split(order, min(FOLDS, len(order))):
        rest = np.setdiff1d(order, fold)
        mean = (first[rest] + second[rest]).mean(axis=0) / 2
        sides = [channel.whiten_clean(side, mean) for side in (first, second)]
        for number, axes in enumerate(_cross_axes(sides[0][rest], sides[1][rest], SHRINKAGES)):
            gain = axes.variances / (axes.variances + 1)
            for given, other in (sides, sides[::-1]):
                predicted = (given[fold] @ axes.axes.T * gain) @ axes.axes
                errors[number] += float(np.square(predicted - other[fold]).sum())
    best = int(errors.argmin())
    # The other measurement has noise of power one itself.
    error = max(0.0, float(errors[best]) / (2 * first.size) - 1)
    return LinearPrior(PriorShape(0.0, SHRINKAGES[best]), channel, error, bool((level > 0).any()))


def _find_limits(clean: Floats, noise: NoisyRows) -> tuple[Floats, Floats] | None:
    """Return the limits of columns with wild values on either side, or None."""
    found = [find_wild_limits(torch.from_numpy(side)) for side in (clean, noise.noisy)]
    given = [limits for limits in found if limits is not None]
    if not given:
        return None
    low, high = zip(*given, strict=True)
    return torch.stack(low).amax(0).numpy(), torch.stack(high).amin(0).numpy()


def _cut(rows: Floats, limits: tuple[Floats, Floats] | None) -> Floats:
    return rows if limits is None else np.clip(rows, *limits)


def _descend(
    error_of: Callable[[int, int], float], start: tuple[int, int], sizes: tuple[int, int]
) -> tuple[int, int]:
    """Return a minimum on a grid, by steps from a start."""
    here = start
    while True:
        steps = itertools.product((-1, 0, 1), repeat=2)
        places = [(here[0] + down, here[1] + right) for down, right in steps]
        inside = [place for place in places if all(0 <= k < n for k, n in zip(place, sizes, strict=True))]
        best = min(inside, key=lambda place: error_of(*place))
        if error_of(*best) >= error_of(*here):
            return here
        here = best


def find_share(step: Floats, gap: Floats, rows: NDArray[np.intp], *, expected: float) -> float:
    """Return the share of a step that comes nearest to a gap, from 0 to 1.

    The share is moved to the expected one by its standard error, so that few rows change it by no chance.

    Parameters
    ----------
    step, gap : ndarray of shape (n, n_features)
        Steps that a prediction makes, and those to the truth.
    rows : ndarray of shape (n,)
        Sample of each; those of one sample count once.
    expected : float
        Share in the absence of data.
    """
    power = float(np.square(step).sum())
    if not power:
        return 0.0
    products = np.bincount(rows, (step * (gap - expected * step)).sum(axis=1))[np.unique(rows)]
    excess = float(products.sum()) / power
    error = math.sqrt(len(products)) * float(products.std()) / power
    excess = math.copysign(max(0.0, abs(excess) - MIN_GAIN_Z * error), excess)
    return float(np.clip(expected + excess, 0.0, 1.0))


@dataclass(frozen=True)
class Blend:
    """A network and a posterior mean, each with its share in the prediction.

    Attributes
    ----------
    prior : PosteriorMean or MappedPosteriorMean
        The posterior mean of the training rows.
    network_share : float
        Share of the network, from 0 to 1. Rows that are unlike all training rows have less of it.
    has_wild_columns : bool
        Whether values beyond the training range are those of the network, as in columns with wild values.
    range : pair of Tensor of shape (n_features,), or None
        Lowest and highest noisy values of the training. Rows within them have the prediction of the network,
        others that of the posterior mean, as far as they are unlike all training rows. None blends all rows.
    """

    _fitted_schema: ClassVar[dict[str, Rule]] = {
        "prior": Rule(
            lambda v, _: type(v) in (PosteriorMean, MappedPosteriorMean) and conforms(v), "a posterior mean"
        ),
        "network_share": Rule(lambda v, _: is_number(v) and 0 <= v <= 1, "a number from 0 to 1"),
        "has_wild_columns": has_type(bool, "a truth value"),
        "range": Rule(
            lambda v, _: v is None or _is_range(v), "None, or two tensors of finite numbers", False
        ),
    }
    prior: PosteriorMean | MappedPosteriorMean
    network_share: float
    has_wild_columns: bool = False
    range: tuple[Tensor, Tensor] | None = None

    def combine(self, x: Tensor, denoised: Tensor) -> Tensor:
        """Return predictions for noisy rows from those of the network.

        Parameters
        ----------
        x, denoised : Tensor of shape (n, n_features)
            Noisy rows, and outputs of the network in the unit of clean ones.
        """
        if self.range is None:
            posterior, is_foreign, _ = self._posterior(x, denoised)
            return posterior + self.network_share * (1 - is_foreign) * (denoised - posterior)
        low, high = (limit.to(x) for limit in self.range)
        is_beyond = ((x < low) | (x > high)).any(dim=1)
        # A graph has no rows by choice.
        if torch.compiler.is_exporting():
            return torch.where(is_beyond[:, None], self._extrapolate(x, denoised), denoised)
        if not bool(is_beyond.any()):
            return denoised
        extrapolated = denoised.clone()
        extrapolated[is_beyond] = self._extrapolate(x[is_beyond], denoised[is_beyond])
        return extrapolated

    def _posterior(self, x: Tensor, denoised: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the call of the prior, with wild values of the network."""
        posterior, is_foreign, outside = self.prior(x)
        if self.has_wild_columns:
            # The network has them pass by, or takes them for noise.
            posterior = torch.where(outside, denoised, posterior)
        return posterior, is_foreign, outside

    def _extrapolate(self, x: Tensor, denoised: Tensor) -> Tensor:
        """Return predictions for rows with values beyond the range."""
        posterior, is_foreign, _ = self._posterior(x, denoised)
        assert self.range is not None
        low, high = (limit.to(x) for limit in self.range)
        # The network gets values far outside cut, which moves the others of their row.
        # Tables of this size have no maps.
        assert isinstance(self.prior, PosteriorMean)
        distance = torch.maximum(low - x, x - high) / (self.prior.unit * self.prior.slope.abs()).to(x)
        share = (distance.amax(dim=1, keepdim=True) / MAX_DISTANCE).clamp(0, 1)
        return denoised + torch.maximum(is_foreign, share) * (posterior - denoised)


def _is_range(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(FINITE_TENSOR.test(v, value) for v in value)
