"""Draw the degradations of the networks that enlarge images and that clean JPEG files.

Each function returns an input of the size of the clean image, and the target.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from sk_denoise.noise._camera_pipeline import BRIGHTNESS, compress_as_jpeg

__all__ = ["DEGRADATIONS", "VALIDATION_KINDS"]

GRAY_SHARE = 0.2
# Lowest and highest quality of the compression; the exponent draws low ones more often.
QUALITY, QUALITY_POWER = (5, 95), 1.3
# Share of images whose grid of 8 x 8 blocks does not begin at their corner, as those cut from others.
SHIFTED_SHARE = 0.25


def halve_and_enlarge(
    clean: Tensor, generator: torch.Generator, kind: str | None = None
) -> tuple[Tensor, Tensor]:
    """Return an image that was reduced by 2, rounded to 8 bits and enlarged again, and its target.

    Parameters
    ----------
    clean : Tensor of shape (3, height, width)
        Clean image in [0, 1], of even sides.
    generator : torch.Generator
        Source of randomness.
    kind : str, optional
        "gray" or "colour"; None draws it.
    """
    is_gray = torch.rand((), generator=generator).item() < GRAY_SHARE if kind is None else kind == "gray"
    clean = _gray(clean) if is_gray else clean
    clean = clean[:, : clean.shape[1] // 2 * 2, : clean.shape[2] // 2 * 2]
    # With antialiasing, the cubic kernel is that of the field's protocol (parameter -0.5).
    small = _resize(clean, 0.5)
    small = (255 * small).round().clamp(0, 255) / 255
    return _resize(small, 2.0), clean


def compress(clean: Tensor, generator: torch.Generator, kind: str | None = None) -> tuple[Tensor, Tensor]:
    """Return an image after compression as JPEG, and its target.

    ``kind`` is the quality; None draws it. Other parameters are those of :func:`halve_and_enlarge`.
    """
    u = torch.rand(6, generator=generator).tolist()
    clean = _gray(clean) if u[0] < GRAY_SHARE else clean
    low, high = QUALITY
    quality = int(low + (high - low) * u[1] ** QUALITY_POWER) if kind is None else int(kind)
    top, left = (int(8 * u[3]), int(8 * u[4])) if u[2] < SHIFTED_SHARE and kind is None else (0, 0)
    padded = pad(clean, (left, 0, top, 0), mode="reflect")
    compressed = compress_as_jpeg(padded, quality, half_chroma=u[5] < 0.7)
    return compressed[:, top:, left:], clean


def _resize(image: Tensor, factor: float) -> Tensor:
    return interpolate(image[None], scale_factor=factor, mode="bicubic", antialias=True)[0]


def _gray(image: Tensor) -> Tensor:
    """Return the brightness as three equal channels."""
    weights = torch.tensor(BRIGHTNESS).reshape(3, 1, 1)
    return (image * weights).sum(0, keepdim=True).expand(3, -1, -1).contiguous()


DEGRADATIONS = {"enlarge": halve_and_enlarge, "jpeg": compress}
VALIDATION_KINDS = {"enlarge": ("gray", "colour"), "jpeg": ("10", "20", "40", "80")}
