"""Cubic enlargement of images by whole factors."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import conv2d, pad, pixel_shuffle

from sk_denoise._validation import size_factor_of

__all__ = ["MAX_FACTOR", "EnlargedNoise", "enlarge", "enlarge_images", "keep_size"]

# Largest factor between the sizes of images.
MAX_FACTOR = 4
# Pixels on each side of the nearest one that a cubic interpolation reads.
REACH = 2


def enlarge(x: Tensor, factor: int) -> Tensor:
    """Enlarge images by cubic interpolation.

    The last rows and columns are repeated at the edges. The numbers of a pixel depend on the 5 x 5 pixels
    around it and not on its place, so that tiles of an image are those of the whole.

    Parameters
    ----------
    x : Tensor of shape (n, channels, height, width)
        Images of floats.
    factor : int
        Factor, at least 1.

    Returns
    -------
    Tensor of shape (n, channels, factor * height, factor * width)

    References
    ----------
    R. Keys, "Cubic convolution interpolation for digital image processing", IEEE Transactions on Acoustics,
    Speech, and Signal Processing 29 (1981), with a = -1/2.
    """
    if factor == 1:
        return x
    n, channels, height, width = x.shape
    padded = pad(x.reshape(n * channels, 1, height, width), (REACH,) * 4, mode="replicate")
    kernels = _cubic_kernels(factor).to(x)
    phases = conv2d(padded, kernels)
    return pixel_shuffle(phases, factor).reshape(n, channels, factor * height, factor * width)


def _cubic_kernels(factor: int) -> Tensor:
    """Return the kernels of the places in an input pixel, (factor**2, 1, 5, 5)."""
    taps = torch.arange(-REACH, REACH + 1, dtype=torch.float64)
    places = (torch.arange(factor, dtype=torch.float64) + 0.5) / factor - 0.5
    distance = (places[:, None] - taps).abs()
    near = 1.5 * distance**3 - 2.5 * distance**2 + 1
    far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
    weights = torch.where(distance < 1, near, torch.where(distance < 2, far, torch.zeros(())))
    kernels = weights[:, None, :, None] * weights[None, :, None, :]
    return kernels.reshape(factor**2, 1, 2 * REACH + 1, 2 * REACH + 1)


def enlarge_images(images: NDArray[Any], factor: int) -> NDArray[Any]:
    """Enlarge a stack (n, height, width[, channels]) of floats in its unit."""
    if factor == 1:
        return images
    planes = torch.from_numpy(images if images.ndim == 4 else images[..., None]).movedim(3, 1)
    enlarged: NDArray[Any] = enlarge(planes, factor).movedim(1, 3).contiguous().numpy()
    return enlarged if images.ndim == 4 else enlarged[..., 0]


class EnlargedNoise:
    """Reduction of images, and enlargement to the size of the clean image.

    A network that enlarges images gets them enlarged by cubic interpolation, and adds what is missing.

    Parameters
    ----------
    noiser : noiser
        Fitted degradation.
    """

    def __init__(self, noiser: Any) -> None:
        self.noiser, self.factor = noiser, size_factor_of(noiser)

    def corrupt(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Return degraded images (n, height, width[, channels]) of the same size."""
        small = self.noiser.corrupt(x, generator)
        planes = small if small.ndim == 4 else small[..., None]
        enlarged = enlarge(planes.movedim(3, 1), self.factor).movedim(1, 3)
        return enlarged if small.ndim == 4 else enlarged[..., 0]


def keep_size(noiser: Any) -> Any:
    """Return a noiser with enlarged output, or itself if it keeps the size."""
    return noiser if size_factor_of(noiser) == 1 else EnlargedNoise(noiser)
