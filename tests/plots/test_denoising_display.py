"""DenoisingDisplay: what it draws, from what, and what it refuses."""

from __future__ import annotations

import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from sk_denoise import DenoisingAutoencoder, GaussianNoiser, make_denoising_scorer
from sk_denoise.metrics import psnr
from sk_denoise.plots import DenoisingDisplay


@pytest.fixture(scope="module")
def dae(digits):
    return DenoisingAutoencoder(noise=GaussianNoiser(0.25), max_epochs=3, random_state=0).fit(digits.train)


@pytest.fixture
def stacks(digits):
    clean = digits.test[:5].reshape(-1, 8, 8)
    noisy = digits.noisy_test(0.5)[:5].reshape(-1, 8, 8)
    return clean, noisy, 0.5 * noisy


def percent(X):
    return 100 * X


def test_rows_are_clean_noisy_denoised_and_columns_are_samples(stacks):
    display = DenoisingDisplay.from_predictions(*stacks)
    assert display.axes_.shape == display.images_.shape == (3, 5)
    assert [ax.get_ylabel() for ax in display.axes_[:, 0]] == ["clean", "noisy", "denoised"]
    for row, stack in enumerate(stacks):
        for column, picture in enumerate(stack):
            np.testing.assert_array_equal(display.images_[row, column].get_array(), picture)
    assert display.figure_ is plt.gcf()


def test_all_pictures_share_the_grey_scale_of_the_clean_data(stacks):
    clean, noisy, denoised = stacks
    display = DenoisingDisplay.from_predictions(clean, noisy, denoised)
    assert noisy.min() < clean.min()
    assert {image.get_clim() for image in display.images_.flat} == {(clean.min(), clean.max())}
    display = DenoisingDisplay.from_predictions(clean, noisy, denoised, limits=(-1, 2))
    assert {image.get_clim() for image in display.images_.flat} == {(-1, 2)}


def test_titles_are_the_labels_and_the_psnr_stands_under_noisy_and_denoised(stacks):
    display = DenoisingDisplay.from_predictions(*stacks, labels=np.arange(5), data_range=1)
    assert [ax.get_title() for ax in display.axes_[0]] == list("01234")
    assert not any(ax.get_xlabel() for ax in display.axes_[0])
    expected = f"{psnr(stacks[0][2:3], stacks[1][2:3], data_range=1):.1f} dB"
    assert display.axes_[1, 2].get_xlabel() == expected
    assert all(ax.get_xlabel().endswith(" dB") for ax in display.axes_[2])


@pytest.mark.parametrize("labels", [list("01234"), ["a rather long label"] * 5, ["two\nlines"] * 5])
@pytest.mark.parametrize("shape", [(8, 8), (16, 4), (4, 16)])
def test_no_text_is_cut_or_overlaps(stacks, labels, shape, assert_legible):
    flat = [stack.reshape(5, 64) for stack in stacks]
    display = DenoisingDisplay.from_predictions(*flat, labels=labels, image_shape=shape)
    assert_legible(display.figure_)


def test_flat_rows_take_an_image_shape_and_colours_are_clipped_to_the_scale():
    rng = np.random.default_rng(0)
    clean = rng.uniform(0, 255, (2, 4, 5, 3))
    noisy = clean + rng.normal(0, 50, clean.shape)
    flat = (stack.reshape(2, -1) for stack in (clean, noisy, clean))
    display = DenoisingDisplay.from_predictions(*flat, image_shape=(4, 5, 3))
    shown = display.images_[1, 0].get_array()
    assert shown.shape == (4, 5, 3)
    assert shown.min() == 0
    assert shown.max() == 1


def test_a_single_channel_is_drawn_as_greys():
    stack = np.random.default_rng(0).random((2, 4, 5, 1))
    display = DenoisingDisplay.from_predictions(stack, stack, stack)
    assert display.images_[0, 0].get_array().shape == (4, 5)
    assert display.axes_[1, 0].get_xlabel() == "100.0 dB"


def test_constant_pictures_have_a_scale_too():
    stack = np.ones((1, 4, 4))
    assert DenoisingDisplay.from_predictions(stack, stack, stack).limits == (1, 2)


