"""Enlarge, sharpen and clean compressed images: filters at their best parameters, and networks.

    SK_DENOISE_DATA=folder python benchmarks/restoration.py [--only enlarge | deblur | jpeg]
        [--enlarge MODEL] [--deblur MODEL] [--jpeg MODEL] [--images N]

Images are those of Set12, gray, and 24 photos of ``bsds500/test`` that are held out of training.

- enlarge: x2 and more by the protocol of the field. Images are cut to multiples of the factor, reduced by
  the bicubic kernel of MATLAB with antialiasing and rounded to 8 bits. Enlarged images are rounded to 8 bits;
  PSNR and SSIM are those of the luminance without a border of as many pixels as the factor.
- deblur: a Gaussian of sigma 1.6, then white noise of sigma 2 of 255, on Set12. The parameters of the filters
  are tuned on the images themselves, in their favour: one value for all images, and the best for each.
- jpeg: JPEG files of quality 10, 20 and 40 of Set12.

A MODEL is a pretrained name or a file of an ``ImageDenoiser``; without it, its row is left out. Results are
written to ``benchmarks/results/restoration.json`` and ``.md``. ``--images`` takes the first images for a
quick try and writes nothing. On one core the filters take 15 minutes.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from photos import RESULTS, held_out, set12
from scipy.ndimage import gaussian_filter
from torch.nn.functional import interpolate

from sk_denoise import BicubicEnlarger, RichardsonLucyDeconvolver, WienerDeconvolver
from sk_denoise.metrics import luminance, psnr, ssim

FACTORS = (2, 3, 4)
BLUR, NOISE = 1.6, 2 / 255
# Pixels on each side of the kernel: 25 x 25, as in the literature.
RADIUS = 12
QUALITIES = (10, 20, 40)
BALANCES = ("auto", *np.geomspace(1e-4, 1e-1, 13).round(6).tolist())
ITERATIONS = (5, 10, 20, 40, 60, 80, 120)
# Names of pretrained models that a row is made of where the package holds them.
MODELS = {"enlarge": "enlarge", "deblur": "deblur", "jpeg": "camera"}

Image = np.ndarray[Any, Any]
Method = Callable[[Image], Image]


def to_8_bits(image: Image) -> Image:
    """Return an image in [0, 1] as a file holds it."""
    return np.clip(np.rint(255 * image), 0, 255) / 255


def by_network(name: str, task: str) -> Method | None:
    """Return a pretrained or saved network as a function of an image, None if it is missing."""
    from sk_denoise.persistence import load
    from sk_denoise.restoration import load_pretrained

    try:
        model = load(name) if Path(name).is_file() else load_pretrained(name)
    except ValueError as error:
        print(f"{task}: the network is left out: {error}")
        return None

    def restore(image: Image) -> Image:
        image = image.astype(np.float32)
        try:
            return model.predict(image[None])[0]
        except ValueError:
            pass
        # A network of colours gets gray ones, and a gray network one colour after the other.
        if image.ndim == 2:
            return model.predict(np.stack([image] * 3, axis=-1)[None])[0].mean(axis=-1)
        return np.stack([model.predict(x[None])[0] for x in np.moveaxis(image, -1, 0)], axis=-1)

    return restore


# x2 to x4 ----------------------------------------------------------------------------------------------


def reduce(image: Image, factor: int) -> Image:
    """Return ``imresize(image, 1 / factor, "bicubic")`` of MATLAB."""
    margin = 2 * factor
    padded = np.pad(image, [(margin, margin)] * 2 + [(0, 0)] * (image.ndim - 2), mode="symmetric")
    planes = torch.from_numpy(np.atleast_3d(padded)).movedim(-1, 0)[None]
    sides = [side // factor for side in planes.shape[2:]]
    small = interpolate(planes, size=sides, mode="bicubic", antialias=True)[0, :, 2:-2, 2:-2]
    return small.movedim(0, -1).numpy().reshape(*small.shape[1:], *image.shape[2:])


def enlarge(images: list[Image], factor: int, method: Method) -> list[float]:
    """Return the mean PSNR and SSIM of enlarged images."""
    values = []
    for image in images:
        height, width = (side // factor * factor for side in image.shape[:2])
        clean = image[:height, :width]
        large = to_8_bits(method(to_8_bits(reduce(clean, factor))))
        sides = [luminance(x[None], data_range=1, border=factor) for x in (clean, large)]
        values.append([psnr(*sides, data_range=1), ssim(*sides, data_range=1)])
    return np.mean(values, axis=0).tolist()


def measure_enlargement(options: argparse.Namespace) -> dict[str, Any]:
    """Return PSNR and SSIM by method and factor."""
    network = by_network(options.enlarge, "enlarge")
    results: dict[str, Any] = {}
    for title, images in (("Set12", set12()), ("24 colour photos of BSDS500", held_out())):
        chosen = images[: options.images]
        for factor in FACTORS:
            methods = {
                "nearest": lambda x, f=factor: x.repeat(f, axis=0).repeat(f, axis=1),
                "bicubic": lambda x, f=factor: BicubicEnlarger(f).fit(x[None]).predict(x[None])[0],
            }
            if network is not None and factor == 2:
                methods["network"] = network
            for name, method in methods.items():
                results.setdefault(title, {}).setdefault(name, {})[str(factor)] = enlarge(
                    chosen, factor, method
                )
                print(title, factor, name, results[title][name][str(factor)], flush=True)
    return results


# Blur --------------------------------------------------------------------------------------------------


def measure_deblurring(options: argparse.Namespace) -> dict[str, Any]:
    """Return PSNR by filter and parameter, for one parameter for all images and the best for each."""
    images = set12()[: options.images]
    blurred = [
        gaussian_filter(x, BLUR, mode="reflect", radius=RADIUS)
        + np.random.default_rng(i).normal(0, NOISE, x.shape)
        for i, x in enumerate(images)
    ]

    def score(method: Method) -> list[float]:
        return [psnr(x[None], method(y)[None], data_range=1) for x, y in zip(images, blurred, strict=True)]

    results: dict[str, Any] = {"blurred": {"mean": float(np.mean(score(lambda y: y)))}}
    grids: dict[str, tuple[Any, tuple[Any, ...]]] = {
        "Wiener": (lambda value: WienerDeconvolver(BLUR, balance=value), BALANCES),
        "Richardson-Lucy": (lambda value: RichardsonLucyDeconvolver(BLUR, n_iter=value), ITERATIONS),
    }
    for name, (make, values) in grids.items():
        grid = {}
        for value in values:
            model = make(value)
            grid[str(value)] = score(lambda y, m=model: m.fit(y[None]).predict(y[None])[0])
            print(name, value, round(float(np.mean(grid[str(value)])), 3), flush=True)
        means = {value: float(np.mean(scores)) for value, scores in grid.items()}
        best = max(means, key=means.get)
        each = float(np.max(list(grid.values()), axis=0).mean())
        results[name] = {"best": best, "mean": means[best], "best for each": each, "grid": means}
    network = by_network(options.deblur, "deblur")
    if network is not None:
        results["network"] = {"mean": float(np.mean(score(network)))}
    return results


# JPEG --------------------------------------------------------------------------------------------------


def compress(image: Image, quality: int) -> Image:
    """Return a gray image as its JPEG file shows it."""
    from PIL import Image as Pillow

    file = io.BytesIO()
    Pillow.fromarray((255 * image).round().astype(np.uint8)).save(file, "JPEG", quality=quality)
    return np.asarray(Pillow.open(file)) / 255


def measure_jpeg(options: argparse.Namespace) -> dict[str, Any]:
    """Return PSNR and SSIM of files and of the network, by quality."""
    images = set12()[: options.images]
    methods: dict[str, Method] = {"file": lambda x: x}
    network = by_network(options.jpeg, "jpeg")
    if network is not None:
        methods[f"network {options.jpeg}"] = network
    results: dict[str, Any] = {name: {} for name in methods}
    for quality in QUALITIES:
        files = [compress(x, quality) for x in images]
        for name, method in methods.items():
            pairs = [(x[None], to_8_bits(method(y))[None]) for x, y in zip(images, files, strict=True)]
            values = [[measure(*pair, data_range=1) for measure in (psnr, ssim)] for pair in pairs]
            results[name][str(quality)] = np.mean(values, axis=0).tolist()
            print(quality, name, results[name][str(quality)], flush=True)
    return results


# Results -----------------------------------------------------------------------------------------------


def table_of(results: dict[str, Any]) -> str:
    """Return the results as tables."""
    lines = [
        "# Blur, resolution and compression",
        "",
        "Output of `benchmarks/restoration.py`: PSNR in dB, SSIM.",
    ]
    for title, methods in results.get("enlarge", {}).items():
        lines += [
            "",
            f"## Enlarged: {title}",
            "",
            "Luminance, without a border of as many pixels as the factor.",
            "",
            f"| | {' | '.join(f'x{factor}' for factor in FACTORS)} |",
            "|---" * (1 + len(FACTORS)) + "|",
        ]
        lines += [f"| {name} | {' | '.join(cells_of(row, FACTORS))} |" for name, row in methods.items()]
    if "deblur" in results:
        lines += [
            "",
            "## Blurred by sigma 1.6, noise of 2 of 255: Set12",
            "",
            "The parameters of the filters are the best for these images.",
            "",
            "| | one for all | PSNR | the best for each image |",
            "|---|---|---|---|",
        ]
        for name, row in results["deblur"].items():
            each = f"{row['best for each']:.2f}" if "best for each" in row else ""
            lines.append(f"| {name} | {row.get('best', '')} | {row['mean']:.2f} | {each} |")
            if "auto" in row.get("grid", {}):
                lines.append(f"| {name}, default | auto | {row['grid']['auto']:.2f} | |")
    if "jpeg" in results:
        lines += [
            "",
            "## JPEG files: Set12",
            "",
            f"| | {' | '.join(f'quality {quality}' for quality in QUALITIES)} |",
            "|---" * (1 + len(QUALITIES)) + "|",
        ]
        lines += [
            f"| {name} | {' | '.join(cells_of(row, QUALITIES))} |" for name, row in results["jpeg"].items()
        ]
    return "\n".join(lines) + "\n"


def cells_of(row: dict[str, list[float]], columns: tuple[int, ...]) -> list[str]:
    """Return PSNR and SSIM by column, with empty cells for missing ones."""
    return [
        f"{row[str(column)][0]:.2f}, {row[str(column)][1]:.4f}" if str(column) in row else ""
        for column in columns
    ]


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    tasks = {"enlarge": measure_enlargement, "deblur": measure_deblurring, "jpeg": measure_jpeg}
    parser.add_argument("--only", choices=tasks)
    for task, name in MODELS.items():
        parser.add_argument(f"--{task}", default=name, metavar="MODEL")
    parser.add_argument("--images", type=int)
    options = parser.parse_args()
    file = RESULTS / "restoration.json"
    results = json.loads(file.read_text()) if file.exists() and not options.images else {}
    for task, measure in tasks.items():
        if options.only in (None, task):
            results[task] = measure(options)
            if not options.images:
                file.write_text(json.dumps(results, indent=1) + "\n")
                file.with_suffix(".md").write_text(table_of(results))
    print(table_of(results))


if __name__ == "__main__":
    main()
