"""Methods by noises by metrics: the story of a comparison, and its table."""

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

from sk_denoise._extras import require_extra
from sk_denoise._intensity import UNIT, IntensityRange, has_image_depth
from sk_denoise._validation import (
    Noiser,
    check_noiser,
    check_numbers,
    check_one_of,
    name_estimators,
    refuse_masked,
    restore_container,
)
from sk_denoise.metrics import ssim
from sk_denoise.metrics._fixed_noise import (
    back_through_earlier_steps,
    corrupt_each,
    corrupt_fold,
    refuse_noisy,
    seed_of,
)
from sk_denoise.metrics._functions import check_data_range
from sk_denoise.metrics._scorers import METRICS
from sk_denoise.restoration import denoise_image
from sk_denoise.restoration._pretrained import cached_network

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["compare_denoisers"]

LEAST_SIDE = 3  # pixels that similarity needs


def compare_denoisers(
    methods: Any,
    images: ArrayLike | Sequence[ArrayLike],
    noises: Any,
    *,
    metrics: str | Sequence[str] = "auto",
    data_range: float | None = None,
    image_shape: Sequence[int] | None = None,
) -> pd.DataFrame:
    """Compare anything that denoises: methods by noises, with PSNR, SSIM and seconds.

    Every method meets the same noisy images, in a copy of its own, and is compared with the same clean
    ones. Nothing is trained here.

    Parameters
    ----------
    methods : dict or list
        By name, or in a list, where names are made as :func:`~sklearn.pipeline.make_pipeline` makes them.
        A method is one of

        - a fitted estimator with ``predict``, or a pipeline or search that ends in one. It gets all images
          at once. What steps of a pipeline change, their ``inverse_transform`` takes back.
        - a function ``image -> image``, such as ``functools.partial(denoise_image, sigma=0.1)``. It gets
          one image at a time.
        - the name of a model of :func:`~sk_denoise.restoration.denoise_image`, such as "gray", which
          estimates the noise of each image.
        - a dict of such, one for each name of a noise: of estimators that are trained for one noise, say.
    images : array-like of shape (n, height, width[, channels]) or (n, n_features), or list of arrays
        Clean images or rows that no method has learned from. Images of different sizes come in a list,
        all of one type and number of channels. A single image needs a first axis, ``image[None]``.
    noises : noiser, dict or list
        By name, a noiser or noisy versions of all ``images``, for noise that is real; a noiser, a list of
        noisers or noisy images alone will do. A noiser makes one draw, that of
        :func:`~sk_denoise.make_denoising_scorer`: it corrupts whatever its ``apply`` says, and
        ``random_state=None`` counts as 0. Its statistics come from the clean images; where sizes differ,
        from all of their pixels.
    metrics : "auto", str or sequence of {"psnr", "ssim", "mse", "nmse"}, default="auto"
        What is measured, see :mod:`sk_denoise.metrics`. "auto" is PSNR, and SSIM where samples are images.
    data_range : float, optional
        For "psnr" and "ssim", once for all images; by default the range of the type for 8- and 16-bit
        integers, else the largest clean value minus the smallest.
    image_shape : tuple of int, optional
        ``(height, width)`` or ``(height, width, channels)`` of flat rows. Functions then get images.

    Returns
    -------
    DataFrame
        A row for each noise and method, "noisy" first, in the order given, which ``pivot`` keeps. Columns:

        method, noise : category
            Their names; "noisy" is what the images are before they are denoised.
        psnr, ssim, ... : float
            The means over images.
        seconds : float
            Wall time for all images together, what a first call loads included.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        For an estimator that is not fitted.
    ValueError
        For an answer of another shape than the image, or one that holds NaN; and for arguments that
        cannot be used. What a method raises itself gets a note that names method and noise.
    MissingExtraError
        Without pandas, which the extra ``compare`` brings.

    See Also
    --------
    sk_denoise.plots.ComparisonDisplay.from_methods : The same table, and an image of it.
    make_denoising_scorer : Choose between parameters of estimators, for ``GridSearchCV``.

    Notes
    -----
    Floating images are not clipped after the noise, unless its noiser has ``clip``. Images of 8- and
    16-bit integers are rounded and clipped to the range of their type, as files hold them, and methods get
    integers.

    Examples
    --------
    >>> from functools import partial
    >>> from scipy.ndimage import gaussian_filter
    >>> from sk_denoise import GaussianNoiser, MedianDenoiser, compare_denoisers
    >>> from sk_denoise.datasets import load_images
    >>> images = [photo[:64, :80] for photo in load_images("gray").test[:2]]
    >>> methods = {
    ...     "median": MedianDenoiser().fit(images),
    ...     "blur": partial(gaussian_filter, sigma=1),
    ...     "network": "gray",
    ... }
    >>> noises = {"weak": GaussianNoiser(0.05), "strong": GaussianNoiser(0.2)}
    >>> table = compare_denoisers(methods, images, noises, data_range=1)
    >>> table.columns.to_list()
    ['method', 'noise', 'psnr', 'ssim', 'seconds']
    >>> table.pivot(index="method", columns="noise", values="psnr").idxmax().to_list()
    ['network', 'network']
    """
    return run_comparison(
        methods, images, noises, metrics=metrics, data_range=data_range, image_shape=image_shape
    ).table


