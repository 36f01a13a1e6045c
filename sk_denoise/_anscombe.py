"""Generalised Anscombe transform, and its exact unbiased inverse."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["generalised_anscombe", "invert_generalised_anscombe"]

# Expected transform of a Poisson variable of mean 0, with the shift of the classical transform.
MIN_EXPECTED = 2 * math.sqrt(3 / 8)
ROOT = math.sqrt(3 / 2)


def generalised_anscombe(
    values: NDArray[Any], gain: float, read_noise: float, offset: float = 0.0
) -> NDArray[Any]:
    """Transform counts with read noise to noise of standard deviation 1.

    With ``y = values - offset`` and ``c = 3/8 gain**2 + read_noise**2`` the result is
    ``2 / gain * (sqrt(gain * y + c) - sqrt(c))``. The constant subtrahend makes it 0 at the offset, and equal
    to ``y / read_noise`` in the limit of gain 0. Values for which the root has no real number become the
    smallest number of the transform.

    Parameters
    ----------
    values : ndarray of numbers
        Noisy values of any shape with the variance ``gain * (mean - offset) + read_noise**2``.
    gain : float
        Intensity of one count, at least 0.
    read_noise : float
        Standard deviation at the offset, at least 0; above 0 if gain is 0.
    offset : float, default=0
        Intensity without counts.

    Returns
    -------
    ndarray of the shape of values
        float64 for float64 and for integers of 32 bits and more, else float32.

    References
    ----------
    M. Mäkitalo and A. Foi, "Optimal inversion of the generalized Anscombe transformation for
    Poisson-Gaussian noise", IEEE Transactions on Image Processing 22 (2013).
    """
    root = _root(gain, read_noise)
    y = _distance(values, offset)
    # One more array at most: images may be large.
    result: NDArray[Any] = np.multiply(y, y.dtype.type(gain))
    result += y.dtype.type(root**2)
    if gain > 0:
        np.maximum(y, y.dtype.type(-(root**2) / gain), out=y)
    np.sqrt(np.maximum(result, 0, out=result), out=result)
    result += y.dtype.type(root)
    # The difference of two roots would lose its digits where the read noise is large.
    np.divide(np.multiply(y, 2, out=y), result, out=result)
    return result


def invert_generalised_anscombe(
    transformed: NDArray[Any], gain: float, read_noise: float, offset: float = 0.0
) -> NDArray[Any]:
    """Return the means that belong to expected values of the transform.

    The transform is not linear, so its inverse function of a mean is too dark. This is the closed form of the
    exact unbiased inverse. It increases; below the transform of variance 0 it is constant.

    Parameters
    ----------
    transformed : ndarray of float
        Denoised output of :func:`generalised_anscombe`.
    gain, read_noise, offset : float
        Parameters of the transform.

    Returns
    -------
    ndarray of the shape of transformed
        Denoised values in the unit of the data.
    """
    root = _root(gain, read_noise)
    d = _distance(transformed, 0.0)
    if gain == 0:
        linear: NDArray[Any] = d * d.dtype.type(root) + d.dtype.type(offset)
        return linear
    # Expected value with the usual shift.
    shift = 2 * root / gain
    np.maximum(d, d.dtype.type(MIN_EXPECTED - shift), out=d)
    inverse = 1 / (d + d.dtype.type(shift))
    # Powers of 1 / D by Horner's rule.
    correction = inverse * (ROOT / 4 + inverse * (-11 / 8 + inverse * (5 / 8 * ROOT)))
    result: NDArray[Any] = d * (d * d.dtype.type(gain / 4) + d.dtype.type(root))
    result += d.dtype.type(gain) * (correction + d.dtype.type(1 / 4))
    result += d.dtype.type(offset)
    return result


def _root(gain: float, read_noise: float) -> float:
    return math.sqrt(3 / 8 * gain**2 + read_noise**2)


def _distance(values: NDArray[Any], offset: float) -> NDArray[Any]:
    """Return the distance from the offset as a new array of floats."""
    max_bytes = 4 if values.dtype.kind == "f" else 2
    dtype = np.dtype(np.float32 if values.dtype.itemsize <= max_bytes else np.float64)
    distance: NDArray[Any] = np.subtract(values, dtype.type(offset), dtype=dtype)
    return distance
