"""The base of denoisers without a network: fit, prediction, noise level."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from numbers import Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from sk_denoise._compat import adopt_fitted_state, as_one_task, keeps_array_type
from sk_denoise._noise_level import estimate_noise_levels
from sk_denoise._validation import (
    Interval,
    StrOptions,
    as_float_array,
    check_parameters,
    check_samples,
    get_shape,
    refuse_single_image,
    warn_of_flat_channels_first,
    warn_of_single_image,
)
from sk_denoise.estimators._base import BaseDenoiser
from sk_denoise.estimators._pairs import Pair, default_noiser, resolve_pair
from sk_denoise.estimators._preparation import SampleLayout

__all__ = ["IMAGE_SHAPE", "NOISE_LEVEL", "ClassicalDenoiser", "check_odd"]

# Constraints of parameters that several filters have.
IMAGE_SHAPE: dict[str, Any] = {"image_shape": [tuple, list, None]}
NOISE_LEVEL: dict[str, Any] = {
    **IMAGE_SHAPE,
    "sigma": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
    "strength": [Interval(Real, 0, None, closed="neither")],
}

# Floats of shape (n_images, height, width, channels). Signals are images of height 1.
Images = NDArray[Any]


class ClassicalDenoiser(BaseDenoiser):
    """A denoiser without a network.

    It has the methods of :class:`~sk_denoise.DenoisingAutoencoder` that need no latent vectors.
    A subclass defines ``_filter`` for one image at a known noise level, or ``_denoise`` for a stack, and
    ``_learn`` if it learns from clean samples. Signals are images of height 1.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = NOISE_LEVEL
    _rows_are_signals: ClassVar[bool] = True
    _min_samples: ClassVar[int] = 1
    # Whether the fit takes noisy samples, and no clean side. Then the parameter ``noise`` is their noise.
    _is_self_supervised: ClassVar[bool] = False
    noise: Any
    image_shape: Sequence[int] | None
    sigma: Literal["auto"] | float
    strength: float

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
            to float32 in the same unit.
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
        pair, layout = draft._check(X, y, X_clean, sample_weight, X_second)
        draft._learn(pair, layout)
        draft.target_source_, draft.image_shape_ = pair.source, layout.image_shape
        # The noise that ``score`` adds depends on the data alone, so that scores of all denoisers compare.
        draft._reference_noiser_ = default_noiser(pair.targets, layout.image_shape is not None)
        draft._reference_noiser_.fit(pair.targets, pair.targets)
        draft.data_range_ = pair.intensity.span
        adopt_fitted_state(self, draft)
        return self

    @keeps_array_type
    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Denoise samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels])
            Noisy samples, in the layout and unit of ``fit``.

        Returns
        -------
        ndarray of the shape of X
            Denoised samples in the unit of X; float64 for float64, else float32.
        """
        check_is_fitted(self)
        samples = as_float_array(check_samples(self, X, reset=False))
        height, width, channels = (*(self.image_shape_ or (1, self.n_features_in_)), 1)[:3]
        denoised = self._denoise(samples.reshape(-1, height, width, channels))
        return denoised.reshape(samples.shape).astype(samples.dtype.newbyteorder("="), copy=False)

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

    def _filter(self, image: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
        """Return an image (height, width, channels) without noise of level ``sigma > 0``."""
        raise NotImplementedError

    def _denoise(self, images: Images) -> Images:
        """Return denoised images in a new array, each filtered at its own noise level."""
        is_automatic = isinstance(self.sigma, str)
        levels = estimate_noise_levels(images) if is_automatic else np.full(len(images), float(self.sigma))
        denoised = np.array(images)
        # An image without noise stays as it is.
        for index in np.flatnonzero(levels):
            # A contiguous copy in double precision, so that results do not depend on the layout of X.
            image = np.array(images[index], dtype=np.float64, order="C")
            denoised[index] = self._filter(image, float(levels[index])).reshape(image.shape)
        return denoised

    def _learn(self, pair: Pair, layout: SampleLayout) -> None:
        """Learn from a pair; most filters learn nothing."""

    def _check_parameters(self) -> None:
        check_parameters(self, self._parameter_constraints)
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
        refuse_single_image(get_shape(X), self.image_shape)
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
            learns=type(self)._learn is not ClassicalDenoiser._learn,
            X_second=X_second,
            is_self_supervised=self._is_self_supervised and X_second is None,
        )
        layout = SampleLayout.of(self._sample_shape_, self.image_shape, self._rows_are_signals)
        return pair.with_image_shape(layout), layout

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "data_range_")


def check_odd(estimator: BaseEstimator, name: str) -> None:
    """Check that a side in pixels is odd."""
    value = getattr(estimator, name)
    if value % 2 == 0:
        raise ValueError(
            f"{name} must be odd, so that it has a middle, got {value}. Use {value - 1} or {value + 1}."
        )
