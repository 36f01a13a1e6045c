"""What our networks promise beyond torch's own modules, and what they are made of."""

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
    "Autoencoder",
    "Bounded",
    "CONVOLUTIONS",
    "Doubling",
    "GridToRow",
    "LAST_GAIN",
    "NOISE_GAIN",
    "POOLS",
    "RowToGrid",
    "SeededModule",
    "TRANSPOSED",
    "check_grid",
    "dense_layers",
    "draw_kaiming",
    "halved",
    "mirrored",
    "undrawn",
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


Transposed = nn.ConvTranspose1d | nn.ConvTranspose2d
Convolution = nn.Conv1d | nn.Conv2d | Transposed
LAST_GAIN = 0.1  # of a last layer at the start
NOISE_GAIN = 0.01  # of one that finds the noise: at first that is to be far below the noise there is


class SeededModule(nn.Module, metaclass=ABCMeta):
    """A network that draws from explicit generators alone, and never from torch's global state."""

    @abstractmethod
    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draw fresh weights."""


class AtLeastSingle(nn.Module):
    """Bring what layers before computed in half precision back to single, for an answer without steps."""

    def forward(self, x: Tensor) -> Tensor:
        """Map a batch to itself."""
        return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


class Autoencoder(SeededModule):
    """An encoder and a decoder, made of linear and convolutional layers.

    Attributes
    ----------
    encoder : Module
        From a batch of samples to their code.
    decoder : Module
        From there back to a batch of samples.
    """

    def __init__(
        self, encoder: Iterable[nn.Module], decoder: Iterable[nn.Module], output_activation: str
    ) -> None:
        super().__init__()
        self.encoder = nn.Sequential(*encoder)
        self.decoder = nn.Sequential(*decoder, AtLeastSingle(), ACTIVATIONS[output_activation]())
        self.reset_parameters(torch.Generator().manual_seed(0))  # leaves torch's global state alone

    def forward(self, x: Tensor) -> Tensor:
        """Map a batch to its reconstruction, ``(batch, *input_shape)`` to the same."""
        reconstruction: Tensor = self.decoder(self.encoder(x))
        return reconstruction

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draw Kaiming-uniform weights and set the biases to zero (He et al., 2015).

        The last layer starts at a tenth of that. Otherwise the first steps undo a large random output, and
        the rectifiers that they push below zero never come back.
        """
        layers = [layer for layer in self.modules() if isinstance(layer, nn.Linear | Convolution)]
        for layer in layers:
            draw_kaiming(layer, generator, gain=LAST_GAIN if layer is layers[-1] else 1.0)


def draw_kaiming(layer: nn.Linear | Convolution, generator: torch.Generator, *, gain: float) -> None:
    """Draw Kaiming-uniform weights times a gain, and set the bias to zero (He et al., 2015)."""
    bound = gain * math.sqrt(6 / _fan_in(layer))
    nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def _fan_in(layer: nn.Linear | Convolution) -> float:
    """Return the number of entries that one entry of the output is a sum over."""
    if isinstance(layer, Transposed):
        # the kernel is shared among as many entries as the stride sets apart
        return layer.in_channels * math.prod(layer.kernel_size) / math.prod(layer.stride)
    return float(layer.weight[0].numel())


def undrawn(kind: type[nn.Module], *sizes: int, **arguments: Any) -> nn.Module:
    """Return a single-precision layer whose weights are not drawn yet.

    As ``torch.nn.utils.skip_init`` does it, but for a way from one device to the other that torch imports
    sympy for.
    """
    layer = kind(*sizes, dtype=torch.float32, device="meta", **arguments)
    for name, weight in list(layer.named_parameters(recurse=False)):
        setattr(layer, name, nn.Parameter(torch.empty(weight.shape, dtype=weight.dtype, device="cpu")))
    return layer


