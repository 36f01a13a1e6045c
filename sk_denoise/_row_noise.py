"""Estimation of the noise level of signals and tables, and from repeats."""

from __future__ import annotations

import math
import warnings
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.decomposition import FactorAnalysis
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_array

from sk_denoise._validation import check_choice, warn_user
from sk_denoise.exceptions import NoiseMismatchWarning

__all__ = ["are_signals", "estimate_row_noise", "estimate_row_noise_from_repeats", "find_signal_noise"]

Floats = NDArray[np.float64]

KINDS = ("auto", "signals", "table", "columns")
# Orders of the differences. Low orders suit steps, and high orders suit narrow peaks.
ORDERS = (2, 3, 4)
# Order at which two scales are compared: signals of the four kinds in the tests differ by 3 % there.
SCALE_ORDER = 4
# Number of differences in a block, and quantile of the block energies that the level is read from. Blocks
# with a step or a peak have more energy.
BLOCK, FLATTEST = 16, 0.2
# Share of blocks with any change from which the noise can be read.
MIN_MOVING_SHARE = 0.5
# Smallest length of a signal: one block of differences at the coarse scale.
MIN_LENGTH = 2 * (BLOCK + SCALE_ORDER)
# Ratio of the level at two entries to that at one, outside of which the noise is not white. Autoregressive
# noise of .3 has 1.25. Few entries add their statistical error.
MAX_SCALE_RATIO, SCALE_ERROR = 1.14, 3.5
# Ratio of the levels of high and of low entries from which noise grows with the values.
MAX_LEVEL_RATIO = 1.3
# Ratio of the levels of the noisiest and the quietest tenth of rows from which a warning is due.
MAX_ROW_RATIO = 1.6
# Number of standard deviations by which neighbouring entries are closer than those of shuffled columns.
SIGNAL_SCORE, N_SHUFFLES = 4.0, 100
# Quantiles beyond which values are clipped for this comparison.
SPIKES = (0.02, 0.98)
# Number of entries that are read; more of them do not make the estimate better.
MAX_ENTRIES, MAX_SIDE = 2**21, 512
# Simulated entries for long rows.
MAX_SIMULATED = 2**20
# Fewest directions without a signal, and their fewest share of all directions.
MIN_BULK, MIN_BULK_SHARE = 8, 0.2
# Distance of the eigenvalues to those of noise, relative to the distance of simulated noise; a distance that
# hardly changes the level is always fine.
BULK_TOLERANCE, HARMLESS_DISTANCE, N_SIMULATIONS = 2.0, 0.035, 8
# Distance to the limit law up to which eigenvalues are compared with simulated noise.
MAX_LIMIT_DISTANCE = 0.06
# Largest number of numbers of signals that are tried.
MAX_TRIALS = 100
# Rows for each column, and columns for each factor, from which the noise of single columns is identifiable.
ROWS_PER_COLUMN, COLUMNS_PER_FACTOR, MAX_COLUMNS = 5, 3, 256
REMEDY = (
    "Pass the standard deviation of the noise, one number or one for each column, or measure it on repeats: "
    "estimate_row_noise_from_repeats(A, B)."
)


