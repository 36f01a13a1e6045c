"""Estimators and the transformers before them as modules of torch, for export."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from sk_denoise._enlargement import enlarge
from sk_denoise.estimators import DenoisingAutoencoder, ImageDenoiser, SignalDenoiser
from sk_denoise.estimators._denoising_autoencoder import OUTPUTS
from sk_denoise.estimators._preparation import LINEAR_RANGE, Preparation, SampleLayout
from sk_denoise.noise import BaseNoiser
from sk_denoise.preprocessing import Centerer, PixelScaler

__all__ = [
    "AffineStep",
    "ArrayModule",
    "FlatImageModule",
    "SignalModule",
    "ImageModule",
    "ScaledModule",
    "combine_steps",
    "iterate_steps",
]


# Arrays of one shape ------------------------------------------------------------------------------------


class ArrayModule(nn.Module):
    """``DenoisingAutoencoder.transform`` for float32 samples.

    Parameters
    ----------
    estimator : DenoisingAutoencoder
        Fitted.
    """

    def __init__(self, estimator: DenoisingAutoencoder) -> None:
        super().__init__()
        self.preparation = _freeze_preparation(estimator._preparation_)
        self.network = copy.deepcopy(estimator.net_.module_).cpu()
        self.part = None if estimator.output == "reconstruction" else OUTPUTS[estimator.output]
        self.filler = copy.deepcopy(getattr(estimator, "_gap_filler_", None))
        self.blend = copy.deepcopy(getattr(estimator, "_blend_", None))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, *sample_shape)`` to the same, or to ``(n, n_features_out)``."""
        if self.filler is not None:
            x = self.filler.fill(x)
        inputs = self._prepare(x)
        if self.part is None:
            output = self.preparation.add_wild(x, self.preparation.restore(self.network(inputs)))
            return output if self.blend is None else self.blend.combine(x, output)
        hidden: Tensor = getattr(self.network, self.part)(inputs).flatten(1)
        return hidden

    def _prepare(self, x: Tensor) -> Tensor:
        """Return the input of the network, as ``Preparation.input`` does."""
        scaled = self.preparation.scale_input(self.preparation.layout.to_network(x))
        if self.preparation.input_limits is not None:
            low, high = (limit.to(scaled) for limit in self.preparation.input_limits)
            scaled = torch.minimum(torch.maximum(scaled, low), high)
        if self.preparation.stays_linear:
            return scaled
        beyond = nn.functional.softshrink(scaled, LINEAR_RANGE)
        # The exporter has no copysign.
        return scaled - beyond + beyond.sign() * beyond.abs().log1p()


class _OpenLayout(SampleLayout):
    """A layout that leaves the number of samples open."""

    # len(x) would become a constant of the graph.
    def to_network(self, x: Tensor) -> Tensor:
        if self.image_shape is None:
            return x.reshape(-1, *self.network_shape)
        channels, height, width = self.network_shape
        return x.reshape(-1, height, width, channels).movedim(3, 1)

    def from_network(self, x: Tensor) -> Tensor:
        if self.image_shape is not None:
            x = x.movedim(1, 3)
        return x.reshape(-1, *self.sample_shape)


def _freeze_preparation(preparation: Preparation) -> Preparation:
    """Return a copy with an open layout and with its cached properties computed."""
    layout = preparation.layout
    parts = {part.name: getattr(layout, part.name) for part in fields(layout)}
    frozen = replace(copy.deepcopy(preparation), layout=_OpenLayout(**parts))
    # On first use they read tensors as numbers and store the result, which an exporter cannot follow.
    _ = frozen.stays_linear, frozen.input_scaler.gain, frozen.target_scaler.gain
    return frozen


# Images of any size -------------------------------------------------------------------------------------


class ImageModule(nn.Module):
    """``ImageDenoiser.predict`` for float32 images of any size.

    Parameters
    ----------
    estimator : ImageDenoiser
        Fitted.
    """

    def __init__(self, estimator: ImageDenoiser) -> None:
        super().__init__()
        scaler = estimator._preparation_.input_scaler
        self.black, self.data_range = float(scaler.center), float(scaler.spread)
        levels: Any = estimator.noise_levels_ or (0.0, 0.0)
        self.max_sigma = float(levels[1])
        self.network = copy.deepcopy(estimator.net_.module_).cpu()
        self.stride = int(getattr(self.network, "stride", 1))
        self.has_channels = len(estimator.patch_shape_) == 3
        self.scale = estimator.scale_

    def forward(self, x: Tensor, sigma: Tensor | None = None) -> Tensor:
        """Map images ``(n, height, width[, channels])``; ``sigma`` is of shape (n,)."""
        x = enlarge(x.movedim(3, 1) if self.has_channels else x[:, None], self.scale)
        height, width = x.shape[2:]
        inputs = _pad_to_stride((x - self.black) / self.data_range, self.stride)
        if sigma is not None:
            levels = sigma.clamp(max=self.max_sigma) / self.data_range
            level_map = torch.zeros_like(inputs[:, :1]) + levels[:, None, None, None]
            inputs = torch.cat([inputs, level_map], dim=1)
        output = self.network(inputs)[:, :, :height, :width]
        output = output * self.data_range + self.black
        restored: Tensor = output.movedim(1, 3) if self.has_channels else output[:, 0]
        return restored