@dataclass(frozen=True)
class Comparison:
    """A table, and what became of one of the images.

    Attributes
    ----------
    table : DataFrame
        As ``compare_denoisers`` returns it.
    clean : ndarray
        The image.
    answers : dict of dict of ndarray
        Its noisy version and what each method made of it: by noise, then by method.
    data_range : float
        What the PSNR refers to.
    """

    table: pd.DataFrame
    clean: NDArray[Any]
    answers: dict[Hashable, dict[Hashable, NDArray[Any]]]
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
    """Let every method answer every question, and keep the answers to one image."""
    pandas = _require_pandas()
    clean = checked_samples(images, "images")
    if image_shape is not None:
        check_image_shape(image_shape, clean)
    data_range = _range_of(clean) if data_range is None else data_range
    grade = _grader(clean, _metric_names(metrics, clean, image_shape), data_range, image_shape)
    kinds = named_noises(noises)
    chosen = chosen_methods(methods, kinds)
    questions = {noise: noisy_of(kind, clean, noise) for noise, kind in kinds.items()}
    rows: list[dict[str, Any]] = []
    answers: dict[Hashable, dict[Hashable, NDArray[Any]]] = {noise: {} for noise in questions}

    def note(method: Hashable, noise: Hashable, answer: Samples, seconds: float) -> None:
        rows.append({"method": method, "noise": noise, **grade(answer), "seconds": seconds})
        answers[noise][method] = np.array(answer[index])

    for noise, noisy in questions.items():
        note(NOISY, noise, noisy, 0.0)
        asked = restore_container(noisy, images) if isinstance(noisy, np.ndarray) else noisy
        for name, by_noise in chosen.items():
            who = f"Method {name!r} under noise {noise!r}"
            note(name, noise, *answer_of(by_noise[noise], asked, noisy, image_shape, who))
    table = pandas.DataFrame(rows)
    for column, order in (("method", [NOISY, *chosen]), ("noise", list(questions))):
        table[column] = pandas.Categorical(table[column], categories=order)
    return Comparison(table, np.array(clean[index]), answers, data_range)


def _grader(
    clean: Samples, metrics: Sequence[str], data_range: float, image_shape: Sequence[int] | None
) -> Callable[[Samples], dict[str, float]]:
    """Return a function that measures an answer beside the clean samples, as the mean over them."""
    check_data_range(data_range)

    def value(name: str, answer: Samples) -> float:
        metric, needs_range, _ = METRICS[name]
        keywords: dict[str, Any] = {"data_range": data_range} if needs_range else {}
        if metric is ssim:
            keywords["image_shape"] = image_shape
        if not isinstance(clean, list):
            return metric(clean, answer, **keywords)
        pairs = zip(clean, answer, strict=True)
        return float(np.mean([metric(truth[None], x[None], **keywords) for truth, x in pairs]))

    return lambda answer: {name: value(name, answer) for name in metrics}


def _metric_names(
    metrics: str | Sequence[str], clean: Samples, image_shape: Sequence[int] | None
) -> Sequence[str]:
    if metrics == "auto":
        shapes = [x.shape for x in clean] if image_shape is None else [tuple(image_shape)]
        are_images = all(len(s) in (2, 3) and min(s[:2]) >= LEAST_SIDE for s in shapes)
        return ("psnr", "ssim") if are_images else ("psnr",)
    names = [metrics] if isinstance(metrics, str) else metrics
    for name in names:
        check_one_of(name, METRICS, "metric")
    return names


