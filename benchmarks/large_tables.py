"""Measure time and memory of tables with a million rows beside a bare torch loop.

    python benchmarks/large_tables.py [--quick]

Both sides train the same network for one epoch with fresh Gaussian noise, on the same float32 rows in
batches of 1024 with AdamW, and denoise all rows. Each side runs in a process of its own, after a short run to
warm up. Memory is the growth of the peak of the process beyond the data. ``--quick`` takes 50,000 rows. The
result is written to ``benchmarks/results/large_tables.md``. Run nothing else meanwhile.
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

import numpy as np
import torch

from sk_denoise import DenoisingAutoencoder, GaussianNoiser, WienerDenoiser

RESULTS = Path(__file__).parent / "results"
ROWS, QUICK_ROWS, COLUMNS, RANK, SIGMA, BATCH = 1_000_000, 50_000, 20, 5, 0.5, 1024
WARM_UP_ROWS = 2000
SIDES = ("sk_denoise", "bare torch loop", "WienerDenoiser")


def make_table(rows: int) -> np.ndarray:
    """Return correlated columns of unit deviation."""
    rng = np.random.default_rng(0)
    axes = rng.normal(size=(RANK, COLUMNS)).astype(np.float32)
    clean = rng.standard_normal((rows, RANK), dtype=np.float32) @ axes
    return clean / clean.std(axis=0)


def autoencoder() -> DenoisingAutoencoder:
    """Return the default estimator, for one epoch."""
    noise = GaussianNoiser(SIGMA)
    return DenoisingAutoencoder(noise=noise, batch_size=BATCH, max_epochs=1, random_state=0)


class BareLoop:
    """The network of the default estimator in a loop of torch."""

    def __init__(self) -> None:
        self.module = autoencoder().fit(make_table(WARM_UP_ROWS)[:64]).net_.module_

    def fit(self, clean: np.ndarray) -> BareLoop:
        """Train for one epoch."""
        rows = torch.from_numpy(clean)
        optimizer = torch.optim.AdamW(self.module.parameters(), lr=2e-3)
        self.module.train()
        for index in torch.randperm(len(rows)).split(BATCH):
            target = rows[index]
            noisy = target + SIGMA * torch.randn_like(target)
            loss = (self.module(noisy) - target).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        self.module.eval()
        return self

    def predict(self, noisy: np.ndarray) -> np.ndarray:
        """Denoise in chunks."""
        with torch.inference_mode():
            chunks = torch.from_numpy(noisy).split(2**14)
            return torch.cat([self.module(chunk) for chunk in chunks]).numpy()

    def score(self, clean: np.ndarray) -> float:
        """Return the PSNR of new noise, as a loop over chunks would."""
        errors = []
        for start in range(0, len(clean), 2**16):
            part = clean[start : start + 2**16]
            noisy = part + SIGMA * np.random.default_rng(0).standard_normal(part.shape, dtype=np.float32)
            errors.append(np.square(self.predict(noisy) - part).mean(axis=1))
        return float(np.mean(10 * np.log10(np.ptp(clean) ** 2 / np.concatenate(errors))))


def peak() -> int:
    """Return the peak memory of the process, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(side: str, rows: int) -> dict[str, Any]:
    """Return the seconds and the memory of one side."""
    makers = {
        "sk_denoise": autoencoder,
        "bare torch loop": BareLoop,
        "WienerDenoiser": lambda: WienerDenoiser(SIGMA),
    }
    warm = makers[side]().fit(make_table(WARM_UP_ROWS))
    warm.predict(make_table(WARM_UP_ROWS))
    clean = make_table(rows)
    noisy = clean + SIGMA * np.random.default_rng(1).standard_normal(clean.shape, dtype=np.float32)
    denoiser = makers[side]()
    result: dict[str, Any] = {"side": side}
    for step, call in {
        "fit": lambda: denoiser.fit(clean),
        "predict": lambda: denoiser.predict(noisy),
        "score": lambda: denoiser.score(clean),
    }.items():
        before, start = peak(), time.perf_counter()
        output = call()
        result[step] = time.perf_counter() - start
        result[f"{step} memory"] = max(0, peak() - before) / clean.nbytes
        if step == "predict":
            result["left"] = float(np.square(output - clean).mean() / SIGMA**2)
        del output
    return result


def main() -> None:
    """Run every side and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--side", choices=SIDES)
    arguments = parser.parse_args()
    rows = QUICK_ROWS if arguments.quick else ROWS
    if arguments.side:
        print(json.dumps(measure(arguments.side, rows)))
        return
    lines = []
    for side in SIDES:
        command = [sys.executable, __file__, "--side", side, *(["--quick"] if arguments.quick else [])]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        r = json.loads(output.splitlines()[-1])
        times = " | ".join(
            f"{r[step]:.1f} | {r[f'{step} memory']:.1f}" for step in ("fit", "predict", "score")
        )
        lines.append(f"| {side} | {times} | {r['left']:.3f} |")
        print(lines[-1], flush=True)
    text = (
        "# Tables with many rows\n\n"
        f"`python benchmarks/large_tables.py`: {rows:,} x {COLUMNS} float32 of rank {RANK}, noise {SIGMA}, "
        f"one epoch in batches of {BATCH}, {torch.get_num_threads()} thread. Memory is growth of the peak, "
        "in multiples of the data.\n\n"
        "| | fit, s | memory | predict, s | memory | score, s | memory | squared error left |\n"
        "|---|---|---|---|---|---|---|---|\n"
    )
    if not arguments.quick:
        (RESULTS / "large_tables.md").write_text(text + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
