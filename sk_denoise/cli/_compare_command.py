"""``sk-denoise compare``: compare models and filters on a folder of images."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import click

from sk_denoise.cli._console import (
    CommandFailure,
    RefusedInput,
    describe_error,
    errors_as_failures,
    pluralize,
    print_message,
    printable,
    require_installed,
)
from sk_denoise.cli._methods import (
    FILTERS,
    MODEL_NAMES,
    ModelType,
    build_filter,
    check_color,
    check_device,
    filter_help,
    keeps_raw_values,
    load_image_denoiser,
    model_color,
)
from sk_denoise.cli._options import (
    device_option,
    limit_option,
    max_pixels_option,
    noise_help,
    noise_option,
    quiet_option,
    refuse_repeated_noises,
    results_options,
    seed_option,
)
from sk_denoise.cli._paths import (
    FOLDER,
    MIN_SSIM_SIDE,
    check_min_size,
    check_output_file,
    check_writable_folder,
    find_intensity_range,
    open_image_folder,
    read_image_within_limit,
    refuse_image_name,
)

__all__ = ["compare_command"]

FIGURE_SUFFIXES = (".png", ".pdf", ".svg")
FLOAT_BYTES = 4
# Besides one noisy copy for each noise, these are held: the clean images, a method's input and its output.
FURTHER_COPIES = 3
DEFAULT_MAX_GIGABYTES = 4.0
MEASUREMENT = (
    "mean over images with values from 0 (black) to 1 (white), data range 1; noise and predictions are "
    "neither clipped nor rounded; methods that need the noise level estimate it; seconds are for all images"
)


@click.command(
    "compare",
    short_help="Compare models and filters on a folder.",
    epilog=f"{filter_help()}\n\n{noise_help()}",
)
@click.argument(
    "methods", metavar="METHOD...", type=ModelType(*MODEL_NAMES, *FILTERS), nargs=-1, required=True
)
@click.option("--on", "folder", type=FOLDER, required=True, help="Folder of clean images.")
@noise_option(multiple=True, required=True)
@click.option(
    "--color",
    type=click.Choice(["rgb", "gray"]),
    help="Convert the images to rgb or gray. [default: rgb if a METHOD needs it, otherwise gray]",
)
@click.option(
    "--crop", type=click.IntRange(min=16), metavar="N", help="Use the central N x N pixels of each image."
)
@limit_option
@max_pixels_option
@click.option(
    "--memory",
    type=click.FloatRange(min=0, min_open=True),
    default=DEFAULT_MAX_GIGABYTES,
    metavar="GB",
    show_default=True,
    help="Memory limit in gigabytes: all images are held in memory at once.",
)
@seed_option("Seed of the noise.")
@click.option(
    "--figure",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Draw the prediction of each method for the first image to FILE.png, .pdf or .svg.",
)
@results_options
@device_option
@quiet_option
def compare_command(methods: tuple[str | Path, ...], folder: Path, **options: Any) -> int:
    """Compare the METHODs on the same images under the same noise.

    A METHOD is a pretrained model (auto, gray, rgb or camera), a file that sk-denoise train wrote, or a
    filter (see below). Filters need no training; those that need the noise level estimate it.
    """
    _check_options(methods, options)
    from sk_denoise.cli._output import write_results

    with errors_as_failures():
        denoisers, color = _build_denoisers(methods, options)
        paths = open_image_folder(folder, max_pixels=options["max_pixels"]).paths[: options["limit"]]
        for name in ("output", "figure"):
            if options[name] is not None:
                check_writable_folder(options[name].parent)
        min_sides = {"SSIM": MIN_SSIM_SIDE, **{m: FILTERS[m].min_side for m in denoisers if m in FILTERS}}
        images = _read_images(paths, color, min_sides, options)
        if not images:
            raise CommandFailure(f"none of the images in {printable(folder)} could be used")
        noisers = {noise.text: noise.build_noiser(options["seed"]) for noise in options["noise"]}
        table = _compare(denoisers, images, noisers, options)
        numbers = ("psnr", "ssim", "seconds")
        # json takes the floats of Python, not those of numpy.
        rows = [
            {"noise": row["noise"], "method": row["method"], **{k: float(row[k]) for k in numbers}}
            for row in table.to_dict("records")
        ]
        summary = {"images": len(images), "color": color, "measured": f"{MEASUREMENT}."}
        write_results(rows, options["form"], options["output"], summary)
    return 0


def _check_options(methods: Sequence[str | Path], options: dict[str, Any]) -> None:
    for method in methods:
        if methods.count(method) > 1:
            raise RefusedInput(f"{printable(method)} is given twice")
    refuse_repeated_noises(options["noise"])
    # Missing packages are reported here, before the images are read.
    require_installed("compare", "compare")
    if options["output"] is not None:
        refuse_image_name(options["output"])
        check_output_file(options["output"], overwrite=options["overwrite"])
    if options["figure"] is None:
        return
    if options["figure"].suffix.lower() not in FIGURE_SUFFIXES:
        raise RefusedInput(
            f"--figure {printable(options['figure'])} must end in {', '.join(FIGURE_SUFFIXES)}"
        )
    check_output_file(options["figure"], overwrite=options["overwrite"])
    require_installed("plots", "compare --figure")


def _build_denoisers(methods: Sequence[str | Path], options: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Return denoising functions by their name in the table, and the color."""
    from sk_denoise.restoration import denoise_image

    check_device(options["device"])
    denoisers: dict[str, Any] = {}
    for method in methods:
        if method in FILTERS:
            denoisers[str(method)] = build_filter(str(method))
            if FILTERS[str(method)].notice and not options["quiet"]:
                print_message(FILTERS[str(method)].notice)
        else:
            model = load_image_denoiser(method) if isinstance(method, Path) else method
            # The table has one unit for all methods, and this model was trained in another one.
            if keeps_raw_values(model):
                raise RefusedInput(
                    f"{printable(method)} was trained on values beyond [0, 1], and compare scales images to "
                    "[0, 1]; evaluate keeps the values of the files"
                )
            denoisers[str(method)] = partial(denoise_image, model=model, device=options["device"])
    return denoisers, _choose_color(denoisers, options["color"])


