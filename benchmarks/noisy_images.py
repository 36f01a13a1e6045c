"""Compare learning from noisy images alone with learning from clean ones.

    SK_DENOISE_DATA=folder python benchmarks/noisy_images.py [--only photos new_kinds] [--seeds N] [--quick]

``photos``: ``ImageDenoiser`` with one network, a fixed number of steps and one noisy image of each of the 376
Berkeley photos that ``pretraining/data.py`` trains on, in gray. Noise is white and Gaussian with a sigma of
25 of 255, or that of counts with a peak of 30, drawn once. "supervised" learns from the pairs of noisy and
clean photos, the other rows from the noisy photos alone. The table has the mean PSNR on the middle 256 x 256
pixels of the images of Set12 with noise drawn from a fixed seed, not clipped.

``new_kinds``: the pretrained gray weights on images of two other kinds. "cells" are generated fluorescence
images and parts of scikit-image's ``cell`` and ``immunohistochemistry``, with counts; "pages" are generated
text and parts of ``page`` and ``text``, with white noise. 50 noisy images of 128 x 128 train, others of the
kind test. "as they come" are the weights before: the network with the level that it estimates or that it
gets, and ``denoise_image``, which recognizes counts.

A row that is in ``benchmarks/results/noisy_images.json`` is not measured again, so that a run can be stopped
and continued. Results are written as they come, to that file and to ``noisy_images.md``. One training of
"photos" takes 1 to 2 minutes of one core. ``--quick`` takes few steps and prints only.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter
from skimage import data as bundled

sys.path.insert(0, str(Path(__file__).parents[1] / "pretraining"))

import data

from sk_denoise import FoldedUNetNetwork, ImageDenoiser
from sk_denoise.io import read_image
from sk_denoise.restoration import NoiseModel, denoise_image, load_pretrained

RESULTS = Path(__file__).parent / "results"
SIDE = 256
SIGMA, PEAK = 25 / 255, 30
# 376 photos give 1,504 patches, or 94 batches of 16, in an epoch.
EPOCHS, PATCHES, BATCH = 16, 4, 16
NETWORK = FoldedUNetNetwork((16, 24), blocks=(1, 1))
NOISES = ("sigma 25", "peak 30")
OBJECTIVES = ("supervised", "neighbours", "recorrupt", "recorrupt, auto", "blind")
# Largest distance to "supervised" in dB
TARGETS = {"recorrupt": 0.3, "recorrupt, auto": 0.3, "neighbours": 0.5}
N_NEW, N_TEST, NEW_SIDE, NEW_EPOCHS = 50, 16, 128, 6
CELL_PEAK = 20
KINDS = ("cells", "pages")
BEFORE = ("noisy", "predict", "predict, auto", "denoise_image, auto", "denoise_image, known")
STARTS = ("recorrupt", "recorrupt, auto", "neighbours", "blind")
TEXT = """\
the noise of an image is part of the light that a sensor counts and so is no error of the person who took it
but a page of text has sharp black strokes on bright paper which photos of leaves and faces do not teach a
network to keep at 12 34 or 56789 points"""

Rng = np.random.Generator
Rows = dict[str, dict[str, float]]

HEAD = """\
# Learning from noisy images alone

