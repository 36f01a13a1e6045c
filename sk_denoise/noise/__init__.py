"""Noise: pure functions on tensors, thin transformers over them, and the source that noised data carry."""

from sk_denoise.noise._functions import add_gaussian
from sk_denoise.noise._noisers import BaseNoiser, GaussianNoiser
from sk_denoise.noise._source import CleanSource, NoisedArray, carried_source

__all__ = [
    "BaseNoiser",
    "CleanSource",
    "GaussianNoiser",
    "NoisedArray",
    "add_gaussian",
    "carried_source",
]
