"""What methods make of noisy samples, and how long it takes them."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sk_denoise._intensity import IntensityRange, is_stored
from sk_denoise.comparison._samples import Samples
from sk_denoise.metrics._fixed_noise import back_through_earlier_steps

__all__ = ["answer_of"]


def answer_of(
    method: Any, asked: Any, noisy: Samples, image_shape: Sequence[int] | None, who: str
) -> tuple[Samples, float]:
    """Return what a method makes of noisy samples, checked, and how many seconds it took.

    ``asked`` are the noisy samples in the container that they came in.
    """
    own = copy.deepcopy(asked)  # a method may write into what it is given
    start = time.perf_counter()
    with _naming(who):
        if hasattr(method, "predict"):
            answer = back_through_earlier_steps(method, method.predict(own))
        else:
            answer = _one_by_one(method, own if isinstance(own, list) else np.asarray(own), image_shape)
    seconds = time.perf_counter() - start
    return _checked(answer, noisy, who), seconds


@contextmanager
def _naming(who: str) -> Iterator[None]:
    """Let errors say in which method they came up."""
    try:
        yield
    except Exception as error:
        error.add_note(f"{who}, in compare_denoisers.")
        raise


def _one_by_one(
    function: Callable[[NDArray[Any]], ArrayLike], noisy: Samples, image_shape: Sequence[int] | None
) -> list[Any]:
    if image_shape is None:
        return [function(x) for x in noisy]
    return [np.reshape(function(x.reshape(image_shape)), x.shape) for x in noisy]


def _checked(answer: Any, noisy: Samples, who: str) -> Samples:
    """Return an answer in the layout of the question, once it is known to be one."""
    parts = [np.asarray(x) for x in (answer if isinstance(answer, list | tuple) else np.atleast_1d(answer))]
    if len(parts) != len(noisy):
        raise ValueError(f"{who} gave {len(parts)} answers to {len(noisy)} images.")
    for place, (part, asked) in enumerate(zip(parts, noisy, strict=True)):
        if part.shape != asked.shape or part.dtype.kind not in "biuf":
            raise ValueError(
                f"{who} gave {part.dtype} of shape {part.shape} for image {place}, which has the shape "
                f"{asked.shape}: expected numbers of that shape."
            )
        if not np.isfinite(part).all():
            raise ValueError(f"{who} gave NaN or infinity for image {place}.")
        if is_stored(asked.dtype) and part.dtype.kind == "f" and np.abs(part).max() <= 1 < asked.max():
            raise ValueError(
                f"{who} answers in [0, 1] to {asked.dtype}. Compare images / "
                f"{IntensityRange.of(asked).white:g}, "
                "or let it answer in the unit of the images."
            )
    return parts if isinstance(noisy, list) else np.stack(parts)
