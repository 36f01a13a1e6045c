"""State of estimators for skops, which stores no tensors."""

from __future__ import annotations

import copyreg
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

__all__ = ["state_in_bytes", "take_bytes_from"]

T = TypeVar("T")

KEY = "sk_denoise_file"


class ByteFormat(Protocol):
    """Module that converts estimators to bytes and back."""

    def to_bytes(self, estimator: Any) -> bytes:
        """Return the bytes of a file with an estimator."""
        ...

    def from_bytes(self, data: bytes) -> Any:
        """Return the estimator from the bytes of a file."""
        ...


# A list, whose content take_bytes_from replaces.
_byte_format: list[Callable[[], ByteFormat]] = []


def take_bytes_from(byte_format: Callable[[], ByteFormat]) -> None:
    """Set the function that imports the byte format."""
    # The format stands above the estimators, so that they cannot import it.
    _byte_format[:] = [byte_format]


def state_in_bytes(kind: type[T]) -> type[T]:
    """Decorate a class of estimators: attributes for pickle, bytes for skops.

    Python calls ``__reduce_ex__``, and not ``__getstate__``, to pickle or copy an object. skops calls
    ``__getstate__`` only. A subclass with a state of its own has precedence over both.

    Parameters
    ----------
    kind : type
        Class of estimators, which gets the three methods.

    Returns
    -------
    type
        The same class.
    """
    inherited: Any = kind
    inherited_getstate, inherited_setstate = inherited.__getstate__, inherited.__setstate__

    def defines_own_state(estimator: Any) -> bool:
        own = type(estimator)
        return own.__getstate__ is not getstate or own.__reduce__ is not object.__reduce__

    def reduce_ex(self: Any, protocol: Any) -> Any:
        if defines_own_state(self):
            return object.__reduce_ex__(self, protocol)
        return copyreg.__newobj__, (type(self),), inherited_getstate(self)  # type: ignore[attr-defined]

    def getstate(self: Any) -> Any:
        if defines_own_state(self):
            return inherited_getstate(self)
        return {KEY: _byte_format[0]().to_bytes(self)}

    def setstate(self: Any, state: dict[str, Any]) -> None:
        if state.keys() != {KEY}:
            inherited_setstate(self, state)
            return
        loaded = _byte_format[0]().from_bytes(state[KEY])
        if type(loaded) is not type(self):
            raise ValueError(
                f"A {type(self).__name__} was expected, the file holds a {type(loaded).__name__}."
            )
        self.__dict__ = loaded.__dict__

    # A base class with these methods would be one more in every method resolution order.
    inherited.__reduce_ex__, inherited.__getstate__, inherited.__setstate__ = reduce_ex, getstate, setstate
    return kind
