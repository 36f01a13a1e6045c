"""Base classes of noisers, checks of their parameters, noisers by name."""

from __future__ import annotations

import inspect
import math
from abc import abstractmethod
from collections.abc import Sequence
from numbers import Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from sk_denoise._clean_source import (
    CleanSource,
    attach_source,
    carried_source,
    fingerprint_of,
    remember_noise,
    warn_of_lost_source,
)
from sk_denoise._compat import SampleTransformer, as_one_task, keeps_array_type, without_callbacks
from sk_denoise._random import root_seed, stream
from sk_denoise._registry import NOISES, LazyTable
from sk_denoise._resources import threads_for_entries
from sk_denoise._scaling import subsample
from sk_denoise._validation import (
    Noiser,
    StrOptions,
    as_float_array,
    as_tensor,
    check_lengths,
    check_noiser,
    check_one_of,
    check_parameters,
    check_samples,
    refuse_channels_first,
    refuse_single_image,
    warn_of_flat_channels_first,
    warn_of_single_image,
    warn_user,
    wrap_output,
)

__all__ = [
    "BaseNoiser",
    "ImageNoiser",
    "NOISERS",
    "STRENGTH",
    "as_strength",
    "check_bounds",
    "check_strength",
    "is_strength",
    "resolve_noiser",
    "warn_of_other_limits",
]

# Types of a strength of noise: a number or a pair of numbers.
STRENGTH = [Real, tuple, list]
# Limits below or above these multiples of the clean range cannot be black and white.
NARROW, WIDE = 0.1, 64