def estimate_row_noise(
    X: ArrayLike, *, kind: Literal["auto", "signals", "table", "columns"] = "auto"
) -> float | Floats:
    """Estimate the standard deviation of the noise in signals or in a table.

    Signals are rows of which neighbouring entries belong together. The noise is read from differences of
    order 2 to 4, where they are smallest: steps, peaks and outliers have little influence. In tables, the
    noise is the common variance of the directions without signal, whose eigenvalues follow the law of
    Marchenko and Pastur.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Noisy signals, at least 40 entries long, or the noisy rows of a table with at least 8 columns more
        than there are signals in them.
    kind : {"auto", "signals", "table", "columns"}, default="auto"
        Structure to use. "signals": smooth or piecewise constant rows. "table": columns with one common noise
        level. "columns": one level for each column, by factor analysis. "auto" takes "signals" if neighbours
        belong together, and else "table".

    Returns
    -------
    float or ndarray of shape (n_features,)
        Noise level in the unit of X; for "columns", the level of each column.

    Raises
    ------
    ValueError
        If the noise cannot be told from the data: the columns are independent, have noise of different levels
        or are too few, or the noise is correlated along the signals or grows with the values.

    Warns
    -----
    NoiseMismatchWarning
        If the rows have different noise levels.

    See Also
    --------
    estimate_row_noise_from_repeats : Level from two measurements, for all kinds of data.
    sk_denoise.restoration.estimate_noise : Kind and level of the noise of images.

    Notes
    -----
    Structure that is as fine as the noise counts as noise, so that the estimate is rather too high than too
    low. On digits with noise of 0.25 it is 5 % too high, on the standardized breast cancer data 2 %.

    In a single signal of some hundreds of entries, weak correlation of the noise can stay unnoticed; the
    estimate is then up to 40 % too low.

    Factor analysis cannot tell the noise of a column from variation that no other column shares. "auto" does
    not take it for this reason: on the wine data its levels are twice the noise.

    References
    ----------
    D. L. Donoho and I. M. Johnstone, "Ideal spatial adaptation by wavelet shrinkage", Biometrika 81 (1994);
    M. Gavish and D. L. Donoho, "Optimal shrinkage of singular values", IEEE Transactions on Information
    Theory 63 (2017); S. Kritchman and B. Nadler, "Determining the number of components in a factor model from
    limited noisy data", Chemometrics and Intelligent Laboratory Systems 94 (2008).

    Examples
    --------
    >>> import numpy as np
    >>> from sk_denoise.noise import estimate_row_noise
    >>> rng = np.random.default_rng(0)
    >>> signals = np.sin(np.linspace(0, 20, 500) + rng.uniform(0, 6, (50, 1)))
    >>> print(f"{estimate_row_noise(signals + rng.normal(0, 0.3, signals.shape)):.2f}")
    0.30
    """
    check_choice(kind, "kind", *KINDS)
    rows = _check_rows(X)
    if kind == "signals":
        return _signal_level(rows)
    if kind == "table":
        return _table_level(rows)
    if kind == "columns":
        return _column_levels(rows)
    if not are_signals(rows):
        if len(rows) < MIN_BULK:
            raise ValueError(
                "Neighbouring entries of X are not closer than others, so that X has no signals, or too much "
                f"noise, and a table needs at least {MIN_BULK} rows. If the rows are signals, pass "
                f'kind="signals" for an estimate. {REMEDY}'
            )
        return _table_level(rows)
    try:
        return _signal_level(rows)
    except _NotSmoothSignalsError as error:
        # Rows of small images are no smooth signals, but a table with few directions. The eigenvalues show
        # whether the noise is white if there are more rows than columns.
        if len(rows) < rows.shape[1]:
            raise
        try:
            return _table_level(rows)
        except ValueError:
            raise error from None


def estimate_row_noise_from_repeats(*measurements: ArrayLike, per_column: bool = False) -> float | Floats:
    """Estimate the standard deviation of the noise from repeated measurements.

    Parameters
    ----------
    *measurements : array-like of shape (n_samples, n_features)
        Two or more measurements of the same samples, with independent noise.
    per_column : bool, default=False
        Whether to return one level for each column.

    Returns
    -------
    float or ndarray of shape (n_features,)
        Standard deviation of the noise in one measurement, in the unit of the data.

    Raises
    ------
    ValueError
        If there are less than two measurements, or of different shapes.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_denoise.noise import estimate_row_noise_from_repeats
    >>> rng = np.random.default_rng(0)
    >>> table = rng.normal(size=(1000, 5))
    >>> first, second = (table + rng.normal(0, 0.2, table.shape) for _ in range(2))
    >>> print(f"{estimate_row_noise_from_repeats(first, second):.2f}")
    0.20
    """
    if len(measurements) < 2:
        raise ValueError(
            f"At least two measurements of the same samples are needed, got {len(measurements)}."
        )
    repeats = [_check_rows(measurement) for measurement in measurements]
    if len({rows.shape for rows in repeats}) > 1:
        shapes = ", ".join(str(rows.shape) for rows in repeats)
        raise ValueError(f"The measurements must be of the same samples and columns, got shapes {shapes}.")
    variance: Any = np.var(np.stack(repeats), axis=0, ddof=1).mean(axis=0 if per_column else None)
    return np.sqrt(variance) if per_column else float(np.sqrt(variance))


class _NotSmoothSignalsError(ValueError):
    """Refusal of rows that are no smooth signals with white noise."""


def _check_rows(X: ArrayLike) -> Floats:
    rows: Floats = check_array(X, dtype=np.float64, input_name="X")
    return rows


