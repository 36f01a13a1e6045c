"""Transformers of pixels to the unit of a network, with an exact inverse."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from numbers import Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from sk_denoise._compat import SampleTransformer, as_one_task, keeps_array_type
from sk_denoise._intensity import IntensityRange
from sk_denoise._schema import Rule, is_number, is_numeric_array
from sk_denoise._validation import (
    StrOptions,
    check_lengths,
    check_numbers,
    check_parameters,
    check_samples,
)

__all__ = ["Centerer", "PixelScaler"]


class _PixelTransformer(SampleTransformer):
    """Base of transformers of pixels with an inverse in the training type."""

    _is_samplewise: ClassVar[bool] = True
    _parameter_constraints: ClassVar[dict[str, Any]] = {}
    _fitted_schema: ClassVar[dict[str, Rule]] = {
        "dtype_": Rule(lambda v, _: isinstance(v, np.dtype) and v.kind in "biuf", "a type of numbers"),
    }

    @keeps_array_type
    @as_one_task
    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Learn the unit of the pixels.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels])
            Training samples.
        y : ignored
            Present for scikit-learn's conventions.

        Returns
        -------
        self
        """
        check_parameters(self, self._parameter_constraints)
        samples = check_samples(self, X, reset=True)
        check_lengths(samples, y)
        self._learn(samples)
        is_float = samples.dtype.kind == "f"
        # The inverse of big-endian arrays, from some files, is in native order.
        self.dtype_ = _working_type(samples.dtype) if is_float else samples.dtype.newbyteorder("=")
        return self

    @keeps_array_type
    def transform(self, X: ArrayLike) -> Any:
        """Return pixels in the unit of a network.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels])
            Samples in the layout of ``fit``.

        Returns
        -------
        ndarray or DataFrame of the shape of X
            float64 for float64 and for integers of 32 bits and more, else float32.
        """
        check_is_fitted(self)
        samples = check_samples(self, X, reset=False)
        # astype copies here in any case, so that the next step may work in place.
        values = samples.astype(_working_type(samples.dtype), order="C")
        self._apply(values)
        return values

    @keeps_array_type
    def inverse_transform(self, X: ArrayLike) -> NDArray[Any]:
        """Return pixels in the unit and type of the training data.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels])
            Output of ``transform``, or of a denoiser after it.

        Returns
        -------
        ndarray of the shape of X
            Pixels of type ``dtype_``. Integers are rounded and clipped to the limits of their type.
        """
        check_is_fitted(self)
        values = self._check_transformed(X).astype(_working_type(self.dtype_), order="C")
        self._undo(values)
        if self.dtype_.kind != "f":
            # A conversion to integers alone would cut off the decimals.
            np.rint(values, out=values)
            limits = IntensityRange.of_type(self.dtype_)
            np.clip(values, limits.black, limits.white, out=values)
        return values.astype(self.dtype_, copy=False)

    @abstractmethod
    def _learn(self, samples: NDArray[Any]) -> None:
        """Learn from samples of any numeric type."""

    @abstractmethod
    def _apply(self, values: NDArray[Any]) -> None:
        """Convert floats from the unit of the data to that of the network, in place."""

    @abstractmethod
    def _undo(self, values: NDArray[Any]) -> None:
        """Convert floats from the unit of the network to that of the data, in place."""

    def _check_transformed(self, X: ArrayLike) -> NDArray[Any]:
        """Check the input of ``inverse_transform``."""
        # It may come from a network, so the names of its features are not compared.
        array = check_numbers(X, "X", self)
        if array.shape[1:] != self._sample_shape_:
            raise ValueError(
                f"X holds samples of shape {array.shape[1:]}, {type(self).__name__} was fitted on samples of "
                f"shape {self._sample_shape_}. Reshape X to (n_samples, "
                f"{', '.join(map(str, self._sample_shape_))})."
            )
        return array

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "dtype_")


