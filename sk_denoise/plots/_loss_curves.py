"""Display of the loss and the validation PSNR of each epoch of a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sk_denoise.estimators import DenoisingAutoencoder, ImageDenoiser
from sk_denoise.plots._base import (
    COLORS,
    LINE_FIGURE_SIZE,
    MAX_INSIDE_LEGEND,
    REFERENCE_COLOR,
    Display,
    check_axes,
    check_fitted,
    draw_legend_beside,
    find_step,
    get_estimator_name,
    hide_spines,
    measure_legend_width,
    name_estimators,
    require_pyplot,
    set_log_scale,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

__all__ = ["LossCurveDisplay"]

# Size of a figure with two panels, in inches.
TWO_PANEL_SIZE = (LINE_FIGURE_SIZE[0], 5.5)
# Line styles tell curves apart once colours repeat.
LINE_STYLES = ("-", (0, (5, 1.5)), (0, (1, 1)), "-.")
# Rows of a legend beside a single panel, and beside the first of two panels, which is lower.
LEGEND_ROWS, HALF_LEGEND_ROWS = 18, 12
LOSS_LABEL, SCORE_LABEL = "training loss", "validation PSNR in dB"
BEST_LABEL = "best validation PSNR"


class LossCurveDisplay(Display):
    """Loss curves of a training, and the PSNR on validation samples.

    The epoch of the best validation PSNR is marked on both curves. The lowest training loss is not marked,
    because the loss also falls while a network overfits.

    It is recommended to use :meth:`from_estimator`, :meth:`from_estimators` or :meth:`from_curves`.

    Parameters
    ----------
    losses : dict of ndarray of shape (n_epochs,)
        Mean training loss of each epoch, by name.
    scores : dict of ndarray of shape (n_epochs,), optional
        Mean PSNR on validation samples after each epoch, in dB, by name. Names may be missing.

    Attributes
    ----------
    figure_ : matplotlib Figure
        Figure of the axes.
    axes_ : ndarray of matplotlib Axes of shape (1,) or (2,)
        Axes of the losses, and those of the scores if there are scores.
    loss_lines_, score_lines_ : dict of matplotlib Line2D
        Curves, by name.
    legend_ : matplotlib Legend or None
        Legend of the curves and the marks; None for a single curve without marks.
    best_epochs_ : dict of int
        Epoch of the best validation PSNR, counted from 1, by name.
    best_marks_ : dict of list of matplotlib Line2D
        Marks of this epoch on the two curves, by name.

    See Also
    --------
    NoiseRobustnessDisplay : Quality of fitted denoisers under noise of several levels.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sk_denoise import DenoisingAutoencoder
    >>> from sk_denoise.plots import LossCurveDisplay
    >>> X = load_digits().data / 16
    >>> dae = DenoisingAutoencoder(early_stopping=True, max_epochs=5, random_state=0).fit(X)
    >>> display = LossCurveDisplay.from_estimator(dae)
    >>> display.axes_.shape, list(display.best_epochs_)
    ((2,), ['DenoisingAutoencoder'])
    """

    figure_: Any
    axes_: NDArray[Any]
    loss_lines_: dict[str, Line2D]
    score_lines_: dict[str, Line2D]
    legend_: Any
    best_epochs_: dict[str, int]
    best_marks_: dict[str, list[Line2D]]

    def __init__(
        self, losses: Mapping[str, NDArray[Any]], scores: Mapping[str, NDArray[Any]] | None = None
    ) -> None:
        self.losses = losses
        self.scores = scores

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        name: str | None = None,
        ax: Axes | Sequence[Axes] | None = None,
        log_scale: bool = False,
    ) -> Self:
        """Show the curves of a fitted estimator.

        Parameters
        ----------
        estimator : estimator
            Fitted :class:`~sk_denoise.DenoisingAutoencoder` or :class:`~sk_denoise.ImageDenoiser`, or a
            pipeline or search that contains one. Of several, the last one is shown.
        name : str, optional
            Name of the curve, by default the name of the class.
        ax, log_scale
            As in :meth:`plot`.

        Returns
        -------
        LossCurveDisplay
            Display with its figure.
        """
        named = {get_estimator_name(estimator, name): estimator}
        return cls._from_named(named, f"{cls.__name__}.from_estimator", ax, log_scale)

    @classmethod
    def from_estimators(
        cls,
        estimators: Mapping[str, Any] | Sequence[Any],
        *,
        ax: Axes | Sequence[Axes] | None = None,
        log_scale: bool = False,
    ) -> Self:
        """Show the curves of several fitted estimators.

        Parameters
        ----------
        estimators : dict or list of estimators
            Estimators as in :meth:`from_estimator`, by name, or a list, with names as in
            :func:`~sklearn.pipeline.make_pipeline`.
        ax, log_scale
            As in :meth:`plot`.

        Returns
        -------
        LossCurveDisplay
            Display with its figure.
        """
        caller = f"{cls.__name__}.from_estimators"
        return cls._from_named(name_estimators(estimators), caller, ax, log_scale)

    @classmethod
    def from_curves(
        cls,
        losses: ArrayLike | Mapping[str, ArrayLike],
        scores: ArrayLike | Mapping[str, ArrayLike] | None = None,
        *,
        name: str | None = None,
        ax: Axes | Sequence[Axes] | None = None,
        log_scale: bool = False,
    ) -> Self:
        """Show curves that are given as numbers.

        Parameters
        ----------
        losses : array-like of shape (n_epochs,), or dict of such
            Training loss of each epoch; by name for several runs.
        scores : array-like of shape (n_epochs,), or dict of such, optional
            PSNR on validation samples after each epoch, in dB.
        name : str, optional
            Name of a single run, by default "run".
        ax, log_scale
            As in :meth:`plot`.

        Returns
        -------
        LossCurveDisplay
            Display with its figure.
        """
        if not isinstance(losses, Mapping):
            name = "run" if name is None else str(name)
            losses, scores = {name: losses}, None if scores is None else {name: scores}  # type: ignore[dict-item]
        if not (scores is None or isinstance(scores, Mapping)):
            raise TypeError("losses is a dict, so scores must be one too, with the same names.")
        if not losses:
            raise ValueError("losses is empty: give the curve of at least one run.")
        checked = {str(key): _check_curve(curve, f"losses of {key!r}") for key, curve in losses.items()}
        return cls(checked, _check_scores(scores, checked)).plot(ax, log_scale=log_scale)

    @classmethod
    def _from_named(cls, estimators: Mapping[str, Any], caller: str, ax: Any, log_scale: bool) -> Self:
        """Show the curves of estimators by name."""
        require_pyplot(caller)
        denoisers = {name: _find_denoiser(estimator, caller) for name, estimator in estimators.items()}
        losses = {name: denoiser.loss_curve_ for name, denoiser in denoisers.items()}
        scores = {name: _get_scores(denoiser) for name, denoiser in denoisers.items()}
        return cls.from_curves(
            losses, {name: x for name, x in scores.items() if x}, ax=ax, log_scale=log_scale
        )

    def plot(self, ax: Axes | Sequence[Axes] | None = None, *, log_scale: bool = False) -> Self:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes or pair of Axes, optional
            Axes to draw on: two for the losses and the scores, or one for both, with dashed scores and
            their axis at the right. By default a new figure.
        log_scale : bool, default=False
            Whether the axis of the losses is logarithmic.

        Returns
        -------
        self
        """
        scores = self.scores or {}
        # Before the axes are made, so that an error leaves no empty figure behind.
        if log_scale and min(float(np.min(curve)) for curve in self.losses.values()) <= 0:
            raise ValueError("log_scale=True needs losses above 0, and some are not: use log_scale=False.")
        loss_ax, score_ax = self._prepare_two_axes(ax, bool(scores))
        shared = score_ax is not None and loss_ax is ax
        self.loss_lines_, self.score_lines_, self.best_epochs_, self.best_marks_ = {}, {}, {}, {}
        self.legend_ = None
        for place, (name, losses) in enumerate(self.losses.items()):
            style: dict[str, Any] = {"color": COLORS[place % len(COLORS)]}
            dashes = LINE_STYLES[place // len(COLORS) % len(LINE_STYLES)]
            self.loss_lines_[name] = _draw_curve(loss_ax, losses, linestyle=dashes, label=name, **style)
            if name not in scores or score_ax is None:
                continue
            self.score_lines_[name] = _draw_curve(
                score_ax, scores[name], linestyle="--" if shared else dashes, label=name, **style
            )
            self.best_epochs_[name] = best = int(np.nanargmax(scores[name])) + 1
            self.best_marks_[name] = [
                _draw_mark(axes, best, curve[best - 1], style["color"])
                for axes, curve in ((loss_ax, losses), (score_ax, scores[name]))
            ]
        if log_scale:
            set_log_scale(loss_ax.yaxis)
        self._draw_labels(loss_ax, score_ax, shared)
        self.axes_ = np.array([x for x in (loss_ax, score_ax) if x is not None], dtype=object)
        self.figure_ = loss_ax.figure
        return self

    def _prepare_two_axes(self, ax: Any, has_scores: bool) -> tuple[Axes, Axes | None]:
        """Return the axes for losses and for scores."""
        pyplot = require_pyplot(f"{type(self).__name__}.plot")
        width, height = TWO_PANEL_SIZE if has_scores else LINE_FIGURE_SIZE
        # A wider figure keeps the width of the panels beside a legend.
        if len(self.losses) > MAX_INSIDE_LEGEND:
            names = [*self.losses, BEST_LABEL] if has_scores else list(self.losses)
            width += measure_legend_width(names, HALF_LEGEND_ROWS if has_scores else LEGEND_ROWS)
        if ax is None and has_scores:
            _, ax = pyplot.subplots(2, 1, figsize=(width, height), sharex=True, layout="constrained")
        elif ax is None:
            _, ax = pyplot.subplots(figsize=(width, height), layout="constrained")
        if isinstance(ax, list | tuple | np.ndarray):
            if len(ax) != 2:
                raise ValueError(f"ax must be one or two Axes, for losses and scores; got {len(ax)}.")
            return check_axes(ax[0]), check_axes(ax[1]) if has_scores else None
        return check_axes(ax), ax.twinx() if has_scores else None

    def _draw_labels(self, loss_ax: Axes, score_ax: Axes | None, shared: bool) -> None:
        """Draw the labels of the axes, and the legend."""
        from matplotlib.ticker import MaxNLocator

        hide_spines(loss_ax)
        loss_ax.set_ylabel(LOSS_LABEL)
        lowest = loss_ax
        if score_ax is not None:
            hide_spines(score_ax)
            score_ax.set_ylabel(SCORE_LABEL)
            lowest = loss_ax if shared else score_ax
        if shared and score_ax is not None:
            loss_ax.set_ylabel(f"{LOSS_LABEL} (solid)")
            score_ax.set_ylabel(f"{SCORE_LABEL} (dashed)")
            score_ax.spines["right"].set_visible(True)
        lowest.set_xlabel("epoch")
        lowest.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
        handles: list[Any] = list(self.loss_lines_.values()) if len(self.losses) > 1 else []
        if self.best_marks_:
            handles.append(_create_legend_mark())
        if len(self.losses) > MAX_INSIDE_LEGEND:
            rows = LEGEND_ROWS if lowest is loss_ax else HALF_LEGEND_ROWS
            # A shared panel has the axis of the scores at its right.
            left = 1.15 if shared else 1.01
            self.legend_ = draw_legend_beside(loss_ax, handles, rows, left)
            return
        position: dict[str, Any] = {}
        if shared:
            # Falling losses and rising scores fill the panel, so the legend lies above it.
            position = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0), "ncols": min(3, len(handles))}
        if handles:
            self.legend_ = loss_ax.legend(handles=handles, frameon=False, fontsize="small", **position)


