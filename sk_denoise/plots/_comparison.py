"""Methods beside each other: one image, under each noise."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sk_denoise.comparison import run_comparison
from sk_denoise.metrics import psnr
from sk_denoise.plots._drawing import (
    TEXT_HEIGHT,
    Display,
    check_figure,
    check_limits,
    draw_image,
    require_pyplot,
    suitable_width,
    text_width,
    wrapped,
)
from sk_denoise.plots._inputs import as_images, extremes_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.image import AxesImage

__all__ = ["ComparisonDisplay"]

CROP = 80  # pixels: the side of the part that is enlarged by itself
ROWS_GO = "this display draws images alone, and compare_denoisers makes the table of other rows"
MARK = "tab:orange"  # of the frame around what is enlarged

Crop = tuple[int, int, int, int]  # top, left, height, width


class ComparisonDisplay(Display):
    """Show what each method makes of an image: a row for each noise, a column for each method.

    Of large images a part is shown enlarged, which is framed in the whole one. Under the noisy and each
    denoised image stands the PSNR of all of it, the best of a row in bold; means over all images are in
    the table. All share one scale of greys, that of the clean one.

    It is recommended to use :meth:`from_methods`, which makes the comparison.

    Parameters
    ----------
    clean : ndarray of shape (height, width[, channels])
        The image, with 1 or 3 channels.
    answers : dict of dict of ndarray of the shape of clean
        By name of the noise, and then of the method: what to show beside it.
    table : DataFrame, optional
        What :func:`~sk_denoise.compare_denoisers` returns.
    data_range : float
        What the PSNR refers to.
    limits : pair of float
        The values that are drawn black and white.
    crop : (top, left, height, width) or None, default=None
        The part that is enlarged, in pixels; None shows whole images.

    Attributes
    ----------
    figure_ : matplotlib Figure or SubFigure
        What the images were drawn on.
    axes_ : ndarray of matplotlib Axes of shape (n_noises, n_columns)
        The columns are the whole image, where a part of it is enlarged; then clean, noisy, and the methods.
    images_ : ndarray of matplotlib AxesImage of shape (n_noises, n_columns)
        The images on the axes.

    See Also
    --------
    sk_denoise.compare_denoisers : The table alone.
    DenoisingDisplay : Many samples and one estimator.

    Examples
    --------
    >>> from sk_denoise import GaussianNoiser, MedianDenoiser
    >>> from sk_denoise.datasets import load_images
    >>> from sk_denoise.plots import ComparisonDisplay
    >>> images = [photo[:64, :80] for photo in load_images("gray").test[:2]]
    >>> display = ComparisonDisplay.from_methods(
    ...     {"median": MedianDenoiser().fit(images), "network": "gray"},
    ...     images,
    ...     {"weak": GaussianNoiser(0.05), "strong": GaussianNoiser(0.2)},
    ...     data_range=1,
    ... )
    >>> display.table.shape, display.axes_.shape
    ((6, 5), (2, 4))
    """

    figure_: Any
    axes_: NDArray[Any]
    images_: NDArray[Any]

    def __init__(
        self,
        clean: NDArray[Any],
        answers: Mapping[Hashable, Mapping[Hashable, NDArray[Any]]],
        *,
        table: pd.DataFrame | None = None,
        data_range: float,
        limits: tuple[float, float],
        crop: Crop | None = None,
    ) -> None:
        self.clean = clean
        self.answers = answers
        self.table = table
        self.data_range = data_range
        self.limits = limits
        self.crop = crop

    @classmethod
    def from_methods(
        cls,
        methods: Any,
        images: ArrayLike | Sequence[ArrayLike],
        noises: Any,
        *,
        metrics: str | Sequence[str] = "auto",
        data_range: float | None = None,
        image_shape: Sequence[int] | None = None,
        index: int = 0,
        crop: Crop | Literal["auto"] | None = "auto",
        limits: tuple[float, float] | None = None,
        figure: Figure | SubFigure | None = None,
        cmap: str = "gray",
    ) -> Self:
        """Compare methods on all images, and show one of them; ``table`` holds the numbers.

        Parameters
        ----------
        methods, images, noises, metrics, data_range, image_shape
            As :func:`~sk_denoise.compare_denoisers` takes them.
        index : int, default=0
            Which image is shown.
        crop : (top, left, height, width), "auto" or None, default="auto"
            The part of it that is enlarged, in pixels. "auto" is the 80 x 80 pixels in the middle where the
            image is twice as high and as wide, else None: whole images.
        limits : pair of float, optional
            The values that are drawn black and white; by default the extremes of the clean image.
        figure : matplotlib Figure or SubFigure, optional
            What to draw on; by default a new figure of a suitable size.
        cmap : str or Colormap, default="gray"
            Colours of images with a single channel.

        Returns
        -------
        ComparisonDisplay
            Drawn.
        """
        require_pyplot(f"{cls.__name__}.from_methods")
        if limits is not None:
            check_limits(limits)
        clean = _image_at(index, images, image_shape)
        part = _checked_crop(crop, clean.shape)
        compared = run_comparison(
            methods,
            images,
            noises,
            metrics=metrics,
            data_range=data_range,
            image_shape=image_shape,
            index=index,
        )
        answers = {
            noise: {method: answer.reshape(clean.shape) for method, answer in by_method.items()}
            for noise, by_method in compared.answers.items()
        }
        return cls(
            clean,
            answers,
            table=compared.table,
            data_range=compared.data_range,
            limits=extremes_of([clean]) if limits is None else check_limits(limits),
            crop=part,
        ).plot(figure, cmap=cmap)

    def plot(self, figure: Figure | SubFigure | None = None, *, cmap: str = "gray") -> Self:
        """Draw the images.

        Parameters
        ----------
        figure : matplotlib Figure or SubFigure, optional
            What to draw on, for instance a part of a larger figure; its size stays. By default a new
            figure of a suitable size.
        cmap : str or Colormap, default="gray"
            Colours of images with a single channel.

        Returns
        -------
        self
        """
        pyplot = require_pyplot(f"{type(self).__name__}.plot")
        methods = [wrapped(name) for name in next(iter(self.answers.values()))]
        titles, widths = ["clean", *methods], [_aspect(self._part(self.clean))] * (1 + len(methods))
        if self.crop is not None:
            titles, widths = ["image", *titles], [_aspect(self.clean), *widths]
        figure = pyplot.figure(**self._size(titles, widths)) if figure is None else check_figure(figure)
        axes = figure.subplots(
            len(self.answers), len(titles), squeeze=False, gridspec_kw={"width_ratios": widths}
        )
        images = np.empty(axes.shape, dtype=object)
        for row, (noise, answers) in enumerate(self.answers.items()):
            images[row] = self._draw_row(axes[row], list(answers.values()), cmap)
            axes[row, 0].set_ylabel(wrapped(noise))
        for ax, title in zip(axes[0], titles, strict=True):
            ax.set_title(title, fontsize="medium", pad=4)
        self.figure_, self.axes_, self.images_ = figure, axes, images
        return self

    def _draw_row(self, axes: NDArray[Any], answers: Sequence[NDArray[Any]], cmap: str) -> list[AxesImage]:
        """Draw what the methods made of the image under one noise, and say how good it is."""
        parts = [self._part(image) for image in (self.clean, *answers)]
        if self.crop is not None:
            parts.insert(0, self.clean)
            axes[0].add_patch(_frame(self.crop))
        decibels = [psnr(self.clean[None], x[None], data_range=self.data_range) for x in answers]
        for ax, value in zip(axes[-len(answers) :], decibels, strict=True):
            weight = "bold" if value == max(decibels) else "normal"
            ax.set_xlabel(f"{value:.1f} dB", fontsize="small", fontweight=weight, labelpad=3)
        return [draw_image(ax, x, self.limits, cmap) for ax, x in zip(axes, parts, strict=True)]

    def _part(self, image: NDArray[Any]) -> NDArray[Any]:
        if self.crop is None:
            return image
        top, left, height, width = self.crop
        return image[top : top + height, left : left + width]

    def _size(self, titles: Sequence[str], widths: Sequence[float]) -> dict[str, Any]:
        """Return size and layout of a figure of images so wide, where they are 1 high."""
        pixels = self._part(self.clean).shape[1]
        height = suitable_width(pixels, sum(widths) / widths[-1], titles) / widths[-1]
        names = [wrapped(noise) for noise in self.answers]
        label = text_width(names)
        left, top = (TEXT_HEIGHT * (1 + max(text.count("\n") for text in x)) for x in (names, titles))
        size = (left + height * sum(widths), top + len(names) * (max(height, label) + TEXT_HEIGHT) + 0.1)
        return {"figsize": size, "layout": "compressed" if label <= height else "constrained"}


def _image_at(index: int, images: Any, image_shape: Sequence[int] | None) -> NDArray[Any]:
    """Return a clean image as it is drawn."""
    if not isinstance(index, int | np.integer) or not 0 <= index < len(images):
        raise ValueError(f"index must be that of an image, from 0 to {len(images) - 1}, got {index!r}.")
    rows = images if isinstance(images, list | tuple) else np.asarray(images)
    image = np.asarray(rows[index])[None]
    return as_images(image, image_shape, "images", f"; {ROWS_GO}")[0]


def _aspect(image: NDArray[Any]) -> float:
    """Return how wide an image is where it is 1 high."""
    return float(image.shape[1] / image.shape[0])


def _checked_crop(crop: Crop | Literal["auto"] | None, shape: tuple[int, ...]) -> Crop | None:
    if isinstance(crop, str) and crop == "auto":
        height, width = shape[:2]
        if min(height, width) < 2 * CROP:
            return None
        return ((height - CROP) // 2, (width - CROP) // 2, CROP, CROP)
    if crop is None:
        return None
    if _are_pixels(crop):
        top, left, height, width = (int(number) for number in crop)
        if 0 <= top < top + height <= shape[0] and 0 <= left < left + width <= shape[1]:
            return top, left, height, width
    raise ValueError(
        'crop must be "auto", None for the whole image, or four integers (top, left, height, width) '
        f"inside the image of {shape[0]} x {shape[1]} pixels, got {crop!r}."
    )


def _are_pixels(crop: Any) -> bool:
    """Return whether something is four integers."""
    return (
        isinstance(crop, Sequence | np.ndarray)
        and len(crop) == 4
        and all(isinstance(x, int | np.integer) and not isinstance(x, bool) for x in crop)
    )


def _frame(crop: Crop) -> Any:
    """Return a frame around a part of an image."""
    from matplotlib.patches import Rectangle

    top, left, height, width = crop
    return Rectangle((left - 0.5, top - 0.5), width, height, fill=False, edgecolor=MARK, linewidth=1.5)