class PixelScaler(_PixelTransformer):
    """Scale pixels to [0, 1], and back to their own type.

    ``transform`` returns ``(X - low) / (high - low)`` with one range for all pixels, so colors and contrasts
    stay the same. It does not clip, so pixels outside the range stay distinct. For 8-bit integers the range
    is that of their type, so an image has the same values for all training data. ``inverse_transform``
    returns every 8- and 16-bit integer exactly, also after a :class:`Centerer`.

    Parameters
    ----------
    input_range : "auto" or pair of float, default="auto"
        Pixel values ``(low, high)`` that become 0 and 1, ``low < high``. "auto" is the range of the type for
        8-bit integers and booleans. For 16-bit integers it is 0 to the largest number of 8, 10, 12, 14 or 16
        bits, the fewest that hold the training pixels. Otherwise it is the range of the training pixels.
    clip : bool, default=True
        Whether ``inverse_transform`` clips to a given ``input_range``, since a denoiser may overshoot it.
        There is no clipping to a range of "auto", because other pixels may be beyond it. Integers are always
        clipped to the limits of their type.

    Attributes
    ----------
    range_ : tuple of float
        Pixel values ``(low, high)`` that become 0 and 1; ``high`` is ``low + 1`` for constant data.
    dtype_ : numpy.dtype
        Type of the training data and of the output of ``inverse_transform``; float32 for shorter floats.
    n_features_in_ : int
        Number of entries of one sample.
    feature_names_in_ : ndarray of str
        Names of the features, if X has names.

    See Also
    --------
    Centerer : Subtracts the mean, before or after this step.

    Notes
    -----
    Integers of 32 and 64 bits are computed in double precision. The inverse is exact if neither they nor
    their range exceed ``2 ** 50``; larger ones lose their last digits.

    References
    ----------
    Unsigned integers are scaled as by ``skimage.util.img_as_float``, which scales signed ones to [-1, 1].

    Examples
    --------
    >>> import numpy as np
    >>> from sk_denoise.preprocessing import PixelScaler
    >>> X = np.array([[0, 51], [102, 255]], dtype=np.uint8)
    >>> scaler = PixelScaler().fit(X)
    >>> scaler.transform(X)
    array([[0. , 0.2],
           [0.4, 1. ]], dtype=float32)
    >>> scaler.inverse_transform([[0.2001, 1.3]])
    array([[ 51, 255]], dtype=uint8)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "input_range": [StrOptions({"auto"}), tuple, list],
        "clip": ["boolean"],
    }
    _fitted_schema: ClassVar[dict[str, Rule]] = {
        "range_": Rule(
            lambda v, _: isinstance(v, tuple) and len(v) == 2 and all(map(is_number, v)) and v[0] <= v[1],
            "a pair (low, high)",
        )
    }

    def __init__(
        self, input_range: Literal["auto"] | tuple[float, float] = "auto", *, clip: bool = True
    ) -> None:
        self.input_range = input_range
        self.clip = clip

    def _learn(self, samples: NDArray[Any]) -> None:
        if self.input_range == "auto":
            intensity = IntensityRange.of_clean(samples)
            self.range_ = intensity.black, intensity.white
        else:
            self.range_ = self._declared_range()

    def _declared_range(self) -> tuple[float, float]:
        pair: Any = self.input_range
        is_pair = len(pair) == 2 and all(isinstance(end, Real) for end in pair)
        if not (is_pair and -math.inf < pair[0] < pair[1] < math.inf):
            raise ValueError(
                'input_range must be "auto" or a pair (low, high) of finite numbers with low < high, such as '
                f"(0, 255), got {pair!r}."
            )
        return float(pair[0]), float(pair[1])

    @property
    def _width(self) -> float:
        low, high = self.range_
        return high - low

    def _apply(self, values: NDArray[Any]) -> None:
        # In place, since transform has copied the samples.
        values -= self.range_[0]
        values /= self._width

    def _undo(self, values: NDArray[Any]) -> None:
        values *= self._width
        values += self.range_[0]
        # Pixels beyond a learned range may be genuine.
        if self.clip and self.input_range != "auto":
            np.clip(values, *self.range_, out=values)


class Centerer(_PixelTransformer):
    """Subtract the mean of the training data, and add it again.

    Use it before or after a :class:`PixelScaler`, or alone.

    Parameters
    ----------
    per : {"channel", "global"}, default="channel"
        One mean for each channel, or one for all pixels. The channels are the last axis of images
        (height, width, channels); other images have one channel. In flat rows without an ``image_shape`` each
        column is a channel.
    image_shape : tuple of int or None, default=None
        Shape ``(height, width)`` or ``(height, width, channels)`` of images in flat rows.

    Attributes
    ----------
    mean_ : ndarray of shape (n_channels,), or of shape ()
        Subtracted means, in double precision; of shape () if ``per="global"``.
    dtype_ : numpy.dtype
        Type of the training data and of the output of ``inverse_transform``; float32 for shorter floats.
    n_features_in_ : int
        Number of entries of one sample.
    feature_names_in_ : ndarray of str
        Names of the features, if X has names.

    See Also
    --------
    PixelScaler : Scales pixels to [0, 1].

    Notes
    -----
    The inverse is exact for integers of 8 and 16 bits, and for wider ones up to ``2 ** 50``. A
    :class:`~sk_denoise.DenoisingAutoencoder` centers and scales its data itself; this is for other
    estimators.

    References
    ----------
    Y. LeCun et al., "Efficient BackProp", in: Neural Networks: Tricks of the Trade, Springer (1998),
    section 4.3.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_denoise.preprocessing import Centerer
    >>> X = np.array([[[[10, 50]]], [[[20, 90]]]], dtype=np.uint8)  # two images of one pixel, two channels
    >>> centerer = Centerer().fit(X)
    >>> centerer.mean_
    array([15., 70.])
    >>> centerer.transform(X)[0]
    array([[[ -5., -20.]]], dtype=float32)
    >>> bool((centerer.inverse_transform(centerer.transform(X)) == X).all())
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "per": [StrOptions({"channel", "global"})],
        "image_shape": [tuple, list, None],
    }
    _fitted_schema: ClassVar[dict[str, Rule]] = {
        "mean_": Rule(
            lambda v, centerer: (
                is_numeric_array(v, (), (np.size(v),))
                and np.size(v) > 0
                and centerer.n_features_in_ % np.size(v) == 0
            ),
            "a mean of each channel, or one",
        )
    }

    def __init__(
        self,
        per: Literal["channel", "global"] = "channel",
        *,
        image_shape: Sequence[int] | None = None,
    ) -> None:
        self.per = per
        self.image_shape = image_shape

    def _learn(self, samples: NDArray[Any]) -> None:
        channels = self._count_channels(samples.shape[1:])
        # numpy converts a few thousand entries at a time to double precision, so the data are not copied.
        means = samples.reshape(len(samples), -1).sum(axis=0, dtype=np.float64) / len(samples)
        self.mean_ = np.asarray(means.mean() if self.per == "global" else means.reshape(-1, channels).mean(0))

    def _count_channels(self, shape: tuple[int, ...]) -> int:
        images = self._check_image_shape(shape)
        # Each column of a table is a channel.
        if images is None:
            return shape[0]
        return images[2] if len(images) == 3 else 1

    def _check_image_shape(self, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        """Return the shape of one image, or None for rows."""
        if len(shape) > 3:
            raise ValueError(
                f"Samples of shape {shape} are neither rows (features,) nor images (height, width) or "
                "(height, width, channels)."
            )
        if self.image_shape is None:
            return shape if len(shape) > 1 else None
        declared: tuple[Any, ...] = tuple(self.image_shape)
        if len(declared) not in (2, 3) or not all(
            isinstance(s, int | np.integer) and s >= 1 for s in declared
        ):
            raise ValueError(
                "image_shape must be None, (height, width) or (height, width, channels), integers of at "
                f"least 1, got {self.image_shape!r}."
            )
        if len(shape) > 1 and declared != shape:
            raise ValueError(f"image_shape={declared}, but X holds images of shape {shape}.")
        if math.prod(declared) != math.prod(shape):
            raise ValueError(
                f"image_shape={declared} has {math.prod(declared)} pixels, but X has {shape[0]} features."
            )
        return declared

    def _apply(self, values: NDArray[Any]) -> None:
        rows = values.reshape(len(values), -1)
        rows -= self._entry_means(rows)

    def _undo(self, values: NDArray[Any]) -> None:
        rows = values.reshape(len(values), -1)
        rows += self._entry_means(rows)

    def _entry_means(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return the mean of each entry of a row."""
        # Long rows are added many times as fast as triples of channels.
        return np.tile(self.mean_.astype(rows.dtype), rows.shape[1] // self.mean_.size)


def _working_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the shortest float type that holds each pixel exactly."""
    # float32 holds integers of up to 24 bits exactly.
    max_bytes = 4 if dtype.kind == "f" else 2
    return np.dtype(np.float32 if dtype.itemsize <= max_bytes else np.float64)
