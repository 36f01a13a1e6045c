"""Base classes and building blocks of the networks: plain torch."""

from __future__ import annotations

import math
from abc import ABCMeta, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

__all__ = [
    "ACTIVATIONS",
    "AlongRows",
    "Autoencoder",
    "Bounded",
    "CONVOLUTIONS",
    "GridToRow",
    "LAST_GAIN",
    "NOISE_GAIN",
    "NearestUpsampling",
    "POOLS",
    "RowToGrid",
    "SeededModule",
    "TRANSPOSED",
    "build_dense_layers",
    "convolution_3x3",
    "convolution_in_time",
    "draw_kaiming",
    "halve_grid",
    "measure_receptive_radius",
    "pad_by_mirroring",
    "uninitialized",
]

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "identity": nn.Identity,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}

# Layers by the number of dimensions of the grid: signals have one, images two
CONVOLUTIONS: dict[int, type[nn.Module]] = {1: nn.Conv1d, 2: nn.Conv2d}
TRANSPOSED: dict[int, type[nn.Module]] = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d}
POOLS: dict[int, type[nn.Module]] = {1: nn.MaxPool1d, 2: nn.MaxPool2d}

Transposed = nn.ConvTranspose1d | nn.ConvTranspose2d
Convolution = nn.Conv1d | nn.Conv2d | Transposed

# Gain of the last layer at the start. The first steps would undo a large random output, and the rectifiers
# that they push below zero never recover: with a tenth MNIST's dense recipe went from 16.2 to 20.0 dB.
LAST_GAIN = 0.1
# Gain of a last layer that predicts the noise: the first prediction must lie far below the noise in the
# image, so that the network starts nearer to the identity than others.
NOISE_GAIN = 0.01
# Width of the bends of the soft clip at black and at white, in which gradients survive
SOFTNESS = 0.05


# Networks -----------------------------------------------------------------------------------------------


class SeededModule(nn.Module, metaclass=ABCMeta):
    """A network that draws its weights from explicit generators alone."""

    # Torch's global state stays as it is, so that fits in threads are reproducible.
    @abstractmethod
    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draw fresh weights."""


class Autoencoder(SeededModule):
    """An encoder and a decoder, made of linear and convolutional layers.

    Attributes
    ----------
    encoder : Module
        Maps a batch of samples to their code.
    decoder : Module
        Maps a batch of codes to samples.
    """

    def __init__(
        self, encoder: Iterable[nn.Module], decoder: Iterable[nn.Module], output_activation: str
    ) -> None:
        super().__init__()
        self.encoder = nn.Sequential(*encoder)
        # The output needs finer steps than bfloat16 has, so the last activation computes in single precision.
        self.decoder = nn.Sequential(*decoder, AtLeastSingle(), ACTIVATIONS[output_activation]())
        self.reset_parameters(torch.Generator().manual_seed(0))

    def forward(self, x: Tensor) -> Tensor:
        """Map a batch ``(batch, *input_shape)`` to its reconstruction of the same shape."""
        reconstruction: Tensor = self.decoder(self.encoder(x))
        return reconstruction

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draw Kaiming-uniform weights, smaller ones for the last layer, and zero biases."""
        layers = [layer for layer in self.modules() if isinstance(layer, nn.Linear | Convolution)]
        for layer in layers:
            draw_kaiming(layer, generator, gain=LAST_GAIN if layer is layers[-1] else 1.0)


