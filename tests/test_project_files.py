"""Files about the project itself: their claims hold, and their commands and paths exist."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
import tarfile
import tomllib
from importlib.metadata import PathDistribution, metadata
from pathlib import Path

import pytest

import sk_denoise

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
DOCUMENTS = sorted(ROOT.glob("*.md"))
HOSTS = re.compile(r"https?://")


def text_of(name):
    return (ROOT / name).read_text(encoding="utf-8")


def recipe_of(target):
    """Return the commands of a target of the Makefile, without the path of the environment."""
    (lines,) = re.findall(rf"^{target}:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    return [line.strip().removeprefix("$(BIN)/") for line in lines.splitlines()]


# Documents ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_documents_lead_to_files(document):
    for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text(encoding="utf-8")):
        assert (ROOT / target).exists(), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_targets_of_make_exist(document):
    targets = re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE)
    named = re.findall(r"(?:`|\$ )make ([a-z-]+)", document.read_text(encoding="utf-8"))
    assert [name for name in named if name not in targets] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_paths_exist(document):
    text = document.read_text(encoding="utf-8")
    named = re.findall(r"(?<![\w/-])(?:sk_denoise|tests|benchmarks|examples|\.ci)/[\w./-]*", text)
    named += re.findall(r"`(\w+\.(?:md|toml|txt|cff))`", text)
    named = [name.rstrip(".") for name in named if "NAME" not in name]
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("name", ["CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "RELEASING.md", "SECURITY.md"])
def test_a_document_has_one_title_and_fits_into_the_editor(name):
    lines = text_of(name).splitlines()
    assert [line for line in lines if line.startswith("# ")] == lines[:1]
    assert [line for line in lines if len(line) > 140 and not line.startswith("|")] == []


@pytest.mark.parametrize("name", ["CODE_OF_CONDUCT.md", "SECURITY.md"])
def test_a_missing_contact_is_called_a_placeholder(name):
    text = text_of(name)
    assert re.search(r"[\w.]+@[\w.]+|https?://", text) or "**Placeholder:**" in text


def test_tables_stand_in_the_files_that_contributors_are_sent_to():
    named = re.findall(r"`([A-Z]{5,})`\s+in\s+`(sk_denoise/\S+\.py)`", text_of("CONTRIBUTING.md"))
    tables = {"NETWORKS", "NOISES", "OPTIMIZERS", "SCHEDULES", "FILTERS", "METRICS", "FORMATS", "COMMANDS"}
    assert tables | {"LOSSES"} == {table for table, _ in named}
    for table, path in named:
        assert re.search(rf"^{table}\b.* = [({{]", text_of(path), re.MULTILINE), (table, path)


def test_examples_to_copy_exist():
    text = text_of("CONTRIBUTING.md")
    for path, names in {
        "sk_denoise/noise/_corruptions.py": ["add_gaussian"],
        "sk_denoise/noise/_additive.py": ["GaussianNoiser"],
        "sk_denoise/noise/_base.py": ["BaseNoiser"],
        "sk_denoise/training/_losses.py": ["charbonnier_loss"],
        "sk_denoise/networks/_base.py": ["SeededModule", "reset_parameters"],
        "sk_denoise/networks/_spec.py": ["ImageNetworkSpec", "AutoencoderSpec"],
        "sk_denoise/networks/dncnn.py": ["receptive_radius", "stride", "build"],
    }.items():
        for name in names:
            assert f"`{name}" in text, name
            assert re.search(rf"\b{name}\b", text_of(path)), (name, path)


# Metadata ----------------------------------------------------------------------------------------------


def test_the_citation_is_valid_and_of_this_version():
    yaml = pytest.importorskip("yaml")
    citation = yaml.safe_load(text_of("CITATION.cff"))
    assert {"cff-version", "message", "title", "authors"} <= set(citation)  # the required keys
    assert citation["cff-version"] == "1.2.0"
    assert citation["type"] == "software"
    assert citation["license"] == PROJECT["license"]
    assert citation["version"] == sk_denoise.__version__
    assert [author["name"] for author in citation["authors"]] == [
        author["name"] for author in PROJECT["authors"]
    ]
    assert all(isinstance(keyword, str) for keyword in citation["keywords"])


def test_the_changelog_begins_with_this_version():
    first = re.search(r"^## (\S+)", text_of("CHANGELOG.md"), re.MULTILINE)
    assert first[1] == sk_denoise.__version__.partition(".dev")[0]


def test_classifiers_name_supported_versions_and_the_lowest_is_among_them():
    listed = [entry.rpartition(" ")[2] for entry in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", entry)]
    lowest = PROJECT["requires-python"].removeprefix(">=")
    assert listed == sorted(listed, key=lambda text: int(text.partition(".")[2]))
    assert listed[0] == lowest


def test_no_address_of_the_metadata_is_a_placeholder():
    addresses = PROJECT.get("urls", {})
    installed = [
        entry.partition(",")[2].strip() for entry in metadata("sk-denoise").get_all("Project-URL") or []
    ]
    for address in (*addresses.values(), *installed):
        assert re.fullmatch(r"https://[\w.-]+\.[a-z]+(/\S*)?", address), address
        assert not re.search(r"example|localhost|invalid|REPOSITORY|SITE", address), address
    assert addresses or "# Placeholders:" in text_of("pyproject.toml")


# Hooks and targets -------------------------------------------------------------------------------------


def test_hooks_run_what_make_lint_runs_and_download_nothing():
    yaml = pytest.importorskip("yaml")
    text = text_of(".pre-commit-config.yaml")
    config = yaml.safe_load(text)
    assert [repository["repo"] for repository in config["repos"]] == ["local"]
    hooks = config["repos"][0]["hooks"]
    assert {hook["language"] for hook in hooks} == {"system"}
    assert not HOSTS.search(text)
    entries = [hook["entry"].removeprefix(".venv/bin/").split(" --force")[0] for hook in hooks]
    linted = [command.removesuffix(" .") for command in recipe_of("lint")]
    assert [command for command in linted if command not in entries] == []


def test_the_environments_of_make_are_ignored_and_cleaned():
    made = re.findall(r"^\w+ := (\.venv\S*)", MAKEFILE, re.MULTILINE)
    assert {".venv", ".venv-lowest", ".venv-bare", ".venv-nightly"} <= set(made)
    ignored = text_of(".gitignore").splitlines()
    assert {".venv/", ".venv-*/"} <= set(ignored)
    assert "$(VENV) $(VENV)-*" in "".join(recipe_of("clean"))


def test_constraints_of_the_nightly_environment_free_the_tested_packages_alone():
    (names,) = re.findall(r"^PRERELEASES := (.*)$", MAKEFILE, re.MULTILINE)
    pinned = [line.partition("==")[0] for line in text_of("constraints.txt").splitlines() if "==" in line]
    assert all(pinned.count(name) == 1 for name in names.split())


def test_pre_releases_are_named_and_their_absence_too():
    report_of = runpy.run_path(str(ROOT / ".ci" / "prereleases.py"))["report_of"]
    assert report_of({"numpy": "2.9.0rc1", "scipy": "1.20.0.dev0", "scikit-learn": "1.9.1"}).splitlines() == [
        "numpy 2.9.0rc1 (pre-release)",
        "scipy 1.20.0.dev0 (pre-release)",
        "scikit-learn 1.9.1 (release)",
        "Pre-releases are tested of: numpy, scipy.",
    ]
    assert "no newer pre-release" in report_of({"numpy": "2.4.6"})


# Dependencies ------------------------------------------------------------------------------------------

LICENCES = runpy.run_path(str(ROOT / ".ci/licences.py"))


@pytest.mark.parametrize("extra", ["all", "dev", "test"])
def test_no_extra_but_bm3d_installs_a_package_for_non_commercial_use(extra):
    packages = LICENCES["find_installed"](extra)
    assert {"numpy", "torch", "streamlit"} <= packages.keys()
    licences = {name: LICENCES["find_licence"](package) for name, package in packages.items()}
    assert [name for name, text in licences.items() if LICENCES["NON_COMMERCIAL"].search(text)] == []


def test_make_installs_no_extra_that_is_for_non_commercial_use():
    installed = re.findall(r"--editable '\.\[(\w+)\]'", MAKEFILE)
    assert set(installed) == {"dev", "test", "bench"}
    assert "bm3d" not in MAKEFILE


def test_the_table_of_licences_has_every_installed_package():
    page = text_of("docs/reference/licences.md")
    named = set(re.findall(r"^\| ([\w.-]+) \|", page, re.MULTILINE))
    for extra in ("all", "dev"):
        names = {package.metadata["Name"] for package in LICENCES["find_installed"](extra).values()}
        assert names <= named
    assert "not in its metadata" not in page


def test_a_licence_is_found_in_each_field_of_the_metadata(tmp_path):
    def licence_of(*lines, text=""):
        folder = tmp_path / f"p{len(list(tmp_path.iterdir()))}-1.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text("\n".join(["Metadata-Version: 2.1", "Name: p", *lines]))
        (folder / "LICENSE").write_text(text)
        (folder / "RECORD").write_text(f"{folder.name}/LICENSE,,\n")
        return LICENCES["find_licence"](PathDistribution(folder))

    free = "Classifier: License :: Free for non-commercial use"
    assert licence_of("License-Expression: MIT") == "MIT"
    assert licence_of("License: BSD License") == "BSD"
    assert licence_of("Classifier: License :: OSI Approved :: MIT License") == "MIT"
    assert licence_of("License: MIT", free) == "MIT, Free for non-commercial use"
    assert licence_of(text="\nNon-commercial use only\n") == "Non-commercial use only"


@pytest.mark.skipif(os.name == "nt", reason="runs a script of a shell")
@pytest.mark.parametrize(
    ("script", "code", "words"),
    [
        ("exit 0", 0, ""),
        ("echo 'Found 1 known vulnerability' >&2; exit 1", 1, "Found 1 known"),
        ("echo 'Connection refused' >&2; exit 1", 2, r"Nothing was audited: .*\(Connection refused\)"),
    ],
)
def test_an_audit_without_a_database_says_so(script, code, words, tmp_path):
    program = tmp_path / "pip-audit"
    program.write_text(f'#!/bin/sh\ngrep -q "^numpy==" "$6" || exit 3\n{script}\n')
    program.chmod(0o755)
    command = [sys.executable, ROOT / ".ci/audit.py", program]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == code
    assert re.search(words, run.stdout + run.stderr)


def test_the_container_names_the_version_of_torch_that_is_tested():
    (version,) = re.findall(r"^torch==(.*)$", text_of("constraints.txt"), re.MULTILINE)
    assert f"ARG TORCH=torch=={version}\n" in text_of("Dockerfile")
    assert f"TORCH=torch=={version}+cpu" in text_of("Dockerfile")
    assert f"TORCH=torch=={version}+cpu" in text_of("docs/how_to/app.md")


@pytest.mark.slow
def test_a_source_archive_holds_the_package_and_no_test(tmp_path):
    for name in ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(ROOT / name, tmp_path)
    for folder in ("sk_denoise", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    build = "from setuptools import build_meta; build_meta.build_sdist('dist')"
    subprocess.run([sys.executable, "-c", build], cwd=tmp_path, check=True, capture_output=True)
    (archive,) = (tmp_path / "dist").glob("*.tar.gz")
    with tarfile.open(archive) as files:
        names = files.getnames()
    assert any(name.endswith("sk_denoise/persistence/_files.py") for name in names)
    assert any(name.endswith("weights/gray.safetensors") for name in names)
    assert [name for name in names if "/tests" in name] == []
