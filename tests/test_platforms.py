"""Windows and macOS, as far as Linux can show: paths, file names, encodings and the start method "spawn"."""

from __future__ import annotations

import ast
import multiprocessing
import os
import re
import signal
from collections import Counter
from pathlib import Path, PureWindowsPath

import joblib
import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from torch.utils.data import DataLoader

import sk_denoise
from sk_denoise import (
    DenoisingAutoencoder,
    DenoisingEnsemble,
    DenseNetwork,
    DnCNNNetwork,
    GaussianNoiser,
    ImageDenoiser,
    MedianDenoiser,
    WienerDenoiser,
    WienerMixtureDenoiser,
)
from sk_denoise.cli import main
from sk_denoise.datasets import ImageFolder, _folder
from sk_denoise.persistence import save

ROOT = Path(__file__).parents[1]
SOURCES = sorted(Path(sk_denoise.__file__).parent.rglob("*.py"))
# Web addresses, and keys of Zarr stores, have one separator everywhere.
NOT_PATHS = ("_urls.py", "_zarr_stores.py")
IMAGES = np.random.default_rng(0).random((40, 16, 16))
POSIX_ONLY_MODULES = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}
POSIX_ONLY_FUNCTIONS = {"chown", "fork", "getgid", "getuid", "killpg", "mkfifo", "setsid", "sysconf", "uname"}
RESERVED_ON_WINDOWS = {"aux", "con", "nul", "prn"} | {
    f"{name}{number}" for name in ("com", "lpt") for number in range(10)
}
on_posix = pytest.mark.skipif(os.name == "nt", reason="the name stands for another place on Windows")


# Source code -------------------------------------------------------------------------------------------


def calls_in(code):
    return [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]


def paths_as_texts_in(code):
    """Return the calls that join or split paths as texts."""
    found = []
    for call in calls_in(code):
        if not isinstance(call.func, ast.Attribute):
            continue
        texts = [call.func.value, *call.args] if call.func.attr == "join" else call.args
        by_separator = any(isinstance(node, ast.Constant) and node.value in ("/", "\\") for node in texts)
        if call.func.attr in ("join", "split", "rsplit", "partition", "rpartition") and (
            by_separator or ast.unparse(call.func) in ("os.path.join", "os.sep.join")
        ):
            found.append(ast.unparse(call))
    return found


def texts_without_encoding_in(code):
    """Return the calls that read or write text in the encoding of the system."""
    found = []
    for call in calls_in(code):
        name = getattr(call.func, "attr", getattr(call.func, "id", ""))
        modes = [node.value for node in call.args if isinstance(node, ast.Constant)]
        has_mode = any(isinstance(mode, str) and re.fullmatch(r"[rwax]\+?t?", mode) for mode in modes)
        is_text = name in ("read_text", "write_text") or (name == "open" and has_mode)
        if is_text and "encoding" not in {keyword.arg for keyword in call.keywords}:
            found.append(ast.unparse(call))
    return found


def uses_of_posix_in(code):
    """Return the imports and calls that Windows does not have."""
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name in POSIX_ONLY_MODULES]
        elif isinstance(node, ast.ImportFrom) and node.module in POSIX_ONLY_MODULES:
            found.append(node.module)
    functions = [
        call.func for call in calls_in(code) if getattr(call.func, "attr", "") in POSIX_ONLY_FUNCTIONS
    ]
    return found + [name for name in map(ast.unparse, functions) if name.startswith("os.")]


# Behind a look at the system, or with another way where the module is missing.
WITH_ANOTHER_WAY = {
    "_launch.py": ["resource"],
    "_service.py": ["fcntl", "os.getuid"],
    "_workers.py": ["resource"],
}
RULES = [paths_as_texts_in, texts_without_encoding_in, uses_of_posix_in]


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_package_follows_the_rule(rule):
    found = {path.name: rule(path.read_text(encoding="utf-8")) for path in SOURCES}
    for name in NOT_PATHS:
        found.pop(name)
    if rule is uses_of_posix_in:
        for name, calls in WITH_ANOTHER_WAY.items():
            assert found.pop(name) == calls
    assert {name: calls for name, calls in found.items() if calls} == {}


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        (paths_as_texts_in, "os.path.join(folder, name)"),
        (paths_as_texts_in, "'/'.join(parts)"),
        (paths_as_texts_in, "path.rpartition('\\\\')"),
        (texts_without_encoding_in, "path.read_text()"),
        (texts_without_encoding_in, "open(path, 'w')"),
        (uses_of_posix_in, "import fcntl"),
        (uses_of_posix_in, "from resource import getrusage"),
        (uses_of_posix_in, "os.fork()"),
    ],
)
def test_a_breach_of_the_rule_is_found(rule, code):
    assert len(rule(code)) == 1


# Processes ---------------------------------------------------------------------------------------------

