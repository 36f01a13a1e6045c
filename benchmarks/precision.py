"""Compare bfloat16 and float32 on this processor, for ``precision="auto"``.

    OMP_NUM_THREADS=1 python benchmarks/precision.py

Training steps, forward and backward, and an image of 512 x 512 are computed alternately in both precisions.
Medians of the processor time and their ratio are written to ``benchmarks/results/precision.json``, one entry
per processor, and ``.md``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from statistics import median

import torch
from skimage import data
from torch import nn

from sk_denoise.networks.folded_unet import FoldedUNetNetwork
from sk_denoise.restoration import denoise_image
from sk_denoise.training import has_bfloat16_units

TABLE = Path(__file__).parent / "results" / "precision.md"
WARM, RUNS = 2, 15
PRECISIONS = ("float32", "bfloat16")


def step_of(network: nn.Module, *shape: int) -> Callable[[str], None]:
    """Return a function that makes a training step in a given precision."""
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    if len(shape) == 4:
        network, x = (side.to(memory_format=torch.channels_last) for side in (network, x))

    def step(precision: str) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            output = network(x)
        output.float().square().mean().backward()

    return step


def dense(*widths: int) -> nn.Module:
    """Return dense layers of these widths."""
    return nn.Sequential(*[nn.Sequential(nn.Linear(*pair), nn.ReLU()) for pair in pairwise(widths)])


def convolutions(*widths: int) -> nn.Module:
    """Return 3 x 3 convolutions of these widths."""
    layers = (nn.Conv2d(*pair, kernel_size=3, padding=1) for pair in pairwise(widths))
    return nn.Sequential(*[nn.Sequential(layer, nn.ReLU()) for layer in layers])


TASKS: dict[str, Callable[[str], object]] = {
    "dense 784-500-300-100-300-500-784, 256 rows": step_of(
        dense(784, 500, 300, 100, 300, 500, 784), 256, 784
    ),
    "15 convolutions of 64 channels, 32 x 1 x 28 x 28": step_of(
        convolutions(1, *[64] * 14, 1), 32, 1, 28, 28
    ),
    "folded_unet, 32 x 1 x 64 x 64": step_of(FoldedUNetNetwork().build(1, False), 32, 1, 64, 64),
    "denoise_image, 512 x 512 gray": lambda p: denoise_image(data.camera(), sigma=25, precision=p),
}


def measured(task: Callable[[str], object]) -> dict[str, float]:
    """Return the median seconds of a task in each precision."""
    seconds: dict[str, list[float]] = {precision: [] for precision in PRECISIONS}
    for run in range(WARM + RUNS):
        for precision in PRECISIONS:
            start = time.process_time()
            task(precision)
            if run >= WARM:
                seconds[precision].append(time.process_time() - start)
    return {precision: median(taken) for precision, taken in seconds.items()}


def name_of_processor() -> str:
    """Return the name and the units of the processor, as known to torch."""
    able = torch.cpu.get_capabilities()
    units = [name for name in ("amx_bf16", "avx512_bf16", "avx512_fp16", "bf16") if able.get(name)]
    takes = "bfloat16" if has_bfloat16_units(torch.device("cpu")) else "float32"
    name = able.get("cpu_name", able["architecture"])
    return f'{name} ({", ".join(units) or "no units"}); "auto" takes {takes}'


def table_of(results: dict[str, dict[str, dict[str, float]]]) -> str:
    """Return the results as a table for each processor."""
    lines = [
        "# Precision",
        "",
        "`OMP_NUM_THREADS=1 python benchmarks/precision.py`, torch of `constraints.txt`: milliseconds, "
        f"medians of {RUNS} runs in turns. A ratio above 1 means that bfloat16 is faster.",
    ]
    for processor, tasks in results.items():
        lines += ["", f"## {processor}", "", "| | float32 | bfloat16 | ratio |", "|---|---|---|---|"]
        for task, seconds in tasks.items():
            single, half = (seconds[precision] for precision in PRECISIONS)
            lines.append(f"| {task} | {1e3 * single:.1f} | {1e3 * half:.1f} | {single / half:.2f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure this processor, and write the table."""
    torch.set_num_threads(1)
    file = TABLE.with_suffix(".json")
    results = json.loads(file.read_text()) if file.exists() else {}
    results[name_of_processor()] = {name: measured(task) for name, task in TASKS.items()}
    file.write_text(json.dumps(results, indent=1) + "\n")
    TABLE.write_text(table_of(results))
    print(table_of(results))


if __name__ == "__main__":
    main()
