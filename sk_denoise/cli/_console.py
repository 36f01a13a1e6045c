"""Console output, errors and signals that all commands share."""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TextIO

import click

from sk_denoise._package import require_extra
from sk_denoise.exceptions import MissingExtraError, SkippedImageWarning

__all__ = [
    "PROGRAM",
    "CommandFailure",
    "RefusedInput",
    "Terminated",
    "abbreviate_list",
    "describe_error",
    "errors_as_failures",
    "exit_on_interrupt",
    "interruption_exit_code",
    "pluralize",
    "print_message",
    "print_result",
    "printable",
    "raise_on_signals",
    "reopen_closed_streams",
    "require_installed",
    "warnings_as_lines",
]

PROGRAM = "sk-denoise"
# Messages of the library that begin so are sentences, which start in lower case behind the program's name.
SENTENCE_STARTS = ("A ", "An ", "Give ", "No ", "None ", "The ", "There ", "This ")
# Windows has no SIGHUP.
TERMINATION_SIGNALS = ("SIGTERM", "SIGHUP")


# Errors and exit codes -----------------------------------------------------------------------------------


class CommandFailure(click.ClickException):
    """An error outside the program: one line on stderr and exit code 1."""

    exit_code = 1


class RefusedInput(click.ClickException):
    """An impossible request, refused before any work: one line and exit code 2."""

    exit_code = 2


