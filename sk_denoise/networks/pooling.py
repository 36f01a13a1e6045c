"""The pooling autoencoder: convolutions and max-pooling to a small map and back."""

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
    NearestUpsampling,
    halve_grid,
    uninitialized,
)
from sk_denoise.networks._spec import GridAutoencoderSpec

__all__ = ["PoolingNetwork"]


class PoolingAutoencoder(Autoencoder):
    """Convolutions and poolings, built by :class:`PoolingNetwork`."""

    def __init__(
        self,
        input_shape: Sequence[int],
        latent_dim: int,
        *,
        channels: Sequence[int],
        kernel_size: int,
        activation: str,
        latent_activation: str,
        output_activation: str,
    ) -> None:
        grids = halve_grid(input_shape[1:], len(channels))
        dims, inner = len(grids[0]), ACTIVATIONS[activation]

        def convolution(before: int, after: int) -> nn.Module:
            return uninitialized(
                CONVOLUTIONS[dims], before, after, kernel_size=kernel_size, padding=kernel_size // 2
            )

        def encoder_layers() -> Iterator[nn.Module]:
            for before, after in pairwise([input_shape[0], *channels]):
                # Rounded up, so that a side of one entry stays one.
                yield from (convolution(before, after), inner(), POOLS[dims](2, ceil_mode=True))

        def decoder_layers() -> Iterator[nn.Module]:
            # Upsampling by repetition meets the pixels of the pooling, at odd sizes too.
            for (before, after), grid in zip(
                pairwise([latent_dim, *channels[::-1]]), grids[-2::-1], strict=True
            ):
                yield from (convolution(before, after), inner(), NearestUpsampling(grid))

        super().__init__(
            # No dense layer: the number of weights does not grow with the grid. The latent dimension counts
            # the channels of a map, which an estimator flattens for output="latent".
            [*encoder_layers(), convolution(channels[-1], latent_dim), ACTIVATIONS[latent_activation]()],
            [*decoder_layers(), convolution(channels[0], input_shape[0])],
            output_activation,
        )


class PoolingNetwork(GridAutoencoderSpec):
    """Autoencoder that pools and upsamples, for ``DenoisingAutoencoder(network=...)``.

    Convolution and max-pooling by two, once for each of ``channels``; then convolution and upsampling back.
    The code is a small map with ``latent_dim`` channels rather than a vector: each of its positions depends
    on its surroundings alone, and the number of weights does not depend on the size of the images. So it
    keeps more detail of large images than :class:`ConvNetwork`, and less of their content as a whole.

    Parameters
    ----------
    channels : sequence of int, default=(32, 64)
        Channels of the encoder's convolutions, each before a pooling by two; the decoder mirrors them.
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

    _module: ClassVar[type[nn.Module]] = PoolingAutoencoder
    _size_parameters: ClassVar[dict[str, int]] = {"channels": 1}

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
