"""``sk-denoise compare``: models and filters beside each other, on the images of a folder."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import click

from sk_denoise.cli._console import Failure, Refusal, explained, number_of, reason_of, require, shown, tell
from sk_denoise.cli._files import (
    FOLDER,
    SSIM_NEEDS,
    check_size,
    check_target,
    check_writable,
    keeps_numbers,
    open_folder,
    range_of,
    read_image,
    refuse_image_name,
)
from sk_denoise.cli._methods import (
    FILTERS,
    NAMED,
    ModelType,
    check_device,
    color_of,
    filter_called,
    filter_help,
    load_denoiser,
    refuse_color,
)
from sk_denoise.cli._noise import check_noises, noise_help, noise_option
from sk_denoise.cli._options import (
    device_option,
    limit_option,
    max_pixels_option,
    quiet_option,
    results_options,
    seed_option,
)

__all__ = ["compare"]

DRAWN = (".png", ".pdf", ".svg")
FLOAT_BYTES = 4
MOST_GIGABYTES = 4.0
MEASURED = (
    "mean over images, of shares from black (0) to white (1), data range 1; noise is neither clipped nor "
    "rounded, and no answer is; noise is estimated by those who need to know it; seconds are for all images"
)


@click.command(
    "compare",
    short_help="Compare models and filters on a folder.",
    epilog=f"{filter_help()}\n\n{noise_help()}",
)
@click.argument("methods", metavar="METHOD...", type=ModelType(*NAMED, *FILTERS), nargs=-1, required=True)
@click.option("--on", "folder", type=FOLDER, required=True, help="The folder of clean images.")
@noise_option(multiple=True, required=True)
@click.option(
    "--color",
    type=click.Choice(["rgb", "gray"]),
    help="What images are turned into. [default: rgb where a METHOD takes nothing else, gray without one]",
)
@click.option(
    "--crop", type=click.IntRange(min=16), metavar="N", help="Take the middle N x N pixels of each image."
)
@limit_option
@max_pixels_option
@click.option(
    "--memory",
    type=click.FloatRange(min=0, min_open=True),
    default=MOST_GIGABYTES,
    metavar="GB",
    show_default=True,
    help="Refuse images that would take more gigabytes: all are held at once.",
)
@seed_option("Of the noise.")
@click.option(
    "--figure",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Draw what each method makes of the first image into FILE.png, .pdf or .svg.",
)
@results_options
@device_option
@quiet_option
def compare(methods: tuple[str | Path, ...], folder: Path, **options: Any) -> int:
    """Compare each METHOD with the others, on the same images under the same noise.

    A METHOD is auto, gray or rgb for the weights in the box, a file that sk-denoise train wrote, or a filter
    (below). Filters are not trained; those that need the strength of the noise estimate it.
    """
    _check_options(methods, options)
    from sk_denoise.cli._output import hand_over

    with explained():
        chosen, color = _chosen(methods, options)
        paths = open_folder(folder, max_pixels=options["max_pixels"]).paths[: options["limit"]]
        for name in ("output", "figure"):
            if options[name] is not None:
                check_writable(options[name].parent)
        least = {"SSIM": SSIM_NEEDS, **{m: FILTERS[m].least for m in chosen if m in FILTERS}}
        images = _images(paths, color, least, options)
        if not images:
            raise Failure(f"none of the images in {shown(folder)} could be used")
        noises = {noise.text: noise.noiser(options["seed"]) for noise in options["noise"]}
        table = _table(chosen, images, noises, options)
        numbers = ("psnr", "ssim", "seconds")
        rows = [
            {"noise": row["noise"], "method": row["method"], **{k: float(row[k]) for k in numbers}}
            for row in table.to_dict("records")
        ]
        about = {"images": len(images), "color": color, "measured": f"{MEASURED}."}
        hand_over(rows, options["form"], options["output"], about)
    return 0


def _check_options(methods: Sequence[str | Path], options: dict[str, Any]) -> None:
    for method in methods:
        if methods.count(method) > 1:
            raise Refusal(f"{shown(method)} is given twice")
    check_noises(options["noise"])
    require("compare", "compare")
    if options["output"] is not None:
        refuse_image_name(options["output"])
        check_target(options["output"], overwrite=options["overwrite"])
    if options["figure"] is None:
        return
    if options["figure"].suffix.lower() not in DRAWN:
        raise Refusal(f"--figure {shown(options['figure'])} must end in {', '.join(DRAWN)}")
    check_target(options["figure"], overwrite=options["overwrite"])
    require("plots", "compare --figure")


def _chosen(methods: Sequence[str | Path], options: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Return what denoises, by the name that it has in the table, and the color of the images."""
    from sk_denoise.restoration import denoise_image

    check_device(options["device"])
    chosen: dict[str, Any] = {}
    for method in methods:
        if method in FILTERS:
            chosen[str(method)] = filter_called(str(method))
            if FILTERS[str(method)].remark and not options["quiet"]:
                tell(FILTERS[str(method)].remark)
        else:
            model = load_denoiser(method) if isinstance(method, Path) else method
            if keeps_numbers(model):
                raise Refusal(
                    f"{shown(method)} learned from numbers beyond [0, 1], and compare shows it images in "
                    "[0, 1]; evaluate shows it the numbers of the files"
                )
            chosen[str(method)] = partial(denoise_image, model=model, device=options["device"])
    return chosen, _color_for(chosen, options["color"])


