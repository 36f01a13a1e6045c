"""The base of every denoiser: a transformer of samples with a score in decibels."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from sk_denoise._clean_source import warn_of_lost_source
from sk_denoise._compat import SampleTransformer, keeps_array_type
from sk_denoise._random import stream
from sk_denoise._schema import IMAGE_SHAPE, POSITIVE_NUMBER, Rule, is_nonnegative_array
from sk_denoise._validation import (
    NOISER_OF_SAMPLES,
    allows_gaps,
    are_equal,
    as_float_array,
    as_numeric_array,
    as_tensor,
    check_lengths,
    check_samples,
    is_clean_side,
    refuse_masked,
    refuse_other_index,
    restore_columns,
    specification_key,
    warn_user,
)
from sk_denoise.estimators._pairs import TARGET_SOURCE, Pair
from sk_denoise.metrics import make_self_supervised_scorer
from sk_denoise.metrics._metrics import (
    PSNR_CAP,
    find_column_gains,
    is_table,
    mean_over_samples,
    psnr_per_sample,
)
from sk_denoise.metrics._self_supervised import expected_psnr
from sk_denoise.noise import carried_source

__all__ = ["BaseDenoiser", "score_gains", "trace_rows"]

# Seed of the noise that ``score`` adds.
REFERENCE_SEED = 0
# Entries that are scored at a time, to bound memory.
SCORED_ENTRIES = 2**20
# Rows and columns, at most, that tell the training data from others.
TRACED = 64


def trace_rows(samples: NDArray[Any]) -> str:
    """Return a text that is equal for equal samples, from some of their numbers."""
    flat = samples.reshape(len(samples), -1)
    few = flat[:: max(1, len(flat) // TRACED)][:TRACED, :TRACED].astype(np.float32)
    return specification_key((flat.shape, few))


def score_gains(pair: Pair) -> NDArray[np.float64] | None:
    """Return the factors of the errors of table columns in a score, else None."""
    # They depend on the data alone, so that scores of different denoisers compare.
    if pair.known_intensity is not None or not is_table(pair.targets, are_noisy=pair.has_noisy_targets):
        return None
    gains = find_column_gains(pair.targets)
    return gains if gains.any() else None


def _psnr_of_known(
    truth: NDArray[Any], prediction: NDArray[Any], data_range: float, gains: NDArray[Any] | None
) -> NDArray[np.float64]:
    """Return the PSNR of the known entries of each sample; NaN without any."""
    missing = np.isnan(truth)
    # The error of a missing entry is 0, and its share is left out of the mean.
    complete = np.where(missing, prediction, truth)
    scores = psnr_per_sample(complete, prediction, data_range, cap=None, gains=gains)
    shares = (~missing).reshape(len(truth), -1).mean(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        known = np.minimum(scores + 10 * np.log10(shares), PSNR_CAP)
    return np.where(shares > 0, known, np.nan)


class BaseDenoiser(SampleTransformer):
    """A denoiser with a score: the mean PSNR of its output.

    A subclass stores ``data_range_`` and a fitted ``_reference_noiser_``.
    """

    _fitted_schema: ClassVar[dict[str, Rule]] = {
        "data_range_": POSITIVE_NUMBER,
        "_reference_noiser_": NOISER_OF_SAMPLES,
        "_score_gains_": Rule(
            lambda v, e: v is None or is_nonnegative_array(v, (e.n_features_in_,)),
            "None, or a factor for each feature",
            required=False,
            after_others=True,
        ),
        "target_source_": TARGET_SOURCE,
        "image_shape_": IMAGE_SHAPE,
    }
    data_range_: float
    _reference_noiser_: Any

    @keeps_array_type
    def score(self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None) -> float:
        """Return the mean PSNR of denoised samples in dB, each capped at 100.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels])
            Noisy samples if y is given, else clean ones. Clean ones are corrupted with a reference noise
            that is the same for all estimators fitted to the same data, for any ``noise``: the "auto"
            noise, seed 0. The output of a noiser is noisy; its clean source is the truth. If the estimator
            learned from noisy data alone, X is noisy, and without y there is no truth.
        y : array-like of the shape of X, optional
            Clean samples; ignored if they equal X or cannot be the clean side (see ``fit``).
        sample_weight : array-like of shape (n_samples,), optional
            Weight of each sample in the mean.

        Returns
        -------
        float
            Greater is better. The data range is ``data_range_``. In tables, errors are relative to the
            spread of their column in the fit, and constant columns do not count: rows without an
            ``image_shape``, with numbers outside of [0, 1] and without the smoothness of signals. For errors
            in the unit of the data, use :func:`~sk_denoise.metrics.psnr` of the prediction. Without truth
            it is the expected PSNR (see :func:`~sk_denoise.estimate_quality`) if the noise is known, and
            the negative blind error of :func:`~sk_denoise.make_self_supervised_scorer` otherwise.
        """
        check_is_fitted(self)
        given = check_samples(self, X, reset=False, allow_gaps=allows_gaps(self))
        check_lengths(given, y)
        refuse_masked(y, "y")
        if getattr(self, "ignore_y", False):
            y = None
        names = getattr(self, "feature_names_in_", None)
        source = carried_source(X)
        is_paired = is_clean_side(y, given, names=names) and not are_equal(as_numeric_array(y), given)
        samples = self._in_unit(given, like=as_numeric_array(y) if is_paired else None)
        noisy: NDArray[Any] | None = samples
        if is_paired:
            refuse_other_index(X, y, "y")
            truth = self._in_unit(as_numeric_array(y))
        elif source is not None and source.describes(samples):
            truth = source.clean
        elif self.target_source_ in ("noisy", "X_second"):
            return self._score_without_truth(X, sample_weight)
        else:
            if not is_clean_side(y, given):
                warn_of_lost_source(samples)
            truth, noisy = samples, None
        scores = self._psnr_per_sample(truth, noisy, X)
        # Rows without any known entry have no score.
        is_scored = ~np.isnan(scores)
        if not is_scored.any():
            raise ValueError("The clean side holds NaN only, so that there is nothing to score.")
        if not is_scored.all():
            scores = scores[is_scored]
            sample_weight = None if sample_weight is None else np.asarray(sample_weight)[is_scored]
        return mean_over_samples(scores, sample_weight)

    def _psnr_per_sample(
        self, truth: NDArray[Any], noisy: NDArray[Any] | None, X: ArrayLike
    ) -> NDArray[np.float64]:
        """Return the PSNR of each sample, in chunks; NaN without any known entry.

        Parameters
        ----------
        truth : ndarray
            Clean samples.
        noisy : ndarray or None
            Noisy samples; None corrupts the clean ones by the reference noise.
        X : array-like
            Samples of the user, for the names of features.
        """
        draw, gains = stream(REFERENCE_SEED, "score"), self._gains()
        n_rows = max(1, SCORED_ENTRIES // truth[0].size)
        scores = []
        for start in range(0, len(truth), n_rows):
            chunk = slice(start, start + n_rows)
            clean = as_float_array(truth[chunk])
            given = self._corrupt(clean, draw) if noisy is None else noisy[chunk]
            prediction = self.predict(restore_columns(given, X))
            measure = _psnr_of_known if allows_gaps(self) else psnr_per_sample
            scores.append(measure(clean, prediction, self.data_range_, gains=gains))
        return np.concatenate(scores)

    def _score_without_truth(self, X: ArrayLike, sample_weight: ArrayLike | None) -> float:
        """Return the expected PSNR if the noise is known, else the negative blind error."""
        noise = getattr(self, "noise_model_", None)
        self._warn_of_training_data(X)
        if noise is None:
            return float(make_self_supervised_scorer("blind")(self, X, sample_weight=sample_weight))
        return expected_psnr(
            self, X, noise, self.data_range_, gains=self._gains(), sample_weight=sample_weight
        )

    def _gains(self) -> NDArray[np.float64] | None:
        """Return the factors of errors in a score, None in the unit of the data."""
        # Files of an older version lack them.
        gains: NDArray[np.float64] | None = getattr(self, "_score_gains_", None)
        return gains

    def _warn_of_training_data(self, X: Any) -> None:
        """Warn of an expected PSNR of data that the fit has learned from."""
        trace = getattr(self, "_training_trace_", None)
        if trace is None or isinstance(X, list | tuple) or trace != trace_rows(np.asarray(X)):
            return
        warn_user(
            "score(X) without truth is for data that the fit has not seen, and X is what it learned from: "
            "it follows the noise of X, so the score is too high, often by several dB. Hold out a part of X."
        )

    def _reference(self, stacks: Iterable[NDArray[Any]]) -> list[NDArray[Any]]:
        """Corrupt stacks with the reference noise, the same at every call."""
        draw = stream(REFERENCE_SEED, "score")
        return [self._corrupt(stack, draw) for stack in stacks]

    def _corrupt(self, samples: NDArray[Any], draw: torch.Generator) -> NDArray[Any]:
        """Return samples with the reference noise."""
        noisy: NDArray[Any] = self._reference_noiser_.corrupt(as_tensor(samples), draw).numpy()
        return noisy

    @abstractmethod
    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Denoise samples."""

    def _in_unit(self, samples: NDArray[Any], like: NDArray[Any] | None = None) -> NDArray[Any]:
        """Convert samples to the unit of the training data, or refuse them.

        Their unit is that of ``like``, the clean side, if there is one.
        """
        return samples
