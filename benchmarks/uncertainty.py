"""Compare the standard deviation of ensembles with that of Monte Carlo dropout.

    python benchmarks/uncertainty.py

On the digits (sigma 0.25) and the breast cancer table of scikit-learn (sigma 0.5 of each deviation):
ensembles of 2 to 8 seeds, and a network with 30 passes of dropout, at four dropout rates. A tenth of the
training samples is held out for calibration, in the same way for both: ``std ** 2 = floor ** 2 + gain *
spread ** 2``. The figures, on test samples, are the PSNR of the mean prediction; the rank correlation
(Spearman) of the standard deviation with the errors of entries and of samples; the ratio of the errors to the
uncalibrated spread; and the share of errors within 1.96 deviations, before and after calibration, which
should be 0.95. Results are written to ``benchmarks/results/uncertainty.json`` and ``.md``.
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import nnls
from scipy.stats import spearmanr
from sklearn.datasets import load_breast_cancer, load_digits
from torch import nn

from sk_denoise import DenoisingAutoencoder, GaussianNoiser

RESULTS = Path(__file__).parent / "results"
MEMBERS = (2, 3, 5, 8)
RATES = (0.05, 0.1, 0.2, 0.4)
PASSES = 30
COLUMNS = {
    "psnr": "PSNR in dB",
    "entries": "ranks entries",
    "samples": "ranks samples",
    "too small": "errors / spread",
    "raw": "within, raw",
    "calibrated": "within, calibrated",
}

Arrays = NDArray[np.float64]


def data_of(name: str) -> tuple[Arrays, Arrays, Arrays, float]:
    """Return samples for training, calibration and test, and the noise level."""
    X, sigma = (load_digits().data / 16, 0.25) if name == "digits" else (load_breast_cancer().data, 0.5)
    if name != "digits":
        X = (X - X.mean(axis=0)) / X.std(axis=0)
    X = X[np.random.default_rng(0).permutation(len(X))]
    n = int(0.6 * len(X))
    return X[: int(0.9 * n)], X[int(0.9 * n) : n], X[n:], sigma


class WithDropout(nn.Sequential):
    """The default dense network, with dropout after every hidden layer."""

    def __init__(self, n_features: int, latent_dim: int, rate: float) -> None:
        widths = (n_features, 512, latent_dim, 512)
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.SiLU(), nn.Dropout(rate)]
        super().__init__(*layers, nn.Linear(widths[-1], n_features))


def predict_with_dropout(dae: DenoisingAutoencoder, noisy: Arrays) -> Arrays:
    """Return the predictions of many passes with dropout."""
    module, prepare = dae.net_.module_, dae._preparation_
    x = prepare.input(torch.as_tensor(noisy)).float()
    module.train()
    with torch.no_grad():
        predictions = [prepare.restore(module(x).double()).numpy() for _ in range(PASSES)]
    module.eval()
    return np.array(predictions)


def compute_figures(
    predictions: Arrays, clean: Arrays, for_calibration: Arrays, clean_calibration: Arrays
) -> dict[str, float]:
    """Return the figures of test predictions, with calibration by held-out ones."""
    errors, variance = predictions.mean(axis=0) - clean, predictions.var(axis=0, ddof=1)
    squares = np.square(for_calibration.mean(axis=0) - clean_calibration).ravel()
    spreads = for_calibration.var(axis=0, ddof=1).ravel()
    (floor, gain), _ = nnls(np.stack([np.ones(spreads.size), spreads], axis=1), squares)
    calibrated = floor + gain * variance
    within = {
        k: np.mean(np.abs(errors) <= 1.96 * np.sqrt(v)) for k, v in (("r", variance), ("c", calibrated))
    }
    of_samples = (calibrated.mean(axis=1), np.square(errors).mean(axis=1))
    figures = {
        "psnr": np.mean(-10 * np.log10(np.square(errors).mean(axis=1))),
        "entries": spearmanr(variance.ravel(), np.abs(errors).ravel()).statistic,
        "samples": spearmanr(*of_samples).statistic,
        "too small": np.sqrt(np.square(errors).mean() / variance.mean()),
        "raw": within["r"],
        "calibrated": within["c"],
    }
    return {name: float(value) for name, value in figures.items()}


def measure(name: str) -> dict[str, dict[str, float]]:
    """Return the figures of every ensemble and every dropout rate."""
    train, calibration, test, sigma = data_of(name)
    draw = np.random.default_rng(1)
    noisy, noisy_calibration = (x + sigma * draw.normal(size=x.shape) for x in (test, calibration))
    noise, results = GaussianNoiser(sigma), {}
    seeds = [DenoisingAutoencoder(noise=noise, random_state=s).fit(train) for s in range(max(MEMBERS))]
    predictions, for_calibration = (
        np.array([dae.predict(x) for dae in seeds]) for x in (noisy, noisy_calibration)
    )
    for n in MEMBERS:
        results[f"{n} seeds"] = compute_figures(predictions[:n], test, for_calibration[:n], calibration)
        print(name, n, results[f"{n} seeds"], flush=True)
    for rate in RATES:
        torch.manual_seed(0)
        dae = DenoisingAutoencoder(
            lambda shape, latent, rate=rate: WithDropout(shape[0], latent, rate), noise=noise, random_state=0
        ).fit(train)
        passes = predict_with_dropout(dae, noisy), predict_with_dropout(dae, noisy_calibration)
        results[f"dropout {rate:g}"] = compute_figures(passes[0], test, passes[1], calibration)
        print(name, rate, results[f"dropout {rate:g}"], flush=True)
    return results


def table_of(results: dict[str, Any]) -> str:
    """Return the results as tables."""
    lines = [
        "# Uncertainty",
        "",
        f"`python benchmarks/uncertainty.py`: ensembles of seeds beside {PASSES} passes with dropout. Ranks "
        "are Spearman correlations of the standard deviation with the errors; within is the share of errors "
        "within 1.96 deviations, to be 0.95.",
    ]
    for name, kinds in results.items():
        lines += ["", f"## {name}", "", f"| | {' | '.join(COLUMNS.values())} |", "|---" * 7 + "|"]
        lines += [
            f"| {kind} | {' | '.join(f'{figures[key]:.2f}' for key in COLUMNS)} |"
            for kind, figures in kinds.items()
        ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure both data sets, and write the results."""
    results = {name: measure(name) for name in ("digits", "cancer")}
    (RESULTS / "uncertainty.json").write_text(json.dumps(results, indent=1) + "\n")
    (RESULTS / "uncertainty.md").write_text(table_of(results))


if __name__ == "__main__":
    main()
