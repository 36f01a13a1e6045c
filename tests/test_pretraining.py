"""The training of the weights in the box survives being killed at any moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from sk_denoise.io import write_image

SCRIPT = Path(__file__).parents[1] / "pretraining" / "train.py"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Return a folder of a few small photos, laid out as the Berkeley data are."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for part, n in (("train", 3), ("test", 9)):
        (folder / "bsds500" / part).mkdir(parents=True)
        for number in range(n):
            photo = rng.integers(0, 256, (70, 80, 3), dtype=np.uint8)
            write_image(folder / "bsds500" / part / f"{number}.jpg", photo)
    return folder


def command(runs, steps, *options):
    options = (*options, "--save-every", "1", "--steps", str(steps), "--runs", str(runs))
    return [sys.executable, str(SCRIPT), "gray", *options]


def environment(data):
    return {**os.environ, "SK_DENOISE_DATA": str(data), "OMP_NUM_THREADS": "1"}


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="sends a POSIX signal")
@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch 2.9 brought Muon")
@pytest.mark.parametrize("options", [("--fresh",), ()], ids=["fresh", "from the box"])
def test_a_killed_run_goes_on_to_the_same_bits(data, tmp_path, options):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    subprocess.run(command(whole, 5, *options), env=environment(data), check=True, capture_output=True)

    killed = subprocess.Popen(command(broken, 5, *options), env=environment(data), stdout=subprocess.DEVNULL)
    while not (broken / "gray.pt").exists():
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    state = torch.load(broken / "gray.pt", weights_only=True)
    assert state["step"] < state["begun"] + 5
    (broken / "gray.unfinished").write_bytes(b"half a state")  # what a kill while writing leaves
    subprocess.run(command(broken, 5, *options), env=environment(data), check=True, capture_output=True)

    one, other = (torch.load(runs / "gray.pt", weights_only=True) for runs in (whole, broken))
    assert one["step"] == other["step"] == state["begun"] + 5
    assert (state["begun"] == 0) == ("--fresh" in options)
    for part in ("network", "average"):
        assert all(torch.equal(one[part][name], other[part][name]) for name in one[part])


@pytest.mark.slow
def test_without_photos_it_says_what_is_missing(tmp_path):
    run = subprocess.run(
        command(tmp_path, 8), env=environment(tmp_path), check=False, capture_output=True, text=True
    )
    assert run.returncode != 0
    assert "set SK_DENOISE_DATA to the folder that holds bsds500" in run.stderr
