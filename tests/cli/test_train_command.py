"""``sk-denoise train``: training, checkpoints, output and refused input."""

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
from sk_denoise.cli import _train_command, _training_run
from sk_denoise.cli._console import Terminated
from sk_denoise.datasets import ImageFolder, load_images
from sk_denoise.io import write_image, write_stack
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


# Color ------------------------------------------------------------------------------------------------


def test_a_folder_of_gray_images_gives_a_gray_model(folder, model, train, expect, tmp_path):
    result = train(folder, "-o", model, *QUICK[2:], "--epochs", "1")
    assert "Training in gray (--color rgb for colour), as the images in" in result.err
    assert load(model).patch_shape_ == (16, 16)
    expect("denoise", min(folder.iterdir()), "-o", tmp_path / "denoised.png", "--model", model)


def test_a_folder_with_an_image_in_colour_gives_a_colour_model(folder, model, train, tmp_path):
    folder = shutil.copytree(folder, tmp_path / "photos")
    write_image(folder / "colour.png", np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8))
    result = train(folder, "-o", model, *QUICK[2:], "--epochs", "1")
    assert "Training in colour, as the images in" in result.err
    assert load(model).patch_shape_ == (16, 16, 3)
    assert "Training in" not in train(folder, "-o", model, "--overwrite", *QUICK, "--epochs", "1").err
    assert load(model).patch_shape_ == (16, 16)
    train(folder, "-o", model, "--resume", *QUICK[2:4], "--color", "auto", "--epochs", "2")


# Training -----------------------------------------------------------------------------------------------


def test_the_model_equals_that_of_the_library_bit_for_bit(folder, model, quick):
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


def test_pairs_need_no_noise(folder, noisy_folder, model, quick):
    trained = quick(folder, model, "--noisy", noisy_folder, "--epochs", "1")
    assert load(model).noiser_ is None
    assert "Trained on 3 image pairs in" in trained.out
    refused = quick(folder, model, "--resume", "--epochs", "2", code=2)
    assert "was trained on pairs: give --noisy FOLDER" in refused.err


@pytest.mark.slow
def test_pretrained_weights_are_trained_with_a_lower_learning_rate(folder, model, tmp_path, train):
    other = tmp_path / "other.safetensors"
    options = "--start-from gray --patch-size 16 --patches-per-image 2 --seed 1 --epochs 1"
    for path in (model, other):
        train(folder, "-o", path, *options.split())
    denoiser, before = load(model), load_pretrained("gray")
    assert denoiser.learning_rate == before.learning_rate == _training_run.FINE_TUNING_LEARNING_RATE
    assert denoiser.n_iter_ == 1
    assert 0 < float((weights(denoiser) - weights(before)).abs().max()) < 0.01
    assert torch.equal(weights(denoiser), weights(load(other)))


def test_a_run_from_a_model_file_counts_its_epochs_from_0_and_keeps_the_network(
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
        "has its own seed"
        in train(folder, "-o", tmp_path / "x", "--start-from", model, "--seed", "1", code=2).err
    )
    assert (
        "takes gray images"
        in train(folder, "-o", tmp_path / "x", "--start-from", "gray", "--color", "rgb", code=2).err
    )


def test_early_stopping_uses_the_validation_folder(folder, noisy_folder, model, quick):
    options = ["--validation", noisy_folder, "--early-stopping", "--patience", "1", "--learning-rate", "0.2"]
    result = quick(folder, model, *options, "--epochs", "50", "--noise", "gaussian:0.1")
    denoiser = load(model)
    assert "validation PSNR" in result.out
    assert denoiser.n_iter_ == denoiser.max_epochs < 50
    best = int(np.argmin([epoch["valid_loss"] for epoch in denoiser.net_.history]))
    assert best < denoiser.n_iter_ - 1
    again = quick(folder, model, "--resume")
    assert "training is complete" in again.out


# Checkpoints -------------------------------------------------------------------------------------------


