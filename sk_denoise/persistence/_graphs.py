"""From the user's unit to the user's unit as one module, for an exporter to follow."""

from __future__ import annotations

import copy
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from sk_denoise.estimators import DenoisingAutoencoder, ImageDenoiser
from sk_denoise.estimators._denoising_autoencoder import OUTPUTS
from sk_denoise.estimators._preparation import LINEAR_RANGE, Preparation, SampleLayout

__all__ = ["Images", "Rows", "Samples"]


class _DynamicLayout(SampleLayout):
    """A layout that never asks for the number of samples, which is to stay open."""

    def to_network(self, x: Tensor) -> Tensor:
        if self.image_shape is None:
            return x.reshape(-1, *self.network_shape)
        channels, height, width = self.network_shape
        return x.reshape(-1, height, width, channels).movedim(3, 1)

    def from_network(self, x: Tensor) -> Tensor:
        if self.image_shape is not None:
            x = x.movedim(1, 3)
        return x.reshape(-1, *self.sample_shape)


class Samples(nn.Module):
    """What ``DenoisingAutoencoder.transform`` does to float32 samples."""

    def __init__(self, estimator: DenoisingAutoencoder) -> None:
        super().__init__()
        self.preparation = _settled(estimator._preparation_)
        self.network = copy.deepcopy(estimator.net_.module_).cpu()
        self.part = None if estimator.output == "reconstruction" else OUTPUTS[estimator.output]

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, *sample_shape)`` to the same, or to ``(n, n_features_out)``."""
        shown = self._shown(x)
        if self.part is None:
            return self.preparation.restore(self.network(shown))
        inner: Tensor = getattr(self.network, self.part)(shown).flatten(1)
        return inner

    def _shown(self, x: Tensor) -> Tensor:
        """Return what ``Preparation.input`` does, whose sign of a logarithm exporters do not know."""
        scaled = self.preparation.input_scaler.scale(self.preparation.layout.to_network(x))
        if self.preparation.input_limits is not None:
            low, high = (limit.to(scaled) for limit in self.preparation.input_limits)
            scaled = torch.minimum(torch.maximum(scaled, low), high)
        if self.preparation.stays_linear:
            return scaled
        beyond = nn.functional.softshrink(scaled, LINEAR_RANGE)
        return scaled - beyond + beyond.sign() * beyond.abs().log1p()


def _settled(preparation: Preparation) -> Preparation:
    """Return a copy with a layout to follow, which has worked out what it works out once."""
    layout = preparation.layout
    parts = {part.name: getattr(layout, part.name) for part in fields(layout)}
    settled = replace(copy.deepcopy(preparation), layout=_DynamicLayout(**parts))
    _ = settled.stays_linear, settled.input_scaler.gain, settled.target_scaler.gain
    return settled


class Images(nn.Module):
    """What ``ImageDenoiser.predict`` does to float32 images of any size."""

    def __init__(self, estimator: ImageDenoiser) -> None:
        super().__init__()
        self.restorer = _Numbers.of(estimator)
        self.network = copy.deepcopy(estimator.net_.module_).cpu()
        self.stride = int(getattr(self.network, "stride", 1))
        self.has_channels = len(estimator.patch_shape_) == 3

    def forward(self, x: Tensor, sigma: Tensor | None = None) -> Tensor:
        """Map ``(n, height, width[, channels])`` to the same; ``sigma`` is of shape (n,)."""
        x = x.movedim(3, 1) if self.has_channels else x[:, None]
        height, width = x.shape[2:]
        shown = _widened((x - self.restorer.black) / self.restorer.data_range, self.stride)
        if sigma is not None:
            levels = sigma.clamp(max=self.restorer.strongest) / self.restorer.data_range
            one = torch.zeros_like(shown[:, :1])
            shown = torch.cat([shown, one + levels[:, None, None, None]], dim=1)
        answer = self.network(shown)[:, :, :height, :width]
        answer = answer * self.restorer.data_range + self.restorer.black
        restored: Tensor = answer.movedim(1, 3) if self.has_channels else answer[:, 0]
        return restored


class Rows(nn.Module):
    """What ``ImageDenoiser.predict`` does to float32 rows, which are flattened images or signals."""

    def __init__(self, estimator: ImageDenoiser) -> None:
        super().__init__()
        self.images = Images(estimator)
        self.shape = estimator.image_shape_ or (1, estimator.n_features_in_)

    def forward(self, x: Tensor, sigma: Tensor | None = None) -> Tensor:
        """Map ``(n, n_features)`` to the same."""
        rows: Tensor = self.images(x.reshape(-1, *self.shape), sigma).flatten(1)
        return rows


@dataclass(frozen=True)
class _Numbers:
    """Black, the range from black to white, and the strongest noise, in the unit of the fit."""

    black: float
    data_range: float
    strongest: float

    @classmethod
    def of(cls, estimator: ImageDenoiser) -> _Numbers:
        scaler = estimator._preparation_.input_scaler
        levels: Any = estimator.noise_levels_ or (0.0, 0.0)
        return cls(float(scaler.center), float(scaler.spread), float(levels[1]))


def _widened(x: Tensor, stride: int) -> Tensor:
    """Return images with lower and right margins up to a multiple of the stride.

    As ``sk_denoise.networks._base.pad_by_mirroring`` does, but for sizes that are not known yet: mirrored
    where the margins fit into the image, else repeated.
    """
    if stride == 1:
        return x
    sides = x.shape[2:]
    wide = [(side + stride - 1) // stride * stride for side in sides]
    last = [torch.ones(side, dtype=torch.int64).sum() - 1 for side in sides]
    places = [torch.arange(side) for side in wide]
    fits = (places[0][-1] <= 2 * last[0]) & (places[1][-1] <= 2 * last[1])
    for dim, (place, end) in enumerate(zip(places, last, strict=True), start=2):
        mirrored, repeated = end - (end - place).abs(), torch.minimum(place, end)
        x = x.index_select(dim, torch.where(fits, mirrored, repeated).clamp(min=0))
    return x
