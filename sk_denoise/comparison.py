"""Compare methods of restoration under several noises, in one table."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from sk_denoise._intensity import UNIT, IntensityRange, has_image_depth
from sk_denoise._package import require_extra
from sk_denoise._validation import (
    Noiser,
    check_noiser,
    check_numbers,
    check_one_of,
    may_be_channels,
    name_by_class,
    refuse_masked,
    restore_container,
)
from sk_denoise.metrics import ssim
from sk_denoise.metrics._metrics import check_data_range
from sk_denoise.metrics._scorers import (
    METRICS,
    border_of,
    corrupt_array,
    corrupt_images,
    invert_earlier_steps,
    noise_seed,
    refuse_noise_in_estimator,
)
from sk_denoise.restoration import denoise_image
from sk_denoise.restoration._pretrained import cached_network

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["compare_restorers"]

# Similarity is computed in windows of at least 3 x 3 pixels.
MIN_SSIM_SIDE = 3
# Rows of the table for the images before they are denoised.
NOISY_METHOD = "noisy"
# Name of noisy samples that come without one.
UNNAMED_NOISE = "given"

# A stack of images, rows, or a list of images where sizes differ.
Samples = NDArray[Any] | list[NDArray[Any]]
ByNoise = dict[Hashable, Any]


def compare_restorers(
    methods: Any,
    images: ArrayLike | Sequence[ArrayLike],
    noises: Any,
    *,
    metrics: str | Sequence[str] = "auto",
    data_range: float | None = None,
    image_shape: Sequence[int] | None = None,
) -> pd.DataFrame:
    """Compare methods of restoration under several noises: PSNR, SSIM and seconds.

    Every method receives the same noisy images, in its own copy. Its output is compared with the
    clean images. Nothing is trained here.

    Parameters
    ----------
    methods : dict or list
        Methods by name, or a list, with names as in :func:`~sklearn.pipeline.make_pipeline`. A method is
        one of

        - a fitted estimator with ``predict``, or a pipeline or search that ends in one. It receives all
          images at once. If steps of a pipeline change the data, their ``inverse_transform`` is applied to
          the predictions.
        - a function ``image -> image``, such as ``functools.partial(denoise_image, sigma=0.1)``. It
          receives one image at a time.
        - the name of a model of :func:`~sk_denoise.restoration.denoise_image`, such as "gray". The noise
          level of each image is estimated.
        - a dict of such methods by name of the noise, for example estimators that are each trained for one
          noise.
    images : array-like of shape (n, height, width[, channels]) or (n, n_features), or list of arrays
        Clean images, rows or signals that were not used for training. Images of different sizes, and signals
        (length,) or (channels, length) of different lengths, are given as a list, all of one dtype and number
        of channels. A single image needs a first axis, ``image[None]``.
    noises : noiser, dict or list
        Noisers by name, or noisy versions of all ``images``, for real noise. A single noiser, a list of
        noisers or noisy images alone are accepted too. A noiser makes one draw, the same as in
        :func:`~sk_denoise.make_denoising_scorer`: its ``apply`` has no effect, and ``random_state=None``
        counts as 0. Its statistics are computed from the clean images; if sizes differ, from all of their
        pixels. Noise may reduce images to a whole fraction of their sides (``size_factor``): methods then
        return images of the clean size.
    metrics : "auto", str or sequence of str, default="auto"
        Metrics to compute, see :mod:`sk_denoise.metrics`: "psnr", "ssim", "mse", "nmse", "luminance_psnr";
        and for signals "ssd", "mad", "prd", "cosine_similarity", "snr", "snr_gain". "auto" is PSNR, and SSIM
        if samples are images; and "luminance_psnr", without a border of the factor, if noise reduces images.
    data_range : float, optional
        Data range of "psnr", "ssim" and "luminance_psnr", the same for all images. By default the range of
        the dtype for 8- and 16-bit integers, else the largest clean value minus the smallest.
    image_shape : tuple of int, optional
        ``(height, width)`` or ``(height, width, channels)`` of flat rows. Functions then receive images.

    Returns
    -------
    DataFrame
        One row for each noise and method, "noisy" first, in the given order, which ``pivot`` keeps.
        Columns:

        method, noise : category
            Their names; "noisy" stands for the images before they are denoised.
        psnr, ssim, ... : float
            Means over images; NaN for images that noise reduced, before they are enlarged.
        seconds : float
            Wall time for all images together, including everything that a first call loads.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If an estimator is not fitted.
    ValueError
        If an output has another shape than the image or holds NaN, or if an argument is invalid. Exceptions
        raised by a method get a note with the names of the method and the noise.
    MissingExtraError
        If pandas is not installed; the extra ``compare`` installs it.

    See Also
    --------
    sk_denoise.plots.ComparisonDisplay.from_methods : The same table, and a figure of one image.
    make_denoising_scorer : Choose between parameters of estimators, for ``GridSearchCV``.

    Notes
    -----
    Floating-point images are not clipped after the noise is added, unless the noiser has ``clip``. Images of
    8- and 16-bit integers are rounded and clipped to the range of their dtype, as in image files, and methods
    receive integers.

    Examples
    --------
    >>> from functools import partial
    >>> from scipy.ndimage import gaussian_filter
    >>> from sk_denoise import GaussianNoiser, MedianDenoiser, compare_restorers
    >>> from sk_denoise.datasets import load_images
    >>> images = [photo[:64, :80] for photo in load_images("gray").test[:2]]
    >>> methods = {
    ...     "median": MedianDenoiser().fit(images),
    ...     "blur": partial(gaussian_filter, sigma=1),
    ...     "network": "gray",
    ... }
    >>> noises = {"weak": GaussianNoiser(0.05), "strong": GaussianNoiser(0.2)}
    >>> table = compare_restorers(methods, images, noises, data_range=1)
    >>> table.columns.to_list()
    ['method', 'noise', 'psnr', 'ssim', 'seconds']
    >>> table.pivot(index="method", columns="noise", values="psnr").idxmax().to_list()
    ['network', 'network']

    Enlarged images, from small versions of them:

    >>> from sk_denoise import BicubicEnlarger
    >>> small = [photo.reshape(32, 2, 40, 2).mean(axis=(1, 3)) for photo in images]
    >>> table = compare_restorers({"bicubic": BicubicEnlarger(2).fit(small)}, images, small)
    >>> table.columns.to_list()
    ['method', 'noise', 'psnr', 'luminance_psnr', 'ssim', 'seconds']
    """
    return run_comparison(
        methods, images, noises, metrics=metrics, data_range=data_range, image_shape=image_shape
    ).table


@dataclass(frozen=True)
class Comparison:
    """The table of a comparison, and all versions of one of the images.

    Attributes
    ----------
    table : DataFrame
        Table as returned by ``compare_restorers``.
    clean : ndarray
        Clean image.
    outputs : dict of dict of ndarray
        Noisy image and the output of each method: by noise, then by method.
    data_range : float
        Data range of the PSNR.
    """

    table: pd.DataFrame
    clean: NDArray[Any]
    outputs: dict[Hashable, dict[Hashable, NDArray[Any]]]
    data_range: float


def run_comparison(
    methods: Any,
    images: Any,
    noises: Any,
    *,
    metrics: str | Sequence[str],
    data_range: float | None,
    image_shape: Sequence[int] | None,
    index: int = 0,
) -> Comparison:
    """Apply every method to every noise, and keep the outputs for one image."""
    # Tables come from here and figures from plots, which run the same comparison. So `compare_restorers`
    # needs no matplotlib.
    pandas = _require_pandas()
    clean = as_stack_or_list(images, "images")
    if image_shape is not None:
        _check_image_shape(image_shape, clean)
    data_range = default_data_range(clean) if data_range is None else data_range
    noises_by_name = _name_noises(noises)
    methods_by_name = _resolve_methods(methods, noises_by_name)
    names = _select_metrics(metrics, clean, image_shape)
    # All noise is drawn before the first method runs, so an invalid noise costs no time.
    noisy_by_name = {name: _draw_noisy(noise, clean, name) for name, noise in noises_by_name.items()}
    factors = {name: _size_factor(noisy, clean, name) for name, noisy in noisy_by_name.items()}
    if metrics == "auto" and max(factors.values()) > 1 and clean[0].shape[2:] in ((), (1,), (3,)):
        names = ("psnr", "luminance_psnr", "ssim")
    measure = _build_measure(clean, names, data_range, image_shape)
    rows: list[dict[str, Any]] = []
    outputs: dict[Hashable, dict[Hashable, NDArray[Any]]] = {noise: {} for noise in noisy_by_name}

    def record(method: Hashable, noise: Hashable, output: Samples, seconds: float) -> None:
        values = measure(noisy_by_name[noise], output, factors[noise])
        rows.append({"method": method, "noise": noise, **values, "seconds": seconds})
        # Other outputs are dropped: kept together, they would take many times the memory of the images.
        outputs[noise][method] = np.array(output[index])

    for noise, noisy in noisy_by_name.items():
        record(NOISY_METHOD, noise, noisy, 0.0)
        # Estimators that were fitted on a frame warn about arrays, which have no column names.
        noisy_input = restore_container(noisy, images) if isinstance(noisy, np.ndarray) else noisy
        for name, by_noise in methods_by_name.items():
            label = f"Method {name!r} under noise {noise!r}"
            output, seconds = _denoise_timed(by_noise[noise], noisy_input, noisy, image_shape, label)
            record(name, noise, _check_output(output, clean, noisy, label), seconds)
    table = pandas.DataFrame(rows)
    # Categories keep the given order in `pivot`, which sorts texts by the alphabet.
    for column, order in (("method", [NOISY_METHOD, *methods_by_name]), ("noise", list(noisy_by_name))):
        table[column] = pandas.Categorical(table[column], categories=order)
    return Comparison(table, np.array(clean[index]), outputs, data_range)


def _require_pandas() -> Any:
    """Return pandas; raise an error that names the extra if it is not installed."""
    require_extra("compare_restorers", "compare")
    import pandas as pd

    return pd


def as_stack_or_list(samples: Any, name: str) -> Samples:
    """Return images or rows as one array, and images of different sizes as a list."""
    if isinstance(samples, list | tuple):
        refuse_masked(samples, name)
        parts = [np.asarray(x) for x in samples]
        sizes = {x.shape for x in parts}
        if len(sizes) > 1 or (parts and parts[0].ndim > 1):
            _check_same_kind(parts, name)
        if len(sizes) > 1:
            return [check_numbers(x, f"{name}[{place}]") for place, x in enumerate(parts)]
    array = check_numbers(samples, name)
    if array.ndim < 2:
        raise ValueError(
            f"{name} has shape {array.shape}, expected (n, height, width[, channels]), (n, n_features) or a "
            "list of images or signals."
        )
    return array


def _check_same_kind(images: list[NDArray[Any]], name: str) -> None:
    """Check that images or signals of a list have one dtype and number of channels."""
    kinds = {(x.dtype, x.ndim, x.shape[2:]) for x in images}
    if len(kinds) > 1 or images[0].ndim not in (1, 2, 3):
        shapes = ", ".join(f"{x.dtype} of shape {x.shape}" for x in images)
        raise ValueError(
            f"{name} in a list must be (height, width) or (height, width, channels), or signals (length,) or "
            f"(channels, length), of one type and number of channels; got {shapes}."
        )


def _check_image_shape(image_shape: Sequence[int], samples: Samples) -> None:
    """Check that all samples can be reshaped to an image of this shape."""
    for shape in {x.shape for x in samples}:
        if math.prod(shape) != math.prod(image_shape):
            raise ValueError(f"image_shape={tuple(image_shape)} does not fit samples of shape {shape}.")


def default_data_range(clean: Samples) -> float:
    """Return the data range of clean samples, in which their PSNR is computed."""
    pixels = np.concatenate([x.ravel() for x in clean]) if isinstance(clean, list) else clean
    return IntensityRange.of_clean(pixels).span


def _select_metrics(
    metrics: str | Sequence[str], clean: Samples, image_shape: Sequence[int] | None
) -> Sequence[str]:
    """Return the names of metrics, checked."""
    if metrics == "auto":
        shapes = [x.shape for x in clean] if image_shape is None else [tuple(image_shape)]
        are_images = all(
            len(s) in (2, 3) and min(s[:2]) >= MIN_SSIM_SIDE and not may_be_channels(s) for s in shapes
        )
        return ("psnr", "ssim") if are_images else ("psnr",)
    names = [metrics] if isinstance(metrics, str) else metrics
    for name in names:
        check_one_of(name, METRICS, "metric")
    return names


def _build_measure(
    clean: Samples, metrics: Sequence[str], data_range: float, image_shape: Sequence[int] | None
) -> Callable[[Samples, Samples, int], dict[str, float]]:
    """Return a function that compares noisy samples and outputs with the clean ones.

    Its last argument is the factor by which the noise reduces images.
    """
    check_data_range(data_range)

    def compute(name: str, noisy: Samples, output: Samples, factor: int) -> float:
        # The reduced images themselves have no pixel to compare with.
        if output[0].shape != clean[0].shape:
            return math.nan
        metric = METRICS[name]
        keywords: dict[str, Any] = {"data_range": data_range} if metric.needs_range else {}
        if metric.has_border:
            keywords["border"] = border_of(factor)
        if metric.function is ssim:
            keywords["image_shape"] = image_shape
        if not isinstance(clean, list):
            return metric.measure(clean, noisy, output, **keywords)
        samples = zip(clean, noisy, output, strict=True)
        return float(np.mean([metric.measure(t[None], x[None], p[None], **keywords) for t, x, p in samples]))

    return lambda noisy, output, factor: {name: compute(name, noisy, output, factor) for name in metrics}


def _name_noises(noises: Any) -> ByNoise:
    """Return noisers, or noisy samples, by name."""
    if isinstance(noises, Noiser):
        noises = [noises]
    if isinstance(noises, list | tuple) and any(isinstance(noise, Noiser) for noise in noises):
        noises = dict(name_by_class(noises))
    if not isinstance(noises, Mapping):
        return {UNNAMED_NOISE: noises}
    if not noises:
        raise ValueError("noises is empty: give at least one noiser, or noisy images.")
    return dict(noises)


def _draw_noisy(noise: Any, clean: Samples, name: Hashable) -> Samples:
    """Return one draw of a noiser on clean samples, or the given noisy samples."""
    if hasattr(noise, "__array__") or isinstance(noise, list | tuple):
        return _check_noisy(noise, clean, name)
    seed = noise_seed(check_noiser(noise))
    if isinstance(clean, list):
        return [_as_stored(x, clean[0].dtype) for x in corrupt_images(noise, clean, seed)]
    return _as_stored(np.asarray(corrupt_array(noise, clean, seed, copy=0)), clean.dtype)


def _check_noisy(samples: Any, clean: Samples, name: Hashable) -> Samples:
    """Return given noisy samples, checked against the clean ones."""
    noisy = as_stack_or_list(samples, f"noises[{name!r}]")
    _size_factor(noisy, clean, name)
    dtypes = {noisy[0].dtype, clean[0].dtype}
    # Integers beside floats are most likely in another unit: 0 to 255 beside 0 to 1.
    if len(dtypes) > 1 and any(map(has_image_depth, dtypes)):
        raise ValueError(
            f"Noise {name!r} holds {noisy[0].dtype} and images {clean[0].dtype}: give both in one unit."
        )
    return noisy


def _size_factor(noisy: Samples, clean: Samples, name: Hashable) -> int:
    """Return the quotient of the sides of clean and noisy images."""
    first = noisy[0].shape if len(noisy) else ()
    is_image = len(first) >= 2 and len(first) == clean[0].ndim and not may_be_channels(clean[0].shape)
    factor = clean[0].shape[0] // first[0] if is_image else 1

    def enlarged(shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*(factor * side for side in shape[:2]), *shape[2:]) if factor > 1 else shape

    if [enlarged(x.shape) for x in noisy] != [x.shape for x in clean]:
        raise ValueError(
            f"Noise {name!r} must be a noiser or a noisy version of each of the {len(clean)} images, in "
            "their order, of their size or a whole fraction of it; "
            f"got {len(noisy)}, the first of shape {first} for {clean[0].shape}."
        )
    return factor


def _as_stored(noisy: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return noisy images in the dtype of the clean ones, if it is that of files."""
    if not has_image_depth(dtype):
        return noisy
    return UNIT.from_unit(noisy, dtype)


