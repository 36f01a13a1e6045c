"""The steps of a fit to images: where patches come from, and what is learned of them."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray
from sklearn.base import clone
from torch import Tensor, nn

from sk_denoise._intensity import UNIT, IntensityRange, is_stored
from sk_denoise._noise_traces import warn_of_lost_source
from sk_denoise._random import stream, stream_seed
from sk_denoise._resources import Cost
from sk_denoise._validation import (
    Interval,
    StrOptions,
    as_tensor,
    check_lengths,
    check_weights,
    refuse_masked,
    refuse_single_image,
    shape_of,
    warn_of_single_image,
)
from sk_denoise.datasets import RandomPatches
from sk_denoise.estimators._image_sources import (
    as_folder,
    is_image_list,
    is_pair_list,
    is_stream,
    paired_lists,
    patches_of,
    patches_per,
    refuse_noised,
    stack_of,
)
from sk_denoise.estimators._networks import build_network, resolve_image_network
from sk_denoise.estimators._pairs import Pair, resolve_validation_pair
from sk_denoise.estimators._preparation import ImageLayout, Preparation, SampleLayout
from sk_denoise.estimators._steps import FitSteps
from sk_denoise.estimators._training_domain import LearnedUnit, are_in_one_unit, reach_of
from sk_denoise.estimators._whole_images import Restorer
from sk_denoise.networks import Bounded
from sk_denoise.training import auto_patch_epochs, check_loss

__all__ = ["ImageFitSteps"]

BATCH_SIZE = 32
ROUNDING = 1e-4
LEVELS_FROM = (64, 1024)  # draws, at least and at most, to know the noise levels that a network learns from
ENTRIES_AT_A_LOOK = 2**23
MOST_SHOWN = 256  # patches that callbacks score


@dataclass(frozen=True)
class Patches:
    """Images that are known by their patches.

    Attributes
    ----------
    source : RandomPatches
        Draws them.
    ends : ndarray, optional
        The smallest and the largest values of the clean images, where all of them are known.
    target_source : {"y"}, optional
        Where the clean side came from, where patches do not tell.
    """

    source: RandomPatches
    ends: NDArray[Any] | None = None
    target_source: Literal["y"] | None = None

    def intensity(self, sample: NDArray[Any]) -> IntensityRange:
        """Return the range that a PSNR refers to: where it is not known, that of a sample."""
        if self.source.is_scaled:
            return UNIT
        return IntensityRange.of_clean(self._told_by(sample))

    def known_intensity(self, sample: NDArray[Any]) -> IntensityRange | None:
        """Return black and white, where the type or the range of all images tells."""
        if self.source.is_scaled:
            return UNIT
        if self.ends is None and not is_stored(self.source.dtype):
            return None
        return IntensityRange.known(self._told_by(sample))

    def _told_by(self, sample: NDArray[Any]) -> NDArray[Any]:
        """Return the numbers that tell the range, in the type of the images."""
        return sample.astype(self.source.dtype) if self.ends is None else self.ends


Given = Pair | Patches  # whole images of one size in memory, or patches


class ImageFitSteps(FitSteps):
    """What an estimator for images of any size does otherwise than one for arrays of one shape."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "sigma": [StrOptions({"blind", "map"})],
        "patch_size": [Interval(Integral, 1, None, closed="left"), tuple, list],
        "patches_per_image": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
    }
    _least_samples = 1
    _rise = 20  # at the full rate, the first steps of a short fit undo that networks begin as the identity
    sigma: Literal["blind", "map"]
    patch_size: int | tuple[int, int]
    patches_per_image: int | Literal["auto"]
    intensity_range_: IntensityRange | None

    # Where images come from -------------------------------------------------------------------------

    def _given(self, X: Any, y: Any, X_clean: Any, sample_weight: Any = None) -> Given:
        """Return what was given: a pair of stacks, or patches of lists and streams."""
        fitted = self.__sklearn_is_fitted__()
        X = as_folder(X, _color_of(self._sample_shape_) if fitted else "auto")
        X, y, X_clean = stack_of(X), stack_of(y), stack_of(X_clean)
        if is_stream(X):
            return self._streamed(X, y, X_clean, sample_weight)
        if is_pair_list(X):
            X, X_clean = [noisy for noisy, _ in X], [clean for _, clean in X]
        if not is_image_list(X):
            refuse_single_image(shape_of(X), self.image_shape)
            if self.image_shape is None and len(shape_of(X)) == 2:
                warn_of_single_image(X, "signals")
            pair = self._check(X, y, X_clean, sample_weight)
            if pair.noiser is None and pair.targets is not pair.inputs:
                refuse_other_unit(
                    IntensityRange.known(np.asarray(X)), pair.known_intensity, "X", "its clean side"
                )
            return pair
        noisy, clean = paired_lists(X, y, X_clean)
        weights = check_weights(sample_weight, noisy.images)
        if weights is not None:
            noisy, clean = noisy.take(weights > 0), None if clean is None else clean.take(weights > 0)
            weights = weights[weights > 0]
        truth = noisy if clean is None else clean
        if clean is None and not _is_itself(X, y):
            warn_of_lost_source(noisy.images)
        elif clean is not None:
            refuse_other_unit(
                IntensityRange.known(noisy.ends), IntensityRange.known(clean.ends), "X", "its clean side"
            )
        patches = noisy.patches(clean, self._sides(), self._count(noisy.mean_pixels), weights)
        by_y = clean is not None and X_clean is None
        return Patches(patches, truth.ends, "y" if by_y else None)

    def _streamed(self, X: Any, y: Any, X_clean: Any, sample_weight: Any) -> Patches:
        """Return the patches of what comes image by image."""
        if X_clean is not None or is_stream(y) or is_image_list(y) or np.ndim(y) > 2:
            raise ValueError(
                f"{'y' if X_clean is None else 'X_clean'} goes with stacks and lists. What is streamed holds "
                "its clean side itself: give pairs, as in RandomPatches(list(zip(noisy, clean)), 64)."
            )
        if not isinstance(X, RandomPatches):
            check_lengths(X, y)
            count = self._count(None)
            patches = RandomPatches(X, self._sides(), patches_per_image=count, sample_weight=sample_weight)
            return Patches(patches)
        if sample_weight is not None:
            raise ValueError(
                "sample_weight of RandomPatches is theirs: RandomPatches(..., sample_weight=...)."
            )
        refuse_noised(X)
        return Patches(X)

    def _divided(self, given: Given, X_val: Any, X_clean_val: Any) -> tuple[Given, Given | None]:
        """Return what to train on and what to validate on, if anything."""
        if isinstance(X_val, str | os.PathLike):
            shape = given.inputs.shape[1:] if isinstance(given, Pair) else given.source.sample_shape
            X_val = as_folder(X_val, _color_of(shape))
        X_val, X_clean_val = stack_of(X_val), stack_of(X_clean_val)
        if X_val is not None and (is_stream(X_val) or is_image_list(X_val) or is_pair_list(X_val)):
            validation = self._given(X_val, None, X_clean_val)
            if isinstance(given, Patches) and isinstance(validation, Patches):
                validation = replace(validation, source=validation.source.counted_like(given.source))
            return given, validation
        if X_val is not None and isinstance(given, Patches):
            if np.ndim(X_val) < 3:
                raise ValueError(f"X_val must hold images as X does, got shape {np.shape(X_val)}.")
            refuse_masked(X_val, "X_val")
            refuse_masked(X_clean_val, "X_clean_val")
            clean = None if X_clean_val is None else list(np.asarray(X_clean_val))
            return given, self._given(list(np.asarray(X_val)), None, clean)
        if isinstance(given, Pair):
            if X_val is not None:
                clean_val = X_val if X_clean_val is None else X_clean_val
                known = IntensityRange.known(np.asarray(clean_val))
                refuse_other_unit(given.known_intensity, known, "X", "X_val")
            return self._split(given, X_val, X_clean_val)
        if X_clean_val is not None:
            raise ValueError("X_clean_val is the clean side of X_val, which is missing.")
        if not self.early_stopping:
            return given, None
        seed = stream_seed(self._root(), "split") % 2**32
        training, held_out = given.source.split(self.validation_fraction, RandomState(seed))
        return replace(given, source=training), replace(given, source=held_out)

    def _looked_at(self, given: Given, like: Pair | None = None) -> tuple[Pair, Pair | RandomPatches]:
        """Return patches as a pair of arrays to know the images by, and what batches are drawn from.

        Patches to validate on have the noise and the unit of the pair that they are ``like``.
        """
        if isinstance(given, Pair):
            patches = patches_of(given, self._sides(), self._count(_pixels_of(given)))
            if patches is None:
                return given, given
            inputs, _, clean = self._some(patches)
            targets = inputs if clean is None else clean
            return replace(given, inputs=inputs, targets=targets, weights=None), patches
        patches = given.source
        inputs, _, clean = self._some(patches)
        if like is not None:
            known = given.known_intensity(inputs if clean is None else clean)
            refuse_other_unit(self.intensity_range_, known, "X", "X_val")
            return resolve_validation_pair(self, inputs, clean, like), patches
        sample = self._check(inputs, None, clean)
        sample = replace(sample, source=given.target_source or sample.source)
        intensity, known = given.intensity(sample.targets), given.known_intensity(sample.targets)
        return replace(sample, intensity=intensity, known_intensity=known), patches

    def _sides(self) -> tuple[int, int]:
        """Return the height and width of a patch."""
        sides = self.patch_size if isinstance(self.patch_size, tuple | list) else (self.patch_size,) * 2
        if len(sides) != 2 or not all(np.issubdtype(type(side), np.integer) and side >= 1 for side in sides):
            raise ValueError(
                "patch_size must be an integer of at least 1, or two of them, (height, width), got "
                f"{self.patch_size!r}."
            )
        return int(sides[0]), int(sides[1])

    def _count(self, pixels: float | None) -> int:
        """Return how many patches to cut from an image of so many pixels."""
        if self.patches_per_image == "auto":
            return patches_per(pixels, self._sides())
        return int(self.patches_per_image)

    def _with_weights(self, weights: dict[str, Tensor], channels: int, strongest: float) -> Self:
        """Take over weights that learned from images in [0, 1] under ``noise``, as if fitted to such."""
        draft = self._draft(fresh=True)
        shape = (*self._sides(), channels) if channels > 1 else self._sides()
        black_and_white = np.stack([np.zeros(shape, np.float32), np.ones(shape, np.float32)])
        draft._prepare(draft._check(black_and_white, None, None))
        draft.net_.module_.load_state_dict(weights)
        draft.net_.module_.eval()
        draft.intensity_range_, draft.noise_levels_ = UNIT, (0.0, strongest)
        draft._strongest_noise_ = strongest
        draft._reference_noiser_ = clone(self.noise).fit(black_and_white)
        return self._store(draft, None)

    # What is learned of them --------------------------------------------------------------------------

    def _check_parameters(self) -> None:
        super()._check_parameters()
        self._sides()

    def _network(self) -> Any:
        return resolve_image_network(self.network)

    def _rows_are_signals(self) -> bool:
        return True

    def _layout(self) -> SampleLayout:
        """Return the layout of what was given; rows that are no images are images of height 1."""
        shape = self._sample_shape_
        signal = (1, *shape) if len(shape) == 1 and self.image_shape is None else self.image_shape
        return SampleLayout.of(shape, signal)

    def _training_layout(self, pair: Pair) -> SampleLayout:
        shape = pair.inputs.shape[1:]
        return ImageLayout(shape, shape)

    def _input_shape(self, layout: SampleLayout) -> tuple[int, ...]:
        channels, height, width = layout.network_shape
        return channels + self._tells_level(), height, width

    def _tells_level(self) -> bool:
        return self.sigma == "map"

    def _module(self, network: Any, layout: SampleLayout, on_unit_interval: bool) -> nn.Module:
        shape = layout.network_shape
        arguments = (shape[0], self._tells_level())
        module = build_network(network, arguments, self._input_shape(layout), shape, self._root())
        return Bounded(module) if on_unit_interval else module

    def _prepared(self, pair: Pair, layout: SampleLayout, on_unit_interval: bool) -> Preparation:
        return Preparation.to_unit_range(layout, pair.intensity.black, pair.intensity.span)

    def _prepare(self, pair: Pair) -> None:
        first = not self.__sklearn_is_fitted__()
        if not first:
            refuse_other_unit(self.intensity_range_, pair.known_intensity, "the first fit", "X")
        super()._prepare(pair)
        if first:
            assert self.image_shape_ is not None
            self._strongest_noise_ = 0.0
            self.patch_shape_ = self.image_shape_
            self.image_shape_ = self._layout().image_shape if len(self._sample_shape_) == 1 else None
            self.noise_levels_ = None
        self._strongest_noise_ = max(self._strongest_noise_, self._strongest_of(pair))
        if self._tells_level():
            levels = [*self._levels(pair), *(self.noise_levels_ or ())]
            self.noise_levels_ = min(levels), max(levels)

    def _levels(self, pair: Pair) -> tuple[float, float]:
        """Return the weakest and the strongest noise of a sample, in the user's unit."""
        n = np.clip(ENTRIES_AT_A_LOOK // pair.inputs[0].size, *LEVELS_FROM)
        index = np.arange(n) % len(pair.inputs)  # few patches meet many draws
        levels = self._rows(pair.take(index), "levels", 0).freeze().inputs[:, -1] * pair.intensity.span
        return float(levels.min()), float(levels.max())

    def _strongest_of(self, pair: Pair) -> float:
        """Return the largest standard deviation of noise on a sample of patches, in the user's unit."""
        few = pair.take(np.arange(min(len(pair.inputs), LEVELS_FROM[0])))
        noisy = few.inputs
        if self.noiser_ is not None:
            noisy = self.noiser_.corrupt(as_tensor(few.targets), stream(self._root(), "strength")).numpy()
        errors = np.square(noisy - few.targets, dtype=np.float64)
        return float(np.sqrt(errors.reshape(len(errors), -1).mean(axis=1).max()))

    @property
    def _unit(self) -> LearnedUnit | None:
        """The unit of the fit, where black and white of its images are known."""
        known = self.intensity_range_
        if known is None:
            return None
        reach = reach_of(self.noiser_, self.patch_shape_, known)
        return LearnedUnit(known, reach, self._strongest_noise_ / known.span)

    def _refuse_other_unit(self, samples: NDArray[Any]) -> None:
        """Do nothing: ``_prepare`` refuses another unit, and predictions bring it to that of the fit."""

    def _as_shown(self, sample: Pair) -> tuple[Any, Any, dict[str, Any] | None]:
        return super()._as_shown(sample.take(np.arange(min(len(sample.inputs), MOST_SHOWN))))

    def _noise_learns_from(self, clean: NDArray[Any]) -> NDArray[Any]:
        """Return pixels, so that noise does not depend on where a patch was cut."""
        return clean.reshape(-1, 1, 1, *clean.shape[3:])

    def _design(self, on_unit_interval: bool) -> dict[str, Any]:
        return {**super()._design(on_unit_interval), "sigma": self.sigma}

    def _check_range(self, network: Any, clean: NDArray[Any]) -> bool:
        """Return whether the loss needs answers in [0, 1], to which black and white are brought."""
        if not check_loss(self.loss).on_unit_interval:
            return False
        if self.__sklearn_is_fitted__():
            scaled = self._preparation_.target_scaler.scale(as_tensor(clean))
            if scaled.min() < -ROUNDING or scaled.max() > 1 + ROUNDING:
                raise ValueError(
                    f"loss={self.loss!r} needs clean images between black and white of those that were "
                    f"learned from first, got values from {clean.min():.4g} to {clean.max():.4g}."
                )
        return True

    def _batch_size(self, n_samples: int) -> int:
        if self.batch_size == "auto":
            return min(n_samples, BATCH_SIZE)
        return super()._batch_size(n_samples)

    def _epochs(self, steps: int) -> int:
        if self.max_epochs == "auto":
            return auto_patch_epochs(steps)
        return int(self.max_epochs)

    # What it is afterwards ----------------------------------------------------------------------------

    def _ratio(self, seen: IntensityRange | None) -> float:
        """Return how many times finer the unit of images is than that of the fit, which sees them so."""
        learned = self.intensity_range_
        return 1.0 if seen is None or learned is None else seen.span / learned.span

    def restorer(
        self, seen: IntensityRange | None, *, network: nn.Module | None = None, **options: Any
    ) -> Restorer:
        """Return the network at work on images whose black and white it sees as those of the fit.

        None takes images in the unit of the fit.
        """
        scaler, cost, learned = self._preparation_.input_scaler, self._cost_, self.intensity_range_
        pixels = int(np.prod(self.patch_shape_[:2]))
        ratio = self._ratio(seen)
        offset = 0.0 if seen is None or learned is None else seen.black - ratio * learned.black
        return Restorer.of(
            self.net_.module_ if network is None else network,
            Cost(-(-cost.flops // pixels), -(-cost.widest // pixels)),
            black=offset + ratio * float(scaler.center),
            data_range=ratio * float(scaler.spread),
            tells_level=self.noise_levels_ is not None,
            **options,
        )


def _is_itself(X: Any, y: Any) -> bool:
    """Return whether y says that X is clean."""
    return y is X or (y is not None and len(y) == len(X) and all(map(np.array_equal, X, y)))


def _color_of(shape: tuple[int, ...]) -> Literal["rgb", "gray"]:
    return "rgb" if len(shape) == 3 else "gray"


def _pixels_of(pair: Pair) -> float:
    return float(np.prod(pair.inputs.shape[1:3]))


def refuse_other_unit(
    one: IntensityRange | None, other: IntensityRange | None, name: str, other_name: str
) -> None:
    """Refuse images that are known to be in another unit than others."""
    if one is not None and other is not None and not are_in_one_unit(one, other):
        raise ValueError(
            f"White is {one.white:g} in {name}, and {other.white:g} in {other_name}: give both in one unit, "
            "as files, or as arrays of one type."
        )
