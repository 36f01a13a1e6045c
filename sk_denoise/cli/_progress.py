"""What is shown on stderr while images are worked on: lines, and bars below them on a terminal."""

from __future__ import annotations

import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console, ConsoleDimensions
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

from sk_denoise.cli._console import shown, tell

__all__ = ["ImageProgress", "terminal"]


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
