"""Noisers: thin transformers over the functions, with the meanings that all of them share."""

from __future__ import annotations

import warnings
from abc import ABCMeta, abstractmethod
from numbers import Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin, clone
from sklearn.utils.validation import check_is_fitted

from sk_denoise._random import root_seed, stream
from sk_denoise._scaling import chunks_of, moments, some_of
from sk_denoise._threads import threads_for
from sk_denoise._validation import (
    SampleTagsMixin,
    StrOptions,
    as_float,
    as_tensor,
    check_parameters,
    check_samples,
    wrap_output,
)
from sk_denoise.exceptions import WeakNoiseWarning
from sk_denoise.noise._functions import add_gaussian
from sk_denoise.noise._source import CleanSource, attach_source, carried_source, fingerprint_of

__all__ = ["BaseNoiser", "GaussianNoiser"]

WEAKEST_USEFUL_NOISE = 0.02  # of the data's spread; weaker noise teaches a network the identity


class BaseNoiser(SampleTagsMixin, OneToOneFeatureMixin, TransformerMixin, BaseEstimator, metaclass=ABCMeta):
    """What all noisers mean: they corrupt in training only, and what they return knows its source.

    A subclass lists its parameters and their constraints, learns what it needs from clean data in
    ``_learn``, and corrupts tensors in ``corrupt``. It has the parameters ``apply`` and ``random_state``.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "apply": [StrOptions({"fit", "always"})],
        "random_state": ["random_state"],
    }
    apply: Literal["fit", "always"]
    random_state: int | RandomState | None

    @abstractmethod
    def corrupt(self, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return a corrupted copy of x, in the unit and type of x.

        This is what estimators and scorers call for every fresh corruption.

        Parameters
        ----------
        x : Tensor of shape (n_samples, ...)
            Clean samples, in the layout that ``fit`` saw.
        generator : torch.Generator
            The source of randomness, on the device of ``x``.

        Returns
        -------
        Tensor of the shape and type of x
        """

    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Learn from clean data what the noise needs to know of them.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels])
            Clean samples.
        y : ignored
            Present for scikit-learn's conventions.

        Returns
        -------
        self
        """
        self._fit(X)
        return self

    def fit_transform(self, X: ArrayLike, y: Any = None) -> Any:
        """Fit to clean data and return a corrupted copy that carries its clean source.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels])
            Clean samples; integers become float32 in the same unit.
        y : ignored
            Present for scikit-learn's conventions.

        Returns
        -------
        NoisedArray or DataFrame of the shape of X
            Noisy samples. An estimator directly after finds the clean ones in them.
        """
        return self._noised(self._fit(X), X)

    def transform(self, X: ArrayLike) -> Any:
        """Return the data as they are, or corrupted where ``apply="always"``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels])
            Samples of the layout seen in ``fit``.

        Returns
        -------
        ndarray or DataFrame of the shape of X
        """
        check_is_fitted(self)
        samples = check_samples(self, X, reset=False)
        return self._noised(samples, X) if self.apply == "always" else as_float(samples)

    def _fit(self, X: ArrayLike) -> NDArray[Any]:
        self._check_parameters()
        earlier = carried_source(X)
        if earlier is not None:
            raise ValueError(
                f"X is the output of {earlier.noiser!r}, so it is not clean, as {type(self).__name__} needs "
                "it. Use one noiser, or pass numpy.asarray(X) if X is to count as clean."
            )
        clean = check_samples(self, X, reset=True)
        with threads_for(clean.size):
            self._learn(as_tensor(as_float(clean)))
        return clean

    def _check_parameters(self) -> None:
        check_parameters(self, {**BaseNoiser._parameter_constraints, **self._parameter_constraints})

    def _learn(self, clean: torch.Tensor) -> None:
        """Learn from clean samples, in the unit they came in."""

    def _noised(self, clean: NDArray[Any], X: ArrayLike) -> Any:
        # A child seed for each set of samples: other data meet other noise, the same data the same.
        generator = stream(root_seed(self.random_state), fingerprint_of(clean))
        with threads_for(clean.size):
            noisy = self.corrupt(as_tensor(as_float(clean)), generator).numpy()
        source = CleanSource.of(clean, clone(self), noisy)
        return attach_source(wrap_output(noisy, X, self), source)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "n_features_in_")


class GaussianNoiser(BaseNoiser):
    """Add Gaussian noise in training, and leave the data alone afterwards.

    ``fit_transform`` returns ``X + N(mean, noise_factor ** 2)``; ``transform`` returns X, so that a
    deployed pipeline does not corrupt its input. The noisy data carry their clean source: a
    :class:`~sk_denoise.DenoisingAutoencoder` that comes directly after trains on fresh corruptions of
    it, drawn anew for every batch. Scalers stand before the noiser.

    Parameters
    ----------
    noise_factor : float or pair of float, default=0.1
        Standard deviation of the noise, at least 0. A pair ``(low, high)`` draws one uniformly for each
        sample, for denoisers that meet noise of unknown strength.
    mean : float, default=0.0
        Mean of the noise.
    scale : {"absolute", "std"}, default="absolute"
        The unit of ``noise_factor`` and ``mean``: that of the data, or each feature's standard deviation
        in the training data (a constant feature gets no noise).
    clip : pair of float or None, default=None
        Limits ``(low, high)`` that noisy values are clipped to, in the unit of the data.
    apply : {"fit", "always"}, default="fit"
        Whether ``transform`` corrupts too: to see how robust a pipeline is.
    random_state : int, RandomState instance or None, default=None
        Determines the noise, together with the data: an integer gives the same samples the same noise
        at every call, and other samples independent noise. An estimator that follows draws its
        corruptions from its own ``random_state``.

    Attributes
    ----------
    scale_ : ndarray of the shape of one sample, or of shape ()
        The unit of the noise in the unit of the data; one where it is absolute.
    n_features_in_ : int
        Number of entries of one sample.
    feature_names_in_ : ndarray of str
        Names of the features, where X has names.

    Warns
    -----
    WeakNoiseWarning
        Where the noise is weaker than 2 % of the spread of the data, most often because the data are
        not in [0, 1]; ``scale="std"`` makes the strength relative.

    See Also
    --------
    DenoisingAutoencoder : Learns to take the noise away.

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
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "noise_factor": [Real, tuple, list],
        "mean": [Real],
        "scale": [StrOptions({"absolute", "std"})],
        "clip": [tuple, list, None],
    }

    def __init__(
        self,
        noise_factor: float | tuple[float, float] = 0.1,
        *,
        mean: float = 0.0,
        scale: Literal["absolute", "std"] = "absolute",
        clip: tuple[float, float] | None = None,
        apply: Literal["fit", "always"] = "fit",
        random_state: int | RandomState | None = None,
    ) -> None:
        self.noise_factor = noise_factor
        self.mean = mean
        self.scale = scale
        self.clip = clip
        self.apply = apply
        self.random_state = random_state

    def corrupt(self, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        if not hasattr(self, "scale_"):
            check_is_fitted(self, "scale_")  # slow where it passes, and this runs for every batch
        unit = torch.as_tensor(self.scale_, dtype=x.dtype, device=x.device)
        return add_gaussian(
            x, generator, noise_factor=self._strength(), mean=self.mean, unit=unit, clip=self.clip
        )

    def _strength(self) -> float | tuple[float, float]:
        low, high = np.broadcast_to(np.asarray(self.noise_factor, dtype=float), 2).tolist()
        return low if np.ndim(self.noise_factor) == 0 else (low, high)

    def _check_parameters(self) -> None:
        super()._check_parameters()
        pair: Any = self.noise_factor
        strength: list[Any] = [pair, pair] if isinstance(pair, Real) else list(pair)
        if not (_are_numbers(strength) and len(strength) == 2 and all(0 <= s < np.inf for s in strength)):
            raise ValueError(
                "noise_factor must be a finite number of at least 0 or a pair (low, high) of such, got "
                f"{self.noise_factor!r}."
            )
        if strength[0] > strength[1]:
            raise ValueError(f"noise_factor=(low, high) needs low <= high, got {self.noise_factor!r}.")
        if not np.isfinite(self.mean):
            raise ValueError(f"mean must be finite, got {self.mean!r}.")
        if self.clip is not None and not (
            _are_numbers(self.clip) and len(self.clip) == 2 and self.clip[0] < self.clip[1]
        ):
            raise ValueError(f"clip must be a pair (low, high) with low < high, got {self.clip!r}.")

    def _learn(self, clean: torch.Tensor) -> None:
        # absolute noise is compared with the spread of the data for a warning only
        stats = moments(chunks_of(clean if self.scale == "std" else some_of(clean)))
        if self.scale == "std":
            self.scale_ = torch.where(stats.is_constant, 0.0, stats.std).numpy()
        else:
            self.scale_ = np.ones(())
        self._warn_if_weak(stats.std[~stats.is_constant])

    def _warn_if_weak(self, spreads: torch.Tensor) -> None:
        strongest = max(np.atleast_1d(self.noise_factor))
        spread = float(spreads.median()) if len(spreads) else 0.0
        if self.scale == "std":
            spread = 1.0
        if 0 < strongest < WEAKEST_USEFUL_NOISE * spread:
            measure = f" ({spread:.3g}, the median standard deviation of a feature)"
            remedy = 'scale="std" takes noise_factor as a fraction of each feature\'s standard deviation.'
            if self.scale == "std":
                measure, remedy = "", "Raise it."
            warnings.warn(
                f"noise_factor={self.noise_factor!r} is {strongest / spread:.2g} of the data's spread"
                f"{measure}: too weak to learn from. {remedy}",
                WeakNoiseWarning,
                stacklevel=5,
            )


def _are_numbers(values: Any) -> bool:
    return all(isinstance(value, Real) for value in values)
