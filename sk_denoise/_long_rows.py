"""Rows of arrays that need not fit in memory: read in blocks, shuffled, sampled."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sk_denoise._clean_source import carried_source

__all__ = ["LONG_ENTRIES", "StoredRows", "is_long", "scan_rows", "shuffled_parts", "spread_rows"]

# A table of at least so many entries and rows, and at most so many columns, is read in blocks: in memory or on
# disk, so that the same numbers give the same bits.
LONG_ENTRIES, MIN_LONG_ROWS, MAX_LONG_COLUMNS = 2**25, 2**15, 2**12
# Entries that are checked at once
SCANNED_ENTRIES = 2**20
# Entries of consecutive rows that stay together when blocks are shuffled, and of the blocks that are mixed
# row by row: large enough for a slow disk, and many blocks in the mixture
BLOCK_ENTRIES, MIXED_ENTRIES = 2**16, 2**24
# Rows in use of a block, as a share of those between them, from which all are read
DENSE_SHARE = 0.25


def is_long(X: Any) -> bool:
    """Return whether an array has so many rows that it is read in blocks.

    Noisy arrays with their clean source, frames, and images of more entries than columns of a table, do not
    count.
    """
    return (
        isinstance(X, np.ndarray)
        and not isinstance(X, np.ma.MaskedArray)
        and X.dtype.kind in "fiub"
        and X.ndim > 1
        and X.size >= LONG_ENTRIES
        and len(X) >= MIN_LONG_ROWS
        and X.size <= MAX_LONG_COLUMNS * len(X)
        and carried_source(X) is None
    )


def _mapping_of(array: Any) -> mmap.mmap | None:
    """Return the file mapping that an array is a view of, if its pages can be released."""
    is_shared = False
    while isinstance(array, np.ndarray):
        # Pages of a private mapping hold changes of the user.
        is_shared |= isinstance(array, np.memmap) and array.mode != "c"
        array = array.base
    return array if is_shared and isinstance(array, mmap.mmap) else None


@dataclass(frozen=True)
class StoredRows:
    """Rows of an array in memory or in a file, which are converted as they are read.

    Attributes
    ----------
    array : ndarray of shape (n, ...)
        Array of any numeric type, byte order and memory order.
    dtype : dtype
        Type of rows that are read.
    index : ndarray of shape (n_rows,), optional
        Ascending numbers of the rows in use; None for all.
    shape : tuple of int, optional
        Shape of a row that is read; None for that of the array.
    """

    array: NDArray[Any]
    dtype: Any
    index: NDArray[np.intp] | None = None
    shape: tuple[int, ...] | None = None

    def __len__(self) -> int:
        return len(self.array) if self.index is None else len(self.index)

    @property
    def n_columns(self) -> int:
        """Number of entries of a row."""
        return self.array.size // len(self.array)

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Return consecutive rows of those in use."""
        if self.index is None:
            return self._converted(self.array[start:stop])
        rows = self.index[start:stop]
        first, last = int(rows[0]), int(rows[-1]) + 1
        if len(rows) < DENSE_SHARE * (last - first):
            return self.take(np.arange(start, stop))
        return self._converted(self.array[first:last])[rows - first]

    def take(self, places: NDArray[np.intp]) -> NDArray[Any]:
        """Return rows of those in use by their ascending places."""
        rows = places if self.index is None else self.index[places]
        return self._converted(self.array[rows])

    def read_ranges(self, ranges: list[tuple[int, int]]) -> NDArray[Any]:
        """Return several ranges of rows as one array."""
        n_rows = sum(stop - start for start, stop in ranges)
        rows = np.empty((n_rows, *(self.shape or self.array.shape[1:])), self.dtype)
        done = 0
        for start, stop in ranges:
            rows[done : done + stop - start] = self.read(start, stop)
            done += stop - start
        return rows

    def subset(self, places: NDArray[np.intp]) -> StoredRows:
        """Return the rows at ascending places."""
        return replace(self, index=places if self.index is None else self.index[places])

    def release(self) -> None:
        """Give back the memory of pages of the file that were read."""
        mapping = _mapping_of(self.array)
        # The system keeps them while it has room. Some have no such call.
        if mapping is not None and hasattr(mapping, "madvise"):
            mapping.madvise(mmap.MADV_DONTNEED)

    def _converted(self, rows: NDArray[Any]) -> NDArray[Any]:
        converted = np.array(rows, self.dtype, order="C", subok=False)
        return converted if self.shape is None else converted.reshape(-1, *self.shape)


