"""The networks of the photo tutorial on real photos, each with the same processor time to learn in.

    SK_DENOISE_DATA=folder OMP_NUM_THREADS=1 python benchmarks/photo_networks.py
        [--minutes 2] [--only median ridnet ...]

Photos are those of ``bsds500`` in the folder, in colour: 200 of its train part and 176 of its test part to
learn from, and 8 of the 24 that are held out (see ``pretraining/train.py``) to be asked about. The three
noises, and the pooling network, are those of ``examples/photos/plot_4_comparison.py``; so are patches and
batches, for all networks: 16 patches of 32 x 32. A patch of a photo that is noisy on a part is noisy all
over, on a part, or not at all, and from such patches the networks learn. A network is trained anew for each
noise. A short fit tells how long an epoch takes, and the epochs are as many as fit into the minutes; these
are minutes of the processor, so a busy machine does not matter. The loss is the squared error, rates are the
estimators' own.

Each cell goes to ``benchmarks/results/photo_networks.json`` at once, and a run goes on where one was ended;
cells of other ``--minutes`` are made anew. The table goes to ``.md``, and to ``.png`` an image, which stays
out of the repository: the photo in it is not ours to publish.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_denoise import (
    DenoisingAutoencoder,
    GaussianNoiser,
    ImageDenoiser,
    MedianDenoiser,
    NoiserChoice,
    NonLocalMeansDenoiser,
    PixelNoiser,
    PoolingNetwork,
    RegionNoiser,
    TrainingDivergedError,
    compare_denoisers,
)
from sk_denoise.datasets import ImageFolder, RandomPatches, extract_patches, join_patches
from sk_denoise.restoration import denoise_image

Image = NDArray[Any]
Denoise = Callable[[Image], Image]

TABLE = Path(__file__).parent / "results" / "photo_networks.md"
ANSWERS = Path(__file__).parent / "runs"  # images, for the drawing; outside the repository
HELD_OUT = slice(None, 24 * 8, 8)  # of the test photos by name
N_TEST, SHOWN, CROP = 8, 7, (48, 80, 96, 96)  # a corner of the noisy part lies in what is enlarged
PATCH, BATCH, STEPS = 32, 16, 4  # steps in an epoch
LOWER_RATE = 5e-4  # for a network that diverges at its estimator's own
NOISES = {
    "on all of it": GaussianNoiser(0.2, random_state=0),
    "on a part": RegionNoiser(GaussianNoiser(0.4), size=(0.3, 0.6), random_state=0),
    "on pixels": PixelNoiser((0.1, 0.3), limits=(0, 1), random_state=0),
}
PART = GaussianNoiser(0.4)
ON_PATCHES = {
    **NOISES,
    "on a part": NoiserChoice([PART, RegionNoiser(PART, size=(0.3, 1.0)), GaussianNoiser(0)]),
}
FILTERS = {"median": MedianDenoiser(), "non-local means": NonLocalMeansDenoiser()}
NETWORKS = ("pooling", "folded_unet", "unet", "dncnn", "ridnet")
METHODS = ("noisy", *FILTERS, *NETWORKS)


@cache
def photos() -> tuple[list[Image], list[Image]]:
    """Return photos to learn from, in bytes, and photos to be asked about, in [0, 1]."""
    folder = Path(os.environ.get("SK_DENOISE_DATA", "")) / "bsds500"
    if not folder.is_dir():
        sys.exit("Photos are missing: set SK_DENOISE_DATA to the folder that holds bsds500.")
    train, test = (list(ImageFolder(folder / part)) for part in ("train", "test"))
    held_out = range(len(test))[HELD_OUT]
    asked = [(test[i] / 255).astype(np.float32) for i in held_out[:N_TEST]]
    return train + [photo for i, photo in enumerate(test) if i not in held_out], asked


def fitted(name: str, noise: Any, epochs: int, rate: dict[str, float]) -> tuple[Any, float]:
    """Return a network that has learned so long, and the seconds of the processor that it took."""
    patches = RandomPatches(photos()[0], PATCH, patches_per_image=STEPS, images_per_epoch=BATCH)
    common = {"noise": noise, "batch_size": BATCH, "max_epochs": epochs, "random_state": 0, **rate}
    start = time.process_time()
    if name == "pooling":
        network = DenoisingAutoencoder(PoolingNetwork((32,)), 48, **common).fit_patches(patches)
    else:
        network = ImageDenoiser(name, patch_size=PATCH, **common).fit(patches)
    return network, time.process_time() - start


def trained(name: str, noise: Any, minutes: float, **rate: float) -> tuple[Denoise, dict[str, Any]]:
    """Return what denoises after so many minutes of training, and how it came about."""
    fitted(name, noise, 1, rate)  # what is done once in a process
    first = fitted(name, noise, 1, rate)[1]
    few = 3 + int(0.05 * 60 * minutes / first)
    epoch = (fitted(name, noise, few, rate)[1] - first) / (few - 1)
    epochs = max(1, round(1 + (60 * minutes - first) / epoch))
    try:
        network, took = fitted(name, noise, epochs, rate)
    except TrainingDivergedError as error:
        if rate:
            raise
        print(f"{name} diverged and is trained with a rate of {LOWER_RATE}: {error}", flush=True)
        return trained(name, noise, minutes, learning_rate=LOWER_RATE)
    facts = {
        "minutes": minutes,
        "parameters": sum(weights.numel() for weights in network.net_.module_.parameters()),
        "steps": epochs * STEPS,
        "patches": epochs * STEPS * BATCH,
        "training": took,
        "loss": network.loss_curve_[-1],
        **rate,
    }
    return (by_patches if name == "pooling" else by_image)(network), facts


def by_patches(network: Any) -> Denoise:
    """Return what denoises an image cut into patches."""

    def denoise(x: Image) -> Image:
        pieces = network.predict(extract_patches([x], PATCH, stride=PATCH // 2))
        return join_patches(pieces, x.shape, stride=PATCH // 2)

    return denoise


def by_filter(estimator: Any) -> Denoise:
    """Return what denoises an image by a filter, which learns nothing but the layout."""
    return lambda x: estimator.fit(x[None]).predict(x[None])[0]


def by_image(network: ImageDenoiser) -> Denoise:
    """Return what denoises an image at once, without tiles, as the attention of RIDNet sees all of it."""
    return lambda x: denoise_image(x, model=network, tile_size=None)


def denoiser(name: str, noise: Any, minutes: float) -> tuple[Denoise, dict[str, Any]]:
    """Return a method, and what is known about its training."""
    if name == "noisy":
        return np.copy, {}
    if name in FILTERS:
        return by_filter(FILTERS[name]), {}
    return trained(name, noise, minutes)


def measured(name: str, on: str, minutes: float) -> dict[str, Any]:
    """Return a cell of the table; what became of the photo that is shown goes on file."""
    denoise, facts = denoiser(name, ON_PATCHES[on], minutes)
    answers, seconds = [], []

    def timed(x: Image) -> Image:
        start = time.process_time()
        answers.append(denoise(x))
        seconds.append(time.process_time() - start)
        return answers[-1]

    table = compare_denoisers({"method": timed}, photos()[1], {on: NOISES[on]}, data_range=1)
    ANSWERS.mkdir(exist_ok=True)
    np.save(answer_file(name, on), answers[SHOWN].astype(np.float16))
    scores = {metric: float(table[metric].iloc[-1]) for metric in ("psnr", "ssim")}
    return {**scores, "seconds": median(seconds), **facts}


def answer_file(name: str, on: str) -> Path:
    """Return where the photo that is shown lies, as a method left it."""
    return ANSWERS / f"{name} {on}.npy"


def table_of(results: dict[str, Any], minutes: float) -> str:
    """Return the results of so many minutes as a table."""
    lines = [
        "# Networks for photos",
        "",
        f"`python benchmarks/photo_networks.py --minutes {minutes:g}`: {N_TEST} held-out colour photos of "
        "BSDS500 under the noises of the tutorial, mean PSNR in dB and SSIM. Each network learned from 376 "
        f"others, anew for each noise, for {60 * minutes:g} seconds of one processor core: the steps that "
        f"fit in, of {BATCH} patches of {PATCH} x {PATCH}. Seconds, of the core too, are those of one photo "
        "of 481 x 321.",
        "",
        f"| | {' | '.join(NOISES)} | weights | steps | seconds |",
        f"|---|{'---|' * len(NOISES)}---|---|---|",
    ]
    for name in METHODS:
        cells = [results.get(name, {}).get(on, {}) for on in NOISES]
        cells = [cell if cell.get("minutes", minutes) == minutes else {} for cell in cells]
        if not any(cells):
            continue
        scores = [f"{cell['psnr']:.2f}, {cell['ssim']:.3f}" if cell else "" for cell in cells]
        done = [cell for cell in cells if "steps" in cell]
        weights = f"{done[0]['parameters']:,}" if done else ""
        steps = ", ".join(f"{cell['steps']:,}" for cell in done)
        seconds = f"{median(cell['seconds'] for cell in cells if cell):.2f}" if name != "noisy" else ""
        lines.append(f"| {name} | {' | '.join(scores)} | {weights} | {steps} | {seconds} |")
    return "\n".join(lines) + "\n"


def draw() -> None:
    """Draw a part of one photo as each method left it, where all methods are on file."""
    from matplotlib import use

    use("agg")
    from sk_denoise.plots import ComparisonDisplay

    names = [name for name in METHODS if all(answer_file(name, on).exists() for on in NOISES)]
    answers = {on: {name: np.load(answer_file(name, on)).astype(float) for name in names} for on in NOISES}
    display = ComparisonDisplay(photos()[1][SHOWN], answers, data_range=1, limits=(0, 1), crop=CROP).plot()
    display.figure_.savefig(TABLE.with_suffix(".png"), dpi=100)


def main() -> None:
    """Measure what is not on file yet, and make the table and the image."""
    import torch

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=2, help="of the processor, per network and noise")
    parser.add_argument("--only", nargs="+", choices=METHODS, default=METHODS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    file = TABLE.with_suffix(".json")
    results = json.loads(file.read_text()) if file.exists() else {}
    for name in options.only:
        for on in NOISES:
            row = results.setdefault(name, {})
            minutes = row.get(on, {}).get("minutes", options.minutes)  # filters have none
            if on in row and minutes == options.minutes and answer_file(name, on).exists():
                continue
            row[on] = measured(name, on, options.minutes)
            file.write_text(json.dumps(results, indent=1) + "\n")
            print(name, on, row[on], flush=True)
    TABLE.write_text(table_of(results, options.minutes))
    draw()
    print(table_of(results, options.minutes))


if __name__ == "__main__":
    main()
