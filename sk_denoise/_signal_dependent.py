"""Fit of noise that grows with the intensity, from noisy images or signals."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["SignalDependence", "fit_signal_dependence"]

# Height and width of the blocks of images and of signals.
IMAGE_BLOCK, SIGNAL_BLOCK = (8, 8), (1, 16)
# Largest number of pixels to read; more of them do not make the fit better.
MAX_PIXELS = 2**22
# Number of pixels up to which blocks are taken at four positions, which makes the fit of small images better.
FEW_PIXELS = 2**20
# Number of bins of equal occupation, and smallest number of blocks of a bin.
BINS, MIN_BLOCKS = 40, 6
# Smallest width of a bin in deviations of the noise of block means.
MIN_WIDTH = 1.0
# Share of the blocks of a bin, those with the least detail, that start the fit.
FLATTEST = 0.06
# Factor by which their detail may exceed that of pure noise.
MAX_EXCESS = 1.4
# Smallest share of flat blocks of a bin, relative to pure noise, for a point of the line.
MIN_FLAT_SHARE = 0.05
# Share from which a bin counts for the decision between one level and a dependence.
SURE_SHARE = 0.1
# Share of extreme pixels above which a bin is ignored, because clipping removes noise.
MAX_EXTREME_SHARE = 0.007
# Number of constant cells of 2 x 2 pixels from which a block is not flat noise.
MAX_PLAIN = 4
# Factor by which the variance of dark pixels may exceed that of counts without clipping.
COUNTS_EXCESS = 1.25
# Relative deviation from the variance of counts at which integers may still be counts.
COUNT_TOLERANCE = 0.05
# Relative error of the variance of a bin besides that of chance: in general, and from texture.
POINT_ERROR, TEXTURE_ERROR = 0.03, 0.08
# Residual, in deviations, beyond which a point has no weight.
FAR = 4.0
MAX_ITERATIONS = 10
# A dependence is significant if the slope exceeds its error, and the variance grows, by these factors.
MIN_ERRORS, MIN_GROWTH, MIN_POINTS = 4.0, 1.2, 3
# Quantiles of the intensities between which the variance grows.
ENDS = (0.01, 0.995)
# Fields of the statistics of each block.
STATISTICS = ("mean", "energy", "detail", "smallest", "largest")
# Number of values among which the step of counts is searched, and number of smallest values that show it.
SAMPLE, SMALLEST = 2**16, 9


@dataclass(frozen=True)
class SignalDependence:
    """Noise with the variance ``gain * (mean - offset) + read_noise**2``.

    Attributes
    ----------
    gain : float
        Growth of the variance with the mean, the intensity of one photon; 0 for one noise level.
    read_noise : float
        Noise standard deviation at the offset.
    offset : float
        Intensity without light.
    sigma : float
        Root mean square of the noise over the image.
    points : ndarray of shape (n_bins, 3)
        Mean, variance and weight, from 0 to 1, of bins of flat blocks.
    trust : float
        From 0 to 1: share of flat blocks, and agreement of the bins with the model.
    is_significant : bool
        Whether the noise depends on the signal. If not, gain is 0 and ``read_noise`` equals ``sigma``.
    """

    gain: float
    read_noise: float
    offset: float
    sigma: float
    points: NDArray[np.float64]
    trust: float
    is_significant: bool


@dataclass
class _Blocks:
    """Statistics of blocks, and the constants of their kind.

    All Haar coefficients of white noise have its variance, and are uncorrelated. So blocks that are selected
    by their coarse detail, in which texture is strong, have an unbiased energy at the finest scale.

    Attributes
    ----------
    mean, energy, detail, smallest, largest : ndarray of shape (n_blocks,)
        Mean, mean square of the finest diagonal coefficients and of the other fine and middle ones, and
        shares of pixels with the smallest and with the largest value of all.
    origin, step : float
        The smallest value of all, and the step from it to the next ones.
    n_energy, n_detail, size : int
        Numbers of these coefficients, and of the pixels of a block.
    flattest_detail : float
        Mean detail of the share ``FLATTEST`` with the least detail, in pure noise of variance 1.
    flat_share : float
        Share of the blocks with flat detail, in pure noise.
    """

    mean: NDArray[np.float64]
    energy: NDArray[np.float64]
    detail: NDArray[np.float64]
    n_energy: int
    n_detail: int
    size: int
    flattest_detail: float
    flat_share: float
    smallest: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    largest: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    origin: float = 0.0
    step: float = 0.0

    def __len__(self) -> int:
        return len(self.mean)

    def __getitem__(self, index: Any) -> _Blocks:
        return replace(self, **{name: getattr(self, name)[index] for name in STATISTICS})

    @property
    def are_clipped(self) -> bool:
        """Whether clipping removes noise of these blocks, which have about the same mean.

        Dark counts have many pixels at zero as well, but a variance of about one step times the mean.
        """
        mean, energy = float(self.mean.mean()) - self.origin, float(self.energy.mean())
        exceeds_counts = energy > self.step * (COUNTS_EXCESS * mean + self.step / 10)
        is_cut_below = exceeds_counts and self.smallest.mean() > MAX_EXTREME_SHARE
        return bool(is_cut_below or self.largest.mean() > MAX_EXTREME_SHARE)

    def are_flat(self, variance: float) -> NDArray[np.bool_]:
        """Return whether the detail exceeds that of noise by at most one deviation."""
        return self.detail <= variance * (1 + math.sqrt(2 / self.n_detail))


@dataclass(frozen=True)
class _Line:
    """A line of variance against mean, with the errors of slope and intercept.

    ``scatter`` is the deviation of the points from the line in units of their error, at least 1.
    """

    slope: float
    intercept: float
    slope_error: float
    intercept_error: float
    scatter: float

    def variance_at(self, mean: float) -> float:
        """Return the variance at a mean, at least 0."""
        return max(0.0, self.slope * mean + self.intercept)

    def is_close_to(self, other: _Line, points: NDArray[np.float64]) -> bool:
        """Return whether lines agree to a thousandth at both ends of the points."""
        ends = float(points[:, 0].min()), float(points[:, 0].max())
        return all(math.isclose(self.variance_at(x), other.variance_at(x), rel_tol=1e-3) for x in ends)


# Fit ----------------------------------------------------------------------------------------------------


def fit_signal_dependence(
    planes: NDArray[Any] | Sequence[NDArray[Any]],
    mask: NDArray[np.bool_] | Sequence[NDArray[np.bool_]] | None = None,
    *,
    signals: bool = False,
) -> SignalDependence:
    """Fit the noise variance as a line of the intensity, from noisy planes alone.

    Blocks of 8 x 8 pixels are transformed by Haar wavelets. Their noise variance is the energy of the finest
    diagonal coefficients. Blocks with more detail in the other coefficients than the noise explains are left
    out, as are constant and clipped ones. The coefficients of noise are uncorrelated, so this selection does
    not bias the variance: for pure noise the fit needs no correction. The rest is sorted into bins by
    intensity, and a robust line is fitted to the bins, alternating with the selection.

    Gain and intercept alone follow from the line: an offset raises the intercept as read noise does. The
    offset is 0 unless the intercept lies below 0 by more than twice its error. Then the read noise is 0,
    and the offset is the intensity at which the variance vanishes.

    Parameters
    ----------
    planes : ndarray of shape (height, width) or (n_planes, height, width), or sequence of planes
        Images of one source, in any unit, without NaN where the mask is True.
    mask : ndarray of bool, optional
        Valid pixels: one mask for all planes, or one for each.
    signals : bool, default=False
        Whether each row is a signal. Then blocks are 16 neighbours of a row.

    Returns
    -------
    SignalDependence
        With ``trust=0`` and an upper bound for ``sigma`` if no part is flat or the noise is not white.

    References
    ----------
    A. Foi, M. Trimeche, V. Katkovnik and K. Egiazarian, "Practical Poissonian-Gaussian noise modeling and
    fitting for single-image raw-data", IEEE Transactions on Image Processing 17 (2008).
    """
    stack, masks = _as_lists(planes, mask)
    parts = list(_usable_blocks(stack, masks, SIGNAL_BLOCK if signals else IMAGE_BLOCK))
    if not sum(map(len, parts)):
        return _level(0.0, trust=0.0)
    return _fit_blocks(_join(parts))


def _as_lists(
    planes: NDArray[Any] | Sequence[NDArray[Any]], mask: Any
) -> tuple[list[NDArray[Any]], list[NDArray[np.bool_] | None]]:
    is_one = isinstance(planes, np.ndarray) and planes.ndim == 2
    stack: list[NDArray[Any]] = [planes] if is_one else list(planes)  # type: ignore[list-item]
    is_shared = mask is None or np.ndim(mask) == 2
    return stack, [mask] * len(stack) if is_shared else list(mask)


def _fit_blocks(blocks: _Blocks) -> SignalDependence:
    ordered = blocks[np.argsort(blocks.mean, kind="stable")]
    bins = _split_into_bins(ordered)
    starts = np.array([_start_point(blocks_of_bin) for blocks_of_bin in bins])
    starts = starts[~np.isnan(starts[:, 0])]
    if not len(starts):
        return _level(float(ordered.energy.mean()), trust=0.0)
    is_white = starts[:, 4] <= MAX_EXCESS * blocks.flattest_detail * starts[:, 1]
    # Texture, or correlated noise, is everywhere: the energy at the finest scale is a bound, not the noise.
    if not is_white.any():
        return _level(float(starts[:, 1].min()), trust=0.0)
    points = starts[is_white, :4]
    line = _fit_robust_line(points, blocks.n_energy)
    for _ in range(MAX_ITERATIONS):
        flat_points = [point for b in bins if (point := _flat_point(b, line)) is not None]
        if not flat_points:
            break
        points, previous = np.array(flat_points), line
        line = _fit_robust_line(points, blocks.n_energy)
        if line.is_close_to(previous, points):
            break
    return _decide(ordered, points, line)


def _split_into_bins(ordered: _Blocks) -> list[_Blocks]:
    """Return blocks in bins that are wider than the noise of their means.

    Narrower bins would sort blocks by noise, which flattens the line.
    """
    bins, start = [], 0
    edges = _bin_edges(len(ordered))
    for end in edges[1:]:
        width = ordered.mean[end - 1] - ordered.mean[start]
        error = math.sqrt(float(np.median(ordered.energy[start:end])) / ordered.size)
        if width >= MIN_WIDTH * error or end == edges[-1]:
            bins.append(ordered[start:end])
            start = end
    return bins


def _bin_edges(n_blocks: int) -> NDArray[np.intp]:
    """Return the edges of bins of blocks in the order of their means."""
    n_bins = max(1, min(BINS, n_blocks // MIN_BLOCKS))
    shares = [i / n_bins for i in range(n_bins + 1)]
    # Bins become narrower towards the end: few pixels of a dark image are bright, and they show the slope.
    share = 1 / (2 * n_bins)
    while share * n_blocks >= 2 * MIN_BLOCKS:
        shares.append(1 - share)
        share /= 2
    return np.unique((np.sort(shares) * n_blocks).astype(np.intp))


def _start_point(blocks: _Blocks) -> tuple[float, float, float, float, float]:
    """Return the point of the flattest blocks of a bin, and their detail.

    A point is mean, energy, number of blocks, and share of flat ones, which is assumed here.
    """
    n = min(len(blocks), max(MIN_BLOCKS, int(FLATTEST * len(blocks))))
    flattest = blocks[np.argpartition(blocks.detail, n - 1)[:n]]
    if flattest.are_clipped:
        return (math.nan,) * 5
    mean, energy, detail = (float(x.mean()) for x in (flattest.mean, flattest.energy, flattest.detail))
    return mean, energy, n, SURE_SHARE, detail


def _flat_point(blocks: _Blocks, line: _Line) -> tuple[float, float, float, float] | None:
    """Return the point of the flat blocks of a bin, or None if they are few.

    A point is mean, energy, number of blocks, and share of flat ones relative to pure noise.
    """
    flat = blocks[blocks.are_flat(line.variance_at(float(blocks.mean.mean())))]
    share = len(flat) / len(blocks) / blocks.flat_share
    if len(flat) < MIN_BLOCKS or share < MIN_FLAT_SHARE or flat.are_clipped:
        return None
    return float(flat.mean.mean()), float(flat.energy.mean()), len(flat), min(1.0, share)


def _fit_robust_line(points: NDArray[np.float64], n_energy: int) -> _Line:
    """Fit a line to the points of bins by reweighted least squares."""
    mean, variance, number, share = points.T
    # Chance, and texture that passes for noise: the fewer blocks of a bin are flat, the more.
    relative = np.sqrt(
        2 / (n_energy * number) + POINT_ERROR**2 + np.square(TEXTURE_ERROR * (1 - share) / share)
    )
    middle = float(np.median(variance))
    center = float(mean.mean())
    slope, at_center, weight = 0.0, middle, np.ones(len(mean))
    spread, error, scatter = 0.0, relative * middle, 1.0
    for round_ in range(20):
        model = slope * (mean - center) + at_center
        # The line may reach 0 where the mean does.
        error = relative * np.maximum(model, max(0.02 * middle, 1e-300))
        residual = (variance - model) / error
        if round_:
            scale = max(1.0, 1.4826 * float(np.median(np.abs(residual))))
            weight = np.square(np.maximum(1 - np.square(residual / (FAR * scale)), 0))
        # Sums of normalised weights, so that tiny and huge units do not overflow.
        precision = weight / np.square(error / middle)
        if not precision.sum():
            break
        center = float(np.average(mean, weights=precision))
        at_center = float(np.average(variance, weights=precision))
        spread = float(np.sum(precision * np.square(mean - center)))
        if spread <= 1e-18 * center**2 * precision.sum():
            return _Line(0.0, at_center, math.inf, math.inf, scatter)
        slope = float(np.sum(precision * (mean - center) * (variance - at_center))) / spread
    residual = (variance - slope * (mean - center) - at_center) / error
    freedom = max(1.0, float(weight.sum()) - 2)
    scatter = math.sqrt(max(1.0, float(np.sum(weight * np.square(residual))) / freedom))
    slope_error = scatter * middle / math.sqrt(spread) if spread else math.inf
    total = float(precision.sum())
    center_error = scatter * middle / math.sqrt(total) if total else math.inf
    intercept_error = math.hypot(center_error, center * slope_error)
    return _Line(slope, at_center - slope * center, slope_error, intercept_error, scatter)


def _decide(blocks: _Blocks, points: NDArray[np.float64], line: _Line) -> SignalDependence:
    """Return the line if it is significant, else one level."""
    mean, variance, number, share = points.T
    low, high = (float(x) for x in np.quantile(blocks.mean, ENDS))
    is_significant = (
        np.count_nonzero(share >= SURE_SHARE) >= MIN_POINTS
        and line.slope >= MIN_ERRORS * line.slope_error
        and line.variance_at(high) >= MIN_GROWTH * line.variance_at(low)
    )
    if not is_significant and _are_counts(blocks, points):
        line, is_significant = _Line(blocks.step, 0.0, 0.0, 0.0, line.scatter), True
    # The bins of a line that fits well scatter by their errors alone.
    trust = min(1.0, 2 * float(np.average(share, weights=number))) / line.scatter
    drawn = np.column_stack((mean, variance, share))
    if not is_significant:
        return _level(_flattest_variance(points), trust, drawn)
    gain, intercept = line.slope, line.intercept
    # Read noise raises the line, an offset lowers it: only the sum shows.
    read_noise, offset = math.sqrt(max(0.0, intercept)), 0.0
    if intercept < -2 * line.intercept_error:
        offset = -intercept / gain
    variances = np.maximum(gain * (blocks.mean - offset) + read_noise**2, 0)
    return SignalDependence(
        gain, read_noise, offset, math.sqrt(float(variances.mean())), drawn, trust, is_significant=True
    )


def _are_counts(blocks: _Blocks, points: NDArray[np.float64]) -> bool:
    """Return whether the points have the variance of counts, step times mean.

    Photos full of texture have a flat part or two, too few for a line.
    """
    mean, variance, number, _ = points.T
    error = COUNT_TOLERANCE + 2 * np.sqrt(2 / (blocks.n_energy * number))
    grows = variance.max() >= MIN_GROWTH * variance.min()
    return bool(grows and (np.abs(variance - blocks.step * mean) <= error * variance).all())


def _level(variance: float, trust: float, points: NDArray[np.float64] | None = None) -> SignalDependence:
    """Return noise of one level."""
    sigma = math.sqrt(variance)
    drawn = np.zeros((0, 3)) if points is None else points
    return SignalDependence(0.0, sigma, 0.0, sigma, drawn, trust, is_significant=False)


def _flattest_variance(points: NDArray[np.float64]) -> float:
    """Return the median variance, weighted by the share of flat blocks."""
    # Texture adds to the variance, and bins with many flat blocks have little of it.
    ordered = points[np.argsort(points[:, 1])]
    weights = np.cumsum(ordered[:, 2] * np.square(ordered[:, 3]))
    return float(ordered[np.searchsorted(weights, weights[-1] / 2), 1])


# Blocks -------------------------------------------------------------------------------------------------


def _usable_blocks(
    planes: list[NDArray[Any]], masks: list[NDArray[np.bool_] | None], block: tuple[int, int]
) -> Iterator[_Blocks]:
    """Yield the statistics of blocks that are neither constant nor clipped nor masked."""
    low, high, step = _extremes(planes, masks)
    size = block[0] * block[1]
    for plane, mask in zip(planes, masks, strict=True):
        for rows in _views(plane.shape, block, MAX_PIXELS // len(planes)):
            part = plane[rows]
            # Distances from the smallest value keep the digits of numbers on a large offset.
            blocks = _block_statistics(part.astype(np.float64) - low, block)
            usable = (blocks.energy + blocks.detail > 0) & np.isfinite(blocks.detail)
            if mask is not None:
                usable &= _block_sums(mask[rows], block).ravel() == size
            smallest, largest = (_block_sums(part == end, block).ravel() / size for end in (low, high))
            yield replace(
                blocks, mean=blocks.mean + low, smallest=smallest, largest=largest, origin=low, step=step
            )[usable]


def _extremes(
    planes: list[NDArray[Any]], masks: list[NDArray[np.bool_] | None]
) -> tuple[float, float, float]:
    """Return smallest and largest value, and the step between the smallest ones."""
    lows, highs, samples = [], [], []
    for plane, mask in zip(planes, masks, strict=True):
        values = plane.reshape(-1) if mask is None else plane[mask]
        if values.size:
            lows.append(float(values.min()))
            highs.append(float(values.max()))
            samples.append(values[:: max(1, values.size * len(planes) // SAMPLE)])
    if not samples:
        return 0.0, 0.0, 0.0
    steps = np.diff(np.unique(np.concatenate(samples))[:SMALLEST].astype(np.float64))
    return min(lows), max(highs), float(np.median(steps)) if len(steps) else 0.0


def _views(shape: tuple[int, ...], block: tuple[int, int], max_pixels: int) -> Iterator[tuple[slice, slice]]:
    """Yield slices of a plane that hold whole blocks, from all over a large plane."""
    height, width = shape
    bands = [(0, height)]
    if height * width > max_pixels:
        side = 8 * block[0]
        tops = np.linspace(0, height - side, max(1, min(height // side, max_pixels // (side * width))))
        bands = [(int(top), int(top) + side) for top in tops]
    shifts = [(0, 0), (0, 1), (1, 0), (1, 1)] if height * width <= FEW_PIXELS else [(0, 0)]
    for (top, bottom), (down, right) in itertools.product(bands, shifts):
        # Rows of signals are independent of each other.
        first = (top + min(down, block[0] - 1), right)
        rows = (bottom - first[0]) // block[0] * block[0]
        columns = (width - first[1]) // block[1] * block[1]
        if rows > 0 and columns > 0 and down < block[0]:
            yield slice(first[0], first[0] + rows), slice(first[1], first[1] + columns)


def _block_statistics(values: NDArray[np.float64], block: tuple[int, int]) -> _Blocks:
    if block == SIGNAL_BLOCK:
        return _signal_statistics(values.reshape(-1, block[1]))
    smooth, *coarse, finest = _haar(values)
    coarsest, *middle = _haar(smooth)
    fine = np.sum(np.square(coarse), axis=0)
    # Part of a plain frame or fill has less noise; dark counts are constant at the smallest value alone.
    is_plain = (fine == 0) & (finest == 0) & (smooth != 0)
    detail = _block_sums(fine, (4, 4)) + _block_sums(np.sum(np.square(middle), axis=0), (2, 2))
    detail[_block_sums(is_plain, (4, 4)) >= MAX_PLAIN] = np.inf
    return _Blocks(
        mean=_block_sums(coarsest, (2, 2)).ravel() / 16,
        energy=_block_sums(np.square(finest), (4, 4)).ravel() / 16,
        detail=detail.ravel() / 44,
        n_energy=16,
        n_detail=44,
        size=64,
        flattest_detail=0.625,
        flat_share=0.843,
    )


def _haar(x: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Return smooth, horizontal, vertical and diagonal Haar coefficients."""
    sums, differences = x[0::2] + x[1::2], x[0::2] - x[1::2]
    return (
        (sums[:, 0::2] + sums[:, 1::2]) / 2,
        (sums[:, 0::2] - sums[:, 1::2]) / 2,
        (differences[:, 0::2] + differences[:, 1::2]) / 2,
        (differences[:, 0::2] - differences[:, 1::2]) / 2,
    )


