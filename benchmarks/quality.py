"""Compare the quality that is estimated without the truth with the true one, on 40 cases.

    SK_DENOISE_DATA=folder python benchmarks/quality.py [--quick]

The cases: Set12, BSDS500 and scikit-image's photos at sigma 5 to 50 with pretrained networks and filters;
counts at peaks of 5 to 100; rows of scikit-learn's digits and breast cancer data with networks, Wiener
filters and PCA; spectra with filters. Each case has three draws of noise, and the noise is known. A second
table holds the limits: denoisers that were fitted to the noisy numbers themselves, and estimated or wrong
noise levels. It takes some minutes on one core; --quick takes one draw of the smaller cases. Results are
written to ``benchmarks/results/quality.md``.
"""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import savgol_filter
from skimage import data
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sk_denoise import (
    BilateralDenoiser,
    DenoisingAutoencoder,
    GaussianNoiser,
    MedianDenoiser,
    NonLocalMeansDenoiser,
    PoissonNoiser,
    TotalVariationDenoiser,
    WaveletDenoiser,
    WienerDenoiser,
    WienerMixtureDenoiser,
)
from sk_denoise.io import read_image
from sk_denoise.metrics import estimate_quality, psnr_of_mse
from sk_denoise.restoration import NoiseModel, denoise_image, load_pretrained

RESULTS = Path(__file__).parent / "results"
DATA = Path(os.environ.get("SK_DENOISE_DATA", "/data"))
N_SEEDS = 3
Arrays = NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """Clean data with noise, and a denoiser of them.

    Attributes
    ----------
    name : str
        Name in the table.
    clean : ndarray
        Clean data.
    noise : float, ndarray or NoiseModel
        Noise that is added and known.
    denoiser : object
        Denoiser of the noisy data.
    data_range : float
        Data range of the PSNR.
    n_probes : int
        Number of probes.
    """

    name: str
    clean: Arrays
    noise: Any
    denoiser: Any
    data_range: float = 1.0
    n_probes: int = 2

    def corrupt(self, seed: int) -> Arrays:
        """Return the noisy data of a seed."""
        # Another draw for each case: the realised power of the noise is most of the error.
        rng = np.random.default_rng([seed, *self.name.encode()])
        if isinstance(self.noise, NoiseModel):
            counts = self.noise.gain * rng.poisson(self.clean / self.noise.gain)
            return counts + self.noise.read_noise * rng.normal(size=self.clean.shape)
        noisy = self.clean + self.noise * rng.normal(size=self.clean.shape)
        return noisy.astype(self.clean.dtype)


def counts(peak: float, read_noise: float = 0.0) -> NoiseModel:
    """Return the noise of counts with a gain of one."""
    return NoiseModel("counts", peak**0.5, gain=1.0, read_noise=read_noise)


def as_function(denoiser: Any) -> Callable[[Arrays], Arrays]:
    """Return a filter without learning as a function of one image."""
    return lambda image: denoiser.fit(image[None]).predict(image[None])[0]


def stabilised(denoiser: Any) -> Callable[[Arrays], Arrays]:
    """Return a filter of counts, between Anscombe's transform and its inverse."""

    def denoise(image: Arrays) -> Arrays:
        stable = 2 * np.sqrt(np.maximum(image, 0) + 0.375)
        return np.square(as_function(denoiser)(stable)) / 4 - 0.125

    return denoise


