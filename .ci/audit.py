"""Look up known weaknesses of the installed packages with pip-audit; see `make audit`."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from importlib.metadata import distributions
from pathlib import Path

OWN = "sk-denoise"


def list_installed() -> list[str]:
    """Return the installed packages as requirements, without the project itself."""
    names = {package.metadata["Name"]: package.version for package in distributions()}
    # A database has no local builds, such as 2.13.0+cpu.
    return sorted(f"{name}=={version.partition('+')[0]}" for name, version in names.items() if name != OWN)


def main(pip_audit: str) -> int:
    """Run pip-audit; return 0 without findings, 1 with some and 2 if no database was reached."""
    with tempfile.TemporaryDirectory() as folder:
        installed = Path(folder) / "installed.txt"
        installed.write_text("\n".join(list_installed()), encoding="utf-8")
        command = [pip_audit, "--disable-pip", "--no-deps", "--progress-spinner", "off"]
        run = subprocess.run(
            [*command, "--requirement", str(installed)], capture_output=True, text=True, check=False
        )
    print(run.stdout, end="")
    # The exit code is 1 for findings, and for errors of all kinds.
    if run.returncode == 0 or re.search(r"Found \d+ known", run.stderr):
        print(run.stderr, end="")
        return min(run.returncode, 1)
    reason = (run.stderr.strip().splitlines() or ["no reason"])[-1]
    print(
        f"Nothing was audited: pip-audit could not reach a database of known weaknesses ({reason[:200]}). "
        "Run `make audit` on a machine with access to the internet.",
        file=sys.stderr,
    )
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
