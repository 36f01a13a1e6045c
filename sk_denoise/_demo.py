"""Demo of the library on scikit-learn's digits, in about a minute."""

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

__all__ = ["FULL_SIZE", "DemoResult", "DemoSize", "run_demo"]

# Characters of a line: tables and progress bars fit into a terminal of 100.
LINE_WIDTH = 84
IMAGE_SHAPE = (8, 8)
AUTOENCODER = "DenoisingAutoencoder"
DenoiseFunction = Callable[[NDArray[Any]], NDArray[Any]]


@dataclass(frozen=True)
class DemoSize:
    """Amount of work: data, epochs and candidates of the demo."""

    # Users see the defaults. Tests pass smaller values.
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


FULL_SIZE = DemoSize()


@dataclass(frozen=True)
class DigitsSplit:
    """Digits in [0, 1] as flat rows, split into training and test rows."""

    train: NDArray[np.float64]
    test: NDArray[np.float64]
    train_labels: NDArray[np.int64]
    test_labels: NDArray[np.int64]
    seed: int

    @classmethod
    def load(cls, seed: int, n_train: int | None) -> DigitsSplit:
        """Return scikit-learn's digits, with 500 test rows."""
        X, y = load_digits(return_X_y=True)
        train, test, train_labels, test_labels = train_test_split(
            X / 16, y, test_size=500, stratify=y, random_state=seed
        )
        return cls(train[:n_train], test, train_labels[:n_train], test_labels, seed)

    def corrupt_test(self, sigma: float) -> NDArray[np.float64]:
        """Return the test digits with Gaussian noise."""
        # Always the same draw, scaled by sigma: so differences between levels are due to the level alone.
        return self.test + np.random.default_rng(self.seed + 1).normal(0, sigma, self.test.shape)


@dataclass(frozen=True)
class DemoResult:
    """Denoised test digits of one method at one noise level, with their scores."""

    level: float
    method: str
    denoised: NDArray[Any]
    psnr: float
    ssim: float


def run_demo(output: Path, *, jobs: int, seed: int, size: DemoSize = FULL_SIZE) -> list[DemoResult]:
    """Run the demo, print its tables and return the comparison.

    Parameters
    ----------
    output : Path
        Folder of the image.
    jobs : int
        Number of processes of the grid search.
    seed : int
        Seed of the split, the noise and the networks.
    size : DemoSize
        Amount of work.

    Returns
    -------
    list of DemoResult
        One result for each noise level and method.
    """
    start = time.perf_counter()
    digits = DigitsSplit.load(seed, size.n_train)
    print_paragraphs(
        f"sk_denoise {__version__}: learning to denoise scikit-learn's 8 x 8 digits",
        f"{len(digits.train):,} training digits, {len(digits.test)} test digits, 64 pixels in [0, 1]. "
        "The noise is Gaussian; the noise level is its standard deviation in the same unit. PSNR is in dB, "
        f"for a data range of 1. Seed {seed}.",
    )
    # Matrices are so small here that threads would wait for each other most of the time.
    with threadpool_limits(1):
        fit_pipeline(digits, size)
        search_parameters(digits, size, jobs)
        results = compare_levels(digits, size)
        score_classifier(digits, size, results)
    draw_digits(digits, results, output)
    print_paragraphs(f"Done in {time.perf_counter() - start:.0f} s.")
    return results


def fit_pipeline(digits: DigitsSplit, size: DemoSize, sigma: float = 0.25) -> None:
    """Fit the pipeline of noiser and autoencoder, and print its PSNR."""
    print_heading("1. A pipeline of noiser and autoencoder")
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
    noisy = digits.corrupt_test(sigma)
    before, after = (psnr(digits.test, x, data_range=1) for x in (noisy, pipe.predict(noisy)))
    print_paragraphs(
        f"\ntarget_source_ is {dae.target_source_!r}: the output of the noiser carries its clean digits, and "
        "the autoencoder learned to restore them, with fresh noise in every batch. You need no y; "
        "pipe.fit(X, X) gives the same result.",
        f"\nTest digits with noise {sigma}: {before:.2f} dB. After pipe.predict: {after:.2f} dB. (The noiser "
        "corrupts during training only, so predict adds no noise.)",
    )


