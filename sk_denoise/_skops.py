"""State of estimators for skops, which stores bytes but no tensors."""

from __future__ import annotations

import copyreg
from collections.abc import Callable
from typing import Any, Protocol

__all__ = ["StateInBytes", "set_byte_format"]

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


class StateInBytes:
    """Attributes of an estimator for pickle, and bytes for skops.

    Python calls ``__reduce_ex__`` for a pickle or a copy and then leaves ``__getstate__`` alone, so that
    pickle, copy and joblib get the attributes. skops ignores ``__reduce_ex__`` and calls ``__getstate__``.
    A subclass that defines its own state replaces both.
    """

    def __reduce_ex__(self, protocol: Any) -> Any:
        if self._defines_state():
            return super().__reduce_ex__(protocol)
        # The default of protocols 2 and up, which also holds for 0 and 1: it calls no __getstate__ of ours.
        return copyreg.__newobj__, (type(self),), super().__getstate__()  # type: ignore[attr-defined]

    def __getstate__(self) -> Any:
        if self._defines_state():
            return super().__getstate__()
        return {KEY: _byte_format[0]().to_bytes(self)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        if state.keys() != {KEY}:
            super().__setstate__(state)  # type: ignore[misc]
            return
        loaded = _byte_format[0]().from_bytes(state[KEY])
        # The class stands in the file of skops, where its user may have trusted that class alone.
        if type(loaded) is not type(self):
            raise ValueError(
                f"A {type(self).__name__} was expected, the file holds a {type(loaded).__name__}."
            )
        self.__dict__ = loaded.__dict__

    def _defines_state(self) -> bool:
        kind = type(self)
        return kind.__getstate__ is not StateInBytes.__getstate__ or kind.__reduce__ is not object.__reduce__
