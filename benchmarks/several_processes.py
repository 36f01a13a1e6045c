"""Compare training in one process, in two, and in rounds of joblib.

    python benchmarks/several_processes.py [--repeats 3]

Sides run alternately, each in fresh processes on this machine: one process with one thread and with two, and
two processes with one thread each. Seconds are those of an epoch, without the first one. Then one of two
processes is killed after an epoch, and the run resumes from the file of the epoch before. Last, two workers
of joblib average their weights every few steps. Run nothing else meanwhile; it takes minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

RESULTS = Path(__file__).parent / "results"
SIGMA, PATCH, BATCH, PER_IMAGE, EPOCHS, KILLED_AFTER = 25 / 255, 64, 32, 16, 4, 2
# Number of processes and of threads in each
ONE, THREADS, TWO = "one process, one thread", "one process, two threads", "two processes, one thread"
SIDES = {ONE: (1, 1), THREADS: (1, 2), TWO: (2, 1)}
# Samples of each worker between two averages: images of PER_IMAGE patches
ROUNDS = {"every 5 steps": 10, "every step": 2}


def photos(part: str) -> list[np.ndarray]:
    """Return grey photos."""
    from sk_denoise.datasets import load_images

    return getattr(load_images("gray"), part)


def estimator(**parameters: Any) -> Any:
    """Return the denoiser that all sides train."""
    from sk_denoise import FoldedUNetNetwork, GaussianNoiser, ImageDenoiser

    options = {"batch_size": BATCH, "patches_per_image": PER_IMAGE, "max_epochs": EPOCHS, "random_state": 0}
    small = FoldedUNetNetwork((16, 24), blocks=(1, 1))
    return ImageDenoiser(small, noise=GaussianNoiser(SIGMA), patch_size=PATCH, **{**options, **parameters})


def psnr(denoiser: Any) -> float:
    """Return the PSNR on noisy parts of test photos."""
    clean = [image[:128, :192] for image in photos("test")]
    noisy = [x + np.random.default_rng(i).normal(0, SIGMA, x.shape) for i, x in enumerate(clean)]
    errors = [np.mean((d - c) ** 2) for d, c in zip(denoiser.predict(noisy), clean, strict=True)]
    return float(np.mean(-10 * np.log10(errors)))


# Processes ------------------------------------------------------------------------------------------------


def train(folder: Path, kind: str) -> None:
    """Train in this process, and write figures; with "killed", lose the last process."""
    from skorch.callbacks import Callback

    from sk_denoise.persistence import load, save

    file, rank = folder / "epoch.safetensors", int(os.environ.get("RANK", "0"))

    class Kill(Callback):
        def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
            if kind == "killed" and len(net.history) == KILLED_AFTER + 1 and rank == 1:
                (folder / "killed").write_text(str(time.time()))
                os.kill(os.getpid(), signal.SIGKILL)

    def write(denoiser: Any, epoch: dict[str, Any]) -> None:
        save(denoiser.set_params(callbacks=None), file)

    # The file is that of the epoch before.
    denoiser = estimator(callbacks=[Kill(), write] if kind == "killed" else None)
    if kind == "resumed":
        denoiser = load(file).set_params(warm_start=True)
    try:
        denoiser.fit(photos("train"))
    except RuntimeError as error:
        words = f"{type(error).__name__}: {error}"
        (folder / "ended.json").write_text(json.dumps({"at": time.time(), "words": words}))
        raise SystemExit(1) from error
    if rank == 0:
        history = denoiser.net_.history
        seconds = median(epoch["dur"] for epoch in list(history)[1:])
        patches = PER_IMAGE * len(photos("train"))
        figures = {"speed": patches / seconds, "losses": denoiser.loss_curve_, "psnr": psnr(denoiser)}
        (folder / "figures.json").write_text(json.dumps(figures))


def launch(folder: Path, n: int, threads: int, kind: str) -> None:
    """Run a training in some processes, and wait for them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = []
    for rank in range(n):
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        if n > 1:
            launched = {"RANK": rank, "WORLD_SIZE": n, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
            environment |= {name: str(value) for name, value in launched.items()}
        command = [sys.executable, __file__, "--train", str(folder), kind]
        processes.append(subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL))
    for process in processes:
        process.wait()


