"""The base of every denoiser: a transformer of samples with a score in decibels."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from sk_denoise._clean_source import warn_of_lost_source
from sk_denoise._compat import SampleTransformer, keeps_array_type
from sk_denoise._random import stream
from sk_denoise._schema import IMAGE_SHAPE, POSITIVE_NUMBER, Rule
from sk_denoise._validation import (
    FITTED_NOISER,
    as_float_array,
    as_numeric_array,
    as_tensor,
    check_lengths,
    check_samples,
    is_clean_side,
    refuse_masked,
    restore_container,
    specification_key,
    warn_user,
)
from sk_denoise.estimators._pairs import TARGET_SOURCE
from sk_denoise.metrics import make_self_supervised_scorer
from sk_denoise.metrics._metrics import mean_over_samples, psnr_per_sample
from sk_denoise.noise import carried_source

__all__ = ["BaseDenoiser", "trace_rows"]

# Seed of the noise that ``score`` adds.
REFERENCE_SEED = 0
# Rows and columns, at most, that tell the training data from others.
TRACED = 64


def trace_rows(samples: NDArray[Any]) -> str:
    """Return a text that is equal for equal samples, from some of their numbers."""
    flat = samples.reshape(len(samples), -1)
    few = flat[:: max(1, len(flat) // TRACED)][:TRACED, :TRACED].astype(np.float32)
    return specification_key((flat.shape, few))


class BaseDenoiser(SampleTransformer):
    """A denoiser with a score: the mean PSNR of its output.

    A subclass stores ``data_range_`` and a fitted ``_reference_noiser_``.
    """

    _fitted_schema: ClassVar[dict[str, Rule]] = {
        "data_range_": POSITIVE_NUMBER,
        "_reference_noiser_": FITTED_NOISER,
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
            Greater is better. The data range is ``data_range_``. Without truth it is the expected PSNR (see
            :func:`~sk_denoise.estimate_quality`) if the noise is known, and the negative blind error
            of :func:`~sk_denoise.make_self_supervised_scorer` otherwise.
        """
        check_is_fitted(self)
        given = check_samples(self, X, reset=False)
        check_lengths(given, y)
        refuse_masked(y, "y")
        source = carried_source(X)
        is_paired = is_clean_side(y, given) and not np.array_equal(as_numeric_array(y), given)
        samples = self._in_unit(given, like=as_numeric_array(y) if is_paired else None)
        noisy = X if samples is given else samples
        if is_paired:
            truth = self._in_unit(as_numeric_array(y))
        elif source is not None and source.describes(samples):
            truth = source.clean
        elif self.target_source_ in ("noisy", "X_second"):
            return self._score_without_truth(X, sample_weight)
        else:
            if not is_clean_side(y, given):
                warn_of_lost_source(samples)
            truth = as_float_array(samples)
            noisy = restore_container(self._reference([truth])[0], X)
        each = psnr_per_sample(truth, self.predict(noisy), self.data_range_)
        return mean_over_samples(each, sample_weight)

    def _score_without_truth(self, X: ArrayLike, sample_weight: ArrayLike | None) -> float:
        """Return the expected PSNR if the noise is known, else the negative blind error."""
        noise = getattr(self, "noise_model_", None)
        self._warn_of_training_data(X)
        if noise is None:
            scorer = make_self_supervised_scorer("blind")
        else:
            scorer = make_self_supervised_scorer("sure", noise, self.data_range_)
        return float(scorer(self, X, sample_weight=sample_weight))

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
        return [self._reference_noiser_.corrupt(as_tensor(stack), draw).numpy() for stack in stacks]

    @abstractmethod
    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Denoise samples."""

    def _in_unit(self, samples: NDArray[Any], like: NDArray[Any] | None = None) -> NDArray[Any]:
        """Convert samples to the unit of the training data, or refuse them.

        Their unit is that of ``like``, the clean side, if there is one.
        """
        return samples
