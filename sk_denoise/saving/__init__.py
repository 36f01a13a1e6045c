"""Estimators in files: what stands above them; :mod:`sk_denoise.io` hands its names on."""

from sk_denoise.saving._files import load, save
from sk_denoise.saving._onnx import export_onnx

__all__ = ["export_onnx", "load", "save"]
