"""The Python blocks of README and docs run, one after another, and print what they say.

What a block prints stands behind `# prints: `, in order. Numbers may differ by `NEAR`, because chance and
processors have a share in them.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

NEAR = {"dB": 0.3, "": 0.03}
NUMBER = re.compile(r"(-?\d+\.\d+)(?: (dB))?")
ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LONG = {  # their blocks train more than a little
    "README.md",
    "before_a_classifier.md",
    "choosing.md",
    "files.md",
    "index.md",
    "quick_start.md",
    "scikit_learn.md",
}


@pytest.mark.parametrize(
    "document",
    [pytest.param(path, marks=pytest.mark.slow if path.name in LONG else ()) for path in DOCUMENTS],
    ids=[path.name for path in DOCUMENTS],
)
def test_blocks_run_and_print_what_they_say(document, capsys):
    X, labels = load_digits(return_X_y=True)
    X = X / 16
    noisy = X + np.random.default_rng(0).normal(0, 0.25, X.shape)
    names = {"X": X, "labels": labels, "X_noisy": noisy}
    for block in re.findall(r"```python\n(.*?)```", document.read_text(), re.DOTALL):
        exec(compile(block, str(document), "exec"), names)
        printed = iter(capsys.readouterr().out.splitlines())
        for said in re.findall(r"# prints: (.*)", block):
            assert any(is_said(line, said) for line in printed), (said, block)


def is_said(line, said):
    """Whether a line is what a document says, but for a little in its numbers."""
    pairs = list(zip(NUMBER.findall(line), NUMBER.findall(said), strict=False))
    near = all(abs(float(a) - float(b)) <= NEAR[unit] for (a, _), (b, unit) in pairs)
    return near and NUMBER.sub(r"\2", line) == NUMBER.sub(r"\2", said)


def test_a_number_that_is_not_the_one_in_the_document_is_found():
    assert is_said("noisy 12.2 dB, 0.91", "noisy 12.1 dB, 0.90")
    assert not is_said("noisy 12.5 dB", "noisy 12.1 dB")
    assert not is_said("0.86", "0.90")
    assert not is_said("noisy 12.1 dB", "denoised 12.1 dB")
    assert not is_said("noisy 12.1 dB", "noisy 12.1 dB, denoised 18.1 dB")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document):
    for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
        assert (document.parent / target).exists(), target
