"""Callbacks of scikit-learn and skorch, and functions, during a fit."""

from __future__ import annotations

import io
import pickle
import re

import numpy as np
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from skorch.callbacks import Checkpoint, EarlyStopping, GradientNormClipping, LRScheduler, PrintLog

import sk_denoise
from sk_denoise import (
    DenoisingAutoencoder,
    FoldedUNetNetwork,
    GaussianNoiser,
    ImageDenoiser,
    make_denoising_scorer,
)

callback = pytest.importorskip("sklearn.callback", reason="callbacks exist from scikit-learn 1.9 on")

X, LABELS = load_digits(return_X_y=True)
X, LABELS = X[:200] / 16, LABELS[:200]
IMAGES = X.reshape(-1, 8, 8)
EPOCHS = 3


def dae(**parameters) -> DenoisingAutoencoder:
    return DenoisingAutoencoder(**{"max_epochs": EPOCHS, "random_state": 0, "latent_dim": 8} | parameters)


def images(**parameters) -> ImageDenoiser:
    network = FoldedUNetNetwork((8, 8), blocks=(1, 1))
    return ImageDenoiser(network, **{"max_epochs": EPOCHS, "random_state": 0} | parameters)


LEARNERS = {"autoencoder": (dae, X), "images": (images, IMAGES), "list": (images, list(IMAGES[:60]))}
learners = pytest.mark.parametrize(("make", "samples"), LEARNERS.values(), ids=LEARNERS.keys())


class Recorder:
    """A callback that records its calls, also for estimators inside of others."""

    max_propagation_depth = None

    def __init__(self, stop_after: int | None = None) -> None:
        self.calls: list[tuple[str, str, str]] = []
        self.results: list[dict[str, object]] = []
        self.stop_after = stop_after

    def setup(self, estimator, context):
        self.calls.append(("setup", type(estimator).__name__, ""))

    def teardown(self, estimator, context):
        self.calls.append(("teardown", type(estimator).__name__, ""))

    def on_fit_task_begin(self, estimator, context):
        self.calls.append(("begin", type(estimator).__name__, context.task_name))
        self.expected = context.max_subtasks

    def on_fit_task_end(self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None):
        self.calls.append(("end", type(estimator).__name__, context.task_name))
        self.results.append({"X": X, "y": y, "metadata": metadata, "fitted": fitted_estimator})
        epochs = sum(task == "epoch" for event, _, task in self.calls if event == "end")
        return self.stop_after is not None and context.task_name == "epoch" and epochs >= self.stop_after

    def tasks(self) -> list[tuple[str, str]]:
        return [(event, task) for event, _, task in self.calls if event in ("begin", "end")]


def public_estimators() -> dict[str, type]:
    classes = {name: getattr(sk_denoise, name) for name in sk_denoise.__all__}
    return {n: k for n, k in classes.items() if isinstance(k, type) and issubclass(k, BaseEstimator)}


# Callbacks of scikit-learn -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n, kind in public_estimators().items() if hasattr(kind, "fit")])
def test_every_estimator_calls_callbacks_at_the_begin_and_end_of_a_fit(name, make_estimator):
    if name == "BM3DDenoiser":
        pytest.importorskip("bm3d")
    estimator = make_estimator(name)
    if "max_epochs" in estimator.get_params():
        estimator.set_params(max_epochs=1)
    recorder = Recorder()
    # Some take rows alone.
    estimator.set_callbacks(recorder).fit(X if name in ("DenoisingImputer", "TableEncoder") else IMAGES)
    assert recorder.calls[0] == ("setup", name, "")
    assert recorder.calls[1] == ("begin", name, "fit")
    assert recorder.calls[-2] == ("end", name, "fit")
    assert recorder.calls[-1] == ("teardown", name, "")
    assert not [attribute for attribute in vars(estimator) if "callback_" in attribute]


@learners
def test_epochs_are_tasks_of_a_fit_with_a_known_number(make, samples):
    recorder = Recorder()
    make().set_callbacks(recorder).fit(samples)
    epochs = [("begin", "epoch"), ("end", "epoch")] * EPOCHS
    assert recorder.tasks() == [("begin", "fit"), *epochs, ("end", "fit")]


