"""Enlargement of images of any type by a pretrained network."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sk_denoise._enlargement import enlarge_images
from sk_denoise._intensity import UNIT, has_alpha
from sk_denoise.estimators import ImageDenoiser
from sk_denoise.restoration._image_repair import check_image
from sk_denoise.restoration._pretrained import load_pretrained

__all__ = ["enlarge_image"]

FACTORS = (2, 4)


def enlarge_image(image: ArrayLike, factor: int = 2) -> NDArray[Any]:
    """Enlarge an image by a network, pretrained on photos, without any training.

    Edges are sharper than those of cubic interpolation. The network adds what photos usually have, and not
    what this image had: do not measure on the result.

    Parameters
    ----------
    image : array-like of shape (height, width) or (height, width, channels)
        Gray, gray with alpha (2 channels), colour (3) or colour with alpha (4): integers, or floats with
        black at 0 and white at 1 or in another range, as for :func:`denoise_image`. It should have little
        noise, and no visible blocks of JPEG: denoise it first.
    factor : {2, 4}, default=2
        Factor of height and width; 4 enlarges twice.

    Returns
    -------
    ndarray of the type of image, of shape (factor * height, factor * width[, channels])
        Integers are rounded and clipped to the range of their type. Alpha is enlarged by cubic interpolation.

    Raises
    ------
    ValueError
        If the image holds NaN or infinity, or the factor is another one.

    See Also
    --------
    load_pretrained : The network as an estimator, ``load_pretrained("enlarge")``.
    sk_denoise.ImageDenoiser : Learns to enlarge your images, from pairs or by
        ``noise=DownscaleNoiser(2)``.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_denoise.datasets import load_images
    >>> from sk_denoise.restoration import enlarge_image
    >>> image = load_images("gray").test[0][:60, :80]
    >>> enlarge_image(image).shape
    (120, 160)
    """
    if isinstance(factor, bool) or factor not in FACTORS:
        raise ValueError(f"factor must be 2 or 4, got {factor!r}. For others, train an ImageDenoiser.")
    array = check_image(image)
    if array.dtype.kind == "f" and np.isnan(array).any():
        raise ValueError(
            "image holds NaN, which the enlargement would spread to other pixels. Fill these pixels first."
        )
    for _ in range(factor // FACTORS[0]):
        array = _double(array)
    return array


@cache
def _enlarger() -> ImageDenoiser:
    return load_pretrained("enlarge")


def _double(array: NDArray[Any]) -> NDArray[Any]:
    pixels = array if array.ndim == 3 else array[..., None]
    n_colors = pixels.shape[2] - has_alpha(pixels)
    colors = pixels[..., :n_colors]
    # A gray image as three equal channels has three predictions.
    given = colors if n_colors == 3 else np.repeat(colors, 3, axis=2)
    enlarged = _enlarger().predict([np.ascontiguousarray(given)])[0]
    parts = [enlarged if n_colors == 3 else enlarged.mean(axis=2, keepdims=True, dtype=np.float64)]
    if has_alpha(pixels):
        alpha = pixels[..., -1:].astype(np.float64)
        limits = float(alpha.min()), float(alpha.max())
        parts.append(np.clip(enlarge_images(alpha[None], 2)[0], *limits))
    result = UNIT.from_unit(np.concatenate(parts, axis=2), array.dtype)
    return result if array.ndim == 3 else result[..., 0]
