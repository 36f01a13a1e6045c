"""Our default for photos: a small residual U-Net on the folded image."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, pixel_shuffle, pixel_unshuffle

from sk_denoise.networks._base import NOISE_GAIN, SeededModule, draw_kaiming, mirrored, undrawn
from sk_denoise.networks._spec import ImageNetworkSpec, sizes_of

__all__ = ["FoldedUNetNetwork"]

BRANCH_GAIN = 0.1  # of the last layer of every residual branch at the start: deep stacks begin near identity


class FoldedUNet(SeededModule):
    """A residual U-Net on the pixel-unshuffled image, which may be told how strong the noise is.

    The image is folded by two (each 2 x 2 pixels become channels of one), which quarters the cost of a
    layer and loses nothing; a map of the noise level joins it, as in FFDNet. Two residual blocks at that
    size, three at half of it, two on the way back with the first ones added, and what comes out is taken off
    the noisy image. There is no normalisation, so the answer to an image does not depend on others, and
    no attention, so tiles with a halo give what the whole image gives. A third width adds a level at an
    eighth of the resolution: a residual branch beside the middle of the second one.

    Parameters
    ----------
    channels : int
        Channels of the image.
    noise_map : bool, default=False
        Whether a map of the noise level follows the channels of the image: its standard deviation at each
        pixel, in the unit of the image.
    widths : sequence of int, default=(64, 96)
        Channels at half and at a quarter of the resolution, and at an eighth where there is a third one.
    blocks : sequence of int, default=(2, 3)
        Residual blocks on each side at half resolution, at a quarter, and at an eighth where there is a third
        width.

    Attributes
    ----------
    stride : int
        Sides of the image are mirrored to a multiple of this: 4, or 8 with three levels.
    receptive_radius : int
        How far an output pixel sees, in pixels, rounded up to a multiple of the stride.

    Notes
    -----
    Sides need not be even: the image is mirrored at its lower and right edges to a multiple of
    :attr:`stride`, and cut again.

    References
    ----------
    K. Zhang, W. Zuo and L. Zhang, "FFDNet: toward a fast and flexible solution for CNN-based image
    denoising", IEEE Transactions on Image Processing 27 (2018); O. Ronneberger et al., "U-Net", MICCAI
    (2015); for starting branches small, H. Zhang et al., "Fixup initialization", ICLR (2019).
    """

    def __init__(
        self,
        channels: int,
        noise_map: bool = False,
        *,
        widths: Sequence[int] = (64, 96),
        blocks: Sequence[int] = (2, 3),
    ) -> None:
        super().__init__()
        _check(channels, widths, blocks)
        wide, deep = widths[:2]
        self.channels, self.widths, self.blocks = channels, tuple(widths), tuple(blocks)
        self.stride = 2 ** len(widths)
        self._widths = 4 * channels + noise_map, *widths
        self.head = convolution(4 * channels + noise_map, wide)
        self.before = nn.Sequential(*[ResidualBlock(wide) for _ in range(blocks[0])])
        self.down = undrawn(nn.Conv2d, wide, deep, kernel_size=2, stride=2)
        self.inside = nn.Sequential(*[ResidualBlock(deep) for _ in range(blocks[1])])
        self.bottom = None if len(widths) == 2 else _bottom(deep, widths[2], blocks[2])
        self.up = undrawn(nn.ConvTranspose2d, deep, wide, kernel_size=2, stride=2)
        self.after = nn.Sequential(*[ResidualBlock(wide) for _ in range(blocks[0])])
        self.tail = convolution(wide, 4 * channels)
        # every convolution sees one position farther, and the grid of the deepest level need not fit a pixel
        seen = 2 * (4 * blocks[0] + 2) + sum(2 * n * 2**k for k, n in enumerate(blocks[1:], start=2))
        self.receptive_radius = -(-(seen + self.stride - 1) // self.stride) * self.stride
        self.reset_parameters(torch.Generator().manual_seed(0))

    def forward(self, x: Tensor) -> Tensor:
        """Take the noise off images, ``(batch, channels [+ 1], height, width)`` to the same without map."""
        height, width = x.shape[2:]
        x = mirrored(x, (0, -width % self.stride, 0, -height % self.stride))
        image, level = x[:, : self.channels], x[:, self.channels :]
        folded = pixel_unshuffle(image, 2)
        if level.shape[1]:
            folded = torch.cat([folded, avg_pool2d(level, 2)], dim=1)
        first = self.before(self.head(folded))
        restored = self.after(self.up(self._middle(self.down(first))) + first)
        noise = pixel_shuffle(self.tail(restored), 2)
        return (image - noise)[..., :height, :width]

    def _middle(self, x: Tensor) -> Tensor:
        """Compute the second level, and the third one beside what follows its first blocks."""
        for number, block in enumerate(self.inside):
            if self.bottom is not None and number == len(self.inside) // 2:
                x = x + self.bottom(x)
            x = block(x)
        return x

    def _flops_and_widest(self, input_shape: tuple[int, ...]) -> tuple[int, int]:
        """Return the floating-point operations of an image, and the most entries of any layer."""
        height, width = (-(-side // self.stride) * self.stride for side in input_shape[1:])
        positions = [height * width // 4**level for level in range(len(self._widths))]
        bottom = _n_kernel_entries(self.bottom) if self.bottom is not None else 0
        deep = sum(_n_kernel_entries(part) for part in (self.down, self.inside, self.up))
        wide = _n_kernel_entries(self) - deep - bottom
        entries = [max(self._widths[:2]) * positions[1]]
        entries += [n * width for n, width in zip(positions[2:], self._widths[2:], strict=True)]
        multiplications = wide * positions[1] + deep * positions[2]
        multiplications += bottom * positions[3] if bottom else 0
        return 2 * multiplications, max(math.prod(input_shape), *entries)

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draw Kaiming-uniform weights; what ends a residual branch starts small, the tail smaller still."""
        gains = {
            id(block.second): BRANCH_GAIN for block in self.modules() if isinstance(block, ResidualBlock)
        }
        gains[id(self.tail)] = NOISE_GAIN
        if self.bottom is not None:
            gains[id(self.bottom[-1])] = BRANCH_GAIN
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                draw_kaiming(layer, generator, gain=gains.get(id(layer), 1.0))


