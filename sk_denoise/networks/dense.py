"""The dense autoencoder: fully connected layers to a latent vector and back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from sk_denoise.networks._base import ACTIVATIONS, Autoencoder, build_dense_layers
from sk_denoise.networks._spec import AutoencoderSpec

__all__ = ["DenseNetwork"]


class DenseAutoencoder(Autoencoder):
    """Fully connected layers in both directions, built by :class:`DenseNetwork`."""

    def __init__(
        self,
        input_shape: Sequence[int],
        latent_dim: int,
        *,
        hidden_layer_sizes: Sequence[int],
        activation: str,
        latent_activation: str,
        output_activation: str,
    ) -> None:
        widths = [math.prod(input_shape), *hidden_layer_sizes, latent_dim]
        inner = [activation] * len(hidden_layer_sizes)
        super().__init__(
            # Images arrive as (batch, channels, height, width), and dense layers take rows.
            [nn.Flatten(), *build_dense_layers(widths, [*inner, latent_activation])],
            [
                # The base adds the output activation, after a conversion to single precision.
                *build_dense_layers(widths[::-1], [*inner, output_activation])[:-1],
                nn.Unflatten(1, tuple(input_shape)),
            ],
            output_activation,
        )

    def activations(self, x: Tensor) -> Tensor:
        """Return the outputs of all hidden layers and the latent one, ``(batch, units)``."""
        outputs: list[Tensor] = []
        layers: list[nn.Module] = [*self.encoder, *self.decoder]
        # The last four layers make the output.
        for layer in layers[:-4]:
            if isinstance(layer, tuple(ACTIVATIONS.values())):
                outputs.append(x := layer(x))
            else:
                x = layer(x)
        return torch.cat(outputs, dim=1)


class DenseNetwork(AutoencoderSpec):
    """Fully connected autoencoder for ``DenoisingAutoencoder(network=...)``.

    The decoder mirrors the encoder: ``DenseNetwork((500, 300))`` with ``latent_dim=100`` is
    784-500-300-100-300-500-784 on data of 784 features.

    Parameters
    ----------
    hidden_layer_sizes : sequence of int, default=(512,)
        Widths of the layers between input and latent vector; may be empty.
    activation : str, default="silu"
        Activation of the hidden layers: "identity", "relu", "leaky_relu", "elu", "gelu", "silu", "tanh"
        or "sigmoid".
    latent_activation : str, default="identity"
        Activation of the latent vector, one of the same.
    output_activation : str, default="auto"
        Activation of the output, one of the same. "auto" is "sigmoid" with the losses "bce" and "kl", and
        "identity" otherwise. With "sigmoid" the clean data must lie in [0, 1].

    See Also
    --------
    DenoisingAutoencoder : Trains the network; ``latent_dim`` is its parameter.

    Examples
    --------
    >>> from sk_denoise import DenoisingAutoencoder, DenseNetwork
    >>> dae = DenoisingAutoencoder(DenseNetwork((500, 300)), latent_dim=100)
    >>> dae.set_params(network__activation="gelu").network
    DenseNetwork(activation='gelu', hidden_layer_sizes=(500, 300))
    """

    _module: ClassVar[type[nn.Module]] = DenseAutoencoder
    _size_parameters: ClassVar[dict[str, int]] = {"hidden_layer_sizes": 0}

    def __init__(
        self,
        hidden_layer_sizes: Sequence[int] = (512,),
        *,
        activation: str = "silu",
        latent_activation: str = "identity",
        output_activation: str = "auto",
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.latent_activation = latent_activation
        self.output_activation = output_activation
