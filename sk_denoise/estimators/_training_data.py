"""Data that networks learn from: arrays as they are, or patches of images."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import NDArray
from sklearn.utils import _safe_indexing
from torch import Tensor

from sk_denoise._intensity import UNIT, IntensityRange, has_image_depth
from sk_denoise._long_rows import StoredRows, is_long, scan_rows, spread_rows
from sk_denoise._noise_model import (
    NoiseSplitter,
    estimate_independent_noise,
    find_correlation,
    warn_of_impossible_noise,
)
from sk_denoise._random import stream, stream_seed
from sk_denoise._residual_noise import Correlation
from sk_denoise._row_noise import estimate_row_noise
from sk_denoise._validation import (
    Noiser,
    allows_gaps,
    as_numeric_array,
    as_tensor,
    check_lengths,
    check_numbers,
    check_sample_weight,
    warn_user,
)
from sk_denoise.datasets import RandomPatches
from sk_denoise.estimators._image_inputs import cut_pair_patches
from sk_denoise.estimators._pairs import Pair, resolve_validation_pair
from sk_denoise.estimators._preparation import Preparation, SampleLayout
from sk_denoise.estimators._training_domain import refuse_other_unit
from sk_denoise.exceptions import NoiseMismatchWarning
from sk_denoise.noise import resolve_noiser
from sk_denoise.preprocessing import Augmentation, Augmenter, SignalAugmenter
from sk_denoise.training import (
    BatchTransform,
    CorruptedLongRows,
    CorruptedRows,
    CorruptedStream,
    NoisySamples,
    Objective,
    TrainingPair,
    check_loss,
    keep_on_device,
)

if TYPE_CHECKING:
    from sk_denoise.estimators._network_denoiser import NetworkDenoiser

__all__ = [
    "ArrayData",
    "LongArguments",
    "LongRows",
    "PatchData",
    "RunProgress",
    "TrainingData",
    "build_batch_source",
    "build_batch_transform",
    "check_augmentation",
    "check_emphasis",
    "check_image_loss",
    "check_noisy_targets",
    "check_objective",
    "check_weighted_loss",
    "find_splitter",
    "find_swap",
    "kind_of_samples",
    "make_pair_of_noisy",
    "warn_of_correlated_noise",
]

# Patches that stand for a stream when scaling and noise are learned: up to 64 MB, and at least some.
SAMPLED_ENTRIES, MIN_SAMPLED_PATCHES = 2**24, 64
# Entries of rows that are held out of a table that is read in blocks, at most
HELD_OUT_ENTRIES = 2**24

# Entries in which the correlation of the noise of two measurements is looked for, and its largest value for
# noise that counts as independent.
CORRELATED_ENTRIES, MAX_CORRELATION = 2**23, 0.1


@dataclass(frozen=True)
class LongRows:
    """Rows that need not fit in memory, and some of them that stand for all.

    Attributes
    ----------
    sample : Pair
        Rows from all over the table, and those that hold the extremes of a column.
    places : ndarray of shape (n_sampled,)
        Ascending numbers of these rows.
    extremes : ndarray of shape (n_extreme,)
        Numbers of the rows with extremes.
    inputs, targets : StoredRows
        All rows.
    weights : ndarray of shape (n_samples,) or None
        Weight of each row in the loss.
    has_gaps : bool
        Whether NaN marks missing entries.
    """

    sample: Pair
    places: NDArray[np.intp]
    extremes: NDArray[np.intp]
    inputs: StoredRows
    targets: StoredRows
    weights: NDArray[Any] | None
    has_gaps: bool

    @property
    def noiser(self) -> Noiser | None:
        """Unfitted noiser that corrupts inputs."""
        return self.sample.noiser

    def split(self, fraction: float, root: int) -> tuple[LongRows, Pair]:
        """Return the rows to train on, and those that are held out, in memory."""
        n = len(self.inputs)
        n_held_out = min(int(np.ceil(fraction * n)), max(1, HELD_OUT_ENTRIES // self.inputs.n_columns))
        order = np.random.default_rng(stream_seed(root, "split")).permutation(n)
        # The rows that determine the range stay in the training.
        held_out = np.sort(np.setdiff1d(order[: n_held_out + len(self.extremes)], self.extremes)[:n_held_out])
        is_kept = np.ones(n, bool)
        is_kept[held_out] = False
        kept = np.flatnonzero(is_kept)
        in_training = np.flatnonzero(is_kept[self.places])
        places = np.searchsorted(kept, self.places[in_training])
        inputs = self.inputs.subset(kept)
        training = replace(
            self,
            sample=self.sample.take(in_training),
            places=places,
            extremes=np.searchsorted(kept, self.extremes),
            inputs=inputs,
            targets=inputs if self.targets is self.inputs else self.targets.subset(kept),
            weights=None if self.weights is None else self.weights[kept],
        )
        return training, self.take(held_out)

    def take(self, places: NDArray[np.intp]) -> Pair:
        """Return rows at ascending places as a pair in memory."""
        inputs = targets = self.inputs.take(places)
        if self.targets is not self.inputs:
            targets = self.targets.take(places)
        weights = None if self.weights is None else self.weights[places]
        gaps: dict[str, Any] = {"input_gaps": None, "target_gaps": None}
        if self.has_gaps:
            gaps = {"input_gaps": np.isnan(inputs), "target_gaps": np.isnan(targets)}
            inputs, targets = np.nan_to_num(inputs, nan=0.0), np.nan_to_num(targets, nan=0.0)
        return replace(self.sample, inputs=inputs, targets=targets, weights=weights, **gaps)


@dataclass(frozen=True)
class LongArguments:
    """Arguments of ``fit`` with so many rows that they are read in blocks.

    Attributes
    ----------
    sides : dict
        The arguments by their names, without those that are None.
    weights : ndarray of shape (n,) or None
        Weights of the rows.
    places : ndarray of shape (n_sampled,)
        Ascending numbers of rows that stand for all.
    extremes : ndarray of shape (n_extreme,)
        Numbers of the rows with extremes.
    """

    sides: dict[str, Any]
    weights: NDArray[Any] | None
    places: NDArray[np.intp]
    extremes: NDArray[np.intp]

    @classmethod
    def of(cls, estimator: Any, sample_weight: Any, **sides: Any) -> LongArguments | None:
        """Check the arguments, or return None for those of an ordinary fit."""
        X = sides["X"]
        others = {name: sides[name] for name in ("X_clean", "X_second") if sides[name] is not None}
        if not is_long(X) or not all(is_long(side) and side.shape == X.shape for side in others.values()):
            return None
        check_lengths(X, sides["y"])
        weights = check_sample_weight(sample_weight, X)
        y = None if getattr(estimator, "ignore_y", False) else sides["y"]
        if y is not None and is_long(y) and y.shape == X.shape:
            others["y"] = y
        allow_gaps = allows_gaps(estimator)
        scans = [
            scan_rows(
                side,
                functools.partial(check_numbers, name=name, estimator=estimator, allow_gaps=allow_gaps),
                allow_gaps=allow_gaps,
            )
            for name, side in {"X": X, **others}.items()
        ]
        extremes, used = np.unique(np.concatenate(scans)), np.arange(len(X))
        if weights is not None:
            used, extremes = np.flatnonzero(weights), extremes[weights[extremes] > 0]
        always = np.searchsorted(used, extremes)
        places = used[spread_rows(len(used), X.size // len(X), SAMPLED_ENTRIES, always)]
        return cls({**sides, "y": y}, weights, places, extremes)

    def sampled(self, name: str) -> Any:
        """Return the sampled rows of an argument."""
        side = self.sides[name]
        if side is None or not (hasattr(side, "__array__") or isinstance(side, list | tuple)):
            return side
        if isinstance(side, np.ndarray) and side.dtype.kind in "fiub":
            return StoredRows(side, side.dtype.newbyteorder("=")).take(self.places)
        return _safe_indexing(side, self.places)

    def rows(self, pair: Pair, has_gaps: bool) -> LongRows:
        """Return all rows of the sides that the rules chose for a sample."""
        used = None if self.weights is None else np.flatnonzero(self.weights)
        shape = pair.inputs.shape[1:]

        def stored(name: str, like: NDArray[Any]) -> StoredRows:
            array = as_numeric_array(self.sides[name])
            return StoredRows(array, like.dtype, used, None if array.shape[1:] == shape else shape)

        inputs = targets = stored("X", pair.inputs)
        if pair.source in ("X_clean", "y", "X_second"):
            targets = stored(pair.source, pair.targets)
        places, extremes, weights = self.places, self.extremes, self.weights
        if used is not None and weights is not None:
            places, extremes = np.searchsorted(used, places), np.searchsorted(used, extremes)
            weights = weights[used]
        return LongRows(pair, places, extremes, inputs, targets, weights, has_gaps)


@dataclass(frozen=True)
class ArrayData:
    """Samples of one shape in arrays.

    Attributes
    ----------
    pair : Pair
        Noisy and clean samples; some of them for data that are read in blocks.
    patch_size : tuple of int or None
        Height and width of the patches that are cut from them; None takes samples whole.
    patches_per_image : int
        Number of patches of each image in an epoch.
    long : LongRows or None
        All samples, if they are read in blocks.
    """

    pair: Pair
    patch_size: tuple[int, int] | None = None
    patches_per_image: int = 1
    long: LongRows | None = None

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return self.pair.inputs.shape[1:]

    def split(self, fraction: float, root: int, min_samples: int) -> tuple[ArrayData, ArrayData]:
        """Return the samples to train on, and those that are held out."""
        if self.long is not None:
            rows, held_out = self.long.split(fraction, root)
            return replace(self, pair=rows.sample, long=rows), ArrayData(held_out)
        n_samples = len(self.pair.inputs)
        n_held_out = int(np.ceil(fraction * n_samples))
        if n_samples - n_held_out < min_samples:
            raise ValueError(
                f"validation_fraction={fraction} leaves {n_samples - n_held_out} of "
                f"{n_samples} samples for training, at least {min_samples} are needed. Lower it, "
                "pass X_val, or turn early_stopping off."
            )
        order = np.random.default_rng(stream_seed(root, "split")).permutation(n_samples)
        kept, left = (
            replace(self, pair=self.pair.take(np.sort(index)))
            for index in (order[n_held_out:], order[:n_held_out])
        )
        return kept, left

    def load(
        self, estimator: NetworkDenoiser, like: Pair | None = None
    ) -> tuple[Pair, Pair | LongRows | RandomPatches]:
        """Return a pair of arrays to learn the scaling from, and the source of batches.

        Parameters
        ----------
        estimator : NetworkDenoiser
            The estimator that learns.
        like : Pair, optional
            The pair of the training data, for validation data.
        """
        if self.patch_size is None:
            return self.pair, self.long or self.pair
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
    is_second : bool
        Whether the second images of the pairs are noisy measurements.
    of_any_size : bool
        Whether black and white are those of the images, as for images of any size. Otherwise they are
        measured on a sample of patches, as those of an array are.
    is_declared_clean : bool
        Whether the user declared the images as clean, or got a warning about their noise already.
    """

    patches: RandomPatches
    extrema: NDArray[Any] | None = None
    clean_side: Literal["y"] | None = None
    is_second: bool = False
    of_any_size: bool = True
    is_declared_clean: bool = False

    @property
    def n_images(self) -> int:
        """Number of images in use."""
        return len(self.patches.indexes)

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
        clean, second = (None, clean) if self.is_second else (clean, None)
        sample = estimator._resolve(
            inputs, None, clean, X_second=second, is_declared_clean=self.is_declared_clean
        )
        if self.of_any_size and not sample.has_noisy_targets:
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
    if layout.image_shape is None and isinstance(augment, SignalAugmenter):
        raise ValueError(
            f"{augment!r} needs to know that rows are signals: use SignalDenoiser, or image_shape=(1, "
            f"{layout.sample_shape[0]})."
        )
    if layout.image_shape is None:
        raise ValueError(f"augment is for images, {_rows_message(layout)}")
    if on_unit_interval and isinstance(augment, SignalAugmenter) and augment.changes_values:
        raise ValueError(
            f"{augment!r} changes values, and the loss or the output needs data in [0, 1]. Pass scale=None "
            "without offset and invert, or use another loss."
        )
    fill = getattr(augment, "fill", None)
    if on_unit_interval and isinstance(fill, Real) and not 0 <= float(fill) <= 1:
        raise ValueError(f"augment fills with {fill!r}, and the loss or the output needs data in [0, 1].")
    is_signal = layout.network_shape[1] == 1
    if (
        is_signal
        and isinstance(augment, Augmenter)
        and (
            augment.quarter_turns
            or augment.rotation
            or augment.zoom is not None
            or augment.flip == "vertical"
        )
    ):
        raise ValueError(
            f"{augment!r} turns or zooms images, and the samples are signals. Use SignalAugmenter, which "
            "shifts, scales and stretches signals in time."
        )
    # Augmentations of users need no method ``check``.
    check = getattr(augment, "check", None)
    if check is not None:
        check(layout.network_shape)