def _n_kernel_entries(part: nn.Module) -> int:
    return sum(weight.numel() for weight in part.parameters() if weight.ndim == 4)


def _check(channels: int, widths: Sequence[int], blocks: Sequence[int]) -> None:
    if len(widths) not in (2, 3) or len(blocks) != len(widths) or min(channels, *widths, *blocks) < 1:
        raise ValueError(
            "A folded U-Net needs two or three widths, as many numbers of blocks, and at least one of "
            f"everything, got channels={channels}, widths={tuple(widths)} and blocks={tuple(blocks)}."
        )


def _bottom(before: int, width: int, n_blocks: int) -> nn.Sequential:
    """Return the third level: half the size, residual blocks there, and the way back."""
    return nn.Sequential(
        undrawn(nn.Conv2d, before, width, kernel_size=2, stride=2),
        *[ResidualBlock(width) for _ in range(n_blocks)],
        undrawn(nn.ConvTranspose2d, width, before, kernel_size=2, stride=2),
    )


class ResidualBlock(nn.Module):
    """Two convolutions whose result is added to what came in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = convolution(width, width)
        self.second = convolution(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, width, height, width)`` to the same."""
        answer: Tensor = x + self.second(torch.relu(self.first(x)))
        return answer


def convolution(before: int, after: int) -> nn.Module:
    """Return a 3 x 3 convolution that keeps the size; its weights are not drawn yet."""
    return undrawn(nn.Conv2d, before, after, kernel_size=3, padding=1)


class FoldedUNetNetwork(ImageNetworkSpec):
    """Spec of a small residual U-Net on the folded image, for ``ImageDenoiser(network=...)``.

    The default, and the network whose weights are in the box: 848,000 weights and 109,000 multiplications
    for each pixel, an eighth of what full resolution would take. The pretrained weights for colour have a
    third level, of 128 channels and one block: 1,251,000 weights and 118,000 multiplications.

    Parameters
    ----------
    widths : sequence of int, default=(64, 96)
        Channels at half and at a quarter of the resolution, and at an eighth where there is a third one.
    blocks : sequence of int, default=(2, 3)
        Residual blocks on each side at half resolution, at a quarter, and at an eighth where there is a third
        width.

    See Also
    --------
    ImageDenoiser : Trains the network.

    Examples
    --------
    >>> from sk_denoise import FoldedUNetNetwork, ImageDenoiser
    >>> ImageDenoiser(FoldedUNetNetwork((32, 48))).set_params(network__blocks=(1, 1)).network
    FoldedUNetNetwork(blocks=(1, 1), widths=(32, 48))
    """

    def __init__(self, widths: Sequence[int] = (64, 96), *, blocks: Sequence[int] = (2, 3)) -> None:
        self.widths = widths
        self.blocks = blocks

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
        widths, blocks = sizes_of(self, "widths", at_least=1), sizes_of(self, "blocks", at_least=1)
        return FoldedUNet(channels, widths=widths, blocks=blocks, noise_map=noise_map)
