"""Denoise an OME-Zarr image of gigapixels, with one and two workers, and kill the run.

    python benchmarks/large_images.py [--gigapixels 2] [--model gray] [--only workers kills]

The image has 16 bits, chunks of 512 x 512 pixels and a smaller level. It is made chunk by chunk: waves of
several lengths with white noise. Each run is a process of its own; its workers are those of joblib.

- ``workers``: time with one and with two workers, of one thread each; the largest resident memory of a
  worker; and a random part of 64 megapixels, compared with the answer for the whole part (by a digest).
- ``kills``: the run with two workers, ended by ``kill -9`` of all its processes at 20 random moments: the
  seconds until a new start works again; the blocks that were marked and done again; and the digest of the
  end result, compared with that of a run without an interruption.

``--model small`` trains a small network in seconds, for a quick run. Results are written to
``benchmarks/results/large_images.md`` and ``.json``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).parent / "results"
CHUNK, NOISE, N_KILLS = 512, 120.0, 20
COMPARED_SIDE = 8000
MIB = 2**20
PARTS = ("workers", "kills")


def clean_rows(first: int, last: int, side: int) -> np.ndarray:
    """Return some rows of the clean image: waves of several lengths, in counts of 12 bits."""
    rows = np.arange(first, last, dtype=np.float32)[:, None]
    columns = np.arange(side, dtype=np.float32)[None]
    waves = 500 * np.sin(columns / 37) * np.cos(rows / 23) + 300 * np.sin((rows + 2 * columns) / 211)
    return 1500 + waves + 200 * np.sign(np.sin(rows / 91) * np.sin(columns / 67))


def write_source(path: Path, side: int) -> None:
    """Write the noisy image chunk by chunk, and a level of every second pixel."""
    import zarr

    group = zarr.open_group(path, mode="w")
    sizes = (side, side // 2)
    arrays = [
        group.create_array(str(i), shape=(n, n), chunks=(CHUNK, CHUNK), dtype="uint16")
        for i, n in enumerate(sizes)
    ]
    datasets = [
        {"path": str(i), "coordinateTransformations": [{"type": "scale", "scale": [2.0**i, 2.0**i]}]}
        for i in range(2)
    ]
    axes = [{"name": name, "type": "space"} for name in "yx"]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    for first in range(0, side, CHUNK):
        last = min(first + CHUNK, side)
        noise = np.random.default_rng(first).normal(0, NOISE, (last - first, side)).astype(np.float32)
        noisy = np.rint(clean_rows(first, last, side) + noise).clip(0, 65535).astype(np.uint16)
        arrays[0][first:last] = noisy
        half = noisy[::2, ::2][:, : sizes[1]]
        arrays[1][first // 2 : min(first // 2 + len(half), sizes[1])] = half[: sizes[1] - first // 2]


def load_model(name: str, folder: Path) -> Any:
    """Return the name of a pretrained model, or a small network that is trained here."""
    if name != "small":
        return name
    from sk_denoise import FoldedUNetNetwork, GaussianNoiser, ImageDenoiser
    from sk_denoise.datasets import load_images
    from sk_denoise.persistence import load, save

    path = folder / "small.safetensors"
    if not path.exists():
        network = FoldedUNetNetwork((8, 16), blocks=(1, 1))
        model = ImageDenoiser(network, noise=GaussianNoiser((0.0, 0.2)), max_epochs=2, random_state=0)
        save(model.fit(load_images("gray").train[:20]), path)
    return load(path)


def run_once(options: argparse.Namespace) -> None:
    """Denoise the source in this process and its workers, and print a line for each block."""
    from sk_denoise.restoration import denoise_zarr

    def report(done: int, total: int) -> None:
        print(json.dumps({"done": done, "total": total, "time": time.time()}), flush=True)

    result = denoise_zarr(
        options.source,
        options.target,
        model=load_model(options.model, options.folder),
        n_jobs=options.jobs,
        block_pixels=options.block_pixels,
        callback=report,
    )
    print(json.dumps({"noise": str(result.noise[0]), "blocks": result.n_blocks}), flush=True)


class Run:
    """A run in processes of its own.

    Parameters
    ----------
    options : Namespace
        Options of the benchmark.
    source, target : Path
        Images.
    n_jobs : int
        Number of workers.
    """

    def __init__(self, options: argparse.Namespace, source: Path, target: Path, n_jobs: int) -> None:
        command = [sys.executable, __file__, "--source", str(source), "--target", str(target)]
        command += ["--jobs", str(n_jobs), "--model", options.model, "--folder", str(options.folder)]
        command += [] if options.block_pixels is None else ["--block-pixels", str(options.block_pixels)]
        # A worker has one thread, so that the runs with one and two of them compare.
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self.start = time.time()
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True
        )
        self.lines: list[dict[str, Any]] = []
        self.peaks: dict[int, int] = {}
        self._readers = [threading.Thread(target=work, daemon=True) for work in (self._read, self._watch)]
        for reader in self._readers:
            reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(json.loads(line))

    def _watch(self) -> None:
        """Note the largest memory of each process of the run."""
        while self.process.poll() is None:
            for number in self.processes():
                try:
                    status = Path(f"/proc/{number}/status").read_text()
                except OSError:
                    continue
                peak = [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")]
                self.peaks[number] = max([self.peaks.get(number, 0), *peak])
            time.sleep(0.2)

    def processes(self) -> Iterator[int]:
        """Yield the numbers of the processes of the session."""
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                try:
                    if os.getsid(int(folder.name)) == self.process.pid:
                        yield int(folder.name)
                except OSError:
                    continue

    def counts(self) -> list[dict[str, Any]]:
        """Return the lines about blocks."""
        return [line for line in self.lines if "done" in line]

    def kill(self) -> None:
        """End all processes at once."""
        for number in list(self.processes()):
            try:
                os.kill(number, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()

    def wait(self) -> float:
        """Wait for the end, and return the seconds from the first line to the last one."""
        if self.process.wait():
            sys.exit(f"the run ended with {self.process.returncode}.")
        for reader in self._readers:
            reader.join(5)
        counts = self.counts()
        return float(counts[-1]["time"] - counts[0]["time"])


def digest(path: Path) -> str:
    """Return a digest of all levels of an image."""
    import zarr

    result = hashlib.sha256()
    for name in ("0", "1"):
        array = zarr.open_array(path / name, mode="r")
        for first in range(0, array.shape[0], CHUNK):
            result.update(np.ascontiguousarray(array[first : first + CHUNK]).tobytes())
    return result.hexdigest()[:16]


def compare(source: Path, target: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Compare a random part with the answer of `denoise_image` for it and a wide border."""
    import zarr

    from sk_denoise.restoration import denoise_zarr
    from sk_denoise.restoration._part_denoiser import PartDenoiser

    noisy, denoised = (zarr.open_array(path / "0", mode="r") for path in (source, target))
    side = noisy.shape[0]
    length = min(COMPARED_SIDE, side)
    rng = np.random.default_rng(7)
    first, left = (int(rng.integers(side - length + 1)) for _ in range(2))
    kept = slice(first, first + length), slice(left, left + length)
    model = load_model(options.model, options.folder)
    # A complete target returns its noise, with the statistics of the whole image, at once.
    noise = denoise_zarr(source, target, model=model).noise[0]
    denoiser = PartDenoiser.measure([noisy[:8, :8]], noise=noise, model=model)
    # The part in one piece: its border is wider than the halo, and on another grid than the blocks.
    around = denoiser.window(kept, noisy.shape)
    inner = tuple(slice(k.start - a.start, k.stop - a.start) for k, a in zip(kept, around, strict=True))
    whole = denoiser.denoise(noisy[around], (inner[0], inner[1]))
    clean = clean_rows(first, first + length, side)[:, left : left + length]
    errors = [float(np.sqrt(np.mean((image - clean) ** 2))) for image in (noisy[kept], denoised[kept])]
    digests = [hashlib.sha256(image.tobytes()).hexdigest()[:16] for image in (whole, denoised[kept])]
    return {
        "megapixels compared": round(length**2 / 1e6, 1),
        "digest of the whole part": digests[0],
        "digest of its blocks": digests[1],
        "equal": digests[0] == digests[1],
        "rms before": round(errors[0], 1),
        "rms after": round(errors[1], 1),
    }


