"""Denoising for scikit-learn: noisers that corrupt in training, estimators that learn to undo it."""

import lazy_loader

from sk_denoise._registry import public_names

__version__ = "0.1.0"

# Names load when they are first used (SPEC 1). The registry lists them; for type checkers, which run no code,
# .ci/stub.py writes them into __init__.pyi.
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs=public_names())