def _choose_color(denoisers: dict[str, Any], color: str | None) -> str:
    """Return the requested color; by default rgb if a model needs it, otherwise gray."""
    # Filters are partial functions too, but without a model.
    models = [
        denoiser.keywords["model"]
        for denoiser in denoisers.values()
        if "model" in getattr(denoiser, "keywords", ())
    ]
    color = color or ("rgb" if "rgb" in map(model_color, models) else "gray")
    for model in models:
        check_color(color, model)
    return color


def _read_images(
    paths: Sequence[Path], color: Any, min_sides: dict[str, int], options: dict[str, Any]
) -> list[Any]:
    """Return the images that can be used, scaled to [0, 1]."""
    from sk_denoise.io import image_size

    # All sizes are read first, so that the memory is checked before an image is decoded.
    sizes = {}
    for path in paths:
        try:
            sizes[path] = image_size(path)
        except (OSError, ValueError) as error:
            _print_left_out(path, error)
    _check_memory(list(sizes.values()), color, options)
    images = []
    for path in sizes:
        try:
            image = read_image_within_limit(path, options["max_pixels"], color=color, alpha="drop")
            for method, side in min_sides.items():
                check_min_size(image, side, method)
        except (OSError, ValueError) as error:
            _print_left_out(path, error)
            continue
        intensity, remark = find_intensity_range(image)
        if remark:
            print_message(f"{printable(path)}: {remark}")
        images.append(_crop_center(intensity.to_unit(image), options["crop"]))
    return images


def _print_left_out(path: Path, error: Exception) -> None:
    # Some messages of the library begin with the name of the file already.
    reason = describe_error(error).removeprefix(f"{printable(path)}: ")
    print_message(f"{printable(path)}: left out, {reason}")


def _check_memory(sizes: Sequence[tuple[int, int]], color: str, options: dict[str, Any]) -> None:
    """Print the memory that the images need, or refuse them if it is too much."""
    crop = options["crop"] or max((side for size in sizes for side in size), default=0)
    pixels = sum(min(height, crop) * min(width, crop) for height, width in sizes)
    copies = len(options["noise"]) + FURTHER_COPIES
    gigabytes = pixels * (3 if color == "rgb" else 1) * FLOAT_BYTES * copies / 1e9
    if gigabytes > options["memory"]:
        raise RefusedInput(
            f"{pluralize(len(sizes), 'image')} would take about {gigabytes:.3g} GB of memory, more than "
            f"--memory {options['memory']:g} allows; use fewer with --limit, or parts of them with --crop"
        )
    if not options["quiet"]:
        megabytes = max(1, 1000 * gigabytes)
        print_message(f"{pluralize(len(sizes), 'image')}, about {megabytes:.0f} MB of memory.")


def _compare(
    denoisers: dict[str, Any], images: list[Any], noisers: dict[str, Any], options: dict[str, Any]
) -> Any:
    """Return the table of the comparison; draw the figure if one is requested."""
    from sk_denoise import compare_restorers
    from sk_denoise.cli._output import open_console, write_whole_file

    console, figure = open_console(options["quiet"]), options["figure"]
    with console.status("comparing") if console else nullcontext():
        if figure is None:
            return compare_restorers(denoisers, images, noisers, data_range=1)
        from sk_denoise.plots import ComparisonDisplay

        display = ComparisonDisplay.from_methods(denoisers, images, noisers, data_range=1)
        content = io.BytesIO()
        display.figure_.savefig(content, format=figure.suffix.lower().removeprefix("."))
        write_whole_file(figure, content.getvalue())
        return display.table


def _crop_center(image: Any, side: int | None) -> Any:
    if side is None:
        return image
    top, left = ((length - min(side, length)) // 2 for length in image.shape[:2])
    # A copy, so that the whole image can be freed.
    return image[top : top + side, left : left + side].copy()
