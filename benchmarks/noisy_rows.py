"""Denoise rows by methods that learn from noisy rows alone, for a known noise level.

    python benchmarks/noisy_rows.py [--quick]

Training rows are noisy, test rows are new, and both have noise of the same known level. Results are means of
seeds 0, 1 and 2 of the split, the data and the noise, and go to ``benchmarks/results/noisy_rows.md``;
``--quick`` takes seed 0 and writes nothing. A run takes about ten minutes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

from sk_denoise import WienerMixtureDenoiser
from sk_denoise.restoration import NoiseModel

RESULTS = Path(__file__).parent / "results" / "noisy_rows.md"
SEEDS = (0, 1, 2)
LEVELS = (0.25, 0.5)

HEAD = """\
# Learning from noisy rows alone

`python benchmarks/noisy_rows.py`: all methods learn from noisy rows alone, have the true noise level, and
denoise new rows; means of three seeds. The mean squared error is that in units of the data, for breast cancer
and synthetic tables in units of the standard deviation of each column. "Gain" is the gain over the Wiener
filter in dB. Seconds are processor seconds of a fit and a prediction, on one core.

- Digits are scikit-learn's / 16: 1,297 rows for the fit and 500 for the test, split at random, or the first
  1,297 and the last 500, which other people wrote.
- Breast cancer has its own units: each column has noise of a quarter or a half of its standard deviation;
  400 and 169 rows.
- The low-rank table has 40 non-linear functions of two hidden variables; the clusters are eight planes in 30
  dimensions; 500 and 300 rows.
- "Wiener" takes the covariance of the noisy rows less that of the noise. "One component" is `n_components=1`,
  which takes the variances along the axes from held-out rows.
- "PCA, optimal shrinkage" keeps the axes beyond the edge of Marchenko and Pastur, with the best gain of each
  for new rows (Gavish and Donoho, 2017; Nadler, 2008). "Probabilistic PCA" has the number of axes and the
  noise level by likelihood (Minka), as scikit-learn's PCA finds them.
- "Mixture of 20, 4 starts" has `n_components=20, n_init=4, shrinkage=60`. "Mixture" has the defaults.
"""


# data --------------------------------------------------------------------------------------------------


def digits(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return training and test rows by a random split."""
    X, y = load_digits(return_X_y=True)
    train, test = train_test_split(X / 16, test_size=500, stratify=y, random_state=seed)
    return train, test


