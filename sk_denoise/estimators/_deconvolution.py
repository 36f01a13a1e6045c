"""Filters that invert a known blur, and bicubic enlargement."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin
from sklearn.utils.validation import check_is_fitted
from torch.nn.functional import interpolate

from sk_denoise._clean_source import carried_source
from sk_denoise._compat import keeps_array_type
from sk_denoise._intensity import IntensityRange
from sk_denoise._schema import Rule
from sk_denoise._validation import (
    Interval,
    StrOptions,
    are_equal,
    as_float_array,
    as_numeric_array,
    check_lengths,
    check_numbers,
    check_samples,
    get_shape,
)
from sk_denoise.estimators._base import KIND_CONSTRAINT, SHAPE_CONSTRAINT, ClassicalDenoiser
from sk_denoise.metrics._metrics import mean_over_samples, psnr_per_sample

__all__ = ["BicubicEnlarger", "RichardsonLucyDeconvolver", "WienerDeconvolver"]

# Floats of shape (n_images, channels, height, width). Signals are images of height 1.
Planes = NDArray[Any]
# Floats of shape (height, width), or (length,) for a signal.
Plane = NDArray[np.float64]

# Limits of kernels in pixels; larger ones take minutes and gigabytes.
MAX_DEVIATION, MAX_SIDE = 50, 1024
# A Gaussian ends at so many standard deviations.
DEVIATIONS = 4
# Width of the margin of mirror images in sides of the kernel: there the wrap-around of a Fourier transform
# ends, and the dark beyond the margin fades in (its outer part, in sides) for the iterations.
WIENER_MARGIN, LUCY_MARGIN, FADED = 2, 3, 2.5
# Smallest side of a kernel that counts for the margin.
MIN_MARGIN_SIDE = 9
# Largest factor by which an estimated balance lets a frequency grow. Without noise, the border and the last
# digits of a wide kernel would be amplified beyond the image.
MAX_GAIN = 20
# Noise of the blurred samples that ``score`` makes, as a share of the data range.
REFERENCE_LEVEL = 0.01
# Decimal logarithms of the balances that are compared, before the best one is refined.
BALANCE_EXPONENTS = np.arange(-9, 3.01, 0.25)
# Frequencies that are enough to estimate the balance.
MAX_FREQUENCIES = 2**18
# Reach of the bicubic kernel in pixels.
REACH = 2
# Entries that are enlarged together, to bound memory.
ENTRIES_AT_ONCE = 2**22


def _to_planes(samples: NDArray[Any], image_shape: tuple[int, ...] | None) -> Planes:
    """Return samples as planes; without a shape of images they are signals."""
    if image_shape is None:
        if samples.ndim == 4:
            return np.moveaxis(samples, 3, 1)
        return samples[:, None, None] if samples.ndim == 2 else samples[:, :, None]
    images = samples.reshape(-1, *image_shape) if samples.ndim == 2 else samples
    return images[:, None] if images.ndim == 3 else np.moveaxis(images, 3, 1)


def _from_planes(planes: Planes, ndim: int, image_shape: tuple[int, ...] | None) -> NDArray[Any]:
    """Return planes in the layout of samples with so many axes."""
    if image_shape is None:
        if ndim == 4:
            return np.moveaxis(planes, 1, 3)
        return planes[:, 0, 0] if ndim == 2 else planes[:, :, 0]
    images = planes[:, 0] if len(image_shape) == 2 else np.moveaxis(planes, 1, 3)
    return images.reshape(len(images), -1) if ndim == 2 else images


def _map_planes(
    samples: NDArray[Any], image_shape: tuple[int, ...] | None, function: Callable[[Planes], Planes]
) -> NDArray[Any]:
    """Return samples after a function of planes, in a new array of their type."""
    planes = function(_to_planes(samples, image_shape))
    mapped = _from_planes(planes, samples.ndim, image_shape)
    return np.ascontiguousarray(mapped, dtype=samples.dtype.newbyteorder("="))


# Deconvolution ------------------------------------------------------------------------------------------


class _Deconvolver(ClassicalDenoiser):
    """A filter that inverts the blur by a kernel.

    A subclass defines ``_restore`` for one channel of an image, or one signal.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **SHAPE_CONSTRAINT,
        **KIND_CONSTRAINT,
        "kernel": [Interval(Real, 0, MAX_DEVIATION, closed="right"), np.ndarray, list, tuple],
    }
    # Whether weights below 0 are refused.
    _needs_positive_kernel: ClassVar[bool] = False
    kernel: Any

    @abstractmethod
    def _restore(self, plane: Plane, kernel: Plane) -> Plane:
        """Return a plane that is not constant without the blur by a kernel."""

    def _check_parameters(self) -> None:
        super()._check_parameters()
        kernel = _as_kernel(self.kernel)
        if self._needs_positive_kernel and kernel.min() < 0:
            raise ValueError(
                f"{type(self).__name__} needs a kernel without weights below 0, because light only adds up; "
                f"got {kernel.min():.3g} of a sum of 1. Subtract the background of a measured kernel, cut it "
                "at 0, or use WienerDeconvolver."
            )

    def _denoise_samples(self, samples: NDArray[Any]) -> NDArray[Any]:
        return _map_planes(
            samples, self.image_shape_, lambda planes: self._filter_planes(planes, self._restore)
        )

    def _corrupt(self, samples: NDArray[Any], draw: torch.Generator) -> NDArray[Any]:
        """Return samples blurred by the kernel, with weak noise."""
        blurred = _map_planes(samples, self.image_shape_, lambda planes: self._filter_planes(planes, _blur))
        noise = torch.randn(blurred.shape, generator=draw, dtype=torch.float64).numpy()
        noisy: NDArray[Any] = (blurred + REFERENCE_LEVEL * self.data_range_ * noise).astype(blurred.dtype)
        return noisy

    def _filter_planes(self, planes: Planes, function: Callable[[Plane, Plane], Plane]) -> Planes:
        """Return each channel after a function of it and the kernel."""
        kernel, is_row = _as_kernel(self.kernel), planes.shape[2] == 1
        if is_row:
            # Across a single row the mirror images are all alike, so that the rows of a kernel add up.
            kernel = kernel.sum(axis=0)
        filtered = np.array(planes, dtype=np.float64)
        for image in filtered:
            for number, channel in enumerate(image):
                # A constant is its own blur. A contiguous copy makes results independent of the layout of X.
                if channel.min() < channel.max():
                    plane = np.array(channel[0] if is_row else channel, order="C")
                    image[number] = function(plane, kernel).reshape(channel.shape)
        return filtered