def check_noisy_targets(estimator: NetworkDenoiser, name: str) -> None:
    """Refuse losses and emphasis that need clean targets."""
    traits = check_loss(estimator.loss)
    if traits.on_unit_interval or traits.images_only or traits.by_block:
        raise ValueError(
            f"loss={estimator.loss!r} compares with a clean target, and {name} is noisy. Use "
            'loss="mse", whose minimum the noise of the target does not move.'
        )
    if estimator.emphasis is not None:
        raise ValueError(f"emphasis weights corrupted entries, and with {name} all entries are noisy.")


def check_objective(estimator: NetworkDenoiser, objective: Objective) -> None:
    """Check that an estimator can learn by a self-supervised objective."""
    name = f"objective={estimator.objective!r}"
    check_noisy_targets(estimator, f"the target of {name}")
    if getattr(objective, "halves_images", False) and not getattr(estimator, "_takes_any_size", False):
        raise ValueError(
            f"{name} learns from images of half the size, and {type(estimator).__name__} has a network for "
            'one size. Use ImageDenoiser, or "recorrupt" or "blind".'
        )
    if (
        getattr(objective, "needs_entry_weights", False)
        and not check_loss(estimator.loss).takes_entry_weights
    ):
        raise ValueError(f'{name} needs a loss that is a mean over entries, such as "mse".')
    is_auto = isinstance(estimator.noise, str) and estimator.noise == "auto"
    needs_level = objective.needs_noise or estimator._factory().has_noise_map
    if not (is_auto or estimator.noise is None or needs_level):
        raise ValueError(
            f"{name} needs no noise, and the estimator has noise={estimator.noise!r}. Leave it at "
            'noise="auto", or use objective="recorrupt", which learns from noise that is known.'
        )
    augment = estimator.augment
    if augment is not None and any(getattr(augment, step, None) for step in ("rotation", "zoom", "stretch")):
        raise ValueError(
            f"{name} needs noise that is independent between pixels, and {augment!r} interpolates. Leave out "
            "rotation, zoom and stretch; flips, quarter turns and shifts keep the noise."
        )
    if needs_level and isinstance(augment, SignalAugmenter) and augment.scale is not None:
        raise ValueError(
            f"{name} needs the noise level of X, and {augment!r} changes it with the amplitude. Pass "
            "scale=None."
        )