def _find_denoiser(estimator: Any, caller: str) -> Any:
    """Return the denoiser with a loss curve in an estimator, pipeline or search."""
    check_fitted(estimator, caller)
    # Other estimators may have a `loss_curve_` too, with scores that are not PSNR.
    _, denoiser = find_step(estimator, (DenoisingAutoencoder, ImageDenoiser))
    if denoiser is None:
        raise TypeError(
            f"{type(estimator).__name__} has no loss curve: {caller} takes a DenoisingAutoencoder or an "
            "ImageDenoiser, or a pipeline or search that contains one. Curves of other estimators go to "
            "from_curves."
        )
    check_fitted(denoiser, caller)
    return denoiser


def _get_scores(denoiser: Any) -> Sequence[float] | None:
    """Return the validation PSNR of each epoch, or None without validation."""
    losses, scores = denoiser.loss_curve_, denoiser.validation_scores_
    if scores is None or len(scores) == len(losses):
        return scores  # type: ignore[no-any-return]
    # Epochs of `partial_fit` have no validation, and become gaps in the curve.
    return [epoch.get("valid_psnr", np.nan) for epoch in denoiser.net_.history]


def _check_scores(
    scores: Mapping[str, ArrayLike] | None, losses: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """Return scores as arrays, checked against the losses of the same runs."""
    checked = {
        str(key): _check_curve(curve, f"scores of {key!r}", allow_nan=True)
        for key, curve in (scores or {}).items()
    }
    for name, curve in checked.items():
        if name not in losses:
            known = ", ".join(map(repr, losses))
            raise ValueError(f"scores has the name {name!r}, which losses lacks. Known: {known}.")
        if len(curve) != len(losses[name]):
            raise ValueError(
                f"{name!r} has {len(losses[name])} losses and {len(curve)} scores: one of each is needed for "
                "every epoch."
            )
    return checked


def _check_curve(curve: ArrayLike, label: str, allow_nan: bool = False) -> NDArray[Any]:
    """Return a curve as an array of finite numbers, with gaps if they are allowed."""
    array = np.asarray(curve)
    if array.ndim != 1 or not len(array) or array.dtype.kind not in "iuf":
        raise ValueError(
            f"Expected numbers of shape (n_epochs,) as {label}, got {array.dtype} of shape {array.shape}."
        )
    values = array[~np.isnan(array)] if allow_nan else array
    if not len(values) or not np.isfinite(values).all():
        raise ValueError(f"The {label} are not finite: leave out the epochs of a run that diverged.")
    return array


def _draw_curve(ax: Axes, curve: NDArray[Any], **style: Any) -> Line2D:
    """Draw a curve over epochs, which are counted from 1."""
    # A line through a single point would be invisible.
    marker = "." if len(curve) == 1 else None
    (line,) = ax.plot(np.arange(1, len(curve) + 1), curve, marker=marker, **style)
    return line


def _draw_mark(ax: Axes, epoch: int, value: float, color: str) -> Line2D:
    (mark,) = ax.plot([epoch], [value], "*", color=color, markersize=12, markeredgecolor="white")
    return mark


def _create_legend_mark() -> Line2D:
    from matplotlib.lines import Line2D

    return Line2D([], [], marker="*", linestyle="", color=REFERENCE_COLOR, markersize=10, label=BEST_LABEL)
