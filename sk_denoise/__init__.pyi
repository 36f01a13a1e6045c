# Written by .ci/stub.py.
from ._dask_backend import parallel_dask as parallel_dask
from ._long_rows import predict_to_file as predict_to_file
from .comparison import compare_restorers as compare_restorers
from .estimators import DenoisingAutoencoder as DenoisingAutoencoder
from .estimators import DenoisingEnsemble as DenoisingEnsemble
from .estimators import DenoisingImputer as DenoisingImputer
from .estimators import ImageDenoiser as ImageDenoiser
from .estimators import NetworkSummary as NetworkSummary
from .estimators import PosteriorMeanDenoiser as PosteriorMeanDenoiser
from .estimators import SignalDenoiser as SignalDenoiser
from .estimators import WienerMixtureDenoiser as WienerMixtureDenoiser
from .estimators import fit_in_rounds as fit_in_rounds
from .estimators._deconvolution import *
from .estimators._filters import *
from .estimators._signal_filters import *
from .estimators._wiener import *
from .exceptions import CleanTargetWarning as CleanTargetWarning
from .exceptions import LostProcessError as LostProcessError
from .exceptions import MissingExtraError as MissingExtraError
from .exceptions import NoiseMismatchWarning as NoiseMismatchWarning
from .exceptions import SkippedImageWarning as SkippedImageWarning
from .exceptions import TrainingDivergedError as TrainingDivergedError
from .exceptions import UnreadableImageError as UnreadableImageError
from .exceptions import UnreadableSignalError as UnreadableSignalError
from .exceptions import WeakNoiseWarning as WeakNoiseWarning
from .metrics import estimate_quality as estimate_quality
from .metrics import make_denoising_scorer as make_denoising_scorer
from .metrics import make_imputation_scorer as make_imputation_scorer
from .metrics import make_robustness_scorer as make_robustness_scorer
from .metrics import make_self_supervised_scorer as make_self_supervised_scorer
from .networks.conv import *
from .networks.dense import *
from .networks.dilated import *
from .networks.dncnn import *
from .networks.folded_unet import *
from .networks.pooling import *
from .networks.ridnet import *
from .networks.signal_unet import *
from .networks.unet import *
from .noise._additive import *
from .noise._cameras import *
from .noise._composed import *
from .noise._degradations import *
from .noise._recording import *
from .noise._replacing import *
from .noise._signal_noise import *
from .preprocessing import Augmenter as Augmenter
from .preprocessing import Centerer as Centerer
from .preprocessing import PixelScaler as PixelScaler
from .preprocessing import SignalAugmenter as SignalAugmenter
from .preprocessing import TableEncoder as TableEncoder
from .preprocessing import VarianceStabilizer as VarianceStabilizer
from .training._objectives import *

__all__: list[str]
__version__: str
