"""The spec of an augmentation: what may happen to a training image, and how far it may go."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
import torch
from sklearn.base import BaseEstimator
from torch import Tensor

from sk_denoise._compat import DocumentationLinkMixin
from sk_denoise._validation import Interval, StrOptions, check_parameters
from sk_denoise.preprocessing._augmentation import (
    PADDINGS,
    Fill,
    flip,
    quarter_turn,
    shift,
    zoom_and_rotate,
)

__all__ = ["Augmentation", "Augmenter"]

Move: TypeAlias = Callable[
    [Tensor], Tensor
]  # a movement that is drawn: the same for all that belongs together


@runtime_checkable
class Augmentation(Protocol):
    """What an estimator asks of an augmentation, ours or yours.

    ``augment`` gets tensors of images, ``(n_samples, channels, height, width)``, and returns new ones of
    their shapes and types: one tensor for one, a tuple for several. All that belong to a sample move
    together. It draws from the generator alone and leaves its input as it is.

    Examples
    --------
    >>> from sk_denoise.preprocessing import Augmentation, Augmenter
    >>> class Negative:
    ...     def augment(self, x, generator, *others):
    ...         sides = tuple(1 - side for side in (x, *others))
    ...         return sides if others else sides[0]
    >>> isinstance(Negative(), Augmentation) and isinstance(Augmenter(), Augmentation)
    True
    """

    def augment(self, x: Tensor, generator: torch.Generator, *others: Tensor) -> Any: ...


class Augmenter(DocumentationLinkMixin, BaseEstimator):
    """Spec of an augmentation: which movements each training image meets anew in every epoch.

    Each image draws its own flip, quarter turn, shift, zoom and angle, and meets them in this order. As it
    stands, ``Augmenter()`` mirrors every other image left to right, which keeps nearly any photograph
    natural; not so letters, digits, and whatever else has a handedness.

    Parameters
    ----------
    shift : float or int, default=0.0
        Largest shift along either axis: a float in [0, 1) is a share of each side, rounded to whole pixels,
        an integer from 1 on counts pixels. Shifts are whole pixels, drawn uniformly in both directions.
    flip : {"horizontal", "vertical", "both"} or None, default="horizontal"
        Whether left and right, top and bottom, or each of both by itself are changed in every other image.
    quarter_turns : bool, default=False
        Whether images, which must be square, are turned by none, one, two or three quarters, all equally
        likely. With ``flip`` this suits what has no upright: views from above or through a microscope.
    zoom : pair of float or None, default=None
        Smallest and largest magnification ``(low, high)`` above 0, drawn uniformly on a logarithmic scale, so
        that (0.5, 2) shrinks as often as it magnifies. It interpolates, and so smooths noise a little.
    rotation : float, default=0.0
        Largest angle in degrees, from 0 to 180, drawn uniformly in both directions. It interpolates, as
        zoom does; both together interpolate once.
    fill : float, "edge" or "reflect", default="reflect"
        What comes in from outside the image: a constant in the unit of the data, the nearest pixel of
        the edge, or the image mirrored without its edge repeated.

    See Also
    --------
    Augmentation : What an object of your own needs to stand in its place.

    Notes
    -----
    Flips, quarter turns and shifts copy pixels, so noise stays what it is. A step that is off draws nothing.

    References
    ----------
    C. Shorten and T. M. Khoshgoftaar, "A survey on image data augmentation for deep learning", Journal of
    Big Data 6 (2019).

    Examples
    --------
    >>> import torch
    >>> from sk_denoise.preprocessing import Augmenter
    >>> augmenter = Augmenter(shift=0.1, zoom=(0.8, 1.25))
    >>> augmenter.check((3, 32, 32))
    >>> noisy, clean = torch.rand(2, 5, 3, 32, 32)
    >>> noisy, clean = augmenter.augment(noisy, torch.Generator().manual_seed(0), clean)
    >>> clean.shape
    torch.Size([5, 3, 32, 32])
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "shift": [
            Interval(Real, 0, 1, closed="left"),
            Interval(Integral, 1, None, closed="left"),
        ],
        "flip": [StrOptions({"horizontal", "vertical", "both"}), None],
        "quarter_turns": ["boolean"],
        "zoom": [tuple, list, None],
        "rotation": [Interval(Real, 0, 180, closed="both")],
        "fill": [Interval(Real, None, None, closed="neither"), StrOptions(set(PADDINGS))],
    }

    def __init__(
        self,
        *,
        shift: float = 0.0,
        flip: Literal["horizontal", "vertical", "both"] | None = "horizontal",
        quarter_turns: bool = False,
        zoom: tuple[float, float] | None = None,
        rotation: float = 0.0,
        fill: Fill = "reflect",
    ) -> None:
        self.shift = shift
        self.flip = flip
        self.quarter_turns = quarter_turns
        self.zoom = zoom
        self.rotation = rotation
        self.fill = fill

    def check(self, sample_shape: tuple[int, ...]) -> None:
        """Check the parameters, and that samples are images that they suit.

        Parameters
        ----------
        sample_shape : tuple of int
            Shape of one sample as a network sees it: ``(channels, height, width)``.

        Raises
        ------
        ValueError
            If a parameter is out of its range, if samples are no images, if they are to be turned and
            are not square, or if they are smaller than the shift or too small for its share of their sides.
        """
        check_parameters(self, self._parameter_constraints)
        self._check_zoom()
        if len(sample_shape) != 3:
            raise ValueError(
                f"Augmentation is for images, got samples of shape {tuple(sample_shape)}: pass stacks "
                "(n_samples, height, width[, channels]), or image_shape with flat rows."
            )
        _, height, width = sample_shape
        if self.quarter_turns and height != width:
            raise ValueError(
                f"quarter_turns=True needs square images, got images of {height} x {width} pixels. Use "
                'flip="both", or rotation=180 to turn within the frame.'
            )
        self._check_shift(height, width)

    def augment(self, x: Tensor, generator: torch.Generator, *others: Tensor) -> Any:
        """Return images after movements that are drawn anew, and what belongs to them after the same ones.

        Parameters
        ----------
        x : Tensor of shape (n_samples, channels, height, width)
            Images, floating point; left as they are.
        generator : torch.Generator
            The source of randomness, on the device of ``x``.
        *others : Tensor of shape (n_samples, other_channels, height, width)
            What moves along: the clean side of a noisy image, for example.

        Returns
        -------
        Tensor or tuple of Tensor
            One tensor for x alone, else a tuple of all; each of the shape and type of what came in.
        """
        moves = [draw(x, generator) for draw in (self._flip, self._turn, self._shift, self._interpolate)]
        moved = tuple(_after(moves, side) for side in (x, *others))
        return moved if others else moved[0]

    def _flip(self, x: Tensor, generator: torch.Generator) -> Move | None:
        if self.flip is None:
            return None
        no = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        horizontally = _uniform(x, generator, 0, 1) < 0.5 if self.flip != "vertical" else no
        vertically = _uniform(x, generator, 0, 1) < 0.5 if self.flip != "horizontal" else no
        return partial(flip, horizontally=horizontally, vertically=vertically)

    def _turn(self, x: Tensor, generator: torch.Generator) -> Move | None:
        return partial(quarter_turn, turns=_whole(x, generator, 0, 3)) if self.quarter_turns else None

    def _shift(self, x: Tensor, generator: torch.Generator) -> Move | None:
        if not self.shift:
            return None
        most = self._largest_shifts(*x.shape[2:])
        rows, columns = (_whole(x, generator, -pixels, pixels) for pixels in most)
        return partial(shift, rows=rows, columns=columns, fill=self.fill)

    def _interpolate(self, x: Tensor, generator: torch.Generator) -> Move | None:
        if self.zoom is None and not self.rotation:
            return None
        zoom, degrees = _constant(x, 1.0), _constant(x, 0.0)
        if self.zoom is not None:
            low, high = self.zoom
            zoom = _uniform(x, generator, math.log(low), math.log(high)).exp()
        if self.rotation:
            degrees = _uniform(x, generator, -self.rotation, self.rotation)
        return partial(zoom_and_rotate, zoom=zoom, degrees=degrees, fill=self.fill)

    def _largest_shifts(self, *sides: int) -> list[int]:
        """Return the largest shift along each side, in pixels."""
        in_pixels = isinstance(self.shift, int | np.integer)
        return [int(self.shift) if in_pixels else round(self.shift * side) for side in sides]

    def _check_shift(self, height: int, width: int) -> None:
        shift: Any = self.shift
        if shift and not any(self._largest_shifts(height, width)):
            raise ValueError(
                f"shift={shift!r} is less than a pixel of images of {height} x {width} pixels. Raise it, "
                "or give pixels, as an integer."
            )
        if isinstance(shift, int | np.integer) and shift >= min(height, width):
            raise ValueError(
                f"shift={shift!r} pixels can move all out of sight in images of {height} x {width} pixels. "
                "It must be smaller than both sides."
            )

    def _check_zoom(self) -> None:
        pair: Any = self.zoom
        if pair is None:
            return
        are_numbers = len(pair) == 2 and all(isinstance(end, Real) for end in pair)
        if not (are_numbers and 0 < pair[0] <= pair[1] < math.inf):
            raise ValueError(
                "zoom must be None or a pair (low, high) of finite numbers with 0 < low <= high, such as "
                f"(0.8, 1.25), got {pair!r}."
            )


def _after(moves: Iterable[Move | None], x: Tensor) -> Tensor:
    """Return x after the moves, new also where there are none."""
    moved = x.contiguous()  # pixels that lie channels last are moved at half the speed
    for move in moves:
        moved = moved if move is None else move(moved)
    return moved.clone() if moved is x else moved


def _uniform(x: Tensor, generator: torch.Generator, low: float, high: float) -> Tensor:
    """Draw a number for each sample; in single precision, so that data of any type move alike."""
    draws = torch.rand(len(x), generator=generator, device=x.device, dtype=torch.float32)
    return low + (high - low) * draws


def _whole(x: Tensor, generator: torch.Generator, low: int, high: int) -> Tensor:
    """Draw a whole number for each sample, both ends included."""
    return torch.randint(low, high + 1, (len(x),), generator=generator, device=x.device)


def _constant(x: Tensor, value: float) -> Tensor:
    return torch.full((len(x),), value, device=x.device, dtype=torch.float32)
