"""Every display keeps its data and its artists, and has no side effects."""

from __future__ import annotations

import copy
import inspect
import pickle
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from sk_denoise import DenoisingAutoencoder, GaussianNoiser, plots
from sk_denoise.plots import (
    ComparisonDisplay,
    DenoisingDisplay,
    LatentDisplay,
    LossCurveDisplay,
    NoiseModelDisplay,
    NoiseRobustnessDisplay,
)

NOISER = GaussianNoiser(0.25, random_state=0)


@dataclass(frozen=True)
class Case:
    """A function that creates a display of an estimator, and the argument to draw on."""

    create: Callable[..., Any]
    draws_on: str = "ax"

    @property
    def kind(self) -> type:
        return self.create(None, None, None, only_the_class=True)


def comparison(estimator, digits, options, *, only_the_class=False):
    if only_the_class:
        return ComparisonDisplay
    return ComparisonDisplay.from_methods(
        {"ours": estimator}, digits.test[:3], NOISER, image_shape=(8, 8), **options
    )


def denoising(estimator, digits, options, *, only_the_class=False):
    if only_the_class:
        return DenoisingDisplay
    return DenoisingDisplay.from_estimator(
        estimator, digits.test[:2], noiser=NOISER, image_shape=(8, 8), labels=["one", "two"], **options
    )


def signals(estimator, digits, options, *, only_the_class=False):
    if only_the_class:
        return DenoisingDisplay
    return DenoisingDisplay.from_estimator(
        estimator, digits.test[:2], noiser=NOISER, kind="signals", labels=["one", "two"], **options
    )


def latents(estimator, digits, options, *, only_the_class=False):
    if only_the_class:
        return LatentDisplay
    return LatentDisplay.from_estimator(estimator, digits.test[:50], digits.test_labels[:50], **options)


def loss_curves(estimator, digits, options, *, only_the_class=False):
    return LossCurveDisplay if only_the_class else LossCurveDisplay.from_estimator(estimator, **options)


def robustness(estimator, digits, options, *, only_the_class=False):
    if only_the_class:
        return NoiseRobustnessDisplay
    return NoiseRobustnessDisplay.from_estimator(estimator, digits.test[:9], sigmas=[0.1, 0.3], **options)


def noise_model(estimator, digits, options, *, only_the_class=False):
    if only_the_class:
        return NoiseModelDisplay
    noisy = np.random.default_rng(0).normal(0.5, 0.1, (128, 128))
    return NoiseModelDisplay.from_image(noisy, **options)


CASES = {
    "comparison": Case(comparison, "figure"),
    "denoising": Case(denoising, "figure"),
    "denoising of signals": Case(signals, "figure"),
    "latents": Case(latents),
    "loss curves": Case(loss_curves),
    "robustness": Case(robustness),
    "noise model": Case(noise_model, "figure"),
}
every_display = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
# A noise model is that of an image, without any estimator.
OF_ESTIMATORS = {name: case for name, case in CASES.items() if name != "noise model"}
every_display_of_estimators = pytest.mark.parametrize(
    "case", OF_ESTIMATORS.values(), ids=OF_ESTIMATORS.keys()
)


@pytest.fixture(scope="module")
def dae(digits):
    dae = DenoisingAutoencoder(noise=NOISER, latent_dim=5, max_epochs=3, random_state=0)
    return dae.fit(digits.train[:300], X_val=digits.test[:50])


def drawn(display):
    """Return the data of all artists of a display."""
    figure = display.figure_
    arrays = []
    for ax in figure.axes:
        arrays += [np.asarray(line.get_xydata()) for line in ax.lines]
        arrays += [np.asarray(image.get_array()) for image in ax.images]
        arrays += [np.asarray(points.get_offsets()) for points in ax.collections]
    return arrays


def assert_same(first, second):
    assert len(first) == len(second) > 0
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def test_every_public_display_is_tested_here():
    assert {case.kind.__name__ for case in CASES.values()} == set(plots.__all__)


@every_display
def test_it_makes_one_figure_and_keeps_it(case, digits, dae):
    display = case.create(dae, digits, {})
    assert type(display) is case.kind
    assert plt.get_fignums() == [display.figure_.number]
    assert display.figure_ is plt.gcf()


