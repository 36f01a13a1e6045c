"""Displays of denoising, as in scikit-learn's ``Display`` classes."""

# matplotlib is imported when a display is drawn, so this import works without it.
from sk_denoise.plots._comparison import ComparisonDisplay
from sk_denoise.plots._denoising import DenoisingDisplay
from sk_denoise.plots._latents import LatentDisplay
from sk_denoise.plots._loss_curves import LossCurveDisplay
from sk_denoise.plots._noise_levels import NoiseModelDisplay
from sk_denoise.plots._robustness import NoiseRobustnessDisplay

__all__ = [
    "ComparisonDisplay",
    "DenoisingDisplay",
    "LatentDisplay",
    "LossCurveDisplay",
    "NoiseModelDisplay",
    "NoiseRobustnessDisplay",
]
