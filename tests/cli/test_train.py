"""``sk-denoise train``: what it trains, what it keeps, and what it refuses."""

from __future__ import annotations

import errno
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from functools import partial

import numpy as np
import pytest
import torch
from rich.console import Console

from sk_denoise import (
    Augmenter,
    DnCNNNetwork,
    FoldedUNetNetwork,
    GaussianNoiser,
    ImageDenoiser,
    MedianDenoiser,
)
from sk_denoise.cli import _train, _training
from sk_denoise.cli._console import Terminated
from sk_denoise.datasets import ImageFolder
from sk_denoise.io import write_image
from sk_denoise.persistence import load, save
from sk_denoise.restoration import load_pretrained
from sk_denoise.training import auto_patch_epochs

SMALL = ["--network-option", "widths=8,12", "--network-option", "blocks=1,1"]
QUICK = ["--color", "gray", "--patch-size", "16", "--patches-per-image", "2", *SMALL]


@pytest.fixture
def model(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.fixture
def train(expect):
    return partial(expect, "train")


@pytest.fixture
def quick(train):
    return lambda folder, model, *arguments, code=0: train(folder, "-o", model, *QUICK, *arguments, code=code)


def weights(denoiser):
    return torch.cat([w.detach().ravel() for w in denoiser.net_.module_.parameters()])


# Gray or colour ----------------------------------------------------------------------------------------


def test_a_folder_of_gray_images_teaches_gray(folder, model, train, expect, tmp_path):
    answer = train(folder, "-o", model, *QUICK[2:], "--epochs", "1")
    assert "The network learns gray (--color rgb says otherwise), as the images of" in answer.err
    assert load(model).patch_shape_ == (16, 16)
    expect("denoise", min(folder.iterdir()), "-o", tmp_path / "denoised.png", "--model", model)


def test_a_folder_with_an_image_in_colour_teaches_colour(folder, model, train, tmp_path):
    folder = shutil.copytree(folder, tmp_path / "photos")
    write_image(folder / "colour.png", np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8))
    answer = train(folder, "-o", model, *QUICK[2:], "--epochs", "1")
    assert "The network learns colour, as the images of" in answer.err
    assert load(model).patch_shape_ == (16, 16, 3)
    assert "The network learns" not in train(folder, "-o", model, "--overwrite", *QUICK, "--epochs", "1").err
    assert load(model).patch_shape_ == (16, 16)
    train(folder, "-o", model, "--resume", *QUICK[2:4], "--color", "auto", "--epochs", "2")


# What is trained ---------------------------------------------------------------------------------------


def test_it_trains_what_the_library_does_to_the_same_bits(folder, model, quick):
    quick(folder, model, "--noise", "gaussian:0.1", "--epochs", "2", "--seed", "3")
    denoiser = ImageDenoiser(
        FoldedUNetNetwork((8, 12), blocks=(1, 1)),
        noise=GaussianNoiser(0.1),
        patch_size=16,
        patches_per_image=2,
        max_epochs=2,
        random_state=3,
    ).fit(ImageFolder(folder, color="gray"))
    made = load(model)
    assert torch.equal(weights(made), weights(denoiser))
    assert made.loss_curve_ == denoiser.loss_curve_
    assert repr(made) == repr(denoiser)


def test_options_become_parameters(folder, model, train):
    arguments = (
        "--network dncnn --network-option depth=3 --network-option width=8 --sigma-map --color rgb "
        "--patch-size 8 --patches-per-image 2 --augment turns --batch-size 3 --epochs 1 "
        "--learning-rate 0.01 --loss mae --precision float32 --device cpu --noise gaussian:0-0.2"
    )
    train(folder, "-o", model, *arguments.split())
    denoiser = load(model)
    expected = {
        "network": DnCNNNetwork(3, width=8),
        "sigma": "map",
        "patch_size": 8,
        "patches_per_image": 2,
        "augment": Augmenter(flip="both", quarter_turns=True),
        "batch_size": 3,
        "max_epochs": 1,
        "learning_rate": 0.01,
        "loss": "mae",
        "precision": "float32",
        "device": "cpu",
        "noise": GaussianNoiser((0.0, 0.2)),
    }
    assert {name: repr(getattr(denoiser, name)) for name in expected} == {
        n: repr(v) for n, v in expected.items()
    }
    assert denoiser.patch_shape_ == (8, 8, 3)


