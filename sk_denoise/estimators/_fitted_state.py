"""Tests of fitted attributes that the schemas of estimators with a network share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sk_denoise._scaling import broadcasts_to
from sk_denoise._schema import NONNEGATIVE_NUMBER, Rule, conforms, is_count
from sk_denoise.estimators._preparation import ImageLayout, Preparation, SampleLayout
from sk_denoise.training import Units

__all__ = [
    "BEST_WEIGHTS",
    "IMAGE_PREPARATION",
    "JUDGEMENT",
    "NOISE_LEVELS",
    "SAMPLE_PREPARATION",
    "UNITS",
]


def _is_sample_preparation(value: Any, estimator: Any) -> bool:
    if type(value) is not Preparation or not conforms(value):
        return False
    layout, shape = value.layout, value.layout.network_shape
    are_signals = estimator._factory().rows_are_signals
    expected = SampleLayout.of(estimator._sample_shape_, layout.image_shape, are_signals)
    scalers = value.input_scaler, value.target_scaler
    tensors = [part for scaler in scalers for part in (scaler.center, scaler.spread)]
    return (
        type(layout) is SampleLayout
        and layout == expected
        and layout.image_shape == estimator.image_shape_
        and all(broadcasts_to(tensor, shape) for tensor in (*tensors, *(value.input_limits or ())))
    )


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
        # An image and its prediction share one black and one white.
        and one.center.ndim == one.spread.ndim == 0
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
