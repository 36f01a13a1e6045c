"""Display of the PSNR of denoisers under noise of several levels."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone

from sk_denoise._intensity import IntensityRange
from sk_denoise._validation import Noiser, check_noiser, check_one_of, refuse_masked
from sk_denoise.comparison import default_data_range
from sk_denoise.exceptions import WeakNoiseWarning
from sk_denoise.metrics import PSNR_CAP
from sk_denoise.metrics._metrics import check_data_range, psnr_per_sample
from sk_denoise.metrics._scorers import (
    apply_earlier_steps,
    corrupt_samples,
    foreign_range,
    noise_seed,
    predict_in_range,
    refuse_noise_in_estimator,
)
from sk_denoise.noise import GaussianNoiser, UniformNoiser
from sk_denoise.plots._base import (
    COLORS,
    LINE_FIGURE_SIZE,
    MARKERS,
    MAX_INSIDE_LEGEND,
    REFERENCE_COLOR,
    Display,
    Samples,
    as_samples,
    check_fitted,
    draw_legend_beside,
    get_estimator_name,
    hide_spines,
    measure_legend_width,
    name_estimators,
    prepare_axes,
    require_pyplot,
    set_log_scale,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import FillBetweenPolyCollection
    from matplotlib.lines import Line2D

__all__ = ["NoiseRobustnessDisplay"]

# As many rows are as high as the axes.
LEGEND_ROWS = 18
# PSNR in dB, of shape (n_levels, n_samples).
Scores = NDArray[np.float64]


def _compute_standard_errors(scores: Scores) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the mean of each level minus and plus its standard error."""
    means = scores.mean(axis=1)
    # A single sample has no spread, and its standard deviation would be NaN.
    errors = scores.std(axis=1, ddof=1) / np.sqrt(scores.shape[1]) if scores.shape[1] > 1 else 0 * means
    return means - errors, means + errors


