"""What our networks promise beyond torch's own modules, and what they are made of."""

from __future__ import annotations

import math
from abc import ABCMeta, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

__all__ = [
    "ACTIVATIONS",
    "LAST_GAIN",
    "NOISE_GAIN",
    "Autoencoder",
    "SeededModule",
    "dense_layers",
    "draw_kaiming",
    "undrawn",
]

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "identity": nn.Identity,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


Transposed = nn.ConvTranspose1d | nn.ConvTranspose2d
Convolution = nn.Conv1d | nn.Conv2d | Transposed
LAST_GAIN = 0.1  # of a last layer at the start
NOISE_GAIN = 0.01  # of one that finds the noise: at first that is to be far below the noise there is


class SeededModule(nn.Module, metaclass=ABCMeta):
    """A network that draws from explicit generators alone, and never from torch's global state."""

    @abstractmethod
    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draw fresh weights."""


class AtLeastSingle(nn.Module):
    """Bring what layers before computed in half precision back to single, for an answer without steps."""

    def forward(self, x: Tensor) -> Tensor:
        """Map a batch to itself."""
        return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


class Autoencoder(SeededModule):
    """An encoder and a decoder, made of linear and convolutional layers.

    Attributes
    ----------
    encoder : Module
        From a batch of samples to their code.
    decoder : Module
        From there back to a batch of samples.
    """

    def __init__(
        self, encoder: Iterable[nn.Module], decoder: Iterable[nn.Module], output_activation: str
    ) -> None:
        super().__init__()
        self.encoder = nn.Sequential(*encoder)
        self.decoder = nn.Sequential(*decoder, AtLeastSingle(), ACTIVATIONS[output_activation]())
        self.reset_parameters(torch.Generator().manual_seed(0))  # leaves torch's global state alone

    def forward(self, x: Tensor) -> Tensor:
        """Map a batch to its reconstruction, ``(batch, *input_shape)`` to the same."""
        reconstruction: Tensor = self.decoder(self.encoder(x))
        return reconstruction

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draw Kaiming-uniform weights and set the biases to zero (He et al., 2015).

        The last layer starts at a tenth of that. Otherwise the first steps undo a large random output, and
        the rectifiers that they push below zero never come back.
        """
        layers = [layer for layer in self.modules() if isinstance(layer, nn.Linear | Convolution)]
        for layer in layers:
            draw_kaiming(layer, generator, gain=LAST_GAIN if layer is layers[-1] else 1.0)


def draw_kaiming(layer: nn.Linear | Convolution, generator: torch.Generator, *, gain: float) -> None:
    """Draw Kaiming-uniform weights times a gain, and set the bias to zero (He et al., 2015)."""
    bound = gain * math.sqrt(6 / _fan_in(layer))
    nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def _fan_in(layer: nn.Linear | Convolution) -> float:
    """Return the number of entries that one entry of the output is a sum over."""
    if isinstance(layer, Transposed):
        # the kernel is shared among as many entries as the stride sets apart
        return layer.in_channels * math.prod(layer.kernel_size) / math.prod(layer.stride)
    return float(layer.weight[0].numel())


def undrawn(kind: type[nn.Module], *sizes: int, **arguments: Any) -> nn.Module:
    """Return a single-precision layer whose weights are not drawn yet.

    As ``torch.nn.utils.skip_init`` does it, but for a way from one device to the other that torch imports
    sympy for.
    """
    layer = kind(*sizes, dtype=torch.float32, device="meta", **arguments)
    for name, weight in list(layer.named_parameters(recurse=False)):
        setattr(layer, name, nn.Parameter(torch.empty(weight.shape, dtype=weight.dtype, device="cpu")))
    return layer


def dense_layers(widths: Sequence[int], activations: Sequence[str]) -> list[nn.Module]:
    """Return alternating linear maps and activations; the weights are not drawn yet."""
    layers: list[nn.Module] = []
    for fan_in, fan_out, name in zip(widths[:-1], widths[1:], activations, strict=True):
        layers += [undrawn(nn.Linear, fan_in, fan_out), ACTIVATIONS[name]()]
    return layers
