"""Checks at the door, each made once: arrays of samples, names in a table, noisers.

This is also the only module that reaches for scikit-learn's utilities that are not public.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

import joblib
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.metrics._scorer import _BaseScorer
from sklearn.pipeline import _name_estimators
from sklearn.utils import check_array
from sklearn.utils._param_validation import (
    Interval,
    StrOptions,
    validate_parameter_constraints,
)
from sklearn.utils._set_output import _wrap_data_with_container
from sklearn.utils.validation import _check_sample_weight, validate_data

from sk_denoise._registry import check_one_of
from sk_denoise.exceptions import CleanTargetWarning

__all__ = [
    "Interval",
    "Noiser",
    "Scorer",
    "StrOptions",
    "as_float_array",
    "as_numeric_array",
    "as_tensor",
    "check_lengths",
    "check_noiser",
    "check_numbers",
    "check_one_of",
    "check_parameters",
    "check_samples",
    "check_clean_side",
    "check_sample_weight",
    "is_clean_side",
    "specification_key",
    "name_estimators",
    "find_noisers",
    "refuse_channels_first",
    "refuse_channels_last",
    "refuse_masked",
    "refuse_single_image",
    "restore_container",
    "restore_names",
    "get_shape",
    "warn_of_alpha",
    "warn_of_flat_channels_first",
    "warn_of_other_order",
    "warn_of_other_unit",
    "warn_of_single_image",
    "warn_user",
    "wrap_output",
]

T = TypeVar("T")

MOST_CHANNELS = 4  # of an image, where its shape is to tell channels from sides
# Rows and columns of one image follow each other: neighbours differ by less than this share of how much those
# differ that lie half an image apart. Photos reach 0.48, digits in a table 1.0, series along one axis only.
LEAST_SIDE, MOST_SIDE, ALIKE = 16, 1024, 0.7

# Data in another unit than those of the fit: most far beyond their range, or all within a small part of it.
ENTRIES_LOOKED_AT, LEAST_ENTRIES, FAR, SMALL = 2**16, 16, 4, 1 / 200


@runtime_checkable
class Noiser(Protocol):
    """What the library asks of a noiser, ours or yours.

    A noiser is a scikit-learn estimator that learns what it needs from clean data in ``fit`` and
    corrupts tensors in ``corrupt``, drawing from the generator alone and leaving its input as it is.
    """

    def fit(self, X: ArrayLike, y: Any = None) -> Any: ...

    def corrupt(self, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor: ...


class Scorer(_BaseScorer):
    """A scorer that searches, callbacks and metadata routing take for one of scikit-learn's.

    A subclass is a dataclass with the method ``score``.
    """

    _kwargs: ClassVar[dict[str, Any]] = {}
    _sign: ClassVar[int] = 1
    _response_method: ClassVar[str] = "predict"

    score: Callable[..., float]  # of an estimator, X, y and metadata; greater is better

    @property
    def _score_func(self) -> Callable[..., float]:
        return self.score

    def __call__(self, estimator: Any, X: Any, y: Any = None, **metadata: Any) -> float:
        return self.score(estimator, X, y, **metadata)

    def _score(self, method_caller: Any, estimator: Any, X: Any, y: Any = None, **metadata: Any) -> float:
        return self.score(estimator, X, y, **metadata)


def name_estimators(estimators: Sequence[T]) -> list[tuple[str, T]]:
    """Return each estimator with a name made of its class, as ``make_pipeline`` names its steps."""
    named: list[tuple[str, T]] = _name_estimators(estimators)
    return named


def find_noisers(estimator: Any) -> list[Any]:
    """Return every noiser that may act on what an estimator is given: itself, steps, nested parameters."""
    candidates = [estimator]
    if hasattr(estimator, "get_params") and not isinstance(estimator, type):
        candidates += list(estimator.get_params(deep=True).values())
    noisers = {id(c): c for c in candidates if isinstance(c, Noiser) and not isinstance(c, type)}
    for candidate in candidates:
        if hasattr(candidate, "partial_fit"):  # the noise of a denoiser never runs outside its fit
            own = getattr(candidate, "noise", None)
            noisers.pop(id(own), None)
        elif id(candidate) in noisers:  # what a noiser is made of does what that says
            own = candidate
        else:
            continue
        for part in _parts_of(own):
            noisers.pop(id(part), None)
    return list(noisers.values())


def _parts_of(noiser: Any) -> list[Any]:
    return list(noiser.get_params(deep=True).values()) if hasattr(noiser, "get_params") else []


def specification_key(specification: Any) -> str:
    """Return what tells a specification from another one; the text that it prints may be cut short."""
    try:
        return str(joblib.hash(specification))
    except Exception:  # what cannot be pickled, a lambda say
        return repr(specification)


def check_noiser(noiser: Any) -> Noiser:
    """Return the noiser; anything else is a clear error."""
    if isinstance(noiser, Noiser) and not isinstance(noiser, type):
        return noiser
    hint = f" Did you mean {noiser.__name__}()?" if isinstance(noiser, type) else ""
    raise TypeError(f"Expected a noiser such as GaussianNoiser(0.1), got {noiser!r}.{hint}")


def check_parameters(estimator: BaseEstimator, constraints: dict[str, Any]) -> None:
    """Check the types and ranges of constructor parameters against the data beside the constructor."""
    validate_parameter_constraints(constraints, estimator.get_params(deep=False), type(estimator).__name__)


def check_samples(
    estimator: BaseEstimator, X: ArrayLike, *, reset: bool, min_samples: int = 1
) -> NDArray[Any]:
    """Check the input of an estimator and return it as a numeric array, of the type it came in.

    Rows ``(n_samples, n_features)`` and stacks of images ``(n_samples, height, width[, channels])``
    pass. With ``reset`` the number, names and shape of the features are learned, otherwise compared; of
    images for an estimator that takes any size, the channels are.
    """
    refuse_masked(X)
    is_stack = (np.ndim(X) if isinstance(X, list | tuple) else getattr(X, "ndim", 2)) > 2
    expected: tuple[int, ...] = () if reset else estimator._sample_shape_
    any_size = getattr(estimator, "_takes_any_size", False)
    if len(expected) > 1 and np.shape(X) == expected:
        raise ValueError(f"X has the shape {expected} of a single sample. It needs a first axis: X[None].")
    if len(expected) > 1 and any_size and not is_stack:
        raise ValueError(
            f"{type(estimator).__name__} was fitted on images {_sizes(expected)}, X has the shape "
            f"{np.shape(X)}. Pass X of shape (n_images, height, width{_channels(expected)}), or one "
            "image as X[None]."
        )
    checked = validate_data(
        estimator,
        X,
        reset=reset,
        dtype="numeric",
        allow_nd=True,
        ensure_2d=not is_stack,
        ensure_min_samples=min_samples,
    )
    array = np.asarray(checked)
    shape = array.shape[1:]
    if 0 in shape:
        raise ValueError(f"Found samples of shape {shape}: each axis needs at least one entry.")
    if reset:
        estimator.n_features_in_ = int(np.prod(shape))
        estimator._sample_shape_ = shape
    elif any_size and len(expected) > 1:
        if len(expected) == 2 and expected[1] > MOST_CHANNELS:  # otherwise such narrow images are usual here
            refuse_single_image(array.shape, may_declare=False)
        if (len(shape), shape[2:]) != (len(expected), expected[2:]):
            refuse_channels_first(shape, may_declare=False)
            raise ValueError(
                f"{type(estimator).__name__} was fitted on images {_sizes(expected)}, X holds images "
                f"{_sizes(shape)}. Pass X of shape (n_images, height, width{_channels(expected)}), or one "
                "image as X[None]."
            )
    elif shape != expected:
        raise ValueError(
            f"{type(estimator).__name__} was fitted on samples of shape {estimator._sample_shape_}, "
            f"X holds samples of shape {shape}. Reshape X to (n_samples, "
            f"{', '.join(map(str, estimator._sample_shape_))})."
        )
    return array


def _sizes(shape: tuple[int, ...]) -> str:
    if len(shape) == 1:
        return f"as rows of {shape[0]}"
    return f"of {shape[2]} channels" if len(shape) == 3 else "without an axis of channels"


def _channels(shape: tuple[int, ...]) -> str:
    return f", {shape[2]}" if len(shape) == 3 else ""


def check_numbers(X: ArrayLike, name: str, estimator: BaseEstimator | None = None) -> NDArray[Any]:
    """Check that X holds finite numbers, all of them meant, and return it as an array of any shape."""
    refuse_masked(X, name)
    return np.asarray(
        check_array(X, dtype="numeric", allow_nd=True, ensure_2d=False, input_name=name, estimator=estimator)
    )


def refuse_masked(X: Any, name: str = "X") -> None:
    """Refuse masked arrays that hide entries: as plain arrays they would show what the mask hides."""
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
    """Refuse images (channels, height, width), which would be taken for very low ones of many channels.

    ``shape`` is that of one image. A declared ``image_shape`` says that they are so low.
    """
    if image_shape is None and len(shape) == 3 and shape[0] in (1, 3, 4) and min(shape[1:]) > MOST_CHANNELS:
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
    """Refuse one image (height, width, channels), which would be taken for a stack of very narrow ones."""
    if image_shape is not None or len(shape) != 3:
        return
    n, height, width = shape
    if width <= MOST_CHANNELS < min(n, height):
        otherwise = f"; or image_shape={(height, width)}, if they are such narrow images"
        raise ValueError(
            f"The shape {shape} of {name} seems to be one image (height, width, channels), and would be "
            f"taken for {n} images of {height} x {width} pixels. Pass one image as {name}[None]"
            f"{otherwise if may_declare else ''}."
        )


def warn_of_single_image(X: Any, taken_for: str, name: str = "X") -> None:
    """Warn where samples follow each other as the rows of one image do, with its first axis missing."""
    array = np.asarray(X)
    if _looks_like_one_image(array):
        warn_user(
            f"{name} of shape {array.shape} is taken for {len(array)} {taken_for}, but they follow each "
            f"other as the rows of a single image do. Pass one image as {name}[None]."
        )


def _looks_like_one_image(array: NDArray[Any]) -> bool:
    if array.dtype.kind not in "uif" or array.ndim not in (2, 3) or min(array.shape[:2]) < LEAST_SIDE:
        return False
    if array.ndim == 3 and array.shape[2] > MOST_CHANNELS:
        return False
    part = array[:MOST_SIDE, :MOST_SIDE].astype(np.float64)
    if _are_overlapping_windows(part):
        return False
    return _is_smooth(part) or (min(part.shape[:2]) >= 4 * LEAST_SIDE and _is_smooth(_means_of_blocks(part)))


def _is_smooth(image: NDArray[np.float64]) -> bool:
    """Return whether neighbours along both axes differ less than pixels that lie half an image apart.

    In windows of a series, so do the end of a row and the beginning of the next one.
    """
    steps = [np.abs(np.diff(image, axis=axis)).mean() for axis in (0, 1)]
    far = [np.abs(image - np.roll(image, image.shape[axis] // 2, axis=axis)).mean() for axis in (0, 1)]
    across_rows = np.abs(image[1:, 0] - image[:-1, -1]).mean()
    return bool(steps[0] < ALIKE * far[0] and steps[1] < ALIKE * far[1] and across_rows > ALIKE * far[1])


def _are_overlapping_windows(rows: NDArray[np.float64]) -> bool:
    """Return whether each row repeats the end of the one before, as windows of one series do."""
    few, length = rows[:LEAST_SIDE], rows.shape[1]
    return any(np.array_equal(few[1:, : length - lag], few[:-1, lag:]) for lag in range(1, length))


def _means_of_blocks(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the means of blocks of 4 x 4 pixels, in which there is less noise."""
    height, width = (side // 4 for side in image.shape[:2])
    blocks = image[: 4 * height, : 4 * width].reshape(height, 4, width, 4, -1)
    return np.asarray(blocks.mean(axis=(1, 3)))


def refuse_channels_last(shape: tuple[int, ...], name: str = "X") -> None:
    """Refuse tensors (height, width, channels), with or without a first axis: tensors have channels first."""
    rows, columns, channels = shape[-3:] if len(shape) > 2 else (0, 0, 0)
    if channels in (1, 3, 4) and min(rows, columns) > MOST_CHANNELS:
        raise ValueError(
            f"{name} is a tensor of shape {tuple(shape)}, which seems to have its channels last; tensors "
            f"have them first. Pass {name}.movedim(-1, -3), or {name}.numpy()."
        )


def warn_of_flat_channels_first(shape: tuple[int, ...], image_shape: Any) -> None:
    """Warn where flat rows are said to be images (channels, height, width): their channels come last."""
    declared = tuple(image_shape or ())
    if (
        len(shape) == 2
        and len(declared) == 3
        and declared[0] in (1, 3, 4)
        and min(declared[1:]) > MOST_CHANNELS
    ):
        warn_user(
            f"image_shape={declared} means {declared[0]} x {declared[1]} pixels of {declared[2]} channels. "
            f"If the rows are images with their channels first, pass without image_shape "
            f"numpy.moveaxis(X.reshape(-1, {', '.join(map(str, declared))}), 1, -1)."
        )


def warn_of_alpha(samples: NDArray[Any], name: str = "X") -> None:
    """Warn where the last channel of images is the same everywhere, as transparency is that hides nothing."""
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


def warn_of_other_unit(samples: NDArray[Any], low: float, high: float, name: str = "X") -> None:
    """Warn where samples lie far beyond the range of those of the fit, or all in a tiny part of it."""
    few = (
        samples[:: max(1, samples.size // ENTRIES_LOOKED_AT)].reshape(-1, samples[0].size).astype(np.float64)
    )
    least, most = float(few.min()), float(few.max())
    far = np.abs(few - (low + high) / 2) > FAR * (high - low)
    # Noise in features that hardly vary lies far out behind a scaler, but there alone.
    is_far = far.mean() > 1 / 4 or (len(few) >= LEAST_ENTRIES and (far.mean(axis=0) > 1 / 50).mean() > 1 / 2)
    if is_far or (few.size >= LEAST_ENTRIES and 0 < most - least < SMALL * (high - low)):
        warn_user(
            f"{name} holds values from {least:.4g} to {most:.4g}, and the fit saw values between about "
            f"{low:.4g} and {high:.4g}: {name} seems to be in another unit, which is not converted here."
        )


def warn_of_other_order(X: Any, other: Any, name: str) -> None:
    """Warn where two frames have the same index in another order: samples are paired by their place."""
    index: Any = getattr(X, "index", None)
    others: Any = getattr(other, "index", None)
    if not (hasattr(index, "equals") and hasattr(others, "equals")) or len(index) != len(others):
        return
    if not index.equals(others) and index.isin(others).all() and others.isin(index).all():
        warn_user(
            f"{name} has the index of X in another order, and samples are paired by their place, not by "
            f"their index. Pass {name}.loc[X.index].",
            CleanTargetWarning,
        )


def check_lengths(X: Any, y: Any, name: str = "y") -> None:
    """Refuse a y of another number of samples than X, also where it holds labels and is not used."""
    n_samples, n_others = _length_of(X), _length_of(y)
    if n_samples is not None and n_others is not None and n_samples != n_others:
        raise ValueError(
            f"Found input variables with inconsistent numbers of samples: {n_samples} in X, {n_others} in "
            f"{name}. Pass one entry of {name} for each sample of X, in the same order."
        )


def get_shape(X: Any) -> tuple[int, ...]:
    """Return the shape of what stands for an array, also where it only turns into one."""
    shape = getattr(X, "shape", None)
    if isinstance(shape, tuple):
        return tuple(shape)
    try:
        return np.asarray(X).shape
    except ValueError:  # a ragged list, which is refused where data are checked
        return ()


def _length_of(side: Any) -> int | None:
    """Return the number of samples, or None for what has no such number."""
    shape = getattr(side, "shape", None)
    if isinstance(shape, tuple):
        return int(shape[0]) if shape else None
    is_sized = hasattr(side, "__len__") and not isinstance(side, str | bytes | Mapping | type)
    return len(side) if is_sized else None


def check_clean_side(
    estimator: BaseEstimator, target: ArrayLike, shape: tuple[int, ...], name: str
) -> NDArray[Any]:
    """Check the clean side of a pair: numeric, finite and of the shape and names of the noisy side."""
    names, own = getattr(target, "columns", None), getattr(estimator, "feature_names_in_", None)
    if names is not None and own is not None and list(names) != list(own):
        raise ValueError(f"The columns of {name} are not those of X, in the same order. X has {list(own)}.")
    array = check_numbers(target, name, estimator)
    if array.shape != shape:
        raise ValueError(
            f"{name} has shape {array.shape}, its noisy side has shape {shape}. Pass the clean "
            "counterpart of each sample, in the same order and layout."
        )
    return array


def check_sample_weight(
    sample_weight: ArrayLike | None, samples: Any, min_samples: int = 1
) -> NDArray[np.float64] | None:
    """Check the weights of samples; those that are all alike are None."""
    if sample_weight is None:
        return None
    weights = np.asarray(
        _check_sample_weight(sample_weight, samples, dtype=np.float64, ensure_non_negative=True)
    )
    n_counting = int(np.count_nonzero(weights))
    if n_counting < min_samples:
        raise ValueError(
            f"sample_weight is above 0 for {n_counting} of {len(weights)} samples, at least {min_samples} "
            "must count."
        )
    return None if (weights == weights[0]).all() else weights


def is_clean_side(y: Any, X: ArrayLike, *, warn: bool = False) -> bool:
    """Return whether y is the clean side of X, not labels or values to be predicted from it.

    It is where it has X's shape, at least two axes and two features, and is not a table of zeros and
    ones beside an X that holds other values.
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
    if reason and warn:
        warn_user(
            f"y is not taken as the clean side of X, since {reason}; X is treated as if y had not been "
            "given. Pass clean data as X_clean=.",
            CleanTargetWarning,
        )
    return reason is None


def as_numeric_array(y: Any) -> NDArray[Any]:
    """Return y as an array, of numbers where its entries are such (pandas' nullable columns are objects)."""
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
    """Return float32 and float64 as they are, longer floats as float64, all else as float32."""
    is_double = array.dtype.kind == "f" and array.dtype.itemsize >= 8
    return array.astype(np.float64 if is_double else np.float32, copy=False)


def as_tensor(array: NDArray[Any]) -> torch.Tensor:
    """Return the array as a tensor, row by row in memory, shared with the array where it can be.

    Read-only arrays are shared too: nothing below the door writes to its input.
    """
    native = np.asarray(np.require(array, array.dtype.newbyteorder("="), ["C_CONTIGUOUS", "ALIGNED"]))
    try:
        return torch.utils.dlpack.from_dlpack(native)
    except BufferError:  # older numpy and torch cannot say "read-only" to each other
        return torch.from_numpy(native.copy())


def as_image_array(item: Any) -> Any:
    """Return a tensor ``([channels,] height, width)`` as an array with the channels last; else the item."""
    if not isinstance(item, torch.Tensor):
        return item
    item = item.detach().cpu()
    item = item.float() if item.dtype == torch.bfloat16 else item  # numpy does not know it
    return (item.movedim(-3, -1) if item.ndim >= 3 else item).numpy()


def restore_container(array: NDArray[Any], like: Any) -> Any:
    """Return the array as a frame with the names and index of ``like``, where that is a frame."""
    if hasattr(like, "iloc"):
        return type(like)(array, index=like.index, columns=like.columns)
    if hasattr(like, "columns"):
        return type(like)(array, schema=list(like.columns))
    return array


def restore_names(array: NDArray[Any], names: Any) -> Any:
    """Return rows as a frame of pandas with these names, where there are names, and pandas."""
    if names is None or array.ndim != 2:
        return array
    try:
        from pandas import DataFrame
    except ImportError:
        return array
    return DataFrame(array, columns=names)


def wrap_output(array: NDArray[Any], X: Any, estimator: BaseEstimator) -> Any:
    """Return the array in the container that ``set_output`` asks for, with the index of X."""
    return _wrap_data_with_container("transform", array, X, estimator)


BETWEEN = (
    "sk_denoise",
    "sklearn",
    "joblib",
    "skorch",
    "torch",
    "contextlib",
)  # packages whose lines are not the user's


def warn_user(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn where the user called."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back and str(frame.f_globals.get("__name__")).partition(".")[0] in BETWEEN:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level + 1)
