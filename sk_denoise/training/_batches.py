"""Batches of rows held in memory, corrupted afresh each time they are drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import Dataset

from sk_denoise._scaling import chunks_of

__all__ = ["BatchIterator", "CorruptedRows", "FixedRows"]

ENTRIES_AT_ONCE = 2**16  # drawn together: enough to hide what every call costs, few enough for the cache

Batch = tuple[Tensor, Tensor]
Prepare = Callable[[Tensor], Tensor]
Corrupt = Callable[[Tensor, torch.Generator], Tensor]


@dataclass
class CorruptedRows(Dataset[Batch]):
    """Rows of a training set, from which batches are drawn as ``(network input, network target)``.

    Attributes
    ----------
    inputs : Tensor of shape (n_samples, ...)
        What the network is shown, before corruption, in the user's unit and type.
    targets : Tensor of shape (n_samples, ...)
        What it should answer; ``inputs`` itself where these are clean.
    device : torch.device
        Where batches are wanted, whether or not the rows are there.
    corrupt : callable or None
        The noise, in the user's unit; None where ``inputs`` are noisy already.
    prepare_input, prepare_target : callable
        From the user's unit and layout to the network's.
    generator : torch.Generator
        The source of noise, on the device of the batches.
    shuffle : torch.Generator
        The source of the order of the rows, on the CPU.
    """

    inputs: Tensor
    targets: Tensor
    device: torch.device
    corrupt: Corrupt | None
    prepare_input: Prepare
    prepare_target: Prepare
    generator: torch.Generator
    shuffle: torch.Generator

    def __len__(self) -> int:
        return len(self.inputs)

    def order(self) -> Tensor:
        """Return a new order of the rows for each pass."""
        return torch.randperm(len(self), generator=self.shuffle)

    def draw(self, index: Tensor) -> Batch:
        """Return the rows at ``index``, corrupted afresh."""
        inputs = self._taken(self.inputs, index)
        targets = inputs if self.targets is self.inputs else self._taken(self.targets, index)
        return self._pair(inputs, targets)

    def freeze(self) -> FixedRows:
        """Return all rows, corrupted once, in the network's unit and precision."""
        target_chunks = chunks_of(self.targets)
        pairs = [
            self._pair(x.to(self.device), next(target_chunks).to(self.device)) for x in chunks_of(self.inputs)
        ]
        return FixedRows(*(torch.cat(side) for side in zip(*pairs, strict=True)))

    def _taken(self, rows: Tensor, index: Tensor) -> Tensor:
        taken = rows.index_select(0, index)
        if rows.device == self.device:
            return taken
        return taken.pin_memory().to(self.device, non_blocking=True)  # while the device still computes

    def _pair(self, inputs: Tensor, targets: Tensor) -> Batch:
        noisy = inputs if self.corrupt is None else self.corrupt(inputs, self.generator)
        return self.prepare_input(noisy), self.prepare_target(targets)


@dataclass
class FixedRows(Dataset[Batch]):
    """Rows that are the same at every draw, as validation wants them."""

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.inputs)

    def order(self) -> Tensor:
        """Return the order of the rows as they are."""
        return torch.arange(len(self))

    def draw(self, index: Tensor) -> Batch:
        """Return the rows at ``index``."""
        return self.inputs.index_select(0, index), self.targets.index_select(0, index)


@dataclass
class BatchIterator:
    """What skorch iterates over in place of a DataLoader.

    Every pass cuts the rows into batches of nearly equal size, none larger than ``batch_size``, so that
    no small rest of rows weighs as much as a whole batch. Small batches are drawn several at a time, and
    handed out as views.
    """

    dataset: CorruptedRows | FixedRows
    batch_size: int

    def __len__(self) -> int:
        return -(-len(self.dataset) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        order = self.dataset.order().to(self.dataset.inputs.device)
        sizes = [len(index) for index in order.tensor_split(len(self))]
        at_once = max(1, ENTRIES_AT_ONCE // (self.batch_size * self.dataset.inputs[:1].numel()))
        groups = [sizes[first : first + at_once] for first in range(0, len(sizes), at_once)]
        for group, index in zip(groups, order.split([sum(group) for group in groups]), strict=True):
            inputs, targets = self.dataset.draw(index)
            yield from zip(inputs.split(group), targets.split(group), strict=True)
