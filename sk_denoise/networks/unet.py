"""The U-Net: convolutions at ever coarser resolutions and back, with the way down beside the way up."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from sk_denoise.networks._base import LAST_GAIN, NOISE_GAIN, SeededModule, draw_kaiming, mirrored, undrawn
from sk_denoise.networks._spec import ImageNetworkSpec, StrOptions, check_parameters, sizes_of
from sk_denoise.networks.dncnn import SteadyBatchNorm, UnitConv2d

__all__ = ["UNetNetwork"]


class UNet(SeededModule):
    """A U-Net of any depth that predicts the noise, or the image itself.

    Two 3 x 3 convolutions at each resolution, max-pooling by two on the way down, transposed convolutions on
    the way up, where what was seen at that resolution is laid beside. Unlike the paper's, convolutions keep
    the size.

    Parameters
    ----------
    channels : int
        Channels of the image.
    noise_map : bool, default=False
        Whether a map of the noise level follows the channels of the image.
    widths : sequence of int, default=(32, 64, 128)
        Channels at full resolution, at half of it, and so on; as many resolutions as there are widths.
    normalization : {None, "batch"}, default=None
        What stands between a convolution and its rectifier; ``"batch"`` is what
        :class:`~sk_denoise.networks.dncnn.DnCNN` has.
    residual : bool, default=True
        Whether what comes out is the noise, and is taken off the noisy image. That starts near the
        identity and learns faster; turn it off where a noisy pixel tells nothing of the clean one.

    Attributes
    ----------
    stride : int
        Two to the number of poolings. Images are mirrored at their lower and right edges to a multiple of
        it, and cut again.
    receptive_radius : int
        How far the network looks, in pixels, rounded up to the stride. A tile with such a halo that starts
        at a multiple of the stride is answered as the whole image is, in evaluation mode.

    Notes
    -----
    An output pixel sees ``7 * stride - 5`` pixels to each side at most: two convolutions look two pixels of
    their resolution far, once at the coarsest and twice at the others, which is ``6 * stride - 4``, and a
    pixel sees all of the ``stride`` pixels that are pooled with it.

    References
    ----------
    O. Ronneberger, P. Fischer and T. Brox, "U-Net: convolutional networks for biomedical image
    segmentation", MICCAI (2015).

    Examples
    --------
    >>> network = UNet(3)
    >>> network(torch.zeros(1, 3, 37, 50)).shape
    torch.Size([1, 3, 37, 50])
    >>> network.stride, network.receptive_radius
    (4, 24)
    """

    def __init__(
        self,
        channels: int,
        noise_map: bool = False,
        *,
        widths: Sequence[int] = (32, 64, 128),
        normalization: str | None = None,
        residual: bool = True,
    ) -> None:
        super().__init__()
        _check(channels, widths, normalization)
        sizes = pairwise([channels + noise_map, *widths])
        steps = list(pairwise(widths[::-1]))
        self.down = nn.ModuleList([_pair(*size, normalization) for size in sizes])
        self.widen = nn.ModuleList(
            [undrawn(nn.ConvTranspose2d, deep, wide, kernel_size=2, stride=2) for deep, wide in steps]
        )
        self.up = nn.ModuleList([_pair(2 * wide, wide, normalization) for _, wide in steps])
        self.tail = undrawn(nn.Conv2d, widths[0], channels, kernel_size=1)
        self.channels, self.residual = channels, residual
        self.stride = 2 ** len(steps)
        self.receptive_radius = _multiple(7 * self.stride - 5, self.stride)
        self.reset_parameters(torch.Generator().manual_seed(0))

    def forward(self, x: Tensor) -> Tensor:
        """Take the noise off images, ``(batch, channels [+ 1], height, width)`` to the same without map."""
        height, width = x.shape[2:]
        image = mirrored(x, (0, -width % self.stride, 0, -height % self.stride))
        answer = self._descend_and_return(image).to(x.dtype)
        if self.residual:
            answer = image[:, : self.channels] - answer
        return answer[..., :height, :width]

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draw Kaiming-uniform weights, small ones for the last layer, and forget all statistics."""
        last = NOISE_GAIN if self.residual else LAST_GAIN
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                draw_kaiming(layer, generator, gain=last if layer is self.tail else 1.0)
            elif isinstance(layer, SteadyBatchNorm):
                layer.reset_parameters()

    def _descend_and_return(self, x: Tensor) -> Tensor:
        """Map images whose sides are multiples of the stride to as many."""
        seen = []
        for pair in self.down[:-1]:
            seen.append(pair(x))
            x = max_pool2d(seen[-1], 2)
        x = self.down[-1](x)
        for widen, pair in zip(self.widen, self.up, strict=True):
            x = pair(torch.cat([seen.pop(), widen(x)], dim=1))
        answer: Tensor = self.tail(x)
        return answer


def _check(channels: int, widths: Sequence[int], normalization: str | None) -> None:
    if not widths or min(channels, *widths) < 1:
        raise ValueError(
            "A U-Net needs at least one width, and one channel everywhere, got "
            f"channels={channels} and widths={tuple(widths)}."
        )
    if normalization not in (None, "batch"):
        raise ValueError(f'normalization must be None or "batch", got {normalization!r}.')


def _pair(before: int, after: int, normalization: str | None) -> nn.Sequential:
    """Return two 3 x 3 convolutions, each with its rectifier; the weights are not drawn yet."""
    layers: list[nn.Module] = []
    for size in (before, after):
        if normalization is None:
            layers.append(undrawn(nn.Conv2d, size, after, kernel_size=3, padding=1))
        else:
            layers.append(undrawn(UnitConv2d, size, after, kernel_size=3, padding=1, bias=False))
            layers.append(SteadyBatchNorm(after))
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def _multiple(length: int, step: int) -> int:
    """Return the length, rounded up to a multiple of the step."""
    return -(-length // step) * step


class UNetNetwork(ImageNetworkSpec):
    """Spec of a U-Net, for ``ImageDenoiser(network=...)``.

    Parameters
    ----------
    widths : sequence of int, default=(32, 64, 128)
        Channels at full resolution, at half of it, and so on; as many resolutions as there are widths.
    normalization : {None, "batch"}, default=None
        What stands between a convolution and its rectifier.
    residual : bool, default=True
        Whether the network finds the noise, which is taken off the noisy image, or the clean image.

    See Also
    --------
    ImageDenoiser : Trains the network.

    Examples
    --------
    >>> from sk_denoise import ImageDenoiser, UNetNetwork
    >>> ImageDenoiser(UNetNetwork((16, 32))).get_params()["network__residual"]
    True
    """

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
        check_parameters(self, {"normalization": [StrOptions({"batch"}), None], "residual": ["boolean"]})
        return UNet(
            channels,
            widths=sizes_of(self, "widths", at_least=1),
            normalization=self.normalization,
            residual=self.residual,
            noise_map=noise_map,
        )
