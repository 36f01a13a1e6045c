"""The file itself: texts and arrays in the safetensors format, under one checksum.

The header starts with the checksum, at a fixed place. It is the SHA-256 of the whole file with zeros in that
place, so that every change of a file shows, be it of a weight, a name, an order or the padding. The package
safetensors parses the arrays; the checks here are those that it does not make.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize

from sk_denoise._package import __version__

__all__ = ["DTYPES", "FileContents", "StoredArray", "open_file", "pack_file", "parse_json", "read_contents"]

START = b'{"__metadata__":{"sha256":"'
# Bytes of the checksum, after the 8 bytes of the header's length
DIGEST = slice(8 + len(START), 8 + len(START) + 64)
# Parsed headers take up to fifty times their bytes: with 8 MB, some hundred megabytes.
MAX_HEADER = 2**23
# torch and numpy fail on more, each in its own way.
MAX_AXES, MAX_SIDE = 8, 2**40
# Files from this size on, which claim at most so many times the bytes that the disk holds of them
MIN_SPARSE, MAX_SPARSENESS = 2**20, 4
# Bytes of an array that is read before its place is looked for
MAX_UNNAMED = 2**20
# Texts of JSON, without their quotation marks
JSON_TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"')

# The names of types in safetensors and in numpy, which has no bfloat16: its bits are kept as integers.
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

PICKLE = (
    "a pickled file. pickle.load or joblib.load read it, and run the code in it: load it only from "
    "people you trust"
)
GRAPH_FILE = (
    "an ONNX graph, which onnxruntime.InferenceSession runs. It cannot become an estimator again; "
    "sk_denoise.persistence.save keeps one"
)
IMAGE = "an image, which sk_denoise.io.read_image reads"
COMPRESSED = "a compressed file. Where joblib.dump wrote it, joblib.load reads it, and runs the code in it"
# The second field of an ONNX graph, after its version: the program that wrote it, or the computation
SECOND_FIELDS = (0x12, 0x3A)
# The first bytes of files of other formats, and their description
STARTS: tuple[tuple[bytes, str], ...] = (
    *((b"\x80" + bytes([protocol]), PICKLE) for protocol in range(2, 6)),
    *((b"\x08" + bytes([version, field]), GRAPH_FILE) for version in range(3, 32) for field in SECOND_FIELDS),
    (
        b"PK\x03\x04",
        "a zip archive. skops.io.load, torch.load or numpy.load read it, depending on its writer",
    ),
    (b"\x89HDF", "an HDF5 file, as Keras writes them"),
    (b"\x93NUMPY", "an array, which numpy.load reads"),
    *((start, IMAGE) for start in (b"\x89PNG", b"\xff\xd8\xff", b"II*\0", b"MM\0*")),
    *(
        (start, COMPRESSED)
        for start in (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"x\x01", b"x^", b"x\x9c", b"x\xda")
    ),
)


@dataclass(frozen=True, eq=False)
class StoredArray:
    """An array in the form in which files hold it.

    Attributes
    ----------
    dtype : str
        A name in :data:`DTYPES`.
    array : ndarray
        The values, or the bits of bfloat16, in C order.
    """

    dtype: str
    array: NDArray[Any]


@dataclass(frozen=True, eq=False)
class FileContents:
    """The texts and arrays of a file.

    Attributes
    ----------
    metadata : dict of str
        Texts by name.
    arrays : dict of StoredArray
        Arrays by name.
    """

    metadata: dict[str, str]
    arrays: dict[str, StoredArray]


# Writing ------------------------------------------------------------------------------------------------


def pack_file(metadata: Mapping[str, str], arrays: Mapping[str, StoredArray]) -> list[bytes | memoryview]:
    """Return the pieces of a file, with its checksum in place."""
    # The widest types come first, so that every array is aligned to its type.
    order = sorted(arrays, key=lambda name: (-arrays[name].array.itemsize, name))
    # safetensors.serialize writes metadata in random order: no place for a checksum, no two equal files.
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
    if len(text) > MAX_HEADER:
        raise ValueError(
            f"The parameters and names of the estimator take {len(text)} bytes in the header of a file, and "
            f"{MAX_HEADER} are the most."
        )
    head = bytearray(len(text).to_bytes(8, "little") + text)
    data = [_to_bytes(arrays[name].array) for name in order]
    head[DIGEST] = _compute_digest(head, data)
    return [bytes(head), *data]


def _to_bytes(array: NDArray[Any]) -> memoryview:
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return memoryview(little.reshape(-1).view(np.uint8).data) if array.size else memoryview(b"")


def _compute_digest(head: bytes | bytearray, data: list[memoryview]) -> bytes:
    blank = bytearray(head)
    blank[DIGEST] = b"0" * 64
    checksum = hashlib.sha256(blank)
    for piece in data:
        checksum.update(piece)
    return checksum.hexdigest().encode()


# Reading ------------------------------------------------------------------------------------------------


def open_file(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a regular file for reading."""
    place = Path(path)
    if place.is_dir():
        raise IsADirectoryError(f"{path} is a folder; give the path of a file.")
    # Opening a pipe would wait for somebody to write into it.
    if place.exists() and not place.is_file():
        raise ValueError(f"{path} is no regular file.")
    return place.open("rb")


