"""Noise related between neighbouring values: grain, stripes and recordings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray

from sk_denoise._scaling import compute_moments, iterate_chunks, subsample
from sk_denoise._schema import (
    NONNEGATIVE_NUMBER,
    Rule,
    is_nonnegative_array,
    is_numeric_array,
    one_of,
)
from sk_denoise._validation import (
    StrOptions,
    refuse_channels_first,
    refuse_masked,
    refuse_single_image,
    warn_user,
)
from sk_denoise.exceptions import WeakNoiseWarning
from sk_denoise.noise._additive import MAX_USEFUL_NOISE, MIN_USEFUL_NOISE, AdditiveNoiser
from sk_denoise.noise._base import (
    STRENGTH,
    ImageNoiser,
    as_strength,
    check_bounds,
    is_strength,
)
from sk_denoise.noise._device_corruptions import (
    add_grain,
    add_recording,
    add_stripes,
    find_kind,
    find_other_channels,
    find_other_layout,
    measure_records,
    measure_signal_records,
    record_sides,
)
from sk_denoise.noise._signal_corruptions import count_channels, signal_axes, to_channels_first

__all__ = ["GrainNoiser", "RecordedNoiser", "StripeNoiser"]

# Sides in pixels and, in them, deviations of kernels; larger ones would take minutes and gigabytes.
MAX_KERNEL_SIDE, MAX_KERNEL_WIDTH = 1024, 100
# Ratios in dB beyond this one leave only the noise, or only the signal.
MAX_DECIBELS = 300


class GrainNoiser(AdditiveNoiser, ImageNoiser):
    """Add Gaussian noise that is correlated between neighbours, in training only.

    The noise of film, of interpolated and of smoothed images, and of filtered signals: white noise that was
    convolved with a kernel. Rows are signals, correlated along the features.

    Parameters
    ----------
    noise_factor : float or pair of float, default=0.1
        Standard deviation of the noise, at least 0, for any kernel. A pair ``(low, high)`` draws one
        uniformly for each sample.
    kernel : float or array of shape (height, width) or (width,), default=1.0
        Convolution kernel, up to a factor; its own correlation becomes that of the noise. A number is the
        standard deviation of a Gaussian kernel in pixels, at most 100; 0 gives white noise. An array of one
        axis is a kernel along the rows, or along signals of shape ``(length, 1, channels)``.
    color_correlation : float, default=0.0
        Correlation between the noise of two channels of a pixel, from 0 (independent) to 1 (equal).
    scale : {"absolute", "std"}, default="absolute"
        Unit of ``noise_factor``: that of the data, or the standard deviation of each feature in the training
        data (a constant feature gets no noise).
    clip : pair of float or None, default=None
        Limits ``(low, high)`` of the noisy values, in the unit of the data.
    image_shape : tuple of int or None, default=None
        Shape ``(height, width)`` or ``(height, width, channels)`` of images in flat rows. An estimator with
        an ``image_shape`` passes it to its ``noise``.
    apply : {"fit", "always"}, default="fit"
        Calls that corrupt: ``fit_transform`` only, or ``transform`` too.
    random_state : int, RandomState instance or None, default=None
        Seed of the noise. An integer gives equal data equal noise at every call.

    Attributes
    ----------
    scale_ : ndarray of the shape of one sample, or of shape ()
        Unit of the noise in the unit of the data; 1 for ``scale="absolute"``.
    n_features_in_ : int
        Number of entries of one sample.
    feature_names_in_ : ndarray of str
        Names of the features, if X has names.

    Warns
    -----
    WeakNoiseWarning
        If the noise is weaker than 2 % of the spread of the data.

    See Also
    --------
    GaussianNoiser : White noise.
    sk_denoise.noise.add_grain : The noise as a function on tensors.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_denoise import GrainNoiser
    >>> noise = GrainNoiser(0.1, kernel=1.0, random_state=0).fit_transform(np.zeros((20, 50, 50)))
    >>> round(float(noise.std()), 2)
    0.1
    >>> round(float(np.corrcoef(noise[:, :, 1:].ravel(), noise[:, :, :-1].ravel())[0, 1]), 1)
    0.8
    """

    # Gaussian noise of any correlation can be split into two independent parts.
    _adds_grain = True
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "kernel": [Real, np.ndarray, list, tuple],
        "color_correlation": [Real],
    }

    def __init__(
        self,
        noise_factor: float | tuple[float, float] = 0.1,
        kernel: float | ArrayLike = 1.0,
        *,
        color_correlation: float = 0.0,
        scale: Literal["absolute", "std"] = "absolute",
        clip: tuple[float, float] | None = None,
        image_shape: Sequence[int] | None = None,
        apply: Literal["fit", "always"] = "fit",
        random_state: int | RandomState | None = None,
    ) -> None:
        self.noise_factor = noise_factor
        self.kernel = kernel
        self.color_correlation = color_correlation
        self.scale = scale
        self.clip = clip
        self.image_shape = image_shape
        self.apply = apply
        self.random_state = random_state

    def _add_noise(self, x: torch.Tensor, generator: torch.Generator, unit: torch.Tensor) -> torch.Tensor:
        # Flat rows become images, so that neighbours below each other are related too.
        noisy = add_grain(
            self._as_images(x),
            generator,
            noise_factor=as_strength(self.noise_factor),
            kernel=self.kernel if isinstance(self.kernel, Real) else np.asarray(self.kernel),
            color_correlation=float(self.color_correlation),
            unit=_as_images_unit(self, unit),
            clip=self.clip,
        )
        return noisy.reshape(x.shape)

    def _check_parameters(self) -> None:
        super()._check_parameters()
        _check_share(self, "color_correlation")
        given: Any = self.kernel
        # To Python a bool is a number, but nobody means it as a width.
        is_bool = isinstance(self.kernel, bool)
        if isinstance(given, Real):
            if is_bool or not 0 <= float(given) <= MAX_KERNEL_WIDTH:
                raise ValueError(
                    f"kernel must be a width from 0 to {MAX_KERNEL_WIDTH} pixels or an array of weights, got "
                    f"{given!r}."
                )
            return
        kernel = as_numbers(given, "kernel")
        if kernel.ndim not in (1, 2) or not kernel.size > 0 or max(kernel.shape) > MAX_KERNEL_SIDE:
            raise ValueError(
                f"kernel must be a number or an array of shape (height, width) or (width,), with sides up to "
                f"{MAX_KERNEL_SIDE}, got shape {kernel.shape}."
            )
        if not kernel.any():
            raise ValueError("kernel must have a weight other than 0.")

    def _learn(self, clean: torch.Tensor) -> None:
        # Estimators fit noise to single pixels, so that the sides of images say nothing here.
        self._check_layout(clean)
        is_row = clean.ndim == 2 and self.image_shape is None
        if is_row and np.ndim(self.kernel) == 2 and np.shape(self.kernel)[0] > 1:
            raise ValueError(
                f"kernel of shape {np.shape(self.kernel)} is for images, got rows of shape "
                f"{tuple(clean.shape)}. Pass a number, an array of one axis, or image_shape with flat images."
            )
        super()._learn(clean)


class StripeNoiser(AdditiveNoiser, ImageNoiser):
    """Add an offset to each row or each column of images, in training only.

    The noise of detectors with an amplifier for each row or column, and of scanners.

    Parameters
    ----------
    noise_factor : float or pair of float, default=0.1
        Standard deviation of the noise, at least 0. A pair ``(low, high)`` draws one uniformly for each
        image.
    axis : {"rows", "columns"}, default="rows"
        Direction of the stripes: an offset for each row, or for each column.
    drift : float, default=0.0
        Share of the variance of a stripe that is a slope along it, from 0 (constant) to 1.
    color_correlation : float, default=1.0
        Correlation between the noise of two channels of a pixel, from 0 (independent) to 1 (equal).
    scale : {"absolute", "std"}, default="absolute"
        Unit of ``noise_factor``: that of the data, or the standard deviation of each feature in the training
        data (a constant feature gets no noise).
    clip : pair of float or None, default=None
        Limits ``(low, high)`` of the noisy values, in the unit of the data.
    image_shape : tuple of int or None, default=None
        Shape ``(height, width)`` or ``(height, width, channels)`` of images in flat rows. An estimator with
        an ``image_shape`` passes it to its ``noise``.
    apply : {"fit", "always"}, default="fit"
        Calls that corrupt: ``fit_transform`` only, or ``transform`` too.
    random_state : int, RandomState instance or None, default=None
        Seed of the noise. An integer gives equal data equal noise at every call.

    Attributes
    ----------
    scale_ : ndarray of the shape of one sample, or of shape ()
        Unit of the noise in the unit of the data; 1 for ``scale="absolute"``.
    n_features_in_ : int
        Number of entries of one sample.
    feature_names_in_ : ndarray of str
        Names of the features, if X has names.

    Raises
    ------
    ValueError
        For rows without ``image_shape``.

    Warns
    -----
    WeakNoiseWarning
        If the noise is weaker than 2 % of the spread of the data.

    See Also
    --------
    sk_denoise.noise.add_stripes : The noise as a function on tensors.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_denoise import StripeNoiser
    >>> noisy = StripeNoiser(0.1, axis="columns", random_state=0).fit_transform(np.zeros((2, 30, 40)))
    >>> bool((noisy == noisy[:, :1]).all()), len(np.unique(noisy[0]))
    (True, 40)
    """

    _takes_rows: ClassVar[bool] = False
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "axis": [StrOptions({"rows", "columns"})],
        "drift": [Real],
        "color_correlation": [Real],
    }

    def __init__(
        self,
        noise_factor: float | tuple[float, float] = 0.1,
        axis: Literal["rows", "columns"] = "rows",
        *,
        drift: float = 0.0,
        color_correlation: float = 1.0,
        scale: Literal["absolute", "std"] = "absolute",
        clip: tuple[float, float] | None = None,
        image_shape: Sequence[int] | None = None,
        apply: Literal["fit", "always"] = "fit",
        random_state: int | RandomState | None = None,
    ) -> None:
        self.noise_factor = noise_factor
        self.axis = axis
        self.drift = drift
        self.color_correlation = color_correlation
        self.scale = scale
        self.clip = clip
        self.image_shape = image_shape
        self.apply = apply
        self.random_state = random_state

    def _add_noise(self, x: torch.Tensor, generator: torch.Generator, unit: torch.Tensor) -> torch.Tensor:
        noisy = add_stripes(
            self._as_images(x),
            generator,
            noise_factor=as_strength(self.noise_factor),
            axis=self.axis,
            drift=float(self.drift),
            color_correlation=float(self.color_correlation),
            unit=_as_images_unit(self, unit),
            clip=self.clip,
        )
        return noisy.reshape(x.shape)

    def _check_parameters(self) -> None:
        super()._check_parameters()
        _check_share(self, "drift")
        _check_share(self, "color_correlation")

    def _learn(self, clean: torch.Tensor) -> None:
        self._check_layout(clean)
        super()._learn(clean)


class RecordedNoiser(ImageNoiser):
    """Add recorded noise, in training only.

    Real noise that was recorded without a signal: dark frames of a detector, the tone of a room, the motion
    of an electrode. Each sample gets a random part of a random record.

    Parameters
    ----------
    bank : array of shape (n_records, ...) or list of arrays
        Recorded noise: records ``(length,)`` or ``(channels, length)`` for signals, ``(height, width)`` or
        ``(height, width, channels)`` for images. An array of one axis is a single record. Records in a list
        may differ in size. Each channel gets its own part of a record without channels.
    snr : float, pair of float or None, default=(0.0, 20.0)
        Signal-to-noise ratio in dB: 10 log10 of the variance of the signal over the mean square of the
        noise; may be negative. A pair ``(low, high)`` draws one uniformly for each sample. The median of a
        record does not count, and is taken off. None adds the records as they are, in the unit of the data.
    power : {"sample", "data"}, default="sample"
        Signal that ``snr`` refers to: each sample, so that a constant one gets no noise; or the training
        data as a whole. Take "data" for :class:`~sk_denoise.ImageDenoiser`, since patches without structure
        are as noisy as others, and for windows of long signals.
    kind : {"auto", "signals", "images"}, default="auto"
        Kind of samples. Signals have the shape ``(n, length)``, ``(n, channels, length)`` with time last, or
        that of images of height 1, ``(n, 1, length, channels)``. "auto" takes arrays of three axes for
        images. It takes images of height 1 for signals if a record has a row for each of their channels.
    clip : pair of float or None, default=None
        Limits ``(low, high)`` of the noisy values, in the unit of the data.
    image_shape : tuple of int or None, default=None
        Shape ``(height, width)`` or ``(height, width, channels)`` of images in flat rows. An estimator with
        an ``image_shape`` passes it to its ``noise``.
    apply : {"fit", "always"}, default="fit"
        Calls that corrupt: ``fit_transform`` only, or ``transform`` too.
    random_state : int, RandomState instance or None, default=None
        Seed of the noise. An integer gives equal data equal noise at every call.

    Attributes
    ----------
    centers_ : ndarray of shape (n_records,) or (n_records, n_channels)
        Median of each record, or for signals of each of its channels.
    powers_ : ndarray of shape (n_records,)
        Mean square of the distance from the median.
    kind_ : {"signals", "images"}
        Kind of samples.
    signal_power_ : float
        Variance of the training data; for signals the mean of those of the channels.
    n_features_in_ : int
        Number of entries of one sample.
    feature_names_in_ : ndarray of str
        Names of the features, if X has names.

    Raises
    ------
    ValueError
        If records do not fit the samples, or a record is constant and ``snr`` is given.

    Warns
    -----
    WeakNoiseWarning
        If ``snr`` is None and the noise is weaker than 2 % of the spread of the data.
    UserWarning
        If records are smaller than samples, and so repeat in them; or if arrays may be images as well as
        signals of several channels.

    See Also
    --------
    sk_denoise.noise.add_recording : The noise as a function on tensors.

    Notes
    -----
    The channels of a signal have one gain in common, so that the noise of a record keeps its ratio between
    them.

    A record is periodic: a part that reaches beyond its end continues at its beginning. A part with less than
    a ten-thousandth of the power of its record counts as silence, and is not amplified up to the ratio.

    References
    ----------
    G. B. Moody, W. K. Muldrow and R. G. Mark, "A noise stress test for arrhythmia detectors", Computers in
    Cardiology 11 (1984).

    Examples
    --------
    >>> import numpy as np
    >>> from sk_denoise import RecordedNoiser
    >>> hum = np.sin(np.arange(5000) / 8) + np.random.default_rng(0).normal(0, 0.1, 5000)
    >>> signals = np.random.default_rng(1).normal(size=(10, 200))
    >>> noise = RecordedNoiser(hum, snr=10, random_state=0).fit_transform(signals) - signals
    >>> ratio = signals.var(axis=1) / (noise**2).mean(axis=1)
    >>> bool(np.allclose(10 * np.log10(ratio), 10))
    True

    Signals of two channels, and a recording of both at once:

    >>> leads = np.random.default_rng(2).normal(size=(10, 2, 200))
    >>> motion = np.cumsum(np.random.default_rng(3).normal(size=(2, 5000)), axis=1)
    >>> RecordedNoiser([motion], kind="signals", random_state=0).fit_transform(leads).shape
    (10, 2, 200)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "bank": [np.ndarray, list, tuple],
        "snr": [*STRENGTH, None],
        "power": [StrOptions({"sample", "data"})],
        "kind": [StrOptions({"auto", "signals", "images"})],
        "clip": [tuple, list, None],
    }
    _fitted_schema: ClassVar[dict[str, Rule]] = {
        "kind_": one_of("signals", "images"),
        "centers_": Rule(
            lambda v, noiser: is_numeric_array(v, _shape_of_centers(noiser)),
            "a number for each record, or for each of its channels",
            after_others=True,
        ),
        "powers_": Rule(
            lambda v, noiser: is_nonnegative_array(v, (len(_as_records(noiser.bank)),)),
            "a number of at least 0 for each record",
        ),
        "signal_power_": NONNEGATIVE_NUMBER,
    }
    centers_: NDArray[np.float64]
    powers_: NDArray[np.float64]
    kind_: Literal["signals", "images"]
    signal_power_: float

    def __init__(
        self,
        bank: ArrayLike,
        snr: float | tuple[float, float] | None = (0.0, 20.0),
        *,
        power: Literal["sample", "data"] = "sample",
        kind: Literal["auto", "signals", "images"] = "auto",
        clip: tuple[float, float] | None = None,
        image_shape: Sequence[int] | None = None,
        apply: Literal["fit", "always"] = "fit",
        random_state: int | RandomState | None = None,
    ) -> None:
        self.bank = bank
        self.snr = snr
        self.power = power
        self.kind = kind
        self.clip = clip
        self.image_shape = image_shape
        self.apply = apply
        self.random_state = random_state

    def corrupt(self, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        self._check_fitted()
        images = self._as_images(x)
        # Records stay in the type of the bank: the parts that are drawn are converted.
        noisy = add_recording(
            images,
            generator,
            records=_as_records(self.bank),
            snr=None if self.snr is None else as_strength(self.snr),
            kind=self.kind_,
            centers=self.centers_,
            powers=self.powers_,
            signal_power=None if self.power == "sample" else self.signal_power_,
            clip=self.clip,
        )
        # Estimators for samples of any size fit noise to single entries, which no record is shorter than.
        if math.prod(images.shape[1:]) > self.n_features_in_:
            self._warn_of_short_records(tuple(images.shape))
        return noisy.reshape(x.shape)

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_bounds(self, "clip")
        if self.snr is not None:
            _check_decibels(self.snr)
        records = _as_records(self.bank)
        if not records:
            raise ValueError("bank must hold at least one record, got none.")
        for number, record in enumerate(records):
            record = as_numbers(record, f"record {number} of bank")
            if record.ndim not in (1, 2, 3) or not record.size:
                raise ValueError(
                    "bank must hold records of shape (length,), (height, width) or (height, width, "
                    f"channels), got shape {record.shape} for record {number}."
                )
            # Without a ratio, a record of zeros stands for a silent device.
            if self.snr is not None and record.min() == record.max():
                raise ValueError(
                    f"Record {number} of the bank is constant, so that no scale gives it the ratio "
                    f"snr={self.snr!r}. Leave it out, or pass snr=None."
                )
        if self.kind == "signals":
            return
        # Records in a list have their own axes; in an array, one image would pass for many narrow ones.
        if isinstance(self.bank, np.ndarray):
            refuse_single_image(self.bank.shape, name="bank", may_declare=False)
        for record in records:
            refuse_channels_first(record.shape, name="bank", may_declare=False)

    def _learn(self, clean: torch.Tensor) -> None:
        images, records = self._as_images(clean), _as_records(self.bank)
        samples, shapes = tuple(images.shape), [record.shape for record in records]
        self.kind_ = find_kind(self.kind, samples, shapes)
        is_signal = self.kind_ == "signals"
        # Signals of twelve channels and of height 1 would pass for images with their channels first.
        if not is_signal or self.image_shape is not None:
            self._check_layout(clean)
        problem = (find_other_channels if is_signal else find_other_layout)(samples, shapes)
        if problem:
            raise ValueError(problem)
        self._warn_of_other_kind(samples, shapes)
        self._warn_of_short_records(samples)
        if is_signal:
            channels = count_channels(samples)
            self.centers_, self.powers_ = measure_signal_records(records, channels)
            entries = to_channels_first(images).movedim(1, 2).reshape(-1, channels)
        else:
            self.centers_, self.powers_ = measure_records(records)
            # One power for all entries, because patches have no features of their own.
            entries = clean.reshape(-1, 1)
        if self.snr is not None and not self.powers_.all():
            raise ValueError(
                f"All channels of record {self.powers_.argmin()} of the bank are constant, so that no scale "
                f"gives it the ratio snr={self.snr!r}. Leave it out, or pass snr=None."
            )
        moments = compute_moments(iterate_chunks(entries))
        # The deviation of a constant channel may be above 0 by rounding.
        variances = torch.where(moments.is_constant, 0.0, moments.std.square())
        self.signal_power_ = float(variances.mean())
        # A ratio has no unit.
        if self.snr is None:
            self._warn_of_unit(clean)

    def _warn_of_short_records(self, samples: tuple[int, ...]) -> None:
        """Warn of records that are smaller than samples."""
        shapes = [record.shape for record in _as_records(self.bank)]
        if self.kind_ == "signals":
            length = samples[signal_axes(samples)[1]]
            small = [shape for shape in shapes if shape[-1] < length]
        else:
            # A row is an image of height 1.
            sides = (1, samples[1]) if len(samples) == 2 else samples[1:3]
            small = [shape for shape in shapes if any(np.less(record_sides(shape, sides), sides))]
        if small:
            warn_user(
                f"Records of the bank, the first of shape {small[0]}, are smaller than the samples, of "
                f"shape {samples[1:]}: they repeat within a sample, and a network learns to predict that. "
                "Use longer records."
            )

    def _warn_of_other_kind(self, samples: tuple[int, ...], shapes: Sequence[tuple[int, ...]]) -> None:
        """Warn of arrays that may be images as well as signals of several channels."""
        rows = samples[1] if len(samples) == 3 else 1
        longer = [s for s in shapes if len(s) == 2 and s[0] == rows and s[1] > samples[-1]]
        if self.kind == "auto" and rows > 1 and longer:
            warn_user(
                f"X of shape {samples} is taken for images, and records of shape {longer[0]} are cut "
                f"anywhere, also between rows. If the {rows} rows are channels of signals, set "
                'kind="signals"; else kind="images".'
            )
        shape = np.shape(self.bank) if isinstance(self.bank, np.ndarray) else ()
        may_be_signals = self.kind_ == "signals" or (len(samples) == 4 and samples[1] == 1)
        if may_be_signals and len(shape) == 2 and shape[0] == count_channels(samples) > 1:
            warn_user(
                f"bank of shape {shape} is taken for {shape[0]} records of one channel each. Pass one record "
                f"of {shape[0]} channels as bank[None], or the records as a list."
            )

    def _warn_of_unit(self, clean: torch.Tensor) -> None:
        """Warn of records in another unit than the clean data."""
        subset = subsample(clean)
        low, high = float(subset.min()), float(subset.max())
        deviation, spread = float(self.powers_.max()) ** 0.5, self.signal_power_**0.5
        unit = (
            f"snr=None adds the bank as it is, with a standard deviation of {deviation:.3g}, and the data "
            f"reach from {low:.4g} to {high:.4g}. Convert it to their unit, or give snr in dB."
        )
        if 0 < deviation < MIN_USEFUL_NOISE * spread:
            warn_user(f"The noise is too weak to learn from. {unit}", WeakNoiseWarning)
        elif high > low and deviation > MAX_USEFUL_NOISE * (high - low):
            warn_user(f"The noise hides the data completely. {unit}")


# Shared checks ------------------------------------------------------------------------------------------


def _as_images_unit(noiser: ImageNoiser, unit: torch.Tensor) -> torch.Tensor:
    """Return a unit for each entry of a flat row in the layout of images."""
    return unit if unit.ndim == 0 else noiser._as_images(unit[None])[0]


def _check_share(noiser: ImageNoiser, name: str) -> None:
    share: Any = getattr(noiser, name)
    if isinstance(share, bool) or not 0 <= share <= 1:
        raise ValueError(f"{name} must be a number from 0 to 1, got {share!r}.")


def _check_decibels(snr: Any) -> None:
    ends = snr if isinstance(snr, tuple | list) else [snr, snr]
    fits = is_strength(snr) and not any(isinstance(end, bool) for end in ends)
    if not fits or not all(abs(end) <= MAX_DECIBELS for end in ends):
        raise ValueError(
            f"snr must be a number of dB from -{MAX_DECIBELS} to {MAX_DECIBELS}, a pair (low, high) of such "
            f"numbers or None, got {snr!r}."
        )
    if ends[0] > ends[1]:
        raise ValueError(f"snr=(low, high) needs low <= high, got {snr!r}.")


def _as_records(bank: Any) -> list[NDArray[Any]]:
    """Return the records of a bank; numbers along one axis are a single record."""
    refuse_masked(bank, "bank")
    if isinstance(bank, np.ndarray):
        return [bank] if bank.ndim < 2 else list(bank)
    if len(bank) and all(isinstance(value, Real) for value in bank):
        return [np.asarray(bank)]
    return [np.asarray(record) for record in bank]


def _shape_of_centers(noiser: RecordedNoiser) -> tuple[int, ...]:
    n_records = len(_as_records(noiser.bank))
    if noiser.kind_ == "images":
        return (n_records,)
    shape = noiser._sample_shape_ if noiser.image_shape is None else noiser.image_shape
    return n_records, count_channels((1, *shape))


def as_numbers(values: Any, name: str) -> NDArray[Any]:
    """Return an array of finite real numbers, or raise an error."""
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name} must be an array of numbers, got parts of different shapes.") from error
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name} must hold real numbers, got the type {array.dtype}.")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must hold finite numbers, got NaN or infinity.")
    return array
