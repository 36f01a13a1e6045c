"""``python -m sk_denoise``."""

import sys

from sk_denoise.cli import main

if __name__ == "__main__":
    sys.exit(main())
