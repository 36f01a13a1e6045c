"""DenoisingDisplay: rows, scales, texts, and errors."""

from __future__ import annotations

import itertools
import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from sk_denoise import (
    DenoisingAutoencoder,
    GaussianNoiser,
    MedianDenoiser,
    SavitzkyGolayDenoiser,
    make_denoising_scorer,
)
from sk_denoise.datasets import load_images
from sk_denoise.metrics import psnr
from sk_denoise.plots import DenoisingDisplay
from sk_denoise.restoration import load_pretrained


@pytest.fixture(scope="module")
def dae(digits):
    return DenoisingAutoencoder(noise=GaussianNoiser(0.25), max_epochs=3, random_state=0).fit(digits.train)


@pytest.fixture(scope="module")
def gray_model():
    return load_pretrained("gray")


@pytest.fixture
def stacks(digits):
    clean = digits.test[:5].reshape(-1, 8, 8)
    noisy = digits.noisy_test(0.5)[:5].reshape(-1, 8, 8)
    return clean, noisy, 0.5 * noisy


def percent(X):
    return 100 * X


def test_rows_are_clean_noisy_denoised_error_and_columns_are_samples(stacks):
    display = DenoisingDisplay.from_predictions(*stacks)
    assert display.axes_.shape == display.images_.shape == (4, 5)
    assert [ax.get_ylabel() for ax in display.axes_[:, 0]] == ["clean", "noisy", "denoised", "error"]
    assert display.lines_ is None
    for row, stack in enumerate(stacks):
        for column, image in enumerate(stack):
            np.testing.assert_array_equal(display.images_[row, column].get_array(), image)
    assert display.figure_ is plt.gcf()


@pytest.mark.slow
def test_all_images_share_the_grey_scale_of_the_clean_data(stacks):
    clean, noisy, denoised = stacks
    display = DenoisingDisplay.from_predictions(clean, noisy, denoised)
    assert noisy.min() < clean.min()
    assert {image.get_clim() for image in display.images_[:3].flat} == {(clean.min(), clean.max())}
    display = DenoisingDisplay.from_predictions(clean, noisy, denoised, limits=(-1, 2))
    assert {image.get_clim() for image in display.images_[:3].flat} == {(-1, 2)}


def test_titles_are_the_labels_and_the_psnr_is_under_noisy_and_denoised(stacks):
    display = DenoisingDisplay.from_predictions(*stacks, labels=np.arange(5), data_range=1)
    assert [ax.get_title() for ax in display.axes_[0]] == list("01234")
    assert not any(ax.get_xlabel() for ax in display.axes_[0])
    expected = f"{psnr(stacks[0][2:3], stacks[1][2:3], data_range=1):.1f} dB"
    assert display.axes_[1, 2].get_xlabel() == expected
    expected = [f"{psnr(a[None], b[None], data_range=1):.1f} dB" for a, b in zip(*stacks[::2], strict=True)]
    assert [ax.get_xlabel() for ax in display.axes_[2]] == expected
    assert not any(ax.get_xlabel() for ax in display.axes_[3])


@pytest.mark.parametrize("labels", [list("01234"), ["a rather long label"] * 5, ["two\nlines"] * 5])
@pytest.mark.parametrize("shape", [(8, 8), (16, 4), (4, 16)])
def test_no_text_is_cut_or_overlaps(stacks, labels, shape, assert_legible):
    flat = [stack.reshape(5, 64) for stack in stacks]
    display = DenoisingDisplay.from_predictions(*flat, labels=labels, image_shape=shape)
    assert_legible(display.figure_)


def test_the_last_row_is_denoised_minus_clean_on_one_scale_around_zero(stacks):
    clean, _, denoised = stacks
    display = DenoisingDisplay.from_predictions(*stacks)
    for image, error in zip(display.images_[3], denoised - clean, strict=True):
        np.testing.assert_allclose(image.get_array(), error)
        assert image.get_cmap().name == "RdBu_r"
    ((low, high),) = {image.get_clim() for image in display.images_[3]}
    assert low == -high
    assert np.mean(np.abs(denoised - clean) <= high) == pytest.approx(0.995, abs=0.005)
    assert display.colorbar_.extend == "both"
    assert display.colorbar_.get_ticks().tolist() == [low, 0, high]


