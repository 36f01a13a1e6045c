"""Parts that all displays share: a base class, checks of inputs, and style."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from sk_denoise._package import require_extra
from sk_denoise._validation import as_image_array, check_numbers, name_by_class, refuse_masked
from sk_denoise.comparison import Samples, as_stack_or_list
from sk_denoise.metrics._scorers import is_ragged

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.image import AxesImage

__all__ = [
    "COLORS",
    "LINE_FIGURE_SIZE",
    "MARKERS",
    "MAX_FIGURE_WIDTH",
    "MAX_INSIDE_LEGEND",
    "REFERENCE_COLOR",
    "TEXT_HEIGHT",
    "Display",
    "Samples",
    "as_images",
    "as_samples",
    "as_signals",
    "check_axes",
    "check_figure",
    "check_fitted",
    "check_limits",
    "choose_image_width",
    "compute_limits",
    "draw_image",
    "draw_legend_beside",
    "find_step",
    "get_estimator_name",
    "hide_spines",
    "measure_legend_width",
    "measure_text_width",
    "name_estimators",
    "prepare_axes",
    "require_pyplot",
    "set_log_scale",
    "wrap_label",
]

# Lengths are in inches, as matplotlib has them. An image is between the minimum and the maximum wide, by its
# number of pixels; all images side by side are at most as wide as the figure.
MIN_IMAGE_WIDTH, MAX_IMAGE_WIDTH, PIXELS_PER_INCH = 0.95, 2.0, 64
MAX_FIGURE_WIDTH = 14.0
# A letter of a title, and the letters of its longest line.
LETTER_WIDTH, MAX_LINE_LENGTH = 0.095, 16
# A line of text under or over a row of images.
TEXT_HEIGHT = 0.23
FRAME_COLOR = "0.8"
LINE_FIGURE_SIZE = (7.0, 4.0)
# A legend of more entries would hide the curves, and is drawn beside the axes.
MAX_INSIDE_LEGEND = 8
# The line of a legend entry and the space around it.
HANDLE_WIDTH = 0.5
# Colour of references, such as noisy samples beside denoised ones.
REFERENCE_COLOR = "0.35"

# Colours that people with a colour vision deficiency can tell apart (M. A. Petroff, "Accessible color
# sequences for data visualization", 2021), with a darker one of the two greys. Markers tell apart repeated
# colours.
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
    """Base class of displays: copies and pickles hold the data alone."""

    def __getstate__(self) -> dict[str, Any]:
        # An artist belongs to one figure, and unpickling a figure puts it on the screen. `plot` draws again.
        return {name: value for name, value in vars(self).items() if not name.endswith("_")}


def as_samples(samples: Any, name: str) -> Samples:
    """Return samples as an array of finite numbers, or as a list if sizes differ."""
    refuse_masked(samples, name)
    if is_ragged(samples):
        return as_stack_or_list([as_image_array(x) for x in samples], name)
    array = check_numbers(samples, name)
    if array.ndim < 2:
        raise ValueError(
            f"{name} has shape {array.shape}, expected (n_samples, ...). A single sample needs a first axis: "
            "x[None]."
        )
    return array


def as_images(samples: Any, image_shape: Sequence[int] | None, name: str, hint: str) -> Samples:
    """Return samples as (n_samples, height, width[, 3]), or a list if sizes differ.

    The error for flat rows without ``image_shape`` ends with ``hint``.
    """
    images = as_samples(samples, name)
    if isinstance(images, list):
        if image_shape is not None:
            raise ValueError(
                f"image_shape={tuple(image_shape)} is for flat rows, {name} holds images of many sizes."
            )
        return [x.reshape(_drop_single_channel(x.shape, name)) for x in images]
    shape = images.shape[1:] if image_shape is None else tuple(image_shape)
    if len(shape) == 1:
        raise ValueError(
            f"{name} holds flat rows of {shape[0]} values. Give image_shape=(height, width) or "
            f"(height, width, channels) if they are images{hint}."
        )
    if math.prod(shape) != math.prod(images.shape[1:]):
        raise ValueError(f"image_shape={shape} does not fit {name}, whose samples have {images.shape[1:]}.")
    return images.reshape(len(images), *_drop_single_channel(shape, name))


def _drop_single_channel(shape: tuple[int, ...], name: str) -> tuple[int, ...]:
    """Return the shape of an image without the axis of a single channel."""
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in (1, 3)):
        raise ValueError(
            f"{name} holds samples of shape {shape}; images are (height, width), (height, width, 1) or "
            "(height, width, 3)."
        )
    return shape[:2] if shape[2:] == (1,) else shape


def as_signals(samples: Any, name: str, channel: int | Sequence[int] | None = None) -> Samples:
    """Return signals as an array, or as a list if lengths differ.

    Parameters
    ----------
    samples : array-like or list of array-like
        Signals ``(length,)`` or ``(channels, length)``. Arrays ``(n_samples, length, 1, channels)``, the
        layout of signals as images, are signals too.
    name : str
        Name of the samples in errors.
    channel : int or sequence of int, optional
        Channels to keep. One number drops the axis of the channels.
    """
    refuse_masked(samples, name)
    is_list = isinstance(samples, list | tuple) and len({np.shape(x) for x in samples}) > 1
    if is_list:
        signals: Samples = [check_numbers(x, f"{name}[{place}]") for place, x in enumerate(samples)]
    else:
        signals = check_numbers(samples, name)
        if signals.ndim == 4 and signals.shape[2] == 1:
            signals = np.moveaxis(signals[:, :, 0], -1, 1)
    shapes = [np.shape(x) for x in signals]
    if (
        {len(shape) for shape in shapes} not in ({1}, {2})
        or min(shape[-1] for shape in shapes) < 2
        or len({shape[:-1] for shape in shapes}) > 1
    ):
        found = f"the shapes {shapes}" if is_list else f"shape {np.shape(samples)}"
        raise ValueError(
            'kind="signals" draws rows (n_samples, length) as lines, also (n_samples, channels, length) and '
            f"lists of signals with as many channels; {name} has {found}."
        )
    return signals if channel is None else _select_channels(signals, channel, name)


def _select_channels(signals: Samples, channel: int | Sequence[int], name: str) -> Samples:
    """Return one channel of signals without its axis, or several channels."""
    if signals[0].ndim == 1:
        raise ValueError(
            f"channel={channel!r} is for signals of several channels (n_samples, channels, length), {name} "
            "has one channel."
        )
    count = len(signals[0])
    places = np.asarray(channel)
    if places.dtype.kind not in "iu" or places.ndim > 1 or not places.size:
        raise ValueError(f"channel must be an integer or a sequence of integers, got {channel!r}.")
    if places.min() < -count or places.max() >= count:
        raise ValueError(
            f"channel={channel!r} is not among the {count} channels of {name}, 0 to {count - 1}."
        )
    if isinstance(signals, list):
        return [x[places] for x in signals]
    return signals[:, places]


def compute_limits(clean: Samples) -> tuple[float, float]:
    """Return the smallest and the largest value, for black and white."""
    low, high = float(min(x.min() for x in clean)), float(max(x.max() for x in clean))
    # Constant data need a scale too.
    return (low, high) if low < high else (low, low + 1.0)


def check_limits(limits: Sequence[float]) -> tuple[float, float]:
    """Return limits as floats; raise an error unless they are a pair in rising order."""
    ends = np.asarray(limits)
    if ends.shape != (2,) or ends.dtype.kind not in "iuf" or not -np.inf < ends[0] < ends[1] < np.inf:
        raise ValueError(f"limits must be a pair (low, high) with low < high, got {limits!r}.")
    return float(ends[0]), float(ends[1])


def name_estimators(estimators: Any) -> dict[str, Any]:
    """Return estimators by name; those of a list are named as in ``make_pipeline``."""
    if isinstance(estimators, Mapping):
        named = {str(name): estimator for name, estimator in estimators.items()}
    elif isinstance(estimators, list | tuple):
        named = dict(name_by_class(estimators))
    else:
        raise TypeError(
            "estimators must be a dict of name and fitted estimator, or a list of estimators, got "
            f"{estimators!r}. A single one goes to from_estimator."
        )
    if not named:
        raise ValueError("estimators is empty: give at least one.")
    return named


def get_estimator_name(estimator: Any, name: str | None) -> str:
    """Return the given name of an estimator, by default the name of its class."""
    return type(estimator).__name__ if name is None else str(name)


def check_fitted(estimator: Any, caller: str) -> None:
    """Check that an estimator is fitted, or predicts without a fit."""
    if isinstance(estimator, type) or not (hasattr(estimator, "fit") or hasattr(estimator, "predict")):
        hint = f" Did you mean {estimator.__name__}(), fitted?" if isinstance(estimator, type) else ""
        raise TypeError(f"{caller} takes a fitted estimator, got {estimator!r}.{hint}")
    if not hasattr(estimator, "best_estimator_") and getattr(estimator, "refit", True) is False:
        raise NotFittedError(
            f"This {type(estimator).__name__} has no best_estimator_: {caller} needs a search with "
            "refit=True, fitted."
        )
    if not hasattr(estimator, "fit"):
        return
    try:
        check_is_fitted(getattr(estimator, "best_estimator_", estimator))
    except NotFittedError:
        raise NotFittedError(
            f"This {type(estimator).__name__} is not fitted, and {caller} trains nothing: call fit first."
        ) from None


def find_step(estimator: Any, classes: tuple[type, ...]) -> tuple[list[Any], Any]:
    """Return the steps before the last step of these classes, and that step or None.

    Pipelines within pipelines and searches are looked into.
    """
    estimator = getattr(estimator, "best_estimator_", estimator)
    if isinstance(estimator, classes):
        return [], estimator
    steps: Sequence[Any] = [step for _, step in estimator.steps] if isinstance(estimator, Pipeline) else ()
    for place in reversed(range(len(steps))):
        inner, step = find_step(steps[place], classes)
        if step is not None:
            return [*(x for x in steps[:place] if x not in (None, "passthrough")), *inner], step
    return [], None


def require_pyplot(caller: str) -> Any:
    """Return matplotlib.pyplot; raise an error that names the extra without it."""
    # matplotlib is optional and slow to import, so only drawing imports it.
    require_extra(caller, "plots")
    import matplotlib.pyplot as plt

    return plt


def prepare_axes(ax: Any, caller: str, size: tuple[float, float] = LINE_FIGURE_SIZE) -> Axes:
    """Return the given axes, or those of a new figure."""
    pyplot = require_pyplot(caller)
    if ax is None:
        _, ax = pyplot.subplots(figsize=size, layout="constrained")
    return check_axes(ax)


def check_axes(ax: Any) -> Axes:
    """Return matplotlib axes; raise an error for anything else."""
    from matplotlib.axes import Axes

    if not isinstance(ax, Axes):
        raise TypeError(f"ax must be matplotlib Axes or None, for a new figure; got {ax!r}.")
    return ax


def check_figure(figure: Any) -> Figure | SubFigure:
    """Return a matplotlib figure or subfigure; raise an error for anything else."""
    from matplotlib.figure import FigureBase

    if not isinstance(figure, FigureBase):
        raise TypeError(
            f"figure must be a matplotlib Figure, SubFigure or None, for a new one; got {figure!r}."
        )
    return figure  # type: ignore[return-value]


def hide_spines(ax: Axes) -> None:
    """Hide the frame at the top and at the right."""
    ax.spines[["top", "right"]].set_visible(False)


def set_log_scale(axis: Axis) -> None:
    """Make an axis logarithmic, with plain numbers."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axis.axes.set(**{f"{axis.axis_name}scale": "log"})  # type: ignore[attr-defined]
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_formatter(NullFormatter())


