"""Interruptions of ``sk-denoise denoise`` in the middle of a folder."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from sk_denoise.io import read_image, write_image

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs signals of POSIX")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def wait_for_images(folder, n):
    """Wait until a folder has a number of images."""
    end = time.monotonic() + 120
    while len(list(folder.rglob("*.png"))) < n:
        assert time.monotonic() < end, "no images were written"
        time.sleep(0.005)


@pytest.fixture
def after_three():
    """Return a function that sends a signal to this process after three images."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)  # it may be ignored
    threads = []

    def send(number, folder):
        def wait_and_send():
            wait_for_images(folder, 3)
            os.kill(os.getpid(), number)

        threads.append(threading.Thread(target=wait_and_send))
        threads[-1].start()

    yield send
    for thread in threads:
        thread.join()
    signal.signal(signal.SIGINT, previous)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_leaves_complete_images_and_prints_how_to_continue(
    number, code, make, run, after_three, folder
):
    n = 60
    for i in range(n):
        make.png(folder / f"in/{i:02}.png", side=96)
    after_three(number, folder / "out")
    ended, out, err = run("denoise", "in", "-o", "out")
    assert (ended, out) == (code, "")
    written = sorted(Path("out").iterdir())
    assert 3 <= len(written) < n
    assert (
        f"Interrupted: {len(written)} of {n} written. Continue with the same command and --skip-existing."
        in err
    )
    assert {read_image(path).shape for path in written} == {(96, 96)}
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (["in", "-o", "out", "--overwrite"], "The same command starts again from the beginning."),
        (
            ["out", "-o", "out", "--overwrite"],
            "Leave these out when you continue: they would be denoised twice.",
        ),
    ],
)
def test_a_run_that_replaces_files_gives_other_advice(arguments, advice, make, run, monkeypatch):
    for name in "abc":
        make.png(Path(f"in/{name}.png"))
        make.png(Path(f"out/{name}.png"))
    write = write_image

    def interrupted_at_b(path, *args, **kwargs):
        if path.name == "b.png":
            raise KeyboardInterrupt
        write(path, *args, **kwargs)

    monkeypatch.setattr("sk_denoise.io.write_image", interrupted_at_b)
    code, _, err = run("denoise", *arguments)
    assert code == 130
    assert err.endswith(f"Interrupted: 1 of 3 written. {advice}\n")


@pytest.mark.slow
def test_after_a_kill_all_images_are_complete_and_a_second_run_denoises_the_rest(make, run, start, folder):
    n = 30
    for i in range(n):
        make.png(folder / f"in/{i:02}.png", side=96)
    process = start("denoise", "in", "-o", "out")
    wait_for_images(folder / "out", 5)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    written = [path for path in Path("out").rglob("*") if path.suffix == ".png"]
    assert 5 <= len(written) < n
    assert {read_image(path).shape for path in written} == {(96, 96)}

    Path("out/.0123456789abcdef.tmp").write_bytes(b"half an image, as a kill may leave it")
    code, out, _ = run("denoise", "in", "-o", "out", "--skip-existing")
    assert (code, out) == (0, f"{n - len(written)} written, 0 failed, {len(written)} kept\n")
    assert len([read_image(path) for path in Path("out").glob("*.png")]) == n
