"""Gaps in tables: completion of training rows, and filling of noisy rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sk_denoise._scaling import FINITE_TENSOR, find_wild_limits
from sk_denoise._schema import Rule, conforms
from sk_denoise._validation import Noiser, as_tensor
from sk_denoise.estimators._gap_gaussian import MAX_EM_ROWS, Gaussian, choose_strength
from sk_denoise.noise import find_blocks

__all__ = ["FilledNoise", "GapFiller", "complete_pair", "complete_rows", "refuse_empty_columns"]

Floats = NDArray[np.float64]

# Columns of a table, up to which gaps are filled by a Gaussian; wider tables take means of columns.
MAX_GAUSSIAN_COLUMNS = 2000
# Fewest rows that a strength of the prior is chosen from, and the strength for fewer.
MIN_CHOICE_ROWS, DEFAULT_STRENGTH = 20, 10.0
# Entries that are known on both sides, from which the slope of a noisy column is measured.
MIN_PAIRS = 20
# Steps of conjugate gradients, and the change relative to the first residual at which they end.
MAX_STEPS, TOLERANCE = 200, 1e-6
# Steps in an exported graph, which cannot end early.
GRAPH_STEPS = 40
# Smallest divisor, which exporters write in single precision.
SMALLEST = 1e-30
# Standard deviations beyond the range of the rows, at which values are cut before others are filled by them.
MARGIN = 1.0


def refuse_empty_columns(rows: NDArray[Any], name: str, names: Sequence[Any] | None = None) -> None:
    """Refuse a table with columns that hold no known entry."""
    empty = np.flatnonzero(np.isnan(rows).all(axis=0))
    if len(empty):
        words = ", ".join(repr(names[i]) if names is not None else str(i) for i in empty[:5])
        raise ValueError(
            f"{name} has {len(empty)} columns without any known entry: {words}"
            f"{', ...' if len(empty) > 5 else ''}. Leave them out."
        )


def complete_rows(rows: NDArray[Any], seed: int) -> NDArray[Any]:
    """Return a table with plausible values in its gaps.

    The values are draws from a Gaussian of all columns, given the known entries of the row. Completed rows
    have the means, deviations and correlations of the known entries, which means in gaps would weaken.
    A category that is missing becomes a category, in a one-hot encoding.

    Parameters
    ----------
    rows : ndarray of shape (n, n_features)
        Table with NaN for gaps.
    seed : int
        Seed of the draws.
    """
    means, deviations, errors = _conditional(rows, np.random.default_rng(seed))
    drawn = np.clip(means + deviations * errors, np.nanmin(rows, axis=0), np.nanmax(rows, axis=0))
    return _with_categories(np.where(np.isnan(rows), drawn, rows), rows).astype(rows.dtype)


def complete_pair(noisy: NDArray[Any], clean: NDArray[Any], seed: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return both sides of a pair of tables with plausible values in their gaps.

    A missing clean entry is drawn given the other clean entries of its row and its noisy value. A missing
    noisy entry is the clean one with the noise of another row.

    Parameters
    ----------
    noisy, clean : ndarray of shape (n, n_features)
        Tables with NaN for gaps.
    seed : int
        Seed of the draws.
    """
    rng = np.random.default_rng(seed)
    x, c = noisy.astype(np.float64), clean.astype(np.float64)
    means, deviations, errors = _conditional(c, rng)
    slope, offset, residuals = _noise_of_columns(x, c)
    variance, power = deviations**2, np.nanmean(residuals**2, axis=0)
    with np.errstate(invalid="ignore"):
        gain = np.divide(
            variance * slope, slope**2 * variance + power, where=variance > 0, out=np.zeros_like(c)
        )
        informed = means + gain * (x - offset - slope * means)
        left = np.sqrt(variance * np.clip(1 - gain * slope, 0, 1))
    drawn = np.where(np.isnan(x), means + deviations * errors, informed + left * errors)
    complete = np.where(np.isnan(c), np.clip(drawn, np.nanmin(c, axis=0), np.nanmax(c, axis=0)), c)
    complete = _with_categories(complete, c)
    added = slope * complete + offset + _draw_from_columns(residuals, rng, everywhere=True)
    return np.where(np.isnan(x), added, x).astype(noisy.dtype), complete.astype(clean.dtype)


