"""Denoise photon counts with read noise, with and without knowledge of the noise.

    SK_DENOISE_DATA=folder python benchmarks/counts.py [--methods automatic known ...] [--images N]

Images are the middle 256 x 256 pixels of 10 of the 24 photos of ``bsds500/test`` that are held out of
training, gray, and 4 synthetic images of fluorescent cells. They are scaled to a peak of 2 to 200 counts,
counts are drawn from a Poisson distribution, and Gaussian read noise of 0 to 20 counts is added, without
clipping. The PSNR has the peak as data range, and is the mean over the images. "automatic" fits gain and
read noise to the noisy image; "known" has the true ones; both use the same method. BM3D has the true ones
too, between the Anscombe transform and its exact unbiased inverse. "white" estimates one noise level.
Processor seconds are those of one image of a million pixels. Results are written to
``benchmarks/results/counts.json`` and ``.md``; ``--images N`` takes the first photos and cells for a quick
try and writes nothing. Results of methods that are left out stay on file.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from statistics import median

import numpy as np
import torch
from photos import held_out
from scipy.ndimage import gaussian_filter

from sk_denoise import BM3DDenoiser
from sk_denoise._signal_dependent import fit_signal_dependence
from sk_denoise.preprocessing import VarianceStabilizer
from sk_denoise.restoration import denoise_image
from sk_denoise.restoration._counts import denoise_counts

RESULTS = Path(__file__).parent / "results"
PEAKS, READ_NOISES = (2, 5, 10, 30, 100, 200), (0, 2, 5, 20)
SIDE, N_PHOTOS, N_CELLS = 256, 10, 4

HEAD = """\
# Photon counts

`python benchmarks/counts.py`: Poisson counts with Gaussian read noise; middle 256 x 256 pixels of 10 photos
held out of training, and 4 synthetic images of cells; mean PSNR in dB, the peak as data range. "automatic"
fits gain and read noise to the noisy image, "known" has the true ones, "white" estimates one level for the
whole image. "One scale" is the Anscombe transform, the network and the exact unbiased inverse alone.
Published figures of Noise2VST (Herbreteau and Unser, 2025) are left out: they belong to other images.
"""

Denoise = Callable[[np.ndarray, float], np.ndarray]


# images ------------------------------------------------------------------------------------------------


def photos() -> list[np.ndarray]:
    """Return the middle of held-out photos, in [0, 1]."""
    images = held_out("gray")[:N_PHOTOS]
    corners = [[(length - SIDE) // 2 for length in image.shape] for image in images]
    return [
        image[top : top + SIDE, left : left + SIDE]
        for image, (top, left) in zip(images, corners, strict=True)
    ]


def draw_cells(seed: int) -> np.ndarray:
    """Return a synthetic image of bright cells and filaments on a dim background, in [0, 1]."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    image = 0.03 + 1.6 * gaussian_filter(rng.normal(size=(SIDE, SIDE)), 40)
    for _ in range(12):
        row, column = rng.uniform(0, SIDE, 2)
        radius, brightness = rng.uniform(8, 24), rng.uniform(0.1, 0.9)
        distance = np.hypot((rows - row) * rng.uniform(0.7, 1.3), columns - column)
        body = 1 - 0.3 * np.clip(distance / radius, 0, 1)
        image = np.maximum(image, brightness * body / (1 + np.exp((distance - radius) / 1.5)))
    filaments = np.zeros((SIDE, SIDE))
    for _ in range(10):
        point, angle, bend = rng.uniform(0, SIDE, 2), rng.uniform(0, 2 * np.pi), rng.normal(0, 0.01)
        for _ in range(300):
            point = point + 0.7 * np.array([np.sin(angle), np.cos(angle)])
            angle += bend + rng.normal(0, 0.02)
            if (point >= 0).all() and (point < SIDE).all():
                filaments[tuple(point.astype(int))] = 1
    filaments = gaussian_filter(filaments, 1.0)
    return np.clip(image + 0.6 * filaments / filaments.max(), 0.005, 1)


# methods -----------------------------------------------------------------------------------------------


def by_network(image: np.ndarray, sigma: float) -> np.ndarray:
    """Denoise white noise by the pretrained network."""
    return denoise_image(image, sigma=sigma)


def automatic(counts: np.ndarray, read_noise: float) -> np.ndarray:
    """Denoise by the fitted noise."""
    noise = fit_signal_dependence(counts)
    return denoise_counts(counts, noise.gain, noise.read_noise, noise.offset, by_network)


def known(counts: np.ndarray, read_noise: float) -> np.ndarray:
    """Denoise by the true noise."""
    return denoise_counts(counts, 1.0, read_noise, 0.0, by_network)


