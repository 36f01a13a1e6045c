"""What the app does with an image, apart from the page: files and arrays in, files and arrays out."""

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
from sk_denoise.app._jobs import Tell
from sk_denoise.app._views import Range, on_screen, screen_range, shrunk, taken_away
from sk_denoise.io import read_image
from sk_denoise.metrics import mse, psnr_of_mse, ssim
from sk_denoise.noise import BaseNoiser
from sk_denoise.persistence import load
from sk_denoise.restoration import denoise_image, estimate_sigma

__all__ = [
    "AFTER",
    "Answer",
    "BEFORE",
    "KINDS",
    "Kind",
    "Order",
    "Quality",
    "SCREENS",
    "TAKEN",
    "corrupted",
    "denoise",
    "numbers_for_file",
    "open_model",
    "psnr_of_image",
    "ssim_of_image",
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


Image = NDArray[Any]

NOISE_BAND_PIXELS = 2**22  # as floats: a band of rows, so that memory does not grow with the image
LARGEST_WITH_A_PLACE = 2**24  # pixels: noise on a part of an image must see the whole


@dataclass(frozen=True)
class Kind:
    """A kind of noise, and the slider that sets it.

    Attributes
    ----------
    label : str
        The noise for people.
    amount : Amount
        The amount, whose slider has steps of 1, from 1 on.
    make : callable
        Returns the noiser of an amount in the unit of the class, for images in [0, 1].
    by_rows : bool
        Whether the noise of a band of rows does not depend on the others.
    """

    label: str
    amount: Amount
    make: Callable[[float], BaseNoiser]
    by_rows: bool = True


def _noiser(name: str, amount: float) -> BaseNoiser:
    """Return a noiser of the registry."""
    noise, kind = NOISES[name], KINDS[name]
    noiser: BaseNoiser = getattr(sk_denoise, noise.name)(**{kind.amount.parameter: amount}, **noise.known)
    return noiser


KINDS: dict[str, Kind] = {
    name: Kind(noise.label, noise.amount, partial(_noiser, name))
    for name, noise in NOISES.items()
    if noise.amount is not None and not noise.mixes_samples
}
# Noise that is made of other noise needs an example of it
KINDS["chain"] = Kind(
    "Camera (photons, then Gaussian)",
    replace(KINDS["poisson"].amount, start=60),
    lambda peak: NoiserChain([PoissonNoiser(peak, white=1.0), GaussianNoiser(0.02)]),
)
KINDS["region"] = Kind(
    "Gaussian, on a part of the image",
    replace(KINDS["gaussian"].amount, start=40),
    lambda sigma: RegionNoiser(GaussianNoiser(sigma)),
    by_rows=False,
)


def corrupted(
    image: NDArray[Any],
    intensity: IntensityRange,
    kind: str,
    amount: float,
    seed: int,
    tell: Callable[[int, int], None],
) -> NDArray[Any]:
    """Return an image with noise, of the same type; alpha stays.

    Parameters
    ----------
    image : ndarray of shape (height, width) or (height, width, channels)
        Clean.
    intensity : IntensityRange
        Black and white; the answer is clipped to what lies between.
    kind : str
        A name in ``KINDS``.
    amount : float
        As its slider has it, in the unit of the slider.
    seed : int
        Of the noise.
    tell : callable
        Told how many rows are done, and of how many.
    """
    chosen = KINDS[kind]
    height, width = image.shape[:2]
    if not chosen.by_rows and height * width > LARGEST_WITH_A_PLACE:
        raise ValueError(
            "Noise on a part of an image takes images of up to "
            f"{LARGEST_WITH_A_PLACE / 1e6:.0f} megapixels here, this one has {height * width / 1e6:.0f}. "
            "Take another noise, or a smaller image."
        )
    step = max(1, NOISE_BAND_PIXELS // width) if chosen.by_rows else height
    noisy = image.copy()
    colors = without_alpha(noisy)
    noiser = chosen.make(amount * chosen.amount.unit.size)
    noiser.fit(np.zeros((1, *colors[:1, :1].shape), np.float32))  # all is given
    generator = torch.Generator().manual_seed(seed)
    for top in range(0, height, step):
        tell(top, height)
        band = colors[top : top + step]
        shown = torch.from_numpy(intensity.to_unit(band).astype(np.float32)[None])
        shown = noiser.corrupt(shown, generator)[0].clamp(0, 1)
        band[...] = intensity.from_unit(shown.numpy(), image.dtype)
    return noisy


RowProgress = Callable[[int, int], None]  # how many rows are done, and of how many

METRIC_BAND_PIXELS = 2**20
MARGIN = 5  # rows at each end that the window of SSIM leaves out of the mean


def psnr_of_image(clean: Image, other: Image, data_range: float, tell: RowProgress) -> float:
    """Return the PSNR in dB, which is that of the whole image."""

    def error(rows: slice) -> float:
        return mse(clean[rows][None], other[rows][None])

    return float(psnr_of_mse(_mean_over_bands(error, clean, 0, tell), data_range))


def ssim_of_image(clean: Image, other: Image, data_range: float, tell: RowProgress) -> float | None:
    """Return the structural similarity, which is that of the whole image; None where it is too small."""
    if min(clean.shape[:2]) <= 2 * MARGIN:
        return None

    def similarity(rows: slice) -> float:
        return ssim(clean[rows][None], other[rows][None], data_range=data_range)

    return _mean_over_bands(similarity, clean, MARGIN, tell)


def _mean_over_bands(value: Callable[[slice], float], image: Image, margin: int, tell: RowProgress) -> float:
    """Return the mean of a value over bands of rows, which reach ``margin`` rows into their neighbours."""
    height, width = image.shape[:2]
    inner = height - 2 * margin
    step = max(1, METRIC_BAND_PIXELS // width)
    total = 0.0
    for top in range(0, inner, step):
        tell(top, inner)
        bottom = min(top + step, inner)
        total += value(slice(top, bottom + 2 * margin)) * (bottom - top)
    return float(total / inner)
