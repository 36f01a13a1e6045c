"""Transformers before a denoiser as shifts and scales, for an exporter to follow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from sk_denoise.noise import BaseNoiser
from sk_denoise.preprocessing import Centerer, PixelScaler

__all__ = ["Scaled", "shifts_of", "steps_of"]


@dataclass(frozen=True)
class Shift:
    """A transformer as ``(x - center) * gain``, clipped where it clips.

    Attributes
    ----------
    center, gain : ndarray
        In double precision, of a shape that broadcasts against samples.
    clip : pair of float or None
        The limits of the outcome.
    """

    center: NDArray[np.float64]
    gain: NDArray[np.float64]
    clip: tuple[float, float] | None = None

    @classmethod
    def of(cls, center: Any, gain: Any, clip: tuple[float, float] | None = None) -> Shift:
        return cls(np.asarray(center, dtype=float), np.asarray(gain, dtype=float), clip)

    def then(self, other: Shift) -> Shift:
        """Return both as one, which rounds once; the first does not clip."""
        return Shift.of(self.center + other.center / self.gain, self.gain * other.gain, other.clip)


# The table ----------------------------------------------------------------------------------------------


def _of_standard_scaler(step: StandardScaler) -> Shift:
    return Shift.of(step.mean_ if step.with_mean else 0.0, 1 / step.scale_ if step.with_std else 1.0)


def _of_min_max_scaler(step: MinMaxScaler) -> Shift:
    return Shift.of(-step.min_ / step.scale_, step.scale_, step.feature_range if step.clip else None)


def _of_max_abs_scaler(step: MaxAbsScaler) -> Shift:
    clips = getattr(step, "clip", False)  # a parameter from scikit-learn 1.8 on
    return Shift.of(0.0, 1 / step.scale_, (-1.0, 1.0) if clips else None)


def _of_robust_scaler(step: RobustScaler) -> Shift:
    center = step.center_ if step.with_centering else 0.0
    return Shift.of(center, 1 / step.scale_ if step.with_scaling else 1.0)


def _of_pixel_scaler(step: PixelScaler) -> Shift:
    low, high = step.range_
    return Shift.of(low, 1 / ((high - low) or 1.0))


def _of_centerer(step: Centerer) -> Shift:
    shape: tuple[int, ...] = step._sample_shape_
    is_row = len(shape) == 1  # whose channels follow one another, pixel by pixel
    return Shift.of(np.tile(step.mean_, shape[0] // step.mean_.size) if is_row else step.mean_, 1.0)


SHIFTS: dict[type[Any], Callable[[Any], Shift]] = {
    StandardScaler: _of_standard_scaler,
    MinMaxScaler: _of_min_max_scaler,
    MaxAbsScaler: _of_max_abs_scaler,
    RobustScaler: _of_robust_scaler,
    PixelScaler: _of_pixel_scaler,
    Centerer: _of_centerer,
}


# Pipelines ----------------------------------------------------------------------------------------------


def steps_of(estimator: Any, place: str = "pipeline") -> Iterator[tuple[str, Any]]:
    """Yield the steps of a pipeline, and of those in it, with the place of each; what is none is one step."""
    if isinstance(estimator, FrozenEstimator):
        yield from steps_of(estimator.estimator, place)
    elif isinstance(estimator, Pipeline):
        for name, step in estimator.steps:
            if step is not None and step != "passthrough":
                yield from steps_of(step, f"{place}[{name!r}]")
    else:
        yield place, estimator


def shifts_of(steps: list[tuple[str, Any]]) -> list[Shift]:
    """Return the steps before a denoiser as few shifts.

    Raises
    ------
    TypeError
        Where a step does something else; the message names it.
    """
    shifts: list[Shift] = []
    for place, step in steps:
        if isinstance(step, BaseNoiser) and step.apply != "always":  # it changes nothing after the fit
            continue
        if type(step) not in SHIFTS:
            raise _refusal(place, step)
        check_is_fitted(step)
        shift = SHIFTS[type(step)](step)
        if shifts and shifts[-1].clip is None:
            shift = shifts.pop().then(shift)
        shifts.append(shift)
    return shifts


def _refusal(place: str, step: Any) -> TypeError:
    """Return why a step is not written into a graph, and what to do instead."""
    kind = type(step).__name__
    if isinstance(step, BaseNoiser):
        return TypeError(
            f"{place} is a {kind} with apply='always', which draws noise for every prediction, and a "
            "graph draws none. Set apply='fit', or leave the step out."
        )
    return TypeError(
        f"{place} is a {kind}, and export_onnx writes {', '.join(known.__name__ for known in SHIFTS)} "
        "before a denoiser. Export a pipeline of the steps behind it; its graph takes the output of this one."
    )


# Modules ------------------------------------------------------------------------------------------------


class _ShiftModule(nn.Module):
    """A shift and scale in single precision.

    The center is in two parts, for data far from 0 show what is rounded off it.
    """

    center: Tensor
    rest: Tensor
    gain: Tensor

    def __init__(self, shift: Shift) -> None:
        super().__init__()
        center = torch.from_numpy(shift.center)
        self.register_buffer("center", center.float())
        self.register_buffer("rest", (center - center.float().double()).float())
        self.register_buffer("gain", torch.from_numpy(shift.gain).float())
        self.clip = shift.clip

    def forward(self, x: Tensor) -> Tensor:
        """Map samples to samples of the same shape."""
        shifted: Tensor = (x - self.center - self.rest) * self.gain
        return shifted if self.clip is None else shifted.clamp(*self.clip)


class Scaled(nn.Module):
    """A denoiser behind transformers that shift and scale."""

    def __init__(self, shifts: list[Shift], denoiser: nn.Module) -> None:
        super().__init__()
        self.shifts = nn.Sequential(*map(_ShiftModule, shifts))
        self.denoiser = denoiser

    def forward(self, x: Tensor, sigma: Tensor | None = None) -> Tensor:
        """Map what the first transformer takes to what the denoiser gives."""
        shifted = self.shifts(x)
        answer: Tensor = self.denoiser(shifted) if sigma is None else self.denoiser(shifted, sigma)
        return answer
