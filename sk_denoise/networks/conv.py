"""The convolutional autoencoder: strided convolutions to a latent vector and back."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import ClassVar

from torch import nn

from sk_denoise.networks._base import (
    ACTIVATIONS,
    CONVOLUTIONS,
    TRANSPOSED,
    Autoencoder,
    GridToRow,
    RowToGrid,
    build_dense_layers,
    halve_grid,
    uninitialized,
)
from sk_denoise.networks._spec import GridAutoencoderSpec

__all__ = ["ConvNetwork"]


class ConvAutoencoder(Autoencoder):
    """Strided convolutions to a latent vector and back, built by :class:`ConvNetwork`."""

    def __init__(
        self,
        input_shape: Sequence[int],
        latent_dim: int,
        *,
        channels: Sequence[int],
        kernel_size: int,
        hidden_layer_sizes: Sequence[int],
        activation: str,
        latent_activation: str,
        output_activation: str,
    ) -> None:
        channels = [input_shape[0], *channels]
        grids = halve_grid(input_shape[1:], len(channels) - 1)
        code_shape = (channels[-1], *grids[-1])
        widths = [math.prod(code_shape), *hidden_layer_sizes, latent_dim]
        inner = [activation] * len(hidden_layer_sizes)
        act = ACTIVATIONS[activation]
        super().__init__(
            [
                *_encoder_layers(channels, len(grids[0]), kernel_size, act),
                # Convolutions lie channels last in memory; rows in this order need no copy.
                GridToRow(),
                *build_dense_layers(widths, [*inner, latent_activation]),
            ],
            [
                *build_dense_layers(widths[::-1], [*inner, activation]),
                RowToGrid(*code_shape),
                *_decoder_layers(channels[::-1], grids[::-1], kernel_size, act),
            ],
            output_activation,
        )


def _encoder_layers(
    channels: Sequence[int], dims: int, kernel: int, activation: type[nn.Module]
) -> Iterator[nn.Module]:
    """Yield convolutions of stride 2, each with its activation."""
    for before, after in pairwise(channels):
        yield uninitialized(
            CONVOLUTIONS[dims], before, after, kernel_size=kernel, stride=2, padding=kernel // 2
        )
        yield activation()


def _decoder_layers(
    channels: Sequence[int], grids: Sequence[tuple[int, ...]], kernel: int, activation: type[nn.Module]
) -> Iterator[nn.Module]:
    """Yield transposed convolutions of stride 2, with activations between."""
    for step, ((before, after), grid) in enumerate(zip(pairwise(channels), grids[1:], strict=True)):
        # The dense layers before end in an activation, and the output activation follows the last step.
        if step:
            yield activation()
        yield uninitialized(
            TRANSPOSED[len(grid)],
            before,
            after,
            kernel_size=kernel,
            stride=2,
            padding=kernel // 2,
            # Odd and even sides halve to the same one; this entry more brings the even side back.
            output_padding=tuple((side - 1) % 2 for side in grid),
        )


class ConvNetwork(GridAutoencoderSpec):
    """Convolutional autoencoder for ``DenoisingAutoencoder(network=...)``.

    Strided convolutions, each of which halves the sides of an image or the length of a signal, dense layers
    to a latent vector, and the same way back by transposed convolutions. Sides may have any size, one entry
    and odd sizes included: a side of ``n`` entries becomes ``ceil(n / 2)`` at every step. Rows without
    ``image_shape`` are one-dimensional signals of one length. To denoise signals, take
    :class:`~sk_denoise.SignalDenoiser`: this network is for signals that a few numbers describe in full, such
    as bits of a fixed clock. For most others, "dense" is better and faster.

    Parameters
    ----------
    channels : sequence of int, default=(32, 64)
        Channels after each of the encoder's convolutions; the decoder mirrors them.
    kernel_size : int, default=3
        Side of all kernels, odd.
    hidden_layer_sizes : sequence of int, default=(256,)
        Widths of the dense layers between the last convolution and the latent vector; may be empty. The
        decoder mirrors them.
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
    PoolingNetwork : Keeps a small map in place of the latent vector.
    SignalDenoiser : Denoises signals of any length, without a latent vector.

    References
    ----------
    J. Masci, U. Meier, D. Ciresan and J. Schmidhuber, "Stacked convolutional auto-encoders for hierarchical
    feature extraction", ICANN (2011).

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sk_denoise import ConvNetwork, DenoisingAutoencoder
    >>> images = load_digits().images[:200] / 16
    >>> dae = DenoisingAutoencoder(ConvNetwork((8, 16)), latent_dim=16, max_epochs=2, output="latent")
    >>> dae.fit(images).transform(images).shape
    (200, 16)
    """

    _module: ClassVar[type[nn.Module]] = ConvAutoencoder
    # Hidden dense layers are optional, convolutions are not.
    _size_parameters: ClassVar[dict[str, int]] = {"channels": 1, "hidden_layer_sizes": 0}

    def __init__(
        self,
        channels: Sequence[int] = (32, 64),
        *,
        kernel_size: int = 3,
        hidden_layer_sizes: Sequence[int] = (256,),
        activation: str = "silu",
        latent_activation: str = "identity",
        output_activation: str = "auto",
    ) -> None:
        self.channels = channels
        self.kernel_size = kernel_size
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.latent_activation = latent_activation
        self.output_activation = output_activation
