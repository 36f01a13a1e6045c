"""Networks: plain torch, one architecture a file, which know nothing of the rest of the library."""

from sk_denoise.networks._base import SeededModule
from sk_denoise.networks.dense import ACTIVATIONS, DenseAutoencoder

__all__ = ["ACTIVATIONS", "DenseAutoencoder", "SeededModule"]
