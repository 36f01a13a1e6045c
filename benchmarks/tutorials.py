"""Compare sk_denoise with Keras on the recipes of the tutorials, on MNIST.

    SK_DENOISE_DATA=folder python benchmarks/tutorials.py [dense] [conv] [cross_entropy] [best]
        [--repeats 3] [--add]

The folder holds mnist.npz. Both sides run alternately, each fit in its own process. Without Keras (``pip
install -e ".[bench]"``) its side is skipped with a message. Seconds are those of ``fit``, with its
compilation; "dB" is the mean PSNR of the 10,000 test digits under one fixed draw of noise, data range 1.
Every run is written to ``benchmarks/results/tutorials.json``, the medians to ``tutorials.md``. Run nothing
else meanwhile.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

TABLES = Path(__file__).parent / "results" / "tutorials.md"
RUNS = TABLES.with_suffix(".json")
RECIPES = {
    "dense": "784-500-300-100-300-500-784, noise factor 0.2 clipped, Adam, MSE, batch 200, 2 epochs",
    "conv": "conv 32-64, latent 16, noise N(0.5, 0.5) clipped, Adam, MSE, batch 32, 10 epochs",
    "cross_entropy": "784-64-784, noise factor 0.5 clipped, Adadelta, cross-entropy, batch 256, 100 epochs",
    "best": "noise N(0.5, 0.5) clipped, with free latent, channels and epochs",
}
# Mean and sigma.
NOISE = {
    "dense": (0.0, 0.2),
    "conv": (0.5, 0.5),
    "cross_entropy": (0.0, 0.5),
    "best": (0.5, 0.5),
}


def corrupt(X: np.ndarray, recipe: str, seed: int) -> np.ndarray:
    """Return images under the noise of a recipe, clipped to [0, 1]."""
    mean, sigma = NOISE[recipe]
    noise = np.random.default_rng(seed).normal(mean, sigma, X.shape).astype(np.float32)
    return np.clip(X + noise, 0, 1)


# ours --------------------------------------------------------------------------------------------------


def sk_denoise_side(recipe: str, train: np.ndarray, test: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the seconds of a fit and the denoised test images."""
    from sk_denoise import ConvNetwork, DenoisingAutoencoder, DenseNetwork, GaussianNoiser

    mean, sigma = NOISE[recipe]
    rectified = {"latent_activation": "relu", "output_activation": "sigmoid"}
    settings: dict[str, dict[str, Any]] = {
        "dense": {
            "network": DenseNetwork((500, 300), activation="relu", **rectified),
            "latent_dim": 100,
            "optimizer": "adam",
            "batch_size": 200,
            "max_epochs": 2,
        },
        "conv": {
            "network": ConvNetwork((32, 64), hidden_layer_sizes=(128,), output_activation="sigmoid"),
            "latent_dim": 16,
            "optimizer": "adam",
            "batch_size": 32,
            "max_epochs": 10,
        },
        "cross_entropy": {
            "network": DenseNetwork((), latent_activation="relu"),
            "latent_dim": 64,
            "optimizer": "adadelta",
            "loss": "bce",
            "batch_size": 256,
            "max_epochs": 100,
        },
        "best": {
            "network": ConvNetwork((32, 64), hidden_layer_sizes=(512,), output_activation="sigmoid"),
            "latent_dim": 128,
            "batch_size": 128,
            "max_epochs": 30,
        },
    }
    noiser = GaussianNoiser(sigma, mean=mean, clip=(0, 1))
    dae = DenoisingAutoencoder(noise=noiser, random_state=0, **settings[recipe])
    validation = {"X_val": test} if recipe == "dense" else {}
    start = time.perf_counter()
    dae.fit(train, **validation)
    return time.perf_counter() - start, dae.predict(corrupt(test, recipe, seed=1))


# Keras, as the tutorials write it: one draw of noise before the fit ----------------------------------------


