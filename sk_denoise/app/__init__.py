"""Web app that denoises images: ``sk-denoise app``."""

from sk_denoise.app._launch import Settings, run

__all__ = ["Settings", "run"]