def _range_of(clean: Samples) -> float:
    pixels = np.concatenate([x.ravel() for x in clean]) if isinstance(clean, list) else clean
    return IntensityRange.of_clean(pixels).span


def _require_pandas() -> Any:
    """Return pandas, or say how to get it."""
    require_extra("compare_denoisers", "compare")
    import pandas as pd

    return pd


GIVEN = "given"  # the noise of noisy samples that came without a name

Samples = NDArray[Any] | list[NDArray[Any]]  # a stack or rows; a list of images where sizes differ


def checked_samples(given: Any, name: str) -> Samples:
    """Return images or rows as one array, and images of different sizes as a list."""
    if isinstance(given, list | tuple):
        refuse_masked(given, name)
        parts = [np.asarray(x) for x in given]
        sizes = {x.shape for x in parts}
        if len(sizes) > 1 or (parts and parts[0].ndim > 1):
            _check_alike(parts, name)
        if len(sizes) > 1:
            return [check_numbers(x, f"{name}[{place}]") for place, x in enumerate(parts)]
    array = check_numbers(given, name)
    if array.ndim < 2:
        raise ValueError(
            f"{name} has shape {array.shape}, expected (n, height, width[, channels]), (n, n_features) or a "
            "list of images."
        )
    return array


def _check_alike(images: list[NDArray[Any]], name: str) -> None:
    """Check that images in a list are alike in all but their size."""
    kinds = {(x.dtype, x.ndim, x.shape[2:]) for x in images}
    if len(kinds) > 1 or images[0].ndim not in (2, 3):
        raise ValueError(
            f"{name} in a list must be (height, width) or (height, width, channels), of one type "
            f"and number of channels; got {', '.join(f'{x.dtype} of shape {x.shape}' for x in images)}."
        )


def check_image_shape(image_shape: Sequence[int], samples: Samples) -> None:
    """Check that samples can be images of this shape."""
    for shape in {x.shape for x in samples}:
        if math.prod(shape) != math.prod(image_shape):
            raise ValueError(f"image_shape={tuple(image_shape)} does not fit samples of shape {shape}.")


def named_noises(noises: Any) -> dict[Hashable, Any]:
    """Return noisers, or noisy samples, by name."""
    if isinstance(noises, Noiser):
        noises = [noises]
    if isinstance(noises, list | tuple) and any(isinstance(noise, Noiser) for noise in noises):
        noises = dict(name_estimators(noises))
    if not isinstance(noises, Mapping):
        return {GIVEN: noises}
    if not noises:
        raise ValueError("noises is empty: give at least one noiser, or noisy images.")
    return dict(noises)


def noisy_of(noise: Any, clean: Samples, name: Hashable) -> Samples:
    """Return the noisy version of clean samples: one draw of a noiser, or what is given."""
    if hasattr(noise, "__array__") or isinstance(noise, list | tuple):
        return _checked_noisy(noise, clean, name)
    seed = seed_of(check_noiser(noise))
    if isinstance(clean, list):
        return [_as_stored(x, clean[0].dtype) for x in corrupt_each(noise, clean, seed)]
    return _as_stored(np.asarray(corrupt_fold(noise, clean, seed, copy=0)), clean.dtype)


def _checked_noisy(given: Any, clean: Samples, name: Hashable) -> Samples:
    noisy = checked_samples(given, f"noises[{name!r}]")
    if [x.shape for x in noisy] != [x.shape for x in clean]:
        raise ValueError(
            f"Noise {name!r} must be a noiser or a noisy version of each of the {len(clean)} images, in "
            f"their order; got {len(noisy)}, the first of shape {noisy[0].shape} for {clean[0].shape}."
        )
    types = {noisy[0].dtype, clean[0].dtype}
    if len(types) > 1 and any(map(has_image_depth, types)):
        raise ValueError(
            f"Noise {name!r} holds {noisy[0].dtype} and images {clean[0].dtype}: give both in one unit."
        )
    return noisy


