"""Batches of rows or of streamed patches, with fresh noise at every draw."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor
from torch.utils.data import Dataset

from sk_denoise._long_rows import StoredRows, shuffled_parts
from sk_denoise._scaling import iterate_chunks
from sk_denoise._validation import as_tensor
from sk_denoise.training._objectives import TrainingPair

__all__ = [
    "BatchIterator",
    "BatchSource",
    "BatchTransform",
    "CorruptedLongRows",
    "CorruptedRows",
    "CorruptedStream",
    "FixedRows",
    "PatchSource",
]

# Entries of the batches that are drawn together: enough to hide the overhead of each call, few enough for
# the cache
ENTRIES_AT_ONCE = 2**16

# Network input, network target and, optionally, weights in the loss
Batch = tuple[Tensor, ...]
Prepare = Callable[[Tensor], Tensor]
Corrupt = Callable[[Tensor, torch.Generator], Tensor]


@dataclass
class BatchTransform:
    """Augmentation, noise and preparation of samples on their way to the network.

    Attributes
    ----------
    corrupt : callable or None
        The noise, in the user's unit; None for inputs that are noisy already.
    prepare_input, prepare_target : callable
        From the user's unit and layout to the network's.
    generator : torch.Generator
        The source of noise and of augmentation, on the device of the batches.
    augment : callable or None
        From ``(inputs, generator, *targets)`` to samples that are all moved in the same way.
    weigh : callable or None
        From noisy and clean samples to the weight of each entry in the loss, in the network's layout.
    adds_noise_map : bool
        Whether a map of the noise level follows the channels of the input: the root mean square of the noise
        in the sample, in the network's unit.
    make_pair : callable or None
        Self-supervised objective: from noisy samples and a generator to a pair.
    prepare_weight : callable or None
        From weights of entries in the user's layout to the network's.
    level_unit : float
        One noise level of the network, in the user's unit.
    swap : {"samples", "entries"} or None
        For two noisy measurements of each sample, the parts of it whose two values are swapped at random: the
        whole, or each feature or pixel, if their noise is independent.
    fill : callable or None
        From noisy samples with NaN for missing entries to samples without.
    """

    corrupt: Corrupt | None
    prepare_input: Prepare
    prepare_target: Prepare
    generator: torch.Generator
    augment: Callable[..., Any] | None = None
    weigh: Callable[[Tensor, Tensor], Tensor] | None = None
    adds_noise_map: bool = False
    make_pair: Callable[[Tensor, torch.Generator], TrainingPair] | None = None
    prepare_weight: Prepare | None = None
    level_unit: float = 1.0
    swap: Literal["samples", "entries"] | None = None
    fill: Prepare | None = None

    def augment_and_corrupt(self, inputs: Tensor, targets: Tensor, gaps: Tensor | None = None) -> Batch:
        """Return a batch for training; ``gaps`` marks the missing entries of both sides."""
        if self.augment is None:
            return self.corrupt_and_prepare(inputs, targets, gaps)
        if targets is inputs:
            inputs = targets = self.augment(inputs, self.generator)
        else:
            inputs, targets = self.augment(inputs, self.generator, targets)
        return self.corrupt_and_prepare(inputs, targets)

    def corrupt_and_prepare(self, inputs: Tensor, targets: Tensor, gaps: Tensor | None = None) -> Batch:
        """Return a batch for validation; ``gaps`` marks the missing entries of both sides."""
        if self.make_pair is not None:
            return self._prepare_pair(self.make_pair(inputs, self.generator))
        if self.swap is not None:
            noisy, targets = _swap_sides(inputs, targets, self.swap, self.generator)
        else:
            noisy = inputs if self.corrupt is None else self.corrupt(inputs, self.generator)
        if gaps is not None:
            noisy = noisy.masked_fill(gaps[:, 0], torch.nan)
        if self.fill is not None:
            noisy = self.fill(noisy)
        network_input, network_target = self.prepare_input(noisy), self.prepare_target(targets)
        if self.adds_noise_map:
            level = _noise_level(network_input, network_target)
            # Both sides hold the noise.
            level = level if self.swap is None else level / math.sqrt(2)
            network_input = _with_noise_map(network_input, level)
        weights = None if self.weigh is None else self.weigh(noisy, targets)
        if gaps is not None:
            known = (~gaps[:, 1]).to(network_target)
            weights = known if weights is None else weights * known
        return (
            (network_input, network_target) if weights is None else (network_input, network_target, weights)
        )

    def _prepare_pair(self, pair: TrainingPair) -> Batch:
        """Return the batch of a pair made of noisy samples alone."""
        network_input, network_target = self.prepare_input(pair.input), self.prepare_target(pair.target)
        if self.adds_noise_map:
            assert pair.level is not None
            network_input = _with_noise_map(network_input, pair.level.to(network_input) / self.level_unit)
        if pair.weight is None or self.prepare_weight is None:
            return network_input, network_target
        return network_input, network_target, self.prepare_weight(pair.weight).to(network_input)


class BatchSource(Protocol):
    """Source of the batches of a training run."""

    def __len__(self) -> int: ...

    def batches(self, batch_size: int) -> Iterator[Batch]: ...


@dataclass
class CorruptedRows(Dataset[Batch]):
    """Rows of a training set that is held in memory.

    Attributes
    ----------
    inputs : Tensor of shape (n_samples, ...)
        Input of the network before corruption, in the user's unit and type.
    targets : Tensor of shape (n_samples, ...)
        Target of the network; ``inputs`` itself if these are clean.
    device : torch.device
        Device of the batches; the rows may lie on another one.
    transform : BatchTransform
        Noise and preparation of the rows.
    shuffle : torch.Generator
        The source of the order of the rows, on the CPU.
    weights : Tensor of shape (n_samples,), optional
        Weight of each row in the loss, on the device of ``inputs``.
    gaps : Tensor of shape (n_samples, 2, n_features), optional
        Flags of the missing entries of inputs and of targets, on the device of ``inputs``.
    """

    inputs: Tensor
    targets: Tensor
    device: torch.device
    transform: BatchTransform
    shuffle: torch.Generator
    weights: Tensor | None = None
    gaps: Tensor | None = None

    def __len__(self) -> int:
        return len(self.inputs)

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Yield the batches of an epoch, each row once, in a new order."""
        order = torch.randperm(len(self), generator=self.shuffle).to(self.inputs.device)
        groups = grouped_sizes(len(self), batch_size, self.inputs[0].numel())
        for sizes, index in zip(groups, order.split([sum(sizes) for sizes in groups]), strict=True):
            yield from _divided(self.draw(index), sizes)

    def draw(self, index: Tensor) -> Batch:
        """Return the rows at ``index`` with fresh augmentation and noise."""
        # Each batch is prepared anew from rows in their own type, so that a float64 array is not copied.
        inputs = targets = _on_device(self.inputs.index_select(0, index), self.device)
        if self.targets is not self.inputs:
            targets = _on_device(self.targets.index_select(0, index), self.device)
        weights, gaps = (
            None if side is None else side.index_select(0, index) for side in (self.weights, self.gaps)
        )
        gaps = None if gaps is None else gaps.to(self.device)
        return _weighted(self.transform.augment_and_corrupt(inputs, targets, gaps), weights)

    def freeze(self) -> FixedRows:
        """Return all rows, corrupted once, in the network's unit and precision."""
        target_chunks = iterate_chunks(self.targets)
        batches, done = [], 0
        for x in iterate_chunks(self.inputs):
            gaps = None if self.gaps is None else self.gaps[done : done + len(x)].to(self.device)
            targets = next(target_chunks).to(self.device)
            batches.append(self.transform.corrupt_and_prepare(x.to(self.device), targets, gaps))
            done += len(x)
        sides = tuple(torch.cat(side) for side in zip(*batches, strict=True))
        return FixedRows(*_weighted(sides, self.weights))


