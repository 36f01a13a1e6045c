"""What points are coloured by: classes, told apart by colour and marker, or values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_array, column_or_1d

from sk_denoise._validation import check_one_of
from sk_denoise.plots._drawing import COLORS, MARKERS, legend_beside, legend_width

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Groups", "checked_groups"]

TARGETS = {"auto": None, "classes": None, "values": None}
MOST_NUMBERED = 20  # classes that are numbers, before they count as values
LEGEND_ROWS = 20  # classes in a column of the legend
MARKER_WIDTH = 0.4  # inches, of a marker in the legend and what is left free around it


def checked_groups(
    y: Any, target: str, n_samples: int
) -> tuple[Literal["classes", "values"] | None, NDArray[Any] | None, NDArray[Any] | None]:
    """Return whether y holds classes or values, y, and its classes in the order that they came with."""
    check_one_of(target, TARGETS, "target")
    if y is None:
        return None, None, None
    labels = column_or_1d(y)
    if len(labels) != n_samples:
        raise ValueError(f"y has length {len(labels)}, there are {n_samples} samples to colour.")
    categories = getattr(getattr(y, "dtype", None), "categories", None)  # of pandas
    kind = target
    if target == "auto":
        kind = _kind_of(labels) if categories is None else "classes"
    if kind == "values":
        labels = check_array(labels, ensure_2d=False, input_name="y")
    elif any(_is_missing(label) for label in labels.tolist()):
        raise ValueError("y holds missing values: leave these samples out, or give them a class.")
    else:
        labels = np.array(labels.tolist())  # of one type, where they came as objects
    if len(np.unique(labels)) < 2:
        what = "class" if kind == "classes" else "value"
        raise ValueError(
            f"y holds a single {what}, {labels[0]!s}, so there is nothing to tell apart: leave y out."
        )
    if kind == "values":
        return "values", labels, None
    return "classes", labels, None if categories is None else _present(categories, labels)


def _present(categories: Any, labels: NDArray[Any]) -> NDArray[Any]:
    """Return the categories that samples have, in their order and the type of the labels."""
    known = set(labels.tolist())
    names = np.array(np.asarray(categories).tolist())
    return names[[name in known for name in names.tolist()]]


def _sorted(names: NDArray[Any]) -> NDArray[Any]:
    """Return classes in the order of the legend: texts that are all numbers go by number."""
    if names.dtype.kind != "U":
        return names
    try:
        return names[np.argsort(names.astype(np.float64), kind="stable")]
    except ValueError:  # words
        return names


def _is_missing(label: Any) -> bool:
    try:
        return label is None or bool(label != label)
    except TypeError:  # pandas' NA is neither
        return True


def _kind_of(labels: NDArray[Any]) -> str:
    """Return what labels are: numbers with fractions, or of many kinds, are values."""
    if labels.dtype == object:
        labels = np.array([label for label in labels.tolist() if not _is_missing(label)])
    if labels.dtype.kind not in "iuf":
        return "classes"
    known = labels[np.isfinite(labels)] if labels.dtype.kind == "f" else labels
    fractions = bool((known != np.round(known)).any())
    return "values" if fractions or len(np.unique(known)) > MOST_NUMBERED else "classes"


@dataclass(frozen=True)
class Groups:
    """Classes, and the class of each sample."""

    names: NDArray[Any]
    members: NDArray[Any]

    @classmethod
    def of(cls, labels: Any, names: Any = None) -> Groups:
        """Sort samples by their class; without names the classes are sorted too."""
        names = _sorted(np.unique(labels)) if names is None else np.asarray(names)
        places = {name: place for place, name in enumerate(names.tolist())}
        return cls(names, np.array([places[label] for label in np.asarray(labels).tolist()]))

    @property
    def legend_width(self) -> float:
        """Inches that the legend takes."""
        return legend_width([str(name) for name in self.names], LEGEND_ROWS, MARKER_WIDTH)

    def scatter(self, ax: Axes, points: NDArray[Any], style: dict[str, Any]) -> dict[Any, Any]:
        """Draw the points of each class, in a colour and a marker that no other one has among the first 100.

        Colours come round after ten classes, with the next marker.
        """
        return {
            name: ax.scatter(
                *points[self.members == place].T,
                color=COLORS[place % len(COLORS)],
                marker=MARKERS[place // len(COLORS) % len(MARKERS)],
                label=str(name),
                **style,
            )
            for place, name in enumerate(self.names.tolist())
        }

    def legend(self, ax: Axes, scatters: dict[Any, Any], title: str | None) -> Any:
        """Say beside the axes which class is which, with markers that can be seen."""
        handles = list(scatters.values())
        legend = legend_beside(ax, handles, LEGEND_ROWS, title=title, handletextpad=0.2)
        for handle in legend.legend_handles:
            handle.set(sizes=[30.0], alpha=1)
        return legend
