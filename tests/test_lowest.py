"""The versions that `make test-lowest` installs, and those of constraints.txt, follow pyproject.toml."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / ".ci" / "lowest.py"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
GROUPS = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
REQUIREMENTS = [requirement for group in map(list, GROUPS) for requirement in map(Requirement, group)]


def pins_in(text):
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return {
        canonicalize_name(name): version
        for name, _, version in (line.partition("==") for line in lines if line)
    }


def test_every_lower_bound_is_pinned_and_nothing_else():
    run = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True, check=True)
    bounds = {
        canonicalize_name(requirement.name): str(requirement.specifier).removeprefix(">=")
        for requirement in REQUIREMENTS
        if requirement.name != PROJECT["name"]
    }
    assert pins_in(run.stdout) == bounds


@pytest.mark.parametrize("requirement", ["numpy", "numpy<3", "numpy>=2,<3", "numpy==2.0", "numpy>=1.9"])
def test_a_dependency_without_one_lower_bound_is_refused(requirement):
    project = {"name": "x", "dependencies": ["numpy>=2.0", requirement], "optional-dependencies": {}}
    with pytest.raises(ValueError, match="lower bound"):
        runpy.run_path(str(SCRIPT))["lowest_versions"](project)


def test_the_versions_that_the_project_is_tested_with_are_allowed():
    pins = pins_in((ROOT / "constraints.txt").read_text())
    for requirement in REQUIREMENTS:
        if requirement.name != PROJECT["name"]:
            assert Version(pins[canonicalize_name(requirement.name)]) in requirement.specifier


def test_the_lowest_python_runs_them():
    lowest = PROJECT["requires-python"].removeprefix(">=")
    assert re.search(r"^LOWEST_PYTHON \?= (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE).group(1) == (
        f"python{lowest}"
    )
