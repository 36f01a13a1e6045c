"""Data and helpers that several tests share: scikit-learn's digits, as reference-numbers split them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sk_denoise.training import _batches


@dataclass(frozen=True)
class Digits:
    """8 x 8 digits in [0, 1], flat: 1297 to train on and 500 to test on, the split of one seed."""

    train: NDArray[np.float64]
    test: NDArray[np.float64]
    train_labels: NDArray[np.int64]
    test_labels: NDArray[np.int64]
    seed: int

    @classmethod
    def split(cls, seed: int) -> Digits:
        X, y = load_digits(return_X_y=True)
        parts = train_test_split(X / 16, y, test_size=500, stratify=y, random_state=seed)
        return cls(*parts, seed)

    def noisy_test(self, sigma: float) -> NDArray[np.float64]:
        """Return the test digits under the seed's noise."""
        return self.test + np.random.default_rng(self.seed + 1).normal(0, sigma, self.test.shape)

    def decibels(self, prediction: NDArray[np.float64]) -> float:
        """Return the PSNR of the mean MSE of denoised test digits, data range 1."""
        return float(-10 * np.log10(np.mean((self.test - prediction) ** 2)))


@pytest.fixture(scope="session")
def digits() -> Digits:
    return Digits.split(seed=0)


@pytest.fixture
def batches_drawn_alone(monkeypatch) -> None:
    """Draw every batch by itself, so that a noiser sees where a run is."""
    monkeypatch.setattr(_batches, "ENTRIES_AT_ONCE", 1)
