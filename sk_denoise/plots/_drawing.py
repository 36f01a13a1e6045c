"""What displays share: what they keep, one style, figures and axes to draw on."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sk_denoise._extras import require_extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.image import AxesImage

__all__ = [
    "COLORS",
    "GRAY",
    "LINE_SIZE",
    "MARKERS",
    "MOST_INSIDE",
    "TEXT_HEIGHT",
    "Display",
    "check_axes",
    "check_figure",
    "check_limits",
    "columns_beside",
    "draw_image",
    "legend_beside",
    "legend_width",
    "make_log",
    "new_or_given",
    "require_pyplot",
    "suitable_width",
    "text_width",
    "tidy",
    "wrapped",
]

SMALLEST, LARGEST, PIXELS_PER_INCH = 0.95, 2.0, 64  # of an image, in inches; between them by its pixels
WIDEST = 14.0  # inches, of all images side by side
LETTER_WIDTH, LONGEST_LINE = 0.095, 16  # of a title: inches, letters
TEXT_HEIGHT = 0.23  # inches: a line of text under or over a row
FRAME = "0.8"
LINE_SIZE = (7.0, 4.0)  # inches, of axes with lines
MOST_INSIDE = 8  # entries of a legend that leave curves room within the axes
HANDLE_WIDTH = 0.5  # inches, of a line in the legend and what is left free around it
GRAY = "0.35"  # of what others are compared with

# Told apart by people who see few colours (M. A. Petroff, "Accessible color sequences for data
# visualization", 2021), with a darker one of the two greys; markers tell apart what repeats them.
COLORS = (
    "#3f90da",
    "#e76300",
    "#832db6",
    "#bd1f01",
    "#ffa90e",
    "#92dadd",
    "#a96b59",
    "#b9ac70",
    "#94a4a2",
    "#333333",
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", "p", ">")


class Display:
    """A display whose copies and pickles hold its data alone; ``plot`` draws them again.

    Artists belong to the figure that they are on, and a figure cannot be on the screen twice.
    """

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if not name.endswith("_")}


def require_pyplot(caller: str) -> Any:
    """Return matplotlib.pyplot, or say how to get it."""
    require_extra(caller, "plots")
    import matplotlib.pyplot as plt

    return plt


def new_or_given(ax: Any, caller: str, size: tuple[float, float] = LINE_SIZE) -> Axes:
    """Return the axes that are given, or those of a new figure."""
    pyplot = require_pyplot(caller)
    if ax is None:
        _, ax = pyplot.subplots(figsize=size, layout="constrained")
    return check_axes(ax)


def check_axes(ax: Any) -> Axes:
    """Return matplotlib axes; anything else is a clear error."""
    from matplotlib.axes import Axes

    if not isinstance(ax, Axes):
        raise TypeError(f"ax must be matplotlib Axes or None, for a new figure; got {ax!r}.")
    return ax


def check_figure(figure: Any) -> Figure | SubFigure:
    """Return a matplotlib figure or a part of one; anything else is a clear error."""
    from matplotlib.figure import FigureBase

    if not isinstance(figure, FigureBase):
        raise TypeError(
            f"figure must be a matplotlib Figure, SubFigure or None, for a new one; got {figure!r}."
        )
    return figure  # type: ignore[return-value]


def tidy(ax: Axes) -> None:
    """Leave out the frame where nothing is read off."""
    ax.spines[["top", "right"]].set_visible(False)


def columns_beside(n_entries: int, most_rows: int) -> int:
    """Return how many columns the entries of a legend beside axes are put in."""
    return -(-n_entries // most_rows)


def legend_width(names: Sequence[str], most_rows: int, handle: float = HANDLE_WIDTH) -> float:
    """Return how many inches a legend beside the axes takes."""
    return columns_beside(len(names), most_rows) * (handle + text_width(names))


def legend_beside(ax: Axes, handles: Sequence[Any], most_rows: int, left: float = 1.01, **style: Any) -> Any:
    """Say at the right of axes what is what, in as many columns as it takes."""
    return ax.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(left, 1.0),
        borderaxespad=0,
        ncols=columns_beside(len(handles), most_rows),
        frameon=False,
        fontsize="small",
        columnspacing=0.8,
        **style,
    )


def make_log(axis: Axis) -> None:
    """Make an axis logarithmic, with plain numbers."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axis.axes.set(**{f"{axis.axis_name}scale": "log"})  # type: ignore[attr-defined]
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_formatter(NullFormatter())


def draw_image(ax: Axes, image: NDArray[Any], limits: tuple[float, float], cmap: Any) -> AxesImage:
    """Draw an image on axes without ticks, with black and white at the limits."""
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_color(FRAME)
    low, high = limits
    if image.ndim == 3:  # matplotlib scales greys alone
        image = np.clip((image.astype(np.float64) - low) / (high - low), 0, 1)
    return ax.imshow(image, cmap=cmap, vmin=low, vmax=high)


def wrapped(label: object) -> str:
    """Return a label as text, in lines that are not much longer than images are wide."""
    lines = str(label).split("\n")
    return "\n".join(textwrap.fill(line, LONGEST_LINE, break_long_words=False) for line in lines)


def text_width(texts: Iterable[str]) -> float:
    """Return how many inches the longest line of these texts takes."""
    return LETTER_WIDTH * max((len(line) for text in texts for line in text.split("\n")), default=0)


def suitable_width(pixels: int, n_columns: float, titles: Iterable[str]) -> float:
    """Return how many inches wide an image is well drawn, beside others and under a title."""
    largest = max(SMALLEST, min(LARGEST, WIDEST / n_columns))
    return max(SMALLEST, min(largest, pixels / PIXELS_PER_INCH), text_width(titles))


def check_limits(limits: Sequence[float]) -> tuple[float, float]:
    """Return a pair of numbers in their order; anything else is a clear error."""
    ends = np.asarray(limits)
    if ends.shape != (2,) or ends.dtype.kind not in "iuf" or not -np.inf < ends[0] < ends[1] < np.inf:
        raise ValueError(f"limits must be a pair (low, high) with low < high, got {limits!r}.")
    return float(ends[0]), float(ends[1])