class FlatImageModule(nn.Module):
    """``ImageDenoiser.predict`` for float32 rows: flattened images or signals.

    Parameters
    ----------
    estimator : ImageDenoiser
        Fitted to rows.
    """

    def __init__(self, estimator: ImageDenoiser) -> None:
        super().__init__()
        self.images = ImageModule(estimator)
        self.shape = estimator.image_shape_ or (1, estimator.n_features_in_)

    def forward(self, x: Tensor, sigma: Tensor | None = None) -> Tensor:
        """Map ``(n, n_features)`` to the same."""
        rows: Tensor = self.images(x.reshape(-1, *self.shape), sigma).flatten(1)
        return rows


class SignalModule(nn.Module):
    """``SignalDenoiser.predict`` for float32 signals of any length.

    Parameters
    ----------
    estimator : SignalDenoiser
        Fitted.
    """

    def __init__(self, estimator: SignalDenoiser) -> None:
        super().__init__()
        scaler = estimator._preparation_.input_scaler
        # One number, or one for each channel
        self.center, self.spread = (
            number.float().reshape(-1, 1) for number in (scaler.center, scaler.spread)
        )
        self.network = copy.deepcopy(estimator.net_.module_).cpu()
        self.stride = int(getattr(self.network, "stride", 1))
        self.has_channels = estimator.n_channels_ > 1

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, length)`` or, for several channels, ``(n, channels, length)``."""
        signals = x if self.has_channels else x[:, None]
        inputs = _pad_to_stride((signals - self.center) / self.spread, self.stride)
        output = self.network(inputs[:, :, None])[:, :, 0, : x.shape[-1]]
        denoised: Tensor = output * self.spread + self.center
        return denoised if self.has_channels else denoised[:, 0]


def _pad_to_stride(x: Tensor, stride: int) -> Tensor:
    """Return samples with margins at their ends up to a multiple of the stride.

    As ``sk_denoise.networks._base.pad_by_mirroring``, but for open sizes: mirrored if the margins fit
    into the image, else repeated.
    """
    if stride == 1:
        return x
    sides = x.shape[2:]
    padded = [(side + stride - 1) // stride * stride for side in sides]
    # Sums of ones keep a size open that an integer would make a constant.
    last = [torch.ones(side, dtype=torch.int64).sum() - 1 for side in sides]
    places = [torch.arange(side) for side in padded]
    fits = torch.stack([place[-1] <= 2 * end for place, end in zip(places, last, strict=True)]).all()
    for dim, (place, end) in enumerate(zip(places, last, strict=True), start=2):
        mirrored, repeated = end - (end - place).abs(), torch.minimum(place, end)
        x = x.index_select(dim, torch.where(fits, mirrored, repeated).clamp(min=0))
    return x


# Transformers before a denoiser -------------------------------------------------------------------------


@dataclass(frozen=True)
class AffineStep:
    """A transformer as ``(x - center) * gain``, then clipped.

    Attributes
    ----------
    center, gain : ndarray
        In double precision, of a shape that broadcasts against samples.
    clip : pair of float or None
        Limits of the output; None clips nothing.
    """

    center: NDArray[np.float64]
    gain: NDArray[np.float64]
    clip: tuple[float, float] | None = None

    @classmethod
    def of(cls, center: Any, gain: Any, clip: tuple[float, float] | None = None) -> AffineStep:
        """Return a step for numbers or arrays of any type."""
        return cls(np.asarray(center, dtype=float), np.asarray(gain, dtype=float), clip)

    def then(self, other: AffineStep) -> AffineStep:
        """Return this step and the next one as one step, which rounds once."""
        assert self.clip is None
        return AffineStep.of(self.center + other.center / self.gain, self.gain * other.gain, other.clip)


def _convert_standard_scaler(step: StandardScaler) -> AffineStep:
    return AffineStep.of(step.mean_ if step.with_mean else 0.0, 1 / step.scale_ if step.with_std else 1.0)


def _convert_min_max_scaler(step: MinMaxScaler) -> AffineStep:
    return AffineStep.of(-step.min_ / step.scale_, step.scale_, step.feature_range if step.clip else None)


def _convert_max_abs_scaler(step: MaxAbsScaler) -> AffineStep:
    # A parameter from scikit-learn 1.8 on
    clips = getattr(step, "clip", False)
    return AffineStep.of(0.0, 1 / step.scale_, (-1.0, 1.0) if clips else None)


def _convert_robust_scaler(step: RobustScaler) -> AffineStep:
    center = step.center_ if step.with_centering else 0.0
    return AffineStep.of(center, 1 / step.scale_ if step.with_scaling else 1.0)


def _convert_pixel_scaler(step: PixelScaler) -> AffineStep:
    low, high = step.range_
    return AffineStep.of(low, 1 / ((high - low) or 1.0))


def _convert_centerer(step: Centerer) -> AffineStep:
    shape: tuple[int, ...] = step._sample_shape_
    # The channels of a flattened image follow one another, pixel by pixel.
    is_row = len(shape) == 1
    return AffineStep.of(np.tile(step.mean_, shape[0] // step.mean_.size) if is_row else step.mean_, 1.0)


CONVERTERS: dict[type[Any], Callable[[Any], AffineStep]] = {
    StandardScaler: _convert_standard_scaler,
    MinMaxScaler: _convert_min_max_scaler,
    MaxAbsScaler: _convert_max_abs_scaler,
    RobustScaler: _convert_robust_scaler,
    PixelScaler: _convert_pixel_scaler,
    Centerer: _convert_centerer,
}


def iterate_steps(estimator: Any, place: str = "pipeline") -> Iterator[tuple[str, Any]]:
    """Yield the steps of a pipeline and of pipelines in it, with the place of each."""
    if isinstance(estimator, FrozenEstimator):
        yield from iterate_steps(estimator.estimator, place)
    elif isinstance(estimator, Pipeline):
        for name, step in estimator.steps:
            if step is not None and step != "passthrough":
                yield from iterate_steps(step, f"{place}[{name!r}]")
    else:
        yield place, estimator


def combine_steps(steps: list[tuple[str, Any]]) -> list[AffineStep]:
    """Return the steps before a denoiser as few affine steps.

    Raises
    ------
    TypeError
        If a step is not affine; the message names it.
    """
    combined: list[AffineStep] = []
    for place, step in steps:
        # A noiser changes nothing after the fit.
        if isinstance(step, BaseNoiser) and step.apply != "always":
            continue
        if type(step) not in CONVERTERS:
            raise _step_error(place, step)
        check_is_fitted(step)
        affine = CONVERTERS[type(step)](step)
        if combined and combined[-1].clip is None:
            affine = combined.pop().then(affine)
        combined.append(affine)
    return combined


def _step_error(place: str, step: Any) -> TypeError:
    """Return the error for a step that no graph can hold, with a way out."""
    kind = type(step).__name__
    if isinstance(step, BaseNoiser):
        return TypeError(
            f"{place} is a {kind} with apply='always', which draws noise for every prediction, and a "
            "graph draws none. Set apply='fit', or leave the step out."
        )
    return TypeError(
        f"{place} is a {kind}, and export_onnx writes {', '.join(known.__name__ for known in CONVERTERS)} "
        "before a denoiser. Export a pipeline of the steps behind it; its graph takes the output of this one."
    )


class _AffineModule(nn.Module):
    """An affine step in single precision."""

    center: Tensor
    rest: Tensor
    gain: Tensor

    def __init__(self, step: AffineStep) -> None:
        super().__init__()
        center = torch.from_numpy(step.center)
        # Two parts: data far from 0 show the digits of the center that single precision rounds off.
        self.register_buffer("center", center.float())
        self.register_buffer("rest", (center - center.float().double()).float())
        self.register_buffer("gain", torch.from_numpy(step.gain).float())
        self.clip = step.clip

    def forward(self, x: Tensor) -> Tensor:
        """Map samples to samples of the same shape."""
        scaled: Tensor = (x - self.center - self.rest) * self.gain
        return scaled if self.clip is None else scaled.clamp(*self.clip)


class ScaledModule(nn.Module):
    """A denoiser behind affine transformers.

    Parameters
    ----------
    steps : list of AffineStep
        Transformers in their order.
    denoiser : Module
        Applied to their output.
    """

    def __init__(self, steps: list[AffineStep], denoiser: nn.Module) -> None:
        super().__init__()
        self.steps = nn.Sequential(*map(_AffineModule, steps))
        self.denoiser = denoiser

    def forward(self, x: Tensor, sigma: Tensor | None = None) -> Tensor:
        """Map the input of the first transformer to the output of the denoiser."""
        scaled = self.steps(x)
        denoised: Tensor = self.denoiser(scaled) if sigma is None else self.denoiser(scaled, sigma)
        return denoised
