"""``python -m sk_denoise``, and the console script ``sk-denoise``."""

import sys

from sk_denoise.exceptions import MissingExtraError

__all__ = ["main"]


def main() -> int:
    """Run the command line, or say in one line what it lacks.

    Returns
    -------
    int
        That of :func:`sk_denoise.cli.main`; 1 where a package of the extra ``cli`` is not installed.
    """
    try:
        from sk_denoise.cli import main as run
    except MissingExtraError as error:
        print(f"sk-denoise: {error}", file=sys.stderr)
        return 1
    return run()


if __name__ == "__main__":
    sys.exit(main())
