"""The bases of denoisers: a score in decibels, and a fit without a network."""

from __future__ import annotations

import copy
import math
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from numbers import Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from sk_denoise._clean_source import warn_of_lost_source
from sk_denoise._compat import SampleTransformer, adopt_fitted_state, as_one_task, keeps_array_type
from sk_denoise._noise_level import estimate_noise_levels
from sk_denoise._random import stream
from sk_denoise._schema import IMAGE_SHAPE, POSITIVE_NUMBER, Rule, is_nonnegative_array
from sk_denoise._validation import (
    NOISER_OF_SAMPLES,
    Interval,
    StrOptions,
    allows_gaps,
    are_equal,
    as_float_array,
    as_numeric_array,
    as_tensor,
    check_lengths,
    check_numbers,
    check_parameters,
    check_samples,
    get_shape,
    is_clean_side,
    refuse_masked,
    refuse_other_index,
    refuse_single_image,
    restore_columns,
    specification_key,
    warn_of_channels,
    warn_of_flat_channels_first,
    warn_of_single_image,
    warn_of_time_first,
    warn_user,
)
from sk_denoise.estimators._pairs import (
    TARGET_SOURCE,
    Pair,
    cut_wild_values,
    default_noiser,
    resolve_pair,
)
from sk_denoise.estimators._preparation import SampleLayout
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

__all__ = ["BaseDenoiser", "ClassicalDenoiser", "check_odd", "score_gains", "trace_rows"]

KIND_REMEDY = 'pass kind="signals"; if it holds images, kind="images".'
# Seed of the noise that ``score`` adds.
REFERENCE_SEED = 0
# Entries that are scored at a time, to bound memory.
SCORED_ENTRIES = 2**20
# Entries of signals that are filtered together, to bound memory
ENTRIES_AT_ONCE = 2**18
# Rows and columns, at most, that tell the training data from others.
TRACED = 64

# Constraints of parameters that several filters have.
SHAPE_CONSTRAINT: dict[str, Any] = {"image_shape": [tuple, list, None]}
KIND_CONSTRAINT: dict[str, Any] = {"kind": [StrOptions({"auto", "images", "signals"})]}
LEVEL_CONSTRAINTS: dict[str, Any] = {
    **SHAPE_CONSTRAINT,
    **KIND_CONSTRAINT,
    "sigma": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
    "strength": [Interval(Real, 0, None, closed="neither")],
}

# Floats of shape (n_images, height, width, channels). Signals are images of height 1.
Images = NDArray[Any]


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

    _is_samplewise: ClassVar[bool] = True
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


