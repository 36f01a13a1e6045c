from .estimators import ConvNetwork, DenoisingAutoencoder, DenseNetwork, PoolingNetwork
from .exceptions import (
    CleanTargetWarning,
    SkippedImageWarning,
    TrainingDivergedError,
    UnreadableImageError,
    WeakNoiseWarning,
)
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
from .preprocessing import Augmenter, Centerer, PixelScaler

__all__ = [
    "Augmenter",
    "Centerer",
    "CleanTargetWarning",
    "ConvNetwork",
    "DenoisingAutoencoder",
    "DenseNetwork",
    "GaussianNoiser",
    "MaskingNoiser",
    "NoiserChain",
    "NoiserChoice",
    "PixelNoiser",
    "PixelScaler",
    "PoissonNoiser",
    "PoolingNetwork",
    "RegionNoiser",
    "SaltAndPepperNoiser",
    "SkippedImageWarning",
    "SpeckleNoiser",
    "SwapNoiser",
    "TrainingDivergedError",
    "UniformNoiser",
    "UnreadableImageError",
    "WeakNoiseWarning",
    "make_denoising_scorer",
    "make_robustness_scorer",
]
__version__: str
