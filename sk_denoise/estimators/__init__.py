"""Estimators, thin over training: validate, scale, train, store."""

from sk_denoise.estimators._denoising_autoencoder import DenoisingAutoencoder
from sk_denoise.estimators._networks import NETWORKS, ConvNetwork, DenseNetwork, PoolingNetwork

__all__ = ["NETWORKS", "ConvNetwork", "DenoisingAutoencoder", "DenseNetwork", "PoolingNetwork"]
