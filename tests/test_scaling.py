from __future__ import annotations

import numpy as np
import pytest
import torch

from sk_denoise._scaling import AffineScaler, Moments, compute_joint_moments, compute_moments, iterate_chunks


def in_chunks(array, sizes):
    parts = torch.from_numpy(array).split(sizes)
    assert len(parts) == len(sizes)
    return parts


def scaler_of(array) -> AffineScaler:
    return AffineScaler.from_moments(compute_moments([torch.from_numpy(array)]))


@pytest.fixture
def far_from_zero():
    """Two noisy copies of features with mean 1e9, exactly 1e9 away from numbers that numpy sums well."""
    small = np.random.default_rng(0).integers(-1000, 1000, size=(2, 101, 3)) / 256.0
    return small, small + 1e9


@pytest.mark.parametrize("sizes", [[101], [1] * 101, [50, 50, 1], [7, 90, 4]])
def test_moments_of_chunks_far_from_zero_are_those_of_the_whole(far_from_zero, sizes):
    small, x = far_from_zero
    chunks = zip(in_chunks(x[0], sizes), in_chunks(x[1], sizes), strict=True)
    sides, covariance = compute_joint_moments(chunks)
    for side, near in zip(sides, small, strict=True):
        np.testing.assert_allclose(side.mean.numpy() - 1e9, near.mean(axis=0), atol=1e-5)
        np.testing.assert_allclose(side.std.numpy(), near.std(axis=0), rtol=1e-7)
        np.testing.assert_array_equal(side.low.numpy() - 1e9, near.min(axis=0))
        np.testing.assert_array_equal(side.high.numpy() - 1e9, near.max(axis=0))
    for feature in range(3):
        expected = np.cov(small[:, :, feature], ddof=0)
        np.testing.assert_allclose(covariance[..., feature].numpy(), expected, rtol=1e-6)


