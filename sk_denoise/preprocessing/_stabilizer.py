"""Transformer of signal-dependent noise to noise of standard deviation 1."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn
from torch.nn import functional

from sk_denoise._compat import SampleTransformer, as_one_task, keeps_array_type
from sk_denoise._random import root_seed, stream
from sk_denoise._schema import Rule, is_nonnegative_array, is_number, is_numeric_array, optional
from sk_denoise._signal_dependent import (
    SignalDependence,
    fit_signal_dependence,
    generalised_anscombe,
    invert_generalised_anscombe,
)
from sk_denoise._validation import (
    HasMethods,
    Interval,
    StrOptions,
    check_lengths,
    check_numbers,
    check_parameters,
    check_samples,
)

__all__ = ["VarianceStabilizer"]

# Advice of errors and warnings.
ADVICE = (
    "Pass gain, and read_noise and offset if they are not 0, from a calibration of the detector: for plain "
    "counts VarianceStabilizer(gain=1)."
)
# Smallest side of images that the transform is refined with.
MIN_SIDE = 16
# Axes of a stack of images, without and with channels.
IMAGE_AXES = (3, 4)


def _are_parameters(value: Any, stabilizer: Any) -> bool:
    """Return whether a value is a number, or numbers for the channels of images."""
    shape = stabilizer._sample_shape_
    if len(shape) == 3:
        return is_numeric_array(value, shape[2:])
    return is_number(value)


def _are_nonnegative(value: Any, stabilizer: Any) -> bool:
    is_array = len(stabilizer._sample_shape_) != 3 or is_nonnegative_array(value, np.shape(value))
    return _are_parameters(value, stabilizer) and is_array and bool(np.min(value) >= 0)


def _leave_noise(value: Any, stabilizer: Any) -> bool:
    """Return whether no channel is without noise, for which the transform has no unit."""
    return _are_nonnegative(value, stabilizer) and bool(np.all(np.add(stabilizer.gain_, value) > 0))


def _are_knots(value: Any, stabilizer: Any) -> bool:
    is_array = is_numeric_array(value, (2, np.shape(value)[-1] if np.ndim(value) else 0))
    return is_array and value.shape[1] >= 2 and bool((np.diff(value) > 0).all())


class VarianceStabilizer(SampleTransformer):
    """Transform counts and other signal-dependent noise to noise of deviation 1.

    The noise of a detector has the variance ``gain * (mean - offset) + read_noise**2``. ``fit`` finds gain,
    read noise and offset from noisy images or signals alone, ``transform`` is the generalised Anscombe
    transform: any denoiser for white noise of standard deviation 1 may follow. ``inverse_transform`` turns
    denoised values back into unbiased intensities.

    Parameters
    ----------
    gain : float, array-like of shape (n_channels,) or None, default=None
        Intensity of one count, for all channels of images or for each; 1 for plain counts, and 0 for noise of
        one level. None fits it.
    read_noise : float, array-like of shape (n_channels,) or None, default=None
        Noise standard deviation without light. None fits it, or is 0 if nothing can be fitted and gain is
        given.
    offset : float, array-like of shape (n_channels,) or None, default=None
        Intensity without light. None fits it, or is 0 if gain and read noise are given.
    layout : {"auto", "images", "signals", "table"}, default="auto"
        Meaning of the axes. "images" are stacks (n_samples, height, width[, channels]), "signals" are rows of
        neighbouring values, such as spectra. Columns of a "table" have no neighbours, so nothing can be
        fitted, and ``gain`` is needed. "auto" is "images" for stacks and "signals" for rows.

    denoiser : ImageDenoiser or None, default=None
        Fitted denoiser of gray images with a noise-level map, such as ``load_pretrained("gray")``, in a
        :class:`sklearn.frozen.FrozenEstimator` where the stabiliser is cloned. With it the transform is
        refined by a spline, for noise whose variance is no line. For images without channels.
    n_steps : int, default=200
        Number of steps of the refinement, each on 4 patches of at most 64 x 64 pixels.
    random_state : int, RandomState or None, default=None
        Seed of the patches of the refinement.

    Attributes
    ----------
    gain_, read_noise_, offset_ : float or ndarray of shape (n_channels,)
        Parameters of the noise; arrays for images with channels. ``gain_`` is 0 if the noise does not grow
        with the intensity.
    trust_ : float
        From 0 to 1, the trust in the fit: the share of flat blocks, and the agreement of their variances with
        a line. 1 if nothing was fitted.
    knots_ : ndarray of shape (2, n_knots) or None
        Refinement: stabilised values, and those that replace them; None without ``denoiser``.
    n_features_in_ : int
        Number of entries of one sample.
    feature_names_in_ : ndarray of str
        Names of the features, if X has names.

    Raises
    ------
    ValueError
        If the noise cannot be fitted and ``gain`` is not given.

    Warns
    -----
    UserWarning
        If no part of the data is flat with independent noise. Then the noise of neighbours is correlated, as
        in processed photos, or texture is everywhere.

    See Also
    --------
    sk_denoise.restoration.denoise_image : Denoise images of counts in one call.

    Notes
    -----
    The variance is read from blocks of neighbours without texture, see Foi et al. (2008) for the principle.
    An offset raises the fitted line as read noise lowers it, so the line does not tell them apart. The offset
    is 0 unless the line is below 0 there by more than twice its error; then the read noise is 0, and the
    offset is the intensity at which the variance vanishes. The transform depends on their sum alone.

    ``transform`` is 0 at the offset. Its output has a deviation close to 1 from about 3 counts on, or with a
    read noise of at least one count; pure counts below that have less.

    The inverse of a denoised value is not the inverse function: this would be too dark. The output is
    neither rounded nor clipped.

    The refinement assumes noise that is independent between pixels. It predicts hidden pixels from their
    surroundings, and keeps the fitted transform if the spline does not predict them better. 200 steps take
    about half a minute on a processor core.

    A Pipeline predicts in the stabilised unit. Its inverse is one more line, see the example.

    References
    ----------
    S. Herbreteau and M. Unser, "Self-calibrated variance-stabilizing transformations for real-world image
    denoising", ICCV (2025).

    M. Mäkitalo and A. Foi, "Optimal inversion of the generalized Anscombe transformation for
    Poisson-Gaussian noise", IEEE Transactions on Image Processing 22 (2013).

    A. Foi, M. Trimeche, V. Katkovnik and K. Egiazarian, "Practical Poissonian-Gaussian noise modeling and
    fitting for single-image raw-data", IEEE Transactions on Image Processing 17 (2008).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.pipeline import make_pipeline
    >>> from sk_denoise import WaveletDenoiser
    >>> from sk_denoise.preprocessing import VarianceStabilizer
    >>> clean = 40 + 30 * np.sin(np.linspace(0, 12, 256)) * np.ones((128, 1))
    >>> counts = np.random.default_rng(0).poisson(clean)[None]
    >>> pipeline = make_pipeline(VarianceStabilizer(), WaveletDenoiser(1.0))
    >>> stabilized = pipeline.fit_transform(counts)
    >>> denoised = pipeline[0].inverse_transform(stabilized)
    >>> bool(np.mean((denoised - clean) ** 2) < 0.3 * np.mean((counts - clean) ** 2))
    True
    >>> bool(0.9 < pipeline[0].gain_ < 1.1)
    True
    """

    _is_samplewise: ClassVar[bool] = True
    _takes_any_size = True
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "gain": [Interval(Real, 0, None, closed="left"), "array-like", None],
        "read_noise": [Interval(Real, 0, None, closed="left"), "array-like", None],
        "offset": [Interval(Real, None, None, closed="neither"), "array-like", None],
        "layout": [StrOptions({"auto", "images", "signals", "table"})],
        "denoiser": [HasMethods(["predict"]), None],
        "n_steps": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }
    _fitted_schema: ClassVar[dict[str, Rule]] = {
        "gain_": Rule(_are_nonnegative, "a number of at least 0 (for each channel)"),
        "read_noise_": Rule(_leave_noise, "a number of at least 0, above 0 without gain", after_others=True),
        "offset_": Rule(_are_parameters, "a number (for each channel)"),
        "knots_": optional(Rule(_are_knots, "two increasing rows of numbers")),
        "trust_": Rule(lambda v, _: is_number(v) and 0 <= v <= 1, "a number from 0 to 1"),
    }

    def __init__(
        self,
        gain: ArrayLike | None = None,
        read_noise: ArrayLike | None = None,
        offset: ArrayLike | None = None,
        *,
        layout: Literal["auto", "images", "signals", "table"] = "auto",
        denoiser: Any = None,
        n_steps: int = 200,
        random_state: int | RandomState | None = None,
    ) -> None:
        self.gain = gain
        self.read_noise = read_noise
        self.offset = offset
        self.layout = layout
        self.denoiser = denoiser
        self.n_steps = n_steps
        self.random_state = random_state

    @keeps_array_type
    @as_one_task
    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Fit the noise of a detector.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels])
            Noisy samples of one source.
        y : ignored
            Present for scikit-learn's conventions.

        Returns
        -------
        self
        """
        check_parameters(self, self._parameter_constraints)
        samples = check_samples(self, X, reset=True)
        check_lengths(samples, y)
        layout = self._check_layout(samples)
        has_channels = samples.ndim == max(IMAGE_AXES)
        channels = np.moveaxis(samples, -1, 0) if has_channels else samples[None]
        given = [self._given(name, len(channels)) for name in ("gain", "read_noise", "offset")]
        fits = [
            self._fit_channel(channel, layout, *parameters)
            for channel, *parameters in zip(channels, *given, strict=True)
        ]
        columns = np.array(fits, dtype=np.float64).T
        values = [column.copy() if has_channels else float(column[0]) for column in columns[:3]]
        self.gain_, self.read_noise_, self.offset_ = values
        self.trust_ = float(columns[3].min())
        self.knots_ = None
        if self.denoiser is not None:
            self.knots_ = self._refine(samples)
        return self

    @keeps_array_type
    def transform(self, X: ArrayLike) -> Any:
        """Return samples with noise of standard deviation 1.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels])
            Samples as in ``fit``; images may have another size.

        Returns
        -------
        ndarray or DataFrame of the shape of X
            float64 for float64 and for integers of 32 bits and more, else float32.
        """
        check_is_fitted(self)
        stabilized = self._apply(generalised_anscombe, check_samples(self, X, reset=False))
        return stabilized if self.knots_ is None else apply_spline(stabilized, self.knots_)

    @keeps_array_type
    def inverse_transform(self, X: ArrayLike) -> NDArray[Any]:
        """Return denoised samples in the unit of the data, without bias.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels])
            Output of ``transform`` after a denoiser.

        Returns
        -------
        ndarray of the shape of X
            Intensities as floats, neither rounded nor clipped.
        """
        check_is_fitted(self)
        # It may come from a denoiser, so the names of its features are not compared.
        array = check_numbers(X, "X", self)
        expected = self._sample_shape_
        is_image = len(expected) > 1 and (array.ndim - 1, array.shape[3:]) == (len(expected), expected[2:])
        if not is_image and array.shape[1:] != expected:
            raise ValueError(
                f"X holds samples of shape {array.shape[1:]}, {type(self).__name__} was fitted on samples of "
                f"shape {expected}. Pass the output of transform, denoised, in the same layout."
            )
        if self.knots_ is not None:
            array = apply_spline(array.astype(np.result_type(array, np.float32)), self.knots_, inverse=True)
        return self._apply(invert_generalised_anscombe, array)

    def _apply(self, function: Any, samples: NDArray[Any]) -> NDArray[Any]:
        parameters = np.array([self.gain_, self.read_noise_, self.offset_])
        if parameters.ndim == 1:
            result: NDArray[Any] = function(samples, *parameters.tolist())
            return result
        channels = [function(samples[..., c], *column) for c, column in enumerate(parameters.T.tolist())]
        return np.stack(channels, axis=-1)

    def _refine(self, samples: NDArray[Any]) -> NDArray[np.float64]:
        """Return the knots of the learned spline."""
        # A clone of a FrozenEstimator is fitted, that of its denoiser is not.
        denoiser = getattr(self.denoiser, "estimator", self.denoiser)
        if not hasattr(denoiser, "net_"):
            raise ValueError(
                "denoiser must be a fitted ImageDenoiser. clone and searches return it unfitted, unless it "
                "stands in a sklearn.frozen.FrozenEstimator."
            )
        if getattr(denoiser, "noise_levels_", None) is None or len(denoiser.patch_shape_) != 2:
            raise ValueError(
                'denoiser must denoise gray images with a noise-level map, ImageDenoiser(sigma="map") or '
                'load_pretrained("gray").'
            )
        if samples.ndim != min(IMAGE_AXES) or min(samples.shape[1:]) < MIN_SIDE:
            raise ValueError(
                f"denoiser refines the transform of images (n_samples, height, width) of at least {MIN_SIDE} "
                f"x {MIN_SIDE} pixels, got X of shape {samples.shape}. Pass denoiser=None for other data."
            )
        return learn_spline(
            samples,
            self._apply(generalised_anscombe, samples),
            lambda values: self._apply(invert_generalised_anscombe, values),
            denoiser,
            self.n_steps,
            stream(root_seed(self.random_state), "patches"),
        )

    def _check_layout(self, samples: NDArray[Any]) -> str:
        """Return the layout of samples, or refuse one that they cannot have."""
        is_stack = samples.ndim in IMAGE_AXES
        if samples.ndim > max(IMAGE_AXES):
            raise ValueError(
                f"Samples of shape {samples.shape[1:]} are neither rows (features,) nor images (height, "
                "width) or (height, width, channels)."
            )
        if self.layout == "auto":
            return "images" if is_stack else "signals"
        if self.layout != "table" and (self.layout == "images") != is_stack:
            raise ValueError(
                f'layout={self.layout!r}, but X has the shape {samples.shape}. "images" are of shape '
                '(n_samples, height, width[, channels]), "signals" are rows (n_samples, n_features).'
            )
        return self.layout

    def _given(self, name: str, n_channels: int) -> list[float | None]:
        """Return a parameter for each channel, None where it is to be fitted."""
        value: Any = getattr(self, name)
        if value is None:
            return [None] * n_channels
        numbers = np.asarray(value, dtype=np.float64)
        is_allowed = np.isfinite(numbers).all() and (name == "offset" or (numbers >= 0).all())
        if numbers.shape not in ((), (n_channels,)) or not is_allowed:
            kind = "finite" if name == "offset" else "finite, of at least 0"
            raise ValueError(
                f"{name} must be a number, {kind}, or {n_channels} of them, one for each channel, got "
                f"{value!r}."
            )
        return [float(number) for number in np.broadcast_to(numbers, n_channels)]

    def _fit_channel(
        self,
        samples: NDArray[Any],
        layout: str,
        gain: float | None,
        read_noise: float | None,
        offset: float | None,
    ) -> tuple[float, float, float, float]:
        """Return gain, read noise, offset and trust of one channel."""
        if gain is not None and read_noise is not None:
            if gain + read_noise == 0:
                raise ValueError("gain and read_noise are 0: there is no noise to stabilise.")
            return gain, read_noise, offset or 0.0, 1.0
        if layout == "table":
            if not gain:
                raise ValueError(
                    f"The columns of a table have no neighbours, so their noise cannot be fitted. {ADVICE}"
                )
            return gain, 0.0, offset or 0.0, 1.0
        fit = fit_signal_dependence(samples, signals=layout == "signals")
        if not fit.sigma and not gain:
            raise ValueError(
                "The noise cannot be fitted: X has no noise, images of less than 8 x 8 pixels, or signals of "
                f"less than 16 values. {ADVICE}"
            )
        if not len(fit.points):
            if not gain:
                warnings.warn(
                    "No part of X is flat with independent noise. The noise of neighbours is correlated, or "
                    f"texture is everywhere; the fitted noise level is a bound. {ADVICE}",
                    stacklevel=4,
                )
            return gain or 0.0, (0.0 if gain else fit.sigma), offset or 0.0, 0.0
        return *_resolve(fit, gain, read_noise, offset), fit.trust