@dataclass
class CorruptedLongRows(Dataset[Batch]):
    """Rows of a training set that need not fit in memory.

    They are read in blocks. Blocks of consecutive rows are shuffled, and so are the rows of some hundred
    blocks that are read together.

    Attributes
    ----------
    inputs, targets : StoredRows
        Both sides; ``targets`` is ``inputs`` itself if these are clean.
    device, transform, shuffle
        As with :class:`CorruptedRows`.
    weights : Tensor of shape (n_samples,), optional
        Weight of each row in the loss, on the CPU.
    has_gaps : bool
        Whether NaN marks missing entries.
    """

    inputs: StoredRows
    targets: StoredRows
    device: torch.device
    transform: BatchTransform
    shuffle: torch.Generator
    weights: Tensor | None = None
    has_gaps: bool = False

    def __len__(self) -> int:
        return len(self.inputs)

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Yield the batches of an epoch, each row once, in a new order."""
        n_columns = self.inputs.n_columns
        groups = grouped_sizes(len(self), batch_size, n_columns)
        sizes = [sum(group) for group in groups]
        remaining = iter(groups)
        for ranges, parts in shuffled_parts(len(self), n_columns, sizes, self.shuffle):
            inputs, targets, gaps = self._read(ranges)
            weights = self.weights
            if weights is not None:
                weights = torch.cat([weights[start:stop] for start, stop in ranges])
            for index in parts:
                noisy = clean = inputs.index_select(0, index).to(self.device)
                if targets is not inputs:
                    clean = targets.index_select(0, index).to(self.device)
                chosen, missing = (
                    None if side is None else side.index_select(0, index).to(self.device)
                    for side in (weights, gaps)
                )
                batch = self.transform.augment_and_corrupt(noisy, clean, missing)
                yield from _divided(_weighted(batch, chosen), next(remaining))

    def _read(self, ranges: list[tuple[int, int]]) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return both sides without gaps, and flags of their gaps."""
        sides = [as_tensor(self.inputs.read_ranges(ranges))]
        self.inputs.release()
        if self.targets is not self.inputs:
            sides.append(as_tensor(self.targets.read_ranges(ranges)))
            self.targets.release()
        gaps = None
        if self.has_gaps:
            gaps = torch.stack([sides[0].isnan(), sides[-1].isnan()], dim=1)
            for side in sides:
                _fill_by_values(side, self.shuffle)
        return sides[0], sides[-1], gaps