def keras_side(recipe: str, train: np.ndarray, test: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the seconds of a fit and the denoised test images."""
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers

    def dense(*units: int) -> Any:
        hidden = [layers.Dense(unit, activation="relu") for unit in units[1:-1]]
        return keras.Sequential(
            [keras.Input((units[0],)), *hidden, layers.Dense(units[-1], activation="sigmoid")]
        )

    def strided(layer: Any, channels: int) -> list[Any]:
        return [
            layer(channels, 3, strides=2, padding="same"),
            layers.LeakyReLU(negative_slope=0.2),
            layers.BatchNormalization(),
        ]

    def conv() -> Any:
        return keras.Sequential(
            [
                keras.Input((28, 28, 1)),
                *(part for channels in (32, 64) for part in strided(layers.Conv2D, channels)),
                layers.Flatten(),
                layers.Dense(16),
                layers.Dense(7 * 7 * 64),
                layers.Reshape((7, 7, 64)),
                *(part for channels in (64, 32) for part in strided(layers.Conv2DTranspose, channels)),
                layers.Conv2DTranspose(1, 3, padding="same", activation="sigmoid"),
            ]
        )

    build: dict[str, Callable[[], tuple[Any, dict[str, Any], dict[str, Any]]]] = {
        "dense": lambda: (
            dense(784, 500, 300, 100, 300, 500, 784),
            {"optimizer": "adam", "loss": "mse"},
            {"batch_size": 200, "epochs": 2},
        ),
        "conv": lambda: (
            conv(),
            {"optimizer": keras.optimizers.Adam(1e-3), "loss": "mse"},
            {"batch_size": 32, "epochs": 10},
        ),
        "cross_entropy": lambda: (
            dense(784, 64, 784),
            {"optimizer": "adadelta", "loss": "binary_crossentropy"},
            {"batch_size": 256, "epochs": 100},
        ),
    }
    model, compiled, fitted = build[recipe]()
    shape = (-1, *model.input_shape[1:])
    x, y = (X.reshape(shape) for X in (train, test))
    noisy_train, noisy_test = corrupt(x, recipe, seed=0), corrupt(y, recipe, seed=1)
    validation = {"validation_data": (noisy_test, y)} if recipe == "dense" else {}
    start = time.perf_counter()
    model.compile(**compiled)
    model.fit(noisy_train, x, verbose=0, shuffle=True, **fitted, **validation)
    return time.perf_counter() - start, model.predict(noisy_test, verbose=0).reshape(test.shape)


# both --------------------------------------------------------------------------------------------------

SIDES = {"sk_denoise": sk_denoise_side, "keras": keras_side}


def measure(side: str, recipe: str) -> None:
    """Fit once, and print the figures as JSON."""
    from sk_denoise.datasets import load_handwritten
    from sk_denoise.metrics import psnr

    digits = load_handwritten()
    seconds, denoised = SIDES[side](recipe, digits.train, digits.test)
    noisy = corrupt(digits.test, recipe, seed=1)
    scores = {
        "seconds": seconds,
        "psnr": psnr(digits.test, denoised, data_range=1),
        "noisy": psnr(digits.test, noisy, data_range=1),
    }
    print(json.dumps(scores))


def in_process(side: str, recipe: str) -> dict[str, float]:
    """Measure in a fresh process, without the threads and memory of the other side."""
    run = subprocess.run(
        [sys.executable, __file__, recipe, "--side", side],
        env={**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode:
        raise SystemExit(f"{side} failed on {recipe}:\n{run.stderr[-3000:]}")
    scores: dict[str, float] = json.loads(run.stdout.splitlines()[-1])
    return scores


def table_of(recipe: str, runs: dict[str, list[dict[str, float]]]) -> str:
    """Return the table of a recipe from all runs on file."""
    middle = {side: {k: median(run[k] for run in done) for k in done[0]} for side, done in runs.items()}
    lines = [
        f"## {recipe}: {RECIPES[recipe]}",
        "",
        f"Noisy: {next(iter(middle.values()))['noisy']:.2f} dB.",
        "",
        "| | PSNR | seconds, median of | times as fast as Keras |",
        "|---|---|---|---|",
    ]
    for side, scores in middle.items():
        ratio = f"{middle['keras']['seconds'] / scores['seconds']:.2f}" if "keras" in middle else ""
        seconds = f"{scores['seconds']:.1f} ({len(runs[side])})"
        lines.append(f"| {side} | {scores['psnr']:.2f} dB | {seconds} | {ratio} |")
    return "\n".join(lines)


def record(recipe: str, side: str, scores: dict[str, float], runs: dict[str, Any]) -> None:
    """Add a run to the file, and write all tables."""
    # At once, so that an interruption loses nothing.
    runs.setdefault(recipe, {}).setdefault(side, []).append(scores)
    RUNS.write_text(json.dumps(runs, indent=1) + "\n")
    tables = [table_of(name, runs[name]) for name in RECIPES if name in runs]
    TABLES.write_text("\n\n".join([HEAD, *tables]) + "\n")


HEAD = """# The tutorials' recipes on MNIST

Output of `python benchmarks/tutorials.py` on 2 cores (AMD EPYC, AVX512-BF16, no GPU); versions of
`constraints.txt`. Both sides ran in turns; seconds are those of `fit`."""


def main() -> None:
    """Measure the given recipes on both sides alternately, and write every run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipes", nargs="*", metavar="recipe", help=", ".join(RECIPES))
    parser.add_argument("--repeats", type=int, default=3, help="fits of each side (default: 3)")
    parser.add_argument("--add", action="store_true", help="keep the runs on file and add to them")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    recipes = options.recipes or list(RECIPES)
    if unknown := set(recipes) - set(RECIPES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(RECIPES)}")
    if not (Path(os.environ.get("SK_DENOISE_DATA", "")) / "mnist.npz").is_file():
        parser.error("set SK_DENOISE_DATA to the folder that holds mnist.npz")
    if options.side:
        return measure(options.side, recipes[0])

    has_keras = importlib.util.find_spec("keras") is not None
    if not has_keras:
        print('Keras is skipped: it is not installed (pip install -e ".[bench]").')
    runs = json.loads(RUNS.read_text()) if RUNS.exists() else {}
    for recipe in recipes:
        if not options.add:
            runs.pop(recipe, None)
        sides = ["sk_denoise", "keras"] if has_keras and recipe != "best" else ["sk_denoise"]
        for turn in range(1 if recipe == "best" else options.repeats):
            for side in sides:
                scores = in_process(side, recipe)
                record(recipe, side, scores, runs)
                print(
                    f"{recipe}, turn {turn + 1}: {side} {scores['psnr']:.2f} dB, {scores['seconds']:.1f} s",
                    flush=True,
                )
        print(table_of(recipe, runs[recipe]) + "\n", flush=True)
    return None


if __name__ == "__main__":
    main()
