"""How good denoisers are as noise grows stronger."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone

from sk_denoise._intensity import IntensityRange
from sk_denoise._validation import Noiser, check_noiser, check_one_of
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
from sk_denoise.plots._drawing import (
    COLORS,
    GRAY,
    LINE_SIZE,
    MARKERS,
    MOST_INSIDE,
    Display,
    legend_beside,
    legend_width,
    make_log,
    new_or_given,
    require_pyplot,
    tidy,
)
from sk_denoise.plots._inputs import (
    Samples,
    as_samples,
    check_fitted,
    name_of_estimator,
    named_estimators,
    range_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import FillBetweenPolyCollection
    from matplotlib.lines import Line2D

__all__ = [
    "Candidate",
    "NoiseRobustnessDisplay",
    "checked_sigmas",
    "corrupted",
    "label_of",
    "levels_of",
    "psnr_of_samples",
]

LEGEND_ROWS = 18  # denoisers in a column of the legend
Scores = NDArray[np.float64]  # (n_levels, n_samples), in dB


def _standard_errors(scores: Scores) -> tuple[NDArray[Any], NDArray[Any]]:
    means = scores.mean(axis=1)
    errors = scores.std(axis=1, ddof=1) / np.sqrt(scores.shape[1]) if scores.shape[1] > 1 else 0 * means
    return means - errors, means + errors


def _quartiles(scores: Scores) -> tuple[NDArray[Any], NDArray[Any]]:
    low, high = np.quantile(scores, (0.25, 0.75), axis=1)
    return low, high


# band: from the PSNR of each level and sample to the lower and the upper end at each level
BANDS = {"standard_error": _standard_errors, "quartiles": _quartiles}


class NoiseRobustnessDisplay(Display):
    """Show how good denoisers are as noise grows stronger: mean PSNR against the strength.

    All denoisers meet the same noise, a single draw that is fixed by the seed of the noiser, as
    :func:`~sk_denoise.make_denoising_scorer` draws it. The dashed line is what the noisy samples have
    before anything is done to them: below it a denoiser does harm. A band shows how samples differ.

    It is recommended to use :meth:`from_estimator`, :meth:`from_estimators` or :meth:`from_predictions`.

    Parameters
    ----------
    sigmas : ndarray of shape (n_levels,)
        Strengths of the noise, rising.
    scores : dict of ndarray of shape (n_levels, n_samples)
        By name of the denoiser: the PSNR in dB of each sample under each noise.
    noisy_scores : dict of ndarray of shape (n_levels, n_samples), optional
        By the same names: the PSNR of the noisy samples, as each denoiser meets them.
    label : str, default="noise"
        What the strengths are, and in which unit.

    Attributes
    ----------
    figure_ : matplotlib Figure
        The figure of the axes.
    ax_ : matplotlib Axes
        What the curves were drawn on.
    lines_ : dict of matplotlib Line2D
        The mean PSNR, by name.
    bands_ : dict of matplotlib PolyCollection
        The bands, by name; empty with ``band=None``.
    noisy_lines_ : dict of matplotlib Line2D
        The dashed lines; a single one, "noisy", where all denoisers meet the same samples.

    See Also
    --------
    sk_denoise.make_denoising_scorer : One of these numbers, for searches.
    sk_denoise.compare_denoisers : Tables, of functions and of pipelines that scale in different ways too.

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
        """Ask a fitted denoiser how good it is under noise of several strengths.

        Parameters
        ----------
        estimator : estimator
            A fitted denoiser with ``predict``, or a pipeline or search that ends in one.
        X_clean : array-like of shape (n_samples, ...), or list of arrays
            Clean samples that it has not seen.
        sigmas, noiser, parameter, data_range
            As in :meth:`from_estimators`.
        name : str, optional
            What it is called; by default the name of its class.
        ax, band, log_scale
            As in :meth:`plot`.

        Returns
        -------
        NoiseRobustnessDisplay
            Drawn.
        """
        return cls.from_estimators(
            {name_of_estimator(estimator, name): estimator},
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
        """Ask several fitted denoisers how good they are under noise of several strengths.

        Each predicts once for each strength.

        Parameters
        ----------
        estimators : dict or list of estimators
            Fitted denoisers with ``predict``, or pipelines or searches that end in one: by name, or in a
            list, where names are made as :func:`~sklearn.pipeline.make_pipeline` makes them. Where steps of
            a pipeline change the data, clean and noisy samples are compared as its last step meets them, as
            :func:`~sk_denoise.make_denoising_scorer` does; it then has a dashed line of its own.
        X_clean : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels]), or \
                list of arrays
            Clean samples that the estimators have not seen. Images of different sizes come in a list, for
            estimators that take such.
        sigmas : array-like of shape (n_levels,)
            Values of the parameter of the noiser, in its unit.
        noiser : noiser, optional
            The noise, by default ``GaussianNoiser(random_state=0)``. It corrupts whatever its ``apply``
            says; its statistics come from ``X_clean``; ``random_state=None`` counts as 0.
        parameter : str, default="noise_factor"
            The parameter of the noiser that is its strength: "amount" of a
            :class:`~sk_denoise.SaltAndPepperNoiser`, "peak" of a :class:`~sk_denoise.PoissonNoiser`.
        data_range : float, optional
            What the PSNR refers to; by default the range of the type for 8- and 16-bit integers, else the
            maximum of the clean samples minus their minimum.
        ax, band, log_scale
            As in :meth:`plot`.

        Returns
        -------
        NoiseRobustnessDisplay
            Drawn.
        """
        caller = f"{cls.__name__}.from_estimators"
        require_pyplot(caller)
        noiser = GaussianNoiser(random_state=0) if noiser is None else check_noiser(noiser)
        levels = levels_of(noiser, parameter, sigmas)
        candidates = [
            Candidate.of(name, estimator, X_clean, noiser, data_range, caller)
            for name, estimator in named_estimators(estimators).items()
        ]
        seed = noise_seed(noiser)
        for level in levels.values():
            noisy = corrupted(level, X_clean, seed)
            for candidate in candidates:
                candidate.meet(noisy)
        return cls(
            np.array(list(levels)),
            {candidate.name: np.array(candidate.scores) for candidate in candidates},
            {candidate.name: np.array(candidate.noisy_scores) for candidate in candidates},
            label=label_of(noiser, parameter),
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
        """Show how good predictions are that were made elsewhere.

        Parameters
        ----------
        clean : array-like of shape (n_samples, ...), or list of arrays
            Clean samples.
        noisy : sequence of length n_levels
            Of each strength: noisy samples of the shape of ``clean``.
        denoised : dict of sequence of length n_levels
            By name of the denoiser: what it made of each of them.
        sigmas : array-like of shape (n_levels,)
            The strengths.
        data_range : float, optional
            What the PSNR refers to, as in :meth:`from_estimators`.
        label : str, default="noise"
            What the strengths are, and in which unit.
        ax, band, log_scale
            As in :meth:`plot`.

        Returns
        -------
        NoiseRobustnessDisplay
            Drawn.
        """
        levels = checked_sigmas(sigmas)
        order = np.argsort(levels)
        if not denoised:
            raise ValueError("denoised is empty: give the predictions of at least one denoiser.")
        truth = as_samples(clean, "clean")
        data_range = range_of(truth) if data_range is None else data_range

        def grade(answers: Sequence[Any], what: str) -> Scores:
            if len(answers) != len(levels):
                raise ValueError(
                    f"{what} must hold samples for each of {len(levels)} sigmas, got {len(answers)}."
                )
            return np.array([psnr_of_samples(truth, answers[place], data_range, what) for place in order])

        before = grade(noisy, "noisy")
        return cls(
            levels[order],
            {str(name): grade(answers, f"denoised[{name!r}]") for name, answers in denoised.items()},
            {str(name): before for name in denoised},
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
            What to draw on; by default those of a new figure.
        band : {"quartiles", "standard_error"} or None, default="quartiles"
            What is shaded around the mean: the PSNR of the middle half of the samples, or the mean plus and
            minus its standard error.
        log_scale : bool, default=False
            Whether the axis of the strengths is logarithmic.

        Returns
        -------
        self
        """
        ends = None if band is None else check_one_of(band, BANDS, "band")
        if log_scale and np.min(self.sigmas) <= 0:
            raise ValueError("log_scale=True needs sigmas above 0, and some are not: use log_scale=False.")
        references = self._references()
        names = [*self.scores, *(name for name, _, _ in references)]
        crowded = len(names) > MOST_INSIDE
        beside = legend_width(names, LEGEND_ROWS) if crowded else 0.0
        ax = new_or_given(ax, f"{type(self).__name__}.plot", (LINE_SIZE[0] + beside, LINE_SIZE[1]))
        self.lines_, self.bands_, self.noisy_lines_ = {}, {}, {}
        for place, (name, scores) in enumerate(self.scores.items()):
            color, marker = _look(place)
            (self.lines_[name],) = ax.plot(
                self.sigmas, _means(scores), color=color, marker=marker, markersize=4.5, label=name
            )
            if ends is not None:
                self.bands_[name] = ax.fill_between(
                    self.sigmas, *ends(scores), color=color, alpha=0.15, linewidth=0
                )
        for name, color, scores in references:
            (self.noisy_lines_[name],) = ax.plot(
                self.sigmas, _means(scores), color=color, linestyle="--", linewidth=1.2, label=name
            )
        ax.set(xlabel=self.label, ylabel="PSNR in dB, mean of samples")
        if log_scale:
            make_log(ax.xaxis)
        if crowded:
            legend_beside(ax, [*self.lines_.values(), *self.noisy_lines_.values()], LEGEND_ROWS)
        else:
            ax.legend(frameon=False, fontsize="small")
        tidy(ax)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _references(self) -> list[tuple[str, str, Scores]]:
        """Return name, colour and PSNR of noisy samples: once, where they are the same for all."""
        known = {name: self.noisy_scores[name] for name in self.scores} if self.noisy_scores else {}
        if not known:
            return []
        first, *others = known.values()
        if all(np.allclose(first, other, atol=1e-3) for other in others):
            return [("noisy", GRAY, first)]
        return [
            (f"noisy, for {name}", COLORS[place % len(COLORS)], scores)
            for place, (name, scores) in enumerate(known.items())
        ]


def _look(place: int) -> tuple[str, str]:
    """Return a colour and a marker that no other of the first 100 denoisers has together."""
    turn, color = divmod(place, len(COLORS))
    return COLORS[color], MARKERS[(place + turn) % len(MARKERS)]


def _means(scores: Scores) -> NDArray[np.float64]:
    """Return the mean of each level; samples that are all perfect have none that could be drawn."""
    means = scores.mean(axis=1)
    return np.where(means < PSNR_CAP, means, np.nan)


@dataclass
class Candidate:
    """A denoiser with the clean samples as its last step meets them, and how good it was so far."""

    name: str
    estimator: Any
    truth: Samples
    unit: IntensityRange | None
    data_range: float
    scores: list[NDArray[np.float64]]
    noisy_scores: list[NDArray[np.float64]]

    @classmethod
    def of(
        cls, name: str, estimator: Any, X_clean: Any, noiser: Any, data_range: float | None, caller: str
    ) -> Self:
        check_fitted(estimator, caller)
        if not hasattr(estimator, "predict"):
            raise TypeError(f"{name!r} has no predict, {type(estimator).__name__} is no denoiser.")
        refuse_noise_in_estimator(estimator, noiser)
        seen, last = apply_earlier_steps(estimator, X_clean)
        truth = as_samples(seen, "X_clean")
        data_range = range_of(truth) if data_range is None else data_range
        check_data_range(data_range)
        return cls(name, estimator, truth, foreign_range(last, truth[0]), data_range, [], [])

    def meet(self, noisy: Any) -> None:
        """Denoise noisy samples, and note how good they were before and are afterwards."""
        seen, _ = apply_earlier_steps(self.estimator, noisy)
        denoised = predict_in_range(self.estimator, noisy, self.unit)
        for notes, samples in ((self.noisy_scores, seen), (self.scores, denoised)):
            notes.append(
                psnr_of_samples(self.truth, samples, self.data_range, f"what {self.name!r} predicts")
            )


def psnr_of_samples(truth: Samples, samples: Any, data_range: float, what: str) -> NDArray[np.float64]:
    """Return the PSNR of each sample, once it is known that there is one for each clean one."""
    samples = samples if isinstance(samples, list | tuple) else np.asarray(samples)
    shapes = [[np.shape(x) for x in stack] for stack in (truth, samples)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"Expected {what} to be {len(truth)} samples of the shapes of the clean ones, the first "
            f"{truth[0].shape}; got {len(shapes[1])}, the first of shape {next(iter(shapes[1]), ())}."
        )
    if isinstance(truth, list):
        pairs = zip(truth, samples, strict=True)
        return np.concatenate([psnr_per_sample(t[None], np.asarray(x)[None], data_range) for t, x in pairs])
    return psnr_per_sample(truth, samples, data_range)


def levels_of(noiser: Any, parameter: str, sigmas: ArrayLike) -> dict[float, Any]:
    """Return a noiser of each strength, by the strength, rising."""
    known = noiser.get_params(deep=True)
    check_one_of(parameter, known, f"parameter of {type(noiser).__name__}")
    return {
        float(sigma): clone(noiser).set_params(**{parameter: float(sigma)})
        for sigma in np.sort(checked_sigmas(sigmas))
    }


def checked_sigmas(sigmas: ArrayLike) -> NDArray[np.float64]:
    levels = np.asarray(sigmas)
    fits = levels.ndim == 1 and len(levels) > 0 and levels.dtype.kind in "iuf" and np.isfinite(levels).all()
    if not fits or len(np.unique(levels)) < len(levels):
        raise ValueError(
            f"sigmas must be at least one number, finite and each given once, such as [0.1, 0.25, 0.5]; got "
            f"{sigmas!r}."
        )
    return levels.astype(np.float64)


def corrupted(noiser: Any, X: Any, seed: int) -> Any:
    """Return X with noise; that weak noise has nothing to teach matters to no one here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", WeakNoiseWarning)
        return corrupt_samples(noiser, X, seed)


def label_of(noiser: Any, parameter: str) -> str:
    """Return what the strengths are, and in which unit."""
    name = f"{parameter} of {type(noiser).__name__}"
    if parameter != "noise_factor" or not isinstance(noiser, GaussianNoiser | UniformNoiser):
        return name
    if isinstance(noiser, GaussianNoiser):
        name = "standard deviation of the noise"
    return f"{name}, in " + (
        "standard deviations of each feature" if noiser.scale == "std" else "the unit of the data"
    )