def search_parameters(digits: DigitsSplit, size: DemoSize, jobs: int, sigma: float = 0.25) -> None:
    """Search over the noise and the latent dimension, and print the scores."""
    print_heading("2. A grid search over the noise, scored on fixed noise")
    print_paragraphs(
        f"make_denoising_scorer scores every candidate on the same noise of {sigma}. If each candidate were "
        f"scored on its training noise, the weakest noise would win. {size.folds} folds, "
        f"{size.search_epochs} epochs.\n"
    )
    dae = DenoisingAutoencoder(max_epochs=size.search_epochs, random_state=digits.seed)
    grid = {"noise__noise_factor": size.noise_factors, "dae__latent_dim": size.latent_dims}
    scorer = make_denoising_scorer(GaussianNoiser(sigma, random_state=0), data_range=1)
    with show_progress(scorer, total=len(ParameterGrid(grid)) * size.folds) as scoring:
        search = GridSearchCV(
            Pipeline([("noise", GaussianNoiser()), ("dae", dae)]),
            grid,
            scoring=scoring,
            cv=size.folds,
            n_jobs=jobs,
            refit=False,
        ).fit(digits.train)
    cv_results = search.cv_results_
    scores = {
        (cv_results["param_noise__noise_factor"][i], cv_results["param_dae__latent_dim"][i]): score
        for i, score in enumerate(cv_results["mean_test_score"])
    }
    best = max(scores, key=scores.__getitem__)
    cells = {key: f"{score:.2f}{'*' if key == best else ' '}" for key, score in scores.items()}
    print_aligned_table(
        ["PSNR", *(f"latent_dim {dim}" for dim in size.latent_dims)],
        [
            [f"noise_factor {factor}", *(cells[factor, dim] for dim in size.latent_dims)]
            for factor in size.noise_factors
        ],
    )
    print_paragraphs(f"\n* the best: noise_factor {best[0]}, latent_dim {best[1]}.")


def compare_levels(digits: DigitsSplit, size: DemoSize) -> list[DemoResult]:
    """Compare the autoencoder with PCA and kernel PCA at several noise levels."""
    print_heading("3. A comparison with PCA and kernel PCA")
    print_paragraphs(
        "All methods are fitted to the same training digits. PCA and kernel PCA are tuned for each noise "
        "level, on a fifth of these digits. The autoencoder has its default parameters, and "
        "noise=GaussianNoiser(level).\n"
    )
    results = []
    with tqdm(
        total=2 + len(size.levels), desc="Fitting", unit="method", leave=False, dynamic_ncols=True
    ) as bar:
        # One function for each noise level.
        fitted: dict[str, list[DenoiseFunction]] = {"noisy": [lambda x: x] * len(size.levels)}
        for name, candidates in _create_projections(size).items():
            fitted[name] = tune_projections(digits, size.levels, candidates)
            bar.update()
        fitted[AUTOENCODER] = []
        for level in size.levels:
            dae = DenoisingAutoencoder(
                noise=GaussianNoiser(level), max_epochs=size.epochs, random_state=digits.seed
            )
            fitted[AUTOENCODER].append(dae.fit(digits.train).predict)
            bar.update()
    for method, functions in fitted.items():
        for level, denoise in zip(size.levels, functions, strict=True):
            denoised = denoise(digits.corrupt_test(level))
            decibels = psnr(digits.test, denoised, data_range=1)
            similarity = ssim(digits.test, denoised, data_range=1, image_shape=IMAGE_SHAPE)
            results.append(DemoResult(level, method, denoised, decibels, similarity))
    print_aligned_table(
        ["PSNR and SSIM", *(f"noise {level}" for level in size.levels)],
        _format_rows(results, lambda result: f"{result.psnr:5.2f} {result.ssim:6.3f}"),
    )
    gains = _format_gains(results, "kernel PCA", lambda result: result.psnr, n_decimals=2)
    print_paragraphs(f"\nOver kernel PCA the autoencoder gains {gains} dB.")
    return results