def _resolve(
    fit: SignalDependence, gain: float | None, read_noise: float | None, offset: float | None
) -> tuple[float, float, float]:
    """Return gain, read noise and offset from a fit, and from the given ones."""
    intercept = fit.read_noise**2 - fit.gain * fit.offset
    if gain is None:
        gain = fit.gain
    else:
        mean, variance, weight = fit.points.T
        intercept = _weighted_median(variance - gain * mean, weight)
    if gain == 0:
        return 0.0, fit.sigma if read_noise is None else max(read_noise, 1e-3 * fit.sigma), offset or 0.0
    if read_noise is not None:
        return gain, read_noise, (read_noise**2 - intercept) / gain if offset is None else offset
    if offset is not None:
        return gain, math.sqrt(max(0.0, intercept + gain * offset)), offset
    # A given gain meets an intercept that is 0 within its error.
    return (
        gain,
        math.sqrt(max(0.0, intercept)),
        fit.offset if gain == fit.gain else max(0.0, -intercept / gain),
    )


def _weighted_median(values: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)])


# Number of knots, equally spaced over the stabilised values apart from a thousandth at either end.
N_KNOTS, OUTLIERS = 33, 0.001
# Number and largest side of the patches of a step, and stride of the grid of hidden pixels.
N_PATCHES, SIDE, STRIDE = 4, 64, 4
LEARNING_RATE = 0.01
# Number of batches on which the spline is compared with the identity.
N_TESTS = 8
# Number of points between which the inverse transform is interpolated.
N_TABLE = 2049

