"""What the commands share: what they say and where, how they end, and options that several have."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO, TypeVar

import click

__all__ = [
    "PROGRAM",
    "Failure",
    "Refusal",
    "Terminated",
    "check_writable",
    "device_option",
    "exit_code_of",
    "integer",
    "is_folder",
    "is_there",
    "quiet_option",
    "reason_of",
    "say",
    "seed_option",
    "shown",
    "some_of",
    "stopped_by_signals",
    "tell",
]

PROGRAM = "sk-denoise"
LARGEST_SEED = 2**32 - 2  # of numpy's RandomState; the demo takes the next one too
SIGNALS = ("SIGTERM", "SIGHUP")  # the second is not known everywhere
Command = TypeVar("Command", bound=Callable[..., Any])


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


def reason_of(error: BaseException) -> str:
    """Return in one line why something did not go."""
    known = isinstance(error, OSError | ValueError | click.ClickException)
    text = (isinstance(error, OSError) and error.strerror) or str(error)
    text = shown(" ".join(text.split())) if known else shown((text.splitlines() or [""])[0])
    if not known or not text:
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return text.rstrip(".")


# What commands check, and their options ------------------------------------------------------------------


def is_there(path: Path) -> bool:
    """Whether there is a file or folder; one that may not be looked at counts as none."""
    try:
        return path.exists()
    except OSError:
        return False


def is_folder(path: Path) -> bool:
    """Whether it is a folder, or a link to one."""
    try:
        return path.is_dir()
    except OSError:
        return False


def check_writable(folder: Path) -> None:
    """Make a folder and write to it once, so that what hinders comes before the long work.

    Raises
    ------
    Failure
        Where it cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise Failure(f"cannot write to {shown(folder)}: {reason_of(error)}") from error


def integer(text: Any) -> int:
    """Return what an option was given, as an integer."""
    try:
        return int(text)
    except ValueError:
        raise click.BadParameter(f"expected an integer, got {text!r}") from None


def _seed(text: Any) -> int:
    seed = integer(text)
    if not 0 <= seed <= LARGEST_SEED:
        raise click.BadParameter(f"expected an integer from 0 to {LARGEST_SEED}, got {text!r}")
    return seed


def seed_option(what: str) -> Callable[[Command], Command]:
    """Return the option ``--seed``; ``what`` says of what."""
    return click.option("--seed", type=_seed, default=0, metavar="S", show_default=True, help=what)


device_option = click.option(
    "--device",
    default="auto",
    metavar="DEVICE",
    show_default=True,
    help='Where to compute: "cpu", "cuda", "cuda:1"; "auto" is a GPU where there is one.',
)
quiet_option = click.option(
    "-q", "--quiet", is_flag=True, help="Say nothing but warnings and what went wrong, on stderr."
)
