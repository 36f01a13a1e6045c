"""Metrics of denoised data, and scorers for model selection."""

from sk_denoise.metrics._metrics import PSNR_CAP, mse, nmse, psnr, psnr_of_mse, ssim
from sk_denoise.metrics._quality import QualityEstimate, estimate_quality
from sk_denoise.metrics._scorers import make_denoising_scorer, make_robustness_scorer

__all__ = [
    "PSNR_CAP",
    "QualityEstimate",
    "estimate_quality",
    "make_denoising_scorer",
    "make_robustness_scorer",
    "mse",
    "nmse",
    "psnr",
    "psnr_of_mse",
    "ssim",
]
