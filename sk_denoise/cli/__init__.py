"""The command line: ``sk-denoise``, or ``python -m sk_denoise``."""

# ruff: noqa: E402 - the extra is checked before click is imported, so that the error names the extra
from __future__ import annotations

import difflib
from collections.abc import Sequence
from importlib import import_module

from sk_denoise._package import require_extra

require_extra("The command line", "cli")

import click

from sk_denoise import __version__
from sk_denoise.cli._console import (
    PROGRAM,
    CommandFailure,
    describe_error,
    exit_on_interrupt,
    interruption_exit_code,
    print_message,
    printable,
    raise_on_signals,
    reopen_closed_streams,
)

__all__ = ["COMMANDS", "main"]

# Commands by name: "module:function" and the line in the help. A module is imported when its command is used,
# so that help, completion and wrong usage do not wait for torch.
COMMANDS = {
    "denoise": ("_denoise_command:denoise_command", "Denoise images: files, folders, patterns."),
    "models": (
        "_models_command:models_command",
        "List the pretrained models, or describe one model or model file.",
    ),
    "train": ("_train_command:train_command", "Train a model on a folder of images."),
    "evaluate": ("_evaluate_command:evaluate_command", "Measure a model on a folder: PSNR and SSIM."),
    "compare": ("_compare_command:compare_command", "Compare models and filters on a folder."),
    "app": ("_app_command:app_command", "Serve the web app."),
    "demo": (
        "_demo_command:demo_command",
        "Denoise scikit-learn's digits: pipeline, search, comparison, image.",
    ),
}


class LazyCommandGroup(click.Group):
    """Command group that imports a command when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command and return it; None for an unknown name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(f"sk_denoise.cli.{module}"), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands into the help."""
        # The lines come from the table: click's method would import every command.
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the requested command, or suggest the nearest name."""
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            nearest = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
            raise click.UsageError(
                f"There is no command {printable(args[0])!r}.{hint} Known: {', '.join(COMMANDS)}.", ctx
            )
        return super().resolve_command(ctx, args)


@click.group(
    PROGRAM,
    cls=LazyCommandGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, message=f"sk_denoise {__version__}")
@click.pass_context
def root_command(ctx: click.Context) -> int:
    """Denoising for scikit-learn, from the command line."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Words behind the name of the program; by default those of the shell.

    Returns
    -------
    int
        The exit code: 0 for success, help and version; 1 for errors outside the program; 2 for wrong usage;
        130 after Ctrl-C; 143 after SIGTERM. None of these raises an exception.

    Examples
    --------
    >>> from sk_denoise.cli import main
    >>> main([])  # doctest: +ELLIPSIS
    Usage: sk-denoise ...
    0
    """
    code = 1
    try:
        code = _run(arguments)
    # A second Ctrl-C came while the first one was handled.
    except KeyboardInterrupt as interruption:
        code = interruption_exit_code(interruption)
    finally:
        # A caller within Python keeps its handler.
        if arguments is None:
            exit_on_interrupt(code)
    return code


def _run(arguments: Sequence[str] | None) -> int:
    """Run a command, print its errors, and return the exit code."""
    reopen_closed_streams()
    try:
        with raise_on_signals():
            code = root_command.main(
                None if arguments is None else list(arguments), prog_name=PROGRAM, standalone_mode=False
            )
        return int(code or 0)
    # click raises Abort in place of a KeyboardInterrupt.
    except click.Abort as error:
        print_message("Interrupted.")
        cause = error.__cause__
        return interruption_exit_code(cause if isinstance(cause, KeyboardInterrupt) else KeyboardInterrupt())
    except KeyboardInterrupt as interruption:
        print_message("Interrupted.")
        return interruption_exit_code(interruption)
    except click.ClickException as error:
        return _print_error(error)
    # The server of the app raises SystemExit after it has printed the reason.
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except OSError as error:
        return _print_error(CommandFailure(describe_error(error)))


def _print_error(error: click.ClickException) -> int:
    """Print an error, with a hint after wrong usage; return the exit code."""
    caller = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else PROGRAM
    print_message(f"{caller}: {printable(error.format_message())}")
    if isinstance(error, click.UsageError):
        print_message(f"Try '{caller} --help' for help.")
    return error.exit_code