class WienerDeconvolver(_Deconvolver):
    """Sharpen images by a Wiener filter: the linear inverse of a known blur.

    It is fast, and leaves ripples beside edges. Each channel is restored by itself. Rows without an
    ``image_shape`` are signals, such as spectra that a slit widened.

    Parameters
    ----------
    kernel : float or array of shape (height, width) or (width,), default=1.0
        Blur to invert. A number is the standard deviation of a Gaussian in pixels, above 0 and at most 50. An
        array holds weights, such as a measured point spread function, with odd sides; it is divided by its
        sum, which must be above 0. A kernel of one axis blurs along the rows. In signals, a kernel of several
        rows acts as their sum.
    balance : "auto" or float, default="auto"
        Weight of smoothness beside the data, greater than 0: the power of the noise over that of the
        Laplacian of the clean image, free of any unit. Greater values smooth more. "auto" estimates it from
        each channel (see Notes).
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
    RichardsonLucyDeconvolver : For counts, and images with much black; slower.
    ImageDenoiser : Learns to sharpen; better on photos.

    Notes
    -----
    With the transforms H of the kernel and D of the Laplacian, the filter is
    ``conj(H) / (|H|^2 + balance |D|^2)`` at each frequency. Images continue as mirror images beyond their
    borders, and the margin is cut off again. The filter is linear: data of any range and sign keep their
    unit and mean, and nothing is clipped.

    "auto" is the balance of greatest likelihood if the Laplacian of the clean image and the noise are white.
    The coefficients Y of the cosine transform of the blurred image then have variances in proportion to
    ``v = 1 + |H|^2 / (balance |D|^2)``, and the balance is the minimum of
    ``log mean(Y^2 / v) + mean(log v)`` over all frequencies but 0. The noise level follows from the same
    data and need not be known. The balance is at least such that no frequency grows more than 20 times, since
    the border of an image never fits exactly. On photos with noise the PSNR is less than .1 dB below that of
    the best balance of each image.

    ``score`` without blurred samples blurs clean ones by ``kernel`` and adds white noise of a hundredth of
    the data range. Such scores do not compare kernels; for these, use pairs, or
    :func:`~sk_denoise.make_denoising_scorer`.

    References
    ----------
    B. R. Hunt, "A matrix theory proof of the discrete convolution theorem", IEEE Transactions on Audio and
    Electroacoustics 19 (1971). The method is ``skimage.restoration.wiener``.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.ndimage import gaussian_filter
    >>> from sk_denoise import WienerDeconvolver
    >>> clean = np.kron(np.eye(4), np.ones((16, 16)))[None]
    >>> blurred = gaussian_filter(clean, 1.6, axes=(1, 2))
    >>> blurred += np.random.default_rng(0).normal(0, 0.003, clean.shape)
    >>> restored = WienerDeconvolver(1.6).fit(blurred).predict(blurred)
    >>> bool(np.square(restored - clean).mean() < np.square(blurred - clean).mean() / 2)
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **_Deconvolver._parameter_constraints,
        "balance": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        kernel: float | ArrayLike = 1.0,
        *,
        balance: Literal["auto"] | float = "auto",
        image_shape: Sequence[int] | None = None,
        kind: Literal["auto", "images", "signals"] = "auto",
    ) -> None:
        self.kernel = kernel
        self.balance = balance
        self.image_shape = image_shape
        self.kind = kind

    def _restore(self, plane: Plane, kernel: Plane) -> Plane:
        from skimage.restoration import wiener

        # Around the mean and of height 1, squares are finite in any unit.
        mean = plane.mean()
        unit = np.abs(plane - mean).max()
        scaled = (plane - mean) / unit
        balance = _estimate_balance(scaled, kernel) if isinstance(self.balance, str) else float(self.balance)
        padded, inside = _add_margin(scaled, kernel, WIENER_MARGIN)
        restored: Plane = wiener(padded, kernel, balance, clip=False)[inside] * unit + mean
        return restored


class RichardsonLucyDeconvolver(_Deconvolver):
    """Sharpen images by the iteration of Richardson and Lucy, for counts of light.

    The result is never below black, and stars stay points. The number of iterations is the strength: more of
    them sharpen more, and let the noise grow. Each channel is restored by itself. Rows without an
    ``image_shape`` are signals.

    Parameters
    ----------
    kernel : float or array of shape (height, width) or (width,), default=1.0
        Blur to invert. A number is the standard deviation of a Gaussian in pixels, above 0 and at most 50. An
        array holds weights of at least 0, such as a measured point spread function, with odd sides; it is
        divided by its sum. A kernel of one axis blurs along the rows. In signals, a kernel of several rows
        acts as their sum.
    n_iter : int, default=20
        Number of iterations, at least 1: about 5 for strong noise, 20 for weak one, 100 for almost none.
        Their time is that of two convolutions each.
    black : "auto" or float, default="auto"
        Value without any light, in the unit of the data; smaller ones are cut to it. "auto" is that of the
        intensity range of each channel: 0 for images in [0, 1], in 8 bits and for counts, also with noise
        below 0; and the smallest value of data with an offset or a sign.
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
    WienerDeconvolver : Finds its strength from the data; faster.
    ImageDenoiser : Learns to sharpen; better on photos.

    Notes
    -----
    Images continue as mirror images beyond their borders, and the margin is cut off again. The brightest
    value is scaled to 1 and back, because the function of scikit-image avoids divisions by 0 by a constant.
    Nothing is clipped at white.

    The best number of iterations depends on noise and kernel. Search for it:
    ``GridSearchCV(RichardsonLucyDeconvolver(1.6), {"n_iter": [5, 10, 20, 40, 80]}, scoring=scorer)`` with
    :func:`~sk_denoise.make_denoising_scorer`, or with pairs of blurred and clean images.

    ``score`` without blurred samples blurs clean ones by ``kernel`` and adds white noise of a hundredth of
    the data range. Such scores do not compare kernels.

    References
    ----------
    W. H. Richardson, "Bayesian-based iterative method of image restoration", Journal of the Optical Society
    of America 62 (1972). L. B. Lucy, "An iterative technique for the rectification of observed
    distributions", The Astronomical Journal 79 (1974). The method is ``skimage.restoration.richardson_lucy``.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.ndimage import gaussian_filter
    >>> from sk_denoise import RichardsonLucyDeconvolver
    >>> stars = np.zeros((1, 48, 48))
    >>> stars[0, [10, 25, 30], [12, 30, 33]] = 1000
    >>> blurred = np.random.default_rng(0).poisson(gaussian_filter(stars, 1.6, axes=(1, 2)))
    >>> restored = RichardsonLucyDeconvolver(1.6, n_iter=100).fit(blurred).predict(blurred)
    >>> bool(restored.max() > 5 * blurred.max())
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **_Deconvolver._parameter_constraints,
        "n_iter": [Interval(Integral, 1, None, closed="left")],
        "black": [StrOptions({"auto"}), Interval(Real, None, None, closed="neither")],
    }
    _needs_positive_kernel = True

    def __init__(
        self,
        kernel: float | ArrayLike = 1.0,
        *,
        n_iter: int = 20,
        black: Literal["auto"] | float = "auto",
        image_shape: Sequence[int] | None = None,
        kind: Literal["auto", "images", "signals"] = "auto",
    ) -> None:
        self.kernel = kernel
        self.n_iter = n_iter
        self.black = black
        self.image_shape = image_shape
        self.kind = kind

    def _restore(self, plane: Plane, kernel: Plane) -> Plane:
        from skimage.restoration import richardson_lucy

        black = IntensityRange.of(plane).black if isinstance(self.black, str) else float(self.black)
        light = np.maximum(plane - black, 0.0)
        peak = light.max()
        if peak == 0:
            return np.full_like(plane, black)
        padded, inside = _add_margin(light / peak, kernel, LUCY_MARGIN)
        # The function takes all beyond the margin for black. A sudden end would send waves into the image.
        for axis, side in enumerate(kernel.shape):
            length, width = padded.shape[axis], int(FADED * max(side, MIN_MARGIN_SIDE))
            places = np.minimum(np.arange(length), np.arange(length)[::-1])
            weights = 0.5 - 0.5 * np.cos(np.pi * np.minimum((places + 0.5) / width, 1.0))
            padded *= np.moveaxis(weights.reshape(-1, *[1] * (padded.ndim - 1)), 0, axis)
        restored: Plane = richardson_lucy(padded, kernel, self.n_iter, clip=False)[inside] * peak + black
        return restored