@dataclass
class RunProgress:
    """Share of a training run that is done, for objectives that change with it."""

    share: float = 0.0
    epoch: int = -1
    epochs: int = 1

    def begin(self, done: int, epochs: int) -> None:
        """Begin a run of epochs, after those of earlier calls."""
        self.epoch, self.epochs = done - 1, max(1, done + epochs)

    def advance(self) -> None:
        """Count an epoch that begins."""
        self.epoch += 1
        self.share = min(1.0, self.epoch / self.epochs)


def find_swap(pair: Pair) -> Literal["samples", "entries"] | None:
    """Return the parts of two measurements that have independent noise."""
    if pair.source != "X_second":
        return None
    few = slice(max(1, CORRELATED_ENTRIES // pair.inputs[0].size))
    noise = (pair.inputs[few] - pair.targets[few]).astype(np.float64)
    if noise.ndim == 2:
        return "entries" if Correlation.of(noise).excess < MAX_CORRELATION**2 else "samples"
    noise -= noise.mean()
    power = float(np.square(noise).mean())
    lags = [noise[:, :, 1:] * noise[:, :, :-1]]
    if noise.shape[1] > 1:
        lags.append(noise[:, 1:] * noise[:, :-1])
    nearest = max(abs(float(lag.mean())) for lag in lags if lag.size)
    return "entries" if nearest < MAX_CORRELATION * power else "samples"


def kind_of_samples(layout: SampleLayout) -> Literal["table", "images"]:
    """Return whether entries are features, or pixels with neighbours."""
    return "images" if layout.has_one_unit else "table"


def find_splitter(pair: Pair, kind: Literal["table", "images"]) -> NoiseSplitter:
    """Return the noise in noisy samples: that of the parameter, or an estimate."""
    samples, noise = pair.inputs, pair.noise
    if isinstance(noise, str) and noise == "auto":
        if samples.ndim > 2 and min(samples.shape[1:3]) > 1:
            return NoiseSplitter(estimate_independent_noise(samples))
        if samples.ndim == 4:
            # Channels of signals have a noise level each.
            channels = np.moveaxis(samples[:, 0], -1, 0)
            noise = np.array([estimate_row_noise(channel, kind="signals") for channel in channels])
        else:
            rows = samples.reshape(len(samples), -1)
            noise = estimate_row_noise(rows, kind="signals" if kind == "images" else "auto")
    elif isinstance(noise, str):
        noise = resolve_noiser(noise)
    splitter = NoiseSplitter.of(noise, samples)
    if kind == "table":
        warn_of_impossible_noise(splitter.model, samples)
    return splitter


def warn_of_correlated_noise(samples: NDArray[Any]) -> None:
    """Warn of noise that is common to neighbours, which an objective would keep."""
    levels = find_correlation(samples) if samples.ndim > 2 else None
    if levels is not None:
        warn_user(
            "The noise in X seems to be correlated between neighbours, as cameras, JPEG and interpolation "
            f"leave it: its level is {levels[0]:.3g} at one pixel and {levels[1]:.3g} at two. The objective "
            "takes correlated noise for a part of the image and keeps it. Learn from unprocessed images, "
            "from images reduced by 2, or from pairs, fit(X, X_second=another_measurement). Ignore this if "
            "the images have fine texture everywhere.",
            NoiseMismatchWarning,
        )


def make_pair_of_noisy(
    noisy: Tensor,
    generator: torch.Generator,
    *,
    objective: Objective,
    layout: SampleLayout,
    noise: NoiseSplitter | None,
    denoise: Callable[[Tensor], Tensor] | None,
    progress: RunProgress | None,
    is_weighted: bool = False,
) -> TrainingPair:
    """Return the pair that an objective makes of noisy samples in the user's layout."""
    kind = kind_of_samples(layout)
    is_row = kind == "images" and noisy.ndim == 2
    # Signals are images of height 1.
    values = noisy[:, None] if is_row else noisy
    made = objective.make_pair(
        NoisySamples(
            values,
            kind,
            generator,
            0.0 if progress is None else progress.share,
            None if denoise is None else lambda x: denoise(x[:, 0])[:, None] if is_row else denoise(x),
            noise,
            is_weighted,
        )
    )
    if not isinstance(made, TrainingPair) or made.input.shape != made.target.shape:
        raise ValueError(
            f"make_pair of {objective!r} must return a TrainingPair with an input and a target of one shape, "
            f"got {made!r:.200}."
        )
    if not is_row:
        return made
    weight = None if made.weight is None else made.weight[:, 0]
    return TrainingPair(made.input[:, 0], made.target[:, 0], weight, made.level)


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
    make_pair: Callable[[Tensor, torch.Generator], TrainingPair] | None = None,
    swap: Literal["samples", "entries"] | None = None,
    fill: Callable[[Tensor], Tensor] | None = None,
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
        weigh=None if emphasis is None else _emphasis_weights(layout, preparation.blocks, *emphasis),
        adds_noise_map=adds_noise_map,
        make_pair=make_pair,
        prepare_weight=layout.to_network,
        level_unit=float(preparation.target_scaler.spread) if adds_noise_map else 1.0,
        swap=swap,
        fill=fill,
    )


def build_batch_source(
    samples: Pair | LongRows | RandomPatches,
    device: torch.device,
    pairing: BatchTransform,
    shuffle: torch.Generator,
) -> CorruptedRows | CorruptedLongRows | CorruptedStream:
    """Return the source of batches: rows in memory or in files, or streamed patches."""
    if isinstance(samples, RandomPatches):
        return CorruptedStream(samples, device, pairing, shuffle)
    if isinstance(samples, LongRows):
        sides = samples.inputs, samples.targets
        return CorruptedLongRows(
            *sides, device, pairing, shuffle, _mean_one(samples.weights), samples.has_gaps
        )
    inputs = as_tensor(samples.inputs)
    targets = inputs if samples.targets is samples.inputs else as_tensor(samples.targets)
    # On a GPU, batches are gathered without a transfer, if the data fit.
    inputs, targets = keep_on_device(device, inputs, targets)
    weights = _mean_one(samples.weights)
    weights = None if weights is None else weights.to(inputs.device)
    gaps = None
    if samples.input_gaps is not None and samples.target_gaps is not None:
        gaps = as_tensor(np.stack([samples.input_gaps, samples.target_gaps], axis=1)).to(inputs.device)
    return CorruptedRows(inputs, targets, device, pairing, shuffle, weights, gaps)


def _mean_one(weights: NDArray[Any] | None) -> Tensor | None:
    """Return weights of a mean of 1."""
    # So they leave the scale of the loss and the learning rate as they are.
    return None if weights is None else as_tensor((weights / weights.mean()).astype(np.float32))


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
    layout: SampleLayout, blocks: tuple[tuple[int, ...], ...], corrupted: float, intact: float
) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the function from noisy and clean samples to the weights of entries."""

    def weigh(noisy: Tensor, clean: Tensor) -> Tensor:
        changed = noisy != clean
        # A category is corrupted as a whole.
        for block in map(list, blocks):
            changed[:, block] = changed[:, block].any(dim=1, keepdim=True)
        return layout.to_network(torch.where(changed, float(corrupted), float(intact))).float()

    return weigh


def _describe(value: Any) -> str:
    """Describe the type and shape of a value for messages."""
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of " + ", ".join(_describe(side) for side in value)
    return f"{type(value).__name__} of shape {tuple(value.shape)}" if hasattr(value, "shape") else repr(value)
