"""Preprocessing of images: units of pixels, and augmentation.

``PixelScaler`` and ``Centerer`` are steps of a Pipeline with an exact inverse for integers. ``Augmenter`` is
the spec of random movements of training images; the functions apply such movements.
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

__all__ = [
    "Augmentation",
    "Augmenter",
    "Centerer",
    "PixelScaler",
    "flip",
    "quarter_turn",
    "shift",
    "zoom_and_rotate",
]
