"""Display of clean, noisy and denoised samples, and of the remaining error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.pipeline import Pipeline

from sk_denoise._intensity import has_image_depth
from sk_denoise._validation import Noiser, check_noiser, check_numbers, check_one_of, refuse_other_size
from sk_denoise.comparison import default_data_range
from sk_denoise.metrics import psnr
from sk_denoise.metrics._scorers import (
    apply_earlier_steps,
    corrupt_samples,
    foreign_range,
    noise_seed,
    predict_in_range,
    refuse_noise_in_estimator,
)
from sk_denoise.plots._base import (
    COLORS,
    MAX_FIGURE_WIDTH,
    TEXT_HEIGHT,
    Display,
    Samples,
    as_images,
    as_samples,
    as_signals,
    check_figure,
    check_fitted,
    check_limits,
    choose_image_width,
    compute_limits,
    draw_image,
    hide_spines,
    measure_text_width,
    require_pyplot,
    wrap_label,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

__all__ = [
    "DenoisingDisplay",
    "Panels",
    "choose_error_limit",
    "choose_layout",
    "compute_error",
    "draw_images",
    "draw_signals",
]

ROWS = ("clean", "noisy", "denoised")
# Maximum number of samples by kind. Signals are wider than images.
KINDS = {"images": 10, "signals": 3}


class DenoisingDisplay(Display):
    """Clean, noisy and denoised samples with their error, in a column for each.

    All images share one scale of greys, that of the clean data; values beyond it are drawn black or white.
    The PSNR of each sample is printed under its noisy and its denoised image. The last row is the error,
    denoised minus clean, on another scale that all samples share: white is no error, blue is too dark, red
    is too bright. Signals are drawn as lines over the clean ones, over a time axis if they have a sampling
    rate. Each channel of signals has its own rows, and its own scales.

    It is recommended to use :meth:`from_estimator` or :meth:`from_predictions`, which choose samples, shape
    and scale.

    Parameters
    ----------
    clean, noisy, denoised : ndarray of shape (n_samples, height, width[, 3]), (n_samples, length) or \
            (n_samples, channels, length), or list of ndarray
        Images or signals, in one unit. Images of different sizes and signals of different lengths are given
        as lists.
    data_range : float or ndarray of shape (n_channels,)
        Data range of the PSNR: the distance between the smallest and the largest possible value.
    limits : pair of float or list of pairs
        Values that are drawn black and white; for signals, the ends of the axis, a pair for each channel.
    labels : sequence of length n_samples, optional
        Titles of the columns.
    kind : {"images", "signals"}, optional
        Kind of the samples; by default rows are signals, and others are images.
    x : ndarray of shape (length,) or list of ndarray, optional
        Coordinates of the entries of signals, an array for each signal if lengths differ. By default their
        numbers from 0.
    x_label : str, optional
        Name of the coordinates, under the last row.
    channel_names : sequence of str, optional
        Names of the channels, beside the rows.

    Attributes
    ----------
    figure_ : matplotlib Figure or SubFigure
        Figure of the samples.
    axes_ : ndarray of matplotlib Axes of shape (n_rows, n_samples)
        Axes of the rows clean, noisy, denoised and error. Signals have no row of clean ones, and rows for
        each channel.
    images_ : ndarray of matplotlib AxesImage of that shape, or None
        Images on the axes; None for signals.
    lines_ : ndarray of matplotlib Line2D of that shape, or None
        Lines of the noisy and denoised signals and their errors; None for images.
    colorbar_ : matplotlib Colorbar or None
        Scale of the errors beside the last image.

    See Also
    --------
    sk_denoise.metrics.psnr : The number under the images.
    ComparisonDisplay : Several methods on one image.

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
        data_range: float | NDArray[Any],
        limits: tuple[float, float] | list[tuple[float, float]],
        labels: Sequence[object] | None = None,
        kind: Literal["images", "signals"] | None = None,
        x: NDArray[Any] | list[NDArray[Any]] | None = None,
        x_label: str | None = None,
        channel_names: Sequence[str] | None = None,
    ) -> None:
        self.clean = clean
        self.noisy = noisy
        self.denoised = denoised
        self.data_range = data_range
        self.limits = limits
        self.labels = labels
        self.kind = kind
        self.x = x
        self.x_label = x_label
        self.channel_names = channel_names

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X_clean: ArrayLike | Sequence[ArrayLike],
        *,
        noiser: Noiser | None = None,
        X_noisy: ArrayLike | Sequence[ArrayLike] | None = None,
        kind: Literal["auto", "images", "signals"] = "auto",
        image_shape: Sequence[int] | None = None,
        sampling_rate: float | None = None,
        x: ArrayLike | Sequence[ArrayLike] | None = None,
        x_label: str | None = None,
        channel: int | Sequence[int] | None = None,
        channel_names: Sequence[str] | None = None,
        labels: Sequence[object] | NDArray[Any] | None = None,
        n_samples: int | None = None,
        data_range: float | ArrayLike | None = None,
        limits: tuple[float, float] | None = None,
        figure: Figure | SubFigure | None = None,
        cmap: str = "gray",
        error: bool = True,
        error_limit: float | None = None,
    ) -> Self:
        """Denoise the first samples with a fitted estimator, and show them.

        Parameters
        ----------
        estimator : estimator
            Fitted denoiser with ``predict``, or a pipeline or search that ends in one. If earlier steps of a
            pipeline change the data, clean and noisy samples are shown in the unit of the last step.
        X_clean : array-like of shape (n_samples, n_features), (n_samples, height, width[, channels]) or \
                (n_samples, channels, length), or list of arrays
            Clean samples that were not used for training. Images of different sizes and signals of different
            lengths are given as a list, for estimators that take lists.
        noiser : noiser, optional
            Noiser that corrupts ``X_clean``, with statistics from ``X_clean``. The noise is the same as in
            :func:`~sk_denoise.make_denoising_scorer`; ``random_state=None`` counts as 0.
        X_noisy : array-like of the shape of X_clean or list of arrays, optional
            Noisy samples, in place of ``noiser``.
        kind : {"auto", "images", "signals"}, default="auto"
            Kind of the samples. Rows are images with an ``image_shape``, or signals. "auto" is signals for
            :class:`~sk_denoise.SignalDenoiser` and for filters with ``kind="signals"``, else images.
        image_shape : tuple of int, optional
            ``(height, width)`` or ``(height, width, channels)`` of flat rows, by default the image shape of
            the estimator.
        sampling_rate : float, optional
            Samples per second of signals, in Hz: the axis is a time in seconds.
        x : array-like of shape (length,) or list of arrays, optional
            Coordinates of the entries of signals, such as wavenumbers, in place of ``sampling_rate``. For
            signals of different lengths, an array for each.
        x_label : str, optional
            Name of the coordinates, by default "time (s)" with a ``sampling_rate``.
        channel : int or sequence of int, optional
            Channels of signals to draw, by default the first 4. Each has its own rows.
        channel_names : sequence of str, optional
            Names of the drawn channels, by default their numbers.
        labels : array-like of length n_samples, optional
            Titles of the columns.
        n_samples : int, optional
            Maximum number of samples to show, by default 10 images or 3 signals. Pass slices to show other
            samples than the first ones.
        data_range : float or array-like of shape (n_channels,), optional
            Data range of the PSNR. By default the range of the dtype for 8- and 16-bit integers, else the
            maximum of ``X_clean`` minus its minimum; for signals of several channels, that of each channel.
        limits : pair of float, optional
            Values that are drawn black and white, by default the extremes of ``X_clean``. For signals, the
            ends of the axis, by default the extremes of all shown signals.
        figure : matplotlib Figure or SubFigure, optional
            Figure to draw on, by default a new one of a suitable size.
        cmap : str or Colormap, default="gray"
            Colours of images with a single channel.
        error, error_limit
            As in :meth:`plot`.

        Returns
        -------
        DenoisingDisplay
            Display with its figure.
        """
        caller = f"{cls.__name__}.from_estimator"
        if kind == "auto":
            kind = "signals" if _takes_signals(estimator) else "images"
        # With both, it would be unclear which of the two is shown.
        if (noiser is None) == (X_noisy is None):
            raise ValueError(
                "from_estimator needs either noiser, which corrupts X_clean, or X_noisy; got "
                f"{'neither' if noiser is None else 'both'}."
            )
        first = slice(_check_n_samples(n_samples, kind))
        require_pyplot(caller)
        check_fitted(estimator, caller)
        # All samples are corrupted, and the first ones predicted: so the noise of a sample does not depend on
        # the number of shown samples.
        noisy = X_noisy if noiser is None else _corrupt_for(estimator, noiser, X_clean)
        clean, last = apply_earlier_steps(estimator, X_clean)
        as_kind = as_samples if kind == "images" else as_signals
        clean = as_kind(clean, "X_clean")
        noisy_at_last = as_kind(apply_earlier_steps(estimator, noisy)[0], "X_noisy")
        _check_same_shapes(clean, noisy_at_last)
        fitted_shape = getattr(last, "image_shape_", None) if kind == "images" and _are_rows(clean) else None
        # Noise turns integers into floats, which no longer show their intensity range.
        unit = None if has_image_depth(noisy_at_last[0].dtype) else foreign_range(last, clean[0])
        return cls.from_predictions(
            clean[first],
            noisy_at_last[first],
            predict_in_range(estimator, noisy[first], unit),  # type: ignore[index]
            kind=kind,
            image_shape=fitted_shape if image_shape is None else image_shape,
            sampling_rate=sampling_rate,
            x=x,
            x_label=x_label,
            channel=channel,
            channel_names=channel_names,
            labels=labels,
            n_samples=n_samples,
            # Of all clean samples, so that PSNR and grey levels do not depend on the number of shown ones.
            data_range=_default_data_range(clean, kind, channel) if data_range is None else data_range,
            limits=compute_limits(clean) if limits is None and kind == "images" else limits,
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
        sampling_rate: float | None = None,
        x: ArrayLike | Sequence[ArrayLike] | None = None,
        x_label: str | None = None,
        channel: int | Sequence[int] | None = None,
        channel_names: Sequence[str] | None = None,
        labels: Sequence[object] | NDArray[Any] | None = None,
        n_samples: int | None = None,
        data_range: float | ArrayLike | None = None,
        limits: tuple[float, float] | None = None,
        figure: Figure | SubFigure | None = None,
        cmap: str = "gray",
        error: bool = True,
        error_limit: float | None = None,
    ) -> Self:
        """Show the first samples of predictions that are already computed.

        Parameters
        ----------
        clean, noisy, denoised : array-like of shape (n_samples, n_features), \
                (n_samples, height, width[, channels]) or (n_samples, channels, length), or list of arrays
            Samples, in one unit. Images of different sizes and signals of different lengths are given as
            lists.
        kind : {"images", "signals"}, default="images"
            Kind of the samples. Rows are images with an ``image_shape``, or signals.
        image_shape : tuple of int, optional
            ``(height, width)`` or ``(height, width, channels)`` of flat rows.
        sampling_rate : float, optional
            Samples per second of signals, in Hz: the axis is a time in seconds.
        x : array-like of shape (length,) or list of arrays, optional
            Coordinates of the entries of signals, such as wavenumbers, in place of ``sampling_rate``. For
            signals of different lengths, an array for each.
        x_label : str, optional
            Name of the coordinates, by default "time (s)" with a ``sampling_rate``.
        channel : int or sequence of int, optional
            Channels of signals to draw, by default the first 4. Each has its own rows.
        channel_names : sequence of str, optional
            Names of the drawn channels, by default their numbers.
        labels : array-like of length n_samples, optional
            Titles of the columns.
        n_samples : int, optional
            Maximum number of samples to show, by default 10 images or 3 signals.
        data_range : float or array-like of shape (n_channels,), optional
            Data range of the PSNR. By default the range of the dtype for 8- and 16-bit integers, else the
            maximum of ``clean`` minus its minimum; for signals of several channels, that of each channel.
        limits : pair of float, optional
            Values that are drawn black and white, by default the extremes of ``clean``. For signals, the ends
            of the axis, by default the extremes of all shown signals.
        figure : matplotlib Figure or SubFigure, optional
            Figure to draw on, by default a new one of a suitable size.
        cmap : str or Colormap, default="gray"
            Colours of images with a single channel.
        error, error_limit
            As in :meth:`plot`.

        Returns
        -------
        DenoisingDisplay
            Display with its figure.
        """
        max_samples = _check_n_samples(n_samples, kind)
        named = dict(zip(ROWS, (clean, noisy, denoised), strict=True))
        # Shapes are compared after the conversion, so flat rows may stand beside images.
        stacks = [_as_kind(samples, kind, image_shape, name) for name, samples in named.items()]
        shapes = [[x.shape for x in stack] for stack in stacks]
        if shapes[0] != shapes[1] or shapes[0] != shapes[2]:
            raise ValueError(
                f"clean, noisy and denoised must have one shape, got {kind} of the shapes "
                f"{', '.join(map(_format_shape, stacks))}."
            )
        if data_range is None:
            data_range = _default_data_range(stacks[0], kind, channel)
        options: dict[str, Any] = {"kind": kind}
        if kind == "signals":
            stacks, options["channel_names"] = _name_channels(stacks, channel, channel_names)
            options["x"], options["x_label"] = _as_coordinates(
                [x.shape[-1] for x in stacks[0]], sampling_rate, x, x_label, max_samples
            )
        else:
            signal_options = {
                "sampling_rate": sampling_rate,
                "x": x,
                "x_label": x_label,
                "channel": channel,
                "channel_names": channel_names,
            }
            _refuse_signal_options(signal_options)
        shown = [stack[:max_samples] for stack in stacks]
        if labels is not None and len(labels) < len(shown[0]):
            raise ValueError(f"labels has length {len(labels)}, there are {len(shown[0])} samples to label.")
        if limits is not None:
            limits = check_limits(limits)
        elif options.get("channel_names") is not None:
            # Channels may differ in their unit.
            options["limits"] = [
                compute_limits([x[place] for stack in shown for x in stack])
                for place in range(len(shown[0][0]))
            ]
        else:
            # Noise is part of a signal's plot, but would make clean images pale.
            limits = compute_limits(stacks[0] if kind == "images" else [x for stack in shown for x in stack])
        return cls(
            *shown,
            data_range=data_range if np.ndim(data_range) == 0 else np.asarray(data_range),  # type: ignore[arg-type]
            labels=None if labels is None else list(labels[: len(shown[0])]),
            **{"limits": limits, **options},
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
            Figure to draw on, for instance a part of a larger figure; its size stays. By default a new
            figure of a suitable size.
        cmap : str or Colormap, default="gray"
            Colours of images with a single channel.
        error : bool, default=True
            Whether the last row shows the error, denoised minus clean. For colour images it is the root mean
            square over the channels of a pixel, red or blue by the sign of their sum, because a mean would
            hide errors of hue.
        error_limit : float, optional
            Largest error on the colour scale, in the unit of the data. Set it to compare displays. By default
            it is above all but half a percent of the errors of images, and above all errors of signals.

        Returns
        -------
        self
        """
        pyplot = require_pyplot(f"{type(self).__name__}.plot")
        channels = self._build_channels(error, error_limit)
        figure = pyplot.figure(**choose_layout(*channels)) if figure is None else check_figure(figure)
        # Artists of an earlier figure are dropped.
        self.images_ = self.lines_ = self.colorbar_ = None
        if channels[0].are_images:
            self.axes_, self.images_, self.colorbar_ = draw_images(figure, channels[0], cmap)
        else:
            self.axes_, self.lines_ = draw_signals(figure, *channels)
        self.figure_ = figure
        return self

    def _build_channels(self, error: bool, error_limit: float | None) -> list[Panels]:
        """Return rows to draw with texts and scales, for each channel of signals."""
        if error_limit is not None and not 0 < error_limit < float("inf"):
            raise ValueError(f"error_limit must be a finite number above 0, got {error_limit!r}.")
        rows = dict(zip(ROWS, (self.clean, self.noisy, self.denoised), strict=True))
        are_signals = self.kind == "signals" or (self.kind is None and self.clean[0].ndim == 1)
        if not are_signals or self.clean[0].ndim == 1:
            return [self._build_panels(rows, self.data_range, self.limits, "", error, error_limit)]
        count = len(self.clean[0])
        ranges = np.broadcast_to(self.data_range, count)
        limits = self.limits if isinstance(self.limits, list) else [self.limits] * count
        names = self.channel_names or [f"channel {place}" for place in range(count)]
        return [
            self._build_panels(
                {row: [x[place] for x in samples] for row, samples in rows.items()},
                float(ranges[place]),
                limits[place],
                names[place],
                error,
                error_limit,
            )
            for place in range(count)
        ]

    def _build_panels(
        self,
        rows: dict[str, Samples],
        data_range: Any,
        limits: Any,
        name: str,
        error: bool,
        error_limit: float | None,
    ) -> Panels:
        """Return the rows of images, or of one channel of signals."""
        errors = [compute_error(clean, x) for clean, x in zip(rows["clean"], rows["denoised"], strict=True)]
        x = [self.x] * len(errors) if isinstance(self.x, np.ndarray) else self.x
        return Panels(
            {**rows, "error": errors} if error else rows,
            # The clean row has no PSNR.
            {row: _format_psnr(rows["clean"], rows[row], data_range) for row in ROWS[1:]},
            [] if self.labels is None else [wrap_label(label) for label in self.labels],
            limits,
            choose_error_limit(errors) if error_limit is None else error_limit,
            x,
            self.x_label,
            name,
        )


def _format_psnr(clean: Samples, samples: Samples, data_range: float) -> list[str]:
    """Return the PSNR of each sample as text."""
    pairs = zip(clean, samples, strict=True)
    return [f"{psnr(truth[None], x[None], data_range=data_range):.1f} dB" for truth, x in pairs]


# Each channel has three rows, and more do not fit a screen.
MAX_CHANNELS = 4


def _default_data_range(clean: Samples, kind: str, channel: Any) -> Any:
    """Return the data range of clean samples, or of each drawn channel."""
    if kind == "images" or clean[0].ndim == 1:
        return default_data_range(clean)
    channels, _ = _name_channels([clean], channel, None)
    if channels[0][0].ndim == 1:
        return default_data_range(channels[0])
    count = len(channels[0][0])
    return np.array([default_data_range([x[place] for x in channels[0]]) for place in range(count)])


def _name_channels(
    stacks: list[Samples], channel: int | Sequence[int] | None, names: Sequence[str] | None
) -> tuple[list[Samples], list[str] | None]:
    """Return the drawn channels and their names; no names for one channel."""
    numbers: Any = channel
    if channel is None and stacks[0][0].ndim == 2:
        numbers = range(min(len(stacks[0][0]), MAX_CHANNELS))
    if numbers is not None:
        numbers = numbers if np.ndim(numbers) == 0 else list(numbers)
        stacks = [as_signals(stack, name, numbers) for stack, name in zip(stacks, ROWS, strict=False)]
    if stacks[0][0].ndim == 1:
        if names is not None:
            raise ValueError(f"channel_names={names!r} is for several drawn channels, there is one.")
        return stacks, None
    if names is None:
        return stacks, [f"channel {number}" for number in numbers]
    if isinstance(names, str) or len(names) != len(numbers):
        raise ValueError(
            f"channel_names must hold a name for each of {len(numbers)} channels, got {names!r}."
        )
    return stacks, [str(name) for name in names]


def _as_coordinates(
    lengths: list[int], sampling_rate: float | None, x: Any, x_label: str | None, max_samples: int
) -> tuple[Any, str | None]:
    """Return the coordinates of the entries of shown signals, and their name."""
    if sampling_rate is not None:
        if x is not None:
            raise ValueError("Give either sampling_rate or x, the coordinates themselves; got both.")
        if not isinstance(sampling_rate, int | float | np.number) or not 0 < sampling_rate < np.inf:
            raise ValueError(f"sampling_rate must be a number above 0, in Hz, got {sampling_rate!r}.")
        times = [np.arange(length) / float(sampling_rate) for length in lengths[:max_samples]]
        label = "time (s)" if x_label is None else x_label
        return (times[0] if len(set(lengths)) == 1 else times), label
    if x is None:
        return None, x_label
    is_list = isinstance(x, list | tuple) and len(x) > 0 and np.ndim(x[0]) == 1
    coordinates = [check_numbers(part, "x") for part in (x if is_list else [x])]
    found = [part.shape for part in coordinates]
    expected = [(length,) for length in (lengths if is_list else sorted(set(lengths)))]
    if found != expected:
        raise ValueError(
            "x must hold a coordinate for each entry of the signals, and an array for each signal if their "
            f"lengths differ: expected {expected}, got {found}."
        )
    return (coordinates[:max_samples] if is_list else coordinates[0]), x_label


def _refuse_signal_options(options: dict[str, Any]) -> None:
    """Raise an error for options of signals that images would ignore."""
    for name, value in options.items():
        if value is not None:
            raise ValueError(f'{name} is for kind="signals", got kind="images".')


def _corrupt_for(estimator: Any, noiser: Any, X: Any) -> Any:
    """Return X with noise, for an estimator that adds none in ``predict``."""
    refuse_noise_in_estimator(estimator, check_noiser(noiser))
    refuse_other_size(noiser, "DenoisingDisplay")
    return corrupt_samples(noiser, X, noise_seed(noiser))


def _as_kind(samples: Any, kind: str, image_shape: Sequence[int] | None, name: str) -> Samples:
    """Return samples as images or as signals."""
    if kind == "images":
        return as_images(samples, image_shape, name, ', and kind="signals" to draw them as lines')
    # An image shape would have no effect on signals, so it is probably a slip.
    if image_shape is not None:
        raise ValueError(f'image_shape={tuple(image_shape)} is for kind="images", got kind={kind!r}.')
    return as_signals(samples, name)


def _are_rows(samples: Samples) -> bool:
    return not isinstance(samples, list) and samples.ndim == 2


def _format_shape(samples: Samples) -> str:
    return str([x.shape for x in samples] if isinstance(samples, list) else samples.shape)


def _check_same_shapes(clean: Samples, noisy: Samples) -> None:
    """Check that clean and noisy samples belong together."""
    if [x.shape for x in clean] != [x.shape for x in noisy]:
        raise ValueError(
            "X_noisy must hold the noisy version of each sample of X_clean, got the shapes "
            f"{_format_shape(noisy)} and {_format_shape(clean)}."
        )


def _takes_signals(estimator: Any) -> bool:
    """Return whether an estimator, or the last step of one, is for signals alone."""
    last = getattr(estimator, "best_estimator_", estimator)
    last = last[-1] if isinstance(last, Pipeline) else last
    last = getattr(last, "estimator", last)
    return getattr(last, "kind", None) == "signals" or bool(getattr(last, "_has_channel_units", False))


def _check_n_samples(n_samples: int | None, kind: str) -> int:
    """Return the maximum number of samples to show."""
    default: int = check_one_of(kind, KINDS, "kind")
    if n_samples is None:
        return default
    if not isinstance(n_samples, int | np.integer) or n_samples < 1:
        raise ValueError(f"n_samples must be an integer of at least 1, got {n_samples!r}.")
    return int(n_samples)


# Lengths are in inches: the names of the rows, the scale of the errors, the gap between rows.
ROW_NAMES_WIDTH, ERROR_BAR_WIDTH, ROW_GAP = 0.8, 0.5, 0.06
SIGNAL_WIDTH, SIGNAL_HEIGHT = 3.2, 1.35
# A single signal is drawn wider, since it may be a long recording.
MIN_SIGNALS_WIDTH = 6.0
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
    x : list of ndarray or None
        Coordinates of the entries of each signal.
    x_label : str or None
        Name of the coordinates.
    channel : str
        Name of the channel; empty for images and for signals of one channel.
    """

    rows: dict[str, Samples]
    decibels: dict[str, list[str]]
    titles: Sequence[str]
    limits: tuple[float, float]
    error_limit: float
    x: list[NDArray[Any]] | None = None
    x_label: str | None = None
    channel: str = ""

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


def choose_layout(panels: Panels, *more: Panels) -> dict[str, Any]:
    """Return size and layout of a figure that fits the samples and their labels."""
    n_rows = len(panels.rows)
    if not panels.are_images:
        # Signals have no row of clean ones.
        n_lines = (n_rows - 1) * (1 + len(more))
        n_columns = len(panels.rows["clean"])
        column = max(min(SIGNAL_WIDTH, MAX_FIGURE_WIDTH / n_columns), measure_text_width(panels.titles))
        width = max(n_columns * column, MIN_SIGNALS_WIDTH)
        return {
            "figsize": (
                ROW_NAMES_WIDTH + width,
                n_lines * (SIGNAL_HEIGHT + TEXT_HEIGHT) + 0.3 + (TEXT_HEIGHT if panels.x_label else 0),
            ),
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


def draw_signals(figure: Figure | SubFigure, *channels: Panels) -> tuple[NDArray[Any], NDArray[Any]]:
    """Draw lines over the clean ones; return axes and lines."""
    panels = channels[0]
    names = [name for name in panels.rows if name != "clean"]
    axes = figure.subplots(
        len(names) * len(channels),
        len(panels.rows["clean"]),
        squeeze=False,
        # Signals of different lengths have different times.
        sharex="col",
        sharey="row",
    )
    lines = np.empty(axes.shape, dtype=object)
    for place, channel in enumerate(channels):
        rows = slice(place * len(names), (place + 1) * len(names))
        lines[rows] = _draw_channel(axes[rows], channel)
        # Titles stand over the first channel alone.
        _draw_texts(axes[rows], channel if place == 0 else replace(channel, titles=[]), TextStyle())
    if panels.x_label is not None:
        for ax in axes[-1]:
            # Without the row of errors, the PSNR stands under the name of the axis.
            texts = [text for text in (panels.x_label, ax.get_xlabel()) if text]
            ax.set_xlabel("\n".join(texts), fontsize=TextStyle().psnr_size)
    return axes, lines


def _draw_channel(axes: NDArray[Any], panels: Panels) -> NDArray[Any]:
    """Draw one channel of signals in rows of axes; return its lines."""
    clean = panels.rows["clean"]
    lines = np.empty(axes.shape, dtype=object)
    rows = {name: signals for name, signals in panels.rows.items() if name != "clean"}
    for row, (name, signals) in enumerate(rows.items()):
        for column, (ax, signal) in enumerate(zip(axes[row], signals, strict=True)):
            x = np.arange(len(signal)) if panels.x is None else panels.x[column]
            below = np.zeros_like(signal) if name == ERROR_ROW else clean[column]
            ax.plot(x, below, color=CLEAN_LINE_COLOR, linewidth=3)
            (lines[row, column],) = ax.plot(x, signal, color=COLORS[0], linewidth=1)
            ax.set_xmargin(0.01)
            hide_spines(ax)
        low, high = (-panels.error_limit, panels.error_limit) if name == ERROR_ROW else panels.limits
        axes[row, 0].set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
        text = name if name == ERROR_ROW else f"{name}\n(grey: clean)"
        axes[row, 0].set_ylabel(f"{panels.channel}\n{text}" if panels.channel else text)
    return lines


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
