"""``sk-denoise app``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import click

from sk_denoise.app import Settings, run
from sk_denoise.cli._console import Failure, Refusal

__all__ = ["app"]

LIMITS = {
    "megapixels": "The largest image.",
    "upload_megabytes": "The largest file.",
    "workers": "How many images are worked on at once; memory is needed for so many.",
    "waiting": "How many images may wait for their turn.",
    "disk_megabytes": "Room for the images and results of all users, in the folder for temporary files.",
    "minutes": "How long an image may be worked on.",
    "patience": "Seconds after which work is given up whose page nobody looks at.",
}


def _limits(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command an option for each limit of the app; what is not given is what the environment says."""
    for field in reversed(fields(Settings)):
        option = click.option(
            f"--{field.name.replace('_', '-')}",
            type=click.IntRange(min=1),
            metavar="N",
            help=f"{LIMITS[field.name]} Default: {field.default}.",
        )
        command = option(command)
    return command


@click.command(short_help="Serve the web app.")
@click.option(
    "--host",
    default="localhost",
    metavar="ADDRESS",
    show_default=True,
    help='The address to listen on; "0.0.0.0" lets others reach the app.',
)
@click.option("--port", type=click.IntRange(1, 65535), default=8501, show_default=True, help="The port.")
@click.option("--browser/--no-browser", default=True, help="Whether to open a browser.")
@_limits
def app(host: str, port: int, browser: bool, **limits: int | None) -> int:
    """Serve the web app until Ctrl-C: drop an image, or its address, and get it denoised.

    Limits may also be set in the environment, as SK_DENOISE_APP_MEGAPIXELS and so on. What the app needs is
    in the extra "app": pip install "sk-denoise[app]".
    """
    try:
        told = {field.name: getattr(Settings.from_environment(), field.name) for field in fields(Settings)}
    except ValueError as error:
        raise Refusal(str(error)) from error
    chosen = {name: value for name, value in limits.items() if value is not None}
    try:
        run(Settings(**{**told, **chosen}), host=host, port=port, browser=browser)
    except ImportError as error:
        raise Failure(str(error)) from error
    return 0
