"""``sk-denoise compare``: models and filters beside each other, on the pictures of a folder."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from sk_denoise.cli._filters import FILTERS, filter_called
from sk_denoise.cli._noise import noise_help, noise_option
from sk_denoise.cli._results import FORMATS, check_writable, format_of, show_results, write_whole
from sk_denoise.cli._told import has_terminal, in_words, note
from sk_denoise.cli._trained import NAMED, ModelType, load_denoiser

__all__ = ["compare"]

DRAWN = (".png", ".pdf", ".svg")
FLOAT_BYTES = 4
MOST_GIGABYTES = 4.0
MEASURED = (
    "mean over pictures, of shares from black (0) to white (1), data range 1; noise is neither clipped nor "
    "rounded, and no answer is; noise is estimated by those who need to know it; seconds are for all pictures"
)


@click.command("compare", short_help="Compare models and filters on a folder.", epilog=noise_help())
@click.argument("methods", metavar="METHOD...", type=ModelType(*NAMED, *FILTERS), nargs=-1, required=True)
@click.option(
    "--on",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="The folder of clean pictures.",
)
@noise_option(multiple=True, required=True, help="What is added to them. Several times for several noises.")
@click.option("--color", type=click.Choice(["gray", "rgb"]), default="gray", show_default=True)
@click.option("--limit", type=click.IntRange(min=1), help="Take the first LIMIT pictures alone.")
@click.option(
    "--crop", type=click.IntRange(min=16), help="Take the middle CROP x CROP pixels of each picture."
)
@click.option(
    "--memory",
    type=click.FloatRange(min=0, min_open=True),
    default=MOST_GIGABYTES,
    show_default=True,
    help="Refuse pictures that would take more gigabytes: all are held at once.",
)
@click.option("--seed", type=click.IntRange(0, 2**32 - 2), default=0, show_default=True, help="Of the noise.")
@click.option("--format", "form", type=click.Choice(FORMATS), help="[default: by the suffix of -o, or table]")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the table to a file.")
@click.option(
    "--picture",
    type=click.Path(path_type=Path),
    help="Draw what each method makes of the first picture into FILE.png, .pdf or .svg.",
)
def compare(methods: tuple[str | Path, ...], folder: Path, **options: Any) -> None:
    """Compare each METHOD with the others, on the same pictures under the same noise.

    A METHOD is auto, gray or rgb for the weights in the box, a file that sk-denoise train wrote, or a filter:
    non_local_means, total_variation, wavelet, bilateral, median, wiener, or bm3d, whose licence allows
    non-commercial use only. Filters are not trained; those that need the strength of the noise estimate it.
    """
    _check_options(options)
    _require("pandas", "compare", "compare")
    with in_words(note):
        chosen = _chosen(methods)
        names, pictures = _pictures(folder, options)
        noises = {noise.text: noise.noiser(options["seed"]) for noise in options["noise"]}
        table = _table(chosen, pictures, noises, options["picture"])
        rows = [
            {
                "noise": row["noise"],
                "method": row["method"],
                **{k: float(row[k]) for k in ("psnr", "ssim", "seconds")},
            }
            for row in table.to_dict("records")
        ]
        about = {"pictures": len(names), "color": options["color"], "measured": f"{MEASURED}."}
        kind = format_of(options["form"], options["output"])
        show_results(rows, kind, options["output"], about=about)


def _check_options(options: dict[str, Any]) -> None:
    texts = [noise.text for noise in options["noise"]]
    if len(set(texts)) < len(texts):
        raise click.UsageError("The same --noise is given twice.")
    if options["output"] is not None:
        check_writable(options["output"], "-o")
    if options["picture"] is None:
        return
    if options["picture"].suffix.lower() not in DRAWN:
        raise click.BadParameter(f"the name must end in {', '.join(DRAWN)}.", param_hint="--picture")
    check_writable(options["picture"], "--picture")
    _require("matplotlib", "compare --picture", "plots")


def _require(package: str, who: str, extra: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise click.ClickException(f'{who} needs {package}. Install it with: pip install -e ".[{extra}]"')


def _chosen(methods: Sequence[str | Path]) -> dict[str, Any]:
    """Return what denoises, by the name that it has in the table."""
    from sk_denoise.restoration import denoise_image

    chosen: dict[str, Any] = {}
    for method in methods:
        if str(method) in chosen:
            raise click.UsageError(f"{method} is given twice.")
        if isinstance(method, Path):
            chosen[str(method)] = partial(denoise_image, model=load_denoiser(method))
        else:
            chosen[method] = method if method in NAMED else filter_called(method)
            if method in FILTERS and FILTERS[method].remark:
                note(FILTERS[method].remark)
    return chosen


def _pictures(folder: Path, options: dict[str, Any]) -> tuple[list[str], list[Any]]:
    """Return the names of pictures and what they show, as shares from black to white."""
    from sk_denoise.datasets import ImageFolder
    from sk_denoise.io import image_size, read_image

    paths = ImageFolder(folder, cache_bytes=0).paths[: options["limit"]]
    sizes = {}
    for path in paths:
        try:
            sizes[path] = image_size(path)
        except (OSError, ValueError) as error:
            note(f"{error} It is left out.")
    _check_memory(list(sizes.values()), options)
    names, pictures = [], []
    for path in sizes:
        try:
            picture = read_image(path, color=options["color"], alpha="drop")
        except (OSError, ValueError) as error:
            note(f"{error} It is left out.")
            continue
        names.append(path.relative_to(folder).as_posix())
        pictures.append(_middle(_as_shares(picture), options["crop"]))
    if not pictures:
        raise ValueError(f"None of the pictures in {folder} could be used.")
    return names, pictures


def _check_memory(sizes: Sequence[tuple[int, int]], options: dict[str, Any]) -> None:
    """Say how much memory the pictures take, or refuse them where it is too much."""
    crop = options["crop"] or max((side for size in sizes for side in size), default=0)
    pixels = sum(min(height, crop) * min(width, crop) for height, width in sizes)
    copies = len(options["noise"]) + 3  # clean, noisy ones, and what a method is given and answers
    needed = pixels * (3 if options["color"] == "rgb" else 1) * FLOAT_BYTES * copies / 1e9
    if needed > options["memory"]:
        raise click.UsageError(
            f"{len(sizes)} pictures would take about {needed:.3g} GB of memory, more than --memory "
            f"{options['memory']:g} allows. Take fewer with --limit, or parts of them with --crop."
        )
    note(f"{len(sizes)} pictures, about {1000 * needed:.0f} MB of memory.")


def _table(methods: dict[str, Any], pictures: list[Any], noises: dict[str, Any], drawing: Path | None) -> Any:
    """Return the table of a comparison, and draw it where that is wanted."""
    from sk_denoise import compare_denoisers

    with Console(stderr=True).status("comparing") if has_terminal() else nullcontext():
        if drawing is None:
            return compare_denoisers(methods, pictures, noises, data_range=1)
        from sk_denoise.plots import ComparisonDisplay

        display = ComparisonDisplay.from_methods(methods, pictures, noises, data_range=1)
        content = io.BytesIO()
        display.figure_.savefig(content, format=drawing.suffix.lower().removeprefix("."))
        write_whole(drawing, content.getvalue())
        return display.table


def _as_shares(picture: Any) -> Any:
    import numpy as np

    white = np.iinfo(picture.dtype).max if picture.dtype.kind == "u" else 1
    return picture.astype(np.float32) / np.float32(white)


def _middle(picture: Any, side: int | None) -> Any:
    if side is None:
        return picture
    top, left = ((length - min(side, length)) // 2 for length in picture.shape[:2])
    return picture[top : top + side, left : left + side].copy()
