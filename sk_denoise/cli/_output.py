"""Progress on stderr, and results on stdout or in a file."""

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

from sk_denoise.cli._console import CommandFailure, describe_error, print_message, print_result, printable
from sk_denoise.cli._options import RESULT_FORMATS

__all__ = [
    "ImageProgress",
    "ResultRow",
    "open_console",
    "print_table",
    "write_results",
    "write_whole_file",
]

# Columns of a table in a file or pipe, where no line has to be broken.
UNLIMITED_WIDTH = 10_000
# Letters of a name in a line; longer names continue in the next one.
MIN_TEXT_WIDTH = 12
# Decimals by the first word of a column.
DECIMALS = {"psnr": 2, "ssim": 4, "seconds": 2, "dB": 2}

ResultRow = Mapping[str, Any]


# Progress ------------------------------------------------------------------------------------------------


class StderrConsole(Console):
    """Console on stderr that leaves the last columns of a terminal free."""

    # A terminal prints ^C behind the cursor. In a full line that begins a new line, and the bars that are
    # drawn over it would be one line off.
    @property  # type: ignore[misc]  # the base class has a setter, which is not used here
    def size(self) -> ConsoleDimensions:
        """Width and height in letters."""
        width, height = super().size
        return ConsoleDimensions(max(1, width - len("^C") - 1), height)


def open_console(quiet: bool = False) -> Console | None:
    """Return a console for progress bars; None without a terminal or if ``quiet``."""
    # rich would take FORCE_COLOR as a terminal, and write control codes into a file.
    if quiet or sys.stderr is None or not sys.stderr.isatty():
        return None
    console = StderrConsole(stderr=True, highlight=False)
    return console if console.is_terminal and not console.is_dumb_terminal else None


class ImageProgress:
    """Progress over images: lines, and on a terminal bars for images and tiles.

    Without a terminal, whole lines are written, without control codes.

    Parameters
    ----------
    total : int
        Number of images.
    quiet : bool
        Whether to write notes and errors only, without bars.
    """

    def __init__(self, total: int, quiet: bool) -> None:
        self.total, self.quiet, self.number = total, quiet, 0
        console = open_console(quiet)
        self.bars = None if console is None else _build_bars(console)
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

    def start_image(self, path: Path) -> None:
        """Begin the next image."""
        self.number, self.path = self.number + 1, path
        if self.bars is not None:
            self.bars.reset(self.tiles, description=printable(path), total=None)

    def update_tiles(self, done: int, total: int) -> None:
        """Show the number of finished tiles of the image."""
        if self.bars is not None:
            self.bars.update(self.tiles, completed=done, total=total)

    def finish_image(self, text: str = "") -> None:
        """Finish the image, and write a line about it unless ``quiet``."""
        if text and not self.quiet:
            self._write_line(f"[{self.number:{len(str(self.total))}}/{self.total}] {text}")
        if self.bars is not None:
            self.bars.update(self.images, completed=self.number)

    def write_note(self, text: str) -> None:
        """Write a line with the name of the image, even if ``quiet``."""
        self._write_line(f"{self.path}: {text}")

    def _write_line(self, text: str) -> None:
        if self.bars is None:
            print_message(printable(text))
        else:
            # The console of the bars moves them below the line.
            self.bars.console.print(Text(printable(text)), soft_wrap=True)


def _build_bars(console: Console) -> Progress:
    return Progress(
        TextColumn(
            "{task.description}",
            # File names may hold brackets.
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


# Results -------------------------------------------------------------------------------------------------


def write_results(
    rows: Sequence[ResultRow], form: str | None, output: Path | None, summary: ResultRow
) -> None:
    """Print rows of results, or write them to a file.

    Parameters
    ----------
    rows : sequence of dict
        The results; all rows have the same columns.
    form : {"table", "csv", "json"} or None
        Format. None takes the suffix of the file, or a table.
    output : Path or None
        The file; None prints.
    summary : dict
        Further values: JSON holds them beside the rows, a table below them, CSV not at all.
    """
    form = form or _suffix_format(output)
    if form == "table" and output is None:
        print_table(rows, summary)
        return
    if form == "table":
        text = _format_table(rows, summary, "utf-8", UNLIMITED_WIDTH)
    elif form == "csv":
        text = _format_csv(rows)
    else:
        text = json.dumps({**summary, "results": list(rows)}, indent=2)
    if output is None:
        print_result(text)
    else:
        write_whole_file(output, f"{text}\n".encode())


def print_table(rows: Sequence[ResultRow], summary: ResultRow | None = None) -> None:
    """Print rows as a table, with the width of the terminal if there is one."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else UNLIMITED_WIDTH
    print_result(_format_table(rows, summary or {}, sys.stdout.encoding or "utf-8", width))


def write_whole_file(path: Path, content: bytes) -> None:
    """Write a file that appears complete or not at all.

    Raises
    ------
    CommandFailure
        If the file cannot be written.
    """
    # A link stays a link: the file that it leads to is replaced.
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(target)
    # BaseException, because an interruption must not leave the temporary file either.
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise CommandFailure(f"cannot write {printable(path)}: {describe_error(error)}") from error
        raise


def _suffix_format(output: Path | None) -> str:
    suffix = "" if output is None else output.suffix.lower().removeprefix(".")
    return suffix if suffix in RESULT_FORMATS else "table"


def _format_csv(rows: Sequence[ResultRow]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue().rstrip("\n")


def _format_table(rows: Sequence[ResultRow], summary: ResultRow, encoding: str, width: int) -> str:
    # rich draws lines with the letters that the encoding of its file has.
    file = io.TextIOWrapper(io.BytesIO(), encoding, "backslashreplace")
    console = Console(
        file=file,
        width=max(width, _min_table_width(rows)),
        force_terminal=False,
        highlight=False,
        markup=False,
        emoji=False,
    )
    table = Table(box=box.SIMPLE_HEAD)
    for name, value in rows[0].items():
        # Text may continue in the next line; a number may not.
        is_text = isinstance(value, str)
        table.add_column(
            _format_heading(name),
            justify="left" if is_text else "right",
            no_wrap=not is_text,
            overflow="fold",
        )
    for row in rows:
        table.add_row(*(Text(_format_value(name, value)) for name, value in row.items()))
    console.print(table)
    for name, value in summary.items():
        console.print(f"{name}: {printable(value)}", soft_wrap=True)
    file.seek(0)
    return "\n".join(line.rstrip() for line in file.read().rstrip("\n").split("\n"))


def _min_table_width(rows: Sequence[ResultRow]) -> int:
    """Return the width of the narrowest table that shows all numbers in full."""
    widths = (
        MIN_TEXT_WIDTH
        if isinstance(value, str)
        else max(len(_format_heading(name)), *(len(_format_value(name, row[name])) for row in rows))
        for name, value in rows[0].items()
    )
    # rich puts three spaces between columns.
    return sum(width + 3 for width in widths)


def _format_heading(name: str) -> str:
    return name.replace("_", " ").replace("psnr", "PSNR").replace("ssim", "SSIM")


def _format_value(name: str, value: Any) -> str:
    if value is None:
        return "-"
    decimals = DECIMALS.get(re.split("[_ ]", name)[0], 3)
    return f"{value:.{decimals}f}" if isinstance(value, float) else printable(value)
