"""Denoise signals of six kinds, of any length, with recorded noise, and one long recording."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter1d

LENGTH, SIGMA = 128, 0.4

Array = np.ndarray[Any, Any]


def draw_heartbeats(n: int, rng: np.random.Generator, length: int = LENGTH) -> Array:
    """Return beats of five waves, of varying period and height, with unit deviation on average."""
    places = np.arange(length)
    widths = np.array([2.0, 0.8, 1.0, 0.9, 4.5])
    signals = np.zeros((n, length))
    for signal in signals:
        period, height = rng.uniform(40, 70), rng.uniform(3.5, 6.5)
        stretch = np.sqrt(period / 65)
        heights = np.array([rng.uniform(0.1, 0.2), -0.12, 1.0, -0.25, rng.uniform(0.2, 0.35)])
        offsets = np.array([-12.0 * stretch, -2.5, 0.0, 2.5, 20.0 * stretch])
        beat = rng.uniform(-period, 0) - period
        while beat < length + period:
            waves = np.exp(-0.5 * ((places - beat - offsets[:, None]) / widths[:, None]) ** 2)
            signal += height * (heights[:, None] * waves).sum(axis=0)
            beat += period * rng.normal(1, 0.03)
    return signals


def draw_peaks(n: int, rng: np.random.Generator, length: int = LENGTH) -> Array:
    """Return broad peaks of any place, height and width on a smooth baseline."""
    places = np.arange(length)
    time = places / LENGTH
    signals = rng.uniform(0, 0.5, (n, 1)) + rng.uniform(-0.5, 0.5, (n, 1)) * time
    for _ in range(2):
        center, width = rng.uniform(0, length, (n, 1)), rng.uniform(22, 45, (n, 1))
        signals = signals + rng.uniform(0.3, 0.9, (n, 1)) * np.exp(-0.5 * ((places - center) / width) ** 2)
    return signals


def draw_steps(n: int, rng: np.random.Generator, length: int = LENGTH) -> Array:
    """Return piecewise constant signals with a jump every 13 entries on average."""
    signals = np.empty((n, length))
    for signal in signals:
        cuts = np.flatnonzero(rng.uniform(size=length) < 1 / 13)
        pieces = np.searchsorted(cuts, np.arange(length), side="right")
        signal[:] = rng.normal(size=len(cuts) + 1)[pieces]
    return signals


def draw_sines(n: int, rng: np.random.Generator, length: int = LENGTH) -> Array:
    """Return mixtures of three sines of 2 to 19 periods in 128 entries."""
    time = np.arange(length) / LENGTH
    signals = np.zeros((n, length))
    for _ in range(3):
        waves = rng.uniform(2, 19, (n, 1)) * time + rng.uniform(size=(n, 1))
        signals += rng.uniform(0.3, 1, (n, 1)) * np.sin(2 * np.pi * waves)
    return signals


def draw_bits(n: int, rng: np.random.Generator, length: int = LENGTH) -> Array:
    """Return random bits, 0 or 1, of eight entries each."""
    bits = rng.integers(0, 2, (n, -(-length // 8)))
    return np.repeat(bits, 8, axis=1)[:, :length].astype(float)


def draw_smooth(n: int, rng: np.random.Generator, length: int = LENGTH) -> Array:
    """Return Gaussian processes of unit variance with a length scale of 14 entries."""
    scale = 14 / np.sqrt(2)
    margin = 40
    white = rng.normal(size=(n, length + 2 * margin))
    curves = gaussian_filter1d(white, scale, axis=1)[:, margin : margin + length]
    return curves * np.sqrt(2 * np.sqrt(np.pi) * scale)


KINDS = {
    "ECG-like": draw_heartbeats,
    "peaks on a baseline": draw_peaks,
    "steps": draw_steps,
    "sine mixtures": draw_sines,
    "bits": draw_bits,
    "smooth curves": draw_smooth,
}
