"""Classical filters by name, as functions of one picture, for pictures of any size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from sk_denoise.cli._console import require

__all__ = ["FILTERS", "Filter", "filter_called"]

BLOCK, STEP = 8, 2  # pixels of the Wiener filter's patches, and between them
EXAMPLES = 2_000  # patches of each photo that it learns from

PictureFilter = Callable[[Any], Any]


@dataclass(frozen=True)
class Filter:
    """A filter that needs no training.

    Attributes
    ----------
    denoiser : str
        The class in :mod:`sk_denoise`.
    needs : str or None
        The package that it is of no use without.
    extra : str
        What installs that package.
    remark : str
        What whoever uses it should know.
    least : int
        The smallest side of a picture in pixels.
    """

    denoiser: str
    needs: str | None = None
    extra: str = ""
    remark: str = ""
    least: int = 1


FILTERS: dict[str, Filter] = {
    "non_local_means": Filter("NonLocalMeansDenoiser"),
    "total_variation": Filter("TotalVariationDenoiser"),
    "wavelet": Filter("WaveletDenoiser", needs="pywt", extra="wavelets"),
    "bilateral": Filter("BilateralDenoiser"),
    "median": Filter("MedianDenoiser"),
    "wiener": Filter(
        "WienerDenoiser",
        remark=f"wiener learns from {BLOCK} x {BLOCK} patches of scikit-image's photos, not from the folder.",
        least=BLOCK,
    ),
    "bm3d": Filter(
        "BM3DDenoiser", needs="bm3d", extra="bm3d", remark="bm3d: its licence allows NON-COMMERCIAL use only."
    ),
}


def filter_called(name: str) -> PictureFilter:
    """Return a filter as a function of one picture, or say what it lacks."""
    import sk_denoise

    chosen = FILTERS[name]
    if chosen.needs is not None:
        require(chosen.extra, name)
    if name == "wiener":
        return _wiener
    return partial(_by_itself, getattr(sk_denoise, chosen.denoiser)())


def _by_itself(denoiser: Any, picture: Any) -> Any:
    """Return a picture denoised by a filter, which a fit tells no more than the layout."""
    return denoiser.fit(picture[None]).predict(picture[None])[0]


def _wiener(picture: Any) -> Any:
    """Return a picture denoised patch by patch, each channel by itself, with the noise estimated once."""
    import numpy as np

    from sk_denoise import WienerDenoiser
    from sk_denoise.datasets import extract_patches, join_patches
    from sk_denoise.restoration import estimate_sigma

    sigma = estimate_sigma(picture)
    if sigma == 0:
        return picture
    denoiser = WienerDenoiser(sigma=sigma).fit(_patches_of_photos())
    channels = np.moveaxis(np.atleast_3d(picture), -1, 0)
    answers = []
    for channel in channels:
        patches = extract_patches(channel[None], BLOCK, stride=STEP)
        answers.append(join_patches(denoiser.predict(patches), channel.shape, stride=STEP))
    return np.stack(answers, axis=-1).reshape(picture.shape)


@cache
def _patches_of_photos() -> Any:
    from sk_denoise.datasets import extract_patches, load_pictures

    return extract_patches(load_pictures("gray").train, BLOCK, n_per_picture=EXAMPLES, random_state=0)
