from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from sk_denoise._random import borrowed_global_state, root_seed, stream, stream_seed

PATHS = [(), ("weights",), ("noise",), ("noise", 0), ("noise", 1), ("noise", 0, 0), (0,), (1,), (1, "noise")]


def global_states() -> tuple[object, ...]:
    _, keys, position, *_ = np.random.get_state()  # noqa: NPY002 - it is this state that is at stake
    return random.getstate(), keys.tolist(), position, torch.get_rng_state().tolist()


@contextmanager
def untouched_global_states() -> Iterator[None]:
    before = global_states()
    yield
    assert global_states() == before


def draws(generator: torch.Generator, n: int = 10_000) -> torch.Tensor:
    return torch.randn(n, generator=generator)


def test_an_integer_is_its_own_root_seed():
    assert root_seed(17) == 17
    assert root_seed(np.int64(17)) == 17


def test_none_gives_another_root_seed_each_time():
    assert len({root_seed(None) for _ in range(10)}) == 10


def test_a_random_state_gives_the_seeds_of_its_own_sequence_and_moves_on():
    one, same = np.random.RandomState(3), np.random.RandomState(3)
    first, second = root_seed(one), root_seed(one)
    assert first != second
    assert [root_seed(same), root_seed(same)] == [first, second]


@pytest.mark.parametrize("path", PATHS)
def test_a_stream_starts_at_its_beginning_whenever_it_is_asked_for(path):
    first = draws(stream(5, *path))
    draws(stream(5, "another"), 7)
    assert torch.equal(draws(stream(5, *path)), first)


def test_streams_of_different_names_are_different():
    assert len({stream_seed(5, *path): path for path in PATHS}) == len(PATHS)


def test_streams_are_uncorrelated_between_names_and_between_roots():
    rows = torch.stack([draws(stream(root, "noise", run)) for root in (0, 1) for run in range(1, 5)])
    correlations = torch.corrcoef(rows)
    assert (correlations - torch.eye(len(rows))).abs().max() < 0.05  # five deviations


def test_the_largest_root_seed_that_scikit_learn_allows_makes_a_stream():
    assert not torch.equal(draws(stream(2**32 - 1, "noise")), draws(stream(0, "noise")))


def test_no_global_state_is_touched():
    with untouched_global_states():
        root_seed(None)
        root_seed(np.random.RandomState(0))
        draws(stream(root_seed(3), "noise", 1))
        with borrowed_global_state(3):
            torch.rand(10)


def test_a_borrowed_state_is_reproducible_inside():
    with borrowed_global_state(7):
        first = torch.rand(5)
    torch.rand(3)
    with borrowed_global_state(7):
        again = torch.rand(5)
    with borrowed_global_state(8):
        other = torch.rand(5)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_borrowed_state_is_given_back_after_an_error():
    def fail_in_a_borrowed_state() -> None:
        with borrowed_global_state(0):
            torch.rand(3)
            raise RuntimeError("a user's module")

    with untouched_global_states(), pytest.raises(RuntimeError, match="a user's module"):
        fail_in_a_borrowed_state()


def test_a_state_borrowed_within_another_gives_that_one_back():
    with borrowed_global_state(0):
        expected = torch.rand(4)
    with borrowed_global_state(0):
        head = torch.rand(2)
        with borrowed_global_state(1):
            torch.rand(9)
        tail = torch.rand(2)
    assert torch.equal(torch.cat([head, tail]), expected)


def test_threads_borrow_the_state_one_after_the_other():
    def draw_often(seed: int) -> list[float]:
        with borrowed_global_state(seed):
            return [float(torch.rand(())) for _ in range(200)]

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(draw_often, range(8)))
    assert together == [draw_often(seed) for seed in range(8)]
