"""Classify rows as they are, denoised, and by latent vectors, with noise in use and without.

    python benchmarks/table_features.py [--quick]

Results go to ``benchmarks/results/table_features.md``; ``--quick`` takes one split of two tables and writes
nothing. A run takes about ten minutes on one core.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn import datasets
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from sk_denoise import DenoisingAutoencoder, GaussianNoiser, PosteriorMeanDenoiser

RESULTS = Path(__file__).parent / "results" / "table_features.md"
SEEDS = (0, 1, 2)
SIGMA = 0.5
LATENT_DIM = 16
CLASSIFIERS = {
    "logistic regression": LogisticRegression(max_iter=2000),
    "SVM": SVC(),
    "k nearest": KNeighborsClassifier(),
    "boosting": HistGradientBoostingClassifier(random_state=0),
}
INPUTS = ("raw", "latent", "denoised", "denoised without a network")

HEAD = """\
# Denoised features before classifiers

`python benchmarks/table_features.py`: accuracy on held-out rows (a third of the table), mean of three splits,
with features scaled to a deviation of one.

- "Noise in use": rows for the classifier's training and test have Gaussian noise of half a deviation. The
  denoisers have clean training rows and this noise; then they transform noisy rows for the classifier.
- "Without": no noise anywhere. The denoisers have all defaults.
- "Latent" are 16 latent vectors of `DenoisingAutoencoder`, "denoised" its output, and "denoised without a
  network" that of `PosteriorMeanDenoiser`.
"""


def tables() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the tables and their labels by name."""

    def classification(n: int, p: int, informative: int, redundant: int, seed: int) -> tuple:
        return datasets.make_classification(
            n, p, n_informative=informative, n_redundant=redundant, random_state=seed
        )

    moons, labels = datasets.make_moons(500, noise=0.1, random_state=0)
    weights = np.random.default_rng(0).normal(size=(2, 12))
    return {
        "wine": datasets.load_wine(return_X_y=True),
        "iris": datasets.load_iris(return_X_y=True),
        "breast cancer": datasets.load_breast_cancer(return_X_y=True),
        "digits": datasets.load_digits(return_X_y=True),
        "blobs": datasets.make_blobs(500, 10, centers=8, cluster_std=2.0, random_state=0),
        "moons in 12 columns": (np.tanh(moons @ weights), labels),
        "quantiles": datasets.make_gaussian_quantiles(
            n_samples=600, n_features=6, n_classes=3, random_state=0
        ),
        "redundant": classification(400, 20, 4, 16, 1),
        "informative": classification(400, 20, 15, 5, 2),
        "wide": classification(150, 60, 8, 40, 3),
    }


def measure(X: np.ndarray, y: np.ndarray, seed: int, *, has_noise: bool) -> dict[tuple[str, str], float]:
    """Return the accuracy by input and classifier on one split."""
    train, test, y_train, y_test = train_test_split(X, y, test_size=1 / 3, stratify=y, random_state=seed)
    scaler = StandardScaler().fit(train)
    train, test = scaler.transform(train), scaler.transform(test)
    rng = np.random.default_rng(100 + seed)
    noise = GaussianNoiser(SIGMA) if has_noise else "auto"
    dae = DenoisingAutoencoder(latent_dim=LATENT_DIM, noise=noise, random_state=0).fit(train)
    prior = PosteriorMeanDenoiser(SIGMA if has_noise else "auto").fit(train)
    if has_noise:
        train, test = (side + rng.normal(0, SIGMA, side.shape) for side in (train, test))
    sides = {
        "raw": (train, test),
        "denoised": (dae.predict(train), dae.predict(test)),
        "denoised without a network": (prior.predict(train), prior.predict(test)),
    }
    dae.set_params(output="latent")
    latent = StandardScaler().fit(dae.transform(train))
    sides["latent"] = tuple(latent.transform(dae.transform(side)) for side in (train, test))
    return {
        (name, kind): classifier.fit(sides[name][0], y_train).score(sides[name][1], y_test)
        for name in INPUTS
        for kind, classifier in CLASSIFIERS.items()
    }


def main() -> None:
    """Write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="take one split of two tables, and write nothing"
    )
    quick = parser.parse_args().quick
    warnings.simplefilter("ignore")
    text, start = [HEAD.rstrip()], time.perf_counter()
    for title, has_noise in (("Noise in use", True), ("Without noise", False)):
        columns = [f"{kind}: {name}" for kind in CLASSIFIERS for name in INPUTS]
        lines = [f"| table | {' | '.join(columns)} |", "|" + "---|" * (1 + len(columns))]
        all_means = []
        for name, (X, y) in list(tables().items())[: 2 if quick else None]:
            splits = [measure(X, y, seed, has_noise=has_noise) for seed in (SEEDS[:1] if quick else SEEDS)]
            means = [np.mean([split[i, kind] for split in splits]) for kind in CLASSIFIERS for i in INPUTS]
            all_means.append(means)
            lines.append(f"| {name} | {' | '.join(f'{mean:.3f}' for mean in means)} |")
            print(title, lines[-1], f"{time.perf_counter() - start:.0f} s", flush=True)
        lines.append(f"| mean | {' | '.join(f'{mean:.3f}' for mean in np.mean(all_means, axis=0))} |")
        print(lines[-1])
        text.append(f"## {title}\n\n" + "\n".join(lines))
    if not quick:
        RESULTS.write_text("\n\n".join(text) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
