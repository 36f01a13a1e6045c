"""Training: batches, losses, optimizers, callbacks and one run, by skorch."""

from sk_denoise.training._batches import (
    BatchIterator,
    BatchSource,
    BatchTransform,
    CorruptedLongRows,
    CorruptedRows,
    CorruptedStream,
    FixedRows,
)
from sk_denoise.training._callbacks import check_callbacks, early_stopping_progress
from sk_denoise.training._device import (
    PRECISIONS,
    has_bfloat16_units,
    keep_on_device,
    resolve_device,
    resolve_precision,
)
from sk_denoise.training._losses import LOSSES, LossTraits, Units, build_criterion, check_loss
from sk_denoise.training._objectives import (
    OBJECTIVES,
    NoisySamples,
    Objective,
    TrainingPair,
    resolve_objective,
)
from sk_denoise.training._optimizers import (
    OPTIMIZERS,
    SCHEDULES,
    auto_batch_size,
    auto_epochs,
    auto_patch_epochs,
    resolve_optimizer,
)
from sk_denoise.training._processes import (
    current_processes,
    digest,
    is_first_process,
    joined_processes,
)
from sk_denoise.training._trainer import TrainingPlan, create_net, run_training

__all__ = [
    "LOSSES",
    "OBJECTIVES",
    "OPTIMIZERS",
    "PRECISIONS",
    "SCHEDULES",
    "BatchIterator",
    "CorruptedLongRows",
    "CorruptedRows",
    "CorruptedStream",
    "FixedRows",
    "LossTraits",
    "NoisySamples",
    "Objective",
    "BatchTransform",
    "BatchSource",
    "TrainingPair",
    "TrainingPlan",
    "Units",
    "auto_batch_size",
    "auto_epochs",
    "auto_patch_epochs",
    "build_criterion",
    "check_callbacks",
    "check_loss",
    "create_net",
    "current_processes",
    "digest",
    "has_bfloat16_units",
    "is_first_process",
    "joined_processes",
    "keep_on_device",
    "early_stopping_progress",
    "resolve_device",
    "resolve_objective",
    "resolve_optimizer",
    "resolve_precision",
    "run_training",
]