def measure_workers(options: argparse.Namespace, source: Path, folder: Path) -> dict[str, Any]:
    """Return times, memory, and the comparison with the whole image."""
    seconds, peaks, n_blocks = {}, {}, 0
    for n_jobs in (1, 2):
        target = folder / f"by_{n_jobs}.zarr"
        run = Run(options, source, target, n_jobs)
        seconds[n_jobs] = run.wait()
        n_blocks = run.counts()[-1]["total"]
        peaks[n_jobs] = max(run.peaks.values()) // 1024
        noise = run.lines[-1]["noise"]
    return {
        "blocks": n_blocks,
        "noise": noise,
        "seconds, one worker": round(seconds[1], 1),
        "seconds, two workers": round(seconds[2], 1),
        "speed-up": round(seconds[1] / seconds[2], 2),
        "largest memory of a worker, MiB": max(peaks.values()),
        "the same bits from one and two workers": digest(folder / "by_1.zarr")
        == digest(folder / "by_2.zarr"),
        **compare(source, folder / "by_2.zarr", options),
    }


def measure_kills(options: argparse.Namespace, source: Path, folder: Path) -> dict[str, Any]:
    """Return what the kills of a run cost."""
    target, whole = folder / "killed.zarr", folder / "by_2.zarr"
    if not whole.exists():
        Run(options, source, whole, 2).wait()
    rng = np.random.default_rng(0)
    starts, lost = [], []
    written = 0
    for number in range(options.kills + 1):
        run = Run(options, source, target, 2)
        while not run.counts() and run.process.poll() is None:
            time.sleep(0.01)
        if not run.counts():
            sys.exit("the run ended before its first line.")
        first = run.counts()[0]
        if number:
            starts.append(first["time"] - run.start)
            # Blocks that were reported and are missing now, and those that were written and not yet reported.
            lost.append(max(0, written - first["done"]))
        total = first["total"]
        if number == options.kills:
            run.wait()
            written = total
            break
        # A random moment of the next blocks.
        n_more = int(rng.integers(0, max(1, math.ceil(2 * total / options.kills))))
        limit = time.time() + 600
        while len(run.counts()) <= n_more and run.process.poll() is None and time.time() < limit:
            time.sleep(0.01)
        if run.process.poll() is not None:
            break
        time.sleep(float(rng.uniform(0, 1)))
        if run.process.poll() is not None:
            break
        # Each of the two workers loses the block that it is working on; a block with a marker is not lost.
        written = len([p for p in (target / ".sk_denoise" / "done").glob("*") if p.suffix != ".partial"])
        run.kill()
        print(f"kill {number + 1}: {written} blocks are marked", flush=True)
    return {
        "kills": len(starts),
        "blocks that were marked and done again": sum(lost),
        "seconds from the start to the first line of a resumed run, median": round(
            float(np.median(starts)), 1
        ),
        "the same, largest": round(max(starts), 1),
        "the same bits as without kills": digest(target) == digest(whole),
    }


