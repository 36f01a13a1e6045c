"""The dense autoencoder: fully connected layers down to a latent vector and back up."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sk_denoise.networks._base import ACTIVATIONS, Autoencoder, dense_layers
from sk_denoise.networks._spec import AutoencoderSpec, sizes_of

__all__ = ["DenseNetwork"]


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


class DenseNetwork(AutoencoderSpec):
    """Spec of a fully connected autoencoder, for ``DenoisingAutoencoder(network=...)``.

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

    def build(self, input_shape: tuple[int, ...], latent_dim: int) -> nn.Module:
        """Return the network; an estimator draws its weights again.

        Parameters
        ----------
        input_shape : tuple of int
            Shape of one sample as the network sees it: ``(features,)`` or ``(channels, height, width)``.
        latent_dim : int
            Length of the latent vector.

        Returns
        -------
        torch.nn.Module
            With the parts ``encoder`` and ``decoder``.
        """
        widths = sizes_of(self, "hidden_layer_sizes", at_least=0)
        return DenseAutoencoder(input_shape, latent_dim, widths, **self._activations())
