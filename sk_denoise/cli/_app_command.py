"""``sk-denoise app``: serve the web app."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import click

from sk_denoise.app import Settings, run
from sk_denoise.cli._console import CommandFailure, RefusedInput

__all__ = ["app_command"]

# Help of the options, which are the fields of the app's settings.
LIMITS = {
    "megapixels": "Largest image, in megapixels.",
    "upload_megabytes": "Largest file, in megabytes.",
    "workers": "Images to process at once. Each one takes memory.",
    "waiting": "Images that may wait in the queue.",
    "disk_megabytes": "Megabytes for the images and results of all users, in the folder for temporary files.",
    "minutes": "Longest processing time of an image, in minutes.",
    "patience": "Seconds until the work for a closed page is cancelled, and its images are deleted.",
    "memory_megabytes": "Largest memory of each process that reads or computes, in megabytes.",
}


def _limit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add an option for each limit of the app to a command."""
    # Without defaults of their own: a missing option leaves the value of the environment.
    for field in reversed(fields(Settings)):
        option = click.option(
            f"--{field.name.replace('_', '-')}",
            type=click.IntRange(min=field.metadata.get("min", 1)),
            metavar="N",
            help=f"{LIMITS[field.name]} Default: {field.default}.",
        )
        command = option(command)
    return command


@click.command("app", short_help="Serve the web app.")
@click.option(
    "--host",
    default="localhost",
    metavar="ADDRESS",
    show_default=True,
    help='Address to listen on; "0.0.0.0" opens the app to other computers.',
)
@click.option(
    "--port", type=click.IntRange(1, 65535), default=8501, show_default=True, help="Port to listen on."
)
@click.option(
    "--allowed-host",
    "allowed_hosts",
    multiple=True,
    metavar="NAME",
    help="Name under which visitors reach the app, such as that of a proxy; others are refused. May be "
    "repeated. By default, an app on localhost answers to this machine's own names, and others to all.",
)
@click.option("--browser/--no-browser", default=True, help="Whether to open a browser.")
@_limit_options
def app_command(
    host: str, port: int, browser: bool, allowed_hosts: tuple[str, ...], **limits: int | None
) -> int:
    """Serve the web app until Ctrl-C.

    The app denoises images that you upload or that it loads from an address. Limits can also be set in the
    environment, as SK_DENOISE_APP_MEGAPIXELS and so on. The app needs the extra "app": pip install
    "sk-denoise[app]".
    """
    try:
        settings = Settings.from_environment()
    except ValueError as error:
        raise RefusedInput(str(error)) from error
    values = {field.name: getattr(settings, field.name) for field in fields(Settings)}
    # Options take precedence over the environment.
    values |= {name: value for name, value in limits.items() if value is not None}
    try:
        run(Settings(**values), host=host, port=port, browser=browser, allowed_hosts=allowed_hosts)
    except ImportError as error:
        raise CommandFailure(str(error)) from error
    return 0
