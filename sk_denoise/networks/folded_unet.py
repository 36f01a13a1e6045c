"""The folded U-Net, the default for images: a small U-Net at half the resolution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, pixel_shuffle, pixel_unshuffle

from sk_denoise.networks._base import (
    NOISE_GAIN,
    SeededModule,
    convolution_3x3,
    draw_kaiming,
    measure_receptive_radius,
    pad_by_mirroring,
    uninitialized,
)
from sk_denoise.networks._spec import ImageNetworkSpec

__all__ = ["FoldedUNetNetwork"]

# Gain of the last layer of every residual branch at the start, so that deep stacks begin near the identity
BRANCH_GAIN = 0.1


class FoldedUNet(SeededModule):
    """A U-Net on the pixel-unshuffled image, built by :class:`FoldedUNetNetwork`.

    Attributes
    ----------
    stride : int
        Sides of the image are mirrored to a multiple of this and cut again: 4, or 8 with three levels.
    receptive_radius : int
        Distance in pixels to the farthest pixel that an output pixel depends on, rounded up to the stride.
    widths, blocks : tuple of int
        The parameters.
    """

    def __init__(
        self, channels: int, noise_map: bool, *, widths: Sequence[int], blocks: Sequence[int]
    ) -> None:
        super().__init__()
        wide, deep = widths[:2]
        self.channels, self.widths, self.blocks = channels, tuple(widths), tuple(blocks)
        self.stride = 2 ** len(widths)
        self.head = convolution_3x3(4 * channels + noise_map, wide)
        self.before = nn.Sequential(*[ResidualBlock(wide) for _ in range(blocks[0])])
        self.down = uninitialized(nn.Conv2d, wide, deep, kernel_size=2, stride=2)
        self.inside = nn.Sequential(*[ResidualBlock(deep) for _ in range(blocks[1])])
        self.bottom = None if len(widths) == 2 else _third_level(deep, widths[2], blocks[2])
        self.up = uninitialized(nn.ConvTranspose2d, deep, wide, kernel_size=2, stride=2)
        self.after = nn.Sequential(*[ResidualBlock(wide) for _ in range(blocks[0])])
        self.tail = convolution_3x3(wide, 4 * channels)
        self.receptive_radius = measure_receptive_radius(self, channels + noise_map, self.stride)
        self.reset_parameters(torch.Generator().manual_seed(0))

    def forward(self, x: Tensor) -> Tensor:
        """Map images ``(n, channels [+ 1], height, width)`` to denoised ones, without map."""
        height, width = x.shape[2:]
        x = pad_by_mirroring(x, (0, -width % self.stride, 0, -height % self.stride))
        image, level = x[:, : self.channels], x[:, self.channels :]
        # Each 2 x 2 pixels become channels of one: a quarter of the cost of a layer, and nothing is lost.
        folded = pixel_unshuffle(image, 2)
        # As in FFDNet, the map of the noise level joins at the folded resolution.
        if level.shape[1]:
            folded = torch.cat([folded, avg_pool2d(level, 2)], dim=1)
        first = self.before(self.head(folded))
        restored = self.after(self.up(self._deep_levels(self.down(first))) + first)
        noise = pixel_shuffle(self.tail(restored), 2)
        return (image - noise)[..., :height, :width]

    def _deep_levels(self, x: Tensor) -> Tensor:
        """Compute the second level, with the third one as a residual branch in its middle."""
        for number, block in enumerate(self.inside):
            if self.bottom is not None and number == len(self.inside) // 2:
                x = x + self.bottom(x)
            x = block(x)
        return x

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draw Kaiming-uniform weights, smaller at ends of branches and for the tail."""
        # Stacks of residual blocks without normalisation explode from full weights (Fixup, H. Zhang et al.,
        # 2019).
        gains = {
            id(block.second): BRANCH_GAIN for block in self.modules() if isinstance(block, ResidualBlock)
        }
        gains[id(self.tail)] = NOISE_GAIN
        if self.bottom is not None:
            gains[id(self.bottom[-1])] = BRANCH_GAIN
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                draw_kaiming(layer, generator, gain=gains.get(id(layer), 1.0))


