"""A map of what an autoencoder makes of samples in its middle."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.utils import check_array, column_or_1d

from sk_denoise._validation import check_one_of, refuse_masked
from sk_denoise.estimators import DenoisingAutoencoder, ImageDenoiser
from sk_denoise.plots._drawing import (
    COLORS,
    MARKERS,
    Display,
    legend_beside,
    legend_width,
    new_or_given,
    require_pyplot,
    tidy,
)
from sk_denoise.plots._inputs import check_fitted, step_in

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Groups", "LatentDisplay", "checked_groups"]

SIDE = 5.0  # inches, of the map
INK, LARGEST, SMALLEST = 1.5e4, 30.0, 4.0  # square points: of all points together, and of one


class LatentDisplay(Display):
    """Show latent vectors as a map, coloured by class or by value.

    Samples that the encoder of an autoencoder finds alike lie together. Vectors of two numbers are drawn as
    they are, longer ones after a reduction, by default to their two principal components; the labels of
    the axes tell the share of the variance that these explain.

    It is recommended to use :meth:`from_estimator` or :meth:`from_latents`.

    Parameters
    ----------
    points : ndarray of shape (n_samples, 2)
        Where samples lie on the map.
    y : ndarray of shape (n_samples,), optional
        What they are coloured by.
    target : {"classes", "values"} or None, default=None
        What y holds.
    classes : sequence, optional
        The classes in the order of the legend; by default those in y, sorted.
    axis_labels : pair of str, default=("latent 1", "latent 2")
        What the axes are.
    target_name : str, optional
        What the legend or the colour bar is headed by.
    reducer : transformer, optional
        What made the points, fitted.

    Attributes
    ----------
    figure_ : matplotlib Figure
        The figure of the axes.
    ax_ : matplotlib Axes
        What the map was drawn on.
    scatters_ : dict of matplotlib PathCollection
        The points, by class; without classes by "all".
    legend_ : matplotlib Legend or None
        The classes.
    colorbar_ : matplotlib Colorbar or None
        The values.

    See Also
    --------
    DenoisingDisplay : What the decoder makes of latent vectors.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sk_denoise import DenoisingAutoencoder
    >>> from sk_denoise.plots import LatentDisplay
    >>> X, y = load_digits(return_X_y=True)
    >>> dae = DenoisingAutoencoder(latent_dim=16, max_epochs=5, random_state=0).fit(X)
    >>> display = LatentDisplay.from_estimator(dae, X, y)
    >>> len(display.scatters_), display.ax_.get_xlabel()[:11]
    (10, 'component 1')
    """

    figure_: Any
    ax_: Axes
    scatters_: dict[Any, Any]
    legend_: Any
    colorbar_: Any

    def __init__(
        self,
        points: NDArray[Any],
        y: NDArray[Any] | None = None,
        *,
        target: Literal["classes", "values"] | None = None,
        classes: Sequence[Any] | NDArray[Any] | None = None,
        axis_labels: Sequence[str] = ("latent 1", "latent 2"),
        target_name: str | None = None,
        reducer: Any = None,
    ) -> None:
        self.points = points
        self.y = y
        self.target = target
        self.classes = classes
        self.axis_labels = axis_labels
        self.target_name = target_name
        self.reducer = reducer

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        reducer: Any = "auto",
        target: Literal["auto", "classes", "values"] = "auto",
        ax: Axes | None = None,
    ) -> Self:
        """Encode samples with a fitted autoencoder, and show where they lie.

        Parameters
        ----------
        estimator : DenoisingAutoencoder, pipeline or search
            A fitted autoencoder with an encoder, whatever its ``output``, or a pipeline or search that holds
            one; the last one counts, and X passes through the steps before it. It stays as it is.
        X : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels])
            Samples, in the layout and unit of ``fit``.
        y, reducer, target, ax
            As in :meth:`from_latents`.

        Returns
        -------
        LatentDisplay
            Drawn.

        Raises
        ------
        TypeError
            For an estimator without latent vectors, such as :class:`~sk_denoise.ImageDenoiser`.
        """
        caller = f"{cls.__name__}.from_estimator"
        require_pyplot(caller)
        earlier, dae = _autoencoder_in(estimator, caller)
        for step in earlier:
            X = step.transform(X)
        encoder = copy.copy(dae)  # the user's own may give something else
        encoder.output = "latent"
        latents = np.asarray(encoder.transform(X))
        return cls.from_latents(latents, y, reducer=reducer, target=target, ax=ax)

    @classmethod
    def from_latents(
        cls,
        latents: ArrayLike,
        y: ArrayLike | None = None,
        *,
        reducer: Any = "auto",
        target: Literal["auto", "classes", "values"] = "auto",
        ax: Axes | None = None,
    ) -> Self:
        """Show where latent vectors lie.

        Parameters
        ----------
        latents : array-like of shape (n_samples, latent_dim)
            Latent vectors, as ``transform`` gives them with ``output="latent"``.
        y : array-like of shape (n_samples,), optional
            What samples are coloured by: classes, with a legend, or values, with a colour bar. The name of a
            Series is written there.
        reducer : "auto" or transformer, default="auto"
            What makes two numbers of longer vectors, by ``fit_transform``, such as
            :class:`~sklearn.manifold.TSNE`; a copy of it is fitted. "auto" leaves vectors of two numbers as
            they are, and takes the first two principal components of others.
        target : {"auto", "classes", "values"}, default="auto"
            What y holds. With "auto" it holds values where it has fractions or more than 20 different
            numbers, else classes. Categories of pandas are classes, in their order; other classes are
            sorted.
        ax : matplotlib Axes, optional
            What to draw on; by default those of a new figure.

        Returns
        -------
        LatentDisplay
            Drawn.
        """
        require_pyplot(f"{cls.__name__}.from_latents")
        refuse_masked(latents, "latents")
        vectors = check_array(latents, input_name="latents")
        kind, colors, classes = checked_groups(y, target, len(vectors))
        points, labels, fitted = _reduced(vectors, reducer)
        name = getattr(y, "name", None)
        return cls(
            points,
            colors,
            target=kind,
            classes=classes,
            axis_labels=labels,
            target_name=None if name is None else str(name),
            reducer=fitted,
        ).plot(ax)

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw the map.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            What to draw on; by default those of a new figure. The legend of classes lies beside them.

        Returns
        -------
        self
        """
        groups = Groups.of(self.y, self.classes) if self.target == "classes" else None
        size = (SIDE + (0.9 if groups is None else groups.legend_width), SIDE)
        ax = new_or_given(ax, f"{type(self).__name__}.plot", size)
        style: dict[str, Any] = {
            "s": float(np.clip(INK / len(self.points), SMALLEST, LARGEST)),
            "linewidth": 0,
            "alpha": 0.8,
        }
        self.legend_ = self.colorbar_ = None
        if groups is not None:
            self.scatters_ = groups.scatter(ax, self.points, style)
            self.legend_ = groups.legend(ax, self.scatters_, self.target_name)
        else:
            style |= {"color": COLORS[0]} if self.y is None else {"c": self.y, "cmap": "viridis"}
            points = ax.scatter(self.points[:, 0], self.points[:, 1], **style)
            self.scatters_ = {"all": points}
            if self.y is not None:
                self.colorbar_ = ax.figure.colorbar(points, ax=ax, label=self.target_name or "")
                self.colorbar_.solids.set_alpha(1)
        ax.set(xlabel=self.axis_labels[0], ylabel=self.axis_labels[1])
        tidy(ax)
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _autoencoder_in(estimator: Any, caller: str) -> tuple[list[Any], Any]:
    """Return the autoencoder in an estimator, pipeline or search, and the steps before it."""
    check_fitted(estimator, caller)
    earlier, dae = step_in(estimator, (DenoisingAutoencoder,))
    if dae is not None:
        check_fitted(dae, caller)
        return earlier, dae
    _, other = step_in(estimator, (ImageDenoiser,))
    found = estimator if other is None else other
    reason = "" if other is None else " (its network keeps the size of images, and has no bottleneck)"
    raise TypeError(
        f"{type(found).__name__} has no latent vectors{reason}: {caller} takes a DenoisingAutoencoder, or a "
        "pipeline or search that holds one. Vectors of other models go to from_latents."
    )