class BaseNoiser(SampleTransformer):
    """Base of noisers: they corrupt in training only, with a clean source.

    A subclass lists its parameters and their constraints, learns from clean data in ``_learn``, and corrupts
    tensors in ``corrupt``. It has the parameters ``apply`` and ``random_state``.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "apply": [StrOptions({"fit", "always"})],
        "random_state": ["random_state"],
    }
    # Whether NaN in the data of a fit marks missing entries.
    _takes_gaps: ClassVar[bool] = False
    apply: Literal["fit", "always"]
    random_state: int | RandomState | None

    @abstractmethod
    def corrupt(self, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return a corrupted copy of x, in the unit and type of x.

        Estimators and scorers call it for every fresh corruption.

        Parameters
        ----------
        x : Tensor of shape (n_samples, ...)
            Clean samples, in the layout of ``fit``.
        generator : torch.Generator
            Source of randomness, on the device of ``x``.

        Returns
        -------
        Tensor of the shape and type of x
        """

    @keeps_array_type
    @as_one_task
    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Learn the parameters of the noise that depend on the clean data.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels])
            Clean samples.
        y : array-like of as many samples, optional
            Not used. X itself as y confirms that X is clean, even if it carries the noise of a noiser.

        Returns
        -------
        self
        """
        self._fit(X, y)
        return self

    @keeps_array_type
    @as_one_task
    def fit_transform(self, X: ArrayLike, y: Any = None) -> Any:
        """Fit to clean data and return a corrupted copy that carries its clean source.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels])
            Clean samples; integers become float32 in the same unit.
        y : array-like of as many samples, optional
            Not used. X itself as y confirms that X is clean, even if it carries the noise of a noiser.

        Returns
        -------
        NoisedArray or DataFrame of the shape of X
            Noisy samples with their clean source, for an estimator directly after the noiser.
        """
        return self._corrupt_samples(self._fit(X, y), X)

    @keeps_array_type
    def transform(self, X: ArrayLike) -> Any:
        """Return the data as they are, or corrupted if ``apply="always"``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels])
            Samples in the layout of ``fit``.

        Returns
        -------
        ndarray or DataFrame of the shape of X
        """
        check_is_fitted(self)
        samples = check_samples(self, X, reset=False, allow_gaps=self._takes_gaps)
        return self._corrupt_samples(samples, X) if self.apply == "always" else as_float_array(samples)

    def _fit(self, X: ArrayLike, y: Any) -> NDArray[Any]:
        self._check_parameters()
        earlier = carried_source(X)
        if earlier is not None:
            raise ValueError(
                f"X is the output of {earlier.noiser!r}, so it is not clean, as {type(self).__name__} needs "
                "it. Use one NoiserChain([...]); or declare X to be clean, X = numpy.asarray(X), fit(X, X)."
            )
        clean = check_samples(self, X, reset=True, allow_gaps=self._takes_gaps)
        check_lengths(clean, y)
        # X itself as y declares noisy data to be clean.
        if y is not X:
            warn_of_lost_source(clean, y)
        with threads_for_entries(clean.size):
            self._learn(as_tensor(as_float_array(clean)))
        return clean

    def _check_parameters(self) -> None:
        check_parameters(self, {**BaseNoiser._parameter_constraints, **self._parameter_constraints})

    def _check_fitted(self) -> None:
        # check_is_fitted is slow, and noise is drawn for every batch.
        if not self.__sklearn_is_fitted__():
            check_is_fitted(self)

    def _learn(self, clean: torch.Tensor) -> None:
        """Learn from clean samples, in their own unit."""

    def _corrupt_samples(self, clean: NDArray[Any], X: ArrayLike) -> Any:
        # A child seed for each set of samples: equal data get equal noise, so that fit_transform and
        # transform agree with apply="always", as scikit-learn's checks demand; other data get independent
        # noise.
        generator = stream(root_seed(self.random_state), fingerprint_of(clean))
        with threads_for_entries(clean.size):
            noisy = self.corrupt(as_tensor(as_float_array(clean)), generator).numpy()
        source = CleanSource.of(clean, without_callbacks(self), noisy)
        remember_noise(clean, noisy, self)
        return attach_source(wrap_output(noisy, X, self), source)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "n_features_in_")

    def __sklearn_tags__(self) -> Tags:
        tags: Tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self._takes_gaps
        return tags


class ImageNoiser(BaseNoiser):
    """Base of noisers that depend on the positions of entries in a sample.

    It has the parameter ``image_shape``, for rows that are flattened images.
    """

    image_shape: Sequence[int] | None
    # Whether rows without an image_shape are signals. If not, the noise is for images alone.
    _takes_rows: ClassVar[bool] = True

    def _check_parameters(self) -> None:
        check_parameters(self, {"image_shape": [tuple, list, None]})
        super()._check_parameters()

    def _as_images(self, x: torch.Tensor) -> torch.Tensor:
        """Return rows as images of ``image_shape``, other samples as they are."""
        return x if self.image_shape is None else x.reshape(len(x), *self.image_shape)

    def _check_layout(self, clean: torch.Tensor) -> None:
        warn_of_flat_channels_first(tuple(clean.shape), self.image_shape)
        refuse_channels_first(tuple(clean.shape[1:]), self.image_shape)
        refuse_single_image(tuple(clean.shape), self.image_shape)
        if self.image_shape is None:
            if clean.ndim == 2 and not self._takes_rows:
                raise ValueError(
                    f"{type(self).__name__} is for images, got rows of shape {tuple(clean.shape)}. Pass a "
                    "stack of shape (n_images, height, width[, channels]), or image_shape with flat rows."
                )
            if clean.ndim == 2:
                warn_of_single_image(clean.numpy(), "rows")
            return
        shape, declared = tuple(clean.shape[1:]), tuple(self.image_shape)
        if len(declared) not in (2, 3) or not all(isinstance(side, int | np.integer) for side in declared):
            raise ValueError(
                f"image_shape must be (height, width) or (height, width, channels), got {self.image_shape!r}."
            )
        if math.prod(declared) != math.prod(shape) or (len(shape) > 1 and declared[:2] != shape[:2]):
            raise ValueError(f"image_shape={declared} does not fit samples of shape {shape}.")

    def __sklearn_tags__(self) -> Tags:
        tags: Tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = self._takes_rows or self.image_shape is not None
        return tags


def is_strength(noise: object) -> bool:
    """Return whether noise is given by its strength, a number or a pair."""
    return isinstance(noise, Real) or (
        isinstance(noise, tuple | list) and len(noise) == 2 and _are_real_numbers(noise)
    )


def as_strength(strength: Any) -> float | tuple[float, float]:
    """Return a strength as a float or a pair of floats."""
    if np.ndim(strength) == 0:
        return float(strength)
    low, high = strength
    return float(low), float(high)


def check_strength(
    estimator: BaseNoiser, name: str, *, max_value: float = math.inf, above_zero: bool = False
) -> None:
    """Check that a parameter is a number in its range or a pair of such numbers."""
    given: Any = getattr(estimator, name)
    ends: list[Any] = [given, given] if isinstance(given, Real) else list(given)
    min_value = math.nextafter(0, 1) if above_zero else 0.0
    # To Python a bool is a number, but nobody means it as a strength.
    is_bool = any(isinstance(end, bool) for end in ends)
    fits = (
        _are_real_numbers(ends)
        and len(ends) == 2
        and not is_bool
        and all(min_value <= end <= max_value and end < math.inf for end in ends)
    )
    if not fits:
        kind = ("a finite number" if max_value == math.inf else "a number") + (
            " above 0" if above_zero else " of at least 0"
        )
        limit = "" if max_value == math.inf else f" and at most {max_value:g}"
        raise ValueError(
            f"{name} must be {kind}{limit} or a pair (low, high) of such numbers, got {given!r}."
        )
    if ends[0] > ends[1]:
        raise ValueError(f"{name}=(low, high) needs low <= high, got {given!r}.")


def check_bounds(estimator: BaseNoiser, name: str, *, finite: bool = False) -> None:
    """Check that a parameter is a pair ``(low, high)``, a word or None."""
    pair: Any = getattr(estimator, name)
    if pair is None or isinstance(pair, str):
        return
    if not (_are_real_numbers(pair) and len(pair) == 2 and pair[0] < pair[1]):
        raise ValueError(f"{name} must be a pair (low, high) with low < high, got {pair!r}.")
    if finite and not np.isfinite(pair).all():
        raise ValueError(f"{name} must hold finite numbers, got {pair!r}.")


def warn_of_other_limits(estimator: BaseNoiser, name: str, clean: torch.Tensor) -> None:
    """Warn if limits suggest another unit than that of the clean data."""
    limits: Any = getattr(estimator, name)
    if limits is None or isinstance(limits, str):
        return
    subset = subsample(clean)
    low, high = float(subset.min()), float(subset.max())
    is_narrow = min(limits[1], high) - max(limits[0], low) < NARROW * (high - low)
    # Values become equal to limits, but clipping at distant limits changes none.
    replaces = name == "limits"
    is_wide = replaces and limits[1] - limits[0] > WIDE * (high - low) > 0
    if is_narrow or is_wide:
        verb = "covers little of" if is_narrow else "reaches far beyond"
        warn_user(
            f"{name}={limits!r} {verb} the clean data, which lie between {low:.4g} and {high:.4g}. Give it "
            "in their unit."
        )


def _are_real_numbers(values: Any) -> bool:
    return all(isinstance(value, Real) for value in values)


NOISERS: LazyTable[type[BaseNoiser]] = LazyTable(NOISES)


def resolve_noiser(noise: object) -> Noiser:
    """Return the noiser for a noiser, a name or a strength of Gaussian noise."""
    if is_strength(noise):
        return NOISERS["gaussian"](noise)
    if not isinstance(noise, str):
        return check_noiser(noise)
    kind = check_one_of(noise, NOISERS, "noise")
    first, *_ = inspect.signature(kind).parameters.values()
    if first.default is inspect.Parameter.empty:
        raise ValueError(
            f"noise={noise!r} is made of {NOISES[noise].made_of} and has no default: pass "
            f"{kind.__name__}(...)."
        )
    return kind()
