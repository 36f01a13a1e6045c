"""RIDNet: residual blocks at full resolution whose channels are weighed by what is in the whole image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sk_denoise.networks._base import LAST_GAIN, SeededModule, draw_kaiming, undrawn
from sk_denoise.networks._spec import ONE_OR_MORE, ImageNetworkSpec, check_parameters

__all__ = ["RIDNetNetwork"]

COLOUR_MEAN = (0.4488, 0.4371, 0.4040)  # of the images of DIV2K in [0, 1]


class RIDNet(SeededModule):
    """Enhancement attention modules one after the other; what comes out is added to the noisy image.

    Each module looks near and far with dilated convolutions, refines what it saw in two residual blocks,
    and weighs its channels by their mean over the image.

    Parameters
    ----------
    channels : int
        Channels of the image.
    noise_map : bool, default=False
        Whether a map of the noise level follows the channels of the image; the paper has none.
    width : int, default=64
        Channels between the modules.
    blocks : int, default=4
        Enhancement attention modules.
    reduction : int, default=16
        How many times fewer channels the attention has inside; it divides ``width``.
    mean : sequence of float, optional
        Taken off each channel before the first layer, in the unit of the images. The default is for
        images in [0, 1]: that of natural colour images for three channels, and its average for any
        other number.

    Notes
    -----
    For colour this has the paper's 1,499,347 weights. That counts all biases, but not the mean: the authors'
    code takes it off and adds it again with two 1 x 1 convolutions of 12 fixed weights each, and here it is a
    constant. Their code adds it to the residual, although the noisy image that is added last still has
    its own, so that the last bias has to learn to undo it; here it stays out. Add the mean to ``tail.bias``
    where weights of theirs are loaded.

    :attr:`receptive_radius` is None, because the attention averages over the whole image: tiles, with a halo
    of any size, are weighted by their own average, and their outputs only come near those of the whole image.

    References
    ----------
    S. Anwar and N. Barnes, "Real image denoising with feature attention", ICCV (2019).

    Examples
    --------
    >>> network = RIDNet(3, width=16)
    >>> network(torch.zeros(1, 3, 37, 50)).shape
    torch.Size([1, 3, 37, 50])
    """

    stride = 1
    """Sides of the image are mirrored to a multiple of this: never."""

    receptive_radius: int | None = None
    """How far the network looks: over the whole image, so that no halo makes tiles exact."""

    mean: Tensor

    def __init__(
        self,
        channels: int,
        noise_map: bool = False,
        *,
        width: int = 64,
        blocks: int = 4,
        reduction: int = 16,
        mean: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        _check(channels, width, blocks, reduction)
        self.channels = channels
        self.register_buffer("mean", _mean_of(channels, mean), persistent=False)
        self.head = nn.Sequential(_convolution(channels + noise_map, width), nn.ReLU(inplace=True))
        self.body = nn.Sequential(*[EnhancementAttention(width, reduction) for _ in range(blocks)])
        self.tail = _convolution(width, channels)
        self.reset_parameters(torch.Generator().manual_seed(0))

    def forward(self, x: Tensor) -> Tensor:
        """Take the noise off images, ``(batch, channels [+ 1], height, width)`` to the same without map."""
        image, level = x[:, : self.channels], x[:, self.channels :]
        seen = torch.cat([image - self.mean, level], dim=1) if level.shape[1] else image - self.mean
        correction: Tensor = self.tail(self.body(self.head(seen)))
        return image + correction

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draw Kaiming-uniform weights; what ends a residual branch starts at a tenth, the tail too."""
        blocks = [block for block in self.modules() if isinstance(block, EnhancementAttention)]
        ends = {id(self.tail), *(id(layer) for block in blocks for layer in block.ends)}
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                draw_kaiming(layer, generator, gain=LAST_GAIN if id(layer) in ends else 1.0)