def _resolve_methods(methods: Any, noises: Mapping[Hashable, Any]) -> dict[Hashable, ByNoise]:
    """Return an estimator or a function for each name of a method and each noise."""
    if not isinstance(methods, Mapping):
        methods = list(methods) if isinstance(methods, list | tuple) else [methods]
        names = [name for name, _ in name_by_class([_name_method(method) for method in methods])]
        methods = dict(zip(names, methods, strict=True))
    if not methods:
        raise ValueError("methods is empty: give at least one.")
    if NOISY_METHOD in methods:
        raise ValueError(
            f"A method cannot be called {NOISY_METHOD!r}: this row holds the images before denoising."
        )
    return {
        name: {
            noise: _check_method(_select_for_noise(method, noise, name), noises[noise], name)
            for noise in noises
        }
        for name, method in methods.items()
    }


def _name_method(method: Any) -> str:
    """Return a default name: that of a function or a model, or else of the class."""
    if isinstance(method, str):
        return method
    function = method.func if isinstance(method, partial) else method
    return str(getattr(function, "__name__", type(function).__name__.lower()))


def _select_for_noise(method: Any, noise: Hashable, name: Hashable) -> Any:
    """Return the entry for a noise if the method is a dict, else the method."""
    if not isinstance(method, Mapping):
        return method
    if noise not in method:
        raise ValueError(f"Method {name!r} is a dict without {noise!r}: give one for each name of a noise.")
    return method[noise]


