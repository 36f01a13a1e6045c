"""How far the standard deviation of a denoiser can be trusted: ensembles of seeds beside Monte Carlo dropout.

    python benchmarks/uncertainty.py

On the digits (sigma 0.25) and the breast cancer table of scikit-learn (sigma 0.5 of each deviation):
ensembles of 2 to 8 seeds, and a network with dropout asked 30 times, at four rates. A tenth of the training
samples is held out for calibration, in the same way for both: ``std ** 2 = floor ** 2 + gain * spread ** 2``.
What counts, on samples that nothing saw: PSNR of the mean answer; how the standard deviation ranks the errors
of entries and of samples (Spearman); how much larger errors are than the spread as it is; the share of errors
within 1.96 deviations, before and after calibration, which should be 0.95. Results go to
``benchmarks/results/uncertainty.json`` and ``.md``.
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
    """Return samples to train on, to calibrate with and to test with, and the level of the noise."""
    X, sigma = (load_digits().data / 16, 0.25) if name == "digits" else (load_breast_cancer().data, 0.5)
    if name != "digits":
        X = (X - X.mean(axis=0)) / X.std(axis=0)
    X = X[np.random.default_rng(0).permutation(len(X))]
    n = int(0.6 * len(X))
    return X[: int(0.9 * n)], X[int(0.9 * n) : n], X[n:], sigma


class WithDropout(nn.Sequential):
    """The dense network of the default, as wide, with dropout after every hidden layer."""

    def __init__(self, n_features: int, latent_dim: int, rate: float) -> None:
        widths = (n_features, 512, latent_dim, 512)
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.SiLU(), nn.Dropout(rate)]
        super().__init__(*layers, nn.Linear(widths[-1], n_features))


def dropped(dae: DenoisingAutoencoder, noisy: Arrays) -> Arrays:
    """Return the answers of many passes with dropout on."""
    module, prepare = dae.net_.module_, dae._preparation_
    x = prepare.input(torch.as_tensor(noisy)).float()
    module.train()
    with torch.no_grad():
        answers = [prepare.restore(module(x).double()).numpy() for _ in range(PASSES)]
    module.eval()
    return np.array(answers)


def judged(answers: Arrays, clean: Arrays, for_calibration: Arrays, clean_there: Arrays) -> dict[str, float]:
    """Return what counts, of the answers to test samples and to those held out for calibration."""
    errors, variance = answers.mean(axis=0) - clean, answers.var(axis=0, ddof=1)
    squares = np.square(for_calibration.mean(axis=0) - clean_there).ravel()
    spreads = for_calibration.var(axis=0, ddof=1).ravel()
    (floor, gain), _ = nnls(np.stack([np.ones(spreads.size), spreads], axis=1), squares)
    calibrated = floor + gain * variance
    within = {
        k: np.mean(np.abs(errors) <= 1.96 * np.sqrt(v)) for k, v in (("r", variance), ("c", calibrated))
    }
    of_samples = (calibrated.mean(axis=1), np.square(errors).mean(axis=1))
    found = {
        "psnr": np.mean(-10 * np.log10(np.square(errors).mean(axis=1))),
        "entries": spearmanr(variance.ravel(), np.abs(errors).ravel()).statistic,
        "samples": spearmanr(*of_samples).statistic,
        "too small": np.sqrt(np.square(errors).mean() / variance.mean()),
        "raw": within["r"],
        "calibrated": within["c"],
    }
    return {name: float(value) for name, value in found.items()}


def measure(name: str) -> dict[str, dict[str, float]]:
    """Return what counts for every way of being unsure."""
    train, calibration, test, sigma = data_of(name)
    draw = np.random.default_rng(1)
    noisy, noisy_there = (x + sigma * draw.normal(size=x.shape) for x in (test, calibration))
    noise, results = GaussianNoiser(sigma), {}
    seeds = [DenoisingAutoencoder(noise=noise, random_state=s).fit(train) for s in range(max(MEMBERS))]
    answers, there = (np.array([dae.predict(x) for dae in seeds]) for x in (noisy, noisy_there))
    for n in MEMBERS:
        results[f"{n} seeds"] = judged(answers[:n], test, there[:n], calibration)
        print(name, n, results[f"{n} seeds"], flush=True)
    for rate in RATES:
        torch.manual_seed(0)
        dae = DenoisingAutoencoder(
            lambda shape, latent, rate=rate: WithDropout(shape[0], latent, rate), noise=noise, random_state=0
        ).fit(train)
        several = dropped(dae, noisy), dropped(dae, noisy_there)
        results[f"dropout {rate:g}"] = judged(several[0], test, several[1], calibration)
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
            f"| {kind} | {' | '.join(f'{found[key]:.2f}' for key in COLUMNS)} |"
            for kind, found in kinds.items()
        ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, and write."""
    results = {name: measure(name) for name in ("digits", "cancer")}
    (RESULTS / "uncertainty.json").write_text(json.dumps(results, indent=1) + "\n")
    (RESULTS / "uncertainty.md").write_text(table_of(results))


if __name__ == "__main__":
    main()
