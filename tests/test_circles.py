"""No module imports itself by way of others, and the check that says so sees what linters do not."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / ".ci" / "imports.py"
LAZY = "import lazy_loader\n__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)"


@pytest.fixture(scope="module")
def problems_of():
    return runpy.run_path(str(SCRIPT))["problems_of"]


@pytest.fixture
def package(tmp_path):
    """Return a function that writes the modules of a package called `pkg`, and gives its folder."""

    def written(**files):
        folder = tmp_path / "pkg"
        for name, text in {"__init__": "", **files}.items():
            path = folder / name.replace("__from__", "/")
            path = path if path.suffix else path.with_suffix(".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return folder

    return written


@pytest.mark.slow
def test_the_package_has_no_circle_and_imports_none_of_its_modules_by_name(problems_of):
    assert problems_of(ROOT / "sk_denoise") == []


@pytest.mark.parametrize(
    "back",
    [
        "import pkg.a",
        "from pkg import a",
        "from . import a",
        "from .a import name",
        "def f():\n    from pkg.a import name",
        "import sys\nmodule = sys.modules['pkg.a']",
        "TARGET = 'pkg.a:name'",
        "if TYPE_CHECKING:\n    import os\nelse:\n    import pkg.a",
    ],
)
def test_a_circle_is_found_however_it_is_closed(back, package, problems_of):
    first, *ways = problems_of(package(a="import pkg.b", b=back))
    assert "2 modules import each other: pkg.a, pkg.b" in first
    assert any("pkg.b -> pkg.a (b.py:" in way for way in ways)


def test_a_circle_of_packages_is_found_where_no_modules_import_each_other(package, problems_of):
    modules = {"a__from__x": "import pkg.b.x", "b__from__y": "import pkg.a.y"}
    empty = dict.fromkeys(["a__from____init__", "b__from____init__", "a__from__y", "b__from__x"], "")
    (first, *_) = problems_of(package(**modules, **empty))
    assert "2 packages import each other: pkg.a, pkg.b" in first


def test_what_a_stub_loads_lazily_is_an_import(package, problems_of):
    folder = package(__init__=LAZY, a="from pkg import name")
    assert problems_of(folder) == []
    (folder / "__init__.pyi").write_text("from .a import name as name")
    assert "2 modules import each other: pkg, pkg.a" in problems_of(folder)[0]


def test_imports_for_type_checkers_and_texts_for_people_are_none(package, problems_of):
    quiet = (
        '"""See pkg.a."""\n"pkg.a"\nif TYPE_CHECKING:\n    from pkg.a import name\nTEXT = "pkg.a is above"'
    )
    assert problems_of(package(a="import pkg.b", b=quiet)) == []


@pytest.mark.parametrize(
    "call",
    [
        "importlib.import_module('pkg.b')",
        "import_module('.b', __package__)",
        "import_module(name)",
        "importlib.import_module(f'pkg.{name}')",
        "__import__('pkg.b')",
        "pkgutil.resolve_name('pkg.b:name')",
    ],
)
def test_importing_a_module_by_its_name_is_for_the_registry_and_the_table_of_commands(
    call, package, problems_of
):
    refused = problems_of(package(a=f"def f(name):\n    return {call}", b=""))
    assert len(refused) == 1
    assert "a.py:2: " in refused[0]
    assert "only pkg._registry and pkg.cli may resolve" in refused[0]
    assert problems_of(package(a="", b="", _registry=f"def f(name):\n    return {call}")) == []


def test_another_name_hides_no_import(package, problems_of):
    (refused,) = problems_of(package(a="from importlib import import_module as other"))
    assert "give import_module no other name" in refused


def test_other_packages_may_be_imported_by_name(package, problems_of):
    assert problems_of(package(a="importlib.import_module('bm3d')")) == []


def test_the_names_in_the_registry_are_data(package, problems_of):
    files = {"a": "import pkg._registry", "_registry": "TABLE = {'a': 'pkg.a:name'}"}
    assert problems_of(package(**files)) == []
    assert problems_of(package(**files, b="import pkg.c", c="TABLE = {'b': 'pkg.b:name'}")) != []


def test_lazy_names_are_for_packages(package, problems_of):
    (refused,) = problems_of(package(a="import lazy_loader\nb = lazy_loader.load('pkg.b')"))
    assert "in its __init__.py" in refused
