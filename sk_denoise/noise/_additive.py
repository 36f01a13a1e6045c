"""Noise on every value: additive, multiplicative and of photon counts."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from numbers import Real
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray

from sk_denoise._scaling import compute_moments, find_wild_limits, iterate_chunks, subsample
from sk_denoise._schema import Rule
from sk_denoise._validation import StrOptions, check_parameters, warn_user
from sk_denoise.exceptions import WeakNoiseWarning
from sk_denoise.noise._base import (
    COLUMN_NUMBERS,
    COLUMN_STRENGTH,
    FITTED_COLUMNS,
    POSITIVE_COLUMN_NUMBERS,
    BaseNoiser,
    as_strength,
    check_bounds,
    check_strength,
    is_by_column,
    warn_of_other_limits,
)
from sk_denoise.noise._corruptions import add_gaussian, add_poisson, add_speckle, add_uniform

__all__ = ["GaussianNoiser", "PoissonNoiser", "SpeckleNoiser", "UniformNoiser"]

# Ratio of the deviation with wild values to that without from which relative noise is far too strong
MAX_WILD_RATIO = 5.0
# Noise below this share of the spread of the data teaches a network the identity.
MIN_USEFUL_NOISE = 0.02
# Noise above this multiple of the range of the data hides them.
MAX_USEFUL_NOISE = 5
# Standard deviation of the error of rounding to whole numbers.
ROUNDING_ERROR = 12**-0.5
# Data above this multiple of white suggest that white is in another unit.
MAX_BRIGHTNESS = 16
# Whole numbers with a smaller range may be codes or ratings, which no rounding made.
MIN_RANGE_OF_COUNTS = 16


class AdditiveNoiser(BaseNoiser, metaclass=ABCMeta):
    """Additive noise in the unit of the data or of each feature's spread.

    A subclass adds it in ``_add_noise``, and has the parameters ``noise_factor``, ``scale`` and ``clip``.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "noise_factor": COLUMN_STRENGTH,
        "scale": [StrOptions({"absolute", "std"})],
        "clip": [tuple, list, None],
    }
    _fitted_schema: ClassVar[dict[str, Rule]] = {"scale_": COLUMN_NUMBERS}
    noise_factor: float | tuple[float, float] | ArrayLike
    scale: Literal["absolute", "std"]
    clip: tuple[float, float] | None
    scale_: NDArray[Any]

    def corrupt(self, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        self._check_fitted()
        # scale_ is in double precision, the noise in the type of the data.
        unit = torch.as_tensor(self.scale_, dtype=x.dtype, device=x.device)
        return self._corrupt_columns(x, lambda part: self._add_noise(part, generator, unit))

    @abstractmethod
    def _add_noise(self, x: torch.Tensor, generator: torch.Generator, unit: torch.Tensor) -> torch.Tensor:
        """Return noisy samples, with noise in multiples of ``unit``."""

    def _check_parameters(self) -> None:
        check_parameters(self, AdditiveNoiser._parameter_constraints)
        super()._check_parameters()
        check_strength(self, "noise_factor")
        check_bounds(self, "clip")

    def _learn(self, clean: torch.Tensor) -> None:
        # Absolute noise needs the spread of the data for a warning only, so that some of them are enough.
        subset = subsample(clean)
        stats = compute_moments(iterate_chunks(clean if self.scale == "std" else subset))
        limits = find_wild_limits(subset) if subset.ndim == 2 else None
        spread = stats.std
        if limits is not None:
            # A few wild values would make any noise look weak beside the data.
            cut = subset.clamp(limits[0].to(subset), limits[1].to(subset))
            spread = compute_moments(iterate_chunks(cut)).std
        if self.scale == "std":
            # The deviation of a constant feature may be above 0 by rounding.
            self.scale_ = torch.where(stats.is_constant, 0.0, stats.std).numpy()
            ratio = float((stats.std / spread.clamp(min=1e-300)).nan_to_num(0.0).max())
            if ratio > MAX_WILD_RATIO:
                warn_user(
                    f"A few wild values make the standard deviation of a column {ratio:.3g} times that of "
                    'its other values, and the noise is as much stronger for scale="std". Pass the strength '
                    'in the unit of the data, scale="absolute", or remove the wild values.'
                )
        else:
            self.scale_ = np.ones(())
        self._warn_of_strength(subset, spread[~stats.is_constant])
        warn_of_other_limits(self, "clip", clean)

    def _warn_of_strength(self, subset: torch.Tensor, spreads: torch.Tensor) -> None:
        """Warn of noise that is far too weak or strong beside a subset of the clean data."""
        given: Any = self.noise_factor
        if is_by_column(given) and self.scale == "absolute":
            self._warn_of_column_strengths(subset)
            return
        max_factor = max(np.atleast_1d(given))
        if self.scale == "std":
            if 0 < max_factor < MIN_USEFUL_NOISE:
                warn_user(
                    f"noise_factor={self.noise_factor!r} is {max_factor:.2g} of the data's spread: too weak "
                    "to learn from. Raise it.",
                    WeakNoiseWarning,
                )
            return
        # The median, because single features may be in another unit than most.
        spread = float(spreads.median()) if len(spreads) else 0.0
        low, high = float(subset.min()), float(subset.max())
        tenth = (high - low) / 10
        unit = (
            f"noise_factor is in the unit of the data, which reach from {low:.4g} to {high:.4g}: noise of a "
            f"tenth of that is noise_factor={tenth:.3g}"
        )
        if 0 < max_factor < MIN_USEFUL_NOISE * spread:
            warn_user(
                f"noise_factor={self.noise_factor!r} is {max_factor / spread:.2g} of the data's spread "
                f"({spread:.3g}, the median standard deviation of a feature): too weak to learn from. {unit}"
                '; scale="std" takes it as a fraction of each feature\'s standard deviation.',
                WeakNoiseWarning,
            )
        elif 0 < max_factor < ROUNDING_ERROR and high - low >= MIN_RANGE_OF_COUNTS and _are_whole(subset):
            warn_user(
                f"noise_factor={self.noise_factor!r} is less than the rounding error of the data, which are "
                f"whole numbers: too weak to learn from. {unit}.",
                WeakNoiseWarning,
            )
        elif high > low and max_factor > MAX_USEFUL_NOISE * (high - low):
            warn_user(f"noise_factor={self.noise_factor!r} hides the data completely. {unit}.")

    def _warn_of_column_strengths(self, subset: torch.Tensor) -> None:
        """Warn of strengths by column that are far too weak or strong beside the columns."""
        stats = compute_moments(iterate_chunks(subset))
        given, is_live = np.asarray(self.noise_factor, np.float64), ~stats.is_constant.numpy()
        shares = given[is_live] / stats.std.numpy()[is_live]
        ranges = (stats.high - stats.low).numpy()[is_live]
        if 0 < shares.max(initial=0) < MIN_USEFUL_NOISE:
            warn_user(
                f"The strengths in noise_factor are at most {shares.max():.2g} of the spread of their "
                "column: too weak to learn from. Give them in the unit of each column, or as fractions of "
                'its standard deviation, by scale="std".',
                WeakNoiseWarning,
            )
        elif (given[is_live] > MAX_USEFUL_NOISE * ranges).any():
            warn_user(
                f"{int((given[is_live] > MAX_USEFUL_NOISE * ranges).sum())} of the strengths in noise_factor "
                "hide their column completely. Give them in the unit of each column, in the order of the "
                "columns."
            )


def _are_whole(values: torch.Tensor) -> bool:
    return bool((values == values.round()).all())


class IndependentNoiser(AdditiveNoiser, metaclass=ABCMeta):
    """Additive noise with a mean, independent between values.

    A subclass sets the function that adds it.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {"mean": [Real]}
    _fitted_schema: ClassVar[dict[str, Rule]] = {"columns_": FITTED_COLUMNS}
    _column_strengths = ("noise_factor",)
    # Function that adds the noise; a static method, so that it is not bound to the instance.
    _add: ClassVar[Any]

    def __init__(
        self,
        noise_factor: float | tuple[float, float] | ArrayLike = 0.1,
        *,
        mean: float = 0.0,
        scale: Literal["absolute", "std"] = "absolute",
        clip: tuple[float, float] | None = None,
        columns: Any = None,
        apply: Literal["fit", "always"] = "fit",
        random_state: int | RandomState | None = None,
    ) -> None:
        self.noise_factor = noise_factor
        self.mean = mean
        self.scale = scale
        self.clip = clip
        self.columns = columns
        self.apply = apply
        self.random_state = random_state

    def _add_noise(self, x: torch.Tensor, generator: torch.Generator, unit: torch.Tensor) -> torch.Tensor:
        noisy: torch.Tensor = self._add(
            x,
            generator,
            noise_factor=as_strength(self.noise_factor),
            mean=self.mean,
            unit=unit,
            clip=self.clip,
        )
        return noisy

    def _check_parameters(self) -> None:
        super()._check_parameters()
        # The constraints check types only, and NaN is a number too.
        if not np.isfinite(self.mean):
            raise ValueError(f"mean must be finite, got {self.mean!r}.")


class GaussianNoiser(IndependentNoiser):
    """Add Gaussian noise, in training only.

    ``fit_transform`` returns ``X + N(mean, noise_factor ** 2)``; ``transform`` returns X, so that a
    deployed pipeline does not corrupt its input. The noisy data carry their clean source: a
    :class:`~sk_denoise.DenoisingAutoencoder` that comes directly after trains on fresh corruptions of
    it, drawn for every batch. Put scalers before the noiser.

    Parameters
    ----------
    noise_factor : float, pair of float or array-like of shape (n_columns,), default=0.1
        Standard deviation of the noise, at least 0. A tuple ``(low, high)`` draws one uniformly for each
        sample, for denoisers of noise of unknown strength. An array or a list holds one for each column of a
        table, or for each of ``columns``; two of them need an array, because a list of two is refused as
        ambiguous.
    mean : float, default=0.0
        Mean of the noise.
    scale : {"absolute", "std"}, default="absolute"
        Unit of ``noise_factor`` and ``mean``: that of the data, or the standard deviation of each feature
        in the training data (a constant feature gets no noise).
    clip : pair of float or None, default=None
        Limits ``(low, high)`` of the noisy values, in the unit of the data.
    columns : array-like of str, int or bool, str, int, slice, callable or None, default=None
        Columns of a table that get noise; the others stay as they are. Names, indices, a mask with a truth
        value for each column, or a function from X to one of these, such as scikit-learn's
        ``make_column_selector``. None is all columns.
    apply : {"fit", "always"}, default="fit"
        Calls that corrupt: ``fit_transform`` only, or ``transform`` too, to test how robust a pipeline is.
    random_state : int, RandomState instance or None, default=None
        Seed of the noise. An integer gives equal data equal noise at every call, and other data independent
        noise. An estimator after the noiser draws its corruptions from its own ``random_state``.

    Attributes
    ----------
    scale_ : ndarray of the shape of one sample, of shape (n_columns,) or ()
        Unit of the noise in the unit of the data; 1 for ``scale="absolute"``.
    columns_ : ndarray of int or None
        Indices of the columns that get noise; None for all.
    n_features_in_ : int
        Number of entries of one sample.
    feature_names_in_ : ndarray of str
        Names of the features, if X has names.

    Warns
    -----
    WeakNoiseWarning
        If the noise is weaker than 2 % of the spread of the data, most often because the data are
        not in [0, 1]; ``scale="std"`` makes the strength relative.

    See Also
    --------
    DenoisingAutoencoder : Network that learns to remove the noise.
    sk_denoise.noise.add_gaussian : The noise as a function on tensors.

    References
    ----------
    P. Vincent et al., "Stacked denoising autoencoders", Journal of Machine Learning Research 11 (2010).

    Examples
    --------
    >>> import numpy as np
    >>> from sk_denoise import GaussianNoiser
    >>> X = np.linspace(0, 1, 12).reshape(4, 3)
    >>> noiser = GaussianNoiser(noise_factor=0.5, clip=(0, 1), random_state=0)
    >>> noisy = noiser.fit_transform(X)
    >>> bool(noisy.min() >= 0 and noisy.max() <= 1 and (noisy != X).any())
    True
    >>> bool((noiser.transform(X) == X).all())
    True

    Noise of its own for each of two columns; the third one stays as it is:

    >>> noiser = GaussianNoiser(np.array([0.5, 0.1]), columns=[0, 1], random_state=0)
    >>> (noiser.fit_transform(X) != X).all(axis=0).tolist()
    [True, True, False]
    """

    _add = staticmethod(add_gaussian)

    @property
    def _standard_deviation(self) -> NDArray[Any] | None:
        """Standard deviation of the noise, None if limits change it."""
        if self.clip is not None:
            return None
        deviation: NDArray[Any] = np.asarray(self.noise_factor) * self.scale_
        if self.columns_ is None:
            return deviation
        everywhere = np.zeros(self.n_features_in_)
        everywhere[self.columns_] = deviation
        return everywhere


class UniformNoiser(IndependentNoiser):
    """Add uniform noise, in training only.

    ``fit_transform`` returns ``X + U(mean - noise_factor, mean + noise_factor)``: the noise of rounding, of a
    coarse scale, or with known bounds only. All else is as in :class:`~sk_denoise.GaussianNoiser`.

    Parameters
    ----------
    noise_factor : float, pair of float or array-like of shape (n_columns,), default=0.1
        Half the width of the distribution, at least 0; its standard deviation is 0.577 of it. A tuple
        ``(low, high)`` draws one uniformly for each sample, an array or a list holds one for each column, as
        in :class:`~sk_denoise.GaussianNoiser`.
    mean : float, default=0.0
        Mean of the noise.
    scale : {"absolute", "std"}, default="absolute"
        Unit of ``noise_factor`` and ``mean``: that of the data, or the standard deviation of each feature
        in the training data (a constant feature gets no noise).
    clip : pair of float or None, default=None
        Limits ``(low, high)`` of the noisy values, in the unit of the data.
    columns : array-like of str, int or bool, str, int, slice, callable or None, default=None
        Columns of a table that get noise; the others stay as they are. Names, indices, a mask with a truth
        value for each column, or a function from X to one of these, such as scikit-learn's
        ``make_column_selector``. None is all columns.
    apply : {"fit", "always"}, default="fit"
        Calls that corrupt: ``fit_transform`` only, or ``transform`` too.
    random_state : int, RandomState instance or None, default=None
        Seed of the noise. An integer gives equal data equal noise at every call.

    Attributes
    ----------
    scale_ : ndarray of the shape of one sample, of shape (n_columns,) or ()
        Unit of the noise in the unit of the data; 1 for ``scale="absolute"``.
    columns_ : ndarray of int or None
        Indices of the columns that get noise; None for all.
    n_features_in_ : int
        Number of entries of one sample.
    feature_names_in_ : ndarray of str
        Names of the features, if X has names.

    Warns
    -----
    WeakNoiseWarning
        If the noise is weaker than 2 % of the spread of the data.

    See Also
    --------
    sk_denoise.noise.add_uniform : The noise as a function on tensors.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_denoise import UniformNoiser
    >>> X = np.linspace(0, 1, 12).reshape(4, 3)
    >>> noisy = UniformNoiser(0.2, random_state=0).fit_transform(X)
    >>> bool((abs(noisy - X) <= 0.2).all())
    True
    """

    _add = staticmethod(add_uniform)


class SpeckleNoiser(BaseNoiser):
    """Multiply by Gaussian noise, in training only.

    ``fit_transform`` returns ``X * (1 + N(0, noise_factor ** 2))``: noise in proportion to the value, as in
    radar and ultrasound, or of a sensor with an unsteady gain. Zeros stay zero, so put the noiser before a
    centring step.

    Parameters
    ----------
    noise_factor : float, pair of float or array-like of shape (n_columns,), default=0.2
        Standard deviation of the noise as a share of each value, at least 0. A tuple ``(low, high)`` draws
        one uniformly for each sample, an array or a list holds one for each column, as in
        :class:`~sk_denoise.GaussianNoiser`.
    clip : pair of float or None, default=None
        Limits ``(low, high)`` of the noisy values, in the unit of the data.
    columns : array-like of str, int or bool, str, int, slice, callable or None, default=None
        Columns of a table that get noise; the others stay as they are. Names, indices, a mask with a truth
        value for each column, or a function from X to one of these, such as scikit-learn's
        ``make_column_selector``. None is all columns.
    apply : {"fit", "always"}, default="fit"
        Calls that corrupt: ``fit_transform`` only, or ``transform`` too.
    random_state : int, RandomState instance or None, default=None
        Seed of the noise. An integer gives equal data equal noise at every call.

    Attributes
    ----------
    columns_ : ndarray of int or None
        Indices of the columns that get noise; None for all.
    n_features_in_ : int
        Number of entries of one sample.
    feature_names_in_ : ndarray of str
        Names of the features, if X has names.

    See Also
    --------
    sk_denoise.noise.add_speckle : The noise as a function on tensors.

    References
    ----------
    J. W. Goodman, "Some fundamental properties of speckle", Journal of the Optical Society of America 66
    (1976).

    Examples
    --------
    >>> from sk_denoise import SpeckleNoiser
    >>> noisy = SpeckleNoiser(0.2, random_state=0).fit_transform([[0.0, 1.0], [0.0, 100.0]])
    >>> noisy[:, 0].tolist()
    [0.0, 0.0]
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "noise_factor": COLUMN_STRENGTH,
        "clip": [tuple, list, None],
    }
    _fitted_schema: ClassVar[dict[str, Rule]] = {"columns_": FITTED_COLUMNS}
    _column_strengths = ("noise_factor",)

    def __init__(
        self,
        noise_factor: float | tuple[float, float] | ArrayLike = 0.2,
        *,
        clip: tuple[float, float] | None = None,
        columns: Any = None,
        apply: Literal["fit", "always"] = "fit",
        random_state: int | RandomState | None = None,
    ) -> None:
        self.noise_factor = noise_factor
        self.clip = clip
        self.columns = columns
        self.apply = apply
        self.random_state = random_state

    def corrupt(self, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        self._check_fitted()
        strength = as_strength(self.noise_factor)
        return self._corrupt_columns(
            x, lambda part: add_speckle(part, generator, noise_factor=strength, clip=self.clip)
        )

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_strength(self, "noise_factor")
        check_bounds(self, "clip")

    def _learn(self, clean: torch.Tensor) -> None:
        warn_of_other_limits(self, "clip", clean)


class PoissonNoiser(BaseNoiser):
    """Draw photon counts (Poisson noise), in training only.

    ``fit_transform`` returns ``white / peak * Poisson(peak * X / white)``: the noise of light itself, which
    is strongest in dark images from microscopes, telescopes and scanners. Its variance grows with the value.

    Parameters
    ----------
    peak : float, pair of float or array-like of shape (n_columns,), default=30.0
        Mean number of photons at ``white``, above 0; fewer photons, more noise. A tuple ``(low, high)`` draws
        one uniformly for each sample, an array or a list holds one for each column, as in
        :class:`~sk_denoise.GaussianNoiser`.
    white : float or "auto", default="auto"
        Value of ``peak`` photons, in the unit of the data, above 0. "auto" is the maximum of the training
        data: for each column of a table, for all pixels of images together.
    columns : array-like of str, int or bool, str, int, slice, callable or None, default=None
        Columns of a table that get noise; the others stay as they are. Names, indices, a mask with a truth
        value for each column, or a function from X to one of these, such as scikit-learn's
        ``make_column_selector``. None is all columns.
    apply : {"fit", "always"}, default="fit"
        Calls that corrupt: ``fit_transform`` only, or ``transform`` too.
    random_state : int, RandomState instance or None, default=None
        Seed of the noise. An integer gives equal data equal noise at every call.

    Attributes
    ----------
    white_ : ndarray of the shape of one row, of shape (n_columns,) or ()
        Value of ``peak`` photons.
    columns_ : ndarray of int or None
        Indices of the columns that get noise; None for all.
    n_features_in_ : int
        Number of entries of one sample.
    feature_names_in_ : ndarray of str
        Names of the features, if X has names.

    Warns
    -----
    UserWarning
        If training data are below zero, which light is not. They count as zero; put the noiser before a
        centring step.

    See Also
    --------
    sk_denoise.noise.add_poisson : The noise as a function on tensors.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_denoise import PoissonNoiser
    >>> X = np.full((1, 10_000), 0.5)
    >>> noisy = PoissonNoiser(peak=100, white=1.0, random_state=0).fit_transform(X)
    >>> round(float(noisy.mean()), 2), round(float(noisy.std()), 2)
    (0.5, 0.07)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "peak": COLUMN_STRENGTH,
        "white": [Real, StrOptions({"auto"})],
    }
    _fitted_schema: ClassVar[dict[str, Rule]] = {
        "columns_": FITTED_COLUMNS,
        "white_": POSITIVE_COLUMN_NUMBERS,
    }
    _column_strengths = ("peak",)
    white_: NDArray[Any]

    def __init__(
        self,
        peak: float | tuple[float, float] | ArrayLike = 30.0,
        *,
        white: float | Literal["auto"] = "auto",
        columns: Any = None,
        apply: Literal["fit", "always"] = "fit",
        random_state: int | RandomState | None = None,
    ) -> None:
        self.peak = peak
        self.white = white
        self.columns = columns
        self.apply = apply
        self.random_state = random_state

    def corrupt(self, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        self._check_fitted()
        white = torch.as_tensor(self.white_, device=x.device)
        peak = as_strength(self.peak)
        return self._corrupt_columns(x, lambda part: add_poisson(part, generator, peak=peak, white=white))

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_strength(self, "peak", above_zero=True)
        if not isinstance(self.white, str) and not 0 < self.white < np.inf:
            raise ValueError(f'white must be a finite number above 0 or "auto", got {self.white!r}.')

    def _learn(self, clean: torch.Tensor) -> None:
        low = float(clean.min())
        if low < 0:
            warn_user(
                f"Light is never negative, but the data go down to {low:.4g}; such values count as 0. Put "
                f"{type(self).__name__} before a step that centres, or add an offset.",
            )
        high = float(clean.max())
        if not isinstance(self.white, str) and high > MAX_BRIGHTNESS * self.white:
            warn_user(
                f"white={self.white!r} stands for {self.peak!r} photons, and the data reach {high:.4g}: "
                "there is hardly any noise where they are bright. Give white in the unit of the data."
            )
        if self.white == "auto":
            # Columns of a table have units of their own; the pixels of images share one.
            white = clean.amax(0) if clean.ndim == 2 else clean.max()
            # A column of zeros has no photons at any white.
            self.white_ = torch.where(white > 0, white, 1.0).numpy()
        else:
            self.white_ = np.asarray(float(self.white))