def image_cases(quick: bool) -> Iterator[Case]:
    """Yield cases of images."""
    set12 = sorted((DATA / "set12").rglob("*.png"))
    bsds = sorted((DATA / "bsds500").rglob("*test*/*.jpg"))
    gray, rgb = load_pretrained("gray"), load_pretrained("rgb")

    def read(path: Path) -> Arrays:
        return read_image(path).astype(np.float32) / 255

    for number, sigma in ((0, 5), (2, 15), (5, 25)):
        image = read(set12[number])[None]
        yield Case(
            f"Set12, {image.shape[1]} pixels, pretrained gray, sigma {sigma}", image, sigma / 255, gray
        )
    if not quick:
        for number, sigma in ((8, 25), (9, 50)):
            image = read(set12[number])[None]
            name = f"Set12, {image.shape[1]} pixels, pretrained gray, sigma {sigma}"
            yield Case(name, image, sigma / 255, gray, n_probes=1)
        for number, sigma in ((3, 5), (30, 15), (60, 25), (90, 50)):
            name = f"BSDS500, pretrained colour, sigma {sigma}"
            yield Case(name, read(bsds[number])[None], sigma / 255, rgb, n_probes=1)
    camera, moon = data.camera() / 255.0, data.moon() / 255.0
    coins, brick = data.coins() / 255.0, data.brick() / 255.0
    astronaut = data.astronaut() / 255.0
    for name, image, sigma, denoiser in (
        ("camera, non-local means", camera, 10, NonLocalMeansDenoiser(10 / 255)),
        ("moon, total variation", moon, 15, TotalVariationDenoiser(15 / 255)),
        ("camera, wavelets", camera, 25, WaveletDenoiser(25 / 255)),
        ("brick, non-local means", brick, 25, NonLocalMeansDenoiser(25 / 255)),
        ("coins, median", coins, 25, MedianDenoiser(3)),
        ("brick, bilateral", brick, 5, BilateralDenoiser(5 / 255)),
        ("astronaut, wavelets", astronaut, 25, WaveletDenoiser(25 / 255)),
        ("astronaut, wavelets, level estimated by the filter", astronaut, 50, WaveletDenoiser()),
    ):
        yield Case(f"{name}, sigma {sigma}", image, sigma / 255, as_function(denoiser))
    for image, name, peak, denoiser in (
        (coins, "coins", 5, NonLocalMeansDenoiser(1.0)),
        (brick, "brick", 10, NonLocalMeansDenoiser(1.0)),
        (camera, "camera", 30, WaveletDenoiser(1.0)),
        (brick, "brick", 100, NonLocalMeansDenoiser(1.0)),
    ):
        yield Case(
            f"{name}, Anscombe and {type(denoiser).__name__}, peak {peak}",
            peak * image,
            counts(peak),
            stabilised(denoiser),
            peak,
        )
    if not quick:
        model = counts(30)
        yield Case(
            "coins, denoise_image, peak 30",
            30 * coins,
            model,
            lambda y: denoise_image(y, noise=model, precision="float32"),
            30,
            1,
        )


def row_cases() -> Iterator[Case]:
    """Yield cases of rows and signals."""
    digits, cancer = load_digits().data / 16, load_breast_cancer().data
    cancer = (cancer - cancer.mean(axis=0)) / cancer.std(axis=0)
    for name, X, split, sigma in (
        ("digits", digits, 1000, 0.25),
        ("digits", digits, 1000, 0.5),
        ("breast cancer", cancer, 300, 0.25),
        ("breast cancer", cancer, 300, 0.5),
    ):
        train, test = X[:split], X[split:]
        span = 1.0 if name == "digits" else 10.0
        noise = GaussianNoiser(sigma)
        for label, denoiser in (
            ("DenoisingAutoencoder", DenoisingAutoencoder(noise=noise, max_epochs=20, random_state=0)),
            ("WienerDenoiser", WienerDenoiser(sigma)),
            ("PCA", make_pipeline(StandardScaler(), PCA(10)) if span > 1 else PCA(16)),
        ):
            if (label, sigma) == ("PCA", 0.25) or label != "PCA":
                yield Case(f"{name}, {label}, sigma {sigma}", test, sigma, denoiser.fit(train), span, 4)
    for peak in (5, 20, 100):
        train = np.random.default_rng(9).poisson(peak * digits[:1000]).astype(float)
        wiener = WienerDenoiser().fit(train, X_clean=peak * digits[:1000])
        yield Case(
            f"digits, WienerDenoiser, peak {peak}", peak * digits[1000:], counts(peak), wiener, peak, 4
        )
    dae = DenoisingAutoencoder(noise=PoissonNoiser(10), max_epochs=20, random_state=0).fit(10 * digits[:1000])
    yield Case("digits, DenoisingAutoencoder, peak 10", 10 * digits[1000:], counts(10), dae, 10, 4)
    spectra = draw_spectra(300)
    for label, denoiser in (
        ("Savitzky-Golay", lambda y: savgol_filter(y, 15, 3, axis=1)),
        ("WaveletDenoiser", WaveletDenoiser(0.2).fit(spectra)),
        ("TotalVariationDenoiser", TotalVariationDenoiser(0.2).fit(spectra)),
        ("PCA", PCA(8).fit(draw_spectra(300, 1))),
    ):
        yield Case(f"spectra, {label}, sigma 0.2", spectra, 0.2, denoiser, 1.0, 2)


