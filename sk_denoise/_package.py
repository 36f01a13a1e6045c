"""The version of the package, and the packages that its extras need."""

from __future__ import annotations

import sys
from importlib.util import find_spec

from sk_denoise.exceptions import MissingExtraError

__all__ = ["EXTRAS", "require_extra"]

__version__ = "0.1.0"


IMAGES = ("imagecodecs", "PIL", "tifffile")
# Modules by the extra of pyproject.toml that installs them; a test compares the two. Every image format needs
# the whole extra, so that an image that can be read can also be written.
EXTRAS = {
    "accelerate": ("accelerate",),
    "app": ("httpcore", "starlette", "streamlit", "uvicorn", *IMAGES),
    "arrow": ("pandas", "pyarrow"),
    "bm3d": ("bm3d",),
    "cli": ("click", "rich", *IMAGES),
    "compare": ("pandas",),
    "dask": ("dask", "distributed"),
    "dicom": ("pydicom", *IMAGES),
    "images": IMAGES,
    "onnx": ("onnx", "onnxscript"),
    "plots": ("matplotlib",),
    "signals": ("edfio",),
    "wavelets": ("pywt",),
    "zarr": ("fsspec", "zarr", *IMAGES),
}
LICENCE_NOTICES = {"bm3d": " Its licence allows non-commercial use only."}
# Distributions whose name differs from that of their module.
INSTALLED_AS = {"PIL": "pillow", "pywt": "PyWavelets"}


def require_extra(caller: str, extra: str) -> None:
    """Raise an error with the command to install where a package is missing.

    Callers do so before any work, not at the import of their module, so that a plain install can import all.

    Parameters
    ----------
    caller : str
        Name of the function or class that the user called.
    extra : str
        Key of `EXTRAS`.

    Raises
    ------
    MissingExtraError
        If a package of the extra is not installed.
    """
    missing = [INSTALLED_AS.get(module, module) for module in EXTRAS[extra] if not _is_installed(module)]
    if missing:
        names = " and ".join(filter(None, (", ".join(missing[:-1]), missing[-1])))
        # pip finds the extra in the installed package, from a wheel or a checkout, without an index that has
        # sk-denoise. The list of packages is for installers without extras.
        raise MissingExtraError(
            f"{caller} needs {names}, which {'is' if len(missing) == 1 else 'are'} not installed: "
            f'pip install "sk-denoise[{extra}]" (or: pip install {" ".join(missing)}).'
            f"{LICENCE_NOTICES.get(extra, '')}"
        )


def _is_installed(module: str) -> bool:
    # find_spec fails for modules that are made by hand, without a spec.
    if module in sys.modules:
        return sys.modules[module] is not None
    return find_spec(module) is not None
