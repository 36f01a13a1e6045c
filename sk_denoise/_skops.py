"""State of estimators for skops, which stores bytes but no tensors."""

from __future__ import annotations

import copyreg
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

__all__ = ["state_in_bytes", "set_byte_format"]

T = TypeVar("T")

KEY = "sk_denoise_file"


class ByteFormat(Protocol):
    """A module that turns estimators into bytes and back."""

    def to_bytes(self, estimator: Any) -> bytes:
        """Return an estimator as the bytes of a file."""
        ...

    def from_bytes(self, data: bytes) -> Any:
        """Return the estimator in the bytes of a file."""
        ...


_byte_format: list[Callable[[], ByteFormat]] = []


def set_byte_format(importer: Callable[[], ByteFormat]) -> None:
    """Set the function that imports the byte format."""
    # The format is a layer above estimators, which cannot import it.
    _byte_format[:] = [importer]


def state_in_bytes(kind: type[T]) -> type[T]:
    """Give the attributes of an estimator to pickle, and bytes to skops.

    Python calls ``__reduce_ex__`` for a pickle or a copy and then leaves ``__getstate__`` alone, so that
    pickle, copy and joblib get the attributes. skops ignores ``__reduce_ex__`` and calls ``__getstate__``.
    A subclass that defines its own state replaces both.

    Parameters
    ----------
    kind : type
        A class of estimators. The three methods are added to it.

    Returns
    -------
    type
        The same class.
    """
    # A base class with these methods would be one more in every method resolution order.
    inherited: Any = kind
    inherited_getstate, inherited_setstate = inherited.__getstate__, inherited.__setstate__

    def defines_own_state(estimator: Any) -> bool:
        own: Any = type(estimator)
        return own.__getstate__ is not getstate or own.__reduce__ is not object.__reduce__

    def reduce_ex(self: Any, protocol: Any) -> Any:
        if defines_own_state(self):
            return object.__reduce_ex__(self, protocol)
        # As protocols 2 and up do, for all protocols, but with the inherited __getstate__.
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
        # The class stands in the file of skops, where its user may have trusted that class alone.
        if type(loaded) is not type(self):
            raise ValueError(
                f"A {type(self).__name__} was expected, the file holds a {type(loaded).__name__}."
            )
        self.__dict__ = loaded.__dict__

    inherited.__reduce_ex__, inherited.__getstate__, inherited.__setstate__ = reduce_ex, getstate, setstate
    return kind
