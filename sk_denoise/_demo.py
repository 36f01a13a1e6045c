"""The demo: what the library is for, on scikit-learn's digits, in about a minute."""

from __future__ import annotations

import os
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA, KernelPCA
from sklearn.model_selection import GridSearchCV, ParameterGrid, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from sk_denoise import DenoisingAutoencoder, GaussianNoiser, __version__, make_denoising_scorer
from sk_denoise.metrics import psnr, ssim
from sk_denoise.plots import DenoisingDisplay

__all__ = ["FULL", "DemoSize", "Result", "run_demo"]

WIDTH = 84
SHAPE = (8, 8)
OURS = "DenoisingAutoencoder"
Denoise = Callable[[NDArray[Any]], NDArray[Any]]


@dataclass(frozen=True)
class DemoSize:
    """How much work the demo does; the defaults are for people, smaller ones for tests."""

    n_train: int | None = None
    epochs: int | Literal["auto"] = "auto"
    search_epochs: int = 15
    folds: int = 3
    noise_factors: tuple[float, ...] = (0.05, 0.15, 0.25, 0.4)
    latent_dims: tuple[int, ...] = (8, 32, 128)
    gammas: tuple[float, ...] = (0.003, 0.01, 0.03, 0.1)
    alphas: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3)
    ranks: tuple[int, ...] = (64, 128)
    levels: tuple[float, ...] = (0.15, 0.25, 0.5)


FULL = DemoSize()


@dataclass(frozen=True)
class Digits:
    """Digits in [0, 1] as flat rows: some to train on, 500 to test on, and noise for these."""

    train: NDArray[np.float64]
    test: NDArray[np.float64]
    train_labels: NDArray[np.int64]
    test_labels: NDArray[np.int64]
    seed: int

    @classmethod
    def load(cls, seed: int, n_train: int | None) -> Digits:
        X, y = load_digits(return_X_y=True)
        train, test, train_labels, test_labels = train_test_split(
            X / 16, y, test_size=500, stratify=y, random_state=seed
        )
        return cls(train[:n_train], test, train_labels[:n_train], test_labels, seed)

    def noisy_test(self, sigma: float) -> NDArray[np.float64]:
        """Return the test digits with noise; at another strength, the same noise scaled."""
        return self.test + np.random.default_rng(self.seed + 1).normal(0, sigma, self.test.shape)


@dataclass(frozen=True)
class Result:
    """What a method made of the noisy test digits at one noise level."""

    level: float
    method: str
    denoised: NDArray[Any]
    psnr: float
    ssim: float


def run_demo(output: Path, *, jobs: int, seed: int, size: DemoSize = FULL) -> list[Result]:
    """Run the demo, print what it finds and return the comparison.

    Parameters
    ----------
    output : Path
        The folder of the image.
    jobs : int
        Processes of the grid search.
    seed : int
        Of split, noise and networks.
    size : DemoSize
        How much work to do.

    Returns
    -------
    list of Result
        One for each noise level and method.
    """
    start = time.perf_counter()
    digits = Digits.load(seed, size.n_train)
    say(
        f"sk_denoise {__version__}: learning to denoise scikit-learn's 8 x 8 digits",
        f"{len(digits.train):,} digits to train on, {len(digits.test)} to test on, 64 pixels in [0, 1]. "
        "Noise is Gaussian; its strength is a standard deviation in the same unit. PSNR is in dB, for a data "
        f"range of 1. Seed {seed}.",
    )
    with threadpool_limits(1):  # on pieces this small, threads wait for each other longer than they work
        literal_pipeline(digits, size)
        grid_search(digits, size, jobs)
        results = compare(digits, size)
        classify(digits, size, results)
    draw(digits, results, output)
    say(f"Done in {time.perf_counter() - start:.0f} s.")
    return results


# The parts of the demo, in their order -----------------------------------------------------------------


def literal_pipeline(digits: Digits, size: DemoSize, sigma: float = 0.25) -> None:
    """Fit the two-step pipeline, and say what it learned from what."""
    heading("1. The literal pipeline")
    print(
        "  pipe = Pipeline([\n"
        f'      ("noise", GaussianNoiser({sigma})),\n'
        '      ("dae", DenoisingAutoencoder(verbose=1)),\n'
        "  ])\n"
        "  pipe.fit(X)\n",
        flush=True,
    )
    dae = DenoisingAutoencoder(verbose=1, max_epochs=size.epochs, random_state=digits.seed)
    pipe = Pipeline([("noise", GaussianNoiser(sigma)), ("dae", dae)]).fit(digits.train)
    noisy = digits.noisy_test(sigma)
    before, after = (psnr(digits.test, x, data_range=1) for x in (noisy, pipe.predict(noisy)))
    say(
        f"\ntarget_source_ is {dae.target_source_!r}: the output of the noiser carries the clean digits it "
        "was made from, and the autoencoder learned to bring those back, with fresh noise in every batch. "
        "No y was needed; pipe.fit(X, X) does the same.",
        f"\nTest digits with noise {sigma}: {before:.2f} dB. After pipe.predict: {after:.2f} dB. (The noiser "
        "corrupts in training only, so predict adds no noise of its own.)",
    )


