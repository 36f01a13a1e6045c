"""One pass of a network over an image."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from sk_denoise._intensity import IntensityRange
from sk_denoise.restoration._image_repair import as_stack
from sk_denoise.restoration._pretrained import ImageNetwork, InputRange, Levels
from sk_denoise.restoration._shared_statistics import Numbers, SharedStatistics
from sk_denoise.training import has_bfloat16_units, resolve_device

__all__ = ["PassOptions", "check_channels", "run_network"]

# Number of channels of a network that takes gray images as well, as three equal channels.
COLORS = 3
# Level of what is left of noise that is too strong for the range of an image, relative to this noise.
LEFT_OF_STRONG_NOISE = 0.1


@dataclass(frozen=True)
class PassOptions:
    """Options of a pass that do not depend on the noise, as in :func:`denoise_image`.

    ``statistics`` are those of the whole image, if this one is a part of it.
    """

    tile_size: int | Literal["auto"] | None = "auto"
    ensemble: bool = False
    precision: str = "auto"
    device: str | torch.device = "auto"
    verbose: bool = False
    callback: Callable[[int, int], object] | None = None
    statistics: SharedStatistics = field(default_factory=SharedStatistics)


def run_network(
    network: ImageNetwork, array: NDArray[Any], sigma: ArrayLike | None, options: PassOptions
) -> NDArray[Any]:
    """Denoise a checked image by a network.

    Parameters
    ----------
    network : ImageNetwork
        Network.
    array : ndarray of shape (height, width) or (height, width, channels)
        Image. Its alpha is unchanged.
    sigma : float, array-like of shape (height, width) or None
        Noise level in the unit of the image; None estimates it.
    options : PassOptions
        Further options.
    """
    check_channels(network, array)
    restored = array.copy()
    noisy, outputs = _network_stacks(network, array, restored)
    colors = as_stack(array, network.n_channels)
    n_equal = max(1, noisy[0].shape[3] // colors.shape[3])
    if options.statistics.is_for_parts:
        numbers = options.statistics.of(
            "input", lambda: _pack(*network.prepare_input(colors, sigma, gain=math.sqrt(n_equal)))
        )
        levels, input_ranges = _unpack(numbers)
    else:
        levels, input_ranges = network.prepare_input(colors, sigma, gain=math.sqrt(n_equal))
    # Without noise there is nothing to do.
    if levels is not None and not levels.any():
        return restored
    device = resolve_device(options.device)
    module = _move_to(device, network.module)
    is_half = options.precision == "bfloat16" or (options.precision == "auto" and has_bfloat16_units(device))
    predictors = [
        network.build_predictor(
            module, input_range, tile_size=options.tile_size, ensemble=options.ensemble, half=is_half
        )
        for input_range in input_ranges
    ]
    n_tiles = len(noisy) * sum(predictor.count_tiles(*array.shape[:2]) for predictor in predictors)
    with tqdm(disable=not options.verbose, unit="tile", total=n_tiles) as bar:
        progress = _Progress(bar, n_tiles, options.callback)
        for stack, output in zip(noisy, outputs, strict=True):
            if len(predictors) == 1:
                predictors[0].restore(stack, output, levels, progress)
                continue
            # The second predictor is for the pixels with stronger noise than the first range covers. It goes
            # first, since the noise of these pixels would reach the others, within the receptive field.
            assert levels is not None
            strong_output = output.copy()
            predictors[1].restore(stack, strong_output, levels, progress)
            is_covered = network.covers_levels(levels, input_ranges[0])
            quiet = np.where(is_covered[..., None], stack, strong_output)
            predictors[0].restore(
                quiet, output, np.where(is_covered, levels, LEFT_OF_STRONG_NOISE * levels), progress
            )
            np.copyto(output, strong_output, where=~is_covered[..., None])
    # Three equal channels have three predictions of one gray image.
    if n_equal > 1:
        mean = outputs[0].mean(axis=3, keepdims=True, dtype=np.float64)
        as_stack(restored, network.n_channels)[...] = np.rint(mean) if restored.dtype.kind in "iu" else mean
    return restored


def _pack(levels: Levels, input_ranges: list[InputRange]) -> Numbers:
    """Return a noise level and an input range as numbers."""
    level = () if levels is None else (float(levels.reshape(-1)[0]),)
    # One level for the whole image has one range.
    (input_range,) = input_ranges
    limits = () if input_range is None else (input_range.black, input_range.white)
    return float(len(level)), *level, *limits


def _unpack(numbers: Numbers) -> tuple[Levels, list[InputRange]]:
    n_levels = int(numbers[0])
    limits = numbers[1 + n_levels :]
    levels = np.array(numbers[1 : 1 + n_levels]) if n_levels else None
    return levels, [IntensityRange(*limits) if limits else None]


def check_channels(network: ImageNetwork, image: NDArray[Any]) -> None:
    """Refuse an image with another number of channels than the network takes."""
    expected, given = network.n_channels, as_stack(image, network.n_channels).shape[3]
    # A network of one channel denoises each channel separately.
    if expected not in (1, given) and not (given == 1 and expected == COLORS):
        raise ValueError(
            f"This network takes images of {expected} channels, this one has {given}"
            f"{' besides alpha' if given < np.shape(image)[-1] and image.ndim == 3 else ''}. Take "
            'model="auto", or a network trained on such images.'
        )


def _network_stacks(network: ImageNetwork, *images: NDArray[Any]) -> list[list[NDArray[Any]]]:
    """Return each image as a list of stacks with the channels of the network.

    These are views of the whole image, or of each channel. Only for a gray image and a network of colours it
    is a copy with three equal channels.
    """
    stacks = [as_stack(image, network.n_channels) for image in images]
    if network.n_channels == stacks[0].shape[3]:
        return [[stack] for stack in stacks]
    if network.n_channels > stacks[0].shape[3]:
        return [[np.repeat(stack, network.n_channels, axis=3)] for stack in stacks]
    return [[stack[..., channel, None] for channel in range(stack.shape[3])] for stack in stacks]


def _move_to(device: torch.device, network: torch.nn.Module) -> torch.nn.Module:
    """Return the network on a device, as a copy if it is on another one."""
    # The network is shared with other calls, and must stay on its device.
    return network if next(network.parameters()).device == device else copy.deepcopy(network).to(device)


class _Progress:
    """Number of processed tiles, for the progress bar and the callback."""

    def __init__(self, bar: Any, total: int, callback: Callable[[int, int], object] | None) -> None:
        self.bar, self.done, self.total, self.callback = bar, 0, total, callback
        self._notify()

    def update(self) -> None:
        """Count one more tile."""
        self.bar.update()
        self.done += 1
        self._notify()

    def _notify(self) -> None:
        if self.callback is not None:
            self.callback(self.done, self.total)