def draw_spectra(n: int, seed: int = 0) -> Arrays:
    """Return spectra of three peaks at 200 points."""
    rng, points = np.random.default_rng(seed), np.linspace(0, 1, 200)
    heights, centres = rng.uniform(0.3, 1, (n, 3)), [0.2, 0.5, 0.75] + 0.01 * rng.normal(size=(n, 3))
    return (heights[:, :, None] * np.exp(-0.5 * ((points - centres[:, :, None]) / 0.03) ** 2)).sum(1)


def predict(denoiser: Any, noisy: Arrays) -> Arrays:
    """Return the prediction of any denoiser."""
    if hasattr(denoiser, "predict"):
        return denoiser.predict(noisy)
    return (
        denoiser.inverse_transform(denoiser.transform(noisy))
        if hasattr(denoiser, "transform")
        else denoiser(noisy)
    )


def compare(case: Case, seed: int, noise: Any = None, denoiser: Any = None) -> tuple[float, Any, float]:
    """Return the true PSNR, the estimate or None, and the seconds of the estimate."""
    noisy = case.corrupt(seed)
    fitted = case.denoiser if denoiser is None else denoiser(noisy)
    start = time.perf_counter()
    try:
        quality = estimate_quality(
            fitted,
            noisy,
            noise=case.noise if noise is None else noise,
            data_range=case.data_range,
            n_probes=case.n_probes,
            random_state=seed,
        )
    except ValueError:
        quality = None
    seconds = time.perf_counter() - start
    error = float(np.mean(np.square(predict(fitted, noisy) - case.clean, dtype=np.float64)))
    return float(psnr_of_mse(error, case.data_range)), quality, seconds


def main() -> None:
    """Measure all cases, and write the results."""
    warnings.simplefilter("ignore")
    quick = "--quick" in sys.argv
    seeds = range(1 if quick else N_SEEDS)
    lines, errors, hits = [], [], []
    for case in (*row_cases(), *image_cases(quick)):
        runs = [compare(case, seed) for seed in seeds]
        each = [quality.psnr - truth for truth, quality, _ in runs]
        inside = [quality.interval[0] <= truth <= quality.interval[1] for truth, quality, _ in runs]
        width = np.mean([quality.interval[1] - quality.interval[0] for _, quality, _ in runs])
        errors += each
        hits += inside
        lines.append(
            f"| {case.name} | {runs[0][0]:.2f} | {', '.join(f'{e:+.2f}' for e in each)} | {width:.2f} | "
            f"{sum(inside)} of {len(inside)} | {np.mean([s for *_, s in runs]):.1f} |"
        )
        print(lines[-1], flush=True)
    near = np.mean(np.abs(errors) <= 0.3)
    text = [
        "# Quality without the truth",
        "",
        "`python benchmarks/quality.py`: the PSNR of `estimate_quality`, from the noisy data and the known "
        f"noise alone, beside the true one. {len(lines)} cases with {len(seeds)} draws of noise: "
        f"**{100 * near:.0f} % of the errors are at most 0.3 dB, and the intervals of 90 % hold "
        f"{100 * np.mean(hits):.0f} % of the true values**.",
        "",
        "| case | true dB | estimated - true, dB | width of the interval, dB | inside | seconds |",
        "|---|---|---|---|---|---|",
        *lines,
        "",
        *limits(seeds),
    ]
    if not quick:
        (RESULTS / "quality.md").write_text("\n".join(text) + "\n")


