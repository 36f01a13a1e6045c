"""The check that no unmarked test is slow and none needs much memory, and who may be tried twice."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[1]
CHECK = runpy.run_path(str(ROOT / ".ci" / "durations.py"))["main"]
CASE = '<testcase classname="tests.test_a" name="{name}"><properties>{properties}</properties></testcase>'


@pytest.fixture
def report(tmp_path):
    """Return a function that writes a report of tests, with what was noted of each."""

    def write(**tests):
        cases = [
            CASE.format(
                name=name, properties="".join(f'<property name="{k}" value="{v}"/>' for k, v in noted.items())
            )
            for name, noted in tests.items()
        ]
        path = tmp_path / "report.xml"
        path.write_text(f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>")
        return str(path)

    return write


def test_a_test_far_above_the_limit_fails_the_check_by_name(report, capsys):
    assert CHECK(report(fast={"seconds": 0.1}, lazy={"seconds": 6.5})) == 1
    told = capsys.readouterr().out
    assert "6.5 s: tests.test_a::lazy" in told
    assert "test_a::fast" not in told


def test_a_test_a_little_above_is_named_and_fails_nothing(report, capsys):
    assert CHECK(report(fast={"seconds": 0.1}, border={"seconds": 3.0})) == 0
    assert "3.0 s: tests.test_a::border" in capsys.readouterr().out


def test_marked_tests_take_as_long_as_they_like(report, capsys):
    assert CHECK(report(fast={"seconds": 0.1}, long={"seconds": 100, "slow": True})) == 0
    told = capsys.readouterr().out
    assert "test_a::long" not in told
    assert "| tests.test_a | 1 | 100 | 1 |" in told


def test_a_process_that_grows_too_large_fails_the_check_by_the_test_that_did_it(report, capsys):
    tests = {"small": 900, "large": 2600, "later": 2600}
    noted = {name: {"seconds": 0.1, "megabytes": size, "slow": True} for name, size in tests.items()}
    assert CHECK(report(**noted)) == 1
    assert "It is above 2500 since tests.test_a::large." in capsys.readouterr().out


def test_a_report_without_seconds_is_refused(report):
    with pytest.raises(SystemExit, match="holds no seconds"):
        CHECK(report(fast={}))


def test_a_test_that_was_tried_twice_is_named(report, capsys):
    assert CHECK(report(unsteady={"seconds": 0.1, "repeated": True})) == 0
    assert "repeated: tests.test_a::unsteady" in capsys.readouterr().out


UNSTEADY = """
tries = []

def test_fails_once():
    tries.append(1)
    assert len(tries) == 2

def test_fails_always():
    raise AssertionError
"""


def test_tests_of_the_browser_and_no_others_are_tried_twice(pytester):
    pytester.makeconftest((ROOT / "tests" / "app" / "conftest.py").read_text(encoding="utf-8"))
    pytester.makepyfile(test_browser=UNSTEADY, test_page=UNSTEADY)
    run = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-rA")
    run.assert_outcomes(passed=1, failed=3)
    run.stdout.fnmatch_lines("PASSED test_browser.py::test_fails_once")


BUSY = """
import time
import pytest

@pytest.mark.parametrize("seconds", [0, pytest.param(0.3, marks=pytest.mark.slow)])
def test_it(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass

@pytest.fixture
def busy():
    end = time.process_time() + 0.2
    while time.process_time() < end:
        pass

def test_setup(busy):
    pass
"""


@pytest.mark.slow
def test_seconds_of_tests_and_their_marks_are_in_the_report(pytester, capsys):
    pytester.makeini("[pytest]\nmarkers = slow: long")
    pytester.makeconftest((ROOT / "tests" / "conftest.py").read_text(encoding="utf-8"))
    pytester.makepyfile(BUSY)
    pytester.runpytest_inprocess("-p", "no:cacheprovider", "--junitxml=report.xml").assert_outcomes(passed=3)
    capsys.readouterr()
    assert CHECK(str(pytester.path / "report.xml")) == 0
    assert "0 of 2 unmarked tests took over 2 s, the longest 0.2 s." in capsys.readouterr().out
