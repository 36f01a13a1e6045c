"""Noise: functions on tensors, transformers, and clean sources of noisy data."""

from sk_denoise._clean_source import CleanSource, NoisedArray, carried_source
from sk_denoise._row_noise import estimate_row_noise, estimate_row_noise_from_repeats
from sk_denoise.noise import (
    _additive,
    _cameras,
    _composed,
    _corruptions,
    _degradations,
    _device_corruptions,
    _recording,
    _replacing,
    _signal_corruptions,
    _signal_noise,
)
from sk_denoise.noise._additive import *
from sk_denoise.noise._base import NOISERS, BaseNoiser, bind_columns, resolve_noiser
from sk_denoise.noise._cameras import *
from sk_denoise.noise._composed import *
from sk_denoise.noise._corruptions import *
from sk_denoise.noise._degradations import *
from sk_denoise.noise._degradations import blur_samples, reduce_images
from sk_denoise.noise._device_corruptions import *
from sk_denoise.noise._recording import *
from sk_denoise.noise._replacing import *
from sk_denoise.noise._replacing import find_blocks
from sk_denoise.noise._signal_corruptions import *
from sk_denoise.noise._signal_noise import *

__all__ = [
    "NOISERS",
    "BaseNoiser",
    "CleanSource",
    "NoisedArray",
    "bind_columns",
    "carried_source",
    "estimate_row_noise",
    "estimate_row_noise_from_repeats",
    "find_blocks",
    "resolve_noiser",
]
# All names of these modules are public, so that a new noise needs no further list.
__all__ += _additive.__all__
__all__ += _cameras.__all__
__all__ += _composed.__all__
__all__ += _corruptions.__all__
__all__ += [*_degradations.__all__, "blur_samples", "reduce_images"]
__all__ += _device_corruptions.__all__
__all__ += _recording.__all__
__all__ += _replacing.__all__
__all__ += _signal_corruptions.__all__
__all__ += _signal_noise.__all__
