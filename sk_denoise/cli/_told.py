"""What the library says, in the words of a command line: lines for warnings, exit codes for errors."""

from __future__ import annotations

import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

__all__ = ["Interrupted", "has_terminal", "in_words", "note", "printable"]


class Interrupted(click.ClickException):
    """The user pressed Ctrl-C, or the system asked the program to end; the message says what is kept."""

    def __init__(self, message: str, stop: KeyboardInterrupt) -> None:
        super().__init__(message)
        # 130 for Ctrl-C, as in shells
        self.exit_code = 128 + getattr(stop, "number", signal.SIGINT)  # type: ignore[misc]

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
        except KeyboardInterrupt as stop:
            raise Interrupted(interrupted(), stop) from None
        except (OSError, ValueError, RuntimeError, ImportError, MemoryError) as error:
            raise click.ClickException(_message_of(error)) from error


def note(text: str) -> None:
    """Print a line beside the results."""
    click.echo(printable(text), err=True)


def printable(text: str) -> str:
    r"""Return a text, often with the name of a file, without what would move a cursor or break a line.

    Examples
    --------
    >>> print(printable("two\nlines.png"))
    two\nlines.png
    """
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def has_terminal(stream: Any = None) -> bool:
    """Return whether somebody is looking, who gets bars and colours; files and pipes get plain lines."""
    return bool((sys.stderr if stream is None else stream).isatty())


def _message_of(error: Exception) -> str:
    text = str(error) or type(error).__name__
    for remark in getattr(error, "__notes__", ()):
        text += f" ({remark.rstrip('.')})"
    return " ".join(text.split())
