"""Estimators, thin over training: validate, scale, train, store."""

from sk_denoise.estimators._bm3d import BM3DDenoiser
from sk_denoise.estimators._classical import BilateralDenoiser, MedianDenoiser, NonLocalMeansDenoiser
from sk_denoise.estimators._denoising_autoencoder import DenoisingAutoencoder
from sk_denoise.estimators._ensemble import DenoisingEnsemble
from sk_denoise.estimators._image_denoiser import ImageDenoiser
from sk_denoise.estimators._image_networks import (
    IMAGE_NETWORKS,
    DnCNNNetwork,
    FoldedUNetNetwork,
    RIDNetNetwork,
    UNetNetwork,
)
from sk_denoise.estimators._network_summary import NetworkSummary
from sk_denoise.estimators._networks import NETWORKS, ConvNetwork, DenseNetwork, PoolingNetwork
from sk_denoise.estimators._shrinkage import TotalVariationDenoiser, WaveletDenoiser
from sk_denoise.estimators._wiener import WienerDenoiser

__all__ = [
    "IMAGE_NETWORKS",
    "DnCNNNetwork",
    "FoldedUNetNetwork",
    "ImageDenoiser",
    "RIDNetNetwork",
    "UNetNetwork",
    "NETWORKS",
    "BM3DDenoiser",
    "BilateralDenoiser",
    "ConvNetwork",
    "DenoisingAutoencoder",
    "DenoisingEnsemble",
    "DenseNetwork",
    "MedianDenoiser",
    "NetworkSummary",
    "NonLocalMeansDenoiser",
    "PoolingNetwork",
    "TotalVariationDenoiser",
    "WaveletDenoiser",
    "WienerDenoiser",
]
