"""Gaussian distributions of columns with gaps, as they are and as normal scores."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri
from torch import Tensor

from sk_denoise._schema import (
    Rule,
    is_nonnegative_array,
    is_numeric_array,
    optional,
)

__all__ = ["CHUNK_ROWS", "MAX_COMPARED_ROWS", "MAX_EM_ROWS", "Gaussian", "NormalScores", "choose_strength"]

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

# Rows of a chunk, each of which takes a matrix of all pairs of columns.
CHUNK_ROWS = 512
# Candidates for the number of rows that the prior of independent columns counts as.
STRENGTHS = (1.0, 3.0, 10.0, 30.0, 100.0)
# Rows on which candidates are compared, and rows of EM, for tables with many.
MAX_COMPARED_ROWS, MAX_EM_ROWS = 600, 4000
# Steps of EM, the change of a covariance at which they end, and steps from a start that is nearly right.
MAX_STEPS, TOLERANCE, WARM_STEPS = 30, 2e-3, 3
# Columns from which the covariance has low rank, and the largest rank.
MIN_WIDE, MAX_RANK = 160, 32
# Knots of the map of a column to normal scores, and nodes of the mean over normal scores.
N_KNOTS, N_NODES = 64, 11


# Gaussian models ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Gaussian:
    """Gaussian distribution of standardized columns.

    Attributes
    ----------
    mean : ndarray of shape (d,)
        Means.
    factors : ndarray of shape (d, rank)
        Loadings of a covariance of low rank; the covariance itself, of shape (d, d), where ``rest`` is None.
    rest : ndarray of shape (d,) or None
        Variances beside those of the loadings.
    """

    _fitted_schema: ClassVar[dict[str, Rule]] = {
        "mean": Rule(lambda v, _: is_numeric_array(v, np.shape(v)) and v.ndim == 1, "means"),
        "factors": Rule(
            lambda v, g: (
                is_numeric_array(v, np.shape(v))
                and v.ndim == 2
                and len(v) == len(g.mean)
                and (g.rest is not None or v.shape[1] == len(v))
            ),
            "loadings, or a covariance",
        ),
        "rest": optional(Rule(lambda v, g: is_nonnegative_array(v, g.mean.shape), "variances")),
    }
    mean: Floats
    factors: Floats
    rest: Floats | None

    @classmethod
    def fit(cls, rows: Floats, strength: float, device: torch.device, start: Gaussian | None = None) -> Self:
        """Fit to rows with NaN for gaps, by expectation maximization.

        Parameters
        ----------
        rows : ndarray of shape (n, d)
            Standardized rows.
        strength : float
            Number of rows that a prior of independent columns counts as.
        device : torch.device
            Device of the computation.
        start : Gaussian, optional
            Distribution of similar rows, from which a few steps are enough.
        """
        if rows.shape[1] > MIN_WIDE:
            return cls(*_fit_factors(rows, strength, start))
        known = ~np.isnan(rows)
        values, n = np.where(known, rows, 0.0), len(rows)
        mean, covariance = (
            _start_covariance(values, known, strength) if start is None else (start.mean, start.factors)
        )
        for _ in range(MAX_STEPS if start is None else WARM_STEPS):
            model = cls(mean, covariance, None)
            filled, spread = np.empty_like(values), np.zeros_like(covariance)
            for chunk, part in model._posteriors(values, known, device):
                filled[chunk], missing = part.filled, part.missing
                spread += (
                    ((part.covariances() * missing[:, :, None]) * missing[:, None, :]).sum(0).cpu().numpy()
                )
            mean = filled.mean(axis=0)
            scatter = (filled - mean).T @ (filled - mean) + spread
            earlier = covariance
            prior = strength * np.diag(np.diag(scatter) / n)
            # A little is added so that columns which are equal have an inverse.
            covariance = (scatter + prior) / (n + strength) + 1e-6 * np.eye(len(mean))
            if np.abs(covariance - earlier).max() < TOLERANCE:
                break
        return cls(mean, covariance, None)

    def condition(self, rows: Floats, device: torch.device) -> tuple[Floats, Floats]:
        """Return rows with conditional means in their gaps, and the variances of these."""
        known = ~np.isnan(rows)
        values = np.where(known, rows, 0.0)
        filled, variances = np.empty_like(values), np.empty_like(values)
        for chunk, part in self._posteriors(values, known, device):
            filled[chunk], variances[chunk] = part.filled, part.variances()
        return filled, variances

    def draw(self, rows: Floats, rng: np.random.Generator, device: torch.device) -> Floats:
        """Draw correlated errors of conditional means, each of variance 1."""
        known = ~np.isnan(rows)
        values = np.where(known, rows, 0.0)
        draws = rng.standard_normal(values.shape)
        # A row of the distribution less its own conditional mean is a draw of the error.
        if self.rest is None:
            simulated = draws @ np.linalg.cholesky(self.factors).T
        else:
            latent = rng.standard_normal((len(values), self.factors.shape[1]))
            simulated = latent @ self.factors.T + draws * np.sqrt(self.rest)
        filled, variances = self.condition(np.where(known, simulated + self.mean, np.nan), device)
        errors: Floats = (simulated + self.mean - filled) / np.sqrt(np.maximum(variances, 1e-12))
        return errors

    def _posteriors(self, values: Floats, known: Flags, device: torch.device) -> Iterator[tuple[slice, Any]]:
        n_rows = CHUNK_ROWS if self.rest is None else max(1, CHUNK_ROWS * 4)
        for start in range(0, len(values), n_rows):
            chunk = slice(start, start + n_rows)
            kind = _Posterior if self.rest is None else _FactorPosterior
            yield chunk, kind(self, values[chunk], known[chunk], device)


class _Posterior:
    """Distribution of the missing entries of some rows, given the others."""

    def __init__(self, model: Gaussian, values: Floats, known: Flags, device: torch.device) -> None:
        flags = torch.as_tensor(known, device=device)
        self.covariance = torch.as_tensor(model.factors, device=device)
        self.missing = (~flags).to(self.covariance.dtype)
        # Rows and columns of missing entries are those of the identity, so that all rows have one size.
        blocks = self.covariance * (flags[:, :, None] & flags[:, None, :])
        blocks.diagonal(dim1=1, dim2=2).add_(self.missing)
        try:
            precision = torch.cholesky_inverse(torch.linalg.cholesky(blocks))
        except RuntimeError as error:
            raise ValueError(
                "The covariance of this imputer has no inverse. Its file may have been changed: fit it again."
            ) from error
        precision.diagonal(dim1=1, dim2=2).sub_(self.missing)
        self.gains = precision @ self.covariance
        mean = torch.as_tensor(model.mean, device=device)
        given = torch.as_tensor(values, device=device)
        errors = torch.where(flags, given - mean, 0.0)
        predicted = mean + (errors[:, None, :] @ self.gains)[:, 0]
        self.filled = torch.where(flags, given, predicted).cpu().numpy()

    def covariances(self) -> Tensor:
        """Return the conditional covariance of all entries of each row."""
        return self.covariance - self.covariance @ self.gains

    def variances(self) -> Floats:
        """Return the conditional variances, 0 for known entries."""
        explained = (self.covariance * self.gains.transpose(1, 2)).sum(dim=2)
        left = (self.covariance.diagonal() - explained).clamp(min=1e-9) * self.missing
        variances: Floats = left.cpu().numpy()
        return variances


class _FactorPosterior:
    """The same for a covariance of low rank."""

    def __init__(self, model: Gaussian, values: Floats, known: Flags, device: torch.device) -> None:
        assert model.rest is not None
        self.missing = ~known
        self.scores, self.inverses = _factor_scores(model, values, known)
        self.model = model
        self.filled = np.where(known, values, model.mean + self.scores @ model.factors.T)

    def variances(self) -> Floats:
        """Return the conditional variances, 0 for known entries."""
        spread = np.einsum(
            "jk,nkl,jl->nj", self.model.factors, self.inverses, self.model.factors, optimize=True
        )
        variances: Floats = (spread + self.model.rest) * self.missing
        return variances


def _start_covariance(values: Floats, known: Flags, strength: float) -> tuple[Floats, Floats]:
    """Return means, and covariances of the rows that have both entries."""
    mean = values.sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    centered = np.where(known, values - mean, 0.0)
    pairs = known.T.astype(float) @ known
    covariance = centered.T @ centered / np.maximum(pairs, 1) * (pairs / (pairs + strength + 5))
    np.fill_diagonal(covariance, (centered**2).sum(axis=0) / np.maximum(np.diag(pairs), 1) + 1e-3)
    # Such a matrix may have negative eigenvalues.
    variances, axes = np.linalg.eigh(covariance)
    return mean, (axes * np.maximum(variances, 0.05 * variances.mean())) @ axes.T


def _factor_scores(model: Gaussian, values: Floats, known: Flags) -> tuple[Floats, Floats]:
    """Return conditional means and covariances of the factors of each row."""
    assert model.rest is not None
    rank = model.factors.shape[1]
    scaled = model.factors / model.rest[:, None]
    products = (scaled[:, :, None] * model.factors[:, None, :]).reshape(len(scaled), -1)
    inverses = np.linalg.inv((known.astype(float) @ products).reshape(-1, rank, rank) + np.eye(rank))
    errors = np.where(known, values - model.mean, 0.0)
    scores: Floats = np.einsum("nkl,nl->nk", inverses, errors @ scaled)
    return scores, inverses.astype(np.float64, copy=False)


def _fit_factors(rows: Floats, strength: float, start: Gaussian | None) -> tuple[Floats, Floats, Floats]:
    """Fit a covariance of low rank to rows with gaps, by expectation maximization."""
    known = ~np.isnan(rows)
    values = np.where(known, rows, 0.0)
    counts = np.maximum(known.sum(axis=0), 1)
    if start is None or start.rest is None:
        mean = values.sum(axis=0) / counts
        centered = np.where(known, values - mean, 0.0)
        rank = int(np.clip(min(rows.shape) // 4, 1, MAX_RANK))
        _, sizes, axes = np.linalg.svd(centered, full_matrices=False)
        model = Gaussian(
            mean, (axes[:rank] * sizes[:rank, None] / np.sqrt(len(rows))).T, np.full(len(mean), 0.5)
        )
    else:
        model = start
    rank = model.factors.shape[1]
    for _ in range(MAX_STEPS if start is None else WARM_STEPS):
        scores, inverses = _factor_scores(model, values, known)
        errors = np.where(known, values - model.mean, 0.0)
        squares = (inverses + scores[:, :, None] * scores[:, None, :]).reshape(len(rows), -1)
        grams = (known.T.astype(float) @ squares).reshape(-1, rank, rank) + strength * np.eye(rank) / 10
        factors = np.linalg.solve(grams, (errors.T @ scores)[:, :, None])[:, :, 0]
        left = (errors**2).sum(axis=0) - np.einsum("jk,jk->j", factors, errors.T @ scores)
        # Variances of 0 would make the model certain of a few rows.
        rest = np.maximum((left + strength * 0.1) / (counts + strength), 1e-3)
        predicted = scores @ factors.T
        mean = np.where(known, values - predicted, 0.0).sum(axis=0) / counts
        model = Gaussian(mean, factors.astype(np.float64, copy=False), rest)
    assert model.rest is not None
    return model.mean, model.factors, model.rest


def choose_strength(rows: Floats, device: torch.device, rng: np.random.Generator) -> float:
    """Return the strength of the prior that predicts entries of held-out rows best."""
    chosen = rng.permutation(len(rows))[:MAX_COMPARED_ROWS]
    rows = rows[chosen]
    is_test = np.arange(len(rows)) % 3 == 0
    train, test = rows[~is_test], rows[is_test]
    known = ~np.isnan(test)
    hidden = known & (rng.random(known.shape) < 0.3)
    errors, start = [], None
    for strength in STRENGTHS:
        start = Gaussian.fit(train, strength, device, start)
        filled, _ = start.condition(np.where(hidden, np.nan, test), device)
        errors.append(float(((filled - test)[hidden] ** 2).sum()))
    return STRENGTHS[int(np.argmin(errors))]


# Normal scores ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NormalScores:
    """Increasing maps of columns to scores of a normal distribution.

    Attributes
    ----------
    values, scores : ndarray of shape (d, n_knots)
        Knots of each column. The last one is repeated where there are fewer.
    """

    _fitted_schema: ClassVar[dict[str, Rule]] = {
        "values": Rule(lambda v, _: is_numeric_array(v, np.shape(v)) and v.ndim == 2, "knots"),
        "scores": Rule(lambda v, s: is_numeric_array(v, s.values.shape), "knots"),
    }
    values: Floats
    scores: Floats

    @classmethod
    def fit(cls, rows: Floats) -> Self:
        """Learn the maps from rows with NaN for gaps."""
        knots = np.empty((2, rows.shape[1], N_KNOTS))
        for number, column in enumerate(rows.T):
            given = column[~np.isnan(column)]
            values, counts = np.unique(given, return_counts=True)
            shares = (np.cumsum(counts) - counts / 2) / len(given)
            scores = ndtri(np.clip(shares, 0.5 / len(given), 1 - 0.5 / len(given)))
            if len(values) > N_KNOTS:
                chosen = np.round(np.linspace(0, len(values) - 1, N_KNOTS)).astype(int)
                values, scores = values[chosen], scores[chosen]
            rest = N_KNOTS - len(values)
            knots[0, number] = np.pad(values, (0, rest), mode="edge")
            knots[1, number] = np.pad(scores, (0, rest), mode="edge")
        return cls(*knots)

    def transform(self, rows: Floats) -> Floats:
        """Return the scores of rows; gaps stay."""
        columns = zip(rows.T, self.values, self.scores, strict=True)
        return np.column_stack([np.interp(column, *knots) for column, *knots in columns])

    def expect(self, means: Floats, variances: Floats) -> Floats:
        """Return the mean values of scores with normal distributions."""
        nodes, weights = np.polynomial.hermite_e.hermegauss(N_NODES)
        scores = means[:, :, None] + np.sqrt(variances)[:, :, None] * nodes
        columns = zip(scores.swapaxes(0, 1), self.scores, self.values, strict=True)
        return np.column_stack(
            [np.interp(column, *knots) @ (weights / weights.sum()) for column, *knots in columns]
        )
