from .estimators import ConvNetwork, DenoisingAutoencoder, DenseNetwork, PoolingNetwork
from .exceptions import CleanTargetWarning, TrainingDivergedError, WeakNoiseWarning
from .metrics import make_denoising_scorer, make_robustness_scorer
from .noise import GaussianNoiser

__all__ = [
    "CleanTargetWarning",
    "ConvNetwork",
    "DenoisingAutoencoder",
    "DenseNetwork",
    "GaussianNoiser",
    "PoolingNetwork",
    "TrainingDivergedError",
    "WeakNoiseWarning",
    "make_denoising_scorer",
    "make_robustness_scorer",
]
__version__: str
