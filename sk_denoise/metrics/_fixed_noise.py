"""One fixed draw of noise on clean data, and what a pipeline makes of the clean side."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils import check_array

from sk_denoise._random import root_seed, stream
from sk_denoise._validation import as_float, as_tensor, noisers_in, restore_container

__all__ = ["corrupt_fold", "refuse_noisy", "seed_of", "through_earlier_steps"]


def seed_of(noiser: Any) -> int:
    """Return the seed of all draws, settled once so that they are the same for every candidate."""
    return 0 if getattr(noiser, "random_state", None) is None else root_seed(noiser.random_state)


def corrupt_fold(noiser: Any, X: ArrayLike, seed: int, copy: int) -> Any:
    """Return the fold with the noise that belongs to this noiser and copy, whoever asks."""
    clean = as_float(np.asarray(check_array(X, dtype="numeric", allow_nd=True, ensure_2d=False)))
    noisy = clone(noiser).fit(clean).corrupt(as_tensor(clean), stream(seed, "scorer", copy))
    return restore_container(noisy.numpy(), X)


def refuse_noisy(estimator: Any, noiser: Any) -> None:
    for held in noisers_in(getattr(estimator, "best_estimator_", estimator)):
        if getattr(held, "apply", "fit") == "always":
            raise ValueError(
                f"The noise of {noiser!r} is added to clean data, and the estimator holds {held!r}, which "
                'would add more. Give that one apply="fit".'
            )


def through_earlier_steps(estimator: Any, X: Any) -> tuple[Any, Any]:
    """Return X as the last step of a pipeline meets it, and that step."""
    estimator = getattr(estimator, "best_estimator_", estimator)
    if not isinstance(estimator, Pipeline):
        return X, estimator
    before = X if len(estimator) == 1 else estimator[:-1].transform(X)
    return through_earlier_steps(estimator[-1], before)
