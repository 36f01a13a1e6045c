"""The file itself: texts and arrays in the safetensors format, under one checksum.

The header starts with the checksum, at a fixed place. It is the SHA-256 of the whole file with zeros in that
place: nothing can be changed without notice, be it a weight, a name, an order or the padding.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from sk_denoise._version import __version__
from sk_denoise.persistence._names import other_format

__all__ = ["Contents", "Stored", "contents_of", "open_file", "pack", "parse_json"]

START = b'{"__metadata__":{"sha256":"'
DIGEST = slice(8 + len(START), 8 + len(START) + 64)  # where the checksum stands
MOST_HEADER = 2**23  # bytes; objects made of them take at most some hundred megabytes
MOST_AXES, LONGEST_AXIS = 8, 2**40

# safetensors' names of types, and numpy's; bfloat16, which numpy does not know, is held as its bits
DTYPES: dict[str, str] = {
    "BOOL": "|b1",
    "U8": "|u1",
    "I8": "|i1",
    "U16": "<u2",
    "I16": "<i2",
    "F16": "<f2",
    "BF16": "<u2",
    "U32": "<u4",
    "I32": "<i4",
    "F32": "<f4",
    "U64": "<u8",
    "I64": "<i8",
    "F64": "<f8",
}


@dataclass(frozen=True, eq=False)
class Stored:
    """An array as a file holds it.

    Attributes
    ----------
    dtype : str
        A name in :data:`DTYPES`.
    array : ndarray
        Its values, or its bits, in C order.
    """

    dtype: str
    array: NDArray[Any]


@dataclass(frozen=True, eq=False)
class Contents:
    """What a file holds.

    Attributes
    ----------
    metadata : dict of str
        Its texts.
    arrays : dict of Stored
        Views of what was read; whoever keeps one copies it.
    """

    metadata: dict[str, str]
    arrays: dict[str, Stored]


def pack(metadata: Mapping[str, str], arrays: Mapping[str, Stored]) -> list[bytes | memoryview]:
    """Return the pieces of a file, its checksum in place."""
    order = sorted(arrays, key=lambda name: (-arrays[name].array.itemsize, name))  # so that each is aligned
    header: dict[str, Any] = {"__metadata__": {"sha256": "0" * 64, **metadata}}
    end = 0
    for name in order:
        array = arrays[name].array
        start, end = end, end + array.nbytes
        header[name] = {
            "dtype": arrays[name].dtype,
            "shape": list(array.shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header, separators=(",", ":"), allow_nan=False).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MOST_HEADER:
        raise ValueError(
            f"What is to be saved describes itself in {len(text)} bytes, and {MOST_HEADER} are the most that "
            "a file may take for that."
        )
    head = bytearray(len(text).to_bytes(8, "little") + text)
    data = [_bytes_of(arrays[name].array) for name in order]
    head[DIGEST] = _digest(head, data)
    return [bytes(head), *data]


def _bytes_of(array: NDArray[Any]) -> memoryview:
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return memoryview(little.reshape(-1).view(np.uint8).data) if array.size else memoryview(b"")


def _digest(head: bytearray, data: list[Any]) -> bytes:
    blank = bytearray(head)
    blank[DIGEST] = b"0" * 64
    checksum = hashlib.sha256(blank)
    for piece in data:
        checksum.update(piece)
    return checksum.hexdigest().encode()


def open_file(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a regular file, or say why it cannot be read."""
    place = Path(path)
    if place.is_dir():
        raise IsADirectoryError(f"{path} is a folder; give the path of a file.")
    if place.exists() and not place.is_file():  # a pipe would be waited for
        raise ValueError(f"{path} is no regular file.")
    return place.open("rb")


def contents_of(stream: BinaryIO, file_format: str, version: int) -> Contents:
    """Return what a file of this format holds, once it is known to be whole.

    Raises
    ------
    ValueError
        Where the file is of another kind or a newer version, or is not what was written.
    OSError
        Where it cannot be read.
    """
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    head = _read_head(stream, size)
    header = _header_of(head)
    metadata = _check_kind(header.pop("__metadata__", None), file_format, version)
    if bytes(head[8 : 8 + len(START)]) != START:
        raise ValueError("its checksum is not where it was written. The file was altered; get it anew.")
    places = [_Place.of(name, entry) for name, entry in header.items()]
    end = max((p.end for p in places), default=0)
    if size - len(head) != end:
        less = "is cut off" if size - len(head) < end else "goes on where it should end"
        raise ValueError(f"it {less}: {len(head) + end} bytes were written, and it has {size}.")
    data = bytearray(end)
    if stream.readinto(data) != end:  # type: ignore[attr-defined]
        raise ValueError("it became shorter while it was read.")
    if bytes(head[DIGEST]) != _digest(head, [data]):
        raise ValueError(
            "its checksum does not match. It is damaged or was altered since it was saved; get it anew from "
            "where it came."
        )
    return Contents(metadata, dict(_arrays_of(places, data)))


