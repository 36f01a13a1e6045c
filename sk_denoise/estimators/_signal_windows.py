"""Windows of signals: samples to learn from, and averages of denoised ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "MAX_WINDOWS",
    "TRIAL_WINDOWS",
    "average_windows",
    "choose_length",
    "estimate_window_risk",
    "sample_windows",
]

Floats = NDArray[np.float64]
Filter = Callable[[Floats], Floats]

# Windows that are learned from; those that overlap have much in common.
MAX_WINDOWS = 20_000
# Windows denoised at a time, to bound memory.
CHUNK_WINDOWS = 4096
# Lengths that "auto" compares, the windows that each is fitted to, and the held-out signals for a risk.
LENGTHS = (16, 32, 64, 128)
TRIAL_WINDOWS, N_HELD_OUT = 6000, 24
# Step of the numerical divergence, in noise levels.
STEP = 0.1


def sample_windows(
    rows: Floats, weights: Floats, length: int, rng: np.random.Generator, max_windows: int
) -> tuple[Floats, Floats]:
    """Return windows at different random places, and their weights.

    Parameters
    ----------
    rows : ndarray of shape (n, n_entries)
        Signals.
    weights : ndarray of shape (n,)
        Weight of each signal.
    length : int
        Number of entries of a window.
    rng : Generator
        Source of the places.
    max_windows : int
        Largest number of windows.

    Returns
    -------
    windows : ndarray of shape (n_windows, length)
        Windows.
    weights : ndarray of shape (n_windows,)
        Weights of their signals.
    """
    views = np.lib.stride_tricks.sliding_window_view(rows, length, axis=1)
    n_places = views.shape[1]
    n_windows = min(max_windows, len(rows) * n_places)
    # The places do not depend on the weights, so that a row of weight 2 equals two rows.
    chosen = rng.choice(len(rows) * n_places, n_windows, replace=False)
    numbers, places = np.divmod(chosen, n_places)
    windows: Floats = views[numbers, places]
    return windows, weights[numbers]


def average_windows(rows: Floats, length: int, denoise: Filter) -> Floats:
    """Denoise all windows of each row, and average the overlapping outputs.

    Parameters
    ----------
    rows : ndarray of shape (n, n_entries)
        Signals.
    length : int
        Number of entries of a window.
    denoise : callable
        Function of windows of shape (n_windows, length).
    """
    n_entries = rows.shape[1]
    views = np.lib.stride_tricks.sliding_window_view(rows, length, axis=1)
    n_places = views.shape[1]
    n_rows = max(1, CHUNK_WINDOWS // n_places)
    total = np.zeros(rows.shape)
    for start in range(0, len(rows), n_rows):
        part = views[start : start + n_rows]
        outputs = np.concatenate(
            [
                denoise(chunk)
                for chunk in np.array_split(
                    part.reshape(-1, length), -(-part.shape[0] * n_places // CHUNK_WINDOWS)
                )
            ]
        ).reshape(len(part), n_places, length)
        for offset in range(length):
            total[start : start + n_rows, offset : offset + n_places] += outputs[:, :, offset]
    counts = np.convolve(np.ones(n_places), np.ones(length))[:n_entries]
    averages: Floats = total / counts
    return averages


def estimate_window_risk(rows: Floats, variances: Any, denoise: Filter) -> Floats:
    """Return Stein's estimate of the error of each row, by a random probe.

    Parameters
    ----------
    rows : ndarray of shape (n, n_entries)
        Noisy signals that the denoiser did not learn from.
    variances : float or ndarray of shape (n, n_entries)
        Noise variances.
    denoise : callable
        Function of signals of shape (n, n_entries).
    """
    probe = np.random.default_rng(0).choice([-1.0, 1.0], rows.shape)
    step = STEP * np.sqrt(np.mean(variances))
    denoised = denoise(rows)
    slopes = probe * (denoise(rows + step * probe) - denoised) / step
    risks: Floats = np.mean(np.square(denoised - rows) + variances * (2 * slopes - 1), axis=1)
    return risks


def choose_length(
    rows: Floats,
    weights: Floats,
    fit: Callable[[Floats, Floats, int], Filter],
    noise_variance: float,
    rng: np.random.Generator,
) -> tuple[int, dict[int, float]]:
    """Return the window length with the least risk on held-out signals, and the risks.

    Parameters
    ----------
    rows : ndarray of shape (n, n_entries)
        Noisy signals.
    weights : ndarray of shape (n,)
        Weight of each signal.
    fit : callable
        Function of training signals, weights and a length that returns a function that denoises signals.
    noise_variance : float
        Variance of the noise in the rows.
    rng : Generator
        Source of the held-out signals.
    """
    lengths = [length for length in LENGTHS if 2 * length <= rows.shape[1]] or [max(1, rows.shape[1] // 2)]
    if len(lengths) == 1 or len(rows) < 4:
        # Too few signals for a comparison: the middle length.
        return lengths[(len(lengths) - 1) // 2], {}
    order = rng.permutation(len(rows))
    n_held_out = min(N_HELD_OUT, len(rows) // 2)
    held_out, training = order[:n_held_out], order[n_held_out:]
    risks: dict[int, float] = {}
    for length in lengths:
        denoise = fit(rows[training], weights[training], length)
        each = estimate_window_risk(rows[held_out], noise_variance, denoise)
        risks[length] = float(np.average(each, weights=weights[held_out]))
        # Risks have one minimum: longer windows take the most time.
        if risks[length] > 1.02 * min(risks.values()):
            break
    return min(risks, key=lambda length: risks[length]), risks
