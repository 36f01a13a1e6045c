from sk_denoise.io._formats import IMAGE_SUFFIXES as IMAGE_SUFFIXES
from sk_denoise.io._images import image_size as image_size
from sk_denoise.io._images import image_suffix as image_suffix
from sk_denoise.io._images import read_image as read_image
from sk_denoise.io._images import write_image as write_image
from sk_denoise.saving import export_onnx as export_onnx
from sk_denoise.saving import load as load
from sk_denoise.saving import save as save

__all__ = [
    "IMAGE_SUFFIXES",
    "export_onnx",
    "image_size",
    "image_suffix",
    "load",
    "read_image",
    "save",
    "write_image",
]
