"""A tree of plain values between Python and JSON, with arrays beside it.

Plain values stand for themselves. Everything else is an object with one name, that of its codec:
``{"tuple": [1, 2]}``. The codecs of Python, numpy and torch are here, those of estimators in
:mod:`._objects`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import NDArray
from torch import Tensor

from sk_denoise.persistence._container import DTYPES, StoredArray

__all__ = [
    "VALUE_CODECS",
    "Codec",
    "Decoder",
    "Encoder",
    "Node",
    "to_stored_tensor",
    "to_tensor",
    "unpack_fields",
]

# Any value of JSON
Node = Any
# Far below the depth at which Python's own recursion ends, in json and here
MAX_DEPTH = 64
# Each takes microseconds, and a header of 8 MB holds millions of empty ones.
MAX_NODES = 2**18
# JSON readers that know floats alone keep integers up to here exactly.
MAX_PLAIN_INTEGER = 2**53
# A list of as many floats takes less space as an array than as text.
MIN_FLOAT_ARRAY = 16
# int() needs quadratic time for many digits.
MAX_DIGITS = 64
# Keys made to collide need quadratic time; small integers and texts cannot be made so.
MAX_ODD_KEYS = 1000
MAX_SMALL_KEY = 2**20
# Words in the state of a Mersenne Twister
STATE_WORDS = 624

TORCH_DTYPES = {
    torch.bool: "BOOL",
    torch.uint8: "U8",
    torch.int8: "I8",
    torch.int16: "I16",
    torch.int32: "I32",
    torch.int64: "I64",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float32: "F32",
    torch.float64: "F64",
}
NUMPY_DTYPES = {np.dtype(name): key for key, name in DTYPES.items() if key != "BF16"}


@dataclass(frozen=True)
class Codec:
    """The way in which values of one kind are written and read.

    Attributes
    ----------
    name : str
        Name of the kind in files.
    encodes : callable
        Called with a value; returns whether it is of this kind.
    encode : callable
        Called with a value and the encoder; returns a node.
    decode : callable
        Called with a node and the decoder; returns the value. Nodes may hold anything.
    """

    name: str
    encodes: Callable[[Any], bool]
    encode: Callable[[Any, Encoder], Node]
    decode: Callable[[Node, Decoder], Any]


@dataclass
class Encoder:
    """A writer of values as nodes, which keeps their arrays.

    Attributes
    ----------
    codecs : sequence of Codec
        All kinds; the first one that encodes a value writes it.
    refuse : callable
        Called with a value of no kind and its place; returns the error to raise.
    arrays : dict of StoredArray
        Arrays beside the tree, by the path to them.
    path : list of str
        Steps from the root to the value being written.
    estimators : int
        Number of estimators around the value being written.
    n_nodes : int
        Number of values that were written so far, without plain ones.
    n_estimators : int
        Number of estimators among them.
    """

    codecs: tuple[Codec, ...]
    refuse: Callable[[Any, str], Exception]
    arrays: dict[str, StoredArray] = field(default_factory=dict)
    path: list[str] = field(default_factory=list)
    estimators: int = 0
    n_nodes: int = 0
    n_estimators: int = 0

    @property
    def place(self) -> str:
        """Path of the value being written, for messages."""
        return ".".join(self.path)

    @contextmanager
    def at(self, step: object) -> Iterator[None]:
        """Go one step down the tree."""
        self.path.append(str(step))
        try:
            if len(self.path) > MAX_DEPTH:
                raise ValueError(f"{self.place[:80]}... is nested too deeply to be saved.")
            yield
        finally:
            self.path.pop()

    def encode(self, value: Any, step: object) -> Node:
        """Return the node of a value, which stands one step further down."""
        if _is_plain(value):
            return value
        with self.at(step):
            self.n_nodes += 1
            if self.n_nodes > MAX_NODES:
                raise ValueError(
                    f"{self.path[0]} has more than {MAX_NODES} parts, which no file can hold. At "
                    f"{self.place[:80]}, keep long lists as arrays."
                )
            for codec in self.codecs:
                if codec.encodes(value):
                    return {codec.name: codec.encode(value, self)}
            if type(value) is list:
                return [self.encode(part, number) for number, part in enumerate(value)]
            raise self.refuse(value, self.place)

    def items(self, mapping: Mapping[str, Any]) -> dict[str, Node]:
        """Return the nodes of named values."""
        return {name: self.encode(value, name) for name, value in mapping.items()}

    def put(self, array: StoredArray, step: object = "") -> str:
        """Keep an array beside the tree, and return its name."""
        name = ".".join(part for part in (*self.path[1:], str(step)) if part)
        while name in self.arrays or name in ("", "__metadata__"):
            name += "_"
        self.arrays[name] = array
        return name


@dataclass
class Decoder:
    """A reader of nodes that an :class:`Encoder` wrote, or that somebody else made.

    Attributes
    ----------
    codecs : sequence of Codec
        All kinds.
    arrays : dict of StoredArray
        Arrays that were not taken yet. Each is taken once, so that a short tree makes no large values.
    max_entries : int
        Limit of the entries of a layer of a network, for one sample.
    depth : int
        Number of nodes around the one being read.
    estimators : int
        Number of estimators around the value being read.
    n_nodes : int
        Number of nodes that were read so far, without plain values.
    n_estimators : int
        Number of estimators among them.
    """

    codecs: tuple[Codec, ...]
    arrays: dict[str, StoredArray]
    max_entries: int
    depth: int = 0
    estimators: int = 0
    n_nodes: int = 0
    n_estimators: int = 0

    def decode(self, node: Node) -> Any:
        """Return the value of a node."""
        if _is_plain(node):
            return node
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ValueError("it is nested too deeply")
        self.n_nodes += 1
        if self.n_nodes > MAX_NODES:
            raise ValueError(f"it has more than {MAX_NODES} parts")
        try:
            if isinstance(node, list):
                return [self.decode(part) for part in node]
            (name, content), *more = node.items() or [(None, None)]
            codec = next((codec for codec in self.codecs if codec.name == name), None)
            if codec is None or more:
                raise ValueError(f"it holds something of an unknown kind, {list(node)!r:.60}")
            return codec.decode(content, self)
        finally:
            self.depth -= 1

    def items(self, nodes: Node) -> dict[str, Any]:
        """Return the values of an object with any names."""
        if not isinstance(nodes, dict):
            raise ValueError(f"an object was expected, not {nodes!r:.60}")
        return {name: self.decode(node) for name, node in nodes.items()}

    def take(self, name: Node) -> StoredArray:
        """Return an array, and keep it no longer."""
        if not isinstance(name, str) or name not in self.arrays:
            raise ValueError(f"the array {name!r:.60} is missing, or was taken already")
        return self.arrays.pop(name)


def unpack_fields(node: Node, **kinds: type | tuple[type, ...]) -> list[Any]:
    """Return the contents of an object with exactly these names, each of its type."""
    if not isinstance(node, dict) or set(node) != set(kinds):
        raise ValueError(f"an object with {', '.join(kinds)} was expected, not {node!r:.60}")
    for name, kind in kinds.items():
        if kind is not object and (not isinstance(node[name], kind) or isinstance(node[name], bool)):
            raise ValueError(f"{name} cannot be {node[name]!r:.60}")
    return [node[name] for name in kinds]


def _is_plain(value: Any) -> bool:
    kind = type(value)
    return (
        value is None
        or kind is bool
        or kind is str
        or (kind is int and abs(value) <= MAX_PLAIN_INTEGER)
        # The difference is NaN for infinity and NaN, which JSON has not.
        or (kind is float and value - value == 0)
    )


# Python -------------------------------------------------------------------------------------------------


def _encode_int(value: int, encoder: Encoder) -> Node:
    digits = hex(value)
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"{encoder.place} has more than {MAX_DIGITS} hexadecimal digits, and is not saved.")
    return digits


def _decode_int(node: Node, decoder: Decoder) -> int:
    if not isinstance(node, str):
        raise ValueError(f"an integer cannot be {node!r:.60}")
    if len(node) > MAX_DIGITS:
        raise ValueError(f"an integer has {len(node)} digits, and {MAX_DIGITS} are the most")
    return int(node, 16)


def _decode_float(node: Node, decoder: Decoder) -> float:
    if node not in ("inf", "-inf", "nan"):
        raise ValueError(f"a number cannot be {node!r:.60}")
    return float(node)


def _encode_tuple(value: tuple[Any, ...], encoder: Encoder) -> Node:
    return [encoder.encode(part, number) for number, part in enumerate(value)]


def _decode_tuple(node: Node, decoder: Decoder) -> tuple[Any, ...]:
    if not isinstance(node, list):
        raise ValueError(f"a tuple cannot be {node!r:.60}")
    return tuple(decoder.decode(node))


def _encode_dict(value: dict[Any, Any], encoder: Encoder) -> Node:
    pairs = [[encoder.encode(key, "key"), encoder.encode(item, key)] for key, item in value.items()]
    _check_keys(pairs)
    return pairs


def _decode_dict(node: Node, decoder: Decoder) -> dict[Any, Any]:
    if not isinstance(node, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in node):
        raise ValueError("a dict must be a list of pairs")
    _check_keys(node)
    pairs = [(decoder.decode(key), decoder.decode(item)) for key, item in node]
    contents = dict(pairs)
    if len(contents) != len(pairs):
        raise ValueError("a key of a dict appears twice")
    return contents


def _check_keys(pairs: list[list[Node]]) -> None:
    """Refuse many keys that could share one hash."""
    n_odd = sum(
        not isinstance(key, str) and not (type(key) is int and 0 <= key < MAX_SMALL_KEY) for key, _ in pairs
    )
    if n_odd > MAX_ODD_KEYS:
        raise ValueError(f"a dict has more than {MAX_ODD_KEYS} keys that are no texts")


def _is_float_list(value: Any) -> bool:
    return type(value) is list and len(value) >= MIN_FLOAT_ARRAY and all(type(x) is float for x in value)


def _encode_floats(value: list[float], encoder: Encoder) -> Node:
    return encoder.put(StoredArray("F64", np.array(value, dtype="<f8")))


def _decode_floats(node: Node, decoder: Decoder) -> list[float]:
    stored = decoder.take(node)
    values = _copy_values(stored, "f")
    # Python's floats take four times the memory of F64, and twelve times that of F16.
    if values.ndim != 1 or stored.dtype != "F64":
        raise ValueError("a list of numbers must have one axis, and the type F64")
    return [float(entry) for entry in values]


# numpy --------------------------------------------------------------------------------------------------


def _copy_values(stored: StoredArray, kinds: str = "biuf") -> NDArray[Any]:
    """Return a copy of the values of an array, of a type that numpy has."""
    if stored.dtype == "BF16" or stored.array.dtype.kind not in kinds:
        raise ValueError(f"an array cannot have the type {stored.dtype} there")
    if stored.dtype == "BOOL" and stored.array.view(np.uint8).max(initial=0) > 1:
        raise ValueError("an array of truth values holds others")
    return stored.array.astype(stored.array.dtype.newbyteorder("="), order="C", copy=True)


def _is_numeric(value: Any) -> bool:
    return type(value) is np.ndarray and value.dtype.newbyteorder("=") in NUMPY_DTYPES


def _encode_array(value: NDArray[Any], encoder: Encoder) -> Node:
    # Sums run along the memory, so that their last bits depend on its order.
    by_columns = value.flags.f_contiguous and not value.flags.c_contiguous
    rows = np.ascontiguousarray(value.T if by_columns else value).reshape(
        value.shape[:: -1 if by_columns else 1]
    )
    name = encoder.put(StoredArray(NUMPY_DTYPES[value.dtype.newbyteorder("=")], rows))
    return {"in": name, "order": "F" if by_columns else "C"}


def _decode_array(node: Node, decoder: Decoder) -> NDArray[Any]:
    name, order = unpack_fields(node, **{"in": str, "order": str})
    if order not in ("C", "F"):
        raise ValueError(f"the order of an array cannot be {order!r:.60}")
    values = _copy_values(decoder.take(name))
    return values.T if order == "F" else values


def _is_text_array(value: Any) -> bool:
    if type(value) is not np.ndarray or value.dtype.kind not in "UO":
        return False
    return value.dtype.kind == "U" or all(type(entry) is str for entry in value.flat)


def _encode_texts(value: NDArray[Any], encoder: Encoder) -> Node:
    texts = [str(entry).encode("utf-8", "surrogatepass") for entry in value.flat]
    lengths = np.array([len(text) for text in texts], dtype="<i8").reshape(value.shape)
    return {
        "letters": encoder.put(StoredArray("U8", np.frombuffer(b"".join(texts), np.uint8)), "letters"),
        "lengths": encoder.put(StoredArray("I64", lengths), "lengths"),
        "objects": int(value.dtype.kind == "O"),
    }


def _decode_texts(node: Node, decoder: Decoder) -> NDArray[Any]:
    letters, lengths, objects = unpack_fields(node, letters=str, lengths=str, objects=int)
    text = _copy_values(decoder.take(letters), "u").tobytes()
    sizes = _copy_values(decoder.take(lengths), "i")
    ends = np.cumsum(sizes.ravel())
    if (sizes < 0).any() or (sizes > len(text)).any() or (ends[-1] if sizes.size else 0) != len(text):
        raise ValueError("an array of texts has other lengths than its letters")
    entries = [
        text[end - size : end].decode("utf-8", "surrogatepass")
        for end, size in zip(ends.tolist(), sizes.ravel().tolist(), strict=True)
    ]
    # numpy gives each text the space of the longest one.
    if not objects and len(entries) * max(map(len, entries), default=0) > 4 * len(text) + 1024:
        raise ValueError("an array of texts has one that is far longer than the others")
    array = np.empty(sizes.shape, object)
    array.ravel()[:] = entries
    return array if objects else array.astype(str)


def _is_scalar(value: Any) -> bool:
    return isinstance(value, np.str_) or (isinstance(value, np.generic) and value.dtype in NUMPY_DTYPES)


def _encode_scalar(value: Any, encoder: Encoder) -> Node:
    return {
        "type": "str" if isinstance(value, np.str_) else value.dtype.name,
        "is": encoder.encode(value.item(), ""),
    }


def _decode_scalar(node: Node, decoder: Decoder) -> Any:
    name, number = unpack_fields(node, type=str, **{"is": object})
    number = decoder.decode(number)
    if name == "str" and isinstance(number, str):
        return np.str_(number)
    dtype = _decode_dtype(name, decoder)
    expected = {"b": bool, "i": int, "u": int, "f": float}[dtype.kind]
    if type(number) is not expected:
        raise ValueError(f"a number of type {name} cannot be {number!r:.60}")
    return dtype.type(number)


def _decode_dtype(name: Node, decoder: Decoder) -> np.dtype[Any]:
    if not isinstance(name, str) or name not in {dtype.name for dtype in NUMPY_DTYPES}:
        raise ValueError(f"numbers cannot have the type {name!r:.60}")
    return np.dtype(name)


def _encode_random_state(value: RandomState, encoder: Encoder) -> Node:
    state: Any = value.get_state(legacy=False)
    return {
        "keys": encoder.put(StoredArray("U32", state["state"]["key"])),
        "position": int(state["state"]["pos"]),
        "has_gauss": int(state["has_gauss"]),
        "gauss": encoder.encode(float(state["gauss"]), "gauss"),
    }


def _decode_random_state(node: Node, decoder: Decoder) -> RandomState:
    name, position, has_gauss, gauss = unpack_fields(
        node, keys=str, position=int, has_gauss=int, gauss=(int, float)
    )
    stored = decoder.take(name)
    keys = _copy_values(stored, "u")
    if stored.dtype != "U32" or keys.shape != (STATE_WORDS,) or not 0 <= position <= STATE_WORDS:
        raise ValueError("a RandomState cannot have such a state")
    # The generator ignores the low bits of the first word. From zeros it draws zeros, for ever.
    if not keys[1:].any() and not keys[0] >> 31:
        raise ValueError("the state of a RandomState is zero")
    if has_gauss not in (0, 1) or not math.isfinite(gauss):
        raise ValueError("the state of a RandomState holds no number")
    state = RandomState(0)
    state.set_state(("MT19937", keys, position, has_gauss, float(gauss)))
    return state


# torch --------------------------------------------------------------------------------------------------


def _is_tensor(value: Any) -> bool:
    is_plain = type(value) in (Tensor, torch.nn.Parameter)
    return is_plain and value.dtype in TORCH_DTYPES


def to_stored_tensor(tensor: Tensor) -> StoredArray:
    """Return a tensor as an array for a file."""
    # contiguous() writes out entries that are shared or repeated.
    plain = tensor.detach().to("cpu").contiguous()
    bits = plain.view(torch.uint16) if plain.dtype == torch.bfloat16 else plain
    return StoredArray(TORCH_DTYPES[tensor.dtype], bits.numpy())


def to_tensor(stored: StoredArray) -> Tensor:
    """Return an array from a file as a tensor with memory of its own."""
    if stored.dtype not in TORCH_DTYPES.values():
        raise ValueError(f"a tensor cannot have the type {stored.dtype} there")
    if stored.dtype == "BF16":
        return torch.from_numpy(stored.array.copy()).view(torch.bfloat16)
    return torch.from_numpy(_copy_values(stored))


def _decode_device(node: Node, decoder: Decoder) -> torch.device:
    if not isinstance(node, str):
        raise ValueError(f"a device cannot be {node!r:.60}")
    return torch.device(node)


# The table ----------------------------------------------------------------------------------------------

VALUE_CODECS: tuple[Codec, ...] = (
    Codec("int", lambda v: type(v) is int, _encode_int, _decode_int),
    Codec("float", lambda v: type(v) is float, lambda v, _: repr(v), _decode_float),
    Codec("tuple", lambda v: type(v) is tuple, _encode_tuple, _decode_tuple),
    Codec("dict", lambda v: type(v) is dict, _encode_dict, _decode_dict),
    Codec("floats", _is_float_list, _encode_floats, _decode_floats),
    Codec("array", _is_numeric, _encode_array, _decode_array),
    Codec("texts", _is_text_array, _encode_texts, _decode_texts),
    Codec("scalar", _is_scalar, _encode_scalar, _decode_scalar),
    Codec(
        "dtype", lambda v: isinstance(v, np.dtype) and v in NUMPY_DTYPES, lambda v, _: v.name, _decode_dtype
    ),
    Codec("random_state", lambda v: type(v) is RandomState, _encode_random_state, _decode_random_state),
    Codec("tensor", _is_tensor, lambda v, e: e.put(to_stored_tensor(v)), lambda n, d: to_tensor(d.take(n))),
    Codec("device", lambda v: isinstance(v, torch.device), lambda v, _: str(v), _decode_device),
)
