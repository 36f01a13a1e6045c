"""Metrics of denoised data, and scorers for model selection."""

from sk_denoise.metrics._imputation import make_imputation_scorer
from sk_denoise.metrics._metrics import (
    PSNR_CAP,
    luminance,
    luminance_psnr,
    mse,
    nmse,
    psnr,
    psnr_of_mse,
    ssim,
)
from sk_denoise.metrics._quality import QualityEstimate, estimate_quality
from sk_denoise.metrics._scorers import make_denoising_scorer, make_robustness_scorer
from sk_denoise.metrics._self_supervised import make_self_supervised_scorer
from sk_denoise.metrics._signal_metrics import cosine_similarity, mad, prd, snr, snr_gain, ssd

__all__ = [
    "PSNR_CAP",
    "QualityEstimate",
    "cosine_similarity",
    "estimate_quality",
    "luminance",
    "luminance_psnr",
    "make_denoising_scorer",
    "make_imputation_scorer",
    "make_robustness_scorer",
    "make_self_supervised_scorer",
    "mad",
    "mse",
    "nmse",
    "prd",
    "psnr",
    "psnr_of_mse",
    "snr",
    "snr_gain",
    "ssd",
    "ssim",
]
