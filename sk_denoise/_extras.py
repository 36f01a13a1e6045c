"""Packages that parts of the library need and a plain install does not bring."""

from __future__ import annotations

import sys
from importlib.util import find_spec

from sk_denoise.exceptions import MissingExtraError

__all__ = ["EXTRAS", "require_extra"]

IMAGES = ("imagecodecs", "PIL", "tifffile")
# Modules by the extra of pyproject.toml that brings them; a test compares the two.
EXTRAS = {
    "app": ("httpcore", "streamlit", *IMAGES),
    "bm3d": ("bm3d",),
    "cli": ("click", "rich", *IMAGES),
    "compare": ("pandas",),
    "images": IMAGES,
    "onnx": ("onnx", "onnxscript"),
    "plots": ("matplotlib",),
    "wavelets": ("pywt",),
}
REMARKS = {"bm3d": " Its licence allows non-commercial use only."}
INSTALLED_AS = {"PIL": "pillow", "pywt": "PyWavelets"}  # where that is not the name of the module


def require_extra(caller: str, extra: str) -> None:
    """Refuse to go on without the packages of an extra, and name the command that installs them.

    Parameters
    ----------
    caller : str
        The name that the user called.
    extra : str
        A key of `EXTRAS`.

    Raises
    ------
    MissingExtraError
        Where a package is not installed.
    """
    missing = [INSTALLED_AS.get(module, module) for module in EXTRAS[extra] if not _is_installed(module)]
    if missing:
        names = " and ".join(filter(None, (", ".join(missing[:-1]), missing[-1])))
        # The extra is found in what is installed, from a wheel or a checkout, without asking an index for
        # sk-denoise; the packages by themselves also serve installers that know no extras.
        raise MissingExtraError(
            f"{caller} needs {names}, which {'is' if len(missing) == 1 else 'are'} not installed: "
            f'pip install "sk-denoise[{extra}]" (or: pip install {" ".join(missing)}).'
            f"{REMARKS.get(extra, '')}"
        )


def _is_installed(module: str) -> bool:
    if module in sys.modules:  # find_spec trips over modules that are made by hand
        return sys.modules[module] is not None
    return find_spec(module) is not None
