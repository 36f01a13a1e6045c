"""Processing of one image: added noise, denoising, quality, arrays for the views."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import sk_denoise
from sk_denoise import GaussianNoiser, ImageDenoiser, NoiserChain, PoissonNoiser, RegionNoiser
from sk_denoise._intensity import UNIT, IntensityRange, without_alpha
from sk_denoise._registry import NOISES, Amount
from sk_denoise.app._jobs import ProgressCallback
from sk_denoise.app._views import (
    DisplayRange,
    compute_display_range,
    compute_residual,
    shrink_to_screen,
    to_display,
)
from sk_denoise.io import read_image
from sk_denoise.metrics import mse, psnr_of_mse, ssim
from sk_denoise.noise import BaseNoiser
from sk_denoise.persistence import load
from sk_denoise.restoration import denoise_image, estimate_sigma

__all__ = [
    "AFTER_FILE",
    "BEFORE_FILE",
    "DISPLAY_FILES",
    "NOISE_CHOICES",
    "RESIDUAL_FILE",
    "DenoisingRequest",
    "DenoisingResult",
    "ImageQuality",
    "NoiseChoice",
    "add_noise",
    "compute_psnr_in_bands",
    "compute_ssim_in_bands",
    "convert_for_file",
    "denoise_to_folder",
    "open_image_model",
]

# Files in the folder of a result: the images, their versions for the screen, and the removed noise
BEFORE_FILE, AFTER_FILE = "before.npy", "after.npy"
DISPLAY_FILES = "before_for_display.npy", "after_for_display.npy"
RESIDUAL_FILE = "residual.npy"

# Noise and metrics work on bands of rows, so that memory for floats does not grow with the image.
NOISE_BAND_PIXELS = 2**22
METRIC_BAND_PIXELS = 2**20
# Noise on part of an image needs the whole image at once.
MAX_REGION_NOISE_PIXELS = 2**24
# Rows at either border that the window of SSIM excludes from the mean
SSIM_MARGIN = 5

# Callback for rows done and rows in total
RowProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class DenoisingRequest:
    """Settings of a user for denoising one image.

    Attributes
    ----------
    model : {"auto", "gray", "rgb"} or str
        Name of a pretrained model, or key of a model that the user uploaded.
    sigma : float or None
        Standard deviation of the noise in grey levels of 255 for any depth; None estimates it.
    strength : float
        Factor for the estimated noise level.
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
    sigma: float | None = None
    strength: float = 1.0
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
    sigma : float or None
        Noise level given to the network, of 255; None for a network that takes no noise level.
    estimated_sigma : float or None
        Estimated noise level, of 255; None if the user set it.
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
    """

    shape: tuple[int, ...]
    sigma: float | None
    estimated_sigma: float | None
    seconds: float
    quality_before: ImageQuality | None
    quality_after: ImageQuality | None
    intensity_range: IntensityRange
    file_range: IntensityRange | None
    display_range: DisplayRange
    notes: tuple[str, ...]


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
    image = read_image(source, max_pixels=max_pixels)
    intensity_range, before = IntensityRange.of(without_alpha(image)), image
    if request.noise is not None:
        row_progress = partial(progress, activity="Adding noise")
        before = add_noise(image, intensity_range, request.noise, request.amount, request.seed, row_progress)
    progress(0, 0, "Estimating the noise")
    level = ModelNoiseLevel.of(before, intensity_range, request, model)
    start = time.perf_counter()
    after = denoise_image(
        before,
        sigma=level.sigma,
        model=model or request.model,
        ensemble=request.ensemble,
        callback=partial(progress, activity="Denoising"),
    )
    seconds = time.perf_counter() - start
    quality_before = quality_after = None
    if request.noise is not None:
        data_range = intensity_range.span
        quality_before = _measure_quality(image, before, data_range, progress)
        quality_after = _measure_quality(image, after, data_range, progress)
    progress(0, 0, "Preparing the view")
    display_range = compute_display_range(before)
    np.save(folder / RESIDUAL_FILE, compute_residual(before, after, display_range))
    for name, display_name, array in zip(
        (BEFORE_FILE, AFTER_FILE), DISPLAY_FILES, (before, after), strict=True
    ):
        np.save(folder / display_name, shrink_to_screen(to_display(array, display_range)))
        np.save(folder / name, array)
    return DenoisingResult(
        shape=image.shape,
        sigma=level.of_255,
        estimated_sigma=level.estimated,
        seconds=seconds,
        quality_before=quality_before,
        quality_after=quality_after,
        intensity_range=intensity_range,
        file_range=_choose_file_range(image, intensity_range),
        display_range=display_range,
        notes=(*_describe_range(intensity_range, image, model), *level.notes),
    )


def convert_for_file(image: NDArray[Any], file_range: IntensityRange | None) -> NDArray[Any]:
    """Convert floats and signed integers to 16 bits without sign; others stay as they are."""
    if file_range is None:
        return image
    dtype = np.dtype(np.uint16)
    return IntensityRange.of_type(dtype).from_unit(file_range.to_unit(image), dtype)


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
class ModelNoiseLevel:
    """Noise level given to a model, in the unit of the image and of 255."""

    sigma: float | None
    of_255: float | None = None
    estimated: float | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        image: NDArray[Any],
        intensity_range: IntensityRange,
        request: DenoisingRequest,
        model: ImageDenoiser | None,
    ) -> ModelNoiseLevel:
        """Take the noise level from the request, or estimate it from the image."""
        if model is not None and model.noise_levels_ is None:
            return cls(None)
        span = intensity_range.span
        # A model that learned from data of an unknown unit takes images in that unit.
        if model is not None and model.intensity_range_ is None:
            span = model.data_range_
        estimated = None if request.sigma is not None else 255 * estimate_sigma(image) / span
        sigma = request.strength * estimated if estimated is not None else request.sigma
        assert sigma is not None
        max_sigma = _max_noise_level(model)
        # An estimate may exceed the span from black to white.
        if model is None:
            sigma = min(sigma, max_sigma)
        if sigma <= max_sigma:
            return cls(sigma * span / 255, sigma, estimated)
        note = (
            f"The noise level of {sigma:.0f} (of 255) is beyond the range of this model, which took it as "
            f"{max_sigma:.0f}."
        )
        return cls(max_sigma * span / 255, max_sigma, estimated, (note,))


def _max_noise_level(model: ImageDenoiser | None) -> float:
    """Return the largest noise level of a model, of 255; pretrained models take any."""
    if model is None or model.noise_levels_ is None:
        return 255.0
    return 255 * model.noise_levels_[1] / model.data_range_


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