# Draws of patches: stabilised values and data, (n, height, width), and mask of the hidden pixels.
_Batch = tuple[Tensor, Tensor, Tensor]


def apply_spline(values: NDArray[Any], knots: NDArray[np.float64], *, inverse: bool = False) -> NDArray[Any]:
    """Apply an increasing piecewise linear function, which continues at its ends.

    Parameters
    ----------
    values : ndarray of float
        Arguments of any shape.
    knots : ndarray of shape (2, n_knots)
        Arguments and values of the function, both increasing.
    inverse : bool, default=False
        Whether to apply the inverse function.

    Returns
    -------
    ndarray of the shape and type of values
    """
    x, y = knots[::-1] if inverse else knots
    result: NDArray[Any] = np.interp(values, x, y)
    low, high = (y[1] - y[0]) / (x[1] - x[0]), (y[-1] - y[-2]) / (x[-1] - x[-2])
    result += np.minimum(values - x[0], 0) * low + np.maximum(values - x[-1], 0) * high
    return result.astype(values.dtype, copy=False)


def learn_spline(
    images: NDArray[Any],
    stabilized: NDArray[Any],
    inverse: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    denoiser: Any,
    n_steps: int,
    generator: torch.Generator,
) -> NDArray[np.float64]:
    """Learn a spline by which a denoiser predicts hidden pixels best.

    In patches every 16th pixel is replaced by the mean of its 4 neighbours. The patch is transformed,
    denoised at level 1 and transformed back. The error at the replaced pixels is lowest if the noise is as
    the denoiser expects it, since noise that is independent between pixels cannot be predicted.

    Parameters
    ----------
    images : ndarray of shape (n, height, width)
        Noisy images.
    stabilized : ndarray of shape (n, height, width)
        Their stabilised values, from which the spline starts as the identity.
    inverse : callable
        Inverse of the first transform.
    denoiser : ImageDenoiser
        Fitted denoiser of gray images with a noise-level map. It does not change.
    n_steps : int
        Number of steps.
    generator : torch.Generator
        Source of patches.

    Returns
    -------
    ndarray of shape (2, n_knots)
        Knots of the spline, or of the identity if that predicts hidden pixels better.

    References
    ----------
    S. Herbreteau and M. Unser, "Self-calibrated variance-stabilizing transformations for real-world image
    denoising", ICCV (2025).
    """
    low, high = (float(x) for x in np.quantile(stabilized, (OUTLIERS, 1 - OUTLIERS)))
    knots = np.linspace(low, max(high, low + 1), N_KNOTS)
    table = np.linspace(float(stabilized.min()) - 3, float(stabilized.max()) + 3, N_TABLE)
    model = _Calibration(denoiser, knots, np.stack((table, inverse(table))), float(np.std(images)))
    data = torch.from_numpy(stabilized.astype(np.float32)), torch.from_numpy(images.astype(np.float32))
    tests = [_draw_batch(*data, generator) for _ in range(N_TESTS)]
    start = model.test_error(tests)
    optimizer = torch.optim.Adam([model.log_slopes], LEARNING_RATE)
    for _ in range(n_steps):
        error = model.error(_draw_batch(*data, generator))
        # backward() would leave gradients at the weights of the denoiser.
        (model.log_slopes.grad,) = torch.autograd.grad(error, model.log_slopes)
        optimizer.step()
    identity = np.stack((knots, knots))
    # Few steps on little data may lead away from a transform that is right already.
    return model.to_knots() if model.test_error(tests) < start else identity


