"""Movements of images as pure functions: tensors in, a new tensor out, an amount for each image.

Flips, quarter turns and shifts copy pixels; they are exact. Zoom and rotation share one bilinear
interpolation, by torch's own ``grid_sample``. Its grid is computed here: that of ``affine_grid`` is the same
to rounding, and took eleven times as long on a CPU.

Why no library of augmentations: the transforms of torchvision draw one movement for all images of a batch,
from torch's global generator; those of albumentations work on numpy arrays, on the CPU, with generators of
their own; those of kornia move each image by itself, but draw from torch's global generator too. Here a
movement is an argument, so whoever draws it decides from where: an ``Augmenter`` from the generator that it
is handed.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from sk_denoise._validation import check_one_of

__all__ = ["PADDINGS", "Fill", "flip", "quarter_turn", "shift", "zoom_and_rotate"]

Fill: TypeAlias = float | Literal["edge", "reflect"]

PADDINGS = {"edge": "border", "reflect": "reflection"}  # what grid_sample calls them; a number is "zeros"


def flip(x: Tensor, horizontally: Tensor, vertically: Tensor) -> Tensor:
    """Mirror images, each as it is told.

    Parameters
    ----------
    x : Tensor of shape (n_samples, channels, height, width)
        Images; left as they are.
    horizontally, vertically : Tensor of bool, of shape (n_samples,)
        Which images change left with right, and which change top with bottom.

    Returns
    -------
    Tensor of the shape and type of x

    Examples
    --------
    >>> import torch
    >>> from sk_denoise.preprocessing import flip
    >>> x = torch.tensor([[[[1, 2], [3, 4]]]])
    >>> flip(x, torch.tensor([True]), torch.tensor([False])).tolist()
    [[[[2, 1], [4, 3]]]]
    """
    rows, columns = _axes(x)
    rows = torch.where(vertically[:, None], rows.flip(0), rows)
    columns = torch.where(horizontally[:, None], columns.flip(0), columns)
    return _pick(x, rows, columns)


def quarter_turn(x: Tensor, turns: Tensor) -> Tensor:
    """Turn square images counter-clockwise by quarters of a full turn, each by its own number.

    Parameters
    ----------
    x : Tensor of shape (n_samples, channels, side, side)
        Square images; left as they are.
    turns : Tensor of int64, of shape (n_samples,)
        Quarter turns, any whole numbers; negative ones turn clockwise.

    Returns
    -------
    Tensor of the shape and type of x

    Raises
    ------
    ValueError
        If the images are not square: a turned one would have another shape.

    Examples
    --------
    >>> import torch
    >>> from sk_denoise.preprocessing import quarter_turn
    >>> x = torch.tensor([[[[1, 2], [3, 4]]]])
    >>> quarter_turn(x, torch.tensor([1])).tolist()
    [[[[2, 4], [1, 3]]]]
    """
    height, width = x.shape[2:]
    if height != width:
        raise ValueError(f"quarter_turn needs square images, got images of {height} x {width} pixels.")
    positions = torch.arange(height * width, device=x.device).view(height, width)
    table = torch.stack([positions.rot90(turn).flatten() for turn in range(4)])
    sources = table[turns % 4][:, None].expand(-1, x.shape[1], -1)
    return x.flatten(2).gather(2, sources).view(x.shape)


def shift(x: Tensor, rows: Tensor, columns: Tensor, *, fill: Fill = "reflect") -> Tensor:
    """Shift images by whole pixels, each by its own number.

    Parameters
    ----------
    x : Tensor of shape (n_samples, channels, height, width)
        Images; left as they are.
    rows, columns : Tensor of int64, of shape (n_samples,)
        How many pixels each image moves down and to the right; negative ones move it up and to the left.
        They may be larger than the image.
    fill : float, "edge" or "reflect", default="reflect"
        What comes in from outside: a constant in the unit of the data, the nearest pixel of the edge, or
        the image mirrored without its edge repeated, as ``numpy.pad`` calls it.

    Returns
    -------
    Tensor of the shape and type of x

    Examples
    --------
    >>> import torch
    >>> from sk_denoise.preprocessing import shift
    >>> x = torch.tensor([[[[1, 2, 3]]]])
    >>> shift(x, torch.tensor([0]), torch.tensor([1]), fill="reflect").tolist()
    [[[[2, 1, 2]]]]
    >>> shift(x, torch.tensor([0]), torch.tensor([1]), fill=0).tolist()
    [[[[0, 1, 2]]]]
    """
    height, width = x.shape[2:]
    all_rows, all_columns = _axes(x)
    from_rows, from_columns = all_rows - rows[:, None], all_columns - columns[:, None]
    moved = _pick(x, _inside(from_rows, height, fill), _inside(from_columns, width, fill))
    if isinstance(fill, str):
        return moved
    no_row = (from_rows < 0) | (from_rows >= height)
    no_column = (from_columns < 0) | (from_columns >= width)
    return moved.masked_fill_((no_row[:, :, None] | no_column[:, None, :])[:, None], fill)


def zoom_and_rotate(x: Tensor, zoom: Tensor, degrees: Tensor, *, fill: Fill = "reflect") -> Tensor:
    """Zoom and rotate images about their centers, each by its own amount, in one bilinear interpolation.

    Pixels are squares: aspect ratios and right angles stay, in images that are not square too. A zoom
    of 1 and an angle of 0 give the image back to rounding.

    Parameters
    ----------
    x : Tensor of shape (n_samples, channels, height, width)
        Images, floating point; left as they are. Types shorter than float32 are interpolated in float32.
    zoom : Tensor of shape (n_samples,)
        Magnifications above 0: 2 shows the inner half of the image at twice the size.
    degrees : Tensor of shape (n_samples,)
        Angles in degrees, counter-clockwise as one looks at the image.
    fill : float, "edge" or "reflect", default="reflect"
        What comes in from outside, as in ``shift``.

    Returns
    -------
    Tensor of the shape and type of x

    Examples
    --------
    >>> import torch
    >>> from sk_denoise.preprocessing import zoom_and_rotate
    >>> x = torch.tensor([[[[0.0, 1.0, 2.0]]]])
    >>> zoom_and_rotate(x, torch.tensor([2.0]), torch.tensor([0.0])).tolist()
    [[[[0.5, 1.0, 1.5]]]]
    """
    padding = check_one_of(fill, PADDINGS, "fill") if isinstance(fill, str) else "zeros"
    base = 0.0 if isinstance(fill, str) else float(fill)
    images = x if x.dtype == torch.float64 else x.float()
    # Only with aligned corners does grid_sample mirror about the outermost pixels' centers, as "reflect" is.
    aligned = fill == "reflect"
    grid = _sampling_grid(images, zoom.to(images), degrees.to(images), aligned)
    moved = grid_sample(images - base if base else images, grid, padding_mode=padding, align_corners=aligned)
    return moved.add_(base).to(x.dtype)


def _sampling_grid(x: Tensor, zoom: Tensor, degrees: Tensor, aligned: bool) -> Tensor:
    """Return where each pixel comes from, ``(n_samples, height, width, 2)`` in the unit of ``grid_sample``.

    That unit is half a side: from the center to the outermost pixels' centers if ``aligned``, else to their
    rims.
    """
    height, width = x.shape[2:]
    half_height, half_width = (max(side - aligned, 1) / 2 for side in (height, width))
    rows, columns = _axes(x)
    down, right = (rows - (height - 1) / 2).to(x), (columns - (width - 1) / 2).to(x)
    angle = torch.deg2rad(degrees)
    cos, sin = (angle.cos() / zoom)[:, None, None], (angle.sin() / zoom)[:, None, None]
    grid = x.new_empty((len(x), height, width, 2))
    torch.sub(cos * (right / half_width), sin * (down / half_width)[:, None], out=grid[..., 0])
    torch.add(sin * (right / half_height), cos * (down / half_height)[:, None], out=grid[..., 1])
    return grid


def _axes(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the numbers of the rows and of the columns."""
    return torch.arange(x.shape[2], device=x.device), torch.arange(x.shape[3], device=x.device)


def _inside(positions: Tensor, size: int, fill: Fill) -> Tensor:
    """Return the positions in ``range(size)`` whose pixels stand at positions that may lie outside."""
    if isinstance(fill, str):
        check_one_of(fill, PADDINGS, "fill")
    if fill != "reflect":
        return positions.clamp(0, size - 1)
    period = max(2 * (size - 1), 1)
    there = positions % period
    return torch.minimum(there, period - there)


def _pick(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return images made of the given rows and columns, ``(n_samples, side)`` or ``(side,)``, of x.

    Whole rows are copied first: three times as fast as pixels that are gathered along both axes at once.
    """
    n, channels, height, width = x.shape
    first = torch.arange(0, n * channels * height, height, device=x.device).view(n, channels, 1)
    sources = (first + rows.expand(n, height)[:, None]).flatten()
    picked = x.reshape(-1, width).index_select(0, sources).view(x.shape)
    return picked.gather(3, columns.expand(n, width)[:, None, None].expand(x.shape))
