"""Scorers for model selection that meet every candidate with the same noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import clone
from sklearn.metrics import get_scorer
from sklearn.pipeline import Pipeline
from sklearn.utils import check_array

from sk_denoise._random import root_seed, stream
from sk_denoise._validation import (
    Noiser,
    as_float,
    as_tensor,
    check_noiser,
    check_one_of,
    data_range_of,
    is_clean_side,
    noisers_in,
    restore_container,
)
from sk_denoise.metrics._functions import mse, nmse, psnr, ssim

__all__ = ["make_denoising_scorer", "make_robustness_scorer"]

# name: (metric, whether it needs a data range, sign that makes greater better)
METRICS: dict[str, tuple[Callable[..., float], bool, int]] = {
    "psnr": (psnr, True, 1),
    "ssim": (ssim, True, 1),
    "mse": (mse, False, -1),
    "nmse": (nmse, False, -1),
}


@dataclass(frozen=True)
class _DenoisingScorer:
    noiser: Noiser
    metric: str
    data_range: float | None

    def __call__(self, estimator: Any, X: ArrayLike, y: Any = None) -> float:
        _refuse_noisy(estimator, self.noiser)
        prediction = estimator.predict(_corrupt(self.noiser, X, copy=0))
        clean = y if is_clean_side(y, X) else X
        truth, last = _through_earlier_steps(estimator, clean)
        truth = np.asarray(truth)
        metric, needs_range, sign = METRICS[self.metric]
        keywords: dict[str, Any] = {}
        if needs_range:
            keywords["data_range"] = data_range_of(truth) if self.data_range is None else self.data_range
        if metric is ssim and truth.ndim == 2:
            keywords["image_shape"] = getattr(last, "image_shape_", None)
        return sign * metric(truth, prediction, **keywords)


@dataclass(frozen=True)
class _RobustnessScorer:
    noiser: Noiser
    scoring: str | Callable[..., float]
    n_copies: int

    def __call__(self, estimator: Any, X: ArrayLike, y: Any = None) -> float:
        _refuse_noisy(estimator, self.noiser)
        scorer = get_scorer(self.scoring)
        copies = (_corrupt(self.noiser, X, copy) for copy in range(self.n_copies))
        return float(np.mean([scorer(estimator, noisy, y) for noisy in copies]))


def make_denoising_scorer(
    noiser: Noiser, metric: str = "psnr", data_range: float | None = None
) -> Callable[..., float]:
    """Make a scorer that asks every candidate to denoise the same noise.

    Scored on its own noise, the candidate with the weakest noise always wins a search. This scorer
    corrupts the raw validation fold with one fixed draw, the same for every candidate, and compares the
    prediction with the clean fold, passed through the earlier steps of a pipeline.

    Parameters
    ----------
    noiser : noiser
        The noise to be removed, such as ``GaussianNoiser(0.3, random_state=0)``. It corrupts whatever its
        ``apply`` says; its statistics come from the clean fold; ``random_state=None`` counts as 0.
    metric : {"psnr", "ssim", "mse", "nmse"}, default="psnr"
        What is compared. The errors are negated, so that greater is better.
    data_range : float, optional
        For "psnr" and "ssim"; by default that of the clean fold after the earlier steps (the range of the
        type for 8- and 16-bit integers).

    Returns
    -------
    callable
        ``scorer(estimator, X, y=None) -> float``, for ``scoring=`` of searches and cross-validation. X is
        the clean fold; a y of the shape of X takes its place as the truth; other y is not looked at.

    Raises
    ------
    ValueError
        By the scorer, for an estimator that holds a noiser with ``apply="always"``.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sk_denoise import DenoisingAutoencoder, GaussianNoiser
    >>> from sk_denoise.metrics import make_denoising_scorer
    >>> X = load_digits().data / 16
    >>> scorer = make_denoising_scorer(GaussianNoiser(0.25, random_state=0), data_range=1)
    >>> dae = DenoisingAutoencoder(noise=GaussianNoiser(0.25), max_epochs=5, random_state=0)
    >>> scorer(dae.fit(X[:1000]), X[1000:]) > 12
    True
    """
    check_noiser(noiser)
    check_one_of(metric, METRICS, "metric")
    return _DenoisingScorer(noiser, metric, data_range)


def make_robustness_scorer(
    noiser: Noiser, scoring: str | Callable[..., float] = "accuracy", *, n_copies: int = 5
) -> Callable[..., float]:
    """Make a scorer that asks how well a pipeline predicts from noisy input.

    Parameters
    ----------
    noiser : noiser
        The noise of the deployment. It corrupts whatever its ``apply`` says; its statistics come from the
        validation fold; ``random_state=None`` counts as 0.
    scoring : str or callable, default="accuracy"
        A score of scikit-learn's, or ``scorer(estimator, X, y)``.
    n_copies : int, default=5
        Number of noisy copies of the validation fold; the score is their mean.

    Returns
    -------
    callable
        ``scorer(estimator, X, y) -> float``, for ``scoring=`` of searches and cross-validation.

    Raises
    ------
    ValueError
        By the scorer, for an estimator that holds a noiser with ``apply="always"``.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sk_denoise import GaussianNoiser
    >>> from sk_denoise.metrics import make_robustness_scorer
    >>> X, y = load_digits(return_X_y=True)
    >>> classifier = LogisticRegression().fit(X / 16, y)
    >>> scorer = make_robustness_scorer(GaussianNoiser(0.5, random_state=0))
    >>> scorer(classifier, X / 16, y) < classifier.score(X / 16, y)
    True
    """
    check_noiser(noiser)
    get_scorer(scoring)
    if n_copies < 1:
        raise ValueError(f"n_copies must be at least 1, got {n_copies!r}.")
    return _RobustnessScorer(noiser, scoring, n_copies)


def _corrupt(noiser: Any, X: ArrayLike, copy: int) -> Any:
    """Return the fold with the noise that belongs to this noiser and copy, whoever asks."""
    clean = as_float(np.asarray(check_array(X, dtype="numeric", allow_nd=True, ensure_2d=False)))
    seed = 0 if getattr(noiser, "random_state", None) is None else root_seed(noiser.random_state)
    noisy = clone(noiser).fit(clean).corrupt(as_tensor(clean), stream(seed, "scorer", copy))
    return restore_container(noisy.numpy(), X)


def _refuse_noisy(estimator: Any, noiser: Any) -> None:
    for held in noisers_in(estimator):
        if getattr(held, "apply", "fit") == "always":
            raise ValueError(
                f"This scorer adds the noise of {noiser!r} itself, and the estimator holds {held!r}, which "
                'would add more. Give that one apply="fit".'
            )


def _through_earlier_steps(estimator: Any, X: Any) -> tuple[Any, Any]:
    """Return X as the last step of a pipeline meets it, and that step."""
    estimator = getattr(estimator, "best_estimator_", estimator)
    if not isinstance(estimator, Pipeline):
        return X, estimator
    before = X if len(estimator) == 1 else estimator[:-1].transform(X)
    return _through_earlier_steps(estimator[-1], before)