def _compute_quartiles(scores: Scores) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the lower and the upper quartile of each level."""
    low, high = np.quantile(scores, (0.25, 0.75), axis=1)
    return low, high


BANDS = {"standard_error": _compute_standard_errors, "quartiles": _compute_quartiles}


class NoiseRobustnessDisplay(Display):
    """Mean PSNR of denoisers against the noise level.

    All denoisers receive the same noise: a single draw, fixed by the seed of the noiser, as in
    :func:`~sk_denoise.make_denoising_scorer`. The dashed line is the PSNR of the noisy samples. A denoiser
    below it makes samples worse. A band shows the differences between samples.

    It is recommended to use :meth:`from_estimator`, :meth:`from_estimators` or :meth:`from_predictions`.

    Parameters
    ----------
    sigmas : ndarray of shape (n_levels,)
        Noise levels, rising.
    scores : dict of ndarray of shape (n_levels, n_samples)
        PSNR of each sample at each noise level in dB, by name of the denoiser.
    noisy_scores : dict of ndarray of shape (n_levels, n_samples), optional
        PSNR of the noisy samples, in the unit of each denoiser, by the same names.
    label : str, default="noise"
        Label of the axis of noise levels, with their unit.

    Attributes
    ----------
    figure_ : matplotlib Figure
        Figure of the axes.
    ax_ : matplotlib Axes
        Axes of the curves.
    lines_ : dict of matplotlib Line2D
        Lines of the mean PSNR, by name.
    bands_ : dict of matplotlib PolyCollection
        Bands, by name; empty with ``band=None``.
    noisy_lines_ : dict of matplotlib Line2D
        Dashed lines; a single one, "noisy", if all denoisers receive the same samples.

    See Also
    --------
    sk_denoise.make_denoising_scorer : One of these numbers, for searches.
    sk_denoise.compare_restorers : A table, also of functions and of pipelines with different scaling.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sk_denoise import DenoisingAutoencoder, GaussianNoiser, WienerDenoiser
    >>> from sk_denoise.plots import NoiseRobustnessDisplay
    >>> X = load_digits().data / 16
    >>> dae = DenoisingAutoencoder(noise=GaussianNoiser((0, 0.5)), max_epochs=5, random_state=0)
    >>> fitted = {"network": dae.fit(X[:1000]), "filter": WienerDenoiser(sigma=0.25).fit(X[:1000])}
    >>> display = NoiseRobustnessDisplay.from_estimators(fitted, X[1000:], sigmas=[0.1, 0.25, 0.5])
    >>> display.scores["network"].shape
    (3, 797)
    """

    figure_: Any
    ax_: Axes
    lines_: dict[str, Line2D]
    bands_: dict[str, FillBetweenPolyCollection]
    noisy_lines_: dict[str, Line2D]

    def __init__(
        self,
        sigmas: NDArray[Any],
        scores: Mapping[str, Scores],
        noisy_scores: Mapping[str, Scores] | None = None,
        *,
        label: str = "noise",
    ) -> None:
        self.sigmas = sigmas
        self.scores = scores
        self.noisy_scores = noisy_scores
        self.label = label

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X_clean: ArrayLike | Sequence[ArrayLike],
        *,
        sigmas: ArrayLike,
        noiser: Noiser | None = None,
        parameter: str = "noise_factor",
        name: str | None = None,
        data_range: float | None = None,
        ax: Axes | None = None,
        band: Literal["quartiles", "standard_error"] | None = "quartiles",
        log_scale: bool = False,
    ) -> Self:
        """Evaluate a fitted denoiser at several noise levels.

        Parameters
        ----------
        estimator : estimator
            Fitted denoiser with ``predict``, or a pipeline or search that ends in one.
        X_clean : array-like of shape (n_samples, ...), or list of arrays
            Clean samples that were not used for training.
        sigmas, noiser, parameter, data_range
            As in :meth:`from_estimators`.
        name : str, optional
            Name of the curve, by default the name of the class.
        ax, band, log_scale
            As in :meth:`plot`.

        Returns
        -------
        NoiseRobustnessDisplay
            Display with its figure.
        """
        return cls.from_estimators(
            {get_estimator_name(estimator, name): estimator},
            X_clean,
            sigmas=sigmas,
            noiser=noiser,
            parameter=parameter,
            data_range=data_range,
            ax=ax,
            band=band,
            log_scale=log_scale,
        )

    @classmethod
    def from_estimators(
        cls,
        estimators: Mapping[str, Any] | Sequence[Any],
        X_clean: ArrayLike | Sequence[ArrayLike],
        *,
        sigmas: ArrayLike,
        noiser: Noiser | None = None,
        parameter: str = "noise_factor",
        data_range: float | None = None,
        ax: Axes | None = None,
        band: Literal["quartiles", "standard_error"] | None = "quartiles",
        log_scale: bool = False,
    ) -> Self:
        """Evaluate several fitted denoisers at several noise levels.

        Each estimator predicts once for each noise level.

        Parameters
        ----------
        estimators : dict or list of estimators
            Fitted denoisers with ``predict``, or pipelines or searches that end in one, by name, or a list,
            with names as in :func:`~sklearn.pipeline.make_pipeline`. If earlier steps of a pipeline change
            the data, samples are compared in the unit of its last step, as in
            :func:`~sk_denoise.make_denoising_scorer`, and the pipeline gets its own dashed line.
        X_clean : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels]), or \
                list of arrays
            Clean samples that were not used for training. Images of different sizes are given as a list, for
            estimators that take lists.
        sigmas : array-like of shape (n_levels,)
            Values of the parameter of the noiser, in its unit.
        noiser : noiser, optional
            Noise, by default ``GaussianNoiser(random_state=0)``. Its ``apply`` has no effect, its statistics
            are computed from ``X_clean``, and ``random_state=None`` counts as 0.
        parameter : str, default="noise_factor"
            Name of the parameter of the noiser that is varied, such as "amount" of
            :class:`~sk_denoise.SaltAndPepperNoiser` or "peak" of :class:`~sk_denoise.PoissonNoiser`.
        data_range : float, optional
            Data range of the PSNR. By default the range of the dtype for 8- and 16-bit integers, else the
            maximum of the clean samples minus their minimum.
        ax, band, log_scale
            As in :meth:`plot`.

        Returns
        -------
        NoiseRobustnessDisplay
            Display with its figure.
        """
        caller = f"{cls.__name__}.from_estimators"
        require_pyplot(caller)
        noiser = GaussianNoiser(random_state=0) if noiser is None else check_noiser(noiser)
        noisers = _set_levels(noiser, parameter, sigmas)
        curves = [
            RobustnessCurve.start(name, estimator, X_clean, noiser, data_range, caller)
            for name, estimator in name_estimators(estimators).items()
        ]
        # One seed for all levels: the same draw is scaled, so that curves are smooth.
        seed = noise_seed(noiser)
        for noiser_at_level in noisers.values():
            noisy = _corrupt(noiser_at_level, X_clean, seed)
            for curve in curves:
                curve.add_level(noisy)
        return cls(
            np.array(list(noisers)),
            {curve.name: np.array(curve.scores) for curve in curves},
            {curve.name: np.array(curve.noisy_scores) for curve in curves},
            label=_format_axis_label(noiser, parameter),
        ).plot(ax, band=band, log_scale=log_scale)

    @classmethod
    def from_predictions(
        cls,
        clean: ArrayLike | Sequence[ArrayLike],
        noisy: Sequence[Any],
        denoised: Mapping[str, Sequence[Any]],
        *,
        sigmas: ArrayLike,
        data_range: float | None = None,
        label: str = "noise",
        ax: Axes | None = None,
        band: Literal["quartiles", "standard_error"] | None = "quartiles",
        log_scale: bool = False,
    ) -> Self:
        """Evaluate predictions that are already computed.

        Parameters
        ----------
        clean : array-like of shape (n_samples, ...), or list of arrays
            Clean samples.
        noisy : sequence of length n_levels
            Noisy samples of the shape of ``clean``, for each noise level.
        denoised : dict of sequence of length n_levels
            Predictions for each noise level, by name of the denoiser.
        sigmas : array-like of shape (n_levels,)
            Noise levels.
        data_range : float, optional
            Data range of the PSNR, as in :meth:`from_estimators`.
        label : str, default="noise"
            Label of the axis of noise levels, with their unit.
        ax, band, log_scale
            As in :meth:`plot`.

        Returns
        -------
        NoiseRobustnessDisplay
            Display with its figure.
        """
        levels = _check_sigmas(sigmas)
        # Lines join points in their order.
        order = np.argsort(levels)
        if not denoised:
            raise ValueError("denoised is empty: give the predictions of at least one denoiser.")
        truth = as_samples(clean, "clean")
        data_range = default_data_range(truth) if data_range is None else data_range

        def compute_scores(samples: Sequence[Any], label: str) -> Scores:
            if len(samples) != len(levels):
                raise ValueError(
                    f"{label} must hold samples for each of {len(levels)} sigmas, got {len(samples)}."
                )
            return np.array([_compute_psnr(truth, samples[place], data_range, label) for place in order])

        # Here all denoisers share one dashed line.
        noisy_scores = compute_scores(noisy, "noisy")
        return cls(
            levels[order],
            {str(name): compute_scores(x, f"denoised[{name!r}]") for name, x in denoised.items()},
            {str(name): noisy_scores for name in denoised},
            label=label,
        ).plot(ax, band=band, log_scale=log_scale)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        band: Literal["quartiles", "standard_error"] | None = "quartiles",
        log_scale: bool = False,
    ) -> Self:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Axes to draw on, by default those of a new figure.
        band : {"quartiles", "standard_error"} or None, default="quartiles"
            Shaded band around the mean: the PSNR of the middle half of the samples, or the mean plus and
            minus its standard error.
        log_scale : bool, default=False
            Whether the axis of noise levels is logarithmic.

        Returns
        -------
        self
        """
        compute_band = None if band is None else check_one_of(band, BANDS, "band")
        # Before the axes are made, so that an error leaves no empty figure behind.
        if log_scale and np.min(self.sigmas) <= 0:
            raise ValueError("log_scale=True needs sigmas above 0, and some are not: use log_scale=False.")
        references = self._select_references()
        names = [*self.scores, *(name for name, _, _ in references)]
        has_legend_beside = len(names) > MAX_INSIDE_LEGEND
        width, height = LINE_FIGURE_SIZE
        if has_legend_beside:
            width += measure_legend_width(names, LEGEND_ROWS)
        ax = prepare_axes(ax, f"{type(self).__name__}.plot", (width, height))
        self.lines_, self.bands_, self.noisy_lines_ = {}, {}, {}
        for place, (name, scores) in enumerate(self.scores.items()):
            color, marker = _choose_color_and_marker(place)
            (self.lines_[name],) = ax.plot(
                self.sigmas, _compute_means(scores), color=color, marker=marker, markersize=4.5, label=name
            )
            if compute_band is not None:
                self.bands_[name] = ax.fill_between(
                    self.sigmas, *compute_band(scores), color=color, alpha=0.15, linewidth=0
                )
        for name, color, scores in references:
            (self.noisy_lines_[name],) = ax.plot(
                self.sigmas, _compute_means(scores), color=color, linestyle="--", linewidth=1.2, label=name
            )
        ax.set(xlabel=self.label, ylabel="PSNR in dB, mean of samples")
        if log_scale:
            set_log_scale(ax.xaxis)
        if has_legend_beside:
            draw_legend_beside(ax, [*self.lines_.values(), *self.noisy_lines_.values()], LEGEND_ROWS)
        else:
            ax.legend(frameon=False, fontsize="small")
        hide_spines(ax)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _select_references(self) -> list[tuple[str, str, Scores]]:
        """Return name, colour and scores of the dashed lines."""
        noisy_scores = {name: self.noisy_scores[name] for name in self.scores} if self.noisy_scores else {}
        if not noisy_scores:
            return []
        first, *others = noisy_scores.values()
        # A pipeline that only changes the unit has the same PSNR, but for rounding.
        if all(np.allclose(first, other, atol=1e-3) for other in others):
            return [("noisy", REFERENCE_COLOR, first)]
        return [
            (f"noisy, for {name}", COLORS[place % len(COLORS)], scores)
            for place, (name, scores) in enumerate(noisy_scores.items())
        ]