def _as_kernel(kernel: Any) -> Plane:
    """Return the weights (height, width) of a kernel, with a sum of 1."""
    if isinstance(kernel, Real):
        radius = math.ceil(DEVIATIONS * float(kernel))
        line = np.exp(-0.5 * (np.arange(-radius, radius + 1) / float(kernel)) ** 2)
        weights = np.outer(line, line)
    else:
        weights = _check_weights(kernel)
    normalized: Plane = weights / weights.sum()
    return normalized


def _check_weights(kernel: Any) -> Plane:
    """Return given weights (height, width), or raise an error."""
    try:
        weights = np.asarray(kernel)
    except ValueError:
        weights = np.array(None)
    if weights.dtype.kind not in "biuf" or weights.ndim not in (1, 2) or not weights.size:
        raise ValueError(
            "kernel must be the standard deviation of a Gaussian in pixels, or an array of numbers of shape "
            f"(height, width) or (width,), got {weights.dtype} of shape {weights.shape}."
        )
    weights = np.atleast_2d(weights.astype(np.float64))
    if any(side % 2 == 0 or side > MAX_SIDE for side in weights.shape):
        raise ValueError(
            f"kernel must have odd sides of at most {MAX_SIDE} pixels, so that it has a middle, got shape "
            f"{np.shape(kernel)}. Add a row or column of zeros where its middle is not meant to move."
        )
    peak = np.abs(weights).max()
    if not np.isfinite(peak):
        raise ValueError("kernel holds NaN or infinity: expected finite weights.")
    # Of weights of height 1, so that the sum of a kernel of differences is not a rounding error above 0.
    if peak == 0 or (weights / peak).sum() < 1e-6:
        raise ValueError(
            f"The weights of a kernel must have a sum above 0, got {weights.sum():.3g}: a blur keeps the "
            "mean brightness."
        )
    scaled: Plane = weights / peak
    return scaled