def test_the_model_file_is_complete_after_every_epoch(folder, model, monkeypatch, quick):
    seen = []
    monkeypatch.setattr(
        _training_run.LineDisplay,
        "show_epoch",
        lambda self, n_epochs, metrics: seen.append((n_epochs, load(model).n_iter_)),
    )
    quick(folder, model, "--epochs", "3")
    assert seen == [(1, 1), (2, 2), (3, 3)]


def interrupt_after(epochs, monkeypatch):
    """Interrupt the run after an epoch."""

    def show_epoch(self, n_epochs, metrics):
        if n_epochs == epochs:
            raise KeyboardInterrupt

    monkeypatch.setattr(_training_run.LineDisplay, "show_epoch", show_epoch)


def test_an_interruption_keeps_the_last_epoch_and_prints_how_to_continue(
    folder, model, monkeypatch, train, quick
):
    with monkeypatch.context() as patch:
        interrupt_after(2, patch)
        result = quick(folder, model, "--epochs", "4", code=130)
    assert load(model).n_iter_ == 2
    before, _, after = result.err.partition(" Continue with: ")
    assert before.endswith(f"Interrupted: {model} holds 2 of 4 epochs.")
    program, command, *arguments = shlex.split(after)
    assert (program, command) == ("sk-denoise", "train")
    assert "4 epochs (2 of them now)" in train(*arguments).out
    assert load(model).n_iter_ == 4


def test_a_full_disk_ends_the_run_and_keeps_the_previous_epoch(folder, model, quick, monkeypatch):
    write = save

    def until_full(denoiser, path):
        if getattr(denoiser, "n_iter_", 0) == 2:  # an unfitted estimator tries the name first
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), ".0123.tmp")
        write(denoiser, path)

    monkeypatch.setattr("sk_denoise.persistence.save", until_full)
    messages = quick(folder, model, "--epochs", "3", code=1).err
    assert messages.endswith(f"cannot write {model}: No space left on device; it holds 1 epoch\n")
    assert load(model).n_iter_ == 1


def test_the_exit_code_depends_on_the_signal(folder, model, monkeypatch, quick):
    def stop(self, n_epochs, metrics):
        raise Terminated(signal.SIGTERM)

    monkeypatch.setattr(_training_run.LineDisplay, "show_epoch", stop)
    assert "holds 1 of 2 epochs" in quick(folder, model, "--epochs", "2", code=143).err


def test_an_interruption_of_the_first_epoch_writes_nothing(folder, model, monkeypatch, quick):
    def interrupt(self, denoiser, epoch):
        raise KeyboardInterrupt

    monkeypatch.setattr(_training_run.Checkpointer, "__call__", interrupt)
    assert "was not written" in quick(folder, model, "--epochs", "2", code=130).err
    assert not model.exists()


@pytest.mark.slow
def test_a_killed_process_leaves_the_last_complete_epoch(folder, model, quick):
    arguments = ["train", str(folder), "-o", str(model), *QUICK, "--epochs", "5000", "-q"]
    code = "import sys; from sk_denoise.cli import main; main(sys.argv[1:])"
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


def test_a_resumed_run_has_the_options_of_the_file_and_epochs_in_total(folder, model, train, quick):
    quick(folder, model, "--epochs", "1", "--noise", "poisson:30", "--seed", "0")
    train(folder, "-o", model, "--resume", "--epochs", "3")
    denoiser = load(model)
    assert (denoiser.n_iter_, len(denoiser.loss_curve_), denoiser.max_epochs) == (3, 3, 3)
    assert (denoiser.patch_size, denoiser.noise.peak, denoiser.random_state) == (16, 30, 0)
    assert denoiser.learning_rate == ImageDenoiser().learning_rate
    assert denoiser.learning_rate_schedule == "flat_cosine"
    assert "has 3 epochs; training is complete" in train(folder, "-o", model, "--resume").out


def test_a_resumed_run_is_repeatable_and_draws_new_noise(folder, model, tmp_path, train, quick):
    quick(folder, model, "--epochs", "1", "--seed", "0")
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(model.read_bytes())
    for path in (model, copy):
        train(folder, "-o", path, "--resume", "--epochs", "2")
    assert torch.equal(weights(load(model)), weights(load(copy)))
    assert len(set(load(model).loss_curve_)) == 2