def test_integers_mean_their_type_in_the_psnr_and_their_values_on_the_scale():
    clean = np.arange(32, dtype=np.uint8).reshape(2, 4, 4)
    display = DenoisingDisplay.from_predictions(clean, clean, clean)
    assert display.data_range == 255
    assert display.limits == (0, 31)


def test_it_draws_on_a_given_figure_and_on_a_part_of_one(stacks):
    figure = plt.figure(figsize=(9, 3), layout="constrained")
    left, right = figure.subfigures(1, 2)
    first = DenoisingDisplay.from_predictions(*stacks, figure=left)
    second = first.plot(right, cmap="viridis")
    assert second is first
    assert second.figure_ is right
    assert len(left.axes) == len(right.axes) == 15
    assert second.images_[0, 0].get_cmap().name == "viridis"
    assert plt.get_fignums() == [figure.number]
    assert figure.get_size_inches().tolist() == [9, 3]


def test_from_estimator_shows_what_from_predictions_shows(digits, dae):
    noisy = digits.noisy_test(0.25)
    ours = DenoisingDisplay.from_estimator(
        dae, digits.test, X_noisy=noisy, image_shape=(8, 8), labels=digits.test_labels, n_samples=4
    )
    theirs = DenoisingDisplay.from_predictions(
        digits.test, noisy, dae.predict(noisy), image_shape=(8, 8), labels=digits.test_labels, n_samples=4
    )
    assert ours.axes_.shape == (3, 4)
    assert ours.labels == theirs.labels == list(digits.test_labels[:4])
    np.testing.assert_allclose(ours.denoised, theirs.denoised, rtol=1e-9)
    assert (ours.limits, ours.data_range) == (theirs.limits, theirs.data_range) == ((0, 1), 1)


def test_from_estimator_draws_the_noise_that_the_scorer_draws(digits, dae):
    noiser = GaussianNoiser(0.25, random_state=3)
    clean = digits.test[:20]
    display = DenoisingDisplay.from_estimator(dae, clean, noiser=noiser, image_shape=(8, 8), n_samples=20)
    shown = psnr(display.clean, display.denoised, data_range=1)
    assert shown == pytest.approx(make_denoising_scorer(noiser, data_range=1)(dae, clean))


def test_the_noise_of_a_sample_does_not_depend_on_how_many_are_shown(digits, dae):
    arguments = {"noiser": GaussianNoiser(0.25, random_state=0), "image_shape": (8, 8)}
    one = DenoisingDisplay.from_estimator(dae, digits.test, n_samples=1, **arguments)
    two = DenoisingDisplay.from_estimator(dae, digits.test, n_samples=2, **arguments)
    np.testing.assert_array_equal(one.noisy[0], two.noisy[0])


def test_an_estimator_that_was_told_the_shape_of_pictures_tells_it(digits):
    dae = DenoisingAutoencoder(max_epochs=1, image_shape=(8, 8), random_state=0).fit(digits.train)
    display = DenoisingDisplay.from_estimator(dae, digits.test, noiser=GaussianNoiser(0.25))
    assert display.clean.shape == (10, 8, 8)
    on_stacks = DenoisingAutoencoder(max_epochs=1, random_state=0).fit(digits.train.reshape(-1, 8, 8))
    display = DenoisingDisplay.from_estimator(
        on_stacks, digits.test.reshape(-1, 8, 8), noiser=GaussianNoiser(0.25)
    )
    assert display.clean.shape == (10, 8, 8)


def test_a_pipeline_that_scales_is_shown_in_the_unit_of_its_last_step(digits):
    pipe = Pipeline(
        [
            ("scale", FunctionTransformer(percent)),
            ("noise", GaussianNoiser(25.0, random_state=0)),
            ("dae", DenoisingAutoencoder(max_epochs=5, random_state=0)),
        ]
    )
    search = GridSearchCV(
        pipe, {"noise__noise_factor": [25.0]}, scoring=make_denoising_scorer(GaussianNoiser(0.2)), cv=2
    ).fit(digits.train[:300])
    for estimator in (search.best_estimator_, search):
        display = DenoisingDisplay.from_estimator(
            estimator, digits.test, noiser=GaussianNoiser(0.25), image_shape=(8, 8)
        )
        assert display.limits[1] == pytest.approx(100)
        errors = [np.mean((display.clean - x) ** 2) for x in (display.noisy, display.denoised)]
        assert errors[1] < errors[0]


