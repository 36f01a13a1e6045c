"""Measure how many swapped categories are restored, by noise and loss of columns or of blocks.

    python benchmarks/categories.py [--quick]

A generated table has three numbers and five categories of three to six values, which all depend on a hidden
class of four. A fifth of the values is swapped with other rows.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from sk_denoise import DenoisingAutoencoder, SwapNoiser

SIZES = (4, 5, 3, 6, 4)
STARTS = 3 + np.cumsum([0, *SIZES[:-1]])
BLOCKS = [[*range(start, start + size)] for start, size in zip(STARTS, SIZES, strict=True)]
VARIANTS = {
    "noise by column": {"noise": SwapNoiser(0.2, blocks=None)},
    "noise by block": {"noise": SwapNoiser(0.2)},
    'noise by block, loss="mixed"': {"noise": SwapNoiser(0.2), "loss": "mixed"},
}
ROWS, QUICK_ROWS = (600, 5000), (600,)
SEEDS, QUICK_SEEDS = (0, 1, 2), (0,)


def table(n: int, seed: int) -> np.ndarray:
    """Return numbers and one-hot categories that depend on a hidden class."""
    rng = np.random.default_rng(seed)
    hidden = rng.integers(4, size=n)
    numbers = hidden[:, None] + rng.normal(0, 0.5, (n, 3))
    categories = [
        np.where(rng.random(n) < 0.85, (hidden + shift) % size, rng.integers(size, size=n))
        for shift, size in enumerate(SIZES)
    ]
    return np.column_stack([numbers, *(np.eye(k)[c] for k, c in zip(SIZES, categories, strict=True))])


def categories_of(rows: np.ndarray) -> np.ndarray:
    """Return the category with the largest entry of each block."""
    return np.column_stack([rows[:, block].argmax(axis=1) for block in BLOCKS])


def log_loss(predicted: np.ndarray, clean: np.ndarray) -> float:
    """Return the mean negative logarithm of the probability of the true categories."""
    losses = []
    for block in BLOCKS:
        probabilities = predicted[:, block].clip(1e-3)
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        losses.append(-np.log((probabilities * clean[:, block]).sum(axis=1)).mean())
    return float(np.mean(losses))


def main() -> None:
    """Print a table for each number of rows."""
    is_quick = "--quick" in sys.argv[1:]
    for n in QUICK_ROWS if is_quick else ROWS:
        print(f"\n{n} rows\n")
        print(
            "| | swapped, restored | intact, kept | log loss | error of numbers | seconds |\n|" + "---|" * 6
        )
        for name, parameters in VARIANTS.items():
            figures = []
            for seed in QUICK_SEEDS if is_quick else SEEDS:
                train, test = table(n, 10 * seed), table(2000, 10 * seed + 1)
                noisy = np.asarray(SwapNoiser(0.2, random_state=seed).fit_transform(test))
                begin = time.perf_counter()
                dae = DenoisingAutoencoder(random_state=seed, **parameters).fit(train)
                seconds = time.perf_counter() - begin
                predicted, truth = dae.predict(noisy), categories_of(test)
                is_right, is_swapped = categories_of(predicted) == truth, categories_of(noisy) != truth
                error = np.square(predicted[:, :3] - test[:, :3]).mean()
                rates = is_right[is_swapped].mean(), is_right[~is_swapped].mean()
                figures.append([*rates, log_loss(predicted, test), error, seconds])
            print(f"| {name} | " + " | ".join(f"{figure:.3f}" for figure in np.mean(figures, axis=0)) + " |")


if __name__ == "__main__":
    main()