@pytest.mark.slow
@learners
def test_callbacks_get_an_estimator_as_if_the_fit_had_ended(make, samples):
    recorder = Recorder()
    make(learning_rate_schedule="constant").set_callbacks(recorder).fit(samples)
    for epochs in (1, EPOCHS):
        so_far = recorder.results[epochs - 1]["fitted"]
        alone = make(learning_rate_schedule="constant", max_epochs=epochs).fit(samples)
        assert so_far.n_iter_ == epochs
        np.testing.assert_array_equal(so_far.predict(samples)[0], alone.predict(samples)[0])


@learners
def test_callbacks_do_not_change_the_fit(make, samples):
    alone, watched = make().fit(samples), make().set_callbacks(Recorder()).fit(samples)
    np.testing.assert_array_equal(alone.predict(samples)[0], watched.predict(samples)[0])


@learners
def test_a_callback_stops_the_run(make, samples):
    estimator = make(max_epochs=10).set_callbacks(Recorder(stop_after=2)).fit(samples)
    assert estimator.n_iter_ == len(estimator.loss_curve_) == 2


@learners
def test_callbacks_get_clean_samples_or_the_given_pair(make, samples):
    clean = Recorder()
    make().set_callbacks(clean).fit(samples)
    np.testing.assert_array_equal(clean.results[0]["X"], clean.results[0]["y"])
    paired = Recorder()
    noisy = [sample + 0.25 for sample in samples] if isinstance(samples, list) else samples + 0.25
    make().set_callbacks(paired).fit(noisy, X_clean=samples)
    difference = np.asarray(paired.results[0]["X"]) - np.asarray(paired.results[0]["y"])
    np.testing.assert_allclose(difference, 0.25, atol=1e-6)


def test_callbacks_get_the_weights_of_samples():
    recorder, weights = Recorder(), np.linspace(0.5, 2, len(X))
    dae(blend=None).set_callbacks(recorder).fit(X, sample_weight=weights)
    np.testing.assert_array_equal(recorder.results[0]["metadata"]["sample_weight"], weights)


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
def test_a_search_over_a_pipeline_passes_all_tasks_to_its_callbacks():
    recorder = Recorder()
    pipeline = Pipeline([("noise", GaussianNoiser(0.25)), ("dae", dae()), ("clf", LogisticRegression())])
    search = GridSearchCV(pipeline, {"dae__latent_dim": [4, 8]}, cv=2, refit=False)
    search.set_callbacks(recorder).fit(X, LABELS)
    calls = recorder.calls
    assert calls.count(("end", "DenoisingAutoencoder", "epoch")) == 2 * 2 * EPOCHS
    assert calls.count(("end", "GaussianNoiser", "fit")) == 2 * 2
    assert [event for event, _, _ in calls].count("teardown") == 1


@pytest.mark.slow
def test_a_monitor_scores_every_epoch_of_every_candidate():
    monitor = callback.ScoringMonitor(scoring=make_denoising_scorer(GaussianNoiser(0.25), data_range=1))
    # The network alone, which learns from epoch to epoch.
    learner = dae(blend=None).set_callbacks(monitor)
    pipeline = Pipeline([("noise", GaussianNoiser(0.25)), ("dae", learner)])
    GridSearchCV(pipeline, {"dae__latent_dim": [4, 8]}, cv=2, refit=False).fit(X)
    scores = [row["score"] for row in monitor.get_logs().data]
    assert len(scores) == 2 * 2 * EPOCHS
    assert all(0 < score < 30 for score in scores)
    first, last = np.array(scores).reshape(-1, EPOCHS)[:, [0, -1]].T
    assert (last > first).all()


def test_a_monitor_may_have_several_scores():
    scorers = {
        name: make_denoising_scorer(GaussianNoiser(0.25), name, data_range=None) for name in ("psnr", "mse")
    }
    monitor = callback.ScoringMonitor(scoring=scorers)
    dae().set_callbacks(monitor).fit(X)
    assert {"psnr", "mse"} <= monitor.get_logs().data[0].keys()


