"""Results on the screen or in a file: a table, CSV or JSON."""

from __future__ import annotations

import csv
import io
import json
import os
import secrets
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sk_denoise.cli._told import has_terminal, printable

__all__ = ["FORMATS", "check_writable", "format_of", "show_results", "write_whole"]

FORMATS = ("table", "csv", "json")
WIDE = 10_000  # columns of a file: nothing is cut off
DIGITS = {"psnr": 2, "ssim": 4, "seconds": 2}

Row = Mapping[str, Any]


def check_writable(path: Path, name: str) -> None:
    """Refuse a file that cannot be written, before any work is done for it."""
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise click.BadParameter(f"{str(path)!r} is a folder; give the path of a file.", param_hint=name)
    if not target.parent.is_dir():
        raise click.BadParameter(f"there is no folder {str(target.parent)!r}; create it.", param_hint=name)
    try:
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        raise click.BadParameter(
            f"{str(path)!r} cannot be written: {error.strerror or error}.", param_hint=name
        ) from error


def format_of(given: str | None, output: Path | None) -> str:
    """Return the format: what is given, else what the name of the file ends in, else a table."""
    if given is not None:
        return given
    suffix = "" if output is None else output.suffix.lower().removeprefix(".")
    return suffix if suffix in FORMATS else "table"


def show_results(
    rows: Sequence[Row], kind: str, output: Path | None, *, title: str = "", about: Row | None = None
) -> None:
    """Print rows that have the same columns, or write them to a file.

    ``about`` says what was measured; JSON holds it beside the rows, a table below them.
    """
    about = about or {}
    if kind == "json":
        text = json.dumps({**about, "results": list(rows)}, indent=2) + "\n"
    elif kind == "csv":
        text = _as_csv(rows)
    elif output is None:
        _print_table(rows, title, about, sys.stdout, None if has_terminal(sys.stdout) else WIDE)
        return
    else:
        stream = io.StringIO()
        _print_table(rows, title, about, stream, WIDE)
        text = stream.getvalue()
    if output is None:
        click.echo(text, nl=False)
    else:
        write_whole(output, text.encode())


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that appears complete or not at all."""
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(target)
    except BaseException:  # an interruption too
        temporary.unlink(missing_ok=True)
        raise


def _as_csv(rows: Sequence[Row]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def _print_table(rows: Sequence[Row], title: str, about: Row, stream: Any, width: int | None) -> None:
    console = Console(file=stream, width=width, highlight=False, markup=False, emoji=False)
    table = Table(title=Text(title) if title else None, title_justify="left", box=box.SIMPLE_HEAD)
    for name, value in rows[0].items():
        table.add_column(_heading(name), justify=_side_of(value))
    for row in rows:
        table.add_row(*(Text(_in_words(name, value)) for name, value in row.items()))
    console.print(table)
    for name, value in about.items():
        console.print(f"{name.replace('_', ' ')}: {value}", soft_wrap=True)


def _heading(name: str) -> str:
    return name.replace("_", " ").replace("psnr", "PSNR").replace("ssim", "SSIM")


def _side_of(value: Any) -> Any:
    return "left" if isinstance(value, str) else "right"


def _in_words(name: str, value: Any) -> str:
    if value is None:
        return "-"
    digits = DIGITS.get(name.partition("_")[0], 3)
    return f"{value:.{digits}f}" if isinstance(value, float) else printable(str(value))
