"""Pairs of noisy and clean samples, by four rules in the order in which they apply."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, clone

from sk_denoise._intensity import IntensityRange
from sk_denoise._noise_traces import warn_of_lost_source, warn_of_missed_step
from sk_denoise._scaling import subsample
from sk_denoise._schema import Rule, one_of
from sk_denoise._validation import (
    Noiser,
    as_float_array,
    as_numeric_array,
    as_tensor,
    check_clean_side,
    check_lengths,
    check_one_of,
    check_sample_weight,
    check_samples,
    is_clean_side,
    refuse_masked,
    specification_key,
    warn_of_alpha,
    warn_of_other_order,
    warn_of_other_unit,
    warn_user,
)
from sk_denoise.estimators._preparation import SampleLayout
from sk_denoise.exceptions import CleanTargetWarning
from sk_denoise.noise import NOISERS, CleanSource, GaussianNoiser, carried_source, resolve_noiser

__all__ = ["TARGET_SOURCE", "Pair", "default_noiser", "resolve_pair", "resolve_validation_pair"]

# Strength of noise="auto" in standard deviations, drawn for each sample.
TABLE_NOISE = (0.1, 0.6)
GRID_NOISE = (0.0, 1.0)

TargetSource = Literal["X_clean", "y", "noiser", "X"]
TARGET_SOURCE: Rule = one_of(*get_args(TargetSource))


@dataclass(frozen=True)
class Pair:
    """Noisy and clean samples, or clean ones and the noise that corrupts them afresh.

    Attributes
    ----------
    inputs, targets : ndarray of shape (n_samples, ...)
        Inputs and targets of the network; the same array if ``inputs`` are clean.
    noiser : noiser or None
        Noise that corrupts ``inputs`` for every batch; unfitted.
    noise_name : str
        Text that identifies this noise.
    source : {"X_clean", "y", "noiser", "X"}
        The rule that applied.
    intensity : IntensityRange
        Data range of a PSNR: that of the clean samples.
    known_intensity : IntensityRange or None
        Black and white, if the type or the range of clean images determines them.
    weights : ndarray of shape (n_samples,) or None
        Weight of each sample in the loss, above 0; None for equal weights.
    """

    inputs: NDArray[Any]
    targets: NDArray[Any]
    noiser: Noiser | None
    noise_name: str
    source: TargetSource
    intensity: IntensityRange
    known_intensity: IntensityRange | None
    weights: NDArray[Any] | None = None

    def take(self, index: NDArray[np.intp]) -> Pair:
        """Return the pair of the rows at ``index``."""
        inputs = self.inputs[index]
        targets = inputs if self.targets is self.inputs else self.targets[index]
        weights = None if self.weights is None else self.weights[index]
        return replace(self, inputs=inputs, targets=targets, weights=weights)

    def laid_out(self, layout: SampleLayout) -> Pair:
        """Return the pair with flattened images as images, for noise and augmentation."""
        if layout.image_shape is None or len(layout.sample_shape) > 1:
            return self
        shape = (len(self.inputs), *layout.image_shape)
        inputs = self.inputs.reshape(shape)
        return replace(
            self,
            inputs=inputs,
            targets=inputs if self.targets is self.inputs else self.targets.reshape(shape),
        )

    def describe(self) -> str:
        """Describe the clean side and the noise in words."""
        if self.source in ("X_clean", "y"):
            return f"the clean side is {self.source}, as given"
        where = "carried by the noiser's output" if self.source == "noiser" else "X"
        noise = "without noise" if self.noiser is None else f"corrupted afresh by {self.noiser!r}"
        return f"the clean side is {where}, {noise}"


def default_noiser(clean: NDArray[Any], has_one_unit: bool) -> GaussianNoiser:
    """Return the noise of ``noise="auto"``: Gaussian, moderate beside the spread of the data.

    For tables it follows the spread of each feature. The entries of images and signals share one unit and
    one noise, which follows the spread of all entries.
    """
    if not has_one_unit:
        return GaussianNoiser(TABLE_NOISE, scale="std")
    spread = float(np.std(subsample(as_tensor(clean)).numpy(), dtype=np.float64))
    return GaussianNoiser((GRID_NOISE[0] * spread, GRID_NOISE[1] * spread))


def resolve_pair(
    estimator: BaseEstimator,
    X: ArrayLike,
    y: Any,
    X_clean: ArrayLike | None,
    *,
    noise: Any,
    rows_are_signals: bool,
    reset: bool,
    min_samples: int,
    sample_weight: ArrayLike | None = None,
    learns: bool = True,
) -> Pair:
    """Check the data of a fit and determine the clean side (user guide, "clean and noisy").

    Samples of weight 0 are left out. If the estimator ``learns`` from clean samples, those that hold the
    noise of a noiser cause a warning.
    """
    samples = check_samples(estimator, X, reset=reset, min_samples=min_samples)
    check_lengths(samples, y)
    refuse_masked(y, "y")
    weights = check_sample_weight(sample_weight, samples, min_samples)
    counting = slice(None) if weights is None else np.flatnonzero(weights)
    pair = _resolved(estimator, X, samples, y, X_clean, noise, rows_are_signals, counting)
    warn_of_alpha(samples)
    if pair.source in ("X_clean", "y"):
        warn_of_other_order(X, X_clean if pair.source == "X_clean" else y, pair.source)
    if learns and pair.source == "X" and not _same(y, samples):
        warn_of_lost_source(samples)
    elif learns and pair.source == "y" and carried_source(X) is None:
        warn_of_missed_step(samples, y)
    return pair if weights is None else replace(pair, weights=weights[counting])


def _resolved(
    estimator: BaseEstimator,
    X: ArrayLike,
    samples: NDArray[Any],
    y: Any,
    X_clean: ArrayLike | None,
    noise: Any,
    rows_are_signals: bool,
    counting: Any,
) -> Pair:
    """Determine the clean side of checked samples, and return those with a weight."""
    source = carried_source(X)
    if X_clean is not None:
        return _given(estimator, samples, X_clean, "X_clean", noise, counting)
    # The y of pipeline.fit(X, X) is the source itself.
    is_known = source is not None and _same(y, source.clean)
    if is_clean_side(y, samples, warn=True) and not _same(y, samples) and not is_known:
        if source is not None:
            warn_user(
                f"X came out of {source.noiser!r} and knows its clean side, but y is another one, as where a "
                "step before the noiser scales and y does not go through it. The pair (X, y) is used as "
                "given: one frozen draw of noise. Pass no y to learn from fresh noise, in one unit.",
                CleanTargetWarning,
            )
        return _given(estimator, samples, y, "y", noise, counting)
    if source is not None:
        return _carried(samples, source, noise, counting)
    samples = samples[counting]
    inputs = as_float_array(samples)
    layout = SampleLayout.of(samples.shape[1:], getattr(estimator, "image_shape", None), rows_are_signals)
    noiser = _resolve_noise(noise, lambda: default_noiser(inputs, layout.has_one_unit))
    return Pair(inputs, inputs, noiser, specification_key(noise), "X", *_ranges_of(samples))


def resolve_validation_pair(
    estimator: BaseEstimator, X_val: ArrayLike, X_clean_val: ArrayLike | None, training: Pair
) -> Pair:
    """Return validation samples as a pair, under the noise of the training pair."""
    source = carried_source(X_val)
    samples = check_samples(estimator, X_val, reset=False)
    if X_clean_val is not None:
        return _given(estimator, samples, X_clean_val, "X_clean_val", "auto")
    if training.source in ("X_clean", "y"):
        raise ValueError(
            f"The clean side of the training data is {training.source}, so X_val needs one too: pass "
            "X_clean_val, of the same shape."
        )
    if source is None:
        warn_of_lost_source(samples, name="X_val")
    else:
        samples = _verified(source, samples).clean
    inputs = as_float_array(samples)
    warn_of_other_unit(inputs, float(training.inputs.min()), float(training.inputs.max()), "X_val")
    return replace(training, inputs=inputs, targets=inputs, weights=None)


def _given(
    estimator: BaseEstimator,
    samples: NDArray[Any],
    clean: ArrayLike,
    name: Any,
    noise: Any,
    counting: Any = slice(None),
) -> Pair:
    """Return a pair by rules 1 and 2: noisy and clean samples are given."""
    _refuse_second_noise(noise, f"{name} already pairs X with its clean side")
    made_from = carried_source(clean)
    if made_from is not None:
        raise ValueError(
            f"{name} is the output of {made_from.noiser!r}, so it is not clean. In a pipeline that routes "
            f'{name} through a noiser, that noiser needs apply="fit".'
        )
    target = check_clean_side(estimator, clean, samples.shape, name)
    if name == "X_clean" and np.array_equal(samples, target):
        warn_user(
            "X_clean equals X: there is no noise to learn from. Pass fit(X) to learn from fresh noise.",
            CleanTargetWarning,
        )
    samples, target = samples[counting], target[counting]
    return Pair(as_float_array(samples), as_float_array(target), None, "given", name, *_ranges_of(target))


def _carried(samples: NDArray[Any], source: CleanSource, noise: Any, counting: Any) -> Pair:
    """Return a pair by rule 3: X is the output of a noiser and carries its source."""
    _refuse_second_noise(noise, f"X was already corrupted by {source.noiser!r}")
    clean = _verified(source, samples).clean[counting]
    inputs = as_float_array(clean)
    return Pair(
        inputs,
        inputs,
        clone(source.noiser),
        specification_key(source.noiser),
        "noiser",
        *_ranges_of(clean),
    )


def _ranges_of(clean: NDArray[Any]) -> tuple[IntensityRange, IntensityRange | None]:
    return IntensityRange.of_clean(clean), IntensityRange.known(clean)


def _verified(source: CleanSource, samples: NDArray[Any]) -> CleanSource:
    if not source.describes(samples):
        raise ValueError(
            f"X came out of {source.noiser!r} and was edited, sliced, shuffled or converted since, so its "
            "clean source no longer belongs to it row by row. Pass the clean side as X_clean=, or edit the "
            "clean data before the noiser. If X is to count as clean data, say so: X = numpy.asarray(X), "
            "fit(X, X)."
        )
    return source


def _refuse_second_noise(noise: Any, because: str) -> None:
    if not (isinstance(noise, str) and noise == "auto"):
        raise ValueError(
            f'noise given twice: {because}, and the estimator has noise={noise!r}. Leave it at noise="auto".'
        )


def _resolve_noise(noise: Any, default: Callable[[], Noiser]) -> Noiser | None:
    if noise is None:
        return None
    if isinstance(noise, str) and check_one_of(noise, {"auto": None, **NOISERS}, "noise") is None:
        return default()
    specification: Noiser = clone(resolve_noiser(noise))
    return specification


def _same(y: Any, array: NDArray[Any]) -> bool:
    return np.array_equal(as_numeric_array(y), array)
