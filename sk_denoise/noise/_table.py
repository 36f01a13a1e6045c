"""The table of noisers: what there is, by name."""

from __future__ import annotations

import inspect

from sk_denoise._validation import Noiser, check_noiser, check_one_of
from sk_denoise.noise._additive import GaussianNoiser, PoissonNoiser, SpeckleNoiser, UniformNoiser
from sk_denoise.noise._base import BaseNoiser, is_strength
from sk_denoise.noise._composed import NoiserChain, NoiserChoice, RegionNoiser
from sk_denoise.noise._replacing import MaskingNoiser, PixelNoiser, SaltAndPepperNoiser, SwapNoiser

__all__ = ["NOISERS", "resolve_noiser"]

NOISERS: dict[str, type[BaseNoiser]] = {
    "gaussian": GaussianNoiser,
    "uniform": UniformNoiser,
    "speckle": SpeckleNoiser,
    "poisson": PoissonNoiser,
    "salt_and_pepper": SaltAndPepperNoiser,
    "masking": MaskingNoiser,
    "swap": SwapNoiser,
    "pixel": PixelNoiser,
    "region": RegionNoiser,  # of other noisers, which a name cannot tell
    "choice": NoiserChoice,
    "chain": NoiserChain,
}


def resolve_noiser(noise: object) -> Noiser:
    """Return the noiser that is given, named in the table, or meant by the strength of Gaussian noise."""
    if is_strength(noise):
        return GaussianNoiser(noise)  # type: ignore[arg-type]
    if not isinstance(noise, str):
        return check_noiser(noise)
    kind = check_one_of(noise, NOISERS, "noise")
    needed, *_ = inspect.signature(kind).parameters.values()
    if needed.default is inspect.Parameter.empty:
        raise ValueError(
            f"noise={noise!r} is made of other noise, which a name does not tell: pass {kind.__name__}(...)."
        )
    return kind()
