from __future__ import annotations

import pytest
import torch

from sk_denoise.training import _batches
from sk_denoise.training._batches import BatchIterator, CorruptedRows, FixedRows

ROWS = torch.arange(10.0)[:, None].repeat(1, 2)


def add_noise(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return x + 0.1 * torch.rand(x.shape, generator=generator)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def corrupted_rows(inputs=ROWS, targets=None, corrupt=add_noise, seed=0, **prepare) -> CorruptedRows:
    return CorruptedRows(
        inputs,
        inputs if targets is None else targets,
        inputs.device,
        corrupt,
        prepare_input=prepare.get("prepare_input", lambda x: x),
        prepare_target=prepare.get("prepare_target", lambda x: x),
        generator=generator(seed),
        shuffle=generator(seed + 100),
    )


def passes(rows, batch_size: int):
    """Return all batches of a pass, and its inputs and targets put together."""
    batches = list(BatchIterator(rows, batch_size))
    return batches, *(torch.cat(side) for side in zip(*batches, strict=True))


# Batches -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("batch_size", "sizes"),
    [(10, [10]), (99, [10]), (5, [5, 5]), (4, [4, 3, 3]), (9, [5, 5]), (3, [3, 3, 2, 2]), (1, [1] * 10)],
)
@pytest.mark.parametrize("rows", [corrupted_rows(), FixedRows(ROWS, ROWS)], ids=["corrupted", "fixed"])
def test_batches_are_of_nearly_equal_size_and_none_is_larger_than_asked_for(rows, batch_size, sizes):
    batches, _, _ = passes(rows, batch_size)
    assert [len(inputs) for inputs, _ in batches] == sizes
    assert [len(targets) for _, targets in batches] == sizes
    assert len(BatchIterator(rows, batch_size)) == len(sizes)


def test_every_pass_draws_each_row_once_in_a_new_order():
    rows = corrupted_rows(corrupt=None)
    orders = [passes(rows, 3)[1][:, 0].tolist() for _ in range(3)]
    for order in orders:
        assert sorted(order) == list(range(10))
    assert orders[0] != orders[1] != orders[2] != orders[0]


def test_every_pass_draws_fresh_noise():
    rows = corrupted_rows()
    noise = []
    for _ in range(2):
        _, inputs, targets = passes(rows, 3)
        order = targets[:, 0].argsort()
        noise.append((inputs - targets)[order])
    for drawn in noise:
        assert 0 <= drawn.min() < drawn.max() <= 0.11
        assert len(drawn.unique()) > 15
    assert (noise[0] != noise[1]).all()


def test_small_batches_are_drawn_together_and_large_ones_alone(monkeypatch):
    drawn = []

    def corrupt(x, generator):
        drawn.append(len(x))
        return x

    for at_once, expected in ((2**16, [10]), (12, [6, 4]), (1, [3, 3, 2, 2])):
        monkeypatch.setattr(_batches, "ENTRIES_AT_ONCE", at_once)
        drawn.clear()
        batches, _, targets = passes(corrupted_rows(corrupt=corrupt), 3)
        assert drawn == expected
        assert [len(inputs) for inputs, _ in batches] == [3, 3, 2, 2]
        assert sorted(targets[:, 0].tolist()) == list(range(10))


def test_the_same_generators_give_the_same_passes():
    first, second = corrupted_rows(seed=3), corrupted_rows(seed=3)
    for _ in range(2):
        for one, other in zip(passes(first, 4)[1:], passes(second, 4)[1:], strict=True):
            assert torch.equal(one, other)
    assert not torch.equal(passes(corrupted_rows(seed=4), 4)[1], passes(corrupted_rows(seed=3), 4)[1])


def test_noise_and_order_are_drawn_from_generators_of_their_own():
    rows, other = corrupted_rows(seed=3), corrupted_rows(seed=3)
    other.generator = generator(77)
    assert torch.equal(passes(rows, 4)[2], passes(other, 4)[2])


def test_drawing_leaves_the_rows_and_the_global_state_as_they_are():
    inputs, state = ROWS.clone(), torch.get_rng_state()
    passes(corrupted_rows(inputs), 4)
    assert torch.equal(inputs, ROWS)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_clean_rows_are_the_targets_of_their_corruptions():
    _, inputs, targets = passes(corrupted_rows(), 4)
    torch.testing.assert_close(inputs, targets, atol=0.11, rtol=0)
    assert not torch.equal(inputs, targets)


def test_rows_that_were_given_as_pairs_stay_pairs():
    _, inputs, targets = passes(corrupted_rows(ROWS, 2 * ROWS + 1, corrupt=None), 4)
    assert torch.equal(targets, 2 * inputs + 1)


def test_each_side_is_prepared_for_the_network_after_the_corruption():
    prepare = {"prepare_input": lambda x: 10 * x.float(), "prepare_target": lambda x: -x.float()}
    _, inputs, targets = passes(corrupted_rows(ROWS.double(), **prepare), 4)
    assert inputs.dtype == targets.dtype == torch.float32
    noise = inputs / 10 + targets
    assert noise.min() > -1e-5
    assert 0.05 < noise.max() < 0.11


# Rows that stay as they are ------------------------------------------------------------------------------


def test_fixed_rows_come_in_their_order_and_the_same_at_every_pass():
    rows = FixedRows(ROWS + 0.5, ROWS)
    for _ in range(2):
        _, inputs, targets = passes(rows, 4)
        assert torch.equal(inputs, ROWS + 0.5)
        assert torch.equal(targets, ROWS)


def test_frozen_rows_were_corrupted_once_and_stay_the_same():
    frozen = corrupted_rows().freeze()
    assert isinstance(frozen, FixedRows)
    assert len(frozen) == 10
    assert torch.equal(frozen.targets, ROWS)
    assert not torch.equal(frozen.inputs, ROWS)
    torch.testing.assert_close(frozen.inputs, ROWS, atol=0.11, rtol=0)
    assert torch.equal(passes(frozen, 3)[1], passes(frozen, 4)[1])


def test_freezing_prepares_both_sides():
    prepare = {"prepare_input": lambda x: 10 * x, "prepare_target": lambda x: -x}
    frozen = corrupted_rows(ROWS, 2 * ROWS, corrupt=None, **prepare).freeze()
    assert torch.equal(frozen.inputs, 10 * ROWS)
    assert torch.equal(frozen.targets, -2 * ROWS)


def test_freezing_many_rows_keeps_pairs_together():
    rows = torch.arange(5.0)[:, None].expand(5, 2**19)
    frozen = corrupted_rows(rows, rows + 1, corrupt=None).freeze()
    assert frozen.inputs[:, -1].tolist() == [0, 1, 2, 3, 4]
    assert frozen.targets[:, 0].tolist() == [1, 2, 3, 4, 5]
