"""Measure the estimate of the noise level of a photo, beside scikit-image.

    SK_DENOISE_DATA=folder python benchmarks/noise_level.py

White Gaussian noise of sigma 0 to 50 of 255 is added to the 24 photos of ``bsds500/test`` that are held out
of training, as in ``benchmarks/photos.py``: gray and in colour, as floats without clipping, and as clipped
bytes. Both sides receive the same images; scikit-image needs PyWavelets. Bias and root mean square of the
error, in grey levels, are written to ``benchmarks/results/noise_level.json`` and ``.md``.
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


def estimate_by_skimage(image: np.ndarray) -> float:
    """Return the estimate of scikit-image, the mean over channels."""
    axis = -1 if image.ndim == 3 else None
    return float(skimage_restoration.estimate_sigma(image, average_sigmas=True, channel_axis=axis))


def as_bytes(image: np.ndarray) -> np.ndarray:
    """Return an image in [0, 1] as bytes, rounded and clipped."""
    return np.clip(np.rint(255 * image), 0, 255).astype(np.uint8)


SIDES: dict[str, Callable[[np.ndarray], float]] = {
    "sk_denoise": estimate_sigma,
    "scikit-image": estimate_by_skimage,
}
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
                figures = {"bias": float(errors.mean()), "rms": float(np.sqrt(np.mean(errors**2)))}
                results.setdefault(f"{color} {form}", {}).setdefault(side, {})[str(level)] = figures
                print(color, form, level, side, figures, flush=True)
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
        figures = [results[kind][side][str(level)] for kind, side in product(kinds, SIDES)]
        cells = [f"{x['bias']:+.1f} / {x['rms']:.1f}" for x in figures]
        lines.append(f"| {level} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure both sides, and write the results."""
    results = measure()
    file = RESULTS / "noise_level.json"
    file.write_text(json.dumps(results, indent=1) + "\n")
    file.with_suffix(".md").write_text(table_of(results))
    print(table_of(results))


if __name__ == "__main__":
    main()
