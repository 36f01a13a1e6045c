"""Models of the noise in data, and splits of noisy data by them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import uniform_filter
from sklearn.base import clone

from sk_denoise._intensity import UNIT, IntensityRange
from sk_denoise._noise_level import estimate_scale_levels
from sk_denoise._schema import (
    NONNEGATIVE_NUMBER,
    NUMBER,
    Rule,
    is_number,
    is_numeric_array,
    one_of,
    optional,
    record,
)
from sk_denoise._signal_dependent import fit_signal_dependence
from sk_denoise._validation import FITTED_NOISER, Noiser, as_tensor, refuse_degradation, warn_user
from sk_denoise.exceptions import NoiseMismatchWarning

__all__ = [
    "MAP_WINDOW",
    "NoiseModel",
    "NoiseSplitter",
    "estimate_independent_noise",
    "measure_repeats",
    "warn_of_impossible_noise",
    "find_correlation",
    "resolve_noise_model",
]

KINDS = ("none", "white", "counts", "camera")
# Side in pixels of the mean that stands for the clean image in a map of levels.
MAP_WINDOW = 5
# Entries on which a noiser is measured.
MEASURED_ENTRIES = 2**22
# Share of the noise variance that a line of the intensity explains, from which the noise is that of counts.
SIGNIFICANT_SLOPE = 0.5
# Share of the entries that stay as they are, from which a noiser replaces single ones.
MAX_INTACT = 0.5
# Ratio of the levels of columns up to which they are one level, measured on some samples.
SAME_LEVEL = 1.25
# Images of which the noise is estimated.
MAX_ESTIMATED = 64
# Ratio of the levels at two pixels and at one from which the noise is correlated.
MAX_COARSE_RATIO = 1.6
# Ratio from which a warning names the correlation: white noise on photos has up to 1.2.
MAX_WARNED_RATIO = 1.4
# Relative difference of an estimated gain to the step of counts up to which the step is the gain.
SAME_GAIN = 0.25
# Quantile over the images, of which the smooth ones show the noise.
SMOOTH = 0.25
# Smallest side of images in which correlated noise is recognized.
MIN_CORRELATED_SIDE = 32
# Agreement of a fit from which noise that grows with the intensity is that of counts.
MIN_TRUST = 0.5
# Rows from which the variance of a column is known, and share of the noise variance that is impossible.
MIN_ROWS, IMPOSSIBLE_SHARE = 30, 0.5
# Ratio of the deviations of columns from which they have several units.
SEVERAL_UNITS = 30.0
# Distance to whole multiples of the gain up to which values are counts.
COUNT_TOLERANCE = 1e-3


@dataclass(frozen=True)
class NoiseModel:
    """Kind and level of the noise of images of one source.

    :func:`estimate_noise` returns one, and :func:`denoise_image` takes one. All numbers are in the unit of
    the images: grey levels for integers, and a share of the range for floats in [0, 1].

    Attributes
    ----------
    kind : {"none", "white", "counts", "camera"}
        No visible noise; white noise of one level; noise of counted photons or electrons, whose variance
        grows with the brightness; or noise that is correlated between neighbours, as a camera, JPEG or
        interpolation leaves it.
    sigma : float
        Standard deviation of the noise over the whole image.
    channel_sigmas : tuple of float
        Standard deviation of each channel of images, or of each column of a table, for more than one.
    gain, read_noise, offset : float
        For counts: the variance is ``gain * (value - offset) + read_noise**2``.
    levels : tuple of float
        Noise level at scales of 1, 2, 4 and 8 pixels: standard deviation of the means of squares of this
        side, times the side. It is the same at all scales for white noise.
    correlation_length : float
        Distance in pixels at which the correlation of the noise falls to a third; 0 for white noise.
    trust : float
        Agreement of independent estimates, from 0 to 1.
    intensity_range : IntensityRange
        Black and white of the images.
    points : ndarray of shape (n_points, 3) or None
        Mean, noise variance and weight of flat parts of the images, from dark to bright; None if the noise is
        correlated. :class:`~sk_denoise.plots.NoiseModelDisplay` draws them.
    shared : tuple of (str, tuple of float)
        Statistics that the parts of an image larger than memory share, such as its black and white, see
        :func:`denoise_zarr`. Empty for a model of single images. With them, :func:`denoise_image` returns for
        a part, read with its halo, the numbers of the whole image.

    Examples
    --------
    >>> from sk_denoise.restoration import NoiseModel
    >>> model = NoiseModel("counts", sigma=12.0, gain=1.5, read_noise=3.0)
    >>> print(model)
    counts: gain 1.5, read noise 3; about 12 on average
    """

    _fitted_schema: ClassVar[dict[str, Rule]] = {
        "kind": one_of(*KINDS),
        "sigma": NONNEGATIVE_NUMBER,
        "channel_sigmas": Rule(lambda v, _: _are_levels(v), "numbers of at least 0"),
        "gain": NONNEGATIVE_NUMBER,
        "read_noise": NONNEGATIVE_NUMBER,
        "offset": NUMBER,
        "levels": Rule(lambda v, _: _are_levels(v), "numbers of at least 0"),
        "correlation_length": NONNEGATIVE_NUMBER,
        "trust": NONNEGATIVE_NUMBER,
        "intensity_range": record(IntensityRange, "two numbers, black and white"),
        "points": optional(
            Rule(lambda v, _: is_numeric_array(v, (len(v), 3)), "means, variances and weights")
        ),
        "shared": Rule(lambda v, _: _are_statistics(v), "pairs of a name and numbers"),
    }
    kind: str
    sigma: float
    channel_sigmas: tuple[float, ...] = ()
    gain: float = 0.0
    read_noise: float = 0.0
    offset: float = 0.0
    levels: tuple[float, ...] = ()
    correlation_length: float = 0.0
    trust: float = 1.0
    intensity_range: IntensityRange = UNIT
    points: NDArray[np.float64] | None = field(default=None, compare=False, repr=False)
    shared: tuple[tuple[str, tuple[float, ...]], ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {self.kind!r}.")
        numbers = {"sigma": self.sigma, "gain": self.gain, "read_noise": self.read_noise}
        for name, number in numbers.items():
            if not (math.isfinite(number) and number >= 0):
                raise ValueError(f"{name} must be finite and at least 0, got {number!r}.")
        if self.kind == "counts" and self.gain == 0:
            raise ValueError("counts need a gain above 0.")

    def level_map(self, image: ArrayLike) -> NDArray[np.float64]:
        """Return the noise standard deviation of each pixel of an image.

        Parameters
        ----------
        image : array-like of shape (height, width) or (height, width, channels)
            Noisy image. Its local mean stands for the clean one.

        Returns
        -------
        ndarray of the shape of image
        """
        array = np.asarray(image, np.float64)
        if self.kind != "counts":
            return np.full(array.shape, self.sigma)
        window = (MAP_WINDOW, MAP_WINDOW, 1)[: array.ndim]
        light = np.maximum(uniform_filter(array, window) - self.offset, 0)
        deviations: NDArray[np.float64] = np.sqrt(self.gain * light + self.read_noise**2)
        return deviations

    def variance(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Return the noise variance at clean values.

        Parameters
        ----------
        values : ndarray of shape (...) or (..., n_channels)
            Clean values in the unit of the model; separate levels belong to the last axis.

        Returns
        -------
        ndarray of the shape of values
        """
        if self.kind == "counts":
            light = np.maximum(np.asarray(values, np.float64) - self.offset, 0)
            grown: NDArray[np.float64] = self.gain * light + self.read_noise**2
            return grown
        # Gray images of a source in colour have the overall level.
        has_levels = len(self.channel_sigmas) == np.shape(values)[-1]
        levels = np.asarray(self.channel_sigmas if has_levels else self.sigma, np.float64)
        return np.broadcast_to(levels**2, np.shape(values))

    def scaled(self, factor: float) -> NoiseModel:
        """Return the model of the same images multiplied by a factor."""
        black, white = self.intensity_range.black, self.intensity_range.white
        # Variances overflow before levels do.
        points = None
        if self.points is not None:
            with np.errstate(over="ignore"):
                points = np.column_stack(
                    [factor * self.points[:, 0], factor * (factor * self.points[:, 1]), self.points[:, 2]]
                )
        return replace(
            self,
            sigma=factor * self.sigma,
            channel_sigmas=tuple(factor * sigma for sigma in self.channel_sigmas),
            gain=factor * self.gain,
            read_noise=factor * self.read_noise,
            offset=factor * self.offset,
            levels=tuple(factor * level for level in self.levels),
            intensity_range=IntensityRange(factor * black, factor * white),
            points=points,
            # Black and white of a network's input are no multiples of those of the image.
            shared=(),
        )

    def __str__(self) -> str:
        if self.kind == "none":
            return "no visible noise"
        if self.kind == "counts":
            parts = [f"gain {self.gain:.3g}", f"read noise {self.read_noise:.3g}"]
            parts += [f"offset {self.offset:.3g}"] if self.offset else []
            return f"counts: {', '.join(parts)}; {self._in_words(self.sigma)} on average"
        if self.kind == "white":
            return f"white noise: {self._in_words(self.sigma)}"
        length = f", correlated over {self.correlation_length:.1f} pixels" if self.correlation_length else ""
        return f"noise of a camera or of compression: {self._in_words(self.sigma)}{length}"

    def _in_words(self, sigma: float) -> str:
        """Return a level in the unit of the image, and in grey levels of 255."""
        span = self.intensity_range.span
        # Grey levels of 255 are the unit of the command line and the app for all depths.
        common = f" ({255 * sigma / span:.1f} of 255)"
        if self.intensity_range == UNIT:
            return f"about {sigma:.3g}{common if sigma < 1 else ''}"
        number = f"{sigma:.0f}" if sigma >= 100 else f"{sigma:.3g}"
        white = f"{span:.0f}" if span >= 100 else f"{span:.3g}"
        return f"about {number} of {white}{common if span != 255 else ''}"


