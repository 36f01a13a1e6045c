"""Networks: plain torch, one architecture a file, together with its spec.

The registry lists the specs. This package offers what all networks share.
"""

from sk_denoise.networks._base import ACTIVATIONS, AlongRows, Bounded, SeededModule

__all__ = ["ACTIVATIONS", "AlongRows", "Bounded", "SeededModule"]
