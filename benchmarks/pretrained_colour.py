"""Compare pretrained weights on colour images from weak to strong noise.

    SK_DENOISE_DATA=folder python benchmarks/pretrained_colour.py [--every N]
    PYTHONPATH=older_checkout SK_DENOISE_DATA=folder python benchmarks/pretrained_colour.py --label before

The images are the photos, Berkeley photos and drawings that ``pretraining/data.py`` holds out of training,
cut to their middle of at most 256 x 256. Noise is white and Gaussian, drawn from ``RandomState(0)`` for each
image and not clipped; sigma is an argument of ``denoise_image``; its output is rounded to 8 bits. The table
has the mean PSNR (data range 1) over the images of a group, and the number of images with an output worse
than the noisy input. The second command measures the weights of another checkout of this package, and adds
its rows to those on file. Results are written to ``benchmarks/results/pretrained_colour.json`` and ``.md``;
``--every N`` takes every N-th image for a quick try and prints only.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "pretraining"))

from data import validation_groups

from sk_denoise.restoration import denoise_image

RESULTS = Path(__file__).parent / "results"
LEVELS = (1, 2, 5, 10, 15, 25, 50)
NOISY, GRAY = "noisy", "gray, each channel"

HEAD = """\
# Pretrained weights on colour images

`python benchmarks/pretrained_colour.py`: images that took no part in training, cut to 256 x 256; white
Gaussian noise, sigma of 255, an argument of `denoise_image`; output rounded to 8 bits; mean PSNR in dB. In
brackets: in how many images the output is worse than the noisy input. "rgb before" are the weights of commit
055ad4b, which learned from Berkeley photos alone, with half-resolution chroma.
"""

Rows = dict[str, dict[str, dict[str, list[float]]]]  # group, method, level: PSNR of each image


def by_model(model: str) -> Callable[[np.ndarray, float], np.ndarray]:
    """Return a function that denoises with pretrained weights."""
    return lambda noisy, sigma: denoise_image(noisy, sigma=sigma, model=model)


def psnr(output: np.ndarray, clean: np.ndarray) -> float:
    """Return the PSNR of an output that is rounded to 8 bits."""
    # An output without an error counts as 0.1 grey levels off, so that the mean is finite.
    output = np.round(255 * output).clip(0, 255) / 255
    return -10 * float(np.log10(max(np.mean((output - clean) ** 2), (0.1 / 255) ** 2)))


def measured(methods: dict[str, Callable[[np.ndarray, float], np.ndarray]], every: int) -> Rows:
    """Return the PSNR of each image by group, method and level."""
    rows: Rows = {}
    for group in validation_groups():
        rows[group.name] = {name: {str(level): [] for level in LEVELS} for name in methods}
        for number in range(0, len(group.images), every):
            clean = group.images[number].movedim(0, 2).numpy() / 255
            for level in LEVELS:
                noise = np.random.RandomState(0).normal(0, level / 255, clean.shape)
                noisy = (clean + noise).astype(np.float32)
                for name, denoise in methods.items():
                    value = round(psnr(denoise(noisy, level / 255), clean), 3)
                    rows[group.name][name][str(level)].append(value)
        print(table({group.name: rows[group.name]}), flush=True)
    return rows


def table(rows: Rows) -> str:
    """Return means as Markdown tables, with the number of images below the input."""
    lines = []
    for group, methods in rows.items():
        n = len(methods[next(iter(methods))][str(LEVELS[0])])
        lines += [f"\n## {group} ({n} images)\n", f"| sigma | {' | '.join(map(str, LEVELS))} |"]
        lines += ["|---" + len(LEVELS) * "|---:" + "|"]
        for name, levels in methods.items():
            cells = [f"{np.mean(levels[str(level)]):.2f}" for level in LEVELS]
            if name != NOISY and NOISY in methods:
                worse = [np.less(levels[str(n)], methods[NOISY][str(n)]).sum() for n in LEVELS]
                cells = [f"{c} ({w})" if w else c for c, w in zip(cells, worse, strict=True)]
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure the weights, and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--label", help="measure the rgb weights alone, and add them under this name")
    parser.add_argument("--every", type=int, default=1, metavar="N")
    options = parser.parse_args()
    if options.label is None:
        methods = {NOISY: lambda noisy, _: noisy, GRAY: by_model("gray"), "rgb": by_model("rgb")}
    else:
        methods = {options.label: by_model("rgb")}
    rows = measured(methods, options.every)
    if options.every > 1:
        return
    file = RESULTS / "pretrained_colour.json"
    if file.exists():
        for group, before in json.loads(file.read_text()).items():
            rows[group] = before | rows[group]
    file.write_text(json.dumps(rows) + "\n")
    RESULTS.joinpath("pretrained_colour.md").write_text(f"{HEAD}{table(rows)}\n")


if __name__ == "__main__":
    main()
