"""Classical filters of images, and of signals as images of height 1."""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from sk_denoise._package import require_extra
from sk_denoise._validation import Interval, StrOptions, check_one_of
from sk_denoise.estimators._base import (
    KIND_CONSTRAINT,
    LEVEL_CONSTRAINTS,
    SHAPE_CONSTRAINT,
    ClassicalDenoiser,
    Images,
    check_odd,
)
from sk_denoise.estimators._signal_filters import (
    average_similar_entries,
    minimize_total_variation,
    shrink_wavelets,
)

__all__ = [
    "BM3DDenoiser",
    "BilateralDenoiser",
    "MedianDenoiser",
    "NonLocalMeansDenoiser",
    "TotalVariationDenoiser",
    "WaveletDenoiser",
]

# Floats of shape (height, width, channels).
Image = NDArray[np.float64]

# Signals of shape (n, length), and their noise levels (n,).
Signals = NDArray[np.float64]

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
    patch_size : "auto" or int, default="auto"
        Side of the compared surroundings, in pixels; odd, at least 3. "auto" takes 5 for images and 21 for
        signals, which have a single row of them.
    patch_distance : "auto" or int, default="auto"
        Largest distance of the pixels to average, in pixels, at least 1. "auto" takes 6 for images and 200
        for signals.
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
        **LEVEL_CONSTRAINTS,
        "patch_size": [StrOptions({"auto"}), Interval(Integral, 3, None, closed="left")],
        "patch_distance": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        sigma: Literal["auto"] | float = "auto",
        *,
        strength: float = 0.7,
        patch_size: Literal["auto"] | int = "auto",
        patch_distance: Literal["auto"] | int = "auto",
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
        if self.patch_size != "auto":
            check_odd(self, "patch_size")

    def _filter_signals(self, signals: Signals, sigmas: Signals) -> Signals:
        size, distance = _resolve(self.patch_size, 21), _resolve(self.patch_distance, 200)
        return average_similar_entries(signals, sigmas, self.strength, int(size), int(distance))

    def _filter(self, image: Image, sigma: float) -> Image:
        from skimage.restoration import denoise_nl_means

        denoised: Image = denoise_nl_means(
            image,
            patch_size=_resolve(self.patch_size, 5),
            patch_distance=_resolve(self.patch_distance, 6),
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
    sigma_spatial : "auto" or float, default="auto"
        Standard deviation of the Gaussian of distances, in pixels, greater than 0. The window ends at 2.5
        times that distance. "auto" takes 1.5 for images and 4 for signals, which have a single row of pixels.
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
        **LEVEL_CONSTRAINTS,
        "sigma_spatial": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        sigma: Literal["auto"] | float = "auto",
        *,
        strength: float = 2.5,
        sigma_spatial: Literal["auto"] | float = "auto",
        image_shape: Sequence[int] | None = None,
        kind: Literal["auto", "images", "signals"] = "auto",
    ) -> None:
        self.sigma = sigma
        self.strength = strength
        self.sigma_spatial = sigma_spatial
        self.image_shape = image_shape
        self.kind = kind

    def _filter(self, image: Image, sigma: float) -> Image:
        height, width, _ = image.shape
        sigma_spatial = float(_resolve(self.sigma_spatial, 4.0 if height == 1 else 1.5))
        radius = math.ceil(BILATERAL_CUTOFF * sigma_spatial)
        # In a single row, the rows of the window would repeat it.
        rows = 0 if height == 1 else radius
        padded = np.pad(image, ((rows, rows), (radius, radius), (0, 0)), mode="edge")
        total, weights = np.zeros_like(image), np.zeros((height, width, 1))
        # One shift of the whole image at a time keeps memory at a few copies, for any window.
        for row in range(2 * rows + 1):
            for column in range(2 * radius + 1):
                shifted = padded[row : row + height, column : column + width]
                # The square of a tiny deviation would be zero.
                spread = max(sigma_spatial, MIN_SPATIAL)
                distance = ((row - rows) ** 2 + (column - radius) ** 2) / spread**2
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
        **SHAPE_CONSTRAINT,
        **KIND_CONSTRAINT,
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
    strength : "auto" or float, default="auto"
        Weight of the total variation beside the squared distance, in ``sigma``, greater than 0:
        ``weight = strength * sigma``. Greater values flatten more. "auto" takes .8 for images and 2.5 for
        signals; 4 is good for signals of steps alone.
    tol : float, default=1e-4
        Change of the cost, as a share of the first cost, that ends the iteration; greater than 0. For
        signals, the largest distance to the minimum, in proportion to the root of twice the first cost.
    max_num_iter : int, default=200
        Largest number of iterations, at least 1. Signals take about 15.
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
    applications", Journal of Mathematical Imaging and Vision 20 (2004), 89-97. The method for images is
    ``skimage.restoration.denoise_tv_chambolle``. Signals get the exact minimum, by an interior point method.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_denoise import TotalVariationDenoiser
    >>> steps = np.repeat([[0.0, 1.0, 0.5]], 40, axis=1)  # one signal
    >>> noisy = steps + np.random.default_rng(0).normal(0, 0.1, steps.shape)
    >>> denoised = TotalVariationDenoiser(strength=4).fit(steps).predict(noisy)
    >>> bool(np.abs(denoised - steps).mean() < np.abs(noisy - steps).mean() / 2)
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **LEVEL_CONSTRAINTS,
        "strength": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "max_num_iter": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        sigma: Literal["auto"] | float = "auto",
        *,
        strength: Literal["auto"] | float = "auto",
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

    def _filter_signals(self, signals: Signals, sigmas: Signals) -> Signals:
        weights = float(_resolve(self.strength, 2.5)) * sigmas
        return minimize_total_variation(signals, weights, self.tol, self.max_num_iter)

    def _filter(self, image: Image, sigma: float) -> Image:
        from skimage.restoration import denoise_tv_chambolle

        denoised: Image = denoise_tv_chambolle(
            image,
            weight=float(_resolve(self.strength, 0.8)) * sigma,
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
    wavelet : str, default="auto"
        Name of an orthogonal wavelet in ``pywt.wavelist(kind="discrete")``, such as "db2" or "sym8". "auto"
        takes "db2" for images and "sym4" for signals.
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
    6 pixels with "db2", signals below 8 entries), and those without noise, by the estimate of "auto".

    Signals are transformed at all scales, on 16 shifts of the grid, and the mean over these is returned
    (cycle spinning): there are fewer artefacts beside steps and peaks.

    References
    ----------
    S. G. Chang, B. Yu and M. Vetterli, "Adaptive wavelet thresholding for image denoising and compression",
    IEEE Transactions on Image Processing 9(9) (2000), 1532-1546; R. R. Coifman and D. L. Donoho,
    "Translation-invariant de-noising", Wavelets and Statistics (1995). The method for images is
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
        **LEVEL_CONSTRAINTS,
        "wavelet": [str],
    }

    def __init__(
        self,
        sigma: Literal["auto"] | float = "auto",
        *,
        strength: float = 1.0,
        wavelet: str = "auto",
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
        check_one_of(self.wavelet, dict.fromkeys(["auto", *known]), "wavelet")

    def _filter_signals(self, signals: Signals, sigmas: Signals) -> Signals:
        wavelet = _resolve(self.wavelet, "sym4")
        return shrink_wavelets(signals, self.strength * sigmas, wavelet, _pywavelets())

    def _filter(self, image: Image, sigma: float) -> Image:
        from skimage.restoration import denoise_wavelet

        # Images of width 1 have one axis to transform.
        sides = [side for side in image.shape[:2] if side > 1]
        wavelet = _resolve(self.wavelet, "db2")
        if not _pywavelets().dwtn_max_level(sides, wavelet):
            return image
        denoised: Image = denoise_wavelet(
            image.reshape(*sides, -1),
            sigma=self.strength * sigma,
            wavelet=wavelet,
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


def _resolve(value: Any, automatic: Any) -> Any:
    """Return a parameter, or its automatic value for "auto"."""
    return automatic if isinstance(value, str) and value == "auto" else value


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
