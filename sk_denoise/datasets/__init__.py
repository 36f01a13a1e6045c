"""Data to learn and to measure with: from scikit-learn's wheel or from your disk, never from the network."""

from sk_denoise.datasets._handwritten import load_handwritten

__all__ = ["load_handwritten"]
