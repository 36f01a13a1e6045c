"""Filters that average like pixels, or take the middle one: they learn nothing."""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from sk_denoise._extras import require_extra
from sk_denoise._validation import Interval, check_one_of
from sk_denoise.estimators._filter_base import IMAGE_SHAPE, NOISE_LEVEL, ClassicalDenoiser, Images, check_odd

__all__ = [
    "BilateralDenoiser",
    "MedianDenoiser",
    "NonLocalMeansDenoiser",
    "TotalVariationDenoiser",
    "WaveletDenoiser",
]

Image = NDArray[np.float64]  # (height, width, channels)


class NonLocalMeansDenoiser(ClassicalDenoiser):
    """Average each pixel with pixels of similar surroundings, by non-local means.

    Texture and repeated structure survive. Rows that no ``image_shape`` calls images are read as signals.

    Parameters
    ----------
    sigma : "auto" or float, default="auto"
        Standard deviation of the noise, greater than 0, in the unit of the data. "auto" estimates it for
        each image from itself (:func:`~sk_denoise.restoration.estimate_sigma`).
    strength : float, default=0.7
        How different surroundings may look, in ``sigma``, greater than 0: ``h = strength * sigma``. Greater
        is smoother. Colours do well with 0.5.
    patch_size : int, default=5
        Side of the surroundings that are compared, in pixels; odd, at least 3.
    patch_distance : int, default=6
        How far away a like pixel is looked for, in pixels, at least 1.
    image_shape : tuple of int or None, default=None
        Shape ``(height, width)`` or ``(height, width, channels)`` of images in flat rows.

    Attributes
    ----------
    target_source_ : {"X_clean", "y", "noiser", "X"}
        Where the clean side came from.
    data_range_ : float
        The range of clean samples that ``score`` refers to.
    image_shape_ : tuple of int or None
        Shape of one image, None for signals.
    n_features_in_ : int
        Number of entries of one sample.
    feature_names_in_ : ndarray of str
        Names of the features, where X has names.

    See Also
    --------
    TotalVariationDenoiser : Twice as fast; for images of plain areas.
    WienerDenoiser : Learns from clean data; for tables and for small images of the same thing.

    Notes
    -----
    Where "auto" finds no noise, the image comes back as it is.

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
    ) -> None:
        self.sigma = sigma
        self.strength = strength
        self.patch_size = patch_size
        self.patch_distance = patch_distance
        self.image_shape = image_shape

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
            fast_mode=True,  # the other is eight times as slow, no better, and may answer NaN
            sigma=sigma,
            channel_axis=-1,
        )
        return denoised


class BilateralDenoiser(ClassicalDenoiser):
    """Average each pixel with near ones that have nearly the same value.

    Keeps edges, and with them pixels that noise made stand out: for weak noise. Rows that no
    ``image_shape`` calls images are read as signals.

    Parameters
    ----------
    sigma : "auto" or float, default="auto"
        Standard deviation of the noise, greater than 0, in the unit of the data. "auto" estimates it for
        each image from itself (:func:`~sk_denoise.restoration.estimate_sigma`).
    strength : float, default=2.5
        How different values (colours: the distance of their triples) may be, in ``sigma``, greater than 0.
        Greater is smoother.
    sigma_spatial : float, default=1.5
        How near is near: the deviation of a Gaussian, in pixels, greater than 0. It is cut off at 2.5 of it.
    image_shape : tuple of int or None, default=None
        Shape ``(height, width)`` or ``(height, width, channels)`` of images in flat rows.

    Attributes
    ----------
    target_source_ : {"X_clean", "y", "noiser", "X"}
        Where the clean side came from.
    data_range_ : float
        The range of clean samples that ``score`` refers to.
    image_shape_ : tuple of int or None
        Shape of one image, None for signals.
    n_features_in_ : int
        Number of entries of one sample.
    feature_names_in_ : ndarray of str
        Names of the features, where X has names.

    See Also
    --------
    NonLocalMeansDenoiser : Compares surroundings, not single pixels; better on texture.

    Notes
    -----
    Where "auto" finds no noise, the image comes back as it is.

    This is not ``skimage.restoration.denoise_bilateral``, which in scikit-image 0.26 averages over a window
    that is sheared (a lone white pixel becomes a slanted spot) and stays 3 dB and more behind on photographs.

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
    ) -> None:
        self.sigma = sigma
        self.strength = strength
        self.sigma_spatial = sigma_spatial
        self.image_shape = image_shape

    def _filter(self, image: Image, sigma: float) -> Image:
        reach = math.ceil(2.5 * self.sigma_spatial)
        padded = np.pad(image, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
        height, width, _ = image.shape
        total, weights = np.zeros_like(image), np.zeros((height, width, 1))
        for down in range(2 * reach + 1):
            for across in range(2 * reach + 1):
                other = padded[down : down + height, across : across + width]
                apart = ((down - reach) ** 2 + (across - reach) ** 2) / self.sigma_spatial**2
                differ = np.sum((other - image) ** 2, axis=2, keepdims=True) / (self.strength * sigma) ** 2
                weight = np.exp(-(apart + differ) / 2)
                total += weight * other
                weights += weight
        return total / weights


class MedianDenoiser(ClassicalDenoiser):
    """Replace each pixel by the median of its neighbourhood.

    It needs no level of the noise. Each channel is denoised by itself. Rows that no ``image_shape`` calls
    images are read as signals.

    Parameters
    ----------
    size : int, default=3
        Side of the neighbourhood in pixels; odd, at least 1. Beyond the border pixels are mirrored.
    image_shape : tuple of int or None, default=None
        Shape ``(height, width)`` or ``(height, width, channels)`` of images in flat rows.

    Attributes
    ----------
    target_source_ : {"X_clean", "y", "noiser", "X"}
        Where the clean side came from.
    data_range_ : float
        The range of clean samples that ``score`` refers to.
    image_shape_ : tuple of int or None
        Shape of one image, None for signals.
    n_features_in_ : int
        Number of entries of one sample.
    feature_names_in_ : ndarray of str
        Names of the features, where X has names.

    See Also
    --------
    NonLocalMeansDenoiser : For noise in all pixels.

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
        "size": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(self, size: int = 3, *, image_shape: Sequence[int] | None = None) -> None:
        self.size = size
        self.image_shape = image_shape

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_odd(self, "size")

    def _denoise(self, images: Images) -> Images:
        from scipy.ndimage import median_filter

        native = images.astype(images.dtype.newbyteorder("="), copy=False)
        sides = [1 if side == 1 else self.size for side in images.shape[1:3]]
        denoised: Images = median_filter(native, size=(1, *sides, 1))
        return denoised


class TotalVariationDenoiser(ClassicalDenoiser):
    """Minimize the total variation of images: flat regions, sharp edges.

    Fast; texture is lost. Each channel is denoised by itself. Rows that no ``image_shape`` calls images
    are read as signals.

    Parameters
    ----------
    sigma : "auto" or float, default="auto"
        Standard deviation of the noise, greater than 0, in the unit of the data. "auto" estimates it for
        each image from itself (:func:`~sk_denoise.restoration.estimate_sigma`).
    strength : float, default=0.8
        What variation costs beside the squared distance, in ``sigma``, greater than 0:
        ``weight = strength * sigma``. Greater is plainer.
    tol : float, default=1e-4
        The iteration ends where the cost changes by less than this share of the first cost; greater than 0.
    max_num_iter : int, default=200
        Number of iterations at most, at least 1.
    image_shape : tuple of int or None, default=None
        Shape ``(height, width)`` or ``(height, width, channels)`` of images in flat rows.

    Attributes
    ----------
    target_source_ : {"X_clean", "y", "noiser", "X"}
        Where the clean side came from.
    data_range_ : float
        The range of clean samples that ``score`` refers to.
    image_shape_ : tuple of int or None
        Shape of one image, None for signals.
    n_features_in_ : int
        Number of entries of one sample.
    feature_names_in_ : ndarray of str
        Names of the features, where X has names.

    See Also
    --------
    NonLocalMeansDenoiser : Keeps texture.

    Notes
    -----
    Where "auto" finds no noise, the image comes back as it is.

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
    ) -> None:
        self.sigma = sigma
        self.strength = strength
        self.tol = tol
        self.max_num_iter = max_num_iter
        self.image_shape = image_shape

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

    The fastest of these methods. It needs PyWavelets, which the extra ``wavelets`` brings. Each channel is
    denoised by itself. Rows that no ``image_shape`` calls images are read as signals.

    Parameters
    ----------
    sigma : "auto" or float, default="auto"
        Standard deviation of the noise, greater than 0, in the unit of the data. "auto" estimates it for
        each image from itself (:func:`~sk_denoise.restoration.estimate_sigma`).
    strength : float, default=1.0
        The noise that is removed, in ``sigma``, greater than 0. Greater is smoother.
    wavelet : str, default="db2"
        Name of a wavelet in ``pywt.wavelist(kind="discrete")``; an orthogonal one, such as "db2" or "sym4".
    image_shape : tuple of int or None, default=None
        Shape ``(height, width)`` or ``(height, width, channels)`` of images in flat rows.

    Attributes
    ----------
    target_source_ : {"X_clean", "y", "noiser", "X"}
        Where the clean side came from.
    data_range_ : float
        The range of clean samples that ``score`` refers to.
    image_shape_ : tuple of int or None
        Shape of one image, None for signals.
    n_features_in_ : int
        Number of entries of one sample.
    feature_names_in_ : ndarray of str
        Names of the features, where X has names.

    Raises
    ------
    MissingExtraError
        By ``fit`` and ``predict``, where PyWavelets is not installed.

    See Also
    --------
    NonLocalMeansDenoiser : Better on photographs, and slower.

    Notes
    -----
    Images that are too small for a single scale of the wavelet (sides below 6 pixels with "db2") come
    back as they are, and so do those in which "auto" finds no noise.

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
    ) -> None:
        self.sigma = sigma
        self.strength = strength
        self.wavelet = wavelet
        self.image_shape = image_shape

    def _check_parameters(self) -> None:
        super()._check_parameters()
        known = _pywavelets().wavelist(kind="discrete")
        check_one_of(self.wavelet, dict.fromkeys(known), "wavelet")

    def _filter(self, image: Image, sigma: float) -> Image:
        from skimage.restoration import denoise_wavelet

        sides = [side for side in image.shape[:2] if side > 1]
        if not _pywavelets().dwtn_max_level(sides, self.wavelet):
            return image
        denoised: Image = denoise_wavelet(
            image.reshape(*sides, -1),
            sigma=self.strength * sigma,
            wavelet=self.wavelet,
            rescale_sigma=False,
            channel_axis=-1,
        )
        return denoised


def _pywavelets() -> Any:
    require_extra("WaveletDenoiser", "wavelets")
    return importlib.import_module("pywt")
