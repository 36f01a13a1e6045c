"""Denoisers of images without a network: classical filters, and their base."""

from __future__ import annotations

import copy
import importlib
import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from sk_denoise._compat import adopt_fitted_state, as_one_task, keeps_array_type
from sk_denoise._noise_level import estimate_noise_levels
from sk_denoise._package import require_extra
from sk_denoise._validation import (
    Interval,
    StrOptions,
    as_float_array,
    check_numbers,
    check_one_of,
    check_parameters,
    check_samples,
    get_shape,
    refuse_single_image,
    warn_of_flat_channels_first,
    warn_of_single_image,
    warn_user,
)
from sk_denoise.estimators._base import BaseDenoiser, score_gains
from sk_denoise.estimators._pairs import Pair, cut_wild_values, default_noiser, resolve_pair
from sk_denoise.estimators._preparation import SampleLayout
from sk_denoise.metrics._metrics import mean_over_samples, psnr_per_sample

# Names outside this list are for the denoisers of the neighbouring modules.
__all__ = [
    "BM3DDenoiser",
    "BilateralDenoiser",
    "MedianDenoiser",
    "NonLocalMeansDenoiser",
    "TotalVariationDenoiser",
    "WaveletDenoiser",
]

# Constraints of parameters that several filters have.
IMAGE_SHAPE: dict[str, Any] = {"image_shape": [tuple, list, None]}
KIND: dict[str, Any] = {"kind": [StrOptions({"auto", "images", "signals"})]}
NOISE_LEVEL: dict[str, Any] = {
    **IMAGE_SHAPE,
    **KIND,
    "sigma": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
    "strength": [Interval(Real, 0, None, closed="neither")],
}

# Floats of shape (n_images, height, width, channels). Signals are images of height 1.
Images = NDArray[Any]


class ClassicalDenoiser(BaseDenoiser):
    """A denoiser without a network.

    It has the methods of :class:`~sk_denoise.DenoisingAutoencoder` that need no latent vectors.
    A subclass defines ``_filter`` for one image at a known noise level, or ``_denoise`` for a stack, and
    ``_learn`` if it learns from clean samples. Signals are images of height 1. A filter that learns nothing
    also takes lists of samples of different sizes.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = NOISE_LEVEL
    _rows_are_signals: ClassVar[bool] = True
    # Meaning of samples of two axes; a parameter of filters for images and signals.
    kind: Literal["auto", "images", "signals"] = "auto"
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
            samples of any size.

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
        return self._denoise_samples(as_float_array(check_samples(self, X, reset=False)))

    def _denoise_samples(self, samples: NDArray[Any]) -> NDArray[Any]:
        """Return denoised samples of one shape, in a new array."""
        if self.image_shape_ is not None:
            shape = self.image_shape_ if samples.ndim == 2 else samples.shape[1:]
            denoised = self._denoise(samples.reshape(-1, *(*shape, 1)[:3]))
        else:
            # Channels of signals may differ in unit and noise, so that each is a signal by itself.
            channels = np.moveaxis(samples, 2, -1) if samples.ndim == 4 else samples
            self._check_length(channels.shape[-1])
            denoised = self._denoise(channels.reshape(-1, 1, channels.shape[-1], 1)).reshape(channels.shape)
            if samples.ndim == 4:
                denoised = np.moveaxis(denoised, -1, 2)
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
                _warn_of_channels(shape)
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

    def _separate_samples(
        self, X: Any, fitted_shape: tuple[int, ...] | None = None
    ) -> list[NDArray[Any]] | None:
        """Return the samples of a list of different shapes, None for other data.

        Samples of the shape of the fit are no such list: they are stacked.
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
        if () in shapes or (len(shapes) == 1 and (fitted_shape is None or shapes == {fitted_shape})):
            return None
        # A list of numbers of another length is a table to scikit-learn, which has its own message.
        if len(shapes) == 1 and not all(hasattr(x, "shape") for x in X):
            return None
        return parts

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
        if self.kind == "auto" and not is_signal:
            _warn_of_channels((len(parts), *parts[0].shape))
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


