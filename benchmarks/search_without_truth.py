"""Search for parameters on noisy rows alone, and compare the choice with that of the truth.

    python benchmarks/search_without_truth.py [--quick]

Five data sets with white noise: scikit-learn's digits, breast cancer and wine, synthetic spectra, and patches
of a photo. A DenoisingAutoencoder learns from the noisy rows alone (``objective="recorrupt"``) with each
combination of a latent size and of a noise level, and PCA with each number of components. Both scorers of
``make_self_supervised_scorer`` choose on held-out noisy rows; the figure is the loss in dB on these rows
against the choice of the truth. Three seeds of noise, split and weights. It takes about ten minutes on one
core; --quick takes one seed. Results are written to ``benchmarks/results/search_without_truth.md``.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.model_selection import ParameterGrid, train_test_split

from sk_denoise import DenoisingAutoencoder, GaussianNoiser, make_self_supervised_scorer

RESULTS = Path(__file__).parent / "results"
N_SEEDS, LIMIT = 3, 0.1
Arrays = NDArray[np.float64]


def load_sets() -> Iterator[tuple[str, Arrays, float]]:
    """Yield the name, the clean rows and the noise level of each data set."""
    rng = np.random.default_rng(0)
    yield "digits", load_digits().data[:900] / 16, 0.25
    for name, loader in (("breast cancer", load_breast_cancer), ("wine", load_wine)):
        X = loader().data
        yield name, (X - X.mean(axis=0)) / X.std(axis=0), 0.5
    points = np.linspace(0, 1, 100)
    heights, centres = rng.uniform(0.3, 1, (500, 3)), [0.2, 0.5, 0.75] + 0.01 * rng.normal(size=(500, 3))
    yield (
        "spectra",
        (heights[..., None] * np.exp(-0.5 * ((points - centres[..., None]) / 0.03) ** 2)).sum(1),
        0.2,
    )
    from skimage import data

    image, corners = data.camera() / 255.0, rng.integers(0, 500, (900, 2))
    yield "patches of a photo", np.array([image[i : i + 8, j : j + 8].ravel() for i, j in corners]), 0.1


def candidates(n_features: int, n_rows: int, sigma: float, seed: int) -> Iterator[tuple[str, Any]]:
    """Yield the kind and the denoiser of each candidate."""
    noises = [GaussianNoiser(factor * sigma) for factor in (0.5, 1.0)]
    dae = DenoisingAutoencoder(objective="recorrupt", max_epochs=10, random_state=seed)
    for parameters in ParameterGrid({"latent_dim": [2, 8, 32], "noise": noises}):
        yield "DenoisingAutoencoder", clone(dae).set_params(**parameters)
    for n_components in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48):
        if n_components < min(n_features, n_rows):
            yield "PCA", PCA(n_components, random_state=seed)


def describe(denoiser: Any) -> str:
    """Return the parameters of a candidate."""
    if isinstance(denoiser, PCA):
        return f"{denoiser.n_components}"
    return f"{denoiser.latent_dim}, {denoiser.noise.noise_factor:g}"


def denoise(denoiser: Any, X: Arrays) -> Arrays:
    """Return denoised rows."""
    return (
        denoiser.inverse_transform(denoiser.transform(X))
        if isinstance(denoiser, PCA)
        else denoiser.predict(X)
    )


def main() -> None:
    """Search on all data sets, and write the results."""
    warnings.simplefilter("ignore")
    seeds = range(1 if "--quick" in sys.argv else N_SEEDS)
    lines: list[str] = []
    losses: dict[tuple[str, str], list[float]] = {}
    for name, X, sigma in load_sets():
        scorers = {
            "sure": make_self_supervised_scorer("sure", noise=sigma),
            "blind": make_self_supervised_scorer("blind"),
        }
        rows: dict[str, list[dict[str, Any]]] = {"DenoisingAutoencoder": [], "PCA": []}
        for seed in seeds:
            noisy = X + sigma * np.random.default_rng(seed).normal(size=X.shape)
            train, test, _, clean = train_test_split(noisy, X, test_size=0.35, random_state=seed)
            table: dict[str, list[tuple[Any, float, dict[str, float]]]] = {kind: [] for kind in rows}
            for kind, denoiser in candidates(X.shape[1], len(train), sigma, seed):
                denoiser.fit(train)
                error = float(np.mean(np.square(denoise(denoiser, test) - clean)))
                scores = {method: scorer(denoiser, test) for method, scorer in scorers.items()}
                table[kind].append((denoiser, 10 * np.log10(error / sigma**2), scores))
            for kind, each in table.items():
                best = min(each, key=lambda c: c[1])
                choice = {"truth": describe(best[0]), "change": best[1]}
                for method in scorers:
                    chosen = max(each, key=lambda c, m=method: c[2][m])
                    choice[method] = f"{describe(chosen[0])} ({chosen[1] - best[1]:+.2f})"
                    losses.setdefault((method, kind), []).append(chosen[1] - best[1])
                rows[kind].append(choice)
                print(name, kind, seed, choice, flush=True)
        for kind, choices in rows.items():
            columns = ("truth", "sure", "blind")
            cells = " | ".join("; ".join(choice[column] for choice in choices) for column in columns)
            change = np.mean([choice["change"] for choice in choices])
            lines.append(f"| {name} | {kind} | {change:+.1f} | {cells} |")
    summary = [
        f"| {method} | {kind} | {len(each)} | {100 * np.mean(np.array(each) <= LIMIT):.0f} % | "
        f"{max(each):.2f} |"
        for (method, kind), each in losses.items()
    ]
    text = [
        "# Searches without the truth",
        "",
        f"`python benchmarks/search_without_truth.py`, {len(seeds)} seeds: parameters chosen on noisy rows "
        "alone. For the autoencoder: latent size, noise level; for PCA: number of components. In brackets "
        "the loss in dB against the choice of the truth on the same rows. The error is that of the best "
        "candidate, in dB relative to that of the noisy rows.",
        "",
        "| scorer | denoiser | searches | loss of at most 0.1 dB | largest loss, dB |",
        "|---|---|---|---|---|",
        *summary,
        "",
        "| data | denoiser | error | truth | sure | blind |",
        "|---|---|---|---|---|---|",
        *lines,
    ]
    if len(seeds) == N_SEEDS:
        (RESULTS / "search_without_truth.md").write_text("\n".join(text) + "\n")


if __name__ == "__main__":
    main()