def test_pairs_of_images_bring_their_noise(folder, noisy_folder, model, quick):
    told = quick(folder, model, "--noisy", noisy_folder, "--epochs", "1")
    assert load(model).noiser_ is None
    assert "with their noisy sides" in told.out
    refused = quick(folder, model, "--resume", "--epochs", "2", code=2)
    assert "learned from pairs: give --noisy FOLDER" in refused.err


def test_weights_in_the_box_go_on_with_a_rate_of_their_own(folder, model, tmp_path, train):
    other = tmp_path / "other.safetensors"
    options = "--start-from gray --patch-size 16 --patches-per-image 2 --seed 1 --epochs 1"
    for path in (model, other):
        train(folder, "-o", path, *options.split())
    denoiser, before = load(model), load_pretrained("gray")
    assert denoiser.learning_rate == before.learning_rate == _training.RATE_TO_GO_ON
    assert denoiser.n_iter_ == 1
    assert 0 < float((weights(denoiser) - weights(before)).abs().max()) < 0.01
    assert torch.equal(weights(denoiser), weights(load(other)))


def test_a_file_to_start_from_counts_its_epochs_anew_and_keeps_its_network(
    folder, model, tmp_path, train, quick
):
    quick(folder, model, "--epochs", "3")
    new = tmp_path / "new.safetensors"
    train(folder, "-o", new, "--start-from", model, "--epochs", "2")
    denoiser = load(new)
    assert (denoiser.n_iter_, denoiser.max_epochs, denoiser.patch_size) == (2, 2, 16)
    assert repr(denoiser.network) == repr(load(model).network)
    refused = train(folder, "-o", tmp_path / "x", "--start-from", model, "--network", "unet", code=2)
    assert "--network is unet, the weights of" in refused.err
    assert (
        "has its own" in train(folder, "-o", tmp_path / "x", "--start-from", model, "--seed", "1", code=2).err
    )
    assert (
        "takes gray images"
        in train(folder, "-o", tmp_path / "x", "--start-from", "gray", "--color", "rgb", code=2).err
    )


def test_it_validates_on_another_folder_and_stops_where_that_gets_no_better(
    folder, noisy_folder, model, quick
):
    options = ["--validation", noisy_folder, "--early-stopping", "--patience", "1", "--learning-rate", "0.2"]
    result = quick(folder, model, *options, "--epochs", "50", "--noise", "gaussian:0.1")
    denoiser = load(model)
    assert "validation PSNR" in result.out
    assert denoiser.n_iter_ == denoiser.max_epochs < 50
    best = int(np.argmin([epoch["valid_loss"] for epoch in denoiser.net_.history]))
    assert best < denoiser.n_iter_ - 1
    again = quick(folder, model, "--resume")
    assert "nothing is left to do" in again.out


# What is kept ------------------------------------------------------------------------------------------


def test_the_model_is_whole_after_every_epoch(folder, model, monkeypatch, quick):
    seen = []
    monkeypatch.setattr(
        _training.Lines, "show", lambda self, done, figures: seen.append((done, load(model).n_iter_))
    )
    quick(folder, model, "--epochs", "3")
    assert seen == [(1, 1), (2, 2), (3, 3)]


def interrupted_after(epochs, monkeypatch):
    """Press Ctrl-C after an epoch."""

    def show(self, done, figures):
        if done == epochs:
            raise KeyboardInterrupt

    monkeypatch.setattr(_training.Lines, "show", show)


def test_an_interruption_keeps_the_last_epoch_and_says_how_to_go_on(folder, model, monkeypatch, train, quick):
    with monkeypatch.context() as patch:
        interrupted_after(2, patch)
        result = quick(folder, model, "--epochs", "4", code=130)
    assert load(model).n_iter_ == 2
    before, _, after = result.err.partition(" Go on with: ")
    assert before.endswith(f"Interrupted: {model} holds 2 of 4 epochs.")
    program, command, *arguments = shlex.split(after)
    assert (program, command) == ("sk-denoise", "train")
    assert "4 epochs (2 of them now)" in train(*arguments).out
    assert load(model).n_iter_ == 4


