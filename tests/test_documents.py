"""The Python blocks of README and docs run, one after another, and print what they should."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

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
def test_blocks_run(document):
    X, labels = load_digits(return_X_y=True)
    X = X / 16
    noisy = X + np.random.default_rng(0).normal(0, 0.25, X.shape)
    names = {"X": X, "labels": labels, "X_noisy": noisy}
    for block in re.findall(r"```python\n(.*?)```", document.read_text(), re.DOTALL):
        exec(compile(block, str(document), "exec"), names)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document):
    for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
        assert (document.parent / target).exists(), target
