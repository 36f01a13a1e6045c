"""Training over processes, which are started as accelerate launch and torchrun start them.

The module is also the script that these processes run: every process writes what its scenarios gave.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from joblib import parallel_config
from skorch.callbacks import Callback

from sk_denoise import (
    DenoisingAutoencoder,
    DnCNNNetwork,
    FoldedUNetNetwork,
    GaussianNoiser,
    ImageDenoiser,
    SignalDenoiser,
)
from sk_denoise.datasets import RandomPatches
from sk_denoise.estimators import fit_in_rounds
from sk_denoise.exceptions import LostProcessError
from sk_denoise.persistence import load, save

FAST = {"random_state": 0, "max_epochs": 3, "batch_size": 10}
SMALL = FoldedUNetNetwork((4, 6), blocks=(1, 1))
VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "LOCAL_RANK")
# Room for a busy machine; a process that waits for a lost one would need ten minutes.
LIMIT = 240
ROWS = np.random.default_rng(0).random((37, 8))
IMAGES = np.random.default_rng(1).random((33, 12, 12)).astype("float32")


# The script of a process ----------------------------------------------------------------------------------


class AtEpoch(Callback):
    """Callback that does something in one process, after the third epoch."""

    def __init__(self, rank: int, act: Callable[[], object]) -> None:
        self.rank, self.act = rank, act

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        if os.environ.get("RANK") == str(self.rank) and len(net.history) == 3:
            self.act()


def fail() -> None:
    raise OSError("the disk is full")


def table(**parameters: Any) -> DenoisingAutoencoder:
    return DenoisingAutoencoder(latent_dim=3, **{**FAST, **parameters})


def images(**parameters: Any) -> ImageDenoiser:
    settings = {"network": SMALL, "noise": GaussianNoiser(0.1), "patch_size": 12, **FAST}
    return ImageDenoiser(**{**settings, **parameters})


def state(denoiser: Any) -> dict[str, Any]:
    weights = [side.double().flatten().tolist() for side in denoiser.net_.module_.state_dict().values()]
    return {"losses": denoiser.loss_curve_, "weights": weights, "psnr": denoiser.validation_scores_}


def fit_warm() -> dict[str, Any]:
    denoiser = table(warm_start=True, max_epochs=2).fit(ROWS)
    return state(denoiser.set_params(max_epochs=4).fit(ROWS).partial_fit(ROWS))


def fit_with_shared_file() -> dict[str, Any]:
    path = Path(sys.argv[1]) / "shared.safetensors"
    denoiser = table(callbacks=[lambda denoiser, _: save(denoiser.set_params(callbacks=None), path)])
    return state(denoiser.fit(ROWS)) | {"saved": load(path).n_iter_}


def search() -> dict[str, Any]:
    from sklearn.model_selection import GridSearchCV

    denoiser = table(early_stopping=True, n_iter_no_change=1, max_epochs=6)
    return {
        "scores": list(
            GridSearchCV(denoiser, {"latent_dim": [2, 3]}, cv=2).fit(ROWS).cv_results_["mean_test_score"]
        )
    }


def error_of(fit: Callable[[], Any]) -> dict[str, Any]:
    try:
        fit()
    # An interruption is no Exception.
    except BaseException as error:
        return {"error": f"{type(error).__name__}: {error}"}
    return {"error": None}


def in_thread() -> dict[str, Any]:
    losses: list[Any] = []
    thread = threading.Thread(target=lambda: losses.append(table(random_state=None).fit(ROWS).loss_curve_))
    thread.start()
    thread.join()
    return {"losses": losses[0]}


# Those that must agree with one process come first.
EQUAL: dict[str, Callable[[], dict[str, Any]]] = {
    "table": lambda: state(table(early_stopping=True).fit(ROWS)),
    "images": lambda: state(images().fit(IMAGES)),
    "batches smaller than the processes": lambda: state(images(batch_size=1).fit(IMAGES[:5])),
    "one sample": lambda: state(images(batch_size="auto").fit(IMAGES[:1])),
    "noisy images": lambda: state(images(objective="recorrupt").fit(IMAGES)),
    "neighbours": lambda: state(images(objective="neighbours", noise="auto", patch_size=6).fit(IMAGES)),
    "patches": lambda: state(images().fit(RandomPatches(list(IMAGES), 8, patches_per_image=2))),
    "signals": lambda: state(SignalDenoiser(**FAST).fit(IMAGES.reshape(33, 144))),
    "weighted": lambda: state(table().fit(ROWS, sample_weight=np.arange(1, 38))),
    "averaged and clipped": lambda: state(table(weight_averaging=0.9, gradient_clipping=0.1).fit(ROWS)),
    "lbfgs": lambda: state(table(optimizer=torch.optim.LBFGS, batch_size=37).fit(ROWS)),
    "warm start": fit_warm,
    "file": fit_with_shared_file,
}
OTHERS: dict[str, Callable[[int], dict[str, Any]]] = {
    "batch statistics": lambda rank: state(images(network=DnCNNNetwork(depth=3, width=4)).fit(IMAGES)),
    "no seed": lambda rank: state(table(random_state=None).fit(ROWS)),
    "search": lambda rank: search(),
    "stopped": lambda rank: state(table(callbacks=[lambda denoiser, _: denoiser.n_iter_ == 2]).fit(ROWS)),
    "fit within": lambda rank: state(table(callbacks=[lambda *_: table().fit(ROWS) and None]).fit(ROWS)),
    "thread": lambda rank: in_thread(),
    "printed": lambda rank: state(table(verbose=1).fit(ROWS)),
    "other data": lambda rank: error_of(lambda: table().fit(ROWS + rank)),
    "other length": lambda rank: error_of(lambda: table().fit(ROWS[rank:])),
    "other parameter": lambda rank: error_of(lambda: table(batch_size=10 + rank).fit(ROWS)),
    "bad parameter": lambda rank: error_of(lambda: table(batch_size=-rank or 10).fit(ROWS)),
    "failed callback": lambda rank: error_of(lambda: table(callbacks=[AtEpoch(1, fail)]).fit(ROWS)),
    "interrupted": lambda rank: error_of(
        lambda: table(callbacks=[AtEpoch(0, lambda: signal.raise_signal(signal.SIGINT))]).fit(ROWS)
    ),
    "diverged": lambda rank: error_of(lambda: table(optimizer="sgd", learning_rate=1e9).fit(ROWS)),
    "after all errors": lambda rank: state(table(early_stopping=True).fit(ROWS)),
}


def run_scenarios(folder: Path) -> None:
    """Run all scenarios in one process, and write what they gave."""
    rank = int(os.environ["RANK"])
    outcomes = {name: scenario() for name, scenario in EQUAL.items()}
    outcomes |= {name: scenario(rank) for name, scenario in OTHERS.items()}
    (folder / f"{rank}.json").write_text(json.dumps(outcomes))


def run_with_loss(folder: Path) -> None:
    """Train, save every epoch, and lose a process after the third one."""
    path = folder / "model.safetensors"

    def write(denoiser: Any, epoch: dict[str, Any]) -> None:
        save(denoiser.set_params(callbacks=None), path)

    kill = AtEpoch(int(sys.argv[3]), lambda: os.kill(os.getpid(), signal.SIGKILL))
    outcome = error_of(lambda: table(max_epochs=50, callbacks=[write, kill]).fit(ROWS))
    (folder / f"{os.environ['RANK']}.json").write_text(json.dumps(outcome))


# Tests ----------------------------------------------------------------------------------------------------


def launch(n: int, folder: Path, *arguments: str) -> tuple[list[int], list[Any], list[str]]:
    """Start processes of this script; return their exit codes, outcomes and output."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = []
    for rank in range(n):
        values = (rank, n, "127.0.0.1", port, rank)
        environment = (
            os.environ | {"OMP_NUM_THREADS": "1"} | dict(zip(VARIABLES, map(str, values), strict=True))
        )
        command = [sys.executable, "-W", "ignore", __file__, str(folder), *arguments]
        processes.append(
            subprocess.Popen(
                command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
        )
    try:
        output = [process.communicate(timeout=LIMIT)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    files = [folder / f"{rank}.json" for rank in range(n)]
    outcomes = [json.loads(file.read_text()) if file.exists() else None for file in files]
    return [process.returncode for process in processes], outcomes, output


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """What all scenarios gave in two processes, and their output."""
    codes, outcomes, output = launch(2, tmp_path_factory.mktemp("two"), "scenarios")
    assert codes == [0, 0], output
    return outcomes, output


def alone(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(sys, "argv", [__file__, str(folder)])
    return EQUAL[name]()


@pytest.mark.slow
@pytest.mark.parametrize("name", EQUAL)
@pytest.mark.filterwarnings("ignore")  # of tiny data
def test_two_processes_have_the_loss_curve_of_one(two, name, tmp_path, monkeypatch):
    first, second = (outcome[name] for outcome in two[0])
    assert first == second
    expected = alone(name, tmp_path, monkeypatch)
    np.testing.assert_allclose(first["losses"], expected["losses"], rtol=1e-5)
    if expected["psnr"] is not None:
        np.testing.assert_allclose(first["psnr"], expected["psnr"], rtol=1e-5)
    for trained, weights in zip(first["weights"], expected["weights"], strict=True):
        np.testing.assert_allclose(trained, weights, atol=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["batch statistics", "no seed", "search", "stopped", "fit within"])
def test_all_processes_end_with_the_same_state(two, name):
    first, second = (outcome[name] for outcome in two[0])
    assert first == second


@pytest.mark.slow
def test_a_callback_of_the_first_process_stops_all(two):
    assert [len(outcome["stopped"]["losses"]) for outcome in two[0]] == [2, 2]


@pytest.mark.slow
def test_the_first_process_writes_and_prints_for_all(two):
    outcomes, output = two
    assert [outcome["file"]["saved"] for outcome in outcomes] == [3, 3]
    assert "in 2 processes" in output[0]
    assert "[DenoisingAutoencoder]" not in output[1]


@pytest.mark.slow
def test_a_fit_in_a_thread_is_alone(two):
    first, second = (outcome["thread"]["losses"] for outcome in two[0])
    assert first != second


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "different"), [("other data", "X"), ("other length", "X"), ("other parameter", "parameters")]
)
def test_different_data_and_parameters_are_refused_everywhere(two, name, different):
    for outcome in two[0]:
        assert outcome[name]["error"].startswith("ValueError: The 2 processes train one network")
        assert f" Different: {different}. " in outcome[name]["error"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "own", "others", "failing"),
    [
        ("failed callback", "OSError: the disk is full", "process 1 had OSError: the disk is full", 1),
        ("bad parameter", "InvalidParameterError: ", "process 1 had InvalidParameterError: ", 1),
        ("interrupted", "KeyboardInterrupt", "process 0 had KeyboardInterrupt", 0),
    ],
)
def test_an_error_of_one_process_ends_the_others_in_words(two, name, own, others, failing):
    errors = [outcome[name]["error"] for outcome in two[0]]
    assert errors[failing].startswith(own)
    assert errors[1 - failing].startswith("LostProcessError: The training over 2 processes ended")
    assert others in errors[1 - failing]