def _warn_of_channels(shape: tuple[int, ...]) -> None:
    """Warn of signals of several channels that are taken for grey images."""
    if len(shape) != 3:
        return
    n, height, width = shape
    if 1 < height <= MAX_SIGNAL_CHANNELS and width >= MIN_ASPECT * height:
        warn_user(
            f"X of shape {shape} is taken for {n} images of {height} x {width} pixels. If it holds signals "
            f'of {height} channels, pass kind="signals"; if it holds images, kind="images".'
        )


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


# Floats of shape (height, width, channels).
Image = NDArray[np.float64]

# Height and aspect ratio of images that are more likely signals of several channels, such as (12, 5000)
MAX_SIGNAL_CHANNELS, MIN_ASPECT = 64, 8
# Radius of the bilateral window in ``sigma_spatial``: weights beyond it are below 5 %.
BILATERAL_CUTOFF = 2.5
# Spatial deviation in pixels below which no other pixel has any weight
MIN_SPATIAL = 1e-3
# Smallest side in pixels for bm3d: 4.0 ends the process at 8 x 8, a single block.
MIN_SIDE = 9
# Side in pixels of the region for which bm3d computes exact variances.
EXACT_SIDE = 32
# Largest range of values, in noise standard deviations, that single precision resolves.
MAX_RANGE = 1e7
# Orthonormal transform of colours to their mean and two differences.
OPPONENT = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3], [2], [6]])


