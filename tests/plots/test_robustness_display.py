"""NoiseRobustnessDisplay: scores as in searches, one noise for all, and errors."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sk_denoise import (
    DenoisingAutoencoder,
    GaussianNoiser,
    NoiserChain,
    PoissonNoiser,
    SaltAndPepperNoiser,
    UniformNoiser,
    WienerDenoiser,
    make_denoising_scorer,
)
from sk_denoise.datasets import load_images
from sk_denoise.metrics import psnr
from sk_denoise.plots import NoiseRobustnessDisplay
from sk_denoise.restoration import load_pretrained

SIGMAS = [0.1, 0.25, 0.5]


class Recorder(BaseEstimator):
    """Denoiser that divides by two and keeps its inputs."""

    def __init__(self):
        self.inputs_ = []

    def fit(self, X, y=None):
        return self

    def predict(self, X):
        self.inputs_.append(np.array(X))
        return np.asarray(X) / 2


@pytest.fixture(scope="module")
def dae(digits):
    return DenoisingAutoencoder(noise=GaussianNoiser(0.25), max_epochs=3, random_state=0).fit(digits.train)


@pytest.fixture(scope="module")
def wiener(digits):
    return WienerDenoiser(sigma=0.25).fit(digits.train)


def test_the_means_are_the_scores_of_the_scorer(digits, dae, wiener):
    noiser = GaussianNoiser(random_state=3)
    display = NoiseRobustnessDisplay.from_estimators(
        {"dae": dae, "wiener": wiener}, digits.test[:40], sigmas=SIGMAS, noiser=noiser
    )
    for name, estimator in (("dae", dae), ("wiener", wiener)):
        expected = [
            make_denoising_scorer(GaussianNoiser(sigma, random_state=3))(estimator, digits.test[:40])
            for sigma in SIGMAS
        ]
        line = display.lines_[name]
        np.testing.assert_allclose(line.get_ydata(), expected)
        np.testing.assert_array_equal(line.get_xdata(), SIGMAS)
        assert display.scores[name].shape == (3, 40)


def test_the_dashed_line_is_the_psnr_of_the_noisy_samples(digits):
    first, second = Recorder(), Recorder()
    display = NoiseRobustnessDisplay.from_estimators(
        [first, second], digits.test[:20], sigmas=SIGMAS, data_range=2
    )
    assert len(first.inputs_) == len(second.inputs_) == 3
    for a, b in zip(first.inputs_, second.inputs_, strict=True):
        np.testing.assert_array_equal(a, b)
    (line,) = display.noisy_lines_.values()
    assert list(display.noisy_lines_) == ["noisy"]
    assert line.get_linestyle() == "--"
    expected = [psnr(digits.test[:20], noisy, data_range=2) for noisy in first.inputs_]
    np.testing.assert_allclose(line.get_ydata(), expected)
    halved = [psnr(digits.test[:20], noisy / 2, data_range=2) for noisy in first.inputs_]
    np.testing.assert_allclose(display.lines_["recorder-1"].get_ydata(), halved)


def test_the_noise_is_the_same_in_every_call_and_grows_with_sigma(digits):
    inputs = []
    for sigmas in (SIGMAS, SIGMAS[::-1]):
        recorder = Recorder()
        display = NoiseRobustnessDisplay.from_estimator(recorder, digits.test[:5], sigmas=sigmas)
        assert display.sigmas.tolist() == SIGMAS
        inputs.append(recorder.inputs_)
    np.testing.assert_array_equal(inputs[0], inputs[1])
    weak, _, strong = (noisy - digits.test[:5] for noisy in inputs[0])
    np.testing.assert_allclose(5 * weak, strong, atol=1e-5)


def test_bands_are_quartiles_or_standard_errors_of_the_samples(digits, dae):
    display = NoiseRobustnessDisplay.from_estimator(dae, digits.test[:30], sigmas=SIGMAS, name="dae")
    scores = display.scores["dae"]

    def ends():
        x, y = display.bands_["dae"].get_paths()[0].vertices.T
        return [[y[x == sigma].min(), y[x == sigma].max()] for sigma in SIGMAS]

    np.testing.assert_allclose(ends(), np.quantile(scores, (0.25, 0.75), axis=1).T)
    display.plot(band="standard_error")
    error = scores.std(axis=1, ddof=1) / np.sqrt(30)
    means = scores.mean(axis=1)
    np.testing.assert_allclose(ends(), np.stack([means - error, means + error], axis=1))
    assert display.plot(band=None).bands_ == {}
    with pytest.raises(ValueError, match=r"Unknown band 'quartile'. Did you mean 'quartiles'"):
        display.plot(band="quartile")


def test_a_single_sample_has_no_spread(digits, dae):
    display = NoiseRobustnessDisplay.from_estimator(dae, digits.test[:1], sigmas=[0.2], band="standard_error")
    assert np.isfinite(display.bands_["DenoisingAutoencoder"].get_paths()[0].vertices).all()


def test_many_denoisers_can_be_told_apart_and_their_legend_lies_beside_them(assert_legible):
    scores = {f"denoiser number {i}": np.array([[30.0], [20.0]]) + i for i in range(25)}
    display = NoiseRobustnessDisplay(np.array([0.1, 0.2]), scores, scores).plot()
    looks = {(line.get_color(), line.get_marker()) for line in display.lines_.values()}
    assert len(looks) == 25
    assert_legible(display.figure_)
    legend, axes = display.ax_.get_legend().get_window_extent(), display.ax_.get_window_extent()
    assert legend.x0 > axes.x1
    assert axes.width > 5 * display.figure_.dpi


def test_without_noise_the_noisy_samples_are_perfect_and_not_drawn(digits, dae):
    display = NoiseRobustnessDisplay.from_estimator(dae, digits.test[:20], sigmas=[0, 0.01, 0.3])
    noisy = display.noisy_lines_["noisy"].get_ydata()
    assert np.isnan(noisy).tolist() == [True, False, False]
    assert np.isfinite(display.lines_["DenoisingAutoencoder"].get_ydata()).all()
    assert display.ax_.get_ylim()[1] < 50


def test_other_noise_is_varied_by_its_own_parameter(digits):
    recorder = Recorder()
    display = NoiseRobustnessDisplay.from_estimator(
        recorder, digits.test[:50], sigmas=[0.1, 0.4], noiser=SaltAndPepperNoiser(), parameter="amount"
    )
    changed = [np.mean(noisy != digits.test[:50].astype(noisy.dtype)) for noisy in recorder.inputs_]
    assert changed[0] < changed[1] < 0.4
    assert display.ax_.get_xlabel() == "amount of SaltAndPepperNoiser"


def test_the_axis_label_names_the_unit(digits):
    def label(noiser, parameter="noise_factor", **options):
        display = NoiseRobustnessDisplay.from_estimator(
            Recorder(), digits.test[:9], sigmas=[0.2], noiser=noiser, parameter=parameter, **options
        )
        return display.ax_.get_xlabel()

    assert label(None) == "standard deviation of the noise, in the unit of the data"
    assert label(GaussianNoiser(scale="std")).endswith("in standard deviations of each feature")
    assert label(UniformNoiser()) == "noise_factor of UniformNoiser, in the unit of the data"
    assert label(PoissonNoiser(), "peak", log_scale=True) == "peak of PoissonNoiser"


def test_the_axis_may_be_logarithmic_for_levels_above_zero(digits, dae):
    arguments = {"noiser": PoissonNoiser(), "parameter": "peak", "sigmas": [1, 10, 100]}
    display = NoiseRobustnessDisplay.from_estimator(dae, digits.test[:9], log_scale=True, **arguments)
    assert display.ax_.get_xscale() == "log"
    with pytest.raises(ValueError, match="log_scale=True needs sigmas above 0"):
        NoiseRobustnessDisplay.from_estimator(dae, digits.test[:9], sigmas=[0, 1], log_scale=True)


@pytest.mark.parametrize("scale", [1, 255])
def test_images_of_different_sizes_are_lists_and_may_be_integers(scale):
    model = load_pretrained("gray")
    photos = [photo[:40, :width] for photo, width in zip(load_images("gray").test[:2], (60, 50), strict=True)]
    clean = photos if scale == 1 else [(255 * x).round().astype(np.uint8) for x in photos]
    display = NoiseRobustnessDisplay.from_estimator(model, clean, sigmas=[0.1 * scale], name="model")
    expected = make_denoising_scorer(GaussianNoiser(0.1 * scale))(model, clean)
    assert display.lines_["model"].get_ydata()[0] == pytest.approx(expected)
    assert display.lines_["model"].get_ydata()[0] > display.noisy_lines_["noisy"].get_ydata()[0] + 2


def test_a_pipeline_that_scales_is_compared_in_the_unit_of_its_last_step(digits, dae):
    scaled = make_pipeline(StandardScaler(), DenoisingAutoencoder(max_epochs=2, random_state=0)).fit(
        digits.train
    )
    display = NoiseRobustnessDisplay.from_estimators(
        {"plain": dae, "scaled": scaled}, digits.test[:40], sigmas=[0.25]
    )
    assert list(display.noisy_lines_) == ["noisy, for plain", "noisy, for scaled"]
    expected = make_denoising_scorer(GaussianNoiser(0.25))(scaled, digits.test[:40])
    assert display.lines_["scaled"].get_ydata()[0] == pytest.approx(expected)
    colors = [display.noisy_lines_[f"noisy, for {name}"].get_color() for name in ("plain", "scaled")]
    assert colors == [display.lines_[name].get_color() for name in ("plain", "scaled")]


def test_a_pipeline_that_leaves_the_unit_shares_the_dashed_line(digits, dae):
    percent = FunctionTransformer(lambda X: 100 * X)
    pipe = Pipeline([("percent", percent), ("halving", Recorder())])
    display = NoiseRobustnessDisplay.from_estimators([dae, pipe], digits.test[:40], sigmas=SIGMAS)
    assert list(display.noisy_lines_) == ["noisy"]


@pytest.mark.filterwarnings("error")
def test_frames_keep_their_names_and_weak_noise_gives_no_warning(digits):
    frame = pd.DataFrame(digits.train, columns=[f"pixel{i}" for i in range(64)])
    pipe = make_pipeline(
        StandardScaler().set_output(transform="pandas"), DenoisingAutoencoder(max_epochs=1, random_state=0)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        display = NoiseRobustnessDisplay.from_estimator(pipe.fit(frame), frame[:20], sigmas=[1e-4, 0.2])
    assert display.scores["Pipeline"].shape == (2, 20)


def test_from_predictions_draws_what_from_estimators_draws(digits):
    recorder = Recorder()
    theirs = NoiseRobustnessDisplay.from_estimator(recorder, digits.test[:9], sigmas=SIGMAS, name="half")
    noisy = recorder.inputs_[::-1]
    ours = NoiseRobustnessDisplay.from_predictions(
        digits.test[:9], noisy, {"half": [x / 2 for x in noisy]}, sigmas=SIGMAS[::-1], label="sigma"
    )
    for mine, yours in ((ours.lines_, theirs.lines_), (ours.noisy_lines_, theirs.noisy_lines_)):
        for name, line in mine.items():
            np.testing.assert_array_equal(line.get_xydata(), yours[name].get_xydata())
    assert ours.ax_.get_xlabel() == "sigma"


def test_invalid_levels_estimators_and_noise_are_refused(digits, dae):
    draw = NoiseRobustnessDisplay.from_estimator
    for sigmas in ([], [[0.1]], [0.1, np.nan], ["a"], 0.1, [0.1, 0.1]):
        with pytest.raises(
            ValueError, match="sigmas must be at least one number, finite and each given once"
        ):
            draw(dae, digits.test, sigmas=sigmas)
    with pytest.raises(ValueError, match=r"parameter of GaussianNoiser 'amount'.*Known: .*'noise_factor'"):
        draw(dae, digits.test, sigmas=SIGMAS, parameter="amount")
    with pytest.raises(ValueError, match="noise_factor must be a finite number of at least 0"):
        draw(dae, digits.test, sigmas=[-1])
    with pytest.raises(TypeError, match="Did you mean GaussianNoiser"):
        draw(dae, digits.test, sigmas=SIGMAS, noiser=GaussianNoiser)
    with pytest.raises(ValueError, match="data_range must be a finite number above 0"):
        draw(dae, digits.test, sigmas=SIGMAS, data_range=0)
    always = Pipeline([("noise", GaussianNoiser(0.2, apply="always").fit(digits.train)), ("dae", dae)])
    with pytest.raises(ValueError, match='Give that one apply="fit"'):
        draw(always, digits.test, sigmas=SIGMAS)
    classifier = LogisticRegression(max_iter=500).fit(digits.train[:99], digits.train_labels[:99])
    with pytest.raises(
        ValueError, match=r"predictions of 'LogisticRegression' to be 20 samples .*of shape \(\)"
    ):
        draw(classifier, digits.test[:20], sigmas=SIGMAS)
    with pytest.raises(TypeError, match="'StandardScaler' has no predict"):
        draw(StandardScaler().fit(digits.train), digits.test, sigmas=SIGMAS)
    for none in ({}, []):
        with pytest.raises(ValueError, match="estimators is empty"):
            NoiseRobustnessDisplay.from_estimators(none, digits.test, sigmas=SIGMAS)


def test_levels_inside_a_chain_are_set_by_their_name(digits):
    chain = NoiserChain([SaltAndPepperNoiser(0.1), GaussianNoiser()])
    names = [name for name in chain.get_params() if name.endswith("noise_factor")]
    recorder = Recorder()
    NoiseRobustnessDisplay.from_estimator(
        recorder, digits.test[:20], sigmas=SIGMAS, noiser=chain, parameter=names[0]
    )
    spreads = [np.std(noisy - digits.test[:20]) for noisy in recorder.inputs_]
    assert spreads == sorted(spreads)
    assert spreads[0] < spreads[2] - 0.1


def test_predictions_of_wrong_shape_are_refused(digits):
    X = digits.test[:4]
    draw = NoiseRobustnessDisplay.from_predictions
    with pytest.raises(ValueError, match="noisy must hold samples for each of 2 sigmas, got 1"):
        draw(X, [X], {"a": [X, X]}, sigmas=[1, 2])
    with pytest.raises(
        ValueError, match=r"denoised\['a'\] to be 4 samples .*got 3, the first of shape \(64,\)"
    ):
        draw(X, [X], {"a": [X[:3]]}, sigmas=[1])
    with pytest.raises(ValueError, match="denoised is empty"):
        draw(X, [X], {}, sigmas=[1])