def _as_stored(noisy: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return noisy values as files hold them, where images are of such a type."""
    if not has_image_depth(dtype):
        return noisy
    return UNIT.from_unit(noisy, dtype)


NOISY = "noisy"  # the method that leaves images as they came


def chosen_methods(methods: Any, noises: Mapping[Hashable, Any]) -> dict[Hashable, dict[Hashable, Any]]:
    """Return by name, and then by noise, what can denoise."""
    if not isinstance(methods, Mapping):
        methods = list(methods) if isinstance(methods, list | tuple) else [methods]
        names = [name for name, _ in name_estimators([_name_of(method) for method in methods])]
        methods = dict(zip(names, methods, strict=True))
    if not methods:
        raise ValueError("methods is empty: give at least one.")
    if NOISY in methods:
        raise ValueError(f"A method cannot be called {NOISY!r}: so are called the images as they came.")
    return {
        name: {noise: _usable(_for_noise(method, noise, name), noises[noise], name) for noise in noises}
        for name, method in methods.items()
    }


def _name_of(method: Any) -> str:
    """Return what a method without a name is called: a function by its own, all else by its class."""
    if isinstance(method, str):
        return method
    function = method.func if isinstance(method, partial) else method
    return str(getattr(function, "__name__", type(function).__name__.lower()))


def _for_noise(method: Any, noise: Hashable, name: Hashable) -> Any:
    if not isinstance(method, Mapping):
        return method
    if noise not in method:
        raise ValueError(f"Method {name!r} is a dict without {noise!r}: give one for each name of a noise.")
    return method[noise]


def _usable(method: Any, noise: Any, name: Hashable) -> Any:
    """Return an estimator or a function that can denoise; anything else is a clear error."""
    if isinstance(method, str):
        if method != "auto":
            cached_network(method)  # before the clock runs; refuses an unknown name
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
            refuse_noisy(method, noise)
    return method


def answer_of(
    method: Any, asked: Any, noisy: Samples, image_shape: Sequence[int] | None, who: str
) -> tuple[Samples, float]:
    """Return what a method makes of noisy samples, checked, and how many seconds it took.

    ``asked`` are the noisy samples in the container that they came in.
    """
    own = copy.deepcopy(asked)  # a method may write into what it is given
    start = time.perf_counter()
    with _naming(who):
        if hasattr(method, "predict"):
            answer = back_through_earlier_steps(method, method.predict(own))
        else:
            answer = _one_by_one(method, own if isinstance(own, list) else np.asarray(own), image_shape)
    seconds = time.perf_counter() - start
    return _checked(answer, noisy, who), seconds


@contextmanager
def _naming(who: str) -> Iterator[None]:
    """Let errors say in which method they came up."""
    try:
        yield
    except Exception as error:
        error.add_note(f"{who}, in compare_denoisers.")
        raise


def _one_by_one(
    function: Callable[[NDArray[Any]], ArrayLike], noisy: Samples, image_shape: Sequence[int] | None
) -> list[Any]:
    if image_shape is None:
        return [function(x) for x in noisy]
    return [np.reshape(function(x.reshape(image_shape)), x.shape) for x in noisy]


def _checked(answer: Any, noisy: Samples, who: str) -> Samples:
    """Return an answer in the layout of the question, once it is known to be one."""
    parts = [np.asarray(x) for x in (answer if isinstance(answer, list | tuple) else np.atleast_1d(answer))]
    if len(parts) != len(noisy):
        raise ValueError(f"{who} gave {len(parts)} answers to {len(noisy)} images.")
    for place, (part, asked) in enumerate(zip(parts, noisy, strict=True)):
        if part.shape != asked.shape or part.dtype.kind not in "biuf":
            raise ValueError(
                f"{who} gave {part.dtype} of shape {part.shape} for image {place}, which has the shape "
                f"{asked.shape}: expected numbers of that shape."
            )
        if not np.isfinite(part).all():
            raise ValueError(f"{who} gave NaN or infinity for image {place}.")
        if has_image_depth(asked.dtype) and part.dtype.kind == "f" and np.abs(part).max() <= 1 < asked.max():
            raise ValueError(
                f"{who} answers in [0, 1] to {asked.dtype}. Compare images / "
                f"{IntensityRange.of(asked).white:g}, "
                "or let it answer in the unit of the images."
            )
    return parts if isinstance(noisy, list) else np.stack(parts)