@pytest.mark.slow
def test_progress_bars_are_nested_as_the_fits_are(monkeypatch):
    rich, console = pytest.importorskip("rich"), pytest.importorskip("rich.console")
    out = io.StringIO()
    terminal = console.Console(file=out, force_terminal=True, width=100)
    monkeypatch.setattr(rich, "_console", terminal, raising=False)
    pipeline = Pipeline([("noise", GaussianNoiser(0.25)), ("dae", dae())])
    search = GridSearchCV(pipeline, {"dae__latent_dim": [4, 8]}, cv=2, refit=False)
    search.set_callbacks(callback.ProgressBar(max_propagation_depth=None)).fit(X)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", out.getvalue()).replace("\r", "\n")
    assert re.search(r"^GridSearchCV - fit .* 100%", text, re.MULTILINE)
    assert re.search(
        r"^ +Pipeline - fit-final-estimator \| DenoisingAutoencoder - fit.*100%", text, re.MULTILINE
    )


def test_callbacks_are_torn_down_after_a_failed_fit():
    recorder = Recorder()
    estimator = dae(loss=lambda output, target: (output - target).square().mean() * np.inf)
    with pytest.raises(RuntimeError):
        estimator.set_callbacks(recorder).fit(X)
    assert recorder.calls[-1] == ("teardown", "DenoisingAutoencoder", "")
    assert not [attribute for attribute in vars(estimator) if "callback_" in attribute]
    assert not estimator.__sklearn_is_fitted__()


@pytest.mark.slow
def test_callbacks_stay_with_the_estimator_and_its_clones_until_removed():
    recorder = Recorder()
    estimator = dae().set_callbacks(recorder).fit(X)
    clone(estimator).fit(X)
    assert [event for event, _, _ in recorder.calls].count("setup") == 2
    estimator.set_callbacks().fit(X)
    assert [event for event, _, _ in recorder.calls].count("setup") == 2


@learners
def test_partial_fit_is_a_fit_of_one_epoch(make, samples):
    recorder = Recorder()
    make().set_callbacks(recorder).partial_fit(samples)
    assert recorder.tasks() == [("begin", "fit"), ("begin", "epoch"), ("end", "epoch"), ("end", "fit")]


# Functions ---------------------------------------------------------------------------------------------


@learners
def test_a_function_gets_a_fitted_copy_and_the_figures_of_each_epoch(make, samples):
    calls = []
    estimator = make(callbacks=[lambda fitted, epoch: calls.append((fitted, epoch))], early_stopping=True)
    if "blend" in estimator.get_params():
        # The network alone differs from epoch to epoch.
        estimator.set_params(blend=None)
    estimator.fit(samples)
    assert [epoch["epoch"] for _, epoch in calls] == list(range(1, EPOCHS + 1))
    assert [epoch["train_loss"] for _, epoch in calls] == estimator.loss_curve_
    assert [epoch["valid_psnr"] for _, epoch in calls] == estimator.validation_scores_
    assert all(epoch["lr"] > 0 and epoch["dur"] > 0 for _, epoch in calls[:-1])
    first, last = (np.asarray(calls[index][0].predict(samples)[0]) for index in (0, -1))
    assert not np.array_equal(first, last)
    assert pickle.loads(pickle.dumps(calls[0][0].set_params(callbacks=None))).n_iter_ == 1


@pytest.mark.slow
def test_the_copy_is_independent_of_the_fit():
    kept = []
    pipeline = Pipeline([("dae", dae(callbacks=[lambda fitted, epoch: kept.append(fitted)]))])
    pipeline.set_callbacks(Recorder()).fit(X)
    recorder = Recorder()
    kept[0].set_params(callbacks=None).set_callbacks(recorder).fit(X[:50])
    assert recorder.calls[0] == ("setup", "DenoisingAutoencoder", "")


@learners
def test_the_copy_of_the_last_epoch_continues_to_the_same_bits(make, samples):
    copies = []
    ended = make(callbacks=[lambda estimator, epoch: copies.append(estimator)]).fit(samples)
    for estimator in (ended, copies[-1]):
        more = estimator.n_iter_ + 2
        estimator.set_params(warm_start=True, callbacks=None, max_epochs=more).fit(samples)
    assert copies[-1].loss_curve_ == ended.loss_curve_
    np.testing.assert_array_equal(copies[-1].predict(samples)[0], ended.predict(samples)[0])


