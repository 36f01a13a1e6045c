"""What a DenoisingDisplay draws: samples above each other, as images or as lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sk_denoise.plots._drawing import (
    COLORS,
    TEXT_HEIGHT,
    WIDEST,
    draw_image,
    suitable_width,
    text_width,
    tidy,
)
from sk_denoise.plots._inputs import Samples

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

__all__ = ["Panels", "draw_images", "draw_signals", "error_of", "error_scale", "figure_for"]

LABELS_WIDTH, SCALE_WIDTH = 0.8, 0.5  # inches: the names of the rows, the scale of the errors
ERRORS = "RdBu_r"  # blue is too dark, red too bright
SHOWN_SHARE = 0.995  # of the errors that lie on the scale: a few pixels must not fade all others
GAP = 0.06  # inches, between rows
SIGNAL_WIDTH, SIGNAL_HEIGHT = 3.2, 1.35  # inches
SMALLEST_TEXT, SMALLEST_TICKS = 6.0, 5.0  # points
TEXT, SMALL_TEXT, TICKS = (
    10.0,
    8.5,
    7.0,
)  # points, of names, of decibels and of the scale, where there is room
CLEAN_LINE = "0.75"
ERROR = "error"  # the name of the last row


@dataclass(frozen=True)
class Panels:
    """Samples by the name of their row, and what is written about them.

    Attributes
    ----------
    rows : dict
        Clean, noisy and denoised samples by name; last their errors, where they are drawn.
    decibels : dict
        By the name of a row: what stands under each sample.
    titles : list of str
        What stands over the columns, or nothing.
    limits : pair of float
        Of the values on the scale of all rows but the errors.
    scale : float
        The error at which theirs ends.
    """

    rows: dict[str, Samples]
    decibels: dict[str, list[str]]
    titles: Sequence[str]
    limits: tuple[float, float]
    scale: float

    @property
    def are_images(self) -> bool:
        return self.rows["clean"][0].ndim > 1


def error_of(clean: NDArray[Any], denoised: NDArray[Any]) -> NDArray[np.float64]:
    """Return the signed error of a sample, of colour images one number for each pixel.

    That is the root mean square over the channels, with the sign of their sum. A mean would hide errors
    of hue, in which channels cancel; so its mean square is the error that the PSNR tells.
    """
    error = denoised.astype(np.float64) - clean.astype(np.float64)
    if error.ndim < 3:
        return error
    sign = np.where(error.sum(axis=2) < 0, -1.0, 1.0)
    return np.asarray(sign * np.sqrt(np.square(error).mean(axis=2)))


def error_scale(errors: Sequence[NDArray[np.float64]]) -> float:
    """Return the error at which the scale ends, for all samples alike: of signals the largest."""
    sizes = np.abs(np.concatenate([error.ravel() for error in errors]))
    share = SHOWN_SHARE if errors[0].ndim > 1 else 1.0
    return float(np.quantile(sizes, share)) or float(sizes.max()) or 1.0


def figure_for(panels: Panels) -> dict[str, Any]:
    """Return size and layout of a figure that suits the samples and their labels."""
    n_rows = len(panels.rows)
    if not panels.are_images:
        n_columns = len(panels.rows["clean"])
        width = n_columns * max(min(SIGNAL_WIDTH, WIDEST / n_columns), text_width(panels.titles))
        return {
            "figsize": (LABELS_WIDTH + width, (n_rows - 1) * (SIGNAL_HEIGHT + TEXT_HEIGHT) + 0.3),
            "layout": "constrained",
        }
    aspects = _aspects(panels)
    widest = int(np.argmax(aspects))
    pixels = panels.rows["clean"][widest].shape[1]
    height = suitable_width(pixels, sum(aspects) / aspects[widest], []) / aspects[widest]
    height = max(height, text_width(panels.titles) / min(aspects))
    width = LABELS_WIDTH + height * sum(aspects) + (SCALE_WIDTH if ERROR in panels.rows else 0)
    lines = len(panels.decibels) + max((title.count("\n") + 1 for title in panels.titles), default=0)
    size = (width, n_rows * (height + GAP) + lines * TEXT_HEIGHT)
    return {"figsize": size, "layout": "compressed"}


@dataclass(frozen=True)
class Fit:
    """How texts fit into a figure that is smaller than one made for its images.

    Attributes
    ----------
    share : float
        Of the size that the figure would have.
    of_names, of_decibels, of_scale : float, str or None
        Sizes of the font; None where decibels have no room.
    margins : dict
        The edges of the images, where no layout keeps room for texts.
    """

    share: float = 1.0
    of_names: float | str = "medium"
    of_decibels: float | str | None = "small"
    of_scale: float | str = "x-small"
    margins: dict[str, float] = field(default_factory=dict)


def _fit(figure: Figure | SubFigure, panels: Panels) -> Fit:
    """Return how texts fit into a figure, without change where it is as wide as suits the images."""
    suitable, _ = figure_for(panels)["figsize"]
    width = figure.bbox.width / figure.figure.dpi  # inches
    share = width / suitable
    if share >= 1:
        return Fit()
    aspects = _aspects(panels)
    of_names = max(share * TEXT, SMALLEST_TEXT)
    left = LABELS_WIDTH * max(share, SMALLEST_TEXT / TEXT)
    right = SCALE_WIDTH if ERROR in panels.rows else 0.05
    column = (width - left - right) * min(aspects) / sum(aspects)  # inches
    longest = text_width(text for texts in panels.decibels.values() for text in texts)
    of_decibels = min(of_names, SMALL_TEXT, TEXT * column / longest) if longest else of_names
    free = figure.figure.get_layout_engine() is None and left + right < width
    return Fit(
        share,
        of_names,
        of_decibels if of_decibels >= SMALLEST_TEXT else None,
        max(share * TICKS, SMALLEST_TICKS),
        {"left": left / width, "right": 1 - right / width} if free else {},
    )


def draw_images(
    figure: Figure | SubFigure, panels: Panels, cmap: Any
) -> tuple[NDArray[Any], NDArray[Any], Any]:
    """Draw images, all of one height; return axes, images and the colour bar of the errors, if any."""
    aspects = _aspects(panels)
    fit = _fit(figure, panels)
    axes = figure.subplots(
        len(panels.rows), len(aspects), squeeze=False, gridspec_kw={"width_ratios": aspects, **fit.margins}
    )
    artists = np.empty(axes.shape, dtype=object)
    for row, (name, images) in enumerate(panels.rows.items()):
        limits, colors = panels.limits, cmap
        if name == ERROR:
            limits, colors = (-panels.scale, panels.scale), ERRORS
        axes[row, 0].set_ylabel(name, rotation=0, ha="right", va="center", labelpad=8 * fit.share)
        axes[row, 0].yaxis.label.set_fontsize(fit.of_names)
        artists[row] = [draw_image(ax, x, limits, colors) for ax, x in zip(axes[row], images, strict=True)]
    _write(axes, panels, fit)
    bar = _error_bar(axes[-1, -1], panels, artists[-1, -1], fit) if ERROR in panels.rows else None
    return axes, artists, bar


def draw_signals(figure: Figure | SubFigure, panels: Panels) -> tuple[NDArray[Any], NDArray[Any]]:
    """Draw lines over the clean ones; return axes and lines."""
    clean = panels.rows["clean"]
    rows = {name: signals for name, signals in panels.rows.items() if name != "clean"}
    axes = figure.subplots(len(rows), len(clean), squeeze=False, sharex=True, sharey="row")
    lines = np.empty(axes.shape, dtype=object)
    for row, (name, signals) in enumerate(rows.items()):
        for column, (ax, signal) in enumerate(zip(axes[row], signals, strict=True)):
            below = np.zeros_like(signal) if name == ERROR else clean[column]
            ax.plot(below, color=CLEAN_LINE, linewidth=3)
            (lines[row, column],) = ax.plot(signal, color=COLORS[0], linewidth=1)
            ax.set_xmargin(0.01)
            tidy(ax)
        low, high = (-panels.scale, panels.scale) if name == ERROR else panels.limits
        axes[row, 0].set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
        axes[row, 0].set_ylabel(name if name == ERROR else f"{name}\n(grey: clean)")
    _write(axes, panels, Fit())
    return axes, lines


def _aspects(panels: Panels) -> list[float]:
    """Return how wide each image is where it is 1 high."""
    return [float(x.shape[1] / x.shape[0]) for x in panels.rows["clean"]]


def _write(axes: NDArray[Any], panels: Panels, fit: Fit) -> None:
    """Write titles over the columns and decibels under the samples; the last rows are those of the axes.

    Decibels that would meet are left out.
    """
    for ax, title in zip(axes[0], panels.titles, strict=False):
        ax.set_title(title, fontsize=fit.of_names, pad=4)
    if fit.of_decibels is None:
        return
    for row, name in zip(axes, list(panels.rows)[-len(axes) :], strict=True):
        for ax, text in zip(row, panels.decibels.get(name, ()), strict=False):
            ax.set_xlabel(text, fontsize=fit.of_decibels, labelpad=3 * fit.share)


def _error_bar(ax: Axes, panels: Panels, image: Any, fit: Fit) -> Any:
    """Draw the scale of the errors beside the last one, where it takes no room from images."""
    aspect, scale = _aspects(panels)[-1], panels.scale
    beyond = max(float(np.abs(error).max()) for error in panels.rows[ERROR]) > scale
    bar = ax.figure.colorbar(
        image,
        cax=ax.inset_axes((1 + 0.08 / aspect, 0.0, 0.07 / aspect, 1.0)),
        extend="both" if beyond else "neither",
        ticks=[-scale, 0, scale],
        format=lambda value, _: f"{value:.2g}".replace("-", "\N{MINUS SIGN}"),
    )
    bar.ax.tick_params(labelsize=fit.of_scale, length=2, pad=2)
    bar.outline.set_visible(False)
    return bar
