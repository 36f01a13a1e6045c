"""Noise of pairs of rows, drawn anew where it does not depend on the row."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from sk_denoise._scaling import find_wild_limits

__all__ = ["Correlation", "ResidualNoise", "find_residual_noise", "pool_levels"]

Floats = NDArray[np.float64]

# Fewest rows whose noise is drawn anew, and rows and columns that a test of independence reads.
MIN_ROWS, MAX_ROWS, MAX_COLUMNS = 8, 5000, 64
# Probability of a false alarm of the tests of independence, over all columns.
FALSE_ALARM = 1e-3
# Deviations from chance of the sum of squared correlations from which columns have common noise.
MIN_CORRELATION_Z = 6.0
# Standard errors from which the mean of the noise of a column is no chance.
MIN_MEAN_Z = 4.0


@dataclass(frozen=True)
class ResidualNoise:
    """Noise drawn from the differences of noisy and clean rows.

    Attributes
    ----------
    residuals : Tensor of shape (n, n_features)
        Noisy minus clean rows.
    by_column : bool
        Whether the noise of each column is drawn by itself, since columns have independent noise.
    """

    residuals: Tensor
    by_column: bool

    def corrupt(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Return rows with residuals of random training rows."""
        residuals = self.residuals.to(x.device)
        n, p = residuals.shape
        shape = (len(x), p) if self.by_column else (len(x), 1)
        index = torch.randint(n, shape, generator=generator, device=generator.device).to(x.device)
        # The rest of the residuals need no conversion.
        return x + torch.gather(residuals, 0, index.expand(len(x), p)).to(x)