def read_contents(stream: BinaryIO, file_format: str, version: int) -> FileContents:
    """Check a file of this format, and return its texts and arrays.

    Raises
    ------
    ValueError
        If the file is of another kind or a newer version, or was altered.
    OSError
        If it cannot be read.
    """
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    head = _read_head(stream, size)
    header = parse_json(head[8:], "its header")
    if not isinstance(header, dict):
        raise ValueError("its header is no safetensors header. It is of another kind, or damaged.")
    metadata = _check_kind(header.pop("__metadata__", None), file_format, version)
    if not head.startswith(START, 8):
        raise ValueError("its checksum is not where it was written. The file was altered; get a new copy.")
    # Before the file is read whole: one that takes no space on the disk may claim any size.
    expected = len(head) + max((_find_end(name, entry) for name, entry in header.items()), default=0)
    if size != expected:
        fault = "is cut off" if size < expected else "goes on where it should end"
        raise ValueError(f"it {fault}: {expected} bytes were written, and it has {size}.")
    _refuse_holes(stream, size)
    _check_names(header, metadata)
    stream.seek(0)
    data = stream.read()
    if len(data) != size or not data.startswith(head):
        raise ValueError("it was changed while it was read.")
    if data[DIGEST] != _compute_digest(head, [memoryview(data)[len(head) :]]):
        raise ValueError(
            "its checksum does not match. It is damaged or was altered since it was saved; get a new copy."
        )
    try:
        tensors = deserialize(data)
    except SafetensorError as error:
        raise ValueError(f"safetensors refuses it: {str(error)[:200]}.") from error
    return FileContents(metadata, {name: _to_stored_array(parts) for name, parts in tensors})


def _refuse_holes(stream: BinaryIO, size: int) -> None:
    """Refuse a file that claims far more bytes than the disk holds of it."""
    # A stream of bytes in memory has no file, and some systems have no holes.
    if size < MIN_SPARSE or isinstance(stream, io.BytesIO) or not hasattr(os, "SEEK_HOLE"):
        return
    file = stream.fileno()
    # The stream has its own idea of the position.
    start = os.lseek(file, 0, os.SEEK_CUR)
    held = _count_held_bytes(file, size)
    os.lseek(file, start, os.SEEK_SET)
    if MAX_SPARSENESS * held < size:
        raise ValueError(
            f"it is a sparse file: it claims {size} bytes, and the disk holds {held} of them. "
            "sk_denoise.persistence.save writes all bytes. Get a new copy."
        )


def _count_held_bytes(file: int, size: int) -> int:
    """Return the bytes of a file outside of holes, or enough of them."""
    held = place = 0
    # Enough of them end the search.
    while place < size and MAX_SPARSENESS * held < size:
        try:
            place = os.lseek(file, place, os.SEEK_DATA)
            end = os.lseek(file, place, os.SEEK_HOLE)
        # There are no data behind the place, or the file system has no holes.
        except OSError as error:
            return held if error.errno == errno.ENXIO else size
        held, place = held + end - place, max(end, place + 1)
    return held


