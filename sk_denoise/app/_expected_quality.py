"""Quality to expect of a denoised image, for users without the clean one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_denoise._intensity import IntensityRange, without_alpha
from sk_denoise.metrics import QualityEstimate, estimate_quality
from sk_denoise.restoration import NoiseModel, denoise_image

__all__ = ["expect_quality"]

# Side in pixels of the middle part that is measured. The measurement takes five passes of the network.
MAX_SIDE = 256
# Pixels from which one random direction is enough.
LARGE, N_PROBES = 2**15, 4
CORRELATED = (
    "The quality of the result cannot be estimated: the noise is correlated between neighbouring pixels, so "
    "noise that stays looks like the image."
)


def expect_quality(
    image: NDArray[Any],
    noise: Sequence[NoiseModel],
    sigma: float | None,
    *,
    intensity_range: IntensityRange,
    options: dict[str, Any],
) -> QualityEstimate | str:
    """Return the expected PSNR of the result for an image, or a refusal in words.

    Parameters
    ----------
    image : ndarray of shape (height, width[, channels])
        Noisy image.
    noise : sequence of NoiseModel
        Estimated noise; empty if it was not estimated.
    sigma : float or None
        Noise level that the user set, in the unit of the image.
    intensity_range : IntensityRange
        Black and white of the image.
    options : dict
        Arguments of :func:`~sk_denoise.restoration.denoise_image`.

    Returns
    -------
    QualityEstimate or str
        The estimate, or a sentence for the user; empty for an image without visible noise.
    """
    kinds = {model.kind for model in noise}
    if kinds == {"none"}:
        return ""
    if "camera" in kinds:
        return CORRELATED
    height, width = image.shape[:2]
    top, left = max(0, height - MAX_SIDE) // 2, max(0, width - MAX_SIDE) // 2
    # Floats, since a result that is rounded to integers has no derivative.
    part = without_alpha(image)[top : top + MAX_SIDE, left : left + MAX_SIDE].astype(np.float64)
    data_range = intensity_range.span
    if intensity_range.black == 0 and not _keeps_raw_values(options["model"]):
        # Floats in grey levels have a range that is measured, and it jumps with their extrema.
        part, options = part / data_range, _scale_noise(options, 1 / data_range)
        sigma, data_range = None if sigma is None else sigma / data_range, 1.0
    try:
        return estimate_quality(
            # Half precision would round small changes.
            lambda images: [denoise_image(x, **options, precision="float32") for x in images],
            [part],
            # The error of an estimated level is part of the interval.
            noise="auto" if sigma is None else sigma,
            data_range=data_range,
            n_probes=1 if part.size >= LARGE else N_PROBES,
        )
    except ValueError as error:
        if "correlated" in str(error):
            return CORRELATED
        # The sentences after the first one are for programmers.
        reason = str(error).partition(". ")[0].rstrip(".")
        return f"The quality of the result cannot be estimated: {reason[0].lower()}{reason[1:]}."


def _keeps_raw_values(model: Any) -> bool:
    """Return whether a model learned from values without a known black and white."""
    return not isinstance(model, str) and model.intensity_range_ is None


def _scale_noise(options: dict[str, Any], factor: float) -> dict[str, Any]:
    """Return options for an image that is multiplied by a factor."""
    scaled = dict(options)
    if "sigma" in options:
        scaled["sigma"] = factor * options["sigma"]
    if isinstance(options.get("noise"), NoiseModel):
        scaled["noise"] = options["noise"].scaled(factor)
    return scaled
