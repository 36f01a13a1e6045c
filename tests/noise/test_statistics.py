"""Statistics of every noise: four standard errors, a million values, a fixed seed."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
import torch

from sk_denoise.noise import (
    NOISERS,
    add_gaussian,
    add_poisson,
    add_speckle,
    add_uniform,
    choose_corruption,
    corrupt_region,
    mask_entries,
    replace_pixels,
    salt_and_pepper,
    swap_entries,
)

N = 10**6
ROWS, COLUMNS = 1000, 1000


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def constant(value: float, *shape: int) -> torch.Tensor:
    return torch.full(shape or (ROWS, COLUMNS), value, dtype=torch.float64)


def assert_mean(values, mean, deviation):
    """Check the mean of independent values of a known standard deviation."""
    values = np.asarray(values, dtype=np.float64)
    assert abs(values.mean() - mean) <= 4 * deviation / sqrt(values.size)


def assert_variance(values, variance, kurtosis):
    """Check the variance of independent values; kurtosis is the fourth moment over the squared variance."""
    values = np.asarray(values, dtype=np.float64)
    error = variance * sqrt((kurtosis - 1) / values.size)
    assert abs(values.var() - variance) < 4 * error


def assert_share(hits, probability):
    assert_mean(hits, probability, sqrt(probability * (1 - probability)))


def test_gaussian():
    noise = add_gaussian(constant(2), generator(), noise_factor=0.3, mean=-1.0) - 2
    assert_mean(noise, -1, 0.3)
    assert_variance(noise, 0.09, 3)


def test_uniform():
    noise = add_uniform(constant(2), generator(), noise_factor=0.3, mean=-1.0) - 2
    assert noise.min() >= -1.3 - 1e-6
    assert noise.max() <= -0.7 + 1e-6
    assert_mean(noise, -1, 0.3 / sqrt(3))
    assert_variance(noise, 0.03, 1.8)


def test_speckle():
    noise = add_speckle(constant(-5), generator(), noise_factor=0.3) + 5
    assert_mean(noise, 0, 1.5)
    assert_variance(noise, 2.25, 3)


@pytest.mark.parametrize(
    ("value", "peak", "white"), [(0.5, 10.0, 1.0), (100.0, 3.0, 255.0), (2.0, 500.0, 2.0)]
)
def test_poisson(value, peak, white):
    noisy = add_poisson(constant(value), generator(), peak=peak, white=white)
    photons, step = peak * value / white, white / peak
    assert_mean(noisy, value, step * sqrt(photons))
    assert_variance(noisy, step**2 * photons, 3 + 1 / photons)
    np.testing.assert_allclose(noisy / step, (noisy / step).round(), atol=1e-4)  # whole photons


@pytest.mark.parametrize(("amount", "ratio"), [(0.1, 0.5), (0.4, 0.2), (0.03, 1.0), (0.03, 0.0)])
def test_salt_and_pepper(amount, ratio):
    noisy = salt_and_pepper(constant(7), generator(), amount=amount, salt_ratio=ratio, limits=(-1.0, 9.0))
    assert_share(noisy == 9, amount * ratio)
    assert_share(noisy == -1, amount * (1 - ratio))
    assert_share(noisy == 7, 1 - amount)


def test_masking():
    noisy = mask_entries(constant(7), generator(), fraction=0.25, fill=-2.0)
    assert_share(noisy == -2, 0.25)
    assert_share(noisy == 7, 0.75)


def test_swap():
    x = torch.arange(N, dtype=torch.float64).reshape(ROWS, COLUMNS)  # each value tells where it came from
    noisy = swap_entries(x, generator(), fraction=0.15)
    changed = noisy != x
    assert_share(changed, 0.15)  # no value is a donor for itself
    assert torch.equal(noisy % COLUMNS, x % COLUMNS)  # donors come from the same column
    row = torch.arange(ROWS)[:, None].expand(ROWS, COLUMNS)[changed]
    donor = noisy[changed].div(COLUMNS, rounding_mode="floor")
    distance = (donor - row) % ROWS
    spread = sqrt(((ROWS - 1) ** 2 - 1) / 12)
    assert_mean(distance, ROWS / 2, spread)  # uniform over the other rows
    assert distance.min() == 1
    assert distance.max() == ROWS - 1


def test_swap_draws_a_donor_for_each_value():
    x = torch.arange(ROWS, dtype=torch.float64)[:, None].expand(ROWS, COLUMNS)
    donors = swap_entries(x, generator(), fraction=1.0)
    assert min(len(row.unique()) for row in donors) > 0.55 * ROWS  # 0.632 of them for independent draws
    assert min(len(column.unique()) for column in donors.T) > 0.55 * ROWS
    assert abs(torch.corrcoef(donors[:, :2].T)[0, 1]) < 4 / sqrt(ROWS)


def test_swap_leaves_its_input_alone_and_takes_donors_as_they_were():
    """The classic bug: swapping in place corrupts the target, and donors that were swapped before."""
    x = torch.arange(400, dtype=torch.float32).reshape(20, 20)
    before = x.clone()
    noisy = swap_entries(x, generator(), fraction=0.9)
    assert torch.equal(x, before)
    assert not torch.equal(noisy, before)
    noisy.zero_()
    assert torch.equal(x, before)  # nor does the result share memory with it
    array = before.numpy().copy()
    swap_entries(torch.from_numpy(array), generator(), fraction=0.9)
    np.testing.assert_array_equal(array, before)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("black", {-1.0: 1.0}),
        ("white", {9.0: 1.0}),
        ("black and white", {-1.0: 0.5, 9.0: 0.5}),
    ],
)
def test_pixels_of_one_colour(value, expected):
    x = constant(5, 100, 100, 100, 3)
    noisy = replace_pixels(x, generator(), fraction=0.2, value=value, limits=(-1.0, 9.0))
    assert (noisy == noisy[..., :1]).all()
    assert_share(noisy[..., 0] == 5, 0.8)
    for colour, share in expected.items():
        assert_share(noisy[..., 0] == colour, 0.2 * share)


def test_pixels_of_noise():
    x = constant(5, 100, 100, 100, 3)
    noisy = replace_pixels(x, generator(), fraction=0.2, value="noise", limits=(-1.0, 3.0))
    chosen = noisy != 5
    assert (chosen.all(-1) == chosen.any(-1)).all()
    assert_share(chosen[..., 0], 0.2)
    colours = noisy[chosen].reshape(-1, 3)
    assert_mean(colours, 1, 4 / sqrt(12))
    assert_variance(colours, 16 / 12, 1.8)
    assert abs(torch.corrcoef(colours.T)[0, 1]) < 4 / sqrt(len(colours))


def test_a_region_is_a_rectangle_of_its_size_that_lies_anywhere():
    x = constant(0, 5000, 20, 10)
    noisy = corrupt_region(x, generator(), corrupt=lambda x, _: x + 1, size=0.5)
    rows, columns = noisy.amax(2), noisy.amax(1)
    assert torch.equal(noisy, rows[:, :, None] * columns[:, None, :])
    assert (rows.sum(1) == 10).all()
    assert (columns.sum(1) == 5).all()
    for sides, places in ((rows, 11), (columns, 6)):
        first = sides.argmax(1)
        assert (sides.diff(dim=1).abs().sum(1) <= 2).all()  # one piece
        for place in range(places):
            assert_share(first == place, 1 / places)


def test_a_region_of_a_range_of_sizes_draws_each_side():
    x = constant(0, 1, 1, 1).expand(2000, 100, 100)
    noisy = corrupt_region(x, generator(), corrupt=lambda x, _: x + 1, size=(0.2, 0.6))
    heights, widths = noisy.amax(2).sum(1), noisy.amax(1).sum(1)
    for sides in (heights, widths):
        assert_mean(sides, 40, sqrt(40**2 / 12))
        assert sides.min() >= 20
        assert sides.max() <= 60
    assert abs(torch.corrcoef(torch.stack([heights, widths]))[0, 1]) < 4 / sqrt(2000)


def test_a_choice_takes_each_noise_with_its_probability():
    corruptions = [lambda x, _, step=step: x + step for step in (1, 2, 3)]
    noisy = choose_corruption(
        constant(0, N, 1), generator(), corruptions=corruptions, probabilities=[0.5, 0.3, 0.2]
    )
    for step, share in ((1, 0.5), (2, 0.3), (3, 0.2)):
        assert_share(noisy == step, share)


STRENGTHS = {
    add_gaussian: ("noise_factor", {}, lambda x, noisy: (noisy - x).std(dim=1)),
    add_uniform: ("noise_factor", {}, lambda x, noisy: (noisy - x).std(dim=1) * sqrt(3)),
    add_speckle: ("noise_factor", {}, lambda x, noisy: (noisy / x - 1).std(dim=1)),
    add_poisson: ("peak", {"white": 0.5}, lambda x, noisy: 0.25 / noisy.var(dim=1)),
    salt_and_pepper: ("amount", {}, lambda x, noisy: (noisy != x).double().mean(dim=1)),
    mask_entries: ("fraction", {}, lambda x, noisy: (noisy != x).double().mean(dim=1)),
    swap_entries: ("fraction", {}, lambda x, noisy: (noisy != x).double().mean(dim=1)),
    replace_pixels: ("fraction", {}, lambda x, noisy: (noisy != x).double().mean(dim=1)),
}


@pytest.mark.parametrize("function", STRENGTHS, ids=lambda function: function.__name__)
def test_a_range_of_strengths_draws_one_for_each_sample_uniformly(function):
    name, others, measure = STRENGTHS[function]
    x = constant(0.5, 2000, 500) + torch.arange(2000)[:, None] * 1e-9
    strengths = measure(x, function(x, generator(), **{name: (0.2, 0.8)}, **others))
    assert_mean(strengths, 0.5, 0.6 / sqrt(12) * 1.05)  # a little wider for what each estimate errs
    quartiles = np.quantile(strengths, [0.05, 0.95])
    np.testing.assert_allclose(quartiles, [0.23, 0.77], atol=0.04)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("function", STRENGTHS, ids=lambda function: function.__name__)
def test_every_function_is_pure_and_keeps_the_type(function, dtype):
    name, others, _ = STRENGTHS[function]
    x = torch.rand(20, 30, generator=generator(1)).to(dtype)
    before, state = x.clone(), torch.get_rng_state()
    noisy = function(x, generator(), **{name: (0.3, 0.9)}, **others)
    assert noisy.dtype == dtype
    assert noisy.shape == x.shape
    assert torch.equal(x, before)
    assert noisy.data_ptr() != x.data_ptr()
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(function(x, generator(), **{name: (0.3, 0.9)}, **others), noisy)
    assert not torch.equal(function(x, generator(2), **{name: (0.3, 0.9)}, **others), noisy)


@pytest.mark.parametrize("function", STRENGTHS, ids=lambda function: function.__name__)
def test_data_of_either_precision_meet_the_same_noise(function):
    name, others, _ = STRENGTHS[function]
    x = torch.rand(20, 30, generator=generator(1), dtype=torch.float64)
    double = function(x, generator(), **{name: (0.3, 0.9)}, **others)
    single = function(x.float(), generator(), **{name: (0.3, 0.9)}, **others)
    torch.testing.assert_close(single.double(), double, rtol=1e-5, atol=1e-6)


def test_every_name_in_the_table_is_that_of_its_class():
    for name, kind in NOISERS.items():
        words = "".join(word.capitalize() for word in name.split("_"))
        # JPEG is written in capitals.
        assert kind.__name__.lower() in (f"{words}Noiser".lower(), f"Noiser{words}".lower())