@pytest.mark.slow
def test_the_error_limit_may_be_given_and_the_error_row_left_out(stacks):
    display = DenoisingDisplay.from_predictions(*stacks, error_limit=3)
    assert {image.get_clim() for image in display.images_[3]} == {(-3, 3)}
    assert display.colorbar_.extend == "neither"
    assert display.plot(error=False).axes_.shape == (3, 5)
    assert display.colorbar_ is None


def test_a_perfect_denoiser_has_a_scale_of_errors_too(stacks):
    display = DenoisingDisplay.from_predictions(stacks[0], stacks[1], stacks[0])
    assert {image.get_clim() for image in display.images_[3]} == {(-1, 1)}
    one_pixel_off = stacks[0].copy()
    one_pixel_off[0, 0, 0] += 0.5  # fewer than the half percent that may lie beyond
    display = DenoisingDisplay.from_predictions(stacks[0], stacks[1], one_pixel_off)
    assert {image.get_clim() for image in display.images_[3]} == {(-0.5, 0.5)}


def test_the_error_of_a_colour_agrees_with_the_psnr_and_has_the_sign_of_its_brightness():
    rng = np.random.default_rng(0)
    clean = rng.random((2, 4, 5, 3))
    denoised = clean + rng.normal(0, 0.1, clean.shape)
    denoised[0, 0, 0] = clean[0, 0, 0] + (0.3, -0.3, 0)  # a wrong hue of the right brightness
    display = DenoisingDisplay.from_predictions(clean, clean, denoised, data_range=1)
    error = display.images_[3, 0].get_array()
    assert abs(error[0, 0]) == pytest.approx(0.3 * np.sqrt(2 / 3))
    shown = 10 * np.log10(1 / np.mean(error**2))
    assert f"{shown:.1f} dB" == display.axes_[2, 0].get_xlabel()
    brightness = (denoised - clean)[0].sum(axis=2)
    np.testing.assert_array_equal(np.sign(error)[1:], np.sign(brightness)[1:])


def test_images_of_different_sizes_stand_side_by_side_at_one_height():
    rng = np.random.default_rng(0)
    clean = [rng.random(shape) for shape in [(20, 30), (40, 20), (10, 10)]]
    noisy = [x + rng.normal(0, 0.1, x.shape) for x in clean]
    display = DenoisingDisplay.from_predictions(clean, noisy, clean, labels="abc", data_range=1)
    assert display.axes_.shape == (4, 3)
    for column, image in enumerate(noisy):
        np.testing.assert_array_equal(display.images_[1, column].get_array(), image)
        expected = psnr(clean[column][None], image[None], data_range=1)
        assert display.axes_[1, column].get_xlabel() == f"{expected:.1f} dB"
    display.figure_.canvas.draw()
    heights = [ax.get_window_extent().height for ax in display.axes_.flat]
    assert max(heights) - min(heights) < 1
    assert DenoisingDisplay.from_predictions(clean, noisy, clean, n_samples=2).axes_.shape == (4, 2)


def test_lists_of_images_must_belong_together():
    clean = [np.zeros((4, 5)), np.zeros((6, 3))]
    with pytest.raises(
        ValueError, match=r"images of the shapes \[\(4, 5\), \(6, 3\)\], \[\(6, 3\), \(4, 5\)\]"
    ):
        DenoisingDisplay.from_predictions(clean, clean[::-1], clean)
    with pytest.raises(ValueError, match=r"image_shape=.* is for flat rows"):
        DenoisingDisplay.from_predictions(clean, clean, clean, image_shape=(4, 5))
    two_channels = [np.zeros((4, 5, 2)), np.zeros((6, 3, 2))]
    with pytest.raises(ValueError, match=r"samples of shape \(4, 5, 2\); images are"):
        DenoisingDisplay.from_predictions(two_channels, two_channels, two_channels)