def _check_names(header: Mapping[str, Any], metadata: Mapping[str, str]) -> None:
    """Refuse arrays with a wrong size, and large ones that nothing refers to."""
    # One pass over the text: there may be many names and much text.
    texts = set(JSON_TEXT.findall(metadata.get("estimator", "")))
    for name, entry in header.items():
        start, end = entry["data_offsets"]
        n_bytes = math.prod(entry["shape"]) * np.dtype(DTYPES[entry["dtype"]]).itemsize
        if end - start != n_bytes:
            raise ValueError(
                f"its array {name[:50]!r} has the invalid shape {entry['shape']!s:.50}: it takes "
                f"{end - start} bytes, and such arrays {n_bytes}"
            )
        # Small ones are refused later, when all else has been found to be right.
        if n_bytes > MAX_UNNAMED and name not in texts and json.dumps(name)[1:-1] not in texts:
            raise ValueError(f"it holds the array {name[:50]!r}, which nothing refers to")


def _read_head(stream: BinaryIO, size: int) -> bytes:
    """Return the length of the header and the header."""
    start = stream.read(16)
    other = _describe_format(start)
    if other is not None:
        raise ValueError(f"it is {other}")
    stream.seek(8)
    length = int.from_bytes(start[:8], "little")
    if size < DIGEST.stop or not 2 <= length <= size - 8:
        raise ValueError(
            "it is cut off, or no file that sk_denoise.persistence.save wrote: it does not start with the "
            "length of a safetensors header. Pickled files are for pickle and joblib, which run the code "
            "in them."
        )
    if length > MAX_HEADER:
        raise ValueError(f"its header claims {length} bytes, and {MAX_HEADER} are the most.")
    return start[:8] + stream.read(length)


def _describe_format(start: bytes) -> str | None:
    """Return a description of the format with these first bytes, if it is known."""
    # The length of a safetensors header may be any bytes, those of other formats included.
    if start[8:9] == b"{":
        return None
    return next((description for first, description in STARTS if start.startswith(first)), None)


def _check_kind(metadata: Any, file_format: str, version: int) -> dict[str, str]:
    """Return the texts of a file of this format, and refuse all others."""
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


def _find_end(name: str, entry: Any) -> int:
    """Check the description of an array, and return its end in the data."""
    # safetensors ignores further fields, and keeps shapes that no array of numpy can have.
    if isinstance(entry, dict) and entry.keys() == {"dtype", "shape", "data_offsets"}:
        shape, offsets = entry["shape"], entry["data_offsets"]
        are_sizes = _are_sizes(shape) and _are_sizes(offsets)
        if are_sizes and len(shape) <= MAX_AXES and len(offsets) == 2 and str(entry["dtype"]) in DTYPES:
            return int(offsets[1])
    raise ValueError(f"its array {name[:50]!r} is not described as sk_denoise describes arrays.")


def _are_sizes(numbers: Any) -> bool:
    # type(): true and false are integers to Python, and integers to numpy as well
    return isinstance(numbers, list) and all(type(n) is int and 0 <= n <= MAX_SIDE for n in numbers)


def _to_stored_array(parts: Mapping[str, Any]) -> StoredArray:
    values = np.frombuffer(parts["data"], DTYPES[parts["dtype"]])
    return StoredArray(parts["dtype"], values.reshape(parts["shape"]))


def parse_json(text: bytes | str, name: str) -> Any:
    """Parse a JSON text without doubled names and infinite numbers."""
    # safetensors and json keep the last of two entries of one name, and other readers the first.
    try:
        return json.loads(
            text if isinstance(text, str) else text.decode("utf-8"),
            object_pairs_hook=_refuse_doubles,
            parse_constant=_refuse_constant,
            parse_float=_parse_finite,
        )
    except RecursionError as error:
        raise ValueError(f"{name} is nested too deeply.") from error
    # Errors of JSON and of UTF-8 are both ValueErrors.
    except ValueError as error:
        raise ValueError(f"{name} cannot be read: {str(error)[:200]}.") from error


def _refuse_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    contents = dict(pairs)
    if len(contents) != len(pairs):
        raise ValueError("a name appears twice")
    return contents


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _parse_finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:20]} is too large")
    return number
