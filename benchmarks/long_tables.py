"""Measure time and memory of tables larger than memory beside a bare torch loop.

    python benchmarks/long_tables.py [--rows 10000000] [--repeats 1] [--sides ...]

The rows lie in memory maps (``.npy``) and in Parquet files, which are made in parts in a temporary folder and
deleted afterwards. Each side trains the network of the default estimator for one epoch with fresh Gaussian
noise, in batches of 1024 with AdamW, and writes predictions of noisy rows to an ``.npy`` file. The bare loop
draws random rows of the memory map in the order of a permutation, or reads row groups of the Parquet file in
a random order. Each run has a process of its own, and sides run alternately.

Memory is that of the whole process, with Python and torch, sampled every 10 ms: the peak of all resident
pages, of which the system can drop those of files, and of the process's own pages (``RssAnon``). Results are
added to ``benchmarks/results/long_tables.json`` and ``.md``. Run nothing else meanwhile.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

RESULTS = Path(__file__).parent / "results"
COLUMNS, RANK, SIGMA, BATCH, PART = 50, 10, 0.5, 1024, 100_000
# Row groups of the Parquet file that are mixed, and their rows
MIXED_GROUPS, GROUP_ROWS = 8, 20_000
# Rows that are predicted at once from Parquet files, and by the bare loop
CHUNK = 2**14
SIDES = {
    "array": "memory map, sk_denoise",
    "bare array": "memory map, bare torch loop",
    "parquet": "Parquet, sk_denoise",
    "bare parquet": "Parquet, bare torch loop",
}


def write_tables(folder: Path, rows: int) -> None:
    """Write clean and noisy rows as arrays and as Parquet files."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    axes = rng.normal(size=(RANK, COLUMNS)) / np.sqrt(RANK)
    axes = axes.astype(np.float32)
    names = [f"x{place}" for place in range(COLUMNS)]
    schema = pa.schema([(name, pa.float32()) for name in names])
    arrays, writers = {}, {}
    for side in ("clean", "noisy"):
        shape = rows, COLUMNS
        arrays[side] = np.lib.format.open_memmap(folder / f"{side}.npy", "w+", np.float32, shape)
        writers[side] = pq.ParquetWriter(folder / f"{side}.parquet", schema, compression="none")
    for start in range(0, rows, PART):
        n = min(PART, rows - start)
        clean = rng.standard_normal((n, RANK), dtype=np.float32) @ axes
        noisy = clean + SIGMA * rng.standard_normal(clean.shape, dtype=np.float32)
        for side, part in {"clean": clean, "noisy": noisy}.items():
            arrays[side][start : start + n] = part
            table = pa.table(dict(zip(names, part.T, strict=True)))
            writers[side].write_table(table, row_group_size=GROUP_ROWS)
    for writer in writers.values():
        writer.close()


def autoencoder() -> Any:
    """Return the default estimator, for one epoch."""
    from sk_denoise import DenoisingAutoencoder

    return DenoisingAutoencoder(noise=SIGMA, batch_size=BATCH, max_epochs=1, random_state=0)