class PatchSource(Protocol):
    """Source of patches, such as :class:`sk_denoise.datasets.RandomPatches`."""

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
        """Yield the batches of an epoch, of fresh patches."""
        with closing(self.patches.draw(self.shuffle)) as blocks:
            held: list[tuple[Tensor, Tensor]] = []
            # Patches are large, so only one batch is drawn at once.
            for sizes in grouped_sizes(len(self), batch_size, ENTRIES_AT_ONCE):
                inputs, targets = (_on_device(side, self.device) for side in _next(blocks, held, sum(sizes)))
                yield from _divided(self.transform.augment_and_corrupt(inputs, targets), sizes)


@dataclass
class FixedRows(Dataset[Batch]):
    """Rows that are the same at every draw, for validation.

    Attributes
    ----------
    inputs, targets : Tensor of shape (n_samples, ...)
        Inputs and targets of the network, in its unit.
    weights : Tensor, optional
        Weights in the loss.
    """

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
    """Iterator of skorch in place of a DataLoader.

    Every pass cuts the rows into batches of nearly equal size, none larger than ``batch_size``.
    """

    # Else a small last batch would have the weight of a whole one.
    dataset: BatchSource
    batch_size: int

    def __len__(self) -> int:
        return -(-len(self.dataset) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        return self.dataset.batches(self.batch_size)


def grouped_sizes(n: int, batch_size: int, entries: int) -> list[list[int]]:
    """Return batch sizes that are nearly equal, in groups to draw together.

    Parameters
    ----------
    n : int
        Number of rows.
    batch_size : int
        Maximum size of a batch.
    entries : int
        Entries of a row.
    """
    n_batches = -(-n // batch_size)
    size, rest = divmod(n, n_batches)
    sizes = [size + 1] * rest + [size] * (n_batches - rest)
    at_once = max(1, ENTRIES_AT_ONCE // (batch_size * entries))
    return [sizes[first : first + at_once] for first in range(0, n_batches, at_once)]


def _divided(sides: Batch, sizes: list[int]) -> Iterator[Batch]:
    """Yield the batches that were drawn together, as views."""
    yield from zip(*(side.split(sizes) for side in sides), strict=True)


def _weighted(batch: Batch, weights: Tensor | None) -> Batch:
    """Return a batch with the weights of its rows in the loss."""
    if weights is None:
        return batch
    noisy, clean, *entry_weights = batch
    row_weights = weights.to(clean).view(-1, *(1,) * (clean.ndim - 1))
    return noisy, clean, row_weights * entry_weights[0] if entry_weights else row_weights


def _fill_by_values(rows: Tensor, generator: torch.Generator) -> None:
    """Fill gaps of each column in place by random known values of it."""
    # They have no weight in the loss. Noise of other entries may take their values.
    for column in rows.T:
        known = ~column.isnan()
        n_gaps = len(column) - int(known.sum())
        if n_gaps:
            values = column[known] if n_gaps < len(column) else column.new_zeros(1)
            column[~known] = values[torch.randint(len(values), (n_gaps,), generator=generator)]


def _swap_sides(
    first: Tensor, second: Tensor, swap: str, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return two measurements as input and target, with parts swapped at random."""
    # Channels of a pixel may have common noise. Fresh mixtures of the two keep a network from learning the
    # noise of a fixed target by heart.
    shape = first.shape[:1] if swap == "samples" else first.shape[:3]
    draws = torch.rand(shape, device=first.device, generator=generator)
    swapped = (draws < 0.5).reshape(*shape, *(1,) * (first.ndim - len(shape)))
    return torch.where(swapped, second, first), torch.where(swapped, first, second)


def _noise_level(noisy: Tensor, clean: Tensor) -> Tensor:
    """Return the root mean square of the noise in each sample."""
    return (noisy - clean).square().flatten(1).mean(1).sqrt()


def _with_noise_map(noisy: Tensor, level: Tensor) -> Tensor:
    """Return noisy samples with their noise level as a last, constant channel."""
    extended = noisy.new_empty(len(noisy), noisy.shape[1] + 1, *noisy.shape[2:])
    extended[:, :-1], extended[:, -1] = noisy, level[:, None, None]
    return extended


def _on_device(rows: Tensor, device: torch.device) -> Tensor:
    if rows.device == device:
        return rows
    # Pinned memory is sent while the device still computes.
    return rows.pin_memory().to(device, non_blocking=True)


def _next(
    blocks: Iterator[tuple[Tensor, Tensor]], held: list[tuple[Tensor, Tensor]], n: int
) -> tuple[Tensor, Tensor]:
    """Return the next n rows of a stream, and hold the rest of the block."""
    while sum(len(inputs) for inputs, _ in held) < n:
        held.append(next(blocks))
    # Clean inputs stay their own targets, so that augmentation moves both in the same way.
    are_clean = all(targets is inputs for inputs, targets in held)
    inputs, targets = held[0] if len(held) == 1 else (torch.cat(side) for side in zip(*held, strict=True))
    rest = inputs[n:]
    held[:] = [(rest, rest if are_clean else targets[n:])] if len(rest) else []
    taken = inputs[:n]
    return taken, taken if are_clean else targets[:n]