def one_scale(counts: np.ndarray, read_noise: float) -> np.ndarray:
    """Denoise by the true noise, with the transform alone."""
    stabilizer = VarianceStabilizer(gain=1.0, read_noise=read_noise, offset=0.0).fit(counts[None])
    return stabilizer.inverse_transform(
        denoise_image(stabilizer.transform(counts[None])[0], sigma=1.0)[None]
    )[0]


def white(counts: np.ndarray, read_noise: float) -> np.ndarray:
    """Denoise by one estimated level."""
    return denoise_image(counts)


def bm3d(counts: np.ndarray, read_noise: float) -> np.ndarray:
    """Denoise by BM3D, with the transform and the true noise."""
    stabilizer = VarianceStabilizer(gain=1.0, read_noise=read_noise, offset=0.0).fit(counts[None])
    stabilized = stabilizer.transform(counts[None])
    black, white = float(stabilized.min()), float(stabilized.max())
    span = white - black
    denoised = BM3DDenoiser(1 / span).fit_transform((stabilized - black) / span)
    return stabilizer.inverse_transform(denoised * span + black)[0]


METHODS: dict[str, Denoise] = {
    "automatic": automatic,
    "known": known,
    "known, one scale": one_scale,
    "BM3D, known": bm3d,
    "white": white,
}


# measurements ------------------------------------------------------------------------------------------


def psnr(output: np.ndarray, clean: np.ndarray) -> float:
    """Return the PSNR of an output in [0, 1]."""
    return -10 * float(np.log10(np.mean((np.clip(output, 0, 1) - clean) ** 2)))


def measure(
    methods: list[str], groups: dict[str, list[np.ndarray]]
) -> dict[str, dict[str, dict[str, float]]]:
    """Return the mean PSNR by group, peak and read noise, and method."""
    results: dict[str, dict[str, dict[str, float]]] = {group: {} for group in groups}
    for (group, images), peak, read_noise in product(groups.items(), PEAKS, READ_NOISES):
        values: dict[str, list[float]] = {name: [] for name in methods}
        for number, clean in enumerate(images):
            rng = np.random.default_rng(number)
            counts = rng.poisson(peak * clean) + rng.normal(0, read_noise, clean.shape)
            for name in methods:
                values[name].append(psnr(METHODS[name](counts, read_noise) / peak, clean))
        row = {name: round(float(np.mean(decibels)), 2) for name, decibels in values.items()}
        results[group][f"{peak}, {read_noise}"] = row
        print(group, peak, read_noise, row, flush=True)
    return results


def seconds(peak: float) -> float:
    """Return the median processor seconds of the automatic method for a million pixels."""
    clean = np.tile(draw_cells(0), (4, 4))[:1000, :1000]
    counts = np.random.default_rng(0).poisson(peak * clean).astype(float)
    times = []
    for _ in range(3):
        start = time.process_time()
        automatic(counts, 0.0)
        times.append(time.process_time() - start)
    return round(median(times), 2)


def table(results: dict[str, dict[str, dict[str, float]]], times: dict[str, float]) -> str:
    """Return the results as Markdown."""
    lines = [HEAD]
    if any("BM3D, known" in row for rows in results.values() for row in rows.values()):
        lines.append("BM3D (package bm3d) stands between transform and inverse, with the true noise.\n")
    for group, rows in results.items():
        names = [name for name in METHODS if name in next(iter(rows.values()))]
        lines += [f"## {group.capitalize()}", "", f"| peak, read noise | {' | '.join(names)} |"]
        lines.append("|---" * (1 + len(names)) + "|")
        lines += [
            f"| {key} | {' | '.join(f'{row[name]:.2f}' for name in names)} |" for key, row in rows.items()
        ]
        gaps = [row["known"] - row["automatic"] for row in rows.values()]
        lines += [
            "",
            f"Automatic is at most {max(gaps):.2f} dB below known, {np.mean(gaps):.2f} on average.",
            "",
        ]
    timed = ", ".join(f"{value} at a peak of {peak}" for peak, value in times.items())
    lines.append(f"Automatic denoising of a million pixels takes, in seconds of one processor core, {timed}.")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--images", type=int)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    groups = {"photos": photos(), "cells": [draw_cells(seed) for seed in range(N_CELLS)]}
    groups = {group: images[: arguments.images] for group, images in groups.items()}
    results = measure(arguments.methods, groups)
    if arguments.images is not None:
        return
    file = RESULTS / "counts.json"
    stored = json.loads(file.read_text()) if file.exists() else {"psnr": {}, "seconds": {}}
    for group, rows in results.items():
        for key, row in rows.items():
            stored["psnr"].setdefault(group, {}).setdefault(key, {}).update(row)
    stored["seconds"] = {str(peak): seconds(peak) for peak in (2, 200)}
    file.write_text(json.dumps(stored, indent=1) + "\n")
    file.with_suffix(".md").write_text(table(stored["psnr"], stored["seconds"]))
    print(file.with_suffix(".md").read_text())


if __name__ == "__main__":
    main()