def test_a_full_disk_ends_the_run_and_leaves_the_epoch_before(folder, model, quick, monkeypatch):
    write = save

    def until_full(denoiser, path):
        if getattr(denoiser, "n_iter_", 0) == 2:  # one that was not fitted tries the name first
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), ".0123.tmp")
        write(denoiser, path)

    monkeypatch.setattr("sk_denoise.persistence.save", until_full)
    told = quick(folder, model, "--epochs", "3", code=1).err
    assert told.endswith(f"cannot write {model}: No space left on device; it holds 1 epoch\n")
    assert load(model).n_iter_ == 1


def test_the_exit_code_tells_which_signal_it_was(folder, model, monkeypatch, quick):
    def stop(self, done, figures):
        raise Terminated(signal.SIGTERM)

    monkeypatch.setattr(_training.Lines, "show", stop)
    assert "holds 1 of 2 epochs" in quick(folder, model, "--epochs", "2", code=143).err


def test_an_interruption_of_the_first_epoch_writes_nothing(folder, model, monkeypatch, quick):
    def interrupt(self, denoiser, epoch):
        raise KeyboardInterrupt

    monkeypatch.setattr(_training.Keeper, "__call__", interrupt)
    assert "was not written" in quick(folder, model, "--epochs", "2", code=130).err
    assert not model.exists()


def test_a_process_that_is_killed_leaves_the_last_whole_epoch(folder, model, quick):
    arguments = [str(folder), "-o", str(model), *QUICK, "--epochs", "5000", "-q"]
    code = "import sys; from sk_denoise.cli._train import train; train.main(sys.argv[1:])"
    process = subprocess.Popen([sys.executable, "-c", code, *arguments])
    deadline = time.monotonic() + 120
    while not model.exists() and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(0.1)  # somewhere in one of the next epochs
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = load(model).n_iter_
    assert 1 <= done < 5000
    quick(folder, model, "--resume", "--epochs", done + 1)
    assert load(model).n_iter_ == done + 1


def test_a_run_goes_on_to_so_many_epochs_in_all_with_the_options_of_the_file(folder, model, train, quick):
    quick(folder, model, "--epochs", "1", "--noise", "poisson:30", "--seed", "0")
    train(folder, "-o", model, "--resume", "--epochs", "3")
    denoiser = load(model)
    assert (denoiser.n_iter_, len(denoiser.loss_curve_), denoiser.max_epochs) == (3, 3, 3)
    assert (denoiser.patch_size, denoiser.noise.peak, denoiser.random_state) == (16, 30, 0)
    assert denoiser.learning_rate == ImageDenoiser().learning_rate
    assert denoiser.learning_rate_schedule == "flat_cosine"
    assert "has 3 epochs; nothing is left to do" in train(folder, "-o", model, "--resume").out


def test_a_run_that_goes_on_twice_is_repeatable_and_draws_anew(folder, model, tmp_path, train, quick):
    quick(folder, model, "--epochs", "1", "--seed", "0")
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(model.read_bytes())
    for path in (model, copy):
        train(folder, "-o", path, "--resume", "--epochs", "2")
    assert torch.equal(weights(load(model)), weights(load(copy)))
    assert len(set(load(model).loss_curve_)) == 2


def test_to_resume_what_is_not_there_is_to_begin(folder, model, quick):
    quick(folder, model, "--resume", "--epochs", "1")
    assert load(model).n_iter_ == 1


# What is told ------------------------------------------------------------------------------------------