def _are_statistics(value: Any) -> bool:
    return type(value) is tuple and all(
        type(pair) is tuple
        and len(pair) == 2
        and isinstance(pair[0], str)
        and type(pair[1]) is tuple
        and all(is_number(number) for number in pair[1])
        for pair in value
    )


def _are_levels(value: Any) -> bool:
    return type(value) is tuple and all(is_number(level) and level >= 0 for level in value)


def resolve_noise_model(
    noise: Any, X: NDArray[Any], *, name: str = "noise", is_clean: bool = False
) -> NoiseModel:
    """Return a model of the noise in samples, from the parameter of an estimator.

    Parameters
    ----------
    noise : float, array-like, NoiseModel or noiser
        Standard deviation of the noise, one for all or one for each channel or column; a model; or a noiser,
        as it would have corrupted the clean samples.
    X : ndarray of shape (n_samples, ...)
        Noisy samples.
    name : str
        Name of the argument, for messages.
    is_clean : bool, default=False
        Whether X are clean samples, to which the noise is added.

    Raises
    ------
    ValueError
        If the noise is not positive, has another number of levels than X columns, or is a noiser with a range
        of strengths.
    """
    if isinstance(noise, NoiseModel):
        if noise.sigma == 0:
            raise ValueError(f'{name} is a NoiseModel of kind "{noise.kind}" without noise to remove.')
        return noise
    is_level = isinstance(noise, Real | tuple | list | np.ndarray)
    # To Python, a bool is a number.
    if is_level and not isinstance(noise, bool):
        return _model_of_levels(np.asarray(noise, np.float64), X, name)
    if not isinstance(noise, Noiser) or isinstance(noise, type):
        raise ValueError(
            f"{name} must be the noise that is in X: a standard deviation, one for each column, a NoiseModel "
            f"or a noiser. Got {noise!r}."
        )
    return _model_of_noiser(noise, X, name, is_clean)


