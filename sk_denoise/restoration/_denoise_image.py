"""Denoising of images of any size and type by pretrained networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from numbers import Real
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from sk_denoise._intensity import IntensityRange, has_alpha, without_alpha
from sk_denoise._noise_level import estimate_noise_level
from sk_denoise._noise_model import NoiseModel
from sk_denoise._validation import Noiser, check_one_of, refuse_masked, warn_user
from sk_denoise.estimators import ImageDenoiser
from sk_denoise.exceptions import NoiseMismatchWarning
from sk_denoise.metrics import QualityEstimate
from sk_denoise.metrics._quality import KnownNoise, NoisyData, check_known_noise, estimate_risk, level_error
from sk_denoise.restoration._image_repair import (
    check_image,
    check_mask,
    color_planes,
    fill_hidden,
    has_equal_channels,
    replace_outliers,
    subtract_stripes,
    visible_pixels,
)
from sk_denoise.restoration._network_pass import PassOptions, run_network
from sk_denoise.restoration._pretrained import MODELS, select_network
from sk_denoise.restoration._removal import blend, remove_noise, resolve_image_noise
from sk_denoise.restoration._shared_statistics import SharedStatistics
from sk_denoise.restoration._stacks import denoise_array
from sk_denoise.training import PRECISIONS

__all__ = ["denoise_image", "estimate_image_quality", "estimate_sigma", "find_known_noise"]


def denoise_image(
    image: ArrayLike,
    *,
    sigma: ArrayLike | None = None,
    axes: str | None = None,
    noise: str | NoiseModel | Noiser = "auto",
    strength: float = 1.0,
    mask: ArrayLike | None = None,
    outliers: Literal["keep", "replace"] = "keep",
    model: str | ImageDenoiser = "auto",
    tile_size: int | Literal["auto"] | None = "auto",
    ensemble: bool = False,
    precision: Literal["auto", "float32", "bfloat16"] = "auto",
    device: str | torch.device = "auto",
    verbose: bool = False,
    callback: Callable[[int, int], object] | None = None,
    return_quality: bool = False,
) -> Any:
    """Denoise an image by a network, pretrained on photos, without any training.

    The kind and the level of the noise are estimated from the image, see :func:`estimate_noise`: white noise,
    noise of photon counts, or the correlated noise of cameras and of JPEG. A network of your own removes the
    noise of its training. Large images are processed tile by tile; each tile has a halo, so that the result
    is the same as for the whole image.

    Parameters
    ----------
    image : array-like of shape (height, width) or (height, width, channels), or a stack
        Gray, gray with alpha (2 channels), colour (3) or colour with alpha (4); for other arrays see
        ``axes``. Integers, where those of 16 bits may hold 10, 12 or 14 bits, or floats, with black at 0 and
        white at 1 or in any other range. NaN stays NaN and has no effect on other pixels; so do colours below
        full transparency.
    sigma : float, array-like of shape (channels,) or (height, width), or None, default=None
        Standard deviation of white noise in the unit of the image: for floats in [0, 1] a share of this
        range, for integers grey levels. Pass a map if it varies over the image, or one number for each
        channel. None estimates the noise. A network trained with ``sigma="blind"`` takes no level.
    axes : str, optional
        A letter for each axis of a stack, such as "ZYX", "TCYX" or "YXC": Y and X are the rows and columns of
        the planes, S the samples of a colour (RGB, or with alpha), C independent channels of data. All other
        letters count planes. The planes are denoised one after the other with one noise model, or one for
        each channel C, estimated from some of them. ``sigma`` may be one number for each channel, and
        ``verbose`` and ``callback`` count planes. None takes an image.
    noise : {"auto", "white", "counts", "camera"}, NoiseModel or noiser, default="auto"
        Kind of the noise. "auto" estimates it. "white" has one level; "counts" grows with the brightness, as
        the noise of photons; "camera" is correlated between neighbours, as that of developed photos and of
        JPEG. Pass the :class:`NoiseModel` of one image for others of the same source. A noiser, such as
        ``PoissonNoiser(30)``, describes noise that you know.
    strength : float, default=1.0
        Share of the noise to subtract, from 0 to 1: below 1 the result is a blend with the image.
    mask : array-like of bool of shape (height, width), optional
        True for pixels with a value. Others stay as they are and have no effect.
    outliers : {"keep", "replace"}, default="keep"
        Whether to replace hot and dead pixels by the median of their neighbours first.
    model : {"auto", "gray", "rgb", "camera"} or ImageDenoiser, default="auto"
        Network. "rgb" takes three colours, or a gray image as three equal channels; "gray" denoises each
        channel separately; "camera" takes no level; "auto" selects one of them by the noise and by the number
        of channels. A fitted
        :class:`~sk_denoise.ImageDenoiser` for gray images denoises each channel separately, one for three
        colours takes gray images too. If it was trained on floats beyond [0, 1], images are not scaled.
    tile_size : int, "auto" or None, default="auto"
        Side of the tiles in pixels, a multiple of the network's stride: 4 for "gray" and 8 for "rgb". "auto"
        makes tiles as large as 256 MB allow (1 GB for a network with an unlimited receptive field). None
        processes the whole image at once.
    ensemble : bool, default=False
        Whether to use a self-ensemble, the mean prediction for the image rotated and mirrored in eight ways.
        It is a little better, and takes eight times as long.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Precision of the layers. "auto" selects bfloat16 on processors with units for it. This is faster, and
        changes the result by a small part of a grey level.
    device : str or torch.device, default="auto"
        Device of the computation: "auto" is a CUDA GPU if there is one, else the CPU.
    verbose : bool, default=False
        Whether to show a progress bar of the tiles.
    callback : callable, optional
        Function that is called as ``callback(done, total)`` with the number of tiles, before the first one
        and after each. An exception from it ends the computation and is passed on.

    return_quality : bool, default=False
        Whether to estimate the PSNR of the result, without the truth, by
        :func:`~sk_denoise.estimate_quality`. It takes three to nine times as long.
        The interval holds the error of an estimated noise level, which is large: pass ``sigma`` or ``noise``
        if you know them. Not for stacks.

    Returns
    -------
    ndarray of the shape and type of image
        Denoised image. Integers are rounded and clipped to the range of their type; alpha is unchanged.
        With ``return_quality``, a pair of it and a :class:`~sk_denoise.metrics.QualityEstimate`, or None with
        a warning if the noise is correlated, clipped or not visible.

    Raises
    ------
    ValueError
        If the image or an option is invalid.

    Warns
    -----
    NoiseMismatchWarning
        If ``noise="white"`` and the noise is correlated, or if next to nothing is removed although flat parts
        of the image vary.
    UserWarning
        If the estimated noise exceeds that of the training of your network, if sigma is below one grey level
        and the noise is not, or if tiles change the result because the receptive field is unlimited.

    See Also
    --------
    denoise_file : Denoise a file, also a stack larger than memory.
    estimate_noise : Estimate the kind and the level of the noise.
    load_pretrained : The pretrained networks as estimators.

    Notes
    -----
    Striped rows or columns, as of some detectors, are removed first where they are found.

    The intensity range, black and white of an image, follows one rule here, on the command line and in the
    app. Integers of 8 bits have the range of their type. Floats in [0, 1], with noise around it, have this
    range. Other numbers from 0 up have the smallest depth of 8, 10, 12, 14 or 16 bits that holds them. The
    range of low counts and of other units is measured. A thousandth of the numbers at either end is ignored,
    so that a hot pixel does not change the range.

    The pretrained networks were trained on photos in [0, 1] with noise of up to 55 grey levels of 255. If
    image and noise are scaled together, their prediction scales almost exactly with them. Hence other images
    are scaled to the range of the training. Images beyond their range, and dark images of more than 8 bits
    that use less than a quarter of it, are scaled from the smallest to the largest number, apart from a
    thousandth at either end. Images with stronger noise are darkened. For a map of both weak and strong
    noise, the image is processed twice. Placeholders such as -9999 for missing values count as dark: fill
    these pixels first. Images in another unit than that of the fit of your model are scaled in the same way,
    if their noise does not exceed that of the fit.

    The residual of the pretrained networks is clipped to five noise standard deviations. The clean image
    lies within them, so clipping only moves the result towards it. Hence details that stand out from the
    noise stay: stars in a dark sky, but also hot pixels of a camera, unless ``outliers="replace"``. Pixels
    beyond black or white by more than five deviations stay unchanged. If the noise is weaker than the error
    of the networks, half to one grey level of 255, only a part of the residual is subtracted.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_denoise.datasets import load_images
    >>> from sk_denoise.restoration import denoise_image
    >>> clean = load_images("gray").test[0][:128, :128]
    >>> noisy = clean + np.random.default_rng(0).normal(0, 0.1, clean.shape).astype("float32")
    >>> denoised = denoise_image(noisy, sigma=0.1)
    >>> bool(np.mean((denoised - clean) ** 2) < 0.2 * np.mean((noisy - clean) ** 2))
    True
    """
    check_one_of(precision, dict.fromkeys(PRECISIONS), "precision")
    check_one_of(outliers, {"keep": None, "replace": None}, "outliers")
    if callback is not None and not callable(callback):
        raise TypeError(f"callback must be a function of two numbers, (done, total), got {callback!r}.")
    share: Any = strength
    if isinstance(share, bool) or not isinstance(share, Real) or not 0 <= float(share) <= 1:
        raise ValueError(
            f"strength is the share of the noise to remove, from 0 to 1, got {strength!r}. To remove more, "
            "pass a larger sigma."
        )
    if axes is not None:
        if return_quality:
            raise ValueError(
                "return_quality is for single images. Denoise the planes one by one with one noise model: "
                "denoise_image(plane, noise=model, return_quality=True)."
            )
        return denoise_array(
            image,
            axes,
            denoise_image,
            sigma=sigma,
            noise=noise,
            strength=strength,
            mask=mask,
            outliers=outliers,
            model=model,
            tile_size=tile_size,
            ensemble=ensemble,
            precision=precision,
            device=device,
            verbose=verbose,
            callback=callback,
        )
    shared = SharedStatistics(noise.shared if isinstance(noise, NoiseModel) else ())
    options = PassOptions(tile_size, ensemble, precision, device, verbose, callback, shared)
    array = check_image(image)
    refuse_masked(sigma, "sigma")
    network = select_network(model, array)
    visible = visible_pixels(array, check_mask(mask, array.shape[:2]), network.n_channels)
    noisy = fill_hidden(array, visible)
    if outliers == "replace":
        noisy, _ = replace_outliers(noisy, network.n_channels, shared)
    if isinstance(model, ImageDenoiser):
        sigma = _level_for_network(model, sigma, noise)
    known = None
    if return_quality:
        if shared.is_replaying:
            raise ValueError(
                "return_quality needs the noise model of a single image, got one that the parts of an image "
                "share. Pass estimate_noise(image)."
            )
        known = find_known_noise(noisy, visible, sigma, noise, model)
        # One estimate of the noise serves the image and its quality.
        if sigma is None and isinstance(model, str) and not (model in MODELS and MODELS[model].is_blind):
            noise = known.model

    def remove(image: NDArray[Any], options: PassOptions) -> NDArray[Any]:
        if isinstance(model, ImageDenoiser):
            return run_network(network, image, sigma, options)
        return remove_noise(image, visible, sigma, noise, model, options)

    denoised = blend(array, noisy, remove(noisy, options), visible, float(strength))
    if known is None:
        return denoised
    # Half precision would round small changes.
    quiet = replace(options, verbose=False, callback=None, precision="float32")

    def denoise(image: NDArray[Any]) -> NDArray[Any]:
        return blend(image, image, remove(image, quiet), None, float(strength))

    return denoised, estimate_image_quality(denoise, noisy, fill_hidden(denoised, visible), visible, known)


def _level_for_network(
    model: ImageDenoiser, sigma: ArrayLike | None, noise: str | NoiseModel | Noiser
) -> ArrayLike | None:
    """Return the noise level for a network of the user, or refuse a kind of noise."""
    # The model of an image in parts holds its level, too.
    if isinstance(noise, NoiseModel) and noise.shared and sigma is None:
        return None if model.noise_levels_ is None else noise.sigma
    if not isinstance(noise, str) or noise not in ("auto", "white"):
        raise ValueError(
            "A network of your own removes the noise of its training. Pass noise only with a pretrained one."
        )
    return sigma


def estimate_sigma(image: ArrayLike) -> float:
    """Estimate the noise standard deviation of an image from the image alone.

    The estimate comes from the flattest blocks of the image, away from black and white, where noise is
    clipped. Noise that is not white, such as that of compressed or resized images, is underestimated.

    Parameters
    ----------
    image : array-like of shape (height, width) or (height, width, channels)
        An image as for :func:`denoise_image`.

    Returns
    -------
    float
        Standard deviation of white noise, in the unit of the image: a share of [0, 1] for floats in this
        range, grey levels for integers.

    References
    ----------
    J. Immerkaer, "Fast noise variance estimation", Computer Vision and Image Understanding 64 (1996).

    Examples
    --------
    >>> import numpy as np
    >>> from sk_denoise.restoration import estimate_sigma
    >>> noise = np.random.default_rng(0).normal(0, 10, (256, 256))
    >>> round(estimate_sigma((128 + noise).astype(np.uint8)))
    10
    """
    array = check_image(image)
    visible = visible_pixels(array)
    return estimate_noise_level(color_planes(fill_hidden(array, visible)), visible)


# Number of entries of an image from which one random direction of the derivative is enough.
LARGE = 2**19
# Probability that the interval holds the PSNR.
CONFIDENCE = 0.9


def find_known_noise(
    image: NDArray[Any],
    visible: NDArray[np.bool_] | None,
    sigma: ArrayLike | None,
    noise: str | NoiseModel | Noiser,
    model: str | ImageDenoiser,
) -> KnownNoise:
    """Return the noise of an image, given or estimated.

    Parameters
    ----------
    image : ndarray of shape (height, width) or (height, width, channels)
        Noisy image without hidden pixels.
    visible : ndarray of bool of shape (height, width), optional
        Pixels with a value of their own.
    sigma, noise, model
        As in :func:`denoise_image`.

    Raises
    ------
    ValueError
        If sigma is a map.
    """
    if sigma is not None:
        levels = np.asarray(sigma, np.float64)
        if levels.ndim > 1:
            raise ValueError("return_quality takes one sigma, or one for each channel, got a map of levels.")
        rms = float(np.sqrt(np.mean(levels**2)))
        return KnownNoise(
            NoiseModel("white", rms, channel_sigmas=tuple(levels.tolist()) if levels.ndim else ())
        )
    if isinstance(model, str) and model in MODELS and MODELS[model].is_blind:
        noise = "camera"
    # The noise of a gray image with three equal channels is that of one.
    gray = np.ascontiguousarray(image[..., 0]) if has_equal_channels(image) else image
    found = resolve_image_noise(noise, subtract_stripes(gray), visible)
    return KnownNoise(found, 0.0 if not isinstance(noise, str) else level_error(found))


def estimate_image_quality(
    denoise: Callable[[NDArray[Any]], NDArray[Any]],
    noisy: NDArray[Any],
    denoised: NDArray[Any],
    visible: NDArray[np.bool_] | None,
    known: KnownNoise,
) -> QualityEstimate | None:
    """Return the expected PSNR of a denoised image, or warn and return None.

    Parameters
    ----------
    denoise : callable
        Function from a noisy image to the denoised one.
    noisy, denoised : ndarray of shape (height, width) or (height, width, channels)
        Image before and after.
    visible : ndarray of bool of shape (height, width), optional
        Pixels that count.
    known : KnownNoise
        Noise of the image.
    """
    mask = np.ones(noisy.shape, bool)
    if visible is not None:
        mask &= visible if noisy.ndim == 2 else visible[..., None]
    if has_alpha(noisy):
        mask[..., -1] = False
    function = denoise
    if has_equal_channels(noisy):
        # Independent changes of the channels would make colours, which the noise does not.
        template, n_colors = noisy.astype(np.float64), 3
        noisy, denoised, mask = noisy[..., 0], denoised[..., 0], mask[..., 0]

        def function(gray: NDArray[Any]) -> NDArray[Any]:
            colors = template.copy()
            colors[..., :n_colors] = gray[..., None]
            return denoise(colors)[..., 0]

    data = NoisyData.of(np.where(mask, noisy, 0) if noisy.dtype.kind == "f" else noisy)
    try:
        check_known_noise(known.model, NoisyData.of(noisy[mask]))
        risk = estimate_risk(
            function,
            data,
            [denoised.astype(np.float64)],
            known,
            n_probes=1 if noisy.size > LARGE else 2,
            rng=np.random.default_rng(0),
            check_steps=False,
            valid=[mask],
        )
        return risk.describe(IntensityRange.of(without_alpha(noisy), known.model.sigma).span, CONFIDENCE)
    except ValueError as error:
        warn_user(f"The quality cannot be estimated. {error}", NoiseMismatchWarning)
        return None