class NonLocalMeansDenoiser(ClassicalDenoiser):
    """Average each pixel with pixels of similar surroundings, by non-local means.

    Texture and repeated structure survive. Rows without an ``image_shape`` are signals.

    Parameters
    ----------
    sigma : "auto" or float, default="auto"
        Noise standard deviation, greater than 0, in the unit of the data. "auto" estimates it from each
        image (:func:`~sk_denoise.restoration.estimate_sigma`).
    strength : float, default=0.7
        Tolerated difference of surroundings, in ``sigma``, greater than 0: ``h = strength * sigma``. Greater
        values smooth more. For colour images 0.5 is a good value.
    patch_size : int, default=5
        Side of the compared surroundings, in pixels; odd, at least 3.
    patch_distance : int, default=6
        Largest distance of the pixels to average, in pixels, at least 1.
    image_shape : tuple of int or None, default=None
        Shape ``(height, width)`` or ``(height, width, channels)`` of images in flat rows.
    kind : {"auto", "images", "signals"}, default="auto"
        Meaning of the samples. "signals": arrays (n, length) or (n, channels, length), time last, of which
        each channel is filtered by itself. "images": arrays (n, height, width[, channels]), and rows with
        ``image_shape``. "auto" takes rows without ``image_shape`` for signals, and arrays of more axes for
        images.

    Attributes
    ----------
    target_source_ : {"X_clean", "y", "noiser", "X"}
        Source of the clean side.
    data_range_ : float
        Data range of the clean samples, for ``score``.
    image_shape_ : tuple of int or None
        Shape of one image, None for signals.
    n_features_in_ : int
        Number of entries of one sample.
    feature_names_in_ : ndarray of str
        Names of the features, if X has names.

    See Also
    --------
    TotalVariationDenoiser : Twice as fast; for images of flat regions.
    WienerDenoiser : Learns from clean data; for tables and for small images of one kind.

    Notes
    -----
    An image without noise, by the estimate of "auto", is returned unchanged.

    References
    ----------
    A. Buades, B. Coll and J.-M. Morel, "A non-local algorithm for image denoising", CVPR (2005). The method
    is ``skimage.restoration.denoise_nl_means``.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_denoise import NonLocalMeansDenoiser
    >>> clean = np.tile(np.linspace(0, 1, 32), (1, 32, 1))
    >>> noisy = clean + np.random.default_rng(0).normal(0, 0.1, clean.shape)
    >>> denoised = NonLocalMeansDenoiser().fit(clean).predict(noisy)
    >>> bool(np.abs(denoised - clean).mean() < np.abs(noisy - clean).mean() / 2)
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **NOISE_LEVEL,
        "patch_size": [Interval(Integral, 3, None, closed="left")],
        "patch_distance": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        sigma: Literal["auto"] | float = "auto",
        *,
        strength: float = 0.7,
        patch_size: int = 5,
        patch_distance: int = 6,
        image_shape: Sequence[int] | None = None,
        kind: Literal["auto", "images", "signals"] = "auto",
    ) -> None:
        self.sigma = sigma
        self.strength = strength
        self.patch_size = patch_size
        self.patch_distance = patch_distance
        self.image_shape = image_shape
        self.kind = kind

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_odd(self, "patch_size")

    def _filter(self, image: Image, sigma: float) -> Image:
        from skimage.restoration import denoise_nl_means

        denoised: Image = denoise_nl_means(
            image,
            patch_size=self.patch_size,
            patch_distance=self.patch_distance,
            h=self.strength * sigma,
            # The slow mode takes eight times as long, is no better, and may return NaN.
            fast_mode=True,
            sigma=sigma,
            channel_axis=-1,
        )
        return denoised


class BilateralDenoiser(ClassicalDenoiser):
    """Average each pixel with close ones of similar value, by a bilateral filter.

    The filter keeps edges, but also single pixels that the noise changed a lot: it is for weak noise. Rows
    without an ``image_shape`` are signals.

    Parameters
    ----------
    sigma : "auto" or float, default="auto"
        Noise standard deviation, greater than 0, in the unit of the data. "auto" estimates it from each
        image (:func:`~sk_denoise.restoration.estimate_sigma`).
    strength : float, default=2.5
        Tolerated difference of values (of colours: Euclidean distance), in ``sigma``, greater than 0.
        Greater values smooth more.
    sigma_spatial : float, default=1.5
        Standard deviation of the Gaussian of distances, in pixels, greater than 0. The window ends at 2.5
        times that distance.
    image_shape : tuple of int or None, default=None
        Shape ``(height, width)`` or ``(height, width, channels)`` of images in flat rows.
    kind : {"auto", "images", "signals"}, default="auto"
        Meaning of the samples. "signals": arrays (n, length) or (n, channels, length), time last, of which
        each channel is filtered by itself. "images": arrays (n, height, width[, channels]), and rows with
        ``image_shape``. "auto" takes rows without ``image_shape`` for signals, and arrays of more axes for
        images.

    Attributes
    ----------
    target_source_ : {"X_clean", "y", "noiser", "X"}
        Source of the clean side.
    data_range_ : float
        Data range of the clean samples, for ``score``.
    image_shape_ : tuple of int or None
        Shape of one image, None for signals.
    n_features_in_ : int
        Number of entries of one sample.
    feature_names_in_ : ndarray of str
        Names of the features, if X has names.

    See Also
    --------
    NonLocalMeansDenoiser : Compares surroundings in place of single pixels; better on texture.

    Notes
    -----
    An image without noise, by the estimate of "auto", is returned unchanged.

    ``skimage.restoration.denoise_bilateral`` differs: in scikit-image 0.26 it averages over a sheared window
    (a single white pixel becomes a slanted spot), and is 3 dB and more behind on photographs.

    References
    ----------
    C. Tomasi and R. Manduchi, "Bilateral filtering for gray and color images", ICCV (1998).

    Examples
    --------
    >>> import numpy as np
    >>> from sk_denoise import BilateralDenoiser
    >>> clean = np.tile(np.linspace(0, 1, 32), (1, 32, 1))
    >>> noisy = clean + np.random.default_rng(0).normal(0, 0.05, clean.shape)
    >>> denoised = BilateralDenoiser().fit(clean).predict(noisy)
    >>> bool(np.abs(denoised - clean).mean() < np.abs(noisy - clean).mean())
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **NOISE_LEVEL,
        "sigma_spatial": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        sigma: Literal["auto"] | float = "auto",
        *,
        strength: float = 2.5,
        sigma_spatial: float = 1.5,
        image_shape: Sequence[int] | None = None,
        kind: Literal["auto", "images", "signals"] = "auto",
    ) -> None:
        self.sigma = sigma
        self.strength = strength
        self.sigma_spatial = sigma_spatial
        self.image_shape = image_shape
        self.kind = kind

    def _filter(self, image: Image, sigma: float) -> Image:
        radius = math.ceil(BILATERAL_CUTOFF * self.sigma_spatial)
        padded = np.pad(image, ((radius, radius), (radius, radius), (0, 0)), mode="edge")
        height, width, _ = image.shape
        total, weights = np.zeros_like(image), np.zeros((height, width, 1))
        # One shift of the whole image at a time keeps memory at a few copies, for any window.
        for row in range(2 * radius + 1):
            for column in range(2 * radius + 1):
                shifted = padded[row : row + height, column : column + width]
                # The square of a tiny deviation would be zero.
                spread = max(self.sigma_spatial, MIN_SPATIAL)
                distance = ((row - radius) ** 2 + (column - radius) ** 2) / spread**2
                difference = (
                    np.sum((shifted - image) ** 2, axis=2, keepdims=True) / (self.strength * sigma) ** 2
                )
                weight = np.exp(-(distance + difference) / 2)
                total += weight * shifted
                weights += weight
        return total / weights


