"""Networks: plain torch, one architecture a file, with the spec that an estimator builds it from.

The registry lists the specs; what all networks share stands here.
"""

from sk_denoise.networks._base import ACTIVATIONS, Bounded, SeededModule

__all__ = ["ACTIVATIONS", "Bounded", "SeededModule"]
