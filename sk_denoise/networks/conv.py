"""The convolutional autoencoder: strided convolutions to a latent vector, transposed ones back."""

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
    check_grid,
    dense_layers,
    halved,
    undrawn,
)
from sk_denoise.networks._spec import ONE_OR_MORE, AutoencoderSpec, check_parameters, sizes_of

__all__ = ["ConvNetwork"]


class ConvAutoencoder(Autoencoder):
    """Convolutions that halve the grid, dense layers to a latent vector, and the same way back.

    Works on images and on one-dimensional signals of any size from one entry on: a side of ``n`` entries
    becomes ``ceil(n / 2)`` at every step, and the decoder goes back through the same sizes.

    Parameters
    ----------
    input_shape : sequence of int
        Shape of one sample: ``(channels, length)`` or ``(channels, height, width)``.
    latent_dim : int
        Length of the latent vector.
    channels : sequence of int
        Channels after each of the encoder's convolutions; the decoder has them in reverse.
    kernel_size : int
        Side of all kernels, odd.
    hidden_layer_sizes : sequence of int
        Widths of dense layers between the last convolution and the latent vector; the decoder has them in
        reverse.
    activation, latent_activation, output_activation : str
        Names in :data:`~sk_denoise.networks.ACTIVATIONS`, for the hidden layers, the latent vector and the
        output.

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
        channels: Sequence[int],
        *,
        kernel_size: int = 3,
        hidden_layer_sizes: Sequence[int] = (),
        activation: str = "silu",
        latent_activation: str = "identity",
        output_activation: str = "identity",
    ) -> None:
        check_grid(input_shape, [*channels, *hidden_layer_sizes], latent_dim, kernel_size)
        channels = [input_shape[0], *channels]
        grids = halved(input_shape[1:], len(channels) - 1)
        code_shape = (channels[-1], *grids[-1])
        widths = [math.prod(code_shape), *hidden_layer_sizes, latent_dim]
        inner = [activation] * len(hidden_layer_sizes)
        act = ACTIVATIONS[activation]
        super().__init__(
            [
                *_down(channels, len(grids[0]), kernel_size, act),
                GridToRow(),
                *dense_layers(widths, [*inner, latent_activation]),
            ],
            [
                *dense_layers(widths[::-1], [*inner, activation]),
                RowToGrid(*code_shape),
                *_up(channels[::-1], grids[::-1], kernel_size, act),
            ],
            output_activation,
        )


def _down(
    channels: Sequence[int], dims: int, kernel: int, activation: type[nn.Module]
) -> Iterator[nn.Module]:
    """Yield convolutions of stride 2 and what follows each."""
    for before, after in pairwise(channels):
        yield undrawn(CONVOLUTIONS[dims], before, after, kernel_size=kernel, stride=2, padding=kernel // 2)
        yield activation()


def _up(
    channels: Sequence[int], grids: Sequence[tuple[int, ...]], kernel: int, activation: type[nn.Module]
) -> Iterator[nn.Module]:
    """Yield transposed convolutions of stride 2 back through the grids, and what stands between them."""
    for step, ((before, after), grid) in enumerate(zip(pairwise(channels), grids[1:], strict=True)):
        if step:
            yield activation()
        yield undrawn(
            TRANSPOSED[len(grid)],
            before,
            after,
            kernel_size=kernel,
            stride=2,
            padding=kernel // 2,
            output_padding=tuple((side - 1) % 2 for side in grid),
        )


class ConvNetwork(AutoencoderSpec):
    """Spec of a convolutional autoencoder, for ``DenoisingAutoencoder(network=...)``.

    Strided convolutions, each of which halves the sides of an image or the length of a signal, dense
    layers to a latent vector, and the same way back by transposed convolutions. Any size from one entry
    on will do, odd ones too. Rows without ``image_shape`` are one-dimensional signals: spectra,
    electrocardiograms, time series.

    Parameters
    ----------
    channels : sequence of int, default=(32, 64)
        Channels after each of the encoder's convolutions; the decoder mirrors them.
    kernel_size : int, default=3
        Side of all kernels, odd.
    hidden_layer_sizes : sequence of int, default=(256,)
        Widths of the dense layers between the last convolution and the latent vector; may be empty.
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

    rows_are_signals: ClassVar[bool] = True

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

    def build(self, input_shape: tuple[int, ...], latent_dim: int) -> nn.Module:
        """Return the network; an estimator draws its weights again.

        Parameters
        ----------
        input_shape : tuple of int
            Shape of one sample as the network sees it: ``(channels, length)`` or
            ``(channels, height, width)``.
        latent_dim : int
            Length of the latent vector.

        Returns
        -------
        torch.nn.Module
            With the parts ``encoder`` and ``decoder``.
        """
        check_parameters(self, {"kernel_size": ONE_OR_MORE})
        return ConvAutoencoder(
            input_shape,
            latent_dim,
            sizes_of(self, "channels", at_least=1),
            kernel_size=self.kernel_size,
            hidden_layer_sizes=sizes_of(self, "hidden_layer_sizes", at_least=0),
            **self._activations(),
        )