def _add_margin(plane: Plane, kernel: Plane, n_sides: int) -> tuple[Plane, tuple[slice, ...]]:
    """Return a plane with mirror images around it, and the place of the plane in it."""
    margins = [n_sides * max(side, MIN_MARGIN_SIDE) for side in kernel.shape]
    padded = np.pad(plane, [(margin, margin) for margin in margins], mode="symmetric")
    return padded, tuple(slice(m, m + side) for m, side in zip(margins, plane.shape, strict=True))


def _blur(plane: Plane, kernel: Plane) -> Plane:
    """Return a plane convolved with a kernel of odd sides, mirrored at its borders."""
    from scipy.signal import convolve

    padded = np.pad(plane, [(side // 2, side // 2) for side in kernel.shape], mode="symmetric")
    blurred: Plane = convolve(padded, kernel, mode="valid")
    return blurred


def _estimate_balance(plane: Plane, kernel: Plane) -> float:
    """Return the balance of greatest likelihood, with the noise level unknown.

    Parameters
    ----------
    plane : ndarray of shape (height, width) or (length,)
        Blurred image or signal.
    kernel : ndarray
        Blur, with as many axes.
    """
    from scipy.fft import dctn
    from scipy.optimize import minimize_scalar

    # The cosine transform is the Fourier transform of a plane with its mirror images: noise stays white in
    # it, which in a padded plane is not so.
    powers = np.square(dctn(plane, norm="ortho")).ravel()[1:]
    frequencies = [np.pi * np.arange(side) / side for side in plane.shape]
    response = kernel.astype(np.complex128)
    for axis, waves in enumerate(frequencies):
        radius = kernel.shape[axis] // 2
        shifts = np.exp(-1j * np.outer(waves, np.arange(-radius, radius + 1)))
        response = np.moveaxis(np.tensordot(shifts, response, axes=(1, axis)), 0, axis)
    roughness = np.zeros(plane.shape)
    for part in np.meshgrid(*(2 - 2 * np.cos(waves) for waves in frequencies), indexing="ij"):
        roughness += part
    gains, penalties = np.abs(response).ravel()[1:], np.square(roughness).ravel()[1:]
    least = np.max((gains / MAX_GAIN - gains**2) / penalties, initial=0.0)
    ratios = gains**2 / penalties
    # A stride without a common divisor with the sides would not change a visible digit.
    step = max(1, len(powers) // MAX_FREQUENCIES)
    powers, ratios = powers[::step], ratios[::step]

    def cost(exponent: float) -> float:
        variances = 1 + ratios * 10**-exponent
        return float(np.log(np.mean(powers / variances)) + np.mean(np.log(variances)))

    best = float(min(BALANCE_EXPONENTS, key=cost))
    refined = float(minimize_scalar(cost, bounds=(best - 0.25, best + 0.25), method="bounded").x)
    return float(max(10.0**refined, least))


# Enlargement --------------------------------------------------------------------------------------------


class BicubicEnlarger(ClassicalDenoiser):
    """Enlarge images by bicubic interpolation, the reference of super-resolution.

    It has the methods of an :class:`~sk_denoise.ImageDenoiser` that enlarges, and learns nothing. Each
    channel is enlarged by itself. Rows without an ``image_shape`` are signals, and become longer.

    Parameters
    ----------
    scale : int, default=2
        Factor of the sides, from 1 on. 1 returns images as they are.
    image_shape : tuple of int or None, default=None
        Shape ``(height, width)`` or ``(height, width, channels)`` of images in flat rows.
    kind : {"auto", "images", "signals"}, default="auto"
        Meaning of the samples. "signals": arrays (n, length) or (n, channels, length), time last, which
        become longer. "images": arrays (n, height, width[, channels]), and rows with ``image_shape``. "auto"
        takes rows without ``image_shape`` for signals, and arrays of more axes for images.

    Attributes
    ----------
    scale_ : int
        Factor of the sides.
    target_source_ : {"X_clean", "y", "noiser", "X"}
        Source of the clean side.
    data_range_ : float
        Data range of the clean samples, for ``score``.
    image_shape_ : tuple of int or None
        Shape of one small image of the fit, None for signals.
    n_features_in_ : int
        Number of entries of one sample.
    feature_names_in_ : ndarray of str
        Names of the features, if X has names.

    See Also
    --------
    ImageDenoiser : Learns to enlarge; sharper.
    sk_denoise.metrics.luminance_psnr : The PSNR in which enlarged images are compared.

    Notes
    -----
    The kernel is that of Keys with a = -0.5, and images continue as mirror images beyond their borders: the
    output is that of ``imresize(image, scale, "bicubic")`` of MATLAB for floats, which the tables of the
    field begin with, borders included. Values beside edges exceed those of the image, and are not clipped.
    Integers become float32 in the same unit; the field rounds and clips them to 8 bits before the metric.

    References
    ----------
    R. G. Keys, "Cubic convolution interpolation for digital image processing", IEEE Transactions on
    Acoustics, Speech, and Signal Processing 29 (1981). The method is ``torch.nn.functional.interpolate``.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_denoise import BicubicEnlarger
    >>> small = np.array([[[0.0, 0.0, 1.0, 1.0]] * 4])
    >>> large = BicubicEnlarger(2).fit(small).predict(small)
    >>> large.shape
    (1, 8, 8)
    >>> large[0, 0].round(2).tolist()
    [0.0, -0.02, -0.07, 0.2, 0.8, 1.07, 1.02, 1.0]
    """

    _fitted_schema: ClassVar[dict[str, Rule]] = {
        "scale_": Rule(lambda v, e: type(v) is int and v == e.scale, "the parameter scale")
    }
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **SHAPE_CONSTRAINT,
        **KIND_CONSTRAINT,
        "scale": [Interval(Integral, 1, None, closed="left")],
    }
    _takes_any_size: ClassVar[bool] = True
    scale_: int

    def __init__(
        self,
        scale: int = 2,
        *,
        image_shape: Sequence[int] | None = None,
        kind: Literal["auto", "images", "signals"] = "auto",
    ) -> None:
        self.scale = scale
        self.image_shape = image_shape
        self.kind = kind

    @keeps_array_type
    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Enlarge samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels])
            Images of any size with the channels of ``fit``, or rows of its length; or a list of images of
            different sizes.

        Returns
        -------
        ndarray of shape (n_samples, scale * height, scale * width[, channels])
            Enlarged samples in the unit of X; float64 for float64, else float32. Signals are ``scale`` times
            as long, and flat rows of images have ``scale ** 2`` times as many entries. A list for a list of
            different sizes.
        """
        return super().predict(X)

    def transform(self, X: ArrayLike) -> Any:
        """Enlarge, as ``predict`` does.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels])
            Small samples.

        Returns
        -------
        ndarray or DataFrame
            Enlarged samples.
        """
        return self.predict(X)

    @keeps_array_type
    def score(self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None) -> float:
        """Return the mean PSNR of enlarged samples in dB, each capped at 100.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels]), or list
            Small samples if y holds large ones; otherwise large ones, which are reduced by the same kernel,
            stretched by ``scale``, after a cut to multiples of ``scale``. The output of a noiser that reduces
            is small; its clean source is the truth.
        y : array-like, optional
            Clean samples with ``scale`` times the sides of those in X; labels are ignored.
        sample_weight : array-like of shape (n_samples,), optional
            Weight of each sample in the mean.

        Returns
        -------
        float
            Greater is better. The data range is ``data_range_``.

        Raises
        ------
        ValueError
            If y holds images of other sizes, or an image is smaller than ``scale``.
        """
        check_is_fitted(self)
        check_lengths(X, y)
        large, _ = self._find_large(X, y, "y")
        parts = self._separate_samples(X, self._sample_shape_)
        if parts is not None:
            stacks = [self._check_part(part, f"X[{i}]")[None] for i, part in enumerate(parts)]
            truths = None if large is None else [as_float_array(check_numbers(x, "y"))[None] for x in large]
        else:
            checked = (
                check_numbers(X, "X") if self._has_other_length(X) else check_samples(self, X, reset=False)
            )
            stacks = _split(as_float_array(checked))
            truths = None if large is None else _split(as_float_array(check_numbers(large, "y")), like=stacks)
        scores = []
        for number, stack in enumerate(stacks):
            if truths is None:
                planes = _to_planes(stack, self.image_shape_)
                small = self._reduce(planes)
                truth, prediction = self._cut_to_multiples(planes), self._enlarge(small).astype(planes.dtype)
            else:
                truth, prediction = truths[number], self._denoise_samples(stack)
            scores.append(psnr_per_sample(truth, prediction, self.data_range_))
        return mean_over_samples(np.concatenate(scores), sample_weight)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return the names of the output features, "bicubicenlarger0" and so on.

        Parameters
        ----------
        input_features : array-like of str, optional
            Not used, but checked against the names of the fit.

        Returns
        -------
        ndarray of str
        """
        names: NDArray[np.object_] = ClassNamePrefixFeaturesOutMixin.get_feature_names_out(
            self, input_features
        )
        return names

    @property
    def _n_features_out(self) -> int:
        return math.prod(self._large_shape((1, *self._sample_shape_)))

    def _fit(
        self,
        X: ArrayLike,
        y: Any,
        X_clean: Any,
        sample_weight: ArrayLike | None = None,
        X_second: ArrayLike | None = None,
    ) -> Self:
        self._check_parameters()
        check_lengths(X, y)
        name = "y" if X_clean is None else "X_clean"
        large, source = self._find_large(X, y if X_clean is None else X_clean, name)
        if source == "noiser":
            # The base would take the clean source for a clean side of the same size.
            X = np.array(X)
        super()._fit(X, None, None)
        self.scale_ = int(self.scale)
        if large is not None:
            values = np.concatenate([np.ravel(check_numbers(x, name)) for x in large])
            self.data_range_, self.target_source_ = IntensityRange.of_clean(values).span, source
        return self

    def _find_large(self, X: Any, side: Any, name: str) -> tuple[Any, str]:
        """Return the large samples of a pair and their source, or None and "X".

        Parameters
        ----------
        X : array-like or list of array-like
            Small samples, or the only ones.
        side : array-like or list of array-like, or None
            Large samples, labels or nothing.
        name : {"y", "X_clean"}
            Argument that the side came in.
        """
        source = carried_source(X)
        if self.scale == 1 and side is None:
            return None, "X"
        shape = get_shape(X)
        if side is None:
            if source is not None and source.describes(X) and source.clean.shape == self._large_shape(shape):
                return source.clean, "noiser"
            return None, "X"
        if shape:
            expected, given = self._large_shape(shape), get_shape(side)
            if given == expected:
                return side, name
            # Labels have one axis, or two; rows beside rows may be both.
            is_same = given == shape and are_equal(as_numeric_array(side), as_numeric_array(X))
            if name == "y" and (len(given) < 3 or is_same):
                return None, "X"
            raise ValueError(
                f"{name} has shape {given}, expected {expected}: {self.scale} times the sides of X, which "
                f"has shape {shape}."
            )
        expected_shapes = [self._large_shape((1, *np.shape(x)))[1:] for x in X]
        if isinstance(side, list | tuple) and [np.shape(x) for x in side] == expected_shapes:
            return side, name
        if name == "y" and all(np.ndim(x) < 1 for x in side):
            return None, "X"
        raise ValueError(
            f"{name} must hold a large image for each in X, with {self.scale} times its sides; the first "
            f"would have shape {expected_shapes[0]}."
        )

    def _large_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of enlarged samples."""
        n, *sides = shape
        if len(sides) == 1:
            return n, sides[0] * self.scale ** (1 if self.image_shape is None else 2)
        # Signals (channels, length) and (1, length, channels) have their time on the second axis.
        axes = (1,) if self.kind == "signals" else (0, 1)
        return (n, *(side * self.scale if axis in axes else side for axis, side in enumerate(sides)))

    def _denoise_samples(self, samples: NDArray[Any]) -> NDArray[Any]:
        return _map_planes(samples, self.image_shape_, self._enlarge)

    @property
    def _factors(self) -> tuple[int, int]:
        """Factors of height and width; signals keep their height of 1."""
        return 1 if self.image_shape_ is None else self.scale, self.scale

    def _enlarge(self, planes: Planes) -> Planes:
        """Return planes of the multiple of their sides."""
        height, width = (side * factor for side, factor in zip(planes.shape[2:], self._factors, strict=True))
        large = np.empty((*planes.shape[:2], height, width))
        n_planes = max(1, ENTRIES_AT_ONCE // large[0].size)
        for start in range(0, len(planes), n_planes):
            chunk = slice(start, start + n_planes)
            large[chunk] = _resize(planes[chunk], self._factors, (1, 1))
        return large

    def _cut_to_multiples(self, planes: Planes) -> Planes:
        """Return planes cut to multiples of the factors."""
        height, width = (
            side // factor * factor for side, factor in zip(planes.shape[2:], self._factors, strict=True)
        )
        if not height or not width:
            raise ValueError(
                f"score(X) without y reduces X by scale={self.scale}, and it holds samples of "
                f"{planes.shape[2]} x {planes.shape[3]} entries. Pass large samples, or small ones as X and "
                "large ones as y."
            )
        return planes[:, :, :height, :width]

    def _reduce(self, planes: Planes) -> Planes:
        """Return planes of a fraction of their sides."""
        return _resize(self._cut_to_multiples(planes), (1, 1), self._factors)


def _resize(planes: Planes, up: tuple[int, int], down: tuple[int, int]) -> Planes:
    """Return planes enlarged or reduced as by ``imresize`` of MATLAB.

    Parameters
    ----------
    planes : ndarray of shape (n, channels, height, width)
        Images, whose sides are multiples of ``down``.
    up, down : tuple of int
        Factors of height and width.
    """
    # torch leaves out the pixels beyond the border, and MATLAB mirrors them: the result differs there by some
    # hundredths.
    margins = [0 if u == d else REACH * d for u, d in zip(up, down, strict=True)]
    padded = np.pad(
        np.asarray(planes, dtype=np.float64), [(0, 0), (0, 0), *((m, m) for m in margins)], mode="symmetric"
    )
    sides = [side * u // d for side, u, d in zip(padded.shape[2:], up, down, strict=True)]
    resized = interpolate(torch.from_numpy(padded), size=sides, mode="bicubic", antialias=True).numpy()
    top, left = (margin * u // d for margin, u, d in zip(margins, up, down, strict=True))
    return resized[:, :, top : sides[0] - top, left : sides[1] - left]


def _split(samples: NDArray[Any], like: list[NDArray[Any]] | None = None) -> list[NDArray[Any]]:
    """Return samples in stacks of limited memory, or of the lengths of other stacks."""
    n_rows = max(1, ENTRIES_AT_ONCE // samples[0].size) if like is None else len(like[0])
    return [samples[start : start + n_rows] for start in range(0, len(samples), n_rows)]