class _Calibration:
    """A spline in front of a frozen network.

    The slopes are exponentials of ``log_slopes``, so the spline increases.
    """

    def __init__(
        self, denoiser: Any, knots: NDArray[np.float64], table: NDArray[np.float64], unit: float
    ) -> None:
        self.network: nn.Module = denoiser.net_.module_
        scaler = denoiser._preparation_.input_scaler
        self.center, self.spread = float(scaler.center), float(scaler.spread)
        self.device = next(self.network.parameters()).device
        self.x = torch.from_numpy(knots).float()
        self.table = torch.from_numpy(table).float()
        self.unit = unit or 1.0
        self.log_slopes = torch.zeros(len(knots) - 1, requires_grad=True)

    def values(self) -> Tensor:
        """Return the values of the spline at its knots."""
        rises = torch.exp(self.log_slopes) * torch.diff(self.x)
        return self.x[0] + torch.cat((torch.zeros(1), torch.cumsum(rises, 0)))

    def to_knots(self) -> NDArray[np.float64]:
        """Return arguments and values of the spline."""
        with torch.no_grad():
            return torch.stack((self.x, self.values())).numpy().astype(np.float64)

    def error(self, batch: _Batch) -> Tensor:
        """Return the mean square error of hidden pixels, relative to the data."""
        stabilized, data, is_hidden = batch
        y = self.values()
        u = _interpolate(stabilized, self.x, y)
        hidden = torch.where(is_hidden, _neighbour_means(u), u)
        black, span = y[0].detach(), (y[-1] - y[0]).detach()
        unit = ((hidden - black) / span - self.center) / self.spread
        level = torch.full_like(unit, 1.0 / float(span) / self.spread)
        output = self.network(torch.stack((unit, level), 1).to(self.device))[:, 0].cpu()
        denoised = (output * self.spread + self.center) * span + black
        predicted = _interpolate(_interpolate(denoised, y, self.x), *self.table)
        return torch.square((predicted - data)[is_hidden] / self.unit).mean()

    def test_error(self, batches: list[_Batch]) -> float:
        """Return the mean error of batches."""
        with torch.no_grad():
            return float(np.mean([float(self.error(batch)) for batch in batches]))


