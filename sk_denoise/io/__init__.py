"""Lossless reading and writing of images, stacks and signals."""

from sk_denoise.io._formats import IMAGE_SUFFIXES, WRITABLE_SUFFIXES
from sk_denoise.io._header import Recording
from sk_denoise.io._images import image_size, image_suffix, output_suffix, read_image, write_image
from sk_denoise.io._signals import SIGNAL_SUFFIXES, read_signal, write_signal
from sk_denoise.io._stack_files import ImageStack, is_stack, open_stack, read_stack, write_stack

__all__ = [
    "IMAGE_SUFFIXES",
    "SIGNAL_SUFFIXES",
    "WRITABLE_SUFFIXES",
    "ImageStack",
    "Recording",
    "image_size",
    "image_suffix",
    "is_stack",
    "open_stack",
    "output_suffix",
    "read_image",
    "read_signal",
    "read_stack",
    "write_image",
    "write_signal",
    "write_stack",
]
