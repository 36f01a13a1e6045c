"""Display of latent vectors as points on a map."""

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
from sk_denoise.plots._base import (
    COLORS,
    MARKERS,
    Display,
    check_fitted,
    draw_legend_beside,
    find_step,
    hide_spines,
    measure_legend_width,
    prepare_axes,
    require_pyplot,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["LatentDisplay"]

# Side of the map and width of the colour bar, in inches.
MAP_SIDE, COLORBAR_WIDTH = 5.0, 0.9
# Area in square points: of all markers together, and the limits of a single one.
TOTAL_MARKER_AREA, MAX_MARKER_AREA, MIN_MARKER_AREA = 1.5e4, 30.0, 4.0
TARGETS = {"auto": None, "classes": None, "values": None}
# More different numbers than these are values, such as ages, and not classes.
MAX_NUMERIC_CLASSES = 20
LEGEND_ROWS = 20
# A marker of the legend and the space around it, in inches.
MARKER_WIDTH = 0.4


class LatentDisplay(Display):
    """Latent vectors as points on a map, coloured by class or by value.

    Samples with similar latent vectors lie close together. Vectors of two numbers are drawn as they are.
    Longer ones are reduced first, by default to their two principal components; the axis labels then show
    the explained share of the variance.

    It is recommended to use :meth:`from_estimator` or :meth:`from_latents`.

    Parameters
    ----------
    points : ndarray of shape (n_samples, 2)
        Positions of the samples on the map.
    y : ndarray of shape (n_samples,), optional
        Classes or values that colour the points.
    target : {"classes", "values"} or None, default=None
        Kind of y.
    classes : sequence, optional
        Classes in the order of the legend, by default those in y, sorted.
    axis_labels : pair of str, default=("latent 1", "latent 2")
        Labels of the axes.
    target_name : str, optional
        Title of the legend or the colour bar.
    reducer : transformer, optional
        Fitted transformer that reduced the vectors to points.

    Attributes
    ----------
    figure_ : matplotlib Figure
        Figure of the axes.
    ax_ : matplotlib Axes
        Axes of the map.
    scatters_ : dict of matplotlib PathCollection
        Points by class; under the key "all" without classes.
    legend_ : matplotlib Legend or None
        Legend of the classes.
    colorbar_ : matplotlib Colorbar or None
        Colour bar of the values.

    See Also
    --------
    DenoisingDisplay : Samples before and after denoising.

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
        """Encode samples with a fitted autoencoder, and show their latent vectors.

        Parameters
        ----------
        estimator : DenoisingAutoencoder, pipeline or search
            Fitted autoencoder with any ``output``, or a pipeline or search that contains one. Of several, the
            last one is used, and X passes through the steps before it. The estimator is not changed.
        X : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels])
            Samples, in the layout and unit of ``fit``.
        y, reducer, target, ax
            As in :meth:`from_latents`.

        Returns
        -------
        LatentDisplay
            Display with its figure.

        Raises
        ------
        TypeError
            If the estimator has no latent vectors, such as :class:`~sk_denoise.ImageDenoiser`.
        """
        caller = f"{cls.__name__}.from_estimator"
        require_pyplot(caller)
        earlier, dae = _find_autoencoder(estimator, caller)
        for step in earlier:
            X = step.transform(X)
        # A copy, because `output` of the user's autoencoder stays as it is.
        encoder = copy.copy(dae)
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
        """Show latent vectors on a map.

        Parameters
        ----------
        latents : array-like of shape (n_samples, latent_dim)
            Latent vectors, as returned by ``transform`` with ``output="latent"``.
        y : array-like of shape (n_samples,), optional
            Classes or values that colour the points. Classes get a legend, values a colour bar, and the name
            of a Series is its title.
        reducer : "auto" or transformer, default="auto"
            Transformer that reduces longer vectors to two numbers, by ``fit_transform``, such as
            :class:`~sklearn.manifold.TSNE`. A copy of it is fitted. "auto" leaves vectors of two numbers as
            they are, and computes two principal components of longer ones.
        target : {"auto", "classes", "values"}, default="auto"
            Kind of y. With "auto", numbers with fractions and more than 20 different numbers are values, and
            all else is classes. Categories of pandas are classes, in their order; other classes are sorted.
        ax : matplotlib Axes, optional
            Axes to draw on, by default those of a new figure.

        Returns
        -------
        LatentDisplay
            Display with its figure.
        """
        require_pyplot(f"{cls.__name__}.from_latents")
        refuse_masked(latents, "latents")
        vectors = check_array(latents, input_name="latents")
        kind, colors, classes = _check_labels(y, target, len(vectors))
        points, labels, fitted = _reduce(vectors, reducer)
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
            Axes to draw on, by default those of a new figure. The legend of classes lies beside them.

        Returns
        -------
        self
        """
        groups = ClassGroups.from_labels(self.y, self.classes) if self.target == "classes" else None
        # Beside the map stand a legend or a colour bar.
        width = MAP_SIDE + (COLORBAR_WIDTH if groups is None else groups.legend_width)
        ax = prepare_axes(ax, f"{type(self).__name__}.plot", (width, MAP_SIDE))
        style: dict[str, Any] = {
            "s": float(np.clip(TOTAL_MARKER_AREA / len(self.points), MIN_MARKER_AREA, MAX_MARKER_AREA)),
            "linewidth": 0,
            "alpha": 0.8,
        }
        self.legend_ = self.colorbar_ = None
        if groups is not None:
            self.scatters_ = groups.draw_points(ax, self.points, style)
            self.legend_ = groups.draw_legend(ax, self.scatters_, self.target_name)
        else:
            style |= {"color": COLORS[0]} if self.y is None else {"c": self.y, "cmap": "viridis"}
            points = ax.scatter(self.points[:, 0], self.points[:, 1], **style)
            self.scatters_ = {"all": points}
            if self.y is not None:
                self.colorbar_ = ax.figure.colorbar(points, ax=ax, label=self.target_name or "")
                # The bar takes the alpha of the points, and would be paler than they are where they overlap.
                self.colorbar_.solids.set_alpha(1)
        ax.set(xlabel=self.axis_labels[0], ylabel=self.axis_labels[1])
        hide_spines(ax)
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _find_autoencoder(estimator: Any, caller: str) -> tuple[list[Any], Any]:
    """Return the steps before the last autoencoder of an estimator, and the latter."""
    check_fitted(estimator, caller)
    earlier, dae = find_step(estimator, (DenoisingAutoencoder,))
    if dae is not None:
        check_fitted(dae, caller)
        return earlier, dae
    _, image_denoiser = find_step(estimator, (ImageDenoiser,))
    name, reason = type(estimator).__name__, ""
    if image_denoiser is not None:
        name = type(image_denoiser).__name__
        reason = " (its network keeps the size of images, and has no bottleneck)"
    raise TypeError(
        f"{name} has no latent vectors{reason}: {caller} takes a DenoisingAutoencoder, or a "
        "pipeline or search that contains one. Vectors of other models go to from_latents."
    )