def _read_head(stream: BinaryIO, size: int) -> bytearray:
    """Return the length of the header, and the header."""
    start = stream.read(16)
    other = other_format(start)
    if other is not None:
        raise ValueError(f"it is {other}")
    stream.seek(8)
    head = bytearray(start[:8])
    length = int.from_bytes(head, "little")
    if size < DIGEST.stop or not 2 <= length <= size - 8:
        raise ValueError(
            "it is cut off, or no file that sk_denoise.persistence.save wrote: it does not start with the "
            "length of a safetensors header. Pickled files are for pickle and joblib, which run what they "
            "hold."
        )
    if length > MOST_HEADER:
        raise ValueError(f"its header claims {length} bytes, and {MOST_HEADER} are the most.")
    return head + stream.read(length)


def _header_of(head: bytearray) -> dict[str, Any]:
    header = parse_json(bytes(head[8:]), "its header")
    if not isinstance(header, dict):
        raise ValueError("its header is no safetensors header. It is of another kind, or damaged.")
    return header


def _check_kind(metadata: Any, file_format: str, version: int) -> dict[str, str]:
    """Return the texts of a file, once it is known to be of our kind."""
    if metadata is None or (isinstance(metadata, dict) and metadata.get("format") != file_format):
        raise ValueError(
            "it is a safetensors file that holds no estimator of sk_denoise. safetensors.torch.load_file "
            "reads its tensors."
        )
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise ValueError("its metadata are no texts. The file was altered.")
    number = metadata.get("format_version", "")
    if not (number.isascii() and number.isdigit() and len(number) < 9):
        raise ValueError(f"its format has the version {number[:20]!r}, which is no number.")
    if int(number) > version:
        raise ValueError(
            f"it is of version {number} of the format, written by sk_denoise "
            f"{metadata.get('sk_denoise')!s:.20}. This is sk_denoise {__version__}, which reads versions up "
            f"to {version}: update it."
        )
    return metadata


@dataclass(frozen=True)
class _Place:
    """Where an array lies in the data."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    @classmethod
    def of(cls, name: str, entry: Any) -> _Place:
        if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
            raise ValueError(f"its array {name[:50]!r} is not described as safetensors describes arrays.")
        dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
        if not isinstance(dtype, str) or dtype not in DTYPES:
            raise ValueError(f"its array {name[:50]!r} has the unknown type {dtype!s:.20}.")
        if not _are_sizes(shape) or len(shape) > MOST_AXES or not _are_sizes(offsets) or len(offsets) != 2:
            raise ValueError(f"its array {name[:50]!r} has impossible sizes.")
        if math.prod(shape) * np.dtype(DTYPES[dtype]).itemsize != offsets[1] - offsets[0]:
            raise ValueError(f"its array {name[:50]!r} has another size than its bytes.")
        return cls(name, dtype, tuple(shape), *offsets)


def _are_sizes(numbers: Any) -> bool:
    return isinstance(numbers, list) and all(
        type(number) is int and 0 <= number <= LONGEST_AXIS for number in numbers
    )


def _arrays_of(places: list[_Place], data: bytearray) -> Iterator[tuple[str, Stored]]:
    """Yield the arrays, which lie one after the other."""
    end = 0
    for place in sorted(places, key=lambda place: (place.start, place.end)):
        if place.start != end:
            raise ValueError(f"its array {place.name[:50]!r} does not begin where the one before it ends.")
        end = place.end
        dtype = np.dtype(DTYPES[place.dtype])
        values = np.frombuffer(data, dtype, math.prod(place.shape), place.start)
        yield place.name, Stored(place.dtype, values.reshape(place.shape))


def parse_json(text: bytes | str, what: str) -> Any:
    """Return what a JSON text says, where it is strict: no name twice, no number that is none."""
    try:
        return json.loads(
            text if isinstance(text, str) else text.decode("utf-8"),
            object_pairs_hook=_without_doubles,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except RecursionError as error:
        raise ValueError(f"{what} is nested too deeply.") from error
    except ValueError as error:  # of JSON or of UTF-8
        raise ValueError(f"{what} cannot be read: {str(error)[:200]}.") from error


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    known = dict(pairs)
    if len(known) != len(pairs):
        raise ValueError("a name stands there twice")
    return known


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:20]} is too large")
    return number
