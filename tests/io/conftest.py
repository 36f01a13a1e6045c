"""Abilities of the libraries behind the formats."""

from __future__ import annotations

import imagecodecs
import pytest
import tifffile
from packaging.version import Version


@pytest.fixture(scope="session")
def fax_is_read() -> bool:
    """Return whether the libraries read TIFFs with fax compression."""
    versions = Version(imagecodecs.__version__), Version(tifffile.__version__)
    return versions[0] >= Version("2026.3.6") and versions[1] >= Version("2026.3.3")
