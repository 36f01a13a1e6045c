"""Denoising of the parts of an image that is larger than memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_denoise._noise_model import NoiseModel
from sk_denoise.restoration._denoise_image import denoise_image
from sk_denoise.restoration._noise_estimation import estimate_planes
from sk_denoise.restoration._pretrained import select_network

__all__ = ["PartDenoiser"]

Image = NDArray[Any]
Window = tuple[slice, slice]
# Side in pixels of the window in which the residual is limited.
GUARD_REACH = 3


@dataclass(frozen=True)
class PartDenoiser:
    """Denoiser of the parts of one image, with settings measured once.

    The parts that it returns are those of the whole image, bit by bit, if each part is read with its halo.
    It can be pickled, and is small.

    Attributes
    ----------
    noise : NoiseModel
        Noise of the image.
    halo, stride : int
        Width of the halo in pixels, and the grid on which parts begin.
    options : dict
        Options of :func:`denoise_image`.
    """

    noise: NoiseModel
    halo: int
    stride: int
    options: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def measure(cls, samples: Sequence[Image], **options: Any) -> PartDenoiser:
        """Measure the noise and the intensity range of an image on some of its parts.

        Parameters
        ----------
        samples : sequence of ndarray of shape (height, width) or (height, width, channels)
            Parts of the image, from random places.
        **options
            Options of :func:`denoise_image`: ``model``, ``noise``, ``sigma``, ``strength``, ``outliers``,
            ``ensemble``, ``precision``, ``device``.
        """
        options = {"precision": "float32", **options}
        noise = options.pop("noise", "auto")
        if options.get("sigma") is None and isinstance(noise, str):
            noise = estimate_planes(list(samples), [None] * len(samples), noise, "keep")
        network = select_network(options.get("model", "auto"), samples[0]).module
        halo = -(-(network.receptive_radius + GUARD_REACH) // network.stride) * network.stride
        return cls(noise, halo, network.stride, options)

    def window(self, inner: Window, shape: tuple[int, ...]) -> Window:
        """Return the rows and columns to read for a part of an image of a shape."""
        starts = [max(0, (s.start - self.halo) // self.stride * self.stride) for s in inner]
        stops = [
            min(n, n - max(0, n - s.stop - self.halo) // self.stride * self.stride)
            for s, n in zip(inner, shape, strict=False)
        ]
        return slice(starts[0], stops[0]), slice(starts[1], stops[1])

    def denoise(self, part: Image, kept: Window) -> Image:
        """Return the denoised rows and columns ``kept`` of a part that was read with its halo."""
        return np.ascontiguousarray(denoise_image(part, noise=self.noise, **self.options)[kept])
