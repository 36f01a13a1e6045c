"""The site builds without a warning, and no link inside it leads nowhere; `make docs` runs the gallery."""

from __future__ import annotations

import html
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import sk_denoise
from sk_denoise import DenoisingAutoencoder
from sk_denoise.cli import COMMANDS, root_command
from sk_denoise.estimators import IMAGE_NETWORKS, NETWORKS
from sk_denoise.noise import NOISERS
from sk_denoise.training import LOSSES, OPTIMIZERS, SCHEDULES

ROOT = Path(__file__).parents[1]
MADE = shutil.ignore_patterns("_build", "gallery", "generated", "backreferences", "__pycache__")


def run(*command):
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_site_is_whole(tmp_path, monkeypatch):
    for folder in ("docs", "examples", "benchmarks"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=MADE)
    for page in ("CHANGELOG.md", "CONTRIBUTING.md"):
        shutil.copy(ROOT / page, tmp_path / page)
    docs, site = tmp_path / "docs", tmp_path / "site"
    options = ("-q", "-W", "--keep-going", "-n", "-D", "plot_gallery=0")
    built = run("-m", "sphinx", *options, str(docs), str(site))
    assert built.returncode == 0, built.stderr
    checked = run(str(docs / "check_links.py"), str(site))
    assert checked.returncode == 0, checked.stdout

    # what has a name is on the page that lists its kind
    pages = {
        "how_to/images_of_one_kind": NETWORKS,
        "how_to/train_on_images": [*IMAGE_NETWORKS, *LOSSES],
        "how_to/noise": NOISERS,
        "explanation/defaults": [*OPTIMIZERS, *SCHEDULES],
    }
    for page, names in pages.items():
        text = html.unescape((site / f"{page}.html").read_text(encoding="utf-8"))
        assert [name for name in names if f'"{name}"' not in text] == [], page

    # the page of the commands has each command with its options
    commands = html.unescape((site / "reference" / "command_line.html").read_text(encoding="utf-8"))
    for name in COMMANDS:
        assert f'id="{name}"' in commands
        for parameter in root_command.get_command(None, name).params:
            assert max(parameter.opts, key=len) in commands or parameter.param_type_name == "argument"

    # pages have a width that follows the screen
    assert '<meta name="viewport" content="width=device-width, initial-scale=1' in commands

    # diagrams link to pages that are there
    public = [getattr(sk_denoise, name) for name in sk_denoise.__all__]
    linked = [kind for kind in public if hasattr(kind, "_get_doc_link")]
    assert DenoisingAutoencoder in linked
    monkeypatch.setenv("SK_DENOISE_DOCS", str(site))
    assert all(Path(object.__new__(kind)._get_doc_link()).is_file() for kind in linked)

    # and the check of links can fail
    (site / "index.html").write_text(
        '<a href="nowhere.html">there</a> <a href="start/index.html#no-such-place">here</a>'
    )
    checked = run(str(docs / "check_links.py"), str(site))
    assert checked.returncode == 1
    assert "index.html: nowhere.html" in checked.stdout
    assert "index.html: start/index.html#no-such-place" in checked.stdout