def score_classifier(digits: DigitsSplit, size: DemoSize, results: list[DemoResult]) -> None:
    """Print the accuracy of a classifier on clean, noisy and denoised digits."""
    print_heading("4. Before a classifier that was trained on clean digits")
    classifier = SVC(kernel="rbf").fit(digits.train, digits.train_labels)
    clean_accuracy = classifier.score(digits.test, digits.test_labels)
    print_paragraphs(
        f"A support vector machine (RBF kernel). Its accuracy on clean test digits: {clean_accuracy:.3f}.\n"
    )
    accuracies = {id(r): classifier.score(r.denoised, digits.test_labels) for r in results}
    print_aligned_table(
        ["accuracy", *(f"noise {level}" for level in size.levels)],
        _format_rows(results, lambda result: f"{accuracies[id(result)]:.3f}"),
    )
    gains = _format_gains(results, "noisy", lambda result: accuracies[id(result)], n_decimals=3)
    print_paragraphs(
        f"\nOver the noisy digits the autoencoder gains {gains}. Under weak noise a classifier needs little "
        f"help. (With {len(digits.test)} digits, a difference of 0.01 may be chance.)"
    )


def draw_digits(digits: DigitsSplit, results: list[DemoResult], output: Path) -> None:
    """Write an image of one digit of each class, before and after denoising."""
    print_heading("5. The image")
    level = sorted({result.level for result in results})[-1]
    chosen = [int(np.flatnonzero(digits.test_labels == label)[0]) for label in range(10)]
    denoised = next(r.denoised for r in results if (r.level, r.method) == (level, AUTOENCODER))
    try:
        display = DenoisingDisplay.from_predictions(
            digits.test[chosen],
            digits.corrupt_test(level)[chosen],
            denoised[chosen],
            image_shape=IMAGE_SHAPE,
            labels=digits.test_labels[chosen],
            data_range=1,
        )
    except ImportError as error:
        print(f"No image is drawn: {error}")
        return
    display.figure_.suptitle(f"Digits with noise {level}, denoised by the {AUTOENCODER}")
    path = output / "digits.png"
    # Written aside first, so that an interruption leaves no half image under the name.
    unfinished = output / f".digits-{os.getpid()}.png"
    try:
        display.figure_.savefig(unfinished, dpi=150)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    print(f"Test digits with noise {level}: clean, noisy, denoised, and their error: {path}\n")


def _create_projections(size: DemoSize) -> dict[str, list[Any]]:
    """Return candidates of PCA and kernel PCA."""
    kernel_grid = ParameterGrid({"n_components": size.ranks, "gamma": size.gammas, "alpha": size.alphas})
    return {
        "PCA": [PCA(rank) for rank in range(1, 64)],
        "kernel PCA": [
            KernelPCA(kernel="rbf", fit_inverse_transform=True, **setting) for setting in kernel_grid
        ],
    }


def tune_projections(
    digits: DigitsSplit, levels: Sequence[float], candidates: list[Any]
) -> list[DenoiseFunction]:
    """Return the best projection for each level, chosen on a fifth of training rows."""
    # By hand and not by GridSearchCV: one fit of a candidate serves all levels.
    fitting, validation = train_test_split(
        digits.train, test_size=0.2, stratify=digits.train_labels, random_state=digits.seed
    )
    noise = np.random.default_rng(digits.seed + 2).normal(size=validation.shape)
    scores = []
    for projection in candidates:
        denoise = _create_denoise_function(projection.fit(fitting))
        scores.append(
            [psnr(validation, denoise(validation + level * noise), data_range=1) for level in levels]
        )
    best = np.argmax(scores, axis=0)
    refitted = {
        index: _create_denoise_function(candidates[index].fit(digits.train)) for index in set(best.tolist())
    }
    return [refitted[index] for index in best.tolist()]


