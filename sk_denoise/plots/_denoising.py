"""Pictures above each other: clean, noisy, denoised."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sk_denoise._validation import Noiser, check_noiser, data_range_of
from sk_denoise.metrics import psnr
from sk_denoise.metrics._fixed_noise import corrupt_fold, refuse_noisy, seed_of, through_earlier_steps
from sk_denoise.plots._drawing import (
    TEXT_HEIGHT,
    as_pictures,
    as_samples,
    check_limits,
    draw_picture,
    extremes_of,
    require_pyplot,
    suitable_width,
    wrapped,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

__all__ = ["DenoisingDisplay"]

ROWS = ("clean", "noisy", "denoised")
LABELS_WIDTH = 0.8  # inches: the names of the rows


class DenoisingDisplay:
    """Show pictures as they are, with noise, and denoised: a column for each sample.

    All pictures share one scale of greys, that of the clean data, so that they compare honestly; what
    lies outside is drawn black or white. The PSNR of each sample stands under its noisy and its denoised
    picture.

    It is recommended to use :meth:`from_estimator` or :meth:`from_predictions`, which choose samples, shape
    and scale.

    Parameters
    ----------
    clean, noisy, denoised : ndarray of shape (n_samples, height, width[, channels])
        The pictures, in one unit; 1 or 3 channels.
    data_range : float
        What the PSNR refers to: the distance between the smallest and the largest possible value.
    limits : pair of float
        The values that are drawn black and white.
    labels : sequence of length n_samples, optional
        What stands over the columns.

    Attributes
    ----------
    figure_ : matplotlib Figure or SubFigure
        What the pictures were drawn on.
    axes_ : ndarray of matplotlib Axes of shape (3, n_samples)
        Rows clean, noisy, denoised.
    images_ : ndarray of matplotlib AxesImage of shape (3, n_samples)
        The pictures on the axes.

    See Also
    --------
    sk_denoise.metrics.psnr : The number under the pictures.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sk_denoise import DenoisingAutoencoder, GaussianNoiser
    >>> from sk_denoise.plots import DenoisingDisplay
    >>> X, y = load_digits(return_X_y=True)
    >>> X = X / 16
    >>> dae = DenoisingAutoencoder(noise=GaussianNoiser(0.25), max_epochs=2, random_state=0).fit(X[:1000])
    >>> display = DenoisingDisplay.from_estimator(
    ...     dae, X[1000:], noiser=GaussianNoiser(0.25), image_shape=(8, 8), labels=y[1000:]
    ... )
    >>> display.axes_.shape
    (3, 10)
    """

    figure_: Any
    axes_: NDArray[Any]
    images_: NDArray[Any]

    def __init__(
        self,
        clean: NDArray[Any],
        noisy: NDArray[Any],
        denoised: NDArray[Any],
        *,
        data_range: float,
        limits: tuple[float, float],
        labels: Sequence[object] | None = None,
    ) -> None:
        self.clean = clean
        self.noisy = noisy
        self.denoised = denoised
        self.data_range = data_range
        self.limits = limits
        self.labels = labels

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X_clean: ArrayLike,
        *,
        noiser: Noiser | None = None,
        X_noisy: ArrayLike | None = None,
        image_shape: Sequence[int] | None = None,
        labels: Sequence[object] | NDArray[Any] | None = None,
        n_samples: int = 10,
        data_range: float | None = None,
        limits: tuple[float, float] | None = None,
        figure: Figure | SubFigure | None = None,
        cmap: str = "gray",
    ) -> Self:
        """Denoise with a fitted estimator, and show what it does to the first samples.

        Parameters
        ----------
        estimator : estimator
            A fitted denoiser with ``predict``, or a pipeline or search that ends in one. Where steps of a
            pipeline change the data, clean and noisy samples are shown as its last step meets them.
        X_clean : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels])
            Clean samples that the estimator has not seen.
        noiser : noiser, optional
            What corrupts them; its statistics come from ``X_clean``. It draws the noise that
            :func:`~sk_denoise.make_denoising_scorer` draws, with ``random_state=None`` as 0.
        X_noisy : array-like of the shape of X_clean, optional
            Noisy samples, in place of ``noiser``.
        image_shape : tuple of int, optional
            ``(height, width)`` or ``(height, width, channels)`` of flat rows; by default that which the
            estimator was told.
        labels : array-like of length n_samples, optional
            What stands over the columns.
        n_samples : int, default=10
            The most samples that are shown. For others than the first, pass slices.
        data_range : float, optional
            What the PSNR refers to; by default the range of the type for 8- and 16-bit integers, else the
            maximum of ``X_clean`` minus its minimum.
        limits : pair of float, optional
            The values that are drawn black and white; by default the extremes of ``X_clean``.
        figure : matplotlib Figure or SubFigure, optional
            What to draw on; by default a new figure of a suitable size.
        cmap : str or Colormap, default="gray"
            Colours of pictures with a single channel.

        Returns
        -------
        DenoisingDisplay
            Drawn.
        """
        if (noiser is None) == (X_noisy is None):
            raise ValueError(
                "from_estimator needs either noiser, which corrupts X_clean, or X_noisy; got "
                f"{'neither' if noiser is None else 'both'}."
            )
        require_pyplot(f"{cls.__name__}.from_estimator")
        noisy = X_noisy if noiser is None else _corrupted(estimator, noiser, X_clean)
        clean, last = through_earlier_steps(estimator, X_clean)
        clean = as_samples(clean, "X_clean")
        shown = as_samples(through_earlier_steps(estimator, noisy)[0], "X_noisy")
        if shown.shape != clean.shape:
            raise ValueError(
                "X_noisy must hold the noisy version of each sample of X_clean, got the shapes "
                f"{shown.shape} and {clean.shape}."
            )
        first = slice(_checked_count(n_samples))
        return cls.from_predictions(
            clean[first],
            shown[first],
            estimator.predict(noisy[first]),  # type: ignore[index]
            image_shape=getattr(last, "image_shape_", None) if image_shape is None else image_shape,
            labels=labels,
            n_samples=n_samples,
            data_range=data_range_of(clean) if data_range is None else data_range,
            limits=extremes_of(clean) if limits is None else limits,
            figure=figure,
            cmap=cmap,
        )

    @classmethod
    def from_predictions(
        cls,
        clean: ArrayLike,
        noisy: ArrayLike,
        denoised: ArrayLike,
        *,
        image_shape: Sequence[int] | None = None,
        labels: Sequence[object] | NDArray[Any] | None = None,
        n_samples: int = 10,
        data_range: float | None = None,
        limits: tuple[float, float] | None = None,
        figure: Figure | SubFigure | None = None,
        cmap: str = "gray",
    ) -> Self:
        """Show the first of given samples.

        Parameters
        ----------
        clean, noisy, denoised : array-like of shape (n_samples, n_features) or \
                (n_samples, height, width[, channels])
            The samples, in one unit.
        image_shape : tuple of int, optional
            ``(height, width)`` or ``(height, width, channels)`` of flat rows.
        labels : array-like of length n_samples, optional
            What stands over the columns.
        n_samples : int, default=10
            The most samples that are shown.
        data_range : float, optional
            What the PSNR refers to; by default the range of the type for 8- and 16-bit integers, else the
            maximum of ``clean`` minus its minimum.
        limits : pair of float, optional
            The values that are drawn black and white; by default the extremes of ``clean``.
        figure : matplotlib Figure or SubFigure, optional
            What to draw on; by default a new figure of a suitable size.
        cmap : str or Colormap, default="gray"
            Colours of pictures with a single channel.

        Returns
        -------
        DenoisingDisplay
            Drawn.
        """
        stacks = dict(zip(ROWS, (clean, noisy, denoised), strict=True))
        pictures = [as_pictures(stack, image_shape, name) for name, stack in stacks.items()]
        shapes = [stack.shape for stack in pictures]
        if len(set(shapes)) > 1:
            raise ValueError(
                "clean, noisy and denoised must have one shape, got pictures of the shapes "
                f"{', '.join(map(str, shapes))}."
            )
        n_shown = min(_checked_count(n_samples), len(pictures[0]))
        if labels is not None and len(labels) < n_shown:
            raise ValueError(f"labels has length {len(labels)}, there are {n_shown} samples to label.")
        return cls(
            *(stack[:n_shown] for stack in pictures),
            data_range=data_range_of(pictures[0]) if data_range is None else data_range,
            limits=extremes_of(pictures[0]) if limits is None else check_limits(limits),
            labels=None if labels is None else list(labels[:n_shown]),
        ).plot(figure, cmap=cmap)

    def plot(self, figure: Figure | SubFigure | None = None, *, cmap: str = "gray") -> Self:
        """Draw the pictures.

        Parameters
        ----------
        figure : matplotlib Figure or SubFigure, optional
            What to draw on, for instance a part of a larger figure; its size stays. By default a new
            figure of a suitable size.
        cmap : str or Colormap, default="gray"
            Colours of pictures with a single channel.

        Returns
        -------
        self
        """
        pyplot = require_pyplot(f"{type(self).__name__}.plot")
        if figure is None:
            figure = pyplot.figure(figsize=self._figsize(), layout="compressed")
        axes = figure.subplots(len(ROWS), len(self.clean), squeeze=False)
        images = np.empty(axes.shape, dtype=object)
        for row, pictures in enumerate((self.clean, self.noisy, self.denoised)):
            axes[row, 0].set_ylabel(ROWS[row], rotation=0, ha="right", va="center", labelpad=8)
            for column, picture in enumerate(pictures):
                images[row, column] = draw_picture(axes[row, column], picture, self.limits, cmap)
                if row > 0:
                    decibels = self._psnr(pictures, column)
                    axes[row, column].set_xlabel(f"{decibels:.1f} dB", fontsize="small", labelpad=3)
        for ax, title in zip(axes[0], self._titles(), strict=False):
            ax.set_title(title, fontsize="medium", pad=4)
        self.figure_, self.axes_, self.images_ = figure, axes, images
        return self

    def _figsize(self) -> tuple[float, float]:
        """Return width and height in inches of a figure that suits the pictures and their labels."""
        n_columns, height, width = self.clean.shape[:3]
        picture = suitable_width(width, n_columns, self._titles())
        row = picture * height / width + TEXT_HEIGHT
        return LABELS_WIDTH + n_columns * picture, len(ROWS) * row + 0.1

    def _titles(self) -> list[str]:
        """Return the labels as text, in lines that are not much longer than pictures are wide."""
        return [wrapped(label) for label in self.labels or ()]

    def _psnr(self, pictures: NDArray[Any], index: int) -> float:
        one = slice(index, index + 1)
        return psnr(self.clean[one], pictures[one], data_range=self.data_range)


def _corrupted(estimator: Any, noiser: Any, X: ArrayLike) -> Any:
    """Return X with noise, where the estimator does not add its own on top."""
    refuse_noisy(estimator, check_noiser(noiser))
    return corrupt_fold(noiser, X, seed_of(noiser), copy=0)


def _checked_count(n_samples: int) -> int:
    if not isinstance(n_samples, int | np.integer) or n_samples < 1:
        raise ValueError(f"n_samples must be an integer of at least 1, got {n_samples!r}.")
    return int(n_samples)
