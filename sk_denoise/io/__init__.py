"""Files: pictures in their own depth, in and out without a loss, and estimators, without a pickle."""

from importlib import import_module
from typing import Any

from sk_denoise.io._formats import IMAGE_SUFFIXES
from sk_denoise.io._images import image_size, image_suffix, read_image, write_image

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

OF_ESTIMATORS = ("export_onnx", "load", "save")  # what knows estimators stands above them; see __init__.pyi


def __getattr__(name: str) -> Any:
    if name not in OF_ESTIMATORS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("sk_denoise.saving"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
