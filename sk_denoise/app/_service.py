"""What the app does with an image, apart from the page: files and arrays in, files and arrays out."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_denoise import ImageDenoiser
from sk_denoise._intensity import UNIT, IntensityRange, without_alpha
from sk_denoise.app._jobs import Tell
from sk_denoise.app._noises import corrupted
from sk_denoise.app._quality import psnr_of_image, ssim_of_image
from sk_denoise.app._views import Range, on_screen, screen_range, shrunk, taken_away
from sk_denoise.io import read_image
from sk_denoise.persistence import load
from sk_denoise.restoration import denoise_image, estimate_sigma

__all__ = [
    "AFTER",
    "BEFORE",
    "SCREENS",
    "TAKEN",
    "Answer",
    "Order",
    "Quality",
    "denoise",
    "numbers_for_file",
    "open_model",
]

# Files in the folder of an answer: the images, the same as a screen shows them, and what was taken away
BEFORE, AFTER = "before.npy", "after.npy"
SCREENS = "before_on_screen.npy", "after_on_screen.npy"
TAKEN = "taken.npy"


@dataclass(frozen=True)
class Order:
    """What somebody wants.

    Attributes
    ----------
    model : {"auto", "gray", "rgb"} or str
        A model in the box; or the key of a model of the user.
    sigma : float or None
        Standard deviation of the noise, of 255, whatever the depth; None estimates it.
    strength : float
        What the estimate is multiplied by.
    ensemble : bool
        Whether the image is turned in eight ways.
    noise : str or None
        A name in ``KINDS``: what the image, which is clean, is corrupted with first.
    amount : float
        Of that noise.
    seed : int
        Of that noise.
    """

    model: str = "auto"
    sigma: float | None = None
    strength: float = 1.0
    ensemble: bool = False
    noise: str | None = None
    amount: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Quality:
    """How near an image is to the clean one: PSNR in dB, and SSIM where the image is large enough."""

    psnr: float
    ssim: float | None


@dataclass(frozen=True)
class Answer:
    """What became of an order; the images lie in its folder.

    Attributes
    ----------
    shape : tuple of int
        Of the image.
    sigma : float or None
        The noise that the network was told of, of 255; None where it learned to do without.
    estimated : float or None
        What was estimated, where it was.
    seconds : float
        What denoising took.
    before, after : Quality or None
        Where noise was added to a clean image.
    intensity : IntensityRange
        The numbers of the image that stand for black and white.
    file_range : IntensityRange or None
        The numbers that are black and white in a file of integers, where those of the image are floats.
    shown : tuple (low, high)
        What is black and white on the screen.
    notes : tuple of str
        What the user should know.
    """

    shape: tuple[int, ...]
    sigma: float | None
    estimated: float | None
    seconds: float
    before: Quality | None
    after: Quality | None
    intensity: IntensityRange
    file_range: IntensityRange | None
    shown: Range
    notes: tuple[str, ...]


def denoise(
    source: Path, order: Order, folder: Path, tell: Tell, *, model: ImageDenoiser | None, most_pixels: int
) -> Answer:
    """Denoise an image, and put what is needed to show it into a folder.

    Parameters
    ----------
    source : Path
        The image's file.
    order : Order
        What is wanted.
    folder : Path
        Where arrays go.
    tell : callable
        Told how far the work is; may raise to end it.
    model : ImageDenoiser or None
        A model of the user, in place of the one in the box that the order names.
    most_pixels : int
        Larger images are refused before they are decoded.
    """
    tell(0, 0, "Reading the image")
    image = read_image(source, max_pixels=most_pixels)
    intensity, before = IntensityRange.of(without_alpha(image)), image
    if order.noise is not None:
        told = partial(tell, what="Adding noise")
        before = corrupted(image, intensity, order.noise, order.amount, order.seed, told)
    tell(0, 0, "Estimating the noise")
    level = Level.of(before, intensity, order, model)
    start = time.perf_counter()
    after = denoise_image(
        before,
        sigma=level.sigma,
        model=model or order.model,
        ensemble=order.ensemble,
        callback=partial(tell, what="Denoising"),
    )
    seconds = time.perf_counter() - start
    before_quality = after_quality = None
    if order.noise is not None:
        white = intensity.span
        before_quality, after_quality = (_quality(image, other, white, tell) for other in (before, after))
    tell(0, 0, "Preparing the view")
    shown = screen_range(before)
    np.save(folder / TAKEN, taken_away(before, after, shown))
    for name, small, array in zip((BEFORE, AFTER), SCREENS, (before, after), strict=True):
        np.save(folder / small, shrunk(on_screen(array, shown)))
        np.save(folder / name, array)
    return Answer(
        shape=image.shape,
        sigma=level.of_255,
        estimated=level.estimated,
        seconds=seconds,
        before=before_quality,
        after=after_quality,
        intensity=intensity,
        file_range=_file_range(image, intensity),
        shown=shown,
        notes=(*_notes_on(intensity, image, model), *level.notes),
    )


def _notes_on(intensity: IntensityRange, image: NDArray[Any], model: ImageDenoiser | None) -> tuple[str, ...]:
    """Return what the user should know of black and white, where the type does not tell it."""
    takes_numbers = model is not None and model.intensity_range_ is None
    if takes_numbers or intensity == IntensityRange.of_type(image.dtype):
        return ()
    numbers = without_alpha(image)
    return (
        f"Its numbers reach from {numbers.min():g} to {numbers.max():g}; {intensity.black:g} was taken as "
        f"black, and {intensity.white:g} as white.",
    )


def _file_range(image: NDArray[Any], intensity: IntensityRange) -> IntensityRange | None:
    """Return what is black and white of floats in a file of integers, which is to hold all that came."""
    if image.dtype.kind != "f":
        return None
    return intensity if intensity == UNIT else IntensityRange.of_clean(without_alpha(image))


def numbers_for_file(image: NDArray[Any], file_range: IntensityRange | None) -> NDArray[Any]:
    """Return an image as a file of integers is to hold it: floats as 16 bits."""
    if file_range is None:
        return image
    dtype = np.dtype(np.uint16)
    return IntensityRange.of_type(dtype).from_unit(file_range.to_unit(image), dtype)


@dataclass(frozen=True)
class Level:
    """The noise that a network is told of: in the image's unit and of 255, and how it was found."""

    sigma: float | None
    of_255: float | None = None
    estimated: float | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, image: NDArray[Any], intensity: IntensityRange, order: Order, model: ImageDenoiser | None
    ) -> Level:
        """Return what an order says or the image tells, as far as a network of the user knows noise."""
        if model is not None and model.noise_levels_ is None:
            return cls(None)
        white = intensity.span
        if model is not None and model.intensity_range_ is None:  # the range of the fit is all that is known
            white = model.data_range_
        estimated = None if order.sigma is not None else 255 * estimate_sigma(image) / white
        wanted = order.strength * estimated if estimated is not None else order.sigma
        assert wanted is not None
        strongest = _strongest(model)
        if model is None:
            wanted = min(wanted, strongest)  # an estimate may be more than there is from black to white
        if wanted <= strongest:
            return cls(wanted * white / 255, wanted, estimated)
        note = (
            f"The noise, {wanted:.0f} of 255, is stronger than this model knows; it was taken as "
            f"{strongest:.0f}."
        )
        return cls(strongest * white / 255, strongest, estimated, (note,))


def _strongest(model: ImageDenoiser | None) -> float:
    """Return the strongest noise that is taken away, of 255; networks in the box are shown any."""
    if model is None or model.noise_levels_ is None:
        return 255.0
    return 255 * model.noise_levels_[1] / model.data_range_


def _quality(clean: NDArray[Any], other: NDArray[Any], data_range: float, tell: Tell) -> Quality:
    told = partial(tell, what="Comparing with the clean image")
    return Quality(
        psnr_of_image(clean, other, data_range, told), ssim_of_image(clean, other, data_range, told)
    )


def open_model(path: Path) -> ImageDenoiser:
    """Return a model that ``sk_denoise.persistence.save`` wrote, once it is known to denoise images."""
    model = load(path)
    if not isinstance(model, ImageDenoiser):
        raise ValueError(
            f"The file holds a {type(model).__name__}; what denoises images of any size is an ImageDenoiser."
        )
    if not hasattr(model, "net_"):
        raise ValueError("The ImageDenoiser in the file is not fitted; fit it, and save it again.")
    return model
