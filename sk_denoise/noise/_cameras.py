"""Noise of cameras and of the files that they write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray

from sk_denoise._intensity import IntensityRange
from sk_denoise._package import require_extra
from sk_denoise._schema import Rule, is_numeric_array
from sk_denoise._validation import StrOptions, check_parameters
from sk_denoise.noise._base import (
    STRENGTH,
    ImageNoiser,
    as_strength,
    check_bounds,
    check_strength,
    warn_of_other_limits,
)
from sk_denoise.noise._device_corruptions import compress_images, simulate_camera

__all__ = ["CameraNoiser", "JPEGNoiser"]

MAX_QUALITY = 100
CHROMA = StrOptions({"4:2:0", "4:4:4", "random"})
BLACK_AND_WHITE = Rule(
    lambda v, _: is_numeric_array(v, (2,)) and bool(v[0] < v[1]), "two numbers, black below white"
)


class LimitedNoiser(ImageNoiser):
    """Base of noisers that depend on black and white.

    A subclass has the parameter ``limits``.
    """

    _fitted_schema: ClassVar[dict[str, Rule]] = {"limits_": BLACK_AND_WHITE}
    limits: tuple[float, float] | Literal["auto"]
    limits_: NDArray[Any]
    _takes_rows: ClassVar[bool] = False

    def _check_parameters(self) -> None:
        check_parameters(self, {"limits": [tuple, list, StrOptions({"auto"})]})
        super()._check_parameters()
        check_bounds(self, "limits", finite=True)

    def _fit(self, X: ArrayLike, y: Any) -> NDArray[Any]:
        clean = super()._fit(X, y)
        if isinstance(self.limits, str):
            # From the array, because the range depends on the type of integers.
            intensity = IntensityRange.of(clean)
            self.limits_ = np.array([intensity.black, intensity.white])
        else:
            self.limits_ = np.array(self.limits, dtype=np.float64)
        return clean

    def _learn(self, clean: torch.Tensor) -> None:
        # The layout first, because the limits of a table are those of its columns.
        self._check_layout(clean)
        warn_of_other_limits(self, "limits", clean)


class JPEGNoiser(LimitedNoiser):
    """Compress images as JPEG files, in training only.

    The errors of compression are rings beside edges, steps at the borders of blocks of 8 x 8 pixels, and
    colours that spread. Put it last in a :class:`~sk_denoise.NoiserChain` for noisy images that were saved
    as JPEG.

    Parameters
    ----------
    quality : float or pair of float, default=(10, 90)
        Quality of the file, above 0 and at most 100, rounded to a whole number; lower is worse. A pair
        ``(low, high)`` draws one uniformly for each image.
    chroma : {"4:2:0", "4:4:4", "random"}, default="4:2:0"
        Resolution of the chroma: half, as in most files; full; or one of the two for each image. Gray images
        have no chroma. Images of other than three channels are compressed channel by channel.
    grid : {"aligned", "random"}, default="aligned"
        Place of the blocks: from the first pixel on, as in a file; or anywhere, as in a part of a file.
    limits : pair of float or "auto", default="auto"
        Black and white ``(low, high)``, in the unit of the data. Values are clipped to them, and rounded to
        256 levels. "auto" takes them from the training data: 0 to 1 for floats around it, the limits of
        8-bit integers, and the smallest of 8, 10, 12, 14 and 16 bits that holds other images.
    image_shape : tuple of int or None, default=None
        Shape ``(height, width)`` or ``(height, width, channels)`` of images in flat rows. An estimator with
        an ``image_shape`` passes it to its ``noise``.
    apply : {"fit", "always"}, default="fit"
        Calls that corrupt: ``fit_transform`` only, or ``transform`` too.
    random_state : int, RandomState instance or None, default=None
        Seed of the noise. An integer gives equal data equal noise at every call.

    Attributes
    ----------
    limits_ : ndarray of shape (2,)
        Black and white.
    n_features_in_ : int
        Number of entries of one sample.
    feature_names_in_ : ndarray of str
        Names of the features, if X has names.

    Raises
    ------
    ValueError
        For rows without ``image_shape``.
    MissingExtraError
        If Pillow is not installed.

    See Also
    --------
    CameraNoiser : Noise of a camera and its JPEG file.
    sk_denoise.noise.compress_images : The noise as a function on tensors.

    References
    ----------
    ISO/IEC 10918-1, "Digital compression and coding of continuous-tone still images" (1994).

    Examples
    --------
    >>> import numpy as np
    >>> from sk_denoise import JPEGNoiser
    >>> ramp = np.linspace(0, 1, 64 * 64).reshape(1, 64, 64)
    >>> low, high = (JPEGNoiser(q, random_state=0).fit_transform(ramp) for q in (5, 95))
    >>> bool(abs(low - ramp).mean() > 3 * abs(high - ramp).mean())
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "quality": STRENGTH,
        "chroma": [CHROMA],
        "grid": [StrOptions({"aligned", "random"})],
    }

    def __init__(
        self,
        quality: float | tuple[float, float] = (10, 90),
        *,
        chroma: Literal["4:2:0", "4:4:4", "random"] = "4:2:0",
        grid: Literal["aligned", "random"] = "aligned",
        limits: tuple[float, float] | Literal["auto"] = "auto",
        image_shape: Sequence[int] | None = None,
        apply: Literal["fit", "always"] = "fit",
        random_state: int | RandomState | None = None,
    ) -> None:
        self.quality = quality
        self.chroma = chroma
        self.grid = grid
        self.limits = limits
        self.image_shape = image_shape
        self.apply = apply
        self.random_state = random_state

    def corrupt(self, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        self._check_fitted()
        # Flat rows become images, because a file has blocks of pixels.
        noisy = compress_images(
            self._as_images(x),
            generator,
            quality=as_strength(self.quality),
            chroma=self.chroma,
            grid=self.grid,
            limits=self.limits_.tolist(),
        )
        return noisy.reshape(x.shape)

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_strength(self, "quality", max_value=MAX_QUALITY, above_zero=True)

    def _learn(self, clean: torch.Tensor) -> None:
        # In fit, before any work of a training.
        _require_pillow(self)
        super()._learn(clean)


class CameraNoiser(LimitedNoiser):
    """Add the noise of cameras, in training only.

    A camera interpolates a mosaic of colours, converts colours, applies a tone curve, smooths, and writes a
    JPEG file. So its noise is correlated between neighbours and between colours, and depends on the
    brightness. For each image a camera is drawn; the image is led back to its sensor, and developed again
    with noise.

    Parameters
    ----------
    shot : float or pair of float, default=(0.0001, 0.012)
        Variance of the noise of light at white, for white at 1, above 0 and at most 1. A pair
        ``(low, high)`` draws one for each image, uniformly by its logarithm. The noise of the electronics
        follows it, as in cameras of all sensitivities.
    smoothing : float or pair of float, default=(0.0, 1.1)
        Standard deviation in pixels of the camera's smoothing of brightness, at most 10; a pair draws one
        for each image. One in five cameras does not smooth brightness, and most smooth colours more.
    jpeg : float, pair of float or None, default=(75, 99)
        Quality of the JPEG file, as in :class:`~sk_denoise.JPEGNoiser`; None writes none.
    chroma : {"4:2:0", "4:4:4", "random"}, default="random"
        Resolution of the chroma in the file: half, full, or one of the two for each image.
    limits : pair of float or "auto", default="auto"
        Black and white, as in :class:`~sk_denoise.JPEGNoiser`.
    image_shape : tuple of int or None, default=None
        Shape ``(height, width)`` or ``(height, width, channels)`` of images in flat rows. An estimator with
        an ``image_shape`` passes it to its ``noise``.
    apply : {"fit", "always"}, default="fit"
        Calls that corrupt: ``fit_transform`` only, or ``transform`` too.
    random_state : int, RandomState instance or None, default=None
        Seed of the noise. An integer gives equal data equal noise at every call.

    Attributes
    ----------
    limits_ : ndarray of shape (2,)
        Black and white.
    n_features_in_ : int
        Number of entries of one sample.
    feature_names_in_ : ndarray of str
        Names of the features, if X has names.

    Raises
    ------
    ValueError
        For rows without ``image_shape``, and for images with other than one or three channels.
    MissingExtraError
        If Pillow is not installed, except with ``jpeg=None``.

    See Also
    --------
    JPEGNoiser : Errors of JPEG compression alone.
    sk_denoise.noise.simulate_camera : The noise as a function on tensors.

    Notes
    -----
    Gray images become gray colours, and the noise of their brightness is added. Photos of cameras have
    some noise themselves; reduce them to half their sides for training.

    References
    ----------
    T. Brooks et al., "Unprocessing images for learned raw denoising", CVPR 2019. S. Guo et al., "Toward
    convolutional blind denoising of real photographs", CVPR 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_denoise import CameraNoiser
    >>> images = np.full((8, 64, 64, 3), 0.5)
    >>> noise = CameraNoiser(0.01, smoothing=1.0, random_state=0).fit_transform(images) - images
    >>> bool(np.corrcoef(noise[:, :, 1:].ravel(), noise[:, :, :-1].ravel())[0, 1] > 0.4)
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "shot": STRENGTH,
        "smoothing": STRENGTH,
        "jpeg": [*STRENGTH, None],
        "chroma": [CHROMA],
    }

    def __init__(
        self,
        shot: float | tuple[float, float] = (1e-4, 1.2e-2),
        *,
        smoothing: float | tuple[float, float] = (0.0, 1.1),
        jpeg: float | tuple[float, float] | None = (75, 99),
        chroma: Literal["4:2:0", "4:4:4", "random"] = "random",
        limits: tuple[float, float] | Literal["auto"] = "auto",
        image_shape: Sequence[int] | None = None,
        apply: Literal["fit", "always"] = "fit",
        random_state: int | RandomState | None = None,
    ) -> None:
        self.shot = shot
        self.smoothing = smoothing
        self.jpeg = jpeg
        self.chroma = chroma
        self.limits = limits
        self.image_shape = image_shape
        self.apply = apply
        self.random_state = random_state

    def corrupt(self, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        self._check_fitted()
        images = self._as_images(x)
        # A changed file may have another number.
        self._check_channels(images)
        noisy = simulate_camera(
            images,
            generator,
            shot=as_strength(self.shot),
            smoothing=as_strength(self.smoothing),
            jpeg=None if self.jpeg is None else as_strength(self.jpeg),
            chroma=self.chroma,
            limits=self.limits_.tolist(),
        )
        return noisy.reshape(x.shape)

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_strength(self, "shot", max_value=1, above_zero=True)
        check_strength(self, "smoothing", max_value=10)
        if self.jpeg is not None:
            check_strength(self, "jpeg", max_value=MAX_QUALITY, above_zero=True)

    def _learn(self, clean: torch.Tensor) -> None:
        if self.jpeg is not None:
            _require_pillow(self)
        super()._learn(clean)
        # A camera has three kinds of pixels, so that other channels have no place on its sensor.
        self._check_channels(self._as_images(clean))

    def _check_channels(self, images: torch.Tensor) -> None:
        if images.ndim == 4 and images.shape[3] not in (1, 3):
            raise ValueError(
                f"{type(self).__name__} is for images of one or three channels, got {images.shape[3]}. Leave "
                "other channels out, as in X[..., :3] for colours with alpha."
            )


def _require_pillow(noiser: ImageNoiser) -> None:
    # The extra has further packages, which these noisers can do without.
    try:
        import PIL  # noqa: F401
    except ImportError:
        require_extra(type(noiser).__name__, "images")
        raise