def dense_layers(widths: Sequence[int], activations: Sequence[str]) -> list[nn.Module]:
    """Return alternating linear maps and activations; the weights are not drawn yet."""
    layers: list[nn.Module] = []
    for fan_in, fan_out, name in zip(widths[:-1], widths[1:], activations, strict=True):
        layers += [undrawn(nn.Linear, fan_in, fan_out), ACTIVATIONS[name]()]
    return layers


# by the number of dimensions of the grid: signals have one, images two
CONVOLUTIONS: dict[int, type[nn.Module]] = {1: nn.Conv1d, 2: nn.Conv2d}
TRANSPOSED: dict[int, type[nn.Module]] = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d}
POOLS: dict[int, type[nn.Module]] = {1: nn.MaxPool1d, 2: nn.MaxPool2d}


def check_grid(input_shape: Sequence[int], widths: Sequence[int], latent_dim: int, kernel_size: int) -> None:
    """Refuse what no convolutional network can be built for."""
    if len(input_shape) - 1 not in CONVOLUTIONS:
        raise ValueError(
            "A convolutional network takes samples of shape (channels, length) or (channels, height, width), "
            f"got {tuple(input_shape)}."
        )
    if min(*input_shape, *widths, latent_dim) < 1:
        raise ValueError(
            f"Every side and layer needs at least one entry, got samples of shape {tuple(input_shape)}, "
            f"layers of widths {list(widths)} and latent_dim={latent_dim}."
        )
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(f"kernel_size must be odd, so that a kernel has a middle, got {kernel_size}.")


def halved(grid: Sequence[int], times: int) -> list[tuple[int, ...]]:
    """Return the grid and what becomes of it when it is halved so many times, rounded up."""
    grids = [tuple(grid)]
    for _ in range(times):
        grids.append(tuple(-(-side // 2) for side in grids[-1]))
    return grids


class Doubling(nn.Module):
    """Repeat every entry along each side, and cut to the size that was halved to the grid before."""

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
    """Lay a grid out as a row, the channels of a position side by side, as ``channels_last`` holds them."""

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, channels, *grid)`` to ``(batch, entries)``."""
        return x.movedim(1, -1).flatten(1)


class RowToGrid(nn.Module):
    """The way back from :class:`GridToRow`, without a copy."""

    def __init__(self, channels: int, *grid: int) -> None:
        super().__init__()
        self.shape = (*grid, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, entries)`` to ``(batch, channels, *grid)``."""
        grid: Tensor = x.unflatten(1, self.shape)
        return grid.movedim(-1, 1)

    def extra_repr(self) -> str:
        return ", ".join(str(side) for side in self.shape)


def mirrored(x: Tensor, margin: tuple[int, int, int, int]) -> Tensor:
    """Return images with lower and right margins, mirrored as far as they reach and repeated beyond."""
    if not any(margin):
        return x
    fits = margin[1] < x.shape[3] and margin[3] < x.shape[2]
    return nn.functional.pad(x, margin, mode="reflect" if fits else "replicate")


SOFTNESS = 0.05  # width of the bends at black and at white, in which slopes live on


class Bounded(nn.Module):
    """A network whose answers are softly clipped to [0, 1], for losses that need a share or an intensity.

    Inside the range the answer is what it was, up to a twentieth from its ends. Beyond them it comes near
    black or white as an exponential does, so that a logarithm of it has a slope that stays bounded, where a
    hard clip has none. It stands in place of the sigmoid, through which a network that finds the noise could
    not pass the image on.

    Parameters
    ----------
    network : Module
        Maps a batch of images to one in any range.

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
        """Map a batch of images to one in [0, 1]."""
        answer = self.network(x)
        if answer.dtype == torch.bfloat16:
            answer = answer.float()
        above_black = softplus(answer / SOFTNESS)
        above_white = softplus((answer - 1) / SOFTNESS)
        bounded: Tensor = SOFTNESS * (above_black - above_white)
        return bounded.clamp(0, 1)  # rounding leads a little beyond
