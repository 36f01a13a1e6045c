"""Noise: pure functions on tensors, thin transformers over them, and the source that noised data carry."""

from sk_denoise._clean_source import CleanSource, NoisedArray, carried_source
from sk_denoise.noise._additive import GaussianNoiser, PoissonNoiser, SpeckleNoiser, UniformNoiser
from sk_denoise.noise._base import BaseNoiser
from sk_denoise.noise._composed import NoiserChain, NoiserChoice, RegionNoiser
from sk_denoise.noise._functions import (
    add_gaussian,
    add_poisson,
    add_speckle,
    add_uniform,
    choose_corruption,
    corrupt_region,
    mask_entries,
    replace_pixels,
    salt_and_pepper,
    swap_entries,
)
from sk_denoise.noise._replacing import MaskingNoiser, PixelNoiser, SaltAndPepperNoiser, SwapNoiser
from sk_denoise.noise._table import NOISERS, resolve_noiser

__all__ = [
    "NOISERS",
    "BaseNoiser",
    "CleanSource",
    "GaussianNoiser",
    "MaskingNoiser",
    "NoisedArray",
    "NoiserChain",
    "NoiserChoice",
    "PixelNoiser",
    "PoissonNoiser",
    "RegionNoiser",
    "SaltAndPepperNoiser",
    "SpeckleNoiser",
    "SwapNoiser",
    "UniformNoiser",
    "add_gaussian",
    "add_poisson",
    "add_speckle",
    "add_uniform",
    "carried_source",
    "choose_corruption",
    "corrupt_region",
    "mask_entries",
    "replace_pixels",
    "resolve_noiser",
    "salt_and_pepper",
    "swap_entries",
]
