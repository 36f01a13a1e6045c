"""Scorers for model selection with the same noise for every candidate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.metrics import get_scorer
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags

from sk_denoise._clean_source import carried_source
from sk_denoise._compat import to_array_type_of, to_numpy
from sk_denoise._intensity import UNIT, IntensityRange, has_image_depth
from sk_denoise._random import root_seed, stream
from sk_denoise._validation import (
    Noiser,
    Scorer,
    as_float_array,
    as_image_array,
    as_numeric_array,
    as_tensor,
    check_choice,
    check_lengths,
    check_noiser,
    check_numbers,
    check_one_of,
    find_noisers,
    is_clean_side,
    refuse_masked,
    restore_container,
)
from sk_denoise.metrics._metrics import (
    check_data_range,
    find_column_gains,
    is_table,
    luminance_psnr,
    mean_over_samples,
    mse,
    nmse,
    psnr,
    ssim,
)
from sk_denoise.metrics._signal_metrics import cosine_similarity, mad, prd, snr, snr_gain, ssd

__all__ = [
    "apply_earlier_steps",
    "border_of",
    "corrupt_array",
    "corrupt_images",
    "corrupt_samples",
    "foreign_range",
    "invert_earlier_steps",
    "is_ragged",
    "make_denoising_scorer",
    "make_robustness_scorer",
    "noise_seed",
    "predict_in_range",
    "refuse_noise_in_estimator",
    "takes_images",
]


class Metric(NamedTuple):
    """A metric of clean and denoised samples, as scorers and comparisons compute it.

    Attributes
    ----------
    function : callable
        ``function(truth, prediction, ...)``, with the noisy samples between the two for ``needs_noisy``.
    sign : int
        Sign that makes greater better.
    needs_range : bool
        Whether it takes ``data_range``.
    needs_noisy : bool
        Whether it compares with the noisy samples, too.
    is_of_signals : bool
        Whether it takes signals in the unit of the data. Others take rows of tables, and images.
    is_of_images : bool
        Whether it takes nothing but images.
    has_border : bool
        Whether it takes a ``border`` that does not count, as wide as the factor by which noise reduces
        images.
    """

    function: Callable[..., float]
    sign: int = 1
    needs_range: bool = False
    needs_noisy: bool = False
    is_of_signals: bool = False
    is_of_images: bool = False
    has_border: bool = False

    def measure(self, truth: Any, noisy: Any, prediction: Any, **keywords: Any) -> float:
        """Return the metric in its own sign."""
        if self.needs_noisy:
            return self.function(truth, noisy, prediction, **keywords)
        return self.function(truth, prediction, **keywords)


METRICS: dict[str, Metric] = {
    "psnr": Metric(psnr, needs_range=True),
    "ssim": Metric(ssim, needs_range=True),
    "mse": Metric(mse, sign=-1),
    "nmse": Metric(nmse, sign=-1),
    "luminance_psnr": Metric(luminance_psnr, needs_range=True, is_of_images=True, has_border=True),
    "ssd": Metric(ssd, sign=-1, is_of_signals=True),
    "mad": Metric(mad, sign=-1, is_of_signals=True),
    "prd": Metric(prd, sign=-1, is_of_signals=True),
    "cosine_similarity": Metric(cosine_similarity, is_of_signals=True),
    "snr": Metric(snr, is_of_signals=True),
    "snr_gain": Metric(snr_gain, needs_noisy=True, is_of_signals=True),
}


def make_denoising_scorer(
    noiser: Noiser,
    metric: str = "psnr",
    data_range: float | None = None,
    *,
    units: Literal["auto", "scaled", "data"] = "auto",
) -> Callable[..., float]:
    """Make a scorer of how well a candidate removes a fixed draw of noise.

    Scored on its own noise, the candidate with the weakest noise always wins a search. This scorer
    corrupts the raw validation fold with one fixed draw, the same for every candidate, and compares the
    prediction with the clean fold after the earlier steps of a pipeline.

    Parameters
    ----------
    noiser : noiser
        Noise to be removed, such as ``GaussianNoiser(0.3, random_state=0)``. It corrupts with any ``apply``;
        its statistics come from the clean fold; ``random_state=None`` counts as 0.
    metric : {"psnr", "ssim", "mse", "nmse", "luminance_psnr", "ssd", "mad", "prd", "cosine_similarity", \
            "snr", "snr_gain"}, default="psnr"
        Metric of the prediction. Errors are negated, so that greater is better. "luminance_psnr" is for
        images, without a border of the ``size_factor`` of a noiser that reduces them. Those from "ssd" on are
        for signals, and are computed in the unit of the data.
    data_range : float, optional
        Data range for "psnr", "ssim" and "luminance_psnr"; by default that of the clean fold after the
        earlier steps (the range of the type for 8- and 16-bit integers). In the unit of the data, or in
        spreads for ``units="scaled"``.
    units : {"auto", "scaled", "data"}, default="auto"
        Unit of errors. "data": that of the data, in which only the columns of the largest units count.
        "scaled": the spread of each column in the clean fold, after the earlier steps; columns that are
        constant there do not count. "auto" takes "scaled" for the rows of a table without ``data_range``:
        numbers outside of [0, 1] and without the smoothness of signals. Images are in the unit of the data.

    Returns
    -------
    callable
        ``scorer(estimator, X, y=None, sample_weight=None) -> float``, for ``scoring=`` of searches and
        cross-validation. X is the clean fold; a y of the shape of X takes its place as the truth; any other
        y is ignored. X may be a list of images or signals of different sizes, for an estimator that takes
        these.

    Raises
    ------
    ValueError
        If the scorer is called with an estimator that holds a noiser with ``apply="always"``.

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
    check_choice(units, "units", "auto", "scaled", "data")
    if data_range is not None:
        check_data_range(data_range)
    return _DenoisingScorer(noiser, noise_seed(noiser), metric, data_range, units)