def test_without_a_terminal_each_epoch_is_a_plain_line(folder, model, quick):
    result = quick(folder, model, "--epochs", "2", "--noise", "gaussian:0.1")
    lines = result.err.splitlines()
    assert [line.partition(",")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    assert all("loss 0." in line and "PSNR" in line and line.endswith("left") for line in lines)
    assert "\x1b" not in result.out + result.err
    assert "Learned from 3 images of" in result.out
    assert "gray, under gaussian:0.1." in result.out


def test_a_terminal_gets_a_bar(monkeypatch, capsys):
    monkeypatch.setattr(_training, "terminal", lambda: Console(stderr=True, force_terminal=True))
    monkeypatch.setenv("TERM", "xterm")
    with _training.screen(2, 4, quiet=False) as shown:
        shown.say("a [line]")
        shown.show(3, "loss 0.5")
    told = capsys.readouterr().err
    assert "a [line]" in told
    assert "epoch 3/4" in told
    assert "loss 0.5" in told


def test_quiet_runs_say_nothing(folder, model, quick):
    assert quick(folder, model, "--epochs", "1", "-q") == (0, "", "")


def test_the_psnr_in_training_is_that_of_the_squared_error():
    assert _training.figures_of({"train_loss": 0.01}, "mse") == "loss 0.01000, training PSNR 20.00 dB"
    assert _training.figures_of({"train_loss": 0.01}, "mae") == "loss 0.01000"
    assert "validation PSNR 30.00 dB" in _training.figures_of({"train_loss": 0.01, "valid_psnr": 30.0}, "mse")


def test_broken_images_are_left_out_with_a_line(folder, model, tmp_path, quick):
    place = tmp_path / "some"
    place.mkdir()
    for path in folder.iterdir():
        (place / path.name).write_bytes(path.read_bytes())
    (place / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    lines = quick(place, model, "--epochs", "2").err.splitlines()
    told = [line for line in lines if "broken.png" in line]
    assert len(told) == 1
    assert "Warning" not in told[0]
    assert len(lines) == 3


def test_floats_far_beyond_0_to_1_are_refused(folder, model, tmp_path, quick):
    for side in ("clean", "noisy"):
        (tmp_path / side).mkdir()
        write_image(tmp_path / side / "a.tif", np.full((40, 40), 4095 if side == "noisy" else 1, np.float32))
    for arguments in ([tmp_path / "noisy"], [tmp_path / "clean", "--noisy", tmp_path / "noisy"]):
        told = quick(arguments[0], model, *arguments[1:], "--epochs", "1", code=2).err
        assert "reach from 0 to 4095, and floats count from 0 (black) to 1 (white)" in told
    assert not model.exists()


# What is refused ---------------------------------------------------------------------------------------


def test_a_model_that_is_there_is_refused_and_overwritten_only_where_that_is_said(folder, model, quick):
    model.write_bytes(b"precious")
    assert (
        "exists already; --resume goes on with it, --overwrite trains anew"
        in quick(folder, model, "--epochs", "1", code=2).err
    )
    assert model.read_bytes() == b"precious"
    quick(folder, model, "--epochs", "1", "--overwrite")
    assert load(model).n_iter_ == 1


def test_to_resume_with_other_options_is_refused_by_name_and_changes_nothing(folder, model, train, quick):
    quick(folder, model, "--epochs", "1", "--noise", "gaussian:0.1", "--augment", "mirror")
    before = model.read_bytes()
    options = ["--noise", "gaussian:0.2", "--augment", "flips", "--color", "gray", "--patch-size", "8"]
    said = train(folder, "-o", model, "--resume", "--epochs", "2", *options, code=2).err
    assert "--noise is gaussian:0.2" in said
    assert "has gaussian:0.1" in said
    assert "--augment is" in said
    assert "--patch-size is 8" in said
    assert model.read_bytes() == before


def test_a_file_that_holds_something_else_is_refused(folder, model, quick):
    save(MedianDenoiser().fit(np.zeros((1, 8, 8))), model)
    refused = quick(folder, model, "--resume", code=2).err
    assert "holds a MedianDenoiser, where a fitted ImageDenoiser was expected" in refused
    model.write_bytes(b"no model")
    assert "cannot be loaded" in quick(folder, model, "--resume", code=2).err


@pytest.mark.parametrize(
    ("place", "code", "message"),
    [
        ("", 2, "is a folder; give the path of a file"),
        ("model.png", 2, "model.png has the name of an image"),
        ("model.pkl", 2, "model.pkl ends as pickled files do, in .pkl, and save writes a safetensors file"),
        ("taken/model", 1, "cannot write to "),
        ("/proc/model", 1, "cannot write to "),
        ("/dev/null", 2, "no ordinary file"),
    ],
)
def test_a_place_that_cannot_be_written_is_refused_before_the_training(
    folder, tmp_path, place, code, message, monkeypatch, quick
):
    (tmp_path / "taken").write_text("a file")
    monkeypatch.setattr(ImageDenoiser, "fit", lambda *_, **__: pytest.fail("it trained"))
    assert message in quick(folder, tmp_path / place, code=code).err


def test_folders_are_made_for_the_model(folder, tmp_path, quick):
    quick(folder, tmp_path / "new/models/first", "--epochs", "1")
    assert load(tmp_path / "new/models/first").n_iter_ == 1


def test_what_is_no_ordinary_file_is_not_replaced(folder, tmp_path, quick):
    os.mkfifo(tmp_path / "pipe")
    refused = quick(folder, tmp_path / "pipe", "--overwrite", code=2).err
    assert "pipe is no ordinary file and cannot be replaced" in refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--noise gaussian:0.1 --noisy {folder}", "--noise and --noisy contradict each other"),
        ("--resume --overwrite", "--resume and --overwrite contradict each other"),
        ("--validation-noisy {folder}", "go together"),
        ("--noisy {folder} --validation {folder}", "go together"),
        ("--validation-fraction 0.2", "--validation-fraction goes with --early-stopping"),
        ("--patience 2", "--patience goes with --early-stopping"),
        ("--early-stopping --validation {folder} --validation-fraction 0.2", "contradict each other"),
        ("--epochs 0", "expected an integer of at least 1, or auto, got '0'"),
        ("--network-option depth", "expected NAME=VALUE"),
        ("--network-option depth=3", "folded_unet has no depth. Known: blocks, widths"),
        ("--network-option widths=abc", "--network-option: "),
        ("--network-option blocks=0,0", "--network-option: blocks must hold integers of at least 1"),
        ("--start-from grey", "Did you mean 'gray'?"),
        ("--learning-rate 0", "0.0"),
    ],
)
def test_wrong_usage_ends_with_2_and_a_reason(folder, model, options, message, train):
    result = train(folder, "-o", model, *options.format(folder=folder).split(), code=2)
    assert message in " ".join(result.err.split())
    assert not model.exists()


