"""Denoising for scikit-learn: noisers that corrupt in training, estimators that learn to undo it."""

import lazy_loader

__version__ = "0.1.0"

# Names load when they are first used (SPEC 1); __init__.pyi lists them.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
