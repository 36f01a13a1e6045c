"""Noise of signals: drift of the baseline and hum of the mains."""

from __future__ import annotations

from abc import ABCMeta
from numbers import Integral, Real
from typing import Any, ClassVar, Literal

import torch
from numpy.random import RandomState

from sk_denoise._schema import Rule, is_nonnegative_array
from sk_denoise._validation import MAX_CHANNELS, Interval, warn_user
from sk_denoise.noise._additive import AdditiveNoiser
from sk_denoise.noise._base import STRENGTH, as_strength
from sk_denoise.noise._signal_corruptions import (
    add_hum,
    add_wander,
    check_below_half,
    count_channels,
    signal_axes,
    to_channels_first,
)

__all__ = ["BaselineWanderNoiser", "HumNoiser"]


class SignalNoiser(AdditiveNoiser, metaclass=ABCMeta):
    """Added noise that depends on the order of the samples of a signal.

    A subclass adds it in ``_add_noise``. ``scale="std"`` is the standard deviation of each channel over all
    training signals.
    """

    _fitted_schema: ClassVar[dict[str, Rule]] = {
        "scale_": Rule(
            lambda v, noiser: is_nonnegative_array(v, (), (count_channels((1, *noiser._sample_shape_)),)),
            "a number of at least 0, or one for each channel",
            after_others=True,
        )
    }

    def corrupt(self, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        self._check_fitted()
        channels, expected = count_channels(tuple(x.shape)), count_channels((1, *self._sample_shape_))
        # Images in gray are fitted by single pixels, and then come with as many channels as rows.
        if channels != expected:
            raise ValueError(
                f"{type(self).__name__} is for signals. The fit saw {expected} channel{'s'[: expected - 1]}, "
                f"and samples of shape {tuple(x.shape[1:])} count as signals of {channels}. Images have no "
                "time axis."
            )
        return super().corrupt(x, generator)

    def _learn(self, clean: torch.Tensor) -> None:
        shape = tuple(clean.shape)
        signal_axes(shape)
        if len(shape) == 3 and shape[2] <= MAX_CHANNELS < shape[1]:
            warn_user(
                f"X of shape {shape} is taken for signals of {shape[1]} channels and {shape[2]} samples, "
                "because time is the last axis. If the channels come last, pass numpy.moveaxis(X, -1, 1)."
            )
        # Samples of a signal share a unit, so that their place is no feature.
        signals = to_channels_first(clean)
        super()._learn(signals.movedim(1, 2).reshape(-1, 1, signals.shape[1]))
        if self.scale == "std":
            self.scale_ = self.scale_.reshape(-1)

    def _unit_of(self, x: torch.Tensor, unit: torch.Tensor) -> torch.Tensor:
        """Return a unit for each channel in a shape that broadcasts against samples x."""
        axis, _ = signal_axes(tuple(x.shape))
        if unit.ndim == 0 or axis is None:
            return unit
        return unit.reshape([-1 if place == axis else 1 for place in range(x.ndim)])


class BaselineWanderNoiser(SignalNoiser):
    """Add a slow drift of the baseline, in training only.

    The drift of an electrode with breathing and motion, or the fluorescence below a Raman spectrum: a smooth
    random curve without frequencies above ``max_frequency``. Each channel has its own.

    Parameters
    ----------
    noise_factor : float or pair of float, default=0.1
        Standard deviation of the drift, at least 0. A pair ``(low, high)`` draws one uniformly for each
        sample.
    max_frequency : float, default=0.005
        Highest frequency of the drift, above 0: in Hz if ``sampling_rate`` is given, else in waves per
        sample. The default is one wave in 200 samples, ``1 / 200``.
    sampling_rate : float, default=1.0
        Samples in a second. Must be above twice ``max_frequency``.
    scale : {"absolute", "std"}, default="absolute"
        Unit of ``noise_factor``: that of the data, or the standard deviation of each channel over all
        training signals (a constant channel gets no drift).
    clip : pair of float or None, default=None
        Limits ``(low, high)`` of the noisy values, in the unit of the data.
    apply : {"fit", "always"}, default="fit"
        Calls that corrupt: ``fit_transform`` only, or ``transform`` too.
    random_state : int, RandomState instance or None, default=None
        Seed of the noise. An integer gives equal data equal noise at every call.

    Attributes
    ----------
    scale_ : ndarray of shape (n_channels,) or ()
        Unit of the noise in the unit of the data; 1 for ``scale="absolute"``.
    n_features_in_ : int
        Number of entries of one sample.
    feature_names_in_ : ndarray of str
        Names of the features, if X has names.

    Raises
    ------
    ValueError
        If half the sampling rate is not above ``max_frequency``, or samples are images.

    Warns
    -----
    WeakNoiseWarning
        If the noise is weaker than 2 % of the spread of the data.

    See Also
    --------
    HumNoiser : Hum of the mains.
    RecordedNoiser : Recordings of the drift itself.
    sk_denoise.noise.add_wander : The noise as a function on tensors.

    Notes
    -----
    X has the shape ``(n, length)``, or ``(n, channels, length)`` with time last; images of height 1 have the
    shape ``(n, 1, length, channels)``.

    The frequency counts samples or seconds, never windows. So a window of a long signal gets the drift that
    such a window of a long drift has: if it is shorter than a wave, nearly a constant offset with a slope.
    ``noise_factor`` is the deviation over all samples of all signals, and includes these offsets.

    References
    ----------
    G. B. Moody, W. K. Muldrow and R. G. Mark, "A noise stress test for arrhythmia detectors", Computers in
    Cardiology 11 (1984).

    Examples
    --------
    Breathing below 0.5 Hz in an electrocardiogram of 360 samples in a second:

    >>> import numpy as np
    >>> from sk_denoise import BaselineWanderNoiser
    >>> breathing = BaselineWanderNoiser(0.2, max_frequency=0.5, sampling_rate=360, random_state=0)
    >>> drift = breathing.fit_transform(np.zeros((200, 2, 3600)))
    >>> round(float(drift.std()), 1), bool(np.abs(np.diff(drift)).max() < 0.01)
    (0.2, True)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        # Strengths by column are for tables.
        "noise_factor": STRENGTH,
        "max_frequency": [Interval(Real, 0, None, closed="neither")],
        "sampling_rate": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        noise_factor: float | tuple[float, float] = 0.1,
        *,
        max_frequency: float = 0.005,
        sampling_rate: float = 1.0,
        scale: Literal["absolute", "std"] = "absolute",
        clip: tuple[float, float] | None = None,
        apply: Literal["fit", "always"] = "fit",
        random_state: int | RandomState | None = None,
    ) -> None:
        self.noise_factor = noise_factor
        self.max_frequency = max_frequency
        self.sampling_rate = sampling_rate
        self.scale = scale
        self.clip = clip
        self.apply = apply
        self.random_state = random_state

    def _add_noise(self, x: torch.Tensor, generator: torch.Generator, unit: torch.Tensor) -> torch.Tensor:
        return add_wander(
            x,
            generator,
            noise_factor=as_strength(self.noise_factor),
            max_frequency=float(self.max_frequency),
            sampling_rate=float(self.sampling_rate),
            unit=self._unit_of(x, unit),
            clip=self.clip,
        )

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_below_half(float(self.max_frequency), float(self.sampling_rate), "max_frequency")


class HumNoiser(SignalNoiser):
    """Add the hum of the mains, in training only.

    A wave of 50 or 60 Hz and its harmonics, with random phases. The channels of a sample share the frequency,
    and each has its own amplitude.

    Parameters
    ----------
    sampling_rate : float
        Samples in a second; above twice the frequency.
    noise_factor : float or pair of float, default=0.1
        Root mean square of the hum over all channels of a sample, at least 0. A pair ``(low, high)`` draws
        one uniformly for each sample.
    frequency : float, default=50.0
        Frequency of the mains in Hz, above 0.
    frequency_deviation : float, default=0.1
        Largest difference of a sample's frequency from ``frequency`` in Hz, at least 0.
    n_harmonics : int, default=3
        Number of waves, at least 1: that of ``frequency`` and its multiples. The amplitude of multiple ``k``
        is a random share of ``1 / k``. Multiples from half the sampling rate on are left out, as the filter
        of a converter does.
    scale : {"absolute", "std"}, default="absolute"
        Unit of ``noise_factor``: that of the data, or the standard deviation of each channel over all
        training signals (a constant channel gets no hum).
    clip : pair of float or None, default=None
        Limits ``(low, high)`` of the noisy values, in the unit of the data.
    apply : {"fit", "always"}, default="fit"
        Calls that corrupt: ``fit_transform`` only, or ``transform`` too.
    random_state : int, RandomState instance or None, default=None
        Seed of the noise. An integer gives equal data equal noise at every call.

    Attributes
    ----------
    scale_ : ndarray of shape (n_channels,) or ()
        Unit of the noise in the unit of the data; 1 for ``scale="absolute"``.
    n_features_in_ : int
        Number of entries of one sample.
    feature_names_in_ : ndarray of str
        Names of the features, if X has names.

    Raises
    ------
    ValueError
        If half the sampling rate is not above the frequency, or samples are images.

    Warns
    -----
    WeakNoiseWarning
        If the noise is weaker than 2 % of the spread of the data.

    See Also
    --------
    BaselineWanderNoiser : Drift of the baseline.
    sk_denoise.noise.add_hum : The noise as a function on tensors.

    Notes
    -----
    X has the shape ``(n, length)``, or ``(n, channels, length)`` with time last; images of height 1 have the
    shape ``(n, 1, length, channels)``. A window of a long signal gets hum of the same frequency and of any
    phase.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_denoise import HumNoiser
    >>> hum = HumNoiser(360, (0.1, 0.3), frequency=60, random_state=0)
    >>> noise = hum.fit_transform(np.zeros((50, 720)))
    >>> bool((np.abs(np.fft.rfft(noise)).argmax(axis=1) == 120).all())  # 60 Hz in two seconds
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "noise_factor": STRENGTH,
        "sampling_rate": [Interval(Real, 0, None, closed="neither")],
        "frequency": [Interval(Real, 0, None, closed="neither")],
        "frequency_deviation": [Interval(Real, 0, None, closed="left")],
        "n_harmonics": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        sampling_rate: float,
        noise_factor: float | tuple[float, float] = 0.1,
        *,
        frequency: float = 50.0,
        frequency_deviation: float = 0.1,
        n_harmonics: int = 3,
        scale: Literal["absolute", "std"] = "absolute",
        clip: tuple[float, float] | None = None,
        apply: Literal["fit", "always"] = "fit",
        random_state: int | RandomState | None = None,
    ) -> None:
        self.sampling_rate = sampling_rate
        self.noise_factor = noise_factor
        self.frequency = frequency
        self.frequency_deviation = frequency_deviation
        self.n_harmonics = n_harmonics
        self.scale = scale
        self.clip = clip
        self.apply = apply
        self.random_state = random_state

    def _add_noise(self, x: torch.Tensor, generator: torch.Generator, unit: torch.Tensor) -> torch.Tensor:
        return add_hum(
            x,
            generator,
            sampling_rate=float(self.sampling_rate),
            noise_factor=as_strength(self.noise_factor),
            frequency=float(self.frequency),
            frequency_deviation=float(self.frequency_deviation),
            n_harmonics=int(self.n_harmonics),
            unit=self._unit_of(x, unit),
            clip=self.clip,
        )

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if self.frequency_deviation >= self.frequency:
            raise ValueError(
                f"frequency_deviation={self.frequency_deviation!r} Hz must be below the frequency, "
                f"{self.frequency!r} Hz."
            )
        if self.sampling_rate < 1:
            raise ValueError(
                f"sampling_rate={self.sampling_rate!r} is less than a sample in a second. It is the first "
                "argument: HumNoiser(sampling_rate, noise_factor)."
            )
        highest = float(self.frequency) + float(self.frequency_deviation)
        check_below_half(highest, float(self.sampling_rate), "frequency + frequency_deviation")
