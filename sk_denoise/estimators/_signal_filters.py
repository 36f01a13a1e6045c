"""Filters of signals, and the one-dimensional forms of filters of images."""

from __future__ import annotations

import math
import warnings
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sk_denoise._validation import Interval
from sk_denoise.estimators._base import ClassicalDenoiser, Images, check_odd

__all__ = ["BandPassDenoiser", "SavitzkyGolayDenoiser"]

Signals = NDArray[np.float64]

# Share of the way to the limits that a step goes, and of the barrier that stays after it
STEP_SHARE, BARRIER_SHARE = 0.99, 0.1
# Height of a step in weights beyond which the solution of the dual problem is the same
MAX_STEP = 8.0
# Shifts of the wavelet grid to average over
N_SHIFTS = 16
# Halvings of a signal at whose end so many entries are left, at least
MIN_COARSE = 4


class _SignalFilter(ClassicalDenoiser):
    """A filter of signals alone, which learns nothing.

    A subclass defines ``_filter_rows`` for signals of one length.
    """

    kind = "signals"
    image_shape = None

    def _filter_rows(self, rows: Signals) -> Signals:
        """Return filtered signals (n, length)."""
        raise NotImplementedError

    def _denoise(self, images: Images) -> Images:
        rows = np.ascontiguousarray(images[:, 0, :, 0], dtype=np.float64)
        denoised: Images = self._filter_rows(rows)[:, None, :, None]
        return denoised


