"""Data to learn and to measure with: wheels that are installed, or your disk; never the network."""

from sk_denoise.datasets._bundled import load_handwritten, load_images
from sk_denoise.datasets._folder import ImageFolder
from sk_denoise.datasets._patches import extract_patches, join_patches
from sk_denoise.datasets._stream import RandomPatches

__all__ = [
    "ImageFolder",
    "RandomPatches",
    "extract_patches",
    "join_patches",
    "load_handwritten",
    "load_images",
]
