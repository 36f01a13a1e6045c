"""The quality of denoised data, estimated without the truth."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from sk_denoise._compat import to_array_type_of, to_numpy
from sk_denoise._intensity import IntensityRange, has_image_depth
from sk_denoise._noise_level import estimate_scale_levels
from sk_denoise._noise_model import NoiseModel, resolve_noise_model
from sk_denoise._random import root_seed
from sk_denoise._row_noise import estimate_row_noise
from sk_denoise._signal_dependent import fit_signal_dependence
from sk_denoise._validation import (
    as_image_array,
    check_integer,
    check_numbers,
    find_noisers,
    restore_container,
)
from sk_denoise.metrics._metrics import PSNR_CAP, check_data_range, psnr_of_mse
from sk_denoise.metrics._scorers import invert_earlier_steps, takes_images

__all__ = [
    "Divergence",
    "FEW_COUNTS",
    "KnownNoise",
    "NoisyData",
    "QualityEstimate",
    "Risk",
    "check_known_noise",
    "correct_for_counts",
    "denoise_parts",
    "estimate_quality",
    "estimate_risk",
    "level_error",
    "measure_divergence",
    "noisy_data_range",
    "refuse_added_noise",
    "resolve_known_noise",
]

# Share of entries at the smallest or the largest number from which data count as clipped.
MAX_CLIPPED = 0.01
# Ratio of the noise levels at two pixels and at one from which the noise may be correlated.
CORRELATED = 1.6
# Error of an estimated noise level of an image: a share of the range from black to white, and a share of the
# level. The first one comes from texture.
LEVEL_ERROR, RELATIVE_LEVEL_ERROR = 0.4 / 255, 0.01
# Relative error of the estimated level of rows.
ROW_LEVEL_ERROR = 0.04
# Relative error of the estimated variance of counts.
COUNTS_ERROR = 0.05
# Deviations below 0 from which an estimated squared error has another cause than chance.
MAX_DEVIATIONS = 3.0
# Variance of rounding to integers.
ROUNDING = 1 / 12


@dataclass(frozen=True)
class QualityEstimate:
    """Expected quality of denoised data, without the truth.

    :func:`estimate_quality` returns one. ``print`` describes it in words.

    Attributes
    ----------
    psnr : float
        Expected PSNR of the denoised data in dB: that of the mean squared error over all entries.
    interval : tuple of float
        Lower and upper end of the interval of the PSNR, in dB. An upper end of 100 means that the error is
        too small to be told from 0.
    mse : float
        Expected mean squared error, in the squared unit of the data. An unbiased estimate may be below 0.
    noisy_psnr : float
        Expected PSNR of the noisy data in dB.
    data_range : float
        Data range of both PSNR.
    confidence : float
        Probability that the interval holds the true PSNR.
    n : int
        Number of entries.

    Examples
    --------
    >>> from sk_denoise.metrics import QualityEstimate
    >>> print(QualityEstimate(30.12, (29.9, 30.4), 0.00097, 20.0, 1.0, 0.9, 65536))
    30.1 dB (29.9 to 30.4 with 90 % confidence), 10.1 dB more than the noisy data
    """

    psnr: float
    interval: tuple[float, float]
    mse: float
    noisy_psnr: float
    data_range: float
    confidence: float
    n: int

    def __str__(self) -> str:
        low, high = self.interval
        reach = f"{low:.1f} to {high:.1f}" if high < PSNR_CAP else f"at least {low:.1f}"
        gain = self.psnr - self.noisy_psnr
        change = f"{abs(gain):.1f} dB {'more' if gain >= 0 else 'less'} than the noisy data"
        return f"{self.psnr:.1f} dB ({reach} with {100 * self.confidence:g} % confidence), {change}"


def estimate_quality(
    denoiser: Any,
    X_noisy: Any,
    *,
    noise: Any,
    data_range: float | None = None,
    n_probes: int = 4,
    confidence: float = 0.9,
    random_state: int | RandomState | None = 0,
) -> QualityEstimate:
    """Estimate the PSNR of denoised data from the noisy data alone.

    For known independent noise, the mean squared error follows from the distance of the prediction to the
    noisy data and from the reaction of the prediction to small changes (Stein's unbiased risk estimate,
    SURE). The truth is not needed.

    Parameters
    ----------
    denoiser : estimator or callable
        Fitted estimator of this or of another library, a pipeline, a search, or a function that returns the
        denoised array for a noisy one. Estimators predict, or transform and transform back, as PCA does.
    X_noisy : array-like of shape (n_samples, ...) or list of array-like
        Noisy data that were **not** used in the fit: rows, a stack of images, a list of images, or any array
        for a function. Integers count as rounded.
    noise : float, array-like, NoiseModel, noiser or "auto"
        The noise in ``X_noisy``: a standard deviation in its unit, or one for each column or channel; a model
        of :func:`~sk_denoise.restoration.estimate_noise`; or a noiser such as
        ``PoissonNoiser(30, white=1.0)``. "auto" estimates white noise of images and rows, and noise of
        counts of images, and widens the interval.
    data_range : float, optional
        Data range of the PSNR. By default ``data_range_`` of the denoiser; else black to white of images, and
        the range of the denoised data otherwise.
    n_probes : int, default=4
        Number of random directions of the derivative. One is enough for large images.
    confidence : float, default=0.9
        Probability that the interval holds the PSNR of these data, between 0 and 1.
    random_state : int, RandomState or None, default=0
        Seed of the random directions.

    Returns
    -------
    QualityEstimate
        PSNR in dB with an interval, and the PSNR of the noisy data. ``print`` describes it.

    Raises
    ------
    ValueError
        If the noise is correlated, absent or cannot be estimated; if more than one percent of the numbers are
        clipped at black or white; if the denoiser rounds; if the estimated error is below 0 by more than
        chance; or if a parameter is not valid.

    See Also
    --------
    make_self_supervised_scorer : The same for searches.
    psnr : PSNR with the truth.

    Notes
    -----
    With noise variances ``v`` and a denoiser ``f``, the estimate of the squared error is
    ``|f(y) - y|**2 - sum(v) + 2 * sum(v * df/dy)``. The last sum comes from random probes: by forward
    derivatives for the networks of this library, and by central differences for everything else. Two steps
    are compared; a denoiser that depends on the step gets a wider interval or an error. For counts,
    ``v = gain * y + read_noise**2``, and for few counts the steps are whole counts, which is exact.

    The interval is that of the error of *these* data, not of others: it comes from the unbiased estimate of
    the squared difference of estimate and truth (Bellec and Zhang), from the spread of the probes, and from
    the error of an estimated level. It is wide where the remaining error is a small part of the noise: for
    256 x 256 pixels at a twentieth of the noise variance about 0.8 dB to either side, four times less for a
    list of 16 such images.

    The noise must be Gaussian, or that of counts, and independent between entries. A denoiser in half
    precision rounds small changes: in a function, pass ``precision="float32"`` to
    :func:`~sk_denoise.restoration.denoise_image`.

    **A denoiser that was fitted to these very numbers looks too good**, since its parameters react to the
    noise too: PCA by 0.4 to 1.3 dB, networks by several dB, until the estimate is refused. Hold out rows or
    images. For methods that are fast to fit, you may pass a function that fits and predicts, such as
    ``lambda X: clone(denoiser).fit(X).predict(X)``: then the derivative includes the fit.

    References
    ----------
    C. Stein, "Estimation of the mean of a multivariate normal distribution", Annals of Statistics 9 (1981);
    S. Ramani, T. Blu and M. Unser, "Monte-Carlo SURE", IEEE Transactions on Image Processing 17 (2008);
    Y. Le Montagner, E. D. Angelini and J.-C. Olivo-Marin, "An unbiased risk estimator for image denoising in
    the presence of mixed Poisson-Gaussian noise", IEEE Transactions on Image Processing 23 (2014);
    P. C. Bellec and C.-H. Zhang, "Second order Stein: SURE for SURE and other applications in
    high-dimensional inference", Annals of Statistics 49 (2021).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from sk_denoise import WienerDenoiser
    >>> from sk_denoise.metrics import estimate_quality, psnr_of_mse
    >>> X = load_digits().data / 16
    >>> noisy = X + np.random.default_rng(0).normal(0, 0.25, X.shape)
    >>> wiener = WienerDenoiser(sigma=0.25).fit(X[:1000])
    >>> quality = estimate_quality(wiener, noisy[1000:], noise=0.25, data_range=1)
    >>> true_psnr = psnr_of_mse(np.mean((wiener.predict(noisy[1000:]) - X[1000:]) ** 2), 1)
    >>> bool(abs(quality.psnr - true_psnr) < 0.3)
    True
    """
    n_probes = check_integer(n_probes, "n_probes")
    if isinstance(confidence, bool) or not 0 < confidence < 1:
        raise ValueError(f"confidence must be a probability between 0 and 1, got {confidence!r}.")
    if data_range is not None:
        check_data_range(data_range)
    refuse_added_noise(denoiser)
    # Signals of several channels have a noise level for each, in the last axis.
    convert = getattr(denoiser, "_convert_to_images", None)
    data = NoisyData.of(X_noisy if convert is None else convert(X_noisy), denoiser)
    known = resolve_known_noise(noise, data)
    rng = np.random.default_rng(root_seed(random_state))
    prediction = denoise_parts(denoiser, data)
    risk = estimate_risk(denoiser, data, prediction, known, n_probes=n_probes, rng=rng)
    if data_range is None:
        data_range = _default_range(denoiser, data, prediction, known)
    return risk.describe(float(data_range), float(confidence))


# The noise ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class KnownNoise:
    """Noise in data, with the uncertainty of its level.

    Attributes
    ----------
    model : NoiseModel
        White noise, or noise of counts.
    error : float
        Relative error of the variance; 0 for noise that the user gave.
    """

    model: NoiseModel
    error: float = 0.0

    @property
    def gain(self) -> float:
        """Gain of noise of counts; 0 for white noise."""
        return self.model.gain if self.model.kind == "counts" else 0.0

    def variances(self, data: NoisyData) -> Parts:
        """Return the noise variance of each entry."""
        parts = []
        for part, given in zip(data.parts, data.like if data.is_list else [data.like], strict=True):
            if self.gain:
                # The expectation of the line is the variance. Negative numbers of it must stay.
                variance = self.model.gain * (part - self.model.offset) + self.model.read_noise**2
            else:
                variance = np.array(self.model.variance(part))
                is_rounded = getattr(np.asarray(to_numpy(given)), "dtype", part.dtype).kind in "iu"
                variance += ROUNDING if is_rounded else 0.0
            parts.append(variance)
        return parts


def resolve_known_noise(noise: Any, data: NoisyData) -> KnownNoise:
    """Return the noise of a parameter, or refuse noise without an estimate.

    Raises
    ------
    ValueError
        If the noise is correlated, absent or clipped, or cannot be estimated.
    """
    if isinstance(noise, str):
        if noise != "auto":
            raise ValueError(
                f'noise must be "auto", a standard deviation, a NoiseModel or a noiser, got {noise!r}.'
            )
        known = _estimate_noise(data)
    elif noise is None:
        raise ValueError("noise must be the noise in the data, such as its standard deviation, got None.")
    else:
        sample = data.parts[0][None] if data.is_list or data.parts[0].ndim == 1 else data.parts[0]
        known = KnownNoise(resolve_noise_model(noise, sample))
    check_known_noise(known.model, data)
    return known


def check_known_noise(model: NoiseModel, data: NoisyData) -> None:
    """Raise an error for correlated, absent or clipped noise."""
    if model.kind == "camera":
        raise ValueError(
            f"The noise is correlated, {model}. The error cannot be estimated without the truth, since the "
            "prediction of an entry uses noise of its neighbours. Compare with a second measurement instead."
        )
    if model.kind == "none":
        raise ValueError("There is no visible noise in the data, so there is no error of noise to estimate.")
    _refuse_clipped(data, model)


def _refuse_clipped(data: NoisyData, model: NoiseModel) -> None:
    """Raise an error for data with many entries at black or white."""
    low = min(float(part.min()) for part in data.parts)
    high = max(float(part.max()) for part in data.parts)
    at_low, at_high = (sum(int((part == x).sum()) for part in data.parts) / data.size for x in (low, high))
    # Counts of 0 are noise, not clipped.
    is_at_offset = model.kind == "counts" and low <= model.offset
    for share, number in ((0.0 if is_at_offset else at_low, low), (at_high, high)):
        if share > MAX_CLIPPED and data.size > 2 / MAX_CLIPPED:
            raise ValueError(
                f"{100 * share:.1f} % of the noisy numbers are {number:.4g}: they are clipped, or parts "
                "without noise such as a frame. Their noise is weaker than the other noise, so the error "
                "cannot be estimated. Cut them off, or pass data that are not clipped."
            )


def _estimate_noise(data: NoisyData) -> KnownNoise:
    """Estimate white noise or noise of counts of images, or refuse."""
    if not data.is_list and data.parts[0].ndim < 3:
        return _estimate_row_noise(data.parts[0])
    images = [x for part in data.parts for x in (part[None] if data.is_list else part)]
    colors = [np.moveaxis(image, -1, 0) if image.ndim == 3 else image[None] for image in images]
    planes = [plane for image in colors for plane in image]
    levels = np.array([estimate_scale_levels(plane[None], scales=(1, 2))[0] for plane in planes])
    fine, coarse = (math.sqrt(float(np.nanmean(np.square(column)))) for column in levels.T)
    if fine == 0:
        return KnownNoise(NoiseModel("none", 0.0))
    if coarse > CORRELATED * fine:
        raise ValueError(
            f"The noise level of the images is {fine:.3g} at one pixel and {coarse:.3g} at two: the noise is "
            "correlated, or weaker than the texture. Pass noise=, such as the standard deviation."
        )
    fit = fit_signal_dependence(planes)
    if fit.is_significant:
        model = NoiseModel("counts", fit.sigma, gain=fit.gain, read_noise=fit.read_noise, offset=fit.offset)
    else:
        model = NoiseModel("white", fine, intensity_range=IntensityRange.of(images[0], fine))
    return KnownNoise(model, level_error(model))


def level_error(model: NoiseModel) -> float:
    """Return the relative error of an estimated noise variance of images."""
    if model.kind == "counts":
        return COUNTS_ERROR
    return 2 * math.hypot(
        LEVEL_ERROR * model.intensity_range.span / max(model.sigma, 1e-300), RELATIVE_LEVEL_ERROR
    )


def _estimate_row_noise(rows: NDArray[np.float64]) -> KnownNoise:
    """Estimate white noise of rows, or refuse."""
    if rows.ndim < 2:
        raise ValueError('noise="auto" is for images and rows. Pass the standard deviation.')
    return KnownNoise(resolve_noise_model(estimate_row_noise(rows), rows), 2 * ROW_LEVEL_ERROR)


# The error ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Risk:
    """Unbiased estimate of a mean squared error.

    Attributes
    ----------
    mse : float
        Estimate, which may be below 0.
    error : float
        Standard deviation of the difference from the true error.
    noise_power : float
        Mean noise variance.
    n : int
        Number of entries.
    """

    mse: float
    error: float
    noise_power: float
    n: int

    def describe(self, data_range: float, confidence: float) -> QualityEstimate:
        """Return the estimate in decibels."""
        if self.mse < -MAX_DEVIATIONS * self.error:
            raise ValueError(
                f"The estimated squared error is {self.mse:.3g}, below 0 by more than chance: the denoiser "
                "was fitted to these very numbers, or the noise is weaker than "
                f"{math.sqrt(self.noise_power):.3g}. Pass data that the fit has not seen."
            )
        reach = float(norm.ppf(0.5 + confidence / 2)) * self.error
        # The true error is not below 0.
        ends = max(self.mse, 0.0) + reach, self.mse - reach
        low, high = (float(psnr_of_mse(max(end, 0.0), data_range)) for end in ends)
        psnr = self.to_psnr(data_range)
        return QualityEstimate(
            psnr=psnr,
            interval=(min(low, psnr), max(high, psnr)),
            mse=self.mse,
            noisy_psnr=float(psnr_of_mse(self.noise_power, data_range)),
            data_range=data_range,
            confidence=confidence,
            n=self.n,
        )

    def to_psnr(self, data_range: float) -> float:
        """Return the PSNR in dB, finite also for estimates of 0 and less."""
        mse = self.mse
        if self.error > 0 and mse < self.error:
            # A logarithm of numbers around 0 would leave the winner of a search to chance.
            mse = self.error * math.exp(max(mse / self.error - 1, -PSNR_CAP))
        return float(psnr_of_mse(max(mse, 0.0), data_range))


def estimate_risk(
    denoiser: Any,
    data: NoisyData,
    prediction: Parts,
    known: KnownNoise,
    *,
    n_probes: int,
    rng: np.random.Generator,
    check_steps: bool = True,
    valid: list[NDArray[np.bool_]] | None = None,
    gains: NDArray[np.float64] | None = None,
) -> Risk:
    """Return the unbiased estimate of the mean squared error of a prediction.

    Parameters
    ----------
    denoiser, data, prediction, n_probes, rng, check_steps
        As for :func:`measure_divergence`.
    known : KnownNoise
        Noise in the data.
    valid : list of ndarray of bool, optional
        Entries that count. By default all.
    gains : ndarray of shape (n_features,), optional
        Factors of the errors of columns, for noise without counts.
    """
    residuals = [f - y for f, y in zip(prediction, data.parts, strict=True)]
    masks = [np.ones(part.shape, bool) for part in data.parts] if valid is None else valid
    n = sum(int(mask.sum()) for mask in masks)
    # Entries without variance and residual change nothing.
    variances, residuals = (
        [np.where(mask, x, 0.0) for x, mask in zip(parts, masks, strict=True)]
        for parts in (known.variances(data), residuals)
    )
    if gains is None:
        divergence = _divergence_of(
            denoiser, data, known, prediction, variances, masks, n_probes, rng, check_steps
        )
    else:
        divergence = measure_divergence(
            denoiser, data, variances, n_probes=n_probes, rng=rng, check_steps=check_steps, gains=gains
        )
        variances, residuals = [v * gains**2 for v in variances], [r * gains for r in residuals]
    power = sum(float(v.sum()) for v in variances)
    distance = sum(float(np.square(r).sum()) for r in residuals)
    mse = (distance - power + 2 * divergence.trace) / n
    # Variances at single noisy counts vary, and they are correlated with the residuals.
    smooth = variances
    if known.gain:
        smooth = [
            np.where(mask, known.model.variance(f), 0.0) for f, mask in zip(prediction, masks, strict=True)
        ]
    spread = _squared_error_of_estimate(residuals, smooth, divergence)
    # An error of the level scales all variances alike.
    level = known.error * (2 * divergence.trace - power)
    error = math.sqrt(spread + 4 * divergence.variance + level**2) / n
    return Risk(mse, error, power / n, n)


def _divergence_of(
    denoiser: Any,
    data: NoisyData,
    known: KnownNoise,
    prediction: Parts,
    variances: Parts,
    valid: list[NDArray[np.bool_]],
    n_probes: int,
    rng: np.random.Generator,
    check_steps: bool,
) -> Divergence:
    """Return the divergence for noise with the given variance of each entry."""
    mean_variance = sum(float(v.sum()) for v in variances) / sum(int(mask.sum()) for mask in valid)
    divergence = measure_divergence(
        denoiser, data, variances, n_probes=n_probes, rng=rng, check_steps=check_steps
    )
    if not known.gain or mean_variance > FEW_COUNTS * known.gain**2:
        return divergence
    photons = [
        np.where(mask, part - known.model.offset, 0.0) for part, mask in zip(data.parts, valid, strict=True)
    ]
    trace, variance = correct_for_counts(
        denoiser, data, prediction, photons, known.gain, n_probes=-(-n_probes // 2), rng=rng
    )
    return Divergence(divergence.trace + trace, divergence.square, divergence.variance + variance)


def _squared_error_of_estimate(residuals: Parts, variances: Parts, divergence: Divergence) -> float:
    """Return the expected square of the error of the estimated squared error."""
    total = 4 * divergence.square
    floor = 0.0
    for residual, variance in zip(residuals, variances, strict=True):
        total += float((4 * variance * np.square(residual) - 2 * np.square(variance)).sum())
        floor += float((variance * np.square(residual)).sum())
    # The estimate is unbiased, and not bounded below.
    return max(total, floor)


# The data range -----------------------------------------------------------------------------------------


def noisy_data_range(data: NoisyData, sigma: float | None = None) -> float:
    """Return the data range of noisy data, the same for every denoiser."""
    given = data.like[0] if data.is_list else data.like
    array = np.asarray(to_numpy(as_image_array(given)))
    # Signals in a list are images of height 1, in any unit.
    are_signals = data.is_list and all(part.shape[0] == 1 for part in data.parts)
    if (data.is_list and not are_signals) or array.ndim > 2 or has_image_depth(array.dtype):
        return IntensityRange.of(array, sigma).span
    values = np.concatenate([part.ravel() for part in data.parts])
    low, high = (float(end) for end in np.quantile(values, (0.001, 0.999)))
    return high - low if high > low else 1.0


def _default_range(denoiser: Any, data: NoisyData, prediction: Parts, known: KnownNoise) -> float:
    """Return the data range of a denoiser, else that of images or of the prediction."""
    estimator = getattr(denoiser, "best_estimator_", denoiser)
    learned = getattr(estimator, "data_range_", None)
    has_one_unit = not takes_images(estimator) or getattr(estimator, "_has_channel_units", False)
    if learned is not None and has_one_unit:
        return float(learned)
    given = data.like[0] if data.is_list else data.like
    array = np.asarray(to_numpy(as_image_array(given)))
    if data.is_list or array.ndim > 2 or has_image_depth(array.dtype):
        return IntensityRange.of(array, known.model.sigma).span
    low, high = min(float(x.min()) for x in prediction), max(float(x.max()) for x in prediction)
    return high - low if high > low else 1.0


# Steps of finite differences in noise standard deviations. The small one is more accurate; the large one is
# for filters that jump. Their jumps count, and a small step rarely meets one.
SMALL_STEP, LARGE_STEP = 0.025, 0.1
# Ratio of the squared derivatives of both steps from which a denoiser jumps.
JUMPS = 2.0
# Step that tells a constant function from one that rounds its input.
VISIBLE_STEP = 2.0
# Difference of the two steps, as a share of the noise variance, from which a denoiser is refused.
MAX_DISAGREEMENT = 0.1
# Relative error of single precision, with that of the sums in a denoiser.
SINGLE_ERROR = 1e-5
# Mean variance in squared gains up to which noise of counts needs steps of one count, and the share of the
# entries that lose or gain one at a time: more of them would influence each other.
FEW_COUNTS, SPARSE = 50.0, 0.02
# Small step for counts, as a part of one.
PART_OF_COUNT = 0.25

# One array for rows and stacks, one for each image of a list.
Parts = list[NDArray[np.float64]]
Denoise = Callable[[Parts], Parts]


@dataclass(frozen=True)
class NoisyData:
    """Noisy data as arrays of floats, and the way back to the container of the user.

    Attributes
    ----------
    parts : list of ndarray
        One array for rows and stacks, one for each image of a list.
    like : object
        Data of the user.
    is_list : bool
        Whether the data are a list of images.
    """

    parts: Parts
    like: Any
    is_list: bool

    @classmethod
    def of(cls, X: Any, denoiser: Any = None, name: str = "X_noisy") -> NoisyData:
        """Check noisy data, and convert them to floats."""
        is_list = isinstance(X, list | tuple) and any(hasattr(x, "ndim") and x.ndim > 1 for x in X)
        if is_list:
            return cls([_as_floats(as_image_array(x), f"{name}[{i}]") for i, x in enumerate(X)], X, True)
        if getattr(X, "ndim", 0) == 4 and takes_images(denoiser):
            # Stacks of tensors have their channels first.
            X = as_image_array(X)
        return cls([_as_floats(to_numpy(X), name)], X, False)

    @property
    def size(self) -> int:
        """Number of entries."""
        return sum(part.size for part in self.parts)

    @cached_property
    def is_single(self) -> bool:
        """Whether the data of the user are in single precision, or short integers."""
        items = self.like if self.is_list else [self.like]
        dtypes = [getattr(to_numpy(as_image_array(item)), "dtype", None) for item in items]
        return all(isinstance(d, np.dtype) and (d == np.float32 or has_image_depth(d)) for d in dtypes)

    def restore(self, parts: Parts) -> Any:
        """Return arrays in the container of the user."""
        if self.is_list:
            return parts
        return to_array_type_of(self.like, restore_container(parts[0], self.like))


def _as_floats(X: ArrayLike, name: str) -> NDArray[np.float64]:
    return check_numbers(X, name).astype(np.float64)


def refuse_added_noise(estimator: Any) -> None:
    """Raise an error for an estimator that adds noise when it predicts."""
    for held in find_noisers(getattr(estimator, "best_estimator_", estimator)):
        if getattr(held, "apply", "fit") == "always":
            raise ValueError(
                f"The estimator holds {held!r}, which adds noise to data that are noisy already. Give it "
                'apply="fit".'
            )


def denoise_parts(denoiser: Any, data: NoisyData, parts: Parts | None = None) -> Parts:
    """Return the prediction of a denoiser in the unit of its input.

    Parameters
    ----------
    denoiser : estimator or callable
        Fitted estimator with ``predict``, or with ``transform`` and ``inverse_transform``; a pipeline or a
        search of them; or a function of an array.
    data : NoisyData
        Noisy data.
    parts : list of ndarray, optional
        Other numbers of the same shapes, in place of those of the user.

    Raises
    ------
    ValueError
        If the prediction has another shape.
    """
    # Integers of the user keep their type, since some denoisers take their range from it.
    given = data.like if parts is None else data.restore(parts)
    if data.is_list and not isinstance(given, list):
        given = list(given)
    prediction = _predict(denoiser, given)
    outputs = list(prediction) if data.is_list else [prediction]
    arrays = [np.asarray(to_numpy(as_image_array(output)), np.float64) for output in outputs]
    expected = [part.shape for part in data.parts]
    if [array.shape for array in arrays] != expected:
        raise ValueError(
            f"The denoiser returned the shape {arrays[0].shape} for the shape {expected[0]}. Pass a denoiser "
            "that returns denoised data, such as DenoisingAutoencoder, PCA, a pipeline or a function."
        )
    if not all(np.isfinite(array).all() for array in arrays):
        raise ValueError("The denoiser returned numbers that are not finite.")
    return arrays


def _predict(denoiser: Any, X: Any) -> Any:
    if not hasattr(denoiser, "fit"):
        if not callable(denoiser):
            raise TypeError(
                "denoiser must be a fitted estimator, a pipeline or a function of an array, got "
                f"{denoiser!r}."
            )
        return denoiser(X)
    estimator = getattr(denoiser, "best_estimator_", denoiser)
    last = _last_step(estimator)
    if hasattr(last, "predict") and hasattr(estimator, "predict"):
        return invert_earlier_steps(estimator, estimator.predict(X))
    if not hasattr(estimator, "transform"):
        raise TypeError(f"{type(last).__name__} has neither predict nor transform, so it denoises nothing.")
    if hasattr(estimator, "inverse_transform"):
        # PCA and its kin project, and return to the space of the data.
        return restore_container(np.asarray(to_numpy(estimator.inverse_transform(estimator.transform(X)))), X)
    return estimator.transform(X)


def _last_step(estimator: Any) -> Any:
    return _last_step(estimator[-1]) if isinstance(estimator, Pipeline) else estimator


@dataclass(frozen=True)
class Divergence:
    """Divergence of a denoiser for noise of some variance.

    ``A`` is the Jacobian, with rows and columns multiplied by the noise standard deviations.

    Attributes
    ----------
    trace : float
        Sum of the covariances of noise and prediction, the trace of A.
    square : float
        Sum of the squared entries of A, a bound of the trace of its square.
    variance : float
        Variance of the trace, because of random probes and of the step of finite differences.
    """

    trace: float
    square: float
    variance: float


def measure_divergence(
    denoiser: Any,
    data: NoisyData,
    variances: Parts,
    *,
    n_probes: int,
    rng: np.random.Generator,
    check_steps: bool = True,
    gains: NDArray[np.float64] | float = 1.0,
) -> Divergence:
    """Measure the divergence of a denoiser by random probes.

    Parameters
    ----------
    denoiser, data
        As for :func:`denoise_parts`.
    variances : list of ndarray
        Noise variance of each entry.
    n_probes : int
        Number of probes.
    rng : Generator
        Source of randomness.
    check_steps : bool, default=True
        Whether to compare two steps of finite differences.
    gains : ndarray of shape (n_features,), optional
        Factors of the errors of columns.

    Raises
    ------
    ValueError
        If the result depends on the step of finite differences.
    """
    # The estimated variance of a few counts may be negative, since read noise is.
    sigmas = [np.sqrt(np.abs(variance)) for variance in variances]
    differentiate = _forward_derivative(denoiser, data)
    step, doubt = SMALL_STEP, 0.0
    products: list[Parts] = []
    square = 0.0
    for number in range(n_probes):
        signs = [_draw_signs(part.shape, rng) for part in data.parts]
        slopes = None
        if differentiate is not None:
            try:
                slopes = differentiate([s * b for s, b in zip(sigmas, signs, strict=True)])
            # Modules of users may have operations without forward derivatives.
            except (NotImplementedError, RuntimeError):
                differentiate = None
        if slopes is None:
            slopes = _finite_differences(denoiser, data, sigmas, signs, step)
            if number == 0 and check_steps:
                large = _finite_differences(denoiser, data, sigmas, signs, LARGE_STEP)
                choice = _compare_steps(slopes, large, [gains**2 * s for s in sigmas], signs)
                _refuse_rounding(denoiser, data, sigmas, signs, slopes)
                doubt = choice.doubt
                if choice.jumps:
                    step, slopes = LARGE_STEP, large
        weighted = [gains**2 * s * slope for s, slope in zip(sigmas, slopes, strict=True)]
        square += sum(float(np.square(w).sum()) for w in weighted) / n_probes
        terms = [np.sign(v) * b * w for v, b, w in zip(variances, signs, weighted, strict=True)]
        products.append(terms)
    power = sum(float((gains**2 * variance).sum()) for variance in variances)
    if 2 * doubt > MAX_DISAGREEMENT * power:
        raise ValueError(
            "The derivative of the denoiser depends on the step of the finite differences: it rounds, or "
            "draws random numbers. Pass floats, fix its random_state, or take another denoiser."
        )
    totals = [sum(float(term.sum()) for term in terms) for terms in products]
    # Twice the sum of the variances of the entries bounds the variance of their sum, since A[i, j] and
    # A[j, i] use the same two signs. A single probe has no variance: its bound is the sum of squares.
    if n_probes > 1:
        spread = sum(float(np.var(each, axis=0, ddof=1).sum()) for each in zip(*products, strict=True))
    else:
        spread = square
    return Divergence(float(np.mean(totals)), square, 2 * spread / n_probes + doubt**2)


def correct_for_counts(
    denoiser: Any,
    data: NoisyData,
    prediction: Parts,
    photons: Parts,
    gain: float,
    *,
    n_probes: int,
    rng: np.random.Generator,
) -> tuple[float, float]:
    """Return the correction of the trace for steps of one count, and its variance.

    For counts y with gain g, the expectation of noise times prediction is that of
    ``y * (f(y) - f(y - g))``, with one entry less by g at a time: exact also where the denoiser bends within
    one count. The difference from the derivative is 0 for linear denoisers, so that few entries are enough.

    Parameters
    ----------
    denoiser, data, n_probes, rng
        As for :func:`measure_divergence`.
    prediction : list of ndarray
        Prediction of the denoiser.
    photons : list of ndarray
        Number of photons times the gain of each entry; 0 for entries that do not count.
    gain : float
        Value of one count.
    """
    trace = variance = 0.0

    def shifted(steps: Parts, factor: float) -> Parts:
        return _denoise_quietly(
            denoiser, data, [x + factor * h for x, h in zip(data.parts, steps, strict=True)]
        )

    for _ in range(n_probes):
        steps = [
            gain * _draw_signs(y.shape, rng) * ((rng.random(y.shape) < SPARSE) & (y != 0)) for y in photons
        ]
        outputs = [shifted(steps, factor) for factor in (1.0, -1.0, PART_OF_COUNT, -PART_OF_COUNT)]
        for step, y, f, *shifts in zip(steps, photons, prediction, *outputs, strict=True):
            above, below, slightly_above, slightly_below = shifts
            slope = (slightly_above - slightly_below) / (2 * PART_OF_COUNT)
            # An entry loses a count in one of the two directions.
            bend = np.where(step < 0, f - above + slope, f - below - slope)
            terms = np.where(step != 0, y * bend, 0.0) / SPARSE
            trace += float(terms.sum()) / n_probes
            variance += float(np.square(terms).sum()) / n_probes**2
    return trace, variance


def _draw_signs(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
    return np.where(rng.random(shape) < 0.5, -1.0, 1.0)


def _finite_differences(denoiser: Any, data: NoisyData, sigmas: Parts, signs: Parts, step: float) -> Parts:
    """Return the derivative along a direction, by central differences."""
    steps = [step * s * b for s, b in zip(sigmas, signs, strict=True)]
    dtype = _precision(data, sigmas, step)
    above, below = (
        _denoise_quietly(
            denoiser, data, [(x + sign * h).astype(dtype) for x, h in zip(data.parts, steps, strict=True)]
        )
        for sign in (1, -1)
    )
    return [(a - b) / (2 * step) for a, b in zip(above, below, strict=True)]


def _denoise_quietly(denoiser: Any, data: NoisyData, parts: Parts) -> Parts:
    # Warnings about these data came with the prediction.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return denoise_parts(denoiser, data, parts)


@dataclass(frozen=True)
class _StepChoice:
    """Comparison of two steps of finite differences.

    Attributes
    ----------
    jumps : bool
        Whether the denoiser jumps, as filters with thresholds do, so that the large step is the better one.
    doubt : float
        Possible error of the trace.
    """

    jumps: bool
    doubt: float


def _compare_steps(small: Parts, large: Parts, sigmas: Parts, signs: Parts) -> _StepChoice:
    """Compare the derivatives of a small and of a large step."""
    traces, squares = [], []
    for slopes in (small, large):
        weighted = [s * slope for s, slope in zip(sigmas, slopes, strict=True)]
        traces.append(sum(float((b * w).sum()) for b, w in zip(signs, weighted, strict=True)))
        squares.append(sum(float(np.square(w).sum()) for w in weighted))
    difference = abs(traces[0] - traces[1])
    if squares[0] > JUMPS * squares[1]:
        # Jumps are rare in a small step, and each counts much: their mean is right, with a large variance.
        return _StepChoice(True, max(0.0, difference - 2 * math.sqrt(2 * squares[0])))
    # The error of central differences grows with the square of the step, so that of the small one is smaller.
    is_smooth = JUMPS * squares[0] > squares[1]
    return _StepChoice(False, difference / 4 if is_smooth else difference)


def _precision(data: NoisyData, sigmas: Parts, step: float) -> type[np.floating[Any]]:
    """Return single precision for data in it, if it resolves the step; else double."""
    largest = max(float(np.abs(part).max()) for part in data.parts)
    smallest = min((float(sigma[sigma > 0].min()) for sigma in sigmas if (sigma > 0).any()), default=0.0)
    is_resolved = SINGLE_ERROR * largest < step * smallest
    return np.float32 if data.is_single and is_resolved else np.float64


def _refuse_rounding(denoiser: Any, data: NoisyData, sigmas: Parts, signs: Parts, slopes: Parts) -> None:
    """Raise an error for a denoiser that ignores small changes, but not large ones."""
    if any(slope.any() for slope in slopes):
        return
    large = _finite_differences(denoiser, data, sigmas, signs, VISIBLE_STEP)
    if any(slope.any() for slope in large):
        raise ValueError(
            "The denoiser ignores small changes, and not large ones: it rounds its input, or returns "
            "numbers that it has stored. Let it take floats, or take another denoiser."
        )


def _forward_derivative(denoiser: Any, data: NoisyData) -> Callable[[Parts], Parts] | None:
    """Return the derivative of a network estimator along a direction, None for others."""
    estimator = getattr(denoiser, "best_estimator_", denoiser)
    if not hasattr(estimator, "_differentiate") or isinstance(estimator, Pipeline):
        return None
    check_is_fitted(estimator)
    given = data.like

    def differentiate(directions: Parts) -> Parts:
        slopes = estimator._differentiate(given, directions if data.is_list else directions[0])
        parts = slopes if data.is_list else [slopes]
        return [np.asarray(part, np.float64) for part in parts]

    return differentiate
