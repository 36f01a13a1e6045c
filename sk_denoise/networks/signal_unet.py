"""The U-Net of signals: convolutions along time at several resolutions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from sk_denoise.networks._base import (
    LAST_GAIN,
    NOISE_GAIN,
    SeededModule,
    convolution_in_time,
    draw_kaiming,
    measure_receptive_radius,
    pad_by_mirroring,
    uninitialized,
)
from sk_denoise.networks._spec import AT_LEAST_ONE, SignalNetworkSpec, StrOptions

__all__ = ["SignalUNetNetwork"]


class SignalUNet(SeededModule):
    """A U-Net along time, built by :class:`SignalUNetNetwork`.

    Attributes
    ----------
    stride : int
        Two to the number of halvings. Signals are mirrored at their end to a multiple of it, and cut again.
    receptive_radius : int
        Distance in entries to the farthest entry that an output entry depends on, rounded up to the stride.
    """

    def __init__(
        self, channels: int, *, widths: Sequence[int], blocks: int, kernel_size: int, residual: bool
    ) -> None:
        super().__init__()
        steps = list(pairwise(widths))

        def stage(width: int) -> nn.Sequential:
            return nn.Sequential(*[SignalBlock(width, kernel_size) for _ in range(blocks)])

        self.head = convolution_in_time(channels, widths[0], kernel_size)
        self.down = nn.ModuleList([stage(fine) for fine, _ in steps])
        self.narrow = nn.ModuleList(
            [uninitialized(nn.Conv2d, *step, kernel_size=(1, 2), stride=(1, 2)) for step in steps]
        )
        self.middle = stage(widths[-1])
        self.widen = nn.ModuleList(
            [
                uninitialized(nn.ConvTranspose2d, *step[::-1], kernel_size=(1, 2), stride=(1, 2))
                for step in steps
            ]
        )
        self.up = nn.ModuleList([stage(fine) for fine, _ in steps])
        self.tail = convolution_in_time(widths[0], channels, kernel_size)
        self.residual = residual
        self.stride = 2 ** len(steps)
        self.receptive_radius = measure_receptive_radius(self, channels, self.stride, n_axes=1)
        self.reset_parameters(torch.Generator().manual_seed(0))

    def forward(self, x: Tensor) -> Tensor:
        """Map signals ``(n, channels, length)`` to denoised ones."""
        length = x.shape[2]
        # Images of height 1: convolutions of images are faster than those of signals, channels last.
        signal = pad_by_mirroring(x[:, :, None], (0, -length % self.stride, 0, 0))
        # Under autocast the layers return bfloat16; the signal keeps its type.
        output = self._descend_and_return(signal).to(x.dtype)
        if self.residual:
            output = signal - output
        return output[:, :, 0, :length]

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draw Kaiming-uniform weights, smaller for the last layer and the ends of blocks."""
        ends = {block.second for block in self.modules() if isinstance(block, SignalBlock)}
        last = NOISE_GAIN if self.residual else LAST_GAIN
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                gain = last if layer is self.tail else LAST_GAIN if layer in ends else 1.0
                draw_kaiming(layer, generator, gain=gain)

    def _descend_and_return(self, x: Tensor) -> Tensor:
        """Map signals of a length that the stride divides to the output of the tail."""
        x, skipped = self.head(x), []
        for stage, narrow in zip(self.down, self.narrow, strict=True):
            skipped.append(stage(x))
            x = narrow(skipped[-1])
        x = self.middle(x)
        for widen, stage in zip(reversed(self.widen), reversed(self.up), strict=True):
            x = stage(widen(x) + skipped.pop())
        output: Tensor = self.tail(silu(x))
        return output


class SignalBlock(nn.Module):
    """Two convolutions along time, the output of which is added to their input.

    Parameters
    ----------
    width : int
        Channels.
    kernel_size : int
        Entries of a kernel.
    dilation : int, default=1
        Distance of the entries of the first kernel.
    """

    def __init__(self, width: int, kernel_size: int, dilation: int = 1) -> None:
        super().__init__()
        self.first = convolution_in_time(width, width, kernel_size, dilation=dilation)
        self.second = convolution_in_time(width, width, kernel_size)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, width, 1, length)`` to the same shape."""
        # The sum passes by the rectifiers, so that signals of any sign keep their way through all blocks.
        output: Tensor = x + self.second(silu(self.first(silu(x))))
        return output


class SignalUNetNetwork(SignalNetworkSpec):
    """U-Net along time for ``SignalDenoiser(network=...)``.

    Residual blocks at each resolution; convolutions of two entries halve the resolution on the way down, and
    transposed ones double it on the way up, where the features of the way down are added. Wide kernels at
    coarse resolutions see slow waves and whole beats; those at full resolution keep edges.

    Parameters
    ----------
    widths : sequence of int, default=(16, 24, 32, 48, 64)
        Channels at full resolution, at half of it, and so on; as many resolutions as there are widths.
    blocks : int, default=1
        Residual blocks of two convolutions at each resolution, on the way down and on the way up.
    kernel_size : int, default=5
        Entries of a kernel, odd.
    residual : bool or "auto", default="auto"
        Whether the network predicts the noise, which is subtracted from the noisy signal, or the clean
        signal. "auto" predicts the noise unless its power is more than four times that of the clean signal,
        as that of a baseline below small peaks. Turn it off for noise that replaces entries, which then carry
        no information about clean ones.

    See Also
    --------
    SignalDenoiser : Trains the network.
    DilatedNetwork : Keeps the full resolution throughout.

    References
    ----------
    O. Ronneberger, P. Fischer and T. Brox, "U-Net: convolutional networks for biomedical image
    segmentation", MICCAI (2015); D. Stoller, S. Ewert and S. Dixon, "Wave-U-Net: a multi-scale neural network
    for end-to-end audio source separation", ISMIR (2018).

    Examples
    --------
    >>> from sk_denoise import SignalDenoiser, SignalUNetNetwork
    >>> SignalDenoiser(SignalUNetNetwork((16, 32))).get_params()["network__residual"]
    'auto'
    >>> network = SignalUNetNetwork((16, 32, 64)).build(channels=2)
    >>> network.stride, network.receptive_radius
    (4, 48)
    """

    _module: ClassVar[type[nn.Module]] = SignalUNet
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "blocks": AT_LEAST_ONE,
        "kernel_size": AT_LEAST_ONE,
        "residual": ["boolean", StrOptions({"auto"})],
    }
    _size_parameters: ClassVar[dict[str, int]] = {"widths": 1}

    def __init__(
        self,
        widths: Sequence[int] = (16, 24, 32, 48, 64),
        *,
        blocks: int = 1,
        kernel_size: int = 5,
        residual: bool | Literal["auto"] = "auto",
    ) -> None:
        self.widths = widths
        self.blocks = blocks
        self.kernel_size = kernel_size
        self.residual = residual
