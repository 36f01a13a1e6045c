"""Dependencies: a plain install serves the estimators, errors name missing extras."""

from __future__ import annotations

import ast
import builtins
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import tifffile  # noqa: F401 - it looks for imagecodecs when it is imported, and a test hides that
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import sk_denoise
from sk_denoise import (
    BM3DDenoiser,
    DenoisingAutoencoder,
    MissingExtraError,
    WaveletDenoiser,
    compare_restorers,
)
from sk_denoise._package import EXTRAS, INSTALLED_AS
from sk_denoise.app import run
from sk_denoise.datasets import ImageFolder, load_images
from sk_denoise.io import image_size, is_stack, open_stack, read_image, read_stack, write_image, write_stack
from sk_denoise.persistence import export_onnx
from sk_denoise.plots import DenoisingDisplay
from sk_denoise.restoration import denoise_file, denoise_image

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PACKAGE = Path(sk_denoise.__file__).parent
IMAGES = np.random.default_rng(0).random((3, 16, 16))
MODULES = sorted({module for modules in EXTRAS.values() for module in modules})


@pytest.fixture
def bare(monkeypatch):
    """Hide the packages of all extras."""
    for name in MODULES:
        monkeypatch.setitem(sys.modules, name, None)


USES = {
    "read_image": ("images", lambda: read_image("a.png")),
    "write_image": ("images", lambda: write_image("a.png", np.zeros((2, 3), np.uint8))),
    "image_size": ("images", lambda: image_size("a.png")),
    "open_stack": ("images", lambda: open_stack("a.tif")),
    "read_stack": ("images", lambda: read_stack("a.tif")),
    "is_stack": ("images", lambda: is_stack("a.tif")),
    "write_stack": ("images", lambda: write_stack("a.tif", np.zeros((2, 3, 4), np.uint8))),
    "ImageFolder": ("images", lambda: ImageFolder(".")),
    "denoise_file": ("images", lambda: denoise_file("a.png", "b.png")),
    "DenoisingDisplay.plot": ("plots", lambda: DenoisingDisplay.from_predictions(IMAGES, IMAGES, IMAGES)),
    "compare_restorers": ("compare", lambda: compare_restorers([lambda x: x], IMAGES, "gaussian")),
    "export_onnx": ("onnx", lambda: export_onnx(DenoisingAutoencoder(), "a.onnx")),
    "WaveletDenoiser": ("wavelets", lambda: WaveletDenoiser().fit(IMAGES)),
    "BM3DDenoiser": ("bm3d", lambda: BM3DDenoiser().fit(IMAGES)),
    "The app": ("app", run),
}


