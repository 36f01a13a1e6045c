"""The web app: ``sk-denoise app``."""
