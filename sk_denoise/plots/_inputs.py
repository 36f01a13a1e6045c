"""Samples as they are drawn: stacks of images, lists of images of different sizes, signals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from sk_denoise._intensity import IntensityRange
from sk_denoise._validation import as_image_array, check_numbers, name_estimators, refuse_masked
from sk_denoise.comparison import Samples, checked_samples
from sk_denoise.metrics._fixed_noise import is_ragged

__all__ = [
    "Samples",
    "as_images",
    "as_samples",
    "as_signals",
    "check_fitted",
    "extremes_of",
    "name_of_estimator",
    "named_estimators",
    "range_of",
    "step_in",
]


def as_samples(samples: Any, name: str) -> Samples:
    """Return samples as an array (n_samples, ...) of finite numbers, or as a list where sizes differ."""
    refuse_masked(samples, name)
    if is_ragged(samples):
        return checked_samples([as_image_array(x) for x in samples], name)
    array = check_numbers(samples, name)
    if array.ndim < 2:
        raise ValueError(
            f"{name} has shape {array.shape}, expected (n_samples, ...). A single sample needs a first axis: "
            "x[None]."
        )
    return array


def as_images(samples: Any, image_shape: Sequence[int] | None, name: str, otherwise: str) -> Samples:
    """Return samples as (n_samples, height, width[, 3]), or as a list of such where sizes differ.

    ``otherwise`` says what to do with rows that are no images.
    """
    images = as_samples(samples, name)
    if isinstance(images, list):
        if image_shape is not None:
            raise ValueError(
                f"image_shape={tuple(image_shape)} is for flat rows, {name} holds images of many sizes."
            )
        return [x.reshape(_drawn_shape(x.shape, name)) for x in images]
    shape = images.shape[1:] if image_shape is None else tuple(image_shape)
    if len(shape) == 1:
        raise ValueError(
            f"{name} holds flat rows of {shape[0]} values. Give image_shape=(height, width) or "
            f"(height, width, channels) where they are images{otherwise}."
        )
    if math.prod(shape) != math.prod(images.shape[1:]):
        raise ValueError(f"image_shape={shape} does not fit {name}, whose samples have {images.shape[1:]}.")
    return images.reshape(len(images), *_drawn_shape(shape, name))


def _drawn_shape(shape: tuple[int, ...], name: str) -> tuple[int, ...]:
    """Return the shape of an image without an axis for a single channel."""
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in (1, 3)):
        raise ValueError(
            f"{name} holds samples of shape {shape}; images are (height, width), (height, width, 1) or "
            "(height, width, 3)."
        )
    return shape[:2] if shape[2:] == (1,) else shape


def as_signals(samples: Any, name: str) -> NDArray[Any]:
    """Return samples as rows (n_samples, length)."""
    rows = as_samples(samples, name)
    if isinstance(rows, list) or rows.ndim != 2 or rows.shape[1] < 2:
        shape = "images of different sizes" if isinstance(rows, list) else f"shape {rows.shape}"
        raise ValueError(f'kind="signals" draws rows (n_samples, length) as lines, {name} has {shape}.')
    return rows


def extremes_of(clean: Samples) -> tuple[float, float]:
    """Return the smallest and the largest value, a little apart where they are one."""
    low, high = float(min(x.min() for x in clean)), float(max(x.max() for x in clean))
    return (low, high) if low < high else (low, low + 1.0)


def range_of(clean: Samples) -> float:
    """Return the range that a PSNR of this clean data refers to."""
    pixels = np.concatenate([x.ravel() for x in clean]) if isinstance(clean, list) else clean
    return IntensityRange.of_clean(pixels).span


def named_estimators(estimators: Any) -> dict[str, Any]:
    """Return estimators by name; in a list they are called as ``make_pipeline`` calls its steps."""
    if isinstance(estimators, Mapping):
        named = {str(name): estimator for name, estimator in estimators.items()}
    elif isinstance(estimators, list | tuple):
        named = dict(name_estimators(estimators))
    else:
        raise TypeError(
            "estimators must be a dict of name and fitted estimator, or a list of estimators, got "
            f"{estimators!r}. A single one goes to from_estimator."
        )
    if not named:
        raise ValueError("estimators is empty: give at least one.")
    return named


def name_of_estimator(estimator: Any, name: str | None) -> str:
    """Return what an estimator is called where it stands alone."""
    return type(estimator).__name__ if name is None else str(name)


def check_fitted(estimator: Any, caller: str) -> None:
    """Check that something is a fitted estimator, or predicts without a fit."""
    if isinstance(estimator, type) or not (hasattr(estimator, "fit") or hasattr(estimator, "predict")):
        hint = f" Did you mean {estimator.__name__}(), fitted?" if isinstance(estimator, type) else ""
        raise TypeError(f"{caller} takes a fitted estimator, got {estimator!r}.{hint}")
    if not hasattr(estimator, "best_estimator_") and getattr(estimator, "refit", True) is False:
        raise NotFittedError(
            f"This {type(estimator).__name__} has no best_estimator_: {caller} needs a search with "
            "refit=True, fitted."
        )
    if not hasattr(estimator, "fit"):
        return
    try:
        check_is_fitted(getattr(estimator, "best_estimator_", estimator))
    except NotFittedError:
        raise NotFittedError(
            f"This {type(estimator).__name__} is not fitted, and {caller} trains nothing: call fit first."
        ) from None


def step_in(estimator: Any, kinds: tuple[type, ...]) -> tuple[list[Any], Any]:
    """Return the last step of these kinds in a pipeline or search, and the steps before it, else None."""
    estimator = getattr(estimator, "best_estimator_", estimator)
    if isinstance(estimator, kinds):
        return [], estimator
    steps: Sequence[Any] = [step for _, step in estimator.steps] if isinstance(estimator, Pipeline) else ()
    for place in reversed(range(len(steps))):
        before, found = step_in(steps[place], kinds)
        if found is not None:
            return [*(x for x in steps[:place] if x not in (None, "passthrough")), *before], found
    return [], None
