"""What "auto" means for the length and the steps of a training run, as functions of its size.

Measured on digits, MNIST and small tables; see the user guide, "defaults".
"""

from __future__ import annotations

import math
from typing import TypeVar

__all__ = ["auto_batch_size", "auto_epochs", "auto_patch_epochs", "auto_weight_decay"]

T = TypeVar("T")

# for fewer samples than the key
BATCH_SIZES = {1_000: 32, 10_000: 64, math.inf: 128}
WEIGHT_DECAYS = {1_000: 0.3, 10_000: 0.2, math.inf: 0.0}
STEPS, LEAST_EPOCHS, MOST_EPOCHS = 2_500, 10, 500


def auto_batch_size(n_samples: int) -> int:
    """Return the batch size for so many samples."""
    return min(n_samples, _for_size(BATCH_SIZES, n_samples))


def auto_weight_decay(n_samples: int) -> float:
    """Return the decoupled weight decay for so many samples: much for few, none for many."""
    return _for_size(WEIGHT_DECAYS, n_samples)


def auto_epochs(steps_of_an_epoch: int) -> int:
    """Return the epochs that make about as many steps as small data need."""
    return max(LEAST_EPOCHS, min(MOST_EPOCHS, math.ceil(STEPS / steps_of_an_epoch)))


def auto_patch_epochs(steps_of_an_epoch: int) -> int:
    """Return the epochs that make as many steps, of patches that are other ones in every epoch."""
    return max(1, min(MOST_EPOCHS, math.ceil(STEPS / steps_of_an_epoch)))


def _for_size(table: dict[float, T], n_samples: int) -> T:
    return next(value for limit, value in table.items() if n_samples < limit)
