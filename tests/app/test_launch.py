"""Settings and launch of the app."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from sk_denoise.app import Settings, _launch, run

ROOT = Path(__file__).parents[2]


def test_settings_survive_the_environment():
    settings = Settings(megapixels=5, workers=3)
    assert Settings.from_environment(settings.to_environment()) == settings
    assert Settings.from_environment({}) == Settings()
    assert settings.max_pixels == 5_000_000


@pytest.mark.parametrize("field", fields(Settings), ids=lambda field: field.name)
@pytest.mark.parametrize(
    ("text", "message"), [("0", r"at least 1(000)?, got 0"), ("many", "whole number, got 'many'")]
)
def test_invalid_settings_are_refused(field, text, message):
    with pytest.raises(ValueError, match=message):
        Settings.from_environment({f"SK_DENOISE_APP_{field.name.upper()}": text})


@pytest.fixture
def arguments(monkeypatch):
    """The arguments of Streamlit's command line, which the test does not start."""
    from streamlit.web import cli

    arguments = []
    monkeypatch.setattr(cli, "main", lambda given, **keywords: arguments.extend(given))
    return arguments


def test_the_server_starts_with_the_settings_and_safe_options(arguments, monkeypatch):
    monkeypatch.setattr("os.environ", environment := {"SK_DENOISE_APP_WORKERS": "2"})
    run(host="0.0.0.0", port=8600, browser=False)
    assert arguments[:2] == ["run", str(_launch.PAGE)]
    assert {
        "--server.address=0.0.0.0",
        "--server.port=8600",
        "--server.headless=true",
        "--server.maxUploadSize=200",
        "--browser.gatherUsageStats=false",
        "--client.showErrorDetails=none",
    } <= set(arguments)
    assert environment["SK_DENOISE_APP_WORKERS"] == "2"
    assert environment["SK_DENOISE_APP_MEGAPIXELS"] == "64"


def test_streamlit_has_every_option(arguments, monkeypatch):
    from streamlit import config

    monkeypatch.setattr("os.environ", {})
    run()
    for flag in arguments[2:]:
        config.get_option(flag.removeprefix("--").partition("=")[0])


@pytest.mark.parametrize("name", ["streamlit", "httpcore", "imagecodecs"])
def test_a_missing_package_is_named(name, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=rf'The app needs {name},.* pip install "sk-denoise\[app\]"'):
        run()


def test_the_package_imports_without_the_packages_of_the_app():
    code = (
        "import sys; sys.modules['streamlit'] = sys.modules['httpcore'] = None\n"
        "import sk_denoise.app, sk_denoise.cli; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_container_runs_the_app_without_privileges():
    """Check the Dockerfile without building it."""
    text = (ROOT / "Dockerfile").read_text()
    assert re.search(r"^USER (?!root|0)\w+$", text, re.MULTILINE)
    assert "/_stcore/health" in text
    copied = re.search(r"^COPY (.*) \./$", text, re.MULTILINE)[1].split()
    ignored = (ROOT / ".dockerignore").read_text().split()
    for name in [*copied, "sk_denoise"]:
        assert (ROOT / name).exists()
        assert f"!{name}" in ignored
    # Files in a tmpfs count as memory, and images take gigabytes.
    assert "--tmpfs" not in text
    entry = re.search(r"^ENTRYPOINT (\[.*\])$", text, re.MULTILINE)[1]
    assert '"sk-denoise", "app", "--host", "0.0.0.0"' in entry
