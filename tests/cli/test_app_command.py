"""``sk-denoise app``."""

from __future__ import annotations

from dataclasses import fields

import pytest

import sk_denoise.app
from sk_denoise.app import Settings
from sk_denoise.cli import _app_command, main


@pytest.fixture
def served(monkeypatch):
    """Record the arguments of the app instead of starting it."""
    calls = []
    monkeypatch.setattr(_app_command, "run", lambda settings, **options: calls.append((settings, options)))
    return calls


def test_every_limit_is_an_option():
    assert set(_app_command.LIMITS) == {field.name for field in fields(Settings)}


def test_options_reach_the_app(served):
    options = [
        "--host",
        "0.0.0.0",
        "--port",
        "8600",
        "--no-browser",
        "--disk-megabytes",
        "100",
        "--workers",
        "2",
        "--allowed-host",
        "a.example",
        "--allowed-host",
        "b.example",
    ]
    assert main(["app", *options]) == 0
    others = {"host": "0.0.0.0", "port": 8600, "browser": False, "allowed_hosts": ("a.example", "b.example")}
    assert served == [(Settings(disk_megabytes=100, workers=2), others)]


def test_the_environment_sets_limits_without_an_option(served, monkeypatch):
    monkeypatch.setenv("SK_DENOISE_APP_MEGAPIXELS", "12")
    monkeypatch.setenv("SK_DENOISE_APP_WORKERS", "3")
    assert main(["app", "--workers", "2"]) == 0
    assert served[0][0] == Settings(megapixels=12, workers=2)


def test_wrong_values_in_the_environment_are_refused(served, monkeypatch, capsys):
    monkeypatch.setenv("SK_DENOISE_APP_MEGAPIXELS", "large")
    assert main(["app"]) == 2
    assert "SK_DENOISE_APP_MEGAPIXELS must be a whole number, got 'large'" in capsys.readouterr().err
    assert served == []


@pytest.mark.parametrize(
    "arguments", [["--port", "0"], ["--megapixels", "0"], ["--memory-megabytes", "999"], ["--workers", "two"]]
)
def test_wrong_options_are_refused(arguments, served):
    assert main(["app", *arguments]) == 2
    assert served == []


@pytest.mark.parametrize(("end", "code"), [(SystemExit(1), 1), (SystemExit(), 0), (KeyboardInterrupt(), 130)])
def test_the_end_of_the_server_gives_the_exit_code(end, code, monkeypatch):
    def stop(*given, **options):
        raise end

    monkeypatch.setattr(_app_command, "run", stop)
    assert main(["app"]) == code


def test_without_streamlit_the_extra_is_named(monkeypatch, capsys):
    def missing(*given, **options):
        raise ImportError('The app needs streamlit. Install it with: pip install "sk-denoise[app]"')

    monkeypatch.setattr(_app_command, "run", missing)
    assert main(["app"]) == 1
    assert 'pip install "sk-denoise[app]"' in capsys.readouterr().err
    assert sk_denoise.app.run is not missing
