"""Methods by noises by metrics: the story of a comparison, and its table."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sk_denoise._extras import require_extra
from sk_denoise._intensity import IntensityRange
from sk_denoise._validation import check_one_of, restore_container
from sk_denoise.comparison._answers import answer_of
from sk_denoise.comparison._methods import NOISY, chosen_methods
from sk_denoise.comparison._samples import Samples, check_image_shape, checked_samples, named_noises, noisy_of
from sk_denoise.metrics import ssim
from sk_denoise.metrics._functions import check_data_range
from sk_denoise.metrics._scorers import METRICS

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Comparison", "compare_denoisers", "run_comparison"]

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
