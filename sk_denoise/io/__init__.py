"""Lossless reading and writing of image files and stacks in their own depth."""

from sk_denoise.io._formats import IMAGE_SUFFIXES, WRITABLE_SUFFIXES
from sk_denoise.io._images import image_size, image_suffix, output_suffix, read_image, write_image
from sk_denoise.io._stack_files import ImageStack, is_stack, open_stack, read_stack, write_stack

__all__ = [
    "IMAGE_SUFFIXES",
    "WRITABLE_SUFFIXES",
    "ImageStack",
    "image_size",
    "image_suffix",
    "is_stack",
    "open_stack",
    "output_suffix",
    "read_image",
    "read_stack",
    "write_image",
    "write_stack",
]
