"""Measure the time to build, the tasks, the memory and the bits of denoising a lazy image.

    python benchmarks/lazy_arrays.py [--side 10240]

The image is random noise that is made chunk by chunk. A small network of our own and the pretrained networks
denoise it. Each side runs in its own process; memory is the peak of the whole process, with Python and torch.
Results are written to ``benchmarks/results/lazy_arrays.md``.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np

from sk_denoise import DnCNNNetwork, GaussianNoiser, ImageDenoiser
from sk_denoise.datasets import load_images
from sk_denoise.restoration import NoiseModel, denoise_image

RESULTS = Path(__file__).parent / "results" / "lazy_arrays.md"
CHUNK, SIGMA = 1024, 0.1
SIDES = {
    "lazy": "dask array, reduced block by block",
    "memory": "the same image in memory",
    "nothing": "Python, torch and dask alone",
}


def make_image(side: int, chunk: int = CHUNK) -> Any:
    """Return a lazy image of noise around gray."""
    rng = da.random.default_rng(0)
    return rng.normal(0.5, SIGMA, (side, side), chunks=chunk).astype(np.float32)


def fit_network() -> ImageDenoiser:
    """Return a small denoiser for noise of known level."""
    photos = [photo[:64, :64] for photo in load_images("gray").train[:2]]
    return ImageDenoiser(
        DnCNNNetwork(2, width=4), noise=GaussianNoiser(SIGMA), sigma="map", max_epochs=1, random_state=0
    ).fit(photos)


def count_tasks(array: Any) -> int:
    """Return the number of tasks of a lazy array."""
    return len(dict(array.__dask_graph__()))


def measure(name: str, side: int) -> dict[str, Any]:
    """Denoise the image, and return seconds and megabytes."""
    network, image = fit_network(), make_image(side)
    start, result = time.perf_counter(), {}
    if name == "lazy":
        denoised = denoise_image(image, sigma=SIGMA, model=network)
        result["build"] = time.perf_counter() - start
        result["mean"] = float(denoised.mean().compute(scheduler="threads", num_workers=2))
    elif name == "memory":
        values = image.compute(scheduler="threads", num_workers=2)
        start = time.perf_counter()
        result["mean"] = float(
            denoise_image(values, sigma=SIGMA, model=network, precision="float32").mean(dtype=np.float64)
        )
    result["seconds"] = time.perf_counter() - start
    result["megabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    return result


def compare_bits() -> list[str]:
    """Return lines of a table: differences of lazy and computed results, by kind of noise."""
    image = make_image(1500, 500)
    values = image.compute()
    models: list[tuple[str, dict[str, Any]]] = [
        ("small network, sigma given", {"sigma": SIGMA, "model": fit_network()}),
        ("pretrained, white noise", {"noise": NoiseModel("white", SIGMA)}),
    ]
    lines = []
    for label, options in models:
        lazy = denoise_image(image, **options).compute()
        whole = denoise_image(values, precision="float32", **options)
        lines.append(f"| {label} | {np.count_nonzero(lazy != whole)} of {whole.size} |")
    return lines


def compare_tasks() -> list[str]:
    """Return lines of a table: tasks for each chunk of the image, by the side of the chunks."""
    network, lines = fit_network(), []
    for chunk in (256, 512, 1024, 2048):
        image = make_image(8192, chunk)
        own = count_tasks(image)
        start = time.perf_counter()
        denoised = denoise_image(image, sigma=SIGMA, model=network)
        seconds = time.perf_counter() - start
        overlap = image.map_overlap(lambda block: block, depth=64, boundary="none", dtype=image.dtype)
        tasks = [(count_tasks(array) - own) / image.npartitions for array in (denoised, overlap)]
        lines.append(
            f"| {chunk} | {image.npartitions} | {tasks[0]:.1f} | {tasks[1]:.1f} | {1000 * seconds:.0f} |"
        )
    return lines


def main() -> None:
    """Measure all sides and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--side", type=int, default=10240, help="rows and columns (default: 10240)")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(options.child, options.side)))
        return
    runs = {}
    for name in SIDES:
        command = [sys.executable, __file__, "--child", name, "--side", str(options.side)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(done.stderr)
        runs[name] = json.loads(done.stdout.splitlines()[-1])
        print(name, runs[name], flush=True)
    megapixels = options.side**2 / 1e6
    lines = [
        "# Lazy arrays",
        "",
        f"`python benchmarks/lazy_arrays.py --side {options.side}`: an image of {megapixels:.0f} megapixels, "
        f"{4 * megapixels:.0f} MB as float32, in chunks of {CHUNK} x {CHUNK}, a network of 2 layers, two "
        f"threads of dask {dask.__version__}. Memory is the peak of the whole process.",
        "",
        "| | seconds | peak memory, MB |",
        "|---|---|---|",
        *(f"| {SIDES[name]} | {run['seconds']:.0f} | {run['megabytes']:.0f} |" for name, run in runs.items()),
        "",
        f"The graph took {runs['lazy']['build']:.2f} s to build, and nothing was computed. The means of the "
        f"two results differ by {abs(runs['lazy']['mean'] - runs['memory']['mean']):.1g}.",
        "",
        "Different numbers of the lazy result and of the image in memory, 1500 x 1500 in chunks of 500:",
        "",
        "| | different numbers |",
        "|---|---|",
        *compare_bits(),
        "",
        "Tasks besides those of the source, for an image of 8192 x 8192:",
        "",
        "| side of a chunk | chunks | tasks a chunk | with `map_overlap` | ms to build |",
        "|---|---|---|---|---|",
        *compare_tasks(),
    ]
    RESULTS.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