def _choose_color_and_marker(place: int) -> tuple[str, str]:
    """Return a colour and a marker, a different pair for each of 100 denoisers."""
    n_repeats, color = divmod(place, len(COLORS))
    # Neighbours differ in both, and each round of colours shifts the markers by one more.
    return COLORS[color], MARKERS[(place + n_repeats) % len(MARKERS)]


def _compute_means(scores: Scores) -> NDArray[np.float64]:
    """Return the mean of each level, NaN if all samples are perfect."""
    means = scores.mean(axis=1)
    # The PSNR of perfect samples is a cap of the metric, far above all others. Drawn, it would flatten the
    # curves.
    return np.where(means < PSNR_CAP, means, np.nan)


@dataclass
class RobustnessCurve:
    """Scores of a denoiser at the noise levels so far, with the clean samples."""

    name: str
    estimator: Any
    truth: Samples
    unit: IntensityRange | None
    data_range: float
    scores: list[NDArray[np.float64]]
    noisy_scores: list[NDArray[np.float64]]

    @classmethod
    def start(
        cls, name: str, estimator: Any, X_clean: Any, noiser: Any, data_range: float | None, caller: str
    ) -> Self:
        """Return a curve without levels, after a check of the estimator."""
        check_fitted(estimator, caller)
        if not hasattr(estimator, "predict"):
            raise TypeError(f"{name!r} has no predict, {type(estimator).__name__} is not a denoiser.")
        refuse_noise_in_estimator(estimator, noiser)
        clean_at_last, last = apply_earlier_steps(estimator, X_clean)
        truth = as_samples(clean_at_last, "X_clean")
        data_range = default_data_range(truth) if data_range is None else data_range
        check_data_range(data_range)
        return cls(name, estimator, truth, foreign_range(last, truth[0]), data_range, [], [])

    def add_level(self, noisy: Any) -> None:
        """Denoise noisy samples, and add the scores before and after."""
        noisy_at_last, _ = apply_earlier_steps(self.estimator, noisy)
        denoised = predict_in_range(self.estimator, noisy, self.unit)
        for scores, samples in ((self.noisy_scores, noisy_at_last), (self.scores, denoised)):
            label = f"predictions of {self.name!r}"
            scores.append(_compute_psnr(self.truth, samples, self.data_range, label))


