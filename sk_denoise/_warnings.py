"""Warnings that point at the line of the user, however deep in the library they arise."""

from __future__ import annotations

import sys
import warnings

__all__ = ["warn_user"]

BETWEEN = (
    "sk_denoise",
    "sklearn",
    "joblib",
    "skorch",
    "torch",
    "contextlib",
)  # packages whose lines are not the user's


def warn_user(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn where the user called."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back and str(frame.f_globals.get("__name__")).partition(".")[0] in BETWEEN:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level + 1)
