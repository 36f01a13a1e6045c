"""Options that several commands have: one spelling, one help and one type for each."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from sk_denoise.cli._console import Refusal
from sk_denoise.cli._files import FOLDER

__all__ = [
    "FORMATS",
    "device_option",
    "ensemble_option",
    "integer",
    "limit_option",
    "max_pixels_option",
    "noisy_option",
    "quiet_option",
    "refuse_both",
    "results_options",
    "seed_option",
    "sigma_option",
]

FORMATS = ("table", "csv", "json")
LARGEST_SEED = 2**32 - 2  # of numpy's RandomState; the demo takes the next one too
MAX_PIXELS = 2**28  # as read_image has it
Command = TypeVar("Command", bound=Callable[..., Any])


def refuse_both(first: str, second: str) -> Refusal:
    """Return the error of two options that cannot be had at once."""
    return Refusal(f"{first} and {second} contradict each other; give one of them")


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


def _grey_levels(text: Any) -> float:
    try:
        level = float(text)
    except ValueError:
        level = math.nan
    if not 0 <= level < math.inf:
        raise click.BadParameter(f"expected a number of grey levels, 0 or more, got {text!r}")
    return level


def seed_option(what: str, default: int | None = 0) -> Callable[[Command], Command]:
    """Return the option ``--seed``; ``what`` says of what."""
    return click.option("--seed", type=_seed, default=default, metavar="S", show_default=True, help=what)


device_option = click.option(
    "--device",
    default="auto",
    metavar="DEVICE",
    show_default=True,
    help='Where to compute: "cpu", "cuda", "cuda:1"; "auto" is a GPU where there is one.',
)
ensemble_option = click.option(
    "--ensemble", is_flag=True, help="Average over eight turns: a little better, 8 times as long."
)
limit_option = click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", help="Take the first N images alone."
)
max_pixels_option = click.option(
    "--max-pixels",
    type=click.IntRange(min=1),
    default=MAX_PIXELS,
    metavar="N",
    show_default=True,
    help="Refuse larger images.",
)
noisy_option = click.option(
    "--noisy",
    type=FOLDER,
    help="In place of --noise: a folder with the noisy side of each image, under the same name.",
)
quiet_option = click.option(
    "-q", "--quiet", is_flag=True, help="Say nothing but results, warnings and what went wrong."
)
sigma_option = click.option(
    "--sigma",
    type=_grey_levels,
    metavar="FLOAT",
    help="Standard deviation of the noise in grey levels of 255, whatever the depth of the image: 10 is "
    "10/255 of the range from black to white. By default it is estimated for each image.",
)


def results_options(command: Command) -> Command:
    """Give a command the options that say where its results go, and in what form."""
    for option in (
        click.option(
            "--format",
            "form",
            type=click.Choice(FORMATS),
            help="Of the results. [default: by the suffix of OUT, or table]",
        ),
        click.option("--overwrite", is_flag=True, help="Replace files that are there."),
        click.option(
            "-o",
            "--output",
            type=click.Path(path_type=Path),
            metavar="OUT",
            help="Write the results to a file.",
        ),
    ):
        command = option(command)
    return command
