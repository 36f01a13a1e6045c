"""Denoise small tables with a clean side, beside closed formulas and scikit-learn's regressors.

    python benchmarks/tables.py [--quick] [names of tables]

Results go to ``benchmarks/results/tables.md``; ``--quick`` takes one split of four tables and writes nothing.
A run takes about an hour on one core.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn import datasets
from sklearn.decomposition import PCA
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold, train_test_split
from sklearn.neighbors import KNeighborsRegressor

from sk_denoise import DenoisingAutoencoder, GaussianNoiser, PosteriorMeanDenoiser, WienerDenoiser

RESULTS = Path(__file__).parent / "results" / "tables.md"
STRENGTHS = (0.25, 0.5, 1.0)
SEEDS = (0, 1, 2)
QUICK = ("wine", "iris", "blobs", "15 x 6")
RIVALS = ("ridge", "Wiener", "PCA", "kernel ridge", "k nearest", "posterior mean")
OURS = ("autoencoder", "PosteriorMeanDenoiser")
# Noisy rows that a regressor learns from if the noise is known, at most.
MAX_ROWS = 4000

HEAD = """\
# Small tables with a clean side

`python benchmarks/tables.py`: the squared error that is left on held-out rows (a quarter of the table), as a
share of that of the noisy rows; means of three splits. Columns have a standard deviation of one (digits: all
columns together); the noise is Gaussian, with a quarter, a half or all of that.

- "Pairs": one noisy version of each clean row, `fit(noisy, X_clean=clean)`. "Known noise": clean rows and
  `noise=GaussianNoiser(sigma)`; regressors learn from up to eight noisy versions of each row.
- Ridge, kernel ridge, k nearest neighbours and the number of axes of PCA are chosen by cross-validation or on
  the training pairs. "Wiener" is `WienerDenoiser`. "Posterior mean" is that under the training rows as
  points, with the true noise level (pairs: that of the residuals). "Best other" is the best of these six for
  each table, strength and mode, by the mean of the splits.
- Ours have all defaults. "Ratio" is the error of the autoencoder over that of the best other one.
"""


def standardized(X: np.ndarray) -> np.ndarray:
    """Return columns with mean 0 and deviation 1."""
    spread = X.std(axis=0)
    return (X - X.mean(axis=0)) / np.where(spread > 0, spread, 1)


def tables() -> dict[str, np.ndarray]:
    """Return the tables by name."""

    def normal(seed: int, *shape: int) -> np.ndarray:
        return np.random.default_rng(seed).normal(size=shape)

    digits = datasets.load_digits().data
    linnerud = datasets.load_linnerud()
    friedman, target = datasets.make_friedman1(600, 8, random_state=0)
    hidden = normal(8, 1000, 2)
    found = {
        "wine": datasets.load_wine().data,
        "diabetes": datasets.load_diabetes().data,
        "breast cancer": datasets.load_breast_cancer().data,
        "iris": datasets.load_iris().data,
        "linnerud": np.hstack([linnerud.data, linnerud.target]),
        "low rank, 667 x 100": normal(1, 890, 10) @ normal(2, 10, 100) + 0.3 * normal(3, 890, 100),
        "rank 5, 60 x 2,000": normal(4, 80, 5) @ normal(5, 5, 2000),
        "15 x 6": normal(6, 20, 6),
        "independent columns": normal(7, 400, 8),
        "swiss roll": datasets.make_swiss_roll(1200, random_state=0)[0],
        "blobs": datasets.make_blobs(600, 6, centers=7, random_state=0)[0],
        "Friedman": np.column_stack([friedman, target]),
        "curved": np.tanh(hidden @ normal(9, 2, 20)) + 0.5 * np.sin(hidden @ normal(10, 2, 20)),
        "skewed": np.exp(0.5 * (normal(11, 500, 4) @ normal(12, 4, 12))),
        "classes": datasets.make_classification(500, 12, n_informative=6, n_redundant=4, random_state=0)[0],
    }
    return {**{name: standardized(X) for name, X in found.items()}, "digits": digits / digits.std()}


def posterior_mean(clean: np.ndarray, sigma: float, noisy: np.ndarray) -> np.ndarray:
    """Return the mean of the clean rows, weighted by the likelihood of the noisy ones."""
    distances = (noisy**2).sum(1)[:, None] - 2 * noisy @ clean.T + (clean**2).sum(1)
    weights = np.exp(-(distances - distances.min(1, keepdims=True)) / (2 * sigma**2))
    return weights @ clean / weights.sum(1, keepdims=True)


def project(noisy: np.ndarray, clean: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Return the projection on the principal axes of noisy rows, as many as suit the training pairs."""
    most = min(noisy.shape) - 1
    fits = [PCA(k).fit(noisy) for k in (*range(1, 11), 15, 20, 30, 40) if k <= most]
    best = min(fits, key=lambda pca: np.mean((pca.inverse_transform(pca.transform(noisy)) - clean) ** 2))
    return best.inverse_transform(best.transform(new))


