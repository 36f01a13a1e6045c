"""Data that networks learn from: arrays as they are, or patches of images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray

from sk_denoise._intensity import UNIT, IntensityRange, has_image_depth
from sk_denoise._random import stream, stream_seed
from sk_denoise.datasets import RandomPatches
from sk_denoise.estimators._image_inputs import cut_pair_patches
from sk_denoise.estimators._pairs import Pair, resolve_validation_pair
from sk_denoise.estimators._training_domain import refuse_other_unit

if TYPE_CHECKING:
    from sk_denoise.estimators._network_denoiser import NetworkDenoiser

__all__ = ["ArrayData", "PatchData", "TrainingData"]

# Patches that stand for a stream when scaling and noise are learned: up to 64 MB, and at least some.
SAMPLED_ENTRIES, MIN_SAMPLED_PATCHES = 2**24, 64


@dataclass(frozen=True)
class ArrayData:
    """Samples of one shape in memory.

    Attributes
    ----------
    pair : Pair
        Noisy and clean samples.
    patch_size : tuple of int or None
        Height and width of the patches that are cut from them; None takes samples whole.
    patches_per_image : int
        Number of patches of each image in an epoch.
    """

    pair: Pair
    patch_size: tuple[int, int] | None = None
    patches_per_image: int = 1

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return self.pair.inputs.shape[1:]

    def split(self, fraction: float, root: int, min_samples: int) -> tuple[ArrayData, ArrayData]:
        """Return the samples to train on, and those that are held out."""
        n_samples = len(self.pair.inputs)
        n_held_out = int(np.ceil(fraction * n_samples))
        if n_samples - n_held_out < min_samples:
            raise ValueError(
                f"validation_fraction={fraction} leaves {n_samples - n_held_out} of "
                f"{n_samples} samples for training, at least {min_samples} are needed. Lower it, "
                "pass X_val, or turn early_stopping off."
            )
        order = np.random.default_rng(stream_seed(root, "split")).permutation(n_samples)
        training, held_out = (
            replace(self, pair=self.pair.take(np.sort(index)))
            for index in (order[n_held_out:], order[:n_held_out])
        )
        return training, held_out

    def load(self, estimator: NetworkDenoiser, like: Pair | None = None) -> tuple[Pair, Pair | RandomPatches]:
        """Return a pair of arrays to learn the scaling from, and the source of batches.

        Parameters
        ----------
        estimator : NetworkDenoiser
            The estimator that learns.
        like : Pair, optional
            The pair of the training data, for validation data.
        """
        if self.patch_size is None:
            return self.pair, self.pair
        patches = cut_pair_patches(self.pair, self.patch_size, self.patches_per_image)
        if patches is None:
            return self.pair, self.pair
        inputs, clean = first_patches(patches, estimator._root())
        targets = inputs if clean is None else clean
        return replace(self.pair, inputs=inputs, targets=targets, weights=None), patches


@dataclass(frozen=True)
class PatchData:
    """Images that are read as patches: lists of different sizes, folders, data sets.

    Attributes
    ----------
    patches : RandomPatches
        Draws them.
    extrema : ndarray, optional
        The smallest and the largest values of the clean images, where all images are in memory.
    clean_side : {"y"}, optional
        The argument that held the clean images, where the patches cannot tell.
    of_any_size : bool
        Whether black and white are those of the images, as for images of any size. Otherwise they are
        measured on a sample of patches, as those of an array are.
    """

    patches: RandomPatches
    extrema: NDArray[Any] | None = None
    clean_side: Literal["y"] | None = None
    of_any_size: bool = True

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one patch."""
        return self.patches.sample_shape

    def split(self, fraction: float, root: int, min_samples: int) -> tuple[PatchData, PatchData]:
        """Return the images to train on, and those that are held out."""
        parts = self.patches.split(fraction, RandomState(stream_seed(root, "split") % 2**32))
        training, held_out = (replace(self, patches=part) for part in parts)
        return training, held_out

    def load(self, estimator: NetworkDenoiser, like: Pair | None = None) -> tuple[Pair, RandomPatches]:
        """Return patches as a pair of arrays to learn the scaling from, and their source.

        Parameters
        ----------
        estimator : NetworkDenoiser
            The estimator that learns.
        like : Pair, optional
            The pair of the training data, for validation data.
        """
        inputs, clean = first_patches(self.patches, estimator._root())
        if like is not None:
            if self.of_any_size:
                known = self._known_intensity(inputs if clean is None else clean)
                refuse_other_unit(estimator.intensity_range_, known, "X", "X_val")
            return resolve_validation_pair(estimator, inputs, clean, like), self.patches
        sample = estimator._resolve(inputs, None, clean)
        if self.of_any_size:
            sample = replace(
                sample,
                source=self.clean_side or sample.source,
                intensity=self._intensity(sample.targets),
                known_intensity=self._known_intensity(sample.targets),
            )
        return sample, self.patches

    def _intensity(self, sample: NDArray[Any]) -> IntensityRange:
        """Return the data range of a PSNR: that of the images, else of a sample."""
        if self.patches.is_scaled:
            return UNIT
        return IntensityRange.of_clean(self._range_values(sample))

    def _known_intensity(self, sample: NDArray[Any]) -> IntensityRange | None:
        """Return black and white, if the type or the range of all images defines them."""
        if self.patches.is_scaled:
            return UNIT
        if self.extrema is None and not has_image_depth(self.patches.dtype):
            return None
        return IntensityRange.known(self._range_values(sample))

    def _range_values(self, sample: NDArray[Any]) -> NDArray[Any]:
        """Return values that span the range, in the type of the images."""
        return sample.astype(self.patches.dtype) if self.extrema is None else self.extrema


TrainingData = ArrayData | PatchData


def first_patches(patches: RandomPatches, root: int) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Return some patches as arrays: noisy, and clean or None."""
    entries = int(np.prod(patches.sample_shape))
    n = min(len(patches), max(MIN_SAMPLED_PATCHES, SAMPLED_ENTRIES // entries))
    inputs, targets = patches.first(n, stream(root, "patches"))
    return inputs.numpy(), targets.numpy() if patches.is_paired else None
