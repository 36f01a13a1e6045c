"""Rows of arrays that need not fit in memory: read in blocks, shuffled, written."""

from __future__ import annotations

import math
import mmap
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from sk_denoise._clean_source import carried_source
from sk_denoise._package import require_extra

__all__ = [
    "StoredRows",
    "is_long",
    "predict_to_file",
    "scan_rows",
    "shuffled_parts",
    "spread_rows",
]

# A table of at least so many entries and rows, and at most so many columns, is read in blocks, whether it is
# in memory or on disk, so that the same numbers give the same bits.
LONG_ENTRIES, MIN_LONG_ROWS, MAX_LONG_COLUMNS = 2**25, 2**15, 2**12
# Entries that are checked at once
SCANNED_ENTRIES = 2**20
# Entries of consecutive rows that stay together when blocks are shuffled, and of the blocks that are mixed
# row by row: large enough for a slow disk, and many blocks in the mixture
BLOCK_ENTRIES, MIXED_ENTRIES = 2**16, 2**24
# Entries of a batch of rows that is predicted and written
PREDICTED_ENTRIES = 2**22
# Scattered rows that are read before their pages are given back
TAKEN_ROWS = 2**11
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
    """Return the file mapping of an array, if its pages can be released."""
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
        numbers = places if self.index is None else self.index[places]
        rows = np.empty((len(numbers), *(self.shape or self.array.shape[1:])), self.dtype)
        # Each row brings the pages around it.
        for start in range(0, len(numbers), TAKEN_ROWS):
            part = slice(start, start + TAKEN_ROWS)
            rows[part] = self._converted(self.array[numbers[part]])
            self.release()
        return rows

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
    """Return ascending numbers of rows from all over a table, and of given ones."""
    n_rows = min(n, max(1, entries // n_columns))
    return np.union1d(np.linspace(0, n - 1, n_rows).astype(np.intp), always)


def shuffled_parts(
    n: int, n_columns: int, sizes: list[int], generator: torch.Generator
) -> Iterator[tuple[list[tuple[int, int]], list[torch.Tensor]]]:
    """Yield all rows in a new order, as ranges and groups of their rows.

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


# Predictions in a file --------------------------------------------------------------------------------


def predict_to_file(
    estimator: Any,
    X: ArrayLike | Iterable[Any],
    path: str | os.PathLike[str],
    *,
    method: Literal["predict", "transform"] = "predict",
    batch_rows: int | None = None,
) -> Any:
    """Denoise rows batch by batch into a file, for tables larger than memory.

    The file has its name once it is complete: an interrupted call leaves an earlier file of that name as it
    was. Predictions equal those of the whole table up to rounding, which depends on the number of rows that a
    processor multiplies at once.

    Parameters
    ----------
    estimator : estimator
        Fitted estimator with the method.
    X : array-like of shape (n_samples, ...), or iterable of such
        Noisy samples: an array, best a memory map by ``numpy.load(path, mmap_mode="r")``; a frame; an Arrow
        table; or an iterable of batches of any of these, such as
        ``pyarrow.parquet.ParquetFile(path).iter_batches()``. Batches without rows are passed over.
    path : str or path
        File to write: ``.npy``, or ``.parquet`` for rows of a table, which needs the extra ``arrow``.
    method : {"predict", "transform"}, default="predict"
        Method that is called for each batch.
    batch_rows : int, optional
        Rows of a batch that is cut from X. By default about 4 million entries. Batches of an iterable are
        taken as they are.

    Returns
    -------
    numpy.memmap or pathlib.Path
        The predictions as a read-only memory map of the file; the path of a Parquet file.

    Raises
    ------
    ValueError
        For another ending of the path, X without rows, batches whose predictions have different shapes, or
        predictions that are no rows of a table for a Parquet file.
    MissingExtraError
        For a Parquet file without the extra.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from sk_denoise import DenoisingAutoencoder, predict_to_file
    >>> rng = np.random.default_rng(0)
    >>> clean = rng.normal(size=(1000, 1)) * np.ones(8)
    >>> dae = DenoisingAutoencoder(noise=0.3, max_epochs=1, random_state=0).fit(clean)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     denoised = predict_to_file(dae, clean[:500], f"{folder}/denoised.npy", batch_rows=200)
    ...     np.allclose(denoised, dae.predict(clean[:500]))
    True
    """
    path = Path(path)
    if path.suffix not in (".npy", ".parquet"):
        raise ValueError(f"path must end in .npy or .parquet, got {str(path)!r}.")
    if batch_rows is not None and (
        isinstance(batch_rows, bool) or int(batch_rows) != batch_rows or batch_rows < 1
    ):
        raise ValueError(f"batch_rows must be an integer of at least 1, got {batch_rows!r}.")
    if method not in ("predict", "transform"):
        raise ValueError(f'method must be "predict" or "transform", got {method!r}.')
    if path.suffix == ".parquet":
        require_extra("predict_to_file", "arrow")
    outputs = (getattr(estimator, method)(batch) for batch in _batches_of(X, batch_rows))
    # In the same folder, so that the new name is given in one step.
    temporary = path.with_name(f".{path.stem}-{secrets.token_hex(4)}{path.suffix}")
    try:
        with temporary.open("xb") as file:
            n_rows = (_write_npy if path.suffix == ".npy" else _write_parquet)(file, outputs, estimator)
        if not n_rows:
            raise ValueError("X has no rows, and at least one is needed.")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return np.load(path, mmap_mode="r") if path.suffix == ".npy" else path


def _batches_of(X: Any, batch_rows: int | None) -> Iterator[Any]:
    """Yield batches of rows of an array, a frame, a table, or an iterable of such."""
    shape = getattr(X, "shape", None)
    if isinstance(X, list | tuple) and len(X) and not hasattr(X[0], "shape"):
        X = np.asarray(X)
        shape = X.shape
    if not isinstance(shape, tuple):
        yield from (batch for batch in X if len(batch))
        return
    step = batch_rows or max(1, PREDICTED_ENTRIES // max(1, math.prod(shape[1:])))
    stored = StoredRows(X, X.dtype) if isinstance(X, np.ndarray) else None
    for start in range(0, shape[0], step):
        if hasattr(X, "iloc"):
            yield X.iloc[start : start + step]
        elif stored is None and hasattr(X, "slice"):
            yield X.slice(start, step)
        else:
            yield X[start : start + step]
        if stored is not None:
            stored.release()


def _write_npy(file: BinaryIO, outputs: Iterable[Any], estimator: Any) -> int:
    """Write batches as one array, and return the number of rows."""
    n_rows, header, first = 0, b"", None
    for output in map(np.asarray, outputs):
        if first is None:
            first = output
            header = _npy_header(0, output)
            file.write(header)
        _check_same(first, output, n_rows)
        file.write(np.ascontiguousarray(output).data)
        n_rows += len(output)
    if first is not None:
        # The header has room for any number of rows.
        file.seek(0)
        complete = _npy_header(n_rows, first)
        assert len(complete) == len(header)
        file.write(complete)
    return n_rows


def _check_same(first: NDArray[Any], output: NDArray[Any], done: int) -> None:
    if (output.shape[1:], output.dtype) != (first.shape[1:], first.dtype):
        raise ValueError(
            f"The batch from row {done} on gives samples of shape {output.shape[1:]} and type "
            f"{output.dtype}, and the first one gave {first.shape[1:]} and {first.dtype}. Bring all batches "
            "to one type."
        )


def _npy_header(n_rows: int, like: NDArray[Any]) -> bytes:
    """Return the header of a file of rows."""
    text = {
        "descr": np.lib.format.dtype_to_descr(like.dtype),
        "fortran_order": False,
        "shape": (n_rows, *like.shape[1:]),
    }
    body = repr(text).encode("latin1")
    # 21 digits for the number of rows, and the whole a multiple of 64 bytes
    room = 21 - len(str(n_rows))
    length = -(-(10 + len(body) + room + 1) // 64) * 64
    body = body.ljust(length - 11) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(body).to_bytes(2, "little") + body


def _write_parquet(file: BinaryIO, outputs: Iterable[Any], estimator: Any) -> int:
    """Write batches as row groups, and return the number of rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    n_rows, first, writer, names = 0, None, None, []
    try:
        for output in map(np.asarray, outputs):
            if first is None:
                if output.ndim != 2:
                    raise ValueError(
                        "A Parquet file holds rows of a table, and predictions have the shape "
                        f"{output.shape}. Take a path that ends in .npy."
                    )
                first, names = output, _column_names(estimator, output.shape[1])
            _check_same(first, output, n_rows)
            batch = pa.RecordBatch.from_arrays([pa.array(column) for column in output.T], names=names)
            if writer is None:
                writer = pq.ParquetWriter(file, batch.schema)
            writer.write_batch(batch)
            n_rows += len(output)
    finally:
        if writer is not None:
            writer.close()
    return n_rows


def _column_names(estimator: Any, n_columns: int) -> list[str]:
    """Return the names of output columns: those of the fit, else x0, x1 and so on."""
    names = getattr(estimator, "feature_names_in_", None)
    if names is not None and len(names) == n_columns:
        return [str(name) for name in names]
    with suppress(AttributeError, ValueError):
        found = estimator.get_feature_names_out()
        if len(found) == n_columns:
            return [str(name) for name in found]
    return [f"x{number}" for number in range(n_columns)]
