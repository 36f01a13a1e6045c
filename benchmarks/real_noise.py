"""Measure automatic denoising under noise of cameras, JPEG and detectors, and on clean images.

    SK_DENOISE_DATA=folder python benchmarks/real_noise.py [--only cameras jpeg unharmed estimates time]
        [--images N] [--bm3d N] [--worst FOLDER]

Photos are the middle 256 x 256 pixels of 24 photos that no network was trained on: the sources and Berkeley
photos held out by ``pretraining/data.py``, and photos under share-alike licences. Seeds are fixed.

``cameras``: colour noise of four origins in 8 bits. "drawn": cameras drawn as in training, then JPEG.
"sensor": a generator of this script; noise of light and electronics on a Bayer mosaic in linear light,
bilinear interpolation, sRGB curve, a small blur, JPEG 90 4:2:0. "phone": the same with stronger noise, a
median filter, strongly smoothed colour, sharpening, reduction by 4 / 3 and JPEG 80. "grain": noise with the
correlations of the PolyU photos (.61, .28 and .16 at 1, 2 and 4 pixels, .68 between red and green, rms 4.3).
For "sensor" and "phone" the truth is the same pipeline without noise and without JPEG. Automatic denoising is
compared with the network for white noise at ten levels: the best for all images of an origin, and the best of
each image.

``jpeg``: white noise, then JPEG. ``unharmed``: 60 clean and noisy images of all kinds. ``estimates``:
estimates of kind and level. ``time``: seconds and peak memory on one thread, each in a new process.

Results are written to ``benchmarks/results/real_noise.json`` and ``.md``. ``--images`` takes the first images
of each kind for a quick try, and writes nothing. ``--worst`` saves the worst images: truth, noisy, automatic
and best level side by side.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import convolve, gaussian_filter, median_filter

from sk_denoise.noise._camera_pipeline import add_camera_noise, draw_camera
from sk_denoise.restoration import denoise_image, estimate_noise

# Last, because a module there has the name of this script.
sys.path.append(str(Path(__file__).parents[1] / "pretraining"))

RESULTS = Path(__file__).parent / "results"
SECTIONS = ("cameras", "jpeg", "unharmed", "estimates", "time")
SIDE = 256
# Levels in grey levels of 255, among which the best single one is searched.
LEVELS = (1, 2, 3, 5, 8, 12, 16, 20, 26, 34)
BM3D_LEVELS = (5, 12, 20)
JPEG_SIGMAS, JPEG_QUALITIES = (5, 15, 25), (60, 75, 90, 95)
# Levels for white noise after JPEG, relative to the level before it.
JPEG_FACTORS = (0.4, 0.6, 0.8, 1.0, 1.3, 1.7)
# Largest PSNR, for images that are equal.
EQUAL = 99.0
FRAME_VALUES = (0, 16, 32, 64, 96, 128, 160, 200, 235, 255)
FRAME_SHARES = (0.02, 0.1, 0.25, 0.5)

Rng = np.random.Generator


# images ------------------------------------------------------------------------------------------------


@cache
def photos() -> list[tuple[str, np.ndarray]]:
    """Return names and pixels of 24 photos that no network was trained on, in turn of three sources."""
    import csv

    import data

    held_out = list(data.photo_rows(held_out=True))
    folder = data.data_folder() / "photos"
    with (folder / "sources.csv").open(newline="", encoding="utf-8") as lines:
        share_alike = [folder / row["file"] for row in csv.DictReader(lines) if "BY-SA" in row["licence"]]
    sources = [
        _spread(held_out, 8),
        _spread(data.berkeley_files()[1], 8),
        _spread([path for path in share_alike if path.exists()], 8),
    ]
    files = [path for group in zip(*sources, strict=True) for path in group]
    return [(path.name, middle(read(path))) for path in files]


def _spread(items: list[Path], n: int) -> list[Path]:
    return [items[round(place)] for place in np.linspace(0, len(items) - 1, n)]


def read(path: Path) -> np.ndarray:
    """Return a colour image as bytes."""
    with Image.open(path) as image:
        return np.array(image.convert("RGB"))


def middle(image: np.ndarray, side: int = SIDE) -> np.ndarray:
    """Return the middle of an image."""
    top, left = (max(0, (length - side) // 2) for length in image.shape[:2])
    return np.ascontiguousarray(image[top : top + side, left : left + side])


def as_gray(image: np.ndarray) -> np.ndarray:
    """Return the brightness of a colour image, in its type."""
    gray = image @ np.array([0.299, 0.587, 0.114])
    return to_bytes(gray) if image.dtype == np.uint8 else gray


def to_bytes(values: np.ndarray) -> np.ndarray:
    """Return grey levels as bytes."""
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def jpeg(image: np.ndarray, quality: int, chroma: str = "4:2:0") -> np.ndarray:
    """Return the pixels of an image that was saved as JPEG."""
    stream = io.BytesIO()
    options = {} if image.ndim == 2 else {"subsampling": {"4:4:4": 0, "4:2:0": 2}[chroma]}
    Image.fromarray(image).save(stream, "JPEG", quality=quality, **options)
    return np.array(Image.open(stream))


def screenshots() -> list[tuple[str, np.ndarray]]:
    """Return images of plots, a table, a dark terminal and a document, rendered by matplotlib."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    rng = np.random.default_rng(7)
    x = np.linspace(0, 10, 200)

    def plot(axes: Any) -> None:
        for k in range(3):
            axes.plot(x, np.sin(x + k) * np.exp(-x / (4 + k)), label=f"series {k}")
        axes.legend()
        axes.grid(alpha=0.4)
        axes.set_title("Damped waves")

    def points(axes: Any) -> None:
        axes.scatter(*rng.normal(size=(2, 300)), c=rng.random(300), s=8)
        axes.set_xlabel("first component")

    def table(axes: Any) -> None:
        axes.axis("off")
        cells = [[f"{value:.3f}" for value in row] for row in rng.random((12, 5))]
        axes.table(cells, colLabels=list("ABCDE"), loc="center")

    def terminal(axes: Any) -> None:
        axes.axis("off")
        axes.figure.set_facecolor("#1e1e2e")
        lines = [f"$ make test-{n:02d}  ok {rng.random():.2f} s  [{'#' * int(n)}]" for n in range(18)]
        axes.text(
            -0.1, 1, "\n".join(lines), color="#a6e3a1", family="monospace", fontsize=7, va="top", wrap=False
        )

    def document(axes: Any) -> None:
        axes.axis("off")
        words = np.array(
            ["the", "noise", "of", "cameras", "is", "correlated", "between", "neighbours", "and"]
        )
        lines = [" ".join(rng.permutation(words)) for _ in range(24)]
        axes.text(-0.1, 1.05, "\n".join(lines), fontsize=6, va="top", family="serif")

    shots = []
    for draw in (plot, points, table, terminal, document):
        figure, axes = plt.subplots(figsize=(3.6, 2.7), dpi=100)
        draw(axes)
        figure.canvas.draw()
        shots.append((f"screenshot {draw.__name__}", np.array(figure.canvas.buffer_rgba())[..., :3].copy()))
        plt.close(figure)
    return shots


