"""Measure each training option: schedules, clipping, averaging, best weights.

    python benchmarks/training_options.py [--seeds 3] [--data digits cancer photos]

Every option is tried alone, with defaults for all others, on the digits and the breast cancer table of
scikit-learn and on the photos of scikit-image (a small network, 600 steps). Seeds, samples and test noise are
the same for all. Figures are PSNR in dB on test samples, as differences from the default with the same seed:
mean and standard error over seeds. They are written to ``benchmarks/results/training_options.json`` and
``.md``, after every fit.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits

from sk_denoise import (
    DenoisingAutoencoder,
    FoldedUNetNetwork,
    GaussianNoiser,
    ImageDenoiser,
    make_denoising_scorer,
)
from sk_denoise.datasets import load_images

RESULTS = Path(__file__).parent / "results"
OPTIONS: dict[str, dict[str, Any]] = {
    "default": {},
    "schedule: cosine": {"learning_rate_schedule": "cosine"},
    "schedule: linear": {"learning_rate_schedule": "linear"},
    "schedule: one_cycle": {"learning_rate_schedule": "one_cycle"},
    "schedule: exponential": {"learning_rate_schedule": "exponential"},
    "schedule: constant": {"learning_rate_schedule": "constant"},
    "gradient_clipping: 1": {"gradient_clipping": 1.0},
    "gradient_clipping: 0.1": {"gradient_clipping": 0.1},
    "weight_averaging: 0.99": {"weight_averaging": 0.99},
    "weight_averaging: 0.999": {"weight_averaging": 0.999},
    "constant, weight_averaging: 0.99": {"learning_rate_schedule": "constant", "weight_averaging": 0.99},
    "held out a tenth, last weights": {"early_stopping": True, "n_iter_no_change": 10**6, "best": False},
    "held out a tenth, best weights": {"early_stopping": True, "n_iter_no_change": 10**6},
}

# Training samples, test samples, scorer, estimator.
Data = tuple[Any, Any, Any, Callable[..., Any]]


def digits() -> Data:
    """Return scikit-learn's digits."""
    X = load_digits().data / 16
    scorer = make_denoising_scorer(GaussianNoiser(0.25, random_state=0), data_range=1)
    return X[:1000], X[1000:], scorer, lambda **kw: DenoisingAutoencoder(noise=GaussianNoiser(0.25), **kw)


def cancer() -> Data:
    """Return the breast cancer table, with standardized columns."""
    X = load_breast_cancer().data
    X = ((X - X.mean(axis=0)) / X.std(axis=0))[np.random.default_rng(0).permutation(len(X))]
    scorer = make_denoising_scorer(GaussianNoiser(0.5, random_state=0), data_range=1)
    return X[:400], X[400:], scorer, lambda **kw: DenoisingAutoencoder(noise=GaussianNoiser(0.5), **kw)


def photos() -> Data:
    """Return scikit-image's photos, and a small network."""
    images = load_images("gray")
    scorer = make_denoising_scorer(GaussianNoiser(0.1, random_state=0), data_range=1)
    network = FoldedUNetNetwork((16, 24), blocks=(1, 1))

    def estimator(**parameters: Any) -> ImageDenoiser:
        settings = {"patches_per_image": 64, "patch_size": 32, "max_epochs": 38} | parameters
        return ImageDenoiser(network, noise=GaussianNoiser(0.1), **settings)

    return list(images.train), list(images.test), scorer, estimator


DATA = {"digits": digits, "cancer": cancer, "photos": photos}


def with_last_weights(estimator: Any) -> tuple[Any, dict[str, Any]]:
    """Return an estimator and a dict that gets the estimator with its last weights."""
    kept: dict[str, Any] = {}

    def keep(fitted: Any, epoch: dict[str, Any]) -> None:
        kept["last"] = fitted

    return estimator.set_params(callbacks=[keep]), kept


def score_of(name: str, option: dict[str, Any], seed: int) -> float:
    """Return the PSNR with an option."""
    train, test, scorer, make = DATA[name]()
    parameters = {key: value for key, value in option.items() if key != "best"}
    estimator = make(random_state=seed, **parameters)
    if option.get("best", True):
        return float(scorer(estimator.fit(train), test))
    estimator, kept = with_last_weights(estimator)
    estimator.fit(train)
    return float(scorer(kept["last"], test))


def table_of(results: dict[str, dict[str, list[float]]]) -> str:
    """Return the results as a table."""
    names = list(results)
    lines = [
        "# Options of training",
        "",
        "`python benchmarks/training_options.py`: PSNR in dB on samples that nothing saw, beside the default "
        "of the same seed; mean and standard error over seeds. Above 0 is better than the default.",
        "",
        f"| option | {' | '.join(names)} |",
        "|---" * (1 + len(names)) + "|",
    ]
    for option in OPTIONS:
        cells = []
        for name in names:
            scores, default = (np.array(results[name].get(key, [])) for key in (option, "default"))
            n = min(len(scores), len(default))
            if not n:
                cells.append("")
                continue
            differences = scores[:n] - default[:n]
            error = differences.std(ddof=1) / np.sqrt(n) if n > 1 else float("nan")
            cells.append(
                f"{default.mean():.2f} dB"
                if option == "default"
                else f"{differences.mean():+.2f} ± {error:.2f}"
            )
        lines.append(f"| {option} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure all options, and write the results after every fit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA))
    arguments = parser.parse_args()
    results: dict[str, dict[str, list[float]]] = {name: {} for name in arguments.data}
    for seed in range(arguments.seeds):
        for name in arguments.data:
            for option, parameters in OPTIONS.items():
                results[name].setdefault(option, []).append(score_of(name, parameters, seed))
                print(seed, name, option, f"{results[name][option][-1]:.3f}", flush=True)
                (RESULTS / "training_options.json").write_text(json.dumps(results, indent=1) + "\n")
                (RESULTS / "training_options.md").write_text(table_of(results))


if __name__ == "__main__":
    main()
