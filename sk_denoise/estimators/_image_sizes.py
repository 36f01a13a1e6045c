"""Pairs of images of different sizes, for networks that enlarge."""

from __future__ import annotations

from typing import Any

import numpy as np

from sk_denoise._enlargement import MAX_FACTOR, enlarge_images
from sk_denoise._validation import as_float_array, check_lengths, size_factor_of
from sk_denoise.noise import NOISERS, carried_source, resolve_noiser

__all__ = ["common_factor", "factor_of_noise", "match_sizes"]


def factor_of_noise(noise: Any) -> int:
    """Return the factor of a reduction by the parameter ``noise``."""
    if isinstance(noise, str):
        return size_factor_of(resolve_noiser(noise)) if noise in NOISERS else 1
    return size_factor_of(noise)


def match_sizes(X: Any, y: Any, X_clean: Any) -> tuple[Any, Any, Any, int]:
    """Return the arguments of a fit with images of one size, and the factor.

    Small images with large clean ones are enlarged by cubic interpolation. The output of a noiser that
    reduces images is replaced by its clean source.

    Parameters
    ----------
    X : stack or list
        Small images.
    y, X_clean : object
        Large images, or anything else that ``fit`` takes.

    Raises
    ------
    ValueError
        If the images on both sides differ by something else than one whole factor.
    """
    name, clean = ("y", y) if X_clean is None else ("X_clean", X_clean)
    if not _are_images(X) or not _are_images(clean) or len(clean) == 0 or len(X) == 0:
        return X, y, X_clean, 1
    if np.shape(clean[0])[:2] == np.shape(X[0])[:2]:
        return X, y, X_clean, 1
    source = carried_source(X)
    if source is not None and np.array_equal(source.clean, clean):
        return X, y, X_clean, 1
    # Labels and masks of another shape are no clean side.
    if name == "y" and np.shape(clean[0])[2:] != np.shape(X[0])[2:]:
        return X, y, X_clean, 1
    factor = common_factor(X, clean, name)
    enlarged = [enlarge_images(as_float_array(np.asarray(small))[None], factor)[0] for small in X]
    stacked = np.stack(enlarged) if hasattr(X, "shape") else enlarged
    return stacked, y, X_clean, factor


def common_factor(X: Any, clean: Any, name: str) -> int:
    """Return the factor between small and large images, or refuse them."""
    check_lengths(X, clean)
    factors = set()
    for index, (small, large) in enumerate(zip(X, clean, strict=True)):
        factor = np.shape(large)[0] // np.shape(small)[0]
        if np.shape(large)[:2] != tuple(factor * side for side in np.shape(small)[:2]) or factor < 1:
            raise ValueError(
                f"{name}[{index}] has shape {np.shape(large)}, X[{index}] has shape {np.shape(small)}: both "
                "sides must have one size, or the clean images that of X times a whole number. Cut them: "
                "clean = clean[: factor * height, : factor * width]."
            )
        factors.add(factor)
    if len(factors) > 1 or max(factors) > MAX_FACTOR:
        raise ValueError(
            f"{name} is {' and '.join(map(str, sorted(factors)))} times as large as X: one factor up to "
            f"{MAX_FACTOR} is expected for all images."
        )
    return int(factors.pop())


def _are_images(X: Any) -> bool:
    """Return whether X is a stack of images or a list of them."""
    if hasattr(X, "shape"):
        return len(X.shape) in (3, 4)
    return isinstance(X, list | tuple) and len(X) > 0 and all(np.ndim(image) in (2, 3) for image in X)
