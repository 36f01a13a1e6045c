"""Display of the measurements behind a noise model."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sk_denoise.plots._base import (
    COLORS,
    LINE_FIGURE_SIZE,
    REFERENCE_COLOR,
    Display,
    check_figure,
    hide_spines,
    require_pyplot,
)
from sk_denoise.restoration import NoiseModel, estimate_noise

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

__all__ = ["NoiseModelDisplay"]

# Width of a figure with two panels, relative to one.
TWO_PANELS = 1.8
# Characters of a line of the title for each panel.
TITLE_LENGTH = 60
# Area of the point with the largest weight, in square points.
MAX_POINT_AREA = 40
# Room above the highest point, and scales of the levels in pixels.
HEADROOM, SCALES = 1.25, (1, 2, 4, 8)


class NoiseModelDisplay(Display):
    """Measurements behind a noise model: variance by brightness, and level by scale.

    White noise lies on a level line in both panels. The variance of counts grows with the brightness along a
    line, and the level of correlated noise grows with the scale.

    It is recommended to use :meth:`from_image` or :meth:`from_model`.

    Parameters
    ----------
    model : NoiseModel
        Estimated noise model.

    Attributes
    ----------
    figure_ : matplotlib Figure
        Figure of the axes.
    axes_ : ndarray of matplotlib Axes of shape (1,) or (2,)
        Axes of the variance, if the model has points, and axes of the level.
    points_ : matplotlib PathCollection or None
        Variance of flat parts of the image against their brightness.
    variance_line_ : matplotlib Line2D or None
        Variance according to the model.
    level_line_ : matplotlib Line2D
        Level against the side of the squares.

    See Also
    --------
    sk_denoise.restoration.estimate_noise : Estimates the model.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_denoise.datasets import load_images
    >>> from sk_denoise.plots import NoiseModelDisplay
    >>> clean = load_images("gray").test[0]
    >>> counts = np.random.default_rng(0).poisson(100 * clean).astype(np.uint16)
    >>> display = NoiseModelDisplay.from_image(counts)
    >>> display.model.kind, len(display.axes_)
    ('counts', 2)
    """

    figure_: Any
    axes_: NDArray[Any]
    points_: Any
    variance_line_: Any
    level_line_: Any

    def __init__(self, model: NoiseModel) -> None:
        self.model = model

    @classmethod
    def from_image(
        cls,
        images: ArrayLike | list[ArrayLike],
        mask: ArrayLike | None = None,
        *,
        figure: Figure | SubFigure | None = None,
    ) -> Self:
        """Estimate and show the noise model of an image.

        Parameters
        ----------
        images, mask
            As for :func:`~sk_denoise.restoration.estimate_noise`.
        figure
            As in :meth:`plot`.

        Returns
        -------
        NoiseModelDisplay
            Display with its figure.
        """
        require_pyplot(f"{cls.__name__}.from_image")
        return cls(estimate_noise(images, mask)).plot(figure)

    @classmethod
    def from_model(cls, model: NoiseModel, *, figure: Figure | SubFigure | None = None) -> Self:
        """Show a noise model.

        Parameters
        ----------
        model : NoiseModel
            Model of :func:`~sk_denoise.restoration.estimate_noise`.
        figure
            As in :meth:`plot`.

        Returns
        -------
        NoiseModelDisplay
            Display with its figure.
        """
        require_pyplot(f"{cls.__name__}.from_model")
        if not isinstance(model, NoiseModel):
            raise TypeError(f"model must be a NoiseModel, as estimate_noise returns it, got {model!r}.")
        return cls(model).plot(figure)

    def plot(self, figure: Figure | SubFigure | None = None) -> Self:
        """Draw the panels.

        Parameters
        ----------
        figure : matplotlib Figure or SubFigure, optional
            Empty figure to draw on. By default a new one.

        Returns
        -------
        NoiseModelDisplay
            The display itself.
        """
        plt = require_pyplot(f"{type(self).__name__}.plot")
        has_points = self.model.points is not None and len(self.model.points) > 0
        width, height = LINE_FIGURE_SIZE
        if figure is None:
            size = (TWO_PANELS * width if has_points else width, height)
            figure = plt.figure(figsize=size, layout="constrained")
        self.figure_ = check_figure(figure)
        self.axes_ = self.figure_.subplots(1, 1 + has_points, squeeze=False)[0]
        self.points_ = self.variance_line_ = None
        if has_points:
            self._draw_variance(self.axes_[0])
        self._draw_levels(self.axes_[-1])
        for axis in self.axes_:
            hide_spines(axis)
        self.figure_.suptitle(textwrap.fill(str(self.model), TITLE_LENGTH * (1 + has_points)))
        return self

    def _draw_variance(self, ax: Any) -> None:
        """Draw the variance of flat parts against their brightness."""
        assert self.model.points is not None
        means, variances, weights = self.model.points.T
        areas = MAX_POINT_AREA * np.sqrt(np.clip(weights, 0.02, 1))
        self.points_ = ax.scatter(means, variances, areas, color=COLORS[0], label="flat parts of the image")
        model = self.model
        light = np.linspace(min(means.min(), model.offset), means.max(), 50)
        line = np.full(50, model.sigma**2)
        if model.kind == "counts":
            line = model.gain * np.maximum(light - model.offset, 0) + model.read_noise**2
        (self.variance_line_,) = ax.plot(light, line, color=REFERENCE_COLOR, label="model")
        # Without a limit at 0, a level line looks like a steep one.
        ax.set_ylim(0, HEADROOM * max(float(line.max()), float(np.quantile(variances, 0.9))))
        ax.set(xlabel="brightness", ylabel="noise variance")
        ax.legend(frameon=False)

    def _draw_levels(self, ax: Any) -> None:
        """Draw the level against the scale."""
        levels = self.model.levels or (self.model.sigma,)
        scales = SCALES[: len(levels)]
        (self.level_line_,) = ax.plot(scales, levels, "o-", color=COLORS[0], label="measured")
        ax.axhline(levels[0], color=REFERENCE_COLOR, linestyle=":", label="white noise")
        ax.set_xscale("log", base=2)
        ax.set_xticks(scales, [str(scale) for scale in scales])
        ax.minorticks_off()
        ax.set_ylim(0, HEADROOM * max(*levels, 1e-12) if len(levels) > 1 else None)
        ax.set(xlabel="scale in pixels", ylabel="noise level")
        ax.legend(frameon=False)
