"""Progress and tables, on a terminal and elsewhere."""

from __future__ import annotations

import os
import re
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from sk_denoise.cli import main
from sk_denoise.cli._output import ImageProgress, print_table
from sk_denoise.cli._training_run import open_display


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_without_a_terminal_there_are_no_control_codes(make, run, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    make.png(Path("a.png"))
    _, out, err = run("denoise", "a.png", "-o", "b.png")
    assert "\x1b" not in out + err


@contextmanager
def terminal():
    """Open a terminal, and yield its stream and a list that receives the output."""
    ours, theirs = os.openpty()
    pieces = []

    def read():
        with suppress(OSError):  # Linux raises at the end of a terminal
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
def test_a_terminal_shows_bars_and_keeps_the_lines(kind, make, monkeypatch):
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
    assert ("[1/1] [red]a.png -> b.png, white noise: about " in shown) == (kind != "quiet")
    assert ("images" in shown) == ("0/1" in shown) == (kind in ("colours", "plain"))
    assert ("\x1b[" in shown) == (kind in ("colours", "plain"))
    assert bool(re.search(r"\x1b\[[0-9;]*3[0-9;]*m", shown)) == (kind == "colours")


@pytest.mark.skipif(sys.platform == "win32", reason="needs terminals of POSIX")
@pytest.mark.parametrize("columns", [40, 80])
def test_bars_leave_room_for_the_ctrl_c_of_a_terminal(columns, make, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(columns))
    make.png(Path("a.png"))
    with terminal() as (stream, pieces):
        monkeypatch.setattr(sys, "stderr", stream)
        with ImageProgress(3, quiet=False) as images:
            images.start_image(Path("a.png"))
            images.update_tiles(1, 2)
        with open_display(2, 1000, quiet=False) as display:
            display.show_epoch(3, "loss 0.00245, training PSNR 26.11 dB")
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", b"".join(pieces).decode())
    lines = [line for line in re.split(r"[\r\n]+", shown) if line]
    assert max(map(len, lines)) == columns - 3
    assert any("epoch 3/1000" in line for line in lines)
    assert any("training PSNR 26.11 dB" in line for line in lines) == (columns == 80)


@pytest.mark.parametrize("columns", [20, 60, 80])
def test_a_table_on_a_narrow_terminal_folds_names_and_shows_numbers_in_full(columns, monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(columns))
    name = "an image of a long name.png"
    print_table([{"image": name, "psnr": 12345.678, "ssim_noisy": 0.5}])
    lines = capsys.readouterr().out.splitlines()
    row = next(line for line in lines if "12345.68" in line)
    assert "0.5000" in row
    assert (name in row) == (columns > 20)
    assert all(len(line) <= max(columns, 50) for line in lines)
