"""Pairs of noisy and clean samples, by five rules in their order."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, clone

from sk_denoise._clean_source import warn_of_lost_source, warn_of_missed_step
from sk_denoise._intensity import UNIT, IntensityRange
from sk_denoise._noise_model import resolve_noise_model
from sk_denoise._random import stream_seed
from sk_denoise._scaling import find_wild_limits, subsample
from sk_denoise._schema import Rule, one_of
from sk_denoise._validation import (
    Noiser,
    allows_gaps,
    are_equal,
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
    refuse_other_index,
    size_factor_of,
    specification_key,
    warn_of_alpha,
    warn_of_other_unit,
    warn_of_unlike_sides,
    warn_user,
)
from sk_denoise.estimators._gaps import complete_pair, complete_rows, refuse_empty_columns
from sk_denoise.estimators._preparation import SampleLayout
from sk_denoise.estimators._training_domain import warn_of_noisy_targets
from sk_denoise.exceptions import CleanTargetWarning
from sk_denoise.noise import (
    NOISERS,
    BaseNoiser,
    CleanSource,
    GaussianNoiser,
    bind_columns,
    carried_source,
    resolve_noiser,
)

__all__ = [
    "TARGET_SOURCE",
    "GRID_NOISE",
    "Pair",
    "cut_wild_values",
    "default_noiser",
    "leaves_gaps",
    "refuse_clean_side",
    "resolve_pair",
    "resolve_validation_pair",
]

# Mean difference of two measurements, relative to its deviation, from which they have different offsets.
MAX_OFFSET = 0.5
# Training rows that validation rows are completed beside.
MAX_ROWS_BESIDE = 2000
# Strength of noise="auto" in standard deviations, drawn for each sample.
TABLE_NOISE = (0.1, 0.6)
GRID_NOISE = (0.0, 1.0)

# The rules, in their order: noisy data alone and pairs of measurements, or a clean side.
TargetSource = Literal["noisy", "X_second", "X_clean", "y", "noiser", "X"]
TARGET_SOURCE: Rule = one_of(*get_args(TargetSource))


@dataclass(frozen=True)
class Pair:
    """Noisy and clean samples, clean ones and their noise, or noisy ones alone.

    Attributes
    ----------
    inputs, targets : ndarray of shape (n_samples, ...)
        Inputs and targets of the network; the same array if ``inputs`` are clean, or noisy alone.
    noiser : noiser or None
        Unfitted noiser that corrupts ``inputs`` for every batch.
    noise_name : str
        Text that identifies the noise.
    source : {"noisy", "X_second", "X_clean", "y", "noiser", "X"}
        The rule that applied.
    intensity : IntensityRange
        Data range of a PSNR: that of the clean samples.
    known_intensity : IntensityRange or None
        Black and white, if the type or the range of clean images determines them.
    weights : ndarray of shape (n_samples,) or None
        Weight of each sample in the loss, above 0; None for equal weights.
    noise : object
        Noise in noisy samples alone: the parameter ``noise``, or the noiser that they came from.
    input_gaps, target_gaps : ndarray of bool, of the shape of ``inputs``, or None
        Missing entries, which hold plausible values; None without gaps on either side.
    """

    inputs: NDArray[Any]
    targets: NDArray[Any]
    noiser: Noiser | None
    noise_name: str
    source: TargetSource
    intensity: IntensityRange
    known_intensity: IntensityRange | None
    weights: NDArray[Any] | None = None
    noise: Any = None
    input_gaps: NDArray[np.bool_] | None = None
    target_gaps: NDArray[np.bool_] | None = None

    @property
    def inputs_with_gaps(self) -> NDArray[Any]:
        """Inputs with NaN for missing entries."""
        return _with_gaps(self.inputs, self.input_gaps)

    @property
    def targets_with_gaps(self) -> NDArray[Any]:
        """Targets with NaN for missing entries."""
        return _with_gaps(self.targets, self.target_gaps)

    @property
    def has_noisy_targets(self) -> bool:
        """Whether the targets are noisy too."""
        return self.source in ("noisy", "X_second")

    def take(self, index: NDArray[np.intp]) -> Pair:
        """Return the pair of the rows at ``index``."""
        inputs = self.inputs[index]
        # One array for both sides, as before, since it takes half the memory.
        targets = inputs if self.targets is self.inputs else self.targets[index]
        weights, input_gaps, target_gaps = (
            None if side is None else side[index]
            for side in (self.weights, self.input_gaps, self.target_gaps)
        )
        return replace(
            self,
            inputs=inputs,
            targets=targets,
            weights=weights,
            input_gaps=input_gaps,
            target_gaps=target_gaps,
        )

    def with_image_shape(self, layout: SampleLayout) -> Pair:
        """Return the pair with flat images as images, for noise and augmentation."""
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
        if self.source == "noisy":
            return "X is noisy, and there is no clean side"
        if self.source == "X_second":
            return "X and X_second are two noisy measurements"
        if self.source in ("X_clean", "y"):
            return f"the clean side is {self.source}, as given"
        origin = "carried by the noiser's output" if self.source == "noiser" else "X"
        noise = "without noise" if self.noiser is None else f"corrupted afresh by {self.noiser!r}"
        return f"the clean side is {origin}, {noise}"


def _with_gaps(side: NDArray[Any], gaps: NDArray[np.bool_] | None) -> NDArray[Any]:
    return side if gaps is None else np.where(gaps, np.asarray(np.nan, side.dtype), side)


def default_noiser(clean: NDArray[Any], has_one_unit: bool) -> GaussianNoiser:
    """Return the noise of ``noise="auto"``: Gaussian, moderate beside the data.

    For tables it is relative to the standard deviation of each feature. The entries of images and signals
    have one unit and one noise level, relative to the standard deviation of all entries.

    Parameters
    ----------
    clean : ndarray of shape (n_samples, ...)
        Clean samples.
    has_one_unit : bool
        Whether all entries have one unit.
    """
    if not has_one_unit:
        return GaussianNoiser(TABLE_NOISE, scale="std")
    spread = float(np.std(subsample(as_tensor(clean)).numpy(), dtype=np.float64))
    return GaussianNoiser((GRID_NOISE[0] * spread, GRID_NOISE[1] * spread))


def cut_wild_values(clean: NDArray[Any], has_one_unit: bool) -> NDArray[Any]:
    """Return the rows of a table with wild values cut.

    The noise of ``noise="auto"`` is fitted to them. Without wild values it is the same array.
    """
    if has_one_unit or clean.ndim != 2:
        return clean
    rows = as_tensor(clean)
    limits = find_wild_limits(rows)
    return clean if limits is None else rows.clamp(limits[0].to(rows), limits[1].to(rows)).numpy()


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
    X_second: ArrayLike | None = None,
    is_self_supervised: bool = False,
    is_declared_clean: bool = False,
) -> Pair:
    """Check the data of a fit and determine the clean side.

    The user guide, "clean and noisy", explains the rules. Samples of weight 0 are left out.

    Parameters
    ----------
    estimator : BaseEstimator
        Estimator for names and features in messages and checks.
    X, y, X_clean, sample_weight, X_second
        Arguments of ``fit``.
    noise : str, noiser or None
        The parameter of the estimator.
    rows_are_signals : bool
        Whether the entries of a row have one unit.
    reset : bool
        Whether to store the number and names of features in place of checking them.
    min_samples : int
        Smallest number of samples with a weight.
    learns : bool, default=True
        Whether the estimator learns from clean samples; clean samples with the noise of a noiser then cause
        a warning.
    is_self_supervised : bool, default=False
        Whether the estimator learns from noisy samples alone.
    is_declared_clean : bool, default=False
        Whether the user declared X as clean, so that noise in it causes no warning.
    """
    samples = check_samples(
        estimator, X, reset=reset, min_samples=min_samples, allow_gaps=allows_gaps(estimator)
    )
    check_lengths(samples, y)
    refuse_masked(y, "y")
    if getattr(estimator, "ignore_y", False):
        y = None
    weights = check_sample_weight(sample_weight, samples, min_samples)
    # Samples without weight determine neither the data range nor the noise.
    weighted = slice(None) if weights is None else np.flatnonzero(weights)
    if is_self_supervised or X_second is not None:
        refuse_other_index(X, X_second, "X_second")
        refuse_clean_side(
            is_clean_side(y, samples, names=getattr(estimator, "feature_names_in_", None)),
            X_clean,
            X_second,
            is_self_supervised,
        )
        pair = _pair_without_clean_side(estimator, X, samples, X_second, noise, rows_are_signals, weighted)
    else:
        pair = _apply_rules(estimator, X, samples, y, X_clean, noise, rows_are_signals, weighted)
    warn_of_alpha(samples)
    if pair.source in ("X_clean", "y"):
        refuse_other_index(X, X_clean if pair.source == "X_clean" else y, pair.source)
    if learns and pair.source == "y":
        sides = (samples, as_numeric_array(y)) if pair.input_gaps is None else (pair.inputs, pair.targets)
        warn_of_unlike_sides(*sides, may_ignore=hasattr(estimator, "ignore_y"))
    # A y that equals X declares X clean.
    is_declared_clean = is_declared_clean or (pair.source == "X" and _equals(y, samples))
    has_warned = False
    if learns and pair.source == "X" and not is_declared_clean:
        has_warned = warn_of_lost_source(samples)
    elif learns and pair.source == "y" and carried_source(X) is None:
        has_warned = warn_of_missed_step(samples, y)
    if learns and not (pair.has_noisy_targets or is_declared_clean or has_warned):
        layout = _layout_of(estimator, samples, rows_are_signals)
        warn_of_noisy_targets(pair.with_image_shape(layout).targets, pair.intensity, pair.source)
    return pair if weights is None else replace(pair, weights=weights[weighted])


def _layout_of(estimator: BaseEstimator, samples: NDArray[Any], rows_are_signals: bool) -> SampleLayout:
    """Return the layout of checked samples."""
    # One row of many channels looks like an image with its channels first.
    is_signal = getattr(estimator, "_has_channel_units", False)
    declared = samples.shape[1:] if is_signal else getattr(estimator, "image_shape", None)
    return SampleLayout.of(samples.shape[1:], declared, rows_are_signals)


def refuse_clean_side(y_is_clean: bool, X_clean: Any, X_second: Any, is_self_supervised: bool) -> None:
    """Refuse a clean side beside noisy data alone."""
    given = "X_clean" if X_clean is not None else "y" if y_is_clean else ""
    if X_second is not None and is_self_supervised:
        raise ValueError(
            "X_second is a second measurement, from which the network learns without an objective for noisy "
            'data alone. Leave objective="supervised", or pass no X_second.'
        )
    if given and X_second is not None:
        raise ValueError(
            f"X_second is a second noisy measurement, and {given} a clean side. Pass one of them."
        )
    if given:
        raise ValueError(
            f"The fit learns from noisy X alone, and {given} seems to be a clean side, as it has the shape "
            f'of X. Pass no {given}, or learn from the pair: by a network with objective="supervised", or '
            "by WienerDenoiser. If y holds the targets of a regressor, set ignore_y=True."
        )


def _pair_without_clean_side(
    estimator: BaseEstimator,
    X: ArrayLike,
    samples: NDArray[Any],
    X_second: ArrayLike | None,
    noise: Any,
    rows_are_signals: bool,
    weighted: Any,
) -> Pair:
    """Return noisy samples alone, or two measurements, as a pair."""
    source = carried_source(X)
    if source is not None and X_second is None and isinstance(noise, str) and noise == "auto":
        # The noise that is in the output of a noiser is known.
        noiser = _check_source(source, samples).noiser
        # Correlated noise is drawn by its noiser.
        has_draws = getattr(noiser, "_adds_grain", False)
        noise = noiser if has_draws else resolve_noise_model(noiser, source.clean, is_clean=True)
    if isinstance(noise, BaseNoiser):
        noise = bind_columns(noise, X if hasattr(X, "columns") else samples)
    layout = _layout_of(estimator, samples, rows_are_signals)
    inputs = as_float_array(samples[weighted])
    ranges = _noisy_ranges(samples[weighted], layout.image_shape is not None)
    if X_second is None:
        return Pair(inputs, inputs, None, specification_key(("in X", noise)), "noisy", *ranges, noise=noise)
    _refuse_second_noise(noise, "X_second holds the noise already")
    second = check_clean_side(estimator, X_second, samples.shape, "X_second")
    if np.array_equal(samples, second):
        raise ValueError(
            "X_second equals X. Two measurements of the same have independent noise, so that the network "
            "cannot learn it."
        )
    targets = as_float_array(second[weighted])
    difference = targets.astype(np.float64) - inputs
    if abs(float(difference.mean())) > MAX_OFFSET * float(difference.std()):
        warn_user(
            f"X_second is {float(difference.mean()):+.3g} from X on average, and the noise of both is about "
            f"{float(difference.std()) / np.sqrt(2):.3g}. Two measurements of the same have one mean, so one "
            "of them seems to have another offset or unit, which predictions would mix."
        )
    return Pair(inputs, targets, None, "given", "X_second", *ranges)


def _noisy_ranges(noisy: NDArray[Any], are_images: bool) -> tuple[IntensityRange, IntensityRange | None]:
    """Return the data range of noisy samples, and black and white if known."""
    if not are_images or noisy.dtype.kind != "f":
        return _intensity_ranges(noisy)
    # The noise reaches beyond black and white.
    measured = IntensityRange.of(noisy)
    return measured, measured if measured == UNIT else None


def _apply_rules(
    estimator: BaseEstimator,
    X: ArrayLike,
    samples: NDArray[Any],
    y: Any,
    X_clean: ArrayLike | None,
    noise: Any,
    rows_are_signals: bool,
    weighted: Any,
) -> Pair:
    """Determine the clean side of checked samples; keep those with a weight."""
    source = carried_source(X)
    if X_clean is not None:
        return _pair_as_given(estimator, samples, X_clean, "X_clean", noise, weighted)
    # In pipeline.fit(X, X), y is the clean source that the output of the noiser carries.
    is_source = source is not None and _equals(y, source.clean)
    names = getattr(estimator, "feature_names_in_", None)
    if is_clean_side(y, samples, warn=True, names=names) and not _equals(y, samples) and not is_source:
        if source is not None:
            warn_user(
                f"X came out of {source.noiser!r} and carries its clean side, but y is another one. That is "
                "the case if a step before the noiser scales X, and not y. The pair (X, y) is used as given: "
                "one frozen draw of noise. Pass no y to learn from fresh noise, in one unit.",
                CleanTargetWarning,
            )
        return _pair_as_given(estimator, samples, y, "y", noise, weighted)
    if source is not None:
        return _pair_with_source(estimator, samples, source, noise, weighted)
    samples, _, gaps = _complete(estimator, samples[weighted])
    # Rule 4: X is clean.
    inputs = as_float_array(samples)
    layout = _layout_of(estimator, samples, rows_are_signals)
    table = X if hasattr(X, "columns") else samples
    noiser = _resolve_noise(noise, lambda: default_noiser(inputs, layout.has_one_unit), table)
    if leaves_gaps(noiser) and not allows_gaps(estimator):
        raise ValueError(
            f"{noiser!r} leaves NaN in place of hidden values, and {type(estimator).__name__} takes no gaps "
            'here. Fill them, fill="mean"; or use DenoisingAutoencoder with missing="mask".'
        )
    return Pair(inputs, inputs, noiser, specification_key(noise), "X", *_intensity_ranges(samples), **gaps)


def resolve_validation_pair(
    estimator: BaseEstimator, X_val: ArrayLike, X_clean_val: ArrayLike | None, training: Pair
) -> Pair:
    """Return validation samples as a pair, with the noise of the training pair."""
    source = carried_source(X_val)
    samples = check_samples(estimator, X_val, reset=False, allow_gaps=allows_gaps(estimator))
    if training.has_noisy_targets:
        if X_clean_val is not None or training.source == "X_second":
            raise ValueError(
                "The training data have no clean side, so the validation data are noisy X_val alone. Without "
                "X_val, early_stopping holds out a part of X."
                if training.source == "noisy"
                else "X_second has no counterpart for X_val. Without X_val, early_stopping holds out pairs."
            )
        inputs = as_float_array(samples)
        return replace(training, inputs=inputs, targets=inputs, weights=None)
    if X_clean_val is not None:
        refuse_other_index(X_val, X_clean_val, "X_clean_val", "X_val")
        return _pair_as_given(estimator, samples, X_clean_val, "X_clean_val", "auto", like=training)
    if training.source in ("X_clean", "y"):
        raise ValueError(
            f"The clean side of the training data is {training.source}, so X_val needs one too: pass "
            "X_clean_val, of the same shape."
        )
    if source is None:
        warn_of_lost_source(samples, name="X_val")
    else:
        samples = _check_source(source, samples).clean
    samples, _, gaps = _complete(estimator, samples, "X_val", like=training)
    inputs = as_float_array(samples)
    warn_of_other_unit(inputs, float(training.inputs.min()), float(training.inputs.max()), "X_val")
    return replace(training, inputs=inputs, targets=inputs, weights=None, **gaps)


def _pair_as_given(
    estimator: BaseEstimator,
    samples: NDArray[Any],
    clean: ArrayLike,
    name: Any,
    noise: Any,
    weighted: Any = slice(None),
    like: Pair | None = None,
) -> Pair:
    """Return a pair by rules 1 and 2: the user passes noisy and clean samples.

    ``like`` is the training pair, for validation samples.
    """
    _refuse_second_noise(noise, f"{name} already pairs X with its clean side")
    clean_source = carried_source(clean)
    if clean_source is not None:
        raise ValueError(
            f"{name} is the output of {clean_source.noiser!r}, so it is not clean. In a pipeline that routes "
            f'{name} through a noiser, that noiser needs apply="fit".'
        )
    target = check_clean_side(estimator, clean, samples.shape, name)
    if name == "X_clean" and _equals(target, samples):
        warn_user(
            "X_clean equals X: there is no noise to learn from. Pass fit(X) to learn from fresh noise.",
            CleanTargetWarning,
        )
    side = "X_val" if name == "X_clean_val" else "X"
    samples, target, gaps = _complete(estimator, samples[weighted], side, target[weighted], name, like)
    ranges = _intensity_ranges(target)
    return Pair(as_float_array(samples), as_float_array(target), None, "given", name, *ranges, **gaps)


def _pair_with_source(
    estimator: BaseEstimator, samples: NDArray[Any], source: CleanSource, noise: Any, weighted: Any
) -> Pair:
    """Return a pair by rule 3: X is the output of a noiser, with its clean source."""
    if size_factor_of(source.noiser) > 1:
        raise ValueError(
            f"X came out of {source.noiser!r}, which reduces images, and {type(estimator).__name__} keeps "
            "their size. Use ImageDenoiser, which enlarges them."
        )
    _refuse_second_noise(noise, f"X was already corrupted by {source.noiser!r}")
    clean, _, gaps = _complete(estimator, _check_source(source, samples).clean[weighted])
    inputs = as_float_array(clean)
    return Pair(
        inputs,
        inputs,
        clone(source.noiser),
        specification_key(source.noiser),
        "noiser",
        *_intensity_ranges(clean),
        **gaps,
    )


def _complete(
    estimator: Any,
    samples: NDArray[Any],
    name: str = "X",
    targets: NDArray[Any] | None = None,
    name_of_targets: str = "",
    like: Pair | None = None,
) -> tuple[NDArray[Any], NDArray[Any], dict[str, Any]]:
    """Return both sides without gaps, and the fields of a pair that mark the gaps.

    Without ``targets``, the samples are the targets. Validation samples are completed beside those of the
    training pair ``like``.
    """
    sides = [samples] if targets is None else [samples, targets]
    if not allows_gaps(estimator) or not any(
        side.dtype.kind == "f" and np.isnan(side).any() for side in sides
    ):
        return samples, samples if targets is None else targets, {"input_gaps": None, "target_gaps": None}
    names = getattr(estimator, "feature_names_in_", None)
    for side, name_of_side in zip(sides, (name, name_of_targets), strict=False):
        if side.ndim != 2:
            raise ValueError(
                f"{name_of_side} holds stacks of shape {side.shape} with NaN, and missing entries are for "
                "rows of tables. Fill the gaps of images first."
            )
        if like is None:
            refuse_empty_columns(side, name_of_side, names)
    gaps, sides = [np.isnan(side) for side in sides], [as_float_array(side) for side in sides]
    if like is not None:
        known = like.take(np.arange(min(len(like.inputs), MAX_ROWS_BESIDE)))
        sides = [np.vstack(parts) for parts in zip(sides, (known.inputs, known.targets), strict=False)]
    seed = stream_seed(estimator._root(), "gaps")
    if targets is None:
        first = last = complete_rows(sides[0], seed)[: len(samples)]
    else:
        first, last = (side[: len(samples)] for side in complete_pair(sides[0], sides[1], seed))
    return first, last, {"input_gaps": gaps[0], "target_gaps": gaps[-1]}


def _intensity_ranges(clean: NDArray[Any]) -> tuple[IntensityRange, IntensityRange | None]:
    """Return the data range of clean samples, and black and white if known."""
    return IntensityRange.of_clean(clean), IntensityRange.known(clean)


def _check_source(source: CleanSource, samples: NDArray[Any]) -> CleanSource:
    """Check that a clean source belongs to samples row by row, and return it."""
    if not source.describes(samples):
        raise ValueError(
            f"X came out of {source.noiser!r} and was edited, sliced, shuffled, converted or joined with "
            "other data since, so its clean source no longer belongs to it row by row. Pass the clean side "
            "as X_clean=, or edit the clean data before the noiser. If X is meant as clean data: "
            "X = numpy.asarray(X), fit(X, X)."
        )
    return source


def _refuse_second_noise(noise: Any, reason: str) -> None:
    """Refuse a parameter ``noise`` for samples that are noisy already."""
    if not (isinstance(noise, str) and noise == "auto"):
        raise ValueError(
            f'noise given twice: {reason}, and the estimator has noise={noise!r}. Leave it at noise="auto".'
        )


def leaves_gaps(noiser: Any) -> bool:
    """Return whether noise hides values and leaves NaN in their place."""
    if noiser is None:
        return False
    parts = [noiser, *(noiser.get_params().values() if hasattr(noiser, "get_params") else ())]
    fills = [getattr(part, "fill", None) for part in parts]
    return any(isinstance(fill, Real) and math.isnan(fill) for fill in fills)


def _resolve_noise(noise: Any, default: Callable[[], Noiser], X: Any) -> Noiser | None:
    """Return the noiser of the parameter ``noise``."""
    if noise is None:
        return None
    if isinstance(noise, str) and check_one_of(noise, {"auto": None, **NOISERS}, "noise") is None:
        return default()
    # A fit changes noisers, and the parameter of the user must stay as it is.
    noiser: Noiser = bind_columns(resolve_noiser(noise), X)
    return noiser


def _equals(y: Any, array: NDArray[Any]) -> bool:
    """Return whether y has the same numbers as an array."""
    return are_equal(as_numeric_array(y), array)