def grid_search(digits: Digits, size: DemoSize, jobs: int, sigma: float = 0.25) -> None:
    """Search over the noise and the latent dimension, scored on noise that is the same for all."""
    heading("2. A grid search over the noise, scored on fixed noise")
    say(
        f"Every candidate meets the same noise of {sigma} on its validation fold: make_denoising_scorer. "
        f"Scored on its own noise, the weakest would win. {size.folds} folds, {size.search_epochs} "
        "epochs.\n"
    )
    dae = DenoisingAutoencoder(max_epochs=size.search_epochs, random_state=digits.seed)
    grid = {"noise__noise_factor": size.noise_factors, "dae__latent_dim": size.latent_dims}
    scorer = make_denoising_scorer(GaussianNoiser(sigma, random_state=0), data_range=1)
    with counted(scorer, total=len(ParameterGrid(grid)) * size.folds) as scoring:
        search = GridSearchCV(
            Pipeline([("noise", GaussianNoiser()), ("dae", dae)]),
            grid,
            scoring=scoring,
            cv=size.folds,
            n_jobs=jobs,
            refit=False,
        ).fit(digits.train)
    found = search.cv_results_
    scores = {
        (found["param_noise__noise_factor"][i], found["param_dae__latent_dim"][i]): score
        for i, score in enumerate(found["mean_test_score"])
    }
    best = max(scores, key=scores.__getitem__)
    cells = {key: f"{score:.2f}{'*' if key == best else ' '}" for key, score in scores.items()}
    table(
        ["PSNR", *(f"latent_dim {dim}" for dim in size.latent_dims)],
        [
            [f"noise_factor {factor}", *(cells[factor, dim] for dim in size.latent_dims)]
            for factor in size.noise_factors
        ],
    )
    say(f"\n* the best: noise_factor {best[0]}, latent_dim {best[1]}.")


def compare(digits: Digits, size: DemoSize) -> list[Result]:
    """Compare denoisers at several noise levels, all learned from the same clean training digits."""
    heading("3. Compared with PCA and kernel PCA")
    say(
        "All are fitted to the same training digits. PCA and kernel PCA are tuned for each noise level, on a "
        "fifth of these; the autoencoder has its defaults, and noise=GaussianNoiser(level).\n"
    )
    results = []
    with tqdm(
        total=2 + len(size.levels), desc="Fitting", unit="method", leave=False, dynamic_ncols=True
    ) as bar:
        fitted: dict[str, list[Denoise]] = {"noisy": [lambda x: x] * len(size.levels)}
        for name, grid in _projections(size).items():
            fitted[name] = tuned_projections(digits, size.levels, grid)
            bar.update()
        fitted[OURS] = []
        for level in size.levels:
            dae = DenoisingAutoencoder(
                noise=GaussianNoiser(level), max_epochs=size.epochs, random_state=digits.seed
            )
            fitted[OURS].append(dae.fit(digits.train).predict)
            bar.update()
    for method, denoisers in fitted.items():
        for level, denoise in zip(size.levels, denoisers, strict=True):
            denoised = denoise(digits.noisy_test(level))
            quality = psnr(digits.test, denoised, data_range=1)
            likeness = ssim(digits.test, denoised, data_range=1, image_shape=SHAPE)
            results.append(Result(level, method, denoised, quality, likeness))
    table(
        ["PSNR and SSIM", *(f"noise {level}" for level in size.levels)],
        _rows(results, lambda result: f"{result.psnr:5.2f} {result.ssim:6.3f}"),
    )
    say(f"\nOver kernel PCA the autoencoder gains {_gains(results, 'kernel PCA', lambda r: r.psnr, 2)} dB.")
    return results


def classify(digits: Digits, size: DemoSize, results: list[Result]) -> None:
    """Show what noise and denoising do to a classifier that knows clean digits only."""
    heading("4. Before a classifier that was trained on clean digits")
    classifier = SVC(kernel="rbf").fit(digits.train, digits.train_labels)
    on_clean = classifier.score(digits.test, digits.test_labels)
    say(f"A support vector machine (RBF kernel). Its accuracy on clean test digits: {on_clean:.3f}.\n")
    accuracy = {id(r): classifier.score(r.denoised, digits.test_labels) for r in results}
    table(
        ["accuracy", *(f"noise {level}" for level in size.levels)],
        _rows(results, lambda result: f"{accuracy[id(result)]:.3f}"),
    )
    gains = _gains(results, "noisy", lambda result: accuracy[id(result)])
    say(
        f"\nOver the noisy digits the autoencoder gains {gains}. Under weak noise a classifier needs little "
        f"help. (With {len(digits.test)} digits, a difference of 0.01 may be chance.)"
    )


