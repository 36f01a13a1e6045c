"""The command line: ``sk-denoise``, or ``python -m sk_denoise``."""

# ruff: noqa: E402 - the extra is checked before click is imported, so that its absence is said in full
from __future__ import annotations

import difflib
from collections.abc import Sequence
from importlib import import_module

from sk_denoise._extras import require_extra

require_extra("The command line", "cli")

import click

from sk_denoise import __version__
from sk_denoise.cli._console import (
    PROGRAM,
    Failure,
    Refusal,
    exit_code_of,
    open_streams,
    reason_of,
    shown,
    stopped_by_signals,
    tell,
)

__all__ = ["COMMANDS", "main"]

# Every command by name: where it is, imported when it is used, and its line in the help.
COMMANDS = {
    "denoise": ("_denoise:denoise", "Denoise images: files, folders, patterns."),
    "models": ("_models:models", "Show the models in the box, the card of one, or what a file holds."),
    "train": ("_train:train", "Train a model on the images of a folder."),
    "evaluate": ("_evaluate:evaluate", "Measure a model on a folder: PSNR and SSIM."),
    "compare": ("_compare:compare", "Compare models and filters on a folder."),
    "app": ("_app:app", "Serve the web app."),
    "demo": ("_demo:demo", "Denoise scikit-learn's digits: pipeline, search, comparison, image."),
}


class Commands(click.Group):
    """The commands of the table above; the help is made from it alone."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return their names."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return one of them, imported for the occasion."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(f"sk_denoise.cli.{module}"), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the part of the help that lists them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that is asked for; an unknown one is answered with the known and nearest."""
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            nearest = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
            raise click.UsageError(
                f"There is no command {shown(args[0])!r}.{hint} Known: {', '.join(COMMANDS)}.", ctx
            )
        return super().resolve_command(ctx, args)


@click.group(
    PROGRAM,
    cls=Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, message=f"sk_denoise {__version__}")
@click.pass_context
def group(ctx: click.Context) -> int:
    """Denoising for scikit-learn, from the command line."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        What follows the name of the program; by default what the shell gave.

    Returns
    -------
    int
        The exit code: 0 for success, help and version; 1 where something went wrong outside the program; 2
        for wrong usage; 130 where the user interrupted, 143 where the system did (SIGTERM). Nothing of this
        is raised.

    Examples
    --------
    >>> from sk_denoise.cli import main
    >>> main([])  # doctest: +ELLIPSIS
    Usage: sk-denoise ...
    0
    """
    open_streams()
    try:
        with stopped_by_signals():
            code = group.main(
                None if arguments is None else list(arguments), prog_name=PROGRAM, standalone_mode=False
            )
        return int(code or 0)
    except click.Abort as error:  # what click makes of a KeyboardInterrupt
        tell("Interrupted.")
        stop = error.__cause__
        return exit_code_of(stop if isinstance(stop, KeyboardInterrupt) else KeyboardInterrupt())
    except KeyboardInterrupt as stop:
        tell("Interrupted.")
        return exit_code_of(stop)
    except click.ClickException as error:
        return _explain(error)
    except SystemExit as end:  # of the server behind the app, which has said why
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except OSError as error:
        return _explain(Failure(reason_of(error)))


def _explain(error: click.ClickException) -> int:
    """Say in a line what is wrong, and where help is; return the exit code."""
    where = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else PROGRAM
    tell(f"{where}: {shown(error.format_message())}")
    if isinstance(error, click.UsageError) and not isinstance(error, Refusal):
        tell(f"Try '{where} --help' for help.")
    return error.exit_code