def _model_of_levels(levels: NDArray[np.float64], X: NDArray[Any], name: str) -> NoiseModel:
    """Return white noise of one level, or of one for each channel or column."""
    n_levels = X.shape[-1] if X.ndim in (2, 4) else 1
    if levels.ndim > 1 or (levels.ndim == 1 and len(levels) != n_levels):
        raise ValueError(
            f"{name} must be one standard deviation, or one for each column or channel of X ({n_levels}), "
            f"got an array of shape {levels.shape}."
        )
    if not np.isfinite(levels).all() or (levels < 0).any() or not levels.any():
        raise ValueError(f"{name} must hold finite standard deviations above 0, got {levels.tolist()!r}.")
    sigma = math.sqrt(float(np.mean(levels**2)))
    return NoiseModel("white", sigma, channel_sigmas=tuple(levels.tolist()) if levels.ndim else ())


def _model_of_noiser(noiser: Noiser, X: NDArray[Any], name: str, is_clean: bool) -> NoiseModel:
    """Return the noise of a noiser that corrupted the clean side of samples."""
    refuse_degradation(noiser, f"{name}, the noise in samples,")
    strength: Any = getattr(noiser, "noise_factor", getattr(noiser, "peak", None))
    if isinstance(strength, tuple):
        raise ValueError(
            f"{name}={noiser!r} draws another strength for each sample. Pass the strength that is in X, one "
            'number, or "auto", which estimates it.'
        )
    if not is_clean and getattr(noiser, "white", None) == "auto":
        raise ValueError(
            f"{name}={noiser!r} would read white from noisy numbers, which reach beyond it. Pass white=, the "
            "value of the largest mean count, in the unit of X."
        )
    few = X[: max(1, MEASURED_ENTRIES // max(1, X[0].size))]
    noisy = few.astype(np.float64)
    fitted = clone(noiser).fit(noisy, noisy)
    residual = fitted.corrupt(as_tensor(noisy), torch.Generator().manual_seed(0)).numpy() - noisy
    columns = getattr(fitted, "columns_", None)
    columns = np.arange(residual.shape[-1]) if columns is None else columns
    factor: Any = 1.0
    if getattr(fitted, "scale", "absolute") == "std" and not is_clean:
        # Noise relative to the spread of clean data is weaker than that relative to the spread of noisy ones.
        factor = np.ones(residual.shape[-1])
        factor[columns] = 1 / np.sqrt(1 + np.asarray(strength, np.float64) ** 2)
    powers = np.square(factor * residual).reshape(-1, residual.shape[-1]).mean(0)
    sigma = math.sqrt(float(powers.mean()))
    if sigma == 0:
        raise ValueError(f"{name}={noiser!r} adds no noise to such data.")
    # Counts of 0 stay, and 37 % of the counts of 1.
    chosen = residual[..., columns]
    if np.mean(chosen[noisy[..., columns] != 0] == 0) > MAX_INTACT:
        raise ValueError(
            f"{name}={noiser!r} replaces some entries and keeps the others. Such noise cannot be split; take "
            "noise that is added to all entries, or noise of counts."
        )
    if _is_correlated(chosen):
        return NoiseModel("camera", sigma, correlation_length=1.0)
    # Additive noise has a unit, and does not depend on the intensity.
    counts = None if hasattr(fitted, "scale_") else _fit_counts(noisy, residual)
    if counts is not None:
        return counts
    exact = getattr(fitted, "_standard_deviation", None)
    levels = np.sqrt(powers) if exact is None else factor * np.asarray(exact)
    if levels.ndim == 1 and noisy.ndim in (2, 4) and levels.max() > SAME_LEVEL * levels.min():
        return NoiseModel("white", sigma, channel_sigmas=tuple(levels.tolist()))
    return NoiseModel("white", math.sqrt(float(np.mean(levels**2))))


def estimate_independent_noise(images: NDArray[Any], name: str = "X") -> NoiseModel:
    """Estimate noise that is independent between pixels, from noisy images alone.

    Parameters
    ----------
    images : ndarray of shape (n, height, width) or (n, height, width, channels)
        Noisy images or patches of one source.
    name : str
        Name of the images, for messages.

    Raises
    ------
    ValueError
        If the images have no noise, or noise that is correlated between neighbours.
    """
    planes = _some_planes(images)
    levels, ratio = _levels_at_two_scales(planes)
    fine = float(np.nanmean(levels))
    if not fine > 0:
        raise ValueError(
            f'{name} seems to have no noise. noise="auto" estimates the noise that is in {name}.'
        )
    if ratio > MAX_COARSE_RATIO and not _are_counts(planes):
        raise ValueError(
            f"The noise in {name} seems to be correlated between neighbours: its level is {fine:.3g} at one "
            f"pixel and {fine * ratio:.3g} at two. Only independent noise can be split. If it is "
            "independent, and the images have fine texture everywhere, pass its level as noise=."
        )
    fit = fit_signal_dependence([plane for image in planes for plane in image])
    if fit.is_significant:
        step = _step_of_counts(planes)
        # Whole counts have their gain exactly, and can be thinned.
        if step is not None and abs(fit.gain / step - 1) < SAME_GAIN:
            return NoiseModel("counts", fit.sigma, gain=step, trust=fit.trust)
        return NoiseModel(
            "counts", fit.sigma, gain=fit.gain, read_noise=fit.read_noise, offset=fit.offset, trust=fit.trust
        )
    return NoiseModel("white", fine, channel_sigmas=tuple(levels.tolist()) if len(levels) > 1 else ())


def warn_of_impossible_noise(model: NoiseModel, X: NDArray[Any], name: str = "noise") -> None:
    """Warn of noise that is stronger than all variation of columns of noisy samples.

    Parameters
    ----------
    model : NoiseModel
        The noise.
    X : ndarray of shape (n_samples, ...)
        Noisy samples.
    name : str
        Name of the argument, for messages.
    """
    if len(X) < MIN_ROWS or X.ndim != 2 or model.kind != "white":
        return
    noisy = X.var(axis=0, dtype=np.float64)
    is_weak = (noisy > 0) & (noisy < IMPOSSIBLE_SHARE * model.variance(X[:1])[0])
    weak = np.flatnonzero(is_weak)
    # Columns of one unit may be nothing but noise. Columns of several units have no common level.
    if len(weak) and noisy.max() > SEVERAL_UNITS**2 * noisy[weak].min():
        warn_user(
            f"{name} is stronger than all variation of {len(weak)} of the {X.shape[1]} columns of X, such as "
            f"column {weak[0]} with a standard deviation of {math.sqrt(noisy[weak[0]]):.3g}. They become "
            "nearly constant. If columns have different units, pass one level for each.",
            NoiseMismatchWarning,
        )


def measure_repeats(first: NDArray[Any], second: NDArray[Any]) -> NoiseModel | None:
    """Measure independent noise from two measurements of the same samples.

    Parameters
    ----------
    first, second : ndarray of shape (n_samples, ...)
        Noisy measurements with independent noise.

    Returns
    -------
    NoiseModel or None
        White noise, with a level for each column or channel, or noise of counts; None for noise that is
        correlated between neighbours.
    """
    few = slice(max(1, MEASURED_ENTRIES // max(1, first[0].size)))
    difference = (first[few].astype(np.float64) - second[few]) / math.sqrt(2)
    mean = (first[few].astype(np.float64) + second[few]) / 2
    if _is_correlated(difference):
        return None
    variances = np.square(difference).reshape(-1, difference.shape[-1]).mean(0)
    sigma = math.sqrt(float(variances.mean()))
    counts = _fit_counts(mean, difference)
    if counts is not None:
        return counts
    levels = np.sqrt(variances)
    if difference.ndim in (2, 4) and levels.max() > SAME_LEVEL * levels.min():
        return NoiseModel("white", sigma, channel_sigmas=tuple(levels.tolist()))
    return NoiseModel("white", sigma)


def _fit_counts(light: NDArray[np.float64], noise: NDArray[np.float64]) -> NoiseModel | None:
    """Return a model of counts if the noise grows with the intensity."""
    powers = np.square(noise).reshape(-1)
    sigma = math.sqrt(float(powers.mean()))
    gain, intercept = np.polyfit(light.reshape(-1), powers, 1).tolist()
    low, high = np.quantile(light, (0.05, 0.95)).tolist()
    if gain * (high - low) <= SIGNIFICANT_SLOPE * sigma**2:
        return None
    read_noise, offset = math.sqrt(max(0.0, intercept)), max(0.0, -intercept / gain)
    return NoiseModel("counts", sigma, gain=gain, read_noise=read_noise, offset=offset)


def _step_of_counts(values: NDArray[Any]) -> float | None:
    """Return the step of which all values are whole multiples, None without one."""
    different = np.unique(np.ravel(values)[:MEASURED_ENTRIES]).astype(np.float64)
    if len(different) < 2 or different[0] < 0:
        return None
    gaps = np.diff(different)
    # Rounding makes each gap uncertain, and hardly the median of their units.
    step = float(np.median(gaps / np.maximum(1, np.rint(gaps / gaps.min()))))
    counts = different / step
    is_whole = np.abs(counts - np.rint(counts)) <= COUNT_TOLERANCE * np.maximum(counts, 1)
    return step if bool(is_whole.all()) else None


def find_correlation(images: NDArray[Any]) -> tuple[float, float] | None:
    """Return the noise levels at one and two pixels if they show correlation.

    Parameters
    ----------
    images : ndarray of shape (n, height, width) or (n, height, width, channels)
        Noisy images or patches of one source.
    """
    planes = _some_planes(images)
    # Small and narrow images have too few squares for the coarse scale.
    if min(planes.shape[2:]) < MIN_CORRELATED_SIDE:
        return None
    levels, ratio = _levels_at_two_scales(planes)
    fine = float(np.nanmean(levels))
    if not fine > 0 or ratio <= MAX_WARNED_RATIO or _are_counts(planes):
        return None
    return fine, ratio * fine


def _are_counts(planes: NDArray[Any]) -> bool:
    """Return whether the noise grows with the intensity as that of counts does."""
    # Where counts are dark, their noise is weaker: the levels at two scales are then of different places.
    fit = fit_signal_dependence([plane for image in planes for plane in image])
    return fit.is_significant and fit.trust > MIN_TRUST


def _some_planes(images: NDArray[Any]) -> NDArray[Any]:
    """Return some of the images, with the channels before height and width."""
    chosen = images[np.linspace(0, len(images) - 1, min(len(images), MAX_ESTIMATED)).astype(int)]
    return chosen[:, None] if chosen.ndim == 3 else np.moveaxis(chosen, 3, 1)


def _levels_at_two_scales(planes: NDArray[Any]) -> tuple[NDArray[np.float64], float]:
    """Return the levels of channels, and the ratio of those at two pixels and one."""
    levels = np.array([estimate_scale_levels(image, scales=(1, 2)) for image in planes])
    fine, coarse = levels.mean(axis=1).T
    ratios = (coarse / np.where(fine > 0, fine, np.nan))[np.isfinite(coarse)]
    # Texture adds to both, and most patches of some photos have texture.
    ratio = float(np.nanquantile(ratios, SMOOTH)) if np.isfinite(ratios).any() else 1.0
    smooth_levels: NDArray[np.float64] = np.nanquantile(levels[:, :, 0], SMOOTH, axis=0)
    return smooth_levels, ratio


def _is_correlated(residual: NDArray[np.float64]) -> bool:
    """Return whether neighbouring entries have related noise."""
    if residual.ndim == 2:
        near = residual[:, 1:] * residual[:, :-1]
    else:
        near = residual[:, :, 1:] * residual[:, :, :-1]
    return bool(near.size) and float(near.mean()) > 0.2 * float(np.square(residual).mean())


def _with_opposites(noise: torch.Tensor) -> torch.Tensor:
    """Return noise in which each second sample is the opposite of the one before."""
    pairs = torch.stack([noise[::2], -noise[::2]], dim=1).flatten(0, 1)
    return pairs[: len(noise)]


def _swapped_in_pairs(values: torch.Tensor) -> torch.Tensor:
    """Return samples swapped in pairs, and zeros for an odd last one."""
    n_pairs = len(values) // 2
    swapped = torch.zeros_like(values)
    swapped[: 2 * n_pairs : 2], swapped[1 : 2 * n_pairs : 2] = (
        values[1 : 2 * n_pairs : 2],
        values[: 2 * n_pairs : 2],
    )
    return swapped


@dataclass(frozen=True)
class NoiseSplitter:
    """Split of noisy data into two parts with independent noise.

    For Gaussian noise, ``first = noisy + sqrt(a / (1 - a)) w`` and ``second = noisy - sqrt((1 - a) / a) w``
    with new noise w of the same level are independent, and have the same clean mean. Counts are thinned.

    Attributes
    ----------
    model : NoiseModel
        Noise in the data.
    noiser : noiser or None
        Fitted noiser that draws correlated Gaussian noise; None for independent noise.

    References
    ----------
    T. Pang, H. Zheng, Y. Quan and H. Ji, "Recorrupted-to-recorrupted", CVPR (2021); B. Monroy, J. Bacca and
    J. Tachella, "Generalized recorrupted-to-recorrupted", CVPR (2025).
    """

    _fitted_schema: ClassVar[dict[str, Rule]] = {
        "model": record(NoiseModel, "a noise model"),
        "noiser": optional(FITTED_NOISER),
    }
    model: NoiseModel
    noiser: Noiser | None = None

    @classmethod
    def of(cls, noise: Any, X: NDArray[Any], *, name: str = "noise") -> NoiseSplitter:
        """Return the split of the noise of a parameter, see :func:`resolve_noise_model`."""
        model = resolve_noise_model(noise, X, name=name)
        if getattr(noise, "_adds_grain", False):
            sample = X[:8].astype(np.float64)
            return cls(model, clone(noise).set_params(clip=None).fit(sample, sample))
        if model.kind == "camera":
            raise ValueError(
                f"The noise in X is correlated, {model}, and only independent noise can be split. Pass a "
                "GrainNoiser with its kernel, or learn from pairs: fit(X, X_second=another_measurement)."
            )
        # Points of an estimate are for plots only.
        return cls(replace(model, points=None))

    def split(
        self, noisy: torch.Tensor, share: float, generator: torch.Generator, *, in_opposites: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return two tensors of the same clean mean, with independent noise.

        Parameters
        ----------
        noisy : Tensor of shape (n_samples, ...)
            Noisy samples in the user's layout and unit.
        share : float
            Share of the information in the second part, between 0 and 1: the first part has the variance of
            the noise divided by ``1 - share``, the second divided by ``share``.
        generator : torch.Generator
            Source of randomness.
        in_opposites : bool, default=False
            Whether each second sample repeats the one before, and gets the opposite of its new noise. The
            second parts of thinned counts then have more noise, most of which cancels between the two.
        """
        counts = self._counts_in(noisy)
        if counts is None:
            added = self._new_noise(noisy, generator)
            if in_opposites:
                added = _with_opposites(added)
            return noisy + math.sqrt(share / (1 - share)) * added, noisy - math.sqrt(
                (1 - share) / share
            ) * added
        gain, offset = self.model.gain, self.model.offset
        second = torch.binomial(counts, torch.full_like(counts, share), generator=generator)
        parts = offset + gain * (counts - second) / (1 - share), offset + gain * second / share
        # Thinned counts have no opposites. In each target, the noise of the other thinning of the sample has
        # a mean of 0 and does not depend on the input. With it the targets of the two are nearly opposite.
        return (parts[0], parts[1] + _swapped_in_pairs(parts[0] - parts[1])) if in_opposites else parts

    def level(self, noisy: torch.Tensor) -> torch.Tensor:
        """Return the noise standard deviation of each entry, estimated from its value."""
        if self.model.kind == "counts":
            light = (noisy - self.model.offset).clamp(min=0)
            return (self.model.gain * light + self.model.read_noise**2).sqrt()
        levels = self.model.channel_sigmas
        has_levels = len(levels) == noisy.shape[-1]
        sigma = torch.as_tensor(
            levels if has_levels else self.model.sigma, dtype=noisy.dtype, device=noisy.device
        )
        return sigma.expand(noisy.shape)

    def _new_noise(self, noisy: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        if self.noiser is not None:
            return self.noiser.corrupt(torch.zeros_like(noisy), generator)
        normal = torch.randn(noisy.shape, dtype=noisy.dtype, device=noisy.device, generator=generator)
        # The variance is a linear function of the clean value, so that of the noisy one has the right mean.
        return self.level(noisy) * normal

    def _counts_in(self, noisy: torch.Tensor) -> torch.Tensor | None:
        """Return the counts of photons, or None where the values are no counts."""
        if self.model.kind != "counts" or self.model.read_noise > 0:
            return None
        counts = (noisy - self.model.offset) / self.model.gain
        whole = counts.round()
        is_count = bool(((counts - whole).abs() <= COUNT_TOLERANCE * counts.abs().clamp(min=1)).all())
        return whole if is_count and bool((whole >= 0).all()) else None
