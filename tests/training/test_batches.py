from __future__ import annotations

import pytest
import torch

from sk_denoise.training import BatchIterator, BatchTransform, CorruptedRows, CorruptedStream, FixedRows

ROWS = torch.arange(10.0)[:, None].repeat(1, 2)


def add_noise(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return x + 0.1 * torch.rand(x.shape, generator=generator)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def transform(corrupt=add_noise, seed=0, **prepare) -> BatchTransform:
    same = dict.fromkeys(("prepare_input", "prepare_target"), lambda x: x)
    return BatchTransform(corrupt, generator=generator(seed), **{**same, **prepare})


def corrupted_rows(inputs=ROWS, targets=None, corrupt=add_noise, seed=0, **prepare) -> CorruptedRows:
    return CorruptedRows(
        inputs,
        inputs if targets is None else targets,
        inputs.device,
        transform(corrupt, seed, **prepare),
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
def test_batches_are_of_nearly_equal_size_up_to_the_batch_size(rows, batch_size, sizes):
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


def test_small_batches_are_drawn_together_and_large_ones_alone():
    drawn = []

    def corrupt(x, generator):
        drawn.append(len(x))
        return x

    for width, expected in ((2, [10]), (10_000, [6, 4]), (2**16, [3, 3, 2, 2])):
        drawn.clear()
        rows = corrupted_rows(ROWS[:, :1].expand(-1, width), corrupt=corrupt)
        batches, _, targets = passes(rows, 3)
        assert drawn == expected
        assert [len(inputs) for inputs, _ in batches] == [3, 3, 2, 2]
        assert sorted(targets[:, 0].tolist()) == list(range(10))


def test_the_same_generators_give_the_same_passes():
    first, second = corrupted_rows(seed=3), corrupted_rows(seed=3)
    for _ in range(2):
        for one, other in zip(passes(first, 4)[1:], passes(second, 4)[1:], strict=True):
            assert torch.equal(one, other)
    assert not torch.equal(passes(corrupted_rows(seed=4), 4)[1], passes(corrupted_rows(seed=3), 4)[1])


def test_noise_and_order_have_separate_generators():
    rows, other = corrupted_rows(seed=3), corrupted_rows(seed=3)
    other.transform.generator = generator(77)
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


def test_pairs_of_rows_stay_pairs():
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


def test_frozen_rows_are_corrupted_once_and_stay_the_same():
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


# Augmentation and emphasis -------------------------------------------------------------------------------


def move(x, generator, *others):
    """Add one number to all that belongs to a sample."""
    steps = torch.randint(1, 1000, (len(x), 1), generator=generator)
    moved = tuple(side + steps for side in (x, *others))
    return moved if others else moved[0]


def test_training_rows_are_augmented_anew_in_every_pass_both_sides_alike():
    clean = corrupted_rows(corrupt=None, augment=move)
    pairs = corrupted_rows(ROWS, ROWS + 0.5, corrupt=None, augment=move)
    seen = []
    for _ in range(2):
        _, inputs, targets = passes(clean, 4)
        assert torch.equal(inputs, targets)
        seen.append(inputs.sort(dim=0).values)
        _, inputs, targets = passes(pairs, 4)
        assert torch.equal(inputs + 0.5, targets)
        assert (inputs >= 1).all()
    assert not torch.equal(*seen)


def test_noise_comes_after_the_augmentation_and_not_on_the_target():
    _, inputs, targets = passes(corrupted_rows(augment=move), 4)
    assert torch.equal(targets, targets.round())
    noise = inputs - targets
    assert (noise >= 0).all()
    assert 0.05 < noise.max() < 0.11


def test_validation_rows_are_not_augmented():
    frozen = corrupted_rows(corrupt=None, augment=move).freeze()
    assert torch.equal(frozen.inputs, ROWS)


def test_corrupted_and_intact_entries_have_their_weights():
    def corrupt_first(x, generator):
        return torch.cat([x[:, :1] + 1, x[:, 1:]], dim=1)

    def weigh(noisy, clean):
        return torch.where(noisy != clean, 0.9, 0.1)

    rows = corrupted_rows(corrupt=corrupt_first, weigh=weigh, prepare_target=lambda x: 100 * x)
    for batches in (list(BatchIterator(rows, 4)), list(BatchIterator(rows.freeze(), 4))):
        weights = torch.cat([batch[2] for batch in batches])
        assert torch.equal(weights, torch.tensor([[0.9, 0.1]]).expand(10, 2))


# Streams -------------------------------------------------------------------------------------------------


class Blocks:
    """Numbered patches in blocks of the given lengths."""

    def __init__(self, lengths, paired=False):
        self.lengths, self.paired, self.open = lengths, paired, 0

    def __len__(self):
        return sum(self.lengths)

    def draw(self, generator):
        self.open += 1
        try:
            order = torch.randperm(len(self), generator=generator).float()
            for numbers in order.split(self.lengths):
                inputs = numbers[:, None, None].expand(-1, 3, 3)
                yield inputs, inputs + 0.5 if self.paired else inputs
        finally:
            self.open -= 1


def stream(blocks, seed=0, **prepare) -> CorruptedStream:
    return CorruptedStream(
        blocks, torch.device("cpu"), transform(seed=seed, **prepare), generator(seed + 100)
    )


@pytest.mark.parametrize("lengths", [[10], [1] * 10, [3, 4, 3], [2, 8]])
@pytest.mark.parametrize(
    ("batch_size", "sizes"), [(99, [10]), (4, [4, 3, 3]), (3, [3, 3, 2, 2]), (1, [1] * 10)]
)
@pytest.mark.parametrize("paired", [False, True])
def test_a_stream_gives_batches_of_nearly_equal_size_from_any_blocks(lengths, batch_size, sizes, paired):
    rows = stream(Blocks(lengths, paired), corrupt=None)
    orders = []
    for _ in range(2):
        batches, inputs, targets = passes(rows, batch_size)
        assert [len(inputs) for inputs, _ in batches] == sizes
        assert len(BatchIterator(rows, batch_size)) == len(sizes)
        assert torch.equal(inputs + 0.5 * paired, targets)
        orders.append(inputs[:, 0, 0].tolist())
        assert sorted(orders[-1]) == list(range(10))
    assert orders[0] != orders[1]


def test_a_stream_is_corrupted_afresh_and_leaves_its_targets_clean():
    rows = stream(Blocks([4, 6]))
    first, second = passes(rows, 3), passes(rows, 3)
    for _, inputs, targets in (first, second):
        assert torch.equal(targets, targets.round())
        assert 0.05 < (inputs - targets).max() < 0.11
    assert not torch.equal(first[1] - first[2], second[1] - second[2])
    again = passes(stream(Blocks([4, 6])), 3)
    assert torch.equal(again[1], first[1])


def test_a_stream_that_is_left_early_is_closed():
    blocks = Blocks([5, 5])
    batches = iter(BatchIterator(stream(blocks), 2))
    next(batches)
    assert blocks.open == 1
    batches.close()
    assert blocks.open == 0