class Bounded(nn.Module):
    """A network with outputs softly clipped to [0, 1], for losses that need it.

    Inside the range the output stays the same, up to a twentieth from its ends. Beyond them it approaches
    black or white exponentially, so that the gradient of its logarithm stays bounded; a hard clip has no
    gradient.

    Parameters
    ----------
    network : Module
        Maps a batch of images to images in any range.

    References
    ----------
    The bijector ``SoftClip`` of TensorFlow Probability: J. V. Dillon et al., "TensorFlow Distributions",
    arXiv:1711.10604 (2017).
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        for name in ("receptive_radius", "stride"):
            if hasattr(network, name):
                setattr(self, name, getattr(network, name))

    def forward(self, x: Tensor) -> Tensor:
        """Map a batch of images to images in [0, 1]."""
        output = self.network(x)
        if output.dtype == torch.bfloat16:
            output = output.float()
        # A sigmoid in place of the clip would distort the image that a network which predicts the noise
        # passes on.
        above_black = softplus(output / SOFTNESS)
        above_white = softplus((output - 1) / SOFTNESS)
        bounded: Tensor = SOFTNESS * (above_black - above_white)
        # rounding leads a little beyond the range
        return bounded.clamp(0, 1)


class AlongRows(nn.Module):
    """A network for signals, applied to each row of images.

    Parameters
    ----------
    network : Module
        Maps signals (n, channels, length) to the same shape.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        for name in ("receptive_radius", "stride"):
            if hasattr(network, name):
                setattr(self, name, getattr(network, name))

    def forward(self, x: Tensor) -> Tensor:
        """Map a batch of images (n, channels, height, length) to the same shape."""
        rows = self.network(x.movedim(2, 1).flatten(0, 1))
        images: Tensor = rows.unflatten(0, (len(x), x.shape[2])).movedim(1, 2)
        return images


# Weights ------------------------------------------------------------------------------------------------


def draw_kaiming(layer: nn.Linear | Convolution, generator: torch.Generator, *, gain: float) -> None:
    """Draw Kaiming-uniform weights times a gain and a zero bias (He et al., 2015)."""
    bound = gain * math.sqrt(6 / _fan_in(layer))
    nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def _fan_in(layer: nn.Linear | Convolution) -> float:
    """Return the number of input entries in the sum of one output entry."""
    if isinstance(layer, Transposed):
        # With a stride, an output entry meets only every stride-th entry of the kernel.
        return layer.in_channels * math.prod(layer.kernel_size) / math.prod(layer.stride)
    return float(layer.weight[0].numel())


def uninitialized(kind: type[nn.Module], *sizes: int, **arguments: Any) -> nn.Module:
    """Create a single-precision layer on the CPU without drawing its weights.

    Parameters
    ----------
    kind : type
        Class of the layer.
    *sizes, **arguments
        Arguments of the class.
    """
    # torch.nn.utils.skip_init does the same, but moves weights by a function that imports sympy.
    layer = kind(*sizes, dtype=torch.float32, device="meta", **arguments)
    for name, weight in list(layer.named_parameters(recurse=False)):
        setattr(layer, name, nn.Parameter(torch.empty(weight.shape, dtype=weight.dtype, device="cpu")))
    return layer


# Receptive field ----------------------------------------------------------------------------------------