class Terminated(KeyboardInterrupt):
    """A termination signal; it runs the same clean-up as Ctrl-C.

    Parameters
    ----------
    number : int
        The signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def interruption_exit_code(interruption: KeyboardInterrupt) -> int:
    """Return the exit code after a signal: 130 for Ctrl-C, 143 for SIGTERM."""
    # Shells expect 128 plus the number of the signal.
    return 128 + (interruption.number if isinstance(interruption, Terminated) else signal.SIGINT)


@contextmanager
def raise_on_signals() -> Iterator[None]:
    """Raise `Terminated` on SIGTERM and SIGHUP, so that no unfinished file stays."""

    def stop(number: int, frame: object) -> None:
        raise Terminated(number)

    previous = {}
    # Python allows signal handlers in the main thread alone.
    if threading.current_thread() is threading.main_thread():
        for name in TERMINATION_SIGNALS:
            number = getattr(signal, name, None)
            # An ignored signal stays ignored, as nohup needs it; a handled one belongs to another program.
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:
                previous[number] = signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def exit_on_interrupt(code: int) -> None:
    """Let Ctrl-C end the process at once, in silence, from now on."""
    # Python runs functions of torch and others while it ends, and would print a traceback of theirs.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, lambda *_: os._exit(code))


# Output --------------------------------------------------------------------------------------------------


def reopen_closed_streams() -> None:
    """Connect closed standard streams to the null device."""
    # Otherwise the next image that is opened would take the number of a closed stream.
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            # The system gives out the lowest free number, which is this stream's.
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def print_result(text: str) -> None:
    """Print a line of results to stdout; a reader that has gone away is no error.

    Raises
    ------
    CommandFailure
        If the line cannot be written, to a full disk for example.
    """
    try:
        _print_line(sys.stdout, text)
    except BrokenPipeError:
        _discard_buffer(sys.stdout)
    except OSError as error:
        _discard_buffer(sys.stdout)
        raise CommandFailure(f"cannot write to standard output: {describe_error(error)}") from error


def print_message(text: str) -> None:
    """Print a message to stderr; errors of the stream are ignored."""
    try:
        _print_line(sys.stderr, text)
    except OSError:
        _discard_buffer(sys.stderr)


def _print_line(stream: TextIO, text: str) -> None:
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    stream.flush()


def _discard_buffer(stream: TextIO) -> None:
    """Send the buffer of a stream to the null device."""
    # Python would write the buffer again at exit, and print a second error. A stream without a file raises
    # ValueError.
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


# Wording -------------------------------------------------------------------------------------------------


def printable(text: object) -> str:
    r"""Return a text, often a file name, with control characters escaped.

    Examples
    --------
    >>> print(printable("two\nlines, \x1b[31m[red]\udcff.png"))
    two\nlines, \x1b[31m[red]\xff.png
    """
    return "".join(letter if letter.isprintable() else _escape(letter) for letter in str(text))


def _escape(letter: str) -> str:
    # Python stores a byte of a file name that is no UTF-8 as one of these code points.
    if "\udc80" <= letter <= "\udcff":
        return f"\\x{ord(letter) - 0xDC00:02x}"
    return letter.encode("unicode_escape").decode("ascii")


def abbreviate_list(names: Sequence[Any], max_names: int = 3) -> str:
    """Return the first few names, and the number of the others.

    Examples
    --------
    >>> abbreviate_list(["a", "b", "c", "d"])
    'a, b, c and 1 more'
    """
    rest = f" and {len(names) - max_names} more" if len(names) > max_names else ""
    return ", ".join(printable(name) for name in names[:max_names]) + rest


def pluralize(n: int, noun: str) -> str:
    """Return a number with its noun in singular or plural.

    Examples
    --------
    >>> pluralize(1, "epoch"), pluralize(2, "epoch")
    ('1 epoch', '2 epochs')
    """
    return f"{n} {noun}{'s' * (n != 1)}"


def describe_error(error: BaseException) -> str:
    """Return the message of an error in one line, without a final period."""
    system_message = error.strerror if isinstance(error, OSError) else None
    text = system_message or str(error)
    # These messages are written for users. Others may be long, and need the class to be understood.
    is_for_users = isinstance(error, OSError | ValueError | ImportError | click.ClickException) or type(
        error
    ).__module__.startswith("sk_denoise.")
    text = printable(" ".join(text.split())) if is_for_users else printable((text.splitlines() or [""])[0])
    if not is_for_users or not text:
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    if text.startswith(SENTENCE_STARTS) and not system_message:
        text = text[0].lower() + text[1:]
    notes = (printable(note).rstrip(".") for note in getattr(error, "__notes__", ()))
    return " ".join([text.rstrip("."), *(f"({note})" for note in notes)])


# Warnings and errors of the library ----------------------------------------------------------------------


@contextmanager
def warnings_as_lines(
    write: Callable[[str], object] = print_message, skipped: list[str] | None = None
) -> Iterator[None]:
    """Write each different warning as a line; collect those about skipped images."""
    written: set[str] = set()

    def write_once(message: Warning | str, category: type[Warning], *_: Any) -> None:
        text = " ".join(str(message).split())
        # Other categories, such as DeprecationWarning, are for programmers.
        if issubclass(category, UserWarning) and text not in written:
            written.add(text)
            write(text)
            if skipped is not None and issubclass(category, SkippedImageWarning):
                skipped.append(text)

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = write_once  # type: ignore[assignment]
        yield


@contextmanager
def errors_as_failures(
    write: Callable[[str], object] = print_message, skipped: list[str] | None = None
) -> Iterator[None]:
    """Write warnings of the library as lines and raise its errors as failures.

    Parameters
    ----------
    write : callable, default=print_message
        Function of a warning's text.
    skipped : list of str, optional
        List that takes the texts about images that are left out.

    Raises
    ------
    CommandFailure
        If the library raises an error; the message is that of the error, without a traceback.
    """
    with warnings_as_lines(write, skipped):
        try:
            yield
        except (OSError, ValueError, RuntimeError, ImportError, MemoryError) as error:
            raise CommandFailure(describe_error(error)) from error


def require_installed(extra: str, caller: str) -> None:
    """Check that the packages of an extra are installed.

    Raises
    ------
    CommandFailure
        If a package is missing; the message gives the command that installs it.
    """
    try:
        require_extra(caller, extra)
    except MissingExtraError as error:
        raise CommandFailure(describe_error(error)) from error
