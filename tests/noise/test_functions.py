from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from sk_denoise.noise import add_gaussian


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise_on(x: torch.Tensor, seed: int = 0, **parameters) -> torch.Tensor:
    """Return the noise that add_gaussian adds to x."""
    return add_gaussian(x, generator(seed), **parameters) - x


def zeros(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.zeros(shape, dtype=dtype)


def global_states() -> tuple[object, ...]:
    _, keys, position, *_ = np.random.get_state()  # noqa: NPY002 - it is this state that is at stake
    return random.getstate(), keys.tolist(), position, torch.get_rng_state().tolist()


@pytest.mark.parametrize(
    "parameters",
    [
        {"noise_factor": 0.3},
        {"noise_factor": (0.1, 0.5)},
        {"noise_factor": 0.3, "mean": 1.0, "unit": torch.tensor([1.0, 2.0, 3.0])},
        {"noise_factor": 0.3, "clip": (0.0, 1.0)},
    ],
    ids=["plain", "range", "unit", "clip"],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_it_is_pure(parameters, dtype):
    x = torch.rand(20, 3, generator=generator()).to(dtype)
    before, states = x.clone(), global_states()
    noisy = add_gaussian(x, generator(1), **parameters)
    assert torch.equal(x, before)
    assert noisy.data_ptr() != x.data_ptr()
    assert global_states() == states
    assert noisy.dtype == dtype
    assert noisy.shape == x.shape
    assert not torch.equal(noisy, x)


def test_the_same_seed_gives_the_same_noise_and_another_seed_another():
    x = zeros(5, 3)
    assert torch.equal(noise_on(x, 3, noise_factor=0.3), noise_on(x, 3, noise_factor=0.3))
    assert not torch.equal(noise_on(x, 3, noise_factor=0.3), noise_on(x, 4, noise_factor=0.3))


def test_one_generator_gives_fresh_noise_at_every_call():
    x, source = zeros(5, 3), generator()
    first = add_gaussian(x, source, noise_factor=0.3)
    assert not torch.equal(first, add_gaussian(x, source, noise_factor=0.3))


@pytest.mark.parametrize("noise_factor", [0.3, (0.1, 0.9)])
def test_data_of_either_precision_meet_the_same_noise(noise_factor):
    single = noise_on(zeros(50, 3, dtype=torch.float32), noise_factor=noise_factor)
    double = noise_on(zeros(50, 3, dtype=torch.float64), noise_factor=noise_factor)
    torch.testing.assert_close(single.double(), double, rtol=1e-6, atol=1e-7)


def test_the_noise_does_not_depend_on_the_default_type_of_torch():
    expected = noise_on(zeros(5, 3), noise_factor=(0.1, 0.9))
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(noise_on(zeros(5, 3), noise_factor=(0.1, 0.9)), expected)
    finally:
        torch.set_default_dtype(torch.float32)


def test_mean_and_deviation_follow_the_parameters():
    noise = noise_on(zeros(400, 500), noise_factor=0.3, mean=-2.0)
    assert noise.mean().item() == pytest.approx(-2, abs=0.004)  # six standard errors
    assert noise.std().item() == pytest.approx(0.3, abs=0.003)


def test_the_noise_is_normal_and_independent_between_entries():
    noise = noise_on(zeros(100_000, 2), noise_factor=1.0)
    assert noise.pow(3).mean().abs() < 0.05  # skewness
    assert noise.pow(4).mean().item() == pytest.approx(3, abs=0.1)  # kurtosis
    assert torch.corrcoef(noise.T)[0, 1].abs() < 0.02
    assert torch.corrcoef(torch.stack([noise[:-1, 0], noise[1:, 0]]))[0, 1].abs() < 0.02


def test_a_range_of_strengths_draws_one_for_each_sample_uniformly():
    strengths = noise_on(zeros(2000, 1000), noise_factor=(0.5, 1.5)).std(dim=1)
    assert strengths.min() > 0.45
    assert strengths.max() < 1.6
    quartiles = torch.quantile(strengths, torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64))
    torch.testing.assert_close(quartiles, torch.tensor([0.75, 1.0, 1.25]).double(), atol=0.06, rtol=0)


def test_a_range_of_strengths_is_one_for_all_pixels_of_an_image():
    noise = noise_on(zeros(200, 30, 20, 3), noise_factor=(0.0, 1.0))
    halves = noise[:, :15].flatten(1).std(dim=1), noise[:, 15:].flatten(1).std(dim=1)
    torch.testing.assert_close(*halves, rtol=0.3, atol=0.0)
    assert halves[0].std() > 0.2


def test_a_range_that_is_one_value_is_that_value():
    x = zeros(5, 3)
    torch.testing.assert_close(noise_on(x, noise_factor=(0.3, 0.3)), noise_on(x, noise_factor=0.3))


def test_the_mean_is_not_scaled_by_a_strength_drawn_for_each_sample():
    noise = noise_on(zeros(4, 100_000), noise_factor=(0.1, 2.0), mean=1.0)
    torch.testing.assert_close(noise.mean(dim=1), torch.ones(4).double(), atol=0.04, rtol=0)


def test_a_unit_for_each_feature_multiplies_noise_and_mean():
    unit = torch.tensor([0.0, 1.0, 100.0])
    noise = noise_on(zeros(100_000, 3), noise_factor=0.5, mean=2.0, unit=unit)
    torch.testing.assert_close(noise.mean(dim=0), 2 * unit.double(), rtol=0.01, atol=0.0)
    torch.testing.assert_close(noise.std(dim=0), 0.5 * unit.double(), rtol=0.02, atol=0.0)


def test_a_unit_in_double_precision_leaves_the_type_of_the_data():
    noisy = add_gaussian(
        zeros(2, 3, dtype=torch.float32), generator(), noise_factor=0.5, unit=torch.ones(3).double()
    )
    assert noisy.dtype == torch.float32


def test_units_far_from_one_keep_the_relative_strength():
    one, small = (noise_on(zeros(3, 4), noise_factor=0.5, unit=unit) for unit in (1.0, 1e-200))
    torch.testing.assert_close(small * 1e200, one)


def test_a_clip_cuts_noisy_values_at_its_limits_and_leaves_the_rest():
    x = torch.full((1000, 1), 0.5)
    free = add_gaussian(x, generator(), noise_factor=0.5)
    clipped = add_gaussian(x, generator(), noise_factor=0.5, clip=(0.0, 1.0))
    assert torch.equal(clipped, free.clamp(0, 1))
    assert (clipped == 0).any()
    assert (clipped == 1).any()
    assert ((clipped > 0) & (clipped < 1)).any()


def test_no_noise_returns_an_equal_copy():
    x = torch.rand(4, 3, generator=generator())
    noisy = add_gaussian(x, generator(), noise_factor=0.0)
    assert torch.equal(noisy, x)
    noisy += 1
    assert not torch.equal(noisy, x)


def test_it_leaves_memory_that_it_shares_with_numpy_alone():
    array = np.random.default_rng(0).normal(size=(4, 3))
    before = array.copy()
    add_gaussian(torch.from_numpy(array), generator(), noise_factor=0.3)
    np.testing.assert_array_equal(array, before)


def test_views_are_corrupted_as_their_copies_are():
    x = torch.rand(6, 8, generator=generator())[:, ::2].T
    torch.testing.assert_close(
        add_gaussian(x, generator(1), noise_factor=0.3),
        add_gaussian(x.contiguous(), generator(1), noise_factor=0.3),
    )


def test_rows_of_an_expanded_sample_get_independent_noise():
    x = torch.zeros(1, 3).expand(5, 3)
    noisy = add_gaussian(x, generator(), noise_factor=0.3)
    assert len(noisy.unique()) == 15
    assert (x == 0).all()
