"""What happens after each epoch of a run: the model is written, and somebody is told."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

from sk_denoise.cli._console import Failure, number_of, reason_of, shown, tell
from sk_denoise.cli._progress import terminal

__all__ = ["Keeper", "Screen", "figures_of", "in_time", "screen"]


class Screen(Protocol):
    """Where a run is shown."""

    def say(self, text: str) -> None:
        """Show a line."""

    def show(self, done: int, figures: str) -> None:
        """Show that so many epochs are done."""


class Silence:
    """Shows warnings alone."""

    def say(self, text: str) -> None:
        tell(shown(text))

    def show(self, done: int, figures: str) -> None:
        pass


class Lines:
    """A plain line for each epoch, for files and pipes."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.times = [time.monotonic()]

    def say(self, text: str) -> None:
        tell(shown(text))

    def show(self, done: int, figures: str) -> None:
        self.times.append(time.monotonic())
        alike = self.times[1:] if len(self.times) > 2 else self.times  # the first one waits for preparations
        each = (alike[-1] - alike[0]) / (len(alike) - 1)
        tell(f"epoch {done}/{self.total}, {figures}, {in_time(each * (self.total - done))} left")


class Bar:
    """A bar on a terminal."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self.progress, self.task = progress, task

    def say(self, text: str) -> None:
        self.progress.console.print(Text(shown(text)), soft_wrap=True)

    def show(self, done: int, figures: str) -> None:
        self.progress.update(self.task, completed=done, figures=figures)


@contextmanager
def screen(done: int, total: int, quiet: bool) -> Iterator[Screen]:
    """Show a run from one epoch to another."""
    if quiet:
        yield Silence()
        return
    console = terminal()
    if console is None:
        yield Lines(total)
        return
    width = len(f"epoch {total}/{total}")
    columns = (
        TextColumn("epoch {task.completed:.0f}/{task.total:.0f}", table_column=Column(min_width=width)),
        BarColumn(bar_width=16),
        TextColumn("{task.fields[figures]}", table_column=Column(no_wrap=True, ratio=1)),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=console, expand=True) as progress:
        yield Bar(progress, progress.add_task("", total=total, completed=done, figures=""))


class Keeper:
    """Writes the model after each epoch, as a callback of an ImageDenoiser.

    Parameters
    ----------
    path : Path
        Where to.
    kept : int
        How many epochs it holds already.
    """

    def __init__(self, path: Path, kept: int) -> None:
        self.path, self.kept = path, kept
        self.figures = ""

    def begin(self, settings: dict[str, Any], screen: Screen) -> None:
        """Take the parameters that the estimator of the file has, of the whole run, and whom to tell."""
        self.settings, self.screen = settings, screen

    def __call__(self, denoiser: Any, epoch: dict[str, Any]) -> None:
        self.keep(denoiser)
        self.figures = figures_of(epoch, denoiser.loss)
        self.screen.show(self.kept, self.figures)

    def keep(self, denoiser: Any) -> None:
        """Write a model that is whole, in place of the one of the epoch before."""
        from sk_denoise.persistence import save

        try:
            save(denoiser.set_params(**self.settings, callbacks=None), self.path)
        except OSError as error:
            kept = f"; it holds {number_of(self.kept, 'epoch')}" if self.kept else ""
            raise Failure(f"cannot write {shown(self.path)}: {reason_of(error)}{kept}") from error
        self.kept = denoiser.n_iter_


def figures_of(epoch: dict[str, Any], loss: Any) -> str:
    """Return in words the loss of an epoch, and the PSNR that is known."""
    value = float(epoch["train_loss"])
    if "valid_psnr" in epoch:
        return f"loss {value:.5f}, validation PSNR {epoch['valid_psnr']:.2f} dB"
    if loss == "mse" and value > 0:  # in squares of the range from black to white
        return f"loss {value:.5f}, training PSNR {-10 * math.log10(value):.2f} dB"
    return f"loss {value:.5f}"


def in_time(seconds: float) -> str:
    """Return seconds as hours, minutes and seconds."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole % 3600 // 60:02}:{whole % 60:02}"