def _draw_batch(stabilized: Tensor, data: Tensor, generator: torch.Generator) -> _Batch:
    """Return patches from random places and their hidden pixels."""

    def draw(n: int) -> int:
        return int(torch.randint(n, (), generator=generator))

    height, width = (min(SIDE, side // 8 * 8) for side in stabilized.shape[1:])
    parts = []
    for _ in range(N_PATCHES):
        image = draw(len(stabilized))
        top, left = draw(stabilized.shape[1] - height + 1), draw(stabilized.shape[2] - width + 1)
        parts.append((image, slice(top, top + height), slice(left, left + width)))
    is_hidden = torch.zeros(N_PATCHES, height, width, dtype=torch.bool)
    is_hidden[:, draw(STRIDE) :: STRIDE, draw(STRIDE) :: STRIDE] = True
    return torch.stack([stabilized[p] for p in parts]), torch.stack([data[p] for p in parts]), is_hidden


def _neighbour_means(u: Tensor) -> Tensor:
    """Return the mean of the 4 neighbours of each pixel; edges are mirrored."""
    padded = functional.pad(u[:, None], (1, 1, 1, 1), mode="reflect")[:, 0]
    return (padded[:, :-2, 1:-1] + padded[:, 2:, 1:-1] + padded[:, 1:-1, :-2] + padded[:, 1:-1, 2:]) / 4


def _interpolate(values: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Apply a piecewise linear function, with gradients for values and knots."""
    piece = torch.searchsorted(x.detach(), values.detach()).clamp(1, len(x) - 1) - 1
    slope = torch.diff(y) / torch.diff(x)
    return y[piece] + slope[piece] * (values - x[piece])