def limits(seeds: range) -> list[str]:
    """Return a table of what the estimate gets wrong."""
    digits = load_digits().data[:1297] / 16
    cancer = load_breast_cancer().data
    cancer = (cancer - cancer.mean(axis=0)) / cancer.std(axis=0)
    camera = data.camera() / 255.0
    lines = [
        "## Limits",
        "",
        "The first rows are denoisers that were fitted to the same noisy numbers: the estimate ignores that "
        "their parameters react to the noise, unless a function fits and predicts.",
        "",
        "| case | true dB | estimated - true, dB | width of the interval, dB |",
        "|---|---|---|---|",
    ]

    def add(name: str, runs: list[tuple[float, Any, float]]) -> None:
        each = ", ".join(f"{q.psnr - truth:+.2f}" if q else "refused" for truth, q, _ in runs)
        widths = [q.interval[1] - q.interval[0] for _, q, _ in runs if q]
        lines.append(f"| {name} | {runs[0][0]:.2f} | {each} | {np.mean(widths) if widths else 0:.2f} |")
        print(lines[-1], flush=True)

    for name, X, n_components in (("digits", digits, 16), ("breast cancer", cancer, 10)):
        case = Case(name, X, 0.5, None, 1.0 if name == "digits" else 10.0, 4)
        pca = PCA(n_components)
        add(
            f"{name}, PCA fitted to the same rows, sigma 0.5",
            [compare(case, seed, denoiser=lambda y, p=pca: clone(p).fit(y)) for seed in seeds],
        )

        def refit(y: Arrays, pca: Any = pca) -> Arrays:
            fitted = clone(pca).fit(y)
            return fitted.inverse_transform(fitted.transform(y))

        add(
            f"{name}, a function that fits PCA and predicts, sigma 0.5",
            [compare(case, seed, denoiser=lambda _: refit) for seed in seeds],
        )
        for objective in ("recorrupt", "blind"):
            keywords = {"noise": GaussianNoiser(0.5)} if objective == "recorrupt" else {}
            add(
                f'{name}, DenoisingAutoencoder(objective="{objective}") fitted to the same rows, sigma 0.5',
                [
                    compare(
                        case,
                        seed,
                        denoiser=lambda y, k=keywords, o=objective: DenoisingAutoencoder(
                            objective=o, max_epochs=20, random_state=0, **k
                        ).fit(y),
                    )
                    for seed in seeds[:1]
                ],
            )
    for sigma in (0.25,):
        case = Case("", digits, sigma, None, 1.0, 2)
        mixture = WienerMixtureDenoiser(noise=sigma, random_state=0)
        add(
            f"digits, WienerMixtureDenoiser fitted to the same rows, sigma {sigma}",
            [compare(case, seed, denoiser=lambda y, m=mixture: clone(m).fit(y)) for seed in seeds],
        )
    model, coins = counts(30), data.coins() / 255.0
    half = Case("coins, half", 30 * coins, model, lambda y: denoise_image(y, noise=model), 30, 1)
    add("coins, denoise_image in half precision, peak 30", [compare(half, seed) for seed in seeds])
    for sigma in (10, 25):
        image = Case("", camera, sigma / 255, as_function(NonLocalMeansDenoiser(sigma / 255)))
        stack = Case("", camera[None], sigma / 255, NonLocalMeansDenoiser(sigma / 255).fit(camera[None]))
        add(f'camera, noise="auto", sigma {sigma}', [compare(stack, seed, noise="auto") for seed in seeds])
        add(
            f"camera, told a level 5 % too high, sigma {sigma}",
            [compare(image, seed, noise=1.05 * sigma / 255) for seed in seeds],
        )
    return lines


if __name__ == "__main__":
    main()
