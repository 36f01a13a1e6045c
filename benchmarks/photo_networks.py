"""Compare networks on real photos, each trained for the same processor time.

    SK_DENOISE_DATA=folder OMP_NUM_THREADS=1 python benchmarks/photo_networks.py
        [--minutes 2] [--only median ridnet ...]

The photos are those of ``bsds500`` in the folder, in colour: 200 of its train part and 176 of its test part
for training, and 8 of the 24 held-out ones (see ``pretraining/train.py``) for the test. The three noises, the
pooling network, and batches of 16 patches of 32 x 32 for all networks, are those of
``examples/photos/plot_4_comparison.py``. A patch of a photo with noise on a part is noisy as a whole, on a
part, or not at all, and the training patches are drawn in this way. A network is trained anew for each noise.
A short fit measures the time of an epoch, and the number of epochs fits into the minutes. These are minutes
of the processor, so other load does not matter. The loss is the squared error, learning rates are the
defaults of the estimators.

Each cell is written to ``benchmarks/results/photo_networks.json`` at once, and a stopped run continues from
there; cells of other ``--minutes`` are measured again. The table is written to ``.md``, and an image to
``.png``, which is kept out of the repository, because the licence of its photo does not allow publication.
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
    compare_restorers,
)
from sk_denoise.datasets import ImageFolder, RandomPatches, extract_patches, join_patches
from sk_denoise.restoration import denoise_image

Image = NDArray[Any]
Denoise = Callable[[Image], Image]

TABLE = Path(__file__).parent / "results" / "photo_networks.md"
# Denoised images for the figure, outside the repository.
OUTPUTS = Path(__file__).parent / "runs"
# Of the test photos, by name.
HELD_OUT = slice(None, 24 * 8, 8)
# The crop contains a corner of the noisy part.
N_TEST, SHOWN, CROP = 8, 7, (48, 80, 96, 96)
PATCH, BATCH, STEPS_PER_EPOCH = 32, 16, 4
# For a network that diverges at the default learning rate.
LOWER_LEARNING_RATE = 5e-4
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
    """Return training photos in bytes, and test photos in [0, 1]."""
    folder = Path(os.environ.get("SK_DENOISE_DATA", "")) / "bsds500"
    if not folder.is_dir():
        sys.exit("Photos are missing: set SK_DENOISE_DATA to the folder that holds bsds500.")
    train, test = (list(ImageFolder(folder / part)) for part in ("train", "test"))
    held_out = range(len(test))[HELD_OUT]
    tested = [(test[i] / 255).astype(np.float32) for i in held_out[:N_TEST]]
    return train + [photo for i, photo in enumerate(test) if i not in held_out], tested


def fit_network(name: str, noise: Any, epochs: int, rate: dict[str, float]) -> tuple[Any, float]:
    """Return a fitted network, and the processor time of the fit in seconds."""
    patches = RandomPatches(photos()[0], PATCH, patches_per_image=STEPS_PER_EPOCH, images_per_epoch=BATCH)
    common = {"noise": noise, "batch_size": BATCH, "max_epochs": epochs, "random_state": 0, **rate}
    start = time.process_time()
    if name == "pooling":
        network = DenoisingAutoencoder(PoolingNetwork((32,)), 48, **common).fit_patches(patches)
    else:
        network = ImageDenoiser(name, patch_size=PATCH, **common).fit(patches)
    return network, time.process_time() - start


def train_for_minutes(name: str, noise: Any, minutes: float, **rate: float) -> tuple[Denoise, dict[str, Any]]:
    """Return a function that denoises after some minutes of training, and its figures."""
    # The first fit in a process takes longer.
    fit_network(name, noise, 1, rate)
    first = fit_network(name, noise, 1, rate)[1]
    n_trial = 3 + int(0.05 * 60 * minutes / first)
    epoch = (fit_network(name, noise, n_trial, rate)[1] - first) / (n_trial - 1)
    epochs = max(1, round(1 + (60 * minutes - first) / epoch))
    try:
        network, took = fit_network(name, noise, epochs, rate)
    except TrainingDivergedError as error:
        if rate:
            raise
        print(
            f"{name} diverged and is trained with a learning rate of {LOWER_LEARNING_RATE}: {error}",
            flush=True,
        )
        return train_for_minutes(name, noise, minutes, learning_rate=LOWER_LEARNING_RATE)
    facts = {
        "minutes": minutes,
        "parameters": sum(weights.numel() for weights in network.net_.module_.parameters()),
        "steps": epochs * STEPS_PER_EPOCH,
        "patches": epochs * STEPS_PER_EPOCH * BATCH,
        "training": took,
        "loss": network.loss_curve_[-1],
        **rate,
    }
    return (by_patches if name == "pooling" else by_image)(network), facts


def by_patches(network: Any) -> Denoise:
    """Return a function that denoises an image cut into patches."""

    def denoise(x: Image) -> Image:
        pieces = network.predict(extract_patches([x], PATCH, stride=PATCH // 2))
        return join_patches(pieces, x.shape, stride=PATCH // 2)

    return denoise


def by_filter(estimator: Any) -> Denoise:
    """Return a function that denoises an image by a filter."""
    return lambda x: estimator.fit(x[None]).predict(x[None])[0]


def by_image(network: ImageDenoiser) -> Denoise:
    """Return a function that denoises a whole image, without tiles."""
    # The attention of RIDNet covers the whole image, so tiles would change its output.
    return lambda x: denoise_image(x, model=network, tile_size=None)


def create_denoiser(name: str, noise: Any, minutes: float) -> tuple[Denoise, dict[str, Any]]:
    """Return a function that denoises, and the figures of its training."""
    if name == "noisy":
        return np.copy, {}
    if name in FILTERS:
        return by_filter(FILTERS[name]), {}
    return train_for_minutes(name, noise, minutes)


def measure_cell(name: str, on: str, minutes: float) -> dict[str, Any]:
    """Return a cell of the table, and save the denoised photo for the figure."""
    denoise, facts = create_denoiser(name, ON_PATCHES[on], minutes)
    outputs, seconds = [], []

    def timed(x: Image) -> Image:
        start = time.process_time()
        outputs.append(denoise(x))
        seconds.append(time.process_time() - start)
        return outputs[-1]

    table = compare_restorers({"method": timed}, photos()[1], {on: NOISES[on]}, data_range=1)
    OUTPUTS.mkdir(exist_ok=True)
    np.save(output_file(name, on), outputs[SHOWN].astype(np.float16))
    scores = {metric: float(table[metric].iloc[-1]) for metric in ("psnr", "ssim")}
    return {**scores, "seconds": median(seconds), **facts}


def output_file(name: str, on: str) -> Path:
    """Return the file of the photo for the figure, denoised by a method."""
    return OUTPUTS / f"{name} {on}.npy"


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
    """Draw a part of one photo, denoised by each method that is complete on file."""
    from matplotlib import use

    use("agg")
    from sk_denoise.plots import ComparisonDisplay

    names = [name for name in METHODS if all(output_file(name, on).exists() for on in NOISES)]
    outputs = {on: {name: np.load(output_file(name, on)).astype(float) for name in names} for on in NOISES}
    display = ComparisonDisplay(photos()[1][SHOWN], outputs, data_range=1, limits=(0, 1), crop=CROP).plot()
    display.figure_.savefig(TABLE.with_suffix(".png"), dpi=100)


def main() -> None:
    """Measure the missing cells, and write the table and the image."""
    import torch

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=2, help="processor time per network and noise")
    parser.add_argument("--only", nargs="+", choices=METHODS, default=METHODS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    file = TABLE.with_suffix(".json")
    results = json.loads(file.read_text()) if file.exists() else {}
    for name in options.only:
        for on in NOISES:
            row = results.setdefault(name, {})
            # Filters have no minutes.
            minutes = row.get(on, {}).get("minutes", options.minutes)
            if on in row and minutes == options.minutes and output_file(name, on).exists():
                continue
            row[on] = measure_cell(name, on, options.minutes)
            file.write_text(json.dumps(results, indent=1) + "\n")
            print(name, on, row[on], flush=True)
    TABLE.write_text(table_of(results, options.minutes))
    draw()
    print(table_of(results, options.minutes))


if __name__ == "__main__":
    main()