def figures_of(folder: Path) -> dict[str, Any]:
    """Return the figures that a training wrote."""
    return json.loads((folder / "figures.json").read_text())


def train_in_rounds(samples: int, repeats: int) -> dict[str, Any]:
    """Train two workers of joblib on as many patches as the other sides see."""
    from sk_denoise.estimators import fit_in_rounds

    images = photos("train")
    rounds = max(1, round(EPOCHS * len(images) / (2 * samples)))
    speeds = []
    for _ in range(repeats):
        denoiser = estimator()
        start = time.perf_counter()
        fit_in_rounds(denoiser, images, samples=samples, rounds=rounds, n_workers=2, n_jobs=2)
        speeds.append((2 * rounds + 1) * samples * PER_IMAGE / (time.perf_counter() - start))
    return {"speed": speeds, "psnr": psnr(denoiser), "rounds": rounds}


# The page -------------------------------------------------------------------------------------------------


def main() -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--train", nargs=2)
    arguments = parser.parse_args()
    if arguments.train:
        train(Path(arguments.train[0]), arguments.train[1])
        return
    figures: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for _ in range(arguments.repeats):
            for side, (n, threads) in SIDES.items():
                launch(folder, n, threads, "whole")
                figures[side].append(figures_of(folder))
        launch(folder, 2, 1, "killed")
        ended = json.loads((folder / "ended.json").read_text())
        ended["seconds"] = ended["at"] - float((folder / "killed").read_text())
        launch(folder, 2, 1, "resumed")
        resumed = figures_of(folder)
    rounds = {name: train_in_rounds(samples, 1) for name, samples in ROUNDS.items()}
    results = {"sides": figures, "ended": ended, "resumed": resumed, "rounds": rounds}
    (RESULTS / "several_processes.json").write_text(json.dumps(results, indent=1) + "\n")
    text = as_page(results)
    print(text)
    (RESULTS / "several_processes.md").write_text(text)


def as_row(name: str, speed: float, base: float, quality: float) -> str:
    """Return a line of the table."""
    return f"| {name} | {speed:.0f} | {speed / base:.2f} | {quality:.2f} dB |"


def as_page(results: dict[str, Any]) -> str:
    """Return the results as a page."""
    sides, resumed = results["sides"], results["resumed"]
    speeds = {side: median(run["speed"] for run in runs) for side, runs in sides.items()}
    first, two = sides[ONE][0], sides[TWO][0]
    apart = max(abs(a / b - 1) for a, b in zip(two["losses"], first["losses"], strict=True))
    base = speeds[ONE]
    lines = [
        "# Training in several processes",
        "",
        f"`python benchmarks/several_processes.py`: folded U-Net (16, 24), {PATCH} x {PATCH} grey patches, "
        f"batches of {BATCH}, {EPOCHS} epochs, two cores of one machine; medians of "
        f"{len(next(iter(sides.values())))} runs, alternately.",
        "",
        "| | patches a second | ratio | PSNR |",
        "|---|---|---|---|",
    ]
    for side, runs in sides.items():
        lines.append(as_row(side, speeds[side], base, runs[0]["psnr"]))
    for name, run in results["rounds"].items():
        name = f"two workers, weights averaged {name}"
        lines.append(as_row(name, median(run["speed"]), base, run["psnr"]))
    ended = results["ended"]
    lines += [
        "",
        f"The loss curves of two processes and of one differ by {apart:.1e} of the loss at most. The speed "
        "of workers includes the start of their processes.",
        "",
        f"One of two processes was killed after epoch {KILLED_AFTER + 1}: the other ended after "
        f"{ended['seconds']:.1f} s with a `{ended['words'].partition(':')[0]}`. Resumed from the file of the "
        f"last whole epoch, the run reached {resumed['psnr']:.2f} dB after {len(resumed['losses'])} epochs.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
