"""Measure the quality on digits, with default and with documented parameters.

    python benchmarks/digits.py [quality] [baselines] [pipeline] [search] [classifier] [units] [jobs]

The protocol: load_digits / 16, 500 stratified test rows of split s, test noise from default_rng(s + 1), for
s = 0, 1, 2, and the mean of the three. "dB" is the PSNR of the mean MSE.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from statistics import median

import numpy as np
from scipy.spatial.distance import cdist
from scipy.special import softmax
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC

from sk_denoise import DenoisingAutoencoder, GaussianNoiser, make_denoising_scorer

SEEDS = (0, 1, 2)
# The documented setting for quality: defaults, trained for longer.
BEST = {"max_epochs": 300}


def split(seed: int):
    """Return training rows, test rows and their labels."""
    X, y = load_digits(return_X_y=True)
    return train_test_split(X / 16, y, test_size=500, stratify=y, random_state=seed)


def noisy(test, sigma: float, seed: int):
    """Return the test rows under the noise of the protocol."""
    return test + np.random.default_rng(seed + 1).normal(0, sigma, test.shape)


def decibels(errors) -> float:
    """Return the PSNR of the mean of mean squared errors."""
    return float(-10 * np.log10(np.mean(errors)))


def quality() -> None:
    """Measure PSNR by settings, and the seconds of a fit."""
    print(f"{'settings':<34}{'sigma':>6}{'dB':>8}{'noisy':>8}{'s/fit':>8}")
    for name, settings in (("defaults, noise=GaussianNoiser(sigma)", {}), (f"the same, {BEST}", BEST)):
        for sigma in (0.25, 0.5):
            errors, before, seconds = [], [], []
            for seed in SEEDS:
                train, test, _, _ = split(seed)
                dae = DenoisingAutoencoder(noise=GaussianNoiser(sigma), random_state=seed, **settings)
                start = time.perf_counter()
                dae.fit(train)
                seconds.append(time.perf_counter() - start)
                X = noisy(test, sigma, seed)
                errors.append(np.mean((dae.predict(X) - test) ** 2))
                before.append(np.mean((X - test) ** 2))
            print(
                f"{name:<34}{sigma:>6}{decibels(errors):>8.2f}{decibels(before):>8.2f}{median(seconds):>8.1f}"
            )


def wiener(train, X, sigma: float, seed: int):
    """Return the linear estimate from the covariance of noisy rows and the known sigma."""
    mean = X.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(X.T))
    gains = np.clip(1 - sigma**2 / np.maximum(values, 1e-12), 0, None)
    return mean + (X - mean) @ (vectors * gains) @ vectors.T


def kernel_posterior_mean(train, X, sigma: float, seed: int):
    """Return the posterior mean, with the training rows as the prior."""
    distances = cdist(X, train, "sqeuclidean")
    return softmax(-distances / (2 * sigma**2), axis=1) @ train


def frozen_draw(train, X, sigma: float, seed: int):
    """Return the prediction of an estimator that was trained on one draw of noise."""
    once = GaussianNoiser(sigma, random_state=seed).fit_transform(train)
    return DenoisingAutoencoder(random_state=seed).fit(once, X_clean=train).predict(X)


def baselines() -> None:
    """Measure other ways to denoise the same rows."""
    print(f"{'method':<34}{'dB at .25':>10}{'dB at .5':>10}")
    for method in (wiener, kernel_posterior_mean, frozen_draw):
        results = []
        for sigma in (0.25, 0.5):
            errors = []
            for seed in SEEDS:
                train, test, _, _ = split(seed)
                errors.append(np.mean((method(train, noisy(test, sigma, seed), sigma, seed) - test) ** 2))
            results.append(decibels(errors))
        print(f"{method.__name__:<34}{results[0]:>10.2f}{results[1]:>10.2f}", flush=True)


def pipeline() -> None:
    """Compare the literal pipeline with an estimator that has a noise parameter."""
    makers: dict[str, Callable] = {
        "estimator alone": lambda s: DenoisingAutoencoder(noise=GaussianNoiser(0.25), random_state=s),
        "pipeline.fit(X)": literal,
        "pipeline.fit(X, X)": literal,
        "pipeline, pandas": lambda s: literal(s).set_output(transform="pandas"),
        "one frozen draw (X_clean=)": lambda s: DenoisingAutoencoder(random_state=s),
    }
    print(f"{'fitted':<34}{'dB at .25':>10}")
    for name, make in makers.items():
        errors = []
        for seed in SEEDS:
            train, test, _, _ = split(seed)
            model = make(seed)
            if name == "pipeline.fit(X, X)":
                model.fit(train, train)
            elif "frozen" in name:
                model.fit(GaussianNoiser(0.25, random_state=seed).fit_transform(train), X_clean=train)
            else:
                model.fit(train)
            errors.append(np.mean((model.predict(noisy(test, 0.25, seed)) - test) ** 2))
        print(f"{name:<34}{decibels(errors):>10.2f}")


def literal(seed: int, noise_factor: float = 0.25, **settings) -> Pipeline:
    """Return the literal pipeline of noiser and autoencoder."""
    dae = DenoisingAutoencoder(random_state=seed, **settings)
    return Pipeline([("noise", GaussianNoiser(noise_factor, random_state=seed)), ("dae", dae)])


def search() -> None:
    """Print the training noise that a search picks, by the noise of its scorer."""
    factors = [0.05, 0.25, 0.6]
    print(f"{'scored at':<12}{'picked':>8}   mean PSNR of {factors}")
    for seed in SEEDS:
        train, *_ = split(seed)
        for sigma in (0.25, 0.6):
            scorer = make_denoising_scorer(GaussianNoiser(sigma, random_state=0), data_range=1)
            grid = {"noise__noise_factor": factors}
            grid_search = GridSearchCV(literal(seed), grid, scoring=scorer, cv=3, n_jobs=2).fit(train)
            scores = np.round(grid_search.cv_results_["mean_test_score"], 2).tolist()
            print(f"{sigma:<12}{grid_search.best_params_['noise__noise_factor']:>8}   {scores}")


def classifier() -> None:
    """Measure accuracy at sigma .5, without and with denoising."""
    rows: dict[str, list[float]] = {}
    for seed in SEEDS:
        train, test, labels, test_labels = split(seed)
        X = noisy(test, 0.5, seed)
        dae = DenoisingAutoencoder(noise=GaussianNoiser(0.5), random_state=seed).fit(train)
        svm = SVC().fit(train, labels)
        rows.setdefault("RBF SVM frozen on clean rows: noisy", []).append(svm.score(X, test_labels))
        rows.setdefault("  denoised", []).append(svm.score(dae.predict(X), test_labels))
        rng = np.random.default_rng(100 + seed)
        copies = np.concatenate([train + rng.normal(0, 0.5, train.shape) for _ in range(10)])
        many = np.tile(labels, 10)
        raw = LogisticRegression(max_iter=2000).fit(copies, many)
        behind = LogisticRegression(max_iter=2000).fit(dae.predict(copies), many)
        rows.setdefault("logistic regression, 10 noisy copies: noisy", []).append(raw.score(X, test_labels))
        rows.setdefault("  denoised, the same copies", []).append(behind.score(dae.predict(X), test_labels))
    for name, accuracies in rows.items():
        print(f"{name:<48}{np.mean(accuracies):>7.3f}")


def units() -> None:
    """Compare the same data in different units."""
    print(f"{'data':<46}{'dB at .25':>10}")
    cases: dict[str, Callable] = {
        "X": lambda X: X,
        "1000 * X + 5": lambda X: 1000 * X + 5,
        "1e6 * X - 1e9": lambda X: 1e6 * X - 1e9,
    }
    for name, convert in cases.items():
        errors = []
        for seed in SEEDS:
            train, test, _, _ = split(seed)
            unit = convert(np.float64(1)) - convert(np.float64(0))
            dae = DenoisingAutoencoder(noise=GaussianNoiser(0.25 * unit), random_state=seed)
            dae.fit(convert(train))
            restored = dae.predict(convert(noisy(test, 0.25, seed)))
            errors.append(np.mean(((restored - convert(test)) / unit) ** 2))
        print(f"{name:<46}{decibels(errors):>10.2f}")


def jobs() -> None:
    """Time a grid search in one process and in two, alternately."""
    train, *_ = split(0)
    scorer = make_denoising_scorer(GaussianNoiser(0.25, random_state=0), data_range=1)
    grid = {"noise__noise_factor": [0.1, 0.25], "dae__latent_dim": [32, 128]}
    seconds: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(3):
        for n_jobs, times in seconds.items():
            start = time.perf_counter()
            GridSearchCV(literal(0, max_epochs=60), grid, scoring=scorer, cv=3, n_jobs=n_jobs).fit(train)
            times.append(time.perf_counter() - start)
    one, two = (median(times) for times in seconds.values())
    print(f"n_jobs=1 {one:.1f} s, n_jobs=2 {two:.1f} s: {one / two:.2f} times as fast")


PARTS = {part.__name__: part for part in (quality, baselines, pipeline, search, classifier, units, jobs)}

if __name__ == "__main__":
    for name in sys.argv[1:] or PARTS:
        print(f"\n{name}: {PARTS[name].__doc__}")
        PARTS[name]()