@pytest.mark.filterwarnings("error")
def test_frames_keep_their_names_on_the_way_to_the_estimator(digits):
    frame = pd.DataFrame(digits.train, columns=[f"pixel{i}" for i in range(64)])
    dae = DenoisingAutoencoder(max_epochs=1, random_state=0).fit(frame)
    display = DenoisingDisplay.from_estimator(
        dae, frame[:20], noiser=GaussianNoiser(0.25), image_shape=(8, 8), labels=digits.train_labels
    )
    assert display.axes_.shape == (3, 10)


def test_from_estimator_needs_noise_from_one_place(digits, dae):
    with pytest.raises(ValueError, match=r"either noiser.*got neither"):
        DenoisingDisplay.from_estimator(dae, digits.test)
    with pytest.raises(ValueError, match="got both"):
        DenoisingDisplay.from_estimator(dae, digits.test, noiser=GaussianNoiser(), X_noisy=digits.test)
    with pytest.raises(TypeError, match="Did you mean GaussianNoiser"):
        DenoisingDisplay.from_estimator(dae, digits.test, noiser=GaussianNoiser)


def test_noisy_samples_belong_to_the_clean_ones_row_by_row(digits, dae):
    with pytest.raises(ValueError, match=r"got the shapes \(400, 64\) and \(500, 64\)"):
        DenoisingDisplay.from_estimator(dae, digits.test, X_noisy=digits.test[:400], image_shape=(8, 8))


def test_noise_that_the_estimator_adds_itself_is_refused(digits, dae):
    pipe = Pipeline([("noise", GaussianNoiser(0.2, apply="always").fit(digits.train)), ("dae", dae)])
    with pytest.raises(ValueError, match='Give that one apply="fit"'):
        DenoisingDisplay.from_estimator(pipe, digits.test, noiser=GaussianNoiser(), image_shape=(8, 8))


def test_what_cannot_be_drawn_is_refused_in_words(stacks):
    clean, noisy, denoised = stacks
    flat = clean.reshape(5, 64)
    with pytest.raises(ValueError, match=r"flat rows of 64 values. Give image_shape="):
        DenoisingDisplay.from_predictions(flat, flat, flat)
    with pytest.raises(ValueError, match=r"image_shape=\(7, 7\) does not fit clean"):
        DenoisingDisplay.from_predictions(flat, flat, flat, image_shape=(7, 7))
    with pytest.raises(ValueError, match=r"samples of shape \(4, 8, 2\)"):
        DenoisingDisplay.from_predictions(flat, flat, flat, image_shape=(4, 8, 2))
    with pytest.raises(ValueError, match="must have one shape"):
        DenoisingDisplay.from_predictions(clean, noisy, denoised[:4])
    with pytest.raises(ValueError, match="labels has length 2, there are 5"):
        DenoisingDisplay.from_predictions(clean, noisy, denoised, labels=[1, 2])
    with pytest.raises(ValueError, match="n_samples must be an integer of at least 1, got 0"):
        DenoisingDisplay.from_predictions(clean, noisy, denoised, n_samples=0)
    with pytest.raises(ValueError, match=r"limits must be a pair .* got \(1, 1\)"):
        DenoisingDisplay.from_predictions(clean, noisy, denoised, limits=(1, 1))
    with pytest.raises(ValueError, match="A single sample needs a first axis"):
        DenoisingDisplay.from_predictions(flat[0], flat[0], flat[0], image_shape=(8, 8))
    with pytest.raises(ValueError, match="noisy contains NaN"):
        DenoisingDisplay.from_predictions(clean, noisy * np.nan, denoised)


def test_without_matplotlib_the_package_imports_and_the_error_says_what_to_install(stacks, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"DenoisingDisplay.plot needs matplotlib.*sk-denoise\[plots\]"):
        DenoisingDisplay.from_predictions(*stacks)


def test_importing_the_displays_does_not_import_matplotlib():
    code = "import sys, sk_denoise.plots; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