def scan_rows(
    array: NDArray[Any], refuse: Callable[[NDArray[Any]], Any], *, allow_gaps: bool = False
) -> NDArray[np.intp]:
    """Read all rows once, and return the numbers of those with extremes of a column.

    Parameters
    ----------
    array : ndarray of shape (n, ...)
        Rows to read.
    refuse : callable
        Called with rows that hold NaN or infinite numbers; it raises the error.
    allow_gaps : bool, default=False
        Whether NaN marks missing entries.
    """
    stored = StoredRows(array, array.dtype)
    n_columns = stored.n_columns
    low: Any = np.full(n_columns, np.inf)
    high, at_low, at_high = -low, np.zeros(n_columns, np.intp), np.zeros(n_columns, np.intp)
    step = max(1, SCANNED_ENTRIES // n_columns)
    for start in range(0, len(array), step):
        block = np.asarray(array[start : start + step]).reshape(-1, n_columns)
        smallest, largest = np.fmin.reduce(block), np.fmax.reduce(block)
        if block.dtype.kind == "f":
            # Extremes pass over NaN, sums do not.
            has_gaps = not allow_gaps and np.isnan(np.add.reduce(block, axis=None, dtype=np.float64))
            if has_gaps or np.isinf(smallest).any() or np.isinf(largest).any():
                refuse(block)
        for is_new, at, places in (
            (smallest < low, at_low, np.argmin),
            (largest > high, at_high, np.argmax),
        ):
            columns = np.flatnonzero(is_new)
            if len(columns):
                values = block[:, columns]
                if allow_gaps and block.dtype.kind == "f":
                    filler = np.inf if places is np.argmin else -np.inf
                    values = np.where(np.isnan(values), filler, values)
                at[columns] = start + places(values, axis=0)
        low, high = np.fmin(low, smallest), np.fmax(high, largest)
        stored.release()
    return np.unique(np.concatenate([at_low, at_high]))


def spread_rows(n: int, n_columns: int, entries: int, always: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return ascending numbers of rows from all over a table, and some that are always there."""
    n_rows = min(n, max(1, entries // n_columns))
    return np.union1d(np.linspace(0, n - 1, n_rows).astype(np.intp), always)


def shuffled_parts(
    n: int, n_columns: int, sizes: list[int], generator: torch.Generator
) -> Iterator[tuple[list[tuple[int, int]], list[torch.Tensor]]]:
    """Yield all rows in a new order: ranges to read together, and groups of their rows.

    Blocks of consecutive rows are shuffled, and so are the rows of the blocks that are read together.

    Parameters
    ----------
    n, n_columns : int
        Rows and columns of the table.
    sizes : list of int
        Sizes of the groups of rows that are wanted, n in all.
    generator : torch.Generator
        Source of the order.
    """
    block = max(1, BLOCK_ENTRIES // n_columns)
    starts = torch.randperm(-(-n // block), generator=generator).mul_(block).tolist()
    pending = [(start, min(start + block, n)) for start in starts]
    done = 0
    while done < len(sizes):
        n_rows, first = sizes[done], done
        done += 1
        while done < len(sizes) and (n_rows + sizes[done]) * n_columns <= MIXED_ENTRIES:
            n_rows += sizes[done]
            done += 1
        ranges = sorted(_taken(pending, n_rows))
        order = torch.randperm(n_rows, generator=generator)
        yield ranges, list(order.split(sizes[first:done]))


def _taken(pending: list[tuple[int, int]], n_rows: int) -> Iterator[tuple[int, int]]:
    """Yield the last ranges of a list, so many rows, and remove them."""
    while n_rows:
        start, stop = pending.pop()
        if stop - start > n_rows:
            pending.append((start + n_rows, stop))
            stop = start + n_rows
        n_rows -= stop - start
        yield start, stop