class MedianDenoiser(ClassicalDenoiser):
    """Replace each pixel by the median of its neighbourhood.

    It needs no noise level. Channels are denoised separately. Rows without an ``image_shape``
    are signals.

    Parameters
    ----------
    size : int, default=3
        Side of the neighbourhood in pixels; odd, at least 1. Images are mirrored at their borders.
    image_shape : tuple of int or None, default=None
        Shape ``(height, width)`` or ``(height, width, channels)`` of images in flat rows.
    kind : {"auto", "images", "signals"}, default="auto"
        Meaning of the samples. "signals": arrays (n, length) or (n, channels, length), time last, of which
        each channel is filtered by itself. "images": arrays (n, height, width[, channels]), and rows with
        ``image_shape``. "auto" takes rows without ``image_shape`` for signals, and arrays of more axes for
        images.

    Attributes
    ----------
    target_source_ : {"X_clean", "y", "noiser", "X"}
        Source of the clean side.
    data_range_ : float
        Data range of the clean samples, for ``score``.
    image_shape_ : tuple of int or None
        Shape of one image, None for signals.
    n_features_in_ : int
        Number of entries of one sample.
    feature_names_in_ : ndarray of str
        Names of the features, if X has names.

    See Also
    --------
    NonLocalMeansDenoiser : For noise that changes all pixels.

    References
    ----------
    J. W. Tukey, "Exploratory Data Analysis", Addison-Wesley (1977). The method is
    ``scipy.ndimage.median_filter``.

    Examples
    --------
    >>> from sk_denoise import MedianDenoiser
    >>> MedianDenoiser().fit_transform([[1.0, 1.0, 9.0, 1.0, 2.0, 2.0]])  # one signal
    array([[1., 1., 1., 2., 2., 2.]])
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **IMAGE_SHAPE,
        **KIND,
        "size": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        size: int = 3,
        *,
        image_shape: Sequence[int] | None = None,
        kind: Literal["auto", "images", "signals"] = "auto",
    ) -> None:
        self.size = size
        self.image_shape = image_shape
        self.kind = kind

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_odd(self, "size")

    def _denoise(self, images: Images) -> Images:
        from scipy.ndimage import median_filter

        # scipy takes numbers in the byte order of the machine only.
        native = images.astype(images.dtype.newbyteorder("="), copy=False)
        # Along an axis of length 1, a window would repeat each value: the same median, more slowly.
        sides = [1 if side == 1 else self.size for side in images.shape[1:3]]
        denoised: Images = median_filter(native, size=(1, *sides, 1))
        return denoised


class TotalVariationDenoiser(ClassicalDenoiser):
    """Minimize the total variation of images: flat regions, sharp edges.

    The filter is fast, and texture is lost. Channels are denoised separately. Rows without an
    ``image_shape`` are signals.

    Parameters
    ----------
    sigma : "auto" or float, default="auto"
        Noise standard deviation, greater than 0, in the unit of the data. "auto" estimates it from each
        image (:func:`~sk_denoise.restoration.estimate_sigma`).
    strength : float, default=0.8
        Weight of the total variation beside the squared distance, in ``sigma``, greater than 0:
        ``weight = strength * sigma``. Greater values flatten more.
    tol : float, default=1e-4
        Change of the cost, as a share of the first cost, that ends the iteration; greater than 0.
    max_num_iter : int, default=200
        Largest number of iterations, at least 1.
    image_shape : tuple of int or None, default=None
        Shape ``(height, width)`` or ``(height, width, channels)`` of images in flat rows.
    kind : {"auto", "images", "signals"}, default="auto"
        Meaning of the samples. "signals": arrays (n, length) or (n, channels, length), time last, of which
        each channel is filtered by itself. "images": arrays (n, height, width[, channels]), and rows with
        ``image_shape``. "auto" takes rows without ``image_shape`` for signals, and arrays of more axes for
        images.

    Attributes
    ----------
    target_source_ : {"X_clean", "y", "noiser", "X"}
        Source of the clean side.
    data_range_ : float
        Data range of the clean samples, for ``score``.
    image_shape_ : tuple of int or None
        Shape of one image, None for signals.
    n_features_in_ : int
        Number of entries of one sample.
    feature_names_in_ : ndarray of str
        Names of the features, if X has names.

    See Also
    --------
    NonLocalMeansDenoiser : Keeps texture.

    Notes
    -----
    An image without noise, by the estimate of "auto", is returned unchanged.

    References
    ----------
    L. I. Rudin, S. Osher and E. Fatemi, "Nonlinear total variation based noise removal algorithms",
    Physica D 60 (1992), 259-268; A. Chambolle, "An algorithm for total variation minimization and
    applications", Journal of Mathematical Imaging and Vision 20 (2004), 89-97. The method is
    ``skimage.restoration.denoise_tv_chambolle``.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_denoise import TotalVariationDenoiser
    >>> steps = np.repeat([[0.0, 1.0, 0.5]], 40, axis=1)  # one signal
    >>> noisy = steps + np.random.default_rng(0).normal(0, 0.1, steps.shape)
    >>> denoised = TotalVariationDenoiser(strength=2).fit(steps).predict(noisy)
    >>> bool(np.abs(denoised - steps).mean() < np.abs(noisy - steps).mean() / 2)
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **NOISE_LEVEL,
        "tol": [Interval(Real, 0, None, closed="neither")],
        "max_num_iter": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        sigma: Literal["auto"] | float = "auto",
        *,
        strength: float = 0.8,
        tol: float = 1e-4,
        max_num_iter: int = 200,
        image_shape: Sequence[int] | None = None,
        kind: Literal["auto", "images", "signals"] = "auto",
    ) -> None:
        self.sigma = sigma
        self.strength = strength
        self.tol = tol
        self.max_num_iter = max_num_iter
        self.image_shape = image_shape
        self.kind = kind

    def _filter(self, image: Image, sigma: float) -> Image:
        from skimage.restoration import denoise_tv_chambolle

        denoised: Image = denoise_tv_chambolle(
            image,
            weight=self.strength * sigma,
            eps=self.tol,
            max_num_iter=self.max_num_iter,
            channel_axis=-1,
        )
        return denoised


