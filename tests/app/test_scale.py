"""How numbers of deep pictures are brought from black to white, and back."""

from __future__ import annotations

import numpy as np
import pytest

from sk_denoise.app._scale import Scale


def picture(dtype, low, high):
    return np.linspace(low, high, 5000).reshape(50, 100).astype(dtype)


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [
        ("uint8", 0, 20),
        ("uint16", 0, 65535),
        ("uint16", 3000, 30_000),
        ("uint16", 7, 7),
        ("float32", 0, 1),
        ("float32", -0.4, 1.4),
        ("float64", -5, -5),
        ("float32", 0, 1e-42),
        ("float32", 0, np.nan),
    ],
)
def test_pictures_between_black_and_white_stay_as_they_are(dtype, low, high):
    given = picture(dtype, low, high)
    scale = Scale.of(given, None)
    assert scale.notes == ()
    assert scale.into_unit(given) is given
    assert scale.for_file(given, floats=True) is given


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [
        ("uint16", 0, 4095),
        ("uint16", 1000, 1200),
        ("uint16", 65000, 65535),
        ("float32", 0, 4095),
        ("float32", 0, 1e-6),
        ("float32", -1000, 1000),
        ("float32", 1e30, 5e30),
        ("float64", 0, 1e300),
    ],
)
def test_others_are_spread_and_brought_back(dtype, low, high):
    given = picture(dtype, low, high)
    scale = Scale.of(given, None)
    unit = scale.into_unit(given)
    assert unit.dtype.kind == "f"
    assert np.abs(unit - picture("float64", 0, 1)).max() < 0.01
    back = scale.for_file(unit, floats=True)
    assert back.dtype == dtype
    if dtype == "uint16":
        np.testing.assert_array_equal(back, given)
    else:
        np.testing.assert_allclose(back, given, rtol=0, atol=1e-5 * (high - low))


def test_a_few_hot_pixels_do_not_darken_the_rest():
    given = picture("uint16", 0, 4095)
    given[10, 10] = 65535
    unit = Scale.of(given, None).into_unit(given)
    assert np.median(unit) == pytest.approx(0.5, abs=0.01)
    assert Scale.of(given, None).for_file(unit, floats=True)[10, 10] == 65535


def test_nearly_all_black_is_spread_to_the_brightest():
    given = np.zeros((100, 100), np.uint16)
    given[:2, :2] = 1000
    assert Scale.of(given, None).into_unit(given).max() == 1


def test_what_does_not_fit_an_integer_is_clipped():
    given = picture("uint16", 0, 4095)
    scale = Scale.of(given, None)
    np.testing.assert_array_equal(
        scale.for_file(np.array([-0.5, 100.0], np.float32), floats=True), [0, 65535]
    )


@pytest.mark.parametrize(("dtype", "far"), [("float32", 3e38), ("float64", 1.7e308)])
def test_numbers_that_reach_too_far_are_refused_in_words(dtype, far):
    given = np.array([[-far, 0, far]], dtype)
    with pytest.raises(ValueError, match=r"Its numbers reach from .* Scale them to \[0, 1\] first"):
        Scale.of(given, None)


def test_files_without_floats_hold_all_that_came():
    given = picture("float32", -500, 1500)
    scale = Scale.of(given, None)
    numbers = scale.for_file(scale.into_unit(given), floats=False)
    assert (numbers.dtype, numbers.min(), numbers.max()) == (np.uint16, 0, 65535)
