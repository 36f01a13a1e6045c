"""The layout of one sample: how the user's arrays hold it, and how a network sees it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from sk_denoise._validation import refuse_channels_first

__all__ = ["ImageLayout", "SampleLayout"]


@dataclass(frozen=True)
class SampleLayout:
    """One sample in the user's arrays and before a network.

    Attributes
    ----------
    sample_shape : tuple of int
        Shape of one sample in the user's arrays.
    image_shape : tuple of int or None
        ``(height, width)`` or ``(height, width, channels)`` where samples are images.
    is_signal : bool
        Whether a row that is no image is a one-dimensional signal, whose entries share one unit.
    """

    sample_shape: tuple[int, ...]
    image_shape: tuple[int, ...] | None
    is_signal: bool = False

    @classmethod
    def of(
        cls,
        sample_shape: tuple[int, ...],
        image_shape: Sequence[int] | None,
        rows_are_signals: bool = False,
    ) -> SampleLayout:
        """Settle the layout of samples that the user may have called images."""
        if len(sample_shape) > 3:
            raise ValueError(
                f"Samples of shape {sample_shape} are neither rows (features,) nor images (height, width) "
                "or (height, width, channels)."
            )
        declared = None if image_shape is None else tuple(int(side) for side in image_shape)
        refuse_channels_first(sample_shape, declared)
        if len(sample_shape) > 1:
            if declared not in (None, sample_shape):
                raise ValueError(f"image_shape={declared}, but X holds images of shape {sample_shape}.")
            return cls(sample_shape, sample_shape)
        if declared is not None and math.prod(declared) != sample_shape[0]:
            raise ValueError(
                f"image_shape={declared} has {math.prod(declared)} pixels, but X has {sample_shape[0]} "
                "features."
            )
        return cls(sample_shape, declared, rows_are_signals and declared is None)

    @property
    def network_shape(self) -> tuple[int, ...]:
        """Rows are ``(features,)``, signals ``(1, length)``, images ``(channels, height, width)``."""
        if self.image_shape is None:
            return (1, *self.sample_shape) if self.is_signal else self.sample_shape
        height, width, channels = (*self.image_shape, 1)[:3]
        return channels, height, width

    @property
    def has_one_unit(self) -> bool:
        """Whether all entries of a sample share one unit, as those of signals and images do."""
        return len(self.network_shape) > 1

    @property
    def statistics_dims(self) -> tuple[int, ...]:
        """Axes of a network batch that statistics reduce: all but the features, or but the channels."""
        return (0, *range(2, 1 + len(self.network_shape)))

    def to_network(self, x: Tensor) -> Tensor:
        """Turn samples of the user's layout into a network batch."""
        if self.image_shape is None:
            return x.reshape(len(x), *self.network_shape)
        channels, height, width = self.network_shape
        return x.reshape(len(x), height, width, channels).movedim(3, 1)

    def from_network(self, x: Tensor) -> Tensor:
        """Turn a network batch into samples of the user's layout."""
        if self.image_shape is not None:
            x = x.movedim(1, 3)
        return x.reshape(len(x), *self.sample_shape)

    def images_from_network(self, x: Tensor) -> Tensor:
        """Turn a network batch of images into images, also where the user's samples are flat."""
        assert self.image_shape is not None
        return x.movedim(1, 3).reshape(len(x), *self.image_shape)


class ImageLayout(SampleLayout):
    """Images of any size, in batches ``(n, height, width[, channels])`` of one size.

    ``sample_shape`` is that of some of them, and tells whether there is an axis of channels.
    """

    def to_network(self, x: Tensor) -> Tensor:
        """Turn images into a network batch."""
        return x.movedim(3, 1) if len(self.sample_shape) == 3 else x[:, None]

    def from_network(self, x: Tensor) -> Tensor:
        """Turn a network batch into images."""
        return x.movedim(1, 3) if len(self.sample_shape) == 3 else x[:, 0]

    images_from_network = from_network
