"""The web app: ``sk-denoise app``."""

from sk_denoise.app._launch import run
from sk_denoise.app._settings import Settings

__all__ = ["Settings", "run"]
