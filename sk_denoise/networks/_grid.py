"""What convolutional networks share: layers by the number of dimensions, and the sizes of grids."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

__all__ = [
    "CONVOLUTIONS",
    "POOLS",
    "TRANSPOSED",
    "Doubling",
    "GridToRow",
    "RowToGrid",
    "check_grid",
    "halved",
    "mirrored",
]

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
