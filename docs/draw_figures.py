"""Draw the image at the top of README: noisy photos, the same denoised, the originals.

python docs/draw_before_after.py

The photos come with scikit-image; the pretrained networks never learned from them.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from skimage import data

from sk_denoise.metrics import psnr
from sk_denoise.restoration import denoise_image

SIGMA = 30  # grey levels of 255
SIDE = 300  # pixels, each drawn as one pixel of the file
CAPTION = 26  # pixels above each row
DPI = 100
TARGET = Path(__file__).parent / "images" / "before_after.jpg"


def panels():
    """Return a row of (caption, image) for each photo."""
    rng = np.random.default_rng(0)
    rows = []
    for photo in (data.chelsea()[:SIDE, 80 : 80 + SIDE], data.coffee()[60 : 60 + SIDE, 130 : 130 + SIDE]):
        noisy = (photo + rng.normal(0, SIGMA, photo.shape)).round().clip(0, 255).astype(np.uint8)
        denoised = denoise_image(noisy)
        before, after = (psnr(photo[None], image[None], data_range=255) for image in (noisy, denoised))
        rows.append(
            [(f"noisy, {before:.1f} dB", noisy), (f"denoised, {after:.1f} dB", denoised), ("original", photo)]
        )
    return rows


def main():
    """Write the file."""
    rows = panels()
    gap = 8
    width = 3 * SIDE + 2 * gap
    height = len(rows) * (SIDE + CAPTION)
    figure = plt.figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    for i, row in enumerate(rows):
        for j, (caption, image) in enumerate(row):
            bottom = height - (i + 1) * (SIDE + CAPTION)
            axes = figure.add_axes(
                (j * (SIDE + gap) / width, bottom / height, SIDE / width, SIDE / height), frameon=False
            )
            axes.imshow(image, interpolation="none")
            axes.set_title(caption, fontsize=10, pad=4)
            axes.set_axis_off()
    figure.savefig(TARGET, dpi=DPI, pil_kwargs={"quality": 85, "optimize": True})


if __name__ == "__main__":
    main()
