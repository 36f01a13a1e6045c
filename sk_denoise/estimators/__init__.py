"""Estimators, thin over training: validate, scale, train, store."""

from sk_denoise.estimators._denoising_autoencoder import DenoisingAutoencoder
from sk_denoise.estimators._networks import NETWORKS, DenseNetwork

__all__ = ["NETWORKS", "DenoisingAutoencoder", "DenseNetwork"]