# noise -------------------------------------------------------------------------------------------------


def from_srgb(image: np.ndarray) -> np.ndarray:
    """Return linear light of sRGB values in [0, 1]."""
    return np.where(image <= 0.04045, image / 12.92, ((image + 0.055) / 1.055) ** 2.4)


def to_srgb(light: np.ndarray) -> np.ndarray:
    """Return sRGB values of linear light in [0, 1]."""
    light = light.clip(0, 1)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def bayer(light: np.ndarray, shot: float, read_noise: float, rng: Rng | None) -> np.ndarray:
    """Return linear light after a Bayer mosaic with noise and bilinear interpolation."""
    gains = np.array([1.9, 1.0, 1.6])
    colors = np.zeros((2, 2, 3))
    colors[0, 0, 0] = colors[0, 1, 1] = colors[1, 0, 1] = colors[1, 1, 2] = 1
    height, width = light.shape[:2]
    masks = np.tile(colors, (height // 2 + 1, width // 2 + 1, 1))[:height, :width]
    mosaic = (light / gains * masks).sum(2)
    if rng is not None:
        noise = rng.normal(size=mosaic.shape)
        mosaic = np.clip(mosaic + np.sqrt(shot * mosaic + read_noise**2) * noise, 0, 1)
    cross = np.array([[0, 1, 0], [1, 4, 1], [0, 1, 0]]) / 4
    square = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 4
    planes = [convolve(mosaic * masks[..., c], cross if c == 1 else square, mode="mirror") for c in range(3)]
    return np.stack(planes, 2) * gains


def sensor(image: np.ndarray, rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    """Return a photo of a simple camera, and the same without noise and JPEG."""
    shot = float(np.exp(rng.uniform(np.log(2e-4), np.log(6e-3))))
    read_noise, blur = float(rng.uniform(0.5, 2)) * shot**0.5 * 0.1, float(rng.uniform(0.3, 0.7))
    light = from_srgb(image / 255)

    def develop(noise: Rng | None) -> np.ndarray:
        developed = to_srgb(bayer(light, shot, read_noise, noise))
        return to_bytes(255 * gaussian_filter(developed, (blur, blur, 0)))

    return jpeg(develop(rng), 90), develop(None)


def phone(image: np.ndarray, rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    """Return a photo of a camera that denoises and sharpens, and the same without noise and JPEG."""
    shot = float(np.exp(rng.uniform(np.log(2e-3), np.log(1.2e-2))))
    light = from_srgb(image / 255)

    def develop(noise: Rng | None) -> np.ndarray:
        pixels = to_bytes(255 * to_srgb(bayer(light, shot, 0.01, noise)))
        ycc = np.array(Image.fromarray(pixels).convert("YCbCr")).astype(float)
        ycc[..., 0] = median_filter(ycc[..., 0], size=3)
        ycc[..., 0] += 0.8 * (ycc[..., 0] - gaussian_filter(ycc[..., 0], 1.2))
        ycc[..., 1:] = gaussian_filter(ycc[..., 1:], (2.5, 2.5, 0))
        rgb = Image.fromarray(to_bytes(ycc), "YCbCr").convert("RGB")
        return np.array(rgb.resize((3 * rgb.width // 4, 3 * rgb.height // 4), Image.Resampling.BICUBIC))

    return jpeg(develop(rng), 80), develop(None)


def correlated(shape: tuple[int, ...], width: float, rng: Rng) -> np.ndarray:
    """Return noise of unit variance whose correlation is a Gaussian of the distance."""
    line = np.zeros(65)
    line[32] = 1
    power = float(np.square(gaussian_filter(line, width)).sum())
    return gaussian_filter(rng.normal(size=shape), width, mode="wrap") / power


def grain(image: np.ndarray, rng: Rng, rms: float = 4.3) -> np.ndarray:
    """Return a photo with the correlations of the noise of the PolyU photos."""

    def draw() -> np.ndarray:
        # Correlations .61, .28 and .16 at 1, 2 and 4 pixels.
        wide = np.sqrt(0.289) * correlated(image.shape[:2], 2.6, rng)
        return wide + np.sqrt(0.711) * correlated(image.shape[:2], 0.63, rng)

    common = draw()
    noise = np.stack([np.sqrt(0.68) * common + np.sqrt(0.32) * draw() for _ in range(3)], 2)
    return to_bytes(image + rms * noise)


def drawn_camera(image: np.ndarray, rng: Rng, shot: tuple[float, float] = (3e-4, 1e-2)) -> np.ndarray:
    """Return a photo of a camera that is drawn as in training, compressed as JPEG in three of four cases."""
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    camera = draw_camera(generator, shot=shot)
    clean = torch.from_numpy(image).movedim(2, 0).float() / 255
    noisy = to_bytes(255 * add_camera_noise(clean, generator, camera).movedim(0, 2).numpy())
    if rng.random() < 0.25:
        return noisy
    return jpeg(noisy, int(rng.integers(75, 99)), "4:2:0" if rng.random() < 0.5 else "4:4:4")


def white(image: np.ndarray, sigma: float, rng: Rng) -> np.ndarray:
    """Return an image of bytes with white noise."""
    return to_bytes(image + rng.normal(0, sigma, image.shape))


def counts(image: np.ndarray, peak: float, read_noise: float, rng: Rng) -> np.ndarray:
    """Return counts of photons, the brightest of which is the peak, with the noise of the electronics."""
    electrons = rng.poisson(peak * (image / 255.0)) + rng.normal(0, read_noise, image.shape)
    # A black level keeps values below black.
    return np.clip(np.rint(electrons + 6 * read_noise), 0, 65535).astype(np.uint16)


CAMERAS: dict[str, Callable[[np.ndarray, Rng], Any]] = {
    "drawn": drawn_camera,
    "sensor": sensor,
    "phone": phone,
    "grain": grain,
}


def camera_pair(kind: str, image: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the noisy and the true photo for a number."""
    taken = CAMERAS[kind](image, np.random.default_rng([number, list(CAMERAS).index(kind)]))
    return taken if isinstance(taken, tuple) else (taken, image)


# measurements ------------------------------------------------------------------------------------------


def psnr(truth: np.ndarray, image: np.ndarray, span: float = 255.0) -> float:
    """Return the PSNR in dB."""
    error = float(np.mean((truth.astype(float) - image) ** 2))
    return EQUAL if error == 0 else min(EQUAL, 10 * float(np.log10(span**2 / error)))


def automatic(image: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the denoised image, and the number of warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        return denoise_image(image), len(caught)


def save_worst(folder: Path | None, name: str, *images: np.ndarray) -> None:
    """Save images side by side."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.concatenate(images, axis=1)).save(folder / f"{name}.png")


def measure_cameras(options: argparse.Namespace) -> dict[str, Any]:
    """Compare automatic denoising with the best single level under noise of cameras."""
    results: dict[str, Any] = {}
    for kind in CAMERAS:
        rows, kinds, told = [], Counter(), []
        for number, (name, image) in enumerate(photos()[: options.images]):
            noisy, truth = camera_pair(kind, image, number)
            levels = [psnr(truth, denoise_image(noisy, sigma=float(level))) for level in LEVELS]
            output, n_warnings = automatic(noisy)
            model = estimate_noise(noisy)
            row = {
                "name": name,
                "noisy": psnr(truth, noisy),
                "automatic": psnr(truth, output),
                "camera": psnr(truth, denoise_image(noisy, model="camera")),
                "best": max(levels),
                "level": LEVELS[int(np.argmax(levels))],
                "kind": model.kind,
                "levels": [round(level, 2) for level in model.levels],
                "warnings": n_warnings,
            }
            if number < options.bm3d and options.bm3d_works:
                row["bm3d"] = max(psnr(truth, by_bm3d(noisy, level)) for level in BM3D_LEVELS)
            rows.append(row)
            told.append(levels)
            kinds[model.kind] += 1
            print(kind, row, flush=True)
            if row["automatic"] < max(row["noisy"], row["best"] - 1.5):
                best = denoise_image(noisy, sigma=float(row["level"]))
                save_worst(options.worst, f"{kind}-{number}", truth, noisy, output, best)
        results[kind] = {"rows": rows, "kinds": dict(kinds), "one level": np.mean(told, 0).tolist()}
    return results


def by_bm3d(noisy: np.ndarray, level: float) -> np.ndarray:
    """Return the output of BM3D for colours."""
    from sk_denoise import BM3DDenoiser

    return 255 * BM3DDenoiser(level / 255).fit_transform(noisy[None] / 255)[0]


def has_bm3d() -> bool:
    """Return whether BM3D is installed."""
    try:
        by_bm3d(np.zeros((16, 16, 3), np.uint8), 5)
    except ImportError as error:
        print(f"BM3D is left out: {error}")
        return False
    return True


def measure_jpeg(options: argparse.Namespace) -> dict[str, Any]:
    """Compare automatic denoising with the best level for white noise that was compressed."""
    results: dict[str, Any] = {}
    chosen = photos()[::2][: options.images]
    for chroma in ("4:2:0", "4:4:4", "gray"):
        for sigma in JPEG_SIGMAS:
            for quality in JPEG_QUALITIES:
                rows, kinds, told = [], Counter(), []
                for number, (_, color) in enumerate(chosen):
                    image = as_gray(color) if chroma == "gray" else color
                    rng = np.random.default_rng([number, sigma])
                    noisy = jpeg(white(image, sigma, rng), quality, chroma)
                    told.append(
                        [psnr(image, denoise_image(noisy, sigma=factor * sigma)) for factor in JPEG_FACTORS]
                    )
                    output = automatic(noisy)[0]
                    rows.append([psnr(image, noisy), psnr(image, output), max(told[-1])])
                    kinds[estimate_noise(noisy).kind] += 1
                    if rows[-1][1] < rows[-1][2] - 1.5:
                        best = denoise_image(noisy, sigma=JPEG_FACTORS[int(np.argmax(told[-1]))] * sigma)
                        name = f"jpeg-{chroma.replace(':', '')}-{sigma}-{quality}-{number}"
                        save_worst(options.worst, name, image, noisy, output, best)
                noisy_mean, automatic_mean, best_mean = np.mean(rows, 0).tolist()
                results[f"{chroma} {sigma} {quality}"] = row = {
                    "noisy": noisy_mean,
                    "automatic": automatic_mean,
                    "one level": float(np.mean(told, 0).max()),
                    "best": best_mean,
                    "worst": min(a - b for _, a, b in rows),
                    "gain": min(a - n for n, a, _ in rows),
                    "kinds": dict(kinds),
                }
                print(chroma, sigma, quality, row, flush=True)
    return results


def mixed_set() -> list[tuple[str, np.ndarray, np.ndarray | None]]:
    """Return 36 clean images, and 24 noisy ones with their truth: names, images, truths."""
    from drawings import draw
    from skimage import data as samples

    seed = 1_000_000
    pictures = photos()
    drawings = [(f"drawing {n}", draw(seed + n, SIDE)) for n in range(10)]
    shots = screenshots()
    pages = [("page", samples.page()), ("text", samples.text())]
    clean = [(f"{name} PNG", image) for name, image in pictures[:6]]
    clean += [(f"{name} JPEG 95", jpeg(image, 95)) for name, image in pictures[6:10]]
    clean += [(f"{name} JPEG 85", jpeg(image, 85)) for name, image in pictures[10:14]]
    clean += [(f"{name} PNG", image) for name, image in drawings[:6]]
    clean += [(f"{name} JPEG 85", jpeg(image, 85)) for name, image in drawings[6:8]]
    clean += [(name, image) for name, image in pages + shots]
    clean += [(f"{name} JPEG 85", jpeg(image, 85)) for name, image in shots[:1]]
    clean += [
        (name, middle(getattr(samples, name)()))
        for name in ("astronaut", "coffee", "grass", "brick", "gravel", "camera")
    ]
    gray = [(name, as_gray(image)) for name, image in pictures]
    flat = [drawings[8], drawings[9], shots[0], shots[4]]
    noisy: list[tuple[str, np.ndarray, np.ndarray | None]] = []

    def add(name: str, image: np.ndarray, truth: np.ndarray) -> None:
        noisy.append((name, image, truth))

    for number, (name, image) in enumerate([pictures[14], pictures[15], flat[0], flat[2]]):
        rng = np.random.default_rng([number, 100])
        add(f"{name} + white 3", white(image, 3, rng), image)
        add(f"{name} + white 25", white(image, 25, rng), image)
        add(f"{name} + grain", grain(image, rng), image)
        taken, truth = sensor(image, rng)
        add(f"{name} + sensor", taken, truth)
    for number, (name, image) in enumerate([gray[16], gray[17], ("page", samples.page())]):
        rng = np.random.default_rng([number, 101])
        add(f"{name} + counts 50", counts(image, 50, 1, rng), 50 * (image / 255) + 6)
    add("coins + counts 200", counts(samples.coins(), 200, 4, np.random.default_rng(3)), _coins())
    for number, (name, image) in enumerate([pictures[18], flat[1], flat[3], ("page", samples.page())]):
        rng = np.random.default_rng([number, 102])
        add(f"{name} + white 8, JPEG 80", jpeg(white(image, 8, rng), 80), image)
    mixed = [(name, image, None) for name, image in clean] + noisy
    assert len(mixed) == 60, len(mixed)
    return mixed


def _coins() -> np.ndarray:
    from skimage import data as samples

    return 200 * (samples.coins() / 255) + 24


def measure_unharmed(options: argparse.Namespace) -> dict[str, Any]:
    """Measure the change of clean images, and the gain for noisy ones."""
    rows = []
    mixed = mixed_set()
    for name, image, truth in mixed if options.images is None else mixed[:: max(1, 60 // options.images)]:
        output, n_warnings = automatic(image)
        model = estimate_noise(image)
        span = 255.0 if image.dtype == np.uint8 else float(np.ptp(image if truth is None else truth))
        row: dict[str, Any] = {"name": name, "kind": model.kind, "sigma": model.sigma, "warnings": n_warnings}
        row["levels"] = [round(level, 2) for level in model.levels]
        row["to input"] = psnr(image, output, span)
        if truth is not None:
            row["noisy"], row["automatic"] = psnr(truth, image, span), psnr(truth, output, span)
        rows.append(row)
        print(row, flush=True)
        is_bad = row["to input"] < 45 if truth is None else row["automatic"] < row["noisy"]
        if is_bad and image.dtype == np.uint8:
            change = to_bytes(128 + 8 * (output.astype(float) - image))
            save_worst(options.worst, "unharmed-" + name.replace("/", "-"), image, output, change)
    return {"rows": rows}


# estimates ---------------------------------------------------------------------------------------------


def estimate_conditions() -> dict[str, tuple[str, Callable[[np.ndarray, Rng], tuple[np.ndarray, float]]]]:
    """Return conditions: expected kind, and a function to an image and its true sigma in its own unit."""

    def by_white(sigma: float) -> Any:
        return lambda image, rng: (white(image, sigma, rng), sigma)

    def by_counts(peak: float, read_noise: float) -> Any:
        def corrupt(image: np.ndarray, rng: Rng) -> tuple[np.ndarray, float]:
            gray = as_gray(image)
            variance = peak * (gray / 255).mean() + read_noise**2
            return counts(gray, peak, read_noise, rng), float(np.sqrt(variance))

        return corrupt

    def by_grain(width: float, rms: float) -> Any:
        def corrupt(image: np.ndarray, rng: Rng) -> tuple[np.ndarray, float]:
            noise = np.stack([correlated(image.shape[:2], width, rng) for _ in range(3)], 2)
            return to_bytes(image + rms * noise), rms

        return corrupt

    def by_jpeg(sigma: float, quality: int) -> Any:
        return lambda image, rng: _with_rms(jpeg(white(image, sigma, rng), quality), image)

    def by_sensor(image: np.ndarray, rng: Rng) -> tuple[np.ndarray, float]:
        return _with_rms(*sensor(image, rng))

    def by_drawn(image: np.ndarray, rng: Rng) -> tuple[np.ndarray, float]:
        return _with_rms(drawn_camera(image, rng), image)

    conditions: dict[str, Any] = {"clean": ("none", by_white(0))}
    conditions["clean, JPEG 85"] = ("none", lambda image, rng: (jpeg(image, 85), 0.0))
    for sigma in (1, 2, 5, 10, 15, 25, 50):
        conditions[f"white {sigma}"] = ("white", by_white(sigma))
    for peak in (5, 30, 100, 200):
        for read_noise in (0, 3):
            conditions[f"counts, peak {peak}, read noise {read_noise}"] = (
                "counts",
                by_counts(peak, read_noise),
            )
    for width in (0.6, 1.5):
        conditions[f"grain 6, width {width}"] = ("camera", by_grain(width, 6.0))
    conditions["white 10, JPEG 90"] = ("camera", by_jpeg(10, 90))
    conditions["white 15, JPEG 75"] = ("camera", by_jpeg(15, 75))
    conditions["camera, drawn"] = ("camera", by_drawn)
    conditions["camera, sensor"] = ("camera", by_sensor)
    return conditions


def _with_rms(noisy: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, float]:
    return noisy, float(np.sqrt(np.mean((noisy - truth.astype(float)) ** 2)))


def measure_estimates(options: argparse.Namespace) -> dict[str, Any]:
    """Measure bias and spread of estimates of kind and level."""
    results: dict[str, Any] = {}
    for place, (condition, (expected, corrupt)) in enumerate(estimate_conditions().items()):
        kinds, errors, gains, times = Counter(), [], [], []
        for number, (_, image) in enumerate(photos()[: options.images]):
            noisy, sigma = corrupt(image, np.random.default_rng([number, place]))
            start = time.process_time()
            model = estimate_noise(noisy)
            times.append(time.process_time() - start)
            kinds[model.kind] += 1
            errors.append((model.sigma - sigma) / (sigma or 1.0))
            if model.kind == "counts":
                gains.append(model.gain - 1)
        results[condition] = row = {
            "expected": expected,
            "kinds": dict(kinds),
            "bias": float(np.mean(errors)),
            "spread": float(np.std(errors)),
            "gain bias": float(np.mean(gains)) if gains and expected == "counts" else None,
            "gain spread": float(np.std(gains)) if gains and expected == "counts" else None,
            "absolute": expected == "none",
        }
        print(condition, row, f"{median(times):.2f} s", flush=True)
    results["frames"] = measure_frames(options)
    return results


def framed(image: np.ndarray, value: float, share: float) -> np.ndarray:
    """Return an image with bars above and below, whose share of the result is given."""
    bar = round(len(image) * share / (1 - share) / 2)
    padding = ((bar, bar),) + ((0, 0),) * (image.ndim - 1)
    return np.pad(image, padding, constant_values=value)


def measure_frames(options: argparse.Namespace) -> dict[str, Any]:
    """Measure estimates of images with frames, zero padding and transparency, relative to the truth."""
    chosen = photos()[::4][: options.images]
    results: dict[str, Any] = {}

    def keep(name: str, sigma: float, pairs: list[tuple[np.ndarray, np.ndarray]]) -> None:
        ratios = np.array([[estimate_noise(image).sigma for image in pair] for pair in pairs])
        to_truth, to_plain = ratios[:, 1] / sigma, ratios[:, 1] / ratios[:, 0]
        results[name] = row = {
            "n": len(pairs),
            "within": float(np.mean(np.abs(to_truth - 1) <= 0.15)),
            "low": float(to_truth.min()),
            "high": float(to_truth.max()),
            "within of plain": float(np.mean(np.abs(to_plain - 1) <= 0.15)),
        }
        print(name, row, flush=True)

    for sigma in (5, 15):
        noisy = [
            white(image, sigma, np.random.default_rng([number, sigma]))
            for number, (_, image) in enumerate(chosen)
        ]
        noisy = [as_gray(image) if n % 2 else image for n, image in enumerate(noisy)]
        # The brightness of independent channels has less noise than these.
        noisy = [
            image if image.ndim == 3 else white(as_gray(chosen[n][1]), sigma, np.random.default_rng([n, 1]))
            for n, image in enumerate(noisy)
        ]
        for share in FRAME_SHARES:
            keep(
                f"frames of ten values, {share:.0%} of the image, sigma {sigma}",
                sigma,
                [(image, framed(image, value, share)) for image in noisy for value in FRAME_VALUES],
            )
        floats = [
            image / 255 + np.random.default_rng(n).normal(0, sigma / 255, image.shape)
            for n, (_, image) in enumerate(chosen)
        ]
        keep(
            f"zero padding of floats, sigma {sigma}",
            sigma / 255,
            [(image, framed(image, 0.0, share)) for image in floats for share in FRAME_SHARES],
        )
        keep(
            f"transparency over a third, sigma {sigma}",
            sigma,
            [(image, transparent(image, value)) for image in noisy if image.ndim == 3 for value in (0, 128)],
        )
    return results


def transparent(image: np.ndarray, value: int) -> np.ndarray:
    """Return an image with alpha, transparent outside a disc, with one colour there."""
    y, x = np.ogrid[: image.shape[0], : image.shape[1]]
    alpha = 255 * (np.hypot(y - image.shape[0] / 2, x - image.shape[1] / 2) < 0.46 * min(image.shape[:2]))
    colors = np.where(alpha[..., None] > 0, image, value)
    return np.concatenate([colors, alpha[..., None]], axis=2).astype(np.uint8)


# time --------------------------------------------------------------------------------------------------

SIZES = {"512 x 512": (512, 512, 5), "12 megapixels": (3000, 4000, 1)}
# Time of one call in a new process, and its peak memory above that of the imports and of the image.
TIMED = """
import resource, sys, time, warnings
import numpy as np, torch
sys.path.insert(0, {folder!r})
from real_noise import timed_image
from sk_denoise.restoration import denoise_image
warnings.simplefilter("ignore")
torch.set_num_threads(1)
small = timed_image((128, 128), {color!r}, {noise!r})
for sigma in (None, 20.0):
    denoise_image(small, sigma=sigma)
image = timed_image({shape!r}, {color!r}, {noise!r})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.perf_counter()
denoise_image(image, sigma={sigma!r})
taken = time.perf_counter() - start
print(taken, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def timed_image(shape: tuple[int, int], color: str, noise: str) -> np.ndarray:
    """Return a noisy image of any size: photos side by side."""
    tiles = [image for _, image in photos() if image.shape[:2] == (SIDE, SIDE)]
    rows, columns = (-(-side // SIDE) for side in shape)
    lines = [np.hstack([tiles[(r + c) % len(tiles)] for c in range(columns)]) for r in range(rows)]
    image = np.vstack(lines)[: shape[0], : shape[1]]
    clean = image if color == "colour" else as_gray(image)
    noisy = np.empty_like(clean)
    for top in range(0, shape[0], SIDE):
        part, rng = clean[top : top + SIDE], np.random.default_rng(top)
        noise_of = grain if noise == "camera" and color == "colour" else white
        noisy[top : top + SIDE] = noise_of(part, rng) if noise_of is grain else white(part, 20, rng)
    return noisy


def measure_time(options: argparse.Namespace) -> dict[str, Any]:
    """Measure seconds and peak memory of automatic denoising, against a given level."""
    results = {}
    for size, (height, width, repeats) in SIZES.items():
        if options.images is not None and size != "512 x 512":
            continue
        for color, noise in (("gray", "white"), ("colour", "white"), ("colour", "camera")):
            runs: dict[float | None, list[list[float]]] = {None: [], 20.0: []}
            for _ in range(repeats):
                for sigma, taken in runs.items():
                    code = TIMED.format(
                        folder=str(Path(__file__).parent),
                        color=color,
                        noise=noise,
                        shape=(height, width),
                        sigma=sigma,
                    )
                    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
                    printed = subprocess.run(
                        [sys.executable, "-c", code],
                        capture_output=True,
                        text=True,
                        check=True,
                        env=environment,
                    ).stdout
                    taken.append([float(number) for number in printed.split()[-2:]])
            seconds, memory = {}, {}
            for sigma, taken in runs.items():
                seconds[sigma], memory[sigma] = (median(column) for column in zip(*taken, strict=True))
            results[f"{size}, {color}, {noise} noise"] = row = {
                "automatic": seconds[None],
                "told": seconds[20.0],
                "memory": memory[None],
                "memory told": memory[20.0],
            }
            print(size, color, noise, row, flush=True)
    return results


# results -----------------------------------------------------------------------------------------------


def page_of(results: dict[str, Any]) -> str:
    """Return the result page."""
    lines = [
        "# Noise of cameras, JPEG and detectors",
        "",
        "`python benchmarks/real_noise.py`: `denoise_image(image)` alone, on photos that no network was "
        "trained on. The script's first lines describe the noise. PSNR in dB.",
    ]
    tables = {
        "cameras": cameras_table,
        "jpeg": jpeg_table,
        "unharmed": unharmed_table,
        "estimates": estimates_table,
        "time": time_table,
    }
    for section, table in tables.items():
        if section in results:
            lines += ["", *table(results[section])]
    return "\n".join(lines) + "\n"


def row_of(*cells: Any) -> str:
    """Return a row of a table."""
    return f"| {' | '.join(f'{cell:.2f}' if isinstance(cell, float) else str(cell) for cell in cells)} |"


def head_of(*titles: str) -> list[str]:
    """Return the first two lines of a table."""
    return [row_of(*titles), "|---" * len(titles) + "|"]


def kinds_of(kinds: dict[str, int]) -> str:
    """Return kinds and their numbers in words."""
    return ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items(), key=lambda item: -item[1]))


def cameras_table(results: dict[str, Any]) -> list[str]:
    """Return the lines about the noise of cameras."""
    lines = ["## Cameras", ""]
    lines += head_of(
        "noise",
        "noisy",
        "automatic",
        '`model="camera"`',
        "best level for all",
        "best of each image",
        "automatic - best for all",
        "automatic - best of each",
        "smallest gain over noisy",
        "kinds found",
        "BM3D, best of 5, 12, 20",
    )
    for kind, result in results.items():
        rows = result["rows"]
        mean = {
            key: float(np.mean([row[key] for row in rows]))
            for key in ("noisy", "automatic", "camera", "best")
        }
        one = int(np.argmax(result["one level"]))
        common = float(result["one level"][one])
        worst = min(rows, key=lambda row: row["automatic"] - row["noisy"])
        with_bm3d = [row for row in rows if "bm3d" in row]
        rival = ""
        if with_bm3d:
            means = {k: np.mean([row[k] for row in with_bm3d]) for k in ("bm3d", "automatic")}
            rival = f"{means['bm3d']:.2f} (automatic {means['automatic']:.2f}; {len(with_bm3d)} photos)"
        lines.append(
            row_of(
                kind,
                mean["noisy"],
                mean["automatic"],
                mean["camera"],
                f"{common:.2f} ({LEVELS[one]})",
                mean["best"],
                mean["automatic"] - common,
                mean["automatic"] - mean["best"],
                f"{worst['automatic'] - worst['noisy']:+.2f} ({worst['name']})",
                kinds_of(result["kinds"]),
                rival,
            )
        )
    return lines


def jpeg_table(results: dict[str, Any]) -> list[str]:
    """Return the lines about compressed white noise."""
    lines = ["## White noise, then JPEG", ""]
    lines += head_of(
        "chroma",
        "sigma",
        "quality",
        "noisy",
        "automatic",
        "best level for all",
        "best of each image",
        "automatic - best for all",
        "worst image - its best",
        "smallest gain over noisy",
        "kinds found",
    )
    for name, row in results.items():
        cells = (row["noisy"], row["automatic"], row["one level"], row["best"])
        difference = row["automatic"] - row["one level"]
        lines.append(
            row_of(*name.split(), *cells, difference, row["worst"], row["gain"], kinds_of(row["kinds"]))
        )
    return lines


def unharmed_table(results: dict[str, Any]) -> list[str]:
    """Return the lines about clean and noisy images."""
    clean = [row for row in results["rows"] if "noisy" not in row]
    noisy = [row for row in results["rows"] if "noisy" in row]
    changed = [row for row in clean if row["to input"] <= 45]
    below = [row for row in noisy if row["automatic"] < row["noisy"]]
    warned = sum(row["warnings"] > 0 for row in clean)
    to_input = [row["to input"] for row in clean]
    lines = ["## Clean and noisy images", ""]
    lines += [
        f"{len(clean)} clean images: PSNR of the output to the input {min(to_input):.1f} dB at least, "
        f"{np.median(to_input):.1f} dB in the median; {len(changed)} at 45 dB or below; {warned} with a "
        f"warning. {len(noisy)} noisy ones: {len(below)} below their input.",
        "",
        *head_of("clean image", "output to input", "kind found", "sigma", "warnings"),
    ]
    for row in sorted(clean, key=lambda row: row["to input"])[:12]:
        lines.append(row_of(row["name"], row["to input"], row["kind"], float(row["sigma"]), row["warnings"]))
    lines += ["", *head_of("noisy image", "noisy", "automatic", "gain", "kind found", "warnings")]
    for row in sorted(noisy, key=lambda row: row["automatic"] - row["noisy"]):
        gain = row["automatic"] - row["noisy"]
        lines.append(
            row_of(row["name"], row["noisy"], row["automatic"], f"{gain:+.2f}", row["kind"], row["warnings"])
        )
    return lines


def estimates_table(results: dict[str, Any]) -> list[str]:
    """Return the lines about estimates."""
    lines = ["## Estimates", ""]
    lines += [
        "Bias and spread (standard deviation over the photos) of the estimated sigma, relative to the true "
        "one (for clean images in grey levels), and of the gain.",
        "",
    ]
    lines += head_of("noise", "kinds found", "bias", "spread", "bias of gain", "spread of gain")
    for name, row in results.items():
        if name == "frames":
            continue
        form = "{:+.2f}" if row["absolute"] else "{:+.1%}"
        gains = [
            "" if row[key] is None else f"{row[key]:{sign}.1%}"
            for key, sign in (("gain bias", "+"), ("gain spread", ""))
        ]
        spread = form.format(row["spread"]).lstrip("+")
        lines.append(row_of(name, kinds_of(row["kinds"]), form.format(row["bias"]), spread, *gains))
    lines += ["", "Estimates beside plain areas, relative to the true sigma:", ""]
    lines += head_of(
        "plain area", "images", "within 15 %", "lowest", "highest", "within 15 % of that without the area"
    )
    for name, row in results.get("frames", {}).items():
        lines.append(
            row_of(
                name,
                row["n"],
                f"{row['within']:.0%}",
                row["low"],
                row["high"],
                f"{row['within of plain']:.0%}",
            )
        )
    return lines


def time_table(results: dict[str, Any]) -> list[str]:
    """Return the lines about seconds and memory."""
    lines = ["## Time and memory", "", "One thread; peak memory above that of the imports and the image.", ""]
    lines += head_of("image", "automatic, s", "sigma given, s", "ratio", "automatic, MB", "sigma given, MB")
    for name, row in results.items():
        ratio = row["automatic"] / row["told"]
        memory = (f"{row['memory']:.0f}", f"{row['memory told']:.0f}")
        lines.append(row_of(name, row["automatic"], row["told"], ratio, *memory))
    return lines


def main() -> None:
    """Measure, and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="*", choices=SECTIONS, default=SECTIONS)
    parser.add_argument("--images", type=int)
    parser.add_argument("--bm3d", type=int, default=6, help="photos for BM3D, which is slow")
    parser.add_argument("--worst", type=Path, help="folder for the worst images")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.bm3d_works = bool(options.bm3d) and "cameras" in options.only and has_bm3d()
    file = RESULTS / "real_noise.json"
    results = json.loads(file.read_text()) if file.exists() and options.images is None else {}
    measure = {
        "cameras": measure_cameras,
        "jpeg": measure_jpeg,
        "unharmed": measure_unharmed,
        "estimates": measure_estimates,
        "time": measure_time,
    }
    for section in options.only:
        results[section] = measure[section](options)
        if options.images is None:
            # Sections may run at the same time.
            kept = json.loads(file.read_text()) if file.exists() else {}
            kept[section] = results[section]
            file.write_text(json.dumps(kept, indent=1) + "\n")
            file.with_suffix(".md").write_text(page_of(kept))
    print(page_of(results))


if __name__ == "__main__":
    main()
