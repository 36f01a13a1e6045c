"""Lossless reading and writing of image files in their own depth."""

from sk_denoise.io._formats import IMAGE_SUFFIXES
from sk_denoise.io._images import image_size, image_suffix, read_image, write_image

__all__ = ["IMAGE_SUFFIXES", "image_size", "image_suffix", "read_image", "write_image"]