class SavitzkyGolayDenoiser(_SignalFilter):
    """Fit a polynomial to each window of a signal, and take its middle.

    The classic of spectra: peaks that are wider than the window keep their area and height. It needs no noise
    level. Each channel is filtered by itself.

    Parameters
    ----------
    window_length : int, default=11
        Number of entries of the window; odd, greater than ``polyorder``, and at most the length of the
        signals. Greater windows smooth more.
    polyorder : int, default=2
        Order of the polynomial, at least 0. An even order equals the next odd one, except for the ends of the
        signals.

    Attributes
    ----------
    target_source_ : {"X_clean", "y", "noiser", "X"}
        Source of the clean side.
    data_range_ : float
        Data range of the clean samples, for ``score``.
    image_shape_ : None
        Signals have no shape of images.
    n_features_in_ : int
        Number of entries of one sample; of the first one, if the fit was to a list.
    feature_names_in_ : ndarray of str
        Names of the features, if X has names.

    See Also
    --------
    BandPassDenoiser : Removes drift and hum, which are no white noise.
    WienerMixtureDenoiser : Learns from noisy signals; better where the signals have something in common.

    Notes
    -----
    Signals have the shape (n, length) or (n, channels, length), time last, or are a list of arrays (length,)
    or (channels, length) of different lengths. Their ends come from the polynomials of the first and the last
    window. The filter learns nothing: ``fit`` stores the layout, and the range of clean samples for
    ``score``.

    The best window depends on the noise and on the width of the narrowest peak. Search for it:
    ``GridSearchCV(SavitzkyGolayDenoiser(), {"window_length": [7, 11, 21, 41]}, scoring=scorer)`` with
    :func:`~sk_denoise.make_denoising_scorer`.

    References
    ----------
    A. Savitzky and M. J. E. Golay, "Smoothing and differentiation of data by simplified least squares
    procedures", Analytical Chemistry 36 (1964). The method is ``scipy.signal.savgol_filter``.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_denoise import SavitzkyGolayDenoiser
    >>> clean = np.sin(np.linspace(0, 12, 300) + np.arange(5)[:, None])  # five signals
    >>> noisy = clean + np.random.default_rng(0).normal(0, 0.2, clean.shape)
    >>> denoised = SavitzkyGolayDenoiser(31).fit(noisy).predict(noisy)
    >>> bool(np.abs(denoised - clean).mean() < np.abs(noisy - clean).mean() / 3)
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "window_length": [Interval(Integral, 1, None, closed="left")],
        "polyorder": [Interval(Integral, 0, None, closed="left")],
    }

    def __init__(self, window_length: int = 11, polyorder: int = 2) -> None:
        self.window_length = window_length
        self.polyorder = polyorder

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_odd(self, "window_length")
        if self.polyorder >= self.window_length:
            raise ValueError(
                f"polyorder={self.polyorder} needs a window_length of at least "
                f"{self.polyorder + 1 + self.polyorder % 2}, got {self.window_length}: a window has more "
                "entries than the order of its polynomial."
            )

    def _check_length(self, length: int) -> None:
        if self.window_length > length:
            raise ValueError(
                f"window_length={self.window_length} is longer than a signal of {length} entries. Use at "
                f"most {length - 1 + length % 2}."
            )

    def _filter_rows(self, rows: Signals) -> Signals:
        from scipy.signal import savgol_filter

        # The sums of a window lose the last digits of a large offset.
        offsets = rows.mean(axis=1, keepdims=True)
        filtered: Signals = savgol_filter(
            rows - offsets, self.window_length, self.polyorder, axis=1, mode="interp"
        )
        denoised: Signals = filtered + offsets
        return denoised


class BandPassDenoiser(_SignalFilter):
    """Keep a band of frequencies, by a Butterworth filter without a shift in time.

    It removes baseline wander below ``low`` and noise above ``high``. Each channel is filtered by itself.

    Parameters
    ----------
    low, high : float or None, default=None
        Lower and upper edge of the band in Hz, at which the amplitude is halved. None leaves this side open:
        without ``low`` it is a low-pass filter and keeps the mean, without ``high`` a high-pass filter. At
        least one is needed.
    sampling_rate : float, default=1.0
        Entries per second. With 1, ``low`` and ``high`` are in cycles per entry, below .5.
    order : int, default=4
        Order of the Butterworth filter, from 1 to 20. It runs forward and backward, so that the slope of the
        edges is that of twice the order.

    Attributes
    ----------
    target_source_ : {"X_clean", "y", "noiser", "X"}
        Source of the clean side.
    data_range_ : float
        Data range of the clean samples, for ``score``.
    image_shape_ : None
        Signals have no shape of images.
    n_features_in_ : int
        Number of entries of one sample; of the first one, if the fit was to a list.
    feature_names_in_ : ndarray of str
        Names of the features, if X has names.

    See Also
    --------
    SavitzkyGolayDenoiser : Smooths by polynomials; peaks keep their area.

    Notes
    -----
    Signals have the shape (n, length) or (n, channels, length), time last, or are a list of arrays (length,)
    or (channels, length) of different lengths. Their ends are mirrored, by a period of the lower edge where
    the signal is that long. The filter learns nothing: ``fit`` stores the layout, and the range of clean
    samples for ``score``.

    With ``low`` the output has a mean near 0.

    References
    ----------
    S. Butterworth, "On the theory of filter amplifiers", Experimental Wireless and the Wireless Engineer 7
    (1930). The method is ``scipy.signal.sosfiltfilt``.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_denoise import BandPassDenoiser
    >>> time = np.arange(2000) / 250  # 8 seconds at 250 Hz
    >>> clean = np.sin(2 * np.pi * 5 * time)[None]
    >>> drifting = clean + np.sin(2 * np.pi * 0.1 * time) + 0.3 * np.sin(2 * np.pi * 60 * time)
    >>> denoised = BandPassDenoiser(0.5, 40, sampling_rate=250).fit_transform(drifting)
    >>> bool(np.abs(denoised - clean).mean() < np.abs(drifting - clean).mean() / 10)
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "low": [Interval(Real, 0, None, closed="neither"), None],
        "high": [Interval(Real, 0, None, closed="neither"), None],
        "sampling_rate": [Interval(Real, 0, None, closed="neither")],
        "order": [Interval(Integral, 1, 20, closed="both")],
    }

    def __init__(
        self,
        low: float | None = None,
        high: float | None = None,
        *,
        sampling_rate: float = 1.0,
        order: int = 4,
    ) -> None:
        self.low = low
        self.high = high
        self.sampling_rate = sampling_rate
        self.order = order

    def _check_parameters(self) -> None:
        super()._check_parameters()
        edges = [edge for edge in (self.low, self.high) if edge is not None]
        if not edges:
            raise ValueError(
                "BandPassDenoiser needs low, high or both, in Hz, such as "
                "BandPassDenoiser(0.5, 40, sampling_rate=250)."
            )
        if max(edges) >= self.sampling_rate / 2:
            raise ValueError(
                f"The edges of the band must be below half of sampling_rate={self.sampling_rate:g}, got "
                f"low={self.low}, high={self.high}. Pass the sampling_rate of the signals in Hz, or edges in "
                "cycles per entry."
            )
        if len(edges) == 2 and edges[0] >= edges[1]:
            raise ValueError(f"low must be below high, got low={self.low}, high={self.high}.")

    def _filter_rows(self, rows: Signals) -> Signals:
        from scipy.signal import butter, sosfiltfilt

        # Each pass halves the power at an edge, so that both together halve the amplitude.
        sides = {(True, True): "bandpass", (True, False): "highpass", (False, True): "lowpass"}
        edges = [edge for edge in (self.low, self.high) if edge is not None]
        sections = butter(
            self.order,
            edges if len(edges) == 2 else edges[0],
            btype=sides[self.low is not None, self.high is not None],
            fs=self.sampling_rate,
            output="sos",
        )
        # On heartbeats with a drift, these ends have half of the error of scipy's: a copy rotated about a
        # noisy last value has another mean, and scipy's padding is shorter than the transient of a low edge.
        period = math.ceil(self.sampling_rate / edges[0])
        padding = min(rows.shape[1] - 1, max(6 * len(sections), period))
        # The transient of a large offset would drown the signal.
        offsets = rows.mean(axis=1, keepdims=True)
        filtered: Signals = sosfiltfilt(sections, rows - offsets, axis=1, padtype="even", padlen=padding)
        return filtered if self.low is not None else filtered + offsets