def make_robustness_scorer(
    noiser: Noiser, scoring: str | Callable[..., float] = "accuracy", *, n_copies: int = 5
) -> Callable[..., float]:
    """Make a scorer of how well a pipeline predicts from noisy input.

    Parameters
    ----------
    noiser : noiser
        Noise of the deployment. It corrupts with any ``apply``; its statistics come from the validation fold;
        ``random_state=None`` counts as 0.
    scoring : str or callable, default="accuracy"
        Name of a score of scikit-learn, or ``scorer(estimator, X, y)``.
    n_copies : int, default=5
        Number of noisy copies of the validation fold; the score is their mean.

    Returns
    -------
    callable
        ``scorer(estimator, X, y, **metadata) -> float``, for ``scoring=`` of searches and cross-validation.

    Raises
    ------
    ValueError
        If the scorer is called with an estimator that holds a noiser with ``apply="always"``.

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
    return _RobustnessScorer(noiser, noise_seed(noiser), scoring, int(n_copies))


# Scorers compare by identity, as those of scikit-learn do.
@dataclass(eq=False)
class _DenoisingScorer(Scorer):
    noiser: Noiser
    seed: int
    metric: str
    data_range: float | None
    units: Literal["auto", "scaled", "data"]

    def score(
        self, estimator: Any, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> float:
        refuse_noise_in_estimator(estimator, self.noiser)
        check_lengths(X, y)
        refuse_masked(X, "X")
        refuse_masked(y, "y")
        if getattr(_last_estimator(estimator), "ignore_y", False):
            y = None
        if takes_images(estimator):
            # Stacks of tensors have their channels first.
            X, y = (as_image_array(side) if getattr(side, "ndim", 0) == 4 else side for side in (X, y))
        if is_ragged(X) or _is_of_other_size(X, estimator):
            return self._score_list(estimator, X, y if _is_list_like(y, X) else X, sample_weight)
        here = to_numpy(X)
        takes_gaps = _takes_gaps(estimator)
        clean = (
            to_array_type_of(X, restore_container(np.asarray(to_numpy(y)), here))
            if is_clean_side(y, here, names=getattr(X, "columns", None))
            else X
        )
        truth, last = apply_earlier_steps(estimator, clean)
        truth = np.asarray(to_numpy(truth))
        noisy = to_array_type_of(
            X, corrupt_array(self.noiser, here, self.seed, copy=0, allow_gaps=takes_gaps)
        )
        prediction = to_numpy(predict_in_range(estimator, noisy, foreign_range(last, truth)))
        metric = METRICS[self.metric]
        shown = truth
        if metric.needs_noisy:
            shown = np.asarray(to_numpy(apply_earlier_steps(estimator, noisy)[0]))
        if takes_gaps:
            known = ~_find_gaps(as_numeric_array(clean))
            # Values that an earlier step filled in are no truth.
            if known.shape == truth.shape and not known.all():
                return self._score_known(truth, shown, np.asarray(prediction), known, last, sample_weight)
        # An error is in spreads, or, for a PSNR, a share of the data range of its column.
        gains = None
        if self._scales(truth, last):
            gains = find_column_gains(truth, self.data_range if metric.needs_range else 1.0)
        if gains is not None and gains.any():
            range_of_one = {"data_range": 1.0} if metric.needs_range else {}
            return metric.sign * metric.function(
                truth * gains, prediction * gains, sample_weight=sample_weight, **range_of_one
            )
        keywords = {"sample_weight": sample_weight, **self._range_of(truth)}
        if metric.function is ssim and truth.ndim == 2:
            keywords["image_shape"] = getattr(last, "image_shape_", None)
        return metric.sign * metric.measure(truth, shown, prediction, **keywords)

    def _score_known(
        self,
        truth: NDArray[Any],
        noisy: NDArray[Any],
        prediction: NDArray[Any],
        known: NDArray[np.bool_],
        last: Any,
        sample_weight: ArrayLike | None,
    ) -> float:
        """Return the mean score of the known entries of each row."""
        metric = METRICS[self.metric]
        complete = _fill_from_columns(np.where(known, truth, np.nan), self.seed)
        keywords, factors = self._range_of(truth[known]), np.ones(truth.shape[1])
        if self._scales(complete, last):
            gains = find_column_gains(complete, self.data_range if metric.needs_range else 1.0)
            if gains.any():
                keywords, factors = {"data_range": 1.0} if metric.needs_range else {}, gains
        rows = np.flatnonzero(known.any(axis=1))
        scores = [
            metric.measure(
                *((side * factors)[i, known[i]][None] for side in (truth, noisy, prediction)), **keywords
            )
            for i in rows
        ]
        weights = None if sample_weight is None else np.asarray(sample_weight)[rows]
        return metric.sign * mean_over_samples(np.array(scores), weights)

    def _score_list(
        self, estimator: Any, X: list[Any], y: list[Any], sample_weight: ArrayLike | None
    ) -> float:
        """Return the mean score of images of different sizes."""
        clean, truths = ([np.asarray(as_image_array(x)) for x in side] for side in (X, y))
        unit = foreign_range(getattr(estimator, "best_estimator_", estimator), truths[0])
        noisy = corrupt_images(self.noiser, clean, self.seed)
        # A method may write into its input.
        shown = [x.copy() for x in noisy]
        predictions = predict_in_range(estimator, noisy, unit)
        metric = METRICS[self.metric]
        keywords = self._range_of(np.concatenate([truth.ravel() for truth in truths]))
        samples = zip(truths, shown, predictions, strict=True)
        scores = [metric.measure(t[None], x[None], p[None], **keywords) for t, x, p in samples]
        return metric.sign * mean_over_samples(np.array(scores), sample_weight)

    def _scales(self, truth: NDArray[Any], last: Any) -> bool:
        """Return whether errors are scaled by the spread of their column."""
        are_rows = truth.ndim == 2 and getattr(last, "image_shape_", None) is None and not takes_images(last)
        # The entries of a signal share one unit.
        metric = METRICS[self.metric]
        is_of_rows = self.metric != "ssim" and not (metric.is_of_signals or metric.is_of_images)
        if self.units == "scaled":
            if not are_rows or not is_of_rows:
                raise ValueError(
                    'units="scaled" scales the columns of a table, and these are images, or '
                    f'metric="{self.metric}" compares images or signals. Use units="data" or "auto".'
                )
            return True
        is_automatic = self.units == "auto" and self.data_range is None
        return is_automatic and are_rows and is_of_rows and is_table(truth)

    def _range_of(self, truth: NDArray[Any]) -> dict[str, Any]:
        """Return data range and border as keywords, for metrics that need them."""
        metric = METRICS[self.metric]
        if not metric.needs_range:
            return {}
        border = {"border": border_of(getattr(self.noiser, "size_factor", 1))} if metric.has_border else {}
        return border | {
            "data_range": IntensityRange.of_clean(truth).span if self.data_range is None else self.data_range
        }


@dataclass(eq=False)
class _RobustnessScorer(Scorer):
    noiser: Noiser
    seed: int
    scoring: str | Callable[..., float]
    n_copies: int

    def score(self, estimator: Any, X: ArrayLike, y: Any = None, **metadata: Any) -> float:
        refuse_noise_in_estimator(estimator, self.noiser)
        scorer = get_scorer(self.scoring)
        refuse_masked(y, "y")
        here = to_numpy(X)
        takes_gaps = _takes_gaps(estimator)
        copies = (
            corrupt_array(self.noiser, here, self.seed, copy, allow_gaps=takes_gaps)
            for copy in range(self.n_copies)
        )
        return float(
            np.mean([scorer(estimator, to_array_type_of(X, noisy), y, **metadata) for noisy in copies])
        )


def border_of(size_factor: int) -> int:
    """Return the width of the border that does not count, in pixels."""
    return size_factor if size_factor > 1 else 0


# Fixed noise --------------------------------------------------------------------------------------------


def noise_seed(noiser: Any) -> int:
    """Return the seed of all draws of a noiser."""
    # Drawn once from a RandomState, so that the noise is the same for every candidate.
    return 0 if getattr(noiser, "random_state", None) is None else root_seed(noiser.random_state)


def corrupt_array(noiser: Any, X: ArrayLike, seed: int, copy: int, *, allow_gaps: bool = False) -> Any:
    """Return samples with the noise of a seed and the number of a copy.

    Parameters
    ----------
    noiser : noiser
        The noise, fitted to X.
    X : array-like
        Clean samples.
    seed, copy : int
        Source of the noise.
    allow_gaps : bool, default=False
        Whether rows may have NaN for missing entries, which stay missing.
    """
    clean = as_float_array(check_numbers(X, "X", allow_gaps=allow_gaps))
    gaps = _find_gaps(clean)
    if gaps.any() and not getattr(noiser, "_takes_gaps", False):
        # Noise has the statistics of known entries.
        clean = _fill_from_columns(clean, seed)
    # Names and types of columns are in the frame alone. Frames with noise of their own would be refused.
    table = X if hasattr(X, "columns") and carried_source(X) is None else clean
    if gaps.any() and table is X:
        table = restore_container(clean, X)
    noisy = clone(noiser).fit(table, table).corrupt(as_tensor(clean), stream(seed, "scorer", copy)).numpy()
    return restore_container(np.where(gaps, np.nan, noisy) if gaps.any() else noisy, X)


def _find_gaps(samples: NDArray[Any]) -> NDArray[np.bool_]:
    """Return the entries of an array that are missing."""
    return np.isnan(samples) if samples.dtype.kind == "f" else np.zeros(samples.shape, dtype=bool)


def _fill_from_columns(rows: NDArray[Any], seed: int) -> NDArray[Any]:
    """Return rows with random known entries of the same column in their gaps."""
    rng, filled = np.random.default_rng(seed), rows.copy()
    for column in filled.T:
        gaps = np.isnan(column)
        column[gaps] = rng.choice(column[~gaps], int(gaps.sum())) if not gaps.all() else 0.0
    return filled


def _takes_gaps(estimator: Any) -> bool:
    """Return whether an estimator, or the first step of a pipeline, takes NaN."""
    estimator = getattr(estimator, "best_estimator_", estimator)
    # The tags of a pipeline leave this out.
    if isinstance(estimator, Pipeline):
        return _takes_gaps(
            next(
                (step for _, step in estimator.steps if step not in (None, "passthrough")),
                estimator.steps[-1][1],
            )
        )
    try:
        return bool(get_tags(estimator).input_tags.allow_nan)
    # Estimators of users may have no tags.
    except (AttributeError, TypeError):
        return False


def corrupt_images(noiser: Any, images: Sequence[NDArray[Any]], seed: int) -> list[NDArray[Any]]:
    """Return images of different sizes with the noise of a seed and their place."""
    # The noiser learns from all pixels together. In a stack of one image no pixel varies, so noise relative
    # to the variation would be zero.
    pixels = np.concatenate([as_float_array(x).reshape(-1, 1, 1, *x.shape[2:]) for x in images])
    fitted = clone(noiser).fit(pixels, pixels)
    return [
        fitted.corrupt(as_tensor(as_float_array(x))[None], stream(seed, "scorer", place)).numpy()[0]
        for place, x in enumerate(images)
    ]


def corrupt_samples(noiser: Any, X: Any, seed: int) -> Any:
    """Return samples, or images of different sizes, with the first noise of a seed."""
    if is_ragged(X):
        return corrupt_images(noiser, [np.asarray(as_image_array(x)) for x in X], seed)
    return corrupt_array(noiser, X, seed, copy=0)


def is_ragged(X: Any) -> TypeGuard[list[Any]]:
    """Return whether X is a list of images or signals of different sizes."""
    return isinstance(X, list | tuple) and len({np.shape(x) for x in X if hasattr(x, "ndim")}) > 1


def _is_of_other_size(X: Any, estimator: Any) -> TypeGuard[list[Any]]:
    """Return whether X is a list of arrays of one shape, and the fit saw another.

    A fold of a list of signals may hold a single one.
    """
    if not (isinstance(X, list | tuple) and X and all(hasattr(x, "ndim") and x.ndim for x in X)):
        return False
    shape = getattr(_last_estimator(estimator), "_sample_shape_", None)
    return shape is not None and tuple(X[0].shape) != shape and not takes_images(estimator)


def _is_list_like(y: Any, X: Any) -> bool:
    """Return whether y is a list of arrays of the shapes of those in X."""
    return isinstance(y, list | tuple) and [np.shape(x) for x in y] == [np.shape(x) for x in X]


# Estimators and their steps -----------------------------------------------------------------------------


def refuse_noise_in_estimator(estimator: Any, noiser: Any) -> None:
    """Raise an error for an estimator that adds noise to the noisy samples."""
    for held in find_noisers(getattr(estimator, "best_estimator_", estimator)):
        if getattr(held, "apply", "fit") == "always":
            raise ValueError(
                f"The noise of {noiser!r} is added to clean data, and the estimator holds {held!r}, which "
                'would add more. Give that one apply="fit".'
            )


def takes_images(estimator: Any) -> bool:
    """Return whether the last step takes images of any size."""
    estimator = getattr(estimator, "best_estimator_", estimator)
    if isinstance(estimator, Pipeline):
        return takes_images(estimator[-1])
    return bool(getattr(estimator, "_takes_any_size", False))


def apply_earlier_steps(estimator: Any, X: Any) -> tuple[Any, Any]:
    """Return X after the earlier steps of a pipeline, and the last step."""
    estimator = getattr(estimator, "best_estimator_", estimator)
    if not isinstance(estimator, Pipeline):
        return X, estimator
    before = X if len(estimator) == 1 else estimator[:-1].transform(X)
    return apply_earlier_steps(estimator[-1], before)


def foreign_range(estimator: Any, samples: NDArray[Any]) -> IntensityRange | None:
    """Return the range of integer samples for an estimator that learned another.

    Parameters
    ----------
    estimator : estimator
        The last step of a pipeline.
    samples : ndarray
        Clean samples.

    Returns
    -------
    IntensityRange or None
        The range of the samples; None if the estimator needs no conversion.
    """
    # Noise turns integers into floats, which no longer show the range.
    learned = getattr(estimator, "intensity_range_", None)
    if learned is None or not has_image_depth(samples.dtype) or not takes_images(estimator):
        return None
    own = IntensityRange.of(samples)
    is_another = UNIT in (learned, own) or own.white > learned.white or samples.dtype.itemsize == 1
    return own if is_another and own != learned else None


def predict_in_range(estimator: Any, noisy: Any, unit: IntensityRange | None) -> Any:
    """Return the prediction from noisy floats in a range.

    Parameters
    ----------
    estimator : estimator
        Denoises images.
    noisy : array-like or list of array-like
        Noisy images.
    unit : IntensityRange or None
        Range of the images; None takes them as they are.
    """
    if unit is None:
        return estimator.predict(noisy)
    learned = _last_estimator(estimator).intensity_range_

    def to_learned(x: Any) -> Any:
        return learned.from_unit(unit.to_unit(x))

    def from_learned(x: Any) -> Any:
        return unit.from_unit(learned.to_unit(x))

    if isinstance(noisy, list):
        return [from_learned(x) for x in estimator.predict([to_learned(x) for x in noisy])]
    return from_learned(estimator.predict(to_learned(noisy)))


def _last_estimator(estimator: Any) -> Any:
    """Return the denoiser at the end of a search or a pipeline."""
    estimator = getattr(estimator, "best_estimator_", estimator)
    return _last_estimator(estimator[-1]) if isinstance(estimator, Pipeline) else estimator


def invert_earlier_steps(estimator: Any, prediction: Any) -> Any:
    """Return the prediction of a pipeline in the unit of its input."""
    estimator = getattr(estimator, "best_estimator_", estimator)
    if not isinstance(estimator, Pipeline):
        return prediction
    prediction = invert_earlier_steps(estimator[-1], prediction)
    for name, step in reversed(estimator.steps[:-1]):
        if step in (None, "passthrough") or isinstance(step, Noiser):
            continue
        # A step that predicts is a denoiser, which keeps the unit.
        if hasattr(step, "inverse_transform"):
            prediction = step.inverse_transform(prediction)
        elif not hasattr(step, "predict"):
            raise ValueError(
                f"The step {name!r} of the pipeline changes the data and has no inverse_transform, so its "
                "predictions cannot be compared with the data it was given."
            )
    return prediction