@pytest.mark.parametrize("caller", USES)
def test_a_missing_extra_is_named_with_the_command_that_installs_it(caller, bare, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    extra, use = USES[caller]
    packages = [INSTALLED_AS.get(module, module) for module in EXTRAS[extra]]
    with pytest.raises(MissingExtraError) as caught:
        use()
    message = str(caught.value)
    assert message.startswith(f"{caller} needs {packages[0]}")
    assert f'pip install "sk-denoise[{extra}]" (or: pip install {" ".join(packages)})' in message
    assert ("non-commercial" in message) == (extra == "bm3d")
    assert list(tmp_path.iterdir()) == []


def test_only_missing_packages_are_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(MissingExtraError, match=r"needs tifffile, which is .*or: pip install tifffile\)"):
        read_image("a.png")


def test_a_dicom_file_names_its_extra(tmp_path, monkeypatch):
    (tmp_path / "a.dcm").write_bytes(bytes(128) + b"DICM" + bytes(50))
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(MissingExtraError, match=r"Reading a DICOM file needs pydicom.*sk-denoise\[dicom\]"):
        read_image(tmp_path / "a.dcm")


def test_photographs_and_pretrained_weights_need_no_extra(monkeypatch):
    for name in set(MODULES) - {"PIL", "tifffile"}:  # scikit-image installs them
        monkeypatch.setitem(sys.modules, name, None)
    photo = load_images().test[0][:32, :40]
    assert denoise_image(photo, sigma=0.1).shape == (32, 40, 3)


@pytest.mark.parametrize("missing", ["click", "rich", "imagecodecs"])
def test_the_command_line_without_its_packages_ends_with_one_line(missing):
    hidden = f"import sys; sys.modules[{missing!r}] = None\n"
    code = f"{hidden}import runpy; runpy.run_module('sk_denoise', None, '__main__')"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert re.fullmatch(
        rf'sk-denoise: The command line needs {missing}, .*"sk-denoise\[cli\]".*\n', ended.stderr
    )


def test_the_console_script_runs_the_module_of_python():
    assert PROJECT["scripts"] == {"sk-denoise": "sk_denoise.__main__:main"}


def test_a_decoder_that_cannot_be_imported_is_not_called_a_damaged_file(tmp_path, monkeypatch):
    write_image(tmp_path / "a.png", np.zeros((2, 3), np.uint8))
    monkeypatch.delitem(sys.modules, "imagecodecs", raising=False)
    original = builtins.__import__

    def broken(name, *rest):
        if name == "imagecodecs":
            raise ImportError("libpng16.so.16: cannot open shared object file")
        return original(name, *rest)

    monkeypatch.setattr(builtins, "__import__", broken)
    with pytest.raises(ImportError, match=r"libpng16\.so\.16"):
        read_image(tmp_path / "a.png")


# What is declared ----------------------------------------------------------------------------------------


def distributions(requirements):
    """Return the names of requirements, with those of the extras of ours that stand among them."""
    names = set()
    for requirement in map(Requirement, requirements):
        if requirement.name == PROJECT["name"]:
            for extra in requirement.extras:
                names |= distributions(PROJECT["optional-dependencies"][extra])
        else:
            names.add(canonicalize_name(requirement.name))
    return names


MODULE_NAMES = {"scikit-image": "skimage", "scikit-learn": "sklearn"} | {
    canonicalize_name(distribution): module for module, distribution in INSTALLED_AS.items()
}


def modules(requirements):
    return {MODULE_NAMES.get(name, name.replace("-", "_")) for name in distributions(requirements)}


@pytest.mark.parametrize("extra", EXTRAS)
def test_an_extra_installs_the_modules_in_the_table(extra):
    entries = PROJECT["optional-dependencies"][extra]
    own = modules(entry for entry in entries if not entry.startswith(PROJECT["name"]))
    assert own <= set(EXTRAS[extra]) <= modules(entries)


def test_all_installs_every_extra_but_the_one_for_non_commercial_use():
    every = set().union(*(distributions(PROJECT["optional-dependencies"][extra]) for extra in EXTRAS))
    assert distributions(["sk-denoise[all]"]) == every - {"bm3d"}


def imported(tree):
    """Yield the package of each import that runs, and whether it runs with the import of the module."""
    for node in tree.body if isinstance(tree, ast.Module) else ast.iter_child_nodes(tree):
        if isinstance(node, ast.expr) or (
            isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        ):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.partition(".")[0]
        else:
            yield from imported(node)


def imports_of(part):
    """Return the packages that a part of the library imports with its modules, and all that it ever does."""
    at_once, ever = set(), set()
    for path in part.rglob("*.py") if part.is_dir() else [part]:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        ever |= set(imported(tree))
        tree.body = [node for node in tree.body if not isinstance(node, ast.FunctionDef | ast.ClassDef)]
        at_once |= set(imported(tree))
    ours = {"sk_denoise", *sys.stdlib_module_names}
    return at_once - ours, ever - ours


CUSTOMERS = (PACKAGE / "cli", PACKAGE / "app")
LIBRARY = [path for path in PACKAGE.iterdir() if path not in CUSTOMERS and path.suffix in ("", ".py")]


@pytest.mark.slow
def test_every_required_package_is_imported_by_the_library_and_each_import_is_declared():
    required = modules(PROJECT["dependencies"])
    at_once, ever = (set().union(*found) for found in zip(*map(imports_of, LIBRARY), strict=True))
    assert at_once <= required <= ever <= required | set(MODULES)


@pytest.mark.parametrize("customer", CUSTOMERS, ids=lambda path: path.name)
def test_command_line_and_app_import_the_packages_of_their_extra(customer):
    _, ever = imports_of(customer)
    assert ever <= modules([*PROJECT["dependencies"], f"sk-denoise[{customer.name}]"])
