"""Noisers by name."""

from __future__ import annotations

import inspect

from sk_denoise._registry import NOISES, Loaded
from sk_denoise._validation import Noiser, check_noiser, check_one_of
from sk_denoise.noise._base import BaseNoiser, is_strength

__all__ = ["NOISERS", "resolve_noiser"]

NOISERS: Loaded[type[BaseNoiser]] = Loaded(NOISES)


def resolve_noiser(noise: object) -> Noiser:
    """Return the noiser that is given, named in the table, or meant by the strength of Gaussian noise."""
    if is_strength(noise):
        return NOISERS["gaussian"](noise)
    if not isinstance(noise, str):
        return check_noiser(noise)
    kind = check_one_of(noise, NOISERS, "noise")
    needed, *_ = inspect.signature(kind).parameters.values()
    if needed.default is inspect.Parameter.empty:
        raise ValueError(
            f"noise={noise!r} is made of other noise, which a name does not tell: pass {kind.__name__}(...)."
        )
    return kind()
