"""RIDNet: residual blocks at full resolution with an attention to channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sk_denoise.networks._base import (
    LAST_GAIN,
    SeededModule,
    convolution_3x3,
    draw_kaiming,
    uninitialized,
)
from sk_denoise.networks._spec import AT_LEAST_ONE, ImageNetworkSpec

__all__ = ["RIDNetNetwork"]

# Mean of the images of DIV2K in [0, 1]
COLOUR_MEAN = (0.4488, 0.4371, 0.4040)


class RIDNet(SeededModule):
    """Enhancement attention modules in a row, built by :class:`RIDNetNetwork`.

    Attributes
    ----------
    receptive_radius : None
        The attention averages over the whole image, so that no halo makes tiles exact: they are weighted by
        their own average, and their outputs only come near those of the whole image.
    stride : int
        Always 1: sides of tiles and images may have any size.

    Notes
    -----
    For colour this has the paper's 1,499,347 weights. That counts all biases, but not the mean: the authors'
    code subtracts it and adds it again with two 1 x 1 convolutions of 12 fixed weights each, and here it is a
    constant. Their code adds it to the residual, although the noisy image that is added last still has
    its own, so that the last bias has to learn to undo it; here it stays out. Add the mean to ``tail.bias``
    to load weights of theirs.
    """

    stride = 1
    receptive_radius: int | None = None

    # Derived from the channels: a buffer that moves with the network, but that no file holds
    mean: Tensor

    def __init__(self, channels: int, noise_map: bool, *, width: int, blocks: int, reduction: int) -> None:
        super().__init__()
        self.channels = channels
        self.register_buffer("mean", _channel_means(channels), persistent=False)
        self.head = nn.Sequential(convolution_3x3(channels + noise_map, width), nn.ReLU(inplace=True))
        self.body = nn.Sequential(*[EnhancementAttention(width, reduction) for _ in range(blocks)])
        self.tail = convolution_3x3(width, channels)
        self.reset_parameters(torch.Generator().manual_seed(0))

    def forward(self, x: Tensor) -> Tensor:
        """Map images ``(n, channels [+ 1], height, width)`` to denoised ones, without map."""
        image, level = x[:, : self.channels], x[:, self.channels :]
        # Natural images have a mean far above zero. The noise map has none to subtract: zero is no noise.
        seen = torch.cat([image - self.mean, level], dim=1) if level.shape[1] else image - self.mean
        correction: Tensor = self.tail(self.body(self.head(seen)))
        return image + correction

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draw Kaiming-uniform weights, smaller at ends of branches and for the tail."""
        blocks = [block for block in self.modules() if isinstance(block, EnhancementAttention)]
        # With full weights the learning rate of other networks would be too high for this one.
        ends = {id(self.tail), *(id(layer) for block in blocks for layer in block.branch_ends)}
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                draw_kaiming(layer, generator, gain=LAST_GAIN if id(layer) in ends else 1.0)


class EnhancementAttention(nn.Module):
    """Dilated convolutions, two residual blocks, and an attention to channels.

    Parameters
    ----------
    width : int
        Channels.
    reduction : int
        Ratio of the channels to those inside the attention.
    """

    def __init__(self, width: int, reduction: int) -> None:
        super().__init__()
        # Dilated kernels cover far surroundings with as few weights as near ones.
        self.near = nn.Sequential(*_rectified_convolutions(width, dilations=(1, 2)))
        self.far = nn.Sequential(*_rectified_convolutions(width, dilations=(3, 4)))
        self.merge = convolution_3x3(2 * width, width)
        self.residual = nn.Sequential(
            *_rectified_convolutions(width, dilations=(1,)), convolution_3x3(width, width)
        )
        self.enhanced = nn.Sequential(
            *_rectified_convolutions(width, dilations=(1, 1)),
            uninitialized(nn.Conv2d, width, width, kernel_size=1),
        )
        self.attention = ChannelAttention(width, reduction)

    @property
    def branch_ends(self) -> list[nn.Module]:
        """The last layers of the residual branches."""
        return [self.merge, self.residual[-1], self.enhanced[-1]]

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, width, height, width)`` to the same shape."""
        x = x + torch.relu(self.merge(torch.cat([self.near(x), self.far(x)], dim=1)))
        x = torch.relu(x + self.residual(x))
        x = torch.relu(x + self.enhanced(x))
        output: Tensor = self.attention(x)
        return output


class ChannelAttention(nn.Module):
    """Weights of the channels in [0, 1], computed from the means of all channels.

    Parameters
    ----------
    width : int
        Channels.
    reduction : int
        Ratio of the channels to those between the means and the weights.
    """

    def __init__(self, width: int, reduction: int) -> None:
        super().__init__()
        self.weigh = nn.Sequential(
            uninitialized(nn.Conv2d, width, width // reduction, kernel_size=1),
            nn.ReLU(inplace=True),
            uninitialized(nn.Conv2d, width // reduction, width, kernel_size=1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, width, height, width)`` to the same shape."""
        # The mean over all pixels is the reason why no halo makes tiles exact.
        weighted: Tensor = x * self.weigh(x.mean(dim=(2, 3), keepdim=True))
        return weighted


def _channel_means(channels: int) -> Tensor:
    """Return the means of channels of natural images, of shape ``(channels, 1, 1)``."""
    average = sum(COLOUR_MEAN) / len(COLOUR_MEAN)
    means = COLOUR_MEAN if channels == len(COLOUR_MEAN) else [average] * channels
    return torch.tensor(means, dtype=torch.float32).reshape(-1, 1, 1)


def _rectified_convolutions(width: int, dilations: Sequence[int]) -> list[nn.Module]:
    """Return 3 x 3 convolutions with these dilations, each with its rectifier."""
    layers: list[nn.Module] = []
    for dilation in dilations:
        layers += [convolution_3x3(width, width, dilation=dilation), nn.ReLU(inplace=True)]
    return layers


class RIDNetNetwork(ImageNetworkSpec):
    """RIDNet for ``ImageDenoiser(network=...)``: residual blocks with attention.

    Each module combines near and far surroundings by dilated convolutions, refines them in two residual
    blocks, and weights its channels by their mean over the image. The result is added to the noisy image.
    The paper's has no map of the noise level.

    The attention averages over the whole image. Large images are worked on in tiles, which are weighted by
    their own averages: the output only comes near that for the whole image, with a warning.

    Parameters
    ----------
    width : int, default=64
        Channels between the modules.
    blocks : int, default=4
        Enhancement attention modules.
    reduction : int, default=16
        Ratio of the channels to those inside the attention; divides ``width``.

    See Also
    --------
    ImageDenoiser : Trains the network.

    References
    ----------
    S. Anwar and N. Barnes, "Real image denoising with feature attention", ICCV (2019).

    Examples
    --------
    >>> from sk_denoise import ImageDenoiser, RIDNetNetwork
    >>> ImageDenoiser(RIDNetNetwork(width=32)).get_params()["network__blocks"]
    4
    """

    _module: ClassVar[type[nn.Module]] = RIDNet
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = dict.fromkeys(
        ("width", "blocks", "reduction"), AT_LEAST_ONE
    )

    def __init__(self, width: int = 64, *, blocks: int = 4, reduction: int = 16) -> None:
        self.width = width
        self.blocks = blocks
        self.reduction = reduction

    def _check_sizes(self) -> None:
        if self.width % self.reduction:
            raise ValueError(f"reduction must divide width={self.width}, got {self.reduction}.")