class WaveletDenoiser(ClassicalDenoiser):
    """Shrink the wavelet coefficients of images, by BayesShrink.

    It is the fastest of these filters. It needs PyWavelets: ``pip install "sk-denoise[wavelets]"``. Channels
    are denoised separately. Rows without an ``image_shape`` are signals.

    Parameters
    ----------
    sigma : "auto" or float, default="auto"
        Noise standard deviation, greater than 0, in the unit of the data. "auto" estimates it from each
        image (:func:`~sk_denoise.restoration.estimate_sigma`).
    strength : float, default=1.0
        Level of the noise to remove, in ``sigma``, greater than 0. Greater values smooth more.
    wavelet : str, default="db2"
        Name of an orthogonal wavelet in ``pywt.wavelist(kind="discrete")``, such as "db2" or "sym4".
    image_shape : tuple of int or None, default=None
        Shape ``(height, width)`` or ``(height, width, channels)`` of images in flat rows.
    kind : {"auto", "images", "signals"}, default="auto"
        Meaning of the samples. "signals": arrays (n, length) or (n, channels, length), time last, of which
        each channel is filtered by itself. "images": arrays (n, height, width[, channels]), and rows with
        ``image_shape``. "auto" takes rows without ``image_shape`` for signals, and arrays of more axes for
        images.

    Attributes
    ----------
    target_source_ : {"X_clean", "y", "noiser", "X"}
        Source of the clean side.
    data_range_ : float
        Data range of the clean samples, for ``score``.
    image_shape_ : tuple of int or None
        Shape of one image, None for signals.
    n_features_in_ : int
        Number of entries of one sample.
    feature_names_in_ : ndarray of str
        Names of the features, if X has names.

    Raises
    ------
    MissingExtraError
        By ``fit`` and ``predict``, if PyWavelets is not installed.

    See Also
    --------
    NonLocalMeansDenoiser : Better on photographs, and slower.

    Notes
    -----
    Two kinds of images are returned unchanged: those too small for a single scale of the wavelet (sides below
    6 pixels with "db2"), and those without noise, by the estimate of "auto".

    References
    ----------
    S. G. Chang, B. Yu and M. Vetterli, "Adaptive wavelet thresholding for image denoising and compression",
    IEEE Transactions on Image Processing 9(9) (2000), 1532-1546. The method is
    ``skimage.restoration.denoise_wavelet``.

    Examples
    --------
    >>> import pytest
    >>> _ = pytest.importorskip("pywt")
    >>> import numpy as np
    >>> from sk_denoise import WaveletDenoiser
    >>> clean = np.tile(np.linspace(0, 1, 32), (1, 32, 1))
    >>> noisy = clean + np.random.default_rng(0).normal(0, 0.1, clean.shape)
    >>> denoised = WaveletDenoiser().fit(clean).predict(noisy)
    >>> bool(np.abs(denoised - clean).mean() < np.abs(noisy - clean).mean())
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **NOISE_LEVEL,
        "wavelet": [str],
    }

    def __init__(
        self,
        sigma: Literal["auto"] | float = "auto",
        *,
        strength: float = 1.0,
        wavelet: str = "db2",
        image_shape: Sequence[int] | None = None,
        kind: Literal["auto", "images", "signals"] = "auto",
    ) -> None:
        self.sigma = sigma
        self.strength = strength
        self.wavelet = wavelet
        self.image_shape = image_shape
        self.kind = kind

    def _check_parameters(self) -> None:
        super()._check_parameters()
        known = _pywavelets().wavelist(kind="discrete")
        check_one_of(self.wavelet, dict.fromkeys(known), "wavelet")

    def _filter(self, image: Image, sigma: float) -> Image:
        from skimage.restoration import denoise_wavelet

        # Signals are images of height 1, and have one axis to transform.
        sides = [side for side in image.shape[:2] if side > 1]
        if not _pywavelets().dwtn_max_level(sides, self.wavelet):
            return image
        denoised: Image = denoise_wavelet(
            image.reshape(*sides, -1),
            sigma=self.strength * sigma,
            wavelet=self.wavelet,
            # sigma is in the unit of the image already.
            rescale_sigma=False,
            channel_axis=-1,
        )
        return denoised


class BM3DDenoiser(ClassicalDenoiser):
    """Filter stacks of similar blocks together, by BM3D.

    It needs the package ``bm3d``: ``pip install "sk-denoise[bm3d]"``. **Its licence allows non-commercial use
    only**, and asks you to name its authors (below) with published results. Rows without an ``image_shape``
    are signals.

    Parameters
    ----------
    sigma : "auto" or float, default="auto"
        Noise standard deviation, greater than 0, in the unit of the data. "auto" estimates it from each
        image (:func:`~sk_denoise.restoration.estimate_sigma`).
    strength : float, default=1.0
        Level of the noise to remove, in ``sigma``, greater than 0. Greater values smooth more.
    image_shape : tuple of int or None, default=None
        Shape ``(height, width)`` or ``(height, width, channels)`` of images in flat rows.
    kind : {"auto", "images", "signals"}, default="auto"
        Meaning of the samples. "signals": arrays (n, length) or (n, channels, length), time last, of which
        each channel is filtered by itself. "images": arrays (n, height, width[, channels]), and rows with
        ``image_shape``. "auto" takes rows without ``image_shape`` for signals, and arrays of more axes for
        images.

    Attributes
    ----------
    target_source_ : {"X_clean", "y", "noiser", "X"}
        Source of the clean side.
    data_range_ : float
        Data range of the clean samples, for ``score``.
    image_shape_ : tuple of int or None
        Shape of one image, None for signals.
    n_features_in_ : int
        Number of entries of one sample.
    feature_names_in_ : ndarray of str
        Names of the features, if X has names.

    Raises
    ------
    MissingExtraError
        By ``fit`` and ``predict``, if ``bm3d`` is not installed.

    See Also
    --------
    NonLocalMeansDenoiser : Twenty times as fast and more, 1 to 2 dB behind on photographs.
    sk_denoise.restoration.denoise_image : A network pretrained on photographs.

    Notes
    -----
    Three channels are red, green and blue, with independent noise: blocks are matched by the mean of the
    three (CBM3D). Any other number of channels is denoised separately.

    ``bm3d`` runs with its own settings on one thread, so that results are the same everywhere. It computes in
    single precision: an image whose values span more than ten million ``sigma`` is returned unchanged, and so
    is one without noise, by the estimate of "auto". With sides below 32 pixels, variances are approximated as
    in 2007, in a hundredth of the time. Sides below 9 pixels are mirrored to 9, and the noise level is raised
    accordingly.

    References
    ----------
    K. Dabov, A. Foi, V. Katkovnik and K. Egiazarian, "Image denoising by sparse 3-D transform-domain
    collaborative filtering", IEEE Transactions on Image Processing 16(8) (2007), 2080-2095; Y. Mäkinen, L.
    Azzari and A. Foi, "Collaborative filtering of correlated noise: exact transform-domain variance for
    improved shrinkage and patch matching", IEEE Transactions on Image Processing 29 (2020), 8339-8354. The
    method is ``bm3d.bm3d``.

    Examples
    --------
    >>> import pytest
    >>> _ = pytest.importorskip("bm3d")
    >>> import numpy as np
    >>> from sk_denoise import BM3DDenoiser
    >>> clean = np.tile(np.linspace(0, 1, 32), (1, 32, 1))
    >>> noisy = clean + np.random.default_rng(0).normal(0, 0.1, clean.shape)
    >>> denoised = BM3DDenoiser().fit(clean).predict(noisy)
    >>> bool(np.abs(denoised - clean).mean() < np.abs(noisy - clean).mean() / 4)
    True
    """

    def __init__(
        self,
        sigma: Literal["auto"] | float = "auto",
        *,
        strength: float = 1.0,
        image_shape: Sequence[int] | None = None,
        kind: Literal["auto", "images", "signals"] = "auto",
    ) -> None:
        self.sigma = sigma
        self.strength = strength
        self.image_shape = image_shape
        self.kind = kind

    def _check_parameters(self) -> None:
        super()._check_parameters()
        _bm3d()

    def _filter(self, image: Image, sigma: float) -> Image:
        # In units of the noise, around 0, single precision serves data in any unit.
        unit, mean = self.strength * sigma, image.mean(axis=(0, 1))
        if np.ptp(image) > MAX_RANGE * unit:
            return image
        denoised: Image = _denoise_unit_noise((image - mean) / unit) * unit + mean
        return denoised


def _denoise_unit_noise(image: Image) -> Image:
    """Remove noise of level 1 from an image."""
    if image.shape[2] == 3:
        try:
            # bm3d_rgb would divide by zero for gray images of three equal channels.
            return _match_blocks(image @ OPPONENT.T) @ OPPONENT
        # bm3d 4.0 raises if it takes the mean of the three channels for flat.
        except ValueError:
            pass
    return np.dstack([_match_blocks(channel) for channel in np.split(image, image.shape[2], axis=2)])


def _match_blocks(image: Image) -> Image:
    """Denoise channels of noise level 1; the first channel matches the blocks."""
    height, width, _ = image.shape
    margins = ((0, max(0, MIN_SIDE - height)), (0, max(0, MIN_SIDE - width)), (0, 0))
    padded = np.pad(image, margins, mode="symmetric")
    bm3d = _bm3d()
    profile = bm3d.BM3DProfile()
    # With more threads, the last digits vary from call to call.
    profile.num_threads = 1
    # For small images, exact variances take a hundred times as long.
    if min(padded.shape[:2]) < EXACT_SIDE:
        profile.nf = 0
    # Mirroring repeats white noise, which then has its energy in fewer coefficients.
    level = np.sqrt(padded.size / image.size)
    denoised: Image = bm3d.bm3d(padded, level, profile).reshape(padded.shape)
    return denoised[:height, :width]


def _bm3d() -> Any:
    """Import the optional package bm3d."""
    require_extra("BM3DDenoiser", "bm3d")
    return importlib.import_module("bm3d")


def _pywavelets() -> Any:
    """Import the optional package PyWavelets."""
    require_extra("WaveletDenoiser", "wavelets")
    return importlib.import_module("pywt")
