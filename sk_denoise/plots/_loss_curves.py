"""How training went: the loss of each epoch, and the PSNR on validation samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sk_denoise.estimators import DenoisingAutoencoder, ImageDenoiser
from sk_denoise.plots._drawing import (
    COLORS,
    LINE_SIZE,
    MOST_INSIDE,
    Display,
    check_axes,
    legend_beside,
    legend_width,
    make_log,
    require_pyplot,
    tidy,
)
from sk_denoise.plots._inputs import check_fitted, name_of_estimator, named_estimators, step_in

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

__all__ = ["LossCurveDisplay"]

TWO_PANELS = (LINE_SIZE[0], 5.5)  # inches
STYLES = ("-", (0, (5, 1.5)), (0, (1, 1)), "-.")  # for more curves than colours
LEGEND_ROWS, HALF_ROWS = 18, 12  # runs in a column of the legend, beside one panel and the first of two
LOSS, SCORE = "training loss", "validation PSNR in dB"
BEST = "best validation PSNR"


class LossCurveDisplay(Display):
    """Show how training went: the loss of each epoch, and below it the PSNR on validation samples.

    The epoch of the best validation PSNR is marked on both curves. A training loss has no best epoch:
    it falls also while a network learns its samples by heart.

    It is recommended to use :meth:`from_estimator`, :meth:`from_estimators` or :meth:`from_curves`.

    Parameters
    ----------
    losses : dict of ndarray of shape (n_epochs,)
        By name: the mean training loss of each epoch.
    scores : dict of ndarray of shape (n_epochs,), optional
        By name: the mean PSNR on validation samples after each epoch, in dB. Names may be missing.

    Attributes
    ----------
    figure_ : matplotlib Figure
        The figure of the axes.
    axes_ : ndarray of matplotlib Axes of shape (1,) or (2,)
        The axes of the losses, and those of the scores where there are any.
    loss_lines_, score_lines_ : dict of matplotlib Line2D
        The curves, by name.
    legend_ : matplotlib Legend or None
        What the curves and the marks are; None where there is one curve.
    best_epochs_ : dict of int
        The epoch of the best validation PSNR, counted from 1, by name.
    best_marks_ : dict of list of matplotlib Line2D
        Its marks on the two curves, by name.

    See Also
    --------
    NoiseRobustnessDisplay : How good denoisers are, rather than how they came about.

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
        """Show how the training of a fitted estimator went.

        Parameters
        ----------
        estimator : estimator
            A fitted :class:`~sk_denoise.DenoisingAutoencoder` or :class:`~sk_denoise.ImageDenoiser`, or a
            pipeline or search that holds one; the last one counts.
        name : str, optional
            What it is called; by default the name of its class.
        ax, log_scale
            As in :meth:`plot`.

        Returns
        -------
        LossCurveDisplay
            Drawn.
        """
        known = {name_of_estimator(estimator, name): estimator}
        return cls._of(known, f"{cls.__name__}.from_estimator", ax, log_scale)

    @classmethod
    def from_estimators(
        cls,
        estimators: Mapping[str, Any] | Sequence[Any],
        *,
        ax: Axes | Sequence[Axes] | None = None,
        log_scale: bool = False,
    ) -> Self:
        """Show how the trainings of several fitted estimators went.

        Parameters
        ----------
        estimators : dict or list of estimators
            By name, or in a list, where names are made as :func:`~sklearn.pipeline.make_pipeline` makes
            them; each as :meth:`from_estimator` takes it.
        ax, log_scale
            As in :meth:`plot`.

        Returns
        -------
        LossCurveDisplay
            Drawn.
        """
        return cls._of(named_estimators(estimators), f"{cls.__name__}.from_estimators", ax, log_scale)

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
        """Show curves that were kept elsewhere.

        Parameters
        ----------
        losses : array-like of shape (n_epochs,), or dict of such
            The training loss of each epoch; by name where there are several runs.
        scores : array-like of shape (n_epochs,), or dict of such, optional
            The PSNR on validation samples after each epoch, in dB.
        name : str, optional
            What a single run is called, by default "run".
        ax, log_scale
            As in :meth:`plot`.

        Returns
        -------
        LossCurveDisplay
            Drawn.
        """
        if not isinstance(losses, Mapping):
            only = "run" if name is None else str(name)
            losses, scores = {only: losses}, None if scores is None else {only: scores}  # type: ignore[dict-item]
        if not (scores is None or isinstance(scores, Mapping)):
            raise TypeError("losses is a dict, so scores must be one too, with the same names.")
        if not losses:
            raise ValueError("losses is empty: give the curve of at least one run.")
        checked = {str(key): _checked_curve(curve, f"losses of {key!r}") for key, curve in losses.items()}
        return cls(checked, _checked_scores(scores, checked)).plot(ax, log_scale=log_scale)

    @classmethod
    def _of(cls, estimators: Mapping[str, Any], caller: str, ax: Any, log_scale: bool) -> Self:
        require_pyplot(caller)
        trained = {name: _trained(estimator, caller) for name, estimator in estimators.items()}
        losses = {name: denoiser.loss_curve_ for name, denoiser in trained.items()}
        scores = {name: _scores_of(denoiser) for name, denoiser in trained.items()}
        return cls.from_curves(
            losses, {name: x for name, x in scores.items() if x}, ax=ax, log_scale=log_scale
        )

    def plot(self, ax: Axes | Sequence[Axes] | None = None, *, log_scale: bool = False) -> Self:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes or pair of Axes, optional
            What to draw on. Of two, the first gets the losses, the second the scores. On a single one the
            scores are dashed, with an axis of their own at the right. By default a new figure.
        log_scale : bool, default=False
            Whether the axis of the losses is logarithmic.

        Returns
        -------
        self
        """
        scores = self.scores or {}
        if log_scale and min(float(np.min(curve)) for curve in self.losses.values()) <= 0:
            raise ValueError("log_scale=True needs losses above 0, and some are not: use log_scale=False.")
        loss_ax, score_ax = self._chosen_axes(ax, bool(scores))
        shared = score_ax is not None and loss_ax is ax
        self.loss_lines_, self.score_lines_, self.best_epochs_, self.best_marks_ = {}, {}, {}, {}
        self.legend_ = None
        for place, (name, losses) in enumerate(self.losses.items()):
            style: dict[str, Any] = {"color": COLORS[place % len(COLORS)]}
            solid = STYLES[place // len(COLORS) % len(STYLES)]
            self.loss_lines_[name] = _draw(loss_ax, losses, linestyle=solid, label=name, **style)
            if name not in scores or score_ax is None:
                continue
            line = _draw(score_ax, scores[name], linestyle="--" if shared else solid, label=name, **style)
            self.score_lines_[name] = line
            self.best_epochs_[name] = best = int(np.nanargmax(scores[name])) + 1
            self.best_marks_[name] = [
                _mark(axes, best, curve[best - 1], style["color"])
                for axes, curve in ((loss_ax, losses), (score_ax, scores[name]))
            ]
        if log_scale:
            make_log(loss_ax.yaxis)
        self._describe(loss_ax, score_ax, shared)
        self.axes_ = np.array([x for x in (loss_ax, score_ax) if x is not None], dtype=object)
        self.figure_ = loss_ax.figure
        return self

    def _chosen_axes(self, ax: Any, has_scores: bool) -> tuple[Axes, Axes | None]:
        """Return the axes for losses and for scores."""
        pyplot = require_pyplot(f"{type(self).__name__}.plot")
        width, height = TWO_PANELS if has_scores else LINE_SIZE
        if len(self.losses) > MOST_INSIDE:
            names = [*self.losses, BEST] if has_scores else list(self.losses)
            width += legend_width(names, HALF_ROWS if has_scores else LEGEND_ROWS)
        if ax is None and has_scores:
            _, ax = pyplot.subplots(2, 1, figsize=(width, height), sharex=True, layout="constrained")
        elif ax is None:
            _, ax = pyplot.subplots(figsize=(width, height), layout="constrained")
        if isinstance(ax, list | tuple | np.ndarray):
            if len(ax) != 2:
                raise ValueError(f"ax must be one or two Axes, for losses and scores; got {len(ax)}.")
            return check_axes(ax[0]), check_axes(ax[1]) if has_scores else None
        return check_axes(ax), ax.twinx() if has_scores else None

    def _describe(self, loss_ax: Axes, score_ax: Axes | None, shared: bool) -> None:
        """Name the axes, and say which curve is which."""
        from matplotlib.ticker import MaxNLocator

        tidy(loss_ax)
        loss_ax.set_ylabel(LOSS)
        lowest = loss_ax
        if score_ax is not None:
            tidy(score_ax)
            score_ax.set_ylabel(SCORE)
            lowest = loss_ax if shared else score_ax
        if shared and score_ax is not None:
            loss_ax.set_ylabel(f"{LOSS} (solid)")
            score_ax.set_ylabel(f"{SCORE} (dashed)")
            score_ax.spines["right"].set_visible(True)
        lowest.set_xlabel("epoch")
        lowest.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
        handles: list[Any] = list(self.loss_lines_.values()) if len(self.losses) > 1 else []
        if self.best_marks_:
            handles.append(_mark_in_legend())
        if len(self.losses) > MOST_INSIDE:
            rows = LEGEND_ROWS if lowest is loss_ax else HALF_ROWS
            beyond = 1.15 if shared else 1.01  # the axis of the scores
            self.legend_ = legend_beside(loss_ax, handles, rows, beyond)
            return
        place: dict[str, Any] = {}
        if shared:  # curves that fall and curves that rise leave no room for it
            place = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0), "ncols": min(3, len(handles))}
        if handles:
            self.legend_ = loss_ax.legend(handles=handles, frameon=False, fontsize="small", **place)


def _trained(estimator: Any, caller: str) -> Any:
    """Return the denoiser with a loss curve in an estimator, pipeline or search."""
    check_fitted(estimator, caller)
    _, denoiser = step_in(estimator, (DenoisingAutoencoder, ImageDenoiser))
    if denoiser is None:
        raise TypeError(
            f"{type(estimator).__name__} has no loss curve: {caller} takes a DenoisingAutoencoder or an "
            "ImageDenoiser, or a pipeline or search that holds one. Curves of other estimators go to "
            "from_curves."
        )
    check_fitted(denoiser, caller)
    return denoiser


def _scores_of(denoiser: Any) -> Sequence[float] | None:
    """Return the validation PSNR of each epoch, NaN where a fit went on without validation."""
    losses, scores = denoiser.loss_curve_, denoiser.validation_scores_
    if scores is None or len(scores) == len(losses):
        return scores  # type: ignore[no-any-return]
    return [epoch.get("valid_psnr", np.nan) for epoch in denoiser.net_.history]


def _checked_scores(
    scores: Mapping[str, ArrayLike] | None, losses: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    checked = {
        str(key): _checked_curve(curve, f"scores of {key!r}", gaps=True)
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


def _checked_curve(curve: ArrayLike, what: str, gaps: bool = False) -> NDArray[Any]:
    array = np.asarray(curve)
    if array.ndim != 1 or not len(array) or array.dtype.kind not in "iuf":
        raise ValueError(
            f"Expected numbers of shape (n_epochs,) as {what}, got {array.dtype} of shape {array.shape}."
        )
    known = array[~np.isnan(array)] if gaps else array
    if not len(known) or not np.isfinite(known).all():
        raise ValueError(f"The {what} are not finite: leave out the epochs of a run that diverged.")
    return array


def _draw(ax: Axes, curve: NDArray[Any], **style: Any) -> Line2D:
    """Draw a curve over epochs, which are counted from 1; a single one as a point."""
    (line,) = ax.plot(np.arange(1, len(curve) + 1), curve, marker="." if len(curve) == 1 else None, **style)
    return line


def _mark(ax: Axes, epoch: int, value: float, color: str) -> Line2D:
    (mark,) = ax.plot([epoch], [value], "*", color=color, markersize=12, markeredgecolor="white")
    return mark


def _mark_in_legend() -> Line2D:
    from matplotlib.lines import Line2D

    return Line2D([], [], marker="*", linestyle="", color="0.35", markersize=10, label=BEST)
