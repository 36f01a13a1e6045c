"""The check of words and names finds each kind of fault, and passes plain code."""

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PLAIN = '''"""Filters for images."""


def clip(values):
    """Clip values to [0, 1]."""
    # Values of None stay as they are.
    return None if values is None else values
'''


@pytest.fixture
def house(monkeypatch, tmp_path):
    """Return the check, and a function that reads a module of the given text."""
    spec = importlib.util.spec_from_file_location("house", ROOT / ".ci" / "house.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "house", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "PACKAGE", tmp_path / "package")
    (tmp_path / "package").mkdir()

    def read(*texts):
        reading = module.Reading()
        for number, text in enumerate(texts):
            path = tmp_path / "package" / f"_module{number}.py"
            path.write_text(text)
            module.read(path, reading)
        return reading

    return read


def test_plain_code_passes(house):
    reading = house(PLAIN)
    assert (reading.riddles, reading.broken) == ([], [])
    assert (reading.summaries, reading.comment_lines, reading.private_modules) == (2, 1, 1)


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("Clip values to [0, 1].", "Return what is clipped to [0, 1].", "free relative clause"),
        ("Clip values to [0, 1].", "Clip " + "all " * 20 + "values.", "more than 80 characters"),
        ("Clip values to [0, 1].", "Clip values\n    to [0, 1].", "more than 80 characters"),
        ("Clip values to [0, 1].", "Clips values to [0, 1].", "not an imperative"),
        ("Filters for images.", "Filters for pictures.", "write image"),
        ("clip(values)", "clip(pictures)", "write image"),
        ("stay as they are", "stay, whatever they are", "write any, every"),
    ],
)
def test_each_kind_of_fault_is_found_with_its_place(old, new, fault, house):
    reading = house(PLAIN.replace(old, new))
    (found,) = reading.riddles + reading.broken
    assert fault in found
    assert found.startswith("package/_module0.py:")


def test_names_with_two_meanings_are_found(house):
    reading = house(PLAIN, PLAIN)
    assert reading.names["clip"] == ["package/_module0.py:4", "package/_module1.py:4"]
