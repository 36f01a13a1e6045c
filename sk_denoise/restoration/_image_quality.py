"""Quality of a denoised image, with the noise that its denoising took."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sk_denoise._intensity import IntensityRange, has_alpha, without_alpha
from sk_denoise._noise_model import NoiseModel
from sk_denoise._validation import Noiser, warn_user
from sk_denoise.estimators import ImageDenoiser
from sk_denoise.exceptions import NoiseMismatchWarning
from sk_denoise.metrics import QualityEstimate
from sk_denoise.metrics._quality import KnownNoise, NoisyData, check_known_noise, estimate_risk, level_error
from sk_denoise.restoration._image_repair import has_equal_channels, subtract_stripes
from sk_denoise.restoration._pretrained import MODELS
from sk_denoise.restoration._removal import resolve_image_noise

__all__ = ["find_known_noise", "estimate_image_quality"]

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
