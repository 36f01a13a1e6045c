"""Refinement of a variance-stabilising transform by a denoiser for white noise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["apply_spline", "learn_spline"]

# Number of knots, equally spaced over the stabilised values apart from a thousandth at either end.
N_KNOTS, OUTLIERS = 33, 0.001
# Number and largest side of the patches of a step, and stride of the grid of hidden pixels.
N_PATCHES, SIDE, STRIDE = 4, 64, 4
LEARNING_RATE = 0.01
# Number of batches on which the spline is compared with the identity.
N_TESTS = 8
# Number of points between which the inverse transform is interpolated.
N_TABLE = 2049

# Draws of patches: stabilised values and data, (n, height, width), and mask of the hidden pixels.
_Batch = tuple[Tensor, Tensor, Tensor]


def apply_spline(values: NDArray[Any], knots: NDArray[np.float64], *, inverse: bool = False) -> NDArray[Any]:
    """Apply an increasing piecewise linear function, which continues at its ends.

    Parameters
    ----------
    values : ndarray of float
        Arguments of any shape.
    knots : ndarray of shape (2, n_knots)
        Arguments and values of the function, both increasing.
    inverse : bool, default=False
        Whether to apply the inverse function.

    Returns
    -------
    ndarray of the shape and type of values
    """
    x, y = knots[::-1] if inverse else knots
    result: NDArray[Any] = np.interp(values, x, y)
    low, high = (y[1] - y[0]) / (x[1] - x[0]), (y[-1] - y[-2]) / (x[-1] - x[-2])
    result += np.minimum(values - x[0], 0) * low + np.maximum(values - x[-1], 0) * high
    return result.astype(values.dtype, copy=False)


def learn_spline(
    images: NDArray[Any],
    stabilized: NDArray[Any],
    inverse: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    denoiser: Any,
    n_steps: int,
    generator: torch.Generator,
) -> NDArray[np.float64]:
    """Learn a spline by which a denoiser predicts hidden pixels best.

    In patches every 16th pixel is replaced by the mean of its 4 neighbours. The patch is transformed,
    denoised at level 1 and transformed back. The error at the replaced pixels is lowest if the noise is as
    the denoiser expects it, since noise that is independent between pixels cannot be predicted.

    Parameters
    ----------
    images : ndarray of shape (n, height, width)
        Noisy images.
    stabilized : ndarray of shape (n, height, width)
        Their stabilised values, from which the spline starts as the identity.
    inverse : callable
        Inverse of the first transform.
    denoiser : ImageDenoiser
        Fitted denoiser of gray images with a noise-level map. It does not change.
    n_steps : int
        Number of steps.
    generator : torch.Generator
        Source of patches.

    Returns
    -------
    ndarray of shape (2, n_knots)
        Knots of the spline, or of the identity if that predicts hidden pixels better.

    References
    ----------
    S. Herbreteau and M. Unser, "Self-calibrated variance-stabilizing transformations for real-world image
    denoising", ICCV (2025).
    """
    low, high = (float(x) for x in np.quantile(stabilized, (OUTLIERS, 1 - OUTLIERS)))
    knots = np.linspace(low, max(high, low + 1), N_KNOTS)
    table = np.linspace(float(stabilized.min()) - 3, float(stabilized.max()) + 3, N_TABLE)
    model = _Calibration(denoiser, knots, np.stack((table, inverse(table))), float(np.std(images)))
    data = torch.from_numpy(stabilized.astype(np.float32)), torch.from_numpy(images.astype(np.float32))
    tests = [_draw_batch(*data, generator) for _ in range(N_TESTS)]
    start = model.test_error(tests)
    optimizer = torch.optim.Adam([model.log_slopes], LEARNING_RATE)
    for _ in range(n_steps):
        error = model.error(_draw_batch(*data, generator))
        # backward() would leave gradients at the weights of the denoiser.
        (model.log_slopes.grad,) = torch.autograd.grad(error, model.log_slopes)
        optimizer.step()
    identity = np.stack((knots, knots))
    # Few steps on little data may lead away from a transform that is right already.
    return model.to_knots() if model.test_error(tests) < start else identity


class _Calibration:
    """A spline in front of a frozen network.

    The slopes are exponentials of ``log_slopes``, so the spline increases.
    """

    def __init__(
        self, denoiser: Any, knots: NDArray[np.float64], table: NDArray[np.float64], unit: float
    ) -> None:
        self.network: nn.Module = denoiser.net_.module_
        scaler = denoiser._preparation_.input_scaler
        self.center, self.spread = float(scaler.center), float(scaler.spread)
        self.device = next(self.network.parameters()).device
        self.x = torch.from_numpy(knots).float()
        self.table = torch.from_numpy(table).float()
        self.unit = unit or 1.0
        self.log_slopes = torch.zeros(len(knots) - 1, requires_grad=True)

    def values(self) -> Tensor:
        """Return the values of the spline at its knots."""
        rises = torch.exp(self.log_slopes) * torch.diff(self.x)
        return self.x[0] + torch.cat((torch.zeros(1), torch.cumsum(rises, 0)))

    def to_knots(self) -> NDArray[np.float64]:
        """Return arguments and values of the spline."""
        with torch.no_grad():
            return torch.stack((self.x, self.values())).numpy().astype(np.float64)

    def error(self, batch: _Batch) -> Tensor:
        """Return the mean square error of hidden pixels, relative to the data."""
        stabilized, data, is_hidden = batch
        y = self.values()
        u = _interpolate(stabilized, self.x, y)
        hidden = torch.where(is_hidden, _neighbour_means(u), u)
        black, span = y[0].detach(), (y[-1] - y[0]).detach()
        unit = ((hidden - black) / span - self.center) / self.spread
        level = torch.full_like(unit, 1.0 / float(span) / self.spread)
        output = self.network(torch.stack((unit, level), 1).to(self.device))[:, 0].cpu()
        denoised = (output * self.spread + self.center) * span + black
        predicted = _interpolate(_interpolate(denoised, y, self.x), *self.table)
        return torch.square((predicted - data)[is_hidden] / self.unit).mean()

    def test_error(self, batches: list[_Batch]) -> float:
        """Return the mean error of batches."""
        with torch.no_grad():
            return float(np.mean([float(self.error(batch)) for batch in batches]))


def _draw_batch(stabilized: Tensor, data: Tensor, generator: torch.Generator) -> _Batch:
    """Return patches from random places and their hidden pixels."""

    def draw(n: int) -> int:
        return int(torch.randint(n, (), generator=generator))

    height, width = (min(SIDE, side // 8 * 8) for side in stabilized.shape[1:])
    parts = []
    for _ in range(N_PATCHES):
        image = draw(len(stabilized))
        top, left = draw(stabilized.shape[1] - height + 1), draw(stabilized.shape[2] - width + 1)
        parts.append((image, slice(top, top + height), slice(left, left + width)))
    is_hidden = torch.zeros(N_PATCHES, height, width, dtype=torch.bool)
    is_hidden[:, draw(STRIDE) :: STRIDE, draw(STRIDE) :: STRIDE] = True
    return torch.stack([stabilized[p] for p in parts]), torch.stack([data[p] for p in parts]), is_hidden


def _neighbour_means(u: Tensor) -> Tensor:
    """Return the mean of the 4 neighbours of each pixel; edges are mirrored."""
    padded = functional.pad(u[:, None], (1, 1, 1, 1), mode="reflect")[:, 0]
    return (padded[:, :-2, 1:-1] + padded[:, 2:, 1:-1] + padded[:, 1:-1, :-2] + padded[:, 1:-1, 2:]) / 4


def _interpolate(values: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Apply a piecewise linear function, with gradients for values and knots."""
    piece = torch.searchsorted(x.detach(), values.detach()).clamp(1, len(x) - 1) - 1
    slope = torch.diff(y) / torch.diff(x)
    return y[piece] + slope[piece] * (values - x[piece])
