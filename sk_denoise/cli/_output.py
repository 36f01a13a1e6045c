"""What is shown on stderr while images are worked on: lines, and bars below them on a terminal."""

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
from types import TracebackType
from typing import Any, Self

from rich import box
from rich.console import Console, ConsoleDimensions
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table
from rich.text import Text

from sk_denoise.cli._console import Failure, reason_of, say, shown, tell
from sk_denoise.cli._options import FORMATS

__all__ = ["ImageProgress", "Row", "hand_over", "say_table", "terminal", "write_whole"]


class Screen(Console):
    """A terminal that is not filled to the edge.

    It shows ^C behind what stands there. In a full line that would begin another one, and what is drawn over
    would be one line off.
    """

    @property  # type: ignore[misc]  # Console lets others set it, which nobody does here
    def size(self) -> ConsoleDimensions:
        """Return width and height in letters."""
        width, height = super().size
        return ConsoleDimensions(max(1, width - len("^C") - 1), height)


def terminal(quiet: bool = False) -> Console | None:
    """Return what bars are drawn on; None where there are to be no bars and no control codes."""
    if quiet or sys.stderr is None or not sys.stderr.isatty():  # FORCE_COLOR alone makes no terminal
        return None
    console = Screen(stderr=True, highlight=False)
    return console if console.is_terminal and not console.is_dumb_terminal else None


class ImageProgress:
    """Lines for images; on a terminal also bars over the images and over the tiles of the present one.

    Where stderr is no terminal nothing but whole lines is written: no bars and no control codes.

    Parameters
    ----------
    total : int
        How many images there are.
    quiet : bool
        Whether there are no bars, and only lines that tell of trouble.
    """

    def __init__(self, total: int, quiet: bool) -> None:
        self.total, self.quiet, self.number = total, quiet, 0
        console = terminal(quiet)
        self.bars = None if console is None else _bars(console)
        if self.bars is not None:
            self.images = self.bars.add_task("images", total=total)
            self.tiles = self.bars.add_task("", total=None)

    def __enter__(self) -> Self:
        if self.bars is not None:
            self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bars is not None:
            self.bars.stop()

    def begin(self, path: Path) -> None:
        """Turn to the next image."""
        self.number, self.path = self.number + 1, path
        if self.bars is not None:
            self.bars.reset(self.tiles, description=shown(path), total=None)

    def count(self, done: int, total: int) -> None:
        """Tell how many tiles of the present image are done."""
        if self.bars is not None:
            self.bars.update(self.tiles, completed=done, total=total)

    def end(self, text: str = "") -> None:
        """Say what came of the present image, if anything is to be said."""
        if text and not self.quiet:
            self.trouble(f"[{self.number:{len(str(self.total))}}/{self.total}] {text}")
        if self.bars is not None:
            self.bars.update(self.images, completed=self.number)

    def tell(self, text: str) -> None:
        """Write a line on the present image, quiet or not."""
        self.trouble(f"{self.path}: {text}")

    def trouble(self, text: str) -> None:
        """Write a line, quiet or not."""
        if self.bars is None:
            tell(shown(text))
        else:
            self.bars.console.print(Text(shown(text)), soft_wrap=True)


def _bars(console: Console) -> Progress:
    return Progress(
        TextColumn(
            "{task.description}",
            markup=False,
            table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1),
        ),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
        console=console,
        transient=True,
        expand=True,
    )


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
