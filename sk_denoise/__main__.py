"""Entry point of ``python -m sk_denoise`` and of the script ``sk-denoise``."""

import sys

from sk_denoise.exceptions import MissingExtraError

__all__ = ["main"]


def main() -> int:
    """Run the command line, or print in one line which package is missing.

    Returns
    -------
    int
        The exit code of :func:`sk_denoise.cli.main`; 1 if a package of the extra ``cli`` is missing.
    """
    # The import is here because it raises the error for a plain install, which has no click.
    try:
        from sk_denoise.cli import main as run_command_line
    except MissingExtraError as error:
        print(f"sk-denoise: {error}", file=sys.stderr)
        return 1
    # Ctrl-C while packages are imported, before signals are handled
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    return run_command_line()


if __name__ == "__main__":
    sys.exit(main())
