"""Displays, in the manner of scikit-learn's; matplotlib is imported when one is drawn."""

from sk_denoise.plots._comparison import ComparisonDisplay
from sk_denoise.plots._denoising import DenoisingDisplay

__all__ = ["ComparisonDisplay", "DenoisingDisplay"]
