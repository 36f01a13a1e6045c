"""The dense autoencoder: fully connected layers down to a latent vector and back up."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sk_denoise.networks._base import SeededModule

__all__ = ["ACTIVATIONS", "DenseAutoencoder"]

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


class DenseAutoencoder(SeededModule):
    """Encoder and decoder of fully connected layers, the decoder the encoder's mirror image.

    Parameters
    ----------
    input_shape : sequence of int
        Shape of one sample: ``(features,)`` or ``(channels, height, width)``.
    latent_dim : int
        Length of the latent vector.
    hidden_layer_sizes : sequence of int
        Widths of the encoder's layers before the latent one; the decoder has them in reverse.
    activation, latent_activation, output_activation : str
        Names in :data:`ACTIVATIONS`, for the hidden layers, the latent vector and the output.

    Attributes
    ----------
    encoder : Module
        From ``(batch, *input_shape)`` to ``(batch, latent_dim)``.
    decoder : Module
        From ``(batch, latent_dim)`` to ``(batch, *input_shape)``.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        latent_dim: int,
        hidden_layer_sizes: Sequence[int],
        *,
        activation: str = "relu",
        latent_activation: str = "relu",
        output_activation: str = "identity",
    ) -> None:
        super().__init__()
        widths = [math.prod(input_shape), *hidden_layer_sizes, latent_dim]
        if min(widths) < 1:
            raise ValueError(f"Every layer needs at least one unit, got widths {widths}.")
        inner = [activation] * len(hidden_layer_sizes)
        self.encoder = nn.Sequential(nn.Flatten(), *_layers(widths, [*inner, latent_activation]))
        self.decoder = nn.Sequential(
            *_layers(widths[::-1], [*inner, output_activation]), nn.Unflatten(1, tuple(input_shape))
        )
        self.reset_parameters(torch.Generator().manual_seed(0))  # leaves torch's global state alone

    def forward(self, x: Tensor) -> Tensor:
        """Map a batch to its reconstruction, ``(batch, *input_shape)`` to the same."""
        reconstruction: Tensor = self.decoder(self.encoder(x))
        return reconstruction

    def activations(self, x: Tensor) -> Tensor:
        """Return what all hidden layers and the latent one put out, side by side: ``(batch, units)``."""
        outputs: list[Tensor] = []
        layers: list[nn.Module] = [*self.encoder, *self.decoder]
        for layer in layers[:-2]:  # less the output's activation and shape
            if isinstance(layer, tuple(ACTIVATIONS.values())):
                outputs.append(x := layer(x))
            else:
                x = layer(x)
        return torch.cat(outputs, dim=1)

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draw Kaiming-uniform weights and set the biases to zero (He et al., 2015)."""
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu", generator=generator)
                nn.init.zeros_(layer.bias)


def _layers(widths: Sequence[int], activations: Sequence[str]) -> list[nn.Module]:
    """Return alternating linear maps and activations; the weights are not drawn yet."""
    layers: list[nn.Module] = []
    for fan_in, fan_out, name in zip(widths[:-1], widths[1:], activations, strict=True):
        layers += [nn.utils.skip_init(nn.Linear, fan_in, fan_out, dtype=torch.float32), ACTIVATIONS[name]()]
    return layers
