"""Signals as users pass them, and as images of height 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sk_denoise._validation import as_numeric_array, get_shape, refuse_masked, warn_user
from sk_denoise.noise import CleanSource, NoisedArray, carried_source

__all__ = ["Signals", "as_clean_signals", "as_signal_array", "is_signal_list", "warn_of_wild_values"]

# Signals that are compared, and the variance between places beside that of chance from which places differ.
# Smooth signals have few independent places, so that chance reaches a few times its mean.
MIN_COMPARED, MAX_COMPARED, MAX_RATIO = 8, 2048, 10.0
# Wild values are a small share of the entries with most of the variance. The sizes of channels to judge:
WILD_SHARE, MIN_JUDGED, MAX_JUDGED = 1e-4, 1000, 2**22
LAYOUTS = (
    "an array (n_signals, length) or (n_signals, channels, length), or a list of arrays (length,) or "
    "(channels, length)"
)


def is_signal_list(X: Any) -> bool:
    """Return whether X is a list of arrays or series, perhaps of different lengths."""
    return isinstance(X, list | tuple) and (not X or _is_array(X[0]))


def _is_array(x: Any) -> bool:
    """Return whether an object is an array or a series, and no number or frame."""
    if isinstance(x, np.ndarray | Tensor):
        return True
    return hasattr(x, "__array__") and len(getattr(x, "shape", ())) == 1


@dataclass(frozen=True)
class Signals:
    """Signals in the layout of images of height 1, and the way back.

    Attributes
    ----------
    images : ndarray of shape (n, 1, length[, channels]), or list of ndarray (1, length[, channels])
        Several channels come last, as those of images.
    has_channel_axis : bool
        Whether the signals of the user have an axis of channels before that of time.
    are_images : bool
        Whether the signals of the user are images of height 1.
    """

    images: NDArray[Any] | list[NDArray[Any]]
    has_channel_axis: bool
    are_images: bool = False

    @classmethod
    def of(cls, X: Any, name: str = "X", origin: Any = None) -> Signals:
        """Convert checked arrays, or a list of arrays that is checked here.

        Images of height 1 with their channels last, (n, 1, length, channels), stay as they are.

        Parameters
        ----------
        X : ndarray or list of ndarray
            Signals.
        name : str
            Name of the argument in messages.
        origin : object, optional
            Data of the user, which may carry a clean source.
        """
        if not is_signal_list(X):
            images = _as_images(np.asarray(X))
            return cls(_with_source_of(X if origin is None else origin, images), X.ndim == 3, X.ndim == 4)
        signals = [as_signal_array(signal, f"{name}[{index}]") for index, signal in enumerate(X)]
        if not signals:
            raise ValueError(f"{name} holds no signals: it is empty. Pass {LAYOUTS}.")
        first = signals[0]
        for index, signal in enumerate(signals):
            if _channels_of(signal) != _channels_of(first):
                is_swapped = signal.ndim == first.ndim == 2 and signal.shape[1] == first.shape[1]
                remedy = f" Time is last: [x.T for x in {name}]." if is_swapped else ""
                raise ValueError(
                    f"{name}[{index}] has shape {signal.shape}, {name}[0] has shape {first.shape}: all "
                    "signals must have the same channels. Arrays are (length,) or (channels, length)."
                    f"{remedy}"
                )
            # The unit of integers follows from their type: no common type would be right.
            if signal.dtype != first.dtype:
                raise ValueError(
                    f"{name}[{index}] holds {signal.dtype}, {name}[0] holds {first.dtype}: signals of "
                    "different types are in different units. Convert them to one type."
                )
        return cls([_as_images(signal[None])[0] for signal in signals], first.ndim == 2, first.ndim == 3)

    @property
    def is_list(self) -> bool:
        """Whether the signals are a list."""
        return isinstance(self.images, list)

    @property
    def n_channels(self) -> int:
        """Number of channels."""
        shape = self.images[0].shape
        return int(shape[2]) if len(shape) == 3 else 1

    @property
    def mean_length(self) -> float:
        """Mean number of entries of a signal."""
        return float(np.mean(self.lengths))

    @property
    def lengths(self) -> list[int]:
        """Number of entries of each signal; a single number for an array."""
        return [image.shape[1] for image in self.images] if self.is_list else [self.images.shape[2]]  # type: ignore[union-attr]

    def depend_on_position(self) -> bool:
        """Return whether places differ, as in spectra; False for different lengths."""
        if self.is_list and len(set(self.lengths)) > 1:
            return False
        n = min(len(self.images), MAX_COMPARED)
        if n < MIN_COMPARED or self.lengths[0] < 2:
            return False
        signals = np.stack(list(self.images[:n])).astype(np.float64)[:, 0]
        steps = np.diff(signals, axis=1)
        # Means of independent signals vary between places by their standard errors.
        for values in (signals, np.square(steps)):
            error = values.var(axis=0).mean(axis=0) / n
            if np.any(values.mean(axis=0).var(axis=0) > MAX_RATIO * np.maximum(error, np.finfo(float).tiny)):
                return True
        return False

    def restore(self, image: NDArray[Any]) -> NDArray[Any]:
        """Convert one image of height 1, or a stack of them, to the layout of the user."""
        if self.are_images:
            return image
        is_stack = not self.is_list
        signals = image[:, 0] if is_stack else image[0]
        if not self.has_channel_axis:
            return signals
        has_channels = image.ndim == (4 if is_stack else 3)
        return np.ascontiguousarray(
            np.moveaxis(signals, -1, -2) if has_channels else np.expand_dims(signals, -2)
        )


def warn_of_wild_values(images: NDArray[Any] | list[NDArray[Any]], name: str) -> None:
    """Warn if a few entries have most of the variance of a channel.

    Parameters
    ----------
    images : ndarray or list of ndarray
        Signals as images of height 1.
    name : str
        Name of the argument in messages.
    """
    n_channels = (*images[0].shape, 1)[2]
    if not MIN_JUDGED <= sum(image.size for image in images) // n_channels <= MAX_JUDGED:
        return
    for channel in range(n_channels):
        values = np.concatenate(
            [(image[..., channel] if image.ndim == 3 else image).ravel() for image in images],
            dtype=np.float64,
        )
        distances = np.abs(values - np.median(values))
        largest = distances.max()
        if not largest:
            continue
        n_wild = max(1, round(WILD_SHARE * values.size))
        # Around 1, squares stay in the range of numbers.
        squares = np.square(distances / largest)
        wild = np.partition(squares, values.size - n_wild)[values.size - n_wild :].sum()
        if wild > 0.5 * squares.sum():
            place = f" in channel {channel}" if n_channels > 1 else ""
            warn_user(
                f"{name} has wild values{place}, such as {values[np.argmax(distances)]:.3g}: {n_wild} of its "
                f"{values.size} entries have most of the variance, which is the unit of the network and of "
                f'noise="auto". If they are artefacts, cut them by numpy.clip, or leave out their signals.'
            )
            return


def as_signal_array(signal: Any, name: str) -> NDArray[Any]:
    """Check one signal, (length,) or (channels, length), and return it as an array."""
    source = carried_source(signal)
    if source is not None:
        raise ValueError(
            f"{name} came out of {source.noiser!r} as part of an array, and lost its clean source there. "
            "Pass the whole array, or the clean side as X_clean=."
        )
    refuse_masked(signal, name)
    array = np.asarray(as_numeric_array(signal))
    # An image of height 1, with its channels last, stays as it is.
    has_axes = array.ndim in (1, 2) or (array.ndim == 3 and len(array) == 1)
    if array.dtype.kind not in "buif" or not has_axes or 0 in array.shape:
        raise ValueError(
            f"{name} must be a signal of shape (length,) or (channels, length) with real numbers, got "
            f"{array.dtype} of shape {array.shape}."
        )
    if not np.isfinite(array).all():
        raise ValueError(f"{name} contains NaN or infinity. Interpolate gaps, or cut the signal there.")
    return array


def as_clean_signals(y: Any, X: Any) -> Any:
    """Return a y of the shapes of X as images of height 1, and other y as it is."""
    if is_signal_list(X):
        fits = is_signal_list(y) or (isinstance(y, np.ndarray) and y.ndim > 1)
        return Signals.of(list(y), "y").images if fits else y
    is_alike = (
        y is not None and not isinstance(y, str) and get_shape(y) == get_shape(X) and len(get_shape(y)) > 1
    )
    return _as_images(as_numeric_array(y)) if is_alike else y


def _channels_of(signal: NDArray[Any]) -> tuple[int, ...]:
    return signal.shape[2:] if signal.ndim == 3 else signal.shape[:-1]


def _as_images(signals: NDArray[Any]) -> NDArray[Any]:
    """Return (n, length) or (n, channels, length) as images of height 1."""
    if signals.ndim == 2:
        return signals[:, None]
    if signals.ndim == 4:
        return signals if signals.shape[3] > 1 else signals[..., 0]
    if signals.shape[1] == 1:
        return signals
    return np.ascontiguousarray(np.moveaxis(signals, 1, 2))[:, None]


def _with_source_of(X: Any, images: NDArray[Any]) -> NDArray[Any]:
    """Return images with the clean source that X carries, in their layout."""
    source = carried_source(X)
    plain = np.asarray(images)
    if source is None or not source.describes(X):
        return images
    clean = _as_images(source.clean)
    return plain.view(NoisedArray)._with_source(CleanSource.of(clean, source.noiser, plain))
