"""Processing of one image: added noise, denoising, quality, arrays for the views."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

import sk_denoise
from sk_denoise import GaussianNoiser, ImageDenoiser, NoiserChain, PoissonNoiser, RegionNoiser
from sk_denoise._intensity import UNIT, IntensityRange, without_alpha
from sk_denoise._registry import NOISE_KINDS, NOISES, Amount
from sk_denoise.app._jobs import ProgressCallback, collect_warnings
from sk_denoise.app._views import (
    DisplayRange,
    compute_display_range,
    compute_residual,
    shrink_to_screen,
    to_display,
)
from sk_denoise.io import open_stack, read_image
from sk_denoise.metrics import QualityEstimate, estimate_quality, mse, psnr_of_mse, ssim
from sk_denoise.noise import BaseNoiser
from sk_denoise.persistence import load
from sk_denoise.restoration import (
    MODELS,
    NoiseModel,
    denoise_file,
    denoise_image,
    estimate_noise,
    estimate_sigma,
)

__all__ = [
    "AFTER_FILE",
    "BEFORE_FILE",
    "DISPLAY_FILES",
    "DenoisingRequest",
    "DenoisingResult",
    "ImageQuality",
    "NOISE_CHOICES",
    "NoiseChoice",
    "RESIDUAL_FILE",
    "STACK_FILE",
    "add_noise",
    "compute_psnr_in_bands",
    "compute_ssim_in_bands",
    "denoise_in_worker",
    "denoise_stack_to_folder",
    "denoise_to_folder",
    "describe_warning",
    "expect_quality",
    "check_model",
    "open_image_model",
    "warm_up",
]

# Files in the folder of a result: the images, their versions for the screen, and the removed noise
BEFORE_FILE, AFTER_FILE = "before.npy", "after.npy"
DISPLAY_FILES = "before_for_display.npy", "after_for_display.npy"
RESIDUAL_FILE = "residual.npy"
# The denoised file of a stack; the arrays are those of one plane.
STACK_FILE = "denoised.tif"

# Noise and metrics work on bands of rows, so that memory for floats does not grow with the image.
NOISE_BAND_PIXELS = 2**22
METRIC_BAND_PIXELS = 2**20
# Noise on part of an image needs the whole image at once.
MAX_REGION_NOISE_PIXELS = 2**24
# Rows at either border that the window of SSIM excludes from the mean
SSIM_MARGIN = 5

# Models of users that a worker process keeps in memory
MAX_LOADED_MODELS = 4

# Callback for rows done and rows in total
RowProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class DenoisingRequest:
    """Settings of a user for denoising one image.

    Attributes
    ----------
    model : {"auto", "gray", "rgb", "camera"} or str
        Name of a pretrained model, or key of a model that the user uploaded.
    kind : {"auto", "white", "counts", "camera"}
        Kind of the noise.
    sigma : float or None
        Standard deviation of white noise in grey levels of 255 for any depth; None estimates the noise.
    strength : float
        Share of the noise to remove, from 0 to 1.
    outliers : {"keep", "replace"}
        Whether hot pixels are replaced.
    ensemble : bool
        Whether to average over a self-ensemble of eight flips and rotations.
    noise : str or None
        Name in ``NOISE_CHOICES`` of the noise that is added to the image first.
    amount : float
        Amount of the added noise, in the unit of its slider.
    seed : int
        Seed of the added noise.
    """

    model: str = "auto"
    kind: Literal["auto", "white", "counts", "camera"] = "auto"
    sigma: float | None = None
    strength: float = 1.0
    outliers: Literal["keep", "replace"] = "keep"
    ensemble: bool = False
    noise: str | None = None
    amount: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class ImageQuality:
    """PSNR in dB and SSIM of an image; SSIM is None for very small images."""

    psnr: float
    ssim: float | None


@dataclass(frozen=True)
class DenoisingResult:
    """Numbers of a denoised image; its arrays are files in a folder.

    Attributes
    ----------
    shape : tuple of int
        Shape of the image.
    noise : tuple of NoiseModel
        Estimated noise, one model for each channel of a stack; empty if the user set the level, or for a
        network that takes none.
    sigma : float or None
        Noise level that the user set, or that an uploaded network took, of 255.
    removed : float
        Root mean square of the change of the image, of 255.
    seconds : float
        Time for denoising.
    quality_before, quality_after : ImageQuality or None
        Quality before and after denoising, if noise was added to a clean image.
    intensity_range : IntensityRange
        Black and white of the image.
    file_range : IntensityRange or None
        Black and white of a file of integers, for an image of floats.
    display_range : tuple (low, high)
        Black and white of the screen.
    notes : tuple of str
        Messages for the user.
    expected : QualityEstimate or str
        Expected PSNR, if there is no clean image; or a sentence that says why it is missing.
    """

    shape: tuple[int, ...]
    noise: tuple[NoiseModel, ...]
    sigma: float | None
    removed: float
    seconds: float
    quality_before: ImageQuality | None
    quality_after: ImageQuality | None
    intensity_range: IntensityRange
    file_range: IntensityRange | None
    display_range: DisplayRange
    notes: tuple[str, ...]
    expected: QualityEstimate | str = ""


def warm_up() -> None:
    """Load the pretrained models, so that the first user does not wait for them."""
    for model in MODELS.values():
        sigma = None if model.is_blind else 0.1
        denoise_image(np.zeros((8, 8, model.channels), np.float32), sigma=sigma, model=model.name)


def denoise_in_worker(
    source: Path,
    request: DenoisingRequest,
    folder: Path,
    *,
    is_stack: bool,
    model: Path | None,
    max_pixels: int,
    progress: ProgressCallback,
) -> DenoisingResult:
    """Denoise an image or a stack in a worker process.

    The parameters are those of :func:`denoise_to_folder`, but ``model`` is the file of an uploaded model.
    """
    function = denoise_stack_to_folder if is_stack else denoise_to_folder
    loaded = None if model is None else _load_model(model)
    return function(source, request, folder, progress, model=loaded, max_pixels=max_pixels)


def denoise_to_folder(
    source: Path,
    request: DenoisingRequest,
    folder: Path,
    progress: ProgressCallback,
    *,
    model: ImageDenoiser | None,
    max_pixels: int,
) -> DenoisingResult:
    """Denoise an image file, and save the arrays for its views in a folder.

    Parameters
    ----------
    source : Path
        File of the image.
    request : DenoisingRequest
        Settings of the user.
    folder : Path
        Folder for the arrays.
    progress : callable
        Progress callback, which may raise an exception to cancel the work.
    model : ImageDenoiser or None
        Uploaded model; None takes the pretrained one that the request names.
    max_pixels : int
        Largest image. Larger ones raise an error before they are decoded.
    """
    progress(0, 0, "Reading the image")
    image = read_image(source, max_pixels=max_pixels, allow_nan=True)
    intensity_range, before = IntensityRange.of(without_alpha(image)), image
    if request.noise is not None:
        row_progress = partial(progress, activity="Adding noise")
        before = add_noise(image, intensity_range, request.noise, request.amount, request.seed, row_progress)
    progress(0, 0, "Estimating the noise")
    with collect_warnings() as texts:
        level = NoiseLevel.of(before, intensity_range, request, model)
        start = time.perf_counter()
        after = denoise_image(
            before,
            **level.options,
            strength=request.strength,
            outliers=request.outliers,
            model=model or request.model,
            ensemble=request.ensemble,
            callback=partial(progress, activity="Denoising"),
        )
        seconds = time.perf_counter() - start
    quality_before = quality_after = None
    expected: QualityEstimate | str = ""
    if request.noise is None:
        # Its warnings are those of the denoising again.
        with collect_warnings():
            expected = expect_quality(
                before,
                level.noise,
                None if request.sigma is None else request.sigma * intensity_range.span / 255,
                intensity_range=intensity_range,
                options={
                    **level.options,
                    "strength": request.strength,
                    "outliers": request.outliers,
                    "model": model or request.model,
                    "callback": partial(progress, activity="Estimating the quality"),
                },
            )
    else:
        data_range = intensity_range.span
        quality_before = _measure_quality(image, before, data_range, progress)
        quality_after = _measure_quality(image, after, data_range, progress)
    progress(0, 0, "Preparing the view")
    display_range = _save_arrays(before, after, folder)
    return DenoisingResult(
        shape=image.shape,
        noise=level.noise,
        sigma=level.of_255,
        removed=_measure_change(before, after, intensity_range.span),
        seconds=seconds,
        quality_before=quality_before,
        quality_after=quality_after,
        intensity_range=intensity_range,
        file_range=_choose_file_range(image, intensity_range),
        display_range=display_range,
        notes=(
            *_describe_range(intensity_range, image, model),
            *level.notes,
            *(describe_warning(text, intensity_range.span) for text in texts),
        ),
        expected=expected,
    )


def denoise_stack_to_folder(
    source: Path,
    request: DenoisingRequest,
    folder: Path,
    progress: ProgressCallback,
    *,
    model: ImageDenoiser | None,
    max_pixels: int,
) -> DenoisingResult:
    """Denoise a stack to a file, and save the arrays for views of its middle plane.

    The parameters are those of :func:`denoise_to_folder`.
    """
    progress(0, 0, "Reading the stack")
    target = folder / STACK_FILE
    with open_stack(source, max_pixels=max_pixels) as stack:
        middle = len(stack) // 2
        before = _first_channel(stack[middle], stack.plane_axes)
    intensity_range = IntensityRange.of(without_alpha(before))
    with collect_warnings() as texts:
        # The planes are estimated by denoise_file, unless the level is given.
        options: dict[str, Any] = {"noise": request.kind}
        if request.sigma is not None:
            options = {"sigma": request.sigma * intensity_range.span / 255}
        start = time.perf_counter()
        noise = denoise_file(
            source,
            target,
            max_pixels=max_pixels,
            strength=request.strength,
            outliers=request.outliers,
            model=model or request.model,
            ensemble=request.ensemble,
            callback=partial(progress, activity="Denoising the stack"),
            **options,
        )
        seconds = time.perf_counter() - start
    with open_stack(target, max_pixels=max_pixels) as stack:
        after = _first_channel(stack[middle], stack.plane_axes)
    return DenoisingResult(
        shape=before.shape,
        noise=tuple(noise),
        sigma=request.sigma,
        removed=_measure_change(before, after, intensity_range.span),
        seconds=seconds,
        quality_before=None,
        quality_after=None,
        intensity_range=intensity_range,
        file_range=None,
        display_range=_save_arrays(before, after, folder),
        notes=tuple(
            describe_warning(text.replace(f"{source}: ", ""), intensity_range.span) for text in texts
        ),
    )


def _first_channel(plane: NDArray[Any], axes: str) -> NDArray[Any]:
    """Return the colours of a plane, or the first of its channels of data."""
    return plane if axes[-1] in "XS" else plane[..., 0]


def _save_arrays(before: NDArray[Any], after: NDArray[Any], folder: Path) -> DisplayRange:
    """Save the arrays for the views, and return black and white of the screen."""
    display_range = compute_display_range(before)
    np.save(folder / RESIDUAL_FILE, compute_residual(before, after, display_range))
    for name, display_name, array in zip(
        (BEFORE_FILE, AFTER_FILE), DISPLAY_FILES, (before, after), strict=True
    ):
        np.save(folder / display_name, shrink_to_screen(to_display(array, display_range)))
        np.save(folder / name, array)
    return display_range


def _measure_change(before: NDArray[Any], after: NDArray[Any], span: float) -> float:
    """Return the root mean square of the change, of 255, computed in bands of rows."""
    step = max(1, METRIC_BAND_PIXELS // before.shape[1])
    total, count = 0.0, 0
    for top in range(0, len(before), step):
        bands = (without_alpha(image[top : top + step]).astype(np.float32) for image in (before, after))
        squares = np.square(np.subtract(*bands))
        # NaN stands for pixels without a value.
        total += float(np.nansum(squares, dtype=np.float64))
        count += int(np.count_nonzero(~np.isnan(squares)))
    return 255 * float(np.sqrt(total / max(count, 1))) / span


def check_model(path: Path) -> None:
    """Raise ValueError unless a file holds a fitted ImageDenoiser."""
    open_image_model(path)


@lru_cache(maxsize=MAX_LOADED_MODELS)
def _load_model(path: Path) -> ImageDenoiser:
    return open_image_model(path)


def open_image_model(path: Path) -> ImageDenoiser:
    """Load a fitted ImageDenoiser from a file; raise ValueError for any other content."""
    model = load(path)
    if not isinstance(model, ImageDenoiser):
        raise ValueError(
            f"The file holds a {type(model).__name__}; expected an ImageDenoiser, which denoises images of "
            "any size."
        )
    if not hasattr(model, "net_"):
        raise ValueError("The ImageDenoiser in the file is not fitted; fit it, and save it again.")
    return model


@dataclass(frozen=True)
class NoiseChoice:
    """Noise that the user can add, and its slider.

    Attributes
    ----------
    label : str
        Name of the noise on the page.
    amount : Amount
        Amount of the noise. Its slider has steps of 1 and starts at 1.
    build_noiser : callable
        Function from the amount, in the unit of the noiser, to the noiser of images in [0, 1].
    works_in_bands : bool
        Whether the noise of a band of rows is independent of the other rows.
    """

    label: str
    amount: Amount
    build_noiser: Callable[[float], BaseNoiser]
    works_in_bands: bool = True


def _build_registered_noiser(name: str, amount: float) -> BaseNoiser:
    noise, choice = NOISES[name], NOISE_CHOICES[name]
    noiser_class = getattr(sk_denoise, noise.name)
    noiser: BaseNoiser = noiser_class(**{choice.amount.parameter: amount}, **noise.fixed_parameters)
    return noiser


NOISE_CHOICES: dict[str, NoiseChoice] = {
    name: NoiseChoice(
        noise.label,
        noise.amount,
        partial(_build_registered_noiser, name),
        works_in_bands=not noise.needs_whole_image,
    )
    for name, noise in NOISES.items()
    if noise.amount is not None and not noise.mixes_samples
}
# A composed noise has no amount in the registry, so the app offers one example of each.
NOISE_CHOICES["chain"] = NoiseChoice(
    "Sensor (photons, then Gaussian)",
    replace(NOISE_CHOICES["poisson"].amount, slider_start=60),
    lambda peak: NoiserChain([PoissonNoiser(peak, white=1.0), GaussianNoiser(0.02)]),
)
NOISE_CHOICES["region"] = NoiseChoice(
    "Gaussian, on a part of the image",
    replace(NOISE_CHOICES["gaussian"].amount, slider_start=40),
    lambda sigma: RegionNoiser(GaussianNoiser(sigma)),
    works_in_bands=False,
)


def add_noise(
    image: NDArray[Any],
    intensity_range: IntensityRange,
    noise: str,
    amount: float,
    seed: int,
    progress: RowProgress,
) -> NDArray[Any]:
    """Add noise to an image; its type and its alpha channel stay the same.

    Parameters
    ----------
    image : ndarray of shape (height, width) or (height, width, channels)
        Clean image.
    intensity_range : IntensityRange
        Black and white, to which the noisy image is clipped.
    noise : str
        Name in ``NOISE_CHOICES``.
    amount : float
        Amount of the noise, in the unit of its slider.
    seed : int
        Seed of the noise.
    progress : callable
        Callback for the rows done and the rows in total.
    """
    choice = NOISE_CHOICES[noise]
    height, width = image.shape[:2]
    if not choice.works_in_bands and height * width > MAX_REGION_NOISE_PIXELS:
        raise ValueError(
            f"{choice.label} is limited to images of "
            f"{MAX_REGION_NOISE_PIXELS / 1e6:.0f} megapixels; this one has {height * width / 1e6:.0f}. "
            "Choose another noise, or a smaller image."
        )
    step = max(1, NOISE_BAND_PIXELS // width) if choice.works_in_bands else height
    noisy = image.copy()
    # A view: the bands below are written into ``noisy``.
    colors = without_alpha(noisy)
    noiser = choice.build_noiser(amount * choice.amount.unit.size)
    # All parameters are given, so the fit learns nothing from these zeros.
    noiser.fit(np.zeros((1, *colors[:1, :1].shape), np.float32))
    # One generator for all bands, so that their noise differs
    generator = torch.Generator().manual_seed(seed)
    for top in range(0, height, step):
        progress(top, height)
        band = colors[top : top + step]
        unit = torch.from_numpy(intensity_range.to_unit(band).astype(np.float32)[None])
        unit = noiser.corrupt(unit, generator)[0].clamp(0, 1)
        band[...] = intensity_range.from_unit(unit.numpy(), image.dtype)
    return noisy


def compute_psnr_in_bands(
    clean: NDArray[Any], other: NDArray[Any], data_range: float, progress: RowProgress
) -> float:
    """Return the PSNR of a whole image in dB, computed in bands of rows."""

    def squared_error(rows: slice) -> float:
        return mse(clean[rows][None], other[rows][None])

    return float(psnr_of_mse(_average_over_bands(squared_error, clean, 0, progress), data_range))


def compute_ssim_in_bands(
    clean: NDArray[Any], other: NDArray[Any], data_range: float, progress: RowProgress
) -> float | None:
    """Return the SSIM of a whole image, computed in bands of rows.

    A very small image has no SSIM, so the function returns None for it.
    """
    if min(clean.shape[:2]) <= 2 * SSIM_MARGIN:
        return None

    def similarity(rows: slice) -> float:
        return ssim(clean[rows][None], other[rows][None], data_range=data_range)

    return _average_over_bands(similarity, clean, SSIM_MARGIN, progress)


def _average_over_bands(
    function: Callable[[slice], float], image: NDArray[Any], margin: int, progress: RowProgress
) -> float:
    """Average a function over bands of rows, which overlap by two margins."""
    height, width = image.shape[:2]
    inner_height = height - 2 * margin
    step = max(1, METRIC_BAND_PIXELS // width)
    total = 0.0
    for top in range(0, inner_height, step):
        progress(top, inner_height)
        bottom = min(top + step, inner_height)
        total += function(slice(top, bottom + 2 * margin)) * (bottom - top)
    return float(total / inner_height)


def _measure_quality(
    clean: NDArray[Any], other: NDArray[Any], data_range: float, progress: ProgressCallback
) -> ImageQuality:
    row_progress = partial(progress, activity="Comparing with the clean image")
    return ImageQuality(
        compute_psnr_in_bands(clean, other, data_range, row_progress),
        compute_ssim_in_bands(clean, other, data_range, row_progress),
    )


@dataclass(frozen=True)
class NoiseLevel:
    """Noise of an image, as given by the user or as estimated.

    Attributes
    ----------
    options : dict
        Arguments of :func:`~sk_denoise.restoration.denoise_image` that describe the noise.
    noise : tuple of NoiseModel
        Estimated noise, at most one model.
    of_255 : float or None
        Level that the user set, or that an uploaded network takes, of 255.
    notes : tuple of str
        Messages for the user.
    """

    options: dict[str, Any]
    noise: tuple[NoiseModel, ...] = ()
    of_255: float | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        image: NDArray[Any],
        intensity_range: IntensityRange,
        request: DenoisingRequest,
        model: ImageDenoiser | None,
    ) -> NoiseLevel:
        """Take the noise level from the request, or estimate the noise from the image."""
        if model is not None:
            return cls._of_uploaded(image, intensity_range, request, model)
        if request.sigma is not None:
            return cls({"sigma": request.sigma * intensity_range.span / 255}, of_255=request.sigma)
        if request.model in MODELS and MODELS[request.model].is_blind:
            return cls({})
        noise = estimate_noise(image, kind=request.kind, outliers=request.outliers)
        return cls({"noise": noise}, (noise,))

    @classmethod
    def _of_uploaded(
        cls,
        image: NDArray[Any],
        intensity_range: IntensityRange,
        request: DenoisingRequest,
        model: ImageDenoiser,
    ) -> NoiseLevel:
        """Limit the noise level to that of the training of an uploaded network."""
        if model.noise_levels_ is None:
            return cls({})
        # A model that learned from data of an unknown unit takes images in that unit.
        span = intensity_range.span if model.intensity_range_ is not None else model.data_range_
        noise: tuple[NoiseModel, ...] = ()
        sigma = request.sigma
        if sigma is None:
            estimate = estimate_sigma(image)
            noise = (NoiseModel("white", estimate, intensity_range=IntensityRange(0.0, span)),)
            sigma = 255 * estimate / span
        max_sigma = 255 * model.noise_levels_[1] / model.data_range_
        if sigma <= max_sigma:
            return cls({"sigma": sigma * span / 255}, noise, sigma)
        note = (
            f"The noise level of {sigma:.0f} (of 255) is beyond the range of this model, which took it as "
            f"{max_sigma:.0f}."
        )
        return cls({"sigma": max_sigma * span / 255}, noise, max_sigma, (note,))


# Options of the library in its warnings
LIBRARY_KIND = re.compile(r"""\bnoise=["'](\w+)["']""")
LIBRARY_LEVEL = re.compile(r"\bsigma=(\d+(?:\.\d+)?(?:e[+-]?\d+)?)")


def describe_warning(text: str, span: float) -> str:
    """Return a warning of the library in words of the page.

    Parameters
    ----------
    text : str
        The warning.
    span : float
        Difference of black and white, to convert noise levels to grey levels of 255.
    """
    kinds = {name: kind.label for name, kind in NOISE_KINDS.items()}
    text = LIBRARY_KIND.sub(lambda match: f'the noise "{kinds.get(match[1], match[1])}"', text)
    text = LIBRARY_LEVEL.sub(
        lambda match: f"a level of {255 * float(match[1]) / span:.0f} of 255, set by hand", text
    )
    return re.sub(
        r"\b([Pp])ass (?=the noise|a level)", lambda m: "Choose " if m[1] == "P" else "choose ", text
    )


def _choose_file_range(image: NDArray[Any], intensity_range: IntensityRange) -> IntensityRange | None:
    """Return black and white of floats or signed integers in a file of unsigned ones."""
    # TIFF alone stores signed integers.
    if image.dtype.kind == "u":
        return None
    # The range of the image ignores a few outliers, which a file must keep.
    return intensity_range if intensity_range == UNIT else IntensityRange.of_clean(without_alpha(image))


def _describe_range(
    intensity_range: IntensityRange, image: NDArray[Any], model: ImageDenoiser | None
) -> tuple[str, ...]:
    """Return a note on black and white, if they differ from those of the image's type."""
    # A model that learned from data of an unknown unit does not use the range of the image.
    ignores_range = model is not None and model.intensity_range_ is None
    if ignores_range or intensity_range == IntensityRange.of_type(image.dtype):
        return ()
    colors = without_alpha(image)
    return (
        f"The intensities of this image are between {colors.min():g} and {colors.max():g}. Black is taken as "
        f"{intensity_range.black:g} and white as {intensity_range.white:g}.",
    )


# Side in pixels of the middle part that is measured. The measurement takes five passes of the network.
MAX_SIDE = 256
# Pixels from which one random direction is enough.
LARGE, N_PROBES = 2**15, 4
CORRELATED = (
    "The quality of the result cannot be estimated: the noise is correlated between neighbouring pixels, so "
    "noise that stays looks like the image."
)


def expect_quality(
    image: NDArray[Any],
    noise: Sequence[NoiseModel],
    sigma: float | None,
    *,
    intensity_range: IntensityRange,
    options: dict[str, Any],
) -> QualityEstimate | str:
    """Return the expected PSNR of the result for an image, or a refusal in words.

    Parameters
    ----------
    image : ndarray of shape (height, width[, channels])
        Noisy image.
    noise : sequence of NoiseModel
        Estimated noise; empty if it was not estimated.
    sigma : float or None
        Noise level that the user set, in the unit of the image.
    intensity_range : IntensityRange
        Black and white of the image.
    options : dict
        Arguments of :func:`~sk_denoise.restoration.denoise_image`.

    Returns
    -------
    QualityEstimate or str
        The estimate, or a sentence for the user; empty for an image without visible noise.
    """
    kinds = {model.kind for model in noise}
    if kinds == {"none"}:
        return ""
    if "camera" in kinds:
        return CORRELATED
    height, width = image.shape[:2]
    top, left = max(0, height - MAX_SIDE) // 2, max(0, width - MAX_SIDE) // 2
    # Floats, since a result that is rounded to integers has no derivative.
    part = without_alpha(image)[top : top + MAX_SIDE, left : left + MAX_SIDE].astype(np.float64)
    data_range = intensity_range.span
    if intensity_range.black == 0 and not _keeps_raw_values(options["model"]):
        # Floats in grey levels have a range that is measured, and it jumps with their extrema.
        part, options = part / data_range, _scale_noise(options, 1 / data_range)
        sigma, data_range = None if sigma is None else sigma / data_range, 1.0
    try:
        return estimate_quality(
            # Half precision would round small changes.
            lambda images: [denoise_image(x, **options, precision="float32") for x in images],
            [part],
            # The error of an estimated level is part of the interval.
            noise="auto" if sigma is None else sigma,
            data_range=data_range,
            n_probes=1 if part.size >= LARGE else N_PROBES,
        )
    except ValueError as error:
        if "correlated" in str(error):
            return CORRELATED
        # The sentences after the first one are for programmers.
        reason = str(error).partition(". ")[0].rstrip(".")
        return f"The quality of the result cannot be estimated: {reason[0].lower()}{reason[1:]}."


def _keeps_raw_values(model: Any) -> bool:
    """Return whether a model learned from values without a known black and white."""
    return not isinstance(model, str) and model.intensity_range_ is None


def _scale_noise(options: dict[str, Any], factor: float) -> dict[str, Any]:
    """Return options for an image that is multiplied by a factor."""
    scaled = dict(options)
    if "sigma" in options:
        scaled["sigma"] = factor * options["sigma"]
    if isinstance(options.get("noise"), NoiseModel):
        scaled["noise"] = options["noise"].scaled(factor)
    return scaled