def _reduce(vectors: NDArray[Any], reducer: Any) -> tuple[NDArray[Any], tuple[str, str], Any]:
    """Return points on a map, the labels of its axes, and the fitted reducer."""
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
    # Vectors that are all equal have no variance, and PCA divides by it.
    with np.errstate(invalid="ignore", divide="ignore"):
        points = np.asarray(reducer.fit_transform(vectors))
    if points.shape != (len(vectors), 2):
        raise ValueError(
            f"{type(reducer).__name__} made an array of shape {points.shape}, and a map of {len(vectors)} "
            f"vectors needs {(len(vectors), 2)}: set its n_components=2."
        )
    return points, _format_axis_labels(reducer), reducer


def _format_axis_labels(reducer: Any) -> tuple[str, str]:
    """Return labels for both axes, with the explained variance if it is known."""
    shares = getattr(reducer, "explained_variance_ratio_", None)
    if shares is None:
        return f"{type(reducer).__name__} 1", f"{type(reducer).__name__} 2"
    if not np.isfinite(shares[:2]).all():
        return "component 1", "component 2"
    first, second = (f"component {i + 1} ({100 * shares[i]:.0f} % of the variance)" for i in range(2))
    return first, second


def _check_labels(
    y: Any, target: str, n_samples: int
) -> tuple[Literal["classes", "values"] | None, NDArray[Any] | None, NDArray[Any] | None]:
    """Return the kind of y, y as an array, and its classes if their order is given."""
    check_one_of(target, TARGETS, "target")
    if y is None:
        return None, None, None
    labels = column_or_1d(y)
    if len(labels) != n_samples:
        raise ValueError(f"y has length {len(labels)}, there are {n_samples} samples to colour.")
    # Of a pandas Series, Categorical or CategoricalIndex.
    categories = getattr(getattr(y, "dtype", None), "categories", None)
    kind = target
    if target == "auto":
        kind = _infer_kind(labels) if categories is None else "classes"
    if kind == "values":
        labels = check_array(labels, ensure_2d=False, input_name="y")
    elif any(_is_missing(label) for label in labels.tolist()):
        raise ValueError("y holds missing values: leave these samples out, or give them a class.")
    else:
        # By way of a list, an array of objects gets the dtype of its labels.
        labels = np.array(labels.tolist())
    if len(np.unique(labels)) < 2:
        noun = "class" if kind == "classes" else "value"
        raise ValueError(
            f"y holds a single {noun}, {labels[0]!s}, so there is nothing to tell apart: leave y out."
        )
    if kind == "values":
        return "values", labels, None
    return "classes", labels, None if categories is None else _select_present(categories, labels)


