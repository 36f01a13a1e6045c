"""BM3D, block matching and 3-D filtering, the best filter without learning."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sk_denoise._extras import require_extra
from sk_denoise.estimators._filter_base import ClassicalDenoiser

__all__ = ["BM3DDenoiser"]

Image = NDArray[np.float64]  # (height, width, channels)

LEAST = 9  # pixels of a side; at 8 x 8, a single block, bm3d 4.0 ends the process
DOMAIN = 32  # pixels of a side, in which bm3d computes exact variances
FINEST = 1e7  # how many times the noise values may span in single precision
# colours to their mean and two differences, orthonormal
OPPONENT = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3], [2], [6]])


class BM3DDenoiser(ClassicalDenoiser):
    """Filter stacks of similar blocks together, by BM3D.

    It needs the package ``bm3d``, which the extra ``bm3d`` brings. **Its licence allows non-commercial use
    only**, and asks that published results name its authors (below). Rows that no ``image_shape`` calls
    images are read as signals.

    Parameters
    ----------
    sigma : "auto" or float, default="auto"
        Standard deviation of the noise, greater than 0, in the unit of the data. "auto" estimates it for
        each image from itself (:func:`~sk_denoise.restoration.estimate_sigma`).
    strength : float, default=1.0
        The noise that is removed, in ``sigma``, greater than 0. Greater is smoother.
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
        By ``fit`` and ``predict``, where ``bm3d`` is not installed.

    See Also
    --------
    NonLocalMeansDenoiser : Twenty times as fast and more, 1 to 2 dB behind on photographs.
    sk_denoise.restoration.denoise_image : A network that was trained on photographs.

    Notes
    -----
    Three channels are red, green and blue, each with noise of its own: blocks are matched by the mean of the
    three (CBM3D). Other channels are denoised each by itself.

    ``bm3d`` is called with its own settings on one thread, so that results are the same everywhere. It
    computes in single precision: where the values of an image span more than ten million ``sigma``, and
    where "auto" finds no noise, the image comes back as it is. With sides below 32 pixels, variances are
    those of 2007, which take a hundredth of the time there. Sides below 9 pixels are mirrored to 9, and the
    level is raised to what the repetition makes of the noise.

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
    ) -> None:
        self.sigma = sigma
        self.strength = strength
        self.image_shape = image_shape

    def _check_parameters(self) -> None:
        super()._check_parameters()
        _bm3d()

    def _filter(self, image: Image, sigma: float) -> Image:
        unit, mean = self.strength * sigma, image.mean(axis=(0, 1))
        if np.ptp(image) > FINEST * unit:
            return image
        denoised: Image = _denoised((image - mean) / unit) * unit + mean
        return denoised


def _denoised(image: Image) -> Image:
    """Return an image without its noise of level 1."""
    if image.shape[2] == 3:
        try:  # not by bm3d_rgb, which divides by zero where three equal channels are gray
            return _collaborate(image @ OPPONENT.T) @ OPPONENT
        except ValueError:  # bm3d 4.0 trips over a mean of the three that it finds flat
            pass
    return np.dstack([_collaborate(channel) for channel in np.split(image, image.shape[2], axis=2)])


def _collaborate(image: Image) -> Image:
    """Denoise channels of noise level 1; the first channel matches the blocks."""
    height, width, _ = image.shape
    mirrored = ((0, max(0, LEAST - height)), (0, max(0, LEAST - width)), (0, 0))
    padded = np.pad(image, mirrored, mode="symmetric")
    bm3d = _bm3d()
    profile = bm3d.BM3DProfile()
    profile.num_threads = 1  # with more, the last digits vary from call to call
    if min(padded.shape[:2]) < DOMAIN:
        profile.nf = 0
    level = np.sqrt(padded.size / image.size)  # white noise, repeated, gathers in fewer coefficients
    denoised: Image = bm3d.bm3d(padded, level, profile).reshape(padded.shape)
    return denoised[:height, :width]


def _bm3d() -> Any:
    require_extra("BM3DDenoiser", "bm3d")
    return importlib.import_module("bm3d")
