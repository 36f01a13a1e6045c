"""The table of codecs for what Python, numpy and torch bring along."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import NDArray
from torch import Tensor

from sk_denoise.persistence._container import DTYPES, Stored
from sk_denoise.persistence._tree import Codec, Decoder, Encoder, Node, fields_of

__all__ = ["VALUES", "tensor_of", "values_of"]

LONG = 16  # entries of a list of numbers that is held as an array
DIGITS = 64  # of an integer, in hexadecimal
ODD_KEYS = 1000  # of a dict
SMALL = 2**20
OF_TORCH = {
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
OF_NUMPY = {np.dtype(name): key for key, name in DTYPES.items() if key != "BF16"}
TORCH_OF = {name: dtype for dtype, name in OF_TORCH.items()}
WORDS = np.dtype(np.uint32)


# Python ------------------------------------------------------------------------------------------------


def _write_int(value: int, encoder: Encoder) -> Node:
    digits = hex(value)
    if len(digits) > DIGITS:
        raise ValueError(f"{encoder.place} has more than {DIGITS} digits in hexadecimal, and is not saved.")
    return digits


def _int_of(node: Node, decoder: Decoder) -> int:
    if not isinstance(node, str):
        raise ValueError(f"an integer cannot be {node!r:.60}")
    if len(node) > DIGITS:
        raise ValueError(f"an integer has {len(node)} digits, and {DIGITS} are the most")
    return int(node, 16)


def _float_of(node: Node, decoder: Decoder) -> float:
    if node not in ("inf", "-inf", "nan"):
        raise ValueError(f"a number cannot be {node!r:.60}")
    return float(node)


def _tuple_of(node: Node, decoder: Decoder) -> tuple[Any, ...]:
    if not isinstance(node, list):
        raise ValueError(f"a tuple cannot be {node!r:.60}")
    return tuple(decoder.decode(node))


def _write_dict(value: dict[Any, Any], encoder: Encoder) -> Node:
    pairs = [[encoder.encode(key, "key"), encoder.encode(item, key)] for key, item in value.items()]
    _check_keys(pairs)
    return pairs


def _check_keys(pairs: list[list[Node]]) -> None:
    """Refuse many keys that may be made to have one hash, which texts and small integers cannot."""
    odd = sum(not isinstance(key, str) and not (type(key) is int and 0 <= key < SMALL) for key, _ in pairs)
    if odd > ODD_KEYS:
        raise ValueError(f"a dict has more than {ODD_KEYS} keys that are no texts")


def _dict_of(node: Node, decoder: Decoder) -> dict[Any, Any]:
    if not isinstance(node, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in node):
        raise ValueError("a dict must be a list of pairs")
    _check_keys(node)
    pairs = [(decoder.decode(key), decoder.decode(item)) for key, item in node]
    known = dict(pairs)
    if len(known) != len(pairs):
        raise ValueError("a key of a dict stands there twice")
    return known


def _are_floats(value: Any) -> bool:
    return type(value) is list and len(value) >= LONG and all(type(entry) is float for entry in value)


def _write_floats(value: list[float], encoder: Encoder) -> Node:
    return encoder.put(Stored("F64", np.array(value, dtype="<f8")))


def _floats_of(node: Node, decoder: Decoder) -> list[float]:
    stored = decoder.take(node)
    values = values_of(stored, "f")
    if values.ndim != 1 or stored.dtype != "F64":  # what is shorter would grow
        raise ValueError("a list of numbers must have one axis, and the type F64")
    return [float(entry) for entry in values]


# numpy -------------------------------------------------------------------------------------------------


def values_of(stored: Stored, kinds: str = "biuf") -> NDArray[Any]:
    """Return a copy of the values of an array, of a type that numpy knows."""
    if stored.dtype == "BF16" or stored.array.dtype.kind not in kinds:
        raise ValueError(f"an array cannot have the type {stored.dtype} there")
    if stored.dtype == "BOOL" and stored.array.view(np.uint8).max(initial=0) > 1:
        raise ValueError("an array of truth values holds others")
    return stored.array.astype(stored.array.dtype.newbyteorder("="), order="C", copy=True)


def _is_numeric(value: Any) -> bool:
    return type(value) is np.ndarray and value.dtype.newbyteorder("=") in OF_NUMPY


def _write_array(value: NDArray[Any], encoder: Encoder) -> Node:
    by_columns = value.flags.f_contiguous and not value.flags.c_contiguous  # sums of products depend on it
    rows = np.ascontiguousarray(value.T if by_columns else value).reshape(
        value.shape[:: -1 if by_columns else 1]
    )
    name = encoder.put(Stored(OF_NUMPY[value.dtype.newbyteorder("=")], rows))
    return {"in": name, "order": "F" if by_columns else "C"}


def _array_of(node: Node, decoder: Decoder) -> NDArray[Any]:
    name, order = fields_of(node, **{"in": str, "order": str})
    if order not in ("C", "F"):
        raise ValueError(f"the order of an array cannot be {order!r:.60}")
    values = values_of(decoder.take(name))
    return values.T if order == "F" else values


def _is_text(value: Any) -> bool:
    if type(value) is not np.ndarray or value.dtype.kind not in "UO":
        return False
    return value.dtype.kind == "U" or all(type(entry) is str for entry in value.flat)


def _write_text(value: NDArray[Any], encoder: Encoder) -> Node:
    texts = [str(entry).encode("utf-8", "surrogatepass") for entry in value.flat]
    lengths = np.array([len(text) for text in texts], dtype="<i8").reshape(value.shape)
    return {
        "letters": encoder.put(Stored("U8", np.frombuffer(b"".join(texts), np.uint8)), "letters"),
        "lengths": encoder.put(Stored("I64", lengths), "lengths"),
        "objects": int(value.dtype.kind == "O"),
    }


def _text_of(node: Node, decoder: Decoder) -> NDArray[Any]:
    letters, lengths, objects = fields_of(node, letters=str, lengths=str, objects=int)
    text = values_of(decoder.take(letters), "u").tobytes()
    sizes = values_of(decoder.take(lengths), "i")
    ends = np.cumsum(sizes.ravel())
    if (sizes < 0).any() or (sizes > len(text)).any() or (ends[-1] if sizes.size else 0) != len(text):
        raise ValueError("an array of texts has other lengths than its letters")
    entries = [
        text[end - size : end].decode("utf-8", "surrogatepass")
        for end, size in zip(ends.tolist(), sizes.ravel().tolist(), strict=True)
    ]
    if not objects and len(entries) * max(map(len, entries), default=0) > 4 * len(text) + 1024:
        raise ValueError("an array of texts has one that is far longer than the others")
    array = np.empty(sizes.shape, object)
    array.ravel()[:] = entries
    return array if objects else array.astype(str)


def _is_scalar(value: Any) -> bool:
    return isinstance(value, np.str_) or (isinstance(value, np.generic) and value.dtype in OF_NUMPY)


def _write_scalar(value: Any, encoder: Encoder) -> Node:
    return {
        "type": "str" if isinstance(value, np.str_) else value.dtype.name,
        "is": encoder.encode(value.item(), ""),
    }


def _scalar_of(node: Node, decoder: Decoder) -> Any:
    name, number = fields_of(node, type=str, **{"is": object})
    number = decoder.decode(number)
    if name == "str" and isinstance(number, str):
        return np.str_(number)
    wanted = {"b": bool, "i": int, "u": int, "f": float}[_numeric(name).kind]
    if type(number) is not wanted:
        raise ValueError(f"a number of type {name} cannot be {number!r:.60}")
    return _numeric(name).type(number)


def _numeric(name: Node) -> np.dtype[Any]:
    if not isinstance(name, str) or name not in {dtype.name for dtype in OF_NUMPY}:
        raise ValueError(f"there is no type {name!r:.60} of numbers here")
    return np.dtype(name)


def _write_state(value: RandomState, encoder: Encoder) -> Node:
    state: Any = value.get_state(legacy=False)
    return {
        "keys": encoder.put(Stored("U32", state["state"]["key"])),
        "position": int(state["state"]["pos"]),
        "has_gauss": int(state["has_gauss"]),
        "gauss": encoder.encode(float(state["gauss"]), "gauss"),
    }


def _state_of(node: Node, decoder: Decoder) -> RandomState:
    name, position, has_gauss, gauss = fields_of(
        node, keys=str, position=int, has_gauss=int, gauss=(int, float)
    )
    keys = values_of(decoder.take(name), "u")
    stuck = not keys[1:].any() and not keys[:1] >> 31  # it would draw zeros for ever
    if keys.dtype != WORDS or keys.shape != (624,) or stuck or not 0 <= position <= 624:
        raise ValueError("the state of a RandomState is none")
    if has_gauss not in (0, 1) or not math.isfinite(gauss):
        raise ValueError("the state of a RandomState holds no number")
    state = RandomState(0)
    state.set_state(("MT19937", keys, position, has_gauss, float(gauss)))
    return state


# torch -------------------------------------------------------------------------------------------------


def _is_tensor(value: Any) -> bool:
    return (
        isinstance(value, Tensor) and type(value) in (Tensor, torch.nn.Parameter) and value.dtype in OF_TORCH
    )


def stored_tensor(value: Tensor) -> Stored:
    """Return a tensor as a file holds it; what it shares with others, or repeats, is written out."""
    plain = value.detach().to("cpu").contiguous()
    bits = plain.view(torch.uint16) if plain.dtype == torch.bfloat16 else plain
    return Stored(OF_TORCH[value.dtype], bits.numpy())


def tensor_of(stored: Stored) -> Tensor:
    """Return a tensor of its own."""
    if stored.dtype not in TORCH_OF:
        raise ValueError(f"a tensor cannot have the type {stored.dtype} there")
    if stored.dtype == "BF16":
        return torch.from_numpy(stored.array.copy()).view(torch.bfloat16)
    return torch.from_numpy(values_of(stored))


def _device_of(node: Node, decoder: Decoder) -> torch.device:
    if not isinstance(node, str):
        raise ValueError(f"a device cannot be {node!r:.60}")
    return torch.device(node)


# The table ---------------------------------------------------------------------------------------------

VALUES: tuple[Codec, ...] = (
    Codec("int", lambda v: type(v) is int, _write_int, _int_of),
    Codec("float", lambda v: type(v) is float, lambda v, _: repr(v), _float_of),
    Codec(
        "tuple", lambda v: type(v) is tuple, lambda v, e: [e.encode(x, i) for i, x in enumerate(v)], _tuple_of
    ),
    Codec("dict", lambda v: type(v) is dict, _write_dict, _dict_of),
    Codec("floats", _are_floats, _write_floats, _floats_of),
    Codec("array", _is_numeric, _write_array, _array_of),
    Codec("texts", _is_text, _write_text, _text_of),
    Codec("scalar", _is_scalar, _write_scalar, _scalar_of),
    Codec(
        "dtype",
        lambda v: isinstance(v, np.dtype) and v in OF_NUMPY,
        lambda v, _: v.name,
        lambda n, _: _numeric(n),
    ),
    Codec("random_state", lambda v: type(v) is RandomState, _write_state, _state_of),
    Codec("tensor", _is_tensor, lambda v, e: e.put(stored_tensor(v)), lambda n, d: tensor_of(d.take(n))),
    Codec("device", lambda v: isinstance(v, torch.device), lambda v, _: str(v), _device_of),
)