def test_callbacks_get_frames_as_frames():
    pandas = pytest.importorskip("pandas")
    recorder = Recorder()
    frame = pandas.DataFrame(X, columns=[f"pixel {index}" for index in range(64)])
    dae().set_callbacks(recorder).fit(frame)
    assert list(recorder.results[0]["X"].columns) == list(frame.columns)


def test_a_function_stops_the_run_by_returning_true():
    estimator = dae(max_epochs=50, callbacks=[lambda fitted, epoch: epoch["epoch"] == 4]).fit(X)
    assert estimator.n_iter_ == 4


def test_an_error_in_a_function_leaves_the_estimator_as_it_was():
    def broken(fitted, epoch):
        raise KeyError("broken")

    estimator = dae(callbacks=[broken])
    with pytest.raises(KeyError, match="broken"):
        estimator.fit(X)
    assert not estimator.__sklearn_is_fitted__()


# Callbacks of skorch -----------------------------------------------------------------------------------


@learners
def test_callbacks_of_skorch_work(make, samples, tmp_path, capsys):
    lines = []
    callbacks = [PrintLog(sink=lines.append), Checkpoint(dirname=tmp_path), GradientNormClipping(1.0)]
    make(callbacks=callbacks, early_stopping=True).fit(samples)
    assert re.match(r" +epoch +.*train_loss +valid_loss +valid_psnr +dur", lines[0])
    assert len(lines) == 2 + EPOCHS
    assert (tmp_path / "params.pt").exists()


def test_print_log_of_skorch_prints(capsys):
    dae(callbacks=[PrintLog()]).fit(X)
    assert len(capsys.readouterr().out.splitlines()) == 2 + EPOCHS


@pytest.mark.slow
def test_early_stopping_of_skorch_stops_a_run_in_a_search():
    patience = EarlyStopping(monitor="train_loss", patience=2, threshold=10.0, threshold_mode="abs")
    search = GridSearchCV(dae(max_epochs=40, callbacks=[patience]), {"latent_dim": [4, 8]}, cv=2)
    assert search.fit(X).best_estimator_.n_iter_ < 40


def test_functions_get_the_epoch_in_which_skorch_stops():
    epochs = []
    patience = EarlyStopping(monitor="train_loss", patience=2, threshold=10.0, threshold_mode="abs")
    estimator = dae(max_epochs=40, callbacks=[patience, lambda fitted, epoch: epochs.append(epoch["epoch"])])
    assert epochs == []
    assert len(estimator.fit(X).loss_curve_) == epochs[-1]


def test_averaged_weights_replace_weights_that_skorch_restores(tmp_path):
    best = Checkpoint(monitor="train_loss_best", dirname=tmp_path, load_best=True)
    alone, both = dae(weight_averaging=0.9), dae(weight_averaging=0.9, callbacks=[best])
    np.testing.assert_array_equal(alone.fit(X).predict(X), both.fit(X).predict(X))


def test_skorch_sets_the_learning_rate_with_a_constant_schedule():
    rates = []
    schedule = LRScheduler("StepLR", step_size=1, gamma=0.5)
    callbacks = [schedule, lambda fitted, epoch: rates.append(epoch["lr"])]
    dae(callbacks=callbacks, learning_rate=0.008, learning_rate_schedule="constant").fit(X)
    assert rates == pytest.approx([0.008, 0.004, 0.002])


def test_a_clone_has_fresh_callbacks():
    estimator = dae(callbacks=[PrintLog()])
    assert clone(estimator).callbacks[0] is not estimator.callbacks[0]


@pytest.mark.parametrize(
    ("callbacks", "message"),
    [
        (PrintLog(), "must be an instance of"),
        ([PrintLog], "Did you mean PrintLog()"),
        ([callback.ScoringMonitor(scoring="r2")], "Pass it to set_callbacks"),
        (["loss"], "got 'loss'"),
    ],
)
def test_invalid_callbacks_are_refused(callbacks, message):
    with pytest.raises((TypeError, ValueError), match=re.escape(message) if "(" in message else message):
        dae(callbacks=callbacks).fit(X)