def test_moments_of_single_precision_lose_no_digits_far_from_zero():
    x = np.random.default_rng(0).normal(1e5, 1, (300_000, 2)).astype(np.float32)
    x[:1000] -= 50  # the first chunk is unlike the rest
    stats = compute_moments(in_chunks(x, [1000, 99_000, 200_000]))
    assert stats.mean.dtype == stats.std.dtype == torch.float64
    exact = x.astype(np.float64)
    np.testing.assert_allclose(stats.mean.squeeze().numpy(), exact.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(stats.std.squeeze().numpy(), exact.std(axis=0), rtol=1e-5)


def test_moments_of_channels_reduce_samples_and_pixels():
    x = np.random.default_rng(0).normal(size=(9, 2, 4, 5))
    stats = compute_moments(in_chunks(x, [4, 5]), (0, 2, 3))
    for name in ("mean", "std", "low", "high"):
        assert getattr(stats, name).shape == (2, 1, 1)
    np.testing.assert_allclose(stats.mean.squeeze().numpy(), x.mean(axis=(0, 2, 3)))
    np.testing.assert_allclose(stats.std.squeeze().numpy(), x.std(axis=(0, 2, 3)))
    np.testing.assert_array_equal(stats.low.squeeze().numpy(), x.min(axis=(0, 2, 3)))


def test_covariance_of_channels_is_kept_for_each_channel():
    x = np.random.default_rng(0).normal(size=(6, 2, 3, 3))
    noisy = x * np.array([2.0, -1.0])[:, None, None]
    _, covariance = compute_joint_moments([(torch.from_numpy(noisy), torch.from_numpy(x))], (0, 2, 3))
    assert covariance.shape == (2, 2, 2, 1, 1)
    variance = x.var(axis=(0, 2, 3))
    np.testing.assert_allclose(covariance[0, 1].squeeze().numpy(), variance * [2.0, -1.0])


def test_a_constant_is_recognized_despite_rounding_of_its_deviation():
    x = np.stack([np.full(1000, 0.1), np.linspace(0, 1, 1000)], axis=1)
    assert compute_moments(in_chunks(x, [333, 333, 334])).is_constant.tolist() == [True, False]


def test_scaling_gives_zero_mean_and_unit_deviation():
    x = np.random.default_rng(0).normal([5.0, -300.0], [0.1, 40.0], size=(500, 2))
    scaled = scaler_of(x).scale(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(scaled.std(axis=0), 1)


@pytest.mark.parametrize(("dtype", "rtol"), [(np.float32, 1e-5), (np.float64, 1e-12)])
def test_unscaling_undoes_scaling_in_the_precision_of_the_data(dtype, rtol):
    x = np.random.default_rng(0).normal([5.0, -300.0], [0.1, 40.0], size=(50, 2)).astype(dtype)
    original, scaler = x.copy(), scaler_of(x)
    back = scaler.unscale(scaler.scale(torch.from_numpy(x)))
    assert back.numpy().dtype == dtype
    np.testing.assert_allclose(back.numpy(), x, rtol=rtol)
    np.testing.assert_array_equal(x, original)


def test_a_constant_feature_is_scaled_to_zero_and_comes_back_as_it_was():
    x = np.column_stack([np.full(10, 7.0), np.arange(10.0)])
    scaler = scaler_of(x)
    surprising = torch.tensor([[9.0, 3.0]], dtype=torch.float64)
    assert scaler.scale(surprising)[0, 0] == 0
    assert scaler.unscale(torch.full((1, 2), 100.0, dtype=torch.float64))[0, 0] == 7
    assert scaler.scale(surprising).isfinite().all()


def test_a_feature_that_is_almost_always_the_same_is_scaled_by_a_hundredth_of_its_range():
    x = np.zeros((20_001, 1))
    x[0] = 50.0  # deviation 0.35, range 50
    assert scaler_of(x).spread.item() == pytest.approx(0.5)


def test_a_feature_that_changes_by_rounding_alone_is_not_blown_up():
    x = (0.1 + np.arange(100) % 2 * 1e-16)[:, None]
    assert x.min() < x.max()
    assert scaler_of(x).scale(torch.from_numpy(x)).abs().max() < 1e-6


def test_the_floor_of_the_spread_follows_the_unit():
    x = np.zeros((20_001, 1))
    x[0] = 50.0
    assert scaler_of(x * 1e-6).spread.item() == pytest.approx(scaler_of(x).spread.item() * 1e-6)


@pytest.mark.parametrize("unit", [1e-30, 1e30])
def test_units_far_from_one_are_scaled_like_any_other(unit):
    x = np.random.default_rng(0).normal(3, 1, size=(50, 2))
    scaled = scaler_of(x * unit).scale(torch.from_numpy(x * unit)).numpy()
    np.testing.assert_allclose(scaled, scaler_of(x).scale(torch.from_numpy(x)).numpy(), atol=1e-10)


def test_the_identity_leaves_data_as_they_are():
    x = torch.tensor([[1.5, -2.0]])
    identity = AffineScaler.identity()
    assert torch.equal(identity.scale(x), x)
    assert torch.equal(identity.unscale(x), x)
    assert identity.scale(x).dtype == torch.float32


def test_weights_enlarge_spreads_in_proportion_and_keep_scaled_data_at_unit_mean_square():
    x = np.random.default_rng(0).normal([1.0, 2.0, 3.0], [1.0, 5.0, 0.2], size=(4000, 3))
    weights = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)
    scaler = scaler_of(x)
    weighted = scaler.times(weights)
    ratio = weighted.spread / scaler.spread
    np.testing.assert_allclose((ratio / ratio[0]).numpy(), [1.0, 2.0, 4.0])
    assert weighted.scale(torch.from_numpy(x)).square().mean().item() == pytest.approx(1)
    assert torch.equal(weighted.center, scaler.center)


def test_weights_of_constant_features_are_ignored():
    x = np.random.default_rng(0).normal(size=(100, 3))
    x[:, 2] = 4.0
    scaler = scaler_of(x)
    weighted = scaler.times(torch.tensor([1.0, 1.0, 1000.0], dtype=torch.float64))
    np.testing.assert_allclose(weighted.spread.numpy(), scaler.spread.numpy())
    assert weighted.spread[2] == 0


def test_weights_of_constants_alone_change_nothing():
    scaler = scaler_of(np.full((5, 2), 3.0))
    assert scaler.times(torch.ones(2, dtype=torch.float64)).spread.abs().max() == 0


def test_chunks_hold_all_rows_in_order_and_are_small():
    x = torch.arange(6, dtype=torch.uint8)[:, None].expand(6, 2**19)
    chunks = list(iterate_chunks(x))
    assert [len(chunk) for chunk in chunks] == [2, 2, 2]
    assert torch.cat(chunks)[:, 0].tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("length", [2**19, 2**21])
@pytest.mark.parametrize(("n", "lengths"), [(1, [1]), (2, [2]), (3, [3]), (5, [2, 3])])
def test_a_chunk_has_a_single_row_only_if_there_are_no_others(length, n, lengths):
    x = torch.zeros(n, 1, dtype=torch.uint8).expand(n, length)
    assert [len(chunk) for chunk in iterate_chunks(x)] == lengths


def test_moments_are_constant_if_low_equals_high():
    one = torch.ones(2)
    assert Moments(one, one, one, one).is_constant.all()
    assert not Moments(one, one, one, 2 * one).is_constant.any()