def test_resume_without_a_file_starts_a_run(folder, model, quick):
    quick(folder, model, "--resume", "--epochs", "1")
    assert load(model).n_iter_ == 1


# Output ------------------------------------------------------------------------------------------------


def test_without_a_terminal_each_epoch_is_a_line(folder, model, quick):
    result = quick(folder, model, "--epochs", "2", "--noise", "gaussian:0.1")
    lines = result.err.splitlines()
    assert [line.partition(",")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    assert all("loss 0." in line and "PSNR" in line and line.endswith("left") for line in lines)
    assert "\x1b" not in result.out + result.err
    assert "Trained on 3 images in" in result.out
    assert "gray, with noise gaussian:0.1." in result.out


def test_the_summary_counts_the_images_that_were_used(folder, tmp_path, model, quick):
    shutil.copytree(folder, tmp_path / "photos")
    (tmp_path / "photos/empty.png").write_bytes(b"")
    (tmp_path / "photos/loop.png").symlink_to("loop.png")
    result = quick(tmp_path / "photos", model, "--epochs", "1")
    assert "Trained on 3 images in" in result.out
    assert "; 2 of 5 were left out." in result.out


def test_a_terminal_shows_a_bar(monkeypatch, capsys):
    monkeypatch.setattr(_training_run, "open_console", lambda: Console(stderr=True, force_terminal=True))
    monkeypatch.setenv("TERM", "xterm")
    with _training_run.open_display(2, 4, quiet=False) as display:
        display.write_line("a [line]")
        display.show_epoch(3, "loss 0.5")
    shown = capsys.readouterr().err
    assert "a [line]" in shown
    assert "epoch 3/4" in shown
    assert "loss 0.5" in shown


def test_quiet_runs_print_nothing(folder, model, quick):
    assert quick(folder, model, "--epochs", "1", "-q") == (0, "", "")


def test_the_training_psnr_is_computed_from_the_squared_error():
    assert _training_run.format_metrics({"train_loss": 0.01}, "mse") == "loss 0.01000, training PSNR 20.00 dB"
    assert _training_run.format_metrics({"train_loss": 0.01}, "mae") == "loss 0.01000"
    assert "validation PSNR 30.00 dB" in _training_run.format_metrics(
        {"train_loss": 0.01, "valid_psnr": 30.0}, "mse"
    )


def test_broken_images_are_left_out_with_a_message(folder, model, tmp_path, quick):
    place = tmp_path / "some"
    place.mkdir()
    for path in folder.iterdir():
        (place / path.name).write_bytes(path.read_bytes())
    (place / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    lines = quick(place, model, "--epochs", "2").err.splitlines()
    warnings = [line for line in lines if "broken.png" in line]
    assert len(warnings) == 1
    assert "Warning" not in warnings[0]
    assert len(lines) == 3


def test_floats_far_beyond_0_to_1_are_refused(folder, model, tmp_path, quick):
    for side in ("clean", "noisy"):
        (tmp_path / side).mkdir()
        write_image(tmp_path / side / "a.tif", np.full((40, 40), 4095 if side == "noisy" else 1, np.float32))
    for arguments in ([tmp_path / "noisy"], [tmp_path / "clean", "--noisy", tmp_path / "noisy"]):
        message = quick(arguments[0], model, *arguments[1:], "--epochs", "1", code=2).err
        assert "range from 0 to 4095, and floats in training range from 0 (black) to 1 (white)" in message
    assert not model.exists()


# Refused input ----------------------------------------------------------------------------------------


def test_an_existing_model_is_overwritten_only_with_the_option(folder, model, quick):
    model.write_bytes(b"precious")
    assert (
        "exists already; --resume continues it, --overwrite trains from the beginning"
        in quick(folder, model, "--epochs", "1", code=2).err
    )
    assert model.read_bytes() == b"precious"
    quick(folder, model, "--epochs", "1", "--overwrite")
    assert load(model).n_iter_ == 1


def test_resume_with_other_options_is_refused_with_their_names(folder, model, train, quick):
    quick(folder, model, "--epochs", "1", "--noise", "gaussian:0.1", "--augment", "mirror")
    before = model.read_bytes()
    options = ["--noise", "gaussian:0.2", "--augment", "flips", "--color", "gray", "--patch-size", "8"]
    message = train(folder, "-o", model, "--resume", "--epochs", "2", *options, code=2).err
    assert "--noise is gaussian:0.2" in message
    assert "has gaussian:0.1" in message
    assert "--augment is" in message
    assert "--patch-size is 8" in message
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
        ("/dev/null", 2, "not an ordinary file"),
    ],
)
def test_a_file_that_cannot_be_written_is_refused_before_the_training(
    folder, tmp_path, place, code, message, monkeypatch, quick
):
    (tmp_path / "taken").write_text("a file")
    monkeypatch.setattr(ImageDenoiser, "fit", lambda *_, **__: pytest.fail("it trained"))
    assert message in quick(folder, tmp_path / place, code=code).err


