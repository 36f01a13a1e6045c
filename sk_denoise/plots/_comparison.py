"""Display of several methods side by side, on one image under each noise."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sk_denoise.comparison import run_comparison
from sk_denoise.metrics import psnr
from sk_denoise.plots._base import (
    TEXT_HEIGHT,
    Display,
    as_images,
    check_figure,
    check_limits,
    choose_image_width,
    compute_limits,
    draw_image,
    measure_text_width,
    require_pyplot,
    wrap_label,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.image import AxesImage

__all__ = ["ComparisonDisplay"]

# Side of the part that is enlarged by default, in pixels: at 2 inches, single pixels can still be seen.
CROP_SIDE = 80
CROP_FRAME_COLOR = "tab:orange"
ROWS_HINT = "this display draws images alone, and compare_restorers makes the table of other rows"

# Top, left, height, width.
Crop = tuple[int, int, int, int]


class ComparisonDisplay(Display):
    """Denoised images, in a row for each noise and a column for each method.

    A part of large images is shown enlarged, with a frame around it in the whole image. The PSNR of the
    whole image is printed under the noisy and each denoised image, the best of a row in bold. The table
    holds the means over all images. All images share the grey levels of the clean one.

    It is recommended to use :meth:`from_methods`, which runs the comparison.

    Parameters
    ----------
    clean : ndarray of shape (height, width[, channels])
        Clean image, with 1 or 3 channels.
    outputs : dict of dict of ndarray of the shape of clean
        Noisy and denoised images, by name of the noise and then of the method.
    table : DataFrame, optional
        Table as returned by :func:`~sk_denoise.compare_restorers`.
    data_range : float
        Data range of the PSNR.
    limits : pair of float
        Values that are drawn black and white.
    crop : (top, left, height, width) or None, default=None
        Part that is enlarged, in pixels; None shows whole images.

    Attributes
    ----------
    figure_ : matplotlib Figure or SubFigure
        Figure of the images.
    axes_ : ndarray of matplotlib Axes of shape (n_noises, n_columns)
        Axes of the columns: the whole image if a part of it is enlarged, then clean, noisy, and the methods.
    images_ : ndarray of matplotlib AxesImage of shape (n_noises, n_columns)
        Images on the axes.

    See Also
    --------
    sk_denoise.compare_restorers : The table alone.
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
        outputs: Mapping[Hashable, Mapping[Hashable, NDArray[Any]]],
        *,
        table: pd.DataFrame | None = None,
        data_range: float,
        limits: tuple[float, float],
        crop: Crop | None = None,
    ) -> None:
        self.clean = clean
        self.outputs = outputs
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
        """Compare methods on all images, and show one of the images.

        Parameters
        ----------
        methods, images, noises, metrics, data_range, image_shape
            As in :func:`~sk_denoise.compare_restorers`.
        index : int, default=0
            Index of the image to show.
        crop : (top, left, height, width), "auto" or None, default="auto"
            Part of the image that is enlarged, in pixels. "auto" takes the 80 x 80 pixels in the middle if
            the image is at least twice as high and wide, else None. None shows whole images.
        limits : pair of float, optional
            Values that are drawn black and white, by default the extremes of the clean image.
        figure : matplotlib Figure or SubFigure, optional
            Figure to draw on, by default a new one of a suitable size.
        cmap : str or Colormap, default="gray"
            Colours of images with a single channel.

        Returns
        -------
        ComparisonDisplay
            Display with its figure; ``table`` holds the numbers of all images.
        """
        require_pyplot(f"{cls.__name__}.from_methods")
        # A comparison can take minutes, so invalid options are refused first.
        if limits is not None:
            check_limits(limits)
        clean = _select_image(index, images, image_shape)
        part = _check_crop(crop, clean.shape)
        comparison = run_comparison(
            methods,
            images,
            noises,
            metrics=metrics,
            data_range=data_range,
            image_shape=image_shape,
            index=index,
        )
        outputs = {
            noise: {method: _as_image(output, clean) for method, output in by_method.items()}
            for noise, by_method in comparison.outputs.items()
        }
        return cls(
            clean,
            outputs,
            table=comparison.table,
            data_range=comparison.data_range,
            limits=compute_limits([clean]) if limits is None else check_limits(limits),
            crop=part,
        ).plot(figure, cmap=cmap)

    def plot(self, figure: Figure | SubFigure | None = None, *, cmap: str = "gray") -> Self:
        """Draw the images.

        Parameters
        ----------
        figure : matplotlib Figure or SubFigure, optional
            Figure to draw on, for instance a part of a larger figure; its size stays. By default a new
            figure of a suitable size.
        cmap : str or Colormap, default="gray"
            Colours of images with a single channel.

        Returns
        -------
        self
        """
        pyplot = require_pyplot(f"{type(self).__name__}.plot")
        methods = [wrap_label(name) for name in next(iter(self.outputs.values()))]
        titles = ["clean", *methods]
        widths = [_aspect_ratio(self._crop_image(self.clean))] * len(titles)
        if self.crop is not None:
            titles, widths = ["image", *titles], [_aspect_ratio(self.clean), *widths]
        figure = pyplot.figure(**self._layout(titles, widths)) if figure is None else check_figure(figure)
        axes = figure.subplots(
            len(self.outputs), len(titles), squeeze=False, gridspec_kw={"width_ratios": widths}
        )
        images = np.empty(axes.shape, dtype=object)
        for row, (noise, outputs) in enumerate(self.outputs.items()):
            images[row] = self._draw_row(axes[row], list(outputs.values()), cmap)
            axes[row, 0].set_ylabel(wrap_label(noise))
        for ax, title in zip(axes[0], titles, strict=True):
            ax.set_title(title, fontsize="medium", pad=4)
        self.figure_, self.axes_, self.images_ = figure, axes, images
        return self

    def _draw_row(self, axes: NDArray[Any], outputs: Sequence[NDArray[Any]], cmap: str) -> list[AxesImage]:
        """Draw the outputs of all methods under one noise, with their PSNR."""
        parts = [self._crop_image(_repeat_pixels(image, self.clean)) for image in (self.clean, *outputs)]
        if self.crop is not None:
            parts.insert(0, self.clean)
            axes[0].add_patch(_create_frame(self.crop))
        # Of the whole image, not of the part: so the numbers do not depend on the crop.
        decibels = [
            psnr(self.clean[None], x[None], data_range=self.data_range)
            if x.shape == self.clean.shape
            else None
            for x in outputs
        ]
        known = [value for value in decibels if value is not None]
        for ax, value in zip(axes[-len(outputs) :], decibels, strict=True):
            # A reduced image has no pixel to compare with.
            if value is None:
                continue
            weight = "bold" if value == max(known) else "normal"
            ax.set_xlabel(f"{value:.1f} dB", fontsize="small", fontweight=weight, labelpad=3)
        return [draw_image(ax, x, self.limits, cmap) for ax, x in zip(axes, parts, strict=True)]

    def _crop_image(self, image: NDArray[Any]) -> NDArray[Any]:
        """Return the part of an image that is enlarged."""
        if self.crop is None:
            return image
        top, left, height, width = self.crop
        return image[top : top + height, left : left + width]

    def _layout(self, titles: Sequence[str], widths: Sequence[float]) -> dict[str, Any]:
        """Return size and layout of a figure.

        ``widths`` are those of the columns for images of height 1.
        """
        pixels = self._crop_image(self.clean).shape[1]
        height = choose_image_width(pixels, sum(widths) / widths[-1], titles) / widths[-1]
        names = [wrap_label(noise) for noise in self.outputs]
        label = measure_text_width(names)
        left, top = (TEXT_HEIGHT * (1 + max(text.count("\n") for text in x)) for x in (names, titles))
        size = (left + height * sum(widths), top + len(names) * (max(height, label) + TEXT_HEIGHT) + 0.1)
        # A compressed layout moves the rows together, so that labels longer than an image would overlap.
        return {"figsize": size, "layout": "compressed" if label <= height else "constrained"}