def _compute_psnr(truth: Samples, samples: Any, data_range: float, label: str) -> NDArray[np.float64]:
    """Return the PSNR of each sample, after a check of the shapes."""
    refuse_masked(samples, label)
    # A loop over a frame would run over its columns.
    samples = samples if isinstance(samples, list | tuple) else np.asarray(samples)
    shapes = [[np.shape(x) for x in stack] for stack in (truth, samples)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"Expected {label} to be {len(truth)} samples of the shapes of the clean ones, the first "
            f"{truth[0].shape}; got {len(shapes[1])}, the first of shape {next(iter(shapes[1]), ())}."
        )
    if isinstance(truth, list):
        pairs = zip(truth, samples, strict=True)
        return np.concatenate([psnr_per_sample(t[None], np.asarray(x)[None], data_range) for t, x in pairs])
    return psnr_per_sample(truth, samples, data_range)


def _set_levels(noiser: Any, parameter: str, sigmas: ArrayLike) -> dict[float, Any]:
    """Return a noiser for each noise level, by rising level."""
    check_one_of(parameter, noiser.get_params(deep=True), f"parameter of {type(noiser).__name__}")
    return {
        float(sigma): clone(noiser).set_params(**{parameter: float(sigma)})
        for sigma in np.sort(_check_sigmas(sigmas))
    }