class ClassicalDenoiser(BaseDenoiser):
    """A denoiser without a network.

    It has the methods of :class:`~sk_denoise.DenoisingAutoencoder` that need no latent vectors.
    A subclass defines ``_filter`` for one image at a known noise level, or ``_denoise`` for a stack, and
    ``_learn`` if it learns from clean samples; and ``_filter_signals`` if signals have a form of their own.
    Signals are images of height 1. A filter that learns nothing also takes lists of samples of different
    sizes.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = LEVEL_CONSTRAINTS
    _rows_are_signals: ClassVar[bool] = True
    # Meaning of samples of two axes; a parameter of filters for images and signals.
    kind: Literal["auto", "images", "signals"] = "auto"
    _min_samples: ClassVar[int] = 1
    # Whether the fit takes noisy samples, and no clean side. Then the parameter ``noise`` is their noise.
    _is_self_supervised: ClassVar[bool] = False
    noise: Any
    image_shape: Sequence[int] | None
    sigma: Literal["auto"] | float
    strength: Any

    @keeps_array_type
    @as_one_task
    def fit(self, X: ArrayLike, y: Any = None, *, X_clean: ArrayLike | None = None) -> Self:
        """Learn the layout of the samples and the range of clean ones.

        The arguments and the clean side are those of :meth:`DenoisingAutoencoder.fit
        <sk_denoise.DenoisingAutoencoder.fit>`: the clean side is ``X_clean``; or a ``y`` of the shape of X;
        or the clean source that the output of a noiser carries; or X itself.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels])
            Noisy samples if a clean side is given, else clean ones. Finite numbers; integers are converted
            to float32 in the same unit. Filters that learn nothing also take a list of samples of different
            sizes, and signals (n_samples, n_channels, length) with ``kind="signals"``.
        y : array-like of the shape of X, optional
            Clean samples. A y that equals X is ignored, and so are labels: a y whose samples have another
            shape, any y if X has one feature, and a y of zeros and ones only if X has other values.
        X_clean : array-like of the shape of X, optional
            Clean samples, in place of y.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If data or parameters cannot be used; the message gives the remedy.
        """
        return self._fit(X, y, X_clean)

    def _fit(
        self,
        X: ArrayLike,
        y: Any,
        X_clean: Any,
        sample_weight: ArrayLike | None = None,
        X_second: ArrayLike | None = None,
    ) -> Self:
        self._check_parameters()
        # A fit that fails leaves the estimator as it was.
        draft = copy.copy(self)
        parts = self._separate_samples(X)
        if parts is not None:
            draft._fit_list(parts, y, X_clean)
            adopt_fitted_state(self, draft)
            return self
        pair, layout = draft._check(X, y, X_clean, sample_weight, X_second)
        draft._learn(pair, layout)
        draft.target_source_, draft.image_shape_ = pair.source, layout.image_shape
        # The noise that ``score`` adds depends on the data alone, so that scores of all denoisers compare.
        has_one_unit = layout.image_shape is not None or len(layout.sample_shape) > 1
        draft._reference_noiser_ = default_noiser(pair.targets, has_one_unit)
        clean = cut_wild_values(pair.targets, has_one_unit)
        draft._reference_noiser_.fit(clean, clean)
        draft.data_range_ = pair.intensity.span
        # Windows move along signals, which have one unit.
        is_windowed = getattr(draft, "window_", None) is not None
        draft._score_gains_ = None if is_windowed else score_gains(pair)
        adopt_fitted_state(self, draft)
        return self

    @keeps_array_type
    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Denoise samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels])
            Noisy samples, in the layout and unit of ``fit``. Filters that learn nothing also take a list of
            samples of any size, and with ``kind="signals"`` signals of any length.

        Returns
        -------
        ndarray of the shape of X
            Denoised samples in the unit of X; float64 for float64, else float32. A list of arrays for a list
            of samples of other shapes than that of the fit.
        """
        check_is_fitted(self)
        parts = self._separate_samples(X, getattr(self, "_sample_shape_", None))
        if parts is not None:
            # The annotation is that of arrays, which nearly all callers have.
            samples = [self._check_part(part, f"X[{i}]") for i, part in enumerate(parts)]
            return [self._denoise_samples(sample[None])[0] for sample in samples]  # type: ignore[return-value]
        if self._has_other_length(X):
            return self._denoise_samples(as_float_array(check_numbers(X, "X", self)))
        return self._denoise_samples(as_float_array(check_samples(self, X, reset=False)))

    def _denoise_samples(self, samples: NDArray[Any]) -> NDArray[Any]:
        """Return denoised samples of one shape, in a new array."""
        shape = self.image_shape_ if self.image_shape_ and samples.ndim == 2 else samples.shape[1:]
        if self.image_shape_ is None or (shape[0] == 1 and self._learns_nothing):
            # Channels of signals may differ in unit and noise, so that each is a signal by itself.
            signals = samples.reshape(-1, *shape)
            channels = np.moveaxis(signals, 2, -1) if signals.ndim == 4 else signals
            self._check_length(channels.shape[-1])
            denoised = self._denoise(channels.reshape(-1, 1, channels.shape[-1], 1)).reshape(channels.shape)
            denoised = np.moveaxis(denoised, -1, 2) if signals.ndim == 4 else denoised
        else:
            denoised = self._denoise(samples.reshape(-1, *(*shape, 1)[:3]))
        return denoised.reshape(samples.shape).astype(samples.dtype.newbyteorder("="), copy=False)

    @keeps_array_type
    def transform(self, X: ArrayLike) -> Any:
        """Denoise, as ``predict`` does.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels])
            Noisy samples, in the layout and unit of ``fit``.

        Returns
        -------
        ndarray or DataFrame of the shape of X
            Denoised samples in the unit of X; float64 for float64, else float32.
        """
        return self.predict(X)

    @keeps_array_type
    def score(self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None) -> float:
        """Return the mean PSNR of denoised samples in dB, each capped at 100.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels]), or list
            Noisy samples if y is given, else clean ones, which are corrupted by the reference noise. The
            output of a noiser is noisy; its clean source is the truth.
        y : array-like of the shape of X, optional
            Clean samples; ignored if they equal X or cannot be the clean side (see ``fit``).
        sample_weight : array-like of shape (n_samples,), optional
            Weight of each sample in the mean.

        Returns
        -------
        float
            Greater is better. The data range is ``data_range_``. In tables, errors are relative to the
            spread of their column in the fit.
        """
        if self._has_other_length(X):
            X, y = list(np.asarray(X)), list(y) if isinstance(y, np.ndarray) else y
        parts = self._separate_samples(X, getattr(self, "_sample_shape_", None))
        if parts is None:
            return super().score(X, y, sample_weight)
        check_is_fitted(self)
        truths = [self._check_part(part, f"X[{i}]") for i, part in enumerate(parts)]
        others = self._separate_samples(y)
        if others is not None and [x.shape for x in others] == [x.shape for x in parts]:
            noisy = truths
            truths = [self._check_part(part, f"y[{i}]") for i, part in enumerate(others)]
        else:
            noisy = [stack[0] for stack in self._reference([x[None] for x in truths])]
        pairs = zip(truths, self.predict(noisy), strict=True)
        scores = [psnr_per_sample(t[None], x[None], self.data_range_) for t, x in pairs]
        return mean_over_samples(np.concatenate(scores), sample_weight)

    def _filter(self, image: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
        """Return an image (height, width, channels) without noise of level ``sigma > 0``."""
        raise NotImplementedError

    def _filter_signals(
        self, signals: NDArray[np.float64], sigmas: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return signals (n, length) without noise of levels ``sigmas > 0``."""
        raise NotImplementedError

    def _denoise(self, images: Images) -> Images:
        """Return denoised images in a new array, each filtered at its own noise level."""
        is_automatic = isinstance(self.sigma, str)
        levels = estimate_noise_levels(images) if is_automatic else np.full(len(images), float(self.sigma))
        denoised = np.array(images)
        # An image without noise stays as it is.
        noisy = np.flatnonzero(levels)
        if images.shape[1] == images.shape[3] == 1 and self._has_signal_form:
            n_rows = max(1, ENTRIES_AT_ONCE // images.shape[2])
            for start in range(0, len(noisy), n_rows):
                chosen = noisy[start : start + n_rows]
                signals = np.array(images[chosen, 0, :, 0], dtype=np.float64, order="C")
                denoised[chosen, 0, :, 0] = self._filter_signals(signals, levels[chosen])
            return denoised
        for index in noisy:
            # A contiguous copy in double precision, so that results do not depend on the layout of X.
            image = np.array(images[index], dtype=np.float64, order="C")
            denoised[index] = self._filter(image, float(levels[index])).reshape(image.shape)
        return denoised

    def _learn(self, pair: Pair, layout: SampleLayout) -> None:
        """Learn from a pair; most filters learn nothing."""

    @property
    def _has_signal_form(self) -> bool:
        return type(self)._filter_signals is not ClassicalDenoiser._filter_signals

    @property
    def _learns_nothing(self) -> bool:
        return type(self)._learn is ClassicalDenoiser._learn

    def _check_parameters(self) -> None:
        check_parameters(self, self._parameter_constraints)
        if self.kind == "signals" and self.image_shape is not None:
            raise ValueError(f'kind="signals" and image_shape={self.image_shape!r} exclude each other.')
        if self.image_shape is not None and len(self.image_shape) not in (2, 3):
            raise ValueError(
                "image_shape must be None, (height, width) or (height, width, channels), got "
                f"{self.image_shape!r}."
            )

    def _check(
        self,
        X: ArrayLike,
        y: Any,
        X_clean: ArrayLike | None,
        sample_weight: ArrayLike | None,
        X_second: ArrayLike | None,
    ) -> tuple[Pair, SampleLayout]:
        """Check the data; determine the clean side and the layout of samples."""
        shape = get_shape(X)
        if self.kind == "signals":
            self._check_signals(shape)
        else:
            refuse_single_image(shape, self.image_shape)
            if self.kind == "auto" and self.image_shape is None and self._learns_nothing:
                warn_of_channels(shape, KIND_REMEDY)
            elif self.kind == "images" and self.image_shape is None and len(shape) == 2:
                raise ValueError(
                    f'kind="images", and X has shape {shape}: rows need an image_shape, such as (28, 28).'
                )
        warn_of_flat_channels_first(get_shape(X), self.image_shape)
        if self.image_shape is None and self._rows_are_signals and len(get_shape(X)) == 2:
            warn_of_single_image(X, "signals")
        pair = resolve_pair(
            self,
            X,
            y,
            X_clean,
            noise=self.noise if self._is_self_supervised else "auto",
            rows_are_signals=self._rows_are_signals,
            reset=True,
            min_samples=self._min_samples,
            sample_weight=sample_weight,
            # Noisy data in place of clean ones do no harm to a filter that learns nothing.
            learns=not self._learns_nothing,
            X_second=X_second,
            is_self_supervised=self._is_self_supervised and X_second is None,
        )
        if self.kind == "signals":
            layout = SampleLayout(self._sample_shape_, None, True)
            self._check_length(self._sample_shape_[1 if len(self._sample_shape_) == 3 else -1])
        else:
            layout = SampleLayout.of(self._sample_shape_, self.image_shape, self._rows_are_signals)
        return pair.with_image_shape(layout), layout

    def _check_signals(self, shape: tuple[int, ...]) -> None:
        """Raise an error for an array that holds no signals."""
        if len(shape) > 4 or (len(shape) == 4 and shape[1] != 1):
            raise ValueError(
                f"X has shape {shape}, expected signals of shape (n, length) or (n, channels, length), time "
                "last; or (n, 1, length, channels)."
            )
        if len(shape) == 3:
            warn_of_time_first(*shape[1:])

    def _separate_samples(
        self, X: Any, fitted_shape: tuple[int, ...] | None = None
    ) -> list[NDArray[Any]] | None:
        """Return the samples of a list of different shapes, None for other data.

        Samples of the shape of the fit are no such list: they are stacked. A list of arrays for filters of
        signals alone is a list in any case, as for ``SignalDenoiser``.
        """
        if not self._learns_nothing or not isinstance(X, list | tuple) or not X:
            return None
        if any(np.ma.isMaskedArray(x) or isinstance(x, str) for x in X):
            return None
        try:
            parts = [np.asarray(x) for x in X]
        except ValueError:
            return None
        shapes = {part.shape for part in parts}
        if self.kind == "signals" and () not in shapes and all(isinstance(x, np.ndarray) for x in X):
            return parts
        if () in shapes or (len(shapes) == 1 and (fitted_shape is None or shapes == {fitted_shape})):
            return None
        # A list of numbers of another length is a table to scikit-learn, which has its own message.
        if len(shapes) == 1 and not all(hasattr(x, "shape") for x in X):
            return None
        return parts

    def _has_other_length(self, X: Any) -> bool:
        """Return whether X is an array of signals of another length than that of the fit."""
        expected = getattr(self, "_sample_shape_", None)
        if self.kind != "signals" or not self._learns_nothing or expected is None or len(expected) > 2:
            return False
        # Frames have names, which must fit.
        is_array = isinstance(X, np.ndarray) and X.ndim == 1 + len(expected) and 0 not in X.shape
        return is_array and X.shape[1:] != expected and X.shape[1:-1] == expected[:-1]

    def _check_length(self, length: int) -> None:
        """Raise an error for signals that are too short."""

    def _check_part(self, part: NDArray[Any], name: str) -> NDArray[Any]:
        """Return a sample of a list as floats, checked."""
        expected = self._sample_shape_
        sample = as_float_array(check_numbers(part, name, self))
        is_image = self.image_shape_ is not None
        same_channels = sample.shape[2:] == expected[2:] if is_image else sample.shape[:-1] == expected[:-1]
        if sample.ndim != len(expected) or not same_channels:
            raise ValueError(
                f"{type(self).__name__} was fitted on samples of shape {expected}, {name} has shape "
                f"{sample.shape}: the number of axes and of channels must be the same."
            )
        if 0 in sample.shape:
            raise ValueError(f"{name} has shape {sample.shape}: each axis needs at least one entry.")
        return sample

    def _fit_list(self, parts: list[NDArray[Any]], y: Any, X_clean: Any) -> None:
        """Learn the layout of samples of different shapes, and the range of clean ones."""
        if self.image_shape is not None:
            raise ValueError("image_shape is for flat rows of one shape, and X is a list of different ones.")
        if len({part.ndim for part in parts}) > 1 or parts[0].ndim > 3:
            raise ValueError(
                "A list holds signals (length,) or (channels, length), or images (height, width[, "
                f"channels]), all with the same number of axes. Got shapes {_describe_shapes(parts)}."
            )
        is_signal = self.kind == "signals" or parts[0].ndim == 1
        if is_signal and parts[0].ndim > 2:
            raise ValueError(
                f"Signals in a list are of shape (length,) or (channels, length), got {parts[0].shape}."
            )
        if is_signal and parts[0].ndim == 2:
            warn_of_time_first(len(parts[0]), max(part.shape[1] for part in parts))
        if self.kind == "auto" and not is_signal:
            warn_of_channels((len(parts), *parts[0].shape), KIND_REMEDY)
        sides = {"X": parts}
        for name, side in (("y", y), ("X_clean", X_clean)):
            others = self._separate_samples(side)
            if others is not None and [x.shape for x in others] == [x.shape for x in parts]:
                sides[name] = others
            elif name == "X_clean" and side is not None:
                raise ValueError("X_clean must be a list of samples of the shapes of those in X.")
        flat = {
            name: np.concatenate(
                [check_numbers(x, f"{name}[{i}]", self).ravel() for i, x in enumerate(side)]
            )[None, None]
            for name, side in sides.items()
        }
        # Range and noise level of all entries together are those of one long signal.
        joined = copy.copy(self)
        joined.kind = "signals"
        joined._fit(flat["X"], flat.get("y"), flat.get("X_clean"))
        adopt_fitted_state(self, joined)
        first = parts[0].shape
        self._sample_shape_, self.n_features_in_ = first, math.prod(first)
        self.image_shape_ = None if is_signal else first
        samples = [self._check_part(part, f"X[{i}]") for i, part in enumerate(parts)]
        if is_signal:
            self._check_length(min(part.shape[-1] for part in parts))
        # Its strength is in the unit of the data, for samples of any shape.
        self._reference_noiser_.fit(samples[0][None], samples[0][None])

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "data_range_")


def _describe_shapes(parts: list[NDArray[Any]]) -> str:
    """Return the first shapes of a list."""
    shapes = ", ".join(str(part.shape) for part in parts[:3])
    return f"{shapes}, ..." if len(parts) > 3 else shapes


def check_odd(estimator: BaseEstimator, name: str) -> None:
    """Check that a size is odd."""
    value = getattr(estimator, name)
    if value % 2 == 0:
        raise ValueError(
            f"{name} must be odd, so that it has a middle, got {value}. Use {value - 1} or {value + 1}."
        )