def _select_image(index: int, images: Any, image_shape: Sequence[int] | None) -> NDArray[Any]:
    """Return a clean image in the shape in which it is drawn."""
    if not isinstance(index, int | np.integer) or not 0 <= index < len(images):
        raise ValueError(f"index must be that of an image, from 0 to {len(images) - 1}, got {index!r}.")
    # Rows of a frame cannot be taken by their position.
    rows = images if isinstance(images, list | tuple) else np.asarray(images)
    image = np.asarray(rows[index])[None]
    return as_images(image, image_shape, "images", f"; {ROWS_HINT}")[0]


def _as_image(output: NDArray[Any], clean: NDArray[Any]) -> NDArray[Any]:
    """Return an output in the shape of the clean image, a reduced one as it is."""
    return output.reshape(clean.shape) if output.size == clean.size else output


def _repeat_pixels(image: NDArray[Any], clean: NDArray[Any]) -> NDArray[Any]:
    """Return a reduced image in the size of the clean one, each pixel as a square."""
    factor = clean.shape[0] // image.shape[0]
    return image if factor == 1 else image.repeat(factor, axis=0).repeat(factor, axis=1)


def _aspect_ratio(image: NDArray[Any]) -> float:
    """Return the width of an image divided by its height."""
    return float(image.shape[1] / image.shape[0])


def _check_crop(crop: Crop | Literal["auto"] | None, shape: tuple[int, ...]) -> Crop | None:
    """Return the part of an image of this shape to enlarge, or None."""
    # A comparison of an array with a text is an array, hence the check of the type.
    if isinstance(crop, str) and crop == "auto":
        height, width = shape[:2]
        if min(height, width) < 2 * CROP_SIDE:
            return None
        return ((height - CROP_SIDE) // 2, (width - CROP_SIDE) // 2, CROP_SIDE, CROP_SIDE)
    if crop is None:
        return None
    if _is_four_integers(crop):
        top, left, height, width = (int(number) for number in crop)
        if 0 <= top < top + height <= shape[0] and 0 <= left < left + width <= shape[1]:
            return top, left, height, width
    raise ValueError(
        'crop must be "auto", None for the whole image, or four integers (top, left, height, width) '
        f"inside the image of {shape[0]} x {shape[1]} pixels, got {crop!r}."
    )


def _is_four_integers(crop: Any) -> bool:
    """Return whether a crop is a sequence of four integers."""
    return (
        isinstance(crop, Sequence | np.ndarray)
        and len(crop) == 4
        and all(isinstance(x, int | np.integer) and not isinstance(x, bool) for x in crop)
    )


def _create_frame(crop: Crop) -> Any:
    """Return a frame around a part of an image."""
    from matplotlib.patches import Rectangle

    top, left, height, width = crop
    # Pixels are centred on integers, so their edges are half a pixel off.
    corner = (left - 0.5, top - 0.5)
    return Rectangle(corner, width, height, fill=False, edgecolor=CROP_FRAME_COLOR, linewidth=1.5)
