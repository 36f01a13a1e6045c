"""The dilated network of signals: residual blocks at full resolution."""

from __future__ import annotations

from collections.abc import Sequence
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
)
from sk_denoise.networks._spec import AT_LEAST_ONE, SignalNetworkSpec, StrOptions
from sk_denoise.networks.signal_unet import SignalBlock

__all__ = ["DilatedNetwork"]


class DilatedConvolutions(SeededModule):
    """Residual blocks of dilated convolutions, built by :class:`DilatedNetwork`.

    Attributes
    ----------
    receptive_radius : int
        Distance in entries to the farthest entry that an output entry depends on.
    stride : int
        Always 1: signals may have any length.
    """

    stride = 1

    def __init__(
        self, channels: int, *, width: int, dilations: Sequence[int], kernel_size: int, residual: bool
    ) -> None:
        super().__init__()
        self.head = convolution_in_time(channels, width, kernel_size)
        self.blocks = nn.Sequential(*[SignalBlock(width, kernel_size, step) for step in dilations])
        self.tail = convolution_in_time(width, channels, kernel_size)
        self.residual = residual
        self.receptive_radius = measure_receptive_radius(self, channels, self.stride, n_axes=1)
        self.reset_parameters(torch.Generator().manual_seed(0))

    def forward(self, x: Tensor) -> Tensor:
        """Map signals ``(n, channels, length)`` to denoised ones."""
        # Images of height 1: convolutions of images are faster than those of signals, channels last.
        output = self.tail(silu(self.blocks(self.head(x[:, :, None])))).to(x.dtype)[:, :, 0]
        denoised: Tensor = x - output if self.residual else output
        return denoised

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draw Kaiming-uniform weights, smaller for the last layer and the ends of blocks."""
        ends = {block.second for block in self.blocks}
        last = NOISE_GAIN if self.residual else LAST_GAIN
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                gain = last if layer is self.tail else LAST_GAIN if layer in ends else 1.0
                draw_kaiming(layer, generator, gain=gain)


class DilatedNetwork(SignalNetworkSpec):
    """Residual network of dilated convolutions for ``SignalDenoiser(network=...)``.

    All layers work at full resolution. The kernels of a block have gaps of ``dilations`` entries, which widen
    the view without more weights. It takes more operations for each entry than
    :class:`SignalUNetNetwork`, and no length is padded.

    Parameters
    ----------
    width : int, default=32
        Channels of all layers.
    dilations : sequence of int, default=(1, 2, 4, 8, 16, 32, 16, 8, 4, 2, 1)
        Distance of the entries of the first kernel in each block.
    kernel_size : int, default=3
        Entries of a kernel, odd.
    residual : bool or "auto", default="auto"
        Whether the network predicts the noise, as in :class:`SignalUNetNetwork`.

    See Also
    --------
    SignalDenoiser : Trains the network.

    References
    ----------
    D. Rethage, J. Pons and X. Serra, "A Wavenet for speech denoising", ICASSP (2018).

    Examples
    --------
    >>> from sk_denoise import DilatedNetwork
    >>> network = DilatedNetwork(16, dilations=(1, 2, 4)).build(channels=1)
    >>> network.stride, network.receptive_radius
    (1, 12)
    """

    _module: ClassVar[type[nn.Module]] = DilatedConvolutions
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "width": AT_LEAST_ONE,
        "kernel_size": AT_LEAST_ONE,
        "residual": ["boolean", StrOptions({"auto"})],
    }
    _size_parameters: ClassVar[dict[str, int]] = {"dilations": 1}

    def __init__(
        self,
        width: int = 32,
        *,
        dilations: Sequence[int] = (1, 2, 4, 8, 16, 32, 16, 8, 4, 2, 1),
        kernel_size: int = 3,
        residual: bool | Literal["auto"] = "auto",
    ) -> None:
        self.width = width
        self.dilations = dilations
        self.kernel_size = kernel_size
        self.residual = residual
