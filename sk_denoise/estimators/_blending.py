"""Blend of a network with the posterior mean of rows of a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sk_denoise._random import stream, stream_seed
from sk_denoise._residual_noise import ResidualNoise, find_residual_noise
from sk_denoise._row_prior import (
    SMOOTHINGS,
    Blend,
    ChosenPrior,
    LinearPrior,
    MappedPosteriorMean,
    Maps,
    NoisyRows,
    PosteriorMean,
    choose_better,
    choose_linear_prior,
    choose_prior,
    draw_noisy_rows,
    find_share,
)
from sk_denoise._validation import as_tensor, warn_user
from sk_denoise.estimators._pairs import Pair, leaves_gaps
from sk_denoise.estimators._preparation import Preparation, SampleLayout

__all__ = ["LARGE_TABLE", "BlendedRows", "LargeTable", "find_noise_of_pairs", "is_blendable"]

Corrupt = Callable[[Tensor, torch.Generator], Tensor]

# Rows from which a part is held out to measure the share of the network, their share and their number; rows
# from which a table is large enough for the network alone.
MIN_BLENDED_ROWS, HELD_OUT_SHARE, MAX_HELD_OUT_ROWS, LARGE_TABLE = 40, 0.2, 300, 5000
# Share of the rows, by their distance from the middle, that may be held out.
INNER_SHARE = 0.9
# Columns of a table beyond which its rows are not compared with each other.
MAX_BLENDED_COLUMNS = 2**14
# The same for two noisy measurements, whose covariance is that of all pairs of columns.
MAX_SECOND_COLUMNS = 256
# Noisy rows that the noise is measured on, and the share of the network.
MIN_NOISE_ROWS, MIN_SHARE_ROWS = 5000, 1000
# Rows and entries of a large table that its covariance is measured on.
MAX_LARGE_ROWS, MAX_LARGE_ENTRIES = 10_000, 2**20
# Share of the error left on held-out rows from which nothing was learned.
HOPELESS = 0.995
# Share of the network below which it learned nothing either, and fewest rows for a warning of it.
MIN_SHARE = 0.05
MIN_ROWS_OF_WARNING = 50


def is_blendable(pair: Pair, layout: SampleLayout) -> bool:
    """Return whether samples are rows of a table of moderate width."""
    is_image = layout.image_shape is not None or layout.has_one_unit
    most = MAX_SECOND_COLUMNS if pair.source == "X_second" else MAX_BLENDED_COLUMNS
    return not is_image and len(pair.inputs) >= 4 and pair.inputs[0].size <= most


def find_noise_of_pairs(pair: Pair) -> ResidualNoise | None:
    """Return the noise of pairs if it does not depend on the clean row, else None."""
    pair = _resample(pair)
    return find_residual_noise(pair.inputs, pair.targets)


@dataclass
class BlendedRows:
    """Rows of a fit, for predictions that blend the network with the posterior mean.

    Attributes
    ----------
    all, training : Pair
        All rows, and those that the network learns from.
    held_out : Pair or None
        Rows that the share of the network is measured on; None for too few of them.
    chosen : ChosenPrior, LinearPrior or None
        The prior, once it was chosen.
    unit : ndarray of shape (n_features,) or None
        Level of the noise in each column, once it was measured.
    """

    all: Pair
    training: Pair
    held_out: Pair | None
    chosen: ChosenPrior | LinearPrior | None = None
    unit: NDArray[Any] | None = None

    @classmethod
    def of(
        cls, everything: Pair, training: Pair, held_out: Pair | None, seed: int
    ) -> tuple[BlendedRows, Pair]:
        """Return the rows of a blend, and those that are left to train the network.

        Parameters
        ----------
        everything, training : Pair
            All rows, and those that are not held out for validation.
        held_out : Pair or None
            Validation rows. Without them, a part of the training rows is held out.
        seed : int
            Seed of the choice of this part.
        """
        n = len(training.inputs)
        # The posterior mean learns from all rows; the share of the network is measured on a part of them.
        if held_out is None and n >= MIN_BLENDED_ROWS:
            n_held_out = int(min(HELD_OUT_SHARE * n, MAX_HELD_OUT_ROWS))
            rows = _choose_held_out(training.targets, n_held_out, seed)
            held_out = training.take(rows)
            training = training.take(np.setdiff1d(np.arange(n), rows))
        held = None if held_out is None else _resample(held_out)
        return cls(_resample(everything), _resample(training), held), training

    def blend(
        self,
        corrupt: Corrupt | None,
        predict: Callable[[Tensor], NDArray[Any]],
        fill: Callable[[Tensor], Tensor],
        root: int,
        *,
        has_wild_columns: bool,
        maps: Maps | None = None,
    ) -> Blend:
        """Return the blend of the posterior mean with a trained network.

        Parameters
        ----------
        corrupt : callable or None
            Function that draws noise for clean rows; None for pairs as given.
        predict : callable
            From noisy rows to predictions of the network alone.
        fill : callable
            Function that fills gaps of noisy rows.
        root : int
            Seed of the fit.
        has_wild_columns : bool
            Whether values beyond the training range are those of the network.
        maps : pair of QuantileMap, optional
            Maps of the columns to scores, of which the prior may be one if that is better on held-out rows.
        """
        if self.chosen is None:
            self.chosen = _choose(self.all, corrupt, MIN_NOISE_ROWS, root)
            self.unit = self.chosen.channel.unit
            if maps is not None and self.held_out is not None and isinstance(self.chosen, ChosenPrior):
                mapped = _choose(self.all, corrupt, MIN_NOISE_ROWS, root, maps=maps)
                noisy = self._noisy_held_out(corrupt, fill, root)
                assert isinstance(mapped, ChosenPrior)
                self.chosen = choose_better(self.chosen, mapped, self.training.targets, noisy)
        share = 0.0 if self.held_out is None else self._measure_share(corrupt, predict, fill, root)
        return Blend(_fit(self.chosen, self.all), share, has_wild_columns)

    def _noisy_held_out(
        self, corrupt: Corrupt | None, fill: Callable[[Tensor], Tensor], root: int
    ) -> NoisyRows:
        """Return held-out rows with noise, and without gaps."""
        assert self.held_out is not None
        rows = _noisy_rows(self.held_out, corrupt, MIN_SHARE_ROWS, stream(root, "share"))
        gaps = self.held_out.input_gaps
        if gaps is None:
            return rows
        noisy = torch.from_numpy(np.where(gaps[rows.index], np.nan, rows.noisy))
        return replace(rows, noisy=fill(noisy).numpy())

    def _measure_share(
        self,
        corrupt: Corrupt | None,
        predict: Callable[[Tensor], NDArray[Any]],
        fill: Callable[[Tensor], Tensor],
        root: int,
    ) -> float:
        """Return the share of the network that predicts held-out rows best."""
        assert self.chosen is not None
        assert self.held_out is not None
        assert self.unit is not None
        rows = self._noisy_held_out(corrupt, fill, root)
        prior = _fit(self.chosen, self.training).predict(rows.noisy)
        unit = self.unit
        step, gap = (predict(as_tensor(rows.noisy)) - prior) / unit, (rows.clean - prior) / unit
        # Entries without truth have no error.
        if self.held_out.target_gaps is not None:
            known = ~self.held_out.target_gaps[rows.index]
            step, gap = step * known, gap * known
        return find_share(step, gap, rows.index, expected=0.0)

    def report(self, blend: Blend, name: str, *, is_verbose: bool) -> None:
        """Print the shares of the prediction; warn if nothing was learned."""
        if is_verbose:
            print(
                f"[{name}] predictions are {100 * blend.network_share:.0f} % network and "
                f"{100 - 100 * blend.network_share:.0f} % posterior mean of the training rows",
                flush=True,
            )
        assert self.chosen is not None
        error, is_sure = self.chosen.error, len(self.all.inputs) >= MIN_ROWS_OF_WARNING
        # Filled gaps are near the best prediction already.
        is_sure &= not leaves_gaps(self.all.noiser)
        if is_sure and error > HOPELESS and blend.network_share < MIN_SHARE and self.chosen.has_noise:
            warn_user(
                f"Nothing was learned that removes noise from held-out rows: {100 * error:.0f} % of its "
                "squared error is left. Columns may be independent, rows too few, or the noise too weak "
                "beside the data. Predictions stay near the input."
            )


@dataclass
class LargeTable:
    """Rows of a large table, for a linear prediction beyond the training range.

    Attributes
    ----------
    sample : Pair
        Some rows.
    chosen : ChosenPrior, LinearPrior or None
        The prior, once it was chosen.
    """

    sample: Pair
    chosen: ChosenPrior | LinearPrior | None = None

    @classmethod
    def of(cls, pair: Pair) -> LargeTable:
        """Take some rows of a table."""
        n = min(len(pair.inputs), MAX_LARGE_ROWS, max(4, MAX_LARGE_ENTRIES // pair.inputs[0].size))
        rows = np.linspace(0, len(pair.inputs) - 1, n).astype(np.intp)
        return cls(_resample(pair.take(rows)))

    def blend(self, corrupt: Corrupt | None, preparation: Preparation, root: int) -> Blend:
        """Return the network within the training range, and the linear prediction beyond.

        Parameters
        ----------
        corrupt : callable or None
            Function that draws noise for clean rows; None for pairs as given.
        preparation : Preparation
            Scaling of the network, which has the range.
        root : int
            Seed of the fit.
        """
        if self.chosen is None:
            n_rows = len(self.sample.inputs)
            self.chosen = _choose(self.sample, corrupt, n_rows, root, smoothings=(0.0,))
        limits = preparation.find_range()
        return Blend(_fit(self.chosen, self.sample), 1.0, preparation.wild is not None, limits)


def _choose_held_out(clean: NDArray[Any], n: int, seed: int) -> NDArray[np.intp]:
    """Return the indices of random rows, none of which is among the outermost ones.

    Networks extrapolate badly, so that they learn from these.
    """
    spread = np.ptp(np.quantile(clean, [0.25, 0.75], axis=0), axis=0)
    spread = np.where(spread > 0, spread, np.ptp(clean, axis=0))
    distances = np.abs(clean - np.median(clean, axis=0)) / np.where(spread > 0, spread, 1.0)
    inner = np.flatnonzero(distances.mean(axis=1) <= np.quantile(distances.mean(axis=1), INNER_SHARE))
    return np.sort(np.random.default_rng(seed).permutation(inner)[:n])


def _resample(pair: Pair) -> Pair:
    """Return as many rows of equal weight, repeated in proportion to their weights."""
    if pair.weights is None or np.ptp(pair.weights) == 0:
        return pair
    cumulated = np.cumsum(pair.weights, dtype=np.float64)
    places = (np.arange(len(cumulated)) + 0.5) / len(cumulated)
    return replace(pair.take(np.searchsorted(cumulated / cumulated[-1], places)), weights=None)


def _choose(
    pair: Pair,
    corrupt: Corrupt | None,
    n_rows: int,
    root: int,
    smoothings: Sequence[float] = SMOOTHINGS,
    maps: Maps | None = None,
) -> ChosenPrior | LinearPrior:
    """Choose the prior for rows with a clean side, or for two noisy measurements."""
    folds = np.random.default_rng(stream_seed(root, "folds"))
    if pair.source == "X_second":
        return choose_linear_prior(pair.inputs, pair.targets, generator=folds)
    rows = _noisy_rows(pair, corrupt, n_rows, stream(root, "blend"))
    return choose_prior(pair.targets, rows, smoothings=smoothings, generator=folds, maps=maps)


def _fit(chosen: ChosenPrior | LinearPrior, pair: Pair) -> PosteriorMean | MappedPosteriorMean:
    """Return the posterior mean for the rows of a pair."""
    if isinstance(chosen, LinearPrior):
        return chosen.fit(pair.inputs, pair.targets)
    return chosen.fit_rows(pair.targets)


def _noisy_rows(pair: Pair, corrupt: Corrupt | None, n_rows: int, generator: torch.Generator) -> NoisyRows:
    """Return pairs as given, or with new noise."""
    if corrupt is None:
        noisy, clean = pair.inputs.astype(np.float64), pair.targets.astype(np.float64)
        if pair.source == "X_second":
            # Each measurement is the target of the other: its noise has no part in the best share.
            both = np.tile(np.arange(len(clean)), 2)
            return NoisyRows(np.vstack([noisy, clean]), np.vstack([clean, noisy]), both)
        return NoisyRows(noisy, clean, np.arange(len(clean)))
    return draw_noisy_rows(pair.targets, corrupt, n_rows, generator)
