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
def served(monkeypatch):
    """The options of Streamlit and of the server, which the test does not start."""
    from streamlit.web import bootstrap

    served = {}
    monkeypatch.setattr(bootstrap, "load_config_options", served.update)
    monkeypatch.setattr(_launch, "_serve", lambda *args, **options: served.update(options))
    return served


def test_the_server_starts_with_the_settings_and_safe_options(served, monkeypatch):
    monkeypatch.setattr("os.environ", environment := {"SK_DENOISE_APP_WORKERS": "2"})
    run(host="0.0.0.0", port=8600, browser=False)
    expected = {
        "server.address": "0.0.0.0",
        "server.port": 8600,
        "server.maxUploadSize": 200,
        "server.maxMessageSize": 32,
        "browser.gatherUsageStats": False,
        "client.showErrorDetails": "none",
        "browser": False,
    }
    assert served.items() >= expected.items()
    assert environment["SK_DENOISE_APP_WORKERS"] == "2"
    assert environment["SK_DENOISE_APP_MEGAPIXELS"] == "64"


@pytest.mark.parametrize(
    ("host", "names", "allowed"),
    [
        ("localhost", (), {"localhost", "127.0.0.1", "::1"}),
        ("127.0.0.5", (), {"localhost", "127.0.0.1", "::1", "127.0.0.5"}),
        ("0.0.0.0", (), set()),
        ("0.0.0.0", ("a.example",), {"a.example", "localhost", "127.0.0.1", "::1", "0.0.0.0"}),
    ],
)
def test_an_app_on_this_machine_answers_to_its_own_names(host, names, allowed, served, monkeypatch):
    monkeypatch.setattr("os.environ", {})
    run(host=host, allowed_hosts=names)
    assert set(served["allowed_hosts"]) == set(served["server.allowedHosts"]) == allowed


def test_streamlit_has_every_option(served, monkeypatch):
    from streamlit import config

    monkeypatch.setattr("os.environ", {})
    run()
    for name in served:
        if "." in name:
            config.get_option(name)


@pytest.mark.parametrize("name", ["streamlit", "uvicorn", "httpcore", "imagecodecs"])
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