@torch.no_grad()
def measure_receptive_radius(network: nn.Module, in_channels: int, stride: int, *, n_axes: int = 2) -> int:
    """Return the distance to the farthest pixel that an output pixel depends on.

    The smallest possible image is passed through the network to find the resolution at which each convolution
    works. A kernel of ``k`` positions widens the view by ``(k - 1) / 2`` of them to each side, and a position
    is as many pixels wide as the resolution is coarser than that of the image. Convolutions and poolings
    with their kernel as stride have positions that may begin up to ``stride - 1`` pixels from the output
    pixel.

    Parameters
    ----------
    network : Module
        Its longest path contains all of its two-dimensional convolutions.
    in_channels : int
        Channels of its input.
    stride : int
        Pixels of a position at the coarsest resolution.
    n_axes : {1, 2}, default=2
        Axes of its input: 1 for signals, 2 for images.

    Returns
    -------
    int
        In pixels, rounded up to a multiple of the stride.
    """
    radius = stride - 1

    def widen(layer: Any, inputs: Any, output: Tensor) -> None:
        nonlocal radius
        scale = stride // output.shape[-1]
        radius += (layer.kernel_size[-1] - 1) // 2 * layer.dilation[-1] * scale

    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    hooks = [layer.register_forward_hook(widen) for layer in layers]
    device = next(network.parameters()).device
    training = network.training
    network.eval()(torch.zeros(1, in_channels, *[stride] * n_axes, dtype=torch.float32, device=device))
    network.train(training)
    for hook in hooks:
        hook.remove()
    return -(-radius // stride) * stride


# Layers -------------------------------------------------------------------------------------------------


class AtLeastSingle(nn.Module):
    """Conversion of half precision to single precision, before the last activation."""

    def forward(self, x: Tensor) -> Tensor:
        """Map a batch to itself."""
        return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


class NearestUpsampling(nn.Module):
    """Repetition of every entry along each side, cut to the given size.

    Parameters
    ----------
    grid : tuple of int
        Sides of the output.
    """

    def __init__(self, grid: tuple[int, ...]) -> None:
        super().__init__()
        self.grid = grid

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, channels, *grid / 2)`` to ``(batch, channels, *grid)``."""
        doubled = nn.functional.interpolate(x, scale_factor=2)
        for dim, side in enumerate(self.grid, start=2):
            doubled = doubled.narrow(dim, 0, side)
        return doubled

    def extra_repr(self) -> str:
        return f"grid={self.grid}"


class GridToRow(nn.Module):
    """Conversion of a grid to a row with the channels of a position side by side."""

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, channels, *grid)`` to ``(batch, entries)``."""
        # Networks of convolutions lie channels last in memory, so this order needs no copy.
        return x.movedim(1, -1).flatten(1)


class RowToGrid(nn.Module):
    """Conversion of a row to a grid without a copy, undoing :class:`GridToRow`.

    Parameters
    ----------
    channels : int
        Channels of the grid.
    *grid : int
        Sides of the grid.
    """

    def __init__(self, channels: int, *grid: int) -> None:
        super().__init__()
        self.shape = (*grid, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, entries)`` to ``(batch, channels, *grid)``."""
        grid: Tensor = x.unflatten(1, self.shape)
        return grid.movedim(-1, 1)

    def extra_repr(self) -> str:
        return ", ".join(str(side) for side in self.shape)


def build_dense_layers(widths: Sequence[int], activations: Sequence[str]) -> list[nn.Module]:
    """Return linear layers with their activations, without drawing the weights."""
    layers: list[nn.Module] = []
    for fan_in, fan_out, name in zip(widths[:-1], widths[1:], activations, strict=True):
        layers += [uninitialized(nn.Linear, fan_in, fan_out), ACTIVATIONS[name]()]
    return layers


def convolution_3x3(in_channels: int, out_channels: int, *, dilation: int = 1) -> nn.Module:
    """Return a 3 x 3 convolution that keeps the size, without drawing its weights."""
    return uninitialized(
        nn.Conv2d, in_channels, out_channels, kernel_size=3, padding=dilation, dilation=dilation
    )


def convolution_in_time(
    in_channels: int, out_channels: int, kernel_size: int, *, dilation: int = 1
) -> nn.Module:
    """Return a convolution along signals of height 1, without drawing its weights."""
    return uninitialized(
        nn.Conv2d,
        in_channels,
        out_channels,
        kernel_size=(1, kernel_size),
        padding=(0, kernel_size // 2 * dilation),
        dilation=(1, dilation),
    )


def halve_grid(grid: Sequence[int], times: int) -> list[tuple[int, ...]]:
    """Return the grid and the grids after each halving; odd sides are rounded up."""
    grids = [tuple(grid)]
    for _ in range(times):
        grids.append(tuple(-(-side // 2) for side in grids[-1]))
    return grids


def pad_by_mirroring(x: Tensor, margin: tuple[int, int, int, int]) -> Tensor:
    """Add lower and right margins to images; they are given as for ``pad``."""
    if not any(margin):
        return x
    # A margin as wide as the image cannot be mirrored; then the last row or column is repeated.
    fits = margin[1] < x.shape[3] and margin[3] < x.shape[2]
    return nn.functional.pad(x, margin, mode="reflect" if fits else "replicate")
