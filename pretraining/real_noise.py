"""Draw the noise of the blind network for cameras, and images that are clean already.

The shares of ``KINDS`` say how often each kind of noise is drawn. About half of all images are compressed as
JPEG afterwards. Nearly clean images keep good photos as they are.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from sk_denoise.noise._camera_pipeline import BRIGHTNESS, add_camera_noise, compress_as_jpeg, draw_camera

__all__ = ["add_real_noise"]

KINDS = {"camera": 0.46, "white": 0.16, "grain": 0.08, "counts": 0.06, "clean": 0.24}
# Limits of the shot noise at white: of cameras, and of almost clean photos in daylight.
SHOT, WEAK_SHOT = (1e-4, 1.2e-2), (1e-6, 1e-4)
GRAY_SHARE = 0.15
# JPEG of this quality and above counts as clean: its errors are part of the photos of most people.
CLEAN_QUALITY = 88


def add_real_noise(
    clean: Tensor, generator: torch.Generator, kind: str | None = None
) -> tuple[Tensor, Tensor]:
    """Return a noisy image, and its target.

    Parameters
    ----------
    clean : Tensor of shape (3, height, width)
        Clean image in [0, 1].
    generator : torch.Generator
        Source of randomness.
    kind : str, optional
        Kind of the noise, of ``KINDS``. None draws it.
    """
    u = torch.rand(6, generator=generator).tolist()
    if kind is None:
        shares = torch.tensor(list(KINDS.values()))
        kind = list(KINDS)[int(torch.multinomial(shares, 1, generator=generator))]
    noisy = _add(kind, clean, u, generator)
    if u[0] < GRAY_SHARE:
        noisy, clean = (_gray(image) for image in (noisy, clean))
    if u[1] < 0.25:
        return noisy, clean
    noisy = (255 * noisy).round().clamp(0, 255) / 255
    if u[1] < 0.45:
        return noisy, clean
    # Strong compression of noisy photos is rare, except for those that were sent by messengers.
    quality = int(75 + 25 * u[2]) if kind in ("camera", "clean") else int(60 + 40 * u[2])
    compressed = compress_as_jpeg(noisy, min(quality, 99), half_chroma=u[3] < 0.5)
    return compressed, compressed if kind == "clean" and quality >= CLEAN_QUALITY else clean


def _add(kind: str, clean: Tensor, u: list[float], generator: torch.Generator) -> Tensor:
    """Add noise of a kind; the numbers in [0, 1] set its strength."""
    if kind == "camera":
        return add_camera_noise(clean, generator, draw_camera(generator, shot=SHOT))
    if kind == "clean":
        if u[4] < 0.6:
            return clean
        return add_camera_noise(clean, generator, draw_camera(generator, shot=WEAK_SHOT))
    if kind == "counts":
        gain = math.exp(math.log(1e-4) + u[4] * math.log(3e2))
        return clean + (gain * clean + (0.03 * u[5]) ** 2).sqrt() * _normal(clean, generator)
    sigma = 40 / 255 * u[4] ** 1.5
    if kind == "white":
        return clean + sigma * _normal(clean, generator)
    return clean + sigma * _grain(clean, 0.4 + 1.8 * u[5], generator)


def _grain(like: Tensor, width: float, generator: torch.Generator) -> Tensor:
    """Return correlated Gaussian noise of unit variance, partly common to the colours."""
    radius = math.ceil(3 * width)
    line = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / width) ** 2)
    line = line / line.square().sum().sqrt()
    noise = torch.randn(3, 1, *(side + 2 * radius for side in like.shape[1:]), generator=generator)
    noise = conv2d(conv2d(noise, line.reshape(1, 1, 1, -1)), line.reshape(1, 1, -1, 1))[:, 0]
    share = float(torch.rand((), generator=generator))
    return math.sqrt(share) * noise[:1] + math.sqrt(1 - share) * noise


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator)


def _gray(image: Tensor) -> Tensor:
    """Return the brightness as three equal channels."""
    weights = torch.tensor(BRIGHTNESS).reshape(3, 1, 1)
    return (image * weights).sum(0, keepdim=True).expand(3, -1, -1)
