"""Samples above each other: clean, noisy, denoised, and what is wrong with the last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sk_denoise._intensity import has_image_depth
from sk_denoise._validation import Noiser, check_noiser, check_one_of
from sk_denoise.metrics import psnr
from sk_denoise.metrics._fixed_noise import (
    corrupt_any,
    predict_in_unit,
    refuse_noisy,
    seed_of,
    through_earlier_steps,
    unit_of,
)
from sk_denoise.plots._drawing import Display, check_figure, check_limits, require_pyplot, wrapped
from sk_denoise.plots._inputs import (
    Samples,
    as_images,
    as_samples,
    as_signals,
    check_fitted,
    extremes_of,
    range_of,
)
from sk_denoise.plots._panels import Panels, draw_images, draw_signals, error_of, error_scale, figure_for

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

__all__ = ["DenoisingDisplay"]

ROWS = ("clean", "noisy", "denoised")
# kind: the most samples that are shown
KINDS = {"images": 10, "signals": 3}


class DenoisingDisplay(Display):
    """Show samples as they are, with noise, denoised, and what is still wrong: a column for each sample.

    All images share one scale of greys, that of the clean data, so that they compare honestly; what
    lies outside is drawn black or white. The PSNR of each sample stands under its noisy and its denoised
    image. The last row is the error, denoised minus clean, on a scale of its own that all samples share:
    white is right, blue too dark, red too bright. Signals are drawn as lines over the clean ones.

    It is recommended to use :meth:`from_estimator` or :meth:`from_predictions`, which choose samples, shape
    and scale.

    Parameters
    ----------
    clean, noisy, denoised : ndarray of shape (n_samples, height, width[, 3]) or (n_samples, length), \
            or list of ndarray
        Images or signals, in one unit. Images of different sizes come in lists.
    data_range : float
        What the PSNR refers to: the distance between the smallest and the largest possible value.
    limits : pair of float
        The values that are drawn black and white; of signals, the ends of the axis.
    labels : sequence of length n_samples, optional
        What stands over the columns.

    Attributes
    ----------
    figure_ : matplotlib Figure or SubFigure
        What the samples were drawn on.
    axes_ : ndarray of matplotlib Axes of shape (n_rows, n_samples)
        Rows clean, noisy, denoised and error. For signals there is no row of clean ones.
    images_ : ndarray of matplotlib AxesImage of that shape, or None
        The images on the axes; None for signals.
    lines_ : ndarray of matplotlib Line2D of that shape, or None
        The noisy and denoised signals and their errors; None for images.
    colorbar_ : matplotlib Colorbar or None
        The scale of the errors beside the last image.

    See Also
    --------
    sk_denoise.metrics.psnr : The number under the images.

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
    (4, 10)
    """

    figure_: Any
    axes_: NDArray[Any]
    images_: NDArray[Any] | None
    lines_: NDArray[Any] | None
    colorbar_: Any

    def __init__(
        self,
        clean: Samples,
        noisy: Samples,
        denoised: Samples,
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
        X_clean: ArrayLike | Sequence[ArrayLike],
        *,
        noiser: Noiser | None = None,
        X_noisy: ArrayLike | Sequence[ArrayLike] | None = None,
        kind: Literal["images", "signals"] = "images",
        image_shape: Sequence[int] | None = None,
        labels: Sequence[object] | NDArray[Any] | None = None,
        n_samples: int | None = None,
        data_range: float | None = None,
        limits: tuple[float, float] | None = None,
        figure: Figure | SubFigure | None = None,
        cmap: str = "gray",
        error: bool = True,
        error_limit: float | None = None,
    ) -> Self:
        """Denoise with a fitted estimator, and show what it does to the first samples.

        Parameters
        ----------
        estimator : estimator
            A fitted denoiser with ``predict``, or a pipeline or search that ends in one. Where steps of a
            pipeline change the data, clean and noisy samples are shown as its last step meets them.
        X_clean : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels]), or \
                list of arrays
            Clean samples that the estimator has not seen. Images of different sizes come in a list, for
            an estimator that takes such.
        noiser : noiser, optional
            What corrupts them; its statistics come from ``X_clean``. It draws the noise that
            :func:`~sk_denoise.make_denoising_scorer` draws, with ``random_state=None`` as 0.
        X_noisy : array-like of the shape of X_clean or list of arrays, optional
            Noisy samples, in place of ``noiser``.
        kind : {"images", "signals"}, default="images"
            What samples are. Rows are images with an ``image_shape``, or signals.
        image_shape : tuple of int, optional
            ``(height, width)`` or ``(height, width, channels)`` of flat rows; by default that which the
            estimator was told.
        labels : array-like of length n_samples, optional
            What stands over the columns.
        n_samples : int, optional
            The most samples that are shown, by default 10 images or 3 signals. For others than the first,
            pass slices.
        data_range : float, optional
            What the PSNR refers to; by default the range of the type for 8- and 16-bit integers, else the
            maximum of ``X_clean`` minus its minimum.
        limits : pair of float, optional
            The values that are drawn black and white; by default the extremes of ``X_clean``. Of signals,
            the ends of the axis; by default the extremes of all that is shown.
        figure : matplotlib Figure or SubFigure, optional
            What to draw on; by default a new figure of a suitable size.
        cmap : str or Colormap, default="gray"
            Colours of images with a single channel.
        error, error_limit
            As in :meth:`plot`.

        Returns
        -------
        DenoisingDisplay
            Drawn.
        """
        caller = f"{cls.__name__}.from_estimator"
        if (noiser is None) == (X_noisy is None):
            raise ValueError(
                "from_estimator needs either noiser, which corrupts X_clean, or X_noisy; got "
                f"{'neither' if noiser is None else 'both'}."
            )
        first = slice(_checked_count(n_samples, kind))
        require_pyplot(caller)
        check_fitted(estimator, caller)
        noisy = X_noisy if noiser is None else _corrupted(estimator, noiser, X_clean)
        clean, last = through_earlier_steps(estimator, X_clean)
        clean = as_samples(clean, "X_clean")
        shown = as_samples(through_earlier_steps(estimator, noisy)[0], "X_noisy")
        _check_alike(clean, shown)
        known = getattr(last, "image_shape_", None) if kind == "images" and _are_rows(clean) else None
        unit = None if has_image_depth(shown[0].dtype) else unit_of(last, clean[0])
        return cls.from_predictions(
            clean[first],
            shown[first],
            predict_in_unit(estimator, noisy[first], unit),  # type: ignore[index]
            kind=kind,
            image_shape=known if image_shape is None else image_shape,
            labels=labels,
            n_samples=n_samples,
            data_range=range_of(clean) if data_range is None else data_range,
            limits=extremes_of(clean) if limits is None and kind == "images" else limits,
            figure=figure,
            cmap=cmap,
            error=error,
            error_limit=error_limit,
        )

    @classmethod
    def from_predictions(
        cls,
        clean: ArrayLike | Sequence[ArrayLike],
        noisy: ArrayLike | Sequence[ArrayLike],
        denoised: ArrayLike | Sequence[ArrayLike],
        *,
        kind: Literal["images", "signals"] = "images",
        image_shape: Sequence[int] | None = None,
        labels: Sequence[object] | NDArray[Any] | None = None,
        n_samples: int | None = None,
        data_range: float | None = None,
        limits: tuple[float, float] | None = None,
        figure: Figure | SubFigure | None = None,
        cmap: str = "gray",
        error: bool = True,
        error_limit: float | None = None,
    ) -> Self:
        """Show the first of given samples.

        Parameters
        ----------
        clean, noisy, denoised : array-like of shape (n_samples, n_features) or \
                (n_samples, height, width[, channels]), or list of arrays
            The samples, in one unit. Images of different sizes come in lists.
        kind : {"images", "signals"}, default="images"
            What samples are. Rows are images with an ``image_shape``, or signals.
        image_shape : tuple of int, optional
            ``(height, width)`` or ``(height, width, channels)`` of flat rows.
        labels : array-like of length n_samples, optional
            What stands over the columns.
        n_samples : int, optional
            The most samples that are shown, by default 10 images or 3 signals.
        data_range : float, optional
            What the PSNR refers to; by default the range of the type for 8- and 16-bit integers, else the
            maximum of ``clean`` minus its minimum.
        limits : pair of float, optional
            The values that are drawn black and white; by default the extremes of ``clean``. Of signals, the
            ends of the axis; by default the extremes of all that is shown.
        figure : matplotlib Figure or SubFigure, optional
            What to draw on; by default a new figure of a suitable size.
        cmap : str or Colormap, default="gray"
            Colours of images with a single channel.
        error, error_limit
            As in :meth:`plot`.

        Returns
        -------
        DenoisingDisplay
            Drawn.
        """
        n_most = _checked_count(n_samples, kind)
        given = dict(zip(ROWS, (clean, noisy, denoised), strict=True))
        stacks = [_as_drawn(samples, kind, image_shape, name) for name, samples in given.items()]
        shapes = [[x.shape for x in stack] for stack in stacks]
        if shapes[0] != shapes[1] or shapes[0] != shapes[2]:
            raise ValueError(
                f"clean, noisy and denoised must have one shape, got {kind} of the shapes "
                f"{', '.join(map(_shape_of, stacks))}."
            )
        shown = [stack[:n_most] for stack in stacks]
        if labels is not None and len(labels) < len(shown[0]):
            raise ValueError(f"labels has length {len(labels)}, there are {len(shown[0])} samples to label.")
        if limits is None:
            limits = extremes_of(stacks[0] if kind == "images" else [x for stack in shown for x in stack])
        return cls(
            *shown,
            data_range=range_of(stacks[0]) if data_range is None else data_range,
            limits=check_limits(limits),
            labels=None if labels is None else list(labels[: len(shown[0])]),
        ).plot(figure, cmap=cmap, error=error, error_limit=error_limit)

    def plot(
        self,
        figure: Figure | SubFigure | None = None,
        *,
        cmap: str = "gray",
        error: bool = True,
        error_limit: float | None = None,
    ) -> Self:
        """Draw the samples.

        Parameters
        ----------
        figure : matplotlib Figure or SubFigure, optional
            What to draw on, for instance a part of a larger figure; its size stays. By default a new
            figure of a suitable size.
        cmap : str or Colormap, default="gray"
            Colours of images with a single channel.
        error : bool, default=True
            Whether the last row shows the error, denoised minus clean. Of colour images it is the root mean
            square over the channels of a pixel, red or blue by the sign of their sum: a mean would hide
            errors of hue.
        error_limit : float, optional
            The error at which the colours end, in the unit of the data, so that displays compare. By default
            all but half a percent of the errors lie below it; of signals, all.

        Returns
        -------
        self
        """
        pyplot = require_pyplot(f"{type(self).__name__}.plot")
        panels = self._panels(error, error_limit)
        figure = pyplot.figure(**figure_for(panels)) if figure is None else check_figure(figure)
        self.images_ = self.lines_ = self.colorbar_ = None
        if panels.are_images:
            self.axes_, self.images_, self.colorbar_ = draw_images(figure, panels, cmap)
        else:
            self.axes_, self.lines_ = draw_signals(figure, panels)
        self.figure_ = figure
        return self

    def _panels(self, error: bool, error_limit: float | None) -> Panels:
        """Return what there is to draw, with the numbers beside it."""
        if error_limit is not None and not 0 < error_limit < float("inf"):
            raise ValueError(f"error_limit must be a finite number above 0, got {error_limit!r}.")
        rows = dict(zip(ROWS, (self.clean, self.noisy, self.denoised), strict=True))
        errors = [error_of(clean, x) for clean, x in zip(self.clean, self.denoised, strict=True)]
        return Panels(
            {**rows, "error": errors} if error else rows,
            {name: self._decibels(rows[name]) for name in ROWS[1:]},
            [] if self.labels is None else [wrapped(label) for label in self.labels],
            self.limits,
            error_scale(errors) if error_limit is None else error_limit,
        )

    def _decibels(self, samples: Samples) -> list[str]:
        """Return what stands under samples: their PSNR."""
        pairs = zip(self.clean, samples, strict=True)
        return [f"{psnr(truth[None], x[None], data_range=self.data_range):.1f} dB" for truth, x in pairs]


def _corrupted(estimator: Any, noiser: Any, X: Any) -> Any:
    """Return X with noise, where the estimator does not add its own on top."""
    refuse_noisy(estimator, check_noiser(noiser))
    return corrupt_any(noiser, X, seed_of(noiser))


def _as_drawn(samples: Any, kind: str, image_shape: Sequence[int] | None, name: str) -> Samples:
    if kind == "images":
        return as_images(samples, image_shape, name, ', and kind="signals" to draw them as lines')
    if image_shape is not None:
        raise ValueError(f'image_shape={tuple(image_shape)} is for kind="images", got kind={kind!r}.')
    return as_signals(samples, name)


def _are_rows(samples: Samples) -> bool:
    return not isinstance(samples, list) and samples.ndim == 2


def _shape_of(samples: Samples) -> str:
    return str([x.shape for x in samples] if isinstance(samples, list) else samples.shape)


def _check_alike(clean: Samples, noisy: Samples) -> None:
    if [x.shape for x in clean] != [x.shape for x in noisy]:
        raise ValueError(
            "X_noisy must hold the noisy version of each sample of X_clean, got the shapes "
            f"{_shape_of(noisy)} and {_shape_of(clean)}."
        )


def _checked_count(n_samples: int | None, kind: str) -> int:
    most: int = check_one_of(kind, KINDS, "kind")
    if n_samples is None:
        return most
    if not isinstance(n_samples, int | np.integer) or n_samples < 1:
        raise ValueError(f"n_samples must be an integer of at least 1, got {n_samples!r}.")
    return int(n_samples)
