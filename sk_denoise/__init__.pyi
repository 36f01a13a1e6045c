from .estimators import ConvNetwork, DenoisingAutoencoder, DenseNetwork, PoolingNetwork
from .exceptions import CleanTargetWarning, TrainingDivergedError, WeakNoiseWarning
from .metrics import make_denoising_scorer, make_robustness_scorer
from .noise import (
    GaussianNoiser,
    MaskingNoiser,
    NoiserChain,
    NoiserChoice,
    PixelNoiser,
    PoissonNoiser,
    RegionNoiser,
    SaltAndPepperNoiser,
    SpeckleNoiser,
    SwapNoiser,
    UniformNoiser,
)

__all__ = [
    "CleanTargetWarning",
    "ConvNetwork",
    "DenoisingAutoencoder",
    "DenseNetwork",
    "GaussianNoiser",
    "MaskingNoiser",
    "NoiserChain",
    "NoiserChoice",
    "PixelNoiser",
    "PoissonNoiser",
    "PoolingNetwork",
    "RegionNoiser",
    "SaltAndPepperNoiser",
    "SpeckleNoiser",
    "SwapNoiser",
    "TrainingDivergedError",
    "UniformNoiser",
    "WeakNoiseWarning",
    "make_denoising_scorer",
    "make_robustness_scorer",
]
__version__: str
