"""ComparisonDisplay: rows, columns, table, crop, and errors."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter

from sk_denoise import GaussianNoiser, MedianDenoiser, WienerDenoiser, compare_restorers
from sk_denoise.datasets import load_images
from sk_denoise.metrics import psnr
from sk_denoise.plots import ComparisonDisplay

NOISES = {"weak": GaussianNoiser(0.05), "strong": GaussianNoiser(0.3)}


BAD_CROPS = (
    "middle",
    9,
    (1, 2, 3),
    (0, 0, 9, 9, 9),
    (0.0, 0, 9, 9),
    (0, 0, "9", 9),
    (0, 0, True, 9),
    {1, 2, 3, 4},
)


@pytest.fixture(scope="module")
def photos():
    return [photo[:180, :width] for photo, width in zip(load_images().test[:2], (200, 160), strict=True)]


@pytest.fixture(scope="module")
def stack(photos):
    return np.stack([photo[:60, :70] for photo in photos])


def blur(image):
    return gaussian_filter(image, (2, 2, 0))


def column(display, position):
    return [image.get_array() for image in display.images_[:, position]]


def test_rows_are_noises_and_columns_are_clean_noisy_and_methods(stack):
    median = MedianDenoiser().fit(stack)
    display = ComparisonDisplay.from_methods({"median": median, "blur": blur}, stack, NOISES, index=1)
    assert display.axes_.shape == display.images_.shape == (2, 4)
    assert [ax.get_title() for ax in display.axes_[0]] == ["clean", "noisy", "median", "blur"]
    assert [ax.get_ylabel() for ax in display.axes_[:, 0]] == ["weak", "strong"]
    assert display.figure_ is plt.gcf()
    for clean, noisy, denoised in zip(*(column(display, i) for i in range(3)), strict=True):
        low, high = stack[1].min(), stack[1].max()
        np.testing.assert_allclose(clean, (stack[1] - low) / (high - low), atol=1e-6)
        assert noisy.shape == denoised.shape == clean.shape
    np.testing.assert_array_equal(display.outputs["weak"]["blur"], blur(display.outputs["weak"]["noisy"]))


def test_the_table_is_that_of_compare_restorers(stack):
    arguments = ([blur], stack, NOISES)
    options = {"metrics": ["psnr", "mse"], "data_range": 2}
    display = ComparisonDisplay.from_methods(*arguments, **options)
    table = compare_restorers(*arguments, **options)
    pd.testing.assert_frame_equal(display.table.drop(columns="seconds"), table.drop(columns="seconds"))
    assert display.data_range == 2


def test_the_psnr_is_printed_under_each_image_and_the_best_is_bold(photos):
    display = ComparisonDisplay.from_methods({"blur": blur}, photos, NOISES, data_range=1, index=1)
    for axes, outputs in zip(display.axes_, display.outputs.values(), strict=True):
        texts = [ax.get_xlabel() for ax in axes]
        decibels = [psnr(photos[1][None], x[None], data_range=1) for x in outputs.values()]
        assert texts == ["", "", *(f"{value:.1f} dB" for value in decibels)]
        weights = [ax.xaxis.label.get_fontweight() for ax in axes[2:]]
        assert weights[int(np.argmax(decibels))] == "bold"
        assert sorted(weights) == ["bold", "normal"]


def test_of_large_images_the_middle_is_enlarged_and_framed(photos):
    display = ComparisonDisplay.from_methods([blur], photos, NOISES, limits=(0, 1))
    assert [ax.get_title() for ax in display.axes_[0]] == ["image", "clean", "noisy", "blur"]
    assert display.crop == (50, 60, 80, 80)
    whole, clean, *others = (column(display, i)[1] for i in range(4))
    np.testing.assert_allclose(whole, photos[0])
    np.testing.assert_allclose(clean, photos[0][50:130, 60:140])
    assert {x.shape for x in others} == {(80, 80, 3)}
    for ax in display.axes_[:, 0]:
        (frame,) = ax.patches
        assert (frame.get_xy(), frame.get_width(), frame.get_height()) == ((59.5, 49.5), 80, 80)


def test_the_enlarged_part_may_be_given(photos):
    display = ComparisonDisplay.from_methods([blur], photos, NOISES, crop=(10, 120, 30, 80))
    assert column(display, 2)[0].shape == (30, 80, 3)
    display = ComparisonDisplay.from_methods([blur], photos, NOISES, crop=np.array([10, 120, 30, 80]))
    assert display.crop == (10, 120, 30, 80)
    display = ComparisonDisplay.from_methods([blur], photos, NOISES, crop=None)
    assert display.axes_.shape == (2, 3)
    assert column(display, 1)[0].shape == (180, 200, 3)
    for crop in ((-1, 0, 9, 9), (0, 0, 0, 9), (100, 0, 81, 9), (0, 150, 9, 51)):
        with pytest.raises(ValueError, match=r"inside the image of 180 x 200 pixels, got \("):
            ComparisonDisplay.from_methods([blur], photos, NOISES, crop=crop)


def test_flat_rows_are_drawn_as_images(digits):
    wiener = WienerDenoiser().fit(digits.train)
    display = ComparisonDisplay.from_methods(
        [wiener], digits.test, NOISES, image_shape=(8, 8), index=3, limits=(0, 1)
    )
    np.testing.assert_array_equal(column(display, 0)[0], digits.test[3].reshape(8, 8))
    assert column(display, 2)[0].shape == (8, 8)
    assert "ssim" in display.table
    with pytest.raises(
        ValueError, match=r"flat rows of 64 values. Give image_shape=.*draws images alone"
    ) as raised:
        ComparisonDisplay.from_methods([wiener], digits.test, NOISES)
    assert "kind=" not in str(raised.value)


@pytest.mark.parametrize("crop", [None, (0, 0, 8, 30), (10, 10, 40, 12)])
@pytest.mark.parametrize("names", [("a", "b"), ("a method of many words, and more", "a\nb")])
def test_no_text_is_cut_or_overlaps(stack, crop, names, assert_legible):
    methods = dict.fromkeys(names, np.copy)
    noises = dict(zip(names, NOISES.values(), strict=True))
    display = ComparisonDisplay.from_methods(methods, stack, noises, crop=crop)
    assert_legible(display.figure_)


def test_it_draws_on_a_part_of_a_figure_and_once_more(stack):
    figure = plt.figure(figsize=(9, 3), layout="constrained")
    left, right = figure.subfigures(1, 2)
    first = ComparisonDisplay.from_methods([blur], stack, NOISES, figure=left)
    assert first.plot(right) is first
    assert first.figure_ is right
    assert len(left.axes) == len(right.axes) == 6
    assert plt.get_fignums() == [figure.number]


def test_invalid_options_are_refused_before_anything_is_denoised(stack):
    received = []
    for options, message in (
        ({"index": 2}, "from 0 to 1, got 2"),
        ({"index": -1}, "from 0 to 1, got -1"),
        ({"limits": (1, 1)}, r"limits must be a pair .* got \(1, 1\)"),
        ({"crop": (0, 0, 99, 9)}, "inside the image"),
        *(
            ({"crop": crop}, r'crop must be "auto", None .* four integers .* 60 x 70 pixels, got')
            for crop in BAD_CROPS
        ),
    ):
        with pytest.raises(ValueError, match=message):
            ComparisonDisplay.from_methods([received.append], stack, NOISES, **options)
    assert received == []
