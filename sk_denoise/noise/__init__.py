"""Noise: functions on tensors, transformers, and clean sources of noisy data."""

from sk_denoise._clean_source import CleanSource, NoisedArray, carried_source
from sk_denoise.noise import _additive, _composed, _corruptions, _replacing
from sk_denoise.noise._additive import *
from sk_denoise.noise._base import NOISERS, BaseNoiser, resolve_noiser
from sk_denoise.noise._composed import *
from sk_denoise.noise._corruptions import *
from sk_denoise.noise._replacing import *

__all__ = ["NOISERS", "BaseNoiser", "CleanSource", "NoisedArray", "carried_source", "resolve_noiser"]
# All names of these modules are public, so that a new noise needs no further list.
__all__ += _additive.__all__
__all__ += _composed.__all__
__all__ += _corruptions.__all__
__all__ += _replacing.__all__