def test_the_folder_of_the_model_is_created(folder, tmp_path, quick):
    quick(folder, tmp_path / "new/models/first", "--epochs", "1")
    assert load(tmp_path / "new/models/first").n_iter_ == 1


def test_special_files_are_not_replaced(folder, tmp_path, quick):
    os.mkfifo(tmp_path / "pipe")
    refused = quick(folder, tmp_path / "pipe", "--overwrite", code=2).err
    assert "pipe is not an ordinary file and cannot be replaced" in refused


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


def test_failures_end_with_1_and_a_reason(folder, model, tmp_path, train, quick):
    assert "holds no image" in train(tmp_path, "-o", model, code=2).err
    assert "diverged" in quick(folder, model, "--learning-rate", "1e9", "--epochs", "9", code=1).err
    assert "cuda:9" in quick(folder, model, "--overwrite", "--device", "cuda:9", code=2).err


# Constants that repeat the library, because it takes seconds to import ---------------------------------


def test_constants_are_those_of_the_library():
    assert load_pretrained("gray").learning_rate == _training_run.FINE_TUNING_LEARNING_RATE


def test_the_defaults_in_the_help_are_those_of_the_estimator():
    parameters = ImageDenoiser().get_params()
    shown = {
        option.name: option.show_default
        for option in _train_command.train_command.params
        if isinstance(getattr(option, "show_default", None), str)
    }
    assert len(shown) > 10
    for name, text in shown.items():
        if name in _training_run.PARAMETERS:
            default = str(parameters[_training_run.PARAMETERS[name]])
            assert text.partition(",")[0] == {"None": "none"}.get(default, default)


