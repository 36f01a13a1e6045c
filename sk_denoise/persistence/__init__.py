"""Save estimators to files and load them, without a pickle; export networks to ONNX."""

from sk_denoise.persistence._files import load, save
from sk_denoise.persistence._onnx import export_onnx

__all__ = ["export_onnx", "load", "save"]
