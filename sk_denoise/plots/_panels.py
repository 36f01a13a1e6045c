"""Rows of samples for DenoisingDisplay, drawn as images or as lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sk_denoise.plots._base import (
    COLORS,
    MAX_FIGURE_WIDTH,
    TEXT_HEIGHT,
    Samples,
    choose_image_width,
    draw_image,
    hide_spines,
    measure_text_width,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

__all__ = ["Panels", "choose_error_limit", "choose_layout", "compute_error", "draw_images", "draw_signals"]

# Lengths are in inches: the names of the rows, the scale of the errors, the gap between rows.
ROW_NAMES_WIDTH, ERROR_BAR_WIDTH, ROW_GAP = 0.8, 0.5, 0.06
SIGNAL_WIDTH, SIGNAL_HEIGHT = 3.2, 1.35
# Blue is too dark, red is too bright.
ERROR_CMAP = "RdBu_r"
# A few pixels with large errors would fade all others, so the scale ends at this share of the errors.
ERROR_SHARE = 0.995
# Font sizes in points: of names and titles, of decibels, of the scale.
NAME_SIZE, PSNR_SIZE, TICK_SIZE = 10.0, 8.5, 7.0
# Smaller texts cannot be read.
MIN_TEXT_SIZE, MIN_TICK_SIZE = 6.0, 5.0
CLEAN_LINE_COLOR = "0.75"
ERROR_ROW = "error"


@dataclass(frozen=True)
class Panels:
    """Samples by row, with their texts and scales.

    Attributes
    ----------
    rows : dict
        Clean, noisy and denoised samples by name; last the errors, if they are drawn.
    decibels : dict
        Text under each sample, by name of the row.
    titles : list of str
        Titles of the columns; may be empty.
    limits : pair of float
        Values that are drawn black and white in all rows but the errors.
    error_limit : float
        Largest error on the colour scale.
    """

    rows: dict[str, Samples]
    decibels: dict[str, list[str]]
    titles: Sequence[str]
    limits: tuple[float, float]
    error_limit: float

    @property
    def are_images(self) -> bool:
        return self.rows["clean"][0].ndim > 1


def compute_error(clean: NDArray[Any], denoised: NDArray[Any]) -> NDArray[np.float64]:
    """Return the signed error of a sample, one number for each pixel of colour images."""
    error = denoised.astype(np.float64) - clean.astype(np.float64)
    if error.ndim < 3:
        return error
    # The mean over channels would hide errors of hue, which cancel. The root mean square agrees with the
    # PSNR, and takes the sign of the error in brightness.
    sign = np.where(error.sum(axis=2) < 0, -1.0, 1.0)
    return np.asarray(sign * np.sqrt(np.square(error).mean(axis=2)))


def choose_error_limit(errors: Sequence[NDArray[np.float64]]) -> float:
    """Return the largest error on the scale, which all samples share."""
    sizes = np.abs(np.concatenate([error.ravel() for error in errors]))
    share = ERROR_SHARE if errors[0].ndim > 1 else 1.0
    # A denoiser without errors, or with very few, needs a scale above 0.
    return float(np.quantile(sizes, share)) or float(sizes.max()) or 1.0


def choose_layout(panels: Panels) -> dict[str, Any]:
    """Return size and layout of a figure that fits the samples and their labels."""
    n_rows = len(panels.rows)
    if not panels.are_images:
        n_columns = len(panels.rows["clean"])
        width = n_columns * max(
            min(SIGNAL_WIDTH, MAX_FIGURE_WIDTH / n_columns), measure_text_width(panels.titles)
        )
        return {
            "figsize": (ROW_NAMES_WIDTH + width, (n_rows - 1) * (SIGNAL_HEIGHT + TEXT_HEIGHT) + 0.3),
            "layout": "constrained",
        }
    aspects = _aspect_ratios(panels)
    widest = int(np.argmax(aspects))
    pixels = panels.rows["clean"][widest].shape[1]
    height = choose_image_width(pixels, sum(aspects) / aspects[widest], []) / aspects[widest]
    height = max(height, measure_text_width(panels.titles) / min(aspects))
    width = ROW_NAMES_WIDTH + height * sum(aspects) + (ERROR_BAR_WIDTH if ERROR_ROW in panels.rows else 0)
    lines = len(panels.decibels) + max((title.count("\n") + 1 for title in panels.titles), default=0)
    size = (width, n_rows * (height + ROW_GAP) + lines * TEXT_HEIGHT)
    return {"figsize": size, "layout": "compressed"}


@dataclass(frozen=True)
class TextStyle:
    """Sizes of the texts in a figure, which may be small.

    Attributes
    ----------
    scale : float
        Width of the figure, divided by a width that fits the images; at most 1.
    name_size, psnr_size, tick_size : float, str or None
        Font sizes; None hides the PSNR.
    margins : dict
        Edges of the images, in figures without a layout engine.
    """

    scale: float = 1.0
    name_size: float | str = "medium"
    psnr_size: float | str | None = "small"
    tick_size: float | str = "x-small"
    margins: dict[str, float] = field(default_factory=dict)


def _choose_text_style(figure: Figure | SubFigure, panels: Panels) -> TextStyle:
    """Return text sizes for a figure: the defaults, or smaller ones if it is small."""
    full_width, _ = choose_layout(panels)["figsize"]
    # In inches. A subfigure has no size of its own, so its box in pixels is used.
    width = figure.bbox.width / figure.figure.dpi
    scale = width / full_width
    if scale >= 1:
        return TextStyle()
    aspects = _aspect_ratios(panels)
    name_size = max(scale * NAME_SIZE, MIN_TEXT_SIZE)
    left = ROW_NAMES_WIDTH * max(scale, MIN_TEXT_SIZE / NAME_SIZE)
    right = ERROR_BAR_WIDTH if ERROR_ROW in panels.rows else 0.05
    column = (width - left - right) * min(aspects) / sum(aspects)
    longest = measure_text_width(text for texts in panels.decibels.values() for text in texts)
    psnr_size = min(name_size, PSNR_SIZE, NAME_SIZE * column / longest) if longest else name_size
    # Without a layout engine nothing else keeps room for the texts.
    needs_margins = figure.figure.get_layout_engine() is None and left + right < width
    return TextStyle(
        scale,
        name_size,
        psnr_size if psnr_size >= MIN_TEXT_SIZE else None,
        max(scale * TICK_SIZE, MIN_TICK_SIZE),
        {"left": left / width, "right": 1 - right / width} if needs_margins else {},
    )


def draw_images(
    figure: Figure | SubFigure, panels: Panels, cmap: Any
) -> tuple[NDArray[Any], NDArray[Any], Any]:
    """Draw images of one height; return axes, images and the colour bar or None."""
    aspects = _aspect_ratios(panels)
    style = _choose_text_style(figure, panels)
    axes = figure.subplots(
        len(panels.rows), len(aspects), squeeze=False, gridspec_kw={"width_ratios": aspects, **style.margins}
    )
    artists = np.empty(axes.shape, dtype=object)
    for row, (name, images) in enumerate(panels.rows.items()):
        limits, colors = panels.limits, cmap
        if name == ERROR_ROW:
            limits, colors = (-panels.error_limit, panels.error_limit), ERROR_CMAP
        axes[row, 0].set_ylabel(name, rotation=0, ha="right", va="center", labelpad=8 * style.scale)
        axes[row, 0].yaxis.label.set_fontsize(style.name_size)
        artists[row] = [draw_image(ax, x, limits, colors) for ax, x in zip(axes[row], images, strict=True)]
    _draw_texts(axes, panels, style)
    bar = None
    if ERROR_ROW in panels.rows:
        bar = _draw_error_bar(axes[-1, -1], panels, artists[-1, -1], style)
    return axes, artists, bar


def draw_signals(figure: Figure | SubFigure, panels: Panels) -> tuple[NDArray[Any], NDArray[Any]]:
    """Draw lines over the clean ones; return axes and lines."""
    clean = panels.rows["clean"]
    rows = {name: signals for name, signals in panels.rows.items() if name != "clean"}
    axes = figure.subplots(len(rows), len(clean), squeeze=False, sharex=True, sharey="row")
    lines = np.empty(axes.shape, dtype=object)
    for row, (name, signals) in enumerate(rows.items()):
        for column, (ax, signal) in enumerate(zip(axes[row], signals, strict=True)):
            below = np.zeros_like(signal) if name == ERROR_ROW else clean[column]
            ax.plot(below, color=CLEAN_LINE_COLOR, linewidth=3)
            (lines[row, column],) = ax.plot(signal, color=COLORS[0], linewidth=1)
            ax.set_xmargin(0.01)
            hide_spines(ax)
        low, high = (-panels.error_limit, panels.error_limit) if name == ERROR_ROW else panels.limits
        axes[row, 0].set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
        axes[row, 0].set_ylabel(name if name == ERROR_ROW else f"{name}\n(grey: clean)")
    _draw_texts(axes, panels, TextStyle())
    return axes, lines


def _aspect_ratios(panels: Panels) -> list[float]:
    """Return the width of each image divided by its height."""
    return [float(x.shape[1] / x.shape[0]) for x in panels.rows["clean"]]


def _draw_texts(axes: NDArray[Any], panels: Panels, style: TextStyle) -> None:
    """Draw titles over the columns, and the PSNR under the samples."""
    for ax, title in zip(axes[0], panels.titles, strict=False):
        ax.set_title(title, fontsize=style.name_size, pad=4)
    if style.psnr_size is None:
        return
    # Signals have no row of clean ones, so the names are counted from the end.
    for row, name in zip(axes, list(panels.rows)[-len(axes) :], strict=True):
        for ax, text in zip(row, panels.decibels.get(name, ()), strict=False):
            ax.set_xlabel(text, fontsize=style.psnr_size, labelpad=3 * style.scale)


def _draw_error_bar(ax: Axes, panels: Panels, image: Any, style: TextStyle) -> Any:
    """Draw the scale of the errors beside the last image."""
    aspect, limit = _aspect_ratios(panels)[-1], panels.error_limit
    exceeds = max(float(np.abs(error).max()) for error in panels.rows[ERROR_ROW]) > limit
    bar = ax.figure.colorbar(
        image,
        # Inset axes lie beside the image and leave all images their size.
        cax=ax.inset_axes((1 + 0.08 / aspect, 0.0, 0.07 / aspect, 1.0)),
        extend="both" if exceeds else "neither",
        ticks=[-limit, 0, limit],
        format=lambda value, _: f"{value:.2g}".replace("-", "\N{MINUS SIGN}"),
    )
    bar.ax.tick_params(labelsize=style.tick_size, length=2, pad=2)
    bar.outline.set_visible(False)
    return bar