`python benchmarks/noisy_images.py`: mean PSNR in dB, and minutes of a training on one of two cores that other
programs shared. Photos: Set12, 1,504 steps of 16 patches of 64 x 64, one noisy image of each photo,
`FoldedUNetNetwork((16, 24), blocks=(1, 1))`. New kinds: 6 epochs, 78 steps of 16 patches, from the pretrained
gray weights; cells have counts with a peak of 20, pages white noise with a sigma of 25. "predict" and
"denoise_image" are the weights as they come; "known" and rows without "auto" get the level.
"""


# images ------------------------------------------------------------------------------------------------


def photos() -> list[np.ndarray]:
    """Return the gray training photos, in [0, 1]."""
    files = data.berkeley_files()[0]
    return [read_image(path, color="gray").astype(np.float32) / 255 for path in files]


def set12() -> list[np.ndarray]:
    """Return the middle of the images of Set12, in [0, 1]."""
    files = sorted((data.data_folder() / "set12").glob("*.png"))
    return [middle(read_image(path, color="gray")).astype(np.float32) / 255 for path in files]


def middle(image: np.ndarray) -> np.ndarray:
    """Return the middle of an image."""
    top, left = ((side - SIDE) // 2 for side in image.shape)
    return image[top : top + SIDE, left : left + SIDE]


def corrupted(image: np.ndarray, noise: str, rng: Rng) -> np.ndarray:
    """Return an image with noise of a kind."""
    if noise == "sigma 25":
        return (image + rng.normal(0, SIGMA, image.shape)).astype(np.float32)
    peak = float(noise.removeprefix("peak "))
    return (rng.poisson(peak * image.astype(np.float64)) / peak).astype(np.float32)


def known(noise: str) -> Any:
    """Return the noise as users pass it."""
    if noise == "sigma 25":
        return SIGMA
    peak = float(noise.removeprefix("peak "))
    return NoiseModel("counts", sigma=(0.4 / peak) ** 0.5, gain=1 / peak)


def draw_cells(rng: Rng) -> np.ndarray:
    """Return a generated fluorescence image: bright nuclei, dimmer bodies, thin fibres, dark ground."""
    rows, columns = np.mgrid[:NEW_SIDE, :NEW_SIDE].astype(np.float64)
    image = np.full((NEW_SIDE, NEW_SIDE), rng.uniform(0.02, 0.06))
    for _ in range(rng.integers(4, 14)):
        y, x, angle = *rng.uniform(0, NEW_SIDE, 2), rng.uniform(0, np.pi)
        long, short = rng.uniform(9, 20), rng.uniform(6, 12)
        u = (rows - y) * np.cos(angle) + (columns - x) * np.sin(angle)
        v = (columns - x) * np.cos(angle) - (rows - y) * np.sin(angle)
        radius = np.hypot(u / long, v / short)
        texture = gaussian_filter(rng.normal(size=image.shape), 1.5)
        image += rng.uniform(0.08, 0.25) / (1 + np.exp((radius - 1) * 12)) * (1 + 1.5 * texture)
        image += rng.uniform(0.2, 0.5) / (1 + np.exp((radius - 0.45) * 25)) * (1 + texture)
        # A membrane
        image += rng.uniform(0, 0.2) * np.exp(-(((radius - 1) * short / 1.2) ** 2))
    for _ in range(rng.integers(3, 12)):
        points = np.cumsum(rng.normal(0, 0.25, 200)) + rng.uniform(0, 2 * np.pi)
        track = np.cumsum([np.sin(points), np.cos(points)], axis=1) + rng.uniform(0, NEW_SIDE, (2, 1))
        inside = track[:, ((track >= 0) & (track < NEW_SIDE)).all(axis=0)].astype(int)
        fibre = np.zeros_like(image)
        fibre[tuple(inside)] = 1
        image += rng.uniform(0.5, 1.2) * gaussian_filter(fibre, 0.8)
    return np.clip(gaussian_filter(image, 0.6), 0, 1).astype(np.float32)


def draw_page(rng: Rng) -> np.ndarray:
    """Return a generated part of a page: lines of text, a rule, uneven paper."""
    family = rng.choice(["DejaVu Sans", "DejaVu Serif", "DejaVu Sans Mono"])
    size = int(rng.integers(9, 18))
    font = ImageFont.truetype(font_manager.findfont(str(family)), size)
    canvas = Image.new("L", (2 * NEW_SIDE, 2 * NEW_SIDE), 255)
    pen = ImageDraw.Draw(canvas)
    for top in range(0, 2 * NEW_SIDE, round(size * rng.uniform(1.15, 1.6))):
        if rng.random() < 0.1:
            pen.line((0, top, 2 * NEW_SIDE, top), fill=0, width=1)
            continue
        pen.text((rng.integers(0, 12), top), " ".join(rng.choice(TEXT.split(), 12)), fill=0, font=font)
    turned = canvas.rotate(rng.normal(0, 2), Image.Resampling.BICUBIC, fillcolor=255)
    first = NEW_SIDE // 2
    ink = np.asarray(turned, np.float64)[first : first + NEW_SIDE, first : first + NEW_SIDE] / 255
    paper = rng.uniform(0.7, 0.95) + np.linspace(-0.1, 0.1, NEW_SIDE) * rng.normal(0, 0.5)
    dark = rng.uniform(0.05, 0.25)
    page = dark + (paper - dark) * gaussian_filter(ink, rng.uniform(0, 0.5))
    return page.clip(0, 1).astype(np.float32)


def bundled_parts(kind: str) -> list[np.ndarray]:
    """Return parts of images of scikit-image, in an order that mixes them."""
    if kind == "cells":
        stained = bundled.immunohistochemistry()
        images = [bundled.cell(), 255 - stained[..., 1]]
    else:
        images = [bundled.page(), bundled.text()]
    parts = []
    for image in images:
        height, width = (side // NEW_SIDE for side in image.shape)
        for row in range(height):
            for column in range(width):
                place = np.s_[
                    row * NEW_SIDE : (row + 1) * NEW_SIDE, column * NEW_SIDE : (column + 1) * NEW_SIDE
                ]
                parts.append(image[place].astype(np.float32) / 255)
    return [parts[index] for index in np.random.default_rng(5).permutation(len(parts))]


def new_kind(kind: str, seed: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return clean images of a kind, to train and to test on."""
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    draw = draw_cells if kind == "cells" else draw_page
    parts = bundled_parts(kind)
    n_test = min(N_TEST // 2, len(parts) // 3)
    n_parts = min(N_NEW // 3, len(parts) - n_test)
    train = [draw(rng) for _ in range(N_NEW - n_parts)] + parts[n_test : n_test + n_parts]
    return train, [draw(rng) for _ in range(N_TEST - n_test)] + parts[:n_test]


# measurements ------------------------------------------------------------------------------------------


def score(denoise: Callable[[np.ndarray], np.ndarray], clean: list[np.ndarray], noise: str) -> float:
    """Return the mean PSNR on corrupted test images."""
    values = []
    for number, image in enumerate(clean):
        noisy = corrupted(image, noise, np.random.default_rng(10_000 + number))
        values.append(-10 * np.log10(np.mean((denoise(noisy) - image) ** 2)))
    return float(np.mean(values))


def by_objective(name: str, noise: str) -> dict[str, Any]:
    """Return the parameters of an objective."""
    if name.startswith("recorrupt"):
        return {"objective": "recorrupt", "noise": "auto" if name.endswith("auto") else known(noise)}
    # The weights bring a range of noise levels of their own.
    return {"objective": name, "noise": "auto"}


def photo_rows(seeds: int, quick: bool) -> Iterator[tuple[str, Callable[[], dict[str, float]]]]:
    """Yield the rows of "photos": a name, and a function that measures the row."""
    clean, test = photos(), set12()
    if quick:
        clean, test = clean[:32], test[:2]

    def measure(noise: str, name: str, seed: int) -> dict[str, float]:
        noisy = [corrupted(x, noise, np.random.default_rng([seed, number])) for number, x in enumerate(clean)]
        denoiser = ImageDenoiser(
            NETWORK,
            patches_per_image=PATCHES,
            batch_size=BATCH,
            max_epochs=2 if quick else EPOCHS,
            device="cpu",
            random_state=seed,
        )
        start = time.perf_counter()
        if name == "supervised":
            denoiser.fit(noisy, X_clean=clean)
        else:
            denoiser.set_params(**by_objective(name, noise)).fit(noisy)
        minutes = (time.perf_counter() - start) / 60
        return {"psnr": score(lambda x: denoiser.predict(x[None])[0], test, noise), "minutes": minutes}

    for seed in range(seeds):
        for noise in NOISES:
            for name in OBJECTIVES:
                yield f"photos|{noise}|{name}|{seed}", lambda n=noise, m=name, s=seed: measure(n, m, s)


def new_kind_rows(seeds: int, quick: bool) -> Iterator[tuple[str, Callable[[], dict[str, float]]]]:
    """Yield the rows of "new_kinds": a name, and a function that measures the row."""

    def measure(kind: str, name: str, seed: int) -> dict[str, float]:
        noise = f"peak {CELL_PEAK}" if kind == "cells" else "sigma 25"
        train, test = new_kind(kind, seed)
        noisy = [corrupted(x, noise, np.random.default_rng([seed, number])) for number, x in enumerate(train)]
        denoiser = load_pretrained("gray", random_state=seed)
        start = time.perf_counter()
        if name == "noisy":
            return {"psnr": score(lambda x: x, test, noise), "minutes": 0.0}
        if name.startswith("denoise_image"):
            given = None if name.endswith("auto") else known(noise)
            options = {"sigma": given} if isinstance(given, float) else {"noise": given} if given else {}
            return {"psnr": score(lambda x: denoise_image(x, **options), test, noise), "minutes": 0.0}
        if name in STARTS:
            denoiser.set_params(
                **by_objective(name, noise),
                warm_start=True,
                max_epochs=2 if quick else NEW_EPOCHS,
                batch_size=BATCH,
                device="cpu",
            )
            denoiser.fit(noisy)
        minutes = (time.perf_counter() - start) / 60
        level = None if name.endswith("auto") else known(noise)

        def predict(x: np.ndarray) -> np.ndarray:
            is_map = isinstance(level, NoiseModel)
            sigma = float(np.sqrt(np.mean(level.level_map(x) ** 2))) if is_map else level
            return denoiser.predict(x[None], sigma=sigma)[0]

        return {"psnr": score(predict, test, noise), "minutes": minutes}

    for seed in range(seeds):
        for kind in KINDS:
            for name in (
                "noisy",
                "predict",
                "predict, auto",
                "denoise_image, auto",
                "denoise_image, known",
                *STARTS,
            ):
                yield f"new|{kind}|{name}|{seed}", lambda k=kind, m=name, s=seed: measure(k, m, s)


def table(rows: Rows) -> str:
    """Return the results as Markdown tables."""
    parts: dict[str, dict[str, list[dict[str, float]]]] = {}
    for key, row in rows.items():
        section, group, name, _ = key.split("|")
        parts.setdefault(f"{section}|{group}", {}).setdefault(name, []).append(row)
    lines = []
    for part, methods in parts.items():
        section, group = part.split("|")
        is_new = section == "new"
        reference = methods.get("denoise_image, known" if is_new else "supervised")
        base = None if reference is None else np.mean([row["psnr"] for row in reference])
        title = f"50 noisy {group}, from pretrained weights" if is_new else f"376 noisy photos, {group}"
        lines += [f"\n## {title}\n", "| | PSNR | difference | minutes | seeds |", "|---|---:|---:|---:|---:|"]
        for name, each in methods.items():
            mean = np.mean([row["psnr"] for row in each])
            difference = "" if base is None else f"{mean - base:+.2f}"
            if not is_new and name in TARGETS and base is not None:
                difference += f" (target -{TARGETS[name]})"
            minutes = np.mean([row["minutes"] for row in each])
            lines.append(f"| {name} | {mean:.2f} | {difference} | {minutes:.1f} | {len(each)} |")
    return "\n".join(lines)


SECTIONS = {"photos": photo_rows, "new_kinds": new_kind_rows}


def main() -> None:
    """Measure the rows that are not on file, and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--names", nargs="+", help="measure these rows alone, such as neighbours")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    file = RESULTS / "noisy_images.json"
    rows: Rows = {}
    for section in options.only:
        for key, measure in SECTIONS[section](1 if options.quick else options.seeds, options.quick):
            saved = json.loads(file.read_text()) if file.exists() and not options.quick else {}
            if key in saved or (options.names and key.split("|")[2] not in options.names):
                continue
            row = {name: round(value, 3) for name, value in measure().items()}
            print(key, row, flush=True)
            # Another run may have written meanwhile.
            saved = json.loads(file.read_text()) if file.exists() and not options.quick else {}
            rows = (rows if options.quick else saved) | {key: row}
            if not options.quick:
                file.write_text(json.dumps(rows, indent=0, sort_keys=True) + "\n")
                (RESULTS / "noisy_images.md").write_text(f"{HEAD}{table(ordered(rows))}\n")
    print(table(ordered(rows)))


def ordered(rows: Rows) -> Rows:
    """Return the rows in the order of the methods."""
    order = [*BEFORE, *OBJECTIVES]
    return dict(
        sorted(rows.items(), key=lambda row: (row[0].split("|")[:2], order.index(row[0].split("|")[2])))
    )


if __name__ == "__main__":
    main()
