"""Layout and scaling between the user's arrays and a network."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sk_denoise._noise_model import NoiseSplitter
from sk_denoise._random import stream
from sk_denoise._resources import entries_at_once
from sk_denoise._scaling import (
    FINITE_TENSOR,
    AffineScaler,
    Moments,
    QuantileMap,
    broadcasts_to,
    compute_joint_moments,
    find_wild_limits,
    iterate_chunks,
    subsample,
)
from sk_denoise._schema import (
    BLOCKS,
    NONNEGATIVE_NUMBER,
    Rule,
    conforms,
    has_type,
    is_count,
    is_number,
    is_shape,
    optional,
    record,
)
from sk_denoise._validation import Noiser, as_tensor, refuse_channels_first
from sk_denoise.training import Units

__all__ = [
    "BEST_WEIGHTS",
    "IMAGE_PREPARATION",
    "ImageLayout",
    "JUDGEMENT",
    "NOISE_LEVELS",
    "Preparation",
    "Recorruption",
    "SAMPLE_PREPARATION",
    "SampleLayout",
    "UNITS",
    "WildValues",
    "run_in_chunks",
]

# Inputs are clipped this share of their training range beyond it.
MARGIN = 0.5
# Share of the columns of a row outside of the training range from which the row is.
OUTSIDE_SHARE = 0.15
# Deviations from the mean beyond which an input grows as a logarithm.
LINEAR_RANGE = 3.0
# Scaled target beyond that of any data, for columns without limits
UNLIMITED = 1e30
# Noisy rows at least, from which maps of columns are learned, where noise is drawn anew
MIN_NOISY_ROWS = 5000
# Groups of rows in which the size of noise is compared, at most, and rows in each
MAX_GROUPS, MIN_GROUP_ROWS = 10, 8
# Seed of the noise that predictions add, the same for all estimators.
PATTERN_SEED = 0
# Slope of the clean over the noisy value from which wild values are those of the clean side.
MIN_WILD_SLOPE = 0.5
# Limits of the noise-to-signal ratios that weight the features.
NOISE_RATIOS = (0.1, 10.0)


@dataclass(frozen=True)
class WildValues:
    """Columns of a table with wild values, which networks get cut.

    Attributes
    ----------
    columns : Tensor of shape (n_features,)
        1 for columns with limits, 0 for others.
    slopes : Tensor of shape (n_features,)
        Change of the clean value with the noisy one beyond the limits: 1 for wild values of clean rows, 0 for
        wild noise.
    target_limits : pair of Tensor
        Lowest and highest scaled targets.
    """

    _fitted_schema: ClassVar[dict[str, Rule]] = {
        "columns": FINITE_TENSOR,
        "slopes": FINITE_TENSOR,
        "target_limits": Rule(lambda v, _: _is_pair_of_numbers(v), "two tensors of finite numbers"),
    }
    columns: Tensor
    slopes: Tensor
    target_limits: tuple[Tensor, Tensor]

    def with_maps(
        self,
        is_mapped: Tensor,
        maps: tuple[QuantileMap, QuantileMap],
        moments: tuple[Moments, Moments],
        target_scaler: AffineScaler,
        *,
        are_fresh: bool,
    ) -> WildValues:
        """Return the columns with those that are mapped to scores.

        Their limits are the ends of the training range. Beyond them, clean values change as noisy ones do.

        Parameters
        ----------
        is_mapped : Tensor of bool, of shape (n_features,)
            Mapped columns.
        maps : pair of QuantileMap
            Maps of the columns of noisy and of clean rows.
        moments : pair of Moments
            Moments of the scores of noisy and of clean rows.
        target_scaler : AffineScaler
            Scaling of the scores of clean rows.
        are_fresh : bool
            Whether both sides have one unit, since noise is drawn for clean rows.
        """
        slopes = torch.ones_like(self.slopes)
        if not are_fresh:
            widths = [
                one.unscale(side.high) - one.unscale(side.low)
                for one, side in zip(maps, moments, strict=True)
            ]
            slopes = widths[1] / torch.where(is_mapped, widths[0], 1.0)
        ends = (target_scaler.scale(end) for end in (moments[1].low, moments[1].high))
        low, high = (
            torch.where(is_mapped, end, limit) for end, limit in zip(ends, self.target_limits, strict=True)
        )
        return WildValues(
            torch.where(is_mapped, 1.0, self.columns),
            torch.where(is_mapped, slopes, self.slopes),
            (low, high),
        )


@dataclass(frozen=True)
class Preparation:
    """Scaling of a batch before a network, and its inverse after it.

    Noise is added in the unit of the user. Scaling comes after it, for each feature of a table and for each
    channel of images. The input is scaled by the statistics of corrupted rows, the target by those of clean
    ones, weighted so that an error counts in proportion to the noise of its feature.

    Attributes
    ----------
    layout : SampleLayout
        Layout of samples in arrays of the user and before the network.
    input_scaler : AffineScaler
        Scaling of the network input.
    input_limits : pair of Tensor or None
        Lowest and highest scaled inputs, None without clipping.
    target_scaler : AffineScaler
        Scaling of the network target, undone after the network.
    blocks : tuple of tuple of int
        Columns of each block of a one-hot encoding whose outputs are logits. Predictions are probabilities,
        and targets are not scaled.
    wild : WildValues or None
        Columns of a table with wild values.
    maps : pair of QuantileMap, or None
        Maps of the columns of noisy and of clean rows to Gaussian scores, before the scalers.
    """

    _fitted_schema: ClassVar[dict[str, Rule]] = {
        "layout": Rule(lambda v, _: isinstance(v, SampleLayout) and conforms(v), "a layout"),
        "input_scaler": record(AffineScaler, "a scaler"),
        "input_limits": Rule(
            lambda v, _: v is None or _is_pair_of_numbers(v), "None, or two tensors of finite numbers"
        ),
        "target_scaler": record(AffineScaler, "a scaler"),
        "blocks": BLOCKS,
        "wild": replace(optional(record(WildValues, "columns with wild values")), required=False),
        "maps": Rule(lambda v, _: v is None or _is_pair_of_maps(v), "None, or two maps", required=False),
    }
    layout: SampleLayout
    input_scaler: AffineScaler
    input_limits: tuple[Tensor, Tensor] | None
    target_scaler: AffineScaler
    blocks: tuple[tuple[int, ...], ...] = ()
    wild: WildValues | None = None
    maps: tuple[QuantileMap, QuantileMap] | None = None

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
        blocks: tuple[tuple[int, ...], ...] = (),
        has_black_and_white: bool = False,
        is_robust: bool = False,
        maps_quantiles: bool = False,
    ) -> Preparation:
        """Learn the statistics of training rows, corrupted by a noiser if given.

        Wild values of tables are cut before, unless the values have a black and a white. With ``is_robust``,
        all columns have limits. With ``maps_quantiles``, columns are mapped to Gaussian scores before, and
        values beyond the training range pass the network by.
        """
        limits: list[Limits | None] = [None, None]
        if scale_target and not (layout.has_one_unit or has_black_and_white):
            in_all = is_robust or maps_quantiles
            if targets is inputs:
                limits = [find_wild_limits(inputs, in_all=in_all)] * 2
            else:
                limits = _find_limits_of_pairs(inputs, targets, in_all=in_all)

        def corrupt(x: Tensor) -> Tensor:
            return x if noiser is None else noiser.corrupt(x, generator)

        maps, is_mapped = None, torch.tensor(False)
        if maps_quantiles:
            is_free = torch.ones(layout.network_shape, dtype=torch.bool)
            is_free[[column for block in blocks for column in block]] = False
            rows, clean_rows = subsample(inputs), subsample(targets)
            if noiser is not None:
                # New draws make the map of few rows smooth.
                copies = max(1, MIN_NOISY_ROWS // len(rows)), 1
                rows, clean_rows = corrupt(rows.repeat(copies)), clean_rows.repeat(copies)
            maps, is_mapped = _find_maps(rows, clean_rows, is_free)
            maps = maps if is_mapped.any() else None
            limits = [_without_limits(pair, is_mapped) for pair in limits]

        def to_scores(x: Tensor, side: int) -> Tensor:
            return layout.to_network(x) if maps is None else maps[side].scale(x.double())

        pairs = (
            (to_scores(corrupt(_cut(x, limits[0])), 0), to_scores(_cut(t, limits[1]), 1))
            for x, t in zip(iterate_chunks(inputs), iterate_chunks(targets), strict=True)
        )
        (noisy, clean), covariance = compute_joint_moments(pairs, layout.statistics_dims)
        input_scaler = AffineScaler.from_moments(noisy, inputs.dtype)
        target_scaler = AffineScaler.identity()
        if scale_target:
            # The correlation gives the ratio of noise to signal, also for sides in different units.
            correlation = covariance[0, 1] / (noisy.std * clean.std)
            ratios = (correlation.pow(-2) - 1).clamp(min=0).sqrt().nan_to_num(nan=1.0)
            target_scaler = AffineScaler.from_moments(clean, targets.dtype)
            is_free = torch.ones(target_scaler.center.shape, dtype=torch.bool)
            is_free.view(-1)[[column for block in blocks for column in block]] = False
            target_scaler = target_scaler.times(ratios.clamp(*NOISE_RATIOS), is_free)
        # Noise of later batches reaches a little further than that of the sample.
        margin = torch.where(is_mapped, 0.0, MARGIN) * (noisy.high - noisy.low)
        low, high = noisy.low - margin, noisy.high + margin
        wild = None
        if limits[0] is not None or limits[1] is not None or is_mapped.any():
            everywhere = torch.full_like(low, -torch.inf), torch.full_like(high, torch.inf)
            outer, target_outer = (everywhere if pair is None else pair for pair in limits)
            # Values beyond the limits pass the network by, so that limits have no margin.
            low = torch.where(outer[0].isfinite(), outer[0], low)
            high = torch.where(outer[1].isfinite(), outer[1], high)
            slopes = _slopes_beyond(inputs, targets, (low, high), target_outer, are_fresh=noiser is not None)
            wild = WildValues(
                (outer[0].isfinite() | target_outer[0].isfinite()).double(),
                slopes,
                (
                    torch.where(target_outer[0].isfinite(), target_scaler.scale(target_outer[0]), -UNLIMITED),
                    torch.where(target_outer[1].isfinite(), target_scaler.scale(target_outer[1]), UNLIMITED),
                ),
            )
        if maps is not None and wild is not None:
            wild = wild.with_maps(
                is_mapped, maps, (noisy, clean), target_scaler, are_fresh=noiser is not None
            )
        return cls(
            layout,
            input_scaler,
            (input_scaler.scale(low), input_scaler.scale(high)),
            target_scaler,
            blocks,
            wild,
            maps,
        )

    @property
    def wild_columns(self) -> Tensor | None:
        """1 for columns with wild values, 0 for others; None without any."""
        return None if self.wild is None else self.wild.columns

    @property
    def has_constant_columns(self) -> bool:
        """Whether a feature was constant in the samples that the scaling was learned from."""
        scalers = self.input_scaler, self.target_scaler
        return any(bool((scaler.spread == 0).any()) for scaler in scalers)

    def with_scales_of(self, other: Preparation) -> tuple[Preparation, list[int]]:
        """Return the scaling with that of another for constant columns, and these columns.

        A network has never seen a constant column change, so that its scale is free.
        """
        is_new = [
            (mine.spread == 0) & (others.spread > 0) & (mine.spread.ndim == 1)
            for mine, others in (
                (self.input_scaler, other.input_scaler),
                (self.target_scaler, other.target_scaler),
            )
        ]
        columns = torch.nonzero(is_new[0] | is_new[1]).flatten().tolist()
        if not columns or self.input_limits is None or other.input_limits is None:
            return self, []
        low, high = (
            torch.where(is_new[0], theirs, mine)
            for mine, theirs in zip(self.input_limits, other.input_limits, strict=True)
        )
        changed = replace(
            self,
            input_scaler=self.input_scaler.replaced(is_new[0], other.input_scaler),
            input_limits=(low, high),
            target_scaler=self.target_scaler.replaced(is_new[1], other.target_scaler),
        )
        if changed.maps is not None and other.maps is not None:
            noisy, clean = (
                mine.replaced(where, theirs)
                for where, mine, theirs in zip(is_new, changed.maps, other.maps, strict=True)
            )
            changed = replace(changed, maps=(noisy, clean))
        return changed, columns

    @classmethod
    def to_unit_range(cls, layout: SampleLayout, black: float, data_range: float) -> Preparation:
        """Return the scaling of black to 0 and of white to 1, without clipping.

        Both sides have the same scaling, so that a residual network passes pixels through unchanged.
        """
        scaler = AffineScaler(*(torch.tensor(number, dtype=torch.float64) for number in (black, data_range)))
        return cls(layout, scaler, None, scaler)

    @cached_property
    def stays_linear(self) -> bool:
        """Whether every clipped input lies in the linear range."""
        return self.input_limits is None or all(
            float(limit.abs().max()) <= LINEAR_RANGE for limit in self.input_limits
        )

    def input(self, x: Tensor) -> Tensor:
        """Convert samples to network inputs, in the precision of x.

        Values far from the mean are compressed, and values outside the training range are clipped. No single
        value dominates its sample: noise on a nearly constant feature, an outlier, a dead pixel.
        """
        scaled = self.scale_input(self.layout.to_network(x))
        if self.input_limits is not None:
            low, high = self.input_limits
            scaled = scaled.clamp_(low.to(scaled), high.to(scaled))
        if self.stays_linear:
            return scaled
        beyond = nn.functional.softshrink(scaled, LINEAR_RANGE)
        return scaled.sub_(beyond).add_(beyond.abs().log1p_().copysign_(beyond))

    def linear_input(self, x: Tensor) -> Tensor:
        """Convert samples to inputs of a linear function, in the precision of x.

        Values outside of the training range are neither compressed nor clipped, so that a linear function
        extrapolates. Wild values are clipped.
        """
        scaled = self.scale_input(self.layout.to_network(x))
        if self.wild is None or self.input_limits is None:
            return scaled
        low, high = (limit.to(scaled) for limit in self.input_limits)
        return torch.where(self.wild.columns.to(scaled) > 0, scaled.clamp(low, high), scaled)

    def target(self, x: Tensor) -> Tensor:
        """Convert samples to network targets, in the precision of x."""
        values = self.layout.to_network(x)
        scaled = self.target_scaler.scale(values if self.maps is None else self.maps[1].scale(values))
        if self.wild is None:
            return scaled
        low, high = self.wild.target_limits
        return scaled.clamp_(low.to(scaled), high.to(scaled))

    def restore(self, output: Tensor) -> Tensor:
        """Convert network outputs to the unit and layout of the user."""
        return self.layout.from_network(self._unscale_target(self._to_probabilities(output)))

    def scale_input(self, x: Tensor) -> Tensor:
        """Return a network batch of noisy samples in scaled units."""
        return self.input_scaler.scale(x if self.maps is None else self.maps[0].scale(x))

    def _unscale_input(self, x: Tensor) -> Tensor:
        unscaled = self.input_scaler.unscale(x)
        return unscaled if self.maps is None else self.maps[0].unscale(unscaled)

    @property
    def _is_mapped(self) -> Tensor:
        """Columns that are mapped to scores, as truth values."""
        return torch.tensor(False) if self.maps is None else self.maps[0].is_mapped

    def _unscale_target(self, x: Tensor) -> Tensor:
        """Return a network batch of scaled targets in the unit of the user."""
        if self.maps is None:
            return self.target_scaler.unscale(x)
        if self.wild is not None:
            # Steep maps would enlarge what an output lies beyond all targets.
            x = _cut(x, self.wild.target_limits)
        return self.maps[1].unscale(self.target_scaler.unscale(x))

    @property
    def central_range(self) -> tuple[float, float]:
        """Ends of the range of noisy values, two deviations from the mean of each column."""
        center, spread = self.input_scaler.center, self.input_scaler.spread
        if self.maps is None:
            low, high = center - 2 * spread, center + 2 * spread
        else:
            low, high = (self.maps[0].unscale(center + step * spread) for step in (-2, 2))
        return float(low.min()), float(high.max())

    def _to_probabilities(self, output: Tensor) -> Tensor:
        """Return outputs with the logits of blocks as probabilities."""
        if not self.blocks:
            return output
        in_blocks = [column for block in self.blocks for column in block]
        free = sorted({*range(output.shape[1])} - {*in_blocks})
        parts = [output[:, free], *(output[:, list(block)].softmax(dim=1) for block in self.blocks)]
        place = {column: number for number, column in enumerate([*free, *in_blocks])}
        return torch.cat(parts, dim=1)[:, [place[column] for column in range(len(place))]]

    def add_wild(self, x: Tensor, restored: Tensor) -> Tensor:
        """Add to restored outputs the parts of wild values that were cut from x."""
        if self.wild is None or self.input_limits is None:
            return restored
        low, high = (self._unscale_input(limit.to(x)) for limit in self.input_limits)
        # Maxima and minima, which exporters of graphs know.
        beyond = x - torch.minimum(torch.maximum(x, low), high)
        return restored + (self.wild.slopes.to(x) * beyond).to(restored)

    def find_range(self) -> tuple[Tensor, Tensor] | None:
        """Return the lowest and highest inputs of the training; no limits for wild values.

        They are limits of rows in the unit of the user.
        """
        if self.input_limits is None:
            return None
        low, high = self.input_limits
        margin = MARGIN / (1 + 2 * MARGIN) * (high - low)
        ends = self.input_scaler.unscale(low + margin), self.input_scaler.unscale(high - margin)
        if self.wild is None:
            return ends
        largest = torch.full_like(ends[0], torch.finfo(ends[0].dtype).max)
        is_wild = self.wild.columns > 0
        return torch.where(is_wild, -largest, ends[0]), torch.where(is_wild, largest, ends[1])

    def count_outside(self, x: Tensor, slack: float = 0.0) -> tuple[int, NDArray[np.intp]]:
        """Return the number of rows outside of the limits, and of such values by column.

        Few of them may be noise in columns that hardly vary. Wild values do not count. ``slack`` widens the
        limits, as a share of their distance.
        """
        if self.input_limits is None or self.layout.has_one_unit:
            return 0, np.zeros(x.shape[1], np.intp)
        scaled = self.scale_input(self.layout.to_network(x))
        low, high = (limit.to(scaled) for limit in self.input_limits)
        # Limits of mapped columns have no margin.
        share = slack + MARGIN * self._is_mapped.to(scaled)
        low, high = low - share * (high - low), high + share * (high - low)
        is_outside = (scaled < low) | (scaled > high)
        if self.wild is not None:
            is_outside &= (self.wild.columns == 0) | self._is_mapped
        is_far = is_outside.double().mean(dim=1) >= OUTSIDE_SHARE
        return int(is_far.sum()), is_outside.sum(dim=0).numpy()

    def squared_errors(
        self, output: Tensor, target: Tensor, gains: Tensor, known: Tensor | None = None
    ) -> Tensor:
        """Return the mean squared error of each sample.

        ``gains`` are factors of the errors in the unit of the user, of all or of each feature. Entries that
        are not ``known`` do not count.
        """
        output = self._to_probabilities(output)
        if self.maps is None:
            errors = (output - target) * (self.target_scaler.spread * gains).to(output)
        else:
            errors = (self._unscale_target(output) - self._unscale_target(target)) * gains.to(output)
        if known is None:
            return errors.square().flatten(1).mean(dim=1)
        counts = known.expand_as(errors).sum(dim=1).clamp(min=1)
        return (errors.square() * known).sum(dim=1) / counts


@dataclass(frozen=True)
class Recorruption:
    """Predictions as the mean over several recorrupted inputs.

    A network that learned from recorrupted samples expects their stronger noise. The added noise is the same
    for all samples, so that a prediction does not depend on the other samples.

    Attributes
    ----------
    splitter : NoiseSplitter
        Noise in the samples, in the unit of the fit.
    share : float
        Share of the information that the training gave to the targets.
    n_copies : int
        Number of inputs; 0 predicts from the samples themselves.
    """

    _fitted_schema: ClassVar[dict[str, Rule]] = {
        "splitter": record(NoiseSplitter, "the noise of the samples"),
        "share": Rule(lambda v, _: is_number(v, above=0) and v < 1, "a number between 0 and 1"),
        "n_copies": Rule(lambda v, _: is_count(v), "a count"),
    }
    splitter: NoiseSplitter
    share: float
    n_copies: int

    def average(self, predict: Callable[[NDArray[Any]], NDArray[Any]], samples: NDArray[Any]) -> NDArray[Any]:
        """Return the mean prediction from recorrupted samples.

        Parameters
        ----------
        predict : callable
            From noisy samples to denoised ones.
        samples : ndarray of shape (n_samples, ...)
            Noisy samples.
        """
        level = self.splitter.level(as_tensor(samples)).numpy()
        strength = math.sqrt(self.share / (1 - self.share)) * level
        total: Any = 0.0
        for number in range(self.n_copies):
            # Noise and its opposite, whose errors cancel to first order
            pattern = self._unit_noise(samples.shape[1:], number // 2) * (1 - 2 * (number % 2))
            total = total + predict((samples + strength * pattern).astype(samples.dtype))
        mean: NDArray[Any] = (total / self.n_copies).astype(samples.dtype, copy=False)
        return mean

    def _unit_noise(self, shape: tuple[int, ...], number: int) -> NDArray[Any]:
        """Return noise of unit variance for one sample."""
        draw = stream(PATTERN_SEED, "recorrupt", number)
        if self.splitter.noiser is not None:
            noise = self.splitter.noiser.corrupt(torch.zeros(1, *shape, dtype=torch.float64), draw)[0]
            return noise.numpy() / self.splitter.model.sigma
        return torch.randn(shape, generator=draw, dtype=torch.float64).numpy()


def run_in_chunks(
    module: nn.Module, x: Tensor, function: Callable[[nn.Module, Tensor], Tensor], widest: int
) -> Tensor:
    """Apply ``function(module, chunk)`` to chunks of rows, without gradients.

    Parameters
    ----------
    module : Module
        Network in single precision, left unchanged.
    x : Tensor
        Network inputs, in single or double precision.
    function : callable
        Takes a module and a chunk, and returns the outputs.
    widest : int
        Number of entries of the widest layer for one row, which bounds the rows of a chunk.
    """
    # Double precision of the input is kept throughout, by a copy of the weights.
    if x.dtype == torch.float64:
        module = copy.deepcopy(module).double()
    device = next(module.parameters()).device
    outputs: Tensor | None = None
    done, chunk_rows = 0, max(1, entries_at_once(device) // widest)
    with torch.inference_mode():
        for chunk in x.split(chunk_rows):
            output = function(module, chunk.to(device))
            # The first output determines the shape and type of all.
            if outputs is None:
                outputs = torch.empty(len(x), *output.shape[1:], dtype=output.dtype)
            outputs[done : done + len(chunk)] = output
            done += len(chunk)
    assert outputs is not None, "empty input is refused before"
    return outputs


@dataclass(frozen=True)
class SampleLayout:
    """Layout of one sample in arrays of the user and before a network.

    Attributes
    ----------
    sample_shape : tuple of int
        Shape of one sample in arrays of the user.
    image_shape : tuple of int or None
        ``(height, width)`` or ``(height, width, channels)`` of images, None for other samples.
    is_signal : bool
        Whether a row is a one-dimensional signal, with one unit for all entries, unless it is an image.
    """

    _fitted_schema: ClassVar[dict[str, Rule]] = {
        "sample_shape": Rule(lambda v, _: is_shape(v), "the shape of a sample"),
        "image_shape": Rule(lambda v, _: v is None or is_shape(v, (2, 3)), "None, or the shape of an image"),
        "is_signal": has_type(bool, "a truth value"),
    }
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
        """Determine the layout from the shapes of samples and of images in flat rows."""
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
        """Shape before a network: (features,), (1, length), or (channels, height, width)."""
        if self.image_shape is None:
            return (1, *self.sample_shape) if self.is_signal else self.sample_shape
        height, width, channels = (*self.image_shape, 1)[:3]
        return channels, height, width

    @property
    def has_one_unit(self) -> bool:
        """Whether all entries of a sample have one unit, as in signals and images."""
        return len(self.network_shape) > 1

    @property
    def statistics_dims(self) -> tuple[int, ...]:
        """Axes of a network batch to average over: all but features or channels."""
        return (0, *range(2, 1 + len(self.network_shape)))

    def to_network(self, x: Tensor) -> Tensor:
        """Convert samples in the layout of the user to a network batch."""
        if self.image_shape is None:
            return x.reshape(len(x), *self.network_shape)
        channels, height, width = self.network_shape
        return x.reshape(len(x), height, width, channels).movedim(3, 1)

    def from_network(self, x: Tensor) -> Tensor:
        """Convert a network batch to samples in the layout of the user."""
        if self.image_shape is not None:
            x = x.movedim(1, 3)
        return x.reshape(len(x), *self.sample_shape)

    def images_from_network(self, x: Tensor) -> Tensor:
        """Convert a network batch to images, also for flat samples."""
        assert self.image_shape is not None
        return x.movedim(1, 3).reshape(len(x), *self.image_shape)


class ImageLayout(SampleLayout):
    """Layout of images of any size, in batches ``(n, height, width[, channels])``.

    ``sample_shape`` is the shape of one image; its length determines whether there is an axis of channels.
    """

    def to_network(self, x: Tensor) -> Tensor:
        """Convert images to a network batch."""
        return x.movedim(3, 1) if len(self.sample_shape) == 3 else x[:, None]

    def from_network(self, x: Tensor) -> Tensor:
        """Convert a network batch to images."""
        return x.movedim(1, 3) if len(self.sample_shape) == 3 else x[:, 0]

    images_from_network = from_network


Limits = tuple[Tensor, Tensor]


def _without_limits(limits: Limits | None, columns: Tensor) -> Limits | None:
    """Return limits that are infinite in some columns."""
    if limits is None:
        return None
    return torch.where(columns, -torch.inf, limits[0]), torch.where(columns, torch.inf, limits[1])


def _find_maps(
    noisy: Tensor, clean: Tensor, is_free: Tensor
) -> tuple[tuple[QuantileMap, QuantileMap], Tensor]:
    """Return maps of both sides to scores, and the columns that they change.

    A column has scores if its noise is more even in them, as noise in proportion to the value is. The error
    of scores of noise that is even in the unit of the data would be large where values lie far apart.

    Parameters
    ----------
    noisy, clean : Tensor of shape (n, n_features)
        Rows of both sides.
    is_free : Tensor of bool, of shape (n_features,)
        Columns that may have scores.
    """
    maps = QuantileMap.of(noisy), QuantileMap.of(clean)
    scores = maps[0].scale(noisy.double()), maps[1].scale(clean.double())
    is_mapped = is_free & (_unevenness(*scores, clean) < _unevenness(noisy, clean, clean))
    identity = QuantileMap.identity(len(is_free))
    noisy_map, clean_map = (side.replaced(~is_mapped, identity) for side in maps)
    return (noisy_map, clean_map), is_mapped


def _unevenness(noisy: Tensor, clean: Tensor, values: Tensor) -> Tensor:
    """Return how the size of the noise of each column changes with the value.

    This is the deviation of the logarithm of the mean size, over groups of rows with similar values.
    """
    noise = (noisy - clean).double()
    slope = (noise * _centered(clean)).mean(dim=0) / _centered(clean).square().mean(dim=0).clamp(min=1e-300)
    # Sides may have different units.
    sizes = _centered(noise - slope * _centered(clean)).abs()
    sizes = sizes.gather(0, values.argsort(dim=0, stable=True))
    n_groups = min(MAX_GROUPS, max(2, len(sizes) // MIN_GROUP_ROWS))
    means = torch.stack([group.mean(dim=0) for group in sizes.tensor_split(n_groups)])
    logs = (means / means.mean(dim=0).clamp(min=1e-300)).clamp(min=1e-3).log()
    return logs.std(dim=0)


def _centered(x: Tensor) -> Tensor:
    return x.double() - x.double().mean(dim=0)


def _cut(x: Tensor, limits: Limits | None) -> Tensor:
    """Return rows within limits."""
    return x if limits is None else x.clamp(limits[0].to(x), limits[1].to(x))


def _slopes_beyond(
    inputs: Tensor, targets: Tensor, limits: Limits, target_limits: Limits, *, are_fresh: bool
) -> Tensor:
    """Return the slope of targets over inputs beyond their limits, for each column."""
    is_limited = target_limits[0].isfinite()
    if are_fresh:
        return is_limited.double()
    slopes, unit, target_unit = _relative_slopes(inputs, targets, limits, target_limits)
    return torch.where(is_limited, slopes * target_unit / unit, torch.zeros_like(slopes))


def _relative_slopes(
    inputs: Tensor, targets: Tensor, limits: Limits, target_limits: Limits
) -> tuple[Tensor, Tensor, Tensor]:
    """Return slopes of targets over inputs beyond their limits, and units of both."""
    products = squares = torch.zeros_like(limits[0])
    # Shares of the limits, since squares may leave the range of numbers.
    unit, target_unit = (
        torch.where(pair[1].isfinite() & (pair[1] > pair[0]), pair[1] - pair[0], torch.ones_like(pair[0]))
        for pair in (limits, target_limits)
    )
    for x, t in zip(iterate_chunks(inputs), iterate_chunks(targets), strict=True):
        beyond = (x - _cut(x, limits)).double() / unit
        products = products + ((t - _cut(t, target_limits)).double() / target_unit * beyond).sum(dim=0)
        squares = squares + beyond.square().sum(dim=0)
    return products / torch.where(squares > 0, squares, torch.ones_like(squares)), unit, target_unit


def _find_limits_of_pairs(inputs: Tensor, targets: Tensor, *, in_all: bool) -> list[Limits | None]:
    """Return the limits of wild values of both sides, or None for a side without."""
    own = [find_wild_limits(side, in_all=in_all) for side in (inputs, targets)]
    if own[0] is None and own[1] is None:
        return own
    some = [find_wild_limits(side, in_all=True) for side in (inputs, targets)]
    if some[0] is None or some[1] is None:
        return own
    # A column may have wild values by the measure on one side and just not on the other. Where they are the
    # same values, both sides get limits, so that these values pass.
    slopes, _, _ = _relative_slopes(inputs, targets, some[0], some[1])
    has_limits = torch.stack([limits[0].isfinite() for limits in own if limits is not None]).any(dim=0)
    is_common = has_limits & (slopes >= MIN_WILD_SLOPE)
    limits: list[Limits | None] = []
    for mine, every in zip(own, (some[0], some[1]), strict=True):
        low, high = (
            (torch.full_like(every[0], side * torch.inf) for side in (-1, 1)) if mine is None else mine
        )
        pair = torch.where(is_common, every[0], low), torch.where(is_common, every[1], high)
        limits.append(pair if bool(pair[0].isfinite().any()) else None)
    return limits


def _is_pair_of_numbers(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(FINITE_TENSOR.test(v, value) for v in value)


def _is_pair_of_maps(value: Any) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) == 2
        and all(type(side) is QuantileMap and conforms(side) for side in value)
    )


def _is_sample_preparation(value: Any, estimator: Any) -> bool:
    if type(value) is not Preparation or not conforms(value):
        return False
    layout, shape = value.layout, value.layout.network_shape
    are_signals = estimator._factory().rows_are_signals
    expected = SampleLayout.of(estimator._sample_shape_, layout.image_shape, are_signals)
    scalers = value.input_scaler, value.target_scaler
    tensors = [part for scaler in scalers for part in (scaler.center, scaler.spread)]
    if value.wild is not None:
        tensors += [value.wild.columns, value.wild.slopes, *value.wild.target_limits]
    return (
        type(layout) is SampleLayout
        and layout == expected
        and layout.image_shape == estimator.image_shape_
        and all(broadcasts_to(tensor, shape) for tensor in (*tensors, *(value.input_limits or ())))
        and _fit_columns(value.blocks, shape)
        and (value.maps is None or (len(shape) == 1 and all(side.fits(shape[0]) for side in value.maps)))
    )


def _fit_columns(blocks: tuple[tuple[int, ...], ...], shape: tuple[int, ...]) -> bool:
    """Return whether blocks are columns of rows of this shape."""
    return not blocks or (len(shape) == 1 and all(column < shape[0] for block in blocks for column in block))


def _is_image_preparation(value: Any, estimator: Any) -> bool:
    if type(value) is not Preparation or not conforms(value):
        return False
    shape, patch = estimator._sample_shape_, estimator.patch_shape_
    # Rows are signals, images of height 1, unless the user declared the shape of an image.
    images = shape if len(shape) > 1 else (estimator.image_shape_ or (1, *shape))
    one, other = value.input_scaler, value.target_scaler
    return (
        type(value.layout) is ImageLayout
        and value.layout == ImageLayout(patch, patch)
        and (len(patch), patch[2:]) == (len(images), images[2:])
        and value.input_limits is None
        and not value.blocks
        # An image and its prediction share one black and one white; each channel of signals has its own.
        and one.center.shape == one.spread.shape
        and (one.center.ndim == 0 or (estimator._has_channel_units and one.center.shape == (images[2], 1, 1)))
        and torch.equal(one.center, other.center)
        and torch.equal(one.spread, other.spread)
    )


def _are_units(value: Any, estimator: Any) -> bool:
    shape = estimator._preparation_.layout.network_shape
    return (
        type(value) is Units
        and conforms(value)
        and broadcasts_to(value.center, shape)
        and broadcasts_to(value.spread, shape)
        and _fit_columns(value.blocks, shape)
    )


def _are_noise_levels(value: Any, estimator: Any) -> bool:
    if value is None or estimator.sigma != "map":
        return value is None and estimator.sigma != "map"
    are_levels = isinstance(value, tuple) and len(value) == 2
    return are_levels and all(NONNEGATIVE_NUMBER.test(v, None) for v in value) and value[0] <= value[1]


def _is_judgement(value: Any, estimator: Any) -> bool:
    is_pair = isinstance(value, tuple) and len(value) == 2 and type(value[0]) is str and is_count(value[1])
    return value is None or (is_pair and value[1] <= estimator.n_iter_)


def _are_best_weights(value: Any, estimator: Any) -> bool:
    if value is None:
        return True
    if type(value) is not dict or not all(isinstance(weight, Tensor) for weight in value.values()):
        return False
    # A network from a file is built after the other attributes were checked, and then compared.
    module = getattr(estimator.net_, "module_", None)
    shapes = {name: (weight.shape, weight.dtype) for name, weight in value.items()}
    fits = module is None or shapes == {n: (w.shape, w.dtype) for n, w in module.state_dict().items()}
    return fits and all(bool(weight.isfinite().all()) for weight in value.values())


SAMPLE_PREPARATION = Rule(_is_sample_preparation, "the scaling of such samples", after_others=True)
IMAGE_PREPARATION = Rule(_is_image_preparation, "the scaling of such samples", after_others=True)
UNITS = Rule(_are_units, "the unit of such samples", after_others=True)
NOISE_LEVELS = Rule(_are_noise_levels, 'two noise levels with sigma="map", else None')
JUDGEMENT = Rule(_is_judgement, "None, or a name and an epoch", required=False, after_others=True)
BEST_WEIGHTS = Rule(
    _are_best_weights, "None, or weights of such a network", required=False, after_others=True
)
