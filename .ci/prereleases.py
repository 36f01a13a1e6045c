"""Print which pre-releases `make test-nightly` tests, or that the package index has none."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.metadata import version

from packaging.version import Version


def report_of(installed: Mapping[str, str]) -> str:
    """Return a line for each package, and one that sums them up.

    Parameters
    ----------
    installed : mapping of str to str
        Installed version of each package.
    """
    lines = [
        f"{name} {text} ({'pre-release' if Version(text).is_prerelease else 'release'})"
        for name, text in installed.items()
    ]
    tested = [name for name, text in installed.items() if Version(text).is_prerelease]
    lines.append(
        f"Pre-releases are tested of: {', '.join(tested)}."
        if tested
        else "The package index has no newer pre-release; the tests run with these releases."
    )
    return "\n".join(lines)


if __name__ == "__main__":
    print(report_of({name: version(name) for name in sys.argv[1:]}))