class ResidualBlock(nn.Module):
    """Two convolutions with a shortcut around them.

    Parameters
    ----------
    width : int
        Channels.
    """

    # No normalisation, so that the output for an image does not depend on others in the batch.
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = convolution_3x3(width, width)
        self.second = convolution_3x3(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, width, height, width)`` to the same shape."""
        output: Tensor = x + self.second(torch.relu(self.first(x)))
        return output


def _third_level(channels: int, width: int, n_blocks: int) -> nn.Sequential:
    """Return layers that halve the size, residual blocks, and the layer back."""
    return nn.Sequential(
        uninitialized(nn.Conv2d, channels, width, kernel_size=2, stride=2),
        *[ResidualBlock(width) for _ in range(n_blocks)],
        uninitialized(nn.ConvTranspose2d, width, channels, kernel_size=2, stride=2),
    )


class FoldedUNetNetwork(ImageNetworkSpec):
    """Small residual U-Net on the folded image, for ``ImageDenoiser(network=...)``.

    The default, and the network of the pretrained weights. The image is folded by two (each 2 x 2 pixels
    become channels of one), which quarters the cost of a layer and loses nothing; a map of the noise level
    joins it, as in FFDNet. Residual blocks at half and at a quarter of the resolution follow, and the result
    is subtracted from the noisy image. A third width adds a level at an eighth of the resolution, a residual
    branch beside the middle of the second one. There is no normalisation, so the output for an image does
    not depend on others, and no attention, so tiles with a halo give the same output as the whole image.

    The default has 848,000 weights and takes 109,000 multiplications for each pixel, an eighth of the cost
    at full resolution. The pretrained weights for colour have a third level of 128 channels and one block:
    1,251,000 weights and 118,000 multiplications.

    Parameters
    ----------
    widths : sequence of int, default=(64, 96)
        Channels at half and at a quarter of the resolution, and at an eighth if there is a third one.
    blocks : sequence of int, default=(2, 3)
        Residual blocks on each side at half resolution, at a quarter, and at an eighth if there is a third
        width.

    See Also
    --------
    ImageDenoiser : Trains the network.

    References
    ----------
    K. Zhang, W. Zuo and L. Zhang, "FFDNet: toward a fast and flexible solution for CNN-based image
    denoising", IEEE Transactions on Image Processing 27 (2018); O. Ronneberger et al., "U-Net", MICCAI
    (2015); for starting branches small, H. Zhang et al., "Fixup initialization", ICLR (2019).

    Examples
    --------
    >>> from sk_denoise import FoldedUNetNetwork, ImageDenoiser
    >>> ImageDenoiser(FoldedUNetNetwork((32, 48))).set_params(network__blocks=(1, 1)).network
    FoldedUNetNetwork(blocks=(1, 1), widths=(32, 48))
    >>> network = FoldedUNetNetwork().build(channels=3, noise_map=True)
    >>> network.stride, network.receptive_radius
    (4, 48)
    """

    _module: ClassVar[type[nn.Module]] = FoldedUNet
    _size_parameters: ClassVar[dict[str, int]] = {"widths": 1, "blocks": 1}

    def __init__(self, widths: Sequence[int] = (64, 96), *, blocks: Sequence[int] = (2, 3)) -> None:
        self.widths = widths
        self.blocks = blocks

    def _check_sizes(self) -> None:
        if len(self.widths) not in (2, 3) or len(self.blocks) != len(self.widths):
            raise ValueError(
                "A folded U-Net needs two or three widths and as many numbers of blocks, got "
                f"widths={tuple(self.widths)} and blocks={tuple(self.blocks)}."
            )
