"""Scorers for model selection that meet every candidate with the same noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import get_scorer

from sk_denoise._compat import to_array_type_of, to_numpy
from sk_denoise._intensity import IntensityRange
from sk_denoise._validation import (
    Noiser,
    Scorer,
    as_image_array,
    check_lengths,
    check_noiser,
    check_one_of,
    is_clean_side,
    refuse_masked,
    restore_container,
)
from sk_denoise.metrics._fixed_noise import (
    corrupt_each,
    corrupt_fold,
    is_ragged,
    predict_in_unit,
    refuse_noisy,
    seed_of,
    takes_images,
    through_earlier_steps,
    unit_of,
)
from sk_denoise.metrics._functions import check_data_range, mean_over_samples, mse, nmse, psnr, ssim

__all__ = ["make_denoising_scorer", "make_robustness_scorer"]

# name: (metric, whether it needs a data range, sign that makes greater better)
METRICS: dict[str, tuple[Callable[..., float], bool, int]] = {
    "psnr": (psnr, True, 1),
    "ssim": (ssim, True, 1),
    "mse": (mse, False, -1),
    "nmse": (nmse, False, -1),
}


@dataclass(eq=False)  # each is itself alone, as those of scikit-learn are
class _DenoisingScorer(Scorer):
    noiser: Noiser
    seed: int
    metric: str
    data_range: float | None

    def score(
        self, estimator: Any, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> float:
        refuse_noisy(estimator, self.noiser)
        check_lengths(X, y)
        refuse_masked(X, "X")
        refuse_masked(y, "y")
        if takes_images(estimator):
            # channels last
            X, y = (as_image_array(side) if getattr(side, "ndim", 0) == 4 else side for side in (X, y))
        if is_ragged(X):
            return self._score_list(estimator, X, y if is_ragged(y) else X, sample_weight)
        here = to_numpy(X)
        clean = (
            to_array_type_of(X, restore_container(np.asarray(to_numpy(y)), here))
            if is_clean_side(y, here)
            else X
        )
        truth, last = through_earlier_steps(estimator, clean)
        truth = np.asarray(to_numpy(truth))
        noisy = to_array_type_of(X, corrupt_fold(self.noiser, here, self.seed, copy=0))
        prediction = to_numpy(predict_in_unit(estimator, noisy, unit_of(last, truth)))
        metric, needs_range, sign = METRICS[self.metric]
        keywords: dict[str, Any] = {"sample_weight": sample_weight}
        if needs_range:
            keywords["data_range"] = (
                IntensityRange.of_clean(truth).span if self.data_range is None else self.data_range
            )
        if metric is ssim and truth.ndim == 2:
            keywords["image_shape"] = getattr(last, "image_shape_", None)
        return sign * metric(truth, prediction, **keywords)

    def _score_list(
        self, estimator: Any, X: list[Any], y: list[Any], sample_weight: ArrayLike | None
    ) -> float:
        """Return the mean score of images of different sizes."""
        clean, truths = ([np.asarray(as_image_array(x)) for x in side] for side in (X, y))
        unit = unit_of(getattr(estimator, "best_estimator_", estimator), truths[0])
        predictions = predict_in_unit(estimator, corrupt_each(self.noiser, clean, self.seed), unit)
        metric, needs_range, sign = METRICS[self.metric]
        keywords: dict[str, Any] = {}
        if needs_range:
            pixels = np.concatenate([truth.ravel() for truth in truths])
            keywords["data_range"] = (
                IntensityRange.of_clean(pixels).span if self.data_range is None else self.data_range
            )
        pairs = zip(truths, predictions, strict=True)
        scores = [metric(t[None], x[None], **keywords) for t, x in pairs]
        return sign * mean_over_samples(np.array(scores), sample_weight)


@dataclass(eq=False)  # each is itself alone, as those of scikit-learn are
class _RobustnessScorer(Scorer):
    noiser: Noiser
    seed: int
    scoring: str | Callable[..., float]
    n_copies: int

    def score(self, estimator: Any, X: ArrayLike, y: Any = None, **metadata: Any) -> float:
        refuse_noisy(estimator, self.noiser)
        scorer = get_scorer(self.scoring)
        here = to_numpy(X)
        copies = (corrupt_fold(self.noiser, here, self.seed, copy) for copy in range(self.n_copies))
        return float(
            np.mean([scorer(estimator, to_array_type_of(X, noisy), y, **metadata) for noisy in copies])
        )


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
        ``scorer(estimator, X, y=None, sample_weight=None) -> float``, for ``scoring=`` of searches and
        cross-validation. X is the clean fold; a y of the shape of X takes its place as the truth; other y is
        not looked at. X may be a list of images of different sizes, for an estimator that takes such.

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
    if data_range is not None:
        check_data_range(data_range)
    return _DenoisingScorer(noiser, seed_of(noiser), metric, data_range)


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
        ``scorer(estimator, X, y, **metadata) -> float``, for ``scoring=`` of searches and cross-validation.

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
    if not isinstance(n_copies, int | np.integer) or n_copies < 1:
        raise ValueError(f"n_copies must be an integer of at least 1, got {n_copies!r}.")
    return _RobustnessScorer(noiser, seed_of(noiser), scoring, int(n_copies))
