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
    "check_augmentation",
    "check_emphasis",
    "check_for_images",
    "check_weighable",
    "pairing_of",
    "rows_of",
]


def check_emphasis(emphasis: Any, loss: Any, by_entry: bool) -> None:
    """Check the weights of corrupted and intact entries, and that the loss takes them."""
    if emphasis is None:
        return
    numbers = [float(e) for e in emphasis if isinstance(e, Real)]
    fits = len(emphasis) == len(numbers) == 2 and all(0 <= number < np.inf for number in numbers)
    if not fits or not any(numbers):
        raise ValueError(
            "emphasis must be a pair (weight of corrupted entries, weight of intact entries) of finite "
            f"numbers of at least 0, not both 0, such as (1.0, 0.3), got {emphasis!r}."
        )
    if not by_entry:
        raise ValueError(
            f'emphasis needs a loss that is a mean over entries, such as "mse" or "mae", got loss={loss!r}.'
        )


def check_weighable(loss: Any, by_sample: bool) -> None:
    """Check that a loss takes the weights of samples."""
    if not by_sample:
        raise ValueError(
            f'sample_weight needs a loss by name, such as "mse", which weights samples; got '
            f"loss={loss!r}, a function of output and target."
        )


def check_for_images(loss: Any, images_only: bool, layout: SampleLayout) -> None:
    """Check that a loss that compares images gets images."""
    if images_only and layout.image_shape is None:
        raise ValueError(f"loss={loss!r} compares images, {_are_rows(layout)}")


def check_augmentation(augment: Any, layout: SampleLayout, on_unit_interval: bool) -> None:
    """Check an augmentation, and that it takes samples of this layout."""
    if augment is None:
        return
    if isinstance(augment, type) or not isinstance(augment, Augmentation):
        raise TypeError(f"augment must be an Augmenter(...) or None, got {augment!r}.")
    if layout.image_shape is None:
        raise ValueError(f"augment is for images, {_are_rows(layout)}")
    fill = getattr(augment, "fill", None)
    if on_unit_interval and isinstance(fill, Real) and not 0 <= float(fill) <= 1:
        raise ValueError(f"augment fills with {fill!r}, and the loss or the output needs data in [0, 1].")
    check = getattr(augment, "check", None)
    if check is not None:
        check(layout.network_shape)


def _are_rows(layout: SampleLayout) -> str:
    return (
        f"got rows of {layout.sample_shape[0]} features: pass stacks (n_samples, height, width[, channels]), "
        "or image_shape with flat rows."
    )


def pairing_of(
    preparation: Preparation,
    noiser: Noiser | None,
    augment: Augmentation | None,
    emphasis: tuple[float, float] | None,
    generator: torch.Generator,
    *,
    tells_level: bool,
) -> BatchTransform:
    """Return the transform from samples to network inputs, targets and weights."""
    layout = preparation.layout
    return BatchTransform(
        corrupt=None if noiser is None else noiser.corrupt,
        prepare_input=lambda x: preparation.input(x).float(),
        prepare_target=lambda x: preparation.target(x).float(),
        generator=generator,
        augment=None if augment is None else _Moves(layout, augment),
        weigh=None if emphasis is None else _weights(layout, *emphasis),
        adds_noise_map=tells_level,
    )


def rows_of(
    samples: Pair | RandomPatches, device: torch.device, pairing: BatchTransform, shuffle: torch.Generator
) -> CorruptedRows | CorruptedStream:
    """Return the source of batches: rows in memory, or streamed patches."""
    if isinstance(samples, RandomPatches):
        return CorruptedStream(samples, device, pairing, shuffle)
    inputs = as_tensor(samples.inputs)
    targets = inputs if samples.targets is samples.inputs else as_tensor(samples.targets)
    inputs, targets = keep_on_device(device, inputs, targets)
    weights = None
    if samples.weights is not None:
        weights = as_tensor((samples.weights / samples.weights.mean()).astype(np.float32)).to(inputs.device)
    return CorruptedRows(inputs, targets, device, pairing, shuffle, weights)


@dataclass
class _Moves:
    """An augmentation in the layout of networks, applied to images in the user's layout."""

    layout: SampleLayout
    augment: Augmentation

    def __call__(self, x: Tensor, generator: torch.Generator, *others: Tensor) -> Any:
        first, *rest = (self.layout.to_network(side) for side in (x, *others))
        moved = self.augment.augment(first, generator, *rest)
        sides = moved if others else (moved,)
        shapes = [getattr(side, "shape", None) for side in sides] if isinstance(sides, tuple) else None
        if shapes != [first.shape] * (1 + len(rest)) or not all(isinstance(s, Tensor) for s in sides):
            wanted = f"a tuple of {1 + len(rest)} tensors" if others else "a tensor"
            raise ValueError(
                f"augment must return {wanted} of the shape of the images it is given, "
                f"{tuple(first.shape)}. {self.augment!r} returned {_described(moved)}."
            )
        images = tuple(self.layout.images_from_network(side) for side in sides)
        return images if others else images[0]


def _weights(layout: SampleLayout, corrupted: float, intact: float) -> Callable[[Tensor, Tensor], Tensor]:
    def weigh(noisy: Tensor, clean: Tensor) -> Tensor:
        return layout.to_network(torch.where(noisy != clean, float(corrupted), float(intact))).float()

    return weigh


def _described(moved: Any) -> str:
    if isinstance(moved, tuple | list):
        return f"a {type(moved).__name__} of " + ", ".join(_described(side) for side in moved)
    return f"{type(moved).__name__} of shape {tuple(moved.shape)}" if hasattr(moved, "shape") else repr(moved)