class EnhancementAttention(nn.Module):
    """Dilated convolutions in two branches, two residual blocks, and an attention to channels.

    Parameters
    ----------
    width : int
        Channels.
    reduction : int
        How many times fewer the attention has inside.
    """

    def __init__(self, width: int, reduction: int) -> None:
        super().__init__()
        self.near = nn.Sequential(*_rectified(width, dilations=(1, 2)))
        self.far = nn.Sequential(*_rectified(width, dilations=(3, 4)))
        self.merge = _convolution(2 * width, width)
        self.residual = nn.Sequential(*_rectified(width, dilations=(1,)), _convolution(width, width))
        self.enhanced = nn.Sequential(
            *_rectified(width, dilations=(1, 1)), undrawn(nn.Conv2d, width, width, kernel_size=1)
        )
        self.attention = ChannelAttention(width, reduction)

    @property
    def ends(self) -> list[nn.Module]:
        """The layers that end the residual branches."""
        return [self.merge, self.residual[-1], self.enhanced[-1]]

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, width, height, width)`` to the same."""
        x = x + torch.relu(self.merge(torch.cat([self.near(x), self.far(x)], dim=1)))
        x = torch.relu(x + self.residual(x))
        x = torch.relu(x + self.enhanced(x))
        answer: Tensor = self.attention(x)
        return answer


class ChannelAttention(nn.Module):
    """Multiply every channel by a weight between zero and one, which the means of all channels decide.

    Parameters
    ----------
    width : int
        Channels.
    reduction : int
        How many times fewer there are between the means and the weights.
    """

    def __init__(self, width: int, reduction: int) -> None:
        super().__init__()
        self.weigh = nn.Sequential(
            undrawn(nn.Conv2d, width, width // reduction, kernel_size=1),
            nn.ReLU(inplace=True),
            undrawn(nn.Conv2d, width // reduction, width, kernel_size=1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, width, height, width)`` to the same."""
        weighed: Tensor = x * self.weigh(x.mean(dim=(2, 3), keepdim=True))
        return weighed


def _check(channels: int, width: int, blocks: int, reduction: int) -> None:
    if min(channels, width, blocks, reduction) < 1:
        raise ValueError(
            "RIDNet needs at least one of everything, got "
            f"channels={channels}, width={width}, blocks={blocks} and reduction={reduction}."
        )
    if width % reduction:
        raise ValueError(f"reduction must divide width={width}, got {reduction}.")


def _mean_of(channels: int, mean: Sequence[float] | None) -> Tensor:
    """Return the means of the channels, of shape ``(channels, 1, 1)``."""
    if mean is None:
        average = sum(COLOUR_MEAN) / len(COLOUR_MEAN)
        mean = COLOUR_MEAN if channels == len(COLOUR_MEAN) else [average] * channels
    if len(mean) != channels:
        raise ValueError(f"mean takes one number for each of {channels} channels, got {len(mean)}.")
    return torch.tensor(mean, dtype=torch.float32).reshape(-1, 1, 1)


def _rectified(width: int, dilations: Sequence[int]) -> list[nn.Module]:
    """Return 3 x 3 convolutions with these dilations, each with its rectifier."""
    layers: list[nn.Module] = []
    for dilation in dilations:
        layers += [_convolution(width, width, dilation), nn.ReLU(inplace=True)]
    return layers


def _convolution(before: int, after: int, dilation: int = 1) -> nn.Module:
    """Return a 3 x 3 convolution that keeps the size; its weights are not drawn yet."""
    return undrawn(nn.Conv2d, before, after, kernel_size=3, padding=dilation, dilation=dilation)


class RIDNetNetwork(ImageNetworkSpec):
    """Spec of RIDNet, for ``ImageDenoiser(network=...)``.

    Its attention averages over the whole image. Large images are worked on in tiles, which are weighed by
    their own averages: answers near those to the whole image, and a warning.

    Parameters
    ----------
    width : int, default=64
        Channels between the modules.
    blocks : int, default=4
        Enhancement attention modules.
    reduction : int, default=16
        How many times fewer channels the attention has inside; it divides ``width``.

    See Also
    --------
    ImageDenoiser : Trains the network.

    Examples
    --------
    >>> from sk_denoise import ImageDenoiser, RIDNetNetwork
    >>> ImageDenoiser(RIDNetNetwork(width=32)).get_params()["network__blocks"]
    4
    """

    def __init__(self, width: int = 64, *, blocks: int = 4, reduction: int = 16) -> None:
        self.width = width
        self.blocks = blocks
        self.reduction = reduction

    def build(self, channels: int, noise_map: bool) -> nn.Module:
        """Return the network; an estimator draws its weights again.

        Parameters
        ----------
        channels : int
            Channels of the images.
        noise_map : bool
            Whether a map of the noise level follows them.

        Returns
        -------
        torch.nn.Module
        """
        check_parameters(self, dict.fromkeys(("width", "blocks", "reduction"), ONE_OR_MORE))
        return RIDNet(
            channels, width=self.width, blocks=self.blocks, reduction=self.reduction, noise_map=noise_map
        )
