"""Noise: pure functions on tensors, thin transformers over them, and the source that noised data carry."""

from sk_denoise._clean_source import CleanSource, NoisedArray, carried_source
from sk_denoise.noise import _additive, _composed, _functions, _replacing
from sk_denoise.noise._additive import *
from sk_denoise.noise._base import NOISERS, BaseNoiser, resolve_noiser
from sk_denoise.noise._composed import *
from sk_denoise.noise._functions import *
from sk_denoise.noise._replacing import *

__all__ = ["NOISERS", "BaseNoiser", "CleanSource", "NoisedArray", "carried_source", "resolve_noiser"]
# What a module of noise offers is public, so that a new noise is listed nowhere else.
__all__ += _additive.__all__
__all__ += _composed.__all__
__all__ += _functions.__all__
__all__ += _replacing.__all__
