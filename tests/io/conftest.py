"""Abilities of the libraries behind the formats, and the path of the files that tests share."""

from __future__ import annotations

import sys
from pathlib import Path

import imagecodecs
import pytest
import tifffile
from packaging.version import Version

# The zoo of hostile files, and that of valid ones, are modules of this folder.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def fax_is_read() -> bool:
    """Return whether the libraries read TIFFs with fax compression."""
    versions = Version(imagecodecs.__version__), Version(tifffile.__version__)
    return versions[0] >= Version("2026.3.6") and versions[1] >= Version("2026.3.3")