def mixed_groups(folder: Path) -> Iterator[Any]:
    """Yield random row groups of the Parquet file, several at a time."""
    import pyarrow.parquet as pq

    file = pq.ParquetFile(folder / "clean.parquet")
    order = np.random.default_rng(0).permutation(file.num_row_groups)
    for groups in np.array_split(order, -(-len(order) // MIXED_GROUPS)):
        yield file.read_row_groups(groups.tolist())


def noisy_batches(folder: Path) -> Iterator[Any]:
    """Return the record batches of the noisy Parquet file."""
    import pyarrow.parquet as pq

    batches: Iterator[Any] = pq.ParquetFile(folder / "noisy.parquet").iter_batches(CHUNK)
    return batches


class BareLoop:
    """The network of the default estimator in a loop of torch."""

    def __init__(self, warm: np.ndarray) -> None:
        import torch

        self.module = autoencoder().set_params(batch_size=64).fit(warm[:64]).net_.module_
        self.optimizer = torch.optim.AdamW(self.module.parameters(), lr=2e-3)

    def train(self, rows: Any) -> None:
        """Train on rows in the order of a permutation."""
        import torch

        self.module.train()
        for index in torch.randperm(len(rows)).split(BATCH):
            target = torch.from_numpy(rows[index.numpy()])
            noisy = target + SIGMA * torch.randn_like(target)
            loss = (self.module(noisy) - target).square().mean()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        self.module.eval()

    def predict(self, parts: Iterable[np.ndarray], rows: int, path: Path) -> np.ndarray:
        """Denoise chunks into a memory map."""
        import torch

        output = np.lib.format.open_memmap(path, "w+", np.float32, (rows, COLUMNS))
        done = 0
        with torch.inference_mode():
            for part in parts:
                output[done : done + len(part)] = self.module(torch.from_numpy(np.array(part))).numpy()
                done += len(part)
        return output


def resident() -> dict[str, float]:
    """Return the resident pages of the process, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    values = dict(line.split(":", 1) for line in lines)
    return {name: int(values[name].split()[0]) / 1024 for name in ("VmRSS", "RssAnon")}


class PeakMemory:
    """Largest memory of the process while a block runs."""

    def __enter__(self) -> PeakMemory:
        self.peak, self.is_over = resident(), threading.Event()
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()
        return self

    def _watch(self) -> None:
        while not self.is_over.wait(0.01):
            self.peak = {name: max(self.peak[name], now) for name, now in resident().items()}

    def __exit__(self, *error: object) -> None:
        self.is_over.set()
        self.thread.join()


def steps_of(side: str, folder: Path) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Return the fit of a side, and its prediction."""
    from sk_denoise import predict_to_file

    clean, noisy = (np.load(folder / name, mmap_mode="r") for name in ("clean.npy", "noisy.npy"))
    warm = np.array(clean[:6000])
    path = folder / "denoised.npy"
    # The first fit and prediction of a process import what they need.
    predict_to_file(autoencoder().fit(warm), warm, path)
    if side == "array":
        dae = autoencoder()
        return lambda: dae.fit(clean), lambda: predict_to_file(dae, noisy, path)
    if side == "parquet":
        dae = autoencoder()
        fit = lambda: [dae.partial_fit(table) for table in mixed_groups(folder)]  # noqa: E731
        return fit, lambda: predict_to_file(dae, noisy_batches(folder), path)
    loop = BareLoop(warm)
    if side == "bare array":
        parts = (noisy[start : start + CHUNK] for start in range(0, len(noisy), CHUNK))
        return lambda: loop.train(clean), lambda: loop.predict(parts, len(noisy), path)
    fit = lambda: [loop.train(table.to_pandas().to_numpy()) for table in mixed_groups(folder)]  # noqa: E731
    parts = (batch.to_pandas().to_numpy() for batch in noisy_batches(folder))
    return fit, lambda: loop.predict(parts, len(noisy), path)


def measure(side: str, folder: Path) -> dict[str, Any]:
    """Return the seconds and the memory of one side, and the error that it leaves."""
    fit, predict = steps_of(side, folder)
    result: dict[str, Any] = {}
    for step, call in {"fit": fit, "predict": predict}.items():
        with PeakMemory() as memory:
            start = time.perf_counter()
            output = call()
            result[step] = round(time.perf_counter() - start, 2)
        result[f"{step} MB"] = round(memory.peak["VmRSS"])
        result[f"{step} own MB"] = round(memory.peak["RssAnon"])
    clean = np.load(folder / "clean.npy", mmap_mode="r")
    few = slice(None, None, max(1, len(clean) // 100_000))
    result["left"] = float(np.square(output[few] - clean[few]).mean() / SIGMA**2)
    return result


def table_of(record: dict[str, dict[str, list[dict[str, Any]]]]) -> str:
    """Return the results as a table."""
    lines = [
        "# Tables larger than memory",
        "",
        f"`python benchmarks/long_tables.py`: {COLUMNS} columns of float32, noise {SIGMA}, one epoch in "
        f"batches of {BATCH}, predictions to a file; medians, memory the largest. Times as long: beside the "
        "bare loop below. Memory is that of the whole process, MB: all resident pages, and its own without "
        "those of files.",
        "",
        "| rows | | runs | fit, s | times as long | all | own | predict, s | times as long | all | own "
        "| squared error left |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for rows, runs in sorted(record.items(), key=lambda entry: -int(entry[0])):
        for side, title in SIDES.items():
            if side not in runs:
                continue
            cells = []
            for step in ("fit", "predict"):
                seconds = median(run[step] for run in runs[side])
                bare = runs.get(f"bare {side}")
                ratio = f"{seconds / median(run[step] for run in bare):.2f}" if bare else ""
                memory = [max(run[f"{step} {kind}"] for run in runs[side]) for kind in ("MB", "own MB")]
                cells += [f"{seconds:.1f}", ratio, *(f"{value:.0f}" for value in memory)]
            left = median(run["left"] for run in runs[side])
            start = f"| {int(rows):,} | {title} | {len(runs[side])}"
            lines.append(f"{start} | {' | '.join(cells)} | {left:.3f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure the sides alternately, and write every run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--repeats", type=int, default=1, help="runs of each side (default: 1)")
    parser.add_argument("--sides", nargs="*", choices=SIDES, default=list(SIDES))
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(options.child[0], Path(options.child[1]))))
        return
    file = RESULTS / "long_tables.json"
    record = json.loads(file.read_text()) if file.exists() else {}
    runs = record.setdefault(str(options.rows), {})
    for side in options.sides:
        runs.pop(side, None)
    with tempfile.TemporaryDirectory() as folder:
        write_tables(Path(folder), options.rows)
        for _ in range(options.repeats):
            for side in options.sides:
                command = [sys.executable, __file__, "--child", side, folder]
                output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
                runs.setdefault(side, []).append(json.loads(output.splitlines()[-1]))
                print(side, runs[side][-1], flush=True)
                file.write_text(json.dumps(record, indent=1) + "\n")
                (RESULTS / "long_tables.md").write_text(table_of(record))


if __name__ == "__main__":
    main()
