"""What a DenoisingDisplay draws: samples above each other, as pictures or as lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sk_denoise.plots._drawing import (
    COLORS,
    TEXT_HEIGHT,
    WIDEST,
    draw_picture,
    suitable_width,
    text_width,
    tidy,
)
from sk_denoise.plots._samples import Samples

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

__all__ = ["Panels", "draw_pictures", "draw_signals", "error_of", "error_scale", "figure_for"]

LABELS_WIDTH, SCALE_WIDTH = 0.8, 0.5  # inches: the names of the rows, the scale of the errors
ERRORS = "RdBu_r"  # blue is too dark, red too bright
SHOWN_SHARE = 0.995  # of the errors that lie on the scale: a few pixels must not fade all others
GAP = 0.06  # inches, between rows
SIGNAL_WIDTH, SIGNAL_HEIGHT = 3.2, 1.35  # inches
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
    def are_pictures(self) -> bool:
        return self.rows["clean"][0].ndim > 1


def error_of(clean: NDArray[Any], denoised: NDArray[Any]) -> NDArray[np.float64]:
    """Return the signed error of a sample, of colour pictures one number for each pixel.

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
    if not panels.are_pictures:
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


def draw_pictures(
    figure: Figure | SubFigure, panels: Panels, cmap: Any
) -> tuple[NDArray[Any], NDArray[Any], Any]:
    """Draw pictures, all of one height; return axes, images and the colour bar of the errors, if any."""
    aspects = _aspects(panels)
    axes = figure.subplots(
        len(panels.rows), len(aspects), squeeze=False, gridspec_kw={"width_ratios": aspects}
    )
    images = np.empty(axes.shape, dtype=object)
    for row, (name, pictures) in enumerate(panels.rows.items()):
        limits, colors = panels.limits, cmap
        if name == ERROR:
            limits, colors = (-panels.scale, panels.scale), ERRORS
        axes[row, 0].set_ylabel(name, rotation=0, ha="right", va="center", labelpad=8)
        images[row] = [draw_picture(ax, x, limits, colors) for ax, x in zip(axes[row], pictures, strict=True)]
    _write(axes, panels)
    return axes, images, _error_bar(axes[-1, -1], panels, images[-1, -1]) if ERROR in panels.rows else None


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
    _write(axes, panels)
    return axes, lines


def _aspects(panels: Panels) -> list[float]:
    """Return how wide each picture is where it is 1 high."""
    return [float(x.shape[1] / x.shape[0]) for x in panels.rows["clean"]]


def _write(axes: NDArray[Any], panels: Panels) -> None:
    """Write titles over the columns and decibels under the samples; the last rows are those of the axes."""
    for ax, title in zip(axes[0], panels.titles, strict=False):
        ax.set_title(title, fontsize="medium", pad=4)
    for row, name in zip(axes, list(panels.rows)[-len(axes) :], strict=True):
        for ax, text in zip(row, panels.decibels.get(name, ()), strict=False):
            ax.set_xlabel(text, fontsize="small", labelpad=3)


def _error_bar(ax: Axes, panels: Panels, image: Any) -> Any:
    """Draw the scale of the errors beside the last one, where it takes no room from pictures."""
    aspect, scale = _aspects(panels)[-1], panels.scale
    beyond = max(float(np.abs(error).max()) for error in panels.rows[ERROR]) > scale
    bar = ax.figure.colorbar(
        image,
        cax=ax.inset_axes((1 + 0.08 / aspect, 0.0, 0.07 / aspect, 1.0)),
        extend="both" if beyond else "neither",
        ticks=[-scale, 0, scale],
        format=lambda value, _: f"{value:.2g}".replace("-", "\N{MINUS SIGN}"),
    )
    bar.ax.tick_params(labelsize="x-small", length=2, pad=2)
    bar.outline.set_visible(False)
    return bar
