"""One fixed draw of noise on clean data, and what a pipeline makes of the clean side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from sk_denoise._intensity import UNIT, IntensityRange, has_image_depth
from sk_denoise._random import root_seed, stream
from sk_denoise._validation import (
    Noiser,
    as_float_array,
    as_image_array,
    as_tensor,
    check_numbers,
    find_noisers,
    restore_container,
)

__all__ = [
    "back_through_earlier_steps",
    "corrupt_any",
    "corrupt_each",
    "corrupt_fold",
    "is_ragged",
    "predict_in_unit",
    "refuse_noisy",
    "seed_of",
    "takes_images",
    "through_earlier_steps",
    "unit_of",
]


def seed_of(noiser: Any) -> int:
    """Return the seed of all draws, settled once so that they are the same for every candidate."""
    return 0 if getattr(noiser, "random_state", None) is None else root_seed(noiser.random_state)


def corrupt_fold(noiser: Any, X: ArrayLike, seed: int, copy: int) -> Any:
    """Return the fold with the noise that belongs to this noiser and copy, whoever asks."""
    clean = as_float_array(check_numbers(X, "X"))
    noisy = clone(noiser).fit(clean, clean).corrupt(as_tensor(clean), stream(seed, "scorer", copy))
    return restore_container(noisy.numpy(), X)


def corrupt_each(noiser: Any, images: Sequence[NDArray[Any]], seed: int) -> list[NDArray[Any]]:
    """Return images of different sizes with the noise that belongs to this noiser and their place.

    The noiser learns from all pixels together. A stack of one image would tell it that nothing varies,
    and noise that is relative to what varies would be none.
    """
    pixels = np.concatenate([as_float_array(x).reshape(-1, 1, 1, *x.shape[2:]) for x in images])
    fitted = clone(noiser).fit(pixels, pixels)
    return [
        fitted.corrupt(as_tensor(as_float_array(x))[None], stream(seed, "scorer", place)).numpy()[0]
        for place, x in enumerate(images)
    ]


def corrupt_any(noiser: Any, X: Any, seed: int) -> Any:
    """Return samples, or images of different sizes, with the first noise of this noiser."""
    if is_ragged(X):
        return corrupt_each(noiser, [np.asarray(as_image_array(x)) for x in X], seed)
    return corrupt_fold(noiser, X, seed, copy=0)


def is_ragged(X: Any) -> TypeGuard[list[Any]]:
    """Return whether it is a list of images of different sizes."""
    return isinstance(X, list | tuple) and len({np.shape(x) for x in X if hasattr(x, "ndim")}) > 1


def refuse_noisy(estimator: Any, noiser: Any) -> None:
    for held in find_noisers(getattr(estimator, "best_estimator_", estimator)):
        if getattr(held, "apply", "fit") == "always":
            raise ValueError(
                f"The noise of {noiser!r} is added to clean data, and the estimator holds {held!r}, which "
                'would add more. Give that one apply="fit".'
            )


def takes_images(estimator: Any) -> bool:
    """Return whether the last step takes images of any size, tensors with their channels first."""
    estimator = getattr(estimator, "best_estimator_", estimator)
    if isinstance(estimator, Pipeline):
        return takes_images(estimator[-1])
    return bool(getattr(estimator, "_takes_any_size", False))


def through_earlier_steps(estimator: Any, X: Any) -> tuple[Any, Any]:
    """Return X as the last step of a pipeline meets it, and that step."""
    estimator = getattr(estimator, "best_estimator_", estimator)
    if not isinstance(estimator, Pipeline):
        return X, estimator
    before = X if len(estimator) == 1 else estimator[:-1].transform(X)
    return through_earlier_steps(estimator[-1], before)


def unit_of(estimator: Any, samples: NDArray[Any]) -> IntensityRange | None:
    """Return the range of integers for an estimator that learned in another one, None where there is none.

    Noise turns integers into floats, which no longer tell it.
    """
    learned = getattr(estimator, "intensity_range_", None)
    if learned is None or not has_image_depth(samples.dtype) or not takes_images(estimator):
        return None
    counted = IntensityRange.of(samples)
    is_another = UNIT in (learned, counted) or counted.white > learned.white or samples.dtype.itemsize == 1
    return counted if is_another and counted != learned else None


def predict_in_unit(estimator: Any, noisy: Any, unit: IntensityRange | None) -> Any:
    """Return the prediction of an estimator from noisy floats, which are counted in a range."""
    if unit is None:
        return estimator.predict(noisy)
    learned = estimator_of(estimator).intensity_range_

    def there(x: Any) -> Any:
        return learned.from_unit(unit.to_unit(x))

    def back(x: Any) -> Any:
        return unit.from_unit(learned.to_unit(x))

    if isinstance(noisy, list):
        return [back(x) for x in estimator.predict([there(x) for x in noisy])]
    return back(estimator.predict(there(noisy)))


def estimator_of(estimator: Any) -> Any:
    """Return the denoiser at the end of a search or a pipeline."""
    estimator = getattr(estimator, "best_estimator_", estimator)
    return estimator_of(estimator[-1]) if isinstance(estimator, Pipeline) else estimator


def back_through_earlier_steps(estimator: Any, prediction: Any) -> Any:
    """Return what a pipeline predicts in the unit of what the pipeline was given."""
    estimator = getattr(estimator, "best_estimator_", estimator)
    if not isinstance(estimator, Pipeline):
        return prediction
    prediction = back_through_earlier_steps(estimator[-1], prediction)
    for name, step in reversed(estimator.steps[:-1]):
        if step in (None, "passthrough") or isinstance(step, Noiser):
            continue
        if hasattr(step, "inverse_transform"):
            prediction = step.inverse_transform(prediction)
        elif not hasattr(step, "predict"):  # what predicts here is a denoiser, which keeps the unit
            raise ValueError(
                f"The step {name!r} of the pipeline changes the data and has no inverse_transform, so its "
                "predictions cannot be compared with the data it was given."
            )
    return prediction
