"""The command line as a whole: commands, help and exit codes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

from sk_denoise import __version__
from sk_denoise.cli import COMMANDS, main, root_command

HEAVY = {"torch", "sklearn", "skorch", "skimage", "PIL", "tifffile", "scipy", "matplotlib"}


def get_command(name):
    return root_command.get_command(click.Context(root_command), name)


def test_without_a_command_it_prints_help(run):
    code, out, err = run()
    assert (code, err) == (0, "")
    assert all(name in out for name in COMMANDS)


@pytest.mark.parametrize("name", [None, *COMMANDS])
def test_every_command_has_help_that_fits_a_terminal(name, run):
    code, out, err = run(*([] if name is None else [name]), "--help")
    assert (code, err) == (0, "")
    assert run(*([] if name is None else [name]), "-h") == (code, out, err)
    assert out.startswith(f"Usage: sk-denoise {name or ''}")
    assert max(map(len, out.split("\n"))) <= 80


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_has_the_short_help_of_each_command(name):
    _, line = COMMANDS[name]
    assert get_command(name).name == name
    assert get_command(name).get_short_help_str(200) == line


def test_the_version_is_that_of_the_package(run):
    assert run("--version") == (0, f"sk_denoise {__version__}\n", "")


def test_an_unknown_command_gets_a_suggestion(run):
    code, out, err = run("denoised")
    assert (code, out) == (2, "")
    assert "There is no command 'denoised'. Did you mean 'denoise'? Known: " in err


def test_an_unknown_option_is_wrong_usage(run):
    code, _, err = run("--fast")
    assert code == 2
    assert err.startswith("sk-denoise: No such option")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--help"],
        ["--version"],
        ["denoised"],
        *([name, "--help"] for name in COMMANDS),
        ["denoise", "a.png"],
        ["denoise", "nothing-of-this-name.png", "-o", "b.png"],
        ["denoise", "a.png", "-o", "b.png", "--sigma", "much"],
        ["denoise", "a.png", "-o", "b.png", "--model", "grey"],
        ["models", "grey"],
        ["train", "nowhere", "-o", "model"],
        ["train", ".", "-o", "."],
        ["evaluate", "grey", "."],
        ["evaluate", "gray", ".", "--noise", "gaussian:25"],
        ["compare", "mdian", "--on", ".", "--noise", "gaussian:0.1"],
        ["compare", "median", "--on", ".", "--noise", "gaussian:0.1", "-o", "."],
    ],
    ids=" ".join,
)
def test_help_and_wrong_usage_do_not_wait_for_torch(arguments):
    code = (
        "import sys\nfrom sk_denoise.cli import main\n"
        f"main({arguments!r})\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert HEAVY.isdisjoint(done.stdout.split("\n")[-2].split())


def test_the_module_runs_and_returns_the_exit_code():
    done = subprocess.run(
        [sys.executable, "-m", "sk_denoise", "denoised"], check=False, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 2


def test_shells_complete_commands(monkeypatch):
    words = {"_SK_DENOISE_COMPLETE": "bash_complete", "COMP_WORDS": "sk-denoise de", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "sk_denoise"], env=os.environ | words, check=True, capture_output=True
    )
    assert done.stdout.split() == [b"plain,denoise", b"plain,demo"]


def test_a_signal_is_handled_only_while_a_command_runs(monkeypatch, run):
    @click.command()
    def wait():
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(root_command, "get_command", lambda ctx, name: wait)
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        code, _, err = run("demo")
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)
    assert code == 143
    assert err.strip() == "Interrupted."


FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="needs a device that is full")


@needs_full
def test_help_that_cannot_be_written_is_an_error_in_one_line(start):
    with FULL.open("wb") as full:
        process = start("--help", stdout=full)
        _, err = process.communicate()
    assert process.returncode == 1
    assert err == b"sk-denoise: No space left on device\n"


@needs_full
def test_results_that_cannot_be_written_are_an_error_in_one_line(monkeypatch, capsys):
    with FULL.open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert main(["models", "gray"]) == 1
    assert capsys.readouterr().err == "sk-denoise: cannot write to standard output: No space left on device\n"


@pytest.mark.slow
@needs_full
@pytest.mark.parametrize("arguments", [["models"], ["models", "gray"]], ids=" ".join)
def test_tables_that_cannot_be_written_are_an_error_in_one_line(arguments, start):
    with FULL.open("wb") as full:
        process = start(*arguments, stdout=full)
        _, err = process.communicate()
    assert process.returncode == 1
    assert err == b"sk-denoise: cannot write to standard output: No space left on device\n"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell of POSIX")
@pytest.mark.parametrize(
    ("closed", "arguments", "code"),
    [
        (">&-", ["models"], 0),
        ("<&- >&- 2>&-", ["models", "gray"], 0),
        ("2>&-", ["denoised"], 2),
        ("<&- >&- 2>&-", ["denoise", "a.png", "-o", "b.png"], 0),
    ],
)
def test_commands_run_with_closed_streams(closed, arguments, code, make, tmp_path):
    make.png(tmp_path / "a.png")
    program = [sys.executable, "-m", "sk_denoise", *arguments]
    line = ["sh", "-c", f'exec "$@" {closed}', "sh", *program]
    done = subprocess.run(line, check=False, capture_output=True, cwd=tmp_path)
    assert done.returncode == code
    assert b"Traceback" not in done.stderr
    assert (tmp_path / "b.png").exists() == (arguments[0] == "denoise")


def test_a_reader_that_goes_away_is_no_error(monkeypatch, capsys):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        assert main(["models", "gray"]) == 0
    assert capsys.readouterr().err == ""


def test_main_takes_the_arguments_of_the_process_by_default(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["anything", "--version"])
    assert main() == 0
    assert __version__ in capsys.readouterr().out


SHARED_OPTIONS = (
    "--sigma",
    "--device",
    "--quiet",
    "--seed",
    "--noise",
    "--noisy",
    "--max-pixels",
    "--limit",
    "--ensemble",
    "--format",
)


def test_options_that_several_commands_have_are_the_same_everywhere():
    by_spelling = {}
    for name in COMMANDS:
        for option in get_command(name).params:
            if isinstance(option, click.Option) and option.name != "help":
                by_spelling.setdefault(option.opts[-1], {})[name] = option
    for spelling in SHARED_OPTIONS:
        # denoise takes noise that is there, and the other commands add noise to clean images.
        options = [
            option
            for command, option in by_spelling[spelling].items()
            if (command, spelling) != ("denoise", "--noise")
        ]
        assert len(options) > 1, spelling
        variants = {(tuple(o.opts), o.type.name, o.metavar, o.help, o.is_flag) for o in options}
        assert len({(spellings, kind, metavar) for spellings, kind, metavar, *_ in variants}) == 1, spelling
        assert spelling in ("--seed", "--noise") or len(variants) == 1, spelling


@pytest.mark.parametrize("name", ["denoise", "models", "evaluate", "compare", "train"])
def test_the_same_mistake_gets_the_same_message(name, run, tmp_path):
    (tmp_path / "a.png").touch()
    arguments = {
        "denoise": [tmp_path / "a.png", "-o", "out", "--model", "grey"],
        "models": ["grey"],
        "evaluate": ["grey", tmp_path, "--noise", "gaussian"],
        "compare": ["grey", "--on", tmp_path, "--noise", "gaussian"],
        "train": [tmp_path, "-o", "model", "--start-from", "grey"],
    }
    code, _, err = run(name, *arguments[name])
    assert code == 2
    assert "there is no model or file 'grey'. Did you mean 'gray'? Known: " in err
    assert err.endswith(f"Try 'sk-denoise {name} --help' for help.\n")


TWO_INTERRUPTS = """
import atexit, os, signal, sys, time

def slow():
    print("ending", flush=True)
    time.sleep(20)

atexit.register(slow)
from sk_denoise.cli import main, root_command
import click

@click.command()
def wait():
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(20)

root_command.get_command = lambda ctx, name: wait
sys.argv[1:] = ["demo"]
sys.exit(main())
"""


@pytest.mark.skipif(os.name == "nt", reason="sends a POSIX signal")
def test_a_second_interrupt_while_the_process_ends_prints_no_traceback():
    with subprocess.Popen(
        [sys.executable, "-c", TWO_INTERRUPTS], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "ending\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=15)
    assert process.returncode == 130
    assert err.strip() == "Interrupted."
