"""Pictures in files: PNG, JPEG, TIFF, BMP and WebP in their own depth, in and out without a loss."""

from sk_denoise.io._formats import IMAGE_SUFFIXES
from sk_denoise.io._images import image_size, read_image, write_image

__all__ = ["IMAGE_SUFFIXES", "image_size", "read_image", "write_image"]