def _color_for(chosen: dict[str, Any], asked: str | None) -> str:
    """Return rgb where a network knows nothing else; what takes gray works on each channel by itself."""
    models = [how.keywords["model"] for how in chosen.values() if "model" in getattr(how, "keywords", ())]
    color = asked or ("rgb" if "rgb" in map(color_of, models) else "gray")
    for model in models:
        refuse_color(color, model)
    return color


def _images(paths: Sequence[Path], color: Any, least: dict[str, int], options: dict[str, Any]) -> list[Any]:
    """Return what the images of files show, as shares from black to white."""
    from sk_denoise.io import image_size

    sizes = {}
    for path in paths:
        try:
            sizes[path] = image_size(path)
        except (OSError, ValueError) as error:
            _leave_out(path, error)
    _check_memory(list(sizes.values()), color, options)
    images = []
    for path in sizes:
        try:
            image = read_image(path, options["max_pixels"], color=color, alpha="drop")
            for who, side in least.items():
                check_size(image, side, who)
        except (OSError, ValueError) as error:
            _leave_out(path, error)
            continue
        intensity, remark = range_of(image)
        if remark:
            tell(f"{shown(path)}: {remark}")
        images.append(_middle(intensity.to_unit(image), options["crop"]))
    return images


def _leave_out(path: Path, error: Exception) -> None:
    tell(f"{shown(path)}: left out, {reason_of(error).removeprefix(f'{shown(path)}: ')}")


def _check_memory(sizes: Sequence[tuple[int, int]], color: str, options: dict[str, Any]) -> None:
    """Say how much memory the images take, or refuse them where it is too much."""
    crop = options["crop"] or max((side for size in sizes for side in size), default=0)
    pixels = sum(min(height, crop) * min(width, crop) for height, width in sizes)
    copies = len(options["noise"]) + 3  # clean, noisy ones, and what a method is given and answers
    needed = pixels * (3 if color == "rgb" else 1) * FLOAT_BYTES * copies / 1e9
    if needed > options["memory"]:
        raise Refusal(
            f"{number_of(len(sizes), 'image')} would take about {needed:.3g} GB of memory, more than "
            f"--memory {options['memory']:g} allows; take fewer with --limit, or parts of them with --crop"
        )
    if not options["quiet"]:
        tell(f"{number_of(len(sizes), 'image')}, about {max(1, 1000 * needed):.0f} MB of memory.")


def _table(
    methods: dict[str, Any], images: list[Any], noises: dict[str, Any], options: dict[str, Any]
) -> Any:
    """Return the table of a comparison, and draw it where that is wanted."""
    from sk_denoise import compare_denoisers
    from sk_denoise.cli._output import terminal, write_whole

    console, drawing = terminal(options["quiet"]), options["figure"]
    with console.status("comparing") if console else nullcontext():
        if drawing is None:
            return compare_denoisers(methods, images, noises, data_range=1)
        from sk_denoise.plots import ComparisonDisplay

        display = ComparisonDisplay.from_methods(methods, images, noises, data_range=1)
        content = io.BytesIO()
        display.figure_.savefig(content, format=drawing.suffix.lower().removeprefix("."))
        write_whole(drawing, content.getvalue())
        return display.table


def _middle(image: Any, side: int | None) -> Any:
    if side is None:
        return image
    top, left = ((length - min(side, length)) // 2 for length in image.shape[:2])
    return image[top : top + side, left : left + side].copy()