def _create_denoise_function(projection: Any) -> DenoiseFunction:
    """Return a function that projects samples and transforms them back."""
    return lambda x: np.asarray(projection.inverse_transform(projection.transform(x)))


@dataclass(frozen=True)
class CountedScorer:
    """Scorer that appends a byte to a file at each call."""

    scorer: Callable[..., float]
    count_file: Path

    def __call__(self, estimator: Any, X: Any, y: Any = None) -> float:
        try:
            return self.scorer(estimator, X, y)
        finally:
            # The processes of a search share no memory, but they share files.
            with self.count_file.open("ab") as count_file:
                count_file.write(b".")


@contextmanager
def show_progress(scorer: Callable[..., float], total: int) -> Iterator[CountedScorer]:
    """Show a progress bar of the calls of a scorer, with the remaining time."""
    done = threading.Event()
    with (
        tempfile.TemporaryDirectory() as folder,
        tqdm(total=total, desc="GridSearchCV", unit="fit", dynamic_ncols=True) as bar,
    ):
        count_file = Path(folder) / "count"
        count_file.touch()

        def update_bar() -> None:
            while not done.wait(0.2):
                bar.update(count_file.stat().st_size - bar.n)

        # A daemon ends with the program, even if the search is interrupted.
        thread = threading.Thread(target=update_bar, daemon=True)
        thread.start()
        try:
            yield CountedScorer(scorer, count_file)
        finally:
            done.set()
            thread.join()
            bar.update(count_file.stat().st_size - bar.n)


def print_paragraphs(*paragraphs: str) -> None:
    """Print paragraphs in lines of limited width."""
    for paragraph in paragraphs:
        # `textwrap.fill` drops the empty lines around a paragraph.
        lead = "\n" * (len(paragraph) - len(paragraph.lstrip("\n")))
        trail = "\n" * (len(paragraph) - len(paragraph.rstrip("\n")))
        filled = textwrap.fill(paragraph.strip(), LINE_WIDTH, break_on_hyphens=False, break_long_words=False)
        print(f"{lead}{filled}{trail}", flush=True)


def print_heading(text: str) -> None:
    """Print the title of a part."""
    print(f"\n{text}\n{'-' * len(text)}", flush=True)


def print_aligned_table(head: list[str], rows: list[list[str]]) -> None:
    """Print a table: the first column left-aligned, the others right-aligned."""
    widths = [max(len(cell) for cell in column) for column in zip(head, *rows, strict=True)]
    for row in (head, ["-" * width for width in widths], *rows):
        first, *others = (
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        print("   ".join(["  " + first, *others]).rstrip(), flush=True)


def _format_rows(results: list[DemoResult], format_cell: Callable[[DemoResult], str]) -> list[list[str]]:
    """Return a row for each method, with a cell for each noise level."""
    # A dict keeps the order of the methods, which a set does not.
    methods = dict.fromkeys(result.method for result in results)
    return [[method, *(format_cell(r) for r in results if r.method == method)] for method in methods]


def _format_gains(
    results: list[DemoResult], baseline: str, measure: Callable[[DemoResult], float], *, n_decimals: int
) -> str:
    """Return the gains of the autoencoder over another method at each level, as text."""
    after, before = (
        [measure(result) for result in results if result.method == method]
        for method in (AUTOENCODER, baseline)
    )
    *first, last = (f"{a - b:+.{n_decimals}f}" for a, b in zip(after, before, strict=True))
    return f"{', '.join(first)} and {last}" if first else last