def test_what_fails_ends_with_1_and_a_reason(folder, model, tmp_path, train, quick):
    assert "holds no image" in train(tmp_path, "-o", model, code=2).err
    assert "diverged" in quick(folder, model, "--learning-rate", "1e9", "--epochs", "9", code=1).err
    assert "cuda:9" in quick(folder, model, "--overwrite", "--device", "cuda:9", code=2).err


# What is written down here because the library takes seconds to import ---------------------------------


def test_constants_are_those_of_the_library():
    assert load_pretrained("gray").learning_rate == _training.RATE_TO_GO_ON


def test_the_defaults_that_help_shows_are_those_of_the_estimator():
    own = ImageDenoiser().get_params()
    shown = {
        option.name: option.show_default
        for option in _train.train.params
        if isinstance(getattr(option, "show_default", None), str)
    }
    assert len(shown) > 10
    for name, text in shown.items():
        if name in _training.PARAMETERS:
            default = str(own[_training.PARAMETERS[name]])
            assert text.partition(",")[0] == {"None": "none"}.get(default, default)


@pytest.mark.parametrize(("n", "fraction"), [(1, None), (100, None), (100, 0.1), (100_000, None)])
def test_auto_epochs_are_those_of_the_estimator(n, fraction):
    stopping = {} if fraction is None else {"early_stopping": True, "validation_fraction": fraction}
    left = n if fraction is None else n - round(fraction * n)
    expected = auto_patch_epochs(-(-16 * left // 32))
    assert _train._epochs(ImageDenoiser(**stopping), n, False) == expected
