"""What an import costs, and what it brings."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

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


CUSTOMERS = ("app", "cli", "_demo")  # they are written as users could write them


def private_imports(path):
    """Yield what a module imports that users may not: private modules, and private names."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sk_denoise"):
            rest = (node.module or "").partition(".")[2]
            own = rest.split(".")[0] in CUSTOMERS
            names = [] if own else [*rest.split("."), *(alias.name for alias in node.names)]
            yield from (f"{node.module}: {name}" for name in names if name.startswith("_"))
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.startswith("sk_denoise.")]
            yield from (name for name in names if "._" in name)


@pytest.mark.parametrize("customer", CUSTOMERS)
def test_customers_of_the_library_call_what_users_can_call(customer):
    root = Path(sk_denoise.__file__).parent
    modules = sorted((root / customer).rglob("*.py")) or [root / f"{customer}.py"]
    found = {path.name: list(private_imports(path)) for path in modules}
    allowed = {"sk_denoise: __version__", "sk_denoise._extras: _extras"}  # of the distribution
    assert not {name: imports for name, imports in found.items() if set(imports) - allowed}