@pytest.mark.parametrize("as_integers", [False, True])
def test_an_image_denoiser_is_shown_on_images_of_different_sizes(as_integers, gray_model):
    photos = [photo[:40, :width] for photo, width in zip(load_images("gray").test[:2], (60, 50), strict=True)]
    unit = 255 if as_integers else 1
    clean = [(255 * x).round().astype(np.uint8) for x in photos] if as_integers else photos
    noiser = GaussianNoiser(0.1 * unit, random_state=0)
    display = DenoisingDisplay.from_estimator(gray_model, clean, noiser=noiser)
    if as_integers:
        assert display.data_range == 255
    score = make_denoising_scorer(noiser, data_range=display.data_range)(gray_model, clean)
    shown = [
        psnr(t[None], x[None], data_range=display.data_range)
        for t, x in zip(clean, display.denoised, strict=True)
    ]
    assert np.mean(shown) == pytest.approx(score)
    assert score > 22  # 20 dB before
    given = DenoisingDisplay.from_estimator(gray_model, clean, X_noisy=display.noisy)
    for a, b in zip(given.denoised, display.denoised, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_noisy_images_that_are_integers_themselves_are_denoised_as_such(gray_model):
    rng = np.random.default_rng(0)
    clean = np.full((1, 32, 32), 120, np.uint8)
    noisy = (clean + rng.normal(0, 25, clean.shape)).clip(0, 255).astype(np.uint8)
    display = DenoisingDisplay.from_estimator(gray_model, clean, X_noisy=noisy)
    np.testing.assert_array_equal(display.denoised, gray_model.predict(noisy))
    np.testing.assert_allclose(
        display.images_[3, 0].get_array(), display.denoised[0].astype(float) - clean[0].astype(float)
    )


def test_signals_are_lines_over_the_clean_ones(digits, dae):
    display = DenoisingDisplay.from_estimator(
        dae, digits.test, noiser=GaussianNoiser(0.25), kind="signals", labels=digits.test_labels
    )
    assert display.axes_.shape == display.lines_.shape == (3, 3)
    assert display.images_ is None
    stages = (display.noisy, display.denoised, display.denoised - display.clean)
    for row, signals in enumerate(stages):
        for column, signal in enumerate(signals):
            ax, line = display.axes_[row, column], display.lines_[row, column]
            np.testing.assert_allclose(line.get_ydata(), signal)
            below, above = ax.lines
            assert above is line
            np.testing.assert_array_equal(below.get_ydata(), display.clean[column] if row < 2 else 0 * signal)
    assert [ax.get_ylabel().partition("\n")[0] for ax in display.axes_[:, 0]] == [
        "noisy",
        "denoised",
        "error",
    ]
    expected = psnr(display.clean[:1], display.noisy[:1], data_range=display.data_range)
    assert display.axes_[0, 0].get_xlabel() == f"{expected:.1f} dB"
    assert len({ax.get_ylim() for ax in display.axes_[:2].flat}) == 1
    low, high = display.axes_[2, 0].get_ylim()
    assert low == -high
    assert high >= np.abs(stages[2]).max()


def test_images_are_not_drawn_as_signals(stacks):
    colours = [np.stack([stack] * 3, axis=-1) for stack in stacks]
    with pytest.raises(
        ValueError, match=r"draws rows \(n_samples, length\) as lines.* clean has shape \(5, 8, 8, 3\)"
    ):
        DenoisingDisplay.from_predictions(*colours, kind="signals")
    flat = [stack.reshape(5, 64) for stack in stacks]
    with pytest.raises(ValueError, match=r"image_shape=\(8, 8\) is for kind="):
        DenoisingDisplay.from_predictions(*flat, kind="signals", image_shape=(8, 8))
    with pytest.raises(ValueError, match=r'sampling_rate is for kind="signals", got kind="images"'):
        DenoisingDisplay.from_predictions(*stacks, sampling_rate=100)


def draw_signals_of(*shape):
    rng = np.random.default_rng(0)
    clean = rng.normal(size=shape)
    noise = rng.normal(size=shape)
    return clean, clean + noise, clean + 0.1 * noise


def test_a_sampling_rate_gives_signals_a_time_axis():
    signals = draw_signals_of(2, 50)
    display = DenoisingDisplay.from_predictions(*signals, kind="signals", sampling_rate=25)
    np.testing.assert_allclose(display.lines_[0, 0].get_xdata(), np.arange(50) / 25)
    # The grey line of the clean signal lies under the other one.
    np.testing.assert_allclose(display.axes_[0, 0].lines[0].get_xdata(), np.arange(50) / 25)
    assert [ax.get_xlabel() for ax in display.axes_[-1]] == ["time (s)", "time (s)"]
    without = DenoisingDisplay.from_predictions(*signals, kind="signals", sampling_rate=25, error=False)
    decibels = display.axes_[1, 0].get_xlabel()
    assert without.axes_[-1, 0].get_xlabel() == f"time (s)\n{decibels}"
    # A second drawing has the same axis.
    np.testing.assert_allclose(without.plot().lines_[1, 1].get_xdata(), np.arange(50) / 25)


def test_coordinates_may_fall_and_have_a_name(digits, dae):
    x = np.linspace(3200, 600, 64)
    display = DenoisingDisplay.from_estimator(
        dae, digits.test, noiser=GaussianNoiser(0.25), kind="signals", x=x, x_label="wavenumber (1/cm)"
    )
    np.testing.assert_array_equal(display.lines_[0, 2].get_xdata(), x)
    assert display.axes_[-1, 1].get_xlabel() == "wavenumber (1/cm)"


def test_each_channel_has_its_rows_and_scales():
    units = np.array([1.0, 1000.0])[:, None]
    clean, noisy, denoised = (units * x for x in draw_signals_of(5, 2, 40))
    display = DenoisingDisplay.from_predictions(
        clean, noisy, denoised, kind="signals", channel_names=("pressure", "flow")
    )
    assert display.axes_.shape == display.lines_.shape == (6, 3)
    np.testing.assert_array_equal(display.lines_[4, 1].get_ydata(), denoised[1, 1])
    np.testing.assert_array_equal(display.lines_[0, 2].get_ydata(), noisy[2, 0])
    names = [ax.get_ylabel().split("\n")[:2] for ax in display.axes_[:, 0]]
    rows = ("noisy", "denoised", "error")
    assert names == [[channel, row] for channel in ("pressure", "flow") for row in rows]
    # Channels in another unit have another scale, and a data range of their own.
    assert display.axes_[0, 0].get_ylim()[1] < 10 < 1000 < display.axes_[3, 0].get_ylim()[1]
    span = clean[:, 1].max() - clean[:, 1].min()
    expected = psnr(clean[:1, 1], denoised[:1, 1], data_range=span)
    assert display.axes_[4, 0].get_xlabel() == f"{expected:.1f} dB"


def test_channels_are_chosen():
    clean, noisy, denoised = draw_signals_of(2, 12, 40)
    options = {"kind": "signals"}
    one = DenoisingDisplay.from_predictions(clean, noisy, denoised, channel=-1, **options)
    assert one.axes_.shape == (3, 2)
    np.testing.assert_array_equal(one.lines_[0, 0].get_ydata(), noisy[0, 11])
    two = DenoisingDisplay.from_predictions(clean, noisy, denoised, channel=[7, 2], **options)
    np.testing.assert_array_equal(two.lines_[3, 0].get_ydata(), noisy[0, 2])
    assert two.axes_[0, 0].get_ylabel().startswith("channel 7\n")
    # Of twelve channels, the first four are drawn.
    assert DenoisingDisplay.from_predictions(clean, noisy, denoised, **options).axes_.shape == (12, 2)
    with pytest.raises(ValueError, match="channel=12 is not among the 12 channels of clean, 0 to 11"):
        DenoisingDisplay.from_predictions(clean, noisy, denoised, channel=12, **options)
    with pytest.raises(ValueError, match="channel=0 is for signals of several channels"):
        DenoisingDisplay.from_predictions(clean[:, 0], noisy[:, 0], denoised[:, 0], channel=0, **options)
    with pytest.raises(ValueError, match="channel_names must hold a name for each of 2 channels, got 'ab'"):
        DenoisingDisplay.from_predictions(
            clean, noisy, denoised, channel=[0, 1], channel_names="ab", **options
        )


@pytest.mark.parametrize("channels", [(), (2,)])
def test_signals_differ_in_length(channels):
    triples = [draw_signals_of(*channels, length) for length in (30, 70, 50)]
    clean, noisy, denoised = (list(samples) for samples in zip(*triples, strict=True))
    display = DenoisingDisplay.from_predictions(clean, noisy, denoised, kind="signals", sampling_rate=10)
    ends = [line.get_xdata()[-1] for line in display.lines_[0]]
    np.testing.assert_allclose(ends, [2.9, 6.9, 4.9])
    # Columns have their own times, and their rows share them.
    assert display.axes_[0, 0].get_xlim() == display.axes_[-1, 0].get_xlim()
    assert display.axes_[0, 0].get_xlim()[1] < 4 < display.axes_[0, 1].get_xlim()[1]
    x = [np.geomspace(1, 10, length) for length in (30, 70, 50)]
    display = DenoisingDisplay.from_predictions(clean, noisy, denoised, kind="signals", x=x)
    np.testing.assert_array_equal(display.lines_[0, 1].get_xdata(), x[1])
    with pytest.raises(ValueError, match=r"expected \[\(30,\), \(70,\), \(50,\)\], got \[\(30,\)"):
        DenoisingDisplay.from_predictions(clean, noisy, denoised, kind="signals", x=x[:1])


def test_the_layout_of_signals_as_images_is_drawn():
    clean, noisy, denoised = (np.moveaxis(x, 1, -1)[:, :, None] for x in draw_signals_of(2, 3, 40))
    display = DenoisingDisplay.from_predictions(clean, noisy, denoised, kind="signals")
    np.testing.assert_array_equal(display.lines_[3, 1].get_ydata(), noisy[1, :, 0, 1])


def test_wrong_time_axes_are_refused():
    signals = draw_signals_of(2, 50)
    for rate in (0, -1, np.inf, "100"):
        with pytest.raises(ValueError, match="sampling_rate must be a number above 0, in Hz"):
            DenoisingDisplay.from_predictions(*signals, kind="signals", sampling_rate=rate)
    with pytest.raises(ValueError, match="either sampling_rate or x"):
        DenoisingDisplay.from_predictions(*signals, kind="signals", sampling_rate=1, x=np.arange(50))
    with pytest.raises(ValueError, match=r"expected \[\(50,\)\], got \[\(49,\)\]"):
        DenoisingDisplay.from_predictions(*signals, kind="signals", x=np.arange(49))
    with pytest.raises(ValueError, match="signals of the shapes"):
        DenoisingDisplay.from_predictions(signals[0], signals[1], signals[2][:, :40], kind="signals")


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


@pytest.mark.slow
def test_constant_images_have_a_scale_too():
    stack = np.ones((1, 4, 4))
    assert DenoisingDisplay.from_predictions(stack, stack, stack).limits == (1, 2)


def test_integers_have_the_psnr_of_their_dtype_and_the_scale_of_their_values():
    clean = np.arange(32, dtype=np.uint8).reshape(2, 4, 4)
    display = DenoisingDisplay.from_predictions(clean, clean, clean)
    assert display.data_range == 255
    assert display.limits == (0, 31)


@pytest.mark.slow
def test_it_draws_on_a_given_figure_and_on_a_part_of_one(stacks):
    figure = plt.figure(figsize=(9, 3), layout="constrained")
    left, right = figure.subfigures(1, 2)
    first = DenoisingDisplay.from_predictions(*stacks, figure=left)
    second = first.plot(right, cmap="viridis")
    assert second is first
    assert second.figure_ is right
    assert len(left.axes) == len(right.axes) == 20
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
    assert ours.axes_.shape == (4, 4)
    assert ours.labels == theirs.labels == list(digits.test_labels[:4])
    np.testing.assert_allclose(ours.denoised, theirs.denoised, rtol=1e-9)
    assert (ours.limits, ours.data_range) == (theirs.limits, theirs.data_range) == ((0, 1), 1)


def test_from_estimator_draws_the_noise_that_the_scorer_draws(digits, dae):
    noiser = GaussianNoiser(0.25, random_state=3)
    clean = digits.test[:5]
    display = DenoisingDisplay.from_estimator(dae, clean, noiser=noiser, image_shape=(8, 8))
    shown = psnr(display.clean, display.denoised, data_range=1)
    assert shown == pytest.approx(make_denoising_scorer(noiser, data_range=1)(dae, clean))


def test_the_noise_of_a_sample_does_not_depend_on_how_many_are_shown(digits, dae):
    arguments = {"noiser": GaussianNoiser(0.25, random_state=0), "image_shape": (8, 8)}
    one = DenoisingDisplay.from_estimator(dae, digits.test, n_samples=1, **arguments)
    two = DenoisingDisplay.from_estimator(dae, digits.test, n_samples=2, **arguments)
    np.testing.assert_array_equal(one.noisy[0], two.noisy[0])


@pytest.mark.slow
def test_the_image_shape_of_the_estimator_is_used(digits):
    dae = DenoisingAutoencoder(max_epochs=1, image_shape=(8, 8), random_state=0).fit(digits.train)
    display = DenoisingDisplay.from_estimator(dae, digits.test, noiser=GaussianNoiser(0.25))
    assert display.clean.shape == (10, 8, 8)
    on_stacks = DenoisingAutoencoder(max_epochs=1, random_state=0).fit(digits.train.reshape(-1, 8, 8))
    display = DenoisingDisplay.from_estimator(
        on_stacks, digits.test.reshape(-1, 8, 8), noiser=GaussianNoiser(0.25)
    )
    assert display.clean.shape == (10, 8, 8)


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
def test_frames_keep_their_names_on_the_way_to_the_estimator(digits):
    frame = pd.DataFrame(digits.train, columns=[f"pixel{i}" for i in range(64)])
    dae = DenoisingAutoencoder(max_epochs=1, random_state=0).fit(frame)
    display = DenoisingDisplay.from_estimator(
        dae, frame[:20], noiser=GaussianNoiser(0.25), image_shape=(8, 8), labels=digits.train_labels
    )
    assert display.axes_.shape == (4, 10)


def test_from_estimator_needs_either_a_noiser_or_noisy_samples(digits, dae):
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


@pytest.mark.parametrize("layout", [None, "constrained", "compressed"])
@pytest.mark.parametrize(
    ("size", "n", "has_psnr"), [((3, 2), 8, False), ((4, 4), 5, True), ((9, 4), 5, True)]
)
def test_texts_fit_into_a_small_figure(size, n, has_psnr, layout, assert_legible):
    clean = np.random.default_rng(0).random((n, 8, 8))
    figure = plt.figure(figsize=size, layout=layout)
    display = DenoisingDisplay.from_predictions(clean, 2 - clean, 0.9 * clean, figure=figure, n_samples=n)
    assert_legible(figure)
    for row in display.axes_:
        texts = [ax.xaxis.label for ax in row if ax.xaxis.label.get_text()]
        boxes = [text.get_window_extent() for text in texts]
        assert all(a.x1 < b.x0 for a, b in itertools.pairwise(boxes))
    assert bool(display.axes_[1, 0].get_xlabel()) == has_psnr


def test_invalid_samples_and_options_are_refused(stacks):
    clean, noisy, denoised = stacks
    flat = clean.reshape(5, 64)
    with pytest.raises(ValueError, match=r'flat rows of 64 values. Give image_shape=.*kind="signals"'):
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
    for limits in (3, "ab", (0, np.nan), (0, 1, 2)):
        with pytest.raises(ValueError, match="limits must be a pair"):
            DenoisingDisplay.from_predictions(clean, noisy, denoised, limits=limits)
    with pytest.raises(ValueError, match="noisy contains NaN"):
        DenoisingDisplay.from_predictions(clean, noisy * np.nan, denoised)
    with pytest.raises(ValueError, match=r"0 sample\(s\)"):
        DenoisingDisplay.from_predictions([], [], [])
    with pytest.raises(ValueError, match=r"Unknown kind 'signal'. Did you mean 'signals'"):
        DenoisingDisplay.from_predictions(flat, flat, flat, kind="signal")
    for limit in (0, -1, np.inf):
        with pytest.raises(ValueError, match="error_limit must be a finite number above 0, got"):
            DenoisingDisplay.from_predictions(clean, noisy, denoised, error_limit=limit)


@pytest.mark.slow
def test_importing_the_displays_does_not_import_matplotlib():
    code = "import sys, sk_denoise.plots; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_signals_of_denoisers_of_signals_are_drawn_as_lines():
    signals = np.sin(np.arange(60) / 5 + np.arange(8)[:, None])
    for estimator in (SavitzkyGolayDenoiser(), MedianDenoiser(kind="signals")):
        display = DenoisingDisplay.from_estimator(estimator.fit(signals), signals, noiser=GaussianNoiser(0.3))
        assert display.kind == "signals"
