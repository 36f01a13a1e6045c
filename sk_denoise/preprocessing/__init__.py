"""Preprocessing: pixels, noise of counts, columns of tables, and augmentation.

``PixelScaler`` and ``Centerer`` are steps of a Pipeline with an exact inverse for integers.
``TableEncoder`` makes numbers of the columns of a frame, and a frame of numbers.
``VarianceStabilizer`` makes the noise of counts white, with an unbiased inverse. ``Augmenter`` is
the spec of random movements of training images, ``SignalAugmenter`` that of training signals; the
functions apply such movements.
"""

# The movements are public for augmentations of users.
from sk_denoise.preprocessing._augmentation import (
    Augmentation,
    Augmenter,
    flip,
    quarter_turn,
    shift,
    zoom_and_rotate,
)
from sk_denoise.preprocessing._pixels import Centerer, PixelScaler
from sk_denoise.preprocessing._signal_augmentation import SignalAugmenter
from sk_denoise.preprocessing._stabilizer import VarianceStabilizer
from sk_denoise.preprocessing._table_encoder import TableEncoder

__all__ = [
    "Augmentation",
    "Augmenter",
    "Centerer",
    "PixelScaler",
    "SignalAugmenter",
    "TableEncoder",
    "VarianceStabilizer",
    "flip",
    "quarter_turn",
    "shift",
    "zoom_and_rotate",
]
