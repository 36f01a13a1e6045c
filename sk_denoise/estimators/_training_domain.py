"""Intensity range and noise of training images, and images in other units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from sk_denoise._intensity import DEVIATIONS, SLACK, UNIT, UNKNOWN_NOISE, IntensityRange, robust_extrema
from sk_denoise._noise_level import estimate_noise_level, estimate_noise_levels, estimate_scale_levels
from sk_denoise._row_noise import find_signal_noise
from sk_denoise._validation import Noiser, refuse_masked, warn_user
from sk_denoise.exceptions import CleanTargetWarning

__all__ = [
    "TrainingDomain",
    "find_noise_in_images",
    "find_noise_in_rows",
    "limit_levels",
    "may_share_unit",
    "measure_overshoot",
    "refuse_other_unit",
    "resolve_levels",
    "warn_of_noisy_targets",
    "warn_of_tiny_sigma",
]

# Noisy patches, on black and on white, that show how far noise overshoots.
DRAWS = 16
# Ratio of brightness up to which two batches may come from one sensor: the darker one may use two bits less.
ONE_DEPTH = 4.5
# An estimate this many times the given level cannot be an error of estimation.
TINY = 4.0
# Slack of the highest level of the training, since levels of patches and estimates vary.
LEVEL_SLACK = 1.05


@dataclass(frozen=True)
class TrainingDomain:
    """Intensity range and noise of the training images of a fit.

    Attributes
    ----------
    intensity : IntensityRange
        Black and white of the images of the fit.
    overshoot : float
        Overshoot of the noise beyond black and white, as a share of the range.
    max_sigma : float
        Highest noise level, as a share of the range.
    """

    intensity: IntensityRange
    overshoot: float
    max_sigma: float

    def image_range(self, image: NDArray[Any], sigma: float | None = None) -> IntensityRange:
        """Return the intensity range of an image: that of the fit if its values lie in it.

        Floats around [0, 1] have the range [0, 1] after every fit, and integers never have it.
        """
        default = IntensityRange.of(image, sigma)
        is_integer = image.dtype.kind in "iu"
        # The type of 8-bit images determines their range, and so do floats around [0, 1].
        if default == self.intensity or image.dtype.itemsize == 1 or default == UNIT:
            return default
        if is_integer and self.intensity == UNIT:
            return default
        low, high = robust_extrema(image)
        slack = self.overshoot * self.intensity.span
        fits = low >= self.intensity.black - slack and high <= self.intensity.white + slack
        return self.intensity if fits else default

    def prediction_range(self, image: NDArray[Any], sigma: float | None) -> IntensityRange:
        """Return the range that stands for that of the fit in prediction.

        An image that uses a small part of its range is stretched to it, unless its noise would then exceed
        that of the training: a dark image of the sensor of the training images stays as it is.

        Parameters
        ----------
        image : ndarray
            Image without alpha.
        sigma : float or None
            Highest noise level of the image, in its unit; None estimates it.
        """
        full_range = self.image_range(image, sigma)
        overshoot = self.overshoot if sigma is None else SLACK + DEVIATIONS * sigma / full_range.span
        used_range = full_range.adapt_to(image, overshoot)
        if used_range.span >= full_range.span:
            return used_range
        if sigma is None:
            sigma = estimate_noise_level(np.moveaxis(image, -1, 0))
        # The smallest span in which the noise is within that of the training.
        min_span = sigma / self.max_sigma if self.max_sigma else full_range.span
        return full_range if min_span >= full_range.span else used_range.with_min_span(min_span)


def measure_overshoot(noiser: Noiser | None, shape: tuple[int, ...], intensity: IntensityRange) -> float:
    """Return the overshoot of noise beyond black and white, as a share of the range."""
    if noiser is None:
        return UNKNOWN_NOISE
    # Noise may depend on the intensity, so that both ends are corrupted.
    flat = [torch.full((DRAWS, *shape), value) for value in (intensity.black, intensity.white)]
    noisy = intensity.to_unit(noiser.corrupt(torch.cat(flat), torch.Generator().manual_seed(0)).numpy())
    return max(UNKNOWN_NOISE, -float(noisy.min()), float(noisy.max()) - 1)


def may_share_unit(first: IntensityRange | None, second: IntensityRange | None) -> bool:
    """Return whether images of two ranges may be in one unit; unknown ranges may."""
    if first is None or second is None or first == second:
        return True
    # Shares of [0, 1] and grey levels are never one unit.
    if UNIT in (first, second):
        return False
    return max(first.white, second.white) <= ONE_DEPTH * min(first.white, second.white)


def resolve_levels(sigma: ArrayLike | None, images: NDArray[Any]) -> NDArray[Any]:
    """Return the noise levels of a stack, in its unit.

    Parameters
    ----------
    sigma : float, array-like or None
        Noise levels of the user; None estimates one for each image.
    images : ndarray of shape (n, height, width, channels)
        Noisy images.

    Returns
    -------
    ndarray of shape (n,) or (n, height, width)
        A level for each image, or for each pixel.
    """
    if sigma is None:
        return estimate_noise_levels(images)
    refuse_masked(sigma, "sigma")
    n, height, width = images.shape[:3]
    levels = np.asarray(sigma)
    is_number = levels.dtype.kind in "iuf"
    if levels.shape == (height, width) and n == 1:
        levels = levels[None]
    fits = levels.shape in ((), (n,), (n, height, width))
    if not is_number or not fits or not np.isfinite(levels).all() or (levels < 0).any():
        raise ValueError(
            f"sigma must be finite and at least 0: a number, a number for each of {n} images, maps of shape "
            f"({n}, {height}, {width}), or None to estimate it. Got "
            + (repr(sigma) if np.ndim(sigma) == 0 else f"shape {levels.shape}, {levels.dtype}.")
        )
    levels = levels.astype(np.float64)
    return np.broadcast_to(levels, (n,)) if levels.ndim == 0 else levels


def warn_of_tiny_sigma(sigma: float, images: NDArray[Any], name: str) -> None:
    """Warn of a sigma that looks like a share of [0, 1] for images in grey levels."""
    if not 0 < sigma < 1:
        return
    white = IntensityRange.of(images).white
    if white <= UNIT.white:
        return
    estimate = float(estimate_noise_levels(images).mean())
    if estimate > TINY * sigma and estimate > 1:
        warn_user(
            f"sigma is {sigma:g}, less than one grey level of {name}, whose white is {white:g} and whose "
            f"noise is estimated at {estimate:.3g}. sigma is in the unit of {name}: if you mean a share of "
            f"the range, pass sigma={sigma * white:g}."
        )


def limit_levels(levels: NDArray[Any], max_sigma: float, *, is_given: bool, name: str = "X") -> NDArray[Any]:
    """Limit noise levels to those of the training; warn of higher levels.

    Higher levels that the user gave are refused.
    """
    highest = float(levels.max(initial=0))
    if highest > LEVEL_SLACK * max_sigma:
        if is_given:
            raise ValueError(
                f"sigma reaches {highest:.4g}, and the network was trained on noise up to {max_sigma:.4g}. "
                f"sigma is in the unit of {name}: for floats a share of their range, for integers grey "
                "levels."
            )
        warn_user(
            f"The noise of {name} is estimated at {highest:.3g}, and the network was trained on noise up to "
            f"{max_sigma:.3g}: some of it will remain.",
        )
    limited: NDArray[Any] = np.minimum(levels, max_sigma)
    return limited


def refuse_other_unit(
    first: IntensityRange | None, second: IntensityRange | None, first_name: str, second_name: str
) -> None:
    """Refuse two sets of images in different units, if both units are known."""
    if first is not None and second is not None and not may_share_unit(first, second):
        raise ValueError(
            f"White is {first.white:g} in {first_name}, and {second.white:g} in {second_name}: give both in "
            "one unit, as files, or as arrays of one type."
        )


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
