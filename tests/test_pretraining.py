"""The training of the pretrained weights can be killed at any moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sk_denoise.io import write_image

SCRIPT = Path(__file__).parents[1] / "pretraining" / "train.py"
needs_muon = pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch 2.9 brought Muon")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Return a folder of a few small photos, laid out as the data for training are."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for part, n in (("train", 3), ("test", 9)):
        (folder / "bsds500" / part).mkdir(parents=True)
        for number in range(n):
            photo = rng.integers(0, 256, (200, 210, 3), dtype=np.uint8)
            write_image(folder / "bsds500" / part / f"{number}.jpg", photo)
    (folder / "photos").mkdir()
    rows = ["file,licence,repo,commit,path,credit"]
    for number, (licence, source) in enumerate(
        [("CC BY 4.0", "a/b"), ("CC BY-SA 4.0", "a/b"), ("CC0 1.0", "nextcloud/example-files")]
    ):
        write_image(folder / "photos" / f"{number}.jpg", rng.integers(0, 256, (120, 130, 3), dtype=np.uint8))
        rows.append(f"{number}.jpg,{licence},{source},0,{number},somebody")
    (folder / "photos" / "sources.csv").write_text("\n".join(rows))
    return folder


def command(runs, steps, *options, color="gray"):
    options = (*options, "--save-every", "1", "--steps", str(steps), "--runs", str(runs))
    return [sys.executable, str(SCRIPT), color, *options]


def environment(data):
    return {**os.environ, "SK_DENOISE_DATA": str(data), "OMP_NUM_THREADS": "1"}


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="sends a POSIX signal")
@needs_muon
@pytest.mark.parametrize(
    ("color", "options", "number"),
    [("gray", ("--fresh",), "SIGKILL"), ("gray", (), "SIGTERM"), ("rgb", (), "SIGKILL")],
    ids=["fresh, killed", "from exported weights, terminated", "colour, killed"],
)
def test_a_stopped_run_goes_on_to_the_same_bits(data, tmp_path, color, options, number):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    start = (command(whole, 5, *options, color=color), command(broken, 5, *options, color=color))
    subprocess.run(start[0], env=environment(data), check=True, capture_output=True)

    stopped = subprocess.Popen(start[1], env=environment(data), stdout=subprocess.DEVNULL)
    while not (broken / f"{color}.pt").exists():
        time.sleep(0.02)
    stopped.send_signal(getattr(signal, number))
    assert stopped.wait() == (-signal.SIGKILL if number == "SIGKILL" else 0)
    state = torch.load(broken / f"{color}.pt", weights_only=True)
    assert state["step"] < state["begun"] + 5
    (broken / f"{color}.unfinished").write_bytes(b"half a state")  # what a kill while writing leaves
    subprocess.run(start[1], env=environment(data), check=True, capture_output=True)

    one, other = (torch.load(runs / f"{color}.pt", weights_only=True) for runs in (whole, broken))
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


@pytest.fixture
def scripts(monkeypatch, data):
    """Let tests import the modules of the folder of scripts, with the photos above."""
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    monkeypatch.setenv("SK_DENOISE_DATA", str(data))


@needs_muon
def test_a_third_level_begins_without_a_change(scripts, tmp_path, monkeypatch):
    import train
    from safetensors.torch import save_file

    two = train.Recipe((32, 32), (1, 1), 1.0, "squared", False, ())
    three = replace(two, widths=(32, 32, 8), blocks=(1, 1, 1))
    before = train.Run("gray", two, tmp_path, steps=1, rate=1e-3, fresh=True).network
    exported = {name: weights.contiguous() for name, weights in before.state_dict().items()}
    save_file(exported, tmp_path / "gray.safetensors", {"step": "7"})
    monkeypatch.setattr(train, "BOX", tmp_path)
    run = train.Run("gray", three, tmp_path, steps=1, rate=1e-3)
    assert run.begun == 7
    after = run.network
    x = torch.rand(1, 2, 32, 40, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(before(x), after(x))
        after.bottom[-1].weight.fill_(0.1)
        assert not torch.equal(before(x), after(x))


def test_photos_under_share_alike_and_held_out_sources_are_not_trained_on(scripts):
    import data as images

    assert [path.name for path in images.photo_rows(held_out=False)] == ["0.jpg"]
    assert [path.name for path in images.photo_rows(held_out=True)] == ["2.jpg"]
    training = {group.name: group for group in images.training_groups()}
    assert sum(group.share for group in training.values()) == pytest.approx(1)
    assert training["berkeley"].images[0].shape == (3, 100, 105)


@needs_muon
def test_a_batch_holds_what_its_step_says(scripts):
    import train
    from data import training_groups

    groups, recipe = training_groups(), train.RECIPES["rgb"]
    noisy, sigma, clean = train.batch(groups, 7, recipe, late=False)
    assert noisy.shape == clean.shape == (32, 3, 64, 64)
    assert sigma.min() >= 0
    assert sigma.max() <= 55 / 255
    assert sigma.median() < 0.4 * 55 / 255
    assert all(
        torch.equal(a, b)
        for a, b in zip(train.batch(groups, 7, recipe, late=False), (noisy, sigma, clean), strict=True)
    )
    assert train.batch(groups, 7, recipe, late=True)[0].shape == (14, 3, 96, 96)
    ratio = (noisy - clean).std((1, 2, 3)) / sigma.flatten()
    torch.testing.assert_close(ratio, torch.ones(32), atol=0.05, rtol=0)


@pytest.mark.parametrize("seed", range(14))
def test_drawings_depend_on_their_seed_alone(scripts, seed):
    from drawings import draw

    drawing = draw(seed, 64)
    assert drawing.shape == (64, 64, 3)
    assert drawing.dtype == np.uint8
    assert np.array_equal(drawing, draw(seed, 64))
    assert not np.array_equal(drawing, draw(seed + 1, 64))


@needs_muon
@pytest.mark.parametrize("color", ["gray", "rgb"])
def test_an_export_holds_the_averages_their_card_and_the_credits(scripts, monkeypatch, tmp_path, color):
    import train

    run = train.Run(color, train.RECIPES[color], tmp_path, steps=1, rate=1e-3)
    monkeypatch.setattr(train, "BOX", tmp_path)
    levels = {str(level): 30 + level / 100 for level in run.recipe.levels}
    run.export({"berkeley": levels})
    weights, step = train._from_box(tmp_path / f"{color}.safetensors")
    assert step == run.step
    for name, weight in run.average.state_dict().items():
        assert torch.equal(weights[name], weight.half().float())
    card = (tmp_path / f"{color}.md").read_text(encoding="utf-8")
    assert "30.15 dB at 15, 30.25 dB at 25, 30.50 dB at 50" in card
    assert "{" not in card
    credited = tmp_path / "rgb_photo_credits.csv"
    assert credited.exists() == (color == "rgb")
    if color == "rgb":
        assert credited.read_text().splitlines()[1:] == ["0.jpg,CC BY 4.0,a/b,0,0,somebody"]