@pytest.mark.parametrize(("n", "fraction"), [(1, None), (100, None), (100, 0.1), (100_000, None)])
def test_auto_epochs_are_those_of_the_estimator(n, fraction):
    stopping = {} if fraction is None else {"early_stopping": True, "validation_fraction": fraction}
    n_training = n if fraction is None else n - round(fraction * n)
    expected = auto_patch_epochs(-(-16 * n_training // 32))
    assert _train_command._count_epochs(ImageDenoiser(**stopping), n, False) == expected


# Noisy images alone -------------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", ["neighbours", "recorrupt", "blind"])
def test_noisy_images_alone_train_a_model(objective, noisy_folder, model, quick, expect, tmp_path):
    result = quick(noisy_folder, model, "--objective", objective, "--epochs", "2", "--seed", "0")
    denoiser = load(model)
    assert denoiser.target_source_ == "noisy"
    assert denoiser.objective == objective
    assert f"Trained on 3 noisy images in {noisy_folder}, gray, by {objective}" in result.out
    # The distance to noisy images is no PSNR.
    assert "(to noisy images)" in result.err
    assert "PSNR" not in result.err + result.out
    assert f"evaluate {model} NOISY_FOLDER --no-truth" in result.out
    expect("denoise", min(noisy_folder.iterdir()), "-o", tmp_path / "denoised.png", "--model", model)
    quick(noisy_folder, model, "--objective", objective, "--resume", "--epochs", "3")
    assert load(model).n_iter_ == 3


def test_noise_in_the_images_is_given_or_estimated(noisy_folder, model, quick):
    estimated = quick(noisy_folder, model, "--objective", "recorrupt", "--epochs", "1")
    assert "white noise: about 0.0" in estimated.out
    options = "--objective recorrupt --noise gaussian:0.08 --epochs 1 --overwrite --early-stopping"
    given = quick(noisy_folder, model, *options.split())
    assert "white noise: about 0.08 (20.4 of 255)" in given.out
    assert "validation 0.0" in given.err
    assert load(model).noise_model_.sigma == pytest.approx(0.08)


def test_pretrained_weights_learn_on_from_noisy_images(noisy_folder, model, train):
    options = "--start-from gray --objective recorrupt --patch-size 16 --patches-per-image 2 --epochs 1"
    train(noisy_folder, "-o", model, *options.split())
    denoiser = load(model)
    assert denoiser.target_source_ == "noisy"
    assert denoiser.noise == "auto"
    assert 10 / 255 < denoiser.noise_model_.sigma < 30 / 255


@pytest.mark.parametrize("axes", ["TYX", "CYX", "YXC"])
def test_planes_of_a_stack_are_training_images(axes, tmp_path, model, train, expect):
    shape = (40, 48, 4) if axes == "YXC" else (4, 40, 48)
    gradient = np.linspace(500, 3000, 48).reshape((48, 1) if axes == "YXC" else 48)
    noisy = gradient + np.random.default_rng(0).normal(0, 200, shape)
    stack = tmp_path / "stack.tif"
    write_stack(stack, noisy.clip(0, 4095).astype(np.uint16), axes=axes)
    options = "--objective neighbours --patch-size 16 --patches-per-image 2 --epochs 1"
    result = train(stack, "-o", model, *options.split(), *SMALL)
    assert "Trained on 4 noisy images" in result.out
    # Pairs of neighbours are cut from patches of twice the side, without a channel axis.
    assert load(model).patch_shape_ == (32, 32)
    expect("denoise", stack, "-o", tmp_path / "denoised.tif", "--model", model)
    refused = train(stack, "-o", model, *options.split(), "--overwrite", "--color", "rgb", code=2)
    assert "holds gray images, and the model or --color is rgb" in refused.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--objective neighbours --noise gaussian:0.1", "--objective neighbours needs no --noise"),
        ("--objective blind --noisy {folder}", "learns from noisy images alone, and --noisy has a clean"),
        ("--objective recorrupt --noise gaussian:0-0.1", "draws another strength for each sample"),
        ("--objective recorrupt --noise salt_and_pepper:0.1", "replaces some entries"),
        ("--objective neighbors", "neighbours"),
        ("--objective neighbours --loss ssim", "loss"),
    ],
)
def test_options_that_contradict_noisy_images_are_refused(options, message, noisy_folder, model, run):
    words = options.format(folder=noisy_folder).split()
    result = run("train", noisy_folder, "-o", model, *QUICK, "--epochs", "1", *words)
    assert result.code != 0
    assert message in result.err
    assert not model.exists()


def test_a_run_from_noisy_images_continues_with_noisy_images_only(folder, noisy_folder, model, quick):
    quick(noisy_folder, model, "--objective", "blind", "--epochs", "1")
    refused = quick(folder, model, "--noisy", noisy_folder, "--resume", "--epochs", "2", code=2)
    assert "was trained on noisy images alone: leave --noisy out" in refused.err
    refused = quick(noisy_folder, model, "--objective", "neighbours", "--resume", "--epochs", "2", code=2)
    assert "--objective is neighbours" in refused.err


def test_noisy_images_that_count_as_clean_are_named(noisy_folder, tmp_path, model, train):
    many = tmp_path / "noisy"
    many.mkdir()
    for number in range(2):
        photo = load_images("gray").test[number][:128, :128]
        noisy = 255 * photo + np.random.default_rng(number).normal(0, 20, photo.shape)
        write_image(many / f"{number}.png", noisy.clip(0, 255).astype(np.uint8))
    result = train(many, "-o", model, "--epochs", "1", *SMALL)
    assert "counts as clean, and seems to hold noise" in result.err
    assert "no_clean_data.md" in result.err
