"""Displays, in the manner of scikit-learn's; matplotlib is imported when one is drawn."""

from sk_denoise.plots._comparison import ComparisonDisplay
from sk_denoise.plots._denoising import DenoisingDisplay
from sk_denoise.plots._latents import LatentDisplay
from sk_denoise.plots._loss_curves import LossCurveDisplay
from sk_denoise.plots._robustness import NoiseRobustnessDisplay

__all__ = [
    "ComparisonDisplay",
    "DenoisingDisplay",
    "LatentDisplay",
    "LossCurveDisplay",
    "NoiseRobustnessDisplay",
]
