"""The convolutional autoencoder: strided convolutions to a latent vector, transposed ones back."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from torch import nn

from sk_denoise.networks._base import ACTIVATIONS, Autoencoder, dense_layers, undrawn
from sk_denoise.networks._grid import CONVOLUTIONS, TRANSPOSED, GridToRow, RowToGrid, check_grid, halved

__all__ = ["ConvAutoencoder"]


class ConvAutoencoder(Autoencoder):
    """Convolutions that halve the grid, dense layers to a latent vector, and the same way back.

    Works on pictures and on one-dimensional signals of any size from one entry on: a side of ``n`` entries
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
