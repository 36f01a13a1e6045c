"""Between the user's arrays and a network: layout and scale, there and back."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from sk_denoise._resources import entries_at_once
from sk_denoise._scaling import AffineScaler, compute_joint_moments, iterate_chunks
from sk_denoise._validation import Noiser, refuse_channels_first

__all__ = ["ImageLayout", "Preparation", "SampleLayout", "run_in_chunks"]

MARGIN = 0.5  # of the range of an input in training; beyond it values are cut
LINEAR_RANGE = 3.0  # deviations; beyond them a network input grows as a logarithm
NOISE_RATIOS = (0.1, 10.0)  # limits of noise to signal that the weights of features follow


@dataclass(frozen=True)
class Preparation:
    """What a batch goes through before a network and after it.

    Corruption happens in the user's unit; scaling comes after it, for each feature of a table and for
    each channel of images. The input is scaled by the statistics of corrupted rows, the target by those
    of clean ones, weighted so that an error counts in proportion to the noise of its feature.
    """

    layout: SampleLayout
    input_scaler: AffineScaler
    input_limits: tuple[Tensor, Tensor] | None
    target_scaler: AffineScaler

    @classmethod
    def of(
        cls,
        layout: SampleLayout,
        inputs: Tensor,
        targets: Tensor,
        noiser: Noiser | None,
        generator: torch.Generator,
        *,
        scale_target: bool,
    ) -> Preparation:
        """Learn the statistics of training rows, which ``noiser`` corrupts where it is given."""
        pairs = (
            (layout.to_network(x if noiser is None else noiser.corrupt(x, generator)), layout.to_network(t))
            for x, t in zip(iterate_chunks(inputs), iterate_chunks(targets), strict=True)
        )
        (noisy, clean), covariance = compute_joint_moments(pairs, layout.statistics_dims)
        input_scaler, target_scaler = AffineScaler.from_moments(noisy), AffineScaler.identity()
        if scale_target:
            correlation = covariance[0, 1] / (noisy.std * clean.std)
            ratios = (correlation.pow(-2) - 1).clamp(min=0).sqrt().nan_to_num(nan=1.0)
            target_scaler = AffineScaler.from_moments(clean).times(ratios.clamp(*NOISE_RATIOS))
        margin = MARGIN * (noisy.high - noisy.low)
        limits = input_scaler.scale(noisy.low - margin), input_scaler.scale(noisy.high + margin)
        return cls(layout, input_scaler, limits, target_scaler)

    @classmethod
    def to_unit_range(cls, layout: SampleLayout, black: float, data_range: float) -> Preparation:
        """Bring black to 0 and white to 1, on both sides alike, and cut nothing.

        So what a network leaves as it is stays what it is, and one number is the level of the noise on both.
        """
        scaler = AffineScaler(*(torch.tensor(number, dtype=torch.float64) for number in (black, data_range)))
        return cls(layout, scaler, None, scaler)

    @cached_property
    def stays_linear(self) -> bool:
        """Whether no input, once it is cut, lies in the range that is bent."""
        return self.input_limits is None or all(
            float(limit.abs().max()) <= LINEAR_RANGE for limit in self.input_limits
        )

    def input(self, x: Tensor) -> Tensor:
        """From the user's unit and layout to a network input, in the precision of x.

        Values far from the mean are bent towards it and those outside what training saw are cut, so that
        one of them cannot drown the rest of its sample: noise on a feature that hardly varied, an outlier,
        a dead pixel.
        """
        scaled = self.input_scaler.scale(self.layout.to_network(x))
        if self.input_limits is not None:
            low, high = self.input_limits
            scaled = scaled.clamp_(low.to(scaled), high.to(scaled))
        if self.stays_linear:
            return scaled
        beyond = nn.functional.softshrink(scaled, LINEAR_RANGE)
        return scaled.sub_(beyond).add_(beyond.abs().log1p_().copysign_(beyond))

    def target(self, x: Tensor) -> Tensor:
        """From the user's unit and layout to a network target, in the precision of x."""
        return self.target_scaler.scale(self.layout.to_network(x))

    def restore(self, output: Tensor) -> Tensor:
        """From a network output to the user's unit and layout, in its precision."""
        return self.layout.from_network(self.target_scaler.unscale(output))

    def squared_errors(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the mean squared error of each sample of a batch, in the user's squared unit."""
        errors = (output - target) * self.target_scaler.spread.to(output)
        return errors.square().flatten(1).mean(dim=1)


def run_in_chunks(
    module: nn.Module, x: Tensor, function: Callable[[nn.Module, Tensor], Tensor], widest: int
) -> Tensor:
    """Apply ``function(module, chunk)`` to chunks of rows, in the precision of x and without gradients.

    The weights are single precision; for double precision a copy of the module is converted. A chunk has as
    many rows as keep the widest layer, with so many entries for each row, small beside the memory.
    """
    if x.dtype == torch.float64:
        module = copy.deepcopy(module).double()
    device = next(module.parameters()).device
    outputs: Tensor | None = None
    done, rows = 0, max(1, entries_at_once(device) // widest)
    with torch.inference_mode():
        for chunk in x.split(rows):
            output = function(module, chunk.to(device))
            if outputs is None:
                outputs = torch.empty(len(x), *output.shape[1:], dtype=output.dtype)
            outputs[done : done + len(chunk)] = output
            done += len(chunk)
    assert outputs is not None, "no samples, which the check at the door refuses"
    return outputs


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
