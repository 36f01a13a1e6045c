"""Networks: plain torch, one architecture a file, which know nothing of the rest of the library."""

from sk_denoise.networks._base import ACTIVATIONS, SeededModule
from sk_denoise.networks.bounded import Bounded
from sk_denoise.networks.conv import ConvAutoencoder
from sk_denoise.networks.dense import DenseAutoencoder
from sk_denoise.networks.dncnn import DnCNN
from sk_denoise.networks.folded_unet import FoldedUNet
from sk_denoise.networks.pooling import PoolingAutoencoder
from sk_denoise.networks.ridnet import RIDNet
from sk_denoise.networks.unet import UNet

__all__ = [
    "ACTIVATIONS",
    "Bounded",
    "ConvAutoencoder",
    "DenseAutoencoder",
    "DnCNN",
    "FoldedUNet",
    "PoolingAutoencoder",
    "RIDNet",
    "SeededModule",
    "UNet",
]
