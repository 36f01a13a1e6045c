"""Before a network: pixels in a unit that suits it, and images that are never twice the same.

``PixelScaler`` and ``Centerer`` are steps of a Pipeline, and undo themselves to the last integer.
``Augmenter`` tells how training images vary; the functions beside it move them.
"""

from sk_denoise.preprocessing._augmentation import flip, quarter_turn, shift, zoom_and_rotate
from sk_denoise.preprocessing._augmenter import Augmentation, Augmenter
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
