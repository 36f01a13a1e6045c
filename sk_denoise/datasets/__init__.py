"""Data sets from installed packages or your disk; nothing is downloaded."""

from sk_denoise.datasets._bundled import load_handwritten, load_images
from sk_denoise.datasets._folder import ImageFolder
from sk_denoise.datasets._patches import extract_patches, join_patches
from sk_denoise.datasets._random_patches import RandomPatches

__all__ = [
    "ImageFolder",
    "RandomPatches",
    "extract_patches",
    "join_patches",
    "load_handwritten",
    "load_images",
]
