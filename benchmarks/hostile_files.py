"""Measure time and memory of readers for a zoo of hostile image files, and read valid files of all kinds.

    python benchmarks/hostile_files.py [--quick] [--no-results]

The files come from ``tests/io/hostile.py`` and ``tests/io/valid.py``. Each reader meets each file in a
process of its own: `read_image` and `open_stack` with ``max_pixels`` of one megapixel, `ImageFolder` as in
training, the command ``sk-denoise denoise``, and the function by which the web app reads and denoises. A file
must be refused in words, in less than 2 seconds of the processor and with less than 300 MB beyond the start.
It needs Linux.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import pickle
import signal
import sys
import tempfile
import time
import warnings
from collections import defaultdict
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests" / "io"))

import hostile  # noqa: E402
import valid  # noqa: E402

from sk_denoise.app._processing import DenoisingRequest, denoise_stack_to_folder, denoise_to_folder  # noqa: E402
from sk_denoise.cli import main as run_command  # noqa: E402
from sk_denoise.datasets import ImageFolder  # noqa: E402
from sk_denoise.exceptions import UnreadableImageError  # noqa: E402
from sk_denoise.io import is_stack, open_stack, read_image  # noqa: E402

MAX_SECONDS, MAX_MEGABYTES, HANG = 2, 300, 30
LIMIT = hostile.MAX_PIXELS
# Only a stack has many planes, so one image of these is read.
STACKS_ALONE = ("TIFF: OME of 10^10 planes", "TIFF: shape of 10^9 planes")


# Readers: each returns the message of a refusal, or None ---------------------------------------------------


def by_library(path, folder):
    """Read an image."""
    return refusal(lambda: read_image(path, max_pixels=LIMIT))


def by_stack(path, folder):
    """Read all planes of a stack."""

    def read():
        with open_stack(path, max_pixels=LIMIT) as stack:
            for _ in stack:
                pass

    return refusal(read)


def by_training(path, folder):
    """Read an image of a training folder."""
    return refusal(lambda: ImageFolder(path.parent, max_pixels=LIMIT)[0])


def by_command(path, folder):
    """Denoise a file by the command line."""
    errors = io.StringIO()
    (folder / "out.tif").unlink(missing_ok=True)
    arguments = ["denoise", str(path), "-o", str(folder / "out.tif"), "--max-pixels", str(LIMIT)]
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        code = run_command(arguments)
    return errors.getvalue() if code else None


def by_app(path, folder):
    """Read and denoise a file as a job of the web app does."""

    def read():
        function = denoise_stack_to_folder if is_stack(path) else denoise_to_folder
        function(path, DenoisingRequest(), folder, lambda *_, **__: None, model=None, max_pixels=LIMIT)

    return refusal(read)


READERS = {
    "library": by_library,
    "stack": by_stack,
    "training": by_training,
    "command": by_command,
    "app": by_app,
}


def refusal(read):
    """Return the message of a refusal, None if the file is read."""
    try:
        read()
    except UnreadableImageError as error:
        return str(error)
    return None


# Measurement ---------------------------------------------------------------------------------------------


def megabytes(name):
    """Return a figure of the memory of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) // 1024


def measure(reader, path):
    """Return message, seconds and megabytes of a reader in a child process."""
    reading, writing = os.pipe()
    with tempfile.TemporaryDirectory() as folder:
        child = os.fork()
        if child == 0:
            # From here on the peak is that of the reader alone.
            Path("/proc/self/clear_refs").write_text("5")
            before, start = megabytes("VmRSS"), time.process_time()
            try:
                message = reader(path, Path(folder))
            except BaseException as error:
                message = f"WRONG {type(error).__name__}: {error}"
            result = message, time.process_time() - start, megabytes("VmHWM") - before
            os.write(writing, pickle.dumps(result)[:60_000])
            os._exit(0)
        os.close(writing)
        end = time.monotonic() + HANG
        while time.monotonic() < end and os.waitpid(child, os.WNOHANG) == (0, 0):
            time.sleep(0.005)
        with os.fdopen(reading, "rb") as stream:
            if time.monotonic() >= end:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
            data = stream.read()
    return pickle.loads(data) if data else ("WRONG: the process did not end, or died", float(HANG), 0)


def try_bombs(folder, quick):
    """Return rows of the table, and the failures."""
    rows, failures = [], []
    zoo = hostile.bombs()
    for name, (suffix, make) in list(zoo.items())[:: 8 if quick else 1]:
        (folder / "one").mkdir()
        path = folder / "one" / f"bomb{suffix}"
        path.write_bytes(make())
        cells = []
        for label, reader in READERS.items():
            message, seconds, memory = measure(reader, path)
            is_read = message is None and name in STACKS_ALONE
            is_right = is_read or (message is not None and "WRONG" not in message and "bomb" in message)
            if not is_right or seconds > MAX_SECONDS or memory > MAX_MEGABYTES:
                failures.append(f"{name}, {label}: {message!r:.150}, {seconds:.2f} s, {memory} MB")
            cells.append(f"{'read, ' if is_read else ''}{seconds:.2f} s, {memory} MB")
        rows.append(f"| {name} | {path.stat().st_size / 1000:.0f} | " + " | ".join(cells) + " |")
        print(rows[-1], flush=True)
        path.unlink()
        path.parent.rmdir()
    return rows, failures


def try_valid(folder, quick):
    """Return counts of valid files by format, and the failures."""
    counts, failures = defaultdict(int), []
    for name, suffix, data, expected in list(valid.valid_files())[:: 8 if quick else 1]:
        path = folder / f"valid{suffix}"
        path.write_bytes(data)
        try:
            image = read_image(path)
            reference = expected[..., 0] if image.ndim == 2 and expected.ndim == 3 else expected
            np.testing.assert_array_equal(image, reference, strict=True)
        except (AssertionError, UnreadableImageError) as error:
            failures.append(f"{name}: {error!s:.200}")
        counts[name.split(",")[0].split(" ")[0]] += 1
    return counts, failures


def warm_up(folder):
    """Import and initialize what readers use."""
    for name, suffix, data, _ in [*valid.padded_files(), *valid.dicom_files()]:
        path = folder / f"a{suffix}"
        path.write_bytes(data)
        for reader in READERS.values():
            assert reader(path, folder) is None, name
        path.unlink()
    for path in folder.iterdir():
        path.unlink()


def main():
    """Try all files, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="every eighth file")
    parser.add_argument("--no-results", action="store_true", help="write no results")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        warm_up(Path(folder))
        rows, failures = try_bombs(Path(folder), arguments.quick)
        counts, others = try_valid(Path(folder), arguments.quick)
    failures += others
    kinds = ", ".join(f"{kind} {count}" for kind, count in counts.items())
    n_valid, n_bombs = sum(counts.values()), len(rows)
    text = f"""# Hostile files

`python benchmarks/hostile_files.py`: {n_bombs} hostile files, each for {len(READERS)} readers under a limit
of one megapixel, and {n_valid} valid ones ({kinds}), which must be equal to the image
of Pillow, tifffile or their writer. Allowed are {MAX_SECONDS} s of
the processor and {MAX_MEGABYTES} MB beyond the start.
Failures: {len(failures)}.

| file | kB | {" | ".join(READERS)} |
|---|---:|{"---:|" * len(READERS)}
{chr(10).join(rows)}
"""
    print(f"{len(failures)} failures of {n_bombs * len(READERS)} readings and {n_valid} valid files")
    print("\n".join(failures))
    if not arguments.no_results and not arguments.quick:
        (HERE / "results" / "hostile_files.md").write_text(text)
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
