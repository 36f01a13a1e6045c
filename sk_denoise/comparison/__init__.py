"""Anything that denoises, asked the same questions."""

from sk_denoise.comparison._table import compare_denoisers

__all__ = ["compare_denoisers"]