def _evenly(n: int, count: int) -> NDArray[np.intp]:
    """Return the indices of at most ``count`` rows, evenly spread."""
    return np.unique(np.linspace(0, n - 1, min(n, max(1, count))).astype(np.intp))


def find_signal_noise(rows: NDArray[Any]) -> float | None:
    """Return the noise level of rows that are signals, None where it cannot be told."""
    chosen = rows[_evenly(len(rows), max(1, MAX_ENTRIES // rows.shape[1])), :MAX_ENTRIES].astype(np.float64)
    try:
        return _signal_level(chosen, warns=False) if are_signals(chosen) else None
    except ValueError:
        return None


def are_signals(rows: NDArray[Any]) -> bool:
    """Return whether neighbouring columns are more alike than shuffled ones."""
    if rows.shape[1] < MIN_LENGTH:
        return False
    chosen = rows[_evenly(len(rows), MAX_SIDE), :MAX_SIDE].astype(np.float64)
    # Single spikes would outweigh all else.
    chosen = np.clip(chosen, *np.quantile(chosen, SPIKES))
    power = np.square(chosen).sum(axis=0)
    distances = power[:, None] + power - 2 * (chosen.T @ chosen)
    generator = np.random.default_rng(0)
    orders = (generator.permutation(len(power)) for _ in range(N_SHUFFLES))
    shuffled = [distances[order[1:], order[:-1]].sum() for order in orders]
    own = np.diagonal(distances, 1).sum()
    # Neighbours that are farther apart than others have noise with negative correlation.
    return bool(abs(np.mean(shuffled) - own) > SIGNAL_SCORE * np.std(shuffled))


def _block_energies(rows: Floats, order: int) -> Floats:
    """Return the energies of blocks of differences, in units of the noise variance."""
    differences = np.diff(rows, order, axis=1)
    n_blocks = differences.shape[1] // BLOCK
    blocks = differences[:, : n_blocks * BLOCK].reshape(len(rows), n_blocks, BLOCK)
    energies: Floats = np.square(blocks).mean(axis=-1) / math.comb(2 * order, order)
    return energies


def _block_level(rows: Floats, order: int, quantile: float = FLATTEST) -> float:
    """Return the level of the flattest blocks, unbiased for white noise."""
    energies = _block_energies(rows, order).ravel()
    # Padding and runs of one value have no noise to read.
    moving = energies[energies > 0]
    if moving.size <= MIN_MOVING_SHARE * energies.size:
        raise ValueError(
            f"Most of X is exactly constant, and noise leaves nothing constant: X has no noise, padding, or "
            f"values that are rounded to steps larger than the noise. {REMEDY}"
        )
    # The same quantile of simulated noise makes the estimate unbiased for any number of blocks.
    length = rows.shape[1]
    n_rows = max(1, min(32, MAX_SIMULATED // length), 2**16 // length)
    white = np.random.default_rng(0).standard_normal((n_rows, length))
    expected = np.quantile(_block_energies(white, order), quantile)
    return math.sqrt(float(np.quantile(moving, quantile) / expected))


def _halve(rows: Floats) -> Floats:
    """Return the scaled means of neighbouring entries; the level of white noise stays."""
    length = rows.shape[1] // 2 * 2
    return (rows[:, :length:2] + rows[:, 1:length:2]) / math.sqrt(2)


def _signal_level(rows: Floats, *, warns: bool = True) -> float:
    """Return the noise level of signals, or refuse."""
    if rows.shape[1] < MIN_LENGTH:
        raise ValueError(
            f"Signals need at least {MIN_LENGTH} entries for an estimate, got {rows.shape[1]}. {REMEDY}"
        )
    rows = rows[_evenly(len(rows), MAX_ENTRIES // rows.shape[1])]
    level = min(_block_level(rows, order) for order in ORDERS)
    # The median has less statistical error than the flattest blocks.
    fine, coarse = (_block_level(scale, SCALE_ORDER, 0.5) for scale in (rows, _halve(rows)))
    tolerance = MAX_SCALE_RATIO + SCALE_ERROR / math.sqrt(rows.size)
    if not 1 / tolerance < coarse / fine < tolerance:
        raise _NotSmoothSignalsError(
            "The noise is correlated between neighbouring entries, or the signals have structure as fine "
            f"as the noise, or no noise: the level is {fine:.3g} at one entry and {coarse:.3g} at two, and "
            f"white noise has the same level at both. {REMEDY}"
        )
    _refuse_growing_noise(rows)
    if warns:
        _warn_of_unequal_rows(rows)
    return level


def _refuse_growing_noise(rows: Floats) -> None:
    """Refuse signals of which the noise is stronger at higher values."""
    energies = _block_energies(rows, SCALE_ORDER)
    n_blocks = energies.shape[1]
    means = rows[:, : n_blocks * BLOCK].reshape(len(rows), n_blocks, BLOCK).mean(axis=-1)
    edges = np.quantile(means, (0.25, 0.75))
    groups = [energies[means <= edges[0]], energies[means >= edges[1]]]
    groups = [group[group > 0] for group in groups]
    n_fewest = min(group.size for group in groups)
    if n_fewest < 2 * BLOCK:
        return
    low, high = (math.sqrt(float(np.quantile(group, FLATTEST))) for group in groups)
    if high > (MAX_LEVEL_RATIO + SCALE_ERROR / math.sqrt(n_fewest)) * low:
        raise ValueError(
            f"The noise grows with the values: it is {high / low:.1f} times as strong in the upper quarter "
            "of the values as in the lower, so that no single level describes it. For counts, pass "
            'NoiseModel("counts", sigma=..., gain=...) as the noise, or make it even with VarianceStabilizer.'
        )


def _warn_of_unequal_rows(rows: Floats) -> None:
    """Warn if single rows have noise of other levels."""
    energies = _block_energies(rows, SCALE_ORDER)
    if len(rows) < 10 or energies.shape[1] < 8:
        return
    levels = np.sqrt(np.median(energies, axis=1))
    quiet, loud = np.quantile(levels, (0.1, 0.9))
    # The level of a row has a statistical error of its own.
    error = 1 + 2.5 * math.sqrt(2 / energies[0].size / BLOCK)
    if loud > MAX_ROW_RATIO * error * quiet:
        warn_user(
            f"The noise levels of the rows differ: the noisiest tenth has {loud / max(quiet, 1e-300):.1f} "
            "times that of the quietest. The estimate is one level for all.",
            NoiseMismatchWarning,
        )


def _table_level(rows: Floats) -> float:
    """Return the common noise level of the columns of a table, or refuse."""
    _refuse_independent_columns(rows)
    level, _ = _bulk_level(rows)
    return level


def _centered(rows: Floats) -> Floats:
    """Return centered rows without constant columns, at most as many as needed."""
    if min(rows.shape) > MAX_SIDE:
        rows = rows[_evenly(len(rows), MAX_SIDE)]
    elif rows.size > 4 * MAX_ENTRIES:
        rows = rows[_evenly(len(rows), 4 * MAX_ENTRIES // rows.shape[1])]
    rows = rows[:, np.ptp(rows, axis=0) > 0]
    centered: Floats = rows - rows.mean(axis=0)
    return centered


def _eigenvalues(centered: Floats) -> tuple[Floats, int]:
    """Return the eigenvalues of the smaller covariance, and its number of samples."""
    n, p = len(centered) - 1, centered.shape[1]
    gram = centered.T @ centered if p <= n else centered @ centered.T
    # The mean takes one direction from the rows.
    values = np.linalg.eigvalsh(gram)[::-1][: min(n, p)] / max(n, p)
    return np.maximum(values, 0), max(n, p)


def _noise_eigenvalues(n_values: int, n_samples: int, seed: int) -> Floats:
    """Return the eigenvalues of a covariance of white noise, after Bartlett."""
    generator = np.random.default_rng(seed)
    factor = np.tril(generator.standard_normal((n_values, n_values)), -1)
    factor[np.diag_indices(n_values)] = np.sqrt(generator.chisquare(n_samples - np.arange(n_values)))
    values: Floats = np.linalg.svd(factor, compute_uv=False) ** 2 / n_samples
    return values


def _limit_eigenvalues(n_values: int, n_samples: int) -> Floats:
    """Return quantiles of the law of Marchenko and Pastur, in descending order."""
    ratio = n_values / n_samples
    low, high = (1 - math.sqrt(ratio)) ** 2, (1 + math.sqrt(ratio)) ** 2
    points = np.linspace(low, high, 1001)
    middles = (points[1:] + points[:-1]) / 2
    shares = np.cumsum(np.sqrt((high - middles) * (middles - low)) / middles)
    quantiles: Floats = np.interp(
        (np.arange(n_values)[::-1] + 0.5) / n_values, shares / shares[-1], points[1:]
    )
    return quantiles


def _refuse_independent_columns(rows: Floats) -> None:
    """Refuse tables of which the columns have no correlation beyond chance."""
    centered = _centered(rows)
    if min(centered.shape) < MIN_BULK:
        raise ValueError(
            f"A table needs at least {MIN_BULK} rows and columns that vary, got {centered.shape[0]} and "
            f"{centered.shape[1]}. {REMEDY}"
        )
    values, n = _eigenvalues(centered / centered.std(axis=0))
    largest = max(_noise_eigenvalues(len(values), n, seed)[0] for seed in range(N_SIMULATIONS))
    if values[0] < 1.1 * largest:
        raise ValueError(
            "The columns of X are not correlated beyond chance, and a table of independent columns cannot be "
            f"told from noise. {REMEDY}"
        )


def _bulk_level(rows: Floats) -> tuple[float, int]:
    """Return the level without signals, and the number of directions with one."""
    values, n = _eigenvalues(_centered(rows))
    m = len(values)
    scale = values[0]
    n_most = m - max(MIN_BULK, math.ceil(MIN_BULK_SHARE * m))
    for n_signals in range(0, n_most + 1, max(1, m // MAX_TRIALS)):
        bulk = values[n_signals:]
        if bulk[-1] <= 1e-12 * scale:
            break
        # The limit law rules out most numbers of signals; simulations take the time.
        size = len(bulk), n - n_signals
        if _distance(bulk, _limit_eigenvalues(*size)) > MAX_LIMIT_DISTANCE + 1 / len(bulk):
            continue
        draws = np.array([_noise_eigenvalues(*size, seed) for seed in range(N_SIMULATIONS)])
        expected = draws.mean(axis=0)
        usual = float(np.sqrt(np.mean([_distance(draw, expected) ** 2 for draw in draws])))
        if _distance(bulk, expected) < max(BULK_TOLERANCE * usual, HARMLESS_DISTANCE):
            return math.sqrt(float(bulk @ expected / (expected @ expected))), n_signals
    raise ValueError(
        "The table has no group of directions with noise of one level alone: too few columns, signals in "
        f"nearly all directions, no noise, or columns of different noise levels. {REMEDY}"
    )


def _distance(values: Floats, expected: Floats) -> float:
    """Return the relative distance of two spectra, at the best scale."""
    scale = float(values @ expected / (expected @ expected))
    return float(np.sqrt(np.mean(np.square(values / scale - expected))))


def _column_levels(rows: Floats) -> Floats:
    """Return the noise level of each column by factor analysis, or refuse."""
    _refuse_independent_columns(rows)
    varying = np.ptp(rows, axis=0) > 0
    n, p = len(rows), int(varying.sum())
    if n < ROWS_PER_COLUMN * p or not MIN_BULK <= p <= MAX_COLUMNS:
        raise ValueError(
            f"One level for each column needs at least {ROWS_PER_COLUMN} rows for each column, and 8 to "
            f"{MAX_COLUMNS} columns, got {n} rows and {p} columns. {REMEDY}"
        )
    rows = rows[_evenly(n, max(MAX_ENTRIES // p, ROWS_PER_COLUMN * p))]
    spread = rows[:, varying].std(axis=0)
    unit_rows = (rows[:, varying] - rows[:, varying].mean(axis=0)) / spread
    for n_factors in range(1, p // COLUMNS_PER_FACTOR + 1):
        model = FactorAnalysis(n_factors, tol=1e-3, max_iter=500, svd_method="lapack")
        with warnings.catch_warnings():
            # The check of the eigenvalues below refuses a fit that did not converge.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(unit_rows)
        levels = np.sqrt(model.noise_variance_)
        # A column that the factors explain fully has no level of its own (a Heywood case).
        if levels.min() < 0.02:
            break
        try:
            _, n_signals = _bulk_level(unit_rows / levels)
        except ValueError:
            continue
        if n_signals <= n_factors:
            result = np.zeros(len(varying))
            result[varying] = levels * spread
            return result
    raise ValueError(
        f"Factor analysis has no noise level for each column: up to {p // COLUMNS_PER_FACTOR} factors do "
        f"not explain the correlations of the {p} columns. {REMEDY}"
    )
