"""A model that fills gaps: masks, then a linear prediction, kernels and networks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from torch import Tensor
from torch.nn.functional import silu

from sk_denoise._random import stream_seed
from sk_denoise._scaling import find_wild_limits
from sk_denoise._schema import (
    POSITIVE_NUMBER,
    Rule,
    conforms,
    is_nonnegative_array,
    is_numeric_array,
    optional,
    record,
)
from sk_denoise._validation import check_noiser
from sk_denoise.estimators._gap_gaussian import (
    CHUNK_ROWS,
    MAX_COMPARED_ROWS,
    MAX_EM_ROWS,
    Gaussian,
    NormalScores,
    choose_strength,
)

__all__ = ["FillModel", "Kernels", "MaskDraw", "Networks", "learn_model"]

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

# With so many rows for each column, a row hardly changes the covariance that fills it.
ROWS_PER_COLUMN = 60
# Parts of the rows that are filled by models of the other parts, and the fewest rows of a part.
N_FOLDS, MIN_FOLD_ROWS = 5, 4
# Masked rows to learn from, at most, and copies of each row.
MAX_MASKED_ROWS, MAX_COPIES = 6000, 10
# Rows of which the best donor is taken, share of gaps below which a column counts as complete, and shares of
# entries that are hidden in a row with complete columns.
N_DONORS, MIN_GAPS, COMPLETE_SHARES = 4, 0.02, (0.05, 0.5)
# Sides of the matrices of kernels, summed over columns, and columns on which widths are compared.
MAX_SIDES, N_COMPARED_COLUMNS = 10_000, 6
# Landmarks of kernels, and candidates for widths and penalties.
N_LANDMARKS, WIDTHS, PENALTIES = 300, (1.0, 4.0), (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
# Entries that the share of all columns counts as when the share of one column is estimated.
SHARE_WEIGHT = 50.0
# Fewest rows and hidden entries of a column for the network, its width and batches.
MIN_NETWORK_ROWS, WIDTH, BATCH_ROWS, LEARNING_RATE, WEIGHT_DECAY = 2000, 192, 256, 4e-3, 1e-2
MAX_NETWORK_ROWS = 24_000
# Levels of the quantiles of errors, and the fewest errors of a column for quantiles of its own.
LEVELS, MIN_ERRORS = np.linspace(0, 1, 401), 30
# Error without wild values, as a share of the error with them, below which they count as missing.
WILD_GAIN = 0.8
# Different values up to which a column is filled within their range, and the share of rows in the tail that
# the range of other columns is extended by.
MAX_DISCRETE, TAIL = 20, 0.05


# Masks --------------------------------------------------------------------------------------------------


@dataclass
class MaskDraw:
    """Draws of entries to hide.

    Attributes
    ----------
    noise : object
        As the parameter of the imputer.
    known : ndarray of shape (n_samples, n_features)
        Entries that are known.
    rng : Generator
        Source of randomness.
    """

    noise: Any
    known: Flags
    rng: np.random.Generator

    def draw(self, rows: NDArray[np.int_]) -> Flags:
        """Return known entries to hide in some rows; at least one entry stays in each."""
        known, rng = self.known[rows], self.rng
        if isinstance(self.noise, str):
            hidden = self._copy(known) | self._hide_complete(known)
        elif isinstance(self.noise, Real | tuple | list):
            low, high = _as_shares(self.noise)
            hidden = rng.random(known.shape) < rng.uniform(low, high, (len(known), 1))
        else:
            hidden = self._hide_changed(rows)
        hidden &= known
        # One known entry more is of use where nothing was hidden.
        place = (rng.random(known.shape) * known).argmax(axis=1)
        nothing = ~hidden.any(axis=1)
        hidden[nothing, place[nothing]] = True
        everything = ~(known & ~hidden).any(axis=1)
        hidden[everything, place[everything]] = False
        return hidden & known

    def _copy(self, known: Flags) -> Flags:
        """Hide the gaps of another row, of several the one that hides least."""
        best, fewest = np.zeros_like(known), np.full(len(known), known.shape[1] + 1)
        for _ in range(N_DONORS):
            hidden = known & ~self.known[self.rng.integers(len(self.known), size=len(known))]
            count = hidden.sum(axis=1)
            is_better = (count > 0) & (count < fewest) & (known & ~hidden).any(axis=1)
            best[is_better], fewest[is_better] = hidden[is_better], count[is_better]
        return best

    def _hide_complete(self, known: Flags) -> Flags:
        """Hide entries of columns that are complete, which no other row lacks."""
        is_complete = (~self.known).mean(axis=0) < MIN_GAPS
        shares = self.rng.uniform(*COMPLETE_SHARES, (len(known), 1))
        hidden: Flags = is_complete & (self.rng.random(known.shape) < shares * is_complete.mean())
        return hidden

    def _hide_changed(self, rows: NDArray[np.int_]) -> Flags:
        """Hide the entries that a noiser changes."""
        noiser = check_noiser(self.noise)
        values = self.rng.uniform(1, 2, (len(self.known), self.known.shape[1]))
        noiser.fit(values)
        given = torch.as_tensor(values[rows])
        generator = torch.Generator().manual_seed(int(self.rng.integers(2**31)))
        changed: Flags = (noiser.corrupt(given.clone(), generator) != given).numpy()
        return changed


def _as_shares(noise: Any) -> tuple[float, float]:
    low, high = (noise, noise) if isinstance(noise, Real) else tuple(noise)
    if not 0 < low <= high < 1:
        raise ValueError(f"noise must be a share or a pair of shares between 0 and 1, got {noise!r}.")
    return float(low), float(high)


# Kernels ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kernels:
    """Kernel ridge regressions of each column, on shared landmarks.

    Attributes
    ----------
    landmarks : ndarray of shape (n_landmarks, d)
        Rows with filled gaps.
    width : float
        Mean squared distance at which the kernel has fallen to 1 / e.
    coefficients : ndarray of shape (n_landmarks, d)
        Weights of the landmarks.
    """

    _fitted_schema: ClassVar[dict[str, Rule]] = {
        "landmarks": Rule(lambda v, _: is_numeric_array(v, np.shape(v)) and v.ndim == 2, "rows"),
        "width": POSITIVE_NUMBER,
        "coefficients": Rule(lambda v, k: is_numeric_array(v, k.landmarks.shape), "a weight for each entry"),
    }
    landmarks: Floats
    width: float
    coefficients: Floats

    @classmethod
    def fit(cls, masked: _MaskedRows, base: Floats, rng: np.random.Generator) -> tuple[Self, Floats]:
        """Fit to the errors of hidden entries, and predict those of held-out rows."""
        errors, d = masked.target - base, base.shape[1]
        n_landmarks = int(min(N_LANDMARKS, len(np.unique(masked.row)), max(MAX_SIDES / d, 50)))
        landmarks = base[rng.permutation(len(base))[:n_landmarks]]
        columns = np.flatnonzero(masked.hidden.any(axis=0))
        # A few columns are enough to compare widths, and take a fraction of the time.
        compared = columns[:: max(1, math.ceil(len(columns) / N_COMPARED_COLUMNS))]
        losses = []
        for width in WIDTHS:
            regression = _Regression.of(base, landmarks, width, masked)
            losses.append(sum(regression.fit(column, errors[:, column])[0] for column in compared))
        width = WIDTHS[int(np.argmin(losses))]
        regression = _Regression.of(base, landmarks, width, masked)
        coefficients, held_out = np.zeros((n_landmarks, d)), np.zeros_like(base)
        for column in columns:
            _, coefficients[:, column], predictions = regression.fit(column, errors[:, column])
            held_out[masked.hidden[:, column], column] = predictions
        return cls(landmarks, width, coefficients), held_out

    def predict(self, rows: Floats) -> Floats:
        """Return the error of each entry of rows with filled gaps."""
        errors: Floats = _kernel(rows, self.landmarks, self.width) @ self.coefficients
        return errors


@dataclass(frozen=True)
class _Regression:
    """Ridge regression of one column at a time, on features of kernels.

    Attributes
    ----------
    features : ndarray of shape (n, n_features)
        Features of masked rows.
    basis : ndarray of shape (n_landmarks, n_features)
        Features of a row are its kernels with the landmarks times the basis.
    masked : _MaskedRows
        Hidden entries, and the parts of the rows.
    """

    features: Floats
    basis: Floats
    masked: _MaskedRows

    @classmethod
    def of(cls, rows: Floats, landmarks: Floats, width: float, masked: _MaskedRows) -> Self:
        """Return the regression for a width of the kernel."""
        variances, axes = np.linalg.eigh(_kernel(landmarks, landmarks, width))
        keeps = variances > 1e-6 * variances[-1]
        basis = axes[:, keeps] / np.sqrt(variances[keeps])
        return cls(_kernel(rows, landmarks, width) @ basis, basis, masked)

    def fit(self, column: Any, errors: Floats) -> tuple[float, Floats, Floats]:
        """Return the held-out loss, weights of landmarks, and held-out predictions."""
        chosen = self.masked.hidden[:, column]
        features, errors, fold = self.features[chosen], errors[chosen], self.masked.fold[chosen]
        # Masks of one row are hardly more than one observation.
        penalties = np.array(PENALTIES) * len(errors) / len(np.unique(self.masked.row[chosen]))
        parts = [(features[fold == number], errors[fold == number]) for number in range(self.masked.n_folds)]
        grams = [part.T @ part for part, _ in parts]
        products = [part.T @ error for part, error in parts]
        gram, product = sum(grams), sum(products)
        predictions = np.zeros((len(penalties), len(errors)))
        for number, (part, _) in enumerate(parts):
            sizes, axes = np.linalg.eigh(gram - grams[number])
            scores = axes.T @ (product - products[number])
            weights = scores / (np.maximum(sizes, 0) + penalties[:, None])
            predictions[:, fold == number] = weights @ (part @ axes).T
        losses = ((predictions - errors) ** 2).mean(axis=1)
        choice = int(losses.argmin())
        weights = np.linalg.solve(gram + penalties[choice] * np.eye(len(gram)), product)
        return float(losses[choice]), self.basis @ weights, predictions[choice]


def _kernel(rows: Floats, landmarks: Floats, width: float) -> Floats:
    squares = (rows**2).sum(axis=1)[:, None] + (landmarks**2).sum(axis=1) - 2 * rows @ landmarks.T
    kernel: Floats = np.exp(-np.maximum(squares, 0) / (width * rows.shape[1]))
    return kernel


# Network ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Networks:
    """Networks of three layers, one for each part of the rows that it has not seen.

    Attributes
    ----------
    weights : list of ndarray
        Weights and biases of the layers, of shapes (n_networks, n_inputs, n_outputs) and
        (n_networks, 1, n_outputs).
    """

    _fitted_schema: ClassVar[dict[str, Rule]] = {
        "weights": Rule(lambda v, _: _are_layers(v), "weights and biases of three layers")
    }
    weights: list[NDArray[np.float32]]

    @classmethod
    def fit(
        cls,
        masked: _MaskedRows,
        base: Floats,
        column_weights: Floats,
        max_epochs: int,
        device: torch.device,
        seed: int,
    ) -> tuple[Self, Floats]:
        """Fit to the errors of hidden entries, and predict those of held-out rows."""
        generator = torch.Generator().manual_seed(seed)
        inputs = torch.as_tensor(_network_input(base, masked.known), device=device)
        errors = torch.as_tensor((masked.target - base).astype(np.float32), device=device)
        scale = torch.as_tensor((masked.hidden * column_weights).astype(np.float32), device=device)
        d, n_networks = base.shape[1], masked.n_folds
        layers = []
        for n_inputs, n_outputs in ((2 * d, WIDTH), (WIDTH, WIDTH), (WIDTH, d)):
            drawn = torch.randn(n_networks, n_inputs, n_outputs, generator=generator) / math.sqrt(n_inputs)
            # The last layer starts at zero, so that training starts from the answer without a network.
            layers.append(drawn * (n_outputs != d or n_inputs != WIDTH))
            layers.append(torch.zeros(n_networks, 1, n_outputs))
        layers = [layer.to(device).requires_grad_() for layer in layers]
        training = [torch.as_tensor(np.flatnonzero(masked.fold != fold)) for fold in range(n_networks)]
        n_batches = max(1, min(map(len, training)) // BATCH_ROWS)
        optimizer = torch.optim.AdamW(layers, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, LEARNING_RATE, total_steps=max(2, max_epochs * n_batches)
        )
        for _ in range(max_epochs):
            orders = [part[torch.randperm(len(part), generator=generator)] for part in training]
            for batch in range(n_batches):
                size = min(BATCH_ROWS, min(map(len, orders)))
                chosen = torch.stack([order[batch * size : (batch + 1) * size] for order in orders]).to(
                    device
                )
                outputs = _pass(inputs[chosen], layers)
                counted = scale[chosen]
                loss = ((outputs - errors[chosen]) ** 2 * counted).sum() / counted.sum().clamp(min=1e-9)
                optimizer.zero_grad()
                (n_networks * loss).backward()
                optimizer.step()
                schedule.step()
        networks = cls([layer.detach().cpu().numpy() for layer in layers])
        held_out = np.zeros_like(base)
        for fold in range(n_networks):
            own = masked.fold == fold
            held_out[own] = networks.predict(base[own], masked.known[own], fold)
        return networks, held_out

    def predict(self, rows: Floats, known: Flags, only: int | None = None) -> Floats:
        """Return the error of each entry of filled rows, the mean of all networks."""
        layers = [torch.as_tensor(layer) for layer in self.weights]
        if only is not None:
            layers = [layer[only : only + 1] for layer in layers]
        errors = np.empty_like(rows)
        for start in range(0, len(rows), 8 * CHUNK_ROWS):
            chunk = slice(start, start + 8 * CHUNK_ROWS)
            inputs = torch.as_tensor(_network_input(rows[chunk], known[chunk]))
            with torch.inference_mode():
                outputs = _pass(inputs.expand(len(layers[0]), -1, -1), layers)
            errors[chunk] = outputs.mean(dim=0).numpy()
        return errors


def _network_input(rows: Floats, known: Flags) -> NDArray[np.float32]:
    return np.hstack([rows, known]).astype(np.float32)


def _pass(inputs: Tensor, layers: list[Tensor]) -> Tensor:
    hidden = silu(torch.baddbmm(layers[1], inputs, layers[0]))
    hidden = silu(torch.baddbmm(layers[3], hidden, layers[2]))
    return torch.baddbmm(layers[5], hidden, layers[4])


def _are_layers(weights: Any) -> bool:
    if type(weights) is not list or len(weights) != 6:
        return False
    if not all(is_numeric_array(w, np.shape(w)) and w.ndim == 3 and w.dtype == np.float32 for w in weights):
        return False
    n, size = weights[0].shape[:2]
    for matrix, bias in zip(weights[::2], weights[1::2], strict=True):
        if matrix.shape[:2] != (n, size) or bias.shape != (n, 1, matrix.shape[2]):
            return False
        size = matrix.shape[2]
    return bool(weights[0].shape[1] == 2 * size)


# The whole model ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _MaskedRows:
    """Rows with hidden entries, to learn from.

    Attributes
    ----------
    row, fold : ndarray of shape (n,)
        Number of each row in the data, and the part of the rows that it belongs to.
    n_folds : int
        Number of parts.
    given, target : ndarray of shape (n, d)
        Columns with NaN for gaps and hidden entries, and with hidden entries known; 0 elsewhere.
    hidden, known : ndarray of shape (n, d)
        Entries that are hidden, and those that are not missing in ``given``.
    """

    row: NDArray[np.int_]
    fold: NDArray[np.int_]
    n_folds: int
    given: Floats
    target: Floats
    hidden: Flags

    @property
    def known(self) -> Flags:
        known: Flags = ~np.isnan(self.given)
        return known

    def head(self, n_rows: int) -> _MaskedRows:
        """Return the first rows."""
        chunk = slice(n_rows)
        entries = self.given[chunk], self.target[chunk], self.hidden[chunk]
        return _MaskedRows(self.row[chunk], self.fold[chunk], self.n_folds, *entries)


@dataclass(frozen=True)
class FillModel:
    """Model that fills gaps of encoded columns.

    Attributes
    ----------
    active : ndarray of shape (d_all,)
        Numbers of the columns that vary; the others are filled with ``center``.
    center, unit : ndarray of shape (d_all,)
        Mean and standard deviation of each column.
    bounds : ndarray of shape (2, d)
        Smallest and largest value that each column that varies is filled with.
    trusted : ndarray of shape (2, d)
        Ends of the range beyond which values are wild, and fill no gap.
    linear, ranked : Gaussian
        Distributions of the columns and of their normal scores.
    scores : NormalScores
        Maps to normal scores.
    kernels, networks : Kernels and Networks, or None
        What is added.
    shares : ndarray of shape (3, d)
        Shares of the normal scores, of the kernels and of the networks.
    quantiles : ndarray of shape (len(LEVELS), d)
        Quantiles of errors, relative to the conditional deviation.
    """

    _fitted_schema: ClassVar[dict[str, Rule]] = {
        "active": Rule(
            lambda v, m: (
                isinstance(v, np.ndarray)
                and v.dtype.kind == "i"
                and v.ndim == 1
                and len(v) > 0
                and len(set(v.tolist())) == len(v)
                and v.min() >= 0
                and v.max() < len(m.center)
            ),
            "numbers of columns",
        ),
        "center": Rule(lambda v, _: is_numeric_array(v, np.shape(v)) and v.ndim == 1, "means"),
        "unit": Rule(lambda v, m: is_nonnegative_array(v, m.center.shape) and bool((v > 0).all()), "units"),
        "bounds": Rule(lambda v, m: is_numeric_array(v, (2, len(m.active))), "two bounds for each column"),
        "trusted": Rule(lambda v, m: is_numeric_array(v, (2, len(m.active))), "two ends for each column"),
        "linear": record(Gaussian, "a distribution", lambda v, m: len(v.mean) == len(m.active)),
        "ranked": record(Gaussian, "a distribution", lambda v, m: len(v.mean) == len(m.active)),
        "scores": record(NormalScores, "maps to scores", lambda v, m: len(v.values) == len(m.active)),
        "kernels": optional(record(Kernels, "kernels", lambda v, m: v.landmarks.shape[1] == len(m.active))),
        "networks": optional(
            record(Networks, "networks", lambda v, m: v.weights[0].shape[1] == 2 * len(m.active))
        ),
        "shares": Rule(lambda v, m: is_nonnegative_array(v, (3, len(m.active))), "shares of each column"),
        "quantiles": Rule(
            lambda v, m: is_numeric_array(v, (len(LEVELS), len(m.active))), "quantiles of each column"
        ),
    }
    active: NDArray[np.int_]
    center: Floats
    unit: Floats
    bounds: Floats
    trusted: Floats
    linear: Gaussian
    ranked: Gaussian
    scores: NormalScores
    kernels: Kernels | None
    networks: Networks | None
    shares: Floats
    quantiles: Floats

    def fits(self, n_columns: int) -> bool:
        """Return whether the parts fit each other and a number of columns."""
        return conforms(self) and len(self.center) == n_columns

    def fill(self, rows: Floats, rng: np.random.Generator | None, level: float | None) -> Floats:
        """Return rows with filled gaps: means, draws, or quantiles of a level."""
        filled = np.where(np.isnan(rows), self.center, rows)
        device = torch.device("cpu")
        # Chunks, since each part makes copies of the rows.
        for start in range(0, len(rows), 8 * CHUNK_ROWS):
            chunk = slice(start, start + 8 * CHUNK_ROWS)
            values = rows[chunk][:, self.active]
            gaps = np.isnan(values)
            # A wild value would make wild ones of all gaps of its row.
            given = _without_wild(values, self.trusted)
            given = (given - self.center[self.active]) / self.unit[self.active]
            predicted, deviations = self._predict(given, device)
            if rng is not None:
                uniform = ndtr(self.linear.draw(given, rng, device))
                predicted += deviations * self._quantile(uniform)
            if level is not None:
                predicted += deviations * self._quantile(np.full(given.shape, level))
            predicted = np.clip(predicted * self.unit[self.active] + self.center[self.active], *self.bounds)
            filled[chunk, self.active] = np.where(gaps, predicted, rows[chunk][:, self.active])
        return filled

    def _predict(self, given: Floats, device: torch.device) -> tuple[Floats, Floats]:
        """Return filled rows in standard units, and conditional deviations."""
        linear, variances = self.linear.condition(given, device)
        bounds = (self.bounds - self.center[self.active]) / self.unit[self.active]
        linear = np.where(np.isnan(given), np.clip(linear, *bounds), linear)
        # Rows beyond the range of the fit are no rows for a kernel; the linear answer has no such limit.
        filled = linear.copy()
        if self.shares[0].any():
            ranked = self.scores.expect(*self.ranked.condition(self.scores.transform(given), device))
            filled += np.isnan(given) * self.shares[0] * (ranked - linear)
        base = filled.copy()
        if self.kernels is not None:
            filled += self.shares[1] * self.kernels.predict(base)
        if self.networks is not None:
            filled += self.shares[2] * self.networks.predict(base, ~np.isnan(given))
        return filled, np.sqrt(variances)

    def _quantile(self, levels: Floats) -> Floats:
        columns = zip(levels.T, self.quantiles.T, strict=True)
        return np.column_stack([np.interp(column, LEVELS, quantiles) for column, quantiles in columns])


def learn_model(
    columns: Floats,
    owner: NDArray[np.int_],
    masks: MaskDraw,
    device: torch.device,
    max_epochs: int,
    seed: int,
    verbose: bool,
) -> tuple[FillModel | None, tuple[Floats, Floats] | None]:
    """Learn to fill encoded columns, and return squared errors and their counts."""
    trusted = _find_trusted(columns)
    without = _without_wild(columns, trusted)
    if (np.isnan(without) > np.isnan(columns)).any():
        # The tail of a skewed column predicts, and is predicted; wild values are neither.
        if _mean_error(without, columns, device) < WILD_GAIN * _mean_error(columns, columns, device):
            # The next wild value may stand in a column that has had none so far.
            trusted = _find_trusted(columns, in_all=True)
            columns = _without_wild(columns, trusted)
        else:
            trusted = _find_trusted(columns[:0])
    with np.errstate(all="ignore"):
        counts = (~np.isnan(columns)).sum(axis=0)
        center = np.where(counts > 0, np.nansum(columns, axis=0) / np.maximum(counts, 1), 0.0)
        unit = np.sqrt(np.nansum((columns - center) ** 2, axis=0) / np.maximum(counts, 1))
    varies = (counts > 1) & (unit > 1e-12 * np.abs(center)) & np.isfinite(unit)
    unit = np.where(varies, unit, 1.0)
    active = np.flatnonzero(varies)
    if not len(active) or len(columns) < 2:
        return None, None
    rng = masks.rng
    rows = ((columns - center) / unit)[:, active]
    limits = _find_limits(columns[:, active])
    bounds = (limits - center[active]) / unit[active]
    scores = NormalScores.fit(rows)
    ranked_rows = scores.transform(rows)
    n, d = rows.shape
    n_folds = min(N_FOLDS, n // MIN_FOLD_ROWS)
    strengths = [choose_strength(part, device, rng) if n_folds > 1 else 10.0 for part in (rows, ranked_rows)]
    chosen = rng.permutation(n)[:MAX_EM_ROWS]
    linear, ranked = (
        Gaussian.fit(part[chosen], strength, device)
        for part, strength in zip((rows, ranked_rows), strengths, strict=True)
    )
    shares, quantiles = (
        np.zeros((3, d)),
        np.repeat(ndtri(np.clip(LEVELS, 1e-3, 1 - 1e-3))[:, None], d, axis=1),
    )
    trusted = trusted[:, active]
    plain = FillModel(
        active, center, unit, limits, trusted, linear, ranked, scores, None, None, shares, quantiles
    )
    if n_folds < 2:
        return plain, None
    fold = rng.permutation(n) % n_folds
    masked = _mask_rows(rows, owner[active], masks, fold, n_folds, max_epochs > 0)
    # A single column has nothing to be predicted from.
    if not masked.hidden.any():
        return plain, None
    first, variances, second = _fill_held_out(
        masked, rows, ranked_rows, (linear, ranked), strengths, scores, device
    )
    first = np.where(masked.hidden, np.clip(first, *bounds), first)
    shares[0] = _share(masked, first, second - first)
    base = first + np.where(masked.known, 0.0, shares[0] * (second - first))
    head, base_of_head = masked.head(MAX_MASKED_ROWS), base[:MAX_MASKED_ROWS]
    kernels, kernel_errors = Kernels.fit(head, base_of_head, rng)
    predicted = base_of_head + 0.0
    networks = None
    shares[1] = _share(head, base_of_head, kernel_errors)
    if max_epochs and n >= MIN_NETWORK_ROWS:
        # Columns that kernels cannot predict would fill the network with their noise.
        gains = _explained(head, base_of_head, shares[1] * kernel_errors)
        networks, network_errors = Networks.fit(
            masked, base, np.maximum(gains, 0.02), max_epochs, device, stream_seed(seed, "network")
        )
        shares[2] = _share(masked, base, network_errors)
        network_errors = shares[2] * network_errors[:MAX_MASKED_ROWS]
        predicted += network_errors
        shares[1] = _share(head, predicted, kernel_errors - network_errors)
        shares[2] *= 1 - shares[1]
        predicted += shares[1] * (kernel_errors - network_errors)
    else:
        predicted += shares[1] * kernel_errors
    predicted = np.clip(predicted, *bounds)
    errors = (head.target - predicted) * head.hidden
    deviations = np.sqrt(np.maximum(variances[:MAX_MASKED_ROWS], 1e-9))
    quantiles = _quantiles_of_errors(errors / deviations, head)
    model = FillModel(
        active,
        center,
        unit,
        limits,
        trusted,
        linear,
        ranked,
        scores,
        kernels if shares[1].any() else None,
        networks if shares[2].any() else None,
        shares,
        quantiles,
    )
    totals, numbers = np.zeros(len(center)), np.zeros(len(center))
    totals[active], numbers[active] = (errors**2).sum(axis=0), head.hidden.sum(axis=0)
    if verbose:
        _print_errors(head, first, base, predicted)
    return model, (totals, numbers)


def _find_trusted(columns: Floats, *, in_all: bool = False) -> Floats:
    """Return the ends of the range of each column beyond which values are wild.

    Columns without such values have the largest numbers, unless all columns shall have ends.
    """
    trusted = np.empty((2, columns.shape[1]))
    largest = np.finfo(np.float64).max
    trusted[0], trusted[1] = -largest, largest
    for number, column in enumerate(columns.T):
        given = column[~np.isnan(column)]
        limits = find_wild_limits(torch.from_numpy(given[:, None]), in_all=in_all)
        if limits is not None:
            trusted[:, number] = [end.item() for end in limits]
    return trusted


def _without_wild(columns: Floats, trusted: Floats) -> Floats:
    """Return columns with NaN for wild values."""
    kept: Floats = np.where((columns < trusted[0]) | (columns > trusted[1]), np.nan, columns)
    return kept


def _mean_error(columns: Floats, truth: Floats, device: torch.device) -> float:
    """Return the mean absolute error of a linear prediction of held-out rows.

    It is relative to the range of the central half of each column.
    """
    rng = np.random.default_rng(0)
    chosen = rng.permutation(len(columns))[:MAX_COMPARED_ROWS]
    columns, truth = columns[chosen], truth[chosen]
    lower, upper = np.nanquantile(truth, [0.25, 0.75], axis=0)
    varies = (upper > lower) & (~np.isnan(columns)).any(axis=0)
    columns, truth, bulk = columns[:, varies], truth[:, varies], (upper - lower)[varies]
    center, unit = np.nanmean(columns, axis=0), np.nanstd(columns, axis=0)
    rows = (columns - center) / np.where(unit > 0, unit, 1.0)
    is_test = np.arange(len(rows)) % 3 == 0
    hidden = ~np.isnan(truth[is_test]) & (rng.random(truth[is_test].shape) < 0.3)
    model = Gaussian.fit(rows[~is_test], 10.0, device)
    filled, _ = model.condition(np.where(hidden, np.nan, rows[is_test]), device)
    errors = np.abs(filled * np.where(unit > 0, unit, 1.0) + center - truth[is_test]) / bulk
    return float(errors[hidden].mean())


def _find_limits(columns: Floats) -> Floats:
    """Return the smallest and the largest value to fill gaps of each column with."""
    limits = np.empty((2, columns.shape[1]))
    for number, column in enumerate(columns.T):
        given = column[~np.isnan(column)]
        low, high = given.min(), given.max()
        # New rows may lie beyond all so far, by the length of a tail: 0 at the end of a bounded column.
        n_values = len(np.unique(given))
        # In a table with few rows, columns have few values although these do not come back.
        if n_values > min(MAX_DISCRETE, len(given) / 2):
            tails = np.quantile(given, [TAIL, 1 - TAIL])
            beyond = 2 * low - tails[0], 2 * high - tails[1]
            # Sizes, counts and prices do not change their sign.
            low = max(beyond[0], 0.0) if low >= 0 else beyond[0]
            high = min(beyond[1], 0.0) if high <= 0 else beyond[1]
        limits[:, number] = low, high
    return limits


def _mask_rows(
    rows: Floats,
    owner: NDArray[np.int_],
    masks: MaskDraw,
    fold: NDArray[np.int_],
    n_folds: int,
    for_network: bool,
) -> _MaskedRows:
    """Hide entries of rows, several times in tables with few rows."""
    n = len(rows)
    n_masked = MAX_MASKED_ROWS
    if for_network and n >= MIN_NETWORK_ROWS:
        n_masked = MAX_NETWORK_ROWS
    n_copies = min(MAX_COPIES, math.ceil(n_masked / n))
    row = np.concatenate([masks.rng.permutation(n) for _ in range(n_copies)])[: max(n_masked, 1)]
    hidden = masks.draw(row)[:, owner] & ~np.isnan(rows[row])
    return _MaskedRows(
        row, fold[row], n_folds, np.where(hidden, np.nan, rows[row]), np.where(hidden, rows[row], 0.0), hidden
    )


def _fill_held_out(
    masked: _MaskedRows,
    rows: Floats,
    ranked_rows: Floats,
    models: tuple[Gaussian, Gaussian],
    strengths: list[float],
    scores: NormalScores,
    device: torch.device,
) -> tuple[Floats, Floats, Floats]:
    """Fill masked rows by models of the other parts of the rows.

    Returns the rows filled by the distribution of the columns, its variances, and the rows filled by the
    distribution of the normal scores.
    """
    first, variances, second = (np.empty_like(masked.given) for _ in range(3))
    is_large = len(rows) > ROWS_PER_COLUMN * rows.shape[1]
    rng = np.random.default_rng(0)
    for fold in range(masked.n_folds):
        own = masked.fold == fold
        linear, ranked = models
        # A row among many has no influence on its own answer.
        if not is_large:
            others = np.flatnonzero(np.bincount(masked.row, masked.fold != fold, len(rows)) > 0)
            others = rng.permutation(others)[:MAX_EM_ROWS]
            linear, ranked = (
                Gaussian.fit(part[others], strength, device, model)
                for part, strength, model in zip((rows, ranked_rows), strengths, models, strict=True)
            )
        first[own], variances[own] = linear.condition(masked.given[own], device)
        second[own] = scores.expect(*ranked.condition(scores.transform(masked.given[own]), device))
    return first, variances, second


def _share(masked: _MaskedRows, base: Floats, extra: Floats) -> Floats:
    """Return the share of a correction, 0 to 1, with the least squared error."""
    hidden = masked.hidden
    products = (extra * (masked.target - base) * hidden).sum(axis=0)
    squares = (extra**2 * hidden).sum(axis=0)
    overall = float(np.clip(products.sum() / max(squares.sum(), 1e-12), 0, 1))
    pull = squares * SHARE_WEIGHT / np.maximum(hidden.sum(axis=0), 1)
    shares: Floats = np.clip((products + overall * pull) / np.maximum(squares + pull, 1e-12), 0, 1)
    # A gain that may be chance counts less, and one below its standard error not at all. Masks of one row are
    # one observation.
    errors = (masked.target - base) * hidden
    gains = (errors**2 - (errors - shares * extra * hidden) ** 2).sum(axis=1)
    by_row = np.bincount(masked.row, gains)
    total = max(float(by_row.sum()), 1e-12)
    variance = max(float((by_row**2).sum()) - total**2 / len(by_row), 0.0)
    return shares * max(1 - variance / total**2, 0.0)


def _explained(masked: _MaskedRows, base: Floats, extra: Floats) -> Floats:
    """Return the share of the squared error of each column that a correction removes."""
    before = (((masked.target - base) ** 2) * masked.hidden).sum(axis=0)
    after = (((masked.target - base - extra) ** 2) * masked.hidden).sum(axis=0)
    explained: Floats = 1 - after / np.maximum(before, 1e-12)
    return explained


def _quantiles_of_errors(errors: Floats, masked: _MaskedRows) -> Floats:
    """Return quantiles of the relative errors of each column.

    Columns with few errors share those of all columns.
    """
    quantiles = np.empty((len(LEVELS), errors.shape[1]))
    pooled = errors[masked.hidden]
    # Tables with very few rows have few observations in all columns together, too.
    min_rows = min(MIN_ERRORS, len(np.unique(masked.row[masked.hidden.any(axis=1)])))
    for column in range(errors.shape[1]):
        chosen = masked.hidden[:, column]
        own = errors[chosen, column]
        # Masks of one row are hardly more than one observation.
        n_rows = len(np.unique(masked.row[chosen]))
        if n_rows < MIN_ERRORS:
            own, n_rows = np.append(own, pooled), min_rows
        # The next error is beyond all so far with a probability of 1 / (n_rows + 1) at either end.
        levels = np.clip(0.5 + (LEVELS - 0.5) * (n_rows + 2) / n_rows, 0, 1)
        quantiles[:, column] = np.quantile(own, levels)
    return quantiles


def _print_errors(masked: _MaskedRows, first: Floats, base: Floats, predicted: Floats) -> None:
    n = len(predicted)
    parts = {"linear": first[:n], "with normal scores": base[:n], "all": predicted}
    for name, part in parts.items():
        error = np.sqrt((((masked.target - part) ** 2)[masked.hidden]).mean())
        print(f"error of hidden entries, {name}: {error:.4f} standard deviations")
