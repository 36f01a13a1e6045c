"""The pooling autoencoder: convolutions and max-pooling down to a small map, upsampling back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import ClassVar

from torch import nn

from sk_denoise.networks._base import (
    ACTIVATIONS,
    CONVOLUTIONS,
    POOLS,
    Autoencoder,
    Doubling,
    check_grid,
    halved,
    undrawn,
)
from sk_denoise.networks._spec import ONE_OR_MORE, AutoencoderSpec, check_parameters, sizes_of

__all__ = ["PoolingNetwork"]


class PoolingAutoencoder(Autoencoder):
    """Convolution and max-pooling, again and again, to a latent map; convolution and upsampling back.

    There is no dense layer, so the number of weights does not grow with the grid: each position of the
    latent map holds a vector that knows its surroundings alone. Works on images and signals of any size
    from one entry on, as :class:`~sk_denoise.networks.conv.ConvAutoencoder` does.

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


class PoolingNetwork(AutoencoderSpec):
    """Spec of an autoencoder that pools and upsamples, for ``DenoisingAutoencoder(network=...)``.

    Convolution and max-pooling by two, once for each of ``channels``; then convolution and upsampling back.
    The code is a small map with ``latent_dim`` channels rather than a vector: each of its positions knows its
    surroundings alone, and the number of weights does not depend on the size of the images. So it keeps
    more detail of large images than :class:`ConvNetwork`, and knows less of what they show.

    Parameters
    ----------
    channels : sequence of int, default=(32, 64)
        Channels of the encoder's convolutions; the decoder mirrors them.
    kernel_size : int, default=3
        Side of all kernels, odd.
    activation : str, default="silu"
        Activation of the hidden layers: "identity", "relu", "leaky_relu", "elu", "gelu", "silu", "tanh"
        or "sigmoid".
    latent_activation : str, default="identity"
        Activation of the latent map, one of the same.
    output_activation : str, default="auto"
        Activation of the output, one of the same. "auto" is "sigmoid" with the losses "bce" and "kl", and
        "identity" otherwise. With "sigmoid" the clean data must lie in [0, 1].

    See Also
    --------
    DenoisingAutoencoder : Trains the network; ``latent_dim`` is its parameter.
    ConvNetwork : Has a latent vector.

    References
    ----------
    F. Chollet, "Building autoencoders in Keras", The Keras Blog (2016), section "Application to image
    denoising".

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sk_denoise import DenoisingAutoencoder, PoolingNetwork
    >>> images = load_digits().images[:200] / 16
    >>> dae = DenoisingAutoencoder(PoolingNetwork((8,)), latent_dim=4, max_epochs=2, output="latent")
    >>> dae.fit(images).transform(images).shape  # 4 channels of 4 x 4
    (200, 64)
    """

    rows_are_signals: ClassVar[bool] = True

    def __init__(
        self,
        channels: Sequence[int] = (32, 64),
        *,
        kernel_size: int = 3,
        activation: str = "silu",
        latent_activation: str = "identity",
        output_activation: str = "auto",
    ) -> None:
        self.channels = channels
        self.kernel_size = kernel_size
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
            Channels of the latent map.

        Returns
        -------
        torch.nn.Module
            With the parts ``encoder`` and ``decoder``.
        """
        check_parameters(self, {"kernel_size": ONE_OR_MORE})
        return PoolingAutoencoder(
            input_shape,
            latent_dim,
            sizes_of(self, "channels", at_least=1),
            kernel_size=self.kernel_size,
            **self._activations(),
        )