def _signal_statistics(pieces: NDArray[np.float64]) -> _Blocks:
    """Return the statistics of pieces (n, 16) of signals."""
    pairs, finest = pieces[:, 0::2] + pieces[:, 1::2], pieces[:, 0::2] - pieces[:, 1::2]
    fours, middle = pairs[:, 0::2] + pairs[:, 1::2], pairs[:, 0::2] - pairs[:, 1::2]
    coarse = fours[:, 0::2] - fours[:, 1::2]
    return _Blocks(
        mean=fours.sum(axis=1) / 16,
        energy=np.square(finest).sum(axis=1) / 16,
        detail=(np.square(middle).sum(axis=1) / 4 + np.square(coarse).sum(axis=1) / 8) / 6,
        n_energy=8,
        n_detail=6,
        size=16,
        flattest_detail=0.21,
        flat_share=0.851,
    )


def _block_sums(values: NDArray[Any], block: tuple[int, int]) -> NDArray[Any]:
    height, width = block
    shape = (values.shape[0] // height, height, values.shape[1] // width, width)
    sums: NDArray[Any] = values.reshape(shape).sum(axis=(1, 3))
    return sums


def _join(parts: list[_Blocks]) -> _Blocks:
    joined: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts]) for name in STATISTICS
    }
    return replace(parts[0], **joined)
