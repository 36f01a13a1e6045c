"""Measure time and memory of training from folders of photos.

    SK_DENOISE_DATA=folder python benchmarks/streaming.py [--repeats 3] [--sides folder memory ...]

The time is compared with that of the same patches in memory, and the memory is measured for many files. All
sides train the pooling autoencoder on 64 x 64 colour patches under Gaussian noise, each fit in its own
process; sides run alternately. The photos are those of ``bsds500/train`` in the folder. Seconds are those of
``fit_patches`` or ``fit`` alone; memory is the peak of the whole process, with Python and torch. Results are
written to ``benchmarks/results/streaming.json`` and ``.md``. Run nothing else meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

RESULTS = Path(__file__).parent / "results"
PATCH, PER_IMAGE, BATCH, EPOCHS, SIGMA = 64, 16, 32, 2, 25 / 255
# Number, height and width of the images of the photo tutorial.
MANY = 3559
LARGE = (1024, 1530)


def photos() -> list[Path]:
    """Return the photos to train on."""
    folder = Path(os.environ.get("SK_DENOISE_DATA", "")) / "bsds500" / "train"
    files = sorted(folder.glob("*.jpg"))
    if not files:
        sys.exit(f"No photos in {folder}: set SK_DENOISE_DATA to the folder that holds bsds500/train.")
    return files


def estimator(epochs: int = EPOCHS) -> Any:
    """Return the denoiser that all sides train."""
    from sk_denoise import DenoisingAutoencoder, GaussianNoiser, PoolingNetwork

    return DenoisingAutoencoder(
        PoolingNetwork((32, 64)),
        latent_dim=32,
        noise=GaussianNoiser(SIGMA),
        batch_size=BATCH,
        max_epochs=epochs,
        random_state=0,
    )


def streamed(images: Any, **options: Any) -> Callable[[], Any]:
    """Return a fit on patches that are drawn again in every epoch."""
    from sk_denoise.datasets import RandomPatches

    patches = RandomPatches(images, PATCH, **{"patches_per_image": PER_IMAGE, **options})
    return lambda: estimator().fit_patches(patches)


def from_folder(work: Path) -> Callable[[], Any]:
    """Stream the folder, with decoded photos in the cache."""
    from sk_denoise.datasets import ImageFolder

    return streamed(ImageFolder(photos()[0].parent))


def from_folder_uncached(work: Path) -> Callable[[], Any]:
    """Stream the folder, and decode every photo in every epoch."""
    from sk_denoise.datasets import ImageFolder

    return streamed(ImageFolder(photos()[0].parent, cache_bytes=0))


def from_list(work: Path) -> Callable[[], Any]:
    """Draw the same patches from decoded photos in memory."""
    from sk_denoise.io import read_image

    return streamed([read_image(path) for path in photos()])


def from_array(work: Path) -> Callable[[], Any]:
    """Fit as many patches as an epoch has, cut once and kept in memory."""
    from sk_denoise.datasets import extract_patches
    from sk_denoise.io import read_image

    images = [read_image(path) for path in photos()]
    patches = extract_patches(images, PATCH, n_per_image=PER_IMAGE, random_state=0)
    X = np.divide(patches, 255, dtype=np.float32)
    return lambda: estimator().fit(X)


def repeated(work: Path, files: list[Path], n: int) -> Path:
    """Return a folder of n files, made of repeated links."""
    folder = work / "repeated"
    folder.mkdir()
    for number in range(n):
        source = files[number % len(files)]
        os.link(source, folder / f"{number:05}{source.suffix}")
    return folder


def copies(work: Path) -> list[Path]:
    """Return copies of the photos in the working folder."""
    # Hard links need one file system.
    folder = work / "copies"
    folder.mkdir()
    for path in photos():
        (folder / path.name).write_bytes(path.read_bytes())
    return sorted(folder.iterdir())


def enlarged(work: Path, n: int = 40) -> list[Path]:
    """Return some photos as large as those of the tutorial."""
    from PIL import Image

    folder = work / "large"
    folder.mkdir()
    for path in photos()[:n]:
        with Image.open(path) as photo:
            photo.resize((LARGE[1], LARGE[0]), Image.Resampling.BICUBIC).save(folder / path.name, quality=90)
    return sorted(folder.iterdir())


def one_epoch(files: list[Path], work: Path, n: int) -> Callable[[], Any]:
    """Return a fit of one epoch over n files, with one patch of each."""
    from sk_denoise.datasets import ImageFolder, RandomPatches

    folder = ImageFolder(repeated(work, files, n))
    patches = RandomPatches(folder, PATCH, patches_per_image=1)
    return lambda: estimator(epochs=1).fit_patches(patches)


SIDES: dict[str, tuple[str, Callable[[Path], Callable[[], Any]]]] = {
    "folder": ("folder, cached", from_folder),
    "uncached": ("folder, decoded in every epoch", from_folder_uncached),
    "list": ("the same patches from decoded photos in memory", from_list),
    "array": ("as many patches, cut once, through `fit`", from_array),
    "few": ("one pass over 1000 files", lambda work: one_epoch(copies(work), work, 1000)),
    "many": (f"one pass over {MANY} files", lambda work: one_epoch(copies(work), work, MANY)),
    "more": ("one pass over 10000 files", lambda work: one_epoch(copies(work), work, 10_000)),
    "few large": (
        "one pass over 200 files of 1530 x 1024",
        lambda work: one_epoch(enlarged(work), work, 200),
    ),
    "many large": (
        f"one pass over {MANY} files of 1530 x 1024",
        lambda work: one_epoch(enlarged(work), work, MANY),
    ),
}
# These sides measure memory, which one run shows.
ONCE = {"few", "many", "more", "few large", "many large"}


def measure(side: str) -> dict[str, float]:
    """Train once, and return seconds and the peak memory."""
    with tempfile.TemporaryDirectory() as work:
        fit = SIDES[side][1](Path(work))
        start = time.perf_counter()
        dae = fit()
        seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": round(seconds, 2), "peak_mb": round(peak), "loss": dae.loss_curve_[-1]}


def table_of(runs: dict[str, list[dict[str, float]]]) -> str:
    """Return the results as a table."""
    lines = [
        "# Training from folders",
        "",
        "`python benchmarks/streaming.py`: the pooling autoencoder (32, 64 channels, code 32), patches of "
        f"{PATCH} x {PATCH} in colour, {PER_IMAGE} of each photo in an epoch, {EPOCHS} epochs, batches of "
        f"{BATCH}; medians. Times as long: beside the same patches from memory. Memory is that of the whole "
        "process.",
        "",
        "| | runs | seconds | times as long | peak memory, MB |",
        "|---|---|---|---|---|",
    ]
    beside = median(run["seconds"] for run in runs["list"]) if "list" in runs else float("nan")
    for side, (title, _) in SIDES.items():
        if side in runs:
            seconds = median(run["seconds"] for run in runs[side])
            ratio = "" if side in ONCE else f"{seconds / beside:.2f}"
            peak = max(run["peak_mb"] for run in runs[side])
            lines.append(f"| {title} | {len(runs[side])} | {seconds:.1f} | {ratio} | {peak:.0f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure the sides alternately, and write every run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=3, help="runs of each side (default: 3)")
    parser.add_argument("--sides", nargs="*", choices=SIDES, default=list(SIDES))
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(options.child)))
        return
    photos()
    file = RESULTS / "streaming.json"
    runs = json.loads(file.read_text()) if file.exists() else {}
    for side in options.sides:
        runs.pop(side, None)
    for turn in range(options.repeats):
        for side in options.sides:
            if turn and side in ONCE:
                continue
            command = [sys.executable, __file__, "--child", side]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(done.stderr)
            runs.setdefault(side, []).append(json.loads(done.stdout.splitlines()[-1]))
            file.write_text(json.dumps(runs, indent=1) + "\n")
            print(f"turn {turn + 1}: {side} {runs[side][-1]}", flush=True)
    table = table_of(runs)
    file.with_suffix(".md").write_text(table)
    print(table)


if __name__ == "__main__":
    main()