def first_digits(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the first and the last rows."""
    X = load_digits().data / 16
    return X[:1297], X[1297:]


def breast_cancer(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of columns in very different units."""
    X = load_breast_cancer().data
    X = X[np.random.default_rng(seed).permutation(len(X))]
    return X[:400], X[400:]


def low_rank(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows on a curved surface of two dimensions."""
    rng = np.random.default_rng(seed)
    hidden = rng.uniform(-1.5, 1.5, (800, 2))
    X = np.sin(1.5 * hidden @ rng.normal(size=(2, 40)) + rng.uniform(0, 2 * np.pi, 40))
    return X[:500], X[500:]


def clusters(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows on eight planes."""
    rng = np.random.default_rng(seed)
    centers, planes = rng.normal(size=(8, 30)), 0.4 * rng.normal(size=(8, 2, 30))
    labels = rng.integers(0, 8, 800)
    X = centers[labels] + np.einsum("nq,nqd->nd", rng.normal(size=(800, 2)), planes[labels])
    return X[:500], X[500:]


# Data, and whether the noise is relative to the standard deviation of each column.
DATA: dict[str, tuple[Callable, bool]] = {
    "digits": (digits, False),
    "digits, in order": (first_digits, False),
    "breast cancer": (breast_cancer, True),
    "low rank, non-linear": (low_rank, True),
    "clusters": (clusters, True),
}


# methods -----------------------------------------------------------------------------------------------


def linear(gains_of: Callable) -> Callable:
    """Return a method with a gain for each principal axis of rows in units of the noise."""

    def denoise(noisy, rows, sigmas):
        center = noisy.mean(axis=0)
        scaled = (noisy - center) / sigmas
        axes, gains = gains_of(scaled)
        return center + sigmas * ((rows - center) / sigmas @ axes.T * gains @ axes)

    return denoise


def wiener_gains(scaled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return all axes, and the gains for the covariance of noisy rows less that of the noise."""
    pca = PCA().fit(scaled)
    return pca.components_, np.maximum(1 - 1 / np.maximum(pca.explained_variance_, 1e-12), 0)


def optimal_gains(scaled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the axes beyond the edge of noise, and their best gains for new rows."""
    n, p = scaled.shape
    pca = PCA().fit(scaled)
    ratio = p / n
    kept = pca.explained_variance_ > (1 + np.sqrt(ratio)) ** 2
    variances = pca.explained_variance_[kept]
    total = variances - 1 - ratio
    spikes = (total + np.sqrt(total**2 - 4 * ratio)) / 2
    overlap = (1 - ratio / spikes**2) / (1 + ratio / spikes)
    return pca.components_[kept], spikes * overlap / (spikes * overlap + 1)


def probabilistic_gains(scaled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return axes and gains of probabilistic PCA."""
    pca = PCA("mle").fit(scaled)
    return pca.components_, 1 - pca.noise_variance_ / pca.explained_variance_


def mixture(**settings) -> Callable:
    """Return the mixture of Wiener filters with these settings."""

    def denoise(noisy, rows, sigmas):
        noise = float(sigmas[0]) if (sigmas == sigmas[0]).all() else sigmas
        return WienerMixtureDenoiser(noise, random_state=0, **settings).fit(noisy).predict(rows)

    return denoise


METHODS: dict[str, Callable] = {
    "noisy": lambda noisy, rows, sigmas: rows,
    "Wiener": linear(wiener_gains),
    "PCA, optimal shrinkage": linear(optimal_gains),
    "probabilistic PCA": linear(probabilistic_gains),
    "one component": mixture(n_components=1),
    "mixture of 20, 4 starts": mixture(n_components=20, n_init=4, shrinkage=60),
    "mixture": mixture(),
}


# tables ------------------------------------------------------------------------------------------------


def compare(seeds: tuple[int, ...]) -> str:
    """Compare the methods on all data."""
    lines = ["## White noise, of one level or of one for each column", ""]
    lines += [f"| data | noise | {' | '.join(METHODS)} | gain | seconds |", "|---" * (len(METHODS) + 4) + "|"]
    for name, (load, is_relative) in DATA.items():
        for level in LEVELS:
            errors = {method: [] for method in METHODS}
            seconds = []
            for seed in seeds:
                train, test = load(seed)
                spread = train.std(axis=0) if is_relative else np.ones(train.shape[1])
                rng = np.random.default_rng(100 + seed)
                sigmas = level * spread
                noisy = train + rng.normal(0, sigmas, train.shape)
                rows = test + rng.normal(0, sigmas, test.shape)
                for method, denoise in METHODS.items():
                    start = time.process_time()
                    denoised = denoise(noisy, rows, sigmas)
                    seconds.append(time.process_time() - start)
                    errors[method].append(np.mean(((denoised - test) / spread) ** 2))
            means = {method: float(np.mean(values)) for method, values in errors.items()}
            gain = 10 * np.log10(means["Wiener"] / means["mixture"])
            numbers = " | ".join(f"{mean:.4f}" for mean in means.values())
            duration = np.median(seconds[len(METHODS) - 1 :: len(METHODS)])
            lines.append(f"| {name} | {level:g} | {numbers} | {gain:.2f} | {duration:.1f} |")
            print(lines[-1], flush=True)
    return "\n".join(lines)


def other_noise(seeds: tuple[int, ...]) -> str:
    """Compare one component and the mixture for noise that is not Gaussian, or not known."""
    lines = [
        "## Other noise, on digits",
        "",
        "| noise | noisy | one component | mixture |",
        "|---|---|---|---|",
    ]
    for name, draw in OTHER_NOISE.items():
        errors = []
        for seed in seeds:
            train, test = digits(seed)
            rng = np.random.default_rng(100 + seed)
            noisy, noise = draw(train, rng)
            rows, _ = draw(test, rng)
            estimates = [rows]
            for settings in ({"n_components": 1}, {}):
                denoiser = WienerMixtureDenoiser(noise, random_state=0, **settings)
                estimates.append(denoiser.fit(noisy).predict(rows))
            errors.append([np.mean((estimate - test) ** 2) for estimate in estimates])
        lines.append(f"| {name} | {' | '.join(f'{error:.4f}' for error in np.mean(errors, axis=0))} |")
        print(lines[-1], flush=True)
    return "\n".join(lines)


def counts(X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return counts for a peak of 16, in the unit of the data."""
    return rng.poisson(16 * X) / 16


def mean_level(noisy: np.ndarray) -> float:
    """Return the root mean square of noise of counts."""
    return float(np.sqrt(noisy.mean() / 16))


OTHER_NOISE: dict[str, Callable] = {
    "Gaussian .25, estimated level": lambda X, rng: (X + rng.normal(0, 0.25, X.shape), "auto"),
    "Laplacian .25": lambda X, rng: (X + rng.laplace(0, 0.25 / np.sqrt(2), X.shape), 0.25),
    "uniform .25": lambda X, rng: (X + rng.uniform(-0.433, 0.433, X.shape), 0.25),
    "correlated .25, covariance": lambda X, rng: (
        X + rng.multivariate_normal(np.zeros(64), CORRELATED, len(X)),
        CORRELATED,
    ),
    "counts, peak 16": lambda X, rng: (counts(X, rng), NoiseModel("counts", 0.14, gain=1 / 16)),
    "counts, peak 16, as white noise": lambda X, rng: ((Y := counts(X, rng)), mean_level(Y)),
}
# Noise of .25 with a correlation of .6 to the next entry.
CORRELATED = 0.0625 * 0.6 ** np.abs(np.subtract.outer(np.arange(64), np.arange(64)))


def main() -> None:
    """Write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="take one seed, and write nothing")
    quick = parser.parse_args().quick
    seeds = SEEDS[:1] if quick else SEEDS
    tables = [compare(seeds), other_noise(seeds)]
    if not quick:
        RESULTS.write_text("\n\n".join([HEAD.rstrip(), *tables]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