# One-dimensional forms of filters of images ---------------------------------------------------------------


def minimize_total_variation(signals: Signals, weights: Signals, tol: float, max_num_iter: int) -> Signals:
    """Return the signals of least squared distance and weighted total variation.

    The dual problem has one variable in [-1, 1] for each difference of neighbours. A primal-dual interior
    point method solves it for all signals at a time, with one tridiagonal system in each step.

    Parameters
    ----------
    signals : ndarray of shape (n, length)
        Noisy signals.
    weights : ndarray of shape (n,)
        Weights of the total variation beside half of the squared distance.
    tol : float
        Largest distance to the minimum, in proportion to the root of twice the first cost.
    max_num_iter : int
        Largest number of steps.

    References
    ----------
    S. Boyd and L. Vandenberghe, "Convex Optimization", Cambridge University Press (2004), chapter 11.
    """
    from scipy.linalg import solveh_banded

    n, length = signals.shape
    if length == 1:
        return signals.copy()
    offsets, unit = signals.mean(axis=1, keepdims=True), weights[:, None]
    # In units of the weight, the limits are 1.
    noisy = (signals - offsets) / unit
    # A step of more than 4 weights has its dual variable at the limit, for any height. So the solution stays
    # exact, and single spikes leave the system well conditioned.
    steps = np.clip(np.diff(noisy, axis=1), -MAX_STEP, MAX_STEP)
    max_gap = tol**2 * np.abs(steps).sum(axis=1)
    max_residual = 1e-9 * (1 + np.abs(steps).max(axis=1))
    dual, above, below = np.zeros_like(steps), np.ones_like(steps), np.ones_like(steps)
    bands = np.full((2, n, length - 1), -1.0)
    # Zeros on the second diagonal keep the signals apart in one long system.
    bands[0, :, 0], bands[1] = 0.0, 2.0
    for _ in range(max_num_iter):
        to_high, to_low = 1 - dual, 1 + dual
        gap = np.sum(above * to_high + below * to_low, axis=1)
        product = 2 * dual
        product[:, 1:] -= dual[:, :-1]
        product[:, :-1] -= dual[:, 1:]
        residual = np.abs(product - steps + above - below).max(axis=1)
        if np.all((gap <= max_gap) & (residual <= max_residual)):
            break
        barrier = BARRIER_SHARE * gap[:, None] / (2 * (length - 1))
        system = bands.copy()
        system[1] += above / to_high + below / to_low
        right = steps - product - barrier / to_high + barrier / to_low
        # scipy refuses systems of one equation.
        if right.size == 1:
            change = right / system[1]
        else:
            change = solveh_banded(
                system.reshape(2, -1), right.ravel(), overwrite_ab=True, check_finite=False
            ).reshape(n, -1)
        change_above = barrier / to_high - above + above / to_high * change
        change_below = barrier / to_low - below - below / to_low * change
        sides = ((to_high, -change), (to_low, change), (above, change_above), (below, change_below))
        share = np.minimum(1.0, STEP_SHARE * np.min([_room(*side) for side in sides], axis=0))[:, None]
        dual += share * change
        above += share * change_above
        below += share * change_below
    clean = noisy
    clean[:, :-1] += dual
    clean[:, 1:] -= dual
    denoised: Signals = clean * unit + offsets
    return denoised


