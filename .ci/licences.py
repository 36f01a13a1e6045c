"""Print the licences of all dependencies as a table for the documentation, from installed metadata.

``python .ci/licences.py > docs/reference/licences.md`` writes the page; a test compares it with the metadata.
"""

from __future__ import annotations

import re
import sys
import tomllib
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = "sk-denoise"
PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"
# Extras by the words of the page, from the smallest install to the largest
INSTALLS = {
    "the library": "",
    "extra `all`": "all",
    "`make` (tests, docs, style)": "dev",
    "extra `bm3d`": "bm3d",
}
NON_COMMERCIAL = re.compile(r"non.?commercial", re.IGNORECASE)
# Names that packages give to one licence
SPELLINGS = {
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "3-clause BSD": "BSD-3-Clause",
    "3-Clause BSD License": "BSD-3-Clause",
    "BSD 2-Clause License": "BSD-2-Clause",
    "BSD License": "BSD",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
PAGE = """# Licences of dependencies

sk_denoise has the BSD 3-Clause License. This table lists the packages that an installation brings, with the
licences in their metadata. It is made by `.ci/licences.py` on Linux with the versions in `constraints.txt`.

- **No package that `make demo` or `make test` installs is for non-commercial use only.** A test checks it.
- The extra `bm3d` is: the licences of bm3d and bm4d allow **non-commercial use only**. No other extra
  installs them.
- PyTorch's build with CUDA also brings packages of NVIDIA under NVIDIA's own terms. The CPU build does not
  ([install](../start/install.md)).

| Package | Licence | Installed by |
|---|---|---|
"""


def find_licence(package: Distribution) -> str:
    """Return the licence of an installed package in a few words; empty if its metadata name none."""
    fields = package.metadata
    classifiers = [
        c.split(" :: ")[-1] for c in fields.get_all("Classifier", []) if c.startswith("License ::")
    ]
    named = [name for name in classifiers if name != "OSI Approved"]
    # The field License may hold the whole text.
    text = (fields.get("License") or "").strip()
    short = [text] if text and "\n" not in text and len(text) < 60 else []
    licences = [fields["License-Expression"]] if fields.get("License-Expression") else short or named
    # A restriction in a classifier counts beside any text.
    licences += [name for name in named if NON_COMMERCIAL.search(name) and name not in licences]
    if not licences:
        licences = [_read_first_line(package)]
    return ", ".join(SPELLINGS.get(name, name) for name in licences if name)


def _read_first_line(package: Distribution) -> str:
    """Return the first line of the text of a licence."""
    for file in package.files or []:
        if re.match(r"(?i)licen[cs]e|copying", file.name) and ".dist-info" in str(file):
            lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
            return lines[0] if lines else ""
    return ""


def find_installed(extra: str) -> dict[str, Distribution]:
    """Return the installed packages that the project with an extra needs, by name."""
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [(PROJECT, ""), (PROJECT, extra)]
    while waiting:
        name, one_extra = waiting.pop()
        if (name, one_extra) in seen:
            continue
        seen.add((name, one_extra))
        if name == PROJECT:
            # The checkout, which may be newer than its installation
            own = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
            needs = own["optional-dependencies"][one_extra] if one_extra else own["dependencies"]
        else:
            # Packages for other systems are not installed.
            try:
                found[name] = distribution(name)
            except PackageNotFoundError:
                continue
            needs = found[name].requires or []
        for text in needs:
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({"extra": one_extra}):
                waiting += [(canonicalize_name(needed.name), part) for part in ("", *needed.extras)]
    return found


def make_page() -> str:
    """Return the page of the documentation."""
    rows: dict[str, str] = {}
    for words, extra in INSTALLS.items():
        for name, package in find_installed(extra).items():
            licence = find_licence(package) or "not in its metadata"
            rows.setdefault(name, f"| {package.metadata['Name']} | {licence} | {words} |")
    return PAGE + "\n".join(rows[name] for name in sorted(rows)) + "\n"


if __name__ == "__main__":
    sys.stdout.write(make_page())
