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

__all__ = ["Divergence", "NoisyData", "denoise_parts", "measure_divergence", "refuse_added_noise"]

# Steps of finite differences in noise standard deviations. A step much smaller than the noise misses the
# jumps of filters with thresholds, which count. The second step shows whether the first one matters.
STEP, CHECK_STEP = 0.1, 0.025
# Step that tells a constant function from one that rounds its input.
LARGE_STEP = 2.0
# Difference of the two steps, as a share of the noise variance, from which a denoiser is refused.
MAX_DISAGREEMENT = 0.1
# Relative error of single precision, with that of the sums in a denoiser.
SINGLE_ERROR = 1e-5
# Values of probes with mean 0 and variance 1, whose third moment is 1.
GOLDEN = (1 + math.sqrt(5)) / 2
SKEWED, SHARE_OF_LARGE = (-1 / GOLDEN, GOLDEN), 1 / (GOLDEN * math.sqrt(5))

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
    prediction: Parts,
    variances: Parts,
    *,
    gain: float = 0.0,
    read_noise: float = 0.0,
    n_probes: int,
    rng: np.random.Generator,
    check_steps: bool = True,
) -> Divergence:
    """Measure the divergence of a denoiser by random probes.

    Parameters
    ----------
    denoiser, data
        As for :func:`denoise_parts`.
    prediction : list of ndarray
        Prediction of the denoiser.
    variances : list of ndarray
        Noise variance of each entry.
    gain, read_noise : float
        Noise of counts; 0 for Gaussian noise. For counts the second derivative counts too.
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
    sigmas = [np.sqrt(variance) for variance in variances]
    differentiate = None if gain else _forward_derivative(denoiser, data)
    # The expectation of noise times prediction, exact for Gaussian noise, has a further term for counts:
    # y * (f(y) - f(y - gain)) is gain * y * f' - gain**2 / 2 * y * f'' up to the third derivative.
    tiny = np.finfo(float).tiny
    count_shares = [1 - read_noise**2 / np.maximum(v, max(tiny, read_noise**2)) for v in variances]

    def along(signs: Parts, step: float) -> tuple[Parts, Parts]:
        return _finite_differences(denoiser, data, prediction, sigmas, signs, step)

    products: list[Parts] = []
    square = disagreement = 0.0
    for number in range(n_probes):
        signs = [_draw_probe(part.shape, rng, is_skewed=gain > 0) for part in data.parts]
        if differentiate is not None:
            directions = [s * b for s, b in zip(sigmas, signs, strict=True)]
            try:
                slopes, bends = differentiate(directions), None
            # Modules of users may have operations without forward derivatives.
            except (NotImplementedError, RuntimeError):
                differentiate = None
                slopes, bends = along(signs, STEP)
        else:
            slopes, bends = along(signs, STEP)
        weighted = [s * slope for s, slope in zip(sigmas, slopes, strict=True)]
        square += sum(float(np.square(w).sum()) for w in weighted) / n_probes
        terms = [b * w for b, w in zip(signs, weighted, strict=True)]
        if differentiate is None and number == 0 and check_steps:
            _refuse_rounding(denoiser, data, prediction, sigmas, signs, slopes)
            check, _ = along(signs, CHECK_STEP)
            other = sum(float((b * s * c).sum()) for b, s, c in zip(signs, sigmas, check, strict=True))
            disagreement = abs(sum(float(term.sum()) for term in terms) - other)
        if gain and bends is not None:
            terms = [
                t - gain / 2 * b * bend * share
                for t, b, bend, share in zip(terms, signs, bends, count_shares, strict=True)
            ]
        products.append(terms)
    power = sum(float(variance.sum()) for variance in variances)
    if 2 * disagreement > MAX_DISAGREEMENT * power:
        raise ValueError(
            "The derivative of the denoiser depends on the step of the finite differences: it rounds, draws "
            "random numbers, or jumps. Pass floats, fix its random_state, or take a smoother denoiser."
        )
    totals = [sum(float(term.sum()) for term in terms) for terms in products]
    # Twice the sum of the variances of the entries bounds the variance of their sum, since A[i, j] and
    # A[j, i] use the same two signs. A single probe has no variance: its bound is the sum of squares.
    if n_probes > 1:
        spread = sum(float(np.var(each, axis=0, ddof=1).sum()) for each in zip(*products, strict=True))
    else:
        spread = square
    return Divergence(float(np.mean(totals)), square, 2 * spread / n_probes + disagreement**2)


def _draw_probe(shape: tuple[int, ...], rng: np.random.Generator, *, is_skewed: bool) -> NDArray[np.float64]:
    """Return random numbers of mean 0 and variance 1, of one of two values."""
    if is_skewed:
        return np.where(rng.random(shape) < SHARE_OF_LARGE, SKEWED[1], SKEWED[0])
    return np.where(rng.random(shape) < 0.5, -1.0, 1.0)


def _finite_differences(
    denoiser: Any, data: NoisyData, prediction: Parts, sigmas: Parts, signs: Parts, step: float
) -> tuple[Parts, Parts]:
    """Return two derivatives along a direction, by central differences."""
    steps = [step * s * b for s, b in zip(sigmas, signs, strict=True)]
    dtype = _precision(data, sigmas, step)
    # Warnings about these data came with the prediction.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        above, below = (
            denoise_parts(
                denoiser,
                data,
                [(x + sign * h).astype(dtype) for x, h in zip(data.parts, steps, strict=True)],
            )
            for sign in (1, -1)
        )
    first = [(a - b) / (2 * step) for a, b in zip(above, below, strict=True)]
    second = [(a - 2 * p + b) / step**2 for a, p, b in zip(above, prediction, below, strict=True)]
    return first, second


def _precision(data: NoisyData, sigmas: Parts, step: float) -> type[np.floating[Any]]:
    """Return single precision for data in it, if it resolves the step; else double."""
    largest = max(float(np.abs(part).max()) for part in data.parts)
    smallest = min((float(sigma[sigma > 0].min()) for sigma in sigmas if (sigma > 0).any()), default=0.0)
    is_resolved = SINGLE_ERROR * largest < step * smallest
    return np.float32 if data.is_single and is_resolved else np.float64


def _refuse_rounding(
    denoiser: Any, data: NoisyData, prediction: Parts, sigmas: Parts, signs: Parts, slopes: Parts
) -> None:
    """Raise an error for a denoiser that ignores small changes, but not large ones."""
    if any(slope.any() for slope in slopes):
        return
    large = _finite_differences(denoiser, data, prediction, sigmas, signs, LARGE_STEP)[0]
    if any(slope.any() for slope in large):
        raise ValueError(
            "The denoiser ignores changes of a tenth of the noise: it rounds its input. Let it take floats."
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
