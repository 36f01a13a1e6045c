"""The noises that the app adds to clean pictures: a table of what there is, with a slider each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sk_denoise import (
    GaussianNoiser,
    MaskingNoiser,
    NoiserChain,
    PixelNoiser,
    PoissonNoiser,
    RegionNoiser,
    SaltAndPepperNoiser,
    SpeckleNoiser,
    UniformNoiser,
)
from sk_denoise._intensity import IntensityRange, without_alpha
from sk_denoise.noise import BaseNoiser

__all__ = ["KINDS", "Kind", "corrupted"]

BLACK_AND_WHITE = (0.0, 1.0)
PIXELS_AT_ONCE = 2**22  # as floats: a band of rows, so that memory does not grow with the picture
LARGEST_WITH_A_PLACE = 2**24  # pixels: noise on a part of a picture must see the whole


@dataclass(frozen=True)
class Kind:
    """A kind of noise, and the slider that sets it.

    Attributes
    ----------
    label, amount : str
        What it and its amount are called.
    low, high, start, step : float
        Of the slider.
    make : callable
        Returns the noiser of an amount, for pictures in [0, 1].
    by_rows : bool
        Whether the noise of a band of rows does not depend on the others.
    """

    label: str
    amount: str
    low: float
    high: float
    start: float
    step: float
    make: Callable[[float], BaseNoiser]
    by_rows: bool = True


KINDS: dict[str, Kind] = {
    "gaussian": Kind(
        "Gaussian", "Standard deviation, of 255", 1, 128, 25, 1, lambda a: GaussianNoiser(a / 255)
    ),
    "uniform": Kind("Uniform", "Largest error, of 255", 1, 128, 40, 1, lambda a: UniformNoiser(a / 255)),
    "speckle": Kind(
        "Speckle", "Share of the brightness, in %", 1, 100, 20, 1, lambda a: SpeckleNoiser(a / 100)
    ),
    "poisson": Kind(
        "Photon counting (Poisson)",
        "Photons where it is white",
        1,
        200,
        30,
        1,
        lambda a: PoissonNoiser(a, white=1.0),
    ),
    "chain": Kind(
        "Camera (photons, then Gaussian)",
        "Photons where it is white",
        1,
        200,
        60,
        1,
        lambda a: NoiserChain([PoissonNoiser(a, white=1.0), GaussianNoiser(0.02)]),
    ),
    "salt_and_pepper": Kind(
        "Salt and pepper",
        "Values, in %",
        1,
        60,
        5,
        1,
        lambda a: SaltAndPepperNoiser(a / 100, limits=BLACK_AND_WHITE),
    ),
    "masking": Kind("Missing values", "Values, in %", 1, 80, 20, 1, lambda a: MaskingNoiser(a / 100)),
    "pixel": Kind(
        "Single pixels",
        "Pixels, in %",
        1,
        60,
        10,
        1,
        lambda a: PixelNoiser(a / 100, limits=BLACK_AND_WHITE),
    ),
    "region": Kind(
        "Gaussian, on a part of the picture",
        "Standard deviation, of 255",
        1,
        128,
        40,
        1,
        lambda a: RegionNoiser(GaussianNoiser(a / 255)),
        by_rows=False,
    ),
}


def corrupted(
    picture: NDArray[Any],
    intensity: IntensityRange,
    kind: str,
    amount: float,
    seed: int,
    tell: Callable[[int, int], None],
) -> NDArray[Any]:
    """Return a picture with noise, of the same type; alpha stays.

    Parameters
    ----------
    picture : ndarray of shape (height, width) or (height, width, channels)
        Clean.
    intensity : IntensityRange
        Black and white; the answer is clipped to what lies between.
    kind : str
        A name in ``KINDS``.
    amount : float
        As its slider has it.
    seed : int
        Of the noise.
    tell : callable
        Told how many rows are done, and of how many.
    """
    chosen = KINDS[kind]
    height, width = picture.shape[:2]
    if not chosen.by_rows and height * width > LARGEST_WITH_A_PLACE:
        raise ValueError(
            "Noise on a part of a picture takes pictures of up to "
            f"{LARGEST_WITH_A_PLACE / 1e6:.0f} megapixels here, this one has {height * width / 1e6:.0f}. "
            "Take another noise, or a smaller picture."
        )
    step = max(1, PIXELS_AT_ONCE // width) if chosen.by_rows else height
    noisy = picture.copy()
    colors = without_alpha(noisy)
    noiser = chosen.make(amount).fit(np.zeros((1, *colors[:1, :1].shape), np.float32))  # all is given
    generator = torch.Generator().manual_seed(seed)
    for top in range(0, height, step):
        tell(top, height)
        band = colors[top : top + step]
        shown = torch.from_numpy(intensity.to_unit(band).astype(np.float32)[None])
        shown = noiser.corrupt(shown, generator)[0].clamp(0, 1)
        band[...] = intensity.from_unit(shown.numpy(), picture.dtype)
    return noisy
