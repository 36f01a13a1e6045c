"""What brings the answers of a network for images into the range from black to white."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

__all__ = ["Bounded"]

SOFTNESS = 0.05  # width of the bends at black and at white, in which slopes live on


class Bounded(nn.Module):
    """A network whose answers are softly clipped to [0, 1], for losses that need a share or an intensity.

    Inside the range the answer is what it was, up to a twentieth from its ends. Beyond them it comes near
    black or white as an exponential does, so that a logarithm of it has a slope that stays bounded, where a
    hard clip has none. It stands in place of the sigmoid, through which a network that finds the noise could
    not pass the image on.

    Parameters
    ----------
    network : Module
        Maps a batch of images to one in any range.

    References
    ----------
    The bijector ``SoftClip`` of TensorFlow Probability: J. V. Dillon et al., "TensorFlow Distributions",
    arXiv:1711.10604 (2017).
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        for name in ("receptive_radius", "stride"):
            if hasattr(network, name):
                setattr(self, name, getattr(network, name))

    def forward(self, x: Tensor) -> Tensor:
        """Map a batch of images to one in [0, 1]."""
        answer = self.network(x)
        if answer.dtype == torch.bfloat16:
            answer = answer.float()
        above_black = softplus(answer / SOFTNESS)
        above_white = softplus((answer - 1) / SOFTNESS)
        bounded: Tensor = SOFTNESS * (above_black - above_white)
        return bounded.clamp(0, 1)  # rounding leads a little beyond