MEMBER = DenoisingAutoencoder(DenseNetwork((8,)), 2, noise=0.1, max_epochs=2, random_state=0)
FEW_WEIGHTS = ImageDenoiser(DnCNNNetwork(2, width=4), noise=0.1, patch_size=8, max_epochs=1, random_state=0)
MODELS = {
    "DenoisingAutoencoder": MEMBER,
    "Pipeline": make_pipeline(GaussianNoiser(0.1), clone(MEMBER).set_params(noise="auto")),
    "DenoisingEnsemble": DenoisingEnsemble(MEMBER, 2, random_state=0),
    "ImageDenoiser": FEW_WEIGHTS,
    "MedianDenoiser": MedianDenoiser(),
    "WienerDenoiser": WienerDenoiser(sigma=0.1),
    "WienerMixtureDenoiser": WienerMixtureDenoiser(0.1, random_state=0),
}


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def spawned():
    """Start a process as Windows and macOS do, which imports everything anew."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        yield pool


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_a_spawned_process_fits_and_predicts_the_same_bits(name, spawned, one_thread):
    expected = clone(MODELS[name]).fit(IMAGES)
    fitted = spawned.apply(clone(MODELS[name]).fit, (IMAGES,))
    np.testing.assert_array_equal(fitted.predict(IMAGES), expected.predict(IMAGES))
    np.testing.assert_array_equal(spawned.apply(expected.predict, (IMAGES,)), expected.predict(IMAGES))


@pytest.mark.slow
def test_processes_of_joblib_fit_the_same_bits(one_thread):
    expected = [clone(model).fit(IMAGES).predict(IMAGES) for model in MODELS.values()]
    fitted = joblib.Parallel(n_jobs=2, backend="loky")(
        joblib.delayed(clone(model).fit)(IMAGES) for model in MODELS.values()
    )
    for model, prediction in zip(fitted, expected, strict=True):
        np.testing.assert_array_equal(model.predict(IMAGES), prediction)


@pytest.mark.slow
def test_spawned_workers_of_a_loader_read_a_folder(tmp_path):
    for number in range(3):
        Image.fromarray(np.full((5, 4), 10 * number, np.uint8)).save(tmp_path / f"{number}.png")
    folder = ImageFolder(tmp_path, color="gray")
    folder[0]  # the cache is in use before the worker gets a copy
    loader = DataLoader(folder, batch_size=None, num_workers=1, multiprocessing_context="spawn")
    assert [int(image[0, 0]) for image in loader] == [0, 10, 20]


# Paths -------------------------------------------------------------------------------------------------


def test_pairs_of_a_folder_have_one_name_on_every_system():
    folder = PureWindowsPath("C:\\clean")
    paths = [folder / "a" / "1.PNG", folder / "b.tif"]
    assert list(_folder._index_by_name(folder, paths)) == ["a/1", "b"]


@pytest.mark.parametrize("path", ["C:\\models\\digits.pkl", "\\\\server\\share\\digits.pkl", "C:digits.pkl"])
def test_the_ending_of_a_windows_path_is_seen(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    place = re.escape(path)
    with pytest.raises((ValueError, OSError), match=rf"{place} (ends as pickled files do|cannot be written)"):
        save(GaussianNoiser(), path)


@on_posix
def test_the_command_line_takes_drive_letters_and_backslashes_as_parts_of_a_path(tmp_path, monkeypatch):
    # Such names are valid on POSIX, where they hold no separator: a program that splits them finds no file.
    monkeypatch.chdir(tmp_path)
    model, noisy, denoised = "C:\\models\\mine.safetensors", "C:\\photos\\noisy.png", "D:\\photos\\new.png"
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32), np.uint8)
    Image.fromarray(pixels).save(noisy)
    save(clone(FEW_WEIGHTS).fit(IMAGES), model)
    assert main(["models", model]) == 0
    assert main(["denoise", noisy, "-o", denoised, "--model", model]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [model, noisy, denoised]


def test_names_of_files_are_valid_on_windows_and_differ_by_more_than_case():
    folders = ("sk_denoise", "tests", "docs", "examples", "benchmarks", "pretraining", ".ci")
    made = {"_build", "generated", "gallery", "backreferences", "__pycache__", "runs"}
    found = [path.relative_to(ROOT) for folder in folders for path in (ROOT / folder).rglob("*")]
    paths = [path.as_posix() for path in found if not made & set(path.parts)]
    assert len(paths) > 100
    parts = {part for path in paths for part in path.split("/")}
    assert [part for part in parts if re.search(r'[<>:"|?*\\]|[. ]$', part)] == []
    assert [part for part in parts if part.partition(".")[0].lower() in RESERVED_ON_WINDOWS] == []
    assert [name for name, count in Counter(path.casefold() for path in paths).items() if count > 1] == []


def test_commands_run_where_sighup_is_unknown(monkeypatch, capsys):
    monkeypatch.delattr(signal, "SIGHUP", raising=False)
    before = signal.getsignal(signal.SIGTERM)
    assert main(["models"]) == 0
    assert signal.getsignal(signal.SIGTERM) == before
    assert "gray" in capsys.readouterr().out