def _check_sigmas(sigmas: ArrayLike) -> NDArray[np.float64]:
    """Return noise levels as floats, finite and without repetition."""
    levels = np.asarray(sigmas)
    is_valid = (
        levels.ndim == 1 and len(levels) > 0 and levels.dtype.kind in "iuf" and np.isfinite(levels).all()
    )
    if not is_valid or len(np.unique(levels)) < len(levels):
        raise ValueError(
            f"sigmas must be at least one number, finite and each given once, such as [0.1, 0.25, 0.5]; got "
            f"{sigmas!r}."
        )
    return levels.astype(np.float64)


def _corrupt(noiser: Any, X: Any, seed: int) -> Any:
    """Return X with noise, without warnings about weak noise."""
    with warnings.catch_warnings():
        # Weak noise is too little to train on, but a valid point of the curve.
        warnings.simplefilter("ignore", WeakNoiseWarning)
        return corrupt_samples(noiser, X, seed)


def _format_axis_label(noiser: Any, parameter: str) -> str:
    """Return the label of the axis of noise levels, with their unit."""
    name = f"{parameter} of {type(noiser).__name__}"
    if parameter != "noise_factor" or not isinstance(noiser, GaussianNoiser | UniformNoiser):
        return name
    if isinstance(noiser, GaussianNoiser):
        name = "standard deviation of the noise"
    return f"{name}, in " + (
        "standard deviations of each feature" if noiser.scale == "std" else "the unit of the data"
    )
