"""``sk-denoise demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sk_denoise.cli._files import check_writable
from sk_denoise.cli._options import integer, seed_option

__all__ = ["demo"]


def _jobs(text: Any) -> int:
    jobs = integer(text)
    if jobs < 1 and jobs != -1:
        raise click.BadParameter(f"expected a positive number of processes, or -1, got {text!r}")
    return jobs


@click.command(short_help="Denoise scikit-learn's digits: pipeline, search, comparison, image.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("demo"),
    metavar="DIR",
    show_default=True,
    help="Where the image is written.",
)
@click.option(
    "--jobs",
    type=_jobs,
    default=2,
    metavar="N",
    show_default=True,
    help="Processes of the grid search; -1 is one for each core.",
)
@seed_option("Of split, noise and networks.")
def demo(output: Path, jobs: int, seed: int) -> int:
    """Denoise scikit-learn's digits, in about a minute on two cores.

    The literal pipeline, an honest grid search, a comparison with PCA and kernel PCA, a classifier on noisy
    input, and an image.
    """
    check_writable(output)
    from sk_denoise._demo import run_demo  # torch takes seconds to import

    run_demo(output, jobs=jobs, seed=seed)
    return 0