def find_residual_noise(noisy: NDArray[Any], clean: NDArray[Any]) -> ResidualNoise | None:
    """Return the noise of pairs if it does not depend on the clean row, else None.

    Residuals and their squares are compared with the clean values and their squares, in the same column by
    correlation, and in all columns together by the length of rows.

    Parameters
    ----------
    noisy, clean : ndarray of shape (n, n_features)
        Pairs of rows.
    """
    if noisy.ndim != 2 or len(noisy) < MIN_ROWS:
        return None
    few = slice(None, None, -(-len(noisy) // MAX_ROWS)), slice(None, None, -(-noisy.shape[1] // MAX_COLUMNS))
    values = clean[few].astype(np.float64)
    noise = noisy[few] - values
    if not noise.any() or _depends(noise, values):
        return None
    residuals = _without_chance(noisy.astype(np.float64) - clean, clean.std(axis=0, dtype=np.float64))
    return ResidualNoise(torch.from_numpy(residuals), not _is_common(noise))


def _without_chance(residuals: Floats, spread: Floats) -> Floats:
    """Return residuals without means and differences of levels that are chance.

    In 15 rows, the mean of the residuals has a fifteenth of the power of the noise. To learn it would add as
    much to the error.
    """
    # A few wild values are all of the mean and the level.
    if find_wild_limits(torch.from_numpy(residuals)) is not None:
        return residuals
    # Noise that leaves entries alone, and rounded data, stay as they are.
    free = (residuals != 0).all(axis=0)
    n, noise = len(residuals), residuals[:, free]
    mean, level = noise.mean(axis=0), noise.std(axis=0, ddof=1)
    mean = np.where(np.abs(mean) > MIN_MEAN_Z * level / math.sqrt(n), mean, 0.0)
    centered = noise - noise.mean(axis=0)
    found = centered.std(axis=0)
    changed = residuals.copy()
    scale = np.divide(pool_levels(level, spread[free], n), found, out=np.ones_like(found), where=found > 0)
    changed[:, free] = mean + centered * scale
    return changed


def pool_levels(levels: Floats, spread: Floats, n: int) -> Floats:
    """Return noise levels of columns, moved together as far as chance separates them.

    Parameters
    ----------
    levels, spread : ndarray of shape (n_features,)
        Standard deviations of the noise, and of the clean rows, which are the unit of the columns.
    n : int
        Number of rows that the levels were measured on.
    """
    live = (levels > 0) & (spread > 0)
    if live.sum() < 2:
        return levels
    ratios = levels[live] / spread[live]
    logs = np.log(ratios)
    # The logarithm of a deviation of n numbers has a variance of 1 / (2 n).
    share = min(1.0, 1 / (2 * max(1, n - 1)) / max(float(logs.var(ddof=1)), 1e-300))
    mean = math.log(math.sqrt(float(np.mean(ratios**2))))
    pooled = np.array(levels)
    pooled[live] = np.exp((1 - share) * logs + share * mean) * spread[live]
    return pooled


def _depends(noise: Floats, values: Floats) -> bool:
    """Return whether noise depends on the values, by its mean or its size."""
    n = len(noise)
    noise, values = (side[:, np.ptp(side, axis=0) > 0] for side in (noise, values))
    if not noise.size or not values.size:
        return False
    # Ranks, so that single large values decide nothing.
    signed, size = _ranks(noise), _ranks(np.abs(noise))
    value, distance = _ranks(values), _ranks(np.abs(values - np.median(values, axis=0)))
    strongest = max(
        float(np.abs(side.T @ other).max()) for side in (signed, size) for other in (value, distance)
    )
    n_tests = 4 * noise.shape[1] * values.shape[1]
    level = stats.norm.isf(FALSE_ALARM / (2 * n_tests)) / math.sqrt(n - 1)
    if strongest > level:
        return True
    # A weak dependence in many columns: the size of the noise against the size of the row.
    sizes = (np.abs(noise) / np.ptp(noise, axis=0)).mean(axis=1, keepdims=True)
    distances = np.abs(values - np.median(values, axis=0))
    rows = (distances / np.ptp(values, axis=0)).mean(axis=1, keepdims=True)
    together = abs(float((_ranks(sizes).T @ _ranks(rows)).item()))
    return together > float(stats.norm.isf(FALSE_ALARM / 2)) / math.sqrt(n - 1)


def _ranks(columns: Floats) -> Floats:
    """Return the ranks of each column with mean 0 and norm 1."""
    ranks = stats.rankdata(columns, axis=0)
    ranks = ranks - ranks.mean(axis=0)
    norms = np.sqrt(np.square(ranks).sum(axis=0))
    scaled: Floats = np.divide(ranks, norms, out=np.zeros_like(ranks), where=norms > 0)
    return scaled


def _is_common(noise: Floats) -> bool:
    """Return whether the noise of two columns is related, by sign or by size."""
    sides = (_ranks(side) for side in (noise, np.abs(noise)))
    return any(Correlation.of(side).is_beyond_chance for side in sides)


@dataclass(frozen=True)
class Correlation:
    """Correlation of the columns of noise, over all pairs of columns.

    Attributes
    ----------
    excess : float
        Mean squared correlation beyond that of chance.
    deviations : float
        The same in standard deviations of chance.
    """

    excess: float
    deviations: float

    @classmethod
    def of(cls, noise: Floats) -> Self:
        """Measure the correlation of columns of any unit; constant ones do not count.

        Parameters
        ----------
        noise : ndarray of shape (n, n_features)
            Noise, or its ranks.
        """
        centered = noise - noise.mean(axis=0)
        lengths = np.sqrt(np.square(centered).sum(axis=0))
        unit = centered[:, lengths > 0] / lengths[lengths > 0]
        n, p = unit.shape
        if p < 2:
            return cls(0.0, 0.0)
        n_pairs = p * (p - 1) / 2
        squares = (np.square(unit.T @ unit).sum() - p) / 2
        excess = float(squares / n_pairs - 1 / n)
        # By chance, the squared sum of products over the sum of their squares has mean 1 and variance 2, also
        # where the size of noise depends on the row.
        own = np.square(unit)
        chances = np.square(unit.T @ unit) / np.maximum(own.T @ own, 1e-300)
        beyond = (chances.sum() - np.trace(chances)) / 2 - n_pairs
        return cls(excess, float(beyond) / math.sqrt(2 * n_pairs))

    @property
    def is_beyond_chance(self) -> bool:
        """Whether some columns are correlated."""
        return self.deviations > MIN_CORRELATION_Z
