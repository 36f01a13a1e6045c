"""Augmentation of signals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from torch import Tensor

from sk_denoise._compat import DocumentationLinkMixin
from sk_denoise._validation import Interval, StrOptions, check_parameters
from sk_denoise.preprocessing._augmentation import (
    PADDING_MODES,
    Fill,
    Move,
    apply_moves,
    draw_integers,
    draw_uniform,
    flip,
    shift,
    zoom_and_rotate,
)

__all__ = ["SignalAugmenter"]


class SignalAugmenter(DocumentationLinkMixin, BaseEstimator):
    """Random shifts, stretches, scales and offsets of training signals.

    Each signal gets its own movement in every epoch: a reversal of time, a change of sign, a stretch, a
    shift, a scale and an offset, in this order. The channels of a signal move together. By default
    ``SignalAugmenter()`` scales the amplitude by 0.8 to 1.25.

    Parameters
    ----------
    shift : float or int, default=0.0
        Largest shift in time. A float in [0, 1) is a share of the length, rounded to whole samples; an
        integer of at least 1 is a number of samples. Shifts are drawn uniformly in both directions. Windows
        of long recordings begin anywhere, and need none.
    scale : pair of float or None, default=(0.8, 1.25)
        Smallest and largest factor ``(low, high)`` of the values, above 0, drawn uniformly on a logarithmic
        scale. All channels have one factor.
    offset : float or array-like of shape (n_channels,), default=0.0
        Largest offset that is added to all values, at least 0, in the unit of the data. Offsets are drawn
        uniformly in both directions, for each channel by itself. An array has one for each channel.
    stretch : pair of float or None, default=None
        Smallest and largest factor ``(low, high)`` of time about the middle of the signal, above 0, drawn
        uniformly on a logarithmic scale: at 2, a wave has twice as many samples. Linear interpolation smooths
        noise.
    flip : bool, default=False
        Whether half of the signals run backwards.
    invert : bool, default=False
        Whether half of the signals change their sign.
    fill : float, "edge" or "reflect", default="reflect"
        Samples from before the beginning and after the end: a constant in the unit of the data, the first or
        last sample, or the signal mirrored without its end repeated.

    See Also
    --------
    Augmenter : Movements of images.
    Augmentation : Protocol of your own augmentations.

    Notes
    -----
    In training, clean signals are augmented first and corrupted then: noise keeps its level and its spectrum.
    Both sides of a pair move together, and so a scale or a stretch changes the noise on the noisy side too.
    Objectives for noisy data alone refuse ``stretch``, which makes noise of neighbours alike, and those that
    need a noise level refuse ``scale``.

    Unused steps draw no numbers.

    References
    ----------
    T. T. Um et al., "Data augmentation of wearable sensor data for Parkinson's disease monitoring using
    convolutional neural networks", Proceedings of the 19th ACM International Conference on Multimodal
    Interaction (2017).

    Examples
    --------
    >>> import torch
    >>> from sk_denoise.preprocessing import SignalAugmenter
    >>> augmenter = SignalAugmenter(shift=0.1, stretch=(0.8, 1.25), invert=True)
    >>> augmenter.check((2, 1, 500))
    >>> noisy, clean = torch.rand(2, 30, 2, 1, 500)
    >>> noisy, clean = augmenter.augment(noisy, torch.Generator().manual_seed(0), clean)
    >>> clean.shape
    torch.Size([30, 2, 1, 500])
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "shift": [
            Interval(Real, 0, 1, closed="left"),
            Interval(Integral, 1, None, closed="left"),
        ],
        "scale": [tuple, list, None],
        "offset": [Interval(Real, 0, None, closed="left"), "array-like"],
        "stretch": [tuple, list, None],
        "flip": ["boolean"],
        "invert": ["boolean"],
        "fill": [Interval(Real, None, None, closed="neither"), StrOptions(set(PADDING_MODES))],
    }

    def __init__(
        self,
        *,
        shift: float = 0.0,
        scale: tuple[float, float] | None = (0.8, 1.25),
        offset: float | Sequence[float] | NDArray[Any] = 0.0,
        stretch: tuple[float, float] | None = None,
        flip: bool = False,
        invert: bool = False,
        fill: Fill = "reflect",
    ) -> None:
        self.shift = shift
        self.scale = scale
        self.offset = offset
        self.stretch = stretch
        self.flip = flip
        self.invert = invert
        self.fill = fill

    def check(self, sample_shape: tuple[int, ...]) -> None:
        """Check the parameters, also against the shape of samples.

        Parameters
        ----------
        sample_shape : tuple of int
            Shape ``(channels, 1, length)`` of one signal in the network; ``(channels, length, 1)`` is allowed
            too.

        Raises
        ------
        ValueError
            If a parameter is out of its range, if samples are no signals, if there are not as many offsets as
            channels, or if signals are shorter than the shift or too short for its share.
        """
        check_parameters(self, self._parameter_constraints)
        _check_factors(self.scale, "scale")
        _check_factors(self.stretch, "stretch")
        if len(sample_shape) != 3 or 1 not in sample_shape[1:]:
            raise ValueError(
                f"SignalAugmenter is for signals (channels, 1, length), got samples of shape "
                f"{tuple(sample_shape)}. Use Augmenter for images."
            )
        self._check_offset(sample_shape[0])
        self._check_shift(max(sample_shape[1:]))

    def augment(self, x: Tensor, generator: torch.Generator, *others: Tensor) -> Any:
        """Return signals, and the tensors that belong to them, after random movements.

        Parameters
        ----------
        x : Tensor of shape (n_samples, channels, 1, length) or (n_samples, channels, length, 1)
            Signals, floating point; not changed.
        generator : torch.Generator
            Source of randomness, on the device of ``x``.
        *others : Tensor of shape (n_samples, channels, 1, length) or (n_samples, channels, length, 1)
            Tensors that move along, for example the clean side of noisy signals.

        Returns
        -------
        Tensor or tuple of Tensor
            One tensor for x alone, else a tuple of all, each of the shape and type of its input.
        """
        is_upright = x.shape[3] == 1
        sides = [side.mT if is_upright else side for side in (x, *others)]
        draws = (
            self._draw_flip,
            self._draw_sign,
            self._draw_stretch,
            self._draw_shift,
            self._draw_scale,
            self._draw_offset,
        )
        moves = [draw(sides[0], generator) for draw in draws]
        moved = tuple(apply_moves(moves, side) for side in sides)
        if is_upright:
            moved = tuple(side.mT for side in moved)
        return moved if others else moved[0]

    @property
    def changes_values(self) -> bool:
        """Whether signals get values of another range."""
        return self.scale is not None or self.invert or bool(np.any(self.offset))

    def _draw_flip(self, x: Tensor, generator: torch.Generator) -> Move | None:
        if not self.flip:
            return None
        never = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        return partial(flip, horizontally=draw_uniform(x, generator, 0, 1) < 0.5, vertically=never)

    def _draw_sign(self, x: Tensor, generator: torch.Generator) -> Move | None:
        if not self.invert:
            return None
        return partial(_multiply, factors=1 - 2 * draw_integers(x, generator, 0, 1))

    def _draw_stretch(self, x: Tensor, generator: torch.Generator) -> Move | None:
        # A signal of one sample has no neighbours to interpolate between.
        if self.stretch is None or x.shape[3] == 1:
            return None
        factors = _draw_factors(self.stretch, x, generator)
        return partial(zoom_and_rotate, zoom=factors, degrees=torch.zeros_like(factors), fill=self.fill)

    def _draw_shift(self, x: Tensor, generator: torch.Generator) -> Move | None:
        if not self.shift:
            return None
        max_shift = self._max_shift(x.shape[3])
        columns = draw_integers(x, generator, -max_shift, max_shift)
        return partial(shift, rows=torch.zeros_like(columns), columns=columns, fill=self.fill)

    def _draw_scale(self, x: Tensor, generator: torch.Generator) -> Move | None:
        if self.scale is None:
            return None
        return partial(_multiply, factors=_draw_factors(self.scale, x, generator))

    def _draw_offset(self, x: Tensor, generator: torch.Generator) -> Move | None:
        largest = torch.as_tensor(np.asarray(self.offset, np.float32), device=x.device)
        if not bool(largest.any()):
            return None
        # Single precision for all, so that data of each type get equal offsets.
        draws = torch.rand(x.shape[:2], generator=generator, device=x.device, dtype=torch.float32)
        return partial(_add, offsets=largest * (2 * draws - 1))

    def _max_shift(self, length: int) -> int:
        """Return the largest shift in samples."""
        in_samples = isinstance(self.shift, int | np.integer)
        return int(self.shift) if in_samples else round(self.shift * length)

    def _check_shift(self, length: int) -> None:
        shift: Any = self.shift
        if shift and not self._max_shift(length):
            raise ValueError(
                f"shift={shift!r} is less than a sample of signals of length {length}. Raise it, or give "
                "samples, as an integer."
            )
        if self._max_shift(length) >= length:
            raise ValueError(
                f"shift={shift!r} samples can move all of a signal of length {length} out of it. It must be "
                "smaller than the length."
            )

    def _check_offset(self, n_channels: int) -> None:
        offset = np.asarray(self.offset)
        fits = offset.dtype.kind in "iuf" and offset.shape in ((), (n_channels,))
        if not (fits and np.isfinite(offset).all() and (offset >= 0).all()):
            raise ValueError(
                "offset must be a finite number of at least 0, or one for each channel of the signals "
                f"({n_channels}), got {self.offset!r}."
            )


# Parts -------------------------------------------------------------------------------------------------


def _check_factors(pair: Any, name: str) -> None:
    if pair is None:
        return
    is_pair = len(pair) == 2 and all(isinstance(end, Real) for end in pair)
    if not (is_pair and 0 < pair[0] <= pair[1] < math.inf):
        raise ValueError(
            f"{name} must be None or a pair (low, high) of finite numbers with 0 < low <= high, such as "
            f"(0.8, 1.25), got {pair!r}."
        )


def _draw_factors(pair: tuple[float, float], x: Tensor, generator: torch.Generator) -> Tensor:
    """Draw a factor for each sample, uniformly on a logarithmic scale."""
    low, high = pair
    return draw_uniform(x, generator, math.log(low), math.log(high)).exp()


def _multiply(x: Tensor, factors: Tensor) -> Tensor:
    return x * factors.to(x.dtype).reshape(-1, 1, 1, 1)


def _add(x: Tensor, offsets: Tensor) -> Tensor:
    return x + offsets.to(x.dtype)[:, :, None, None]
