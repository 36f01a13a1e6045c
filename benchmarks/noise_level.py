"""How well the level of noise is told from a photo alone, beside scikit-image.

    SK_DENOISE_DATA=folder python benchmarks/noise_level.py

White Gaussian noise of sigma 0 to 50 of 255 is laid on the 24 photos of ``bsds500/test`` that were held out
of training, as ``benchmarks/photos.py`` does it: gray and in colour, as floats that are not clipped, and as
bytes, which are. Both sides see the same images; scikit-image needs PyWavelets. Bias and root mean square
of the error, in grey levels, go to ``benchmarks/results/noise_level.json`` and ``.md``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from photos import held_out, noisy_of
from skimage import restoration as skimage_restoration

from sk_denoise.restoration import estimate_sigma

RESULTS = Path(__file__).parent / "results"
LEVELS = (0, 2, 5, 10, 15, 25, 50)


def by_skimage(image: np.ndarray) -> float:
    """Return the level that scikit-image finds, the mean over channels."""
    axis = -1 if image.ndim == 3 else None
    return float(skimage_restoration.estimate_sigma(image, average_sigmas=True, channel_axis=axis))


def as_bytes(image: np.ndarray) -> np.ndarray:
    """Return an image in [0, 1] as a camera stores it."""
    return np.clip(np.rint(255 * image), 0, 255).astype(np.uint8)


SIDES: dict[str, Callable[[np.ndarray], float]] = {"sk_denoise": estimate_sigma, "scikit-image": by_skimage}
FORMS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"floats": lambda x: 255 * x, "bytes": as_bytes}
COLORS = {"gray": "gray", "colour": "rgb"}


def measure() -> dict[str, Any]:
    """Return bias and RMS error of each side, for each kind of image and each level."""
    results: dict[str, Any] = {}
    for color, form in product(COLORS, FORMS):
        images = held_out(COLORS[color])
        for level in LEVELS:
            noisy = [FORMS[form](noisy_of(image, level)) for image in images]
            for side, estimate in SIDES.items():
                errors = np.array([estimate(image) - level for image in noisy])
                found = {"bias": float(errors.mean()), "rms": float(np.sqrt(np.mean(errors**2)))}
                results.setdefault(f"{color} {form}", {}).setdefault(side, {})[str(level)] = found
                print(color, form, level, side, found, flush=True)
    return results


def table_of(results: dict[str, Any]) -> str:
    """Return the results as a table."""
    kinds = [f"{color} {form}" for color, form in product(COLORS, FORMS)]
    columns = [f"{kind}: {side}" for kind, side in product(kinds, SIDES)]
    lines = [
        "# The level of noise",
        "",
        "`python benchmarks/noise_level.py`: white Gaussian noise on 24 photos held out of training, "
        "floats that are not clipped and bytes that are; bias / root mean square of the error of "
        "`estimate_sigma`, in grey levels of 255.",
        "",
        f"| sigma | {' | '.join(columns)} |",
        "|---" * (1 + len(columns)) + "|",
    ]
    for level in LEVELS:
        found = [results[kind][side][str(level)] for kind, side in product(kinds, SIDES)]
        cells = [f"{of['bias']:+.1f} / {of['rms']:.1f}" for of in found]
        lines.append(f"| {level} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure both sides, and put what they find on file."""
    results = measure()
    file = RESULTS / "noise_level.json"
    file.write_text(json.dumps(results, indent=1) + "\n")
    file.with_suffix(".md").write_text(table_of(results))
    print(table_of(results))


if __name__ == "__main__":
    main()
