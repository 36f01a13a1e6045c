"""The questions of a comparison: clean samples, and noisy versions of them."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_denoise._intensity import UNIT, is_stored
from sk_denoise._validation import Noiser, check_noiser, check_numbers, names_of, refuse_masked
from sk_denoise.metrics._fixed_noise import corrupt_each, corrupt_fold, seed_of

__all__ = ["Samples", "check_image_shape", "checked_samples", "named_noises", "noisy_of"]

GIVEN = "given"  # the noise of noisy samples that came without a name

Samples = NDArray[Any] | list[NDArray[Any]]  # a stack or rows; a list of images where sizes differ


def checked_samples(given: Any, name: str) -> Samples:
    """Return images or rows as one array, and images of different sizes as a list."""
    if isinstance(given, list | tuple):
        refuse_masked(given, name)
        parts = [np.asarray(x) for x in given]
        sizes = {x.shape for x in parts}
        if len(sizes) > 1 or (parts and parts[0].ndim > 1):
            _check_alike(parts, name)
        if len(sizes) > 1:
            return [check_numbers(x, f"{name}[{place}]") for place, x in enumerate(parts)]
    array = check_numbers(given, name)
    if array.ndim < 2:
        raise ValueError(
            f"{name} has shape {array.shape}, expected (n, height, width[, channels]), (n, n_features) or a "
            "list of images."
        )
    return array


def _check_alike(images: list[NDArray[Any]], name: str) -> None:
    """Check that images in a list are alike in all but their size."""
    kinds = {(x.dtype, x.ndim, x.shape[2:]) for x in images}
    if len(kinds) > 1 or images[0].ndim not in (2, 3):
        raise ValueError(
            f"{name} in a list must be (height, width) or (height, width, channels), of one type "
            f"and number of channels; got {', '.join(f'{x.dtype} of shape {x.shape}' for x in images)}."
        )


def check_image_shape(image_shape: Sequence[int], samples: Samples) -> None:
    """Check that samples can be images of this shape."""
    for shape in {x.shape for x in samples}:
        if math.prod(shape) != math.prod(image_shape):
            raise ValueError(f"image_shape={tuple(image_shape)} does not fit samples of shape {shape}.")


def named_noises(noises: Any) -> dict[Hashable, Any]:
    """Return noisers, or noisy samples, by name."""
    if isinstance(noises, Noiser):
        noises = [noises]
    if isinstance(noises, list | tuple) and any(isinstance(noise, Noiser) for noise in noises):
        noises = dict(names_of(noises))
    if not isinstance(noises, Mapping):
        return {GIVEN: noises}
    if not noises:
        raise ValueError("noises is empty: give at least one noiser, or noisy images.")
    return dict(noises)


def noisy_of(noise: Any, clean: Samples, name: Hashable) -> Samples:
    """Return the noisy version of clean samples: one draw of a noiser, or what is given."""
    if hasattr(noise, "__array__") or isinstance(noise, list | tuple):
        return _checked_noisy(noise, clean, name)
    seed = seed_of(check_noiser(noise))
    if isinstance(clean, list):
        return [_as_stored(x, clean[0].dtype) for x in corrupt_each(noise, clean, seed)]
    return _as_stored(np.asarray(corrupt_fold(noise, clean, seed, copy=0)), clean.dtype)


def _checked_noisy(given: Any, clean: Samples, name: Hashable) -> Samples:
    noisy = checked_samples(given, f"noises[{name!r}]")
    if [x.shape for x in noisy] != [x.shape for x in clean]:
        raise ValueError(
            f"Noise {name!r} must be a noiser or a noisy version of each of the {len(clean)} images, in "
            f"their order; got {len(noisy)}, the first of shape {noisy[0].shape} for {clean[0].shape}."
        )
    types = {noisy[0].dtype, clean[0].dtype}
    if len(types) > 1 and any(map(is_stored, types)):
        raise ValueError(
            f"Noise {name!r} holds {noisy[0].dtype} and images {clean[0].dtype}: give both in one unit."
        )
    return noisy


def _as_stored(noisy: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return noisy values as files hold them, where images are of such a type."""
    if not is_stored(dtype):
        return noisy
    return UNIT.from_unit(noisy, dtype)
