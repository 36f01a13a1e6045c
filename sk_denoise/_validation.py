"""Checks of input: arrays of samples, noisers, parameters.

Code below the public functions and methods trusts its input.
"""

from __future__ import annotations

import numbers
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

import joblib
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator

# No other module imports names of scikit-learn that are not public, so that a new version breaks one place.
from sklearn.metrics._scorer import _BaseScorer
from sklearn.pipeline import _name_estimators
from sklearn.utils import check_array
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    StrOptions,
    validate_parameter_constraints,
)
from sklearn.utils._set_output import _wrap_data_with_container
from sklearn.utils.validation import _check_sample_weight, validate_data

from sk_denoise._registry import check_one_of
from sk_denoise._schema import Rule
from sk_denoise.exceptions import CleanTargetWarning

__all__ = [
    "FITTED_NOISER",
    "NOISER_OF_SAMPLES",
    "HasMethods",
    "Interval",
    "Noiser",
    "Scorer",
    "StrOptions",
    "allows_gaps",
    "are_equal",
    "as_float_array",
    "as_numeric_array",
    "as_tensor",
    "check_choice",
    "check_fraction",
    "check_height_and_width",
    "check_integer",
    "check_lengths",
    "check_noiser",
    "check_numbers",
    "check_one_of",
    "check_parameters",
    "check_samples",
    "check_clean_side",
    "check_sample_weight",
    "is_clean_side",
    "is_dask_array",
    "is_labelled",
    "specification_key",
    "may_be_channels",
    "name_by_class",
    "find_noisers",
    "refuse_channels_first",
    "refuse_channels_last",
    "refuse_lazy",
    "refuse_masked",
    "refuse_other_index",
    "refuse_ragged",
    "refuse_single_image",
    "restore_columns",
    "restore_container",
    "restore_names",
    "validate_data",
    "get_shape",
    "has_finite_numbers",
    "warn_of_alpha",
    "warn_of_channels",
    "warn_of_flat_channels_first",
    "warn_of_infinite_output",
    "warn_of_other_unit",
    "warn_of_unlike_sides",
    "warn_of_single_image",
    "warn_of_time_first",
    "warn_user",
    "wrap_output",
]

T = TypeVar("T")
Word = TypeVar("Word", bound=str)

# An axis with more entries is a side of an image, not its channels.
MAX_CHANNELS = 4
# Height, aspect ratio and width of images that are more likely signals of channels, such as (12, 5000)
MAX_SIGNAL_CHANNELS, MIN_ASPECT, MIN_CHANNEL_LENGTH = 64, 8, 64
# In a single image neighbouring pixels differ by less than this share of the difference of pixels half an
# image apart. Photos reach 0.48, digits in a table 1.0; series are smooth along one axis only.
SMOOTHNESS = 0.7
# Sides in pixels: below the smallest one, smoothness is chance; beyond the largest one, the rest is not read.
MIN_SIDE, MAX_SIDE = 16, 1024

# Data in another unit than those of the fit lie far beyond their range, in multiples of half of it, or all
# within a small part of it.
FAR, SMALL = 4, 1 / 200
MAX_ENTRIES_READ, MIN_ENTRIES = 2**16, 16
# Largest integer up to which single precision holds all
MAX_EXACT_INTEGER = 2**24

# Median correlation of columns from which two sides are a pair in any unit, and slopes of noisy values over
# clean ones for pairs of strong noise. Fewer rows than these show neither.
SURE_CORRELATION, NEGATIVE_CORRELATION, PAIR_SLOPES, MIN_PAIRS = 0.5, 0.9, (0.5, 2.0), 8

# Warnings skip the lines of these packages, to point at the line of the user.
LIBRARIES = ("sk_denoise", "sklearn", "joblib", "skorch", "torch", "contextlib")