def _reduced(vectors: NDArray[Any], reducer: Any) -> tuple[NDArray[Any], tuple[str, str], Any]:
    """Return vectors as points on a map, what its axes are, and what reduced them."""
    dim = vectors.shape[1]
    if isinstance(reducer, str) and reducer == "auto":
        if dim == 2:
            return vectors, ("latent 1", "latent 2"), None
        reducer = PCA(2, random_state=0)
    elif isinstance(reducer, str | type) or not hasattr(reducer, "fit_transform"):
        raise TypeError(
            'reducer must be "auto" or a transformer with fit_transform, such as sklearn.manifold.TSNE(); '
            f"got {reducer!r}."
        )
    if min(vectors.shape) < 2:
        raise ValueError(
            f"A map needs at least two latent vectors of at least two numbers, got {len(vectors)} of {dim}. "
            "A histogram shows single numbers."
        )
    reducer = clone(reducer, safe=False)
    with np.errstate(invalid="ignore", divide="ignore"):  # shares of no variance, where vectors are one
        points = np.asarray(reducer.fit_transform(vectors))
    if points.shape != (len(vectors), 2):
        raise ValueError(
            f"{type(reducer).__name__} made an array of shape {points.shape}, and a map of {len(vectors)} "
            f"vectors needs {(len(vectors), 2)}: set its n_components=2."
        )
    return points, _axis_labels(reducer), reducer


def _axis_labels(reducer: Any) -> tuple[str, str]:
    shares = getattr(reducer, "explained_variance_ratio_", None)
    if shares is None:
        return f"{type(reducer).__name__} 1", f"{type(reducer).__name__} 2"
    if not np.isfinite(shares[:2]).all():
        return "component 1", "component 2"
    first, second = (f"component {i + 1} ({100 * shares[i]:.0f} % of the variance)" for i in range(2))
    return first, second


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
