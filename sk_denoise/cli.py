"""The command line: ``sk-denoise``, or ``python -m sk_denoise``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from sk_denoise import __version__

__all__ = ["main"]

LARGEST_SEED = 2**32 - 2  # of numpy's RandomState; the demo takes the next one too


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        What follows the name of the program; by default what the shell gave.

    Returns
    -------
    int
        0 for success, 1 for what went wrong outside the program, 130 where the user interrupted. Bad
        arguments end the program with 2, as argparse does.

    Examples
    --------
    >>> from sk_denoise.cli import main
    >>> main([])  # doctest: +ELLIPSIS
    usage: sk-denoise ...
    0
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return 0
    try:
        return _demo(options)
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sk-denoise", description="Denoising for scikit-learn.")
    parser.add_argument("--version", action="version", version=f"sk_denoise {__version__}")
    commands = parser.add_subparsers(dest="command", title="commands", metavar="command")
    demo = commands.add_parser(
        "demo",
        help="denoise scikit-learn's digits: pipeline, search, comparison, picture",
        description="Denoise scikit-learn's digits, in about a minute on two cores: the literal pipeline, an "
        "honest grid search, a comparison with PCA and kernel PCA, a classifier on noisy input, and a "
        "picture.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    demo.add_argument(
        "--output", type=Path, default=Path("demo"), metavar="DIR", help="where the picture is written"
    )
    demo.add_argument(
        "--jobs",
        type=_jobs,
        default=2,
        metavar="N",
        help="processes of the grid search; -1 is one for each core",
    )
    demo.add_argument("--seed", type=_seed, default=0, metavar="S", help="of split, noise and networks")
    return parser


def _demo(options: argparse.Namespace) -> int:
    from sk_denoise._demo import check_writable, run_demo  # torch takes seconds to import

    try:
        check_writable(options.output)
    except OSError as error:
        print(f"sk-denoise: cannot write to {options.output}: {error.strerror or error}", file=sys.stderr)
        return 1
    run_demo(options.output, jobs=options.jobs, seed=options.seed)
    return 0


def _jobs(text: str) -> int:
    jobs = _integer(text)
    if jobs < 1 and jobs != -1:
        raise argparse.ArgumentTypeError(f"expected a positive number of processes, or -1, got {text!r}")
    return jobs


def _seed(text: str) -> int:
    seed = _integer(text)
    if not 0 <= seed <= LARGEST_SEED:
        raise argparse.ArgumentTypeError(f"expected an integer from 0 to {LARGEST_SEED}, got {text!r}")
    return seed


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected an integer, got {text!r}") from None
