"""The divergence of a denoiser, by forward derivatives or by finite differences."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from sk_denoise._compat import to_array_type_of, to_numpy
from sk_denoise._intensity import has_image_depth
from sk_denoise._validation import as_image_array, check_numbers, find_noisers, restore_container
from sk_denoise.metrics._scorers import invert_earlier_steps, takes_images

__all__ = [
    "FEW_COUNTS",
    "Divergence",
    "NoisyData",
    "denoise_parts",
    "correct_for_counts",
    "measure_divergence",
    "refuse_added_noise",
]

# Steps of finite differences in noise standard deviations. The small one is more accurate; the large one is
# for filters that jump. Their jumps count, and a small step rarely meets one.
SMALL_STEP, LARGE_STEP = 0.025, 0.1
# Ratio of the squared derivatives of both steps from which a denoiser jumps.
JUMPS = 2.0
# Step that tells a constant function from one that rounds its input.
VISIBLE_STEP = 2.0
# Difference of the two steps, as a share of the noise variance, from which a denoiser is refused.
MAX_DISAGREEMENT = 0.1
# Relative error of single precision, with that of the sums in a denoiser.
SINGLE_ERROR = 1e-5
# Mean variance in squared gains up to which noise of counts needs steps of one count, and the share of the
# entries that lose or gain one at a time: more of them would influence each other.
FEW_COUNTS, SPARSE = 50.0, 0.02
# Small step for counts, as a part of one.
PART_OF_COUNT = 0.25

# One array for rows and stacks, one for each image of a list.
Parts = list[NDArray[np.float64]]
Denoise = Callable[[Parts], Parts]


@dataclass(frozen=True)
class NoisyData:
    """Noisy data as arrays of floats, and the way back to the container of the user.

    Attributes
    ----------
    parts : list of ndarray
        One array for rows and stacks, one for each image of a list.
    like : object
        Data of the user.
    is_list : bool
        Whether the data are a list of images.
    """

    parts: Parts
    like: Any
    is_list: bool

    @classmethod
    def of(cls, X: Any, denoiser: Any = None, name: str = "X_noisy") -> NoisyData:
        """Check noisy data, and convert them to floats."""
        is_list = isinstance(X, list | tuple) and any(hasattr(x, "ndim") and x.ndim > 1 for x in X)
        if is_list:
            return cls([_as_floats(as_image_array(x), f"{name}[{i}]") for i, x in enumerate(X)], X, True)
        if getattr(X, "ndim", 0) == 4 and takes_images(denoiser):
            # Stacks of tensors have their channels first.
            X = as_image_array(X)
        return cls([_as_floats(to_numpy(X), name)], X, False)

    @property
    def size(self) -> int:
        """Number of entries."""
        return sum(part.size for part in self.parts)

    @cached_property
    def is_single(self) -> bool:
        """Whether the data of the user are in single precision, or short integers."""
        items = self.like if self.is_list else [self.like]
        dtypes = [getattr(to_numpy(as_image_array(item)), "dtype", None) for item in items]
        return all(isinstance(d, np.dtype) and (d == np.float32 or has_image_depth(d)) for d in dtypes)

    def restore(self, parts: Parts) -> Any:
        """Return arrays in the container of the user."""
        if self.is_list:
            return parts
        return to_array_type_of(self.like, restore_container(parts[0], self.like))


def _as_floats(X: ArrayLike, name: str) -> NDArray[np.float64]:
    return check_numbers(X, name).astype(np.float64)


def refuse_added_noise(estimator: Any) -> None:
    """Raise an error for an estimator that adds noise when it predicts."""
    for held in find_noisers(getattr(estimator, "best_estimator_", estimator)):
        if getattr(held, "apply", "fit") == "always":
            raise ValueError(
                f"The estimator holds {held!r}, which adds noise to data that are noisy already. Give it "
                'apply="fit".'
            )


def denoise_parts(denoiser: Any, data: NoisyData, parts: Parts | None = None) -> Parts:
    """Return the prediction of a denoiser in the unit of its input.

    Parameters
    ----------
    denoiser : estimator or callable
        Fitted estimator with ``predict``, or with ``transform`` and ``inverse_transform``; a pipeline or a
        search of them; or a function of an array.
    data : NoisyData
        Noisy data.
    parts : list of ndarray, optional
        Other numbers of the same shapes, in place of those of the user.

    Raises
    ------
    ValueError
        If the prediction has another shape.
    """
    # Integers of the user keep their type, since some denoisers take their range from it.
    given = data.like if parts is None else data.restore(parts)
    if data.is_list and not isinstance(given, list):
        given = list(given)
    prediction = _predict(denoiser, given)
    outputs = list(prediction) if data.is_list else [prediction]
    arrays = [np.asarray(to_numpy(as_image_array(output)), np.float64) for output in outputs]
    expected = [part.shape for part in data.parts]
    if [array.shape for array in arrays] != expected:
        raise ValueError(
            f"The denoiser returned the shape {arrays[0].shape} for the shape {expected[0]}. Pass a denoiser "
            "that returns denoised data, such as DenoisingAutoencoder, PCA, a pipeline or a function."
        )
    if not all(np.isfinite(array).all() for array in arrays):
        raise ValueError("The denoiser returned numbers that are not finite.")
    return arrays


def _predict(denoiser: Any, X: Any) -> Any:
    if not hasattr(denoiser, "fit"):
        if not callable(denoiser):
            raise TypeError(
                "denoiser must be a fitted estimator, a pipeline or a function of an array, got "
                f"{denoiser!r}."
            )
        return denoiser(X)
    estimator = getattr(denoiser, "best_estimator_", denoiser)
    last = _last_step(estimator)
    if hasattr(last, "predict") and hasattr(estimator, "predict"):
        return invert_earlier_steps(estimator, estimator.predict(X))
    if not hasattr(estimator, "transform"):
        raise TypeError(f"{type(last).__name__} has neither predict nor transform, so it denoises nothing.")
    if hasattr(estimator, "inverse_transform"):
        # PCA and its kin project, and return to the space of the data.
        return restore_container(np.asarray(to_numpy(estimator.inverse_transform(estimator.transform(X)))), X)
    return estimator.transform(X)


def _last_step(estimator: Any) -> Any:
    return _last_step(estimator[-1]) if isinstance(estimator, Pipeline) else estimator


@dataclass(frozen=True)
class Divergence:
    """Divergence of a denoiser for noise of some variance.

    ``A`` is the Jacobian, with rows and columns multiplied by the noise standard deviations.

    Attributes
    ----------
    trace : float
        Sum of the covariances of noise and prediction, the trace of A.
    square : float
        Sum of the squared entries of A, a bound of the trace of its square.
    variance : float
        Variance of the trace, because of random probes and of the step of finite differences.
    """

    trace: float
    square: float
    variance: float


def measure_divergence(
    denoiser: Any,
    data: NoisyData,
    variances: Parts,
    *,
    n_probes: int,
    rng: np.random.Generator,
    check_steps: bool = True,
) -> Divergence:
    """Measure the divergence of a denoiser by random probes.

    Parameters
    ----------
    denoiser, data
        As for :func:`denoise_parts`.
    variances : list of ndarray
        Noise variance of each entry.
    n_probes : int
        Number of probes.
    rng : Generator
        Source of randomness.
    check_steps : bool, default=True
        Whether to compare two steps of finite differences.

    Raises
    ------
    ValueError
        If the result depends on the step of finite differences.
    """
    # The estimated variance of a few counts may be negative, since read noise is.
    sigmas = [np.sqrt(np.abs(variance)) for variance in variances]
    differentiate = _forward_derivative(denoiser, data)
    step, doubt = SMALL_STEP, 0.0
    products: list[Parts] = []
    square = 0.0
    for number in range(n_probes):
        signs = [_draw_signs(part.shape, rng) for part in data.parts]
        slopes = None
        if differentiate is not None:
            try:
                slopes = differentiate([s * b for s, b in zip(sigmas, signs, strict=True)])
            # Modules of users may have operations without forward derivatives.
            except (NotImplementedError, RuntimeError):
                differentiate = None
        if slopes is None:
            slopes = _finite_differences(denoiser, data, sigmas, signs, step)
            if number == 0 and check_steps:
                large = _finite_differences(denoiser, data, sigmas, signs, LARGE_STEP)
                choice = _compare_steps(slopes, large, sigmas, signs)
                _refuse_rounding(denoiser, data, sigmas, signs, slopes)
                doubt = choice.doubt
                if choice.jumps:
                    step, slopes = LARGE_STEP, large
        weighted = [s * slope for s, slope in zip(sigmas, slopes, strict=True)]
        square += sum(float(np.square(w).sum()) for w in weighted) / n_probes
        terms = [np.sign(v) * b * w for v, b, w in zip(variances, signs, weighted, strict=True)]
        products.append(terms)
    power = sum(float(variance.sum()) for variance in variances)
    if 2 * doubt > MAX_DISAGREEMENT * power:
        raise ValueError(
            "The derivative of the denoiser depends on the step of the finite differences: it rounds, or "
            "draws random numbers. Pass floats, fix its random_state, or take another denoiser."
        )
    totals = [sum(float(term.sum()) for term in terms) for terms in products]
    # Twice the sum of the variances of the entries bounds the variance of their sum, since A[i, j] and
    # A[j, i] use the same two signs. A single probe has no variance: its bound is the sum of squares.
    if n_probes > 1:
        spread = sum(float(np.var(each, axis=0, ddof=1).sum()) for each in zip(*products, strict=True))
    else:
        spread = square
    return Divergence(float(np.mean(totals)), square, 2 * spread / n_probes + doubt**2)


def correct_for_counts(
    denoiser: Any,
    data: NoisyData,
    prediction: Parts,
    photons: Parts,
    gain: float,
    *,
    n_probes: int,
    rng: np.random.Generator,
) -> tuple[float, float]:
    """Return the correction of the trace for steps of one count, and its variance.

    For counts y with gain g, the expectation of noise times prediction is that of
    ``y * (f(y) - f(y - g))``, with one entry less by g at a time: exact also where the denoiser bends within
    one count. The difference from the derivative is 0 for linear denoisers, so that few entries are enough.

    Parameters
    ----------
    denoiser, data, n_probes, rng
        As for :func:`measure_divergence`.
    prediction : list of ndarray
        Prediction of the denoiser.
    photons : list of ndarray
        Number of photons times the gain of each entry; 0 for entries that do not count.
    gain : float
        Value of one count.
    """
    trace = variance = 0.0

    def shifted(steps: Parts, factor: float) -> Parts:
        return _denoise_quietly(
            denoiser, data, [x + factor * h for x, h in zip(data.parts, steps, strict=True)]
        )

    for _ in range(n_probes):
        steps = [
            gain * _draw_signs(y.shape, rng) * ((rng.random(y.shape) < SPARSE) & (y != 0)) for y in photons
        ]
        outputs = [shifted(steps, factor) for factor in (1.0, -1.0, PART_OF_COUNT, -PART_OF_COUNT)]
        for step, y, f, *shifts in zip(steps, photons, prediction, *outputs, strict=True):
            above, below, slightly_above, slightly_below = shifts
            slope = (slightly_above - slightly_below) / (2 * PART_OF_COUNT)
            # An entry loses a count in one of the two directions.
            bend = np.where(step < 0, f - above + slope, f - below - slope)
            terms = np.where(step != 0, y * bend, 0.0) / SPARSE
            trace += float(terms.sum()) / n_probes
            variance += float(np.square(terms).sum()) / n_probes**2
    return trace, variance


def _draw_signs(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
    return np.where(rng.random(shape) < 0.5, -1.0, 1.0)


def _finite_differences(denoiser: Any, data: NoisyData, sigmas: Parts, signs: Parts, step: float) -> Parts:
    """Return the derivative along a direction, by central differences."""
    steps = [step * s * b for s, b in zip(sigmas, signs, strict=True)]
    dtype = _precision(data, sigmas, step)
    above, below = (
        _denoise_quietly(
            denoiser, data, [(x + sign * h).astype(dtype) for x, h in zip(data.parts, steps, strict=True)]
        )
        for sign in (1, -1)
    )
    return [(a - b) / (2 * step) for a, b in zip(above, below, strict=True)]


def _denoise_quietly(denoiser: Any, data: NoisyData, parts: Parts) -> Parts:
    # Warnings about these data came with the prediction.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return denoise_parts(denoiser, data, parts)


@dataclass(frozen=True)
class _StepChoice:
    """Comparison of two steps of finite differences.

    Attributes
    ----------
    jumps : bool
        Whether the denoiser jumps, as filters with thresholds do, so that the large step is the better one.
    doubt : float
        Possible error of the trace.
    """

    jumps: bool
    doubt: float


def _compare_steps(small: Parts, large: Parts, sigmas: Parts, signs: Parts) -> _StepChoice:
    """Compare the derivatives of a small and of a large step."""
    traces, squares = [], []
    for slopes in (small, large):
        weighted = [s * slope for s, slope in zip(sigmas, slopes, strict=True)]
        traces.append(sum(float((b * w).sum()) for b, w in zip(signs, weighted, strict=True)))
        squares.append(sum(float(np.square(w).sum()) for w in weighted))
    difference = abs(traces[0] - traces[1])
    if squares[0] > JUMPS * squares[1]:
        # Jumps are rare in a small step, and each counts much: their mean is right, with a large variance.
        return _StepChoice(True, max(0.0, difference - 2 * math.sqrt(2 * squares[0])))
    # The error of central differences grows with the square of the step, so that of the small one is smaller.
    is_smooth = JUMPS * squares[0] > squares[1]
    return _StepChoice(False, difference / 4 if is_smooth else difference)


def _precision(data: NoisyData, sigmas: Parts, step: float) -> type[np.floating[Any]]:
    """Return single precision for data in it, if it resolves the step; else double."""
    largest = max(float(np.abs(part).max()) for part in data.parts)
    smallest = min((float(sigma[sigma > 0].min()) for sigma in sigmas if (sigma > 0).any()), default=0.0)
    is_resolved = SINGLE_ERROR * largest < step * smallest
    return np.float32 if data.is_single and is_resolved else np.float64


def _refuse_rounding(denoiser: Any, data: NoisyData, sigmas: Parts, signs: Parts, slopes: Parts) -> None:
    """Raise an error for a denoiser that ignores small changes, but not large ones."""
    if any(slope.any() for slope in slopes):
        return
    large = _finite_differences(denoiser, data, sigmas, signs, VISIBLE_STEP)
    if any(slope.any() for slope in large):
        raise ValueError(
            "The denoiser ignores small changes, and not large ones: it rounds its input, or returns "
            "numbers that it has stored. Let it take floats, or take another denoiser."
        )


def _forward_derivative(denoiser: Any, data: NoisyData) -> Callable[[Parts], Parts] | None:
    """Return the derivative of a network estimator along a direction, None for others."""
    estimator = getattr(denoiser, "best_estimator_", denoiser)
    if not hasattr(estimator, "_differentiate") or isinstance(estimator, Pipeline):
        return None
    check_is_fitted(estimator)
    given = data.like

    def differentiate(directions: Parts) -> Parts:
        slopes = estimator._differentiate(given, directions if data.is_list else directions[0])
        parts = slopes if data.is_list else [slopes]
        return [np.asarray(part, np.float64) for part in parts]

    return differentiate
