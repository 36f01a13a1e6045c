"""Batches of a training run: noise, augmentation and weights, and their checks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sk_denoise._validation import Noiser, as_tensor
from sk_denoise.datasets import RandomPatches
from sk_denoise.estimators._pairs import Pair
from sk_denoise.estimators._preparation import Preparation, SampleLayout
from sk_denoise.preprocessing import Augmentation
from sk_denoise.training import BatchTransform, CorruptedRows, CorruptedStream, keep_on_device

__all__ = [
    "build_batch_source",
    "build_batch_transform",
    "check_augmentation",
    "check_emphasis",
    "check_image_loss",
    "check_weighted_loss",
]


def check_emphasis(emphasis: Any, loss: Any, by_entry: bool) -> None:
    """Check the weights of corrupted and intact entries, and the loss for them.

    Parameters
    ----------
    emphasis : object
        The parameter of the estimator.
    loss : object
        The parameter of the estimator, for messages.
    by_entry : bool
        Whether the loss is a mean over entries.
    """
    if emphasis is None:
        return
    weights = [float(e) for e in emphasis if isinstance(e, Real)]
    is_pair = len(emphasis) == len(weights) == 2 and all(0 <= weight < np.inf for weight in weights)
    if not is_pair or not any(weights):
        raise ValueError(
            "emphasis must be a pair (weight of corrupted entries, weight of intact entries) of finite "
            f"numbers of at least 0, not both 0, such as (1.0, 0.3), got {emphasis!r}."
        )
    if not by_entry:
        raise ValueError(
            f'emphasis needs a loss that is a mean over entries, such as "mse" or "mae", got loss={loss!r}.'
        )


def check_weighted_loss(loss: Any, by_sample: bool) -> None:
    """Check that a loss takes sample weights."""
    if not by_sample:
        raise ValueError(
            f'sample_weight needs a loss by name, such as "mse", which weights samples; got '
            f"loss={loss!r}, a function of output and target."
        )


def check_image_loss(loss: Any, images_only: bool, layout: SampleLayout) -> None:
    """Check that a loss for images gets images."""
    if images_only and layout.image_shape is None:
        raise ValueError(f"loss={loss!r} compares images, {_rows_message(layout)}")


def check_augmentation(augment: Any, layout: SampleLayout, on_unit_interval: bool) -> None:
    """Check an augmentation, and that it takes samples of a layout."""
    if augment is None:
        return
    if isinstance(augment, type) or not isinstance(augment, Augmentation):
        raise TypeError(f"augment must be an Augmenter(...) or None, got {augment!r}.")
    if layout.image_shape is None:
        raise ValueError(f"augment is for images, {_rows_message(layout)}")
    fill = getattr(augment, "fill", None)
    if on_unit_interval and isinstance(fill, Real) and not 0 <= float(fill) <= 1:
        raise ValueError(f"augment fills with {fill!r}, and the loss or the output needs data in [0, 1].")
    # Augmentations of users need no method ``check``.
    check = getattr(augment, "check", None)
    if check is not None:
        check(layout.network_shape)


def _rows_message(layout: SampleLayout) -> str:
    """Return the end of a message that refuses rows in place of images."""
    return (
        f"got rows of {layout.sample_shape[0]} features: pass stacks (n_samples, height, width[, channels]), "
        "or image_shape with flat rows."
    )


def build_batch_transform(
    preparation: Preparation,
    noiser: Noiser | None,
    augment: Augmentation | None,
    emphasis: tuple[float, float] | None,
    generator: torch.Generator,
    *,
    adds_noise_map: bool,
) -> BatchTransform:
    """Return the transform from samples to network inputs, targets and weights."""
    layout = preparation.layout
    return BatchTransform(
        corrupt=None if noiser is None else noiser.corrupt,
        # Networks compute in single precision; noise and scaling keep the precision of the data.
        prepare_input=lambda x: preparation.input(x).float(),
        prepare_target=lambda x: preparation.target(x).float(),
        generator=generator,
        augment=None if augment is None else _LayoutAugmentation(layout, augment),
        weigh=None if emphasis is None else _emphasis_weights(layout, *emphasis),
        adds_noise_map=adds_noise_map,
    )


def build_batch_source(
    samples: Pair | RandomPatches, device: torch.device, pairing: BatchTransform, shuffle: torch.Generator
) -> CorruptedRows | CorruptedStream:
    """Return the source of batches: rows in memory, or streamed patches."""
    if isinstance(samples, RandomPatches):
        return CorruptedStream(samples, device, pairing, shuffle)
    inputs = as_tensor(samples.inputs)
    targets = inputs if samples.targets is samples.inputs else as_tensor(samples.targets)
    # On a GPU, batches are gathered without a transfer, if the data fit.
    inputs, targets = keep_on_device(device, inputs, targets)
    weights = None
    if samples.weights is not None:
        # With a mean of 1, weights leave the scale of the loss and the learning rate as they are.
        weights = as_tensor((samples.weights / samples.weights.mean()).astype(np.float32)).to(inputs.device)
    return CorruptedRows(inputs, targets, device, pairing, shuffle, weights)


@dataclass
class _LayoutAugmentation:
    """An augmentation in the layout of networks, for images in that of the user."""

    layout: SampleLayout
    augment: Augmentation

    def __call__(self, x: Tensor, generator: torch.Generator, *others: Tensor) -> Any:
        first, *rest = (self.layout.to_network(side) for side in (x, *others))
        augmented = self.augment.augment(first, generator, *rest)
        sides = augmented if others else (augmented,)
        # Augmentations are code of users, whose mistakes would surface far from here.
        shapes = [getattr(side, "shape", None) for side in sides] if isinstance(sides, tuple) else None
        if shapes != [first.shape] * (1 + len(rest)) or not all(isinstance(s, Tensor) for s in sides):
            expected = f"a tuple of {1 + len(rest)} tensors" if others else "a tensor"
            raise ValueError(
                f"augment must return {expected} of the shape of its input, {tuple(first.shape)}. "
                f"{self.augment!r} returned {_describe(augmented)}."
            )
        images = tuple(self.layout.images_from_network(side) for side in sides)
        return images if others else images[0]


def _emphasis_weights(
    layout: SampleLayout, corrupted: float, intact: float
) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the function from noisy and clean samples to the weights of entries."""

    def weigh(noisy: Tensor, clean: Tensor) -> Tensor:
        return layout.to_network(torch.where(noisy != clean, float(corrupted), float(intact))).float()

    return weigh


def _describe(value: Any) -> str:
    """Describe the type and shape of a value for messages."""
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of " + ", ".join(_describe(side) for side in value)
    return f"{type(value).__name__} of shape {tuple(value.shape)}" if hasattr(value, "shape") else repr(value)
