"""Compare killed and resumed runs of ``sk-denoise train`` with whole runs.

    python benchmarks/resumed_training.py

A run in its own process is killed after the file of an epoch is written, and continued with ``--resume``. The
images are parts of photos and the network is small, so the benchmark takes minutes.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from sk_denoise.cli import main as sk_denoise
from sk_denoise.cli._training_run import Checkpointer
from sk_denoise.datasets import load_images
from sk_denoise.io import write_image

HERE = Path(__file__).parent
EPOCHS, BREAKS, SEEDS = 20, (None, 4, 7, 14, 18), (0, 1, 2)
OPTIONS = (
    "--color gray --noise gaussian:0.1 --network-option widths=16,24 --network-option blocks=1,1 "
    f"--patch-size 32 --epochs {EPOCHS} -q"
).split()


def main() -> None:
    """Print and write the table."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for part, images in load_images("gray").items():
            if part in ("train", "test"):
                write_all(folder / part, images)
        scores = {at: [quality(folder, at, seed) for seed in SEEDS] for at in BREAKS}
    text = as_table(scores)
    print(text)
    (HERE / "results" / "resumed_training.md").write_text(text)


def write_all(folder: Path, images: list[np.ndarray]) -> None:
    """Write parts of images to files."""
    folder.mkdir()
    for number, image in enumerate(images):
        part = image[:192, :256]
        write_image(folder / f"{number}.png", (255 * part).round().astype("uint8"))


def quality(folder: Path, at: int | None, seed: int) -> float:
    """Return the PSNR on test images after a run that was killed at an epoch."""
    model, results = folder / f"{at}_{seed}.safetensors", folder / "results.json"
    arguments = ["train", str(folder / "train"), "-o", str(model), "--seed", str(seed), *OPTIONS]
    if at is None:
        assert sk_denoise(arguments) == 0
    else:
        done = subprocess.run([sys.executable, __file__, str(at), *arguments], check=False)
        assert done.returncode == -signal.SIGKILL
        assert sk_denoise([*arguments, "--resume"]) == 0
    options = [str(model), str(folder / "test"), "--noise", "gaussian:0.1", "-o", str(results), "--overwrite"]
    assert sk_denoise(["evaluate", *options]) == 0
    return json.loads(results.read_text())["results"][0]["psnr"]


def killed(at: int, arguments: list[str]) -> None:
    """Train until the file of an epoch is written."""
    save = Checkpointer.save

    def save_and_end(self: Checkpointer, denoiser: object) -> None:
        save(self, denoiser)
        if self.n_saved == at:
            os.kill(os.getpid(), signal.SIGKILL)

    Checkpointer.save = save_and_end  # type: ignore[method-assign]
    sk_denoise(arguments)


def as_table(scores: dict[int | None, list[float]]) -> str:
    """Return the results as a page."""
    whole = np.mean(scores[None])
    lines = [
        "# Training that was killed and resumed",
        "",
        f"`python benchmarks/resumed_training.py`: {EPOCHS} epochs of `sk-denoise train --noise "
        "gaussian:0.1`, killed after an epoch and resumed; PSNR on five other photographs, mean "
        f"of {len(SEEDS)} seeds, which differ by {np.ptp(scores[None]):.2f} dB where nothing is killed.",
        "",
        "| killed after epoch | PSNR | beside a run that was left alone, by seed |",
        "|---|---|---|",
    ]
    for at, values in scores.items():
        apart = ", ".join(f"{v - w:+.2f}" for v, w in zip(values, scores[None], strict=True))
        beside = "" if at is None else f"{np.mean(values) - whole:+.2f} ({apart})"
        lines.append(f"| {at or 'never'} | {np.mean(values):.2f} dB | {beside} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        killed(int(sys.argv[1]), sys.argv[2:])
    else:
        main()
