"""Results on the screen or in a file: a table, CSV or JSON."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import secrets
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sk_denoise.cli._console import Failure, reason_of, say, shown
from sk_denoise.cli._options import FORMATS

__all__ = ["Row", "hand_over", "say_table", "write_whole"]

WIDE = 10_000  # columns of a file: nothing is cut off
LEAST = 12  # letters of a name in a line
DIGITS = {"psnr": 2, "ssim": 4, "seconds": 2, "dB": 2}

Row = Mapping[str, Any]


def hand_over(rows: Sequence[Row], form: str | None, output: Path | None, about: Row) -> None:
    """Print rows that have the same columns, or write them to a file.

    Parameters
    ----------
    rows : sequence of dict
        The results.
    form : {"table", "csv", "json"} or None
        None takes what the name of the file ends in, or a table.
    output : Path or None
        The file; None prints.
    about : dict
        What was measured; JSON holds it beside the rows, a table below them, CSV not at all.
    """
    form = form or _form_of(output)
    if form == "table" and output is None:
        say_table(rows, about)
        return
    if form == "table":
        text = _table(rows, about, "utf-8", WIDE)
    else:
        text = _csv(rows) if form == "csv" else json.dumps({**about, "results": list(rows)}, indent=2)
    if output is None:
        say(text)
    else:
        write_whole(output, f"{text}\n".encode())


def say_table(rows: Sequence[Row], about: Row | None = None) -> None:
    """Print rows as a table, as wide as the terminal, and as it needs where there is none."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDE
    say(_table(rows, about or {}, sys.stdout.encoding or "utf-8", width))


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that appears complete or not at all."""
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(target)
    except BaseException as error:  # an interruption too
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise Failure(f"cannot write {shown(path)}: {reason_of(error)}") from error
        raise


def _form_of(output: Path | None) -> str:
    suffix = "" if output is None else output.suffix.lower().removeprefix(".")
    return suffix if suffix in FORMATS else "table"


def _csv(rows: Sequence[Row]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue().rstrip("\n")


def _table(rows: Sequence[Row], about: Row, encoding: str, width: int) -> str:
    sheet = io.TextIOWrapper(io.BytesIO(), encoding, "backslashreplace")  # rich draws with letters it has
    console = Console(
        file=sheet,
        width=max(width, _least(rows)),
        force_terminal=False,
        highlight=False,
        markup=False,
        emoji=False,
    )
    table = Table(box=box.SIMPLE_HEAD)
    for name, value in rows[0].items():
        words = isinstance(value, str)  # these may break, but no number is cut
        table.add_column(
            _heading(name), justify="left" if words else "right", no_wrap=not words, overflow="fold"
        )
    for row in rows:
        table.add_row(*(Text(_in_words(name, value)) for name, value in row.items()))
    console.print(table)
    for name, value in about.items():
        console.print(f"{name}: {shown(value)}", soft_wrap=True)
    sheet.seek(0)
    return "\n".join(line.rstrip() for line in sheet.read().rstrip("\n").split("\n"))


def _least(rows: Sequence[Row]) -> int:
    """Return the width below which numbers would be cut."""
    widths = (
        LEAST
        if isinstance(value, str)
        else max(len(_heading(name)), *(len(_in_words(name, row[name])) for row in rows))
        for name, value in rows[0].items()
    )
    return sum(width + 3 for width in widths)


def _heading(name: str) -> str:
    return name.replace("_", " ").replace("psnr", "PSNR").replace("ssim", "SSIM")


def _in_words(name: str, value: Any) -> str:
    if value is None:
        return "-"
    digits = DIGITS.get(re.split("[_ ]", name)[0], 3)
    return f"{value:.{digits}f}" if isinstance(value, float) else shown(value)