def draw(digits: Digits, results: list[Result], output: Path) -> None:
    """Write the image: one digit of each class, clean, noisy, denoised, and what is still wrong."""
    heading("5. The image")
    level = sorted({result.level for result in results})[-1]
    chosen = [int(np.flatnonzero(digits.test_labels == label)[0]) for label in range(10)]
    denoised = next(r.denoised for r in results if (r.level, r.method) == (level, OURS))
    try:
        display = DenoisingDisplay.from_predictions(
            digits.test[chosen],
            digits.noisy_test(level)[chosen],
            denoised[chosen],
            image_shape=SHAPE,
            labels=digits.test_labels[chosen],
            data_range=1,
        )
    except ImportError as error:
        print(f"There is none: {error}")
        return
    display.figure_.suptitle(f"Digits with noise {level}, and what the {OURS} makes of them")
    path = output / "digits.png"
    unfinished = output / f".digits-{os.getpid()}.png"
    try:
        display.figure_.savefig(unfinished, dpi=150)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    print(f"Test digits with noise {level}, clean, noisy, denoised, and what is still wrong: {path}\n")


# PCA and kernel PCA ------------------------------------------------------------------------------------


def _projections(size: DemoSize) -> dict[str, list[Any]]:
    kernel_grid = ParameterGrid({"n_components": size.ranks, "gamma": size.gammas, "alpha": size.alphas})
    return {
        "PCA": [PCA(rank) for rank in range(1, 64)],
        "kernel PCA": [
            KernelPCA(kernel="rbf", fit_inverse_transform=True, **setting) for setting in kernel_grid
        ],
    }


def tuned_projections(digits: Digits, levels: Sequence[float], grid: list[Any]) -> list[Denoise]:
    """Return the best projection for each level, chosen on a fifth of the training rows."""
    fitting, validation = train_test_split(
        digits.train, test_size=0.2, stratify=digits.train_labels, random_state=digits.seed
    )
    noise = np.random.default_rng(digits.seed + 2).normal(size=validation.shape)
    scores = []
    for projection in grid:
        denoise = _projector(projection.fit(fitting))
        scores.append(
            [psnr(validation, denoise(validation + level * noise), data_range=1) for level in levels]
        )
    best = np.argmax(scores, axis=0)
    refitted = {index: _projector(grid[index].fit(digits.train)) for index in set(best.tolist())}
    return [refitted[index] for index in best.tolist()]


def _projector(projection: Any) -> Denoise:
    return lambda x: np.asarray(projection.inverse_transform(projection.transform(x)))


# The progress of a search ------------------------------------------------------------------------------


@dataclass(frozen=True)
class CountedScorer:
    """A scorer that leaves a byte in a file at each call: the one place all processes of a search see."""

    scorer: Callable[..., float]
    ledger: Path

    def __call__(self, estimator: Any, X: Any, y: Any = None) -> float:
        try:
            return self.scorer(estimator, X, y)
        finally:
            with self.ledger.open("ab") as ledger:
                ledger.write(b".")


@contextmanager
def counted(scorer: Callable[..., float], total: int) -> Iterator[CountedScorer]:
    """Show one line that follows the calls of a scorer: how many of the total, and the time left."""
    done = threading.Event()
    with (
        tempfile.TemporaryDirectory() as folder,
        tqdm(total=total, desc="GridSearchCV", unit="fit", dynamic_ncols=True) as bar,
    ):
        ledger = Path(folder) / "ledger"
        ledger.touch()

        def follow() -> None:
            while not done.wait(0.2):
                bar.update(ledger.stat().st_size - bar.n)

        follower = threading.Thread(target=follow, daemon=True)
        follower.start()
        try:
            yield CountedScorer(scorer, ledger)
        finally:
            done.set()
            follower.join()
            bar.update(ledger.stat().st_size - bar.n)


# Text --------------------------------------------------------------------------------------------------


def say(*paragraphs: str) -> None:
    """Print paragraphs, wrapped."""
    for paragraph in paragraphs:
        lead = "\n" * (len(paragraph) - len(paragraph.lstrip("\n")))
        trail = "\n" * (len(paragraph) - len(paragraph.rstrip("\n")))
        filled = textwrap.fill(paragraph.strip(), WIDTH, break_on_hyphens=False, break_long_words=False)
        print(f"{lead}{filled}{trail}", flush=True)


def heading(text: str) -> None:
    """Print the title of a part."""
    print(f"\n{text}\n{'-' * len(text)}", flush=True)


def table(head: list[str], rows: list[list[str]]) -> None:
    """Print rows under a head: the first column to the left, the others to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(head, *rows, strict=True)]
    for row in (head, ["-" * width for width in widths], *rows):
        first, *others = (
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        print("   ".join(["  " + first, *others]).rstrip(), flush=True)


def _rows(results: list[Result], cell: Callable[[Result], str]) -> list[list[str]]:
    """Return a row for each method, with a cell for each noise level."""
    methods = dict.fromkeys(result.method for result in results)
    return [[method, *(cell(r) for r in results if r.method == method)] for method in methods]


def _gains(results: list[Result], baseline: str, measure: Callable[[Result], float], digits: int = 3) -> str:
    """Return what the autoencoder gains over another method, level by level, in words."""
    after, before = (
        [measure(result) for result in results if result.method == method] for method in (OURS, baseline)
    )
    *first, last = (f"{a - b:+.{digits}f}" for a, b in zip(after, before, strict=True))
    return f"{', '.join(first)} and {last}" if first else last
