"""Batches of rows or of streamed patches, corrupted afresh each time they are drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import Dataset

from sk_denoise._scaling import iterate_chunks

__all__ = [
    "BatchIterator",
    "CorruptedRows",
    "CorruptedStream",
    "FixedRows",
    "BatchTransform",
    "PatchSource",
    "BatchSource",
]

ENTRIES_AT_ONCE = 2**16  # drawn together: enough to hide what every call costs, few enough for the cache

Batch = tuple[Tensor, ...]  # network input, network target and, where some count more, weights
Prepare = Callable[[Tensor], Tensor]
Corrupt = Callable[[Tensor, torch.Generator], Tensor]


@dataclass
class BatchTransform:
    """What samples go through on their way to the network.

    Attributes
    ----------
    corrupt : callable or None
        The noise, in the user's unit; None where inputs are noisy already.
    prepare_input, prepare_target : callable
        From the user's unit and layout to the network's.
    generator : torch.Generator
        The source of noise and of augmentation, on the device of the batches.
    augment : callable or None
        From ``(inputs, generator, *targets)`` to samples that were all moved in the same way.
    weigh : callable or None
        From noisy and clean samples to the weight of each entry in the loss, in the network's layout.
    adds_noise_map : bool
        Whether a map of the noise level follows the channels of the input: the root mean square of what
        noise changed in the sample, in the network's unit.
    """

    corrupt: Corrupt | None
    prepare_input: Prepare
    prepare_target: Prepare
    generator: torch.Generator
    augment: Callable[..., Any] | None = None
    weigh: Callable[[Tensor, Tensor], Tensor] | None = None
    adds_noise_map: bool = False

    def fresh(self, inputs: Tensor, targets: Tensor) -> Batch:
        """Return samples augmented and corrupted, as training wants them."""
        if self.augment is None:
            return self.corrupted(inputs, targets)
        if targets is inputs:
            inputs = targets = self.augment(inputs, self.generator)
        else:
            inputs, targets = self.augment(inputs, self.generator, targets)
        return self.corrupted(inputs, targets)

    def corrupted(self, inputs: Tensor, targets: Tensor) -> Batch:
        """Return samples corrupted, as validation wants them."""
        noisy = inputs if self.corrupt is None else self.corrupt(inputs, self.generator)
        shown, aim = self.prepare_input(noisy), self.prepare_target(targets)
        if self.adds_noise_map:
            shown = _with_level(shown, aim)
        return (shown, aim) if self.weigh is None else (shown, aim, self.weigh(noisy, targets))


class BatchSource(Protocol):
    """What a training run draws batches from."""

    def __len__(self) -> int: ...

    def batches(self, batch_size: int) -> Iterator[Batch]: ...


@dataclass
class CorruptedRows(Dataset[Batch]):
    """Rows of a training set that is held in memory.

    Attributes
    ----------
    inputs : Tensor of shape (n_samples, ...)
        What the network is shown, before corruption, in the user's unit and type.
    targets : Tensor of shape (n_samples, ...)
        What it should answer; ``inputs`` itself where these are clean.
    device : torch.device
        Where batches are wanted, whether or not the rows are there.
    transform : BatchTransform
        What they go through.
    shuffle : torch.Generator
        The source of the order of the rows, on the CPU.
    weights : Tensor of shape (n_samples,), optional
        What each row counts in the loss, beside ``inputs``.
    """

    inputs: Tensor
    targets: Tensor
    device: torch.device
    transform: BatchTransform
    shuffle: torch.Generator
    weights: Tensor | None = None

    def __len__(self) -> int:
        return len(self.inputs)

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Yield the batches of a pass, each row once, in a new order; small batches are drawn together."""
        order = torch.randperm(len(self), generator=self.shuffle).to(self.inputs.device)
        groups = grouped_sizes(len(self), batch_size, self.inputs[0].numel())
        for sizes, index in zip(groups, order.split([sum(sizes) for sizes in groups]), strict=True):
            yield from _divided(self.draw(index), sizes)

    def draw(self, index: Tensor) -> Batch:
        """Return the rows at ``index``, augmented and corrupted afresh."""
        inputs = targets = _sent(self.inputs.index_select(0, index), self.device)
        if self.targets is not self.inputs:
            targets = _sent(self.targets.index_select(0, index), self.device)
        weights = None if self.weights is None else self.weights.index_select(0, index)
        return _weighed(self.transform.fresh(inputs, targets), weights)

    def freeze(self) -> FixedRows:
        """Return all rows, corrupted once, in the network's unit and precision."""
        target_chunks = iterate_chunks(self.targets)
        batches = [
            self.transform.corrupted(x.to(self.device), next(target_chunks).to(self.device))
            for x in iterate_chunks(self.inputs)
        ]
        sides = tuple(torch.cat(side) for side in zip(*batches, strict=True))
        return FixedRows(*_weighed(sides, self.weights))


