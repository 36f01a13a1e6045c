"""Print the lowest versions that pyproject.toml allows, as constraints for pip; see `make test-lowest`."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


def lowest_versions(project: dict) -> dict[str, str]:
    """Return the lower bound of every dependency, extras included, by its name."""
    extras = project["optional-dependencies"].values()
    bounds: dict[str, str] = {}
    for requirement in [*project["dependencies"], *(entry for extra in extras for entry in extra)]:
        if requirement.startswith(f"{project['name']}["):  # an extra that holds others
            continue
        match = re.fullmatch(r"([A-Za-z0-9._-]+)(?:\[\w+\])?>=([0-9.]+)", requirement)
        if match is None:
            raise ValueError(f"{requirement!r} has no lower bound, as in 'numpy>=2.0'.")
        name, version = match.groups()
        if bounds.setdefault(name, version) != version:
            raise ValueError(f"{name} has two lower bounds, {bounds[name]} and {version}.")
    return bounds


if __name__ == "__main__":
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    for name, version in sorted(lowest_versions(project).items()):
        print(f"{name}=={version}")
