"""Imports: their cost, and the public names."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import sk_denoise

ROOT = Path(__file__).parents[1]
STUB = ROOT / "sk_denoise" / "__init__.pyi"


def loaded_after(code: str) -> set[str]:
    """Return the names of top-level packages that a fresh interpreter has loaded after running code."""
    program = f"import sys\n{code}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    return set(subprocess.check_output([sys.executable, "-c", program], text=True).split())


def test_the_package_alone_imports_no_large_package():
    loaded = loaded_after("import sk_denoise, sk_denoise._registry\ndir(sk_denoise)")
    assert loaded.isdisjoint({"torch", "sklearn", "skorch", "numpy", "matplotlib"})


@pytest.mark.slow
def test_all_public_names_together_import_no_plotting_and_no_images():
    loaded = loaded_after("from sk_denoise import *\nimport sk_denoise.plots, sk_denoise.metrics")
    assert {"torch", "sklearn"} <= loaded
    assert loaded.isdisjoint({"matplotlib", "skimage", "streamlit"})


@pytest.mark.parametrize("name", sk_denoise.__all__)
def test_every_public_name_exists_with_a_docstring(name):
    assert getattr(sk_denoise, name).__doc__
    assert name in dir(sk_denoise)


def test_other_names_raise_attribute_error():
    with pytest.raises(AttributeError):
        _ = sk_denoise.GausianNoiser


def test_the_stub_has_the_public_names():
    names_in_stub = set()
    for node in ast.parse(STUB.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(f"sk_denoise.{node.module}")
            names_in_stub |= {
                name for alias in node.names for name in ([alias.asname] if alias.asname else module.__all__)
            }
    assert names_in_stub == set(sk_denoise.__all__)


def test_the_stub_is_the_one_that_the_registry_gives():
    printed = subprocess.check_output([sys.executable, ROOT / ".ci" / "stub.py"], text=True)
    assert STUB.read_text(encoding="utf-8") == printed, "python .ci/stub.py > sk_denoise/__init__.pyi"


CUSTOMERS = ("app", "cli", "_demo")  # they are written as users could write them
# The names of everything, without torch, which help must not wait for
OPEN_TO_CUSTOMERS = {
    "sk_denoise: __version__",
    "sk_denoise._package: _package",
    "sk_denoise._intensity: _intensity",
    "sk_denoise._registry: _registry",
}


def private_imports(path):
    """Yield private modules and names that a module imports."""
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
def test_app_and_command_line_use_public_names_only(customer):
    root = Path(sk_denoise.__file__).parent
    modules = sorted((root / customer).rglob("*.py")) or [root / f"{customer}.py"]
    private = {path.name: list(private_imports(path)) for path in modules}
    assert not {name: imports for name, imports in private.items() if set(imports) - OPEN_TO_CUSTOMERS}
