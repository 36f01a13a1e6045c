"""Learning rate schedules: shares of the rate, from the number of steps before and that of all steps."""

from __future__ import annotations

import math
from collections.abc import Callable

from sk_denoise import _registry

__all__ = ["SCHEDULES"]

WARM_UP = 0.1, 100  # share of the steps, and the most of them, in which the rate rises
EXPONENTIAL_END = 0.01  # share of the rate that an exponential fall ends at
ONE_CYCLE = 0.3, 0.04  # share of the steps in which the rate rises, and share of the rate that it rises from

SCHEDULES: _registry.Loaded[Callable[[int, int], float]] = _registry.Loaded(_registry.SCHEDULES)


def constant(step: int, steps: int) -> float:
    """Return 1."""
    return 1.0


def cosine(step: int, steps: int) -> float:
    """Fall along a cosine to 0."""
    return _warm_up(step, steps) * 0.5 * (1 + math.cos(math.pi * step / steps))


def flat_cosine(step: int, steps: int) -> float:
    """Stay for the first half, then fall along a cosine to 0."""
    return _warm_up(step, steps) * 0.5 * (1 + math.cos(math.pi * max(0.0, 2 * step / steps - 1)))


def linear(step: int, steps: int) -> float:
    """Fall on a line to 0."""
    return _warm_up(step, steps) * (1 - step / steps)


def exponential(step: int, steps: int) -> float:
    """Fall to a hundredth, ever more slowly."""
    return _warm_up(step, steps) * float(EXPONENTIAL_END ** (step / steps))


def one_cycle(step: int, steps: int) -> float:
    """Rise for a third of the run, then fall along a cosine to 0."""
    rise, start = ONE_CYCLE
    top = max(1.0, rise * steps)
    if step < top:
        return start + (1 - start) * 0.5 * (1 - math.cos(math.pi * (step + 1) / top))
    return 0.5 * (1 + math.cos(math.pi * (step - top) / max(1.0, steps - top)))


def _warm_up(step: int, steps: int) -> float:
    """Rise over the first steps."""
    share, most = WARM_UP
    return min(1.0, (step + 1) / (1 + min(most, share * steps)))
