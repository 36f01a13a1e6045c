"""The U-Net: convolutions at coarser and coarser resolutions, and back."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from sk_denoise.networks._base import (
    LAST_GAIN,
    NOISE_GAIN,
    SeededModule,
    convolution_3x3,
    draw_kaiming,
    measure_receptive_radius,
    pad_by_mirroring,
    uninitialized,
)
from sk_denoise.networks._spec import ImageNetworkSpec, StrOptions
from sk_denoise.networks.dncnn import SteadyBatchNorm, UnitConv2d

__all__ = ["UNetNetwork"]


class UNet(SeededModule):
    """A U-Net of any depth, built by :class:`UNetNetwork`.

    Attributes
    ----------
    stride : int
        Two to the number of poolings. Images are mirrored at their lower and right edges to a multiple of
        it, and cut again.
    receptive_radius : int
        Distance in pixels to the farthest pixel that an output pixel depends on, rounded up to the stride.
        In evaluation mode, a tile with a halo of this width that starts at a multiple of the stride gives
        the same output as the whole image.
    """

    def __init__(
        self,
        channels: int,
        noise_map: bool,
        *,
        widths: Sequence[int],
        normalization: str | None,
        residual: bool,
    ) -> None:
        super().__init__()
        sizes = pairwise([channels + noise_map, *widths])
        steps = list(pairwise(widths[::-1]))
        self.down = nn.ModuleList([_two_convolutions(*size, normalization) for size in sizes])
        self.widen = nn.ModuleList(
            [uninitialized(nn.ConvTranspose2d, deep, wide, kernel_size=2, stride=2) for deep, wide in steps]
        )
        self.up = nn.ModuleList([_two_convolutions(2 * wide, wide, normalization) for _, wide in steps])
        self.tail = uninitialized(nn.Conv2d, widths[0], channels, kernel_size=1)
        self.channels, self.residual = channels, residual
        self.stride = 2 ** len(steps)
        self.receptive_radius = measure_receptive_radius(self, channels + noise_map, self.stride)
        self.reset_parameters(torch.Generator().manual_seed(0))

    def forward(self, x: Tensor) -> Tensor:
        """Map images ``(n, channels [+ 1], height, width)`` to denoised ones, without map."""
        height, width = x.shape[2:]
        image = pad_by_mirroring(x, (0, -width % self.stride, 0, -height % self.stride))
        # Under autocast the layers return bfloat16; the image keeps its type.
        output = self._descend_and_return(image).to(x.dtype)
        if self.residual:
            output = image[:, : self.channels] - output
        return output[..., :height, :width]

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draw Kaiming-uniform weights, smaller for the last layer; reset the statistics."""
        # The noise to predict is far weaker than an image.
        last = NOISE_GAIN if self.residual else LAST_GAIN
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                draw_kaiming(layer, generator, gain=last if layer is self.tail else 1.0)
            elif isinstance(layer, SteadyBatchNorm):
                layer.reset_parameters()

    def _descend_and_return(self, x: Tensor) -> Tensor:
        """Map images of sides that the stride divides to the output of the tail."""
        # The convolutions pad with zeros, so the skipped features have the size of those that come back.
        skipped = []
        for pair in self.down[:-1]:
            skipped.append(pair(x))
            x = max_pool2d(skipped[-1], 2)
        x = self.down[-1](x)
        for widen, pair in zip(self.widen, self.up, strict=True):
            x = pair(torch.cat([skipped.pop(), widen(x)], dim=1))
        output: Tensor = self.tail(x)
        return output


def _two_convolutions(in_channels: int, width: int, normalization: str | None) -> nn.Sequential:
    """Return two 3 x 3 convolutions, each with its rectifier."""
    layers: list[nn.Module] = []
    for size in (in_channels, width):
        if normalization is None:
            layers.append(convolution_3x3(size, width))
        else:
            # The normalisation would subtract a bias again.
            layers.append(uninitialized(UnitConv2d, size, width, kernel_size=3, padding=1, bias=False))
            layers.append(SteadyBatchNorm(width))
        # No gradient needs the values before the rectifier, so it may overwrite them.
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


class UNetNetwork(ImageNetworkSpec):
    """U-Net of any depth for ``ImageDenoiser(network=...)``.

    Two 3 x 3 convolutions at each resolution, max-pooling by two on the way down, and transposed
    convolutions on the way up, which are concatenated with the output of the same resolution on the way
    down. Unlike those of the paper, convolutions keep the size.

    Parameters
    ----------
    widths : sequence of int, default=(32, 64, 128)
        Channels at full resolution, at half of it, and so on; as many resolutions as there are widths.
    normalization : {None, "batch"}, default=None
        Layer between a convolution and its rectifier; "batch" is the batch normalisation of
        :class:`DnCNNNetwork`.
    residual : bool, default=True
        Whether the network predicts the noise, which is subtracted from the noisy image, or the clean image.
        Predicting the noise starts near the identity and learns faster. Turn it off for noise that
        replaces pixels, which then carry no information about the clean ones.

    See Also
    --------
    ImageDenoiser : Trains the network.

    References
    ----------
    O. Ronneberger, P. Fischer and T. Brox, "U-Net: convolutional networks for biomedical image
    segmentation", MICCAI (2015).

    Examples
    --------
    >>> from sk_denoise import ImageDenoiser, UNetNetwork
    >>> ImageDenoiser(UNetNetwork((16, 32))).get_params()["network__residual"]
    True
    >>> network = UNetNetwork().build(channels=3, noise_map=False)
    >>> network.stride, network.receptive_radius
    (4, 24)
    """

    _module: ClassVar[type[nn.Module]] = UNet
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "normalization": [StrOptions({"batch"}), None],
        "residual": ["boolean"],
    }
    _size_parameters: ClassVar[dict[str, int]] = {"widths": 1}

    def __init__(
        self,
        widths: Sequence[int] = (32, 64, 128),
        *,
        normalization: Literal["batch"] | None = None,
        residual: bool = True,
    ) -> None:
        self.widths = widths
        self.normalization = normalization
        self.residual = residual
