"""Files about the project itself: their claims hold, and their commands and paths exist."""

from __future__ import annotations

import re
import runpy
import tomllib
from importlib.metadata import metadata
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
