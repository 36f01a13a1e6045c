"""Print ``sk_denoise/__init__.pyi``, which tells type checkers the public names: they run no code.

    python .ci/stub.py > sk_denoise/__init__.pyi

The names are those of ``sk_denoise/_registry.py``. Modules of networks, noises and filters are imported
whole, so that a new class in one of them changes nothing here.
"""

from __future__ import annotations

import runpy
from pathlib import Path

registry = runpy.run_path(str(Path(__file__).parents[1] / "sk_denoise" / "_registry.py"))
print("# Written by .ci/stub.py.")
for module, names in sorted(registry["public_names"]().items()):
    others = [f"{name} as {name}" for name in sorted(names)] if module in registry["OTHER_NAMES"] else ["*"]
    for name in others:
        print(f"from .{module} import {name}")
print("\n__all__: list[str]\n__version__: str")