@runtime_checkable
class Noiser(Protocol):
    """Protocol of noisers, of the library and of users.

    A noiser is a scikit-learn estimator. ``fit`` learns from clean data. ``corrupt`` returns corrupted
    tensors: it draws from the generator only and does not change its input.

    Noise that reduces images has an attribute ``size_factor``, the quotient of their sides before and after.
    Without it, noisy samples have the shape of the clean ones (:func:`size_factor_of`).
    """

    def fit(self, X: ArrayLike, y: Any = None) -> Any: ...

    def corrupt(self, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor: ...


# A noiser of a user need not set more than this.
FITTED_NOISER = Rule(lambda v, _: isinstance(v, Noiser) and hasattr(v, "n_features_in_"), "a fitted noiser")


def _is_noiser_of_samples(value: Any, owner: Any) -> bool:
    shape = getattr(value, "_sample_shape_", None)
    if not FITTED_NOISER.test(value, owner) or shape is None:
        return FITTED_NOISER.test(value, owner)
    patch = getattr(owner, "patch_shape_", None)
    # Noise of images of any size was fitted to patches, or to a pixel of each channel.
    is_of_patches = patch is not None and len(shape) == len(patch) and shape[2:] == patch[2:]
    # Images in flat rows get their shape for the noise.
    outer = getattr(owner, "_sample_shape_", shape)
    has_shape = shape == outer or len(outer) == 1
    return is_of_patches or (has_shape and bool(value.n_features_in_ == owner.n_features_in_))


# For owners with fitted samples of their own
NOISER_OF_SAMPLES = Rule(_is_noiser_of_samples, "a fitted noiser of such samples", after_others=True)


class Scorer(_BaseScorer):
    """Base of scorers, compatible with those of scikit-learn.

    Searches, callbacks and metadata routing accept it. A subclass is a dataclass with the method ``score``.
    """

    _kwargs: ClassVar[dict[str, Any]] = {}
    _sign: ClassVar[int] = 1
    _response_method: ClassVar[str] = "predict"

    # Function of an estimator, X, y and metadata; greater is better.
    score: Callable[..., float]

    @property
    def _score_func(self) -> Callable[..., float]:
        return self.score

    def __call__(self, estimator: Any, X: Any, y: Any = None, **metadata: Any) -> float:
        return self.score(estimator, X, y, **metadata)

    def _score(self, method_caller: Any, estimator: Any, X: Any, y: Any = None, **metadata: Any) -> float:
        return self.score(estimator, X, y, **metadata)


def name_by_class(estimators: Sequence[T]) -> list[tuple[str, T]]:
    """Return estimators with names, as ``make_pipeline`` gives its steps."""
    named: list[tuple[str, T]] = _name_estimators(estimators)
    return named


def find_noisers(estimator: Any) -> list[Any]:
    """Return the noisers of an estimator that may corrupt its input.

    These are the estimator itself, steps and nested parameters.
    """
    candidates = [estimator]
    if hasattr(estimator, "get_params") and not isinstance(estimator, type):
        candidates += list(estimator.get_params(deep=True).values())
    noisers = {id(c): c for c in candidates if isinstance(c, Noiser) and not isinstance(c, type)}
    for candidate in candidates:
        if hasattr(candidate, "partial_fit"):
            # The noise of a denoiser never runs outside its fit.
            whole = getattr(candidate, "noise", None)
            noisers.pop(id(whole), None)
        elif id(candidate) in noisers:
            # Parts of a composed noiser run only within it.
            whole = candidate
        else:
            continue
        for part in _nested_parameters(whole):
            noisers.pop(id(part), None)
    return list(noisers.values())


def _nested_parameters(noiser: Any) -> list[Any]:
    return list(noiser.get_params(deep=True).values()) if hasattr(noiser, "get_params") else []


def specification_key(specification: Any) -> str:
    """Return a text that is equal for equal specifications only."""
    # Not repr alone, which may be cut short; but a lambda, for example, cannot be pickled for a hash.
    try:
        return str(joblib.hash(specification))
    except Exception:
        return repr(specification)


def size_factor_of(noiser: Any) -> int:
    """Return the quotient of the sides of clean and noisy images, 1 for one size."""
    # Noisers of users need not have it, and that of a class, in place of a noiser, is no number.
    return 1 if isinstance(noiser, type) else int(getattr(noiser, "size_factor", 1))


def refuse_other_size(noiser: Any, caller: str) -> None:
    """Refuse noise that reduces images where noisy and clean samples have one size."""
    factor = size_factor_of(noiser)
    if factor != 1:
        raise ValueError(
            f"{noiser!r} reduces images to 1/{factor} of their sides, and {caller} needs noisy and clean "
            "samples of one size. Take noise that keeps the size, such as BlurNoiser()."
        )


def refuse_degradation(noiser: Any, caller: str) -> None:
    """Refuse noisers that add nothing to samples where noise is measured or removed."""
    refuse_other_size(noiser, caller)
    if getattr(noiser, "_adds_nothing", False):
        raise ValueError(
            f"{noiser!r} adds nothing that {caller} could be. A network that trains on it undoes it: "
            "ImageDenoiser(noise=...).fit(sharp_images)."
        )


def check_noiser(noiser: Any) -> Noiser:
    """Return the noiser, or raise an error for any other object."""
    if isinstance(noiser, Noiser) and not isinstance(noiser, type):
        return noiser
    hint = f" Did you mean {noiser.__name__}()?" if isinstance(noiser, type) else ""
    raise TypeError(f"Expected a noiser such as GaussianNoiser(0.1), got {noiser!r}.{hint}")


def check_parameters(estimator: BaseEstimator, constraints: dict[str, Any]) -> None:
    """Check the types and ranges of constructor parameters."""
    validate_parameter_constraints(constraints, estimator.get_params(deep=False), type(estimator).__name__)


def check_integer(value: Any, name: str, low: int = 1) -> int:
    """Return an integer of at least ``low``, or refuse the value."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be an integer, got {value!r}.")
    if value < low:
        raise ValueError(f"{name} must be at least {low}, got {value!r}.")
    return int(value)


def check_height_and_width(value: Any, name: str) -> tuple[int, int]:
    """Return ``(height, width)`` from one integer or two."""
    sides = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(sides) != 2:
        raise ValueError(f"{name} must be an integer or (height, width), got {value!r}.")
    return check_integer(sides[0], name), check_integer(sides[1], name)


def check_choice(value: Word, name: str, *choices: Word) -> Word:
    """Return one of several words; the error lists them."""
    return check_one_of(value, {word: word for word in choices}, name)


def check_fraction(value: Any, name: str) -> float:
    """Return a number between 0 and 1, both excluded."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 < float(value) < 1:
        raise ValueError(f"{name} must be a number between 0 and 1, got {value!r}.")
    return float(value)


def check_samples(
    estimator: BaseEstimator, X: ArrayLike, *, reset: bool, min_samples: int = 1, allow_gaps: bool = False
) -> NDArray[Any]:
    """Check the input of an estimator and return it as a numeric array.

    Valid input are rows ``(n_samples, n_features)`` and stacks of images
    ``(n_samples, height, width[, channels])``; their type is kept. With ``reset`` the number, names and shape
    of the features are stored, otherwise compared; for estimators of images of any size only the channels.
    NaN is refused, except with ``allow_gaps``.
    """
    refuse_masked(X)
    refuse_ragged(X, takes_any_size=getattr(estimator, "_takes_any_size", False))
    if isinstance(X, np.ndarray) and X.dtype.names is not None:
        raise ValueError(
            f"X is a structured array with the fields {list(X.dtype.names)[:5]}. Pass rows of numbers: "
            "numpy.lib.recfunctions.structured_to_unstructured(X), or a frame."
        )
    is_stack = (np.ndim(X) if isinstance(X, list | tuple) else getattr(X, "ndim", 2)) > 2
    expected: tuple[int, ...] = () if reset else estimator._sample_shape_
    any_size = getattr(estimator, "_takes_any_size", False)
    if len(expected) > 1 and np.shape(X) == expected:
        raise ValueError(f"X has the shape {expected} of a single sample. It needs a first axis: X[None].")
    if len(expected) > 1 and any_size and not is_stack:
        raise ValueError(
            f"{type(estimator).__name__} was fitted on images {_describe_images(expected)}, X has the shape "
            f"{np.shape(X)}. Pass X of shape (n_images, height, width{_channel_axis(expected)}), or one "
            "image as X[None]."
        )
    try:
        checked = validate_data(
            estimator,
            X,
            reset=reset,
            dtype="numeric",
            allow_nd=True,
            ensure_2d=not is_stack,
            ensure_min_samples=min_samples,
            ensure_all_finite="allow-nan" if allow_gaps else True,
        )
    except ValueError as error:
        _explain_gaps(error, estimator)
        raise
    array = np.asarray(checked)
    shape = array.shape[1:]
    if 0 in shape:
        raise ValueError(f"Found samples of shape {shape}: each axis needs at least one entry.")
    if reset:
        estimator.n_features_in_ = int(np.prod(shape))
        estimator._sample_shape_ = shape
    elif any_size and len(expected) > 1:
        # An estimator fitted on narrow images takes narrow images.
        if len(expected) == 2 and expected[1] > MAX_CHANNELS:
            refuse_single_image(array.shape, may_declare=False)
        if (len(shape), shape[2:]) != (len(expected), expected[2:]):
            refuse_channels_first(shape, may_declare=False)
            raise ValueError(
                f"{type(estimator).__name__} was fitted on images {_describe_images(expected)}, X holds "
                f"images {_describe_images(shape)}. Pass X of shape (n_images, height, width"
                f"{_channel_axis(expected)}), or one image as X[None]."
            )
    elif shape != expected:
        raise ValueError(
            f"{type(estimator).__name__} was fitted on samples of shape {estimator._sample_shape_}, "
            f"X holds samples of shape {shape}. Reshape X to (n_samples, "
            f"{', '.join(map(str, estimator._sample_shape_))})."
        )
    return array


def _explain_gaps(error: ValueError, estimator: Any) -> None:
    """Raise an error about NaN again, with the parameter that allows it."""
    text = str(error)
    if "contains NaN" not in text:
        return
    if isinstance(estimator, Noiser):
        raise ValueError(
            f"{text.splitlines()[0].split('contains NaN')[0]}contains NaN, and {type(estimator).__name__} "
            'takes no gaps. Pass it as noise= of a DenoisingAutoencoder with missing="mask", which adds '
            "noise to known entries only; or fill the gaps first, by a DenoisingImputer before it."
        ) from error
    if getattr(estimator, "missing", None) != "error":
        return
    raise ValueError(
        f"{text.splitlines()[0].split('contains NaN')[0]}contains NaN, and {type(estimator).__name__} has "
        'missing="error". If NaN marks missing entries of a table, set missing="mask", which leaves them out '
        "of the loss; or fill them first, by a DenoisingImputer before it."
    ) from error


def _describe_images(shape: tuple[int, ...]) -> str:
    if len(shape) == 1:
        return f"as rows of {shape[0]}"
    return f"of {shape[2]} channels" if len(shape) == 3 else "without an axis of channels"


def _channel_axis(shape: tuple[int, ...]) -> str:
    return f", {shape[2]}" if len(shape) == 3 else ""


def allows_gaps(estimator: Any) -> bool:
    """Return whether NaN in the data of an estimator marks missing entries."""
    return getattr(estimator, "missing", None) == "mask"


def are_equal(values: NDArray[Any], others: NDArray[Any]) -> bool:
    """Return whether arrays hold the same numbers, with NaN in the same places."""
    return np.array_equal(values, others, equal_nan=values.dtype.kind == others.dtype.kind == "f")


def check_numbers(
    X: ArrayLike, name: str, estimator: BaseEstimator | None = None, *, allow_gaps: bool = False
) -> NDArray[Any]:
    """Check that X holds finite numbers and return it as an array of any shape.

    With ``allow_gaps`` it may hold NaN.
    """
    refuse_masked(X, name)
    try:
        checked = check_array(
            X,
            dtype="numeric",
            allow_nd=True,
            ensure_2d=False,
            input_name=name,
            estimator=estimator,
            ensure_all_finite="allow-nan" if allow_gaps else True,
        )
    except ValueError as error:
        _explain_gaps(error, estimator)
        raise
    return np.asarray(checked)


def is_dask_array(X: Any) -> bool:
    """Return whether X is a dask array, without an import of dask."""
    module = sys.modules.get("dask.array")
    # A half-imported module has no class yet.
    kind = getattr(module, "Array", None)
    return kind is not None and isinstance(X, kind)


def is_labelled(X: Any) -> bool:
    """Return whether X is a DataArray of xarray, without an import of xarray."""
    kind = getattr(sys.modules.get("xarray"), "DataArray", None)
    return kind is not None and isinstance(X, kind)


def refuse_lazy(X: Any, name: str = "X") -> None:
    """Refuse lazy arrays, which would be computed whole, and frames of dask.

    DataArrays of xarray in memory pass; so do those that load at their first use, which xarray limits itself.
    """
    for part in X if isinstance(X, list | tuple) else (X,):
        package = type(part).__module__.partition(".")[0]
        # A variable of a Dataset may be named data, so that its class decides.
        if package == "xarray" and not hasattr(type(part), "data"):
            raise TypeError(
                f"{name} is a {type(part).__name__} of xarray. Pass one of its arrays: {name}['name of the "
                "variable']."
            )
        if is_dask_array(part) or (package == "xarray" and part.chunks is not None):
            n_bytes = float(part.nbytes)
            size = "of unknown size" if np.isnan(n_bytes) else f"of {_in_words(n_bytes)}"
            raise ValueError(
                f"{name} is a lazy array of dask, {size} in memory, and is not computed in silence. If it "
                f"fits into memory, pass {name}.compute(). To learn from more, call partial_fit on one block "
                f"after the other, {name}[start:stop].compute(), or fit a part. Lazy arrays go to predict "
                "and transform of denoisers, and to denoise_image."
            )
        if package in ("dask", "dask_expr", "dask_cudf"):
            raise TypeError(
                f"{name} is a {type(part).__name__} of dask, of which only arrays are taken. For a table "
                f"of numbers pass {name}.to_dask_array(lengths=True), or {name}.compute() if it fits into "
                "memory."
            )


def _in_words(n_bytes: float) -> str:
    """Return a size in memory as a text."""
    return f"{n_bytes / 1e9:.3g} GB" if n_bytes >= 1e7 else f"{n_bytes / 1e6:.2g} MB"


def refuse_masked(X: Any, name: str = "X") -> None:
    """Refuse masked arrays with masked entries, and lazy arrays."""
    refuse_lazy(X, name)
    # As plain arrays they would show the entries that the mask hides.
    for part in X if isinstance(X, list | tuple) else (X,):
        if isinstance(part, np.ma.MaskedArray) and np.ma.is_masked(part):
            raise ValueError(
                f"{name} is a masked array that hides {np.ma.count_masked(part)} of {part.size} entries, "
                f"which cannot be left out of the computation. Fill them first: {name}.filled(value), or an "
                f"imputer of scikit-learn on {name}.astype(float).filled(numpy.nan)."
            )


def refuse_channels_first(
    shape: tuple[int, ...], image_shape: Any = None, name: str = "X", *, may_declare: bool = True
) -> None:
    """Refuse arrays of images (channels, height, width).

    Arrays have their channels last, so these would pass for images of very few rows and many channels.
    ``shape`` is that of one image. A declared ``image_shape`` confirms such images.
    """
    if image_shape is None and len(shape) == 3 and shape[0] in (1, 3, 4) and min(shape[1:]) > MAX_CHANNELS:
        otherwise = (
            f"; or image_shape={shape}, if images are {shape[0]} pixels high and have {shape[2]} channels"
        )
        raise ValueError(
            f"The shape {shape} of images in {name} seems to be (channels, height, width), and arrays have "
            f"their channels last. Pass numpy.moveaxis({name}, -3, -1){otherwise if may_declare else ''}."
        )


def refuse_single_image(
    shape: tuple[int, ...], image_shape: Any = None, name: str = "X", *, may_declare: bool = True
) -> None:
    """Refuse one image (height, width, channels) in place of a stack.

    It would pass for a stack of very narrow images.
    """
    if image_shape is not None or len(shape) != 3:
        return
    n, height, width = shape
    if width <= MAX_CHANNELS < min(n, height):
        otherwise = f"; or image_shape={(height, width)}, if they are such narrow images"
        raise ValueError(
            f"The shape {shape} of {name} seems to be one image (height, width, channels), and would be "
            f"taken for {n} images of {height} x {width} pixels. Pass one image as {name}[None]"
            f"{otherwise if may_declare else ''}."
        )


def may_be_channels(shape: tuple[int, ...]) -> bool:
    """Return whether a sample (height, width) is more likely a signal of channels."""
    if len(shape) != 2:
        return False
    height, width = shape
    return 1 < height <= MAX_SIGNAL_CHANNELS and width >= max(MIN_ASPECT * height, MIN_CHANNEL_LENGTH)


def warn_of_channels(shape: tuple[int, ...], remedy: str) -> None:
    """Warn of signals of several channels that are taken for grey images."""
    if may_be_channels(shape[1:]):
        n, height, width = shape
        warn_user(
            f"X of shape {shape} is taken for {n} images of {height} x {width} pixels. If it holds signals "
            f"of {height} channels, {remedy}"
        )


def warn_of_time_first(n_channels: int, length: int, name: str = "X") -> None:
    """Warn of signals of more channels than entries: their axes may be swapped."""
    if n_channels > length:
        warn_user(
            f"{name} is taken for signals of {n_channels} channels and {length} entries. Time is last: if "
            f"the signals have {length} channels, swap the axes, by numpy.swapaxes({name}, -1, -2) or, in a "
            f"list, [x.T for x in {name}]."
        )


def warn_of_single_image(X: Any, taken_for: str, name: str = "X") -> None:
    """Warn if samples follow each other like the rows of one image."""
    array = np.asarray(X)
    if _looks_like_one_image(array):
        warn_user(
            f"{name} of shape {array.shape} is taken for {len(array)} {taken_for}, but they follow each "
            f"other as the rows of a single image do. Pass one image as {name}[None]."
        )


def _looks_like_one_image(array: NDArray[Any]) -> bool:
    if array.dtype.kind not in "uif" or array.ndim not in (2, 3) or min(array.shape[:2]) < MIN_SIDE:
        return False
    if array.ndim == 3 and array.shape[2] > MAX_CHANNELS:
        return False
    part = array[:MAX_SIDE, :MAX_SIDE].astype(np.float64)
    if _are_overlapping_windows(part):
        return False
    # Noise hides the smoothness of single pixels; means of blocks have less of it.
    return _is_smooth(part) or (min(part.shape[:2]) >= 4 * MIN_SIDE and _is_smooth(_block_means(part)))


def _is_smooth(image: NDArray[np.float64]) -> bool:
    """Return whether neighbours differ less than pixels half an image apart.

    This must hold along both axes. It also holds for windows of a series, in which the end of a row is close
    to the beginning of the next one; these do not count.
    """
    steps = [np.abs(np.diff(image, axis=axis)).mean() for axis in (0, 1)]
    far = [np.abs(image - np.roll(image, image.shape[axis] // 2, axis=axis)).mean() for axis in (0, 1)]
    across_rows = np.abs(image[1:, 0] - image[:-1, -1]).mean()
    is_smooth = steps[0] < SMOOTHNESS * far[0] and steps[1] < SMOOTHNESS * far[1]
    return bool(is_smooth and across_rows > SMOOTHNESS * far[1])


def _are_overlapping_windows(rows: NDArray[np.float64]) -> bool:
    """Return whether each row repeats the end of the row before it."""
    first, length = rows[:MIN_SIDE], rows.shape[1]
    return any(np.array_equal(first[1:, : length - lag], first[:-1, lag:]) for lag in range(1, length))


def _block_means(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the means of blocks of 4 x 4 pixels."""
    height, width = (side // 4 for side in image.shape[:2])
    blocks = image[: 4 * height, : 4 * width].reshape(height, 4, width, 4, -1)
    return np.asarray(blocks.mean(axis=(1, 3)))


def refuse_channels_last(shape: tuple[int, ...], name: str = "X") -> None:
    """Refuse tensors (height, width, channels), with or without a first axis.

    Tensors have their channels first.
    """
    rows, columns, channels = shape[-3:] if len(shape) > 2 else (0, 0, 0)
    if channels in (1, 3, 4) and min(rows, columns) > MAX_CHANNELS:
        raise ValueError(
            f"{name} is a tensor of shape {tuple(shape)}, which seems to have its channels last; tensors "
            f"have them first. Pass {name}.movedim(-1, -3), or {name}.numpy()."
        )


def warn_of_flat_channels_first(shape: tuple[int, ...], image_shape: Any) -> None:
    """Warn if a declared shape of flat rows seems to have its channels first."""
    declared = tuple(image_shape or ())
    if (
        len(shape) == 2
        and len(declared) == 3
        and declared[0] in (1, 3, 4)
        and min(declared[1:]) > MAX_CHANNELS
    ):
        warn_user(
            f"image_shape={declared} means {declared[0]} x {declared[1]} pixels of {declared[2]} channels. "
            f"If the rows are images with their channels first, pass without image_shape "
            f"numpy.moveaxis(X.reshape(-1, {', '.join(map(str, declared))}), 1, -1)."
        )


def warn_of_alpha(samples: NDArray[Any], name: str = "X") -> None:
    """Warn if the last channel of images is constant, as in opaque images."""
    if (
        samples.ndim == 4
        and samples.shape[3] in (2, 4)
        and samples[..., :-1].min() != samples[..., :-1].max()
    ):
        last = samples[..., -1]
        if last.min() == last.max():
            warn_user(
                f"The last of the {samples.shape[3]} channels in {name} is {last.flat[0]:g} everywhere, as "
                f"transparency is. Leave it out: {name}[..., :{samples.shape[3] - 1}]."
            )


def warn_of_other_unit(samples: NDArray[Any], low: float, high: float, name: str = "X") -> bool:
    """Warn if values suggest another unit than in the fit; return whether they do."""
    step = max(1, samples.size // MAX_ENTRIES_READ)
    some = samples[::step].reshape(-1, samples[0].size).astype(np.float64)
    smallest, largest = float(some.min()), float(some.max())
    far = np.abs(some - (low + high) / 2) > FAR * (high - low)
    # After a scaler, noise in nearly constant features lies far beyond the range, but in these features only.
    is_far = far.mean() > 1 / 4 or (len(some) >= MIN_ENTRIES and (far.mean(axis=0) > 1 / 50).mean() > 1 / 2)
    if is_far or (some.size >= MIN_ENTRIES and 0 < largest - smallest < SMALL * (high - low)):
        warn_user(
            f"{name} holds values from {smallest:.4g} to {largest:.4g}, and the fit saw a range of about "
            f"{low:.4g} to {high:.4g}: {name} seems to be in another unit, which is not converted here."
        )
        return True
    return False


def refuse_other_index(X: Any, other: Any, name: str, first: str = "X") -> None:
    """Refuse two frames of which the indices put the samples in different pairs."""
    index: Any = getattr(X, "index", None)
    others: Any = getattr(other, "index", None)
    if not (hasattr(index, "equals") and hasattr(others, "equals")) or len(index) != len(others):
        return
    if index.equals(others):
        return
    n_common = int(index.isin(others).sum())
    if n_common == len(index) and others.isin(index).all():
        raise ValueError(
            f"{name} has the index of {first} in another order, and samples are paired by their place, not "
            f"by their index. Pass {name}.loc[{first}.index]; or, if their places are right, "
            f"{name}.set_index({first}.index)."
        )
    # A new index counts from 0 and tells nothing of the samples; an index of other labels neither.
    if n_common == 0 or _counts_from_zero(index) or _counts_from_zero(others):
        return
    raise ValueError(
        f"{first} and {name} have {n_common} of {len(index)} labels of their index in common, so that some "
        f"samples have no counterpart. Pass the same samples on both sides; or, if their places are right, "
        f"{name}.set_index({first}.index)."
    )


def _counts_from_zero(index: Any) -> bool:
    return bool(np.array_equal(np.asarray(index), np.arange(len(index))))


def refuse_ragged(X: Any, *, takes_any_size: bool, remedy: str | None = None) -> None:
    """Refuse a list of rows of different lengths; the remedy is for the message."""
    if not isinstance(X, list | tuple) or any(isinstance(x, str) for x in X):
        return
    shapes = [np.shape(x) if hasattr(x, "shape") else (len(x),) for x in X if hasattr(x, "__len__")]
    lengths = {shape[0] for shape in shapes if len(shape) == 1}
    if len(shapes) < len(X) or len(lengths) < 2 or any(len(shape) != 1 for shape in shapes):
        return
    remedy = remedy or (
        "For signals take SignalDenoiser; or pass each as an image of height 1, of shape (1, length): "
        "[x[None] for x in X]."
        if takes_any_size
        else "Cut them to one length; or take SignalDenoiser, which takes lists of arrays (length,)."
    )
    raise ValueError(
        f"X is a list of {len(X)} rows of different lengths, {min(lengths)} to {max(lengths)}. {remedy}"
    )


def check_lengths(X: Any, y: Any, name: str = "y") -> None:
    """Refuse a y with another number of samples than X, even if y is not used."""
    n_samples, n_others = _count_samples(X), _count_samples(y)
    if n_samples is not None and n_others is not None and n_samples != n_others:
        raise ValueError(
            f"Found input variables with inconsistent numbers of samples: {n_samples} in X, {n_others} in "
            f"{name}. Pass one entry of {name} for each sample of X, in the same order."
        )


def get_shape(X: Any) -> tuple[int, ...]:
    """Return the shape of an array-like."""
    shape = getattr(X, "shape", None)
    if isinstance(shape, tuple):
        return tuple(shape)
    # The check of the data refuses ragged lists with a better message.
    try:
        return np.asarray(X).shape
    except ValueError:
        return ()


def _count_samples(side: Any) -> int | None:
    """Return the number of samples, or None for objects without a length."""
    shape = getattr(side, "shape", None)
    if isinstance(shape, tuple):
        return int(shape[0]) if shape else None
    is_sized = hasattr(side, "__len__") and not isinstance(side, str | bytes | Mapping | type)
    return len(side) if is_sized else None


def check_clean_side(
    estimator: BaseEstimator, clean: ArrayLike, shape: tuple[int, ...], name: str
) -> NDArray[Any]:
    """Check the clean side of a pair against the noisy side.

    It must be numeric and finite, and have the shape and the feature names of the noisy side. It may hold NaN
    if the noisy side may.
    """
    names, expected = getattr(clean, "columns", None), getattr(estimator, "feature_names_in_", None)
    if names is not None and expected is not None and list(names) != list(expected):
        raise ValueError(
            f"The columns of {name} are not those of X, in the same order. X has {list(expected)}."
        )
    array = check_numbers(clean, name, estimator, allow_gaps=allows_gaps(estimator))
    if array.shape != shape:
        raise ValueError(
            f"{name} has shape {array.shape}, its noisy side has shape {shape}. Pass the clean "
            "counterpart of each sample, in the same order and layout."
        )
    return array


def check_sample_weight(
    sample_weight: ArrayLike | None, samples: Any, min_samples: int = 1
) -> NDArray[np.float64] | None:
    """Check sample weights and return them; None if they are all equal."""
    if sample_weight is None:
        return None
    refuse_masked(sample_weight, "sample_weight")
    weights = np.asarray(
        _check_sample_weight(sample_weight, samples, dtype=np.float64, ensure_non_negative=True)
    )
    n_positive = int(np.count_nonzero(weights))
    if n_positive < min_samples:
        raise ValueError(
            f"sample_weight is above 0 for {n_positive} of {len(weights)} samples, at least {min_samples} "
            "must count."
        )
    return None if (weights == weights[0]).all() else weights


def is_clean_side(y: Any, X: ArrayLike, *, warn: bool = False, names: Any = None) -> bool:
    """Return whether y is the clean side of X, not labels or targets.

    It is if it has the shape of X, at least two axes and two features. A table of zeros and ones beside an X
    with other values is an exception, and so is a frame with other names of columns.

    Parameters
    ----------
    y : object
        Argument of ``fit``.
    X : array-like
        Samples.
    warn : bool, default=False
        Whether to warn of a y that may have been meant as clean.
    names : sequence of str, optional
        Names of the features of X.
    """
    if y is None or not (hasattr(y, "__array__") or isinstance(y, list | tuple)):
        return False
    target, samples = as_numeric_array(y), np.asarray(X)
    if target.ndim < 2 or target.dtype.kind not in "biuf":
        return False
    reason = None
    if target.shape != samples.shape:
        reason = f"its shape {target.shape} is not X's {samples.shape}" if target.dtype.kind == "f" else ""
    elif samples[0].size == 1:
        reason = "X has one feature only" if target.dtype.kind == "f" else ""
    elif _is_binary(target) and not _is_binary(samples):
        reason = "it holds zeros and ones only, as indicators of classes do"
    elif names is not None and hasattr(y, "columns") and not set(names) & set(y.columns):
        reason = "its columns have other names" if _may_be_pair(samples, target) else ""
    if reason and warn:
        warn_user(
            f"y is not taken as the clean side of X, since {reason}; X is treated as if y had not been "
            "given. Pass clean data as X_clean=.",
            CleanTargetWarning,
        )
    return reason is None


def warn_of_unlike_sides(noisy: NDArray[Any], clean: NDArray[Any], *, may_ignore: bool) -> None:
    """Warn if a y with the shape of X does not resemble X, as targets of a regressor.

    Parameters
    ----------
    noisy, clean : ndarray
        X and y.
    may_ignore : bool
        Whether the estimator has the parameter ``ignore_y``.
    """
    if _may_be_pair(noisy, clean):
        return
    remedy = "set ignore_y=True" if may_ignore else "pass no y"
    warn_user(
        "y has the shape of X and counts as its clean side, but its columns do not resemble those of X. If "
        f"they are the targets of a regressor, {remedy}: the denoiser would return them in place of X. If "
        "they are clean, pass them as X_clean=.",
        CleanTargetWarning,
    )


def _may_be_pair(noisy: NDArray[Any], clean: NDArray[Any]) -> bool:
    """Return whether rows may be noisy versions of others, by their correlation."""
    if noisy.ndim != 2 or len(noisy) < MIN_PAIRS:
        return True
    step = max(1, noisy.size // MAX_ENTRIES_READ)
    sides = [side[::step].astype(np.float64) for side in (noisy, clean)]
    # Far from one, squares would leave the range of numbers.
    sides = [side / (np.abs(side).max(initial=0) or 1.0) for side in sides]
    unit = float(np.abs(noisy[::step]).max(initial=0)), float(np.abs(clean[::step]).max(initial=0))
    x, c = (side - side.mean(axis=0) for side in sides)
    deviations = x.std(axis=0), c.std(axis=0)
    live = (deviations[0] > 0) & (deviations[1] > 0)
    if not live.any():
        return True
    products = (x[:, live] * c[:, live]).mean(axis=0)
    correlation = float(np.median(products / (deviations[0][live] * deviations[1][live])))
    # Negatives of images are pairs, too.
    if correlation >= SURE_CORRELATION or correlation < -NEGATIVE_CORRELATION:
        return True
    # Strong noise leaves a weak correlation, and noisy values that rise by one with clean ones.
    slope = float(np.median(products / deviations[1][live] ** 2)) * unit[0] / (unit[1] or 1.0)
    return correlation >= 1 / np.sqrt(len(x)) and PAIR_SLOPES[0] <= slope <= PAIR_SLOPES[1]


def as_numeric_array(y: Any) -> NDArray[Any]:
    """Return y as an array, with a numeric type if its entries are numbers."""
    # Nullable columns of pandas become arrays of objects.
    try:
        array = np.asarray(y)
        if array.dtype == object and hasattr(y, "to_numpy") and hasattr(y, "columns"):
            return np.asarray(y.to_numpy(dtype=np.float64, na_value=np.nan))
        return array.astype(np.float64) if array.dtype == object else array
    except (TypeError, ValueError):
        return np.empty(0)


def _is_binary(array: NDArray[Any]) -> bool:
    return bool(((array == 0) | (array == 1)).all())


def as_float_array(array: NDArray[Any]) -> NDArray[Any]:
    """Return longer floats than float64 as float64, other types as float32.

    Arrays of float32 and float64 are returned as they are. Integers that single precision would round, such
    as times in seconds, are returned as float64.
    """
    is_double = array.dtype.kind == "f" and array.dtype.itemsize >= 8
    if array.dtype.kind in "iu" and array.dtype.itemsize >= 4 and array.size:
        # A minimum has no absolute value in its own type.
        is_double = max(-int(array.min()), int(array.max())) > MAX_EXACT_INTEGER
    return array.astype(np.float64 if is_double else np.float32, copy=False)


def as_tensor(array: NDArray[Any]) -> torch.Tensor:
    """Return a C-contiguous tensor of the array, in shared memory where possible."""
    # Read-only arrays are shared too, since no code of the library writes to its input.
    native = np.asarray(np.require(array, array.dtype.newbyteorder("="), ["C_CONTIGUOUS", "ALIGNED"]))
    # Older versions of numpy and torch cannot share read-only memory.
    try:
        return torch.utils.dlpack.from_dlpack(native)
    except BufferError:
        return torch.from_numpy(native.copy())


def as_image_array(item: Any) -> Any:
    """Return a tensor ``([channels,] height, width)`` as an array, channels last.

    Other items are returned as they are.
    """
    if not isinstance(item, torch.Tensor):
        return item
    item = item.detach().cpu()
    # numpy has no bfloat16.
    item = item.float() if item.dtype == torch.bfloat16 else item
    return (item.movedim(-3, -1) if item.ndim >= 3 else item).numpy()


def restore_container(array: NDArray[Any], like: Any) -> Any:
    """Return the array as a frame with the names and index of the frame ``like``.

    If ``like`` is not a frame, return the array.
    """
    if hasattr(like, "iloc"):
        return type(like)(array, index=like.index, columns=like.columns)
    if hasattr(like, "columns"):
        return type(like)(array, schema=list(like.columns))
    return array


def restore_columns(array: NDArray[Any], like: Any) -> Any:
    """Return rows as a frame with the column names of ``like``, without its index."""
    if hasattr(like, "iloc"):
        return type(like)(array, columns=like.columns)
    return restore_container(array, like)


def restore_names(array: NDArray[Any], names: Any) -> Any:
    """Return rows as a pandas frame, if there are names and pandas is installed."""
    if names is None or array.ndim != 2:
        return array
    try:
        from pandas import DataFrame
    except ImportError:
        return array
    return DataFrame(array, columns=names)


def wrap_output(array: NDArray[Any], X: Any, estimator: BaseEstimator) -> Any:
    """Return the array in the container of ``set_output``, with the index of X."""
    return _wrap_data_with_container("transform", array, X, estimator)


def has_finite_numbers(values: NDArray[Any]) -> bool:
    """Return whether an array has finite numbers alone."""
    # A sum is faster than a test of each entry, and infinite if one of them is.
    with np.errstate(all="ignore"):
        return bool(np.isfinite(np.sum(values))) or bool(np.isfinite(values).all())


def warn_of_infinite_output(name: str) -> None:
    """Warn of NaN and infinite numbers in the output of a model."""
    warn_user(
        f"The output of {name} has NaN or infinite numbers: its weights or scales are too large for such "
        "samples. Check the unit of X. If it is right, fit anew with a lower learning_rate, or get a new "
        "copy of the model file."
    )


def warn_user(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn with the line of the user's call."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back and str(frame.f_globals.get("__name__")).partition(".")[0] in LIBRARIES:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level + 1)
