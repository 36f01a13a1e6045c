"""The noises that the app adds to clean images: a table of what there is, with a slider each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import sk_denoise
from sk_denoise import GaussianNoiser, NoiserChain, PoissonNoiser, RegionNoiser
from sk_denoise._intensity import IntensityRange, without_alpha
from sk_denoise._registry import NOISES, Amount
from sk_denoise.noise import BaseNoiser

__all__ = ["KINDS", "Kind", "corrupted"]

PIXELS_AT_ONCE = 2**22  # as floats: a band of rows, so that memory does not grow with the image
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
    step = max(1, PIXELS_AT_ONCE // width) if chosen.by_rows else height
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
