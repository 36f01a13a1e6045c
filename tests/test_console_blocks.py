"""Commands in console blocks of README and docs run and print the documented output.

Their exit code is 0, or that of a comment behind them: `# exit code 1`. A backslash at the end of a line
continues it. Below a command, "..." stands for lines that are left out. Output that depends on chance, clocks
and processors is compared without its decimals and times (`VARYING`). Transcripts with an interruption stand
in text blocks, which do not run.

Some commands are not run, and checked otherwise:

- `make ...` sets up an environment: its target must be in the Makefile.
- `pip install ...` and `uv pip install ...` need a package index: their extras must be in pyproject.toml.
- `docker ...` needs a service and minutes: the image must be built from the Dockerfile, with an open port.
- `sk-denoise app` is a server, and `sk-denoise demo` takes a minute: their help is run.

A `sk-denoise train` without a number of epochs is run for one.
"""

from __future__ import annotations

import re
import shlex
import tomllib
from functools import partial
from pathlib import Path

import pytest

from sk_denoise.cli import COMMANDS, main

ROOT = Path(__file__).parent.parent
MADE = {"_build", "gallery", "generated", "backreferences"}
PAGES = [page for page in sorted((ROOT / "docs").rglob("*.md")) if not MADE & set(page.parts)]
DOCUMENTS = [ROOT / "README.md", *PAGES]
NOT_RUN = ("app", "demo")
VARYING = ("train", "evaluate", "compare")  # what they print depends on the processor in its last digits
EXTRAS = re.compile(r'pip install [^\n"`]*"(?:\.|sk-denoise)\[([a-z0-9,]+)\]"')
DECIMALS = re.compile(r" *\d+([.:]\d+)+")


def console_blocks(document):
    """Yield the commands of each block, with the lines that stand below them."""
    for block in re.findall(r"```console\n(.*?)```", document.read_text(encoding="utf-8"), re.DOTALL):
        pieces = re.split(r"^\$ ", block.replace("\\\n", ""), flags=re.MULTILINE)[1:]
        yield [(piece.split("\n")[0], piece.split("\n")[1:]) for piece in pieces]


def with_commands(program, **marks):
    """Return the documents in which a program is called, with the marks that some have."""
    marks = {f"{stem}.md": mark for stem, mark in marks.items()}
    return [
        pytest.param(document, id=document.name, marks=marks.get(document.name, ()))
        for document in DOCUMENTS
        if any(line.startswith(program) for block in console_blocks(document) for line, _ in block)
    ]


@pytest.mark.usefixtures("in_document_files")
@pytest.mark.parametrize(
    "document",
    with_commands("sk-denoise", command_line=pytest.mark.slow, larger_than_memory=pytest.mark.slow),
)
def test_commands_run_and_print_the_documented_output(document, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    for line, below in (command for block in console_blocks(document) for command in block):
        program, *arguments = shlex.split(line, comments=True)
        if program != "sk-denoise":
            continue
        if arguments[0] in NOT_RUN:
            arguments = [arguments[0], "--help"]
        if arguments[0] == "train" and not {"--epochs", "--resume"} & set(arguments):
            arguments += ["--epochs", "1"]
        code = main(arguments)
        printed = "".join(reversed(capsys.readouterr()))  # what happens meanwhile, and then the results
        said = re.search(r"# exit code (\d+)$", line)
        assert code == (int(said[1]) if said else 0), (line, printed)
        plain = partial(DECIMALS.sub, " #") if arguments[0] in VARYING else str
        lines = [plain(text) for text in printed.split("\n")]
        for expected in below:
            assert expected in ("", "...") or plain(expected) in lines, (line, expected, printed)


@pytest.mark.parametrize("document", with_commands("docker"))
def test_what_docker_builds_is_what_it_runs(document):
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    built = set()
    for line in (line for block in console_blocks(document) for line, _ in block):
        match shlex.split(line, comments=True):
            case ["docker", "build", "-t", image, "."]:
                built.add(image)
            case ["docker", "run", *options, image]:
                assert image in built
                port = options[options.index("-p") + 1].split(":")[1]
                assert f"EXPOSE {port}" in dockerfile
            case ["docker", *_]:
                pytest.fail(f"nobody checks {line}")
    assert built


@pytest.mark.parametrize("document", with_commands("make"))
def test_targets_of_make_are_there(document):
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for block in console_blocks(document):
        for line, _ in block:
            if line.startswith("make "):
                assert line.split()[1] in targets


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_extras_are_there_and_other_programs_are_not_called(document):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for extras in re.findall(EXTRAS, document.read_text(encoding="utf-8")):
        assert set(extras.split(",")) <= set(project["optional-dependencies"])
    for block in console_blocks(document):
        for line, _ in block:
            assert line.split()[0] in ("sk-denoise", "make", "pip", "uv", "docker"), line
            if line.startswith("sk-denoise"):
                assert line.split()[1] in (*COMMANDS, "--help", "--version"), line