def main() -> None:
    """Make the image, measure, and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gigapixels", type=float, default=2.0, help="size of the image (default: 2)")
    parser.add_argument("--model", default="gray", help='pretrained model, or "small" (default: gray)')
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="parts to run (default: all)")
    parser.add_argument("--folder", type=Path, help="folder for the images (default: a temporary one)")
    parser.add_argument("--block-pixels", type=int, help="pixels of a block (default: that of denoise_zarr)")
    parser.add_argument("--kills", type=int, default=N_KILLS, help=f"number of kills (default: {N_KILLS})")
    # Options of the runs that this script starts.
    for name in ("--source", "--target"):
        parser.add_argument(name, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--jobs", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.source is not None:
        run_once(options)
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = options.folder = Path(name)
        side = round(math.sqrt(options.gigapixels * 1e9))
        source = folder / "noisy.zarr"
        start = time.perf_counter()
        write_source(source, side)
        print(f"made {side} x {side} pixels in {time.perf_counter() - start:.0f} s", flush=True)
        load_model(options.model, folder)
        parts: dict[str, Callable[..., dict[str, Any]]] = {
            "workers": measure_workers,
            "kills": measure_kills,
        }
        path = RESULTS / "large_images.json"
        results = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        for part in options.only:
            measured = parts[part](options, source, folder)
            results[part] = {"image": f"{side} x {side} pixels", "model": options.model, **measured}
            print(part, json.dumps(results[part], indent=1), flush=True)
            write_results(results)


def write_results(results: dict[str, Any]) -> None:
    """Write the tables of the parts that were run."""
    (RESULTS / "large_images.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    titles = {"workers": "One and two workers", "kills": "Ended by kill -9"}
    lines = [
        "# Images larger than memory",
        "",
        "`python benchmarks/large_images.py`: an OME-Zarr image of 16 bits in chunks of 512 x 512 pixels "
        "with a second level, denoised block by block by `denoise_zarr` with the workers of joblib, of one "
        f"thread each. Its noise is white with a standard deviation of {NOISE:.0f} counts. A part is "
        "compared with the answer for the whole part at once. Memory is the largest resident set of a "
        "process, Python and torch included.",
    ]
    for part in (part for part in PARTS if part in results):
        rows = [f"| {name} | {value} |" for name, value in results[part].items()]
        lines += ["", f"## {titles[part]}", "", "| | |", "|---|---|", *rows]
    (RESULTS / "large_images.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