@pytest.mark.slow
def test_all_processes_notice_a_loss_that_diverges(two):
    for outcome in two[0]:
        assert outcome["diverged"]["error"].startswith("TrainingDivergedError")


@pytest.mark.slow
def test_processes_meet_again_after_errors(two):
    for outcome in two[0]:
        assert outcome["after all errors"] == outcome["table"]


@pytest.mark.slow
def test_three_processes_share_batches_of_ten(tmp_path, monkeypatch):
    codes, outcomes, output = launch(3, tmp_path, "scenarios")
    assert codes == [0, 0, 0], output
    for name in ("images", "batches smaller than the processes"):
        expected = alone(name, tmp_path, monkeypatch)
        for outcome in outcomes:
            np.testing.assert_allclose(outcome[name]["losses"], expected["losses"], rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("lost", [0, 1])
def test_a_killed_process_ends_the_other_in_words_and_the_run_resumes(tmp_path, lost):
    codes, outcomes, _ = launch(2, tmp_path, "loss", str(lost))
    assert codes[lost] == -signal.SIGKILL
    assert codes[1 - lost] == 0
    error = outcomes[1 - lost]["error"]
    assert error.startswith("LostProcessError: The training over 2 processes ended: a process was killed")
    assert "warm_start=True" in error
    saved = load(tmp_path / "model.safetensors")
    assert 2 <= saved.n_iter_ <= 3
    resumed = saved.set_params(warm_start=True, max_epochs=6).fit(ROWS)
    assert resumed.n_iter_ == 6


@pytest.mark.parametrize(
    "variables",
    [
        {"WORLD_SIZE": "1", "RANK": "0"},
        {"WORLD_SIZE": "2"},
        {"WORLD_SIZE": "2", "RANK": "0", "SK_DENOISE_PROCESSES": "1"},
    ],
)
def test_a_fit_without_other_processes_is_alone(monkeypatch, variables):
    expected = table().fit(ROWS).loss_curve_
    for name, value in {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1", **variables}.items():
        monkeypatch.setenv(name, value)
    assert table().fit(ROWS).loss_curve_ == expected


def test_a_number_beyond_the_processes_is_refused(monkeypatch):
    for name, value in zip(VARIABLES, ("2", "2", "127.0.0.1", "1", "2"), strict=True):
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match="RANK='2' and WORLD_SIZE='2'"):
        table().fit(ROWS)


def test_accelerate_that_starts_one_process_for_several_warns(monkeypatch):
    for name, value in {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1", "ACCELERATE_USE_CPU": "True"}.items():
        monkeypatch.setenv(name, value)
    with pytest.warns(UserWarning, match="torchrun --nproc-per-node 2"):
        table().fit(ROWS)


def test_processes_that_do_not_meet_are_named(monkeypatch):
    def refuse(*arguments: Any, **options: Any) -> None:
        raise RuntimeError("The server socket has failed to listen on any local network address.\nport: 80")

    monkeypatch.setattr("torch.distributed.init_process_group", refuse)
    for name, value in zip(VARIABLES, ("0", "2", "127.0.0.1", "80", "0"), strict=True):
        monkeypatch.setenv(name, value)
    with pytest.raises(LostProcessError, match=r"did not meet at 127.0.0.1:80: The server socket has failed"):
        table().fit(ROWS)


# Rounds ---------------------------------------------------------------------------------------------------


def rounds(**options: Any) -> DenoisingAutoencoder:
    return fit_in_rounds(table(learning_rate=3e-3), ROWS, samples=15, rounds=3, **options)


def test_rounds_have_the_same_bits_on_any_number_of_threads():
    expected = state(rounds())
    with parallel_config("threading", n_jobs=2):
        assert state(rounds()) == expected
    assert state(rounds(n_workers=3)) != expected


@pytest.mark.slow
def test_rounds_have_the_same_bits_in_processes():
    assert state(rounds(n_jobs=2)) == state(rounds())


def test_rounds_learn():
    rng = np.random.default_rng(0)
    clean = rng.normal(size=(600, 2)) @ rng.normal(size=(2, 8))
    noisy = clean + rng.normal(0, 0.5, clean.shape)
    denoiser = DenoisingAutoencoder(latent_dim=2, noise=GaussianNoiser(0.5), random_state=0)
    fit_in_rounds(denoiser, clean, samples=300, rounds=15)
    assert np.mean((denoiser.predict(noisy) - clean) ** 2) < 0.6 * 0.5**2
    assert denoiser.n_iter_ == 16
    before = denoiser.loss_curve_
    assert fit_in_rounds(denoiser, clean, samples=300, rounds=2).loss_curve_[:16] == before


def test_rounds_of_one_worker_are_passes_of_partial_fit():
    denoiser = fit_in_rounds(
        table(learning_rate_schedule="constant"), ROWS, samples=37, rounds=2, n_workers=1
    )
    assert denoiser.n_iter_ == 3
    assert denoiser.loss_curve_[2] < denoiser.loss_curve_[0]


def test_callbacks_end_rounds():
    seen: list[int] = []

    def stop(denoiser: Any, epoch: dict[str, Any]) -> bool:
        seen.append(denoiser.n_iter_)
        return denoiser.n_iter_ == 3

    fit_in_rounds(table(callbacks=[stop]), ROWS, samples=10, rounds=5)
    assert seen == [2, 3]


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"n_workers": 38}, ValueError, "37 samples for 38 workers"),
        ({"X_clean": ROWS[1:]}, ValueError, "X_clean has 36"),
        ({"X": "folder"}, TypeError, "array or a list of samples"),
        ({"samples": 0}, ValueError, "samples must be at least 1"),
        ({"denoiser": GaussianNoiser(0.1)}, TypeError, "got GaussianNoiser"),
    ],
)
def test_rounds_refuse_what_they_cannot_divide(options, error, words):
    with pytest.raises(error, match=words):
        fit_in_rounds(**{"denoiser": table(), "X": ROWS, "samples": 10, **options})


if __name__ == "__main__":
    {"scenarios": run_scenarios, "loss": run_with_loss}[sys.argv[2]](Path(sys.argv[1]))
