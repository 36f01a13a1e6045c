"""Limits that whoever runs the app can set."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from sk_denoise.app import Settings, run
from sk_denoise.app import _launch as launch

ROOT = Path(__file__).parents[2]


def test_settings_go_through_the_environment():
    settings = Settings(megapixels=5, workers=3)
    assert Settings.from_environment(settings.to_environment()) == settings
    assert Settings.from_environment({}) == Settings()
    assert settings.most_pixels == 5_000_000


@pytest.mark.parametrize("field", fields(Settings), ids=lambda field: field.name)
@pytest.mark.parametrize(
    ("text", "message"), [("0", "at least 1, got 0"), ("many", "whole number, got 'many'")]
)
def test_settings_that_mean_nothing_are_refused(field, text, message):
    with pytest.raises(ValueError, match=message):
        Settings.from_environment({f"SK_DENOISE_APP_{field.name.upper()}": text})


def test_the_app_starts_with_what_strangers_should_not_meet_left_out(monkeypatch):
    from streamlit.web import cli

    given = []
    monkeypatch.setattr(cli, "main", lambda arguments, **keywords: given.extend(arguments))
    monkeypatch.setattr(launch.os, "environ", environment := {"SK_DENOISE_APP_WORKERS": "2"})
    run(host="0.0.0.0", port=8600, browser=False)
    assert given[:2] == ["run", str(launch.PAGE)]
    assert {
        "--server.address=0.0.0.0",
        "--server.port=8600",
        "--server.headless=true",
        "--server.maxUploadSize=200",
        "--browser.gatherUsageStats=false",
        "--client.showErrorDetails=none",
    } <= set(given)
    assert environment["SK_DENOISE_APP_WORKERS"] == "2"
    assert environment["SK_DENOISE_APP_MEGAPIXELS"] == "64"


def test_streamlit_knows_every_option():
    from streamlit import config

    for flag in launch._arguments(Settings(), "localhost", 8501, True)[2:]:
        config.get_option(flag.removeprefix("--").partition("=")[0])


@pytest.mark.parametrize("name", ["streamlit", "httpcore", "imagecodecs"])
def test_a_library_that_is_missing_is_named(name, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=rf'The app needs {name},.* pip install "sk-denoise\[app\]"'):
        run()


def test_the_package_does_not_need_the_libraries_of_the_app():
    code = (
        "import sys; sys.modules['streamlit'] = sys.modules['httpcore'] = None\n"
        "import sk_denoise.app, sk_denoise.cli; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_image_runs_the_app_for_others_as_nobody_special():
    """What can be told of the Dockerfile without building it."""
    text = (ROOT / "Dockerfile").read_text()
    assert re.search(r"^USER (?!root|0)\w+$", text, re.MULTILINE)
    assert "/_stcore/health" in text
    copied = re.search(r"^COPY (.*) \./$", text, re.MULTILINE)[1].split()
    ignored = (ROOT / ".dockerignore").read_text().split()
    for name in [*copied, "sk_denoise"]:
        assert (ROOT / name).exists()
        assert f"!{name}" in ignored
    assert "--tmpfs" not in text  # whose files count as memory, and images take gigabytes
    entry = re.search(r"^ENTRYPOINT (\[.*\])$", text, re.MULTILINE)[1]
    assert '"sk-denoise", "app", "--host", "0.0.0.0"' in entry
