"""How near an image is to its clean one, in bands of rows, so that memory does not grow with the image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from sk_denoise.metrics import mse, psnr_of_mse, ssim

__all__ = ["psnr_of_image", "ssim_of_image"]

Image = NDArray[Any]
Tell = Callable[[int, int], None]  # how many rows are done, and of how many

PIXELS_AT_ONCE = 2**20
MARGIN = 5  # rows at each end that the window of SSIM leaves out of the mean


def psnr_of_image(clean: Image, other: Image, data_range: float, tell: Tell) -> float:
    """Return the PSNR in dB, which is that of the whole image."""

    def error(rows: slice) -> float:
        return mse(clean[rows][None], other[rows][None])

    return float(psnr_of_mse(_mean_over_bands(error, clean, 0, tell), data_range))


def ssim_of_image(clean: Image, other: Image, data_range: float, tell: Tell) -> float | None:
    """Return the structural similarity, which is that of the whole image; None where it is too small."""
    if min(clean.shape[:2]) <= 2 * MARGIN:
        return None

    def similarity(rows: slice) -> float:
        return ssim(clean[rows][None], other[rows][None], data_range=data_range)

    return _mean_over_bands(similarity, clean, MARGIN, tell)


def _mean_over_bands(value: Callable[[slice], float], image: Image, margin: int, tell: Tell) -> float:
    """Return the mean of a value over bands of rows, which reach ``margin`` rows into their neighbours."""
    height, width = image.shape[:2]
    inner = height - 2 * margin
    step = max(1, PIXELS_AT_ONCE // width)
    total = 0.0
    for top in range(0, inner, step):
        tell(top, inner)
        bottom = min(top + step, inner)
        total += value(slice(top, bottom + 2 * margin)) * (bottom - top)
    return float(total / inner)
