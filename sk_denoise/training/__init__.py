"""Training: the only place that knows skorch. Batches, losses, optimizers, callbacks, one run."""

from sk_denoise.training._batches import CorruptedRows, FixedRows
from sk_denoise.training._callbacks import SCHEDULES
from sk_denoise.training._defaults import auto_batch_size, auto_epochs
from sk_denoise.training._device import PRECISIONS, keep_on, resolve_device, resolve_precision
from sk_denoise.training._losses import LOSSES, LOSSES_ON_UNIT_INTERVAL
from sk_denoise.training._optimizers import OPTIMIZERS, resolve_optimizer
from sk_denoise.training._trainer import TrainingPlan, create_net, train

__all__ = [
    "LOSSES",
    "LOSSES_ON_UNIT_INTERVAL",
    "OPTIMIZERS",
    "PRECISIONS",
    "SCHEDULES",
    "CorruptedRows",
    "FixedRows",
    "TrainingPlan",
    "auto_batch_size",
    "auto_epochs",
    "create_net",
    "keep_on",
    "resolve_device",
    "resolve_optimizer",
    "resolve_precision",
    "train",
]