def _conditional(rows: NDArray[Any], rng: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    """Return filled rows, deviations of their gaps, and draws of errors."""
    rows = rows.astype(np.float64)
    gaps = np.isnan(rows)
    means, deviations, errors = rows.copy(), np.zeros_like(rows), np.zeros_like(rows)
    if rows.shape[1] > MAX_GAUSSIAN_COLUMNS:
        center, spread = np.nanmean(rows, axis=0), np.nanstd(rows, axis=0)
        safe = np.where(spread > 0, spread, 1.0)
        drawn = (_draw_from_columns(rows, rng) - center) / safe
        return np.where(gaps, center, rows), gaps * spread, gaps * drawn
    standard, center, unit = _standardize(rows)
    chosen = np.flatnonzero(gaps.any(axis=1))
    if len(chosen):
        model, device = _fit_gaussian(standard, rng), torch.device("cpu")
        filled, variances = model.condition(standard[chosen], device)
        means[chosen] = np.where(gaps[chosen], filled * unit + center, rows[chosen])
        deviations[chosen] = gaps[chosen] * np.sqrt(variances) * unit
        errors[chosen] = model.draw(standard[chosen], rng, device)
    return means, deviations, errors


def _with_categories(complete: Floats, rows: NDArray[Any]) -> Floats:
    """Return completed rows with one category in each gap of a one-hot encoding."""
    gaps = np.isnan(rows)
    # The columns of a category are missing together.
    starts = np.flatnonzero((gaps[:, 1:] != gaps[:, :-1]).any(axis=0)) + 1
    for run in np.split(np.arange(rows.shape[1]), starts):
        missing = gaps[:, run[0]]
        if len(run) < 2 or not missing.any():
            continue
        for block in find_blocks(torch.from_numpy(complete[~missing][:, run])):
            columns = run[block]
            likeliest = complete[missing][:, columns].argmax(axis=1)
            complete[np.ix_(missing, columns)] = np.eye(len(columns))[likeliest]
    return complete


def _noise_of_columns(noisy: Floats, clean: Floats) -> tuple[Floats, Floats, Floats]:
    """Return slopes and offsets of noisy columns over clean ones, and residuals."""
    known = ~np.isnan(noisy) & ~np.isnan(clean)
    counts = np.maximum(known.sum(axis=0), 1)
    x, c = np.where(known, noisy, 0.0), np.where(known, clean, 0.0)
    # Shares of the largest value, since squares may leave the range of numbers.
    unit = np.abs(c).max(axis=0)
    unit[unit == 0] = 1.0
    x_mean, c_mean = x.sum(axis=0) / counts, c.sum(axis=0) / counts
    x_away, c_away = known * (x - x_mean) / unit, known * (c - c_mean) / unit
    power = (c_away**2).sum(axis=0)
    slope = np.divide((x_away * c_away).sum(axis=0), power, where=power > 0, out=np.ones_like(power))
    # Few pairs measure no slope.
    slope = np.where(counts >= MIN_PAIRS, slope, 1.0)
    offset = np.where(known.any(axis=0), x_mean - slope * c_mean, 0.0)
    residuals = np.where(known, noisy - slope * clean - offset, np.nan)
    residuals[0] = np.where(known.any(axis=0), residuals[0], 0.0)
    return slope, offset, residuals


def _standardize(rows: Floats) -> tuple[Floats, Floats, Floats]:
    """Return rows in standard units with wild values cut, and the means and units."""
    means = np.nanmean(rows, axis=0)
    limits = find_wild_limits(as_tensor(np.where(np.isnan(rows), means, rows)))
    cut = rows if limits is None else np.clip(rows, limits[0].numpy(), limits[1].numpy())
    # Shares of the largest value, since squares may leave the range of numbers.
    largest = np.nanmax(np.abs(cut), axis=0)
    largest[largest == 0] = 1.0
    center = np.nanmean(cut / largest, axis=0)
    unit = np.nanstd(cut / largest, axis=0)
    unit = np.where(unit > 1e-12, unit, 1.0)
    return (cut / largest - center) / unit, center * largest, unit * largest


def _fit_gaussian(standard: Floats, rng: np.random.Generator, n_copies: int = 1) -> Gaussian:
    """Fit a Gaussian to standardized rows with gaps, in copies with other noise."""
    device, strength = torch.device("cpu"), DEFAULT_STRENGTH
    n_rows = len(standard) // n_copies
    if n_rows >= MIN_CHOICE_ROWS:
        # Rows must not be predicted from their copies.
        strength = choose_strength(standard[:n_rows], device, rng)
    chosen = rng.permutation(len(standard))[:MAX_EM_ROWS]
    return Gaussian.fit(standard[chosen], strength * len(chosen) / min(n_rows, len(chosen)), device)


def _draw_from_columns(rows: Floats, rng: np.random.Generator, *, everywhere: bool = False) -> Floats:
    """Return rows with known entries of the same column in their gaps, or everywhere."""
    drawn = rows.copy()
    for column in drawn.T:
        gaps = np.isnan(column)
        chosen = np.ones_like(gaps) if everywhere else gaps
        column[chosen] = rng.choice(column[~gaps], int(chosen.sum()))
    return drawn


def _clip(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Return values within limits, by functions that exporters of graphs know."""
    return torch.minimum(torch.maximum(x, low), high)


@dataclass(frozen=True)
class FilledNoise:
    """Noise of which the gaps are filled.

    Attributes
    ----------
    noiser : noiser
        Fitted noiser, which may leave NaN for gaps.
    filler : GapFiller
        Filler of the gaps.
    """

    noiser: Noiser
    filler: GapFiller

    def corrupt(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Return corrupted rows without gaps."""
        return self.filler.fill(self.noiser.corrupt(x, generator))


@dataclass(frozen=True)
class GapFiller:
    """Filler of gaps in noisy rows by their conditional means under a Gaussian.

    With conditional means in its gaps, a row has the same linear prediction as its known entries alone.

    Attributes
    ----------
    center, unit : Tensor of shape (n_features,)
        Mean and unit of each column; the diagonal of the precision is 1 in these units.
    precision : Tensor of shape (n_features, n_features) or (0, 0)
        Inverse of the covariance of noisy rows; empty for means of columns.
    low, high : Tensor of shape (n_features,)
        Smallest and largest known entry of each column.
    """

    _fitted_schema: ClassVar[dict[str, Rule]] = {
        **dict.fromkeys(("center", "unit", "precision", "low", "high"), FINITE_TENSOR)
    }
    center: Tensor
    unit: Tensor
    precision: Tensor
    low: Tensor
    high: Tensor

    @classmethod
    def fit(cls, rows: NDArray[Any], seed: int, n_copies: int = 1) -> Self:
        """Learn from noisy rows with NaN for gaps.

        Parameters
        ----------
        rows : ndarray of shape (n_copies * n, n_features)
            The rows, each copy with other noise.
        seed : int
            Seed of the choice of rows.
        n_copies : int, default=1
            Number of copies.
        """
        rows = rows.astype(np.float64)
        standard, center, unit = _standardize(rows)
        precision: Floats = np.empty((0, 0))
        if rows.shape[1] <= MAX_GAUSSIAN_COLUMNS:
            model = _fit_gaussian(standard, np.random.default_rng(seed), n_copies)
            covariance: Any = model.factors
            if model.rest is not None:
                covariance = model.factors @ model.factors.T + np.diag(model.rest)
            center = center + model.mean * unit
            precision = np.linalg.inv(covariance)
            scale = 1 / np.sqrt(np.diag(precision))
            # The unit becomes the deviation of a column, given all others.
            precision, unit = scale[:, None] * precision * scale, unit * scale
        sides = center, unit, precision, np.nanmin(rows, axis=0), np.nanmax(rows, axis=0)
        return cls(*(torch.from_numpy(np.ascontiguousarray(side)) for side in sides))

    def fits(self, n_features: int) -> bool:
        """Return whether the parts fit each other and a number of columns."""
        columns = self.center, self.unit, self.low, self.high
        sizes = (n_features, n_features), (0, 0)
        return (
            conforms(self)
            and all(column.shape == (n_features,) for column in columns)
            and bool((self.unit > 0).all())
            and tuple(self.precision.shape) in sizes
        )

    def fill(self, x: Tensor) -> Tensor:
        """Return rows with conditional means in place of NaN, in the precision of x."""
        gaps = x.isnan()
        # A graph chooses no rows.
        if torch.compiler.is_exporting():
            return self._fill_rows(x, gaps)
        chosen = gaps.any(dim=1).nonzero().flatten()
        if not len(chosen):
            return x
        return x.index_copy(0, chosen, self._fill_rows(x[chosen], gaps[chosen]))

    def _fill_rows(self, x: Tensor, is_missing: Tensor) -> Tensor:
        center, unit, low, high = (
            side.to(x.device) for side in (self.center, self.unit, self.low, self.high)
        )
        rows = x.double()
        means = center.expand_as(rows)
        if len(self.precision):
            # Wild values would move the others of their row.
            margin = MARGIN * (high - low)
            known = torch.where(is_missing, center, rows)
            errors = (_clip(known, low - margin, high + margin) - center) / unit
            means = center + unit * self._solve(errors.masked_fill(is_missing, 0.0), is_missing.double())
        return torch.where(is_missing, _clip(means, low, high).to(x.dtype), x)

    def _solve(self, errors: Tensor, is_missing: Tensor) -> Tensor:
        """Return the conditional means of missing entries, by conjugate gradients."""
        # Their number of steps is small, since noise bounds the condition of the covariance.
        precision = self.precision.to(errors)
        means = torch.zeros_like(errors)
        residual = -(errors @ precision) * is_missing
        direction, power = residual, residual.square().sum(1, keepdim=True)
        end = TOLERANCE**2 * power
        is_graph = torch.compiler.is_exporting()
        for _ in range(min(GRAPH_STEPS if is_graph else MAX_STEPS, errors.shape[1])):
            if not is_graph and bool((power <= end).all()):
                break
            image = (direction @ precision) * is_missing
            step = power / (direction * image).sum(1, keepdim=True).clamp(min=SMALLEST)
            # Rounding would drive rows away that are done while others go on.
            step = torch.where(power > end, step, 0.0)
            means, residual = means + step * direction, residual - step * image
            earlier, power = power, residual.square().sum(1, keepdim=True)
            direction = residual + power / earlier.clamp(min=SMALLEST) * direction
        return means
