"""Between values and JSON: a tree of plain values, with arrays beside it.

Plain values stand for themselves. Everything else is an object of one name, that of its codec:
``{"tuple": [1, 2]}``. A codec is a line of a table; :mod:`._values` and :mod:`._objects` hold them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sk_denoise.persistence._container import Stored

__all__ = ["Codec", "Decoder", "Encoder", "Node", "fields_of"]

Node = Any  # what JSON can say
DEEPEST = 64
PLAIN_INTEGERS = 2**53  # what any reader of JSON keeps exactly


@dataclass(frozen=True)
class Codec:
    """How values of some kind are written and read.

    Attributes
    ----------
    name : str
        Stands for the kind in files.
    encodes : callable
        Whether a value is of this kind.
    encode : callable
        From a value and the encoder to JSON.
    decode : callable
        From that JSON, and the decoder, to the value. It trusts nothing.
    """

    name: str
    encodes: Callable[[Any], bool]
    encode: Callable[[Any, Encoder], Node]
    decode: Callable[[Node, Decoder], Any]


@dataclass
class Encoder:
    """Writes values down, and holds the arrays that they have.

    Attributes
    ----------
    codecs : sequence of Codec
        The first that knows a value writes it.
    refuse : callable
        From a value that no codec knows, and where it stands, to the error to raise.
    arrays : dict of Stored
        What was put beside the tree, by the path to it.
    estimators : int
        Those that the value is in.
    """

    codecs: tuple[Codec, ...]
    refuse: Callable[[Any, str], Exception]
    arrays: dict[str, Stored] = field(default_factory=dict)
    path: list[str] = field(default_factory=list)
    estimators: int = 0

    @property
    def place(self) -> str:
        """Where the value stands that is being written."""
        return ".".join(self.path)

    @contextmanager
    def at(self, step: object) -> Iterator[None]:
        """Go one step down the tree."""
        self.path.append(str(step))
        try:
            if len(self.path) > DEEPEST:
                raise ValueError(f"{self.place[:80]}... is nested too deeply to be saved.")
            yield
        finally:
            self.path.pop()

    def encode(self, value: Any, step: object) -> Node:
        """Return a value as JSON, which stands one step further down."""
        if _is_plain(value):
            return value
        with self.at(step):
            if type(value) is list:
                return self._list(value)
            for codec in self.codecs:
                if codec.encodes(value):
                    return {codec.name: codec.encode(value, self)}
            raise self.refuse(value, self.place)

    def items(self, mapping: Mapping[str, Any]) -> dict[str, Node]:
        """Return named values as JSON."""
        return {name: self.encode(value, name) for name, value in mapping.items()}

    def put(self, array: Stored, step: object = "") -> str:
        """Keep an array beside the tree, and return its name."""
        name = ".".join(part for part in (*self.path[1:], str(step)) if part)
        while name in self.arrays or name in ("", "__metadata__"):
            name += "_"
        self.arrays[name] = array
        return name

    def _list(self, values: list[Any]) -> Node:
        for codec in self.codecs:  # long lists of numbers are arrays
            if codec.encodes(values):
                return {codec.name: codec.encode(values, self)}
        return [self.encode(value, step) for step, value in enumerate(values)]


@dataclass
class Decoder:
    """Reads what an :class:`Encoder` wrote, or what somebody made of it.

    Attributes
    ----------
    codecs : sequence of Codec
        The kinds that there are.
    arrays : dict of Stored
        The arrays that were not taken yet. Each is taken once: a short tree makes no large values.
    most_entries : int
        Of a layer of a network, for one sample.
    estimators : int
        Those that the value is in.
    """

    codecs: tuple[Codec, ...]
    arrays: dict[str, Stored]
    most_entries: int
    depth: int = 0
    estimators: int = 0

    def decode(self, node: Node) -> Any:
        """Return the value that JSON stands for."""
        if _is_plain(node):
            return node
        self.depth += 1
        if self.depth > DEEPEST:
            raise ValueError("it is nested too deeply")
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

    def take(self, name: Node) -> Stored:
        """Return an array, which nobody else gets."""
        if not isinstance(name, str) or name not in self.arrays:
            raise ValueError(f"the array {name!r:.60} is missing, or there for something else")
        return self.arrays.pop(name)


def fields_of(node: Node, **kinds: type | tuple[type, ...]) -> list[Any]:
    """Return the contents of an object that has these names, each of its kind, and no others."""
    if not isinstance(node, dict) or set(node) != set(kinds):
        raise ValueError(f"an object with {', '.join(kinds)} was expected, not {node!r:.60}")
    for name, kind in kinds.items():
        if kind is not object and (not isinstance(node[name], kind) or isinstance(node[name], bool)):
            raise ValueError(f"{name} is {node[name]!r:.60}, which it cannot be")
    return [node[name] for name in kinds]


def _is_plain(value: Any) -> bool:
    kind = type(value)
    return (
        value is None
        or kind is bool
        or kind is str
        or (kind is int and abs(value) <= PLAIN_INTEGERS)
        or (kind is float and value - value == 0)  # neither infinite nor NaN
    )
