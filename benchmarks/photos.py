"""Compare denoisers of photos by the published protocol.

    SK_DENOISE_DATA=folder python benchmarks/photos.py [--methods gray bm3d ...] [--levels 15 25 50]
        [--only quality | seconds | strengths] [--images N]

The noise is white and Gaussian, with sigma 15, 25 and 50 of 255. Gray images are those of Set12, colour
images are the 24 photos of ``bsds500/test`` that are held out of training. Noise is drawn from
``RandomState(0)`` for each image and not clipped. Outputs are rounded to 8 bits. The PSNR (data range 1) is
the mean over the images. Seconds are those of one 512 x 512 image at sigma 25 on one thread, the median of
three; methods run alternately, and the ratio to BM3D is that of the medians of one run. Results are written
to ``benchmarks/results/photos.json`` and ``.md``, level by level, beside published numbers of other methods.
``--images`` takes the first images for a quick try and writes nothing. Run nothing else meanwhile if the
seconds matter. ``--only strengths`` measures the networks and BM3D under noise that is stronger than in
training (sigma above 55) and weaker than the error of the networks; there, outputs are not rounded to 8 bits,
and every fourth colour photo is used.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

RESULTS = Path(__file__).parent / "results"
DATA = Path(os.environ.get("SK_DENOISE_DATA", ""))
LEVELS = (15, 25, 50)
STRENGTHS = (0.25, 0.5, 1, 2, 5, 75, 100, 150)
NOISY = "noisy"
COMPARED = {"gray": (NOISY, "bm3d", "gray"), "rgb": (NOISY, "cbm3d", "rgb")}
# Of the image that is timed.
SIDE = 512
# On Set12, from the papers of the methods.
PUBLISHED = {
    "BM3D (published)": (32.37, 29.97, 26.72),
    "DnCNN-S, a network for each sigma (published)": (32.86, 30.44, 27.18),
    "FFDNet, one network (published)": (32.75, 30.43, 27.32),
    "DRUNet, 32.6M parameters (published)": (33.25, 30.94, 27.90),
}
# Seconds are compared with those of BM3D.
BM3D = {"gray": "bm3d", "rgb": "cbm3d"}

Denoise = Callable[[np.ndarray, float], np.ndarray]


# methods -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Method:
    """A method that takes an image in [0, 1] and its noise level.

    Attributes
    ----------
    title : str
        Name in the table.
    denoise : callable
        Function of a noisy image and sigma.
    color : {"gray", "rgb"}
        Images to denoise.
    """

    title: str
    denoise: Denoise
    color: str = "gray"


def by_network(known_sigma: bool = True, **options: Any) -> Denoise:
    """Return a function that denoises with pretrained weights."""

    def denoise(noisy: np.ndarray, sigma: float) -> np.ndarray:
        from sk_denoise.restoration import denoise_image

        return denoise_image(noisy.astype(np.float32), sigma=sigma if known_sigma else None, **options)

    return denoise


def by_filter(name: str, **parameters: Any) -> Denoise:
    """Return a function that denoises with a filter."""

    def denoise(noisy: np.ndarray, sigma: float) -> np.ndarray:
        import sk_denoise

        return getattr(sk_denoise, name)(sigma, **parameters).fit_transform(noisy[None])[0]

    return denoise


METHODS = {
    "nlm": Method("non-local means (scikit-image)", by_filter("NonLocalMeansDenoiser", strength=0.8)),
    "tv": Method("total variation (scikit-image)", by_filter("TotalVariationDenoiser")),
    "wavelet": Method("wavelets (scikit-image)", by_filter("WaveletDenoiser")),
    "bm3d": Method("BM3D (package bm3d)", by_filter("BM3DDenoiser")),
    "gray": Method("sk_denoise, `denoise_image(sigma=...)`", by_network()),
    "blind": Method("sk_denoise, sigma estimated", by_network(known_sigma=False)),
    "float32": Method("sk_denoise, float32", by_network(precision="float32")),
    "ensemble": Method("sk_denoise, `ensemble=True`", by_network(ensemble=True)),
    "cbm3d": Method("BM3D for colours (package bm3d)", by_filter("BM3DDenoiser"), "rgb"),
    "channels": Method("sk_denoise, channel by channel", by_network(model="gray"), "rgb"),
    "rgb": Method('sk_denoise, `model="rgb"`', by_network(model="rgb"), "rgb"),
    "rgb_ensemble": Method(
        'sk_denoise, `model="rgb", ensemble=True`', by_network(model="rgb", ensemble=True), "rgb"
    ),
}


def works(name: str) -> bool:
    """Return whether the package or the weights of a method are installed."""
    method = METHODS[name]
    try:
        method.denoise(np.zeros((16, 16, 3) if method.color == "rgb" else (16, 16)), 0.1)
    except (ImportError, ValueError) as error:
        print(f"{name} is left out: {error}")
        return False
    return True


# images ------------------------------------------------------------------------------------------------


def set12() -> list[np.ndarray]:
    """Return the images of Set12, gray in [0, 1]."""
    return _read(sorted((DATA / "set12").glob("*.png")), 12, "gray")


def held_out(color: str = "rgb") -> list[np.ndarray]:
    """Return the photos in [0, 1] that ``pretraining/train.py`` does not train on."""
    return _read(sorted((DATA / "bsds500" / "test").glob("*.jpg"))[::8][:24], 24, color)


def _read(files: list[Path], wanted: int, color: str) -> list[np.ndarray]:
    from sk_denoise.io import read_image

    if len(files) != wanted:
        sys.exit("Images are missing: set SK_DENOISE_DATA to the folder that holds set12 and bsds500.")
    return [read_image(path, color=color) / 255 for path in files]


def noisy_of(clean: np.ndarray, level: float) -> np.ndarray:
    """Return an image under the noise of the protocol."""
    return clean + np.random.RandomState(0).normal(0, level / 255, clean.shape)


# measurements ------------------------------------------------------------------------------------------


def quality(denoise: Denoise, images: list[np.ndarray], level: int) -> float:
    """Return the mean PSNR in dB."""
    decibels = []
    for clean in images:
        output = np.clip(np.rint(255 * denoise(noisy_of(clean, level), level / 255)), 0, 255) / 255
        decibels.append(-10 * np.log10(np.mean((output - clean) ** 2)))
    return float(np.mean(decibels))


def quality_unrounded(name: str, images: list[np.ndarray], level: float) -> float:
    """Return the mean PSNR in dB of a method, or of the noisy images, without rounding."""
    decibels = []
    for clean in images:
        noisy = noisy_of(clean, level)
        output = noisy if name == NOISY else METHODS[name].denoise(noisy, level / 255)
        decibels.append(-10 * np.log10(np.mean((output.clip(0, 1) - clean) ** 2)))
    return float(np.mean(decibels))


def seconds(names: list[str], image: np.ndarray) -> dict[str, float]:
    """Return seconds of each method on one thread, for an image of 512 x 512."""
    import torch
    from threadpoolctl import threadpool_limits

    height, width = image.shape[:2]
    padding = ((0, SIDE - height), (0, SIDE - width), (0, 0))[: image.ndim]
    noisy = noisy_of(np.pad(image, padding, mode="symmetric"), 25)
    runs: dict[str, list[float]] = {name: [] for name in names}
    torch.set_num_threads(1)
    with threadpool_limits(1):
        for _ in range(3):
            for name in names:
                start = time.perf_counter()
                METHODS[name].denoise(noisy, 25 / 255)
                runs[name].append(time.perf_counter() - start)
    return {name: median(times) for name, times in runs.items()}


# results -----------------------------------------------------------------------------------------------


def table_of(results: dict[str, Any]) -> str:
    """Return the results as tables."""
    lines = [
        "# Photos",
        "",
        "`python benchmarks/photos.py`: white Gaussian noise, mean PSNR in dB; seconds for 512 x 512 pixels "
        "on one thread, and how many times as long BM3D takes in the same run (ratio of medians). The "
        "package bm3d is by Y. Mäkinen, L. Azzari and A. Foi (2020), after K. Dabov, A. Foi, V. Katkovnik "
        "and K. Egiazarian (2007).",
    ]
    for color, title in {"gray": "Set12", "rgb": "24 colour photos of BSDS500, held out of training"}.items():
        lines += ["", f"## {title}", "", "| | sigma 15 | 25 | 50 | seconds | BM3D's time |", "|---" * 6 + "|"]
        for name, method in METHODS.items():
            if name in results and method.color == color:
                lines.append(f"| {method.title} | {' | '.join(cells_of(results[name]))} |")
        if color == "gray":
            lines += [
                f"| {name} | {a:.2f} | {b:.2f} | {c:.2f} | | |" for name, (a, b, c) in PUBLISHED.items()
            ]
    for color, names in COMPARED.items():
        if f"{color} strengths" in results:
            lines += strengths_table(color, names, results[f"{color} strengths"])
    return "\n".join(lines) + "\n"


def strengths_table(color: str, names: tuple[str, ...], rows: dict[str, dict[str, float]]) -> list[str]:
    """Return the lines of a table of very weak and very strong noise."""
    images = "Set12" if color == "gray" else "6 of the colour photos"
    lines = ["", f"## Very weak and very strong noise on {images}", ""]
    lines += [
        f"| | sigma {' | '.join(f'{level:g}' for level in STRENGTHS)} |",
        "|---" * (1 + len(STRENGTHS)) + "|",
    ]
    for name in [name for name in names if name in rows]:
        title = METHODS[name].title if name in METHODS else name
        cells = [
            f"{rows[name][f'{level:g}']:.2f}" if f"{level:g}" in rows.get(name, {}) else ""
            for level in STRENGTHS
        ]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return lines


def cells_of(row: dict[str, float]) -> list[str]:
    """Return a row of a table, with empty cells for missing figures."""
    formats = {
        **{str(level): "{:.2f}" for level in LEVELS},
        "seconds": "{:.2f}",
        "bm3d_over_this": "x {:.0f}",
    }
    return [form.format(row[key]) if key in row else "" for key, form in formats.items()]


def main() -> None:
    """Measure methods, and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=list(METHODS))
    parser.add_argument("--levels", nargs="*", type=int, choices=LEVELS, default=list(LEVELS))
    parser.add_argument("--only", choices=["quality", "seconds", "strengths"])
    parser.add_argument("--images", type=int)
    options = parser.parse_args()
    file = RESULTS / "photos.json"
    results = json.loads(file.read_text()) if file.exists() and not options.images else {}

    def keep(name: str, **values: Any) -> None:
        print(name, values, flush=True)
        results[name] = results.get(name, {}) | values
        if not options.images:
            file.write_text(json.dumps(results, indent=1) + "\n")
            file.with_suffix(".md").write_text(table_of(results))

    if options.only == "strengths":
        for color, compared in COMPARED.items():
            images = (set12() if color == "gray" else held_out()[::4])[: options.images]
            for name in compared:
                if name in METHODS and (name not in options.methods or not works(name)):
                    continue
                for level in STRENGTHS:
                    kept = results.get(f"{color} strengths", {})
                    row = kept.get(name, {}) | {f"{level:g}": quality_unrounded(name, images, level)}
                    keep(f"{color} strengths", **{**kept, name: row})
        print(table_of(results))
        return
    for color, rival in BM3D.items():
        names = [name for name in options.methods if METHODS[name].color == color and works(name)]
        images = (set12 if color == "gray" else held_out)()[: options.images] if names else []
        for name in names if options.only != "seconds" else []:
            for level in options.levels:
                keep(name, **{str(level): quality(METHODS[name].denoise, images, level)})
        times = seconds(names, images[-1]) if names and options.only != "quality" else {}
        for name, taken in times.items():
            ratio = {"bm3d_over_this": times[rival] / taken} if rival in times and name != rival else {}
            keep(name, seconds=taken, **ratio)
    print(table_of(results))


if __name__ == "__main__":
    main()