def _room(values: Signals, changes: Signals) -> Signals:
    """Return the share of the changes at which the first value of each row gets to 0."""
    shares = np.full(values.shape, np.inf)
    np.divide(-values, changes, out=shares, where=changes < 0)
    room: Signals = shares.min(axis=1)
    return room


def shrink_wavelets(signals: Signals, sigmas: Signals, wavelet: Any, pywt: Any) -> Signals:
    """Return signals with shrunk wavelet coefficients, averaged over shifts.

    Without the mean over shifts of the grid, artefacts beside steps depend on their place in it (Coifman and
    Donoho, 1995).

    Parameters
    ----------
    signals : ndarray of shape (n, length)
        Noisy signals.
    sigmas : ndarray of shape (n,)
        Noise levels to remove.
    wavelet : str
        Name of an orthogonal wavelet.
    pywt : module
        PyWavelets.
    """
    length = signals.shape[1]
    # Signals gain by all levels, also by those in which all coefficients are at an end.
    n_levels = int(math.log2(length / MIN_COARSE)) if length >= 2 * MIN_COARSE else 0
    if not n_levels:
        return signals.copy()
    powers, total = np.square(sigmas)[:, None], np.zeros_like(signals)
    for shift in range(N_SHIFTS):
        padded = np.pad(signals, ((0, 0), (shift, 0)), mode="symmetric")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Level value of", UserWarning)
            mean, *details = pywt.wavedec(padded, wavelet, level=n_levels, axis=1)
        shrunk = [mean]
        for detail in details:
            clean_powers = np.maximum(np.square(detail).mean(axis=1, keepdims=True) - powers, 0.0)
            # A level without any signal has an infinite threshold.
            with np.errstate(divide="ignore"):
                thresholds = powers / np.sqrt(clean_powers)
            shrunk.append(np.sign(detail) * np.maximum(np.abs(detail) - thresholds, 0.0))
        total += pywt.waverec(shrunk, wavelet, axis=1)[:, shift : shift + length]
    return total / N_SHIFTS


def average_similar_entries(
    signals: Signals, sigmas: Signals, strength: float, patch_size: int, patch_distance: int
) -> Signals:
    """Return the means of entries with similar surroundings, by non-local means.

    Parameters
    ----------
    signals : ndarray of shape (n, length)
        Noisy signals.
    sigmas : ndarray of shape (n,)
        Noise levels.
    strength : float
        Tolerated difference of surroundings in ``sigmas``.
    patch_size : int
        Length of the surroundings; odd.
    patch_distance : int
        Largest distance of the entries to average.
    """
    length, radius = signals.shape[1], patch_size // 2
    unit = sigmas[:, None]
    # Around the mean and in units of the noise, sums of squares keep their digits.
    offsets = signals.mean(axis=1, keepdims=True)
    scaled = (signals - offsets) / unit
    padded = np.pad(scaled, ((0, 0), (radius, radius)), mode="symmetric")
    total, weights = scaled.copy(), np.ones_like(scaled)
    for distance in range(1, min(patch_distance, length - 1) + 1):
        squares = np.square(padded[:, distance:] - padded[:, :-distance])
        sums = np.cumsum(np.pad(squares, ((0, 0), (1, 0))), axis=1)
        means = (sums[:, patch_size:] - sums[:, :-patch_size]) / patch_size
        # Noise alone has a mean squared difference of 2.
        weight = np.exp(-np.maximum(means - 2.0, 0.0) / strength**2)
        count = length - distance
        total[:, :count] += weight * scaled[:, distance:]
        total[:, distance:] += weight * scaled[:, :count]
        weights[:, :count] += weight
        weights[:, distance:] += weight
    denoised: Signals = total / weights * unit + offsets
    return denoised
