"""Denoise an OME-TIFF that is larger than the memory of the process, by the command line.

    python benchmarks/stacks.py [--planes 300] [--side 1040] [--limit 600]

The stack has 16 bits and two channels. Its clean planes are beads that drift along the depth; the noise is
white and differs between the channels. ``sk-denoise denoise`` runs in a process of its own, and may hold no
more than the limit in MiB (RLIMIT_DATA, which counts Python and torch too). The result is read back by
tifffile and compared with planes that are denoised one by one. It takes ten minutes on one core. Results
are written to ``benchmarks/results/stacks.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

RESULTS = Path(__file__).parent / "results"
NOISE, PIXEL_SIZE, DEPTH = (120.0, 60.0), 0.108, 0.35
NAMES = ("nuclei", "actin")
N_COMPARED = 12
MIB = 2**20
# Reads the whole stack, as a script without streaming would.
READ_WHOLE = "import sys; from sk_denoise.io import read_stack; print(read_stack(sys.argv[1])[0].shape)"


@cache
def first_plane(side: int) -> np.ndarray:
    """Return beads over a smooth background, in counts of 12 bits."""
    rng = np.random.default_rng(5)
    rows, columns = np.mgrid[:side, :side].astype(np.float32)
    plane = 600 + 200 * np.sin(columns * (20 * np.pi / side)) * np.cos(rows / 70)
    for row, column, width in zip(*rng.uniform(0, side, (2, 60)), rng.uniform(3, 9, 60), strict=True):
        plane += 1500 * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * width**2))
    return plane


def clean_plane(depth: int, side: int) -> np.ndarray:
    """Return the plane of a depth: everything drifts by a pixel."""
    return np.roll(first_plane(side), depth, axis=1)


def noisy_planes(n_planes: int, side: int) -> Iterator[np.ndarray]:
    """Yield the planes of both channels, one depth after the other."""
    rng = np.random.default_rng(0)
    for index in range(n_planes):
        noise = rng.normal(0, NOISE[index % 2], (side, side))
        yield np.clip(np.rint(clean_plane(index // 2, side) + noise), 0, 65535).astype(np.uint16)


def write_source(path: Path, n_planes: int, side: int) -> None:
    """Write the stack with the metadata of a microscope."""
    size = {"PhysicalSizeX": PIXEL_SIZE, "PhysicalSizeY": PIXEL_SIZE, "PhysicalSizeZ": DEPTH}
    units = {f"{name}Unit": "µm" for name in size}
    metadata = {"axes": "ZCYX", "Channel": {"Name": list(NAMES)}, **size, **units}
    tifffile.imwrite(
        path,
        noisy_planes(n_planes, side),
        shape=(n_planes // 2, 2, side, side),
        dtype=np.uint16,
        ome=True,
        photometric="minisblack",
        metadata=metadata,
    )


def run_limited(command: list[str], limit: int) -> tuple[int, str, int]:
    """Run a command in limited memory, and return exit code, output and peak memory in MiB."""

    def set_limit() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (limit * MIB, limit * MIB))

    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=set_limit,
        env=environment,
    )
    assert process.stdout is not None
    output = process.stdout.read()
    # The peak of this child alone.
    _, status, usage = os.wait4(process.pid, 0)
    return os.waitstatus_to_exitcode(status), output, usage.ru_maxrss // 1024


def description(path: Path) -> dict[str, Any]:
    """Return axes, shape, type and OME metadata as tifffile reads them."""
    with tifffile.TiffFile(path) as tif:
        text = tif.ome_metadata or ""
        series = tif.series[0]
        return {
            "axes": series.axes,
            "shape": list(series.shape),
            "type": str(series.dtype),
            "sizes": re.findall(r'PhysicalSize[XYZ](?:Unit)?="[^"]*"', text),
            "channels": re.findall(r'<Channel[^>]*Name="([^"]*)"', text),
        }


def compare(source: Path, result: Path, n_planes: int, side: int) -> dict[str, Any]:
    """Compare planes with those that are denoised one by one, and with the clean ones."""
    from sk_denoise.io import open_stack
    from sk_denoise.restoration import denoise_image
    from sk_denoise.restoration._stacks import StackDenoiser

    with open_stack(source) as stack, open_stack(result) as output:
        denoiser = StackDenoiser(stack.axes, stack.shape, denoise_image, None, {})
        models = [arguments["noise"] for arguments in denoiser.estimate_levels(stack.__getitem__)]
        differences, before, after = 0, [], []
        # As many planes of each channel.
        depths = np.linspace(0, n_planes // 2 - 1, N_COMPARED // 2).astype(int)
        for index in np.concatenate([2 * depths, 2 * depths + 1]):
            alone = denoise_image(stack[index], noise=models[index % 2])
            differences += int((alone != output[index]).sum())
            clean = clean_plane(index // 2, side)
            before.append(np.sqrt(np.mean((stack[index] - clean) ** 2)))
            after.append(np.sqrt(np.mean((output[index] - clean) ** 2)))
    return {
        "different pixels": differences,
        "rms before": round(float(np.mean(before)), 1),
        "rms after": round(float(np.mean(after)), 1),
        **{f"noise of {name}, estimated": str(model) for name, model in zip(NAMES, models, strict=True)},
    }


def main() -> None:
    """Write the stack, denoise it in limited memory, and compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--planes", type=int, default=300, help="planes, an even number (default: 300)")
    parser.add_argument("--side", type=int, default=1040, help="side of a plane in pixels (default: 1040)")
    parser.add_argument("--limit", type=int, default=600, help="memory of the process in MiB (default: 600)")
    parser.add_argument("--folder", type=Path, help="folder for the stacks (default: a temporary one)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        source, result = Path(folder) / "noisy.ome.tif", Path(folder) / "denoised.ome.tif"
        write_source(source, options.planes, options.side)
        size = source.stat().st_size // MIB
        whole_code, whole_output, _ = run_limited(
            [sys.executable, "-c", READ_WHOLE, str(source)], options.limit
        )
        start = time.perf_counter()
        code, output, peak = run_limited(
            [sys.executable, "-m", "sk_denoise", "denoise", str(source), "-o", str(result)], options.limit
        )
        seconds = time.perf_counter() - start
        print(output)
        if code:
            sys.exit(f"sk-denoise ended with {code}.")
        before, after = description(source), description(result)
        comparison = compare(source, result, options.planes, options.side)
        line = next(line for line in output.splitlines() if " -> " in line).replace(f"{folder}/", "")
    whole = "fails" if whole_code else "works"
    reason = whole_output.strip().splitlines()[-1].replace(f"{folder}/", "")
    rows = {
        "size of the stack, MiB": size,
        "memory limit of the process, MiB": options.limit,
        "peak resident memory, MiB": peak,
        "seconds a plane": round(seconds / options.planes, 2),
        "the same description in both files": before == after,
        **comparison,
    }
    lines = [
        "# Stacks larger than memory",
        "",
        f"`python benchmarks/stacks.py`: an OME-TIFF of {options.planes} planes of {options.side} x "
        f"{options.side} pixels in 16 bits, two channels, denoised by `sk-denoise denoise noisy.ome.tif -o "
        f"denoised.ome.tif` on one thread, read back by tifffile. {N_COMPARED} planes are compared with "
        "`denoise_image(plane, noise=...)`. The root mean square (rms) error is in counts.",
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in rows.items()),
        "",
        "The command wrote:",
        "",
        "```text",
        line,
        "```",
        "",
        f"To read the whole stack into memory under the same limit {whole}: `{reason}`",
        "",
        "What tifffile reads from the result:",
        "",
        "```json",
        json.dumps(after, ensure_ascii=False, indent=1),
        "```",
    ]
    (RESULTS / "stacks.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