def predict_by_rivals(
    train: np.ndarray, noisy: np.ndarray, sigma: float, new: np.ndarray, *, is_known: bool
) -> dict[str, np.ndarray]:
    """Return the predictions of the other methods."""
    copies = max(1, min(8, MAX_ROWS // len(train))) if is_known else 1
    clean, groups = np.tile(train, (copies, 1)), np.tile(np.arange(len(train)), copies)
    given = clean + np.random.default_rng(7).normal(0, sigma, clean.shape) if is_known else noisy
    folds = list(GroupKFold(4).split(given, clean, groups))
    some = slice(None, 1500)
    few = [(rest[rest < 1500], fold[fold < 1500]) for rest, fold in folds][:3]

    def search(regressor: object, grid: dict, rows: slice, cv: list) -> np.ndarray:
        found = GridSearchCV(regressor, grid, cv=cv, scoring="neg_mean_squared_error")
        return found.fit(given[rows], clean[rows]).predict(new)

    p, everything = train.shape[1], slice(None)
    level = sigma if is_known else float((noisy - train).std())
    wiener = (
        WienerDenoiser(sigma=sigma).fit(train) if is_known else WienerDenoiser().fit(noisy, X_clean=train)
    )
    gammas = [share / p for share in (0.01, 0.1, 0.3, 1)]
    neighbours = [k for k in (3, 5, 10, 20) if k <= 0.7 * len(train)]
    return {
        "ridge": search(Ridge(), {"alpha": np.geomspace(0.1, 3e4, 12)}, everything, folds),
        "Wiener": wiener.predict(new),
        "PCA": project(given, clean, new),
        "kernel ridge": search(
            KernelRidge(kernel="rbf"), {"alpha": [0.03, 0.3, 3], "gamma": gammas}, some, few
        ),
        "k nearest": search(KNeighborsRegressor(), {"n_neighbors": neighbours}, everything, folds),
        "posterior mean": posterior_mean(train, level, new),
    }


def predict_by_ours(
    train: np.ndarray, noisy: np.ndarray, sigma: float, new: np.ndarray, *, is_known: bool
) -> dict[str, np.ndarray]:
    """Return our predictions, with all defaults."""
    if is_known:
        autoencoder = DenoisingAutoencoder(noise=GaussianNoiser(sigma), random_state=0).fit(train)
        prior = PosteriorMeanDenoiser(sigma).fit(train)
    else:
        autoencoder = DenoisingAutoencoder(random_state=0).fit(noisy, X_clean=train)
        prior = PosteriorMeanDenoiser().fit(noisy, X_clean=train)
    return dict(zip(OURS, (autoencoder.predict(new), prior.predict(new)), strict=True))


def measure(X: np.ndarray, sigma: float, seed: int, *, is_known: bool) -> dict[str, float]:
    """Return the share of the squared error that each method leaves on one split."""
    train, test = train_test_split(X, test_size=0.25, random_state=seed)
    rng = np.random.default_rng(100 + seed)
    # Several noisy versions of each test row, where these are few.
    test = np.repeat(test, -(-200 // len(test)), axis=0)
    new, noisy = test + rng.normal(0, sigma, test.shape), train + rng.normal(0, sigma, train.shape)
    power = np.mean((new - test) ** 2)
    arguments = (train, noisy, sigma, new)
    found = predict_by_rivals(*arguments, is_known=is_known) | predict_by_ours(*arguments, is_known=is_known)
    return {name: float(np.mean((prediction - test) ** 2) / power) for name, prediction in found.items()}


def main() -> None:
    """Measure all tables, and write the results after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="take one split of four tables, and write nothing"
    )
    parser.add_argument("names", nargs="*", help="tables; by default all")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    seeds = SEEDS[:1] if options.quick else SEEDS
    names = options.names or (QUICK if options.quick else list(tables()))
    lines, ratios, start = [], [], time.perf_counter()
    for name in names:
        X = tables()[name]
        for mode, is_known in (("pairs", False), ("known noise", True)):
            for sigma in STRENGTHS:
                splits = [measure(X, sigma, seed, is_known=is_known) for seed in seeds]
                means = {method: float(np.mean([split[method] for split in splits])) for method in splits[0]}
                best = min(RIVALS, key=means.__getitem__)
                ratios.append(means["autoencoder"] / means[best])
                row = [name, mode, f"{sigma:g}", f"{means[best]:.3f} ({best})"]
                row += [f"{means[method]:.3f}" for method in ("ridge", "Wiener", *OURS)]
                lines.append(f"| {' | '.join(row)} | {ratios[-1]:.3f} |")
                print(lines[-1], f"{time.perf_counter() - start:.0f} s", flush=True)
        summary = (
            f"Ratio: mean {np.mean(ratios):.3f}, at most {max(ratios):.3f}, above 1.02 in "
            f"{sum(ratio > 1.02 for ratio in ratios)} of {len(ratios)} rows."
        )
        columns = ["table", "mode", "noise", "best other", "ridge", "Wiener", *OURS, "ratio"]
        head = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
        if not options.quick and not options.names:
            RESULTS.write_text("\n".join([HEAD, summary, "", *head, *lines]) + "\n", encoding="utf-8")
    print(summary)


if __name__ == "__main__":
    main()
