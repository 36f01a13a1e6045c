"""Say which unmarked tests are slow, by the report that `make test-all` writes; see `pytest.mark.slow`.

Timing decides no test, so this is a step of its own, and it is made to be right on a loaded machine:

- It counts seconds of the processor, of a test and of the processes that it started and that ended, which
  tests/conftest.py notes. The time on the clock doubles where others work on the same cores.
- Seconds of the processor vary too, up to three times: caches are shared, and coverage slows Python down.
  So a test above LIMIT is named, and only one above TOLERANCE times LIMIT fails the check.
- Setting up counts by itself, since a fixture may serve many tests.

It says how large the processes of the tests became, which none may make larger than MEGABYTES, and prints a
table of what `make test` leaves out, by the module of the tests.
"""

from __future__ import annotations

import sys
from xml.etree import ElementTree as ET

LIMIT = 2.0
TOLERANCE = 3.0
MEGABYTES = 2500

Noted = dict[str, str]


def noted_of(report: str) -> dict[str, Noted]:
    """Return what was noted of each test, by its name, in the order in which they ended."""
    return {
        f"{case.get('classname')}::{case.get('name')}": {
            entry.get("name", ""): entry.get("value", "") for entry in case.iter("property")
        }
        for case in ET.parse(report).iter("testcase")
    }


def print_left_out(tests: dict[str, Noted]) -> None:
    """Print how many slow tests each module has and how long they take, as a table."""
    modules: dict[str, list[Noted]] = {}
    for name, noted in tests.items():
        modules.setdefault(name.partition("::")[0], []).append(noted)
    rows = []
    for module, of_it in modules.items():
        slow = [float(noted["seconds"]) for noted in of_it if "slow" in noted]
        rows.append((sum(slow), module, len(slow), len(of_it) - len(slow)))
    print("| left out of `make test` | tests | seconds | unmarked tests beside them |\n|---|---|---|---|")
    for seconds, module, n_slow, n_others in sorted(rows, reverse=True):
        if n_slow:
            print(f"| {module} | {n_slow} | {seconds:.0f} | {n_others} |")


def is_slow(tests: dict[str, Noted]) -> bool:
    """Print the unmarked tests that are slow, and return whether one is far too slow."""
    seconds = {name: float(noted["seconds"]) for name, noted in tests.items() if "slow" not in noted}
    for name in sorted(seconds, key=lambda name: -seconds[name]):
        if seconds[name] > LIMIT:
            print(f"{seconds[name]:.1f} s: {name}")
    worst, over = max(seconds.values(), default=0.0), sum(value > LIMIT for value in seconds.values())
    print(f"{over} of {len(seconds)} unmarked tests took over {LIMIT:g} s, the longest {worst:.1f} s.")
    if worst <= TOLERANCE * LIMIT:
        return False
    print(f"A test that takes over {LIMIT:g} s is made faster, or marked with @pytest.mark.slow.")
    return True


def is_large(tests: dict[str, Noted]) -> bool:
    """Print how large the processes became, and return whether one is too large."""
    sizes = {name: int(noted.get("megabytes", 0)) for name, noted in tests.items()}
    most = max(sizes.values(), default=0)
    print(f"The largest process of the tests had {most} MB.")
    if most <= MEGABYTES:
        return False
    print(f"It is above {MEGABYTES} since {next(name for name in sizes if sizes[name] > MEGABYTES)}.")
    return True


def main(report: str) -> int:
    """Print tests that were repeated, are slow or need much memory, and return 1 where it is too much."""
    tests = {name: noted for name, noted in noted_of(report).items() if "seconds" in noted}
    if not tests:
        raise SystemExit(f"{report} holds no seconds of tests, which tests/conftest.py notes.")
    for name, noted in tests.items():
        if "repeated" in noted:
            print(f"repeated: {name}")
    print_left_out(tests)
    return int(is_slow(tests) | is_large(tests))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
