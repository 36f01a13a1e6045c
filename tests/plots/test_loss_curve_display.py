"""LossCurveDisplay: losses, validation PSNR, the best epoch, and errors."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler

from sk_denoise import DenoisingAutoencoder, FoldedUNetNetwork, GaussianNoiser, ImageDenoiser
from sk_denoise.plots import LossCurveDisplay

CURVES = {"a": [3.0, 2.0, 1.0, 0.5], "b": [4.0, 3.0]}
SCORES = {"a": [10.0, 14.0, 13.0, 12.0], "b": [11.0, 12.0]}


@pytest.fixture(scope="module")
def dae(digits):
    dae = DenoisingAutoencoder(noise=GaussianNoiser(0.25), max_epochs=4, random_state=0)
    return dae.fit(digits.train[:300], X_val=digits.test[:50])


def data(line):
    return line.get_xdata().tolist(), line.get_ydata().tolist()


def test_losses_are_drawn_over_the_psnr_of_validation_against_epochs(dae):
    display = LossCurveDisplay.from_estimator(dae, name="dae")
    losses, scores = display.axes_
    assert data(display.loss_lines_["dae"]) == ([1, 2, 3, 4], dae.loss_curve_)
    assert data(display.score_lines_["dae"]) == ([1, 2, 3, 4], dae.validation_scores_)
    assert display.loss_lines_["dae"].axes is losses
    assert display.score_lines_["dae"].axes is scores
    assert losses.get_ylabel() == "training loss"
    assert scores.get_ylabel() == "validation PSNR in dB"
    assert scores.get_xlabel() == "epoch"
    assert losses.get_xlim() == scores.get_xlim()


def test_without_validation_there_is_one_panel_and_no_best_epoch(digits):
    dae = DenoisingAutoencoder(max_epochs=2, random_state=0).fit(digits.train[:100])
    display = LossCurveDisplay.from_estimator(dae)
    assert display.axes_.shape == (1,)
    assert display.axes_[0].get_xlabel() == "epoch"
    assert display.score_lines_ == display.best_epochs_ == display.best_marks_ == {}
    assert display.legend_ is None


def test_the_best_epoch_is_that_of_the_best_psnr_and_marked_on_both_curves():
    display = LossCurveDisplay.from_curves(CURVES, SCORES)
    assert display.best_epochs_ == {"a": 2, "b": 2}
    assert [data(mark) for mark in display.best_marks_["a"]] == [([2], [2.0]), ([2], [14.0])]
    assert [data(mark) for mark in display.best_marks_["b"]] == [([2], [3.0]), ([2], [12.0])]
    colors = [line.get_color() for line in display.loss_lines_.values()]
    assert len(set(colors)) == 2
    for name, color in zip("ab", colors, strict=True):
        assert {x.get_color() for x in (display.score_lines_[name], *display.best_marks_[name])} == {color}
    assert [text.get_text() for text in display.legend_.get_texts()] == ["a", "b", "best validation PSNR"]


@pytest.mark.parametrize("validated", [False, True])
@pytest.mark.parametrize("n", [9, 25])
def test_the_legend_of_many_runs_lies_beside_them_and_leaves_them_room(n, validated, assert_legible):
    runs = {f"learning rate {i}e-4": [2.0, 1.0 + i / n] for i in range(n)}
    display = LossCurveDisplay.from_curves(runs, runs if validated else None)
    assert len(display.legend_.get_texts()) == n + validated
    assert_legible(display.figure_)
    legend = display.legend_.get_window_extent()
    for ax in display.axes_:
        box = ax.get_window_extent()
        assert legend.x0 > box.x1
        assert box.width > 5 * display.figure_.dpi
        assert box.height > 1.7 * display.figure_.dpi


def test_a_run_without_scores_stands_beside_one_with_them():
    display = LossCurveDisplay.from_curves(CURVES, {"b": SCORES["b"]})
    assert list(display.loss_lines_) == ["a", "b"]
    assert list(display.score_lines_) == ["b"]


@pytest.mark.slow
def test_several_estimators_are_given_by_name_or_in_a_list(dae):
    display = LossCurveDisplay.from_estimators({"first": dae, 2: make_pipeline(dae)})
    assert list(display.losses) == ["first", "2"]
    display = LossCurveDisplay.from_estimators([dae, dae])
    assert list(display.losses) == ["denoisingautoencoder-1", "denoisingautoencoder-2"]


@pytest.mark.slow
def test_the_denoiser_is_found_in_pipelines_and_searches(digits):
    pipe = Pipeline(
        [
            ("scale", MinMaxScaler()),
            ("inner", Pipeline([("dae", DenoisingAutoencoder(max_epochs=2, random_state=0))])),
            ("clf", LogisticRegression(max_iter=500)),
        ]
    )
    search = GridSearchCV(pipe, {"inner__dae__latent_dim": [4, 8]}, cv=2)
    search.fit(digits.train[:100], digits.train_labels[:100])
    dae = search.best_estimator_["inner"]["dae"]
    for estimator in (search, search.best_estimator_):
        display = LossCurveDisplay.from_estimator(estimator)
        (losses,) = display.losses.values()
        assert losses.tolist() == dae.loss_curve_


def test_image_denoisers_have_curves_too():
    images = np.random.default_rng(0).random((4, 16, 16))
    network = FoldedUNetNetwork((8, 8), blocks=(1, 1))
    denoiser = ImageDenoiser(network, patch_size=16, max_epochs=2, random_state=0).fit(images)
    assert (
        data(LossCurveDisplay.from_estimator(denoiser).loss_lines_["ImageDenoiser"])[1]
        == denoiser.loss_curve_
    )


def test_epochs_without_validation_are_gaps(digits):
    dae = DenoisingAutoencoder(max_epochs=2, random_state=0).fit(digits.train[:99], X_val=digits.test[:9])
    dae.partial_fit(digits.train[:99])
    display = LossCurveDisplay.from_estimator(dae)
    scores = display.scores["DenoisingAutoencoder"]
    assert len(scores) == len(dae.loss_curve_) == 3
    assert scores[:2].tolist() == dae.validation_scores_
    assert np.isnan(scores[2])
    assert display.best_epochs_["DenoisingAutoencoder"] == 1 + int(np.argmax(scores[:2]))


@pytest.mark.slow
def test_on_a_single_axes_scores_are_dashed_with_an_axis_of_their_own(assert_legible):
    _, ax = plt.subplots(layout="constrained")
    display = LossCurveDisplay.from_curves(CURVES, SCORES, ax=ax)
    losses, scores = display.axes_
    assert losses is ax
    assert scores.yaxis.get_label_position() == "right"
    assert [x.get_ylabel() for x in (losses, scores)] == [
        "training loss (solid)",
        "validation PSNR in dB (dashed)",
    ]
    assert {line.get_linestyle() for line in display.loss_lines_.values()} == {"-"}
    assert {line.get_linestyle() for line in display.score_lines_.values()} == {"--"}
    assert_legible(display.figure_)


def test_on_a_pair_of_axes_the_second_gets_the_scores():
    _, pair = plt.subplots(1, 2)
    display = LossCurveDisplay.from_curves(CURVES, SCORES, ax=pair)
    assert list(display.axes_) == list(pair)
    assert display.score_lines_["a"].axes is pair[1]
    assert LossCurveDisplay.from_curves(CURVES, ax=list(pair)).axes_.tolist() == [pair[0]]
    with pytest.raises(ValueError, match="one or two Axes, for losses and scores; got 3"):
        display.plot([*pair, pair[0]])


def test_the_axis_of_losses_may_be_logarithmic_where_losses_are_above_zero():
    display = LossCurveDisplay.from_curves(CURVES, SCORES, log_scale=True)
    assert [ax.get_yscale() for ax in display.axes_] == ["log", "linear"]
    display.figure_.canvas.draw()
    assert "1" in [text.get_text() for text in display.axes_[0].get_yticklabels()]
    with pytest.raises(ValueError, match="log_scale=True needs losses above 0"):
        LossCurveDisplay.from_curves([1.0, 0.0], log_scale=True)


def test_more_curves_than_colours_are_told_apart():
    display = LossCurveDisplay.from_curves({str(i): [1.0, 0.5] for i in range(25)})
    lines = display.loss_lines_.values()
    assert len({(line.get_color(), str(line._dash_pattern)) for line in lines}) == 25


def test_a_single_epoch_can_be_seen():
    display = LossCurveDisplay.from_curves([0.5])
    assert display.loss_lines_["run"].get_marker() == "."


def test_estimators_without_a_loss_curve_are_refused(digits):
    with pytest.warns(ConvergenceWarning):
        mlp = MLPRegressor(max_iter=1).fit(digits.train[:20], digits.train_labels[:20])
    with pytest.raises(TypeError, match=r"MLPRegressor has no loss curve: .* go to from_curves"):
        # It has a loss curve, and scores that are not PSNR.
        LossCurveDisplay.from_estimator(mlp)
    with pytest.raises(TypeError, match="A single one goes to from_estimator"):
        LossCurveDisplay.from_estimators(LogisticRegression())
    for none in ({}, []):
        with pytest.raises(ValueError, match="estimators is empty"):
            LossCurveDisplay.from_estimators(none)


def test_invalid_curves_are_refused():
    with pytest.raises(ValueError, match="losses is empty"):
        LossCurveDisplay.from_curves({})
    with pytest.raises(
        ValueError, match=r"shape \(n_epochs,\) as losses of 'run', got float64 of shape \(0,\)"
    ):
        LossCurveDisplay.from_curves([])
    with pytest.raises(ValueError, match=r"as losses of 'run', got float64 of shape \(1, 2\)"):
        LossCurveDisplay.from_curves([[1.0, 2.0]])
    with pytest.raises(ValueError, match="losses of 'run' are not finite"):
        LossCurveDisplay.from_curves([1.0, np.nan])
    with pytest.raises(ValueError, match=r"name 'c', which losses lacks. Known: 'a', 'b'"):
        LossCurveDisplay.from_curves(CURVES, {"c": [1.0]})
    with pytest.raises(ValueError, match="'a' has 4 losses and 1 scores"):
        LossCurveDisplay.from_curves(CURVES, {"a": [1.0]})
    with pytest.raises(TypeError, match="scores must be one too"):
        LossCurveDisplay.from_curves(CURVES, [1.0])
