"""``sk-denoise demo``: denoise scikit-learn's digits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sk_denoise.cli._options import parse_integer, seed_option
from sk_denoise.cli._paths import check_writable_folder

__all__ = ["demo_command"]


def _parse_jobs(text: Any) -> int:
    jobs = parse_integer(text)
    if jobs < 1 and jobs != -1:
        raise click.BadParameter(f"expected a positive number of processes, or -1, got {text!r}")
    return jobs


@click.command("demo", short_help="Denoise scikit-learn's digits: pipeline, search, comparison, image.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("demo"),
    metavar="DIR",
    show_default=True,
    help="Folder for the image.",
)
@click.option(
    "--jobs",
    type=_parse_jobs,
    default=2,
    metavar="N",
    show_default=True,
    help="Processes of the grid search; -1 is one for each core.",
)
@seed_option("Seed of split, noise and networks.")
def demo_command(output: Path, jobs: int, seed: int) -> int:
    """Denoise scikit-learn's digits, in about a minute on two cores.

    The demo runs a two-step pipeline, a grid search, a comparison with PCA and kernel PCA, and a classifier
    on noisy input, and draws an image.
    """
    # Before the demo, because the image comes last.
    check_writable_folder(output)
    # torch takes seconds to import: not for help and wrong usage.
    from sk_denoise._demo import run_demo

    run_demo(output, jobs=jobs, seed=seed)
    return 0
