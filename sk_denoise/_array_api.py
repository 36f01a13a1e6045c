"""Arrays of other libraries in and out, where scikit-learn's array API dispatch is on.

Everything below the door works on numpy arrays that share the memory of the processor. A method that is
``in_kind`` gives back what it was given: a torch tensor for a torch tensor, on its device.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
from sklearn import get_config
from torch import Tensor

from sk_denoise._clean_source import attach_source, carried_source
from sk_denoise._validation import refuse_channels_last

__all__ = ["in_kind", "in_kind_of", "on_host"]

Method = TypeVar("Method", bound=Callable[..., Any])


def in_kind(method: Method) -> Method:
    """Let a method answer in the kind of array that it is given, under array API dispatch.

    The method is one of an estimator, with samples as its first argument. Tensors that go to an estimator
    for images of any size have their channels first, ``(n, channels, height, width)``.
    """

    @functools.wraps(method)
    def answering(estimator: Any, X: Any, *others: Any, **options: Any) -> Any:
        if not (get_config()["array_api_dispatch"] and _is_foreign(X)):
            return method(estimator, X, *others, **options)
        with_channels = 4 if getattr(estimator, "_takes_any_size", False) else None
        here = [_on_host(side, with_channels) for side in (X, *others)]
        named = {name: _on_host(side, with_channels) for name, side in options.items()}
        return _in_kind_of(X, method(estimator, *here, **named), with_channels)

    return answering  # type: ignore[return-value]


def on_host(X: Any) -> Any:
    """Return the numpy array of an array of another library, under array API dispatch; all else as it is."""
    return _on_host(X, None) if get_config()["array_api_dispatch"] else X


def in_kind_of(X: Any, answer: Any) -> Any:
    """Return a numpy array as one of the library and on the device of X, under array API dispatch."""
    is_wanted = get_config()["array_api_dispatch"] and _is_foreign(X)
    return _in_kind_of(X, answer, None) if is_wanted else answer


def _is_foreign(X: Any) -> bool:
    """Return whether it is an array of another library than numpy, or a list of such."""
    if isinstance(X, list | tuple):
        return bool(X) and not isinstance(X[0], list | tuple) and _is_foreign(X[0])
    is_array = isinstance(X, Tensor) or hasattr(X, "__array_namespace__")
    return is_array and not isinstance(X, np.ndarray | np.generic)


def _on_host(X: Any, with_channels: int | None) -> Any:
    """Return the numpy array of what may be any array; all else as it is.

    Tensors with so many axes have their channels before the last two, and the arrays behind them.
    """
    if not _is_foreign(X):
        return X
    if isinstance(X, list | tuple):
        return [_on_host(item, with_channels and with_channels - 1) for item in X]
    if isinstance(X, Tensor):
        if with_channels is not None and X.ndim == with_channels:
            refuse_channels_last(tuple(X.shape))
        here = X.detach().cpu()
        array = (here.float() if here.dtype == torch.bfloat16 else here).numpy()
        array = np.moveaxis(array, -3, -1) if X.ndim == with_channels else array
    else:
        array = np.from_dlpack(X)
    source = carried_source(X)
    return array if source is None else attach_source(array, source)


def _in_kind_of(X: Any, answer: Any, with_channels: int | None) -> Any:
    """Return an answer, or several, as arrays of the library and on the device of X."""
    if isinstance(answer, tuple):
        return tuple(_in_kind_of(X, part, with_channels) for part in answer)
    if isinstance(X, list | tuple):
        inside = with_channels and with_channels - 1
        is_list = isinstance(answer, list)
        return [_in_kind_of(*pair, inside) for pair in zip(X, answer, strict=True)] if is_list else answer
    if not isinstance(answer, np.ndarray):
        return answer
    source, array = carried_source(answer), np.asarray(answer)
    made: Any
    if isinstance(X, Tensor):
        array = np.moveaxis(array, -1, -3) if array.ndim == X.ndim == with_channels else array
        made = torch.from_numpy(np.ascontiguousarray(array)).to(X.device)
    else:
        made = X.__array_namespace__().asarray(array, device=X.device)
    return made if source is None else attach_source(made, source)