def _check_method(method: Any, noise: Any, name: Hashable) -> Any:
    """Return a fitted estimator or a function; raise an error for anything else."""
    if isinstance(method, str):
        if method != "auto":
            # Loading the network here refuses an unknown name, and keeps loading out of the seconds.
            cached_network(method)
        return partial(denoise_image, model=method)
    if isinstance(method, type) or not (hasattr(method, "predict") or callable(method)):
        hint = f" Did you mean {method.__name__}(), fitted?" if isinstance(method, type) else ""
        raise TypeError(
            f"Method {name!r} must be a fitted estimator with predict, a function of an image or the name "
            f"of a model, got {method!r}.{hint}"
        )
    if hasattr(method, "predict") and hasattr(method, "fit"):
        try:
            check_is_fitted(method)
        except NotFittedError:
            raise NotFittedError(
                f"Method {name!r} is not fitted, and a comparison trains nothing: fit this "
                f"{type(method).__name__} first."
            ) from None
        if isinstance(noise, Noiser):
            refuse_noise_in_estimator(method, noise)
    return method


def _denoise_timed(
    method: Any, noisy_input: Any, noisy: Samples, image_shape: Sequence[int] | None, label: str
) -> tuple[Any, float]:
    """Return the output of a method and the seconds that it took.

    ``noisy_input`` holds the samples ``noisy`` in the container of the user's images.
    """
    # A method may write into its input, so the next one would receive other images.
    private = copy.deepcopy(noisy_input)
    start = time.perf_counter()
    with _note_on_errors(f"{label}, in compare_restorers."):
        if hasattr(method, "predict"):
            output = invert_earlier_steps(method, method.predict(private))
        else:
            images = private if isinstance(private, list) else np.asarray(private)
            output = _apply_to_each(method, images, image_shape)
    return output, time.perf_counter() - start


