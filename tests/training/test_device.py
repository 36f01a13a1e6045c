from __future__ import annotations

import pytest
import torch

from sk_denoise import _resources
from sk_denoise.training import BatchTransform, CorruptedRows, keep_on_device, resolve_device

CPU, GPU = torch.device("cpu"), torch.device("cuda")


class Elsewhere:
    """Rows that record a transfer to a GPU."""

    def __init__(self, nbytes: int, device: torch.device = CPU) -> None:
        self.nbytes, self.device = nbytes, device

    def to(self, device):
        return Elsewhere(self.nbytes, device)


@pytest.fixture
def free_memory(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 2000))


def test_auto_prefers_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == CPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto") == GPU


@pytest.mark.parametrize("name", ["cuda:99", "moon", "meta", "cpu:7"])
def test_a_missing_device_is_refused_with_those_to_use(name):
    with pytest.raises(ValueError, match='Use "auto", "cpu" or "cuda"'):
        resolve_device(name)


@pytest.mark.usefixtures("free_memory")
@pytest.mark.parametrize(("sizes", "there"), [((100, 400), GPU), ((101, 400), CPU), ((500,), GPU)])
def test_data_go_to_a_gpu_if_they_fit_into_half_of_its_memory(sizes, there):
    kept = keep_on_device(GPU, *map(Elsewhere, sizes))
    assert [side.nbytes for side in kept] == list(sizes)
    assert {side.device for side in kept} == {there}


@pytest.mark.usefixtures("free_memory")
def test_a_side_that_is_given_twice_counts_and_goes_once():
    rows = Elsewhere(450)
    inputs, targets = keep_on_device(GPU, rows, rows)
    assert inputs is targets
    assert inputs.device == GPU


def test_on_the_cpu_data_stay_as_they_are():
    x, y = torch.zeros(3), torch.ones(3)
    assert [kept is given for kept, given in zip(keep_on_device(CPU, x, y), (x, y), strict=True)] == [
        True,
        True,
    ]


class Gathered(torch.Tensor):
    """A tensor that records its transfer to a device."""

    sent: list = []  # noqa: RUF012

    def pin_memory(self):
        self.sent.append("pinned")
        return self

    def to(self, device, non_blocking=False):
        self.sent.append((str(device), non_blocking))
        return self.as_subclass(torch.Tensor)


def test_rows_that_stay_behind_are_sent_batch_by_batch_from_pinned_memory():
    x = torch.arange(12.0).reshape(6, 2)
    rows = CorruptedRows(
        x.as_subclass(Gathered),
        (x + 1).as_subclass(Gathered),
        GPU,
        BatchTransform(None, lambda x: x, lambda x: x, torch.Generator()),
        torch.Generator(),
    )
    inputs, targets = rows.draw(torch.tensor([4, 0]))
    assert Gathered.sent == ["pinned", ("cuda", True)] * 2
    assert inputs.tolist() == [[8, 9], [0, 1]]
    assert targets.tolist() == [[9, 10], [1, 2]]


def test_chunks_of_a_prediction_follow_the_memory_of_a_gpu(monkeypatch):
    assert _resources.entries_at_once(CPU) == _resources.ENTRIES_IN_CACHE
    for free, expected in ((2**20, _resources.ENTRIES_IN_CACHE), (2**35, 2**27)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, 2**40))
        assert _resources.entries_at_once(GPU) == expected
