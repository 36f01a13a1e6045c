"""What the library says, in the words of a command line: lines for warnings, exit codes for errors."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

__all__ = ["Interrupted", "has_terminal", "in_words", "note"]

INTERRUPTED = 130  # what shells give for Ctrl-C


class Interrupted(click.ClickException):
    """The user pressed Ctrl-C; the message says what is kept."""

    exit_code = INTERRUPTED

    def show(self, file: Any = None) -> None:
        """Print the message, which is no error of the program."""
        click.echo(f"\n{self.message}", err=True, file=file)


@contextmanager
def in_words(
    say: Callable[[str], object], interrupted: Callable[[], str] = lambda: "Interrupted."
) -> Iterator[None]:
    """Say each warning once, as a line, and let errors end the command with their message alone."""
    said: set[str] = set()

    def show(message: Warning | str, *_: Any) -> None:
        text = " ".join(str(message).split())
        if text not in said:
            said.add(text)
            say(text)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = show  # type: ignore[assignment]
        try:
            yield
        except click.ClickException:
            raise
        except KeyboardInterrupt:
            raise Interrupted(interrupted()) from None
        except (OSError, ValueError, RuntimeError, ImportError, MemoryError) as error:
            raise click.ClickException(_message_of(error)) from error


def note(text: str) -> None:
    """Print a line beside the results."""
    click.echo(text, err=True)


def has_terminal(stream: Any = None) -> bool:
    """Return whether somebody is looking, who gets bars and colours; files and pipes get plain lines."""
    return bool((sys.stderr if stream is None else stream).isatty())


def _message_of(error: Exception) -> str:
    text = str(error) or type(error).__name__
    for remark in getattr(error, "__notes__", ()):
        text += f" ({remark.rstrip('.')})"
    return " ".join(text.split())
