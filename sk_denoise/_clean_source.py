"""Clean source of noisy data.

The output of a noiser's ``fit_transform`` is an array or frame that carries its clean data. An estimator
directly after the noiser trains on fresh corruptions of them in place of the one frozen draw. A fingerprint
shows whether the values are still those that the noiser returned.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["CleanSource", "NoisedArray", "attach_source", "carried_source", "fingerprint_of"]

_KEY = "sk_denoise_clean_source"


@dataclass(frozen=True, eq=False)
class CleanSource:
    """Clean data, their noiser and a fingerprint of the noisy values.

    Parameters
    ----------
    clean : ndarray of shape (n_samples, ...)
        Read-only copy of the clean data, in their own type.
    noiser : noiser
        Specification of the noise: an without_fitted_state clone.
    fingerprint : int
        Checksum over the noisy values, their type and shape.
    """

    clean: NDArray[Any]
    noiser: Any
    fingerprint: int

    @classmethod
    def of(cls, clean: NDArray[Any], noiser: Any, noisy: NDArray[Any]) -> CleanSource:
        """Record that ``noiser`` made ``noisy`` from ``clean``."""
        return cls(np.array(clean), noiser, fingerprint_of(noisy))

    def __post_init__(self) -> None:
        self.clean.flags.writeable = False

    def __reduce__(self) -> tuple[Any, ...]:
        # By the constructor, because an array unpickles writeable.
        return type(self), (self.clean, self.noiser, self.fingerprint)

    def describes(self, X: Any) -> bool:
        """Return whether X still holds the noisy values, in their order."""
        values = np.asarray(X)
        return not values.dtype.hasobject and fingerprint_of(values) == self.fingerprint

    def __deepcopy__(self, memo: dict[int, Any]) -> CleanSource:
        # It is immutable.
        return self


def fingerprint_of(array: NDArray[Any]) -> int:
    """Return a checksum over values, type and shape."""
    header = f"{array.dtype.str}{array.shape}".encode()
    return zlib.crc32(np.ascontiguousarray(array).view(np.uint8).reshape(-1).data, zlib.crc32(header))


class NoisedArray(np.ndarray):
    """Array that carries its clean source.

    Copies, views, slices and pickles carry it too. ``numpy.asarray`` returns a plain array without a source.
    """

    _source: CleanSource | None = None

    def __array_finalize__(self, obj: Any) -> None:
        self._source = getattr(obj, "_source", None)

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        return array[()] if return_scalar else array.view(type(self))._with_source(self._source)

    # numpy's own method returns a plain array.
    def round(self, decimals: Any = 0, out: Any = None) -> Any:
        return super().round(decimals, out=out).view(type(self))._with_source(self._source)

    def _with_source(self, source: CleanSource | None) -> NoisedArray:
        self._source = source
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        rebuild, arguments, state, *_ = tuple(super().__reduce__())
        return rebuild, arguments, (state, self._source)

    def __setstate__(self, state: Any) -> None:
        array_state, self._source = state
        super().__setstate__(array_state)


class _Attachment(dict[str, Any]):
    """Dictionary that holds a source in ``attrs`` of a pandas frame.

    It is empty for writers of JSON, such as ``to_parquet``.
    """

    def __init__(self, source: CleanSource) -> None:
        super().__init__()
        self.source = source

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.source,)

    def __deepcopy__(self, memo: dict[int, Any]) -> _Attachment:
        # pandas copies attrs deeply in most operations, which would copy the data each time.
        return self


def attach_source(noised: Any, source: CleanSource) -> Any:
    """Return the noised array or frame with its source.

    Arrays become a :class:`NoisedArray`, pandas frames hold it in ``attrs``, and a polars frame holds it in
    an attribute of the object, which its slices and pickles lose.
    """
    if isinstance(noised, np.ndarray):
        return noised.view(NoisedArray)._with_source(source)
    if hasattr(noised, "attrs"):
        noised.attrs[_KEY] = _Attachment(source)
    else:
        setattr(noised, _KEY, source)
    return noised


def carried_source(X: Any) -> CleanSource | None:
    """Return the source that X carries, or None; X may have been edited since."""
    if isinstance(X, NoisedArray):
        return X._source
    attributes = getattr(X, "attrs", None)
    if isinstance(attributes, dict) and isinstance(attributes.get(_KEY), _Attachment):
        return attributes[_KEY].source  # type: ignore[no-any-return]
    return getattr(X, _KEY, None)
