"""Recognition of noise in samples that count as clean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_denoise._intensity import IntensityRange
from sk_denoise._noise_level import estimate_scale_levels
from sk_denoise._row_noise import find_signal_noise
from sk_denoise._validation import warn_user
from sk_denoise.exceptions import CleanTargetWarning

__all__ = ["find_noise_in_images", "find_noise_in_rows", "warn_of_noisy_targets"]

# Smallest level that causes a warning, as a share of the used range (6 of 255) and of the whole range. The
# grain of film has 1 or 2 of 255. On 1,704 clean photos, none has a level and a ratio in these limits; with
# noise of 15 of 255, 99.7 % have.
MIN_SHARE, MIN_SHARE_OF_RANGE = 6 / 255, 2.5 / 255
# Ratio of the levels at two pixels and at one between which noise is white. Texture has more at two pixels,
# and dithered images have less.
RATIOS = (0.7, 1.35)
# The same for signals. Measured signals that count as clean have 1 or 2 % of noise.
MIN_SHARE_OF_SIGNALS = 0.04
# Side in pixels of the squares whose means show an image below the noise, and their standard deviation in
# that of means of noise. Arrays that were drawn at random for a test hold no image.
SQUARE, MIN_STRUCTURE = 8, 2.0
# Quantile of the levels of images. Images with less texture show the noise better.
FLATTEST = 0.1
# Images that are read, and pixels from which they show noise.
MAX_IMAGES, MIN_PIXELS = 64, 2**13
# Sides in pixels of the images that are read, and of their middle part. Smaller ones, such as digits, have
# strokes everywhere.
MIN_SIDE, MAX_SIDE = 16, 512
# Pixels in all, so that a fit does not wait.
MAX_PIXELS = 2**20
PAGE = '"No clean data" in the user guide, docs/how_to/no_clean_data.md'


@dataclass(frozen=True)
class _Remedy:
    """Ways to learn from noisy data, or to silence the warning, by argument."""

    learning: str
    silence: str

    @classmethod
    def of(cls, source: str) -> _Remedy:
        if source in ("X_clean", "y"):
            return cls(
                "If it is a second noisy measurement, pass it as X_second=.",
                "If it is as clean as it can be, ignore this CleanTargetWarning by warnings.filterwarnings.",
            )
        return cls(
            'To learn from noisy data alone, pass an objective such as "neighbours" or "recorrupt".',
            "If they are as clean as they can be, say so by fit(X, X).",
        )


def warn_of_noisy_targets(targets: NDArray[Any], intensity: IntensityRange, source: str) -> None:
    """Warn if samples that count as clean seem to hold noise.

    Parameters
    ----------
    targets : ndarray of shape (n, n_features), (n, height, width) or (n, height, width, channels)
        Samples that count as clean. Rows are checked if neighbouring entries belong together, as in signals.
        In a table, noise looks like values.
    intensity : IntensityRange
        Range of the samples.
    source : {"X_clean", "y", "noiser", "X"}
        Argument of ``fit`` that holds the samples.
    """
    if targets.ndim == 2:
        level = find_noise_in_rows(targets)
    elif targets.shape[1] == 1:
        # Signals with channels
        level = find_noise_in_rows(_channels_first(targets).reshape(-1, targets.shape[2]))
    else:
        level = find_noise_in_images(targets, intensity)
    if level is None:
        return
    name = source if source in ("X_clean", "y") else "X"
    remedy = _Remedy.of(source)
    warn_user(
        f"{name} counts as clean, and seems to hold noise with a standard deviation of about {level:.3g}, "
        f"{100 * level / intensity.span:.0f} % of its range. The network would learn this noise with the "
        f"rest. {remedy.learning} See {PAGE}. {remedy.silence}",
        CleanTargetWarning,
    )


def find_noise_in_rows(rows: NDArray[Any]) -> float | None:
    """Return the level of visible white noise in signals, or None.

    Parameters
    ----------
    rows : ndarray of shape (n, length)
        Signals or rows of a table.
    """
    level = find_signal_noise(rows)
    if level is None:
        return None
    low, high = np.quantile(rows[:: max(1, rows.size // MAX_PIXELS)], (0.001, 0.999)).tolist()
    return level if level > MIN_SHARE_OF_SIGNALS * (high - low) else None


def find_noise_in_images(images: NDArray[Any], intensity: IntensityRange) -> float | None:
    """Return the level of visible white noise in images, or None.

    Texture and noise that is correlated between neighbours look alike, so that neither counts.

    Parameters
    ----------
    images : ndarray of shape (n, height, width) or (n, height, width, channels)
        Images in any unit.
    intensity : IntensityRange
        Range of the images.
    """
    if min(images.shape[1:3]) < MIN_SIDE:
        return None
    height, width = (min(side, MAX_SIDE) for side in images.shape[1:3])
    n = int(np.clip(MAX_PIXELS // (height * width), 1, MAX_IMAGES))
    chosen = images[np.unique(np.linspace(0, len(images) - 1, n).astype(int))]
    top, left = (images.shape[1] - height) // 2, (images.shape[2] - width) // 2
    chosen = chosen[:, top : top + height, left : left + width].astype(np.float64)
    if len(chosen) * height * width < MIN_PIXELS:
        return None
    planes = _channels_first(chosen)
    levels = np.array([estimate_scale_levels(image, scales=(1, 2)).mean(axis=0) for image in planes])
    fine, coarse = np.quantile(levels, FLATTEST, axis=0).tolist()
    # Dithered images and drawings in black and white
    if len(np.unique(chosen[0])) <= 2:
        return None
    low, high = np.quantile(chosen, (0.001, 0.999)).tolist()
    min_level = max(MIN_SHARE * min(high - low, intensity.span), MIN_SHARE_OF_RANGE * intensity.span)
    if fine < min_level or not RATIOS[0] < coarse / fine < RATIOS[1]:
        return None
    squares = planes[..., : height // SQUARE * SQUARE, : width // SQUARE * SQUARE]
    squares = squares.reshape(*planes.shape[:2], height // SQUARE, SQUARE, width // SQUARE, SQUARE)
    structure = SQUARE * float(squares.mean(axis=(3, 5)).std(axis=(0, 2, 3)).mean())
    return fine if structure > MIN_STRUCTURE * fine else None


def _channels_first(images: NDArray[Any]) -> NDArray[Any]:
    return images[:, None] if images.ndim == 3 else np.moveaxis(images, 3, 1)
