"""What an import costs, and what it brings."""

from __future__ import annotations

import subprocess
import sys

import pytest

import sk_denoise


def loaded_after(code: str) -> set[str]:
    """Return the names of top-level packages that a fresh interpreter has loaded after running code."""
    program = f"import sys\n{code}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    return set(subprocess.check_output([sys.executable, "-c", program], text=True).split())


def test_the_package_alone_brings_nothing_heavy():
    assert loaded_after("import sk_denoise").isdisjoint({"torch", "sklearn", "skorch", "numpy", "matplotlib"})


def test_all_public_names_together_bring_no_plotting_and_no_images():
    loaded = loaded_after("from sk_denoise import *\nimport sk_denoise.plots, sk_denoise.metrics")
    assert {"torch", "sklearn"} <= loaded
    assert loaded.isdisjoint({"matplotlib", "skimage", "streamlit"})


@pytest.mark.parametrize("name", sk_denoise.__all__)
def test_every_public_name_is_there_and_explains_itself(name):
    assert getattr(sk_denoise, name).__doc__
    assert name in dir(sk_denoise)


def test_other_names_are_not_there():
    with pytest.raises(AttributeError):
        _ = sk_denoise.GausianNoiser
