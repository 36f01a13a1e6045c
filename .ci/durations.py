"""Say which unmarked tests are slow, by the report that `make test-all` writes; see `pytest.mark.slow`.

Timing decides no test, so this is a step of its own, and it is made to be right on a loaded machine:

- It counts seconds of the processor, of a test and of the processes that it started and that ended, which
  tests/conftest.py notes. The time on the clock doubles where others work on the same cores.
- Seconds of the processor vary too: caches are shared, and coverage slows Python down. So a test above LIMIT
  is named, and only one above TOLERANCE times LIMIT fails the check.
- Setting up counts by itself, since a fixture may serve many tests.
"""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree as ET

LIMIT = 2.0
TOLERANCE = 2.5


def seconds_by_test(report: Path) -> dict[str, float]:
    """Return the seconds of the processor of each test without the marker: of its setup or call."""
    found = {}
    for case in ET.parse(report).iter("testcase"):
        noted = {entry.get("name", ""): entry.get("value", "") for entry in case.iter("property")}
        if "slow" not in noted and "seconds" in noted:
            found[f"{case.get('classname')}::{case.get('name')}"] = float(noted["seconds"])
    return found


def repeated_tests(report: Path) -> list[str]:
    """Return the tests that failed once, and were tried a second time."""
    return [
        f"{case.get('classname')}::{case.get('name')}"
        for case in ET.parse(report).iter("testcase")
        if any(entry.get("name") == "repeated" for entry in case.iter("property"))
    ]


def main(report: str) -> int:
    """Print tests that are repeated or slow, and return whether a test is far too slow."""
    for name in repeated_tests(Path(report)):
        print(f"repeated: {name}")
    seconds = seconds_by_test(Path(report))
    if not seconds:
        raise SystemExit(
            f"{report} holds no seconds of tests: is it the report of a run with tests/conftest.py?"
        )
    over = sorted((n for n in seconds if seconds[n] > LIMIT), key=lambda n: -seconds[n])
    for name in over:
        print(f"{seconds[name]:.1f} s: {name}")
    worst = max(seconds.values())
    print(f"{len(over)} of {len(seconds)} unmarked tests took over {LIMIT:g} s, the longest {worst:.1f} s.")
    if worst <= TOLERANCE * LIMIT:
        return 0
    print(f"A test that takes over {LIMIT:g} s is made faster, or marked with @pytest.mark.slow.")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