@contextmanager
def _note_on_errors(note: str) -> Iterator[None]:
    """Add a note to every exception that is raised inside."""
    try:
        yield
    except Exception as error:
        # The type stays, so that users can still catch the errors of their own functions.
        error.add_note(note)
        raise


def _apply_to_each(
    function: Callable[[NDArray[Any]], ArrayLike], noisy: Samples, image_shape: Sequence[int] | None
) -> list[Any]:
    """Return the output of a function for each image."""
    if image_shape is None:
        return [function(x) for x in noisy]
    return [np.reshape(function(x.reshape(image_shape)), x.shape) for x in noisy]


def _check_output(output: Any, clean: Samples, noisy: Samples, label: str) -> Samples:
    """Return an output in the layout of the clean samples, checked."""
    parts = [np.asarray(x) for x in (output if isinstance(output, list | tuple) else np.atleast_1d(output))]
    if len(parts) != len(noisy):
        raise ValueError(f"{label} gave {len(parts)} outputs for {len(noisy)} images.")
    for place, (part, truth, image) in enumerate(zip(parts, clean, noisy, strict=True)):
        if part.shape != truth.shape or part.dtype.kind not in "biuf":
            of_shape = "that shape" if truth.shape == image.shape else f"the clean shape {truth.shape}"
            raise ValueError(
                f"{label} gave {part.dtype} of shape {part.shape} for image {place}, which has the shape "
                f"{image.shape}: expected numbers of {of_shape}."
            )
        if not np.isfinite(part).all():
            raise ValueError(f"{label} gave NaN or infinity for image {place}.")
        # Many functions of scikit-image return floats in [0, 1] for integers. Compared with 0 to 255, such
        # an output would have a PSNR, and a meaningless one.
        if has_image_depth(image.dtype) and part.dtype.kind == "f" and np.abs(part).max() <= 1 < image.max():
            raise ValueError(
                f"{label} gave values in [0, 1] for {image.dtype} images. Compare images / "
                f"{IntensityRange.of(image).white:g}, or return values in the unit of the images."
            )
    return parts if isinstance(noisy, list) else np.stack(parts)
