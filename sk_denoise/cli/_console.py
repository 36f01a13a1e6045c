"""What the commands share: what they say and where, and how they end."""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

import click

from sk_denoise._extras import require_extra
from sk_denoise.exceptions import MissingExtraError

__all__ = [
    "PROGRAM",
    "Failure",
    "Refusal",
    "Terminated",
    "exit_code_of",
    "explained",
    "in_lines",
    "number_of",
    "open_streams",
    "reason_of",
    "require",
    "say",
    "shown",
    "some_of",
    "stopped_by_signals",
    "tell",
]

PROGRAM = "sk-denoise"
SENTENCES = ("A ", "An ", "Give ", "No ", "None ", "The ", "There ", "This ")  # how the library begins some
SIGNALS = ("SIGTERM", "SIGHUP")  # the second is not known everywhere


# How commands end ----------------------------------------------------------------------------------------


class Failure(click.ClickException):
    """What went wrong outside the program: one line on stderr, and exit code 1."""

    exit_code = 1


class Refusal(click.ClickException):
    """What was asked for cannot be done, and nothing was: one line on stderr, and exit code 2."""

    exit_code = 2


class Terminated(KeyboardInterrupt):
    """The system asked the program to end; a KeyboardInterrupt, so that what cleans up after one does."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def exit_code_of(stop: KeyboardInterrupt) -> int:
    """Return what a shell expects of a program that a signal stopped: 130 for Ctrl-C, 143 for SIGTERM."""
    return 128 + (stop.number if isinstance(stop, Terminated) else signal.SIGINT)


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Have SIGTERM and SIGHUP raise, as Ctrl-C does, so that no unfinished file is left behind."""

    def stop(number: int, frame: object) -> None:
        raise Terminated(number)

    previous = {}
    if threading.current_thread() is threading.main_thread():  # others may not
        for name in SIGNALS:
            number = getattr(signal, name, None)
            # one that is ignored, as nohup has it, stays ignored; one that is handled is somebody else's
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:
                previous[number] = signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


# What commands say ---------------------------------------------------------------------------------------


def open_streams() -> None:
    """Have streams that were closed lead nowhere, so that no image is opened in the place of one."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the first number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def say(text: str) -> None:
    """Write a line to stdout: what a command found. A reader that has gone away is no error.

    Raises
    ------
    Failure
        Where it cannot be written, to a full disk say.
    """
    try:
        _write(sys.stdout, text)
    except BrokenPipeError:
        _let_go(sys.stdout)
    except OSError as error:
        _let_go(sys.stdout)
        raise Failure(f"cannot write to standard output: {reason_of(error)}") from error


def tell(text: str) -> None:
    """Write a line to stderr: what happens meanwhile. It is never worth failing for."""
    try:
        _write(sys.stderr, text)
    except OSError:
        _let_go(sys.stderr)


def _write(stream: TextIO, text: str) -> None:
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    stream.flush()


def _let_go(stream: TextIO) -> None:
    """Send what is left in a stream nowhere: Python would try again at the end, and complain."""
    with suppress(OSError, ValueError):  # ValueError: a stream without a file behind it
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def shown(text: object) -> str:
    r"""Return a text, often the name of a file, without what would move a cursor or break a line.

    Examples
    --------
    >>> print(shown("two\nlines, \x1b[31m[red]\udcff.png"))
    two\nlines, \x1b[31m[red]\xff.png
    """
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in str(text))


def _escaped(letter: str) -> str:
    if "\udc80" <= letter <= "\udcff":  # how Python writes a byte of a name that is no UTF-8
        return f"\\x{ord(letter) - 0xDC00:02x}"
    return letter.encode("unicode_escape").decode("ascii")


def some_of(names: list[Any], most: int = 3) -> str:
    """Return the first few of some names, for a message.

    Examples
    --------
    >>> some_of(["a", "b", "c", "d"])
    'a, b, c and 1 more'
    """
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(shown(name) for name in names[:most]) + rest


def number_of(n: int, what: str) -> str:
    """Return a number of things.

    Examples
    --------
    >>> number_of(1, "epoch"), number_of(2, "epoch")
    ('1 epoch', '2 epochs')
    """
    return f"{n} {what}{'s' * (n != 1)}"


def reason_of(error: BaseException) -> str:
    """Return in one line why something did not go."""
    known = isinstance(error, OSError | ValueError | ImportError | click.ClickException) or type(
        error
    ).__module__.startswith("sk_denoise.")
    text = (isinstance(error, OSError) and error.strerror) or str(error)
    text = shown(" ".join(text.split())) if known else shown((text.splitlines() or [""])[0])
    if not known or not text:
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    if text.startswith(SENTENCES) and not (isinstance(error, OSError) and error.strerror):
        text = text[0].lower() + text[1:]
    remarks = (shown(remark).rstrip(".") for remark in getattr(error, "__notes__", ()))
    return " ".join([text.rstrip("."), *(f"({remark})" for remark in remarks)])


# What the library says ------------------------------------------------------------------------------------


@contextmanager
def in_lines(say: Callable[[str], object] = tell) -> Iterator[None]:
    """Say warnings as lines, each once, in the order of their coming."""
    said: set[str] = set()

    def show(message: Warning | str, category: type[Warning], *_: Any) -> None:
        text = " ".join(str(message).split())
        if issubclass(category, UserWarning) and text not in said:  # others are for who writes programs
            said.add(text)
            say(text)

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = show  # type: ignore[assignment]
        yield


@contextmanager
def explained(say: Callable[[str], object] = tell) -> Iterator[None]:
    """Say warnings of the library as lines, and end a command by its errors with the reason alone."""
    with in_lines(say):
        try:
            yield
        except (OSError, ValueError, RuntimeError, ImportError, MemoryError) as error:
            raise Failure(reason_of(error)) from error


def require(extra: str, caller: str) -> None:
    """End a command by the name of a missing package and how to get it, before any work.

    Raises
    ------
    Failure
        Where a package of an extra is not installed.
    """
    try:
        require_extra(caller, extra)
    except MissingExtraError as error:
        raise Failure(reason_of(error)) from error
