"""What is shown while pictures are worked on, on a terminal and elsewhere."""

from __future__ import annotations

import os
import re
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from sk_denoise.cli import main


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_without_a_terminal_nothing_makes_control_codes(make, run, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    make.png(Path("a.png"))
    _, out, err = run("denoise", "a.png", "-o", "b.png")
    assert "\x1b" not in out + err


@contextmanager
def terminal():
    """Give a terminal to write to, and a list that holds what was written when it is closed."""
    ours, theirs = os.openpty()
    pieces = []

    def read():
        with suppress(OSError):  # how Linux tells the end of a terminal
            while piece := os.read(ours, 65536):
                pieces.append(piece)

    reader = threading.Thread(target=read)
    reader.start()
    with os.fdopen(theirs, "w") as stream:
        yield stream, pieces
    reader.join()
    os.close(ours)


@pytest.mark.skipif(sys.platform == "win32", reason="needs terminals of POSIX")
@pytest.mark.parametrize("kind", ["colours", "plain", "dumb", "quiet"])
def test_on_a_terminal_there_are_bars_and_the_lines_stay(kind, make, monkeypatch):
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "dumb" if kind == "dumb" else "xterm")
    if kind == "plain":
        monkeypatch.setenv("NO_COLOR", "1")
    make.png(Path("[red]a.png"))
    with terminal() as (stream, pieces):
        monkeypatch.setattr(sys, "stderr", stream)
        quiet = ["-q"] if kind == "quiet" else []
        assert main(["denoise", "[red]a.png", "-o", "b.png", *quiet]) == 0
        monkeypatch.undo()
    shown = b"".join(pieces).decode()
    assert ("[1/1] [red]a.png -> b.png, sigma " in shown) == (kind != "quiet")
    assert ("pictures" in shown) == ("0/1" in shown) == (kind in ("colours", "plain"))
    assert ("\x1b[" in shown) == (kind in ("colours", "plain"))
    assert bool(re.search(r"\x1b\[[0-9;]*3[0-9;]*m", shown)) == (kind == "colours")
