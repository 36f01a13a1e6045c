"""State of estimators for skops, which stores no tensors: the bytes of a file of ours."""

from __future__ import annotations

import copyreg
from collections.abc import Callable
from typing import Any, Protocol

__all__ = ["StateInBytes", "take_bytes_from"]

KEY = "sk_denoise_file"


class ByteFormat(Protocol):
    """A module that turns estimators into bytes and back."""

    def to_bytes(self, estimator: Any) -> bytes:
        """Return an estimator as the bytes of a file."""
        ...

    def from_bytes(self, data: bytes) -> Any:
        """Return the estimator that the bytes of a file hold."""
        ...


_byte_format: list[Callable[[], ByteFormat]] = []


def take_bytes_from(byte_format: Callable[[], ByteFormat]) -> None:
    """Set the function that imports the byte format, which stands above the estimators that need it."""
    _byte_format[:] = [byte_format]


class StateInBytes:
    """Give the attributes of an estimator to pickle, and bytes to programs that store no tensors.

    Python asks ``__reduce_ex__`` about all that it pickles or copies and leaves ``__getstate__`` alone then,
    so pickle, copy and joblib get the attributes as they are. skops knows no ``__reduce_ex__`` and asks
    ``__getstate__``. What a subclass says of its own state comes before both.
    """

    def __reduce_ex__(self, protocol: Any) -> Any:
        if self._says_its_state():
            return super().__reduce_ex__(protocol)
        return copyreg.__newobj__, (type(self),), super().__getstate__()  # type: ignore[attr-defined]

    def __getstate__(self) -> Any:
        if self._says_its_state():
            return super().__getstate__()
        return {KEY: _byte_format[0]().to_bytes(self)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        if state.keys() != {KEY}:
            super().__setstate__(state)  # type: ignore[misc]
            return
        loaded = _byte_format[0]().from_bytes(state[KEY])
        if type(loaded) is not type(self):
            raise ValueError(
                f"A {type(self).__name__} was expected, the file holds a {type(loaded).__name__}."
            )
        self.__dict__ = loaded.__dict__

    def _says_its_state(self) -> bool:
        kind = type(self)
        return kind.__getstate__ is not StateInBytes.__getstate__ or kind.__reduce__ is not object.__reduce__
