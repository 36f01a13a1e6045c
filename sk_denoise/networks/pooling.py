"""The pooling autoencoder: convolutions and max-pooling down to a small map, upsampling back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from torch import nn

from sk_denoise.networks._base import ACTIVATIONS, Autoencoder, undrawn
from sk_denoise.networks._grid import CONVOLUTIONS, POOLS, Doubling, check_grid, halved

__all__ = ["PoolingAutoencoder"]


class PoolingAutoencoder(Autoencoder):
    """Convolution and max-pooling, again and again, to a latent map; convolution and upsampling back.

    There is no dense layer, so the number of weights does not grow with the grid: each position of the
    latent map holds a vector that knows its surroundings alone. Works on pictures and signals of any size
    from one entry on, as :class:`~sk_denoise.networks.ConvAutoencoder` does.

    Parameters
    ----------
    input_shape : sequence of int
        Shape of one sample: ``(channels, length)`` or ``(channels, height, width)``.
    latent_dim : int
        Channels of the latent map.
    channels : sequence of int
        Channels of the encoder's convolutions, each before a pooling by two; the decoder has them in
        reverse.
    kernel_size : int
        Side of all kernels, odd.
    activation, latent_activation, output_activation : str
        Names in :data:`~sk_denoise.networks.ACTIVATIONS`, for the hidden layers, the latent map and the
        output.

    Attributes
    ----------
    encoder : Module
        From ``(batch, *input_shape)`` to ``(batch, latent_dim, ...)``, the sides halved once for each of
        ``channels``.
    decoder : Module
        From there back to ``(batch, *input_shape)``.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        latent_dim: int,
        channels: Sequence[int],
        *,
        kernel_size: int = 3,
        activation: str = "silu",
        latent_activation: str = "identity",
        output_activation: str = "identity",
    ) -> None:
        check_grid(input_shape, channels, latent_dim, kernel_size)
        grids = halved(input_shape[1:], len(channels))
        dims, inner = len(grids[0]), ACTIVATIONS[activation]

        def convolution(before: int, after: int) -> nn.Module:
            return undrawn(
                CONVOLUTIONS[dims], before, after, kernel_size=kernel_size, padding=kernel_size // 2
            )

        def down() -> Iterator[nn.Module]:
            for before, after in pairwise([input_shape[0], *channels]):
                yield from (convolution(before, after), inner(), POOLS[dims](2, ceil_mode=True))

        def up() -> Iterator[nn.Module]:
            for (before, after), grid in zip(
                pairwise([latent_dim, *channels[::-1]]), grids[-2::-1], strict=True
            ):
                yield from (convolution(before, after), inner(), Doubling(grid))

        super().__init__(
            [*down(), convolution(channels[-1], latent_dim), ACTIVATIONS[latent_activation]()],
            [*up(), convolution(channels[0], input_shape[0])],
            output_activation,
        )