class PatchSource(Protocol):
    """What a stream is drawn from; see :class:`sk_denoise.datasets.RandomPatches`."""

    def __len__(self) -> int: ...

    def draw(self, generator: torch.Generator) -> Any: ...


@dataclass
class CorruptedStream(Dataset[Batch]):
    """Patches of images that need not be in memory.

    Attributes
    ----------
    patches : PatchSource
        Draws the patches of an epoch, in blocks ``(inputs, targets)`` of any length.
    device, transform, shuffle
        As with :class:`CorruptedRows`.
    """

    patches: PatchSource
    device: torch.device
    transform: BatchTransform
    shuffle: torch.Generator

    def __len__(self) -> int:
        return len(self.patches)

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Yield the batches of a pass, of patches that are drawn afresh."""
        with closing(self.patches.draw(self.shuffle)) as blocks:
            held: list[tuple[Tensor, Tensor]] = []
            for sizes in self._groups(batch_size):
                inputs, targets = (_sent(side, self.device) for side in _next(blocks, held, sum(sizes)))
                yield from _divided(self.transform.fresh(inputs, targets), sizes)

    def _groups(self, batch_size: int) -> list[list[int]]:
        return grouped_sizes(len(self), batch_size, ENTRIES_AT_ONCE)  # patches are large


@dataclass
class FixedRows(Dataset[Batch]):
    """Rows that are the same at every draw, as validation wants them."""

    inputs: Tensor
    targets: Tensor
    weights: Tensor | None = None

    def __len__(self) -> int:
        return len(self.inputs)

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Yield the rows in their order."""
        sides = (
            (self.inputs, self.targets) if self.weights is None else (self.inputs, self.targets, self.weights)
        )
        sizes = [size for group in grouped_sizes(len(self), batch_size, 1) for size in group]
        yield from _divided(sides, sizes)


@dataclass
class BatchIterator:
    """What skorch iterates over in place of a DataLoader.

    Every pass cuts the rows into batches of nearly equal size, none larger than ``batch_size``, so that
    no small rest of rows weighs as much as a whole batch.
    """

    dataset: BatchSource
    batch_size: int

    def __len__(self) -> int:
        return -(-len(self.dataset) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        return self.dataset.batches(self.batch_size)


def grouped_sizes(n: int, batch_size: int, entries: int) -> list[list[int]]:
    """Return the sizes of batches of nearly equal size, in groups that are drawn together."""
    n_batches = -(-n // batch_size)
    size, rest = divmod(n, n_batches)
    sizes = [size + 1] * rest + [size] * (n_batches - rest)
    at_once = max(1, ENTRIES_AT_ONCE // (batch_size * entries))
    return [sizes[first : first + at_once] for first in range(0, n_batches, at_once)]


def _divided(sides: Batch, sizes: list[int]) -> Iterator[Batch]:
    """Yield the batches that were drawn together, as views."""
    yield from zip(*(side.split(sizes) for side in sides), strict=True)


def _weighed(batch: Batch, weights: Tensor | None) -> Batch:
    """Return a batch whose rows count as much as the weights say."""
    if weights is None:
        return batch
    noisy, clean, *of_entries = batch
    of_rows = weights.to(clean).view(-1, *(1,) * (clean.ndim - 1))
    return noisy, clean, of_rows * of_entries[0] if of_entries else of_rows


def _with_level(noisy: Tensor, clean: Tensor) -> Tensor:
    """Return noisy samples with the level of their noise, the same all over a sample, as a last channel."""
    level = (noisy - clean).square().flatten(1).mean(1).sqrt()
    extended = noisy.new_empty(len(noisy), noisy.shape[1] + 1, *noisy.shape[2:])
    extended[:, :-1], extended[:, -1] = noisy, level[:, None, None]
    return extended


def _sent(rows: Tensor, device: torch.device) -> Tensor:
    if rows.device == device:
        return rows
    return rows.pin_memory().to(device, non_blocking=True)  # while the device still computes


def _next(
    blocks: Iterator[tuple[Tensor, Tensor]], held: list[tuple[Tensor, Tensor]], n: int
) -> tuple[Tensor, Tensor]:
    """Return the next n rows of a stream of blocks; what is left of a block is held for the next call."""
    while sum(len(inputs) for inputs, _ in held) < n:
        held.append(next(blocks))
    are_clean = all(targets is inputs for inputs, targets in held)
    inputs, targets = held[0] if len(held) == 1 else (torch.cat(side) for side in zip(*held, strict=True))
    rest = inputs[n:]
    held[:] = [(rest, rest if are_clean else targets[n:])] if len(rest) else []
    taken = inputs[:n]
    return taken, taken if are_clean else targets[:n]
