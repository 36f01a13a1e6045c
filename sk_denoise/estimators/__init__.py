"""Estimators that denoise: networks, ensembles of networks, and classical filters."""

from sk_denoise.estimators import _deconvolution, _filters, _signal_filters, _wiener, _wiener_mixture
from sk_denoise.estimators._deconvolution import *
from sk_denoise.estimators._denoising_autoencoder import DenoisingAutoencoder
from sk_denoise.estimators._ensemble import DenoisingEnsemble
from sk_denoise.estimators._filters import *
from sk_denoise.estimators._image_denoiser import ImageDenoiser
from sk_denoise.estimators._imputer import DenoisingImputer
from sk_denoise.estimators._network_factory import IMAGE_NETWORKS, NETWORKS, SIGNAL_NETWORKS
from sk_denoise.estimators._network_summary import NetworkSummary
from sk_denoise.estimators._posterior_mean import PosteriorMeanDenoiser
from sk_denoise.estimators._rounds import fit_in_rounds
from sk_denoise.estimators._signal_denoiser import SignalDenoiser
from sk_denoise.estimators._signal_filters import *
from sk_denoise.estimators._wiener import *
from sk_denoise.estimators._wiener_mixture import *

__all__ = [
    "IMAGE_NETWORKS",
    "NETWORKS",
    "DenoisingAutoencoder",
    "DenoisingEnsemble",
    "DenoisingImputer",
    "ImageDenoiser",
    "NetworkSummary",
    "PosteriorMeanDenoiser",
    "SIGNAL_NETWORKS",
    "SignalDenoiser",
    "fit_in_rounds",
]
__all__ += _deconvolution.__all__
__all__ += _filters.__all__
__all__ += _signal_filters.__all__
__all__ += _wiener.__all__
__all__ += _wiener_mixture.__all__