def _select_present(categories: Any, labels: NDArray[Any]) -> NDArray[Any]:
    """Return the categories that occur, in their order and the dtype of the labels."""
    present = set(labels.tolist())
    names = np.array(np.asarray(categories).tolist())
    return names[[name in present for name in names.tolist()]]


def _sort_names(names: NDArray[Any]) -> NDArray[Any]:
    """Return sorted classes in the order of the legend."""
    if names.dtype.kind != "U":
        return names
    try:
        # Texts such as "10" and "9" are sorted by number.
        return names[np.argsort(names.astype(np.float64), kind="stable")]
    except ValueError:
        return names


def _is_missing(label: Any) -> bool:
    """Return whether a label is None, NaN or pandas' NA."""
    try:
        return label is None or bool(label != label)
    except TypeError:
        # pandas' NA has no truth value.
        return True


def _infer_kind(labels: NDArray[Any]) -> str:
    """Return "values" for fractions or many different numbers, else "classes"."""
    if labels.dtype == object:
        labels = np.array([label for label in labels.tolist() if not _is_missing(label)])
    if labels.dtype.kind not in "iuf":
        return "classes"
    finite = labels[np.isfinite(labels)] if labels.dtype.kind == "f" else labels
    has_fractions = bool((finite != np.round(finite)).any())
    return "values" if has_fractions or len(np.unique(finite)) > MAX_NUMERIC_CLASSES else "classes"


@dataclass(frozen=True)
class ClassGroups:
    """Names of the classes, and the number of the class of each sample."""

    names: NDArray[Any]
    members: NDArray[Any]

    @classmethod
    def from_labels(cls, labels: Any, names: Any = None) -> ClassGroups:
        """Group samples by their label; the classes are sorted unless names are given."""
        names = _sort_names(np.unique(labels)) if names is None else np.asarray(names)
        places = {name: place for place, name in enumerate(names.tolist())}
        return cls(names, np.array([places[label] for label in np.asarray(labels).tolist()]))

    @property
    def legend_width(self) -> float:
        """Width of the legend in inches."""
        return measure_legend_width([str(name) for name in self.names], LEGEND_ROWS, MARKER_WIDTH)

    def draw_points(self, ax: Axes, points: NDArray[Any], style: dict[str, Any]) -> dict[Any, Any]:
        """Draw the points of each class, in a different colour or marker."""
        # Colours repeat after ten classes, with the next marker: 100 different pairs.
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

    def draw_legend(self, ax: Axes, scatters: dict[Any, Any], title: str | None) -> Any:
        """Draw the legend beside the axes."""
        handles = list(scatters.values())
        legend = draw_legend_beside(ax, handles, LEGEND_ROWS, title=title, handletextpad=0.2)
        # Markers of large maps are tiny, so those of the legend have their own size.
        for handle in legend.legend_handles:
            handle.set(sizes=[30.0], alpha=1)
        return legend
