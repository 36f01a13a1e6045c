"""The dense autoencoder: fully connected layers down to a latent vector and back up."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sk_denoise.networks._base import ACTIVATIONS, Autoencoder, dense_layers

__all__ = ["DenseAutoencoder"]


class DenseAutoencoder(Autoencoder):
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
        widths = [math.prod(input_shape), *hidden_layer_sizes, latent_dim]
        if min(widths) < 1:
            raise ValueError(f"Every layer needs at least one unit, got widths {widths}.")
        inner = [activation] * len(hidden_layer_sizes)
        super().__init__(
            [nn.Flatten(), *dense_layers(widths, [*inner, latent_activation])],
            [
                *dense_layers(widths[::-1], [*inner, output_activation])[:-1],
                nn.Unflatten(1, tuple(input_shape)),
            ],
            output_activation,
        )

    def activations(self, x: Tensor) -> Tensor:
        """Return what all hidden layers and the latent one put out, side by side: ``(batch, units)``."""
        outputs: list[Tensor] = []
        layers: list[nn.Module] = [*self.encoder, *self.decoder]
        for layer in layers[:-4]:  # less what makes the output
            if isinstance(layer, tuple(ACTIVATIONS.values())):
                outputs.append(x := layer(x))
            else:
                x = layer(x)
        return torch.cat(outputs, dim=1)