def _count_legend_columns(n_entries: int, max_rows: int) -> int:
    """Return the number of columns of a legend beside axes."""
    return -(-n_entries // max_rows)


def measure_legend_width(names: Sequence[str], max_rows: int, handle: float = HANDLE_WIDTH) -> float:
    """Return the width of a legend beside axes, in inches."""
    return _count_legend_columns(len(names), max_rows) * (handle + measure_text_width(names))


def draw_legend_beside(
    ax: Axes, handles: Sequence[Any], max_rows: int, left: float = 1.01, **style: Any
) -> Any:
    """Draw a legend at the right of axes, in as many columns as it needs."""
    return ax.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(left, 1.0),
        borderaxespad=0,
        ncols=_count_legend_columns(len(handles), max_rows),
        frameon=False,
        fontsize="small",
        columnspacing=0.8,
        **style,
    )


def draw_image(ax: Axes, image: NDArray[Any], limits: tuple[float, float], cmap: Any) -> AxesImage:
    """Draw an image on axes without ticks, with black and white at the limits."""
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_color(FRAME_COLOR)
    low, high = limits
    if image.ndim == 3:
        # matplotlib ignores vmin and vmax for colours.
        image = np.clip((image.astype(np.float64) - low) / (high - low), 0, 1)
    return ax.imshow(image, cmap=cmap, vmin=low, vmax=high)


def wrap_label(label: object) -> str:
    """Return a label as text, in lines about as wide as an image."""
    lines = str(label).split("\n")
    return "\n".join(textwrap.fill(line, MAX_LINE_LENGTH, break_long_words=False) for line in lines)


def measure_text_width(texts: Iterable[str]) -> float:
    """Return the width of the longest line of texts, in inches."""
    # An estimate: the exact width is known only after a figure has been drawn, and its size depends on it.
    return LETTER_WIDTH * max((len(line) for text in texts for line in text.split("\n")), default=0)


def choose_image_width(pixels: int, n_columns: float, titles: Iterable[str]) -> float:
    """Return the width of an image in inches, beside others and under a title."""
    largest = max(MIN_IMAGE_WIDTH, min(MAX_IMAGE_WIDTH, MAX_FIGURE_WIDTH / n_columns))
    return max(MIN_IMAGE_WIDTH, min(largest, pixels / PIXELS_PER_INCH), measure_text_width(titles))