@every_display
def test_it_draws_on_given_axes_or_figures_and_opens_no_figure(case, digits, dae):
    figure = plt.figure(figsize=(6, 5))
    given = figure if case.draws_on == "figure" else figure.add_subplot()
    display = case.create(dae, digits, {case.draws_on: given})
    assert display.figure_ is figure
    assert plt.get_fignums() == [figure.number]
    assert figure.get_size_inches().tolist() == [6, 5]
    assert len(drawn(display)) > 0


@every_display
def test_plot_draws_the_same_again_and_returns_the_display(case, digits, dae):
    display = case.create(dae, digits, {})
    first, axes = drawn(display), set(display.figure_.axes)
    assert display.plot() is display
    assert axes.isdisjoint(display.figure_.axes)
    assert_same(drawn(display), first)


@every_display
def test_it_keeps_its_parameters_and_artists_with_an_underscore(case, digits, dae):
    display = case.create(dae, digits, {})
    arguments = set(inspect.signature(case.kind).parameters)
    assert {name for name in vars(display) if not name.endswith("_")} == arguments
    documented = case.kind.__doc__.partition("Attributes\n")[2].partition("See Also")[0]
    for name in vars(display).keys() - arguments:
        assert name in documented, name
    again = case.kind(**{name: getattr(display, name) for name in arguments})
    assert not any(name.endswith("_") for name in vars(again))
    assert_same(drawn(again.plot()), drawn(display))


@every_display
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_and_pickles_hold_the_data_and_can_be_drawn(case, copied, digits, dae):
    display = case.create(dae, digits, {})
    other = copied(display)
    assert plt.get_fignums() == [display.figure_.number]
    assert not hasattr(other, "figure_")
    assert_same(drawn(other.plot()), drawn(display))


@every_display
def test_it_leaves_matplotlibs_settings_and_the_estimator_as_they_were(case, digits, dae):
    settings, before = dict(mpl.rcParams), pickle.dumps(dae.get_params())
    case.create(dae, digits, {})
    assert dict(mpl.rcParams) == settings
    assert pickle.dumps(dae.get_params()) == before


@every_display
def test_no_text_is_cut_or_overlaps(case, digits, dae, assert_legible):
    assert_legible(case.create(dae, digits, {}).figure_)


@pytest.mark.slow
@every_display_of_estimators
def test_it_takes_pipelines_and_searches(case, digits, dae):
    pipe = Pipeline([("noise", clone(NOISER).fit(digits.train)), ("dae", dae)])
    search = GridSearchCV(DenoisingAutoencoder(random_state=0, latent_dim=5), {"max_epochs": [1]}, cv=2)
    for estimator in (pipe, search.fit(digits.train[:60])):
        assert len(drawn(case.create(estimator, digits, {}))) > 0


@every_display_of_estimators
def test_unfitted_estimators_are_refused_before_a_figure_is_made(case, digits):
    dae = DenoisingAutoencoder(latent_dim=5)
    for estimator in (dae, Pipeline([("dae", dae)]), GridSearchCV(dae, {"max_epochs": [1]})):
        with pytest.raises(NotFittedError, match="fitted"):
            case.create(estimator, digits, {})
    with pytest.raises(TypeError, match=r"Did you mean DenoisingAutoencoder\(\), fitted\?"):
        case.create(DenoisingAutoencoder, digits, {})
    with pytest.raises(TypeError, match="fitted estimator"):
        case.create(3, digits, {})
    assert plt.get_fignums() == []


@every_display
def test_without_matplotlib_the_error_names_the_extra(case, digits, dae, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=rf"{case.kind.__name__}\.from_.* needs matplotlib.*\[plots\]"):
        case.create(dae, digits, {})


@every_display
def test_other_objects_to_draw_on_are_refused(case, digits, dae):
    with pytest.raises(TypeError, match=rf"{case.draws_on} must be .*matplotlib .*got 'left'"):
        case.create(dae, digits, {case.draws_on: "left"})


def test_a_denoiser_without_fit_is_accepted(digits):
    class Halving:
        def predict(self, X):
            return X / 2

    display = NoiseRobustnessDisplay.from_estimator(Halving(), digits.test[:5], sigmas=[0.2])
    assert list(display.lines_) == ["Halving"]
