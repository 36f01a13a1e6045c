"""Denoising for scikit-learn: noisers, denoisers and image networks."""

import lazy_loader

from sk_denoise._package import __version__ as __version__
from sk_denoise._registry import public_names
from sk_denoise._skops import ByteFormat, set_byte_format

# Names load at their first use (SPEC 1), so that the import of the package costs nothing. The registry lists
# them. Type checkers run no code, so .ci/stub.py writes the names into __init__.pyi.
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs=public_names())


def _byte_format() -> ByteFormat:
    from sk_denoise.persistence import _files

    return _files


# Estimators cannot import the module that saves them, because it imports them all. The root is above both.
set_byte_format(_byte_format)
