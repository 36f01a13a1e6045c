"""Denoisers of photos by the published protocol: Set12, white Gaussian noise of sigma 15, 25 and 50 of 255.

    SK_DENOISE_DATA=folder python benchmarks/photos.py [--methods gray ensemble ...] [--levels 15 25 50]

Noise is drawn from ``RandomState(0)`` for each picture and not clipped; what a method gives is rounded to 8
bits; the PSNR (range 1) is the mean over the pictures. Seconds are those of one 512 x 512 picture at sigma
25 on one thread, the median of three. Results go to ``benchmarks/results/photos.json`` and ``.md``, beside
the published numbers of other methods. Run nothing else meanwhile if the seconds matter.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

RESULTS = Path(__file__).parent / "results"
LEVELS = (15, 25, 50)
# Set12 as published, see the papers of the methods
PUBLISHED = {
    "BM3D (published)": (32.37, 29.97, 26.72),
    "DnCNN-S, a network for each sigma (published)": (32.86, 30.44, 27.18),
    "FFDNet, one network (published)": (32.75, 30.43, 27.32),
    "DRUNet, 32.6M parameters (published)": (33.25, 30.94, 27.90),
}


def by_network(**options: Any) -> Callable[[np.ndarray, float], np.ndarray]:
    """Return what denoises with the weights in the box."""

    def denoise(noisy: np.ndarray, sigma: float) -> np.ndarray:
        from sk_denoise.restoration import denoise_image

        told = {"sigma": sigma} if options.get("told", True) else {}
        rest = {name: value for name, value in options.items() if name != "told"}
        return denoise_image(noisy.astype(np.float32), **told, **rest)

    return denoise


def by_nonlocal_means(noisy: np.ndarray, sigma: float) -> np.ndarray:
    """Non-local means of scikit-image."""
    from skimage.restoration import denoise_nl_means

    how = {"patch_size": 5, "patch_distance": 6, "h": 0.8 * sigma, "sigma": sigma, "fast_mode": True}
    return denoise_nl_means(noisy, **how)


METHODS: dict[str, tuple[str, Callable[[np.ndarray, float], np.ndarray]]] = {
    "nlm": ("non-local means (scikit-image)", by_nonlocal_means),
    "gray": ("sk_denoise, `denoise_image(sigma=...)`", by_network()),
    "blind": ("sk_denoise, sigma estimated", by_network(told=False)),
    "float32": ("sk_denoise, float32", by_network(precision="float32")),
    "ensemble": ("sk_denoise, `ensemble=True`", by_network(ensemble=True)),
}


def set12() -> list[np.ndarray]:
    """Return the pictures in [0, 1]."""
    from sk_denoise.io import read_image

    files = sorted((Path(os.environ.get("SK_DENOISE_DATA", "")) / "set12").glob("*.png"))
    if len(files) != 12:
        sys.exit("Set12 is missing: set SK_DENOISE_DATA to the folder that holds set12.")
    return [read_image(path, color="gray") / 255 for path in files]


def noisy_of(clean: np.ndarray, level: int) -> np.ndarray:
    """Return a picture under the noise of the protocol."""
    return clean + np.random.RandomState(0).normal(0, level / 255, clean.shape)


def quality(denoise: Callable[..., np.ndarray], pictures: list[np.ndarray], level: int) -> float:
    """Return the mean PSNR in dB."""
    decibels = []
    for clean in pictures:
        answer = np.clip(np.rint(255 * denoise(noisy_of(clean, level), level / 255)), 0, 255) / 255
        decibels.append(-10 * np.log10(np.mean((answer - clean) ** 2)))
    return float(np.mean(decibels))


def seconds(denoise: Callable[..., np.ndarray], picture: np.ndarray) -> float:
    """Return how long one 512 x 512 picture takes on one thread."""
    import torch
    from threadpoolctl import threadpool_limits

    noisy, runs = noisy_of(picture, 25), []
    torch.set_num_threads(1)
    with threadpool_limits(1):
        for _ in range(3):
            start = time.perf_counter()
            denoise(noisy, 25 / 255)
            runs.append(time.perf_counter() - start)
    return median(runs)


def table_of(results: dict[str, Any]) -> str:
    """Return the results as a table."""
    lines = [
        "# Photos",
        "",
        "`python benchmarks/photos.py`: Set12, white Gaussian noise, mean PSNR in dB; seconds for 512 x 512 "
        "pixels on one thread.",
        "",
        "| | sigma 15 | 25 | 50 | seconds |",
        "|---|---|---|---|---|",
    ]
    for name, (title, _) in METHODS.items():
        if name in results:
            row = results[name]
            values = [f"{row[str(level)]:.2f}" if str(level) in row else "" for level in LEVELS]
            lines.append(f"| {title} | {' | '.join(values)} | {row['seconds']:.2f} |")
    lines += [f"| {title} | {a:.2f} | {b:.2f} | {c:.2f} | |" for title, (a, b, c) in PUBLISHED.items()]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure methods, and put what they reach on file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=list(METHODS))
    parser.add_argument("--levels", nargs="*", type=int, choices=LEVELS, default=list(LEVELS))
    options = parser.parse_args()
    pictures = set12()
    large = next(picture for picture in pictures if picture.shape == (512, 512))
    file = RESULTS / "photos.json"
    results = json.loads(file.read_text()) if file.exists() else {}
    for name in options.methods:
        row = {str(level): quality(METHODS[name][1], pictures, level) for level in options.levels}
        results[name] = row | {"seconds": seconds(METHODS[name][1], large)}
        print(name, results[name], flush=True)
        file.write_text(json.dumps(results, indent=1) + "\n")
    file.with_suffix(".md").write_text(table_of(results))
    print(table_of(results))


if __name__ == "__main__":
    main()
